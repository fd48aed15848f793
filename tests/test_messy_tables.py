"""Tables as people have them: wild cells, long tails, spikes, empty columns, many levels, small groups."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from skvae import AEAnomalyDetector, AnomalyDisplay, AutoencoderImputer, AutoencoderTransformer, VAETransformer
from skvae._fitted import expected_jointly

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = {"n_estimators": 1, "hidden_layer_sizes": (32,), "max_iter": 30, "random_state": 0}


def people(n: int = 1200) -> pd.DataFrame:
    """Ages with two impossible ones and one that is far beyond all bounds."""
    rng = np.random.default_rng(0)
    ages, hours, dept = rng.integers(18, 66, n), rng.normal(38, 4, n), rng.choice(list("abcd"), n)
    table = pd.DataFrame({"age": ages, "hours": hours, "dept": dept})
    table.loc[[7, 8, 9], "age"] = [329, -1726, 99_999_999_999]
    return table


def gauges(n: int = 800) -> pd.DataFrame:
    """Rain at six places near each other, most of it zero, none of it negative."""
    rng = np.random.default_rng(0)
    weather = 0.9 * rng.normal(size=(n, 1)) + 0.45 * rng.normal(size=(n, 6))
    rain = np.where(weather > 0.25, np.round(3 * np.expm1(weather), 1), 0)
    return pd.DataFrame(np.maximum(rain, 0), columns=[f"gauge {i}" for i in range(6)])


# One wild cell


@pytest.mark.parametrize("is_mixed", [True, False], ids=["mixed", "numbers"])
def test_wild_cells_do_not_decide_what_is_filled_in(is_mixed):
    table = people().astype({"age": float})
    table.loc[20:140, "age"] = np.nan
    filled = AutoencoderImputer(**SHORT).fit_transform(table if is_mixed else table[["age", "hours"]])
    assert filled.loc[20:140, "age"].between(18, 65).all()


@pytest.mark.parametrize("cell", [1e9, -1e15])
def test_a_wild_cell_does_not_hide_the_others_of_its_column(cell):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 5))
    spoiled = X.copy()
    spoiled[0, 0] = cell
    model = AutoencoderTransformer(3, hidden_layer_sizes=(), standardize="robust", random_state=0).fit(spoiled)
    others = X[1:]
    np.testing.assert_allclose(model.reconstruct(others), others, atol=1e-6)
    assert model.reconstruct(spoiled)[0, 0] == pytest.approx(cell, rel=1e-6)


# Spikes and bounds


def test_dry_stays_dry_and_nothing_is_negative():
    table = gauges()
    hidden = np.random.default_rng(1).random(table.shape) < 0.15
    filled = AutoencoderImputer(hidden_layer_sizes=(64,), random_state=0).fit_transform(table.mask(hidden)).to_numpy()[hidden]
    truth = table.to_numpy()[hidden]
    assert (filled >= 0).all()
    assert (filled[truth == 0] == 0).mean() > 0.9
    others = by_regression(table.mask(hidden), table).to_numpy()[hidden]
    assert np.sqrt(np.mean((filled - truth) ** 2)) < np.sqrt(np.mean((others - truth) ** 2))


def by_regression(holed: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Each column by a regression on the others as they are, which no imputer knows."""
    filled = holed.copy()
    for name in table:
        seen, others = holed[name].notna(), table.drop(columns=name)
        filled.loc[~seen, name] = LinearRegression().fit(others[seen], holed.loc[seen, name]).predict(others[~seen])
    return filled


def test_fills_stay_in_the_observed_range():
    rng = np.random.default_rng(0)
    x = rng.random(300)
    table = np.column_stack([x, 3 * x, -x])
    holed = np.where(rng.random(table.shape) < 0.2, np.nan, table)
    filled = AutoencoderImputer(**SHORT).fit(holed[:150]).transform(holed)
    low, high = np.nanmin(holed[:150], axis=0), np.nanmax(holed[:150], axis=0)
    assert ((filled >= low) & (filled <= high))[np.isnan(holed)].all()


