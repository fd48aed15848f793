"""Data frames as they are: what comes back, how likely cells are that were hidden, and what a large frame costs.

1. Round trips. Each frame is taken with the dtypes of numpy, nullable dtypes and Arrow's of pandas and with those of polars,
   fitted with defaults, encoded and decoded; dtypes, categories, names and their order are compared.
2. Hidden cells. 75 % of the rows train; of the others 20 % of the cells are hidden from the input, and scored by
   ``score_cells``. Rivals: every column by itself (normal, with a variance, or the shares of its levels), and the same
   estimator without hidden layers.
3. Holes in training. 30 % of the cells of the training rows are missing at random; held-out explained variance with d // 4
   components, on complete rows and on rows with as many holes, of a fit on the table as it is and of one after mean filling.
4. Size. A frame of a million rows and 20 columns of all kinds: seconds and memory from frame to float32 tensors and back.

    python benchmarks/frames.py --data DIR --threads 1
    python benchmarks/frames.py --data DIR --only hidden --estimator vae --sets sick,adult
"""

import argparse
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import data
from report import Rows, add_epochs, begin, parser, say, say_table, timed
from skvae import AutoencoderTransformer, VAETransformer
from skvae._tables.schema import Schema

WITH_HOLES = ("breast_cancer", "gain_letter", "uci_protein")
ESTIMATORS = {"ae": AutoencoderTransformer, "vae": VAETransformer}
RIVALS = ("independent", "linear", "ours")


# 1. Round trips


def with_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Two of three columns of strings as categories, one unordered, one ordered, its levels in reverse and one unused."""
    frame = frame.copy()
    for i, name in enumerate(frame.select_dtypes(exclude="number").columns):
        levels = sorted(frame[name].dropna().unique())
        if i % 3 == 1:
            frame[name] = frame[name].astype("category")
        elif i % 3 == 2:
            frame[name] = frame[name].astype(pd.CategoricalDtype([*levels[::-1], "no such level"], ordered=True))
    return frame


def versions(frame: pd.DataFrame) -> dict[str, object]:
    import polars as pl

    categories = frame.dtypes[frame.dtypes == "category"]
    arrow = (
        frame.drop(columns=categories.index)
        .convert_dtypes(dtype_backend="pyarrow")
        .join(frame[categories.index])[frame.columns]
    )
    return {
        "numpy": frame,
        "nullable": frame.convert_dtypes(),
        "arrow": arrow,
        "polars": pl.from_pandas(frame),
    }


def round_trip(names: list[str], args: argparse.Namespace, rows: Rows) -> None:
    lines = []
    for name in names:
        for kind, frame in versions(with_categories(data.frame(name, args.data))).items():
            model = AutoencoderTransformer(max_iter=args.epochs, random_state=0)
            model, seconds = timed(partial(model.fit, frame))
            back = model.inverse_transform(model.transform(frame))
            same = [
                type(back) is type(frame),
                list(back.columns) == list(frame.columns),
                list(back.dtypes) == list(frame.dtypes),
            ]
            kinds = [column.kind for column in model.schema_.columns]
            lines.append([name, kind, *frame.shape, kinds.count("ignored"), "yes" if all(same) else "NO", f"{seconds:.1f} s"])
            rows.add({"part": "round_trip", "frame": name, "dtypes": kind, "same": all(same), "seconds": seconds})
            say(*lines[-1])
    say_table(["frame", "dtypes", "n", "d", "ignored", "dtypes, categories, names, order come back", "fit"], lines)


# 2. Hidden cells


def hide(frame: pd.DataFrame, share: float, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """The frame with cells missing, in dtypes that can, and which observed cells these were."""
    hidden = rng.random(frame.shape) < share
    able: dict[str, object] = dict.fromkeys(frame.select_dtypes(["number"]).columns, "float64")
    able |= dict.fromkeys(frame.select_dtypes(["bool"]).columns, object)
    return frame.astype(able).mask(hidden), hidden & frame.notna().to_numpy()


def independent(schema: Schema, train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Log-likelihood of each cell by its column alone."""
    known, cells = schema.cells(train), schema.cells(test)
    scores = np.full(cells.shape, np.nan)
    for j, n_levels in enumerate(schema.n_levels):
        x = known[~np.isnan(known[:, j]), j]
        if len(x) == 0 or (n_levels == 0 and x.var() == 0):
            continue
        if n_levels == 0:
            scores[:, j] = -0.5 * np.log(2 * np.pi * x.var()) - 0.5 * (cells[:, j] - x.mean()) ** 2 / x.var()
        else:
            n_levels = max(n_levels, 2)
            shares = (np.bincount(x.astype(int), minlength=n_levels) + 1) / (len(x) + n_levels)
            codes = np.nan_to_num(cells[:, j]).astype(int)
            scores[:, j] = np.where(np.isnan(cells[:, j]), np.nan, np.log(shares[codes]))
    return scores


