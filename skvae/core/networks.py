"""Multi-layer perceptrons with a linear path beside them."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {
    "identity": lambda x: x,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "silu": functional.silu,
    "gelu": functional.gelu,
}


class Network(nn.Module):
    """Fully connected layers, with or without a linear path from the input to the output.

    ``y = b(W_out a(... a(W_1 x + b_1) ...) + b_out [+ L x])``, where b is the identity by default.

    The linear path L lets a network start exactly at a linear map: L is that map, and W_out is zero. Without hidden layers
    the network is ``W_out x + b_out`` and has no path, which would be redundant.

    Parameters
    ----------
    sizes : sequence of int
        Width of every layer, input first, output last.
    activation : str
        A name in ``ACTIVATIONS``, applied after every layer except the last.
    linear_path : bool
        Whether to add L x.
    generator : torch.Generator
        Source of the initial weights. They are drawn on the CPU, so that every device starts from the same ones.
    dtype : torch.dtype
        dtype of all parameters.
    limited : bool
        Whether inputs of the hidden layers are clipped to plus or minus ``limit``, a buffer that starts infinite. The linear
        path sees unclipped inputs. Otherwise a cell of a hundred standard deviations would dominate its row.
    in_units : bool
        Whether the outputs of the layers are multiplied by ``unit``, a buffer that starts at 1. One learning rate then suits
        outputs with errors of 1 and of 0.001.
    out_activation : str
        A name in ``ACTIVATIONS``, applied to the output.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str,
        linear_path: bool,
        generator: torch.Generator,
        dtype: torch.dtype,
        limited: bool = False,
        in_units: bool = False,
        out_activation: str = "identity",
    ) -> None:
        super().__init__()
        self.activation = activation
        self.out_activation = out_activation
        layers = [Layer(n_in, n_out, generator, dtype) for n_in, n_out in pairwise(sizes)]
        self.hidden = nn.ModuleList(layers[:-1])
        self.out = layers[-1]
        self.path: nn.Parameter | None = None
        if linear_path and self.hidden:
            self.path = nn.Parameter(torch.zeros(sizes[-1], sizes[0], dtype=dtype))
        self.limit: Tensor | None
        self.register_buffer("limit", torch.full((sizes[0],), math.inf, dtype=dtype) if limited else None)
        self.unit: Tensor | None
        self.register_buffer("unit", torch.ones(sizes[-1], dtype=dtype) if in_units else None)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[-1]

    def layers(self, x: Tensor) -> list[Tensor]:
        """The output of every layer, hidden ones first."""
        activation = ACTIVATIONS[self.activation]
        product = affine if self.training else _aligned_affine
        outputs = []
        h = x if self.limit is None else x.clamp(-self.limit, self.limit)
        for layer in self.hidden:
            h = activation(product(h, *layer.parameters()))
            outputs.append(h)
        y = product(h, *self.out.parameters())
        if self.path is not None:
            y = product(x, self.path, y)
        if self.unit is not None:
            y = y * self.unit
        return [*outputs, ACTIVATIONS[self.out_activation](y)]

    @torch.no_grad()
    def start_linear_(self, weight: Tensor, bias: Tensor, unit: Tensor | None = None) -> None:
        """Set the network to ``weight @ x + bias``, from where the hidden layers can be trained.

        The output activation is applied to the result. ``unit`` is the unit of each output; it affects training, not the start.
        """
        if self.unit is not None:
            self.unit.copy_(torch.ones_like(bias) if unit is None else unit)
            weight, bias = weight / self.unit[:, None], bias / self.unit
        linear = self.out.weight if self.path is None else self.path
        if self.path is not None:
            self.out.weight.zero_()
        linear.copy_(weight)
        self.out.bias.copy_(bias)

    @torch.no_grad()
    def reorder_(self, inputs: Tensor | None = None, outputs: Tensor | None = None) -> None:
        """Renumber inputs or outputs: the new i-th is the old ``index[i]``-th."""
        first = next(iter([*self.hidden, self.out]))
        if inputs is not None:
            for tensor in (first.weight, self.path, self.limit):
                if isinstance(tensor, Tensor):
                    tensor.copy_(tensor[..., inputs])
        if outputs is not None:
            for tensor in (self.out.weight, self.out.bias, self.path, self.unit):
                if tensor is not None:
                    tensor.copy_(tensor[outputs])


class Affine(torch.autograd.Function):
    """``x @ weight.T + start`` of one model, or of each member of several.

    A weight is stored by columns or by rows. Its gradient is computed in the same layout, so that no copy is needed. Products
    of long rows are also faster.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, start: Tensor) -> Tensor:
        if weight.ndim == 2:
            return torch.addmm(start, x, weight.mT)
        return torch.baddbmm(start if start.ndim == 3 else start[:, None], x, weight.mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004, torch's
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
        """Products of several members; each input is shared or has one entry per member."""
        members_first = (
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(inputs, in_dims, strict=True)
        )
        return Affine.apply(*members_first), 0


def by_columns(shape: torch.Size) -> bool:
    """Whether a weight of this shape has more rows than columns, and is therefore stored by columns in training."""
    return shape[-2] > shape[-1]


def affine(x: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    """``x @ weight.T + start``, for training; ``start`` is a bias or has one row per row of x."""
    result: Tensor = Affine.apply(x, weight, start)
    return result


def _aligned_affine(x: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    """``affine`` whose rounding of a row does not depend on its position in the batch.

    Kernels depend on the alignment of a row in memory, which for odd widths depends on its position. Rows are therefore padded
    with zeros to whole cache lines.
    """
    excess = -x.shape[1] % 16
    if excess:
        x, weight = functional.pad(x, (0, excess)), functional.pad(weight, (0, excess))
    return functional.linear(x, weight, start) if start.ndim == 1 else start + functional.linear(x, weight)


class Layer(nn.Linear):
    """A linear layer with torch's default initial distribution, drawn from a private generator."""

    def __init__(self, n_in: int, n_out: int, generator: torch.Generator, dtype: torch.dtype) -> None:
        super().__init__(n_in, n_out, dtype=dtype)
        bound = n_in**-0.5
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)

    def reset_parameters(self) -> None:
        """Draw nothing: torch would draw from its global generator."""
