"""Graphs of the columns of a table: from values to cells, and from cells to values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skvae._export.graph import ML, Value, concatenate, count_below, take, where
from skvae._tables.columns import NOT_A_TIME, Column, within
from skvae._tables.schema import Schema

UNKNOWN, MISSING = -1, -2  # codes of texts that are unknown or missing
NO_TEXT = ("", "nan", "<NA>")  # the first that is not a category marks a missing text


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes
    ----------
    name : str
    dtype : dtype
        ``object`` for text.
    width : int
        Number of columns.
    note : str
        How its values are encoded.
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
        Cells in float64, with NaN for missing ones.
    unknown : Value or None
        Which cells hold a category that was not seen at fit; None if there are no categories.
    given : list of Value
        The inputs: one per column that is not ignored, or the numeric parts of the table.
    """

    values: Value
    unknown: Value | None
    given: list[Value]


def has_text(column: Column) -> bool:
    """Whether a column holds categories that are strings.

    Raises
    ------
    NotImplementedError
        If it holds categories that are neither strings nor numbers.
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
        f"Column {column.name!r} holds the category {other!r}, but ONNX supports only strings and numbers as categories; "
        "convert the column to strings before the fit."
    )


def ports_of(schema: Schema, n_columns: int) -> list[Port]:
    """The inputs of a graph: the columns of a frame that are not ignored, or an array."""
    if schema.library == "numpy":
        return [Port("X", np.dtype("float64"), n_columns, "NaN for missing values")]
    ports = [_port(column) for column in schema.columns if column.kind != "ignored"]
    names = [port.name for port in ports]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"Two columns are named {twice!r} when converted to strings; rename one of them before the fit.")
    return ports


def inputs_of(schema: Schema, ports: Sequence[Value]) -> list[Value | None]:
    """The inputs of ``cells_of``, from the values of ports."""
    if schema.library != "numpy":
        values = iter(ports)
        return [None if column.kind == "ignored" else next(values) for column in schema.columns]
    (X,) = ports
    return [X.columns([i]) for i in range(len(schema.columns))] or [X]


def _port(column: Column) -> Port:
    name = str(column.name)
    if column.kind in {"datetime", "duration"}:
        since = " since 1970 in universal time" if column.kind == "datetime" else ""
        return Port(name, np.dtype("int64"), 1, f"{column.kind}: ticks of 1 {column.unit}{since}, {NOT_A_TIME} if missing")
    if has_text(column):
        return Port(name, np.dtype(object), 1, f"category: text, {missing_text(column)!r} if missing")
    return Port(name, np.dtype("float64"), 1, f"{column.kind}: NaN if missing")


def missing_text(column: Column) -> str:
    """The text that marks a missing value in a column of strings."""
    return next(text for text in NO_TEXT if text not in {*column.levels, *column.grouped})


# From values to cells


def cells_of(schema: Schema, inputs: Sequence[Value | None]) -> Cells:
    """The cells of a table, from one value per column (None if ignored); a table of numbers may come in any parts."""
    given = [value for value in inputs if value is not None]
    if not schema.columns:
        return Cells(concatenate([value.astype(np.float64) for value in given]), None, given)
    cells: list[Value | None] = [None] * len(inputs)
    unknown: list[Value | None] = [None] * len(inputs)
    for i, (column, value) in enumerate(zip(schema.columns, inputs, strict=True)):
        if value is not None and column.kind != "ignored":
            cells[i], unknown[i] = _read(column, value)
    has_levels = any(value is not None for value in unknown)
    return Cells(_side_by_side(cells, np.nan), _side_by_side(unknown, False) if has_levels else None, given)


def _side_by_side(columns: Sequence[Value | None], nothing: float | bool) -> Value:
    """Columns side by side; those that are None are filled with ``nothing``."""
    known = next(column for column in columns if column is not None)
    empty = known & False if nothing is False else known * nothing
    return concatenate([empty if column is None else column for column in columns])


def _read(column: Column, values: Value) -> tuple[Value, Value | None]:
    """The cells of a column, and which of them hold an unknown category."""
    if column.kind == "category":
        return _levels_of_text(column, values) if has_text(column) else _levels_of_numbers(column, values)
    if values.dtype == object:
        raise ValueError(
            f"Column {column.name!r} was a {column.kind} at fit, but its input holds text; declare a numeric input."
        )
    if column.kind in {"datetime", "duration"}:
        return _offsets(column, values), None
    return values.astype(np.float64), None


def _offsets(column: Column, ticks: Value) -> Value:
    """Differences from the origin, computed in integers if they do not overflow."""
    is_missing = ticks.astype(np.float64).isnan() if ticks.dtype != np.int64 else ticks.equals(NOT_A_TIME)
    ticks = ticks.astype(np.int64)
    rough = ticks.astype(np.float64) - float(column.origin)
    offsets = where(abs(rough) < 2.0**62, (ticks - column.origin).astype(np.float64), rough)
    return where(is_missing, np.nan, offsets)


def _levels_of_text(column: Column, texts: Value) -> tuple[Value, Value]:
    if texts.dtype != object:
        raise ValueError(f"Column {column.name!r} held strings at fit, but its input holds numbers; declare a string input.")
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
        raise ValueError(f"Column {column.name!r} held numbers at fit, but its input holds text; declare a numeric input.")
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
    """An array, or the columns of a frame that are not ignored, each with the dtype of its input."""
    if all(column.kind == "number" for column in schema.columns) and schema.library == "numpy":
        return [cells]
    written = [
        _written(column, cells.columns([i]))
        for i, column in enumerate(schema.columns)
        if column.kind != "ignored" or schema.library == "numpy"
    ]
    return [concatenate(written)] if schema.library == "numpy" else written


def completed(schema: Schema, cells: Cells, filling: Value) -> list[Value]:
    """The values of the input table, with missing values replaced by ``filling``."""
    values = values_of(schema, filling)
    if schema.library == "numpy":
        given = concatenate(cells.given).astype(np.float64)
        return [where(given.isnan(), values[0], given)]
    is_missing = cells.values.isnan() if cells.unknown is None else cells.values.isnan() & ~cells.unknown
    places = [i for i, column in enumerate(schema.columns) if column.kind != "ignored"]
    return [where(is_missing.columns([i]), value, given) for i, value, given in zip(places, values, cells.given, strict=True)]


def _written(column: Column, cells: Value) -> Value:
    """The values of a column, from its cells."""
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
