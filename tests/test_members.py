"""The models that a detector or an imputer holds, and what copying estimators leaves alone."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer
from skvae._fitted import Fitted
from skvae._tables.schema import Schema
from skvae.core.training import Run

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(80, 2)) @ RNG.normal(size=(2, 4)) + 0.1 * RNG.normal(size=(80, 4))
FRAME = pd.DataFrame(NUMBERS, columns=list("abcd")).assign(kind=np.where(NUMBERS[:, 0] > 0, "high", "low"))
SMALL = {"hidden_layer_sizes": (8,), "random_state": 0}
DETECTOR = AEAnomalyDetector(4, cv=10, max_iter=2, **SMALL)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def detector():
    return clone(DETECTOR).fit(NUMBERS)


@pytest.fixture(scope="module")
def imputer():
    return AutoencoderImputer(max_iter=2, **SMALL).fit(NUMBERS)


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


def test_a_detector_holds_what_is_fitted_and_no_estimators(detector):
    networks = detector._oddness.networks.fitted
    assert [type(fitted) for fitted in networks] == [Fitted] * 10
    assert not any(isinstance(value, AutoencoderTransformer) for value in vars(detector).values())


def test_networks_know_the_columns_of_their_owner():
    fitted = clone(DETECTOR).set_params(cv=2).fit(FRAME)
    for network in fitted._oddness.networks.fitted:
        assert list(network.schema.names) == list(FRAME.columns)
        np.testing.assert_array_equal(network.is_number, [True] * 4 + [False])


def test_a_network_is_that_of_a_plain_transformer_of_its_rows(monkeypatch):
    fits, fit_rows = [], AutoencoderTransformer._fit_rows

    def recorded(self, schema, table, owner):
        fits.append((self, table))
        return fit_rows(self, schema, table, owner=owner)

    with monkeypatch.context() as patched:
        patched.setattr(AutoencoderTransformer, "_fit_rows", recorded)
        fitted = clone(DETECTOR).set_params(cv=2, support_fraction=1.0).fit(NUMBERS)
    networks, part = fitted._oddness.networks, fitted._oddness.training.find(NUMBERS).part
    cells = networks.squashing.apply(NUMBERS)
    for i, ((model, table), network) in enumerate(zip(fits, networks.fitted, strict=True)):
        np.testing.assert_array_equal(table.rows, cells[part != i])
        again = clone(model)
        again._fit_rows(Schema("numpy"), table, owner=fitted)
        np.testing.assert_array_equal(again.score_cells(cells), network.score_cells(cells, cells, 1))


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy, clone, repr], ids=lambda function: function.__name__)
def test_copying_leaves_an_estimator_alone(detector, imputer, copied):
    for estimator in (detector, imputer, imputer.autoencoder_):
        before = dict(vars(estimator))
        copied(estimator)
        assert vars(estimator).keys() == before.keys()
        assert all(vars(estimator)[name] is value for name, value in before.items())


@pytest.mark.parametrize("copied", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_copy_shares_no_memory_with_the_estimator(detector, imputer, copied):
    network, twin = (of._oddness.networks.fitted[0].module for of in (detector, copied(detector)))
    assert {p.data_ptr() for p in network.parameters()}.isdisjoint(p.data_ptr() for p in twin.parameters())
    model = imputer.autoencoder_
    twin = copied(model)
    assert {p.data_ptr() for p in model.module_.parameters()}.isdisjoint(p.data_ptr() for p in twin.module_.parameters())
    np.testing.assert_array_equal(twin.transform(NUMBERS), model.transform(NUMBERS))


# Models that are fitted together


def holed(table):
    return np.where(np.random.default_rng(1).random(table.shape) < 0.1, np.nan, table)


def test_models_of_an_imputer_differ_and_are_each_as_good():
    X = holed(NUMBERS)
    imputer = AutoencoderImputer(**SMALL).fit(X)
    weights = [model.module_.encoder.out.weight.detach().numpy() for model in imputer.estimators_]
    assert not any(np.allclose(weights[0], others) for others in weights[1:])
    scores = [model.score(X) for model in imputer.estimators_]
    assert np.ptp(scores) < 1.0
    assert {model.n_iter_ for model in imputer.estimators_} == {imputer.n_iter_}


@pytest.mark.parametrize(("n_estimators", "expected"), [(1, 2), (2, 2), (3, 3)])
def test_a_single_model_of_an_imputer_is_trained_along_with_one_of_all_rows(n_estimators, expected, monkeypatch):
    seen, start = [], Run.__init__

    def recorded(run, models, *args):
        seen.append(len(models))
        start(run, models, *args)

    monkeypatch.setattr(Run, "__init__", recorded)
    imputer = AutoencoderImputer(n_estimators=n_estimators, max_iter=2, **SMALL).fit(holed(NUMBERS))
    assert (seen, len(imputer.estimators_)) == ([expected], n_estimators)
