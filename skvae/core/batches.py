"""Batches of one size, from a table on the device or from blocks that are read repeatedly."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import torch
from torch import Tensor

PIECE_ROWS = 1 << 13  # rows exchanged in a pool at once
EPOCH_ROWS = 1 << 20  # maximum rows per epoch, so that a large table is evaluated more often than once per pass


class Batches:
    """Batches of a table. An epoch is one permutation of the rows, and batches are copied into a fixed buffer.

    All batches have an equal number of rows, as a recorded step requires. The table is divided evenly into the fewest batches
    of at most ``batch_size`` rows, and the last one is filled up from the start of the permutation. A table that fits into one
    batch is not copied. If there are more than ``EPOCH_ROWS`` rows, an epoch has that many, and the next one continues there.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_columns)
    weights : Tensor of shape (n_members, n_rows) or None
        Weights of the rows for each model; None means ones.
    batch_size : int
    shuffle : bool
        Whether each epoch draws a new permutation.
    generator : torch.Generator
        Source of the permutations, on the CPU.

    Attributes
    ----------
    x, weight : Tensor
        The current batch, always in one buffer.
    is_whole : bool
        Whether every batch consists of all rows, in one order.
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
        self.left = torch.empty(0, dtype=torch.int64)  # rest of a permutation that the last epoch did not use
        self.new_epoch(shuffle=False)
        self.left = self.left[:0]

    def new_epoch(self, shuffle: bool | None = None) -> None:
        """Start a new epoch."""
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

    Blocks are read in random order. Their rows replace random rows of a pool, and the replaced rows form the batches. A batch
    therefore contains rows of many blocks, and a file with similar rows next to each other trains like a shuffled one
    (CorgiPile: L. Xu et al., SIGMOD 2022). An epoch may end in the middle of a pass over the blocks.

    Parameters
    ----------
    read : callable
        Function from the number of a block to its rows.
    weighted : bool
        Whether the last column of a block holds the weights of the rows, with mean 1 over the table.
    n_blocks : int
    pool_rows : int
        Number of rows in the pool, at most all.
    n_batches : int
        Number of batches per epoch.
    batch_size : int
    shuffle : bool
        Whether blocks and rows are drawn in random order.
    generator : torch.Generator
        Source of the orders, on the CPU.
    device : torch.device

    Attributes
    ----------
    x, weight : Tensor
        The current batch, always in one buffer.
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
        """Continue where the last epoch ended."""

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
    """The rows of all blocks, repeated without end, in random order if there is a generator."""
    while True:
        order = torch.arange(n_blocks) if generator is None else torch.randperm(n_blocks, generator=generator)
        yield from map(read, order.tolist())


def _mixed(blocks: Iterator[Tensor], pool_rows: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Random rows of a pool, which are replaced by new ones."""
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
    """The rows of all blocks in pieces of at most ``n_rows``, copied so that a block is freed before the next one is read."""
    for block in blocks:
        for start in range(0, len(block), n_rows):
            yield block[start : start + n_rows].clone()
        del block


def _of_one_size(parts: Iterable[Tensor], n_rows: int) -> Iterator[Tensor]:
    """The rows of all parts, in pieces of ``n_rows``."""
    left: Tensor | None = None
    for part in parts:
        rows = part if left is None else torch.cat([left, part])
        n_full = len(rows) // n_rows * n_rows
        if n_full:
            yield from rows[:n_full].split(n_rows)
        left = rows[n_full:].clone()


def dealt(n_rows: int, batch_size: int) -> tuple[int, int]:
    """Number of batches per epoch, and number of rows per batch, which is at most ``batch_size``."""
    n_dealt = min(n_rows, EPOCH_ROWS)
    n_batches = math.ceil(n_dealt / batch_size)
    return n_batches, math.ceil(n_dealt / n_batches)
