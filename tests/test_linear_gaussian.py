from functools import partial

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.preprocessing import StandardScaler

from skvae._fit import linear_gaussian as linear_gaussian_module
from skvae._fit.linear_gaussian import (
    LinearGaussian,
    _axes_of_covariance,
    _axes_of_rows,
    expectation_maximisation,
    factor_analysis,
    probabilistic_pca,
)
from skvae._fit.pca import PrincipalComponents, principal_components
from skvae._tables.rows import Table

DATA = {
    "iris": load_iris().data,
    "wine": load_wine().data,
    "breast cancer": load_breast_cancer().data,
    "diabetes": load_diabetes().data,
    "digits": load_digits().data,  # with constant columns
    "wide": load_digits().data[:20],  # fewer rows than columns
    "two rows": load_iris().data[[0, 60]],
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def standardised(name):
    X = DATA[name]
    return StandardScaler().fit_transform(X[:, X.std(0) > 0])


def covariance_of(model):
    return model.loadings @ model.loadings.T + np.diag(model.noise)


def ppca(X, k, weights=None, **options):
    return probabilistic_pca(principal_components(Table(X, weights)), k, **options)


def fa(X, k, weights=None, prior_rows=0.0):
    return factor_analysis(Table(X, weights), k, np.full(X.shape[1], 1e-6), prior_rows)


SOLVERS = {"probabilistic PCA": ppca, "factor analysis": fa}
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


@each_solver
@pytest.mark.parametrize(("name", "k"), [("iris", 1), ("wine", 3), ("breast cancer", 3), ("digits", 1)])
def test_log_likelihood_is_scipys(solver, name, k):
    X = standardised(name)
    model = solver(X, k)
    expected = stats.multivariate_normal(model.mean, covariance_of(model)).logpdf(X)
    np.testing.assert_allclose(model.log_likelihood(X), expected, rtol=1e-8, atol=1e-6)


@each_solver
@pytest.mark.parametrize(("name", "beta"), [("iris", 0.1), ("wine", 1.0), ("breast cancer", 10.0)])
def test_posterior_is_the_normal_conditional(solver, name, beta):
    model = solver(standardised(name), 3)
    gain = model.loadings.T @ np.linalg.inv(model.loadings @ model.loadings.T + beta * np.diag(model.noise))
    weight, variances = model.posterior(beta)
    np.testing.assert_allclose(weight, gain, atol=1e-7 * np.abs(gain).max())
    np.testing.assert_allclose(np.diag(variances), np.eye(3) - gain @ model.loadings, atol=1e-7)


FLOORED = [partial(ppca, floor=1e-6), fa]


@pytest.mark.parametrize("solver", FLOORED, ids=SOLVERS)
@pytest.mark.parametrize("shape", [(20, 1), (1, 4)], ids=["one column", "one row"])
def test_a_table_without_axes_to_choose_from_has_noise_only(solver, shape, rng):
    X = rng.normal(size=shape)
    model = solver(X, 2)
    assert model.loadings.shape == (shape[1], 2)
    np.testing.assert_array_equal(model.loadings, 0)
    np.testing.assert_allclose(model.noise, np.maximum(X.var(0), 1e-6), rtol=0.06)


def test_a_component_without_loadings_has_the_prior_as_its_posterior_at_beta_0_too(rng):
    weight, variances = LinearGaussian(np.zeros(3), np.zeros((3, 1)), np.ones(3)).posterior(0.0)
    np.testing.assert_array_equal(weight, 0)
    np.testing.assert_array_equal(variances, 1)


@each_solver
@pytest.mark.parametrize("name", ["iris", "wine"])
def test_solutions_of_weighted_rows_are_those_of_repeated_rows(solver, name, rng):
    X = standardised(name)
    counts = rng.integers(0, 4, size=len(X))
    weighted, repeated = solver(X[counts > 0], 2, counts[counts > 0].astype(float)), solver(np.repeat(X, counts, axis=0), 2)
    np.testing.assert_allclose(weighted.mean, repeated.mean, atol=1e-12)
    np.testing.assert_allclose(weighted.noise, repeated.noise, atol=1e-4)
    np.testing.assert_allclose(covariance_of(weighted), covariance_of(repeated), atol=1e-4)


@each_solver
def test_components_fall_in_squared_length(solver):
    lengths = (solver(standardised("breast cancer"), 5).loadings ** 2).sum(axis=0)
    assert (np.diff(lengths) < 0).all()


# Probabilistic PCA


@pytest.mark.parametrize(
    ("name", "k"),
    [("iris", 1), ("iris", 3), ("wine", 12), ("breast cancer", 5), ("diabetes", 2), ("digits", 30), ("wide", 3), ("wide", 18)],
)
def test_probabilistic_pca_has_the_scores_of_scikit_learn(name, k):
    X = DATA[name]
    pca = PCA(k, svd_solver="full").fit(X)
    np.testing.assert_allclose(ppca(X, k).log_likelihood(X), pca.score_samples(X), rtol=1e-8)


@pytest.mark.parametrize("name", ["iris", "digits", "wide"])
@pytest.mark.parametrize("more", [0, 2])
def test_as_many_components_as_axes_leave_some_noise(name, more):
    X = DATA[name]
    model = ppca(X, np.linalg.matrix_rank(X - X.mean(0)) + more, floor=1e-6)
    assert (model.noise >= 1e-6).all()
    assert np.isfinite(model.log_likelihood(X)).all()


@pytest.mark.parametrize("k", [4, 6])
def test_a_component_for_every_column_is_the_density_of_one_less(k):
    X = DATA["iris"]
    model = ppca(X, k)
    assert model.loadings.shape == (4, k)
    np.testing.assert_allclose(covariance_of(model), covariance_of(ppca(X, 3)), atol=1e-12)
    np.testing.assert_allclose(covariance_of(model), np.cov(X.T), atol=1e-12)


@pytest.mark.parametrize("floor", [1e-6, 0.5])
@pytest.mark.parametrize("variances", [[1.0, 1e-9, 1e-9], [0.3, 0.2, 0.1], [0.0, 0.0, 0.0]])
def test_no_noise_is_below_the_floor(floor, variances):
    model = probabilistic_pca(PrincipalComponents(np.zeros(3), np.eye(3), np.array(variances)), 1, floor=floor)
    left = np.mean(variances[1:])
    np.testing.assert_allclose(model.noise, max(left, floor))
    np.testing.assert_allclose((model.loadings**2).sum(), max(variances[0] - max(left, floor), 0))


SPECTRUM = PrincipalComponents(
    np.zeros(5), np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0], np.arange(5.0, 0, -1)
)


