"""The variational autoencoder: where the answer is known in closed form, against quadrature, and as its users meet it."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp, softmax, xlog1py, xlogy
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_linnerud, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.distributions import Normal, kl_divergence

from skvae import VAETransformer

DIGITS = load_digits().data
DATA = {
    "linnerud": load_linnerud().data,
    "iris": load_iris().data,
    "wine": load_wine().data,
    "diabetes": load_diabetes().data,
    "breast cancer": load_breast_cancer().data,
    "digits": DIGITS[:, DIGITS.std(0) > 0],
}
WINE = np.random.default_rng(0).permutation(DATA["wine"])
BINARY = (DIGITS[:200] > 8).astype(float)
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 12, "random_state": 0}
FREE = {"early_stopping": False}  # without folds, where they make no difference to what is tested
STILL = {"learning_rate_init": 1e-12, "max_iter": 1}  # nothing moves
LIKELIHOODS = ["gaussian", "gaussian_diag", "mse", "bernoulli"]

# Twelve epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit(X=WINE, n_components=2, **params):
    return VAETransformer(n_components, **QUICK | params).fit(X)


def scaled(X, standardize):
    """The table that PCA is to see, and what its log density lacks in the units of X."""
    scaler = StandardScaler().fit(X)
    return (scaler.transform(X), -np.log(scaler.scale_).sum()) if standardize else (X, 0.0)


def factor_analysis(k):
    return FactorAnalysis(k, tol=1e-8, max_iter=20_000, svd_method="lapack")


def planted(noise, n_rows=400, seed=0):
    """Rows of a linear model with two components, the loadings of each column of length 1."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(2, len(noise)))
    loadings /= np.linalg.norm(loadings, axis=0)
    return rng.normal(size=(n_rows, 2)) @ loadings + rng.normal(size=(n_rows, len(noise))) * np.sqrt(noise) + 5


def curve(n_rows, seed):
    """A noisy curve in 5 dimensions."""
    rng = np.random.default_rng(seed)
    t = rng.normal(size=n_rows)
    return np.column_stack([t, t**2, np.sin(2 * t), np.cos(2 * t), np.tanh(t)]) + 0.1 * rng.normal(size=(n_rows, 5))


@pytest.fixture(scope="module")
def fitted():
    return fit()


# Closed forms


@pytest.mark.parametrize(
    ("name", "k", "standardize"),
    [
        *((name, 2, standardize) for name in DATA for standardize in [False, True]),
        ("iris", 1, True),
        ("iris", 3, False),
        ("wine", 1, False),
        ("wine", 6, True),
        ("wine", 12, False),
        ("breast cancer", 29, True),  # not standardized it has noise of 7e-7, on which PCA itself loses digits
        ("digits", 60, True),
    ],
)
def test_linear_is_probabilistic_pca(name, k, standardize):
    X = DATA[name]
    Z, log_jacobian = scaled(X, standardize)
    pca = PCA(k, svd_solver="full").fit(Z)
    noise, shares = pca.noise_variance_, 1 - pca.noise_variance_ / pca.explained_variance_
    estimator = VAETransformer(k, hidden_layer_sizes=(), standardize=standardize, n_importance_samples=10).fit(X)

    expected = pca.score_samples(Z) + log_jacobian
    np.testing.assert_allclose(estimator.score_samples(X), expected, rtol=0, atol=1e-3)
    np.testing.assert_allclose(estimator.elbo(X).total, expected, rtol=0, atol=1e-3)
    np.testing.assert_allclose(estimator.score(X), expected.mean(), rtol=0, atol=1e-3)
    np.testing.assert_allclose(estimator.noise_variance_, noise, rtol=1e-9)

    codes = pca.transform(Z) / np.sqrt(pca.explained_variance_) * np.sqrt(shares)
    mean, deviation = estimator.posterior(X)
    np.testing.assert_array_equal(mean, estimator.transform(X))
    np.testing.assert_allclose(mean, codes, rtol=0, atol=1e-6)
    np.testing.assert_allclose(deviation, np.broadcast_to(np.sqrt(1 - shares), codes.shape), rtol=1e-6)

    squares = np.square(codes).mean(0)
    np.testing.assert_allclose(estimator.explained_variance_, pca.explained_variance_ * shares * squares, rtol=1e-6)
    np.testing.assert_allclose(estimator.kl_per_component_, 0.5 * (squares - shares - np.log(1 - shares)), rtol=1e-6)
    assert (estimator.best_iter_, estimator.n_iter_, estimator.loss_curve_) == (0, 1, [])


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(("name", "k"), [("wine", 1), ("wine", 3), ("breast cancer", 2), ("linnerud", 1)])
def test_linear_with_noise_per_column_is_factor_analysis(name, k, standardize):
    Z, _ = scaled(DATA[name], True)
    X, log_jacobian = (DATA[name], scaled(DATA[name], True)[1]) if standardize else (Z, 0.0)
    factors = factor_analysis(k).fit(Z)
    params = {"hidden_layer_sizes": (), "likelihood": "gaussian_diag", "standardize": standardize}
    estimator = VAETransformer(k, **params).fit(X)
    expected = factors.score_samples(Z) + log_jacobian
    np.testing.assert_allclose(estimator.score_samples(X), expected, rtol=0, atol=1e-2)
    np.testing.assert_allclose(estimator.elbo(X).total, expected, rtol=0, atol=1e-2)
    np.testing.assert_allclose(estimator.noise_variance_, factors.noise_variance_, rtol=1e-2)
    means = StandardScaler().fit(X).transform(estimator.reconstruct(X)) if standardize else estimator.reconstruct(X)
    np.testing.assert_allclose(means, factors.transform(Z) @ factors.components_, atol=1e-2)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag", "mse"])
