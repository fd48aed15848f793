"""Exported models compute what the estimators do."""

import sys
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import (
    AEAnomalyDetector,
    AutoencoderImputer,
    AutoencoderTransformer,
    DiffusionNoise,
    VAETransformer,
    register_onnx_converters,
    to_onnx,
)
from skvae._base import BaseAutoencoder
from skvae._export import likelihoods, networks
from skvae._export.bottlenecks import code_of
from skvae._export.estimators import METHODS, schema_of
from skvae._export.graph import Graph, count_below
from skvae._export.inputs import solved
from skvae.core.bottlenecks import Bottleneck
from skvae.core.likelihoods import Likelihood

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL: dict[str, Any] = {"hidden_layer_sizes": (16,), "max_iter": 3, "random_state": 0}
BATCHES = (1, 64, 1000)


def numbers(n_rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(3, 7))
    X = rng.normal(size=(n_rows, 3)) @ mixing + rng.normal(size=(n_rows, 7))
    X[:, 5] = np.exp(X[:, 5])
    X[:, 6] = np.maximum(X[:, 6], 0)  # a spike
    return X * [1, 10, 100, 1, 1, 1, 1]


def frame(n_rows: int, seed: int) -> pd.DataFrame:
    """Columns of every kind, of which those of text have a few rare levels."""
    X, rng = numbers(n_rows, seed), np.random.default_rng(seed)
    rare = np.char.add("rare", rng.integers(0, 60, n_rows).astype(str))
    minutes = rng.integers(0, 700 * 24 * 60, n_rows)
    return pd.DataFrame(
        {
            "age": X[:, 0],
            "rain": X[:, 6],
            "income": X[:, 5],
            "town": np.where(
                rng.random(n_rows) < 0.2, rare, np.array(["Bonn", "Kiel", "Ulm"])[np.digitize(X[:, 1], [-10, 10])]
            ),
            "flag": X[:, 3] > 0,
            "size": pd.Categorical(np.array([1, 2, 5])[np.digitize(X[:, 4], [-1, 1])]),
            "day": np.datetime64("2020-01-01") + rng.integers(0, 700, n_rows).astype("m8[D]"),
            "clock": np.sort(np.datetime64("2021-03-01T00", "s") + minutes.astype("m8[m]")),
        }
    ).astype({"town": object, "day": "M8[s]"})


def with_holes(table: Any, seed: int) -> Any:
    holes = np.random.default_rng(seed).random(table.shape) < 0.1
    if isinstance(table, np.ndarray):
        return np.where(holes, table.dtype.type(np.nan), table)
    return table.astype({"flag": "boolean"}).mask(holes)


def feeds(estimator: Any, table: Any) -> dict[str, np.ndarray]:
    """The inputs of a model, as the documentation says."""
    if isinstance(table, np.ndarray):
        return {"X": table.astype(np.float64)}
    return {str(c.name): values_of(c, table[c.name])[:, None] for c in schema_of(estimator).columns if c.kind != "ignored"}


def values_of(column: Any, series: pd.Series) -> np.ndarray:
    if column.kind == "datetime":
        return series.to_numpy(f"M8[{column.unit}]").astype(np.int64)
    if column.kind == "category" and isinstance(column.levels[0], str):
        return series.astype(object).where(series.notna(), "").to_numpy(object)
    return series.astype("Float64").to_numpy(np.float64, na_value=np.nan)


def run(estimator: Any, method: str, table: Any, size: int = 1000) -> list[np.ndarray]:
    session = session_of(estimator, method)
    given = feeds(estimator, table)
    parts = [
        session.run(None, {name: cells[i : i + size] for name, cells in given.items()}) for i in range(0, len(table), size)
    ]
    return [np.concatenate(some) for some in zip(*parts, strict=True)]


def session_of(estimator: Any, method: str) -> onnxruntime.InferenceSession:
    model = to_onnx(estimator, method)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString())


def result(estimator: Any, method: str, table: Any) -> list[np.ndarray]:
    """What the estimator says, in the form of the model's outputs."""
    values = getattr(estimator, method)(table)
    if isinstance(values, pd.DataFrame):
        return list(feeds(estimator, values).values())
    return [values.reshape(len(table), -1)]


