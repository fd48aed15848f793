"""The tables that the benchmarks run on, and how they are split.

Six tables come with scikit-learn. The others are read from the subfolder ``tabular`` of a folder that ``--data`` or the
environment variable SKVAE_DATA names: ``NAME.npz`` with ``X``, or with ``X_train`` and ``X_test``, which are put together, and
``NAME.csv.gz``, frames whose target is dropped. Every table is taken at full size. Without a folder the benchmarks run on
scikit-learn's tables and say so. With ``--smoke`` the folder is a temporary one, of scikit-learn's tables under other names.
"""

import argparse
import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.feature_selection import VarianceThreshold
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from report import Parser, asked_for, say

SHIPPED = ("linnerud", "iris", "wine", "diabetes", "breast_cancer", "digits")
IN_FOLDER = (
    "orl_faces32",
    "uci_energy",
    "isolet5",
    "gain_spam",
    "uci_kin8nm",
    "usps",
    "uci_naval",
    "gain_letter",
    "credit_default",
    "uci_protein",
    "mnist",
)
TARGETS = {  # of the frames
    "adult": "income",
    "ames_housing": "SalePrice",
    "titanic": "Survived",
    "credit_default": "Y",
    "penguins": "species",
    "diamonds": "price",
    "sick": "Class",
    "mushroom": "class",
    "german_credit": "target",
}
LARGE = 30_000_000  # cells; above, a table is held in float32


def add_options(parser: Parser, *, sets: bool = True) -> None:
    """Add ``--data`` and, where there is something to choose from, ``--sets``."""
    folder = os.environ.get("SKVAE_DATA") or None
    parser.smoke["data"] = stand_in
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=folder,
        help="folder with tabular/*, anomaly/* and odd/*; default $SKVAE_DATA",
    )
    if sets:
        parser.add_argument("--sets", metavar="A,B", help=f"some of {', '.join(SHIPPED + IN_FOLDER)}")


def chosen(args: argparse.Namespace, default: tuple[str, ...] = SHIPPED + IN_FOLDER) -> list[str]:
    """The names of the tables to run on: those asked for, or those of the default that are there."""
    names = asked_for(args, "sets", SHIPPED + IN_FOLDER, default)
    missing = [name for name in names if name in IN_FOLDER and not (args.data and _file(name, args.data).exists())]
    if missing and args.sets:
        raise SystemExit(f"--sets: {', '.join(missing)} not found; --data or SKVAE_DATA must name the folder above tabular/.")
    if missing:
        say(f"Not found, so left out: {', '.join(missing)}. --data or SKVAE_DATA names the folder above tabular/.\n")
    return [name for name in names if name not in missing]


def chosen_of(
    args: argparse.Namespace, in_folder: tuple[str, ...], shipped: tuple[str, ...], methods: Iterable[str]
) -> tuple[list[str], list[str]]:
    """The sets and the methods that ``--sets`` and ``--methods`` ask for; those of scikit-learn where there is no folder."""
    if not args.data and not args.sets:
        say("Without --data or SKVAE_DATA, scikit-learn's tables alone.\n")
    sets = asked_for(args, "sets", in_folder + shipped, in_folder if args.data else shipped)
    asked_methods = asked_for(args, "methods", methods)
    if not args.data and (needed := [name for name in sets if name in in_folder]):
        raise SystemExit(f"--sets: for {', '.join(needed)}, --data or SKVAE_DATA must name the folder above tabular/.")
    return sets, asked_methods


def load(name: str, folder: Path | None) -> np.ndarray:
    """All rows of a table, without the target."""
    if name in SHIPPED:
        return getattr(datasets, f"load_{name}")(return_X_y=True)[0]
    if name in TARGETS:
        return frame(name, folder).to_numpy(np.float64)
    with np.load(_file(name, folder)) as file:
        X = file["X"] if "X" in file else np.concatenate([file["X_train"], file["X_test"]])
    return X.astype(np.float32 if X.size > LARGE else np.float64)


def frame(name: str, folder: Path) -> pd.DataFrame:
    """All rows of a frame with its dtypes, without the target."""
    return pd.read_csv(_file(name, folder)).drop(columns=TARGETS[name])


