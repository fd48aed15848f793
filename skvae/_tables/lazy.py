"""Rows that are read and changed anew each time, because memory does not hold them, or should not hold them twice."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Protocol

import numpy as np

from skvae._tables.processes import ALONE, Own, Processes
from skvae._tables.rows import BLOCK_ROWS, Change, Rows, Table, in_blocks, sample_rows, stacked
from skvae._tables.summary import Summary

LARGE = 1 << 25  # bytes of a table of which no second copy is made


class Reader(Protocol):
    """Where rows come from that are made when they are read.

    Blocks are those that this process has; all else is of the rows that all processes have together.
    """

    n_blocks: int
    n_rows: int
    n_own_rows: int  # of the blocks
    processes: Processes
    total: float
    is_streamed: bool  # whether memory does not hold them
    is_weighted: bool
    largest_block: int

    @property
    def summary(self) -> Summary:
        """Of the rows."""

    @property
    def sample(self) -> Table:
        """Rows that stand for all."""

    def read(self, i: int) -> Table:
        """The rows of a block."""

    def take(self, index: np.ndarray) -> "Reader":
        """Of rows at some places."""

    def split(self) -> tuple["Reader", Table]:
        """Rows to train on, and rows that are held out."""


class Resident:
    """Some rows of a table in memory, in the order of ``index``; None stands for all."""

    is_streamed = False
    processes: Processes = ALONE

    def __init__(self, table: Table, index: np.ndarray | None = None) -> None:
        self.table = table
        self.index = index
        self.n_rows = self.n_own_rows = table.n_rows if index is None else len(index)
        self.n_blocks = -(-self.n_rows // BLOCK_ROWS)
        self.is_weighted = table.weights is not None
        self.largest_block = min(self.n_rows, BLOCK_ROWS)
        self.total = table.total if index is None else float(table.counts[index].sum())

    @cached_property
    def summary(self) -> Summary:
        return summary_of(map(self.read, range(self.n_blocks)))

    @property
    def sample(self) -> Table:
        return self.table.take(self._places(0, sample_rows(self.table.n_columns)))

    def read(self, i: int) -> Table:
        return self.table.take(self._places(i * BLOCK_ROWS, (i + 1) * BLOCK_ROWS))

    def take(self, index: np.ndarray) -> "Resident":
        return Resident(self.table, index if self.index is None else self.index[index])

    def split(self) -> tuple[Reader, Table]:
        raise NotImplementedError("Rows in memory are split by their places.")

    def _places(self, start: int, stop: int) -> np.ndarray | slice:
        return slice(start, stop) if self.index is None else self.index[start:stop]


class Remembered:
    """Rows of which a summary is known, and of which a few are left."""

    is_streamed = True
    is_weighted = False
    n_blocks = 1
    processes: Processes = ALONE

    def __init__(self, summary: Summary, left: Table) -> None:
        self.summary = summary
        self.sample = left
        self.n_rows = self.n_own_rows = summary.n_rows
        self.total = summary.total
        self.largest_block = left.n_rows

    def read(self, i: int) -> Table:
        return self.sample

    def take(self, index: np.ndarray) -> Reader:
        raise NotImplementedError("Rows that are gone have no places.")

    def split(self) -> tuple[Reader, Table]:
        raise NotImplementedError("Rows that are gone cannot be held out.")


@dataclass(frozen=True, eq=False)
class Lazy(Rows):
    """Rows that are read and changed anew each time, because a copy of all would be too large.

    Attributes
    ----------
    reader : Reader
    changes : tuple of Change
        Of the cells of a block, one after the other.
    """

    reader: Reader
    changes: tuple[Change, ...] = ()

    @cached_property
    def summary(self) -> Summary:
        """Of the changed rows, which takes a pass over them where it does not follow from that of the rows before."""
        known: Summary | None = self.reader.summary
        for change in self.changes:
            known = None if known is None else change.summarised(known)
        return reduce(Summary.merged, self.from_each_process(summary_of(self.blocks()))) if known is None else known

    def from_each_process(self, own: Own) -> list[Own]:
        return self.reader.processes.gathered(own)

    @property
    def is_streamed(self) -> bool:
        return self.reader.is_streamed

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
        return Lazy(self.reader.take(index), self.changes)

    def split(self) -> "tuple[Lazy, Table]":
        """Rows to train on, and rows that are held out; of a stream."""
        training, held_out = self.reader.split()
        return Lazy(training, self.changes), self._changed(held_out)

    def gathered(self) -> Table:
        return stacked(list(self.blocks()))

    def changed(self, change: Change) -> "Lazy":
        return Lazy(self.reader, (*self.changes, change))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        return self.summary.moments()

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        return self.summary.lowest, self.summary.highest

    def _changed(self, table: Table) -> Table:
        """With the digits that the cells had; a change is in float64."""

        def changed(rows: np.ndarray) -> np.ndarray:
            return reduce(lambda rows, change: change.apply(rows), self.changes, rows).astype(rows.dtype, copy=False)

        return Table(in_blocks(changed, table.rows), table.weights)


def summary_of(blocks: Iterable[Table]) -> Summary:
    """Of all rows, block by block."""
    return Summary.over((block.rows, block.weights) for block in blocks)


def without_copies(rows: Rows) -> Rows:
    """The same rows; those of a large table in memory are changed when they are read."""
    return Lazy(Resident(rows)) if isinstance(rows, Table) and rows.rows.nbytes > LARGE else rows