@pytest.mark.parametrize("bounds", [(0.4, 0.6), ([0.4, 0.4], [0.6, 0.6])])
@pytest.mark.parametrize("sample_posterior", [False, True])
def test_bounds_may_be_given(bounds, sample_posterior):
    holed = np.random.default_rng(0).random((100, 2))
    holed[::4, 1] = np.nan
    low, high = bounds
    imputer = AutoencoderImputer(min_value=low, max_value=high, sample_posterior=sample_posterior, **SHORT)
    filled = imputer.fit_transform(holed)
    assert ((filled[::4, 1] >= 0.4) & (filled[::4, 1] <= 0.6)).all()
    np.testing.assert_array_equal(filled[1], holed[1])


@pytest.mark.parametrize("name", ["min_value", "max_value"])
def test_bounds_are_one_or_one_for_each_column(name):
    table = np.random.default_rng(0).random((20, 3))
    with pytest.raises(ValueError, match=rf"{name} has shape \(2,\), but X has 3 columns"):
        AutoencoderImputer(**{name: [0.0, 1.0]}, **SHORT).fit(table)
    AutoencoderImputer(**{name: [0.5, 0.5, 0.5]}, **SHORT).fit(table)


# Empty columns


def with_an_empty_column(library: str) -> object:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    table.loc[::5, "a"] = np.nan
    table["b"] = np.nan
    if library == "polars":
        return pytest.importorskip("polars").from_pandas(table)
    return table.to_numpy() if library == "numpy" else table


@pytest.mark.parametrize("library", ["numpy", "pandas", "polars"])
def test_empty_columns_are_left_out(library):
    table = with_an_empty_column(library)
    with pytest.warns(UserWarning, match="column '(b|x1)'.*keep_empty_features=True"):
        imputer = AutoencoderImputer(add_indicator=True, **SHORT).fit(table)
    filled = imputer.transform(table)
    assert filled.shape == (60, 3)
    assert not np.isnan(np.asarray(filled, dtype=float)).any()
    names = imputer.get_feature_names_out().tolist()
    assert names == (["x0", "x2", "missingindicator_x0"] if library == "numpy" else ["a", "c", "missingindicator_a"])
    if library != "numpy":
        assert list(filled.columns) == names


@pytest.mark.parametrize("library", ["numpy", "pandas", "polars"])
def test_empty_columns_may_be_kept(library):
    table = with_an_empty_column(library)
    filled = AutoencoderImputer(keep_empty_features=True, **SHORT).fit_transform(table)
    np.testing.assert_array_equal(np.asarray(filled, dtype=float)[:, 1], 0)


def test_the_next_step_of_a_pipeline_gets_a_complete_table():
    table = with_an_empty_column("numpy")
    with pytest.warns(UserWarning, match="left out"):
        make_pipeline(AutoencoderImputer(**SHORT), LinearRegression()).fit(table, table[:, 2])


# Several models


def test_the_imputer_fills_in_the_mean_of_its_models():
    table = np.random.default_rng(0).normal(size=(80, 3))
    table[::3, 0] = np.nan
    imputer = AutoencoderImputer(**SHORT | {"n_estimators": 3, "early_stopping": False}).fit(table)
    fills = [model.impute(table)[::3, 0] for model in imputer.estimators_]
    assert len(fills) == 3
    assert not np.array_equal(fills[0], fills[1])
    np.testing.assert_allclose(imputer.transform(table)[::3, 0], np.mean(fills, axis=0), rtol=1e-5)


def test_levels_are_those_of_the_mean_probability():
    table = people(200).drop(columns="age")
    imputer = AutoencoderImputer(**SHORT | {"n_estimators": 2}).fit(table)
    models = [model._fitted for model in imputer.estimators_]
    holed = table.assign(dept=None)
    rows = models[0].schema.cells(holed)
    scores = [model.score_cells(table.assign(dept=level), given=holed) for model in imputer.estimators_ for level in "abcd"]
    probabilities = np.mean(np.exp(np.array([each["dept"] for each in scores]).reshape(2, 4, -1)), axis=0)
    np.testing.assert_array_equal(expected_jointly(models, rows)[:, 1], probabilities.argmax(axis=0))


