"""Admission of input. The only importer of scikit-learn's private helpers."""

from typing import Any

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import _check_sample_weight, _get_feature_names, check_is_fitted, validate_data

__all__ = ["Interval", "StrOptions", "check_codes", "check_is_fitted", "check_rows", "check_weights", "fit_context", "random_seed"]

fit_context = _fit_context(prefer_skip_nested_validation=True)


def check_rows(estimator: Any, X: Any, *, reset: bool) -> np.ndarray:
    """A table of finite float32 or float64 numbers, its names and number of columns checked against the fit's.

    Raises
    ------
    ValueError
        With the first column and row that holds no finite number, beside all that scikit-learn checks.
    """
    rows = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=[np.float64, np.float32],
        order="C",
        ensure_all_finite=False,
        ensure_min_samples=2 if reset else 1,
    )
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        names = _get_feature_names(X)
        where = f"column {column}" if names is None else f"column {names[column]!r}"
        value = "NaN" if np.isnan(rows[row, column]) else "infinity"
        raise ValueError(
            f"Input X contains {value}: first in row {row} of {where}. {type(estimator).__name__} takes finite numbers only; "
            "drop such rows or fill them, e.g. with sklearn.impute.SimpleImputer."
        )
    return rows


def check_weights(sample_weight: Any, rows: np.ndarray) -> np.ndarray | None:
    """Non-negative float64 weights, one per row and not all zero, or None."""
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError(f"sample_weight is zero for all {len(weights)} rows; at least one row needs a positive weight.")
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