def distance(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    """The largest difference in standard deviations of its column; infinite where text or missing cells differ."""
    worst = 0.0
    for x, y in zip(some, others, strict=True):
        if y.dtype == object:
            worst = worst if (x == y).all() else np.inf
            continue
        x, y = x.astype(np.float64), y.astype(np.float64)
        if (np.isnan(x) != np.isnan(y)).any():
            return np.inf
        deviation = np.std(np.nan_to_num(y), axis=0)
        worst = max(worst, float(np.nan_to_num(np.abs(x - y) / np.where(deviation > 0, deviation, 1.0)).max()))
    return worst


def in_double(estimator: Any) -> Any:
    """The same with networks in double precision."""
    estimator = deepcopy(estimator)
    fits = estimator._oddness.networks.fitted if hasattr(estimator, "_oddness") else [estimator._fitted]
    for fitted in fits:
        fitted.module.double()
    return estimator


def _unit(table: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-table / [1, 10, 100, 1, 1, 1, 1]))


# Estimators, what they are fitted to, and new rows
def counts(n_rows: int, seed: int) -> np.ndarray:
    """Small integers, among which many rows are equally near; none but of the first seed is one of the first seed's table."""
    rows = np.random.default_rng(seed).integers(0, 5, (2 * n_rows, 6)).astype(np.float64)
    if seed:
        known = {tuple(row) for row in counts(300, 0)}
        rows = np.array([row for row in rows if tuple(row) not in known])
    return rows[:n_rows]


def categories(n_rows: int, seed: int) -> pd.DataFrame:
    """The same as text."""
    return pd.DataFrame(counts(n_rows, seed)).add_prefix("c").astype(str)


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[int, int], Any]]] = {
    "plain": (lambda: AutoencoderTransformer(2, activation="tanh", **SMALL), numbers),
    "float32, holes": (
        lambda: AutoencoderTransformer(2, **SMALL),
        lambda n, seed: with_holes(numbers(n, seed).astype(np.float32), seed),
    ),
    "linear, unscaled": (
        lambda: AutoencoderTransformer(2, standardize=False, hidden_layer_sizes=(), random_state=0),
        lambda n, seed: with_holes(numbers(n, seed), seed),
    ),
    "robust": (lambda: AutoencoderTransformer(2, standardize="robust", activation="silu", **SMALL), numbers),
    "quantile": (
        lambda: AutoencoderTransformer(2, standardize="quantile", activation="relu", **SMALL),
        lambda n, seed: with_holes(numbers(n, seed), seed),
    ),
    "bernoulli": (
        lambda: AutoencoderTransformer(2, likelihood="bernoulli", code_activation="logistic", **SMALL),
        lambda n, seed: _unit(numbers(n, seed)),
    ),
    "top-k": (lambda: AutoencoderTransformer(9, n_nonzero_coefs=3, **SMALL), numbers),
    "told level": (lambda: AutoencoderTransformer(2, corruption=DiffusionNoise(), **SMALL), numbers),
    "VAE": (
        lambda: VAETransformer(2, beta=0.7, n_importance_samples=32, **SMALL),
        lambda n, seed: with_holes(numbers(n, seed), seed),
    ),
    "frame": (lambda: AutoencoderTransformer(3, **SMALL), lambda n, seed: with_holes(frame(n, seed), seed)),
    "frame, VAE": (lambda: VAETransformer(3, n_importance_samples=16, **SMALL), frame),
    "detector": (lambda: AEAnomalyDetector(max_iter=1, random_state=0), lambda n, seed: with_holes(numbers(n, seed), seed)),
    "detector, categories": (
        lambda: AEAnomalyDetector(max_iter=1, random_state=0, contamination=0.05),
        categories,
    ),
    "detector, counts": (
        lambda: AEAnomalyDetector(max_iter=1, random_state=0),
        counts,
    ),
    "detector, frame with a clock": (lambda: AEAnomalyDetector(max_iter=1, random_state=0), frame),
}
ARE_MIXED = {"frame", "frame, VAE", "detector, categories", "detector, frame with a clock"}

ARE_ROUNDED = {*ARE_MIXED, "quantile"}


