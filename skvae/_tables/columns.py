"""Columns of a table: their kind, and the conversion between values and cells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skvae._tables.marginals import Marginal
from skvae._tables.texts import Text

SHOWN = 12  # categories listed in the representation
NOT_A_TIME = np.iinfo(np.int64).min  # the tick that numpy reserves


@dataclass(frozen=True)
class Column:
    """Type of one column of the training table.

    Attributes
    ----------
    name : hashable
        Name in the frame, or position in an array.
    dtype : object
        dtype in the library of the frame; None for arrays.
    kind : {"number", "boolean", "category", "datetime", "duration", "ignored"}
        Kind of the values. An ignored column has nothing to learn from, and is missing in all output.
    levels : tuple
        Categories with codes 0, 1, ....
    grouped : tuple
        Rare categories that share the last code; the most frequent of them represents all.
    n_distinct : int
        Number of distinct categories, also for ignored columns.
    n_single : int
        Number of categories that occur in one row only.
    n_rows : int
        Number of rows that are not missing.
    text : Text, optional
        Format of numbers or dates that are written as strings.
    is_clock : bool
        Whether later rows have later datetimes.
    marginal : Marginal, optional
        Transformation to a normal distribution, for numbers, durations and datetimes that are transformed.
    is_constant : bool
        Whether all observed cells hold one value.
    limits : tuple of (lowest, highest, decimals), optional
        Range and decimals of numbers that are not floating-point.
    origin : int
        Middle of the distinct datetimes or durations, in their unit. It is one of them, so that differences of whole seconds
        or days remain whole numbers in floating point.
    unit : str
        Unit of datetimes and durations: "D", "s", "ms", "us" or "ns".
    missing : object
        Marker of missing values in a column of objects.
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
        """Description of the content."""
        facts = ["constant"] if self.is_constant else []
        if self.kind == "ignored":
            facts.append(f"{self.n_distinct} categories in {self.n_rows} rows" if self.n_distinct else "empty")
        elif self.kind == "datetime":
            facts += ["clock"] if self.is_clock else []
            facts.append(f"around {np.array(self.origin, f'M8[{self.unit}]').astype('M8[D]')}")
        elif self.kind == "duration":
            facts.append(f"around {pd.Timedelta(np.array(self.origin, f'm8[{self.unit}]')[()])}")
        elif self.kind == "category":
            facts += [] if self.is_constant else [f"{self.n_distinct} categories"]
            facts += [f"{len(self.grouped)} of them grouped"] if self.grouped else []
        if self.marginal is not None:
            facts += [] if self.marginal.spike is None else [f"spike at {self._shown(self.marginal.spike.value)}"]
            facts += [self.marginal.note] if self.marginal.note else []
        facts += [f"{self.text.meaning} written as text"] if self.text else []
        return ", ".join(facts) + (f": {listed(self.levels)}" if self.kind == "category" else "")

    def _shown(self, cell: float) -> str:
        """A numeric cell, as people write it."""
        return f"{cell:g}" if self.kind == "number" else str(moments_of(self, np.array([cell]))[0])


def codes_of(column: Column, values: np.ndarray) -> np.ndarray:
    """Nearest code of each cell, rounding halves up; -1 if the cell is missing."""
    nearest = np.clip(np.floor(values + 0.5), 0, len(column.levels) - 1)
    return np.where(np.isnan(nearest), -1, nearest).astype(np.int64)


def offsets_of(column: Column, moments: np.ndarray) -> np.ndarray:
    """Differences of datetimes or durations from the origin, in the unit of the fit.

    They are computed in integers, because floats cannot distinguish close moments.
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
    """Datetimes or durations at these differences from the origin, rounded to ticks that the dtype can hold."""
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
    """The float nearest to an integer, and not farther from zero."""
    nearest = float(bound)
    return nearest if abs(int(nearest)) <= abs(bound) else float(np.nextafter(nearest, 0))


def are_strings(levels: Iterable[Any]) -> set[bool]:
    """Whether the categories are strings: {True}, {False}, or both if they are mixed."""
    return {isinstance(level, str) for level in levels}


def listed(items: Sequence[Any]) -> str:
    """The first items, separated by commas."""
    return ", ".join(map(str, items[:SHOWN])) + (", ..." if len(items) > SHOWN else "")


def shortened(text: str, width: int) -> str:
    """The text, cut to a width."""
    return text if len(text) <= width else text[: width - 3] + "..."
