"""ONNX models beside the estimators that they were exported from: how far apart, how fast, how long to export.

Estimators are fitted to half of a table and asked about the other half, as it is and with a tenth of its cells missing, in
batches of 1, 64 and all rows. Errors are the largest of all cells: of codes and scores in standard deviations of the
estimator's answer, of reconstructed cells in those of the table's column. Labels are compared as they are. Seconds are wall
seconds; those of an answer are the least of three, for the rows as they are, scaled to 1000 rows.

    python benchmarks/export.py --threads 1
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from report import Rows, asked_for, begin, parser, say_table
from skvae import AEAnomalyDetector, AutoencoderTransformer, DiffusionNoise, VAETransformer, to_onnx

BATCHES = (1, 64, 1 << 20)
TRANSFORMER = ("transform", "reconstruct", "score_samples")
DETECTOR = ("score_samples", "predict")
CANCER, WINE = load_breast_cancer().data, load_wine().data
DIGITS = load_digits().data[:600, 1:]


def mixed() -> pd.DataFrame:
    """Wine's columns, of which some are cut into levels."""
    frame = load_wine(as_frame=True).data.iloc[:, :6]
    for name, levels in (("ash", ["low", "high"]), ("magnesium", ["a", "b", "c", "d"])):
        frame[name] = pd.qcut(frame[name], len(levels), labels=levels).astype(object)
    return frame.assign(strong=frame["alcohol"] > 13)


def holed(table: Any) -> Any:
    holes = np.random.default_rng(0).random(table.shape) < 0.1
    if isinstance(table, np.ndarray):
        return np.where(holes, np.nan, table)
    return table.astype({"strong": "boolean"}).mask(holes)


SETTINGS: dict[str, tuple[Callable[[int | str], Any], Any]] = {
    "default": (lambda n: AutoencoderTransformer(5, max_iter=n, random_state=0), CANCER),
    "fitted with holes": (lambda n: AutoencoderTransformer(5, max_iter=n, random_state=0), holed(CANCER)),
    "PCA": (lambda n: AutoencoderTransformer(5, hidden_layer_sizes=(), standardize=False), CANCER),
    "deep": (lambda n: AutoencoderTransformer(8, hidden_layer_sizes=(256, 64), max_iter=n, random_state=0), DIGITS),
    "robust": (lambda n: AutoencoderTransformer(5, standardize="robust", max_iter=n, random_state=0), CANCER),
    "quantile": (lambda n: AutoencoderTransformer(5, standardize="quantile", max_iter=n, random_state=0), CANCER),
    "bernoulli": (lambda n: AutoencoderTransformer(8, likelihood="bernoulli", max_iter=n, random_state=0), DIGITS / 16),
    "k-sparse": (lambda n: AutoencoderTransformer(40, n_nonzero_coefs=5, max_iter=n, random_state=0), DIGITS),
    "DiffusionNoise": (lambda n: AutoencoderTransformer(5, corruption=DiffusionNoise(), max_iter=n, random_state=0), WINE),
    "VAE": (lambda n: VAETransformer(5, max_iter=n, random_state=0), CANCER),
    "frame": (lambda n: AutoencoderTransformer(3, max_iter=n, random_state=0), mixed()),
    "detector": (lambda n: AEAnomalyDetector(max_iter=n, random_state=0), CANCER),
    "detector of a frame": (lambda n: AEAnomalyDetector(max_iter=n, random_state=0), mixed()),
}


def feeds(table: Any) -> dict[str, np.ndarray]:
    """The inputs of a model."""
    if isinstance(table, np.ndarray):
        return {"X": table.astype(np.float64)}
    return {name: _cells(column)[:, None] for name, column in table.items()}


def _cells(column: pd.Series) -> np.ndarray:
    if column.dtype == object:
        return column.where(column.notna(), "").to_numpy(dtype=object)
    return column.astype("Float64").to_numpy(np.float64, na_value=np.nan)


def distance(found: list[np.ndarray], expected: list[np.ndarray], like: list[np.ndarray]) -> float:
    """The largest difference, in standard deviations of what they are like; infinite where text or labels differ."""
    worst = 0.0
    for x, y, z in zip(found, expected, like, strict=True):
        if y.dtype.kind in "Oi":
            worst = max(worst, 0.0 if (x == y).all() else np.inf)
            continue
        deviation = np.nanstd(z, axis=0)
        worst = max(worst, float(np.nanmax(np.abs(x - y) / np.where(deviation > 0, deviation, 1.0))))
    return worst


def least_seconds(function: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(estimator: Any, method: str, rows: Any) -> dict[str, Any]:
    """Errors and seconds of a method."""
    import onnxruntime

    start = time.perf_counter()
    content = to_onnx(estimator, method).SerializeToString()
    exported = time.perf_counter() - start
    session, worst = onnxruntime.InferenceSession(content), 0.0
    for table in (rows, holed(rows)):
        answer = getattr(estimator, method)(table)
        answer = list(feeds(answer).values()) if isinstance(answer, pd.DataFrame) else [answer.reshape(len(table), -1)]
        given = feeds(table)
        like = list(given.values()) if method == "reconstruct" else answer
        for size in BATCHES:
            parts = [session.run(None, {k: v[i : i + size] for k, v in given.items()}) for i in range(0, len(table), size)]
            worst = max(worst, distance([np.concatenate(some) for some in zip(*parts, strict=True)], answer, like))
    given, per_row = feeds(rows), 1e6 / len(rows)
    return {
        "error": worst,
        "export": exported,
        "onnxruntime": least_seconds(lambda: session.run(None, given)) * per_row,
        "skvae": least_seconds(lambda: getattr(estimator, method)(rows)) * per_row,
    }


def main() -> None:
    options = parser(__doc__, epochs=2, settings="default,frame,detector")
    options.add_argument("--epochs", type=int, default=50, metavar="N", help="of training; default 50")
    options.add_argument("--settings", metavar="A,B", help="default all")
    args = options.parse_args()
    begin(args)
    rows, lines = Rows(args.json), []
    for name in asked_for(args, "settings", SETTINGS):
        build, table = SETTINGS[name]
        order = np.random.default_rng(0).permutation(len(table))
        train, new = (table[some] if isinstance(table, np.ndarray) else table.iloc[some] for some in np.array_split(order, 2))
        estimator = build(args.epochs).fit(train)
        for method in DETECTOR if isinstance(estimator, AEAnomalyDetector) else TRANSFORMER:
            row = rows.add({"setting": name, "method": method, **measure(estimator, method, new)})
            times = (f"{row[what]:.0f}" for what in ("onnxruntime", "skvae"))
            lines.append([name, method, f"{row['error']:.1e}", f"{row['export']:.3f}", *times])
    say_table(["setting", "method", "largest error, std", "export, s", "onnxruntime, ms", "skvae, ms"], lines)


if __name__ == "__main__":
    main()
