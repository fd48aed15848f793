"""What must be refused, with a message that helps and an earlier fit intact; and what must not."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError

from skvae import (
    L1,
    AEAnomalyDetector,
    AutoencoderImputer,
    AutoencoderTransformer,
    Contractive,
    DiffusionNoise,
    KLSparsity,
    Masking,
    SaltAndPepper,
    VAETransformer,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
UNIT = np.abs(np.sin(X))
HOLES = np.where(np.eye(30, 4, dtype=bool), np.nan, X)
QUICK = {"hidden_layer_sizes": (4,), "max_iter": 5, "random_state": 0}

TABLES = {
    "array": lambda values: values,
    "pandas": lambda values: pd.DataFrame(values, columns=list("abcd")),
    "polars": lambda values: pl.DataFrame(values, schema=list("abcd")),
}
COLUMN_1 = {"array": "column 1", "pandas": "'b'", "polars": "'b'"}
ESTIMATORS = {
    "autoencoder": AutoencoderTransformer(2, **QUICK),
    "vae": VAETransformer(2, **QUICK),
    "imputer": AutoencoderImputer(**QUICK),
    "detector": AEAnomalyDetector(2, cv=2, **QUICK),
}
METHODS = {
    "autoencoder": ["transform", "reconstruct", "score_samples", "score", "reconstruction_error", "impute", "score_cells"],
    "vae": ["posterior", "elbo", "score_samples", "impute"],
    "imputer": ["transform"],
    "detector": ["score_samples", "decision_function", "predict", "p_values", "explain"],
}
FITTING = [("autoencoder", "fit"), ("autoencoder", "fit_transform"), ("imputer", "fit"), ("detector", "fit_predict")]
APPLYING = [(name, method) for name, methods in METHODS.items() for method in methods]
OF_LIBRARIES = [(name, method) for name in ("autoencoder", "detector") for method in ("fit", "score_samples")]
each_method = pytest.mark.parametrize(("name", "method"), APPLYING)
each_library = pytest.mark.parametrize("library", TABLES)
each_frame = pytest.mark.parametrize("library", ["pandas", "polars"])
each_of_libraries = pytest.mark.parametrize(("name", "method"), OF_LIBRARIES)

# Five epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def fits():
    """Fitted estimators by name and library, each fitted when it is first asked for."""
    return {}


@pytest.fixture
def fitted(fits):
    """A function that gives the fitted estimator of a name; afterwards its parameters are what they were."""
    params = {}

    def of(name, library="array"):
        key = name, library
        if key not in fits:
            values = HOLES if name == "imputer" else X
            fits[key] = type(ESTIMATORS[name])(**ESTIMATORS[name].get_params()).fit(TABLES[library](values))
        params.setdefault(key, fits[key].get_params(deep=False))
        return fits[key]

    yield of
    for key, earlier in params.items():
        fits[key].set_params(**earlier)


@pytest.fixture
def estimator(fitted):
    return fitted("autoencoder")


@pytest.fixture
def vae(fitted):
    return fitted("vae")


@pytest.fixture
def detector(fitted):
    return fitted("detector")


def results(estimator, rows):
    methods = ["score_samples", "p_values"] if isinstance(estimator, AEAnomalyDetector) else ["transform"]
    return [np.asarray(getattr(estimator, method)(rows)) for method in methods]


def learned(estimator):
    return {name: value for name, value in vars(estimator).items() if name not in estimator.get_params()}


def assert_refused(estimator, rows, call, *words):
    """The call fails with every one of the words in its message, and the estimator is what it was."""
    state, before = learned(estimator), results(estimator, rows)
    with pytest.raises((TypeError, ValueError, ArithmeticError)) as caught:
        call()
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    after = learned(estimator)
    assert after.keys() == state.keys()
    assert all(after[name] is state[name] for name in state)
    for values, expected in zip(results(estimator, rows), before, strict=True):
        np.testing.assert_array_equal(values, expected)


def assert_method_refuses(estimator, library, method, bad, *words):
    """A method of an estimator that was fitted on X."""
    assert_refused(estimator, TABLES[library](X), lambda: getattr(estimator, method)(bad), *words)


def with_cell(value, row=3, column=1, values=X):
    table = values.copy()
    table[row, column] = value
    return table


# Refused tables


@pytest.mark.parametrize(("name", "method"), [*FITTING, *APPLYING])
def test_infinity(fitted, name, method):
    words = ["X contains infinity", "column 1", "row 3", "replace infinities"]
    assert_method_refuses(fitted(name), "array", method, with_cell(np.inf), *words)


@each_frame
@each_of_libraries
def test_infinity_in_frames(fitted, library, name, method):
    words = ["X contains infinity", "'b'", "row 3", "replace infinities"]
    assert_method_refuses(fitted(name, library), library, method, TABLES[library](with_cell(-np.inf)), *words)


@pytest.mark.parametrize("method", ["fit", "transform"])
@pytest.mark.parametrize("dtype", ["Float64", "double[pyarrow]"])
def test_infinity_of_a_nullable_column(fitted, dtype, method):
    frame = TABLES["pandas"](X).assign(b=pd.array([1.5, pd.NA, np.inf] * 10, dtype=dtype))
    words = ["infinity", "'b'", "row 2", "replace infinities"]
    assert_method_refuses(fitted("autoencoder", "pandas"), "pandas", method, frame, *words)


def test_infinity_beside_null_of_polars(fitted):
    frame = TABLES["polars"](X).with_columns(b=pl.Series([1.5, None, np.inf] * 10))
    words = ["infinity", "'b'", "row 2", "replace infinities"]
    assert_method_refuses(fitted("autoencoder", "polars"), "polars", "fit", frame, *words)


@pytest.mark.parametrize(("name", "method"), [("autoencoder", "fit"), *APPLYING])
def test_a_number_of_which_sums_are_infinite(fitted, name, method):
    words = ["1.5e+308", "too large", "column 1", "row 3", "replace"]
    assert_method_refuses(fitted(name), "array", method, with_cell(1.5e308), *words)


def test_infinity_at_the_end_of_a_line(vae):
    assert_refused(vae, X, lambda: vae.interpolate(X, with_cell(np.inf)), "infinity", "column 1", "row 3")


@pytest.mark.parametrize("name", ["autoencoder", "vae"])
def test_missing_cell_of_a_fit_on_a_complete_table(fitted, name):
    for method in METHODS[name]:
        made = getattr(fitted(name), method)(with_cell(np.nan))
        finite = np.isfinite(np.asarray(made, dtype=float))
        assert finite.all() if method != "score_cells" else (~finite).sum() == 1


@each_frame
def test_missing_cell_of_frames(fitted, library):
    codes = fitted("autoencoder", library).transform(TABLES[library](with_cell(np.nan)))
    assert np.isfinite(codes).all()


TEXT = {
    "array": np.column_stack([X.astype(object)[:, :1], ["blue"] * 30, X[:, 2:]]),
    "pandas": TABLES["pandas"](X).assign(b="blue"),
    "polars": TABLES["polars"](X).with_columns(b=pl.lit("blue")),
}


@each_method
def test_text(fitted, name, method):
    assert_method_refuses(fitted(name), "array", method, TEXT["array"], "column 1", "Arrays hold numbers only")


@each_frame
@pytest.mark.parametrize("name", ["autoencoder", "detector"])
def test_text_in_frames(fitted, library, name):
    words = ["Column 'b'", "at fit it was a number", "convert"]
    assert_method_refuses(fitted(name, library), library, "score_samples", TEXT[library], *words)


@pytest.mark.parametrize("cell", [pd.Timestamp("2024-01-01"), pd.Timedelta("1h"), [1, 2], {}, 1j], ids=str)
def test_objects_in_arrays(fitted, cell):
    table = X.astype(object)
    table[3, 1] = cell
    for method in ("fit", "score_samples"):
        assert_method_refuses(fitted("detector"), "array", method, table, "column 1", "Arrays hold numbers only")


def test_text_of_arrays_at_fit(estimator):
    words = ["could not convert", "column 1", "Arrays hold numbers only", "convert it to a frame", "drop"]
    assert_method_refuses(estimator, "array", "fit", TEXT["array"], *words)


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
def test_shape(fitted, table, words):
    for name in ["autoencoder", "imputer", "detector"]:
        assert_method_refuses(fitted(name), "array", "fit", table, *words)


@pytest.mark.parametrize("table", [3.0, X[0], X[None]], ids=["0-D", "1-D", "3-D"])
def test_shape_of_an_array_with_categories(estimator, table):
    estimator.set_params(categorical_features=[0])
    assert_refused(estimator, X, lambda: estimator.fit(table), f"X is an array of {np.ndim(table)} dimensions", "reshape")


@each_method
def test_wrong_number_of_columns(fitted, name, method):
    words = ["3 features", type(ESTIMATORS[name]).__name__, "4 features"]
    assert_method_refuses(fitted(name), "array", method, X[:, :3], *words)


@pytest.mark.parametrize(
    ("library", "name", "method"),
    [*(("pandas", *pair) for pair in APPLYING), *(("polars", name, methods[0]) for name, methods in METHODS.items())],
)
def test_other_columns(fitted, library, name, method):
    table, estimator = TABLES[library](X), fitted(name, library)
    renamed = table.rename(**({"columns": {"b": "z"}} if library == "pandas" else {"mapping": {"b": "z"}}))
    assert_method_refuses(estimator, library, method, renamed, "- z", "- b")
    assert_method_refuses(estimator, library, method, table[list("bacd")], "order")


def test_codes_of_wrong_size(estimator):
    assert_refused(estimator, X, lambda: estimator.inverse_transform(X), "4", "2", "transform")


@pytest.mark.parametrize(
    ("name", "method", "arguments"),
    [
        *((name, method, (X,)) for name, method in APPLYING),
        ("autoencoder", "inverse_transform", (X,)),
        ("autoencoder", "get_feature_names_out", ()),
        ("vae", "sample", ()),
        ("vae", "interpolate", (X, X)),
    ],
)
def test_before_fit(name, method, arguments):
    kind = type(ESTIMATORS[name])
    with pytest.raises(NotFittedError, match=rf"{kind.__name__} .*fit"):
        getattr(kind(), method)(*arguments)


# Refused parameters

WIDTHS = [(0,), (8, -2), ("8",), (4.5,), "8"]
REFUSED = {
    "n_components": [0, -1, math.nan, 1.0, 1.5, "a"],
    "hidden_layer_sizes": [*WIDTHS, None],
    "decoder_layer_sizes": WIDTHS,
    "activation": ["swish", None],
    "init": ["zeros"],
    "standardize": ["yes"],
    "likelihood": ["poisson"],
    "categorical_features": ["auto", 0, [0, "a"], [1.5]],
    "handle_unknown": ["infrequent", None],
    "corruption": ["noise", 0.1, L1(), (Masking(),), Masking],
    "penalty": ["l3", 0.1, Masking(), [L1()], ("l1",), (L1(), None), L1],
    "code_activation": ["swish", None],
    "n_nonzero_coefs": [0, 2.5, 3, "a"],
    "support_fraction": [0, 1.01, math.nan, "auto", None],
    "whiten": ["yes", None],
    "weight_decay": [-1.0, math.nan],
    "learning_rate": ["step"],
    "learning_rate_init": [0, -1e-3, math.nan],
    "batch_size": [0, 2.5, "all"],
    "max_iter": [0, 2.5, "all"],
    "tol": [-1.0],
    "early_stopping": ["yes"],
    "validation_fraction": [0.0, 1.0],
    "n_iter_no_change": [0, "all"],
    "shuffle": ["yes"],
    "warm_start": ["yes"],
    "random_state": [-1, "a"],
    "device": ["nonsense", "cuda:99", "meta", 0],
}
OF_VAE = {
    "beta": [-1e-9, math.nan, math.inf, "a", None],
    "beta_warmup": [-1, 2.5, None],
    "n_importance_samples": [0, 2.5, None],
    "likelihood": ["foo", None],
}
OF_IMPUTER = {
    "n_components": [0, 0.5, "a"],
    "n_estimators": [0, 1.5, None],
    "missing_values": [["?"], b"?"],
    "min_value": ["a"],
    "max_value": ["a"],
    "keep_empty_features": ["yes", None],
    "sample_posterior": ["yes", None],
    "add_indicator": ["yes", None],
}
OF_DETECTOR = {
    "n_components": [0, math.nan, 1.5, "a", None],
    "contamination": [0, -0.1, 0.51, math.nan, "all", None],
    "support_fraction": [0, -0.5, 1.5, math.nan, "all", None],
    "n_neighbors": [0, -1, 2.5, "auto", None],
    "max_samples": [1, 0, 2.5, "auto", None],
    "cv": [1, 2.5, math.nan, "all", None],
    "early_stopping": ["yes", None, 2],
    "max_iter": [0, 2.5, "all"],
    "hidden_layer_sizes": [(0,), (8, -2), "8", "deep"],
}


def refused_by(name, own):
    """Values of an estimator's own parameters, and one of each that it shares with the autoencoder."""
    shared = {key: values[:1] for key, values in REFUSED.items() if key in ESTIMATORS[name].get_params()}
    return [(name, key, value) for key, values in (shared | own).items() for value in values]


