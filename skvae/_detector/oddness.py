"""Anomaly scores of cells, which are sums of three measures and add up to the score of a row."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import torch

from skvae._detector.known import Known, TrainingRows
from skvae._detector.neighbours import Metric, Neighbours
from skvae._detector.pairs import Pairs
from skvae._detector.ranks import Ranks
from skvae._fitted import Fitted
from skvae._tables.rows import in_blocks
from skvae._tables.squashing import Squashing

NEAR, FAR = 1.0, 20.0  # knees in spreads, from which on cells are compressed: for neighbours, and for networks
WEIGHTS = (1.0, 1 / 2, 1 / 4)  # of neighbours, column and row
LEAST_UNIT = 1e-9


class Parts(NamedTuple):
    """Contribution of each cell to the anomaly score of its row, by measure; frames or arrays of shape (n_rows, n_columns).

    Attributes
    ----------
    neighbours : frame
        Distance of the cell to those of the nearest training rows.
    column : frame
        Rarity of the cell in its column.
    row : frame
        Deviation of the cell from the value expected given the other cells of the row.
    """

    neighbours: Any
    column: Any
    row: Any


@dataclass(frozen=True, eq=False)
class Gauge:
    """Common scale of the measures: typical and missing cells are 0, and the mean excess per row is ``weight``.

    Attributes
    ----------
    typical : ndarray of shape (n_columns,)
        The median of each column.
    unit : float
        Mean excess over the median per row, divided by ``weight``.
    """

    typical: np.ndarray
    unit: float

    @classmethod
    def of(cls, cells: np.ndarray, weight: float) -> "Gauge":
        """From the measured cells of the memory, with NaN for missing ones."""
        columns = [column[~np.isnan(column)] for column in cells.T]
        typical = np.array([np.median(column) if len(column) else 0.0 for column in columns])
        beyond = float(np.nansum(np.maximum(cells - typical, 0), axis=1).mean())
        return cls(typical, beyond / weight if beyond > LEAST_UNIT else 1.0)

    def apply(self, cells: np.ndarray) -> np.ndarray:
        """Measured cells on the common scale."""
        return np.where(np.isnan(cells), 0.0, (cells - self.typical) / self.unit)


@dataclass(frozen=True, eq=False)
class Memory:
    """Training rows that are kept for comparison: as neighbours, and column by column.

    Attributes
    ----------
    squashing : Squashing
    neighbours : Neighbours
    ranks : Ranks
    """

    squashing: Squashing
    neighbours: Neighbours
    ranks: Ranks

    @classmethod
    def of(
        cls, rows: np.ndarray, squashing: Squashing, metric: Metric, n_neighbors: int, device: torch.device
    ) -> tuple["Memory", tuple[np.ndarray, np.ndarray]]:
        """A memory of rows of the table, and its measures for these rows."""
        squashed = squashing.apply(rows).astype(np.float32)
        neighbours, gaps = Neighbours.of(squashed, metric, n_neighbors, device)
        ranks = Ranks.of(squashed, metric.is_number)
        return cls(squashing, neighbours, ranks), (gaps, ranks.surprise(squashed, among_them=True))

    def measure(self, rows: np.ndarray, in_memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances to neighbours, and surprise of ranks. Rows of the memory are compared with its other rows."""
        squashed = self.squashing.apply(rows).astype(np.float32)
        return _either(self.neighbours.gaps, squashed, in_memory), _either(self.ranks.surprise, squashed, in_memory)

    def expected(self, rows: np.ndarray, in_memory: np.ndarray) -> np.ndarray:
        """Medians of numbers and modes of categories, over the nearest rows, or over all if the cells there are missing."""
        squashed = self.squashing.apply(rows).astype(np.float32)
        is_number = self.neighbours.metric.is_number
        nearest = self.squashing.invert(_either(self.neighbours.expected, squashed, in_memory))
        expected = _centre(nearest.swapaxes(0, 1), is_number, _median)
        if np.isnan(expected).any():
            of_all = _centre(self.squashing.invert(self.neighbours.rows), is_number, _median)
            return np.where(np.isnan(expected), of_all, expected)
        return expected


