"""Tables that are read block by block: arrays, sparse matrices and Arrow datasets."""

import math
import sys
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

BLOCK_BYTES = 1 << 19  # of an array, read at once: much smaller than the pool, and large enough to be read fast
FRAME_ROWS = 1 << 15  # of a frame, read at once
LARGEST_BLOCK = 1 << 29  # bytes of a file that can only be read as a whole
BYTES_OF_CELL = 8  # of a dataset
TO_PARQUET = "`pyarrow.dataset.write_dataset(X, 'X', format='parquet'); X = pyarrow.dataset.dataset('X')`"
TO_COMMON_TYPES = (
    "`parts = [*X.get_fragments()]; types = pyarrow.unify_schemas([X.schema, *(part.physical_schema for part in parts)], "
    "promote_options='permissive'); X = pyarrow.dataset.FileSystemDataset(parts, types, X.format, X.filesystem)`"
)


class Source(ABC):
    """A table as blocks of rows; each block is a table as users pass it.

    Attributes
    ----------
    sizes : list of int
        Rows of each block.
    n_columns : int
    """

    sizes: list[int]
    n_columns: int
    is_decoded = False  # whether reading costs much more than copying

    @cached_property
    def n_rows(self) -> int:
        return sum(self.sizes)

    @cached_property
    def starts(self) -> list[int]:
        """Number of the first row of each block."""
        return np.cumsum([0, *self.sizes[:-1]]).tolist()

    @abstractmethod
    def read(self, i: int) -> Any:
        """A block."""

    @abstractmethod
    def head(self, n_rows: int) -> Any:
        """The first rows."""

    @abstractmethod
    def take(self, places: np.ndarray) -> Any:
        """Rows at these places, in rising order."""

    def sample(self, n_rows: int, rng: np.random.Generator) -> Any:
        """Random rows in their order; all if there are at most ``n_rows``."""
        n_drawn = min(n_rows, self.n_rows)
        return self.take(np.sort(rng.choice(self.n_rows, n_drawn, replace=False, shuffle=False)))

    def in_words(self, i: int) -> str:
        """Description of a block and its rows."""
        start = self.starts[i]
        return f"block {i} of X, rows {start} to {start + self.sizes[i] - 1}"


