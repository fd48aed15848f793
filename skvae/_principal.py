"""PCA attributes and methods of a linear autoencoder that is PCA."""

from dataclasses import dataclass

import numpy as np

from skvae._fit.pca import divisor_of
from skvae._fitted import Fitted
from skvae._tables.rows import Rows


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """The principal axes of the training rows.

    Attributes
    ----------
    mean : ndarray of shape (n_columns,)
        Mean in the units of the input.
    axes : ndarray of shape (n_components, n_columns)
        Unit vectors, on the scale of the networks; zeros beyond the rank of the table.
    deviations : ndarray of shape (n_components,)
        Standard deviation of the rows along each axis, on the scale of the networks.
    left : float
        Mean variance of the other components.
    scale : ndarray of shape (n_columns,)
        Factor from the scale of the networks to the units of the input.
    total : float
        Total variance of the rows, on the scale of the networks.
    divisor : float
        Divisor of sums of squares in variances: the total weight of the rows minus 1.
    """

    mean: np.ndarray
    axes: np.ndarray
    deviations: np.ndarray
    left: float
    scale: np.ndarray
    total: float
    divisor: float

    @classmethod
    def of(cls, fitted: Fitted, rows: Rows, variance: float) -> "PrincipalAxes":
        """From an initial model with whitened codes, its training rows and their variance (divisor: total weight)."""
        loadings = fitted.module.decoder.out.weight.detach().cpu().double().numpy().T
        deviations = np.linalg.norm(loadings, axis=1)
        axes = loadings / np.where(deviations > 0, deviations, 1.0)[:, None]
        divisor = divisor_of(rows.total)
        total = variance * rows.total / divisor
        n_others = max(1, min(rows.n_rows, rows.n_columns) - len(deviations))
        left = max(0.0, total - float((deviations**2).sum())) / n_others
        mean = fitted.decoded(np.zeros((1, len(deviations))))[0]
        return cls(mean, axes, deviations, left, fitted.scaling.scale, total, divisor)

    def covariance(self) -> np.ndarray:
        """Covariance of the columns, in the units of the input."""
        beyond = np.maximum(self.deviations**2 - self.left, 0.0)
        scaled: np.ndarray = self.axes.T @ (beyond[:, None] * self.axes)
        scaled.flat[:: len(scaled) + 1] += self.left
        return scaled * np.outer(self.scale, self.scale)


def total_variance(fitted: Fitted, standardized: bool) -> float:
    """Total variance of the training rows on the scale of the networks: 1 per varying column, or per column on average."""
    varies = fitted.scaling.varies
    return float(varies.sum() if standardized else len(varies) * varies.any())


def explained_share(fitted: Fitted, variance: float) -> float:
    """Share of the variance of a numeric table that the reconstruction explains, from the fitted noise variance."""
    noise = fitted.module.likelihood.variance
    left = 0.0 if noise is None else float(noise.detach().double().expand(len(fitted.is_number)).sum())
    return 1 - left / variance if variance > 0 else 1.0
