"""First pass over a table that is read block by block: held-out rows, a sample, and statistics of all rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skvae._tables.processes import ALONE, Processes
from skvae._tables.rows import Table, in_blocks, merge_equal_rows, sample_rows, stacked
from skvae._tables.sources import BYTES_OF_CELL, Source
from skvae._tables.summary import Summary

SUMMARISED = 1 << 22  # bytes per summary, so that its overhead is small
KEPT_BYTES = 1 << 27  # size of all blocks up to which their cells are kept
MOST_COLUMNS = 1 << 13  # columns whose cross-products take half a gigabyte
NEARLY = 0.98  # expected share of the maximum number of drawn rows, so that chance does not exceed it


@dataclass(frozen=True)
class Shares:
    """Which rows are held out or sampled, by their hashes in [0, 1).

    Attributes
    ----------
    held_out, drawn : float
        Rows below ``held_out`` are held out; those from there to ``drawn`` are the sample.
    """

    held_out: float
    drawn: float

    @classmethod
    def of(cls, n_rows: int, n_columns: int, share_held_out: float) -> "Shares":
        """Shares for a table of ``n_rows`` rows; both sets have at most the size of a sample."""
        if n_columns > MOST_COLUMNS:  # their cross-products would not fit
            raise ValueError(
                f"X has {n_columns} columns; a table that is read block by block may have at most {MOST_COLUMNS}. "
                "Reduce their number first, for example with sklearn.decomposition.TruncatedSVD."
            )
        most = NEARLY * sample_rows(n_columns) / n_rows
        held_out = min(share_held_out, most)
        return cls(held_out, held_out + most if most < 1 - held_out else 1.0)


@dataclass(frozen=True, eq=False)
class Findings:
    """Results of a pass over the rows of a table or of a part of it.

    Attributes
    ----------
    of_training, of_held_out : Summary
    drawn : Table
        Sample of the rows that are not held out.
    held_out : Table
    """

    of_training: Summary
    of_held_out: Summary
    drawn: Table
    held_out: Table

    @classmethod
    def of(cls, blocks: Iterable[tuple[Table, np.ndarray]], shares: Shares) -> "Findings":
        """Findings over blocks of rows and their hashes, which are read one by one."""
        of_training, of_held_out, drawn, held_out = _Total(), _Total(), _Gathered(), _Gathered()
        for block, places in blocks:
            is_held = places < shares.held_out
            of_training.add(with_weight(block, ~is_held))
            held = with_weight(block, is_held)
            of_held_out.add(held)
            held_out.add(held)
            drawn.add(with_weight(block, ~is_held & (places < shares.drawn)))
        return cls(of_training.summary(), of_held_out.summary(), drawn.table(), held_out.table())

    def merged(self, other: "Findings") -> "Findings":
        """Findings over the rows of both."""
        return Findings(
            self.of_training.merged(other.of_training),
            self.of_held_out.merged(other.of_held_out),
            joined([self.drawn, other.drawn]),
            joined([self.held_out, other.held_out]),
        )

    @cached_property
    def of_all(self) -> Summary:
        return self.of_training.merged(self.of_held_out)


@dataclass(frozen=True, eq=False)
class Survey:
    """Knowledge of a stream after one pass. Rows are identified by a hash of their cells.

    Therefore the choice of held-out rows does not depend on blocks and order, and no copy of a training row is held out.

    Attributes
    ----------
    source : Source
    cells : callable
        Function from the number of a block to its rows, ``(n_rows, n_columns)``.
    weights : ndarray of shape (n_rows,) or None
        Weights of the rows; None means ones.
    held : list of ndarray of uint8
        Which rows of each block are held out, eight per byte.
    sums : list of int
        Checksum of each block.
    kept : dict of int to ndarray
        Cells of all blocks, by number, if reading is costly and they are few.
    findings : Findings
        Findings over the whole table, of which this may be a part.
    n_training, n_held_out : int
        Numbers of rows in this part.
    """

    source: Source
    cells: Callable[[int], np.ndarray]
    weights: np.ndarray | None
    held: list[np.ndarray]
    sums: list[int]
    kept: dict[int, np.ndarray]
    findings: Findings
    n_training: int
    n_held_out: int

    @classmethod
    def of(
        cls,
        source: Source,
        cells: Callable[[int], np.ndarray],
        weights: np.ndarray | None,
        shares: Shares,
        over: Callable[[Iterable[int]], Iterable[int]],
    ) -> "Survey":
        """Read all blocks once.

        Parameters
        ----------
        source : Source
        cells : callable
        weights : ndarray of shape (n_rows,) or None
        shares : Shares
        over : callable
            Iterates over the numbers of the blocks, and may show progress.
        """
        starts = source.starts
        held: list[np.ndarray] = []
        sums: list[int] = []
        kept: dict[int, np.ndarray] = {}
        is_kept = source.is_decoded and source.n_rows * source.n_columns * BYTES_OF_CELL <= KEPT_BYTES

        def blocks() -> Iterator[tuple[Table, np.ndarray]]:
            for i in over(range(len(source.sizes))):
                rows = cells(i)
                places = in_blocks(places_of, rows)
                held.append(np.packbits(places < shares.held_out))
                sums.append(_sum_of_bytes(rows))
                if is_kept:
                    kept[i] = rows
                yield Table(rows, None if weights is None else weights[starts[i] : starts[i] + len(rows)]), places

        found = Findings.of(blocks(), shares)
        return cls(source, cells, weights, held, sums, kept, found, found.of_training.n_rows, found.of_held_out.n_rows)

    @property
    def n_blocks(self) -> int:
        return len(self.held)

    @property
    def largest_block(self) -> int:
        return max(self.source.sizes)

    @property
    def is_weighted(self) -> bool:
        return self.weights is not None

    def read(self, i: int) -> tuple[Table, np.ndarray]:
        """Read a block again; its rows, and which of them are held out.

        Raises
        ------
        ValueError
            If the block has changed.
        """
        rows = self.kept[i] if i in self.kept else self.cells(i)
        start = self.source.starts[i]
        if len(rows) != self.source.sizes[i] or _sum_of_bytes(rows) != self.sums[i]:
            raise ValueError(
                f"X has changed during the fit: {self.source.in_words(i)}, differs from the first pass. Fit to a copy that "
                "nothing writes to."
            )
        counts = None if self.weights is None else self.weights[start : start + len(rows)]
        return Table(rows, counts), np.unpackbits(self.held[i], count=len(rows)).astype(bool)


class Parts:
    """Parts of a table in memory, with the findings over the whole table.

    Parameters
    ----------
    tables : sequence of Table
    shares : Shares
    findings : Findings
        Findings over the whole table.
    """

    def __init__(self, tables: Sequence[Table], shares: Shares, findings: Findings) -> None:
        self.tables = [block for table in tables for block in table.blocks()]
        self.held = [places_of(block.rows) < shares.held_out for block in self.tables]
        self.findings = findings
        self.n_blocks = len(self.tables)
        self.largest_block = max(block.n_rows for block in self.tables)
        self.is_weighted = any(block.weights is not None for block in self.tables)
        counted = [block.weights is None or block.weights > 0 for block in self.tables]
        self.n_held_out = sum(int((held & some).sum()) for held, some in zip(self.held, counted, strict=True))
        self.n_training = sum(int((~held & some).sum()) for held, some in zip(self.held, counted, strict=True))

    def read(self, i: int) -> tuple[Table, np.ndarray]:
        return self.tables[i], self.held[i]


class Streamed:
    """Rows of a survey, either all or those to train on, which are read each time.

    ``processes`` each hold a part of the rows.
    """

    is_streamed = True

    def __init__(self, surveyed: Survey | Parts, of_training: bool = False, processes: Processes = ALONE) -> None:
        self.surveyed = surveyed
        self.of_training = of_training
        self.processes = processes
        self.summary = surveyed.findings.of_training if of_training else surveyed.findings.of_all
        self.n_blocks = surveyed.n_blocks
        self.n_rows = self.summary.n_rows
        self.n_own_rows = surveyed.n_training + (0 if of_training else surveyed.n_held_out)
        self.is_weighted = surveyed.is_weighted
        self.largest_block = surveyed.largest_block
        self.total = self.summary.total

    @property
    def sample(self) -> Table:
        found = self.surveyed.findings
        return found.drawn if self.of_training else joined([found.drawn, found.held_out])

    def read(self, i: int) -> Table:
        block, is_held = self.surveyed.read(i)
        return with_weight(block, ~is_held if self.of_training else np.ones_like(is_held))

    def take(self, index: np.ndarray) -> "Streamed":
        raise NotImplementedError("Rows of a stream have no positions.")

    def split(self) -> tuple["Streamed", Table]:
        return Streamed(self.surveyed, of_training=True, processes=self.processes), self.surveyed.findings.held_out


class _Total:
    """A summary of many blocks; several blocks are summarised at once."""

    def __init__(self) -> None:
        self.waiting: list[Table] = []
        self.so_far: Summary | None = None

    def add(self, block: Table) -> None:
        for part in list(block.blocks()) or [block]:  # it may have no rows
            self.waiting.append(part)
            if sum(table.rows.nbytes for table in self.waiting) >= SUMMARISED:
                self._add_up()

    def summary(self) -> Summary:
        self._add_up()
        assert self.so_far is not None  # noqa: S101
        return self.so_far

    def _add_up(self) -> None:
        if not self.waiting:
            return
        rows = stacked(self.waiting)
        new = Summary.of(rows.rows, rows.weights)
        self.so_far = new if self.so_far is None else self.so_far.merged(new)
        self.waiting = []


class _Gathered:
    """A collection of rows, with copies merged."""

    def __init__(self) -> None:
        self.parts: list[Table] = []
        self.n_merged = 0

    def add(self, block: Table) -> None:
        self.parts.append(block)
        if sum(part.n_rows for part in self.parts) > 2 * max(self.n_merged, sample_rows(block.n_columns)):
            self.parts = [self.table()]
            self.n_merged = self.parts[0].n_rows

    def table(self) -> Table:
        return joined(self.parts)


def with_weight(block: Table, which: np.ndarray) -> Table:
    """Some rows of a block, without those of weight zero."""
    return block.take(which if block.weights is None else which & (block.weights > 0))


def joined(tables: list[Table]) -> Table:
    """Distinct rows of all tables, ordered by hash."""
    rows = stacked(tables)
    return merge_equal_rows(rows.rows, rows.weights)


def places_of(rows: np.ndarray) -> np.ndarray:
    """A hash of each row in [0, 1), equal for equal rows and otherwise practically random.

    It is a mixed sum of the cells' bits, in pieces of 32, times random keys (multilinear hashing: D. Lemire, O. Kaser, The
    Computer Journal 57, 2014).
    """
    cells = rows + rows.dtype.type(0)  # one kind of zero, ...
    cells[np.isnan(cells)] = np.nan  # ... and of NaN
    pieces = np.ascontiguousarray(cells).view(np.uint32)
    keys = np.random.default_rng(0).integers(1, 1 << 63, pieces.shape[1] + 1, dtype=np.uint64)
    mixed = pieces.astype(np.uint64) @ keys[1:] + keys[0]
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _sum_of_bytes(rows: np.ndarray) -> int:
    """A checksum that depends on the rows and their order."""
    of_rows = np.add.reduce(np.ascontiguousarray(rows).view(np.uint32), axis=1, dtype=np.uint32)
    return int(of_rows @ np.arange(1, len(rows) + 1, dtype=np.uint32))
