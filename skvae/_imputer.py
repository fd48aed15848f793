"""Filling in missing values, as a step of a pipeline."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import TransformerMixin

from skvae._arrays import fits_in_kind, in_kind, on_host
from skvae._autoencoder import AutoencoderTransformer
from skvae._base import BaseAutoencoder, earlier_fit_kept
from skvae._callbacks import CallbackSupportMixin, fit_task
from skvae._fit.settings import Masking
from skvae._fitted import expected_jointly
from skvae._parameters import Documented
from skvae._reports import warn_of_end
from skvae._saving.estimators import Saved
from skvae._tables.libraries import (
    cells_equal_to,
    frame_of,
    holds_strings,
    in_rows,
    library_of,
    rows_at,
    series_of,
    with_cells,
    with_columns,
    with_empty_columns,
    without_columns,
)
from skvae._tables.rows import Table, merge_equal_rows
from skvae._tables.schema import Schema
from skvae._vae import VAETransformer
from skvae._validation import (
    Interval,
    MissingValues,
    StrOptions,
    check_columns,
    check_is_fitted,
    check_rows,
    check_weights,
    feature_names,
    fit_context,
    random_seed,
)
from skvae._warnings import warn

HIDDEN = Masking((0.0, 0.6), hidden_only=True)
PASSED_ON = (
    "hidden_layer_sizes",
    "activation",
    "standardize",
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


class AutoencoderImputer(Saved, CallbackSupportMixin, TransformerMixin, Documented):
    """Fill in missing values with an autoencoder, in place of ``SimpleImputer`` or ``IterativeImputer``.

    In each training step a random share of the observed cells of each row is hidden, and the autoencoder learns to predict them
    from the other cells. It therefore learns from incomplete rows, and fills in numbers, booleans, categories and dates at
    once. Training starts from factor analysis with missing values.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of components of the code. None is the number of columns: imputation needs no compression, because hidden cells
        already keep the model from copying its input.
    n_estimators : int, default=3
        Number of models whose predictions are averaged on the scale of the networks. They differ in their seed and in the rows
        that they hold out. More models take longer; on seven tables the errors of numbers with three were 0 to 6 % smaller than
        with one.
    hidden_layer_sizes : tuple of int, default=(256, 256)
        Widths of the encoder's hidden layers, from the input to the code. The decoder mirrors them. Widths, learning rate,
        steps and number of models were chosen on seven tables with 20 % of their values hidden.
    activation : {"identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="gelu"
        Activation of the hidden layers, as in ``AutoencoderTransformer``.
    standardize : bool or {"robust", "quantile"}, default="robust"
        How numeric columns are scaled, as in ``AutoencoderTransformer``. ``"robust"`` keeps outlying values from setting the
        scale of a column and from being filled in. ``"quantile"`` gives hidden cells a higher likelihood, but columns with long
        tails larger squared errors.
    categorical_features : "from_dtype", None, or array-like, default="from_dtype"
        Which columns are categories, as in ``AutoencoderTransformer``.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories that were not seen during ``fit``. ``"ignore"`` hides them from the model and leaves them in the
        table; ``"error"`` raises an error.
    missing_values : number, str, None, np.nan or pandas.NA, default=np.nan
        Placeholder of missing values, as in ``SimpleImputer``. A number such as -999 is looked for in numeric columns, a string
        such as ``"?"`` in columns of strings and categories. NaN, None and the null values of the table's library are always
        missing.
    min_value, max_value : float, array-like of shape (n_columns,) or None, default=None
        Lowest and highest number to fill in, for all columns or for each, as in ``IterativeImputer``. None, also as an entry of
        an array, is the range of the column at fit, which is always used for columns other than numbers, such as dates.
    keep_empty_features : bool, default=False
        Whether to keep columns that had no value at fit, as in ``SimpleImputer``. True fills them with 0; False drops them with
        a warning.
    sample_posterior : bool, default=False
        Whether to draw each missing value from its predictive distribution instead of taking the expected value, as in
        ``IterativeImputer``. Set it to True for multiple imputation, with one ``random_state`` per table. A single variational
        autoencoder is then fitted.
    add_indicator : bool, default=False
        Whether to append a boolean column for each column that had missing values at fit, which says where values were missing.
    weight_decay : float, default=0.0
        Decoupled weight decay, as in ``AutoencoderTransformer``.
    learning_rate_init : float or "auto", default=4e-3
        Highest learning rate, as in ``AutoencoderTransformer``. Lower it if training diverges.
    batch_size : int or "auto", default=256
        Maximum number of rows per step, as in ``AutoencoderTransformer``.
    max_iter : int or "auto", default="auto"
        Maximum number of epochs. ``"auto"`` allows ``33 * sqrt(n_rows)`` steps, and at least 750. Raise it after a
        ``ConvergenceWarning``.
    early_stopping : bool or "auto", default="auto"
        Whether to choose the number of epochs on held-out rows, by the likelihood of their hidden cells. ``"auto"`` is True.
        With fewer than 10 distinct rows none are held out, and the result is factor analysis. Each model holds out other rows,
        so that together they learn from all rows. A single model is trained on all rows as well if there are fewer than 2000.
    validation_fraction : float, default=0.1
        Share of the rows that each model holds out.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the splits, the hidden cells and the draws. None uses a new seed in each fit. The global
        random generators are neither read nor changed.
    verbose : bool or int, default=False
        Whether to show a progress bar, as in ``AutoencoderTransformer``.
    device : str, default="auto"
        Device of the networks, as in ``AutoencoderTransformer``.

    Attributes
    ----------
    estimators_ : list of AutoencoderTransformer or VAETransformer
        The fitted models.
    autoencoder_ : AutoencoderTransformer or VAETransformer
        The first of the fitted models, with its ``schema_``, ``validation_scores_`` and other attributes.
    n_iter_ : int
        Number of epochs of the models, which are trained together.
    indicator_features_ : ndarray of int
        Indices of the columns that had missing values at fit, in rows with a positive weight.
    n_features_in_ : int
        Number of columns of the training table.
    feature_names_in_ : ndarray of str
        Names of the columns, if the training table had names.

    See Also
    --------
    AutoencoderTransformer.impute : Imputation by a model that also compresses.
    VAETransformer.impute : Several draws from one model.
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
    >>> imputer = AutoencoderImputer(hidden_layer_sizes=(64,), random_state=0)
    >>> bool(np.isnan(imputer.fit_transform(X)).any())
    False
    """

    estimators_: list[AutoencoderTransformer] | list[VAETransformer]
    n_iter_: int
    indicator_features_: np.ndarray

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{name: BaseAutoencoder._parameter_constraints[name] for name in PASSED_ON},
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "standardize": ["boolean", StrOptions({"robust", "quantile"})],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "missing_values": [MissingValues()],
        "min_value": [Interval(Real, None, None, closed="both"), "array-like", None],
        "max_value": [Interval(Real, None, None, closed="both"), "array-like", None],
        "keep_empty_features": ["boolean"],
        "sample_posterior": ["boolean"],
        "add_indicator": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_estimators: int = 3,
        hidden_layer_sizes: tuple[int, ...] = (256, 256),
        activation: str = "gelu",
        standardize: bool | str = "robust",
        categorical_features: Any = "from_dtype",
        handle_unknown: str = "ignore",
        missing_values: Any = np.nan,
        min_value: Any = None,
        max_value: Any = None,
        keep_empty_features: bool = False,
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
        self.n_estimators = n_estimators
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.standardize = standardize
        self.categorical_features = categorical_features
        self.handle_unknown = handle_unknown
        self.missing_values = missing_values
        self.min_value = min_value
        self.max_value = max_value
        self.keep_empty_features = keep_empty_features
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
    @fits_in_kind
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the imputer to a table.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_columns)
            Numbers, booleans, categories and dates, with or without missing values. Lists and arrays of objects may hold
            strings.
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Non-negative weights. A row with a weight of 2 counts as two rows, one with a weight of 0 as none. Whether a
            category is rare depends on the number of its rows, not on their weights.

        Returns
        -------
        self : object
            The fitted imputer.

        Raises
        ------
        ValueError
            If the input or the parameters cannot be used. An earlier fit is kept.
        FloatingPointError
            If training diverges. An earlier fit is kept.

        Warns
        -----
        ConvergenceWarning
            If training reached ``max_iter`` while the loss was still falling.
        UserWarning
            If a column has no value and is left out. Also if Ctrl-C ended training: the models are then those of the best epoch
            so far, or of the last one if no rows were held out. If there is no usable model yet, ``KeyboardInterrupt`` is
            raised and an earlier fit is kept.
        """
        with earlier_fit_kept(self), fit_task(self, X, y, sample_weight):
            self._fit(X, sample_weight)
        return self

    def _fit(self, X: Any, sample_weight: Any) -> None:
        X = self._with_holes(X)
        self._of_objects = holds_strings(X)
        X = frame_of(X) if self._of_objects else X
        schema = Schema.of(X, self.categorical_features)
        rows = check_rows(self, X, schema, reset=True)
        weights = check_weights(sample_weight, rows)
        if weights is not None and not weights.all():
            counted = np.flatnonzero(weights)
            X, weights = rows_at(X, counted), weights[counted]
            schema = Schema.of(X, self.categorical_features)
            rows = check_rows(self, X, schema, reset=True)
        table = merge_equal_rows(rows, weights)
        bounds = self._bounds_of(table, schema)
        models = [self._model(rows.shape[1], seed) for seed in self._seeds()]
        fit = models[0]._fit_rows(schema, table, owner=self, siblings=models[1:])
        warn_of_end(fit)
        self.estimators_, self._bounds = models, bounds
        self.n_iter_ = models[0].n_iter_
        self.indicator_features_ = np.flatnonzero(self._missing(rows).any(axis=0))
        if self._is_empty.any() and not self.keep_empty_features:
            names = ", ".join(map(repr, feature_names(self, None)[self._is_empty]))
            warn(f"No value in column {names}, which is left out. Drop it before the fit, or set keep_empty_features=True.")

    def _with_holes(self, X: Any) -> Any:
        """The table with ``missing_values`` replaced by the null value of its library."""
        X = in_rows(X)
        if self._value_of_holes is None:
            return X
        if library_of(X) == "numpy" and isinstance(self.missing_values, str) and X.dtype.kind in "fiub":
            raise ValueError(
                f"missing_values={self.missing_values!r} is a string, but X is an array of numbers; set a number or np.nan."
            )
        return with_cells(X, cells_equal_to(X, self.missing_values), None)

    @property
    def _value_of_holes(self) -> float | str | None:
        """The number or string that marks a missing value; None if only the null values of the libraries do."""
        value = self.missing_values
        if isinstance(value, Real):
            return None if np.isnan(float(value)) else float(value)
        return value if isinstance(value, str) else None

    def _seeds(self) -> list[int]:
        """Seeds of the models; a single model if cells are sampled."""
        seed = random_seed(self.random_state)
        n_more = 0 if self.sample_posterior else self.n_estimators - 1
        return [seed, *map(int, np.random.SeedSequence(seed).generate_state(n_more))]

    def _model(self, n_columns: int, seed: int) -> AutoencoderTransformer | VAETransformer:
        params = {name: getattr(self, name) for name in PASSED_ON} | {"corruption": HIDDEN, "random_state": seed}
        kind = VAETransformer if self.sample_posterior else AutoencoderTransformer
        return kind(self.n_components or n_columns, **params)

    def _bounds_of(self, table: Table, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value to fill in, per column."""
        low, high = (self._bound(name, table, schema) for name in ("min_value", "max_value"))
        if (low > high).any():
            j = int(np.flatnonzero(low > high)[0])
            raise ValueError(
                f"min_value is {low[j]:g}, above the max_value of {high[j]:g}, for column {j}; lower it or raise max_value."
            )
        return low, high

    def _bound(self, name: str, table: Table, schema: Schema) -> np.ndarray:
        """One of the bounds; a column without a given number, such as dates, has its extreme at fit."""
        observed, n_columns = table.extremes()[0 if name == "min_value" else 1], table.rows.shape[1]
        value = getattr(self, name)
        try:
            bound = np.asarray(np.nan if value is None else value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}={value!r}; it must be a number, None, or an array with one of these for each column."
            ) from error
        if bound.shape not in {(), (n_columns,)}:
            raise ValueError(f"{name} has shape {bound.shape}, but X has {n_columns} columns; pass one number or one for each.")
        holds_numbers = [column.kind == "number" for column in schema.columns] or [True] * n_columns
        return np.where(np.isnan(bound) | ~np.array(holds_numbers), observed, bound)

    @in_kind
    def transform(self, X: Any) -> Any:
        """Fill in the missing values of a table; observed values stay.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        table : ndarray or frame of shape (n_rows, n_features_in_) or wider
            Observed cells, dtypes and index are those of X; an array of objects if the imputer was fitted to an array with
            strings. Columns without any value at fit are left out, or filled with 0 with ``keep_empty_features=True``. Missing
            values stay in columns that are ignored for having only rare categories. ``add_indicator=True`` appends boolean
            columns to a frame, and columns of ones and zeros to an array.
        """
        check_is_fitted(self)
        X = self._with_holes(X)
        was_array = library_of(X) == "numpy"
        X = frame_of(X) if self._of_objects else X
        check_columns(self, X, reset=False)
        fitted = self.autoencoder_._fitted
        rows = check_rows(self, X, fitted.schema, reset=False)
        if fitted.schema.library == "numpy" and not fitted.schema.columns:  # an array was fitted, and an array comes out
            X = rows
        cells = self._filling(fitted.read(rows))
        cells = np.where(self._is_empty, 0.0, np.where(fitted.is_number, np.clip(cells, *self._bounds), cells))
        table = fitted.schema.complete(X, cells)
        if not self.keep_empty_features:
            table = without_columns(table, np.flatnonzero(self._is_empty))
        table = self._with_indicators(table, self._missing(rows)) if self.add_indicator else table
        return table.to_numpy(dtype=object) if was_array and self._of_objects else table

    @in_kind
    def inverse_transform(self, X: Any) -> Any:
        """Make filled-in values missing again, where the indicator columns say that they were missing.

        Without ``add_indicator`` nothing is changed, so that ``TransformedTargetRegressor`` accepts the imputer;
        ``SimpleImputer`` raises an error instead.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_out)
            A table as returned by ``transform``, or predictions of it.

        Returns
        -------
        table : ndarray or frame of shape (n_rows, n_features_in_)
            With ``missing_values`` in the cells that were missing, for columns that had missing values at fit. Columns that
            ``transform`` left out are missing.
        """
        check_is_fitted(self)
        X = in_rows(X)
        n_expected = len(self.get_feature_names_out())
        if len(X.shape) != 2 or X.shape[1] != n_expected:
            raise ValueError(f"X has shape {X.shape}, but transform returns {n_expected} columns; pass its result.")
        n_cells = n_expected - len(self.indicator_features_) * self.add_indicator
        table = without_columns(X, np.arange(n_cells, n_expected))
        missing = np.zeros((len(X), self.n_features_in_), dtype=bool)
        if n_cells < n_expected:
            marks = X[:, n_cells:] if isinstance(X, np.ndarray) else np.column_stack(list(series_of(X))[n_cells:])
            missing[:, on_host(self.indicator_features_)] = marks.astype(bool)
        if not self.keep_empty_features:
            names = feature_names(self, None)
            table = with_empty_columns(table, {int(j): names[j] for j in np.flatnonzero(self._is_empty)})
            missing |= self._is_empty
        return with_cells(table, missing, self._value_of_holes) if missing.any() else table

    def _filling(self, rows: np.ndarray) -> np.ndarray:
        """Values to fill in, before they are clipped to the bounds."""
        first = self.autoencoder_
        if isinstance(first, VAETransformer):
            return next(first._plausible(rows, 1, first.random_state))
        return expected_jointly([model._fitted for model in self.estimators_], rows)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that ``transform`` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the input columns. None takes those of the training table.

        Returns
        -------
        names : ndarray of str
        """
        check_is_fitted(self)
        names = feature_names(self, input_features)
        kept = names if self.keep_empty_features else names[~self._is_empty]
        if not self.add_indicator:
            return kept
        return np.concatenate([kept, [f"missingindicator_{name}" for name in names[on_host(self.indicator_features_)]]])

    @property
    def autoencoder_(self) -> AutoencoderTransformer | VAETransformer:
        """The first of the fitted models."""
        if not hasattr(self, "estimators_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'autoencoder_'; call fit first.")
        return self.estimators_[0]

    @property
    def _is_ignored(self) -> np.ndarray:
        """Columns with nothing but rare categories."""
        named = [column.kind == "ignored" and column.n_distinct > 0 for column in self.autoencoder_.schema_.columns]
        return np.array(named or [False] * self.n_features_in_)

    @property
    def _is_empty(self) -> np.ndarray:
        """Columns that had no value at fit."""
        return self.autoencoder_._fitted.is_empty & ~self._is_ignored

    def _missing(self, rows: np.ndarray) -> np.ndarray:
        """Which cells have no value, or a category that is unknown to the model; none in columns that are ignored or empty."""
        return np.isnan(rows) & ~(self._is_ignored | self._is_empty)

    def _with_indicators(self, table: Any, missing: np.ndarray) -> Any:
        marks = missing[:, on_host(self.indicator_features_)]
        names = self.get_feature_names_out()
        names = names[len(names) - len(self.indicator_features_) :]
        return with_columns(table, dict(zip(names, marks.T, strict=True)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.array_api_support = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
