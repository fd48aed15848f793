"""Columns on scales that wild cells do not move: the formula, the way back, and columns that hardly vary."""

import numpy as np
import pytest
from scipy.stats import norm

from skvae._tables.squashing import Squashing

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3)) * [1.0, 50.0, 1e-6] + [0.0, -7.0, 3.0]
NUMBERS = np.ones(3, dtype=bool)


def column(cells):
    """The squashing of a table of one column of numbers."""
    return Squashing.of(np.asarray(cells, dtype=float)[:, None], np.array([True]), knee=1.0)


@pytest.mark.parametrize("knee", [1.0, 20.0])
def test_cells_are_squashed_by_their_distance_from_the_median_in_spreads(knee):
    found = Squashing.of(X, NUMBERS, knee).apply(X)
    for j, cells in enumerate(X.T):
        median = np.median(cells)
        clipped = np.clip(cells, np.percentile(cells, 5), np.percentile(cells, 95))
        spread = np.sqrt(np.pi / 2) * np.abs(clipped - median).mean()
        z = (cells - median) / spread / knee
        np.testing.assert_allclose(found[:, j], knee * np.log(z + np.sqrt(z**2 + 1)), rtol=1e-9, atol=1e-9)


def test_the_spread_of_normal_cells_is_nearly_their_standard_deviation():
    cells = norm.ppf((np.arange(10_000) + 0.5) / 10_000) * 3 + 8
    assert column(cells).spread[0] == pytest.approx(3, rel=0.07)
    assert column(cells).median[0] == pytest.approx(8, abs=1e-9)


def test_usual_cells_keep_their_distances_and_far_ones_do_not():
    squashing = Squashing(np.zeros(1), np.ones(1), np.array([True]), knee=20.0)
    np.testing.assert_allclose(squashing.apply(np.array([[1.0], [-3.0]])), [[1.0], [-3.0]], rtol=0.01)
    assert squashing.apply(np.array([[1e6]]))[0, 0] == pytest.approx(20 * np.log(2e6 / 20), rel=1e-6)


@pytest.mark.parametrize("knee", [1.0, 20.0])
def test_squashed_cells_come_back(knee):
    rows = np.concatenate([X, [[1e11, -1e9, 0.0], [np.nan, -7.0, np.nan]]])
    squashing = Squashing.of(rows, NUMBERS, knee)
    np.testing.assert_allclose(squashing.invert(squashing.apply(rows)), rows, rtol=1e-9, atol=1e-9)


def test_missing_cells_stay_missing_and_do_not_count():
    holes = np.where(RNG.random(X.shape) < 0.3, np.nan, X)
    squashing = Squashing.of(holes, NUMBERS, 1.0)
    np.testing.assert_array_equal(np.isnan(squashing.apply(holes)), np.isnan(holes))
    for j, cells in enumerate(holes.T):
        alone = column(cells[~np.isnan(cells)])
        assert (squashing.median[j], squashing.spread[j]) == (alone.median[0], alone.spread[0])


@pytest.mark.parametrize("n_wild", [1, 16])  # of 400
def test_wild_cells_move_median_and_spread_little(n_wild):
    wild = X[:, 0].copy()
    wild[:n_wild] = 1e11
    before, after = column(X[:, 0]), column(wild)
    assert abs(after.median[0] - before.median[0]) < 0.15 * before.spread[0]
    assert after.spread[0] == pytest.approx(before.spread[0], rel=0.2)


@pytest.mark.parametrize("wild", [None, 1e11])
def test_a_column_that_rarely_leaves_one_value_is_on_the_scale_of_what_it_leaves_it_for(wild):
    cells = np.zeros(400)
    cells[:12] = np.linspace(8, 12, 12)
    cells[0] = cells[0] if wild is None else wild
    of_like_column = np.sqrt(np.mean(np.where(np.arange(400) < 12, 10.0, 0.0) ** 2))  # leaves 0 as often, always for 10
    squashing = column(cells)
    assert squashing.median[0] == 0
    assert squashing.spread[0] == pytest.approx(of_like_column, rel=0.1)
    assert squashing.spread[0] == pytest.approx(np.sqrt(12 / 400) * np.median(cells[:12]))


@pytest.mark.parametrize("n_others", [3, 4, 5, 6])  # of 100, on both sides of the quantiles at which cells are clipped
def test_the_scale_does_not_jump_where_one_value_is_left_a_little_more_often(n_others):
    fewer, more = (column(np.arange(100) < n) for n in (n_others, n_others + 1))
    assert 0.5 < more.spread[0] / fewer.spread[0] < 2


def test_a_constant_column_is_zero_and_what_leaves_it_counts_by_its_distance():
    squashing = column(np.full(30, 2.5))
    np.testing.assert_array_equal(squashing.apply(np.array([[2.5], [3.5], [1.5]])), [[0], [np.arcsinh(1)], [-np.arcsinh(1)]])


def test_a_column_without_cells_is_missing_in_all_rows():
    table = np.column_stack([X[:, 0], np.full(400, np.nan)])
    squashing = Squashing.of(table, np.ones(2, dtype=bool), 1.0)
    assert np.isnan(squashing.apply(X[:, :2])[:, 1]).all()
    read = squashing.read(X[:, :2])
    np.testing.assert_array_equal(read[:, 0], X[:, 0])
    assert np.isnan(read[:, 1]).all()


def test_columns_that_hold_no_numbers_are_left_alone():
    codes = RNG.integers(0, 5, 400).astype(float)
    table = np.column_stack([codes, X[:, 0]])
    squashing = Squashing.of(table, np.array([False, True]), 1.0)
    np.testing.assert_array_equal(squashing.apply(table)[:, 0], codes)
    np.testing.assert_array_equal(squashing.invert(table)[:, 0], codes)


def test_float32_is_read_as_float64():
    table = X.astype(np.float32)
    squashing = Squashing.of(table, NUMBERS, 1.0)
    assert squashing.apply(table).dtype == np.float64
    np.testing.assert_array_equal(squashing.apply(table), Squashing.of(table.astype(float), NUMBERS, 1.0).apply(table))
