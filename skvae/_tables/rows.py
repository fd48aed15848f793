"""Weighted rows of a table, with exact statistics in float64.

Unless stated otherwise, cells may be missing (NaN), and statistics are those of the observed cells. A weight is a number of
repetitions: a weight of 2 equals a repeated row, a weight of 0 an absent one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from skvae._tables.processes import Own
from skvae._tables.summary import CONSTANT, Summary

BLOCK_ROWS = 1 << 15  # rows processed at once, so that memory beyond the result does not grow with the table
SAMPLE_ROWS, SAMPLE_CELLS = 100_000, 1 << 23  # maximum size of a sample, for what need not or cannot use all rows
SQUARABLE = 1e150  # the largest scale whose square is a float64
EPS = float(np.finfo(np.float64).eps)


class Change(Protocol):
    """A transformation of the cells of rows."""

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """The transformed rows."""

    def summarised(self, summary: Summary) -> Summary | None:
        """The summary of the transformed rows; None if it does not follow from the summary of the rows."""


class Rows(ABC):
    """Base class of weighted rows, in memory or transformed when they are read."""

    @property
    def is_streamed(self) -> bool:
        """Whether the rows are not in memory."""
        return False

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Number of rows, regardless of weights."""

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """Number of columns."""

    @property
    @abstractmethod
    def total(self) -> float:
        """Sum of the weights."""

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Whether no cell is missing."""

    @abstractmethod
    def blocks(self) -> Iterator["Table"]:
        """All rows, block by block."""

    def from_each_process(self, own: Own) -> list[Own]:
        """The objects of all processes that share the rows; for rows in memory, only this one."""
        return [own]

    @abstractmethod
    def sample(self) -> "Table":
        """A sample of the rows; all rows if there are few."""

    @abstractmethod
    def take(self, index: np.ndarray) -> "Rows":
        """The rows at these places."""

    @abstractmethod
    def gathered(self) -> "Table":
        """All rows in memory."""

    @abstractmethod
    def changed(self, change: Change) -> "Rows":
        """The rows after a transformation of their cells."""

    @abstractmethod
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each column; exactly (value, 0) if all cells are equal, (NaN, 0) if there are none."""

    @abstractmethod
    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest cell of each column; NaN if there are none."""


@dataclass(frozen=True)
class Table(Rows):
    """Distinct rows in a canonical order, and their weights.

    Weights that are all one are None, which saves a multiplication in training.
    """

    rows: np.ndarray
    weights: np.ndarray | None

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    @property
    def n_columns(self) -> int:
        return self.rows.shape[1]

    @property
    def counts(self) -> np.ndarray:
        return np.ones(len(self.rows)) if self.weights is None else self.weights

    @property
    def total(self) -> float:
        return float(self.counts.sum())

    @property
    def is_complete(self) -> bool:
        return not any(np.isnan(block.rows).any() for block in self.blocks())

    def blocks(self) -> Iterator["Table"]:
        for start in range(0, len(self.rows), BLOCK_ROWS):
            yield self.take(slice(start, start + BLOCK_ROWS))

    def take(self, index: np.ndarray | slice) -> "Table":
        return Table(self.rows[index], None if self.weights is None else self.weights[index])

    def sample(self) -> "Table":
        most = sample_rows(self.n_columns)
        return self if len(self.rows) <= most else self.take(slice(most))  # rows are ordered by hash, thus at random

    def gathered(self) -> "Table":
        return self

    def changed(self, change: Change) -> "Table":
        return Table(change.apply(self.rows), self.weights)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        X, counts = np.asarray(self.rows, dtype=np.float64), self.counts
        lowest, highest = self.extremes()
        magnitude = np.fmax(np.abs(lowest), np.abs(highest))
        magnitude[~(magnitude > 0)] = 1.0  # columns are divided by it, so that squares neither overflow nor underflow
        unit = X / magnitude
        if self.is_complete:
            mean = np.average(unit, axis=0, weights=counts)
            std = np.sqrt(np.average((unit - mean) ** 2, axis=0, weights=counts))
        else:
            seen = np.maximum(counts @ ~np.isnan(X), np.finfo(np.float64).tiny)
            mean = counts @ np.nan_to_num(unit) / seen
            std = np.sqrt(counts @ np.nan_to_num(unit - mean) ** 2 / seen)
        constant = ~(lowest < highest) | (std <= CONSTANT)
        return np.where(constant, lowest, mean * magnitude), np.where(constant, 0.0, std * magnitude)

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        return np.fmin.reduce(self.rows), np.fmax.reduce(self.rows)


def sample_rows(n_columns: int) -> int:
    """Maximum number of rows in a sample."""
    return min(SAMPLE_ROWS, max(1, SAMPLE_CELLS // max(1, n_columns)))


def merge_equal_rows(X: np.ndarray, weights: np.ndarray | None) -> Table:
    """Sum the weights of equal rows, drop rows of weight zero, and order the rest by a hash of the row.

    Repeated rows and integer weights then give bitwise equal tables, the original order of rows has no effect, and no copy of a
    training row can be among the validation rows.
    """
    if weights is not None:
        X, weights = X[weights > 0], weights[weights > 0]
    X, hashes = hashed(X)
    order = np.argsort(hashes, kind="stable")
    X, hashes = X[order], hashes[order]
    same = np.flatnonzero(hashes[1:] == hashes[:-1])
    above, below = X[same], X[same + 1]
    same = same[((above == below) | (np.isnan(above) & np.isnan(below))).all(axis=1)]
    if weights is None and len(same) == 0:
        return Table(X, None)
    first = np.ones(len(X), dtype=bool)
    first[same + 1] = False
    ordered = np.ones(len(X)) if weights is None else weights[order]
    counts = np.add.reduceat(ordered, np.flatnonzero(first))
    return Table(X[first], None if (counts == 1).all() else counts)


def stacked(tables: list[Table]) -> Table:
    """Concatenate the rows of tables."""
    weights = None if all(table.weights is None for table in tables) else np.concatenate([table.counts for table in tables])
    return Table(np.concatenate([table.rows for table in tables]), weights)


def in_blocks(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Apply ``function``, which maps ``(n, ...)`` to ``(n, ...)``, block by block."""
    first = function(rows[:BLOCK_ROWS])
    if len(rows) <= BLOCK_ROWS:
        return first
    result = np.empty((len(rows), *first.shape[1:]), first.dtype)
    result[:BLOCK_ROWS] = first
    for start in range(BLOCK_ROWS, len(rows), BLOCK_ROWS):
        result[start : start + BLOCK_ROWS] = function(rows[start : start + BLOCK_ROWS])
    return result


def hashed(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows with unique representations of zero and NaN, and a hash of each; equal rows have equal hashes."""
    X = X + 0.0
    X[np.isnan(X)] = np.nan
    return X, pd.util.hash_pandas_object(pd.DataFrame(X, copy=False), index=False).to_numpy()
