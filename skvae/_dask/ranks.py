"""Training by one process per worker, which are the ranks of a torch.distributed group for as long as it takes."""

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

LEAST_ROWS = 500  # of a rank; fewer are no work to share
GRACE = 2.0  # seconds in which the rank that failed first says so, after others have noticed it
ATTEMPTS = 5  # of gloo to connect, each of which may take the timeout that it is given
GROUP = threading.Lock()  # of this process, which can be in one group at once


@dataclass(frozen=True)
class Job:
    """What is to be fitted, the same for all ranks.

    Attributes
    ----------
    model : BaseAutoencoder
        To be fitted, with the columns of the table.
    schema : Schema
    held_out : Table or None
        The caller's own rows to choose the number of epochs on.
    earlier : Fitted or None
        What to go on from.
    timeout : float
        Seconds for which ranks wait for each other.
    topic : str
        Under which rank 0 tells of its progress; empty where nobody listens.
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
    """The fitted estimator, of one rank for each worker that has partitions to learn from."""
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
                allow_other_workers=True,  # else a task whose worker is lost would wait for it forever
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
    """By worker, the partitions that its rank learns from: those at home there, or equally many where a worker would have none.

    Of few rows there are fewer ranks than workers.
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
    """The job, whose progress is shown where that is asked for."""
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
    """What made a fit fail: of the errors that the ranks have, one that is not about another rank."""
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
    """Refuse to run where a lost worker's work has been moved to."""
    from distributed import get_worker

    if get_worker().address != worker:
        raise lost(worker)


def _train(job: Job, shares: Shares, place: Place, tables: list[Table], findings: Findings) -> BaseAutoencoder | None:
    """What each rank does; the estimator that rank 0 has fitted."""
    _check_is(place.worker)
    with _threads(), _group(place, job.timeout) as ranks:
        schema = job.schema.with_constants(findings.of_all)
        rows = Lazy(Streamed(Parts(tables, shares, findings), processes=ranks))
        report = partial(_report, topic=job.topic if place.rank == 0 else "")

        def fit(settings: Any, rows: Any, held_out: Any, earlier: Any, _: Any) -> Any:
            return fit_rows(settings, rows, held_out, earlier, report)

        with one_of_several(job.model, ranks):
            outcome = job.model._fit_rows(schema, rows, job.held_out, job.earlier, by=fit)
            warn_of_end(outcome, job.model.max_iter)
    return job.model if place.rank == 0 else None


@contextmanager
def _threads() -> Iterator[None]:
    """Let large operations have as many threads as the worker has."""
    from distributed import get_worker

    before = torch.get_num_threads()
    torch.set_num_threads(get_worker().state.nthreads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _group(place: Place, timeout: float) -> Iterator[Processes]:
    """The ranks, for as long as the group lasts; a single one needs no group."""
    if place.size == 1:
        yield ALONE
        return
    if not GROUP.acquire(timeout=timeout):
        raise WorkerLostError(
            f"Worker {place.worker} was still busy with an earlier fit after {timeout:g} s. {UNCHANGED} Restart the worker, "
            f"`client.restart_workers([{place.worker!r}])`, and fit again."
        )
    try:
        yield from _joined(place, timeout)
    finally:
        GROUP.release()


def _joined(place: Place, timeout: float) -> Iterator[Processes]:
    """The ranks, in a group that ends with what is done with them."""
    if dist.is_initialized():
        raise RuntimeError(
            f"Worker {place.worker} is in a torch.distributed group of another program. Call "
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
                f"Worker {place.worker} has lost the connection to another one, or has waited {timeout:g} s for it. "
                f"{UNCHANGED} Fit again, with a larger timeout where workers were only busy. ({error})"
            ) from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        store.forget()


class _Store(dist.Store):  # type: ignore[name-defined]
    """Where ranks tell each other their addresses: at the scheduler, as one that asks a frozen worker would freeze too."""

    def __init__(self, meeting: str, timeout: float) -> None:
        from distributed import get_client

        super().__init__()
        self.client = get_client()
        self.meeting, self.seconds = meeting, 2 * timeout  # a rank of an earlier fit may hold a worker for half of that
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
                    f"Not all workers had begun to train after {self.seconds:g} s. {UNCHANGED} Fit again when they have no "
                    "other work, or raise timeout."
                )
            time.sleep(POLL / 4)
        return value

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        for key in keys:
            self.get(key)

    def forget(self) -> None:
        """Leave nothing of this rank at the scheduler."""
        for name in self.own:
            self.client.unpublish_dataset(name)

    def _name(self, key: str) -> str:
        """Without the group's number, which differs between ranks where some have failed to join an earlier group."""
        return f"{self.meeting}/{key.partition('/')[2]}"


def _report(n_iter: int, so_far: TrainingResult, _: Any, topic: str) -> None:
    """Tell the client of an epoch, and end where it has given up."""
    from distributed import get_worker

    _check_is_wanted()
    if topic:
        get_worker().log_event(topic, (len(so_far.losses), n_iter, last_losses(so_far)))


def _check_is_wanted() -> None:
    """End where the client has cancelled this piece of work."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if task is None or task.state in {"cancelled", "released"}:
        raise WorkerLostError("The fit was given up.")
