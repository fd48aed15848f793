"""How rare it is for two cells to stand in one row, one of which is a category."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

N_BINS = 12  # of a column of numbers, with as many rows in each as ties allow
LEAST, MOST = 5, 64  # rows of a level that can be missed elsewhere, and how many levels of a column are looked at
RARER = 10.0  # than if the two had nothing to do with each other; from there on a pair costs
UNSEEN = 0.5  # rows, in place of none
PER_NAT = 5.0  # what each of the two cells costs beyond, in units of the score


@dataclass(frozen=True, eq=False)
class Pairs:
    """How many rows of a table have each pair of a level and of another cell, numbers in bins.

    Attributes
    ----------
    bounds : list of ndarray
        Of each column: the inner bounds of the bins, or the levels in rising order.
    is_number : ndarray of bool of shape (n_columns,)
    first : ndarray of int of shape (n_columns,)
        Where the features of a column, which are its bins or levels, start among all.
    alone : ndarray of shape (n_features + 1,)
        How many rows have each feature; the last stands for cells that have none, and is 0.
    together : dict of int to ndarray
        Of each column of categories: how many rows have each of its levels and each feature, with the last here too.
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
        """Count the pairs of a table, NaN where a cell is missing."""
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
        """What each cell costs for the pairs that it is in; a pair costs each of its two cells the same.

        That is by how many nats it is rarer, beyond a tenth, than if the two had nothing to do with each other.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns)
        among_them : ndarray of bool of shape (n_rows,)
            Which rows have been counted; they are not for themselves.
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
    """The most frequent levels of a column, in rising order."""
    levels, counts = np.unique(cells[~np.isnan(cells)], return_counts=True)
    chosen = np.argsort(-counts, kind="stable")[: min(MOST, int((counts >= LEAST).sum()))]
    return np.sort(levels[chosen])


def _sum(arrays: "list[np.ndarray] | np.ndarray") -> np.ndarray:
    """One after the other, so that the last bits of a row do not depend on how many there are."""
    return reduce(np.add, arrays)
