import copy
import datetime as dt
import pickle
from decimal import Decimal
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skvae._tables.libraries import index_of, library_of
from skvae._tables.schema import Schema

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
each_of_libraries = pytest.mark.parametrize("frame", [FRAMES["numpy"], FRAMES["polars"]], ids=["pandas", "polars"])


def numbers(frame):
    return np.column_stack([np.asarray(frame[name], dtype=np.float64) for name in frame.columns])


def assert_frame_equal(first, second):
    """Values to the last bit, names, their order, dtypes and index."""
    if isinstance(second, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_exact=True, check_freq=False)
    else:
        assert first.schema == second.schema
        text = {name: pl.String for name, dtype in second.schema.items() if dtype == pl.Categorical}  # which do not compare
        assert first.cast(text).equals(second.cast(text), null_equal=True)


def restored(frame, values):
    return Schema.of(frame).restore(values, index=getattr(frame, "index", None))


def there_and_back(frame, categorical_features="from_dtype"):
    schema = Schema.of(frame, categorical_features)
    return schema.restore(schema.cells(frame), index=index_of(frame))


def column_of(series, **kwargs):
    """The schema's word on a single column."""
    (column,) = Schema.of(frame_of(series), **kwargs).columns
    return column


def frame_of(series):
    return series.to_frame("a") if isinstance(series, pd.Series) else pl.DataFrame({"a": series})


# Numbers and booleans


@each_frame
def test_numbers_and_booleans(frame):
    schema = Schema.of(frame)
    assert [column.kind for column in schema.columns] == ["number", "number", "boolean"]
    assert schema.names == tuple(VALUES)
    assert list(schema.n_levels) == [0, 0, 1]
    assert schema.n_levels.dtype == np.int64
    assert schema.is_plain
    assert schema.library == library_of(frame) == ("pandas" if isinstance(frame, pd.DataFrame) else "polars")
    cells = schema.cells(frame)
    np.testing.assert_array_equal(cells, numbers(frame))
    assert cells.flags.c_contiguous
    assert cells.dtype == np.float64


@each_frame
def test_what_goes_in_comes_out(frame):
    assert_frame_equal(restored(frame, numbers(frame)), frame)


@each_frame
def test_integers_are_rounded_and_booleans_decided_at_one_half(frame):
    values = numbers(frame) + np.array([0, 0.4, -0.4])
    for dtype in [np.float32, np.float64]:
        assert_frame_equal(restored(frame, values.astype(dtype)), frame)
    assert list(restored(frame, np.full((3, 3), 0.5))["flag"]) == [True, True, True]


@each_of_libraries
def test_the_order_of_columns_is_kept(frame):
    frame = frame[["flag", "width", "count"]]
    assert_frame_equal(restored(frame, numbers(frame)), frame)


@each_frame
def test_the_number_of_rows_may_differ_from_the_fitted_ones(frame):
    assert_frame_equal(there_and_back(frame[:0]), frame[:0])
    assert_frame_equal(Schema.of(frame).restore(np.empty((0, 3)), index=index_of(frame[:0])), frame[:0])
    assert Schema.of(frame).restore(np.zeros((10, 3))).shape == (10, 3)


@pytest.mark.parametrize("index", [[7, 5, 5], pd.date_range("2024", periods=3), pd.MultiIndex.from_product([[0], list("xyz")])])
def test_the_index_of_pandas_is_kept(index):
    frame = pandas_frame(PANDAS_DTYPES["numpy"], index).assign(
        text=["u", "v", None], born=pd.to_datetime(["2024", None, "2023"])
    )
    assert_frame_equal(there_and_back(frame), frame)
    full = Schema.of(frame).complete(frame, np.zeros((3, 5)))
    assert full.index.equals(frame.index)
    assert not full.isna().any(axis=None)


@pytest.mark.parametrize(
    "columns",
    [
        [0, 1, 2],
        [5, 7, 3],
        ["b", 7, ("x", "y")],
        pd.Index([("x", 1), ("x", 2), ("y", 1)], tupleize_cols=False),
        pd.Index(list("abc"), dtype=object),
        pd.Index(list("abc"), dtype="string[python]"),
        pd.to_datetime(["2020", "2021", "2022"]),
    ],
    ids=str,
)
def test_names_of_columns_may_be_anything(columns):
    frame = pandas_frame(PANDAS_DTYPES["numpy"]).set_axis(columns, axis=1)
    assert_frame_equal(there_and_back(frame), frame)
    assert_frame_equal(Schema.of(frame).complete(frame, np.zeros((3, 3))), frame)


def test_names_of_the_axis_are_kept():
    frame = pandas_frame(PANDAS_DTYPES["numpy"]).rename_axis("variable", axis=1)
    assert_frame_equal(restored(frame, numbers(frame)), frame)
    assert Schema.of(frame).axis_name == "variable"


