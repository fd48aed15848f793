"""Rows and their reconstructions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from skvae._display.drawing import ANY, as_numbers, check_can, label_ticks, names_of_columns
from skvae._display.rows import RowsDisplay, standard_units
from skvae._validation import check_count


@dataclass(eq=False, repr=False)
class ReconstructionDisplay(RowsDisplay):
    """Plot rows and their reconstructions, as images or as a heat map that includes the differences.

    Parameters
    ----------
    originals, reconstructions : array-like or frame of shape (n_rows, n_columns)
        The rows, and what the model returns for them.
    image_shape : tuple of two ints or None, default=None
        Height and width, if the rows are images. None draws a heat map of the cells, standardised by the means and standard
        deviations of all originals. For a single original, it shows deviations relative to the original.
    feature_names : sequence of str or None, default=None
        Names of the columns.
    inputs : array-like or frame of shape (n_rows, n_columns), default=None
        Rows that were passed to the model instead of the originals, for example noisy images.

    Attributes
    ----------
    ax_, figure_, image_ : Axes, Figure, AxesImage
        Axes, figure and image of the plot.
    colorbar_ : Colorbar or None
        Colour bar of a heat map; None for images.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skvae import AutoencoderTransformer, ReconstructionDisplay
    >>> X = load_wine(as_frame=True).data
    >>> model = AutoencoderTransformer(hidden_layer_sizes=()).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(model, X)
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
        """Reconstruct rows with a fitted estimator, and plot both.

        Parameters
        ----------
        estimator : AutoencoderTransformer or VAETransformer
            Fitted estimator.
        X : array-like or frame of shape (n_rows, n_columns)
            The original rows.
        image_shape : tuple of two ints or None, default=None
            Height and width, if the rows are images. None draws a heat map of the cells.
        inputs : array-like or frame of shape (n_rows, n_columns), default=None
            Rows to reconstruct instead of ``X``, for example noisy images.
        n_rows : int, default=8
            Number of rows to show, from the first on.
        ax : Axes or None, default=None
            Axes to draw into. None creates a new figure.
        **kwargs : dict
            Keyword arguments for ``imshow``, for example ``cmap``.

        Returns
        -------
        display : ReconstructionDisplay
        """
        check_can(estimator, "reconstruct", ANY)
        reconstructions = estimator.reconstruct(X if inputs is None else inputs)
        return cls(X, reconstructions, image_shape, names_of_columns(estimator), inputs).plot(ax, n_rows=n_rows, **kwargs)

    def plot(self, ax: Any = None, *, n_rows: int = 8, **kwargs: Any) -> Self:
        """Plot the first rows and their reconstructions.

        Parameters
        ----------
        ax : Axes or None, default=None
            Axes to draw into. None creates a new figure.
        n_rows : int, default=8
            Number of rows to show, from the first on.
        **kwargs : dict
            Keyword arguments for ``imshow``, for example ``cmap``.

        Returns
        -------
        self : object
        """
        check_count(1, n_rows=n_rows)
        given = {"original": self.originals, "input": self.inputs, "reconstruction": self.reconstructions}
        tables = {name: as_numbers(rows, f"{name}s") for name, rows in given.items() if rows is not None}
        originals = tables["original"]
        for name, rows in tables.items():
            if rows.shape != originals.shape:
                raise ValueError(
                    f"{name}s has shape {rows.shape}, but originals has {originals.shape}; pass one row per original."
                )
        shown = {name: rows[:n_rows] for name, rows in tables.items()}
        if self.image_shape is None:
            center, scale, unit = standard_units(originals)
            shown = {name: (rows - center) / scale for name, rows in shown.items()}
            shown["difference"] = shown["reconstruction"] - shown["original"]
            y = self._plot_cells(ax, np.stack(list(shown.values())), unit, **kwargs)
        else:
            n_across = len(shown["original"])
            kwargs = {"vmin": originals.min(), "vmax": originals.max(), **kwargs}
            x, y = self._plot_images(ax, np.concatenate(list(shown.values())), n_across, **kwargs)
            label_ticks(self.ax_, "x", x, range(n_across))
            self.ax_.set_xlabel("row")
        label_ticks(self.ax_, "y", y, shown)
        return self
