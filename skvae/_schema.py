"""What the columns of a table are, so that what comes out is what went in: array for array, frame for frame."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

KEPT_WHOLE = 20  # a column of no more levels has no rare ones
MOST_LEVELS = 100  # that have a code of their own
RARE = 10  # rows; a hundredth of the column's where that is less
SHOWN = 12  # levels that the representation lists
NOT_A_TIME = np.iinfo(np.int64).min  # the tick that numpy reserves
OBJECT = np.dtype(object)
FAMILIES: dict[str, tuple[Any, ...]] = {  # of dtypes, by kind
    "boolean": (nw.Boolean,),
    "category": (nw.String, nw.Categorical, nw.Enum),
    "datetime": (nw.Datetime, nw.Date),
    "duration": (nw.Duration,),
}
READABLE = {  # fitted: of what it can be read
    "number": ("number", "boolean"),
    "boolean": ("boolean", "number"),
    "datetime": ("datetime",),
    "duration": ("duration",),
}
REMEDIES = {  # by what the dtype, or the kind of objects, starts with
    "complex": "split it into real and imaginary part",
    "period": "convert it with its dt.to_timestamp()",
    "interval": "convert it with astype('category')",
    "sparse": "convert it with its sparse.to_dense()",
    "date": "convert it with pd.to_datetime",
    "timedelta": "convert it with pd.to_timedelta",
    "time": "convert it to a duration or to a number of seconds",
    "list": "make a column of each element",
    "array": "make a column of each element",
    "struct": "make a column of each field",
    "decimal": "convert it with astype(float)",
    "integer": "convert it with astype(int)",
    "floating": "convert it with astype(float)",
    "mixed-integer-float": "convert it with astype(float)",
    "mixed": "make its values all strings or all numbers, e.g. with astype(str)",
}


@dataclass(frozen=True)
class Column:
    """What one column is.

    Attributes
    ----------
    name : hashable
        As in the frame; its number for arrays.
    dtype : object
        The frame library's own; None for arrays.
    kind : {"number", "boolean", "category", "datetime", "duration", "ignored"}
        An ignored column has no cell that could be learned from, and comes back missing.
    levels : tuple
        What the codes 0, 1, ... stand for.
    grouped : tuple
        Rare levels that share the last code; the most frequent of them stands for all.
    n_distinct : int
        Levels seen in a column of categories, ignored ones included.
    limits : tuple of (lowest, highest, decimals), optional
        Of numbers that are not floating.
    origin : int
        Middle of the datetimes or durations, in their unit. It is one of them, so that differences of whole seconds or days
        are such in floating point too.
    unit : str
        Of datetimes and durations: "D", "s", "ms", "us" or "ns".
    missing : object
        What stands for a missing cell in a column of objects.
    """

    name: Any
    dtype: Any
    kind: str
    levels: tuple[Any, ...] = ()
    grouped: tuple[Any, ...] = ()
    n_distinct: int = 0
    limits: tuple[float, float, int] | None = None
    origin: int = 0
    unit: str = ""
    missing: Any = None

    @property
    def note(self) -> str:
        """Levels or range, for people."""
        if self.kind == "ignored":
            return f"{self.n_distinct} levels, each of them rare" if self.n_distinct else "all missing"
        if self.kind == "datetime":
            return f"around {np.array(self.origin, f'M8[{self.unit}]').astype('M8[D]')}"
        if self.kind == "duration":
            return f"around {pd.Timedelta(np.array(self.origin, f'm8[{self.unit}]')[()])}"
        if self.kind == "boolean":
            return ""
        if self.grouped:
            return f"{self.n_distinct} levels, {len(self.grouped)} rare ones as one: {_listed(self.grouped)}"
        return _listed(self.levels) if len(self.levels) <= SHOWN else f"{len(self.levels)} levels: {_listed(self.levels)}"


@dataclass(frozen=True, repr=False)
class Schema:
    """Container and columns of the table that an estimator was fitted on.

    Its *cells* are numbers: codes of categories, 0 and 1 of booleans, distances of datetimes and durations from their origin;
    NaN where one is missing.

    Attributes
    ----------
    library : {"numpy", "pandas", "polars"}
        "numpy" stands for everything that is no frame.
    columns : tuple of Column
        Empty for arrays without categories.
    axis_name : hashable
        Of the columns of a pandas frame.
    axis_dtype : object
        Of the names of a pandas frame's columns.
    """

    library: str
    columns: tuple[Column, ...] = ()
    axis_name: Any = None
    axis_dtype: Any = None

    @classmethod
    def of(cls, X: Any, categorical_features: Any = "from_dtype") -> "Schema":
        """Read the schema of a table.

        Parameters
        ----------
        X : array-like or frame
        categorical_features : "from_dtype", None, or array-like of names, indices or booleans
            Which columns are categories, as in scikit-learn's ``HistGradientBoostingClassifier``.

        Raises
        ------
        ValueError
            Where a column is of no use, with its name.

        Warns
        -----
        UserWarning
            Where rare levels share a code or a column is ignored for having no others.
        """
        library = library_of(X)
        by_dtype = isinstance(categorical_features, str) and categorical_features == "from_dtype"
        if library == "numpy" and (by_dtype or categorical_features is None):
            return cls(library)
        frame = _frame(X)
        check_columns_of(frame, library)
        declared = set() if by_dtype else _declared(categorical_features, frame, library)
        if library == "numpy" and not declared:
            return cls(library)
        columns = tuple(_column(series, i in declared, by_dtype) for i, series in enumerate(_series(frame)))
        _warn_of_levels(columns, len(frame))
        if library == "numpy":
            return cls(library, tuple(replace(column, dtype=None) for column in columns))
        axis = X.columns if library == "pandas" else None
        return cls(library, columns, getattr(axis, "name", None), getattr(axis, "dtype", None))

    @property
    def names(self) -> tuple[Any, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def n_levels(self) -> np.ndarray:
        """Per column the number of codes; 1 for booleans and 0 for all that is measured or ignored."""
        counts = [{"boolean": 1, "category": len(column.levels)}.get(column.kind, 0) for column in self.columns]
        return np.array(counts, dtype=np.int64)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but numbers and booleans."""
        return all(column.kind in {"number", "boolean"} for column in self.columns)

    def cells(self, X: Any, handle_unknown: str = "ignore", name: str = "X") -> np.ndarray:
        """Read a table as numbers.

        Parameters
        ----------
        X : array-like or frame
            Of the fitted columns in their order; of any library.
        handle_unknown : {"ignore", "error"}
            Whether a level that was not there at fit is taken for a missing cell.
        name : str
            What errors call the table.

        Returns
        -------
        cells : ndarray of shape (n_rows, n_columns)
            In float32 where all columns are, else float64; NaN where a cell is missing. An array of numbers is passed on.
        """
        if not self.columns and library_of(X) == "numpy":
            return np.asarray(X)
        frame = _frame(X)
        columns = self._columns_for(frame, name)
        dtypes = set(frame.dtypes)
        if len(dtypes) == 1 and dtypes <= {np.dtype("f4"), np.dtype("f8")} and {c.kind for c in columns} == {"number"}:
            return np.array(frame.to_numpy(), order="C")
        single = {str(dtype).lower() for dtype in dtypes} <= {"float32", "float[pyarrow]"}
        cells = np.empty(frame.shape, dtype=np.float32 if single else np.float64)
        for i, (column, series) in enumerate(zip(columns, _series(frame), strict=True)):
            cells[:, i] = _read(column, series, handle_unknown, name)
        return cells

    def unknown(self, X: Any, cells: np.ndarray) -> np.ndarray:
        """Which cells hold a level that was not there at fit; ``cells`` is what ``X`` was read as."""
        if not self.n_levels.any():
            return np.broadcast_to(False, cells.shape)
        unknown, frame = np.zeros(cells.shape, dtype=bool), _frame(X)
        for i, (column, series) in enumerate(zip(self._columns_for(frame), _series(frame), strict=True)):
            if column.kind == "category":
                unknown[:, i] = np.isnan(cells[:, i]) & ~_tool(series).missing(series)
        return unknown

    def restore(self, cells: np.ndarray, index: Any = None) -> Any:
        """Put cells back into the container that the estimator was fitted on.

        Integers are rounded, booleans decided at one half, and codes taken for the nearest one. ``index`` is that of a pandas
        frame.
        """
        if self.library == "numpy":
            return _restore_array(self.columns, cells)
        tool = TOOLS[self.library]
        columns = (tool.write(column, cells[:, i].copy(), column.dtype) for i, column in enumerate(self.columns))
        if self.library == "polars":
            import polars as pl

            return pl.DataFrame([series.alias(name) for name, series in zip(self.names, columns, strict=True)])
        index = pd.RangeIndex(len(cells)) if index is None else index
        frame = pd.DataFrame({i: c.set_axis(index) for i, c in enumerate(columns)}, index=index, copy=False)
        frame.columns = pd.Index(list(self.names), dtype=self.axis_dtype, name=self.axis_name, tupleize_cols=False)
        return frame

    def complete(self, X: Any, cells: np.ndarray) -> Any:
        """Fill the missing cells of a table with restored ones; all others stay what they are, to the last bit.

        Parameters
        ----------
        X : array-like or frame
            As for ``cells``.
        cells : ndarray of shape (n_rows, n_columns)
            Of which only those are read that are missing in X.

        Returns
        -------
        table : array or frame
            A new one, of X's library, dtypes and index. A column without any value whose dtype could not hold what fills it
            takes the fitted one.
        """
        if library_of(X) == "numpy":
            X = np.array(X)
            missing = pd.isna(X)
            X[missing] = np.asarray(self.restore(cells))[missing]
            return X
        pairs = zip(self._columns_for(X), _series(X), strict=True)
        filled = [_fill(column, series, cells[:, i], self.library) for i, (column, series) in enumerate(pairs)]
        if library_of(X) == "polars":
            return X.with_columns(filled)
        frame = pd.DataFrame(dict(enumerate(filled)), index=X.index, copy=False)
        frame.columns = X.columns
        return frame

    def _columns_for(self, frame: Any, name: str = "X") -> Sequence[Column]:
        """The fitted columns; where there was an array, one of numbers for each of the frame."""
        if self.columns and len(self.columns) != frame.shape[1]:
            n_fitted = len(self.columns)
            raise ValueError(f"{name} has {frame.shape[1]} columns, but there were {n_fitted} at fit; pass the same columns.")
        return self.columns or [Column(label, None, "number") for label in frame.columns]

    def __repr__(self) -> str:
        if not self.columns:
            return f"Schema of a table of numbers ({self.library})"
        rows = [["column", "kind", "dtype", "levels"]]
        rows += [[str(c.name), c.kind, "" if c.dtype is None else str(c.dtype), c.note] for c in self.columns]
        rows = [[_short(cell, 80 if i == 3 else 30) for i, cell in enumerate(row)] for row in rows]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def library_of(X: Any) -> str:
    """The library of a data frame, "pandas" or "polars"; "numpy" for all else."""
    if isinstance(X, pd.DataFrame):  # whose names may be such that narwhals refuses it
        return "pandas"
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError("X is a lazy frame; call its collect method first.")
    return "polars" if isinstance(frame, nw.DataFrame) and frame.implementation.is_polars() else "numpy"


