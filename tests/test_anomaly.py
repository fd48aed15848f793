"""Anomalies: what scores, p-values and reasons have to do with each other, and whether they find anything."""

import pickle
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.stats import false_discovery_control
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AEAnomalyDetector, AutoencoderTransformer, DiffusionNoise, SwapNoise
from skvae._detector.neighbours import Metric
from skvae._detector.support import supported
from tests.definitions import squashed

SHORT = {"n_components": 8, "hidden_layer_sizes": (16,), "max_iter": 15, "cv": 2, "random_state": 0}
RNG = np.random.default_rng(0)
N = 120
Z = RNG.normal(size=(N, 2))
X = (Z @ RNG.normal(size=(2, 5)) + 0.3 * RNG.normal(size=(N, 5))) * [1, 10, 1e-3, 300, 1] + 5
LATER = X[::-1] * RNG.normal(1, 0.2, size=X.shape)  # rows that no model was fitted to
HOLES = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
LEVELS = np.array(["blue", "green", "red"])
MIXED = pd.DataFrame(
    {
        "number": X[:, 0],
        "count": pd.array(np.rint(X[:, 1]).astype(int), dtype="Int64"),
        "colour": pd.Categorical(LEVELS[np.digitize(Z[:, 0], [-0.5, 0.5])]),
        "text": np.where(Z[:, 1] > 0, "up", "down").astype(object),
        "flag": pd.array(Z[:, 0] > 0, dtype="boolean"),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.rint(10 * Z[:, 1]), unit="D"),
    },
    index=[f"row {i}" for i in range(N)],
)
for i in range(MIXED.shape[1]):
    MIXED.iloc[i::11, i] = None
MIXED_LATER = MIXED.iloc[::-1].assign(number=MIXED["number"].to_numpy(), flag=MIXED["flag"].array)
BUILD = {
    "array": lambda values: values,
    "pandas": lambda values: pd.DataFrame(values, columns=list("abcde")),
    "polars": lambda values: pl.DataFrame(values, schema=list("abcde")),
}
LINEAR = {
    "hidden_layer_sizes": (),
    "activation": "identity",
    "code_activation": "identity",
    "corruption": None,
    "n_components": 3,
}
FITS = {
    "numbers": (X, LATER, {}),
    "missing cells": (HOLES, LATER, {}),
    "mixed": (MIXED, MIXED_LATER, {}),
    "mixed, polars": (pl.from_pandas(MIXED), pl.from_pandas(MIXED_LATER), {}),
    "mse, one scale": (X, LATER, {"likelihood": "mse", "standardize": False}),
    "bernoulli": (np.abs(np.sin(X)), np.abs(np.sin(LATER)), {"likelihood": "bernoulli"}),
    "many linear models": (HOLES, LATER, {"cv": 11, "max_iter": 3, **LINEAR}),
    "not told of the noise": (X, LATER, {"corruption": SwapNoise(0.3)}),
    "no networks": (X[:40], LATER, {"cv": "auto"}),
    "few rows held": (HOLES, LATER, {"max_samples": 30, "support_fraction": 1.0}),
}
TELLING = ["numbers", "mixed", "mixed, polars"]  # an array, and frames of both libraries

# A few epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module", params=FITS)
def case(request):
    """A detector, the table that it was fitted on, and later rows."""
    table, later, params = FITS[request.param]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AEAnomalyDetector(**SHORT | params).fit(table), table, later


@pytest.fixture(scope="module")
def fit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AEAnomalyDetector(**SHORT).fit(X)


@pytest.fixture(scope="module")
def mixed_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AEAnomalyDetector(**SHORT).fit(MIXED)


def values_of(table):
    if isinstance(table, pl.DataFrame):
        return table.to_numpy()
    return table.to_numpy() if isinstance(table, pd.DataFrame) else np.asarray(table)


def rows_of(table, index):
    return table.iloc[index] if isinstance(table, pd.DataFrame) else table[index]


def is_missing(table):
    if isinstance(table, pl.DataFrame):
        table = table.to_pandas()
    return pd.isna(table) if isinstance(table, np.ndarray) else table.isna().to_numpy()


# Scores and reasons


def test_reasons_sum_to_the_score(case):
    detector, _, later = case
    reasons = detector.explain(later)
    sums = reasons.sum_horizontal().to_numpy() if isinstance(reasons, pl.DataFrame) else reasons.sum(axis=1).to_numpy()
    np.testing.assert_allclose(sums, -detector.score_samples(later), rtol=1e-4, atol=1e-5)


def test_missing_cells_have_no_part_in_it(case):
    detector, table, _ = case
    reasons, missing = values_of(detector.explain(table)), is_missing(table)
    assert (reasons[missing] == 0).all()
    assert (reasons[~missing] != 0).mean() > 0.9
    assert np.isfinite(reasons).all()


def test_frames_of_reasons_are_like_the_rows(case):
    detector, _, later = case
    reasons, expected = detector.explain(later, return_expected=True)
    kind = pl.DataFrame if isinstance(later, pl.DataFrame) else pd.DataFrame
    assert isinstance(reasons, kind)
    assert isinstance(expected, kind)
    names = [f"x{i}" for i in range(5)] if isinstance(later, np.ndarray) else list(later.columns)
    assert list(reasons.columns) == list(expected.columns) == names
    assert reasons.shape == expected.shape == later.shape
    if isinstance(later, pd.DataFrame):
        assert reasons.index.equals(later.index)
        assert expected.index.equals(later.index)
        assert (expected.dtypes == later.dtypes).all()
    if isinstance(later, pl.DataFrame):
        assert expected.dtypes == later.dtypes
    assert not is_missing(expected).any()


