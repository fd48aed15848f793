"""Noise variance from residuals, of rows that the model was not trained on if there are any."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae._fit.pieces import build_objective, tensors_of
from skvae._fit.task import Task
from skvae._tables.rows import Rows, Table
from skvae.core.inference import mean_squared_error
from skvae.core.model import Autoencoder

N_HIDINGS = 4  # draws of hidden cells to measure the noise on


@dataclass(frozen=True)
class Residuals:
    """Mean squared error of each column, and the total weight of its cells."""

    errors: Tensor
    weights: Tensor

    @classmethod
    def of(cls, parts: Iterable[tuple[Autoencoder, Table]], task: Task, device: torch.device | None = None) -> "Residuals":
        """Residuals of several tables, each reconstructed by its own model; on the task's device by default."""
        device = task.settings.device if device is None else device
        return cls._pooled(_squared_error(model, table, task, device) for model, table in parts)

    @classmethod
    def _pooled(cls, parts: Iterable[tuple[Tensor, Tensor]]) -> "Residuals":
        """Pool the errors and weights of several parts of a table."""
        total = pooled = torch.zeros((), dtype=torch.float64)
        for error, weight in parts:
            total = total + weight
            pooled = pooled + error * weight
        return cls(pooled / total.clamp(min=torch.finfo(total.dtype).tiny), total)

    @classmethod
    def of_training(cls, model: Autoencoder, rows: Rows, task: Task, device: torch.device | None = None) -> "Residuals":
        """Residuals of the rows that a model is fitted to: all rows for a linear model, otherwise a sample of a large table."""
        if not task.settings.is_linear:
            return cls.of(((model, block) for block in rows.sample().blocks()), task, device)
        own = cls.of(((model, block) for block in rows.blocks()), task, device)
        parts = rows.from_each_process((own.errors, own.weights))
        return own if len(parts) == 1 else cls._pooled(parts)

    @property
    def mean(self) -> float:
        """Mean over all cells."""
        return ((self.errors * self.weights).sum() / self.weights.sum()).item()

    def at_least(self, errors: Tensor) -> "Residuals":
        """Take the larger error of each column, because a few held-out rows may lack the outlying values of a column."""
        return replace(self, errors=torch.maximum(self.errors, errors))


def set_noise(task: Task, model: Autoencoder, residuals: Residuals) -> None:
    """Set the noise in closed form if the code is exact; with a posterior, noise and networks are trained together.

    In a mixed table the noise is that of hidden cells, and the trained noise is only a lower bound. A network can encode the
    outlying values of a column that it sees, and would be certain that other rows have none.
    """
    if task.settings.variational:
        if not task.settings.is_mixed:
            return
        trained: Tensor = model.likelihood.variance  # type: ignore[assignment]
        residuals = residuals.at_least(trained.detach().cpu().nan_to_num())
    model.likelihood.fit_(residuals.errors, residuals.weights)


def _squared_error(model: Autoencoder, table: Table, task: Task, device: torch.device) -> tuple[Tensor, Tensor]:
    """Squared error of the cells; of hidden cells, drawn several times, if the model was trained on hidden cells."""
    rows, weights = tensors_of(table, model, device)
    damage = build_objective(task, table, rows).corruption if task.settings.hides_cells else None
    if damage is None:
        return mean_squared_error(model, rows, rows, weights)
    generator = torch.Generator(rows.device).manual_seed(task.settings.seed)
    copies = rows.repeat(N_HIDINGS, 1)
    seen = torch.where(copies.isnan(), copies, damage(copies, generator)[0])
    hidden = torch.where(seen.isnan(), copies, torch.nan)
    return mean_squared_error(model, seen, hidden, None if weights is None else weights.repeat(N_HIDINGS))
