"""Whether a change made fits slower, or their errors different: the same fits with two versions of the package.

Protocol: BASE and HEAD are revisions of git, or folders that hold ``skvae``. A revision is checked out in a temporary worktree,
which is removed afterwards. In every round each version fits every estimator with its defaults to every table, in a process of
its own, on one thread where ``--threads`` does not say otherwise; the two take turns, and each round begins with the other one.
A process first fits each estimator once, which is not measured. 75 % of the rows train; they are standardised, and a tenth of
the cells is hidden at random from AutoencoderImputer. The measure is CPU seconds, HEAD's over BASE's in the same round.

    python benchmarks/compare.py main HEAD
    python benchmarks/compare.py ../skvae-main . --sets iris --rounds 9

Reading it: the median of the rounds' ratios, 1.10 being a tenth slower, and their range, which has to lie beyond 1 before a
difference means something. An error is the squared error of held-out rows, or of their hidden cells where cells are filled in,
and of a detector minus the mean score of these rows; it is the same only where every bit is.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import data
from report import Row, Rows, add_epochs, asked_for, cpu_timed, parser, say, say_table

SETS = ("iris", "wine", "breast_cancer")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
BENCHMARKS = Path(__file__).resolve().parent
MODELS = {  # of the package, and the parameters that are not defaults
    "AutoencoderTransformer": {"n_components": 2},
    "VAETransformer": {"n_components": 2},
    "AEAnomalyDetector": {},
    "AutoencoderImputer": {},
}
FILLS_IN = ("AutoencoderImputer",)
HIDDEN = 0.1  # share of the cells, where they are filled in
CHILD = "import sys, compare; compare.say_fits(*sys.argv[1:])"


# In the process of one version


def say_fits(folder: str, sets: str, epochs: str) -> None:
    """Fit every estimator of the version in a folder to every table and print a row of JSON for each."""
    import skvae

    if not Path(skvae.__file__).is_relative_to(folder):
        raise SystemExit(f"Imported {skvae.__file__}, which is not in {folder}.")
    warnings.simplefilter("ignore")
    noise = np.random.default_rng(0).normal(size=(60, 4))
    for model in MODELS:
        fit(skvae, model, noise, noise, 2)
    for name in sets.split(","):
        train, test = data.split(data.load(name, None), 0)
        for model in MODELS:
            row = {"set": name, "model": model} | fit(skvae, model, train, test, "auto" if epochs == "auto" else int(epochs))
            say(json.dumps(row))


def fit(package: Any, model: str, train: np.ndarray, test: np.ndarray, epochs: int | str) -> Row:
    """CPU seconds of a fit and the error of held-out rows."""
    estimator = getattr(package, model)(**MODELS[model], max_iter=epochs, random_state=0)
    hidden = np.random.default_rng(0).random(test.shape) < HIDDEN
    if model in FILLS_IN:
        train = np.where(np.random.default_rng(1).random(train.shape) < HIDDEN, np.nan, train)
    _, cpu, _ = cpu_timed(lambda: estimator.fit(train))
    return {"cpu": cpu, "error": float(error_of(estimator, test, hidden))}


def error_of(fitted: Any, test: np.ndarray, hidden: np.ndarray) -> float:
    if not hasattr(fitted, "transform"):
        return -np.mean(fitted.score_samples(test))
    if hasattr(fitted, "inverse_transform"):
        return np.mean((fitted.inverse_transform(fitted.transform(test)) - test) ** 2)
    return np.mean((fitted.transform(np.where(hidden, np.nan, test)) - test)[hidden] ** 2)


# In the process that compares them


@contextmanager
def folder_of(version: str) -> Iterator[Path]:
    """The folder of a version: the one that is given, or a worktree of a revision for as long as it is needed."""
    if (Path(version) / "skvae" / "__init__.py").exists():
        yield Path(version).resolve()
        return
    here = ["git", "-C", str(BENCHMARKS)]
    with tempfile.TemporaryDirectory(prefix="skvae-compare-") as parent:
        folder = Path(parent, "checkout")
        subprocess.run([*here, "worktree", "add", "--quiet", "--detach", str(folder), version], check=True)
        try:
            yield folder
        finally:
            subprocess.run([*here, "worktree", "remove", "--force", str(folder)], check=True)


def fits(folder: Path, args: argparse.Namespace) -> list[Row]:
    """The rows that a process measures with one version of the package."""
    environment = os.environ | dict.fromkeys(THREADS, str(args.threads or 1))
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(BENCHMARKS)])
    command = [sys.executable, "-c", CHILD, str(folder), args.sets, str(args.epochs)]
    process = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"The fits of the version in {folder} failed:\n{process.stderr}")
    return [json.loads(line) for line in process.stdout.splitlines()]


def measure(folders: dict[str, Path], args: argparse.Namespace, rows: Rows) -> list[Row]:
    """The rows of all rounds."""
    measured = []
    for turn in range(args.rounds):
        for version in sorted(folders, reverse=turn % 2 == 1):
            found = fits(folders[version], args)
            measured += [rows.add({"version": version, "round": turn} | row) for row in found]
        say(f"round {turn + 1} of {args.rounds}")
    return measured


def say_ratios(rows: list[Row]) -> None:
    """Print what HEAD costs over BASE, and whether its errors are those of BASE."""
    lines, logs = [], []
    for name, model in dict.fromkeys((row["set"], row["model"]) for row in rows):
        of_fit = [row for row in rows if (row["set"], row["model"]) == (name, model)]
        base, head = ([row for row in of_fit if row["version"] == version] for version in ("base", "head"))
        ratios = np.array([h["cpu"] / b["cpu"] for b, h in zip(base, head, strict=True)])
        moved = head[0]["error"] / base[0]["error"] - 1 if head[0]["error"] != base[0]["error"] else None
        error = "the same" if moved is None else f"{100 * moved:+.2g} %"
        lines.append([name, model, f"{np.median(ratios):.2f}", f"{ratios.min():.2f} to {ratios.max():.2f}", error])
        logs.append(np.log(ratios))
    say_table(["set", "model", "CPU seconds, HEAD / BASE", "range", "error"], lines)
    of_rounds = np.exp(np.mean(logs, axis=0))
    spread = f"{of_rounds.min():.2f} to {of_rounds.max():.2f} over the rounds"
    say(f"All fits, geometric mean: {np.median(of_rounds):.2f} ({spread}).")


def main() -> None:
    here = str(BENCHMARKS.parent)
    options = parser(__doc__, base=here, head=here, sets="iris", rounds=1, epochs=2)
    options.add_argument("base", nargs="?", default="main", metavar="BASE", help="revision or folder; default main")
    options.add_argument("head", nargs="?", default="HEAD", metavar="HEAD", help="revision or folder; default HEAD")
    options.add_argument("--sets", metavar="A,B", help=f"some of {', '.join(data.SHIPPED)}; default {', '.join(SETS)}")
    options.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each version; default 5")
    add_epochs(options)
    args = options.parse_args()
    args.sets = ",".join(asked_for(args, "sets", data.SHIPPED, SETS))
    rows = Rows(args.json)
    with folder_of(args.base) as base, folder_of(args.head) as head:
        say_ratios(measure({"base": base, "head": head}, args, rows))


if __name__ == "__main__":
    main()
