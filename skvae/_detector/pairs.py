"""Rarity of pairs of cells in one row, one of them a category."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

N_BINS = 12  # of a column of numbers, equally frequent as far as ties allow
LEAST, MOST = 5, 64  # minimum number of rows of a category, and maximum number of categories per column
RARER = 10.0  # factor below independence from which on a pair contributes to the score
UNSEEN = 0.5  # count of pairs that do not occur
PER_NAT = 5.0  # contribution of each of the two cells per nat beyond that, in units of the score


@dataclass(frozen=True, eq=False)
class Pairs:
    """Counts of pairs of a category and another cell; numbers are binned.

    Attributes
    ----------
    bounds : list of ndarray
        Inner bounds of the bins of each column, or its category codes in rising order.
    is_number : ndarray of bool of shape (n_columns,)
    first : ndarray of int of shape (n_columns,)
        Position of the first feature of each column. Features are its bins or categories.
    alone : ndarray of shape (n_features + 1,)
        Number of rows with each feature; the last entry, for cells without a feature, is 0.
    together : dict of int to ndarray
        For each categorical column: number of rows with each of its categories and each feature, again with a last entry.
    n_rows : int
    """

    bounds: list[np.ndarray]
    is_number: np.ndarray
    first: np.ndarray
    alone: np.ndarray
    together: dict[int, np.ndarray]
    n_rows: int

    @classmethod
    def of(cls, rows: np.ndarray, is_number: np.ndarray) -> "Pairs":
        """Count the pairs of a table; missing cells are NaN."""
        bounds = [_bins(cells) if number else _levels(cells) for cells, number in zip(rows.T, is_number, strict=True)]
        sizes = np.array([len(some) + number for some, number in zip(bounds, is_number, strict=True)])
        first = np.cumsum(sizes) - sizes
        self = cls(bounds, is_number, first, np.zeros(sizes.sum() + 1), {}, len(rows))
        features = self._features(rows)
        n_features = len(self.alone)
        for j in np.flatnonzero(~is_number):
            place = np.where(features[:, j] < n_features - 1, features[:, j] - first[j], sizes[j])
            counts = [np.bincount(place * n_features + column, minlength=(sizes[j] + 1) * n_features) for column in features.T]
            self.together[int(j)] = _sum(counts).reshape(-1, n_features).astype(np.float32)
        self.alone[:-1] = np.bincount(features.ravel(), minlength=n_features)[:-1]
        return self

    def costs(self, rows: np.ndarray, among_them: np.ndarray) -> np.ndarray:
        """Contribution of each cell by its rare pairs; a pair contributes equally to its two cells.

        A pair counts if it is more than ten times rarer than under independence. It then contributes by the excess in nats.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns)
        among_them : ndarray of bool of shape (n_rows,)
            Which rows have been counted. Their own count is subtracted.
        """
        if not self.together:
            return np.zeros(rows.shape)
        features, own = self._features(rows), among_them.astype(np.float64)[:, None]
        others = np.maximum(self.alone[features] - own, 0.0)
        result, n_others = np.zeros(rows.shape), np.maximum(self.n_rows - own, 1.0)
        for j, together in self.together.items():
            place = np.minimum(features[:, j] - self.first[j], len(together) - 1)
            seen = np.maximum(together[place[:, None], features] - own, 0.0)
            ratio = (others[:, [j]] * others / n_others + UNSEEN) / (seen + UNSEEN)
            cost = PER_NAT * np.log(np.maximum(ratio / RARER, 1.0))
            cost[:, j] = 0.0
            result[:, j] += _sum(cost.T)
            result[:, self.is_number] += cost[:, self.is_number]
        return result

    def _features(self, rows: np.ndarray) -> np.ndarray:
        """The feature of each cell."""
        none = len(self.alone) - 1
        result = np.full(rows.shape, none)
        for j, bounds in enumerate(self.bounds):
            cells = rows[:, j]
            place = np.searchsorted(bounds, cells)
            if self.is_number[j]:
                has_one = ~np.isnan(cells)
            else:
                place = place.clip(max=max(len(bounds) - 1, 0))
                has_one = bounds[place] == cells if len(bounds) else np.zeros(len(cells), dtype=bool)
            result[has_one, j] = self.first[j] + place[has_one]
        return result


def _bins(cells: np.ndarray) -> np.ndarray:
    cells = cells[~np.isnan(cells)]
    return np.unique(np.quantile(cells, np.arange(1, N_BINS) / N_BINS)) if len(cells) else cells


def _levels(cells: np.ndarray) -> np.ndarray:
    """The most frequent categories of a column, in rising order."""
    levels, counts = np.unique(cells[~np.isnan(cells)], return_counts=True)
    chosen = np.argsort(-counts, kind="stable")[: min(MOST, int((counts >= LEAST).sum()))]
    return np.sort(levels[chosen])


def _sum(arrays: "list[np.ndarray] | np.ndarray") -> np.ndarray:
    """Sum in fixed order, so that the last bits of a row do not depend on the number of rows."""
    return reduce(np.add, arrays)