# Long tails


def test_a_cell_costs_what_its_tail_makes_likely():
    """In a normal distribution of the column's own variance the largest cell of 2000 would cost hundreds of nats."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"price": np.exp(2 * rng.normal(size=2000)), "kind": rng.choice(list("ab"), 2000)})
    model = VAETransformer(1, max_iter=5, early_stopping=False, random_state=0).fit(table)
    largest = table.loc[[table["price"].idxmax()]]
    typical = model.score_cells(table)["price"].median()
    assert typical - model.score_cells(largest)["price"].iloc[0] < 20
    price = table["price"]
    assert 0.5 * ((price.max() - price.mean()) / price.std()) ** 2 > 200


# Levels


@pytest.mark.filterwarnings("ignore:Column 'day'")
def test_no_level_is_flagged_for_its_place_in_the_alphabet():
    rng = np.random.default_rng(0)
    days = np.repeat([f"{day:%Y-%m-%d}" for day in pd.date_range("2024-01-01", periods=300)], 12)
    table = pd.DataFrame({"day": days, "x": rng.normal(size=3600), "y": rng.normal(size=3600)})
    flagged = AEAnomalyDetector(contamination=0.1, random_state=0).fit_predict(table) == -1
    assert 0.07 < flagged[:1200].mean() < 0.13
    assert 0.07 < flagged[1200:].mean() < 0.13


# Where there is nothing to learn


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32])
def test_a_table_that_pca_restores_is_not_trained_on(dtype):
    X = (np.random.default_rng(0).random((60, 2)) > 0.5).astype(dtype)
    model = AutoencoderTransformer(2, max_iter=3, early_stopping=False).fit(X)
    np.testing.assert_allclose(model.reconstruct(X), X, atol=1e-5)


# Small groups


@pytest.mark.parametrize("support_fraction", ["auto", 0.8])
def test_a_group_of_a_tenth_is_not_flagged_wholesale(support_fraction):
    rng = np.random.default_rng(0)
    n = 2000
    phone = rng.random(n) < 0.9
    table = pd.DataFrame(
        {
            "phone": np.where(phone, "Yes", "No"),
            "lines": np.where(phone, rng.choice(["Yes", "No"], n), "No phone service"),
            "charge": np.where(phone, rng.normal(60, 20, n), rng.normal(40, 10, n)),
            "internet": rng.choice(["dsl", "fiber", "no"], n),
        }
    )
    detector = AEAnomalyDetector(contamination=0.1, support_fraction=support_fraction, random_state=0).fit(table)
    flagged = detector.predict(table) == -1
    expected = detector.explain(table, return_expected=True)[1]
    assert flagged[~phone].mean() < 0.35
    assert (expected["phone"][~phone] == "No").mean() > 0.9


# Wild cells, for the detector


def test_wild_cells_are_the_oddest_and_hide_no_others():
    table = people()
    detector = AEAnomalyDetector(random_state=0).fit(table)
    contributions, expected = detector.explain(table, return_expected=True)
    assert set(np.argsort(detector.score_samples(table))[:3]) == {7, 8, 9}
    assert (contributions.loc[[7, 8, 9]].idxmax(axis=1) == "age").all()
    assert expected["age"].between(18, 65).all()


# Clocks


def log(n: int = 1200, zone: str | None = "Europe/Berlin", broken: bool = False) -> pd.DataFrame:
    """A measurement each hour that follows the hour of the day; ``broken`` measures noon at midnight."""
    rng = np.random.default_rng(0)
    moments = pd.date_range("2024-01-01", periods=n, freq="h", tz=zone)
    phase = 2 * np.pi * moments.hour / 24 + (np.pi if broken else 0)
    return pd.DataFrame({"t": moments, "x": np.sin(phase) + 0.1 * rng.normal(size=n), "y": rng.normal(size=n)})


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_later_rows_are_not_odd_for_being_later(library, shuffled):
    table = log()
    past, later = table[:800].sample(frac=1, random_state=0) if shuffled else table[:800], table[800:]
    if library == "polars":
        past, later = map(pytest.importorskip("polars").from_pandas, (past, later))
    detector = AEAnomalyDetector(contamination=0.01, random_state=0).fit(past)
    assert "clock" in repr(detector._schema)
    assert (detector.predict(later) == -1).mean() < 0.03


def test_the_hour_of_the_day_counts():
    table = log()
    detector = AEAnomalyDetector(contamination=0.01, random_state=0).fit(table[:800])
    broken = detector.predict(log(broken=True)[800:]) == -1
    assert broken.mean() > 0.3


def test_clocks_come_back():
    table = log(200)
    model = AutoencoderTransformer(3, max_iter=2, early_stopping=False, random_state=0).fit(table)
    assert model._fitted.marginals.columns[0] is None  # later rows go on where the table ends
    back = model.reconstruct(table)["t"]
    assert back.dtype == table["t"].dtype
    assert (back - table["t"]).abs().max() < pd.Timedelta("1h")
    detector = AEAnomalyDetector(random_state=0).fit(table)
    assert detector.explain(table, return_expected=True)[1]["t"].isna().all()


def test_birthdays_in_any_order_are_no_clock():
    rng = np.random.default_rng(0)
    days = pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9000, 300), unit="D")
    model = AutoencoderTransformer(1, max_iter=2, early_stopping=False).fit(
        pd.DataFrame({"born": days, "x": rng.normal(size=300)})
    )
    assert "clock" not in repr(model.schema_)


def test_days_of_clocks_are_drawn_in_full():
    pytest.importorskip("matplotlib")
    table = log(200)
    display = AnomalyDisplay.from_estimator(AEAnomalyDetector(random_state=0).fit(table), table, n_rows=3)
    texts = {text.get_text() for text in display.axes_[1].texts}
    assert any(text.startswith("2024-01-") and len(text) == len("2024-01-01") for text in texts)


@pytest.mark.parametrize("typo", ["2004-01-05 04:00", "1970-01-01"])
def test_a_mistyped_moment_does_not_make_a_season(typo):
    rng = np.random.default_rng(0)
    past = pd.DataFrame({"t": pd.date_range("2024-01-01", periods=500, freq="h"), "v": rng.normal(size=500)})
    past.loc[100, "t"] = pd.Timestamp(typo)
    later = pd.DataFrame({"t": pd.date_range("2024-05-01", periods=500, freq="h"), "v": rng.normal(size=500)})
    assert (AEAnomalyDetector(random_state=0).fit(past).predict(later) == -1).mean() < 0.2


def test_a_table_of_nothing_but_wild_rows_is_learned_from():
    table = np.random.default_rng(0).normal(size=(60, 60))
    table[np.diag_indices(60)] = 1e9
    detector = AEAnomalyDetector(random_state=0).fit(table)
    assert np.isfinite(detector.score_samples(table)).all()
    assert detector._oddness.training.learned.sum() >= 40


# Bounds of some columns only


def dated(n: int = 200) -> pd.DataFrame:
    z = np.random.default_rng(0).normal(size=n)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.round(100 * z), unit="D")
    return pd.DataFrame({"z": z, "day": days}).astype({"day": "datetime64[us]"})


def test_bounds_leave_dates_alone():
    holed = dated().copy()
    holed.loc[::4, "day"] = pd.NaT
    plain, bounded = (AutoencoderImputer(min_value=low, **SHORT).fit_transform(holed)["day"] for low in (None, 0.0))
    pd.testing.assert_series_equal(plain, bounded)


def test_a_column_without_a_bound_has_that_of_the_table():
    holed = np.random.default_rng(0).random((100, 2))
    holed[::4] = np.nan
    plain, bounded = (AutoencoderImputer(min_value=low, **SHORT).fit_transform(holed) for low in (None, [0.9, None]))
    assert (bounded[::4, 0] == 0.9).all()
    np.testing.assert_array_equal(bounded[:, 1], plain[:, 1])


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"min_value": 5, "max_value": 1}, "min_value is 5, above the max_value of 1, for column 0"),
        ({"min_value": ["a", "b"]}, r"min_value=\['a', 'b'\]; it must be a number"),
    ],
)
def test_bounds_that_are_none(bounds, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderImputer(**bounds, **SHORT).fit(np.random.default_rng(0).random((20, 2)))


# Extremes of floating point


@pytest.mark.parametrize("unit", [1e160, 1e300, 1e-300, 1e-310])
@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_units_may_be_extreme(kind, unit):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"q": rng.normal(size=300) * unit, "c": rng.choice(list("xy"), 300)})
    model = kind(1, max_iter=2, early_stopping=False, random_state=0).fit(table)
    assert np.isfinite(model.reconstruct(table)["q"]).all()


@pytest.mark.parametrize("cell", [1e300, -1e300])
def test_a_cell_may_be_as_large_as_floats_are(cell):
    table = people()[["hours", "dept"]]
    table.loc[3, "hours"] = cell
    model = AutoencoderTransformer(2, max_iter=2, early_stopping=False, random_state=0).fit(table)
    assert np.isfinite(model.score_samples(table)).all()


# Held-out rows


def test_scores_of_held_out_rows_are_in_the_units_of_their_own_cells():
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    table = pd.DataFrame({"a": z, "b": z + 0.3 * rng.normal(size=300), "u": z + 0.3 * rng.normal(size=300)})
    held_out = table.sample(150, random_state=0).assign(u=np.nan) + 0.01
    one, thousand = (
        AutoencoderTransformer(1, hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(
            table.assign(u=f * z), X_val=held_out
        )
        for f in (1.0, 1000.0)
    )
    assert one.validation_scores_[0] == pytest.approx(thousand.validation_scores_[0], abs=1e-4)  # at the start


# Arrays of other things than numbers


@pytest.mark.parametrize("estimator", [AutoencoderTransformer(1), AEAnomalyDetector(), AutoencoderImputer()])
def test_arrays_of_dates_become_frames(estimator):
    X = np.arange(60).reshape(30, 2).astype("M8[D]")
    with pytest.raises(TypeError, match="array of dates") as refusal:
        estimator.fit(X)
    names = {"X": X, "pd": pd}
    exec(str(refusal.value).split("`")[1], names)
    estimator.set_params(max_iter=2).fit(names["X"])


def test_masked_cells_are_missing():
    table = np.random.default_rng(0).normal(size=(60, 2))
    masked = np.ma.MaskedArray(table.copy(), mask=False)
    masked[::5, 0] = 1e6
    masked[::5, 0] = np.ma.masked
    holed = np.where(np.ma.getmaskarray(masked), np.nan, table)
    np.testing.assert_array_equal(
        AutoencoderImputer(**SHORT).fit_transform(masked), AutoencoderImputer(**SHORT).fit_transform(holed)
    )


def test_the_detector_has_scales_of_its_own():
    with pytest.raises(ValueError, match="'standardize' parameter"):
        AEAnomalyDetector(standardize="quantile").fit(np.random.default_rng(0).random((20, 2)))


def test_no_name_stands_for_nearly_all_rows():
    """Names that come two or three times, and one value that comes often."""
    names = [f"person {i // 2}" for i in range(600)] + ["unknown"] * 40
    table = pd.DataFrame({"name": names, "x": np.random.default_rng(0).normal(size=640)})
    with pytest.warns(UserWarning, match="Column 'name' has 301 categories in 640 rows.*It is ignored"):
        model = AutoencoderTransformer(1, max_iter=2, early_stopping=False).fit(table)
    assert model.reconstruct(table)["name"].isna().all()


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
def test_a_weight_is_a_repetition_where_there_are_dates(kind):
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    table = pd.DataFrame({"a": z**2, "b": np.sin(2 * z), "t": pd.to_timedelta(np.exp(z).round(3), unit="s")})
    weights = rng.integers(1, 4, 300)
    weighted, repeated = kind(1, max_iter=3, random_state=0), kind(1, max_iter=3, random_state=0)
    weighted.fit(table, sample_weight=weights)
    repeated.fit(table.loc[np.repeat(table.index, weights)].reset_index(drop=True))
    np.testing.assert_array_equal(weighted.score_samples(table), repeated.score_samples(table))
