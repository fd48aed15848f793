"""Rows of a table, drawn as images or as a heat map of their cells."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from skvae._display.drawing import LETTER, axes_or_new, label_ticks, shortened

MOST_DEVIATIONS = 3.0  # limit of the colour scale, so that one outlier does not bleach the rest


class RowsDisplay:
    """Base class of displays that draw rows as images or as a heat map of their cells."""

    image_shape: tuple[int, int] | None
    feature_names: Sequence[str] | None

    def _plot_images(self, ax: Any, rows: np.ndarray, n_across: int, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Draw ``n_across`` images per line; return the centres of the columns and lines of images."""
        height, width = _check_image_shape(self.image_shape, rows.shape[1])
        images = np.full((-(-len(rows) // n_across) * n_across, height, width), np.nan)
        images[: len(rows)] = rows.reshape(-1, height, width)
        mosaic, x, y = _mosaic(images, n_across)
        inches = min(0.8 * n_across + 1, 12)
        self.figure_, self.ax_ = axes_or_new(ax, (inches, min((inches - 1) * len(mosaic) / mosaic.shape[1] + 0.6, 12)))
        self.image_ = self.ax_.imshow(mosaic, **{"cmap": "gray", "interpolation": "nearest", **kwargs})
        self.colorbar_ = None
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.spines[:].set_visible(False)
        return x, y

    def _plot_cells(self, ax: Any, blocks: np.ndarray, unit: str, **kwargs: Any) -> np.ndarray:
        """Draw tables one below the other, in this unit; return the centres of their rows."""
        mosaic, _, y = _mosaic(blocks, 1)
        names = [] if self.feature_names is None else [shortened(name) for name in self.feature_names]
        if names and len(names) != mosaic.shape[1]:
            raise ValueError(
                f"feature_names has {len(names)} names, but rows have {mosaic.shape[1]} columns; pass one per column, or None."
            )
        letters = LETTER * max(map(len, names), default=0)
        size = 0.25 * mosaic.shape[1] + 2.5, 0.18 * len(mosaic) + 1.3 + letters
        self.figure_, self.ax_ = axes_or_new(ax, tuple(np.clip(size, (5, 3), (14, 14))))
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
            label_ticks(self.ax_, "x", np.arange(len(names)), names, rotation=90)
        return y


def standard_units(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Centre and scale of each column, and the unit of the scaled cells."""
    center = rows.mean(axis=0)
    if len(rows) == 1:
        return center, np.where(center == 0, 1.0, np.abs(center)), "share of the original"
    deviation = rows.std(axis=0)
    varies = deviation > 1e-9 * np.abs(center)  # less is rounding
    return center, np.where(varies, deviation, 1.0), "standard deviations"


def contrast(rows: np.ndarray) -> dict[str, float]:
    """Limits of the grey scale; without them, a few extreme cells would leave all others a middling grey."""
    low, high = np.quantile(rows, [0.02, 0.98])
    return {"vmin": low, "vmax": high} if low < high else {}


def _check_image_shape(image_shape: Any, n_columns: int) -> tuple[int, int]:
    shape = tuple(np.ravel(image_shape).tolist())
    if len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] != n_columns:
        raise ValueError(
            f"image_shape={image_shape!r}, but the rows have {n_columns} columns; pass a height and a width with this product, "
            "or None to draw a heat map."
        )
    return shape


def _mosaic(images: np.ndarray, n_across: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images in lines of ``n_across``, with gaps of NaN between them; and the centres of columns and lines."""
    count, height, width = images.shape
    n_down, gap = count // n_across, max(1, height // 14)
    spaced = np.pad(images, ((0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    lines = spaced.reshape(n_down, n_across, height + gap, width + gap).swapaxes(1, 2)
    x = np.arange(n_across) * (width + gap) + (width - 1) / 2
    y = np.arange(n_down) * (height + gap) + (height - 1) / 2
    return lines.reshape(n_down * (height + gap), -1)[:-gap, :-gap], x, y
