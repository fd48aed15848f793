"""PCA's attributes and methods, of a linear autoencoder that is PCA."""

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
        In the units of the input.
    axes : ndarray of shape (n_components, n_columns)
        Unit vectors, on the scale of the networks; zeros beyond the rank of the table.
    deviations : ndarray of shape (n_components,)
        Standard deviation of the rows along each axis, on the scale of the networks.
    left : float
        Variance of the other components, on average.
    scale : ndarray of shape (n_columns,)
        From the scale of the networks to the units of the input.
    total : float
        Variance of the rows, on the scale of the networks.
    divisor : float
        Of the sums of squares that variances are: the total weight of the rows less 1.
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
        """From a model at its start, whose codes are whitened, its training rows and their variance (divisor: total weight)."""
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
        """Of the columns, in the units of the input."""
        beyond = np.maximum(self.deviations**2 - self.left, 0.0)
        scaled: np.ndarray = self.axes.T @ (beyond[:, None] * self.axes)
        scaled.flat[:: len(scaled) + 1] += self.left
        return scaled * np.outer(self.scale, self.scale)


def total_variance(fitted: Fitted, standardized: bool) -> float:
    """Of the training rows on the scale of the networks, in a table of numbers: 1 per column, or on average over columns."""
    varies = fitted.scaling.varies
    return float(varies.sum() if standardized else len(varies) * varies.any())


def explained_share(fitted: Fitted, variance: float) -> float:
    """Share of the variance of rows of numbers that the reconstruction explains, by the noise that the fit has measured."""
    noise = fitted.module.likelihood.variance
    left = 0.0 if noise is None else float(noise.detach().double().expand(len(fitted.is_number)).sum())
    return 1 - left / variance if variance > 0 else 1.0
