"""Tables that memory does not hold: what fits and scores cost in time and in memory, and whether they are as good.

Protocol: every fit runs in a process of its own, which reports CPU seconds, peak anonymous memory (RssAnon; pages of files that
are mapped do not count) and how good the model is on 20,000 further rows: nats per row, minus the mean of ``score_samples``,
and the squared error of a cell. "above" is the peak without what the process took after its imports and a tiny fit. "streamed"
is with ``working_memory=0``, "in memory" with a limit that no table reaches, on an array that was read before. All models have
8 components and default parameters. PCA's nats are left out: they are those of the row, not of the row given its code.

The made table is a random network of two layers from 8 factors to its columns, with noise, in float32.

* rows: the made table with 50 columns and 1e4 to 1e7 rows, beside PCA of an array and IncrementalPCA of batches of a file.
  At 1e6 rows several seeds, streamed and in memory by turns.
* files: the made table with 1e7 rows and 100 columns, 4 GB, as a .npy that is mapped and as parquet in 50 groups of rows,
  beside such files of 1e5 rows. Scores are written into a file.
* order: 1e6 rows of the made table sorted by their first principal component, beside the same rows as they came; and counts of
  1000 words as a sparse matrix, of which about 1 % are not 0.
* frames: mixed frames as parquet in groups of 10,000 rows, streamed and as a table of Arrow. Scored on a random 25 %.
* curve: the made table and 8 x 8 patches of MNIST with 2e4 to 2e6 rows, beside PCA. Patches of test images judge.

Tables are written to a temporary folder in ``--scratch``, up to 11 GB, which is removed in the end. ``--share 0.1`` takes a
tenth of all numbers of rows. With ``--json`` a run that was interrupted goes on where it stopped.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import sparse
from sklearn import config_context

import apart
import data
import large
from large import File
from report import Row, Rows, add_epochs, asked_for, begin, parser, say, say_table
from skvae import AutoencoderTransformer

COMPONENTS = 8
TEST_ROWS = 20_000
LEAST = 400  # rows, however small the share
SIZES, BY_TURNS = (10_000, 100_000, 1_000_000, 10_000_000), 1_000_000
FILE_SIZES = (100_000, 10_000_000)
CURVE, MANY_SEEDS, SEEDS_OF_CURVE = (20_000, 60_000, 200_000, 600_000, 2_000_000), 200_000, 3
FRAMES, GROUP = ("adult", "credit_default"), 10_000
SMALL_SPARSE = (5000, 30)
LEAST_SHOWN = 100  # MB
COLOURS = {"streamed": "#0072B2", "in memory": "#E69F00", "PCA": "#009E73", "IncrementalPCA": "#CC79A7"}


@dataclass(frozen=True)
class Bench:
    """What all parts need."""

    args: argparse.Namespace
    store: Rows
    folder: Path

    def n(self, size: int) -> int:
        return max(LEAST, round(size * self.args.share))

    def seeds(self, most: int) -> range:
        return range(min(most, self.args.seeds))

    def fit(self, name: str, file: File, test: File, method: str, n: int | None = None, **more: Any) -> Row:
        """Measure a fit to the first rows of a file, None for all."""
        key = {"table": name, "n": n, "method": method, "seed": 0, "to_file": False, "epochs": self.args.epochs} | more
        row = self.store.once(lambda: self._measured(file, test, key), **key)
        say(f"{name:16s} n={n or 'all'} {method}, seed {row['seed']}: {in_words(row)}")
        for message in row["warned"]:
            say(f"    warned: {message}")
        return row

    def _measured(self, file: File, test: File, key: Row) -> Row:
        out = str(self.folder / "scores.npy") if key["to_file"] else None
        paths = {"table": str(file.within(self.folder)), "test": str(test.within(self.folder)), "out": out}
        job = {**key, **paths, "components": COMPONENTS}
        return apart.measure(job) if self.args.here else apart.apart(job, self.args.threads)

    def made(self, n_rows: int, n_columns: int = 50) -> tuple[File, File]:
        return large.made(n_rows, n_columns, 0), large.made(self.n(TEST_ROWS), n_columns, 1)


def in_words(row: Row) -> str:
    steps = f"{row['steps']} steps, {row['n_iter']} epochs, best {row['best_iter']}, " if "n_iter" in row else ""
    fit = f"fit {row['fit_cpu']:.1f} s of CPU, {row['fit_wall']:.1f} s, {row['fit_peak']:.0f} MB"
    scoring = f"scores {row['score_cpu']:.1f} s, {row['score_peak']:.0f} MB"
    return f"{steps}{fit}; {scoring}; held out {nats(row)} nats, error {error(row)}"


def nats(row: Row) -> str:
    return "" if row["loss"] is None else f"{row['loss']:.4f}"


def error(row: Row) -> str:
    return "" if row["error"] is None else f"{row['error']:.5f}"


def values(rows: Iterable[Row], what: str) -> list[float]:
    return [row[what] for row in rows if row[what] is not None]


def median(rows: Iterable[Row], what: str) -> float:
    return float(np.median(values(rows, what)))


def spread(rows: list[Row], what: str, digits: int) -> str:
    """The mean, and from where to where values of several seeds reach."""
    numbers = values(rows, what)
    if not numbers:
        return ""
    ends = f" ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})" if len(numbers) > 1 else ""
    return f"{np.mean(numbers):.{digits}f}{ends}"


def above(rows: list[Row], what: str) -> str:
    """The most memory, and how much of it the process did not have before."""
    return f"{max(values(rows, what)):.0f} (+{max(row[what] - row['warm'] for row in rows):.0f})"


def by(rows: list[Row], *names: str) -> dict[tuple, list[Row]]:
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


COSTS = (
    "steps",
    "fit, CPU s",
    "µs a step",
    "fit, peak MB (above)",
    "scores, CPU s",
    "scores, peak MB (above)",
    "held out, nats",
    "error",
)


def costs(rows: list[Row]) -> list[str]:
    """Cells of one line of a table, medians over seeds."""
    steps, cpu = median(rows, "steps"), median(rows, "fit_cpu")
    per_step = f"{1e6 * cpu / steps:.0f}" if steps else ""
    scores = [f"{median(rows, 'score_cpu'):.2f}", above(rows, "score_peak")]
    if rows[0]["method"] == "IncrementalPCA":
        scores = ["", ""]
    quality = [spread(rows, "loss", 4), spread(rows, "error", 5)]
    return [f"{steps:.0f}" if steps else "", f"{cpu:.2f}", per_step, above(rows, "fit_peak"), *scores, *quality]


def compare_rows(bench: Bench) -> None:
    """Tables of more and more rows."""
    sizes = [bench.n(size) for size in SIZES if size <= bench.args.most_rows]
    table, test = bench.made(max(sizes))
    rows = []
    for n in sorted(set(sizes)):
        for seed in bench.seeds(bench.args.seeds if n == bench.n(BY_TURNS) else 1):
            rows += [bench.fit("made", table, test, method, n, seed=seed) for method in ("in memory", "streamed")]
        rows += [bench.fit("made", table, test, method, n) for method in ("PCA", "IncrementalPCA")]
    lines = [[f"{n:,}", method, len(some), *costs(some)] for (n, method), some in by(rows, "n", "method").items()]
    say_table(["rows", "method", "fits", *COSTS], lines)
    say_ratio(rows, bench.n(BY_TURNS))
    if bench.args.figure:
        draw(rows, bench.args.figure)


def say_ratio(rows: list[Row], n: int) -> None:
    """The seconds of streaming over those in memory, of pairs of fits of the same seed."""
    pairs: dict[int, dict[str, Row]] = {}
    for row in rows:
        if row["n"] == n and row["method"] in apart.WORKING_MEMORY:
            pairs.setdefault(row["seed"], {})[row["method"]] = row
    for what in ("fit_cpu", "score_cpu", "steps", "n_iter"):
        ratios = [pair["streamed"][what] / max(pair["in memory"][what], 1e-9) for pair in pairs.values()]
        say(f"{what}, streamed over in memory, n={n:,}: median {np.median(ratios):.3f} of {np.round(ratios, 3).tolist()}")


def compare_files(bench: Bench) -> None:
    """A file of 4 GB and a small one, of two kinds."""
    rows = []
    for n in sorted({bench.n(size) for size in FILE_SIZES}):
        table, test = bench.made(n, 100)
        for kind, file in ((".npy", table), (".parquet", large.as_parquet(table))):
            rows.append(bench.fit(f"made 100 {kind}", file, as_kind(test, kind), "streamed", to_file=True, rows=n))
    lines = []
    for row in rows:
        per_row = 1e6 * row["score_cpu"] / row["rows"]
        above_imports = [f"{row[what] - row['imported']:.0f}" for what in ("fit_peak", "score_peak")]
        lines.append([row["table"], f"{row['rows']:,}", *costs([row]), f"{per_row:.2f}", *above_imports])
    say_table(["file", "rows", *COSTS, "scores, µs a row", "fit, MB above imports", "scores, MB above imports"], lines)
    for (kind,), (small, *others) in by(rows, "table").items():
        for big in others:
            of_step, of_row = (big[what] / small[what] for what in ("fit_cpu", "score_cpu"))
            of_step, of_row = of_step * small["steps"] / big["steps"], of_row * small["rows"] / big["rows"]
            say(f"{kind}, large over small: CPU of a step {of_step:.2f}, of a score {of_row:.2f}")


def as_kind(file: File, kind: str) -> File:
    return large.as_parquet(file) if kind == ".parquet" else file


def compare_orders(bench: Bench) -> None:
    """Sorted rows, and sparse ones."""
    n = bench.n(BY_TURNS)
    table, test = bench.made(n)
    rows = []
    rows += [bench.fit("made", table, test, "streamed", n, seed=seed) for seed in bench.seeds(bench.args.seeds)]
    rows += [bench.fit("made, sorted", large.in_order(table), test, "streamed", n, seed=seed) for seed in bench.seeds(2)]
    table, test = (large.words(bench.n(size), 1000, seed) for seed, size in enumerate((BY_TURNS, TEST_ROWS)))
    rows.append(bench.fit("words, sparse", table, test, "streamed", n))
    say_table(["table", "fits", *COSTS], [[name, len(some), *costs(some)] for (name,), some in by(rows, "table").items()])
    same = is_same_as_dense(bench)
    say(f"A sparse table of {SMALL_SPARSE} and its dense copy give the same codes, to the last bit: {same}")


def is_same_as_dense(bench: Bench) -> bool:
    """Whether it makes no difference that a table is sparse."""
    X = sparse.random_array(SMALL_SPARSE, density=0.3, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
    with config_context(working_memory=0):
        models = [AutoencoderTransformer(COMPONENTS, max_iter=bench.args.epochs, random_state=0) for _ in range(2)]
        codes = [model.fit(rows).transform(X.toarray()) for model, rows in zip(models, (X, X.toarray()), strict=True)]
    return np.array_equal(*codes)


def compare_frames(bench: Bench) -> None:
    """Mixed frames, streamed and in memory."""
    rows = []
    for name in FRAMES:
        if not bench.args.data or not (bench.args.data / "tabular" / f"{name}.csv.gz").exists():
            say(f"{name} not found, so left out; --data or SKVAE_DATA names the folder above tabular/.")
            continue
        train, test = large.frame_parts(name, partial(data.frame, name, bench.args.data), GROUP)
        for seed in bench.seeds(bench.args.seeds):
            rows += [bench.fit(name, train, test, method, seed=seed) for method in ("in memory", "streamed")]
    lines = []
    for (name, method), some in by(rows, "table", "method").items():
        schemas = {row["schema"] for row in rows if row["table"] == name}
        epochs = spread(some, "n_iter", 0), spread(some, "best_iter", 0)
        lines.append([name, method, len(some), *costs(some), *epochs, "same" if len(schemas) == 1 else "differs"])
    say_table(["frame", "method", "fits", *COSTS, "epochs", "best", "schema"], lines)


def learning_curve(bench: Bench) -> None:
    """More and more rows of two tables."""
    sizes = sorted({bench.n(size) for size in CURVE if size <= bench.args.most_rows})
    tables = {"made": bench.made(max(sizes)), **patches_of_mnist(bench, max(sizes))}
    rows = []
    for name, (table, test) in tables.items():
        for n in sizes:
            seeds = bench.seeds(SEEDS_OF_CURVE if n <= bench.n(MANY_SEEDS) else 1)
            rows += [bench.fit(name, table, test, "default", n, seed=seed) for seed in seeds]
            rows.append(bench.fit(name, table, test, "PCA", n))
    groups, lines = by(rows, "table", "n", "method"), []
    for (name, n, method), some in groups.items():
        if method != "PCA":
            of_pca = groups[name, n, "PCA"]
            over = f"{np.mean(values(some, 'error')) / of_pca[0]['error']:.4f}"
            steps, cpu, epochs = (median(some, what) for what in ("steps", "fit_cpu", "n_iter"))
            numbers = [spread(some, "loss", 3), spread(some, "error", 5), over]
            lines.append([name, f"{n:,}", len(some), *numbers, spread(of_pca, "error", 5), f"{steps:.0f}"])
            lines[-1] += [f"{epochs:.0f}", f"{cpu:.1f}", f"{of_pca[0]['fit_cpu']:.2f}"]
    headers = ["held out, nats", "error", "error over PCA's", "PCA's error", "steps", "epochs", "CPU s", "PCA's"]
    say_table(["table", "rows", "fits", *headers], lines)


def patches_of_mnist(bench: Bench, n: int) -> dict[str, tuple[File, File]]:
    """Patches of training images, and of test images; none without MNIST."""
    if not bench.args.data or not (bench.args.data / "tabular" / "mnist.npz").exists():
        say("mnist not found, so left out; --data or SKVAE_DATA names the folder above tabular/.")
        return {}
    train, test = (images.reshape(-1, 28, 28) for images in data.mnist(bench.args.data)[:2])
    return {"patches": (large.patches(train, n, "train"), large.patches(test, bench.n(TEST_ROWS), "test"))}


def draw(rows: list[Row], path: Path) -> None:
    """CPU seconds and peak memory of fits against the number of rows, one line per method."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    for ax, what, label in ((seconds, "fit_cpu", "CPU seconds of the fit"), (memory, "fit_peak", "peak memory of the fit, MB")):
        for method, colour in COLOURS.items():
            points = {n: median(some, what) for (n, name), some in by(rows, "n", "method").items() if name == method}
            ax.plot(list(points), list(points.values()), "o-", color=colour, label=method, markersize=5)
        ax.set(xscale="log", yscale="log", xlabel="rows of 50 columns", ylabel=label)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    n = np.array(sorted({row["n"] for row in rows}))
    memory.plot(n, n * 50 * 4 / apart.MB, "--", color="0.5", linewidth=1, label="the table itself")
    memory.set_ylim(bottom=LEAST_SHOWN)
    memory.legend(frameon=False)
    figure.savefig(path, dpi=150)


