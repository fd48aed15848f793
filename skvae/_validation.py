"""Validation of input. The only importer of scikit-learn's private helpers."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import _fit_context
from sklearn.utils import check_array, check_random_state
from sklearn.utils._array_api import get_namespace_and_device
from sklearn.utils._param_validation import HasMethods, Interval, MissingValues, RealNotInt, StrOptions
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_sample_weight,
    _get_feature_names,
    check_is_fitted,
    validate_data,
)
from torch import Tensor

from skvae._tables.libraries import as_table, library_of, series_of, without_objects
from skvae._tables.recognise import TO_FRAME, check_columns_of
from skvae._tables.remedies import finite
from skvae._tables.rows import BLOCK_ROWS
from skvae._tables.schema import Schema
from skvae._tables.sources import BLOCK_BYTES, Source, source_of
from skvae.core.device import widest

try:
    from sklearn.utils._array_api import move_to
except ImportError:  # before scikit-learn 1.8
    move_to = None

__all__ = [
    "TORN_DOWN_BY_SKLEARN",
    "HasMethods",
    "Interval",
    "MissingValues",
    "RealNotInt",
    "StrOptions",
    "array_library_of",
    "check_codes",
    "check_columns",
    "check_count",
    "check_is_fitted",
    "check_layer_sizes",
    "check_rows",
    "check_share",
    "check_tensor",
    "check_weights",
    "feature_names",
    "fit_context",
    "has_callbacks",
    "moved",
    "random_seed",
    "share_columns",
    "streamed",
]

FLOATS = [np.float64, np.float32]
LARGEST = np.finfo(np.float64).max / 4  # so that sums and differences of cells are finite
UNREADABLE = ("could not convert", "setting an array element")  # words of numpy about cells that are not numbers
LEAST_TOTAL, MOST_TOTAL = 1e-100, 1e100  # of weights, so that their products with squares are finite
TORN_DOWN_BY_SKLEARN = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")  # after a fit, by its decorator

fit_context = _fit_context(prefer_skip_nested_validation=True)
feature_names = _check_feature_names_in


def check_rows(
    estimator: Any, X: Any, schema: Schema, *, reset: bool, name: str = "X", in_unit_interval: bool = False
) -> np.ndarray:
    """The cells of a table as float32 or float64 numbers, NaN where missing, after its columns are checked against the fit's.

    Raises
    ------
    ValueError
        If the table has infinite or too large numbers, or numbers outside [0, 1] with ``in_unit_interval``; the message names
        the first column and row. Also for all that scikit-learn and the schema check.
    """
    X, least = as_table(X, name), 2 if reset else 1
    try:
        if library_of(X) == "numpy" or schema.library == "numpy":
            rows = _numbers(estimator, X, schema, reset=reset, ensure_min_samples=least)
        else:
            check_columns(estimator, X, reset=reset)
            rows = schema.cells(X, estimator.handle_unknown, name)
            rows = check_array(rows, dtype=FLOATS, order="C", ensure_all_finite=False, ensure_min_samples=least)
    except ValueError as error:
        if getattr(estimator, "warm_start", False) and "features as input" in str(error):
            raise ValueError(
                f"{error} With warm_start=True a fit keeps the columns of the earlier fit; set warm_start=False."
            ) from error
        raise
    infinite = _first(rows, lambda block: np.abs(block) > LARGEST)
    if infinite is not None:
        found = "infinity" if np.isinf(rows[infinite]) else f"{rows[infinite]:g}, which is too large to compute with"
        raise ValueError(
            f"Input {name} contains {found}: first in {_in_words(X, *infinite)}. {type(estimator).__name__} takes finite "
            f"numbers and missing values; replace infinities, e.g. {finite(library_of(X), name)}."
        )
    if in_unit_interval:
        _check_unit_interval(X, rows, schema.n_levels_of(rows.shape[1]) == 0)
    return rows


def check_tensor(estimator: Any, X: Tensor, schema: Schema, *, reset: bool, in_unit_interval: bool = False) -> Tensor:
    """A tensor of floating-point numbers on its device, checked as by ``check_rows``."""
    rows: Tensor = validate_data(estimator, X, reset=reset, dtype=_floats_of(X), ensure_all_finite=False, ensure_min_samples=1)
    largest = min(float(LARGEST), torch.finfo(rows.dtype).max)
    bad = (rows.abs() > largest) | ((rows < 0) | (rows > 1) if in_unit_interval else False)
    if bad.any():
        check_rows(estimator, rows.cpu().numpy(), schema, reset=reset, in_unit_interval=in_unit_interval)  # says where
    return rows


def _floats_of(X: Any) -> list[Any]:
    """The dtypes that a table of floating-point numbers may have; others are converted to the first."""
    return [widest(X.device), torch.float32] if isinstance(X, Tensor) else FLOATS


def array_library_of(X: Any) -> tuple[Any, Any] | None:
    """Library and device of an array that scikit-learn is set to dispatch on; None for numpy and for other objects."""
    is_array = isinstance(X, Tensor) or hasattr(X, "__array_namespace__")
    if not get_config()["array_api_dispatch"] or not is_array or move_to is None:
        return None
    library, _, device = get_namespace_and_device(X)
    return None if library.__name__.endswith("numpy") else (library, device)


def moved(array: Any, library: Any, device: Any) -> Any:
    """The array as an array of another library, on a device."""
    return move_to(array, xp=library, device=device)


def streamed(X: Any, block_bytes: int = BLOCK_BYTES) -> Source | None:
    """The blocks of a table that should not be held in memory; None for all other tables.

    Arrays are held in memory up to the size of scikit-learn's ``working_memory``.
    """
    return source_of(X, get_config()["working_memory"] * 2**20, block_bytes)


def check_columns(estimator: Any, X: Any, *, reset: bool) -> None:
    """Check the names and the number of a table's columns against the fit's, or take them over."""
    X = as_table(X)
    library = library_of(X)
    if library == "numpy":
        validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite=False)
    else:
        check_columns_of(X, library)
        validate_data(estimator, X, reset=reset, skip_check_array=True)


def share_columns(owner: Any, estimator: Any) -> None:
    """Copy the number and the names of the columns from the owner, which has checked them, to an estimator."""
    estimator.n_features_in_ = owner.n_features_in_
    if hasattr(owner, "feature_names_in_"):
        estimator.feature_names_in_ = owner.feature_names_in_


def _numbers(estimator: Any, X: Any, schema: Schema, **options: Any) -> np.ndarray:
    """The cells of a table that is not a frame."""
    if schema.library != "numpy" and not schema.is_plain:
        raise ValueError(
            f"X is not a data frame, but {type(estimator).__name__} was fitted on one with columns other than numbers; "
            "pass a frame with the same columns."
        )
    try:
        rows = validate_data(estimator, without_objects(X), dtype=FLOATS, order="C", ensure_all_finite=False, **options)
    except (TypeError, ValueError) as error:
        if isinstance(error, ValueError) and not any(words in str(error) for words in UNREADABLE):
            raise
        remedy = TO_FRAME if options["reset"] else "pass numbers, and NaN for missing values"
        found = f"{str(error).rstrip('.')} in {_text_column(X)}"
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{found}. Arrays hold numbers only: {remedy}, or drop the column.") from error
    return schema.cells(rows, estimator.handle_unknown) if schema.library == "numpy" and schema.columns else rows


def _check_unit_interval(X: Any, rows: np.ndarray, numbers: np.ndarray) -> None:
    """Refuse numeric cells outside [0, 1]."""
    bad = _first(rows, lambda block: ((block < 0) | (block > 1)) & numbers)
    if bad is not None:
        raise ValueError(
            f"likelihood='bernoulli' needs cells in [0, 1], but {_in_words(X, *bad)} holds {rows[bad]:g}. "
            "Scale X, e.g. with sklearn.preprocessing.MinMaxScaler, or use likelihood='gaussian'."
        )


def _first(rows: np.ndarray, are_bad: Callable[[np.ndarray], np.ndarray]) -> tuple[int, int] | None:
    """Row and column of the first bad cell; None if there is none."""
    for start in range(0, len(rows), BLOCK_ROWS):
        bad = are_bad(rows[start : start + BLOCK_ROWS])
        if bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            return start + row, column
    return None


def _in_words(X: Any, row: int, column: int) -> str:
    return f"row {row} of {_name(X, column)}"


def _text_column(X: Any) -> str:
    """The first column that cannot be converted to numbers, in words."""
    table = np.asarray(X, dtype=object) if library_of(X) == "numpy" else X
    if len(table.shape) != 2:
        return "X"
    for column, cells in enumerate(table.T if isinstance(table, np.ndarray) else series_of(table)):
        try:
            np.asarray(cells, dtype=np.float64)
        except (TypeError, ValueError):
            return _name(X, column)
    return "X"


def _name(X: Any, column: int) -> str:
    names = _get_feature_names(X)
    return f"column {column}" if names is None else f"column {names[column]!r}"


def check_count(least: int, **parameters: Any) -> None:
    """Refuse values that are not integers of at least ``least``."""
    for name, count in parameters.items():
        if not isinstance(count, Integral) or count < least:
            raise ValueError(f"{name}={count!r}; it must be an integer of at least {least}.")


def check_share(**parameters: Any) -> None:
    """Refuse values that are not numbers above 0 and below 1."""
    for name, share in parameters.items():
        if not isinstance(share, Real) or not 0 < float(share) < 1:
            raise ValueError(f"{name}={share!r}; it must be a number between 0 and 1, such as 0.1.")


def check_layer_sizes(**parameters: Any) -> None:
    """Refuse layer widths that are not positive integers; None means no widths."""
    for name, sizes in parameters.items():
        for size in () if sizes is None else sizes:
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(f"{name}={sizes!r} holds {size!r}; layer widths must be positive integers, e.g. (128, 64).")


def check_weights(sample_weight: Any, rows: np.ndarray, name: str = "sample_weight") -> np.ndarray | None:
    """Non-negative float64 weights, one per row and not all zero, or None."""
    if sample_weight is None:
        return None
    try:
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{name} cannot be used: {error}") from error
    if (weights < 0).any():
        raise ValueError(f"Negative values in data passed to {name}: {weights.min():g}; weights must be 0 or larger.")
    total = float(weights.sum())
    if total and not LEAST_TOTAL <= total <= MOST_TOTAL:
        raise ValueError(f"{name} sums to {total:g}, which is out of range; rescale it to a mean of 1.")
    if not total:
        raise ValueError(f"{name} is zero for all {len(weights)} rows; at least one row needs a positive weight.")
    return weights


def check_codes(estimator: Any, codes: Any) -> np.ndarray:
    """A checked table of codes, with one column per component of the estimator."""
    codes = codes if array_library_of(codes) is not None else without_objects(as_table(codes))
    codes = check_array(codes, dtype=_floats_of(codes), order="C", estimator=estimator, input_name="X")
    if codes.shape[1] != estimator.n_components_:
        raise ValueError(
            f"X has {codes.shape[1]} columns, but codes of this {type(estimator).__name__} have {estimator.n_components_}: "
            "pass what transform returns."
        )
    return codes


def has_callbacks(estimator: Any) -> bool:
    """Whether callbacks are set, or passed on by a pipeline or a search."""
    return bool(getattr(estimator, "_skl_callbacks", ()))


def random_seed(random_state: Any) -> int:
    """A seed for private generators.

    None draws a seed from the operating system. scikit-learn would draw from numpy's global generator, which would change the
    random numbers that the user's own code gets after a fit.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
