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

    ``y = b(W_out a(... a(W_1 x + b_1) ...) + b_out [+ L x])``, with b the identity where nothing else is said.

    The linear path L is what lets a network start exactly at a linear map: L is that map and W_out is zero. Without hidden
    layers the network is ``W_out x + b_out``, and the path would be the same map twice, so there is none.

    Parameters
    ----------
    sizes : sequence of int
        Width of every layer, input first, output last.
    activation : str
        A name in ``ACTIVATIONS``, applied after every layer but the last.
    linear_path : bool
        Whether to add L x.
    generator : torch.Generator
        Source of the initial weights. They are drawn on the CPU, so that every device starts from the same ones.
    dtype : torch.dtype
        Of all parameters.
    limited : bool
        Whether the hidden layers see each input only between minus and plus ``limit``, a buffer that starts infinite, while a
        linear path sees all of it. A cell of a hundred standard deviations would otherwise be all that they see of its row.
    in_units : bool
        Whether outputs are ``unit``, a buffer that starts at 1, times what the layers put out. Where some outputs may err by
        1 and others by 0.001 only, one learning rate then suits both.
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
        """Make the network equal to ``weight @ x + bias``, with the hidden layers ready to depart from it.

        An activation of the output comes after it. ``unit`` is that of each output; it changes how the network departs, not
        where it starts.
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

    A weight may lie in memory by columns or by rows. Its gradient is computed the way round that the weight lies, so that it is
    written where it belongs without a copy. Products of long rows are also the faster ones.
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


def _aligned_affine(x: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    """``affine`` that rounds a row alike wherever in the batch it stands.

    Kernels treat the start of a row by its alignment in memory, which for odd widths depends on the row's place; so rows are
    filled up with zeros to whole cache lines.
    """
    excess = -x.shape[1] % 16
    if excess:
        x, weight = functional.pad(x, (0, excess)), functional.pad(weight, (0, excess))
    return functional.linear(x, weight, start) if start.ndim == 1 else start + functional.linear(x, weight)


class Layer(nn.Linear):
    """A linear layer that starts with torch's usual distribution, drawn from a private generator."""

    def __init__(self, n_in: int, n_out: int, generator: torch.Generator, dtype: torch.dtype) -> None:
        super().__init__(n_in, n_out, dtype=dtype)
        bound = n_in**-0.5
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)

    def reset_parameters(self) -> None:
        """Draw nothing: torch would draw from its global generator."""
