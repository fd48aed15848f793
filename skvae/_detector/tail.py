"""A threshold for odd rows where nobody says how many there are: the bulk of the scores tells what its tail should be."""

from dataclasses import dataclass

import numpy as np

MIDDLE, BULK = 0.5, 0.9  # quantiles of the scores; the tail is fitted between them, and what lies beyond may be odd
HEAVIEST = 1.0  # shape; a heavier tail has no mean, and is itself odd
LEAST_SCALE = 0.2  # of the distance between the quantiles, so that scores heaped up at the middle do not decide
TURNS = np.geomspace(1e-3, 1 / LEAST_SCALE, 100)  # over the same distance
LEAST_LENGTH = 1e-6  # of the same, in units of the scores, so that rounding is no reason to flag
FALSE_SHARE = 0.1  # of the rows that are flagged, in expectation


@dataclass(frozen=True)
class Tail:
    """A generalised Pareto distribution of the upper half of scores: exponential, or a power from some turn on.

    Beyond a score s above the middle m lies a share of ``1 / 2 * (1 + turn * (s - m)) ** (-1 / shape)``, where the turn is
    shape over scale, and ``1 / 2 * exp(-(s - m) / scale)`` where both are 0. Lighter tails than that are not fitted, so that
    a short one is no reason to flag.

    Attributes
    ----------
    middle : float
        Median of the scores.
    shape : float
        0 where the tail is exponential.
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
        """By maximum likelihood from scores between the quantiles; of those beyond, only that they are beyond counts.

        For each turn the best shape has a closed form, so that the turn alone is searched for.
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
        """The share of scores that would be as high; 1 up to the middle."""
        excess = np.maximum(scores - self.middle, 0.0) / self.scale
        log_share = -np.log1p(self.shape * excess) / self.shape if self.shape else -excess
        return np.where(scores > self.middle, 0.5 * np.exp(log_share), 1.0)

    def score_at(self, p_value: float) -> float:
        """The score whose p-value is this one, of less than a half."""
        nats = -np.log(2 * p_value)
        return float(self.middle + self.scale * (np.expm1(self.shape * nats) / self.shape if self.shape else nats))


def threshold_of(scores: np.ndarray) -> float:
    """The score above which rows are odd, such that a tenth at most of the rows beyond is expected to be normal.

    It lies half way between the least odd row that survives this false discovery rate and the next one. Where none survives, it
    is the score that a single row would need, which is above all that there are.

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
