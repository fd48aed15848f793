"""Saved forms of dtypes, of frames, and of categories that are neither text nor numbers."""

import io
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from skvae._saving.form import Form


def _is_of_polars(value: Any, name: str) -> bool:
    """Whether a value is of a polars class; polars may not be installed."""
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(value, getattr(polars, name))


# Dtypes


def _parts_of_dtype(dtype: Any) -> list[Any]:
    """The library, then the dtype; dtypes of Arrow and polars in the format of their own files."""
    if isinstance(dtype, np.dtype):
        return ["numpy", dtype.str]
    if _is_of_polars(dtype, "DataType"):
        import polars as pl

        return ["polars", _ipc(pl.DataFrame(schema={"": dtype}))]
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        return ["arrow", np.frombuffer(pa.schema([("", dtype.pyarrow_dtype)]).serialize(), dtype=np.uint8)]
    if isinstance(dtype, pd.CategoricalDtype):
        levels = dtype.categories
        return ["category", None if levels is None else [levels.tolist(), levels.dtype], dtype.ordered]
    if isinstance(dtype, pd.StringDtype):
        return ["string", dtype.storage.removesuffix("_numpy"), dtype.na_value is not pd.NA]
    if isinstance(dtype, pd.DatetimeTZDtype):
        return ["zoned", dtype.unit, _parts_of_zone(dtype.tz)]
    return ["pandas", str(dtype)]


def _dtype(parts: list[Any]) -> Any:
    library, first, *others = parts
    if library == "polars":
        return _read_ipc(first).dtypes[0]
    if library == "arrow":
        import pyarrow as pa

        return pd.ArrowDtype(pa.ipc.read_schema(pa.py_buffer(np.asarray(first).tobytes())).field(0).type)
    if library == "category":
        return pd.CategoricalDtype(None if first is None else pd.Index(first[0], dtype=first[1]), others[0])
    if library == "string":
        return _string_dtype(first, *others)
    if library == "zoned":
        return pd.DatetimeTZDtype(first, others[0])
    return np.dtype(first) if library == "numpy" else pd.api.types.pandas_dtype(first)


def _string_dtype(storage: str, has_nan: bool) -> pd.StringDtype:
    """The dtype; before pandas 2.3, a single storage has NaN as its missing value."""
    if not has_nan:
        return pd.StringDtype(storage)
    try:
        return pd.StringDtype(storage, na_value=np.nan)
    except TypeError:
        return pd.StringDtype("pyarrow_numpy")


def _parts_of_zone(zone: Any) -> Any:
    """The name of a time zone, or the zone itself if pandas does not know the name."""
    try:
        known = str(pd.DatetimeTZDtype("ns", str(zone)).tz) == str(zone)
    except (TypeError, ValueError, KeyError):
        known = False
    return str(zone) if known else zone


def _ipc(frame: Any) -> np.ndarray:
    file = io.BytesIO()
    frame.write_ipc(file)
    return np.frombuffer(file.getvalue(), dtype=np.uint8)


def _read_ipc(content: np.ndarray) -> Any:
    import polars as pl

    return pl.read_ipc(io.BytesIO(np.asarray(content).tobytes()))


# Levels


def _parts_of_timestamp(moment: pd.Timestamp) -> list[Any]:
    return [int(moment.asm8.astype(np.int64)), moment.unit, moment.tz and _parts_of_zone(moment.tz)]


def _timestamp(parts: list[Any]) -> pd.Timestamp:
    ticks, unit, zone = parts
    moment = pd.Timestamp(np.datetime64(ticks, unit))
    return moment.tz_localize("UTC").tz_convert(zone) if zone else moment


def _timedelta(parts: list[Any]) -> pd.Timedelta:
    return pd.Timedelta(np.timedelta64(*parts))


def _period(parts: list[Any]) -> pd.Period:
    ordinal, freq = parts
    return pd.Period(ordinal=ordinal, freq=freq)


# Frames


def _parts_of_frame(frame: pd.DataFrame) -> list[Any]:
    axis = frame.columns
    cells = (frame.iloc[:, i] for i in range(frame.shape[1]))
    columns = [[series.dtype, series.to_numpy() if _is_plain(series) else series.tolist()] for series in cells]
    return [list(axis), axis.dtype, axis.name, len(frame), columns]


def _frame(parts: list[Any]) -> pd.DataFrame:
    names, dtype, name, n_rows, columns = parts
    series = {i: pd.Series(cells, dtype=own) for i, (own, cells) in enumerate(columns)}
    frame = pd.DataFrame(series, index=pd.RangeIndex(n_rows))
    frame.columns = pd.Index(names, dtype=dtype, name=name, tupleize_cols=False)
    return frame


def _is_plain(series: pd.Series) -> bool:
    return isinstance(series.dtype, np.dtype) and series.dtype != object


DTYPE = Form("dtype", _parts_of_dtype, _dtype)
POLARS_FRAME = Form("polars.DataFrame", _ipc, _read_ipc)
OF_TABLES: dict[type, Form] = {
    pd.DataFrame: Form("DataFrame", _parts_of_frame, _frame),
    pd.Timestamp: Form("Timestamp", _parts_of_timestamp, _timestamp),
    pd.Timedelta: Form("Timedelta", lambda span: [int(span.asm8.astype(np.int64)), span.unit], _timedelta),
    pd.Interval: Form("Interval", lambda some: [some.left, some.right, some.closed], lambda parts: pd.Interval(*parts)),
    pd.Period: Form("Period", lambda period: [period.ordinal, period.freqstr], _period),
    type(pd.NaT): Form("NaT", lambda _: None, lambda _: pd.NaT),
    type(pd.NA): Form("NA", lambda _: None, lambda _: pd.NA),
    Decimal: Form("Decimal", str, Decimal),
    date: Form("date", date.isoformat, date.fromisoformat),
    time: Form("time", time.isoformat, time.fromisoformat),
    datetime: Form("datetime", datetime.isoformat, datetime.fromisoformat),
    timedelta: Form("timedelta", lambda span: [span.days, span.seconds, span.microseconds], lambda parts: timedelta(*parts)),
    bytes: Form("bytes", bytes.hex, bytes.fromhex),
}


def form_of_table(value: Any) -> Form | None:
    """The form of a dtype, frame or category, of any library; None if there is none."""
    if isinstance(value, np.dtype | pd.api.extensions.ExtensionDtype) or _is_of_polars(value, "DataType"):
        return DTYPE
    return POLARS_FRAME if _is_of_polars(value, "DataFrame") else OF_TABLES.get(type(value))
