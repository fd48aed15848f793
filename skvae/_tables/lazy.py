"""Rows that are read and transformed each time, because they do not fit in memory once or twice."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Protocol

import numpy as np

from skvae._tables.processes import ALONE, Own, Processes
from skvae._tables.rows import BLOCK_ROWS, Change, Rows, Table, in_blocks, sample_rows, stacked
from skvae._tables.summary import Summary

LARGE = 1 << 25  # bytes of a table that is not copied


class Reader(Protocol):
    """Source of rows that are transformed when they are read.

    Blocks are those of this process; everything else refers to the rows of all processes.
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
        """Summary of the rows."""

    @property
    def sample(self) -> Table:
        """A sample of the rows."""

    def read(self, i: int) -> Table:
        """The rows of a block."""

    def take(self, index: np.ndarray) -> "Reader":
        """A reader of the rows at these places."""

    def split(self) -> tuple["Reader", Table]:
        """Rows to train on, and rows that are held out."""


class Resident:
    """Rows of a table in memory, in the order of ``index``; None means all."""

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
        raise NotImplementedError("Rows in memory are split by their positions.")

    def _places(self, start: int, stop: int) -> np.ndarray | slice:
        return slice(start, stop) if self.index is None else self.index[start:stop]


class Remembered:
    """Rows that are gone, except for their summary and a few of them."""

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
        raise NotImplementedError("Rows that are gone have no positions.")

    def split(self) -> tuple[Reader, Table]:
        raise NotImplementedError("Rows that are gone cannot be held out.")


@dataclass(frozen=True, eq=False)
class Lazy(Rows):
    """Rows that are read and transformed each time, because a copy of all would be too large.

    Attributes
    ----------
    reader : Reader
    changes : tuple of Change
        Transformations of the cells of a block, in this order.
    """

    reader: Reader
    changes: tuple[Change, ...] = ()

    @cached_property
    def summary(self) -> Summary:
        """Summary of the transformed rows; needs a pass if it does not follow from the summary of the original rows."""
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
        """A block, by its number."""
        return self._changed(self.reader.read(i))

    def blocks(self) -> Iterator[Table]:
        return map(self.block, range(self.reader.n_blocks))

    def sample(self) -> Table:
        return self._changed(self.reader.sample)

    def take(self, index: np.ndarray) -> "Lazy":
        return Lazy(self.reader.take(index), self.changes)

    def split(self) -> "tuple[Lazy, Table]":
        """Rows to train on, and held-out rows, of a stream."""
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
        """Transform a block in float64, and return it in its own dtype."""

        def changed(rows: np.ndarray) -> np.ndarray:
            return reduce(lambda rows, change: change.apply(rows), self.changes, rows).astype(rows.dtype, copy=False)

        return Table(in_blocks(changed, table.rows), table.weights)


def summary_of(blocks: Iterable[Table]) -> Summary:
    """Summary of all rows, block by block."""
    return Summary.over((block.rows, block.weights) for block in blocks)


def without_copies(rows: Rows) -> Rows:
    """The rows; those of a large table in memory become lazy, so that it is not copied."""
    return Lazy(Resident(rows)) if isinstance(rows, Table) and rows.rows.nbytes > LARGE else rows