def index_of(X: Any) -> Any:
    """The index of a pandas frame, None for all else."""
    return X.index if library_of(X) == "pandas" else None


def table_like(X: Any, values: np.ndarray) -> Any:
    """Numbers, one per cell of X, in a frame with its names and index where X is one."""
    library = library_of(X)
    if library == "numpy":
        return values
    if library == "polars":
        import polars as pl

        return pl.DataFrame(values, schema=list(X.columns))
    return pd.DataFrame(values, columns=X.columns, index=X.index)


def with_columns(X: Any, columns: dict[str, np.ndarray]) -> Any:
    """A table with further columns at its end; in an array without their names."""
    library = library_of(X)
    if library == "numpy":
        return np.column_stack([X, *columns.values()])
    if library == "polars":
        import polars as pl

        return X.with_columns([pl.Series(name, values) for name, values in columns.items()])
    return pd.concat([X, pd.DataFrame(columns, index=X.index)], axis=1)


# What the libraries do in ways of their own


class _Pandas:
    """Columns of pandas, of any of its dtypes, to numpy and back."""

    @staticmethod
    def kind(series: pd.Series) -> str | None:
        dtype = series.dtype
        if dtype == OBJECT:
            found = pd.api.types.infer_dtype(series, skipna=True)
            return {"string": "category", "empty": "category", "boolean": "boolean"}.get(found)
        if isinstance(dtype, pd.SparseDtype):
            return None
        return _kind(series) or {"f": "number", "M": "datetime"}.get(dtype.kind)  # narwhals lacks some of either

    @staticmethod
    def missing(series: pd.Series) -> np.ndarray:
        return series.isna().to_numpy()

    @staticmethod
    def numbers(series: pd.Series) -> np.ndarray:
        if series.dtype == OBJECT:
            series = series.astype("boolean")
        return series.to_numpy(dtype=np.float64, na_value=np.nan)

    @staticmethod
    def moments(series: pd.Series) -> np.ndarray:
        """Ticks of universal time, as numpy's datetimes or durations."""
        unit = _unit(series.dtype)
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
        if column.kind == "number":
            return pd.Series(_castable(_castable(values, column.limits), _limits(dtype))).astype(dtype)
        if column.kind in {"datetime", "duration"}:
            series = pd.Series(_moments(column, values))
            return (series.dt.tz_localize("UTC") if _zone(dtype) else series).astype(dtype)
        codes = _codes(column, values)
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
        """All values anew, in the dtype that they bring, and the place of a series."""
        values = (values if isinstance(values, pd.Series) else pd.Series(values.to_list())).set_axis(series.index)
        return values.astype(object) if series.dtype == OBJECT else values


