"""What a person at a terminal sees: notes and columns on standard error, results on standard output."""

import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd

from skvae._command.errors import one_line
from skvae._command.styles import Style, is_missing
from skvae._command.tables import Table, told
from skvae._tables.columns import shortened

NARROWEST, WIDEST, PLAIN_WIDTH = 60, 160, 80
MOST_COLUMNS = 40  # that are listed
OF_COLUMNS = "Column "  # how warnings begin that the table of columns tells already


def is_watched() -> bool:
    """Whether a person sees the progress of what takes long."""
    return sys.stderr.isatty()


def note(text: str) -> None:
    """Tell something about the run."""
    print(f"skvae: note: {one_line(text)}", file=sys.stderr)


@contextmanager
def fitting(table: Table) -> Iterator[None]:
    """Turn the errors of estimators into one line, their warnings into notes, and an interrupted training into an interruption.

    Raises
    ------
    Unusable, KeyboardInterrupt
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except (ValueError, TypeError, FloatingPointError) as error:
            raise told(error, table.name) from error
    texts = dict.fromkeys(str(warning.message) for warning in caught if issubclass(warning.category, UserWarning))
    if any("interrupted" in text for text in texts):
        raise KeyboardInterrupt
    for text in texts:
        if not text.startswith(OF_COLUMNS):
            note(text.split(". ")[0])


def show_columns(table: Table) -> None:
    """Say on standard error what was made of each column."""
    frame, rows = table.file.frame, table.rows
    print(f"{table.name}: {counted(len(frame), 'row')}, {counted(frame.shape[1], 'column')}", file=sys.stderr)
    if all(Style("number").values([label]).notna()[0] for label in frame):
        note(f"{table.name}: the names of the columns in the first line are numbers; add a line of names if they are missing")
    wrong = Counter(cell.column for cell in table.wrong)
    lines = []
    for label in frame:
        told_of = [table.notes[label]] if table.notes.get(label) else []
        if wrong[label]:
            first = next(cell for cell in table.wrong if cell.column == label)
            told_of.insert(0, f"{counted(wrong[label], 'cell')} cannot be read: {first.text!r} in row {first.row}")
        column = rows[label] if label in rows else frame[label]
        lines.append([label or "(no name)", table.kinds[label], str(n_missing(column)), "; ".join(told_of)])
    if len(lines) > MOST_COLUMNS:
        lines = [line for line in lines if line[1] != "number" or line[2] != "0" or "cannot be read" in line[3]]
    print_table(["column", "taken as", "missing", "note"], lines[:MOST_COLUMNS], "<<><", file=sys.stderr)
    if frame.shape[1] > len(lines[:MOST_COLUMNS]):
        print(f"  and {frame.shape[1] - len(lines[:MOST_COLUMNS])} more", file=sys.stderr)


def n_missing(column: pd.Series) -> int:
    """Cells of a column that are missing."""
    return int(column.map(lambda cell: is_missing(cell, kind="text") if isinstance(cell, str) else pd.isna(cell)).sum())


def print_table(header: Sequence[str], lines: Sequence[Sequence[str]], sides: str, file: object = None) -> None:
    """Print lines in columns, those of the sides ``<`` to the left; the widest are shortened to fit the terminal."""
    cells = [[one_line(cell) for cell in line] for line in (header, *lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    spare = min(WIDEST, max(NARROWEST, shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns)) - 2 * len(widths)
    while sum(widths) > spare:
        widest = widths.index(max(widths))
        widths[widest] -= 1
    for line in cells:
        parts = (f"{shortened(cell, width):{side}{width}}" for cell, width, side in zip(line, widths, sides, strict=True))
        print("  " + "  ".join(parts).rstrip(), file=file)  # type: ignore[call-overload]


def counted(n: int, noun: str) -> str:
    """A number of things."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
