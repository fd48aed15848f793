"""Sums over the rows of a table that are taken block by block: weights, means, co-moments and extremes, in float64."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np

CONSTANT = 10 * float(np.finfo(np.float64).eps)  # share of a column's largest cell below which its deviation is rounding


@dataclass(frozen=True, eq=False)
class Summary:
    """What a pass over rows leaves.

    Summaries of blocks are merged in the order of the blocks (Chan, Golub and LeVeque, 1979). Every column has a unit, a power
    of two that no cell exceeds, so that squares of cells neither over- nor underflow and are the same numbers in any unit.

    Attributes
    ----------
    total : float
        Weight of the rows.
    n_rows : int
    seen : ndarray of shape (n_columns,)
        Weight of the cells that are there.
    lowest, highest : ndarray of shape (n_columns,)
        NaN where no cell is there.
    unit : ndarray of shape (n_columns,)
    mean : ndarray of shape (n_columns,)
        In that unit.
    squares : ndarray of shape (n_columns,)
        Sums of squared deviations from the mean, in that unit.
    products : ndarray of shape (n_columns, n_columns) or None
        Sums of products of deviations; None where cells are missing.
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
        """Of one block, which is copied to float64; ``counts`` are the weights of the rows, None all ones."""
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
        """Of blocks of rows and their weights."""
        return reduce(cls.merged, (cls.of(*block) for block in blocks))

    def merged(self, other: "Summary") -> "Summary":
        """Of the rows of both."""
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
        """The same in other units."""
        ratio = self.unit / unit
        if (ratio == 1).all():
            return self
        products = None if self.products is None else self.products * np.outer(ratio, ratio)
        return self._moved(self.lowest, self.highest, unit, self.mean * ratio, self.squares * ratio**2, products)

    def scaled(self, mean: np.ndarray, scale: np.ndarray) -> "Summary":
        """Of ``(x - mean) / scale`` of each column; a column whose mean is NaN has no cells."""
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
        """Mean and standard deviation of each column; exactly (value, 0) where all agree, (NaN, 0) where no cell is there."""
        std = np.sqrt(np.maximum(self.squares, 0) / np.maximum(self.seen, np.finfo(np.float64).tiny))
        constant = ~(self.lowest < self.highest) | (std <= CONSTANT)
        return np.where(constant, self.lowest, self.mean * self.unit), np.where(constant, 0.0, std * self.unit)

    def covariance(self, divisor: float) -> np.ndarray:
        """Sums of products of deviations over a divisor.

        Raises
        ------
        ValueError
            Where cells are missing.
        """
        if self.products is None:
            raise ValueError("Cells are missing, so that there are no products of all columns.")
        covariance: np.ndarray = self.products / divisor * np.outer(self.unit, self.unit)
        return covariance


def _power_of_two(magnitude: np.ndarray) -> np.ndarray:
    """The least that is no less; 1 for zero and NaN."""
    exponent = np.frexp(np.where(magnitude > 0, magnitude, 0.5).astype(np.float64))[1]
    return np.ldexp(1.0, np.minimum(exponent, 1023))
