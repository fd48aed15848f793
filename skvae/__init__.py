"""Autoencoders for people who use scikit-learn."""

import importlib
import typing

if typing.TYPE_CHECKING:
    from skvae._public import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> typing.Any:
    """Import the estimators, and torch with them, when a public name is first used.

    The command line answers faster without them.
    """
    if name == "__all__" or not name.startswith("_"):
        public = importlib.import_module("skvae._public")
        if name == "__all__" or name in public.__all__:
            return getattr(public, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("skvae._public").__all__})
