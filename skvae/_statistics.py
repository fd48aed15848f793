"""Exact statistics of a weighted table, in float64: equal rows, moments, principal components.

A weight counts repetitions of its row: a weight of 2 is the row twice, a weight of 0 its absence.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, optimize

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


@dataclass(frozen=True)
class LinearGaussian:
    """The latent variable model ``x = mean + loadings @ z + e``, z ~ N(0, I), e ~ N(0, diag(noise)).

    ``loadings`` has shape (n_columns, n_components); ``loadings.T @ diag(1 / noise) @ loadings`` is diagonal, so that the
    posterior of z has independent components. ``noise`` is one variance per column.
    """

    mean: np.ndarray
    loadings: np.ndarray
    noise: np.ndarray

    def posterior(self, beta: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """The posterior of z: its mean is ``weight @ (x - mean)``, its variances are the same for all rows.

        With beta it is the q that maximises E_q[log p(x | z)] - beta KL(q || N(0, I)), which is the posterior under a noise
        that is beta times as large.
        """
        weighted = self.loadings.T / self.noise
        information = (weighted * self.loadings.T).sum(axis=1)
        return weighted / (beta + information)[:, None], beta / (beta + information)

    def log_likelihood(self, rows: np.ndarray) -> np.ndarray:
        """Log N(x; mean, loadings @ loadings.T + diag(noise)) of each row."""
        deviations = rows - self.mean
        weight, variances = self.posterior()
        codes = deviations @ weight.T
        squares = (deviations**2 / self.noise).sum(axis=1) - (codes**2 / variances).sum(axis=1)
        return -0.5 * (squares + np.log(2 * np.pi * self.noise).sum() - np.log(variances).sum())


def probabilistic_pca(
    pca: PrincipalComponents, n_components: int, beta: float = 1.0, noise: float | None = None, floor: float = 0.0
) -> LinearGaussian:
    """Probabilistic PCA by maximum likelihood (Tipping and Bishop, 1999), with one variance of the noise for all columns.

    The last axis that has variance is left to the noise, as a code of all of them would leave none: one component less
    describes the same density.

    Parameters
    ----------
    pca : PrincipalComponents
    n_components : int
        Components that there is no use for have zero loadings.
    beta : float
        Weight of the divergence in the objective that is maximised. A noise of variance s leaves the axes whose variance
        exceeds ``beta * s``, with loadings of squared length ``variance - beta * s``.
    noise : float or None
        Variance of the noise; None for that which maximises the objective, the mean over axes of what the code leaves.
    floor : float
        Least variance of the noise.
    """
    k = min(n_components, max((pca.variances > pca.variances[0] * len(pca.mean) * EPS).sum() - 1, 0))
    if noise is None:
        noise, k = _noise_left(pca.variances, k, beta)
    noise = max(noise, floor)
    loadings = np.zeros((len(pca.mean), n_components))
    loadings[:, :k] = pca.axes[:k].T * np.sqrt(np.clip(pca.variances[:k] - beta * noise, 0, None))
    return LinearGaussian(pca.mean, loadings, np.full(len(pca.mean), noise))


def _noise_left(variances: np.ndarray, k: int, beta: float) -> tuple[float, int]:
    """Variance of the noise and number of components, at most k, whose axes exceed beta times it.

    Each component spreads beta times the noise over the reconstruction; the rest is what the other axes hold.
    """
    for n in range(k, 0, -1):
        axes_left = len(variances) - beta * n
        if axes_left > 0 and (noise := variances[n:].sum() / axes_left) * beta < variances[n - 1]:
            return float(noise), n
    return float(variances.mean()), 0


def factor_analysis(table: Table, n_components: int, floor: np.ndarray, prior_rows: float = 0.0) -> LinearGaussian:
    """Factor analysis by maximum likelihood: noise with a variance per column, none below its ``floor``.

    Given the noise, the best loadings are closed: the principal axes of the columns divided by their noise. What is left is a
    smooth function of the log-variances of the noise alone, whose gradient is closed too (Joreskog, 1967), and a quasi-Newton
    method takes some fifty evaluations where expectation-maximisation takes a thousand.

    The likelihood may be highest where a column has no noise at all, which bodes ill for other rows. ``prior_rows`` are so many
    further observations of each column's noise, of the size that probabilistic PCA finds.
    """
    X, counts = np.asarray(table.rows, dtype=np.float64), table.counts
    mean = np.average(X, axis=0, weights=counts)
    rows = (X - mean) * np.sqrt(counts / counts.sum())[:, None]
    variances = np.maximum((rows**2).sum(axis=0), floor)
    k = min(n_components, len(mean) - 1, len(rows) - 1)
    share = prior_rows / counts.sum()
    prior = probabilistic_pca(principal_components(table), k).noise if prior_rows else np.zeros(len(mean))
    axes_of = _axes_of_scaled(rows, k)

    def loss_and_gradient(log_excess: np.ndarray) -> tuple[float, np.ndarray]:
        noise = floor + np.exp(log_excess)
        values, axes = axes_of(noise)
        kept = np.maximum(values, 1)
        communality = noise * (axes.T**2 @ (kept - 1))
        loss = np.log(noise).sum() + (variances / noise).sum() + (np.log(kept) - values + values / kept).sum()
        loss += share * (np.log(noise) + prior / noise).sum()
        gradient = communality + noise - variances + share * (noise - prior)
        return 0.5 * loss, 0.5 * gradient / noise**2 * (noise - floor)

    start = np.log(0.5 * variances)
    found = optimize.minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "maxcor": 20})
    noise = floor + np.exp(found.x)
    values, axes = axes_of(noise)
    found_loadings = np.sqrt(noise)[:, None] * axes.T * np.sqrt(np.maximum(values - 1, 0))
    loadings = np.zeros((len(mean), n_components))
    loadings[:, :k] = found_loadings[:, np.argsort(-(found_loadings**2).sum(axis=0), kind="stable")]
    return LinearGaussian(mean, loadings, noise)


def _axes_of_scaled(rows: np.ndarray, k: int) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The k largest eigenvalues, falling, and eigenvectors of the covariance of columns divided by sqrt(noise)."""
    n, d = rows.shape
    if n < d:  # the same eigenvalues belong to the small matrix of products of rows

        def from_products(noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            scaled = rows / np.sqrt(noise)
            values, vectors = linalg.eigh(scaled @ scaled.T, subset_by_index=[n - k, n - 1])
            values, vectors = np.maximum(values[::-1], np.finfo(np.float64).tiny), vectors[:, ::-1]
            return values, (scaled.T @ vectors / np.sqrt(values)).T

        return from_products
    covariance = rows.T @ rows

    def from_covariance(noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        deviations = np.sqrt(noise)
        values, vectors = linalg.eigh(covariance / deviations / deviations[:, None], subset_by_index=[d - k, d - 1])
        return values[::-1], vectors[:, ::-1].T

    return from_covariance
