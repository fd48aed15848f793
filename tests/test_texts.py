"""Numbers and dates that are written as text are told, with the line that converts them."""

import datetime as dt
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skvae import AutoencoderTransformer
from skvae._tables.schema import Schema
from skvae._tables.texts import text_of
from tests.test_remedies import QUICK, lines_in, run

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 40
AMOUNTS = [round(37.5 * i**2 + 0.25 * i + 1, 2) for i in range(N)]  # from 1 to 57 000, no two alike
MOMENTS = [dt.datetime(2019, 11, 25, 0, 20, 55) + dt.timedelta(days=i, hours=i, seconds=i) for i in range(N)]
DAYS = [moment.replace(hour=0, minute=0, second=0) for moment in MOMENTS]


def with_commas(amount):
    return f"{amount:,.2f}"


def european(amount):
    return f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))


NUMBERS = {
    "plain": [str(amount) for amount in AMOUNTS],
    "spaces": [f" {amount} " for amount in AMOUNTS],
    "signs": [f"{(-1) ** i * amount:+}" for i, amount in enumerate(AMOUNTS)],
    "dollars": [f"${with_commas(amount)}" for amount in AMOUNTS],
    "minus dollars": [f"-${with_commas(amount)}" for amount in AMOUNTS],
    "thousands": [with_commas(amount) for amount in AMOUNTS],
    "decimal comma": [str(amount).replace(".", ",") for amount in AMOUNTS],
    "European": [european(amount) for amount in AMOUNTS],
    "euros": [f"{european(amount)} €" for amount in AMOUNTS],
    "French": [european(amount).replace(".", "\u202f") + "\xa0€" for amount in AMOUNTS],
    "Swiss": [with_commas(amount).replace(",", "'") for amount in AMOUNTS],
    "percent": [f"{amount} %" for amount in AMOUNTS],
    "exponents": [f"{amount:e}" for amount in AMOUNTS],
}
DATES = {
    "ISO": (MOMENTS, "%Y-%m-%d %H:%M:%S"),
    "ISO with T": (MOMENTS, "%Y-%m-%dT%H:%M:%S"),
    "ISO with Z": (MOMENTS, "%Y-%m-%dT%H:%M:%SZ"),
    "ISO with an offset": (MOMENTS, "%Y-%m-%dT%H:%M:%S+00:00"),
    "ISO days": (DAYS, "%Y-%m-%d"),
    "fractions": (MOMENTS, "%Y-%m-%d %H:%M:%S.%f"),
    "points": (MOMENTS, "%d.%m.%y %H:%M:%S"),
    "days with points": (DAYS, "%d.%m.%Y"),
    "American": (DAYS, "%m/%d/%Y"),
    "American, short": (DAYS, "%m/%d/%y"),
    "American, with half days": (MOMENTS, "%m/%d/%Y %I:%M:%S %p"),
    "British": (DAYS, "%d/%m/%Y"),
    "slashes": (DAYS, "%Y/%m/%d"),
    "names of months": (DAYS, "%d-%b-%Y"),
    "spaces around": (DAYS, " %d.%m.%Y "),
}
TEXTS = {name: (values, "number") for name, values in NUMBERS.items()} | {
    name: ([moment.strftime(form) for moment in moments], "datetime") for name, (moments, form) in DATES.items()
}
KINDS = {
    "pandas": pd.Series,
    "objects": lambda values: pd.Series(values, dtype=object),
    "string": lambda values: pd.Series(values, dtype="string[python]"),
    "Arrow": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.string())),
    "polars": pl.Series,
}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def frame_of(series, name="tot"):
    other = np.sin(np.arange(len(series)))
    return (
        pl.DataFrame({name: series, "b": other}) if isinstance(series, pl.Series) else pd.DataFrame({name: series, "b": other})
    )


def told(frame):
    """The warning that a schema gives, and the schema."""
    with pytest.warns(UserWarning, match="written as text") as caught:
        schema = Schema.of(frame)
    assert len(caught) == 1
    return str(caught[0].message), schema


def converted(frame):
    """The first column by the line in the warning, as numbers or moments; the fit after it warns of nothing."""
    message, _ = told(frame)
    (line,) = (line for line in lines_in(message) if "tot" in line)
    table = run(line, frame)
    AutoencoderTransformer(1, **QUICK).fit(table)
    return table["tot"], Schema.of(table).columns[0].kind


@each_kind
@pytest.mark.parametrize("name", TEXTS)
def test_the_line_in_the_warning_converts(name, make):
    values, kind = TEXTS[name]
    series, found = converted(frame_of(make(values)))
    assert found == kind
    if kind == "number":
        signs = {"signs": [(-1) ** i for i in range(N)], "minus dollars": [-1] * N}.get(name, [1] * N)
        np.testing.assert_allclose(np.array(series.to_list(), dtype=float), np.array(AMOUNTS) * signs, rtol=1e-6)
    else:
        moments = pd.to_datetime(pd.Series(series.to_list())).dt.tz_localize(None)
        assert moments.to_list() == [pd.Timestamp(moment) for moment in DATES[name][0]]


