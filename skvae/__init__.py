"""Autoencoders for people who use scikit-learn."""

import importlib
import typing

if typing.TYPE_CHECKING:
    from skvae._public import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> typing.Any:
    """Import the estimators, and torch with them, when a name of theirs is first asked for.

    So the command line answers at once where it needs none of them.
    """
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = importlib.import_module("skvae._public")
    if name == "__all__" or name in public.__all__:
        globals().update({each: getattr(public, each) for each in public.__all__}, __all__=public.__all__)
    if name not in globals():  # modules are set by what imports them
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("skvae._public").__all__})
