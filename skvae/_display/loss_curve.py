"""Loss curves of a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae._display.drawing import ANY, COLORS, axes_or_new, check_can


@dataclass(eq=False, repr=False)
class LossCurveDisplay:
    """Plot the loss of the training rows and of the held-out rows after each epoch.

    Both are on the scale of ``loss_curve_``, that of standardised columns, and can be compared. If training was repeated on
    all rows after the number of epochs was chosen, the training loss is that of the repetition. A model that starts at PCA
    stays there if the gain is small. A few very large losses may be cut off; the legend shows the loss at the start.

    Parameters
    ----------
    loss_curve : sequence of float
        Training loss of epochs 1, 2, ..., in nats per row; empty if nothing was trained.
    validation_scores : sequence of float or None, default=None
        Mean log-likelihood of the held-out rows, in nats per row, at the start and after each epoch of the last training.
    best_iter : int or None, default=None
        Epoch of the last training that was kept, 0 for its start. Only used with ``validation_scores``.
    log_jacobian : float, default=0.0
        Log-likelihood in the units of the input minus log-likelihood on the scale of ``loss_curve``, in nats per row.
    start_name : str, default="the start"
        Name of the initial model, for the legend.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Axes and figure of the plot.
    line_ : Line2D
        The training loss.
    validation_line_, start_, best_ : Line2D or None
        The held-out loss, and the markers of the start and of the epoch that was kept.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import LossCurveDisplay, VAETransformer
    >>> options = {"max_iter": 20, "n_iter_no_change": 3, "random_state": 0}
    >>> vae = VAETransformer(hidden_layer_sizes=(8,), **options)
    >>> display = LossCurveDisplay.from_estimator(vae.fit(load_iris().data))
    >>> display.ax_.get_ylabel()
    'loss (nats per row)'
    """

    loss_curve: Sequence[float]
    validation_scores: Sequence[float] | None = None
    best_iter: int | None = None
    log_jacobian: float = 0.0
    start_name: str = "the start"

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any) -> Self:
        """Plot the loss curves of a fitted estimator.

        Parameters
        ----------
        estimator : AutoencoderTransformer or VAETransformer
            Fitted estimator.
        ax : Axes or None, default=None
            Axes to draw into; several displays may share them. None creates a new figure.
        name : str or None, default=None
            Name of the model, for the legend.
        **kwargs : dict
            Keyword arguments for both lines, for example ``color``.

        Returns
        -------
        display : LossCurveDisplay
        """
        check_is_fitted(estimator)
        check_can(estimator, "best_iter_", ANY)
        curves = estimator.loss_curve_, estimator.validation_scores_, estimator.best_iter_
        log_jacobian = estimator._log_jacobian  # noqa: SLF001, converts between the two scales, and has no other use
        return cls(*curves, log_jacobian, _start_name(estimator)).plot(ax, name=name, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Plot the loss curves.

        Parameters
        ----------
        ax : Axes or None, default=None
            Axes to draw into; several displays may share them. None creates a new figure.
        name : str or None, default=None
            Name of the model, for the legend.
        **kwargs : dict
            Keyword arguments for both lines, for example ``color``.

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
        label = "training" if len(losses) else f"nothing trained, the model is {self.start_name}"
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
        """Plot the held-out loss of a training that was preceded by ``n_before`` epochs."""
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
    """Name of the initial model of an estimator's training."""
    if estimator.init == "random":
        return "random weights"
    if estimator.noise_variance_ is None:  # Bernoulli cells: the initial model is linear in the logits and has no name
        return "a linear model"
    if not hasattr(estimator, "posterior"):
        return "PCA"
    return "factor analysis" if np.ndim(estimator.noise_variance_) else "probabilistic PCA"


def _limit_height(ax: Any, losses: np.ndarray, shared: bool) -> None:
    """Keep a few large losses from flattening the curve: nine tenths of the epochs get at least a third of the height.

    Axes that are shared with other curves show everything.
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
