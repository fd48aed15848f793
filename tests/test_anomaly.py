"""Anomalies: scores, p-values and reasons against what they are defined to be, and whether they find anything."""

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

import skvae._anomaly
from skvae import AEAnomalyDetector, AutoencoderTransformer, DiffusionNoise, SwapNoise, VAETransformer

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
VAE = {"variational": True, "early_stopping": False}
FITS = {
    "numbers": (X, LATER, {}),
    "missing cells": (HOLES, LATER, {}),
    "mixed": (MIXED, MIXED_LATER, {}),
    "mixed, polars": (pl.from_pandas(MIXED), pl.from_pandas(MIXED_LATER), {}),
    "mse, one scale": (X, LATER, {"likelihood": "mse", "standardize": False}),
    "bernoulli": (np.abs(np.sin(X)), np.abs(np.sin(LATER)), {"likelihood": "bernoulli"}),
    "many linear models": (HOLES, LATER, {"cv": 11, "max_iter": 3, **LINEAR}),
    "not told of the noise": (X, LATER, {"corruption": SwapNoise(0.3)}),
    "vae, mixed": (MIXED, MIXED_LATER, VAE),
    "vae, linear": (HOLES, LATER, VAE | {"hidden_layer_sizes": ()}),
}
TELLING = ["numbers", "mixed", "mixed, polars", "vae, mixed"]  # an array, and frames of both libraries

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


def order_of(detector, n_rows):
    """The training rows as they are dealt, by the seed alone."""
    seed = np.random.RandomState(detector.random_state).randint(np.iinfo(np.int32).max)
    return np.random.default_rng(seed).permutation(n_rows)


def held_out_of(detector, n_rows):
    """Which training rows each model does not see."""
    return np.array_split(order_of(detector, n_rows), len(detector.estimators_))


def costs_by_definition(detector, table, later, held_out):
    """Per model, what each later cell and each row held out costs beyond the median cell of the rows held out."""
    cells, calibration = [], []
    for model, part in zip(detector.estimators_, held_out, strict=True):
        of_part = -values_of(model.score_cells(rows_of(table, part)))
        typical = np.nan_to_num([np.median(c[~np.isnan(c)]) if (~np.isnan(c)).any() else 0.0 for c in of_part.T])
        cells.append(np.nan_to_num(-values_of(model.score_cells(later)) - typical))
        calibration.append(np.nansum(of_part - typical, axis=1))
    return cells, calibration


# Scores and reasons


