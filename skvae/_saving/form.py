"""Conversion of the objects of one class to simpler ones, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Form:
    """Conversion of the objects of one class to simpler ones, and back.

    Attributes
    ----------
    name : str
        Name of the class in files.
    parts : callable
        Function from an object to its simpler parts.
    whole : callable
        Function from the parts to the object.
    """

    name: str
    parts: Callable[[Any], Any]
    whole: Callable[[Any], Any]
