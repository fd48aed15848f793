"""A file as a table that an estimator takes: what each column is, what is left out, and which cells cannot be read."""

import difflib
import shlex
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from skvae._command.errors import Unusable, one_line, shown
from skvae._command.reading import File, is_index, read_file
from skvae._command.styles import Cells, Style, allowed, decimals_of, is_missing, style_of, styles_of_numbers
from skvae._tables.schema import Schema

LEAST_ROWS = 2
FEWEST_COUNTED = 20  # rows from which on a column that counts them is told from one that does not
PLAIN = Style("text")


@dataclass(frozen=True)
class Wrong:
    """A cell that is no number, or no date, in a column of such."""

    row: int
    column: str
    text: str


@dataclass(frozen=True)
class Table:
    """A file as an estimator takes it.

    Attributes
    ----------
    file : File
    rows : DataFrame
        The columns that are used, each of one kind.
    styles : dict
        How each of these is written.
    wrong : tuple of Wrong
        Cells that were made missing.
    notes : dict
        What there is to say of columns, by their names.
    kinds : dict
        What each column is taken for, in a word, by name.
    """

    file: File
    rows: pd.DataFrame
    styles: dict[str, Style]
    wrong: tuple[Wrong, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.file.name


def read_table(path: str, options: Namespace) -> Table:
    """Read a table and decide what its columns are.

    Raises
    ------
    Unusable
        Where it is none that an estimator could take.
    """
    file = read_file(path, options.encoding, options.separator)
    frame = _without(file, options.drop)
    kinds, notes = dict.fromkeys(file.frame, "left out"), dict.fromkeys(options.drop, "by --drop")
    for label in filter(is_index, frame.columns):
        notes[label] = "names the rows"
    frame = frame.loc[:, [label for label in frame if label not in notes]]
    if frame.shape[1] == 1 and file.frame.shape[1] == 1:
        raise Unusable(
            f"{file.name}: has one column only, {shown(frame.columns[0])}; cells are separated by , ; tab or |, "
            "or by what --separator says"
        )
    styles = _styles(file, frame, options.missing)
    rows, wrong = _read(frame, styles, options.missing)
    for label in rows:
        if _counts_rows(rows[label]):
            notes[label] = "counts the rows"
    rows = rows.drop(columns=[label for label in rows if label in notes])
    used = _used(file.name, rows, kinds, notes)
    _tell_of_texts(frame, styles, notes)
    wrong = [cell for cell in wrong if cell.column in used]
    return Table(file, rows[used], {label: styles[label] for label in used}, tuple(wrong), kinds, notes)


def read_like(path: str, options: Namespace, clean: Table) -> Table:
    """Read a table whose columns are what those of another one are.

    Raises
    ------
    Unusable
        Where it lacks some, or holds other things in them.
    """
    file = read_file(path, options.encoding, options.separator)
    _without(file, [label for label in options.drop if label not in clean.file.frame])
    missing = [label for label in clean.rows if label not in file.frame]
    if len(missing) == clean.rows.shape[1]:
        raise Unusable(f"{file.name}: has none of the columns of {clean.name}, such as {shown(missing[0])}")
    if missing:
        names = ", ".join(map(shown, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise Unusable(
            f"{file.name}: lacks {names}, which {clean.name} has; add it, or leave it out: --drop {_quoted(missing)}"
        )
    frame = file.frame[list(clean.rows)]
    styles = {label: _style_like(clean, frame[label], options.missing) for label in frame}
    rows, wrong = _read(frame, styles, options.missing)
    _check_kinds(file.name, frame, rows, wrong, clean)
    _check_finite(file.name, rows)
    kinds = {label: clean.kinds.get(label, "left out") for label in file.frame}
    extra = [label for label in file.frame if label not in clean.file.frame and label not in options.drop]
    notes = dict.fromkeys(extra, f"not in {clean.name}")
    return Table(file, rows, styles, tuple(wrong), kinds, notes)


def _without(file: File, dropped: Iterable[str]) -> pd.DataFrame:
    labels = list(file.frame)
    for label in dropped:
        if label not in labels:
            close = difflib.get_close_matches(label, labels, n=1) or labels[:5]
            raise Unusable(f"{file.name}: has no column {shown(label)} to drop; there is {', '.join(map(shown, close))}")
    frame = file.frame.drop(columns=list(dropped))
    if frame.shape[1] == 0:
        raise Unusable(f"{file.name}: --drop leaves no column; drop fewer")
    return frame


def _styles(file: File, frame: pd.DataFrame, missing: list[str]) -> dict[str, Style]:
    """How each column is written; what decimals are parted by where a column does not tell, other columns do."""
    cells = {label: _cells(frame[label], missing) for label in frame if is_text(frame[label])}
    numbers = {label: styles_of_numbers(counts) for label, counts in cells.items()}
    votes = Counter[str]()
    for label, styles in numbers.items():
        if len(decimals_of(styles)) == 1 and any(styles[0].decimal in text for text in cells[label]):
            votes.update(decimals_of(styles))
    prefers_comma = votes[","] > votes["."] or (not votes and file.separator == ";" and _has_commas(cells.values()))
    return {
        label: style_of(cells[label], numbers[label], prefers_comma) if label in cells else Style("typed") for label in frame
    }


def _has_commas(columns: Iterable[Cells]) -> bool:
    return any("," in text for cells in columns for text in cells)


def _cells(column: pd.Series, missing: Iterable[str]) -> Cells:
    """How often each text is there that does not stand for a missing value."""
    counts = column.value_counts()
    return Counter({text: int(n) for text, n in counts.items() if not is_missing(text, missing)})


def is_text(column: pd.Series) -> bool:
    """Whether a column holds text, be it declared as categories."""
    dtype = str(column.dtype)
    return dtype == "object" or dtype.startswith(("str", "large_string", "dictionary<values=string"))


def _read(frame: pd.DataFrame, styles: dict[str, Style], missing: list[str]) -> tuple[pd.DataFrame, list[Wrong]]:
    columns, wrong = {}, []
    for label, style in styles.items():
        columns[label], is_wrong = style.read(frame[label], missing)
        wrong += [Wrong(int(row), label, str(text)) for row, text in frame[label][is_wrong].items()]
    return pd.DataFrame(columns, index=frame.index), wrong


def _counts_rows(column: pd.Series) -> bool:
    """Whether a column goes up by one from row to row."""
    if len(column) < FEWEST_COUNTED or not str(column.dtype).lower().startswith("int") or column.isna().any():
        return False
    return bool((np.diff(column.to_numpy(dtype=np.int64)) == 1).all())


def _used(name: str, rows: pd.DataFrame, kinds: dict[str, str], notes: dict[str, str]) -> list[str]:
    """The columns that can be learned from, after a word on each."""
    if len(rows) < LEAST_ROWS:
        raise Unusable(f"{name}: has only one row; at least two are needed, because rows are compared with each other")
    _check_finite(name, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is said here
        try:
            columns = Schema.of(rows).columns if rows.shape[1] else ()
        except ValueError as error:
            raise told(error, name) from None
    for column in columns:
        is_used = column.kind != "ignored"
        kinds[column.name] = {"datetime": "date"}.get(column.kind, column.kind) if is_used else "left out"
        notes[column.name] = column.note if is_used else column.note.replace("categories", "different texts")
    used = [column.name for column in columns if column.kind != "ignored"]
    if not used:
        raise Unusable(f"{name}: no column can be learned from; all are empty, dropped, or different in nearly every row")
    if all(column.is_constant for column in columns if column.kind != "ignored"):
        raise Unusable(f"{name}: all rows are equal in the columns that can be used, such as {shown(used[0])}")
    return used


def _check_finite(name: str, rows: pd.DataFrame) -> None:
    for label in rows.select_dtypes("number"):
        numbers = rows[label].to_numpy(dtype=np.float64, na_value=np.nan)
        with np.errstate(over="ignore"):
            is_infinite = np.isinf(4 * numbers)  # estimators take no numbers beyond a quarter of the largest
        if is_infinite.any():
            row = rows.index[is_infinite][0]
            raise Unusable(
                f"{name}: column {shown(label)} holds infinity, or a number close to it, in row {row}; correct it, leave the "
                f"cell empty, or leave the column out: --drop {_quoted([label])}"
            )


def _tell_of_texts(frame: pd.DataFrame, styles: dict[str, Style], notes: dict[str, str]) -> None:
    """Say of columns of text that most of their cells are numbers."""
    for label, style in styles.items():
        if style.kind != "text":
            continue
        cells = _cells(frame[label], ())
        values = Style("number").values(list(cells))
        other = Counter({text: n for (text, n), value in zip(cells.items(), values, strict=True) if pd.isna(value)})
        if allowed(cells.total()) < other.total() < 0.5 * cells.total():
            text, n = other.most_common(1)[0]
            told_of = f"{other.total()} cells are not numbers, {n} of them {shown(text, 20)} (--missing {_quoted([text])}?)"
            notes[label] = f"{told_of}; {notes[label]}" if notes.get(label) else told_of


def _style_like(clean: Table, column: pd.Series, missing: list[str]) -> Style:
    """How a column is written that is a kind of column already."""
    fitted = clean.styles[column.name]
    if not is_text(column):
        return Style("typed")
    kind = {"number": "number", "date": "date"}.get(clean.kinds[column.name], "text")
    if kind == "text":
        return PLAIN
    cells = _cells(column, missing)
    style = style_of(cells, styles_of_numbers(cells), prefers_comma=fitted.decimal == ",")
    return style if style.kind == kind else fitted if fitted.kind == kind else Style(kind)


def _check_kinds(name: str, frame: pd.DataFrame, rows: pd.DataFrame, wrong: list[Wrong], clean: Table) -> None:
    """Refuse columns of which most cells cannot be what they are in the other table."""
    n_wrong = Counter(cell.column for cell in wrong)
    for label, n in n_wrong.items():
        if n > 0.5 * (n + rows[label].notna().sum()):
            first = next(cell for cell in wrong if cell.column == label)
            raise Unusable(
                f"{name}: column {shown(label)} is a {clean.kinds[label]} in {clean.name}, but row {first.row} holds "
                f"{shown(first.text)}; correct it, or leave it out: --drop {_quoted([label])}"
            )
    for label in frame:
        expects_text = is_text(clean.rows[label])
        if frame[label].notna().any() and expects_text != is_text(rows[label]):
            raise Unusable(
                f"{name}: column {shown(label)} has type {frame[label].dtype}, but is a {clean.kinds[label]} in {clean.name}; "
                f"write both alike, or leave it out: --drop {_quoted([label])}"
            )


def told(error: Exception, name: str) -> Unusable:
    """An error of an estimator for a person at a terminal."""
    text = one_line(error)
    quote = text[len("Column ") :].split("'")[1:2] if text.startswith("Column '") else []
    if quote:
        reason = text.split(";")[0].removeprefix("Column ")
        return Unusable(f"{name}: column {reason}; leave it out: --drop {_quoted(quote)}")
    return Unusable(f"{name}: {text.split('`')[0].rstrip(' ,').removesuffix(' with')}")


def _quoted(names: Iterable[str]) -> str:
    """Names as a shell takes them."""
    return " ".join(shlex.quote(one_line(name)) for name in names)
