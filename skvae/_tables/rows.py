"""The rows of a table, weighted, with their exact statistics in float64: equal rows, moments, scalings.

Cells may be missing, NaN, where not said otherwise; statistics are then those of the cells that are there. A weight counts
repetitions of its row: a weight of 2 is the row twice, a weight of 0 its absence.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Protocol

import numpy as np
import pandas as pd

from skvae._tables.summary import CONSTANT, Summary

BLOCK_ROWS = 1 << 15  # rows that are worked on at once, so that memory beyond the result does not grow with the table
LARGE = 1 << 25  # bytes of a table of which no second copy is made
SAMPLE_ROWS, SAMPLE_CELLS = 100_000, 1 << 24  # the most that stand for all rows in what need not be exact, or cannot be
SQUARABLE = 1e150  # the largest scale whose square is a float64
EPS = float(np.finfo(np.float64).eps)
FLOOR = 1e-6  # least variance of the noise, of a column of unit variance

Change = Callable[[np.ndarray], np.ndarray]


class Rows(ABC):
    """The rows of a table, weighted: those that are held in memory as they are, and those that are made when they are read."""

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
    def changed(self, change: Change, of_summary: Callable[[Summary], Summary] | None = None) -> "Rows":
        """The rows after a change of their cells; ``of_summary`` says what it does to a summary, where that is known."""

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

    def changed(self, change: Change, of_summary: Callable[[Summary], Summary] | None = None) -> "Table":
        return Table(change(self.rows), self.weights)

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


class Reader(Protocol):
    """Where rows come from that are made when they are read."""

    n_blocks: int
    n_rows: int
    total: float

    @property
    def sample(self) -> Table:
        """Rows that stand for all."""

    def read(self, i: int) -> Table:
        """The rows of a block."""


class Resident:
    """Some rows of a table in memory, in the order of ``index``; None stands for all."""

    def __init__(self, table: Table, index: np.ndarray | None = None) -> None:
        self.table = table
        self.index = index
        self.n_rows = table.n_rows if index is None else len(index)
        self.n_blocks = -(-self.n_rows // BLOCK_ROWS)
        self.total = table.total if index is None else float(table.counts[index].sum())

    @property
    def sample(self) -> Table:
        return self.table.take(self._places(0, sample_rows(self.table.n_columns)))

    def read(self, i: int) -> Table:
        return self.table.take(self._places(i * BLOCK_ROWS, (i + 1) * BLOCK_ROWS))

    def take(self, index: np.ndarray) -> "Resident":
        return Resident(self.table, index if self.index is None else self.index[index])

    def _places(self, start: int, stop: int) -> np.ndarray | slice:
        return slice(start, stop) if self.index is None else self.index[start:stop]


@dataclass(frozen=True, eq=False)
class Lazy(Rows):
    """Rows that are read and changed anew each time, because a copy of all would be too large.

    Attributes
    ----------
    reader : Reader
    changes : tuple of callable
        Of the cells of a block, one after the other.
    known : Summary or None
        Of the changed rows, where it follows from one that is known.
    """

    reader: Reader
    changes: tuple[Change, ...] = ()
    known: Summary | None = None

    @cached_property
    def summary(self) -> Summary:
        """Of the changed rows; takes a pass over all where it is not known."""
        return self.known or Summary.over((block.rows, block.weights) for block in self.blocks())

    @property
    def n_rows(self) -> int:
        return self.reader.n_rows

    @property
    def n_columns(self) -> int:
        return len(self.summary.mean)

    @property
    def total(self) -> float:
        return self.reader.total

    @property
    def is_complete(self) -> bool:
        return self.summary.is_complete

    def block(self, i: int) -> Table:
        """Some rows, by the number of their block."""
        return self._changed(self.reader.read(i))

    def blocks(self) -> Iterator[Table]:
        return map(self.block, range(self.reader.n_blocks))

    def sample(self) -> Table:
        return self._changed(self.reader.sample)

    def take(self, index: np.ndarray) -> "Lazy":
        if not isinstance(self.reader, Resident):
            raise TypeError("Rows that are not in memory have no places.")
        return Lazy(self.reader.take(index), self.changes)

    def gathered(self) -> Table:
        blocks = list(self.blocks())
        weights = None if blocks[0].weights is None else np.concatenate([block.counts for block in blocks])
        return Table(np.concatenate([block.rows for block in blocks]), weights)

    def changed(self, change: Change, of_summary: Callable[[Summary], Summary] | None = None) -> "Lazy":
        known = None if of_summary is None else of_summary(self.summary)
        return Lazy(self.reader, (*self.changes, change), known)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        return self.summary.moments()

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        return self.summary.lowest, self.summary.highest

    def _changed(self, table: Table) -> Table:
        return Table(reduce(lambda rows, change: change(rows), self.changes, table.rows), table.weights)


def without_copies(rows: Rows) -> Rows:
    """The same rows; those of a large table in memory are changed when they are read."""
    return Lazy(Resident(rows)) if isinstance(rows, Table) and rows.rows.nbytes > LARGE else rows


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


@dataclass(frozen=True)
class Scaling:
    """``(x - mean) / scale`` per column, and back; a column that never ``varies`` comes back as its one value, exactly.

    The value of a column of which every cell is missing is NaN.
    """

    mean: np.ndarray
    scale: np.ndarray
    varies: np.ndarray
    error_unit: float = 1.0  # what a squared error of 1 on scaled columns is outside; 1 where each column has its own unit

    @classmethod
    def standard(cls, rows: Rows, numbers: np.ndarray | bool = True) -> "Scaling":
        """To zero mean and unit variance; a column without variance is only centred, and what is no number left as it is."""
        mean, std = rows.moments()
        return cls._of_numbers(numbers, mean, np.where(std > 0, std, 1.0), std > 0)

    @classmethod
    def common(cls, rows: Rows, numbers: np.ndarray | bool = True) -> "Scaling":
        """To zero mean, and all columns by one factor, so that their proportions stay and the networks see numbers near 1."""
        mean, std = rows.moments()
        std_of_numbers = np.where(numbers, std, 0.0)
        largest = std_of_numbers.max()
        factor = float(largest * np.sqrt(np.mean((std_of_numbers / largest) ** 2, where=numbers))) if largest > 0 else 1.0
        return cls._of_numbers(numbers, mean, np.full(len(mean), factor), std > 0, min(factor, SQUARABLE) ** 2)

    @classmethod
    def none(cls, rows: Rows) -> "Scaling":
        """Cells as they are."""
        mean, std = rows.moments()
        return cls._of_numbers(False, mean, np.ones(len(mean)), std > 0)

    @classmethod
    def _of_numbers(
        cls, numbers: np.ndarray | bool, mean: np.ndarray, scale: np.ndarray, varies: np.ndarray, error_unit: float = 1.0
    ) -> "Scaling":
        numbers, empty = np.broadcast_to(numbers, mean.shape), np.isnan(mean)
        mean, scale = np.where(numbers | empty, mean, 0.0), np.where(numbers, scale, 1.0)
        return cls(mean, scale, ~empty & (varies | ~numbers), error_unit)

    def apply(self, X: np.ndarray) -> np.ndarray:
        return (X - self.mean) / self.scale

    def apply_to(self, rows: Rows) -> Rows:
        return rows.changed(self.apply, lambda summary: summary.scaled(self.mean, self.scale))

    def invert(self, Z: np.ndarray) -> np.ndarray:
        return np.where(self.varies, Z * self.scale + self.mean, self.mean)

    def log_jacobians(self, rows: np.ndarray) -> np.ndarray:
        """Log density in input units minus log density on the scaled columns, of each row, over the cells that it has."""
        return -np.where(np.isnan(rows), 0.0, np.log(self.scale)).sum(axis=1)


def least_variances(rows: Rows) -> np.ndarray:
    """Below which no noise is learned, per column: a share of its variance, and no less than rounding in float32 makes."""
    variances = rows.moments()[1] ** 2
    return FLOOR * np.maximum(np.where(variances > 0, variances, 1.0), FLOOR)


def resolutions(rows: Rows) -> np.ndarray:
    """Variance, per column, of what rounding takes from cells of the usual distance between neighbouring values.

    A density that is sharper than its cells are written down says nothing about other cells.
    """
    return np.array([median_gap(cells) for cells in rows.sample().rows.T]) ** 2 / 12


def median_gap(cells: np.ndarray) -> float:
    """Usual distance between neighbouring values; 0 where there is one value at most."""
    gaps = np.diff(np.unique(cells[~np.isnan(cells)]))
    return float(np.median(gaps)) if len(gaps) else 0.0
