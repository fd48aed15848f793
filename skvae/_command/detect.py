"""``skvae detect``: the rows and cells that do not fit the rest of a table."""

import math
import os
from argparse import Namespace
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from skvae._command.errors import Unusable, one_line
from skvae._command.tables import Table, read_like, read_table
from skvae._command.terminal import counted, fitting, is_watched, note, print_table, show_columns
from skvae._command.writing import Output, outputs, table_output, write_table
from skvae._tables.columns import shortened

RATE = 0.1
N_BLAMED = 3  # cells of a row
MOST_EXPLAINED = 10_000  # rows, the oddest; to explain a row takes as long as to score it
MOST_LISTED, LONGEST_LISTED = 20, 60  # columns or cells in a note of the report, and letters of each
WORTH_PRINTING = 0.25  # of what the first cell of a row adds to its score


@dataclass(frozen=True)
class Findings:
    """What is odd in a table, the oddest rows first.

    Attributes
    ----------
    order : ndarray of int
        Places of all rows, the oddest first.
    rows : DataFrame
        ``row``, ``rank`` and ``score``; ``p_value`` and ``flag`` where another table was learned from; ``column_1``,
        ``found_1``, ``expected_1`` and so on, empty where rows were not explained.
    shares : ndarray of shape (n_explained, N_BLAMED)
        What each of these cells adds to the score, in terms of the first.
    n_flagged : int
    """

    order: np.ndarray
    rows: pd.DataFrame
    shares: np.ndarray
    n_flagged: int


def run(options: Namespace) -> bool:
    """Run the command; True where it is to fail."""
    _check(options)
    out = table_output(options.out) if options.out else None
    report = Output(options.report, (".html",), "--report") if options.report else None
    with outputs(out, report):
        learned = read_table(options.fit_on or options.table, options)
        table = read_like(options.table, options, learned) if options.fit_on else learned
        show_columns(learned)
        if options.fit_on:
            show_columns(table)
            _tell_of_least_p_value(learned, table, options.fdr or RATE)
        with fitting(learned):
            detector = _fitted(learned, options)
        with fitting(table):
            found = _find(detector, table, options)
        if out:
            write_table(out, _with_originals(found, table.file.frame))
        if report:
            with fitting(table):
                page = _report(detector, found, table, options).to_html()
            report.write(lambda file: file.write(page.encode()))
    _print(found, table, options)
    return bool(options.fail and found.n_flagged)


def _check(options: Namespace) -> None:
    if options.fit_on and os.path.realpath(options.fit_on) == os.path.realpath(options.table):
        raise Unusable("TABLE and --fit-on are the same; test rows that were not learned from, or leave --fit-on out")
    for name in ("fail", "fdr"):
        if not options.fit_on and getattr(options, name):
            raise Unusable(
                f"--{name} needs --fit-on CLEAN: rows are flagged by p-values, which hold only for rows that were not "
                "learned from"
            )


def _tell_of_least_p_value(learned: Table, table: Table, rate: float) -> None:
    """Say where a single row cannot be flagged, however odd it is, because no p-value is small enough."""
    least = 1 / (len(learned.rows) + 1)
    fewest = math.ceil(len(table.rows) * least / rate)
    if fewest > 1:
        note(
            f"no p-value is below {least:.2g}, as {learned.name} has {counted(len(learned.rows), 'row')}: rows are flagged "
            f"only if at least {fewest} of them are that odd; take more clean rows, fewer rows at once, or a larger --fdr"
        )


def _fitted(table: Table, options: Namespace) -> Any:
    from skvae import AEAnomalyDetector

    how = {"support_fraction": 1.0} if options.fit_on else {"contamination": "auto"}
    return AEAnomalyDetector(**how, random_state=options.seed, verbose=is_watched()).fit(table.rows)


def _find(detector: Any, table: Table, options: Namespace) -> Findings:
    """Rank the rows, those first that hold cells which cannot be read, and explain those that are asked for."""
    n_wrong = np.zeros(len(table.rows), dtype=int)
    np.add.at(n_wrong, [cell.row - 1 for cell in table.wrong], 1)
    scores = -detector.score_samples(table.rows) if options.fit_on else detector.decision_scores_
    order = np.lexsort((-scores, -n_wrong))
    rows = pd.DataFrame({"row": order + 1, "rank": np.arange(1, len(order) + 1), "score": scores[order]})
    n_flagged = 0
    if options.fit_on:
        from scipy.stats import false_discovery_control

        p_values = detector.p_values(table.rows)
        flags = (false_discovery_control(p_values) <= (options.fdr or RATE)) | (n_wrong > 0)
        rows["p_value"], rows["flag"] = p_values[order], flags[order]
        n_flagged = int(flags.sum())
    n_explained = max(options.top, MOST_EXPLAINED) if options.out else options.top
    blamed, shares = _blamed(detector, table, order[:n_explained])
    return Findings(order, pd.concat([rows, blamed], axis=1).fillna(dict.fromkeys(blamed, "")), shares, n_flagged)


