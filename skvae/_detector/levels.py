"""What a category costs that no other row has."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels that a single training row has, and what a level costs that no other row has.

    By Good and Turing's rule, as large a share of rows will come with a new level as has one of its own in the training table.
    A new level costs as much as the row that is that rare: the oddest of all where no level is single.

    Attributes
    ----------
    single : list of frozenset
        Of each column; empty where there are no categories.
    costs : ndarray of shape (n_columns,)

    References
    ----------
    I. J. Good (1953). The population frequencies of species and the estimation of population parameters. Biometrika 40.
    """

    single: list[frozenset[Any]]
    costs: np.ndarray

    @classmethod
    def of(cls, single: list[frozenset[Any]], totals: np.ndarray, n_columns: int) -> "Levels":
        """From the levels and how odd each row of the training table is."""
        n_single = np.array([len(levels) for levels in single] or [0] * n_columns)
        shares = (n_single + 1) / (len(totals) + 1)
        return cls(single, np.maximum(np.quantile(totals, 1 - shares, method="higher"), 0.0))

    def cost_of(self, cells: np.ndarray) -> np.ndarray:
        """What each row costs for the cells, ``(n_rows, n_columns)``, that hold such levels."""
        rows = np.flatnonzero(cells.any(axis=1))
        result = np.zeros(len(cells))
        result[rows] = cells[rows] @ self.costs
        return result
