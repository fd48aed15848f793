"""What the benchmarks on images of digits share."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import data
from report import Parser, add_epochs


def add_split_options(parser: Parser) -> None:
    """Add what digits and MNIST are split into, and how long to train on them."""
    data.add_options(parser, sets=False)
    parser.add_argument("--splits", type=int, default=5, help="of digits")
    parser.add_argument("--rows", type=int, metavar="N", help="random training images of MNIST; all where left out")
    add_epochs(parser)
    parser.add_argument("--verbose", action="store_true", help="show the progress of training")


def splits(args: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Name and seed of each split: those of digits, and MNIST's own where there is a folder of data."""
    yield from (("digits", seed) for seed in range(args.splits))
    if args.data:
        yield "mnist", 0


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


def _sizes(text: str) -> tuple[int, ...]:
    """Widths of layers, "200,200"."""
    return tuple(int(size) for size in text.split(","))


def add_training_options(
    parser: argparse.ArgumentParser, *, hidden: tuple[int, ...], epochs: int, batch_size: int, lr: float, early_stopping: bool
) -> None:
    """Add what is trained, on what and how, with these defaults."""
    widths = ",".join(map(str, hidden))
    parser.add_argument("--hidden", type=_sizes, default=hidden, metavar="A,B", help=f"default {widths}")
    parser.add_argument("--activation", default="gelu")
    parser.add_argument("--init", default="pca", choices=("pca", "random"))
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--early-stopping", action=argparse.BooleanOptionalAction, default=early_stopping)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, metavar="N", help="random training images; all where left out")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--verbose", action="store_true", help="show the progress of training")


def parameters(args: argparse.Namespace) -> dict[str, Any]:
    """These options as the estimators' parameters."""
    return {
        "hidden_layer_sizes": args.hidden,
        "activation": args.activation,
        "init": args.init,
        "weight_decay": args.weight_decay,
        "learning_rate_init": args.lr,
        "batch_size": args.batch_size,
        "max_iter": args.epochs,
        "early_stopping": args.early_stopping,
        "random_state": args.seed,
        "verbose": args.verbose,
        "device": args.device,
    }


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """The options that make a difference to what is measured."""
    left_out = ("data", "json", "threads", "smoke", "verbose", "figure")
    return {name: value for name, value in vars(args).items() if name not in left_out}
