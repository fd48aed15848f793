"""How well missing cells are filled, beside the imputers that scikit-learn users would turn to.

Protocol: up to ``--rows`` random rows of a table without its target and without columns that are constant or empty; a share of
the observed cells hidden completely at random; every method is fitted on the table with holes and fills that same table. Scored
on the hidden cells alone: root mean squared error over all numbers, each column divided by its range over all rows of the full
table, and accuracy over all categories, which are the columns of strings. Means over seeds; seconds are those of fit and
transform, encoding included. Rows and holes depend on set, share and seed only, so all methods see the same, in any run.

Methods:

* ours: AutoencoderImputer with its defaults, on the frame as it is.
* simple: SimpleImputer, the mean of a column of numbers, the most frequent category.
* knn: KNNImputer with its defaults, 5 neighbours. Numbers standardised; a column of 0 and 1 per category, all of them missing
  where the category is; filled with the category whose filled column is largest.
* ridge: IterativeImputer with its defaults, BayesianRidge and at most 10 rounds. Encoded as for knn, but without the column of
  the most frequent category, which is what the others leave of 1: with it, a column is determined by the others of its own
  variable, the regression finds just that, and no category moves from its first filling.
* forest, numbers alone: IterativeImputer over ExtraTreesRegressor with 100 trees, at most 10 rounds, 5 on over 30 columns.
* forest, with categories: missForest's loop, which scikit-learn lacks. In rounds over the columns, those with the fewest holes
  first, from means and most frequent categories: ExtraTreesRegressor for numbers, ExtraTreesClassifier for categories, 100
  trees each; others are predicted from a category's rank by frequency, which does better than columns of 0 and 1. At most 5
  rounds; it stops as missForest does, before the first round that changes both kinds of cells no less than the one before.

Two settings off the defaults that are often better have to be asked for, ``--methods knn10,bounded``: 10 neighbours, and ridge
with every column kept to its observed range.

Without a folder of data it runs on scikit-learn's tables. With ``--json`` a run that was interrupted goes on where it stopped;
``--merge`` adds what another run measured to the tables:

    python benchmarks/imputation.py --methods simple,knn,ridge,forest --json rivals.jsonl
    python benchmarks/imputation.py --methods ours --merge rivals.jsonl
"""

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

import data
from report import Row, Rows, add_epochs, begin, mean, parser, say, say_table, timed

NUMERIC = ("gain_letter", "gain_spam")
MIXED = ("adult", "german_credit", "diamonds", "penguins", "sick")
SETS = (*NUMERIC, *MIXED)
WIDE = 30  # columns; above, the forest of IterativeImputer runs half its rounds
ROUNDS = 5  # of missForest


def load(name: str, folder: Path | None) -> pd.DataFrame:
    """All rows of a table, without the target."""
    if name in MIXED:
        return data.frame(name, folder)
    return pd.DataFrame(data.load(name, folder)).rename(columns="x{}".format)


def numbers_of(frame: pd.DataFrame) -> list[str]:
    return list(frame.select_dtypes("number"))


def categories_of(frame: pd.DataFrame) -> list[str]:
    return list(frame.select_dtypes(exclude="number"))


@dataclass(frozen=True)
class Task:
    """A table, the cells of it that are hidden, and the range of each column of numbers."""

    full: pd.DataFrame
    hidden: pd.DataFrame
    spans: pd.Series

    @classmethod
    def draw(cls, name: str, table: pd.DataFrame, n_rows: int, share: float, seed: int) -> "Task":
        """Random rows, and a share of their observed cells."""
        rows = np.random.default_rng([crc32(name.encode()), seed]).permutation(len(table))[:n_rows]
        full = table.iloc[rows].reset_index(drop=True)
        full = full.loc[:, full.nunique() > 1]
        observed = np.flatnonzero(full.notna())
        rng = np.random.default_rng([crc32(name.encode()), seed, round(1000 * share)])
        hidden = np.zeros(full.size, dtype=bool)
        hidden[rng.permutation(observed)[: round(share * len(observed))]] = True
        spans = table[numbers_of(full)].max() - table[numbers_of(full)].min()
        return cls(full, pd.DataFrame(hidden.reshape(full.shape), columns=full.columns), spans)

    @property
    def holed(self) -> pd.DataFrame:
        return self.full.mask(self.hidden)

    def score(self, filled: pd.DataFrame) -> Row:
        """Root mean squared error of hidden numbers and accuracy of hidden categories."""
        if filled.isna().any(axis=None):
            raise RuntimeError("There are cells that were not filled.")
        numbers, categories = numbers_of(self.full), categories_of(self.full)
        errors = ((filled[numbers] - self.full[numbers]) / self.spans).to_numpy(np.float64)[self.hidden[numbers]]
        right = (filled[categories] == self.full[categories]).to_numpy()[self.hidden[categories]]
        return {"rmse": float(np.sqrt(np.mean(errors**2))), "accuracy": float(right.mean()) if categories else None}


