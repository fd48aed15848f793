"""What tests of training share: a short plan, runs of members, and values to compare."""

import torch

from skvae.core.batches import Batches
from skvae.core.objective import Objective
from skvae.core.training import Run, TrainingPlan

PLAN = TrainingPlan(
    max_iter=20,
    batch_size=16,
    learning_rate="cosine",
    learning_rate_init=0.01,
    weight_decay=0.0,
    shuffle=True,
    tol=0.0,
    n_iter_no_change=1000,
)


def members_of(models, rows, parts=(), plan=PLAN, objective=None):
    """A run of models from each of which a part of the rows is held out, as long as there are parts."""
    weights = torch.ones(len(models), len(rows), dtype=rows.dtype)
    for of_model, part in zip(weights, parts, strict=False):
        of_model[part] = 0
    held_out = [(rows[part], None) for part in parts]
    weights = weights / weights.mean(1, keepdim=True) if len(parts) else None
    return Run(models, batches_of(rows, weights, plan), plan, held_out, objective or Objective())


def batches_of(rows, weights=None, plan=PLAN, seed=0):
    """The rows in batches as a plan has them."""
    return Batches(rows, weights, plan.batch_size, plan.shuffle, torch.Generator().manual_seed(seed))


def values(model):
    return [p.detach().clone() for p in model.parameters()]


def assert_equal(first, second):
    torch.testing.assert_close(first, second, rtol=0, atol=0)
