"""From the cells of a table to the features of linear models: numbers as they are, one feature per level."""

from dataclasses import dataclass

import numpy as np

from skvae._tables.rows import EPS, Rows

BOOLEAN = 1  # in place of a number of levels: one feature tells two apart


@dataclass(frozen=True)
class Encoding:
    """What the features of a table are; a feature is ``(value - mean) / unit``.

    Every column that is no number is brought to a total variance of 1 over its features, so that it counts as much as a
    standardised number does, however many levels it has and however rare they are.

    Attributes
    ----------
    n_levels : ndarray of shape (n_columns,)
        0 for numbers, 1 for booleans, else how many levels the column has.
    mean, unit : ndarray of shape (n_features,)
    """

    n_levels: np.ndarray
    mean: np.ndarray
    unit: np.ndarray

    @classmethod
    def of(cls, rows: Rows, n_levels: np.ndarray) -> "Encoding":
        """The encoding of scaled rows, of which a sample says how frequent levels are where there are many."""
        plain = cls(n_levels, *np.array([[0.0], [1.0]]).repeat(np.maximum(n_levels, 1).sum(), axis=1))
        if not plain.is_mixed:
            return plain
        table = rows.sample()
        values, counts = plain.features(table.rows), table.counts
        seen = np.maximum(counts @ ~np.isnan(values), np.finfo(np.float64).tiny)
        share = np.where(plain.is_number, 0.0, counts @ np.nan_to_num(values) / seen)
        variance = np.bincount(plain.column, share * (1 - share), len(n_levels))[plain.column]
        return cls(n_levels, share, np.where(plain.is_number | (variance <= 10 * EPS), 1.0, np.sqrt(np.maximum(variance, 0))))

    @property
    def column(self) -> np.ndarray:
        """Which column each feature is of."""
        return np.repeat(np.arange(len(self.n_levels)), np.maximum(self.n_levels, 1))

    @property
    def level(self) -> np.ndarray:
        """Which level each feature stands for; -1 where it is the cell itself, a number or a boolean."""
        first = np.cumsum(np.maximum(self.n_levels, 1)) - np.maximum(self.n_levels, 1)
        position = np.arange(len(self.column)) - first[self.column]
        return np.where(self.n_levels[self.column] > BOOLEAN, position, -1)

    @property
    def is_number(self) -> np.ndarray:
        """Whether each feature is a number."""
        return self.n_levels[self.column] == 0

    @property
    def is_mixed(self) -> bool:
        """Whether there are columns of other things than numbers."""
        return bool(self.n_levels.any())

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Features of scaled rows, ``(n_rows, n_features)``; NaN where the cell is missing."""
        cells, level = rows[:, self.column].astype(np.float64), self.level
        is_level = level >= 0
        cells[:, is_level] = np.where(np.isnan(cells[:, is_level]), np.nan, cells[:, is_level] == level[is_level])
        return (cells - self.mean) / self.unit
