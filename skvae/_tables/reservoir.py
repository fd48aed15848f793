"""A random sample of all rows of a stream, kept while they go by."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from skvae._tables.libraries import joined, rows_at

MOST_ROWS = 20_000  # what is learned from more is hardly better, and is kept with the estimator
STALE = 0.25  # share of the sample that has changed


@dataclass(frozen=True, eq=False)
class Reservoir:
    """The rows with the least of random numbers, in the order in which they came (A. Vitter, ACM TOMS 11, 1985).

    Attributes
    ----------
    table : array or frame, or None
        The rows, as users pass them.
    keys : ndarray of shape (n_rows,)
        Their random numbers.
    n_seen : int
        Rows so far.
    n_new : int
        Rows of the sample that came since it was used.
    """

    table: Any = None
    keys: np.ndarray = field(default_factory=lambda: np.empty(0))
    n_seen: int = 0
    n_new: int = 0

    def with_rows(self, table: Any, n_rows: int, seed: int) -> Self:
        """The sample after so many further rows have come."""
        keys = np.concatenate([self.keys, np.random.default_rng([seed, self.n_seen]).random(n_rows)])
        kept = np.sort(np.argsort(keys, kind="stable")[:MOST_ROWS])
        table = table if self.table is None else joined(self.table, table)
        n_new = int((kept >= len(self.keys)).sum())
        return replace(self, table=rows_at(table, kept), keys=keys[kept], n_seen=self.n_seen + n_rows, n_new=self.n_new + n_new)

    @property
    def is_stale(self) -> bool:
        """Whether so many rows are new that what was learned from it should be learned anew."""
        return self.n_new >= STALE * len(self.keys)

    def used(self) -> Self:
        """The same, with no row new."""
        return replace(self, n_new=0)
