"""Smooth increasing functions through given points, with derivative and inverse."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Spline:
    """A strictly increasing function: rational quadratic between its knots, logarithmic beyond them.

    Attributes
    ----------
    knots, heights : ndarray of shape (n_knots,)
        Arguments and values at the knots, both increasing; at least two.
    slopes : ndarray of shape (n_knots,)
        Derivatives at the knots.
    tail : float
        Scale of the logarithm: the slope is halved where a straight line would be this far beyond the outermost height.

    References
    ----------
    J. A. Gregory, R. Delbourgo (1982). Piecewise rational quadratic interpolation to monotonic data. IMA Journal of Numerical
    Analysis 2.

    C. Durkan, A. Bekasov, I. Murray, G. Papamakarios (2019). Neural spline flows. NeurIPS.
    """

    knots: np.ndarray
    heights: np.ndarray
    slopes: np.ndarray
    tail: float

    @classmethod
    def through(cls, knots: np.ndarray, heights: np.ndarray, tail: float) -> "Spline":
        """Use the harmonic mean of the slopes of the two lines that meet at a knot as its slope (Fritsch and Butland, 1984)."""
        lines = np.diff(heights) / np.diff(knots)
        inner = 2 * lines[1:] * lines[:-1] / (lines[1:] + lines[:-1])
        return cls(knots, heights, np.concatenate([lines[:1], inner, lines[-1:]]), tail)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Values of the function; NaN if x is NaN."""
        bins, share, steepness, first, last = self._within(x)
        bend = steepness + (last + first - 2 * steepness) * share * (1 - share)
        rise = np.diff(self.heights)[bins] * (steepness * share**2 + first * share * (1 - share)) / bend
        return self.heights[bins] + rise + _side(x, self.knots) * self.tail * np.log1p(self._beyond(x) / self.tail)

    def log_slope(self, x: np.ndarray) -> np.ndarray:
        """Logarithm of the derivative."""
        _, share, steepness, first, last = self._within(x)
        bend = steepness + (last + first - 2 * steepness) * share * (1 - share)
        slope = last * share**2 + 2 * steepness * share * (1 - share) + first * (1 - share) ** 2
        return 2 * np.log(steepness / bend) + np.log(slope) - np.log1p(self._beyond(x) / self.tail)

    def inverse(self, heights: np.ndarray) -> np.ndarray:
        """Arguments at which the function has these values."""
        inside = np.clip(heights, self.heights[0], self.heights[-1])
        bins = _bins(inside, self.heights)
        rise, steepness, first, last = self._of_bins(bins)
        above = inside - self.heights[bins]
        bend = last + first - 2 * steepness
        a, b, c = rise * (steepness - first) + above * bend, rise * first - above * bend, -steepness * above
        share = 2 * c / (-b - np.sqrt(np.maximum(b**2 - 4 * a * c, 0)))
        between = self.knots[bins] + share * np.diff(self.knots)[bins]
        beyond = self.tail * np.expm1(np.abs(heights - inside) / self.tail)
        return between + _side(heights, self.heights) * beyond / np.where(heights < inside, self.slopes[0], self.slopes[-1])

    def _within(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Bin of each x, the relative position of x in it, and the bin's slope: on average, at its start and at its end."""
        bins = _bins(x, self.knots)
        share = np.clip((x - self.knots[bins]) / np.diff(self.knots)[bins], 0, 1)
        return (bins, share, *self._of_bins(bins)[1:])

    def _of_bins(self, bins: np.ndarray) -> tuple[np.ndarray, ...]:
        rise = np.diff(self.heights)
        return rise[bins], (rise / np.diff(self.knots))[bins], self.slopes[bins], self.slopes[bins + 1]

    def _beyond(self, x: np.ndarray) -> np.ndarray:
        """Distance of a straight continuation above the last height, or below the first."""
        return np.maximum(x - self.knots[-1], 0) * self.slopes[-1] + np.maximum(self.knots[0] - x, 0) * self.slopes[0]


def _bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def _side(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """-1 below the first edge, 1 above the last, and 0 between."""
    return (values > edges[-1]).astype(np.float64) - (values < edges[0])
