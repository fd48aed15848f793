"""From cells to the features of linear models: numbers unchanged, one indicator per category."""

from dataclasses import dataclass

import numpy as np

from skvae._tables.rows import EPS, Rows

BOOLEAN = 1  # number of features of a boolean, instead of a number of categories


@dataclass(frozen=True)
class Encoding:
    """Features of a table; each is ``(value - mean) / unit``.

    The features of a non-numeric column have a total variance of 1. The column therefore counts as much as a standardised
    number, for any number and frequency of categories.

    Attributes
    ----------
    n_levels : ndarray of shape (n_columns,)
        0 for numbers, 1 for booleans, else the number of categories.
    mean, unit : ndarray of shape (n_features,)
    """

    n_levels: np.ndarray
    mean: np.ndarray
    unit: np.ndarray

    @classmethod
    def of(cls, rows: Rows, n_levels: np.ndarray) -> "Encoding":
        """The encoding of scaled rows; of many rows, a sample determines the frequencies of categories."""
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
        """The column of each feature."""
        return np.repeat(np.arange(len(self.n_levels)), np.maximum(self.n_levels, 1))

    @property
    def level(self) -> np.ndarray:
        """The category code of each feature; -1 for the cell itself, a number or a boolean."""
        first = np.cumsum(np.maximum(self.n_levels, 1)) - np.maximum(self.n_levels, 1)
        position = np.arange(len(self.column)) - first[self.column]
        return np.where(self.n_levels[self.column] > BOOLEAN, position, -1)

    @property
    def is_number(self) -> np.ndarray:
        """Whether each feature is a number."""
        return self.n_levels[self.column] == 0

    @property
    def is_mixed(self) -> bool:
        """Whether there are non-numeric columns."""
        return bool(self.n_levels.any())

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Features of scaled rows, ``(n_rows, n_features)``; NaN if the cell is missing."""
        cells, level = rows[:, self.column].astype(np.float64), self.level
        is_level = level >= 0
        cells[:, is_level] = np.where(np.isnan(cells[:, is_level]), np.nan, cells[:, is_level] == level[is_level])
        return (cells - self.mean) / self.unit
