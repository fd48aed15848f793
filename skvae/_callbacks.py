"""The tasks of a fit for the callbacks of scikit-learn 1.9 and later: the fit, its trainings and their epochs."""

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

Attributes = Callable[[Callable[[], list[Fit]]], dict[str, Any]]  # of an estimator with these fits


class FitTask:
    """A fit of an estimator, with the arguments that its callbacks get.

    Callbacks that compute a score need a y, but the scores of rows need none. Without a y they get X instead.
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
        """Begin the task of the next training, of one model or of several at once."""
        self.n_begun += 1
        name = "choose epochs" if is_judged else "train"
        if n_models > 1:
            name += f", {n_models} networks"
        elif self.n_trainings > 1:
            name += f", network {self.n_begun}"
        return self.begin(self.context.subcontext(task_name=name, max_subtasks=n_iter))

    def end(self, context: Any, attributes: Callable[[], dict[str, Any]] | None = None) -> bool:
        """End a task with the attributes of an estimator fitted so far; return whether a callback asks to stop."""
        of_copy = None if attributes is None else (lambda: {**attributes(), "_fit_task": None})
        return context.call_on_fit_task_end(estimator=self.estimator, **self.given, reconstruction_attributes=of_copy)


@contextmanager
def fit_task(estimator: Any, X: Any, y: Any, sample_weight: Any = None, n_trainings: int = 1) -> Iterator[None]:
    """Tell callbacks when a fit begins and ends, and let ``training_task`` report the trainings in it."""
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
    """A report that tells callbacks about a training within a fit and its epochs; None if there are no callbacks.

    ``attributes`` are those of an estimator fitted up to an epoch, or None if the estimator cannot be used before its fit ends.
    """
    task: FitTask | None = getattr(estimator, "_fit_task", None)
    if task is None or not has_callbacks(estimator):
        yield None
        return
    training = _Training(task, n_models, attributes)
    yield training
    training.end()


class _Training:
    """Tells callbacks about a training and its epochs."""

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
        """End the tasks that have begun, including an interrupted epoch."""
        for context in (self.epoch, self.context):
            if context is not None:
                self.task.end(context)
