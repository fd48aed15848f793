"""What levels cost that no other row has, against Good and Turing's rule."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae._detector.levels import Levels
from skvae._tables.schema import Schema

TOTALS = np.arange(10.0)  # of the training rows
FRAME = pd.DataFrame({"number": TOTALS, "word": [*"aaaabbbcd", None]})


def test_where_no_level_is_single_the_oddest_row_counts():
    np.testing.assert_array_equal(Levels.of([], TOTALS, 2).costs, [9, 9])


@pytest.mark.parametrize("n_single", [1, 2, 5])
def test_a_new_level_costs_as_much_as_the_row_that_is_as_rare(n_single):
    levels = Levels.of([frozenset(), frozenset(range(n_single))], TOTALS, 2)
    expected = (n_single + 1) / 11  # share of rows with a level of their own, the new one among them
    assert np.mean(levels.costs[1] <= TOTALS) == pytest.approx(expected, abs=0.1)
    assert levels.costs[0] == 9


def test_a_row_costs_the_sum_of_its_cells():
    levels = Levels([], np.array([1.0, 2.0, 4.0]))
    cells = np.array([[True, False, True], [False, False, False], [True, True, True]])
    np.testing.assert_array_equal(levels.cost_of(cells), [5, 0, 7])


def test_nothing_costs_less_than_a_typical_row():
    np.testing.assert_array_equal(Levels.of([], TOTALS - 100, 2).costs, 0)


@pytest.mark.parametrize("frame", [FRAME, pl.from_pandas(FRAME)], ids=["pandas", "polars"])
def test_single_levels_are_found_in_the_table_and_in_later_ones(frame):
    schema = Schema.of(frame)
    single = schema.single_levels(frame)
    assert single == [frozenset(), frozenset("cd")]
    np.testing.assert_array_equal(schema.holding(single, frame, schema.cells(frame))[:, 1], [False] * 7 + [True, True, False])
    assert not schema.holding(single, frame, schema.cells(frame))[:, 0].any()


def test_tables_of_numbers_have_no_levels():
    table = np.ones((3, 2))
    schema = Schema.of(table)
    assert schema.single_levels(table) == []
    assert not schema.holding([], table, table).any()
