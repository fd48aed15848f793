"""One fit in a process of its own: the seconds and the memory it takes, and how good it is.

    python benchmarks/apart.py '{"table": "X.npy", "test": "more.npy", "n": 1000, "method": "streamed", "seed": 0, ...}'

prints what ``measure`` returns as JSON. Memory is the anonymous one, RssAnon of Linux: pages of files that are mapped do not
count, because the system drops them where it needs the space.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.decomposition import PCA, IncrementalPCA

from report import Row
from skvae import AutoencoderTransformer
from skvae.core.batches import Batches, StreamedBatches

INTERVAL = 0.004  # seconds between two looks at the memory
WORKING_MEMORY = {"in memory": 1 << 20, "streamed": 0}  # MiB; else what it is by default
BATCH_OF_INCREMENTAL = 10_000
MB = 2**20


def anonymous() -> float:
    """MB of anonymous memory of this process; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


class Watch:
    """The cost of a block of code: CPU seconds, without those of watching, seconds that pass, and the peak of memory in MB."""

    def __enter__(self) -> "Watch":
        self.peak, self.watching, self.ended = anonymous(), 0.0, threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        self.thread.start()
        return self

    def _look(self) -> None:
        while not self.ended.wait(INTERVAL):
            self.peak = max(self.peak, anonymous())
            self.watching = time.thread_time()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        self.cpu = time.process_time() - self.cpu - self.watching
        self.wall = time.perf_counter() - self.wall

    def costs(self, name: str) -> Row:
        return {f"{name}_cpu": self.cpu, f"{name}_wall": self.wall, f"{name}_peak": self.peak}


def table(path: str, n: int | None, in_memory: bool) -> Any:
    """A file as what estimators take: an array, a sparse matrix, a dataset of Arrow or a table of it."""
    if path.endswith(".npz"):
        return sparse.load_npz(path)[:n]
    if path.endswith(".parquet"):
        import pyarrow.dataset

        dataset = pyarrow.dataset.dataset(path)
        return dataset.to_table() if in_memory else dataset
    X = np.load(path, mmap_mode="r")[:n]
    return np.array(X) if in_memory else X


def fitted(job: Row, X: Any) -> Any:
    if job["method"] == "PCA":
        return PCA(job["components"]).fit(X)
    if job["method"] == "IncrementalPCA":
        model = IncrementalPCA(job["components"])
        for start in range(0, len(X), BATCH_OF_INCREMENTAL):
            model.partial_fit(X[start : start + BATCH_OF_INCREMENTAL])
        return model
    return AutoencoderTransformer(job["components"], max_iter=job["epochs"], random_state=job["seed"]).fit(X)


def score(job: Row, model: Any, X: Any) -> None:
    """Score all rows of training, into a file where the job names one; IncrementalPCA has no scores."""
    if job["method"] == "IncrementalPCA":
        return
    if not job["out"]:
        scores = model.score_samples(X)
        for _ in scores if isinstance(scores, Iterator) else ():  # of a dataset they are made when they are asked for
            pass
        return
    n_rows = X.count_rows() if hasattr(X, "count_rows") else X.shape[0]
    model.score_samples(X, out=np.lib.format.open_memmap(job["out"], "w+", np.float64, (n_rows,)))


def held_out(job: Row, model: Any) -> Row:
    """Nats per row given its code, and of arrays squared errors per cell, on rows that no fit saw."""
    X = table(job["test"], None, in_memory=True)
    X = X.toarray() if sparse.issparse(X) else X
    loss = None if "PCA" in job["method"] else -float(np.mean(model.score_samples(X)))
    if not isinstance(X, np.ndarray):
        return {"loss": loss, "error": None}
    again = model.reconstruct(X) if hasattr(model, "reconstruct") else model.inverse_transform(model.transform(X))
    return {"loss": loss, "error": float(np.mean((again - X) ** 2, dtype=np.float64))}


def training(model: Any) -> Row:
    """How the training went; empty for models that have none."""
    if not hasattr(model, "n_iter_"):
        return {}
    scores = model.validation_scores_
    schema = hashlib.sha256(repr(model.schema_).encode()).hexdigest()
    best = {"best_iter": model.best_iter_, "validation": scores[model.best_iter_] if scores else None}
    return {"n_iter": model.n_iter_, **best, "schema": schema}


@contextmanager
def steps_counted() -> Iterator[list[int]]:
    """The number of steps of trainings, in a list of one."""
    count = [0]

    def counting(load: Any) -> Any:
        def counted(self: Any, i: int) -> None:
            count[0] += 1
            load(self, i)

        return counted

    with ExitStack() as patches:
        for batches in (Batches, StreamedBatches):
            patches.enter_context(patch.object(batches, "load", counting(batches.load)))
        yield count


def warm_up(method: str) -> None:
    """What a process does once only."""
    noise = np.random.default_rng(0).normal(size=(300, 50)).astype(np.float32)
    if "PCA" in method:
        PCA(2).fit(noise)
    else:
        AutoencoderTransformer(2, max_iter=1, random_state=0).fit(noise).score_samples(noise)


def measure(job: Row) -> Row:
    """Fit and score a table as a job says.

    Parameters
    ----------
    job : dict
        table, test: paths; n: rows of the table to take, None for all; method; components, epochs, seed; out: a path for the
        scores or None.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if job["table"].endswith(".parquet"):
            import pyarrow.dataset  # noqa: F401
        memory = {"imported": anonymous()}
        warm_up(job["method"])
        memory["warm"] = anonymous()
    options = {"working_memory": WORKING_MEMORY[job["method"]]} if job["method"] in WORKING_MEMORY else {}
    X = table(job["table"], job["n"], job["method"] in ("in memory", "PCA"))
    with warnings.catch_warnings(record=True) as caught, steps_counted() as steps, config_context(**options):
        warnings.simplefilter("always")
        with Watch() as fit:
            model = fitted(job, X)
        memory["kept"] = anonymous()
        with Watch() as scoring:
            score(job, model, X)
    warned = sorted({str(warning.message)[:400] for warning in caught})
    costs = {**memory, **fit.costs("fit"), **scoring.costs("score"), "steps": steps[0], "warned": warned}
    return costs | training(model) | held_out(job, model)


def apart(job: Row, threads: int | None) -> Row:
    """What ``measure`` returns in a fresh process."""
    environment = dict(os.environ) if threads is None else os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, json.dumps(job)]
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
