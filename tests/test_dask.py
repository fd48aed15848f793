"""Estimators on Dask: what they fit is what one process fits, and what they give is what the local estimator gives."""

import importlib
import pickle
import re
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import skvae
from skvae import AEAnomalyDetector, AutoencoderTransformer, VAETransformer

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

import dask.array as da  # noqa: E402
import dask.dataframe as dd  # noqa: E402

from skvae._dask import fits, ranks  # noqa: E402
from skvae._dask.cluster import Cluster  # noqa: E402
from skvae._dask.collections import partitions_of  # noqa: E402
from skvae._tables.survey import places_of  # noqa: E402
from skvae.dask import DaskAEAnomalyDetector, DaskAutoencoderTransformer, DaskVAETransformer  # noqa: E402
from tests.clusters import two_workers  # noqa: E402

RNG = np.random.default_rng(0)
X = np.tanh(RNG.normal(size=(4000, 3)) @ RNG.normal(size=(3, 6))) + 0.1 * RNG.normal(size=(4000, 6))
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 3, "batch_size": 500, "random_state": 0}
LINEAR = {"hidden_layer_sizes": (), "init": "random"}  # in float64
IN_ORDER = {"shuffle": False, "early_stopping": False, "max_iter": 1, "batch_size": 400, "random_state": 0}

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def client():
    with two_workers() as client:
        yield client


def in_chunks(table, *sizes):
    """A collection of the rows of a table, in chunks of these sizes."""
    return da.from_array(table, chunks=(sizes, -1))


def weights_of(model):
    return np.concatenate([p.detach().double().numpy().ravel() for p in model.module_.parameters()])


def frame():
    """A frame of all kinds of columns."""
    n = 2000
    table = pd.DataFrame(
        {
            "number": np.where(np.arange(n) % 7 == 0, np.nan, X[:n, 0]),
            "count": RNG.integers(0, 50, n),
            "date": pd.date_range("2020", periods=n, freq="h"),
            "text": RNG.choice(list("abcdef"), n),
            "flag": X[:n, 1] > 0,
        }
    )
    return table.assign(category=pd.Categorical(np.sort(RNG.choice(list("uvwxyz"), n))))


# Two ranks and one


def interleaved(*parts_and_sizes):
    """The rows of parts in the order in which ranks that deal so many of each at once deal them together."""
    return np.concatenate(
        [part[i * size : (i + 1) * size] for i in range(len(X)) for part, size in parts_and_sizes if i * size < len(part)]
    )


@pytest.mark.parametrize(
    ("params", "tolerance"), [(LINEAR, 1e-12), ({"hidden_layer_sizes": (16,), "init": "random"}, 1e-5)], ids=["64", "32"]
)
@pytest.mark.parametrize("n_first", [2000, 3000], ids=["halves", "unequal"])
def test_two_ranks_take_the_steps_of_one(params, tolerance, n_first):
    first, second = X[:n_first], X[n_first:]
    n_dealt = n_first // 10
    order = interleaved((first, n_dealt), (second, 400 - n_dealt))
    two = DaskAutoencoderTransformer(2, **params, **IN_ORDER).fit(in_chunks(X, n_first, 4000 - n_first))
    one = DaskAutoencoderTransformer(2, **params, **IN_ORDER).fit(in_chunks(order, 4000))
    assert len(order) == len(X)
    assert two.n_iter_ == 1
    np.testing.assert_allclose(weights_of(two), weights_of(one), rtol=0, atol=tolerance)
    assert two.loss_curve_ == pytest.approx(one.loss_curve_, rel=tolerance)


def test_each_row_has_the_same_part_in_a_step_whatever_the_partitions():
    params = LINEAR | IN_ORDER | {"batch_size": 5000, "max_iter": 5}
    weights = RNG.integers(0, 3, size=4000).astype(float)
    models = [
        DaskAutoencoderTransformer(2, **params).fit(in_chunks(X, *sizes), sample_weight=da.from_array(weights, chunks=(sizes,)))
        for sizes in ((2999, 1001), (4000,), (700, 0, 300, 3000))
    ]
    for model in models[1:]:
        np.testing.assert_allclose(weights_of(model), weights_of(models[0]), rtol=0, atol=1e-12)


def test_one_layout_gives_the_same_bits_twice(client):
    layout = client.persist(in_chunks(X, 1500, 700, 1000, 800))
    first, second = (DaskVAETransformer(2, **QUICK).fit(layout) for _ in range(2))
    np.testing.assert_array_equal(weights_of(first), weights_of(second))
    assert first.validation_scores_ == second.validation_scores_