def fit(estimator: Any, table: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rare levels
        return estimator.fit(table)


@cache
def fitted(name: str) -> Any:
    make, table = SETTINGS[name]
    return fit(make(), table(300, 0))


def new_rows(name: str, n_rows: int = 1000) -> Any:
    return SETTINGS[name][1](n_rows, 1)


CASES = [
    pytest.param(name, method, id=f"{name}: {method}")
    for name in SETTINGS
    for method in METHODS[AEAnomalyDetector if "detector" in name else BaseAutoencoder]
    if method != "predict"
]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_models_agree_with_estimators(name: str, method: str) -> None:
    """Codes and cells of some are compared with exact ones, which rounding keeps the estimator from by more than 1e-5."""
    estimator, rows = fitted(name), new_rows(name)
    found, expected = run(estimator, method, rows), result(estimator, method, rows)
    if name not in ARE_ROUNDED or method in {"score_samples", "decision_function"}:
        assert distance(found, expected) <= (1e-4 if name in ARE_MIXED else 1e-5)
    else:
        exact = result(in_double(estimator), method, rows)
        assert distance(found, exact) <= max(1e-5, 5 * distance(expected, exact))  # each the worst of thousands of cells


@pytest.mark.parametrize(("name", "method"), CASES)
def test_models_agree_in_double_precision(name: str, method: str) -> None:
    """But for the error function, which is rounded to single."""
    estimator, rows = in_double(fitted(name)), new_rows(name, 200)
    assert distance(run(estimator, method, rows), result(estimator, method, rows)) <= 1e-6


@pytest.mark.parametrize("name", ["float32, holes", "frame", "detector", "detector, frame with a clock"])
def test_any_number_of_rows(name: str) -> None:
    estimator, rows = fitted(name), new_rows(name, 130)
    method = "score_samples" if "detector" in name else "transform"
    whole = run(estimator, method, rows)
    for batch in (1, 64):
        assert distance(run(estimator, method, rows, batch), whole) <= 1e-5


@pytest.mark.parametrize("name", ["detector", "detector, frame with a clock"])
def test_labels_are_equal(name: str) -> None:
    estimator, rows = fitted(name), new_rows(name)
    labels = run(estimator, "predict", rows)[0].ravel()
    assert (labels == estimator.predict(rows)).all()
    assert set(labels) == {-1, 1}


@pytest.mark.parametrize("name", SETTINGS)
def test_models_are_valid(name: str) -> None:
    onnx.checker.check_model(to_onnx(fitted(name), "score_samples"), full_check=True)


def test_inputs_are_named_as_the_columns() -> None:
    inputs = {i.name: (i.type, tuple(i.shape)) for i in session_of(fitted("frame"), "transform").get_inputs()}
    assert inputs["town"] == ("tensor(string)", ("rows", 1))
    assert inputs["clock"] == ("tensor(int64)", ("rows", 1))
    assert {inputs[name] for name in ("age", "rain", "income", "flag", "size")} == {("tensor(double)", ("rows", 1))}
    notes = {i.name: i.doc_string for i in to_onnx(fitted("frame")).graph.input}
    assert notes["town"] == "category: text, '' if missing"
    assert notes["clock"].startswith("datetime: ticks of 1 s since 1970")


def test_tables_come_out_by_column_in_the_types_of_inputs() -> None:
    outputs = {o.name: o.type for o in session_of(fitted("frame"), "reconstruct").get_outputs()}
    assert outputs["town_reconstructed"] == "tensor(string)"
    assert outputs["day_reconstructed"] == "tensor(int64)"
    assert len(outputs) == 8


@pytest.mark.parametrize("name", ["frame", "detector, frame with a clock"])
def test_unknown_and_missing_text(name: str) -> None:
    estimator, rows = fitted(name), new_rows(name, 60)
    rows.loc[::3, "town"] = "Rome"
    rows.loc[::5, "town"] = None
    rows["size"] = rows["size"].cat.add_categories([9])
    rows.loc[::4, "size"] = 9
    assert distance(run(estimator, "score_samples", rows), result(estimator, "score_samples", rows)) <= 1e-4


def test_grouped_levels_are_one() -> None:
    estimator, rows = fitted("frame"), new_rows("frame", 1)
    town = schema_of(estimator).columns[3]
    rows = pd.concat([rows] * len(town.grouped), ignore_index=True)
    rows["town"] = town.grouped
    (codes,) = run(estimator, "transform", rows)
    assert len(town.grouped) > 2
    assert (codes == codes[0]).all()


def test_an_empty_text_may_be_a_level() -> None:
    X = pd.DataFrame({"town": ["", "Ulm"] * 30, "age": np.arange(60.0)})
    estimator = AutoencoderTransformer(1, **SMALL).fit(X)
    session = session_of(estimator, "transform")
    texts = np.array([["", "Ulm", "nan"]], dtype=object).T
    (codes,) = session.run(None, {"town": texts, "age": np.full((3, 1), 20.0)})
    rows = pd.DataFrame({"town": ["", "Ulm", None], "age": [20.0] * 3})
    np.testing.assert_allclose(codes, estimator.transform(rows), atol=1e-4)


def test_a_column_may_be_called_as_an_output() -> None:
    X = pd.DataFrame(numbers(60, 0)[:, :2], columns=["scores", "codes"])
    session = session_of(AutoencoderTransformer(1, **SMALL).fit(X), "transform")
    assert [o.name for o in session.get_outputs()] == ["codes_"]


def test_categories_in_arrays() -> None:
    X = numbers(300, 0)
    X[:, 3] = np.array([10, 20, 40])[np.digitize(X[:, 3], [-1, 1])]
    estimator = AutoencoderTransformer(2, categorical_features=[3], **SMALL).fit(X)
    X[::7, 3], X[::11, 3] = 30, np.nan
    for method in ("transform", "reconstruct", "score_samples"):
        assert distance(run(estimator, method, X), result(estimator, method, X)) <= 1e-4


def test_columns_without_a_cell_are_ignored() -> None:
    X = frame(100, 0)[["age", "income"]].assign(nothing=np.nan)
    estimator = AutoencoderTransformer(1, **SMALL).fit(X)
    assert distance(run(estimator, "transform", X), result(estimator, "transform", X)) <= 1e-5
    X = numbers(100, 0)
    X[:, 2] = np.nan
    estimator = AutoencoderTransformer(1, **SMALL).fit(X)
    X[:, 2] = 5.0
    assert distance(run(estimator, "reconstruct", X), result(estimator, "reconstruct", X)) <= 1e-5


def test_training_rows_are_scored_as_new() -> None:
    estimator = deepcopy(fitted("detector"))
    rows = SETTINGS["detector"][1](300, 0)
    known = estimator.score_samples(rows)
    training = estimator._oddness.training
    forgotten = replace(training, hashes=np.arange(len(training.hashes), dtype=training.hashes.dtype))
    estimator._oddness = replace(estimator._oddness, training=forgotten)
    found = run(estimator, "score_samples", rows)
    assert distance(found, [known[:, None]]) > 1e-2
    assert distance(found, result(estimator, "score_samples", rows)) <= 1e-5


@pytest.mark.parametrize("table", [numbers, frame])
def test_imputer(table: Callable[[int, int], Any]) -> None:
    estimator = fit(AutoencoderImputer(**SMALL), with_holes(table(300, 0), 0))
    rows = with_holes(table(200, 1), 1)
    if table is frame:
        rows.loc[3, "town"] = "Rome"  # which stays
    assert distance(run(estimator, "transform", rows), result(estimator, "transform", rows)) <= 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pipelines(dtype: Any) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    X = numbers(300, 0).astype(dtype)
    y = (X[:, 0] > 0).astype(int)
    register_onnx_converters()
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(2, **SMALL), LogisticRegression()).fit(X, y)
    model = skl2onnx.to_onnx(pipeline, X[:1], options={"zipmap": False})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    labels, probabilities = session.run(None, {"X": X})
    assert (labels == pipeline.predict(X)).all()
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_detectors_in_pipelines(dtype: Any) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    X, new = numbers(300, 0).astype(dtype), numbers(200, 1).astype(dtype)
    register_onnx_converters()
    pipeline = make_pipeline(StandardScaler(), AEAnomalyDetector(max_iter=1, random_state=0)).fit(X)
    session = onnxruntime.InferenceSession(skl2onnx.to_onnx(pipeline, X[:1]).SerializeToString())
    assert [o.name for o in session.get_outputs()] == ["label", "scores"]
    labels, scores = session.run(None, {"X": new})
    assert scores.dtype == dtype
    assert distance([scores], result(pipeline, "decision_function", new)) <= 1e-5
    assert (labels.ravel() == pipeline.predict(new)).all()


