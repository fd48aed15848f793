"""Columns of moments that go on with the rows: what counts of them is where in the day, week and year they are."""

from dataclasses import dataclass

import numpy as np

from skvae._tables.squashing import TAILS

PERIODS = (1.0, 7.0, 365.2425)  # days
STEPS_PER_TURN = 2.0  # at least, for a row to have a place in a period
N_TURNS = 2.0  # that a table has to see of a period, for rows to be compared by where in it they are


@dataclass(frozen=True, eq=False)
class Clocks:
    """Circles in place of clocks.

    Later rows have later moments, which is not odd. So the cells of a clock become one constant. Behind the columns come two
    hidden ones for each period that the clock runs through: sine and cosine of where in it the moment is.

    Attributes
    ----------
    n_columns : int
        Without the hidden ones.
    is_clock : ndarray of bool of shape (n_columns,)
    column : ndarray of int of shape (n_circles,)
        Which clock each circle is of.
    period : ndarray of shape (n_circles,)
        In the units of the clock's cells.
    """

    n_columns: int
    is_clock: np.ndarray
    column: np.ndarray
    period: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, is_clock: np.ndarray, per_day: np.ndarray) -> "Clocks":
        """From a table, and how many units of each clock's cells make up a day.

        A period is one that has room for two usual steps from one moment to the next, and that passes at least twice. Moments
        far from all others, such as mistyped ones, count for neither.
        """
        circles = [
            (j, period * per_day[j])
            for j in np.flatnonzero(is_clock)
            for period in PERIODS
            if _runs_through(rows[:, j] / per_day[j], period)
        ]
        column, period = np.array(circles, dtype=np.float64).reshape(-1, 2).T
        return cls(rows.shape[1], is_clock, column.astype(int), period)

    def widen(self, rows: np.ndarray) -> np.ndarray:
        """Rows with the hidden columns; missing cells of a clock are missing in these, too."""
        if not self.is_clock.any():
            return rows
        angle = 2 * np.pi * rows[:, self.column] / self.period
        kept = np.where(self.is_clock & ~np.isnan(rows), 0.0, rows)
        return np.concatenate([kept, np.sin(angle), np.cos(angle)], axis=1)

    def fold(self, cells: np.ndarray) -> np.ndarray:
        """What cells of widened rows cost, with that of hidden ones at their clock."""
        if not self.is_clock.any():
            return cells
        result = cells[:, : self.n_columns].copy()
        for place, j in enumerate(np.tile(self.column, 2)):
            result[:, j] += cells[:, self.n_columns + place]
        return result

    def expected(self, cells: np.ndarray) -> np.ndarray:
        """What is expected in the columns of the table; of clocks nothing, since each moment is new."""
        return np.where(self.is_clock, np.nan, cells[:, : self.n_columns]) if self.is_clock.any() else cells


def _runs_through(days: np.ndarray, period: float) -> bool:
    moments = np.unique(days[~np.isnan(days)])
    if len(moments) < 2:
        return False
    lowest, highest = np.quantile(moments, TAILS)
    span = (highest - lowest) / (TAILS[1] - TAILS[0])
    return bool(STEPS_PER_TURN * np.median(np.diff(moments)) <= period and span >= N_TURNS * period)
