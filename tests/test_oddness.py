"""The three parts of a detector's score, and its p-values, against what they are defined to be."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae import AEAnomalyDetector, AutoencoderTransformer
from skvae._detector.known import TrainingRows
from skvae._detector.oddness import Gauge
from tests.definitions import gauge, outside, squashed

N, K = 36, 4  # so few rows that all are candidates for neighbours
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(N, 2)) @ RNG.normal(size=(2, 4)) * [1, 10, 1e-3, 300] + 0.3 * RNG.normal(size=(N, 4))
LATER = np.concatenate([NUMBERS[::4] * RNG.normal(1, 0.3, size=(9, 4)), [[30.0, 0, 0, 0]]])
HOLES = np.where(RNG.random(NUMBERS.shape) < 0.1, np.nan, NUMBERS)
KINDS = RNG.choice(3, size=N, p=[0.6, 0.3, 0.1])
FLAGS = (NUMBERS[:, 0] > 0).astype(float)
CODES = np.column_stack([HOLES[:, :3], KINDS, FLAGS])
CODES_LATER = np.column_stack([LATER[:, :3], KINDS[:10], FLAGS[10:20]])
LEVELS = np.array(["a", "b", "c"])
N_LEVELS = {"numbers": np.zeros(4, int), "holes": np.zeros(4, int), "mixed": np.array([0, 0, 0, 3, 1])}
PARAMS = {"n_components": 8, "hidden_layer_sizes": (16,), "max_iter": 8, "n_neighbors": K, "cv": 2, "random_state": 0}
ALL = PARAMS | {"support_fraction": 1.0}
WEIGHTS = {"neighbours": 1.0, "column": 0.5, "row": 0.25}

# A few epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def frame_of(codes):
    frame = pd.DataFrame(codes[:, :3], columns=list("xyz"))
    return frame.assign(kind=pd.Categorical(LEVELS[codes[:, 3].astype(int)], LEVELS), flag=codes[:, 4] > 0)


class Case:
    """A detector that keeps all rows of its table, the tables that it reads, and their cells as numbers."""

    def __init__(self, name):
        self.n_levels = N_LEVELS[name]
        self.cells = {"numbers": NUMBERS, "holes": HOLES, "mixed": CODES}[name]
        self.later_cells = CODES_LATER if name == "mixed" else LATER
        as_table = frame_of if name == "mixed" else np.copy
        self.table, self.later = as_table(self.cells), as_table(self.later_cells)
        self.detector = fitted(self.table, ALL)

    @property
    def part(self):
        """Of each training row, the number of the network that did not see it."""
        return self.detector._oddness.training.find(self.cells).part

    def by_network(self, rows):
        """Negative log-likelihood of cells by each network, in the units that it trained in."""
        cells = squashed(rows, self.cells, self.n_levels, 20.0)
        networks = self.detector._oddness.networks.fitted
        return [-fitted.score_cells(cells, cells, 1) for fitted in networks]

    def measured(self):
        """The three measures of the training rows, each beside all others and by the network that did not see it."""
        inside = np.stack(self.by_network(self.cells))[self.part, np.arange(N)]
        return [*outside(self.cells, self.cells, self.n_levels, K, own=range(N)), inside]

    def gauged(self, measured):
        gauges = map(gauge, self.measured(), WEIGHTS.values())
        return [np.nan_to_num((cells - typical) / unit) for cells, (typical, unit) in zip(measured, gauges, strict=True)]


def fitted(table, params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AEAnomalyDetector(**params).fit(table)


@pytest.fixture(scope="module", params=N_LEVELS)
def case(request):
    return Case(request.param)


@pytest.fixture(scope="module")
def plain():
    return Case("numbers")


# Parts


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_part_of_a_later_row_is_what_it_is_defined_to_be(case, name):
    measured = [*outside(case.later_cells, case.cells, case.n_levels, K), np.mean(case.by_network(case.later_cells), axis=0)]
    expected = dict(zip(WEIGHTS, case.gauged(measured), strict=True))[name]
    found = getattr(case.detector.explain(case.later, parts=True), name).to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_part_of_a_training_row_is_told_by_what_did_not_see_it(case, name):
    expected = dict(zip(WEIGHTS, case.gauged(case.measured()), strict=True))[name]
    found = getattr(case.detector.explain(case.table, parts=True), name).to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "weight"), WEIGHTS.items())
def test_a_typical_cell_counts_zero_and_what_is_beyond_is_the_weight_of_the_part(case, name, weight):
    found = getattr(case.detector.explain(case.table, parts=True), name).to_numpy()
    seen = np.where(np.isnan(case.cells), np.nan, found)
    np.testing.assert_allclose(np.nanmedian(seen, axis=0), 0, atol=1e-6)
    assert np.maximum(found, 0).sum(axis=1).mean() == pytest.approx(weight, rel=1e-6)


def test_parts_sum_to_the_reasons_and_these_to_the_score(case):
    for table in (case.table, case.later):
        reasons = case.detector.explain(table)
        np.testing.assert_allclose(sum(case.detector.explain(table, parts=True)).to_numpy(), reasons.to_numpy(), rtol=1e-12)
        np.testing.assert_allclose(-reasons.to_numpy().sum(axis=1), case.detector.score_samples(table), rtol=1e-9, atol=1e-12)


def test_each_part_of_a_missing_cell_is_exactly_zero():
    case = Case("holes")
    for part in case.detector.explain(case.table, parts=True):
        np.testing.assert_array_equal(part.to_numpy()[np.isnan(HOLES)], 0)
        assert (part.to_numpy()[~np.isnan(HOLES)] != 0).mean() > 0.9


def test_parts_are_named_frames_like_the_table(case):
    parts = case.detector.explain(case.later, parts=True)
    assert parts._fields == tuple(WEIGHTS)
    names = [f"x{i}" for i in range(4)] if isinstance(case.later, np.ndarray) else list(case.later.columns)
    assert all(list(part.columns) == names and len(part) == 10 for part in parts)


def test_parts_come_with_what_is_expected():
    table = frame_of(CODES)
    detector = fitted(table, ALL)
    parts, expected = detector.explain(table, return_expected=True, parts=True)
    for part, other in zip(parts, detector.explain(table, parts=True), strict=True):
        pd.testing.assert_frame_equal(part, other)
    pd.testing.assert_frame_equal(expected, detector.explain(table, return_expected=True)[1])


def test_parts_of_polars_frames_are_polars_frames():
    table = frame_of(CODES).assign(kind=LEVELS[KINDS])
    detector, of_polars = fitted(table, ALL), fitted(pl.from_pandas(table), ALL)
    for expected, found in zip(
        detector.explain(table, parts=True), of_polars.explain(pl.from_pandas(table), parts=True), strict=True
    ):
        assert isinstance(found, pl.DataFrame)
        assert found.columns == list(expected.columns)
        np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy())


def test_a_gauge_of_cells_that_are_all_alike_leaves_them_alone():
    found = Gauge.of(np.full((10, 2), 7.0), 0.5).apply(np.array([[7.0, 9.0], [np.nan, 7.0]]))
    np.testing.assert_array_equal(found, [[0, 2], [0, 0]])


def test_a_gauge_knows_no_typical_cell_of_a_column_without_any():
    cells = np.column_stack([[1.0, 2.0, 6.0], np.full(3, np.nan)])
    np.testing.assert_allclose(Gauge.of(cells, 1.0).apply(np.array([[5.0, np.nan]])), [[3 / (4 / 3), 0]])


# p-values


def assert_counted(case, cells, p):
    """p-values are counts of training rows that are as odd; those equal but for rounding count as equal."""
    totals = sum(case.gauged(case.measured())).sum(axis=1)
    shared = outside(cells, case.cells, case.n_levels, K)
    lower, upper = np.ones(len(cells)), np.ones(len(cells))
    for i, inside in enumerate(case.by_network(cells)):
        as_new = sum(case.gauged([*shared, inside])).sum(axis=1)
        lower += (totals[case.part == i] >= as_new[:, None] + 1e-4).sum(axis=1)
        upper += (totals[case.part == i] >= as_new[:, None] - 1e-4).sum(axis=1)
    assert (lower / (N + 1) <= p + 1e-12).all()
    assert (p <= upper / (N + 1) + 1e-12).all()
    assert (lower == upper).mean() > 0.8  # the two bounds are one nearly always


def test_p_values_are_counts_of_training_rows_that_are_as_odd_by_the_same_network(case):
    assert_counted(case, case.later_cells, case.detector.p_values(case.later))


def test_p_values_take_training_rows_as_new(case):
    assert_counted(case, case.cells, case.detector.p_values(case.table))


# Rows of the training table


def test_a_training_row_is_scored_beside_the_others_and_its_neighbour_by_a_hair_is_not(plain):
    hair = NUMBERS * (1 + 1e-6)
    own, beside = plain.detector.explain(NUMBERS, parts=True), plain.detector.explain(hair, parts=True)
    assert (beside.neighbours.sum(axis=1) < own.neighbours.sum(axis=1)).all()
    assert not np.allclose(own.row, beside.row)


@pytest.fixture
def seen(monkeypatch):
    """The rows that each network is trained on."""
    tables, fit_rows = [], AutoencoderTransformer._fit_rows

    def recorded(self, schema, table, owner):
        tables.append(table.rows[table.counts > 0])
        return fit_rows(self, schema, table, owner=owner)

    monkeypatch.setattr(AutoencoderTransformer, "_fit_rows", recorded)
    return tables


def test_a_network_does_not_see_its_part_and_sees_all_others(seen):
    detector = fitted(NUMBERS, ALL | {"cv": 3})
    part = detector._oddness.training.find(NUMBERS).part
    cells = squashed(NUMBERS, NUMBERS, np.zeros(4, int), 20.0)
    assert len(seen) == 3
    for i, rows in enumerate(seen):
        by_first = lambda table: table[np.argsort(table[:, 0])]  # noqa: E731
        np.testing.assert_allclose(by_first(rows), by_first(cells[part != i]), rtol=1e-9)
    np.testing.assert_array_equal(np.bincount(part), 12)


def test_networks_see_only_rows_that_are_learned_from(seen):
    table = NUMBERS.copy()
    table[5] = 1e6
    fitted(table, PARAMS)
    far = squashed(table, table, np.zeros(4, int), 20.0)[5]
    assert not any(np.isclose(rows, far).all(axis=1).any() for rows in seen)
    assert sum(map(len, seen)) == int(0.8 * N)  # each row by one of two


def test_a_row_that_is_not_learned_from_keeps_the_place_of_the_others(monkeypatch):
    tables, fit_rows = [], AutoencoderTransformer._fit_rows

    def recorded(self, schema, table, owner):
        tables.append(table)
        return fit_rows(self, schema, table, owner=owner)

    monkeypatch.setattr(AutoencoderTransformer, "_fit_rows", recorded)
    wild = NUMBERS.copy()
    wild[5, 2] = 1e11
    for table in (NUMBERS, wild):
        fitted(table, PARAMS)
    for before, after in zip(tables[:2], tables[2:], strict=True):
        both = (before.counts > 0) & (after.counts > 0)
        np.testing.assert_allclose(before.rows[both], after.rows[both], atol=0.3)
        assert both.mean() > 0.7
        assert np.abs(after.rows).max() < 20


def test_no_number_is_expected_beyond_those_that_are_learned_from():
    detector = fitted(NUMBERS, ALL | {"max_iter": 300})
    expected = detector.explain(100 * NUMBERS, return_expected=True)[1].to_numpy()
    np.testing.assert_array_equal(expected.clip(NUMBERS.min(axis=0), NUMBERS.max(axis=0)), expected)
    assert (expected == NUMBERS.max(axis=0)).any()


def test_equal_rows_are_in_one_part_and_their_number_is_what_is_divided():
    table = np.repeat(NUMBERS[:10], 3, axis=0)
    training = TrainingRows.of(table, table[:15], table[:20], lambda n_distinct: n_distinct // 2, np.random.default_rng(0))
    known = training.find(table)
    assert training.n_parts == 5
    assert all(len(set(parts)) == 1 for parts in known.part.reshape(10, 3))
    np.testing.assert_array_equal(np.bincount(known.part), 6)
    np.testing.assert_array_equal(known.in_memory, np.arange(30) < 15)
    np.testing.assert_array_equal(known.learned, np.arange(30) < 21)


def test_rows_are_known_whatever_their_zero_and_nan():
    table = np.array([[0.1, np.nan], [0.0, 2.0], [3.0, 1.0]])
    training = TrainingRows.of(table, table[:1], table[:2], lambda n: n, np.random.default_rng(0))
    twins = np.array([[0.1, -np.nan], [-0.0, 2.0], [3.0, 1.0]])
    np.testing.assert_array_equal(training.find(twins).part, training.find(table).part)
    np.testing.assert_array_equal(training.find(twins).in_memory, [True, False, False])


def test_rows_that_differ_in_the_last_digits_are_distinct():
    table = 1.7e9 + np.arange(500.0)[:, None]  # seconds, which float32 does not tell apart
    assert len(TrainingRows.of(table, table, table, lambda n: 2, np.random.default_rng(0)).hashes) == 500


def test_parts_do_not_depend_on_units():
    parts = [
        TrainingRows.of(t, t, t, lambda n: 2, np.random.default_rng(0)).find(t).part for t in (NUMBERS, 1000 * NUMBERS + 7)
    ]
    np.testing.assert_array_equal(*parts)


def test_rows_that_were_not_trained_on_are_new():
    training = TrainingRows.of(NUMBERS, NUMBERS, NUMBERS, lambda n: 2, np.random.default_rng(0))
    known = training.find(LATER)
    assert (known.part == -1).all()
    assert not known.in_memory.any()


# Without networks


def test_without_networks_the_row_adds_nothing_and_the_rest_is_as_with_them(plain):
    few = fitted(NUMBERS, ALL | {"cv": "auto"})
    neighbours, column, row = few.explain(LATER, parts=True)
    np.testing.assert_array_equal(row, 0)
    np.testing.assert_allclose(neighbours, plain.detector.explain(LATER, parts=True).neighbours, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(column, plain.detector.explain(LATER, parts=True).column, rtol=1e-6, atol=1e-9)


def test_without_networks_the_nearest_rows_say_what_is_expected():
    detector = fitted(frame_of(CODES), ALL | {"cv": "auto"})
    expected = detector.explain(frame_of(CODES_LATER), return_expected=True)[1]
    near = squashed(CODES_LATER, CODES, N_LEVELS["mixed"], 1.0).astype(np.float32)
    nearest = detector._oddness.memory.neighbours.nearest(near, among_them=False)
    cells = CODES[[np.flatnonzero(same_rows(CODES, row))[0] for row in kept_cells(detector)]][nearest]
    medians = [[median_or(np.nanmedian(CODES[:, j]), column[:, j]) for j in range(3)] for column in cells]
    np.testing.assert_allclose(expected[list("xyz")], medians, rtol=1e-4)
    most = [int(max(kinds, key=list(kinds).count)) for kinds in cells[:, :, 3]]  # the nearest of those that are as frequent
    assert (expected["kind"] == LEVELS[most]).all()
    assert (expected["kind"].cat.categories == LEVELS).all()


def median_or(default, cells):
    """The median of the cells that are there."""
    seen = cells[~np.isnan(cells)]
    return np.median(seen) if len(seen) else default


def kept_cells(detector):
    """The rows that a detector holds, in the units of the input."""
    return detector._oddness.memory.squashing.invert(detector._oddness.memory.neighbours.rows)


def same_rows(table, row):
    return np.isclose(table, row, rtol=1e-4, equal_nan=True).all(axis=1)


def test_without_networks_a_column_that_no_neighbour_has_is_expected_from_all_rows():
    table = np.column_stack([np.arange(10.0), np.where(np.arange(10) < 2, [5.0, 7.0] * 5, np.nan)])
    expected = fitted(table, {"n_neighbors": 2, "support_fraction": 1.0}).explain([[9.5, np.nan]], return_expected=True)[1]
    np.testing.assert_allclose(expected, [[8.5, 6]], rtol=1e-5)


def test_without_networks_an_empty_column_has_nothing_to_expect():
    table = frame_of(CODES).assign(empty=np.nan, word=pd.Categorical([None] * N, ["a"]))
    reasons, expected = fitted(table, ALL | {"cv": "auto"}).explain(table, return_expected=True)
    np.testing.assert_array_equal(reasons[["empty", "word"]], 0)
    assert expected["empty"].isna().all()


# Memory


def test_a_detector_holds_no_more_rows_than_it_may():
    table = np.random.default_rng(0).normal(size=(300, 3))
    detector = fitted(table, PARAMS | {"max_samples": 50, "max_iter": 1})
    assert len(detector._oddness.memory.neighbours.rows) == 50
    assert all(len(column) == 50 for column in detector._oddness.memory.ranks.columns)
    held = [same_rows(table, row).sum() for row in kept_cells(detector)]
    np.testing.assert_array_equal(held, 1)  # each is one of the table's


def test_a_far_row_is_not_held():
    table = np.concatenate([NUMBERS, [[1e6, 1e6, 1e6, 1e6]]])
    detector = fitted(table, PARAMS)
    assert len(detector._oddness.memory.neighbours.rows) == int(0.8 * (N + 1))
    assert kept_cells(detector).max() < 1e4
