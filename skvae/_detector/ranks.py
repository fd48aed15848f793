"""How rare a cell is in its own column."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ranks:
    """The columns of a memory of rows, to find p-values of single cells in.

    Attributes
    ----------
    columns : list of ndarray
        The observed cells of each column, in rising order.
    is_number : ndarray of bool of shape (n_columns,)
    """

    columns: list[np.ndarray]
    is_number: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, is_number: np.ndarray) -> "Ranks":
        """From rows, NaN where a cell is missing."""
        return cls([np.sort(cells[~np.isnan(cells)]) for cells in rows.T], is_number)

    def surprise(self, rows: np.ndarray, among_them: bool) -> np.ndarray:
        """Minus the logarithm of the p-value of each cell; NaN where it is missing.

        Of a number: twice the share of the column that is as low or as high, whichever is less, at most 1. Of a category: the
        share of rows whose level is as rare. Ties count, and the cell itself is counted as one more of its kind.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns)
        among_them : bool
            Whether the rows are in the memory themselves.
        """
        own, result = int(among_them), np.full(rows.shape, np.nan)
        for j, column in enumerate(self.columns):
            seen = ~np.isnan(rows[:, j])
            as_extreme = (_in_tail if self.is_number[j] else _as_rare)(column, rows[seen, j])
            p = (as_extreme - own + 1) / (len(column) - own + 1)
            result[seen, j] = -np.log(np.minimum(p * (2 if self.is_number[j] else 1), 1.0))
        return result


def _in_tail(column: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """How many cells of a column are as low or as high as each, whichever are fewer."""
    return np.minimum(np.searchsorted(column, cells, "right"), len(column) - np.searchsorted(column, cells, "left"))


def _as_rare(column: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """How many cells of a column have levels that are as rare as that of each."""
    levels, counts = np.unique(column, return_counts=True)
    by_rarity = np.sort(counts)
    place = np.searchsorted(levels, cells).clip(max=max(len(levels) - 1, 0))
    own = np.where(levels[place] == cells, counts[place], 0) if len(levels) else np.zeros(len(cells), dtype=int)
    return np.concatenate([[0], np.cumsum(by_rarity)])[np.searchsorted(by_rarity, own, "right")]
