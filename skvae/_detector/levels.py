"""Contribution of new and unique categories to the anomaly score."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Levels:
    """Categories that occur in one training row only, and the contribution of a category that no other row has.

    By Good and Turing's rule, the share of future rows with a new category equals the share of training rows with a unique one.
    A new category contributes the score of a training row that is as rare as that: the highest score of all if no category is
    unique.

    Attributes
    ----------
    single : list of frozenset
        Unique categories of each column; empty if there are no categories.
    costs : ndarray of shape (n_columns,)
        Contribution to the score, per column.

    References
    ----------
    I. J. Good (1953). The population frequencies of species and the estimation of population parameters. Biometrika 40.
    """

    single: list[frozenset[Any]]
    costs: np.ndarray

    @classmethod
    def of(cls, single: list[frozenset[Any]], totals: np.ndarray, n_columns: int) -> "Levels":
        """From the unique categories and the scores of the training rows."""
        n_single = np.array([len(levels) for levels in single] or [0] * n_columns)
        shares = (n_single + 1) / (len(totals) + 1)
        return cls(single, np.maximum(np.quantile(totals, 1 - shares, method="higher"), 0.0))

    def cost_of(self, cells: np.ndarray) -> np.ndarray:
        """Contribution per row of the cells, ``(n_rows, n_columns)``, that hold such categories."""
        rows = np.flatnonzero(cells.any(axis=1))
        result = np.zeros(len(cells))
        result[rows] = cells[rows] @ self.costs
        return result
