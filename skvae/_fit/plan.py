"""How to train on a table: batches, epochs, rate and patience."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from skvae._fit.settings import Schedule, layer_sizes
from skvae._fit.task import Task
from skvae.core.batches import dealt
from skvae.core.stopping import NoImprovement
from skvae.core.training import TrainingPlan

RATE = 1e-2  # the highest with which held-out errors of narrow tables still fell
NARROW = 16  # columns; beyond, with a posterior, the rate falls
WIDE = 256  # columns; beyond, a step of Adam moves a code by so much that the rate has to fall
BATCH = 128
BATCH_OF_LINEAR = 2048  # steps of a linear model are cheap, and what keeps it from PCA is the noise of small batches
STEPS = 1500
STEPS_OF_LINEAR = 3000
STEPS_OF_LINEAR_VARIATIONAL = 10_000  # draws are noisy, and the noise's variance has far to fall
STEPS_PER_ROOT_ROW = 60  # beyond 625 rows time grows with the square root of the table
STEPS_OF_FILLING = 750  # of models that only fill in, of which several are averaged
STEPS_PER_ROOT_ROW_OF_FILLING = 33
MIXED_BYTES, MOST_MIXED_BYTES = 1 << 25, 1 << 28  # of rows of a stream: 64 blocks of an array, and memory for a few of a file
MIXED_BLOCKS = 3
LEAST_PATIENCE = 10  # epochs
PATIENCE = 10  # its inverse share of the schedule, of whose progress much comes late
PATIENCE_OF_HIDDEN = 5  # where hidden cells are judged, whose losses go up and down


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
    """Rows of a stream that are mixed before they are dealt: of many blocks, or of a few where these are large."""
    return max(MIXED_BYTES // row_bytes, min(MIXED_BLOCKS * largest_block, MOST_MIXED_BYTES // row_bytes))


def step_work(params: Mapping[str, Any], n_columns: int) -> float:
    """Multiplications and additions of a training step, from the parameters of an estimator.

    By the number of columns, each of them one input: what levels and a code add is left out.
    """
    hidden, decoder = layer_sizes(params)
    n_products = sum(math.prod(pair) for sizes in ((n_columns, *hidden), (*decoder, n_columns)) for pair in pairwise(sizes))
    return 6.0 * n_products * (Schedule.of(params).batch_size or BATCH)


def stopping_of(task: Task, plan: TrainingPlan, judged: bool) -> NoImprovement:
    """Stop after epochs without progress; the training loss alone stops training only on request."""
    to_the_end = not judged and task.settings.schedule.n_iter_no_change is None
    patience = plan.max_iter + 1 if to_the_end else plan.n_iter_no_change
    return NoImprovement(plan.tol, patience, scale=task.n_columns / plan.gradient_scale)


def epochs_of(n_steps: float, n_rows: int, batch_size: int) -> int:
    """Epochs that make at least ``n_steps`` steps."""
    return math.ceil(n_steps / dealt(n_rows, batch_size)[0])


def _needs_exact_steps(task: Task) -> bool:
    """Whether the model is linear and PCA is what its steps must reach."""
    return task.settings.is_linear and not task.settings.marked


def _n_steps(task: Task, n_rows: int) -> float:
    if task.settings.only_fills_in:
        return max(STEPS_OF_FILLING, STEPS_PER_ROOT_ROW_OF_FILLING * math.sqrt(n_rows))
    least = STEPS
    if _needs_exact_steps(task):
        least = STEPS_OF_LINEAR_VARIATIONAL if task.settings.variational else STEPS_OF_LINEAR
    return max(least, STEPS_PER_ROOT_ROW * math.sqrt(n_rows))


def _rate(task: Task) -> float:
    """Every weight of a wide layer takes a step of the same size, and together they move a code too far."""
    if task.settings.variational:
        return RATE * min(1.0, NARROW / task.n_columns)
    return float(RATE * min(1.0, WIDE / task.n_columns) ** 2)
