"""Tables that are read block by block: the first pass of fits, and methods that are applied to each block."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce, wraps
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from skvae._arrays import Origin, as_it_came, on_host
from skvae._tables.processes import ALONE, Processes
from skvae._tables.schema import Schema
from skvae._tables.sources import Source, is_dataset
from skvae._tables.survey import Findings, Shares, Survey
from skvae._validation import check_is_fitted, check_rows, streamed

APPLIED_BYTES = 1 << 22  # block size of an array for methods after fit
LEAST_ROWS = 2

Method = Callable[..., Any]


def survey_of(
    estimator: Any,
    source: Source,
    schema: Schema,
    weights: np.ndarray | None,
    share_held_out: float,
    in_unit_interval: bool,
    processes: Processes = ALONE,
) -> Survey:
    """Read and check a table in one pass; the estimator already knows its columns."""

    def cells(i: int) -> np.ndarray:
        with naming_block(source, i):
            return check_rows(estimator, source.read(i), schema, reset=False, in_unit_interval=in_unit_interval)

    shares = Shares.of(sum(processes.gathered(source.n_rows)), source.n_columns, share_held_out)
    own = processes.together(lambda: Survey.of(source, cells, weights, shares, progress(estimator, "reading")))
    return replace(own, findings=reduce(Findings.merged, processes.gathered(own.findings)))


def progress(estimator: Any, doing: str) -> Callable[[Iterable[int]], Iterable[int]]:
    """A function that iterates over block numbers, with a progress bar if the estimator is verbose."""
    if not estimator.verbose:
        return lambda blocks: blocks
    return lambda blocks: tqdm(blocks, desc=f"{type(estimator).__name__}, {doing}", unit="block")


@contextmanager
def naming_block(source: Source, i: int) -> Iterator[None]:
    """Name the block in errors about its rows."""
    try:
        yield
    except ValueError as error:
        note = " Code in this message is for the block as a pandas frame." if source.is_decoded else ""
        raise ValueError(f"In {source.in_words(i)} (counting from 0 in this block): {error}{note}") from error


def by_block(method: Method) -> Method:
    """Let a method accept tables that are read block by block, and write its result into ``out``."""
    of_array = as_it_came(method)

    @wraps(method)
    def of_any_table(self: Any, X: Any, *, out: Any = None) -> Any:
        if Origin.of(X) is not None:
            return of_array(self, X) if out is None else _joined([method(self, on_host(X))], out, len(X))
        source = streamed(X, APPLIED_BYTES)
        if source is None:
            result = method(self, X)
            return result if out is None else _joined([result], out, len(result))
        check_is_fitted(self)
        results = _results(self, method, source)
        return results if is_dataset(X) and out is None else _joined(results, out, source.n_rows)

    return of_any_table


def _results(estimator: Any, method: Method, source: Source) -> Iterator[Any]:
    for i in progress(estimator, method.__name__)(range(len(source.sizes))):
        with naming_block(source, i):
            result = method(estimator, source.read(i))
        yield result


def _joined(results: Iterable[Any], out: Any, n_rows: int) -> Any:
    """Collect the results of blocks in ``out``, or in a new array if it is None."""
    if out is not None and not hasattr(out, "dtype"):
        raise TypeError(f"out is a {type(out).__name__}; pass an array, such as one from numpy.empty or numpy.memmap.")
    start = 0
    for result in results:
        cells = np.asarray(result)
        if out is None:
            out = np.empty((n_rows, *cells.shape[1:]), cells.dtype)
        if cells.dtype.kind in "fiub" and not np.can_cast(cells.dtype, out.dtype, "same_kind"):
            raise ValueError(f"out has dtype {out.dtype}, but the result has {cells.dtype}; pass an array of that dtype.")
        if start == 0 and out.shape != (n_rows, *cells.shape[1:]):
            raise ValueError(
                f"out has shape {out.shape}, but the result has {(n_rows, *cells.shape[1:])}; pass an array of that shape."
            )
        out[start : start + len(cells)] = cells
        start += len(cells)
    return out
