"""Lines of code that repair a table, in the library of the table."""

from collections.abc import Sequence
from typing import Any

from skvae._tables.columns import Column
from skvae._tables.texts import text_of

PANDAS = {  # conversion of a column, by the start of its dtype or of the kind of its objects
    "period": "{column}.dt.to_timestamp()",
    "interval": "{column}.astype('category')",
    "sparse": "{column}.sparse.to_dense()",
    "date": "pd.to_datetime({column}, utc=True)",
    "timedelta": "pd.to_timedelta({column})",
    "time": "pd.to_timedelta({column}.astype(str), errors='coerce')",
    "bytes": "{column}.map(bytes.decode, na_action='ignore')",
    "binary": "{column}.map(bytes.decode, na_action='ignore')",
    "": "{column}.map(str, na_action='ignore')",
}
POLARS = {
    "time": "{column}.cast(pl.Duration)",
    "object": "pl.Series({name!r}, [str(value) for value in X[{name!r}]])",
    "": "{column}.cast(pl.String)",
}
EXPANDED = "pd.concat([X.drop(columns=[{name!r}]), {column}.apply(pd.Series).add_prefix({prefix!r})], axis=1)"
HALVES = "{{{prefix!r} + part: getattr(np, part)({column}.astype(complex)) for part in ['real', 'imag']}}"
PARTS = {  # split of a column into several
    "complex": f"X.assign(**{HALVES}).drop(columns=[{{name!r}}])",
    "list": EXPANDED,
    "struct": EXPANDED,
}
ELEMENTS = (
    "X.with_columns({column}.list.get(i, null_on_oob=True).alias({prefix!r} + str(i)) for i in range({size})).drop({name!r})"
)
POLARS_PARTS = {
    "list": ELEMENTS,
    "array": ELEMENTS.replace(".list.", ".arr."),
    "struct": "X.unnest({name!r})",
}
PANDAS_KINDS = {  # conversion of a column to another kind
    "text": "{column}.map(str, na_action='ignore')",
    "number": "pd.to_numeric({column}, errors='coerce')",
    "boolean": "{column} == {value!r}",
    "datetime": "pd.to_datetime({column}, format='mixed', errors='coerce')",
    "duration": "pd.to_timedelta({column}, errors='coerce')",
}
POLARS_KINDS = {
    "text": "{column}.cast(pl.String)",
    "number": "{column}.cast(pl.Float64, strict=False)",
    "boolean": "{column} == {value!r}",
    "datetime": "{column}.cast(pl.Int64).cast(pl.Datetime)",
    "duration": "{column}.cast(pl.Int64, strict=False).cast(pl.Duration)",
}


def expression(name: Any, library: str, table: str = "X") -> str:
    """An expression for a column."""
    return f"pl.col({name!r})" if library == "polars" else f"{table}[{name!r}]"


def assignment(name: Any, value: str, library: str, table: str = "X") -> str:
    """A line that replaces the values of a column."""
    return f"`{table} = {table}.with_columns({value})`" if library == "polars" else f"`{table}[{name!r}] = {value}`"


def without(names: Sequence[Any], library: str, table: str = "X") -> str:
    """A line that drops columns."""
    return f"`{table} = {table}.drop({'' if library == 'polars' else 'columns='}{list(names)!r})`"


def conversion(name: Any, found: str, library: str, size: int = 0) -> str:
    """Advice for an unusable column, with a line of code.

    ``found`` is the kind of its values, and ``size`` the largest number of elements in a cell.
    """
    column = expression(name, library)
    whole, parts = (POLARS, POLARS_PARTS) if library == "polars" else (PANDAS, PARTS)
    for start, line in parts.items():
        if found.startswith(start):
            return f"split it with `X = {line.format(column=column, name=name, prefix=f'{name} ', size=size)}`"
    value = next(value for start, value in whole.items() if found.startswith(start))
    return f"convert it with {assignment(name, value.format(column=column, name=name), library)}"


def reading(fitted: Column, values: Sequence[Any], library: str, table: str) -> str:
    """A line that converts a column with these values to its kind at fit."""
    column, kind, is_text = expression(fitted.name, library, table), fitted.kind, isinstance(values[0], str)
    if kind == "category":
        kind = "text" if isinstance(fitted.levels[0], str) else "number"
    text = text_of(list(dict.fromkeys(values))) if is_text else None
    if text is not None and text.kind == kind:
        value = text.converted(column, library)
    elif library == "polars" and is_text and kind == "datetime":
        value = f"{column}.str.to_datetime(strict=False)"
    else:
        value = (POLARS_KINDS if library == "polars" else PANDAS_KINDS)[kind].format(column=column, value=values[0])
    return assignment(fitted.name, value, library, table)


def zoned(name: Any, zone: Any, library: str, table: str) -> str:
    """A line that adds a time zone to a column of datetimes, or removes it."""
    column = expression(name, library, table)
    method, gaps = "dt.tz_localize", ", ambiguous='NaT', nonexistent='NaT'"
    if library == "polars":
        method, gaps = "dt.replace_time_zone", ", ambiguous='null', non_existent='null'"
    value = f"{column}.{method}({str(zone)!r}{gaps})" if zone else f"{column}.{method}(None)"
    return assignment(name, value, library, table)


def with_levels(name: Any, levels: Sequence[Any], library: str) -> str:
    """A line that adds categories to the dtype of a column."""
    column = expression(name, library)
    value = f"{column}.cast(pl.String)" if library == "polars" else f"{column}.cat.add_categories({list(levels)!r})"
    return assignment(name, value, library)


def finite(library: str, table: str) -> str:
    """A line that replaces infinite numbers by missing values."""
    values = {
        "pandas": f"{table}.replace([np.inf, -np.inf], np.nan)",
        "polars": f"{table}.with_columns(pl.col(pl.Float32, pl.Float64).replace([np.inf, -np.inf], None))",
        "numpy": f"np.where(np.isinf(np.asarray({table}, dtype=float)), np.nan, {table})",
    }
    return f"`{table} = {values[library]}`"
