"""Differences between pandas and polars: conversion of columns to and from numpy, and their dtypes."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from os import PathLike
from typing import Any, ClassVar

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from scipy import sparse

from skvae._tables.columns import NOT_A_TIME, Column, castable, codes_of, moments_of, within
from skvae._tables.sources import is_dataset

OBJECT = np.dtype(object)
OBJECTS = {  # kinds of object columns, by what pandas infers
    "string": "category",
    "empty": "category",
    "boolean": "boolean",
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
}
LARGEST = float(np.finfo(np.float64).max)
NARWHALS = "nw.from_native({}).collect('pandas').to_native()"
MOST_DECIMALS = 15  # a float has no more
FAMILIES: dict[str, tuple[Any, ...]] = {  # of dtypes, by kind
    "boolean": (nw.Boolean,),
    "category": (nw.String, nw.Categorical, nw.Enum),
    "datetime": (nw.Datetime, nw.Date),
    "duration": (nw.Duration,),
}


def as_table(X: Any, name: str = "X") -> Any:
    """X itself if it is a pandas or polars frame or an array; else the table converted to one of these.

    ``name`` is the name of the table in error messages.

    Raises
    ------
    TypeError, ValueError
        If X is not a table; the message has the line that makes it one, if possible.
    """
    X = X.to_native() if hasattr(X, "to_native") else X  # frames of narwhals, of any of its versions
    X = X.toarray() if sparse.issparse(X) else X
    if isinstance(X, pd.DataFrame):  # narwhals refuses some names of columns
        return X
    if isinstance(X, np.ndarray) and X.dtype.names is None and X.dtype.kind not in "mM":
        return np.ma.filled(X.astype(np.float64), np.nan) if isinstance(X, np.ma.MaskedArray) else X
    _check_is_table(X, name)
    if hasattr(X, "detach"):  # a torch tensor, possibly of a dtype that numpy lacks
        tensor = X.detach().cpu()
        return (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        return _known_frame(frame)
    if hasattr(X, "__arrow_c_array__") and hasattr(X, "to_struct_array"):  # a batch of rows of Arrow
        return X.to_pandas(types_mapper=_arrow_dtype)
    return _interchanged(X) if hasattr(X, "__arrow_c_stream__") or hasattr(X, "__dataframe__") else X


def _check_is_table(X: Any, name: str) -> None:
    """Refuse objects that are not tables although pandas could make frames of them."""
    kind, module = type(X).__name__, type(X).__module__
    if module.startswith("dask"):
        raise TypeError(
            f"{name} is a {kind} of Dask. If it fits in memory, use `{name} = {name}.compute()`; the estimators of skvae.dask "
            "take it as it is."
        )
    frame = nw.from_native(X, pass_through=True, allow_series=True)
    if is_dataset(X):
        raise TypeError(
            f"{name} is a dataset on disk, but must be in memory here; pass its batches one by one with "
            f"`for batch in {name}.to_batches(): ...`, or load all of them with `{name} = {name}.to_table()`."
        )
    if isinstance(X, Iterator):
        raise TypeError(
            f"{name} is a {kind}, which can be read only once; write it to a parquet file and pass "
            "pyarrow.dataset.dataset(path), or pass its blocks to partial_fit one by one."
        )
    if module.startswith("pyarrow") and hasattr(X, "to_table"):  # parts of datasets
        raise TypeError(f"{name} is a {kind}; pass the dataset, or load a table with `{name} = {name}.to_table()`.")
    if module.startswith("pyarrow.parquet"):
        raise TypeError(
            f"{name} is a {kind}; pass pyarrow.dataset.dataset(path), or load a table with `{name} = {name}.read()`."
        )
    remedy = f"convert it to a frame with `{name} = pd.DataFrame({name})`"
    if isinstance(X, str | bytes | PathLike):
        reader = "read_parquet" if str(X).endswith(".parquet") else "read_csv"
        note = f"{name} is {X!r}, not a table. If it is a path, load the file with `{name} = pd.{reader}({name})`"
        larger = f", or, if it is larger than memory, open it with `{name} = pyarrow.dataset.dataset({name})`"
        raise TypeError(f"{note}{larger if reader == 'read_parquet' else ''}.")
    if isinstance(X, list | tuple) and len(X) and isinstance(X[0], Mapping):
        raise TypeError(f"{name} is a {kind} of rows of type {type(X[0]).__name__}; {remedy}.")
    if isinstance(X, Mapping) and not hasattr(X, "shape"):  # as some sparse matrices have
        raise TypeError(f"{name} is a {kind}; {remedy}.")
    if isinstance(X, np.ndarray) and X.dtype.kind in "mM":
        raise TypeError(f"{name} is an array of dates or durations, but arrays must hold numbers; {remedy}.")
    if getattr(getattr(X, "dtype", None), "names", None):
        raise TypeError(f"{name} is an array with the fields {', '.join(X.dtype.names)}; {remedy}.")
    if isinstance(frame, nw.LazyFrame):
        value = f"{name}.collect()" if frame.implementation.is_polars() else NARWHALS.format(name)
        larger = f"{name}.sink_parquet('{name}.parquet'); {name} = pyarrow.dataset.dataset('{name}.parquet')"
        on_disk = f". If it is larger than memory, use `{larger}`" if frame.implementation.is_polars() else ""
        raise TypeError(f"{name} is a lazy frame of {frame.implementation}; collect it with `{name} = {value}`{on_disk}.")
    if isinstance(frame, nw.Series):  # scikit-learn requires a ValueError for 1-D input
        raise ValueError(f"{name} is a {kind}, a single column; convert it with `{name} = {name}.to_frame()`.")  # noqa: TRY004


def _known_frame(frame: nw.DataFrame[Any]) -> Any:
    """A pandas or polars frame."""
    native = frame.to_native()
    if frame.implementation.is_pyarrow():
        return native.to_pandas(types_mapper=_arrow_dtype)
    return native if frame.implementation.is_pandas() or frame.implementation.is_polars() else frame.to_pandas()


def _arrow_dtype(of_arrow: Any) -> pd.ArrowDtype:
    import pyarrow as pa

    return pd.ArrowDtype(pa.large_string() if str(of_arrow) == "string_view" else of_arrow)  # pandas lacks string_view


def _interchanged(X: Any) -> pd.DataFrame:
    """Convert the frame of an unknown library, by one of the interchange protocols."""
    try:
        if hasattr(X, "__arrow_c_stream__"):
            import pyarrow as pa

            return pa.table(X).to_pandas(types_mapper=_arrow_dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas deprecates it
            return pd.api.interchange.from_dataframe(X)
    except Exception as error:
        raise TypeError(
            f"X is a {type(X).__module__}.{type(X).__name__}, which pandas cannot read ({error}); convert it to a pandas or "
            "polars frame."
        ) from error


def library_of(X: Any) -> str:
    """The library of a data frame, "pandas" or "polars"; "numpy" for everything else. Other libraries count as pandas."""
    X = as_table(X)
    if isinstance(X, pd.DataFrame):
        return "pandas"
    return "polars" if isinstance(nw.from_native(X, pass_through=True), nw.DataFrame) else "numpy"


def index_of(X: Any) -> Any:
    """The index of a pandas frame; None for everything else."""
    return as_table(X).index if library_of(X) == "pandas" else None


def table_like(X: Any, values: np.ndarray) -> Any:
    """Numbers, one per cell of X; if X is a frame, in a frame with its names and index."""
    X = as_table(X)
    library = library_of(X)
    if library == "numpy":
        return values
    if library == "polars":
        import polars as pl

        return pl.DataFrame(values, schema=list(X.columns))
    return pd.DataFrame(values, columns=X.columns, index=X.index)


def with_columns(X: Any, columns: dict[str, np.ndarray]) -> Any:
    """A table with additional columns at its end; an array drops their names."""
    X = as_table(X)
    library = library_of(X)
    if library == "numpy":
        return np.column_stack([X, *columns.values()])
    if library == "polars":
        import polars as pl

        return X.with_columns([pl.Series(name, values) for name, values in columns.items()])
    return pd.concat([X, pd.DataFrame(columns, index=X.index)], axis=1)


def without_columns(X: Any, positions: np.ndarray) -> Any:
    """A table without some of its columns."""
    library = library_of(X)
    if library == "numpy":
        return np.delete(X, positions, axis=1)
    names = [X.columns[i] for i in positions]
    return X.drop(names) if library == "polars" else X.drop(columns=names)


def with_empty_columns(X: Any, names: Mapping[int, str]) -> Any:
    """A table with empty columns inserted at some positions of the result."""
    library = library_of(X)
    for position, name in sorted(names.items()):
        if library == "numpy":
            X = np.insert(X, position, np.nan, axis=1)
        elif library == "polars":
            import polars as pl

            X = X.clone().insert_column(position, pl.Series(name, [None] * len(X)))
        else:
            X = X.copy()
            X.insert(position, name, np.nan)
    return X


def cells_equal_to(X: Any, value: float | str) -> np.ndarray:
    """Which cells equal a number or a string; columns of another kind have none."""
    if library_of(X) == "numpy":
        return np.asarray(np.asarray(without_objects(X)) == value)
    return np.column_stack([_equal_to(series, value) for series in series_of(X)])


def _equal_to(series: Any, value: float | str) -> np.ndarray:
    tool = tool_of(series)
    is_object = tool.library == "pandas" and series.dtype == OBJECT
    holds_levels = tool.kind(series) == "category"
    if not (is_object or (holds_levels if isinstance(value, str) else tool.kind(series) == "number")):
        return np.zeros(len(series), dtype=bool)
    if tool.library == "pandas":
        return (series == value).to_numpy(dtype=bool, na_value=False)
    import polars as pl

    value = value if isinstance(value, str) else float(value)  # integers may exceed those of polars
    return ((series.cast(pl.String) if holds_levels else series) == value).fill_null(value=False).to_numpy()


def with_cells(X: Any, where: np.ndarray, value: float | str | None) -> Any:
    """A table with some cells replaced by a value; None makes them missing. dtypes change if they cannot hold it."""
    library = library_of(X)
    if library == "numpy":
        X = np.asarray(X)
        X = X.copy() if X.dtype in (OBJECT, np.float32) else X.astype(np.float64)
        X = X.astype(OBJECT) if isinstance(value, str) else X
        X[where] = np.nan if value is None else value
        return X
    if library == "polars":
        import polars as pl

        changed = {X.columns[j]: pl.Series(where[:, j]) for j in np.flatnonzero(where.any(axis=0))}
        return X.with_columns(
            [pl.when(marks).then(pl.lit(value)).otherwise(X[name]).alias(name) for name, marks in changed.items()]
        )
    columns = {j: _with_value(series, where[:, j], value) for j, series in enumerate(series_of(X))}
    frame = pd.DataFrame(columns, index=X.index, copy=False)
    frame.columns = X.columns
    return frame


def _with_value(series: pd.Series, where: np.ndarray, value: float | str | None) -> pd.Series:
    if not where.any():
        return series
    return series.mask(where) if value is None else series.mask(where, value)


def in_rows(X: Any) -> Any:
    """As ``as_table``, but an array for everything whose rows cannot be indexed. Strings in lists stay strings."""
    X = as_table(X)
    if isinstance(X, np.ndarray) or library_of(X) != "numpy":
        return X
    return np.asarray(X, dtype=object) if isinstance(X, list | tuple) else np.asarray(X)


def holds_strings(X: Any) -> bool:
    """Whether a two-dimensional array has cells that are strings and cannot be read as numbers."""
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.dtype.kind in "fiubc":
        return False
    array = X.astype(object)
    try:
        np.where(pd.isna(array), np.nan, array).astype(np.float64)
    except ValueError:
        return True
    except TypeError:  # neither; refused when it is read
        return False
    return False


def joined(first: Any, second: Any) -> Any:
    """Concatenate the rows of two tables with equal columns, of one library."""
    library = library_of(first)
    if library == "numpy":
        return np.concatenate([np.asarray(first), np.asarray(second)])
    if library == "polars":
        import polars as pl

        return pl.concat([first, second], how="vertical_relaxed")
    return pd.concat([first, second], ignore_index=True)


def rows_at(X: Any, places: np.ndarray | slice) -> Any:
    """The rows of a table at these places."""
    return X.iloc[places] if isinstance(X, pd.DataFrame) else X[places]


def without_objects(X: Any) -> Any:
    """An array or lists with NaN for every missing value; everything else unchanged."""
    array = np.asarray(X) if isinstance(X, list | tuple) else X
    if not isinstance(array, np.ndarray) or array.dtype != OBJECT:
        return X
    return np.where(pd.isna(array), np.nan, array)


class Columns:
    """Operations on columns that differ between libraries."""

    library: ClassVar[str]

    @staticmethod
    def kind(series: Any) -> str | None:
        """Kind of the values: "number", "boolean", "category", "datetime" or "duration"; None for anything else."""
        raise NotImplementedError

    @staticmethod
    def missing(series: Any) -> np.ndarray:
        """Which values are missing."""
        raise NotImplementedError

    @staticmethod
    def numbers(series: Any) -> np.ndarray:
        """Numbers or booleans as float64, with NaN for missing values."""
        raise NotImplementedError

    @staticmethod
    def moments(series: Any) -> np.ndarray:
        """Ticks of universal time, as numpy's datetimes or durations."""
        raise NotImplementedError

    @staticmethod
    def limits(series: Any) -> tuple[float, float, int] | None:
        """Lowest and highest number and decimals that a series can hold; None for floating-point numbers."""
        return limits_of(series.dtype)

    @staticmethod
    def is_text(series: Any) -> bool:
        """Whether a categorical series holds strings that its dtype does not declare as categories."""
        return bool(nw.from_native(series, series_only=True).dtype in (nw.String, nw.Object))

    @staticmethod
    def factorize(series: Any) -> tuple[np.ndarray, list[Any]]:
        """Code of each value, -1 if missing, and the categories of the codes."""
        raise NotImplementedError

    @staticmethod
    def declared(dtype: Any) -> list[Any] | None:
        """The categories that a dtype declares; None if it declares none."""
        raise NotImplementedError

    @staticmethod
    def write(column: Column, values: np.ndarray, dtype: Any) -> Any:
        """Cells as a series of a dtype."""
        raise NotImplementedError

    @staticmethod
    def put(series: Any, where: np.ndarray, filling: Any) -> Any:
        """A copy of a series with some values replaced."""
        raise NotImplementedError

    @staticmethod
    def like(series: Any, values: Any) -> Any:
        """A series of new values in their own dtype, with the name or index of another series."""
        raise NotImplementedError


