"""Statistics of the rows of a table, block by block in float64: weights, means, co-moments and extremes."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np

CONSTANT = 10 * float(np.finfo(np.float64).eps)  # deviation, relative to the largest cell, below which it is rounding


@dataclass(frozen=True, eq=False)
class Summary:
    """Statistics from one pass over rows.

    Summaries of blocks are merged in the order of the blocks (Chan, Golub and LeVeque, 1979). Every column has a unit, a power
    of two that no cell exceeds. Squares of cells in it neither overflow nor underflow, and do not depend on the input unit.

    Attributes
    ----------
    total : float
        Weight of the rows.
    n_rows : int
    seen : ndarray of shape (n_columns,)
        Total weight of the observed cells.
    lowest, highest : ndarray of shape (n_columns,)
        Extremes; NaN if a column has no observed cells.
    unit : ndarray of shape (n_columns,)
    mean : ndarray of shape (n_columns,)
        Means in units of ``unit``.
    squares : ndarray of shape (n_columns,)
        Sums of squared deviations from the mean, in units of ``unit``.
    products : ndarray of shape (n_columns, n_columns) or None
        Sums of products of deviations; None if cells are missing.
    """

    total: float
    n_rows: int
    seen: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    unit: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    products: np.ndarray | None

    @classmethod
    def of(cls, rows: np.ndarray, counts: np.ndarray | None) -> "Summary":
        """Summary of one block, which is copied to float64; ``counts`` are the row weights, None for ones."""
        missing = np.isnan(rows)
        lowest, highest = np.fmin.reduce(rows, initial=np.nan), np.fmax.reduce(rows, initial=np.nan)
        unit = _power_of_two(np.fmax(np.abs(lowest), np.abs(highest)))
        cells = rows.astype(np.float64) / unit
        is_complete = not missing.any()
        weights = np.ones(len(rows)) if counts is None else counts
        total = float(weights.sum())
        seen = np.full(rows.shape[1], total) if is_complete else weights @ ~missing
        if not is_complete:
            cells = np.where(missing, 0.0, cells)
        mean = (weights @ cells) / np.maximum(seen, np.finfo(np.float64).tiny)
        cells -= mean
        if not is_complete:
            cells[missing] = 0.0
        weighted = cells if counts is None else cells * weights[:, None]
        products = weighted.T @ cells if is_complete else None
        squares = np.einsum("ij,ij->j", weighted, cells) if products is None else np.diag(products).copy()
        return cls(total, len(rows), seen, lowest.astype(np.float64), highest.astype(np.float64), unit, mean, squares, products)

    @classmethod
    def over(cls, blocks: Iterable[tuple[np.ndarray, np.ndarray | None]]) -> "Summary":
        """Summary of blocks of rows and their weights."""
        return reduce(cls.merged, (cls.of(*block) for block in blocks))

    def merged(self, other: "Summary") -> "Summary":
        """Summary of the rows of both."""
        unit = np.maximum(self.unit, other.unit)
        first, second = self.in_unit(unit), other.in_unit(unit)
        seen = first.seen + second.seen
        share = second.seen / np.maximum(seen, np.finfo(np.float64).tiny)
        apart = second.mean - first.mean
        squares = first.squares + second.squares + apart**2 * first.seen * share
        products = None
        if first.products is not None and second.products is not None:
            between = np.outer(apart, apart) * (first.total * (second.total / (first.total + second.total or 1.0)))
            products = first.products + second.products + between
        return Summary(
            first.total + second.total,
            first.n_rows + second.n_rows,
            seen,
            np.fmin(first.lowest, second.lowest),
            np.fmax(first.highest, second.highest),
            unit,
            first.mean + apart * share,
            squares if products is None else np.diag(products).copy(),
            products,
        )

    def in_unit(self, unit: np.ndarray) -> "Summary":
        """The summary in other units."""
        ratio = self.unit / unit
        if (ratio == 1).all():
            return self
        products = None if self.products is None else self.products * np.outer(ratio, ratio)
        return self._moved(self.lowest, self.highest, unit, self.mean * ratio, self.squares * ratio**2, products)

    def scaled(self, mean: np.ndarray, scale: np.ndarray) -> "Summary":
        """Summary of ``(x - mean) / scale`` per column; a column with mean NaN is empty."""
        mean, ratio = np.nan_to_num(mean), self.unit / scale
        products = None if self.products is None else self.products * np.outer(ratio, ratio)
        moved = (self.mean - mean / self.unit) * ratio
        lowest, highest = (self.lowest - mean) / scale, (self.highest - mean) / scale
        return self._moved(lowest, highest, np.ones(len(mean)), moved, self.squares * ratio**2, products)

    def _moved(
        self,
        lowest: np.ndarray,
        highest: np.ndarray,
        unit: np.ndarray,
        mean: np.ndarray,
        squares: np.ndarray,
        products: np.ndarray | None,
    ) -> "Summary":
        return Summary(self.total, self.n_rows, self.seen, lowest, highest, unit, mean, squares, products)

    @property
    def is_complete(self) -> bool:
        """Whether no cell is missing."""
        return self.products is not None

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each column; exactly (value, 0) if all cells are equal, (NaN, 0) if there are none."""
        std = np.sqrt(np.maximum(self.squares, 0) / np.maximum(self.seen, np.finfo(np.float64).tiny))
        constant = ~(self.lowest < self.highest) | (std <= CONSTANT)
        return np.where(constant, self.lowest, self.mean * self.unit), np.where(constant, 0.0, std * self.unit)

    def covariance(self, divisor: float) -> np.ndarray:
        """Sums of products of deviations over a divisor.

        Raises
        ------
        ValueError
            If cells are missing.
        """
        if self.products is None:
            raise ValueError("Cells are missing, so there is no covariance of all columns.")
        covariance: np.ndarray = self.products / divisor * np.outer(self.unit, self.unit)
        return covariance


def _power_of_two(magnitude: np.ndarray) -> np.ndarray:
    """The smallest power of two that is at least the magnitude; 1 for zero and NaN."""
    exponent = np.frexp(np.where(magnitude > 0, magnitude, 0.5).astype(np.float64))[1]
    return np.ldexp(1.0, np.minimum(exponent, 1023))
