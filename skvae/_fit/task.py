"""What is to be fitted: the settings, and what the rows of the whole table decide."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from skvae._fit.settings import Settings
from skvae._tables.encoding import Encoding
from skvae.core.penalties import Penalty

MOST_FACTORS = 10  # of the linear model that missing cells are filled in by; more cost time and gain nothing
MOST_FACTORS_OF_LINEAR = 32  # the same where the linear model is all there is
BETWEEN_RANKS = 1 << 32  # in seeds, all of which are smaller


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be fitted, the same for every part of the table.

    Attributes
    ----------
    settings : Settings
    encoding : Encoding
        Of the table's cells.
    n_components : int
    penalties : tuple of Penalty
        As they are charged, for a code of this size.
    unit_variance : float
        What a variance of 1 in the units of ``likelihood="mse"`` is on the scale of the networks.
    floors : ndarray of shape (n_columns,)
        Least variance of the noise of each column.
    prior_rows : float
        Further observations of each column's noise that factor analysis is given.
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
        """Of the linear model that fills in missing cells: the code's own where all is linear, else as many as may help."""
        return n_factors(self.settings, self.encoding, self.n_components)

    def generator(self, rank: int = 0) -> torch.Generator:
        """A new one at the seed, so that every part of the table starts from the same weights; of a rank, one of its own."""
        return torch.Generator().manual_seed(self.settings.seed + rank * BETWEEN_RANKS)

    def with_seed(self, seed: int) -> "Task":
        return replace(self, settings=replace(self.settings, seed=seed))

    def with_likelihood(self, name: str, prior_rows: float = 0.0) -> "Task":
        return replace(self, settings=replace(self.settings, likelihood=name), prior_rows=prior_rows)


def n_factors(settings: Settings, encoding: Encoding, n_components: int) -> int:
    """As ``Task.n_factors``, before there is a task."""
    n_features = len(encoding.mean)
    if settings.is_linear:
        return min(n_components, n_features, MOST_FACTORS_OF_LINEAR)
    return min(max(1, n_features // 2), MOST_FACTORS)
