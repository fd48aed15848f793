"""What must be refused, with a message that helps and an earlier fit intact; and what must not."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError

from skvae import (
    L1,
    AEAnomalyDetector,
    AutoencoderImputer,
    AutoencoderTransformer,
    Contractive,
    DiffusionNoise,
    Masking,
    VAETransformer,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
HOLES = np.where(np.eye(30, 4, dtype=bool), np.nan, X)
QUICK = {"hidden_layer_sizes": (4,), "max_iter": 5, "random_state": 0}
OF_DETECTOR = ["score_samples", "decision_function", "predict", "p_values", "explain"]
APPLIED = ["transform", "reconstruct", "score_samples", "score", "reconstruction_error"]

TABLES = {
    "array": lambda values: values,
    "pandas": lambda values: pd.DataFrame(values, columns=list("abcd")),
    "polars": lambda values: pl.DataFrame(values, schema=list("abcd")),
}
COLUMN_1 = {"array": "column 1", "pandas": "'b'", "polars": "'b'"}

# Five epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def fits():
    return {kind: AutoencoderTransformer(2, **QUICK).fit(table(X)) for kind, table in TABLES.items()}


@pytest.fixture
def estimator(fits):
    params = fits["array"].get_params()
    yield fits["array"]
    fits["array"].set_params(**params)


@pytest.fixture(scope="module")
def vae_fits():
    return {kind: VAETransformer(2, **QUICK).fit(table(X)) for kind, table in TABLES.items()}


@pytest.fixture
def vae(vae_fits):
    params = vae_fits["array"].get_params()
    yield vae_fits["array"]
    vae_fits["array"].set_params(**params)


@pytest.fixture(scope="module")
def imputer_fit():
    return AutoencoderImputer(**QUICK).fit(HOLES)


@pytest.fixture
def imputer(imputer_fit):
    params = imputer_fit.get_params()
    yield imputer_fit
    imputer_fit.set_params(**params)


@pytest.fixture(scope="module")
def detector_fits():
    return {kind: AEAnomalyDetector(2, cv=2, **QUICK).fit(table(X)) for kind, table in TABLES.items()}


@pytest.fixture
def detector(detector_fits):
    params = detector_fits["array"].get_params()
    yield detector_fits["array"]
    detector_fits["array"].set_params(**params)


def assert_refused(estimator, rows, call, *words):
    """The call fails with every one of the words in its message, and the estimator is what it was."""
    state = {name: value for name, value in vars(estimator).items() if name not in estimator.get_params()}
    codes, rows_again = np.asarray(estimator.transform(rows)), np.asarray(estimator.reconstruct(rows))
    with pytest.raises((TypeError, ValueError, ArithmeticError)) as caught:
        call()
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    after = {name: value for name, value in vars(estimator).items() if name not in estimator.get_params()}
    assert after.keys() == state.keys()
    assert all(after[name] is state[name] for name in state)
    np.testing.assert_array_equal(np.asarray(estimator.transform(rows)), codes)
    np.testing.assert_array_equal(np.asarray(estimator.reconstruct(rows)), rows_again)


def assert_refused_by_detector(detector, rows, call, *words):
    """The same for a detector."""
    state = {name: value for name, value in vars(detector).items() if name not in detector.get_params()}
    scores, p = detector.score_samples(rows), detector.p_values(rows)
    with pytest.raises((TypeError, ValueError, ArithmeticError)) as caught:
        call()
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    after = {name: value for name, value in vars(detector).items() if name not in detector.get_params()}
    assert after.keys() == state.keys()
    assert all(after[name] is state[name] for name in state)
    np.testing.assert_array_equal(detector.score_samples(rows), scores)
    np.testing.assert_array_equal(detector.p_values(rows), p)


# Refused tables


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("method", ["fit", "fit_transform", "impute", "score_cells", *APPLIED])
@pytest.mark.parametrize("kind", TABLES)
def test_infinity(fits, kind, method, value):
    values = X.copy()
    values[3, 1] = value
    call = getattr(fits[kind], method)
    words = ["X contains infinity", COLUMN_1[kind], "row 3", "replace infinities"]
    assert_refused(fits[kind], TABLES[kind](X), lambda: call(TABLES[kind](values)), *words)


@pytest.mark.parametrize("method", ["fit", "fit_predict", *OF_DETECTOR])
@pytest.mark.parametrize("kind", TABLES)
def test_infinity_for_a_detector(detector_fits, kind, method):
    values = X.copy()
    values[3, 1] = np.inf
    detector, table = detector_fits[kind], TABLES[kind]
    words = ["X contains infinity", COLUMN_1[kind], "row 3", "replace infinities"]
    assert_refused_by_detector(detector, table(X), lambda: getattr(detector, method)(table(values)), *words)


@pytest.mark.parametrize("method", ["fit", "transform"])
@pytest.mark.parametrize("dtype", ["Float64", "double[pyarrow]"])
def test_infinity_of_a_nullable_column(fits, dtype, method):
    frame = TABLES["pandas"](X).assign(b=pd.array([1.5, pd.NA, np.inf] * 10, dtype=dtype))
    call = getattr(fits["pandas"], method)
    assert_refused(fits["pandas"], TABLES["pandas"](X), lambda: call(frame), "infinity", "'b'", "row 2", "replace infinities")


def test_infinity_beside_null_of_polars(fits):
    frame = TABLES["polars"](X).with_columns(b=pl.Series([1.5, None, np.inf] * 10))
    words = ["infinity", "'b'", "row 2", "replace infinities"]
    assert_refused(fits["polars"], TABLES["polars"](X), lambda: fits["polars"].fit(frame), *words)


@pytest.mark.parametrize("method", ["posterior", "elbo", "score_samples", "interpolate", "impute"])
@pytest.mark.parametrize("kind", TABLES)
def test_infinity_for_a_vae(vae_fits, kind, method):
    values = X.copy()
    values[3, 1] = np.inf
    good, bad = TABLES[kind](X), TABLES[kind](values)
    arguments = (good, bad) if method == "interpolate" else (bad,)
    call = getattr(vae_fits[kind], method)
    words = ["infinity", COLUMN_1[kind], "row 3", "replace infinities"]
    assert_refused(vae_fits[kind], good, lambda: call(*arguments), *words)


@pytest.mark.parametrize("method", ["transform", "reconstruct", "score_samples", "score", "reconstruction_error", "impute"])
@pytest.mark.parametrize("kind", TABLES)
def test_missing_cell_of_a_fit_on_a_complete_table(fits, vae_fits, kind, method):
    values = X.copy()
    values[3, 1] = np.nan
    for estimator in [fits[kind], vae_fits[kind]]:
        assert np.isfinite(np.asarray(getattr(estimator, method)(TABLES[kind](values)), dtype=float)).all()


TEXT = {
    "array": np.column_stack([X.astype(object)[:, :1], ["blue"] * 30, X[:, 2:]]),
    "pandas": TABLES["pandas"](X).assign(b="blue"),
    "polars": TABLES["polars"](X).with_columns(b=pl.lit("blue")),
}


@pytest.mark.parametrize("method", APPLIED)
@pytest.mark.parametrize("kind", TABLES)
def test_text(fits, kind, method):
    words = ["column 1", "Arrays hold numbers only"] if kind == "array" else ["Column 'b'", "at fit it was a number", "convert"]
    assert_refused(fits[kind], TABLES[kind](X), lambda: getattr(fits[kind], method)(TEXT[kind]), *words)


@pytest.mark.parametrize("method", OF_DETECTOR)
@pytest.mark.parametrize("kind", TABLES)
def test_text_for_a_detector(detector_fits, kind, method):
    words = ["column 1", "Arrays hold numbers only"] if kind == "array" else ["Column 'b'", "at fit it was a number", "convert"]
    detector = detector_fits[kind]
    assert_refused_by_detector(detector, TABLES[kind](X), lambda: getattr(detector, method)(TEXT[kind]), *words)


def test_text_of_arrays_at_fit(fits):
    words = ["could not convert", "column 1", "Arrays hold numbers only", "data frame", "drop"]
    assert_refused(fits["array"], X, lambda: fits["array"].fit(TEXT["array"]), *words)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        pytest.param(X + 1j, ["omplex"], id="complex"),
        pytest.param(X[0], ["1D", "reshape"], id="1-D"),
        pytest.param(X[None], ["dim"], id="3-D"),
        pytest.param(X[:0], ["0 sample"], id="no rows"),
        pytest.param(X[:, :0], ["0 feature"], id="no columns"),
        pytest.param([], ["1D"], id="empty list"),
        pytest.param(X[:1], ["1 sample", "minimum of 2"], id="one row"),
    ],
)
def test_shape(estimator, detector, table, words):
    assert_refused(estimator, X, lambda: estimator.fit(table), *words)
    assert_refused_by_detector(detector, X, lambda: detector.fit(table), *words)


@pytest.mark.parametrize("method", APPLIED)
def test_wrong_number_of_columns(estimator, method):
    assert_refused(estimator, X, lambda: getattr(estimator, method)(X[:, :3]), "3 features", "4 features")


@pytest.mark.parametrize("method", OF_DETECTOR)
def test_wrong_number_of_columns_for_a_detector(detector, method):
    words = ["3 features", "4 features"]
    assert_refused_by_detector(detector, X, lambda: getattr(detector, method)(X[:, :3]), *words)


@pytest.mark.parametrize("method", OF_DETECTOR)
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_other_columns_for_a_detector(detector_fits, kind, method):
    detector, table = detector_fits[kind], TABLES[kind](X)
    renamed = table.rename(**({"columns": {"b": "z"}} if kind == "pandas" else {"mapping": {"b": "z"}}))
    call = getattr(detector, method)
    assert_refused_by_detector(detector, table, lambda: call(renamed), "- z", "- b")
    assert_refused_by_detector(detector, table, lambda: call(table[list("bacd")]), "order")


def test_codes_of_wrong_size(estimator):
    assert_refused(estimator, X, lambda: estimator.inverse_transform(X), "4", "2", "transform")


@pytest.mark.parametrize("method", APPLIED)
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_other_columns(fits, kind, method):
    renamed = TABLES[kind](X).rename(**({"columns": {"b": "z"}} if kind == "pandas" else {"mapping": {"b": "z"}}))
    call = getattr(fits[kind], method)
    assert_refused(fits[kind], TABLES[kind](X), lambda: call(renamed), "- z", "- b")
    assert_refused(fits[kind], TABLES[kind](X), lambda: call(TABLES[kind](X)[list("bacd")]), "order")


@pytest.mark.parametrize("method", [*APPLIED, "inverse_transform"])
def test_before_fit(method):
    with pytest.raises(NotFittedError, match="fit"):
        getattr(AutoencoderTransformer(), method)(X)


@pytest.mark.parametrize(
    ("method", "arguments"), [("posterior", (X,)), ("elbo", (X,)), ("score", (X,)), ("sample", ()), ("interpolate", (X, X))]
)
def test_before_fit_of_a_vae(method, arguments):
    with pytest.raises(NotFittedError, match="fit"):
        getattr(VAETransformer(), method)(*arguments)


@pytest.mark.parametrize(
    ("method", "table"),
    [
        *((method, np.where(X > 2, np.inf, X)) for method in ["fit", *OF_DETECTOR]),
        *((method, X[:, :3]) for method in OF_DETECTOR),
        ("fit", X[:1]),
    ],
)
def test_messages_of_a_detector_name_none_of_its_models(detector, method, table):
    with pytest.raises(ValueError, match="AEAnomalyDetector") as caught:
        getattr(detector, method)(table)
    assert "Member" not in str(caught.value)


@pytest.mark.parametrize("method", OF_DETECTOR)
def test_before_fit_of_a_detector(method):
    with pytest.raises(NotFittedError, match=r"AEAnomalyDetector .*fit"):
        getattr(AEAnomalyDetector(), method)(X)


def test_names_before_fit():
    with pytest.raises(NotFittedError, match="fit"):
        AutoencoderTransformer().get_feature_names_out()


# Refused parameters

WIDTHS = [(0,), (8, -2), ("8",), (4.5,), (None,), "8"]
REFUSED = {
    "n_components": [0, -1, math.nan, 1.0, 1.5, "a", None],
    "hidden_layer_sizes": [*WIDTHS, None],
    "decoder_layer_sizes": WIDTHS,
    "activation": ["swish", None],
    "init": ["zeros"],
    "standardize": ["yes"],
    "likelihood": ["poisson"],
    "categorical_features": ["auto", "a", 0, 2.5, [0, "a"], [1.5]],
    "handle_unknown": ["infrequent", None, True],
    "corruption": ["noise", 0.1, L1(), (Masking(),), Masking],
    "corruption_level": [-0.1, math.nan, math.inf, "a", None],
    "penalty": ["l3", 0.1, Masking(), [L1()], ("l1",), (L1(), None), L1],
    "penalty_weight": [-0.1, math.nan, math.inf, "a", None],
    "code_activation": ["swish", None],
    "n_nonzero_coefs": [0, -1, 2.5, 3, "a"],
    "weight_decay": [-1.0, math.nan],
    "learning_rate": ["step"],
    "learning_rate_init": [0, -1e-3, math.nan],
    "batch_size": [0, 2.5, "all"],
    "max_iter": [0, 2.5, "all"],
    "tol": [-1.0],
    "early_stopping": ["yes"],
    "validation_fraction": [0.0, 1.0, 1.5],
    "n_iter_no_change": [0, "all"],
    "shuffle": ["yes"],
    "warm_start": ["yes"],
    "random_state": [-1, "a"],
    "device": ["nonsense", "cuda:99", "meta", 0],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_parameter(estimator, name, value):
    estimator.set_params(**{name: value})
    assert_refused(estimator, X, lambda: estimator.fit(X), name, repr(value))


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [("activation", "swish", "silu"), ("device", "nonsense", "auto"), ("device", "cuda:99", "auto"), ("init", "zeros", "pca")],
)
def test_parameter_names_what_there_is(estimator, name, value, remedy):
    estimator.set_params(**{name: value})
    assert_refused(estimator, X, lambda: estimator.fit(X), name, value, remedy)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("array", [4], ["holds 4", "0 to 3"]),
        ("array", [-1], ["holds -1", "0 to 3"]),
        ("array", ["a"], ["holds 'a'", "indices"]),
        ("array", [True, False], ["mask of 2", "has 4"]),
        ("pandas", ["a", "z"], ["holds 'z'", "columns of X are a, b, c, d"]),
        ("polars", ["z"], ["holds 'z'", "columns of X are a, b, c, d"]),
        ("polars", [4], ["holds 4", "0 to 3"]),
    ],
)
def test_categorical_features_that_are_not_there(fits, kind, value, words):
    estimator, table = clone(fits[kind]).fit(TABLES[kind](X)), TABLES[kind](X)
    estimator.set_params(categorical_features=value)
    assert_refused(estimator, table, lambda: estimator.fit(table), "categorical_features", *words)


REFUSED_BY_VAE = {
    "beta": [-1, -1e-9, math.nan, math.inf, "a", None],
    "beta_warmup": [-1, 2.5, None],
    "n_importance_samples": [0, -1, 2.5, None],
    "likelihood": ["foo", None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED_BY_VAE.items() for value in values])
def test_parameter_of_a_vae(vae, name, value):
    vae.set_params(**{name: value})
    assert_refused(vae, X, lambda: vae.fit(X), name, repr(value))


REFUSED_BY_IMPUTER = {
    "n_components": [0, -1, 0.5, "a"],
    "sample_posterior": ["yes", None],
    "add_indicator": ["yes", None],
    **{
        name: REFUSED[name]
        for name in (
            "hidden_layer_sizes",
            "activation",
            "categorical_features",
            "handle_unknown",
            "weight_decay",
            "learning_rate_init",
            "batch_size",
            "max_iter",
            "early_stopping",
            "validation_fraction",
            "random_state",
            "device",
        )
    },
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED_BY_IMPUTER.items() for value in values])
def test_parameter_of_an_imputer(imputer, name, value):
    state = {name: value for name, value in vars(imputer).items() if name not in imputer.get_params()}
    imputer.set_params(**{name: value})
    with pytest.raises((TypeError, ValueError)) as caught:
        imputer.fit(HOLES)
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert all(vars(imputer)[name] is state[name] for name in state)


REFUSED_BY_DETECTOR = {
    **{name: values for name, values in REFUSED.items() if name != "warm_start"},
    "n_components": [0, -1, math.nan, 1.0, 1.5, "a", None],
    "contamination": [0, -0.1, 0.51, 1, math.nan, "auto", None],
    "support_fraction": [0, -0.1, 1.01, math.nan, "auto", None],
    "variational": ["yes", None, 2],
    "cv": [1, 0, -1, 2.5, math.nan, "all", None],
    "early_stopping": ["yes", None, 2],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED_BY_DETECTOR.items() for value in values])
def test_parameter_of_a_detector(detector, name, value):
    detector.set_params(**{name: value})
    assert_refused_by_detector(detector, X, lambda: detector.fit(X), name, repr(value))


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("contamination", 0.6, "(0.0, 0.5]"),
        ("support_fraction", 0, "(0.0, 1.0]"),
        ("cv", 1, "[2, inf)"),
        ("cv", "all", "auto"),
        ("activation", "swish", "silu"),
        ("hidden_layer_sizes", (8, -2), "positive integers"),
        ("hidden_layer_sizes", "deep", "auto"),
        ("device", "nonsense", "auto"),
        ("init", "zeros", "pca"),
        ("n_nonzero_coefs", 3, "n_components"),
        ("max_iter", "all", "auto"),
    ],
)
def test_parameter_of_a_detector_names_what_there_is(detector, name, value, remedy):
    detector.set_params(**{name: value})
    assert_refused_by_detector(detector, X, lambda: detector.fit(X), name, repr(value), remedy)


@pytest.mark.parametrize("level", [(0.0, 1.0), (1.0, 0.5), 0.3])
def test_nested_parameter_of_a_detector(detector, level):
    detector.set_params(corruption=DiffusionNoise())
    call = detector.set_params
    assert_refused_by_detector(
        detector, X, lambda: call(corruption__level=level), "DiffusionNoise", repr(level), "lowest first"
    )


@pytest.mark.parametrize("kind", TABLES)
def test_categorical_features_that_are_not_there_for_a_detector(detector_fits, kind):
    detector, table = detector_fits[kind], TABLES[kind](X)
    detector.set_params(categorical_features=[4])
    try:
        words = ["categorical_features", "holds 4", "0 to 3"]
        assert_refused_by_detector(detector, table, lambda: detector.fit(table), *words)
    finally:
        detector.set_params(categorical_features="from_dtype")


def test_cells_that_a_detector_cannot_score():
    good = np.abs(np.sin(X))
    detector = AEAnomalyDetector(2, cv=2, likelihood="bernoulli", **QUICK).fit(good)
    bad = np.where((np.arange(30)[:, None] == 3) & (np.arange(4) == 1), 1.5, good)
    for method in ["fit", *OF_DETECTOR]:
        call = getattr(detector, method)
        words = ["bernoulli", "column 1", "row 3", "1.5", "[0, 1]", "MinMaxScaler"]
        assert_refused_by_detector(detector, good, lambda call=call: call(bad), *words)


@pytest.mark.parametrize("variational", [False, True])
def test_diverging_training_of_a_detector(detector, variational):
    detector.set_params(variational=variational, init="random", learning_rate_init=1e6, early_stopping=False, max_iter=300)
    assert_refused_by_detector(detector, X, lambda: detector.fit(X), "learning_rate_init")


def test_every_parameter_can_be_refused():
    assert REFUSED_BY_DETECTOR.keys() | {"verbose"} == AEAnomalyDetector().get_params().keys()
    assert REFUSED_BY_IMPUTER.keys() | {"verbose"} == AutoencoderImputer().get_params().keys()
    assert REFUSED.keys() | {"verbose"} == AutoencoderTransformer().get_params().keys()
    assert REFUSED.keys() | REFUSED_BY_VAE.keys() | {"verbose"} == VAETransformer().get_params().keys()


@pytest.mark.parametrize("value", [0, -1, 2.5, "a", None])
def test_numbers_of_rows_to_make(vae, value):
    assert_refused(vae, X, lambda: vae.sample(value), "n_samples", repr(value), "at least 1")
    assert_refused(vae, X, lambda: vae.interpolate(X[:1], X[1:2], value), "n_steps", repr(value), "at least 2")


def test_one_step_is_no_line(vae):
    assert_refused(vae, X, lambda: vae.interpolate(X[:1], X[1:2], 1), "n_steps", "1", "at least 2")


def test_ends_of_lines_that_do_not_match(vae):
    assert_refused(vae, X, lambda: vae.interpolate(X[:2], X[2:5]), "X_start", "2", "X_end", "3")
    assert_refused(vae, X, lambda: vae.interpolate(X[:2], X[2:4, :3]), "3 features", "4 features")


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_cuda_without_cuda(estimator):
    estimator.set_params(device="cuda")
    assert_refused(estimator, X, lambda: estimator.fit(X), "device", "cuda", "not available", "cpu")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        pytest.param([1.0] * 29 + [-2.0], ["egative", "-2"], id="negative"),
        pytest.param([0.0] * 30, ["zero"], id="all zero"),
        pytest.param([1.0] * 29, ["29", "30"], id="too few"),
        pytest.param([1.0] * 29 + [math.nan], ["NaN"], id="NaN"),
        pytest.param([[1.0, 2.0]] * 30, [], id="two columns"),
        pytest.param(["a"] * 30, [], id="text"),
    ],
)
@pytest.mark.parametrize("name", ["sample_weight", "sample_weight_val"])
def test_weights(estimator, name, weights, words):
    arguments = {name: weights} | ({"X_val": X} if name.endswith("val") else {})
    assert_refused(estimator, X, lambda: estimator.fit(X, **arguments), f"{name}", *words)


def test_weights_of_held_out_rows_that_are_not_there(estimator):
    assert_refused(estimator, X, lambda: estimator.fit(X, sample_weight_val=np.ones(30)), "sample_weight_val", "X_val")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param(X[:, :3], ["3 features", "4 features"], id="columns"),
        pytest.param(np.where(np.arange(4) == 1, np.inf, X), ["X_val", "infinity", "column 1", "row 0"], id="infinity"),
        pytest.param(X[:0], ["0 sample"], id="no rows"),
    ],
)
def test_held_out_rows(estimator, values, words):
    assert_refused(estimator, X, lambda: estimator.fit(X, X_val=values), *words)


def test_held_out_rows_with_other_names(fits):
    frame = TABLES["pandas"](X)
    assert_refused(
        fits["pandas"], frame, lambda: fits["pandas"].fit(frame, X_val=frame.rename(columns={"b": "z"})), "- z", "- b"
    )


def test_held_out_rows_that_nothing_reads(estimator):
    estimator.set_params(early_stopping=False)
    assert_refused(estimator, X, lambda: estimator.fit(X, X_val=X), "X_val", "early_stopping=False", "'auto'")


@pytest.mark.parametrize("value", [-0.25, 1.5])
@pytest.mark.parametrize("kind", TABLES)
def test_cells_that_bernoulli_cannot_score(fits, kind, value):
    values = np.abs(np.sin(X))
    values[3, 1] = value
    table = TABLES[kind](values)
    estimator = fits[kind].set_params(likelihood="bernoulli")
    try:
        assert_refused(
            estimator, TABLES[kind](X), lambda: estimator.fit(table), "bernoulli", COLUMN_1[kind], f"{value:g}", "[0, 1]"
        )
    finally:
        estimator.set_params(likelihood="auto")


@pytest.mark.parametrize("value", [-0.25, 1.5])
@pytest.mark.parametrize("kind", TABLES)
def test_cells_that_the_bernoulli_likelihood_of_a_vae_cannot_score(kind, value):
    good = np.abs(np.sin(X))
    bad = good.copy()
    bad[3, 1] = value
    table, words = TABLES[kind](bad), ["bernoulli", COLUMN_1[kind], "row 3", f"{value:g}", "[0, 1]", "MinMaxScaler"]
    estimator = VAETransformer(2, **QUICK, likelihood="bernoulli").fit(TABLES[kind](good))
    for method in ["fit", "transform", "score_samples", "posterior", "elbo", "reconstruct"]:
        call = getattr(estimator, method)
        assert_refused(estimator, TABLES[kind](good), lambda call=call: call(table), *words)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag", "mse"])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (8,), (16, 16)])
def test_diverging_training_of_a_vae(vae, hidden_layer_sizes, likelihood):
    vae.set_params(hidden_layer_sizes=hidden_layer_sizes, likelihood=likelihood)
    vae.set_params(init="random", learning_rate_init=1e6, early_stopping=False, max_iter=300)
    assert_refused(vae, X, lambda: vae.fit(X), "learning_rate_init")


@pytest.mark.parametrize("hidden_layer_sizes", [(), (8,), (16, 16)])
def test_diverging_training(estimator, hidden_layer_sizes):
    estimator.set_params(
        hidden_layer_sizes=hidden_layer_sizes, init="random", learning_rate_init=1e6, early_stopping=False, max_iter=300
    )
    assert_refused(estimator, X, lambda: estimator.fit(X), "learning_rate_init")


@pytest.mark.parametrize(
    ("params", "columns", "word"),
    [({}, 3, "columns"), ({"n_components": 3}, 4, "n_components"), ({"hidden_layer_sizes": (5,)}, 4, "hidden")],
)
def test_warm_start_from_another_model(estimator, params, columns, word):
    estimator.set_params(warm_start=True, **params)
    assert_refused(estimator, X, lambda: estimator.fit(X[:, :columns]), "warm_start")


# Accepted tables

SETTINGS = {
    "default": (AutoencoderTransformer, {}),
    "unstandardized": (AutoencoderTransformer, {"standardize": False}),
    "random": (AutoencoderTransformer, {"init": "random"}),
    "no validation": (AutoencoderTransformer, {"early_stopping": False}),
    "linear": (AutoencoderTransformer, {"hidden_layer_sizes": ()}),
    "linear, random": (AutoencoderTransformer, {"hidden_layer_sizes": (), "init": "random", "early_stopping": True}),
    "denoising, contractive": (AutoencoderTransformer, {"corruption": "swap", "penalty": (L1(), Contractive())}),
    "top-k of a relu code": (
        AutoencoderTransformer,
        {"n_nonzero_coefs": 1, "code_activation": "relu", "corruption": "salt_and_pepper", "early_stopping": False},
    ),
    "rates": (AutoencoderTransformer, {"penalty": "kl_sparsity", "code_activation": "logistic", "hidden_layer_sizes": ()}),
    "vae": (VAETransformer, {}),
    "vae, denoising, contractive": (VAETransformer, {"corruption": "gaussian", "penalty": "contractive"}),
    "vae, random": (VAETransformer, {"init": "random", "early_stopping": False}),
    "vae, linear": (VAETransformer, {"hidden_layer_sizes": (), "likelihood": "gaussian_diag"}),
}
every_setting = pytest.mark.parametrize(("kind", "params"), SETTINGS.values(), ids=SETTINGS)


def fit_and_apply(table, params, n_components=2, kind=AutoencoderTransformer):
    """Everything that comes out has the right shape and is finite."""
    estimator = kind(n_components, **QUICK | params).fit(table)
    n_rows, n_columns = np.shape(table)
    codes, rows = estimator.transform(table), np.asarray(estimator.reconstruct(table), dtype=float)
    assert codes.shape == (n_rows, n_components)
    assert rows.shape == np.shape(estimator.inverse_transform(codes)) == (n_rows, n_columns)
    assert estimator.score_samples(table).shape == estimator.reconstruction_error(table).shape == (n_rows,)
    made = []
    if kind is VAETransformer:
        made = [*estimator.elbo(table), *estimator.posterior(table), np.asarray(estimator.sample(3), dtype=float)]
    for values in [codes, rows, estimator.score_samples(table), estimator.reconstruction_error(table), *made]:
        assert np.isfinite(values).all()
    return estimator


ACCEPTED = {
    "duplicated rows": np.repeat(X[:6], 5, axis=0),
    "collinear columns": X[:, [0, 0, 1, 1]],
    "2 rows": X[:2],
    "3 rows": X[:3],
    "9 rows": X[:9],
    "one column": X[:, :1],
    "Fortran order": np.asfortranarray(X),
    "every other row": X[::2],
    "float16": X.astype(np.float16),
    "float32": X.astype(np.float32),
    "integers": RNG.integers(-5, 5, size=(30, 4)),
    "unsigned": RNG.integers(0, 255, size=(30, 4), dtype=np.uint8),
    "booleans": RNG.random((30, 4)) < 0.5,
    "objects": X.astype(object),
    "list": X.tolist(),
    "huge": 1e30 * X,
    "tiny": 1e-30 * X,
    "huge beside tiny": X * [1e30, 1e-30, 1, 1],
    "huge beside tiny, float32": (X * [1e30, 1e-30, 1, 1]).astype(np.float32),
    "far from zero": 1e6 + X,
}


@every_setting
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name, kind, params):
    fit_and_apply(ACCEPTED[name], params, kind=kind)


@every_setting
def test_fewer_rows_than_components(kind, params):
    fit_and_apply(X[:3], params, n_components=7, kind=kind)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("name", ["2 rows", "3 rows", "one column", "float16", "integers", "huge", "tiny", "far from zero"])
def test_comes_back_right(name, standardize):
    table = ACCEPTED[name]
    k = np.shape(table)[1]
    estimator = fit_and_apply(table, {"hidden_layer_sizes": (), "standardize": standardize}, n_components=k)
    np.testing.assert_allclose(estimator.reconstruct(table), table, rtol=1e-6, atol=1e-6 * np.std(table, dtype=float))


def test_huge_beside_tiny_comes_back_right():
    table = ACCEPTED["huge beside tiny"]
    estimator = fit_and_apply(table, {"hidden_layer_sizes": ()}, n_components=4)
    np.testing.assert_allclose(estimator.reconstruct(table) / table.std(0), table / table.std(0), atol=1e-6)


@every_setting
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e30, 1e-30])
def test_constant_column_comes_back_exactly(kind, params, dtype, value):
    table = X.astype(dtype)
    table[:, 1] = value
    estimator = fit_and_apply(table, params, kind=kind)
    assert (estimator.reconstruct(table)[:, 1] == dtype(value)).all()
    assert (estimator.inverse_transform(10 * X[:, :2].astype(dtype))[:, 1] == dtype(value)).all()


@every_setting
def test_equal_rows_come_back_exactly(kind, params):
    table = np.tile([0.1, 1e30, 0.0, -3.0], (20, 1))
    np.testing.assert_array_equal(fit_and_apply(table, params, kind=kind).reconstruct(table), table)


def test_bits_do_not_depend_on_the_container(tmp_path: Path):
    expected = fit_and_apply(X, {}).transform(X)
    np.save(tmp_path / "X.npy", X)
    read_only = np.load(tmp_path / "X.npy", mmap_mode="r")
    for table in [np.asfortranarray(X), X.tolist(), read_only, X.astype(object)]:
        np.testing.assert_array_equal(fit_and_apply(table, {}).transform(X), expected)
    for kind in ["pandas", "polars"]:
        frame = TABLES[kind](X)
        np.testing.assert_array_equal(fit_and_apply(frame, {}).transform(frame), expected)


@pytest.mark.parametrize("sizes", [[4, 3], np.array([4, 3]), (np.int64(4), 3)], ids=["list", "array", "numpy integers"])
def test_kinds_of_layer_sizes(sizes):
    expected = fit_and_apply(X, {"hidden_layer_sizes": (4, 3), "decoder_layer_sizes": (4, 3)}).transform(X)
    codes = fit_and_apply(X, {"hidden_layer_sizes": sizes, "decoder_layer_sizes": sizes}).transform(X)
    np.testing.assert_array_equal(codes, expected)


COLUMNS = RNG.normal(size=(40, 3)) @ RNG.normal(size=(3, 4))
FRAMES = {
    "pandas": pd.DataFrame(10 * COLUMNS, columns=list("abcd")).astype({"a": "int64", "b": "int8", "c": "float32"}),
    "pandas, nullable": pd.DataFrame(10 * COLUMNS, columns=list("abcd"))
    .round()
    .astype({"a": "Int64", "b": "Int8", "c": "Float32", "d": "Float64"}),
    "polars": pl.DataFrame(10 * COLUMNS, schema=list("abcd")).cast({"a": pl.Int64, "b": pl.Int8, "c": pl.Float32}),
}
FRAMES["pandas, pyarrow"] = FRAMES["pandas, nullable"].astype(
    {"a": "int64[pyarrow]", "b": "int8[pyarrow]", "c": "float[pyarrow]", "d": "double[pyarrow]"}
)
FRAMES["pandas"]["flag"] = COLUMNS[:, 0] > 0
FRAMES["pandas, pyarrow"]["flag"] = pd.array(COLUMNS[:, 0] > 0, dtype="bool[pyarrow]")
FRAMES["pandas, nullable"]["flag"] = pd.array(COLUMNS[:, 0] > 0, dtype="boolean")
FRAMES["polars"] = FRAMES["polars"].with_columns(flag=pl.Series(COLUMNS[:, 0] > 0))


@every_setting
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_dtypes_of_frames_come_back(frame, kind, params):
    estimator = fit_and_apply(frame, params, kind=kind)
    for back in [estimator.reconstruct(frame), estimator.inverse_transform(estimator.transform(frame))]:
        assert type(back) is type(frame)
        assert list(back.columns) == list(frame.columns)
        assert list(back.dtypes) == list(frame.dtypes)


@pytest.mark.parametrize("kind", FRAMES)
def test_integers_come_back_exactly(kind):
    frame = FRAMES[kind][list("abcd")]
    back = fit_and_apply(frame, {"hidden_layer_sizes": ()}, n_components=4).reconstruct(frame)
    for name in ["a", "b"]:
        assert back[name].to_list() == frame[name].to_list()


@pytest.mark.parametrize("kind", FRAMES)
def test_booleans_mostly_come_back(kind):
    frame = FRAMES[kind]
    back = fit_and_apply(frame, {"max_iter": 50}, n_components=5).reconstruct(frame)["flag"]
    assert back.dtype == frame["flag"].dtype
    assert np.mean(back.to_numpy() == frame["flag"].to_numpy()) > 0.9


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_integers_stay_in_the_range_of_their_dtype(kind, dtype):
    values = pd.DataFrame(RNG.integers(0, 100, size=(30, 2)), columns=["a", "b"], dtype=dtype)
    estimator = AutoencoderTransformer(1, hidden_layer_sizes=()).fit(values if kind == "pandas" else pl.from_pandas(values))
    back = np.asarray(estimator.inverse_transform(np.array([[-1e4], [0.0], [1e4]]))).astype(float)
    limits = np.iinfo(dtype)
    np.testing.assert_array_equal(np.sort(back[[0, 2]], axis=0), [[limits.min] * 2, [limits.max] * 2])


def test_numbered_columns_come_back():
    frame = pd.DataFrame(X)
    pd.testing.assert_frame_equal(fit_and_apply(frame, {"hidden_layer_sizes": ()}, n_components=4).reconstruct(frame), frame)


@pytest.mark.parametrize("kind", TABLES)
def test_codes_as_a_list(fits, kind):
    codes = np.asarray(fits[kind].transform(TABLES[kind](X)))
    rows = fits[kind].inverse_transform(codes.tolist())
    np.testing.assert_array_equal(np.asarray(rows), np.asarray(fits[kind].inverse_transform(codes)))


def test_a_training_that_explodes_from_a_random_start_is_no_fit():
    estimator = VAETransformer(4, hidden_layer_sizes=(8,), init="random", learning_rate_init=10.0, max_iter=30, random_state=0)
    with pytest.raises(FloatingPointError, match="Lower learning_rate_init"):
        estimator.fit(load_wine().data)
