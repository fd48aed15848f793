"""How the cells of a column are written: text becomes numbers and dates, and what is filled in looks like the others."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from skvae._tables.texts import BLANKS, SPACES, STYLES, SYMBOLS, date_formats, number_pattern

WORDS = {"none", "nil", "missing", "unknown"}  # blanks that may be categories
MOST_WRONG, FEW_WRONG = 0.01, 3  # cells of a column of numbers or dates that are neither: this share, or so many, ...
MOST_OF_FEW = 0.1  # ... but no larger share than this
SAMPLE = 200  # distinct cells that a style is tried on first
MOST_DECIMALS = 8
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")  # a number, or one of thousands that are parted by dots
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
            return _written_date(pd.Timestamp(value), self.format)
        if self.kind != "number":
            return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
        if self.decimals is None:
            return f"{value:.6g}"
        text = f"{value:{',' if self.thousands else ''}.{self.decimals}f}"
        text = text.translate({ord(","): self.thousands[:1], ord("."): self.decimal})
        return self.before + text + self.after


def _written_date(value: pd.Timestamp, form: str) -> str:
    try:
        return str(value.strftime(form))
    except NotImplementedError:  # pandas cannot write years before 1 and after 9999
        return str(value)


def is_missing(text: str, missing: Iterable[str] = (), kind: str = "number") -> bool:
    """Whether a cell stands for a missing value."""
    text = text.strip()
    word = text.lower()
    return (word in BLANKS and (kind != "text" or word not in WORDS)) or text in missing


def style_of(cells: Cells, fitting: list[Style], prefers_comma: bool) -> Style:
    """How a column is written, of which ``cells`` are not missing and ``fitting`` are the styles of numbers that fit best."""
    if fitting:
        style = next((style for style in fitting if (style.decimal == ",") == prefers_comma), fitting[0])
        return replace(style, decimals=_decimals(style, cells))
    formats = dict.fromkeys(form for text in list(cells)[:SAMPLE] for form in date_formats(text.strip(SPACES)))
    return next(iter(_best(cells, (Style("date", format=form) for form in formats))), Style("text"))


def allowed(n: int) -> float:
    """The most cells of a column of numbers, or dates, that may be neither."""
    return min(max(FEW_WRONG, MOST_WRONG * n), MOST_OF_FEW * n)


def styles_of_numbers(cells: Cells) -> list[Style]:
    """Styles of numbers in which nearly all cells are written, those that fit best; several where the cells do not tell.

    Where all cells are plain numbers, and not all could be thousands parted by dots, it is the plain style alone.
    """
    codes = sum(n for text, n in cells.items() if re.match(r"\s*[+-]?0\d", text))
    if codes > allowed(cells.total()):
        return []
    before, after = _affixes(cells)
    styles = [Style("number", thousands, decimal, before=before, after=after) for thousands, decimal in STYLES]
    is_plain = _n_wrong(cells, styles[0]) == 0 and not all(GROUPED.fullmatch(text.strip()) for text in cells)
    return styles[:1] if is_plain else _best(cells, styles)


def decimals_of(styles: list[Style]) -> set[str]:
    """What parts decimals in the styles that a column may be written in."""
    return {style.decimal for style in styles}


def _best(cells: Cells, styles: Iterable[Style]) -> list[Style]:
    """The styles that the fewest cells are not written in, where these are few enough."""
    wrong = [(_n_wrong(cells, style), style) for style in styles]
    least = min((n for n, _ in wrong), default=np.inf)
    return [style for n, style in wrong if n == least <= allowed(cells.total())]


def _n_wrong(cells: Cells, style: Style) -> int:
    """Cells that are written otherwise; of a sample alone where those are many."""
    texts = list(cells)
    sample = texts[:: -(-len(texts) // SAMPLE) or 1]
    if style.values(sample).isna().sum() > 0.2 * len(sample) + 1:
        return cells.total()
    values = style.values(texts)
    return sum(cells[text] for text, is_wrong in zip(texts, values.isna(), strict=True) if is_wrong)


def numbers(texts: pd.Series, thousands: str, decimal: str) -> pd.Series:
    """Numbers that are written in a style; NaN for all else."""
    plain = pd.to_numeric(texts, errors="coerce").astype(np.float64)
    if (thousands, decimal) == ("", ".") and plain.notna().all():
        return plain
    bare = texts.str.replace(f"[{SYMBOLS}]", "", regex=True).str.strip(SPACES)
    if (thousands, decimal) != ("", "."):
        bare = bare.where(bare.map(lambda text: bool(number_pattern(thousands, decimal).fullmatch(text))))
        bare = bare.str.replace(f"[{thousands}]", "", regex=True) if thousands else bare
        bare = bare.str.replace(decimal, ".", regex=False)
    return pd.to_numeric(bare, errors="coerce").astype(np.float64)


def _decimals(style: Style, cells: Cells) -> int | None:
    """The most decimals that a cell has; None where cells are written with exponents, or with very many."""
    if style.decimal == "." and any("e" in text.lower() and style.values([text]).notna()[0] for text in cells):
        return None
    behind = (text.strip(SPACES + SYMBOLS).rpartition(style.decimal) for text in cells)
    most = max((len(digits) for _, found, digits in behind if found and digits.isdecimal()), default=0)
    return most if most <= MOST_DECIMALS else None


def _affixes(cells: Cells) -> tuple[str, str]:
    """The symbols around the most frequent number."""
    pattern = re.compile(rf"(?P<before>[{SYMBOLS}]?)[^{SYMBOLS}]*(?P<after>[{SYMBOLS}]?)")
    found = Counter[tuple[str, str]]()
    for text in list(cells)[:SAMPLE]:
        match = pattern.fullmatch(text.strip(SPACES))
        if match:
            found[match["before"], match["after"]] += 1
    return found.most_common(1)[0][0] if found else ("", "")
