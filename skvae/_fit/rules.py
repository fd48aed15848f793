"""The guard, which decides when a gain over the start is accepted, and its thresholds."""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from skvae._fit.settings import Settings
from skvae.core.training import Judged, weighted_mean

N_FOLDS = 5  # folds of a cross-validation; with fewer than two rows in each, nothing is held out
CAPPED_FROM = 500  # held-out rows; fewer could miss a rise of the loss that is as large as its falls
HIDDEN_CELLS_REFIT_BELOW = 2000  # rows; larger tables hardly miss the held-out rows, because each row is hidden in many ways
FUTILE_FROM = 0.1  # share of the training before which it is never given up; half of it is the warm-up
FUTILE_AT_FIRST, FUTILE_RISE = 0.3, 2.0  # required share of the final certainty at first, and its rise; 1 after a third


@dataclass(frozen=True)
class Guard:
    """Conditions on a gain over the start, measured on rows that neither the start nor the training saw.

    Attributes
    ----------
    folds_below : int
        Number of distinct rows below which epochs are chosen by cross-validation; for more rows a single split is enough.
    refit_below : int
        Number of distinct rows below which a model is trained on all rows; larger tables hardly miss the held-out rows.
    worthwhile : float or None
        Smallest gain in its unit. Smaller gains do not survive training on other rows. None asks for certainty alone.
    standard_errors : float
        Number of standard errors by which the paired gain must exceed zero.
    of_few : float
        As ``standard_errors``, for few held-out rows, where the best of many epochs is easily that good by chance.
    few_rows : int
        Number of held-out rows below which rows are few.
    """

    folds_below: int
    refit_below: int
    worthwhile: float | None
    standard_errors: float = 2.0
    of_few: float = 3.0
    few_rows: int = 500

    def is_certain(self, judged: Judged) -> bool:
        """Whether the gain exceeds zero by enough standard errors."""
        return _certainty(judged) > self._asked_for(judged)

    def is_futile(self, progress: float, judged: Judged) -> bool:
        """Whether the gain is too uncertain at this point of the training to become certain."""
        asked_for = self._asked_for(judged)
        if progress < FUTILE_FROM or asked_for == 0:
            return False
        return _certainty(judged) < asked_for * min(1.0, FUTILE_AT_FIRST + FUTILE_RISE * progress)

    def _asked_for(self, judged: Judged) -> float:
        return self.of_few if len(judged.start) < self.few_rows else self.standard_errors

    def is_worthwhile(self, gain: float, unit: float) -> bool:
        """Whether a gain is large enough, as a share of its unit."""
        return self.worthwhile is None or gain >= self.worthwhile * unit


RECONSTRUCTION = Guard(folds_below=2000, refit_below=5000, worthwhile=0.01)  # share of the start's squared error
DENSITY = Guard(folds_below=5000, refit_below=5000, worthwhile=0.005)  # nats per cell


def guard_of(settings: Settings) -> Guard:
    """The guard of a fit.

    If the closed-form solution only approximates the model, a gain over it need not be certain. Without a posterior, and with a
    corruption, a penalty, a sparse or an activated code, the squared error of clean rows says nothing. Certainty in the model's
    own objective is then enough.
    """
    guard = DENSITY if settings.variational else RECONSTRUCTION
    if settings.is_approximated_by_pca:
        guard = replace(guard, standard_errors=0.0, of_few=0.0)
    if not settings.variational and not settings.is_plain:
        guard = replace(guard, worthwhile=None)
    if settings.only_fills_in:
        guard = replace(guard, folds_below=0, refit_below=HIDDEN_CELLS_REFIT_BELOW)
    return guard


def _certainty(judged: Judged) -> float:
    return gain_in_standard_errors(judged.start - judged.best, judged.weights)


def gain_in_standard_errors(fall: Tensor, weights: Tensor) -> float:
    """Mean of the paired differences of losses, start minus best, divided by the standard error of the mean.

    A few very large falls of the loss raise the standard error more than the mean, and would count against the gain. Falls
    above the largest rise are therefore capped at it if that makes the case clearer, which can only understate the mean. This
    needs enough rows for rises of this size to be seen.
    """
    as_they_are = _in_standard_errors(fall, weights)
    if len(fall) < CAPPED_FROM:
        return as_they_are
    return max(as_they_are, _in_standard_errors(fall.clamp(max=-fall.min()), weights))


def _in_standard_errors(values: Tensor, weights: Tensor) -> float:
    mean = weighted_mean(values, weights)
    variance = weighted_mean((values - mean).square(), weights)
    if variance == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / math.sqrt(variance / (len(values) - 1))
