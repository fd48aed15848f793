"""Rows dealt out in batches of one size: of a table that stays on the device, or of blocks that are read again and again."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import torch
from torch import Tensor

PIECE_ROWS = 1 << 13  # that change places in a pool at once
EPOCH_ROWS = 1 << 20  # the most that an epoch deals, so that a large table is judged more often than once a pass


class Batches:
    """An epoch is one permutation of the rows and a batch an index slice of it, copied into memory that never moves.

    All batches have the same number of rows, as a recorded step needs: the table is dealt into the fewest batches of at most
    ``batch_size`` rows, as evenly as can be, and the last one is filled up from the start of the permutation. A table that fits
    in one batch is that batch, uncopied. Of more than ``EPOCH_ROWS`` rows an epoch deals that many, and the next one goes on
    from there.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_columns)
    weights : Tensor of shape (n_members, n_rows) or None
        Of the rows for each of the models that learn from them; None stands for all ones.
    batch_size : int
    shuffle : bool
        Whether each epoch has a permutation of its own.
    generator : torch.Generator
        Source of the permutations, on the CPU.

    Attributes
    ----------
    x, weight : Tensor
        The current batch, always the same memory.
    is_whole : bool
        Whether all rows are in every batch, in one order.
    """

    def __init__(
        self, rows: Tensor, weights: Tensor | None, batch_size: int, shuffle: bool, generator: torch.Generator
    ) -> None:
        self.rows = rows
        self.weights = weights
        self.shuffle = shuffle
        self.generator = generator
        self.n_batches, self.batch_size = dealt(len(rows), batch_size)
        self.is_whole = self.n_batches == 1
        self.x = rows
        self.weight = weights
        if not self.is_whole:
            self.x = rows[: self.batch_size].clone()
            self.weight = None if weights is None else weights[:, : self.batch_size].clone()
        self.left = torch.empty(0, dtype=torch.int64)  # of a permutation that the last epoch did not end
        self.new_epoch(shuffle=False)
        self.left = self.left[:0]

    def new_epoch(self, shuffle: bool | None = None) -> None:
        """Deal the rows anew."""
        if self.is_whole:
            return
        n, n_dealt = len(self.rows), self.n_batches * self.batch_size
        shuffled = self.shuffle if shuffle is None else shuffle
        order = self.left
        if len(order) < n_dealt:
            new = torch.randperm(n, generator=self.generator) if shuffled else torch.arange(n)
            order = torch.cat([order, new])
        if n_dealt >= n:
            order = torch.cat([order, order[: n_dealt - n]])
        order, self.left = order[:n_dealt], order[n_dealt:].clone()
        self.slices = order.to(self.rows.device).view(self.n_batches, self.batch_size).unbind()

    def load(self, i: int) -> None:
        """Make batch i of the epoch the current one."""
        if self.is_whole:
            return
        torch.index_select(self.rows, 0, self.slices[i], out=self.x)
        if self.weights is not None:
            torch.index_select(self.weights, 1, self.slices[i], out=self.weight)


class StreamedBatches:
    """Batches of rows that are read block by block, for tables that are larger than memory.

    Blocks are read in random order, and their rows take the places of random ones in a pool, which are dealt. So a batch holds
    rows of many blocks, and a file in which like rows lie together trains like a shuffled one (CorgiPile: L. Xu et al., SIGMOD
    2022). A pass over the blocks deals as many rows as it reads; an epoch may end in the midst of it.

    Parameters
    ----------
    read : callable
        From the number of a block to its rows, of any number.
    weighted : bool
        Whether the last column of what is read is no cell but the weight of the row, with mean 1 over the table.
    n_blocks : int
    pool_rows : int
        Rows that are mixed, at most all.
    n_batches : int
        Of an epoch.
    batch_size : int
    shuffle : bool
        Whether blocks and rows are dealt in random order, and not in their own.
    generator : torch.Generator
        Source of the orders, on the CPU.
    device : torch.device

    Attributes
    ----------
    x, weight : Tensor
        The current batch, always the same memory.
    """

    is_whole = False

    def __init__(
        self,
        read: Callable[[int], Tensor],
        weighted: bool,
        n_blocks: int,
        pool_rows: int,
        n_batches: int,
        batch_size: int,
        shuffle: bool,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.weighted = weighted
        self.generator = generator
        self.n_batches = n_batches
        self.batch_size = batch_size
        blocks = _blocks(read, n_blocks, generator if shuffle else None)
        rows = _mixed(blocks, pool_rows, generator) if shuffle else blocks
        self.stream = _of_one_size(rows, self.batch_size)
        x, weight = self._next()
        self.x = x.to(device, copy=True)
        self.weight = None if weight is None else weight.to(device, copy=True)

    def new_epoch(self) -> None:
        """Go on where the last epoch ended."""

    def load(self, i: int) -> None:
        """Make the next batch the current one."""
        x, weight = self._next()
        self.x.copy_(x)
        if self.weight is not None and weight is not None:
            self.weight.copy_(weight)

    def _next(self) -> tuple[Tensor, Tensor | None]:
        batch = next(self.stream)
        return (batch[:, :-1], batch[None, :, -1]) if self.weighted else (batch, None)


def _blocks(read: Callable[[int], Tensor], n_blocks: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    """The rows of all blocks, again and again, in their order where no generator draws another."""
    while True:
        order = torch.arange(n_blocks) if generator is None else torch.randperm(n_blocks, generator=generator)
        yield from map(read, order.tolist())


def _mixed(blocks: Iterator[Tensor], pool_rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Random rows of a pool, as many at once as it takes in."""
    parts = _pieces(blocks, min(PIECE_ROWS, pool_rows))
    pool, n_filled = torch.empty(0), 0
    while n_filled < pool_rows:
        part = next(parts)
        pool = part.new_empty(pool_rows, part.shape[1]) if n_filled == 0 else pool
        taken = part[: pool_rows - n_filled]
        pool[n_filled : n_filled + len(taken)] = taken
        n_filled += len(taken)
    places = torch.randperm(pool_rows, generator=generator)
    for rows in chain([part[len(taken) :]], parts):
        if len(places) < len(rows):
            places = torch.randperm(pool_rows, generator=generator)
        place, places = places[: len(rows)], places[len(rows) :]
        yield pool.index_select(0, place)
        pool.index_copy_(0, place, rows)


def _pieces(blocks: Iterator[Tensor], n_rows: int) -> Iterator[Tensor]:
    """The rows of all blocks, so many at once or fewer, copied so that no block stays while the next one is read."""
    for block in blocks:
        for start in range(0, len(block), n_rows):
            yield block[start : start + n_rows].clone()
        del block


def _of_one_size(parts: Iterable[Tensor], n_rows: int) -> Iterator[Tensor]:
    """The rows of all parts, so many at once."""
    left: Tensor | None = None
    for part in parts:
        rows = part if left is None else torch.cat([left, part])
        n_full = len(rows) // n_rows * n_rows
        if n_full:
            yield from rows[:n_full].split(n_rows)
        left = rows[n_full:].clone()


def dealt(n_rows: int, batch_size: int) -> tuple[int, int]:
    """How many batches an epoch has, and how many rows each has: at most ``batch_size``."""
    n_dealt = min(n_rows, EPOCH_ROWS)
    n_batches = math.ceil(n_dealt / batch_size)
    return n_batches, math.ceil(n_dealt / n_batches)
