"""Displays: what a fitted estimator learnt, in one figure each. They compute in ``from_estimator`` and draw in ``plot``.

Each draws into one axes, the caller's or a new one, and keeps what it drew. Colours can be told apart by the colour-blind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skvae._validation import check_count

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # of Okabe and Ito, less the yellow
MARKERS = "os^Dv<"  # one fewer than colours, so that 42 classes differ
MOST_CLASSES = 20  # distinct whole numbers that are taken for classes; more are a quantity
MOST_DEVIATIONS = 3.0  # at which the colours of cells end, lest one outlier bleach the rest
MOST_LETTERS = 24  # of a column name
LINE, LETTER = 0.14, 0.085  # inches that they take in a tick label
ANY = "AutoencoderTransformer or VAETransformer"


@dataclass(eq=False, repr=False)
class LossCurveDisplay:
    """Loss of the training rows and of the held-out rows, epoch by epoch.

    Both are drawn on the scale of ``loss_curve_``, that of standardised columns, so that they can be compared. Where the
    training was repeated on all rows once the number of epochs was chosen, the training loss is that of the repetition. A
    start at PCA is kept against small gains. Losses of a few epochs that dwarf the rest are cut off; the legend says what the
    loss was at the start.

    Parameters
    ----------
    loss_curve : sequence of float
        Training loss of epochs 1, 2, ..., in nats per row; empty where nothing was trained.
    validation_scores : sequence of float or None, default=None
        Mean log-likelihood of the held-out rows at the start and after each epoch of the last training.
    best_iter : int or None, default=None
        Epoch of the last training that was kept, 0 for its start; read with ``validation_scores`` only.
    log_jacobian : float, default=0.0
        What the scores are, in the units of the input, beyond those on the scale of ``loss_curve``.
    start_name : str, default="the start"
        What the training began with.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
    line_ : Line2D
    validation_line_, start_, best_ : Line2D or None
        The held-out loss, and the marks at the start and at the epoch kept.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae._plot import LossCurveDisplay
    >>> vae = VAETransformer(hidden_layer_sizes=(8,), max_iter=20, n_iter_no_change=3, random_state=0).fit(load_iris().data)
    >>> LossCurveDisplay.from_estimator(vae).ax_.get_ylabel()
    'loss (nats per row)'
    """

    loss_curve: Sequence[float]
    validation_scores: Sequence[float] | None = None
    best_iter: int | None = None
    log_jacobian: float = 0.0
    start_name: str = "the start"

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any) -> Self:
        """Draw how a fitted estimator was trained; the other parameters are those of ``plot``."""
        check_is_fitted(estimator)
        _check_can(estimator, "best_iter_", ANY)
        curves = estimator.loss_curve_, estimator.validation_scores_, estimator.best_iter_
        log_jacobian = estimator._log_jacobian  # noqa: SLF001, what makes the two scales one, and of no other use
        return cls(*curves, log_jacobian, _start_name(estimator)).plot(ax, name=name, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : Axes or None, default=None
            None makes a new figure. Several displays may share one.
        name : str or None, default=None
            Of the model, for the legend.
        **kwargs
            For both lines, e.g. ``color``.
        """
        self.figure_, self.ax_ = _axes(ax)
        shared = self.ax_.has_data()
        prefix = "" if name is None else f"{name}: "
        losses = np.asarray(self.loss_curve, dtype=float)
        judged = self.log_jacobian - np.asarray([] if self.validation_scores is None else self.validation_scores, dtype=float)
        n_tried = max(0, len(judged) - 1)
        label = "training again, on all rows" if len(losses) < n_tried else "training"
        if len(losses) == 0:
            label = f"nothing trained, {self.start_name} is the answer"
        style = {"color": COLORS[0], "linewidth": 1, "marker": "." if len(losses) == 1 else "", **kwargs}
        (self.line_,) = self.ax_.plot(np.arange(1, len(losses) + 1), losses, label=prefix + label, **style)
        self.validation_line_ = self.start_ = self.best_ = None
        if n_tried:
            self._plot_judged(max(0, len(losses) - n_tried), judged, prefix, kwargs)
        self.ax_.set(xlabel="epoch", ylabel="loss (nats per row)")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        _limit_height(self.ax_, np.concatenate([losses, judged]), shared)
        self.ax_.legend(loc="best" if shared or len(losses) > 0 else "center")
        return self

    def _plot_judged(self, n_before: int, losses: np.ndarray, prefix: str, kwargs: dict[str, Any]) -> None:
        """Draw the held-out loss of a training with so many epochs before it."""
        style = {"color": COLORS[1], "linewidth": 2, **kwargs}
        mark = {"color": style["color"], "linestyle": "", "zorder": 3}
        epochs = n_before + np.arange(len(losses))
        (self.validation_line_,) = self.ax_.plot(epochs, losses, label=f"{prefix}held out", **style)
        start = f"{'the earlier fit' if n_before else self.start_name}{', kept' if self.best_iter == 0 else ''}"
        label = f"{prefix}start, {start}: {losses[0]:#.4g}"
        (self.start_,) = self.ax_.plot(epochs[:1], losses[:1], label=label, marker="s", markersize=8, **mark)
        if self.best_iter:
            epoch, loss = epochs[self.best_iter], losses[self.best_iter]
            label = f"{prefix}kept, epoch {epoch}: {loss:#.4g}"
            (self.best_,) = self.ax_.plot([epoch], [loss], label=label, marker="*", markersize=13, **mark)


