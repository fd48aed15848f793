"""Schema of a table: it converts tables to cells, and cells back to tables of the original type."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from skvae._tables.columns import Column, are_strings, codes_of, listed, offsets_of, shortened
from skvae._tables.libraries import TOOLS, as_table, frame_of, library_of, present, series_of, tool_of, without_objects, zone_of
from skvae._tables.marginals import Marginals
from skvae._tables.processes import ALONE, Processes
from skvae._tables.recognise import Counted, check_columns_of, declared_as_categories, note_of_levels, recognise, refusal
from skvae._tables.remedies import reading, with_levels, zoned
from skvae._tables.rows import sample_rows
from skvae._tables.sources import Source
from skvae._tables.summary import Summary
from skvae._warnings import warn

HEAD_ROWS = 100_000  # rows that determine the kinds of columns, of tables that are read block by block
READABLE = {  # kinds that can be read as each fitted kind
    "number": ("number", "boolean"),
    "boolean": ("boolean", "number"),
    "datetime": ("datetime",),
    "duration": ("duration",),
}


@dataclass(frozen=True, repr=False)
class Schema:
    """Type and columns of the table that an estimator was fitted on.

    The *cells* of a table are numbers: codes of categories, 0 and 1 for booleans, and differences from an origin for datetimes
    and durations. Missing values are NaN.

    Frames of other libraries are converted to pandas, and pandas frames are returned for them. Tables of pyarrow keep the
    dtypes of Arrow, as in ``X.to_pandas(types_mapper=pd.ArrowDtype)``; modin and cuDF use their own conversion. Code in
    messages refers to the converted frame.

    Attributes
    ----------
    library : {"numpy", "pandas", "polars"}
        Library of the table; "numpy" for everything that is not a frame.
    columns : tuple of Column
        Types of the columns; empty for arrays without categories.
    axis_name : hashable
        Name of the column index of a pandas frame.
    axis_dtype : object
        dtype of the column index of a pandas frame.
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
            Which columns are categorical, as in scikit-learn's ``HistGradientBoostingClassifier``.

        Raises
        ------
        ValueError
            If a column cannot be used; the message names it.

        Warns
        -----
        UserWarning
            If rare categories share a code, if a column is ignored, or if its text looks like numbers or dates.
        """
        X = as_table(X)
        library = library_of(X)
        by_dtype = isinstance(categorical_features, str) and categorical_features == "from_dtype"
        if library == "numpy" and (by_dtype or categorical_features is None):
            return cls(library)
        frame = frame_of(X)
        check_columns_of(frame, library)
        declared = set() if by_dtype else declared_as_categories(categorical_features, frame, library)
        if library == "numpy" and not declared:
            return cls(library)
        columns = tuple(recognise(series, i in declared, by_dtype) for i, series in enumerate(series_of(frame)))
        note = note_of_levels(columns, library)
        if note:
            warn(note)
        if library == "numpy":
            return cls(library, tuple(replace(column, dtype=None) for column in columns))
        axis = X.columns if library == "pandas" else None
        return cls(library, columns, getattr(axis, "name", None), getattr(axis, "dtype", None))

    @classmethod
    def of_source(
        cls,
        source: Source,
        categorical_features: Any,
        over: Callable[[Iterable[int]], Iterable[int]],
        processes: Processes = ALONE,
    ) -> "Schema":
        """Read the schema of a table that is read block by block, as ``of`` does.

        The first rows determine kinds. If there are categorical columns, a pass over all rows counts their categories. ``over``
        iterates over the numbers of the blocks. ``processes`` each hold a part of the rows.
        """

        def of_head() -> "HeadSchema":
            return HeadSchema.of(source.head(min(HEAD_ROWS, sample_rows(source.n_columns))), categorical_features)

        def counts() -> Counts:
            blocks = (source.read(i) for i in over(range(len(source.sizes))))
            return pooled(map(of_first_rows.count, blocks))

        of_first_rows = processes.of_first(processes.together(of_head))
        if not of_first_rows.is_open:
            return of_first_rows.schema
        return of_first_rows.with_counts(pooled(processes.gathered(processes.together(counts))))

    def with_constants(self, summary: Summary) -> "Schema":
        """The schema, with columns of numbers, dates and booleans marked as constant by a summary of all rows."""
        constant = summary.lowest == summary.highest
        columns = [
            column if column.kind in {"category", "ignored"} else replace(column, is_constant=bool(is_constant))
            for column, is_constant in zip(self.columns, constant, strict=self.columns != ())
        ]
        return replace(self, columns=tuple(columns))

    def with_marginals(self, marginals: Marginals) -> "Schema":
        """The schema, with the fitted marginals of numeric columns."""
        pairs = zip(self.columns, marginals.columns, strict=True) if self.columns else ()
        return replace(self, columns=tuple(replace(column, marginal=marginal) for column, marginal in pairs))

    @property
    def names(self) -> tuple[Any, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def n_levels(self) -> np.ndarray:
        """Number of codes per column; 1 for booleans, and 0 for numeric and ignored columns."""
        counts = [{"boolean": 1, "category": len(column.levels)}.get(column.kind, 0) for column in self.columns]
        return np.array(counts, dtype=np.int64)

    def n_levels_of(self, n_columns: int) -> np.ndarray:
        """``n_levels`` for a table of ``n_columns`` columns, which the schema of a plain array does not know."""
        return self.n_levels if self.columns else np.zeros(n_columns, dtype=np.int64)

    def clocks_of(self, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Which of ``n_columns`` columns are clocks, and how many units of their cells make up a day."""
        is_clock, per_day = np.zeros(n_columns, dtype=bool), np.full(n_columns, np.nan)
        for i, column in enumerate(self.columns):
            if column.is_clock:
                is_clock[i], per_day[i] = True, np.array(1, "m8[D]") / np.array(1, f"m8[{column.unit}]")
        return is_clock, per_day

    def widened(self, n_columns: int) -> "Schema":
        """The schema, extended by numeric columns to ``n_columns``."""
        if not self.columns:
            return self
        return replace(self, columns=self.columns + (Column(None, None, "number"),) * (n_columns - len(self.columns)))

    @property
    def is_plain(self) -> bool:
        """Whether all columns are numbers or booleans."""
        return all(column.kind in {"number", "boolean"} for column in self.columns)

    def cells(self, X: Any, handle_unknown: str = "ignore", name: str = "X") -> np.ndarray:
        """Read a table as numbers.

        Parameters
        ----------
        X : array-like or frame
            A table with the fitted columns in their order, of any library.
        handle_unknown : {"ignore", "error"}
            What to do with a category that was not seen at fit: treat it as missing, or raise an error.
        name : str
            Name of the table in error messages.

        Returns
        -------
        cells : ndarray of shape (n_rows, n_columns)
            float32 if all columns are, else float64, with NaN for missing values. A numeric array is returned unchanged.
        """
        X = as_table(X)
        if not self.columns and library_of(X) == "numpy":
            return np.asarray(X)
        frame = frame_of(X)
        columns = self._columns_for(frame, name)
        dtypes = set(frame.dtypes)
        if len(dtypes) == 1 and dtypes <= {np.dtype("f4"), np.dtype("f8")} and {c.kind for c in columns} == {"number"}:
            return np.array(frame.to_numpy(), order="C")
        single = {str(dtype).lower() for dtype in dtypes} <= {"float32", "float[pyarrow]"}
        cells = np.empty(frame.shape, dtype=np.float32 if single else np.float64)
        for i, (column, series) in enumerate(zip(columns, series_of(frame), strict=True)):
            cells[:, i] = _read(column, series, handle_unknown, name)
        return cells

    def unknown(self, X: Any, cells: np.ndarray) -> np.ndarray:
        """Which cells hold a category that was not seen at fit; ``cells`` are the cells of ``X``."""
        if not any(column.kind == "category" for column in self.columns):
            return np.broadcast_to(False, cells.shape)
        unknown, frame = np.zeros(cells.shape, dtype=bool), frame_of(X)
        for i, (column, series) in enumerate(zip(self._columns_for(frame), series_of(frame), strict=True)):
            if column.kind == "category":
                unknown[:, i] = np.isnan(cells[:, i]) & ~tool_of(series).missing(series)
        return unknown

    def single_levels(self, X: Any) -> list[frozenset[Any]]:
        """The categories of each column that occur in one row only, including rare ones that share a code."""
        if not any(column.kind == "category" for column in self.columns):
            return []
        frame = frame_of(X)
        pairs = zip(self._columns_for(frame), series_of(frame), strict=True)
        return [_single(series) if column.kind == "category" else frozenset() for column, series in pairs]

    def holding(self, levels: list[frozenset[Any]], X: Any, cells: np.ndarray) -> np.ndarray:
        """Which cells hold one of ``levels`` of their column; ``cells`` are the cells of ``X``."""
        if not any(levels):
            return np.broadcast_to(False, (len(cells), len(self.columns) or cells.shape[1]))
        series = series_of(frame_of(X))
        return np.stack([_among(each, some) for each, some in zip(series, levels, strict=True)], axis=1)

    def restore(self, cells: np.ndarray, index: Any = None) -> Any:
        """Convert cells to a table of the type that the estimator was fitted on.

        Integers are rounded, booleans are True from one half on, and categories are those of the nearest code. ``index`` is the
        index of a pandas frame.
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
        """Fill the missing values of a table; observed values are returned unchanged.

        Parameters
        ----------
        X : array-like or frame
            As for ``cells``.
        cells : ndarray of shape (n_rows, n_columns)
            Cells to fill in; only those that are missing in X are used.

        Returns
        -------
        table : array or frame
            A new table with the library, dtypes and index of X. If the dtype of an empty column cannot hold the filled-in
            values, the column takes its dtype at fit.
        """
        X = as_table(X)
        if library_of(X) == "numpy":
            X = np.asarray(without_objects(X))
            X = np.array(X, dtype=np.float32 if X.dtype == np.float32 else np.float64)
            missing = np.isnan(X)
            X[missing] = np.asarray(self.restore(cells))[missing]
            return X
        pairs = zip(self._columns_for(X), series_of(X), strict=True)
        filled = [_fill(column, series, cells[:, i], self.library) for i, (column, series) in enumerate(pairs)]
        if library_of(X) == "polars":
            return X.with_columns(filled)
        frame = pd.DataFrame(dict(enumerate(filled)), index=X.index, copy=False)
        frame.columns = X.columns
        return frame

    def _columns_for(self, frame: Any, name: str = "X") -> Sequence[Column]:
        """The fitted columns; if an array was fitted, one numeric column per column of the frame."""
        if self.columns and len(self.columns) != frame.shape[1]:
            n_fitted = len(self.columns)
            raise ValueError(f"{name} has {frame.shape[1]} columns, but there were {n_fitted} at fit; pass the fitted columns.")
        return self.columns or [Column(label, None, "number") for label in frame.columns]

    def __repr__(self) -> str:
        if not self.columns:
            return f"Schema of a table of numbers ({self.library})"
        rows = [["column", "kind", "dtype", "content"]]
        rows += [[str(c.name), c.kind, "" if c.dtype is None else str(c.dtype), c.note] for c in self.columns]
        rows = [[shortened(cell, 80 if i == 3 else 30) for i, cell in enumerate(row)] for row in rows]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


Counts = dict[int, Counted]  # by the number of the column


def pooled(parts: Iterable[Counts]) -> Counts:
    """Counts over all parts of a table, in their order."""
    total: Counts = {}
    for part in parts:
        for j, counted in part.items():
            total.setdefault(j, Counted()).add(counted)
    return total


@dataclass(frozen=True)
class HeadSchema:
    """Schema by the first rows of a table; the categories of all rows complete it.

    Attributes
    ----------
    schema : Schema
    declared : frozenset of int
        Columns that the caller declares categorical.
    by_dtype : bool
        Whether dtypes decide which columns are categorical.
    """

    schema: Schema
    declared: frozenset[int]
    by_dtype: bool

    @classmethod
    def of(cls, head: Any, categorical_features: Any) -> "HeadSchema":
        head = as_table(head)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # categories may be rare in the first rows only
            schema = Schema.of(head, categorical_features)
        by_dtype = isinstance(categorical_features, str) and categorical_features == "from_dtype"
        is_known = by_dtype or not schema.columns
        declared = () if is_known else declared_as_categories(categorical_features, frame_of(head), schema.library)
        return cls(schema, frozenset(declared), by_dtype)

    @property
    def is_open(self) -> bool:
        """Whether there are columns whose categories must be counted."""
        return bool(self._open)

    @property
    def _open(self) -> list[int]:
        return [i for i, column in enumerate(self.schema.columns) if column.kind in {"category", "ignored"}]

    def count(self, X: Any) -> Counts:
        """Count the categories of some rows."""
        return {j: Counted.of(series) for j, series in enumerate(series_of(frame_of(X))) if j in self._open}

    def with_counts(self, counts: Counts) -> Schema:
        """The schema by the categories of all rows.

        Warns
        -----
        UserWarning
            In the same cases as ``Schema.of``.
        """
        columns = list(self.schema.columns)
        for j, counted in counts.items():
            columns[j] = counted.column(columns[j], j in self.declared, self.by_dtype)
        note = note_of_levels(columns, self.schema.library)
        if note:
            warn(note)
        return replace(self.schema, columns=tuple(columns))


# Between the values of a column and cells


def _read(column: Column, series: Any, handle_unknown: str, table: str) -> np.ndarray | float:
    tool = tool_of(series)
    if column.kind == "ignored" or tool.missing(series).all():
        return np.nan
    if column.kind == "category":
        return _known_codes(column, series, handle_unknown, table)
    kind = tool.kind(series)
    if kind not in READABLE[column.kind] or (kind == "datetime" and bool(zone_of(series.dtype)) != bool(zone_of(column.dtype))):
        raise ValueError(_mismatch(column, series, table))
    if kind in {"datetime", "duration"}:
        return offsets_of(column, tool.moments(series))
    numbers = tool.numbers(series)
    if column.kind == "boolean" and kind == "number" and not np.isin(numbers[~np.isnan(numbers)], [0, 1]).all():
        raise ValueError(_mismatch(column, series, table))
    return numbers


def _mismatch(column: Column, series: Any, table: str) -> str:
    tool, fitted = tool_of(series), "" if column.dtype is None else f" of dtype {column.dtype}"
    if column.kind == tool.kind(series) == "datetime":
        line = zoned(column.name, zone_of(column.dtype), tool.library, table)
    else:
        line = reading(column, present(series).to_list(), tool.library, table)
    lenient = ", which makes all other values missing" if "coerce" in line or "strict=False" in line else ""
    return (
        f"Column {column.name!r} of {table} has dtype {series.dtype}, but at fit it was a {column.kind}{fitted}; "
        f"convert it to the dtype at fit, for example with {line}{lenient}."
    )


def _known_codes(column: Column, series: Any, handle_unknown: str, table: str) -> np.ndarray:
    try:
        codes, levels = tool_of(series).factorize(series)
    except TypeError as error:
        raise ValueError(refusal(series)) from error
    known = dict.fromkeys(column.grouped, len(column.levels) - 1) | {level: i for i, level in enumerate(column.levels)}
    cells = np.array([known.get(level, np.nan) for level in levels] + [np.nan])
    unknown = [level for level in levels if level not in known]
    if unknown and len(unknown) == len(levels) and are_strings(unknown).isdisjoint(are_strings(column.levels)):
        raise ValueError(_mismatch(column, series, table))
    if unknown and handle_unknown == "error":
        raise ValueError(
            f"Column {column.name!r} of {table} holds categories that were not seen at fit: {listed(unknown)}. "
            "Fit on rows that hold them, or use handle_unknown='ignore' to treat them as missing."
        )
    return cells[codes]  # the code of a missing cell, -1, is the last entry


def _single(series: Any) -> frozenset[Any]:
    codes, levels = tool_of(series).factorize(series)
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    return frozenset(level for level, count in zip(levels, counts, strict=True) if count == 1)


def _among(series: Any, some: frozenset[Any]) -> np.ndarray:
    codes, levels = tool_of(series).factorize(series) if some else (np.full(len(series), -1), [])
    return np.array([level in some for level in levels] + [False])[codes]  # the code of a missing cell, -1, is the last entry


def _restore_array(columns: Iterable[Column], cells: np.ndarray) -> np.ndarray:
    if all(column.kind == "number" for column in columns):
        return cells
    cells = cells.copy()
    for i, column in enumerate(columns):
        if column.kind != "number":  # code -1 is the last entry
            cells[:, i] = np.array([*column.levels, np.nan])[codes_of(column, cells[:, i])]
    return cells


def _fill(column: Column, series: Any, values: np.ndarray, library: str) -> Any:
    tool = tool_of(series)
    missing = tool.missing(series)
    if column.kind == "ignored" and tool.kind(series) == "number" and not np.isnan(values).all():
        column = replace(column, kind="number")  # it was empty at fit
    if column.kind == "number" and not missing.all():
        missing = np.isnan(tool.numbers(series))  # some libraries do not treat NaN as missing
    if column.kind == "ignored" or not missing.any():
        return series.copy() if isinstance(series, pd.Series) else series  # polars series are immutable
    filling = values[missing]
    if column.kind == "category":
        column = _narrowed(column, series, filling)
    if missing.all() and not _holds(series, column):
        return tool.like(series, TOOLS[library].write(column, filling, column.dtype))
    return tool.put(series, missing, tool.write(column, filling, series.dtype))


def _holds(series: Any, column: Column) -> bool:
    """Whether the dtype of a series could hold the column's values."""
    measured = () if True in are_strings(column.levels) else ("number", "boolean")
    return tool_of(series).kind(series) in READABLE.get(column.kind, ("category", *measured))


def _narrowed(column: Column, series: Any, values: np.ndarray) -> Column:
    """The column, with only those categories that the dtype of a series can hold."""
    tool, dtype = tool_of(series), series.dtype
    allowed = tool.declared(dtype)
    if allowed is None:
        return column
    codes = np.unique(codes_of(column, values))
    lacking = [column.levels[code] for code in codes[codes >= 0] if column.levels[code] not in allowed]
    if lacking:
        line = with_levels(column.name, lacking, tool.library)
        raise ValueError(
            f"Column {column.name!r} has dtype {dtype}, which lacks categories needed to fill in missing values: "
            f"{listed(lacking)}; add them with {line}."
        )
    return replace(column, levels=tuple(level if level in allowed else None for level in column.levels))
