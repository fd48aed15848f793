"""How much better than PCA an autoencoder of the same code size reconstructs rows that it has not seen.

Protocol: random 75/25 splits, constant columns dropped, columns standardised on the training rows; every model is fitted on
the same training rows, and its squared error on the test rows divided by PCA's. Code sizes are the distinct values of max(1, .)
of 2, d // 8, d // 4 below the numbers of training rows and columns. A cell is a table and a code size; its ratio is the mean
over splits, and the summary the arithmetic mean over cells.

Models: AutoencoderTransformer(k) with its defaults; PCA(k), exact (svd_solver="full"); KernelPCA with an RBF kernel and its
inverse transform, on at most 5000 training rows; MLPRegressor(hidden_layer_sizes=(128, k, 128)) fitted from the rows to
themselves, otherwise with its defaults. The last two take long on large tables and are left out there unless ``--rivals all``.

Reading it: 1 is PCA, 0.8 a fifth less error. The worst cell and the worst single split show what "never worse" is worth.
Seconds are those of ``fit``. With ``--json`` a run that was interrupted goes on where it stopped.
"""

import argparse
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA, KernelPCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

import data
from report import Row, Rows, add_epochs, begin, by_cell, mean, parser, say, say_table, timed, training
from skvae import AutoencoderTransformer


def rbf_pca(k: int, seed: int) -> KernelPCA:
    return KernelPCA(k, kernel="rbf", fit_inverse_transform=True, random_state=seed)


def bottleneck(k: int, seed: int) -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=(128, k, 128), random_state=seed)


FIT = {
    "PCA": lambda X, k, seed: PCA(k, svd_solver="full").fit(X),
    "skvae": lambda X, k, seed, **options: AutoencoderTransformer(k, random_state=seed, **options).fit(X),
    "KernelPCA": lambda X, k, seed: rbf_pca(k, seed).fit(X[:KERNEL_ROWS]),
    "MLPRegressor": lambda X, k, seed: bottleneck(k, seed).fit(X, X),
}
RIVALS = ("KernelPCA", "MLPRegressor")
KERNEL_ROWS = 5000
SMALL = 10_000  # rows; up to here rivals run by default


def models_for(n_rows: int, rivals: str) -> list[str]:
    """The models that run on a table of so many rows."""
    with_rivals = rivals == "all" or (rivals == "small" and n_rows <= SMALL)
    return [name for name in FIT if with_rivals or name not in RIVALS]


def measure(model: str, train: np.ndarray, test: np.ndarray, k: int, seed: int, epochs: int | str) -> Row:
    """Mean squared error per test cell, and the seconds of the fit."""
    fitted, seconds = timed(lambda: FIT[model](train, k, seed, **training(model, epochs)))
    error = np.mean((reconstruct(fitted, test) - test) ** 2, dtype=np.float64)
    return {"n": train.shape[0], "d": train.shape[1], "error": float(error), "seconds": seconds}


def reconstruct(fitted: Any, X: np.ndarray) -> np.ndarray:
    return fitted.predict(X) if isinstance(fitted, MLPRegressor) else fitted.inverse_transform(fitted.transform(X))


def run_table(name: str, X: np.ndarray, models: list[str], args: argparse.Namespace, rows: Rows) -> Iterator[Row]:
    """Measure a table, split by split, and print a line per code size."""
    for seed in range(args.splits):
        train, test = data.split(X, seed)
        for k in data.code_sizes(*train.shape):
            cell = {"set": name, "k": k, "split": seed}
            measures = {model: partial(measure, model, train, test, k, seed, args.epochs) for model in models}
            found = [rows.once(measures[model], **cell, model=model) for model in models]
            found = [row | {"ratio": row["error"] / found[0]["error"]} for row in found]
            parts = [f"{row['model']} {row['ratio']:.4f} ({row['seconds']:.1f} s)" for row in found]
            say(f"{name:14s} n={len(train)} d={train.shape[1]} k={k:<3d} split {seed}  {'  '.join(parts)}")
            yield from found