WHOLE = ["uint8", "int8", "int16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize("family", ["numpy", "nullable", "pyarrow", "polars"])
def test_values_beyond_the_dtype_become_its_nearest(dtype, family):
    limits = np.iinfo(dtype)
    nullable = {"i": dtype.replace("i", "I"), "u": dtype.replace("ui", "UI")}[dtype[0]]
    name = {"numpy": dtype, "nullable": nullable, "pyarrow": f"{dtype}[pyarrow]", "polars": nullable}[family]
    series = pl.Series([1], dtype=getattr(pl, name)) if family == "polars" else pd.Series([1], dtype=name)
    for precision in [np.float32, np.float64]:
        cells = np.array([[-1e30], [1e30], [-np.inf], [np.inf]], dtype=precision)
        result = list(Schema.of(frame_of(series)).restore(cells)["a"])
        if limits.bits <= 32:
            assert result == 2 * [limits.min, limits.max]
        assert all(limits.min <= value <= limits.max for value in result)
        np.testing.assert_allclose(np.array(result, dtype=float), 2 * [float(limits.min), float(limits.max)], rtol=1e-15)


DECIMALS = {
    "polars": pl.Series(["1.25", "-3.50", None]).cast(pl.Decimal(10, 2)),
    "wide polars": pl.Series(["1.25", "-3.50", None]).cast(pl.Decimal(38, 2)),
    "pyarrow": pd.Series([Decimal("1.25"), Decimal("-3.50"), None], dtype=pd.ArrowDtype(pa.decimal128(10, 2))),
    "wide pyarrow": pd.Series([Decimal("1.25"), Decimal("-3.50"), None], dtype=pd.ArrowDtype(pa.decimal128(38, 2))),
}


@pytest.mark.parametrize("series", DECIMALS.values(), ids=DECIMALS)
def test_decimals_are_numbers(series):
    frame = frame_of(series)
    assert column_of(series).kind == "number"
    assert_frame_equal(there_and_back(frame), frame)
    rough = Schema.of(frame).restore(np.array([[1.2468], [-1e50], [1e50]]))["a"]
    assert rough[0] == Decimal("1.25")
    assert -Decimal("1e36") < rough[1] < -Decimal("9.9e7") < Decimal("9.9e7") < rough[2] < Decimal("1e36")


FLOAT32 = {
    "numpy": pd.DataFrame(np.ones((2, 2), dtype="f4")),
    "nullable": pd.DataFrame(np.ones((2, 2))).astype("Float32"),
    "pyarrow": pd.DataFrame(np.ones((2, 2))).astype("float[pyarrow]"),
    "polars": pl.DataFrame(np.ones((2, 2), dtype="f4"), schema=["a", "b"]),
}


@pytest.mark.parametrize("frame", FLOAT32.values(), ids=FLOAT32)
def test_cells_are_of_single_precision_where_all_columns_are(frame):
    cells = Schema.of(frame).cells(frame)
    assert cells.dtype == np.float32
    assert cells.flags.c_contiguous
    frame = frame.assign(c=1.0) if isinstance(frame, pd.DataFrame) else frame.with_columns(c=1.0)
    assert Schema.of(frame).cells(frame).dtype == np.float64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_floats_of_any_width(dtype):
    frame = pd.DataFrame({"a": np.array([1.5, np.nan], dtype=dtype), "b": ["x", "y"]})
    assert_frame_equal(there_and_back(frame), frame)


def test_infinity_is_passed_on():
    for frame in [pd.DataFrame({"a": [np.inf, 1.0], "b": ["x", "y"]}), pl.DataFrame({"a": [np.inf, 1.0]})]:
        assert Schema.of(frame).cells(frame)[0, 0] == np.inf
        assert Schema.of(frame).restore(np.full((1, frame.shape[1]), np.inf))["a"][0] == np.inf


def test_cells_and_restored_frames_are_copies():
    frame = pd.DataFrame(np.ones((3, 2)))
    schema = Schema.of(frame)
    cells = schema.cells(frame)
    cells[:] = 2.0
    assert (frame == 1).all(axis=None)
    back = schema.restore(cells)
    cells[:] = 3.0
    assert (back == 2).all(axis=None)


def test_completed_frames_are_copies():
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": [1.0, 2.0], "c": ["x", "y"], "d": [None, None]})
    before = frame.copy(deep=True)
    full = Schema.of(frame).complete(frame, np.zeros((2, 4)))
    full.iloc[:, :2] = 9.0
    full.loc[0, "c"] = "z"
    assert_frame_equal(frame, before)


def test_a_missing_cell_never_becomes_true():
    result = Schema.of(pd.DataFrame({"flag": [True, False]})).restore(np.array([[np.nan], [1.0]]))["flag"]
    assert list(result.isna()) == [True, False]
    with pytest.raises(ValueError, match=r"NA or inf|non-finite"):
        Schema.of(pd.DataFrame({"count": [1, 2]})).restore(np.array([[np.nan]]))


# Arrays


@pytest.mark.parametrize("array", [np.eye(2), [[1, 2], [3, 4]], None])
def test_all_that_is_no_frame_is_an_array(array):
    values = np.ones((3, 2))
    assert library_of(array) == "numpy"
    assert index_of(array) is None
    assert Schema.of(array) == Schema.of(array, None) == Schema("numpy")
    assert Schema.of(array).restore(values) is values
    assert Schema.of(array).cells(values) is values
    assert Schema.of(array).is_plain
    assert len(Schema.of(array).n_levels) == 0


@pytest.mark.parametrize("categorical", [[1], [False, True, False], np.array([1]), np.array([False, True, False])])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays_with_categories(categorical, dtype):
    X = np.array([[1.5, 7, 0], [np.nan, 3, 1], [2.5, np.nan, 2], [0, 3, np.nan]], dtype=dtype)
    schema = Schema.of(X, categorical)
    assert schema.names == (0, 1, 2)
    assert [column.kind for column in schema.columns] == ["number", "category", "number"]
    assert schema.columns[1].levels == (3.0, 7.0)
    assert list(schema.n_levels) == [0, 2, 0]
    assert {column.dtype for column in schema.columns} == {None}
    cells = schema.cells(X)
    assert cells.dtype == dtype
    np.testing.assert_array_equal(cells[:, 1], [1, 0, np.nan, 0])
    np.testing.assert_array_equal(schema.restore(cells), X)
    assert schema.restore(cells).dtype == dtype
    full = schema.complete(X, np.zeros((4, 3), dtype=dtype))
    np.testing.assert_array_equal(full, np.where(np.isnan(X), [0, 3, 0], X))
    assert full.dtype == dtype
    assert np.isnan(X).sum() == 3


def test_arrays_of_numbers_are_completed():
    X = np.array([[1.0, np.nan]])
    np.testing.assert_array_equal(Schema.of(X).complete(X, np.array([[5.0, 6.0]])), [[1.0, 6.0]])
    assert np.isnan(X[0, 1])


def test_no_categories_in_an_array_is_a_plain_array():
    assert Schema.of(np.eye(3), []) == Schema.of(np.eye(3), [False] * 3) == Schema("numpy")


def test_an_array_may_stand_for_a_frame_and_a_frame_for_an_array():
    frame = pd.DataFrame({"sex": ["f", "m", None], "age": [1, 2, 3], "flag": [True, False, True]})
    schema = Schema.of(frame)
    np.testing.assert_array_equal(schema.cells(frame.to_numpy()), schema.cells(frame))
    np.testing.assert_array_equal(Schema.of(np.eye(2)).cells(pl.DataFrame(np.eye(2))), np.eye(2))
    full = Schema.of(np.eye(2)).complete(pd.DataFrame([[1, np.nan]]), np.array([[8.0, 9.0]]))
    assert full.to_numpy().tolist() == [[1, 9]]


def test_an_array_of_text_is_refused():
    with pytest.raises(ValueError, match="convert it to a frame"):
        Schema.of(np.array([["a"], ["b"]]), [0])


# Categories

STRINGS = {
    "numpy": pd.Series(["b", None, "a", "b"], dtype=object),
    "numpy, NaN": pd.Series(["b", np.nan, "a", "b"], dtype=object),
    "numpy, NA": pd.Series(["b", pd.NA, "a", "b"], dtype=object),
    "default": pd.Series(["b", None, "a", "b"]),
    "string[python]": pd.Series(["b", None, "a", "b"], dtype="string[python]"),
    "string[pyarrow]": pd.Series(["b", None, "a", "b"], dtype="string[pyarrow]"),
    "Arrow": pd.Series(["b", None, "a", "b"], dtype=pd.ArrowDtype(pa.string())),
    "large Arrow": pd.Series(["b", None, "a", "b"], dtype=pd.ArrowDtype(pa.large_string())),
    "dictionary": pd.Series(["b", None, "a", "b"], dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
    "polars": pl.Series(["b", None, "a", "b"]),
    "polars Categorical": pl.Series(["b", None, "a", "b"], dtype=pl.Categorical),
}
each_string = pytest.mark.parametrize("series", STRINGS.values(), ids=STRINGS)


@each_string
def test_strings_are_categories_in_sorted_order(series):
    column, frame = column_of(series), frame_of(series)
    assert (column.kind, column.levels, column.grouped) == ("category", ("a", "b"), ())
    assert all(type(level) is str for level in column.levels)
    schema = Schema.of(frame)
    assert not schema.is_plain
    assert list(schema.n_levels) == [2]
    np.testing.assert_array_equal(schema.cells(frame), [[1], [np.nan], [0], [1]])
    assert_frame_equal(there_and_back(frame), frame)


@each_string
def test_codes_are_taken_for_the_nearest_one(series):
    result = restored(frame_of(series), np.array([[-3.0], [0.4], [0.5], [7.0]]))["a"]
    assert list(result) == ["a", "a", "b", "b"]


@each_string
def test_missing_strings_are_filled(series):
    frame = frame_of(series)
    full = Schema.of(frame).complete(frame, np.zeros((4, 1)))
    assert list(full["a"]) == ["b", "a", "a", "b"]
    assert list(full.dtypes) == list(frame.dtypes)


CATEGORIES = {
    "strings": pd.Categorical(["x", None, "z"], categories=["z", "y", "x"]),
    "ordered": pd.Categorical(["x", None, "z"], categories=["z", "y", "x"], ordered=True),
    "integers": pd.Categorical([3, None, 1], categories=[3, 1, 2]),
    "floats": pd.Categorical([0.5, None, 0.25], categories=[0.5, 2.0, 0.25]),
    "booleans": pd.Categorical([True, None, False], categories=[True, False]),
    "times": pd.Categorical(pd.to_datetime(["2021", None, "2020"]), categories=pd.to_datetime(["2021", "2020"])),
    "intervals": pd.cut(pd.Series([1.0, None, 9.0]), [0, 5, 7, 10]).array,
    "mixed": pd.Categorical([3, None, "a"], categories=[3, "a", (1, 2)]),
    "Arrow strings": pd.Categorical(["x", None, "z"], pd.array(["z", "y", "x"], dtype="string[pyarrow]")),
}


@pytest.mark.parametrize("values", CATEGORIES.values(), ids=CATEGORIES)
def test_categories_of_pandas_keep_their_order_and_unused_levels(values):
    series = pd.Series(values)
    declared = series.cat.categories.tolist()
    column, frame = column_of(series), frame_of(series)
    assert column.levels == tuple(level for level in declared if level in set(series.dropna()))
    assert column.dtype == series.dtype
    back = there_and_back(frame)
    assert_frame_equal(back, frame)
    assert back["a"].cat.categories.equals(series.cat.categories)
    assert back["a"].cat.ordered == series.cat.ordered
    full = Schema.of(frame).complete(frame, np.ones((3, 1)))
    assert full["a"].dtype == series.dtype
    assert full["a"].tolist() == [series[0], column.levels[1], series[2]]


def test_enums_of_polars_keep_their_order_and_unused_levels():
    series = pl.Series(["x", None, "z"], dtype=pl.Enum(["z", "y", "x"]))
    assert column_of(series).levels == ("z", "x")
    assert_frame_equal(there_and_back(frame_of(series)), frame_of(series))


def test_a_slice_of_a_categorical_of_polars():
    frame = pl.DataFrame({"a": pl.Series(["x", "y", None, "z"], dtype=pl.Categorical)})
    schema = Schema.of(frame[2:])
    assert schema.columns[0].levels == ("z",)
    assert_frame_equal(schema.restore(schema.cells(frame[2:])), frame[2:])


# Which columns are categories

MIXED = pd.DataFrame({"a": [3, 1, 3], "b": [0.5, 1.5, np.nan], "c": [True, False, True]})
TABLES = {"pandas": MIXED, "pyarrow": MIXED.convert_dtypes(dtype_backend="pyarrow"), "polars": pl.from_pandas(MIXED)}
each_table = pytest.mark.parametrize("frame", TABLES.values(), ids=TABLES)


@each_table
def test_named_categories(frame):
    schema = Schema.of(frame, ["a", "c"])
    assert [column.kind for column in schema.columns] == ["category", "number", "category"]
    assert [column.levels for column in schema.columns] == [(1, 3), (), (False, True)]
    np.testing.assert_array_equal(schema.cells(frame), [[1, 0.5, 1], [0, 1.5, 0], [1, np.nan, 1]])
    assert_frame_equal(there_and_back(frame, ["a", "c"]), frame)


@pytest.mark.parametrize(
    "categorical", [("c", "a"), [0, 2], np.array([2, 0]), [True, False, True], np.array([True, False, True])], ids=str
)
def test_categories_by_name_index_and_mask(categorical):
    for frame in TABLES.values():
        assert Schema.of(frame, categorical) == Schema.of(frame, ["a", "c"])


@each_table
def test_floats_with_holes_may_be_categories(frame):
    schema = Schema.of(frame, ["b"])
    assert schema.columns[1].levels == (0.5, 1.5)
    np.testing.assert_array_equal(schema.cells(frame)[:, 1], [0, 1, np.nan])
    assert_frame_equal(there_and_back(frame, ["b"]), frame)


@pytest.mark.parametrize("none", [None, [], [False] * 3])
def test_there_may_be_none(none):
    for frame in TABLES.values():
        assert [column.kind for column in Schema.of(frame, none).columns] == ["number", "number", "boolean"]


def test_datetimes_may_be_categories():
    born = pd.to_datetime(["2021", None, "2020", "2021"])
    for frame in [
        pd.DataFrame({"a": born}),
        pl.DataFrame({"a": pl.from_pandas(pd.Series(born))}),
        pl.DataFrame({"a": pl.from_pandas(pd.Series(born.tz_localize("Asia/Tokyo")))}),
    ]:
        np.testing.assert_array_equal(Schema.of(frame, ["a"]).cells(frame).ravel()[:3], [1, np.nan, 0])
        assert_frame_equal(there_and_back(frame, ["a"]), frame)


@pytest.mark.parametrize(
    ("categorical", "message"),
    [
        (["z"], "'z', which is not a column of X; the columns of X are a, b, c"),
        ([3], "holds 3; valid column indices of X are 0 to 2"),
        ([-1], "holds -1"),
        ([True], "mask of 1 columns, but X has 3"),
        ("a", "'a'; it must be 'from_dtype', None, or a list"),
        (2, "must be"),
        ([1.5], "must be"),
        (["a", 1], "must be"),
    ],
    ids=str,
)
def test_impossible_categories(categorical, message):
    for frame in [MIXED, TABLES["polars"]]:
        with pytest.raises(ValueError, match=message):
            Schema.of(frame, categorical)


def test_an_array_has_no_names():
    with pytest.raises(ValueError, match="an array has no column names, so pass indices"):
        Schema.of(np.eye(2), ["a"])


@pytest.mark.parametrize(
    ("categorical", "dtype"),
    [
        *((None, dtype) for dtype in ["category", object, pl.String, pl.Categorical]),
        *((categorical, object) for categorical in [[], ["a"], [0], [True, False]]),
    ],
    ids=str,
)
def test_a_category_that_is_not_named_is_refused(categorical, dtype):
    values = {"a": [1, 2], "odd": ["x", "y"]}
    frame = (
        pl.DataFrame(values, schema_overrides={"odd": dtype}) if isinstance(dtype, type(pl.String)) else pd.DataFrame(values)
    )
    frame = frame.astype({"odd": dtype}) if isinstance(frame, pd.DataFrame) else frame
    with pytest.raises(ValueError, match=r"Column 'odd' has dtype .*categorical_features='from_dtype', or drop it"):
        Schema.of(frame, categorical)


# Datetimes and durations


def times(unit, zone=None, holes=True):
    rng = np.random.default_rng(0)
    values = pd.Series(rng.integers(-(10**9), 2 * 10**9, 50).astype("M8[s]")).astype(f"M8[{unit}]")
    values = values.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else values
    return values.where(rng.random(50) < 0.8) if holes else values


MOMENTS = {f"pandas {unit} {zone}": times(unit, zone) for unit in ["s", "ms", "us", "ns"] for zone in [None, "Europe/Berlin"]}
MOMENTS |= {
    f"pyarrow {unit} {zone}": times(unit, zone).astype(pd.ArrowDtype(pa.timestamp(unit, zone)))
    for unit in ["s", "ms", "us", "ns"]
    for zone in [None, "Europe/Berlin"]
}
MOMENTS |= {
    f"polars {unit} {zone}": pl.from_pandas(times(unit, zone)).cast(pl.Datetime(unit, zone))
    for unit in ["ms", "us", "ns"]
    for zone in [None, "Europe/Berlin"]
}
MOMENTS |= {
    "date32": pd.Series([dt.date(2020, 2, 29), None, dt.date(1901, 1, 1)], dtype=pd.ArrowDtype(pa.date32())),
    "date64": pd.Series([dt.date(2020, 2, 29), None, dt.date(1901, 1, 1)], dtype=pd.ArrowDtype(pa.date64())),
    "Date": pl.Series([dt.date(2020, 2, 29), None, dt.date(1901, 1, 1)]),
}
SPANS = {f"pandas {unit}": times(unit) - times(unit, holes=False).iloc[0] for unit in ["s", "ms", "us", "ns"]}
SPANS |= {f"pyarrow {u}": SPANS[f"pandas {u}"].astype(pd.ArrowDtype(pa.duration(u))) for u in ["s", "ms", "us", "ns"]}
SPANS |= {f"polars {u}": pl.from_pandas(SPANS[f"pandas {u}"]).cast(pl.Duration(u)) for u in ["ms", "us", "ns"]}


@pytest.mark.parametrize("series", [*MOMENTS.values(), *SPANS.values()], ids=[*MOMENTS, *(f"span {name}" for name in SPANS)])
def test_datetimes_and_durations_come_back_to_the_tick(series):
    column, frame = column_of(series), frame_of(series)
    assert column.kind == ("duration" if any(series is span for span in SPANS.values()) else "datetime")
    assert type(column.origin) is int
    schema = Schema.of(frame)
    cells = schema.cells(frame)
    np.testing.assert_array_equal(
        np.isnan(cells[:, 0]), np.asarray(series.is_null() if library_of(frame) == "polars" else series.isna())
    )
    assert_frame_equal(schema.restore(cells), frame)
    assert_frame_equal(schema.restore(cells + 0.3), frame)
    assert abs(np.nanmedian(cells)) <= np.nanmax(np.abs(cells)) / 10 or len(series) == 3
    full = schema.complete(frame, np.zeros_like(cells))
    assert list(full.dtypes) == list(frame.dtypes)
    np.testing.assert_array_equal(schema.cells(full), np.nan_to_num(cells))


def test_nanoseconds_survive():
    series = pd.Series(pd.Timestamp("2024-03-01 12:00").as_unit("ns") + pd.to_timedelta(np.arange(9), unit="ns"))
    for frame in [frame_of(series), frame_of(pl.from_pandas(series))]:
        np.testing.assert_array_equal(Schema.of(frame).cells(frame).ravel(), np.arange(-4, 5))
        assert_frame_equal(there_and_back(frame), frame)


def test_a_moment_far_away_costs_the_others_no_precision():
    series = pd.Series(np.array(["2020-01-01T00:00:00.000001", "2020-01-01T00:00:00.000002", "9999-12-31"], dtype="M8[us]"))
    assert list(there_and_back(frame_of(series))["a"])[:2] == list(series)[:2]


def test_moments_beyond_the_dtype_become_its_nearest():
    far = np.array([[-1e300], [1e300]])
    for series in MOMENTS.values():
        result = Schema.of(frame_of(series)).restore(far)
        values = result["a"].isna() if isinstance(result, pd.DataFrame) else result["a"].is_null()
        assert not values.any()
    nanoseconds = Schema.of(frame_of(MOMENTS["pandas ns None"])).restore(far)["a"]
    assert nanoseconds[0].year < 1700  # differences are of 64 bits, too
    assert nanoseconds[1].year == 2262


@pytest.mark.parametrize("fitted", ["pandas s None", "pandas ns None", "polars us None"])
@pytest.mark.parametrize("seen", ["pandas s None", "pandas ns None", "polars us None", "pyarrow ms None"])
def test_units_may_differ_from_the_fitted_ones(fitted, seen):
    schema, frame = Schema.of(frame_of(MOMENTS[fitted])), frame_of(MOMENTS[seen])
    cells = schema.cells(frame)
    np.testing.assert_allclose(cells, schema.cells(frame_of(MOMENTS[fitted])), rtol=1e-15)
    full = schema.complete(frame, np.zeros_like(cells))
    assert list(full.dtypes) == list(frame.dtypes)
    np.testing.assert_allclose(schema.cells(full), np.nan_to_num(cells), rtol=1e-15)


def test_zones_may_differ_but_not_lack():
    aware, other, naive = (times("us", zone) for zone in ["Europe/Berlin", "Asia/Tokyo", None])
    schema = Schema.of(frame_of(aware))
    np.testing.assert_array_equal(schema.cells(frame_of(other)), schema.cells(frame_of(aware)))
    assert schema.complete(frame_of(other), np.zeros((50, 1)))["a"].dtype == other.dtype
    for fitted, seen in [(aware, naive), (naive, aware)]:
        with pytest.raises(ValueError, match="'a' of X has dtype datetime64"):
            Schema.of(frame_of(fitted)).cells(frame_of(seen))


# Missing cells

MISSING = {
    "NaN": pd.Series([1.0, np.nan, 2.0]),
    "NA": pd.Series([1, None, 2], dtype="Int64"),
    "Arrow": pd.Series([1, None, 2], dtype="int64[pyarrow]"),
    "None among booleans": pd.Series([True, None, False], dtype=object),
    "NaN among booleans": pd.Series([True, np.nan, False], dtype=object),
    "NA among booleans": pd.Series([True, pd.NA, False], dtype="boolean"),
    "Arrow booleans": pd.Series([True, None, False], dtype="bool[pyarrow]"),
    "null": pl.Series([1, None, 2]),
    "null among booleans": pl.Series([True, None, False]),
    "null among floats": pl.Series([1.5, None, 2.0]),
}


@pytest.mark.parametrize("series", MISSING.values(), ids=MISSING)
def test_missing_cells(series):
    frame = frame_of(series)
    cells = Schema.of(frame).cells(frame)
    assert list(np.isnan(cells[:, 0])) == [False, True, False]
    assert Schema.of(frame).is_plain
    assert_frame_equal(there_and_back(frame), frame)
    full = Schema.of(frame).complete(frame, np.ones((3, 1)))["a"]
    assert list(full) == [series[0], 1, series[2]]
    assert full.dtype == series.dtype
    assert list(np.isnan(Schema.of(frame).cells(frame)[:, 0])) == [False, True, False]


def test_nan_of_polars_is_missing():
    frame = pl.DataFrame({"a": [1.0, np.nan, None], "b": [np.nan] * 3})
    schema = Schema.of(frame)
    assert [column.kind for column in schema.columns] == ["number", "ignored"]
    np.testing.assert_array_equal(schema.cells(frame)[:, 0], [1, np.nan, np.nan])
    assert schema.restore(schema.cells(frame))["a"].to_list() == [1, None, None]
    assert schema.complete(frame, np.full((3, 2), 7.0))["a"].to_list() == [1, 7, 7]


def test_nan_of_arrow_is_missing():
    frame = pd.DataFrame({"a": pd.array(pa.array([1.0, float("nan"), None]), dtype="double[pyarrow]"), "b": ["x", "y", "z"]})
    assert Schema.of(frame).complete(frame, np.full((3, 2), 7.0))["a"].tolist() == [1, 7, 7]


OBJECTS = {  # and what 7.4 is in such a column
    "integers": ([3, -1], 7),
    "integers and None": ([3, None, 1], 7),
    "integers and NA": ([3, pd.NA, 1], 7),
    "integers and NaN": ([3, np.nan, 1], 7),
    "integers beyond 64 bits": ([2**70, None, -(2**70)], 7),
    "floats and None": ([1.5, None, 2.0], 7.4),
    "floats and NA": ([1.5, pd.NA, 2.0], 7.4),
    "floats and integers": ([1, 2.5, None], 7.4),
    "numpy's": ([np.int64(3), np.float32(2.5), None], 7.4),
    "decimals": ([Decimal("1.25"), None, Decimal("-3.5")], Decimal("7.4")),
    "whole decimals": ([Decimal(3), pd.NA], 7),
}


@pytest.mark.parametrize(("values", "filling"), OBJECTS.values(), ids=OBJECTS)
def test_objects_that_are_numbers(values, filling):
    frame = frame_of(pd.Series(values, dtype=object))
    schema = Schema.of(frame)
    assert schema.columns[0].kind == "number"
    assert schema.is_plain
    cells = schema.cells(frame)
    np.testing.assert_array_equal(cells[:, 0], [np.nan if pd.isna(value) else float(value) for value in values])
    back, full = schema.restore(cells)["a"], schema.complete(frame, np.full((len(values), 1), 7.4))["a"]
    assert back.dtype == full.dtype == object
    assert all(made is value or made == value for made, value in zip(back, values, strict=True))
    assert list(full) == [filling if pd.isna(value) else value for value in values]
    made = list(schema.restore(np.array([[7.4], [-3.0]]))["a"])
    assert {type(value) for value in made} == {type(filling)}
    assert made[0] == filling


def test_infinity_in_a_column_of_objects():
    for values in [[3, 2**70], [Decimal("1.5"), Decimal(2)]]:
        made = Schema.of(frame_of(pd.Series(values, dtype=object))).restore(np.array([[np.inf], [-np.inf]]))["a"]
        assert made[0] == -made[1] > 10**308


def test_objects_may_stand_for_numbers_and_numbers_for_objects():
    numbers = pd.DataFrame({"a": [1.5, np.nan]})
    objects = pd.DataFrame({"a": pd.Series([1.5, None], dtype=object)})
    for fitted, seen in [(numbers, objects), (objects, numbers)]:
        np.testing.assert_array_equal(Schema.of(fitted).cells(seen), [[1.5], [np.nan]])
        full = Schema.of(fitted).complete(seen, np.array([[0.0], [2.5]]))
        assert full["a"].tolist() == [1.5, 2.5]
        assert full["a"].dtype == seen["a"].dtype


EMPTY = {
    "float": pd.Series([np.nan] * 3),
    "object": pd.Series([None] * 3, dtype=object),
    "category": pd.Series(pd.Categorical([None] * 3, categories=["x"])),
    "string": pd.Series([None] * 3, dtype="string"),
    "Int64": pd.Series([None] * 3, dtype="Int64"),
    "time": pd.Series([pd.NaT] * 3).dt.tz_localize("Asia/Tokyo"),
    "period": pd.Series([pd.NaT] * 3, dtype="period[M]"),
    "Arrow null": pd.Series([None] * 3, dtype=pd.ArrowDtype(pa.null())),
    "Arrow list": pd.Series([None] * 3, dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "polars": pl.Series([None] * 3, dtype=pl.String),
    "polars Null": pl.Series([None] * 3),
    "polars Enum": pl.Series([None] * 3, dtype=pl.Enum(["x"])),
    "polars List": pl.Series([None] * 3, dtype=pl.List(pl.Int8)),
}


@pytest.mark.parametrize("series", EMPTY.values(), ids=EMPTY)
def test_a_column_without_values_is_ignored(series):
    frame = frame_of(series)
    schema = Schema.of(frame)
    assert schema.columns[0].kind == "ignored"
    assert not schema.is_plain
    assert list(schema.n_levels) == [0]
    assert np.isnan(schema.cells(frame)).all()
    assert_frame_equal(there_and_back(frame), frame)
    assert_frame_equal(schema.restore(np.zeros((3, 1))), frame)
    assert_frame_equal(schema.complete(frame, np.full((3, 1), np.nan)), frame)


def test_an_ignored_column_may_hold_anything_later():
    schema = Schema.of(pd.DataFrame({"a": [np.nan, np.nan]}))
    later = pd.DataFrame({"a": ["x", None]})
    assert np.isnan(schema.cells(later)).all()
    assert_frame_equal(schema.complete(later, np.ones((2, 1))), later)


FITTED = pd.DataFrame({"n": [1, 2], "b": [True, False], "s": ["x", "y"], "t": pd.to_datetime(["2020", "2021"])})


@pytest.mark.parametrize("fitted", [FITTED, pl.from_pandas(FITTED)], ids=["pandas", "polars"])
@pytest.mark.parametrize(
    "empty",
    [pd.DataFrame([[None] * 4] * 2, columns=FITTED.columns, dtype=kind) for kind in (object, float)]
    + [pl.DataFrame({name: [None, None] for name in FITTED})],
    ids=["object", "float", "polars"],
)
def test_a_table_without_values_can_be_read_and_completed(fitted, empty):
    schema = Schema.of(fitted)
    assert np.isnan(schema.cells(empty)).all()
    full = schema.complete(empty, np.array([[1.2, 1, 1, 0], [2, 0, 0, 0]], dtype=float))
    assert list(full["n"]) == [1, 2]
    assert list(full["b"]) == [True, False]
    assert list(full["s"]) == ["y", "x"]
    assert [moment.year for moment in full["t"]] == [2020, 2020]
    if "object" in map(str, empty.dtypes):
        assert list(full.dtypes) == list(empty.dtypes)
        assert type(full["n"][0]) is int


def test_zones_are_kept_in_a_column_of_objects():
    born = pd.Series(pd.to_datetime(["2020", "2021", "2022"])).dt.tz_localize("Asia/Tokyo")
    empty = pd.DataFrame({"a": pd.Series([None] * 3, dtype=object)})
    full = Schema.of(frame_of(born)).complete(empty, np.zeros((3, 1)))
    assert full["a"].tolist() == 3 * [born[1]]


# Rare levels


def many(counts):
    return [f"level {i:04}" for i, count in enumerate(counts) for _ in range(count)]


def with_warning(values, **kwargs):
    results = []
    for frame in [pd.DataFrame({"a": values}), pd.DataFrame({"a": pd.Categorical(values)}), pl.DataFrame({"a": values})]:
        with pytest.warns(UserWarning, match="'a'") as caught:
            results.append((frame, Schema.of(frame)))
        assert len(caught) == 1
    return results, str(caught[0].message)


def test_few_levels_are_kept_whole():
    frame = pd.DataFrame({"a": many([100] + 19 * [1])})
    column = Schema.of(frame).columns[0]
    assert (len(column.levels), column.grouped) == (20, ())


@pytest.mark.parametrize(
    ("counts", "n_kept"),
    [
        ([100] * 10 + [3] * 10 + [9] * 5, 10),  # 1075 rows: below 10
        ([100] * 10 + [3] * 10 + [10] * 5, 15),
        ([20] * 10 + [1] * 5 + [2] * 10, 10),  # 225 rows: below 2.25
        ([4] * 15 + [1] * 10, 15),  # 70 rows: below 2
        ([2] * 15 + [1] * 10, 15),
        ([20 + i for i in range(130)], 100),
        ([20 + i // 10 for i in range(150)], 100),
        ([20 + i // 15 for i in range(150)], 90),  # the levels at the cut are equally frequent
        ([20] * 140 + [300] * 10, 10),  # which are more than half of the rows
    ],
    ids=str,
)
def test_rare_levels_share_the_last_code(counts, n_kept):
    results, message = with_warning(many(counts))
    for frame, schema in results:
        column = schema.columns[0]
        assert column.kind == "category"
        assert len(column.levels) == n_kept + 1 == schema.n_levels[0]
        assert len(column.grouped) == len(counts) - n_kept
        largest = max(range(len(counts)), key=lambda i: (f"level {i:04}" in column.grouped, counts[i], -i))
        assert column.levels[-1] == f"level {largest:04}"
        assert list(column.levels[:-1]) == sorted(column.levels[:-1])
        kept_least = min(counts[int(level[6:])] for level in column.levels[:-1])
        assert kept_least > max(counts[int(level[6:])] for level in column.grouped)
        cells = schema.cells(frame, handle_unknown="error")[:, 0]
        back = list(schema.restore(cells[:, None])["a"])
        expected = [column.levels[-1] if level in column.grouped else level for level in frame["a"]]
        assert back == expected
        assert cells[list(frame["a"]).index(column.grouped[-1])] == n_kept
        assert f"{len(counts)} categories" in message
        assert str(len(column.grouped)) in message
        assert "Merge" in message
        assert f"{len(counts)} categories, {len(column.grouped)} of them grouped" in repr(schema)


def test_the_alphabet_decides_nothing():
    counts = [20 + i // 15 for i in range(150)]
    expected = None
    for seed in range(5):
        names = [f"level {i:04}" for i in np.random.default_rng(seed).permutation(150)]
        values = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
        with pytest.warns(UserWarning, match="60 of them are rare"):
            column = Schema.of(pd.DataFrame({"a": values})).columns[0]
        kept = {i for i, name in enumerate(names) if name in column.levels[:-1]}
        expected = expected or kept
        assert kept == expected == set(range(60, 150))


@pytest.mark.parametrize(
    "counts",
    [
        [12] * 300,
        [50] * 101,
        [20] * 150,
        [20] * 140 + [30] * 10,
        np.random.default_rng(0).poisson(12, 300),
    ],
    ids=["300", "101", "150", "10 more frequent", "random"],
)
def test_more_levels_than_codes_are_ignored_where_these_would_hold_few_rows(counts):
    results, message = with_warning(many(counts))
    words = f"{len(counts)} categories in {sum(counts)} rows, too many to learn from. It is ignored"
    assert words in message
    assert "Merge categories that belong together." in message
    assert "Drop" not in message
    for frame, schema in results:
        assert schema.columns[0].kind == "ignored"
        assert np.isnan(schema.cells(frame)).all()


def test_names_with_a_repeated_one_are_ignored():
    values = [*(f"person {i}" for i in range(488)), *["unknown"] * 12]
    results, message = with_warning(values)
    assert "has 489 categories in 500 rows, 488 of which occur once. It is ignored" in message
    for frame, schema in results:
        assert schema.columns[0].kind == "ignored"
        assert all(pd.isna(list(schema.restore(schema.cells(frame))["a"])))
        assert "489 categories in 500 rows" in repr(schema)


@pytest.mark.parametrize(("n_single", "kind"), [(79, "category"), (80, "ignored")])
def test_names_are_at_least_four_fifths_of_the_rows(n_single, kind):
    values = [f"single {i}" for i in range(n_single)] + ["common"] * (100 - n_single) + [None] * 50
    with pytest.warns(UserWarning, match="'a' has"):
        assert Schema.of(pd.DataFrame({"a": values})).columns[0].kind == kind


def test_cabins_stay_a_category():
    """As on the Titanic: half of the rows that have a level share it with others."""
    values = (
        [f"C{i}" for i in range(101)] + [f"B{i // 2}" for i in range(80)] + [f"D{i // 4}" for i in range(23)] + [None] * 687
    )
    with pytest.warns(UserWarning, match=r"'a' has 147 categories. \d+ of them are rare"):
        assert Schema.of(pd.DataFrame({"a": values})).columns[0].kind == "category"


def test_a_single_rare_level_keeps_its_code():
    frame = pd.DataFrame({"a": many([50] * 20 + [1])})
    assert Schema.of(frame).n_levels[0] == 21


def test_identifiers_are_ignored():
    results, message = with_warning([f"name {i}" for i in range(891)])
    assert "891 categories in 891 rows" in message
    assert "drop" in message
    for frame, schema in results:
        assert schema.columns[0].kind == "ignored"
        assert np.isnan(schema.cells(frame)).all()
        back = schema.restore(schema.cells(frame))
        assert list(back.dtypes) == list(frame.dtypes)
        assert all(pd.isna(list(back["a"])))
        assert_frame_equal(schema.complete(frame, np.zeros((891, 1))), frame)
        assert "891 categories" in repr(schema)


def test_there_is_one_warning_for_all_columns():
    frame = pd.DataFrame({"id": range(200), "name": [f"n{i}" for i in range(200)], "city": many([60, 60, 50] + [1] * 30)})
    with pytest.warns(UserWarning, match=r"'id' has 200.*'name' has 200.*'city' has 33") as caught:
        schema = Schema.of(frame, ["id", "name", "city"])
    assert len(caught) == 1
    assert [column.kind for column in schema.columns] == ["ignored", "ignored", "category"]
    assert schema.restore(schema.cells(frame))["id"].isna().all()


# Unknown levels and other dtypes at apply

KNOWN = {
    "strings": pd.DataFrame({"a": ["x", "y"]}),
    "category": pd.DataFrame({"a": pd.Categorical(["x", "y"], ["y", "x", "unused"])}),
    "polars": pl.DataFrame({"a": ["x", "y"]}),
    "Enum": pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y", "unused"]))}),
}
OTHER = {
    "strings": pd.DataFrame({"a": ["y", "w", None]}),
    "category": pd.DataFrame({"a": pd.Categorical(["y", "w", None], ["w", "x", "y", "v"])}),
    "polars": pl.DataFrame({"a": ["y", "w", None]}),
    "Enum": pl.DataFrame({"a": pl.Series(["y", "w", None], dtype=pl.Enum(["w", "y", "v"]))}),
}


@pytest.mark.parametrize(
    ("fitted", "seen"),
    [
        *((name, name) for name in KNOWN),
        *[("strings", "Enum"), ("category", "polars"), ("polars", "category"), ("Enum", "strings")],
    ],
)
def test_unknown_levels(fitted, seen):
    fitted, seen = KNOWN[fitted], OTHER[seen]
    schema = Schema.of(fitted)
    code = schema.columns[0].levels.index("y")
    np.testing.assert_array_equal(schema.cells(seen), [[code], [np.nan], [np.nan]])
    with pytest.raises(
        ValueError, match=r"Column 'a' of X_val holds categories .* at fit: w. Fit on .*handle_unknown='ignore'"
    ):
        schema.cells(seen, handle_unknown="error", name="X_val")
    full = schema.complete(seen, np.full((3, 1), float(code)))
    assert list(full["a"]) == ["y", "w", "y"]
    assert list(full.dtypes) == list(seen.dtypes)


def test_only_unknown_levels_that_occur_count():
    schema = Schema.of(KNOWN["category"])
    assert schema.cells(OTHER["category"].iloc[:1], handle_unknown="error").tolist() == [[0]]


def test_a_dtype_without_the_level_that_fills_is_refused():
    for fitted, seen in [("category", OTHER["category"]), ("Enum", OTHER["Enum"])]:
        schema = Schema.of(KNOWN["strings"])
        narrow = seen.assign(a=seen["a"].cat.remove_categories("x")) if fitted == "category" else seen
        with pytest.raises(ValueError, match=r"'a' has dtype .*, which lacks categories needed to .*: x; add them"):
            schema.complete(narrow, np.zeros((3, 1)))


WRONG = {
    "strings for numbers": ({"a": [1.5, 2.0]}, {"a": ["x", "y"]}),
    "numbers for strings": ({"a": ["x", "y"]}, {"a": [1.5, 2.0]}),
    "strings for booleans": ({"a": [True, False]}, {"a": ["x", "y"]}),
    "numbers for booleans": ({"a": [True, False]}, {"a": [0.5, 2.0]}),
    "numbers for datetimes": ({"a": [dt.datetime(2020, 1, 1)] * 2}, {"a": [1, 2]}),
    "datetimes for numbers": ({"a": [1, 2]}, {"a": [dt.datetime(2020, 1, 1)] * 2}),
    "durations for datetimes": ({"a": [dt.datetime(2020, 1, 1)] * 2}, {"a": [dt.timedelta(1)] * 2}),
    "datetimes for strings": ({"a": ["x", "y"]}, {"a": [dt.datetime(2020, 1, 1)] * 2}),
}


@pytest.mark.parametrize(("fitted", "seen"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("library", [pd, pl])
def test_a_column_of_another_kind_is_refused(library, fitted, seen):
    fitted, seen = library.DataFrame(fitted), library.DataFrame(seen)
    with pytest.raises(ValueError, match="Column 'a' of X has dtype") as caught:
        Schema.of(fitted).cells(seen)
    for dtype in [*fitted.dtypes, *seen.dtypes]:
        assert str(dtype) in str(caught.value)
    assert "convert" in str(caught.value)


def test_numbers_may_be_of_another_width():
    schema = Schema.of(pd.DataFrame({"a": [1, 2], "b": [True, False]}))
    for dtypes in [
        ("float32", "bool"),
        ("Int8", "boolean"),
        ("float64", "float64"),
        ("bool", "int64"),
        ("double[pyarrow]", object),
    ]:
        frame = pd.DataFrame({"a": [1, 0], "b": [True, False]}).astype(dict(zip("ab", dtypes, strict=True)))
        np.testing.assert_array_equal(schema.cells(frame), [[1, 1], [0, 0]])
    np.testing.assert_array_equal(schema.cells(pl.DataFrame({"a": [1.0, None], "b": [True, None]})), [[1, 1], [np.nan, np.nan]])


def test_integers_stay_whole_in_a_column_of_floats():
    schema = Schema.of(pd.DataFrame({"a": [1, 2]}))
    assert schema.complete(pd.DataFrame({"a": [1.5, np.nan]}), np.array([[0], [2.3]]))["a"].tolist() == [1.5, 2.0]
    assert Schema.of(pd.DataFrame({"a": [1.5]})).complete(
        pd.DataFrame({"a": pd.array([1, None], dtype="Int8")}), np.full((2, 1), 300.4)
    )["a"].tolist() == [1, 127]


@pytest.mark.parametrize(
    ("fitted", "seen", "filled"),
    [
        ([True, False], pl.Series([1.0, None]), [1, 1]),
        ([True, False], pl.Series([1, None], dtype=pl.Int8), [1, 1]),
        ([True, False], pd.Series([1, None], dtype="Int8"), [1, 1]),
        ([True, False], pd.Series([True, None], dtype=object), [True, True]),
        ([3, 1], pd.Series([1.0, np.nan], dtype="float32"), [1, 2]),
        ([3, 1], pl.Series([1.0, np.nan]), [1, 2]),
        ([0.5, 1.5], pl.Series([1, None], dtype=pl.UInt8), [1, 2]),
    ],
)
@pytest.mark.parametrize("library", [pd, pl])
def test_what_fills_takes_the_dtype_of_the_rest(library, fitted, seen, filled):
    full = Schema.of(library.DataFrame({"a": fitted})).complete(frame_of(seen), np.full((2, 1), 1.7))["a"]
    assert full.dtype == seen.dtype
    assert list(full) == filled


def test_nothing_but_nan_may_stand_for_any_kind():
    seen = pl.DataFrame({"a": [np.nan, np.nan]})
    assert np.isnan(Schema.of(pl.DataFrame({"a": ["x", "y"]})).cells(seen)).all()


def test_integer_codes_may_come_back_as_floats():
    schema = Schema.of(pd.DataFrame({"a": [1, 2, 3]}), ["a"])
    np.testing.assert_array_equal(schema.cells(pd.DataFrame({"a": [3.0, np.nan]})), [[2], [np.nan]])


def test_levels_may_come_back_as_categories():
    schema = Schema.of(pl.DataFrame({"a": ["x", "y"]}))
    np.testing.assert_array_equal(schema.cells(pd.DataFrame({"a": pd.Categorical(["y", "x"])})), [[1], [0]])


def test_the_number_of_columns_is_checked():
    with pytest.raises(ValueError, match="X has 1 columns, but there were 2 at fit"):
        Schema.of(pd.DataFrame({"a": [1], "b": [2]})).cells(pd.DataFrame({"a": [1]}))


# What is refused; columns of no use are in test_remedies.py


def test_what_cannot_be_compared_is_no_category():
    for series in [pd.Series([1, "x"], dtype=object), pd.Series([[1], [2]])]:
        with pytest.raises(ValueError, match="Column 'a' has dtype object"):
            Schema.of(frame_of(series), ["a"])
    with pytest.raises(ValueError, match="Column 'a' has dtype object"):
        Schema.of(pd.DataFrame({"a": ["x"]})).cells(pd.DataFrame({"a": [["x"]]}))


def test_a_lazy_frame_is_refused():
    with pytest.raises(TypeError, match="collect"):
        Schema.of(pl.LazyFrame({"a": [1]}))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns named 'a'; rename"),
        (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([["a"], ["b", "c"]])), "MultiIndex.*flatten"),
        (pd.DataFrame(index=range(3)), "no columns"),
        (pl.DataFrame(), "no columns"),
    ],
)
def test_impossible_columns(frame, message):
    with pytest.raises(ValueError, match=message):
        Schema.of(frame)


# The whole

PEOPLE = pd.DataFrame(
    {
        "age": [39, 50, 38],
        "sex": ["Male", "Female", None],
        "native": pd.Categorical(["Peru", "Cuba", "Peru"], categories=["Peru", "Chile", "Cuba"], ordered=True),
        "born": pd.to_datetime(["1980-01-02", "1970-05-06", None]),
        "stay": pd.to_timedelta([1, 2, None], unit="h"),
        "member": [True, False, True],
        "nothing": [None, None, None],
    }
)
PEOPLES = {"pandas": PEOPLE, "pyarrow": PEOPLE.convert_dtypes(dtype_backend="pyarrow"), "polars": pl.from_pandas(PEOPLE)}


@pytest.mark.parametrize("frame", PEOPLES.values(), ids=PEOPLES)
def test_the_representation_is_a_table(frame):
    schema = Schema.of(frame)
    header, *rows = repr(schema).splitlines()
    assert header.split() == ["column", "kind", "dtype", "content"]
    kinds = ["number", "category", "category", "datetime", "duration", "boolean", "ignored"]
    assert [row.split()[:2] for row in rows] == [list(pair) for pair in zip(frame.columns, kinds, strict=True)]
    assert "Female, Male" in rows[1]
    assert "Peru, Cuba" in rows[2] or library_of(frame) == "polars"
    assert "around 1980-01-02" in rows[3] or "around 1970-05-06" in rows[3]
    assert "empty" in rows[6]
    assert str(schema) == repr(schema)
    assert max(map(len, repr(schema).splitlines())) < 160


TOLD = {
    "width": ([0.5 * i for i in range(40)], "number", ""),
    "one": ([3] * 40, "number", "constant"),
    "flag": ([True, False] * 20, "boolean", ""),
    "always": ([True] * 40, "boolean", "constant"),
    "size": (["small", "large"] * 20, "category", "2 categories: large, small"),
    "same": (["red"] * 40, "category", "constant: red"),
    "city": (
        ["x", "y"] * 5 + [f"c{i // 2}" for i in range(25)] + [f"z{i}" for i in range(5)],
        "category",
        "20 categories: c0, c1, c10, c11, c12, c2, c3, c4, c5, c6, c7, c8, ...",
    ),
    "town": (
        [f"c{i // 2}" for i in range(30)] + [f"z{i}" for i in range(10)],
        "category",
        "25 categories, 10 of them grouped: c0, c1, c10, c11, c12, c13, c14, c2, c3, c4, c5, ...",
    ),
    "name": ([f"person {i}" for i in range(40)], "ignored", "40 categories in 40 rows"),
    "price": ([f"${i}.50" for i in range(40)], "ignored", "40 categories in 40 rows, numbers written as text"),
    "day": (
        [f"{i % 28 + 1}.{i % 12 + 1}.2024" for i in range(40)],
        "ignored",
        "40 categories in 40 rows, dates written as text",
    ),
    "nothing": ([None] * 40, "ignored", "empty"),
    "born": ([dt.datetime(2024, 1, 2)] * 40, "datetime", "constant, around 2024-01-02"),
}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.filterwarnings("ignore:Column:UserWarning")
def test_the_representation_says_what_each_column_was_taken_for(make):
    _, *rows = repr(Schema.of(make({name: values for name, (values, _, _) in TOLD.items()}))).splitlines()
    for row, (name, (_, kind, content)) in zip(rows, TOLD.items(), strict=True):
        assert row.split()[:2] == [name, kind]
        told = content if len(content) <= 80 else content[:77] + "..."
        assert row.endswith(f"  {told}") if told else len(row.split()) <= 4


def test_long_representations_are_cut():
    frame = pd.DataFrame({"n" * 100: [f"{i % 18:0200}" for i in range(40)]})
    assert max(map(len, repr(Schema.of(frame)).splitlines())) < 160
    assert "18 categories" in repr(Schema.of(frame))
    assert "numbers" in repr(Schema.of(np.eye(2)))
    assert "category" in repr(Schema.of(np.eye(2), [0]))


@pytest.mark.parametrize("frame", PEOPLES.values(), ids=PEOPLES)
def test_schemas_can_be_copied_and_pickled(frame):
    schema = Schema.of(frame)
    for twin in [copy.deepcopy(schema), pickle.loads(pickle.dumps(schema))]:
        np.testing.assert_array_equal(twin.cells(frame), schema.cells(frame))
        assert_frame_equal(twin.restore(twin.cells(frame)), frame)


@pytest.mark.parametrize("fitted", PEOPLES.values(), ids=PEOPLES)
@pytest.mark.parametrize("seen", PEOPLES.values(), ids=PEOPLES)
def test_a_frame_of_another_library_can_be_read(fitted, seen):
    schema = Schema.of(fitted)
    np.testing.assert_array_equal(schema.cells(seen), schema.cells(fitted))
    full = schema.complete(seen, np.zeros(seen.shape))
    assert type(full) is type(seen)
    assert list(full.dtypes) == list(seen.dtypes)
    assert not np.isnan(schema.cells(full)[:, :-1]).any()


# Properties

HOLES = st.sampled_from([0.0, 0.1, 0.5, 0.95])
ZONES = st.sampled_from([None, "UTC", "Asia/Kolkata", "America/New_York"])


def int_like(rng, n, bits):
    return rng.integers(-(2 ** (min(bits, 53) - 1)), 2 ** (min(bits, 53) - 1), n)


@st.composite
def a_column(draw, n, family):
    """Values and holes of a random kind, in the dtypes of one family."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["float", "int", "bool", "string", "category", "datetime", "duration"]))
    holes = rng.random(n) < draw(HOLES)
    bits, unit, zone = draw(st.sampled_from([8, 16, 32, 64])), draw(st.sampled_from(["ms", "us", "ns"])), draw(ZONES)
    levels = draw(st.lists(st.text(max_size=3).filter(str.isprintable), min_size=1, max_size=20, unique=True))
    picks = [levels[i] for i in rng.integers(0, len(levels), n)]
    if family == "numpy" and kind in {"int", "bool"}:
        holes[:] = False
    if kind == "float":
        name = draw(st.sampled_from(["float32", "float64"]))
        values = pd.Series(rng.normal(size=n).astype(name) * 10.0 ** int(rng.integers(-5, 5)), dtype=name)
        dtypes = {"nullable": name.title(), "arrow": {"float32": "float", "float64": "double"}[name] + "[pyarrow]"}
    elif kind == "int":
        values = pd.Series(int_like(rng, n, bits), dtype=f"int{bits}")
        dtypes = {"nullable": f"Int{bits}", "arrow": f"int{bits}[pyarrow]"}
    elif kind == "bool":
        values, dtypes = pd.Series(rng.random(n) < 0.5), {"nullable": "boolean", "arrow": "bool[pyarrow]"}
    elif kind == "string":
        values, dtypes = pd.Series(picks, dtype=object), {"nullable": "string[python]", "arrow": pd.ArrowDtype(pa.string())}
    elif kind == "category":
        values = pd.Series(
            pd.Categorical(picks, categories=[*levels, "not used"], ordered=family != "arrow" and draw(st.booleans()))
        )
        dtypes = {"arrow": pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))}
    else:
        start = int(rng.integers(0, 2**31)) if kind == "datetime" else 0
        letter = "M" if kind == "datetime" else "m"
        values = pd.Series((start + rng.integers(0, 10**6, n)).astype(f"{letter}8[s]")).astype(f"{letter}8[{unit}]")
        if kind == "datetime" and zone:
            values = values.dt.tz_localize("UTC").dt.tz_convert(zone)
        dtypes = {"arrow": pd.ArrowDtype(pa.timestamp(unit, zone) if kind == "datetime" else pa.duration(unit))}
    if family == "polars":
        values = pl.Series(values.to_numpy() if kind == "bool" else pl.from_pandas(values))
        if kind == "category":
            values = values.cast(pl.String).cast(pl.Enum([*levels, "not used"]) if draw(st.booleans()) else pl.Categorical)
        return pl.select(pl.when(pl.Series(~holes)).then(values)).to_series()
    values = values.astype(dtypes.get(family, values.dtype))
    return values.where(~holes) if holes.any() else values


@st.composite
def a_frame(draw, family):
    n = draw(st.integers(1, 40))
    columns = draw(st.lists(a_column(n, family), min_size=1, max_size=6))
    names = draw(st.lists(st.text(min_size=1, max_size=4).filter(str.isprintable), min_size=6, max_size=6, unique=True))
    if family == "polars":
        return pl.DataFrame([series.alias(name) for name, series in zip(names, columns, strict=False)])
    index = draw(
        st.sampled_from([pd.RangeIndex(n), pd.Index(range(n, 0, -1)), pd.Index([0] * n), pd.Index([f"r{i}" for i in range(n)])])
    )
    return pd.concat([series.set_axis(index) for series in columns], axis=1).set_axis(names[: len(columns)], axis=1)


def is_missing(frame):
    return (
        frame.isna().to_numpy() if isinstance(frame, pd.DataFrame) else np.column_stack([s.is_null().to_numpy() for s in frame])
    )


@pytest.mark.parametrize("family", ["numpy", "nullable", "arrow", "polars"])
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_frame_comes_back(family, data):
    frame = data.draw(a_frame(family))
    before = frame.copy(deep=True) if isinstance(frame, pd.DataFrame) else frame.clone()
    schema = Schema.of(frame)
    cells = schema.cells(frame)
    assert cells.shape == frame.shape
    assert cells.flags.c_contiguous
    missing = is_missing(frame)
    np.testing.assert_array_equal(np.isnan(cells), missing)
    assert_frame_equal(schema.restore(cells, index_of(frame)), frame)
    assert_frame_equal(schema.complete(frame, cells), frame)
    np.testing.assert_array_equal(schema.cells(schema.restore(cells)), cells)

    filling = data.draw(st.sampled_from([0.0, 0.3, 1.7, -5.0, 1e3]))
    full = schema.complete(frame, np.full(frame.shape, filling))
    assert list(full.dtypes) == list(frame.dtypes)
    assert list(full.columns) == list(frame.columns)
    modelled = [column.kind != "ignored" for column in schema.columns]
    assert not is_missing(full)[:, modelled].any()
    np.testing.assert_array_equal(schema.cells(full)[~missing], cells[~missing])
    whole = schema.restore(np.full(frame.shape, filling), index_of(frame))
    for i, name in enumerate(frame.columns):
        seen, filled, own = (list(table[name]) for table in (frame, full, whole))
        if modelled[i]:
            assert filled == [b if hole else a for a, b, hole in zip(seen, own, missing[:, i], strict=True)]
    assert_frame_equal(frame, before)


@pytest.mark.parametrize("family", ["numpy", "nullable", "arrow", "polars"])
def test_a_large_table_is_read_at_once(family):
    """No loop over rows in Python: twenty thousand of them take no longer than a blink."""
    n, rng = 20_000, np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "f": rng.normal(size=n),
            "i": rng.integers(0, 9, n),
            "s": rng.choice(["x", "y"], n),
            "t": rng.integers(0, 10**9, n).astype("M8[s]"),
        }
    )
    convert = {"nullable": pd.DataFrame.convert_dtypes, "arrow": partial(pd.DataFrame.convert_dtypes, dtype_backend="pyarrow")}
    frame = pl.from_pandas(frame) if family == "polars" else convert.get(family, lambda frame: frame)(frame)
    assert_frame_equal(there_and_back(frame), frame)
