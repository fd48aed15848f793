"""Graphs of marginals: columns of numbers to normal ones and back, all columns of a kind at once."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

import numpy as np

from skvae._export.graph import Value, concatenate, count_below, take, where, with_columns
from skvae._tables.marginals import NODE_WEIGHTS, NODES, USUAL, Marginals, Spike
from skvae._tables.spline import Spline


class Splines:
    """Splines of several columns, with their bins as rows of tables."""

    def __init__(self, splines: Sequence[Spline]) -> None:
        self.knots = [spline.knots for spline in splines]
        self.heights = [spline.heights for spline in splines]
        self.tail = np.array([spline.tail for spline in splines])
        self.first_slope, self.last_slope = np.array([spline.slopes[[0, -1]] for spline in splines]).T
        self.last_bin = np.array([len(knots) - 2 for knots in self.knots])
        widths, rises = map(np.diff, self.knots), map(np.diff, self.heights)
        self.width, self.rise = _side_by_side(widths), _side_by_side(rises)
        self.steepness = self.rise / self.width
        self.start, self.bottom = (_side_by_side(edges[:-1] for edges in some) for some in (self.knots, self.heights))
        self.slope_before = _side_by_side(spline.slopes[:-1] for spline in splines)
        self.slope_behind = _side_by_side(spline.slopes[1:] for spline in splines)

    def heights_at(self, x: Value) -> Value:
        """Values of the splines, as in ``Spline.__call__``."""
        bins, share, steepness, first, last = self._within(x)
        inner = share * (1.0 - share)
        bend = steepness + (last + first - 2.0 * steepness) * inner
        rise = take(self.rise, bins) * (steepness * share * share + first * inner) / bend
        lowest, highest = _ends(self.knots)
        side = (x > highest).astype(x.dtype) - (x < lowest).astype(x.dtype)
        return take(self.bottom, bins) + rise + side * self.tail * self._log_beyond(x)

    def log_slopes_at(self, x: Value) -> Value:
        """Logarithms of the derivatives, as in ``Spline.log_slope``."""
        _, share, steepness, first, last = self._within(x)
        rest = 1.0 - share
        bend = steepness + (last + first - 2.0 * steepness) * share * rest
        slope = last * share * share + 2.0 * steepness * share * rest + first * rest * rest
        return 2.0 * (steepness / bend).log() + slope.log() - self._log_beyond(x)

    def places_of(self, heights: Value) -> Value:
        """Where the splines have these values, as in ``Spline.inverse``."""
        lowest, highest = _ends(self.heights)
        inside = heights.clip(lowest, highest)
        bins = self._bins(self.heights, inside)
        rise, steepness, first, last = self._of_bins(bins)
        above = inside - take(self.bottom, bins)
        bend = last + first - 2.0 * steepness
        a, b, c = rise * (steepness - first) + above * bend, rise * first - above * bend, -(steepness * above)
        share = 2.0 * c / (-b - (b * b - 4.0 * a * c).apply("Max", 0.0).sqrt())
        between = take(self.start, bins) + share * take(self.width, bins)
        beyond = self.tail * ((abs(heights - inside) / self.tail).exp() - 1.0)
        below = heights < lowest
        side = (heights > highest).astype(heights.dtype) - below.astype(heights.dtype)
        slope = where(below, heights.graph.constant(self.first_slope), self.last_slope)
        return between + side * beyond / slope

    def _within(self, x: Value) -> tuple[Value, Value, Value, Value, Value]:
        bins = self._bins(self.knots, x)
        share = ((x - take(self.start, bins)) / take(self.width, bins)).clip(0.0, 1.0)
        _, steepness, first, last = self._of_bins(bins)
        return bins, share, steepness, first, last

    def _bins(self, edges: Sequence[np.ndarray], values: Value) -> Value:
        return (count_below(edges, values, inclusive=True) - 1).clip(0, self.last_bin)

    def _of_bins(self, bins: Value) -> tuple[Value, Value, Value, Value]:
        tables = (self.rise, self.steepness, self.slope_before, self.slope_behind)
        rise, steepness, first, last = (take(table, bins) for table in tables)
        return rise, steepness, first, last

    def _log_beyond(self, x: Value) -> Value:
        lowest, highest = _ends(self.knots)
        beyond = (x - highest).apply("Max", 0.0) * self.last_slope + (lowest - x).apply("Max", 0.0) * self.first_slope
        return (beyond / self.tail + 1.0).log()


def _side_by_side(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """Arrays as rows of a table, padded with ones."""
    arrays = list(arrays)
    table = np.ones((len(arrays), max(map(len, arrays))))
    for row, array in zip(table, arrays, strict=True):
        row[: len(array)] = array
    return table


def _ends(edges: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lowest, highest = np.array([edge[[0, -1]] for edge in edges]).T
    return lowest, highest


def normal(marginals: Marginals, rows: Value) -> Value:
    """Normal rows, with a further column for each spike."""
    result, bent = rows, _bent(marginals)
    if bent:
        heights = Splines(list(bent.values())).heights_at(rows.columns(list(bent)))
        result = with_columns(rows, np.array(list(bent)), heights, len(marginals.columns))
    spiked = _spiked(marginals)
    if not spiked:
        return result
    holds = where(rows.columns(list(spiked)).isnan(), np.nan, _holds(spiked, rows).astype(rows.dtype))
    return concatenate([result, holds])


def scored(marginals: Marginals, rows: Value) -> Value:
    """Normal rows, with NaN also for cells that are a spike."""
    result, spiked = normal(marginals, rows), _spiked(marginals)
    if not spiked:
        return result
    places = np.array(list(spiked))
    others = where(_holds(spiked, rows), np.nan, result.columns(places))
    return with_columns(result, places, others, len(marginals.column_of))


def log_jacobians(marginals: Marginals, rows: Value) -> Value | None:
    """Log-derivative of each cell, zero if it is missing; None if no column is transformed."""
    if marginals.are_plain:
        return None
    result, bent, spiked = rows * 0.0, _bent(marginals), _spiked(marginals)
    if bent:
        slopes = Splines(list(bent.values())).log_slopes_at(rows.columns(list(bent)))
        result = with_columns(result, np.array(list(bent)), slopes, len(marginals.columns))
    if spiked:
        places = np.array(list(spiked))
        widths = np.array([spike.width for spike in spiked.values()])
        of_spiked = where(_holds(spiked, rows), -np.log(widths), result.columns(places))
        result = with_columns(result, places, of_spiked, len(marginals.columns))
    return where(rows.isnan(), 0.0, result)


def folded(marginals: Marginals, cells: Value) -> Value:
    """Values of normal cells, summed over the normal columns of each column of the table."""
    if not _spiked(marginals):
        return cells
    return cells @ (marginals.column_of[:, None] == np.arange(len(marginals.columns)))


def medians(marginals: Marginals, normal: Value) -> Value:
    """Cells in the units of the input, from normal ones and the probabilities of spikes."""
    if marginals.are_plain:
        return normal
    cells = normal.columns(np.arange(len(marginals.columns)))
    bent = _bent(marginals)
    if bent:
        places = Splines(list(bent.values())).places_of(cells.columns(list(bent)))
        cells = with_columns(cells, np.array(list(bent)), places, len(marginals.columns))
    return _joined(marginals, cells, normal, decided=True)


def means(marginals: Marginals, normal: Value, deviations: np.ndarray) -> Value:
    """Means of cells that are normal with these standard deviations, as in ``Marginal.mean``."""
    if marginals.are_plain:
        return normal
    cells = normal.columns(np.arange(len(marginals.columns)))
    bent = _bent(marginals)
    if bent:
        splines, index = Splines(list(bent.values())), np.array(list(bent))
        lowest, highest = _ends(splines.heights)
        middle = cells.columns(index)
        least, most = (
            middle.apply(op, end + sign * USUAL * splines.tail) for op, end, sign in (("Min", lowest, -1), ("Max", highest, 1))
        )
        nodes = (splines.places_of((middle + deviations[index] * node).clip(least, most)) for node in NODES)
        mean = reduce(add, (node * weight for node, weight in zip(nodes, NODE_WEIGHTS / NODE_WEIGHTS.sum(), strict=True)))
        cells = with_columns(cells, index, mean, len(marginals.columns))
    return _joined(marginals, cells, normal, decided=False)


def _joined(marginals: Marginals, cells: Value, normal: Value, decided: bool) -> Value:
    """Cells clipped to the range of their columns, mixed with spikes by probability, which is rounded if ``decided``."""
    ends = [(-np.inf, np.inf) if column is None else (column.lowest, column.highest) for column in marginals.columns]
    cells, spiked = cells.clip(*np.array(ends).T), _spiked(marginals)
    if not spiked:
        return cells
    index, n_columns = np.array(list(spiked)), len(marginals.columns)
    probability = normal.columns(n_columns + np.arange(len(spiked)))
    probability = probability.apply("Round") if decided else probability
    values, others = np.array([spike.value for spike in spiked.values()]), cells.columns(index)
    mixed = probability * values + (1.0 - probability) * others
    return with_columns(cells, index, where(probability >= 0.5, values, mixed), n_columns)


def _bent(marginals: Marginals) -> dict[int, Spline]:
    return {j: column.spline for j, column in enumerate(marginals.columns) if column is not None and column.spline is not None}


def _spiked(marginals: Marginals) -> dict[int, Spike]:
    return {j: column.spike for j, column in enumerate(marginals.columns) if column is not None and column.spike is not None}


def _holds(spiked: dict[int, Spike], rows: Value) -> Value:
    value, tolerance = np.array([(spike.value, spike.tolerance) for spike in spiked.values()]).T
    return abs(rows.columns(list(spiked)) - value) < tolerance
