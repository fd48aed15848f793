"""Filling in missing cells, as a step of a pipeline."""

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
    """Fill in the missing cells of a table, in place of scikit-learn's ``SimpleImputer``.

    An autoencoder is trained to tell observed cells that are hidden from it, a random share of each row and another one in
    every step, from the row's other cells. So it learns from incomplete rows, and fills in numbers, booleans, categories and
    dates at once. It starts from factor analysis with missing cells.

    Parameters
    ----------
    n_components : int or None, default=None
        Size of the code; None is the number of columns. Filling in needs no compression: what keeps the model from copying is
        that cells are hidden.
    n_estimators : int, default=3
        Models whose answers are averaged, on the scale that columns are brought to. They differ by their seed, and in the rows
        that each holds out.
    hidden_layer_sizes : tuple of int, default=(256, 256)
        Widths of the encoder's hidden layers, mirrored in the decoder.
    activation : {"identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="gelu"
        Of the hidden layers.
    standardize : bool or {"robust", "quantile"}, default="robust"
        As in ``AutoencoderTransformer``. ``"robust"`` keeps wild cells from deciding the scale of a column and what is filled
        in. ``"quantile"`` makes cells likelier, and squared errors of columns with long tails larger.
    categorical_features : "from_dtype", None, or array-like, default="from_dtype"
        As in ``AutoencoderTransformer``.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories unseen during ``fit``. ``"ignore"`` takes them as missing for the model and leaves them in the
        table; ``"error"`` raises.
    missing_values : number, str, None, np.nan or pandas.NA, default=np.nan
        What stands for a missing cell, beside what does in the table's library, as in ``SimpleImputer``: a number such as
        -999, which is looked for in columns of numbers, or a string such as ``"?"``, in columns of strings and categories. NaN
        and None are missing whatever it is.
    min_value, max_value : float, array-like of shape (n_columns,) or None, default=None
        Least and largest number to fill in, one for all columns or one for each, as in ``IterativeImputer``; None, also in an
        array, is what each column had at fit. Columns of other things than numbers, such as dates, always have the latter.
    keep_empty_features : bool, default=False
        Whether columns without any value at fit stay, numbers filled with 0, as in ``SimpleImputer``. They are left out
        otherwise, with a warning.
    sample_posterior : bool, default=False
        Whether cells are drawn from what is plausible for them instead of filled in with what is expected, as in
        ``IterativeImputer``. Of use for multiple imputation, with one ``random_state`` per table. There is then one model, a
        variational autoencoder.
    add_indicator : bool, default=False
        Whether to append, for each column that had missing cells at fit, a boolean column that says where.
    weight_decay : float, default=0.0
    learning_rate_init : float or "auto", default=4e-3
    batch_size : int or "auto", default=256
    max_iter : int or "auto", default="auto"
    early_stopping : bool or "auto", default="auto"
        Whether the number of epochs is chosen on rows that are held out, by how likely their hidden cells are. ``"auto"`` is
        with 10 distinct rows or more; fewer get factor analysis. Each of the models holds out other rows, so that together they
        learn from all. Beside a single one, a model of all rows is trained below 2000 rows, which is the one that stays.
    validation_fraction : float, default=0.1
        Share of the rows held out.
    random_state : int, RandomState instance or None, default=None
    verbose : bool or int, default=False
    device : str, default="auto"
        These are as in ``AutoencoderTransformer``.

    Attributes
    ----------
    estimators_ : list of AutoencoderTransformer or VAETransformer
        The fitted models.
    autoencoder_ : AutoencoderTransformer or VAETransformer
        The first of them, with its ``schema_``, ``validation_scores_`` and more.
    n_iter_ : int
        Epochs that the models were trained for, together.
    indicator_features_ : ndarray of int
        Columns that had missing cells at fit, in rows of positive weight.
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
        """Learn how the cells of a row tell of each other.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_columns)
            Numbers, booleans, categories and dates, with cells missing or not. Arrays of objects and lists may hold strings.
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Non-negative; a weight of 2 is the row twice, a weight of 0 its absence. Which categories are rare is told by rows.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            On input or parameters that cannot be used; an earlier fit stays as it was.
        FloatingPointError
            Where the training diverged.

        Warns
        -----
        ConvergenceWarning
            Where ``max_iter`` ended the training while the loss was still falling.
        UserWarning
            Where a column has no value and is left out. Where Ctrl-C ended the training: the models are then those of the best
            epoch so far or, where no rows were held out, of the last one. Before there is any, ``KeyboardInterrupt`` is raised,
            and an earlier fit stays.
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
        warn_of_end(fit, self.max_iter)
        self.estimators_, self._bounds = models, bounds
        self.n_iter_ = models[0].n_iter_
        self.indicator_features_ = np.flatnonzero(self._missing(rows).any(axis=0))
        if self._is_empty.any() and not self.keep_empty_features:
            names = ", ".join(map(repr, feature_names(self, None)[self._is_empty]))
            warn(f"Without any value, so left out: column {names}. Drop it before, or set keep_empty_features=True to keep it.")

    def _with_holes(self, X: Any) -> Any:
        """A table whose cells are missing, in the way of its library, where they are ``missing_values``."""
        X = in_rows(X)
        if self._value_of_holes is None:
            return X
        if library_of(X) == "numpy" and isinstance(self.missing_values, str) and X.dtype.kind in "fiub":
            raise ValueError(
                f"missing_values={self.missing_values!r} is a string, but X is an array of numbers; give a number or np.nan."
            )
        return with_cells(X, cells_equal_to(X, self.missing_values), None)

    @property
    def _value_of_holes(self) -> float | str | None:
        """The number or string that stands for a missing cell; None where what does in all libraries is meant."""
        value = self.missing_values
        if isinstance(value, Real):
            return None if np.isnan(float(value)) else float(value)
        return value if isinstance(value, str) else None

    def _seeds(self) -> list[int]:
        """Of the models; a single one draws cells where these are sampled."""
        seed = random_seed(self.random_state)
        n_more = 0 if self.sample_posterior else self.n_estimators - 1
        return [seed, *map(int, np.random.SeedSequence(seed).generate_state(n_more))]

    def _model(self, n_columns: int, seed: int) -> AutoencoderTransformer | VAETransformer:
        params = {name: getattr(self, name) for name in PASSED_ON} | {"corruption": HIDDEN, "random_state": seed}
        kind = VAETransformer if self.sample_posterior else AutoencoderTransformer
        return kind(self.n_components or n_columns, **params)

    def _bounds_of(self, table: Table, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest cell to fill in, per column."""
        low, high = (self._bound(name, table, schema) for name in ("min_value", "max_value"))
        if (low > high).any():
            j = int(np.flatnonzero(low > high)[0])
            raise ValueError(
                f"min_value is {low[j]:g} and max_value {high[j]:g} for column {j}; the former must not be larger."
            )
        return low, high

    def _bound(self, name: str, table: Table, schema: Schema) -> np.ndarray:
        """One of them: what the column has where no number is given, as for dates."""
        observed, n_columns = table.extremes()[0 if name == "min_value" else 1], table.rows.shape[1]
        value = getattr(self, name)
        try:
            bound = np.asarray(np.nan if value is None else value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}={value!r}; it must be a number, or one for each column, None where there is none."
            ) from error
        if bound.shape not in {(), (n_columns,)}:
            raise ValueError(f"{name} has shape {bound.shape}, but X has {n_columns} columns; give one number or one for each.")
        holds_numbers = [column.kind == "number" for column in schema.columns] or [True] * n_columns
        return np.where(np.isnan(bound) | ~np.array(holds_numbers), observed, bound)

    @in_kind
    def transform(self, X: Any) -> Any:
        """Fill in the missing cells of a table, and these alone.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        table : ndarray or frame of shape (n_rows, n_features_in_) or wider
            Observed cells, dtypes and index are X's, and an array of objects where one with strings was fitted. With
            ``add_indicator`` boolean columns follow, in an array ones and zeros. Holes of columns that are ignored stay.
            Columns without any value at fit are left out, or with ``keep_empty_features`` filled with 0.
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
        """Take filled cells out again where indicators say that they were missing.

        Without ``add_indicator`` nothing says so, and cells stay as they are, so that ``TransformedTargetRegressor`` takes the
        imputer. ``SimpleImputer`` raises then.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_out)
            What ``transform`` returns, or predictions of it.

        Returns
        -------
        table : ndarray or frame of shape (n_rows, n_features_in_)
            With ``missing_values`` in the cells that were missing, of columns that had missing cells at fit. Columns that
            ``transform`` leaves out are missing.
        """
        check_is_fitted(self)
        X = in_rows(X)
        n_expected = len(self.get_feature_names_out())
        if len(X.shape) != 2 or X.shape[1] != n_expected:
            raise ValueError(f"X has shape {X.shape}, but transform gives {n_expected} columns; pass what it returns.")
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
        """What missing cells are filled with, out of bounds or not."""
        first = self.autoencoder_
        if isinstance(first, VAETransformer):
            return next(first._plausible(rows, 1, first.random_state))
        return expected_jointly([model._fitted for model in self.estimators_], rows)

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
        kept = names if self.keep_empty_features else names[~self._is_empty]
        if not self.add_indicator:
            return kept
        return np.concatenate([kept, [f"missingindicator_{name}" for name in names[on_host(self.indicator_features_)]]])

    @property
    def autoencoder_(self) -> AutoencoderTransformer | VAETransformer:
        """The first of the models."""
        if not hasattr(self, "estimators_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'autoencoder_'; call fit first.")
        return self.estimators_[0]

    @property
    def _is_ignored(self) -> np.ndarray:
        """Columns with nothing but rare levels."""
        named = [column.kind == "ignored" and column.n_distinct > 0 for column in self.autoencoder_.schema_.columns]
        return np.array(named or [False] * self.n_features_in_)

    @property
    def _is_empty(self) -> np.ndarray:
        """Columns that had no value at fit."""
        return self.autoencoder_._fitted.is_empty & ~self._is_ignored

    def _missing(self, rows: np.ndarray) -> np.ndarray:
        """Which cells have no value, or one that the model knows nothing of; none of columns that are ignored or empty."""
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
