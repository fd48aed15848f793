"""How columns of numbers become what networks see: a function per column, and apart from it a value that repeats.

A column with such a *spike* is two columns for the networks: whether a cell is the spike, and what it is where it is not. So
its density is that of a hurdle model (Cragg, 1971).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from skvae._tables.encoding import BOOLEAN, Encoding
from skvae._tables.rows import SQUARABLE, Rows, Table
from skvae._tables.scaling import median_gap
from skvae._tables.spline import Spline
from skvae._tables.squashing import MEAN_TO_STD, TAILS
from skvae._tables.summary import Summary

FAR = 20.0  # spreads from the median, up to which robust columns stay as they are
PROBABILITIES = (0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99)  # of the quantiles that become a normal distribution's
TAIL = 0.3  # standard deviations beyond the outermost of them from which on what is added grows as a logarithm
SPIKE = 0.1  # least share of the cells that have the lowest value, or the highest, for it to be a spike
MANY_VALUES = 20  # a column of no more different values has no spike
LEAST_CELLS = 50  # in a column; fewer have no marginal chosen
MOST_ROWS = 10_000  # that marginals are chosen on
LARGEST = 1e60  # cell that it is chosen on, so that the squares of its costs are numbers
MOST_OTHERS = 16  # features of other columns that tell most of it
N_FOLDS = 5  # of the choice
WORTHWHILE = 0.02  # nats per cell that a marginal must gain over a simpler one, and
STANDARD_ERRORS = 2.0  # by how many of them the gain must exceed zero
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
USUAL = 2.0  # tails beyond the outermost knots, beyond which nothing is expected of a cell that is usual itself


@dataclass(frozen=True, eq=False)
class Values:
    """The different values of a column in rising order, and how many cells have each."""

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, cells: np.ndarray, weights: np.ndarray) -> "Values":
        values, index = np.unique(cells, return_inverse=True)
        return cls(values, np.bincount(index, weights, len(values)))

    @property
    def probabilities(self) -> np.ndarray:
        """The share of the cells that is smaller than each value, and half of those that equal it."""
        result: np.ndarray = (self.counts.cumsum() - self.counts / 2) / self.counts.sum()
        return result

    def quantiles(self, probabilities: tuple[float, ...]) -> np.ndarray:
        return np.interp(probabilities, self.probabilities, self.values)

    def median_and_spread(self) -> tuple[float, float]:
        """Location and scale that wild cells do not move, as those of ``Squashing``, but of weighted cells."""
        lowest, median, highest = self.values_at((TAILS[0], 0.5, TAILS[1]))
        clipped = np.abs(np.clip(self.values, lowest, highest) - median)
        spread = MEAN_TO_STD * np.average(clipped, weights=self.counts)
        apart = self.values != median
        others = Values.of(np.abs(self.values - median)[apart], self.counts[apart])
        share = others.counts.sum() / self.counts.sum()
        return float(median), float(max(spread, np.sqrt(share) * others.values_at((0.5,))[0]))

    def values_at(self, probabilities: tuple[float, ...]) -> np.ndarray:
        """Quantiles that are values of the column."""
        shares = self.counts.cumsum() / self.counts.sum()
        return self.values[np.minimum(np.searchsorted(shares, probabilities), len(self.values) - 1)]


def fence(values: Values) -> Spline | None:
    """As they are within 20 spreads of the median, and beyond that by the logarithm; None where no cell lies beyond."""
    if len(values.values) < 3:
        return None
    median, spread = values.median_and_spread()
    ends = median + np.array([-FAR, FAR]) * spread
    if ends[0] <= values.values[0] and values.values[-1] <= ends[1]:
        return None
    return Spline.through(ends, ends, tail=spread)


def quantiles(values: Values) -> Spline | None:
    """Quantiles to those of a normal distribution; None where there are not two that differ.

    Knots are no nearer to each other than neighbouring values usually are, so that no density is sharper than cells are written
    down.
    """
    gap = median_gap(values.values)
    if len(values.values) < 3 or gap < 1 / SQUARABLE:
        return None
    first, *others = values.quantiles(PROBABILITIES)
    knots = [first]
    for knot in others:
        if knot - knots[-1] >= gap:
            knots.append(knot)
    if len(knots) < 2:
        return None
    normal, shares = NormalDist(), np.interp(knots, values.values, values.probabilities)
    return Spline.through(np.array(knots), np.array([normal.inv_cdf(share) for share in shares]), tail=TAIL)


Shape = Callable[[Values], Spline | None]
ROBUST: tuple[Shape, ...] = (fence,)
BY_QUANTILES: tuple[Shape, ...] = (fence, quantiles)


@dataclass(frozen=True)
class Spike:
    """The lowest or highest value of a column, where so many cells have it that it is a state of its own: no rain, no gain.

    Attributes
    ----------
    value : float
    width : float
        Of the interval that the value stands for: the usual distance of neighbouring values.
    tolerance : float
        How near to the value a cell is taken for it.
    """

    value: float
    width: float
    tolerance: float

    @classmethod
    def of(cls, values: Values) -> "Spike | None":
        """The more frequent of the two, if it is frequent enough."""
        most = 0 if values.counts[0] >= values.counts[-1] else len(values.counts) - 1
        if len(values.values) <= MANY_VALUES or values.counts[most] < SPIKE * values.counts.sum():
            return None
        value, width = values.values[most], median_gap(values.values)
        nearest = np.abs(np.delete(values.values, most) - value).min()
        return cls(float(value), width, min(width, float(nearest)) / 2)

    def holds(self, cells: np.ndarray) -> np.ndarray:
        """Which cells are the value; missing ones are not."""
        return np.abs(cells - self.value) < self.tolerance


@dataclass(frozen=True, eq=False)
class Marginal:
    """How one column of numbers becomes normal.

    Attributes
    ----------
    spike : Spike or None
    spline : Spline or None
        None leaves the cells that are not the spike as they are.
    lowest, highest : float
        Of the cells that it was fitted to.
    """

    spike: Spike | None
    spline: Spline | None
    lowest: float
    highest: float

    @classmethod
    def of(cls, cells: np.ndarray, weights: np.ndarray, with_spike: bool, shape: Shape) -> "Marginal | None":
        """Of this kind; None where the column has no spike, but is to have one."""
        values, spike = Values.of(cells, weights), None
        lowest, highest = float(values.values[0]), float(values.values[-1])
        if with_spike:
            spike = Spike.of(values)
            if spike is None:
                return None
            others = ~spike.holds(values.values)
            values = Values(values.values[others], values.counts[others])
        return cls(spike, shape(values), lowest, highest)

    @property
    def note(self) -> str:
        """What it is, for people."""
        if self.spline is None:
            return ""
        return "wild cells compressed" if len(self.spline.knots) == 2 else "by quantiles"

    @property
    def is_plain(self) -> bool:
        """Whether cells stay as they are."""
        return self.spike is None and self.spline is None

    def normal(self, cells: np.ndarray) -> np.ndarray:
        """The cells, normal but for the spike; NaN where they are missing."""
        return cells if self.spline is None else self.spline(cells)

    def scored(self, cells: np.ndarray) -> np.ndarray:
        """The same without the spike."""
        normal = self.normal(cells)
        return normal if self.spike is None else np.where(self.spike.holds(cells), np.nan, normal)

    def log_jacobian(self, cells: np.ndarray) -> np.ndarray:
        """What the log-density of normal cells, and the log-probability of the spike, lack to the log-density of cells."""
        result = np.zeros(cells.shape) if self.spline is None else self.spline.log_slope(cells)
        return result if self.spike is None else np.where(self.spike.holds(cells), -np.log(self.spike.width), result)

    def median(self, normal: np.ndarray, probability: np.ndarray | None) -> np.ndarray:
        """The cells that are normal with these means, or the spike where that is likelier than all else."""
        cells = normal if self.spline is None else self.spline.inverse(normal)
        return self._joined(cells, None if probability is None else np.round(probability))

    def mean(self, normal: np.ndarray, deviation: float, probability: np.ndarray | None) -> np.ndarray:
        """The mean of cells that are normal with these means and one standard deviation.

        The mean of a long tail is decided by what is hardly ever there, so that it is taken over usual values only.
        """
        if self.spline is None:
            return self._joined(normal, probability)
        lowest, highest = self.spline.heights[[0, -1]] + np.array([-USUAL, USUAL]) * self.spline.tail
        nodes = normal[:, None] + deviation * NODES
        nodes = np.clip(nodes, np.minimum(normal, lowest)[:, None], np.maximum(normal, highest)[:, None])
        return self._joined(self.spline.inverse(nodes) @ NODE_WEIGHTS / NODE_WEIGHTS.sum(), probability)

    def _joined(self, cells: np.ndarray, probability: np.ndarray | None) -> np.ndarray:
        """Cells in the range of the column; the spike where it is likelier than all else, and else counted in the mean."""
        cells = np.clip(cells, self.lowest, self.highest)
        if self.spike is None or probability is None:
            return cells
        mixed = probability * self.spike.value + (1 - probability) * cells
        return np.where(probability >= 0.5, self.spike.value, mixed)


@dataclass(frozen=True, eq=False)
class Marginals:
    """The columns of a table, and how each becomes what the networks see.

    *Normal* rows have a further column of 0 and 1 for each spike, behind all others.

    Attributes
    ----------
    columns : tuple of Marginal or None
        None for columns that are taken as they are.
    """

    columns: tuple[Marginal | None, ...]

    @classmethod
    def none(cls, n_columns: int) -> "Marginals":
        """All columns as they are."""
        return cls((None,) * n_columns)

    @classmethod
    def of(cls, rows: Rows, n_levels: np.ndarray, bent: np.ndarray, shapes: tuple[Shape, ...]) -> "Marginals":
        """For some columns of numbers the marginals that held-out cells are likeliest under, given the others of their rows.

        Parameters
        ----------
        rows : Rows
            Of which a sample stands for all where there are many.
        n_levels : ndarray of shape (n_columns,)
        bent : ndarray of bool of shape (n_columns,)
            Columns of numbers that need not stay as they are.
        shapes : tuple of functions
            That a column may have, the simplest first.
        """
        table = rows.sample()
        some = table.take(slice(MOST_ROWS))
        telling, column_of = _telling(some, n_levels), np.repeat(np.arange(len(n_levels)), np.maximum(n_levels, 1))
        columns: list[Marginal | None] = [None] * len(n_levels)
        for j in np.flatnonzero(bent).tolist():
            itself = np.flatnonzero(column_of == j)[0]
            relevance = np.where(column_of == j, -1.0, np.abs(telling[:, itself] @ telling))
            most = np.argsort(-relevance, kind="stable")[: min(MOST_OTHERS, len(column_of) - 1)]
            seen = ~np.isnan(some.rows[:, j])
            cells = np.clip(some.rows[seen, j].astype(np.float64), -LARGEST, LARGEST)
            column = _Cells(cells, telling[np.ix_(seen, most)], some.counts[seen])
            columns[j] = _fitted(table, j, *_likeliest(column, shapes))
        return cls(tuple(columns))

    @property
    def are_plain(self) -> bool:
        """Whether all columns are taken as they are."""
        return all(column is None for column in self.columns)

    @property
    def column_of(self) -> np.ndarray:
        """Which column each of the normal ones is of."""
        spiked = [j for j, column in enumerate(self.columns) if column is not None and column.spike is not None]
        return np.concatenate([np.arange(len(self.columns)), np.array(spiked, dtype=np.int64)])

    def n_levels(self, n_levels: np.ndarray) -> np.ndarray:
        """Levels of the normal columns, from those of the table's."""
        return np.concatenate([n_levels, np.full(len(self.column_of) - len(self.columns), BOOLEAN)])

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Normal rows, NaN where a cell is missing; those that are plain are passed on."""
        if self.are_plain:
            return rows
        normal = rows.astype(np.float64)
        for j, column in self._transformed():
            normal[:, j] = column.normal(rows[:, j].astype(np.float64))
        spikes = [np.where(np.isnan(rows[:, j]), np.nan, spike.holds(rows[:, j])) for j, spike in self._spikes()]
        return np.column_stack([normal, *spikes])

    def scored(self, rows: np.ndarray) -> np.ndarray:
        """The same, NaN also where a cell is a spike, which is scored in a column of its own."""
        normal = self.apply(rows)
        for j, spike in self._spikes():
            normal[:, j] = np.where(spike.holds(rows[:, j]), np.nan, normal[:, j])
        return normal

    def summarised(self, summary: Summary) -> Summary | None:
        """What becomes of a summary of rows; None where they must be read again."""
        return summary if self.are_plain else None

    def log_jacobians(self, rows: np.ndarray) -> np.ndarray:
        """Log-density of each cell in input units minus log-density of what the networks see of it; 0 where it is missing."""
        result = np.zeros(rows.shape)
        for j, column in self._transformed():
            result[:, j] = np.nan_to_num(column.log_jacobian(rows[:, j].astype(np.float64)))
        return result

    def folded(self, cells: np.ndarray) -> np.ndarray:
        """What is said of normal cells, as sums over those of each column of the table."""
        result = cells[:, : len(self.columns)].copy()
        for place, (j, _) in enumerate(self._spikes(), start=len(self.columns)):
            result[:, j] += cells[:, place]
        return result

    def inverse(self, normal: np.ndarray, deviations: np.ndarray | None = None) -> np.ndarray:
        """Cells in the units of the input, from normal ones and the probabilities of spikes.

        With the standard deviations of normal cells around what is given, they are the means of cells, else the medians.
        """
        if self.are_plain:
            return normal
        rows = normal[:, : len(self.columns)].copy()
        places = {j: place for place, (j, _) in enumerate(self._spikes(), start=len(self.columns))}
        for j, column in self._transformed():
            probability = normal[:, places[j]] if j in places else None
            if deviations is None:
                rows[:, j] = column.median(normal[:, j], probability)
            else:
                rows[:, j] = column.mean(normal[:, j], float(deviations[j]), probability)
        return rows

    def _transformed(self) -> Iterator[tuple[int, Marginal]]:
        return ((j, column) for j, column in enumerate(self.columns) if column is not None)

    def _spikes(self) -> Iterator[tuple[int, Spike]]:
        return ((j, column.spike) for j, column in self._transformed() if column.spike is not None)


# How the marginal of a column is chosen


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells of a column that are there, what the others of their rows say, and how often each row stands in the data."""

    cells: np.ndarray
    others: np.ndarray
    weights: np.ndarray

    def take(self, which: np.ndarray) -> "_Cells":
        return _Cells(self.cells[which], self.others[which], self.weights[which])