def say_cells(rows: list[Row], models: list[str]) -> None:
    """Print ratio and seconds of each model in each cell, means over splits."""
    tables = {model: by_cell(rows, model) for model in models}
    lines = []
    for (name, k), splits in tables["skvae"].items():
        first = tables["PCA"][name, k]
        line = [name, splits[0]["n"], splits[0]["d"], k, f"{mean(first, 'error'):.4g}", f"{mean(first, 'seconds'):.2f}"]
        for model in models[1:]:
            cell = tables[model].get((name, k))
            line += [f"{mean(cell, 'ratio'):.4f}", f"{mean(cell, 'seconds'):.1f}"] if cell else ["", ""]
        lines.append(line)
    headers = ["set", "n", "d", "k", "PCA error per cell", "s", *(h for model in models[1:] for h in (model, "s"))]
    say_table(headers, lines)


def say_summary(rows: list[Row], models: list[str]) -> None:
    """Print each model over all its cells, beside skvae on the same cells."""
    ours = {cell: mean(splits, "ratio") for cell, splits in by_cell(rows, "skvae").items()}
    lines = []
    for model in models[1:]:
        cells = {cell: mean(splits, "ratio") for cell, splits in by_cell(rows, model).items()}
        if not cells:
            continue
        average, worst = np.mean(list(cells.values())), max(cells, key=cells.get)
        worst_split = max(row["ratio"] for row in rows if row["model"] == model)
        seconds = sum(row["seconds"] for row in rows if row["model"] == model)
        same_cells = np.mean([ours[cell] for cell in cells])
        line = [model, len(cells), f"{average:.4f}", f"{100 * (1 - average):.1f} %"]
        line += [f"{cells[worst]:.4f} ({worst[0]}, k={worst[1]})", f"{worst_split:.4f}", f"{same_cells:.4f}", f"{seconds:.0f}"]
        lines.append(line)
    headers = ["model", "cells", "mean ratio", "mean reduction", "worst cell", "worst split", "skvae on these", "s in all"]
    say_table(headers, lines)


def draw(rows: list[Row], path: Path) -> None:
    """One line per cell, best first: the mean ratio as a dot and its range over splits as a bar, PCA as the line at 1."""
    cells = sorted(by_cell(rows, "skvae").items(), key=lambda item: -mean(item[1], "ratio"))
    figure = Figure(figsize=(7, 1 + 0.2 * len(cells)), layout="constrained")
    ax = figure.subplots()
    for height, (_, splits) in enumerate(cells):
        ratios = [row["ratio"] for row in splits]
        ax.plot([min(ratios), max(ratios)], [height, height], color="#56B4E9", linewidth=3, solid_capstyle="round")
        ax.plot(np.mean(ratios), height, "o", color="#0072B2", markersize=5)
    ax.axvline(1, color="#D55E00", linewidth=1.5)
    ax.annotate("PCA", (1, len(cells)), ha="center", va="bottom", color="#D55E00", annotation_clip=False)
    ax.set_yticks(range(len(cells)), [f"{name}, k={k}" for (name, k), _ in cells], fontsize=8)
    ax.set(xlim=(0, None), ylim=(-1, len(cells)), xlabel="held-out squared error, as a share of PCA's")
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    options = parser(__doc__, sets="linnerud,gain_letter", splits=1, epochs=2)
    data.add_options(options)
    add_epochs(options)
    options.add_argument("--splits", type=int, default=5, metavar="N", help="how many random splits; default 5")
    options.add_argument("--rivals", choices=("none", "small", "all"), default="small", help="default: on up to 10,000 rows")
    options.add_argument("--figure", type=Path, metavar="FILE.png", help="draw the ratio of every cell")
    args = options.parse_args()
    begin(args)
    warnings.filterwarnings("ignore", category=ConvergenceWarning, module=r"sklearn\.")
    store, rows, without_rivals = Rows(args.json), [], []
    for name in data.chosen(args):
        X = data.load(name, args.data)
        models = models_for(len(X), args.rivals)
        rows += run_table(name, X, models, args, store)
        if len(models) < len(FIT):
            without_rivals.append(name)
    models = [model for model in FIT if by_cell(rows, model)]
    say_cells(rows, models)
    say_summary(rows, models)
    if args.figure:
        draw(rows, args.figure)
    if without_rivals:
        say(f"Left out: {' and '.join(RIVALS)} on {', '.join(without_rivals)} (--rivals {args.rivals}).")


if __name__ == "__main__":
    main()
