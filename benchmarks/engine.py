"""The training of an estimator in the hands of a benchmark: the same pieces, without a fit around them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvae import VAETransformer
from skvae._fit.fit import task_of
from skvae._fit.pieces import build_model, build_objective
from skvae._fit.plan import plan_for
from skvae._fit.settings import Settings
from skvae._fit.task import Task
from skvae._tables.rows import Table
from skvae._tables.scaling import Scaling
from skvae.core.batches import Batches
from skvae.core.model import Autoencoder
from skvae.core.training import Run

CPU = torch.device("cpu")


def task_for(estimator: Any, X: np.ndarray, seed: int = 0, device: torch.device = CPU) -> Task:
    """What ``estimator.fit`` would fit to a standardised table of numbers."""
    settings = Settings.of(
        estimator.get_params(),
        np.zeros(X.shape[1], dtype=int),
        variational=isinstance(estimator, VAETransformer),
        is_complete=True,
        has_held_out=False,
        was_marked=None,
        seed=seed,
        device=device,
    )
    return task_of(settings, Table(X, None), Scaling.standard(Table(X, None)), None)


def model_of(estimator: Any, X: Tensor, seed: int = 0) -> Autoencoder:
    """An untrained model of standardised rows."""
    task = task_for(estimator, X.double().numpy(), seed)
    return build_model(task, task.generator())


def run_of(estimator: Any, X: Tensor, seed: int = 0, device: torch.device = CPU) -> Run:
    """An untrained model of standardised rows, ready to train."""
    table = Table(X.double().numpy(), None)
    task = task_for(estimator, table.rows, seed, device)
    generator = task.generator()
    model = build_model(task, generator).to(device)
    rows = X.to(next(model.parameters()).dtype).to(device)
    objective = build_objective(task, table, rows)
    plan = plan_for(task, len(X))
    batches = Batches(rows, None, plan.batch_size, plan.shuffle, generator)
    return Run([model], batches, plan, objective=objective)