def test_posterior_of_a_linear_model_is_bayes(likelihood):
    Z, _ = scaled(DATA["wine"], True)
    estimator = VAETransformer(3, hidden_layer_sizes=(), standardize=False, likelihood=likelihood).fit(Z)
    origin = estimator.inverse_transform(np.zeros((1, 3)))
    loadings = estimator.inverse_transform(np.eye(3)) - origin
    precision = np.broadcast_to(1 / estimator.noise_variance_, 13)
    covariance = np.linalg.inv(np.eye(3) + (loadings * precision) @ loadings.T)
    mean, deviation = estimator.posterior(Z)
    np.testing.assert_allclose(mean, (Z - origin) * precision @ loadings.T @ covariance, atol=1e-8)
    np.testing.assert_allclose(covariance, np.diag(deviation[0] ** 2), atol=1e-8)


LINES = np.random.default_rng(0).normal(size=(60, 3))
DEGENERATE = {
    "equal columns": LINES[:, [0, 0, 1, 1, 2]],
    "rank 2": LINES[:, :2] @ np.random.default_rng(1).normal(size=(2, 6)),
    "constant column": np.column_stack([LINES, np.full(60, 3.0)]),
    "fewer rows than columns": np.random.default_rng(2).normal(size=(4, 9)),
    "equal rows": np.tile([0.1, -2.0, 3.0], (12, 1)),
    "one column": LINES[:, :1],
}


@pytest.mark.parametrize(
    ("likelihood", "hidden_layer_sizes"), [("gaussian", ()), ("gaussian_diag", ()), ("mse", ()), ("auto", (4,))]
)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_tables_have_finite_scores(name, likelihood, hidden_layer_sizes):
    X = DEGENERATE[name]
    for k, standardize in [(1, True), (3, False), (7, True)] if not hidden_layer_sizes else [(7, True)]:
        params = {"likelihood": likelihood, "hidden_layer_sizes": hidden_layer_sizes, "standardize": standardize}
        estimator = fit(X, k, **params, max_iter=2)
        for values in [estimator.score_samples(X), *estimator.elbo(X), *estimator.posterior(X), estimator.sample(3)]:
            assert np.isfinite(values).all()
        for values in [estimator.kl_per_component_, estimator.explained_variance_]:
            assert values.shape == (k,)
            assert (values >= 0).all()


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (8,)])
def test_components_without_use_are_inactive(hidden_layer_sizes, likelihood):
    X = DATA["iris"]
    estimator = fit(X, 7, hidden_layer_sizes=hidden_layer_sizes, likelihood=likelihood, **STILL)
    assert estimator.transform(X).shape == (150, 7)
    assert estimator.active_units_.tolist() == [True] * 3 + [False] * 4
    np.testing.assert_allclose(estimator.kl_per_component_[3:], 0, atol=1e-6)
    np.testing.assert_allclose(estimator.score(X), fit(X, 3, hidden_layer_sizes=(), likelihood=likelihood).score(X), atol=1e-3)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_share_of_variance(share, standardize):
    expected = PCA(share, svd_solver="full").fit(scaled(WINE, standardize)[0]).n_components_
    estimator = fit(n_components=share, standardize=standardize, **FREE, **STILL)
    assert estimator.n_components_ == expected
    assert estimator.transform(WINE[:3]).shape == (3, expected)
    assert estimator.sample(3).shape == (3, 13)


# The start


