"""Which rows of a table are learned from, where some of them may be odd."""

import math

import numpy as np
import torch
from torch import Tensor

from skvae._detector.known import hashes_of
from skvae._detector.neighbours import Metric

N_SAMPLES, SAMPLE_ROWS = 32, 16  # how many samples of which size a row has to be near to
FEW_ODD = 0.8  # share that is kept where few rows are odd; of less, the odd ones are near to each other's samples
N_ROUNDS = 3  # of samples, the later ones of the rows that were kept
ROWS_PER_SAMPLED = 10  # at least, so that in small tables, too, a row has little say in which others are near
LARGE_SHARE, LARGE = 0.02, 10  # of the table, and rows, from which on a group of equal rows is no anomaly


def supported(rows: np.ndarray, metric: Metric, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Positions of the share of the rows that are nearest to small random samples of them, in rising order.

    A row is as far from a sample as from the nearest row in it. A sample is too small to hold a row of every small group,
    however dense it is, so that groups of odd rows are left out along with single ones. Where less than 80 % are to be kept,
    samples are drawn twice more, from the rows that were kept. Equal rows that make up 2 % of the table stay whatever the
    samples are, as these cannot tell frequent patterns apart. Rows without any cell are left out.

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
    return kept


def _distance_to_samples(points: Tensor, drawn_from: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sum over random samples of the distance of each point to the nearest in the sample, but not to itself."""
    far, n_rows = torch.zeros(len(points)), min(SAMPLE_ROWS, max(2, len(drawn_from) // ROWS_PER_SAMPLED))
    for _ in range(N_SAMPLES):
        sample = torch.from_numpy(rng.permutation(drawn_from)[:n_rows])
        distances = torch.cdist(points, points[sample], p=1.0)
        distances[sample, torch.arange(len(sample))] = math.inf
        far += distances.amin(1)
    return far.numpy()


def _filled(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Missing cells drawn from their columns, so that rows with holes are neither near to all others nor far."""
    filled, missing = rows.copy(), np.isnan(rows)
    for j in np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0)):
        filled[missing[:, j], j] = rng.choice(rows[~missing[:, j], j], missing[:, j].sum())
    return filled


def _in_large_groups(rows: np.ndarray) -> np.ndarray:
    """Which rows are equal to so many others that they are no anomalies."""
    _, group, n_equal = np.unique(hashes_of(rows), return_inverse=True, return_counts=True)
    return n_equal[group] >= max(LARGE, LARGE_SHARE * len(rows))
