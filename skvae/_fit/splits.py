"""Rows to train on and rows to judge by."""

from dataclasses import dataclass

import numpy as np

from skvae._fit.linear_gaussian import LinearGaussian
from skvae._fit.rules import N_FOLDS
from skvae._fit.task import Task
from skvae._tables.rows import Rows, Table


@dataclass(frozen=True)
class Split:
    """Rows to train on, rows to judge by, and the closed-form solution on the former if it has been computed.

    ``part`` says which rows of the whole table are held out; it is None if they are the caller's own.
    """

    rows: Rows
    held_out: Table
    part: np.ndarray | None = None
    start: LinearGaussian | None = None


def folds(task: Task, rows: Rows) -> list[Split]:
    """Splits by which every row is held out once."""
    return [_hold_out(rows, part) for part in np.array_split(_order(task, rows), N_FOLDS)]


def single_split(task: Task, rows: Rows) -> list[Split]:
    """Hold out a random share of the rows, with at least ``N_FOLDS`` rows on either side."""
    order = _order(task, rows)
    n_held_out = round(task.settings.validation_fraction * len(order))
    return [_hold_out(rows, order[: min(max(n_held_out, N_FOLDS), len(order) - N_FOLDS)])]


def _order(task: Task, rows: Rows) -> np.ndarray:
    return np.random.default_rng(task.settings.seed).permutation(rows.n_rows)


def _hold_out(rows: Rows, part: np.ndarray) -> Split:
    part = np.sort(part)
    return Split(rows.take(np.setdiff1d(np.arange(rows.n_rows), part)), rows.take(part).gathered(), part)
