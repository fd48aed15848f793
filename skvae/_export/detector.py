"""Graphs of the detector's three measures, for rows outside its training table."""

from functools import reduce
from operator import add

import numpy as np
import torch

from skvae._detector.clocks import Clocks
from skvae._detector.neighbours import LEAST_SCALE, MISMATCH, N_CANDIDATES, Metric, Neighbours
from skvae._detector.neighbours import TIE as NEIGHBOURS_TIE
from skvae._detector.oddness import Gauge, Networks, Oddness
from skvae._detector.pairs import PER_NAT, RARER, UNSEEN, Pairs
from skvae._detector.ranks import TIE, Ranks
from skvae._export.fits import score_cells
from skvae._export.graph import Value, concatenate, count_below, take, where
from skvae._tables.squashing import Squashing


def widened(clocks: Clocks, rows: Value) -> Value:
    """Rows with circles instead of clocks, as in ``Clocks.widen``."""
    if not clocks.is_clock.any():
        return rows
    angle = rows.columns(clocks.column) * (2 * np.pi / clocks.period)
    kept = where(~rows.isnan() & clocks.is_clock, 0.0, rows)
    cosine = (angle + np.pi / 2).apply("Sin")  # old runtimes have no cosine in double precision
    return concatenate([kept, angle.apply("Sin"), cosine])


def squashed(squashing: Squashing, rows: Value) -> Value:
    """Cells compressed as by ``Squashing.apply``."""
    x = (rows - squashing.median) / squashing.spread
    if not squashing.is_number.any():
        return x
    bent = squashing.knee * _arcsinh(x / squashing.knee)
    return bent if squashing.is_number.all() else where(x.graph.constant(squashing.is_number), bent, x)


def _arcsinh(x: Value) -> Value:
    """Inverse hyperbolic sine in double precision, for which runtimes have no operator; large numbers are not squared."""
    size = abs(x)
    large = size.apply("Max", 1.0)
    root = large * ((size / large) * (size / large) + (1.0 / large) * (1.0 / large)).sqrt()
    return x.apply("Sign") * (size + root).log()


def total(oddness: Oddness, rows: Value) -> Value:
    """Anomaly score of each row, ``(n_rows, 1)``: the sum over measures and cells."""
    cells = squashed(oddness.memory.squashing, rows).astype(np.float32)
    n_levels = oddness.memory.neighbours.metric.n_levels
    measured = [_gaps(oddness.memory.neighbours, cells), _surprise(oddness.memory.ranks, n_levels, cells)]
    if oddness.networks.fitted:
        measured.append(_inside(oddness.networks, rows))
    gauged = (_gauged(gauge, some) for gauge, some in zip(oddness.gauges, measured, strict=False))
    result = reduce(add, gauged).sum(1, keepdims=True)
    return result + _costs(oddness.pairs, n_levels, rows) if oddness.pairs.together else result


def _gauged(gauge: Gauge, cells: Value) -> Value:
    return where(cells.isnan(), 0.0, (cells - gauge.typical) / gauge.unit)


def _inside(networks: Networks, rows: Value) -> Value:
    """The mean over networks of the negative log-likelihood of every cell."""
    cells = squashed(networks.squashing, rows)
    return -reduce(add, (score_cells(fitted, cells) for fitted in networks.fitted)) / float(len(networks.fitted))


# Neighbours


def _gaps(neighbours: Neighbours, x: Value) -> Value:
    """Mean distance of each cell to those of the nearest rows, relative to the usual distance there."""
    graph, memory = x.graph, neighbours.rows
    features, metric = _features_of(neighbours), neighbours.metric
    squares = (features**2).sum(1) - 2.0 * (_features(metric, x) @ features.T)
    candidates = squares.largest(min(N_CANDIDATES + neighbours.n_neighbors, len(memory)), largest=False)
    gaps = _cell_gaps(metric, x.expand_dims(1), graph.constant(memory).at(candidates))
    distances = (_distances(gaps, memory.shape[1]) / NEIGHBOURS_TIE).apply("Round")
    order = distances.largest(neighbours.n_neighbors, largest=False)
    nearest = candidates.picked(order)
    of_nearest = _cell_gaps(metric, x.expand_dims(1), graph.constant(memory).at(nearest))
    local = graph.constant(neighbours.scales).at(nearest).mean(1, keepdims=True) + LEAST_SCALE
    return _mean_of_observed(of_nearest, axis=1).astype(np.float64) / local.sqrt()


def _features_of(neighbours: Neighbours) -> np.ndarray:
    return neighbours.metric.features(torch.from_numpy(neighbours.rows), power=2).numpy()


def _features(metric: Metric, x: Value) -> Value:
    """``Metric.features`` with power 2: their squared distances are the distance."""
    known = where(x.isnan(), 0.0, x)
    if metric.is_number.all():
        return known
    sizes = np.maximum(metric.n_levels, 1)
    column = np.repeat(np.arange(len(sizes)), sizes)
    level = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    n_levels = metric.n_levels[column]
    cells = x.columns(column)
    two_differ = cells.equals(level).astype(x.dtype) * (MISMATCH / 2**0.5)
    one_differs = known.columns(column) * np.where(n_levels == 0, 1.0, MISMATCH)
    return where(x.graph.constant(n_levels > 1), two_differ, one_differs)


