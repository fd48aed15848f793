"""Where the answer is known in closed form: PCA."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skvae import AutoencoderTransformer

DATA = {
    "digits": load_digits().data,
    "breast cancer": load_breast_cancer().data,
    "diabetes": load_diabetes().data,
}
SIZES = {"1": lambda d: 1, "2": lambda d: 2, "d/4": lambda d: d // 4, "d-1": lambda d: d - 1, "d": lambda d: d}


def reference(standardize, n_components, whiten=True):
    scaler = StandardScaler() if standardize else FunctionTransformer()
    return make_pipeline(scaler, PCA(n_components, whiten=whiten, svd_solver="full"))


def relative_error(values, expected):
    return np.linalg.norm(values - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(("dtype", "standardize"), [(np.float64, False), (np.float64, True), (np.float32, True)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", DATA)
def test_linear_is_pca(name, size, standardize, dtype):
    # PCA itself loses digits on float32 rows, ours does not: PCA gets the same values in float64. Codes of float32 rows are
    # rounded to float32 on the way out, 6e-8 each, so the tolerance is the same for both.
    X = DATA[name].astype(dtype)
    k = SIZES[size](X.shape[1])
    pca = reference(standardize, k).fit(X.astype(np.float64))
    plain = reference(standardize, k, whiten=False).fit(X.astype(np.float64))
    estimator = AutoencoderTransformer(k, hidden_layer_sizes=(), standardize=standardize).fit(X)

    reconstruction = estimator.reconstruct(X)
    assert reconstruction.dtype == dtype
    assert relative_error(reconstruction, plain.inverse_transform(plain.transform(X.astype(np.float64)))) <= 1e-5

    codes = estimator.transform(X)
    deviations = np.sqrt(pca[-1].explained_variance_)
    alive = deviations > 1e-10 * deviations[0]  # along the others PCA divides rounding errors by rounding errors
    assert codes.dtype == dtype
    assert relative_error(codes[:, alive], pca.transform(X.astype(np.float64))[:, alive]) <= 1e-5
    np.testing.assert_array_equal(codes[:, ~alive], 0)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.99])
@pytest.mark.parametrize("name", DATA)
def test_share_of_variance(name, share, standardize):
    pca = reference(standardize, share).fit(DATA[name])
    estimator = AutoencoderTransformer(share, hidden_layer_sizes=(), standardize=standardize).fit(DATA[name])
    assert estimator.n_components_ == pca[-1].n_components_
    assert estimator.transform(DATA[name][:3]).shape == (3, pca[-1].n_components_)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (8,)])
@pytest.mark.parametrize("n_rows", [442, 6])
def test_more_components_than_there_are(n_rows, hidden_layer_sizes):
    X = DATA["diabetes"][:n_rows]
    k = X.shape[1] + 3
    estimator = AutoencoderTransformer(k, hidden_layer_sizes=hidden_layer_sizes, max_iter=1, early_stopping=True).fit(X)
    codes = estimator.transform(X)
    assert codes.shape == (n_rows, k)
    assert np.isfinite(codes).all()
    np.testing.assert_array_equal(codes[:, min(n_rows, X.shape[1]) :], 0)
    assert relative_error(estimator.reconstruct(X), X) <= 1e-5


@pytest.mark.parametrize(("name", "k"), [("breast cancer", 5), ("diabetes", 3)])
def test_gradient_descent_finds_the_subspace(name, k):
    X = DATA[name]
    estimator = AutoencoderTransformer(k, hidden_layer_sizes=(), init="random", random_state=0).fit(X)
    pca = reference(True, k).fit(X)
    decoder = estimator.module_.decoder.out.weight.detach().numpy()
    assert np.rad2deg(subspace_angles(decoder, pca[-1].components_.T)).max() <= 1
    Z = pca[0].transform(X)
    error = np.square(Z - pca[-1].inverse_transform(pca.transform(X))).sum()
    assert error <= estimator.reconstruction_error(X).sum() <= 1.001 * error


@pytest.mark.parametrize(("standardize", "hidden_layer_sizes"), [(False, (16,)), (True, (16, 8, 16))])
@pytest.mark.parametrize("name", DATA)
def test_nonlinear_starts_at_pca(name, hidden_layer_sizes, standardize):
    X = DATA[name]
    pca = reference(standardize, 3).fit(X)
    estimator = AutoencoderTransformer(
        3,
        hidden_layer_sizes=hidden_layer_sizes,
        standardize=standardize,
        learning_rate_init=1e-12,
        max_iter=1,
        early_stopping=False,
    ).fit(X)
    assert relative_error(estimator.transform(X), pca.transform(X)) <= 1e-4  # the nets are in float32
    assert relative_error(estimator.reconstruct(X), pca.inverse_transform(pca.transform(X))) <= 1e-5


@pytest.mark.parametrize("standardize", [False, True])
def test_answer_is_pca_where_nothing_is_gained(standardize):
    noise = np.random.default_rng(0).normal(size=(100, 6))
    estimator = AutoencoderTransformer(2, standardize=standardize, max_iter=300, random_state=0).fit(noise)
    pca = reference(standardize, 2).fit(noise)
    assert estimator.best_iter_ == 0
    assert estimator.n_iter_ >= 1
    assert relative_error(estimator.reconstruct(noise), pca.inverse_transform(pca.transform(noise))) <= 1e-5
    assert relative_error(estimator.transform(noise), pca.transform(noise)) <= 1e-5
