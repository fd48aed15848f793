"""Tables, weights and parameters of every kind, and what becomes of an estimator that is given them.

    python tests/generated_inputs.py --n 20000 --seed 0

counts what becomes of as many cases, and prints each kind of failure once, with a case that is as small as could be found and
that ``outcome`` repeats. Training may diverge where a learning rate, a weight decay or ``beta`` is extreme. Sizes that ask for
much work are left out.
"""

import argparse
import re
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.utils._param_validation import (
    InvalidParameterError,
    generate_invalid_param_val,
    generate_valid_param,
    make_constraint,
)

from skvae import (
    L1,
    AEAnomalyDetector,
    AutoencoderImputer,
    AutoencoderTransformer,
    Contractive,
    DiffusionNoise,
    KLSparsity,
    Masking,
    VAETransformer,
)

inf, nan = np.inf, np.nan  # as they stand in the repr of a case
Cells = Callable[[int, np.random.Generator], Any]

# Tables

NUMBERS: dict[str, Cells] = {
    "normal": lambda n, rng: rng.normal(size=n),
    "uniform": lambda n, rng: rng.random(n),
    "counts": lambda n, rng: rng.integers(0, 9, n).astype(float),
    "flags": lambda n, rng: (rng.random(n) < 0.3).astype(float),
    "constant": lambda n, rng: np.full(n, 3.7),
    "zeros": lambda n, rng: np.zeros(n),
    "copy": lambda n, rng: np.arange(n) % 7.0,  # every column of this kind is the same
    "holes": lambda n, rng: np.where(rng.random(n) < 0.4, nan, rng.normal(size=n)),
    "constant with holes": lambda n, rng: np.where(rng.random(n) < 0.4, nan, 1e6),
    "empty": lambda n, rng: np.full(n, nan),
    "one cell": lambda n, rng: np.where(np.arange(n) == 0, 2.5, nan),
    "heavy": lambda n, rng: rng.standard_cauchy(n) ** 3,
    "far": lambda n, rng: 1e12 + rng.normal(size=n),
    "large": lambda n, rng: 1e30 * rng.normal(size=n),
    "small": lambda n, rng: 1e-30 * rng.normal(size=n),
    "spike": lambda n, rng: np.where(np.arange(n) == n // 2, 1e9, 0.0),
}
EXTREME: dict[str, Cells] = {
    "larger": lambda n, rng: 1e200 * rng.normal(size=n),
    "largest": lambda n, rng: np.where(rng.random(n) < 0.5, 1e308, -1.7e308),
    "one is largest": lambda n, rng: np.where(np.arange(n) == n // 2, 1.7e308, rng.normal(size=n)),
    "smallest": lambda n, rng: 5e-324 * rng.integers(0, 3, n),
    "infinite": lambda n, rng: np.where(rng.random(n) < 0.2, -inf, rng.normal(size=n)),
}
OTHERS: dict[str, Cells] = {
    "booleans": lambda n, rng: rng.random(n) < 0.5,
    "small integers": lambda n, rng: rng.integers(-100, 100, n).astype(np.int8),
    "unsigned integers": lambda n, rng: rng.integers(0, 2**64 - 1, n, dtype=np.uint64),
    "half precision": lambda n, rng: rng.normal(size=n).astype(np.float16),
    "strings": lambda n, rng: _picked(["red", "green", "blue"], n, rng),
    "strings with holes": lambda n, rng: _picked(["red", "", None], n, rng),
    "names": lambda n, rng: pd.Series([f"name {i}" for i in range(n)], dtype=object),
    "one string": lambda n, rng: pd.Series(["same"] * n, dtype=object),
    "numbers as strings": lambda n, rng: pd.Series([str(i % 9) for i in range(n)], dtype=object),
    "nothing": lambda n, rng: pd.Series([None] * n, dtype=object),
    "categories": lambda n, rng: pd.Categorical.from_codes(rng.integers(-1, 3, n), ["low", "middle", "high"], ordered=True),
    "numeric categories": lambda n, rng: pd.Categorical.from_codes(rng.integers(0, 2, n), [1.5, 2.5]),
    "one category": lambda n, rng: pd.Categorical(["only"] * n),
    "no category": lambda n, rng: pd.Categorical([None] * n),
    "dates": lambda n, rng: pd.date_range("2024-01-01", periods=n, freq="7h"),
    "zoned dates": lambda n, rng: pd.date_range("2024-03-30", periods=n, freq="h", tz="Europe/Berlin"),
    "dates with holes": lambda n, rng: pd.Series(pd.date_range("1700-01-01", periods=n, freq="D")).where(rng.random(n) < 0.5),
    "no dates": lambda n, rng: pd.Series([pd.NaT] * n, dtype="datetime64[ns]"),
    "durations": lambda n, rng: pd.to_timedelta(rng.integers(0, 900, n), unit="s"),
    "nullable integers": lambda n, rng: pd.array(rng.integers(0, 9, n), dtype="Int64"),
    "nullable with holes": lambda n, rng: pd.Series(_picked([0, 1, 2, None], n, rng), dtype="Int32"),
    "nullable booleans": lambda n, rng: pd.Series(_picked([True, False, None], n, rng), dtype="boolean"),
    "nullable nothing": lambda n, rng: pd.Series([pd.NA] * n, dtype="Float64"),
    "nullable strings": lambda n, rng: pd.Series(_picked(["a", "b", None], n, rng), dtype="string"),
    "huge integers": lambda n, rng: pd.Series([10**30 + i for i in range(n)], dtype=object),
    "decimals": lambda n, rng: pd.Series([Decimal(i) / 3 for i in range(n)], dtype=object),
}
ODD: dict[str, Cells] = {
    "complex": lambda n, rng: rng.normal(size=n) + 1j,
    "mixed": lambda n, rng: _picked([1, "a", 2.5, None], n, rng),
    "lists": lambda n, rng: pd.Series([[1, 2]] * n, dtype=object),
    "bytes": lambda n, rng: _picked([b"a", b"b"], n, rng),
    "days": lambda n, rng: _picked([date(2024, 1, 1), date(2024, 2, 1), None], n, rng),
    "periods": lambda n, rng: pd.period_range("2024-01", periods=n, freq="D"),
    "sparse": lambda n, rng: pd.arrays.SparseArray(np.zeros(n)),
    "intervals": lambda n, rng: pd.interval_range(0, n),
}
KINDS = NUMBERS | EXTREME | OTHERS | ODD


def _picked(values: list[Any], n: int, rng: np.random.Generator) -> pd.Series:
    return pd.Series([values[i] for i in rng.integers(0, len(values), n)], dtype=object)


def _masked(X: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.masked_array(X, mask=X > 1)


def _read_only(X: np.ndarray) -> np.ndarray:
    X.flags.writeable = False
    return X


ARRAYS: dict[str, Callable[[np.ndarray], Any]] = {
    "float64": np.ascontiguousarray,
    "list": lambda X: X.tolist(),
    "Fortran order": np.asfortranarray,
    "every second column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "backwards": lambda X: X[::-1, ::-1],
    "read-only": _read_only,
    "masked": _masked,
    "csr": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_array,
    "big-endian": lambda X: X.astype(">f8"),
    "one row": lambda X: X[:1],
    "one-dimensional": lambda X: X.ravel(),
    "three-dimensional": lambda X: X[:, :, None],
    "a number": lambda X: 3.0,
    "None": lambda X: None,
    **{
        name: lambda X, name=name: X.astype(name)
        for name in ("float32", "float16", "int64", "int8", "uint64", "bool", "complex128", "object", "str", "M8[s]", "m8[s]")
    },
}
NAMES: dict[str, Callable[[int], Any]] = {
    "strings": lambda n: [f"c{j}" for j in range(n)],
    "integers": range,
    "mixed": lambda n: ["c" if j % 2 else j for j in range(n)],
    "duplicate": lambda n: ["c"] * n,
    "levels": lambda n: pd.MultiIndex.from_tuples([("a", j) for j in range(n)]),
    "dates": lambda n: pd.date_range("2024", periods=n),
    "unprintable": lambda n: ["\n" * (j + 1) for j in range(n)],
}


@dataclass(frozen=True)
class Table:
    """How to make a table."""

    container: str
    columns: tuple[str, ...]
    n_rows: int
    n_distinct: int = 60
    names: str = "strings"
    seed: int = 0

    def make(self) -> Any:
        rng = np.random.default_rng(self.seed)
        places = np.arange(self.n_rows) % self.n_distinct
        cells = [pd.Series(KINDS[kind](self.n_rows, rng)).iloc[places].reset_index(drop=True) for kind in self.columns]
        if self.container == "polars":
            return pl.DataFrame([_polars(f"c{j}", column) for j, column in enumerate(cells)])
        if self.container == "pandas":
            frame = pd.concat(cells, axis=1) if cells else pd.DataFrame(index=range(self.n_rows))
            return frame.set_axis(NAMES[self.names](len(cells)), axis=1) if cells else frame
        is_plain = set(self.columns) <= {*NUMBERS, *EXTREME}
        X = np.empty((self.n_rows, len(cells)), dtype=float if is_plain else object)
        for j, column in enumerate(cells):
            X[:, j] = column
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return ARRAYS[self.container](X)


def _polars(name: str, column: pd.Series) -> pl.Series:
    values = [None if np.ndim(value) == 0 and pd.isna(value) else value for value in column.tolist()]
    try:
        series = pl.Series(name, values, strict=False)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        series = pl.Series(name, values, dtype=pl.Object)
    return series.cast(pl.Categorical) if column.dtype == "category" and series.dtype == pl.String else series


WEIGHTS: dict[str, Callable[[int, np.random.Generator], Any]] = {
    "none": lambda n, rng: None,
    "uniform": lambda n, rng: rng.random(n),
    "integers": lambda n, rng: rng.integers(0, 3, n),
    "half zero": lambda n, rng: np.arange(n) % 2,
    "one row": lambda n, rng: (np.arange(n) == 0) * 1.0,
    "list": lambda n, rng: [1.0] * n,
    "scalar": lambda n, rng: 2.0,
    "tiny": lambda n, rng: np.full(n, 5e-324),
    "huge": lambda n, rng: np.full(n, 1e300),
    "zero": lambda n, rng: np.zeros(n),
    "negative": lambda n, rng: np.full(n, -1.0),
    "nan": lambda n, rng: np.full(n, nan),
    "infinite": lambda n, rng: np.full(n, inf),
    "short": lambda n, rng: np.ones(max(n - 1, 0)),
    "two columns": lambda n, rng: np.ones((n, 2)),
    "strings": lambda n, rng: ["heavy"] * n,
}

# Parameters

QUICK: dict[str, Any] = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
ESTIMATORS: dict[str, tuple[type, dict[str, Any]]] = {
    "AutoencoderTransformer": (AutoencoderTransformer, QUICK),
    "VAETransformer": (VAETransformer, QUICK | {"n_importance_samples": 4}),
    "AEAnomalyDetector": (AEAnomalyDetector, QUICK | {"n_components": 4}),
    "AutoencoderImputer": (AutoencoderImputer, QUICK | {"n_estimators": 1}),
}
USUAL: dict[str, tuple[Any, ...]] = {
    "hidden_layer_sizes": ((), (3,), [3, 2], np.array([3])),
    "decoder_layer_sizes": (None, (), (3,), [2, 3]),
    "n_components": (1, 2, 3, 0.5, 0.99, None, np.int64(2)),
    "activation": ("identity", "logistic", "tanh", "relu", "silu", "gelu"),
    "code_activation": ("identity", "logistic", "tanh", "relu"),
    "init": ("pca", "random"),
    "standardize": (True, False, "auto", "robust", "quantile"),
    "likelihood": ("auto", "gaussian", "gaussian_diag", "mse", "bernoulli"),
    "categorical_features": ("from_dtype", None, [0], ["c0"], [True, False, True], []),
    "handle_unknown": ("ignore", "error"),
    "corruption": ("auto", None, "gaussian", "masking", "swap", "salt_and_pepper", Masking(0.2), DiffusionNoise((0.1, 1.0))),
    "penalty": (None, "l1", "l2", "contractive", L1(0.1), KLSparsity(0.1), (L1(0.1), Contractive(0.1)), ()),
    "learning_rate_init": ("auto", 1e-3, 1e-12),
    "batch_size": ("auto", 1, 7, 10**6),
    "max_iter": (1, 2, 3),
    "n_iter_no_change": ("auto", 1, 3),
    "early_stopping": ("auto", True, False),
    "validation_fraction": (0.1, 0.5, 0.999, 1e-9),
    "support_fraction": (1.0, 0.5, 0.01),
    "contamination": (0.1, 0.5, "auto", 1e-12),
    "cv": ("auto", 2, 3, 100, KFold(3), [], [([0, 1], [2])]),
    "max_samples": (2, 10, 10**6),
    "n_neighbors": (1, 5, 10**6),
    "n_nonzero_coefs": (None, 1, 2),
    "beta": (1.0, 0.0, 0.1, 10.0),
    "beta_warmup": (0, 2),
    "n_importance_samples": (1, 5),
    "missing_values": (nan, None, 0, -999, "", "?", pd.NA),
    "min_value": (None, 0, -inf, [0.0]),
    "max_value": (None, 1, inf, [1.0]),
    "random_state": (0, np.int64(3)),
    "n_estimators": (1, 2),
    "verbose": (False, 0),
    "device": ("auto", "cpu"),
}
NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1, 1.0, 0.5, -0.5, 1e-300, 1e300, inf, -inf, nan, 2**63, 1j, "", "auto", "nonsense", b"pca",
    (), [], {}, [None], (0,), (-1,), (2.5,), ("a",), [[2]], [nan], np.array([]), np.array(2), np.zeros((2, 2)), object, len,
)  # fmt: skip
OF_WORK = {  # parameters that say how much is to be done, of which much may be asked for
    "hidden_layer_sizes", "decoder_layer_sizes", "n_components", "max_iter", "n_importance_samples", "n_estimators",
}  # fmt: skip
RARELY = st.sampled_from([True, *[False] * 15])
TOO_MUCH = {repr(2**63), "'auto'"}  # of these
MAY_DIVERGE = ("learning_rate_init", "weight_decay", "beta")  # where these are far beyond what is usual


def values_of(name: str, constraints: list[Any]) -> st.SearchStrategy[Any]:
    """Of a parameter: mostly what it may be, and sometimes what it may not."""
    made = [make_constraint(each) for each in constraints]
    usual = list(USUAL.get(name, ())) or [generate_valid_param(each) for each in made]
    nasty = [value for value in NASTY if name not in OF_WORK or repr(value) not in TOO_MUCH]
    for each in made:
        try:
            nasty.append(generate_invalid_param_val(each))
        except NotImplementedError:
            continue
    return RARELY.flatmap(lambda rare: st.sampled_from(nasty if rare else usual))


def params_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    constraints = ESTIMATORS[name][0]._parameter_constraints
    pairs = [values_of(key, constraints[key]).map(lambda value, key=key: (key, value)) for key in sorted(constraints)]
    return st.lists(st.sampled_from(pairs).flatmap(lambda pair: pair), max_size=4).map(dict)


# Cases


@dataclass(frozen=True)
class Case:
    """An estimator with parameters and what it is fitted to, anew or after an earlier fit."""

    estimator: str
    table: Table
    params: dict[str, Any] = field(default_factory=dict)
    weights: str = "none"
    earlier: bool = False


def _kinds(*mostly: dict[str, Cells], rarely: dict[str, Cells]) -> st.SearchStrategy[tuple[str, ...]]:
    usual = sorted(name for kinds in mostly for name in kinds)
    one = RARELY.flatmap(lambda rare: st.sampled_from(sorted(rarely) if rare else usual))
    return st.sampled_from([*range(9), *range(1, 6)]).flatmap(lambda n: st.lists(one, min_size=n, max_size=n).map(tuple))


def tables() -> st.SearchStrategy[Table]:
    sizes = {
        "n_rows": st.sampled_from([*range(61), *range(2, 61)]),
        "n_distinct": st.sampled_from([60, 60, 60, 5, 1]),
        "seed": st.integers(0, 9),
    }
    arrays = st.builds(
        Table,
        st.sampled_from(["float64"] * 25 + list(ARRAYS)),
        _kinds(NUMBERS, rarely=EXTREME),
        names=st.just("strings"),
        **sizes,
    )
    frames = st.builds(
        Table,
        st.sampled_from(["pandas", "polars"]),
        _kinds(NUMBERS, OTHERS, rarely=EXTREME | ODD),
        names=st.sampled_from(["strings"] * 25 + list(NAMES)),
        **sizes,
    )
    objects = st.builds(Table, st.sampled_from(["object", "list"]), _kinds(OTHERS, rarely=ODD), **sizes)
    return st.one_of(*[arrays] * 4, *[frames] * 4, objects)


def cases() -> st.SearchStrategy[Case]:
    weights = st.sampled_from(["none"] * 2 * len(WEIGHTS) + list(WEIGHTS))
    return st.sampled_from(sorted(ESTIMATORS)).flatmap(
        lambda name: st.builds(Case, st.just(name), tables(), params_of(name), weights, st.booleans())
    )


# What becomes of a case

CULPRITS = r"X\b|[Cc]olumn|data|feature|sample|row|weight|cell|missing|array|label|dtype|infinity|NaN"
OURS = re.compile(r"column|X\b|max_iter|level|row", re.IGNORECASE)
SECONDS = 20
OPTIONS: dict[str, Any] = {  # of hypothesis
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}
GOOD = np.random.default_rng(1).normal(size=(12, 3))


class Failed(Exception):  # noqa: N818
    """A case breaks what is promised."""


def outcome(case: Case) -> str:
    """What becomes of a case; raises where that is none of what is promised."""
    model, table = unfitted(case), case.table.make()
    before, state, start = dict(vars(model)), global_state(), time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(table, sample_weight=WEIGHTS[case.weights](case.table.n_rows, np.random.default_rng(0)))
        except (ValueError, TypeError, FloatingPointError) as error:
            result = refusal(case, error)
            _promise(vars(model).keys() == before.keys(), "a failed fit adds or removes attributes")
            _promise(all(vars(model)[name] is before[name] for name in before), "a failed fit changes attributes")
        else:
            result = "fitted"
            for name, cells, may_miss in results(model, table):
                _promise(are_finite(cells, may_miss), f"{name} is not finite")
    _promise(state == global_state(), "the global random state is changed")
    _promise(time.perf_counter() - start < SECONDS, "it takes long")
    for warning in caught:
        _promise(is_meant(warning), f"{warning.category.__name__}: {warning.message}")
    return result


def is_meant(warning: warnings.WarningMessage) -> bool:
    """Whether a warning is scikit-learn's of convergence, or one of those that tell the user about the table."""
    if warning.category is UserWarning:
        return OURS.search(str(warning.message)) is not None
    return issubclass(warning.category, ConvergenceWarning)


def _promise(holds: Any, broken: str) -> None:
    if not holds:
        raise Failed(broken)


def unfitted(case: Case) -> Any:
    """An estimator with the parameters of a case, that may have been fitted to something else before."""
    kind, quick = ESTIMATORS[case.estimator]
    model = kind(**quick)
    if case.earlier:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(GOOD)
    return model.set_params(**case.params)


def refusal(case: Case, error: Exception) -> str:
    """The kind of an error whose message says what is wrong."""
    if isinstance(error, FloatingPointError):
        given = [case.params[name] for name in MAY_DIVERGE if name in case.params]
        _promise(any(isinstance(value, Real) and value >= 0.5 for value in given), f"training diverges: {error}")
        return "diverged"
    names = "|".join(map(re.escape, ESTIMATORS[case.estimator][0]._parameter_constraints))
    is_plain = isinstance(error, InvalidParameterError) or type(error) in {ValueError, TypeError}
    if not (is_plain and re.search(rf"{CULPRITS}|{names}", str(error))):
        raise error
    return f"refused, {type(error).__name__}"


def results(model: Any, X: Any) -> Iterator[tuple[str, Any, np.ndarray | bool]]:
    """What each method says of a table, and which of these cells may be missing."""
    if isinstance(model, AEAnomalyDetector):
        for name in ("score_samples", "decision_function", "predict", "p_values"):
            yield name, getattr(model, name)(X), False
        yield "explain", model.explain(X), False
        return
    of_columns = (model.autoencoder_ if isinstance(model, AutoencoderImputer) else model)._fitted.is_empty
    if isinstance(model, AutoencoderImputer):
        filled = model.transform(X)
        is_ignored = model._is_ignored
        extra = np.zeros(model.add_indicator * len(model.indicator_features_), dtype=bool)
        kept = of_columns if model.keep_empty_features else is_ignored[~model._is_empty]
        yield "transform", filled, np.concatenate([kept, extra])
        yield "inverse_transform", model.inverse_transform(filled), True
        return
    codes = model.transform(X)
    for name in ("score_samples", "reconstruction_error"):
        yield name, getattr(model, name)(X), False
    for name in ("reconstruct", "impute"):
        yield name, getattr(model, name)(X), of_columns
    yield "transform", codes, False
    yield "score", model.score(X), False
    yield "inverse_transform", model.inverse_transform(codes), of_columns
    yield "interpolate", model.interpolate(X, X, 2), of_columns
    yield "score_cells", model.score_cells(X), np.isnan(model._admit(X))
    if model._fitted.is_number.all() and model._fitted.marginals.are_plain and model._fitted.scaling.scale.min() > 1e-300:
        for name in ("encoder_jacobian", "tangent_space"):
            yield name, getattr(model, name)(X), False
    if isinstance(model, VAETransformer):
        yield "sample", model.sample(3, random_state=0), of_columns
        yield "draws", model.impute(X, n_imputations=1, random_state=0)[0], of_columns
        yield "posterior", np.hstack(model.posterior(X)), False
        yield "elbo", model.elbo(X).total, False


def are_finite(cells: Any, may_miss: np.ndarray | bool) -> bool:
    """Whether no cell is infinite, and none missing but where it may be."""
    cells = _as_numbers(cells)
    return not np.isinf(cells).any() and not (np.isnan(cells) & ~np.asarray(may_miss)).any()


def _as_numbers(cells: Any) -> np.ndarray:
    """Numbers as they are, and 0 for other things, NaN where one is missing."""
    if isinstance(cells, pl.DataFrame):
        columns = [each.cast(pl.Float64) if each.dtype.is_numeric() else np.where(each.is_null(), nan, 0.0) for each in cells]
        return _in_columns(columns, cells.shape)
    if isinstance(cells, pd.DataFrame):
        columns = [cells.iloc[:, j] for j in range(cells.shape[1])]
        return _in_columns([_of_pandas(each) for each in columns], cells.shape)
    cells = np.asarray(cells)
    return _as_numbers(pd.DataFrame(cells).infer_objects()) if cells.dtype == object else cells.astype(float)


def _of_pandas(column: pd.Series) -> np.ndarray:
    is_number = pd.api.types.is_numeric_dtype(column)
    return column.to_numpy(float, na_value=nan) if is_number else np.where(column.isna(), nan, 0.0)


def _in_columns(columns: list[Any], shape: tuple[int, int]) -> np.ndarray:
    return np.array(columns, dtype=float).T.reshape(shape)


def global_state() -> tuple[Any, ...]:
    name, key, *rest = np.random.get_state()  # noqa: NPY002, it is the global state that is watched
    return name, key.tobytes(), *rest, torch.get_rng_state().numpy().tobytes()


# Many cases


def failure(case: Case) -> str | None:
    """In words that are the same for failures of one kind; None where there is none."""
    try:
        outcome(case)
    except Failed as error:
        return re.sub(r"[\d.]+", "#", f"{case.estimator}: {error}")
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        last = [frame for frame in frames if "skvae" in Path(frame.filename).parts][-1:] or frames[-1:]
        return f"{case.estimator}: {type(error).__name__} at {Path(last[0].filename).name}:{last[0].lineno}"
    return None


def smaller(case: Case) -> Iterator[Case]:
    """Cases that have one thing less."""
    table = case.table
    for name in case.params:
        yield replace(case, params={key: value for key, value in case.params.items() if key != name})
    for j in range(len(table.columns)):
        yield replace(case, table=replace(table, columns=table.columns[:j] + table.columns[j + 1 :]))
    for change in ({"n_rows": table.n_rows // 2}, {"n_rows": table.n_rows - 1}, {"n_distinct": 60}, {"names": "strings"}):
        if replace(table, **change) != table and table.n_rows > 0:
            yield replace(case, table=replace(table, **change))
    for change in ({"weights": "none"}, {"earlier": False}):
        if replace(case, **change) != case:
            yield replace(case, **change)


def smallest(case: Case) -> Case:
    """A case that fails in the same way, of which nothing can be taken away."""
    kind = failure(case)
    for candidate in smaller(case):
        if failure(candidate) == kind:
            return smallest(candidate)
    return case


def run(n: int, number: int) -> tuple[Counter, dict[str, Case]]:
    """Outcomes of as many cases, and the first case of each kind of failure."""
    counts, failures = Counter(), {}

    @seed(number)
    @settings(max_examples=n, **OPTIONS)
    @given(cases())
    def count(case: Case) -> None:
        try:
            counts[case.estimator, outcome(case)] += 1
        except Exception:
            kind = failure(case) or "only once"
            counts[case.estimator, "FAILED"] += 1
            failures.setdefault(kind, case)

    count()
    return counts, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20000, help="cases")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    counts, failures = run(args.n, args.seed)
    for (name, result), count in sorted(counts.items()):
        print(f"{count:6d}  {name}: {result}")  # noqa: T201
    for kind, case in sorted(failures.items()):
        print(f"\n{kind}\n  {smallest(case)}")  # noqa: T201


if __name__ == "__main__":
    main()