def _telling(table: Table, n_levels: np.ndarray) -> np.ndarray:
    """Features of the rows that may tell of other cells: numbers by their quantiles, and ones and zeros for levels.

    They are standardised, and 0 where a cell is missing.
    """
    normal = table.rows.astype(np.float64)
    for j in np.flatnonzero(n_levels == 0):
        seen = ~np.isnan(normal[:, j])
        spline = quantiles(Values.of(normal[seen, j], table.counts[seen]))
        if spline is not None:
            normal[:, j] = spline(normal[:, j])
    features = Encoding.of(Table(normal, table.weights), n_levels).features(normal)
    mean, std = Table(features, table.weights).moments()
    return np.nan_to_num((features - mean) / np.where(std > 0, std, 1.0))


def _likeliest(column: _Cells, shapes: tuple[Shape, ...]) -> tuple[bool, Shape]:
    """The simplest kind of marginal but for those that are clearly likelier, on cells that it was not fitted to."""
    best, *others = [(with_spike, shape) for with_spike in (False, True) for shape in shapes]
    if len(column.cells) < LEAST_CELLS or len(np.unique(column.cells)) < 3 or np.abs(column.cells).max() < 1 / SQUARABLE:
        return best
    best_scores = _held_out(column, *best)
    for other in others:
        scores = _held_out(column, *other)
        if scores is not None and best_scores is not None and _is_clear(scores - best_scores, column.weights):
            best, best_scores = other, scores
    return best


