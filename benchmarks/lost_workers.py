"""Fits on a Dask cluster whose workers are killed or frozen: whether each ends, and what it leaves.

Protocol: a cluster of two workers, of one thread each. In every round an estimator that has been fitted is fitted again, and at
a random moment a worker is taken away. A fit must end within ``--timeout`` and 30 seconds, with a result or with an error that
says what to do. After an error the estimator must be what it was, to the last bit, and a further fit, at once, must work within
the same time. What takes longer is a hang: it is counted, the stacks of all processes are dumped, and the next round gets a new
cluster.

* one, all: one worker or all are killed during the training.
* start: one is killed between the end of reading and the first epoch, so before or while the workers meet.
* reading: one is killed before, while partitions are read and summed up.
* frozen, frozen-start: one is stopped during the training or before it. After the error it goes on, is killed, or is restarted
  as the message says.
* interrupted: Ctrl-C in the client during the training; no worker is lost.
* scoring: one is killed while scores are computed. They must be those of one machine to the last bit.

Workers have nannies, which replace those that are killed. With ``--alone`` they have none: the further fit is by those that are
left, and each round begins with new workers.
"""

import argparse
import ctypes
import faulthandler
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import dask
import dask.array
import numpy as np
from dask.delayed import delayed
from distributed import Client, LocalCluster
from tqdm.auto import tqdm

from report import Row, Rows, asked_for, begin, parser, say, say_table
from skvae._dask import cluster, fits, ranks
from skvae.dask import DaskAutoencoderTransformer

KINDS = ("one", "all", "start", "reading", "frozen", "frozen-start", "interrupted", "scoring")
BEFORE = {"start": ("read", "begun"), "frozen-start": ("read", "begun"), "reading": ("called", "read")}
N_WORKERS = 2
GRACE = 30  # seconds over the timeout
PARTITIONS, ROWS, COLUMNS = 8, 600, 10
DUMP = "import faulthandler, signal; faulthandler.register(signal.SIGUSR1)"


class Hung(Exception):  # noqa: N818, it is no error of the script
    """A call that did not come back."""


