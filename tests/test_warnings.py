"""Warnings point at the line that the user wrote."""

import inspect

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1000, 2)) @ RNG.normal(size=(2, 4)) + 0.1 * RNG.normal(size=(1000, 4))
NAMES = pd.DataFrame(X[:60], columns=list("abcd")).assign(name=[f"person {i}" for i in range(60)])
QUICK = {"max_iter": 4, "hidden_layer_sizes": (4,), "early_stopping": False, "random_state": 0}
ESTIMATORS = {
    "autoencoder": AutoencoderTransformer(2, init="random", **QUICK),
    "vae": VAETransformer(2, init="random", **QUICK),
    "imputer": AutoencoderImputer(**QUICK | {"max_iter": 2}),
    "detector": AEAnomalyDetector(2, cv=2, **QUICK),
}
CALLS = [
    *((name, "fit") for name in ESTIMATORS),
    *((name, "fit_transform") for name in ("autoencoder", "vae", "imputer")),
    ("detector", "fit_predict"),
]


def assert_warns_here(fit, table, category, match):
    """A fit, called on a line of this function, gives one warning of its kind, which names that line."""
    with pytest.warns(category, match=match) as record:
        fit(table)
    line = inspect.currentframe().f_lineno - 1
    (warning,) = [w for w in record if w.category is category]
    assert (warning.filename, warning.lineno) == (__file__, line)


@pytest.mark.parametrize(("name", "method"), CALLS)
def test_training_that_ended_too_early(name, method):
    assert_warns_here(getattr(ESTIMATORS[name], method), X, ConvergenceWarning, "still falling")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("name", "method"), CALLS)
def test_levels_that_are_all_rare(name, method):
    assert_warns_here(getattr(ESTIMATORS[name], method), NAMES, UserWarning, "'name' has 60 categories")


def test_levels_of_a_polars_frame():
    frame = pl.DataFrame(NAMES.to_dict("list"))
    model = AutoencoderTransformer(hidden_layer_sizes=(), max_iter=200)
    assert_warns_here(model.fit, frame, UserWarning, "'name' has 60 categories")


def test_within_a_pipeline():
    model = make_pipeline(StandardScaler(), ESTIMATORS["autoencoder"])
    assert_warns_here(model.fit_transform, X, ConvergenceWarning, "still falling")


def test_within_a_search():
    search = GridSearchCV(ESTIMATORS["vae"], {"n_components": [2]}, cv=2)
    with pytest.warns(ConvergenceWarning, match="still falling") as record:
        search.fit(X)
    line = inspect.currentframe().f_lineno - 1
    assert {(w.filename, w.lineno) for w in record} == {(__file__, line)}
