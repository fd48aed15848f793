"""Interpolations between two rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skvae._display.drawing import ANY, as_numbers, check_can, label_ticks, names_of_columns
from skvae._display.rows import RowsDisplay, contrast, standard_units
from skvae._validation import check_count


@dataclass(eq=False, repr=False)
class InterpolationDisplay(RowsDisplay):
    """Plot interpolations between pairs of rows, as images or as a heat map.

    Parameters
    ----------
    rows : array-like or frame of shape (n_pairs * n_steps, n_columns)
        Interpolated rows, pair after pair. The first and the last row of a pair are the reconstructions of its two rows.
    n_steps : int
        Number of rows per pair.
    image_shape : tuple of two ints or None, default=None
        Height and width, if the rows are images. None draws a heat map of the cells, standardised by the means and standard
        deviations of these rows.
    feature_names : sequence of str or None, default=None
        Names of the columns.

    Attributes
    ----------
    ax_, figure_, image_ : Axes, Figure, AxesImage
        Axes, figure and image of the plot.
    colorbar_ : Colorbar or None
        Colour bar of a heat map; None for images.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import InterpolationDisplay, VAETransformer
    >>> X = load_digits().data
    >>> vae = VAETransformer(10, hidden_layer_sizes=()).fit(X)
    >>> display = InterpolationDisplay.from_estimator(
    ...     vae, X[:3], X[3:6], n_steps=5, image_shape=(8, 8)
    ... )
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
        """Interpolate between pairs of rows with a fitted estimator, and plot.

        Parameters
        ----------
        estimator : AutoencoderTransformer or VAETransformer
            Fitted estimator.
        X_start, X_end : array-like or frame of shape (n_pairs, n_columns)
            Rows at which each interpolation starts and ends.
        n_steps : int, default=10
            Number of rows per pair, including both ends; at least 2.
        image_shape : tuple of two ints or None, default=None
            Height and width, if the rows are images. None draws a heat map of the cells.
        ax : Axes or None, default=None
            Axes to draw into. None creates a new figure.
        **kwargs : dict
            Keyword arguments for ``imshow``.

        Returns
        -------
        display : InterpolationDisplay
        """
        check_can(estimator, "interpolate", ANY)
        rows = estimator.interpolate(X_start, X_end, n_steps)
        return cls(rows, n_steps, image_shape, names_of_columns(estimator)).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Plot the interpolations.

        Parameters
        ----------
        ax : Axes or None, default=None
            Axes to draw into. None creates a new figure.
        **kwargs : dict
            Keyword arguments for ``imshow``.

        Returns
        -------
        self : object
        """
        check_count(2, n_steps=self.n_steps)
        rows = as_numbers(self.rows, "rows")
        n_pairs, rest = divmod(len(rows), self.n_steps)
        if rest:
            raise ValueError(
                f"rows has {len(rows)} rows, which is not a multiple of n_steps={self.n_steps}; pass complete pairs."
            )
        if self.image_shape is not None:
            x, y = self._plot_images(ax, rows, self.n_steps, **{**contrast(rows), **kwargs})
            label_ticks(self.ax_, "x", x[[0, -1]], ["start", "end"])
            label_ticks(self.ax_, "y", y, range(n_pairs))
            self.ax_.set_ylabel("pair")
            return self
        center, scale, unit = standard_units(rows)
        y = self._plot_cells(ax, ((rows - center) / scale).reshape(n_pairs, self.n_steps, -1), unit, **kwargs)
        ends = y[:, None] + np.array([-0.5, 0.5]) * (self.n_steps - 1)
        label_ticks(self.ax_, "y", ends.ravel(), [f"pair {pair}, {end}" for pair in range(n_pairs) for end in ("start", "end")])
        return self
