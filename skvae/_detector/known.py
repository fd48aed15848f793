"""The rows of the training table, known by their hash, and not kept."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skvae._tables.rows import hashed, in_blocks

NEW = -1  # in place of a part or a place


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of rows.

    Attributes
    ----------
    in_memory : ndarray of bool of shape (n_rows,)
    learned : ndarray of bool of shape (n_rows,)
        Whether the row is one of those that are learned from.
    part : ndarray of int of shape (n_rows,)
        Of the training table, 0 where there is a single one, -1 for rows that are new. The network of that number did not see
        the row.
    place : ndarray of int of shape (n_rows,)
        Among the distinct rows of the training table, -1 for rows that are new.
    """

    in_memory: np.ndarray
    learned: np.ndarray
    part: np.ndarray
    place: np.ndarray

    def take(self, index: np.ndarray) -> "Known":
        """The same of some of the rows."""
        return Known(self.in_memory[index], self.learned[index], self.part[index], self.place[index])


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """The distinct rows of the training table.

    Attributes
    ----------
    hashes : ndarray of shape (n_distinct,)
        In rising order.
    in_memory, learned : ndarray of bool of shape (n_distinct,)
    part : ndarray of int of shape (n_distinct,)
    n_parts : int
        Of the table, one for each network.
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
        """Divide a table at random into as many parts as its number of distinct rows allows; equal rows are in one part.

        ``parts`` may instead be that of each row and how many there are. Equal rows are then in the first of theirs.
        """
        hashes, first, place = np.unique(hashes_of(rows), return_index=True, return_inverse=True)
        if isinstance(parts, tuple):
            part, n_parts = np.full(len(hashes), parts[1], dtype=np.int32), parts[1]
            np.minimum.at(part, place, parts[0])
            if (part == part[0]).all():  # and nothing is left to learn from
                part, n_parts = np.zeros_like(part), 0
        else:
            part, n_parts = np.empty(len(hashes), dtype=np.int32), parts(len(hashes))
            part[np.argsort(first)] = rng.permutation(len(hashes)) % max(1, n_parts)  # in the order of the table
        return cls(hashes, np.isin(hashes, hashes_of(memory)), np.isin(hashes, hashes_of(learned)), part, n_parts)

    def find(self, rows: np.ndarray) -> Known:
        """What is known of each row."""
        hashes = hashes_of(rows)
        place = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        found = self.hashes[place] == hashes
        flags = (found & self.in_memory[place], found & self.learned[place])
        return Known(*flags, np.where(found, self.part[place], NEW), np.where(found, place, NEW))


def order_of(rows: np.ndarray) -> np.ndarray | None:
    """An order that does not tell how rows came, so that repeating a row is one thing wherever it is done.

    None where no row is repeated: the order of the table is kept then.
    """
    hashes = hashes_of(rows)
    return None if len(np.unique(hashes)) == len(hashes) else np.argsort(hashes, kind="stable")


def hashes_of(rows: np.ndarray) -> np.ndarray:
    """A hash of each row, the same for equal rows."""
    return in_blocks(lambda block: hashed(block.astype(np.float64))[1], rows)
