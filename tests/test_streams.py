"""Estimators that are given tables which memory does not hold, beside what they and others make of the same table in it."""

import pickle
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AEAnomalyDetector, AutoencoderTransformer, VAETransformer
from skvae import _streams as streams_module
from skvae import _validation as validation_module
from skvae._tables import schema as schema_module
from skvae._tables.schema import Schema

CANCER = load_breast_cancer().data
WINE = load_wine().data
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
METHODS = ["transform", "reconstruct", "reconstruction_error", "score_samples"]
RNG = np.random.default_rng(0)
N = 300
FRAME = pd.DataFrame({"a": RNG.normal(size=N), "b": RNG.normal(size=N)})
FRAME["c"] = FRAME["a"] + 0.1 * RNG.normal(size=N)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """All arrays are streamed, in blocks of some tens of rows."""
    monkeypatch.setattr(streams_module, "APPLIED_BYTES", 10_000)
    monkeypatch.setattr(validation_module.streamed, "__defaults__", (10_000,))
    with sklearn.config_context(working_memory=0):
        yield


@pytest.fixture
def write(tmp_path):
    """A function that writes tables, one per file, and gives the dataset."""

    def written(*tables, rows=50, **options):
        path = tmp_path / f"X{len(list(tmp_path.iterdir()))}"
        for i, table in enumerate(tables):
            table = pa.Table.from_pandas(table, preserve_index=False) if isinstance(table, pd.DataFrame) else table
            ds.write_dataset(
                table,
                path,
                format="parquet",
                basename_template=f"{i}-{{i}}.parquet",
                existing_data_behavior="overwrite_or_ignore",
                max_rows_per_group=rows,
                **options,
            )
        return ds.dataset(path, partitioning=options.get("partitioning"))

    return written


def autoencoder(n_components=2, **params):
    return AutoencoderTransformer(n_components, **QUICK | params)


def in_memory(call, *args, **options):
    """What a call gives where no array is too large."""
    with sklearn.config_context(working_memory=1024):
        return call(*args, **options)


def joined(results):
    results = list(results)
    return pd.concat(results, ignore_index=True) if isinstance(results[0], pd.DataFrame) else np.concatenate(results)


def assert_same(first, second, X, methods=METHODS):
    """Two models are one to the last bit."""
    for method in methods:
        np.testing.assert_array_equal(getattr(first, method)(X), getattr(second, method)(X))
    np.testing.assert_array_equal(first.loss_curve_, second.loss_curve_)
    np.testing.assert_array_equal(first.validation_scores_, second.validation_scores_)


# Closed solutions


@pytest.mark.parametrize("X", [CANCER, WINE, WINE.astype(np.float32)], ids=["breast cancer", "wine", "single precision"])
def test_a_linear_model_is_pca_of_standardised_columns(X):
    model = autoencoder(3, hidden_layer_sizes=()).fit(X)
    Z = StandardScaler().fit_transform(X.astype(float))
    pca = PCA(3, whiten=True).fit(Z)
    np.testing.assert_allclose(model.transform(X), pca.transform(Z), atol=1e-6 if X.dtype == float else 1e-4)
    errors = ((Z - pca.inverse_transform(pca.transform(Z))) ** 2).sum(1)
    np.testing.assert_allclose(model.reconstruction_error(X), errors, rtol=1e-5, atol=1e-6)


def test_without_standardising_it_is_pca():
    X = WINE[:, :5]
    model = autoencoder(2, hidden_layer_sizes=(), standardize=False).fit(X)
    pca = PCA(2).fit(X)
    np.testing.assert_allclose(model.reconstruct(X), pca.inverse_transform(pca.transform(X)), rtol=1e-6, atol=1e-6)


def test_a_share_of_the_variance_takes_as_many_components_as_pca():
    Z = StandardScaler().fit_transform(WINE)
    for share in (0.3, 0.8, 0.95):
        assert autoencoder(share, hidden_layer_sizes=()).fit(WINE).n_components_ == PCA(share).fit(Z).n_components_


