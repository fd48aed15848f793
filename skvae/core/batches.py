"""Rows that stay on the device, dealt out in batches of one size."""

import math

import torch
from torch import Tensor


class Batches:
    """An epoch is one permutation of the rows and a batch an index slice of it, copied into memory that never moves.

    All batches have the same number of rows, as a recorded step needs: the table is dealt into the fewest batches of at most
    ``batch_size`` rows, as evenly as can be, and the last one is filled up from the start of the permutation. A table that fits
    in one batch is that batch, uncopied.

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
    """

    def __init__(
        self, rows: Tensor, weights: Tensor | None, batch_size: int, shuffle: bool, generator: torch.Generator
    ) -> None:
        self.rows = rows
        self.weights = weights
        self.shuffle = shuffle
        self.generator = generator
        self.n_batches = math.ceil(len(rows) / batch_size)
        self.batch_size = math.ceil(len(rows) / self.n_batches)
        self.x = rows
        self.weight = weights
        if self.n_batches > 1:
            self.x = rows[: self.batch_size].clone()
            self.weight = None if weights is None else weights[:, : self.batch_size].clone()
        self.new_epoch(shuffle=False)

    def new_epoch(self, shuffle: bool | None = None) -> None:
        """Deal the rows anew."""
        if self.n_batches == 1:
            return
        n = len(self.rows)
        shuffled = self.shuffle if shuffle is None else shuffle
        order = torch.randperm(n, generator=self.generator) if shuffled else torch.arange(n)
        order = torch.cat([order, order[: self.n_batches * self.batch_size - n]])
        self.slices = order.to(self.rows.device).view(self.n_batches, self.batch_size).unbind()

    def load(self, i: int) -> None:
        """Make batch i of the epoch the current one."""
        if self.n_batches == 1:
            return
        torch.index_select(self.rows, 0, self.slices[i], out=self.x)
        if self.weights is not None:
            torch.index_select(self.weights, 1, self.slices[i], out=self.weight)
