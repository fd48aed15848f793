"""Callbacks of scikit-learn: the tasks that they are told of, what they are given, and how they stop a training."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer

callback = pytest.importorskip("sklearn.callback", reason="before scikit-learn 1.9")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = load_iris().data
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0}
TRAINED = {"init": "random", "early_stopping": False, **SMALL}
HELD_OUT = {"init": "random", "early_stopping": True, "n_iter_no_change": 100, **SMALL}


class Recorder:
    """Remembers what it is told; asks to stop after so many epochs."""

    def __init__(self, stop_after=None):
        self.tasks, self.fitted, self.n_open, self.stop_after = [], [], 0, stop_after

    def setup(self, estimator, context):
        self.n_open += 1

    def teardown(self, estimator, context):
        self.n_open -= 1

    def on_fit_task_begin(self, estimator, context):
        self.tasks.append((context.task_name, context.max_subtasks))
        self.n_open += 1

    def on_fit_task_end(self, estimator, context):
        self.n_open -= 1
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


class Keeper(Recorder):
    """Also asks for a fitted estimator of each task."""

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.fitted.append((context.task_name, X, y, metadata, fitted_estimator))
        return super().on_fit_task_end(estimator, context)

    def of_epochs(self):
        return [estimator for name, *_, estimator in self.fitted if name == "epoch"]


def score_of(estimator, X, y):
    return {"score": estimator.score(X)}


def fitted(estimator, *callbacks, **options):
    return estimator.set_callbacks(*callbacks).fit(X, **options)


# Tasks


EPOCHS = [("epoch", 0)] * 4


@pytest.mark.parametrize(
    ("estimator", "tasks"),
    [
        (AutoencoderTransformer(2, **TRAINED), [("fit", 1), ("train", 4), *EPOCHS]),
        (AutoencoderTransformer(2, **HELD_OUT), [("fit", 1), ("choose epochs", 4), *EPOCHS]),
        (AutoencoderTransformer(2, hidden_layer_sizes=()), [("fit", 1)]),
        (VAETransformer(2, **TRAINED), [("fit", 1), ("train", 4), *EPOCHS]),
        (
            AEAnomalyDetector(4, **SMALL),
            [("fit", 2), ("train, network 1", 4), *EPOCHS, ("train, network 2", 4), *EPOCHS],
        ),
        (AutoencoderImputer(early_stopping=False, **SMALL), [("fit", 1), ("train, 3 networks", 4), *EPOCHS]),
    ],
    ids=["autoencoder", "held out", "PCA", "VAE", "detector", "imputer"],
)
def test_a_fit_is_a_tree_of_tasks(estimator, tasks):
    recorder = Recorder()
    estimator = fitted(clone(estimator), recorder)
    assert recorder.tasks == tasks
    assert recorder.n_open == 0
    assert not {"_fit_task", "_callback_fit_ctx"} & {*vars(estimator)}


@pytest.mark.parametrize("params", [TRAINED, HELD_OUT], ids=["trained", "held out"])
def test_a_model_is_the_same_with_and_without_callbacks(params):
    plain = VAETransformer(2, **params).fit(X)
    watched = fitted(VAETransformer(2, **params), Keeper())
    np.testing.assert_array_equal(watched.transform(X), plain.transform(X))
    assert watched.loss_curve_ == plain.loss_curve_
    assert watched.validation_scores_ == plain.validation_scores_


def test_partial_fit_tells_callbacks_of_nothing():
    recorder = Recorder()
    AutoencoderTransformer(2, **TRAINED).set_callbacks(recorder).partial_fit(X)
    assert recorder.tasks == []


# What they are given


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
@pytest.mark.parametrize("params", [TRAINED, HELD_OUT], ids=["trained", "held out"])
def test_the_estimator_of_an_epoch_is_the_model_of_that_epoch(kind, params):
    keeper = Keeper()
    last = fitted(kind(2, **params), keeper)
    of_epochs = keeper.of_epochs()
    assert [estimator.loss_curve_ for estimator in of_epochs] == [last.loss_curve_[: k + 1] for k in range(4)]
    assert len({estimator.score(X) for estimator in of_epochs}) == 4
    if params is TRAINED or last.best_iter_ == 4:
        np.testing.assert_allclose(of_epochs[-1].score_samples(X), last.score_samples(X), rtol=1e-4, atol=1e-4)


def test_callbacks_get_the_rows_for_y_where_there_is_none():
    keeper, y, weights = Keeper(), load_iris().target, np.ones(len(X))
    fitted(AutoencoderTransformer(2, **TRAINED), keeper)
    assert all(given is X and target is X and metadata is None for _, given, target, metadata, _ in keeper.fitted)
    keeper.fitted.clear()
    fitted(AutoencoderTransformer(2, **TRAINED), keeper, y=y, sample_weight=weights)
    assert all(target is y and metadata["sample_weight"] is weights for *_, target, metadata, _ in keeper.fitted)


def test_no_model_is_copied_where_no_callback_asks(monkeypatch):
    def refuse(*args):
        raise AssertionError("copied")

    monkeypatch.setattr("skvae._fit.fit.deepcopy", refuse)
    fitted(AutoencoderTransformer(2, **TRAINED), Recorder())
    with pytest.raises(AssertionError, match="copied"):
        fitted(AutoencoderTransformer(2, **TRAINED), Keeper())


def test_score_takes_the_weights_that_a_scorer_passes_on():
    weights = np.arange(len(X), dtype=float)
    model = VAETransformer(2, **TRAINED).fit(X)
    assert model.score(X, sample_weight=weights) == pytest.approx(np.average(model.score_samples(X), weights=weights))
    assert model.score(X, sample_weight=weights) != pytest.approx(model.score(X))


# Stopping


@pytest.mark.parametrize("params", [TRAINED, HELD_OUT], ids=["trained", "held out"])
def test_a_callback_stops_the_training_after_its_epoch(params):
    model = fitted(AutoencoderTransformer(2, **params), Recorder(stop_after=2))
    assert model.n_iter_ == model.best_iter_ == 2
    assert np.isfinite(model.score(X))


def test_an_epoch_that_would_not_have_been_judged_is_where_a_callback_stops():
    params = {**HELD_OUT, "max_iter": 1000}  # of which one in seven is judged
    model = fitted(AutoencoderTransformer(2, **params), Recorder(stop_after=5))
    assert model.n_iter_ == model.best_iter_ == 5
    assert model.validation_scores_[-1] > model.validation_scores_[0]


def test_a_callback_stops_each_network_of_a_detector_and_all_of_an_imputer():
    recorder = Recorder(stop_after=1)
    detector = fitted(AEAnomalyDetector(4, **SMALL), recorder)
    assert [name for name, _ in recorder.tasks] == ["fit", "train, network 1", "epoch", "train, network 2", "epoch"]
    assert np.isfinite(detector.score_samples(X)).all()
    imputer = fitted(AutoencoderImputer(early_stopping=False, **SMALL), Recorder(stop_after=1))
    assert [model.n_iter_ for model in imputer.estimators_] == [1, 1, 1]


# scikit-learn's own callbacks, pipelines and searches


def test_a_scoring_monitor_scores_every_epoch_and_the_fit():
    monitor = callback.ScoringMonitor(scoring=score_of)
    model = fitted(AutoencoderTransformer(2, **TRAINED), monitor)
    scores = {row["task_id_path"]: row["score"] for row in monitor.get_logs().data}
    assert [*scores] == [(0,), *((0, 0, k) for k in range(4))]
    assert scores[0,] == model.score(X)
    assert scores[0, 0, 3] == pytest.approx(model.score(X), rel=1e-4)


def test_a_scoring_monitor_follows_all_fits_of_a_search():
    monitor = callback.ScoringMonitor(scoring=score_of)
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(**TRAINED).set_callbacks(monitor))
    grid = {"autoencodertransformer__n_components": [1, 2]}
    GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X)
    rows = [row for log in monitor.get_logs(select="all") for row in log.data if row["task_name"] == "epoch"]
    assert len(rows) == 4 * (2 * 2 + 1)
    assert all(np.isfinite(row["score"]) for row in rows)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_progress_bar_shows_the_epochs_of_a_search(n_jobs, capsys):
    pytest.importorskip("rich", reason="draws the bars")
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(**TRAINED))
    search = GridSearchCV(pipeline, {"autoencodertransformer__n_components": [1, 2]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X)
    shown = capsys.readouterr().out
    assert "AutoencoderTransformer - fit" in shown
    assert shown.count("AutoencoderTransformer - train") >= 5


# Fits that fail, copies


FAILING = """
import numpy as np
from skvae import AutoencoderTransformer

