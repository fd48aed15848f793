"""Tensors in, tensors out, under scikit-learn's ``array_api_dispatch``."""

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer

check_values = getattr(estimator_checks, "check_array_api_input_and_values", None)
X, Y = load_wine(return_X_y=True)
HOLED = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
ESTIMATORS = {
    "autoencoder": AutoencoderTransformer(2, **QUICK),
    "autoencoder by quantiles": AutoencoderTransformer(2, standardize="quantile", **QUICK),
    "variances per column": AutoencoderTransformer(2, corruption="masking", **QUICK),
    "vae": VAETransformer(2, n_importance_samples=5, **QUICK),
    "detector": AEAnomalyDetector(8, **QUICK),
    "imputer": AutoencoderImputer(n_estimators=2, **QUICK),
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.skipif("not hasattr(__import__('sklearn.utils._array_api').utils._array_api, 'move_to')"),
]


@pytest.fixture(autouse=True)
def dispatch(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with config_context(array_api_dispatch=True):
        yield


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_scikit_learns_own_check(name, dtype):
    with config_context(array_api_dispatch=False):
        check_values(name, ESTIMATORS[name], "torch", "cpu", dtype, check_sample_weight=True)


@pytest.mark.parametrize("method", ["transform", "reconstruct", "reconstruction_error", "score_samples"])
def test_tensors_give_the_numbers_of_arrays(method):
    for name in ("autoencoder", "variances per column", "vae"):
        model = ESTIMATORS[name].fit(HOLED)
        of_array, of_tensor = getattr(model, method)(HOLED), getattr(model, method)(torch.from_numpy(HOLED))
        assert isinstance(of_tensor, torch.Tensor)
        np.testing.assert_allclose(of_tensor.numpy(), of_array, rtol=1e-13)


def test_applying_stays_on_the_device(monkeypatch):
    """No tensor goes to numpy."""
    model = AutoencoderTransformer(2, **QUICK).fit(X)
    rows = torch.from_numpy(X)

    def refuse(*args, **options):
        raise AssertionError("a tensor went to numpy")

    monkeypatch.setattr(torch.Tensor, "numpy", refuse)
    monkeypatch.setattr(torch.Tensor, "__array__", refuse)
    monkeypatch.setattr(torch.Tensor, "__dlpack__", refuse)
    codes = model.transform(rows)
    for result in (model.inverse_transform(codes), model.reconstruct(rows), model.score_samples(rows)):
        assert isinstance(result, torch.Tensor)
    assert isinstance(model.score(rows), float)


def test_other_methods_take_the_way_over_the_host():
    model = VAETransformer(2, n_importance_samples=5, **QUICK).fit(torch.from_numpy(HOLED))
    rows = torch.from_numpy(HOLED)
    for result in (
        model.impute(rows),
        model.score_cells(rows, given=rows),
        model.interpolate(rows[:2], rows[2:4], 3),
        model.encoder_jacobian(rows[:3]),
        model.tangent_space(rows[:3]),
        *model.posterior(rows),
        *model.elbo(rows),
    ):
        assert isinstance(result, torch.Tensor)
    assert model.elbo(rows).kl.shape == (len(X),)
    assert isinstance(model.kl_per_component_, torch.Tensor)


def test_detector_says_why_of_tensors():
    detector = AEAnomalyDetector(8, **QUICK).fit(torch.from_numpy(X))
    assert isinstance(detector.p_values(torch.from_numpy(X)), torch.Tensor)
    assert isinstance(detector.fit_predict(torch.from_numpy(X)), torch.Tensor)
    explained = detector.explain(torch.from_numpy(X))
    np.testing.assert_array_equal(explained, detector.explain(X))


def test_results_are_written_into_arrays():
    model = AutoencoderTransformer(2, **QUICK).fit(X)
    codes = np.empty((len(X), 2))
    assert model.transform(torch.from_numpy(X), out=codes) is codes
    np.testing.assert_array_equal(codes, model.transform(X))


def test_arguments_beside_the_table_may_be_arrays_of_any_library():
    weights = np.arange(len(X)) % 3
    expected = AutoencoderTransformer(2, **QUICK).fit(X[:150], sample_weight=weights[:150], X_val=X[150:])
    model = AutoencoderTransformer(2, **QUICK)
    model.fit(torch.from_numpy(X[:150]), None, torch.from_numpy(weights[:150]), X_val=torch.from_numpy(X[150:]))
    np.testing.assert_array_equal(model.transform(X), expected.transform(X))
    warm = VAETransformer(2, warm_start=True, n_importance_samples=5, **QUICK).fit(torch.from_numpy(X))
    assert warm.fit(torch.from_numpy(X)).transform(X).shape == (len(X), 2)


def test_a_stream_of_tensors():
    model, expected = AutoencoderTransformer(2, **QUICK), AutoencoderTransformer(2, **QUICK)
    for start in range(0, 178, 60):
        model.partial_fit(torch.from_numpy(X[start : start + 60]))
        expected.partial_fit(X[start : start + 60])
    np.testing.assert_array_equal(model.transform(X), expected.transform(X))


@pytest.mark.parametrize("value", [float("inf"), 7.0])
def test_wrong_cells_are_named(value):
    params = {} if value == float("inf") else {"likelihood": "bernoulli"}
    model = AutoencoderTransformer(2, **QUICK, **params).fit(X / X.max(axis=0))
    rows = torch.from_numpy(X / X.max(axis=0))
    rows[4, 2] = value
    with pytest.raises(ValueError, match="row 4 of column 2"):
        model.transform(rows)


def test_tensors_that_need_a_gradient():
    model = AutoencoderTransformer(2, **QUICK).fit(torch.from_numpy(X).requires_grad_())
    codes = model.transform(torch.from_numpy(X).requires_grad_())
    assert not codes.requires_grad


def test_numbers_that_numpy_has_not():
    rows = torch.from_numpy(X).bfloat16()
    model = AutoencoderTransformer(2, **QUICK).fit(rows)
    np.testing.assert_allclose(model.transform(rows).numpy(), model.transform(rows.float()).numpy(), rtol=1e-6)


def test_wrong_number_of_columns():
    model = AutoencoderTransformer(2, **QUICK).fit(X)
    with pytest.raises(ValueError, match="X has 3 features, but AutoencoderTransformer is expecting 13"):
        model.transform(torch.from_numpy(X[:, :3]))
    with pytest.raises(ValueError, match="X has 3 columns, but codes of this AutoencoderTransformer have 2"):
        model.inverse_transform(torch.from_numpy(X[:, :3]))


def test_pipeline_of_tensors():
    model = AutoencoderTransformer(4, standardize=False, **QUICK)
    pipeline = make_pipeline(PCA(8, svd_solver="full"), model, Ridge(solver="svd"))
    rows, y = torch.from_numpy(X), torch.from_numpy(Y.astype(np.float64))
    found = pipeline.fit(rows, y).predict(rows)
    assert isinstance(found, torch.Tensor)
    components = pipeline[0].transform(rows).numpy()
    expected = make_pipeline(*map(clone, pipeline[1:])).fit(components, y.numpy()).predict(components)
    np.testing.assert_allclose(found.numpy(), expected, atol=0.05)


@pytest.mark.gpu
def test_results_are_where_the_rows_are():
    model = AutoencoderTransformer(2, **QUICK).fit(torch.from_numpy(X).cuda())
    assert model.device_.type == "cuda"
    codes = model.transform(torch.from_numpy(X).cuda())
    assert codes.device.type == "cuda"
    np.testing.assert_allclose(codes.cpu(), model.transform(torch.from_numpy(X)), rtol=1e-4, atol=1e-4)
