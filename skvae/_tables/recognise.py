"""Recognise the columns of a frame: their kinds, their categories, and which of these are rare."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from skvae._tables.columns import Column, listed, shortened
from skvae._tables.libraries import OBJECT, declaring, present, series_of, tool_of, unit_of
from skvae._tables.remedies import assignment, conversion, expression, without
from skvae._tables.texts import Text, text_of

KEPT_WHOLE = 20  # a column of at most so many categories has no rare ones
MOST_LEVELS = 100  # categories with a code of their own
MOST_COUNTED = 1 << 20  # categories counted in a column that is read block by block; more are identifiers of rows
RARE = 10  # rows, or 1 % of the column if that is less, below which a category is rare
NAMES = 0.8  # share of rows with a unique category from which on a column identifies rows
NEARLY_ALL = 0.9  # share of the rows that no single category may represent
FEWEST_TICKS = 20  # datetimes; the order of fewer may be chance
IN_ORDER = 0.95  # share of steps between rows in one direction, or of distinct datetimes, that makes a clock
FEW_TEXTS = 5  # a column of fewer distinct strings is not searched for numbers
TO_FRAME = "convert it to a frame, whose columns may be of any kind, with `X = pd.DataFrame(X).infer_objects()`"


def recognise(series: Any, is_declared: bool, by_dtype: bool) -> Column:
    """Recognise a column of a frame; ``is_declared`` says that the caller declares it categorical."""
    tool, name, dtype = tool_of(series), series.name, series.dtype
    missing = tool.missing(series)
    is_object = tool.library == "pandas" and dtype == OBJECT
    column = Column(name, dtype, "ignored", missing=series[missing].iloc[0] if is_object and missing.any() else None)
    if len(series) and missing.all():
        return column
    kind = "category" if is_declared else tool.kind(series)
    if kind is None:
        raise ValueError(refusal(series))
    if kind == "category":
        if not is_declared and not by_dtype:
            raise ValueError(
                f"Column {name!r} has dtype {dtype} but is not among categorical_features; add it there, "
                f"use categorical_features='from_dtype', or drop it with {without([name], tool.library)}."
            )
        return _category(column, series, is_declared)
    if kind in {"number", "boolean"}:
        return _number(replace(column, kind=kind), series)
    moments = tool.moments(series)[~missing]
    ticks = np.unique(moments.astype(np.int64))  # so that the origin does not depend on repeated rows
    origin = int(ticks[(len(ticks) - 1) // 2]) if len(ticks) else 0
    is_clock = kind == "datetime" and _are_of_clock(moments)
    column = replace(column, kind=kind, unit=unit_of(dtype), origin=origin, is_clock=is_clock)
    return replace(column, is_constant=_is_constant(ticks))


def _are_of_clock(moments: np.ndarray) -> bool:
    """Whether datetimes rise or fall with the rows, or have times of day that hardly repeat."""
    if len(moments) < FEWEST_TICKS or _is_constant(moments):
        return False
    steps = np.diff(moments.astype(np.int64))
    if max((steps >= 0).mean(), (steps <= 0).mean()) >= IN_ORDER:
        return True
    has_time_of_day = bool((moments != moments.astype("M8[D]")).any())
    return has_time_of_day and len(np.unique(moments)) >= IN_ORDER * len(moments)


def _number(column: Column, series: Any) -> Column:
    """A column of numbers or booleans."""
    tool = tool_of(series)
    numbers = tool.numbers(series)
    present = numbers[~np.isnan(numbers)]
    if len(numbers) and not len(present):  # some libraries do not treat NaN as missing
        return replace(column, kind="ignored")
    column = replace(column, is_constant=_is_constant(present))
    return replace(column, levels=(False, True)) if column.kind == "boolean" else replace(column, limits=tool.limits(series))


def _is_constant(values: np.ndarray) -> bool:
    return bool(len(values) and (values == values[0]).all())


def _category(column: Column, series: Any, is_declared: bool) -> Column:
    return category_of(column, series, counts_of(series), is_declared)


def counts_of(series: Any) -> dict[Any, int]:
    """Counts of the categories of a column, in order of appearance."""
    try:
        codes, levels = tool_of(series).factorize(series)
        return dict(zip(levels, np.bincount(codes[codes >= 0], minlength=len(levels)).tolist(), strict=True))
    except TypeError as error:  # not hashable
        raise ValueError(refusal(series)) from error


def category_of(column: Column, series: Any, counts_by_level: dict[Any, int], is_declared: bool) -> Column:
    """A column of these categories, in declared order or else sorted, with rare ones grouped; ``series`` is a part of it."""
    tool, levels, counts = tool_of(series), list(counts_by_level), np.array([*counts_by_level.values()], dtype=np.int64)
    try:
        rank = {level: i for i, level in enumerate(tool.declared(series.dtype) or sorted(levels))}
    except TypeError as error:  # not comparable
        raise ValueError(refusal(series)) from error
    column = replace(column, n_distinct=len(levels), n_rows=int(counts.sum()), n_single=int((counts == 1).sum()))
    if not is_declared and tool.is_text(series) and _are_many(counts):
        column = replace(column, text=text_of(levels))
    order = sorted(range(len(levels)), key=lambda i: rank[levels[i]])
    levels, counts = [levels[i] for i in order], counts[order]
    rare = _are_rare(counts)
    if len(rare) and rare.all():
        return column
    kept = [level for level, is_rare in zip(levels, rare, strict=True) if not is_rare]
    grouped = tuple(level for level, is_rare in zip(levels, rare, strict=True) if is_rare)
    if grouped:
        kept.append(grouped[counts[rare].argmax()])
    return replace(column, kind="category", levels=tuple(kept), grouped=grouped, is_constant=len(levels) == 1)


@dataclass
class Counted:
    """Counts of the categories of a column that is read block by block.

    Attributes
    ----------
    counts : dict
        Count of each category.
    first : series or None
        The first block with a value. Its dtype is extended by the categories that other blocks declare.
    """

    counts: dict[Any, int] = field(default_factory=dict)
    first: Any = None

    @classmethod
    def of(cls, series: Any) -> Self:
        """Counts in a block."""
        return cls() if tool_of(series).missing(series).all() else cls(counts_of(series), series)

    def add(self, later: Self) -> None:
        """Add the counts of further blocks."""
        for level, count in later.counts.items():
            if level in self.counts or len(self.counts) < MOST_COUNTED:
                self.counts[level] = self.counts.get(level, 0) + count
        if self.first is None or later.first is None:
            self.first = later.first if self.first is None else self.first
        else:
            self.first = declaring(self.first, later.first.dtype)

    def column(self, head: Column, is_declared: bool, by_dtype: bool) -> Column:
        """The column by all its rows; ``head`` is the column by its first rows."""
        if self.first is None:
            return head
        column = recognise(self.first, is_declared, by_dtype)
        is_category = is_declared or tool_of(self.first).kind(self.first) == "category"
        return category_of(replace(column, kind="ignored"), self.first, self.counts, is_declared) if is_category else column


def _are_rare(counts: np.ndarray) -> np.ndarray:
    """Which categories have no code of their own. Equally frequent ones are treated alike, so that the alphabet never decides.

    All are rare in two cases: if too many are frequent and the rest would be most of the rows, because their shared code would
    look more frequent than any category; and if the rest is nearly all rows, which one category would represent.
    """
    if len(counts) <= KEPT_WHOLE:
        return np.zeros(len(counts), dtype=bool)
    if _are_names(counts):
        return np.ones(len(counts), dtype=bool)
    rare = counts < max(2, min(RARE, 0.01 * counts.sum()))
    if (~rare).sum() > MOST_LEVELS:
        rare |= counts <= np.sort(counts)[-MOST_LEVELS - 1]
        rare |= counts[rare].sum() > counts.sum() / 2
    rare |= counts[rare].sum() >= NEARLY_ALL * counts.sum()
    return rare if rare.sum() > 1 else np.zeros_like(rare)  # a single rare category keeps its code


def _are_names(counts: np.ndarray) -> bool:
    """Whether nearly every row has a unique category."""
    return bool((counts == 1).sum() >= NAMES * counts.sum())


def _are_many(counts: np.ndarray) -> bool:
    return len(counts) > KEPT_WHOLE or (len(counts) >= FEW_TEXTS and _are_names(counts))


def note_of_levels(columns: Iterable[Column], library: str) -> str:
    """A note for users on rare categories and text, with advice; empty if there are none."""
    told = [column for column in columns if column.text or column.grouped or _is_left_out(column)]
    names = [column.name for column in told if _names_rows(column) and not column.text]
    notes = [_note(column, library) for column in told]
    if any(not column.text and not _names_rows(column) for column in told):
        notes.append("Merge categories that belong together.")
    if names:
        notes.append("Drop columns that identify rows" + (f" with {without(names, library)}." if library != "numpy" else "."))
    return " ".join(notes)


def _is_left_out(column: Column) -> bool:
    return column.kind == "ignored" and column.n_distinct > 0


def _names_rows(column: Column) -> bool:
    return _is_left_out(column) and column.n_single >= NAMES * column.n_rows


def _note(column: Column, library: str) -> str:
    note = f"Column {column.name!r} has {column.n_distinct} categories"
    if _names_rows(column):
        note += f" in {column.n_rows} rows, {column.n_single} of which occur once. It is ignored, and missing in all output."
    elif _is_left_out(column):
        note += f" in {column.n_rows} rows, too many to learn from. It is ignored, and missing in all output."
    elif column.grouped:
        note += f". {len(column.grouped)} of them are rare: they share one code and are returned as {column.levels[-1]!r}."
    else:
        note += " and is treated as categorical."
    return f"{note} {_note_of_text(column, column.text, library)}" if column.text else note


def _note_of_text(column: Column, text: Text, library: str) -> str:
    examples, blanks = ", ".join(map(repr, text.examples)), shortened(", ".join(map(repr, text.blanks[:3])), 40)
    line = assignment(column.name, text.converted(expression(column.name, library), library), library)
    note = f"Its values look like {text.meaning} written as text, such as {examples}; convert them with {line}"
    return f"{note}, where {blanks} becomes missing." if blanks else f"{note}."


def check_columns_of(frame: Any, library: str) -> None:
    """Refuse frames without columns, or with names that are not unique."""
    if frame.shape[1] == 0:
        raise ValueError("X has no columns; pass at least one.")
    if getattr(frame.columns, "nlevels", 1) > 1:
        line = "X.columns = ['_'.join(map(str, name)) for name in X.columns]"
        raise ValueError(f"X has a MultiIndex of columns; flatten it with `{line}`.")
    if library == "numpy" and not all(tool_of(series).kind(series) in {"number", "boolean"} for series in series_of(frame)):
        raise ValueError(f"X is an array that does not hold numbers; {TO_FRAME}.")
    if isinstance(frame, pd.DataFrame) and not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        line = "X = X.loc[:, ~X.columns.duplicated()]"
        raise ValueError(f"X has several columns named {name!r}; rename them, or keep only the first with `{line}`.")


def declared_as_categories(features: Any, frame: Any, library: str) -> set[int]:
    """Positions of the columns that the caller declares categorical."""
    n_columns, names = frame.shape[1], [] if library == "numpy" else list(frame.columns)
    if features is None:
        return set()
    is_list = np.iterable(features) and not isinstance(features, str)
    items: list[Any] = list(features) if is_list else []
    if items and all(isinstance(item, bool | np.bool_) for item in items):
        if len(items) != n_columns:
            raise ValueError(
                f"categorical_features is a mask of {len(items)} columns, but X has {n_columns}; pass one entry per column."
            )
        return {i for i, item in enumerate(items) if item}
    if is_list and all(isinstance(item, int | np.integer) for item in items):
        beyond = [item for item in items if not 0 <= item < n_columns]
        if beyond:
            raise ValueError(f"categorical_features holds {beyond[0]}; valid column indices of X are 0 to {n_columns - 1}.")
        return {int(item) for item in items}
    if not is_list or not all(isinstance(item, str) for item in items):
        raise ValueError(
            f"categorical_features={features!r}; it must be 'from_dtype', None, or a list of names, indices or booleans."
        )
    unknown = [item for item in items if item not in names]
    if unknown:
        remedy = f"the columns of X are {listed(names)}" if names else "an array has no column names, so pass indices"
        raise ValueError(f"categorical_features holds {unknown[0]!r}, which is not a column of X; {remedy}.")
    return {names.index(item) for item in items}


def refusal(series: Any) -> str:
    """Why a column cannot be used, and what to do about it."""
    library, values = tool_of(series).library, present(series)
    found, example = str(series.dtype).lower(), ""
    if isinstance(series, pd.Series):
        found = "list" if found.startswith("fixed_size_list") else found
        if series.dtype == OBJECT:
            found = _kind_of_objects(values)
            first = values[~values.map(type).duplicated()][:2]
            example = f" of {found} values, such as {shortened(' and '.join(map(repr, first)), 80)}"
    size = max(map(len, values), default=0) if found.startswith(("list", "array")) else 0
    return (
        f"Column {series.name!r} has dtype {series.dtype}{example}, which is neither a number, a category nor a date; "
        f"{conversion(series.name, found, library, size)}, or drop it with {without([series.name], library)}."
    )


def _kind_of_objects(values: pd.Series) -> str:
    """The kind of the objects in a column, in a word."""
    if values.map(lambda value: isinstance(value, Mapping)).all():
        return "struct"
    if values.map(lambda value: isinstance(value, list | tuple | np.ndarray)).all():
        return "list"
    return str(pd.api.types.infer_dtype(values))
