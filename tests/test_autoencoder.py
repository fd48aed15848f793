"""The autoencoder as its users meet it."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AutoencoderTransformer

WINE = np.random.default_rng(0).permutation(load_wine().data)
DIGITS = load_digits().data
QUICK = {"hidden_layer_sizes": (16,), "max_iter": 12, "random_state": 0}
RANDOM = {**QUICK, "init": "random", "early_stopping": False}

# Twelve epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit(X=WINE, n_components=2, **params):
    return AutoencoderTransformer(n_components, **QUICK | params).fit(X)


@pytest.fixture(scope="module")
def fitted():
    return fit()


def error_ratio(X, k, seed, **params):
    """Held-out squared error on standardised columns, over PCA's."""
    train, test = train_test_split(X, test_size=0.3, random_state=seed)
    scaler = StandardScaler().fit(train)
    Z = scaler.transform(test)
    pca = PCA(k).fit(scaler.transform(train))
    estimator = AutoencoderTransformer(k, random_state=seed, **params).fit(train)
    error = np.square(scaler.transform(estimator.reconstruct(test)) - Z).sum()
    return error / np.square(pca.inverse_transform(pca.transform(Z)) - Z).sum()


# Quality


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_never_worse_than_pca(load):
    assert np.mean([error_ratio(load().data, 2, seed, max_iter=50) for seed in range(3)]) <= 1.001


def test_better_than_pca():
    assert np.mean([error_ratio(DIGITS, 8, seed, hidden_layer_sizes=(32,), max_iter=30) for seed in range(2)]) < 0.85


# Frames


@pytest.fixture(params=["pandas", "polars"])
def frame(request):
    names = [f"c{i}" for i in range(WINE.shape[1])]
    if request.param == "pandas":
        return pd.DataFrame(WINE, columns=names, index=[f"row {i}" for i in range(len(WINE))]).astype({"c3": "float32"})
    return pl.DataFrame(WINE, schema=names).cast({"c3": pl.Float32})


def assert_like(result, frame):
    assert type(result) is type(frame)
    assert list(result.columns) == list(frame.columns)
    assert list(result.dtypes) == list(frame.dtypes)
    if isinstance(frame, pd.DataFrame):
        assert result.index.equals(frame.index)


def test_frame_in_frame_out(frame):
    estimator = fit(frame)
    assert estimator.feature_names_in_.tolist() == list(frame.columns)
    assert_like(estimator.reconstruct(frame), frame)
    assert_like(estimator.reconstruct(frame[5:9]), frame[5:9])
    np.testing.assert_allclose(estimator.reconstruct(frame), fit(frame.to_numpy()).reconstruct(WINE), rtol=1e-4)


@pytest.mark.parametrize("output", ["pandas", "polars", "default"])
def test_set_output(frame, output):
    estimator = fit(frame, early_stopping=False).set_output(transform=output)
    codes = estimator.transform(frame)
    expected = clone(estimator).set_output(transform="default").fit_transform(frame)
    np.testing.assert_array_equal(np.asarray(codes), expected)
    assert type(codes) is {"pandas": pd.DataFrame, "polars": pl.DataFrame, "default": np.ndarray}[output]
    if output != "default":
        assert list(codes.columns) == ["autoencodertransformer0", "autoencodertransformer1"]
        assert list(codes.columns) == estimator.get_feature_names_out().tolist()
    if output == "pandas" and isinstance(frame, pd.DataFrame):
        assert codes.index.equals(frame.index)
    rows = estimator.inverse_transform(codes)
    assert type(rows) is type(frame)
    assert list(rows.dtypes) == list(frame.dtypes)
    np.testing.assert_allclose(rows, estimator.reconstruct(frame), rtol=1e-4)


def test_codes_carry_their_index_back():
    frame = pd.DataFrame(WINE, index=[f"row {i}" for i in range(len(WINE))]).add_prefix("c")
    estimator = fit(frame).set_output(transform="pandas")
    assert_like(estimator.inverse_transform(estimator.transform(frame)), frame)


def test_array_in_array_out(fitted):
    assert isinstance(fitted.reconstruct(WINE), np.ndarray)
    assert isinstance(fitted.inverse_transform(WINE[:, :2]), np.ndarray)
    assert not hasattr(fitted, "feature_names_in_")


# Within scikit-learn


def test_fit_transform_is_fit_then_transform(fitted):
    np.testing.assert_array_equal(clone(fitted).fit_transform(WINE), fitted.transform(WINE))


