"""What codes are good for, beside PCA's of the same size: search, classification, sparse parts, slopes.

Images of digits, pixels in [0, 1], not standardised: scikit-learn's digits in 75/25 splits, MNIST in the official one.

* search: of the ten nearest training images of each held-out one, by Euclidean distance between codes, the share that show
  the same digit. One setting for both sets: two hidden layers, ``corruption=GaussianNoise(level)``, ``--level`` in root
  mean square deviations.
* features: accuracy of a logistic regression on standardised codes, in a Pipeline; five-fold cross-validation on digits. The
  same setting.
* top-k: accuracy of a logistic regression on codes of which 25 of 500 entries are kept, ``code_activation="relu"``, a linear
  encoder and decoder from a random start, beside PCA with 25 and with 50 components; codes divided by one common factor.
* contractive: Frobenius norm of the encoder's Jacobian over the root of the total variance of the code, on held-out digits,
  and the squared error, with and without ``Contractive(0.3)``.
* sparse: largest distance over units of the mean activation on held-out digits from the target, ``KLSparsity(10, target=0.05)``
  on a code of 100; beside it the mean distance, the largest one on training digits and the median of the units' peaks.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import data
from images import add_split_options, splits
from report import Row, Rows, begin, mean, parser, say, say_table, timed
from skvae import AutoencoderTransformer, Contractive, GaussianNoise, KLSparsity

SIZES = {"digits": (2, 4, 8, 32), "mnist": (2, 8, 32)}  # of search and features
NEIGHBOURS = 10
KEPT, DICTIONARY = 25, 500
TARGET = 0.05


def autoencoder(k: int, args: argparse.Namespace, **options: Any) -> AutoencoderTransformer:
    training = {"early_stopping": False, "random_state": 0, "max_iter": args.epochs, "verbose": args.verbose}
    return AutoencoderTransformer(k, standardize=False, **training | options)


def denoiser(k: int, args: argparse.Namespace) -> AutoencoderTransformer:
    return autoencoder(k, args, hidden_layer_sizes=args.hidden, corruption=GaussianNoise(args.level))


MODELS: dict[str, Callable[..., Any]] = {"PCA": lambda k, args: PCA(k, svd_solver="covariance_eigh"), "ours": denoiser}


def precision(gallery: np.ndarray, shown: np.ndarray, queries: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the nearest neighbours that show what is wanted."""
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(gallery).kneighbors(queries, return_distance=False)
    return float((shown[nearest] == wanted[:, None]).mean())


def search(images: data.Images, k: int, model: str, args: argparse.Namespace) -> Row:
    if model == "pixels":
        return {"value": precision(images.train, images.train_digits, images.test, images.test_digits)}
    fitted, seconds = timed(lambda: MODELS[model](k, args).fit(images.train))
    codes = fitted.transform(images.train), fitted.transform(images.test)
    return {"value": precision(codes[0], images.train_digits, codes[1], images.test_digits), "seconds": seconds}


def features(images: data.Images, k: int, model: str, args: argparse.Namespace) -> Row:
    pipeline = make_pipeline(MODELS[model](k, args), StandardScaler(), LogisticRegression(max_iter=1000))
    X, y = np.concatenate([images.train, images.test]), np.concatenate([images.train_digits, images.test_digits])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    accuracies, seconds = timed(lambda: cross_val_score(pipeline, X, y, cv=folds))
    return {"value": float(accuracies.mean()), "seconds": seconds / 5}


def top_k(images: data.Images, k: int, model: str, args: argparse.Namespace) -> Row:
    options = {"n_nonzero_coefs": k, "code_activation": "relu", "init": "random", "hidden_layer_sizes": (), "batch_size": 128}
    sparse = autoencoder(DICTIONARY, args, **options, learning_rate_init=2e-3)
    fitted, seconds = timed(lambda: (sparse if model == "top-k" else MODELS[model](k, args)).fit(images.train))
    train, test = fitted.transform(images.train), fitted.transform(images.test)
    unit = np.sqrt(np.mean(train**2))
    probe = LogisticRegression(max_iter=300).fit(train / unit, images.train_digits)
    used = float(((train != 0).mean(axis=0) > 1e-3).sum())
    return {"value": float(probe.score(test / unit, images.test_digits)), "seconds": seconds, "used": used}


