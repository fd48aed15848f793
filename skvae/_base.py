"""The fit and apply template that the two transformers share. Think twice before adding anything to it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from skvae._arrays import as_it_came, fits_in_kind, in_kind, is_dispatched_tensor, on_host
from skvae._callbacks import CallbackSupportMixin, fit_task, training_task
from skvae._fit.fit import Fit, fit_rows
from skvae._fit.further import Increments
from skvae._fit.plan import step_work
from skvae._fit.settings import ACTIVATIONS, CORRUPTIONS, PENALTIES, Corruption, Penalty, Settings
from skvae._fitted import Fitted, sum_of_cells
from skvae._parameters import NestedParameters
from skvae._reports import all_of, bar_of, warn_of_end
from skvae._saving.estimators import Saved
from skvae._streams import LEAST_ROWS, by_block, progress, survey_of
from skvae._tables.lazy import Lazy, without_copies
from skvae._tables.libraries import index_of, library_of, table_like
from skvae._tables.marginals import BY_QUANTILES, ROBUST, Marginals
from skvae._tables.processes import ALONE, Processes
from skvae._tables.rows import Rows, Table, merge_equal_rows
from skvae._tables.schema import Schema
from skvae._tables.sources import Source
from skvae._tables.survey import Streamed
from skvae._validation import (
    TORN_DOWN_BY_SKLEARN,
    Interval,
    RealNotInt,
    StrOptions,
    check_codes,
    check_count,
    check_is_fitted,
    check_layer_sizes,
    check_rows,
    check_tensor,
    check_weights,
    fit_context,
    random_seed,
    share_columns,
    streamed,
)
from skvae.core.device import resolve_device
from skvae.core.inference import jacobian
from skvae.core.model import Autoencoder


class BaseAutoencoder(
    Saved, CallbackSupportMixin, NestedParameters, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Fit a model to a table, and compute codes, rows and scores with it."""

    n_components: int | float | None
    likelihood: str
    categorical_features: Any
    early_stopping: bool | str
    max_iter: int | str
    warm_start: bool
    random_state: Any
    verbose: bool | int
    device: str
    loss_curve_: list[float]
    _increments: Increments
    _fitted: Fitted
    _variational: ClassVar[bool]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), Interval(RealNotInt, 0, 1, closed="neither"), None],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "decoder_layer_sizes": ["array-like", None],
        "init": [StrOptions({"pca", "random"})],
        "standardize": ["boolean", StrOptions({"auto", "robust", "quantile"})],
        "likelihood": [StrOptions({"auto", "gaussian", "mse", "bernoulli"})],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "handle_unknown": [StrOptions({"ignore", "error"})],
        "corruption": [StrOptions({*CORRUPTIONS, "auto"}), Corruption, None],
        "penalty": [StrOptions(set(PENALTIES)), Penalty, tuple, None],
        "support_fraction": [Interval(Real, 0, 1, closed="right")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [StrOptions({"cosine", "constant"})],
        "learning_rate_init": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "early_stopping": [StrOptions({"auto"}), "boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "device": [str],
    }

    @fit_context
    @fits_in_kind
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, X_val: Any = None, sample_weight_val: Any = None) -> Self:
        """Fit the model to a table.

        Parameters
        ----------
        X : array-like, frame or dataset of shape (n_rows, n_columns)
            At least two rows. Arrays hold finite numbers, and NaN for missing values. Frames may also hold booleans,
            categories, strings, dates and durations. Arrays and sparse matrices whose dense size exceeds scikit-learn's
            ``working_memory``, 1 GiB by default, and pyarrow datasets are read block by block.
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Non-negative weights. A row with a weight of 2 counts as two rows, one with a weight of 0 as none. The total of the
            weights acts like the number of rows; variances are divided by the total less one.
        X_val : array-like or frame of shape (n_val_rows, n_columns), default=None
            Rows on which the number of epochs is chosen, instead of some rows of X. The model is not trained on them.
        sample_weight_val : array-like of shape (n_val_rows,), default=None
            Weights of the rows of ``X_val``.

        Returns
        -------
        self : object
            The fitted estimator.

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
            If rare categories of a column are merged, or a column with only rare categories is ignored. Also if Ctrl-C ended
            training: the model is then that of the best epoch so far, or of the last one if no rows were held out, or the
            start. If there is no usable model yet, ``KeyboardInterrupt`` is raised and an earlier fit is kept.
        """
        with earlier_fit_kept(self), fit_task(self, X, y, sample_weight):
            self._fit(X, sample_weight, X_val, sample_weight_val)
        return self

    def _fit(self, X: Any, sample_weight: Any, X_val: Any, sample_weight_val: Any) -> None:
        earlier = self._earlier
        self.__dict__.pop("_increments", None)
        source = streamed(X)
        if source is None:
            fit = self._fit_table(X, sample_weight, X_val, sample_weight_val, earlier)
        else:
            fit = self._fit_stream(source, sample_weight, X_val, sample_weight_val, earlier)
        warn_of_end(fit)

    def _fit_table(self, X: Any, sample_weight: Any, X_val: Any, sample_weight_val: Any, earlier: Fitted | None) -> Fit:
        """Fit to a table in memory."""
        schema = Schema.of(X, self.categorical_features) if earlier is None else earlier.schema
        rows = check_rows(self, X, schema, reset=earlier is None, in_unit_interval=self.likelihood == "bernoulli")
        table = merge_equal_rows(rows, check_weights(sample_weight, rows))
        del rows  # they may be a copy of the table, and memory would hold both
        return self._fit_rows(schema, table, self._held_out(X_val, sample_weight_val, schema), earlier)

    @fit_context
    @fits_in_kind
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, check_input: bool = True) -> Self:
        """Continue training with further rows of a stream; each row is seen once.

        The first rows decide the types of the columns, their scaling and, by PCA, the start of training. Until there are 100
        rows, and 5 rows per column, each call fits all rows so far anew. Each later call is one pass over its rows at a
        constant learning rate, and continues with the state of the optimiser. After ``fit``, training continues from the fitted
        model.

        A linear model of numbers without missing values is the exact PCA of all rows so far. Other models hold no rows out and
        choose no number of epochs, so they may be worse than PCA.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_columns)
            A call has a fixed cost of some tenths of a second, so pass several hundred rows or more at once.
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows, as in ``fit``.
        check_input : bool, default=True
            Whether to check X. With False, X must be an array of finite numbers in float32 or float64 and in C order, with the
            columns of the first call.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, FloatingPointError
            As in ``fit``. The estimator stays as it was before the call.
        """
        with earlier_fit_kept(self):
            self._partial_fit(X, sample_weight, check_input)
        return self

    def _partial_fit(self, X: Any, sample_weight: Any, check_input: bool) -> None:
        fitted = getattr(self, "_fitted", None)
        increments = copy(self._increments) if hasattr(self, "_increments") else Increments(is_waiting=fitted is None)
        schema = Schema.of(X, self.categorical_features) if fitted is None else fitted.schema
        in_unit_interval = self.likelihood == "bernoulli"
        if check_input or fitted is None:
            X = check_rows(self, X, schema, reset=fitted is None, in_unit_interval=in_unit_interval)
        weights = check_weights(sample_weight, X)
        table = Table(X, None) if weights is None else Table(X[weights > 0], weights[weights > 0])
        rows = increments.rows_for(table)
        earlier = None if increments.waiting is not None else fitted
        self._fit_rows(schema, rows, earlier=earlier, by=increments.fit)
        increments.settle(rows)
        self._increments = increments

    def _fit_stream(
        self,
        source: Source,
        sample_weight: Any,
        X_val: Any,
        sample_weight_val: Any,
        earlier: Fitted | None,
        processes: Processes = ALONE,
    ) -> Fit:
        """Fit to a table that is read block by block, by processes that each hold a part of it."""
        in_unit_interval = self.likelihood == "bernoulli"
        counting = progress(self, "counting")
        schema = earlier.schema if earlier else Schema.of_source(source, self.categorical_features, counting, processes)

        self._check_first_rows(source, schema, earlier is None, processes)

        def held_out_and_weights() -> tuple[Table | None, np.ndarray | None]:
            weights = check_weights(sample_weight, np.empty((source.n_rows, 0)))
            return self._held_out(X_val, sample_weight_val, schema), weights

        held_out, weights = processes.together(held_out_and_weights)
        survey = survey_of(self, source, schema, weights, self._share_held_out(held_out), in_unit_interval, processes)
        rows = Lazy(Streamed(survey, processes=processes))
        return self._fit_rows(schema.with_constants(survey.findings.of_all), rows, held_out, earlier)

    @property
    def _earlier(self) -> Fitted | None:
        """The fit that a warm start continues from."""
        return self._fitted if self.warm_start and hasattr(self, "_fitted") else None

    def _share_held_out(self, held_out: Table | None) -> float:
        """Share of the rows that is held out to choose the number of epochs, for a table that is read block by block."""
        return self.validation_fraction if held_out is None and self.early_stopping is not False else 0.0

    def _check_first_rows(self, source: Source, schema: Schema, reset: bool, processes: Processes) -> None:
        """Take over the columns of a table, which must be the same in all processes."""

        def check(reset: bool) -> None:
            in_unit_interval = self.likelihood == "bernoulli"
            check_rows(self, source.head(LEAST_ROWS), schema, reset=reset, in_unit_interval=in_unit_interval)

        processes.together(partial(check, reset))
        if processes.size > 1:
            share_columns(processes.of_first(self), self)
            processes.together(partial(check, reset=False))

    def _held_out(self, X_val: Any, sample_weight_val: Any, schema: Schema) -> Table | None:
        """The rows that the caller passed to choose the number of epochs on."""
        if X_val is None:
            if sample_weight_val is not None:
                raise ValueError("sample_weight_val is given without X_val, the rows that it weights; pass both or neither.")
            return None
        if self.early_stopping is False:
            raise ValueError("X_val is given, but early_stopping=False does not use it; set early_stopping='auto'.")
        in_unit_interval = self.likelihood == "bernoulli"
        rows = check_rows(self, X_val, schema, reset=False, name="X_val", in_unit_interval=in_unit_interval)
        return merge_equal_rows(rows, check_weights(sample_weight_val, rows, "sample_weight_val"))

    def _fit_rows(
        self,
        schema: Schema,
        rows: Rows,
        held_out: Table | None = None,
        earlier: Fitted | None = None,
        owner: BaseEstimator | None = None,
        siblings: "Sequence[BaseAutoencoder]" = (),
        by: Callable[..., list[Fit]] = fit_rows,
    ) -> Fit:
        """Fit to rows that have been read; with an ``owner``, its columns become those of this estimator.

        ``siblings`` differ from this estimator in ``random_state`` alone, and are fitted with it. ``by`` is the function that
        fits.
        """
        if owner is not None:
            for each in (self, *siblings):
                share_columns(owner, each)
        rows = without_copies(rows)
        n_levels = schema.n_levels_of(rows.n_columns)
        marginals = self._marginals(rows, n_levels, schema) if earlier is None else earlier.marginals
        normal, judged_by = rows.changed(marginals), held_out and held_out.changed(marginals)
        first = self._settings(normal, judged_by, marginals, n_levels, earlier)
        settings = [first, *(replace(first, seed=random_seed(each.random_state)) for each in siblings)]
        before = None if earlier is None else (earlier.module, earlier.scaling)
        schema = schema if earlier is not None else schema.with_marginals(marginals)
        judged_on = (held_out or rows).sample()

        def taken(each: BaseAutoencoder, its: Settings, fit: Fit) -> BaseAutoencoder:
            fitted = Fitted(
                schema=schema,
                marginals=marginals,
                scaling=fit.scaling,
                module=fit.model.eval(),
                device=its.device,
                is_number=n_levels == 0,
                in_unit_interval=its.likelihood == "bernoulli",
                beta=float(its.beta),
                seed=its.seed,
            )
            each._take(fit, fitted, judged_on, goes_on=earlier is not None)
            return each

        def attributes(fits: Callable[[], list[Fit]]) -> dict[str, Any]:
            return dict(vars(taken(copy(self), first, fits()[0])))

        watched = training_task(owner or self, len(settings), None if owner else attributes)
        with bar_of(owner or self) as bar, watched as task:
            fits = by(settings, normal, judged_by, before, all_of(bar, task))
        for each, its, fit in zip((self, *siblings), settings, fits, strict=True):
            taken(each, its, fit)
        return fits[0]

    def _marginals(self, rows: Rows, n_levels: np.ndarray, schema: Schema) -> Marginals:
        """The functions that are applied to numeric columns before they are standardised.

        Datetime columns that increase with the rows are left as they are, because later rows continue where the table ends.
        """
        by_quantiles = self.standardize == "quantile" or (self.standardize == "auto" and n_levels.any())
        if self.likelihood == "bernoulli" or not (by_quantiles or self.standardize == "robust"):
            return Marginals.none(len(n_levels))
        bent = (n_levels == 0) & ~schema.clocks_of(len(n_levels))[0]
        return Marginals.of(rows, n_levels, bent, BY_QUANTILES if by_quantiles else ROBUST)

    def _settings(
        self, rows: Rows, held_out: Table | None, marginals: Marginals, n_levels: np.ndarray, earlier: Fitted | None
    ) -> Settings:
        """The parameters of this fit, read from the attributes; a subclass may name them differently."""
        params = {name: getattr(self, name) for name in self._parameter_constraints}
        check_layer_sizes(**{name: params[name] for name in ("hidden_layer_sizes", "decoder_layer_sizes")})
        return Settings.of(
            params,
            marginals.n_levels(n_levels),
            marginals.column_of,
            variational=self._variational,
            is_complete=rows.is_complete and (held_out is None or held_out.is_complete),
            has_held_out=held_out is not None,
            was_marked=None if earlier is None else earlier.module.inputs.marked,
            seed=random_seed(self.random_state),
            device=resolve_device(self.device, step_work(params, len(n_levels))),
        )

    def _take(self, fit: Fit, fitted: Fitted, judged_on: Table, goes_on: bool) -> None:
        """Set the attributes that end in an underscore from the outcome of a fit."""
        result = fit.result
        losses = [] if result is None else result.losses
        self._log_jacobian = float(np.average(fitted.log_jacobians(judged_on.rows), weights=judged_on.counts))
        self.loss_curve_ = [*(self.loss_curve_ if goes_on else []), *losses]
        self.penalties_ = fit.penalties
        self.validation_scores_ = None
        if result is not None and result.validation_losses:
            self.validation_scores_ = [self._log_jacobian - loss for loss in result.validation_losses]
        self.best_iter_ = 0 if result is None else result.best_iter
        self.n_iter_ = max(1, len(losses))
        self.noise_variance_ = fitted.noise_variance()
        self._fitted = fitted

    @property
    def module_(self) -> Autoencoder:
        """The trained networks."""
        return self._of_fit("module_").module

    @property
    def device_(self) -> torch.device:
        """Device of the networks."""
        return self._of_fit("device_").device

    @property
    def schema_(self) -> Schema:
        """The type and the categories of each column of the training table."""
        return self._of_fit("schema_").schema

    @property
    def n_components_(self) -> int:
        """Number of components of the code."""
        return self._of_fit("n_components_").module.n_components

    def _of_fit(self, name: str) -> Fitted:
        """The result of the fit, for the attribute ``name`` that needs it."""
        if not hasattr(self, "_fitted"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}; call fit first.")
        return self._fitted

    @property
    def _n_draws(self) -> int:
        """Number of codes per row over which scores are averaged."""
        return 1

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    # Applying

    @by_block
    def transform(self, X: Any, *, out: Any = None) -> np.ndarray:
        """Encode rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows, n_components_), default=None
            Array to write the result to, such as a ``numpy.memmap``. None makes a new array.

        Returns
        -------
        codes : ndarray of shape (n_rows, n_components_)
            In float32 if X is float32, and else in float64.
        """
        rows = self._admit(X)
        return self._fitted.map_rows(self.module_.encode, rows)

    @as_it_came
    def inverse_transform(self, X: Any) -> Any:
        """Decode codes to the expected rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_components_)
            Codes, as returned by ``transform``.

        Returns
        -------
        rows : ndarray or frame of shape (n_rows, n_features_in_)
            In the units of the input; a frame if the estimator was fitted on a frame. If the codes are a frame, its index is
            kept.
        """
        check_is_fitted(self)
        codes = check_codes(self, X)
        return self._restored(self._fitted.decoded(codes), X)

    @by_block
    def reconstruct(self, X: Any, *, out: Any = None) -> Any:
        """Encode rows and decode them again.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows, n_features_in_), default=None
            Array to write the result to, such as a ``numpy.memmap``. None makes a new array or frame.

        Returns
        -------
        rows : ndarray or frame of shape (n_rows, n_features_in_)
            The reconstruction of each row, in the units of the input. A frame with the index of X if X is a frame and the
            estimator was fitted on a frame; integer columns are then rounded.
        """
        rows = self._admit(X)
        result = self._fitted.reconstructed(rows)
        if self.schema_.library != "numpy" and library_of(X) == "numpy":
            return result
        return self._restored(result, X)

    @by_block
    def reconstruction_error(self, X: Any, *, out: Any = None) -> np.ndarray:
        """Return the squared error of each row's reconstruction, summed over columns.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Array to write the result to, such as a ``numpy.memmap``. None makes a new array.

        Returns
        -------
        errors : ndarray of shape (n_rows,)
            Errors are those of columns as ``standardize`` scales them, so that no column dominates by its unit. With
            ``standardize=False`` they are in squared units of the input. Integers are not rounded. For a categorical column the
            error is the squared distance between the predicted probabilities and the observed category (Brier score). Missing
            values have no error.
        """
        rows = self._admit(X)
        errors = self._fitted.map_rows(lambda x: self.module_.squared_error(x).sum(1), rows, dtype=np.float64)
        return errors * self._fitted.scaling.error_unit

    @by_block
    def score_samples(self, X: Any, *, out: Any = None) -> np.ndarray:
        """Return the log-likelihood of each row given its own code, ``log p(x | encoder(x))``.

        Compare it only between models with the same number of components: a larger code leaves less to be explained, and the
        information in the code itself is not counted. For the same reason a penalty or a corruption always lowers it.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Array to write the result to, such as a ``numpy.memmap``. None makes a new array.

        Returns
        -------
        scores : ndarray of shape (n_rows,)
            In nats, in the units of the input; higher is more normal.
        """
        rows = self._admit(X)
        scores = self._fitted.map_rows(sum_of_cells(self.module_.log_prob), rows, dtype=np.float64)
        return scores + self._fitted.log_jacobians(rows)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean of ``score_samples`` over rows.

        Compare it only between models with the same number of components.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows in the mean.

        Returns
        -------
        score : float
            In nats per row; higher is better.
        """
        scores = self.score_samples(X)
        scores = np.concatenate(list(scores)) if isinstance(scores, Iterator) else scores
        if sample_weight is None:
            return float(scores.mean())
        scores, sample_weight = on_host(scores), on_host(sample_weight)
        return float(np.average(scores, weights=check_weights(sample_weight, scores[:, None])))

    @in_kind
    def impute(self, X: Any) -> Any:
        """Fill in the missing values of a table; observed values stay.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        table : ndarray or frame of shape (n_rows, n_features_in_)
            X with each missing value replaced by its expectation given the row's other cells: the mean of a number, the most
            likely category. Observed cells stay the same to the last bit, and a frame keeps its dtypes and its index. A row
            without any observed value gets the expectations of a row about which nothing is known. Columns that had no value at
            fit, or were ignored, stay missing.
        """
        rows = self._admit(X)
        return self.schema_.complete(X, self._fitted.expected(rows))

    @in_kind
    def score_cells(self, X: Any, given: Any = None) -> Any:
        """Return the log-likelihood of each cell given the code of its row, or of another version of the row.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
            The cells to score.
        given : array-like or frame of shape (n_rows, n_features_in_), default=None
            The rows to encode. None encodes X itself. Remove some cells of X here to score how likely they are given the
            others.

        Returns
        -------
        scores : ndarray or frame of shape (n_rows, n_features_in_)
            In nats: a density in the units of the column for numbers, a probability for categories and booleans. NaN if the
            cell of X is missing. A frame with the index of X if X is a frame.
        """
        cells = self._admit(X)
        rows = cells if given is None else self._admit(given)
        if rows.shape != cells.shape:
            raise ValueError(f"X has {len(cells)} rows and given {len(rows)}; pass two versions of the same rows.")
        return table_like(X, self._fitted.score_cells(rows, cells, self._n_draws))

    @in_kind
    def interpolate(self, X_start: Any, X_end: Any, n_steps: int = 10) -> Any:
        """Decode points on the straight line between the codes of two rows.

        Parameters
        ----------
        X_start, X_end : array-like or frame of shape (n_rows, n_features_in_)
            Rows at which each line starts and ends.
        n_steps : int, default=10
            Number of rows per line, including both ends; at least 2.

        Returns
        -------
        rows : ndarray or frame of shape (n_rows * n_steps, n_features_in_)
            The decoded rows, line after line.
        """
        check_is_fitted(self)
        check_count(2, n_steps=n_steps)
        start, end = (self._fitted.map_rows(self.module_.encode, self._admit(X)) for X in (X_start, X_end))
        if start.shape != end.shape:
            raise ValueError(f"X_start has {len(start)} rows and X_end has {len(end)}; pass equally many.")
        steps = np.linspace(0, 1, n_steps, dtype=start.dtype)[:, None]
        lines = start[:, None] + steps * (end - start)[:, None]
        return self.inverse_transform(lines.reshape(-1, self.n_components_))

    @in_kind
    def encoder_jacobian(self, X: Any) -> np.ndarray:
        """Return the derivative of each row's code with respect to its cells.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        jacobians : ndarray of shape (n_rows, n_components_, n_features_in_)
            Change of each component per unit of each column, in the units of the input.

        Raises
        ------
        ValueError
            If there are columns other than numbers.
        """
        rows = self._admit_numbers(X, "encoder_jacobian")
        scaled = self._fitted.map_rows(jacobian(self.module_.encode), rows, dtype=np.float64)
        return scaled / self._fitted.scaling.scale

    @in_kind
    def tangent_space(self, X: Any, n_directions: int = 1) -> np.ndarray:
        """Return the directions in which the reconstruction of each row moves most when its code changes.

        These are the leading left singular vectors of the decoder's Jacobian at the row's code, the most sensitive direction
        first. They are an orthonormal basis of the tangent space of the manifold that the decoder spans. For a linear model
        they span the principal axes.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        n_directions : int, default=1
            Number of directions, at most ``min(n_components_, n_features_in_)``.

        Returns
        -------
        directions : ndarray of shape (n_rows, n_directions, n_features_in_)
            Unit vectors in the units of the input. The largest entry of each is positive. Directions in which the
            reconstruction does not move are arbitrary.

        Raises
        ------
        ValueError
            If there are columns other than numbers.

        References
        ----------
        S. Rifai, Y. Dauphin, P. Vincent, Y. Bengio, X. Muller (2011). The manifold tangent classifier. NeurIPS.
        """
        rows = self._admit_numbers(X, "tangent_space")
        most = min(self.n_components_, self.n_features_in_)
        check_count(1, n_directions=n_directions)
        if n_directions > most:
            raise ValueError(f"n_directions={n_directions!r}, but this model has at most {most} directions; lower it.")
        codes = self._fitted.map_rows(self.module_.encode, rows)
        scaled = self._fitted.map_scaled(jacobian(self.module_.decode), codes, dtype=np.float64)
        unit = self._fitted.scaling.scale * self._fitted.scaling.varies
        left = np.linalg.svd(scaled * unit[:, None], full_matrices=False)[0]
        directions = left[:, :, :n_directions].swapaxes(1, 2)
        largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=2, keepdims=True), axis=2)
        return directions * np.where(largest < 0, -1.0, 1.0)

    def _admit(self, X: Any) -> Any:
        """The cells of a checked table as numbers; a tensor stays a tensor."""
        check_is_fitted(self)
        check = check_tensor if is_dispatched_tensor(X) else check_rows
        rows = check(self, X, self.schema_, reset=False, in_unit_interval=self._fitted.in_unit_interval)
        return self._fitted.read(rows)

    def _restored(self, cells: Any, X: Any) -> Any:
        """Cells in the container of the fit, with the index of X; a tensor holds only numbers and is returned as it is."""
        return cells if isinstance(cells, torch.Tensor) else self.schema_.restore(cells, index_of(X))

    @property
    def _takes_tensors(self) -> bool:
        """Whether methods with one result per row take tensors without moving them."""
        return hasattr(self, "_fitted") and self._fitted.takes_tensors

    def _admit_numbers(self, X: Any, method: str) -> np.ndarray:
        rows = self._admit(X)
        if not self._fitted.is_number.all():
            others = [name for name, number in zip(self.schema_.names, self._fitted.is_number, strict=True) if not number]
            raise ValueError(
                f"{method} takes derivatives with respect to cells, but column {others[0]!r} does not hold numbers. "
                "Fit on the numeric and date columns alone."
            )
        if not self._fitted.marginals.are_plain:
            raise ValueError(
                f"{method} takes derivatives with respect to cells, which standardize={self.standardize!r} transforms "
                "nonlinearly; use standardize=True."
            )
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.array_api_support = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@contextmanager
def earlier_fit_kept(estimator: BaseEstimator) -> Iterator[None]:
    """Restore the state of the estimator if a fit fails, except for what scikit-learn has yet to tear down."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        of_callbacks = {name: value for name, value in vars(estimator).items() if name in TORN_DOWN_BY_SKLEARN}
        vars(estimator).clear()
        vars(estimator).update(before, **of_callbacks)
        raise
