"""How low the held-out error is after so many CPU seconds of fitting.

Protocol: tables of up to 20,000 rows, a random 75/25 split, columns standardised on the training rows; codes of max(1, d // 4)
components; the squared error on the test rows over PCA's. The clock is CPU time and runs while a contender trains, not while it
is judged; what a process does once only is done before, on noise.

Some are fitted as a whole, or at a rate that depends on when they end. They are fitted anew for each number of steps in a
ladder, 10, 30, 90 and so on, every fit at its own cost, up to the first that takes longer than the last budget:

* skvae: AutoencoderTransformer(k) with max_iter for so many steps, and with its default.
* MLPRegressor: hidden_layer_sizes=(128, k, 128), otherwise its defaults, from the rows to themselves.
* PyOD: AutoEncoder of layers (128, k), otherwise its defaults, without its standardisation.

The others train at a constant rate and are judged on the way, in a network (128, k, 128) with GELU, by Adam with a rate of 1e-3
and batches of 128:

* textbook: a loop over a DataLoader.
* skorch: NeuralNetRegressor without validation rows.

The error after t seconds is that of the longest training that took at most t, and where none did there is no error, which
counts as worse than any. The tables show it after each budget, first of each table and then the median over tables. PyOD and
skorch are left out where they are not installed. With ``--json`` a run that was interrupted goes on where it stopped.
"""

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.neural_network import MLPRegressor
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import data
from report import Row, Rows, asked_for, begin, cpu_timed, parser, say, say_table
from skvae import AutoencoderTransformer

SETS = tuple(name for name in data.SHIPPED + data.IN_FOLDER if name not in ("credit_default", "uci_protein", "mnist"))
BUDGETS = (0.1, 0.2, 0.5, 1, 2, 5, 10)
STEPS = tuple(round(10 * 3**i) for i in range(10))
GROWTH = 1.2  # of the clock, from one judgement on the way to the next
WIDTH, BATCH, RATE = 128, 128, 1e-3
BATCH_OF_MLP, BATCH_OF_PYOD = 200, 32  # their defaults

Predict = Callable[[np.ndarray], np.ndarray]
Points = Iterator[tuple[float, Predict]]  # CPU seconds of training and what came of it


def epochs_for(n_rows: int, batch_size: int) -> list[int]:
    """The ladder in epochs."""
    n_batches = math.ceil(n_rows / batch_size)
    return sorted({math.ceil(n_steps / n_batches) for n_steps in STEPS})


def by_fits(fit: Callable[[Any], Predict], epochs: list[int], limit: float) -> Points:
    """A fit for each number of epochs, up to the first that takes too long."""
    for n_epochs in epochs:
        predict, cpu, _ = cpu_timed(partial(fit, n_epochs))
        yield cpu, predict
        if cpu > limit:
            return


def on_the_way(epoch: Callable[[], Any], predict: Predict, limit: float) -> Points:
    """One training, judged again and again."""
    cpu = judged = 0.0
    while cpu <= limit:
        cpu += cpu_timed(epoch)[1]
        if cpu > GROWTH * judged:
            yield cpu, predict
            judged = cpu


def ours(X: np.ndarray, k: int, limit: float) -> Points:
    def fit(epochs: int | str) -> Predict:
        model = AutoencoderTransformer(k, max_iter=epochs, random_state=0).fit(X)
        return lambda rows: model.inverse_transform(model.transform(rows))

    return chain(by_fits(fit, epochs_for(len(X), BATCH), limit), by_fits(fit, ["auto"], limit))


def mlp(X: np.ndarray, k: int, limit: float) -> Points:
    def fit(epochs: int) -> Predict:
        return MLPRegressor(hidden_layer_sizes=(WIDTH, k, WIDTH), max_iter=epochs, random_state=0).fit(X, X).predict

    return by_fits(fit, epochs_for(len(X), BATCH_OF_MLP), limit)


def network(d: int, k: int) -> nn.Sequential:
    torch.manual_seed(0)
    gelu = nn.GELU()
    return nn.Sequential(nn.Linear(d, WIDTH), gelu, nn.Linear(WIDTH, k), nn.Linear(k, WIDTH), gelu, nn.Linear(WIDTH, d))


def output(model: nn.Module, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(rows).float()).numpy()


def textbook(X: np.ndarray, k: int, limit: float) -> Points:
    model = network(X.shape[1], k)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    loader = DataLoader(TensorDataset(torch.from_numpy(X).float()), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for (x,) in loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), x).backward()
            optimizer.step()

    return on_the_way(epoch, partial(output, model), limit)


def skorch_regressor(X: np.ndarray, k: int, limit: float) -> Points:
    from skorch import NeuralNetRegressor

    options = {"max_epochs": 1, "train_split": None, "verbose": 0, "iterator_train__shuffle": True}
    net = NeuralNetRegressor(
        network(X.shape[1], k), optimizer=torch.optim.Adam, lr=RATE, batch_size=BATCH, device="cpu", **options
    )
    rows = X.astype(np.float32)
    return on_the_way(lambda: net.partial_fit(rows, rows), lambda test: net.predict(test.astype(np.float32)), limit)


