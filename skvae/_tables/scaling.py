"""Scaling of columns for networks, and lower bounds of their noise variance."""

from dataclasses import dataclass

import numpy as np

from skvae._tables.rows import SQUARABLE, Rows
from skvae._tables.summary import Summary

FLOOR = 1e-6  # smallest noise variance of a column of unit variance


@dataclass(frozen=True)
class Scaling:
    """``(x - mean) / scale`` per column, and back. A column that does not vary is restored exactly to its single value.

    That value is NaN if all cells of the column are missing.
    """

    mean: np.ndarray
    scale: np.ndarray
    varies: np.ndarray
    error_unit: float = 1.0  # squared error in input units per squared error on scaled columns; 1 if scales differ by column

    @classmethod
    def standard(cls, rows: Rows, numbers: np.ndarray | bool = True) -> "Scaling":
        """Scale numbers to zero mean and unit variance. Constant columns are only centred; other columns are unchanged."""
        mean, std = rows.moments()
        return cls._of_numbers(numbers, mean, np.where(std > 0, std, 1.0), std > 0)

    @classmethod
    def common(cls, rows: Rows, numbers: np.ndarray | bool = True) -> "Scaling":
        """Centre numbers and divide all by one factor, so that proportions are kept and networks see numbers near 1."""
        mean, std = rows.moments()
        std_of_numbers = np.where(numbers, std, 0.0)
        largest = std_of_numbers.max()
        factor = float(largest * np.sqrt(np.mean((std_of_numbers / largest) ** 2, where=numbers))) if largest > 0 else 1.0
        return cls._of_numbers(numbers, mean, np.full(len(mean), factor), std > 0, min(factor, SQUARABLE) ** 2)

    @classmethod
    def none(cls, rows: Rows) -> "Scaling":
        """Leave all cells unchanged."""
        mean, std = rows.moments()
        return cls._of_numbers(False, mean, np.ones(len(mean)), std > 0)

    @classmethod
    def _of_numbers(
        cls, numbers: np.ndarray | bool, mean: np.ndarray, scale: np.ndarray, varies: np.ndarray, error_unit: float = 1.0
    ) -> "Scaling":
        numbers, empty = np.broadcast_to(numbers, mean.shape), np.isnan(mean)
        mean, scale = np.where(numbers | empty, mean, 0.0), np.where(numbers, scale, 1.0)
        return cls(mean, scale, ~empty & (varies | ~numbers), error_unit)

    def apply(self, X: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = X - self.mean
        scaled /= self.scale
        return scaled

    def summarised(self, summary: Summary) -> Summary:
        return summary.scaled(self.mean, self.scale)

    def invert(self, Z: np.ndarray) -> np.ndarray:
        return np.where(self.varies, Z * self.scale + self.mean, self.mean)

    def log_jacobians(self, rows: np.ndarray) -> np.ndarray:
        """Log-density of each row in input units minus that on scaled columns, over its observed cells."""
        return -np.where(np.isnan(rows), 0.0, np.log(self.scale)).sum(axis=1)


def least_variances(rows: Rows) -> np.ndarray:
    """Smallest noise variance per column: a share of its variance, and at least the rounding error of float32."""
    variances = rows.moments()[1] ** 2
    return FLOOR * np.maximum(np.where(variances > 0, variances, 1.0), FLOOR)


def resolutions(rows: Rows) -> np.ndarray:
    """Variance of the rounding error per column, from the median distance of neighbouring values.

    A density that is sharper than the resolution of the cells does not generalise.
    """
    return np.array([median_gap(cells) for cells in rows.sample().rows.T]) ** 2 / 12


def median_gap(cells: np.ndarray) -> float:
    """Median distance between neighbouring values; 0 if there is at most one value."""
    gaps = np.diff(np.unique(cells[~np.isnan(cells)]))
    return float(np.median(gaps)) if len(gaps) else 0.0
