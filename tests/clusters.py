"""A Dask cluster of two processes that start at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

from distributed.utils import get_mp_context  # noqa: E402


@contextmanager
def two_workers(**config: Any) -> Iterator[Any]:
    """The client of two workers, forked from a process that has imported what takes each of them seconds."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver", **config}):
        get_mp_context().set_forkserver_preload(["skvae.dask"])
        with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
            yield client
