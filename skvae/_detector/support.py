"""Which rows of a table are learned from, where some of them may be odd."""

import math

import numpy as np
import torch
from torch import Tensor

from skvae._detector.known import hashes_of
from skvae._detector.neighbours import Metric
from skvae._detector.oddness import FAR

N_SAMPLES, SAMPLE_ROWS = 32, 16  # how many samples of which size a row has to be near to
FEW_ODD = 0.8  # share that is kept where few rows are odd; of less, the odd ones are near to each other's samples
N_ROUNDS = 3  # of samples, the later ones of the rows that were kept
ROWS_PER_SAMPLED = 10  # at least, so that in small tables, too, a row has little say in which others are near
WILD = FAR * math.asinh(1)  # 20 spreads, as networks see them
WILD_SHARE = 0.2  # of a sum of squares
LARGE_SHARE, LARGE = 0.02, 10  # of the table, and rows, from which on equal rows, or those of a level, are no anomaly
MOST_WILD = 0.1  # share of the rows that may be left out for a wild cell
MOST_LOST = 2.0  # share of the rows of such a level that may be left out, over that of the table


def supported(rows: np.ndarray, metric: Metric, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Positions of the share of the rows that are nearest to small random samples of them, in rising order.

    A row is as far from a sample as from the nearest row in it. A sample is too small to hold a row of every small group,
    however dense it is, so that groups of odd rows are left out along with single ones. Where less than 80 % are to be kept,
    samples are drawn twice more, from the rows that were kept. Equal rows that make up 2 % of the table stay whatever the
    samples are, as these cannot tell frequent patterns apart. A level that 2 % of the rows have loses at most twice as large a
    share of them as the table does. Rows without any cell are left out.

    References
    ----------
    T. R. Bandaragoda, K. M. Ting, D. Albrecht, F. T. Liu, Y. Zhu, J. R. Wells (2018). Isolation-based anomaly detection using
    nearest-neighbor ensembles. Computational Intelligence 34.
    """
    n_kept = max(2, int(fraction * len(rows)))
    if n_kept >= len(rows):
        return np.arange(len(rows))
    points = metric.features(torch.from_numpy(_filled(rows, rng).astype(np.float32)), power=1)
    large, empty = _in_large_groups(rows), np.isnan(rows).all(axis=1)
    kept = np.arange(len(rows))
    for _ in range(1 if fraction >= FEW_ODD else N_ROUNDS):
        distance = _distance_to_samples(points, kept, rng)
        distance = np.where(empty, np.inf, np.where(large, 0.0, distance))
        kept = np.sort(np.argsort(distance, kind="stable")[: max(n_kept, int(large.sum()))])
    return np.union1d(kept, _of_levels(rows[:, ~metric.is_number], distance, fraction))


def _distance_to_samples(points: Tensor, drawn_from: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sum over random samples of the distance of each point to the nearest in the sample, but not to itself."""
    far, n_rows = torch.zeros(len(points)), min(SAMPLE_ROWS, max(2, len(drawn_from) // ROWS_PER_SAMPLED))
    for _ in range(N_SAMPLES):
        sample = torch.from_numpy(rng.permutation(drawn_from)[:n_rows])
        distances = torch.cdist(points, points[sample], p=1.0)
        distances[sample, torch.arange(len(sample))] = math.inf
        far += distances.amin(1)
    return far.numpy()


def _of_levels(rows: np.ndarray, distance: np.ndarray, fraction: float) -> np.ndarray:
    """Positions of the nearest rows of each level that is too frequent to be an anomaly, so that it does not lose many."""
    kept = [np.array([], dtype=int)]
    share = max(0.0, 1 - MOST_LOST * (1 - fraction))
    for cells in rows.T:
        levels, counts = np.unique(cells[~np.isnan(cells)], return_counts=True)
        for level in levels[counts >= max(LARGE, LARGE_SHARE * len(rows))]:
            those = np.flatnonzero((cells == level) & np.isfinite(distance))
            kept.append(those[np.argsort(distance[those], kind="stable")[: int(share * len(those))]])
    return np.concatenate(kept)


def _filled(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Missing cells drawn from their columns, so that rows with holes are neither near to all others nor far."""
    filled, missing = rows.copy(), np.isnan(rows)
    for j in np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0)):
        seen = np.sort(rows[~missing[:, j], j])
        filled[missing[:, j], j] = seen[(rng.random(len(rows))[missing[:, j]] * len(seen)).astype(int)]
    return filled


def _in_large_groups(rows: np.ndarray) -> np.ndarray:
    """Which rows are equal to so many others that they are no anomalies."""
    _, group, n_equal = np.unique(hashes_of(rows), return_inverse=True, return_counts=True)
    return n_equal[group] >= max(LARGE, LARGE_SHARE * len(rows))


def are_wild(rows: np.ndarray, is_number: np.ndarray) -> np.ndarray:
    """Which rows have a cell beside which networks would see little else of its column.

    Such a cell lies beyond the knee, and its square is more than a fifth of the sum of squares of all that are no farther.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns)
        Cells as networks see them, squashed with the knee ``FAR``.
    is_number : ndarray of bool of shape (n_columns,)

    Returns
    -------
    wild : ndarray of bool of shape (n_rows,)
        No row where more than a tenth would be: in such a table wild cells are what is usual.
    """
    result = np.zeros(len(rows), dtype=bool)
    for cells in np.nan_to_num(rows[:, is_number]).T:
        order = np.argsort(-np.abs(cells), kind="stable")
        squares = np.square(cells[order])
        up_to_it = squares[::-1].cumsum()[::-1]
        wild = (squares > WILD**2) & (squares > WILD_SHARE * up_to_it)
        result[order[np.logical_and.accumulate(wild)]] = True
    return result if result.mean() <= MOST_WILD else np.zeros_like(result)
