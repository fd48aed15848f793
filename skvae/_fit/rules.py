"""When what training adds to the start is believed: the guard, and the numbers behind it."""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from skvae._fit.settings import Settings
from skvae.core.training import Judged, weighted_mean

N_FOLDS = 5  # of a cross-validation; with fewer than two rows in each nothing is held out
CAPPED_FROM = 500  # held-out rows; among fewer, a rise of the loss as large as its falls could have been missed
HIDDEN_CELLS_REFIT_BELOW = 2000  # rows; the rows held out of more are hardly missed by a model that sees each many times
FUTILE_FROM = 0.1  # share of the training from which on it may be given up; up to half of that, steps are not of full size
FUTILE_AT_FIRST, FUTILE_RISE = 0.3, 2.0  # share of the certainty asked for that it must show, and how it rises; 1 after a third


@dataclass(frozen=True)
class Guard:
    """What a gain over the start must be, on rows that neither the start nor the training saw.

    Attributes
    ----------
    folds_below : int
        Distinct rows below which the number of epochs is chosen by cross-validation; a single split of more is enough.
    refit_below : int
        Distinct rows below which the model is then trained on all rows; the rows held out of more are hardly missed.
    worthwhile : float or None
        Least gain in its unit, as smaller ones do not survive training on other rows; None asks for no more than certainty.
    standard_errors : float
        By how many standard errors the paired gain must exceed zero.
    of_few : float
        The same with few rows held out, where the best of many epochs is easily that good by chance.
    few_rows : int
        How many held-out rows count as few.
    """

    folds_below: int
    refit_below: int
    worthwhile: float | None
    standard_errors: float = 2.0
    of_few: float = 3.0
    few_rows: int = 500

    def is_certain(self, judged: Judged) -> bool:
        """Whether the gain exceeds zero by more standard errors than are asked for."""
        return _certainty(judged) > self._asked_for(judged)

    def is_futile(self, progress: float, judged: Judged) -> bool:
        """Whether a gain is too uncertain for this share of the training to be asked for much more of it."""
        asked_for = self._asked_for(judged)
        if progress < FUTILE_FROM or asked_for == 0:
            return False
        return _certainty(judged) < asked_for * min(1.0, FUTILE_AT_FIRST + FUTILE_RISE * progress)

    def _asked_for(self, judged: Judged) -> float:
        return self.of_few if len(judged.start) < self.few_rows else self.standard_errors

    def is_worthwhile(self, gain: float, unit: float) -> bool:
        """Whether a gain is large enough, as a share of its unit."""
        return self.worthwhile is None or gain >= self.worthwhile * unit


RECONSTRUCTION = Guard(folds_below=2000, refit_below=5000, worthwhile=0.01)  # of the start's squared error
DENSITY = Guard(folds_below=5000, refit_below=5000, worthwhile=0.005)  # nats per cell


def guard_of(settings: Settings) -> Guard:
    """The guard of a fit.

    A gain over a closed solution that only approximates the model need not be certain. Without a posterior, and with a
    corruption, a penalty, a sparse or an activated code, the squared error of clean rows says nothing, so that certainty in the
    model's own objective is enough.
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
    """Mean of paired differences of losses, start minus best, over the standard error of that mean.

    A few enormous falls raise the error faster than the mean, and would speak against what they prove. So falls above the
    largest rise count as that much where it makes the case clearer, which can only understate the mean; but only with so many
    rows that rises as large would have been seen.
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