def test_rows_without_names_take_those_of_the_fit():
    detector = AEAnomalyDetector(**SHORT).fit(BUILD["pandas"](X))
    with pytest.warns(UserWarning, match="feature names"):
        reasons, expected = detector.explain(X[:3], return_expected=True)
    assert list(reasons.columns) == list(expected.columns) == list("abcde")


def expected_by_network(detector, rows):
    """What each network expects in numbers, brought back by hand from 20 times the arcsinh of a 20th of their distance."""
    networks, columns = detector._oddness.networks, np.zeros(rows.shape[1], dtype=int)
    cells = [fitted.expected(squashed(rows, X, columns, 20.0)) for fitted in networks.fitted]
    return np.stack([20 * np.sinh(cell / 20) * networks.squashing.spread + np.median(X, axis=0) for cell in cells])


def test_expected_cells_of_later_rows_are_the_mean_of_the_networks(fit):
    expected = fit.explain(LATER, return_expected=True)[1]
    np.testing.assert_allclose(expected, expected_by_network(fit, LATER).mean(axis=0), rtol=1e-5)


def test_expected_cells_of_training_rows_are_by_the_network_that_did_not_see_them(fit):
    part = fit._oddness.training.find(X).part
    expected = fit.explain(X, return_expected=True)[1]
    np.testing.assert_allclose(expected, expected_by_network(fit, X)[part, np.arange(N)], rtol=1e-5)


def test_expected_levels_are_those_of_most_networks():
    later = MIXED_LATER.assign(number=MIXED_LATER["number"] * 1.01)
    detector = AEAnomalyDetector(**SHORT | {"cv": 3}).fit(MIXED)
    expected = detector.explain(later, return_expected=True)[1]
    networks = detector._oddness.networks
    cells = networks.squashing.apply(detector._schema.cells(later))
    votes = np.stack([fitted.expected(cells)[:, 2] for fitted in networks.fitted]).round().astype(int)
    most = [max(codes, key=list(codes).count) for codes in votes.T]  # of the first network, of those that come as often
    assert (expected["colour"].to_numpy() == LEVELS[most]).all()
    assert len(set(most)) > 1


@pytest.mark.parametrize("container", ["array", "frame"])
def test_expected_numbers_that_are_levels_are_levels(container):
    table = np.column_stack([np.array([10.0, 20.0, 30.0])[np.digitize(Z[:, 0], [-0.5, 0.5])], X[:, 0]])
    table = table if container == "array" else pd.DataFrame(table, columns=["level", "number"])
    detector = AEAnomalyDetector(categorical_features=[0], random_state=0).fit(table)
    expected = detector.explain(table, return_expected=True)[1]
    assert set(expected.iloc[:, 0]) <= {10.0, 20.0, 30.0}
    assert (expected.iloc[:, 0] == values_of(table)[:, 0]).mean() > 0.5


def test_expected_cells_are_nearer_to_the_truth_than_planted_ones():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(400, 1))
    table = pd.DataFrame(z + 0.1 * rng.normal(size=(400, 4)), columns=list("abcd"))
    table["sign"] = np.where(z[:, 0] > 0, "plus", "minus")
    detector = AEAnomalyDetector(random_state=0).fit(table)
    rows = table[np.abs(z[:, 0]) > 0.5][:50]
    for name in "abcd":
        planted = rows.assign(**{name: rows[name] + 4})
        reasons, expected = detector.explain(planted, return_expected=True)
        assert ((expected[name] - rows[name]).abs() < (planted[name] - rows[name]).abs()).all()
        assert (reasons.idxmax(axis=1) == name).mean() > 0.9
    planted = rows.assign(sign=np.where(rows["sign"] == "plus", "minus", "plus"))
    reasons, expected = detector.explain(planted, return_expected=True)
    assert reasons["sign"].mean() > detector.explain(rows)["sign"].mean() + 1
    assert expected["sign"].dtype == rows["sign"].dtype


# Levels that were not there at fit


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_unseen_levels_cost_as_much_as_the_oddest_row(library):
    seen = MIXED.assign(colour=MIXED["colour"].astype(object))
    unseen = seen.assign(colour="violet")
    missing = seen.assign(colour=pd.Series([None] * N, dtype=object, index=seen.index))
    if library == "polars":
        seen, unseen = pl.from_pandas(seen), pl.from_pandas(unseen)
        missing = seen.with_columns(colour=pl.lit(None, dtype=pl.String))
    detector = AEAnomalyDetector(**SHORT).fit(seen)
    surprise = max(1.0, -detector.score_samples(seen).min())
    np.testing.assert_allclose(detector.explain(unseen)["colour"].to_numpy(), surprise, rtol=1e-4)
    np.testing.assert_array_equal(detector.explain(missing)["colour"].to_numpy(), 0)
    np.testing.assert_allclose(detector.score_samples(unseen), detector.score_samples(missing) - surprise, rtol=1e-4)
    np.testing.assert_allclose(
        detector.explain(unseen).drop("colour", **({"axis": 1} if library == "pandas" else {})).to_numpy(),
        detector.explain(missing).drop("colour", **({"axis": 1} if library == "pandas" else {})).to_numpy(),
    )
    assert (detector.p_values(unseen) <= detector.p_values(missing)).all()
    assert (detector.p_values(unseen) < detector.p_values(missing)).any()