class PandasColumns(Columns):
    """Columns of pandas, of any dtype."""

    library = "pandas"

    @staticmethod
    def kind(series: pd.Series) -> str | None:
        dtype = series.dtype
        if dtype == OBJECT:
            return OBJECTS.get(pd.api.types.infer_dtype(series, skipna=True))
        if isinstance(dtype, pd.SparseDtype):
            return None
        return kind_of(series) or {"f": "number", "M": "datetime"}.get(dtype.kind)  # narwhals lacks some of either

    @staticmethod
    def missing(series: pd.Series) -> np.ndarray:
        return series.isna().to_numpy()

    @staticmethod
    def numbers(series: pd.Series) -> np.ndarray:
        return series.to_numpy(dtype=np.float64, na_value=np.nan)

    @staticmethod
    def limits(series: pd.Series) -> tuple[float, float, int] | None:
        found = pd.api.types.infer_dtype(series, skipna=True) if series.dtype == OBJECT else ""
        if found == "integer":
            return -LARGEST, LARGEST, 0
        if found == "decimal":
            exponents = [number.as_tuple().exponent for number in series.dropna()]
            decimals = max([0, *(-exponent for exponent in exponents if isinstance(exponent, int))])
            return -LARGEST, LARGEST, min(decimals, MOST_DECIMALS)
        return limits_of(series.dtype)

    @staticmethod
    def moments(series: pd.Series) -> np.ndarray:
        unit = unit_of(series.dtype)
        if unit == "D":  # Arrow's dates, which pandas would turn into objects
            return series.astype("timestamp[s][pyarrow]").to_numpy("M8[s]").astype("M8[D]")
        return series.to_numpy(f"{series.dtype.kind}8[{unit}]")

    @staticmethod
    def factorize(series: pd.Series) -> tuple[np.ndarray, list[Any]]:
        codes, levels = pd.factorize(series)
        return codes, levels.tolist()

    @staticmethod
    def declared(dtype: Any) -> list[Any] | None:
        return dtype.categories.tolist() if isinstance(dtype, pd.CategoricalDtype) else None

    @staticmethod
    def write(column: Column, values: np.ndarray, dtype: Any) -> pd.Series:
        if column.kind == "number" and dtype == OBJECT:
            return pd.Series(_objects(column, values), dtype=object)
        if column.kind == "number":
            return pd.Series(castable(castable(values, column.limits), limits_of(dtype))).astype(dtype)
        if column.kind in {"datetime", "duration"}:
            series = pd.Series(moments_of(column, values))
            return (series.dt.tz_localize("UTC") if zone_of(dtype) else series).astype(dtype)
        codes = codes_of(column, values)
        if dtype == OBJECT:  # code -1 is the last entry
            return pd.Series([*column.levels, column.missing], dtype=object).iloc[codes]
        return pd.Series(list(column.levels), dtype=dtype).reindex(codes)

    @staticmethod
    def put(series: pd.Series, where: np.ndarray, filling: pd.Series) -> pd.Series:
        series = series.copy()
        series.iloc[where] = filling.array
        return series

    @staticmethod
    def like(series: pd.Series, values: Any) -> pd.Series:
        values = (values if isinstance(values, pd.Series) else pd.Series(values.to_list())).set_axis(series.index)
        return values.astype(object) if series.dtype == OBJECT else values


