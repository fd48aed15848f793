"""Cells of a table as people read them."""

import re
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

MINUTE = timedelta(minutes=1)


def cells_of(table: Any) -> np.ndarray:
    """The values of a table in memory, each as it stands there."""
    if hasattr(table, "iloc"):
        return table.to_numpy(dtype=object)
    return np.array([list(row) for row in (table.rows() if hasattr(table, "rows") else table)], dtype=object)


def written(value: Any, longest: int) -> str:
    """A cell in at most so many letters; nothing if it is missing."""
    if pd.isna(value):
        return ""
    if isinstance(value, date | np.datetime64):
        text = str(value).removesuffix(" 00:00:00")
        return text if len(text) <= longest else text[:10]
    text = f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def rounded(value: Any, longest: int) -> str:
    """An estimated value in at most so many letters, numbers to four digits and times to seconds."""
    if isinstance(value, date | np.datetime64) and not pd.isna(value):
        value = pd.Timestamp(value).floor("s")
    if isinstance(value, timedelta) and abs(value) >= MINUTE:
        value = re.sub(r"\.\d+", "", str(value))
    if isinstance(value, float | np.floating) and np.isfinite(value):
        return f"{value:.4g}" if abs(float(value)) < 10_000 else f"{value:.0f}"
    return written(value, longest)


def shares_of(contributions: Any) -> np.ndarray:
    """The share of each cell in what is added to the score of its row."""
    added = np.maximum(np.asarray(contributions, dtype=float), 0)
    return added / np.maximum(added.sum(axis=1, keepdims=True), np.finfo(float).tiny)
