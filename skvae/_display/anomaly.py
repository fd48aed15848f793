"""The display of an anomaly detector: which rows it flags, and for which cells."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skvae._display.cells import cells_of, shares_of, written
from skvae._display.drawing import COLORS, axes_or_new, check_can, shortened
from skvae._tables.libraries import as_table
from skvae._validation import check_count

LONGEST_VALUE = 10  # letters of a cell
INCHES_PER_CELL = (0.95, 0.34)
BINS = 60
MEASURES = ("neighbours", "column", "row")
MEASURE_COLORS = (COLORS[0], COLORS[2], COLORS[3])
DARK = 0.6  # share from which on black letters cannot be read


@dataclass(eq=False, repr=False)
class AnomalyDisplay:
    """Plot the anomaly scores of a table, and the cells that explain the most anomalous rows.

    The figure has three parts:

    * above, a histogram of the decision function with the threshold at zero, on an axis that is linear around zero and
      logarithmic beyond;
    * below, the most anomalous rows with the values of the columns that contribute most. The shade of a cell is its share of
      the anomaly score of the row;
    * beside each row, the shares of the three measures in its score: distance to neighbours, rank in the column, and deviation
      from what is expected in such a row.

    Parameters
    ----------
    decisions : array-like of shape (n_rows,)
        Values of ``decision_function``.
    contributions : array-like of shape (n_shown, n_columns)
        Values of ``explain``, for the rows to show.
    parts : array-like of shape (n_shown, 3)
        What each measure adds to the scores of these rows, from ``explain`` with ``parts=True``.
    values : array-like of shape (n_shown, n_columns)
        Values of the cells of these rows.
    rows : sequence
        Labels of these rows.
    columns : sequence of str
        Names of all columns.

    Attributes
    ----------
    axes_ : ndarray of Axes
        Axes of the histogram, the cells and the measures.
    figure_, image_, threshold_, colorbar_ : Figure, AxesImage, Line2D, Colorbar
        The figure, the shaded cells, the line at the threshold, and the colour bar of the shades.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skvae import AEAnomalyDetector, AnomalyDisplay
    >>> X = load_wine(as_frame=True).data
    >>> X.loc[7, "ash"] = 24.5
    >>> detector = AEAnomalyDetector(contamination=0.05, cv=2, random_state=0)
    >>> display = AnomalyDisplay.from_estimator(detector.fit(X), X, n_rows=5)
    >>> display.axes_[1].get_yticklabels()[0].get_text()
    '7'
    """

    decisions: Any
    contributions: Any
    parts: Any
    values: Any
    rows: Any
    columns: Any

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, n_rows: int = 8, axes: Any = None, **kwargs: Any) -> Self:
        """Score the rows of a table, explain the most anomalous ones, and plot.

        Parameters
        ----------
        estimator : AEAnomalyDetector
            Fitted detector.
        X : array-like or frame of shape (n_rows, n_columns)
            Rows to score.
        n_rows : int, default=8
            Number of rows to show, the most anomalous first.
        axes : sequence of three Axes or None, default=None
            Axes for the histogram, the cells and the measures. None creates a new figure.
        **kwargs : dict
            ``n_columns`` of ``plot``, and keyword arguments for ``imshow``.

        Returns
        -------
        display : AnomalyDisplay
        """
        check_can(estimator, "explain", "AEAnomalyDetector")
        check_count(1, n_rows=n_rows)
        decisions = estimator.decision_function(X)
        oddest = np.argsort(decisions, kind="stable")[:n_rows]
        X = as_table(X)
        table: Any = X if hasattr(X, "shape") else np.asarray(X)
        shown = table.iloc[oddest] if hasattr(table, "iloc") else table[oddest]
        labels = list(shown.index) if hasattr(X, "iloc") else oddest.tolist()
        parts = estimator.explain(shown, parts=True)
        cells, columns = np.stack([part.to_numpy() for part in parts]), list(parts.row.columns)
        return cls(decisions, cells.sum(axis=0), cells.sum(axis=2).T, cells_of(shown), labels, columns).plot(axes, **kwargs)

    def plot(self, axes: Any = None, *, n_columns: int = 8, **kwargs: Any) -> Self:
        """Plot the histogram, the cells and the measures.

        Parameters
        ----------
        axes : sequence of three Axes or None, default=None
            Axes for the histogram, the cells and the measures. None creates a new figure.
        n_columns : int, default=8
            Maximum number of columns to show: those that contribute most to the rows shown, in the order of the table.
        **kwargs : dict
            Keyword arguments for ``imshow``, for example ``cmap``.

        Returns
        -------
        self : object
        """
        check_count(1, n_columns=n_columns)
        shares = shares_of(self.contributions)
        telling = np.sort(np.argsort(-shares.max(axis=0), kind="stable")[:n_columns])
        if axes is None:
            self.figure_, self.axes_ = _three_axes(len(shares), len(telling))
        else:
            self.axes_ = np.asarray(axes)
            if self.axes_.shape != (3,):
                raise ValueError(f"axes must be three Axes, but has {self.axes_.size}; pass plt.subplots(3, 1)[1].")
            self.figure_ = self.axes_[0].figure
        self._plot_histogram(self.axes_[0])
        self._plot_cells(self.axes_[1], shares[:, telling], telling, kwargs)
        self._plot_parts(self.axes_[2])
        return self

    def _plot_histogram(self, ax: Any) -> None:
        decisions = np.asarray(self.decisions, dtype=float)
        unit = float(np.median(np.abs(decisions))) or 1.0
        lowest, highest = np.arcsinh(np.array([decisions.min(), decisions.max()]) / unit)
        edges = unit * np.sinh(np.linspace(lowest, max(highest, lowest + 1), BINS + 1))
        edges = np.sort(np.append(edges, 0.0))  # so that no bin is on both sides of the threshold
        edges[[0, -1]] = min(edges[0], decisions.min()), max(edges[-1], decisions.max())  # rounding may have moved them inside
        odd = decisions < 0
        counts = f"flagged: {odd.sum():,} of {len(odd):,} rows"
        ax.hist([decisions[~odd], decisions[odd]], edges, stacked=True, color=[COLORS[5], COLORS[1]], label=["normal", counts])
        self.threshold_ = ax.axvline(0, color="black", linestyle="--", linewidth=1, label="threshold")
        ax.set_xscale("symlog", linthresh=unit)
        ax.set_xlim(min(decisions.min(), 0), max(decisions.max(), 0) or 1)
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.7)
        ax.set(xlabel="decision function", ylabel="rows")
        ax.legend(loc="upper left")

    def _plot_cells(self, ax: Any, shares: np.ndarray, telling: np.ndarray, kwargs: dict[str, Any]) -> None:
        style = {"cmap": "Oranges", "vmin": 0, "vmax": 1, "aspect": "auto", **kwargs}
        self.image_ = ax.imshow(shares, **style)
        self.colorbar_ = self.figure_.colorbar(self.image_, ax=[*self.axes_[1:]], label="share of the row's anomaly score")
        self.colorbar_.ax.yaxis.set_major_formatter("{x:.0%}")
        values = np.asarray(self.values, dtype=object)[:, telling]
        for (i, j), value in np.ndenumerate(values):
            color = "white" if shares[i, j] > DARK else "black"
            ax.text(j, i, written(value, LONGEST_VALUE), ha="center", va="center", fontsize=8, color=color)
        names = [shortened(self.columns[j]) for j in telling]
        ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
        ax.set_yticks(range(len(values)), [shortened(row) for row in self.rows])
        ax.set(ylabel="row, most anomalous first")
        ax.spines[:].set_visible(False)

    def _plot_parts(self, ax: Any) -> None:
        shares = shares_of(self.parts)
        left = np.cumsum(shares, axis=1) - shares
        for name, color, start, share in zip(MEASURES, MEASURE_COLORS, left.T, shares.T, strict=True):
            ax.barh(range(len(shares)), share, left=start, color=color, label=name)
        ax.set(xlim=(0, 1), ylim=(len(shares) - 0.5, -0.5), yticks=[])
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.set_xticks([0, 1])
        ax.spines[:].set_visible(False)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8, frameon=False)


def _three_axes(n_rows: int, n_columns: int) -> tuple[Any, np.ndarray]:
    width, height = INCHES_PER_CELL
    size = (float(np.clip(width * n_columns + 3.6, 7.4, 17)), 3.2 + height * n_rows + 1.2)
    figure, first = axes_or_new(None, size)
    first.remove()
    grid = figure.add_gridspec(2, 2, height_ratios=[2.2, height * n_rows + 0.6], width_ratios=[width * n_columns, 1.4])
    return figure, np.array([figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])])
