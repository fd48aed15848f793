"""Work on the workers of a Dask cluster that is watched, so that a worker that is lost or frozen ends it."""

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
UNCHANGED = "The estimator is as it was before."
FAN_IN = 8  # results that are merged at once


class WorkerLostError(RuntimeError):
    """A worker is gone, or has not been heard of for too long."""


def lost(worker: str) -> WorkerLostError:
    """Of a worker that is gone."""
    return WorkerLostError(
        f"Worker {worker} was lost during the fit. {UNCHANGED} Fit again: rows are computed anew on the workers that are "
        "there. Where workers are lost again and again, they may lack memory."
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
        Where Dask is not installed.
    ValueError
        Where there is no client, or one that is of no use.
    """

    def __init__(self, client: Any, timeout: float, verbose: bool) -> None:
        try:
            import distributed
        except ImportError as error:
            raise ImportError("This fits on a Dask cluster, and Dask is not installed: `pip install 'skvae[dask]'`.") from error
        try:
            self.client = distributed.default_client() if client is None else client
        except ValueError as error:
            raise ValueError(
                "There is no Dask client. Start one, `client = distributed.Client()`, or give the one to use as client=..."
            ) from error
        if self.client.asynchronous:
            raise ValueError("client is asynchronous, and this waits for results; use a `distributed.Client()`.")
        self.timeout = timeout
        self.verbose = verbose

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        """Let go of the work of a fit that failed: the error has it in its frames, and the cluster would go on with it."""
        while error is not None:
            clear_frames(error.__traceback__)
            error = error.__context__

    @property
    def workers(self) -> dict[str, Any]:
        """What the scheduler knows of each worker, by its address."""
        identity = self.client.scheduler.identity  # not client.scheduler_info, which may return what a timer has overwritten
        return dict(self.client.sync(identity, n_workers=-1)["workers"])

    def addresses(self) -> list[str]:
        """Those of the workers, in order, one for each process; where all workers are lost, it waits for others."""
        watch = _Watch(self, None)
        while not (found := self.workers):
            watch.look()
            time.sleep(POLL)
        return sorted({process_of(worker): worker for worker in sorted(found)}.values())

    def results(self, futures: Sequence[Any], doing: str = "", workers: Sequence[str] | None = None) -> list[Any]:
        """What became of pieces of work.

        Parameters
        ----------
        futures : sequence of Future
        doing : str
            In a word, for those who watch; without it there is nothing to show.
        workers : sequence of str or None
            Addresses of workers none of which may be lost. None stands for any worker: Dask repeats elsewhere what one that is
            lost had done.

        Raises
        ------
        WorkerLostError
            Where a worker is lost, or silent for longer than the timeout.
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
        """Until the work is done, or a piece of it has failed."""
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
                done = states.count("finished")  # of those that were, some may be computed anew
                bar.update(done - bar.n)
                if done < len(futures):
                    watch.look()
                    time.sleep(pause)
                    pause = min(2 * pause, POLL)

    def reduced(self, merge: Callable[[list[Any]], Any], futures: Sequence[Any]) -> Any:
        """Merge results as a tree, whose shape depends on their number alone, so that its rounding does too."""
        level = list(futures)
        while len(level) > 1:
            groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
            level = [self.client.submit(merge, group, pure=False) for group in groups]
        return level[0]

    @contextmanager
    def locked(self, workers: Sequence[str]) -> Iterator[None]:
        """Keep other fits from starting on any of some workers; a client that dies sets them free."""
        import distributed

        with ExitStack() as held:
            for worker in sorted(workers):  # in one order, so that no two fits wait for each other
                lock = distributed.Semaphore(name=f"skvae-{worker}", scheduler_rpc=self.client.scheduler, loop=self.client.loop)
                held.enter_context(lock)
            yield


def process_of(worker: str) -> str:
    """The process that a worker is in: workers that are threads of one process cannot be ranks of one group."""
    return worker.rpartition("/")[0] if worker.startswith("inproc://") else worker


class _Watch:
    """When workers were last heard of, by this process's clock."""

    def __init__(self, cluster: Cluster, workers: Sequence[str] | None) -> None:
        self.cluster = cluster
        self.required = workers
        self.heard: dict[str, tuple[float, float]] = {}  # what the worker's last sign of life says, and since when it is so
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
                    f"Worker {address} has not been heard of for {timeout:g} s. {UNCHANGED} Restart the worker, "
                    f"`client.restart_workers([{address!r}])`, and fit again; raise timeout where it was only busy."
                )
        self.none_since = None if found else (now if self.none_since is None else self.none_since)
        if self.none_since is not None and now - self.none_since > timeout:
            raise WorkerLostError(f"The cluster has had no workers for {timeout:g} s. Add some, and fit again.")


@contextmanager
def _losses_in_words() -> Iterator[None]:
    """Say of Dask's own errors what they mean for a fit."""
    from distributed import CancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise WorkerLostError(
            f"Several workers were lost with the same piece of work. {UNCHANGED} They may lack memory: fit again with smaller "
            f"partitions, or give workers more of it. ({error})"
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise WorkerLostError(
            "Work on the cluster was cancelled, or the rows that it needs are lost with the worker that had them. "
            f"{UNCHANGED} Load the rows again, and fit again. ({error})"
        ) from error


def heard(function: Callable[..., Any], *args: Any) -> tuple[Any, list[Warning]]:
    """What a function gives on a worker, and the warnings to repeat where the user reads them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args)
    return result, [each.message for each in caught if isinstance(each.message, UserWarning)]


def told(outcome: tuple[Any, list[Warning]]) -> Any:
    """The result, after its warnings."""
    result, messages = outcome
    for message in messages:
        warn(str(message), type(message))
    return result
