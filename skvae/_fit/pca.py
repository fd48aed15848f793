"""Principal components of weighted rows, exact and in float64."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from skvae._tables.lazy import Lazy
from skvae._tables.rows import Rows

SVD_COST = 3e8  # multiplications; above, eigenvectors of the covariance are much cheaper, though they lose half the digits


@dataclass(frozen=True)
class PrincipalComponents:
    """Mean, unit axes as rows, and the variance along each axis in falling order (divisor: total weight - 1)."""

    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of each column."""
        return np.sqrt(self.variances @ self.axes**2)

    def left_by(self, n_components: int, total: float) -> np.ndarray:
        """Mean squared residual of each column after a projection on the first axes, for rows of this total weight."""
        left: np.ndarray = self.variances[n_components:] @ self.axes[n_components:] ** 2
        return left * divisor_of(total) / total

    def n_for_share(self, share: float) -> int:
        """The fewest components that explain more than this share of the variance."""
        total = self.variances.sum()
        if total == 0:
            return 1
        cumulative = np.cumsum(self.variances / total)
        return min(int(np.searchsorted(cumulative, share, side="right")) + 1, len(self.variances))


def principal_components(table: Rows) -> PrincipalComponents:
    """PCA of weighted rows without missing values, with scikit-learn's signs: the largest loading of each axis is positive."""
    divisor = divisor_of(table.total)
    if isinstance(table, Lazy):
        return components_of_covariance(table.moments()[0], table.summary.covariance(divisor))
    held = table.gathered()
    X, counts = np.asarray(held.rows, dtype=np.float64), held.counts
    mean = np.average(X, axis=0, weights=counts)
    rows = (X - mean) * np.sqrt(counts / divisor)[:, None]
    n, d = rows.shape
    if n * d * min(n, d) <= SVD_COST or n < d:
        _, singular, axes = linalg.svd(rows, full_matrices=False)
        variances = singular**2
    else:
        return components_of_covariance(mean, rows.T @ rows)
    return PrincipalComponents(mean, _with_signs(axes), variances)


def divisor_of(total: float) -> float:
    """Total weight - 1, bounded so that a total weight near 1 does not blow up the variances."""
    return max(total - 1, total / 2)


def components_of_covariance(mean: np.ndarray, covariance: np.ndarray) -> PrincipalComponents:
    """Principal components from the covariance of the rows."""
    variances, vectors = linalg.eigh(covariance)
    return PrincipalComponents(mean, _with_signs(vectors[:, ::-1].T), np.clip(variances[::-1], 0, None))


def _with_signs(axes: np.ndarray) -> np.ndarray:
    return axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
