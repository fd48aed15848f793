"""Threshold for anomalies if their share is unknown: the bulk of the scores determines the expected tail."""

from dataclasses import dataclass

import numpy as np

MIDDLE, BULK = 0.5, 0.9  # quantiles of the scores between which the tail is fitted; rows beyond may be anomalies
HEAVIEST = 1.0  # largest shape; a heavier tail has no mean
LEAST_SCALE = 0.2  # of the distance between the quantiles, so that many scores near the median do not decide
TURNS = np.geomspace(1e-3, 1 / LEAST_SCALE, 100)  # per distance between the quantiles
LEAST_LENGTH = 1e-6  # of the distance between the quantiles, so that rounding flags no row
FALSE_SHARE = 0.1  # expected share of normal rows among the flagged ones


@dataclass(frozen=True)
class Tail:
    """Generalised Pareto distribution of the upper half of the scores.

    The share of scores beyond s, above the median m, is ``1 / 2 * (1 + turn * (s - m)) ** (-1 / shape)`` with the turn ``shape
    / scale``, or ``1 / 2 * exp(-(s - m) / scale)`` if the shape is 0. Lighter tails are not fitted, so that a short tail flags
    no rows.

    Attributes
    ----------
    middle : float
        Median of the scores.
    shape : float
        0 for an exponential tail.
    scale : float

    References
    ----------
    S. D. Grimshaw (1993). Computing maximum likelihood estimates for the generalized Pareto distribution. Technometrics 35.
    """

    middle: float
    shape: float
    scale: float

    @classmethod
    def of(cls, scores: np.ndarray) -> "Tail":
        """Maximum-likelihood fit to the scores between the quantiles; scores beyond are treated as censored.

        For each turn the best shape has a closed form, so only the turn is searched for.
        """
        middle, end = map(float, np.quantile(scores, [MIDDLE, BULK]))
        excess, length = scores[scores > middle] - middle, max(end - middle, LEAST_LENGTH)
        seen = excess[excess < length]
        if not len(seen):
            return cls(middle, 0.0, length)
        inner, least = np.minimum(excess, length), LEAST_SCALE * length
        turns = TURNS / length
        logs = np.array([np.log1p(turn * inner).sum() for turn in turns])
        of_seen = np.array([np.log1p(turn * seen).sum() for turn in turns])
        shapes = np.clip(logs / len(seen), turns * least, HEAVIEST)
        likelihoods = -len(seen) * np.log(shapes / turns) - of_seen - logs / shapes
        best, scale = int(np.argmax(likelihoods)), max(float(inner.sum()) / len(seen), least)
        if -len(seen) * np.log(scale) - inner.sum() / scale >= likelihoods[best]:
            return cls(middle, 0.0, scale)
        return cls(middle, float(shapes[best]), float(shapes[best] / turns[best]))

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """The expected share of scores at least as high; 1 up to the median."""
        excess = np.maximum(scores - self.middle, 0.0) / self.scale
        log_share = -np.log1p(self.shape * excess) / self.shape if self.shape else -excess
        return np.where(scores > self.middle, 0.5 * np.exp(log_share), 1.0)

    def score_at(self, p_value: float) -> float:
        """The score with this p-value, which must be below 1/2."""
        nats = -np.log(2 * p_value)
        return float(self.middle + self.scale * (np.expm1(self.shape * nats) / self.shape if self.shape else nats))


def threshold_of(scores: np.ndarray) -> float:
    """The score above which rows are flagged, such that at most a tenth of them is expected to be normal.

    It lies half way between the lowest score that survives this false discovery rate and the next lower one. If none survives,
    it is the score that a single row would need, which exceeds all scores.

    References
    ----------
    Y. Benjamini, Y. Hochberg (1995). Controlling the false discovery rate. JRSS B 57.
    """
    tail, n_rows = Tail.of(scores), len(scores)
    falling = np.sort(scores)[::-1]
    survive = np.flatnonzero(tail.p_values(falling) <= FALSE_SHARE * np.arange(1, n_rows + 1) / n_rows)
    if not len(survive):
        return tail.score_at(FALSE_SHARE / n_rows)
    last = int(survive[-1])
    return float((falling[last] + falling[last + 1]) / 2)