REFUSED_VALUES = [
    *refused_by("autoencoder", REFUSED),
    *(("vae", key, value) for key, values in OF_VAE.items() for value in values),
    *refused_by("imputer", OF_IMPUTER),
    *refused_by("detector", OF_DETECTOR),
]


@pytest.mark.parametrize(("name", "parameter", "value"), REFUSED_VALUES)
def test_parameter(fitted, name, parameter, value):
    estimator = fitted(name).set_params(**{parameter: value})
    assert_method_refuses(estimator, "array", "fit", HOLES if name == "imputer" else X, parameter, repr(value))


def test_every_parameter_can_be_refused():
    tried = {name: {key for of, key, _ in REFUSED_VALUES if of == name} for name in ESTIMATORS}
    tried["vae"] |= tried["autoencoder"]
    for name, estimator in ESTIMATORS.items():
        assert estimator.get_params().keys() - {"verbose"} <= tried[name]


@pytest.mark.parametrize(
    ("name", "parameter", "value", "remedy"),
    [
        ("autoencoder", "activation", "swish", "silu"),
        ("autoencoder", "device", "nonsense", "auto"),
        ("autoencoder", "device", "cuda:99", "auto"),
        ("autoencoder", "init", "zeros", "pca"),
        ("detector", "contamination", 0.6, "(0.0, 0.5]"),
        ("detector", "support_fraction", 0, "(0.0, 1.0]"),
        ("detector", "support_fraction", "all", "auto"),
        ("detector", "n_neighbors", 0, "[1, inf)"),
        ("detector", "max_samples", 1, "[2, inf)"),
        ("detector", "cv", 1, "[2, inf)"),
        ("detector", "cv", "all", "auto"),
        ("detector", "activation", "swish", "silu"),
        ("detector", "hidden_layer_sizes", (8, -2), "positive integers"),
        ("detector", "hidden_layer_sizes", "deep", "auto"),
        ("detector", "device", "nonsense", "auto"),
        ("detector", "init", "zeros", "pca"),
        ("detector", "n_nonzero_coefs", 3, "n_components"),
        ("detector", "max_iter", "all", "auto"),
    ],
)
def test_messages_name_what_there_is(fitted, name, parameter, value, remedy):
    estimator = fitted(name).set_params(**{parameter: value})
    assert_method_refuses(estimator, "array", "fit", X, parameter, repr(value), remedy)


