"""Fitted estimators of every kind, what they say of a table, and files of them that open or are damaged.

    python tests/saved_models.py --damage 2000

damages files of skops in as many ways and counts what becomes of them.

    python tests/saved_models.py --write tests/saved/0.1.0.skops

writes the file of a release, which all later ones open.
"""

import argparse
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
import pandas as pd
import polars as pl
import skops.io
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import (
    L1,
    L2,
    TRUSTED_TYPES,
    AEAnomalyDetector,
    AutoencoderImputer,
    AutoencoderTransformer,
    Contractive,
    DiffusionNoise,
    KLSparsity,
    Masking,
    VAETransformer,
)

X, Y = load_wine(return_X_y=True)
X = X[:, :6]
HOLED = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
SEEDED = np.random.RandomState(3)
OF_RELEASE = (
    *("linear", "holes, DiffusionNoise", "quantiles, spikes", "vae", "dtypes of Arrow"),
    *("detector, frame", "imputer", "imputer that draws"),
)
METHODS = ("transform", "reconstruct", "score_samples", "p_values", "explain", "predict", "impute")


def frame(zone: str | None = None) -> pd.DataFrame:
    """Columns of every kind, with holes."""
    n, rng = len(X), np.random.default_rng(1)
    columns = {
        "number": HOLED[:, 0],
        "count": rng.integers(0, 9, n).astype(np.int16),
        "flag": rng.random(n) < 0.3,
        "text": np.array(["red", "green", None], dtype=object)[rng.integers(0, 3, n)],
        "level": pd.Categorical.from_codes(rng.integers(-1, 3, n), [1.5, 2.5, 4.0], ordered=True),
        "when": pd.date_range("2024-01-01", periods=n, freq="7h", tz=zone),
        "lasts": pd.to_timedelta(rng.integers(0, 900, n), unit="s"),
    }
    return pd.DataFrame(columns)


def arrow() -> pd.DataFrame:
    return frame("UTC").drop(columns="level").convert_dtypes(dtype_backend="pyarrow")