def limited(function: Callable[[], Any], seconds: float) -> Any:
    """What a call gives, or raises, within some seconds."""
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(caught(function)), daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise Hung
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def caught(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return function(), None
    except BaseException as error:
        return None, error


class WithNannies:
    """Workers that are replaced when they are lost."""

    def __init__(self) -> None:
        self.cluster = LocalCluster(
            n_workers=N_WORKERS, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        )
        self.client = Client(self.cluster)

    @property
    def pids(self) -> dict[str, int]:
        return {nanny.worker_address: nanny.pid for nanny in self.cluster.workers.values() if nanny.pid}

    def heal(self) -> None:
        self.client.wait_for_workers(N_WORKERS, timeout=GRACE)

    def close(self) -> None:
        self.client.close(timeout=5)
        self.cluster.close(timeout=10)


class Alone:
    """Workers that are lost for good."""

    def __init__(self) -> None:
        self.cluster = LocalCluster(n_workers=0, processes=True, dashboard_address=":0")
        self.client = Client(self.cluster)
        self.processes: list[subprocess.Popen] = []
        self.heal()

    @property
    def pids(self) -> dict[str, int]:
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        return {address: int(info["name"]) for address, info in workers.items()}

    def heal(self) -> None:
        self.processes = [process for process in self.processes if process.poll() is None]
        for _ in range(N_WORKERS - len(self.processes)):
            self.processes.append(subprocess.Popen(self.command, stderr=subprocess.DEVNULL))
        self.client.wait_for_workers(N_WORKERS, timeout=GRACE)

    @property
    def command(self) -> list[str]:
        shell = f"{sys.executable} -m distributed.cli.dask_worker {self.client.scheduler.address} --no-nanny --nthreads 1"
        options = f"--no-dashboard --memory-limit 0 --name $$ --preload '{DUMP}'"
        return ["/bin/sh", "-c", f"exec {shell} {options}"]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        self.client.close(timeout=5)
        self.cluster.close(timeout=10)


class Hidden(tqdm):
    """A bar that nobody sees."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"disable": True})


@dataclass
class Moments:
    """When the phases of a fit begin, by this process's clock."""

    called: threading.Event = field(default_factory=threading.Event)
    read: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    at: dict[str, float] = field(default_factory=dict)
    epoch: float = 0

    def say(self, name: str) -> None:
        self.at.setdefault(name, time.monotonic())
        getattr(self, name).set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notice them in a fit that tells of its progress."""
        moments = self

        class Bar(Hidden):
            def update(self, n: float | None = 1) -> bool | None:
                moments.epoch = n or 0
                moments.say("begun")
                return False

        def together(*args: Any) -> Any:
            moments.say("read")
            return ranks.train_together(*args)

        hidden = patch.object(cluster, "tqdm", Hidden)
        with hidden, patch.object(ranks, "tqdm", Bar), patch.object(fits, "train_together", together):
            self.say("called")
            yield


def slowly(rows: np.ndarray, seconds: float) -> np.ndarray:
    time.sleep(seconds)
    return rows


def table(seconds: float) -> tuple[np.ndarray, Any]:
    """Rows in memory, and as a collection each partition of which takes some time to load."""
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(PARTITIONS * ROWS, 3)) @ rng.normal(size=(3, COLUMNS))) + 0.1 * rng.normal(
        size=(PARTITIONS * ROWS, COLUMNS)
    )
    parts = [delayed(slowly, pure=True)(part, seconds) for part in np.split(X, PARTITIONS)]
    return X, dask.array.concatenate([dask.array.from_delayed(part, (ROWS, COLUMNS), float) for part in parts])


def bits(model: Any, X: np.ndarray) -> dict[str, Any]:
    """All that makes an estimator: its very attributes, and what it computes."""
    scores = model.to_local().score_samples(X[:100]).tobytes()
    return {name: id(value) for name, value in vars(model).items()} | {"scores": scores, "losses": list(model.loss_curve_)}


class Soak:
    """Rounds on one cluster after the other."""

    def __init__(self, args: argparse.Namespace, store: Rows) -> None:
        self.args, self.store = args, store
        self.random = random.Random(args.seed)
        self.limit = args.timeout + GRACE
        self.X, self.lazy = table(args.loading)
        self.workers: Any = None
        self.usual = Moments()
        self.model: Any = None

    def begin(self) -> None:
        """A cluster, and an estimator that it has fitted."""
        self.workers = limited(Alone if self.args.alone else WithNannies, 60)
        self.model = DaskAutoencoderTransformer(
            2,
            hidden_layer_sizes=(16,),
            max_iter=self.args.epochs,
            tol=0,
            early_stopping=False,
            random_state=0,
            verbose=True,
            client=self.workers.client,
            timeout=self.args.timeout,
        )
        limited(self.fit, 120)
        self.usual = Moments()
        limited(partial(self.fit, self.usual), 120)
        self.usual.at["ended"] = time.monotonic()
        at = self.usual.at
        spans = [f"{name} {at[name] - at['called']:.1f} s" for name in ("read", "begun", "ended")]
        say(f"a fit that nobody disturbs, from its call: {', '.join(spans)}")

    def fit(self, moments: Moments | None = None) -> None:
        with (moments or Moments()).watched():
            self.model.fit(self.lazy)

    def be_whole(self) -> None:
        """Have all workers; where Dask does not bring them back, which is no fault of a fit, it takes a new cluster."""
        if self.workers is not None and caught(lambda: limited(self.workers.heal, self.limit))[1] is not None:
            say("    lost workers have not come back; a new cluster")
            self.end()
        if self.workers is None:
            self.begin()

    def end(self) -> None:
        caught(lambda: limited(self.workers.close, 30))
        self.workers = None

    def round(self, kind: str, i: int) -> Row:
        """Take workers away once, and see what happens."""
        row = {"kind": kind, "round": i, "error": "", "refit": None, "hung": "", "wrong": ""}
        try:
            self.be_whole()
            (self.scored if kind == "scoring" else self.fitted)(kind, row)
        except Hung:
            row["hung"] = row["hung"] or "cluster"
        if row["hung"]:
            self.dump()
            self.end()
        return self.store.add(row)

    def fitted(self, kind: str, row: Row) -> None:
        before, moments = bits(self.model, self.X), Moments()
        thread = threading.Thread(target=lambda: outcome.append(caught(partial(self.fit, moments))), daemon=True)
        outcome: list[Any] = []
        thread.start()
        lost = self.take(kind, moments, thread)
        start = time.monotonic()
        thread.join(self.limit)
        row["seconds"] = time.monotonic() - start
        if not outcome:
            row["hung"] = "fit"
            return
        error = outcome[0][1]
        if error is not None:
            row |= {"error": type(error).__name__, "message": str(error)}
            row["wrong"] = self.fault_of(kind, error, before)
        self.settle(kind, lost)
        self.refit(row)

    def fault_of(self, kind: str, error: BaseException, before: dict[str, Any]) -> str:
        """What is wrong with an error, and with the estimator after it."""
        faults = []
        if kind == "interrupted":
            faults += [] if isinstance(error, KeyboardInterrupt) else ["another error"]
        elif type(error).__name__ != "WorkerLostError" or "fit again" not in str(error).lower():
            faults.append("unhelpful error")
            traceback.print_exception(error)
        if bits(self.model, self.X) != before:
            faults.append("the estimator has changed")
        return ", ".join(faults)

    def take(self, kind: str, moments: Moments, thread: threading.Thread) -> dict[str, int]:
        """Wait for a moment, then take workers away; their processes."""
        self.wait_for_moment(kind, moments, thread)
        if kind == "interrupted":
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
            return {}
        pids = self.workers.pids
        chosen = dict(sorted(pids.items()) if kind == "all" else [self.random.choice(sorted(pids.items()))])
        for pid in chosen.values():
            os.kill(pid, signal.SIGSTOP if kind.startswith("frozen") else signal.SIGKILL)
        return chosen

    def wait_for_moment(self, kind: str, moments: Moments, thread: threading.Thread) -> None:
        share, at = self.random.uniform(0, 0.9), self.usual.at
        if kind in BEFORE:
            since, until = BEFORE[kind]
            getattr(moments, since).wait(self.limit)
            time.sleep(share * (at[until] - at[since]))
            return
        deadline = time.monotonic() + self.limit
        while moments.epoch < 1 + share * self.args.epochs and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)

    def settle(self, kind: str, lost: dict[str, int]) -> None:
        """Do what a user might do to frozen workers; replace those that are lost where none would be left."""
        if kind.startswith("frozen"):
            ((address, pid),) = lost.items()
            way = self.random.choice(["go on", "kill"] if self.args.alone else ["go on", "kill", "restart"])
            say(f"    {way}")
            if way == "restart":
                limited(partial(self.workers.client.restart_workers, [address]), self.limit)
            else:
                os.kill(pid, signal.SIGCONT if way == "go on" else signal.SIGKILL)
        elif kind == "all" and self.args.alone:
            limited(self.workers.heal, self.limit)

    def refit(self, row: Row) -> None:
        start = time.monotonic()
        try:
            limited(self.fit, self.limit)
        except Hung:
            row["hung"] = "refit"
        except Exception as error:
            traceback.print_exception(error)
            row["wrong"] = f"{row['wrong']} refit: {type(error).__name__}: {error}".strip()
        row["refit"] = time.monotonic() - start

    def scored(self, kind: str, row: Row) -> None:
        """The scores that a cluster computes while it loses a worker."""
        expected = self.model.to_local().score_samples(self.X)
        killer = threading.Timer(self.random.uniform(0, PARTITIONS * self.args.loading / N_WORKERS), self.kill_one)
        killer.start()
        start = time.monotonic()
        try:
            scores = limited(self.model.score_samples(self.lazy).compute, self.limit)
            row["wrong"] = "" if scores.tobytes() == expected.tobytes() else "other scores"
        except Hung:
            row["hung"] = "scoring"
        except Exception as error:
            row |= {"error": type(error).__name__, "message": str(error)}
        row["seconds"] = time.monotonic() - start
        killer.join(self.limit)

    def kill_one(self) -> None:
        os.kill(self.random.choice(sorted(self.workers.pids.values())), signal.SIGKILL)

    def dump(self) -> None:
        """The stacks of all processes, on standard error."""
        faulthandler.dump_traceback(all_threads=True)
        for pid in caught(lambda: limited(lambda: self.workers.pids, 5))[0] or {}:
            caught(lambda pid=pid: os.kill(self.workers.pids[pid], signal.SIGUSR1))
        time.sleep(1)


def in_words(row: Row) -> str:
    ended = f"hung in {row['hung']}" if row["hung"] else row["error"] or "result"
    refit = "" if row["refit"] is None else f", refit {row['refit']:.1f} s"
    return f"{row['kind']:12s} {row['round']:3d}: {row.get('seconds', 0):5.1f} s, {ended}{refit} {row['wrong']}"


def say_summary(rows: list[Row]) -> None:
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        some = [row for row in rows if row["kind"] == kind]
        errors, hangs = [row for row in some if row["error"]], [row for row in some if row["hung"]]
        longest = [max((row.get(what) or 0.0 for row in some), default=0.0) for what in ("seconds", "refit")]
        wrong = sum(bool(row["wrong"]) for row in some)
        counts = [len(some), len(errors), len(some) - len(errors) - len(hangs), wrong, len(hangs)]
        lines.append([kind, *counts, *(f"{seconds:.1f}" for seconds in longest)])
    say_table(["kind", "rounds", "errors", "results", "wrong", "hangs", "longest, s", "longest refit, s"], lines)


def main() -> None:
    options = parser(__doc__, rounds=1, kinds="one", timeout=5, epochs=20, loading=0.0)
    options.add_argument("--rounds", type=int, default=20, metavar="N", help="of each kind")
    options.add_argument("--kinds", help=f"some of {','.join(KINDS)}")
    options.add_argument("--timeout", type=float, default=10, metavar="SECONDS", help="of the estimator")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--epochs", type=int, default=40, metavar="N", help="of each fit")
    options.add_argument("--loading", type=float, default=0.2, metavar="SECONDS", help="of each of the 8 partitions")
    options.add_argument("--alone", action="store_true", help="workers without nannies")
    args = options.parse_args()
    begin(args)
    dask.config.set({"distributed.worker.preload": [DUMP], "distributed.deploy.lost-worker-timeout": "1 day"})
    soak, rows = Soak(args, Rows(args.json)), []
    for kind in asked_for(args, "kinds", KINDS):
        for i in range(args.rounds):
            rows.append(soak.round(kind, i))
            say(in_words(rows[-1]))
    soak.end()
    say_summary(rows)


if __name__ == "__main__":
    main()