class OneHot:
    """Standardised numbers, and a column of 0 and 1 for each category, the most frequent first, missing where it is."""

    def __init__(self, holed: pd.DataFrame, *, leave_out_first: bool = False) -> None:
        self.holed = holed
        self.first = int(leave_out_first)
        self.scaler = StandardScaler().fit(holed[numbers_of(holed)])
        self.levels = {column: holed[column].value_counts().index for column in categories_of(holed)}

    def encode(self) -> np.ndarray:
        blocks = [self.scaler.transform(self.holed[numbers_of(self.holed)])]
        for column, levels in self.levels.items():
            codes = levels.get_indexer(self.holed[column])
            block = np.eye(len(levels))[codes, self.first :]
            blocks.append(np.where(codes[:, None] < 0, np.nan, block))
        return np.hstack(blocks)

    def decode(self, X: np.ndarray) -> pd.DataFrame:
        """The frame, its holes filled with numbers and with the categories whose columns are largest."""
        numbers = numbers_of(self.holed)
        filled = pd.DataFrame(self.scaler.inverse_transform(X[:, : len(numbers)]), columns=numbers)
        start = len(numbers)
        for column, levels in self.levels.items():
            block = X[:, start : start + len(levels) - self.first]
            start += block.shape[1]
            if self.first:
                block = np.column_stack([1 - block.sum(axis=1), block])
            filled[column] = levels[block.argmax(axis=1)]
        return self.holed.fillna(filled)


def by_simple(holed: pd.DataFrame, seed: int) -> pd.DataFrame:
    filled = holed.copy()
    for strategy, columns in (("mean", numbers_of(holed)), ("most_frequent", categories_of(holed))):
        if columns:
            filled[columns] = SimpleImputer(strategy=strategy).fit_transform(holed[columns])
    return filled


def by_neighbours(holed: pd.DataFrame, seed: int, n_neighbors: int = 5) -> pd.DataFrame:
    encoding = OneHot(holed)
    return encoding.decode(KNNImputer(n_neighbors=n_neighbors).fit_transform(encoding.encode()))


def by_ridge(holed: pd.DataFrame, seed: int, *, bounded: bool = False) -> pd.DataFrame:
    encoding = OneHot(holed, leave_out_first=True)
    X, bounds = encoding.encode(), {}
    if bounded:
        low, high = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
        bounds = {"min_value": low, "max_value": np.maximum(high, low + 1e-9)}  # equal ones are refused
    return encoding.decode(IterativeImputer(random_state=seed, **bounds).fit_transform(X))


def by_forest(holed: pd.DataFrame, seed: int, n_trees: int) -> pd.DataFrame:
    if categories_of(holed):
        return by_missforest(holed, seed, n_trees)
    trees = ExtraTreesRegressor(n_trees, random_state=seed)
    imputer = IterativeImputer(trees, max_iter=5 if holed.shape[1] > WIDE else 10, random_state=seed)
    return pd.DataFrame(imputer.fit_transform(holed), columns=holed.columns)


def by_missforest(holed: pd.DataFrame, seed: int, n_trees: int) -> pd.DataFrame:
    """In rounds over the columns, as long as either kind of cell changes less than in the round before."""
    missing, categories = holed.isna().to_numpy(), set(categories_of(holed))
    encoding, kinds = OneHot(holed), np.array([column in categories for column in holed])
    table = np.zeros(holed.shape)  # of standardised numbers, 0 their mean, and ranks, 0 the most frequent
    table[:, ~kinds] = np.nan_to_num(encoding.encode()[:, : np.sum(~kinds)])
    for j in np.flatnonzero(kinds):
        table[:, j] = np.maximum(encoding.levels[holed.columns[j]].get_indexer(holed.iloc[:, j]), 0)
    last = (np.inf, np.inf)
    for _ in range(ROUNDS):
        filled = table.copy()
        for j in np.argsort(missing.sum(axis=0), kind="stable"):
            holes, others = missing[:, j], np.delete(filled, j, axis=1)
            if holes.any():
                trees = (ExtraTreesClassifier if kinds[j] else ExtraTreesRegressor)(n_trees, random_state=seed)
                filled[holes, j] = trees.fit(others[~holes], filled[~holes, j]).predict(others[holes])
        numbers = np.sum((filled - table)[:, ~kinds] ** 2) / np.sum(filled[:, ~kinds] ** 2)
        change = (numbers, np.mean((filled != table)[:, kinds][missing[:, kinds]]))
        if change[0] >= last[0] and change[1] >= last[1]:
            break
        table, last = filled, change
    return decode_ranks(encoding, table, kinds)


