"""Short fits of every kind, and the numbers that come out of them.

``python tests/golden.py tests/golden.json`` writes the numbers that ``test_golden.py`` compares with. Write them anew only for
a change that is meant to change results, and say in the commit which entries moved and why. ``--bits FILE`` writes every number
in full precision, to compare two commits on one machine bit by bit: ``python tests/golden.py --bits a.npz --against b.npz``.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from sklearn.exceptions import ConvergenceWarning

from skvae import (
    L1,
    L2,
    AEAnomalyDetector,
    AutoencoderImputer,
    AutoencoderTransformer,
    Contractive,
    DiffusionNoise,
    GaussianNoise,
    KLSparsity,
    Masking,
    SaltAndPepper,
    SwapNoise,
    VAETransformer,
)

N_SHOWN = 5  # rows of each result that the file keeps
DIGITS = 8
Numbers = dict[str, np.ndarray]


# Tables


def _numbers() -> np.ndarray:
    """Rounded, so that the bits do not depend on the processor: rows are ordered by a hash of them."""
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(60, 2))) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(60, 5))
    return np.round(X * [1.0, 3.0, 0.2, 1.0, 10.0] + [0.0, 5.0, 0.0, -2.0, 100.0], 6)


X = _numbers()
HOLES = np.where(np.random.default_rng(1).random(X.shape) < 0.15, np.nan, X)
UNIT = (X - X.min(0)) / (X.max(0) - X.min(0))
UNIT_HOLES = np.where(np.isnan(HOLES), np.nan, UNIT)
WEIGHTS = np.random.default_rng(2).integers(0, 3, len(X)).astype(float)
LATER = X[40:] + 0.1
MIXED = pd.DataFrame(
    {
        "length": X[:, 0],
        "count": np.rint(X[:, 1]).astype(int),
        "kind": pd.Categorical(np.where(X[:, 0] > 0.3, "a", np.where(X[:, 3] > -2, "b", "c"))),
        "flag": X[:, 4] > 100,
        "text": np.where(X[:, 1] > 5, "high", "low"),
        "day": pd.to_datetime("2024-01-01") + pd.to_timedelta(np.rint(10 * X[:, 3]), unit="D"),
    }
)
MIXED_HOLES = MIXED.mask(np.random.default_rng(3).random(MIXED.shape) < 0.15)
MIXED_POLARS = pl.from_pandas(MIXED.astype({"kind": object, "text": object}))


# What is read off a fitted estimator


def as_numbers(table: Any) -> np.ndarray:
    """The cells of any table as floats: positions of levels in their sorted order, days of dates."""
    if isinstance(table, np.ndarray):
        return table.astype(float)
    frame = table.to_pandas() if isinstance(table, pl.DataFrame) else table
    return np.column_stack([_column(frame[name]) for name in frame.columns])


def _column(series: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
        return series.to_numpy(dtype=float)
    if pd.api.types.is_datetime64_any_dtype(series):
        return ((series - pd.Timestamp("2024-01-01")) / pd.Timedelta(days=1)).to_numpy(dtype=float)
    return pd.factorize(series.astype(object), sort=True)[0].astype(float)


def of_transformer(model: Any, table: Any) -> Numbers:
    codes = model.transform(table)
    found = {
        "codes": codes,
        "rows": as_numbers(model.reconstruct(table)),
        "decoded": as_numbers(model.inverse_transform(codes)),
        "scores": model.score_samples(table),
        "errors": model.reconstruction_error(table),
        "cells": as_numbers(model.score_cells(table)),
        "imputed": as_numbers(model.impute(table)),
        "losses": np.array(model.loss_curve_),
        "validation": np.array([np.nan] if model.validation_scores_ is None else model.validation_scores_),
        "noise": np.atleast_1d(np.nan if model.noise_variance_ is None else model.noise_variance_),
        "counts": np.array([model.n_components_, model.n_iter_, model.best_iter_], dtype=float),
    }
    return found | (of_vae(model, table) if isinstance(model, VAETransformer) else {})


def of_vae(model: VAETransformer, table: Any) -> Numbers:
    return {
        "deviations": model.posterior(table)[1],
        "divergences": model.elbo(table).kl,
        "explained": model.explained_variance_,
        "kl": model.kl_per_component_,
        "sampled": as_numbers(model.sample(4, random_state=0)),
        "drawn": as_numbers(model.impute(table, n_imputations=2, random_state=0)[1]),
    }


def of_detector(model: AEAnomalyDetector, table: Any) -> Numbers:
    contributions, expected = model.explain(table, return_expected=True)
    return {
        "scores": model.score_samples(table),
        "p": model.p_values(table),
        "offset": np.array([model.offset_]),
        "contributions": contributions.to_numpy().astype(float),
        "expected": as_numbers(expected),
        **{name: part.to_numpy() for name, part in model.explain(table, parts=True)._asdict().items()},
    }


def of_imputer(model: AutoencoderImputer, table: Any) -> Numbers:
    return {"filled": as_numbers(model.transform(table)), "losses": np.array(model.autoencoder_.loss_curve_)}


# Fits

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 0}
FREE = SMALL | {"early_stopping": False}
JUDGED = SMALL | {"n_iter_no_change": 4}
TINY_DETECTOR = {"n_components": 6, "hidden_layer_sizes": (8, 8), "max_iter": 4, "cv": 2, "random_state": 0}


def transformed(kind: type, table: Any, n_components: float = 2, fit: dict[str, Any] | None = None, **params: Any) -> Numbers:
    return of_transformer(kind(n_components, **params).fit(table, **fit or {}), table)


def ae(table: Any, n_components: float = 2, fit: dict[str, Any] | None = None, **params: Any) -> Numbers:
    return transformed(AutoencoderTransformer, table, n_components, fit, **params)


def vae(table: Any, n_components: float = 2, fit: dict[str, Any] | None = None, **params: Any) -> Numbers:
    return transformed(VAETransformer, table, n_components, fit, **params)


def detector(table: Any, **params: Any) -> Numbers:
    return of_detector(AEAnomalyDetector(**TINY_DETECTOR | params).fit(table), table)


def imputer(table: Any, **params: Any) -> Numbers:
    return of_imputer(AutoencoderImputer(4, **SMALL | {"max_iter": 4} | params).fit(table), table)


def warm(kind: type, table: Any, later: Any) -> Numbers:
    model = kind(2, warm_start=True, **JUDGED).fit(table)
    return of_transformer(model.set_params(max_iter=5).fit(later), later)


FITS: dict[str, Callable[[], Numbers]] = {
    # the autoencoder, of numbers
    "ae, judged by folds": lambda: ae(X, **JUDGED),
    "ae, no validation": lambda: ae(X, **FREE),
    "ae, float32": lambda: ae(X.astype(np.float32), **FREE),
    "ae, linear": lambda: ae(X, hidden_layer_sizes=()),
    "ae, linear, unstandardized": lambda: ae(X, hidden_layer_sizes=(), standardize=False),
    "ae, linear, from random": lambda: ae(X, **SMALL | {"hidden_layer_sizes": (), "init": "random"}),
    "ae, unstandardized": lambda: ae(X, **FREE, standardize=False),
    "ae, random": lambda: ae(X, **JUDGED, init="random"),
    "ae, share of variance": lambda: ae(X, 0.8, **FREE),
    "ae, relu, two layers": lambda: ae(X, **FREE | {"hidden_layer_sizes": (8, 6), "activation": "relu"}),
    "ae, decoder of its own": lambda: ae(X, **FREE, decoder_layer_sizes=()),
    "ae, batches, decay": lambda: ae(X, **FREE, batch_size=16, weight_decay=0.01, learning_rate="constant", shuffle=False),
    "ae, mse": lambda: ae(X, **JUDGED, likelihood="mse", standardize=False),
    "ae, bernoulli": lambda: ae(UNIT, **JUDGED, likelihood="bernoulli"),
    "ae, weights": lambda: ae(X, fit={"sample_weight": WEIGHTS}, **JUDGED),
    "ae, rows to judge by": lambda: ae(X[:40], fit={"X_val": LATER, "sample_weight_val": WEIGHTS[:20] + 1}, **JUDGED),
    "ae, warm": lambda: warm(AutoencoderTransformer, X, LATER),
    "ae, few rows": lambda: ae(X[:7], **SMALL),
    # variants
    "ae, gaussian": lambda: ae(X, **FREE, corruption="gaussian"),
    "ae, GaussianNoise": lambda: ae(X, **JUDGED, corruption=GaussianNoise((0.1, 0.5))),
    "ae, masking": lambda: ae(X, **FREE, corruption="masking"),
    "ae, Masking": lambda: ae(X, **JUDGED, corruption=Masking(0.3)),
    "ae, salt and pepper": lambda: ae(X, **FREE, corruption="salt_and_pepper"),
    "ae, SaltAndPepper": lambda: ae(X, **FREE, corruption=SaltAndPepper(0.2)),
    "ae, swap": lambda: ae(X, **FREE, corruption="swap"),
    "ae, SwapNoise": lambda: ae(X, **FREE, corruption=SwapNoise(0.2)),
    "ae, DiffusionNoise": lambda: ae(X, **FREE, corruption=DiffusionNoise((0.1, 1.0)), init="random"),
    "ae, hidden only": lambda: ae(X, **JUDGED, corruption=Masking((0.0, 0.5), hidden_only=True)),
    "ae, l1": lambda: ae(X, **FREE, penalty="l1"),
    "ae, L1 and Contractive": lambda: ae(X, **JUDGED, penalty=(L1(0.2), Contractive(0.1))),
    "ae, l2": lambda: ae(X, **FREE, penalty="l2"),
    "ae, L2, mse": lambda: ae(X, **FREE, penalty=L2(0.2), likelihood="mse", standardize=False),
    "ae, kl_sparsity": lambda: ae(X, **FREE, penalty="kl_sparsity", code_activation="logistic"),
    "ae, KLSparsity": lambda: ae(X, 4, **FREE, penalty=KLSparsity(1.0, target=0.2), code_activation="logistic"),
    "ae, contractive": lambda: ae(X, **FREE, penalty="contractive"),
    "ae, top-k": lambda: ae(X, 3, **FREE | {"max_iter": 3}, n_nonzero_coefs=2),
    "ae, top-k, relu": lambda: ae(X, 6, **FREE, n_nonzero_coefs=2, code_activation="relu", init="random"),
    "ae, all at once": lambda: ae(X, 4, **JUDGED, corruption="swap", penalty=(L1(), Contractive()), n_nonzero_coefs=2),
    # holes and frames
    "ae, holes": lambda: ae(HOLES, **JUDGED),
    "ae, holes, linear": lambda: ae(HOLES, hidden_layer_sizes=()),
    "ae, holes, masking": lambda: ae(HOLES, **FREE, corruption="masking"),
    "ae, holes, Masking": lambda: ae(HOLES, **FREE, corruption=Masking(0.3)),
    "ae, holes, bernoulli": lambda: ae(UNIT_HOLES, **FREE, likelihood="bernoulli"),
    "ae, holes, share of variance": lambda: ae(HOLES, 0.8, **FREE),
    "ae, mixed": lambda: ae(MIXED, **JUDGED),
    "ae, mixed, holes": lambda: ae(MIXED_HOLES, **FREE),
    "ae, mixed, polars": lambda: ae(MIXED_POLARS, **FREE),
    "ae, mixed, linear": lambda: ae(MIXED, **SMALL | {"hidden_layer_sizes": ()}),
    "ae, declared categories": lambda: ae(np.column_stack([X, np.rint(X[:, 0])]), **FREE, categorical_features=[5]),
    "ae, mixed, warm": lambda: warm(AutoencoderTransformer, MIXED_HOLES, MIXED),
    # the variational autoencoder
    "vae, judged by folds": lambda: vae(X, **JUDGED),
    "vae, no validation": lambda: vae(X, **FREE),
    "vae, linear": lambda: vae(X, hidden_layer_sizes=(), random_state=0),
    "vae, linear, per column": lambda: vae(X, hidden_layer_sizes=(), likelihood="gaussian_diag", random_state=0),
    "vae, beta, warm-up": lambda: vae(X, **FREE, beta=2.0, beta_warmup=2, likelihood="gaussian"),
    "vae, random": lambda: vae(X, **FREE, init="random"),
    "vae, mse": lambda: vae(X, **FREE, likelihood="mse"),
    "vae, bernoulli": lambda: vae(UNIT, **FREE, likelihood="bernoulli"),
    "vae, denoising, contractive": lambda: vae(X, **FREE, corruption="gaussian", penalty="contractive"),
    "vae, warm": lambda: warm(VAETransformer, X, LATER),
    "vae, holes": lambda: vae(HOLES, **FREE),
    "vae, mixed": lambda: vae(MIXED_HOLES, **JUDGED),
    "vae, weights": lambda: vae(X, fit={"sample_weight": WEIGHTS}, **JUDGED),
    # imputer and detector
    "imputer": lambda: imputer(HOLES),
    "imputer, no validation": lambda: imputer(MIXED_HOLES, early_stopping=False),
    "imputer, drawn": lambda: imputer(HOLES, sample_posterior=True, early_stopping=False),
    "detector": lambda: detector(X),
    "detector, clean": lambda: detector(X, support_fraction=1.0, cv=3),
    "detector, mixed": lambda: detector(MIXED_HOLES),
    "detector, no networks": lambda: detector(X[:40], cv="auto"),
    "detector, few rows held": lambda: detector(HOLES, max_samples=20, n_neighbors=3),
    "detector, automatic steps": lambda: detector(X, cv="auto", max_iter="auto", batch_size=64),
}


def numbers_of(name: str) -> Numbers:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few epochs are too few to converge
        return FITS[name]()


def summary(numbers: Numbers) -> dict[str, Any]:
    """What the file keeps of a fit: the first rows of each result, and the scale of all of it."""
    return {key: {"scale": scale_of(values), "first": _rounded(values[:N_SHOWN])} for key, values in numbers.items()}


def as_text(content: dict[str, Any]) -> str:
    """JSON with a line for each result, so that a change shows which moved."""
    fits = [
        f"{json.dumps(name)}: {{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries.items())
        for name, entries in content.items()
    ]
    return "{\n" + "\n},\n".join(fits) + "\n}\n}\n"


def scale_of(values: np.ndarray) -> float:
    """What a difference of these numbers is measured in: their root mean square."""
    finite = values[np.isfinite(values)]
    return float(f"{np.sqrt(np.mean(finite**2)):.{DIGITS}g}") if len(finite) else 0.0


def _rounded(values: np.ndarray) -> list[Any]:
    return [None if np.isnan(v) else float(f"{v:.{DIGITS}g}") for v in np.asarray(values, dtype=float).ravel().tolist()]


def compare_bits(found: Numbers, earlier: Numbers) -> list[str]:
    """A line for each entry that is not the same to the last bit."""
    lines = [f"{key}: only in one of the two" for key in found.keys() ^ earlier.keys()]
    for key in sorted(found.keys() & earlier.keys()):
        a, b = found[key], earlier[key]
        if a.shape != b.shape:
            lines.append(f"{key}: {a.shape} and {b.shape}")
        elif not np.array_equal(a, b, equal_nan=True):
            lines.append(f"{key}: differs by up to {np.nanmax(np.abs(a - b)) / (scale_of(b) or 1):.2g} of its scale")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", nargs="?", type=Path, help="file to write")
    parser.add_argument("--bits", type=Path, metavar="FILE.npz", help="file to write in full precision")
    parser.add_argument("--against", type=Path, metavar="FILE.npz", help="file of another commit to compare with")
    args = parser.parse_args()
    results = {name: numbers_of(name) for name in FITS}
    if args.json:
        content = {name: summary(numbers) for name, numbers in results.items()}
        args.json.write_text(as_text(content), encoding="utf-8")
    full = {f"{name} | {key}": values for name, numbers in results.items() for key, values in numbers.items()}
    if args.bits:
        np.savez(args.bits, **full)
    if args.against:
        lines = compare_bits(full, dict(np.load(args.against)))
        print("\n".join([*lines, f"{len(full)} results, {len(lines)} of them differ"]))  # noqa: T201


if __name__ == "__main__":
    main()
