"""Columns on scales of their own that wild cells do not move, linear for usual cells and logarithmic for far ones."""

from dataclasses import dataclass

import numpy as np

TAILS = (0.05, 0.95)  # quantiles; what lies beyond is taken as if it lay there when the spread is measured
MEAN_TO_STD = float(np.sqrt(np.pi / 2))  # of a normal distribution, from the mean absolute deviation


@dataclass(frozen=True)
class Squashing:
    """``knee * arcsinh((x - median) / spread / knee)`` per column of numbers, and back; other columns as they are.

    The spread is the mean absolute deviation from the median, of cells that are clipped to their 5 and 95 % quantiles, in
    units of a standard deviation. So neither it nor the median is moved far by wild cells that make up less than 5 % of a
    column. Columns that rarely leave one value would have a spread of zero, or almost; theirs is at least that of a column that
    leaves the value as often, and by the median distance.

    Attributes
    ----------
    median, spread : ndarray of shape (n_columns,)
        0 and 1 for columns that hold no numbers. A column without any cell has a median of NaN, and is missing in all rows.
    is_number : ndarray of bool of shape (n_columns,)
    knee : float
        How many spreads from the median the function turns from linear to logarithmic.
    """

    median: np.ndarray
    spread: np.ndarray
    is_number: np.ndarray
    knee: float

    @classmethod
    def of(cls, rows: np.ndarray, is_number: np.ndarray, knee: float) -> "Squashing":
        """From a table, NaN where a cell is missing."""
        columns = [_median_and_spread(cells) if number else (0.0, 1.0) for cells, number in zip(rows.T, is_number, strict=True)]
        median, spread = np.array(columns, dtype=np.float64).T
        return cls(np.where(np.isnan(rows).all(axis=0), np.nan, median), spread, is_number, knee)

    def only(self, columns: np.ndarray, knee: float) -> "Squashing":
        """The same with another knee, of some of the columns."""
        kept = columns | np.isnan(self.median)
        return Squashing(np.where(kept, self.median, 0.0), np.where(kept, self.spread, 1.0), self.is_number & columns, knee)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The rows without cells of columns that were empty, of which nothing is known."""
        unknown = np.isnan(self.median)
        return np.where(unknown, rows.dtype.type(np.nan), rows) if unknown.any() else rows

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Squashed cells, in float64."""
        scaled = (rows.astype(np.float64) - self.median) / self.spread
        return np.where(self.is_number, self.knee * np.arcsinh(scaled / self.knee), scaled)

    def invert(self, squashed: np.ndarray) -> np.ndarray:
        """Cells in the units of the input."""
        scaled = np.where(self.is_number, self.knee * np.sinh(squashed / self.knee), squashed)
        return scaled * self.spread + self.median


def _median_and_spread(cells: np.ndarray) -> tuple[float, float]:
    cells = cells[~np.isnan(cells)].astype(np.float64)
    if len(cells) == 0:
        return np.nan, 1.0
    median = float(np.median(cells))
    deviations = np.abs(cells - median)
    clipped = np.clip(cells, *np.quantile(cells, TAILS))
    spread = MEAN_TO_STD * float(np.mean(np.abs(clipped - median)))
    others = deviations[deviations > 0]
    if len(others):
        spread = max(spread, float(np.sqrt(len(others) / len(cells)) * np.median(others)))
    return median, spread or 1.0
