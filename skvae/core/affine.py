"""The product that networks are made of."""

from typing import Any

import torch
from torch import Tensor


class Affine(torch.autograd.Function):
    """``x @ weight.T + start`` of one model, or of each member of several.

    A weight may lie in memory by columns or by rows. Its gradient is computed the way round that the weight lies, so that it is
    written where it belongs without a copy. Products of long rows are also the faster ones.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, start: Tensor) -> Tensor:
        if weight.ndim == 2:
            return torch.addmm(start, x, weight.mT)
        return torch.baddbmm(start if start.ndim == 3 else start[:, None], x, weight.mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        x, weight, start = inputs
        ctx.save_for_backward(x, weight)
        ctx.is_bias = start.ndim < x.ndim

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_start = None
        if ctx.needs_input_grad[0]:
            of_x = gradient @ weight
        if ctx.needs_input_grad[1]:
            of_weight = (x.mT @ gradient).mT if by_columns(weight.shape) else gradient.mT @ x
        if ctx.needs_input_grad[2]:
            of_start = gradient.sum(-2) if ctx.is_bias else gradient
        return of_x, of_weight, of_start

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        """The same of members, each with its own rows, weight and start or sharing them."""
        members_first = (
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(inputs, in_dims, strict=True)
        )
        return Affine.apply(*members_first), 0


def by_columns(shape: torch.Size) -> bool:
    """Whether a weight of this shape has more rows than columns, and so lies in memory by columns while it is trained."""
    return shape[-2] > shape[-1]


def affine(x: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    """``x @ weight.T + start``, for training; ``start`` is a bias or has a row for each of x."""
    result: Tensor = Affine.apply(x, weight, start)
    return result
