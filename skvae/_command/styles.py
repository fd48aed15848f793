"""How the cells of a column are written, so that text becomes numbers and dates, and what is filled in looks like the others."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skvae._tables.texts import BLANKS, SPACES, STYLES, SYMBOLS, date_formats, number_pattern

WORDS = {"none", "nil", "missing", "unknown"}  # blanks that may be categories
MOST_WRONG, FEW_WRONG = 0.01, 3  # cells of a column of numbers or dates that are neither: this share, or so many, ...
MOST_OF_FEW = 0.1  # ... but no larger share than this
SAMPLE = 200  # distinct cells that a style is tried on first
MOST_DECIMALS = 8
Cells = Counter[str]  # how often each text is there


@dataclass(frozen=True)
class Style:
    """How the cells of a column are written.

    Attributes
    ----------
    kind : {"number", "date", "text", "typed"}
        "typed" is what came with a type of its own.
    thousands, decimal : str
        Of numbers, what parts thousands, and decimals.
    decimals : int or None
        Of numbers, the most that a cell has; None where they are written with exponents.
    before, after : str
        Of numbers, symbols such as those of currencies.
    format : str
        Of dates, as ``strftime`` writes it.
    """

    kind: str
    thousands: str = ""
    decimal: str = "."
    decimals: int | None = 0
    before: str = ""
    after: str = ""
    format: str = ""

    def read(self, column: pd.Series, missing: Iterable[str] = ()) -> tuple[pd.Series, np.ndarray]:
        """The values of a column, and which cells have none though something is there."""
        if self.kind == "typed":
            return column, np.zeros(len(column), dtype=bool)
        codes, texts = pd.factorize(column)  # a missing cell has the code -1
        is_blank = np.array([is_missing(text, missing, self.kind) for text in texts], dtype=bool)
        values = self.values(list(texts))
        is_wrong = np.append(values.isna() & ~is_blank, False)[codes]
        result = values.mask(is_blank).reindex(codes).set_axis(column.index)
        return self._typed(result.rename(column.name)), is_wrong

    def values(self, texts: list[str]) -> pd.Series:
        """What texts mean; missing where they are written otherwise."""
        stripped = pd.Series([text.strip(SPACES) for text in texts], dtype=object)
        if self.kind == "text":
            return stripped
        if self.kind == "date":
            return pd.to_datetime(stripped, format=self.format, errors="coerce", utc="%z" in self.format)
        return numbers(stripped, self.thousands, self.decimal)

    def _typed(self, values: pd.Series) -> pd.Series:
        """Integers where all numbers are whole."""
        if self.kind != "number" or not ((values.fillna(0) % 1 == 0) & (values.fillna(0).abs() < 2**53)).all():
            return values
        return values.astype("Int64" if values.isna().any() else "int64")

    def written(self, value: Any) -> str:
        """A value as the column would have it."""
        if pd.isna(value):
            return ""
        if self.kind == "date":
            return str(pd.Timestamp(value).strftime(self.format))
        if self.kind != "number":
            return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
        if self.decimals is None:
            return f"{value:.6g}"
        text = f"{value:{',' if self.thousands else ''}.{self.decimals}f}"
        text = text.translate({ord(","): self.thousands[:1], ord("."): self.decimal})
        return self.before + text + self.after


def is_missing(text: str, missing: Iterable[str] = (), kind: str = "number") -> bool:
    """Whether a cell stands for a missing value."""
    text = text.strip()
    word = text.lower()
    return (word in BLANKS and (kind != "text" or word not in WORDS)) or text in missing


def style_of(cells: Cells, prefers_comma: bool) -> Style:
    """How a column is written, of which ``cells`` are not missing."""
    most_wrong = allowed(cells.total())
    for kind in (candidates(cells), _dates(cells)):
        if kind and kind[0][0] <= most_wrong:
            least = kind[0][0]
            fitting = [style for wrong, style in kind if wrong == least]
            return next((style for style in fitting if (style.decimal == ",") == prefers_comma), fitting[0])
    return Style("text")


def allowed(n: int) -> float:
    """The most cells of a column of numbers, or dates, that may be neither."""
    return min(max(FEW_WRONG, MOST_WRONG * n), MOST_OF_FEW * n)


def candidates(cells: Cells) -> list[tuple[int, Style]]:
    """Styles of numbers that nearly all cells are written in, those with the fewest other cells first."""
    codes = sum(n for text, n in cells.items() if re.match(r"\s*[+-]?0\d", text))
    if codes > allowed(cells.total()):
        return []
    before, after = _affixes(cells)
    found = []
    for thousands, decimal in STYLES:
        style = Style("number", thousands, decimal, 0, before, after)
        wrong = _n_wrong(cells, style)
        if wrong <= allowed(cells.total()):
            found.append((wrong, style))
    found.sort(key=lambda pair: pair[0])
    return [(wrong, _with_decimals(style, cells)) for wrong, style in found]


def _dates(cells: Cells) -> list[tuple[int, Style]]:
    formats = dict.fromkeys(form for text in list(cells)[:SAMPLE] for form in date_formats(text.strip(SPACES)))
    found = [(_n_wrong(cells, style), style) for style in (Style("date", format=form) for form in formats)]
    return sorted(found, key=lambda pair: pair[0])


def _n_wrong(cells: Cells, style: Style) -> int:
    """Cells that are written otherwise; of a sample where those are many."""
    texts = list(cells)
    for some in (texts[:: -(-len(texts) // SAMPLE)], texts):
        wrong = [cells[text] for text, value in zip(some, style.values(some), strict=True) if pd.isna(value)]
        if len(wrong) > 0.2 * len(some) + 1:
            break
    return sum(wrong) if some is texts else cells.total()


def numbers(texts: pd.Series, thousands: str, decimal: str) -> pd.Series:
    """Numbers that are written in a style; NaN for all else."""
    bare = texts.str.replace(f"[{SYMBOLS}]", "", regex=True).str.strip(SPACES)
    if (thousands, decimal) != ("", "."):
        bare = bare.where(bare.map(lambda text: bool(number_pattern(thousands, decimal).fullmatch(text))))
        bare = bare.str.replace(f"[{thousands}]", "", regex=True) if thousands else bare
        bare = bare.str.replace(decimal, ".", regex=False)
    return pd.to_numeric(bare, errors="coerce").astype(np.float64)


def _with_decimals(style: Style, cells: Cells) -> Style:
    """The style with as many decimals as cells have."""
    decimals = 0
    for text in cells:
        if "e" in text.lower() and style.decimal == ".":
            if not pd.isna(style.values([text])[0]):
                return _replaced(style, None)
            continue
        _, found, behind = text.strip(SPACES + SYMBOLS).rpartition(style.decimal)
        decimals = max(decimals, len(behind)) if found and behind.isdecimal() else decimals
    return _replaced(style, decimals if decimals <= MOST_DECIMALS else None)


def _replaced(style: Style, decimals: int | None) -> Style:
    return Style(style.kind, style.thousands, style.decimal, decimals, style.before, style.after)


def _affixes(cells: Cells) -> tuple[str, str]:
    """The symbols around the most frequent number."""
    pattern = re.compile(rf"(?P<before>[{SYMBOLS}]?)[^{SYMBOLS}]*(?P<after>[{SYMBOLS}]?)")
    found = Counter[tuple[str, str]]()
    for text in list(cells)[:SAMPLE]:
        match = pattern.fullmatch(text.strip(SPACES))
        if match:
            found[match["before"], match["after"]] += 1
    return found.most_common(1)[0][0] if found else ("", "")
