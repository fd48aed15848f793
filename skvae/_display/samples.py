"""Rows sampled from a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skvae._display.drawing import as_numbers, check_can, names_of_columns
from skvae._display.rows import RowsDisplay, contrast, standard_units


@dataclass(eq=False, repr=False)
class SamplesDisplay(RowsDisplay):
    """Plot rows sampled from a model, as a grid of images or as a heat map.

    Parameters
    ----------
    rows : array-like or frame of shape (n_rows, n_columns)
        Sampled rows.
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
    >>> from skvae import SamplesDisplay, VAETransformer
    >>> vae = VAETransformer(10, hidden_layer_sizes=()).fit(load_digits().data)
    >>> display = SamplesDisplay.from_estimator(
    ...     vae, 9, image_shape=(8, 8), random_state=0
    ... )
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
        """Sample rows from a fitted ``VAETransformer``, and plot them.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted estimator.
        n_samples : int, default=64
            Number of rows to draw.
        image_shape : tuple of two ints or None, default=None
            Height and width, if the rows are images. None draws a heat map of the cells.
        random_state : int, RandomState instance or None, default=None
            Seed of the draw. None uses a new seed in each call.
        noise : bool, default=False
            Whether to draw cells around the decoder's mean from the likelihood. False shows the means, which look smoother.
        ax : Axes or None, default=None
            Axes to draw into. None creates a new figure.
        **kwargs : dict
            Keyword arguments for ``imshow``.

        Returns
        -------
        display : SamplesDisplay
        """
        check_can(estimator, "sample", "VAETransformer, which can sample rows")
        rows = estimator.sample(n_samples, random_state=random_state, noise=noise)
        return cls(rows, image_shape, names_of_columns(estimator)).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Plot the samples.

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
        rows = as_numbers(self.rows, "rows")
        if self.image_shape is not None:
            self._plot_images(ax, rows, int(np.ceil(np.sqrt(len(rows)))), **{**contrast(rows), **kwargs})
            self.ax_.set_xlabel("samples")
            return self
        if len(rows) == 1:
            raise ValueError(
                "rows is a single row, but a heat map shows how rows differ; sample two or more rows, or pass image_shape."
            )
        center, scale, unit = standard_units(rows)
        self._plot_cells(ax, ((rows - center) / scale)[None], unit, **kwargs)
        self.ax_.set_ylabel("sample")
        self.ax_.yaxis.get_major_locator().set_params(integer=True)
        return self