@pytest.mark.parametrize(
    ("name", "library", "value", "words"),
    [
        ("autoencoder", "array", [4], ["holds 4", "0 to 3"]),
        ("autoencoder", "array", [-1], ["holds -1", "0 to 3"]),
        ("autoencoder", "array", ["a"], ["holds 'a'", "indices"]),
        ("autoencoder", "array", [True, False], ["mask of 2", "has 4"]),
        ("autoencoder", "pandas", ["a", "z"], ["holds 'z'", "columns of X are a, b, c, d"]),
        ("autoencoder", "polars", ["z"], ["holds 'z'", "columns of X are a, b, c, d"]),
        ("autoencoder", "polars", [4], ["holds 4", "0 to 3"]),
        ("detector", "pandas", [4], ["holds 4", "0 to 3"]),
    ],
)
def test_categorical_features_that_are_not_there(fitted, name, library, value, words):
    estimator = fitted(name, library).set_params(categorical_features=value)
    assert_method_refuses(estimator, library, "fit", TABLES[library](X), "categorical_features", *words)


@pytest.mark.parametrize("level", [(0.0, 1.0), (1.0, 0.5), 0.3])
def test_nested_parameter_of_a_detector(detector, level):
    detector.set_params(corruption=DiffusionNoise())
    words = ["DiffusionNoise", repr(level), "lowest first"]
    assert_refused(detector, X, lambda: detector.set_params(corruption__level=level), *words)


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
        pytest.param([5e-324] * 30, ["sums to 1.4822e-322"], id="too small"),
        pytest.param([1e300] * 30, ["sums to 3e+301"], id="too large"),
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