def test_scores_are_surprises_beyond_those_of_typical_cells(case):
    detector, table, later = case
    cells, _ = costs_by_definition(detector, table, later, held_out_of(detector, N))
    np.testing.assert_allclose(detector.score_samples(later), -np.mean(cells, axis=0).sum(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(values_of(detector.explain(later)), np.mean(cells, axis=0), rtol=1e-4, atol=1e-4)


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


def test_expected_cells_are_those_of_the_models(fit):
    expected = fit.explain(LATER, return_expected=True)[1]
    np.testing.assert_allclose(expected, np.mean([model.reconstruct(LATER) for model in fit.estimators_], axis=0), rtol=1e-5)


def test_expected_levels_are_those_of_most_models():
    detector = AEAnomalyDetector(**SHORT | {"cv": 3}).fit(MIXED)
    expected = detector.explain(MIXED_LATER, return_expected=True)[1]
    for name in ["colour", "text", "flag"]:
        votes = pd.DataFrame([model.reconstruct(MIXED_LATER)[name].to_numpy() for model in detector.estimators_])
        majority = votes.apply(lambda column: column.value_counts().iloc[0] >= 2).to_numpy()
        assert majority.mean() > 0.5
        most = votes.mode().iloc[0].to_numpy()
        assert (expected[name].to_numpy()[majority] == most[majority]).all()


@pytest.mark.parametrize("container", ["array", "frame"])
def test_expected_numbers_that_are_levels_are_levels(container):
    table = np.column_stack([np.array([10.0, 20.0, 30.0])[np.digitize(Z[:, 0], [-0.5, 0.5])], X[:, 0]])
    table = table if container == "array" else pd.DataFrame(table, columns=["level", "number"])
    detector = AEAnomalyDetector(**SHORT, categorical_features=[0]).fit(table)
    expected = detector.explain(table, return_expected=True)[1]
    assert set(expected.iloc[:, 0]) <= {10.0, 20.0, 30.0}
    assert (expected.iloc[:, 0] == values_of(table)[:, 0]).mean() > 0.5


def test_expected_cells_are_nearer_to_the_truth_than_planted_ones():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(400, 1))
    table = pd.DataFrame(z + 0.1 * rng.normal(size=(400, 4)), columns=list("abcd"))
    table["sign"] = np.where(z[:, 0] > 0, "plus", "minus")
    detector = AEAnomalyDetector(cv=2, max_iter=60, random_state=0).fit(table)
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
    _, calibration = costs_by_definition(detector, seen, seen, held_out_of(detector, N))
    surprise = max(np.log(N + 1), *(costs.max() for costs in calibration))
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


@pytest.mark.parametrize("seed", range(3))
def test_a_level_that_one_model_has_not_seen_is_not_new(seed):
    table = pd.DataFrame({"number": X[:, 0], "word": pd.Series([None] * (N - 1) + ["rare"], dtype=object)})
    detector = AEAnomalyDetector(**SHORT | {"cv": 3, "max_iter": 2, "random_state": seed}).fit(table)
    assert detector.explain(table)["word"].iloc[-1] < np.log(N + 1) / 2


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


def test_contamination_moves_nothing_but_the_offset(fit):
    other = clone(fit).set_params(contamination=0.37).fit(X)
    assert other.offset_ > fit.offset_
    np.testing.assert_array_equal(other.score_samples(LATER), fit.score_samples(LATER))
    np.testing.assert_array_equal(other.p_values(LATER), fit.p_values(LATER))
    pd.testing.assert_frame_equal(other.explain(LATER), fit.explain(LATER))


@pytest.mark.parametrize("table", [X, MIXED], ids=["numbers", "mixed"])
def test_fit_predict_is_fit_and_predict(table):
    detector = AEAnomalyDetector(**SHORT)
    np.testing.assert_array_equal(clone(detector).fit_predict(table), detector.fit(table).predict(table))


# p-values


def assert_counted(detector, table, later, held_out):
    """p-values are counts of the rows held out that cost as much or more; equal but for rounding counts as equal."""
    cells, calibration = costs_by_definition(detector, table, later, held_out)
    pairs = list(zip(cells, calibration, strict=True))
    as_odd = sum((c >= row.sum(axis=1)[:, None] - 1e-4).sum(axis=1) for row, c in pairs)
    odder = sum((c >= row.sum(axis=1)[:, None] + 1e-4).sum(axis=1) for row, c in pairs)
    m = sum(map(len, calibration))
    p = detector.p_values(later)
    assert ((1 + odder) / (1 + m) <= p).all()
    assert (p <= (1 + as_odd) / (1 + m)).all()
    assert (as_odd == odder).mean() > 0.8  # the two bounds are one nearly always
    assert (p >= 1 / (1 + m)).all()
    assert (p <= 1).all()


def test_p_values_are_counts(case):
    detector, table, later = case
    assert_counted(detector, table, later, held_out_of(detector, N))


@pytest.mark.parametrize("seed", range(2))
def test_rows_that_are_equal_are_as_odd(seed):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 2, size=(200, 6)).astype(float)
    detector = AEAnomalyDetector(**SHORT | {"random_state": seed}).fit(table)
    kinds = np.unique(table, axis=0)
    cells, calibration = costs_by_definition(detector, table, kinds, held_out_of(detector, 200))
    pairs = zip(cells, calibration, strict=True)
    as_odd = sum((c >= row.sum(axis=1)[:, None] - 1e-6).sum(axis=1) for row, c in pairs)
    np.testing.assert_allclose(detector.p_values(kinds), (1 + as_odd) / 201, rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "params"),
    [(np.float64, {}), (np.float32, {}), (np.float64, VAE), (np.float32, LINEAR)],
    ids=["denoiser", "float32", "vae", "linear"],
)
def test_rows_held_out_are_as_odd_as_themselves(dtype, params):
    table = np.random.default_rng(0).normal(size=(1000, 4)).astype(dtype)
    table[::3, 1] = np.nan
    detector = AEAnomalyDetector(**SHORT | {"cv": "auto", "max_iter": 2} | params).fit(table)
    p = detector.p_values(table[order_of(detector, 1000)[:200]])
    np.testing.assert_allclose(np.sort(p), np.arange(2, 202) / 201, rtol=1e-12)