def test_frames_in_pipelines() -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    X = frame(300, 0)[["age", "town", "size", "rain"]].astype({"size": np.int64})
    estimator = fit(AutoencoderTransformer(2, **SMALL), X)
    register_onnx_converters()
    model = skl2onnx.to_onnx(make_pipeline(estimator), X[:1])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    given = {name: X[[name]].to_numpy(object if name == "town" else X[name].dtype) for name in X}
    assert distance(session.run(None, given), result(estimator, "transform", X)) <= 1e-4


# What is refused


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(ValueError, match=r"method='inverse_transform' of AutoencoderTransformer .* choose one of 'transform'"):
        to_onnx(fitted("plain"), "inverse_transform")


def test_other_estimators_are_refused() -> None:
    with pytest.raises(TypeError, match=r"estimator is a StandardScaler.*skl2onnx"):
        to_onnx(StandardScaler())


def test_errors_for_unknown_levels_are_refused() -> None:
    estimator = deepcopy(fitted("frame")).set_params(handle_unknown="error")
    with pytest.raises(ValueError, match=r"handle_unknown='error' .*set_params\(handle_unknown='ignore'\)"):
        to_onnx(estimator)


def test_draws_are_refused() -> None:
    estimator = AutoencoderImputer(sample_posterior=True, **SMALL).fit(with_holes(numbers(100, 0), 0))
    with pytest.raises(NotImplementedError, match="sample_posterior=True"):
        to_onnx(estimator)