class ArrayBlocks(Source):
    """Rows of arrays, memory-mapped files and sparse matrices, which become dense block by block."""

    def __init__(self, X: Any, block_bytes: int = BLOCK_BYTES) -> None:
        self.X = X.tocsr() if sparse.issparse(X) else X
        n_rows, self.n_columns = X.shape
        self.step = max(1, block_bytes // max(1, X.dtype.itemsize * self.n_columns))
        self.sizes = [min(self.step, n_rows - start) for start in range(0, n_rows, self.step)]

    def read(self, i: int) -> np.ndarray:
        return self._dense(slice(i * self.step, (i + 1) * self.step))

    def head(self, n_rows: int) -> np.ndarray:
        return self._dense(slice(n_rows))

    def take(self, places: np.ndarray) -> np.ndarray:
        return self._dense(places)

    def _dense(self, rows: slice | np.ndarray) -> np.ndarray:
        some = self.X[rows]
        if isinstance(some, np.ma.MaskedArray):
            return np.ma.filled(some.astype(np.float64), np.nan)
        return some.toarray() if sparse.issparse(some) else np.asarray(some)


class FrameBlocks(Source):
    """Rows of a frame of pandas or polars."""

    def __init__(self, X: Any) -> None:
        self.X = X
        n_rows, self.n_columns = X.shape
        self.sizes = [min(FRAME_ROWS, n_rows - start) for start in range(0, n_rows, FRAME_ROWS)]

    def read(self, i: int) -> Any:
        return self._rows(slice(i * FRAME_ROWS, (i + 1) * FRAME_ROWS))

    def head(self, n_rows: int) -> Any:
        return self._rows(slice(n_rows))

    def take(self, places: np.ndarray) -> Any:
        return self._rows(places)

    def _rows(self, rows: slice | np.ndarray) -> Any:
        return self.X.iloc[rows] if hasattr(self.X, "iloc") else self.X[rows]


class DatasetBlocks(Source):
    """Row groups of an Arrow dataset, or whole files if they have no row groups."""

    is_decoded = True

    def __init__(self, dataset: Any) -> None:
        import pyarrow as pa

        self.schema = dataset.schema
        self.dataset = dataset
        self.n_columns = len(self.schema)
        names = self.schema.names
        for i, column in enumerate(self.schema):
            if names.count(column.name) > 1:
                raise ValueError(f"X has several columns named {column.name!r}; write it with unique names.")
            if pa.types.is_nested(column.type):
                raise ValueError(
                    f"Column {column.name!r} of X has type {column.type}, whose cells hold several values; drop it with "
                    f"`X = X.replace_schema(X.schema.remove({i}))`, or write it as columns of single values."
                )
        try:
            fragments = list(dataset.get_fragments())
        except ValueError as error:
            raise ValueError(
                f"X is a dataset whose files cannot be read one by one ({error}). Write its rows first with {TO_PARQUET}."
            ) from error
        parts = [(part, _n_rows(part)) for fragment in fragments for part in self._parts(fragment)]
        self.fragments = [part for part, n_rows in parts if n_rows]
        self.sizes = [n_rows for _, n_rows in parts if n_rows]
        if self.n_rows == 0:
            raise ValueError(f"X is a dataset of {len(fragments)} files without any rows; a fit needs at least two.")
        if not names:
            raise ValueError("X has no columns; pass at least one.")

    def _parts(self, fragment: Any) -> list[Any]:
        if hasattr(fragment, "split_by_row_group"):
            return list(fragment.split_by_row_group())
        n_bytes = fragment.count_rows() * self.n_columns * BYTES_OF_CELL
        if n_bytes > LARGEST_BLOCK:
            raise ValueError(
                f"X has a file that can only be read as a whole, {getattr(fragment, 'path', 'in memory')!r}, which takes "
                f"{n_bytes / 2**20:.0f} MB. Parquet files can be read in parts: {TO_PARQUET}."
            )
        return [fragment]

    def read(self, i: int) -> Any:
        return self._read(i)

    def head(self, n_rows: int) -> Any:
        import pyarrow as pa

        tables: list[Any] = []
        for i in range(len(self.sizes)):
            n_left = n_rows - sum(map(len, tables))
            if n_left > 0:
                tables.append(self._read(i, n_left))
        return pa.concat_tables(tables)

    def _read(self, i: int, n_rows: int | None = None) -> Any:
        """Read a block, or its first rows; check that it has all columns, with their types."""
        import pyarrow as pa

        fragment = self.fragments[i]
        present = {*fragment.physical_schema.names, *self._of_partitions(fragment)}
        lacking = [name for name in self.schema.names if name not in present]
        if lacking:
            raise ValueError(
                f"Column {lacking[0]!r} is missing in {self._file(i)}, but present in other files of the dataset. Write the "
                f"files with equal columns, or drop it with `X = X.replace_schema(X.schema.remove("
                f"{self.schema.names.index(lacking[0])}))`."
            )
        try:
            pa.default_memory_pool().release_unused()  # memory of the last block
            scanner = fragment.scanner(schema=self.schema)
            return scanner.to_table() if n_rows is None else scanner.head(n_rows)
        except (pa.ArrowException, OSError, ValueError) as error:
            words = self._file(i)
            raise ValueError(
                f"{words[0].upper()}{words[1:]}, cannot be read with the schema of the dataset: {error}. {self._common_types()}"
            ) from error

    def _of_partitions(self, fragment: Any) -> set[str]:
        """Columns that are encoded in the paths of files."""
        from pyarrow.dataset import get_partition_keys

        partitioning = getattr(self.dataset, "partitioning", None)
        names = [] if partitioning is None else partitioning.schema.names
        return {*names, *get_partition_keys(fragment.partition_expression)}

    def _file(self, i: int) -> str:
        """Description of a block and its file."""
        return f"{self.in_words(i)}, of {getattr(self.fragments[i], 'path', 'a table in memory')!r}"

    def _common_types(self) -> str:
        """Advice for columns whose types differ between files."""
        import pyarrow as pa

        schemas = [fragment.physical_schema for fragment in self.fragments]
        try:
            common = pa.unify_schemas([self.schema, *schemas], promote_options="permissive")
        except pa.ArrowException:
            common = self.schema
        if common.equals(self.schema):
            return "Pass a schema with which all files can be read, or rewrite the files."
        return f"Use types that hold the cells of all files: {TO_COMMON_TYPES}."

    def take(self, places: np.ndarray) -> Any:
        import pyarrow as pa

        parts = np.split(places, np.searchsorted(places, self.starts[1:]))
        pairs = zip(parts, self.starts, strict=True)
        return pa.concat_tables([self.read(i).take(part - start) for i, (part, start) in enumerate(pairs) if len(part)])


def _n_rows(fragment: Any) -> int:
    groups = getattr(fragment, "row_groups", None)
    return int(sum(group.num_rows for group in groups) if groups else fragment.count_rows())


def source_of(X: Any, largest: float, block_bytes: int = BLOCK_BYTES) -> Source | None:
    """Blocks of a table to be read block by block: a dataset, or an array of more than ``largest`` bytes; else None."""
    if is_dataset(X):
        return DatasetBlocks(X)
    if not _can_be_sliced(X):
        return None
    return ArrayBlocks(X, block_bytes) if math.prod(X.shape) * X.dtype.itemsize > largest else None


def is_dataset(X: Any) -> bool:
    """Whether X is an Arrow dataset; possible only if its extension module is loaded, which unpickling does, too."""
    module = sys.modules.get("pyarrow._dataset")
    return module is not None and isinstance(X, module.Dataset)


def _can_be_sliced(X: Any) -> bool:
    """Whether X is a two-dimensional array of numbers: of numpy or scipy, or on disk with their interface."""
    if isinstance(X, np.ndarray):
        return X.ndim == 2 and X.dtype.kind in "fiub"
    if sparse.issparse(X):
        return len(X.shape) == 2
    return type(X).__module__.split(".")[0] in {"h5py", "zarr"} and len(X.shape) == 2
