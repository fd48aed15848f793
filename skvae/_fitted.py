"""What a fit leaves: a model, and the way from a table's cells to its networks and back."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvae._tables.marginals import Marginals
from skvae._tables.rows import in_blocks
from skvae._tables.scaling import Scaling
from skvae._tables.schema import Schema
from skvae._tensors import TensorScaling
from skvae._warnings import warn
from skvae.core.device import is_available, threads_for, widest
from skvae.core.inference import CHUNK_ROWS, apply, evenly_spread_noise
from skvae.core.model import Autoencoder

RowFunction = Callable[[Tensor], Tensor]
Cells = Any  # ndarray or Tensor


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model with all that applying it takes; arrays of cells in, arrays out.

    Rows are ``(n_rows, n_columns)`` in the units of the input, NaN where a cell is missing; *scaled* ones are as the networks
    see them. Where ``takes_tensors``, the methods that say so take tensors too, and give tensors on the same device.

    Attributes
    ----------
    schema : Schema
    marginals : Marginals
    scaling : Scaling
        Of the columns that the marginals make of the table's.
    module : Autoencoder
    device : torch.device
        Where the module is.
    is_number : ndarray of bool of shape (n_columns,)
        Which columns hold numbers, and not booleans or categories.
    in_unit_interval : bool
        Whether numbers are scored as probabilities, and so must lie between 0 and 1.
    beta : float
        Weight of the divergence that the module was trained with.
    seed : int
        Of the noise that scores of a model with a posterior are averaged over.
    """

    schema: Schema
    marginals: Marginals
    scaling: Scaling
    module: Autoencoder
    device: torch.device
    is_number: np.ndarray
    in_unit_interval: bool
    beta: float
    seed: int

    @property
    def takes_tensors(self) -> bool:
        """Whether cells are brought to the networks by arithmetic alone."""
        return self.schema.library == "numpy" and bool(
            self.marginals.are_plain and self.is_number.all() and not self.is_empty.any()
        )

    def on(self, device: torch.device) -> "Fitted":
        """The same on another device."""
        return replace(self, module=deepcopy(self.module).to(device), device=device)

    def read(self, rows: Cells) -> Cells:
        """The rows without cells of columns that had none at fit, of which nothing is known."""
        unknown = self.is_empty
        return np.where(unknown, rows.dtype.type(np.nan), rows) if unknown.any() else rows

    def map_rows(self, function: RowFunction, rows: Cells, dtype: Any = None, n_passes: int = 1) -> Cells:
        """``function`` of the rows as the networks see them, in the dtype of the rows where no other is given; of tensors too.

        ``n_passes`` says how many times the function goes through the networks. Of tensors, float64 stands for the widest dtype
        of their device.
        """
        if isinstance(rows, Tensor):
            return self._map_tensor(
                function, TensorScaling.of(self.scaling, rows.device).apply(rows), dtype, rows.dtype, n_passes
            )
        return self._map(function, rows, self.scaled, dtype or rows.dtype, n_passes)

    def map_scaled(self, function: RowFunction, scaled: Cells, dtype: Any = None, n_passes: int = 1) -> Cells:
        """The same of rows, or codes, that are on the scale of the networks already; of tensors too."""
        if isinstance(scaled, Tensor):
            return self._map_tensor(function, scaled, dtype, scaled.dtype, n_passes)
        return self._map(function, scaled, np.copy, dtype or scaled.dtype, n_passes)

    def scaled(self, rows: np.ndarray) -> np.ndarray:
        """Rows as the networks see them."""
        return self.scaling.apply(self.marginals.apply(rows))

    def in_units(self, scaled: Cells) -> Cells:
        """Cells in the units of the input, from scaled ones; of tensors too."""
        if isinstance(scaled, Tensor):
            return TensorScaling.of(self.scaling, scaled.device).invert(scaled)
        return self.marginals.inverse(self.scaling.invert(scaled))

    def reconstructed(self, rows: Cells) -> Cells:
        """Each row decoded from its own code, in the units and the dtype of the input; of tensors too."""
        if isinstance(rows, Tensor):
            return self.in_units(self.map_rows(self.module.reconstruct, rows, dtype=np.float64)).to(rows.dtype)

        def reconstructed(block: np.ndarray) -> np.ndarray:
            return self.in_units(self.map_rows(self.module.reconstruct, block, dtype=np.float64)).astype(rows.dtype, copy=False)

        return in_blocks(reconstructed, rows)

    def expected(self, rows: np.ndarray) -> np.ndarray:
        """The cells that the model expects given each row's own code, with the noise around it."""
        return expected_jointly([self], rows)

    def decoded(self, codes: Cells) -> Cells:
        """Rows decoded from codes, in the units of the input and the dtype of the codes; of tensors too."""
        rows = self.in_units(self.map_scaled(self.module.decode, codes))
        return rows.to(codes.dtype) if isinstance(rows, Tensor) else rows.astype(codes.dtype, copy=False)

    def log_jacobians(self, rows: Cells) -> Cells:
        """Log density in input units minus log density on the scale of the networks, of rows; of tensors too."""
        if isinstance(rows, Tensor):
            return TensorScaling.of(self.scaling, rows.device).log_jacobians(rows)
        return in_blocks(self._log_jacobians, rows)

    def _log_jacobians(self, rows: np.ndarray) -> np.ndarray:
        of_scaling = self.scaling.log_jacobians(self.marginals.scored(rows))
        return of_scaling if self.marginals.are_plain else of_scaling + self.marginals.log_jacobians(rows).sum(axis=1)

    def score_cells(self, rows: np.ndarray, cells: np.ndarray, n_draws: int) -> np.ndarray:
        """Log-likelihood of cells given the codes of rows, in the units of the input; NaN where the cell is missing."""
        both = np.stack([self.scaled(rows), self.scaled(cells)], axis=1)
        scores = self.map_scaled(self.log_prob_of_cells(n_draws), both, dtype=np.float64)
        scores -= np.where(np.isnan(self.marginals.scored(cells)), 0.0, np.log(self.scaling.scale))
        return np.where(np.isnan(cells), np.nan, self.marginals.folded(scores) + self.marginals.log_jacobians(cells))

    def log_prob_of_cells(self, n_draws: int) -> RowFunction:
        """From scaled rows and the cells to score, ``(n_rows, 2, n_columns)``, to the log-probability of each.

        With a posterior, it is averaged over ``n_draws`` codes of each row.
        """
        if not self.module.bottleneck.has_posterior:
            return lambda both: self.module.log_prob_given(both[:, 0].contiguous(), both[:, 1].contiguous())
        noise = self.noise(n_draws)
        return lambda both: self.module.log_predictive(both[:, 0].contiguous(), both[:, 1].contiguous(), noise, self.beta)

    def noise(self, n_draws: int) -> Tensor:
        """The noise of ``n_draws`` codes, the same for all rows and calls."""
        like = next(self.module.parameters())
        noise = evenly_spread_noise(n_draws, self.module.n_components, self.seed)
        return noise.to(like.dtype).to(self.device)

    def noise_variance(self) -> np.ndarray | float | None:
        """Variance of a cell around what is expected of it, of standardised columns or in squared units of the input."""
        variance = self.module.likelihood.variance
        if variance is None or bool(variance.isnan().all()):
            return None
        noise: np.ndarray = variance.detach().cpu().double().numpy()[()] * self.scaling.error_unit
        return np.where(self.is_empty, np.nan, noise[: len(self.is_empty)]) if variance.ndim else noise

    @property
    def is_empty(self) -> np.ndarray:
        """Which columns of the table had no cell at fit."""
        empty: np.ndarray = np.isnan(self.scaling.mean)[: len(self.is_number)]
        return empty

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of each normal cell around what is decoded, before it is scaled; 0 where cells are not normal."""
        variance = self.noise_variance()
        return np.sqrt(np.nan_to_num(0.0 if variance is None else variance)) * self.scaling.scale[: len(self.is_number)]

    def _map(
        self,
        function: RowFunction,
        rows: np.ndarray,
        scale: Callable[[np.ndarray], np.ndarray],
        dtype: Any,
        n_passes: int,
    ) -> np.ndarray:
        def apply_to(block: np.ndarray) -> np.ndarray:
            return self._apply(function, torch.from_numpy(scale(block)), n_passes).numpy()

        return in_blocks(apply_to, rows).astype(dtype, copy=False)

    def _map_tensor(self, function: RowFunction, scaled: Tensor, dtype: Any, own: torch.dtype, n_passes: int) -> Tensor:
        return self._apply(function, scaled, n_passes).to(own if dtype is None else widest(scaled.device))

    def _apply(self, function: RowFunction, scaled: Tensor, n_passes: int) -> Tensor:
        parameters = list(self.module.parameters())
        with threads_for(2.0 * n_passes * CHUNK_ROWS * sum(p.numel() for p in parameters)):
            return apply(function, scaled.to(parameters[0].dtype), self.device)

    def __getstate__(self) -> dict[str, Any]:
        """A state whose tensors are on the CPU, which opens on any machine."""
        return vars(self) | {"module": deepcopy(self.module).cpu()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = state["device"]
        if not is_available(device):
            warn(f"This model was fitted on {str(device)!r}, which is not available here; it goes on on the CPU.")
            device = torch.device("cpu")
        vars(self).update(state | {"device": device})
        self.module.to(device)


def sum_of_cells(function: RowFunction) -> RowFunction:
    """The sum over the columns of a function's result, with the most digits that the device has."""
    return lambda x: function(x).sum(1, dtype=widest(x.device))


def expected_jointly(models: Sequence[Fitted], rows: np.ndarray) -> np.ndarray:
    """The cells that models of one table expect on average given each row: means of numbers, and the most probable levels."""
    first = models[0]
    joint = reduce(np.add, (each.map_rows(each.module.expect_of, rows, dtype=np.float64) for each in models)) / len(models)
    scaled = first.map_scaled(first.module.likelihood.cells, joint)
    deviations = np.mean([each.deviations for each in models], axis=0)
    return first.marginals.inverse(first.scaling.invert(scaled), deviations)