def hidden_cells(names: list[str], args: argparse.Namespace, rows: Rows) -> None:
    lines = []
    for name in names:
        train, test = train_test_split(data.frame(name, args.data), test_size=0.25, random_state=0)
        given, hidden = hide(test, 0.2, np.random.default_rng(0))
        scores, seconds = {}, []
        for layers in ((), None):
            settings = {} if layers is None else {"hidden_layer_sizes": layers}
            estimator = ESTIMATORS[args.estimator](
                standardize=args.standardize, max_iter=args.epochs, random_state=0, **settings
            )
            model, elapsed = timed(partial(estimator.fit, train))
            scores["linear" if settings else "ours"] = model.score_cells(test, given).to_numpy()
            seconds.append(elapsed)
        scores["independent"] = independent(model.schema_, train, test)
        counted = hidden & np.isfinite(scores["independent"])
        means = [float(scores[rival][counted].mean()) for rival in RIVALS]
        best = "yes" if means[2] > max(means[:2]) else "NO"
        rows.add({"part": "hidden", "frame": name, **dict(zip(RIVALS, means, strict=True)), "seconds": seconds[1]})
        lines.append([name, len(train), *(f"{mean:.3f}" for mean in means), best, f"{seconds[1]:.0f} s"])
        say(*lines[-1])
    say_table(["frame", "rows", *RIVALS, "ours is best", "fit"], lines)
    say("Nats per hidden cell.")


# 3. Holes in training


