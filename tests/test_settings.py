"""Parameters become settings: names are objects, and every fit reads them the same way."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

from skvae import (
    L1,
    L2,
    AutoencoderTransformer,
    Contractive,
    GaussianNoise,
    KLSparsity,
    Masking,
    SaltAndPepper,
    SwapNoise,
    VAETransformer,
)

X = load_iris().data[::3]
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
MIXED = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.where(X[:, 0] > 5.8, "long", "short"))
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 8, "early_stopping": False, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def assert_same_fit(first, second, table):
    """Two unfitted estimators give the same bits."""
    for fitted in (first, second):
        fitted.fit(table)
    np.testing.assert_array_equal(first.transform(table), second.transform(table))
    np.testing.assert_array_equal(first.score_samples(table), second.score_samples(table))
    np.testing.assert_array_equal(first.noise_variance_, second.noise_variance_)
    assert first.loss_curve_ == second.loss_curve_


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
@pytest.mark.parametrize("table", [X, HOLES, MIXED], ids=["numbers", "holes", "mixed"])
def test_masking_by_name_is_masking(kind, table):
    assert_same_fit(kind(2, corruption="masking", **QUICK), kind(2, corruption=Masking(), **QUICK), table)


@pytest.mark.parametrize(
    ("name", "corruption"), [("gaussian", GaussianNoise()), ("salt_and_pepper", SaltAndPepper()), ("swap", SwapNoise())]
)
def test_corruption_by_name_is_the_object_with_its_defaults(name, corruption):
    estimator = AutoencoderTransformer(2, **QUICK)
    assert_same_fit(clone(estimator).set_params(corruption=name), estimator.set_params(corruption=corruption), HOLES)


@pytest.mark.parametrize(
    ("name", "penalty"), [("l1", L1()), ("l2", L2()), ("contractive", Contractive()), ("kl_sparsity", KLSparsity())]
)
def test_penalty_by_name_is_the_object_with_its_defaults(name, penalty):
    estimator = AutoencoderTransformer(2, code_activation="logistic", **QUICK)
    assert_same_fit(clone(estimator).set_params(penalty=name), estimator.set_params(penalty=penalty), X)


class Linear(AutoencoderTransformer):
    """A subclass with one parameter of its parent's."""

    def __init__(self, n_components=2):
        super().__init__(n_components, hidden_layer_sizes=(), random_state=0)


def test_a_subclass_with_parameters_of_its_own():
    model = clone(Linear(3)).fit(X)
    assert model.get_params() == {"n_components": 3}
    expected = AutoencoderTransformer(3, hidden_layer_sizes=(), random_state=0).fit(X)
    np.testing.assert_array_equal(model.transform(X), expected.transform(X))


def test_rows_that_are_not_learned_from():
    rng = np.random.default_rng(0)
    table = np.concatenate([rng.normal(size=(180, 2)) @ rng.normal(size=(2, 4)), rng.normal(size=(20, 2)) * 4 @ np.eye(2, 4)])
    errors = []
    for fraction in (1.0, 0.8):
        params = QUICK | {"init": "random", "max_iter": 150, "support_fraction": fraction}
        errors.append(AutoencoderTransformer(2, **params).fit(table).reconstruction_error(table[:180]).mean())
    assert errors[1] < 0.9 * errors[0]


def test_a_vae_that_learns_from_some_rows():
    models = [VAETransformer(2, support_fraction=fraction, **QUICK).fit(X) for fraction in (1.0, 0.8)]
    assert np.abs(models[0].transform(X) - models[1].transform(X)).max() > 1e-3