@pytest.mark.parametrize("params", [{}, VAE], ids=["denoiser", "vae"])
def test_models_learn_nothing_from_rows_held_out(params):
    detector = AEAnomalyDetector(**SHORT | params).fit(X)
    part = held_out_of(detector, N)[0]
    other = clone(detector).fit(np.where(np.isin(np.arange(N), part)[:, None], 10 * X, X))
    for i, (a, b) in enumerate(zip(detector.estimators_, other.estimators_, strict=True)):
        assert np.array_equal(a.score_cells(LATER), b.score_cells(LATER)) == (i == 0)


def test_p_values_of_a_single_model_are_in_the_order_of_the_scores(single):
    table, detector = single
    rows = np.random.default_rng(5).normal(size=(3000, table.shape[1])) * 1.5
    order = np.argsort(detector.score_samples(rows))
    assert (np.diff(detector.p_values(rows)[order]) >= 0).all()
    assert detector.p_values(rows).min() == pytest.approx(1 / 201)


@pytest.fixture(scope="module")
def single():
    """A table that is large enough for one model, and this."""
    table = np.random.default_rng(0).normal(size=(1000, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return table, AEAnomalyDetector(**SHORT | {"cv": "auto", "max_iter": 3}).fit(table)


def test_one_model_of_many_rows(single):
    table, detector = single
    assert len(detector.estimators_) == 1
    part = order_of(detector, 1000)[:200]
    later = np.random.default_rng(1).normal(size=(100, 4))
    assert_counted(detector, table, later, [part])


def test_validation_fraction_is_the_share_held_out(single):
    table, detector = single
    p = clone(detector).set_params(validation_fraction=0.5).fit(table).p_values(table + 100)
    np.testing.assert_allclose(p, 1 / 501)
    np.testing.assert_allclose(detector.p_values(table + 100), 1 / 201)


@pytest.mark.parametrize(("cv", "n_rows", "n_models"), [("auto", 999, 10), (3, 1000, 3), (3, 60, 3), (2, 60, 2), (60, 7, 7)])
def test_number_of_models(cv, n_rows, n_models):
    table = np.random.default_rng(0).normal(size=(n_rows, 2))
    detector = AEAnomalyDetector(**SHORT | {"cv": cv, "max_iter": 1}).fit(table)
    assert len(detector.estimators_) == n_models
    np.testing.assert_allclose(detector.p_values(table[:3] + 1000), 1 / (n_rows + 1))


@pytest.mark.slow
@pytest.mark.parametrize(("cv", "n_rows"), [(5, 70), ("single", 60)])
def test_p_values_are_valid(monkeypatch, cv, n_rows):
    """Over tables, the share of rows like theirs with p <= a is at most a."""
    params = {"n_components": 4, "hidden_layer_sizes": (8,), "max_iter": 8}
    if cv == "single":
        monkeypatch.setattr(skvae._anomaly, "PARTS_BELOW", 0)
        params |= {"validation_fraction": 0.5}
    levels = np.array([0.05, 0.1, 0.2])
    rng = np.random.default_rng(n_rows)
    shares = []
    for seed in range(40):
        table, later = rng.normal(size=(n_rows, 3)), rng.normal(size=(200, 3))
        detector = AEAnomalyDetector(**params, cv="auto" if cv == "single" else cv, random_state=seed).fit(table)
        shares.append((detector.p_values(later)[:, None] <= levels).mean(axis=0))
    error = np.std(shares, axis=0) / np.sqrt(len(shares))
    assert (np.mean(shares, axis=0) <= 1.15 * levels + 0.005 + 3 * error).all()
    assert (np.mean(shares, axis=0) >= 0.4 * levels).all()  # and they are of use


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


@pytest.mark.parametrize("params", [{}, VAE], ids=["denoiser", "vae"])
def test_seed_is_read(params):
    fits = [AEAnomalyDetector(**SHORT | params | {"random_state": seed}).fit(X) for seed in [0, 1, None, None]]
    assert len({fit.score_samples(X)[0] for fit in fits}) == 4


def test_random_state_instance():
    fits = [AEAnomalyDetector(**SHORT | {"random_state": np.random.RandomState(7)}).fit(X) for _ in range(2)]
    assert_same(*fits, X)


def test_models_do_not_share_a_seed(fit):
    assert len({model.random_state for model in fit.estimators_}) == 2


@pytest.mark.parametrize("params", [{}, VAE], ids=["denoiser", "vae"])
def test_none_leaves_global_generators_untouched(params):
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    AEAnomalyDetector(**SHORT | params | {"random_state": None}).fit(X).p_values(X)
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
    scores = fit.score_samples(X.astype(dtype))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, fit.score_samples(X), rtol=1e-3, atol=1e-3)
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
        "hidden_layer_sizes": (128, 128, 128, 128),
        "activation": "silu",
        "decoder_layer_sizes": (),
        "init": "random",
        "corruption": DiffusionNoise((0.05, 2.0)),
        "code_activation": "silu",
        "batch_size": 128,
        "early_stopping": False,
    }
    few = {"max_iter": 2, "cv": 2, "random_state": 0}
    assert_same(AEAnomalyDetector(**few).fit(X), AEAnomalyDetector(**few, **explicit).fit(X), LATER)


