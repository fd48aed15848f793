"""Errors planted in single cells: are their rows found, and is the cell named?

Protocol: the rows of a clean table are shuffled; the first half of them, up to ``--rows``, are trained on; of as many others,
which are scored, 5 % get one wrong cell. A quarter each of these has an error of the kind

* units: a number is multiplied by 0.01, 0.1, 10, 100 or 1000;
* swapped: a number is replaced by that of another column in the same row;
* impossible: a number becomes -1, -999 or 99999, a category a level that there is not;
* level: a category becomes another one of the column, as frequent as it is there. Where no column has categories, there is no
  such error.

The column is drawn at random: for the first two kinds of those of numbers, for the last of those of categories, else of all. A
draw that changes nothing, such as 0 times 10, or that has to do with a missing cell is drawn again. Rows and errors depend on
set and seed only, so all methods see the same.

* flagged: the share of the rows for which ``predict`` says -1;
* named: the share in which the largest column of ``explain`` is the one with the error, of the flagged rows and of all;
* found: the share that ``scipy.stats.false_discovery_control(p) <= 0.01`` picks of all rows, clean ones and all errors, so at a
  false discovery rate of 1 %; and the proportion of clean rows among those picked.

Methods; what is not said is at its default:

* ours: AEAnomalyDetector(contamination=0.01, support_fraction=1.0), since all training rows are known to be normal.
* ours_defaults: AEAnomalyDetector(contamination=0.01).
* iforest, knn5mean: IsolationForest and the mean distance to the 5 nearest training rows, on numbers standardised, missing ones
  the mean, and a column of 0 and 1 for each level. Fitted on one half of the training rows, with conformal p-values by the
  other half.
* iforest_cv5, knn5mean_cv5: the same with p-values by five folds, as ours has them.

Shares are of all errors of all seeds, the false discovery proportion is the mean over seeds. The figure shows what ours and the
rivals with five folds find, and how many of all errors ours names. Tables are read from the folder of data; without one it runs
on tables of scikit-learn, which are too small to find anything at 1 %. With ``--json`` a run that was interrupted goes on where
it stopped:

    python benchmarks/planted_errors.py --threads 1 --json planted_errors.jsonl --figure planted_errors.png
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control
from sklearn import datasets
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import anomaly
import data
from imputation import categories_of, numbers_of
from report import Row, Rows, add_epochs, begin, mean, parser, say, say_table, timed, training

SETS = ("adult", "diamonds", "california_housing")
SHIPPED = ("wine", "diabetes", "breast_cancer")
KINDS = ("units", "swapped", "impossible", "level")
SHARE = 0.05  # of the rows that are scored
LEVEL = 0.01  # of false discoveries
FACTORS = (0.01, 0.1, 10, 100, 1000)
IMPOSSIBLE = (-1, -999, 99999)
NO_LEVEL = "no such level"


def load(name: str, folder: Path | None) -> pd.DataFrame:
    """All rows of a table, without the target."""
    if name in SHIPPED:
        return getattr(datasets, f"load_{name}")(as_frame=True).data
    table = pd.read_csv(folder / "tabular" / f"{name}.csv.gz")
    return table.drop(columns=data.TARGETS.get(name, []))


def wrong_cell(
    row: pd.Series, kind: str, table: pd.DataFrame, columns: dict[str, Any], rng: np.random.Generator
) -> tuple[str, Any]:
    """A column, of those of the kind, and what is written there in place of what the row has."""
    numbers = columns["units"]
    while True:
        column = rng.choice(columns[kind])
        if kind == "units":
            value = row[column] * rng.choice(FACTORS)
        elif kind == "swapped":
            value = row[rng.choice(numbers)]
        elif kind == "level":
            value = table[column].iloc[rng.integers(len(table))]
        else:
            value = rng.choice(IMPOSSIBLE) if column in numbers else NO_LEVEL
        if pd.notna(row[column]) and pd.notna(value) and value != row[column]:
            return column, value


@dataclass(frozen=True)
class Task:
    """Clean training rows, and rows to score, the first of which have an error of some kind in some column."""

    train: pd.DataFrame
    test: pd.DataFrame
    kinds: np.ndarray
    columns: np.ndarray

    @classmethod
    def draw(cls, name: str, table: pd.DataFrame, n_rows: int, seed: int) -> "Task":
        rng = np.random.default_rng([crc32(name.encode()), seed])
        numbers = numbers_of(table)
        order, n = rng.permutation(len(table)), min(n_rows, len(table) // 2)
        train, test = (table.iloc[rows].reset_index(drop=True) for rows in (order[:n], order[n : 2 * n]))
        test, kinds, columns = test.astype(dict.fromkeys(numbers, float)), [], []
        of_kind = dict(zip(KINDS, (numbers, numbers, table.columns, categories_of(table)), strict=True))
        planted = [kind for kind in KINDS if len(of_kind[kind])]
        for i, kind in zip(range(round(SHARE * n)), planted * n, strict=False):
            column, value = wrong_cell(test.loc[i], kind, train, of_kind, rng)
            test.loc[i, column] = value
            kinds.append(kind)
            columns.append(column)
        return cls(train, test, np.array(kinds), np.array(columns))

    def score(self, p: np.ndarray, flagged: np.ndarray | None = None, named: np.ndarray | None = None) -> Row:
        """Counts by kind, and of clean rows; where a method does not flag or name anything, nothing is."""
        found, n = false_discovery_control(p) <= LEVEL, len(self.kinds)
        flagged = np.zeros(len(p), dtype=bool) if flagged is None else flagged
        right = np.zeros(n, dtype=bool) if named is None else named == self.columns
        counts = {}
        for kind in KINDS:
            those = self.kinds == kind
            each = {
                "n": those,
                "found": found[:n],
                "flagged": flagged[:n],
                "named": right,
                "flagged_named": flagged[:n] & right,
            }
            counts[kind] = {what: int(np.sum(rows & those)) for what, rows in each.items()}
        clean = {"n": len(p) - n, "flagged": int(flagged[n:].sum()), "found": int(found[n:].sum())}
        return {**counts, "clean": clean, "fdp": clean["found"] / max(1, int(found.sum()))}


def by_ours(task: Task, seed: int, **options: Any) -> Row:
    from skvae import AEAnomalyDetector

    detector = AEAnomalyDetector(contamination=0.01, random_state=seed, **options)
    detector.fit(task.train)
    named = detector.explain(task.test.iloc[: len(task.columns)]).idxmax(axis=1).to_numpy()
    return task.score(detector.p_values(task.test), detector.predict(task.test) == -1, named)


def encoder(table: pd.DataFrame) -> Any:
    """Standardised numbers, and a column of 0 and 1 for each level."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    levels = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((numbers, numbers_of(table)), (levels, categories_of(table)))