def holes(names: list[str], args: argparse.Namespace, rows: Rows) -> None:
    lines = []
    for name in WITH_HOLES:
        X = load_breast_cancer().data if name == "breast_cancer" else data.load(name, args.data)
        results = np.array([explained(X, seed, args.epochs) for seed in range(args.seeds)])
        complete, ours, filled = results[:, :3].mean(axis=0)
        share = (complete - ours) / (complete - filled)
        rows.add({"part": "holes", "set": name, "explained": results.tolist()})
        lines.append([name, max(1, X.shape[1] // 4), *(f"{mean:.4f}" for mean in results.mean(axis=0)), f"{share:.2f}"])
        say(*lines[-1])
    say_table(
        ["set", "k", "complete", "ours", "mean filling", "holes: ours", "holes: mean filling", "share of the fall"], lines
    )


def explained(X: np.ndarray, seed: int, epochs: int | str) -> list[float]:
    """Of held-out rows: complete, holed and filled training rows; then the latter two on rows with holes."""
    train, test = train_test_split(X, test_size=0.25, random_state=seed)
    rng = np.random.default_rng(seed)
    holed, holed_test = (np.where(rng.random(part.shape) < 0.3, np.nan, part) for part in (train, test))
    scaler, filler = StandardScaler().fit(train), SimpleImputer().fit(holed)
    model = AutoencoderTransformer(max(1, X.shape[1] // 4), max_iter=epochs, random_state=seed)

    def share(seen: np.ndarray) -> float:
        errors = scaler.transform(test) - scaler.transform(model.reconstruct(seen))
        return 1 - np.square(errors).sum() / np.square(scaler.transform(test)).sum()

    model.fit(train)
    complete = share(test)
    model.fit(holed)
    ours, ours_holed = share(test), share(holed_test)
    model.fit(filler.transform(holed))
    return [complete, ours, share(test), ours_holed, share(filler.transform(holed_test))]


# 4. Size


def wide_frame(n_rows: int, library: str) -> object:
    """Six floats, four integers, four categories, two columns of strings, two booleans and two of datetimes."""
    rng = np.random.default_rng(0)
    columns = {f"float{i}": np.where(rng.random(n_rows) < 0.05, np.nan, rng.normal(size=n_rows)) for i in range(6)}
    columns |= {f"int{i}": rng.integers(0, 1000, n_rows) for i in range(4)}
    columns |= {f"category{i}": pd.Categorical.from_codes(rng.integers(0, 8, n_rows), list("abcdefgh")) for i in range(4)}
    columns |= {f"string{i}": np.array(["red", "green", "blue"], dtype=object)[rng.integers(0, 3, n_rows)] for i in range(2)}
    columns |= {f"bool{i}": rng.random(n_rows) < 0.5 for i in range(2)}
    columns |= {
        f"date{i}": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**8, n_rows), unit="s") for i in range(2)
    }
    frame = pd.DataFrame(columns)
    if library == "pandas":
        return frame
    import polars as pl

    return pl.from_pandas(frame)


def size(names: list[str], args: argparse.Namespace, rows: Rows) -> None:
    lines = []
    n_rows, unit = args.rows, args.rows * 20 * 4
    for library in ("pandas", "polars"):
        frame = wide_frame(n_rows, library)
        schema, seconds = timed(lambda frame=frame: Schema.of(frame))
        tensors, read, into = watched(lambda frame=frame, schema=schema: to_tensor(schema, frame))
        _, wrote, back = watched(lambda schema=schema, tensors=tensors: schema.restore(tensors.numpy()))
        rows.add({"part": "size", "frame": library, "rows": n_rows, "seconds": [seconds, read, wrote], "bytes": [into, back]})
        lines.append(
            [library, f"{seconds:.1f} s", f"{read:.1f} s", f"{into / unit:.1f}", f"{wrote:.1f} s", f"{back / unit:.1f}"]
        )
    say_table(["frame", "schema", "to tensors", "memory", "back", "memory"], lines)
    say(f"{n_rows} x 20. Memory: the most that was held beyond the start, in n x d float32, what is returned included.")


def to_tensor(schema: Schema, frame: object) -> torch.Tensor:
    return torch.from_numpy(schema.cells(frame)).float()


def watched(function: Callable[[], object]) -> tuple[object, float, float]:
    """The result, its seconds, and the most memory that was resident meanwhile, beyond that before."""
    peak, stop = [resident()], threading.Event()

    def watch() -> None:
        while not stop.wait(0.002):
            peak.append(resident())

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    stop.set()
    thread.join()
    return result, seconds, max(peak) - peak[0]


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


PARTS = {"round_trip": round_trip, "hidden": hidden_cells, "holes": holes, "size": size}


def main() -> None:
    options = parser(__doc__, sets="adult", seeds=1, epochs=1, rows=1000)
    data.add_options(options, sets=False)
    add_epochs(options)
    options.add_argument("--sets", metavar="A,B", help=f"some of {', '.join(data.TARGETS)}; default all")
    options.add_argument("--only", choices=PARTS, help="one of the parts")
    options.add_argument("--estimator", choices=ESTIMATORS, default="vae", help="for hidden cells; default vae")
    options.add_argument(
        "--standardize", choices=("auto", "robust", "quantile"), default="auto", help="for hidden cells; default auto"
    )
    options.add_argument("--seeds", type=int, default=3, metavar="N", help="of the holes; default 3")
    options.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="of the large frame; default 1000000")
    args = options.parse_args()
    begin(args)
    warnings.filterwarnings("ignore", category=UserWarning, message=".*rare")
    parts = [args.only] if args.only else list(PARTS)
    names = args.sets.split(",") if args.sets else list(data.TARGETS)
    if args.data is None and parts != ["size"]:
        raise SystemExit(
            "These frames do not come with scikit-learn; --data or SKVAE_DATA must name the folder above tabular/."
        )
    rows = Rows(args.json)
    for part in parts:
        say(f"\n{part.replace('_', ' ')}\n")
        PARTS[part](names, args, rows)


if __name__ == "__main__":
    main()
