"""The estimators on Dask: fits by the workers of a cluster, and methods that give lazy collections.

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

OWN: dict[str, Any] = {"client": None, "timeout": 120.0}  # parameters that the estimators of one machine have not
CONSTRAINTS = {"timeout": [Interval(Real, 0, None, closed="neither")]}


class OnDask(BaseEstimator):
    """What makes an estimator of one machine one that fits to collections of Dask."""

    client: Any
    timeout: float
    verbose: bool | int
    _local: ClassVar[Any]
    _not_saved: ClassVar[frozenset[str]] = frozenset({"client"})

    def __init_subclass__(cls, methods: tuple[str, ...] = (), **options: Any) -> None:
        """Add parameters to those of the local class, and let some of its methods take collections."""
        super().__init_subclass__(**options)
        if not methods:  # a class that others share
            return
        cls.__init__ = _with_own_parameters(cls._local.__init__)  # type: ignore[method-assign]
        for name in methods:
            setattr(cls, name, _over_partitions(getattr(cls._local, name)))

    def to_local(self) -> Any:
        """The ordinary estimator, with the same parameters and fitted where this one is.

        Returns
        -------
        estimator : AutoencoderTransformer, VAETransformer or AEAnomalyDetector
            It knows nothing of Dask: its pickle opens where Dask is not installed.
        """
        local = self._local()
        vars(local).update({name: value for name, value in vars(self).items() if name not in OWN})
        return local

    @property
    def set_callbacks(self) -> Any:
        """Not there: what trains is on other machines."""
        raise AttributeError(f"{type(self).__name__!r} has no callbacks; those of {self._local.__name__} are called.")

    def _cluster(self) -> Cluster:
        return Cluster(self.client, self.timeout, bool(self.verbose))

    def _take_over(self, fitted: BaseEstimator) -> None:
        """Become what an ordinary estimator has become."""
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
    """A method that gives a lazy collection for a collection, and is that of one machine else."""

    @wraps(local)
    def method(self: Any, X: Any, **options: Any) -> Any:
        if not is_collection(X):
            return local(self, X, **options)
        if options:
            raise TypeError(f"{local.__name__} takes a collection of Dask alone; what it gives has methods to be stored by.")
        check_is_fitted(self)
        return mapped(self.to_local(), local.__name__, X)

    return method


OF_TRANSFORMERS = ("transform", "reconstruct", "reconstruction_error", "score_samples", "impute")


class _OfTransformers(OnDask):
    """What the two transformers share."""

    @fit_context
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, X_val: Any = None, sample_weight_val: Any = None) -> Self:
        """Fit by the workers of the cluster.

        Parameters
        ----------
        X : dask array or dask frame of shape (n_rows, n_columns)
            Sizes of chunks need not be known. Rows that are not in the memory of the cluster are loaded as their graph says,
            in two passes at most; after ``X.persist()`` they are there.
        y : ignored
        sample_weight : dask array or dask series of shape (n_rows,), default=None
            In the same partitions as X.
        X_val : array-like or frame of shape (n_val_rows, n_columns), default=None
            Rows in memory to choose the number of epochs on, instead of some of X.
        sample_weight_val : array-like of shape (n_val_rows,), default=None

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            On input or parameters that cannot be used; an error of cells names the partition.
        RuntimeError
            Where a worker is lost, or silent for longer than ``timeout``. An earlier fit stays as it was.
        """
        with self._cluster() as cluster:
            self._take_over(fit_transformer(self.to_local(), X, sample_weight, X_val, sample_weight_val, cluster))
        return self

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns that ``transform`` gives, which are those of the local estimator.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        names : ndarray of str
        """
        return self.to_local().get_feature_names_out(input_features)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean of ``score_samples`` over rows, computed at once.

        Parameters
        ----------
        X : array-like, frame, dask array or dask frame of shape (n_rows, n_features_in_)
        y : ignored
        sample_weight : array-like or dask array of shape (n_rows,), default=None
            Weights of the rows in the mean.

        Returns
        -------
        score : float
        """
        if not is_collection(X):
            return super().score(X, sample_weight=sample_weight)
        scores = self.score_samples(X)
        if sample_weight is None:
            return float(scores.mean().compute())
        weights = check_weights(np.asarray(sample_weight), np.asarray(scores)[:, None])
        return float(np.average(scores, weights=weights))


class DaskAutoencoderTransformer(_OfTransformers, AutoencoderTransformer, methods=OF_TRANSFORMERS):
    """``AutoencoderTransformer`` for collections of Dask.

    Parameters and fitted attributes are those of ``AutoencoderTransformer``, and two parameters are added. ``fit`` uses one
    process per worker, each on the rows that it holds. Methods of rows give lazy collections, whose numbers are those of
    ``to_local()`` to the last bit, whatever the chunks; of tables in memory they give what ``to_local()`` gives.

    Parameters
    ----------
    n_components : int or float, default=2
        And all else that ``AutoencoderTransformer`` takes. ``batch_size`` is that of all workers together.
    client : distributed.Client, default=None
        None is the default client.
    timeout : float, default=120.0
        Seconds for which a worker may be silent, and workers wait for each other, before ``fit`` fails.

    See Also
    --------
    skvae.AutoencoderTransformer : The same on one machine.
    skvae.distributed.fit : The same fit in any torch.distributed group.

    Examples
    --------
    >>> import dask.array
    >>> from distributed import Client
    >>> from sklearn.datasets import load_digits
    >>> from skvae.dask import DaskAutoencoderTransformer
    >>> client = Client(processes=False, dashboard_address=None)
    >>> X = dask.array.from_array(load_digits().data, chunks=(500, -1))
    >>> model = DaskAutoencoderTransformer(8, hidden_layer_sizes=(), random_state=0).fit(X)
    >>> codes = model.transform(X)
    >>> codes.chunks
    ((500, 500, 500, 297), (8,))
    >>> client.close()
    """

    _local = AutoencoderTransformer
    _parameter_constraints: ClassVar[dict[str, Any]] = AutoencoderTransformer._parameter_constraints | CONSTRAINTS


class DaskVAETransformer(_OfTransformers, VAETransformer, methods=OF_TRANSFORMERS):
    """``VAETransformer`` for collections of Dask.

    Parameters and fitted attributes are those of ``VAETransformer``, and two parameters are added, as in
    ``DaskAutoencoderTransformer``.

    Parameters
    ----------
    n_components : int or float, default=2
        And all else that ``VAETransformer`` takes.
    client : distributed.Client, default=None
        None is the default client.
    timeout : float, default=120.0
        Seconds for which a worker may be silent, and workers wait for each other, before ``fit`` fails.

    See Also
    --------
    skvae.VAETransformer : The same on one machine.
    """

    _local = VAETransformer
    _parameter_constraints: ClassVar[dict[str, Any]] = VAETransformer._parameter_constraints | CONSTRAINTS


class DaskAEAnomalyDetector(OnDask, AEAnomalyDetector, methods=("score_samples", "decision_function", "predict", "p_values")):
    """``AEAnomalyDetector`` for collections of Dask.

    Parameters and fitted attributes are those of ``AEAnomalyDetector``, and two parameters are added, as in
    ``DaskAutoencoderTransformer``. One worker learns from a random sample of at most 100,000 rows, which are those that
    ``AEAnomalyDetector`` draws from a table that is read block by block.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        And all else that ``AEAnomalyDetector`` takes.
    client : distributed.Client, default=None
        None is the default client.
    timeout : float, default=120.0
        Seconds for which a worker may be silent before ``fit`` fails.

    See Also
    --------
    skvae.AEAnomalyDetector : The same on one machine.
    """

    _local = AEAnomalyDetector
    _parameter_constraints: ClassVar[dict[str, Any]] = AEAnomalyDetector._parameter_constraints | CONSTRAINTS

    @fit_context
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn what rows are like from a sample of them.

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
            As ``DaskAutoencoderTransformer.fit``.
        """
        with self._cluster() as cluster:
            self._take_over(fit_detector(self.to_local(), X, cluster))
        for name in OF_TRAINING_ROWS:  # which are those of the sample
            self.__dict__.pop(name, None)
        return self