def test_held_out_rows_with_other_names(fitted):
    frame, estimator = TABLES["pandas"](X), fitted("autoencoder", "pandas")
    assert_refused(estimator, frame, lambda: estimator.fit(frame, X_val=frame.rename(columns={"b": "z"})), "- z", "- b")


def test_held_out_rows_that_nothing_reads(estimator):
    estimator.set_params(early_stopping=False)
    assert_refused(estimator, X, lambda: estimator.fit(X, X_val=X), "X_val", "early_stopping=False", "'auto'")


@pytest.mark.parametrize("value", [-0.25, 1.5])
@each_library
def test_cells_that_bernoulli_cannot_score(fitted, library, value):
    estimator = fitted("autoencoder", library).set_params(likelihood="bernoulli")
    bad = TABLES[library](with_cell(value, values=UNIT))
    words = ["bernoulli", COLUMN_1[library], "row 3", f"{value:g}", "[0, 1]", "MinMaxScaler"]
    assert_method_refuses(estimator, library, "fit", bad, *words)


@pytest.mark.parametrize("name", ["vae", "detector"])
def test_cells_that_the_bernoulli_likelihood_of_a_fit_cannot_score(name):
    estimator = type(ESTIMATORS[name])(**ESTIMATORS[name].get_params() | {"likelihood": "bernoulli"}).fit(UNIT)
    words = ["bernoulli", "column 1", "row 3", "1.5", "[0, 1]", "MinMaxScaler"]
    for method in ["fit", *METHODS[name]]:
        call = getattr(estimator, method)
        assert_refused(estimator, UNIT, lambda call=call: call(with_cell(1.5, values=UNIT)), *words)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("autoencoder", {"hidden_layer_sizes": ()}),
        ("autoencoder", {"hidden_layer_sizes": (16, 16)}),
        *(("vae", {"likelihood": likelihood}) for likelihood in ("gaussian", "gaussian_diag", "mse")),
        ("vae", {"hidden_layer_sizes": ()}),
        ("detector", {}),
    ],
    ids=str,
)
def test_diverging_training(fitted, name, params):
    estimator = fitted(name).set_params(init="random", learning_rate_init=1e6, early_stopping=False, max_iter=300, **params)
    assert_method_refuses(estimator, "array", "fit", X, "learning_rate_init")


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
        {"n_nonzero_coefs": 1, "code_activation": "relu", "corruption": SaltAndPepper(), "early_stopping": False},
    ),
    "rates": (AutoencoderTransformer, {"penalty": KLSparsity(), "code_activation": "logistic", "hidden_layer_sizes": ()}),
    "vae": (VAETransformer, {}),
    "vae, denoising, contractive": (VAETransformer, {"corruption": "gaussian", "penalty": "contractive"}),
    "vae, random": (VAETransformer, {"init": "random", "early_stopping": False}),
    "vae, linear": (VAETransformer, {"hidden_layer_sizes": (), "likelihood": "gaussian_diag"}),
}
FREE = {"early_stopping": False}  # without folds, where they make no difference to what is tested
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


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name, kind):
    fit_and_apply(ACCEPTED[name], {} if kind is AutoencoderTransformer else FREE, kind=kind)