@pytest.mark.parametrize(
    ("likelihood", "beta", "standardize", "early_stopping"),
    [
        ("gaussian", 1, True, True),
        ("gaussian", 1, False, False),
        ("gaussian", 4, True, False),
        ("mse", 4, True, False),
        ("gaussian_diag", 1, True, False),
        ("gaussian_diag", 1, False, False),
    ],
)
def test_nonlinear_starts_as_linear(likelihood, beta, standardize, early_stopping):
    params = {"likelihood": likelihood, "beta": beta, "standardize": standardize}
    linear = fit(hidden_layer_sizes=(), **params)
    estimator = fit(**params, early_stopping=early_stopping, **STILL)
    if early_stopping:
        assert estimator.best_iter_ == 0
    np.testing.assert_allclose(estimator.score_samples(WINE), linear.score_samples(WINE), rtol=0, atol=1e-3)
    np.testing.assert_allclose(estimator.elbo(WINE).kl, linear.elbo(WINE).kl, rtol=0, atol=1e-3)
    np.testing.assert_allclose(estimator.reconstruct(WINE), linear.reconstruct(WINE), rtol=1e-4)


@pytest.mark.parametrize("standardize", [True, False])
def test_answer_is_the_start_where_nothing_is_gained(standardize):
    noise = np.random.default_rng(0).normal(size=(100, 6))
    estimator = fit(noise, standardize=standardize, likelihood="gaussian", max_iter=60)
    Z, log_jacobian = scaled(noise, standardize)
    assert estimator.best_iter_ == 0
    expected = PCA(2, svd_solver="full").fit(Z).score_samples(Z) + log_jacobian
    np.testing.assert_allclose(estimator.score_samples(noise), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("name", ["iris", "wine"])
def test_validation_starts_at_probabilistic_pca(name, standardize):
    X = np.random.default_rng(0).permutation(DATA[name])
    train, held_out = X[::2], X[1::2]
    estimator = VAETransformer(2, **QUICK | {"max_iter": 2}, likelihood="gaussian", standardize=standardize)
    estimator.fit(train, X_val=held_out)
    log_jacobian = scaled(train, standardize)[1]
    scaler = StandardScaler(with_std=standardize).fit(train)
    expected = PCA(2, svd_solver="full").fit(scaler.transform(train)).score(scaler.transform(held_out)) + log_jacobian
    np.testing.assert_allclose(estimator.validation_scores_[0], expected, rtol=0, atol=1e-3)
    assert len(estimator.validation_scores_) == estimator.n_iter_ + 1


def test_validation_weighs_the_divergence_by_beta():
    train, held_out = DIGITS[::2], DIGITS[1::2]
    estimator = VAETransformer(8, **QUICK | STILL, beta=3, likelihood="gaussian").fit(train, X_val=held_out)
    parts = estimator.elbo(held_out)
    expected = (parts.reconstruction - 3 * parts.kl).mean()
    assert abs(parts.total.mean() - expected) > 4
    np.testing.assert_allclose(estimator.validation_scores_[0], expected, rtol=0, atol=0.5)  # one draw per row


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_gradient_descent_finds_probabilistic_pca(name):
    Z, _ = scaled(DATA[name], True)
    estimator = VAETransformer(2, hidden_layer_sizes=(), init="random", max_iter=1500, random_state=0).fit(Z)
    expected = PCA(2, svd_solver="full").fit(Z).score(Z)
    n_columns = Z.shape[1]
    assert estimator.score(Z) == pytest.approx(expected, abs=0.02 * n_columns)
    assert estimator.elbo(Z).total.mean() == pytest.approx(expected, abs=0.02 * n_columns)


# The weight of the divergence


@pytest.mark.parametrize(
    "params",
    [
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (), "likelihood": "mse"},
        {"early_stopping": False, "max_iter": 60},
        {"early_stopping": False, "max_iter": 200, "init": "random", "learning_rate_init": 0.02},
    ],
    ids=str,
)
def test_beta(params):
    betas = [0, 0.2, 1, 3, 100]
    fits = {beta: fit(beta=beta, n_components=3, n_importance_samples=200, **params) for beta in betas}
    scores = [fits[beta].score(WINE) for beta in [0, 1, 100]]
    assert len({round(score, 2) for score in scores}) == 3
    assert scores[1] > max(scores[0], scores[2])
    assert (np.diff([fits[beta].kl_per_component_.sum() for beta in betas]) < 0).all()
    assert fits[1].active_units_.sum() >= 2
    assert not fits[100].active_units_.any()
    reconstruction, kl = zip(*(map(np.mean, estimator.elbo(WINE)) for estimator in fits.values()), strict=True)
    for i, beta in enumerate(betas):  # each is the best for the objective that it was trained on
        assert np.argmax(np.subtract(reconstruction, beta * np.array(kl))) == i


