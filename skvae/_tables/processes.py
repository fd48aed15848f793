"""Processes that each hold a part of the rows of a table."""

from collections.abc import Callable
from typing import Protocol, TypeVar

Own = TypeVar("Own")


class Processes(Protocol):
    """Group of processes; all make the same calls in the same order."""

    rank: int  # number of this process
    size: int  # number of processes

    def gathered(self, own: Own) -> list[Own]:
        """The objects of all processes, in their order."""

    def of_first(self, own: Own) -> Own:
        """The object of the first process."""

    def together(self, work: Callable[[], Own]) -> Own:
        """The result of a function in this process; an error in one process is raised in all."""


class Alone:
    """A single process, which holds all rows."""

    rank = 0
    size = 1

    def gathered(self, own: Own) -> list[Own]:
        return [own]

    def of_first(self, own: Own) -> Own:
        return own

    def together(self, work: Callable[[], Own]) -> Own:
        return work()


ALONE = Alone()
