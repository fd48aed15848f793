"""What a report on anomalies tells."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from skvae._html.columns import ColumnAccount


@dataclass(frozen=True, eq=False, repr=False)
class Findings:
    """What a report on anomalies tells; ``AnomalyReport`` describes the fields."""

    title: str
    scores: np.ndarray
    flagged: np.ndarray
    p_values: np.ndarray | None
    threshold: float | None
    criterion: str
    labels: list[Any]
    oddest: np.ndarray
    found: np.ndarray
    expected: np.ndarray
    shares: np.ndarray
    blame: np.ndarray
    columns: list[ColumnAccount]
    codes: np.ndarray | None
    n_known: int
    least_flagged: int
    notes: tuple[str, ...] = ()
