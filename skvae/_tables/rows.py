"""The rows of a table, weighted, with their exact statistics in float64: equal rows, moments, scalings.

Cells may be missing, NaN, where not said otherwise; statistics are then those of the cells that are there. A weight counts
repetitions of its row: a weight of 2 is the row twice, a weight of 0 its absence.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

BLOCK_ROWS = 1 << 15  # rows that are worked on at once, so that memory beyond the result does not grow with the table
SQUARABLE = 1e150  # the largest scale whose square is a float64
EPS = float(np.finfo(np.float64).eps)
FLOOR = 1e-6  # least variance of the noise, of a column of unit variance


@dataclass(frozen=True)
class Table:
    """Distinct rows in a canonical order, and how often each stands in the data.

    Weights that are all one are None, which spares the training loop a multiplication.
    """

    rows: np.ndarray
    weights: np.ndarray | None

    @property
    def counts(self) -> np.ndarray:
        return np.ones(len(self.rows)) if self.weights is None else self.weights

    @property
    def is_complete(self) -> bool:
        return not np.isnan(self.rows).any()

    def take(self, index: np.ndarray) -> "Table":
        return Table(self.rows[index], None if self.weights is None else self.weights[index])


def merge_equal_rows(X: np.ndarray, weights: np.ndarray | None) -> Table:
    """Sum the weights of equal rows, drop those of weight zero, and order the rest by a hash of the row.

    Then repeated rows and integer weights are one and the same table to the last bit, the order in which rows came is
    forgotten, and no copy of a training row can sit among the validation rows.
    """
    if weights is not None:
        X, weights = X[weights > 0], weights[weights > 0]
    X, hashes = hashed(X)
    order = np.argsort(hashes, kind="stable")
    X, hashes = X[order], hashes[order]
    same = np.flatnonzero(hashes[1:] == hashes[:-1])
    above, below = X[same], X[same + 1]
    same = same[((above == below) | (np.isnan(above) & np.isnan(below))).all(axis=1)]
    if weights is None and len(same) == 0:
        return Table(X, None)
    first = np.ones(len(X), dtype=bool)
    first[same + 1] = False
    ordered = np.ones(len(X)) if weights is None else weights[order]
    counts = np.add.reduceat(ordered, np.flatnonzero(first))
    return Table(X[first], None if (counts == 1).all() else counts)


def in_blocks(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """``function(rows)``, block by block; it maps ``(n, ...)`` to ``(n, ...)``."""
    return np.concatenate([function(rows[start : start + BLOCK_ROWS]) for start in range(0, len(rows), BLOCK_ROWS)])


def hashed(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows with one kind of zero and one of NaN, of which there are many, and a hash of each, the same for equal rows."""
    X = X + 0.0
    X[np.isnan(X)] = np.nan
    return X, pd.util.hash_pandas_object(pd.DataFrame(X, copy=False), index=False).to_numpy()


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
    def standard(cls, table: Table, numbers: np.ndarray | bool = True) -> "Scaling":
        """To zero mean and unit variance; a column without variance is only centred, and what is no number left as it is."""
        mean, std = moments(table)
        return cls._of_numbers(numbers, mean, np.where(std > 0, std, 1.0), std > 0)

    @classmethod
    def common(cls, table: Table, numbers: np.ndarray | bool = True) -> "Scaling":
        """To zero mean, and all columns by one factor, so that their proportions stay and the networks see numbers near 1."""
        mean, std = moments(table)
        std_of_numbers = np.where(numbers, std, 0.0)
        largest = std_of_numbers.max()
        factor = float(largest * np.sqrt(np.mean((std_of_numbers / largest) ** 2, where=numbers))) if largest > 0 else 1.0
        return cls._of_numbers(numbers, mean, np.full(len(mean), factor), std > 0, min(factor, SQUARABLE) ** 2)

    @classmethod
    def none(cls, table: Table) -> "Scaling":
        """Cells as they are."""
        mean, std = moments(table)
        return cls._of_numbers(False, mean, np.ones(len(mean)), std > 0)

    @classmethod
    def _of_numbers(
        cls, numbers: np.ndarray | bool, mean: np.ndarray, scale: np.ndarray, varies: np.ndarray, error_unit: float = 1.0
    ) -> "Scaling":
        numbers, empty = np.broadcast_to(numbers, mean.shape), np.isnan(mean)
        mean, scale = np.where(numbers | empty, mean, 0.0), np.where(numbers, scale, 1.0)
        return cls(mean, scale, ~empty & (varies | ~numbers), error_unit)

    def apply(self, X: np.ndarray) -> np.ndarray:
        return (X - self.mean) / self.scale

    def apply_to(self, table: Table) -> Table:
        return Table(self.apply(table.rows), table.weights)

    def invert(self, Z: np.ndarray) -> np.ndarray:
        return np.where(self.varies, Z * self.scale + self.mean, self.mean)

    def log_jacobians(self, rows: np.ndarray) -> np.ndarray:
        """Log density in input units minus log density on the scaled columns, of each row, over the cells that it has."""
        return -np.where(np.isnan(rows), 0.0, np.log(self.scale)).sum(axis=1)


def moments(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; exactly (value, 0) where all rows agree, (NaN, 0) where no cell is there."""
    X, counts = np.asarray(table.rows, dtype=np.float64), table.counts
    lowest, highest = extremes(table)
    magnitude = np.fmax(np.abs(lowest), np.abs(highest))
    magnitude[~(magnitude > 0)] = 1.0  # columns are taken relative to it, so that squares neither over- nor underflow
    unit = X / magnitude
    if table.is_complete:
        mean = np.average(unit, axis=0, weights=counts)
        std = np.sqrt(np.average((unit - mean) ** 2, axis=0, weights=counts))
    else:
        seen = np.maximum(counts @ ~np.isnan(X), np.finfo(np.float64).tiny)
        mean = counts @ np.nan_to_num(unit) / seen
        std = np.sqrt(counts @ np.nan_to_num(unit - mean) ** 2 / seen)
    constant = ~(lowest < highest) | (std <= 10 * np.finfo(np.float64).eps)
    return np.where(constant, lowest, mean * magnitude), np.where(constant, 0.0, std * magnitude)


def extremes(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest cell of each column; NaN where no cell is there."""
    return np.fmin.reduce(table.rows), np.fmax.reduce(table.rows)


def least_variances(table: Table) -> np.ndarray:
    """Below which no noise is learned, per column: a share of its variance, and no less than rounding in float32 makes."""
    variances = moments(table)[1] ** 2
    return FLOOR * np.maximum(np.where(variances > 0, variances, 1.0), FLOOR)


def resolutions(table: Table) -> np.ndarray:
    """Variance, per column, of what rounding takes from cells of the usual distance between neighbouring values.

    A density that is sharper than its cells are written down says nothing about other cells.
    """
    return np.array([median_gap(cells) for cells in table.rows.T]) ** 2 / 12


def median_gap(cells: np.ndarray) -> float:
    """Usual distance between neighbouring values; 0 where there is one value at most."""
    gaps = np.diff(np.unique(cells[~np.isnan(cells)]))
    return float(np.median(gaps)) if len(gaps) else 0.0
