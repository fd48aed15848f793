"""What a category costs that no other row has."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels that a single training row has, and what a level costs that none has.

    By Good and Turing's rule, as large a share of rows will come with a new level as has one of its own in the training table.
    A new level costs as much as the row that is that rare: the oddest of all where no level is single.

    Attributes
    ----------
    single : list of ndarray
        Codes of each column that one row has.
    costs : ndarray of shape (n_columns,)

    References
    ----------
    I. J. Good (1953). The population frequencies of species and the estimation of population parameters. Biometrika 40.
    """

    single: list[np.ndarray]
    costs: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, is_number: np.ndarray, totals: np.ndarray) -> "Levels":
        """From the training table and how odd each of its rows is."""
        single = [np.empty(0) if number else _once(cells) for cells, number in zip(rows.T, is_number, strict=True)]
        shares = [(len(codes) + 1) / (len(rows) + 1) for codes in single]
        return cls(single, np.maximum(np.quantile(totals, 1 - np.array(shares), method="higher"), 0.0))

    def cost_of(self, cells: np.ndarray) -> np.ndarray:
        """What each row costs for the cells, ``(n_rows, n_columns)``, that hold such levels."""
        rows = np.flatnonzero(cells.any(axis=1))
        result = np.zeros(len(cells))
        result[rows] = cells[rows] @ self.costs
        return result

    def are_single(self, rows: np.ndarray) -> np.ndarray:
        """Which cells hold a level that one training row has."""
        if not any(map(len, self.single)):
            return np.broadcast_to(False, rows.shape)
        return np.stack([np.isin(cells, codes) for cells, codes in zip(rows.T, self.single, strict=True)], axis=1)


def _once(cells: np.ndarray) -> np.ndarray:
    codes, counts = np.unique(cells[~np.isnan(cells)], return_counts=True)
    return codes[counts == 1]