def test_reconstruct_is_transform_then_inverse_transform(fitted):
    np.testing.assert_allclose(fitted.inverse_transform(fitted.transform(WINE)), fitted.reconstruct(WINE), rtol=1e-6)


def test_pipeline():
    pipeline = make_pipeline(StandardScaler(), AutoencoderTransformer(3, **QUICK))
    codes = pipeline.fit_transform(WINE)
    assert codes.shape == (len(WINE), 3)
    assert pipeline.inverse_transform(codes).shape == WINE.shape
    assert pipeline.score(WINE) == pipeline[-1].score(pipeline[0].transform(WINE))
    assert pipeline.get_feature_names_out().tolist() == [f"autoencodertransformer{i}" for i in range(3)]


def test_grid_search():
    grid = {"n_components": [1, 2], "hidden_layer_sizes": [(), (4,)]}
    search = GridSearchCV(AutoencoderTransformer(**QUICK), grid, cv=2).fit(WINE)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["n_components"] == 2
    assert search.transform(WINE).shape == (len(WINE), 2)


def test_cross_val_score():
    scores = cross_val_score(AutoencoderTransformer(**QUICK), WINE, cv=2)
    halves = WINE[: len(WINE) // 2], WINE[len(WINE) // 2 :]
    expected = [fit(halves[1]).score(halves[0]), fit(halves[0]).score(halves[1])]
    np.testing.assert_array_equal(scores, expected)


def test_clone_and_repr(fitted):
    assert clone(fitted).get_params() == fitted.get_params()
    assert not hasattr(clone(fitted), "module_")
    assert "hidden_layer_sizes=(16,)" in repr(fitted)


# What is learned


def test_attributes(fitted):
    assert fitted.n_features_in_ == WINE.shape[1]
    assert fitted.n_components_ == fitted._n_features_out == 2
    assert fitted.device_ == torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert fitted.device == "auto"
    assert isinstance(fitted.module_, torch.nn.Module)
    assert not fitted.module_.training
    assert fitted.noise_variance_ > 0


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"hidden_layer_sizes": ()},
        {"early_stopping": False},
        {"hidden_layer_sizes": (), "init": "random"},
        {"max_iter": 1},
        {"n_iter_no_change": 1, "tol": 1e6},
    ],
    ids=str,
)
def test_history(params):
    estimator = fit(**params)
    scores = estimator.validation_scores_
    assert 1 <= estimator.n_iter_ <= estimator.max_iter
    assert 0 <= estimator.best_iter_ <= estimator.max_iter
    assert estimator.n_iter_ == max(1, len(estimator.loss_curve_))
    assert np.isfinite(estimator.loss_curve_).all()
    if scores is not None:
        assert np.isfinite(scores).all()
        assert estimator.best_iter_ in {0, int(np.argmax(scores))}
        assert scores[estimator.best_iter_] >= scores[0]


@pytest.mark.parametrize(
    ("params", "judged"),
    [
        ({"early_stopping": "auto"}, True),
        ({"early_stopping": True}, True),
        ({"early_stopping": False}, False),
        ({"early_stopping": "auto", "hidden_layer_sizes": (), "init": "random"}, False),
        ({"early_stopping": True, "hidden_layer_sizes": (), "init": "random"}, True),
    ],
    ids=str,
)
def test_early_stopping(params, judged):
    estimator = fit(**params)
    assert (estimator.validation_scores_ is not None) == judged
    if not judged:
        assert estimator.n_iter_ == estimator.best_iter_ == estimator.max_iter


def test_stops_when_nothing_improves():
    estimator = fit(early_stopping=False, tol=1e6, n_iter_no_change=3)
    assert estimator.n_iter_ == 4  # the first epoch, then three that are not better by tol


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("likelihood", ["mse", "gaussian"])
def test_validation_starts_at_pca(likelihood, standardize):
    train, held_out = WINE[::2], WINE[1::2]
    estimator = fit(train, likelihood=likelihood, standardize=standardize, max_iter=3)
    estimator.fit(train, X_val=held_out)
    scaler = StandardScaler(with_std=standardize).fit(train)
    scale = scaler.scale_ if standardize else np.ones(WINE.shape[1])
    A, B = scaler.transform(train), scaler.transform(held_out)
    pca = PCA(2).fit(A)
    variance = 1.0 if likelihood == "mse" else np.square(A - pca.inverse_transform(pca.transform(A))).mean()
    expected = stats.norm.logpdf(B, pca.inverse_transform(pca.transform(B)), np.sqrt(variance)) - np.log(scale)
    np.testing.assert_allclose(estimator.validation_scores_[0], expected.sum(1).mean(), rtol=1e-4)
    assert len(estimator.validation_scores_) == estimator.n_iter_ + 1


