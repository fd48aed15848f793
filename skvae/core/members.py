"""Models of one architecture, trained as one."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from skvae.core.model import Autoencoder
from skvae.core.networks import by_columns

ALIGNMENT = 16  # elements: every parameter starts on a cache line, which makes products faster and reproducible

OfModel = Callable[..., Tensor]


class Members:
    """The trainable parameters of all models in one vector, and their gradients in another.

    Each parameter is a block ``(n_members, *shape)`` of the vector, and the parameter of a model is a view of the block. The
    optimiser then makes a single call for any number of layers and models, and a product of all members is one kernel. A matrix
    is stored with its longer dimension last.

    ``release`` gives every parameter its own memory again. Otherwise a pickle would hold the whole vector once per parameter.

    Parameters
    ----------
    models : sequence of Autoencoder
        Models that only differ in the values of parameters and buffers.
    """

    def __init__(self, models: Sequence[Autoencoder]) -> None:
        self.models = models
        trained = {name: p for name, p in models[0].named_parameters() if p.requires_grad}
        sizes = {name: math.ceil(len(models) * p.numel() / ALIGNMENT) * ALIGNMENT for name, p in trained.items()}
        first = next(iter(trained.values()))
        self.vector = torch.zeros(sum(sizes.values()), dtype=first.dtype, device=first.device)
        self.gradient = torch.zeros_like(self.vector)
        self.parameters: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}
        start = 0
        for name, p in trained.items():
            block = slice(start, start + len(models) * p.numel())
            self.parameters[name] = _block(self.vector[block], len(models), p.shape)
            self.gradients[name] = _block(self.gradient[block], len(models), p.shape)
            start += sizes[name]
        self.constants = {name: torch.stack(values) for name, values in _fixed(models).items() if not _are_equal(values)}
        self._move_in()

    @torch.no_grad()
    def _move_in(self) -> None:
        for name, block in self.parameters.items():
            for model, view in zip(self.models, block, strict=True):
                p = model.get_parameter(name)
                view.copy_(p)
                p.data = view

    def release(self) -> None:
        for model in self.models:
            for name in self.parameters:
                p = model.get_parameter(name)
                p.data = p.data.clone(memory_format=torch.contiguous_format)
                p.grad = None

    def trainable(self) -> dict[str, Tensor]:
        """The blocks of parameters as leaves of a new graph."""
        return {name: block.detach().requires_grad_() for name, block in self.parameters.items()}

    def call(self, function: OfModel, parameters: dict[str, Tensor], *args: Tensor | None, shared: int = 0) -> Tensor:
        """``function(model, *args)`` of the first members, stacked.

        Parameters
        ----------
        function : callable
        parameters : dict of Tensor
            A block of each trainable parameter, for the members to call.
        *args : Tensor or None
            The first ``shared`` arguments are shared by all members; the others have one entry per member.
        """
        n = len(next(iter(parameters.values())))
        template = _Call(self.models[0], function)
        of_each = parameters | {name: block[:n] for name, block in self.constants.items()}
        in_dims = [None if i < shared or arg is None else 0 for i, arg in enumerate(args)]

        def one(values: dict[str, Tensor], *args: Tensor | None) -> Tensor:
            result: Tensor = torch.func.functional_call(template, {f"model.{k}": v for k, v in values.items()}, args)
            return result

        result: Tensor = torch.func.vmap(one, in_dims=(0, *in_dims), randomness="different")(of_each, *args)
        return result

    def fixed(self) -> list[Tensor]:
        """All tensors that training does not change."""
        of_first = _fixed(self.models[:1])
        return [*self.constants.values(), *(values[0] for name, values in of_first.items())]


class _Call(nn.Module):
    """A function of a model as the model of a function."""

    def __init__(self, model: Autoencoder, function: OfModel) -> None:
        super().__init__()
        self.model = model
        self.function = function
        self.train(model.training)

    def forward(self, *args: Tensor | None) -> Tensor:
        return self.function(self.model, *args)


def _fixed(models: Sequence[Autoencoder]) -> dict[str, list[Tensor]]:
    """The values of all buffers and untrained parameters, by name."""
    states = [
        {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad} | dict(model.named_buffers())
        for model in models
    ]
    return {name: [state[name] for state in states] for name in states[0]}


def _are_equal(tensors: Sequence[Tensor]) -> bool:
    return all(torch.equal(tensor, tensors[0]) for tensor in tensors[1:])


def _block(memory: Tensor, n: int, shape: torch.Size) -> Tensor:
    """A view ``(n, *shape)`` of memory, in which matrices are stored with their longer dimension last."""
    if len(shape) == 2 and by_columns(shape):
        return memory.view(n, shape[1], shape[0]).mT
    return memory.view(n, *shape)