class _Polars:
    """The same for polars."""

    @staticmethod
    def kind(series: Any) -> str | None:
        return _kind(series)

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
        return ticks.view(f"{'m' if series.dtype == pl.Duration else 'M'}8[{_unit(series.dtype)}]")

    @staticmethod
    def factorize(series: Any) -> tuple[np.ndarray, list[Any]]:
        import polars as pl

        if series.dtype in (pl.Categorical, pl.Enum):  # whose physical codes are not the column's own
            series = series.cast(pl.String)
        if series.dtype.is_float():
            series = series.fill_nan(None)
        levels = series.drop_nulls().unique()
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
            return pl.Series(_castable(_castable(values, column.limits), _limits(dtype))).fill_nan(None).cast(dtype)
        if column.kind in {"datetime", "duration"}:
            moments = _moments(column, values)
            if column.unit == "s":  # which polars has not
                moments = moments.astype(f"{moments.dtype.kind}8[ms]")
            series = pl.Series(moments)
            return (series.dt.replace_time_zone("UTC") if _zone(dtype) else series).cast(dtype)
        codes = _codes(column, values)
        return pl.Series([*column.levels, None], dtype=dtype).gather(np.where(codes < 0, len(column.levels), codes))

    @staticmethod
    def put(series: Any, where: np.ndarray, filling: Any) -> Any:
        import polars as pl

        order = np.arange(len(series))
        order[where] = len(series) + np.arange(len(filling))
        plain = pl.String if series.dtype == pl.Categorical else series.dtype  # categories of two columns do not mix
        return pl.concat([series.cast(plain), filling.cast(plain).alias(series.name)]).gather(order).cast(series.dtype)

    @staticmethod
    def like(series: Any, values: Any) -> Any:
        import polars as pl

        return pl.Series(series.name, values if isinstance(values, pl.Series) else values.to_list())