def by_rival(task: Task, seed: int, *, method: str, parts: int) -> Row:
    """Conformal p-values by rows held out: of two parts one, of more parts each in turn."""
    order = np.random.default_rng(seed).permutation(len(task.train))
    as_odd, n_held_out = 0, 0
    for held_out in np.array_split(order, parts)[: 1 if parts == 2 else parts]:
        fitted_on, encode = task.train.drop(index=held_out), encoder(task.train)
        detector = anomaly.METHODS[method](seed, "one-class")
        detector.fit(encode.fit_transform(fitted_on))
        scores, others = (detector.score(encode.transform(rows)) for rows in (task.test, task.train.loc[held_out]))
        as_odd = as_odd + len(others) - np.searchsorted(np.sort(others), scores, side="left")
        n_held_out += len(others)
    return task.score((1 + as_odd) / (1 + n_held_out))


METHODS: dict[str, Callable[..., Row]] = {
    "ours": partial(by_ours, support_fraction=1.0),
    "ours_defaults": by_ours,
    "iforest": partial(by_rival, method="iforest", parts=2),
    "iforest_cv5": partial(by_rival, method="iforest", parts=5),
    "knn5mean": partial(by_rival, method="knn5mean", parts=2),
    "knn5mean_cv5": partial(by_rival, method="knn5mean", parts=5),
}


def measure(task: Task, method: str, seed: int, epochs: int | str) -> Row:
    row, seconds = timed(lambda: METHODS[method](task, seed, **training(method, epochs)))
    return row | {"seconds": seconds}


Cells = dict[tuple[str, str], list[Row]]  # one row per seed, by set and method


def share(rows: list[Row], kinds: tuple[str, ...], what: str, of: str = "n") -> float:
    """Of all errors of these kinds; NaN of none."""
    part, whole = (sum(row[kind][name] for row in rows for kind in kinds) for name in (what, of))
    return part / whole if whole else np.nan


