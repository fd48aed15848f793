"""Columns of a table: their values in a graph become cells, and cells their values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skvae._export.graph import ML, Graph, Value, concatenate, count_below, take, where
from skvae._tables.columns import NOT_A_TIME, Column, within
from skvae._tables.schema import Schema

UNKNOWN, MISSING = -1, -2  # in place of the code of a text
NO_TEXT = ("", "nan", "<NA>")  # the first that is no level stands for a missing text


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes
    ----------
    name : str
    dtype : dtype
        Of objects where it holds text.
    width : int
        Number of columns.
    note : str
        How its values are written.
    """

    name: str
    dtype: np.dtype
    width: int
    note: str = ""


@dataclass(frozen=True)
class Cells:
    """A table as numbers.

    Attributes
    ----------
    values : Value
        In float64, NaN where a cell is missing.
    unknown : Value or None
        Which cells hold a level that was not there at fit; None where there are no categories.
    """

    values: Value
    unknown: Value | None


def has_text(column: Column) -> bool:
    """Whether a column holds levels that are strings.

    Raises
    ------
    NotImplementedError
        Where it holds levels that are neither strings nor numbers.
    """
    if column.kind != "category":
        return False
    levels = (*column.levels, *column.grouped)
    if all(isinstance(level, str) for level in levels):
        return True
    if all(isinstance(level, bool | int | float | np.number | np.bool_) for level in levels):
        return False
    other = next(level for level in levels if not isinstance(level, bool | int | float | np.number | np.bool_))
    raise NotImplementedError(
        f"Column {column.name!r} holds the level {other!r}, and ONNX has categories of strings or of numbers only; "
        "convert the column to strings before the fit."
    )


def ports_of(schema: Schema, n_columns: int) -> list[Port]:
    """The inputs of a graph: the columns of a frame but for ignored ones, or an array."""
    if schema.library == "numpy":
        return [Port("X", np.dtype("float64"), n_columns, "NaN where a cell is missing")]
    ports = [_port(column) for column in schema.columns if column.kind != "ignored"]
    names = [port.name for port in ports]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"Two columns are called {twice!r} once their names are strings; rename one of them before the fit.")
    return ports


def _port(column: Column) -> Port:
    name = str(column.name)
    if column.kind in {"datetime", "duration"}:
        since = " since 1970 in universal time" if column.kind == "datetime" else ""
        return Port(name, np.dtype("int64"), 1, f"{column.kind}: ticks of 1 {column.unit}{since}, {NOT_A_TIME} where missing")
    if has_text(column):
        return Port(name, np.dtype(object), 1, f"category: text, {missing_text(column)!r} where missing")
    return Port(name, np.dtype("float64"), 1, f"{column.kind}: NaN where missing")


def missing_text(column: Column) -> str:
    """The text that stands for a missing cell in a column of strings."""
    return next(text for text in NO_TEXT if text not in {*column.levels, *column.grouped})


# From values to cells


def cells_of(schema: Schema, inputs: Sequence[Value]) -> Cells:
    """The cells of an array, or of the columns of a frame without ignored ones."""
    if len(inputs) == 1 and not schema.columns:
        return Cells(inputs[0].astype(np.float64), None)
    columns = [column for column in schema.columns if schema.library == "numpy" or column.kind != "ignored"]
    if len(inputs) == 1 and len(columns) > 1:
        inputs = [inputs[0].columns([i]) for i in range(len(columns))]
    read = [_read(column, value) for column, value in zip(columns, inputs, strict=True)]
    return Cells(_in_places(schema, columns, [cells for cells, _ in read]), _unknown(schema, columns, [some for _, some in read]))


def _in_places(schema: Schema, columns: Sequence[Column], cells: list[Value]) -> Value:
    """All columns side by side, ignored ones missing."""
    here = iter(cells)
    known = {id(column): value for column, value in zip(columns, here, strict=True)}
    nothing = cells[0] * np.nan
    return concatenate([known.get(id(column), nothing) for column in schema.columns])


def _unknown(schema: Schema, columns: Sequence[Column], unknown: list[Value | None]) -> Value | None:
    some = next((value for value in unknown if value is not None), None)
    if some is None:
        return None
    known = {id(column): value for column, value in zip(columns, unknown, strict=True) if value is not None}
    nothing = some & False
    return concatenate([known.get(id(column), nothing) for column in schema.columns])


