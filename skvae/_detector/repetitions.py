"""Row weights as repetitions, for methods that compare rows; and the parts of a table that the caller holds out."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from skvae._tables.rows import SAMPLE_ROWS


def repetitions_of(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Number of repetitions of each row: its weight, rounded up or down at random so that the mean is kept.

    Weights with a mean below 1 over the rows of positive weight are scaled up to a mean of 1; otherwise weights that sum to 1
    would leave a single row. Weights are scaled down if the repeated table would exceed both its own size and 100,000 rows.
    """
    total, n_rows = float(weights.sum()), int(np.count_nonzero(weights))
    wanted = min(max(total, n_rows), max(SAMPLE_ROWS, n_rows))
    weights = weights if wanted == total else weights * (wanted / total)
    counts = np.floor(weights + rng.random(len(weights)))
    if counts.sum() < 2:  # too few to learn from
        counts = np.ceil(weights)
    if counts.sum() < 2:
        raise ValueError("sample_weight leaves a single row; a fit needs at least two, or one row with a weight of at least 2.")
    return counts.astype(np.int64)


def parts_of(cv: Any, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """The part of each row, which is the first split that holds it out, and the number of parts."""
    splits: Iterable[Any] = cv.split(rows) if hasattr(cv, "split") else cv
    tests = [_positions(split, len(rows)) for split in splits]
    if len(tests) < 2:
        raise ValueError(f"cv has {len(tests)} split; pass at least two, or the number of networks.")
    part = np.full(len(rows), len(tests))
    for i, test in reversed(list(enumerate(tests))):
        part[test] = i
    left_out = np.flatnonzero(part == len(tests))
    if len(left_out):
        raise ValueError(f"cv never holds out row {left_out[0]}; each row must be a test row of some split, as in KFold.")
    return part, len(tests)


def _positions(split: Any, n_rows: int) -> np.ndarray:
    """Test rows of a split."""
    try:
        _, test = split
        return np.arange(n_rows)[np.asarray(test)]
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"cv has {split!r:.60}, which is not a pair of training and test indices for {n_rows} rows; pass a list such as "
            "list(KFold(2).split(X)), or the number of networks."
        ) from error
