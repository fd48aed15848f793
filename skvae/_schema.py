"""What the columns of a table are, so that what comes out is what went in: array for array, frame for frame."""

from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np


@dataclass(frozen=True)
class Schema:
    """Container, column names and dtypes of the table that an estimator was fitted on.

    Attributes
    ----------
    library : {"numpy", "pandas", "polars"}
        "numpy" stands for everything that is no frame.
    names : tuple of str
        Empty for arrays.
    dtypes : tuple
        The frame library's own, one per column.
    kinds : tuple of str
        "boolean", or what numpy calls the numbers: "int8", "float64"...
    axis_name : hashable
        Of the columns of a pandas frame.
    """

    library: str
    names: tuple[str, ...] = ()
    dtypes: tuple[Any, ...] = ()
    kinds: tuple[str, ...] = ()
    axis_name: Any = None

    @classmethod
    def of(cls, X: Any) -> "Schema":
        """Read the schema of a table.

        Raises
        ------
        ValueError
            Where a column of a frame is not made of numbers.
        """
        library = library_of(X)
        if library == "numpy":
            return cls(library)
        kinds = tuple(_kind(name, dtype) for name, dtype in nw.from_native(X).schema.items())
        return cls(library, tuple(X.columns), tuple(X.dtypes), kinds, getattr(X.columns, "name", None))

    def restore(self, values: np.ndarray, index: Any = None) -> Any:
        """Put values, one column each, back into the container that the estimator was fitted on.

        Integers are rounded and booleans decided at one half. ``index`` is that of a pandas frame.
        """
        if self.library == "numpy":
            return values
        columns = [_castable(values[:, i], kind) for i, kind in enumerate(self.kinds)]
        if self.library == "polars":
            import polars as pl

            return pl.DataFrame([pl.Series(n, c).cast(t) for n, c, t in zip(self.names, columns, self.dtypes, strict=True)])
        import pandas as pd

        series = [pd.Series(c, index=index).astype(t) for c, t in zip(columns, self.dtypes, strict=True)]
        return pd.concat(series, axis=1).set_axis(pd.Index(self.names, name=self.axis_name), axis=1)


def library_of(X: Any) -> str:
    """The library of a data frame, "pandas" or "polars"; "numpy" for all else."""
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError("X is a lazy frame; call its collect method first.")
    if isinstance(frame, nw.DataFrame) and (frame.implementation.is_pandas() or frame.implementation.is_polars()):
        return str(frame.implementation.value)
    return "numpy"


def index_of(X: Any) -> Any:
    """The index of a pandas frame, None for all else."""
    return X.index if library_of(X) == "pandas" else None


def _kind(name: str, dtype: Any) -> str:
    if dtype.is_numeric() or dtype == nw.Boolean:
        return str(dtype).lower()
    raise ValueError(
        f"Column {name!r} has dtype {dtype}, and only columns of numbers can be taken in; "
        "convert it with astype(float) if it holds numbers, encode it, e.g. with sklearn's OneHotEncoder, or drop it."
    )


def _castable(values: np.ndarray, kind: str) -> np.ndarray:
    """Values that a cast to the column's dtype takes over as they are."""
    if kind == "boolean":
        return values >= 0.5
    if "int" not in kind:
        return values
    if not hasattr(np, kind):  # 128 bits
        return np.rint(values)
    lowest, highest = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
    if highest > np.iinfo(kind).max:  # the nearest float lies beyond
        highest = np.nextafter(highest, 0)
    return np.clip(np.rint(values), lowest, highest)
