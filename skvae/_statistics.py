"""Exact statistics of a weighted table, in float64: equal rows, moments, principal components.

A weight counts repetitions of its row: a weight of 2 is the row twice, a weight of 0 its absence.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg

SQUARABLE = 1e150  # the largest scale whose square is a float64
EPS = float(np.finfo(np.float64).eps)
FLOOR = 1e-6  # least variance of the noise, of a column of unit variance
SVD_COST = 3e8  # multiplications; above it the covariance's eigenvectors, which lose half the digits, are much cheaper


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

    def take(self, index: np.ndarray) -> "Table":
        return Table(self.rows[index], None if self.weights is None else self.weights[index])


def merge_equal_rows(X: np.ndarray, weights: np.ndarray | None) -> Table:
    """Sum the weights of equal rows, drop those of weight zero, and order the rest by a hash of the row.

    Then repeated rows and integer weights are one and the same table to the last bit, the order in which rows came is
    forgotten, and no copy of a training row can sit among the validation rows.
    """
    if weights is not None:
        X, weights = X[weights > 0], weights[weights > 0]
    X = X + 0.0  # -0.0 equals 0.0 and must hash like it
    hashes = pd.util.hash_pandas_object(pd.DataFrame(X, copy=False), index=False).to_numpy()
    order = np.argsort(hashes, kind="stable")
    X, hashes = X[order], hashes[order]
    same = np.flatnonzero(hashes[1:] == hashes[:-1])
    same = same[(X[same + 1] == X[same]).all(axis=1)]
    if weights is None and len(same) == 0:
        return Table(X, None)
    first = np.ones(len(X), dtype=bool)
    first[same + 1] = False
    ordered = np.ones(len(X)) if weights is None else weights[order]
    counts = np.add.reduceat(ordered, np.flatnonzero(first))
    return Table(X[first], None if (counts == 1).all() else counts)


@dataclass(frozen=True)
class Scaling:
    """``(x - mean) / scale`` per column, and back; a column that never ``varies`` comes back as its one value, exactly."""

    mean: np.ndarray
    scale: np.ndarray
    varies: np.ndarray
    error_unit: float = 1.0  # what a squared error of 1 on scaled columns is outside; 1 where each column has its own unit

    @classmethod
    def standard(cls, table: Table) -> "Scaling":
        """To zero mean and unit variance; a column without variance is only centred."""
        mean, std = moments(table)
        return cls(mean, np.where(std > 0, std, 1.0), std > 0)

    @classmethod
    def common(cls, table: Table) -> "Scaling":
        """To zero mean, and all columns by one factor, so that their proportions stay and the networks see numbers near 1."""
        mean, std = moments(table)
        largest = std.max()
        factor = float(largest * np.sqrt(np.mean((std / largest) ** 2))) if largest > 0 else 1.0
        return cls(mean, np.full(len(mean), factor), std > 0, min(factor, SQUARABLE) ** 2)

    @classmethod
    def none(cls, n_columns: int) -> "Scaling":
        return cls(np.zeros(n_columns), np.ones(n_columns), np.ones(n_columns, dtype=bool))

    def apply(self, X: np.ndarray) -> np.ndarray:
        return (X - self.mean) / self.scale

    def apply_to(self, table: Table) -> Table:
        return Table(self.apply(table.rows), table.weights)

    def invert(self, Z: np.ndarray) -> np.ndarray:
        return np.where(self.varies, Z * self.scale + self.mean, self.mean)

    @property
    def log_jacobian(self) -> float:
        """Log density in input units minus log density on the scaled columns."""
        return -float(np.log(self.scale).sum())


def moments(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; exactly (value, 0) where all rows agree."""
    X, counts = np.asarray(table.rows, dtype=np.float64), table.counts
    magnitude = np.abs(X).max(axis=0)
    magnitude[magnitude == 0] = 1.0  # columns are taken relative to it, so that squares neither over- nor underflow
    unit = X / magnitude
    mean = np.average(unit, axis=0, weights=counts)
    std = np.sqrt(np.average((unit - mean) ** 2, axis=0, weights=counts))
    constant = (X == X[0]).all(axis=0) | (std <= 10 * np.finfo(np.float64).eps)
    return np.where(constant, X[0], mean * magnitude), np.where(constant, 0.0, std * magnitude)


def least_variances(table: Table) -> np.ndarray:
    """Below which no noise is learned, per column: a share of its variance, and no less than rounding in float32 makes."""
    variances = moments(table)[1] ** 2
    return FLOOR * np.maximum(np.where(variances > 0, variances, 1.0), FLOOR)


@dataclass(frozen=True)
class PrincipalComponents:
    """Mean, unit axes as rows and the variance along each (divisor: total weight - 1), in falling order."""

    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of each column."""
        return np.sqrt(self.variances @ self.axes**2)

    def n_for_share(self, share: float) -> int:
        """The fewest components that explain more than this share of the variance."""
        total = self.variances.sum()
        if total == 0:
            return 1
        cumulative = np.cumsum(self.variances / total)
        return min(int(np.searchsorted(cumulative, share, side="right")) + 1, len(self.variances))


def principal_components(table: Table) -> PrincipalComponents:
    """PCA of weighted rows, with scikit-learn's signs: the largest loading of each axis is positive."""
    X, counts = np.asarray(table.rows, dtype=np.float64), table.counts
    mean = np.average(X, axis=0, weights=counts)
    total = counts.sum()
    divisor = max(total - 1, total / 2)  # weights that hardly sum to a row must not blow up the variances
    rows = (X - mean) * np.sqrt(counts / divisor)[:, None]
    n, d = rows.shape
    if n * d * min(n, d) <= SVD_COST or n < d:
        _, singular, axes = linalg.svd(rows, full_matrices=False)
        variances = singular**2
    else:
        variances, vectors = linalg.eigh(rows.T @ rows)
        variances, axes = np.clip(variances[::-1], 0, None), vectors[:, ::-1].T
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return PrincipalComponents(mean, axes * signs[:, None], variances)
