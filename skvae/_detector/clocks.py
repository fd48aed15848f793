"""Datetimes that advance with the rows: only the time of day, week and year counts."""

from dataclasses import dataclass

import numpy as np

from skvae._tables.squashing import TAILS

PERIODS = (1.0, 7.0, 365.2425)  # days
STEPS_PER_TURN = 2.0  # minimum number of time steps per period
N_TURNS = 2.0  # minimum number of periods in a table


@dataclass(frozen=True, eq=False)
class Clocks:
    """Circular features of clocks: datetimes that advance with the rows.

    A later datetime is not anomalous, so the cells of a clock are replaced by a constant. Two hidden columns are appended for
    each period that the clock passes through: sine and cosine of the time within the period.

    Attributes
    ----------
    n_columns : int
        Number of columns without the hidden ones.
    is_clock : ndarray of bool of shape (n_columns,)
    column : ndarray of int of shape (n_circles,)
        Clock of each pair of hidden columns.
    period : ndarray of shape (n_circles,)
        Period in the units of the clock's cells.
    """

    n_columns: int
    is_clock: np.ndarray
    column: np.ndarray
    period: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, is_clock: np.ndarray, per_day: np.ndarray) -> "Clocks":
        """From a table, and the number of units of each clock's cells per day.

        A period is used if at least two usual time steps fit into it and the table covers it at least twice. Datetimes far from
        all others, such as typing errors, are disregarded.
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
        """Rows with the hidden columns; missing cells of a clock are missing there, too."""
        if not self.is_clock.any():
            return rows
        angle = 2 * np.pi * rows[:, self.column] / self.period
        kept = np.where(self.is_clock & ~np.isnan(rows), 0.0, rows)
        return np.concatenate([kept, np.sin(angle), np.cos(angle)], axis=1)

    def fold(self, cells: np.ndarray) -> np.ndarray:
        """Contributions of cells, with those of hidden columns added to their clock."""
        if not self.is_clock.any():
            return cells
        result = cells[:, : self.n_columns].copy()
        for place, j in enumerate(np.tile(self.column, 2)):
            result[:, j] += cells[:, self.n_columns + place]
        return result

    def expected(self, cells: np.ndarray) -> np.ndarray:
        """Expected cells of the table; NaN for clocks, because every datetime is new."""
        return np.where(self.is_clock, np.nan, cells[:, : self.n_columns]) if self.is_clock.any() else cells


def _runs_through(days: np.ndarray, period: float) -> bool:
    moments = np.unique(days[~np.isnan(days)])
    if len(moments) < 2:
        return False
    lowest, highest = np.quantile(moments, TAILS)
    span = (highest - lowest) / (TAILS[1] - TAILS[0])
    return bool(STEPS_PER_TURN * np.median(np.diff(moments)) <= period and span >= N_TURNS * period)
