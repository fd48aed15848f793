"""Fits that continue with every call, for streams of rows that are seen once."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from skvae._fit.fit import Fit, Report, fit_rows, resumed, run_of, scaling_of, start, task_of
from skvae._fit.likelihood import as_before
from skvae._fit.noise import Residuals, set_noise
from skvae._fit.plan import plan_for
from skvae._fit.settings import Settings
from skvae._tables.lazy import Lazy, Remembered, summary_of
from skvae._tables.rows import Rows, Table, stacked
from skvae._tables.scaling import Scaling
from skvae._tables.summary import Summary
from skvae.core.model import Autoencoder
from skvae.core.training import Run, TrainingPlan, TrainingResult

ENOUGH_ROWS, ROWS_PER_COLUMN = 100, 5  # from which the networks are trained; IncrementalPCA's batches have as many per column
RATE = 1e-3  # constant, and therefore much lower than the peak of a falling rate
WARM_UP = 100  # steps


class Increments:
    """The state between calls: moments of all rows, the state of the optimiser, and the first rows while they are few.

    Attributes
    ----------
    waiting : Table or None
        All rows so far, in the units of the input, until there are enough to start from.
    summary : Summary or None
        Exact moments of all rows after the marginals; None after a fit by other means.
    n_calls, n_steps : int
        Number of calls and of training steps.
    moments : tuple of two Tensor, or None
        Adam's running means of the gradients and of their squares.
    """

    def __init__(self, is_waiting: bool) -> None:
        self.waiting = Table(np.empty((0, 0)), None) if is_waiting else None
        self.summary: Summary | None = None
        self.n_calls = 0
        self.n_steps = 0
        self.moments: tuple[torch.Tensor, torch.Tensor] | None = None

    def rows_for(self, table: Table) -> Table:
        """The rows to fit to when a table arrives: the table alone, or all rows so far."""
        if self.waiting is None or self.waiting.n_rows == 0:
            return table
        return stacked([self.waiting, table])

    def fit(
        self,
        settings: Sequence[Settings],
        rows: Rows,
        held_out: Table | None = None,
        earlier: tuple[Autoencoder, Scaling] | None = None,
        report: Report | None = None,
    ) -> list[Fit]:
        """Fit by one pass over some rows, from an earlier model if there is one; takes the place of ``fit_rows``."""
        its = replace(settings[0], early_stopping=False)
        new = summary_of(rows.blocks())
        self.summary = new if self.summary is None or self.waiting is not None else self.summary.merged(new)
        if its.is_solved_by_pca and self.summary.is_complete:
            return fit_rows([its], Lazy(Remembered(self.summary, rows.sample())))
        model, scaling = earlier or (None, scaling_of(its, rows))
        scaled = rows.changed(scaling)
        task = task_of(its, scaled, scaling, model)
        task = task.with_likelihood(its.likelihood or "gaussian") if model is None else as_before(task, model)
        model = start(task, scaled) if model is None else resumed(task, model)
        residuals = Residuals.of_training(model, scaled, task)  # before they are trained on
        result = None
        if self.waiting is None or are_enough(rows):
            plan = replace(plan_for(task, rows.n_rows), max_iter=1, learning_rate="constant")
            run = run_of(task, replace(plan, learning_rate_init=its.schedule.learning_rate_init or RATE), [model], scaled)
            result = TrainingResult([self._epoch(run)], [], 1, stopped=False)
        set_noise(task, model, residuals)
        return [Fit(model, scaling, scaled, task.penalties, result)]

    def settle(self, rows: Rows) -> None:
        """Record that rows have been fitted; the first ones are kept until there are enough."""
        if self.waiting is not None:
            self.waiting = None if are_enough(rows) else rows.gathered()

    def _epoch(self, run: Run) -> float:
        """Train on all rows once, with the state of the optimiser, and return the mean loss of the steps."""
        run.plan = _with_warm_up(run.plan, run.batches.n_batches)
        run.n_epochs, run.n_steps = self.n_calls, self.n_steps
        if self.moments is not None:
            run.optimizer.resume(*self.moments, self.n_steps)
        loss = run.epoch()
        if not math.isfinite(loss):
            raise FloatingPointError(f"The loss became {loss} in call {run.n_epochs} of partial_fit. Lower learning_rate_init.")
        self.n_calls, self.n_steps = run.n_epochs, run.n_steps
        self.moments = run.optimizer.mean.cpu(), run.optimizer.mean_square.cpu()
        run.finish(None)
        return loss


def are_enough(rows: Rows) -> bool:
    """Whether there are enough rows to start from."""
    return rows.n_rows >= max(ENOUGH_ROWS, ROWS_PER_COLUMN * rows.n_columns)


def _with_warm_up(plan: TrainingPlan, n_batches: int) -> TrainingPlan:
    """The plan of one epoch with a warm-up over its first steps."""
    return replace(plan, warmup=WARM_UP / (n_batches + 1))