def _cell_gaps(metric: Metric, x: Value, y: Value) -> Value:
    """Distance in each column; NaN if a cell is missing."""
    difference = abs(x - y)
    if metric.is_number.all():
        return difference
    mismatch = difference.apply("Min", 1.0).apply("Ceil") * MISMATCH
    return where(x.graph.constant(metric.is_number), difference, mismatch)


def _distances(gaps: Value, n_columns: int) -> Value:
    """Sum over the last axis, with the mean for missing cells; infinite if all are missing."""
    mean = _mean_of_observed(gaps, axis=2)
    return where(mean.isnan(), np.inf, mean * float(n_columns))


def _mean_of_observed(gaps: Value, axis: int) -> Value:
    """Mean of the observed entries; NaN if there are none."""
    is_missing = gaps.isnan()
    return where(is_missing, 0.0, gaps).sum(axis) / (~is_missing).astype(gaps.dtype).sum(axis)


# Columns


def _surprise(ranks: Ranks, n_levels: np.ndarray, cells: Value) -> Value:
    """Minus the logarithm of the p-value of each cell; NaN if it is missing."""
    numbers, others = np.flatnonzero(n_levels == 0), np.flatnonzero(n_levels)
    parts = []
    if len(numbers):
        parts.append(_of_numbers([ranks.columns[j] for j in numbers], cells.columns(numbers)))
    if len(others):
        codes = np.arange(n_levels.max() + 1, dtype=np.float32)
        table = ranks.surprise(np.repeat(codes[:, None], len(n_levels), axis=1), among_them=False).T[others]
        parts.append(take(table, _codes(cells.columns(others))))
    order = np.argsort(np.concatenate([numbers, others]))
    return where(cells.isnan(), np.nan, concatenate(parts).columns(order))


def _of_numbers(columns: list[np.ndarray], cells: Value) -> Value:
    sizes = np.array([len(column) for column in columns])
    as_low = count_below(columns, cells + TIE, inclusive=True)
    as_high = sizes - count_below(columns, cells - TIE, inclusive=False)
    as_extreme = as_low.apply("Min", as_high).astype(np.float64)
    return -(2.0 * (as_extreme + 1.0) / (sizes + 1)).apply("Min", 1.0).log()


def _codes(cells: Value) -> Value:
    """Codes of categories; 0 if a cell is missing."""
    return where(cells.isnan(), 0.0, cells).astype(np.int64)


# Pairs of cells


def _costs(pairs: Pairs, n_levels: np.ndarray, rows: Value) -> Value:
    """Contribution of rare pairs to the score of each row, ``(n_rows, 1)``; a category-number pair counts for both cells."""
    features = _features_in_pairs(pairs, n_levels, rows)
    graph, categories, n_features = rows.graph, np.array(list(pairs.together)), len(pairs.alone)
    n_places = np.array([len(table) for table in pairs.together.values()])
    first_row = np.cumsum(n_places) - n_places
    place = (features.columns(categories) - pairs.first[categories]).apply("Min", n_places - 1) + first_row
    index = place.expand_dims(2) * n_features + features.expand_dims(1)
    seen = graph.constant(np.concatenate(list(pairs.together.values())).ravel()).at(index).astype(np.float64)
    alone = graph.constant(pairs.alone).at(features)
    expected = alone.columns(categories).expand_dims(2) * alone.expand_dims(1) / float(max(pairs.n_rows, 1))
    ratio = (expected + UNSEEN) / (seen + UNSEEN)
    cost = (ratio / RARER).apply("Max", 1.0).log()
    weight = PER_NAT * (1.0 + pairs.is_number) * (categories[:, None] != np.arange(len(n_levels)))
    return (cost * weight).sum(2).sum(1, keepdims=True)


def _features_in_pairs(pairs: Pairs, n_levels: np.ndarray, rows: Value) -> Value:
    """The feature of each cell; the last if it has none."""
    none = len(pairs.alone) - 1
    numbers, others = np.flatnonzero(pairs.is_number), np.flatnonzero(~pairs.is_number)
    parts = []
    if len(numbers):
        bins = count_below([pairs.bounds[j] for j in numbers], rows.columns(numbers), inclusive=False)
        parts.append(bins + pairs.first[numbers])
    table = np.full((len(others), int(n_levels.max()) + 1), none)
    for row, j in zip(table, others, strict=True):
        levels = pairs.bounds[j].astype(int)
        row[levels] = pairs.first[j] + np.arange(len(levels))
    parts.append(take(table, _codes(rows.columns(others))))
    features = concatenate(parts).columns(np.argsort(np.concatenate([numbers, others])))
    return where(rows.isnan(), none, features)
