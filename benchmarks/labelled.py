"""Tables whose anomalies are labelled, and who is trained on what.

Sets of two collections, in the folder of data: those of OddBench are the files ``odd/NAME.npz``, with clean rows ``train``,
rows ``test`` and their ``test_labels``, 1 for anomalies; those of ADBench are ``anomaly/NAME.npz`` with ``X`` and ``y``. The
files ``manifest.csv`` beside them divide both into two pools. Defaults are chosen on pool A and confirmed on pool B. Of
OddBench the column ``pool`` says which, of ADBench sets at even positions are in A. Without a folder there are three tables of
scikit-learn, a few rows of the other classes as anomalies, in a pool of their own.

* one-class: of an ADBench set the normal rows are shuffled, half of them are trained on, the other half and all anomalies are
  scored. OddBench's rows come divided.
* contaminated by 5 % or 10 %: as one-class, but so many of the rows trained on are anomalies, drawn at random, at most half of
  those there are; these are not scored.
* unsupervised: all rows are trained on, anomalies included, and the same rows are scored.

Rows depend on setting, set and seed only, so all methods see the same, in any run. Above ``max_rows`` rows, so many at random.
Columns are standardised by the training rows; those that are constant there are 0. What is divided already needs no more than
one seed.
"""

import argparse
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from report import Parser, asked_for, say

SETTINGS = {"one-class": 0.0, "contaminated 5 %": 0.05, "contaminated 10 %": 0.1, "unsupervised": None}  # share of anomalies
SHIPPED = {"breast_cancer": ((1,), 20), "wine": ((1, 2), 10), "digits": ((8,), 20)}  # normal classes, number of anomalies
FOLDERS = {"OddBench": "odd", "ADBench": "anomaly"}


@dataclass(frozen=True)
class LabelledSet:
    """Where a table is, the collection it comes from, and its pool."""

    name: str
    collection: str
    pool: str
    path: Path | None

    @property
    def is_divided(self) -> bool:
        """Whether the collection says which rows are trained on."""
        return self.collection == "OddBench"

    def seeds(self, n: int) -> range:
        """As many as are worth running."""
        return range(1 if self.is_divided else n)


def labelled_sets(folder: Path | None) -> dict[str, LabelledSet]:
    """All that there are, by name."""
    if folder is None:
        return {name: LabelledSet(name, "scikit-learn", "scikit-learn", None) for name in SHIPPED}
    result = []
    for collection, part in FOLDERS.items():
        manifest = pd.read_csv(folder / part / "manifest.csv")
        pools = manifest["pool"] if "pool" in manifest else np.where(manifest.index % 2 == 0, "A", "B")
        for name, pool in zip(manifest["name"], pools, strict=True):
            result.append(LabelledSet(name, collection, pool, folder / part / f"{name}.npz"))
    return {item.name: item for item in result}


@cache
def load(item: LabelledSet) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """All rows of a set, which of them are anomalies, and where divided which of them are trained on."""
    if item.path is None:
        X, y = getattr(datasets, f"load_{item.name}")(return_X_y=True)
        classes, n_anomalies = SHIPPED[item.name]
        normal = np.isin(y, classes)
        others = np.random.default_rng(0).permutation(np.flatnonzero(~normal))
        rows = np.concatenate([np.flatnonzero(normal), others[:n_anomalies]])
        return X[rows], ~normal[rows], None
    with np.load(item.path) as file:
        if not item.is_divided:
            return file["X"], file["y"] == 1, None
        train, test, labels = file["train"], file["test"], file["test_labels"]
    anomalous = np.concatenate([np.zeros(len(train), dtype=bool), labels == 1])
    return np.concatenate([train, test]), anomalous, np.arange(len(anomalous)) < len(train)


@dataclass(frozen=True)
class Task:
    """Training rows, the rows to score, which in the unsupervised setting are the same, and which of these are anomalies."""

    train: np.ndarray
    test: np.ndarray
    anomalous: np.ndarray

    @classmethod
    def draw(cls, item: LabelledSet, setting: str, max_rows: int, seed: int) -> "Task":
        X, y, divided = load(item)
        rng = np.random.default_rng([crc32(item.name.encode()), seed])
        rows = rng.permutation(len(y))[:max_rows]
        share = SETTINGS[setting]
        if share is None:
            return cls._scaled(X[rows], X[rows], y[rows])
        if divided is None:
            normal = rows[~y[rows]]
            train, rest = np.split(normal, [len(normal) // 2])
        else:
            train, rest = rows[divided[rows]], rows[~divided[rows] & ~y[rows]]
        anomalies = rows[y[rows]]
        n_hidden = min(round(share / (1 - share) * len(train)), len(anomalies) // 2)
        train = np.concatenate([train, anomalies[:n_hidden]])
        test = np.concatenate([rest, anomalies[n_hidden:]])
        return cls._scaled(X[train], X[test], y[test])

    @classmethod
    def _scaled(cls, train: np.ndarray, test: np.ndarray, anomalous: np.ndarray) -> "Task":
        train, test = train.astype(np.float64), test.astype(np.float64)
        scaler, varying = StandardScaler().fit(train), np.ptp(train, axis=0) > 0
        return cls(*(np.where(varying, scaler.transform(part), 0) for part in (train, test)), anomalous)


def add_sets(parser: Parser) -> None:
    """Add which sets, how many rows and draws of them."""
    parser.add_argument("--pool", choices=("A", "B"), help="the pool to choose on, or the one to confirm on; default both")
    parser.add_argument("--sets", metavar="A,B", help="some of the names in the folder; default all of the pool")
    parser.add_argument("--max-rows", type=int, default=20_000, metavar="N", help="at most so many of a set; default 20000")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of rows, and seeds of methods; default 3")


def chosen_sets(args: argparse.Namespace) -> list[LabelledSet]:
    """Those that the options ask for."""
    if args.data is None:
        say(f"Without --data or SKVAE_DATA, on scikit-learn's tables: {', '.join(SHIPPED)}.\n")
    there = labelled_sets(args.data)
    if args.pool and args.data:
        there = {name: item for name, item in there.items() if item.pool == args.pool}
    return [there[name] for name in asked_for(args, "sets", there)]
