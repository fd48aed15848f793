"""A random sample of all rows of a stream."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from skvae._tables.libraries import joined, rows_at

MOST_ROWS = 20_000  # more rows hardly improve the model, and the estimator stores them
STALE = 0.25  # share of new rows from which on the model is refitted


@dataclass(frozen=True, eq=False)
class Reservoir:
    """The rows with the smallest random keys, in order of arrival (A. Vitter, ACM TOMS 11, 1985).

    Attributes
    ----------
    table : array or frame, or None
        The rows, as users pass them.
    keys : ndarray of shape (n_rows,)
        Random keys of the rows.
    n_seen : int
        Number of rows of the stream so far.
    n_new : int
        Number of rows in the sample that arrived after its last use.
    """

    table: Any = None
    keys: np.ndarray = field(default_factory=lambda: np.empty(0))
    n_seen: int = 0
    n_new: int = 0

    def with_rows(self, table: Any, n_rows: int, seed: int) -> Self:
        """The sample after ``n_rows`` further rows."""
        keys = np.concatenate([self.keys, np.random.default_rng([seed, self.n_seen]).random(n_rows)])
        kept = np.sort(np.argsort(keys, kind="stable")[:MOST_ROWS])
        table = table if self.table is None else joined(self.table, table)
        n_new = int((kept >= len(self.keys)).sum())
        return replace(self, table=rows_at(table, kept), keys=keys[kept], n_seen=self.n_seen + n_rows, n_new=self.n_new + n_new)

    @property
    def is_stale(self) -> bool:
        """Whether so many rows are new that the model should be refitted."""
        return self.n_new >= STALE * len(self.keys)

    def used(self) -> Self:
        """The sample, with no row marked as new."""
        return replace(self, n_new=0)
