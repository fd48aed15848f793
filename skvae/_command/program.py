"""The program: arguments in, exit code out."""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from skvae._command.arguments import parser
from skvae._command.errors import Unusable, one_line

FAILED, UNUSABLE, INTERRUPTED, CLOSED_PIPE = 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments without the name of the program; None takes those of the process.

    Returns
    -------
    code : int
        0 done, 1 rows are flagged and ``--fail`` is given, 2 input that cannot be used, 130 interrupted, 141 nobody reads the
        output.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack characters of the table
    try:
        code = _run(argv)
        sys.stdout.flush()
    except Unusable as error:
        return _refused(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _close_standard_output()
        return CLOSED_PIPE
    except MemoryError:
        return _refused("the table is too large for the memory of this machine; use fewer rows or columns")
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise
        _close_standard_output()
        return _refused(f"standard output: {error.strerror}")
    return code


def _run(argv: Sequence[str] | None) -> int:
    arguments = parser()
    options = arguments.parse_args(argv)
    if options.version:
        from skvae import __version__

        print(f"skvae {__version__}")
        return 0
    if options.command is None:
        arguments.print_help()
        return UNUSABLE
    os.environ.setdefault("TQDM_DELAY", "2")  # seconds before a bar appears; read when tqdm is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # models of tables gain little from more, and lose much on a busy machine
    command = import_module(f"skvae._command.{options.command}")
    return FAILED if command.run(options) else 0


def _refused(error: object) -> int:
    print(f"skvae: error: {one_line(error)}", file=sys.stderr)
    return UNUSABLE


def _close_standard_output() -> None:
    """Let the interpreter flush what is left to nowhere when it ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file
        return
