"""Processes that each have a part of the rows of a table."""

from collections.abc import Callable
from typing import Protocol, TypeVar

Own = TypeVar("Own")


class Processes(Protocol):
    """All of them make the same calls in the same order."""

    rank: int  # number of this one
    size: int  # how many there are

    def gathered(self, own: Own) -> list[Own]:
        """What each of them has, in their order."""

    def of_first(self, own: Own) -> Own:
        """What the first of them has."""

    def together(self, work: Callable[[], Own]) -> Own:
        """What a piece of work gives in this one; where it fails in one of them, it fails in all."""


class Alone:
    """The only process, which has all rows."""

    rank = 0
    size = 1

    def gathered(self, own: Own) -> list[Own]:
        return [own]

    def of_first(self, own: Own) -> Own:
        return own

    def together(self, work: Callable[[], Own]) -> Own:
        return work()


ALONE = Alone()
