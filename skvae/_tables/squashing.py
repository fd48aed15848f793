"""Robust scaling of columns, linear for usual values and logarithmic for outlying ones."""

from dataclasses import dataclass

import numpy as np

TAILS = (0.05, 0.95)  # quantiles to which values are clipped when the spread is measured
MEAN_TO_STD = float(np.sqrt(np.pi / 2))  # standard deviation per mean absolute deviation, of a normal distribution


@dataclass(frozen=True)
class Squashing:
    """``knee * arcsinh((x - median) / spread / knee)`` per numeric column, and back; other columns are unchanged.

    The spread is the mean absolute deviation from the median after clipping to the 5 and 95 % quantiles, converted to a
    standard deviation. Outlying values that are less than 5 % of a column therefore hardly affect the median and the spread. A
    column that rarely leaves one value would have a spread near zero. Its spread is at least that of a column that leaves the
    value as often, by the median distance.

    Attributes
    ----------
    median, spread : ndarray of shape (n_columns,)
        0 and 1 for non-numeric columns. The median of an empty column is NaN, which makes it missing in all rows.
    is_number : ndarray of bool of shape (n_columns,)
    knee : float
        Number of spreads from the median at which the function turns from linear to logarithmic.
    """

    median: np.ndarray
    spread: np.ndarray
    is_number: np.ndarray
    knee: float

    @classmethod
    def of(cls, rows: np.ndarray, is_number: np.ndarray, knee: float) -> "Squashing":
        """From a table; missing cells are NaN."""
        columns = [_median_and_spread(cells) if number else (0.0, 1.0) for cells, number in zip(rows.T, is_number, strict=True)]
        median, spread = np.array(columns, dtype=np.float64).T
        return cls(np.where(np.isnan(rows).all(axis=0), np.nan, median), spread, is_number, knee)

    def only(self, columns: np.ndarray, knee: float) -> "Squashing":
        """The squashing of some columns, with another knee."""
        kept = columns | np.isnan(self.median)
        return Squashing(np.where(kept, self.median, 0.0), np.where(kept, self.spread, 1.0), self.is_number & columns, knee)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The rows, with NaN in columns that were empty at fit, about which nothing is known."""
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