@pytest.mark.parametrize("beta", [0.2, 1, 100])
@pytest.mark.parametrize("likelihood", ["gaussian", "mse"])
def test_scores_of_a_linear_model_whatever_beta(likelihood, beta):
    estimator = fit(beta=beta, n_components=3, hidden_layer_sizes=(), standardize=False, likelihood=likelihood)
    origin = estimator.inverse_transform(np.zeros((1, 3)))
    loadings = estimator.inverse_transform(np.eye(3)) - origin
    density = stats.multivariate_normal(origin[0], loadings.T @ loadings + estimator.noise_variance_ * np.eye(13))
    np.testing.assert_allclose(estimator.score_samples(WINE), density.logpdf(WINE), rtol=0, atol=1e-3)

    mean, deviation = estimator.posterior(WINE)
    squares = np.square(WINE - origin - mean @ loadings).sum(1) + deviation**2 @ np.square(loadings).sum(1)
    expected = -0.5 * squares / estimator.noise_variance_ - 6.5 * np.log(2 * np.pi * estimator.noise_variance_)
    np.testing.assert_allclose(estimator.elbo(WINE).reconstruction, expected, rtol=0.02, atol=0.1)


def test_warmup_raises_beta_linearly():
    params = {"batch_size": len(DIGITS), "early_stopping": False, **STILL, "max_iter": 6}
    warm, cold = (fit(DIGITS, 8, beta_warmup=w, likelihood="gaussian", **params) for w in [4, 0])
    divergence = cold.kl_per_component_.sum()
    expected = np.array([-0.8, -0.6, -0.4, -0.2, 0, 0]) * divergence  # the draws of the codes are the same
    np.testing.assert_allclose(np.subtract(warm.loss_curve_, cold.loss_curve_), expected, atol=1e-3 * divergence)


def test_warmup_changes_the_fit():
    params = {"init": "random", "early_stopping": False}
    assert fit(**params, beta_warmup=5).score(WINE) != fit(**params).score(WINE)


# Likelihoods


@pytest.mark.parametrize(("hidden_layer_sizes", "init"), [((), "pca"), ((8,), "random")])
@pytest.mark.parametrize("likelihood", ["auto", *LIKELIHOODS])
def test_every_likelihood(likelihood, hidden_layer_sizes, init):
    params = {"hidden_layer_sizes": hidden_layer_sizes, "init": init, "max_iter": 3}
    estimator = fit(BINARY, 3, likelihood=likelihood, **params)
    assert np.isfinite(estimator.score_samples(BINARY)).all()
    assert estimator.reconstruct(BINARY).shape == estimator.sample(200).shape == BINARY.shape
    if likelihood == "bernoulli":
        assert estimator.noise_variance_ is None
    else:
        shapes = {"gaussian_diag": [(64,)], "auto": [(), (64,)]}.get(likelihood, [()])
        assert np.shape(estimator.noise_variance_) in shapes
        assert (np.asarray(estimator.noise_variance_) > 0).all()


@pytest.mark.parametrize(("beta", "standardize"), [(0, True), (1, True), (1, False), (10, False)])
@pytest.mark.parametrize(
    ("noise", "shape"), [(np.geomspace(0.05, 20, 8), (8,)), (np.full(8, 0.3), ())], ids=["factor analysis", "probabilistic PCA"]
)
def test_auto_finds_the_planted_noise(noise, shape, beta, standardize):
    X = planted(noise)
    estimator = fit(X, beta=beta, standardize=standardize, max_iter=1)
    assert np.shape(estimator.noise_variance_) == shape
    if beta == 1:
        unit = X.var(0) if standardize else 1.0
        np.testing.assert_allclose(np.log(estimator.noise_variance_ * unit), np.log(noise), atol=np.log(2))
        explicit = fit(X, likelihood="gaussian_diag" if shape else "gaussian", standardize=standardize, max_iter=1)
        np.testing.assert_allclose(estimator.score(X), explicit.score(X), atol=0.05)


def test_auto_without_held_out_rows_is_one_variance():
    X = planted(np.geomspace(0.05, 20, 8))
    assert np.shape(fit(X, early_stopping=False, max_iter=1).noise_variance_) == ()
    assert np.shape(fit(X, hidden_layer_sizes=()).noise_variance_) == ()


# Scores


GRID = np.linspace(-8, 8, 4001)


