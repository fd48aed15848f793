"""Dask arrays and frames: their partitions, and methods mapped over them."""

import sys
from copy import copy
from typing import Any

import numpy as np


def is_collection(X: Any) -> bool:
    """Whether X is a Dask array, frame or series; this is possible only if Dask has been imported."""
    return _is(X, "dask.array", "Array") or _is(X, "dask.dataframe", "DataFrame", "Series")


def is_frame(X: Any) -> bool:
    """Whether X is a Dask frame."""
    return _is(X, "dask.dataframe", "DataFrame")


def _is(X: Any, module: str, *names: str) -> bool:
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(X, tuple(getattr(loaded, name) for name in names))


def partitions_of(X: Any) -> list[Any]:
    """Check a collection of rows, and return its partitions as delayed objects."""
    check_collection(X)
    return list(np.ravel(X.to_delayed()))


def check_collection(X: Any, name: str = "X") -> None:
    """Refuse everything but a collection of rows."""
    if not is_collection(X):
        raise TypeError(
            f"{name} is a {type(X).__name__}, but must be a Dask collection. Convert it with "
            f"`{name} = dask.array.from_array({name})` or `{name} = dask.dataframe.from_pandas({name}, npartitions=2)`, or use "
            "the estimator without Dask in its name."
        )
    if _is(X, "dask.array", "Array"):
        _check_array(X, name)
    elif not is_frame(X):
        raise ValueError(f"{name} is a single column; convert it to a frame with `{name} = {name}.to_frame()`.")


def _check_array(X: Any, name: str) -> None:
    if X.ndim != 2:
        raise ValueError(
            f"{name} is an array of {X.ndim} dimensions, but a table has 2; reshape it with "
            f"`{name} = {name}.reshape({name}.shape[0], -1)`."
        )
    if X.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} is an array of dtype {X.dtype}, but arrays must hold numbers. Convert it with "
            f"`{name} = {name}.astype(float)`, or make it a frame with `{name} = dask.dataframe.from_dask_array({name})`."
        )
    if X.numblocks[1] > 1:
        raise ValueError(
            f"The columns of {name} are in {X.numblocks[1]} chunks, but each row must be in one chunk. Merge them with "
            f"`{name} = {name}.rechunk({{1: -1}})`."
        )


def weights_of(sample_weight: Any, n_partitions: int) -> list[Any]:
    """The partitions of the row weights as delayed objects; None for each if there are no weights."""
    if sample_weight is None:
        return [None] * n_partitions
    if not is_collection(sample_weight) or sample_weight.ndim != 1:
        raise TypeError(
            f"sample_weight is a {type(sample_weight).__name__}; pass a one-dimensional Dask array, such as "
            "`dask.array.from_array(sample_weight, chunks=(X.chunks[0],))`, or a column of the frame."
        )
    parts = list(np.ravel(sample_weight.to_delayed()))
    if len(parts) != n_partitions:
        raise ValueError(f"sample_weight has {len(parts)} partitions and X has {n_partitions}; they must match.")
    return parts


def mapped(model: Any, method: str, X: Any) -> Any:
    """Apply a method of an estimator to each partition, lazily."""
    from dask.delayed import delayed

    check_collection(X)
    empty = _of_no_rows(model, method, X)
    shared = delayed(model, pure=False, traverse=False)
    if is_frame(X):
        return X.map_partitions(_of_rows, shared, method, empty, meta=empty)
    chunks = (X.chunks[0], *((n,) for n in empty.shape[1:]))
    drop_axis = [1] if empty.ndim == 1 else []
    return X.map_blocks(_of_rows, shared, method, empty, chunks=chunks, drop_axis=drop_axis, meta=empty)


def _of_rows(rows: Any, model: Any, method: str, empty: Any) -> Any:
    return getattr(model, method)(rows) if rows.shape[0] else empty


def _of_no_rows(model: Any, method: str, X: Any) -> Any:
    """The result of a method for an empty table of the type of X."""
    if method == "impute" and is_frame(X):  # the result has the columns of X
        return X._meta  # noqa: SLF001
    tolerant = copy(model)
    tolerant.handle_unknown = "ignore"  # Dask's sample row has made-up categories
    row = X._meta_nonempty.iloc[:1] if is_frame(X) else np.zeros((1, X.shape[1]), X.dtype)  # noqa: SLF001
    return getattr(tolerant, method)(row)[:0]


def joined(parts: list[Any]) -> Any:
    """Concatenate the rows of some partitions."""
    if hasattr(parts[0], "columns"):
        from dask.dataframe.dispatch import concat

        return parts[0] if len(parts) == 1 else concat(parts)
    from scipy import sparse

    return sparse.vstack(parts) if sparse.issparse(parts[0]) else np.concatenate(parts)