def polars() -> pl.DataFrame:
    cells = frame().drop(columns=["level", "text"])
    texts = pl.Series("text", ["red", "green", None] * (len(X) // 3) + ["red"], dtype=pl.Enum(["green", "red", "blue"]))
    return pl.DataFrame({name: cells[name].to_numpy() for name in cells}).with_columns(texts)


def ae(**params: Any) -> AutoencoderTransformer:
    return AutoencoderTransformer(**{"n_components": 2} | QUICK | params)


def vae(**params: Any) -> VAETransformer:
    return VAETransformer(**{"n_components": 2, "n_importance_samples": 5} | QUICK | params)


def detector(**params: Any) -> AEAnomalyDetector:
    return AEAnomalyDetector(**QUICK | {"n_components": 8} | params)


def imputer(**params: Any) -> AutoencoderImputer:
    return AutoencoderImputer(**QUICK | {"n_estimators": 2} | params)


def stream(model: AutoencoderTransformer, rows: np.ndarray) -> AutoencoderTransformer:
    for start in range(0, len(rows), 60):
        model.partial_fit(rows[start : start + 60])
    return model


def grid() -> GridSearchCV:
    steps = make_pipeline(StandardScaler(), ae(), LogisticRegression())
    return GridSearchCV(steps, {"autoencodertransformer__corruption": [Masking(0.1), None]}, cv=2)


FITTED: dict[str, tuple[Callable[[], Any], Any]] = {  # what fits, and the table that it is asked about
    "linear": (lambda: ae(hidden_layer_sizes=()).fit(X), X),
    "holes, DiffusionNoise": (lambda: ae(corruption=DiffusionNoise((0.05, 1.0))).fit(HOLED), HOLED),
    "GaussianNoise, L1": (lambda: ae(corruption="gaussian", penalty=L1(0.1)).fit(X), X),
    "Masking, L2": (lambda: ae(corruption=Masking((0.1, 0.4)), penalty=L2(0.1)).fit(X), X),
    "SaltAndPepper, n_nonzero_coefs": (lambda: ae(n_components=4, corruption="salt_and_pepper", n_nonzero_coefs=2).fit(X), X),
    "SwapNoise, KLSparsity": (lambda: ae(corruption="swap", code_activation="logistic", penalty=KLSparsity(0.1)).fit(X), X),
    "two penalties": (lambda: ae(penalty=(Contractive(0.1), L1(0.1))).fit(X), X),
    "quantiles, spikes": (lambda: ae(standardize="quantile").fit(np.maximum(X, np.median(X, axis=0))), X),
    "bernoulli": (lambda: ae(likelihood="bernoulli").fit(X / X.max(axis=0)), X / X.max(axis=0)),
    "float32, RandomState": (lambda: ae(random_state=SEEDED).fit(X.astype(np.float32)), X.astype(np.float32)),
    "a stream": (lambda: stream(ae(), X), X),
    "vae": (lambda: vae(beta=0.5).fit(HOLED), HOLED),
    "vae, zoned dates": (
        lambda: vae(random_state=np.random.RandomState(3)).fit(frame("Europe/Berlin")),
        frame("Europe/Berlin"),
    ),
    "frame of polars": (lambda: ae().fit(polars()), polars()),
    "dtypes of Arrow": (lambda: ae().fit(arrow()), arrow()),
    "detector": (lambda: detector().fit(HOLED), X),
    "detector, frame": (lambda: detector(contamination=0.05).fit(frame()), frame()),
    "detector, stream of frames": (lambda: detector().partial_fit(frame()), frame()),
    "detector, frame of polars": (lambda: detector().partial_fit(polars()), polars()),
    "imputer": (lambda: imputer(add_indicator=True).fit(frame()), frame()),
    "imputer that draws": (lambda: imputer(sample_posterior=True).fit(HOLED), HOLED),
    "pipeline": (lambda: make_pipeline(StandardScaler(), ae(), PCA(1)).fit(X), X),
    "search": (lambda: grid().fit(X, Y), X),
}


def outputs(estimator: Any, table: Any) -> dict[str, np.ndarray]:
    """What the methods of an estimator say of a table."""
    return {name: np.asarray(getattr(estimator, name)(table)) for name in METHODS if hasattr(estimator, name)}


def are_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(map(_are_equal, first.values(), second.values()))


def _are_equal(first: np.ndarray, second: np.ndarray) -> bool:
    if first.dtype == object:
        return first.shape == second.shape and pd.DataFrame(first).equals(pd.DataFrame(second))
    return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind in "fmM")


def damaged(content: bytes, n: int, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """A file with one bit flipped anywhere, cut short, with bytes behind it or of another format, in turn."""
    foreign = (b"", b"PK\x05\x06" + bytes(18), b"\x80\x04N.", b"\x93NUMPY", b"{}", bytes(100))
    for i in range(n):
        kind = ("a bit", "a bit", "a bit", "cut", "bytes behind", "another format")[i % 6]
        changed = bytearray(content)
        if kind == "a bit":
            changed[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        elif kind == "cut":
            del changed[rng.integers(len(content)) :]
        elif kind == "bytes behind":
            changed += rng.bytes(int(rng.integers(1, 100)))
        else:
            changed = bytearray(foreign[i // 6 % len(foreign)] + rng.bytes(int(rng.integers(100))))
        yield kind, bytes(changed)


def outcome(content: bytes, table: Any, expected: dict[str, np.ndarray]) -> str:
    """What becomes of a damaged file: an error, the same model, or another one without a word."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = skops.io.loads(content, trusted=TRUSTED_TYPES)
            found = outputs(model, table)
    except Exception as error:
        return f"refused, {type(error).__name__}"
    return "the same model" if are_same(found, expected) else "SILENTLY DIFFERENT"


def write(path: str) -> None:
    """Write estimators and what they say."""
    saved = {}
    for name in OF_RELEASE:
        fit, table = FITTED[name]
        model = fit()
        said = outputs(model, table)
        saved[name] = (model, {method: cells for method, cells in said.items() if cells.dtype != object})
    skops.io.dump(saved, path, compression=ZIP_DEFLATED)


def damage(n_files: int) -> None:
    """Print what becomes of damaged files."""
    names = ["linear", "vae", "frame of polars", "detector, frame", "imputer"]
    rng, counts = np.random.default_rng(0), Counter()
    for name in names:
        fit, table = FITTED[name]
        model = fit()
        content = skops.io.dumps(model)
        expected = outputs(model, table)
        for kind, changed in damaged(content, n_files // len(names), rng):
            counts[kind, outcome(changed, table, expected)] += 1
    for (kind, result), count in sorted(counts.items()):
        print(f"{count:5d}  {kind}: {result}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--damage", type=int, metavar="N", help="files")
    task.add_argument("--write", metavar="FILE")
    args = parser.parse_args()
    if args.write:
        write(args.write)
    else:
        damage(args.damage)


if __name__ == "__main__":
    main()