def _fitted(table: Table, j: int, with_spike: bool, shape: Shape) -> Marginal | None:
    """The marginal of this kind for all cells of a column; None where they stay as they are."""
    seen = ~np.isnan(table.rows[:, j])
    if not seen.any():
        return None
    marginal = Marginal.of(table.rows[seen, j].astype(np.float64), table.counts[seen], with_spike, shape)
    return None if marginal is None or marginal.is_plain else marginal


def _is_clear(gain: np.ndarray, weights: np.ndarray) -> bool:
    mean = np.average(gain, weights=weights)
    error = np.sqrt(np.average((gain - mean) ** 2, weights=weights) / len(gain))
    return bool(mean > max(WORTHWHILE, STANDARD_ERRORS * error))


def _held_out(column: _Cells, with_spike: bool, shape: Shape) -> np.ndarray | None:
    """Log-density of each cell under the marginal of the other folds; None where there is no such marginal.

    Rows stand in the order of their hashes, so that every fifth cell is a random one.
    """
    scores, fold_of = np.empty(len(column.cells)), np.arange(len(column.cells)) % N_FOLDS
    for fold in range(N_FOLDS):
        held_out, seen = column.take(fold_of == fold), column.take(fold_of != fold)
        marginal = Marginal.of(seen.cells, seen.weights, with_spike, shape)
        if marginal is None:
            return None
        scores[fold_of == fold] = _log_density(marginal, seen, held_out)
    return scores


