"""Warnings that point at the caller's line."""

import sys
import warnings
from types import FrameType

BETWEEN = {"skvae", "sklearn", "joblib", "pickle", "copy"}  # packages between a warning and the user's line


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first line up the stack that is neither in this package nor in scikit-learn.

    No fixed ``stacklevel`` is right, because ``fit`` may be called by the user, by ``fit_transform``, by a pipeline or by a
    search.
    """
    level, frame = 1, sys._getframe()  # noqa: SLF001, documented, and the only way to count frames
    while frame.f_back is not None and _package(frame) in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
