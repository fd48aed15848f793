"""What columns of numbers are distributed like."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from skvae import AutoencoderTransformer, VAETransformer
from skvae._tables.marginals import BY_QUANTILES, ROBUST, Marginal, Marginals, Spike, Values, fence, quantiles
from skvae._tables.rows import Table, merge_equal_rows

pytestmark = pytest.mark.filterwarnings("ignore:The loss was still falling")

RNG = np.random.default_rng(0)
N = 600
ONES = np.ones(N)
NORMAL = RNG.normal(size=N)
LONG = np.exp(1.5 * NORMAL + 0.3 * RNG.normal(size=N))
RAIN = np.where(RNG.random(N) < 0.6, 0.0, np.round(np.exp(RNG.normal(size=N)), 2))
NUMBERS = np.zeros(3, dtype=np.int64)


def chosen(*columns: np.ndarray, shapes=BY_QUANTILES, weights=None) -> tuple[Marginal | None, ...]:
    table = merge_equal_rows(np.column_stack(columns), weights)
    return Marginals.of(table, np.zeros(len(columns), dtype=np.int64), np.ones(len(columns), dtype=bool), shapes).columns


# Statistics of one column


def test_quantiles_are_hazens():
    values = Values.of(LONG, ONES)
    probabilities = (0.01, 0.2, 0.5, 0.97)
    np.testing.assert_allclose(values.quantiles(probabilities), np.quantile(LONG, probabilities, method="hazen"))


def test_a_weight_is_a_repetition():
    cells, weights = np.array([3.0, 1.0, 2.0, 8.0]), np.array([2.0, 1.0, 3.0, 1.0])
    weighted, repeated = Values.of(cells, weights), Values.of(np.repeat(cells, weights.astype(int)), np.ones(7))
    np.testing.assert_array_equal(weighted.counts, repeated.counts)
    assert weighted.median_and_spread() == repeated.median_and_spread()


def test_the_spread_is_the_standard_deviation_of_normal_cells():
    cells = stats.norm(3, 2).ppf((np.arange(9999) + 0.5) / 9999)
    median, spread = Values.of(cells, np.ones(9999)).median_and_spread()
    assert median == pytest.approx(3, abs=1e-3)
    assert spread == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("n_wild", [1, 25])
def test_wild_cells_hardly_move_location_and_scale(n_wild):
    spoiled = NORMAL.copy()
    spoiled[:n_wild] = 1e11
    before, after = (Values.of(cells, ONES).median_and_spread() for cells in (NORMAL, spoiled))
    np.testing.assert_allclose(after, before, atol=0.2)


def test_a_column_that_rarely_leaves_zero_has_a_spread():
    cells = np.where(np.arange(N) % 33 == 0, 5.0 + NORMAL, 0.0)
    assert 0.5 < Values.of(cells, ONES).median_and_spread()[1] < 5


def test_quantiles_become_a_normal_distribution():
    assert stats.kstest(quantiles(Values.of(LONG, ONES))(LONG), "norm").statistic < 0.03


def test_a_fence_leaves_usual_cells_as_they_are():
    spoiled = np.append(NORMAL, 1e11)
    spline = fence(Values.of(spoiled, np.ones(N + 1)))
    np.testing.assert_allclose(spline(NORMAL), NORMAL, atol=1e-12)
    assert spline(np.array([1e11]))[0] < 60
    assert fence(Values.of(NORMAL, ONES)) is None


# Spikes


@pytest.mark.parametrize(("cells", "value"), [(RAIN, 0.0), (-RAIN, 0.0), (RAIN + 7, 7.0)])
def test_a_spike_is_an_end_that_many_cells_have(cells, value):
    assert Spike.of(Values.of(cells, ONES)).value == value


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param(NORMAL, id="no value twice"),
        pytest.param(np.where(RNG.random(N) < 0.3, 0.0, NORMAL), id="in the middle"),
        pytest.param(RNG.integers(0, 5, N).astype(float), id="few values"),
        pytest.param(np.where(RNG.random(N) < 0.05, 0.0, LONG), id="rare"),
    ],
)
def test_other_columns_have_none(cells):
    assert Spike.of(Values.of(cells, ONES)) is None


# The choice


def test_normal_columns_stay_as_they_are():
    assert chosen(NORMAL, RNG.normal(size=N)) == (None, None)


def test_a_long_tail_is_brought_to_a_normal_distribution():
    (marginal,) = chosen(LONG)
    assert marginal.spike is None
    assert len(marginal.spline.knots) > 2


def test_what_others_explain_needs_no_quantiles():
    """A column of two groups is not normal, but it is given the group."""
    group = RNG.integers(0, 2, N)
    table = merge_equal_rows(np.column_stack([group, 8.0 * group + RNG.normal(size=N)]), None)
    assert Marginals.of(table, np.array([2, 0]), np.array([False, True]), BY_QUANTILES).columns == (None, None)


@pytest.mark.parametrize("shapes", [ROBUST, BY_QUANTILES], ids=["robust", "quantile"])
def test_a_spike_is_found(shapes):
    rain, _ = chosen(RAIN, NORMAL, shapes=shapes)
    assert rain.spike.value == 0


def test_robust_columns_are_not_bent_by_a_tail():
    assert chosen(NORMAL, shapes=ROBUST) == (None,)
    (spoiled,) = chosen(np.append(NORMAL, -1e9), shapes=ROBUST)
    assert len(spoiled.spline.knots) == 2


def test_the_choice_takes_a_weight_for_a_repetition():
    weights = RNG.integers(1, 4, N)
    (weighted,), (repeated,) = chosen(LONG, weights=weights.astype(float)), chosen(np.repeat(LONG, weights))
    np.testing.assert_array_equal(weighted.spline.knots, repeated.spline.knots)


def test_few_cells_are_not_bent():
    assert chosen(LONG[:40]) == (None,)


# There and back


@pytest.fixture(scope="module")
def marginals() -> Marginals:
    return Marginals.of(Table(np.column_stack([LONG, RAIN, NORMAL]), None), NUMBERS, NUMBERS == 0, BY_QUANTILES)


def test_a_spike_has_a_column_of_its_own(marginals):
    rows = np.column_stack([LONG, RAIN, NORMAL])
    normal = marginals.apply(rows)
    np.testing.assert_array_equal(normal[:, 3], rows[:, 1] == 0)
    np.testing.assert_array_equal(marginals.column_of, [0, 1, 2, 1])
    np.testing.assert_array_equal(marginals.n_levels(NUMBERS), [0, 0, 0, 1])
    np.testing.assert_array_equal(np.isnan(marginals.scored(rows)[:, 1]), rows[:, 1] == 0)


def test_the_way_back_undoes_it(marginals):
    rows = np.column_stack([LONG, RAIN, NORMAL])
    np.testing.assert_allclose(marginals.inverse(marginals.apply(rows)), rows, rtol=1e-9, atol=1e-12)


def test_missing_cells_are_missing_in_all_their_columns(marginals):
    np.testing.assert_array_equal(np.isnan(marginals.apply(np.array([[1.0, np.nan, 2.0]]))), [[False, True, False, True]])


def test_the_mean_of_a_bent_column_is_that_of_its_distribution():
    marginal = Marginal(None, quantiles(Values.of(LONG, ONES)), LONG.min(), LONG.max())
    drawn = marginal.spline.inverse(0.2 + 0.5 * RNG.normal(size=100_000))
    assert marginal.mean(np.array([0.2]), 0.5, None)[0] == pytest.approx(drawn.mean(), rel=0.02)


def test_the_spike_is_filled_in_where_it_is_likelier_than_all_else():
    marginal = Marginal(Spike(0.0, 0.1, 0.05), None, 0.0, 9.0)
    np.testing.assert_allclose(marginal.mean(np.full(3, 4.0), 1.0, np.array([0.9, 0.5, 0.25])), [0, 0, 3])


def test_cells_stay_in_the_range_of_the_column():
    marginal = Marginal(Spike(0.0, 0.1, 0.05), None, 0.0, 9.0)
    np.testing.assert_array_equal(marginal.median(np.array([-4.0, 40.0]), np.zeros(2)), [0, 9])


# In models


def frame(n: int = N) -> pd.DataFrame:
    return pd.DataFrame({"long": LONG[:n], "rain": RAIN[:n], "c": np.where(NORMAL[:n] > 0, "high", "low")})


@pytest.fixture(scope="module", params=[VAETransformer, AutoencoderTransformer], ids=["vae", "ae"])
def model(request):
    return request.param(2, max_iter=10, early_stopping=False, random_state=0).fit(frame())


def of_many(model, given, grid, name) -> np.ndarray:
    """The density of a column of a row at many values, as the row's own cells let expect them."""
    many = pd.concat([given] * len(grid), ignore_index=True)
    return np.exp(model.score_cells(many.assign(**{name: grid}), given=many)[name].to_numpy())


