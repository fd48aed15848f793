"""How to train on a table: batches, epochs, learning rate and patience."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from skvae._fit.settings import Schedule, layer_sizes
from skvae._fit.task import Task
from skvae.core.batches import dealt
from skvae.core.stopping import NoImprovement
from skvae.core.training import TrainingPlan

RATE = 1e-2  # the highest rate with which held-out errors of narrow tables still fell
NARROW = 16  # columns, beyond which the rate falls if there is a posterior
WIDE = 256  # columns, beyond which a step of Adam would move a code too far and the rate falls
BATCH = 128
BATCH_OF_LINEAR = 2048  # steps of a linear model are cheap, and the noise of small batches keeps it from PCA
STEPS = 1500
STEPS_OF_LINEAR = 3000
STEPS_OF_LINEAR_VARIATIONAL = 10_000  # draws are noisy, and the noise variance has far to fall
STEPS_PER_ROOT_ROW = 60  # beyond 625 rows time grows with the square root of the table
STEPS_OF_FILLING = 750  # for imputation, where several models are averaged
STEPS_PER_ROOT_ROW_OF_FILLING = 33
MIXED_BYTES, MOST_MIXED_BYTES = 1 << 25, 1 << 28  # rows of a stream to shuffle: 64 blocks of an array, or a few of a file
MIXED_BLOCKS = 3
LEAST_PATIENCE = 10  # epochs
PATIENCE = 10  # a tenth of the schedule, because much of its progress comes late
PATIENCE_OF_HIDDEN = 5  # a fifth of the schedule if hidden cells are judged, because their losses fluctuate


def plan_for(task: Task, n_rows: int) -> TrainingPlan:
    """How to train on ``n_rows`` rows."""
    settings, schedule = task.settings, task.settings.schedule
    batch_size = schedule.batch_size or (BATCH_OF_LINEAR if _needs_exact_steps(task) else BATCH)
    max_iter = schedule.max_iter or epochs_of(_n_steps(task, n_rows), n_rows, batch_size)
    patience = PATIENCE_OF_HIDDEN if settings.hides_cells else PATIENCE
    return TrainingPlan(
        max_iter=max_iter,
        batch_size=batch_size,
        learning_rate=schedule.learning_rate,
        learning_rate_init=schedule.learning_rate_init or _rate(task),
        weight_decay=schedule.weight_decay,
        shuffle=schedule.shuffle,
        tol=schedule.tol,
        gradient_scale=task.unit_variance if settings.likelihood == "mse" else 1.0,
        n_iter_no_change=schedule.n_iter_no_change or max(LEAST_PATIENCE, max_iter // patience),
        beta=settings.beta,
        beta_warmup=settings.beta_warmup,
    )


def n_mixed(row_bytes: int, largest_block: int) -> int:
    """Number of rows of a stream that are shuffled together: from many blocks, or from a few large ones."""
    return max(MIXED_BYTES // row_bytes, min(MIXED_BLOCKS * largest_block, MOST_MIXED_BYTES // row_bytes))


def step_work(params: Mapping[str, Any], n_columns: int) -> float:
    """Multiplications and additions of a training step, from the parameters of an estimator.

    Each column counts as one input; categories and the code are left out.
    """
    hidden, decoder = layer_sizes(params)
    n_products = sum(math.prod(pair) for sizes in ((n_columns, *hidden), (*decoder, n_columns)) for pair in pairwise(sizes))
    return 6.0 * n_products * (Schedule.of(params).batch_size or BATCH)


def stopping_of(task: Task, plan: TrainingPlan, judged: bool) -> NoImprovement:
    """Stop after epochs without progress. The training loss alone stops training only if ``n_iter_no_change`` is set."""
    to_the_end = not judged and task.settings.schedule.n_iter_no_change is None
    patience = plan.max_iter + 1 if to_the_end else plan.n_iter_no_change
    return NoImprovement(plan.tol, patience, scale=task.n_columns / plan.gradient_scale)


def epochs_of(n_steps: float, n_rows: int, batch_size: int) -> int:
    """Number of epochs that make at least ``n_steps`` steps."""
    return math.ceil(n_steps / dealt(n_rows, batch_size)[0])


def _needs_exact_steps(task: Task) -> bool:
    """Whether the model is linear and its steps must reach PCA."""
    return task.settings.is_linear and not task.settings.marked


def _n_steps(task: Task, n_rows: int) -> float:
    if task.settings.only_fills_in:
        return max(STEPS_OF_FILLING, STEPS_PER_ROOT_ROW_OF_FILLING * math.sqrt(n_rows))
    least = STEPS
    if _needs_exact_steps(task):
        least = STEPS_OF_LINEAR_VARIATIONAL if task.settings.variational else STEPS_OF_LINEAR
    return max(least, STEPS_PER_ROOT_ROW * math.sqrt(n_rows))


def _rate(task: Task) -> float:
    """Highest learning rate. It falls with the width, because the steps of the many weights of a wide layer add up."""
    if task.settings.variational:
        return RATE * min(1.0, NARROW / task.n_columns)
    return float(RATE * min(1.0, WIDE / task.n_columns) ** 2)
