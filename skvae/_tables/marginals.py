"""Transformations of numeric columns for networks: a function per column, and a frequent value that is treated separately.

A column with such a value, a *spike*, becomes two columns for the networks: whether a cell is the spike, and its value if it is
not. Its density is that of a hurdle model (Cragg, 1971).
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

FAR = 20.0  # spreads from the median up to which robust columns are unchanged
PROBABILITIES = (0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99)  # quantiles that are mapped to those of a normal
TAIL = 0.3  # scale of the logarithm beyond the outermost of them, in standard deviations
SPIKE = 0.1  # minimum share of cells with the lowest or highest value for it to be a spike
MANY_VALUES = 20  # a column of at most so many distinct values has no spike
LEAST_CELLS = 50  # a column with fewer cells is not transformed
MOST_ROWS = 10_000  # on which marginals are chosen
LARGEST = 1e60  # limit of cells in the choice, so that squared costs are finite
MOST_OTHERS = 16  # most relevant features of other columns
N_FOLDS = 5  # of the choice
WORTHWHILE = 0.02  # minimum gain over a simpler marginal, in nats per cell
STANDARD_ERRORS = 2.0  # minimum gain in standard errors
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
USUAL = 2.0  # tails beyond the outermost knots, to which expectations of usual cells are limited


@dataclass(frozen=True, eq=False)
class Values:
    """The distinct values of a column in rising order, and their counts."""

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, cells: np.ndarray, weights: np.ndarray) -> "Values":
        values, index = np.unique(cells, return_inverse=True)
        return cls(values, np.bincount(index, weights, len(values)))

    @property
    def probabilities(self) -> np.ndarray:
        """The share of cells below each value, plus half the share of those equal to it."""
        result: np.ndarray = (self.counts.cumsum() - self.counts / 2) / self.counts.sum()
        return result

    def quantiles(self, probabilities: tuple[float, ...]) -> np.ndarray:
        return np.interp(probabilities, self.probabilities, self.values)

    def median_and_spread(self) -> tuple[float, float]:
        """Robust location and scale, as in ``Squashing``, but of weighted cells."""
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
    """Identity within 20 spreads of the median and logarithmic beyond; None if no cell lies beyond."""
    if len(values.values) < 3:
        return None
    median, spread = values.median_and_spread()
    ends = median + np.array([-FAR, FAR]) * spread
    if ends[0] <= values.values[0] and values.values[-1] <= ends[1]:
        return None
    return Spline.through(ends, ends, tail=spread)


def quantiles(values: Values) -> Spline | None:
    """Map quantiles to those of a normal distribution; None if fewer than two quantiles differ.

    Knots are at least as far apart as neighbouring values usually are, so that no density is sharper than the resolution of the
    cells.
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
    """The lowest or highest value of a column, if it is so frequent that it is a state of its own, such as "no rain".

    Attributes
    ----------
    value : float
    width : float
        Width of the interval that the value represents: the usual distance of neighbouring values.
    tolerance : float
        Distance from the value up to which a cell counts as the spike.
    """

    value: float
    width: float
    tolerance: float

    @classmethod
    def of(cls, values: Values) -> "Spike | None":
        """The more frequent of both extremes, if it is frequent enough."""
        most = 0 if values.counts[0] >= values.counts[-1] else len(values.counts) - 1
        if len(values.values) <= MANY_VALUES or values.counts[most] < SPIKE * values.counts.sum():
            return None
        value, width = values.values[most], median_gap(values.values)
        nearest = np.abs(np.delete(values.values, most) - value).min()
        return cls(float(value), width, min(width, float(nearest)) / 2)

    def holds(self, cells: np.ndarray) -> np.ndarray:
        """Which cells are the spike; missing ones are not."""
        return np.abs(cells - self.value) < self.tolerance


