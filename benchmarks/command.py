"""What the command line finds in a table, how often it cries wolf, and how long it takes.

Three parts, each by the commands that a user types:

* planted: a table with wrong cells in five rows, one each, is written as csv and given to ``skvae detect TABLE``. The errors
  are those of ``planted_errors.py``. Counted are the errors whose row is among the ten most anomalous rows, and those of them
  whose column is the first to blame.
* clean: the rows of a table are divided at random. ``skvae detect LATER --fit-on CLEAN --fdr 0.1 --fail`` tests 60 of them and
  learns from the others. No cell is changed, so at most a tenth of the draws should exit with 1.
* seconds: processor time of ``skvae detect TABLE --report REPORT.html`` in a process of its own, from csv. With a folder of
  data these are seven real tables, else those of scikit-learn.

The tables of the first two parts come with scikit-learn. One of them, breast_cancer, is among those on which the defaults of
the detector were chosen:

    python benchmarks/command.py --threads 1 --draws 200
"""

import contextlib
import io
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import data
import planted_errors
from imputation import categories_of, numbers_of
from report import Rows, asked_for, begin, parser, say_table
from skvae._command.program import main as command

N_ERRORS, N_LOOKED_AT = 5, 10
N_LATER, RATE = 60, 0.1
FILES = ("adult", "credit_default", "ames_housing", "titanic", "diamonds", "german_credit", "mushroom")


def run(*arguments: object) -> int:
    """Exit code of a command, whose output nobody reads."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return command([str(argument) for argument in arguments])


def spoiled(table: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, dict[int, str]]:
    """The table with wrong cells, and their columns by row, counted from 1."""
    rng = np.random.default_rng(seed)
    numbers = numbers_of(table)
    table, wrong = table.astype(dict.fromkeys(numbers, float)).reset_index(drop=True), {}
    columns = dict(zip(planted_errors.KINDS, (numbers, numbers, table.columns, categories_of(table)), strict=True))
    kinds = [kind for kind in planted_errors.KINDS if len(columns[kind])]
    for i, place in enumerate(rng.choice(len(table), N_ERRORS, replace=False)):
        column, value = planted_errors.wrong_cell(table.loc[place], kinds[i % len(kinds)], table, columns, rng)
        table.loc[place, column] = value
        wrong[int(place) + 1] = column
    return table, wrong


def planted(name: str, n_tables: int, folder: Path) -> dict[str, Any]:
    """Of all errors in some spoiled tables, how many are looked at, and how many of these have their column named."""
    n_looked_at = n_named = 0
    for seed in range(n_tables):
        table, wrong = spoiled(planted_errors.load(name, None), seed)
        table.to_csv(folder / "table.csv", index=False)
        assert run("detect", folder / "table.csv", "-o", folder / "found.csv", "--seed", seed) == 0
        top = pd.read_csv(folder / "found.csv", nrows=N_LOOKED_AT).set_index("row")["column_1"].to_dict()
        n_looked_at += len(wrong.keys() & top.keys())
        n_named += sum(top.get(row) == column for row, column in wrong.items())
    n_errors = n_tables * N_ERRORS
    looked_at, named = n_looked_at / n_errors, n_named / max(1, n_looked_at)
    return {"table": name, "errors": n_errors, f"in the top {N_LOOKED_AT}": looked_at, "of these rightly named": named}


def clean(name: str, n_draws: int, folder: Path) -> dict[str, Any]:
    """Of how many draws without anomalies the command flags a row."""
    table, n_failed = planted_errors.load(name, None), 0
    for seed in range(n_draws):
        order = np.random.default_rng(seed).permutation(len(table))
        table.iloc[order[N_LATER:]].to_csv(folder / "clean.csv", index=False)
        table.iloc[order[:N_LATER]].to_csv(folder / "later.csv", index=False)
        options = ("--fit-on", folder / "clean.csv", "--fdr", RATE, "--fail", "--seed", seed)
        code = run("detect", folder / "later.csv", *options)
        assert code in {0, 1}
        n_failed += code
    return {"table": name, "clean rows": len(table) - N_LATER, "draws": n_draws, "share that fails": n_failed / n_draws}


def seconds(name: str, source: Path | None, folder: Path) -> dict[str, Any]:
    """Processor time of one command, and the size of its report."""
    table = planted_errors.load(name, None) if source is None else pd.read_csv(source / "tabular" / f"{name}.csv.gz")
    file, report = folder / f"{name}.csv", folder / f"{name}.html"
    table.to_csv(file, index=False)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    detect = [sys.executable, "-m", "skvae", "detect", file, "--report", report]
    subprocess.run(detect, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = report.stat().st_size / 1000
    return {"table": name, "rows": len(table), "columns": table.shape[1], "CPU, s": used, "report, kB": size}


def main() -> None:
    options = parser(__doc__, draws=2, tables=1, parts="planted,clean")
    data.add_options(options, sets=False)
    options.add_argument("--parts", metavar="A,B", help="of planted, clean, seconds; default all")
    options.add_argument("--draws", type=int, default=200, metavar="N", help="of clean rows, for each table; default 200")
    options.add_argument("--tables", type=int, default=20, metavar="N", help="with planted errors, of each; default 20")
    args = options.parse_args()
    begin(args)
    rows, files = Rows(args.json), FILES if args.data else planted_errors.SHIPPED
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measures: dict[str, Callable[[str], dict[str, Any]]] = {
            "planted": lambda name: planted(name, args.tables, folder),
            "clean": lambda name: clean(name, args.draws, folder),
            "seconds": lambda name: seconds(name, args.data, folder),
        }
        for part in asked_for(args, "parts", measures):
            names = files if part == "seconds" else planted_errors.SHIPPED
            lines = [rows.add(measures[part](name)) for name in names]
            say_table(list(lines[0]), [[_shown(value) for value in line.values()] for line in lines])


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
