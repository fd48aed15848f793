"""A task: the settings, and what the rows of the whole table decide."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from skvae._fit.settings import Settings
from skvae._tables.encoding import Encoding
from skvae.core.penalties import Penalty

MOST_FACTORS = 10  # factors of the linear model that fills in missing cells; more take longer and gain nothing
MOST_FACTORS_OF_LINEAR = 32  # such factors if there is nothing but the linear model
BETWEEN_RANKS = 1 << 32  # difference of seeds; all given seeds are smaller


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be fitted; the same for every part of the table.

    Attributes
    ----------
    settings : Settings
    encoding : Encoding
        Of the table's cells.
    n_components : int
    penalties : tuple of Penalty
        As they are applied to a code of this size.
    unit_variance : float
        A variance of 1 in the units of ``likelihood="mse"``, on the scale of the networks.
    floors : ndarray of shape (n_columns,)
        Smallest noise variance of each column.
    prior_rows : float
        Number of observations that a prior adds to each column's noise in factor analysis.
    """

    settings: Settings
    encoding: Encoding
    n_components: int
    penalties: tuple[Penalty, ...]
    unit_variance: float
    floors: np.ndarray
    prior_rows: float = 0.0

    @property
    def n_columns(self) -> int:
        return len(self.floors)

    @property
    def n_factors(self) -> int:
        """Number of factors of the linear model that fills in missing cells."""
        return n_factors(self.settings, self.encoding, self.n_components)

    def generator(self, rank: int = 0) -> torch.Generator:
        """A new generator at the seed, so that every part of the table starts from the same weights; each rank has its own."""
        return torch.Generator().manual_seed(self.settings.seed + rank * BETWEEN_RANKS)

    def with_seed(self, seed: int) -> "Task":
        return replace(self, settings=replace(self.settings, seed=seed))

    def with_likelihood(self, name: str, prior_rows: float = 0.0) -> "Task":
        return replace(self, settings=replace(self.settings, likelihood=name), prior_rows=prior_rows)


def n_factors(settings: Settings, encoding: Encoding, n_components: int) -> int:
    """``Task.n_factors`` before there is a task: the size of the code for a linear model, and else as many as may help."""
    n_features = len(encoding.mean)
    if settings.is_linear:
        return min(n_components, n_features, MOST_FACTORS_OF_LINEAR)
    return min(max(1, n_features // 2), MOST_FACTORS)
