"""The product that networks are made of."""

from typing import Any

import torch
from torch import Tensor


class Affine(torch.autograd.Function):
    """``x @ weight.T + bias`` of one model, or of each member of several.

    A weight may lie in memory by columns or by rows. Its gradient is computed the way round that the weight lies, so that it is
    written where it belongs without a copy. Products of long rows are also the faster ones.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if weight.ndim == 3:
            return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
        return torch.mm(x, weight.mT) if bias is None else torch.addmm(bias, x, weight.mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        x, weight, bias = inputs
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = gradient @ weight
        if ctx.needs_input_grad[1]:
            of_weight = (x.mT @ gradient).mT if by_columns(weight.shape) else gradient.mT @ x
        return of_x, of_weight, gradient.sum(-2) if ctx.has_bias and ctx.needs_input_grad[2] else None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, int]:
        """The same of members, each with its own rows, weight and bias or sharing them."""

        def members_first(tensor: Tensor | None, dim: int | None) -> Tensor | None:
            if tensor is None:
                return None
            return tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)

        return Affine.apply(*map(members_first, (x, weight, bias), in_dims)), 0


def by_columns(shape: torch.Size) -> bool:
    """Whether a weight of this shape has more rows than columns, and so lies in memory by columns while it is trained."""
    return shape[-2] > shape[-1]


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``, for training."""
    result: Tensor = Affine.apply(x, weight, bias)
    return result
