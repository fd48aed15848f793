"""What displays share: axes, colours, labels and tables of numbers."""

from typing import Any

import numpy as np
from sklearn.utils import check_array

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # of Okabe and Ito, less the yellow
LINE, LETTER = 0.14, 0.085  # inches that they take in a tick label
MOST_LETTERS = 24  # of a column name
ANY = "AutoencoderTransformer or VAETransformer"


def axes_or_new(ax: Any, size: tuple[float, ...] = (6.4, 4.8)) -> tuple[Any, Any]:
    """The figure and the axes to draw into, new ones of this size in inches where none are given."""
    if ax is not None:
        return ax.figure, ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("The displays need matplotlib, which is not installed; pip install matplotlib.") from error
    return plt.subplots(figsize=size, layout="constrained")


def check_can(estimator: Any, what: str, who: str) -> None:
    """Refuse an estimator without a method or attribute, and say which kind has it."""
    if not hasattr(estimator, what):
        name = type(estimator).__name__
        raise TypeError(f"estimator is a {name}, which has no {what!r}; pass a fitted {who}. Of a pipeline pass the last step.")


def names_of_columns(estimator: Any) -> list[str] | None:
    """Names of the training table's columns; None where it had none."""
    return list(estimator.feature_names_in_) if hasattr(estimator, "feature_names_in_") else None


def as_numbers(rows: Any, name: str) -> np.ndarray:
    """A table as float64 numbers, which alone can be drawn."""
    try:
        return check_array(rows, dtype=np.float64, input_name=name)
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(f"{error}. {name} has columns of other things than numbers, which cannot be drawn.") from error


def label_ticks(ax: Any, which: str, positions: np.ndarray, labels: Any, **kwargs: Any) -> None:
    """Label positions along an axis, every second, third... only where there is no room for all."""
    texts = [str(label) for label in labels]
    needed = LINE + LETTER * max(map(len, texts)) if which == "x" and not kwargs else LINE
    box = ax.get_window_extent()
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    inches = (box.width if which == "x" else box.height) / ax.figure.dpi / abs(high - low)
    step = 1 if len(texts) == 1 else int(np.ceil(needed / (np.diff(positions).min() * inches)))
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(positions[::step], labels=texts[::step], **kwargs)


def shortened(name: Any) -> str:
    """A name without its middle where it is long."""
    text = str(name)
    half = MOST_LETTERS // 2
    return text if len(text) <= MOST_LETTERS else f"{text[: half - 1]}…{text[-half:]}"
