"""What the benchmarks on images of digits share."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np


def one_of_each(digits: np.ndarray) -> list[int]:
    """Where the first image of each digit stands."""
    return [int(np.flatnonzero(digits == digit)[0]) for digit in range(10)]


def draw_strips(strips: dict[str, np.ndarray], path: Path) -> None:
    """Strips of ten images of 28 x 28 pixels in [0, 1], one below the other, each with its label."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.85 * len(strips)), layout="constrained")
    grid = figure.subplots(len(strips), 10)
    for line, (label, pictures) in zip(grid, strips.items(), strict=True):
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=150)


def sizes(text: str) -> tuple[int, ...]:
    """Widths of layers, "200,200"."""
    return tuple(int(size) for size in text.split(","))


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The options that make a difference to what is measured."""
    left_out = ("data", "json", "threads", "verbose", "figure")
    return {name: value for name, value in vars(args).items() if name not in left_out}