def test_densities_integrate_to_one(model):
    """Over all cells that are no spike, and the probability of the spike over the interval that it stands for."""
    far = np.geomspace(1e-9, 1e9, 1001)
    grid = np.concatenate([-far[::-1], np.linspace(0, 5, 2001), np.geomspace(5.001, 1e9, 1001)])
    assert np.trapezoid(of_many(model, frame(1), grid, "long"), grid) == pytest.approx(1, abs=2e-3)


def test_a_spike_and_the_rest_share_the_probability(model):
    given = frame(1)
    spike = model._fitted.marginals.columns[1].spike
    grid = np.concatenate([np.linspace(1.0001 * spike.tolerance, 5, 2001), np.geomspace(5.001, 1e9, 1001)])
    rest = np.trapezoid(of_many(model, given, grid, "rain"), grid)
    of_spike = np.exp(model.score_cells(given.assign(rain=0.0), given=given)["rain"][0]) * spike.width
    assert of_spike + rest == pytest.approx(1, abs=0.02)


def test_scores_of_rows_are_the_sums_of_their_cells():
    model = AutoencoderTransformer(2, max_iter=10, early_stopping=False, random_state=0).fit(frame())
    np.testing.assert_allclose(model.score_samples(frame()), model.score_cells(frame()).sum(axis=1), rtol=1e-5)