def test_unseen_levels_are_refused_on_request():
    detector = AEAnomalyDetector(**SHORT, handle_unknown="error").fit(MIXED)
    for method in ["score_samples", "decision_function", "predict", "p_values", "explain"]:
        with pytest.raises(ValueError, match=r"'colour'.*violet"):
            getattr(detector, method)(MIXED.assign(colour="violet"))


def test_a_level_that_a_single_training_row_has_costs_as_much_as_a_new_one():
    table = pd.DataFrame({"number": X[:, 0], "word": ["often"] * (N - 2) + ["once", "another"]})
    detector = AEAnomalyDetector(**SHORT).fit(table)
    word = detector.explain(table, parts=True).column["word"]
    new = detector.explain(table.assign(word="new", number=LATER[:, 0]), parts=True).column["word"]
    assert word.iloc[-2] == pytest.approx(new.iloc[0], rel=0.1)
    assert word.iloc[-2] > word.iloc[:-2].max()


def test_rare_levels_that_share_a_code_are_counted_one_by_one():
    levels = [f"often {i % 25}" for i in range(600)] + [f"once {i}" for i in range(10)]
    table = pd.DataFrame({"number": np.random.default_rng(0).normal(size=610), "word": levels})
    with pytest.warns(UserWarning, match="10 of them are rare"):
        detector = AEAnomalyDetector(**SHORT).fit(table)
    cost = detector.explain(table.assign(word="new")).iloc[0]["word"]
    assert 5 / 611 < np.mean(-detector.score_samples(table[:600]) >= cost) < 20 / 611


@pytest.mark.slow
def test_p_values_of_levels_that_keep_coming_new_are_valid():
    share = 1 / np.arange(1, 61)
    names = np.array([f"level {i}" for i in range(60)])

    def draw(rng, n_rows):
        word = rng.choice(names, n_rows, p=share / share.sum())
        return pd.DataFrame({"number": rng.normal(size=n_rows), "word": word}).astype({"word": object})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of levels that are rare
        assert_valid(draw, 60, least=0.3, support_fraction=1.0, **NARROW)


# Thresholds


def test_decisions_are_scores_beyond_the_offset(case):
    detector, table, later = case
    scores = detector.score_samples(later)
    np.testing.assert_array_equal(detector.decision_function(later), scores - detector.offset_)
    np.testing.assert_array_equal(detector.predict(later), np.where(scores < detector.offset_, -1, 1))
    assert detector.offset_ == np.percentile(detector.score_samples(table), 100 * detector.contamination)
    assert isinstance(detector.offset_, float)


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
def test_contamination_is_the_share_that_is_flagged(contamination):
    table = np.random.default_rng(0).normal(size=(201, 3))
    detector = AEAnomalyDetector(**SHORT | {"max_iter": 2}, contamination=contamination).fit(table)
    assert (detector.predict(table) == -1).sum() == round(contamination * 200)
    assert set(detector.predict(table)) == {-1, 1}


def test_contamination_moves_nothing_but_the_offset_where_the_support_is_given(fit):
    few, many = (clone(fit).set_params(contamination=share, support_fraction=0.8).fit(X) for share in (0.1, 0.37))
    assert many.offset_ > few.offset_
    np.testing.assert_array_equal(many.score_samples(LATER), few.score_samples(LATER))
    np.testing.assert_array_equal(many.p_values(LATER), few.p_values(LATER))
    pd.testing.assert_frame_equal(many.explain(LATER), few.explain(LATER))


@pytest.mark.parametrize(("contamination", "share"), [(0.1, 0.8), (0.2, 0.8), (0.4, 0.6)])
def test_what_is_learned_from_is_what_contamination_leaves_and_four_fifths_at_most(contamination, share):
    automatic, explicit = (
        AEAnomalyDetector(**SHORT | {"max_iter": 2}, contamination=contamination, support_fraction=value).fit(X)
        for value in ("auto", share)
    )
    assert_same(automatic, explicit, LATER)


@pytest.mark.parametrize("table", [X, MIXED], ids=["numbers", "mixed"])
def test_fit_predict_is_fit_and_predict(table):
    detector = AEAnomalyDetector(**SHORT)
    np.testing.assert_array_equal(clone(detector).fit_predict(table), detector.fit(table).predict(table))


# p-values


@pytest.mark.parametrize("seed", range(2))
def test_rows_that_are_equal_are_as_odd(seed):
    table = np.random.default_rng(seed).integers(0, 2, size=(200, 6)).astype(float)
    detector = AEAnomalyDetector(**SHORT | {"random_state": seed}).fit(table)
    kinds, kind_of = np.unique(table, axis=0, return_inverse=True)
    scores = detector.score_samples(kinds)
    np.testing.assert_array_equal(detector.score_samples(table), scores[kind_of.ravel()])
    np.testing.assert_array_equal(detector.p_values(table), detector.p_values(kinds)[kind_of.ravel()])


def test_the_order_of_p_values_is_that_of_the_scores_where_there_are_no_networks():
    table = np.random.default_rng(0).normal(size=(40, 4))
    rows = np.random.default_rng(5).normal(size=(500, 4)) * 1.5
    detector = AEAnomalyDetector(random_state=0).fit(table)
    order = np.argsort(detector.score_samples(rows))
    assert (np.diff(detector.p_values(rows)[order]) >= 0).all()
    assert detector.p_values(rows).min() == pytest.approx(1 / 41)


