"""The same input gives the same bits, whatever else is going on."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning

from skvae import AutoencoderTransformer, VAETransformer
from skvae.core.device import threads_for

X = load_wine().data
FREE = {"early_stopping": False}
SETTINGS = {
    "folds": (AutoencoderTransformer, {}),
    "batches": (AutoencoderTransformer, {"batch_size": 32, **FREE}),
    "deep, unstandardized": (
        AutoencoderTransformer,
        {"hidden_layer_sizes": (16, 16), "activation": "relu", "standardize": False, **FREE},
    ),
    "vae, folds": (VAETransformer, {"max_iter": 3}),
    "vae, linear from random": (VAETransformer, {"hidden_layer_sizes": (), "init": "random", **FREE}),
}
QUICK = {"hidden_layer_sizes": (16,), "max_iter": 6, "random_state": 0}
METHODS = ["transform", "reconstruct", "score_samples", "reconstruction_error"]
METHODS_OF = {AutoencoderTransformer: METHODS, VAETransformer: [*METHODS, "posterior", "elbo"]}
ATTRIBUTES = ["loss_curve_", "validation_scores_", "best_iter_", "n_iter_", "noise_variance_"]
ATTRIBUTES_OF = {
    AutoencoderTransformer: ATTRIBUTES,
    VAETransformer: [*ATTRIBUTES, "explained_variance_", "kl_per_component_", "active_units_"],
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def build(kind, **params):
    return kind(2, **QUICK | {"n_importance_samples": 5} | params) if kind is VAETransformer else kind(2, **QUICK | params)


@pytest.fixture(params=SETTINGS)
def estimator(request):
    kind, params = SETTINGS[request.param]
    return build(kind, **params)


@pytest.fixture(params=METHODS_OF)
def quick(request):
    """One of each kind, without folds."""
    return build(request.param, **FREE)


@pytest.fixture(scope="module", params=SETTINGS)
def fitted(request):
    kind, params = SETTINGS[request.param]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return build(kind, **params).fit(X)


def apply(estimator, table):
    """What each method makes of the rows, one array each."""
    results = {name: getattr(estimator, name)(table) for name in METHODS_OF[type(estimator)]}
    return {name: np.column_stack(result) if isinstance(result, tuple) else result for name, result in results.items()}


def assert_same(a, b):
    """Two fits are the same to the last bit."""
    for result, other in zip(apply(a, X).values(), apply(b, X).values(), strict=True):
        np.testing.assert_array_equal(result, other)
    for name in ATTRIBUTES_OF[type(a)]:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    if isinstance(a, VAETransformer):
        np.testing.assert_array_equal(a.sample(5, random_state=0), b.sample(5, random_state=0))
    weights, others = a.module_.state_dict(), b.module_.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_fitting_again_forgets(fitted):
    """A fit of other rows and columns in between leaves nothing behind."""
    again = clone(fitted).fit(np.ascontiguousarray(X[:50, 3:9])).fit(X)
    assert_same(again, fitted)


def test_in_two_threads_at_once(fitted):
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(lambda _: clone(fitted).fit(X), range(2)):
            assert_same(result, fitted)


def test_methods_in_two_threads_at_once(fitted):
    alone = apply(fitted, X)
    with ThreadPoolExecutor(2) as pool:
        for results in pool.map(lambda _: apply(fitted, X), range(4)):
            for name, result in results.items():
                np.testing.assert_array_equal(result, alone[name])


def test_after_a_pickle(fitted):
    assert_same(pickle.loads(pickle.dumps(fitted)), fitted)
    assert_same(pickle.loads(pickle.dumps(clone(fitted))).fit(X), fitted)


def test_order_of_rows_does_not_matter(fitted):
    order = np.random.default_rng(0).permutation(len(X))
    assert_same(clone(fitted).fit(X[order]), fitted)


def test_random_state_instance(quick):
    seeded = [clone(quick).set_params(random_state=np.random.RandomState(7)) for _ in range(2)]
    assert_same(seeded[0].fit(X), seeded[1].fit(X))


@pytest.mark.parametrize("kind", METHODS_OF)
def test_seed_is_read(kind):
    codes = [build(kind, init="random", random_state=seed, **FREE).fit_transform(X) for seed in [0, 1]]
    assert not np.allclose(codes[0], codes[1])


def test_none_leaves_global_generators_untouched(estimator):
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    apply(estimator.set_params(random_state=None, max_iter=1).fit(X), X)
    if isinstance(estimator, VAETransformer):
        estimator.sample(5)
    numpy_after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(numpy_before, numpy_after, strict=True))
    assert torch.equal(torch_before, torch.get_rng_state())


@pytest.mark.uses_global_rng
@pytest.mark.parametrize("kind", METHODS_OF)
def test_none_is_not_the_global_seed(kind):
    codes = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        codes.append(build(kind, init="random", random_state=None, **FREE).fit_transform(X))
    assert not np.allclose(codes[0], codes[1])


# The places of rows in memory differ with the number of columns, and so may the rounding.
@pytest.mark.parametrize(("n_columns", "dtype"), [(4, np.float32), (9, np.float64), (13, np.float32)])
def test_one_row_as_among_many(estimator, n_columns, dtype):
    table = X[:, :n_columns]
    estimator.set_params(max_iter=2).fit(table)
    noise = np.random.default_rng(0).normal(size=(10_000, n_columns))
    rows = (table.mean(0) + 2 * table.std(0) * noise).astype(dtype)
    together = apply(estimator, rows)
    for part in [*(slice(i, i + 1) for i in [0, 1, 63, 64, 5001, 9983, 9984, 9999]), slice(None, None, -7)]:
        for name, result in apply(estimator, rows[part]).items():
            np.testing.assert_array_equal(result, together[name][part])


@pytest.mark.parametrize("n_components", [2, 7])
def test_one_code_as_among_many(estimator, n_components):
    estimator.set_params(max_iter=2, n_components=n_components).fit(X)
    codes = np.random.default_rng(0).normal(size=(500, n_components))
    together = estimator.inverse_transform(codes)
    np.testing.assert_array_equal(
        np.concatenate([estimator.inverse_transform(code[None]) for code in codes[:70]]), together[:70]
    )
    np.testing.assert_array_equal(estimator.inverse_transform(codes[::-3]), together[::-3])


@pytest.mark.parametrize("fitted_on", [np.float64, np.float32])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dtype_out_is_dtype_in(quick, fitted_on, dtype):
    estimator = quick.fit(X.astype(fitted_on))
    rows = X[:5].astype(dtype)
    codes = estimator.transform(rows)
    assert codes.dtype == dtype
    assert estimator.inverse_transform(codes).dtype == dtype
    assert estimator.reconstruct(rows).dtype == dtype
    assert estimator.score_samples(rows).dtype == np.float64
    np.testing.assert_allclose(codes, estimator.transform(X[:5]), rtol=1e-3, atol=1e-4)


def test_input_is_left_alone(estimator):
    table = X.copy()
    estimator.set_params(max_iter=1).fit(table)
    apply(estimator, table)
    np.testing.assert_array_equal(table, X)


def test_overlapping_work_leaves_the_number_of_threads():
    before = torch.get_num_threads()
    inside, leave = Event(), Event()

    def longer():
        with threads_for(work=1):
            inside.set()
            leave.wait(10)

    try:
        torch.set_num_threads(2)
        with ThreadPoolExecutor(1) as pool:
            with threads_for(work=1):
                running = pool.submit(longer)
                inside.wait(10)
            leave.set()
            running.result()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