@each_kind
@pytest.mark.parametrize("blank", ["", " ", "N/A", "-", "unknown", "nan"])
@pytest.mark.parametrize("name", ["plain", "dollars", "European", "points", "ISO days"])
def test_blanks_become_missing(name, blank, make):
    values, kind = TEXTS[name]
    values = [blank if i % 7 == 0 else value for i, value in enumerate(values)]
    frame = frame_of(make([None, *values]))
    message, schema = told(frame)
    assert f"`, where {blank!r} becomes missing." in message
    assert schema.columns[0].text.blanks == (blank,)
    series, found = converted(frame)
    assert found == kind
    assert [pd.isna(value) for value in series.to_list()] == [True, *(i % 7 == 0 for i in range(N))]


@pytest.mark.parametrize("make", [pd.Series, pl.Series])
def test_the_warning_names_the_column_and_three_values(make):
    message, schema = told(frame_of(make(NUMBERS["dollars"])))
    assert "Column 'tot' has 40 categories in 40 rows" in message
    assert "look like numbers written as text, such as '$1.00', '$38.75', '$151.50'; convert them" in message
    assert "Drop" not in message
    assert schema.columns[0].kind == "ignored"
    assert "40 categories in 40 rows, numbers written as text" in repr(schema)
    message, schema = told(frame_of(make(TEXTS["points"][0])))
    assert "look like dates written as text, such as '25.11.19 00:20:55', " in message
    assert "dates written as text" in repr(schema)


def test_what_the_column_is_taken_for_does_not_change():
    values = [f"{i % 30 + 0.5}" for i in range(600)]
    message, schema = told(frame_of(pd.Series(values)))
    assert "Column 'tot' has 30 categories and is treated as categorical. Its values look like numbers" in message
    assert (schema.columns[0].kind, len(schema.columns[0].levels)) == ("category", 30)
    assert np.isfinite(schema.cells(frame_of(pd.Series(values)))).all()


def test_few_levels_are_a_category_without_a_word():
    frame = frame_of(pd.Series([f"{i % 20}.5" for i in range(200)]))
    assert Schema.of(frame).columns[0].text is None


def test_more_blanks_than_numbers():
    message, schema = told(frame_of(pd.Series(["1.5", "2.5", " ", "-", "N/A"])))
    assert "such as '1.5', '2.5'; convert" in message
    assert "where ' ', '-', 'N/A' becomes missing" in message
    assert schema.columns[0].kind == "category"


CODES = {
    "leading zeros": [f"{i:03}" for i in range(300)],
    "zip codes": [f"{10115 + 37 * i}" for i in range(300)],
    "zip codes of some digits": [f"{(501 + 331 * i) % 100000:05}" for i in range(300)],
    "four digits": [f"{1010 + 29 * i}" for i in range(300)],
    "telephone numbers": [f"{5550000000 + 7919 * i}" for i in range(300)],
    "telephone numbers of the world": [f"+{49301234567 + 10**9 * 7 * i}" for i in range(300)],
    "telephone numbers with dashes": [f"555-{100 + i}-{1000 + 7 * i}" for i in range(300)],
    "telephone numbers with spaces": [f"601 {200 + i} {300 + i}" for i in range(300)],
    "telephone numbers with brackets": [f"(555) {100 + i}-{1000 + 7 * i}" for i in range(300)],
    "names": [f"person {i}" for i in range(300)],
    "addresses": [f"192.168.{i % 256}.{i // 256}" for i in range(300)],
    "versions": [f"{i // 100}.{i // 10 % 10}.{i % 10}" for i in range(300)],
    "hexadecimal": [f"{i:06x}" for i in range(4096, 4396)],
    "times": [f"{i // 60:02}:{i % 60:02}" for i in range(300)],
    "mixed": [*(f"{i}.5" for i in range(299)), "twelve"],
    "blanks": [" " * i for i in range(300)],
}


@pytest.mark.parametrize("values", CODES.values(), ids=CODES)
def test_names_and_codes_are_no_numbers(values):
    assert text_of(values) is None


def test_years_are_numbers():
    assert text_of([str(year) for year in range(1950, 2020)]).kind == "number"


def test_a_declared_category_is_one():
    frame = frame_of(pd.Series(NUMBERS["plain"] * 20))
    for schema in [Schema.of(frame, ["tot"]), Schema.of(frame.astype({"tot": "category"}))]:
        assert schema.columns[0].kind == "category"
        assert schema.columns[0].text is None


def test_many_texts_are_looked_at_quickly():
    values = [f"{i}.5" for i in range(500_000)]
    start = time.perf_counter()
    assert text_of(values).kind == "number"
    assert time.perf_counter() - start < 2


def test_text_that_is_met_later_is_converted_as_it_is_written():
    """A column of numbers at fit, and of prices when applying."""
    estimator = AutoencoderTransformer(1, **QUICK).fit(frame_of(pd.Series(AMOUNTS)))
    with pytest.raises(ValueError, match="Column 'tot' of X has dtype") as caught:
        estimator.transform(frame_of(pd.Series(NUMBERS["dollars"])))
    (line,) = lines_in(caught.value)
    table = run(line, frame_of(pd.Series(NUMBERS["dollars"])))
    np.testing.assert_array_equal(estimator.transform(table), estimator.transform(frame_of(pd.Series(AMOUNTS))))
