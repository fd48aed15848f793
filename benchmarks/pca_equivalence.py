"""That a linear autoencoder is PCA: exactly where it starts there, and by training where it starts at random.

Protocol: constant columns dropped, all rows standardised; AutoencoderTransformer(k, hidden_layer_sizes=()) beside exact PCA on
the same rows, k = 2, d // 4 and d // 2. Three ways to fit it: ``pca`` is init="pca"; ``random`` is init="random" and otherwise
the defaults; ``random, long`` trains for ``--steps`` steps in large batches at a high rate and never stops early.

Reading it: ``error ratio`` is the squared error over PCA's, on the rows that both were fitted on, where PCA's is the least
possible. ``angle`` is the largest principal angle, in degrees, between the column space of the decoder's weights and PCA's
subspace. Both are the worst over seeds. ``gap`` is the relative fall of the variance from the last axis that PCA keeps to the
first that it drops, 1 - variance[k] / variance[k - 1]: where it is small, the last axis hardly matters to the error, and
gradient descent takes long to turn to it.

``--figure`` plots the angle against the steps of the optimiser, for k = d // 4 and the long way from the random start. Bursts
after an angle has all but vanished are Adam's, whose steps do not shrink with the gradient; the falling rate ends them.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

import data
from engine import run_of
from report import Rows, begin, parser, say, say_table, timed
from skvae import AutoencoderTransformer
from skvae.core.model import Autoencoder

SETS = ("wine", "diabetes", "breast_cancer", "digits", "gain_letter", "usps")
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WAYS = ("random", "random, long", "pca")
LONG_BATCH = 2048
LONG_RATE = 2e-2
STYLES = ("-", "--", "-.", ":")


def linear(way: str, X: np.ndarray, k: int, seed: int, n_steps: int) -> AutoencoderTransformer:
    """The linear autoencoder in one of three ways to fit it."""
    settings: dict[str, Any] = {"init": "pca" if way == "pca" else "random"}
    if way == "random, long":
        n_epochs = math.ceil(n_steps / math.ceil(len(X) / LONG_BATCH))
        settings |= {
            "batch_size": LONG_BATCH,
            "learning_rate_init": LONG_RATE,
            "max_iter": n_epochs,
            "n_iter_no_change": n_epochs,
        }
    return AutoencoderTransformer(k, hidden_layer_sizes=(), random_state=seed, **settings)


def exact_pca(X: np.ndarray, k: int) -> PCA:
    return PCA(k, svd_solver="full").fit(X)


def angle(module: Autoencoder, pca: PCA) -> float:
    """Largest principal angle in degrees between what the decoder spans and what PCA spans."""
    spanned = module.decoder.out.weight.detach().cpu().double().numpy()
    return float(np.degrees(subspace_angles(spanned, pca.components_.T).max()))


def measure(way: str, X: np.ndarray, k: int, seed: int, n_steps: int) -> dict[str, Any]:
    pca = exact_pca(X, k)
    model, seconds = timed(lambda: linear(way, X, k, seed, n_steps).fit(X))
    error = np.sum((model.reconstruct(X) - X) ** 2)
    pca_error = np.sum((pca.inverse_transform(pca.transform(X)) - X) ** 2)
    epochs = 0 if way == "pca" else model.n_iter_
    return {"ratio": float(error / pca_error), "angle": angle(model.module_, pca), "epochs": epochs, "seconds": seconds}


def gap(X: np.ndarray, k: int) -> float:
    """Relative fall of the variance behind the k-th principal axis."""
    variances = exact_pca(X, k + 1).explained_variance_
    return float(1 - variances[k] / variances[k - 1])


def run_table(name: str, X: np.ndarray, n_seeds: int, n_steps: int, rows: Rows) -> list[list[Any]]:
    """The lines of a table, one per code size and way to fit."""
    n, d = X.shape
    lines = []
    for k in sorted({2, d // 4, d // 2}):
        for way in WAYS:
            cell = {"set": name, "k": k, "way": way, "steps": n_steps}
            seeds = range(1 if way == "pca" else n_seeds)
            found = [rows.once(partial(measure, way, X, k, seed, n_steps), **cell, seed=seed) for seed in seeds]
            ratio, worst = (max(row[what] for row in found) for what in ("ratio", "angle"))
            epochs, seconds = (np.mean([row[what] for row in found]) for what in ("epochs", "seconds"))
            line = [name, n, d, k, f"{gap(X, k):.3f}", way, f"{ratio:.8f}", f"{worst:.2g}", f"{epochs:.0f}", f"{seconds:.2f}"]
            say("  ".join(str(part) for part in line))
            lines.append(line)
    return lines


def angle_path(X: np.ndarray, k: int, seed: int, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps taken and angle, at the random start and after every epoch: the estimator's training, watched."""
    pca = exact_pca(X, k)
    run = run_of(linear("random, long", X, k, seed, n_steps), torch.from_numpy(X), seed)
    angles = [angle(run.members.models[0], pca)]
    for _ in range(run.plan.max_iter):
        run.epoch()
        angles.append(angle(run.members.models[0], pca))
    return np.arange(len(angles)) * run.batches.n_batches, np.array(angles)


def draw(tables: dict[str, np.ndarray], n_steps: int, path: Path) -> None:
    """Plot the way of the angle to zero, one line per table."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    for i, (name, X) in enumerate(tables.items()):
        k = X.shape[1] // 4
        steps, angles = angle_path(X, k, 0, n_steps)
        say(f"{name}: {angles[-1]:.2g} degrees after {steps[-1]} steps")
        style = {"color": OKABE_ITO[i % len(OKABE_ITO)], "linestyle": STYLES[i % len(STYLES)]}
        axes.plot(steps, angles, label=f"{name}, {k} of {X.shape[1]}", linewidth=1.2, **style)
    axes.set(yscale="log", xlabel="steps of the optimiser", ylabel="largest angle to PCA's subspace (degrees)")
    axes.set_title("From a random start to PCA", loc="left")
    axes.grid(which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", title="table, code size", frameon=False, handlelength=3)
    figure.savefig(path, dpi=150)


def main() -> None:
    options = parser(__doc__, sets="wine", seeds=1, steps=20)
    data.add_options(options)
    options.add_argument("--seeds", type=int, default=3, metavar="N", help="how many random starts; default 3")
    options.add_argument("--steps", type=int, default=5000, metavar="N", help="of the long way; default 5000")
    options.add_argument("--figure", type=Path, metavar="FILE.png", help="draw the angle over the steps")
    args = options.parse_args()
    begin(args)
    rows = Rows(args.json)
    tables = {name: data.standardiser().fit_transform(data.load(name, args.data)) for name in data.chosen(args, SETS)}
    lines = [line for name, X in tables.items() for line in run_table(name, X, args.seeds, args.steps, rows)]
    say_table(["set", "n", "d", "k", "gap", "fitted", "error ratio", "angle (degrees)", "epochs", "s"], lines)
    if args.figure:
        draw(tables, args.steps, args.figure)


if __name__ == "__main__":
    main()
