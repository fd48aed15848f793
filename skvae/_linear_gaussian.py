"""Linear latent variable models by maximum likelihood, in float64: probabilistic PCA and factor analysis.

A model with a posterior starts at one of them, and its likelihood is then theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from skvae._statistics import EPS, PrincipalComponents, Table, principal_components


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
        total = np.where(information > 0, beta + information, 1.0)
        return weighted / total[:, None], np.where(information > 0, beta / total, 1.0)

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

    Where no column depends on the others exactly, the last axis is left to the noise: a code of all axes would leave none, and
    one component less describes the same density. The noise is averaged over as many axes as there are, as in scikit-learn,
    which with fewer rows than columns is more than its maximum likelihood, and likelier for other rows.

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
    rank = int((pca.variances > pca.variances[0] * len(pca.mean) * EPS).sum())
    k = min(n_components, rank)
    if noise is None:
        n_axes = len(pca.variances)
        full = rank >= (n_axes if n_axes == len(pca.mean) else n_axes - 1)  # n rows around their mean have n - 1 axes
        noise, k = _noise_left(pca.variances, min(k, max(rank - 1, 0)) if full else k, beta)
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
    if k == 0:
        return lambda _: (np.empty(0), np.empty((0, d)))
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
