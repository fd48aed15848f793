"""How a cell is scored.

Conventions: ``log_prob(params, target)`` is per cell, shape ``(n_rows, n_columns)``, in nats; higher is likelier. ``params``
is what the decoder puts out, ``(n_rows, n_columns * n_params)``; ``mean(params)`` is the expected cell and
``sample(params, generator)`` a drawn one. Nothing is averaged here: masks, row scores, explanations of single cells and the
loss are sums of this one array.
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

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def fit_(self, squared_error: Tensor | float) -> None:
        """Set what can be set in closed form, given the mean squared residual of the cells; nothing by default."""


class NormalCells(Likelihood):
    """Normal cells around the decoder's output; ``variance`` is one for all columns or one for each."""

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        squared_error = functional.mse_loss(params, target, reduction="none")  # one kernel forward, one back
        return squared_error * (-0.5 / self.variance) - 0.5 * torch.log(2 * math.pi * self.variance)

    def mean(self, params: Tensor) -> Tensor:
        return params

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(params.shape, generator=generator, dtype=params.dtype, device=params.device)
        return params + noise * self.variance.sqrt()


class UnitGaussian(NormalCells):
    """Normal cells of a variance that is given, not learned: half the squared error over it, plus a constant."""

    given: Tensor

    def __init__(self, n_columns: int, variance: float = 1.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(n_columns)
        self.register_buffer("given", torch.tensor(variance, dtype=dtype))

    @property
    def variance(self) -> Tensor:
        return self.given


class Gaussian(NormalCells):
    """Normal cells of unknown variance: ``log N(x; mean, v)``, ``v = floor + exp(log_excess)``.

    The floor keeps a table that is reconstructed exactly from an infinite likelihood, and ``exp`` keeps the variance positive
    without a clamp, whose gradient would vanish.

    Columns that share one variance share its maximum-likelihood value, the mean squared residual, whatever the means are. So
    where the code is exact the means are trained at a fixed variance and ``fit_`` then sets it, which maximises the likelihood
    over both. Where the code is drawn, how far it spreads depends on the variance, and ``learned`` says that the two are
    trained together.

    Parameters
    ----------
    n_columns : int
    variance : float
        To start from.
    dtype : torch.dtype
    floor : float or Tensor of shape (n_columns,)
        Least variance; a tensor makes it one variance per column.
    learned : bool
        Whether training changes the variance.
    """

    floor: Tensor

    def __init__(
        self,
        n_columns: int,
        variance: float = 1.0,
        dtype: torch.dtype = torch.float32,
        floor: float | Tensor = 1e-6,
        learned: bool = False,
    ) -> None:
        super().__init__(n_columns)
        self.register_buffer("floor", torch.as_tensor(floor, dtype=dtype))
        self.log_excess = nn.Parameter(torch.zeros_like(self.floor), requires_grad=learned)
        self.fit_(variance)

    @property
    def variance(self) -> Tensor:
        return self.floor + self.log_excess.exp()

    @torch.no_grad()
    def fit_(self, squared_error: Tensor | float) -> None:
        """Set the variance that maximises the likelihood of cells with this mean squared residual, of all or per column."""
        floor = self.floor.double().cpu()
        excess = torch.as_tensor(squared_error, dtype=torch.float64) - floor
        self.log_excess.copy_(torch.maximum(excess, 1e-3 * floor).log())


class Bernoulli(Likelihood):
    """Cells in [0, 1] scored by the cross-entropy: ``x log p + (1 - x) log(1 - p)``, params are logits of p."""

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        return -functional.binary_cross_entropy_with_logits(params, target, reduction="none")

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(torch.sigmoid(params), generator=generator)