def decode_ranks(encoding: OneHot, table: np.ndarray, kinds: np.ndarray) -> pd.DataFrame:
    blocks = [table[:, ~kinds]]
    ranks = table[:, kinds].astype(int).T
    blocks += [np.eye(len(levels))[rank] for rank, levels in zip(ranks, encoding.levels.values(), strict=True)]
    return encoding.decode(np.hstack(blocks))


def by_autoencoder(holed: pd.DataFrame, seed: int, epochs: int | str) -> pd.DataFrame:
    from skvae import AutoencoderImputer

    return pd.DataFrame(AutoencoderImputer(max_iter=epochs, random_state=seed).fit_transform(holed), columns=holed.columns)


METHODS: dict[str, Callable[..., pd.DataFrame]] = {
    "simple": by_simple,
    "knn": by_neighbours,
    "knn10": partial(by_neighbours, n_neighbors=10),
    "ridge": by_ridge,
    "bounded": partial(by_ridge, bounded=True),
    "forest": by_forest,
    "ours": by_autoencoder,
}
DEFAULTS = "simple,knn,ridge,forest,ours"


def measure(task: Task, method: str, seed: int, args: argparse.Namespace) -> Row:
    holed = task.holed
    options = {"forest": {"n_trees": args.trees}, "ours": {"epochs": args.epochs}}.get(method, {})
    filled, seconds = timed(lambda: METHODS[method](holed, seed, **options))
    return {"d": task.full.shape[1], **task.score(filled), "seconds": seconds}


Cells = dict[tuple[str, int, float], dict[str, dict[int, Row]]]


def by_share(rows: list[Row]) -> Cells:
    """The rows of every set, number of rows and share, by method and seed."""
    cells: Cells = {}
    for row in rows:
        cells.setdefault((row["set"], row["n"], row["share"]), {}).setdefault(row["method"], {})[row["seed"]] = row
    return cells


def say_cells(cells: Cells, methods: list[str]) -> None:
    """Print error, accuracy and seconds of each method in each cell, means over seeds."""
    lines = []
    for (name, n, share), found in cells.items():
        line = [name, n, next(iter(next(iter(found.values())).values()))["d"], f"{share:.0%}"]
        for method in methods:
            rows = list(found.get(method, {}).values())
            parts = [f"{mean(rows, 'rmse'):.4f}"] if rows else []
            if rows and rows[0]["accuracy"] is not None:
                parts.append(f"{mean(rows, 'accuracy'):.3f}")
            line.append(" / ".join([*parts, f"{mean(rows, 'seconds'):.1f} s"]) if rows else "")
        lines.append(line)
    say_table(["set", "n", "d", "hidden", *methods], lines)
    say("RMSE / accuracy, where there are categories / seconds.")


def say_ratios(cells: Cells, rivals: list[str]) -> None:
    """Print our errors over those of each rival, on the seeds that both were measured with; below 1, ours are smaller."""
    lines = []
    for rival, share in product(rivals, sorted({share for _, _, share in cells})):
        errors, wrong, seconds = {}, {}, []
        for (name, _, its_share), found in cells.items():
            ours, theirs = found.get("ours", {}), found.get(rival, {})
            if its_share != share or not (seeds := ours.keys() & theirs.keys()):
                continue
            pair = [[rows[seed] for seed in seeds] for rows in (ours, theirs)]
            errors[name] = np.divide(*(mean(rows, "rmse") for rows in pair))
            seconds.append([mean(rows, "seconds") for rows in pair])
            if pair[0][0]["accuracy"] is not None:
                wrong[name] = np.divide(*(1 - mean(rows, "accuracy") for rows in pair))
        if errors:
            over = np.divide(*np.sum(seconds, axis=0))
            lines.append([rival, f"{share:.0%}", len(errors), *summary(errors), *summary(wrong), f"{over:.2f}"])
    if lines:
        kinds = ("RMSE", "wrong categories")
        headers = (header for kind in kinds for header in (f"{kind}, mean ratio", "worst"))
        say_table(["ours over", "hidden", "sets", *headers, "seconds in all"], lines)


