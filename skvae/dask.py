"""Estimators that fit on the workers of a Dask cluster and return lazy collections.

``pip install 'skvae[dask]'``
"""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, clone

from skvae._anomaly import OF_TRAINING_ROWS, AEAnomalyDetector
from skvae._autoencoder import AutoencoderTransformer
from skvae._dask.cluster import Cluster
from skvae._dask.collections import is_collection, mapped
from skvae._dask.fits import fit_detector, fit_transformer
from skvae._vae import VAETransformer
from skvae._validation import Interval, check_is_fitted, check_weights, fit_context

__all__ = ["DaskAEAnomalyDetector", "DaskAutoencoderTransformer", "DaskVAETransformer"]

OWN: dict[str, Any] = {"client": None, "timeout": 120.0}  # parameters that only the Dask estimators have
CONSTRAINTS = {"timeout": [Interval(Real, 0, None, closed="neither")]}


class OnDask(BaseEstimator):
    """Base class that turns a local estimator into one for Dask collections."""

    client: Any
    timeout: float
    verbose: bool | int
    _local: ClassVar[Any]
    _not_saved: ClassVar[frozenset[str]] = frozenset({"client"})

    def __init_subclass__(cls, methods: tuple[str, ...] = (), **options: Any) -> None:
        """Extend the parameters of the local class, and let the named methods take collections."""
        super().__init_subclass__(**options)
        if not methods:  # a base class
            return
        cls.__init__ = _with_own_parameters(cls._local.__init__)  # type: ignore[method-assign]
        for name in methods:
            setattr(cls, name, _over_partitions(getattr(cls._local, name)))

    def to_local(self) -> Any:
        """Return an ordinary estimator for one machine, fitted if this one is.

        Returns
        -------
        estimator : AutoencoderTransformer, VAETransformer or AEAnomalyDetector
            Does not depend on Dask: its pickle opens where Dask is not installed.
        """
        local = self._local()
        vars(local).update({name: value for name, value in vars(self).items() if name not in OWN})
        return local

    @property
    def set_callbacks(self) -> Any:
        """Not available, because training runs on other machines."""
        raise AttributeError(f"{type(self).__name__!r} does not support callbacks; {self._local.__name__} does.")

    def _cluster(self) -> Cluster:
        return Cluster(self.client, self.timeout, bool(self.verbose))

    def _take_over(self, fitted: BaseEstimator) -> None:
        """Adopt the fitted state of a local estimator."""
        params = self.get_params(deep=False)
        self.__dict__ = vars(fitted) | params

    def __sklearn_clone__(self) -> Self:
        new = type(self)(client=self.client, timeout=self.timeout)
        new.__dict__.update(vars(clone(self.to_local())))
        return new


def _with_own_parameters(local: Callable[..., None]) -> Callable[..., None]:
    @wraps(local)
    def init(self: Any, *args: Any, **params: Any) -> None:
        self.__dict__.update({name: params.pop(name, default) for name, default in OWN.items()})
        local(self, *args, **params)

    own = [Parameter(name, Parameter.KEYWORD_ONLY, default=default) for name, default in OWN.items()]
    init.__signature__ = Signature([*signature(local).parameters.values(), *own])  # type: ignore[attr-defined]
    return init


def _over_partitions(local: Callable[..., Any]) -> Callable[..., Any]:
    """A method that returns a lazy collection for a collection, and calls the local method otherwise."""

    @wraps(local)
    def method(self: Any, X: Any, **options: Any) -> Any:
        if not is_collection(X):
            return local(self, X, **options)
        if options:
            raise TypeError(
                f"{local.__name__} takes no other arguments with a Dask collection; to store the result, use its own methods, "
                "such as to_zarr or to_parquet."
            )
        check_is_fitted(self)
        return mapped(self.to_local(), local.__name__, X)

    return method


OF_TRANSFORMERS = ("transform", "reconstruct", "reconstruction_error", "score_samples", "impute")


class _OfTransformers(OnDask):
    """Methods that the two transformers share."""

    @fit_context
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, X_val: Any = None, sample_weight_val: Any = None) -> Self:
        """Fit on the workers of the cluster.

        Parameters
        ----------
        X : dask array or dask frame of shape (n_rows, n_columns)
            Chunk sizes need not be known. Rows that are not in the memory of the cluster are computed from their task graph at
            most twice. ``X.persist()`` avoids this.
        y : ignored
        sample_weight : dask array or dask series of shape (n_rows,), default=None
            Weights of the rows, with the partitions of X.
        X_val : array-like or frame of shape (n_val_rows, n_columns), default=None
            Rows in memory on which the number of epochs is chosen, instead of some rows of X.
        sample_weight_val : array-like of shape (n_val_rows,), default=None
            Weights of the rows of ``X_val``.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            If the input or a parameter is invalid. The message names the partition of an invalid cell.
        RuntimeError
            If a worker is lost, or silent for longer than ``timeout``. An earlier fit is kept.
        """
        with self._cluster() as cluster:
            self._take_over(fit_transformer(self.to_local(), X, sample_weight, X_val, sample_weight_val, cluster))
        return self

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names of the columns that ``transform`` returns.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        names : ndarray of str
        """
        return self.to_local().get_feature_names_out(input_features)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean of ``score_samples`` over rows, as a number that is computed at once.

        Parameters
        ----------
        X : array-like, frame, dask array or dask frame of shape (n_rows, n_features_in_)
        y : ignored
        sample_weight : array-like or dask array of shape (n_rows,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            In nats per row; higher is better.
        """
        if not is_collection(X):
            return super().score(X, sample_weight=sample_weight)
        scores = self.score_samples(X)
        if sample_weight is None:
            return float(scores.mean().compute())
        weights = check_weights(np.asarray(sample_weight), np.asarray(scores)[:, None])
        return float(np.average(scores, weights=weights))


