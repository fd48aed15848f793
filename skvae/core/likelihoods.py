"""Likelihoods of cells given the output of the decoder.

Conventions: ``log_prob(params, target)`` is per cell, of shape ``(n_rows, n_columns)``, in nats; higher is likelier. ``params``
is the output of the decoder, ``(n_rows, n_params)``. ``mean(params)`` is the expected cell, and ``sample(params, generator)`` a
drawn one. Nothing is averaged here: row scores, explanations of cells and the loss are sums over this array.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST_VARIANCE = 0.25  # of a cell that is 0 or 1
LARGEST_CURVATURE = 0.5  # of a categorical cell's log-likelihood in its logits (Bohning, 1992); a boolean's is 0.25
FLAGGED = 0.5  # value from which on a cell that is 0 or 1 counts as 1
RAREST = 0.01  # smallest initial probability of a category


class Likelihood(nn.Module):
    """Base class of likelihoods."""

    in_cell_units = True  # whether errors of parameters have the size of errors of cells

    def __init__(self, n_columns: int, n_params: int | None = None) -> None:
        super().__init__()
        self.n_columns = n_columns
        self.n_params = n_columns if n_params is None else n_params

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def mean(self, params: Tensor) -> Tensor:
        raise NotImplementedError

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    @property
    def variance(self) -> Tensor | None:
        """Variance of the cells, one for all columns or one per column; None if cells are not normal."""
        return None

    @property
    def per_column(self) -> bool:
        """Whether each column has a variance of its own."""
        return False

    def linear_start(self, mean: Tensor, drawn: bool) -> tuple[Tensor, Tensor]:
        """Parameters at the mean of the cells, and the change of a parameter per change of its cell.

        ``mean`` has one entry per parameter; for a category it is its probability. ``drawn`` says that codes are drawn: the
        slope must then bound the likelihood rather than be correct to first order. By default parameters are cells.
        """
        return mean, torch.ones_like(mean)

    def expectation(self, params: Tensor) -> Tensor:
        """The expectation, one number per parameter; for categories, their probabilities."""
        return self.mean(params)

    def scored(self, target: Tensor) -> Tensor:
        """Which cells are scored: those that are not missing."""
        return ~target.isnan()

    def cells(self, expectation: Tensor) -> Tensor:
        """The cells of an expectation, or of a mean of several; for categories, the most probable."""
        return expectation

    def squared_error(self, params: Tensor, target: Tensor) -> Tensor:
        """Squared difference of each cell from its expectation."""
        return (self.mean(params) - target).square()

    def fit_(self, squared_error: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Set the variance in closed form from the mean squared residual of the cells; does nothing by default.

        The residual is over all cells or per column, and ``weight`` is the weight of its cells.
        """


class NormalCells(Likelihood):
    """Normal cells around the decoder's output; ``variance`` is one for all columns or one per column."""

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        squared_error = functional.mse_loss(params, target, reduction="none")  # one kernel forward, one back
        factor = -0.5 / self.variance
        return torch.addcmul(0.5 * torch.log(factor / -math.pi), squared_error, factor)

    def mean(self, params: Tensor) -> Tensor:
        return params

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(params.shape, generator=generator, dtype=params.dtype, device=params.device)
        return params + noise * self.variance.sqrt()