def summary(ratios: dict[str, float]) -> list[str]:
    """The mean, and the largest with its set."""
    if not ratios:
        return ["", ""]
    worst = max(ratios, key=ratios.get)
    return [f"{np.mean(list(ratios.values())):.3f}", f"{ratios[worst]:.3f} ({worst})"]


STYLES = {  # of the figure
    "knn": ("s", "#CC79A7", "5 nearest neighbours"),
    "ridge": ("^", "#E69F00", "iterative ridge"),
    "forest": ("D", "#009E73", "iterative forest"),
    "ours": ("o", "#0072B2", "skvae"),
}


def draw(cells: Cells, share: float, path: Path) -> None:
    """Errors of each set over those of filling in means and most frequent levels."""
    from matplotlib.figure import Figure

    found = {name: methods for (name, _, its_share), methods in cells.items() if its_share == share and "simple" in methods}
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(found)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    labels = {"rmse": "RMSE, share of mean filling's", "accuracy": "wrong levels, share of that"}
    for ax, (key, label) in zip(axes, labels.items(), strict=True):
        for method, (marker, colour, name) in STYLES.items():
            ratios = [over_simple(methods, method, key) for methods in found.values()]
            ax.plot(ratios, range(len(found)), marker, color=colour, markersize=6, label=name)
        ax.axvline(1, color="#D55E00", linewidth=1.5, label="mean, most frequent")
        ax.set_xlabel(label)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="x", color="0.9")
        ax.set_axisbelow(True)
    axes[0].set_yticks(range(len(found)), list(found))
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, dpi=150)


def over_simple(methods: dict[str, dict[int, Row]], method: str, key: str) -> float:
    """Ratio of the mean errors; NaN where there are none."""
    theirs, simple = (list(methods.get(name, {}).values()) for name in (method, "simple"))
    if not theirs or theirs[0][key] is None:
        return np.nan
    if key == "accuracy":
        return (1 - mean(theirs, key)) / (1 - mean(simple, key))
    return mean(theirs, key) / mean(simple, key)


def options() -> argparse.ArgumentParser:
    result = parser(__doc__, sets="gain_letter,adult", missing="0.2", rows=40, trees=2, seeds=1, epochs=2)
    data.add_options(result, sets=False)
    add_epochs(result)
    result.add_argument("--sets", metavar="A,B", help=f"some of {', '.join(SETS + data.SHIPPED)}")
    result.add_argument("--methods", metavar="A,B", default=DEFAULTS, help=f"some of {', '.join(METHODS)}; default {DEFAULTS}")
    result.add_argument("--missing", metavar="A,B", default="0.1,0.2,0.5", help="shares to hide; default 0.1,0.2,0.5")
    result.add_argument("--rows", type=int, default=3000, metavar="N", help="at most so many of a table; default 3000")
    result.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of rows and holes; default 3")
    result.add_argument("--trees", type=int, default=100, metavar="N", help="of each forest; default 100")
    result.add_argument("--figure", type=Path, metavar="FILE.png", help="draw errors at 20 %% hidden")
    result.add_argument("--merge", type=Path, metavar="FILE", help="rows of another run's --json for the tables")
    return result


def main() -> None:
    args = options().parse_args()
    begin(args)
    warnings.filterwarnings("ignore", category=ConvergenceWarning, module=r"sklearn\.")
    sets, methods = data.chosen_of(args, SETS, data.SHIPPED, METHODS)
    store, results = Rows(args.json), []
    for name in sets:
        table = load(name, args.data)
        for share, seed in product(map(float, args.missing.split(",")), range(args.seeds)):
            task = Task.draw(name, table, args.rows, share, seed)
            key = {"set": name, "n": len(task.full), "share": share, "seed": seed}
            for method in methods:
                row = store.once(partial(measure, task, method, seed, args), **key, method=method)
                accuracy = "" if row["accuracy"] is None else f"accuracy {row['accuracy']:.3f}, "
                say(f"{name} {share:.0%} {seed} {method}: RMSE {row['rmse']:.4f}, {accuracy}{row['seconds']:.1f} s")
                results.append(row)
    earlier = Rows(args.merge).rows
    cells = by_share(earlier + results)
    shown = [method for method in METHODS if any(method in found for found in cells.values())]
    say_cells(cells, shown)
    if earlier:
        theirs = dict.fromkeys(row["method"] for row in earlier)
        say(f"From {args.merge}, seconds of another run: {', '.join(theirs)}; where measured again, the new rows are shown.")
    say_ratios(cells, [method for method in shown if method != "ours"])
    if args.figure:
        draw(cells, 0.2, args.figure)


if __name__ == "__main__":
    main()