@dataclass(frozen=True, eq=False)
class Marginal:
    """Transformation of one numeric column to a normal one.

    Attributes
    ----------
    spike : Spike or None
    spline : Spline or None
        Function for the cells that are not the spike; None leaves them unchanged.
    lowest, highest : float
        Range of the cells in the fit.
    """

    spike: Spike | None
    spline: Spline | None
    lowest: float
    highest: float

    @classmethod
    def of(cls, cells: np.ndarray, weights: np.ndarray, with_spike: bool, shape: Shape) -> "Marginal | None":
        """Fit a marginal of this kind; None if a spike is requested but the column has none."""
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
        """Description for the schema."""
        if self.spline is None:
            return ""
        return "outlying values compressed" if len(self.spline.knots) == 2 else "by quantiles"

    @property
    def is_plain(self) -> bool:
        """Whether cells are unchanged."""
        return self.spike is None and self.spline is None

    def normal(self, cells: np.ndarray) -> np.ndarray:
        """Transformed cells; the spike is transformed, too. Missing cells are NaN."""
        return cells if self.spline is None else self.spline(cells)

    def scored(self, cells: np.ndarray) -> np.ndarray:
        """Transformed cells, with NaN for the spike."""
        normal = self.normal(cells)
        return normal if self.spike is None else np.where(self.spike.holds(cells), np.nan, normal)

    def log_jacobian(self, cells: np.ndarray) -> np.ndarray:
        """Log-density of cells minus that of transformed cells, or minus the log-probability of the spike."""
        result = np.zeros(cells.shape) if self.spline is None else self.spline.log_slope(cells)
        return result if self.spike is None else np.where(self.spike.holds(cells), -np.log(self.spike.width), result)

    def median(self, normal: np.ndarray, probability: np.ndarray | None) -> np.ndarray:
        """Medians of cells whose transforms have these means, or the spike if its probability exceeds one half."""
        cells = normal if self.spline is None else self.spline.inverse(normal)
        return self._joined(cells, None if probability is None else np.round(probability))

    def mean(self, normal: np.ndarray, deviation: float, probability: np.ndarray | None) -> np.ndarray:
        """Means of cells whose transforms are normal with these means and one standard deviation.

        Very rare values would dominate the mean of a long tail, so the mean is taken over usual values only.
        """
        if self.spline is None:
            return self._joined(normal, probability)
        lowest, highest = self.spline.heights[[0, -1]] + np.array([-USUAL, USUAL]) * self.spline.tail
        nodes = normal[:, None] + deviation * NODES
        nodes = np.clip(nodes, np.minimum(normal, lowest)[:, None], np.maximum(normal, highest)[:, None])
        return self._joined(self.spline.inverse(nodes) @ NODE_WEIGHTS / NODE_WEIGHTS.sum(), probability)

    def _joined(self, cells: np.ndarray, probability: np.ndarray | None) -> np.ndarray:
        """Cells clipped to the range of the column; the spike if it is likelier than not, else its share in the mean."""
        cells = np.clip(cells, self.lowest, self.highest)
        if self.spike is None or probability is None:
            return cells
        mixed = probability * self.spike.value + (1 - probability) * cells
        return np.where(probability >= 0.5, self.spike.value, mixed)