def test_a_linear_model_with_a_posterior_scores_like_pca():
    model = VAETransformer(2, hidden_layer_sizes=(), max_iter=1, random_state=0, standardize=False).fit(CANCER[:, :6])
    np.testing.assert_allclose(
        model.score_samples(CANCER[:, :6]), PCA(2).fit(CANCER[:, :6]).score_samples(CANCER[:, :6]), rtol=0.02
    )


@pytest.mark.parametrize("X", [CANCER, WINE, RNG.normal(size=(300, 4))], ids=["breast cancer", "wine", "noise"])
def test_a_fit_is_no_worse_than_pca(X):
    model = autoencoder(2, max_iter=20).fit(X)
    Z = StandardScaler().fit_transform(X)
    pca = PCA(2).fit(Z)
    error = ((Z - pca.inverse_transform(pca.transform(Z))) ** 2).sum(1).mean()
    assert model.reconstruction_error(X).mean() < 1.02 * error


# The same table is the same model


def test_the_same_blocks_and_seed_give_the_same_bits():
    assert_same(autoencoder().fit(WINE), autoencoder().fit(WINE.copy()), WINE)


LAYOUTS = {
    "columns in a row": np.asfortranarray,
    "other byte order": lambda X: X.astype(">f8"),
    "every other row of a larger one": lambda X: np.repeat(X, 2, axis=0)[::2],
    "sparse rows": sparse.csr_array,
    "sparse columns": sparse.csc_matrix,
    "sparse cells": sparse.coo_array,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_of_an_array_changes_no_bit(layout):
    X = np.where(WINE > np.median(WINE, axis=0), WINE, 0)
    model, other = autoencoder().fit(X), autoencoder().fit(layout(X))
    assert_same(model, other, X)
    for method in METHODS:
        np.testing.assert_array_equal(getattr(model, method)(layout(X)), getattr(model, method)(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_in_memory_is_the_array(dtype, tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", dtype, WINE.shape)
    mapped[:] = WINE
    assert_same(autoencoder().fit(mapped), autoencoder().fit(WINE.astype(dtype)), mapped)


NARROW = {
    "integers": (10 * WINE).astype(np.int32),
    "small integers": np.clip(10 * WINE, -120, 120).astype(np.int8),
    "half precision": WINE.astype(np.float16),
    "booleans": RNG.random((300, 12)) < 0.5,
}


@pytest.mark.parametrize("X", NARROW.values(), ids=NARROW)
def test_narrow_cells_are_the_same_numbers(X):
    wide = X.astype(np.float32 if X.dtype == np.float16 else np.float64)
    model, other = autoencoder(hidden_layer_sizes=()).fit(X), autoencoder(hidden_layer_sizes=()).fit(wide)
    np.testing.assert_allclose(model.transform(X), other.transform(wide), rtol=1e-5, atol=1e-5)


def test_masked_cells_are_missing():
    missing = RNG.random(WINE.shape) < 0.1
    model = autoencoder().fit(np.ma.array(WINE, mask=missing))
    assert_same(model, autoencoder().fit(np.where(missing, np.nan, WINE)), WINE)


def test_the_order_of_rows_decides_neither_statistics_nor_the_split():
    model, other = (autoencoder().fit(X) for X in (CANCER, CANCER[RNG.permutation(len(CANCER))]))
    np.testing.assert_allclose(other._fitted.scaling.mean, model._fitted.scaling.mean, rtol=1e-12)
    np.testing.assert_allclose(other._fitted.scaling.scale, model._fitted.scaling.scale, rtol=1e-12)
    assert other.validation_scores_[0] == pytest.approx(model.validation_scores_[0], rel=1e-5)


def test_the_size_of_blocks_decides_no_statistics(monkeypatch):
    model = autoencoder(hidden_layer_sizes=()).fit(WINE)
    monkeypatch.setattr(validation_module.streamed, "__defaults__", (1,))  # byte, so that each row is a block
    other = autoencoder(hidden_layer_sizes=()).fit(WINE)
    np.testing.assert_allclose(other.transform(WINE), model.transform(WINE), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_results_are_those_of_the_table_in_memory(kind):
    model = kind(2, **QUICK).fit(WINE)
    for X in (WINE, WINE.astype(np.float32)):
        for method in METHODS:
            result, expected = getattr(model, method)(X), in_memory(getattr(model, method), X)
            np.testing.assert_array_equal(result, expected)
            assert result.dtype == expected.dtype


# Holes, weights and the like


def test_holes_do_not_matter_to_what_a_fit_is():
    X = np.where(RNG.random(WINE.shape) < 0.1, np.nan, WINE)
    model, small = autoencoder().fit(X), in_memory(autoencoder().fit, X)
    np.testing.assert_allclose(model._fitted.scaling.mean, np.nanmean(X, axis=0), rtol=1e-12)
    np.testing.assert_allclose(model._fitted.scaling.scale, np.nanstd(X, axis=0), rtol=1e-12)
    assert model.score(X) > small.score(X) - 0.5
    assert np.isfinite(model.impute(X)).all()


def test_a_column_without_cells_stays_so():
    X = np.column_stack([WINE, np.full(len(WINE), np.nan)])
    assert np.isnan(autoencoder().fit(X).reconstruct(X)[:, -1]).all()


def test_weights_are_repetitions():
    weights = RNG.integers(0, 3, size=len(WINE))
    repeated = np.repeat(WINE, weights, axis=0)
    model = autoencoder(hidden_layer_sizes=()).fit(WINE, sample_weight=weights)
    other = autoencoder(hidden_layer_sizes=()).fit(repeated)
    np.testing.assert_allclose(model.transform(WINE), other.transform(WINE), rtol=1e-6, atol=1e-8)


def test_weights_are_those_of_the_rows():
    """Half of the rows, which weigh nothing, are wild."""
    X = np.concatenate([WINE, 1e6 * RNG.normal(size=WINE.shape)])
    order = RNG.permutation(len(X))
    weights = np.repeat([1.0, 0.0], len(WINE))
    model = autoencoder(max_iter=10).fit(X[order], sample_weight=weights[order])
    assert model.reconstruction_error(WINE).mean() < 1.05 * autoencoder(max_iter=10).fit(WINE).reconstruction_error(WINE).mean()


@pytest.mark.parametrize("weights", [np.ones(3), -np.ones(len(WINE)), np.zeros(len(WINE))])
def test_weights_that_cannot_be_used_are_refused(weights):
    with pytest.raises(ValueError, match=r"sample_weight"):
        autoencoder().fit(WINE, sample_weight=weights)


def test_validation_rows_of_the_caller_judge():
    model, other = autoencoder().fit(CANCER[:400], X_val=CANCER[400:]), autoencoder()
    in_memory(other.fit, CANCER[:400], X_val=CANCER[400:])
    np.testing.assert_allclose(model._fitted.scaling.mean, CANCER[:400].mean(0), rtol=1e-12)
    assert model.validation_scores_[0] == pytest.approx(other.validation_scores_[0], rel=1e-5)


def test_nothing_is_held_out_without_early_stopping():
    model = autoencoder(early_stopping=False).fit(WINE)
    assert model.validation_scores_ is None
    assert len(model.loss_curve_) == 3


def test_a_model_goes_on():
    model = autoencoder(warm_start=True, early_stopping=False).fit(WINE)
    scaling = model._fitted.scaling
    model.fit(WINE + 1)
    assert len(model.loss_curve_) == 6
    np.testing.assert_array_equal(model._fitted.scaling.mean, scaling.mean)
    in_memory(model.fit, WINE)
    assert len(model.loss_curve_) == 9


@pytest.mark.parametrize("standardize", ["robust", "quantile"])
def test_columns_are_bent_as_in_memory(standardize):
    X = np.exp(CANCER[:, :4] / CANCER[:, :4].std(0))
    model, small = autoencoder(standardize=standardize).fit(X), in_memory(autoencoder(standardize=standardize).fit, X)
    np.testing.assert_allclose(model.score(X), small.score(X), atol=0.3)


@pytest.mark.parametrize("n_rows", [2, 5, 12])
def test_tiny_tables(n_rows, write):
    for X in (WINE[:n_rows], write(pa.table(WINE[:n_rows].T.tolist(), names=[str(i) for i in range(13)]), rows=2)):
        model = autoencoder(1).fit(X)
        assert np.isfinite(joined(model.transform(X)) if isinstance(X, ds.Dataset) else model.transform(X)).all()


STRANGE = {
    "one column": WINE[:, :1],
    "a constant column": np.column_stack([WINE, np.full(len(WINE), 1 / 3)]),
    "all rows equal": np.ones((50, 3)),
    "two distinct rows": np.repeat([[1.0, 2.0], [3.0, 5.0]], 50, axis=0),
    "huge": WINE * 1e200,
    "tiny": WINE * 1e-200,
}


@pytest.mark.parametrize("X", STRANGE.values(), ids=STRANGE)
def test_strange_tables_come_back(X):
    model = autoencoder(1).fit(X)
    assert np.isfinite(model.transform(X)).all()
    error, variance = (
        ((model.reconstruct(X) / np.abs(X).max() - X / np.abs(X).max()) ** 2).mean(),
        (X / np.abs(X).max()).var(0).mean(),
    )
    assert error <= 1.001 * variance + 1e-20


def test_a_constant_column_comes_back_exactly():
    X = np.column_stack([WINE, np.full(len(WINE), 1 / 3)])
    assert (autoencoder().fit(X).reconstruct(X)[:, -1] == 1 / 3).all()


# Frames on disk


@pytest.fixture
def mixed():
    days = pd.date_range("2024-01-01", periods=N, freq="h")
    return FRAME.assign(
        colour=RNG.choice(["red", "green", "blue"], N).tolist(),
        flag=FRAME["a"] > 0,
        count=RNG.integers(0, 9, N),
        day=days,
    ).mask(RNG.random((N, 7)) < 0.05)


def described(schema):
    return [(c.name, c.kind, str(c.dtype), c.levels, c.grouped, c.is_constant, c.is_clock, c.origin) for c in schema.columns]


def assert_schema_of_the_table(dataset, **params):
    """The columns are what they are in memory; the model and the table in memory are given back."""
    table, model = dataset.to_table(), autoencoder(max_iter=1, early_stopping=False, **params)
    model.fit(dataset)
    assert described(model.schema_) == described(Schema.of(table, model.categorical_features))
    return model, table


def test_columns_of_a_dataset_are_those_of_its_table(mixed, write):
    model, table = assert_schema_of_the_table(write(mixed[:170], mixed[170:]))
    assert [c.kind for c in model.schema_.columns] == ["number"] * 3 + ["category", "boolean", "number", "datetime"]
    assert model.feature_names_in_.tolist() == table.column_names


COLUMNS = {
    "large strings": pa.array(["x", "y", "z"] * 100, pa.large_string()),
    "dictionary": pa.array(["x", "y", "z"] * 100).dictionary_encode(),
    "a zone": pa.array(pd.date_range("2024", periods=N, tz="Europe/Paris")),
    "unsorted dates": pa.array(pd.date_range("2024", periods=N)[RNG.permutation(N)]).cast(pa.date32()),
    "durations": pa.array(RNG.integers(0, 1000, N), pa.duration("s")),
    "decimals": pa.array(np.arange(N) % 7).cast(pa.decimal128(30, 2)),
    "half precision": pa.array((np.arange(N) % 7).astype(np.float16)),
    "booleans": pa.array([True, False, None] * 100),
    "integers with holes": pa.array([1, 2, None] * 100),
    "nothing": pa.nulls(N),
    "constant": pa.array([3.0] * N),
}


def test_columns_of_any_type_are_what_they_are_in_memory(write):
    dataset = write(pa.table({"a": FRAME["a"], **COLUMNS}))
    model, table = assert_schema_of_the_table(dataset)
    np.testing.assert_array_equal(joined(model.transform(dataset)), model.transform(table))
    pd.testing.assert_frame_equal(joined(model.reconstruct(dataset)), model.reconstruct(table))


NOTED = {
    "names of rows": ([f"row {i}" for i in range(N)], "ignored"),
    "numbers as strings": ([str(i % 30) for i in range(N)], "text"),
    "rare levels": (["x", "y"] * 100 + [f"rare {i // 2}" for i in range(100)], "rare"),
}


@pytest.mark.parametrize(("cells", "words"), NOTED.values(), ids=NOTED)
def test_notes_on_levels_are_those_of_the_table(cells, words, write, monkeypatch):
    monkeypatch.setattr(schema_module, "HEAD_ROWS", 120)
    dataset = write(FRAME.assign(e=cells))
    with pytest.warns(UserWarning, match=words) as caught:
        model = autoencoder().fit(dataset)
    with pytest.warns(UserWarning, match=words) as expected:
        schema = Schema.of(dataset.to_table())
    assert [str(each.message) for each in caught] == [str(each.message) for each in expected]
    assert described(model.schema_) == described(schema)


LATE = {
    "a level in the last block": (["x", "y"] * 125 + ["z"] * 50, ["x", "y", "z"]),
    "levels after empty blocks": ([None] * 150 + ["x", "y"] * 75, ["x", "y"]),
}


@pytest.mark.parametrize(("cells", "levels"), LATE.values(), ids=LATE)
def test_levels_that_come_late_are_levels(cells, levels, write, monkeypatch):
    monkeypatch.setattr(schema_module, "HEAD_ROWS", 100)
    model, _ = assert_schema_of_the_table(write(FRAME.assign(e=pd.Series(cells, dtype="string"))))
    assert list(model.schema_.columns[-1].levels) == levels


@pytest.mark.parametrize("cells", [pa.array([None] * 150 + [1.5, 2.5] * 75), pa.array([None] * 150 + [True, False] * 75)])
def test_numbers_that_come_after_empty_blocks_are_numbers(cells, write, monkeypatch):
    monkeypatch.setattr(schema_module, "HEAD_ROWS", 100)
    assert_schema_of_the_table(write(pa.table({"a": FRAME["a"], "b": FRAME["b"], "late": cells})))


def test_a_column_that_is_constant_in_the_first_rows_is_not_constant(write, monkeypatch):
    monkeypatch.setattr(schema_module, "HEAD_ROWS", 100)
    model, _ = assert_schema_of_the_table(write(FRAME.assign(e=[1.0] * 299 + [2.0])))
    assert not model.schema_.columns[-1].is_constant


def test_numbers_that_are_named_are_categories(write, monkeypatch):
    monkeypatch.setattr(schema_module, "HEAD_ROWS", 100)
    dataset = write(FRAME.assign(e=[0, 1] * 125 + [7] * 50))
    model, _ = assert_schema_of_the_table(dataset, categorical_features=["e"])
    assert list(model.schema_.columns[-1].levels) == [0, 1, 7]


def test_categories_of_an_array_are_those_of_all_blocks(monkeypatch):
    monkeypatch.setattr(schema_module, "HEAD_ROWS", 100)
    X = np.column_stack([np.repeat([0.0, 1.0, 5.0], [150, 100, 50]), FRAME])
    for table in (X, sparse.csr_array(X)):
        assert autoencoder(categorical_features=[0]).fit(table).schema_.columns[0].levels == (0.0, 1.0, 5.0)


def test_dictionaries_that_differ_between_files(write):
    first, second = (
        pa.table({"a": FRAME["a"][:100], "colour": pa.array(colours).dictionary_encode()})
        for colours in (["red", "blue"] * 50, ["green", "red"] * 50)
    )
    model, table = assert_schema_of_the_table(write(first, second))
    assert model.schema_.columns[1].levels == ("blue", "green", "red")
    assert model.reconstruct(table)["colour"].isin(["blue", "green", "red"]).all()


def test_columns_of_partitions_are_columns(write):
    parts = ds.partitioning(pa.schema([("colour", pa.string())]), flavor="hive")
    dataset = write(FRAME.assign(colour=["red", "blue", "blue"] * 100), partitioning=parts)
    model, table = assert_schema_of_the_table(dataset)
    assert table.column_names[-1] == "colour"
    np.testing.assert_array_equal(joined(model.transform(dataset)), model.transform(table))


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_a_mixed_dataset_scores_like_its_table(kind, mixed, write):
    dataset = write(mixed)
    table = dataset.to_table()
    model = kind(2, **QUICK).fit(dataset)
    for method in METHODS:
        result, expected = joined(getattr(model, method)(dataset)), getattr(model, method)(table)
        if isinstance(expected, pd.DataFrame):
            pd.testing.assert_frame_equal(result, expected)
        else:
            np.testing.assert_array_equal(result, expected)
    assert model.score(dataset) == pytest.approx(model.score(table), rel=1e-9)


def test_a_fit_to_a_mixed_dataset_is_as_good_as_one_to_its_table(mixed, write):
    dataset = write(mixed)
    table = dataset.to_table()
    assert autoencoder().fit(dataset).score(table) > autoencoder().fit(table).score(table) - 0.5


def test_the_detector_knows_a_dataset_by_all_of_its_few_rows(mixed, write):
    dataset = write(mixed)
    detector = AEAnomalyDetector(1, cv=2, **QUICK)
    expected = clone(detector).fit(dataset.to_table())
    np.testing.assert_array_equal(
        joined(detector.fit(dataset).score_samples(dataset)), expected.score_samples(dataset.to_table())
    )


def test_a_model_of_a_table_takes_datasets_and_the_other_way_round(write):
    dataset = write(FRAME)
    model, other = autoencoder().fit(FRAME), autoencoder().fit(dataset)
    np.testing.assert_array_equal(joined(model.transform(dataset)), model.transform(FRAME))
    np.testing.assert_array_equal(other.transform(FRAME), joined(other.transform(dataset)))


def test_validation_rows_in_memory_judge_a_dataset(mixed, write):
    model = autoencoder().fit(write(mixed), X_val=mixed[:50])
    assert len(model.validation_scores_) == 4


def test_the_same_dataset_and_seed_give_the_same_bits(mixed, write):
    dataset = write(mixed)
    assert_same(autoencoder().fit(dataset), autoencoder().fit(dataset), mixed, ["transform", "score_samples"])


# Where results go


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_results_are_written_into_an_array(kind, write):
    for X, few in ((FRAME.to_numpy(), FRAME.to_numpy().tolist()), (write(FRAME), FRAME)):
        model = kind(2, **QUICK).fit(X)
        for method in METHODS:
            expected = np.asarray(getattr(model, method)(few))
            for table in (X, few):
                out = np.empty(expected.shape)
                assert getattr(model, method)(table, out=out) is out
                np.testing.assert_array_equal(out, expected)


def test_results_are_written_into_a_file(tmp_path):
    model = autoencoder().fit(WINE)
    out = np.lib.format.open_memmap(tmp_path / "codes.npy", "w+", np.float32, (len(WINE), 2))
    model.transform(WINE, out=out)
    np.testing.assert_array_equal(out, model.transform(WINE).astype(np.float32))


@pytest.mark.parametrize("shape", [(len(WINE), 3), (len(WINE) - 1, 2), (len(WINE),)])
def test_an_array_of_another_shape_is_refused(shape):
    model = autoencoder().fit(WINE)
    for X in (WINE, WINE.tolist()):
        with pytest.raises(ValueError, match=re.escape(f"out has shape {shape}, but the result has ({len(WINE)}, 2)")):
            model.transform(X, out=np.empty(shape))


@pytest.mark.parametrize("dtype", [int, bool])
def test_an_array_that_would_cut_results_off_is_refused(dtype):
    model = autoencoder().fit(WINE)
    for X in (WINE, WINE.tolist()):
        with pytest.raises(ValueError, match="but the result has float64"):
            model.transform(X, out=np.empty((len(WINE), 2), dtype))


def test_blocks_of_a_dataset_are_read_when_they_are_asked_for(write):
    dataset = write(FRAME)
    results = autoencoder().fit(dataset).transform(dataset)
    assert iter(results) is results
    assert next(results).shape == (50, 2)


def test_a_model_that_is_not_fitted_says_so_at_once(write):
    for X in (WINE, write(FRAME)):
        with pytest.raises(sklearn.exceptions.NotFittedError):
            autoencoder().transform(X)


# What is refused


def test_infinity_in_a_late_block(write):
    X = FRAME.copy()
    X.loc[233, "b"] = np.inf
    with pytest.raises(ValueError, match=r"block 4 of X, rows 200 to 249.* first in row 33 of column 'b'"):
        autoencoder().fit(write(X))
    with pytest.raises(ValueError, match=r"In block \d of X, .* infinity: first in row \d+ of column 1"):
        autoencoder().fit(np.repeat(X.to_numpy(), 3, axis=0))


def test_cells_that_are_no_probabilities_in_a_late_block(write):
    X = pd.DataFrame(RNG.random((N, 3)), columns=list("abc"))
    autoencoder(likelihood="bernoulli").fit(write(X))
    X.loc[233, "b"] = 1.5
    with pytest.raises(ValueError, match=r"block 4 of X, rows 200 to 249.*needs cells in \[0, 1\], but row 33 of column 'b'"):
        autoencoder(likelihood="bernoulli").fit(write(X))


def test_other_columns_than_at_fit(write):
    model = autoencoder().fit(FRAME)
    with pytest.raises(ValueError, match=r"block 0 of X.*feature names"):
        list(model.transform(write(FRAME.rename(columns={"a": "z"}))))
    with pytest.raises(ValueError, match=r"block 0 of X.*2 features"):
        autoencoder().fit(WINE).transform(WINE[:, :2])


def test_a_level_that_is_not_known_in_a_late_block(write):
    colours = ["red", "blue"] * 150
    model = autoencoder(handle_unknown="error").fit(write(FRAME.assign(colour=colours)))
    colours[233] = "green"
    with pytest.raises(ValueError, match=r"block 4 of X.*green"):
        list(model.transform(write(FRAME.assign(colour=colours))))


@pytest.mark.parametrize("early", [True, False])
def test_a_failed_fit_leaves_the_earlier_one(early, write):
    model = autoencoder().fit(FRAME)
    before = model.transform(FRAME)
    bad = FRAME.copy()
    bad.loc[3 if early else 290, "b"] = np.inf
    for X in (write(bad), bad.to_numpy()):
        with pytest.raises(ValueError, match="infinity"):
            model.fit(X)
        np.testing.assert_array_equal(model.transform(FRAME), before)


def test_a_file_that_changes_while_it_is_read(tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", float, WINE.shape)
    mapped[:] = WINE
    mean = Schema.with_constants

    def changing(schema, summary):
        mapped[100] = 7.0
        return mean(schema, summary)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schema, "with_constants", changing)
        with pytest.raises(ValueError, match=r"X has changed during the fit: block 1 of X, rows \d+ to \d+"):
            autoencoder().fit(mapped)


# In scikit-learn


def test_a_grid_search_over_a_file(tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", float, WINE.shape)
    mapped[:] = WINE
    search = GridSearchCV(autoencoder(), {"n_components": [1, 3]}, cv=2).fit(mapped)
    assert search.best_params_ == {"n_components": 3}


def test_a_pipeline_and_names_of_components():
    pipeline = make_pipeline(StandardScaler(), autoencoder()).set_output(transform="pandas")
    codes = pipeline.fit_transform(WINE)
    assert (
        list(codes.columns) == list(pipeline.get_feature_names_out()) == ["autoencodertransformer0", "autoencodertransformer1"]
    )
    assert codes.shape == (len(WINE), 2)


def test_a_clone_of_a_model_of_a_stream_fits_alike(write):
    dataset = write(FRAME)
    model = autoencoder().fit(dataset)
    assert_same(clone(model).fit(dataset), model, FRAME, ["transform"])


def test_pickles_hold_no_rows(write):
    frame = pd.DataFrame(RNG.normal(size=(20_000, 4)), columns=list("abcd"))
    for X in (frame.to_numpy(), write(frame, rows=5000)):
        model = autoencoder(max_iter=1, batch_size=2000).fit(X)
        opened = pickle.loads(pickle.dumps(model))
        assert len(pickle.dumps(model)) < 50_000
        assert_same(opened, model, frame[:10] if isinstance(X, ds.Dataset) else X[:10])


def test_progress_goes_to_stderr(mixed, write, capsys):
    dataset = write(mixed)
    model = autoencoder(verbose=True).fit(dataset)
    list(model.transform(dataset))
    out, err = capsys.readouterr()
    assert out == ""
    for doing in ("counting", "reading", "training", "transform"):
        assert f"AutoencoderTransformer, {doing}" in err


def test_without_verbose_nothing_is_printed(mixed, write, capsys):
    dataset = write(mixed)
    list(autoencoder().fit(dataset).transform(dataset))
    assert capsys.readouterr() == ("", "")


def test_a_list_cannot_take_a_result():
    model = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(WINE)
    with pytest.raises(TypeError, match="out is a list; pass an array"):
        model.transform(WINE, out=[])