@pytest.mark.parametrize(("cv", "n_rows", "n_networks"), [("auto", 50, 2), ("auto", 49, 0), (3, 60, 3), (2, 30, 2), (60, 7, 7)])
def test_number_of_networks(cv, n_rows, n_networks):
    table = np.random.default_rng(0).normal(size=(n_rows, 2))
    detector = AEAnomalyDetector(**SHORT | {"cv": cv, "max_iter": 2}).fit(table)
    assert len(detector._oddness.networks.fitted) == n_networks
    assert detector.n_iter_ == (2 if n_networks else 1)
    np.testing.assert_allclose(detector.p_values(table[:3] + 1000), 1 / (n_rows + 1))


def test_repeated_rows_are_no_reason_to_train_networks():
    table = np.repeat(np.random.default_rng(0).normal(size=(49, 2)), 3, axis=0)
    assert AEAnomalyDetector(random_state=0).fit(table)._oddness.networks.fitted == []


def numbers(rng, n_rows):
    return rng.normal(size=(n_rows, 3))


def words(rng, n_rows):
    """Levels of which many come as often."""
    return pd.DataFrame({name: rng.choice(list("abcdefgh"), n_rows) for name in ("one", "two", "three")})


NARROW = {"n_components": 4, "hidden_layer_sizes": (8,), "max_iter": 8}


def assert_valid(draw, n_rows, least=0.4, **params):
    """Over tables, the share of rows like theirs with p <= a is at most a."""
    levels = np.array([0.05, 0.1, 0.2])
    rng = np.random.default_rng(n_rows)
    shares = []
    for seed in range(40):
        table, later = draw(rng, n_rows), draw(rng, 200)
        detector = AEAnomalyDetector(**params, random_state=seed).fit(table)
        shares.append((detector.p_values(later)[:, None] <= levels).mean(axis=0))
    error = np.std(shares, axis=0) / np.sqrt(len(shares))
    assert (np.mean(shares, axis=0) <= 1.15 * levels + 0.005 + 3 * error).all()
    assert (np.mean(shares, axis=0) >= least * levels).all()  # and they are of use


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [30, 80])
def test_p_values_are_valid(n_rows):
    assert_valid(numbers, n_rows, **NARROW)


@pytest.mark.slow
def test_p_values_of_words_are_valid():
    assert_valid(words, 40, support_fraction=1.0)


def test_p_values_with_false_discovery_control():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(300, 4))
    rows = np.concatenate([rng.normal(size=(180, 4)), rng.normal(size=(20, 4)) + 6])
    p = AEAnomalyDetector(**SHORT | {"max_iter": 40, "cv": 5}, support_fraction=1.0).fit(table).p_values(rows)
    found = false_discovery_control(p) <= 0.1
    assert found[180:].mean() > 0.9
    assert found[:180].sum() <= 0.25 * found.sum()


# The same bits


def test_one_row_as_among_many(case):
    detector, _, later = case
    scores, p, reasons = detector.score_samples(later), detector.p_values(later), values_of(detector.explain(later))
    for part in [*(slice(i, i + 1) for i in (0, 7, 63, N - 1)), slice(None, None, -3)]:
        rows = rows_of(later, part)
        np.testing.assert_array_equal(detector.score_samples(rows), scores[part])
        np.testing.assert_array_equal(detector.p_values(rows), p[part])
        np.testing.assert_array_equal(values_of(detector.explain(rows)), reasons[part])


def test_one_column_alone_as_among_many():
    detector = AEAnomalyDetector(**SHORT | LINEAR | {"cv": 11, "max_iter": 2}).fit(X[:, :1])
    together = detector.explain(X[:, :1]).to_numpy()
    np.testing.assert_array_equal([detector.explain(x[None, :1]).to_numpy()[0] for x in X[::8]], together[::8])


def assert_same(a, b, rows):
    assert a.offset_ == b.offset_
    for method in ["score_samples", "p_values"]:
        np.testing.assert_array_equal(getattr(a, method)(rows), getattr(b, method)(rows))
    np.testing.assert_array_equal(values_of(a.explain(rows)), values_of(b.explain(rows)))


@pytest.mark.parametrize("case", TELLING, indirect=True)
def test_same_seed_same_bits(case):
    detector, table, later = case
    assert_same(detector, clone(detector).fit(table), later)


@pytest.mark.parametrize("case", TELLING, indirect=True)
def test_after_a_pickle(case):
    detector, _, later = case
    assert_same(pickle.loads(pickle.dumps(detector)), detector, later)


def test_seed_is_read():
    fits = [AEAnomalyDetector(**SHORT | {"random_state": seed}).fit(X) for seed in [0, 1, None, None]]
    assert len({fit.score_samples(X)[0] for fit in fits}) == 4


def test_random_state_instance():
    fits = [AEAnomalyDetector(**SHORT | {"random_state": np.random.RandomState(7)}).fit(X) for _ in range(2)]
    assert_same(*fits, X)


def test_networks_do_not_share_a_seed(fit):
    assert len({fitted.seed for fitted in fit._oddness.networks.fitted}) == 2


def test_none_leaves_global_generators_untouched():
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    AEAnomalyDetector(**SHORT | {"random_state": None}).fit(X).p_values(X)
    numpy_after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(numpy_before, numpy_after, strict=True))
    assert torch.equal(torch_before, torch.get_rng_state())


