"""Tables in containers other than frames of pandas and polars and arrays of numbers."""

import sys
from types import ModuleType

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer
from skvae._tables.libraries import as_table, index_of, library_of, table_like, with_columns
from skvae._tables.schema import Schema

QUICK = {"hidden_layer_sizes": (4,), "max_iter": 3, "early_stopping": False, "random_state": 0}
ESTIMATORS = {
    "autoencoder": AutoencoderTransformer(2, **QUICK),
    "vae": VAETransformer(2, **QUICK),
    "imputer": AutoencoderImputer(2, **QUICK, add_indicator=True),
    "detector": AEAnomalyDetector(2, cv=2, **QUICK),
}
each_estimator = pytest.mark.parametrize("name", ESTIMATORS)
of_polars = pytest.mark.skipif(not hasattr(pl.DataFrame, "__arrow_c_stream__"), reason="an old polars speaks no Arrow")
METHODS = {
    "autoencoder": ["transform", "reconstruct", "impute", "score_cells", "score_samples", "reconstruction_error"],
    "vae": ["transform", "reconstruct", "score_cells", "score_samples", "elbo"],
    "imputer": ["transform"],
    "detector": ["score_samples", "predict", "p_values", "explain"],
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
FRAME = pd.DataFrame(
    {
        "number": pd.array(X[:, 0], dtype="double[pyarrow]"),
        "count": pd.array(np.rint(10 * X[:, 1]), dtype="int64[pyarrow]"),
        "flag": pd.array(X[:, 2] > 0, dtype="bool[pyarrow]"),
        "colour": pd.array(np.where(X[:, 0] > 0, "red", "blue").tolist(), dtype=pd.ArrowDtype(pa.string())),
        "day": pd.array(pd.date_range("2024-01-01", periods=40), dtype="timestamp[us][pyarrow]"),
    }
)
FRAME.loc[[3, 5], "number"] = None
FRAME.loc[7, "colour"] = None
ARROW = pa.Table.from_pandas(FRAME, preserve_index=False)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def new(name):
    return type(ESTIMATORS[name])(**ESTIMATORS[name].get_params())


def assert_same(first, second):
    assert type(first) is type(second)
    if isinstance(first, tuple):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    elif isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    else:
        np.testing.assert_array_equal(first, second)


def assert_like_a_frame(name, table, frame):
    """All that an estimator says of a table is what it says of the frame that is the same."""
    fitted, expected = new(name).fit(table), new(name).fit(frame)
    np.testing.assert_array_equal(fitted.feature_names_in_, list(frame.columns))
    for method in METHODS[name]:
        for estimator in (fitted, expected):
            assert_same(getattr(estimator, method)(table), getattr(expected, method)(frame))


class Interchanged:
    """A frame of a library that nobody knows."""

    def __init__(self, frame):
        self.frame = frame

    def __dataframe__(self, *args, **kwargs):
        if self.frame is None:
            raise NotImplementedError("no buffers")
        return self.frame.__dataframe__(*args, **kwargs)


class Streamed:
    """A frame of a library that nobody knows, which speaks Arrow."""

    def __init__(self, frame):
        self.frame = frame

    def __arrow_c_stream__(self, *args, **kwargs):
        return self.frame.__arrow_c_stream__(*args, **kwargs)


# Frames


@each_estimator
def test_arrow_tables_are_frames(name):
    assert_like_a_frame(name, ARROW, FRAME)


def test_names_and_kinds_of_arrow_tables():
    schema = Schema.of(ARROW)
    assert schema == Schema.of(FRAME)
    assert schema.names == tuple(ARROW.column_names)
    assert [column.kind for column in schema.columns] == ["number", "number", "boolean", "category", "datetime"]
    full = schema.complete(ARROW, np.zeros((40, 5)))
    pd.testing.assert_frame_equal(full, schema.complete(FRAME, np.zeros((40, 5))))
    assert list(full.dtypes) == list(FRAME.dtypes)
    pd.testing.assert_frame_equal(schema.restore(schema.cells(ARROW)), FRAME)
    assert library_of(ARROW) == "pandas"
    assert index_of(ARROW).equals(FRAME.index)
    assert list(table_like(ARROW, np.zeros((40, 5))).columns) == ARROW.column_names
    assert list(with_columns(ARROW, {"more": np.zeros(40)}).columns) == [*ARROW.column_names, "more"]


def test_categories_of_arrow():
    table = ARROW.set_column(3, "colour", ARROW["colour"].dictionary_encode())
    assert Schema.of(table).columns[3].levels == ("blue", "red")


@of_polars
def test_strings_of_arrow_as_polars_has_them():
    table = pa.table(Streamed(pl.from_arrow(ARROW)))
    assert str(table["colour"].type) == "string_view"
    assert Schema.of(table).columns[3].levels == ("blue", "red")
    AutoencoderTransformer(2, **QUICK).fit(table).impute(table)


def test_a_frame_of_narwhals():
    import narwhals as nw

    for frame in (FRAME, pl.from_pandas(FRAME)):
        assert type(as_table(nw.from_native(frame))) is type(frame)
        assert as_table(nw.from_native(frame)).equals(frame)


@each_estimator
def test_frames_that_only_interchange(name):
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "colour": list("xyzy") * 10})
    read = as_table(Interchanged(frame))
    assert list(read.columns) == list(frame.columns)
    assert [column.kind for column in Schema.of(read).columns] == ["number", "number", "category"]
    assert_like_a_frame(name, Interchanged(frame), read)


