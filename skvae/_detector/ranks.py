"""Rarity of a cell in its own column."""

from dataclasses import dataclass

import numpy as np

FREQUENT = 0.05  # share of a column from which on a category is no surprise
TIE = 1e-5  # spreads; numbers closer than this are ties, so that rounding does not order them


@dataclass(frozen=True, eq=False)
class Ranks:
    """Sorted columns of the memory, for p-values of single cells.

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
        """From squashed rows; missing cells are NaN."""
        return cls([np.sort(cells[~np.isnan(cells)]) for cells in rows.T], is_number)

    def surprise(self, rows: np.ndarray, among_them: bool) -> np.ndarray:
        """Minus the logarithm of the p-value of each cell; NaN if it is missing.

        p-values of categories are divided by 5 %, up to 1: a category that more than a few rows have is no surprise.
        """
        p_values = self.p_values(rows, among_them)
        return -np.log(np.where(self.is_number, p_values, np.minimum(p_values / FREQUENT, 1.0)))

    def p_values(self, rows: np.ndarray, among_them: bool) -> np.ndarray:
        """The p-value of each cell; NaN if it is missing.

        For a number, it is twice the share of the column that is at least as low or at least as high, whichever is less, and at
        most 1. For a category, it is the share of the column with categories at least as rare. The cell itself is counted.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns)
            Squashed cells.
        among_them : bool
            Whether the rows are in the memory.
        """
        result = np.full(rows.shape, np.nan)
        for j, column in enumerate(self.columns):
            seen = ~np.isnan(rows[:, j])
            p_values = _two_sided if self.is_number[j] else _of_levels
            result[seen, j] = p_values(column, rows[seen, j], among_them)
        return result


def _two_sided(column: np.ndarray, cells: np.ndarray, among_them: bool) -> np.ndarray:
    others = len(column) - among_them
    as_low = np.searchsorted(column, cells + TIE, "right")
    as_high = len(column) - np.searchsorted(column, cells - TIE, "left")
    as_extreme = np.maximum(np.minimum(as_low, as_high) - among_them, 0)
    return np.minimum(2 * (as_extreme + 1) / (others + 1), 1.0)


def _of_levels(column: np.ndarray, cells: np.ndarray, among_them: bool) -> np.ndarray:
    levels, counts = np.unique(column, return_counts=True)
    if not len(levels):
        return np.ones(len(cells))
    place = np.searchsorted(levels, cells).clip(max=len(levels) - 1)
    before = np.where(levels[place] == cells, counts[place], 0)
    own = before - among_them + 1  # count with the cell itself
    by_rarity = np.sort(counts)
    n_as_rare = np.concatenate([[0], np.cumsum(by_rarity)])[np.searchsorted(by_rarity, own, "right")]
    return (n_as_rare - before + own) / (len(column) - among_them + 1)
