"""Files that are there as a whole or not at all."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pandas as pd

from skvae._command.errors import Unusable

TABLES = (".csv", ".csv.gz", ".tsv", ".parquet")
Write = Callable[[IO[bytes]], Any]


class Output:
    """A file that takes its place when all of it is written.

    Parameters
    ----------
    path : str
    suffixes : tuple of str
        What its name may end with.
    option : str
        What messages call it.
    """

    def __init__(self, path: str, suffixes: tuple[str, ...], option: str) -> None:
        self.path, self.suffixes = path, suffixes
        if not self.suffix:
            raise Unusable(f"{option} {path}: its name must end with {' or '.join(suffixes)}")
        self.target = Path(os.path.realpath(path))
        with self._refusing():
            self.is_special = self.target.exists() and not self.target.is_file() and not self.target.is_dir()
        self.part = self.target.with_name(f".{self.target.name[:100]}.{secrets.token_hex(4)}.tmp")

    @property
    def suffix(self) -> str:
        """The one of the suffixes that it has."""
        return next((suffix for suffix in self.suffixes if self.path.lower().endswith(suffix)), "")

    def open(self) -> None:
        """See whether it can be written, before any work is done."""
        if self.target.is_dir():
            raise Unusable(f"{self.path}: is a directory; name a file")
        if not self.target.parent.is_dir():
            raise Unusable(f"{self.path}: there is no directory {self.target.parent}; create it first")
        if self.target.exists() and not os.access(self.target, os.W_OK):
            raise Unusable(f"{self.path}: is not writable; change its permissions, or name another file")
        with self._refusing():
            if self.is_special:
                self.target.open("wb").close()
            else:
                self.part.open("xb").close()

    def write(self, write: Write) -> None:
        """Write all of it, still beside its place."""
        with self._refusing(), (self.target if self.is_special else self.part).open("wb") as file:
            write(file)

    def keep(self) -> None:
        """Put it in its place."""
        if self.is_special:
            return
        with self._refusing():
            if self.target.exists():
                self.part.chmod(self.target.stat().st_mode & 0o7777)
            self.part.replace(self.target)

    def discard(self) -> None:
        """Leave nothing behind that is not in its place."""
        if not self.is_special:
            with suppress(OSError):
                self.part.unlink(missing_ok=True)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unusable(f"{self.path}: cannot be written ({error.strerror or error})") from None


@contextmanager
def outputs(*each: Output | None) -> Iterator[None]:
    """Open outputs, and put all of them in their places where nothing failed; None is no output."""
    opened: list[Output] = []
    try:
        for output in filter(None, each):
            opened.append(output)
            output.open()
        yield
        for output in opened:
            output.keep()
    finally:
        for output in opened:
            output.discard()


def table_output(path: str) -> Output:
    """The output of a table.

    Raises
    ------
    Unusable
        Where the kind of file is unknown.
    """
    output = Output(path, TABLES, "-o")
    if output.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401, ICN001
        except ImportError:
            raise Unusable(f"-o {path}: parquet needs pyarrow: `pip install pyarrow`, or name a .csv file") from None
    return output


def write_table(output: Output, frame: pd.DataFrame, separator: str = ",") -> None:
    """Write a frame without its index."""

    def write(file: IO[bytes]) -> None:
        if output.suffix == ".parquet":
            import pyarrow as pa
            from pyarrow import parquet

            table = pa.Table.from_pandas(frame, preserve_index=False)
            parquet.write_table(table.replace_schema_metadata(None), file)  # without what types pandas had for them
            return
        gz = {"method": "gzip", "mtime": 1} if output.suffix == ".csv.gz" else None
        frame.to_csv(file, index=False, sep="\t" if output.suffix == ".tsv" else separator, compression=gz, encoding="utf-8")

    output.write(write)