class DaskAutoencoderTransformer(_OfTransformers, AutoencoderTransformer, methods=OF_TRANSFORMERS):
    """``AutoencoderTransformer`` for Dask collections.

    Parameters and fitted attributes are those of ``AutoencoderTransformer``, plus ``client`` and ``timeout``. ``fit`` trains in
    one process per worker, each on the rows that it holds. For a Dask collection, methods such as ``transform`` return lazy
    collections; their values equal those of ``to_local()`` bit by bit, for any chunks. For a table in memory, they return what
    ``to_local()`` returns.

    Parameters
    ----------
    n_components : int, float or None, default=2
        This and all other parameters of ``AutoencoderTransformer``. ``batch_size`` is the total over all workers.
    client : distributed.Client, default=None
        The client of the cluster. None uses the default client.
    timeout : float, default=120.0
        Number of seconds after which ``fit`` fails if a worker is silent or workers wait for each other.

    See Also
    --------
    skvae.AutoencoderTransformer : The estimator for one machine.
    skvae.distributed.fit : Fit in any ``torch.distributed`` group.

    Examples
    --------
    >>> import dask.array
    >>> from distributed import Client
    >>> from sklearn.datasets import load_digits
    >>> from skvae.dask import DaskAutoencoderTransformer
    >>> client = Client(processes=False, dashboard_address=None)
    >>> X = dask.array.from_array(load_digits().data, chunks=(500, -1))
    >>> model = DaskAutoencoderTransformer(8, hidden_layer_sizes=())
    >>> codes = model.fit(X).transform(X)
    >>> codes.chunks
    ((500, 500, 500, 297), (8,))
    >>> client.close()
    """

    _local = AutoencoderTransformer
    _parameter_constraints: ClassVar[dict[str, Any]] = AutoencoderTransformer._parameter_constraints | CONSTRAINTS


class DaskVAETransformer(_OfTransformers, VAETransformer, methods=OF_TRANSFORMERS):
    """``VAETransformer`` for Dask collections.

    Parameters and fitted attributes are those of ``VAETransformer``, plus ``client`` and ``timeout``. Methods behave as those
    of ``DaskAutoencoderTransformer``.

    Parameters
    ----------
    n_components : int, float or None, default=2
        This and all other parameters of ``VAETransformer``. ``batch_size`` is the total over all workers.
    client : distributed.Client, default=None
        The client of the cluster. None uses the default client.
    timeout : float, default=120.0
        Number of seconds after which ``fit`` fails if a worker is silent or workers wait for each other.

    See Also
    --------
    skvae.VAETransformer : The estimator for one machine.
    """

    _local = VAETransformer
    _parameter_constraints: ClassVar[dict[str, Any]] = VAETransformer._parameter_constraints | CONSTRAINTS


class DaskAEAnomalyDetector(OnDask, AEAnomalyDetector, methods=("score_samples", "decision_function", "predict", "p_values")):
    """``AEAnomalyDetector`` for Dask collections.

    Parameters and fitted attributes are those of ``AEAnomalyDetector``, plus ``client`` and ``timeout``. One worker learns from
    a random sample of at most 100,000 rows: those that ``AEAnomalyDetector`` draws from a table that is read block by block.
    ``score_samples``, ``decision_function``, ``predict`` and ``p_values`` return lazy collections for a Dask collection.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        This and all other parameters of ``AEAnomalyDetector``.
    client : distributed.Client, default=None
        The client of the cluster. None uses the default client.
    timeout : float, default=120.0
        Number of seconds after which ``fit`` fails if a worker is silent.

    See Also
    --------
    skvae.AEAnomalyDetector : The estimator for one machine.
    """

    _local = AEAnomalyDetector
    _parameter_constraints: ClassVar[dict[str, Any]] = AEAnomalyDetector._parameter_constraints | CONSTRAINTS

    @fit_context
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to a random sample of the rows, on one worker.

        Parameters
        ----------
        X : dask array or dask frame of shape (n_rows, n_columns)
        y : ignored

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError, RuntimeError
            In the same cases as ``DaskAutoencoderTransformer.fit``.
        """
        with self._cluster() as cluster:
            self._take_over(fit_detector(self.to_local(), X, cluster))
        for name in OF_TRAINING_ROWS:  # they describe the sample, not X
            self.__dict__.pop(name, None)
        return self
