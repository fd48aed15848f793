"""How a cell is scored.

Conventions: ``log_prob(params, target)`` is per cell, shape ``(n_rows, n_columns)``, in nats; higher is likelier. ``params``
is what the decoder puts out, ``(n_rows, n_columns * n_params)``; ``mean(params)`` is the expected cell. Nothing is averaged
here: masks, row scores, explanations of single cells and the loss are sums of this one array.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Likelihood(nn.Module):
    """What every likelihood offers."""

    n_params = 1

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.n_columns = n_columns

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def mean(self, params: Tensor) -> Tensor:
        raise NotImplementedError

    def fit_(self, squared_error: float) -> None:
        """Set what can be set in closed form, given the mean squared residual of the cells; nothing by default."""


class UnitGaussian(Likelihood):
    """Normal cells of a variance that is given, not learned: half the squared error over it, plus a constant."""

    variance: Tensor

    def __init__(self, n_columns: int, variance: float = 1.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(n_columns)
        self.register_buffer("variance", torch.tensor(variance, dtype=dtype))

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        return _normal_log_prob(params, target, self.variance)

    def mean(self, params: Tensor) -> Tensor:
        return params


class Gaussian(Likelihood):
    """Normal cells with one variance: ``log N(x; mean, v)``, ``v = floor + exp(log_excess)``.

    The floor keeps a table that is reconstructed exactly from an infinite likelihood, and ``exp`` keeps the variance positive
    without a clamp, whose gradient would vanish. Columns that share one variance share its maximum-likelihood value, the
    mean squared residual, whatever the means are; so the means are trained at a fixed variance and ``fit_`` then sets it,
    which maximises the likelihood over both.
    """

    floor = 1e-6  # of the variance of a standardised column

    def __init__(self, n_columns: int, variance: float = 1.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(n_columns)
        self.log_excess = nn.Parameter(torch.zeros((), dtype=dtype), requires_grad=False)
        self.fit_(variance)

    @property
    def variance(self) -> Tensor:
        return self.floor + self.log_excess.exp()

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        return _normal_log_prob(params, target, self.variance)

    def mean(self, params: Tensor) -> Tensor:
        return params

    @torch.no_grad()
    def fit_(self, squared_error: float) -> None:
        """Set the variance that maximises the likelihood of cells with this mean squared residual."""
        self.log_excess.fill_(math.log(max(squared_error - self.floor, self.floor * 1e-3)))


class Bernoulli(Likelihood):
    """Cells in [0, 1] scored by the cross-entropy: ``x log p + (1 - x) log(1 - p)``, params are logits of p."""

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        return -functional.binary_cross_entropy_with_logits(params, target, reduction="none")

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params)


def _normal_log_prob(mean: Tensor, target: Tensor, variance: Tensor) -> Tensor:
    squared_error = functional.mse_loss(mean, target, reduction="none")  # one kernel forward, one back
    return squared_error * (-0.5 / variance) - 0.5 * torch.log(2 * math.pi * variance)
