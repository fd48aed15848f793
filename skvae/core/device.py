"""Devices and threads."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PARALLEL_WORK = 1e8  # operations per call, below which a second thread costs more than it saves
GPU_WORK = 1e8  # operations per training step; a core does these in the time that it takes to launch a GPU's kernels


def resolve_device(name: str, work: float = math.inf) -> torch.device:
    """The device of a name; "auto" is CUDA if it is available and pays, else the CPU.

    ``work`` is the number of operations per call; its bound is calculated, not measured. Apple's "mps" is used on request only:
    it has no float64, and small networks are faster on the CPU.

    Raises
    ------
    ValueError
        If torch does not know the name, or the device is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if work >= GPU_WORK and torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device={name!r} is not a device of torch; use 'auto', 'cpu', 'cuda' or 'mps'.") from error
    if not is_available(device):
        raise ValueError(f"device={name!r} is not available on this machine; use device='auto' or device='cpu'.")
    return device


def is_available(device: torch.device) -> bool:
    """Whether the device is available on this machine."""
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


def widest(device: torch.device) -> torch.dtype:
    """The floating-point dtype with the highest precision on a device."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Run small operations in one thread, and large ones in torch's number of threads.

    Threads synchronise after every kernel. In a step of some tens of microseconds that costs as much as it saves, and a hundred
    times more if another process uses one of the cores. torch keeps the number per calling thread, so concurrent fits do not
    affect each other.
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
