"""What Ctrl-C leaves."""

import signal

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer
from skvae.core.training import Run

X = load_iris().data
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 10, "random_state": 0}
TRAINED = AutoencoderTransformer(2, init="random", early_stopping=False, **SMALL)
HELD_OUT = AutoencoderTransformer(2, init="random", early_stopping=True, n_iter_no_change=100, **SMALL)
FROM_PCA = AutoencoderTransformer(2, **SMALL)
DETECTOR = AEAnomalyDetector(4, **SMALL)
IMPUTER = AutoencoderImputer(early_stopping=False, **SMALL)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C in the middle of an epoch, counted over all trainings."""

    def in_epoch(number):
        n_begun, load = 0, Run.epoch

        def epoch(self):
            nonlocal n_begun
            n_begun += 1
            if n_begun == number:
                self.members.vector.fill_(np.nan)  # weights that an epoch leaves halfway
                signal.raise_signal(signal.SIGINT)
            return load(self)

        monkeypatch.setattr(Run, "epoch", epoch)

    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell turns off for what runs behind
    yield in_epoch
    signal.signal(signal.SIGINT, earlier)


@pytest.mark.parametrize(
    ("estimator", "which"),
    [(TRAINED, "epoch 3, the last complete one"), (HELD_OUT, "epoch 3, the best so far on the held-out rows")],
    ids=["trained", "held out"],
)
@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_the_best_model_stays(kind, estimator, which, interrupt):
    params = estimator.get_params()
    model = kind(**{name: params[name] for name in kind().get_params() if name in params})
    interrupt(4)
    with pytest.warns(UserWarning, match=rf"interrupted after 3 epochs. The model is that of {which}. Fit again"):
        model.fit(X)
    assert model.n_iter_ == model.best_iter_ == len(model.loss_curve_) == 3
    assert model.validation_scores_ is None or len(model.validation_scores_) == 4
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_so_does_the_start_where_that_is_a_model(early_stopping, interrupt):
    model = clone(FROM_PCA).set_params(early_stopping=early_stopping)
    interrupt(1)
    with pytest.warns(UserWarning, match=r"after 0 epochs. The model is that at the start of training"):
        model.fit(X)
    pca = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(X)
    assert model.best_iter_ == 0
    np.testing.assert_allclose(model.reconstruct(X), pca.reconstruct(X), atol=1e-4)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_warm_start_stays_where_it_was(early_stopping, interrupt):
    model = clone(HELD_OUT).set_params(early_stopping=early_stopping, warm_start=True).fit(X)
    before = model.transform(X)
    interrupt(1)
    with pytest.warns(UserWarning, match="at the start of training"):
        model.fit(X)
    np.testing.assert_allclose(model.transform(X), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("estimator", [TRAINED, HELD_OUT, DETECTOR], ids=["trained", "held out", "detector"])
def test_before_there_is_a_model_the_earlier_fit_stays(estimator, interrupt):
    model = clone(estimator).fit(X)
    before = dict(vars(model))
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert vars(model) == before


@pytest.mark.parametrize(("number", "is_kept"), [(4, False), (10, False), (14, True), (20, True)])
def test_a_detector_needs_all_of_its_networks(number, is_kept, interrupt):
    detector = clone(DETECTOR)
    interrupt(number)
    if is_kept:
        with pytest.warns(UserWarning, match=f"interrupted after {number - 11} epochs"):
            detector.fit(X)
        assert np.isfinite(detector.score_samples(X)).all()
    else:
        with pytest.raises(KeyboardInterrupt):
            detector.fit(X)
        assert not hasattr(detector, "offset_")


def test_the_networks_of_an_imputer_are_all_of_one_epoch(interrupt):
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    imputer = clone(IMPUTER)
    interrupt(3)
    with pytest.warns(UserWarning, match=r"interrupted after 2 epochs. The model is that of epoch 2"):
        imputer.fit(holes)
    assert [model.n_iter_ for model in imputer.estimators_] == [2, 2, 2]
    assert np.isfinite(imputer.transform(holes)).all()


def test_partial_fit_is_interrupted_as_a_whole(interrupt):
    model = clone(TRAINED).fit(X)
    before = dict(vars(model))
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X)
    assert vars(model) == before
