"""Columns on scales that networks can learn on, and what of a column's variance is noise for sure."""

from dataclasses import dataclass

import numpy as np

from skvae._tables.rows import SQUARABLE, Rows
from skvae._tables.summary import Summary

FLOOR = 1e-6  # least variance of the noise, of a column of unit variance


@dataclass(frozen=True)
class Scaling:
    """``(x - mean) / scale`` per column, and back; a column that never ``varies`` comes back as its one value, exactly.

    The value of a column of which every cell is missing is NaN.
    """

    mean: np.ndarray
    scale: np.ndarray
    varies: np.ndarray
    error_unit: float = 1.0  # what a squared error of 1 on scaled columns is outside; 1 where each column has its own unit

    @classmethod
    def standard(cls, rows: Rows, numbers: np.ndarray | bool = True) -> "Scaling":
        """To zero mean and unit variance; a column without variance is only centred, and what is no number left as it is."""
        mean, std = rows.moments()
        return cls._of_numbers(numbers, mean, np.where(std > 0, std, 1.0), std > 0)

    @classmethod
    def common(cls, rows: Rows, numbers: np.ndarray | bool = True) -> "Scaling":
        """To zero mean, and all columns by one factor, so that their proportions stay and the networks see numbers near 1."""
        mean, std = rows.moments()
        std_of_numbers = np.where(numbers, std, 0.0)
        largest = std_of_numbers.max()
        factor = float(largest * np.sqrt(np.mean((std_of_numbers / largest) ** 2, where=numbers))) if largest > 0 else 1.0
        return cls._of_numbers(numbers, mean, np.full(len(mean), factor), std > 0, min(factor, SQUARABLE) ** 2)

    @classmethod
    def none(cls, rows: Rows) -> "Scaling":
        """Cells as they are."""
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
        """Log density in input units minus log density on the scaled columns, of each row, over the cells that it has."""
        return -np.where(np.isnan(rows), 0.0, np.log(self.scale)).sum(axis=1)


def least_variances(rows: Rows) -> np.ndarray:
    """Below which no noise is learned, per column: a share of its variance, and no less than rounding in float32 makes."""
    variances = rows.moments()[1] ** 2
    return FLOOR * np.maximum(np.where(variances > 0, variances, 1.0), FLOOR)


def resolutions(rows: Rows) -> np.ndarray:
    """Variance, per column, of what rounding takes from cells of the usual distance between neighbouring values.

    A density that is sharper than its cells are written down says nothing about other cells.
    """
    return np.array([median_gap(cells) for cells in rows.sample().rows.T]) ** 2 / 12


def median_gap(cells: np.ndarray) -> float:
    """Usual distance between neighbouring values; 0 where there is one value at most."""
    gaps = np.diff(np.unique(cells[~np.isnan(cells)]))
    return float(np.median(gaps)) if len(gaps) else 0.0
