"""Anomaly detection: the autoencoder's detector beside nearest neighbours, forests, PCA and PyOD, over many tables.

Protocol: sets and settings of ``labelled.py``, pool by pool. AUROC and average precision (AP), means over seeds; CPU seconds of
fit and of scoring.

Methods, each with one setting for all sets, their scores of an anomaly high:

* ours: AEAnomalyDetector with its defaults; in one-class with ``support_fraction=1.0``, which says that the training rows are
  clean.
* knn1, knn5, knn20: distance to the 1st, 5th or 20th nearest training row; knn5mean: mean distance to the 5 nearest. Exact;
  a training row is not a neighbour of itself.
* iforest: IsolationForest with its defaults. lof: LocalOutlierFactor, 20 neighbours, with ``novelty=True`` in one-class.
* pca: squared reconstruction error of the PCA that keeps 90 % of the variance.
* pyod_mcd, pyod_ecod, pyod_ae: PyOD's MCD, ECOD and AutoEncoder with their defaults, seeded; they are asked for, since PyOD has
  to be installed. Its fit scores the training rows, which is all of the unsupervised setting, so the seconds are fit's. ECOD
  looks at all rows that it is to score at once.

A method that raises or gives no finite score to a row failed: no numbers in the raw rows, and in all tables what chance has, an
AUROC of 0.5 and the share of anomalies as AP. Tables compare methods on the sets that all of them were measured on, by means
over seeds: mean ranks, 1 the best; the numbers of sets on which a method is above and below ours, and p of Wilcoxon's two-sided
signed-rank test between the two. The figure shows mean ranks, with a bar over neighbours in rank no two of which differ by that
test at 0.05, Holm's correction over all pairs (Benavoli, Corani & Mangili, JMLR 2016).

With ``--json`` a run that was interrupted goes on where it stopped; ``--merge`` adds what other runs measured to the tables:

    python benchmarks/anomaly.py --methods knn5,iforest,pyod_ae --threads 1 --json rivals.jsonl
    python benchmarks/anomaly.py --methods ours --threads 1 --merge rivals.jsonl --figure anomaly.png
"""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

import data
from labelled import SETTINGS, LabelledSet, Task, add_sets, chosen_sets
from report import Row, Rows, add_epochs, asked_for, begin, parser, say, say_table, timed, training

METRICS = {"auroc": "AUROC", "ap": "AP"}
CLEAN: dict[str, Any] = {"support_fraction": 1.0}  # off the defaults, where the training rows are
ALPHA = 0.05
DRAWN = ("one-class", "unsupervised")