@every_setting
def test_settings_on_difficult_tables(kind, params):
    fit_and_apply(ACCEPTED["huge beside tiny, float32"], params, kind=kind)
    fit_and_apply(X[:2], params, kind=kind)
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


def assert_constant_column_comes_back(value, dtype, params, kind=AutoencoderTransformer):
    table = with_cell(value, slice(None)).astype(dtype)
    estimator = fit_and_apply(table, params, kind=kind)
    assert (estimator.reconstruct(table)[:, 1] == dtype(value)).all()
    assert (estimator.inverse_transform(10 * X[:, :2].astype(dtype))[:, 1] == dtype(value)).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e30, 1e-30])
def test_constant_column_of_any_value_comes_back_exactly(value, dtype):
    assert_constant_column_comes_back(value, dtype, FREE)


@every_setting
def test_constant_column_comes_back_exactly(kind, params):
    assert_constant_column_comes_back(-3.7, np.float64, params, kind)


@every_setting
def test_equal_rows_come_back_exactly(kind, params):
    table = np.tile([0.1, 1e30, 0.0, -3.0], (20, 1))
    np.testing.assert_array_equal(fit_and_apply(table, params, kind=kind).reconstruct(table), table)


def test_bits_do_not_depend_on_the_container(tmp_path: Path):
    expected = fit_and_apply(X, FREE).transform(X)
    np.save(tmp_path / "X.npy", X)
    read_only = np.load(tmp_path / "X.npy", mmap_mode="r")
    for table in [np.asfortranarray(X), X.tolist(), read_only, X.astype(object)]:
        np.testing.assert_array_equal(fit_and_apply(table, FREE).transform(X), expected)
    for kind in ["pandas", "polars"]:
        frame = TABLES[kind](X)
        np.testing.assert_array_equal(fit_and_apply(frame, FREE).transform(frame), expected)


