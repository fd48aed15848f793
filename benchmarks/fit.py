"""What a default fit costs, beside scikit-learn's estimators for the same tasks on the same rows.

Protocol: tables of 150 to 45,730 rows, their columns as they are. Every estimator has its defaults and 2 components where it
takes that number, and is fitted to all rows in a process in which each has been fitted to iris before. AutoencoderImputer and
IterativeImputer get the table with 10 % of its cells hidden at random; MLPRegressor is fitted from the standardised rows to
themselves, with the layers of our default network, (128, 2, 128); PCA(2) gets standardised rows, too. CPU seconds are those of
all threads of the process, wall seconds those that pass; medians over ``--repeats``.

AutoencoderTransformer and MLPRegressor are also fitted to a random 75 % of the rows, standardised on these, and their squared
error on the others is divided by that of PCA(2). In the summary a ratio below 1 says that ours costs less than MLPRegressor.

``--first`` measures a fresh process instead: CPU seconds of importing torch, scikit-learn and pandas, of importing skvae after
them, of the first default fit to iris and of the second. ``--search`` measures a GridSearchCV of 12 settings of
AutoencoderTransformer in 3 folds of digits, its processes included from their start.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.model_selection import GridSearchCV

import data
import skvae
from reconstruction import bottleneck, reconstruct
from report import Row, Rows, add_epochs, asked_for, begin, cpu_timed, parser, say, say_table
from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer

SETS = (
    *("iris", "wine", "breast_cancer", "digits"),
    *("uci_energy", "gain_spam", "uci_kin8nm", "gain_letter", "credit_default", "uci_protein"),
)
OURS, RIVAL, YARDSTICK = "AutoencoderTransformer", "MLPRegressor", "PCA"
RAW, STANDARDISED, WITH_HOLES = "raw", "standardised", "with holes"
HIDDEN = 0.1  # share of the cells
MODELS: dict[str, tuple[str, Callable[..., Any]]] = {
    OURS: (RAW, lambda X, **options: AutoencoderTransformer(2, random_state=0, **options).fit(X)),
    "VAETransformer": (RAW, lambda X, **options: VAETransformer(2, random_state=0, **options).fit(X)),
    "AEAnomalyDetector": (RAW, lambda X, **options: AEAnomalyDetector(random_state=0, **options).fit(X)),
    "AutoencoderImputer": (WITH_HOLES, lambda X, **options: AutoencoderImputer(random_state=0, **options).fit(X)),
    RIVAL: (STANDARDISED, lambda X: bottleneck(2, 0).fit(X, X)),
    "IsolationForest": (RAW, lambda X: IsolationForest(random_state=0).fit(X)),
    "IterativeImputer": (WITH_HOLES, lambda X: IterativeImputer(random_state=0).fit(X)),
    YARDSTICK: (STANDARDISED, lambda X: PCA(2).fit(X)),
}
TRAINED = (OURS, "VAETransformer", "AEAnomalyDetector", "AutoencoderImputer")
HELD_OUT = (YARDSTICK, OURS, RIVAL)
SHORT = {name: name.removeprefix("Autoencoder").removesuffix("Transformer") or "AE" for name in MODELS}

FIRST = """
import json
from time import process_time
times = [process_time()]
import torch, sklearn, pandas
times.append(process_time())
from skvae import AutoencoderTransformer
times.append(process_time())
from sklearn.datasets import load_iris
X = load_iris().data
for _ in range(2):
    start = process_time()
    AutoencoderTransformer(2, random_state=0).fit(X)
    times.append(times[-1] + process_time() - start)