def pyod(X: np.ndarray, k: int, limit: float) -> Points:
    from pyod.models.auto_encoder import AutoEncoder

    def fit(epochs: int) -> Predict:
        layers = {"hidden_neuron_list": [WIDTH, k], "preprocessing": False}
        model = AutoEncoder(epoch_num=epochs, device="cpu", random_state=0, verbose=0, **layers).fit(X).model
        return partial(output, model.eval())

    return by_fits(fit, epochs_for(len(X), BATCH_OF_PYOD), limit)


CONTENDERS = {"skvae": ours, "MLPRegressor": mlp, "textbook": textbook, "skorch": skorch_regressor, "PyOD": pyod}
COLOURS = dict(zip(CONTENDERS, ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"), strict=True))
MODULES = {"skorch": "skorch", "PyOD": "pyod"}


def measure(contender: str, train: np.ndarray, test: np.ndarray, k: int, limit: float) -> Row:
    """CPU seconds and error over PCA's of every training."""
    pca = PCA(k, svd_solver="full").fit(train)
    of_pca = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    points = [
        [cpu, float(np.mean((predict(test) - test) ** 2) / of_pca)] for cpu, predict in CONTENDERS[contender](train, k, limit)
    ]
    return {"n": len(train), "d": train.shape[1], "points": sorted(points)}


def after(row: Row, budget: float) -> float:
    """The error of the longest training that took at most so many seconds; infinite where there is none."""
    return next((error for cpu, error in reversed(row["points"]) if cpu <= budget), math.inf)


def cell(error: float) -> str:
    return f"{error:.3f}" if math.isfinite(error) else ""


def present(contenders: list[str]) -> list[str]:
    """Those that can be imported."""
    missing = [name for name in contenders if name in MODULES and find_spec(MODULES[name]) is None]
    if missing:
        say(f"Not installed, so left out: {', '.join(missing)}.\n")
    return [name for name in contenders if name not in missing]


def run_tables(args: argparse.Namespace, contenders: list[str], budgets: list[float], store: Rows) -> list[Row]:
    rows = []
    for name in data.chosen(args, SETS):
        train, test = data.split(data.load(name, args.data), 0)
        k = max(1, train.shape[1] // 4)
        key = {"set": name, "k": k, "seconds": budgets[-1]}
        for contender in contenders:
            row = store.once(partial(measure, contender, train, test, k, budgets[-1]), **key, contender=contender)
            say(f"{name:14s} k={k:<3d} {contender:12s} " + "  ".join(f"{t:g} s {cell(after(row, t)) or '-'}" for t in budgets))
            rows.append(row)
    return rows


def medians(rows: list[Row], contender: str, budgets: list[float]) -> list[float]:
    """Over tables, after each budget."""
    of_contender = [row for row in rows if row["contender"] == contender]
    return [float(np.median([after(row, t) for row in of_contender])) for t in budgets]


def say_errors(rows: list[Row], contenders: list[str], budgets: list[float]) -> None:
    headers = [f"{t:g} s" for t in budgets]
    lines = [[row["set"], row["n"], row["k"], row["contender"], *(cell(after(row, t)) for t in budgets)] for row in rows]
    say_table(["set", "n", "k", "contender", *headers], lines)
    lines = [[contender, *map(cell, medians(rows, contender, budgets))] for contender in contenders]
    say_table(["median over tables", *headers], lines)


def draw(rows: list[Row], contenders: list[str], budgets: list[float], path: Path) -> None:
    """The median over tables of the error over PCA's after so many CPU seconds, one line per contender."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    ax = figure.subplots()
    for contender in contenders:
        errors = np.array(medians(rows, contender, budgets))
        shown = np.isfinite(errors)
        ax.plot(np.array(budgets)[shown], errors[shown], "o-", color=COLOURS[contender], label=contender, markersize=5)
    ax.axhline(1, color="#D55E00", linewidth=1.5, label="PCA")
    ax.set_xscale("log")
    ax.set_xticks(budgets, [f"{t:g}" for t in budgets])
    ax.minorticks_off()
    ax.set(xlim=(0.9 * budgets[0], 1.1 * budgets[-1]), xlabel="CPU seconds of fitting")
    ax.set(ylim=(0, min(2.0, ax.get_ylim()[1])), ylabel="held-out squared error, as a share of PCA's")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    options = parser(__doc__, sets="iris", seconds=0.1)
    data.add_options(options)
    options.add_argument("--contenders", metavar="A,B", help=f"some of {', '.join(CONTENDERS)}")
    options.add_argument("--seconds", type=float, default=BUDGETS[-1], metavar="S", help="the last budget; default 10")
    options.add_argument("--figure", type=Path, metavar="FILE.png", help="draw the medians over tables")
    args = options.parse_args()
    begin(args)
    warnings.filterwarnings("ignore")  # trainings that are meant to be short
    contenders = present(asked_for(args, "contenders", CONTENDERS))
    budgets = [t for t in BUDGETS if t <= args.seconds]
    noise = np.random.default_rng(0).normal(size=(60, 4))
    for contender in contenders:
        measure(contender, noise, noise, 1, 0.0)
    rows = run_tables(args, contenders, budgets, Rows(args.json))
    say_errors(rows, contenders, budgets)
    if args.figure:
        draw(rows, contenders, budgets, args.figure)


if __name__ == "__main__":
    main()
