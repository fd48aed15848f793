"""Admission of input. The only importer of scikit-learn's private helpers."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import _check_sample_weight, _get_feature_names, check_is_fitted, validate_data

__all__ = [
    "Interval",
    "RealNotInt",
    "StrOptions",
    "check_codes",
    "check_count",
    "check_is_fitted",
    "check_layer_sizes",
    "check_rows",
    "check_unit_interval",
    "check_weights",
    "fit_context",
    "random_seed",
]

fit_context = _fit_context(prefer_skip_nested_validation=True)


def check_rows(estimator: Any, X: Any, *, reset: bool, name: str = "X") -> np.ndarray:
    """A table of finite float32 or float64 numbers, its names and number of columns checked against the fit's.

    Raises
    ------
    ValueError
        With the first column and row that holds no finite number, beside all that scikit-learn checks.
    """
    try:
        rows = validate_data(
            estimator,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            order="C",
            ensure_all_finite=False,
            ensure_min_samples=2 if reset else 1,
        )
    except ValueError as error:
        if estimator.warm_start and "features as input" in str(error):
            raise ValueError(f"{error} With warm_start=True a fit goes on from the earlier one's columns.") from error
        if "could not convert" not in str(error):
            raise
        raise ValueError(
            f"{error} in {_text_column(X)}. Only numbers can be taken in: encode text, e.g. with "
            "sklearn.preprocessing.OneHotEncoder, or drop the column."
        ) from error
    if not np.isfinite(rows).all():
        where, cell = _first_cell(X, rows, ~np.isfinite(rows))
        value = "NaN" if np.isnan(cell) else "infinity"
        raise ValueError(
            f"Input {name} contains {value}: first in {where}. {type(estimator).__name__} takes finite numbers only; "
            "drop such rows or fill them, e.g. with sklearn.impute.SimpleImputer."
        )
    return rows


def check_unit_interval(X: Any, rows: np.ndarray) -> None:
    """Refuse cells that are no probabilities."""
    if rows.min() < 0 or rows.max() > 1:
        where, cell = _first_cell(X, rows, (rows < 0) | (rows > 1))
        raise ValueError(
            f"likelihood='bernoulli' needs cells in [0, 1], but {where} holds {cell:g}. "
            "Scale X, e.g. with sklearn.preprocessing.MinMaxScaler, or use likelihood='gaussian'."
        )


def _first_cell(X: Any, rows: np.ndarray, bad: np.ndarray) -> tuple[str, float]:
    """Where the first bad cell stands, in words, and what it holds."""
    row, column = np.argwhere(bad)[0]
    return f"row {row} of {_name(X, column)}", rows[row, column]


def _text_column(X: Any) -> str:
    """The first column that does not convert to numbers, in words."""
    for column, cells in enumerate(np.asarray(X, dtype=object).T):
        try:
            cells.astype(np.float64)
        except ValueError:
            return _name(X, column)
    return "X"


def _name(X: Any, column: int) -> str:
    names = _get_feature_names(X)
    return f"column {column}" if names is None else f"column {names[column]!r}"


def check_count(least: int, **parameters: Any) -> None:
    """Refuse what is no integer of at least this size."""
    for name, count in parameters.items():
        if not isinstance(count, Integral) or count < least:
            raise ValueError(f"{name}={count!r}; it must be an integer of at least {least}.")


def check_layer_sizes(**parameters: Any) -> None:
    """Refuse widths that are not positive integers; None is no widths at all."""
    for name, sizes in parameters.items():
        for size in () if sizes is None else sizes:
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(f"{name}={sizes!r} holds {size!r}; widths of layers are positive integers, e.g. (128, 64).")


def check_weights(sample_weight: Any, rows: np.ndarray, name: str = "sample_weight") -> np.ndarray | None:
    """Non-negative float64 weights, one per row and not all zero, or None."""
    if sample_weight is None:
        return None
    try:
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{name} cannot be used: {error}") from error
    if (weights < 0).any():
        raise ValueError(f"Negative values in data passed to {name}: {weights.min():g}; weights count repetitions.")
    if not weights.any():
        raise ValueError(f"{name} is zero for all {len(weights)} rows; at least one row needs a positive weight.")
    return weights


def check_codes(estimator: Any, codes: Any) -> np.ndarray:
    """A table of codes with as many columns as the estimator has components."""
    codes = check_array(codes, dtype=[np.float64, np.float32], order="C", estimator=estimator, input_name="X")
    if codes.shape[1] != estimator.n_components_:
        raise ValueError(
            f"X has {codes.shape[1]} columns, but codes of this {type(estimator).__name__} have {estimator.n_components_}: "
            "pass what transform returns."
        )
    return codes


def random_seed(random_state: Any) -> int:
    """A seed for private generators.

    None draws one from the operating system, where scikit-learn would draw from numpy's global generator and so change the
    numbers that the user's own code gets after a fit.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