def test_in_two_threads_at_once(fit):
    with ThreadPoolExecutor(2) as pool:
        for other in pool.map(lambda _: clone(fit).fit(X), range(3)):
            assert_same(other, fit, LATER)


def test_fitting_again_forgets(fit):
    again = AEAnomalyDetector(**SHORT).fit(MIXED).fit(X)
    assert not hasattr(again, "feature_names_in_")
    assert_same(again, fit, LATER)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_of_the_rows_hardly_matters(fit, dtype):
    scores = fit.score_samples(LATER.astype(dtype))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, fit.score_samples(LATER), rtol=1e-3, atol=1e-3)
    of_float32 = clone(fit).fit(X.astype(np.float32))
    assert of_float32.score_samples(X.astype(np.float32)).dtype == np.float64
    np.testing.assert_allclose(of_float32.score_samples(LATER), fit.score_samples(LATER), rtol=0.05, atol=0.5)


@pytest.mark.parametrize("case", TELLING, indirect=True)
def test_input_is_left_alone(case):
    _, table, _ = case
    copy = table.clone() if isinstance(table, pl.DataFrame) else table.copy()
    AEAnomalyDetector(**SHORT | {"max_iter": 1}).fit(copy).explain(copy, return_expected=True)
    if isinstance(table, np.ndarray):
        np.testing.assert_array_equal(copy, table)
    else:
        assert copy.equals(table)


# Containers and parameters


@pytest.mark.parametrize("table", [BUILD["pandas"](HOLES), MIXED], ids=["numbers", "mixed"])
def test_polars_as_pandas(table):
    fits = [AEAnomalyDetector(**SHORT).fit(frame) for frame in [table, pl.from_pandas(table)]]
    for method in ["score_samples", "p_values", "predict"]:
        np.testing.assert_array_equal(getattr(fits[0], method)(table), getattr(fits[1], method)(pl.from_pandas(table)))
    np.testing.assert_array_equal(fits[0].explain(table).to_numpy(), fits[1].explain(pl.from_pandas(table)).to_numpy())


def test_pandas_as_array(fit):
    frame = BUILD["pandas"](X)
    other = clone(fit).fit(frame)
    np.testing.assert_array_equal(other.score_samples(frame), fit.score_samples(X))
    assert list(other.feature_names_in_) == list("abcde")
    assert other.n_features_in_ == fit.n_features_in_ == 5


def test_clone_is_unfitted(fit):
    other = clone(fit)
    assert other.get_params() == fit.get_params()
    assert not hasattr(other, "offset_")


def test_nested_level_of_the_noise(fit):
    noise = DiffusionNoise((0.1, 1.0))
    detector = clone(fit).set_params(corruption=noise)
    assert detector.get_params()["corruption__level"] == (0.1, 1.0)
    detector.set_params(corruption__level=(0.05, 2.0))
    assert noise.level == (0.1, 1.0)
    assert_same(detector.fit(X), fit, LATER)
    assert not np.allclose(clone(fit).set_params(corruption=noise).fit(X).score_samples(X), fit.score_samples(X))
    with pytest.raises(ValueError, match="corruption__level"):
        AEAnomalyDetector().set_params(corruption__level=(0.1, 1.0))


def test_automatic_is_what_is_documented():
    explicit = {
        "n_components": 128,
        "hidden_layer_sizes": (128, 128),
        "activation": "silu",
        "decoder_layer_sizes": (),
        "init": "random",
        "corruption": DiffusionNoise((0.05, 2.0)),
        "code_activation": "silu",
        "batch_size": 128,
        "early_stopping": False,
        "support_fraction": 0.8,
    }
    few = {"max_iter": 2, "cv": 2, "random_state": 0}
    assert_same(AEAnomalyDetector(**few).fit(X), AEAnomalyDetector(**few, **explicit).fit(X), LATER)


@pytest.mark.parametrize(("n_rows", "n_iter"), [(20, 100), (640, 34), (5120, 10), (40_000, 2)])
def test_automatic_epochs_are_ten_but_make_no_fewer_than_100_steps_and_no_more_than_300(n_rows, n_iter):
    """On half of the rows, in batches of 128."""
    table = np.random.default_rng(0).normal(size=(n_rows, 2))
    params = SHORT | {"max_iter": "auto", "support_fraction": 1.0, "max_samples": 50}
    assert AEAnomalyDetector(**params).fit(table).n_iter_ == n_iter


@pytest.mark.parametrize(
    ("parameter", "values"),
    [("support_fraction", (0.5, 1.0)), ("n_neighbors", (1, 10)), ("max_samples", (20, 100)), ("cv", (2, 3))],
)
def test_parameter_is_read(fit, parameter, values):
    first, second = (clone(fit).set_params(**{parameter: value}).fit(X) for value in values)
    assert not np.allclose(first.score_samples(LATER), second.score_samples(LATER))


def test_of_a_large_table_no_more_rows_are_held_than_asked_for(fit):
    table = np.random.default_rng(0).normal(size=(400, 5))
    small, large = (clone(fit).set_params(max_samples=n).fit(table) for n in (50, 300))
    assert len(pickle.dumps(large)) - len(pickle.dumps(small)) > 250 * 5 * 4
    twice = clone(small).fit(np.concatenate([table, table + 0.1]))
    assert len(pickle.dumps(twice)) - len(pickle.dumps(small)) < 400 * 50  # hashes and scores, but no rows