# The cluster and one process


@pytest.mark.parametrize("sizes", [(4000,), (1500, 1500, 1000)], ids=len)
def test_statistics_and_rows_held_out_are_those_of_a_table_that_one_process_reads(sizes):
    model = DaskAutoencoderTransformer(2, **QUICK).fit(in_chunks(X, *sizes))
    with config_context(working_memory=1e-3):
        local = AutoencoderTransformer(2, **QUICK).fit(X)
    assert model.validation_scores_[0] == pytest.approx(local.validation_scores_[0], rel=1e-12)
    if len(sizes) == 1:  # and so are the batches
        np.testing.assert_allclose(model.validation_scores_, local.validation_scores_, rtol=1e-5)


def test_a_linear_model_is_pca():
    model = DaskAutoencoderTransformer(2, hidden_layer_sizes=()).fit(in_chunks(X, 1500, 1500, 1000))
    local = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(X)
    np.testing.assert_allclose(model.to_local().transform(X), local.transform(X), rtol=0, atol=1e-9)


def test_a_warm_start_goes_on():
    model = DaskAutoencoderTransformer(2, warm_start=True, **QUICK).fit(in_chunks(X, 4000))
    before = list(model.loss_curve_)
    model.fit(in_chunks(X, 2000, 2000))
    assert model.loss_curve_[: len(before)] == before
    assert len(model.loss_curve_) > len(before)


def test_rows_to_judge_by_are_the_callers():
    collection = in_chunks(X, 2000, 2000)
    model = DaskAutoencoderTransformer(2, **QUICK).fit(collection, X_val=X[:100])
    other = DaskAutoencoderTransformer(2, **QUICK).fit(collection)
    assert model.validation_scores_[0] != other.validation_scores_[0]


def test_partitions_without_rows_and_of_unknown_sizes():
    collection = in_chunks(X, 1000, 1000, 2000)
    collection = collection[collection[:, 0] > np.median(X[:, 0])]
    assert np.isnan(collection.shape[0])
    model = DaskAutoencoderTransformer(2, **QUICK).fit(collection)
    rows = X[X[:, 0] > np.median(X[:, 0])]
    np.testing.assert_array_equal(model.transform(collection).compute(), model.to_local().transform(rows))


@pytest.mark.parametrize(
    ("homes", "sizes", "expected"),
    [
        ("abab", (500, 500, 500, 500), {"a": [0, 2], "b": [1, 3]}),
        ("bbaa", (500, 500, 500, 500), {"b": [0, 1], "a": [2, 3]}),
        ("aaaa", (500, 500, 500, 500), {"a": [0, 1], "b": [2, 3]}),
        ("aabb", (900, 900, 0, 0), {"a": [0], "b": [1]}),
        ("aabb", (100, 100, 100, 200), {"a": [0, 1, 2, 3]}),
        ("abc", (900, 900, 900), {"a": [0, 1], "b": [2]}),
        ("a", (9000,), {"a": [0]}),
    ],
    ids=["at home", "order", "one worker", "no rows", "few rows", "lost worker", "one partition"],
)
def test_ranks_learn_from_partitions_at_home_or_share_them(homes, sizes, expected):
    assert ranks.dealt(list(homes), list(sizes), ["a", "b"]) == expected


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_rows_are_learned_from_where_they_are(client, kind):
    table = in_chunks(X, 1000, 1000, 1000, 1000) if kind == "array" else dd.from_pandas(pd.DataFrame(X), npartitions=4)
    layout = client.persist(table)
    distributed.wait(layout)
    holders = client.who_has(distributed.futures_of(layout))
    homes = fits.homes_of(partitions_of(layout), layout, Cluster(client, 10, verbose=False))
    assert {key[1]: (homes[key[1]],) for key in holders} == {key[1]: tuple(of_key) for key, of_key in holders.items()}
    assert len(homes) == 4


def test_all_workers_are_seen_whatever_else_asks_the_scheduler(client):
    cluster, ended = Cluster(client, 10, verbose=False), threading.Event()

    def ask():
        while not ended.is_set():
            client.sync(client._update_scheduler_info)  # as a timer of the client does, for no worker

    with ThreadPoolExecutor(1) as threads:
        threads.submit(ask)
        found = {len(cluster.workers) for _ in range(200)}
        ended.set()
    assert found == {2}


def test_two_fits_at_once_take_turns():
    def fitted(seed):
        return DaskAutoencoderTransformer(2, **QUICK | {"random_state": seed}).fit(in_chunks(X, 2000, 2000))

    with ThreadPoolExecutor(2) as threads:
        at_once = list(threads.map(fitted, (0, 1)))
    for seed, model in enumerate(at_once):
        np.testing.assert_array_equal(weights_of(model), weights_of(fitted(seed)))


