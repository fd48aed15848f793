import threading

import pytest
import torch

from skvae.core.device import GPU_WORK, is_available, resolve_device, threads_for


@pytest.fixture
def machine(monkeypatch):
    """A function that makes this machine have so many GPUs, and Apple's or not."""

    def make(n_gpus=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return make


@pytest.mark.parametrize(
    ("n_gpus", "mps", "expected"), [(0, False, "cpu"), (1, False, "cuda"), (0, True, "cpu"), (2, True, "cuda")]
)
def test_auto_is_cuda_where_there_is_one(n_gpus, mps, expected, machine):
    machine(n_gpus, mps)
    assert resolve_device("auto") == torch.device(expected)


@pytest.mark.parametrize(("work", "expected"), [(0.9 * GPU_WORK, "cpu"), (GPU_WORK, "cuda")])
def test_auto_is_the_cpu_where_there_is_little_to_do(work, expected, machine):
    machine(n_gpus=1)
    assert resolve_device("auto", work) == torch.device(expected)
    assert resolve_device("cuda", work) == torch.device("cuda")


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps"])
def test_a_device_that_is_there_is_taken_by_name(name, machine):
    machine(n_gpus=2, mps=True)
    assert resolve_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "meta"])
def test_a_device_that_is_not_there_is_refused(name, machine):
    machine()
    assert not is_available(torch.device(name))
    with pytest.raises(ValueError, match=f"device='{name}' is not available on this machine"):
        resolve_device(name)


def test_a_gpu_beyond_the_last_is_refused(machine):
    machine(n_gpus=2)
    with pytest.raises(ValueError, match="device='cuda:2' is not available"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "CPU", "cuda:-1"])
def test_a_name_that_torch_does_not_know_is_refused_with_the_names_to_use(name):
    with pytest.raises(ValueError, match=f"device='{name}' is not a device of torch; use 'auto'"):
        resolve_device(name)


@pytest.fixture
def two_threads():
    """torch set to two threads, and back."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("work", "expected"), [(1e3, 1), (1e12, 2)])
def test_small_work_runs_in_one_thread(work, expected, two_threads):
    with threads_for(work):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 2


def test_threads_are_put_back_after_an_error(two_threads):
    with pytest.raises(KeyError), threads_for(1.0):
        raise KeyError
    assert torch.get_num_threads() == 2


def test_uses_may_be_nested(two_threads):
    with threads_for(1.0):
        with threads_for(1.0):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("first_out", ["this", "other"])
def test_uses_in_two_threads_may_overlap(first_out, two_threads):
    seen = {}
    ready, enter, entered, leave = (threading.Event() for _ in range(4))

    def other():
        seen["before"] = torch.get_num_threads()
        ready.set()
        enter.wait(10)
        with threads_for(1.0):
            seen["inside"] = torch.get_num_threads()
            entered.set()
            leave.wait(10)
        seen["after"] = torch.get_num_threads()

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait(10)
    with threads_for(1.0):
        enter.set()
        entered.wait(10)
        if first_out == "other":
            leave.set()
            thread.join()
        assert torch.get_num_threads() == 1
    leave.set()
    thread.join()
    assert torch.get_num_threads() == 2
    assert seen == {"before": 2, "inside": 1, "after": 2}