def test_in_a_pipeline(fit):
    pipeline = make_pipeline(StandardScaler(), AEAnomalyDetector(**SHORT)).fit(X)
    np.testing.assert_allclose(pipeline.score_samples(LATER), fit.score_samples(LATER), rtol=0.05, atol=0.5)
    assert set(pipeline.predict(X)) == {-1, 1}


def test_early_stopping_is_passed_on(monkeypatch):
    settings, fit_rows = [], AutoencoderTransformer._fit_rows

    def recorded(self, schema, table, owner):
        settings.append((self.early_stopping, self.validation_fraction))
        return fit_rows(self, schema, table, owner=owner)

    monkeypatch.setattr(AutoencoderTransformer, "_fit_rows", recorded)
    AEAnomalyDetector(**SHORT, early_stopping=True, validation_fraction=0.3).fit(X)
    assert settings == [(True, 0.3), (True, 0.3)]


def test_progress_is_shown_by_name(capsys):
    AEAnomalyDetector(**SHORT | {"max_iter": 2}, verbose=True).fit(X)
    shown = capsys.readouterr().err
    assert "training" in shown


@pytest.mark.parametrize("method", ["score_samples", "explain"])
def test_arrays_do_not_stand_for_mixed_frames(mixed_fit, method):
    with pytest.raises(ValueError, match="pass a frame"):
        getattr(mixed_fit, method)(np.zeros((3, 6)))


# What it finds


def auroc(detector, normal, others):
    rows, labels = np.concatenate([normal, others]), np.repeat([0, 1], [len(normal), len(others)])
    return roc_auc_score(labels, -detector.score_samples(rows))


@pytest.mark.parametrize(("load", "normal", "least"), [(load_breast_cancer, 1, 0.9), (load_wine, 1, 0.8)])
def test_another_class_is_odd(load, normal, least):
    table, labels = load(return_X_y=True)
    of_class = table[labels == normal]
    detector = AEAnomalyDetector(support_fraction=1.0, random_state=0).fit(of_class[::2])
    assert auroc(detector, of_class[1::2], table[labels != normal]) > least
    p, p_of_others = detector.p_values(of_class[1::2]), detector.p_values(table[labels != normal])
    assert np.median(p_of_others) < 0.5 * np.median(p)


def test_planted_cells_are_named():
    table = load_wine(as_frame=True).data
    detector = AEAnomalyDetector(random_state=0).fit(table)
    rows = table.iloc[::10]
    named, odder = [], []
    for name in table:
        planted = rows.assign(**{name: rows[name] + 6 * table[name].std()})
        named.append((detector.explain(planted).idxmax(axis=1) == name).mean())
        odder.append((detector.score_samples(planted) < detector.score_samples(rows)).mean())
    assert np.mean(named) > 0.95
    assert min(odder) == 1


def test_a_small_dense_group_of_anomalies_is_not_learned():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(388, 2)) @ rng.normal(size=(2, 8)) + 0.3 * rng.normal(size=(388, 8))
    odd = 2.5 * rng.choice([-1, 1], size=8) + 0.1 * rng.normal(size=(12, 8))
    table = np.concatenate([normal, odd])
    trimmed, plain = (AEAnomalyDetector(support_fraction=share, random_state=0).fit(table) for share in ("auto", 1.0))
    assert auroc(trimmed, normal, odd) > max(0.95, auroc(plain, normal, odd) + 0.1)


# As scikit-learn's own detectors are tested


@pytest.mark.parametrize("far", [[[7, 4], [-5, 9]], [[5, 3], [-4, 2]]], ids=["isolation forest", "local outlier factor"])
def test_two_far_points_of_eight(far):
    table = np.array([[-2, -1], [-1, -1], [-1, -2], [1, 1], [1, 2], [2, 1], *far])
    detector = AEAnomalyDetector(contamination=0.25, random_state=0).fit(table)
    decisions = detector.decision_function(table)
    np.testing.assert_array_equal(detector.predict(table), [1] * 6 + [-1] * 2)
    assert decisions[-2:].max() < decisions[:-2].min()


@pytest.mark.parametrize("seed", range(3))
def test_uniform_points_around_two_clusters(seed):
    rng = np.random.default_rng(seed)
    blob = 0.3 * rng.normal(size=(600, 2))
    clusters = rng.permutation(np.concatenate([blob + 2, blob - 2]))
    detector = AEAnomalyDetector(random_state=seed).fit(clusters[:1000])
    assert auroc(detector, clusters[1000:], rng.uniform(-1, 1, size=(200, 2))) > 0.98


def test_a_point_between_two_clusters_is_odd():
    rng = np.random.default_rng(0)
    table = np.concatenate([0.3 * rng.normal(size=(100, 2)) + centre for centre in (2, -2)])
    detector = AEAnomalyDetector(random_state=0).fit(table)
    assert detector.p_values([[-0.5, -0.5]])[0] <= 0.02
    assert detector.predict([[-0.5, -0.5]])[0] == -1
    np.testing.assert_array_equal(detector.predict([[2, 2], [-2, -2]]), 1)