def bound(loadings, log_noise, weight, log_variances, beta):
    """Mean over rows of the evidence lower bound with a weighted divergence, as their covariance alone determines it.

    The model is ``x = loadings @ z + e``, and q(z | x) is normal around ``weight @ x``.
    """
    covariance = torch.from_numpy(SPECTRUM.axes.T * SPECTRUM.variances @ SPECTRUM.axes)
    noise, variances = log_noise.exp(), log_variances.exp()
    misfit = torch.eye(5) - loadings @ weight
    squares = (misfit @ covariance @ misfit.T).diag() + loadings.square() @ variances
    fit = -0.5 * (torch.log(2 * torch.pi * noise) + squares / noise).sum()
    means = (weight @ covariance @ weight.T).diag()
    return fit - 0.5 * beta * (means + variances - 1 - log_variances).sum()


def solution(k, beta, noise):
    """The solution's parameters as the bound takes them; a given noise is no parameter."""
    model = probabilistic_pca(SPECTRUM, k, beta, noise)
    weight, variances = model.posterior(beta)
    free = [torch.tensor(v) for v in (model.loadings, weight, np.log(variances))]
    log_noise = torch.tensor(np.log(model.noise[0]))

    def value(loadings, weight, log_variances, log_noise=log_noise):
        return bound(loadings, log_noise.expand(5), weight, log_variances, beta)

    return value, free if noise else [*free, log_noise]