class Detector:
    """A model and its scores, higher for anomalies; what ``score_fitted`` is given are the rows that it was fitted on."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, X: np.ndarray) -> None:
        self.model.fit(X)

    def score(self, X: np.ndarray) -> np.ndarray:
        return -self.model.score_samples(X)

    def score_fitted(self, X: np.ndarray) -> np.ndarray:
        return self.score(X)


class OutlierFactor(Detector):
    def score_fitted(self, X: np.ndarray) -> np.ndarray:
        return -self.model.negative_outlier_factor_


class Distance(Detector):
    def __init__(self, k: int, *, average: bool = False) -> None:
        super().__init__(NearestNeighbors(n_neighbors=k))
        self.average = average

    def score(self, X: np.ndarray | None) -> np.ndarray:
        distances, _ = self.model.kneighbors(X)
        return distances.mean(axis=1) if self.average else distances[:, -1]

    def score_fitted(self, X: np.ndarray) -> np.ndarray:
        return self.score(None)  # no row is then its own neighbour


class Residual(Detector):
    def score(self, X: np.ndarray) -> np.ndarray:
        return np.sum((X - self.model.inverse_transform(self.model.transform(X))) ** 2, axis=1)


class FromPyOD(Detector):
    def __init__(self, name: str, **options: Any) -> None:
        module, _, kind = name.partition(".")
        super().__init__(getattr(import_module(f"pyod.models.{module}"), kind)(**options))

    def score(self, X: np.ndarray) -> np.ndarray:
        return self.model.decision_function(X)

    def score_fitted(self, X: np.ndarray) -> np.ndarray:
        return self.model.decision_scores_


def ours(seed: int, setting: str, **options: Any) -> Detector:
    from skvae import AEAnomalyDetector

    clean = CLEAN if setting == "one-class" else {}
    return Detector(AEAnomalyDetector(random_state=seed, **clean, **options))


METHODS: dict[str, Callable[..., Detector]] = {
    "ours": ours,
    "knn1": lambda seed, setting: Distance(1),
    "knn5": lambda seed, setting: Distance(5),
    "knn5mean": lambda seed, setting: Distance(5, average=True),
    "knn20": lambda seed, setting: Distance(20),
    "iforest": lambda seed, setting: Detector(IsolationForest(random_state=seed)),
    "lof": lambda seed, setting: OutlierFactor(LocalOutlierFactor(n_neighbors=20, novelty=True)),
    "pca": lambda seed, setting: Residual(PCA(n_components=0.9)),
    "pyod_mcd": lambda seed, setting: FromPyOD("mcd.MCD", random_state=seed),
    "pyod_ecod": lambda seed, setting: FromPyOD("ecod.ECOD"),
    "pyod_ae": lambda seed, setting: FromPyOD("auto_encoder.AutoEncoder", random_state=seed, verbose=0),
}
DEFAULTS = "ours,knn1,knn5,knn5mean,knn20,iforest,lof,pca"


@cache
def warm_up(method: str, epochs: int | str) -> None:
    """Fit once, so that imports and compilation are not in the seconds of the first set."""
    X = np.random.default_rng(0).normal(size=(100, 4))
    detector = METHODS[method](0, "one-class", **training(method, epochs))
    detector.fit(X)
    detector.score(X)


def measure(item: LabelledSet, key: Row, epochs: int | str) -> Row:
    """What a method scores and takes; None where it fails."""
    setting, seed = key["setting"], key["seed"]
    task = Task.draw(item, setting, key["max_rows"], seed)
    warm_up(key["method"], epochs)
    detector = METHODS[key["method"]](seed, setting, **training(key["method"], epochs))
    row = {"n": len(task.train), "d": task.train.shape[1], "share": float(task.anomalous.mean())}
    score = detector.score_fitted if setting == "unsupervised" else detector.score
    try:
        cpu = time.process_time()
        _, fit_seconds = timed(lambda: detector.fit(task.train))
        scores, score_seconds = timed(lambda: score(task.test))
        cpu = time.process_time() - cpu
        row |= {"auroc": roc_auc_score(task.anomalous, scores), "ap": average_precision_score(task.anomalous, scores)}
    except Exception as error:  # a rival's failure on one set is a result
        failure = f"{type(error).__name__}: {error}".splitlines()[0]
        return row | {"auroc": None, "ap": None, "fit": None, "score": None, "cpu": None, "failure": failure}
    return row | {"fit": fit_seconds, "score": score_seconds, "cpu": cpu}


def collect(rows: list[Row], settings: list[str], sets: list[LabelledSet], args: argparse.Namespace) -> pd.DataFrame:
    """Rows of these settings and sets and of this run's seeds, the last of each; failures with what chance has."""
    frame = pd.DataFrame(rows).astype(dict.fromkeys(("auroc", "ap", "fit", "score", "cpu"), float))
    by_name = {item.name: item for item in sets}
    frame = frame[frame["setting"].isin(settings) & frame["set"].isin(by_name)]
    frame = frame[(frame["max_rows"] == args.max_rows) & (frame["seed"] < args.seeds)]
    frame = frame.assign(**{what: [getattr(by_name[name], what) for name in frame["set"]] for what in ("pool", "collection")})
    frame = frame.drop_duplicates(["setting", "set", "method", "seed"], keep="last")
    chance = {"auroc": frame["auroc"].fillna(0.5), "ap": frame["ap"].fillna(frame["share"])}
    return frame.assign(failed=frame["auroc"].isna(), **chance)