@pytest.mark.parametrize("n_rows", [5, 8, 12, 20])
def test_the_odd_one_of_a_few_rows_stands_out(n_rows):
    table = np.random.default_rng(n_rows).normal(size=(n_rows, 3))
    table[n_rows // 2] = [8, -8, 8]
    oddness = -AEAnomalyDetector(random_state=0).fit(table).score_samples(table)
    assert oddness.argmax() == n_rows // 2
    assert np.sort(oddness)[-2] < 2 / 3 * oddness.max()


# Tables of which there is little to learn

WORDS = pd.Series(["a"] * 30, dtype=object)
LITTLE = {
    "constant": np.full((30, 3), 2.5),
    "all rows equal": np.tile([0.1, 1e30, -3.0], (30, 1)),
    "two rows": X[:2],
    "two equal rows": np.ones((2, 3)),
    "three rows": X[:3],
    "five rows": X[:5],
    "more columns than rows": np.random.default_rng(0).normal(size=(6, 40)),
    "one column": X[:30, :1],
    "one constant column": np.ones((30, 1)),
    "a column all missing": np.where(np.arange(5) == 2, np.nan, X[:30]),
    "all missing": np.full((30, 2), np.nan),
    "a row all missing": np.where(np.arange(30)[:, None] == 4, np.nan, X[:30]),
    "a single cell in a column": np.where((np.arange(5) == 2) & (np.arange(30) > 0)[:, None], np.nan, X[:30]),
    "a category of one level": pd.DataFrame({"word": WORDS, "number": X[:30, 0]}),
    "nothing but a level": pd.DataFrame({"word": WORDS}),
    "a category all missing": pd.DataFrame({"word": pd.Categorical([None] * 30, ["a"]), "number": X[:30, 0]}),
    "booleans": pd.DataFrame({"flag": X[:30, 0] > 5}),
    "duplicates": np.repeat(X[:3], 10, axis=0),
    "huge beside tiny": X[:30] * [1e30, 1e-30, 1, 1, 1],
}


def assert_of_use(detector, table):
    """All that it says of the table, and of one of its rows, is finite."""
    for rows in [table, rows_of(table, slice(1, 2))]:
        scores, p = detector.score_samples(rows), detector.p_values(rows)
        reasons, expected = detector.explain(rows, return_expected=True)
        assert np.isfinite(scores).all()
        assert np.isfinite(detector.decision_function(rows)).all()
        assert set(detector.predict(rows)) <= {-1, 1}
        assert (p > 0).all()
        assert (p <= 1).all()
        assert np.isfinite(values_of(reasons)).all()
        assert expected.shape == np.shape(rows)


@pytest.mark.parametrize("name", LITTLE)
def test_little_to_learn(name):
    assert_of_use(AEAnomalyDetector(**SHORT | {"max_iter": 2, "cv": 3}).fit(LITTLE[name]), LITTLE[name])


@pytest.mark.parametrize("name", LITTLE)
def test_little_to_learn_without_networks(name):
    assert_of_use(AEAnomalyDetector(random_state=0).fit(LITTLE[name]), LITTLE[name])


@pytest.mark.parametrize("name", ["constant", "all rows equal", "two equal rows", "one constant column", "all missing"])
def test_rows_that_are_all_equal_are_not_odd(name):
    table = LITTLE[name]
    detector = AEAnomalyDetector(**SHORT | {"cv": "auto", "max_iter": 2}).fit(table)
    np.testing.assert_array_equal(detector.p_values(table), 1)
    np.testing.assert_array_equal(detector.predict(table), 1)
    np.testing.assert_allclose(detector.score_samples(table), 0, atol=1e-12)


def test_little_to_learn_is_no_reason_to_warn():
    for name in ["constant", "two rows", "five rows", "a column all missing", "a category of one level"]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            AEAnomalyDetector(random_state=0).fit_predict(LITTLE[name])


def test_a_column_that_was_missing_at_fit_has_no_part_in_it():
    table = LITTLE["a column all missing"]
    detector = AEAnomalyDetector(**SHORT).fit(table)
    np.testing.assert_array_equal(detector.explain(X)["x2"], 0)
    np.testing.assert_array_equal(detector.score_samples(X[:30]), detector.score_samples(table))


@pytest.mark.parametrize("cv", ["auto", 3])
def test_columns_of_names_are_told_of_once(cv):
    table = pd.DataFrame({"name": [f"n{i}" for i in range(60)], "number": X[:60, 0]})
    with pytest.warns(UserWarning, match="'name' has 60 categories") as caught:
        detector = AEAnomalyDetector(**SHORT | {"max_iter": 1, "cv": cv}).fit(table)
    told = [w for w in caught if "categories" in str(w.message)]
    assert len(told) == 1
    np.testing.assert_array_equal(detector.explain(table)["name"], 0)
    np.testing.assert_array_equal(detector.explain(table.assign(name="new"))["name"], 0)


# Memory


def test_memory_of_scoring_does_not_grow_with_copies(monkeypatch):
    monkeypatch.setattr("skvae._tables.rows.BLOCK_ROWS", 4096)
    rows = np.random.default_rng(0).normal(size=(16_384, 20)).astype(np.float32)
    detector = AEAnomalyDetector(**SHORT | {"max_iter": 1, "max_samples": 20}).fit(rows[:1000])
    half, whole = (peak_of_scoring(detector, rows[:n]) for n in (8192, 16_384))
    assert whole - half < 0.25 * (rows.nbytes / 2)  # the scores, but no copy of the rows


def peak_of_scoring(detector, rows):
    tracemalloc.start()
    try:
        detector.score_samples(rows)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Rows of the training table


def test_a_training_row_is_known_alone():
    detector = AEAnomalyDetector(**{**SHORT, "cv": 3}).fit(X)
    scores = detector.score_samples(X)
    np.testing.assert_array_equal(np.concatenate([detector.score_samples(row) for row in X[:10, None]]), scores[:10])


@pytest.mark.parametrize("offset", [1e5, 1.7e9])
def test_numbers_far_from_zero_are_told_apart(offset):
    table = offset + np.random.default_rng(0).normal(size=(300, 2)) * 1e-2
    detector = AEAnomalyDetector(**SHORT).fit(table)
    assert np.isfinite(detector.score_samples(table)).all()
    assert (detector.predict(table) == -1).sum() == 30
    assert detector.p_values(table[:1] + 1) == pytest.approx(1 / 301)


# Groups and holes in a table that may hold anomalies


def test_no_frequent_pattern_is_odd_as_a_whole():
    table = pd.DataFrame(np.random.default_rng(2).random((2000, 4)) < 0.5, columns=list("abcd"))
    detector = AEAnomalyDetector(random_state=2).fit(table)
    assert detector.score_samples(table).min() > -5


@pytest.mark.parametrize("contamination", [0.1, 0.3, 0.4])
def test_many_odd_rows_are_found_where_their_share_is_said(contamination):
    rng = np.random.default_rng(0)
    n_odd = int(400 * contamination)
    normal, odd = 5 + 0.5 * rng.normal(size=(400 - n_odd, 2)), rng.uniform(-9, 9, size=(n_odd, 2))
    detector = AEAnomalyDetector(contamination=contamination, random_state=0).fit(np.concatenate([normal, odd]))
    assert auroc(detector, normal, odd) > 0.97


def test_rows_with_holes_are_not_preferred_to_learn_from():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1000, 10))
    table[:300][rng.random((300, 10)) < 0.7] = np.nan
    kept = supported(table, Metric(np.zeros(10, dtype=int)), 0.8, rng)
    assert 0.6 < np.mean(kept < 300) / 0.3 < 1.3


