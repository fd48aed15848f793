"""Files of tables: csv as text, parquet and Arrow with their types."""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skvae._command.errors import Unusable, one_line, shown

SEPARATORS = ",;\t|"
HEAD, HEAD_ROWS = 1 << 20, 200  # characters and rows that the separator is recognised by
MAGIC = {b"PAR1": "parquet", b"ARROW1": "Arrow", b"FEA1": "Arrow", b"\xff\xff\xff\xff": "Arrow"}
FOREIGN = {
    b"PK\x03\x04": "is a zip archive or an Excel workbook; save the sheet as csv",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the sheet as csv",
    b"<!DOCTYPE": "is a web page; save the table as csv",
    b"<html": "is a web page; save the table as csv",
    b"<?xml": "is XML; save the table as csv",
    b"[{": "is JSON; convert it to csv",
    b'{"': "is JSON; convert it to csv",
    b"%PDF": "is a PDF document; export the table as csv",
    b"BZh": "is compressed by bzip2; decompress it first",
    b"\xfd7zXZ": "is compressed by xz; decompress it first",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; decompress it first",
}
PANDAS_INDEX = "__index_level_0__"


@dataclass(frozen=True)
class File:
    """The content of a file.

    Attributes
    ----------
    name : str
        What messages call it.
    frame : DataFrame
        Rows are numbered from 1. Cells of csv are strings.
    separator : str
        Of csv; a comma for all else.
    """

    name: str
    frame: pd.DataFrame
    separator: str = ","


def read_file(path: str, encoding: str | None = None, separator: str | None = None) -> File:
    """Read a table.

    Raises
    ------
    Unusable
        Where there is none.
    """
    name = "standard input" if path == "-" else path
    data = _decompressed(_content(path, name), name)
    if not data.strip():
        raise Unusable(f"{name}: is empty; a table has a line of column names and rows")
    for magic, remedy in FOREIGN.items():
        if data.startswith(magic):
            raise Unusable(f"{name}: {remedy}")
    kind = next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)
    if kind is not None:
        return File(name, _numbered(_arrow_frame(data, kind, name), name))
    text = _decoded(data, encoding, name)
    separator = "\t" if separator == r"\t" else separator  # as most shells pass it
    if separator is None:
        separator = _separator_of(text)
    elif len(separator) != 1 or separator in '"\r\n':
        raise Unusable(f"--separator {shown(separator)}: it must be one character, such as ';'")
    return File(name, _numbered(_csv_frame(text, separator, name), name), separator)


