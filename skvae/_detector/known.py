"""Training rows, recognised by their hash rather than stored."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skvae._tables.rows import hashed, in_blocks

NEW = -1  # part and place of a new row


@dataclass(frozen=True, eq=False)
class Known:
    """Role of rows in training.

    Attributes
    ----------
    in_memory : ndarray of bool of shape (n_rows,)
        Whether the row is in the memory.
    learned : ndarray of bool of shape (n_rows,)
        Whether the row was used in training.
    part : ndarray of int of shape (n_rows,)
        Part of the training table, 0 if there is only one, -1 for new rows. The network of this number did not see the row.
    place : ndarray of int of shape (n_rows,)
        Position among the distinct rows of the training table, -1 for new rows.
    """

    in_memory: np.ndarray
    learned: np.ndarray
    part: np.ndarray
    place: np.ndarray

    def take(self, index: np.ndarray) -> "Known":
        """The entries of some rows."""
        return Known(self.in_memory[index], self.learned[index], self.part[index], self.place[index])


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """The distinct rows of the training table.

    Attributes
    ----------
    hashes : ndarray of shape (n_distinct,)
        Hashes in rising order.
    in_memory, learned : ndarray of bool of shape (n_distinct,)
    part : ndarray of int of shape (n_distinct,)
    n_parts : int
        Number of parts of the table, one per network.
    """

    hashes: np.ndarray
    in_memory: np.ndarray
    learned: np.ndarray
    part: np.ndarray
    n_parts: int

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        memory: np.ndarray,
        learned: np.ndarray,
        parts: Callable[[int], int] | tuple[np.ndarray, int],
        rng: np.random.Generator,
    ) -> "TrainingRows":
        """Divide a table at random into parts; equal rows are in one part.

        ``parts`` is the number of parts as a function of the number of distinct rows, or the part of each row and the number
        of parts. In the second case, equal rows go to the first of their parts.
        """
        hashes, first, place = np.unique(hashes_of(rows), return_index=True, return_inverse=True)
        if isinstance(parts, tuple):
            part, n_parts = np.full(len(hashes), parts[1], dtype=np.int32), parts[1]
            np.minimum.at(part, place, parts[0])
            if (part == part[0]).all():  # nothing would be left to learn from
                part, n_parts = np.zeros_like(part), 0
        else:
            part, n_parts = np.empty(len(hashes), dtype=np.int32), parts(len(hashes))
            part[np.argsort(first)] = rng.permutation(len(hashes)) % max(1, n_parts)  # in the order of the table
        return cls(hashes, np.isin(hashes, hashes_of(memory)), np.isin(hashes, hashes_of(learned)), part, n_parts)

    def find(self, rows: np.ndarray) -> Known:
        """Look up each row."""
        hashes = hashes_of(rows)
        place = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        found = self.hashes[place] == hashes
        flags = (found & self.in_memory[place], found & self.learned[place])
        return Known(*flags, np.where(found, self.part[place], NEW), np.where(found, place, NEW))


def order_of(rows: np.ndarray) -> np.ndarray | None:
    """An order that does not depend on the order of the table, so that it does not matter where a row is repeated.

    None if no row is repeated: the order of the table is then kept.
    """
    hashes = hashes_of(rows)
    return None if len(np.unique(hashes)) == len(hashes) else np.argsort(hashes, kind="stable")


def hashes_of(rows: np.ndarray) -> np.ndarray:
    """A hash of each row; equal rows have equal hashes."""
    return in_blocks(lambda block: hashed(block.astype(np.float64))[1], rows)