NOISES = [None, 0.3, 2.5]
BOUNDS = [(3, beta, noise) for beta in (0.3, 1.0, 3.0) for noise in NOISES] + [(1, 0.3, None), (5, 3.0, 2.5), (1, 1.0, 0.3)]


@pytest.mark.parametrize(("k", "beta", "noise"), BOUNDS)
def test_probabilistic_pca_is_where_the_weighted_bound_is_highest(k, beta, noise, rng):
    value, free = solution(k, beta, noise)
    gradients = torch.autograd.grad(value(*(p.requires_grad_() for p in free)), free)
    assert all(gradient.abs().max() < 1e-10 for gradient in gradients)
    highest = value(*free).item()
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(20):
            moved = [p.detach() + scale * torch.from_numpy(rng.normal(size=p.shape)) for p in free]
            assert value(*moved).item() <= highest + 1e-12
    sizes = [p.numel() for p in free]

    def loss(vector):
        parts = [part.view(p.shape) for part, p in zip(torch.tensor(vector).split(sizes), free, strict=True)]
        loss = -value(*(p.requires_grad_() for p in parts))
        return loss.item(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, parts)]).numpy()

    found = optimize.minimize(loss, 0.5 * rng.normal(size=sum(sizes)), jac=True, method="L-BFGS-B")
    assert -found.fun == pytest.approx(highest, abs=1e-4)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_beta_1_is_maximum_likelihood(k):
    value, free = solution(k, 1.0, None)
    covariance = covariance_of(probabilistic_pca(SPECTRUM, k))
    data = SPECTRUM.axes.T * SPECTRUM.variances @ SPECTRUM.axes
    log_likelihood = -0.5 * (np.linalg.slogdet(2 * np.pi * covariance)[1] + np.trace(np.linalg.solve(covariance, data)))
    assert value(*free).item() == pytest.approx(log_likelihood, rel=1e-10)


@pytest.mark.parametrize(("beta", "n_used"), [(0.1, 4), (1.0, 4), (1.2, 3), (1.6, 1), (2.0, 0), (100.0, 0)])
def test_a_larger_beta_leaves_components_unused(beta, n_used):
    model = probabilistic_pca(SPECTRUM, 4, beta)
    used = (model.loadings != 0).any(axis=0)
    assert used.tolist() == [True] * n_used + [False] * (4 - n_used)
    assert (SPECTRUM.variances[:n_used] > beta * model.noise[0]).all()
    assert (SPECTRUM.variances[n_used:4] <= beta * model.noise[0]).all()
    weight, variances = model.posterior(beta)
    np.testing.assert_array_equal(weight[~used], 0)
    np.testing.assert_array_equal(variances[~used], 1)


# Factor analysis


WELL_CONDITIONED = [("wine", 1), ("wine", 2), ("wine", 3), ("breast cancer", 2), ("digits", 1)]


@pytest.mark.parametrize(("name", "k"), WELL_CONDITIONED)
def test_factor_analysis_has_the_scores_of_scikit_learn(name, k):
    X = standardised(name)
    theirs = FactorAnalysis(k, tol=1e-8, max_iter=20_000, svd_method="lapack").fit(X).score_samples(X)
    ours = fa(X, k).log_likelihood(X)
    np.testing.assert_allclose(ours, theirs, atol=1e-2)
    assert ours.mean() > theirs.mean() - 1e-7


def best_fit(noise, covariance, k):
    """Mean log-likelihood at this noise and the loadings that are best for it (Lawley and Maxwell), by the full covariance."""
    root = np.sqrt(noise)
    values, vectors = np.linalg.eigh(covariance / root / root[:, None])
    loadings = root[:, None] * vectors[:, -k:] * np.sqrt(np.maximum(values[-k:] - 1, 0))
    model = loadings @ loadings.T + np.diag(noise)
    return -0.5 * (np.linalg.slogdet(2 * np.pi * model)[1] + np.trace(np.linalg.solve(model, covariance)))


