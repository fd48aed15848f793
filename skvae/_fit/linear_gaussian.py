"""Linear latent variable models by maximum likelihood, in float64: probabilistic PCA and factor analysis.

A model with a posterior starts at one of them and then has its likelihood.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from skvae._fit.pca import PrincipalComponents, components_of_covariance, principal_components
from skvae._tables.lazy import Lazy
from skvae._tables.rows import EPS, Rows

EM_STEPS = 30
EM_COST = 1e8  # multiplications per step; a table that needs more is represented by some of its rows
EM_FLOOR = 1e-3  # smallest noise variance, for a column of unit variance
EM_PATTERNS = 64  # patterns of missing cells whose covariances are added up at once


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

        With ``beta`` it is the q that maximises E_q[log p(x | z)] - beta KL(q || N(0, I)), which is the posterior under noise
        that is ``beta`` times as large.
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
    """Probabilistic PCA by maximum likelihood (Tipping and Bishop, 1999), with one noise variance for all columns.

    If no column is an exact function of the others, the last axis is left to the noise: a code of all axes would leave no
    noise, and one component less describes the same density. The noise is averaged over all axes, as in scikit-learn. With
    fewer rows than columns this is larger than the maximum likelihood estimate, and gives other rows a higher likelihood.

    Parameters
    ----------
    pca : PrincipalComponents
    n_components : int
        Number of components. Those that cannot be used have zero loadings.
    beta : float
        Weight of the divergence in the objective that is maximised. With a noise variance s, the axes whose variance exceeds
        ``beta * s`` are kept, with loadings of squared length ``variance - beta * s``.
    noise : float or None
        Noise variance. None takes the one that maximises the objective, which is the mean over axes of what the code leaves.
    floor : float
        Smallest noise variance.
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
    """Noise variance and number of components, at most k, whose axes exceed beta times this variance.

    Each component adds beta times the noise to the reconstruction; the rest is the variance of the other axes.
    """
    for n in range(k, 0, -1):
        axes_left = len(variances) - beta * n
        if axes_left > 0 and (noise := variances[n:].sum() / axes_left) * beta < variances[n - 1]:
            return float(noise), n
    return float(variances.mean()), 0


def factor_analysis(table: Rows, n_components: int, floor: np.ndarray, prior_rows: float = 0.0) -> LinearGaussian:
    """Factor analysis by maximum likelihood, with one noise variance per column, none below its ``floor``.

    For a given noise the best loadings are in closed form: the principal axes of the columns divided by their noise. What
    remains is a smooth function of the log-variances of the noise, whose gradient is in closed form too (Joreskog, 1967). A
    quasi-Newton method takes some fifty evaluations where expectation-maximisation takes a thousand.

    The likelihood may be highest if a column has no noise at all, which makes other rows impossible. ``prior_rows`` adds this
    number of observations to each column's noise, of the size that probabilistic PCA finds.
    """
    k = min(n_components, table.n_columns - 1, table.n_rows - 1)
    mean, variances, axes_of = _closed_loadings(table, k)
    variances = np.maximum(variances, floor)
    share = prior_rows / table.total
    prior = probabilistic_pca(principal_components(table), k).noise if prior_rows else np.zeros(len(mean))

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


Axes = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _closed_loadings(table: Rows, k: int) -> tuple[np.ndarray, np.ndarray, Axes]:
    """Means, variances, and a function from the noise to the k largest eigenvalues and their eigenvectors.

    They are those of the covariance of the columns divided by sqrt(noise), in falling order.
    """
    if isinstance(table, Lazy):
        covariance = table.summary.covariance(table.total)
        return table.moments()[0], np.diag(covariance), _axes_of_covariance(covariance, k)
    held = table.gathered()
    X, counts = np.asarray(held.rows, dtype=np.float64), held.counts
    mean = np.average(X, axis=0, weights=counts)
    rows = (X - mean) * np.sqrt(counts / counts.sum())[:, None]
    n, d = rows.shape
    axes = _axes_of_rows(rows, k) if n < d else _axes_of_covariance(rows.T @ rows, k)
    return mean, (rows**2).sum(axis=0), axes


