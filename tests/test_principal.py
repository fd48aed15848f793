"""The attributes and methods of PCA, of a linear autoencoder that is PCA."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skvae import AutoencoderTransformer, VAETransformer

X = load_breast_cancer().data
NAMES = ["components_", "mean_", "explained_variance_", "explained_variance_ratio_", "singular_values_"]


def linear(n_components=5, **params):
    return AutoencoderTransformer(n_components, hidden_layer_sizes=(), **params)


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_attributes_are_those_of_pca(name, whiten):
    model, pca = linear(standardize=False, whiten=whiten).fit(X), PCA(5).fit(X)
    np.testing.assert_allclose(getattr(model, name), getattr(pca, name), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("whiten", [True, False])
def test_codes_are_those_of_pca(whiten):
    model, pca = linear(standardize=False, whiten=whiten).fit(X), PCA(5, whiten=whiten).fit(X)
    codes = pca.transform(X)
    np.testing.assert_allclose(model.transform(X), codes, rtol=1e-6, atol=1e-6 * codes.std())
    np.testing.assert_allclose(model.inverse_transform(codes), pca.inverse_transform(codes), rtol=1e-6)


def test_standardised_columns():
    rows = StandardScaler().fit_transform(X)
    model, pca = linear(whiten=False).fit(X), PCA(5).fit(rows)
    for name in ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_"):
        np.testing.assert_allclose(getattr(model, name), getattr(pca, name), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(model.mean_, X.mean(axis=0))
    np.testing.assert_allclose(model.transform(X), pca.transform(rows), atol=1e-9)
    scale = X.std(axis=0)
    np.testing.assert_allclose(model.get_covariance(), pca.get_covariance() * np.outer(scale, scale), rtol=1e-6)


def test_covariance_and_precision():
    wine = load_wine().data
    model, pca = linear(3, standardize=False).fit(wine), PCA(3).fit(wine)
    np.testing.assert_allclose(model.get_covariance(), pca.get_covariance(), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(model.get_precision(), pca.get_precision(), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.get_precision() @ model.get_covariance(), np.eye(13), atol=1e-8)


@pytest.mark.parametrize("rows", [X, X[:12]], ids=["more rows than columns", "fewer"])
def test_all_components(rows):
    model, pca = linear(None, standardize=False).fit(rows), PCA(None).fit(rows)
    assert model.n_components_ == pca.n_components_
    np.testing.assert_allclose(model.explained_variance_ratio_.sum(), 1)
    np.testing.assert_allclose(model.explained_variance_, pca.explained_variance_, rtol=1e-6, atol=1e-6)
    assert VAETransformer(None, hidden_layer_sizes=()).fit(rows).n_components_ == pca.n_components_


def test_weights_are_repetitions():
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    model, pca = linear(standardize=False).fit(X, sample_weight=weights), PCA(5).fit(X.repeat(weights, axis=0))
    for name in NAMES:
        np.testing.assert_allclose(getattr(model, name), getattr(pca, name), rtol=1e-6, atol=1e-9)


def test_a_stream():
    model = linear(standardize=False)
    for start in range(0, 569, 190):
        model.partial_fit(X[start : start + 190])
    np.testing.assert_allclose(model.explained_variance_, PCA(5).fit(X).explained_variance_, rtol=1e-6)


def test_constant_columns():
    rows = np.column_stack([X[:, :3], np.full(len(X), 7.0)])
    model = linear(4, whiten=False).fit(rows)
    np.testing.assert_allclose(model.explained_variance_[3], 0, atol=1e-12)
    np.testing.assert_allclose(model.inverse_transform(model.transform(rows)), rows)
    assert model.mean_[3] == 7


def test_share_that_a_nonlinear_model_explains():
    """By the definition of the coefficient of determination, of held-out rows."""
    train, test = X[::2], X[1::2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoencoderTransformer(3, random_state=0, max_iter=100).fit(train, X_val=test)
    (share,) = model.explained_variance_ratio_
    variances = (((train - train.mean(axis=0)) / train.std(axis=0)) ** 2).mean(axis=0)
    assert share == pytest.approx(1 - model.reconstruction_error(test).mean() / variances.sum(), abs=1e-5)
    assert share > linear(3).fit(train).explained_variance_ratio_.sum() - 0.1


@pytest.mark.parametrize("name", [*NAMES[:3], "singular_values_", "get_covariance", "get_precision"])
def test_other_models_have_no_axes(name):
    model = AutoencoderTransformer(2, max_iter=1, early_stopping=False, random_state=0)
    assert not hasattr(model, "components_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
    with pytest.raises(AttributeError, match=f"no attribute '{name}'.*hidden_layer_sizes=\\(\\) and init='pca'"):
        getattr(model, name)()


def test_codes_of_other_models_have_a_scale_of_their_own():
    model = linear(2).fit(X)
    before = model.transform(X)
    with pytest.raises(ValueError, match=r"whiten=False puts.*Use whiten=True, or hidden_layer_sizes=\(\)"):
        model.set_params(whiten=False, hidden_layer_sizes=(4,), max_iter=1, early_stopping=False).fit(X)
    np.testing.assert_array_equal(model.transform(X), before)


def test_components_that_are_rescaled_decode_to_the_same():
    model = linear(3).fit(X)
    expected = model.reconstruct(X)
    model.module_.rescale_components_(torch.tensor([2.0, 0.5, 3.0]))
    np.testing.assert_allclose(model.reconstruct(X), expected, rtol=1e-12)