def test_rows_given_for_validation_decide():
    train, held_out = WINE[::2], WINE[1::2]
    weights = np.arange(len(held_out)) % 3
    a, b = fit(train), fit(train)
    a.fit(train, X_val=held_out, sample_weight_val=weights)
    b.fit(train, X_val=np.repeat(held_out, weights, axis=0))
    assert a.validation_scores_ == b.validation_scores_
    np.testing.assert_array_equal(a.transform(WINE), b.transform(WINE))
    assert a.validation_scores_ != fit(train).fit(train, X_val=held_out).validation_scores_


@pytest.mark.parametrize(
    "params",
    [{}, {"hidden_layer_sizes": ()}, {"init": "random", "early_stopping": False, "batch_size": 32, "standardize": False}],
    ids=str,
)
def test_weight_is_repetition(params):
    weights = np.random.default_rng(0).integers(0, 3, size=len(WINE))
    weighted = AutoencoderTransformer(2, **QUICK | params).fit(WINE, sample_weight=weights)
    repeated = fit(np.repeat(WINE, weights, axis=0), **params)
    np.testing.assert_array_equal(weighted.transform(WINE), repeated.transform(WINE))
    np.testing.assert_array_equal(weighted.reconstruct(WINE), repeated.reconstruct(WINE))
    np.testing.assert_array_equal(weighted.score_samples(WINE), repeated.score_samples(WINE))


# Scores


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("params", [{"early_stopping": False}, {"hidden_layer_sizes": ()}, {"likelihood": "mse"}], ids=str)
def test_score_is_a_normal_density(params, standardize):
    X = np.column_stack([WINE, np.full(len(WINE), 2.5)])  # a constant column counts with scale 1
    estimator = fit(X, standardize=standardize, **params)
    scale = StandardScaler().fit(X).scale_ if standardize else np.ones(X.shape[1])
    if params.get("likelihood") == "mse":
        np.testing.assert_allclose(estimator.noise_variance_, 1.0, rtol=1e-6)
    deviation = np.sqrt(estimator.noise_variance_) * scale
    expected = stats.norm.logpdf(X, estimator.reconstruct(X), deviation).sum(1)
    np.testing.assert_allclose(estimator.score_samples(X), expected, rtol=1e-4)
    np.testing.assert_allclose(estimator.score(X), expected.mean(), rtol=1e-4)
    assert estimator.score(X) == estimator.score_samples(X).mean()


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (16,)])
def test_reconstruction_error(hidden_layer_sizes, standardize):
    estimator = fit(hidden_layer_sizes=hidden_layer_sizes, standardize=standardize, early_stopping=False)
    scale = WINE.std(0) if standardize else 1.0
    expected = np.square((estimator.reconstruct(WINE) - WINE) / scale).sum(1)
    np.testing.assert_allclose(estimator.reconstruction_error(WINE), expected, rtol=1e-3)


def test_noise_variance_of_training_rows():
    estimator = fit(early_stopping=False)
    np.testing.assert_allclose(
        estimator.noise_variance_, estimator.reconstruction_error(WINE).mean() / WINE.shape[1], rtol=1e-5
    )


def test_auto_is_gaussian_for_numbers():
    auto, gaussian = (fit(**RANDOM | {"likelihood": likelihood}) for likelihood in ("auto", "gaussian"))
    np.testing.assert_array_equal(auto.score_samples(WINE), gaussian.score_samples(WINE))


@pytest.mark.parametrize(("hidden_layer_sizes", "init"), [((), "random"), ((16,), "pca")])
def test_bernoulli(hidden_layer_sizes, init):
    X = (DIGITS[:300] > 8).astype(float)
    params = {"likelihood": "bernoulli", "init": init, "hidden_layer_sizes": hidden_layer_sizes, "n_components": 4}
    estimator = fit(X, early_stopping=False, max_iter=200, **params)
    p = estimator.reconstruct(X)
    assert ((p >= 0) & (p <= 1)).all()
    assert estimator.noise_variance_ is None
    q = np.clip(p, 1e-30, 1 - 1e-7)
    np.testing.assert_allclose(estimator.score_samples(X), (X * np.log(q) + (1 - X) * np.log1p(-q)).sum(1), rtol=1e-3)
    base = np.clip(X.mean(0), 1e-9, 1 - 1e-9)
    assert estimator.score(X) > stats.bernoulli.logpmf(X, base).sum(1).mean()
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]