@pytest.mark.parametrize(("n_rows", "n_iter"), [(20, 300), (500, 150)])  # batches of 10, and of 125 rows
def test_automatic_epochs_make_a_number_of_steps(n_rows, n_iter):
    detector = AEAnomalyDetector(**SHORT | {"max_iter": "auto"}).fit(np.random.default_rng(0).normal(size=(n_rows, 3)))
    assert detector.n_iter_ == n_iter
    assert all(model.n_iter_ == n_iter for model in detector.estimators_)


def test_kinds_of_models(case):
    detector, _, _ = case
    kind = VAETransformer if detector.variational else AutoencoderTransformer
    assert all(isinstance(model, kind) for model in detector.estimators_)


@pytest.mark.parametrize("variational", [True, False])
def test_support_is_read(variational):
    params = SHORT | {"variational": variational, "early_stopping": False}
    few, all_rows = (AEAnomalyDetector(**params, support_fraction=share).fit(X) for share in (0.5, 1.0))
    assert not np.allclose(few.score_samples(X), all_rows.score_samples(X))


def test_in_a_pipeline(fit):
    pipeline = make_pipeline(StandardScaler(), AEAnomalyDetector(**SHORT)).fit(X)
    np.testing.assert_allclose(pipeline.score_samples(LATER), fit.score_samples(LATER), rtol=0.05, atol=0.5)
    assert set(pipeline.predict(X)) == {-1, 1}


def test_early_stopping():
    detector = AEAnomalyDetector(**SHORT | {"max_iter": 30}, early_stopping=True, validation_fraction=0.3).fit(X)
    assert all(model.validation_scores_ is not None for model in detector.estimators_)


def test_progress_is_shown_by_name(capsys):
    AEAnomalyDetector(**SHORT | {"max_iter": 2}, verbose=True).fit(X)
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "Member" not in shown


@pytest.mark.parametrize("method", ["score_samples", "explain"])
def test_arrays_do_not_stand_for_mixed_frames(mixed_fit, method):
    with pytest.raises(ValueError, match="pass a frame"):
        getattr(mixed_fit, method)(np.zeros((3, 6)))


# What it finds


def auroc(detector, normal, others):
    rows, labels = np.concatenate([normal, others]), np.repeat([0, 1], [len(normal), len(others)])
    return roc_auc_score(labels, -detector.score_samples(rows))


@pytest.mark.parametrize("params", [{"max_iter": 100}, {"variational": True, "hidden_layer_sizes": (16,), "max_iter": 30}])
@pytest.mark.parametrize(("load", "normal", "least"), [(load_breast_cancer, 1, 0.9), (load_wine, 1, 0.8)])
def test_another_class_is_odd(load, normal, least, params):
    table, labels = load(return_X_y=True)
    of_class = table[labels == normal]
    detector = AEAnomalyDetector(**params, cv=2, support_fraction=1.0, random_state=0).fit(of_class[::2])
    assert auroc(detector, of_class[1::2], table[labels != normal]) > least
    p, p_of_others = detector.p_values(of_class[1::2]), detector.p_values(table[labels != normal])
    assert np.median(p_of_others) < 0.5 * np.median(p)


def test_planted_cells_are_named():
    table = load_wine(as_frame=True).data
    detector = AEAnomalyDetector(cv=2, max_iter=100, random_state=0).fit(table)
    rows = table.iloc[::10]
    named, odder = [], []
    for name in table:
        planted = rows.assign(**{name: rows[name] + 6 * table[name].std()})
        named.append((detector.explain(planted).idxmax(axis=1) == name).mean())
        odder.append((detector.score_samples(planted) < detector.score_samples(rows)).mean())
    assert np.mean(named) > 0.95
    assert min(odder) == 1