def _content(path: str, name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except FileNotFoundError:
        raise Unusable(f"{name}: no such file") from None
    except IsADirectoryError:
        raise Unusable(f"{name}: is a directory; name a file") from None
    except (OSError, ValueError) as error:  # ValueError for a name with a NUL character
        raise Unusable(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _decompressed(data: bytes, name: str) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise Unusable(f"{name}: is a damaged or incomplete gzip file ({one_line(error)}); copy it again") from None


def _decoded(data: bytes, encoding: str | None, name: str) -> str:
    if encoding is None and data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unusable(f"{name}: is encoded as UTF-16; add --encoding utf-16")
    try:
        text = data.decode("utf-8-sig" if encoding is None or encoding.lower() in {"utf8", "utf-8"} else encoding)
    except LookupError:
        raise Unusable(f"--encoding {shown(encoding)}: no such encoding; try utf-8, cp1252 or utf-16") from None
    except UnicodeError as error:
        place = getattr(error, "start", 0)
        line = data.count(b"\n", 0, place) + 1
        if b"\0" in data[: place + 1000]:
            raise Unusable(f"{name}: is not text (byte {place}, line {line}); a table must be csv, parquet or Arrow") from None
        remedy = "add --encoding cp1252, or that of the program that wrote it" if encoding is None else "try another --encoding"
        raise Unusable(
            f"{name}: line {line}, byte {place}: is not {encoding or 'UTF-8'} (0x{data[place]:02x}); {remedy}"
        ) from None
    if "\0" in text:
        place = text.index("\0")
        line = text.count("\n", 0, place) + 1
        raise Unusable(f"{name}: line {line} holds a NUL character; remove it, or write the table again as csv")
    return text


def _separator_of(text: str) -> str:
    """The separator by which most rows have as many cells as the header."""

    def fit(separator: str) -> tuple[float, int]:
        sizes = []
        try:
            for row in csv.reader(io.StringIO(text[:HEAD], newline=""), delimiter=separator):
                sizes += [len(row)] if row else []
                if len(sizes) == HEAD_ROWS:
                    break
        except csv.Error:
            pass  # told where the whole is read
        if not sizes or sizes[0] == 1:
            return 0.0, 0
        return sizes.count(sizes[0]) / len(sizes), sizes[0]

    return max(SEPARATORS, key=fit)


def _csv_frame(text: str, separator: str, name: str) -> pd.DataFrame:
    rows = _rows(text, separator, name)
    _, header = next(rows, (0, []))
    cells = []
    for line, row in rows:
        if len(row) != len(header):
            raise Unusable(
                f"{name}: line {line} has {_cells(row)}, but the header has {len(header)}; cells are separated by "
                f"{separator!r}: quote cells that hold it, remove lines above the header, or give another --separator"
            )
        cells.append(row)
    columns = [pd.Series(column, dtype=object) for column in zip(*cells, strict=True)] or [pd.Series(dtype=object)] * len(
        header
    )
    return pd.DataFrame(dict(enumerate(columns))).set_axis([field.strip() for field in header], axis=1)


def _rows(text: str, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the line that it ends on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                yield reader.line_num, row
    except csv.Error as error:
        reason = str(error)
        if "field limit" in reason or "unexpected end" in reason:
            reason = "a quoted cell does not end, or a cell is very long"
        raise Unusable(f"{name}: line {reader.line_num}: {one_line(reason)}; mend the quotation marks") from None


def _cells(row: list[str]) -> str:
    return "1 cell" if len(row) == 1 else f"{len(row)} cells"


def _arrow_frame(data: bytes, kind: str, name: str) -> pd.DataFrame:
    try:
        import pyarrow as pa
        from pyarrow import feather, parquet
    except ImportError:
        raise Unusable(f"{name}: is {kind}, which needs pyarrow: `pip install pyarrow`, or use csv") from None
    source = pa.BufferReader(data)
    try:
        if kind == "parquet":
            table = parquet.read_table(source)
        elif data.startswith(b"\xff\xff\xff\xff"):
            table = pa.ipc.open_stream(source).read_all()
        else:
            table = feather.read_table(source)
        frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise Unusable(f"{name}: is a damaged or incomplete {kind} file ({one_line(error)[:100]}); write it again") from None
    return frame


def _numbered(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame with rows counted from 1; refused where it is no table."""
    frame.columns = pd.Index([str(label) for label in frame.columns], dtype=object)
    doubled = frame.columns[frame.columns.duplicated()]
    if frame.shape[1] == 0:
        raise Unusable(f"{name}: has no columns")
    if len(frame) == 0:
        raise Unusable(f"{name}: has column names but no rows")
    if any(doubled != ""):
        twice = next(label for label in doubled if label)
        places = [i + 1 for i, label in enumerate(frame.columns) if label == twice]
        raise Unusable(f"{name}: column {shown(twice)} is there twice, as columns {places[0]} and {places[1]}; rename one")
    frame = _with_names(frame, name)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    return frame


def _with_names(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame without nameless empty columns, which are due to separators at the ends of lines."""
    is_kept = []
    for i, label in enumerate(frame.columns):
        column = frame.iloc[:, i]
        is_empty = label == "" and bool(column.map(lambda cell: isinstance(cell, str) and not cell.strip()).all())
        if label == "" and not is_empty and (i > 0 or column.duplicated().any()):
            raise Unusable(f"{name}: column {i + 1} has no name (its first value is {shown(column.iloc[0])}); give it one")
        is_kept.append(not is_empty)
    frame = frame.loc[:, is_kept]
    if frame.shape[1] == 0:
        raise Unusable(f"{name}: has no column with a name")
    return frame


def is_index(label: Any) -> bool:
    """Whether a column holds the labels that pandas gave the rows: a nameless first column, or one of its own name."""
    return label in {"", PANDAS_INDEX}
