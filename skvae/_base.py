"""The fit and apply template that the estimators share. Think twice before adding anything to it."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from tqdm.auto import tqdm

from skvae import _assemble
from skvae._assemble import ACTIVATIONS, CORRUPTIONS, PENALTIES, Corruption, Penalty
from skvae._encoding import Encoding
from skvae._fitting import Fit, Report, Task, fit_model
from skvae._parameters import NestedParameters
from skvae._schema import Schema, index_of, library_of, table_like
from skvae._statistics import Scaling, Table, least_variances, merge_equal_rows, principal_components, resolutions
from skvae._validation import (
    Interval,
    RealNotInt,
    StrOptions,
    check_codes,
    check_count,
    check_is_fitted,
    check_layer_sizes,
    check_rows,
    check_unit_interval,
    check_weights,
    fit_context,
    random_seed,
)
from skvae.core.device import is_available, resolve_device, threads_for, widest
from skvae.core.inference import CHUNK_ROWS, apply, jacobian
from skvae.core.model import Autoencoder

BLOCK_ROWS = 1 << 15  # rows that are scaled at once, so that memory beyond the result does not grow with the table
PLAIN_SETTINGS = {  # what is read as parameters are, but is for other estimators to say
    "variational": False,  # whether the code has a posterior
    "support_fraction": 1.0,  # share of the rows that are learned from, those that are reconstructed best
    "n_steps": None,  # that max_iter="auto" comes to
}
MANY_COMPONENTS = 1 << 30  # as many as there are


class BaseAutoencoder(NestedParameters, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """From a table to a fitted model, and from the model to codes, rows and scores."""

    module_: Autoencoder
    device_: torch.device
    schema_: Schema
    n_components_: int
    loss_curve_: list[float]
    _scaling: Scaling
    _settings: Mapping[str, Any] = PLAIN_SETTINGS

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), Interval(RealNotInt, 0, 1, closed="neither")],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "decoder_layer_sizes": ["array-like", None],
        "init": [StrOptions({"pca", "random"})],
        "standardize": ["boolean"],
        "likelihood": [StrOptions({"auto", "gaussian", "mse", "bernoulli"})],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "handle_unknown": [StrOptions({"ignore", "error"})],
        "corruption": [StrOptions({*CORRUPTIONS, "auto"}), Corruption, None],
        "corruption_level": [Interval(Real, 0, None, closed="left")],
        "penalty": [StrOptions(set(PENALTIES)), Penalty, tuple, None],
        "penalty_weight": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "code_activation": [StrOptions(set(ACTIVATIONS))],
        "n_nonzero_coefs": [Interval(Integral, 1, None, closed="left"), None],
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

    def __init__(
        self,
        n_components: int | float,
        *,
        hidden_layer_sizes: tuple[int, ...],
        activation: str,
        decoder_layer_sizes: tuple[int, ...] | None,
        init: str,
        standardize: bool,
        likelihood: str,
        categorical_features: Any,
        handle_unknown: str,
        corruption: str | Corruption | None,
        corruption_level: float,
        penalty: str | Penalty | tuple[Penalty, ...] | None,
        penalty_weight: float | str,
        code_activation: str,
        n_nonzero_coefs: int | None,
        weight_decay: float,
        learning_rate: str,
        learning_rate_init: float | str,
        batch_size: int | str,
        max_iter: int | str,
        tol: float,
        early_stopping: bool | str,
        validation_fraction: float,
        n_iter_no_change: int | str,
        shuffle: bool,
        warm_start: bool,
        random_state: Any,
        verbose: bool | int,
        device: str,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.decoder_layer_sizes = decoder_layer_sizes
        self.init = init
        self.standardize = standardize
        self.likelihood = likelihood
        self.categorical_features = categorical_features
        self.handle_unknown = handle_unknown
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.penalty = penalty
        self.penalty_weight = penalty_weight
        self.code_activation = code_activation
        self.n_nonzero_coefs = n_nonzero_coefs
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    @fit_context
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, X_val: Any = None, sample_weight_val: Any = None) -> Self:
        """Fit to a table.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_columns)
            At least two rows. Arrays hold finite numbers and NaN for missing cells, frames also booleans, categories,
            strings, dates and durations.
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Non-negative; a weight of 2 is the row twice, a weight of 0 its absence. Their size matters a little, as the number
            of rows does: variances are divided by the total less one.
        X_val : array-like or frame of shape (n_val_rows, n_columns), default=None
            Rows to choose the number of epochs on, instead of some of X. They are not trained on.
        sample_weight_val : array-like of shape (n_val_rows,), default=None
            Weights of the rows of ``X_val``.

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
            Where a column has rare levels, which are taken as one, or nothing but such levels, and is left out.
        """
        with earlier_fit_kept(self):
            self._fit(X, sample_weight, X_val, sample_weight_val)
        return self

    def _fit(self, X: Any, sample_weight: Any, X_val: Any, sample_weight_val: Any) -> None:
        check_layer_sizes(hidden_layer_sizes=self.hidden_layer_sizes, decoder_layer_sizes=self.decoder_layer_sizes)
        device = resolve_device(self.device)
        goes_on = self.warm_start and hasattr(self, "module_")
        schema = self.schema_ if goes_on else Schema.of(X, self.categorical_features)
        rows = check_rows(self, X, schema, reset=not goes_on)
        n_levels = schema.n_levels if schema.columns else np.zeros(rows.shape[1], dtype=int)
        self._check_cells(X, rows, n_levels)
        table = merge_equal_rows(rows, check_weights(sample_weight, rows))
        held_out = self._held_out(X_val, sample_weight_val, schema, n_levels)
        scaling = self._scaling if goes_on else self._scaling_for(table, n_levels == 0)
        table, held_out = scaling.apply_to(table), held_out and scaling.apply_to(held_out)
        is_complete = table.is_complete and (held_out is None or held_out.is_complete)
        task = self._task(table, n_levels, is_complete, scaling.error_unit, device, goes_on)
        with _progress(self.verbose, type(self).__name__) as report:
            fit = fit_model(task, table, held_out, self.module_ if goes_on else None, report)
        self.device_ = device
        self.schema_ = schema
        self._scaling = scaling
        self._numbers = n_levels == 0
        self._in_unit_interval = self.likelihood == "bernoulli"
        self._seed = task.seed
        self.n_components_ = self._n_features_out = task.n_components
        self.penalties_ = _assemble.build_penalties(task.params, task.n_components)
        self._publish(fit, table, goes_on)

    def _task(
        self, table: Table, n_levels: np.ndarray, is_complete: bool, error_unit: float, device: torch.device, goes_on: bool
    ) -> Task:
        """What is to be fitted to a scaled table."""
        params = {**self.get_params(deep=False), **self._settings}
        is_told = _assemble.is_told(params, n_levels, is_complete)
        if goes_on:
            is_told = self._is_told_as_before(is_told)
        encoding = Encoding.of(table, n_levels) if is_told else None
        params = _assemble.resolved(params, encoding)
        n_components = self._resolve_n_components(table, params, encoding, goes_on)
        _assemble.check_variant(params, n_components)
        floors = least_variances(table)
        return Task(
            params=params,
            n_components=n_components,
            n_columns=table.rows.shape[1],
            unit_variance=1.0 / max(error_unit, np.finfo(np.float64).tiny),
            floors=floors if encoding is None else np.maximum(floors, resolutions(table)),
            device=device,
            seed=random_seed(self.random_state),
            encoding=encoding,
        )

    def _is_told_as_before(self, is_told: bool) -> bool:
        """Whether the encoder of the earlier fit, which this one goes on from, is told what is missing."""
        if self.module_.inputs.marked or not is_told:
            return bool(self.module_.inputs.marked)
        raise ValueError(
            "warm_start=True and X has missing cells, but the earlier fit's table was complete, and its model is not told what "
            "is missing. Set warm_start=False, or fill the cells in, e.g. with the impute method of the earlier fit."
        )

    def _held_out(self, X_val: Any, sample_weight_val: Any, schema: Schema, n_levels: np.ndarray) -> Table | None:
        if X_val is None:
            if sample_weight_val is not None:
                raise ValueError("sample_weight_val is given without X_val, the rows that it weighs; give both or neither.")
            return None
        if self.early_stopping is False:
            raise ValueError("X_val is given but early_stopping=False, so nothing would read it; use early_stopping='auto'.")
        rows = check_rows(self, X_val, schema, reset=False, name="X_val")
        self._check_cells(X_val, rows, n_levels)
        return merge_equal_rows(rows, check_weights(sample_weight_val, rows, "sample_weight_val"))

    def _check_cells(self, X: Any, rows: np.ndarray, n_levels: np.ndarray) -> None:
        if self.likelihood == "bernoulli":
            check_unit_interval(X, rows, n_levels == 0)

    def _scaling_for(self, table: Table, numbers: np.ndarray) -> Scaling:
        if self.likelihood == "bernoulli":
            return Scaling.none(table)
        return Scaling.standard(table, numbers) if self.standardize else Scaling.common(table, numbers)

    def _resolve_n_components(self, table: Table, params: Mapping[str, Any], encoding: Encoding | None, goes_on: bool) -> int:
        if self.n_components >= 1:
            return int(self.n_components)
        if goes_on:
            return self.n_components_
        if encoding is None:
            return principal_components(table).n_for_share(self.n_components)
        return _assemble.complete(params, table, MANY_COMPONENTS, encoding).components.n_for_share(self.n_components)

    def _publish(self, fit: Fit, table: Table, goes_on: bool) -> None:
        """Turn the outcome of a fit into the attributes that end in an underscore."""
        result = fit.result
        losses = [] if result is None else result.losses
        self.module_ = fit.model.eval()
        self.loss_curve_ = [*(self.loss_curve_ if goes_on else []), *losses]
        self._log_jacobian = float(np.average(self._scaling.log_jacobians(table.rows), weights=table.counts))
        self.validation_scores_ = None
        if result is not None and result.validation_losses:
            self.validation_scores_ = [self._log_jacobian - loss for loss in result.validation_losses]
        self.best_iter_ = 0 if result is None else result.best_iter
        self.n_iter_ = max(1, len(losses))
        variance = getattr(fit.model.likelihood, "variance", None)
        self.noise_variance_ = None
        if variance is not None and not variance.isnan().all():
            noise = variance.detach().cpu().double().numpy()[()] * self._scaling.error_unit
            self.noise_variance_ = np.where(np.isnan(self._scaling.mean), np.nan, noise) if variance.ndim else noise
        if result is not None and result.still_falling:
            warnings.warn(
                f"The loss was still falling in the last epoch, with max_iter={self.max_iter!r}. "
                "Raise max_iter, or learning_rate_init.",
                ConvergenceWarning,
                stacklevel=5,
            )

    # Applying

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        codes : ndarray of shape (n_rows, n_components_)
            In float32 where X is, else float64.
        """
        return self._map(lambda x: self.module_.encode(x), self._admit(X))

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes to the expected rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_components_)
            Codes, as ``transform`` returns them.

        Returns
        -------
        rows : ndarray or frame of shape (n_rows, n_features_in_)
            In the units of the input; a frame where the estimator was fitted on one, with the index of the codes where they
            are a frame.
        """
        check_is_fitted(self)
        codes = check_codes(self, X)
        rows = self._scaling.invert(self._map(self.module_.decode, codes, scaled=True))
        return self.schema_.restore(rows.astype(codes.dtype, copy=False), index_of(X))

    def reconstruct(self, X: Any) -> Any:
        """Encode rows and decode them again.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        rows : ndarray or frame of shape (n_rows, n_features_in_)
            What the model makes of each row, in the units of the input. A frame, with X's index, where X is one and the
            estimator was fitted on one; integers are then rounded.
        """
        rows = self._admit(X)
        result = self._expected(rows).astype(rows.dtype, copy=False)
        if library_of(X) == "numpy" and self.schema_.library != "numpy":
            return result
        return self.schema_.restore(result, index_of(X))

    def reconstruction_error(self, X: Any) -> np.ndarray:
        """Squared error of each row's reconstruction, summed over columns.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        errors : ndarray of shape (n_rows,)
            On standardised columns with ``standardize=True``, so that no column's unit dominates; in the squared unit of the
            input with ``standardize=False``. Integers are not rounded for it. Of categories the squared distance between the
            probabilities of the levels and the one that is there (Brier's score); missing cells have no error.
        """
        rows = self._admit(X)
        errors = self._map(lambda x: self.module_.squared_error(x).sum(1), rows, dtype=np.float64)
        return errors * self._scaling.error_unit

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-likelihood of each row given its own code, ``log p(x | encoder(x))``.

        Comparable between models with equally many components only: a larger code leaves less to be explained, and what the
        code itself costs is not counted. For the same reason it speaks against any penalty and corruption.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        scores : ndarray of shape (n_rows,)
            In nats, in the units of the input; higher is more normal.
        """
        rows = self._admit(X)
        scores = self._map(lambda x: self.module_.log_prob(x).sum(1, dtype=widest(x.device)), rows, dtype=np.float64)
        return scores + self._scaling.log_jacobians(rows)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of ``score_samples`` over rows, and like it comparable between codes of one size only.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        y : ignored

        Returns
        -------
        score : float
        """
        return float(self.score_samples(X).mean())

    def impute(self, X: Any) -> Any:
        """Fill in the missing cells of a table, and these alone.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        table : ndarray or frame of shape (n_rows, n_features_in_)
            X with what the model expects of each missing cell given the row's other cells: the mean of numbers and the most
            likely level of categories. Observed cells stay as they are, to the last bit, and so do a frame's dtypes and index.
            A row without any observed cell gets what the model expects of no row in particular. Columns that were missing
            altogether at fit, or were ignored, stay missing.
        """
        rows = self._admit(X)
        return self._completed(X, rows, self._expected(rows))

    def _expected(self, rows: np.ndarray) -> np.ndarray:
        """The expected cells of admitted rows."""
        return self._scaling.invert(self._map(self.module_.reconstruct, rows, dtype=np.float64))

    def _completed(self, X: Any, rows: np.ndarray, cells: np.ndarray) -> Any:
        if library_of(X) == "numpy":
            X = np.asarray(X, dtype=rows.dtype)
        return self.schema_.complete(X, cells)

    def score_cells(self, X: Any, given: Any = None) -> Any:
        """Log-likelihood of each cell given the code of its row, or that of another version of the row.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
            The cells to score.
        given : array-like or frame of shape (n_rows, n_features_in_), default=None
            The rows to encode; None is X itself. With cells of X left out, it tells how likely these are given the others.

        Returns
        -------
        scores : ndarray or frame of shape (n_rows, n_features_in_)
            In nats, a density in the units of the column for numbers and a probability for categories and booleans; NaN where
            the cell of X is missing. A frame where X is one, with its index.
        """
        cells = self._admit(X)
        rows = cells if given is None else self._admit(given)
        if rows.shape != cells.shape:
            raise ValueError(f"X has {len(cells)} rows and given {len(rows)}; they must be versions of the same rows.")
        both = self._scaling.apply(np.stack([rows, cells], axis=1))
        scores = self._map(self._log_prob_of_cells(), both, scaled=True, dtype=np.float64)
        scores = np.where(np.isnan(cells), np.nan, scores - np.log(self._scaling.scale))
        return table_like(X, scores)

    def _log_prob_of_cells(self) -> Callable[[Tensor], Tensor]:
        """From rows and the cells to score, ``(n_rows, 2, n_columns)``, to the score of each."""
        return lambda both: self.module_.log_prob_given(both[:, 0].contiguous(), both[:, 1].contiguous())

    def interpolate(self, X_start: Any, X_end: Any, n_steps: int = 10) -> Any:
        """Rows along the straight line between the codes of two rows, decoded.

        Parameters
        ----------
        X_start, X_end : array-like or frame of shape (n_rows, n_features_in_)
            Where each line starts and ends.
        n_steps : int, default=10
            Rows per line, both ends included; at least 2.

        Returns
        -------
        rows : ndarray or frame of shape (n_rows * n_steps, n_features_in_)
            Line after line.
        """
        check_is_fitted(self)
        check_count(2, n_steps=n_steps)
        start, end = (self._map(self.module_.encode, self._admit(X)) for X in (X_start, X_end))
        if start.shape != end.shape:
            raise ValueError(f"X_start has {len(start)} rows and X_end {len(end)}; each line needs one of both.")
        steps = np.linspace(0, 1, n_steps, dtype=start.dtype)[:, None]
        lines = start[:, None] + steps * (end - start)[:, None]
        return self.inverse_transform(lines.reshape(-1, self.n_components_))

    def encoder_jacobian(self, X: Any) -> np.ndarray:
        """Derivative of each row's code by its cells.

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
            Where there are columns of other things than numbers.
        """
        rows = self._admit_numbers(X, "encoder_jacobian")
        scaled = self._map(jacobian(self.module_.encode), rows, dtype=np.float64)
        return scaled / self._scaling.scale

    def tangent_space(self, X: Any, n_directions: int = 1) -> np.ndarray:
        """Directions in which the reconstruction of each row moves most when its code does.

        The leading left singular vectors of the decoder's Jacobian at the row's code: an orthonormal basis of the tangent space
        of the manifold that the decoder spans, the most sensitive direction first. For a linear model, the span of the
        principal axes.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        n_directions : int, default=1
            At most ``min(n_components_, n_features_in_)``.

        Returns
        -------
        directions : ndarray of shape (n_rows, n_directions, n_features_in_)
            Unit vectors in the units of the input, with the largest entry positive. In directions in which nothing moves they
            are arbitrary.

        Raises
        ------
        ValueError
            Where there are columns of other things than numbers.

        References
        ----------
        S. Rifai, Y. Dauphin, P. Vincent, Y. Bengio, X. Muller (2011). The manifold tangent classifier. NeurIPS.
        """
        rows = self._admit_numbers(X, "tangent_space")
        most = min(self.n_components_, self.n_features_in_)
        check_count(1, n_directions=n_directions)
        if n_directions > most:
            raise ValueError(f"n_directions={n_directions!r}, but the reconstruction moves in at most {most}; lower it.")
        codes = self._map(self.module_.encode, rows)
        scaled = self._map(jacobian(self.module_.decode), codes, scaled=True, dtype=np.float64)
        unit = self._scaling.scale * self._scaling.varies
        left = np.linalg.svd(scaled * unit[:, None], full_matrices=False)[0]
        directions = left[:, :, :n_directions].swapaxes(1, 2)
        largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=2, keepdims=True), axis=2)
        return directions * np.where(largest < 0, -1.0, 1.0)

    def _admit(self, X: Any) -> np.ndarray:
        return self._known(self._read(X))

    def _read(self, X: Any) -> np.ndarray:
        """The cells of a table as numbers."""
        check_is_fitted(self)
        rows = check_rows(self, X, self.schema_, reset=False)
        if self._in_unit_interval:
            check_unit_interval(X, rows, self._numbers)
        return rows

    def _known(self, rows: np.ndarray) -> np.ndarray:
        """The cells without those of columns of which nothing is known."""
        unknown = np.isnan(self._scaling.mean)  # columns that had no cell at fit
        return np.where(unknown, rows.dtype.type(np.nan), rows) if unknown.any() else rows

    def _admit_numbers(self, X: Any, method: str) -> np.ndarray:
        rows = self._admit(X)
        if not self._numbers.all():
            others = [name for name, is_number in zip(self.schema_.names, self._numbers, strict=True) if not is_number]
            raise ValueError(
                f"{method} is made of derivatives by cells, and column {others[0]!r} holds no numbers. "
                "Fit on the columns of numbers and dates alone."
            )
        return rows

    def _map(
        self,
        function: Callable[[Tensor], Tensor],
        rows: np.ndarray,
        scaled: bool = False,
        dtype: Any = None,
        n_passes: int = 1,
    ) -> np.ndarray:
        """``function`` of rows on the scale of the networks, block by block; ``scaled`` says that they are on it already."""
        like = next(self.module_.parameters())
        work = 2.0 * n_passes * CHUNK_ROWS * sum(p.numel() for p in self.module_.parameters())
        results = []
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            tensor = torch.from_numpy(block.copy() if scaled else self._scaling.apply(block))
            with threads_for(work):
                results.append(apply(function, tensor.to(like.dtype), self.device_).numpy())
        return np.concatenate(results).astype(dtype or rows.dtype, copy=False)

    def __getstate__(self) -> dict[str, Any]:
        """A state whose tensors are on the CPU, which opens on any machine."""
        state = super().__getstate__()
        if "module_" in state:
            state["module_"] = deepcopy(state["module_"]).cpu()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "module_" not in state:
            return
        if not is_available(self.device_):
            warnings.warn(
                f"This {type(self).__name__} was fitted on {str(self.device_)!r}, which is not available here; "
                "it goes on on the CPU.",
                UserWarning,
                stacklevel=2,
            )
            self.device_ = torch.device("cpu")
        self.module_.to(self.device_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@contextmanager
def earlier_fit_kept(estimator: BaseEstimator) -> Iterator[None]:
    """Put everything back as it was where a fit fails."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextmanager
def _progress(verbose: int, name: str) -> Iterator[Report | None]:
    """A progress bar per phase of the training, with epoch, loss and validation loss; or nothing."""
    if not verbose:
        yield None
        return
    bars: list[tqdm] = []

    def report(epoch: int, n_iter: int, loss: float, validation_loss: float | None) -> None:
        judged = {} if validation_loss is None else {"validation": f"{validation_loss:.4g}"}
        if epoch == 1:
            phase = "choosing epochs" if judged else "training"
            close()
            bars.append(tqdm(desc=f"{name}, {phase}", total=n_iter, unit="epoch"))
        bars[-1].set_postfix(loss=f"{loss:.4g}", **judged, refresh=False)
        bars[-1].update()

    def close() -> None:
        for bar in bars:
            bar.close()

    try:
        yield report
    finally:
        close()
