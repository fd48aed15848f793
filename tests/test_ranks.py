"""How rare a cell is in its column, against counts by hand."""

import numpy as np
import pytest
from scipy.stats import binom, percentileofscore

from skvae._detector.ranks import Ranks
from tests.definitions import p_value

RNG = np.random.default_rng(0)
NUMBER, CATEGORY = np.array([True]), np.array([False])


def p_values(column, cells, is_number, among_them=False):
    """The p-values of cells in one column."""
    column, cells = np.asarray(column, dtype=float)[:, None], np.asarray(cells, dtype=float)[:, None]
    return Ranks.of(column, is_number).p_values(cells, among_them)[:, 0]


def by_percentiles(others, cell):
    """Twice the share, with the cell itself, that is as low or as high."""
    column = [*others, cell]
    low = percentileofscore(column, cell, kind="weak") / 100
    high = 1 - percentileofscore(column, cell, kind="strict") / 100
    return min(1.0, 2 * min(low, high))


def test_the_p_value_of_a_number_is_by_percentiles():
    column = RNG.normal(size=60)
    cells = np.concatenate([RNG.normal(size=20), [-99.0, 99.0]])
    np.testing.assert_allclose(p_values(column, cells, NUMBER), [by_percentiles(column, cell) for cell in cells])


def test_a_few_counts_by_hand():
    column = [1, 2, 2, 3, 4]
    np.testing.assert_allclose(p_values(column, [0, 1, 2, 2.5, 3, 9], NUMBER), [2 / 6, 4 / 6, 1, 1, 1, 2 / 6])


def test_equal_numbers_count_as_both_as_low_and_as_high():
    column = RNG.integers(0, 4, 50)
    cells = np.arange(-1, 5)
    np.testing.assert_allclose(p_values(column, cells, NUMBER), [by_percentiles(column, cell) for cell in cells])
    np.testing.assert_allclose(p_values(np.full(10, 3.0), [3.0, 2.0], NUMBER), [1, 2 / 11])


def test_a_number_of_the_column_is_compared_with_the_others():
    column = RNG.integers(0, 15, 40).astype(float)
    expected = [by_percentiles(np.delete(column, i), cell) for i, cell in enumerate(column)]
    np.testing.assert_allclose(p_values(column, column, NUMBER, among_them=True), expected)


def test_the_p_value_of_a_category_is_the_share_whose_level_is_as_rare():
    column = np.repeat([0, 1, 2, 3], [30, 9, 4, 1])
    np.testing.assert_allclose(
        p_values(column, [0, 1, 2, 3], CATEGORY), [p_value(column, cell, is_number=False) for cell in range(4)]
    )


def test_levels_that_come_as_often_are_as_rare_as_each_other():
    column = np.repeat([0, 1, 2], [5, 5, 2])
    np.testing.assert_allclose(p_values(column, column, CATEGORY, among_them=True)[[0, 5, 10]], [1, 1, 2 / 12])


def test_a_category_of_the_column_is_compared_with_the_others():
    column = RNG.choice(6, size=60, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05]).astype(float)
    expected = [p_value(np.delete(column, i), cell, is_number=False) for i, cell in enumerate(column)]
    without_itself = [p_values(np.delete(column, i), [cell], CATEGORY)[0] for i, cell in enumerate(column)]
    np.testing.assert_allclose(p_values(column, column, CATEGORY, among_them=True), expected)
    np.testing.assert_allclose(without_itself, expected)


def test_a_new_level_is_as_rare_as_those_that_come_once():
    column = [0, 0, 0, 1, 1, 2, 3]
    np.testing.assert_allclose(p_values(column, [9], CATEGORY), 3 / 8)


def test_a_new_level_among_common_ones_is_the_rarest():
    np.testing.assert_allclose(p_values(np.repeat([0, 1], 20), [9], CATEGORY), 1 / 41)


@pytest.mark.parametrize("is_number", [NUMBER, CATEGORY], ids=["numbers", "categories"])
def test_among_exchangeable_cells_p_is_below_a_with_a_probability_of_a_at_most(is_number):
    rng = np.random.default_rng(1)
    draw = (lambda: rng.normal(size=20)) if is_number[0] else (lambda: rng.integers(0, 8, 20))
    tables = [draw() for _ in range(2000)]
    p = np.array([p_values(table[1:], table[:1], is_number)[0] for table in tables])
    for level in [0.05, 0.1, 0.2, 0.5]:
        assert (p <= level + 1e-9).sum() <= binom.ppf(0.9999, 2000, level)


def test_missing_cells_have_no_rank_and_do_not_count():
    column = np.array([3.0, np.nan, 1.0, 2.0, np.nan])
    found = p_values(column, [np.nan, 0.0], NUMBER)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(2 / 4)


@pytest.mark.parametrize("is_number", [NUMBER, CATEGORY], ids=["number", "category"])
def test_in_an_empty_column_nothing_is_rare(is_number):
    assert p_values([np.nan, np.nan], [1.0], is_number)[0] == 1


def test_each_column_has_its_own_kind_of_p_value():
    table = np.column_stack([RNG.normal(size=30), RNG.integers(0, 3, 30)]).astype(float)
    found = Ranks.of(table, np.array([True, False])).p_values(table, True)
    for j, is_number in enumerate([NUMBER, CATEGORY]):
        np.testing.assert_allclose(found[:, j], p_values(table[:, j], table[:, j], is_number, among_them=True))


def test_surprise_is_minus_the_logarithm_and_a_level_of_a_twentieth_of_the_rows_is_none():
    table = np.column_stack([RNG.normal(size=200), np.repeat([0.0, 1, 2, 3], [150, 38, 10, 2])])
    ranks = Ranks.of(table, np.array([True, False]))
    p, surprise = ranks.p_values(table, True), ranks.surprise(table, True)
    np.testing.assert_allclose(surprise[:, 0], -np.log(p[:, 0]))
    np.testing.assert_array_equal(surprise[:198, 1], 0)
    np.testing.assert_allclose(surprise[198:, 1], np.log(0.05 / (2 / 200)))