def seed_means(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Sets by methods, of the sets that all methods were measured on."""
    table = frame.pivot_table(index="set", columns="method", values=metric)
    return table.reindex(columns=[method for method in METHODS if method in table]).dropna()


def ranks(table: pd.DataFrame) -> pd.Series:
    """Mean rank of each method, 1 the best."""
    return table.round(12).rank(axis=1, ascending=False).mean()


def p_value(differences: pd.Series) -> float:
    """Wilcoxon's two-sided signed-rank test over sets."""
    differences = differences.round(12)
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def against(table: pd.DataFrame, method: str) -> list[str]:
    """Sets that a method wins and loses against ours, and the p-value."""
    if method == "ours" or "ours" not in table:
        return ["", ""]
    differences = (table[method] - table["ours"]).round(12)
    return [f"{(differences > 0).sum()}-{(differences < 0).sum()}", f"{p_value(differences):.2g}"]


def say_summary(frame: pd.DataFrame, title: str) -> None:
    """Print means, ranks, comparisons with ours and seconds of each method."""
    tables = {metric: seed_means(frame, metric) for metric in METRICS}
    its_ranks = {metric: ranks(table) for metric, table in tables.items()}
    sets, lines = tables["auroc"].index, []
    for method in tables["auroc"]:
        rows = frame[(frame["method"] == method) & frame["set"].isin(sets)]
        line = [method, *(f"{100 * table[method].mean():.1f}" for table in tables.values())]
        line += [f"{its_ranks[metric][method]:.2f}" for metric in METRICS]
        line += [cell for table in tables.values() for cell in against(table, method)]
        seconds = rows["cpu"]
        lines.append([*line, f"{seconds.median():.2f}", f"{seconds.sum():.0f}", rows["failed"].sum()])
    names = METRICS.values()
    headers = ["method", *names, *(f"rank, {name}" for name in names)]
    headers += [header for name in names for header in (f"{name}, wins-losses against ours", "p")]
    say(f"\n{title}, {len(sets)} sets")
    say_table([*headers, "median CPU s", "CPU s in all", "failed"], lines)
    if left_out := sorted(set(frame["set"]) - set(sets)):
        say(f"Not measured with all methods, so left out: {', '.join(left_out)}.")


def say_sets(frame: pd.DataFrame, title: str) -> None:
    """Print AUROC and AP of each method on each set."""
    tables = [100 * seed_means(frame, metric) for metric in METRICS]
    sizes = frame.groupby("set")[["n", "d", "share"]].mean()
    lines = []
    for name in tables[0].index:
        n, d, share = sizes.loc[name]
        cells = [f"{tables[0].loc[name, method]:.1f} / {tables[1].loc[name, method]:.1f}" for method in tables[0]]
        lines.append([name, f"{n:.0f}", f"{d:.0f}", f"{share:.1%}", *cells])
    say_table(["set", "n, training", "d", "anomalies", *tables[0]], lines)
    say(f"{title}: AUROC / AP; anomalies as a share of the rows scored.")


LABELS = {  # of the figure
    "ours": "skvae",
    "knn1": "nearest neighbour",
    "knn5": "5th neighbour",
    "knn5mean": "mean of 5 neighbours",
    "knn20": "20th neighbour",
    "iforest": "isolation forest",
    "lof": "LOF",
    "pca": "PCA",
    "pyod_mcd": "PyOD MCD",
    "pyod_ecod": "PyOD ECOD",
    "pyod_ae": "PyOD AutoEncoder",
}
COLOURS = {"ours": "#0072B2"}


def different(table: pd.DataFrame) -> set[frozenset[str]]:
    """The pairs of methods that differ, Holm's correction over all pairs."""
    pairs = list(combinations(table, 2))
    p = np.array([p_value(table[a] - table[b]) for a, b in pairs])
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return {frozenset(pairs[i]) for i, value in zip(order, adjusted, strict=True) if value < ALPHA}


def groups(ordered: list[str], pairs: set[frozenset[str]]) -> list[tuple[str, str]]:
    """First and last of the longest stretches of methods, in the order of their ranks, that hold none of the pairs."""
    result: list[tuple[str, str]] = []
    reached = 0
    for start in range(len(ordered)):
        end = start
        while end + 1 < len(ordered) and not any({other, ordered[end + 1]} in pairs for other in ordered[start : end + 1]):
            end += 1
        if end > max(start, reached):
            result.append((ordered[start], ordered[end]))
            reached = end
    return result


def draw_ranks(ax: Any, table: pd.DataFrame, title: str) -> None:
    """Demsar's diagram: an axis of mean ranks, bars over methods that do not differ, names of the better half on the left."""
    means = ranks(table).sort_values()
    low, high = np.floor(means.iloc[0]), np.ceil(means.iloc[-1])
    bars = groups(list(means.index), different(table))
    for i, (first, last) in enumerate(bars):
        ax.plot(means[[first, last]] + [-0.04, 0.04], [0.5 + 0.4 * i] * 2, color="#E69F00", linewidth=3.5, zorder=3)
    top, n_left = 1.0 + 0.4 * len(bars), (len(means) + 1) // 2
    for i, (method, mean_rank) in enumerate(means.items()):
        on_left = i < n_left
        height = top + (i if on_left else len(means) - 1 - i)  # outermost names highest, so that no lines cross
        edge = low - 0.1 if on_left else high + 0.1
        colour, weight = COLOURS.get(method, "0.25"), "bold" if method in COLOURS else "normal"
        ax.plot([mean_rank, mean_rank, edge], [0, height, height], color=colour, linewidth=1.8 if method in COLOURS else 0.9)
        text = f"{LABELS[method]}  {mean_rank:.1f} " if on_left else f" {mean_rank:.1f}  {LABELS[method]}"
        ax.text(edge, height, text, ha="right" if on_left else "left", va="center", color=colour, weight=weight, fontsize=9)
    ax.plot([low, high], [0, 0], color="black", linewidth=1.2)
    for tick in np.arange(low, high + 1):
        ax.plot([tick, tick], [0, -0.2], color="black", linewidth=1.2)
        ax.text(tick, -0.35, f"{tick:.0f}", ha="center", va="bottom", fontsize=9)
    ax.set(xlim=(low - 0.1, high + 0.1), ylim=(top + n_left, -1.3), title=title)
    ax.axis("off")


def draw(frame: pd.DataFrame, path: Path) -> None:
    """Mean ranks where the training rows are clean and where they hold the anomalies, by either metric."""
    from matplotlib.figure import Figure

    settings = [setting for setting in DRAWN if setting in set(frame["setting"])]
    size = (7 * len(settings), 1.4 + 0.5 * frame["method"].nunique())
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(METRICS), len(settings), squeeze=False)
    for (metric, name), line in zip(METRICS.items(), axes, strict=True):
        for setting, ax in zip(settings, line, strict=True):
            table = seed_means(frame[frame["setting"] == setting], metric)
            draw_ranks(ax, table, f"{setting}: mean rank by {name} over {len(table)} sets")
    note = f"Left is better. Bars join methods no two of which differ: Wilcoxon's signed-rank test, Holm's correction, {ALPHA}."
    figure.supxlabel(note, fontsize=10, color="0.25")
    figure.savefig(path, dpi=150)


