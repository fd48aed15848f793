"""Each line of code in a message runs on the input that provoked it, and the call then succeeds."""

import datetime as dt
import re
from fractions import Fraction

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer
from skvae._tables.schema import Schema

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(24, 3))
QUICK = {"hidden_layer_sizes": (), "max_iter": 3, "early_stopping": False, "random_state": 0}
ESTIMATORS = {
    "autoencoder": AutoencoderTransformer(1, **QUICK),
    "vae": VAETransformer(1, **QUICK),
    "imputer": AutoencoderImputer(1, **QUICK),
    "detector": AEAnomalyDetector(1, cv=2, **QUICK),
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def lines_in(message):
    return re.findall(r"`([^`]*)`", str(message))


def run(line, X, name="X"):
    """What a table becomes by a line of code."""
    names = {"np": np, "pd": pd, "pl": pl, "nw": nw, "pyarrow": pa, name: X.copy() if isinstance(X, pd.DataFrame) else X}
    exec(line, names)
    return names[name]


def refused(call, table, *words):
    """The message of a call that fails."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call(table)
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    return str(caught.value)


def autoencoder(**params):
    return AutoencoderTransformer(1, **QUICK | params)


def assert_remedied(call, table, *words, name="X", n_lines=1):
    """The call fails, and succeeds with what each line in the message makes of the table."""
    lines = lines_in(refused(call, table, *words))
    assert len(lines) == n_lines
    for line in lines:
        call(run(line, table, name))


def beside_numbers(series, n_rows=24):
    """A frame of the series, repeated, as column "a" and of numbers as column "b"."""
    n = -(-n_rows // len(series))
    if isinstance(series, pl.Series):
        return pl.DataFrame({"a": pl.concat([series] * n)[:n_rows], "b": NUMBERS[:, 0]})
    return pd.concat([series] * n, ignore_index=True)[:n_rows].to_frame("a").assign(b=NUMBERS[:, 0])


# Columns

STRANGE = {
    "strings and numbers": (pd.Series([1, "x"], dtype=object), "such as 1 and 'x'"),
    "strings and booleans": (pd.Series([True, "x", None], dtype=object), "such as True and 'x'"),
    "numbers and booleans": (pd.Series([True, 2], dtype=object), "such as True and 2"),
    "lists": (pd.Series([[1, 2], [2, 3], None]), "such as [1, 2]"),
    "tuples": (pd.Series([(1, 2), (2, 3)]), "such as (1, 2)"),
    "arrays": (pd.Series([np.array([1, 2]), np.array([2, 3])]), "such as array"),
    "dicts": (pd.Series([{"u": 1, "v": 2}, {"u": 2, "v": 3}]), "such as {'u': 1"),
    "sets": (pd.Series([{1}, {2}]), "such as {1}"),
    "fractions": (pd.Series([Fraction(1, 3), Fraction(1, 2)]), "such as Fraction"),
    "dates": (pd.Series([dt.date(2020, 1, 1), None]), "such as datetime.date"),
    "datetimes": (pd.Series([dt.datetime(2020, 1, 1), None], dtype=object), "such as"),
    "timedeltas": (pd.Series([dt.timedelta(1), None], dtype=object), "such as"),
    "times": (pd.Series([dt.time(1), None, dt.time(2, 3, 4, 5)]), "such as datetime.time"),
    "bytes": (pd.Series([b"x", None]), "such as b'x'"),
    "complex": (pd.Series([1j, 2.0]), "complex128"),
    "complex objects": (pd.Series([1j, 2j, None], dtype=object), "such as 1j"),
    "period": (pd.Series(pd.period_range("2020", periods=2, freq="M")), "period[M]"),
    "interval": (pd.Series(pd.interval_range(0, 2)), "interval"),
    "sparse": (pd.Series([0.0, 1.0], dtype="Sparse[float]"), "Sparse"),
    "sparse booleans": (pd.Series([False, True], dtype="Sparse[bool]"), "Sparse"),
    "Arrow times": (pd.Series([dt.time(1), None], dtype=pd.ArrowDtype(pa.time64("us"))), "time64"),
    "Arrow lists": (pd.Series([[1, 2], [3, 4]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))), "list"),
    "Arrow lists of a size": (pd.Series([[1, 2]], dtype=pd.ArrowDtype(pa.list_(pa.int64(), 2))), "fixed_size_list"),
    "Arrow structs": (pd.Series([{"u": 1}], dtype=pd.ArrowDtype(pa.struct([("u", pa.int64())]))), "struct"),
    "Arrow bytes": (pd.Series([b"x", None], dtype=pd.ArrowDtype(pa.binary())), "binary"),
    "polars lists": (pl.Series([[1], [2, 3], None]), "List"),
    "polars arrays": (pl.Series([[1, 2], [2, 3]], dtype=pl.Array(pl.Int64, 2)), "Array"),
    "polars structs": (pl.Series([{"u": 1}, {"u": 2}]), "Struct"),
    "polars times": (pl.Series([dt.time(1), None]), "Time"),
    "polars bytes": (pl.Series([b"x", None]), "Binary"),
    "polars objects": (pl.Series([Fraction(1, 3), Fraction(1, 2)] * 12, dtype=pl.Object), "Object"),
}


@pytest.mark.parametrize(("series", "word"), STRANGE.values(), ids=STRANGE)
def test_a_column_of_no_use_is_converted_or_dropped(series, word):
    table = (
        pl.DataFrame({"a": series, "b": NUMBERS[:, 0]})
        if isinstance(series, pl.Series) and series.dtype == pl.Object
        else beside_numbers(series)
    )
    assert_remedied(autoencoder().fit, table, "Column 'a' has dtype ", word, "it with `", "or drop it", n_lines=2)


def test_parts_of_several_columns_have_names_of_their_own():
    table = pd.DataFrame({"a": [1j, 2.0] * 12, "b": [3j, 4.0] * 12, "c": [[1, 2], [3, 4]] * 12, "d": [[5, 6], [7, 8]] * 12})
    for _ in table.columns:
        table = run(lines_in(refused(autoencoder().fit, table, "split it"))[0], table)
    assert list(table) == ["a real", "a imag", "b real", "b imag", "c 0", "c 1", "d 0", "d 1"]
    assert table.iloc[1].tolist() == [2, 0, 4, 0, 3, 4, 7, 8]
    autoencoder().fit(table)


@pytest.mark.parametrize("table", [beside_numbers(pd.Series(["x", "y"])), beside_numbers(pl.Series(["x", "y"]))])
def test_a_category_that_is_not_named(table):
    fit = autoencoder(categorical_features=None).fit
    assert_remedied(fit, table, "'a'", "is not among categorical_features; add it there", "'from_dtype'")
    autoencoder(categorical_features=["a"]).fit(table)
    autoencoder(categorical_features="from_dtype").fit(table)


@pytest.mark.parametrize(
    ("features", "message", "remedy"),
    [
        ([True], "a mask of 1 columns, but X has 2; pass one entry per column", [True, False]),
        ([2], "holds 2; valid column indices of X are 0 to 1", [0]),
        (["z"], "holds 'z', which is not a column of X; the columns of X are a, b", ["a"]),
        ("a", "it must be 'from_dtype', None, or a list of names, indices or booleans", ["a"]),
        ("a", "it must be 'from_dtype', None, or a list of names, indices or booleans", "from_dtype"),
    ],
)
def test_categories_that_are_not_there(features, message, remedy):
    table = beside_numbers(pd.Series(["x", "y"]))
    with pytest.raises(ValueError, match="categorical_features") as caught:
        Schema.of(table, features)
    assert message in str(caught.value)
    autoencoder(categorical_features=remedy).fit(table)


def test_an_array_has_indices():
    refused(autoencoder(categorical_features=["a"]).fit, NUMBERS, "an array has no column names, so pass indices")
    autoencoder(categorical_features=[0]).fit(np.round(NUMBERS))


NAMES = [f"person {i}" for i in range(24)]


@pytest.mark.parametrize("table", [beside_numbers(pd.Series(NAMES)), beside_numbers(pl.Series(NAMES))])
def test_names_of_rows_are_dropped(table):
    with pytest.warns(UserWarning, match="Drop columns that identify rows") as caught:
        autoencoder().fit(table)
    (line,) = lines_in(caught[0].message)
    autoencoder().fit(run(line, table))


def test_rare_levels_are_merged():
    table = pd.DataFrame({"a": [f"level {i % 19}" for i in range(57)] + ["once", "single", "one"], "b": range(60)})
    with pytest.warns(UserWarning, match="Merge categories that belong together"):
        autoencoder().fit(table)
    autoencoder().fit(table.replace({"a": ["single", "one"]}, "once"))


# Tables


@pytest.mark.parametrize(
    "names", [[("x", 1), ("x", 2), ("y", 1)], [(2020, 1), (2020, 2), (2021, 1)], [(None, "a"), (1, 2), (3, 4)]]
)
def test_names_of_several_levels_are_joined(names):
    table = pd.DataFrame(NUMBERS, columns=pd.MultiIndex.from_tuples(names))
    for estimator in ESTIMATORS.values():
        assert_remedied(estimator.fit, table, "MultiIndex of columns; flatten it")


def test_columns_of_one_name():
    table = pd.DataFrame(NUMBERS, columns=["a", "b", "a"])
    assert_remedied(autoencoder().fit, table, "several columns named 'a'", "keep only the first")
    autoencoder().fit(table.set_axis(["a", "b", "c"], axis=1))


@pytest.mark.parametrize("features", ["from_dtype", [1]])
@pytest.mark.parametrize("text", [["x", "y"], ["x", None], ["x", pd.NA]])
def test_an_array_with_text_becomes_a_frame(text, features):
    table = np.column_stack([NUMBERS.astype(object)[:, 0], text * 12])
    fit = autoencoder(categorical_features=features).fit
    assert_remedied(fit, table, "convert it to a frame")


def test_text_where_numbers_were():
    table = np.column_stack([NUMBERS.astype(object)[:, :2], ["blue"] * 24])
    estimator = autoencoder().fit(NUMBERS)
    assert not lines_in(refused(estimator.transform, table, "column 2", "pass numbers, and NaN for missing values"))
    table[:, 2] = np.nan
    estimator.transform(table)


INFINITE = np.where(np.arange(72).reshape(24, 3) % 31 == 3, np.inf, NUMBERS)
TABLES = {
    "array": INFINITE,
    "float32": INFINITE.astype(np.float32),
    "list": INFINITE.tolist(),
    "objects": INFINITE.astype(object),
    "pandas": pd.DataFrame(INFINITE, columns=list("abc")).assign(text="x"),
    "nullable": pd.DataFrame(INFINITE, columns=list("abc")).astype("Float64").assign(text="x"),
    "Arrow": pd.DataFrame(INFINITE, columns=list("abc")).astype("double[pyarrow]"),
    "objects of pandas": pd.DataFrame(INFINITE, columns=list("abc")).astype(object),
    "polars": pl.DataFrame(INFINITE, schema=list("abc")).with_columns(text=pl.lit("x")),
}


@pytest.mark.filterwarnings("ignore:Downcasting behavior:FutureWarning")  # of pandas 2, in columns of objects
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_infinities_become_missing(table):
    assert_remedied(autoencoder().fit, table, "contains infinity")


def test_infinities_of_held_out_rows():
    estimator = AutoencoderTransformer(1, hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    assert_remedied(lambda X_val: estimator.fit(NUMBERS, X_val=X_val), INFINITE, "Input X_val contains", name="X_val")


def test_cells_that_are_no_probabilities():
    refused(autoencoder(likelihood="bernoulli").fit, NUMBERS, "sklearn.preprocessing.MinMaxScaler", "likelihood='gaussian'")
    from sklearn.preprocessing import MinMaxScaler

    autoencoder(likelihood="bernoulli").fit(MinMaxScaler(clip=True).fit_transform(NUMBERS))
    autoencoder(likelihood="gaussian").fit(NUMBERS)


# Applying

KINDS = {
    "strings for numbers": ([1.5, 2.0], ["x", "y"]),
    "numbers as text for numbers": ([1.5, 2.0], ["1.5", "2"]),
    "datetimes for numbers": ([1, 2], [dt.datetime(2020, 1, 1)] * 2),
    "durations for numbers": ([1, 2], [dt.timedelta(1)] * 2),
    "prices as text for numbers": ([1.5, 2.0], ["$1,250.00", "N/A"]),
    "strings for booleans": ([True, False], ["yes", "no"]),
    "numbers for booleans": ([True, False], [0.5, 2.0]),
    "numbers for datetimes": ([dt.datetime(2020, 1, 1), dt.datetime(2021, 1, 1)], [1, 2]),
    "strings for datetimes": ([dt.datetime(2020, 1, 1), dt.datetime(2021, 1, 1)], ["2020-03-01", "x"]),
    "dates as text for datetimes": ([dt.datetime(2020, 1, 1), dt.datetime(2021, 1, 1)], ["31.01.2020", "01.02.2021"]),
    "durations for datetimes": ([dt.datetime(2020, 1, 1), dt.datetime(2021, 1, 1)], [dt.timedelta(1)] * 2),
    "numbers for durations": ([dt.timedelta(1), dt.timedelta(2)], [1, 2]),
    "strings for durations": ([dt.timedelta(1), dt.timedelta(2)], ["1 day", "x"]),
    "numbers for strings": (["x", "y"], [1.5, 2.0]),
    "datetimes for strings": (["x", "y"], [dt.datetime(2020, 1, 1)] * 2),
}


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize(("fitted", "seen"), KINDS.values(), ids=KINDS)
def test_a_column_of_another_kind_is_converted(fitted, seen, library):
    fitted, seen = (beside_numbers(library.Series(values)) for values in (fitted, seen))
    for estimator, method in [(autoencoder(), "transform"), (AutoencoderImputer(1, **QUICK), "transform")]:
        assert_remedied(getattr(estimator.fit(fitted), method), seen, "Column 'a' of X", "convert it")


def test_text_for_a_declared_category_of_numbers():
    for library in (pd, pl):
        fitted, seen = (beside_numbers(library.Series(values)) for values in ([1, 2], ["1", "2"]))
        estimator = autoencoder(categorical_features=["a"]).fit(fitted)
        assert_remedied(estimator.transform, seen, "Column 'a' of X", "convert it")


def test_a_column_of_another_kind_among_held_out_rows():
    fitted, seen = (beside_numbers(pd.Series(values)) for values in ([1.5, 2.0], ["x", "1.5"]))
    estimator = AutoencoderTransformer(1, hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    assert_remedied(lambda X_val: estimator.fit(fitted, X_val=X_val), seen, "Column 'a' of X_val", name="X_val")


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize("zones", [(None, "Europe/Berlin"), ("Europe/Berlin", None), ("UTC", None)])
def test_zones_are_given_or_taken_away(zones, library):
    moments = pd.Series(pd.date_range("2024-03-30", periods=24, freq="3h").as_unit("us"))
    tables = []
    for zone in zones:
        series = moments if zone is None else moments.dt.tz_localize("UTC").dt.tz_convert(zone)
        tables.append(beside_numbers(series if library is pd else pl.from_pandas(series)))
    assert_remedied(autoencoder().fit(tables[0]).transform, tables[1], "Column 'a' of X", "convert it")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_levels_that_were_not_there(library):
    make = {"pandas": pd.Series, "polars": pl.Series}[library]
    fitted, seen = beside_numbers(make(["x", "y"])), beside_numbers(make(["x", "z"]))
    for name, method in [("autoencoder", "transform"), ("imputer", "transform"), ("detector", "predict")]:
        estimator = type(ESTIMATORS[name])(**ESTIMATORS[name].get_params() | {"handle_unknown": "error"}).fit(fitted)
        call = getattr(estimator, method)
        refused(
            call,
            seen,
            "not seen at fit: z. Fit on rows that hold them, or use handle_unknown='ignore'",
        )
        estimator.set_params(handle_unknown="ignore").fit(fitted)
        call(seen)
        estimator.set_params(handle_unknown="error").fit(seen)
        call(seen)


NARROW = {
    "pandas": (pd.Series(["x", "y"] * 12), pd.Series(["v", "z", None] * 8, dtype=pd.CategoricalDtype(["z", "v"]))),
    "polars": (pl.Series(["x", "y"] * 12), pl.Series(["v", "z", None] * 8, dtype=pl.Enum(["z", "v"]))),
}


@pytest.mark.parametrize(("fitted", "seen"), NARROW.values(), ids=NARROW)
def test_levels_that_a_dtype_lacks_are_added(fitted, seen):
    estimator = autoencoder().fit(beside_numbers(fitted))
    assert_remedied(estimator.impute, beside_numbers(seen), "'a' has dtype ", "lacks categories needed to fill in", "add them")


def test_an_array_for_a_frame():
    frame = pd.DataFrame({"a": ["x", "y"] * 12, "b": NUMBERS[:, 0]})
    estimator = autoencoder().fit(frame)
    refused(estimator.transform, frame.to_numpy(), "X is not a data frame", "pass a frame with the same columns")
    estimator.transform(pd.DataFrame(frame.to_numpy(), columns=frame.columns))


def test_codes_are_what_transform_returns():
    estimator = autoencoder().fit(NUMBERS)
    refused(estimator.inverse_transform, NUMBERS, "X has 3 columns", "pass what transform returns")
    estimator.inverse_transform(estimator.transform(NUMBERS))


@pytest.mark.parametrize(
    ("weights", "message", "remedy"),
    [
        ([-1.0] * 24, "Negative values in data passed to sample_weight: -1; weights must be 0 or larger", [2] * 24),
        ([0.0] * 24, "sample_weight", [0.0] * 20 + [1.0] * 4),
    ],
)
def test_weights(weights, message, remedy):
    refused(lambda X: autoencoder().fit(X, sample_weight=weights), NUMBERS, message)
    autoencoder().fit(NUMBERS, sample_weight=remedy)


def test_other_columns_in_a_warm_start():
    estimator = autoencoder(warm_start=True).fit(NUMBERS)
    refused(estimator.fit, NUMBERS[:, :2], "With warm_start=True a fit keeps the columns of the earlier fit")
    estimator.fit(NUMBERS)
    estimator.set_params(warm_start=False).fit(NUMBERS[:, :2])


# Containers that are no frames

ROWS = [{"a": float(a), "b": float(b)} for a, b in NUMBERS[:, :2]]
CONTAINERS = {
    "dict": dict(zip("abc", NUMBERS.T, strict=True)),
    "list of dicts": ROWS,
    "structured array": np.array([tuple(row.values()) for row in ROWS], dtype=[("a", float), ("b", float)]),
    "records": pd.DataFrame(NUMBERS).to_records(),
    "series": pd.Series(NUMBERS[:, 0]),
    "series of polars": pl.Series("a", NUMBERS[:, 0]),
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("table", CONTAINERS.values(), ids=CONTAINERS)
def test_a_container_becomes_a_frame(table, name):
    assert_remedied(ESTIMATORS[name].fit, table, "X is a")


@pytest.mark.parametrize("name", ["autoencoder", "vae", "detector"])
def test_a_lazy_frame_is_collected_or_goes_to_disk(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lazy = pl.LazyFrame(NUMBERS, schema=list("abc"))
    assert_remedied(ESTIMATORS[name].fit, lazy, "lazy frame of polars", "If it is larger than memory", n_lines=2)


def test_a_dataset_goes_in_batches_where_a_table_in_memory_is_needed():
    dataset = pyarrow.dataset.dataset(pa.table({"a": NUMBERS[:, 0], "b": NUMBERS[:, 1]}))
    message = refused(ESTIMATORS["imputer"].fit, dataset, "X is a dataset on disk")
    batches, whole = lines_in(message)
    ESTIMATORS["imputer"].fit(run(whole, dataset))
    exec(batches.replace("...", "estimator.transform(batch)"), {"X": dataset, "estimator": ESTIMATORS["imputer"]})


def test_a_file_of_parquet_becomes_a_table(tmp_path):
    pd.DataFrame(NUMBERS, columns=list("abc")).to_parquet(tmp_path / "X.parquet")
    assert_remedied(
        autoencoder().fit, pyarrow.parquet.ParquetFile(tmp_path / "X.parquet"), "X is a ParquetFile", "dataset(path)"
    )


def test_what_can_be_read_only_once_is_refused():
    refused(autoencoder().fit, (row for row in NUMBERS), "X is a generator", "only once", "partial_fit")
    refused(autoencoder().fit, iter(NUMBERS), "iterator", "only once")


def test_arrays_of_dask_are_computed_first(monkeypatch):
    class Array:
        shape, dtype, compute = NUMBERS.shape, NUMBERS.dtype, lambda self: NUMBERS

    monkeypatch.setattr(Array, "__module__", "dask.array.core")
    assert_remedied(autoencoder().fit, Array(), "X is a Array of Dask")


@pytest.mark.parametrize("kind", [str, "path", "bytes"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_path_is_read(tmp_path, ending, kind):
    frame, path = pd.DataFrame(NUMBERS, columns=list("abc")), tmp_path / f"table.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    if kind == "bytes":
        refused(autoencoder().fit, str(path).encode(), "X is b'")
    else:
        n_lines = 1 if ending == "csv" else 2  # of which one reads block by block
        assert_remedied(autoencoder().fit, path if kind == "path" else str(path), "X is ", "table", n_lines=n_lines)


@pytest.mark.parametrize(("name", "method"), [("autoencoder", "transform"), ("imputer", "transform"), ("detector", "predict")])
def test_containers_are_refused_when_applying_too(name, method):
    frame = pd.DataFrame(NUMBERS, columns=list("abc"))
    estimator = type(ESTIMATORS[name])(**ESTIMATORS[name].get_params()).fit(frame)
    assert_remedied(getattr(estimator, method), frame.to_dict("list"), "X is a dict")


def test_held_out_rows_in_a_dict():
    frame = pd.DataFrame(NUMBERS, columns=list("abc"))
    estimator = AutoencoderTransformer(1, hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    assert_remedied(lambda X_val: estimator.fit(frame, X_val=X_val), frame.to_dict("list"), "X_val is a dict", name="X_val")
