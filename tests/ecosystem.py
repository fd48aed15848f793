"""Tools of scikit-learn tried on each estimator, and the page of the documentation with the results.

    python tests/ecosystem.py docs/guide/ecosystem.md

tries all cases and writes the page.
"""

import argparse
import pickle
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import sklearn
from sklearn.base import BaseEstimator, clone, is_outlier_detector
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import BaggingClassifier, IsolationForest, StackingClassifier, VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import estimator_html_repr

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer

QUICK: dict[str, Any] = {"hidden_layer_sizes": (4,), "max_iter": 2, "early_stopping": False, "random_state": 0}
ESTIMATORS: dict[str, BaseEstimator] = {
    "AutoencoderTransformer": AutoencoderTransformer(2, **QUICK),
    "VAETransformer": VAETransformer(2, n_importance_samples=4, **QUICK),
    "AEAnomalyDetector": AEAnomalyDetector(8, **QUICK),
    "AutoencoderImputer": AutoencoderImputer(n_estimators=1, **QUICK),
}
PEERS: dict[str, BaseEstimator] = {  # scikit-learn's own estimator of the kind
    "AutoencoderTransformer": PCA(2),
    "VAETransformer": FactorAnalysis(2),
    "AEAnomalyDetector": IsolationForest(n_estimators=5, random_state=0),
    "AutoencoderImputer": SimpleImputer(),
}
SEARCHED: dict[str, dict[str, list[Any]]] = {
    "AutoencoderTransformer": {"n_components": [1, 3]},
    "VAETransformer": {"n_components": [1, 3]},
    "AEAnomalyDetector": {"n_neighbors": [1, 5]},
    "AutoencoderImputer": {"standardize": [True, "robust"]},
    "PCA": {"n_components": [1, 3]},
    "FactorAnalysis": {"n_components": [1, 3]},
    "IsolationForest": {"max_samples": [0.5, 1.0]},
    "SimpleImputer": {"strategy": ["mean", "median"]},
}
Table = np.ndarray | pd.DataFrame

ROWS = np.arange(0, 128, 2)  # of the first two of three classes
Y = load_wine().target[ROWS]
SIGNS = np.where(Y == 1, -1, 1)  # as detectors have it
COMPLETE = load_wine(as_frame=True).data.iloc[ROWS, :6].reset_index(drop=True)
HOLED = COMPLETE.mask(np.random.default_rng(0).random(COMPLETE.shape) < 0.1)
WEIGHTS = np.random.default_rng(1).integers(1, 4, len(ROWS)).astype(float)
FOLDS = KFold(2, shuffle=True, random_state=0)

Check = Callable[[Any], None]
CHECKS: dict[str, Check] = {}
REFUSED: dict[str, dict[str, str]] = {}  # by case and estimator, why scikit-learn refuses it


def case(title: str, **refused: str) -> Callable[[Check], Check]:
    """Register a check of an unfitted estimator, and why scikit-learn refuses some of the estimators."""

    def add(check: Check) -> Check:
        CHECKS[title], REFUSED[title] = check, refused
        return check

    return add


NO_SCORE = "it has no `score`; pass `scoring`"
NO_SCORE_OF_FILLING = f"{NO_SCORE}, or search a pipeline that ends in a classifier"
NO_CLASSIFIER = "it is not a classifier"
NOT_A_TRANSFORMER = "it is not a transformer"
NO_PROBABILITIES = "it has no `predict_proba`"


# What the checks share


def is_detector(model: Any) -> bool:
    return is_outlier_detector(model)


def table_of(model: Any) -> pd.DataFrame:
    return HOLED if isinstance(model, AutoencoderImputer | SimpleImputer) else COMPLETE


def target_of(model: Any) -> np.ndarray:
    return SIGNS if is_detector(model) else Y


def learner(model: Any, **options: Any) -> Pipeline:
    """A pipeline that predicts: it ends in the detector, or in a classifier after the transformer."""
    last = [] if is_detector(model) else [("classify", LogisticRegression())]
    return Pipeline([("scale", StandardScaler()), ("model", model), *last], **options)


def scoring_of(model: Any) -> str:
    return "roc_auc" if is_detector(model) else "accuracy"


def output(model: Any, X: Table) -> np.ndarray:
    """The result of a fitted estimator: decisions of a detector, else transformed rows."""
    return np.asarray(model.decision_function(X) if is_detector(model) else model.transform(X))


def grid_of(model: Any, prefix: str = "") -> dict[str, list[Any]]:
    return {prefix + name: values for name, values in SEARCHED[type(model).__name__].items()}


def assert_same(found: Any, expected: Any, shape: tuple[int, ...] | None = None) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    assert shape is None or found.shape == shape
    assert found.dtype.kind not in "fc" or np.isfinite(found).all()
    np.testing.assert_array_equal(found, expected)


