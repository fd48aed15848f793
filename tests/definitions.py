"""What a detector measures, cell by cell in plain numpy, as its documentation says it."""

import math
from itertools import count

import numpy as np

MISMATCH = 2 / math.sqrt(math.pi)  # of two categories


def squashed(rows, table, n_levels, knee):
    """Cells of numbers by their distance from the table's median in spreads, linear up to the knee."""
    result = np.array(rows, dtype=float)
    for j, n in enumerate(n_levels):
        cells = np.asarray(table[:, j], dtype=float)
        cells = cells[~np.isnan(cells)]
        if n == 0 and len(cells):
            median = np.median(cells)
            clipped = np.clip(cells, np.percentile(cells, 5), np.percentile(cells, 95))
            spread = max(np.sqrt(np.pi / 2) * np.abs(clipped - median).mean(), spread_of_a_spike(cells))
            result[:, j] = knee * np.arcsinh((result[:, j] - median) / spread / knee)
    return result


def spread_of_a_spike(cells):
    """Of a column that leaves its median as often, and always by the median distance."""
    distances = np.abs(cells - np.median(cells))
    others = distances[distances > 0]
    return np.sqrt(len(others) / len(cells)) * np.median(others)


# Neighbours


def gaps_of_two(a, b, n_levels):
    """Difference of each cell of two rows; NaN where either is missing."""
    gaps = []
    for x, y, n in zip(a, b, n_levels, strict=True):
        if np.isnan(x) or np.isnan(y):
            gaps.append(np.nan)
        else:
            gaps.append(abs(x - y) if n == 0 else MISMATCH * (x != y))
    return np.array(gaps)


def nearest(row, memory, n_levels, k, own=None):
    """Positions of the k nearest rows but its ``own``: the sum of differences, scaled up by columns that have none."""
    distances = {}
    for i, other in zip(count(), memory):
        gaps = gaps_of_two(row, other, n_levels)
        seen = ~np.isnan(gaps)
        distances[i] = gaps[seen].sum() * len(gaps) / seen.sum() if seen.any() else math.inf
    distances.pop(own, None)
    return sorted(distances, key=distances.get)[:k]


def mean_gaps(row, memory, n_levels, k, own=None):
    """Mean difference of each cell from those of the nearest rows; NaN where none of them can be compared."""
    gaps = np.array([gaps_of_two(row, memory[i], n_levels) for i in nearest(row, memory, n_levels, k, own)])
    return np.array([np.mean(column[~np.isnan(column)]) if (~np.isnan(column)).any() else np.nan for column in gaps.T])


def gaps_to_neighbours(row, memory, n_levels, k, own=None):
    """Mean gaps to the nearest rows, over the root of what is usual around these."""
    usual = []
    for i in nearest(row, memory, n_levels, k, own):
        around = mean_gaps(memory[i], memory, n_levels, k, own=i)
        usual.append(np.nan_to_num(np.mean(around[~np.isnan(around)]) * len(row)) if (~np.isnan(around)).any() else 0.0)
    return mean_gaps(row, memory, n_levels, k, own) / np.sqrt(np.mean(usual) + 1e-3)


# Ranks


def p_value(others, cell, is_number):
    """Of a cell beside others of its column: two-sided for numbers, and by the rarity of the level for all else."""
    column = [other for other in others if not np.isnan(other)] + [cell]
    if is_number:
        low, high = (np.mean([sign * other <= sign * cell for other in column]) for sign in (1, -1))
        return min(1.0, 2 * min(low, high))
    return float(np.mean([column.count(other) <= column.count(cell) for other in column]))


# All together


def gauge(cells, weight):
    """The median of each column, and the mean row total beyond it over the weight."""
    typical = np.array([np.median(column[~np.isnan(column)]) for column in cells.T])
    return typical, np.nansum(np.maximum(cells - typical, 0), axis=1).mean() / weight


def outside(rows, table, n_levels, k, own=None):
    """Distances to neighbours and surprise at ranks of rows, each beside all of the table but its ``own`` row."""
    near, memory = squashed(rows, table, n_levels, 1.0), squashed(table, table, n_levels, 1.0)
    own = [None] * len(rows) if own is None else own
    gaps = [gaps_to_neighbours(row, memory, n_levels, k, i) for row, i in zip(near, own, strict=True)]
    ranks = np.full(np.shape(rows), np.nan)
    for (i, j), cell in np.ndenumerate(near):
        if not np.isnan(cell):
            others = memory[:, j] if own[i] is None else np.delete(memory[:, j], own[i])
            p = p_value(others, cell, n_levels[j] == 0)
            ranks[i, j] = -np.log(p if n_levels[j] == 0 else min(1.0, p / 0.05))
    return np.array(gaps), ranks
