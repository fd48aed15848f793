"""Training in one process per worker; for its duration, these are the ranks of a torch.distributed group."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout  # what no public name has
from tqdm.auto import tqdm

from skvae._base import BaseAutoencoder
from skvae._dask.cluster import POLL, UNCHANGED, Cluster, WorkerLostError, heard, lost, told
from skvae._fit.fit import fit_rows
from skvae._fitted import Fitted
from skvae._reports import last_losses, warn_of_end
from skvae._tables.lazy import Lazy
from skvae._tables.processes import ALONE, Processes
from skvae._tables.rows import Table
from skvae._tables.schema import Schema
from skvae._tables.survey import Findings, Parts, Shares, Streamed
from skvae.core.ranks import Ranks
from skvae.core.training import TrainingResult
from skvae.distributed import one_of_several

LEAST_ROWS = 500  # per rank; fewer are not worth sharing
GRACE = 2.0  # seconds to wait for the report of the rank that failed first
ATTEMPTS = 5  # of gloo to connect, each of which may take the timeout that it is given
GROUP = threading.Lock()  # a process can be in one group at a time


@dataclass(frozen=True)
class Job:
    """What to fit; identical on all ranks.

    Attributes
    ----------
    model : BaseAutoencoder
        The estimator to fit, which knows the columns of the table.
    schema : Schema
    held_out : Table or None
        The caller's own held-out rows.
    earlier : Fitted or None
        Model from which training continues.
    timeout : float
        Seconds for which ranks wait for each other.
    topic : str
        Topic under which rank 0 reports progress; empty if nobody listens.
    """

    model: BaseAutoencoder
    schema: Schema
    held_out: Table | None
    earlier: Fitted | None
    timeout: float
    topic: str = ""


@dataclass(frozen=True)
class Place:
    """Which rank is where.

    Attributes
    ----------
    rank, size : int
    worker : str
        Address of the worker.
    meeting : str
        A name under which the ranks find each other.
    """

    rank: int
    size: int
    worker: str
    meeting: str


def train_together(
    job: Job, shares: Shares, tables: list[Any], sizes: list[int], homes: list[str], findings: Any, cluster: Cluster
) -> BaseAutoencoder:
    """Train with one rank per worker that has partitions, and return the fitted estimator."""
    client, meeting = cluster.client, f"skvae-{uuid4().hex}"
    with cluster.locked(cluster.addresses()), _progress(job, cluster) as job:
        by_rank = dealt(homes, sizes, cluster.addresses())
        addresses = list(by_rank)
        futures = [
            client.submit(
                heard,
                _train,
                job,
                shares,
                Place(rank, len(addresses), address, meeting),
                [tables[i] for i in by_rank[address]],
                findings,
                workers=[address],
                allow_other_workers=True,  # otherwise a task would wait forever for a lost worker
                pure=False,
                retries=0,
            )
            for rank, address in enumerate(addresses)
        ]
        try:
            cluster.wait(futures, workers=addresses)
            fitted = cluster.results(futures[:1], workers=addresses[:1])[0]
        except BaseException as error:
            first = _first_cause(futures, error)
            client.cancel(futures)
            raise first from None
    return told(fitted)


def dealt(homes: list[str], sizes: list[int], workers: list[str]) -> dict[str, list[int]]:
    """Partitions of each worker's rank: those it holds, or an equal share if otherwise a worker would have none.

    If there are few rows, there are fewer ranks than workers.
    """
    filled = [i for i, size in enumerate(sizes) if size]
    n_ranks = max(1, min(len(workers), len(filled), sum(sizes) // LEAST_ROWS))
    by_rank: dict[str, list[int]] = {}
    for i in filled:
        by_rank.setdefault(homes[i], []).append(i)
    if len(by_rank) == n_ranks and {*by_rank} <= {*workers}:
        return by_rank
    return {worker: part.tolist() for worker, part in zip(workers, np.array_split(filled, n_ranks), strict=False)}


@contextmanager
def _progress(job: Job, cluster: Cluster) -> Iterator[Job]:
    """The job, with a progress bar if requested."""
    if not cluster.verbose:
        yield job
        return
    topic = f"skvae-{uuid4().hex}"
    with tqdm(desc=f"{type(job.model).__name__}, training", unit="epoch") as bar:

        def show(event: tuple[float, tuple[int, int, dict[str, str]]]) -> None:
            epoch, n_iter, losses = event[1]
            bar.total = n_iter
            bar.set_postfix(losses, refresh=False)
            bar.update(epoch - bar.n)

        cluster.client.subscribe_topic(topic, show)
        try:
            yield replace(job, topic=topic)
        finally:
            cluster.client.unsubscribe_topic(topic)


def _first_cause(futures: list[Any], error: BaseException) -> BaseException:
    """The cause of a failed fit: an error of a rank that is not about another rank."""
    from distributed.scheduler import KilledWorker

    deadline = time.monotonic() + GRACE
    while isinstance(error, WorkerLostError) and time.monotonic() < deadline:
        errors = [future.exception(timeout=1) for future in futures if future.status == "error"]
        causes = [each for each in errors if not isinstance(each, (WorkerLostError, KilledWorker))]
        if causes:
            return causes[0]
        time.sleep(POLL)
    return error


# On the workers


def _check_is(worker: str) -> None:
    """Refuse to run on another worker than intended, to which Dask moves the tasks of a lost worker."""
    from distributed import get_worker

    if get_worker().address != worker:
        raise lost(worker)


def _train(job: Job, shares: Shares, place: Place, tables: list[Table], findings: Findings) -> BaseAutoencoder | None:
    """The task of each rank; rank 0 returns the fitted estimator."""
    _check_is(place.worker)
    with _threads(), _group(place, job.timeout) as ranks:
        schema = job.schema.with_constants(findings.of_all)
        rows = Lazy(Streamed(Parts(tables, shares, findings), processes=ranks))
        report = partial(_report, topic=job.topic if place.rank == 0 else "")

        def fit(settings: Any, rows: Any, held_out: Any, earlier: Any, _: Any) -> Any:
            return fit_rows(settings, rows, held_out, earlier, report)

        with one_of_several(job.model, ranks):
            outcome = job.model._fit_rows(schema, rows, job.held_out, job.earlier, by=fit)
            warn_of_end(outcome)
    return job.model if place.rank == 0 else None


@contextmanager
def _threads() -> Iterator[None]:
    """Use as many threads for large operations as the worker has."""
    from distributed import get_worker

    before = torch.get_num_threads()
    torch.set_num_threads(get_worker().state.nthreads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _group(place: Place, timeout: float) -> Iterator[Processes]:
    """The ranks, while the group exists; a single rank needs no group."""
    if place.size == 1:
        yield ALONE
        return
    if not GROUP.acquire(timeout=timeout):
        raise WorkerLostError(
            f"Worker {place.worker} was still busy with an earlier fit after {timeout:g} s. {UNCHANGED} Restart the worker "
            f"with `client.restart_workers([{place.worker!r}])` and fit again."
        )
    try:
        yield from _joined(place, timeout)
    finally:
        GROUP.release()


def _joined(place: Place, timeout: float) -> Iterator[Processes]:
    """The ranks, in a group that is destroyed afterwards."""
    if dist.is_initialized():
        raise RuntimeError(
            f"Worker {place.worker} is already in a torch.distributed group of another program. Call "
            "torch.distributed.destroy_process_group there, or restart the worker."
        )
    store = _Store(place.meeting, timeout)
    try:
        each = timedelta(seconds=timeout / ATTEMPTS)
        dist.init_process_group("gloo", store=store, rank=place.rank, world_size=place.size, timeout=each)
        _set_pg_timeout(timedelta(seconds=timeout))
        yield Ranks()
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error).lower():
            raise WorkerLostError(
                f"Worker {place.worker} has lost the connection to another worker, or has waited {timeout:g} s for it. "
                f"{UNCHANGED} Fit again. If workers were only busy, raise timeout. ({error})"
            ) from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        store.forget()


class _Store(dist.Store):  # type: ignore[name-defined]
    """Addresses of the ranks, kept by the scheduler: a rank that asked a frozen worker would freeze, too."""

    def __init__(self, meeting: str, timeout: float) -> None:
        from distributed import get_client

        super().__init__()
        self.client = get_client()
        self.meeting, self.seconds = meeting, 2 * timeout  # a rank of an earlier fit may occupy a worker for half of it
        self.deadline = time.monotonic() + self.seconds
        self.own: list[str] = []

    def set(self, key: str, value: bytes) -> None:
        self.own.append(self._name(key))
        self.client.publish_dataset(value, name=self.own[-1])

    def get(self, key: str) -> bytes:
        while (value := self.client.get_dataset(self._name(key), default=None)) is None:
            _check_is_wanted()
            if time.monotonic() > self.deadline:
                raise WorkerLostError(
                    f"Not all workers had started training after {self.seconds:g} s. {UNCHANGED} Fit again when they have no "
                    "other tasks, or raise timeout."
                )
            time.sleep(POLL / 4)
        return value

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        for key in keys:
            self.get(key)

    def forget(self) -> None:
        """Remove what this rank has published at the scheduler."""
        for name in self.own:
            self.client.unpublish_dataset(name)

    def _name(self, key: str) -> str:
        """Name without the number of the group, which differs if some ranks failed to join an earlier group."""
        return f"{self.meeting}/{key.partition('/')[2]}"


def _report(n_iter: int, so_far: TrainingResult, _: Any, topic: str) -> None:
    """Report an epoch to the client, and stop if the client has cancelled the fit."""
    from distributed import get_worker

    _check_is_wanted()
    if topic:
        get_worker().log_event(topic, (len(so_far.losses), n_iter, last_losses(so_far)))


def _check_is_wanted() -> None:
    """Stop if the client has cancelled this task."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if task is None or task.state in {"cancelled", "released"}:
        raise WorkerLostError("The fit was cancelled.")