@pytest.mark.parametrize("table", [ARROW, pytest.param(pl.from_arrow(ARROW), marks=of_polars)], ids=["pyarrow", "polars"])
def test_frames_that_only_speak_arrow(table):
    read = as_table(Streamed(table))
    assert list(read.columns) == ARROW.column_names
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in read.dtypes)
    assert_like_a_frame("autoencoder", Streamed(table), read)


@each_estimator
def test_frames_that_cannot_interchange(name):
    with pytest.raises(
        TypeError,
        match=r"X is a .*Interchanged, which pandas cannot read \(no buffers\); convert it to a pandas",
    ):
        new(name).fit(Interchanged(None))


class OnADevice:
    """A frame of cuDF, as far as narwhals asks."""

    def __init__(self, frame):
        self.frame = frame

    def to_pandas(self):
        return self.frame

    @property
    def columns(self):
        return self.frame.columns


@each_estimator
def test_frames_of_other_libraries_that_narwhals_knows(name, monkeypatch):
    library = ModuleType("cudf")
    library.__version__ = "25.2.0"
    library.DataFrame, library.Series, library.Index = OnADevice, ModuleType, ModuleType
    monkeypatch.setitem(sys.modules, "cudf", library)
    assert_like_a_frame(name, OnADevice(FRAME), FRAME)


# Tensors


def tensors():
    return {
        "float32": torch.tensor(X, dtype=torch.float32),
        "float64": torch.tensor(X),
        "requires grad": torch.tensor(X, requires_grad=True),
        "bfloat16": torch.tensor(X, dtype=torch.bfloat16),
        "float16": torch.tensor(X, dtype=torch.float16),
        "integers": torch.tensor(10 * X).to(torch.int32),
        "booleans": torch.tensor(X > 0),
    }


@each_estimator
@pytest.mark.parametrize("tensor", tensors().values(), ids=tensors())
def test_tensors_are_arrays(name, tensor):
    kept = tensor.detach()
    array = (kept.float() if tensor.dtype == torch.bfloat16 else kept).numpy()
    fitted = new(name).fit(tensor)
    expected = new(name).fit(array)
    for method in set(METHODS[name]):
        assert_same(getattr(fitted, method)(tensor), getattr(expected, method)(array))
    table = fitted.autoencoder_.schema_ if name == "imputer" else getattr(fitted, "schema_", Schema.of(tensor))
    np.testing.assert_array_equal(table.complete(tensor, array), array)


def test_codes_in_any_container():
    estimator = AutoencoderTransformer(2, **QUICK).fit(FRAME)
    codes = estimator.transform(FRAME)
    expected = estimator.inverse_transform(codes)
    for table in [
        torch.tensor(codes, requires_grad=True),
        pa.table({"a": codes[:, 0], "b": codes[:, 1]}),
        codes.astype(object),
    ]:
        pd.testing.assert_frame_equal(estimator.inverse_transform(table), expected)
    with pytest.raises(TypeError, match="X is a dict"):
        estimator.inverse_transform({"a": codes[:, 0]})


def test_tensors_with_categories():
    codes = torch.tensor(np.digitize(X, [-0.5, 0.5]))
    assert Schema.of(codes, [0]).columns[0].levels == (0, 1, 2)


# Objects and booleans


@each_estimator
@pytest.mark.parametrize("missing", [pd.NA, None, np.nan, pd.NaT], ids=str)
@pytest.mark.parametrize("kind", [np.array, np.ndarray.tolist], ids=["array", "lists"])
def test_objects_with_holes_are_numbers(name, missing, kind):
    table = X.astype(object)
    table[2, 1] = missing
    table[5, 0] = 2**70
    table[6, 0] = 3
    expected = np.where(pd.isna(table), np.nan, table).astype(float)
    fitted, other = new(name).fit(kind(table)), new(name).fit(expected)
    for method in set(METHODS[name]):
        assert_same(getattr(fitted, method)(kind(table)), getattr(other, method)(expected))


def test_a_small_array_of_objects():
    table = np.array([[1, pd.NA], [2, 3]], dtype=object)
    for kind in [AutoencoderTransformer, VAETransformer]:
        assert np.isfinite(kind(1, **QUICK).fit(table).transform(table)).all()
    filled = AutoencoderImputer(1, **QUICK).fit(table).transform(table)
    np.testing.assert_array_equal(filled[[0, 1, 1], [0, 0, 1]], [1, 2, 3])
    assert np.isfinite(filled).all()
    assert np.isfinite(AEAnomalyDetector(1, cv=2, **QUICK).fit(table).score_samples(table)).all()
    assert np.isfinite(Schema("numpy").complete(table, np.zeros((2, 2)))).all()


BOOLEANS = {
    "random": RNG.random((30, 3)) < 0.5,
    "rare": RNG.random((200, 6)) < 0.02,
    "a constant column": np.column_stack([RNG.random((30, 3)) < 0.5, np.ones(30, dtype=bool)]),
    "constant": np.ones((20, 3), dtype=bool),
}


@each_estimator
@pytest.mark.parametrize("table", BOOLEANS.values(), ids=BOOLEANS)
def test_booleans(name, table):
    estimator = new(name).fit(table)
    made = getattr(estimator, METHODS[name][0])(table)
    np.testing.assert_array_equal(made, getattr(new(name).fit(table.astype(float)), METHODS[name][0])(table))
    assert np.isfinite(made).all()
