"""The likelihood of a model with a posterior: one noise variance, or one per column if that is more likely.

The closed-form solutions are compared on rows that they were not fitted to, on all folds of a small table. The candidates are
probabilistic PCA, and factor analysis with and without a prior. A column whose noise vanishes on the rows seen may cost any
number of nats on the next row, so each later candidate is chosen only for a clear gain.
"""

from dataclasses import replace

import numpy as np
import torch

from skvae._fit.rules import DENSITY, gain_in_standard_errors
from skvae._fit.splits import Split, folds
from skvae._fit.starts import linear_gaussian
from skvae._fit.task import Task
from skvae._tables.rows import Rows
from skvae.core.model import Autoencoder

FOLDS_BELOW = 20_000  # distinct rows; closed-form solutions are cheap to cross-validate
CANDIDATES = (("gaussian", 0.0), ("gaussian_diag", 4.0), ("gaussian_diag", 0.0))  # likelihood and prior rows, safest first


def as_before(task: Task, earlier: Autoencoder) -> Task:
    """The task with the likelihood of the fit that it continues from, if its own is open."""
    if task.settings.likelihood is not None:
        return task
    return task.with_likelihood("gaussian_diag" if earlier.likelihood.per_column else "gaussian")


def decided(task: Task, rows: Rows, splits: list[Split], given: bool) -> tuple[Task, list[Split]]:
    """The task with its likelihood decided, and the splits with the closed-form solutions that are known now.

    ``given`` says that the held-out rows are the caller's own; then only they judge.
    """
    if task.settings.likelihood is not None:
        return task, splits
    if not splits:
        return task.with_likelihood("gaussian"), splits
    trained_on_these = given or len(splits) > 1 or rows.is_streamed or rows.n_rows >= FOLDS_BELOW
    judges = splits if trained_on_these else folds(task, rows)
    weights = torch.from_numpy(np.concatenate([split.held_out.counts for split in judges]))
    best, *others = (_Candidate(task.with_likelihood(name, prior_rows), judges) for name, prior_rows in CANDIDATES)
    for other in others:
        gain = torch.from_numpy(other.log_likelihood - best.log_likelihood)
        worthwhile = DENSITY.is_worthwhile((gain @ weights).item(), task.n_columns * weights.sum().item())
        if worthwhile and gain_in_standard_errors(gain, weights) > DENSITY.standard_errors:
            best = other
    if not trained_on_these or task.settings.beta != 1:
        return best.task, splits
    return best.task, [replace(split, start=start) for split, start in zip(splits, best.solutions, strict=True)]


class _Candidate:
    """A likelihood, its closed-form solutions on the training parts, and their log-likelihood of each held-out row."""

    def __init__(self, task: Task, splits: list[Split]) -> None:
        self.task = task
        density = replace(task, settings=replace(task.settings, beta=1.0))  # only this solution maximises a density
        self.solutions = [linear_gaussian(density, split.rows) for split in splits]
        pairs = zip(self.solutions, splits, strict=True)
        self.log_likelihood = np.concatenate([solution.log_likelihood(split.held_out.rows) for solution, split in pairs])
