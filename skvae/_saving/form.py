"""How the objects of one class are written, and made again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Form:
    """How the objects of one class are written, and made again.

    Attributes
    ----------
    name : str
        What the class is called in files.
    parts : callable
        From an object to what makes it up, of simpler things.
    whole : callable
        From these to the object.
    """

    name: str
    parts: Callable[[Any], Any]
    whole: Callable[[Any], Any]
