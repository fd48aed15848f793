"""The same input gives the same bits, whatever else is going on."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine

from skvae import AutoencoderTransformer, VAETransformer
from skvae.core.device import threads_for

X = load_wine().data
SETTINGS = {
    "folds": {},
    "random": {"init": "random"},
    "batches": {"batch_size": 32, "early_stopping": False},
    "linear": {"hidden_layer_sizes": (), "init": "random"},
    "deep, float32 scale": {"hidden_layer_sizes": (16, 16), "activation": "relu", "standardize": False},
}
METHODS = ["transform", "reconstruct", "score_samples", "reconstruction_error"]
METHODS_OF = {AutoencoderTransformer: METHODS, VAETransformer: [*METHODS, "posterior", "elbo"]}
ATTRIBUTES = ["loss_curve_", "validation_scores_", "best_iter_", "n_iter_", "noise_variance_"]
ATTRIBUTES_OF = {
    AutoencoderTransformer: ATTRIBUTES,
    VAETransformer: [*ATTRIBUTES, "explained_variance_", "kl_per_component_", "active_units_"],
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(
    params=[
        pytest.param((kind, params), id=f"{kind.__name__}-{name}") for kind in METHODS_OF for name, params in SETTINGS.items()
    ]
)
def estimator(request):
    kind, params = request.param
    estimator = kind(2, **{"hidden_layer_sizes": (16,), "max_iter": 6, "random_state": 0, **params})
    return estimator.set_params(n_importance_samples=5) if kind is VAETransformer else estimator


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


def test_twice(estimator):
    assert_same(estimator.fit(X), clone(estimator).fit(X))


def test_fitting_again_forgets(estimator):
    fresh = clone(estimator).fit(X)
    estimator.fit(np.ascontiguousarray(X[:50, 3:9]))
    assert_same(estimator.fit(X), fresh)


def test_in_two_threads_at_once(estimator):
    alone = clone(estimator).fit(X)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: clone(estimator).fit(X), range(4)))
    for result in results:
        assert_same(result, alone)


def test_methods_in_two_threads_at_once(estimator):
    alone = apply(estimator.fit(X), X)
    with ThreadPoolExecutor(2) as pool:
        for results in pool.map(lambda _: apply(estimator, X), range(8)):
            for name, result in results.items():
                np.testing.assert_array_equal(result, alone[name])


def test_after_a_pickle(estimator):
    unfitted = pickle.loads(pickle.dumps(estimator))
    estimator.fit(X)
    assert_same(pickle.loads(pickle.dumps(estimator)), estimator)
    assert_same(unfitted.fit(X), estimator)


def test_order_of_rows_does_not_matter(estimator):
    order = np.random.default_rng(0).permutation(len(X))
    assert_same(clone(estimator).fit(X[order]), estimator.fit(X))


def test_random_state_instance(estimator):
    seeded = [clone(estimator).set_params(random_state=np.random.RandomState(7)) for _ in range(2)]
    assert_same(seeded[0].fit(X), seeded[1].fit(X))


@pytest.mark.parametrize("kind", METHODS_OF)
def test_seed_is_read(kind):
    codes = [kind(2, init="random", max_iter=2, random_state=seed).fit_transform(X) for seed in [0, 1]]
    assert not np.allclose(codes[0], codes[1])


def test_none_leaves_global_generators_untouched(estimator):
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    apply(estimator.set_params(random_state=None).fit(X), X)
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
        codes.append(kind(2, init="random", max_iter=1).fit_transform(X))
    assert not np.allclose(codes[0], codes[1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_columns", [4, 9, 13])  # the places of rows in memory differ with it, and so may the rounding
def test_one_row_as_among_many(estimator, n_columns, dtype):
    table = X[:, :n_columns]
    estimator.set_params(max_iter=2).fit(table)
    noise = np.random.default_rng(0).normal(size=(10_000, n_columns))
    rows = (table.mean(0) + 2 * table.std(0) * noise).astype(dtype)
    together = apply(estimator, rows)
    for part in [*(slice(i, i + 1) for i in [0, 1, 63, 64, 5001, 9983, 9984, 9999]), slice(None, None, -7)]:
        for name, result in apply(estimator, rows[part]).items():
            np.testing.assert_array_equal(result, together[name][part])


@pytest.mark.parametrize("n_components", [2, 5, 7])
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
def test_dtype_out_is_dtype_in(estimator, fitted_on, dtype):
    estimator.fit(X.astype(fitted_on))
    rows = X[:5].astype(dtype)
    codes = estimator.transform(rows)
    assert codes.dtype == dtype
    assert estimator.inverse_transform(codes).dtype == dtype
    assert estimator.reconstruct(rows).dtype == dtype
    assert estimator.score_samples(rows).dtype == np.float64
    np.testing.assert_allclose(codes, estimator.transform(X[:5]), rtol=1e-3, atol=1e-4)


def test_input_is_left_alone(estimator):
    table = X.copy()
    estimator.fit(table)
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
