"""What a fit leaves: a model, and the way from a table's cells to its networks and back."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvae._tables.rows import Scaling, in_blocks
from skvae._tables.schema import Schema
from skvae._warnings import warn
from skvae.core.device import is_available, threads_for, widest
from skvae.core.inference import CHUNK_ROWS, apply, evenly_spread_noise
from skvae.core.model import Autoencoder

RowFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model with all that applying it takes; arrays of cells in, arrays out.

    Rows are ``(n_rows, n_columns)`` in the units of the input, NaN where a cell is missing; *scaled* ones are as the networks
    see them.

    Attributes
    ----------
    schema : Schema
    scaling : Scaling
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
    scaling: Scaling
    module: Autoencoder
    device: torch.device
    is_number: np.ndarray
    in_unit_interval: bool
    beta: float
    seed: int

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The rows without cells of columns that had none at fit, of which nothing is known."""
        unknown = np.isnan(self.scaling.mean)
        return np.where(unknown, rows.dtype.type(np.nan), rows) if unknown.any() else rows

    def map_rows(self, function: RowFunction, rows: np.ndarray, dtype: Any = None, n_passes: int = 1) -> np.ndarray:
        """``function`` of the rows as the networks see them, in the dtype of the rows where no other is given.

        ``n_passes`` says how many times the function goes through the networks.
        """
        return self._map(function, rows, self.scaling.apply, dtype or rows.dtype, n_passes)

    def map_scaled(self, function: RowFunction, scaled: np.ndarray, dtype: Any = None, n_passes: int = 1) -> np.ndarray:
        """The same of rows, or codes, that are on the scale of the networks already."""
        return self._map(function, scaled, np.copy, dtype or scaled.dtype, n_passes)

    def expected(self, rows: np.ndarray) -> np.ndarray:
        """The cells that the model expects given each row's own code, in the units of the input."""
        return self.scaling.invert(self.map_rows(self.module.reconstruct, rows, dtype=np.float64))

    def decoded(self, codes: np.ndarray) -> np.ndarray:
        """The cells that the model expects given each code, in the units of the input."""
        return self.scaling.invert(self.map_scaled(self.module.decode, codes))

    def score_cells(self, rows: np.ndarray, cells: np.ndarray, n_draws: int) -> np.ndarray:
        """Log-likelihood of cells given the codes of rows, in the units of the input; NaN where the cell is missing."""
        both = self.scaling.apply(np.stack([rows, cells], axis=1))
        scores = self.map_scaled(self.log_prob_of_cells(n_draws), both, dtype=np.float64)
        return np.where(np.isnan(cells), np.nan, scores - np.log(self.scaling.scale))

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
        return np.where(np.isnan(self.scaling.mean), np.nan, noise) if variance.ndim else noise

    def _map(
        self,
        function: RowFunction,
        rows: np.ndarray,
        scale: Callable[[np.ndarray], np.ndarray],
        dtype: Any,
        n_passes: int,
    ) -> np.ndarray:
        like = next(self.module.parameters())
        work = 2.0 * n_passes * CHUNK_ROWS * sum(p.numel() for p in self.module.parameters())

        def apply_to(block: np.ndarray) -> np.ndarray:
            tensor = torch.from_numpy(scale(block)).to(like.dtype)
            with threads_for(work):
                return apply(function, tensor, self.device).numpy()

        return in_blocks(apply_to, rows).astype(dtype, copy=False)

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
