import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pytest

from skvae._schema import Schema, library_of

VALUES = {"width": [1.5, -2.25, 0.0], "count": [3, -7, 0], "flag": [True, False, True]}
PANDAS_DTYPES = {
    "numpy": ("float64", "int64", "bool"),
    "small numpy": ("float32", "int8", "bool"),
    "nullable": ("Float64", "Int64", "boolean"),
    "small nullable": ("Float32", "Int16", "boolean"),
    "pyarrow": ("double[pyarrow]", "int64[pyarrow]", "bool[pyarrow]"),
    "small pyarrow": ("float[pyarrow]", "int8[pyarrow]", "bool[pyarrow]"),
}
POLARS_DTYPES = {
    "polars": (pl.Float64, pl.Int64, pl.Boolean),
    "small polars": (pl.Float32, pl.Int8, pl.Boolean),
}


def pandas_frame(dtypes, index=("a", "b", "c")):
    return pd.DataFrame(VALUES, index=index).astype(dict(zip(VALUES, dtypes, strict=True)))


def polars_frame(dtypes):
    return pl.DataFrame(VALUES, schema=dict(zip(VALUES, dtypes, strict=True)))


FRAMES = {name: pandas_frame(dtypes) for name, dtypes in PANDAS_DTYPES.items()} | {
    name: polars_frame(dtypes) for name, dtypes in POLARS_DTYPES.items()
}
each_frame = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


def numbers(frame):
    return np.column_stack([np.asarray(frame[name], dtype=np.float64) for name in frame.columns])


def assert_frame_equal(first, second):
    """Values, names, their order, dtypes and index."""
    (pd if isinstance(second, pd.DataFrame) else pl).testing.assert_frame_equal(first, second)


def restored(frame, values):
    return Schema.of(frame).restore(values, index=getattr(frame, "index", None))


@each_frame
def test_kinds_are_read_from_dtypes(frame):
    schema = Schema.of(frame)
    assert [np.dtype(kind).kind for kind in schema.kinds[:2]] == ["f", "i"]
    assert schema.kinds[2] == "boolean"
    assert schema.names == tuple(VALUES)
    assert schema.library == library_of(frame) == ("pandas" if isinstance(frame, pd.DataFrame) else "polars")


@each_frame
def test_what_goes_in_comes_out(frame):
    assert_frame_equal(restored(frame, numbers(frame)), frame)


@each_frame
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_are_rounded_and_booleans_decided_at_one_half(frame, dtype):
    values = numbers(frame) + np.array([0, 0.4, -0.4])
    assert_frame_equal(restored(frame, values.astype(dtype)), frame)


@each_frame
def test_the_order_of_columns_is_kept(frame):
    frame = frame[["flag", "width", "count"]]
    assert_frame_equal(restored(frame, numbers(frame)), frame)


@each_frame
def test_there_may_be_no_rows(frame):
    assert_frame_equal(restored(frame[:0], np.empty((0, 3))), frame[:0])


@each_frame
def test_the_number_of_rows_may_differ_from_the_fitted_ones(frame):
    assert restored(frame.head(1), numbers(frame)[:1]).shape == (1, 3)
    assert Schema.of(frame).restore(np.zeros((10, 3))).shape == (10, 3)


@pytest.mark.parametrize("index", [[7, 5, 5], pd.date_range("2024", periods=3), pd.MultiIndex.from_product([[0], list("xyz")])])
def test_the_index_of_pandas_is_kept(index):
    frame = pandas_frame(PANDAS_DTYPES["numpy"], index)
    assert_frame_equal(restored(frame, numbers(frame)), frame)


@pytest.mark.parametrize(
    "columns", [[0, 1, 2], ["b", 7, ("x", "y")], pd.MultiIndex.from_product([["u"], list("xyz")], names=["p", "q"])]
)
def test_names_of_columns_may_be_anything(columns):
    frame = pandas_frame(PANDAS_DTYPES["numpy"]).set_axis(columns, axis=1)
    result = Schema.of(frame).restore(numbers(frame.set_axis(list("abc"), axis=1)), index=frame.index)
    pd.testing.assert_frame_equal(result, frame, check_names=False)


def test_names_of_the_axis_are_kept():
    frame = pandas_frame(PANDAS_DTYPES["numpy"]).rename_axis("variable", axis=1)
    assert_frame_equal(restored(frame, numbers(frame)), frame)


@pytest.mark.parametrize(
    "dtype", ["uint8", "UInt8", "uint8[pyarrow]", "int8", "Int8", "int8[pyarrow]", pl.UInt8, pl.Int8], ids=repr
)
def test_values_beyond_the_dtype_become_its_nearest(dtype):
    frame = pd.DataFrame({"a": [1]}, dtype=dtype) if isinstance(dtype, str) else pl.DataFrame({"a": [1]}, schema={"a": dtype})
    limits = np.iinfo("uint8" if "u" in str(dtype).lower() else "int8")
    assert list(Schema.of(frame).restore(np.array([[-1e3], [1e3]]))["a"]) == [limits.min, limits.max]


@pytest.mark.parametrize("array", [np.eye(2), [[1, 2], [3, 4]], pd.Series([1.0, 2.0]), None])
def test_all_that_is_no_frame_is_an_array(array):
    values = np.ones((3, 2))
    assert library_of(array) == "numpy"
    assert Schema.of(array) == Schema("numpy")
    assert Schema.of(array).restore(values) is values


STRANGE = {
    "strings": ["x", "y"],
    "dates": pd.to_datetime(["2024-01-01", "2024-01-02"]),
    "categories": pd.Categorical(["x", "y"]),
    "objects": pd.Series([1, "x"], dtype=object),
}


@pytest.mark.parametrize("column", STRANGE.values(), ids=STRANGE)
def test_a_column_without_numbers_is_refused_by_name(column):
    with pytest.raises(ValueError, match=r"Column 'odd' has dtype .*OneHotEncoder"):
        Schema.of(pd.DataFrame({"fine": [1.0, 2.0], "odd": column}))


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_so_it_is_in_polars(dtype):
    with pytest.raises(ValueError, match="Column 'odd' has dtype"):
        Schema.of(pl.DataFrame({"fine": [1.0], "odd": pl.Series(["x"], dtype=dtype)}))


def test_decimals_are_numbers():
    frame = pl.DataFrame({"price": ["1.25", "-3.50"]}).cast(pl.Decimal(10, 2))
    assert nw.from_native(frame).schema["price"].is_numeric()
    assert_frame_equal(restored(frame, np.array([[1.25], [-3.5]])), frame)


def test_a_lazy_frame_is_refused():
    with pytest.raises(TypeError, match="collect"):
        Schema.of(pl.LazyFrame({"a": [1]}))