@pytest.mark.parametrize(
    ("name", "k", "prior_rows"),
    [("wine", 1, 0.0), ("wine", 3, 4.0), ("digits", 1, 4.0), ("iris", 1, 0.0), ("diabetes", 2, 4.0)],
)
def test_no_other_noise_is_likelier(name, k, prior_rows, rng):
    X = standardised(name)
    model, covariance = fa(X, k, prior_rows=prior_rows), np.cov(X.T, bias=True)
    prior = ppca(X, k).noise

    def log_posterior(noise):
        return best_fit(noise, covariance, k) - 0.5 * prior_rows / len(X) * (np.log(noise) + prior / noise).sum()

    highest = log_posterior(model.noise)
    for scale in (0.01, 0.1, 1.0):
        for _ in range(10):
            moved = np.maximum(model.noise * np.exp(scale * rng.normal(size=X.shape[1])), 1e-6)
            assert log_posterior(moved) < highest + 1e-7
    assert model.log_likelihood(X).mean() == pytest.approx(best_fit(model.noise, covariance, k), abs=1e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_factor_analysis_of_few_rows_is_that_of_many(k, rng):
    X = rng.normal(size=(8, 3)) @ rng.normal(size=(3, 12)) + rng.normal(size=(8, 12))
    few, many = fa(X, k), fa(np.repeat(X, 3, axis=0), k)
    assert len(X) < X.shape[1] < 3 * len(X)
    np.testing.assert_allclose(few.log_likelihood(X).mean(), many.log_likelihood(X).mean(), atol=0.02)


@pytest.mark.parametrize("k", [1, 4])
def test_axes_are_the_same_by_either_matrix(k, rng):
    rows, noise = rng.normal(size=(6, 9)), rng.uniform(0.1, 2, size=9)
    short, long = _axes_of_rows(rows, k)(noise), _axes_of_covariance(rows.T @ rows, k)(noise)
    scaled = np.linalg.svd(rows / np.sqrt(noise), full_matrices=False)
    for values, axes in (short, long):
        np.testing.assert_allclose(values, scaled.S[:k] ** 2, rtol=1e-10)
        np.testing.assert_allclose(axes * np.sign((axes * scaled.Vh[:k]).sum(1))[:, None], scaled.Vh[:k], atol=1e-10)


def test_loadings_are_orthogonal_in_units_of_the_noise():
    model = fa(standardised("breast cancer"), 4)
    product = model.loadings.T / model.noise @ model.loadings
    np.testing.assert_allclose(product, np.diag(np.diag(product)), atol=1e-9 * product.max())


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_prior_rows_keep_noise_from_vanishing(name):
    X = standardised(name)
    least = [fa(X, 2, prior_rows=n).noise.min() for n in (0.0, 1.0, 10.0, 1e6)]
    assert least[0] < 2e-6
    assert 1e-4 < least[1] < least[2] < least[3]
    np.testing.assert_allclose(fa(X, 2, prior_rows=1e9).noise, ppca(X, 2).noise, rtol=1e-3)


def test_no_noise_is_below_its_columns_floor(rng):
    factor = rng.normal(size=(50, 1))
    X, floor = np.hstack([factor, factor, factor + 0.3 * rng.normal(size=(50, 1)), np.ones((50, 1))]), 10.0 ** -np.arange(2, 6)
    model = factor_analysis(Table(X, None), 1, floor)
    assert (model.noise >= floor).all()
    np.testing.assert_allclose(model.noise[[0, 1, 3]], floor[[0, 1, 3]], rtol=0.1)
    assert np.isfinite(model.log_likelihood(X)).all()


@pytest.mark.parametrize("k", [3, 4, 7])
def test_more_factors_than_axes_have_no_loadings(k, rng):
    X = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))
    model = fa(X, k)
    assert model.loadings.shape == (4, k)
    np.testing.assert_array_equal(model.loadings[:, 3:], 0)
    np.testing.assert_allclose(model.log_likelihood(X), fa(X, 3).log_likelihood(X))


def test_collinear_columns_are_explained_exactly(rng):
    codes = rng.normal(size=(100, 2))
    model = ppca(codes @ rng.normal(size=(2, 6)), 2, floor=1e-6)
    np.testing.assert_allclose(model.noise, 1e-6)
    assert ((model.loadings**2).sum(axis=0) > 0.1).all()


