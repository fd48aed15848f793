"""What the columns of a table were taken for, and what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skvae._display.cells import cells_of, rounded, written
from skvae._tables.columns import Column
from skvae._tables.schema import Schema

N_CATEGORIES = 3
LONGEST_VALUE = 20  # letters
MIDDLE = (0.05, 0.5, 0.95)  # quantiles


@dataclass(frozen=True)
class ColumnAccount:
    """What one column was taken for, and what it holds.

    Attributes
    ----------
    name : object
    kind : {"number", "boolean", "category", "datetime", "duration", "ignored"}
    missing : float
        Share of the cells.
    holds : str
        The median and the range of most cells, or the most frequent categories.
    """

    name: Any
    kind: str
    missing: float
    holds: str


def accounts_of(schema: Schema, names: Sequence[Any], rows: np.ndarray, unknown: np.ndarray) -> list[ColumnAccount]:
    """Accounts of the columns of a table that was read as ``rows``, with cells of ``unknown`` categories."""
    columns: Sequence[Column | None] = schema.columns or [None] * rows.shape[1]
    middle = _middle(schema, rows)
    return [
        _account(name, column, cells[~is_unknown], middle[:, i])
        for i, (name, column, cells, is_unknown) in enumerate(zip(names, columns, rows.T, unknown.T, strict=True))
    ]


def _account(name: Any, column: Column | None, cells: np.ndarray, middle: np.ndarray) -> ColumnAccount:
    present = cells[~np.isnan(cells)]
    kind = "number" if column is None else column.kind
    missing = 1 - len(present) / max(1, len(cells))
    if column is not None and kind == "ignored":
        return ColumnAccount(name, kind, missing, column.note)
    if not len(present):
        return ColumnAccount(name, kind, missing, "")
    if column is not None and kind in {"category", "boolean"}:
        return ColumnAccount(name, kind, missing, _most_frequent(column, present))
    low, median, high = (rounded(value, LONGEST_VALUE) for value in middle)
    return ColumnAccount(name, kind, missing, f"median {median}, 90% from {low} to {high}")


def _middle(schema: Schema, rows: np.ndarray) -> np.ndarray:
    """The quantiles of each column as its table has them; those of categories mean nothing."""
    is_empty = np.isnan(rows).all(axis=0)
    quantiles = np.nanquantile(np.where(is_empty, 0.0, rows), MIDDLE, axis=0, method="nearest")
    return cells_of(schema.restore(np.where(is_empty, np.nan, quantiles)))


def _most_frequent(column: Column, cells: np.ndarray) -> str:
    values, counts = np.unique(cells, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:N_CATEGORIES]
    listed = [f"{_category(column, int(values[i]))} {counts[i] / len(cells):.0%}" for i in most]
    return ", ".join(listed) + (", …" if len(values) > N_CATEGORIES else "")


def _category(column: Column, code: int) -> str:
    if column.kind == "boolean":
        return str(bool(code))
    is_rest = column.grouped and code == len(column.levels) - 1
    return f"{len(column.grouped)} rare ones" if is_rest else written(column.levels[code], LONGEST_VALUE)
