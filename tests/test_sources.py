"""Tables as blocks of rows: the blocks are the table, and what cannot be read so says what to do."""

import re
import sys
from contextlib import chdir

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from skvae import AutoencoderTransformer
from skvae._tables import sources
from skvae._tables.sources import ArrayBlocks, DatasetBlocks, source_of

RNG = np.random.default_rng(0)
X = np.where(RNG.random((60, 3)) < 0.5, RNG.normal(size=(60, 3)), 0)
TABLE = pa.table({"a": X[:, 0], "b": X[:, 1], "colour": ["red", "blue", None] * 20})
QUICK = {"hidden_layer_sizes": (), "max_iter": 3, "early_stopping": False, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def folder(path, *tables, format="parquet", rows=20, **options):  # noqa: A002, pyarrow's name
    """A dataset of one file for each table."""
    path.mkdir(exist_ok=True)
    for i, table in enumerate(tables):
        limit = {"max_rows_per_group": rows} if format == "parquet" else {}
        name = f"{i}-{{i}}.{format}"
        ds.write_dataset(
            table, path, format=format, basename_template=name, existing_data_behavior="overwrite_or_ignore", **limit, **options
        )
    return ds.dataset(path, format=format, partitioning=options.get("partitioning"))


def joined(source):
    """All blocks of a source, of which the sizes are as it says."""
    blocks = [source.read(i) for i in range(len(source.sizes))]
    assert [len(block) for block in blocks] == source.sizes
    assert source.n_rows == sum(source.sizes)
    assert source.starts == [sum(source.sizes[:i]) for i in range(len(source.sizes))]
    return pa.concat_tables(blocks) if isinstance(blocks[0], pa.Table) else np.concatenate(blocks)


# Arrays

ARRAYS = {
    "float64": X,
    "float32": X.astype(np.float32),
    "float16": X.astype(np.float16),
    "integers": (10 * X).astype(np.int8),
    "booleans": X > 0,
    "other byte order": X.astype(">f8"),
    "columns in a row": np.asfortranarray(X),
    "every other row backwards": np.repeat(X, 2, axis=0)[::-2],
    "one column": X[:, :1],
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_blocks_of_an_array_are_the_array(array):
    source = ArrayBlocks(array, block_bytes=100)
    np.testing.assert_array_equal(joined(source), array)
    assert source.read(0).dtype == array.dtype
    assert len(source.sizes) > 1
    assert max(source.sizes) * array[:1].nbytes <= 100
    assert source.n_columns == array.shape[1]
    np.testing.assert_array_equal(source.head(7), array[:7])


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "bsr"])
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix], ids=["array", "matrix"])
def test_blocks_of_a_sparse_matrix_are_its_rows(kind, form):
    source = ArrayBlocks(kind(X).asformat(form), block_bytes=100)
    np.testing.assert_array_equal(joined(source), X)
    np.testing.assert_array_equal(source.head(7), X[:7])
    assert type(source.read(0)) is np.ndarray


def test_a_row_that_is_larger_than_a_block_is_a_block():
    assert ArrayBlocks(X, block_bytes=1).sizes == [1] * 60


