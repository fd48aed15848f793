"""Bottlenecks: from the encoder's output ``h`` to the code ``z`` that the decoder sees.

A bottleneck is a frozen dataclass. ``expansion`` is the number of encoder outputs per component. ``bottleneck(h, generator)``
returns the code, ``(n_rows, n_components)``. A generator of None means inference, where nothing is random.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

OFF = 0.99  # variance of the posterior from which on a component carries no information


class Bottleneck:
    """Base class of bottlenecks; ``moments``, ``divergence`` and ``at`` exist only if ``has_posterior``."""

    expansion: ClassVar[int] = 1
    has_posterior: ClassVar[bool] = False
    keeps_largest: ClassVar[bool] = False  # whether components compete by size, and must share one unit

    def __call__(self, h: Tensor, generator: torch.Generator | None) -> Tensor:
        raise NotImplementedError

    def drawn(self, h: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor | None]:
        """The code and, if there is a posterior, its divergence from the prior."""
        return self(h, generator), None

    def moments(self, h: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def divergence(self, h: Tensor) -> Tensor:
        raise NotImplementedError

    def at(self, h: Tensor, noise: Tensor, beta: float = 1.0) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


@dataclass(frozen=True)
class Dense(Bottleneck):
    """The encoder's output is the code."""

    def __call__(self, h: Tensor, generator: torch.Generator | None) -> Tensor:
        return h


@dataclass(frozen=True)
class TopK(Bottleneck):
    """The code is the encoder's output with all but the ``n_nonzero`` largest entries in magnitude of each row set to zero.

    Exactly ``n_nonzero`` entries are kept even if entries are equal. Gradients pass through these only (Makhzani and Frey,
    2014).
    """

    keeps_largest: ClassVar[bool] = True
    n_nonzero: int

    def __call__(self, h: Tensor, generator: torch.Generator | None) -> Tensor:
        kept = h.abs().topk(self.n_nonzero, dim=-1, sorted=False).indices
        return torch.where(torch.zeros_like(h, dtype=torch.bool).scatter(-1, kept, True), h, 0.0)


@dataclass(frozen=True)
class GaussianPosterior(Bottleneck):
    """The code is drawn from ``q(z | x) = N(mean, diag(variance))``; its prior is ``p(z) = N(0, I)``.

    The draw is ``mean + deviation * noise``, so that gradients pass through it (Kingma and Welling, 2014). Inference uses the
    mean.
    """

    expansion: ClassVar[int] = 2
    has_posterior: ClassVar[bool] = True

    def __call__(self, h: Tensor, generator: torch.Generator | None) -> Tensor:
        return self.moments(h)[0] if generator is None else self.drawn(h, generator)[0]

    def drawn(self, h: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.moments(h)
        noise = torch.randn(mean.shape, generator=generator, dtype=h.dtype, device=h.device)
        return mean + noise * torch.exp(0.5 * log_variance), _divergence(mean, log_variance)

    def moments(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, ``(n_rows, n_components)`` each.

        The second half of h is the log-variance if it is negative; a positive entry h gives ``log(1 + h)``. Almost every
        posterior is narrower than the prior. The variance of a wider one grows with h rather than exp(h), so nothing
        overflows and, unlike with a clamp, no gradient is lost.
        """
        mean, a = h.chunk(2, dim=-1)
        return mean, _Flattened.apply(a)

    def divergence(self, h: Tensor) -> Tensor:
        """Kullback-Leibler divergence of the posterior from the prior per row and component, in nats."""
        return _divergence(*self.moments(h))

    def at(self, h: Tensor, noise: Tensor, beta: float = 1.0) -> tuple[Tensor, Tensor]:
        """Codes for given noise, and ``log p(z) - log q(z | x)`` of each, summed over components.

        A posterior trained with ``beta`` other than 1 is as wide as if each row had been seen 1 / beta times. It is converted
        to the posterior of a row seen once. Components that carry no information are not converted, because they contain
        nothing but the encoder's error.
        """
        mean, log_variance = self.moments(h)
        if beta not in (0, 1):
            variance = log_variance.exp()
            total = torch.where(variance < OFF, variance + beta * (1 - variance), 1.0)
            mean = torch.where(variance < OFF, mean * beta / total, mean)
            log_variance = log_variance - total.log()
        code = mean + noise * torch.exp(0.5 * log_variance)
        return code, 0.5 * (noise.square() - code.square() + log_variance).sum(-1)


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    return 0.5 * torch.addcmul(torch.expm1(log_variance) - log_variance, mean, mean)


class _Flattened(torch.autograd.Function):
    """``a`` if negative and ``log(1 + a)`` if positive; the slope is ``1 / (1 + relu(a))``."""

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        positive = torch.relu(a)
        return a - positive + torch.log1p(positive)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004, torch's signature
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return gradients[0] / (1 + torch.relu(a))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], a: Tensor) -> tuple[Tensor, int]:  # noqa: ARG004
        return _Flattened.apply(a), in_dims[0]