def log_cells(estimator, X, scale):
    """Log-likelihood of each row given each code of the grid."""
    means = estimator.inverse_transform(GRID[:, None])
    if estimator.noise_variance_ is None:
        return (xlogy(X[:, None], means) + xlog1py(1 - X[:, None], -means)).sum(2)
    return stats.norm.logpdf(X[:, None], means, np.sqrt(estimator.noise_variance_) * scale).sum(2)


@pytest.mark.parametrize(("likelihood", "standardize"), [*((name, True) for name in LIKELIHOODS), ("gaussian_diag", False)])
def test_scores_are_integrals_over_the_code(likelihood, standardize):
    X = 1 / (1 + np.exp(-curve(200, seed=0)))
    params = {"likelihood": likelihood, "standardize": standardize, "init": "random", "learning_rate_init": 0.03}
    estimator = fit(X, 1, **params, max_iter=60, early_stopping=False, n_importance_samples=5000)
    scale = X.std(0) if standardize and likelihood != "bernoulli" else np.ones(5)
    X = X[:20]
    given_code = log_cells(estimator, X, scale)

    density = logsumexp(given_code + stats.norm.logpdf(GRID), axis=1) + np.log(GRID[1] - GRID[0])
    np.testing.assert_allclose(estimator.score_samples(X), density, rtol=0, atol=0.05)

    mean, deviation = estimator.posterior(X)
    parts = estimator.elbo(X)
    reconstruction = (softmax(stats.norm.logpdf(GRID, mean, deviation), axis=1) * given_code).sum(1)
    np.testing.assert_allclose(parts.reconstruction, reconstruction, rtol=0.02, atol=0.05)
    assert (parts.total <= parts.reconstruction).all()
    assert (parts.total <= estimator.score_samples(X) + 1e-6).all()
    assert (reconstruction - parts.kl <= density + 1e-3).all()


