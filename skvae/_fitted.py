"""Result of a fit: a model, and the conversion between cells of a table and the scale of its networks."""

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
    """A trained model with everything needed to apply it; it takes and returns arrays of cells.

    Rows are ``(n_rows, n_columns)`` in the units of the input, with NaN for missing values; *scaled* rows are on the scale of
    the networks. If ``takes_tensors``, methods marked "also of tensors" accept tensors and return tensors on their device.

    Attributes
    ----------
    schema : Schema
    marginals : Marginals
    scaling : Scaling
        Scaling of the columns after the marginals.
    module : Autoencoder
    device : torch.device
        Device of the module.
    is_number : ndarray of bool of shape (n_columns,)
        Which columns hold numbers rather than booleans or categories.
    in_unit_interval : bool
        Whether numbers are scored as probabilities and must lie between 0 and 1.
    beta : float
        Weight of the divergence in training.
    seed : int
        Seed of the noise over which scores are averaged, in a model with a posterior.
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
        """Whether cells only need to be scaled, so that tensors can be applied directly."""
        return self.schema.library == "numpy" and bool(
            self.marginals.are_plain and self.is_number.all() and not self.is_empty.any()
        )

    def on(self, device: torch.device) -> "Fitted":
        """A copy on another device."""
        return replace(self, module=deepcopy(self.module).to(device), device=device)

    def read(self, rows: Cells) -> Cells:
        """The rows, with NaN in columns that were empty at fit, about which nothing is known."""
        unknown = self.is_empty
        return np.where(unknown, rows.dtype.type(np.nan), rows) if unknown.any() else rows

    def map_rows(self, function: RowFunction, rows: Cells, dtype: Any = None, n_passes: int = 1) -> Cells:
        """Apply ``function`` to scaled rows, and return the dtype of the rows unless one is given; also of tensors.

        ``n_passes`` is the number of passes of the function through the networks. For tensors, float64 means the widest dtype
        of their device.
        """
        if isinstance(rows, Tensor):
            return self._map_tensor(
                function, TensorScaling.of(self.scaling, rows.device).apply(rows), dtype, rows.dtype, n_passes
            )
        return self._map(function, rows, self.scaled, dtype or rows.dtype, n_passes)

    def map_scaled(self, function: RowFunction, scaled: Cells, dtype: Any = None, n_passes: int = 1) -> Cells:
        """Apply ``function`` to codes, or to rows that are already scaled; also of tensors."""
        if isinstance(scaled, Tensor):
            return self._map_tensor(function, scaled, dtype, scaled.dtype, n_passes)
        return self._map(function, scaled, np.copy, dtype or scaled.dtype, n_passes)

    def scaled(self, rows: np.ndarray) -> np.ndarray:
        """Rows on the scale of the networks."""
        return self.scaling.apply(self.marginals.apply(rows))

    def in_units(self, scaled: Cells) -> Cells:
        """Scaled cells in the units of the input; also of tensors."""
        if isinstance(scaled, Tensor):
            return TensorScaling.of(self.scaling, scaled.device).invert(scaled)
        return self.marginals.inverse(self.scaling.invert(scaled))

    def reconstructed(self, rows: Cells) -> Cells:
        """Reconstructions of the rows, in the units and the dtype of the input; also of tensors."""
        if isinstance(rows, Tensor):
            return self.in_units(self.map_rows(self.module.reconstruct, rows, dtype=np.float64)).to(rows.dtype)

        def reconstructed(block: np.ndarray) -> np.ndarray:
            return self.in_units(self.map_rows(self.module.reconstruct, block, dtype=np.float64)).astype(rows.dtype, copy=False)

        return in_blocks(reconstructed, rows)

    def expected(self, rows: np.ndarray) -> np.ndarray:
        """Expected cells given each row's own code, including the noise around it."""
        return expected_jointly([self], rows)

    def decoded(self, codes: Cells) -> Cells:
        """Rows decoded from codes, in the units of the input and the dtype of the codes; also of tensors."""
        rows = self.in_units(self.map_scaled(self.module.decode, codes))
        return rows.to(codes.dtype) if isinstance(rows, Tensor) else rows.astype(codes.dtype, copy=False)

    def log_jacobians(self, rows: Cells) -> Cells:
        """Log-density of rows in input units minus log-density on the scale of the networks; also of tensors."""
        if isinstance(rows, Tensor):
            return TensorScaling.of(self.scaling, rows.device).log_jacobians(rows)
        return in_blocks(self._log_jacobians, rows)

    def _log_jacobians(self, rows: np.ndarray) -> np.ndarray:
        of_scaling = self.scaling.log_jacobians(self.marginals.scored(rows))
        return of_scaling if self.marginals.are_plain else of_scaling + self.marginals.log_jacobians(rows).sum(axis=1)

    def score_cells(self, rows: np.ndarray, cells: np.ndarray, n_draws: int) -> np.ndarray:
        """Log-likelihood of cells given the codes of rows, in the units of the input; NaN for missing cells."""
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
        """The noise of ``n_draws`` codes, shared by all rows and calls."""
        like = next(self.module.parameters())
        noise = evenly_spread_noise(n_draws, self.module.n_components, self.seed)
        return noise.to(like.dtype).to(self.device)

    def noise_variance(self) -> np.ndarray | float | None:
        """Variance of a cell around its expectation, of standardised columns or in squared units of the input."""
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
        """Unscaled standard deviation of each normal cell around the decoded one; 0 if its cells are not normal."""
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
        """A state with tensors on the CPU, which opens on any machine."""
        return vars(self) | {"module": deepcopy(self.module).cpu()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = state["device"]
        if not is_available(device):
            warn(f"This model was fitted on {str(device)!r}, which is not available here; it uses the CPU instead.")
            device = torch.device("cpu")
        vars(self).update(state | {"device": device})
        self.module.to(device)


def sum_of_cells(function: RowFunction) -> RowFunction:
    """A function that sums over columns in the widest dtype of the device."""
    return lambda x: function(x).sum(1, dtype=widest(x.device))


def expected_jointly(models: Sequence[Fitted], rows: np.ndarray) -> np.ndarray:
    """Cells expected given each row, averaged over models: means of numbers, and the most probable categories."""
    first = models[0]
    joint = reduce(np.add, (each.map_rows(each.module.expect_of, rows, dtype=np.float64) for each in models)) / len(models)
    scaled = first.map_scaled(first.module.likelihood.cells, joint)
    deviations = np.mean([each.deviations for each in models], axis=0)
    return first.marginals.inverse(first.scaling.invert(scaled), deviations)