def _axes_of_rows(rows: np.ndarray, k: int) -> Axes:
    """For fewer rows than columns: the small matrix of products of rows has the same eigenvalues."""
    n, d = rows.shape
    if k == 0:
        return lambda _: (np.empty(0), np.empty((0, d)))

    def from_products(noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scaled = rows / np.sqrt(noise)
        values, vectors = linalg.eigh(scaled @ scaled.T, subset_by_index=[n - k, n - 1])
        values, vectors = np.maximum(values[::-1], np.finfo(np.float64).tiny), vectors[:, ::-1]
        return values, (scaled.T @ vectors / np.sqrt(values)).T

    return from_products


def _axes_of_covariance(covariance: np.ndarray, k: int) -> Axes:
    d = len(covariance)
    if k == 0:
        return lambda _: (np.empty(0), np.empty((0, d)))

    def from_covariance(noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        deviations = np.sqrt(noise)
        values, vectors = linalg.eigh(covariance / deviations / deviations[:, None], subset_by_index=[d - k, d - 1])
        return values[::-1], vectors[:, ::-1].T

    return from_covariance


@dataclass(frozen=True)
class Completed:
    """A linear latent variable model of rows with missing values, and the moments of the completed rows."""

    linear: LinearGaussian
    components: PrincipalComponents


def expectation_maximisation(
    rows: np.ndarray, counts: np.ndarray, n_components: int, shared: bool, noise: np.ndarray | None = None
) -> Completed:
    """Maximum likelihood from rows with missing values, of probabilistic PCA (Ilin and Raiko, 2010) or factor analysis.

    Missing cells and codes are both unobserved. Their moments are in closed form given the parameters, and so are the
    parameters given the moments. Rows with the same missing cells share the covariance of the posterior. Of a large table some
    rows are used.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns)
        NaN where missing.
    counts : ndarray of shape (n_rows,)
        Weights of the rows.
    n_components : int
    shared : bool
        Whether all columns have the same noise variance.
    noise : ndarray of shape (n_columns,) or None
        Known noise variances; NaN for unknown ones.
    """
    affordable = max(int(EM_COST / (rows.shape[1] * (n_components + 1) ** 2)), 10 * (n_components + 1))
    rows, counts = rows[:affordable], counts[:affordable]  # in an order that has nothing to do with what they are
    return _Expectation(rows, counts, n_components, shared, noise).maximise()


class _Expectation:
    """The state of the iteration, with all statistics."""

    def __init__(self, rows: np.ndarray, counts: np.ndarray, n_components: int, shared: bool, noise: np.ndarray | None) -> None:
        observed = ~np.isnan(rows)
        self.patterns, self.pattern = np.unique(observed, axis=0, return_inverse=True)
        self.pattern = self.pattern.ravel()
        order = np.argsort(self.pattern, kind="stable")
        self.rows, self.observed, self.pattern, self.counts = rows[order], observed[order], self.pattern[order], counts[order]
        self.starts = np.searchsorted(self.pattern, np.arange(len(self.patterns)))
        self.weights = np.add.reduceat(self.counts, self.starts)
        self.seen = np.maximum(self.weights @ self.patterns, EPS)
        self.shared = shared
        self.given = np.full(rows.shape[1], np.nan) if noise is None else noise
        self.mean = self.counts @ np.where(self.observed, self.rows, 0.0) / self.seen
        deviations = self._deviations()
        self.variances = self.counts @ deviations**2 / self.seen
        self.floor = EPS * (self.variances.max() or 1.0) if shared else EM_FLOOR * np.maximum(self.variances, EM_FLOOR)
        pca = components_of_covariance(self.mean, (deviations.T * self.counts) @ deviations / self.counts.sum())
        k = min(n_components, len(self.mean))
        rest = pca.variances[k:].mean() if k < len(self.mean) else 0.0
        self.loadings = np.zeros((len(self.mean), n_components))
        self.loadings[:, :k] = pca.axes[:k].T * np.sqrt(np.clip(pca.variances[:k] - rest, 0, None))
        rest = self.variances - (self.loadings**2).sum(axis=1)
        self._set_noise(rest if shared else np.maximum(rest, 0.1 * self.variances))

    def maximise(self) -> Completed:
        for _ in range(EM_STEPS):
            self._step()
        linear = self._diagonal()
        return Completed(linear, components_of_covariance(self.mean, self._covariance()))

    def _deviations(self) -> np.ndarray:
        return np.where(self.observed, self.rows - self.mean, 0.0)

    def _set_noise(self, noise: np.ndarray) -> None:
        noise = np.maximum(noise, self.floor)
        if self.shared:
            noise = np.full(len(noise), np.average(noise, weights=self.seen))
        self.noise = np.where(np.isnan(self.given), noise, self.given)

    def _codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means of all rows, and posterior covariances of all patterns of missing cells."""
        k = self.loadings.shape[1]
        products = (self.loadings[:, :, None] * self.loadings[:, None, :]).reshape(len(self.mean), k * k)
        information = ((self.patterns / self.noise) @ products).reshape(len(self.patterns), k, k) + np.eye(k)
        spread = np.linalg.inv(information)
        weighted = self._deviations() @ (self.loadings / self.noise[:, None])
        return np.einsum("nij,nj->ni", spread[self.pattern], weighted), spread

    def _step(self) -> None:
        codes, spread = self._codes()
        k = codes.shape[1]
        extended = np.concatenate([codes, np.ones((len(codes), 1))], axis=1)  # the mean is the loading of a constant
        weighted = extended * self.counts[:, None]
        moments = np.add.reduceat(weighted[:, :, None] * extended[:, None, :], self.starts)
        moments[:, :k, :k] += self.weights[:, None, None] * spread
        normal = (self.patterns.T.astype(np.float64) @ moments.reshape(len(moments), -1)).reshape(-1, k + 1, k + 1)
        normal += EPS * self.counts.sum() * np.eye(k + 1)  # for a column without any value
        known = np.where(self.observed, self.rows, 0.0)
        solution = np.linalg.solve(normal, (known.T @ weighted)[:, :, None])[:, :, 0]
        residual = np.where(self.observed, self.rows - extended @ solution.T, 0.0)
        self.loadings, self.mean = solution[:, :k], solution[:, k]
        spread_weight = (self.patterns.T * self.weights) @ spread.reshape(len(spread), -1)
        products = self.loadings[:, :, None] * self.loadings[:, None, :]
        uncertain = (spread_weight.reshape(len(self.mean), k, k) * products).sum((1, 2))
        self._set_noise((self.counts @ residual**2 + uncertain) / self.seen)

    def _diagonal(self) -> LinearGaussian:
        """The model rotated so that components are independent given a complete row, the most informative first."""
        scaled = self.loadings / np.sqrt(self.noise)[:, None]
        rotation = np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1]
        loadings = self.loadings @ rotation
        signs = np.sign(loadings[np.abs(loadings).argmax(axis=0), np.arange(loadings.shape[1])])
        return LinearGaussian(self.mean, loadings * signs, self.noise)

    def _covariance(self) -> np.ndarray:
        """Expected covariance of the completed rows."""
        codes, spread = self._codes()
        completed = np.where(self.observed, self.rows - self.mean, codes @ self.loadings.T)
        total = (completed.T * self.counts) @ completed
        for start in range(0, len(self.patterns), EM_PATTERNS):
            some = slice(start, start + EM_PATTERNS)
            missing = ~self.patterns[some, :, None] * self.loadings
            total += np.einsum("p,pik,pjk->ij", self.weights[some], missing @ spread[some], missing, optimize=True)
        total[np.diag_indices_from(total)] += (self.counts.sum() - self.seen) * self.noise
        return total / max(self.counts.sum() - 1, self.counts.sum() / 2)