def test_other_marks_of_missing_cells_are_refused() -> None:
    rows = np.where(np.isnan(numbers(60, 0)), -9.0, numbers(60, 0))
    estimator = AutoencoderImputer(missing_values=-9.0, **SMALL).fit(rows)
    with pytest.raises(NotImplementedError, match=r"missing_values=-9.0 .* set missing_values=np.nan and fit again"):
        to_onnx(estimator)


def test_levels_that_are_no_text_are_refused() -> None:
    X = pd.DataFrame({"day": pd.Categorical(pd.to_datetime(["2020-01-01", "2020-01-02"] * 30)), "age": np.arange(60.0)})
    with pytest.raises(NotImplementedError, match=r"Column 'day' holds the category .* convert the column to strings"):
        to_onnx(AutoencoderTransformer(1, **SMALL).fit(X))


def test_unknown_pieces_are_refused_by_name() -> None:
    class Poisson(Likelihood):
        pass

    class Noisy(Bottleneck):
        pass

    x = Graph().input("X", np.float32)
    with pytest.raises(NotImplementedError, match="likelihood Poisson"):
        likelihoods.mean(Poisson(1), x)
    with pytest.raises(NotImplementedError, match="likelihood Poisson"):
        likelihoods.log_prob(Poisson(1), x, x)
    with pytest.raises(NotImplementedError, match="bottleneck Noisy"):
        code_of(Noisy(), x, 1)
    with pytest.raises(NotImplementedError, match="activation='mish'"):
        networks.activated("mish", x)


@pytest.mark.parametrize("package", ["onnx", "skl2onnx"])
def test_missing_packages_are_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}, which is not installed; run `pip install skvae\[onnx\]`"):
        register_onnx_converters()


# Pieces


def _computed(graph: Graph, value: Any, **arrays: np.ndarray) -> np.ndarray:
    from skvae._export.onnx_models import model_of
    from skvae._export.tables import Port

    ports = [Port(name, array.dtype, array.shape[1]) for name, array in arrays.items()]
    model = model_of(graph, ports, {"result": value}, "test")
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, arrays)[0]


@pytest.mark.parametrize("inclusive", [True, False])
def test_count_below_is_searchsorted(inclusive: bool) -> None:
    rng = np.random.default_rng(0)
    columns = [np.sort(rng.integers(0, 9, n).astype(float)) for n in (0, 1, 5, 8, 100)]
    X, graph = rng.integers(-1, 11, (50, 5)).astype(float), Graph()
    found = _computed(graph, count_below(columns, graph.input("X", np.float64), inclusive), X=X)
    side = "right" if inclusive else "left"
    expected = [np.searchsorted(column, cells, side) for column, cells in zip(columns, X.T, strict=True)]
    assert (found == np.transpose(expected)).all()


@pytest.mark.parametrize("n", [1, 2, 32])
def test_systems_are_solved(n: int) -> None:
    rng = np.random.default_rng(0)
    roots, right = rng.normal(size=(20, n, n)), rng.normal(size=(20, n))
    matrices = roots @ roots.swapaxes(1, 2) + np.eye(n)
    graph = Graph()
    left = graph.input("left", np.float64).reshape(-1, n, n)
    value = solved(left, graph.input("right", np.float64).expand_dims(2), n)
    found = _computed(graph, value, left=matrices.reshape(20, -1), right=right)
    np.testing.assert_allclose(found, np.linalg.solve(matrices, right[:, :, None])[:, :, 0], rtol=1e-9)


def test_every_activation_has_operators() -> None:
    from skvae.core.networks import ACTIVATIONS

    X = np.linspace(-5, 5, 21, dtype=np.float32)[:, None]
    for name, function in ACTIVATIONS.items():
        graph = Graph()
        found = _computed(graph, networks.activated(name, graph.input("X", np.float32)), X=X)
        np.testing.assert_allclose(found, function(torch.from_numpy(X)).numpy(), atol=1e-6)