class UnitGaussian(NormalCells):
    """Normal cells of given variance: half the squared error over the variance, plus a constant."""

    given: Tensor

    def __init__(self, n_columns: int, variance: float = 1.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(n_columns)
        self.register_buffer("given", torch.tensor(variance, dtype=dtype))

    @property
    def variance(self) -> Tensor:
        return self.given


class Gaussian(NormalCells):
    """Normal cells of unknown variance: ``log N(x; mean, v)``, ``v = floor + exp(log_excess)``.

    The floor prevents an infinite likelihood if the table is reconstructed exactly. ``exp`` keeps the variance positive without
    a clamp, whose gradient would vanish.

    The maximum-likelihood value of a shared variance is the mean squared residual, for any means. Without a posterior, the
    means are therefore trained at a fixed variance, and ``fit_`` sets the variance afterwards; this maximises the likelihood
    over both. If codes are drawn, their spread depends on the variance, and both are trained together (``learned``).

    Parameters
    ----------
    n_columns : int
    variance : float
        Initial variance.
    dtype : torch.dtype
    floor : float or Tensor of shape (n_columns,)
        Smallest variance; with a tensor, each column has its own variance.
    learned : bool
        Whether the variance is trained.
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

    @property
    def per_column(self) -> bool:
        return self.floor.ndim > 0

    @torch.no_grad()
    def fit_(self, squared_error: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Set the maximum-likelihood variance of cells with this mean squared residual, over all cells or per column."""
        floor = self.floor.double().cpu()
        errors = torch.as_tensor(squared_error, dtype=torch.float64)
        if errors.ndim and not floor.ndim:
            total = torch.sum(torch.ones_like(errors) * weight)
            errors = torch.sum(errors * weight) / total.clamp(min=torch.finfo(total.dtype).tiny)
        excess = errors - floor
        self.log_excess.copy_(torch.maximum(excess, 1e-3 * floor).log())


class Bernoulli(Likelihood):
    """Cells in [0, 1] scored by the cross-entropy ``x log p + (1 - x) log(1 - p)``; params are logits of p."""

    in_cell_units = False

    def linear_start(self, mean: Tensor, drawn: bool) -> tuple[Tensor, Tensor]:
        """Logits of the mean. If codes are drawn, the slope is that of the largest variance, which never overshoots.

        See Bohning (1992).
        """
        p = mean.clamp(RAREST, 1 - RAREST)
        variance = torch.full_like(p, LARGEST_VARIANCE) if drawn else p * (1 - p)
        return torch.log(p / (1 - p)), 1 / variance

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        return -functional.binary_cross_entropy_with_logits(params, target, reduction="none")

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(torch.sigmoid(params), generator=generator)


class Categorical(Likelihood):
    """Categorical cells, scored by the cross-entropy; params are logits, with those of a column side by side.

    All columns are normalised at once: their logits are padded with minus infinity to a block as wide as the widest column.

    Parameters
    ----------
    n_levels : sequence of int
        Number of categories of each column. A cell is the code of its category, counting from 0.
    """

    place: Tensor
    filled_up: Tensor
    first: Tensor
    column: Tensor

    def __init__(self, n_levels: Sequence[int]) -> None:
        super().__init__(len(n_levels), sum(n_levels))
        sizes = torch.tensor(n_levels)
        first = sizes.cumsum(0) - sizes
        position = torch.arange(int(sizes.max())).expand(len(sizes), -1)
        self.register_buffer("first", first)
        self.register_buffer("filled_up", position >= sizes[:, None])
        self.register_buffer("place", torch.where(self.filled_up, 0, first[:, None] + position).flatten())
        self.register_buffer("column", torch.repeat_interleave(sizes))

    def linear_start(self, mean: Tensor, drawn: bool) -> tuple[Tensor, Tensor]:
        """Logits of the probabilities; the slope is that of the largest curvature, which never overshoots."""
        return torch.log(mean.clamp(min=RAREST)), torch.full_like(mean, 1 / LARGEST_CURVATURE)

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        picked = params.gather(1, self.first + target.long())
        return picked - self._block(params).logsumexp(2)

    def mean(self, params: Tensor) -> Tensor:
        """The most likely category, because categories have no mean."""
        return self.cells(params)

    def cells(self, expectation: Tensor) -> Tensor:
        return self._block(expectation).argmax(2).to(expectation.dtype)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        logits = self._block(params)
        uniform = torch.rand(logits.shape, generator=generator, dtype=params.dtype, device=params.device)
        return (logits - torch.log(-torch.log(uniform))).argmax(2).to(params.dtype)  # Gumbel's

    def expectation(self, params: Tensor) -> Tensor:
        return (params - self._block(params).logsumexp(2).index_select(1, self.column)).exp()

    def squared_error(self, params: Tensor, target: Tensor) -> Tensor:
        """Squared distance between the probabilities and the observed indicators of the categories (Brier, 1950)."""
        probabilities = self._block(params).softmax(2)
        picked = probabilities.gather(2, target.long()[:, :, None])[:, :, 0]
        return probabilities.square().sum(2) + 1 - 2 * picked

    def _block(self, params: Tensor) -> Tensor:
        """Logits as a block, ``(n_rows, n_columns, largest number of categories)``."""
        block = params.index_select(1, self.place).view(len(params), *self.filled_up.shape)
        return block.masked_fill(self.filled_up, -math.inf)


class Part(nn.Module):
    """The columns of one kind: their likelihood, and the positions of their cells and params."""

    columns: Tensor
    params: Tensor

    def __init__(self, likelihood: Likelihood, columns: Sequence[int], params: Sequence[int]) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.register_buffer("columns", torch.tensor(columns))
        self.register_buffer("params", torch.tensor(params))


class Mixed(Likelihood):
    """Columns of several kinds, each scored by the likelihood of its kind; missing cells score zero.

    Parameters
    ----------
    parts : sequence of Part
    flags : sequence of (column, flag)
        Pairs of columns that form a hurdle model: the cell of the first is not scored if the second, the flag, is 1.
    """

    back: Tensor
    back_params: Tensor
    flags: Tensor

    def __init__(self, parts: Sequence[Part], flags: Sequence[tuple[int, int]] = ()) -> None:
        columns, params = (torch.cat([getattr(part, name) for part in parts]) for name in ("columns", "params"))
        super().__init__(len(columns), len(params))
        self.parts: Sequence[Part] = nn.ModuleList(parts)  # type: ignore[assignment]
        self.register_buffer("flags", torch.tensor(flags, dtype=torch.long).reshape(-1, 2), persistent=False)
        self.register_buffer("back", columns.argsort())
        self.register_buffer("back_params", params.argsort())

    def log_prob(self, params: Tensor, target: Tensor) -> Tensor:
        return self._of_observed("log_prob", params, target)

    def squared_error(self, params: Tensor, target: Tensor) -> Tensor:
        return self._of_observed("squared_error", params, target)

    def mean(self, params: Tensor) -> Tensor:
        return self._of_params("mean", params).index_select(1, self.back)

    def expectation(self, params: Tensor) -> Tensor:
        return self._of_params("expectation", params).index_select(1, self.back_params)

    def cells(self, expectation: Tensor) -> Tensor:
        return self._of_params("cells", expectation).index_select(1, self.back)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        return self._of_params("sample", params, generator).index_select(1, self.back)

    def linear_start(self, mean: Tensor, drawn: bool) -> tuple[Tensor, Tensor]:
        """Start of each part; all use the slope that never overshoots, because the shared code is only approximate."""
        offset, slope = mean.clone(), torch.ones_like(mean)
        for part in self.parts:
            params = part.params.cpu()
            offset[params], slope[params] = part.likelihood.linear_start(mean[params], drawn=True)
        return offset, slope

    def fit_(self, squared_error: Tensor | float, weight: Tensor | float = 1.0) -> None:
        """Set the variances of normal cells."""
        errors = torch.as_tensor(squared_error, dtype=torch.float64).expand(self.n_columns)
        weights = torch.as_tensor(weight, dtype=torch.float64).expand(self.n_columns)
        for part in self.parts:
            columns = part.columns.cpu()
            part.likelihood.fit_(errors[columns], weights[columns])

    @property
    def variance(self) -> Tensor:
        """Variance of each column; NaN if its cells are not normal."""
        variances = []
        for part in self.parts:
            variance = part.likelihood.variance
            of_part = part.columns.new_full((len(part.columns),), torch.nan, dtype=torch.float64)
            variances.append(of_part if variance is None else variance.double().expand(len(part.columns)))
        return torch.cat(variances).index_select(0, self.back)

    def _of_params(self, method: str, params: Tensor, *args: torch.Generator) -> Tensor:
        blocks = [getattr(part.likelihood, method)(params.index_select(1, part.params), *args) for part in self.parts]
        return torch.cat(blocks, 1)

    def scored(self, target: Tensor) -> Tensor:
        scored = ~target.isnan()
        if len(self.flags):
            scored[:, self.flags[:, 0]] &= target.index_select(1, self.flags[:, 1]) < FLAGGED
        return scored

    def _of_observed(self, method: str, params: Tensor, target: Tensor) -> Tensor:
        not_scored = ~self.scored(target)
        known = target.masked_fill(target.isnan(), 0.0)
        cells = [
            getattr(part.likelihood, method)(params.index_select(1, part.params), known.index_select(1, part.columns))
            for part in self.parts
        ]
        return torch.cat(cells, 1).index_select(1, self.back).masked_fill(not_scored, 0.0)