class Recorder:
    def setup(self, estimator, context): print("set up")
    def teardown(self, estimator, context): print("torn down")
    def on_fit_task_begin(self, estimator, context): pass
    def on_fit_task_end(self, estimator, context): pass

callbacks = [Recorder()]
try:
    from sklearn.callback import ProgressBar
    callbacks.append(ProgressBar())
except ImportError:
    pass
model = AutoencoderTransformer(2, init="random", learning_rate_init=1e30, early_stopping=False, random_state=0)
try:
    model.set_callbacks(*callbacks).fit(np.random.default_rng(0).normal(size=(40, 3)))
except FloatingPointError:
    print("diverged")
print(sorted(name for name in vars(model) if "callback" in name or "task" in name))
"""


def test_a_fit_that_fails_tears_its_callbacks_down_and_the_process_ends():
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, timeout=60, check=True)
    lines = [line for line in done.stdout.splitlines() if line and " - " not in line]  # those are the bar's
    assert lines == ["set up", "torn down", "diverged", "['_skl_callbacks']"]


def test_an_estimator_with_callbacks_is_pickled_and_cloned():
    recorder, monitor = Recorder(), callback.ScoringMonitor(scoring=score_of)
    model = fitted(AutoencoderTransformer(2, **TRAINED), recorder, monitor)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    again.fit(X)
    assert clone(model)._skl_callbacks == [recorder, monitor]
    np.testing.assert_array_equal(clone(model).fit(X).transform(X), model.transform(X))
    assert len(monitor.get_logs(select="all")) == 2


def test_estimators_on_dask_take_no_callbacks():
    pytest.importorskip("distributed")
    from skvae.dask import DaskAutoencoderTransformer

    assert not hasattr(DaskAutoencoderTransformer(), "set_callbacks")