class _RowsDisplay:
    """Rows of a table, drawn as images where these have a shape, else as a map of their cells."""

    image_shape: tuple[int, int] | None
    feature_names: Sequence[str] | None

    def _plot_images(self, ax: Any, rows: np.ndarray, n_across: int, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Draw images, so many per line; the centres of their columns and of their lines."""
        height, width = _check_image_shape(self.image_shape, rows.shape[1])
        images = np.full((-(-len(rows) // n_across) * n_across, height, width), np.nan)
        images[: len(rows)] = rows.reshape(-1, height, width)
        mosaic, x, y = _mosaic(images, n_across)
        inches = min(0.8 * n_across + 1, 12)
        self.figure_, self.ax_ = _axes(ax, (inches, min((inches - 1) * len(mosaic) / mosaic.shape[1] + 0.6, 12)))
        self.image_ = self.ax_.imshow(mosaic, **{"cmap": "gray", "interpolation": "nearest", **kwargs})
        self.colorbar_ = None
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.spines[:].set_visible(False)
        return x, y

    def _plot_cells(self, ax: Any, blocks: np.ndarray, unit: str, **kwargs: Any) -> np.ndarray:
        """Draw tables, in this unit and from zero, one below the other; their centres."""
        mosaic, _, y = _mosaic(blocks, 1)
        names = [] if self.feature_names is None else [_shortened(name) for name in self.feature_names]
        if names and len(names) != mosaic.shape[1]:
            raise ValueError(
                f"feature_names has {len(names)} names, the rows {mosaic.shape[1]} columns; give one for each, or None."
            )
        letters = LETTER * max(map(len, names), default=0)
        size = 0.25 * mosaic.shape[1] + 2.5, 0.18 * len(mosaic) + 1.3 + letters
        self.figure_, self.ax_ = _axes(ax, tuple(np.clip(size, (5, 3), (14, 14))))
        most = np.nanmax(np.abs(mosaic))
        limit = min(most, MOST_DEVIATIONS) or 1.0
        style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "interpolation": "nearest", "aspect": "auto"}
        self.image_ = self.ax_.imshow(mosaic, **{**style, **kwargs})
        extend = "both" if most > limit else "neither"
        self.colorbar_ = self.figure_.colorbar(self.image_, ax=self.ax_, label=unit, extend=extend)
        self.ax_.spines[:].set_visible(False)
        self.ax_.set_xlabel("column")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        if names:
            _label(self.ax_, "x", np.arange(len(names)), names, rotation=90)
        return y


@dataclass(eq=False, repr=False)
class ReconstructionDisplay(_RowsDisplay):
    """Rows and what the model makes of them: as images, or as a map of their cells with the differences below.

    Parameters
    ----------
    originals, reconstructions : array-like or frame of shape (n_rows, n_columns)
    image_shape : tuple of two ints or None, default=None
        Height and width of the images that the rows are. None draws cells, by how many standard deviations of its column each
        is above the column's mean, both taken over all originals. A single original has none: what is made of it is drawn by
        how far it is off, as a share of the original.
    feature_names : sequence of str or None, default=None
        Names of the columns.
    inputs : array-like or frame of shape (n_rows, n_columns), default=None
        What was fed to the model instead of the originals, e.g. noisy images.

    Attributes
    ----------
    ax_, figure_, image_ : Axes, Figure, AxesImage
    colorbar_ : Colorbar or None

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skvae import AutoencoderTransformer
    >>> from skvae._plot import ReconstructionDisplay
    >>> X = load_wine(as_frame=True).data
    >>> display = ReconstructionDisplay.from_estimator(AutoencoderTransformer(hidden_layer_sizes=()).fit(X), X)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['original', 'reconstruction', 'difference']
    """

    originals: Any
    reconstructions: Any
    image_shape: tuple[int, int] | None = None
    feature_names: Sequence[str] | None = None
    inputs: Any = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: Any = None,
        inputs: Any = None,
        n_rows: int = 8,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Reconstruct ``X``, or ``inputs`` in its place, and draw; the other parameters are those above and of ``plot``."""
        _check_can(estimator, "reconstruct", ANY)
        reconstructions = estimator.reconstruct(X if inputs is None else inputs)
        return cls(X, reconstructions, image_shape, _names(estimator), inputs).plot(ax, n_rows=n_rows, **kwargs)

    def plot(self, ax: Any = None, *, n_rows: int = 8, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : Axes or None, default=None
            None makes a new figure.
        n_rows : int, default=8
            How many rows, from the first on.
        **kwargs
            For ``imshow``, e.g. ``cmap``.
        """
        check_count(1, n_rows=n_rows)
        given = {"original": self.originals, "input": self.inputs, "reconstruction": self.reconstructions}
        tables = {name: _table(rows, f"{name}s") for name, rows in given.items() if rows is not None}
        originals = tables["original"]
        for name, rows in tables.items():
            if rows.shape != originals.shape:
                raise ValueError(
                    f"{name}s has shape {rows.shape}, originals {originals.shape}; give one row for each original."
                )
        shown = {name: rows[:n_rows] for name, rows in tables.items()}
        if self.image_shape is None:
            center, scale, unit = _standard_units(originals)
            shown = {name: (rows - center) / scale for name, rows in shown.items()}
            shown["difference"] = shown["reconstruction"] - shown["original"]
            y = self._plot_cells(ax, np.stack(list(shown.values())), unit, **kwargs)
        else:
            n_across = len(shown["original"])
            kwargs = {"vmin": originals.min(), "vmax": originals.max(), **kwargs}
            x, y = self._plot_images(ax, np.concatenate(list(shown.values())), n_across, **kwargs)
            _label(self.ax_, "x", x, range(n_across))
            self.ax_.set_xlabel("row")
        _label(self.ax_, "y", y, shown)
        return self


@dataclass(eq=False, repr=False)
class SamplesDisplay(_RowsDisplay):
    """Rows drawn from a model: as a grid of images, or as a map of their cells.

    Parameters
    ----------
    rows : array-like or frame of shape (n_rows, n_columns)
    image_shape : tuple of two ints or None, default=None
        Height and width of the images that the rows are. None draws cells, by how many standard deviations of its column each
        is above the column's mean, both taken over these rows.
    feature_names : sequence of str or None, default=None
        Names of the columns.

    Attributes
    ----------
    ax_, figure_, image_ : Axes, Figure, AxesImage
    colorbar_ : Colorbar or None

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import VAETransformer
    >>> from skvae._plot import SamplesDisplay
    >>> vae = VAETransformer(10, hidden_layer_sizes=()).fit(load_digits().data)
    >>> display = SamplesDisplay.from_estimator(vae, 9, image_shape=(8, 8), random_state=0)
    >>> display.image_.get_size()  # with gaps of one pixel
    (26, 26)
    """

    rows: Any
    image_shape: tuple[int, int] | None = None
    feature_names: Sequence[str] | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        n_samples: int = 64,
        *,
        image_shape: Any = None,
        random_state: Any = None,
        noise: bool = False,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw rows from a fitted VAETransformer, with the parameters of its ``sample``, and plot them."""
        _check_can(estimator, "sample", "VAETransformer, which has a distribution to draw from")
        rows = estimator.sample(n_samples, random_state=random_state, noise=noise)
        return cls(rows, image_shape, _names(estimator)).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw into ``ax``, or a new figure; the rest goes to ``imshow``."""
        rows = _table(self.rows, "rows")
        if self.image_shape is not None:
            self._plot_images(ax, rows, int(np.ceil(np.sqrt(len(rows)))), **{**_contrast(rows), **kwargs})
            self.ax_.set_xlabel("samples")
            return self
        if len(rows) == 1:
            raise ValueError(
                "rows is a single row, and cells are drawn by how rows differ; draw two or more, or give image_shape."
            )
        center, scale, unit = _standard_units(rows)
        self._plot_cells(ax, ((rows - center) / scale)[None], unit, **kwargs)
        self.ax_.set_ylabel("sample")
        self.ax_.yaxis.get_major_locator().set_params(integer=True)
        return self


@dataclass(eq=False, repr=False)
class InterpolationDisplay(_RowsDisplay):
    """What a model sees between two rows: a line of images per pair, or a map of cells.

    Parameters
    ----------
    rows : array-like or frame of shape (n_pairs * n_steps, n_columns)
        Line after line, whose ends are the two rows as the model reconstructs them.
    n_steps : int
        Rows per line.
    image_shape : tuple of two ints or None, default=None
        Height and width of the images that the rows are. None draws cells, by how many standard deviations of its column each
        is above the column's mean, both taken over these rows.
    feature_names : sequence of str or None, default=None
        Names of the columns.

    Attributes
    ----------
    ax_, figure_, image_ : Axes, Figure, AxesImage
    colorbar_ : Colorbar or None

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import VAETransformer
    >>> from skvae._plot import InterpolationDisplay
    >>> X = load_digits().data
    >>> vae = VAETransformer(10, hidden_layer_sizes=()).fit(X)
    >>> display = InterpolationDisplay.from_estimator(vae, X[:3], X[3:6], n_steps=5, image_shape=(8, 8))
    >>> [label.get_text() for label in display.ax_.get_xticklabels()]
    ['start', 'end']
    """

    rows: Any
    n_steps: int
    image_shape: tuple[int, int] | None = None
    feature_names: Sequence[str] | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X_start: Any,
        X_end: Any,
        *,
        n_steps: int = 10,
        image_shape: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Interpolate with a fitted estimator, with the parameters of its ``interpolate``, and draw."""
        _check_can(estimator, "interpolate", ANY)
        rows = estimator.interpolate(X_start, X_end, n_steps)
        return cls(rows, n_steps, image_shape, _names(estimator)).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw into ``ax``, or a new figure; the rest goes to ``imshow``."""
        check_count(2, n_steps=self.n_steps)
        rows = _table(self.rows, "rows")
        n_pairs, rest = divmod(len(rows), self.n_steps)
        if rest:
            raise ValueError(f"n_steps={self.n_steps}, but rows has {len(rows)} rows, which is no multiple; give whole lines.")
        if self.image_shape is not None:
            x, y = self._plot_images(ax, rows, self.n_steps, **{**_contrast(rows), **kwargs})
            _label(self.ax_, "x", x[[0, -1]], ["start", "end"])
            _label(self.ax_, "y", y, range(n_pairs))
            self.ax_.set_ylabel("pair")
            return self
        center, scale, unit = _standard_units(rows)
        y = self._plot_cells(ax, ((rows - center) / scale).reshape(n_pairs, self.n_steps, -1), unit, **kwargs)
        ends = y[:, None] + np.array([-0.5, 0.5]) * (self.n_steps - 1)
        _label(self.ax_, "y", ends.ravel(), [f"pair {pair}, {end}" for pair in range(n_pairs) for end in ("start", "end")])
        return self


@dataclass(eq=False, repr=False)
class LatentSpaceDisplay:
    """Codes of rows: two components against each other, or how one is distributed.

    Text, booleans and at most 20 distinct whole numbers in ``y`` are classes, each with its colour and marker, or with one
    component its own line, across which rows are spread out. Other numbers are a quantity, shown by colour, or with one
    component against it.

    Parameters
    ----------
    codes : array-like or frame of shape (n_rows, 1) or (n_rows, 2)
    y : array-like of shape (n_rows,) or None, default=None
    feature_names : sequence of str or None, default=None
        Names of the components.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
    scatter_ : list of PathCollection
        One, or one per class; none where there is a histogram.
    bars_ : BarContainer or None
        The histogram of one component without ``y``.
    legend_, colorbar_ : Legend or None, Colorbar or None

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer
    >>> from skvae._plot import LatentSpaceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = LatentSpaceDisplay.from_estimator(AutoencoderTransformer(hidden_layer_sizes=()).fit(X), X, y)
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
        """Encode rows with a fitted estimator, or any other transformer, and draw one or two components of the codes.

        A code of one component is drawn as such by default.
        """
        _check_can(estimator, "transform", ANY)
        codes = _table(estimator.transform(X), "codes")
        chosen = np.ravel(components).tolist()
        if codes.shape[1] == 1 and chosen == [0, 1]:
            chosen = [0]
        if len(chosen) not in {1, 2} or not set(chosen) <= set(range(codes.shape[1])):
            raise ValueError(f"components={components!r}; give one or two of the {codes.shape[1]} components, counted from 0.")
        names = estimator.get_feature_names_out()
        return cls(codes[:, chosen], y, [str(names[i]) for i in chosen]).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw into ``ax``, or a new figure; the rest goes to ``scatter``, or to ``hist`` where that is what is drawn."""
        codes = _table(self.codes, "codes")
        if codes.shape[1] > 2:
            raise ValueError(f"codes has {codes.shape[1]} columns; give one or two of them.")
        names = [f"component {i}" for i in range(codes.shape[1])] if self.feature_names is None else list(self.feature_names)
        self.figure_, self.ax_ = _axes(ax)
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
            raise ValueError(f"y has {len(y)} entries, codes {len(codes)} rows; give one entry for each row.")
        alone = codes.shape[1] == 1
        classes, y = _classes(y)
        if classes is not None:
            spread = 0.6 * (np.arange(len(y)) * 0.618034 % 1 - 0.5)  # evenly, whatever the number of rows
            self._scatter_classes(np.column_stack([codes, y + spread]) if alone else codes, y, classes, kwargs)
            if alone:
                _label(self.ax_, "y", np.arange(len(classes)), classes)
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


def _axes(ax: Any, size: tuple[float, ...] = (6.4, 4.8)) -> tuple[Any, Any]:
    """The figure and the axes to draw into, new ones of this size in inches where none are given."""
    if ax is not None:
        return ax.figure, ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("The displays need matplotlib, which is not installed; pip install matplotlib.") from error
    return plt.subplots(figsize=size, layout="constrained")


def _check_can(estimator: Any, what: str, who: str) -> None:
    if not hasattr(estimator, what):
        name = type(estimator).__name__
        raise TypeError(f"estimator is a {name}, which has no {what!r}; pass a fitted {who}. Of a pipeline pass the last step.")


def _names(estimator: Any) -> list[str] | None:
    return list(estimator.feature_names_in_) if hasattr(estimator, "feature_names_in_") else None


def _start_name(estimator: Any) -> str:
    """What an estimator's training begins with, in words."""
    if estimator.init == "random":
        return "random weights"
    if estimator.noise_variance_ is None:  # Bernoulli cells: linear in the logits, and nothing that has a name
        return "a linear model"
    if not hasattr(estimator, "posterior"):
        return "PCA"
    return "factor analysis" if np.ndim(estimator.noise_variance_) else "probabilistic PCA"


def _limit_height(ax: Any, losses: np.ndarray, shared: bool) -> None:
    """Keep a few large losses from flattening the rest: nine tenths of all get at least a third of the height.

    Axes that other curves share take what there is.
    """
    if shared:
        ax.autoscale(axis="y")
    elif len(losses) == 0:
        ax.set(xticks=[], yticks=[])
    else:
        bottom, most, top = np.quantile(losses, [0, 0.9, 1])
        top = min(top, bottom + 3 * (most - bottom))
        if top > bottom:
            ax.set_ylim(bottom - 0.05 * (top - bottom), top + 0.05 * (top - bottom))


def _table(rows: Any, name: str) -> np.ndarray:
    try:
        return check_array(rows, dtype=np.float64, input_name=name)
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(f"{error}. {name} has columns of other things than numbers, which cannot be drawn.") from error


def _check_image_shape(image_shape: Any, n_columns: int) -> tuple[int, int]:
    shape = tuple(np.ravel(image_shape).tolist())
    if len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] != n_columns:
        raise ValueError(
            f"image_shape={image_shape!r}, but the rows have {n_columns} columns; give height and width, of which that is the "
            "product, or None to draw cells."
        )
    return shape


def _standard_units(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Centre and scale of each column, and what cells are measured in then."""
    center = rows.mean(axis=0)
    if len(rows) == 1:
        return center, np.where(center == 0, 1.0, np.abs(center)), "share of the original"
    deviation = rows.std(axis=0)
    varies = deviation > 1e-9 * np.abs(center)  # less is rounding
    return center, np.where(varies, deviation, 1.0), "standard deviations"


def _contrast(rows: np.ndarray) -> dict[str, float]:
    """Where grey levels end: a few cells beyond what images hold would leave all others a middling grey."""
    low, high = np.quantile(rows, [0.02, 0.98])
    return {"vmin": low, "vmax": high} if low < high else {}


def _mosaic(images: np.ndarray, n_across: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images in lines of so many with gaps of NaN between them; the centres of their columns and of their lines."""
    count, height, width = images.shape
    n_down, gap = count // n_across, max(1, height // 14)
    spaced = np.pad(images, ((0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    lines = spaced.reshape(n_down, n_across, height + gap, width + gap).swapaxes(1, 2)
    x = np.arange(n_across) * (width + gap) + (width - 1) / 2
    y = np.arange(n_down) * (height + gap) + (height - 1) / 2
    return lines.reshape(n_down * (height + gap), -1)[:-gap, :-gap], x, y


def _classes(y: np.ndarray) -> tuple[list[str] | None, np.ndarray]:
    """Names of the classes and which of them each row is in; None and the numbers where y is a quantity."""
    if y.dtype.kind not in "iuf":
        names, index = np.unique(y.astype(str), return_inverse=True)
        return names.tolist(), index
    if not np.isfinite(y).all():
        raise ValueError("y holds numbers that are not finite; drop these rows.")
    values, index = np.unique(y, return_inverse=True)
    if len(values) > MOST_CLASSES or (values != np.rint(values)).any():
        return None, y
    return [f"{value:g}" for value in values], index


def _marker_size(n_rows: int) -> float:
    return float(np.clip(350 / np.sqrt(n_rows), 2, 30))


def _label(ax: Any, which: str, positions: np.ndarray, labels: Any, **kwargs: Any) -> None:
    """Label positions along an axis, every second, third... only where there is no room for all."""
    texts = [str(label) for label in labels]
    needed = LINE + LETTER * max(map(len, texts)) if which == "x" and not kwargs else LINE
    box = ax.get_window_extent()
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    inches = (box.width if which == "x" else box.height) / ax.figure.dpi / abs(high - low)
    step = 1 if len(texts) == 1 else int(np.ceil(needed / (np.diff(positions).min() * inches)))
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(positions[::step], labels=texts[::step], **kwargs)


def _shortened(name: Any) -> str:
    text = str(name)
    half = MOST_LETTERS // 2
    return text if len(text) <= MOST_LETTERS else f"{text[: half - 1]}…{text[-half:]}"