def _objects(column: Column, values: np.ndarray) -> list[Any]:
    """Numbers as Python integers, decimals or floats, like those of the column."""
    numbers = castable(values, column.limits).tolist()
    if column.limits is None:
        return [column.missing if np.isnan(number) else number for number in numbers]
    if column.limits[2] == 0:
        return [column.missing if np.isnan(number) else int(number) for number in numbers]
    return [column.missing if np.isnan(number) else Decimal(str(number)) for number in numbers]


class PolarsColumns(Columns):
    """Columns of polars."""

    library = "polars"

    @staticmethod
    def kind(series: Any) -> str | None:
        return kind_of(series)

    @staticmethod
    def missing(series: Any) -> np.ndarray:
        return series.is_null().to_numpy()

    @staticmethod
    def numbers(series: Any) -> np.ndarray:
        import polars as pl

        return series.cast(pl.Float64).to_numpy()

    @staticmethod
    def moments(series: Any) -> np.ndarray:
        import polars as pl

        ticks = series.to_physical().cast(pl.Int64).fill_null(NOT_A_TIME).to_numpy()
        return ticks.view(f"{'m' if series.dtype == pl.Duration else 'M'}8[{unit_of(series.dtype)}]")

    @staticmethod
    def factorize(series: Any) -> tuple[np.ndarray, list[Any]]:
        import polars as pl

        if series.dtype in (pl.Categorical, pl.Enum):  # their physical codes are not those of the column
            series = series.cast(pl.String)
        if series.dtype.is_float():
            series = series.fill_nan(None)
        levels = series.drop_nulls().unique(maintain_order=True)
        codes = series.replace_strict(levels, pl.int_range(len(levels), eager=True), default=None, return_dtype=pl.Int64)
        return codes.fill_null(-1).to_numpy(), levels.to_list()

    @staticmethod
    def declared(dtype: Any) -> list[Any] | None:
        import polars as pl

        return dtype.categories.to_list() if dtype == pl.Enum else None

    @staticmethod
    def write(column: Column, values: np.ndarray, dtype: Any) -> Any:
        import polars as pl

        if column.kind == "number":
            return pl.Series(castable(castable(values, column.limits), limits_of(dtype))).fill_nan(None).cast(dtype)
        if column.kind in {"datetime", "duration"}:
            moments = moments_of(column, values)
            if column.unit == "s":  # polars lacks this unit
                moments = moments.astype(f"{moments.dtype.kind}8[ms]")
            series = pl.Series(moments)
            return (series.dt.replace_time_zone("UTC") if zone_of(dtype) else series).cast(dtype)
        codes = codes_of(column, values)
        return pl.Series([*column.levels, None], dtype=dtype).gather(np.where(codes < 0, len(column.levels), codes))

    @staticmethod
    def put(series: Any, where: np.ndarray, filling: Any) -> Any:
        import polars as pl

        order = np.arange(len(series))
        order[where] = len(series) + np.arange(len(filling))
        plain = pl.String if series.dtype == pl.Categorical else series.dtype  # categories of two columns cannot be mixed
        return pl.concat([series.cast(plain), filling.cast(plain).alias(series.name)]).gather(order).cast(series.dtype)

    @staticmethod
    def like(series: Any, values: Any) -> Any:
        import polars as pl

        return pl.Series(series.name, values if isinstance(values, pl.Series) else values.to_list())


