"""Fits by several processes of a ``torch.distributed`` group: each has a part of the rows, and all train the same model.

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
    """Fit to a table whose rows are spread over the processes of the default group.

    Every process calls it, with an estimator of the same parameters and with rows of its own. All have the same fitted model
    then. Each step is of the mean gradient over the rows of one batch from each process; ``batch_size`` is that of all
    processes together. Apart from that the fit is one to a table that is read block by block.

    Parameters
    ----------
    estimator : AutoencoderTransformer or VAETransformer
        ``random_state`` is that of rank 0. With more than one GPU on a machine, each process needs a ``device`` of its own.
    X : array-like, frame or dataset of shape (n_rows, n_columns)
        The rows of this process, of which there must be some. Arrays and frames are read where they are, and not copied;
        datasets of pyarrow are read block by block.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of these rows. Either all processes give weights, or none.
    X_val : array-like or frame of shape (n_val_rows, n_columns), default=None
        Rows to choose the number of epochs on, instead of some of X; the same in all processes.
    sample_weight_val : array-like of shape (n_val_rows,), default=None
        Weights of these.

    Returns
    -------
    estimator
        The same, fitted.

    Raises
    ------
    ValueError
        On input or parameters that cannot be used, in all processes where it is so in one.
    RuntimeError
        Where there is no group, or a process of it is lost.

    See Also
    --------
    skvae.dask : The same estimators on Dask collections.

    Notes
    -----
    Penalties that are means over a batch (``KLSparsity``) and the share of a batch that ``support_fraction`` keeps are those of
    the rows that each process has in the batch.

    Examples
    --------
    A group of one process; ``torchrun`` sets up the default group from its environment, ``dist.init_process_group("gloo")``.

    >>> import torch.distributed as dist
    >>> from sklearn.datasets import load_digits
    >>> from skvae import AutoencoderTransformer, distributed
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> model = AutoencoderTransformer(8, hidden_layer_sizes=())
    >>> codes = distributed.fit(model, load_digits().data).transform(load_digits().data)
    >>> dist.destroy_process_group()
    >>> codes.shape
    (1797, 8)
    """
    if not dist.is_initialized():
        raise RuntimeError(
            "There is no torch.distributed group. Call torch.distributed.init_process_group first, in each process, or "
            f"{type(estimator).__name__}.fit for a fit by this process alone."
        )
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            f"{type(estimator).__name__} is fitted by one process; several fit AutoencoderTransformer and VAETransformer."
        )
    with earlier_fit_kept(estimator):
        _fit(estimator, X, sample_weight, X_val, sample_weight_val, Ranks())
    return estimator


@fit_context
def _fit(estimator: Estimator, X: Any, sample_weight: Any, X_val: Any, sample_weight_val: Any, ranks: Ranks) -> None:
    source = ranks.together(lambda: _source_of(X))
    if len({*ranks.gathered(sample_weight is None)}) > 1:
        raise ValueError("sample_weight is given in some processes and not in others; give it in all, or in none.")
    with one_of_several(estimator, ranks):
        fit = estimator._fit_stream(source, sample_weight, X_val, sample_weight_val, estimator._earlier, ranks)
        warn_of_end(fit, estimator.max_iter)


def _source_of(X: Any) -> Source:
    """The rows of this process as blocks."""
    source = source_of(X, largest=-1)
    if source is None:
        X = as_table(X)
        source = ArrayBlocks(np.asarray(X)) if library_of(X) == "numpy" else FrameBlocks(X)
    if source.n_rows == 0:
        raise ValueError("X has no rows in this process; give it some, or start fewer processes.")
    return source


def seed_of(estimator: Any) -> int:
    """A seed for all processes, which is the estimator's own where it has one."""
    state = estimator.random_state
    return int(state) if isinstance(state, Integral) else random_seed(state)


@contextmanager
def one_of_several(estimator: BaseAutoencoder, ranks: Processes) -> Iterator[None]:
    """Draw what is random as rank 0 does, and let rank 0 alone show progress and warn."""
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