# With missing cells


@pytest.fixture
def gaps(rng):
    """Sixty rows of five columns that two factors explain, of which a third of the cells are missing and none of a row all."""
    X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 5)) + rng.normal(size=(60, 5)) * [0.3, 0.5, 1.0, 0.4, 0.7] + 1
    missing = rng.random(X.shape) < 0.35
    missing[missing.all(axis=1), 0] = False
    return np.where(missing, np.nan, X)


@pytest.fixture
def em(monkeypatch):
    """A function that goes so many steps of expectation-maximisation."""

    def run(X, k, shared, n_steps=30, counts=None, noise=None):
        monkeypatch.setattr(linear_gaussian_module, "EM_STEPS", n_steps)
        return expectation_maximisation(X, np.ones(len(X)) if counts is None else counts, k, shared, noise)

    return run


each_noise = pytest.mark.parametrize("shared", [False, True], ids=["of each column", "shared"])


def observed_log_likelihood(X, mean, covariance, counts=None):
    """Of the observed part of each row, which is normal with that part of the mean and of the covariance."""
    total = 0.0
    for row, count in zip(X, np.ones(len(X)) if counts is None else counts, strict=True):
        o = ~np.isnan(row)
        if o.any():
            total += count * stats.multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(row[o])
    return total


def gradients(X, linear, shared):
    """Of the same, by torch, in the mean, the loadings and the log-variances of the noise."""
    free = [torch.tensor(v, requires_grad=True) for v in (linear.mean, linear.loadings, np.log(linear.noise))]
    mean, loadings, log_noise = free
    covariance = loadings @ loadings.T + log_noise.exp().diag()
    total = torch.zeros((), dtype=torch.float64)
    for row in torch.from_numpy(X):
        o = ~row.isnan()
        total = total + torch.distributions.MultivariateNormal(mean[o], covariance[o][:, o]).log_prob(row[o])
    mean, loadings, log_noise = torch.autograd.grad(total, free)
    return mean, loadings, log_noise.sum() if shared else log_noise


