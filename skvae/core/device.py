"""Where the arithmetic runs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PARALLEL_WORK = 1e8  # multiplications and additions in one go; below it a second thread waits more than it helps
GPU_WORK = 1e8  # the same of a training step; a core does these in the time in which a GPU is told to, kernel by kernel


def resolve_device(name: str, work: float = math.inf) -> torch.device:
    """The device that a name stands for; "auto" is CUDA where there is one and it pays, else the CPU.

    ``work`` is the number of multiplications and additions in one go; the bound for it is by arithmetic, not by measurement.
    Apple's "mps" is taken on request only: it has no float64, and small networks are faster on the CPU there.

    Raises
    ------
    ValueError
        Where the name is none of torch's, or the device is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if work >= GPU_WORK and torch.cuda.is_available() else "cpu")
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


def widest(device: torch.device) -> torch.dtype:
    """The floating-point numbers with the most digits that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Run small operations in one thread and large ones in as many as torch is set to.

    Threads meet after every kernel. In a step of some tens of microseconds that costs as much as it saves, and a hundred times
    more where another process holds one of the cores. torch keeps the number per calling thread, so fits that run side by side
    do not disturb each other.
    """
    before = torch.get_num_threads()
    if work >= PARALLEL_WORK or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