def _log_density(marginal: Marginal, seen: _Cells, held_out: _Cells) -> np.ndarray:
    """Of cells, if normal ones lie around a linear regression on what the others of their rows say."""
    normal, cells = marginal.scored(seen.cells), marginal.scored(held_out.cells)
    rest, is_spike = ~np.isnan(normal), np.isnan(cells)
    expected, variance = _regression(normal[rest], seen.take(rest), held_out.others)
    variance += median_gap(normal[rest]) ** 2 / 12
    density = -0.5 * np.log(2 * np.pi * variance) - 0.5 * (cells - expected) ** 2 / variance
    if marginal.spike is not None:
        share = (seen.weights[~rest].sum() + 1) / (seen.weights.sum() + 2)
        density = np.where(is_spike, np.log(share), np.log1p(-share) + density)
    return density + marginal.log_jacobian(held_out.cells)


def _regression(normal: np.ndarray, seen: _Cells, others: np.ndarray) -> tuple[np.ndarray, float]:
    """What is expected next to others, by ridge regression, and the variance around it."""
    weights = seen.weights
    centre, mean = np.average(normal, weights=weights), np.average(seen.others, axis=0, weights=weights)
    features = seen.others - mean
    gram = features.T @ (features * weights[:, None]) + np.eye(len(mean))
    slopes = np.linalg.solve(gram, features.T @ (weights * (normal - centre)))
    residuals = normal - centre - features @ slopes
    share_free = max(1.0, len(normal) - len(mean)) / len(normal)
    return centre + (others - mean) @ slopes, float(np.average(residuals**2, weights=weights) / share_free)
