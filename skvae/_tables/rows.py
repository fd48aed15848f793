"""The rows of a table, weighted, with their exact statistics in float64.

Cells may be missing, NaN, where not said otherwise; statistics are then those of the cells that are there. A weight counts
repetitions of its row: a weight of 2 is the row twice, a weight of 0 its absence.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from skvae._tables.processes import Own
from skvae._tables.summary import CONSTANT, Summary

BLOCK_ROWS = 1 << 15  # rows that are worked on at once, so that memory beyond the result does not grow with the table
SAMPLE_ROWS, SAMPLE_CELLS = 100_000, 1 << 23  # the most that stand for all rows in what need not be exact, or cannot be
SQUARABLE = 1e150  # the largest scale whose square is a float64
EPS = float(np.finfo(np.float64).eps)


class Change(Protocol):
    """Something that is done to the cells of rows."""

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """The rows after it."""

    def summarised(self, summary: Summary) -> Summary | None:
        """What becomes of a summary of the rows; None where it takes the rows to tell."""


class Rows(ABC):
    """The rows of a table, weighted: those that are held in memory as they are, and those that are made when they are read."""

    @property
    def is_streamed(self) -> bool:
        """Whether memory does not hold them."""
        return False

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """How many there are, whatever their weights."""

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """How many cells each has."""

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
        """All rows, some at a time."""

    def from_each_process(self, own: Own) -> list[Own]:
        """What each process that has a part of the rows made of its own; there is only this one where memory holds all."""
        return [own]

    @abstractmethod
    def sample(self) -> "Table":
        """Rows that stand for all, which they are where there are few."""

    @abstractmethod
    def take(self, index: np.ndarray) -> "Rows":
        """Rows at some places."""

    @abstractmethod
    def gathered(self) -> "Table":
        """All rows in memory."""

    @abstractmethod
    def changed(self, change: Change) -> "Rows":
        """The rows after a change of their cells."""

    @abstractmethod
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each column; exactly (value, 0) where all agree, (NaN, 0) where no cell is there."""

    @abstractmethod
    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest cell of each column; NaN where no cell is there."""


@dataclass(frozen=True)
class Table(Rows):
    """Distinct rows in a canonical order, and how often each stands in the data.

    Weights that are all one are None, which spares the training loop a multiplication.
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
        return self if len(self.rows) <= most else self.take(slice(most))  # in an order that has nothing to do with the rows

    def gathered(self) -> "Table":
        return self

    def changed(self, change: Change) -> "Table":
        return Table(change.apply(self.rows), self.weights)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        X, counts = np.asarray(self.rows, dtype=np.float64), self.counts
        lowest, highest = self.extremes()
        magnitude = np.fmax(np.abs(lowest), np.abs(highest))
        magnitude[~(magnitude > 0)] = 1.0  # columns are taken relative to it, so that squares neither over- nor underflow
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
    """How many rows of so many cells stand for all."""
    return min(SAMPLE_ROWS, max(1, SAMPLE_CELLS // max(1, n_columns)))


def merge_equal_rows(X: np.ndarray, weights: np.ndarray | None) -> Table:
    """Sum the weights of equal rows, drop those of weight zero, and order the rest by a hash of the row.

    Then repeated rows and integer weights are one and the same table to the last bit, the order in which rows came is
    forgotten, and no copy of a training row can sit among the validation rows.
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
    """The rows of all, one after the other."""
    weights = None if all(table.weights is None for table in tables) else np.concatenate([table.counts for table in tables])
    return Table(np.concatenate([table.rows for table in tables]), weights)


def in_blocks(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """``function(rows)``, block by block; it maps ``(n, ...)`` to ``(n, ...)``."""
    first = function(rows[:BLOCK_ROWS])
    if len(rows) <= BLOCK_ROWS:
        return first
    result = np.empty((len(rows), *first.shape[1:]), first.dtype)
    result[:BLOCK_ROWS] = first
    for start in range(BLOCK_ROWS, len(rows), BLOCK_ROWS):
        result[start : start + BLOCK_ROWS] = function(rows[start : start + BLOCK_ROWS])
    return result


def hashed(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows with one kind of zero and one of NaN, of which there are many, and a hash of each, the same for equal rows."""
    X = X + 0.0
    X[np.isnan(X)] = np.nan
    return X, pd.util.hash_pandas_object(pd.DataFrame(X, copy=False), index=False).to_numpy()
