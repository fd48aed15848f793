"""The page of a report on anomalies, section by section."""

from datetime import date
from importlib.resources import files
from typing import Any

import numpy as np

from skvae._display.cells import rounded, written
from skvae._html.charts import MOST_POINTS, bar, histogram, number, plane
from skvae._html.elements import Element, element, joined, table
from skvae._html.findings import Findings
from skvae._tables.columns import shortened

LONGEST_NAME, LONGEST_VALUE, LONGEST_IN_MAP, LONGEST_NOTE, LONGEST_LABEL = 60, 40, 16, 28, 24  # letters
N_REASONS = 3  # cells that are named for each row
LEAST_SHARE = 0.05  # of the score of a row, for a cell other than the first to be named
NOTABLE_SHARE = 0.2  # for a cell of the map to say what was expected
N_COLUMNS = 12  # of the map, or more: no row lacks the column that adds most to its score
DARKEST = 0.75  # opacity of the shade of a cell that makes its row odd alone
N_BLAMED = 10  # columns that are listed


def document(report: Findings) -> str:
    """A report as a file of its own."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", report.title),
        element("style", Element("body { margin: 0; background: #fff; }")),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', fragment(report)), lang='en')}\n"


def fragment(report: Findings) -> Element:
    """A report as a part of another page, such as a notebook."""
    style = Element((files("skvae._html") / "page.css").read_text(encoding="utf-8"))
    sections = (summary, distribution, reasons, cell_map, columns_to_blame, codes, columns)
    return element("div", element("style", style), *(section(report) for section in sections), class_="skvae-report")


def summary(report: Findings) -> Element:
    """What was looked at, and how many rows are flagged."""
    n_flagged = int(report.flagged.sum())
    size = f"{_count(len(report.scores), 'row')}, {_count(len(report.columns), 'column')}."
    count = f"{_count(n_flagged, 'row')} {'is' if n_flagged == 1 else 'are'}" if n_flagged else "No row is"
    facts = element("p", f"{size} {count} flagged {report.criterion}.")
    return joined([element("h1", report.title), facts, *map(_quiet, (*_cautions(report), *report.notes))])


def _cautions(report: Findings) -> list[str]:
    """What a reader has to know about the scores."""
    cautions = []
    if report.n_known:
        known = "All rows are" if report.n_known == len(report.scores) else f"{report.n_known:,} of the rows are"
        then = "They take no part in their own scores." if report.p_values is None else "Their p-values are not valid."
        cautions.append(f"{known} in the training table too. {then}")
    if report.least_flagged > 1:
        cautions.append(
            f"At least {report.least_flagged:,} rows are flagged, or none: p-values are no smaller than one over the number of "
            "training rows. A larger training table lowers this number."
        )
    return cautions


def distribution(report: Findings) -> Element:
    """The histogram of the scores."""
    tallest = "Higher scores are more anomalous. The height of a bar is the logarithm of the number of rows."
    return joined([element("h2", "Anomaly scores"), _quiet(tallest), histogram(report.scores, report.threshold)])


def reasons(report: Findings) -> Element:
    """The most anomalous rows, each with the cells that explain it."""
    p_value = [] if report.p_values is None else [_number("p-value", "th")]
    head = ["row", _number("score", "th"), *p_value, "", "cells to blame: found, expected"]
    lines = [_reason_line(report, i) for i in range(len(report.oddest))]
    heading = f"The {len(lines)} most anomalous rows" if len(lines) > 1 else "The most anomalous row"
    quiet = _quiet("The percentage is the share of the cell in the score of its row.")
    return joined([element("h2", heading), quiet, _scroll(table(head, lines, class_="reasons"))])


def _reason_line(report: Findings, i: int) -> list[Element]:
    row = report.oddest[i]
    telling = np.argsort(-report.shares[i], kind="stable")[:N_REASONS]
    least = min(LEAST_SHARE, report.shares[i].max())
    cells = [_reason(report, i, j) for j in telling if report.shares[i, j] >= least > 0]
    p_value = [] if report.p_values is None else [_number(f"{report.p_values[row]:.2g}")]
    return [
        _named(_label(report, row)),
        _number(number(report.scores[row])),
        *p_value,
        element("td", "flagged" if report.flagged[row] else ""),
        element("td", *cells),
    ]


def _reason(report: Findings, i: int, j: int) -> Element:
    text = f" {_value(report.found[i, j])}{_instead(report, i, j)} ({report.shares[i, j]:.0%})"
    return element("span", element("b", _column(report, j)), text, class_="reason")


def _instead(report: Findings, i: int, j: int) -> str:
    """What is expected in a cell, where that is something else than what was found."""
    found = written(report.found[i, j], LONGEST_VALUE)
    is_date = isinstance(report.found[i, j], date | np.datetime64)
    expected = rounded(report.expected[i, j], len(found) if is_date else LONGEST_VALUE)
    return f", expected {_isolated(expected)}" if expected not in {"", found} else ""


def cell_map(report: Findings) -> Element:
    """The values of these rows, shaded by their share in the score."""
    shown = _map_columns(report.shares)
    head = ["row", *(_column(report, j) for j in shown)]
    lines = [[_named(_label(report, row)), *(_shaded(report, i, j) for j in shown)] for i, row in enumerate(report.oddest)]
    left_out = len(report.columns) - len(shown)
    hint = "The darker a cell, the larger its share in the score of its row. Hover over a cell to see what was expected there."
    hint += f" Left out: {_count(left_out, 'column')} of little influence." if left_out else ""
    return joined([element("h2", "Their cells"), _quiet(hint), _scroll(table(head, lines, class_="map"))])


def _map_columns(shares: np.ndarray) -> np.ndarray:
    """The columns that matter most in some row, in the order of the table."""
    foremost = set(shares.argmax(axis=1).tolist())
    by_share = np.argsort(-shares.max(axis=0), kind="stable").tolist()
    return np.sort([*foremost, *(j for j in by_share if j not in foremost)][: max(N_COLUMNS, len(foremost))])


def _shaded(report: Findings, i: int, j: int) -> Element:
    share, found = report.shares[i, j], report.found[i, j]
    instead = _instead(report, i, j)
    small = element("small", f"{share:.0%}{shortened(instead, LONGEST_NOTE)}") if share >= NOTABLE_SHARE else ""
    return element(
        "td",
        _value(found, LONGEST_IN_MAP),
        small,
        title=f"{_column(report, j)}: {_value(found)}{instead}; {share:.0%} of the score",
        style=f"background:rgba(213,94,0,{DARKEST * share:.3f})" if share > 0 else None,
        class_="most" if 0 < share == report.shares[i].max() else None,
    )


def columns_to_blame(report: Findings) -> Element:
    """The columns that add most to the scores of rows, and in how many."""
    if not report.blame.any():
        return joined([])
    most = [j for j in np.argsort(-report.blame, kind="stable")[:N_BLAMED] if report.blame[j]]
    lines = [
        [
            _named(_column(report, j)),
            _number(f"{report.blame[j]:,}"),
            element("td", bar(report.blame[j] / report.blame.max())),
        ]
        for j in most
    ]
    listing = _scroll(table(["column", _number("rows", "th"), ""], lines))
    rows = f"most anomalous {_count(int(report.blame.sum()), 'row')}"
    hint = f"The number of the {rows} in which a column adds most to the score."
    return joined([element("h2", "Columns most often to blame"), _quiet(hint), listing])


def codes(report: Findings) -> Element:
    """The rows as points of a plane."""
    heading = element("h2", "Codes")
    if report.codes is None:
        return joined([heading, _quiet("The training table has too few distinct rows for a network, so there are no codes.")])
    hint = (
        "Each point is a row: its latent code along the two directions in which unflagged rows vary most. Triangles are "
        "flagged. Axes are linear up to three standard deviations and logarithmic beyond."
    )
    hint += f" {MOST_POINTS:,} rows are drawn, the most anomalous among them." if len(report.scores) > MOST_POINTS else ""
    drawing = plane(report.codes, report.flagged, report.scores, lambda i: _label(report, i))
    return joined([heading, _quiet(hint), drawing])


def columns(report: Findings) -> Element:
    """What each column was taken for."""
    lines = [
        [
            _named(column.name),
            column.kind,
            _number(f"{column.missing:.1%}" if column.missing else "0"),
            column.holds,
        ]
        for column in report.columns
    ]
    listing = _scroll(table(["column", "taken for", _number("missing", "th"), "values"], lines))
    return joined([element("h2", "Columns"), listing])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _value(value: Any, longest: int = LONGEST_VALUE) -> str:
    return _isolated(written(value, longest)) or "missing"


def _column(report: Findings, j: int) -> str:
    return _isolated(shortened(str(report.columns[j].name), LONGEST_NAME))


def _label(report: Findings, row: int) -> str:
    """The name of a row; those of an index of several levels are listed."""
    label = report.labels[row]
    parts = label if isinstance(label, tuple) else (label,)
    return ", ".join(_isolated(written(part, LONGEST_LABEL)) for part in parts)


def _isolated(text: str) -> str:
    """The text between marks that keep the direction of its script from what stands beside it."""
    return text if text.isascii() else f"\u2068{text}\u2069"


def _named(name: Any) -> Element:
    return element("th", name, scope="row")


def _number(text: str, tag: str = "td") -> Element:
    return element(tag, text, class_="number")


def _scroll(content: Element) -> Element:
    """A place in which what is wider than the page moves sideways, by a keyboard too."""
    return element("div", content, class_="scroll", tabindex=0)


def _quiet(text: str) -> Element:
    return element("p", text, class_="quiet")