# The cases


@case("`clone`, `get_params`, `set_params`")
def check_clone(model: Any) -> None:
    copy = clone(model)
    assert {name: repr(value) for name, value in copy.get_params().items()} == {
        name: repr(value) for name, value in model.get_params().items()
    }
    name, values = next(iter(grid_of(model).items()))
    copy.set_params(**{name: values[0]})
    X = table_of(model)
    assert_same(output(copy.fit(X), X), output(clone(model).set_params(**{name: values[0]}).fit(X), X))


@case("`pickle`")
def check_pickle(model: Any) -> None:
    X = table_of(model)
    assert_same(output(pickle.loads(pickle.dumps(model.fit(X))), X), output(model, X))


@case("`print` and the diagram in a notebook")
def check_repr(model: Any) -> None:
    assert type(model).__name__ in repr(learner(model))
    assert type(model).__name__ in estimator_html_repr(learner(model).fit(table_of(model), Y))


@case("`Pipeline(memory=...)`, as a step before the last", AEAnomalyDetector=NOT_A_TRANSFORMER)
def check_pipeline(model: Any) -> None:
    X = table_of(model)
    with tempfile.TemporaryDirectory() as folder:
        steps = Pipeline([("model", model), ("classify", LogisticRegression())], memory=folder)
        first, second = (clone(steps).fit(X, Y) for _ in range(2))  # the second from the cache
        by_hand = LogisticRegression().fit(clone(model).fit_transform(X), Y)
        for fitted in (first, second):
            assert_same(fitted.predict(X), by_hand.predict(clone(model).fit(X).transform(X)), (len(X),))


@case("`Pipeline`, as the last step")
def check_last_step(model: Any) -> None:
    X = table_of(model)
    scaler = StandardScaler().set_output(transform="pandas").fit(X)
    pipeline = make_pipeline(clone(scaler), model).fit(X)
    assert_same(output(pipeline, X), output(clone(model).fit(scaler.transform(X)), scaler.transform(X)))


@case("`FeatureUnion`", AEAnomalyDetector=NOT_A_TRANSFORMER)
def check_feature_union(model: Any) -> None:
    X = table_of(model)
    union = FeatureUnion([("model", model), ("same", "passthrough")])
    found = np.asarray(union.fit(X).transform(X))
    expected = np.hstack([clone(model).fit(X).transform(X), X])
    np.testing.assert_array_equal(found, expected)
    assert len(union.get_feature_names_out()) == found.shape[1]


@case('`ColumnTransformer(remainder="passthrough")`', AEAnomalyDetector=NOT_A_TRANSFORMER)
def check_column_transformer(model: Any) -> None:
    X = table_of(model)
    names, rest = list(X.columns[:4]), list(X.columns[4:])
    found = ColumnTransformer([("model", model, names)], remainder="passthrough").fit(X).transform(X)
    np.testing.assert_array_equal(found, np.hstack([clone(model).fit(X[names]).transform(X[names]), X[rest]]))


@case('`set_output(transform="pandas")`', AEAnomalyDetector=NOT_A_TRANSFORMER)
def check_pandas(model: Any) -> None:
    X = table_of(model)
    found = clone(model).set_output(transform="pandas").fit(X).transform(X)
    plain = np.asarray(model.fit(X).transform(X))
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == list(model.get_feature_names_out())
    assert_same(found, plain)


@case('`set_output(transform="polars")`', AEAnomalyDetector=NOT_A_TRANSFORMER)
def check_polars(model: Any) -> None:
    X = table_of(model).to_numpy()
    found = clone(model).set_output(transform="polars").fit(X).transform(X)
    plain = np.asarray(model.fit(X).transform(X))
    assert isinstance(found, pl.DataFrame)
    assert list(found.columns) == list(model.get_feature_names_out())
    assert_same(found, plain)


@case("`TransformedTargetRegressor(transformer=...)`", AEAnomalyDetector=NOT_A_TRANSFORMER)
def check_target(model: Any) -> None:
    X, targets = COMPLETE.iloc[:, :3], COMPLETE.iloc[:, 3:].to_numpy()
    regressor = TransformedTargetRegressor(LinearRegression(), transformer=model, check_inverse=False).fit(X, targets)
    coded = clone(model).fit(targets)
    expected = coded.inverse_transform(LinearRegression().fit(X, coded.transform(targets)).predict(X))
    assert_same(regressor.predict(X), expected, targets.shape)


@case("`FrozenEstimator`")
def check_frozen(model: Any) -> None:
    X = table_of(model)
    frozen = FrozenEstimator(model.fit(X[:40]))
    assert_same(output(clone(frozen).fit(X, Y), X), output(model, X))


