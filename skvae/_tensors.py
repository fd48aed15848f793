"""Scaling of tensors by a fitted model, on the device of the tensors."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from skvae._tables.scaling import Scaling
from skvae.core.device import widest


@dataclass(frozen=True, eq=False)
class TensorScaling:
    """``Scaling`` for tensors on one device.

    Attributes
    ----------
    mean, scale : Tensor of shape (n_columns,)
        Mean and scale of each column, in the widest dtype of the device.
    varies : Tensor of bool of shape (n_columns,)
    """

    mean: Tensor
    scale: Tensor
    varies: Tensor

    @classmethod
    def of(cls, scaling: Scaling, device: torch.device) -> Self:
        """Convert a scaling of arrays."""
        mean, scale = (torch.tensor(values, dtype=widest(device), device=device) for values in (scaling.mean, scaling.scale))
        return cls(mean, scale, torch.tensor(scaling.varies, device=device))

    def apply(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.scale

    def invert(self, scaled: Tensor) -> Tensor:
        return torch.where(self.varies, scaled * self.scale + self.mean, self.mean)

    def log_jacobians(self, rows: Tensor) -> Tensor:
        return -torch.where(rows.isnan(), 0.0, self.scale.log()).sum(1)