def test_progress_is_shown(capsys):
    DaskAutoencoderTransformer(2, verbose=True, **QUICK).fit(in_chunks(X, 2000, 2000))
    shown = capsys.readouterr().err
    assert "reading" in shown
    assert "training" in shown
    assert "validation" in shown


def test_warnings_of_workers_reach_the_caller():
    with pytest.warns(UserWarning, match="The loss was still falling"):
        DaskAutoencoderTransformer(2, **LINEAR | IN_ORDER | {"max_iter": 3}).fit(in_chunks(X, 2000, 2000))
    table = pd.DataFrame({"a": X[:, 0], "name": [f"{i:04}" for i in range(4000)]})
    with pytest.warns(UserWarning, match="Column 'name' has 4000 categories"):
        DaskAutoencoderTransformer(1, **QUICK).fit(dd.from_pandas(table, npartitions=3))


# Lazy results


METHODS = {
    DaskAutoencoderTransformer: ("transform", "reconstruct", "reconstruction_error", "score_samples", "impute"),
    DaskVAETransformer: ("transform", "score_samples"),
    DaskAEAnomalyDetector: ("score_samples", "decision_function", "predict", "p_values"),
}


@pytest.fixture(scope="module")
def fitted(client):
    """A model of each class, fitted to an array."""
    params = {DaskAEAnomalyDetector: {"max_iter": 1, "random_state": 0}}
    collection = in_chunks(X, 2000, 2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {cls: cls(2, **params.get(cls, QUICK)).fit(collection) for cls in METHODS}


@pytest.mark.parametrize(("n_chunks", "dtype"), [(1, np.float32), (3, np.int64), (17, np.float64)])
def test_lazy_results_of_arrays_are_local_ones(fitted, n_chunks, dtype):
    table = (10 * X[:500]).astype(dtype)
    collection = da.from_array(table, chunks=(-(-500 // n_chunks), -1))
    assert collection.numblocks[0] == n_chunks
    for cls, methods in METHODS.items():
        for method in methods:
            lazy = getattr(fitted[cls], method)(collection)
            local = getattr(fitted[cls].to_local(), method)(table)
            assert isinstance(lazy, da.Array)
            assert (lazy.shape, lazy.dtype) == (local.shape, local.dtype), method
            np.testing.assert_array_equal(lazy.compute(), local, err_msg=method)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_frames(known):
    table = frame()
    collection = dd.from_pandas(table, npartitions=3)
    if not known:
        parts = [table[:500], table[500:1200], table[1200:]]
        parts = [part.assign(category=part["category"].cat.remove_unused_categories()) for part in parts]
        collection = dd.from_map(lambda part: part, parts, meta=parts[0].iloc[:0], enforce_metadata=False)
        collection["category"] = collection["category"].cat.as_unknown()
    assert collection["category"].cat.known == known
    model = DaskAutoencoderTransformer(2, **QUICK).fit(collection)
    local = model.to_local()
    assert list(model.feature_names_in_) == list(table.columns)
    assert model.schema_.columns[-1].levels == tuple("uvwxyz")
    table = collection.compute()
    whole = AutoencoderTransformer(2, **QUICK).fit(table)
    assert repr(model.schema_) == repr(whole.schema_)
    for method in ("transform", "score_samples", "reconstruction_error"):
        np.testing.assert_array_equal(getattr(model, method)(collection).compute(), getattr(local, method)(table))
    lazy = model.reconstruct(collection)
    pd.testing.assert_frame_equal(lazy.compute(), local.reconstruct(table), check_categorical=False)
    assert lazy.dtypes.drop("text").equals(lazy.compute().dtypes.drop("text"))
    if known:  # else a partition may lack a level that fills it
        filled = model.impute(collection)
        pd.testing.assert_frame_equal(filled.compute(), local.impute(table))
        assert filled.dtypes.equals(table.dtypes)
    assert model.score(collection) == pytest.approx(local.score(table))


def test_frames_with_output_of_pandas():
    table = pd.DataFrame(X, columns=list("abcdef"))
    collection = dd.from_pandas(table, npartitions=3)
    model = DaskAutoencoderTransformer(2, **QUICK).set_output(transform="pandas").fit(collection)
    lazy = model.transform(collection)
    assert list(lazy.columns) == ["autoencodertransformer0", "autoencodertransformer1"]
    assert list(lazy.columns) == list(model.get_feature_names_out())
    pd.testing.assert_frame_equal(lazy.compute(), model.to_local().transform(table))


def test_tables_in_memory_are_read_as_by_the_local_estimator(fitted):
    model = fitted[DaskAutoencoderTransformer]
    np.testing.assert_array_equal(model.transform(X), model.to_local().transform(X))
    assert model.inverse_transform(model.transform(X[:5])).shape == (5, 6)
    assert model.fit_transform(in_chunks(X, 4000)).shape == (4000, 2)


def test_a_detector_learns_what_a_local_one_learns_of_a_sample(monkeypatch):
    params = {"max_iter": 1, "random_state": 3}
    model = DaskAEAnomalyDetector(**params).fit(in_chunks(X, 1000, 3000))
    np.testing.assert_array_equal(model.to_local().score_samples(X), AEAnomalyDetector(**params).fit(X).score_samples(X))
    from skvae import _anomaly

    for module in (_anomaly, fits):
        monkeypatch.setattr(module, "sample_rows", lambda n_columns: 1000)
    model.fit(in_chunks(X, 1000, 3000))
    with config_context(working_memory=1e-3):
        local = AEAnomalyDetector(**params).fit(X)
    np.testing.assert_array_equal(model.to_local().score_samples(X), local.score_samples(X))
    assert model.predict(in_chunks(X, 4000)).dtype == np.int64


# The estimator


@pytest.mark.parametrize(
    ("cls", "local"),
    [
        (DaskAutoencoderTransformer, AutoencoderTransformer),
        (DaskVAETransformer, VAETransformer),
        (DaskAEAnomalyDetector, AEAnomalyDetector),
    ],
)
def test_parameters_are_those_of_the_local_class_and_two_more(cls, local, client):
    model = cls(3, client=client, timeout=7)
    assert set(model.get_params(deep=False)) - set(local().get_params(deep=False)) == {"client", "timeout"}
    assert (model.n_components, model.timeout) == (3, 7)
    copy = clone(model)
    assert copy.client is client
    assert copy.get_params() == model.get_params()
    assert type(model.to_local()) is local
    assert model.to_local().get_params() == local(3).get_params()


def test_pickles(fitted):
    model = fitted[DaskAutoencoderTransformer]
    again = pickle.loads(pickle.dumps(model.set_params(client=distributed.default_client())))
    assert again.client is None
    np.testing.assert_array_equal(again.transform(X), model.transform(X))


def test_where_dask_is_not_installed_the_local_estimator_opens_and_fits_say_what_to_do(fitted, monkeypatch):
    saved = pickle.dumps(fitted[DaskAutoencoderTransformer].to_local())
    codes = fitted[DaskAutoencoderTransformer].transform(X[:10])
    monkeypatch.setattr(skvae, "dask", skvae.dask)  # as another one is imported
    for name in list(sys.modules):
        if name.startswith(("skvae.dask", "skvae._dask")):
            monkeypatch.delitem(sys.modules, name)
        elif name.partition(".")[0] in ("dask", "distributed"):
            monkeypatch.setitem(sys.modules, name, None)
    np.testing.assert_array_equal(pickle.loads(saved).transform(X[:10]), codes)
    assert "skvae.dask" not in sys.modules
    without = importlib.import_module("skvae.dask")
    with pytest.raises(ImportError, match=r"pip install 'skvae\[dask\]'"):
        without.DaskAutoencoderTransformer().fit([[0.0]])


# Refusals


def refused(kind, X, words, model=None, **options):
    with pytest.raises(kind, match=re.escape(words)) as caught:
        (model or DaskAutoencoderTransformer(2, **QUICK)).fit(X, **options)
    return str(caught.value)


def remedied(message, X, **names):
    """What X becomes by each line of code in a message."""
    for line in re.findall(r"`(X = [^`]*)`", message):
        found = {"X": X, "dask": dask} | names
        exec(line, found)
        yield found["X"]


def test_columns_in_several_chunks():
    collection = da.from_array(X, chunks=(1000, 4))
    for other in remedied(refused(ValueError, collection, "The columns of X are in 2 chunks"), collection):
        DaskAutoencoderTransformer(2, **QUICK).fit(other)


@pytest.mark.filterwarnings("ignore:Column:UserWarning")
def test_arrays_of_other_things_than_numbers():
    collection = in_chunks(X.astype(object), 4000)
    others = list(remedied(refused(ValueError, collection, "X is an array of dtype object"), collection))
    assert len(others) == 2
    for other in others:
        DaskAutoencoderTransformer(2, **QUICK).fit(other)


@pytest.mark.parametrize(
    ("collection", "words"),
    [
        (lambda: da.from_array(X[:, 0], chunks=1000), "X is an array of 1 dimensions"),
        (lambda: dd.from_pandas(pd.DataFrame(X)[0], npartitions=2), "X is a single column"),
    ],
    ids=["array", "series"],
)
def test_single_columns(collection, words):
    for other in remedied(refused(ValueError, collection(), words), collection()):
        DaskAutoencoderTransformer(1, **QUICK).fit(other)


@pytest.mark.parametrize(
    ("table", "line"),
    [(X, "X = dask.array.from_array(X)"), (pd.DataFrame(X), "X = dask.dataframe.from_pandas(X, npartitions=2)")],
    ids=["array", "frame"],
)
def test_tables_in_memory(table, line):
    assert f"`{line}`" in refused(TypeError, table, "must be a Dask collection")
    (collection,) = remedied(f"`{line}`", table)
    DaskAutoencoderTransformer(2, **QUICK).fit(collection)


def test_no_rows():
    refused(ValueError, in_chunks(X[:0], 0), "X has no rows in its 1 partitions")
    refused(ValueError, in_chunks(X[:0], 0), "X has no rows", model=DaskAEAnomalyDetector())


def test_a_rank_whose_rows_are_all_held_out():
    rows = np.arange(1000.0)[:, None] * np.ones(6)
    held_out = rows[places_of(rows) < 0.05][0]
    table = np.concatenate([X[:3000], np.tile(held_out, (1000, 1))])
    refused(ValueError, in_chunks(table, 3000, 1000), "All rows of one of the processes are held out")
    DaskAutoencoderTransformer(2, **QUICK).fit(in_chunks(table, 4000))


def test_infinity_is_named_by_its_partition():
    table = X.copy()
    table[2345, 4] = np.inf
    message = refused(ValueError, in_chunks(table, 1000, 1000, 2000), "In partition 2 of X")
    assert "row 345 of column 4" in message


def test_columns_that_differ_between_partitions():
    parts = [dask.delayed(X[:2000]), dask.delayed(X[2000:, :5])]
    collection = da.concatenate([da.from_delayed(part, (2000, 6), float) for part in parts])
    refused(ValueError, collection, "In partition 1 of X (counting from 0): X has 5 features")


def test_weights_in_other_partitions():
    weights = da.ones(4000, chunks=1000)
    refused(ValueError, in_chunks(X, 2000, 2000), "sample_weight has 4 partitions and X has 2", sample_weight=weights)
    refused(
        ValueError,
        in_chunks(X, 1000, 3000),
        "sample_weight.shape == (2000,), expected",
        sample_weight=da.ones(4000, chunks=2000),
    )
    message = refused(TypeError, in_chunks(X, 4000), "sample_weight is a ndarray", sample_weight=np.ones(4000))
    assert "dask.array.from_array(sample_weight, chunks=(X.chunks[0],))" in message
    refused(
        ValueError, in_chunks(X, 4000), "sample_weight is zero for all 4000 rows", sample_weight=da.zeros(4000, chunks=4000)
    )


def test_rows_to_judge_by_are_in_memory():
    refused(TypeError, in_chunks(X, 4000), "X_val = X_val.compute()", X_val=in_chunks(X, 4000))


def test_lazy_methods_of_what_is_not_fitted_and_of_what_has_other_columns(fitted):
    with pytest.raises(NotFittedError):
        DaskAutoencoderTransformer().transform(in_chunks(X, 4000))
    with pytest.raises(ValueError, match="X has 5 features"):
        fitted[DaskAutoencoderTransformer].transform(in_chunks(X[:, :5], 4000))
    with pytest.raises(TypeError, match="takes no other arguments with a Dask collection"):
        fitted[DaskAutoencoderTransformer].transform(in_chunks(X, 4000), out=np.empty((4000, 2)))


def test_a_failed_fit_leaves_the_earlier_one(fitted):
    model = clone(fitted[DaskAutoencoderTransformer]).fit(in_chunks(X, 4000))
    before = weights_of(model)
    refused(ValueError, in_chunks(np.where(np.arange(6) == 3, np.inf, X), 4000), "contains infinity", model=model)
    np.testing.assert_array_equal(weights_of(model), before)


def test_local_estimators_point_here():
    with pytest.raises(TypeError, match=r"skvae\.dask"):
        AutoencoderTransformer().fit(in_chunks(X, 4000))
    with pytest.raises(TypeError, match=r"skvae\.dask"):
        AutoencoderTransformer().fit(dd.from_pandas(pd.DataFrame(X), npartitions=1))
