"""The models that a detector or an imputer holds, and what copying estimators leaves alone."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer
from skvae._tables.schema import Schema

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(80, 2)) @ RNG.normal(size=(2, 4)) + 0.1 * RNG.normal(size=(80, 4))
FRAME = pd.DataFrame(NUMBERS, columns=list("abcd")).assign(kind=np.where(NUMBERS[:, 0] > 0, "high", "low"))
SMALL = {"hidden_layer_sizes": (8,), "random_state": 0}
DETECTOR = AEAnomalyDetector(4, cv=10, max_iter=2, **SMALL)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def detector():
    return clone(DETECTOR).fit(NUMBERS)


@pytest.fixture
def n_reads(monkeypatch):
    """How often a table was read, by what was read of it."""
    calls = {"of": 0, "cells": 0}
    of, cells = Schema.of.__func__, Schema.cells

    def counting_of(cls, *args):
        calls["of"] += 1
        return of(cls, *args)

    def counting_cells(self, *args):
        calls["cells"] += 1
        return cells(self, *args)

    monkeypatch.setattr(Schema, "of", classmethod(counting_of))
    monkeypatch.setattr(Schema, "cells", counting_cells)
    return calls


@pytest.mark.parametrize(
    "estimator",
    [DETECTOR, AutoencoderTransformer(2, max_iter=3, **SMALL), AutoencoderImputer(max_iter=3, **SMALL)],
    ids=["detector", "autoencoder", "imputer"],
)
def test_fit_reads_its_table_once(estimator, n_reads):
    clone(estimator).fit(FRAME)
    assert n_reads == {"of": 1, "cells": 1}


@pytest.mark.parametrize("method", ["score_samples", "predict", "p_values", "explain"])
def test_a_detector_reads_once_what_it_scores(method, n_reads):
    fitted = clone(DETECTOR).set_params(cv=2).fit(FRAME)
    n_reads.update(of=0, cells=0)
    getattr(fitted, method)(FRAME)
    assert n_reads == {"of": 0, "cells": 1}


def test_models_are_plain_transformers(detector):
    assert {type(model) for model in detector.estimators_} == {AutoencoderTransformer}
    assert repr(detector.estimators_[0]).startswith("AutoencoderTransformer(")
    assert detector.estimators_[0].support_fraction == 0.8


@pytest.mark.parametrize("variational", [False, True])
def test_a_clone_of_a_model_fits_to_the_same_bits(variational):
    params = {"variational": variational, "cv": 2, "max_iter": 3 if variational else "auto"}
    fitted = clone(DETECTOR).set_params(**params).fit(NUMBERS)
    model = fitted.estimators_[0]
    again = clone(model).fit(NUMBERS, sample_weight=weights_of_first(fitted))
    assert type(again) is (VAETransformer if variational else AutoencoderTransformer)
    np.testing.assert_array_equal(again.transform(NUMBERS), model.transform(NUMBERS))
    np.testing.assert_array_equal(again.score_samples(NUMBERS), model.score_samples(NUMBERS))


def weights_of_first(fitted):
    """Zero for the rows that the first model did not see."""
    unseen_by = fitted._unseen.by(NUMBERS)
    assert set(unseen_by) == {0, 1}
    return (unseen_by != 0).astype(float)


def test_models_know_the_columns_of_their_owner():
    fitted = clone(DETECTOR).set_params(cv=2).fit(FRAME)
    for model in fitted.estimators_:
        np.testing.assert_array_equal(model.feature_names_in_, FRAME.columns)
        assert model.transform(FRAME).shape == (80, 4)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy, clone, repr], ids=lambda function: function.__name__)
def test_copying_leaves_an_estimator_alone(detector, copied):
    imputer = AutoencoderImputer(max_iter=2, **SMALL).fit(NUMBERS)
    for estimator in (detector, detector.estimators_[0], imputer, imputer.autoencoder_):
        before = dict(vars(estimator))
        copied(estimator)
        assert vars(estimator).keys() == before.keys()
        assert all(vars(estimator)[name] is value for name, value in before.items())


@pytest.mark.parametrize("copied", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_copy_shares_no_memory_with_the_estimator(detector, copied):
    model = detector.estimators_[0]
    before = {p.data_ptr() for p in model.module_.parameters()}
    twin = copied(model)
    assert before.isdisjoint(p.data_ptr() for p in twin.module_.parameters())
    np.testing.assert_array_equal(twin.transform(NUMBERS), model.transform(NUMBERS))