TOOLS: dict[str, type[Columns]] = {"numpy": PandasColumns, "pandas": PandasColumns, "polars": PolarsColumns}


def tool_of(series: Any) -> type[Columns]:
    """The operations of the library of a series."""
    return TOOLS["pandas" if isinstance(series, pd.Series) else "polars"]


def frame_of(X: Any) -> Any:
    """A frame itself, or the columns of an array as a frame."""
    X = as_table(X)
    if library_of(X) != "numpy":
        return X
    array = np.asarray(X)
    if array.ndim != 2:
        raise ValueError(
            f"X is an array of {array.ndim} dimensions, but a table has 2; reshape it with `X.reshape(n_rows, -1)`."
        )
    return pd.DataFrame(array).infer_objects()


def series_of(frame: Any) -> Iterable[Any]:
    """The columns of a frame, one by one."""
    return (frame.iloc[:, i] if isinstance(frame, pd.DataFrame) else frame.to_series(i) for i in range(frame.shape[1]))


def present(series: Any) -> Any:
    """The values that are not missing."""
    return series.dropna() if isinstance(series, pd.Series) else series.drop_nulls()


def declaring(series: Any, dtype: Any) -> Any:
    """A series whose dtype also declares the categories of another dtype; unchanged if one of them declares none."""
    if not (isinstance(series.dtype, pd.CategoricalDtype) and isinstance(dtype, pd.CategoricalDtype)):
        return series
    return series.cat.add_categories(dtype.categories.difference(series.dtype.categories, sort=False))