def mnist(folder: Path | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MNIST's official split, pixels in [0, 1]: 60,000 training images, 10,000 test images and the latter's digits."""
    if folder is None:
        raise SystemExit("MNIST does not come with scikit-learn; --data or SKVAE_DATA must name the folder above tabular/.")
    with np.load(_file("mnist", folder)) as file:
        train, test = (file[part].astype(np.float32) / 255 for part in ("X_train", "X_test"))
        return train, test, file["y_test"]


@dataclass(frozen=True)
class Images:
    """Images of digits, flat, pixels in [0, 1], and which digit each shows."""

    train: np.ndarray
    test: np.ndarray
    train_digits: np.ndarray
    test_digits: np.ndarray


def images(name: str, folder: Path | None, seed: int, rows: int | None = None) -> Images:
    """ "digits", a random 75/25 split, or "mnist", the official split with so many of its training images, at random."""
    if name == "digits":
        X, y = datasets.load_digits(return_X_y=True)
        return Images(*train_test_split(X / 16, y, test_size=0.25, random_state=seed))
    train, test, test_digits = mnist(folder)
    with np.load(_file("mnist", folder)) as file:
        train_digits = file["y_train"]
    order = np.random.default_rng(seed).permutation(len(train))[:rows]
    return Images(train[order], test, train_digits[order], test_digits)


def standardiser() -> Pipeline:
    """Drops the columns that are constant on the rows it is fitted on and standardises the others."""
    return make_pipeline(VarianceThreshold(), StandardScaler())


def standardise(X: np.ndarray) -> np.ndarray:
    """All rows, columns that are constant dropped and the others standardised."""
    return standardiser().fit_transform(X)


def split(X: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows: a random 75/25, columns dropped and standardised by what they are on the training rows."""
    train, test = train_test_split(X, test_size=0.25, random_state=seed)
    scaler = standardiser().fit(train)
    return scaler.transform(train), scaler.transform(test)


def code_sizes(n: int, d: int) -> list[int]:
    """The distinct values of max(1, .) of 2, d // 8 and d // 4 that are below both numbers of training rows and columns."""
    return sorted(k for k in {2, max(1, d // 8), max(1, d // 4)} if k < min(n, d))


def stand_in() -> Path:
    """A folder with a small file of each kind, made of scikit-learn's tables; it goes when Python ends."""
    folder = Path(tempfile.mkdtemp(prefix="skvae-smoke-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for part in ("tabular", "anomaly", "odd"):
        (folder / part).mkdir()
    X, y = datasets.load_iris(return_X_y=True, as_frame=True)
    for name in ("gain_letter", "uci_protein"):
        np.savez(_file(name, folder), X=X)
    np.savez(folder / "anomaly" / "iris.npz", X=X[:60], y=y[:60] == 1)  # 50 normal rows, 10 anomalies
    pd.DataFrame({"name": ["iris"]}).to_csv(folder / "anomaly" / "manifest.csv")
    np.savez(folder / "odd" / "flowers.npz", train=X[:30], test=X[30:60], test_labels=y[30:60] == 1)
    pd.DataFrame({"name": ["flowers"], "pool": ["B"]}).to_csv(folder / "odd" / "manifest.csv")
    words = X.apply(pd.cut, bins=3, labels=["small", "medium", "large"]).astype(str)
    frame = X.join(words.add_prefix("size of "))
    frame = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.05)
    frame.assign(**{TARGETS["adult"]: y}).to_csv(_file("adult", folder), index=False)
    X, y = datasets.load_digits(return_X_y=True)
    X = np.pad(X.reshape(-1, 8, 8).repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))  # 28 x 28
    X = (X.reshape(len(X), -1) * 255 / 16).astype(np.uint8)
    np.savez(_file("mnist", folder), X_train=X[100:400], y_train=y[100:400], X_test=X[:100], y_test=y[:100])
    return folder


def _file(name: str, folder: Path) -> Path:
    return folder / "tabular" / (f"{name}.csv.gz" if name in TARGETS else f"{name}.npz")
