"""Fit one model by several processes of a ``torch.distributed`` group, each with a part of the rows.

``torchrun``, Ray Train and Spark's ``TorchDistributor`` start such groups.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
import torch.distributed as dist

from skvae._base import BaseAutoencoder, earlier_fit_kept
from skvae._reports import warn_of_end
from skvae._tables.libraries import as_table, library_of
from skvae._tables.processes import Processes
from skvae._tables.sources import ArrayBlocks, FrameBlocks, Source, source_of
from skvae._validation import fit_context, random_seed
from skvae.core.ranks import Ranks

Estimator = TypeVar("Estimator", bound=BaseAutoencoder)


def fit(estimator: Estimator, X: Any, sample_weight: Any = None, X_val: Any = None, sample_weight_val: Any = None) -> Estimator:
    """Fit an estimator to a table whose rows are spread over the processes of a ``torch.distributed`` group.

    Call this in every process of the default group, with an estimator of identical parameters and with the rows of that
    process. Afterwards all processes have the same fitted model. Each training step uses the mean gradient over one batch of
    rows from each process; ``batch_size`` is the total over all processes. In all other respects the fit is like that to a
    table read block by block.

    Parameters
    ----------
    estimator : AutoencoderTransformer or VAETransformer
        The estimator to fit. All processes use the ``random_state`` of rank 0. With more than one GPU on a machine, give each
        process its own ``device``.
    X : array-like, frame or dataset of shape (n_rows, n_columns)
        The rows of this process, at least one. Arrays and frames are not copied; pyarrow datasets are read block by block.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of these rows. Pass weights in all processes or in none.
    X_val : array-like or frame of shape (n_val_rows, n_columns), default=None
        Rows on which the number of epochs is chosen, instead of some rows of X. Pass identical rows in all processes.
    sample_weight_val : array-like of shape (n_val_rows,), default=None
        Weights of the rows of ``X_val``.

    Returns
    -------
    estimator
        The estimator that was passed, fitted.

    Raises
    ------
    ValueError
        If the input or a parameter is invalid. An error in one process is raised in all.
    RuntimeError
        If there is no group, or if one of its processes is lost.

    See Also
    --------
    skvae.dask : Estimators for Dask collections.

    Notes
    -----
    ``KLSparsity``, which averages over a batch, and ``support_fraction``, which keeps a share of a batch, apply to the rows of
    each process separately.

    Examples
    --------
    This example uses a group of one process. Under ``torchrun``, ``dist.init_process_group("gloo")`` sets up the group.

    >>> import torch.distributed as dist
    >>> from sklearn.datasets import load_digits
    >>> from skvae import AutoencoderTransformer, distributed
    >>> store = dist.HashStore()
    >>> dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    >>> X = load_digits().data
    >>> model = AutoencoderTransformer(8, hidden_layer_sizes=())
    >>> model = distributed.fit(model, X)
    >>> dist.destroy_process_group()
    >>> model.transform(X).shape
    (1797, 8)
    """
    if not dist.is_initialized():
        raise RuntimeError(
            "There is no torch.distributed group. Call torch.distributed.init_process_group in each process first, or use "
            f"{type(estimator).__name__}.fit to fit in this process alone."
        )
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            f"{type(estimator).__name__} cannot be fitted by several processes. Pass an AutoencoderTransformer or a "
            "VAETransformer."
        )
    with earlier_fit_kept(estimator):
        _fit(estimator, X, sample_weight, X_val, sample_weight_val, Ranks())
    return estimator


@fit_context
def _fit(estimator: Estimator, X: Any, sample_weight: Any, X_val: Any, sample_weight_val: Any, ranks: Ranks) -> None:
    source = ranks.together(lambda: _source_of(X))
    if len({*ranks.gathered(sample_weight is None)}) > 1:
        raise ValueError("sample_weight is given in some processes and not in others; pass it in all or in none.")
    with one_of_several(estimator, ranks):
        fit = estimator._fit_stream(source, sample_weight, X_val, sample_weight_val, estimator._earlier, ranks)
        warn_of_end(fit)


def _source_of(X: Any) -> Source:
    """The rows of this process as blocks."""
    source = source_of(X, largest=-1)
    if source is None:
        X = as_table(X)
        source = ArrayBlocks(np.asarray(X)) if library_of(X) == "numpy" else FrameBlocks(X)
    if source.n_rows == 0:
        raise ValueError("X has no rows in this process; pass at least one row, or start fewer processes.")
    return source


def seed_of(estimator: Any) -> int:
    """A seed for all processes: the estimator's own if it has one."""
    state = estimator.random_state
    return int(state) if isinstance(state, Integral) else random_seed(state)


@contextmanager
def one_of_several(estimator: BaseAutoencoder, ranks: Processes) -> Iterator[None]:
    """Use the seed of rank 0, and let only rank 0 show progress and warn."""
    random_state, verbose = estimator.random_state, estimator.verbose
    estimator.random_state = ranks.of_first(seed_of(estimator))
    try:
        with warnings.catch_warnings():
            if ranks.rank > 0:
                estimator.verbose = False
                warnings.simplefilter("ignore")
            yield
    finally:
        estimator.random_state, estimator.verbose = random_state, verbose