def say_ours(cells: Cells, sets: list[str], method: str) -> None:
    """Print what is flagged, named and found, by kind of error."""
    lines = []
    for name in sets:
        rows = cells[name, method]
        for kind, kinds in [*((kind, (kind,)) for kind in KINDS), ("all", KINDS)]:
            of_flagged = share(rows, kinds, "flagged_named", "flagged")
            shares = [share(rows, kinds, "flagged"), of_flagged, share(rows, kinds, "named"), share(rows, kinds, "found")]
            lines.append([name, kind, *(f"{value:.1%}" for value in shares), ""])
        lines[-1][-1] = f"{mean(rows, 'fdp'):.2%}"
        lines.append([name, "none", f"{share(rows, ('clean',), 'flagged'):.2%}", "", "", "", ""])
    seconds = mean([row for name in sets for row in cells[name, method]], "seconds")
    say(f"\n{method}, {seconds:.1f} s to fit, score and explain")
    say_table(["set", "error", "flagged", "named, of flagged", "named, of all", "found", "false discoveries"], lines)


def say_found(cells: Cells, sets: list[str], methods: list[str]) -> None:
    """Print what each method finds, and the false discovery proportion."""
    lines = []
    for name, kind in product(sets, KINDS):
        lines.append([name, kind, *(f"{share(cells[name, method], (kind,), 'found'):.1%}" for method in methods)])
        if kind == KINDS[-1]:
            lines.append([name, "all", *(f"{share(cells[name, method], KINDS, 'found'):.1%}" for method in methods)])
            lines.append([name, "false discoveries", *(f"{mean(cells[name, method], 'fdp'):.2%}" for method in methods)])
    say("\nFound at a false discovery rate of 1 %")
    say_table(["set", "error", *methods], lines)


STYLES = {  # of the figure
    "ours": ("#0072B2", "skvae"),
    "knn5mean_cv5": ("#E69F00", "5 nearest neighbours"),
    "iforest_cv5": ("#009E73", "isolation forest"),
}


def draw(cells: Cells, sets: list[str], path: Path) -> None:
    """What is found of each kind in each set, and how often ours names the cell."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1 + 3 * len(sets), 3.6), layout="constrained")
    axes = figure.subplots(1, len(sets), sharey=True, squeeze=False)
    for name, ax in zip(sets, axes[0], strict=True):
        for i, (method, (colour, label)) in enumerate(STYLES.items()):
            x, rows = np.arange(len(KINDS)) + 0.27 * (i - 1), cells.get((name, method), [])
            found, named = ([100 * share(rows, (kind,), what) for kind in KINDS] for what in ("found", "named"))
            bars = ax.bar(x, found, 0.25, color=colour, label=f"found by {label}*")
            ax.bar_label(
                bars, fmt=lambda percent: f"{percent:.0f}" if percent else "", label_type="center", fontsize=8, color="white"
            )
            if method == "ours":
                ax.plot(x, named, "D", color="#D55E00", markersize=6, label="cell named by skvae")
        ax.set_xticks(range(len(KINDS)), KINDS)
        ax.set_title(name.replace("_", " "), fontsize=11)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set(ylim=(0, 104), yticks=range(0, 101, 25), ylabel="% of the errors")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    note = "* at a false discovery rate of 1 %"
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False, title=note, title_fontsize=9)
    figure.savefig(path, dpi=150)


def options() -> argparse.ArgumentParser:
    result = parser(__doc__, sets="adult", methods="ours,iforest,knn5mean_cv5", seeds=1, epochs=2)
    data.add_options(result, sets=False)
    add_epochs(result)
    result.add_argument("--sets", metavar="A,B", help=f"some of {', '.join(SETS + SHIPPED)}")
    result.add_argument("--methods", metavar="A,B", default=",".join(METHODS), help="some of those above; default all")
    result.add_argument("--rows", type=int, default=10_000, metavar="N", help="to train on, and to score; default 10000")
    result.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of rows and errors; default 3")
    result.add_argument("--figure", type=Path, metavar="FILE.png", help="draw what is found")
    return result


def main() -> None:
    args = options().parse_args()
    begin(args)
    sets, methods = data.chosen_of(args, SETS, SHIPPED, METHODS)
    store, cells = Rows(args.json), {}
    for name, seed in product(sets, range(args.seeds)):
        task = Task.draw(name, load(name, args.data), args.rows, seed)
        for method in methods:
            key = {"set": name, "rows": args.rows, "seed": seed, "method": method}
            row = store.once(partial(measure, task, method, seed, args.epochs), **key)
            found = share([row], KINDS, "found")
            say(f"{name} {seed} {method}: {found:.1%} found, {row['fdp']:.2%} of discoveries false, {row['seconds']:.1f} s")
            cells.setdefault((name, method), []).append(row)
    for method in methods:
        if method.startswith("ours"):
            say_ours(cells, sets, method)
    say_found(cells, sets, methods)
    if args.figure:
        draw(cells, sets, args.figure)


if __name__ == "__main__":
    main()
