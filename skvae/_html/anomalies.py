"""The report on the anomalies of a table."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from skvae._display.cells import cells_of, shares_of
from skvae._html.charts import number
from skvae._html.columns import ColumnAccount
from skvae._html.findings import Findings
from skvae._html.page import document, fragment
from skvae._tables.libraries import as_table, rows_at

MOST_EXPLAINED = 1000  # rows whose columns to blame are counted


@dataclass(frozen=True, eq=False, repr=False)
class AnomalyReport(Findings):
    """Report on the anomalies of a table, as a self-contained HTML page that needs no network.

    :meth:`AEAnomalyDetector.report` returns one. A notebook displays it.

    Parameters
    ----------
    title : str
        Heading of the page.
    scores : ndarray of shape (n_rows,)
        Anomaly score of each row, higher is more anomalous: minus the detector's ``score_samples``.
    flagged : ndarray of bool of shape (n_rows,)
        Whether each row is flagged as an anomaly.
    p_values : ndarray of shape (n_rows,) or None
        The p-value of each row; None if no false discovery rate was given.
    threshold : float or None
        The score from which rows are flagged; None if their p-values flag no row.
    criterion : str
        The rule by which rows are flagged, in words.
    labels : list
        The index of a pandas frame; for other tables the number of each row, from 0.
    oddest : ndarray of int of shape (n_shown,)
        Positions of the rows that are shown, the most anomalous row first.
    found, expected : ndarray of object of shape (n_shown, n_columns)
        The value of each cell of these rows, and what the detector expects in its place.
    shares : ndarray of shape (n_shown, n_columns)
        What each cell adds to the score of its row, as a share of all that is added.
    blame : ndarray of int of shape (n_columns,)
        Number of rows in which each column adds most to the score, among the flagged and the shown rows, 1,000 at most.
    columns : list of ColumnAccount
        What each column was taken for, and what it holds.
    codes : ndarray of shape (n_rows, n_components) or None
        Latent codes of the rows; None if the detector has no networks.
    n_known : int
        Number of rows that are also in the training table.
    least_flagged : int
        The fewest rows that can be flagged at the false discovery rate, given the smallest possible p-value; 1 without a
        rate.
    notes : tuple of str
        Sentences to add to the summary.

    See Also
    --------
    AnomalyDisplay : The most anomalous rows as a matplotlib figure.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skvae import AEAnomalyDetector
    >>> X = load_wine(as_frame=True).data
    >>> X.loc[7, "ash"] = 24.5
    >>> detector = AEAnomalyDetector(contamination=0.05, random_state=0)
    >>> report = detector.fit(X).report(X, n_rows=5)
    >>> report.labels[report.oddest[0]]
    7
    >>> report.save("report.html")  # doctest: +SKIP
    """

    def to_html(self) -> str:
        """Return the report as an HTML document.

        Returns
        -------
        html : str
        """
        return document(self)

    def save(self, path: str | Path) -> None:
        """Write the report to a file.

        Parameters
        ----------
        path : str or Path
            Path of the file, usually with the ending ``.html``.
        """
        Path(path).write_text(self.to_html(), encoding="utf-8")

    def _repr_html_(self) -> str:
        return fragment(self)

    def __repr__(self) -> str:
        return f"<AnomalyReport of {len(self.scores):,} rows, {int(self.flagged.sum()):,} flagged>"


def report_on(
    detector: Any,
    X: Any,
    *,
    scores: np.ndarray,
    p_values: np.ndarray | None,
    columns: list[ColumnAccount],
    codes: np.ndarray | None,
    n_known: int,
    least_p_value: float,
    n_rows: int,
    false_discovery_rate: float | None,
    title: str,
) -> AnomalyReport:
    """Flag and explain the rows of a table, as :meth:`AEAnomalyDetector.report` does.

    Parameters
    ----------
    detector : AEAnomalyDetector
        Fitted detector.
    X : array-like or frame of shape (n_rows, n_columns)
        A table in memory.
    scores, p_values, columns, codes, n_known, title
        Parameters of the class.
    least_p_value : float
        Smallest p-value that a row can have.
    n_rows : int
        Number of rows to show, the most anomalous first.
    false_discovery_rate : float or None
        Expected share of normal rows among the flagged rows. None flags the rows that ``detector.predict`` flags.

    Returns
    -------
    report : AnomalyReport
    """
    table = as_table(X)
    table = table if hasattr(table, "shape") else np.asarray(table)
    flagged, threshold, criterion = _flags(detector, scores, p_values, false_discovery_rate)
    order = np.argsort(-scores, kind="stable")
    explained = rows_at(table, order[: max(n_rows, min(MOST_EXPLAINED, int(flagged.sum())))])
    contributions, expected = detector.explain(explained, return_expected=True)
    added, shown = contributions.to_numpy(), slice(n_rows)
    blamed = added[:MOST_EXPLAINED]
    return AnomalyReport(
        title=title,
        scores=scores,
        flagged=flagged,
        p_values=p_values,
        threshold=threshold,
        criterion=criterion,
        labels=list(table.index) if isinstance(table, pd.DataFrame) else list(range(len(scores))),
        oddest=order[shown],
        found=cells_of(rows_at(explained, shown)),
        expected=cells_of(rows_at(expected, shown)),
        shares=shares_of(added[shown]),
        blame=np.bincount(blamed.argmax(axis=1)[blamed.max(axis=1) > 0], minlength=len(columns)),
        columns=columns,
        codes=codes,
        n_known=n_known,
        least_flagged=ceil(len(scores) * least_p_value / false_discovery_rate) if false_discovery_rate else 1,
    )


def _flags(
    detector: Any, scores: np.ndarray, p_values: np.ndarray | None, rate: float | None
) -> tuple[np.ndarray, float | None, str]:
    """Which rows are flagged, the score from which they are, and the rule in words."""
    if p_values is None or rate is None:
        threshold = -detector.offset_
        is_auto = detector.contamination == "auto"
        reason = "which is too high for the tail of the scores" if is_auto else f"by contamination={detector.contamination}"
        flagged = -scores - detector.offset_ < 0  # as predict does, without scoring again
        return flagged, threshold, f"at a score of {number(threshold)} or more, {reason}"
    flagged = false_discovery_control(p_values) <= rate
    threshold = float(scores[flagged].min()) if flagged.any() else None
    return flagged, threshold, f"at a false discovery rate of {100 * rate:g}%"
