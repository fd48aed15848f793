"""What the columns of a frame are taken for: kinds, levels and the rare ones among them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skvae._tables.columns import Column, listed, shortened
from skvae._tables.libraries import OBJECT, limits_of, tool_of, unit_of

KEPT_WHOLE = 20  # a column of no more levels has no rare ones
MOST_LEVELS = 100  # that have a code of their own
RARE = 10  # rows; a hundredth of the column's where that is less
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


def recognise(series: Any, is_declared: bool, by_dtype: bool) -> Column:
    """What a column of a frame is; ``is_declared`` says that the caller calls it a category."""
    tool, name, dtype = tool_of(series), series.name, series.dtype
    missing = tool.missing(series)
    column = Column(name, dtype, "ignored", missing=series[missing].iloc[0] if dtype == OBJECT and missing.any() else None)
    if len(series) and missing.all():
        return column
    kind = "category" if is_declared else tool.kind(series)
    if kind is None:
        raise ValueError(refusal(series))
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
        return column if only_missing else replace(column, kind=kind, limits=limits_of(dtype))
    ticks = np.sort(tool.moments(series)[~missing].astype(np.int64))
    return replace(column, kind=kind, unit=unit_of(dtype), origin=int(ticks[(len(ticks) - 1) // 2]) if len(ticks) else 0)


def _category(column: Column, series: Any) -> Column:
    """Levels in their declared order, else sorted, and the rare ones among them."""
    tool = tool_of(series)
    try:
        codes, levels = tool.factorize(series)
        rank = {level: i for i, level in enumerate(tool.declared(series.dtype) or sorted(levels))}
    except TypeError as error:  # not hashable or not comparable
        raise ValueError(refusal(series)) from error
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


def note_of_levels(columns: Iterable[Column], n_rows: int) -> str:
    """What users should know about rare levels, and what to do about them; empty where there are none."""
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
    remedy = "Merge levels that belong together, and drop columns that are only names of rows."
    return " ".join([*notes, remedy]) if notes else ""


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


def declared_as_categories(features: Any, frame: Any, library: str) -> set[int]:
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
        remedy = f"the columns of X are {listed(names)}" if names else "an array has no names, so give indices"
        raise ValueError(f"categorical_features holds {unknown[0]!r}, which is no column of X; {remedy}.")
    return {names.index(item) for item in items}


def refusal(series: Any) -> str:
    """Why a column cannot be taken in and what to do."""
    found, example = str(series.dtype).lower(), ""
    if found == "object" and isinstance(series, pd.Series):
        found = pd.api.types.infer_dtype(series, skipna=True)
        present = series.dropna()
        types = present.map(type)
        first = present[~types.duplicated()]
        example = f" of {found} values, such as {shortened(' and '.join(map(repr, first[:2])), 80)}"
    remedy = next((remedy for start, remedy in REMEDIES.items() if found.startswith(start)), "convert it to strings or numbers")
    return (
        f"Column {series.name!r} has dtype {series.dtype}{example}, which is neither a number, a category nor a date; "
        f"{remedy}, or drop it."
    )
