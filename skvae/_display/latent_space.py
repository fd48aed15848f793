"""Codes of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils import column_or_1d

from skvae._display.drawing import ANY, COLORS, as_numbers, axes_or_new, check_can, label_ticks

MARKERS = "os^Dv<"  # one fewer than colours, so that 42 classes differ
MOST_CLASSES = 20  # distinct whole numbers that are taken for classes; more are a quantity


@dataclass(eq=False, repr=False)
class LatentSpaceDisplay:
    """Plot one or two components of the latent codes.

    Two components give a scatter plot, one component a histogram. ``y`` is shown in addition:

    * Strings, booleans and at most 20 distinct whole numbers are classes. Each class has its own colour and marker. With one
      component, each class has its own line, and rows are spread across the line.
    * Other numbers are a quantity. It is shown by colour, or with one component on the vertical axis.

    Parameters
    ----------
    codes : array-like or frame of shape (n_rows, 1) or (n_rows, 2)
        Latent codes of the rows.
    y : array-like of shape (n_rows,) or None, default=None
        Class or quantity of each row.
    feature_names : sequence of str or None, default=None
        Names of the components.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the plot.
    scatter_ : list of PathCollection
        One entry, or one per class; empty for a histogram.
    bars_ : BarContainer or None
        The histogram of one component without ``y``.
    legend_, colorbar_ : Legend or None, Colorbar or None
        Legend of the classes, and colour bar of a quantity.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, LatentSpaceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = AutoencoderTransformer(hidden_layer_sizes=()).fit(X)
    >>> display = LatentSpaceDisplay.from_estimator(model, X, y)
    >>> [text.get_text() for text in display.legend_.get_texts()]
    ['0', '1', '2']
    """

    codes: Any
    y: Any = None
    feature_names: Sequence[str] | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, components: Sequence[int] = (0, 1), ax: Any = None, **kwargs: Any
    ) -> Self:
        """Encode rows with a fitted transformer, and plot the chosen components of the codes.

        Parameters
        ----------
        estimator : object
            Fitted estimator with ``transform``, of this package or another.
        X : array-like or frame of shape (n_rows, n_columns)
            Rows to encode.
        y : array-like of shape (n_rows,) or None, default=None
            Class or quantity of each row.
        components : sequence of one or two ints, default=(0, 1)
            Components to plot, counted from 0. A code of a single component is plotted with the default as well.
        ax : Axes or None, default=None
            Axes to draw into. None creates a new figure.
        **kwargs : dict
            Keyword arguments for ``scatter``, or for ``hist`` if a histogram is drawn.

        Returns
        -------
        display : LatentSpaceDisplay
        """
        check_can(estimator, "transform", ANY)
        codes = as_numbers(estimator.transform(X), "codes")
        chosen = np.ravel(components).tolist()
        if codes.shape[1] == 1 and chosen == [0, 1]:
            chosen = [0]
        if len(chosen) not in {1, 2} or not set(chosen) <= set(range(codes.shape[1])):
            raise ValueError(f"components={components!r}; pass one or two of the {codes.shape[1]} components, counting from 0.")
        names = estimator.get_feature_names_out()
        return cls(codes[:, chosen], y, [str(names[i]) for i in chosen]).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Plot the codes.

        Parameters
        ----------
        ax : Axes or None, default=None
            Axes to draw into. None creates a new figure.
        **kwargs : dict
            Keyword arguments for ``scatter``, or for ``hist`` if a histogram is drawn.

        Returns
        -------
        self : object
        """
        codes = as_numbers(self.codes, "codes")
        if codes.shape[1] > 2:
            raise ValueError(f"codes has {codes.shape[1]} columns; pass one or two of them.")
        names = [f"component {i}" for i in range(codes.shape[1])] if self.feature_names is None else list(self.feature_names)
        self.figure_, self.ax_ = axes_or_new(ax)
        self.scatter_: list[Any] = []
        self.legend_: Any = None
        self.bars_ = self.colorbar_ = None
        if self.y is not None:
            names.append(str(getattr(self.y, "name", None) or "y"))
            self._plot_with_y(codes, names[-1], "best" if ax is not None else "outside", kwargs)
        elif codes.shape[1] == 2:
            self._scatter(codes, {"color": COLORS[0], **kwargs})
        else:
            names.append("rows")
            n_bins = int(np.clip(np.sqrt(len(codes)), 5, 50))
            _, _, self.bars_ = self.ax_.hist(codes[:, 0], **{"bins": n_bins, "color": COLORS[0], **kwargs})
        self.ax_.set(xlabel=names[0], ylabel=names[1])
        return self

    def _plot_with_y(self, codes: np.ndarray, y_name: str, legend: str, kwargs: dict[str, Any]) -> None:
        y = column_or_1d(self.y)
        if len(y) != len(codes):
            raise ValueError(f"y has {len(y)} entries, but codes has {len(codes)} rows; pass one entry per row.")
        alone = codes.shape[1] == 1
        classes, y = _classes(y)
        if classes is not None:
            spread = 0.6 * (np.arange(len(y)) * 0.618034 % 1 - 0.5)  # even for any number of rows
            self._scatter_classes(np.column_stack([codes, y + spread]) if alone else codes, y, classes, kwargs)
            if alone:
                label_ticks(self.ax_, "y", np.arange(len(classes)), classes)
            else:
                self._add_legend(y_name, len(classes), legend)
        elif alone:
            self._scatter(np.column_stack([codes, y]), {"color": COLORS[0], **kwargs})
        else:
            self._scatter(codes, {"c": y, "cmap": "viridis", **kwargs})
            self.colorbar_ = self.figure_.colorbar(self.scatter_[0], ax=self.ax_, label=y_name)

    def _scatter_classes(self, points: np.ndarray, index: np.ndarray, classes: list[str], kwargs: dict[str, Any]) -> None:
        size = _marker_size(len(points))
        for i, label in enumerate(classes):
            style = {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)], "label": label, "s": size}
            self._scatter(points[index == i], {**style, **kwargs})

    def _scatter(self, points: np.ndarray, kwargs: dict[str, Any]) -> None:
        style = {"s": _marker_size(len(points)), "alpha": 0.8, "linewidths": 0, **kwargs}
        self.scatter_.append(self.ax_.scatter(points[:, 0], points[:, 1], **style))

    def _add_legend(self, title: str, n_classes: int, where: str) -> None:
        place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if where == "outside" else {"loc": where}
        self.legend_ = self.ax_.legend(title=title, ncols=-(-n_classes // 15), **place)
        for handle in self.legend_.legend_handles:
            handle.set_sizes([30])


def _classes(y: np.ndarray) -> tuple[list[str] | None, np.ndarray]:
    """Names of the classes and the class of each row; None and the numbers if y is a quantity."""
    if y.dtype.kind not in "iuf":
        names, index = np.unique(y.astype(str), return_inverse=True)
        return names.tolist(), index
    if not np.isfinite(y).all():
        raise ValueError("y contains numbers that are not finite; drop these rows.")
    values, index = np.unique(y, return_inverse=True)
    if len(values) > MOST_CLASSES or (values != np.rint(values)).any():
        return None, y
    return [f"{value:g}" for value in values], index


def _marker_size(n_rows: int) -> float:
    return float(np.clip(350 / np.sqrt(n_rows), 2, 30))
