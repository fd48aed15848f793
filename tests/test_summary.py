"""Sums over blocks of rows, beside those of numpy over all rows at once."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris

from skvae._tables.rows import Table
from skvae._tables.summary import Summary

DATA = {"iris": load_iris().data, "breast cancer": load_breast_cancer().data, "digits": load_digits().data[:300]}
each_data = pytest.mark.parametrize("X", DATA.values(), ids=DATA)
SCALES = [1e-300, 1e-30, 1.0, 1e30, 1e300]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(name="X")
def rows(rng):
    return rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + [0, 5, -100, 1e4]


def parts_of(X, counts, *ends):
    """Blocks that end at some rows."""
    pairs = zip((0, *ends), (*ends, len(X)), strict=True)
    return [(X[start:stop], None if counts is None else counts[start:stop]) for start, stop in pairs]


def summary(X, counts=None, *ends):
    return Summary.over(parts_of(X, counts, *ends))


def assert_close(found, expected, unit=1.0):
    """Up to rounding on the scale of the column."""
    np.testing.assert_allclose(found / unit, expected / unit, rtol=1e-12, atol=1e-12)


SPLITS = {"one block": (), "halves": (30,), "single rows": range(1, 60), "ragged": (1, 2, 40, 59), "an empty block": (20, 20)}


@pytest.mark.parametrize("ends", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_merge_to_numpys_moments_of_all_rows(weighted, ends, X, rng):
    counts = rng.integers(1, 5, size=60) if weighted else np.ones(60, dtype=int)
    found = summary(X, counts.astype(float) if weighted else None, *ends)
    rows, unit = np.repeat(X, counts, axis=0), np.abs(X).max(0)
    mean, std = found.moments()
    assert_close(mean, rows.mean(0), unit)
    assert_close(std, rows.std(0), unit)
    assert_close(found.covariance(found.total - 1), np.cov(rows.T), np.outer(unit, unit))
    assert (found.total, found.n_rows) == (counts.sum(), 60)
    np.testing.assert_array_equal([found.lowest, found.highest], [X.min(0), X.max(0)])


@each_data
def test_moments_of_blocks_are_those_of_the_table(X):
    found, of_table = summary(X, None, 10, 50).moments(), Table(X, None).moments()
    np.testing.assert_allclose(found, of_table, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(found[1] == 0, of_table[1] == 0)


def test_it_does_not_matter_which_summaries_are_merged_first(X):
    first, second, third = (Summary.of(*part) for part in parts_of(X, None, 10, 45))
    one, other = first.merged(second).merged(third), first.merged(second.merged(third))
    assert_close(np.array(one.moments()), np.array(other.moments()))
    assert_close(one.covariance(1.0), other.covariance(1.0))


def test_a_weight_is_a_repetition_also_of_a_row_in_another_block(X, rng):
    counts = rng.integers(0, 4, size=60)
    weighted, repeated = summary(X, counts.astype(float), 7, 33), summary(np.repeat(X, counts, axis=0), None, 50)
    assert_close(weighted.covariance(1.0), repeated.covariance(1.0), 1e4)
    assert_close(np.array(weighted.moments()), np.array(repeated.moments()))
    assert weighted.total == repeated.total


def test_weights_may_be_any_numbers(X, rng):
    counts = 1e-9 * rng.random(60)
    mean, std = summary(X, counts, 20).moments()
    expected = np.average(X, axis=0, weights=counts)
    assert_close(mean, expected)
    assert_close(std, np.sqrt(np.average((X - expected) ** 2, axis=0, weights=counts)))


def test_deviations_outlast_a_mean_beside_which_their_squares_are_rounding(rng):
    Z = rng.normal(size=(1000, 1))
    found = summary(Z + 2.0**30, None, 100, 900)
    np.testing.assert_allclose(found.moments()[1], (Z + 2.0**30 - 2.0**30).std(0), rtol=1e-7)


def test_columns_of_any_unit_stand_side_by_side(rng):
    Z = rng.normal(size=(50, 5))
    mean, std = summary(Z * SCALES, None, 1, 30).moments()
    assert_close(mean / SCALES, Z.mean(0))
    assert_close(std / SCALES, Z.std(0))


def test_a_column_whose_unit_grows_from_block_to_block(rng):
    X = rng.normal(size=(40, 1)) * np.repeat([1e-100, 1.0, 1e100, 1e-5], 10)[:, None]
    mean, std = summary(X, None, 10, 20, 30).moments()
    assert_close(mean, X.mean(0), 1e100)
    assert_close(std, X.std(0), 1e100)


@pytest.mark.parametrize("power", [-900, -40, 40, 900])
def test_the_unit_changes_no_digit(power, X, rng):
    found, scaled = summary(X, None, 30), summary(X * 2.0**power, None, 30)
    for name in ("mean", "squares", "products"):
        np.testing.assert_array_equal(getattr(scaled, name), getattr(found, name))
    np.testing.assert_array_equal(scaled.unit, found.unit * 2.0**power)


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e300, -1e-300, 5e-324, 1e16 + 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_column_is_exact(value, weighted, rng):
    found = summary(np.full((7, 1), value), rng.random(7) if weighted else None, 2, 3)
    assert np.array(found.moments()).tolist() == [[value], [0.0]]


def test_a_column_that_is_constant_in_each_block_is_not_constant():
    mean, std = summary(np.repeat([1.0, 3.0], 5)[:, None], None, 5).moments()
    assert (mean[0], std[0]) == (2.0, 1.0)


def test_single_precision_is_added_up_in_double():
    X = np.full((1000, 1), 0.1, dtype=np.float32)
    X[::2] += 1
    mean, _ = summary(X, None, 300).moments()
    np.testing.assert_allclose(mean, X.astype(float).mean(0), rtol=1e-15)


# Missing cells


@pytest.fixture
def gaps(X, rng):
    """The last column has one cell, and a row has none."""
    X[rng.random(X.shape) < 0.4] = np.nan
    X[1:, 3], X[0, 3], X[9] = np.nan, 0.1, np.nan
    return X


@pytest.mark.parametrize("ends", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("weighted", [False, True])
def test_moments_are_those_of_the_cells_that_are_there(weighted, ends, gaps, rng):
    counts = rng.integers(1, 5, size=60) if weighted else np.ones(60, dtype=int)
    found = summary(gaps, counts.astype(float) if weighted else None, *ends)
    rows = np.repeat(gaps, counts, axis=0)
    mean, std = found.moments()
    assert_close(mean, np.nanmean(rows, axis=0))
    assert_close(std, np.nanstd(rows, axis=0))
    np.testing.assert_array_equal(found.seen, (~np.isnan(rows)).sum(0))
    np.testing.assert_array_equal([found.lowest, found.highest], [np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)])


@pytest.mark.parametrize("ends", [(), (30,), (59,)])
def test_a_column_without_cells_has_no_mean(ends):
    X = np.column_stack([np.arange(60.0), np.full(60, np.nan)])
    mean, std = summary(X, None, *ends).moments()
    assert (mean[0], std[1]) == (29.5, 0)
    assert np.isnan(mean[1])


def test_a_column_whose_first_cells_come_in_a_later_block():
    X = np.column_stack([np.arange(60.0), np.where(np.arange(60) < 40, np.nan, np.arange(60.0))])
    mean, std = summary(X, None, 20, 40).moments()
    assert_close(mean, np.nanmean(X, axis=0))
    assert_close(std, np.nanstd(X, axis=0))


def test_one_missing_cell_leaves_no_products(X):
    assert summary(X, None, 30).is_complete
    X[50, 1] = np.nan
    found = summary(X, None, 30)
    assert not found.is_complete
    with pytest.raises(ValueError, match="Cells are missing"):
        found.covariance(1.0)


# Scaling


@pytest.mark.parametrize("holes", [False, True])
def test_a_scaled_summary_is_that_of_the_scaled_rows(holes, X, rng):
    if holes:
        X[rng.random(X.shape) < 0.4] = np.nan
    mean, scale = np.array([0.3, 5.0, -90.0, 1e4]), np.array([2.0, 1e-3, 7.0, 0.1])
    found, expected = summary(X, None, 20).scaled(mean, scale), summary((X - mean) / scale, None, 35)
    assert_close(np.array(found.moments()), np.array(expected.moments()), np.abs(expected.highest))
    np.testing.assert_array_equal([found.lowest, found.highest], [expected.lowest, expected.highest])
    if not holes:
        unit = np.sqrt(np.diag(expected.covariance(1.0)))
        assert_close(found.covariance(1.0), expected.covariance(1.0), np.outer(unit, unit))


def test_scaling_to_unit_variance_works_in_any_unit(rng):
    found = summary(rng.normal(size=(50, 5)) * SCALES, None, 20)
    mean, std = found.scaled(*found.moments()).moments()
    np.testing.assert_allclose(mean, 0, atol=1e-12)
    np.testing.assert_allclose(std, 1, rtol=1e-12)


def test_scaling_leaves_a_column_without_cells_without_them():
    found = summary(np.array([[1.0, np.nan], [3.0, np.nan]])).scaled(np.array([2.0, np.nan]), np.ones(2))
    mean, std = found.moments()
    assert (mean[0], std[0]) == (0, 1)
    assert np.isnan([mean[1], found.lowest[1]]).all()
