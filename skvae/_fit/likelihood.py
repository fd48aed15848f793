"""Which likelihood a model with a posterior has: one variance of the noise, or one per column where that is likelier.

The closed solutions are compared on rows that nothing was fitted to, of all folds where there are few. They are probabilistic
PCA, and factor analysis with and without a prior, in this order: noise that vanishes on all rows seen may cost any number of
nats on the next one, so that the next candidate is taken only for a clear gain.
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

FOLDS_BELOW = 20_000  # distinct rows; what is closed is cheap to cross-validate
CANDIDATES = (("gaussian", 0.0), ("gaussian_diag", 4.0), ("gaussian_diag", 0.0))  # likelihood and prior rows, safest first


def as_before(task: Task, earlier: Autoencoder) -> Task:
    """The likelihood of the fit that this one goes on from, where it is open."""
    if task.settings.likelihood is not None:
        return task
    return task.with_likelihood("gaussian_diag" if earlier.likelihood.per_column else "gaussian")


def decided(task: Task, rows: Rows, splits: list[Split], given: bool) -> tuple[Task, list[Split]]:
    """The task with its likelihood decided, and the splits with the closed solutions that are known now.

    ``given`` says that the held-out rows are the caller's own, which alone judge then.
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
    """A likelihood, its closed solutions on the training parts, and their log-likelihood of each held-out row."""

    def __init__(self, task: Task, splits: list[Split]) -> None:
        self.task = task
        density = replace(task, settings=replace(task.settings, beta=1.0))  # another beta's solution is no density's maximum
        self.solutions = [linear_gaussian(density, split.rows) for split in splits]
        pairs = zip(self.solutions, splits, strict=True)
        self.log_likelihood = np.concatenate([solution.log_likelihood(split.held_out.rows) for solution, split in pairs])