@dataclass(frozen=True, eq=False)
class Marginals:
    """Transformations of the columns of a table.

    *Normal* rows are transformed rows. They have an additional column of 0 and 1 for each spike, behind all others.

    Attributes
    ----------
    columns : tuple of Marginal or None
        None for columns that are unchanged.
    """

    columns: tuple[Marginal | None, ...]

    @classmethod
    def none(cls, n_columns: int) -> "Marginals":
        """Leave all columns unchanged."""
        return cls((None,) * n_columns)

    @classmethod
    def of(cls, rows: Rows, n_levels: np.ndarray, bent: np.ndarray, shapes: tuple[Shape, ...]) -> "Marginals":
        """Choose the marginals with the highest likelihood of held-out cells, given the other cells of their rows.

        Parameters
        ----------
        rows : Rows
            Rows of the table; of many rows, a sample is used.
        n_levels : ndarray of shape (n_columns,)
        bent : ndarray of bool of shape (n_columns,)
            Numeric columns that may be transformed.
        shapes : tuple of functions
            Candidates, the simplest first.
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
        """Whether all columns are unchanged."""
        return all(column is None for column in self.columns)

    @property
    def column_of(self) -> np.ndarray:
        """The column of the table from which each normal column is made."""
        spiked = [j for j, column in enumerate(self.columns) if column is not None and column.spike is not None]
        return np.concatenate([np.arange(len(self.columns)), np.array(spiked, dtype=np.int64)])

    def n_levels(self, n_levels: np.ndarray) -> np.ndarray:
        """Numbers of categories of the normal columns, from those of the table."""
        return np.concatenate([n_levels, np.full(len(self.column_of) - len(self.columns), BOOLEAN)])

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Normal rows, with NaN for missing cells; rows are returned unchanged if all columns are."""
        if self.are_plain:
            return rows
        normal = rows.astype(np.float64)
        for j, column in self._transformed():
            normal[:, j] = column.normal(rows[:, j].astype(np.float64))
        spikes = [np.where(np.isnan(rows[:, j]), np.nan, spike.holds(rows[:, j])) for j, spike in self._spikes()]
        return np.column_stack([normal, *spikes])

    def scored(self, rows: np.ndarray) -> np.ndarray:
        """Normal rows, with NaN also for spikes, which are scored in their own column."""
        normal = self.apply(rows)
        for j, spike in self._spikes():
            normal[:, j] = np.where(spike.holds(rows[:, j]), np.nan, normal[:, j])
        return normal

    def summarised(self, summary: Summary) -> Summary | None:
        """The summary of normal rows; None if the rows must be read again."""
        return summary if self.are_plain else None

    def log_jacobians(self, rows: np.ndarray) -> np.ndarray:
        """Log-density of each cell in input units minus that of its normal cells; 0 if it is missing."""
        result = np.zeros(rows.shape)
        for j, column in self._transformed():
            result[:, j] = np.nan_to_num(column.log_jacobian(rows[:, j].astype(np.float64)))
        return result

    def folded(self, cells: np.ndarray) -> np.ndarray:
        """Values of normal cells, summed over the normal columns of each column of the table."""
        result = cells[:, : len(self.columns)].copy()
        for place, (j, _) in enumerate(self._spikes(), start=len(self.columns)):
            result[:, j] += cells[:, place]
        return result

    def inverse(self, normal: np.ndarray, deviations: np.ndarray | None = None) -> np.ndarray:
        """Cells in the units of the input, from normal cells and probabilities of spikes.

        They are medians, or means if the standard deviations of normal cells are given.
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
    """Observed cells of a column, features of the other cells of their rows, and the weights of the rows."""

    cells: np.ndarray
    others: np.ndarray
    weights: np.ndarray

    def take(self, which: np.ndarray) -> "_Cells":
        return _Cells(self.cells[which], self.others[which], self.weights[which])


def _telling(table: Table, n_levels: np.ndarray) -> np.ndarray:
    """Features of rows that may predict other cells: numbers by their quantiles, and indicators of categories.

    They are standardised, and 0 for missing cells.
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
    """The simplest kind of marginal, unless another one is clearly likelier on held-out cells."""
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
    """The marginal of this kind for all cells of a column; None if they are unchanged."""
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
    """Log-density of each cell under the marginal of the other folds; None if there is no such marginal.

    Rows are ordered by hash, so every fifth cell is a random choice.
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
    """Log-density of cells, if normal cells follow a linear regression on the features of their rows."""
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
    """Expected cells given other features, by ridge regression, and the residual variance."""
    weights = seen.weights
    centre, mean = np.average(normal, weights=weights), np.average(seen.others, axis=0, weights=weights)
    features = seen.others - mean
    gram = features.T @ (features * weights[:, None]) + np.eye(len(mean))
    slopes = np.linalg.solve(gram, features.T @ (weights * (normal - centre)))
    residuals = normal - centre - features @ slopes
    share_free = max(1.0, len(normal) - len(mean)) / len(normal)
    return centre + (others - mean) @ slopes, float(np.average(residuals**2, weights=weights) / share_free)