def _centre(cells: np.ndarray, is_number: np.ndarray, of_numbers: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``of_numbers`` of numbers and the mode of other columns, along the first axis; NaN if all cells are missing."""
    numbers = of_numbers(cells)
    if np.all(is_number):
        return numbers
    n_equal = np.stack([(cells == some).sum(axis=0) for some in cells])
    most = np.take_along_axis(cells, n_equal.argmax(axis=0)[None], axis=0)[0]
    return np.where(is_number, numbers, most)


def _mean(cells: np.ndarray) -> np.ndarray:
    seen = ~np.isnan(cells)
    return np.asarray(_sum(np.where(seen, cells, 0.0)) / np.where(seen.any(axis=0), seen.sum(axis=0), np.nan))


def _median(cells: np.ndarray) -> np.ndarray:
    rising, n_seen = np.sort(cells, axis=0), (~np.isnan(cells)).sum(axis=0)  # NaN come last
    middle = [np.take_along_axis(rising, np.maximum(place, 0)[None], axis=0)[0] for place in ((n_seen - 1) // 2, n_seen // 2)]
    return np.where(n_seen > 0, (middle[0] + middle[1]) / 2, np.nan)


@dataclass(frozen=True, eq=False)
class Networks:
    """Models, each trained without one part of the training table; there may be none.

    Attributes
    ----------
    squashing : Squashing
    fitted : list of Fitted
    between : tuple of two ndarray of shape (n_columns,)
        Lowest and highest training number of each column, to which expected numbers are clipped; NaN for no bound.
    """

    squashing: Squashing
    fitted: list[Fitted]
    between: tuple[np.ndarray, np.ndarray]

    def measure(self, rows: np.ndarray) -> list[np.ndarray]:
        """For each model, the negative log-likelihood of every cell given the code of its row; NaN for missing cells."""
        squashed = self.squashing.apply(rows)
        return [-fitted.score_cells(squashed, squashed, n_draws=1) for fitted in self.fitted]

    def codes(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the codes of the rows by the first model; None without models."""
        if not self.fitted:
            return None
        first = self.fitted[0]
        return first.map_rows(first.module.encode, self.squashing.apply(rows))

    def expected(self, rows: np.ndarray) -> list[np.ndarray]:
        """For each model, the expected cells, in the units of the input."""
        squashed, (lowest, highest) = self.squashing.apply(rows), self.between
        cells = [self.squashing.invert(fitted.expected(fitted.read(squashed))) for fitted in self.fitted]
        return [np.fmin(np.fmax(some, lowest), highest) for some in cells]


def numbers_between(rows: np.ndarray, is_number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest number of each column; NaN if there are none."""
    numbers = np.where(is_number, rows, np.nan).astype(np.float64)
    return np.fmin.reduce(numbers), np.fmax.reduce(numbers)


@dataclass(frozen=True, eq=False)
class Oddness:
    """Fitted state of a detector. Rows are in the units of the input.

    Attributes
    ----------
    memory : Memory
    networks : Networks
    pairs : Pairs
    training : TrainingRows
    gauges : tuple of three Gauge
        Scales of neighbours, column and row.
    """

    memory: Memory
    networks: Networks
    pairs: Pairs
    training: TrainingRows
    gauges: tuple[Gauge, ...]

    @classmethod
    def of(
        cls,
        kept: np.ndarray,
        known: Known,
        measured: tuple[np.ndarray, np.ndarray],
        memory: Memory,
        networks: Networks,
        pairs: Pairs,
        training: TrainingRows,
    ) -> tuple["Oddness", np.ndarray]:
        """Fit the scales to the rows of the memory, and compute the scores of these rows."""
        cells = (*measured, _by_who_did_not_see(networks.measure(kept), known, kept.shape))
        self = cls(memory, networks, pairs, training, tuple(map(Gauge.of, cells, WEIGHTS)))
        return self, _total(self._gauged(*cells, pairs.costs(kept, known.learned)))

    def parts(self, rows: np.ndarray) -> Parts:
        """Contributions of all cells. Training rows are compared with others, and scored by a network that did not see them."""
        known = self.training.find(rows)
        inside = _by_who_did_not_see(self.networks.measure(rows), known, rows.shape)
        return self._gauged(*self.memory.measure(rows, known.in_memory), inside, self.pairs.costs(rows, known.learned))

    def totals(self, rows: np.ndarray) -> np.ndarray:
        """Score of each row: the sum over measures and cells."""
        return in_blocks(lambda block: _total(self.parts(block)), rows)

    def totals_by_network(self, rows: np.ndarray) -> list[np.ndarray]:
        """Scores by each network alone, of rows that are treated as new."""

        def totals(block: np.ndarray) -> np.ndarray:
            known = np.zeros(len(block), dtype=bool)
            outside, of_pairs = self.memory.measure(block, known), self.pairs.costs(block, known)
            inside = self.networks.measure(block) or [np.zeros(block.shape)]
            return np.stack([_total(self._gauged(*outside, cells, of_pairs)) for cells in inside], axis=1)

        return list(in_blocks(totals, rows).T)

    def expected(self, rows: np.ndarray) -> np.ndarray:
        """Expected value of each cell."""
        known = self.training.find(rows)
        if not self.networks.fitted:
            return self.memory.expected(rows, known.in_memory)
        by_network = self.networks.expected(rows)
        joint = _centre(np.stack(by_network), self.memory.neighbours.metric.is_number, _mean)
        return _by_who_did_not_see(by_network, known, rows.shape, joint)

    def _gauged(self, *measured: np.ndarray) -> Parts:
        """The three measures on the common scale. Contributions of pairs, the last argument, are added to the row measure."""
        *cells, of_pairs = measured
        neighbours, column, row = (gauge.apply(some) for gauge, some in zip(self.gauges, cells, strict=True))
        return Parts(neighbours, column, row + of_pairs)


def _by_who_did_not_see(
    by_network: list[np.ndarray], known: Known, shape: tuple[int, ...], joint: np.ndarray | None = None
) -> np.ndarray:
    """The joint result for new rows, by default the mean; for training rows, that of the network that did not see them."""
    if not by_network:
        return np.zeros(shape)
    result = _sum(by_network) / len(by_network) if joint is None else joint
    for i, cells in enumerate(by_network):
        result[known.part == i] = cells[known.part == i]
    return result


def _sum(tables: Iterable[np.ndarray]) -> np.ndarray:
    """Sum in fixed order: numpy's order depends on the number of rows, and so would the last bits."""
    return reduce(np.add, tables)


def _total(parts: Parts) -> np.ndarray:
    return np.asarray(sum(parts)).sum(axis=1)


def _either(function: Callable[[np.ndarray, bool], np.ndarray], rows: np.ndarray, among_them: np.ndarray) -> np.ndarray:
    """Apply ``function(rows, flag)`` to each row with its own flag."""
    if not among_them.any() or among_them.all():
        return function(rows, bool(among_them.all()))
    first, second = function(rows[among_them], True), function(rows[~among_them], False)
    result = np.empty((len(rows), *first.shape[1:]), first.dtype)
    result[among_them], result[~among_them] = first, second
    return result