def _blamed(detector: Any, table: Table, shown: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """The cells that add most to the scores of rows, as found and as expected."""
    rows = table.rows.iloc[shown]
    contributions, expected = detector.explain(rows, return_expected=True)
    added = contributions.to_numpy(copy=True)
    places = {row: i for i, row in enumerate(rows.index)}
    for cell in table.wrong:
        if cell.row in places:
            added[places[cell.row], rows.columns.get_loc(cell.column)] = np.inf
    chosen = np.argsort(-added, axis=1, kind="stable")[:, :N_BLAMED]
    most = np.take_along_axis(added, chosen, axis=1)
    result = pd.DataFrame(index=range(len(rows)))
    for i in range(chosen.shape[1]):
        cells = pd.DataFrame("", index=result.index, columns=["column", "found", "expected"], dtype=object)
        for j in np.unique(chosen[:, i]):
            label = rows.columns[j]
            at = np.flatnonzero((chosen[:, i] == j) & (most[:, i] > 0))
            style = table.styles[label]
            cells.iloc[at, 0] = label
            cells.iloc[at, 1] = [_as_found(value) for value in table.file.frame[label].iloc[shown[at]]]
            cells.iloc[at, 2] = [style.written(value) for value in expected[label].iloc[at]]
        result[[f"{name}_{i + 1}" for name in cells]] = cells
    with np.errstate(invalid="ignore"):
        return result, np.nan_to_num(most / most[:, :1], nan=1.0)


def _as_found(value: Any) -> str:
    if not isinstance(value, str) and pd.isna(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value).strip()


def _with_originals(found: Findings, frame: pd.DataFrame) -> pd.DataFrame:
    """The findings, and beside them the rows that they are of."""
    originals = frame.iloc[found.order].reset_index(drop=True)
    labels = [f"{label or 'index'} (table)" if label in {"", *found.rows} else label for label in originals]
    return pd.concat([found.rows, originals.set_axis(labels, axis=1)], axis=1)


def _report(detector: Any, found: Findings, table: Table, options: Namespace) -> Any:
    """The report of the detector, which need not score the rows again."""
    rows = found.rows.sort_values("row")
    p_values, rate = (rows["p_value"].to_numpy(), options.fdr or RATE) if options.fit_on else (None, None)
    how = {"n_rows": options.top, "false_discovery_rate": rate, "title": f"Anomaly report: {table.name}"}
    report = detector._report(table.rows, -rows["score"].to_numpy(), p_values, **how)  # noqa: SLF001, spares scoring again
    return replace(report, notes=_notes(table))


def _notes(table: Table) -> tuple[str, ...]:
    """What a report has to say of the file, beyond its rows."""
    notes = ["Rows are numbered from 1, without the header."]
    left_out = [label or "(no name)" for label in table.file.frame if label not in table.rows]
    if left_out:
        notes.append(f"Columns left out: {_listed(left_out)}.")
    if table.wrong:
        cells = _listed([f"{one_line(cell.text)} in row {cell.row}, {cell.column}" for cell in table.wrong])
        notes.append(f"Cells that cannot be read as the kind of their column count as missing here: {cells}.")
    return tuple(notes)


def _listed(texts: list[str]) -> str:
    more = [f"{len(texts) - MOST_LISTED} more"] if len(texts) > MOST_LISTED else []
    return "; ".join([shortened(text, LONGEST_LISTED) for text in texts[:MOST_LISTED]] + more)


def _print(found: Findings, table: Table, options: Namespace) -> None:
    top = found.rows.head(options.top)
    print(f"{table.name}: the {len(top)} oddest of {counted(len(table.rows), 'row')} (counted from 1, without the header)\n")
    has_p = "p_value" in top
    lines = []
    for i, row in enumerate(top.to_dict("records")):
        head = [str(row["rank"]), str(row["row"]), f"{row['score']:.1f}"]
        head += [f"{row['p_value']:.2g}" + ("*" if row["flag"] else " ")] if has_p else []
        for k in range(found.shares.shape[1]):
            cells = [str(row[f"{name}_{k + 1}"]) for name in ("column", "found", "expected")]
            if k == 0:
                lines.append(head + cells)
            elif found.shares[i, k] >= WORTH_PRINTING and cells[1] != cells[2]:
                lines.append([""] * len(head) + cells)
    header = ["rank", "row", "score", *(["p-value "] if has_p else []), "column", "found", "expected"]
    print_table(header, lines, ">>>" + (">" if has_p else "") + "<<<")
    if has_p:
        rate = options.fdr or RATE
        print(f"\n* {found.n_flagged} of {counted(len(table.rows), 'row')} flagged, at a false discovery rate of {rate:g}")
    if table.wrong:
        print(f"\n{counted(len(table.wrong), 'cell')} cannot be read as the kind of the column; such rows rank first")
    written = [f"written: {path}" for path in (options.out, options.report) if path]
    if written:
        print("", *written, sep="\n")
