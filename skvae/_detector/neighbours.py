"""Nearest rows of the memory, and the distance to them cell by cell. The memory is the rows that are kept for comparison."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from skvae.core.device import is_available, threads_for
from skvae.core.inference import CHUNK_ROWS, apply

N_CANDIDATES = 32  # additional candidates by squared distance; the nearest of all by absolute distance are chosen
MISMATCH = 2 / math.sqrt(math.pi)  # distance of two categories: the mean distance of two standard normal cells
TIE = 2.0**-14  # spreads; distances are rounded to it, so that rounding of sums does not decide ties
LEAST_SCALE = 1e-3  # added to the local distance, which is zero if rows are repeated


@dataclass(frozen=True)
class Metric:
    """Distance of two rows: the sum over columns of absolute differences, or of ``MISMATCH`` if categories differ.

    Columns in which either cell is missing are left out, and the sum is scaled up in proportion.

    Attributes
    ----------
    n_levels : ndarray of shape (n_columns,)
        0 for numbers, 1 for booleans, else the number of categories.
    """

    n_levels: np.ndarray

    @property
    def is_number(self) -> np.ndarray:
        """Whether each column holds numbers."""
        return self.n_levels == 0

    def gaps(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance in each column; NaN if a cell is missing."""
        difference = (x - y).abs_()
        if self.is_number.all():
            return difference
        is_number = torch.from_numpy(self.is_number).to(x.device)
        return torch.where(is_number, difference, difference.clamp(max=1).ceil() * MISMATCH)

    def distances(self, x: Tensor, y: Tensor, complete: bool = False) -> Tensor:
        """Distance of rows, infinite if no column is observed in both; ``complete`` says that no cell is missing."""
        gaps = self.gaps(x, y)
        return gaps.sum(-1) if complete else total_of(gaps).nan_to_num(math.inf)

    def features(self, x: Tensor, power: int) -> Tensor:
        """Vectors whose differences, raised to ``power`` and summed, give the distance; missing cells are 0."""
        if self.is_number.all():
            return x.nan_to_num(0.0)
        sizes = np.maximum(self.n_levels, 1)
        column = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)).to(x.device)
        level = torch.from_numpy(np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)).to(x.device)
        n_levels = torch.from_numpy(np.repeat(self.n_levels, sizes)).to(x.device)
        cells = x[..., column]
        two_differ = (cells == level).to(x.dtype) * (MISMATCH / 2 ** (1 / power))
        one_differs = torch.where(n_levels == 0, cells, cells * MISMATCH)
        return torch.where(n_levels > 1, two_differ, one_differs).nan_to_num(0.0)


def total_of(gaps: Tensor) -> Tensor:
    """Sum over columns, with the mean in place of NaN; NaN if all are."""
    return gaps.nanmean(-1) * gaps.shape[-1]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Rows to compare with, and the distance of each to its own neighbours.

    Attributes
    ----------
    rows : ndarray of shape (n_memory, n_columns)
        Squashed cells in float32, NaN where missing.
    metric : Metric
    n_neighbors : int
    scales : ndarray of shape (n_memory,)
        Mean distance of each row to its nearest others, summed over columns.
    device : torch.device
    """

    rows: np.ndarray
    metric: Metric
    n_neighbors: int
    scales: np.ndarray
    device: torch.device

    @classmethod
    def of(cls, rows: np.ndarray, metric: Metric, n_neighbors: int, device: torch.device) -> tuple["Neighbours", np.ndarray]:
        """Neighbours among at least two rows, and the ``gaps`` of these rows themselves."""
        rows = rows.astype(np.float32, copy=False)
        plain = cls(rows, metric, min(n_neighbors, len(rows) - 1), np.zeros(len(rows)), device)
        nearest = plain.nearest(rows, among_them=True)
        scales = np.nan_to_num(total_of(torch.from_numpy(plain._mean_gaps(rows, nearest))).numpy())
        self = replace(plain, scales=scales)
        return self, self._gaps(rows, nearest)

    def gaps(self, rows: np.ndarray, among_them: bool) -> np.ndarray:
        """Mean distance of each cell to those of the nearest rows, divided by the root of the usual distance there.

        The root is a compromise between plain distances and the local outlier factor.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns)
            Squashed cells.
        among_them : bool
            Whether the rows are in the memory; a row is not its own neighbour.

        Returns
        -------
        gaps : ndarray of shape (n_rows, n_columns)
            NaN if a cell is missing.
        """
        rows = rows.astype(np.float32, copy=False)
        return self._gaps(rows, self.nearest(rows, among_them))

    def expected(self, rows: np.ndarray, among_them: bool) -> np.ndarray:
        """The cells of the nearest rows, ``(n_rows, n_neighbors, n_columns)``."""
        return self.rows[self.nearest(rows.astype(np.float32, copy=False), among_them)]

    def nearest(self, rows: np.ndarray, among_them: bool) -> np.ndarray:
        """Positions in the memory of the nearest rows, ``(n_rows, n_neighbors)``, the nearest first."""
        device = self.device if is_available(self.device) else torch.device("cpu")  # the device of the fit may be absent
        memory = torch.from_numpy(self.rows).to(device)
        features = self.metric.features(memory, power=2)
        norms = features.square().sum(1)
        n_candidates, first = min(N_CANDIDATES + self.n_neighbors, len(memory)), int(among_them)
        complete = not (np.isnan(rows).any() or np.isnan(self.rows).any())

        def nearest(x: Tensor) -> Tensor:
            squares = torch.addmm(norms, self.metric.features(x, power=2), features.T, alpha=-2)  # less the row's own
            candidates = _least(squares, n_candidates)
            distances = self.metric.distances(x[:, None], memory[candidates], complete)
            if among_them:
                _set_apart(x, memory[candidates], distances)
            order = (distances / TIE).round().sort(stable=True).indices[:, first : first + self.n_neighbors]
            return candidates.gather(1, order)

        with threads_for(2.0 * CHUNK_ROWS * features.numel()):
            return apply(nearest, torch.from_numpy(rows), device).numpy()

    def _gaps(self, rows: np.ndarray, nearest: np.ndarray) -> np.ndarray:
        local = np.sqrt(self.scales[nearest].mean(axis=1) + LEAST_SCALE)
        return self._mean_gaps(rows, nearest) / local[:, None]

    def _mean_gaps(self, rows: np.ndarray, nearest: np.ndarray) -> np.ndarray:
        gaps = self.metric.gaps(torch.from_numpy(rows)[:, None], torch.from_numpy(self.rows[nearest]))
        means = gaps.mean(1)
        return (gaps.nanmean(1) if means.isnan().any() else means).double().numpy()


def _least(values: Tensor, n: int) -> Tensor:
    """Positions of the ``n`` smallest numbers of each row, in order; ties go to the first, unlike in ``topk``."""
    bits = (values + 0.0).view(torch.int32)  # with one kind of zero
    rising = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    return ((rising << 32) | torch.arange(values.shape[1], device=values.device)).topk(n, largest=False).indices


def _set_apart(x: Tensor, candidates: Tensor, distances: Tensor) -> None:
    """Give the first candidate that equals a row, including missing cells, the smallest distance of all."""
    equal = ((candidates == x[:, None]) | (candidates.isnan() & x[:, None].isnan())).all(-1)
    first = equal.int().argmax(1, keepdim=True)
    distances.scatter_(1, first, torch.where(equal.gather(1, first), -1.0, distances.gather(1, first)))
