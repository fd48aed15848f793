"""Application of a model to any number of rows."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from skvae.core.model import Autoencoder

CHUNK_ROWS = 64  # on the CPU, so that a single row stays cheap
POINT_SPACING = 2.0**-30  # of Sobol points, which may be zero
CHUNK_CELLS = 1 << 21  # limit for chunks of wide rows
DEVICE_CHUNK_ROWS = 8192  # on other devices, which a chunk must keep busy


@torch.inference_mode()
def apply(function: Callable[[Tensor], Tensor], rows: Tensor, device: torch.device) -> Tensor:
    """Compute ``function(rows)`` on a device, with the result on the device of the rows.

    The result of a row does not depend on other rows, to the last bit. The rounding of a matrix product depends on the number
    of rows, so all chunks have one shape, and the last is padded with zeros. Memory beyond the result is constant.
    """
    chunk_rows = CHUNK_ROWS if device.type == "cpu" else DEVICE_CHUNK_ROWS
    buffer = torch.zeros(chunk_rows, *rows.shape[1:], dtype=rows.dtype, device=device)
    result: Tensor | None = None  # one allocation: many small ones would fragment memory
    for start in range(0, max(1, len(rows)), chunk_rows):
        chunk = rows[start : start + chunk_rows]
        buffer[: len(chunk)].copy_(chunk)
        buffer[len(chunk) :].zero_()
        of_chunk = function(buffer)[: len(chunk)]
        if result is None:
            result = torch.empty(len(rows), *of_chunk.shape[1:], dtype=of_chunk.dtype, device=rows.device)
        result[start : start + len(chunk)].copy_(of_chunk)
    assert result is not None  # noqa: S101
    return result


def evenly_spread_noise(n_samples: int, n_components: int, seed: int) -> Tensor:
    """Standard normal vectors that are more evenly spread than independent ones, which reduces the error of a mean.

    They are scrambled Sobol points (Owen, 1998). Each is standard normal by itself. Beyond the maximum dimension of Sobol
    points, vectors are independent.
    """
    if n_components > SobolEngine.MAXDIM:
        return torch.randn(n_samples, n_components, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    points = SobolEngine(n_components, scramble=True, seed=seed).draw(n_samples, dtype=torch.float64)
    return torch.special.ndtri(points.clamp(POINT_SPACING / 2, 1 - POINT_SPACING / 2))


def jacobian(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The derivative of a function of rows, ``(n, n_in) -> (n, n_out, n_in)``."""
    of_all = torch.func.jacrev(lambda rows: function(rows).sum(0))  # rows do not depend on each other
    return lambda rows: of_all(rows).movedim(1, 0)


@torch.no_grad()
def mean_squared_error(model: Autoencoder, seen: Tensor, rows: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean squared reconstruction error of each column, on the scale of the networks, and the total weight of its cells.

    Means are weighted means over observed cells. ``seen`` are the rows that the model sees. A column without observed cells has
    an error and a weight of zero.
    """
    weights = torch.ones(len(rows)) if weights is None else weights.cpu()
    total, squares = torch.zeros(2, rows.shape[1], dtype=torch.float64)
    chunk_rows = min(DEVICE_CHUNK_ROWS, max(CHUNK_ROWS, CHUNK_CELLS // rows.shape[1]))
    for start in range(0, len(rows), chunk_rows):
        some = slice(start, start + chunk_rows)
        errors = model.squared_error_given(seen[some], rows[some]).cpu().double()
        counts = model.likelihood.scored(rows[some]).cpu() * weights[some, None].double()
        total += counts.sum(0)
        squares += (errors * counts).sum(0)
    return squares / total.clamp(min=torch.finfo(torch.float64).tiny), total
