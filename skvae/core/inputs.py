"""Input of the encoder: numbers, indicators of categories, and missing cells filled in and marked.

Cells are ``(n_rows, n_columns)``, with codes for categories and NaN for missing values. They become features: one per number
and one per category, all centred and in comparable units, as linear models need. If the encoder is told the noise level of a
row, its logarithm is one more input.
"""

import torch
from torch import Tensor, nn


class Inputs(nn.Module):
    """Conversion of cells to features, without trainable parameters.

    A missing cell is filled in with its expectation under a linear Gaussian model, given the other cells of the row. The code
    of the filled row under that model then equals its code given the observed cells. Before ``start_`` the expectation is the
    mean.

    Parameters
    ----------
    column : Tensor of shape (n_features,)
        Column of each feature.
    level : Tensor of shape (n_features,)
        Category code of each feature; negative if the feature is the cell itself.
    mean, unit : Tensor of shape (n_features,)
        A feature is ``(value - mean) / unit``; the value of a category is 1 or 0.
    n_factors : int
        Number of factors of the linear model.
    marked : bool
        Whether the encoder is told which cells are missing, by one more input per column that is 1 for observed cells. A model
        of a complete table is not told; in training, its cells are its features.
    told_level : float or None
        Noise level that the encoder is told for rows without one; None if it is told none.
    """

    column: Tensor
    level: Tensor
    is_cell: Tensor
    mean: Tensor
    unit: Tensor
    centre: Tensor
    loadings: Tensor
    noise: Tensor
    told_level: Tensor | None

    def __init__(
        self,
        column: Tensor,
        level: Tensor,
        mean: Tensor,
        unit: Tensor,
        n_factors: int,
        marked: bool,
        dtype: torch.dtype,
        told_level: float | None = None,
    ) -> None:
        super().__init__()
        self.marked = marked
        n_features = len(column)
        self.register_buffer("column", column)
        self.register_buffer("level", level.to(dtype))
        self.register_buffer("is_cell", level < 0)
        self.register_buffer("mean", mean.to(dtype))
        self.register_buffer("unit", unit.to(dtype))
        self.register_buffer("centre", torch.zeros(n_features, dtype=dtype))
        self.register_buffer("loadings", torch.zeros(n_features, n_factors, dtype=dtype))
        self.register_buffer("noise", torch.ones(n_features, dtype=dtype))
        told = None if told_level is None else torch.tensor([[told_level]], dtype=dtype)
        self.register_buffer("told_level", told, persistent=False)  # not learned: a resumed model has its own

    @classmethod
    def of_numbers(
        cls,
        n_columns: int,
        n_factors: int = 0,
        marked: bool = False,
        dtype: torch.dtype = torch.float32,
        told_level: float | None = None,
    ) -> "Inputs":
        """Each cell is its feature."""
        zeros, ones = torch.zeros(n_columns, dtype=dtype), torch.ones(n_columns, dtype=dtype)
        return cls(torch.arange(n_columns), -ones, zeros, ones, n_factors, marked, dtype, told_level)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the encoder."""
        n_columns = int(self.column.max()) + 1
        return len(self.column) + n_columns * self.marked + (self.told_level is not None)

    @torch.no_grad()
    def start_(self, centre: Tensor, loadings: Tensor, noise: Tensor) -> None:
        """Set the linear model to ``features = centre + loadings @ z + e``, z ~ N(0, I), e ~ N(0, diag(noise))."""
        for buffer, values in ((self.centre, centre), (self.loadings, loadings), (self.noise, noise)):
            buffer.copy_(values)

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        inputs = self._cells(x)
        if self.told_level is None:
            return inputs
        level = self.told_level.expand(len(x), 1) if level is None else level
        return torch.cat([inputs, level.log()], 1)

    def _cells(self, x: Tensor) -> Tensor:
        if not self.marked and (self.training or not x.isnan().any()):
            return x
        observed = ~x.isnan()
        features = self.fill(self.features(x), observed.index_select(1, self.column))
        return torch.cat([features, observed.to(x.dtype)], 1) if self.marked else features

    def features(self, x: Tensor) -> Tensor:
        """Features of every cell; for a missing cell, NaN or no category."""
        cell = x.index_select(1, self.column)
        return (torch.where(self.is_cell, cell, (cell == self.level).to(x.dtype)) - self.mean) / self.unit

    def fill(self, features: Tensor, observed: Tensor) -> Tensor:
        """Features, with unobserved ones replaced by their conditional expectation."""
        precision = observed / self.noise
        deviations = torch.where(observed, features - self.centre, 0.0)
        n_factors = self.loadings.shape[1]
        products = (self.loadings[:, :, None] * self.loadings[:, None]).flatten(1)
        identity = torch.eye(n_factors, dtype=features.dtype, device=features.device)
        information = (precision @ products).view(len(features), n_factors, n_factors) + identity
        factor = torch.linalg.cholesky_ex(information).L
        code = torch.cholesky_solve(((precision * deviations) @ self.loadings)[:, :, None], factor)[:, :, 0]
        return torch.where(observed, features, code @ self.loadings.T + self.centre)
