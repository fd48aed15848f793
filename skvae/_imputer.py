"""Filling in missing cells, as a step of a pipeline."""

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from skvae._autoencoder import AutoencoderTransformer
from skvae._base import BaseAutoencoder, earlier_fit_kept, warn_of_early_end
from skvae._fit.settings import Masking
from skvae._tables.libraries import with_columns
from skvae._tables.rows import merge_equal_rows
from skvae._tables.schema import Schema
from skvae._vae import VAETransformer
from skvae._validation import (
    Interval,
    check_columns,
    check_is_fitted,
    check_rows,
    feature_names,
    fit_context,
    random_seed,
)

HIDDEN = Masking((0.0, 0.6), hidden_only=True)
PASSED_ON = (
    "hidden_layer_sizes",
    "activation",
    "categorical_features",
    "handle_unknown",
    "weight_decay",
    "learning_rate_init",
    "batch_size",
    "max_iter",
    "early_stopping",
    "validation_fraction",
    "random_state",
    "verbose",
    "device",
)


class AutoencoderImputer(TransformerMixin, BaseEstimator):
    """Fill in the missing cells of a table, in place of scikit-learn's ``SimpleImputer``.

    An autoencoder is trained to tell observed cells that are hidden from it, a random share of each row and another one in
    every step, from the row's other cells. So it learns from incomplete rows, and fills in numbers, booleans, categories and
    dates at once. It starts from factor analysis with missing cells.

    Parameters
    ----------
    n_components : int or None, default=None
        Size of the code; None is the number of columns. Filling in needs no compression: what keeps the model from copying is
        that cells are hidden.
    hidden_layer_sizes : tuple of int, default=(256, 256)
        Widths of the encoder's hidden layers, mirrored in the decoder.
    activation : {"identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="gelu"
        Of the hidden layers.
    categorical_features : "from_dtype", None, or array-like, default="from_dtype"
        As in ``AutoencoderTransformer``.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories unseen during ``fit``. ``"ignore"`` takes them as missing for the model and leaves them in the
        table; ``"error"`` raises.
    sample_posterior : bool, default=False
        Whether cells are drawn from what is plausible for them instead of filled in with what is expected, as in
        ``IterativeImputer``. Of use for multiple imputation, with one ``random_state`` per table. The model is then a
        variational autoencoder.
    add_indicator : bool, default=False
        Whether to append, for each column that had missing cells at fit, a boolean column that says where.
    weight_decay : float, default=0.0
    learning_rate_init : float or "auto", default=4e-3
    batch_size : int or "auto", default=256
    max_iter : int or "auto", default="auto"
    early_stopping : bool or "auto", default="auto"
        Whether the number of epochs is chosen on rows that are held out, by how likely their hidden cells are. ``"auto"`` is
        with 10 distinct rows or more; fewer get factor analysis. Below 2000 the model is then trained on all of them.
    validation_fraction : float, default=0.1
        Share of the rows held out.
    random_state : int, RandomState instance or None, default=None
    verbose : bool or int, default=False
    device : str, default="auto"
        These are as in ``AutoencoderTransformer``.

    Attributes
    ----------
    autoencoder_ : AutoencoderTransformer or VAETransformer
        The fitted model, with its ``schema_``, ``validation_scores_`` and more.
    n_iter_ : int
        Epochs of the training.
    indicator_features_ : ndarray of int
        Columns that had missing cells at fit.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the training table had column names.

    See Also
    --------
    AutoencoderTransformer.impute : The same with a model that also compresses.
    VAETransformer.impute : Several draws.
    sklearn.impute.IterativeImputer : One regression per column, in rounds.

    References
    ----------
    P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio, P.-A. Manzagol (2010). Stacked denoising autoencoders: learning useful
    representations in a deep network with a local denoising criterion. JMLR 11.

    L. Gondara, K. Wang (2018). MIDA: multiple imputation using denoising autoencoders. PAKDD.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderImputer
    >>> X = load_iris().data
    >>> X[::3, 0] = np.nan
    >>> imputer = AutoencoderImputer(hidden_layer_sizes=(64,), random_state=0).fit(X)
    >>> bool(np.isnan(imputer.transform(X)).any())
    False
    """

    autoencoder_: AutoencoderTransformer | VAETransformer
    indicator_features_: np.ndarray

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{name: BaseAutoencoder._parameter_constraints[name] for name in PASSED_ON},
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "sample_posterior": ["boolean"],
        "add_indicator": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        hidden_layer_sizes: tuple[int, ...] = (256, 256),
        activation: str = "gelu",
        categorical_features: Any = "from_dtype",
        handle_unknown: str = "ignore",
        sample_posterior: bool = False,
        add_indicator: bool = False,
        weight_decay: float = 0.0,
        learning_rate_init: float | str = 4e-3,
        batch_size: int | str = 256,
        max_iter: int | str = "auto",
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        random_state: Any = None,
        verbose: bool | int = False,
        device: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.categorical_features = categorical_features
        self.handle_unknown = handle_unknown
        self.sample_posterior = sample_posterior
        self.add_indicator = add_indicator
        self.weight_decay = weight_decay
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    @fit_context
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn how the cells of a row tell of each other.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_columns)
            Numbers, booleans, categories and dates, with cells missing or not.
        y : ignored

        Returns
        -------
        self : object
        """
        with earlier_fit_kept(self):
            self._fit(X)
        return self

    def _fit(self, X: Any) -> None:
        schema = Schema.of(X, self.categorical_features)
        rows = check_rows(self, X, schema, reset=True)
        params = {name: getattr(self, name) for name in PASSED_ON}
        params |= {"corruption": HIDDEN, "random_state": random_seed(self.random_state)}
        kind = VAETransformer if self.sample_posterior else AutoencoderTransformer
        self.autoencoder_ = kind(self.n_components or rows.shape[1], **params)
        fit = self.autoencoder_._fit_rows(schema, merge_equal_rows(rows, None), owner=self)
        if fit.still_falling:
            warn_of_early_end(self.max_iter)
        self.n_iter_ = self.autoencoder_.n_iter_
        self.indicator_features_ = np.flatnonzero(self._missing(rows).any(axis=0))

    def transform(self, X: Any) -> Any:
        """Fill in the missing cells of a table, and these alone.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        table : ndarray or frame of shape (n_rows, n_features_in_) or wider
            Observed cells, dtypes and index are X's. With ``add_indicator`` boolean columns follow, in an array ones and zeros.
            Columns that were missing altogether at fit, or ignored, stay missing.
        """
        check_is_fitted(self)
        check_columns(self, X, reset=False)
        schema = self.autoencoder_.schema_
        if schema.library == "numpy" and not schema.columns:  # an array was fitted, and an array comes out
            X = check_rows(self, X, schema, reset=False)
        if isinstance(self.autoencoder_, VAETransformer):
            table = self.autoencoder_.impute(X, n_imputations=1, random_state=self.autoencoder_.random_state)[0]
        else:
            table = self.autoencoder_.impute(X)
        if not self.add_indicator:
            return table
        return self._with_indicators(table, self._missing(check_rows(self, X, schema, reset=False)))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that ``transform`` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None

        Returns
        -------
        names : ndarray of str
        """
        check_is_fitted(self)
        names = feature_names(self, input_features)
        if not self.add_indicator:
            return names
        return np.concatenate([names, [f"missingindicator_{name}" for name in names[self.indicator_features_]]])

    def _missing(self, rows: np.ndarray) -> np.ndarray:
        """Which cells have no value, or one that the model knows nothing of; none of columns that are ignored."""
        ignored = [column.kind == "ignored" and column.n_distinct > 0 for column in self.autoencoder_.schema_.columns]
        return np.isnan(rows) & ~np.array(ignored) if ignored else np.isnan(rows)

    def _with_indicators(self, table: Any, missing: np.ndarray) -> Any:
        marks = missing[:, self.indicator_features_]
        names = self.get_feature_names_out()[self.n_features_in_ :]
        return with_columns(table, dict(zip(names, marks.T, strict=True)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