TOOLS: dict[str, Any] = {"numpy": _Pandas, "pandas": _Pandas, "polars": _Polars}


def _tool(series: Any) -> Any:
    return TOOLS["pandas" if isinstance(series, pd.Series) else "polars"]


def _frame(X: Any) -> Any:
    """The frame itself, or one of an array's columns."""
    return pd.DataFrame(np.asarray(X)).infer_objects() if library_of(X) == "numpy" else X


def _series(frame: Any) -> Iterable[Any]:
    return (frame.iloc[:, i] if isinstance(frame, pd.DataFrame) else frame.to_series(i) for i in range(frame.shape[1]))


# Dtypes


def _kind(series: Any) -> str | None:
    """By narwhals, which knows the dtypes of all libraries, but only few of their details."""
    dtype = nw.from_native(series, series_only=True).dtype
    if dtype.is_numeric():
        return "number"
    return next((kind for kind, family in FAMILIES.items() if dtype in family), None)


def _unit(dtype: Any) -> str:
    dtype = getattr(dtype, "pyarrow_dtype", dtype)
    if isinstance(dtype, np.dtype):
        return np.datetime_data(dtype)[0]
    return getattr(dtype, "unit", None) or getattr(dtype, "time_unit", None) or "D"


def _zone(dtype: Any) -> Any:
    dtype = getattr(dtype, "pyarrow_dtype", dtype)
    return getattr(dtype, "tz", None) or getattr(dtype, "time_zone", None)


