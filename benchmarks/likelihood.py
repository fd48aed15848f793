"""How much likelier than under PCA and factor analysis rows are that a VAE of the same code size has not seen.

Protocol: random 75/25 splits, constant columns dropped, columns standardised on the training rows; every model is fitted on
the same training rows, and its mean log-likelihood of the test rows divided by the number of columns. Code sizes are the
distinct values of max(1, .) of 2, d // 8, d // 4 below the numbers of training rows and columns. A cell is a table and a code
size; its scores are means over splits, and the summary is the arithmetic mean over cells.

Models: VAETransformer(k) with its defaults, by importance weighting (a lower bound); PCA(k), whose density is that of
probabilistic PCA; FactorAnalysis(k), scikit-learn's defaults.

Reading it: nats per column; 0.1 more on a table of 30 columns makes a row e^3 = 20 times as likely. Columns that are determined
by others have no density; there the size of the least variance that a model allows decides. Seconds are those of ``fit``.
With ``--json`` a run that was interrupted goes on where it stopped.
"""

import argparse
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA, FactorAnalysis

import data
from report import Cell, Row, Rows, add_epochs, begin, by_cell, mean, parser, say, say_table, timed, training
from skvae import VAETransformer

FIT = {
    "PCA": lambda X, k, seed: PCA(k, svd_solver="full").fit(X),
    "FactorAnalysis": lambda X, k, seed: FactorAnalysis(k, random_state=seed).fit(X),
    "skvae": lambda X, k, seed, **options: VAETransformer(k, random_state=seed, **options).fit(X),
}
RIVALS = ("PCA", "FactorAnalysis")


def measure(model: str, train: np.ndarray, test: np.ndarray, k: int, seed: int, epochs: int | str) -> Row:
    """Mean log-likelihood per test cell, and the seconds of the fit."""
    fitted, seconds = timed(lambda: FIT[model](train, k, seed, **training(model, epochs)))
    row = {"n": train.shape[0], "d": train.shape[1], "score": float(fitted.score(test)) / test.shape[1], "seconds": seconds}
    if model == "skvae":
        row |= {"best_epoch": fitted.best_iter_, "noise": "per column" if np.ndim(fitted.noise_variance_) else "one"}
    return row


def run_table(name: str, X: np.ndarray, args: argparse.Namespace, rows: Rows) -> Iterator[Row]:
    """Measure a table, split by split, and print a line per code size."""
    for seed in range(args.splits):
        train, test = data.split(X, seed)
        for k in data.code_sizes(*train.shape):
            cell = {"set": name, "k": k, "split": seed}
            measures = {model: partial(measure, model, train, test, k, seed, args.epochs) for model in FIT}
            found = [rows.once(measures[model], **cell, model=model) for model in FIT]
            parts = [f"{row['model']} {row['score']:.4f} ({row['seconds']:.1f} s)" for row in found]
            say(f"{name:14s} n={len(train)} d={train.shape[1]} k={k:<3d} split {seed}  {'  '.join(parts)}")
            yield from found


def gains(rows: list[Row], rival: str) -> dict[Cell, float]:
    """Our score less a rival's in each cell, means over splits."""
    theirs = by_cell(rows, rival)
    return {cell: mean(ours, "score") - mean(theirs[cell], "score") for cell, ours in by_cell(rows, "skvae").items()}


def say_cells(rows: list[Row]) -> None:
    """Print the scores of each cell, means over splits."""
    tables = {model: by_cell(rows, model) for model in FIT}
    lines = []
    for cell, ours in tables["skvae"].items():
        scores = [f"{mean(tables[model][cell], 'score'):.4f}" for model in FIT]
        over = [f"{gains(rows, rival)[cell]:+.4f}" for rival in RIVALS]
        per_column = sum(row["noise"] == "per column" for row in ours)
        trained = sum(row["best_epoch"] > 0 for row in ours)
        seconds = [f"{mean(tables[model][cell], 'seconds'):.1f}" for model in ("FactorAnalysis", "skvae")]
        counts = [f"{count} of {len(ours)}" for count in (per_column, trained)]
        lines.append([cell[0], ours[0]["n"], ours[0]["d"], cell[1], *scores, *over, *counts, *seconds])
    headers = ["set", "n", "d", "k", "PCA", "FA", "skvae", "over PCA", "over FA", "noise per column", "trained", "s FA", "s"]
    say_table(headers, lines)


def say_summary(rows: list[Row]) -> None:
    """Print our gain over each rival over all cells."""
    lines = []
    for rival in RIVALS:
        over = gains(rows, rival)
        worst = min(over, key=over.get)
        values = np.array(list(over.values()))
        line = [rival, len(over), f"{values.mean():+.4f}", f"{np.median(values):+.4f}"]
        lines.append([*line, f"{over[worst]:+.4f} ({worst[0]}, k={worst[1]})"])
    say_table(["skvae over", "cells", "mean gain, nats per column", "median", "worst cell"], lines)


def draw(rows: list[Row], path: Path) -> None:
    """One line per cell, largest gain first: PCA at zero, factor analysis and ours as the gain over it."""
    over_pca, over_analysis = gains(rows, "PCA"), gains(rows, "FactorAnalysis")
    cells = sorted(over_pca, key=over_pca.get)
    figure = Figure(figsize=(7, 1 + 0.2 * len(cells)), layout="constrained")
    ax = figure.subplots()
    heights = range(len(cells))
    analysis = [max(over_pca[cell] - over_analysis[cell], LEFT_EDGE) for cell in cells]
    ax.plot(analysis, heights, "D", color="#E69F00", markersize=4, label="factor analysis")
    ax.plot([over_pca[cell] for cell in cells], heights, "o", color="#0072B2", markersize=5, label="skvae")
    ax.axvline(0, color="#D55E00", linewidth=1.5, label="PCA")
    ax.set_yticks(heights, [f"{name}, k={k}" for name, k in cells], fontsize=8)
    ax.set_xscale("symlog", linthresh=0.2)
    ax.set_xticks([-0.5, 0, 0.1, 0.2, 0.5, 1, 2], ["-0.5", "0", "0.1", "0.2", "0.5", "1", "2"])
    ax.set_ylim(-1, len(cells))
    ax.set_xlabel("held-out log-likelihood over PCA's, nats per column")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=150)


LEFT_EDGE = -0.6  # nats; a diamond at the edge lies beyond it


def main() -> None:
    options = parser(__doc__, sets="linnerud,gain_letter", splits=1, epochs=2)
    data.add_options(options)
    add_epochs(options)
    options.add_argument("--splits", type=int, default=5, metavar="N", help="random splits per table; default 5")
    options.add_argument("--figure", type=Path, metavar="FILE.png", help="draw the gain of every cell")
    args = options.parse_args()
    begin(args)
    warnings.simplefilter("ignore")
    rows, found = Rows(args.json), []
    for name in data.chosen(args):
        found += run_table(name, data.load(name, args.data), args, rows)
    say_cells(found)
    say_summary(found)
    if args.figure:
        draw(found, args.figure)


if __name__ == "__main__":
    main()