PARTS: dict[str, Callable[[Bench], None]] = {
    "rows": compare_rows,
    "files": compare_files,
    "order": compare_orders,
    "frames": compare_frames,
    "curve": learning_curve,
}


def main() -> None:
    options = parser(__doc__, share=1e-4, seeds=1, epochs=1, here=True)
    data.add_options(options, sets=False)
    add_epochs(options)
    options.add_argument("--parts", metavar="A,B", help=f"some of {', '.join(PARTS)}")
    options.add_argument("--share", type=float, default=1.0, metavar="S", help="of all numbers of rows; default 1")
    options.add_argument("--most-rows", type=float, default=1e7, metavar="N", help="of rows and curve; default 1e7")
    options.add_argument("--seeds", type=int, default=5, metavar="N", help="most fits of one kind; default 5")
    options.add_argument("--scratch", type=Path, metavar="DIR", help="where tables are written; default the system's")
    options.add_argument("--here", action="store_true", help="fit in this process, whose memory then counts")
    options.add_argument("--figure", type=Path, metavar="FILE.png", help="draw seconds and memory against rows")
    args = options.parse_args()
    begin(args)
    with tempfile.TemporaryDirectory(prefix="skvae-scale-", dir=args.scratch) as folder:
        bench = Bench(args, Rows(args.json), Path(folder))
        for part in asked_for(args, "parts", PARTS):
            say(f"{part}\n")
            PARTS[part](bench)


if __name__ == "__main__":
    main()
