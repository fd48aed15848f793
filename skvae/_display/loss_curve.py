"""How a model was trained, epoch by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae._display.drawing import ANY, COLORS, axes_or_new, check_can


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
    >>> from skvae import LossCurveDisplay, VAETransformer
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
        check_can(estimator, "best_iter_", ANY)
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
        **kwargs : dict
            For both lines, e.g. ``color``.

        Returns
        -------
        self : object
        """
        self.figure_, self.ax_ = axes_or_new(ax)
        shared = self.ax_.has_data()
        prefix = "" if name is None else f"{name}: "
        losses = np.asarray(self.loss_curve, dtype=float)
        judged = self.log_jacobian - np.asarray([] if self.validation_scores is None else self.validation_scores, dtype=float)
        n_tried = max(0, len(judged) - 1)
        label = "training" if len(losses) else f"nothing trained, {self.start_name} is the answer"
        style = {"color": COLORS[0], "linewidth": 1, "marker": "." if len(losses) == 1 else "", **kwargs}
        (self.line_,) = self.ax_.plot(np.arange(1, len(losses) + 1), losses, label=prefix + label, **style)
        self.validation_line_ = self.start_ = self.best_ = None
        if n_tried:
            self._plot_judged(len(losses) - n_tried, judged, prefix, kwargs)
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
