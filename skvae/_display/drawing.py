"""Helpers of all displays: axes, colours, labels and numeric tables."""

from typing import Any

import numpy as np
from sklearn.utils import check_array

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito, without yellow
LINE, LETTER = 0.14, 0.085  # height of a line and width of a letter in tick labels, in inches
MOST_LETTERS = 24  # of a column name
ANY = "AutoencoderTransformer or VAETransformer"


def axes_or_new(ax: Any, size: tuple[float, ...] = (6.4, 4.8)) -> tuple[Any, Any]:
    """The figure and axes to draw into; None creates new ones of this size in inches."""
    if ax is not None:
        return ax.figure, ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Displays need matplotlib, which is not installed; run `pip install matplotlib`.") from error
    return plt.subplots(figsize=size, layout="constrained")


def check_can(estimator: Any, what: str, who: str) -> None:
    """Refuse an estimator without a method or attribute, and name a class that has it."""
    if not hasattr(estimator, what):
        name = type(estimator).__name__
        raise TypeError(
            f"estimator is a {name}, which has no {what!r}; pass a fitted {who}. For a pipeline, pass its last step."
        )


def names_of_columns(estimator: Any) -> list[str] | None:
    """Column names of the training table; None if it had none."""
    return list(estimator.feature_names_in_) if hasattr(estimator, "feature_names_in_") else None


def as_numbers(rows: Any, name: str) -> np.ndarray:
    """A table as float64 numbers, the only kind that can be drawn."""
    try:
        return check_array(rows, dtype=np.float64, input_name=name)
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(f"{error}. {name} has columns that are not numeric, which cannot be drawn.") from error


def label_ticks(ax: Any, which: str, positions: np.ndarray, labels: Any, **kwargs: Any) -> None:
    """Label positions along an axis; if there is no room for all, only every second, third and so on."""
    texts = [str(label) for label in labels]
    needed = LINE + LETTER * max(map(len, texts)) if which == "x" and not kwargs else LINE
    box = ax.get_window_extent()
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    inches = (box.width if which == "x" else box.height) / ax.figure.dpi / abs(high - low)
    step = 1 if len(texts) == 1 else int(np.ceil(needed / (np.diff(positions).min() * inches)))
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(positions[::step], labels=texts[::step], **kwargs)


def shortened(name: Any) -> str:
    """A name, with its middle left out if it is long."""
    text = str(name)
    half = MOST_LETTERS // 2
    return text if len(text) <= MOST_LETTERS else f"{text[: half - 1]}…{text[-half:]}"
