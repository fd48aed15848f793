"""Where the arithmetic runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def resolve_device(name: str) -> torch.device:
    """The device that a name stands for; "auto" is CUDA where there is one, else the CPU.

    Apple's "mps" is taken on request only: it has no float64, and small networks are faster on the CPU there.

    Raises
    ------
    ValueError
        Where the name is none of torch's, or the device is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device={name!r} is no device that torch knows; use 'auto', 'cpu', 'cuda' or 'mps'.") from error
    if not is_available(device):
        raise ValueError(f"device={name!r} is not available on this machine; use device='auto' or device='cpu'.")
    return device


def is_available(device: torch.device) -> bool:
    """Whether tensors can be put on the device here and now."""
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


PARALLEL_WORK = 1e8  # multiplications and additions in one go; below it a second thread waits more than it helps
_lock = threading.Lock()
_users = 0
_threads_before = 1


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Run small operations in one thread and large ones in as many as torch is set to.

    Threads meet after every kernel. In a step of some tens of microseconds that costs as much as it saves, and a hundred times
    more where another process holds one of the cores. The setting is global to the process, so it is changed by the first user
    and put back by the last.
    """
    global _users, _threads_before
    if work >= PARALLEL_WORK:
        yield
        return
    with _lock:
        if _users == 0:
            _threads_before = torch.get_num_threads()
            torch.set_num_threads(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                torch.set_num_threads(_threads_before)