# Dtypes


def kind_of(series: Any) -> str | None:
    """The kind of a series according to narwhals, which knows the dtypes of all libraries but few details."""
    dtype = nw.from_native(series, series_only=True).dtype
    if dtype.is_numeric():
        return "number"
    return next((kind for kind, family in FAMILIES.items() if dtype in family), None)


def unit_of(dtype: Any) -> str:
    """The unit of datetimes and durations."""
    dtype = getattr(dtype, "pyarrow_dtype", dtype)
    if isinstance(dtype, np.dtype):
        return np.datetime_data(dtype)[0]
    return getattr(dtype, "unit", None) or getattr(dtype, "time_unit", None) or "D"


def zone_of(dtype: Any) -> Any:
    """The time zone of datetimes, if any."""
    dtype = getattr(dtype, "pyarrow_dtype", dtype)
    return getattr(dtype, "tz", None) or getattr(dtype, "time_zone", None)


def limits_of(dtype: Any) -> tuple[float, float, int] | None:
    """Range and decimals of a dtype that is not floating-point; all floats in the range can be cast to it."""
    name = str(dtype).lower().removesuffix("[pyarrow]")
    if name.startswith("decimal"):
        dtype = getattr(dtype, "pyarrow_dtype", dtype)
        scale, precision = dtype.scale, min(dtype.precision or 38, 37)  # the oldest polars casts no 38 digits
        highest = min((10**precision - 1) / 10**scale, 10.0 ** (precision - scale) * (1 - 1e-15))
        return -highest, highest, scale
    if not name.startswith(("int", "uint")) or name.startswith("interval"):
        return None
    bits = int(name.split("int")[1])
    lowest, highest = (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return within(lowest), within(highest), 0
