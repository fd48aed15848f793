"""Choice of the training rows, if some rows may be anomalies."""

import math

import numpy as np
import torch
from torch import Tensor

from skvae._detector.known import hashes_of
from skvae._detector.neighbours import Metric
from skvae._detector.oddness import FAR

N_SAMPLES, SAMPLE_ROWS = 32, 16  # number and size of samples
FEW_ODD = 0.8  # kept share from which on one round suffices; below it, anomalies may dominate samples
N_ROUNDS = 3  # rounds of samples; later ones are drawn from the kept rows
ROWS_PER_SAMPLED = 10  # minimum, so that a single row has little influence in small tables
WILD = FAR * math.asinh(1)  # 20 spreads, after compression
WILD_SHARE = 0.2  # of a sum of squares
LARGE_SHARE, LARGE = 0.02, 10  # share and number of rows from which on equal rows, or a category, are no anomaly
MOST_WILD = 0.1  # share of the rows that may be left out for an outlying value
MOST_LOST = 2.0  # maximum share of rows lost by such a category, relative to the share lost by the table


def supported(rows: np.ndarray, metric: Metric, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Positions, in rising order, of the rows that are nearest to small random samples of the table.

    The distance of a row to a sample is that to the nearest row in it. Samples are too small to contain rows of every small
    group, however dense, so groups of anomalies are left out like single ones. If less than 80 % are kept, two more rounds of
    samples are drawn from the kept rows. There are three exceptions:

    * Equal rows that make up 2 % of the table are always kept, because samples cannot distinguish frequent patterns.
    * A category of at least 2 % of the rows loses at most twice the share that the table loses.
    * Rows in which all cells are missing are left out.

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
    """Sum over random samples of the distance of each point to the nearest other point of the sample."""
    far, n_rows = torch.zeros(len(points)), min(SAMPLE_ROWS, max(2, len(drawn_from) // ROWS_PER_SAMPLED))
    for _ in range(N_SAMPLES):
        sample = torch.from_numpy(rng.permutation(drawn_from)[:n_rows])
        distances = torch.cdist(points, points[sample], p=1.0)
        distances[sample, torch.arange(len(sample))] = math.inf
        far += distances.amin(1)
    return far.numpy()


def _of_levels(rows: np.ndarray, distance: np.ndarray, fraction: float) -> np.ndarray:
    """Positions of the nearest rows of each frequent category, so that it does not lose many rows."""
    kept = [np.array([], dtype=int)]
    share = max(0.0, 1 - MOST_LOST * (1 - fraction))
    for cells in rows.T:
        levels, counts = np.unique(cells[~np.isnan(cells)], return_counts=True)
        for level in levels[counts >= max(LARGE, LARGE_SHARE * len(rows))]:
            those = np.flatnonzero((cells == level) & np.isfinite(distance))
            kept.append(those[np.argsort(distance[those], kind="stable")[: int(share * len(those))]])
    return np.concatenate(kept)


def _filled(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows with missing cells drawn from their columns, so that incomplete rows are neither near to all others nor far."""
    filled, missing = rows.copy(), np.isnan(rows)
    for j in np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0)):
        seen = np.sort(rows[~missing[:, j], j])
        filled[missing[:, j], j] = seen[(rng.random(len(rows))[missing[:, j]] * len(seen)).astype(int)]
    return filled


def _in_large_groups(rows: np.ndarray) -> np.ndarray:
    """Which rows have so many copies that they are no anomalies."""
    _, group, n_equal = np.unique(hashes_of(rows), return_inverse=True, return_counts=True)
    return n_equal[group] >= max(LARGE, LARGE_SHARE * len(rows))


def are_wild(rows: np.ndarray, is_number: np.ndarray) -> np.ndarray:
    """Which rows have an outlying value that would dominate its column in training.

    Such a value lies beyond the knee, and its square is more than a fifth of the sum of squares of all values up to it.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns)
        Cells, squashed with the knee ``FAR``.
    is_number : ndarray of bool of shape (n_columns,)

    Returns
    -------
    wild : ndarray of bool of shape (n_rows,)
        All False if more than a tenth would be True: in such a table, outlying values are usual.
    """
    result = np.zeros(len(rows), dtype=bool)
    for cells in np.nan_to_num(rows[:, is_number]).T:
        order = np.argsort(-np.abs(cells), kind="stable")
        squares = np.square(cells[order])
        up_to_it = squares[::-1].cumsum()[::-1]
        wild = (squares > WILD**2) & (squares > WILD_SHARE * up_to_it)
        result[order[np.logical_and.accumulate(wild)]] = True
    return result if result.mean() <= MOST_WILD else np.zeros_like(result)
