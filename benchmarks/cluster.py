"""Fits by the workers of a Dask cluster: rows per second, held-out error, and the memory of the client.

Protocol: clusters of one and of two worker processes of one thread each on this machine, and for comparison this process with
one thread. The rows of a made table lie on the workers before the clock starts. A fit of 1 epoch and one of ``--epochs`` are
timed by turns, ``--repeats`` times each; rows per second are those of the further epochs, by the medians, so that starting,
statistics and PCA do not count. CPU seconds are those of the workers. No rows are held out while training; the error is the
squared one on further rows over PCA's, after ``--epochs`` whatever the batch, so that larger batches make fewer steps.

``--parts speed`` varies the network and the batch. ``--parts memory`` makes tables of more and more rows on the workers, fits
an epoch to each, and prints by how much the peak of this process's memory has grown.

Two ranks help as far as the machine has two free cores: run it on a quiet one.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import torch
from distributed import Client, LocalCluster, wait
from sklearn.decomposition import PCA

from apart import Watch
from large import made
from report import Row, Rows, asked_for, begin, parser, say, say_table, timed
from skvae import AutoencoderTransformer
from skvae.dask import DaskAutoencoderTransformer

COMPONENTS = 8
NETWORKS = {"128": (128,), "512-256": (512, 256)}
SIZES = (10_000, 100_000, 1_000_000, 4_000_000)  # rows of tables whose fits the client's memory is measured for
PER_CHUNK = 50_000
N_TEST = 20_000


@contextmanager
def cluster(n_workers: int, args: argparse.Namespace) -> Iterator[Client]:
    options = {"threads_per_worker": 1, "processes": not args.here, "dashboard_address": ":0"}
    with LocalCluster(n_workers=n_workers, **options) as workers, Client(workers) as client:
        yield client


def model(cls: type, network: str, batch_size: int, epochs: int, **params: Any) -> Any:
    widths = {"hidden_layer_sizes": NETWORKS[network], "batch_size": batch_size}
    return cls(COMPONENTS, max_iter=epochs, early_stopping=False, random_state=0, **widths, **params)


def fitting(client: Client | None, X: np.ndarray) -> tuple[Any, Any, Callable[[], float]]:
    """A class of estimators, the rows as they take them, and a clock of the CPU time of those who fit."""
    if client is None:
        return AutoencoderTransformer, X, time.process_time
    collection = client.persist(da.from_array(X, chunks=(-(-len(X) // (2 * len(client.nthreads()))), -1)))
    wait(collection)
    return partial(DaskAutoencoderTransformer, client=client), collection, lambda: sum(client.run(time.process_time).values())


def measure(client: Client | None, X: np.ndarray, test: np.ndarray, network: str, batch: int, epochs: int, repeats: int) -> Row:
    cls, rows, clock = fitting(client, X)
    seconds: dict[int, list[float]] = {1: [], epochs: []}
    cpu: dict[int, list[float]] = {1: [], epochs: []}
    fitted: Any = None
    for _ in range(repeats):
        for n_epochs in seconds:
            before = clock()
            fitted, passed = timed(partial(model(cls, network, batch, n_epochs).fit, rows))
            cpu[n_epochs].append(clock() - before)
            seconds[n_epochs].append(passed)
    further = (epochs - 1) * len(X)
    wall, work = (statistics.median(each[epochs]) - statistics.median(each[1]) for each in (seconds, cpu))
    error = float(np.mean((fitted.reconstruct(test) - test) ** 2, dtype=np.float64))
    return {"rows_per_second": further / wall, "cpu_per_million": 1e6 * work / further, "error": error}


def speed(args: argparse.Namespace, rows: Rows) -> None:
    with tempfile.TemporaryDirectory(prefix="skvae-cluster-") as folder:
        X, test = (np.load(made(n, args.columns, seed).within(Path(folder))) for n, seed in ((args.rows, 0), (N_TEST, 1)))
    pca = PCA(COMPONENTS).fit(X)
    of_pca = float(np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2, dtype=np.float64))
    table = []
    with ExitStack() as held:
        clients = [None, *(held.enter_context(cluster(n, args)) for n in (1, 2))]
        for network in asked_for(args, "networks", NETWORKS):
            for batch in map(int, args.batches.split(",")):
                found = []
                for n_ranks, client in enumerate(clients):
                    key = {"part": "speed", "network": network, "batch": batch, "ranks": n_ranks, "epochs": args.epochs}
                    by = partial(measure, client, X, test, network, batch, args.epochs, args.repeats)
                    found.append(rows.once(by, rows=len(X), columns=args.columns, **key))
                    say(key | {name: found[-1][name] for name in ("rows_per_second", "cpu_per_million", "error")})
                alone, one, two = (row["rows_per_second"] for row in found)
                costs = [f"{row['cpu_per_million']:.1f}" for row in found]
                errors = [f"{row['error'] / of_pca:.3f}" for row in found]
                table.append(
                    (network, batch, f"{alone:,.0f}", f"{one:,.0f}", f"{two:,.0f}", f"{two / one:.2f}", *costs, *errors)
                )
    contenders = ("no cluster", "1 rank", "2 ranks")
    of_each = (*(f"rows/s, {name}" for name in contenders), "2 over 1", *(f"CPU s per 1e6, {name}" for name in contenders))
    say_table(("network", "batch", *of_each, *(f"error over PCA's, {name}" for name in contenders)), table)


def of_client(client: Client, n_rows: int, n_columns: int) -> Row:
    X = da.random.default_rng(0).normal(size=(n_rows, n_columns), chunks=(PER_CHUNK, -1))
    estimator = DaskAutoencoderTransformer(COMPONENTS, client=client, max_iter=1, batch_size=8192, random_state=0)
    with Watch() as watch:
        before = watch.peak
        scores = estimator.fit(X).score_samples(X).mean().compute()
    return {"grown": watch.peak - before, "wall": watch.wall, "score": float(scores)}


def memory(args: argparse.Namespace, rows: Rows) -> None:
    table = []
    with cluster(2, args) as client:
        of_client(client, 2000, args.columns)  # what a process does once
        for n_rows in SIZES[: args.sizes]:
            row = rows.once(partial(of_client, client, n_rows, args.columns), part="memory", rows=n_rows, columns=args.columns)
            table.append((f"{n_rows:,}", f"{row['grown']:.0f}", f"{row['wall']:.1f}"))
            say(table[-1])
    say_table(("rows", "MB more in the client", "seconds"), table)


PARTS = {"speed": speed, "memory": memory}


def main() -> None:
    options = parser(__doc__, rows=2000, batches="512", networks="128", epochs=2, repeats=1, sizes=1, columns=10, here=True)
    options.add_argument("--here", action="store_true", help="let threads of this process be the workers, which make one rank")
    options.add_argument("--parts", metavar="NAMES", help=f"of {', '.join(PARTS)}, separated by commas")
    options.add_argument("--networks", metavar="NAMES", help=f"of {', '.join(NETWORKS)}, separated by commas")
    options.add_argument("--batches", metavar="N", default="128,512,1024,2048,8192", help="rows of all ranks together")
    for name, default in (("rows", 1 << 17), ("columns", 50), ("epochs", 3), ("repeats", 3), ("sizes", len(SIZES))):
        options.add_argument(f"--{name}", type=int, default=default, metavar="N")
    args = options.parse_args()
    begin(args)
    torch.set_num_threads(1)
    rows = Rows(args.json)
    warnings.simplefilter("ignore")
    for part in asked_for(args, "parts", PARTS):
        PARTS[part](args, rows)


if __name__ == "__main__":
    main()