def test_blocks_of_a_file_in_memory_are_what_it_holds(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(joined(ArrayBlocks(mapped, block_bytes=100)), X)


def test_masked_cells_are_missing():
    masked = np.ma.masked_greater(X, 1)
    np.testing.assert_array_equal(joined(ArrayBlocks(masked, block_bytes=100)), np.where(X > 1, np.nan, X))


def test_a_block_of_an_array_in_words():
    source = ArrayBlocks(X, block_bytes=240)
    assert source.in_words(1) == "block 1 of X, rows 10 to 19"
    assert source.in_words(5) == "block 5 of X, rows 50 to 59"


def test_arrays_are_read_in_blocks_beyond_a_size():
    for array in (X, sparse.csr_array(X), sparse.csc_matrix(X)):
        assert source_of(array, largest=X.nbytes) is None
        assert isinstance(source_of(array, largest=X.nbytes - 1), ArrayBlocks)
    assert source_of((X > 0), largest=200) is None


def test_sparse_arrays_of_one_dimension_are_no_source():
    assert source_of(sparse.coo_array(X[:, 0]), largest=0) is None


@pytest.mark.parametrize(
    "table", [X.tolist(), pd.DataFrame(X), TABLE, X.astype(object), X[0], X[None], X.astype(complex), "X.npy", None]
)
def test_all_else_is_no_source(table):
    assert source_of(table, largest=0) is None


# Datasets

FORMATS = ["parquet", "feather", "arrow", "csv"]


@pytest.mark.parametrize("form", FORMATS)
def test_blocks_of_a_dataset_are_the_dataset(form, tmp_path):
    dataset = folder(tmp_path / "X", TABLE[:25], TABLE[25:], format=form)
    source = source_of(dataset, largest=np.inf)
    assert joined(source).equals(dataset.to_table())
    assert joined(source).to_pandas()[["a", "b"]].equals(TABLE.to_pandas()[["a", "b"]])
    assert source.sizes == ([20, 5, 20, 15] if form == "parquet" else [25, 35])
    assert source.head(30).equals(dataset.to_table()[:30])
    assert source.n_columns == 3


def test_blocks_of_batches_in_memory_are_these():
    source = DatasetBlocks(ds.dataset(TABLE.to_batches(25)))
    assert joined(source).equals(TABLE)
    assert source.sizes == [25, 25, 10]


def test_a_dataset_that_comes_from_another_process_is_one(monkeypatch):
    """A pickle imports the part that holds its class, and no more."""
    monkeypatch.delitem(sys.modules, "pyarrow.dataset")
    assert isinstance(source_of(ds.dataset(TABLE), largest=np.inf), DatasetBlocks)


def test_files_and_row_groups_without_rows_are_passed_over(tmp_path):
    source = DatasetBlocks(folder(tmp_path / "X", TABLE[:0], TABLE[:25], TABLE[25:25], TABLE[25:]))
    assert source.sizes == [20, 5, 20, 15]
    assert joined(source).equals(TABLE)


@pytest.mark.parametrize("flavor", ["hive", "filename", None])
def test_columns_of_partitions_are_columns(flavor, tmp_path):
    parts = ds.partitioning(pa.schema([("colour", pa.string())]), flavor=flavor)
    dataset = folder(tmp_path / "X", TABLE, partitioning=parts)
    source = DatasetBlocks(dataset)
    assert source.n_columns == 3
    assert joined(source).equals(dataset.to_table())


def test_partitions_of_datasets_that_are_put_together(tmp_path):
    parts = ds.partitioning(pa.schema([("colour", pa.string())]), flavor="hive")
    children = [folder(tmp_path / name, some, partitioning=parts) for name, some in (("X", TABLE[:25]), ("Y", TABLE[25:]))]
    dataset = ds.dataset(children)
    assert joined(DatasetBlocks(dataset)).equals(dataset.to_table())


def test_dictionaries_may_differ_between_files(tmp_path):
    colours = [pa.table({"colour": pa.array(some).dictionary_encode()}) for some in (["red", "blue"], ["green", "red"])]
    read = joined(DatasetBlocks(folder(tmp_path / "X", *colours)))
    assert read["colour"].to_pylist() == ["red", "blue", "green", "red"]


def test_columns_that_are_selected_are_read_in_their_order(tmp_path):
    dataset = folder(tmp_path / "X", TABLE)
    dataset = dataset.replace_schema(pa.schema([dataset.schema.field(i) for i in (2, 0)]))
    assert joined(DatasetBlocks(dataset)).equals(TABLE.select(["colour", "a"]))


# Random rows


def test_a_sample_holds_random_rows_in_their_order(tmp_path):
    numbered = pa.table({"row": range(60)})
    for source in (ArrayBlocks(np.arange(60)[:, None], 100), DatasetBlocks(folder(tmp_path / "X", numbered, numbered[:0]))):
        drawn = [np.asarray(source.sample(20, np.random.default_rng(seed))).ravel() for seed in range(90)]
        assert all(len(rows) == 20 and (np.diff(rows) > 0).all() for rows in drawn)
        counts = np.bincount(np.concatenate(drawn), minlength=60)
        assert (np.abs(counts - 30) < 5 * np.sqrt(90 * (1 / 3) * (2 / 3))).all()
        np.testing.assert_array_equal(np.asarray(source.sample(61, np.random.default_rng(0))).ravel(), range(60))


def test_a_sample_of_a_sparse_matrix_is_dense():
    np.testing.assert_array_equal(ArrayBlocks(sparse.csr_array(X), 100).take(np.array([3, 7, 50])), X[[3, 7, 50]])


# What cannot be read


def lines_in(message):
    return re.findall(r"`([^`]*)`", str(message))


def fit(table):
    return AutoencoderTransformer(1, **QUICK).fit(table)


def assert_remedied(table, *words, n_lines=1, call=fit):
    """A call fails, and succeeds with what each line in the message makes of the table."""
    with pytest.raises((ValueError, TypeError)) as caught:
        call(table)
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    lines = lines_in(caught.value)
    assert len(lines) == n_lines
    for line in lines:
        names = {"pyarrow": pa, "X": table}
        exec(line, names)
        call(names["X"])


def test_a_column_that_a_file_lacks(tmp_path):
    dataset = folder(tmp_path / "X", TABLE[:25], TABLE[25:].drop_columns(["b"]))
    assert_remedied(dataset, "Column 'b' is missing in block 2 of X, rows 25 to 44", "1-0.parquet")


@pytest.mark.parametrize(
    "cells", [pa.array([[1, 2]] * 60), pa.array([{"u": 1}] * 60), pa.array([[1, 2]] * 60, pa.list_(pa.int64(), 2))], ids=str
)
def test_a_column_whose_cells_hold_several_values(cells, tmp_path):
    dataset = folder(tmp_path / "X", TABLE.append_column("pair", cells))
    assert_remedied(dataset, "Column 'pair' of X has type", "several values")


def test_a_file_that_only_a_large_memory_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_BLOCK", 100)
    dataset = folder(tmp_path / "csv", TABLE, format="csv")
    with chdir(tmp_path):
        assert_remedied(dataset, "can only be read as a whole", "0-0.csv", "0 MB")


def test_a_dataset_that_selects_rows(tmp_path):
    dataset = folder(tmp_path / "all", TABLE).filter(ds.field("a") > 0)
    with chdir(tmp_path):
        assert_remedied(dataset, "cannot be read one by one", "filtered")
        assert ds.dataset("X").to_table().equals(dataset.to_table())


LATE = {
    "numbers after integers": (pa.array(range(20)), pa.array(X[20:, 0])),
    "strings after nothing": (pa.nulls(20), pa.array(["x", "y"] * 20)),
    "longer integers": (pa.array(range(20), pa.int8()), pa.array([300] * 40)),
}


@pytest.mark.parametrize(("early", "late"), LATE.values(), ids=LATE)
def test_a_late_file_of_another_dtype(early, late, tmp_path):
    tables = [part.append_column("late", cells) for part, cells in ((TABLE[:20], early), (TABLE[20:], late))]
    assert_remedied(folder(tmp_path / "X", *tables), "Block 1 of X, rows 20 to 39", "1-0.parquet", "cannot be read with")


def test_a_late_file_of_a_dtype_that_nothing_brings_together(tmp_path):
    other = TABLE[25:].set_column(0, "a", pa.array(["x"] * 35))
    dataset = folder(tmp_path / "X", TABLE[:25], other)
    with pytest.raises(
        ValueError, match=r"Block 2 of X, rows 25 to 44, of '.*1-0.parquet', .*Failed to parse.*'x'.* or rewrite"
    ):
        fit(dataset)


def test_a_file_that_is_gone(tmp_path):
    dataset = folder(tmp_path / "X", TABLE[:25], TABLE[25:])
    source = DatasetBlocks(dataset)
    (tmp_path / "X" / "1-0.parquet").unlink()
    with pytest.raises(ValueError, match=r"Block 2 of X, .*1-0\.parquet"):
        source.read(2)


def test_no_rows(tmp_path):
    for dataset in (folder(tmp_path / "X", TABLE[:0]), ds.dataset([], schema=TABLE.schema)):
        with pytest.raises(ValueError, match=r"dataset of [01] files without any rows"):
            fit(dataset)


def test_no_columns(tmp_path):
    with pytest.raises(ValueError, match="X has no columns"):
        fit(folder(tmp_path / "X", TABLE).replace_schema(pa.schema([])))


def test_a_name_that_is_there_twice():
    with pytest.raises(ValueError, match="several columns named 'a'"):
        fit(ds.dataset(TABLE.append_column("a", TABLE["b"])))


@pytest.mark.parametrize("of", [lambda dataset: dataset.scanner(), lambda dataset: next(dataset.get_fragments())])
def test_what_only_looks_like_a_dataset(of, tmp_path):
    assert_remedied(of(folder(tmp_path / "X", TABLE)), "pass the dataset")


def test_one_file_is_no_dataset_but_a_path(tmp_path):
    pq.write_table(TABLE, tmp_path / "X.parquet")
    with pytest.raises(TypeError, match="read_parquet"):
        fit(tmp_path / "X.parquet")