@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": ()}, {"beta": 4.0, "init": "random", **FREE}], ids=str)
def test_elbo(params):
    estimator = fit(**params)
    parts = estimator.elbo(WINE)
    assert parts._fields == ("reconstruction", "kl")
    assert parts.reconstruction.shape == parts.kl.shape == parts.total.shape == (len(WINE),)
    np.testing.assert_array_equal(parts.total, parts.reconstruction - parts.kl)
    posterior = Normal(*(torch.from_numpy(part) for part in estimator.posterior(WINE)))
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).numpy()
    np.testing.assert_allclose(parts.kl, expected.sum(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(estimator.kl_per_component_, expected.mean(0), rtol=1e-4, atol=1e-5)
    assert parts.total.mean() <= estimator.score_samples(WINE).mean() + 1e-6


def test_more_draws_are_not_lower():
    X = curve(200, seed=0)
    estimator = fit(X, 1, early_stopping=False, max_iter=60, learning_rate_init=0.03)
    scores = [estimator.set_params(n_importance_samples=n).score(X) for n in [10, 100, 1000]]
    assert (np.diff(scores) >= -0.05).all()


def test_number_of_draws_is_read():
    estimator = fit(init="random", **FREE)
    many = estimator.score_samples(WINE)
    few = clone(estimator).set_params(n_importance_samples=3).fit(WINE).score_samples(WINE)
    assert not np.array_equal(few, many)
    np.testing.assert_array_equal(estimator.set_params(n_importance_samples=3).score_samples(WINE), few)


@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": ()}], ids=str)
def test_rows_in_float32(params):
    estimator = fit(**params)
    rows = WINE.astype(np.float32)
    np.testing.assert_allclose(estimator.score_samples(rows), estimator.score_samples(WINE), rtol=0, atol=1e-3)
    np.testing.assert_allclose(fit(rows, **params).score_samples(rows), estimator.score_samples(WINE), rtol=0, atol=0.02)
    assert {part.dtype.name for part in estimator.posterior(rows)} == {"float32"}
    assert {part.dtype.name for part in estimator.elbo(rows)} == {"float64"}


# Components


@pytest.mark.parametrize("weights", [None, np.arange(len(WINE)) % 4], ids=["", "weights"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("params", [{"init": "random"}, {"likelihood": "gaussian_diag"}], ids=str)
def test_what_components_tell(params, standardize, weights):
    params = {"learning_rate_init": 0.03, "max_iter": 40, "early_stopping": False, "standardize": standardize, **params}
    estimator = VAETransformer(4, **QUICK | params).fit(WINE, sample_weight=weights)
    assert (np.diff(estimator.explained_variance_) <= 0).all()
    mean, deviation = estimator.posterior(WINE)
    average = np.average(mean, axis=0, weights=weights)
    variance = np.average((mean - average) ** 2, axis=0, weights=weights)
    np.testing.assert_array_equal(estimator.active_units_, variance > 0.01)
    divergence = 0.5 * (mean**2 + deviation**2 - 1) - np.log(deviation)
    np.testing.assert_allclose(
        estimator.kl_per_component_, np.average(divergence, axis=0, weights=weights), rtol=1e-4, atol=1e-5
    )
    scale = np.sqrt(np.cov(WINE.T, ddof=0, fweights=weights).diagonal()) if standardize else 1.0
    for i in range(4):
        moves = (estimator.inverse_transform(mean * (np.arange(4) != i)) - estimator.inverse_transform(mean)) / scale
        expected = np.average(np.square(moves).sum(1), weights=weights)
        np.testing.assert_allclose(estimator.explained_variance_[i], expected, rtol=1e-3, atol=1e-6)


def test_rows_of_little_weight_do_not_make_a_component_active():
    size = np.r_[np.full(6, 30.0), np.full(54, 0.993)]  # the variance of the other rows hardly exceeds the noise of 1
    X = np.column_stack([np.tile([1, -1], 30) * size, 1e-3 * LINES])
    weights = np.where(size > 1, 1e-6, 1.0)
    params = {"likelihood": "mse", "hidden_layer_sizes": (), "standardize": False}
    estimator = VAETransformer(1, **params).fit(X, sample_weight=weights)
    assert estimator.transform(X).var() > 0.05
    assert estimator.active_units_.tolist() == [False]


# New rows


def assert_moments(rows, mean, covariance):
    """Mean and covariance are within five standard errors of these."""
    variances = np.diag(covariance)
    assert (np.abs(rows.mean(0) - mean) <= 5 * np.sqrt(variances / len(rows))).all()
    errors = np.sqrt((np.outer(variances, variances) + covariance**2) / len(rows))
    assert (np.abs(np.cov(rows.T) - covariance) <= 5 * errors).all()


@pytest.mark.parametrize(("hidden_layer_sizes", "standardize"), [((), True), ((8,), False)])
@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
def test_samples_have_the_moments_of_the_linear_model(likelihood, hidden_layer_sizes, standardize):
    X = planted(np.full(8, 0.3)) * (np.geomspace(1, 100, 8) if standardize else 1)
    Z, _ = scaled(X, standardize)
    reference = (PCA(2, svd_solver="full") if likelihood == "gaussian" else factor_analysis(2)).fit(Z)
    estimator = fit(X, hidden_layer_sizes=hidden_layer_sizes, likelihood=likelihood, standardize=standardize, **FREE, **STILL)
    unit = np.outer(X.std(0), X.std(0)) if standardize else 1.0
    covariance = reference.get_covariance()
    assert_moments(estimator.sample(100_000, random_state=0), X.mean(0), covariance * unit)
    covariance = covariance - np.diag(np.broadcast_to(reference.noise_variance_, 8))
    assert_moments(estimator.sample(100_000, random_state=0, noise=False), X.mean(0), covariance * unit)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag", "mse"])
def test_samples_are_decoded_codes_and_noise(likelihood):
    X = curve(200, seed=0)
    params = {"init": "random", "early_stopping": False, "max_iter": 60, "learning_rate_init": 0.03}
    estimator = fit(X, 1, likelihood=likelihood, **params)
    rng = np.random.default_rng(0)
    means = estimator.inverse_transform(rng.normal(size=(20_000, 1)))
    rows = means + rng.normal(size=means.shape) * np.sqrt(estimator.noise_variance_) * X.std(0)
    without, with_noise = (estimator.sample(20_000, random_state=1, noise=noise) for noise in [False, True])
    for samples, expected in [(without, means), (with_noise, rows)]:
        assert samples.dtype == np.float64
        assert min(stats.ks_2samp(*columns).pvalue for columns in zip(samples.T, expected.T, strict=True)) > 1e-4
    assert (without.var(0) < with_noise.var(0)).all()


def test_bernoulli_samples():
    estimator = fit(BINARY, likelihood="bernoulli", **FREE)
    rows, p = (estimator.sample(5000, random_state=0, noise=noise) for noise in [True, False])  # of the same codes
    assert set(np.unique(rows)) == {0.0, 1.0}
    assert (p > 0).all()
    assert (p < 1).all()
    assert (np.abs((rows - p).mean(0)) <= 5 * np.sqrt((p * (1 - p)).mean(0) / 5000)).all()


@pytest.mark.parametrize("noise", [True, False])
def test_seed_of_samples(fitted, noise):
    rows = fitted.sample(4, random_state=3, noise=noise)
    assert rows.shape == (4, 13)
    np.testing.assert_array_equal(rows, fitted.sample(4, random_state=3, noise=noise))
    np.testing.assert_array_equal(
        fitted.sample(4, np.random.RandomState(3), noise=noise), fitted.sample(4, np.random.RandomState(3), noise=noise)
    )
    others = [fitted.sample(4, random_state, noise=noise) for random_state in [4, None, None]]
    assert not any(np.allclose(a, b) for a in [rows, *others[:2]] for b in others[2:])
    assert not np.allclose(rows, others[0])
    assert fitted.sample().shape == (1, 13)


FRAME = pd.DataFrame(10 * curve(60, seed=0), columns=list("abcde"), index=[f"row {i}" for i in range(60)])
FRAME = FRAME.astype({"a": "int64", "b": "int8", "c": "float32"}).assign(flag=FRAME["a"] > 0)
FRAMES = {"pandas": FRAME, "polars": pl.from_pandas(FRAME)}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_come_back_as_frames(kind):
    frame = FRAMES[kind]
    estimator = fit(frame, **FREE)
    tables = [estimator.sample(4), estimator.sample(4, noise=False), estimator.interpolate(frame[:2], frame[2:4], 5)]
    for rows, n_rows in zip(tables, [4, 4, 10], strict=True):
        assert type(rows) is type(frame)
        assert rows.shape == (n_rows, 6)
        assert list(rows.columns) == list(frame.columns)
        assert list(rows.dtypes) == list(frame.dtypes)
    for values in [estimator.score_samples(frame), *estimator.elbo(frame), *estimator.posterior(frame)]:
        assert type(values) is np.ndarray


@pytest.mark.parametrize("kind", FRAMES)
def test_samples_of_integers_are_rounded(kind):
    frame = FRAMES[kind][list("abcde")]
    rows, array = (fit(table, **FREE).sample(4, random_state=0) for table in [frame, frame.to_numpy().astype(float)])
    np.testing.assert_array_equal(rows["a"].to_numpy(), np.rint(array[:, 0]))


@pytest.mark.parametrize("n_steps", [2, 7])
@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": ()}, {"standardize": False}], ids=str)
def test_interpolate(params, n_steps):
    estimator = fit(**FREE, **params)
    start, end = WINE[:3], WINE[3:6]
    rows = estimator.interpolate(start, end, n_steps)
    assert rows.shape == (3 * n_steps, 13)
    np.testing.assert_allclose(rows[::n_steps], estimator.reconstruct(start), rtol=1e-5)
    np.testing.assert_allclose(rows[n_steps - 1 :: n_steps], estimator.reconstruct(end), rtol=1e-5)
    shares = np.arange(n_steps) / (n_steps - 1)
    codes = [(1 - t) * a + t * b for a, b in zip(*map(estimator.transform, [start, end]), strict=True) for t in shares]
    np.testing.assert_allclose(rows, estimator.inverse_transform(codes), rtol=1e-5)
    assert estimator.interpolate(start, end).shape == (30, 13)


@pytest.mark.parametrize("kind", FRAMES)
def test_interpolate_whatever_transform_puts_out(kind):
    frame = FRAMES[kind]
    estimator = fit(frame, **FREE)
    expected = estimator.interpolate(frame[:2], frame[2:4])
    for output in FRAMES:
        rows = estimator.set_output(transform=output).interpolate(frame[:2], frame[2:4])
        assert type(rows) is type(frame)
        np.testing.assert_array_equal(rows, expected)


# Quality


@pytest.mark.parametrize("likelihood", ["gaussian", "auto"])
def test_better_than_linear_on_a_curve(likelihood):
    train, held_out, test = curve(400, seed=0), curve(200, seed=1), curve(1000, seed=2)
    linear = max(model(k).fit(train).score(test) for model in [PCA, FactorAnalysis] for k in [1, 2, 3])
    estimator = VAETransformer(1, hidden_layer_sizes=(32,), likelihood=likelihood, max_iter=200, random_state=0)
    assert estimator.fit(train, X_val=held_out).score(test) > linear + 1


@pytest.mark.parametrize(
    ("n_columns", "params"),
    [
        (784, {"n_components": 20, "hidden_layer_sizes": (400,)}),
        (768, {"n_components": 256, "hidden_layer_sizes": (512, 512)}),
    ],
    ids=["784-400-20", "768-512-512-256"],
)
def test_the_shapes_of_the_textbooks(n_columns, params):
    X = np.random.default_rng(0).random((32, n_columns))
    params = {**params, "activation": "relu", "likelihood": "bernoulli", "init": "random", "early_stopping": False}
    estimator = VAETransformer(**params, max_iter=2, random_state=0).fit(X)
    assert [layer.out_features for layer in estimator.module_.encoder.hidden] == list(params["hidden_layer_sizes"])
    assert [layer.out_features for layer in estimator.module_.decoder.hidden] == list(params["hidden_layer_sizes"])[::-1]
    assert estimator.module_.encoder.out.out_features == 2 * params["n_components"]
    assert estimator.transform(X[:4]).shape == (4, params["n_components"])
    assert estimator.sample(2).shape == (2, n_columns)
    assert np.isfinite(estimator.score_samples(X[:4])).all()
    assert estimator.loss_curve_[1] < estimator.loss_curve_[0]


# Within scikit-learn


@pytest.mark.parametrize(
    "params",
    [
        {"max_iter": 4},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (), "likelihood": "gaussian_diag"},
        {"init": "random", "standardize": False, "beta": 2.0, "early_stopping": False, "batch_size": 32},
    ],
    ids=str,
)
def test_weight_is_repetition(params):
    weights = np.random.default_rng(0).integers(0, 3, size=len(WINE))
    weighted = VAETransformer(2, **QUICK | params).fit(WINE, sample_weight=weights)
    repeated = fit(np.repeat(WINE, weights, axis=0), **params)
    for method in ["transform", "reconstruct", "score_samples"]:
        np.testing.assert_array_equal(getattr(weighted, method)(WINE), getattr(repeated, method)(WINE))
    for name in ["noise_variance_", "explained_variance_", "kl_per_component_", "active_units_", "validation_scores_"]:
        np.testing.assert_array_equal(getattr(weighted, name), getattr(repeated, name))


@pytest.mark.parametrize(
    "params",
    [
        {"early_stopping": True},
        {"early_stopping": False, "init": "random"},
        {"early_stopping": False, "init": "random", "hidden_layer_sizes": ()},
    ],
    ids=str,
)
def test_warm_start_goes_on(params):
    params = {"warm_start": True, "max_iter": 60, "learning_rate_init": 0.02, **params}
    estimator = fit(**params)
    first, codes, before = list(estimator.loss_curve_), estimator.transform(WINE), estimator.score(WINE)
    noise, explained = estimator.noise_variance_, estimator.explained_variance_
    estimator.set_params(**STILL).fit(WINE)
    assert len(estimator.loss_curve_) == len(first) + 1
    assert estimator.loss_curve_[:-1] == first
    np.testing.assert_allclose(estimator.transform(WINE), codes, atol=1e-4)
    np.testing.assert_allclose(estimator.score(WINE), before, rtol=1e-4)
    np.testing.assert_allclose(estimator.noise_variance_, noise, rtol=1e-4)
    np.testing.assert_allclose(estimator.explained_variance_, explained, rtol=1e-2)
    estimator.set_params(max_iter=60, learning_rate_init=0.02).fit(WINE)
    assert estimator.score(WINE) > before - 0.1


def test_warm_start_keeps_the_likelihood_that_auto_chose():
    X, other = planted(np.geomspace(0.05, 20, 8)), planted(np.full(8, 0.3))
    estimator = fit(X, warm_start=True)
    assert np.shape(estimator.noise_variance_) == (8,)
    assert np.shape(estimator.fit(other).noise_variance_) == (8,)


def test_set_output_and_names():
    estimator = fit(FRAME, **FREE).set_output(transform="pandas")
    codes = estimator.transform(FRAME)
    assert list(codes.columns) == ["vaetransformer0", "vaetransformer1"] == estimator.get_feature_names_out().tolist()
    assert codes.index.equals(FRAME.index)
    assert estimator.inverse_transform(codes).index.equals(FRAME.index)


def test_search_over_beta_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), VAETransformer(2, **QUICK, early_stopping=False))
    search = GridSearchCV(pipeline, {"vaetransformer__beta": [0.0, 1.0, 30.0]}, cv=2).fit(WINE)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_ == {"vaetransformer__beta": 1.0}
    best = search.best_estimator_
    assert search.score(WINE) == best[-1].score_samples(best[0].transform(WINE)).mean()
    assert best.inverse_transform(best.transform(WINE)).shape == WINE.shape


@pytest.mark.gpu
def test_on_an_accelerator():
    on_cpu, on_gpu = (fit(device=device, early_stopping=False) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu.score(WINE), on_cpu.score(WINE), rtol=0.05)
    np.testing.assert_array_equal(on_gpu.score_samples(WINE), on_gpu.score_samples(WINE))