def _limits(dtype: Any) -> tuple[float, float, int] | None:
    """Lowest and highest number and decimals of a dtype that is not floating, as floats between which all can be cast."""
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
    return _within(lowest), _within(highest), 0


def _within(bound: int) -> float:
    """The float next to an integer and no further from zero."""
    nearest = float(bound)
    return nearest if abs(int(nearest)) <= abs(bound) else float(np.nextafter(nearest, 0))


# What a column is


def _column(series: Any, is_declared: bool, by_dtype: bool) -> Column:
    tool, name, dtype = _tool(series), series.name, series.dtype
    missing = tool.missing(series)
    column = Column(name, dtype, "ignored", missing=series[missing].iloc[0] if dtype == OBJECT and missing.any() else None)
    if len(series) and missing.all():
        return column
    kind = "category" if is_declared else tool.kind(series)
    if kind is None:
        raise ValueError(_refusal(series))
    if kind == "category":
        if not is_declared and not by_dtype:
            raise ValueError(
                f"Column {name!r} has dtype {dtype} but is not among categorical_features; name it there, "
                "use categorical_features='from_dtype', or drop it."
            )
        return _category(column, series)
    if kind == "boolean":
        return replace(column, kind=kind, levels=(False, True))
    if kind == "number":
        only_missing = len(series) and np.isnan(tool.numbers(series)).all()  # NaN is a number in some libraries
        return column if only_missing else replace(column, kind=kind, limits=_limits(dtype))
    ticks = np.sort(tool.moments(series)[~missing].astype(np.int64))
    return replace(column, kind=kind, unit=_unit(dtype), origin=int(ticks[(len(ticks) - 1) // 2]) if len(ticks) else 0)


def _category(column: Column, series: Any) -> Column:
    """Levels in their declared order, else sorted, and the rare ones among them."""
    tool = _tool(series)
    try:
        codes, levels = tool.factorize(series)
        rank = {level: i for i, level in enumerate(tool.declared(series.dtype) or sorted(levels))}
    except TypeError as error:  # not hashable or not comparable
        raise ValueError(_refusal(series)) from error
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    order = sorted(range(len(levels)), key=lambda i: rank[levels[i]])
    levels, counts = [levels[i] for i in order], counts[order]
    rare = _are_rare(counts)
    if len(rare) and rare.all():
        return replace(column, n_distinct=len(levels))
    kept = [level for level, is_rare in zip(levels, rare, strict=True) if not is_rare]
    grouped = tuple(level for level, is_rare in zip(levels, rare, strict=True) if is_rare)
    if grouped:
        kept.append(grouped[counts[rare].argmax()])
    return replace(column, kind="category", levels=tuple(kept), grouped=grouped, n_distinct=len(levels))


def _are_rare(counts: np.ndarray) -> np.ndarray:
    rare = np.zeros(len(counts), dtype=bool)
    if len(counts) > KEPT_WHOLE:
        rare |= counts < max(2, min(RARE, 0.01 * counts.sum()))
        rare[np.argsort(-counts, kind="stable")[MOST_LEVELS:]] = True
    return rare if rare.sum() > 1 else np.zeros_like(rare)  # a group of one is a level


def _warn_of_levels(columns: Iterable[Column], n_rows: int) -> None:
    notes = []
    for column in columns:
        if column.grouped:
            notes.append(
                f"Column {column.name!r} has {column.n_distinct} levels, and {len(column.grouped)} of them are rare: "
                f"these share one code and come back as {column.levels[-1]!r}."
            )
        elif column.kind == "ignored" and column.n_distinct:
            notes.append(
                f"Column {column.name!r} has {column.n_distinct} levels in {n_rows} rows, each of them rare: "
                "it is ignored and comes back missing."
            )
    if notes:
        remedy = "Merge levels that belong together, and drop columns that are only names of rows."
        warnings.warn(" ".join([*notes, remedy]), UserWarning, stacklevel=6)  # where fit is called


def check_columns_of(frame: Any, library: str) -> None:
    """Refuse frames without columns, and names that do not tell columns apart."""
    if frame.shape[1] == 0:
        raise ValueError("X has no columns; pass at least one.")
    if getattr(frame.columns, "nlevels", 1) > 1:
        raise ValueError("X has a MultiIndex of columns; flatten it, e.g. with X.columns.map('_'.join).")
    if library == "numpy" and not all(map(pd.api.types.is_numeric_dtype, frame.dtypes)):
        raise ValueError("X is an array, but not one of numbers; pass a frame, whose columns may be of any kind.")
    if isinstance(frame, pd.DataFrame) and not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"X has several columns of the name {name!r}; rename or drop all but one.")


def _declared(features: Any, frame: Any, library: str) -> set[int]:
    """Positions of the columns that the caller names as categories."""
    n_columns, names = frame.shape[1], [] if library == "numpy" else list(frame.columns)
    if features is None:
        return set()
    is_list = np.iterable(features) and not isinstance(features, str)
    items: list[Any] = list(features) if is_list else []
    if items and all(isinstance(item, bool | np.bool_) for item in items):
        if len(items) != n_columns:
            raise ValueError(
                f"categorical_features is a mask of {len(items)} columns, but X has {n_columns}; give one for each."
            )
        return {i for i, item in enumerate(items) if item}
    if is_list and all(isinstance(item, int | np.integer) for item in items):
        beyond = [item for item in items if not 0 <= item < n_columns]
        if beyond:
            raise ValueError(f"categorical_features holds {beyond[0]}; indices of the columns of X are 0 to {n_columns - 1}.")
        return {int(item) for item in items}
    if not is_list or not all(isinstance(item, str) for item in items):
        raise ValueError(
            f"categorical_features={features!r}; it must be 'from_dtype', None, or a list of names, of indices or of booleans."
        )
    unknown = [item for item in items if item not in names]
    if unknown:
        remedy = f"the columns of X are {_listed(names)}" if names else "an array has no names, so give indices"
        raise ValueError(f"categorical_features holds {unknown[0]!r}, which is no column of X; {remedy}.")
    return {names.index(item) for item in items}


def _refusal(series: Any) -> str:
    """Why a column cannot be taken in and what to do."""
    found, example = str(series.dtype).lower(), ""
    if found == "object" and isinstance(series, pd.Series):
        found = pd.api.types.infer_dtype(series, skipna=True)
        present = series.dropna()
        types = present.map(type)
        first = present[~types.duplicated()]
        example = f" of {found} values, such as {_short(' and '.join(map(repr, first[:2])), 80)}"
    remedy = next((remedy for start, remedy in REMEDIES.items() if found.startswith(start)), "convert it to strings or numbers")
    return (
        f"Column {series.name!r} has dtype {series.dtype}{example}, which is neither a number, a category nor a date; "
        f"{remedy}, or drop it."
    )


# Between the column's values and cells


def _read(column: Column, series: Any, handle_unknown: str, table: str) -> np.ndarray | float:
    tool = _tool(series)
    if column.kind == "ignored" or tool.missing(series).all():
        return np.nan
    if column.kind == "category":
        return _known_codes(column, series, handle_unknown, table)
    kind = tool.kind(series)
    if kind not in READABLE[column.kind] or (kind == "datetime" and bool(_zone(series.dtype)) != bool(_zone(column.dtype))):
        raise ValueError(_mismatch(column, series, table))
    if kind in {"datetime", "duration"}:
        return _offsets(column, tool.moments(series))
    numbers = tool.numbers(series)
    if column.kind == "boolean" and kind == "number" and not np.isin(numbers[~np.isnan(numbers)], [0, 1]).all():
        raise ValueError(_mismatch(column, series, table))
    return numbers


def _mismatch(column: Column, series: Any, table: str) -> str:
    fitted = "" if column.dtype is None else f" of dtype {column.dtype}"
    return (
        f"Column {column.name!r} of {table} has dtype {series.dtype}, but at fit it was a {column.kind}{fitted}, "
        "and one cannot be read as the other; convert it to the dtype that it had."
    )


def _known_codes(column: Column, series: Any, handle_unknown: str, table: str) -> np.ndarray:
    try:
        codes, levels = _tool(series).factorize(series)
    except TypeError as error:
        raise ValueError(_refusal(series)) from error
    known = dict.fromkeys(column.grouped, len(column.levels) - 1) | {level: i for i, level in enumerate(column.levels)}
    cells = np.array([known.get(level, np.nan) for level in levels] + [np.nan])
    unknown = [level for level in levels if level not in known]
    if unknown and len(unknown) == len(levels) and _are_strings(unknown).isdisjoint(_are_strings(column.levels)):
        raise ValueError(_mismatch(column, series, table))
    if unknown and handle_unknown == "error":
        raise ValueError(
            f"Column {column.name!r} of {table} holds levels that were not there at fit: {_listed(unknown)}. "
            "Use handle_unknown='ignore' to take them for missing cells, or fit on rows that hold them."
        )
    return cells[codes]  # the code of a missing cell, -1, is the last entry


def _are_strings(levels: Iterable[Any]) -> set[bool]:
    return {isinstance(level, str) for level in levels}


def _codes(column: Column, values: np.ndarray) -> np.ndarray:
    """The nearest code, the upper one of two; -1 for a missing cell."""
    nearest = np.clip(np.floor(values + 0.5), 0, len(column.levels) - 1)
    return np.where(np.isnan(nearest), -1, nearest).astype(np.int64)


def _offsets(column: Column, moments: np.ndarray) -> np.ndarray:
    """Distances from the origin in the fitted unit, taken between integers as floats would not tell near moments apart."""
    own, fitted = (np.array(1, f"m8[{unit}]") for unit in (np.datetime_data(moments.dtype)[0], column.unit))
    ratio = own / fitted
    if ratio < 1:
        moments, ratio = moments.astype(f"{moments.dtype.kind}8[{column.unit}]"), 1
    origin, rest = divmod(column.origin, int(ratio))
    ticks = moments.astype(np.int64)
    rough = ticks.astype(np.float64) - origin
    offsets = np.where(np.abs(rough) < 2**62, ticks - origin, rough) * ratio - rest
    return np.where(np.isnat(moments), np.nan, offsets)


def _moments(column: Column, offsets: np.ndarray) -> np.ndarray:
    """The way back, to the nearest tick that there is."""
    limits = np.iinfo(np.int32 if column.unit == "D" else np.int64)
    lowest = max(limits.min + 1 - column.origin, NOT_A_TIME)
    highest = min(limits.max - column.origin, -NOT_A_TIME - 1)
    offsets = np.clip(np.rint(offsets.astype(np.float64)), _within(lowest), _within(highest))
    missing = np.isnan(offsets)
    ticks = np.where(missing, 0, offsets).astype(np.int64) + column.origin
    return np.where(missing, NOT_A_TIME, ticks).view(f"{'m' if column.kind == 'duration' else 'M'}8[{column.unit}]")


def _castable(values: np.ndarray, limits: tuple[float, float, int] | None) -> np.ndarray:
    """Numbers that a cast to a dtype of these limits takes over as they are."""
    if limits is None:
        return values
    lowest, highest, decimals = limits
    return np.clip(np.round(values.astype(np.float64), decimals), lowest, highest)


def _restore_array(columns: Iterable[Column], cells: np.ndarray) -> np.ndarray:
    if all(column.kind == "number" for column in columns):
        return cells
    cells = cells.copy()
    for i, column in enumerate(columns):
        if column.kind != "number":  # code -1 is the last entry
            cells[:, i] = np.array([*column.levels, np.nan])[_codes(column, cells[:, i])]
    return cells


def _fill(column: Column, series: Any, values: np.ndarray, library: str) -> Any:
    tool = _tool(series)
    missing = tool.missing(series)
    if column.kind == "number" and not missing.all():
        missing = np.isnan(tool.numbers(series))  # NaN is a number in some libraries
    if column.kind == "ignored" or not missing.any():
        return series.copy() if isinstance(series, pd.Series) else series  # polars shares memory with no harm
    filling = values[missing]
    if column.kind == "category":
        column = _narrowed(column, series.dtype, tool.declared(series.dtype), filling)
    if missing.all() and not _holds(series, column):
        return tool.like(series, TOOLS[library].write(column, filling, column.dtype))
    return tool.put(series, missing, tool.write(column, filling, series.dtype))


def _holds(series: Any, column: Column) -> bool:
    """Whether the dtype of a series could hold the column's values."""
    measured = () if True in _are_strings(column.levels) else ("number", "boolean")
    return _tool(series).kind(series) in READABLE.get(column.kind, ("category", *measured))


def _narrowed(column: Column, dtype: Any, allowed: list[Any] | None, values: np.ndarray) -> Column:
    """The column with those levels only that a dtype can hold."""
    if allowed is None:
        return column
    codes = np.unique(_codes(column, values))
    lacking = [column.levels[code] for code in codes[codes >= 0] if column.levels[code] not in allowed]
    if lacking:
        raise ValueError(
            f"Column {column.name!r} has dtype {dtype}, which lacks levels that fill it: {_listed(lacking)}; "
            "add them, or convert it to the dtype that it had at fit."
        )
    return replace(column, levels=tuple(level if level in allowed else None for level in column.levels))


def _listed(items: Sequence[Any]) -> str:
    return ", ".join(map(str, items[:SHOWN])) + (", ..." if len(items) > SHOWN else "")


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
