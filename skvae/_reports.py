"""What the user sees of a training: a progress bar, and a warning if it was ended from outside."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from skvae._fit.fit import Fit, Report
from skvae._warnings import warn
from skvae.core.training import TrainingResult


@contextmanager
def bar_of(estimator: Any) -> Iterator[Report | None]:
    """A report that shows a progress bar with epoch, loss and validation loss; None if the estimator is not verbose."""
    if not estimator.verbose:
        yield None
        return
    with ExitStack() as bars:
        opened: list[tqdm] = []

        def report(n_iter: int, so_far: TrainingResult, _: Any) -> None:
            if not opened:
                name = f"{type(estimator).__name__}, training"
                opened.append(bars.enter_context(tqdm(desc=name, total=n_iter, unit="epoch")))
            opened[0].set_postfix(last_losses(so_far), refresh=False)
            opened[0].update(len(so_far.losses) - opened[0].n)

        yield report


def all_of(*reports: Report | None) -> Report | None:
    """One report that calls all of these; None if there are none."""
    given = [report for report in reports if report is not None]

    def report(n_iter: int, so_far: TrainingResult, fits: Callable[[], list[Fit]]) -> bool:
        answers = [each(n_iter, so_far, fits) for each in given]
        return any(answers)

    return report if given else None


def last_losses(result: TrainingResult) -> dict[str, str]:
    """The loss of the last epoch, and its validation loss if there is one."""
    curves = {"loss": result.losses, "validation": result.validation_losses}
    return {name: f"{curve[-1]:.4g}" for name, curve in curves.items() if curve and result.losses}


def warn_of_end(fit: Fit) -> None:
    """Warn if a training ran out of epochs or was interrupted."""
    if fit.result is None:
        return
    if fit.still_falling:
        warn_of_early_end(len(fit.result.losses))
    if fit.interrupted:
        n = len(fit.result.losses)
        warn(
            f"Training was interrupted after {n} epoch{'' if n == 1 else 's'}. {_model_of(fit.result)} "
            "Fit again to train to the end."
        )


def _model_of(result: TrainingResult) -> str:
    """A sentence that says of which epoch the model is."""
    if result.best_iter == 0:
        return "The model is that at the start of training."
    which = "the best so far on the held-out rows" if result.validation_losses else "the last complete one"
    return f"The model is that of epoch {result.best_iter}, {which}."


def warn_of_early_end(n_epochs: int) -> None:
    """Warn that a training ran out of epochs."""
    warn(
        f"The loss was still falling in epoch {n_epochs}, the last one. Set max_iter above {n_epochs}, or raise "
        "learning_rate_init.",
        ConvergenceWarning,
    )