def test_trimming_keeps_clusters_of_anomalies_from_being_learned():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(360, 2)) @ rng.normal(size=(2, 8)) + 0.3 * rng.normal(size=(360, 8))
    odd = 2.5 * rng.choice([-1, 1], size=8) + 0.1 * rng.normal(size=(40, 8))
    table = np.concatenate([normal, odd])
    trimmed, plain = (AEAnomalyDetector(cv=2, support_fraction=share, random_state=0).fit(table) for share in (0.8, 1.0))
    assert auroc(trimmed, normal, odd) > max(0.95, auroc(plain, normal, odd) + 0.1)


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


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *((name, {}) for name in LITTLE),
        *((name, VAE) for name in ["constant", "two rows", "all missing", "a category all missing", "huge beside tiny"]),
    ],
)
def test_little_to_learn(name, params):
    table = LITTLE[name]
    detector = AEAnomalyDetector(**SHORT | {"max_iter": 2, "cv": 3} | params).fit(table)
    assert len(detector.estimators_) == min(3, len(table))
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
            AEAnomalyDetector(8, hidden_layer_sizes=(16,), cv=2, random_state=0).fit_predict(LITTLE[name])


def test_a_column_that_was_missing_at_fit_has_no_part_in_it():
    table = LITTLE["a column all missing"]
    detector = AEAnomalyDetector(**SHORT).fit(table)
    np.testing.assert_array_equal(detector.explain(X)["x2"], 0)
    np.testing.assert_array_equal(detector.score_samples(X[:30]), detector.score_samples(table))


@pytest.mark.parametrize("cv", ["auto", 3])
def test_columns_of_names_are_told_of_once(cv):
    table = pd.DataFrame({"name": [f"n{i}" for i in range(60)], "number": X[:60, 0]})
    with pytest.warns(UserWarning, match="'name' has 60 levels") as caught:
        detector = AEAnomalyDetector(**SHORT | {"max_iter": 1, "cv": cv}).fit(table)
    told = [w for w in caught if "levels" in str(w.message)]
    assert len(told) == 1
    np.testing.assert_array_equal(detector.explain(table)["name"], 0)
    np.testing.assert_array_equal(detector.explain(table.assign(name="new"))["name"], 0)


# Memory


@pytest.mark.parametrize("params", [{"n_nonzero_coefs": 1}, {"code_activation": "logistic"}], ids=str)
def test_a_normal_code_is_neither_sparse_nor_bounded(params):
    (name, value), *_ = params.items()
    with pytest.raises(ValueError, match=rf"{name}={value!r} cannot be had with variational=True.*set variational=False"):
        AEAnomalyDetector(**SHORT, variational=True, **params).fit(X)
    AEAnomalyDetector(**SHORT, variational=False, **params).fit(X)


def test_memory_of_scoring_does_not_grow_with_copies():
    rows = np.random.default_rng(0).normal(size=(300_000, 20)).astype(np.float32)
    detector = AEAnomalyDetector(**SHORT | {"max_iter": 1, "cv": "auto"}).fit(rows[:1000])
    tracemalloc.start()
    try:
        detector.score_samples(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows.nbytes  # less than another copy of them


# Rows of the training table among models that saw them


@pytest.mark.parametrize("library", ["numpy", "pandas"])
def test_a_training_row_is_scored_by_the_model_that_did_not_see_it(library):
    table = X if library == "numpy" else MIXED
    detector = AEAnomalyDetector(**{**SHORT, "cv": 3}).fit(table)
    parts = held_out_of(detector, N)
    scores, contributions = detector.score_samples(table), detector.explain(table).to_numpy()
    rows = detector.estimators_[0].schema_.cells(table)
    for calibration, part in zip(detector._calibrations, parts, strict=True):
        np.testing.assert_array_equal(scores[part], -calibration.costs(rows)[part])
        np.testing.assert_array_equal(contributions[part], calibration.costs_of_cells(rows)[part])


def test_it_is_known_in_either_precision_and_alone():
    detector = AEAnomalyDetector(**{**SHORT, "cv": 3}).fit(X)
    scores = detector.score_samples(X)
    np.testing.assert_allclose(detector.score_samples(X.astype(np.float32)), scores, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(np.concatenate([detector.score_samples(row) for row in X[:10, None]]), scores[:10])


def test_few_rows_set_a_threshold_that_later_ones_can_meet():
    """As many parameters as would remember every row; two standard errors of the share flagged are 0.03."""
    rng = np.random.default_rng(0)
    flagged = []
    for seed in range(2):
        table, later = rng.normal(size=(60, 6)), rng.normal(size=(200, 6))
        flagged.append((AEAnomalyDetector(contamination=0.1, cv=5, random_state=seed).fit(table).predict(later) == -1).mean())
    assert np.mean(flagged) < 0.25