def options() -> argparse.ArgumentParser:
    result = parser(__doc__, methods="ours,knn5,lof", seeds=1, epochs=2)
    data.add_options(result, sets=False)
    add_epochs(result)
    add_sets(result)
    result.add_argument("--methods", metavar="A,B", default=DEFAULTS, help=f"some of {', '.join(METHODS)}; default {DEFAULTS}")
    result.add_argument("--settings", metavar="A,B", default=",".join(SETTINGS), help=f"default {','.join(SETTINGS)}")
    result.add_argument("--figure", type=Path, metavar="FILE.png", help="draw the mean ranks")
    merge = {"action": "append", "default": [], "help": "rows of another run's --json for the tables; can be repeated"}
    result.add_argument("--merge", type=Path, metavar="FILE", **merge)
    return result


def run(methods: list[str], settings: list[str], sets: list[LabelledSet], args: argparse.Namespace) -> list[Row]:
    """Measure method by method, so that those named first are there first."""
    store, results = Rows(args.json), []
    for method, setting, item in product(methods, settings, sets):
        for seed in item.seeds(args.seeds):
            key = {"setting": setting, "set": item.name, "max_rows": args.max_rows, "seed": seed, "method": method}
            row = store.once(partial(measure, item, key, args.epochs), **key)
            found = row.get("failure") or f"AUROC {100 * row['auroc']:.1f}, AP {100 * row['ap']:.1f}"
            seconds = "" if row["fit"] is None else f", {row['fit']:.2f} + {row['score']:.2f} s"
            say(f"{setting}, {item.name} {seed} {method}: {found}{seconds}")
            results.append(row)
    return results


def main() -> None:
    args = options().parse_args()
    begin(args)
    warnings.filterwarnings("ignore", module=r"(pyod|sklearn|numpy)\.")
    methods, settings = asked_for(args, "methods", METHODS), asked_for(args, "settings", SETTINGS)
    sets = chosen_sets(args)
    results = run(methods, settings, sets, args)
    earlier = [row for path in args.merge for row in Rows(path).rows]
    frame = collect(earlier + results, settings, sets, args)
    for (pool, setting), those in frame.groupby(["pool", "setting"], sort=False):
        say_sets(those, f"pool {pool}, {setting}")
        for collection, part in those.groupby("collection", sort=False):
            say_summary(part, f"pool {pool}, {setting}, {collection}")
        say_summary(those, f"pool {pool}, {setting}, all")
    if args.figure:
        draw(frame, args.figure)


if __name__ == "__main__":
    main()