def contractive(images: data.Images, k: int, model: str, args: argparse.Namespace) -> Row:
    fitted = autoencoder(k, args, penalty=Contractive(0.3) if model == "contractive" else None).fit(images.train)
    slopes = (fitted.encoder_jacobian(images.test) ** 2).sum(axis=(1, 2)).mean()
    ratio = np.sqrt(slopes / fitted.transform(images.test).var(axis=0).sum())
    return {"value": float(ratio), "error": float(fitted.reconstruction_error(images.test).mean())}


def sparse(images: data.Images, k: int, model: str, args: argparse.Namespace) -> Row:
    fitted = autoencoder(k, args, penalty=KLSparsity(10, target=TARGET), code_activation="logistic").fit(images.train)
    codes = fitted.transform(images.test)
    away = np.abs(codes.mean(axis=0) - TARGET)
    error = float(fitted.reconstruction_error(images.test).mean())
    on_train = float(np.abs(fitted.transform(images.train).mean(axis=0) - TARGET).max())
    peak = float(np.median(codes.max(axis=0)))
    return {"value": float(away.max()), "mean": float(away.mean()), "on_train": on_train, "peak": peak, "error": error}


Task = Callable[[data.Images, int, str, argparse.Namespace], Row]


def tasks(args: argparse.Namespace) -> list[tuple[str, Task, str, int, int, str]]:
    """Name, function, images, split, code size and model of each."""
    result: list[tuple[str, Task, str, int, int, str]] = []
    for name, seed in splits(args):
        result.append(("search", search, name, seed, 0, "pixels"))
        for k in args.sizes or SIZES[name]:
            result += [("search", search, name, seed, k, model) for model in MODELS]
            result += [("features", features, name, seed, k, model) for model in MODELS if (name, seed) == ("digits", 0)]
        if name == "digits":
            result += [
                ("contractive", contractive, name, seed, k, model) for k in (8, 16) for model in ("plain", "contractive")
            ]
            result.append(("sparse", sparse, name, seed, 100, "KL sparsity"))
        else:
            pairs = ((KEPT, "PCA"), (2 * KEPT, "PCA"), (KEPT, "top-k"))
            result += [("top-k", top_k, name, seed, k, model) for k, model in pairs]
    return [task for task in result if not args.only or task[0] in args.only.split(",")]


def options() -> argparse.ArgumentParser:
    result = parser(__doc__, splits=1, sizes=(2,), epochs=1, hidden=(16,))
    add_split_options(result)
    result.add_argument("--only", metavar="A,B", help="some of search, features, top-k, contractive, sparse")
    numbers = {"type": lambda text: tuple(map(int, text.split(","))), "metavar": "A,B"}
    result.add_argument("--sizes", **numbers, help="of codes, for search and features; default 2,4,8,32, on MNIST 2,8,32")
    result.add_argument("--hidden", **numbers, default=(512, 256))
    result.add_argument("--level", type=float, default=2.0, help="of the noise, for search and features")
    return result


def main() -> None:
    args = options().parse_args()
    begin(args)
    rows = Rows(args.json)
    results = []
    for task, measure, name, seed, k, model in tasks(args):
        images = data.images(name, args.data, seed, args.rows)
        key = {"task": task, "set": name, "split": seed, "k": k, "model": model}
        results.append(rows.once(partial(measure, images, k, model, args), **key))
        say(results[-1])
    table = []
    for cell in dict.fromkeys((row["task"], row["set"], row["k"], row["model"]) for row in results):
        those = [row for row in results if (row["task"], row["set"], row["k"], row["model"]) == cell]
        rest = {
            what: round(mean(those, what), 3)
            for what in those[0]
            if what in ("error", "mean", "on_train", "peak", "used", "seconds")
        }
        table.append([*cell, len(those), f"{mean(those, 'value'):.4f}", ", ".join(f"{k} {v}" for k, v in rest.items())])
    say_table(["task", "images", "k", "model", "splits", "mean", "beside"], table)


if __name__ == "__main__":
    main()