# Training


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", 3),
        ("hidden_layer_sizes", (9,)),
        ("activation", "tanh"),
        ("decoder_layer_sizes", (7,)),
        ("init", "pca"),
        ("standardize", False),
        ("likelihood", "mse"),
        ("weight_decay", 1.0),
        ("learning_rate", "constant"),
        ("learning_rate_init", 0.05),
        ("batch_size", 32),
        ("max_iter", 5),
        ("early_stopping", True),
        ("shuffle", False),
        ("random_state", 1),
    ],
)
def test_option_is_read(name, value):
    params = {**RANDOM, "batch_size": 64}
    assert not np.array_equal(fit(**params | {name: value}).score_samples(WINE), fit(**params).score_samples(WINE))


def test_validation_fraction_is_read():
    X = np.random.default_rng(0).normal(size=(6000, 3))
    scores = [fit(X, hidden_layer_sizes=(4,), max_iter=1, validation_fraction=f).validation_scores_ for f in [0.1, 0.5]]
    assert scores[0] != scores[1]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": ()}], ids=str)
def test_warm_start_goes_on(params, early_stopping):
    estimator = fit(
        **RANDOM | params | {"early_stopping": early_stopping, "warm_start": True, "max_iter": 60, "learning_rate_init": 0.01}
    )
    first, codes = list(estimator.loss_curve_), estimator.transform(WINE)
    before = estimator.score(WINE)
    estimator.set_params(max_iter=1, learning_rate_init=1e-9).fit(WINE)
    assert estimator.loss_curve_[: len(first)] == first
    assert len(estimator.loss_curve_) > len(first)
    assert estimator.loss_curve_[len(first)] < 0.9 * first[0]
    np.testing.assert_allclose(estimator.transform(WINE), codes, atol=1e-4)
    np.testing.assert_allclose(estimator.score(WINE), before, rtol=0.1)


def test_without_warm_start_begins_anew():
    estimator = fit(**RANDOM)
    codes = estimator.transform(WINE)
    np.testing.assert_array_equal(estimator.fit(WINE).transform(WINE), codes)
    assert len(estimator.loss_curve_) == estimator.max_iter


def test_convergence_warning():
    estimator = AutoencoderTransformer(**RANDOM | {"max_iter": 7, "learning_rate": "constant"})
    with pytest.warns(ConvergenceWarning, match="max_iter above 7") as caught:
        estimator.fit(WINE)
    assert [record.filename for record in caught] == [__file__]


@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": ()}], ids=str)
def test_no_convergence_warning_after_enough_epochs(params):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit(**RANDOM | {"max_iter": 300, "learning_rate_init": 0.01} | params).n_iter_ > 100


def test_no_convergence_warning_where_more_epochs_would_be_worse():
    params = {"init": "random", "hidden_layer_sizes": (64,), "learning_rate": "constant", "learning_rate_init": 0.02}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = fit(WINE[:40], n_components=6, **params, max_iter=100, n_iter_no_change=1000)
    assert 1 < estimator.best_iter_ < 90  # overfitting sets in: it is not for want of epochs that the loss still falls


@pytest.mark.parametrize(("verbose", "early_stopping"), [(True, True), (1, False)])
def test_verbose(capsys, verbose, early_stopping):
    fit(verbose=verbose, early_stopping=early_stopping)
    shown = capsys.readouterr().err
    assert "AutoencoderTransformer" in shown
    assert "loss=" in shown
    assert ("validation=" in shown) == early_stopping


def test_silent_by_default(capsys):
    fit()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("hidden_layer_sizes", "decoder_layer_sizes"), [((8, 5), None), ((8, 5), ()), ((8, 5), (3, 4)), ((), (7,)), ((), None)]
)
def test_layer_sizes(hidden_layer_sizes, decoder_layer_sizes):
    sizes = {"hidden_layer_sizes": hidden_layer_sizes, "decoder_layer_sizes": decoder_layer_sizes}
    module = fit(**sizes, max_iter=1, early_stopping=False).module_
    expected = hidden_layer_sizes[::-1] if decoder_layer_sizes is None else decoder_layer_sizes
    assert tuple(layer.out_features for layer in module.encoder.hidden) == hidden_layer_sizes
    assert tuple(layer.out_features for layer in module.decoder.hidden) == expected


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu", "silu", "gelu"])
def test_activations(activation):
    estimator = fit(**RANDOM | {"activation": activation, "max_iter": 100, "learning_rate_init": 0.01})
    assert estimator.loss_curve_[-1] < 0.8 * estimator.loss_curve_[0]
    assert estimator.score(WINE) > -np.inf