@pytest.mark.parametrize(("name", "k"), [("iris", 1), ("diabetes", 3)])
def test_of_complete_rows_it_is_probabilistic_pca(name, k, em):
    X = standardised(name)
    completed, pca = em(X, k, shared=True, n_steps=2000), PCA(svd_solver="full").fit(X)
    unbiased = len(X) / (len(X) - 1)
    model = PCA(k, svd_solver="full").fit(X)
    np.testing.assert_allclose(completed.linear.noise * unbiased, model.noise_variance_, rtol=1e-6)
    np.testing.assert_allclose(covariance_of(completed.linear) * unbiased, model.get_covariance(), atol=1e-6)
    np.testing.assert_allclose(completed.linear.mean, model.mean_, atol=1e-9)
    rescaled = LinearGaussian(model.mean_, completed.linear.loadings * unbiased**0.5, completed.linear.noise * unbiased)
    assert rescaled.log_likelihood(X).mean() == pytest.approx(model.score(X), rel=1e-8)
    alive = pca.explained_variance_ > 1e-6
    np.testing.assert_allclose(completed.components.mean, pca.mean_, atol=1e-9)
    np.testing.assert_allclose(completed.components.variances, pca.explained_variance_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(completed.components.axes[alive], pca.components_[alive], atol=1e-5)


@pytest.mark.parametrize(("name", "k"), [("wine", 1), ("wine", 2), ("digits", 1)])
def test_of_complete_rows_it_is_factor_analysis(name, k, em):
    X = standardised(name)
    theirs = FactorAnalysis(k, tol=1e-8, max_iter=20_000, svd_method="lapack").fit(X).score(X)
    assert em(X, k, shared=False, n_steps=300).linear.log_likelihood(X).mean() == pytest.approx(theirs, abs=0.01)


@each_noise
@pytest.mark.parametrize(("k", "weighted"), [(1, False), (2, True), (4, False)])
def test_no_step_makes_the_observed_cells_less_likely(weighted, k, shared, em, gaps, rng):
    counts = rng.random(60) * 3 if weighted else np.ones(60)
    found = [em(gaps, k, shared, n, counts).linear for n in (0, 1, 2, 5, 20, 100)]
    values = [observed_log_likelihood(gaps, m.mean, covariance_of(m), counts) for m in found]
    assert (np.diff(values) > -1e-7).all()
    assert values[-1] > values[0] + 1


@each_noise
@pytest.mark.parametrize("k", [1, 2])
def test_in_the_end_nothing_is_likelier(k, shared, em, gaps):
    linear = em(gaps, k, shared, n_steps=4000).linear
    assert (linear.noise > 0.01).all()
    for gradient in gradients(gaps, linear, shared):
        assert gradient.abs().max() < 1e-2


def test_the_mean_comes_first(em, gaps):
    gradient, *_ = gradients(gaps, em(gaps, 2, True, n_steps=200).linear, shared=True)
    assert gradient.abs().max() < 0.05


@each_noise
def test_weights_are_repetitions(shared, em, gaps, rng):
    k, counts = 3, rng.integers(1, 4, size=60)
    weighted, repeated = em(gaps, k, shared, counts=counts.astype(float)), em(np.repeat(gaps, counts, axis=0), k, shared)
    for name in ("mean", "noise"):
        np.testing.assert_allclose(getattr(weighted.linear, name), getattr(repeated.linear, name), rtol=1e-8)
    np.testing.assert_allclose(covariance_of(weighted.linear), covariance_of(repeated.linear), atol=1e-9)
    np.testing.assert_allclose(weighted.components.variances, repeated.components.variances, rtol=1e-8)
    np.testing.assert_allclose(weighted.components.axes, repeated.components.axes, atol=1e-7)


@each_noise
def test_the_order_of_rows_does_not_matter(shared, em, gaps, rng):
    ordered, shuffled = em(gaps, 2, shared), em(rng.permutation(gaps), 2, shared)
    np.testing.assert_allclose(covariance_of(ordered.linear), covariance_of(shuffled.linear), atol=1e-9)
    np.testing.assert_allclose(ordered.components.variances, shuffled.components.variances, rtol=1e-8)


def test_given_noise_is_kept_and_the_rest_is_found_for_it(em, gaps):
    given = np.array([np.nan, 0.25, np.nan, 0.5, np.nan])
    linear = em(gaps, 2, False, 4000, noise=given).linear
    np.testing.assert_array_equal(linear.noise[[1, 3]], [0.25, 0.5])
    mean, loadings, log_noise = gradients(gaps, linear, shared=False)
    assert max(g.abs().max() for g in (mean, loadings, log_noise[[0, 2, 4]])) < 1e-2
    np.testing.assert_array_equal(given, [np.nan, 0.25, np.nan, 0.5, np.nan])


@each_noise
def test_components_are_of_the_rows_completed_in_expectation(shared, em, gaps):
    completed = em(gaps, 2, shared)
    mean, covariance = completed.linear.mean, covariance_of(completed.linear)
    total = np.zeros((5, 5))
    for row in gaps:
        o, m = ~np.isnan(row), np.isnan(row)
        gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
        filled = row - mean
        filled[m] = gain @ (row[o] - mean[o])
        total += np.outer(filled, filled)
        total[np.ix_(m, m)] += covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]
    ours = completed.components
    np.testing.assert_allclose(ours.axes.T * ours.variances @ ours.axes, total / 59, atol=1e-9)
    np.testing.assert_array_equal(ours.mean, mean)
    assert (np.diff(ours.variances) <= 0).all()


@each_noise
def test_posterior_components_are_independent_and_fall(shared, em, gaps):
    linear = em(gaps, 3, shared).linear
    product = linear.loadings.T / linear.noise @ linear.loadings
    np.testing.assert_allclose(product, np.diag(np.diag(product)), atol=1e-9 * product.max())
    assert (np.diff(np.diag(product)) <= 0).all()
    assert (linear.loadings[np.abs(linear.loadings).argmax(axis=0), np.arange(3)] > 0).all()


