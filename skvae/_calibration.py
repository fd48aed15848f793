"""What is usual: typical cells, costs and ranks of rows that a model did not see."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from skvae._fitted import Fitted, sum_of_cells
from skvae._tables.rows import BLOCK_ROWS, hashed

N_DRAWS = 128  # codes of a row that a model with a posterior averages over


@dataclass(frozen=True, eq=False)
class Calibration:
    """A model beside the costs of rows that it did not see, which later rows are compared with.

    A cell costs as many nats as it surprises more than a typical cell of its column. A typical cell costs zero, and so does a
    missing one.

    Attributes
    ----------
    fitted : Fitted
    typical : ndarray of shape (n_columns,)
        Surprise of the median cell of each column.
    ranked : ndarray of shape (n_rows,)
        Costs of the rows, in rising order.
    """

    fitted: Fitted
    typical: np.ndarray
    ranked: np.ndarray

    @classmethod
    def of(cls, fitted: Fitted, unseen: np.ndarray) -> "Calibration":
        """Compare with rows that the model did not see."""
        rows = fitted.read(unseen)
        plain = cls(fitted, np.zeros(rows.shape[1]), np.empty(0))
        surprise, observed = plain.costs_of_cells(rows), ~np.isnan(rows)
        typical = [np.median(cells[seen]) if seen.any() else 0.0 for cells, seen in zip(surprise.T, observed.T, strict=True)]
        calibrated = replace(plain, typical=np.array(typical))
        return replace(calibrated, ranked=np.sort(calibrated.costs(rows)))

    def costs(self, rows: np.ndarray) -> np.ndarray:
        """Of each row, the sum over its cells."""
        return self.fitted.map_rows(sum_of_cells(self._cost()), self.fitted.read(rows), dtype=np.float64)

    def costs_of_cells(self, rows: np.ndarray) -> np.ndarray:
        """Of each cell, ``(n_rows, n_columns)``."""
        return self.fitted.map_rows(self._cost(), self.fitted.read(rows), dtype=np.float64)

    def expected(self, rows: np.ndarray) -> np.ndarray:
        """What the model expects in each cell, in the units of the input."""
        return self.fitted.expected(self.fitted.read(rows))

    def n_as_odd(self, costs: np.ndarray) -> np.ndarray:
        """How many of the unseen rows cost as much or more."""
        return self.n_rows - np.searchsorted(self.ranked, costs, side="left")

    @property
    def n_rows(self) -> int:
        """How many rows are compared with."""
        return len(self.ranked)

    @property
    def highest_cost(self) -> float:
        """Of the unseen rows."""
        return float(self.ranked[-1])

    def _cost(self) -> Callable[[Tensor], Tensor]:
        log_prob = self.fitted.log_prob_of_cells(N_DRAWS)
        typical = torch.from_numpy(self.typical)

        def cost(x: Tensor) -> Tensor:
            return (-log_prob(torch.stack([x, x], 1)) - typical.to(x)).masked_fill(x.isnan(), 0.0)

        return cost


@dataclass(frozen=True, eq=False)
class Unseen:
    """Which model did not see a row of the training table; rows are known by their hash, and not kept."""

    hashes: np.ndarray  # in rising order
    models: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, parts: list[np.ndarray]) -> "Unseen":
        """From the positions of the rows that each model did not see."""
        models = np.zeros(len(rows), dtype=int)
        for i, part in enumerate(parts):
            models[part] = i
        hashes, first = np.unique(_hashes(rows), return_index=True)
        return cls(hashes, models[first])

    def by(self, rows: np.ndarray) -> np.ndarray:
        """The number of the model; -1 for rows that all are new to."""
        hashes = _hashes(rows)
        place = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        return np.where(self.hashes[place] == hashes, self.models[place], -1)


def _hashes(rows: np.ndarray) -> np.ndarray:
    """The same for a table in either precision."""
    with np.errstate(over="ignore"):
        blocks = [hashed(rows[i : i + BLOCK_ROWS].astype(np.float32))[1] for i in range(0, len(rows), BLOCK_ROWS)]
    return np.concatenate(blocks)
