"""What one column is, and how its values become cells and cells its values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skvae._tables.marginals import Marginal
from skvae._tables.texts import Text

SHOWN = 12  # levels that the representation lists
NOT_A_TIME = np.iinfo(np.int64).min  # the tick that numpy reserves


@dataclass(frozen=True)
class Column:
    """What one column is.

    Attributes
    ----------
    name : hashable
        As in the frame; its number for arrays.
    dtype : object
        The frame library's own; None for arrays.
    kind : {"number", "boolean", "category", "datetime", "duration", "ignored"}
        An ignored column has no cell that could be learned from, and comes back missing.
    levels : tuple
        What the codes 0, 1, ... stand for.
    grouped : tuple
        Rare levels that share the last code; the most frequent of them stands for all.
    n_distinct : int
        Levels seen in a column of categories, ignored ones included.
    n_single : int
        How many of them a single row has.
    n_rows : int
        Rows in which levels were seen.
    text : Text, optional
        How numbers or dates are written in a column of strings.
    is_clock : bool
        Whether datetimes go on with the rows, so that later rows have later ones.
    marginal : Marginal, optional
        Of numbers, durations and datetimes: how they become normal, where they do not stay as they are.
    is_constant : bool
        Whether all cells that are there hold one value.
    limits : tuple of (lowest, highest, decimals), optional
        Of numbers that are not floating.
    origin : int
        Middle of the different datetimes or durations, in their unit. It is one of them, so that differences of whole seconds
        or days are such in floating point too.
    unit : str
        Of datetimes and durations: "D", "s", "ms", "us" or "ns".
    missing : object
        What stands for a missing cell in a column of objects.
    """

    name: Any
    dtype: Any
    kind: str
    levels: tuple[Any, ...] = ()
    grouped: tuple[Any, ...] = ()
    n_distinct: int = 0
    n_single: int = 0
    n_rows: int = 0
    text: Text | None = None
    is_clock: bool = False
    marginal: Marginal | None = None
    is_constant: bool = False
    limits: tuple[float, float, int] | None = None
    origin: int = 0
    unit: str = ""
    missing: Any = None

    @property
    def note(self) -> str:
        """What it holds, for people."""
        facts = ["constant"] if self.is_constant else []
        if self.kind == "ignored":
            facts.append(f"{self.n_distinct} levels in {self.n_rows} rows" if self.n_distinct else "empty")
        elif self.kind == "datetime":
            facts += ["clock"] if self.is_clock else []
            facts.append(f"around {np.array(self.origin, f'M8[{self.unit}]').astype('M8[D]')}")
        elif self.kind == "duration":
            facts.append(f"around {pd.Timedelta(np.array(self.origin, f'm8[{self.unit}]')[()])}")
        elif self.kind == "category":
            facts += [] if self.is_constant else [f"{self.n_distinct} levels"]
            facts += [f"{len(self.grouped)} of them grouped"] if self.grouped else []
        if self.marginal is not None:
            facts += [] if self.marginal.spike is None else [f"spike at {self._shown(self.marginal.spike.value)}"]
            facts += [self.marginal.note] if self.marginal.note else []
        facts += [f"{self.text.meaning} written as text"] if self.text else []
        return ", ".join(facts) + (f": {listed(self.levels)}" if self.kind == "category" else "")

    def _shown(self, cell: float) -> str:
        """A cell of a column that is measured."""
        return f"{cell:g}" if self.kind == "number" else str(moments_of(self, np.array([cell]))[0])


def codes_of(column: Column, values: np.ndarray) -> np.ndarray:
    """Nearest code of each cell, the upper of two equally near ones; -1 where the cell is missing."""
    nearest = np.clip(np.floor(values + 0.5), 0, len(column.levels) - 1)
    return np.where(np.isnan(nearest), -1, nearest).astype(np.int64)


def offsets_of(column: Column, moments: np.ndarray) -> np.ndarray:
    """Distances of moments from the origin in the fitted unit.

    They are taken between integers, because floats do not tell near moments apart.
    """
    own, fitted = (np.array(1, f"m8[{unit}]") for unit in (np.datetime_data(moments.dtype)[0], column.unit))
    ratio = own / fitted
    if ratio < 1:
        moments, ratio = moments.astype(f"{moments.dtype.kind}8[{column.unit}]"), 1
    origin, rest = divmod(column.origin, int(ratio))
    ticks = moments.astype(np.int64)
    rough = ticks.astype(np.float64) - origin
    offsets = np.where(np.abs(rough) < 2**62, ticks - origin, rough) * ratio - rest
    return np.where(np.isnat(moments), np.nan, offsets)


def moments_of(column: Column, offsets: np.ndarray) -> np.ndarray:
    """Moments at distances from the origin, rounded to the nearest tick that the dtype can hold."""
    limits = np.iinfo(np.int32 if column.unit == "D" else np.int64)
    lowest = max(limits.min + 1 - column.origin, NOT_A_TIME)
    highest = min(limits.max - column.origin, -NOT_A_TIME - 1)
    offsets = np.clip(np.rint(offsets.astype(np.float64)), within(lowest), within(highest))
    missing = np.isnan(offsets)
    ticks = np.where(missing, 0, offsets).astype(np.int64) + column.origin
    return np.where(missing, NOT_A_TIME, ticks).view(f"{'m' if column.kind == 'duration' else 'M'}8[{column.unit}]")


def castable(values: np.ndarray, limits: tuple[float, float, int] | None) -> np.ndarray:
    """Numbers rounded and clipped to what a dtype of these limits can hold."""
    if limits is None:
        return values
    lowest, highest, decimals = limits
    return np.clip(np.round(values.astype(np.float64), decimals), lowest, highest)


def within(bound: int) -> float:
    """The float next to an integer and no further from zero."""
    nearest = float(bound)
    return nearest if abs(int(nearest)) <= abs(bound) else float(np.nextafter(nearest, 0))


def are_strings(levels: Iterable[Any]) -> set[bool]:
    """Whether there are strings among the levels, other things, or both."""
    return {isinstance(level, str) for level in levels}


def listed(items: Sequence[Any]) -> str:
    """The first items, separated by commas."""
    return ", ".join(map(str, items[:SHOWN])) + (", ..." if len(items) > SHOWN else "")


def shortened(text: str, width: int) -> str:
    """The text, cut to a width."""
    return text if len(text) <= width else text[: width - 3] + "..."