print(json.dumps(times))
"""
STAGES = ("import torch, sklearn, pandas", "import skvae after them", "first fit", "second fit")
GRID = {"n_components": [2, 4, 8], "hidden_layer_sizes": [(), (128,)], "batch_size": [128, 512]}


def with_holes(X: np.ndarray) -> np.ndarray:
    return np.where(np.random.default_rng(0).random(X.shape) < HIDDEN, np.nan, X)


PREPARED = {RAW: lambda X: X, STANDARDISED: data.standardise, WITH_HOLES: with_holes}


@dataclass(frozen=True)
class Protocol:
    """How often, and for how many epochs, every model is fitted."""

    n_repeats: int
    epochs: int | str

    def fits(self, model: str, X: np.ndarray) -> tuple[Any, Row]:
        """A fitted model, and the median CPU and wall seconds of its fits."""
        options = {"max_iter": self.epochs} if model in TRAINED else {}
        fits = [cpu_timed(partial(MODELS[model][1], X, **options)) for _ in range(self.n_repeats)]
        cpu, wall = map(float, np.median([clocks[1:] for clocks in fits], axis=0))
        return fits[0][0], {"cpu": cpu, "wall": wall}

    def to_all(self, model: str, X: np.ndarray) -> Row:
        """Fits to all rows."""
        return {"n": X.shape[0], "d": X.shape[1]} | self.fits(model, PREPARED[MODELS[model][0]](X))[1]

    def to_training_rows(self, model: str, X: np.ndarray) -> Row:
        """Fits to the training rows, and the error per cell of the others."""
        train, test = data.split(X, 0)
        fitted, row = self.fits(model, train)
        return row | {"error": float(np.mean((reconstruct(fitted, test) - test) ** 2, dtype=np.float64))}


def run_set(name: str, X: np.ndarray, models: list[str], protocol: Protocol, rows: Rows) -> tuple[dict[str, Row], ...]:
    """Measure a table and print a line; rows per model of the fits to all rows and of those to the training rows."""
    key = {"set": name, "repeats": protocol.n_repeats, "epochs": protocol.epochs}
    found = {m: rows.once(partial(protocol.to_all, m, X), **key, part="all", model=m) for m in models}
    parts = [f"{SHORT[model]} {row['cpu']:.2f} s" for model, row in found.items()]
    say(f"{name:14s} n={len(X)} d={X.shape[1]}  {'  '.join(parts)}")
    scored = HELD_OUT if {OURS, RIVAL} <= set(models) else ()
    held_out = {m: rows.once(partial(protocol.to_training_rows, m, X), **key, part="training", model=m) for m in scored}
    return found, held_out


def say_seconds(found: dict[str, dict[str, Row]], models: list[str]) -> None:
    """Print CPU and wall seconds of the fits to all rows."""
    for clock in ("cpu", "wall"):
        lines = []
        for name, rows in found.items():
            first = next(iter(rows.values()))
            lines.append([name, first["n"], first["d"], *(f"{rows[model][clock]:.3g}" for model in models)])
        say_table([f"{clock} seconds", "n", "d", *(SHORT[model] for model in models)], lines)


def say_held_out(found: dict[str, dict[str, Row]]) -> None:
    """Print cost and error of our fits to the training rows beside MLPRegressor's, and in how many tables each is lower."""
    lines = []
    for name, rows in found.items():
        ours, rival, pca = rows[OURS], rows[RIVAL], rows[YARDSTICK]["error"]
        costs = [f"{ours['cpu']:.3g}", f"{rival['cpu']:.3g}", f"{ours['cpu'] / rival['cpu']:.2f}"]
        lines.append([name, *costs, f"{ours['error'] / pca:.3f}", f"{rival['error'] / pca:.3f}"])
    say_table(["75 % of the rows", "ours, CPU s", f"{RIVAL}, CPU s", "ratio", "ours, error", f"{RIVAL}, error"], lines)
    ratios = [rows[OURS]["cpu"] / rows[RIVAL]["cpu"] for rows in found.values()]
    lower = [rows[OURS]["error"] < rows[RIVAL]["error"] for rows in found.values()]
    both = sum(ratio <= 1 and is_lower for ratio, is_lower in zip(ratios, lower, strict=True))
    say(f"{OURS} over {RIVAL}: median ratio of CPU seconds {np.median(ratios):.2f}.")
    say(f"Error lower in {sum(lower)} of {len(lower)} tables, in {both} of them at no more CPU seconds.")


def compare_fits(args: argparse.Namespace, rows: Rows) -> None:
    models = asked_for(args, "models", MODELS)
    names = data.chosen(args, SETS)
    protocol = Protocol(args.repeats, args.epochs)
    for model in models:
        protocol.to_all(model, data.load("iris", None))
    found, held_out = {}, {}
    for name in names:
        found[name], held_out[name] = run_set(name, data.load(name, args.data), models, protocol, rows)
    say_seconds(found, models)
    if {OURS, RIVAL} <= set(models):
        say_held_out(held_out)


def say_first(threads: int | None, rows: Rows) -> None:
    """Measure a fresh process and print what each of its stages costs."""
    environment = os.environ | {"PYTHONPATH": str(Path(skvae.__file__).parents[1])}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-c", FIRST]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    row = rows.add(dict(zip(STAGES, np.diff(json.loads(process.stdout)).tolist(), strict=True)))
    say_table(["stage", "CPU seconds"], [[stage, f"{row[stage]:.2f}"] for stage in STAGES])


def cpu_of_all() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def say_search(n_jobs: int, epochs: int | str, rows: Rows) -> None:
    """Measure a search in processes that start with it and end after it."""
    search = GridSearchCV(AutoencoderTransformer(max_iter=epochs, random_state=0), GRID, cv=3, n_jobs=n_jobs)
    X = data.load("digits", None)
    start, began = cpu_of_all(), time.perf_counter()
    search.fit(X)
    wall = time.perf_counter() - began
    get_reusable_executor().shutdown(wait=True)  # the time of a process is known when it has ended
    n_settings = len(search.cv_results_["params"])
    row = rows.add({"search": n_settings, "jobs": n_jobs, "cpu": cpu_of_all() - start, "wall": wall})
    say_table(
        ["settings", "folds", "processes", "CPU s", "wall s"], [[n_settings, 3, n_jobs, f"{row['cpu']:.1f}", f"{wall:.1f}"]]
    )


def main() -> None:
    options = parser(__doc__, sets="iris", repeats=1, first=True, search=True, jobs=1, epochs=2)
    data.add_options(options)
    add_epochs(options)
    options.add_argument("--models", metavar="A,B", help=f"some of {', '.join(MODELS)}")
    options.add_argument("--repeats", type=int, default=1, metavar="N", help="fits of which medians are taken; default 1")
    options.add_argument("--first", action="store_true", help="time imports and the first fit of a process")
    options.add_argument("--search", action="store_true", help="time a grid search")
    options.add_argument("--jobs", type=int, default=2, metavar="N", help="processes of the search; default 2")
    args = options.parse_args()
    begin(args)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    rows = Rows(args.json)
    if args.first:
        say_first(args.threads, rows)
    if args.search:
        say_search(args.jobs, args.epochs, rows)
    if args.smoke or not (args.first or args.search):
        compare_fits(args, rows)


if __name__ == "__main__":
    main()