def finite(completed):
    parts = [completed.linear.mean, completed.linear.loadings, completed.linear.noise]
    return all(np.isfinite(values).all() for values in [*parts, completed.components.axes, completed.components.variances])


@each_noise
def test_a_column_without_any_cell_does_no_harm(shared, em, gaps):
    alone, beside = (em(X, 2, shared, 2000) for X in (gaps, np.insert(gaps, 2, np.nan, axis=1)))
    assert finite(beside)
    others = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(beside.linear.mean[others], alone.linear.mean, atol=1e-4)
    np.testing.assert_allclose(beside.linear.noise[others], alone.linear.noise, atol=1e-4)
    np.testing.assert_allclose(covariance_of(beside.linear)[np.ix_(others, others)], covariance_of(alone.linear), atol=1e-4)
    np.testing.assert_allclose(beside.linear.loadings[2], 0, atol=1e-9)


@each_noise
@pytest.mark.parametrize("n_empty", [1, 30])
def test_rows_without_any_cell_do_no_harm(n_empty, shared, em, gaps):
    alone, beside = (em(X, 2, shared, 2000).linear for X in (gaps, np.concatenate([np.full((n_empty, 5), np.nan), gaps])))
    np.testing.assert_allclose(beside.mean, alone.mean, atol=1e-3)
    np.testing.assert_allclose(beside.noise, alone.noise, atol=1e-3)
    np.testing.assert_allclose(covariance_of(beside), covariance_of(alone), atol=1e-3)


@each_noise
@pytest.mark.parametrize(("k", "missing"), [(1, 0.3), (7, 0.0), (7, 0.3), (12, 0.3), (15, 0.3)])
def test_rows_may_be_fewer_than_columns(missing, k, shared, em, rng):
    X = rng.normal(size=(8, 3)) @ rng.normal(size=(3, 12)) + rng.normal(size=(8, 12))
    X[rng.random(X.shape) < missing] = np.nan
    completed = em(X, k, shared)
    assert finite(completed)
    assert completed.linear.loadings.shape == (12, k)
    assert (completed.linear.noise > 0).all()
    assert (completed.components.variances >= 0).all()
    np.testing.assert_allclose(completed.components.axes @ completed.components.axes.T, np.eye(12), atol=1e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_of_few_complete_rows_it_is_maximum_likelihood(k, em, rng):
    X = rng.normal(size=(8, 12))
    variances = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    np.testing.assert_allclose(em(X, k, shared=True).linear.noise, variances[k:].mean(), rtol=1e-6)


@each_noise
@pytest.mark.parametrize(
    "X",
    [
        np.array([[1.0, np.nan], [1.0, 2.0], [np.nan, 2.0]]),
        np.array([[1.0, 2.0, np.nan]]),
        np.full((3, 2), np.nan),
        np.array([[1.0], [np.nan], [2.0]]),
        np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, np.nan], [np.nan, 5.0]]),
    ],
    ids=["constant", "one row", "nothing", "one column", "never together"],
)
def test_tables_that_say_little_leave_finite_numbers(X, shared, em):
    for k in [0, 1, 2]:
        completed = em(X, k, shared)
        assert finite(completed)
        assert (completed.linear.noise > 0).all()


@each_noise
def test_a_constant_column_does_no_harm(shared, em, gaps):
    gaps[:, 2] = np.where(np.isnan(gaps[:, 2]), np.nan, 0.0)
    completed = em(gaps, 2, shared, 300)
    assert finite(completed)
    np.testing.assert_allclose(completed.linear.mean[2], 0, atol=1e-6)


@each_noise
def test_a_large_table_is_represented_by_some_rows(shared, em, gaps, monkeypatch):
    monkeypatch.setattr(linear_gaussian_module, "EM_COST", 45 * 40)
    np.testing.assert_array_equal(em(gaps, 2, shared).linear.loadings, em(gaps[:40], 2, shared).linear.loadings)
