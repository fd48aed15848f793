"""Numbers and dates that are written as text: their format, and code that converts them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

SAMPLE = 1000  # number of distinct texts that are examined
BLANKS = {"", "-", "--", ".", "?", "na", "n/a", "#n/a", "nan", "nil", "none", "null", "missing", "unknown"}
SPACES = " \t\n\r\xa0\u202f"
SYMBOLS = "$€£¥₹%"
STYLES = (  # of numbers: separators of thousands, and decimal separator
    *(("", "."), (",", "."), ("'", "."), (SPACES, ".")),
    *(("", ","), (".", ","), ("'", ","), (SPACES, ",")),
)
MOMENT = re.compile(
    r"(?P<first>\d{1,4})(?P<by>[-/. ])(?P<second>\d{1,2}|[A-Za-z]{3})(?P=by)(?P<third>\d{1,4})"
    r"(?:(?P<between>[ T])\d{1,2}:\d\d(?P<seconds>:\d\d)?(?P<fraction>\.\d+)?"
    r"(?P<half> ?[AaPp][Mm])?(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
)


@dataclass(frozen=True)
class Text:
    """Format of numbers or dates that are written as text.

    Attributes
    ----------
    kind : {"number", "datetime"}
    examples : tuple of str
        The first texts, at most three.
    blanks : tuple of str
        Texts that mark missing values.
    dropped : str
        Characters that are not part of the number: symbols, spaces and separators of thousands. For dates, spaces around them.
    decimal : {".", ","}
        Decimal separator.
    format : str
        Format of dates for ``datetime.strptime``.
    """

    kind: str
    examples: tuple[str, ...] = ()
    blanks: tuple[str, ...] = ()
    dropped: str = ""
    decimal: str = "."
    format: str = ""

    @property
    def meaning(self) -> str:
        """The kind of values, in a word."""
        return {"number": "numbers", "datetime": "dates"}[self.kind]

    def converted(self, column: str, library: str) -> str:
        """An expression that converts a column, given as an expression, in the library of its frame."""
        if library == "polars":
            return self._converted_by_polars(column)
        lenient = ", errors='coerce'" if self.blanks else ""
        if self.kind == "datetime":
            column = f"{column}.str.strip()" if self.dropped else column
            zone = ", utc=True" if "%z" in self.format else ""
            return f"pd.to_datetime({column}, format={self.format!r}{zone}{lenient})"
        column = f"{column}.str.replace({f'[{self.dropped}]'!r}, '', regex=True)" if self.dropped else column
        column = f"{column}.str.replace(',', '.')" if self.decimal == "," else column
        return f"pd.to_numeric({column}{lenient})"

    def _converted_by_polars(self, column: str) -> str:
        lenient = ", strict=False" if self.blanks else ""
        if self.kind == "datetime":
            column = f"{column}.str.strip_chars()" if self.dropped else column
            method = "to_datetime" if "%M" in self.format else "to_date"
            return f"{column}.str.{method}({self.format.replace('.%f', '%.f')!r}{lenient})"
        column = f"{column}.str.replace_all({f'[{self.dropped}]'!r}, '')" if self.dropped else column
        column = f"{column}.str.replace(',', '.', literal=True)" if self.decimal == "," else column
        return f"{column}.cast(pl.Float64{lenient})"


def text_of(levels: Sequence[str]) -> Text | None:
    """Format in which the categories of a column are numbers or dates; None if they are not.

    All categories of a sample must have the format, except for blanks. Digits that are identifiers are not numbers: they have
    leading zeros, equal lengths, or the length of telephone numbers.
    """
    values = [level for level in levels[:: -(-len(levels) // SAMPLE) or 1] if not _is_blank(level)]
    text = (_moments(values) or _numbers(values)) if values else None
    if text is None:
        return None
    return replace(text, examples=tuple(values[:3]), blanks=tuple(level for level in levels if _is_blank(level)))


def _is_blank(level: str) -> bool:
    return len(level) < 16 and level.strip().lower() in BLANKS


def _numbers(values: list[str]) -> Text | None:
    bare = [re.sub(f"[{SYMBOLS}]", "", value).strip(SPACES) for value in values]
    if any(re.match(r"[+-]?0\d", value) for value in bare) or _are_names(values):
        return None
    for thousands, decimal in STYLES:
        pattern = number_pattern(thousands, decimal)
        if all(map(pattern.fullmatch, bare)):
            seen = set("".join(values))
            dropped = "".join(char for char in SYMBOLS + SPACES + thousands.strip(SPACES) if char in seen)
            return Text("number", dropped=dropped, decimal=decimal)
    return None


def number_pattern(thousands: str, decimal: str) -> re.Pattern[str]:
    """What numbers of a style look like."""
    parted = rf"|[1-9]\d{{0,2}}(?:[{thousands}]\d{{3}})+" if thousands else ""
    exponent = r"(?:[eE][+-]?\d+)?" if decimal == "." else ""
    return re.compile(rf"[+-]?(?:(?:\d+{parted})(?:[{decimal}]\d*)?|[{decimal}]\d+){exponent}")


def _are_names(values: list[str]) -> bool:
    """Whether texts of digits are identifiers: all of one length (except years), or all as long as telephone numbers."""
    digits = [re.sub(f"[{SPACES}+]", "", value) for value in values]
    if not all(map(str.isdecimal, digits)):
        return False
    shortest, longest = min(map(len, digits)), max(map(len, digits))
    if shortest == longest == 4:
        return not all(1800 <= int(number) <= 2100 for number in digits)
    return shortest == longest > 4 or shortest > 6


def _moments(values: list[str]) -> Text | None:
    bare = [value.strip(SPACES) for value in values]
    for form in date_formats(bare[0]):
        if all(_is_of_format(value, form) for value in bare):
            return Text("datetime", dropped=" " if bare != values else "", format=form)
    return None


def date_formats(value: str) -> Iterator[str]:
    """The formats that a date may be of, the likelier first."""
    parts = MOMENT.fullmatch(value)
    if parts is None:
        return
    by, month = parts["by"], "%b" if parts["second"].isalpha() else "%m"
    time = ""
    if parts["between"]:
        half = parts["half"]
        time = parts["between"] + ("%I" if half else "%H") + ":%M" + (":%S" if parts["seconds"] else "")
        time += (".%f" if parts["fraction"] else "") + (half[:-2] + "%p" if half else "")
        time += {"Z": "Z"}.get(parts["zone"], "%z") if parts["zone"] else ""
    if len(parts["first"]) == 4:
        yield by.join(["%Y", month, "%d"]) + time
        return
    year = "%Y" if len(parts["third"]) == 4 else "%y"
    orders = [["%d", month], ["%m", "%d"]] if by != "/" else [["%m", "%d"], ["%d", month]]
    yield from (by.join([*order, year]) + time for order in orders)


def _is_of_format(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)
    except ValueError:
        return False
    return True
