"""Clocks: which circles a column of moments has, and where they are."""

import numpy as np
import pytest

from skvae import AEAnomalyDetector
from skvae._detector.clocks import Clocks

HOUR, DAY, YEAR = 3600.0, 86400.0, 365.2425
IS_CLOCK = np.array([False, True])


def rows_of(moments):
    return np.column_stack([np.arange(len(moments), dtype=float), moments])


@pytest.mark.parametrize(
    ("step", "n", "periods"),
    [
        (HOUR, 24, []),
        (HOUR, 200, [1]),
        (HOUR, 400, [1, 7]),
        (DAY, 60, [7]),
        (DAY, 800, [7, YEAR]),
        (30 * DAY, 60, [365.2425]),
    ],
)
def test_a_clock_has_a_circle_for_each_period_that_it_runs_through_twice(step, n, periods):
    clocks = Clocks.of(rows_of(step * np.arange(n)), IS_CLOCK, np.array([np.nan, DAY]))
    np.testing.assert_allclose(clocks.period / DAY, periods)
    np.testing.assert_array_equal(clocks.column, 1)


def test_the_same_hour_of_another_day_is_the_same_place_and_twelve_hours_later_the_opposite():
    rows = rows_of(HOUR * np.arange(100))
    wide = Clocks.of(rows, IS_CLOCK, np.array([np.nan, DAY])).widen(rows)
    assert wide.shape == (100, 4)
    np.testing.assert_array_equal(wide[:, :2], np.column_stack([rows[:, 0], np.zeros(100)]))
    np.testing.assert_allclose(wide[24:, 2:], wide[:-24, 2:], atol=1e-9)
    np.testing.assert_allclose(wide[12:, 2:], -wide[:-12, 2:], atol=1e-9)
    np.testing.assert_allclose(np.square(wide[:, 2:]).sum(axis=1), 1)


def test_missing_moments_stay_missing():
    rows = rows_of(HOUR * np.arange(100))
    rows[5, 1] = np.nan
    wide = Clocks.of(rows, IS_CLOCK, np.array([np.nan, DAY])).widen(rows)
    assert np.isnan(wide[5, 1:]).all()
    assert not np.isnan(np.delete(wide, 5, axis=0)).any()


def test_what_hidden_columns_cost_is_their_clocks():
    rows = np.column_stack([rows_of(HOUR * np.arange(400)), DAY * np.arange(400)])
    clocks = Clocks.of(rows, np.array([False, True, True]), np.array([np.nan, DAY, DAY]))
    np.testing.assert_array_equal(clocks.column, [1, 1, 2])
    np.testing.assert_array_equal(clocks.fold(2.0 ** np.arange(9)[None]), [[1, 2 + 8 + 16 + 64 + 128, 4 + 32 + 256]])


def test_without_clocks_nothing_changes():
    rows = rows_of(HOUR * np.arange(50))
    clocks = Clocks.of(rows, np.zeros(2, dtype=bool), np.full(2, np.nan))
    np.testing.assert_array_equal(clocks.widen(rows), rows)
    np.testing.assert_array_equal(clocks.fold(rows), rows)


def test_with_circles_later_rows_are_not_odd_and_what_belongs_to_another_hour_is():
    rng = np.random.default_rng(0)
    hours = np.arange(1600.0)
    load = 20 * np.sin(2 * np.pi * hours / 24) + 3 * rng.normal(size=1600)
    rows = np.column_stack([load, HOUR * hours])
    wide = Clocks.of(rows[:800], IS_CLOCK, np.array([np.nan, DAY])).widen(rows)
    detectors = [AEAnomalyDetector(contamination=0.01, random_state=0).fit(table[:800]) for table in (rows, wide)]
    flagged = [np.mean(d.predict(table[800:]) == -1) for d, table in zip(detectors, (rows, wide), strict=True)]
    assert flagged[0] > 0.3
    assert flagged[1] < 0.03
    shifted = np.column_stack([np.roll(load[800:], 12), wide[800:, 1:]])
    assert (detectors[1].p_values(shifted) <= 0.05).mean() > 0.3