def _read(column: Column, values: Value) -> tuple[Value, Value | None]:
    """The cells of a column, and which of them hold an unknown level."""
    if column.kind == "category":
        return _levels_of_text(column, values) if has_text(column) else _levels_of_numbers(column, values)
    if values.dtype == object:
        raise ValueError(f"Column {column.name!r} was a {column.kind} at fit, and its input holds text; make it one of numbers.")
    if column.kind in {"datetime", "duration"}:
        return _offsets(column, values), None
    cells = values.astype(np.float64)
    return (cells * np.nan if column.kind == "ignored" else cells), None


def _offsets(column: Column, ticks: Value) -> Value:
    """Distances from the origin, taken between integers as far as these go."""
    is_missing = ticks.astype(np.float64).isnan() if ticks.dtype != np.int64 else ticks.equals(NOT_A_TIME)
    ticks = ticks.astype(np.int64)
    rough = ticks.astype(np.float64) - float(column.origin)
    offsets = where(abs(rough) < 2.0**62, (ticks - column.origin).astype(np.float64), rough)
    return where(is_missing, np.nan, offsets)


def _levels_of_text(column: Column, texts: Value) -> tuple[Value, Value]:
    if texts.dtype != object:
        raise ValueError(f"Column {column.name!r} held strings at fit, and its input holds numbers; make it one of strings.")
    codes = _codes_of(column) | {missing_text(column): MISSING}
    found = texts.apply(
        "LabelEncoder",
        dtype=np.int64,
        domain=ML,
        keys_strings=list(codes),
        values_int64s=list(codes.values()),
        default_int64=UNKNOWN,
    )
    return where(found < 0, np.nan, found.astype(np.float64)), found.equals(UNKNOWN)


def _levels_of_numbers(column: Column, numbers: Value) -> tuple[Value, Value]:
    if numbers.dtype == object:
        raise ValueError(f"Column {column.name!r} held numbers at fit, and its input holds text; make it one of numbers.")
    known = dict(sorted((float(level), float(code)) for level, code in _codes_of(column).items()))
    levels, numbers = np.array(list(known)), numbers.astype(np.float64)
    place = count_below([levels], numbers, inclusive=False).apply("Min", len(levels) - 1)
    is_known = take(levels[None], place).equals(numbers)
    cells = where(is_known, take(np.array([list(known.values())]), place), np.nan)
    return cells, ~(is_known | numbers.isnan())


def _codes_of(column: Column) -> dict[Any, int]:
    return dict.fromkeys(column.grouped, len(column.levels) - 1) | {level: code for code, level in enumerate(column.levels)}


# From cells to values


def values_of(schema: Schema, cells: Value) -> list[Value]:
    """An array, or the columns of a frame without ignored ones, of which each has the dtype of its input."""
    if all(column.kind == "number" for column in schema.columns) and schema.library == "numpy":
        return [cells]
    written = [
        _written(column, cells.columns([i]))
        for i, column in enumerate(schema.columns)
        if column.kind != "ignored" or schema.library == "numpy"
    ]
    return [concatenate(written)] if schema.library == "numpy" else written


def _written(column: Column, cells: Value) -> Value:
    """A column of values, from its cells."""
    if column.kind == "ignored":
        return cells
    if column.kind == "number":
        return _castable(cells, column.limits)
    if column.kind in {"datetime", "duration"}:
        return _ticks(column, cells)
    codes = (cells + 0.5).apply("Floor").clip(0.0, len(column.levels) - 1).astype(np.int64)
    if not has_text(column):
        return take(np.array([column.levels], dtype=np.float64), codes)
    keys = {"keys_int64s": list(range(len(column.levels))), "values_strings": list(column.levels)}
    return codes.apply("LabelEncoder", dtype=object, domain=ML, default_string="", **keys)


def _castable(cells: Value, limits: tuple[float, float, int] | None) -> Value:
    if limits is None:
        return cells
    lowest, highest, decimals = limits
    return ((cells * 10.0**decimals).apply("Round") / 10.0**decimals).clip(lowest, highest)


def _ticks(column: Column, offsets: Value) -> Value:
    limits = np.iinfo(np.int32 if column.unit == "D" else np.int64)
    lowest = within(max(limits.min + 1 - column.origin, NOT_A_TIME))
    highest = within(min(limits.max - column.origin, -NOT_A_TIME - 1))
    is_missing = offsets.isnan()
    rounded = where(is_missing, 0.0, offsets).apply("Round").clip(lowest, highest)
    return where(is_missing, NOT_A_TIME, rounded.astype(np.int64) + column.origin)
