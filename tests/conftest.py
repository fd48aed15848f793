"""What holds for every test."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits


def pytest_collection_finish() -> None:
    """One thread for torch and for BLAS, which the imports of the test modules have loaded by now.

    The tests are small, and threads that wait for each other make them many times slower.
    """
    threadpool_limits(1)
    torch.set_num_threads(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no accelerator here")


@pytest.fixture(autouse=True)
def no_trace(request: pytest.FixtureRequest) -> Iterator[None]:
    """The global random states and the number of threads are as they were, or the test says that it changes them."""
    before = _global_state()
    yield
    if request.node.get_closest_marker("uses_global_rng") is None:
        changed = [name for name, value in _global_state().items() if value != before[name]]
        assert not changed, f"changed by the test: {', '.join(changed)}"


def _global_state() -> dict[str, Any]:
    name, key, *rest = np.random.get_state()  # noqa: NPY002, it is the global state that is watched
    return {
        "numpy's global random state": (name, key.tobytes(), *rest),
        "torch's global random state": torch.get_rng_state().numpy().tobytes(),
        "torch's number of threads": torch.get_num_threads(),
    }
