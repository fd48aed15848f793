"""The tasks of a fit, told to the callbacks of scikit-learn 1.9 and later: the fit, its trainings, their epochs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from skvae._fit.fit import Fit, Report
from skvae._validation import has_callbacks
from skvae.core.training import TrainingResult

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An estimator without ``set_callbacks``."""


__all__ = ["CallbackSupportMixin", "fit_task", "training_task"]

Attributes = Callable[[Callable[[], list[Fit]]], dict[str, Any]]  # of an estimator whose fit has come to these


class FitTask:
    """A fit of an estimator, and what its callbacks are given.

    Callbacks that score want a y, and a score of rows needs none: where there is no y they are given X for it.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, n_trainings: int) -> None:
        self.estimator = estimator
        self.n_trainings = n_trainings
        self.n_begun = 0
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.given = {"X": X, "y": X if y is None else y, "metadata": metadata}
        self.context = estimator._init_callback_context(max_subtasks=n_trainings)

    def begin(self, context: Any) -> Any:
        return context.call_on_fit_task_begin(estimator=self.estimator, **self.given)

    def begin_training(self, is_judged: bool, n_models: int, n_iter: int) -> Any:
        """The task of a training, which is the next of several or of several models at once."""
        self.n_begun += 1
        name = "choose epochs" if is_judged else "train"
        if n_models > 1:
            name += f", {n_models} networks"
        elif self.n_trainings > 1:
            name += f", network {self.n_begun}"
        return self.begin(self.context.subcontext(task_name=name, max_subtasks=n_iter))

    def end(self, context: Any, attributes: Callable[[], dict[str, Any]] | None = None) -> bool:
        """End a task, of which a fitted estimator has these attributes; whether a callback asks to stop."""
        of_copy = None if attributes is None else (lambda: {**attributes(), "_fit_task": None})
        return context.call_on_fit_task_end(estimator=self.estimator, **self.given, reconstruction_attributes=of_copy)


@contextmanager
def fit_task(estimator: Any, X: Any, y: Any, sample_weight: Any = None, n_trainings: int = 1) -> Iterator[None]:
    """Tell callbacks of the beginning and the end of a fit, and let ``training_task`` tell of the trainings in it."""
    if not hasattr(estimator, "_init_callback_context"):
        yield
        return
    task = estimator._fit_task = FitTask(estimator, X, y, sample_weight, n_trainings)
    try:
        task.begin(task.context)
        yield
        task.end(task.context, attributes=dict)
    finally:
        del estimator._fit_task


@contextmanager
def training_task(estimator: Any, n_models: int, attributes: Attributes | None) -> Iterator[Report | None]:
    """A report that tells callbacks of a training within a fit and of its epochs; None where there are no callbacks.

    ``attributes`` are those of a fitted estimator of an epoch, where the estimator can be one before its fit ends.
    """
    task: FitTask | None = getattr(estimator, "_fit_task", None)
    if task is None or not has_callbacks(estimator):
        yield None
        return
    training = _Training(task, n_models, attributes)
    yield training
    training.end()


class _Training:
    """Tells callbacks of a training and of its epochs."""

    def __init__(self, task: FitTask, n_models: int, attributes: Attributes | None) -> None:
        self.task = task
        self.n_models = n_models
        self.attributes = attributes
        self.context: Any = None
        self.epoch: Any = None  # the one that has begun

    def __call__(self, n_iter: int, so_far: TrainingResult, fits: Callable[[], list[Fit]]) -> bool:
        if self.context is None:
            self.context = self.task.begin_training(bool(so_far.validation_losses), self.n_models, n_iter)
        is_asked_to_stop = self._end_epoch(fits)
        if not (is_asked_to_stop or so_far.stopped or len(so_far.losses) == n_iter):
            self.epoch = self.task.begin(self.context.subcontext(task_name="epoch"))
        return is_asked_to_stop

    def _end_epoch(self, fits: Callable[[], list[Fit]]) -> bool:
        epoch, self.epoch = self.epoch, None
        attributes = None if self.attributes is None else partial(self.attributes, fits)
        return epoch is not None and self.task.end(epoch, attributes)

    def end(self) -> None:
        """End the tasks that have begun, an epoch that was interrupted among them."""
        for context in (self.epoch, self.context):
            if context is not None:
                self.task.end(context)