@case("`GridSearchCV` without `scoring`", AEAnomalyDetector=NO_SCORE, AutoencoderImputer=NO_SCORE_OF_FILLING)
def check_own_score(model: Any) -> None:
    X = table_of(model)
    search = GridSearchCV(model, grid_of(model), cv=FOLDS).fit(X)
    by_hand = np.mean([clone(search.best_estimator_).fit(X.iloc[train]).score(X.iloc[test]) for train, test in FOLDS.split(X)])
    np.testing.assert_allclose(search.best_score_, by_hand, rtol=1e-12)


@case("`GridSearchCV` of a pipeline, with `scoring`")
def check_grid_search(model: Any) -> None:
    X, y, scoring = table_of(model), target_of(model), scoring_of(model)
    search = GridSearchCV(learner(model), grid_of(model, "model__"), cv=FOLDS, scoring=scoring).fit(X, y)
    expected = cross_val_score(clone(search.best_estimator_), X, y, cv=FOLDS, scoring=scoring).mean()
    assert_same(search.best_score_, expected)
    assert_same(search.predict(X), search.best_estimator_.predict(X), (len(X),))


@case("`HalvingGridSearchCV`")
def check_halving(model: Any) -> None:
    X, y = table_of(model), target_of(model)
    options = {"cv": FOLDS, "scoring": scoring_of(model), "factor": 2, "min_resources": 30, "random_state": 0}
    search = HalvingGridSearchCV(learner(model), grid_of(model, "model__"), **options).fit(X, y)
    assert_same(search.predict(X), clone(search.best_estimator_).fit(X, y).predict(X), (len(X),))


@case("`cross_val_score`")
def check_cross_val_score(model: Any) -> None:
    X, y = table_of(model), target_of(model)
    scores = cross_val_score(learner(model), X, y, cv=FOLDS, scoring=scoring_of(model))
    scorer = get_scorer(scoring_of(model))
    folds = list(FOLDS.split(X))
    fits = [learner(clone(model)).fit(X.iloc[train], y[train]) for train, _ in folds]
    assert_same(scores, [scorer(fit, X.iloc[test], y[test]) for fit, (_, test) in zip(fits, folds, strict=True)], (2,))


@case("`cross_val_predict`")
def check_cross_val_predict(model: Any) -> None:
    X, y = table_of(model), target_of(model)
    expected = np.empty(len(X), dtype=int)
    for train, test in FOLDS.split(X):
        expected[test] = learner(clone(model)).fit(X.iloc[train], y[train]).predict(X.iloc[test])
    assert_same(cross_val_predict(learner(model), X, y, cv=FOLDS), expected, (len(X),))


@case("`learning_curve`")
def check_learning_curve(model: Any) -> None:
    X, y, scoring = table_of(model), target_of(model), scoring_of(model)
    found = learning_curve(learner(model), X, y, cv=FOLDS, scoring=scoring, train_sizes=[0.9, 1.0])
    expected = cross_val_score(learner(model), X, y, cv=FOLDS, scoring=scoring)
    assert np.isfinite(found[1]).all()
    assert_same(found[2][-1], expected, (2,))


@case("`permutation_importance`")
def check_permutation_importance(model: Any) -> None:
    X, y = table_of(model), target_of(model)
    options = {"scoring": scoring_of(model), "n_repeats": 2, "random_state": 0}
    of_frame, of_array = (
        permutation_importance(learner(clone(model)).fit(table, y), table, y, **options).importances
        for table in (X, X.to_numpy().copy())
    )
    assert_same(of_frame, of_array, (X.shape[1], 2))


@case("`StackingClassifier`", AEAnomalyDetector=NO_CLASSIFIER)
def check_stacking(model: Any) -> None:
    X, y = table_of(model), target_of(model)
    stack = StackingClassifier([("one", learner(model)), ("two", learner(clone(model)))], cv=FOLDS).fit(X, y)
    single = learner(clone(model)).fit(X, y)
    assert_same(stack.transform(X), np.column_stack([single.predict_proba(X)[:, 1]] * 2), (len(X), 2))


@case("`VotingClassifier`", AEAnomalyDetector=NO_CLASSIFIER)
def check_voting(model: Any) -> None:
    X, y = table_of(model), target_of(model)
    vote = VotingClassifier([("one", learner(model)), ("two", learner(clone(model)))], voting="soft").fit(X, y)
    assert_same(vote.predict_proba(X), learner(clone(model)).fit(X, y).predict_proba(X), (len(X), 2))


