"""Monitored tasks on the workers of a Dask cluster: a lost or frozen worker ends the fit."""

import asyncio
import concurrent.futures
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from traceback import clear_frames
from typing import Any, Self

from tqdm.auto import tqdm

from skvae._warnings import warn

POLL = 0.2  # seconds
UNCHANGED = "The estimator is unchanged."
FAN_IN = 8  # results that are merged at once


class WorkerLostError(RuntimeError):
    """A worker is gone, or has been silent for too long."""


def lost(worker: str) -> WorkerLostError:
    """The error for a worker that is gone."""
    return WorkerLostError(
        f"Worker {worker} was lost during the fit. {UNCHANGED} Fit again: rows are recomputed on the remaining workers. If "
        "workers are lost repeatedly, they may lack memory."
    )


class Cluster:
    """The workers that a client reaches.

    Parameters
    ----------
    client : distributed.Client or None
        None is the default client.
    timeout : float
        Seconds for which a worker may be silent.
    verbose : bool
        Whether to show progress.

    Raises
    ------
    ImportError
        If Dask is not installed.
    ValueError
        If there is no client, or an asynchronous one.
    """

    def __init__(self, client: Any, timeout: float, verbose: bool) -> None:
        try:
            import distributed
        except ImportError as error:
            raise ImportError("Dask is not installed; install it with `pip install 'skvae[dask]'`.") from error
        try:
            self.client = distributed.default_client() if client is None else client
        except ValueError as error:
            raise ValueError(
                "There is no Dask client. Start one with `client = distributed.Client()`, or pass one as client=..."
            ) from error
        if self.client.asynchronous:
            raise ValueError("client is asynchronous; pass a synchronous client, such as `distributed.Client()`.")
        self.timeout = timeout
        self.verbose = verbose

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        """Release the tasks of a failed fit: the frames of the error hold them, and the cluster would continue them."""
        while error is not None:
            clear_frames(error.__traceback__)
            error = error.__context__

    @property
    def workers(self) -> dict[str, Any]:
        """Information of the scheduler on each worker, by address."""
        identity = self.client.scheduler.identity  # not client.scheduler_info, which may be outdated by a timer
        return dict(self.client.sync(identity, n_workers=-1)["workers"])

    def addresses(self) -> list[str]:
        """Sorted addresses of the workers, one per process; waits while there are no workers."""
        watch = _Watch(self, None)
        while not (found := self.workers):
            watch.look()
            time.sleep(POLL)
        return sorted({process_of(worker): worker for worker in sorted(found)}.values())

    def results(self, futures: Sequence[Any], doing: str = "", workers: Sequence[str] | None = None) -> list[Any]:
        """Results of tasks.

        Parameters
        ----------
        futures : sequence of Future
        doing : str
            Label of the progress bar; empty for no bar.
        workers : sequence of str or None
            Addresses of workers that must not be lost. None allows any to be lost: Dask then repeats its tasks elsewhere.

        Raises
        ------
        WorkerLostError
            If a worker is lost, or silent for longer than the timeout.
        """
        self.wait(futures, doing, workers)
        watch, gather = _Watch(self, workers), self.client.gather(list(futures), asynchronous=True)
        gathering = asyncio.run_coroutine_threadsafe(gather, self.client.loop.asyncio_loop)
        try:
            while not concurrent.futures.wait([gathering], timeout=POLL).done:
                watch.look()
            with _losses_in_words():
                return list(gathering.result())
        finally:
            gathering.cancel()

    def wait(self, futures: Sequence[Any], doing: str = "", workers: Sequence[str] | None = None) -> None:
        """Wait until all tasks are done, or one has failed."""
        from distributed import CancelledError

        watch, pause = _Watch(self, workers), 0.005
        hidden = not (doing and self.verbose)
        with tqdm(total=len(futures), desc=doing, unit="partition", disable=hidden) as bar, _losses_in_words():
            states: list[str] = []
            while states.count("finished") < len(futures):  # not by distributed.wait: its timeouts keep futures in cycles
                states = [future.status for future in futures]
                if "error" in states:
                    raise futures[states.index("error")].exception()
                if "cancelled" in states:
                    raise CancelledError(futures[states.index("cancelled")].key)
                done = states.count("finished")  # may decrease, when results are recomputed
                bar.update(done - bar.n)
                if done < len(futures):
                    watch.look()
                    time.sleep(pause)
                    pause = min(2 * pause, POLL)

    def reduced(self, merge: Callable[[list[Any]], Any], futures: Sequence[Any]) -> Any:
        """Merge results as a tree whose shape, and therefore rounding, depends only on their number."""
        level = list(futures)
        while len(level) > 1:
            groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
            level = [self.client.submit(merge, group, pure=False) for group in groups]
        return level[0]

    @contextmanager
    def locked(self, workers: Sequence[str]) -> Iterator[None]:
        """Keep other fits from starting on these workers; if the client dies, they are released."""
        import distributed

        with ExitStack() as held:
            for worker in sorted(workers):  # in one order, so that no two fits wait for each other
                lock = distributed.Semaphore(name=f"skvae-{worker}", scheduler_rpc=self.client.scheduler, loop=self.client.loop)
                held.enter_context(lock)
            yield


def process_of(worker: str) -> str:
    """The process of a worker; workers that are threads of one process cannot be ranks of one group."""
    return worker.rpartition("/")[0] if worker.startswith("inproc://") else worker


class _Watch:
    """When each worker was last heard of, by the clock of this process."""

    def __init__(self, cluster: Cluster, workers: Sequence[str] | None) -> None:
        self.cluster = cluster
        self.required = workers
        self.heard: dict[str, tuple[float, float]] = {}  # last time stamp of each worker, and when it was first seen here
        self.none_since: float | None = None

    def look(self) -> None:
        now, timeout, found = time.monotonic(), self.cluster.timeout, self.cluster.workers
        for address in self.required or ():
            if address not in found:
                raise lost(address)
        for address, info in found.items():
            if self.required is not None and address not in self.required:
                continue
            sign = float(info["last_seen"])
            if address not in self.heard or self.heard[address][0] != sign:
                self.heard[address] = sign, now
            elif now - self.heard[address][1] > timeout:
                raise WorkerLostError(
                    f"Worker {address} has been silent for {timeout:g} s. {UNCHANGED} Restart the worker with "
                    f"`client.restart_workers([{address!r}])` and fit again. If it was only busy, raise timeout."
                )
        self.none_since = None if found else (now if self.none_since is None else self.none_since)
        if self.none_since is not None and now - self.none_since > timeout:
            raise WorkerLostError(f"The cluster has had no workers for {timeout:g} s. Add workers and fit again.")


@contextmanager
def _losses_in_words() -> Iterator[None]:
    """Translate Dask's own errors into what they mean for a fit."""
    from distributed import CancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise WorkerLostError(
            f"Several workers were lost while running one task. {UNCHANGED} They may lack memory: fit again with smaller "
            f"partitions or with more memory per worker. ({error})"
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise WorkerLostError(
            "Tasks on the cluster were cancelled, or rows were lost with the worker that held them. "
            f"{UNCHANGED} Load the rows again, then fit again. ({error})"
        ) from error


def heard(function: Callable[..., Any], *args: Any) -> tuple[Any, list[Warning]]:
    """Run a function on a worker; its result, and the warnings to repeat on the client."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args)
    return result, [each.message for each in caught if isinstance(each.message, UserWarning)]


def told(outcome: tuple[Any, list[Warning]]) -> Any:
    """Repeat the warnings, and return the result."""
    result, messages = outcome
    for message in messages:
        warn(str(message), type(message))
    return result