def test_long_tails_are_likelier_by_quantiles():
    scores = {
        way: VAETransformer(2, standardize=way, max_iter=30, random_state=0).fit(frame(400)).score(frame()[400:])
        for way in ("auto", True)
    }
    assert scores["auto"] > scores[True] + 1


def test_tables_of_numbers_stay_as_they_are():
    X = np.column_stack([LONG, NORMAL])
    default, plain = (AutoencoderTransformer(1, standardize=way, random_state=0).fit(X) for way in ("auto", True))
    np.testing.assert_array_equal(default.transform(X), plain.transform(X))


def test_samples_have_the_spike_and_the_range(model):
    if isinstance(model, VAETransformer):
        drawn = model.sample(400, random_state=0)
        assert 0.3 < (drawn["rain"] == 0).mean() < 0.9
        assert drawn["long"].between(LONG.min(), LONG.max()).all()


def test_a_column_and_its_spike_are_hidden_together():
    from skvae.core.corruptions import Columns, Masking, SwapNoise

    blank = torch.full((4,), torch.nan)
    columns = Columns(blank, blank, blank, together=torch.tensor([0, 1, 2, 1]))
    x = torch.arange(4000.0).reshape(1000, 4)
    hidden = Masking(0.5).damage(x, torch.Generator().manual_seed(0), columns).isnan()
    assert torch.equal(hidden[:, 1], hidden[:, 3])
    assert not torch.equal(hidden[:, 0], hidden[:, 3])
    swapped = SwapNoise(0.5).damage(x, torch.Generator().manual_seed(0), columns)
    assert torch.equal(swapped[:, 3] - swapped[:, 1], torch.full((1000,), 2.0))


@pytest.mark.parametrize("method", ["tangent_space", "encoder_jacobian"])
def test_derivatives_say_that_they_need_straight_columns(method):
    X = np.column_stack([LONG, NORMAL])
    bent = AutoencoderTransformer(1, standardize="quantile", max_iter=2, early_stopping=False, random_state=0).fit(X)
    with pytest.raises(ValueError, match="use standardize=True"):
        getattr(bent, method)(X)
    straight = AutoencoderTransformer(1, standardize=True, max_iter=2, early_stopping=False, random_state=0).fit(X)
    assert np.isfinite(getattr(straight, method)(X)).all()