def test_kinds_of_layer_sizes():
    expected = fit_and_apply(X, FREE | {"hidden_layer_sizes": (4, 3), "decoder_layer_sizes": (4, 3)}).transform(X)
    for sizes in [[4, 3], np.array([4, 3]), (np.int64(4), 3)]:
        codes = fit_and_apply(X, FREE | {"hidden_layer_sizes": sizes, "decoder_layer_sizes": sizes}).transform(X)
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


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_dtypes_of_frames_come_back(frame, kind):
    estimator = fit_and_apply(frame, FREE, kind=kind)
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


def test_booleans_mostly_come_back():
    frame = FRAMES["polars"]
    back = fit_and_apply(frame, FREE | {"max_iter": 50}, n_components=5).reconstruct(frame)["flag"]
    assert back.dtype == frame["flag"].dtype
    assert np.mean(back.to_numpy() == frame["flag"].to_numpy()) > 0.9


def test_integers_stay_in_the_range_of_their_dtype():
    values = pd.DataFrame(RNG.integers(0, 100, size=(30, 2)), columns=["a", "b"], dtype="int8")
    estimator = AutoencoderTransformer(1, hidden_layer_sizes=()).fit(values)
    back = np.asarray(estimator.inverse_transform(np.array([[-1e4], [0.0], [1e4]]))).astype(float)
    np.testing.assert_array_equal(np.sort(back[[0, 2]], axis=0), [[-128] * 2, [127] * 2])


def test_numbered_columns_come_back():
    frame = pd.DataFrame(X)
    pd.testing.assert_frame_equal(fit_and_apply(frame, {"hidden_layer_sizes": ()}, n_components=4).reconstruct(frame), frame)


@each_library
def test_codes_as_a_list(fitted, library):
    estimator = fitted("autoencoder", library)
    codes = estimator.transform(TABLES[library](X))
    rows = estimator.inverse_transform(codes.tolist())
    np.testing.assert_array_equal(np.asarray(rows), np.asarray(estimator.inverse_transform(codes)))


def test_a_training_that_explodes_from_a_random_start_is_no_fit():
    estimator = VAETransformer(4, hidden_layer_sizes=(8,), init="random", learning_rate_init=10.0, max_iter=30, random_state=0)
    with pytest.raises(FloatingPointError, match="Lower learning_rate_init"):
        estimator.fit(load_wine().data)


@pytest.mark.parametrize("name", ["module_", "device_", "schema_", "n_components_"])
def test_attributes_before_fit_are_named_as_they_are(name):
    with pytest.raises(AttributeError, match=f"'VAETransformer' object has no attribute '{name}'; call fit first"):
        getattr(VAETransformer(), name)


def test_penalties_that_do_not_fit_the_networks_are_refused_before_training(monkeypatch):
    monkeypatch.setattr("skvae._fit.fit.train", None)
    penalty = KLSparsity(layer_weights=(1.0, 1.0, 1.0))
    estimator = AutoencoderTransformer(2, penalty=penalty, activation="logistic", code_activation="logistic", **QUICK)
    with pytest.raises(ValueError, match="layer_weights"):
        estimator.fit(HOLES)
