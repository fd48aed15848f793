"""Weights of rows as repetitions, for what compares rows one by one; and the parts of a table that the caller holds out."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from skvae._tables.rows import SAMPLE_ROWS


def repetitions_of(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each row is taken: as often as its weight says, which is rounded up or down at random so that its mean is kept.

    Weights with a mean below 1 over the rows that have some are raised to a mean of 1, as those that sum to 1 must be. Those
    that would make the table larger than it is, and than 100,000 rows, are lowered to that.
    """
    total, n_rows = float(weights.sum()), int(np.count_nonzero(weights))
    wanted = min(max(total, n_rows), max(SAMPLE_ROWS, n_rows))
    weights = weights if wanted == total else weights * (wanted / total)
    counts = np.floor(weights + rng.random(len(weights)))
    if counts.sum() < 2:  # too few to learn from
        counts = np.ceil(weights)
    if counts.sum() < 2:
        raise ValueError("sample_weight leaves a single row; a fit takes at least two, or one row with a weight of 2 or more.")
    return counts.astype(np.int64)


def parts_of(cv: Any, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """The part of each row, by the first split whose test rows it is among, and the number of parts."""
    splits: Iterable[Any] = cv.split(rows) if hasattr(cv, "split") else cv
    tests = [_positions(split, len(rows)) for split in splits]
    if len(tests) < 2:
        raise ValueError(f"cv holds {len(tests)} split; give at least two, or the number of networks.")
    part = np.full(len(rows), len(tests))
    for i, test in reversed(list(enumerate(tests))):
        part[test] = i
    left_out = np.flatnonzero(part == len(tests))
    if len(left_out):
        raise ValueError(f"cv never holds out row {left_out[0]}; each row must be among the test rows of a split, as in KFold.")
    return part, len(tests)


def _positions(split: Any, n_rows: int) -> np.ndarray:
    """Test rows of a split."""
    try:
        _, test = split
        return np.arange(n_rows)[np.asarray(test)]
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"cv holds {split!r:.60}, which is no pair of training and test rows of these {n_rows} rows; give what "
            "KFold(2).split(X) gives, as a list, or the number of networks."
        ) from error
