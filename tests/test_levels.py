"""What levels cost that no other row has, against Good and Turing's rule."""

import numpy as np
import pytest

from skvae._detector.levels import Levels

TOTALS = np.arange(10.0)  # of the training rows
NUMBERS = np.arange(10.0)


def levels_of(codes):
    return Levels.of(np.column_stack([NUMBERS, codes]), np.array([True, False]), TOTALS)


def test_where_no_level_is_single_the_oddest_row_counts():
    assert levels_of([0] * 5 + [1] * 5).costs[1] == 9


@pytest.mark.parametrize("n_single", [1, 2, 5])
def test_a_new_level_costs_as_much_as_the_row_that_is_as_rare(n_single):
    levels = levels_of([0] * (10 - n_single) + list(range(1, n_single + 1)))
    expected = (n_single + 1) / 11  # share of rows with a level of their own, the new one among them
    assert np.mean(levels.costs[1] <= TOTALS) == pytest.approx(expected, abs=0.1)


def test_single_levels_are_found_and_numbers_have_none():
    levels = levels_of([0] * 8 + [1, 2])
    found = levels.are_single(np.array([[0.0, 0.0], [3.0, 1.0], [9.0, 2.0], [1.0, np.nan]]))
    np.testing.assert_array_equal(found, [[False, False], [False, True], [False, True], [False, False]])


def test_a_row_costs_the_sum_of_its_cells():
    levels = Levels([np.empty(0)] * 3, np.array([1.0, 2.0, 4.0]))
    cells = np.array([[True, False, True], [False, False, False], [True, True, True]])
    np.testing.assert_array_equal(levels.cost_of(cells), [5, 0, 7])


def test_nothing_costs_less_than_a_typical_row():
    levels = Levels.of(np.column_stack([NUMBERS, [0] * 10]), np.array([True, False]), TOTALS - 100)
    np.testing.assert_array_equal(levels.costs, 0)