def test_empty_rows_are_not_learned_from():
    table = np.random.default_rng(0).normal(size=(1000, 5))
    table[:700] = np.nan
    table[-1] = 6
    detector = AEAnomalyDetector(**SHORT).fit(table)
    assert detector.score_samples(table).argmin() == 999


# Wild cells, and levels that many rows have


def test_wild_cells_are_found_and_what_is_expected_is_within_the_others():
    rng = np.random.default_rng(0)
    ages, hours = rng.integers(18, 66, 1200), rng.normal(38, 4, 1200)
    table = pd.DataFrame({"age": ages, "hours": hours, "dept": rng.choice(list("abcd"), 1200)})
    table.loc[[7, 8, 9], "age"] = [329, -1726, 99_999_999_999]
    detector = AEAnomalyDetector(random_state=0).fit(table)
    reasons, expected = detector.explain(table, return_expected=True)
    assert set(np.argsort(detector.score_samples(table))[:3]) == {7, 8, 9}
    assert (reasons.loc[[7, 8, 9]].idxmax(axis=1) == "age").all()
    assert expected["age"].between(18, 65).all()


@pytest.mark.parametrize("support_fraction", ["auto", 1.0])
@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
def test_a_wild_cell_moves_little_but_its_own_row(load, support_fraction):
    table = load(as_frame=True).data
    spreads = table.std().to_numpy()
    planted, far = [3, 30, 60, 90, 120], 150
    for row, column, factor in zip(planted, table.columns[1:], [10, 100, -1, 1000, 0.01], strict=False):
        table.loc[row, column] *= factor
    results = []
    for cell in (table.iloc[far, 4], 1e11):
        table.iloc[far, 4] = cell
        detector = AEAnomalyDetector(support_fraction=support_fraction, random_state=0).fit(table)
        ranks = (-detector.score_samples(table)).argsort().argsort()[planted]
        results.append((ranks, detector.explain(table, return_expected=True)[1].to_numpy()))
    assert np.abs(results[0][0] - results[1][0]).max() < 10
    moved = np.abs(np.delete(results[0][1] - results[1][1], [*planted, far], axis=0)) / spreads
    assert np.mean(moved > 0.1) < (0.01 if support_fraction == 1.0 else 0.06)


def test_what_many_rows_have_is_learned():
    """A tenth of the customers have no phone, which three columns say in their way."""
    rng = np.random.default_rng(0)
    n = 2000
    phone, contract = rng.random(n) > 0.1, rng.choice(["month", "year"], n)
    lines = np.where(phone, rng.choice(["one", "several"], n), "none")
    charges = rng.normal(60, 10, n) - 25 * ~phone
    table = pd.DataFrame({"contract": contract, "phone": phone, "lines": lines, "charges": charges, "age": rng.normal(size=n)})
    detector = AEAnomalyDetector(contamination=0.1, random_state=0).fit(table)
    assert (detector.predict(table) == -1)[~phone].mean() < 0.4
    expected = detector.explain(table[~phone], return_expected=True)[1]
    assert (expected["lines"] == "none").mean() > 0.9
    assert not expected["phone"].mean() > 0.1


def test_few_rows_set_a_threshold_that_later_ones_can_meet():
    """Two standard errors of the share flagged are 0.03."""
    rng = np.random.default_rng(0)
    flagged = []
    for seed in range(2):
        table, later = rng.normal(size=(60, 6)), rng.normal(size=(200, 6))
        flagged.append((AEAnomalyDetector(contamination=0.1, random_state=seed).fit(table).predict(later) == -1).mean())
    assert np.mean(flagged) < 0.25
