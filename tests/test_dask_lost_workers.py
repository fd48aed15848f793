"""A worker that is killed or frozen ends a fit with an error, and the next fit works."""

import os
import signal
import time

import numpy as np
import pytest

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")

import dask.array as da  # noqa: E402

from skvae._dask import fits, ranks  # noqa: E402
from skvae._dask.cluster import WorkerLostError  # noqa: E402
from skvae.dask import DaskAutoencoderTransformer  # noqa: E402
from tests.clusters import two_workers  # noqa: E402

TIMEOUT = 8.0
X = np.random.default_rng(0).normal(size=(2000, 5))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing freezes a process here"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def client():
    ready = {"distributed.worker.preload": ["import skvae.dask"]}  # a worker that imports torch is silent for seconds
    stay = {"distributed.deploy.lost-worker-timeout": "1 hour"}  # else nannies of lost workers end
    with two_workers(**ready | stay) as client:
        yield client


@pytest.fixture
def model(client):
    """An estimator that has been fitted, on two workers."""
    client.wait_for_workers(2, timeout=30)
    params = {"hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "tol": 0, "random_state": 0}
    return DaskAutoencoderTransformer(**params, client=client, timeout=TIMEOUT).fit(table())


def table():
    return da.from_array(X, chunks=(500, -1))


@pytest.fixture
def signal_in_training(client, monkeypatch):
    """Send a signal to a worker, by its number, as soon as a first epoch is over; its process."""

    def send(worker, number):
        pid = [pid for _, pid in sorted(client.run(os.getpid).items())][worker]

        class Bar(ranks.tqdm):
            def update(self, n=1):
                if not self.sent:
                    os.kill(pid, number)
                self.sent = True

            sent = False

        monkeypatch.setattr(ranks, "tqdm", Bar)
        return pid

    return send


def failed(model, words):
    """The seconds until a long fit fails, which leaves the estimator as it was."""
    model.set_params(max_iter=100_000, verbose=True)
    before, scores = dict(vars(model)), model.score_samples(X).tobytes()
    start = time.monotonic()
    with pytest.raises(WorkerLostError, match=words):
        model.fit(table())
    seconds = time.monotonic() - start
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert model.score_samples(X).tobytes() == scores
    model.set_params(max_iter=2, verbose=False)
    return seconds


def test_rows_are_read_anew_where_their_worker_is_lost(model, client, monkeypatch):
    pids = client.run(os.getpid)

    def train(*args):
        os.kill(min(pids.values()), signal.SIGKILL)
        while len({*client.scheduler_info(n_workers=-1)["workers"]} & {*pids}) == 2:
            time.sleep(0.05)
        return ranks.train_together(*args)

    monkeypatch.setattr(fits, "train_together", train)
    assert model.fit(table()).n_iter_ == 2


def test_a_worker_is_killed_while_it_trains(model, signal_in_training):
    signal_in_training(0, signal.SIGKILL)
    assert failed(model, "Fit again") < TIMEOUT + 10
    assert model.fit(table()).n_iter_ == 2


def test_a_worker_freezes_while_it_trains(model, signal_in_training):
    pid = signal_in_training(1, signal.SIGSTOP)
    try:
        assert failed(model, "[Ff]it again") < TIMEOUT + 10
    finally:
        os.kill(pid, signal.SIGCONT)
    assert model.fit(table()).n_iter_ == 2