@pytest.mark.parametrize("init", ["pca", "random"])
def test_overcomplete_code(init):
    X = load_iris().data
    estimator = fit(X, n_components=9, init=init, early_stopping=False, max_iter=500, learning_rate_init=0.01)
    assert estimator.transform(X).shape == (150, 9)
    assert estimator.reconstruction_error(X).mean() < 0.01 * X.shape[1]


@pytest.mark.parametrize("batch_size", [1, 32, 177, 178, 1000])
def test_batch_sizes(batch_size):
    estimator = fit(**RANDOM | {"batch_size": batch_size, "max_iter": 2})
    assert np.isfinite(estimator.score(WINE))
    if batch_size >= len(WINE):  # then there is one batch, the whole table
        whole = fit(**RANDOM | {"batch_size": len(WINE), "max_iter": 2})
        np.testing.assert_array_equal(estimator.transform(WINE), whole.transform(WINE))


def test_without_shuffle_only_the_start_is_random():
    params = RANDOM | {"init": "pca", "hidden_layer_sizes": (), "likelihood": "bernoulli", "batch_size": 50, "shuffle": False}
    X = (DIGITS[:200] > 8).astype(float)
    a, b = (fit(X, **params | {"random_state": seed}).transform(X) for seed in [0, 1])
    np.testing.assert_array_equal(a, b)


def test_weight_decay_shrinks():
    sizes = []
    for weight_decay in [0.0, 1.0, 10.0]:
        module = fit(**RANDOM | {"weight_decay": weight_decay, "max_iter": 100, "learning_rate_init": 0.01}).module_
        sizes.append(sum(p.square().sum().item() for p in module.parameters() if p.requires_grad))
    assert sizes[0] > 1.2 * sizes[1] > 1.2**2 * sizes[2]


# What is kept


@pytest.mark.parametrize("params", [{}, {"early_stopping": False}, {"hidden_layer_sizes": ()}], ids=str)
def test_parameters_own_their_memory(params):
    for p in fit(**params).module_.parameters():
        assert p.is_leaf
        assert p.grad is None
        assert p.untyped_storage().nbytes() == p.numel() * p.element_size()


@pytest.mark.parametrize("params", [{}, {"early_stopping": False}], ids=str)
def test_pickle_is_small(params):
    estimator = fit(DIGITS[:500], **params | {"hidden_layer_sizes": (128,), "max_iter": 3})
    n_bytes = sum(p.numel() * p.element_size() for p in estimator.module_.parameters())
    assert len(pickle.dumps(estimator)) < 2 * n_bytes < DIGITS[:500].nbytes


def test_pickle_from_a_device_that_is_not_here(monkeypatch):
    estimator = fit()
    codes = estimator.transform(WINE)
    estimator._fitted = replace(estimator._fitted, device=torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    data = pickle.dumps(estimator)
    with pytest.warns(UserWarning, match="cuda.*not available"):
        opened = pickle.loads(data)
    assert opened.device_ == torch.device("cpu")
    np.testing.assert_array_equal(opened.transform(WINE), codes)
    assert estimator.device_ == torch.device("cuda")


def test_pickle_goes_on():
    estimator = fit(**RANDOM | {"warm_start": True})
    opened = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(opened.fit(WINE).transform(WINE), estimator.fit(WINE).transform(WINE))


def test_a_share_of_the_variance_is_resolved_once_where_a_fit_goes_on():
    estimator = AutoencoderTransformer(0.8, warm_start=True, hidden_layer_sizes=(4,), max_iter=2, early_stopping=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        n_components = estimator.fit(WINE).n_components_
        assert estimator.fit(WINE[:20]).n_components_ == n_components > 1


def test_noise_of_a_linear_model_is_that_of_the_rows_held_out():
    estimator = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(WINE[:100], X_val=WINE[100:])
    errors = estimator.reconstruction_error(WINE[100:])
    assert estimator.noise_variance_ == pytest.approx(errors.mean() / WINE.shape[1])


def test_an_array_in_place_of_the_frame_of_the_fit_comes_back_as_an_array():
    frame = pd.DataFrame(WINE).add_prefix("x")
    estimator = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(frame)
    with pytest.warns(UserWarning, match="feature names"):
        rows = estimator.reconstruct(WINE)
    assert type(rows) is np.ndarray
    np.testing.assert_array_equal(rows, estimator.reconstruct(frame).to_numpy())
