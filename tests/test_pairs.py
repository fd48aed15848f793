"""How rare two cells are together, against counts by hand."""

import numpy as np
import pandas as pd
import pytest

from skvae import AEAnomalyDetector
from skvae._detector.pairs import Pairs

RNG = np.random.default_rng(0)
N = 400
IS_NUMBER = np.array([False, False, True])
NEVER, COUNTED = np.zeros(N, dtype=bool), np.ones(N, dtype=bool)


def table():
    """Two columns of levels that never stand together in some pairs, and a number that goes with the first."""
    first = RNG.permutation(np.repeat([0.0, 1, 2], [200, 150, 50]))
    second = np.where(first == 2, 1, RNG.integers(0, 2, N)).astype(float)
    return np.column_stack([first, second, first + RNG.random(N)])


ROWS = table()


def cost_by_hand(seen, expected):
    return 5 * max(0.0, np.log((expected + 0.5) / (seen + 0.5) / 10))


def test_a_pair_that_never_was_costs_both_cells_what_is_beyond_a_tenth():
    found = Pairs.of(ROWS, IS_NUMBER).costs(np.array([[2.0, 0.0, np.nan]]), NEVER[:1])
    expected = 50 * (ROWS[:, 1] == 0).sum() / N
    np.testing.assert_allclose(found, [[*[cost_by_hand(0, expected)] * 2, 0]])
    assert found[0, 0] > 1


def test_numbers_are_compared_in_bins_and_not_with_each_other():
    pairs = Pairs.of(ROWS, IS_NUMBER)
    low = ROWS[:, 2] <= np.quantile(ROWS[:, 2], 1 / 12)
    found = pairs.costs(np.array([[1.0, np.nan, 0.01]]), NEVER[:1])
    np.testing.assert_allclose(found, [[cost_by_hand(0, 150 * low.sum() / N), 0, cost_by_hand(0, 150 * low.sum() / N)]])
    np.testing.assert_array_equal(Pairs.of(ROWS[:, 2:], IS_NUMBER[2:]).costs(ROWS[:, 2:], COUNTED), 0)


def test_a_row_that_has_been_counted_is_compared_with_the_others():
    rows = np.concatenate([[[2.0, 0.0]], ROWS[:, :2]])
    among, beside = Pairs.of(rows, IS_NUMBER[:2]), Pairs.of(rows[1:], IS_NUMBER[:2])
    np.testing.assert_allclose(among.costs(rows[:1], COUNTED[:1]), beside.costs(rows[:1], NEVER[:1]), rtol=1e-12)


def test_pairs_that_go_together_cost_nothing_nor_do_cells_that_are_missing_or_new():
    pairs = Pairs.of(ROWS, IS_NUMBER)
    np.testing.assert_array_equal(pairs.costs(ROWS, COUNTED), 0)
    np.testing.assert_array_equal(pairs.costs(np.array([[np.nan, 0, 2.5], [7.0, 0.0, 0.5]]), NEVER[:2])[:, 0], 0)


def test_levels_of_few_rows_cannot_be_missed():
    rows = np.column_stack([np.repeat([0.0, 1], [N - 4, 4]), np.repeat([0.0, 1], [N - 4, 4])])
    np.testing.assert_array_equal(Pairs.of(rows, IS_NUMBER[:2]).costs(np.array([[0.0, 1], [1, 0]]), NEVER[:2]), 0)


def test_one_row_as_among_many():
    pairs = Pairs.of(ROWS, IS_NUMBER)
    rows = np.column_stack([RNG.permutation(column) for column in ROWS.T])
    together = pairs.costs(rows, NEVER)
    assert (together > 0).any(axis=1).mean() > 0.1
    np.testing.assert_array_equal(np.concatenate([pairs.costs(row, NEVER[:1]) for row in rows[:, None]]), together)


@pytest.mark.parametrize("support_fraction", [1.0, "auto"])
def test_a_level_that_the_others_of_the_row_rule_out_is_found_and_named(support_fraction):
    """A husband is a man, whom the networks see and could copy."""
    rng = np.random.default_rng(0)

    def draw(n):
        sex = rng.choice(["woman", "man"], n)
        role = np.where(rng.random(n) < 0.4, np.where(sex == "man", "husband", "wife"), rng.choice(["child", "alone"], n))
        title = np.where(sex == "man", "Mr", np.where(role == "wife", "Mrs", "Ms"))
        others = {f"x{i}": rng.standard_exponential(n) for i in range(4)} | {
            f"k{i}": rng.choice(list("abcdef"), n) for i in range(4)
        }
        return pd.DataFrame({"role": role, "sex": sex, "title": title} | others)

    detector = AEAnomalyDetector(support_fraction=support_fraction, contamination=0.01, random_state=0).fit(draw(2000))
    later = draw(400)
    wrong = later[later["role"] == "husband"].assign(sex="woman")
    assert (detector.p_values(wrong) <= 0.01).mean() > 0.9
    assert (detector.explain(wrong).idxmax(axis=1) == "sex").mean() > 0.9
    assert (detector.predict(later) == -1).mean() < 0.03
