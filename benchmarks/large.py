"""Large tables in files, written piece by piece."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA

PIECE = 100_000  # rows
FACTORS, WIDTH, NOISE = 8, 64, 0.3
TOPICS, WORDS, SPREAD = 8, 10, 60
SIDE = 8  # of a patch
GROUPS, LEAST_OF_GROUP = 50, 200  # of rows in a file of parquet


@dataclass(frozen=True)
class File:
    """A file that is written when it is first needed.

    Attributes
    ----------
    name : str
        With its ending.
    write : callable
        Takes the path.
    """

    name: str
    write: Callable[[Path], None]

    def within(self, folder: Path) -> Path:
        path = folder / self.name
        if not path.exists():
            self.write(path)
        return path


def pieces(n_rows: int) -> Iterator[int]:
    """Numbers of rows that make so many."""
    return (min(PIECE, n_rows - start) for start in range(0, n_rows, PIECE))


def save(path: Path, blocks: Iterable[np.ndarray], n_rows: int, n_columns: int) -> None:
    """Write an array of float32."""
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_columns))
    start = 0
    for block in blocks:
        X[start : start + len(block)] = block
        start += len(block)
    X.flush()


def made(n_rows: int, n_columns: int, seed: int) -> File:
    """Rows of a random network of two layers from 8 factors, with noise. The first rows do not depend on how many there are."""
    network = np.random.default_rng(0)
    first = network.normal(size=(FACTORS, WIDTH)) / 2
    second = network.normal(size=(WIDTH, n_columns)) / 4

    def blocks() -> Iterator[np.ndarray]:
        rng = np.random.default_rng([seed, n_columns])
        for n in pieces(n_rows):
            codes = rng.normal(size=(n, FACTORS))
            yield np.tanh(codes @ first) @ second + NOISE * rng.standard_normal((n, n_columns), np.float32)

    return File(f"made-{n_rows}-{n_columns}-{seed}.npy", lambda path: save(path, blocks(), n_rows, n_columns))


def in_order(file: File) -> File:
    """A table whose rows are sorted by the first principal component; it is read into memory for that."""

    def write(path: Path) -> None:
        X = np.load(file.within(path.parent))
        np.save(path, X[np.argsort(PCA(1).fit_transform(X)[:, 0])])

    return File(f"sorted-{file.name}", write)


def words(n_rows: int, n_columns: int, seed: int) -> File:
    """Counts of words, hardly more than 1 % of them not 0: each row is about a topic, whose words have like numbers."""

    def write(path: Path) -> None:
        rng = np.random.default_rng(seed)
        parts = []
        for n in pieces(n_rows):
            centres = rng.integers(TOPICS, size=n) * n_columns / TOPICS
            columns = np.rint(rng.normal(centres[:, None], SPREAD, (n, WORDS))).astype(np.int32) % n_columns
            counts = np.ones(columns.size, np.float32)
            part = sparse.csr_matrix((counts, columns.ravel(), np.arange(0, columns.size + 1, WORDS)), (n, n_columns))
            part.sum_duplicates()
            parts.append(part)
        sparse.save_npz(path, sparse.vstack(parts, "csr"), compressed=False)

    return File(f"words-{n_rows}-{n_columns}-{seed}.npz", write)


def patches(images: np.ndarray, n_rows: int, name: str) -> File:
    """Squares of images at random places, those of one colour left out."""

    def blocks() -> Iterator[np.ndarray]:
        rng, left = np.random.default_rng(0), n_rows
        views = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(1, 2))
        while left:
            some, top, side = (rng.integers(size, size=PIECE) for size in views.shape[:3])
            rows = views[some, top, side].reshape(PIECE, -1)
            rows = rows[np.ptp(rows, axis=1) > 0][:left]
            left -= len(rows)
            yield rows

    return File(f"patches-{name}-{n_rows}.npy", lambda path: save(path, blocks(), n_rows, SIDE**2))


def as_parquet(file: File) -> File:
    """The same table in a file of parquet, in groups of rows."""

    def write(path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        X = np.load(file.within(path.parent), mmap_mode="r")
        schema = pa.schema([(f"x{j}", pa.float32()) for j in range(X.shape[1])])
        step = max(LEAST_OF_GROUP, -(-len(X) // GROUPS))
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(0, len(X), step):
                columns = np.ascontiguousarray(X[start : start + step].T)
                writer.write_table(pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema), step)

    return File(file.name.replace(".npy", ".parquet"), write)


def frame_parts(name: str, read: Callable, rows_of_group: int) -> tuple[File, File]:
    """A frame in files of parquet: rows to train on, and a random 25 % that are held out."""

    def write(is_test: bool, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        frame = read()
        chosen = np.random.default_rng(0).random(len(frame)) < 0.25
        some = frame[chosen == is_test].reset_index(drop=True)
        pq.write_table(pa.Table.from_pandas(some, preserve_index=False), path, rows_of_group)

    train, test = (partial(write, is_test) for is_test in (False, True))
    return File(f"{name}-train.parquet", train), File(f"{name}-test.parquet", test)