@case("`BaggingClassifier`", AEAnomalyDetector=NO_PROBABILITIES)
def check_bagging(model: Any) -> None:
    X, y = table_of(model), target_of(model)
    bag = BaggingClassifier(learner(model), n_estimators=2, bootstrap=False, max_samples=50, random_state=0).fit(X, y)
    members = [each.predict_proba(X.to_numpy()) for each in bag.estimators_]
    assert_same(bag.predict_proba(X), sum(members) / 2, (len(X), 2))


@case("`CalibratedClassifierCV` of a pipeline", AEAnomalyDetector=NO_CLASSIFIER)
def check_calibration(model: Any) -> None:
    X, y = table_of(model), target_of(model)
    calibrated = CalibratedClassifierCV(learner(model), cv=FOLDS).fit(X, y)
    probabilities = calibrated.predict_proba(X)
    members = [each.predict_proba(X) for each in calibrated.calibrated_classifiers_]
    assert_same(probabilities, np.mean(members, axis=0), (len(X), 2))


@case("`CalibratedClassifierCV` of the estimator itself", **dict.fromkeys(ESTIMATORS, NO_CLASSIFIER))
def check_direct_calibration(model: Any) -> None:
    CalibratedClassifierCV(model, cv=FOLDS).fit(table_of(model), target_of(model))


@case("`SelfTrainingClassifier`", AEAnomalyDetector=NO_PROBABILITIES)
def check_self_training(model: Any) -> None:
    X, y = table_of(model).to_numpy(), target_of(model)  # of a frame it keeps the array alone
    known = np.where(np.arange(len(y)) % 3 == 0, -1, y)
    found = SelfTrainingClassifier(learner(model), max_iter=1, threshold=0.999).fit(X, known)
    assert_same(found.predict(X), found.estimator_.predict(X), (len(X),))


@case("Metadata routing of `sample_weight` in a `Pipeline`")
def check_routing(model: Any) -> None:
    X = table_of(model)
    with sklearn.config_context(enable_metadata_routing=True):
        requesting = clone(model).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(requesting).fit(X, sample_weight=WEIGHTS)
    assert_same(output(pipeline, X), output(clone(model).fit(X, sample_weight=WEIGHTS), X))


@case("Metadata routing of `sample_weight` in a `GridSearchCV`")
def check_routing_of_search(model: Any) -> None:
    X, y = table_of(model), target_of(model)
    with sklearn.config_context(enable_metadata_routing=True):
        requesting = clone(model).set_fit_request(sample_weight=True)
        last = LogisticRegression().set_fit_request(sample_weight=False)
        steps = [requesting] if is_detector(model) else [requesting, last]
        scorer = get_scorer(scoring_of(model)).set_score_request(sample_weight=False)
        grid = grid_of(model, f"{type(model).__name__.lower()}__")
        search = GridSearchCV(make_pipeline(*steps), grid, cv=FOLDS, scoring=scorer)
        found = search.fit(X, y, sample_weight=WEIGHTS).best_estimator_[0]
    assert_same(output(found, X), output(clone(found).fit(X, sample_weight=WEIGHTS), X))


# The page

HEAD = """# scikit-learn compatibility

The table shows which tools of scikit-learn work with which estimator. "Yes" and "no" are results of tests, in which the tool is
fitted to a part of the wine table, with missing values for the imputer. For tools that need predictions, the estimator stands
in a pipeline between a `StandardScaler` and a `LogisticRegression`. The detector is the last step of its pipeline.

* *yes*: the tool accepts the estimator. The result is finite, has the right shape, and equals the result of the same steps done
  by hand.
* *no*: scikit-learn does not accept this kind of estimator in the tool. Its own `PCA`, `FactorAnalysis`, `IsolationForest` and
  `SimpleImputer` raise the same error there.

`python tests/ecosystem.py docs/guide/ecosystem.md` runs the tests and writes this page.

"""


def attempt(title: str, name: str) -> str | None:
    """The error of an estimator in a case; None if there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # there are only a few epochs
        try:
            CHECKS[title](clone(ESTIMATORS[name]))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


def page() -> str:
    """The text of the page, without trying the cases."""
    lines = [["", *(f"`{name}`" for name in ESTIMATORS)], ["---"] * (1 + len(ESTIMATORS))]
    lines += [[title, *(_entry(title, name) for name in ESTIMATORS)] for title in CHECKS]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return HEAD + table + "\n"


def _entry(title: str, name: str) -> str:
    reason = REFUSED[title].get(name)
    return "yes" if reason is None else f"no: {reason}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="file to write")
    path = parser.parse_args().page
    wrong = {
        (title, name): problem
        for title in CHECKS
        for name in ESTIMATORS
        if name not in REFUSED[title] and (problem := attempt(title, name))
    }
    for (title, name), problem in wrong.items():
        print(f"{name} in {title}: {problem}")  # noqa: T201
    if not wrong:
        path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
