"""The threshold of ``contamination="auto"``, and what is kept of the training rows."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import expon, false_discovery_control, genpareto
from sklearn.base import clone
from sklearn.model_selection import KFold

from skvae import AEAnomalyDetector
from skvae._detector.repetitions import parts_of, repetitions_of
from skvae._detector.tail import Tail, threshold_of

QUICK = {"n_components": 8, "hidden_layer_sizes": (8,), "max_iter": 3, "cv": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(120, 3))
PLANTED = np.concatenate([X, [[40, -40, 40], [-50, 50, 30.0]]])

# A few epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("scores", [expon(2, 3), genpareto(0.5, 1, 2)], ids=["exponential", "heavy"])
def test_the_tail_is_as_likely_as_the_best_that_an_optimiser_finds(scores):
    sample = scores.rvs(2000, random_state=0)
    middle, end = np.quantile(sample, [0.5, 0.9])
    seen, n_beyond = sample[(sample > middle) & (sample < end)] - middle, (sample >= end).sum()

    def cost(shape, scale):
        model = genpareto(shape, scale=scale)
        return -model.logpdf(seen).sum() - n_beyond * model.logsf(end - middle)

    tail = Tail.of(sample)
    best = minimize(lambda p: cost(*p), [0.3, 2.0], bounds=[(0, 1), (0.1, 20)], method="Nelder-Mead").fun
    assert cost(tail.shape, tail.scale) == pytest.approx(best, abs=0.05)
    np.testing.assert_allclose(
        tail.p_values(sample), np.where(sample > middle, 0.5 * genpareto(tail.shape, middle, tail.scale).sf(sample), 1)
    )
    assert tail.p_values(np.array([tail.score_at(0.01)])) == pytest.approx(0.01)


def test_rows_beyond_the_threshold_are_those_that_survive():
    scores = np.concatenate([np.random.default_rng(0).exponential(size=300), [20, 25, 30]])
    survive = false_discovery_control(Tail.of(scores).p_values(scores)) <= 0.1
    assert survive.sum() >= 3
    np.testing.assert_array_equal(scores > threshold_of(scores), survive)


def test_where_none_survives_the_threshold_is_what_one_row_would_need():
    scores = np.linspace(0, 1, 200)
    threshold = threshold_of(scores)
    assert threshold > 1
    assert Tail.of(scores).p_values(np.array([threshold])) == pytest.approx(0.1 / 200)


def test_rounding_is_no_reason_to_flag():
    scores = np.where(np.arange(50) == 7, 1 + 1e-12, 1.0)
    assert not (scores > threshold_of(scores)).any()


@pytest.mark.parametrize("draw", ["normal", "uniform"])
def test_of_a_clean_table_hardly_a_row_is_flagged(draw):
    tables = [getattr(np.random.default_rng(seed), draw)(size=(300, 4)) for seed in range(4)]
    flagged = [AEAnomalyDetector(contamination="auto", **QUICK).fit_predict(table) == -1 for table in tables]
    assert np.mean(flagged) < 0.01


def test_planted_rows_are_flagged_and_attributes_say_so():
    detector = AEAnomalyDetector(contamination="auto", **QUICK).fit(PLANTED)
    assert (detector.labels_[-2:] == -1).all()
    assert (detector.labels_ == -1).sum() < 8
    np.testing.assert_array_equal(detector.labels_, detector.predict(PLANTED))
    np.testing.assert_array_equal(detector.decision_scores_, -detector.score_samples(PLANTED))
    explicit = clone(detector).set_params(support_fraction=0.8).fit(PLANTED)
    assert explicit.offset_ == detector.offset_


def test_labels_are_not_those_of_other_rows():
    detector = AEAnomalyDetector(**QUICK).fit(X).partial_fit(X)
    assert not hasattr(detector, "labels_")
    assert not hasattr(detector, "decision_scores_")


def test_integer_weights_are_repetitions_and_0_is_absence():
    rng = np.random.default_rng(1)
    weights, order = rng.integers(0, 4, len(X)), rng.permutation(len(X))
    repeated = AEAnomalyDetector(**QUICK).fit(np.repeat(X, weights, axis=0))
    weighted = AEAnomalyDetector(**QUICK).fit(X[order], sample_weight=weights[order])
    assert weighted.offset_ == repeated.offset_
    for method in ("score_samples", "p_values"):
        np.testing.assert_array_equal(getattr(weighted, method)(X), getattr(repeated, method)(X))
    np.testing.assert_array_equal(weighted.decision_scores_, -weighted.score_samples(X[order]))


def test_weights_that_are_all_one_are_none():
    plain, weighted = (AEAnomalyDetector(**QUICK).fit(X, sample_weight=weights) for weights in (None, np.ones(len(X))))
    np.testing.assert_array_equal(plain.decision_scores_, weighted.decision_scores_)


def test_other_weights_are_rounded_without_bias():
    weights = np.array([0.0, 0.5, 1.0, 1.3, 2.7, 4.0])
    counts = np.array([repetitions_of(weights, np.random.default_rng(seed)) for seed in range(2000)])
    np.testing.assert_allclose(counts.mean(axis=0), weights, atol=0.05)
    assert (np.abs(counts - weights) < 1).all()


def test_small_weights_are_raised_and_large_ones_lowered():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(repetitions_of(np.full(8, 0.125), rng), 1)
    assert repetitions_of(np.full(4, 1e9), rng).tolist() == [25_000] * 4


def test_a_single_row_is_refused():
    with pytest.raises(ValueError, match="sample_weight leaves a single row"):
        AEAnomalyDetector(**QUICK).fit(X, sample_weight=np.arange(len(X)) == 3)
    AEAnomalyDetector(**QUICK).fit(X, sample_weight=2 * (np.arange(len(X)) == 3))


def test_splits_say_which_network_does_not_see_a_row():
    splits = list(KFold(3).split(X))
    for cv in (splits, KFold(3)):
        detector = AEAnomalyDetector(**QUICK | {"cv": cv}).fit(X)
        part = detector._oddness.training.find(X).part
        np.testing.assert_array_equal(part, np.repeat([0, 1, 2], 40))
        assert len(detector._oddness.networks.fitted) == 3
    with pytest.raises(ValueError, match="cv never holds out row 80"):
        parts_of(splits[:2], X)
    with pytest.raises(ValueError, match="not a pair of training and test indices for 20 rows"):
        parts_of(splits, X[:20])
