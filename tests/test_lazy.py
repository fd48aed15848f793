"""Large tables in memory: their rows are changed when they are read, and a fit is that of a small table."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_wine

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer
from skvae._fit.linear_gaussian import factor_analysis
from skvae._fit.pca import principal_components
from skvae._tables import lazy as lazy_module
from skvae._tables import rows as rows_module
from skvae._tables.lazy import Lazy, Resident, without_copies
from skvae._tables.rows import Table, merge_equal_rows
from skvae._tables.scaling import Scaling

WINE = load_wine().data
BLOCK = 50
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    for module in (lazy_module, rows_module):
        monkeypatch.setattr(module, "BLOCK_ROWS", BLOCK)


@pytest.fixture
def large(monkeypatch):
    """A function that makes all tables large."""
    return lambda: monkeypatch.setattr(lazy_module, "LARGE", 0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


TABLES = {
    "plain": lambda rng: Table(WINE, None),
    "weighted": lambda rng: Table(WINE, rng.integers(1, 4, size=len(WINE)).astype(float)),
    "holes": lambda rng: Table(np.where(rng.random(WINE.shape) < 0.2, np.nan, WINE), None),
    "single precision": lambda rng: Table(WINE.astype(np.float32), None),
}


@pytest.fixture(params=TABLES)
def table(request, rng):
    return TABLES[request.param](rng)


def assert_same_rows(lazy, table):
    np.testing.assert_array_equal(lazy.rows, table.rows)
    np.testing.assert_array_equal(lazy.counts, table.counts)


# The rows


def test_all_blocks_are_the_table(table):
    lazy = Lazy(Resident(table))
    assert_same_rows(lazy.gathered(), table)
    assert [block.n_rows for block in lazy.blocks()] == [50, 50, 50, 28]
    assert (lazy.n_rows, lazy.n_columns, lazy.total) == (178, 13, table.total)
    assert lazy.is_complete is table.is_complete
    assert not lazy.is_streamed


def test_statistics_are_those_of_the_table(table):
    lazy = Lazy(Resident(table))
    np.testing.assert_allclose(lazy.moments(), table.moments(), rtol=1e-12)
    np.testing.assert_array_equal(lazy.extremes(), table.extremes())


def test_some_rows_are_those_of_the_table(table, rng):
    index = np.sort(rng.choice(178, 90, replace=False))
    lazy = Lazy(Resident(table)).take(index)
    assert_same_rows(lazy.gathered(), table.take(index))
    assert lazy.total == table.take(index).total
    np.testing.assert_allclose(lazy.moments(), table.take(index).moments(), rtol=1e-12)
    assert_same_rows(lazy.take(np.array([3, 80])).gathered(), table.take(index).take(np.array([3, 80])))


def test_a_sample_is_that_of_the_table(table, monkeypatch):
    monkeypatch.setattr(rows_module, "SAMPLE_ROWS", 60)
    assert_same_rows(Lazy(Resident(table)).sample(), table.sample())
    assert_same_rows(Lazy(Resident(table)).take(np.arange(100, 178)).sample(), table.take(slice(100, 160)))


# Changes


@pytest.mark.parametrize("scale", [Scaling.standard, Scaling.common, Scaling.none])
def test_changed_rows_are_those_of_the_changed_table(scale, table):
    lazy, scaling = Lazy(Resident(table)), scale(table)
    expected = table.changed(scaling)
    np.testing.assert_allclose(lazy.changed(scaling).gathered().rows, expected.rows, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(lazy.changed(scaling).moments(), expected.moments(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(lazy.changed(scaling).sample().rows, expected.rows, rtol=1e-6, atol=1e-6)


class Cubed:
    """A change from whose sums nothing follows for those of the changed rows."""

    def apply(self, rows):
        return rows**3

    def summarised(self, summary):
        return None


def test_changes_whose_sums_take_a_pass(table):
    scaling = Scaling.standard(table)
    twice = Lazy(Resident(table)).changed(scaling).changed(Cubed()).changed(scaling)
    expected = table.changed(scaling).changed(Cubed()).changed(scaling)
    np.testing.assert_allclose(twice.moments(), expected.moments(), rtol=1e-5, atol=1e-6)


def test_a_change_keeps_the_digits_of_the_cells(table):
    changed = Lazy(Resident(table)).changed(Scaling.standard(table))
    assert {block.rows.dtype for block in (*changed.blocks(), changed.sample())} == {table.rows.dtype}


def test_tables_are_large_beyond_a_number_of_bytes(monkeypatch):
    table = Table(WINE, None)
    monkeypatch.setattr(lazy_module, "LARGE", WINE.nbytes)
    assert without_copies(table) is table
    monkeypatch.setattr(lazy_module, "LARGE", WINE.nbytes - 1)
    lazy = without_copies(table)
    assert isinstance(lazy, Lazy)
    assert without_copies(lazy) is lazy


# Closed solutions


@pytest.mark.parametrize("X", [WINE, load_breast_cancer().data], ids=["wine", "breast cancer"])
@pytest.mark.parametrize("weighted", [False, True])
def test_principal_components_are_those_of_the_table(weighted, X, rng):
    table = merge_equal_rows(X, rng.integers(1, 4, size=len(X)).astype(float) if weighted else None)
    table = table.changed(Scaling.standard(table))
    found, expected = principal_components(Lazy(Resident(table))), principal_components(table)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-12)
    np.testing.assert_allclose(found.variances, expected.variances, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.axes[:10], expected.axes[:10], atol=1e-9)


def test_factor_analysis_is_that_of_the_table():
    table = Table(WINE, None).changed(Scaling.standard(Table(WINE, None)))
    floors = np.full(13, 1e-6)
    found, expected = factor_analysis(Lazy(Resident(table)), 3, floors), factor_analysis(table, 3, floors)
    np.testing.assert_allclose(found.noise, expected.noise, rtol=1e-5)
    np.testing.assert_allclose(found.loadings, expected.loadings, atol=1e-5)


# Fits

FITS = {
    "folds": (AutoencoderTransformer, {}),
    "linear": (AutoencoderTransformer, {"hidden_layer_sizes": ()}),
    "one split": (AutoencoderTransformer, {"corruption": "swap"}),
    "no validation": (AutoencoderTransformer, {"early_stopping": False}),
    "as they are": (AutoencoderTransformer, {"standardize": False}),
    "robust": (AutoencoderTransformer, {"standardize": "robust"}),
    "share of the variance": (AutoencoderTransformer, {"n_components": 0.8}),
    "mse": (AutoencoderTransformer, {"likelihood": "mse"}),
    "posterior": (VAETransformer, {}),
    "posterior, one noise per column": (VAETransformer, {"likelihood": "gaussian_diag"}),
}


@pytest.mark.parametrize(("kind", "params"), FITS.values(), ids=FITS)
def test_fits_are_those_of_a_small_table(kind, params, large):
    assert_same_fits(kind, params, WINE, large)


HARD = {
    "holes": np.where(np.random.default_rng(0).random(WINE.shape) < 0.2, np.nan, WINE),
    "copies": np.repeat(np.round(WINE[:, :4]), 2, axis=0),
    "a column without cells": np.column_stack([WINE, np.full(178, np.nan)]),
    "a constant column": np.column_stack([WINE, np.full(178, 1 / 3)]),
    "mixed": pd.DataFrame(WINE[:, :4], columns=list("abcd")).assign(
        colour=np.where(WINE[:, 5] > 2, "red", "blue"), flag=WINE[:, 6] > 2
    ),
}


@pytest.mark.parametrize("X", HARD.values(), ids=HARD)
def test_so_are_those_of_tables_with_something_special(X, large):
    assert_same_fits(AutoencoderTransformer, {}, X, large)


def assert_same_fits(kind, params, X, large):
    estimator = kind(**{"n_components": 2} | QUICK | params)
    small = estimator.fit(X)
    codes, scores, curve = small.transform(X), small.score_samples(X), small.loss_curve_
    large()
    estimator.fit(X)
    np.testing.assert_allclose(estimator.loss_curve_, curve, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(estimator.transform(X), codes, rtol=1e-4, atol=1e-4 * np.abs(codes).max())
    np.testing.assert_allclose(estimator.score_samples(X), scores, rtol=1e-4, atol=1e-4 * np.abs(scores).max())


def test_validation_rows_and_weights_are_used(large, rng):
    weights = rng.integers(0, 3, size=150)
    estimator = AutoencoderTransformer(2, **QUICK)
    scores = estimator.fit(WINE[:150], sample_weight=weights, X_val=WINE[150:]).validation_scores_
    large()
    found = estimator.fit(WINE[:150], sample_weight=weights, X_val=WINE[150:]).validation_scores_
    np.testing.assert_allclose(found, scores, rtol=1e-5)


@pytest.mark.parametrize("kind", [AutoencoderImputer, AEAnomalyDetector])
def test_so_do_the_other_estimators(kind, large):
    X = np.where(np.random.default_rng(0).random(WINE.shape) < 0.1, np.nan, WINE)
    method = "transform" if kind is AutoencoderImputer else "score_samples"
    estimator = kind(2, **QUICK)
    expected = getattr(estimator.fit(X), method)(X)
    large()
    np.testing.assert_allclose(getattr(estimator.fit(X), method)(X), expected, rtol=1e-3, atol=1e-3)


def test_a_model_goes_on(large):
    estimator = AutoencoderTransformer(2, warm_start=True, **QUICK)
    curve = estimator.fit(WINE).fit(WINE).loss_curve_
    large()
    again = AutoencoderTransformer(2, warm_start=True, **QUICK)
    np.testing.assert_allclose(again.fit(WINE).fit(WINE).loss_curve_, curve, rtol=1e-4)


@pytest.mark.parametrize("params", [{}, {"corruption": "swap"}, {"early_stopping": False}])
def test_no_more_than_a_block_is_changed_at_once(params, large, monkeypatch):
    monkeypatch.setattr(rows_module, "SAMPLE_ROWS", BLOCK)
    n_changed, apply = [], Scaling.apply
    monkeypatch.setattr(Scaling, "apply", lambda scaling, rows: (n_changed.append(len(rows)), apply(scaling, rows))[1])
    large()
    AutoencoderTransformer(2, **QUICK | params).fit(WINE)
    assert max(n_changed) <= BLOCK


def test_the_table_is_left_alone(large):
    large()
    X = WINE.copy()
    AutoencoderTransformer(2, **QUICK).fit(X)
    np.testing.assert_array_equal(X, WINE)
