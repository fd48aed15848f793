"""Frames with columns of any kind: what is refused, with the column and the remedy, and what comes back."""

from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer

QUICK = {"hidden_layer_sizes": (8,), "max_iter": 5, "early_stopping": False, "random_state": 0}
RNG = np.random.default_rng(0)
N = 120
FACTOR = RNG.normal(size=N)
COLOURS = np.where(FACTOR > 0.5, "red", np.where(FACTOR < -0.5, "blue", "green"))
DAYS = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.rint(30 * FACTOR), unit="D")
INDEX = [f"row {i}" for i in range(N)]
PANDAS = pd.DataFrame(
    {
        "number": FACTOR + 0.1 * RNG.normal(size=N),
        "small": (2 * FACTOR).astype(np.float32),
        "count": np.rint(10 * FACTOR).astype(np.int16),
        "colour": COLOURS.astype(object),
        "size": pd.Categorical(COLOURS, categories=["blue", "never", "green", "red"], ordered=True),
        "flag": FACTOR > 0,
        "day": DAYS,
    },
    index=INDEX,
)
FRAMES = {
    "pandas": PANDAS,
    "nullable": PANDAS.astype({"number": "Float64", "count": "Int16", "colour": "string", "flag": "boolean"}),
    "pyarrow": PANDAS.astype(
        {"number": "double[pyarrow]", "count": "int16[pyarrow]", "flag": "bool[pyarrow]", "day": "timestamp[us][pyarrow]"}
    ),
    "polars": pl.DataFrame({name: PANDAS[name].to_list() for name in PANDAS}).cast(
        {"small": pl.Float32, "count": pl.Int16, "size": pl.Enum(["blue", "never", "green", "red"]), "day": pl.Date}
    ),
}
LIBRARIES = {"pandas": PANDAS, "polars": FRAMES["polars"]}
each_kind = pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])
each_frame = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
each_library = pytest.mark.parametrize("library", LIBRARIES)

# A few epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def fits():
    return {library: AutoencoderTransformer(2, **QUICK).fit(frame) for library, frame in LIBRARIES.items()}


def with_column(frame, name, values):
    if isinstance(frame, pl.DataFrame):
        return frame.with_columns(pl.Series(name, values))
    return frame.assign(**{name: values})


def holes_in(frame, share=0.2):
    """The frame with cells missing, in its own words."""
    hole = np.random.default_rng(1).random(frame.shape) < share
    hole[:3] = False
    if isinstance(frame, pl.DataFrame):
        return frame.with_columns(
            pl.when(pl.Series(~hole[:, i])).then(pl.col(name)).otherwise(None).alias(name)
            for i, name in enumerate(frame.columns)
        )
    frame = frame.astype({name: {"b": "boolean", "i": "Int16"}[t.kind] for name, t in frame.dtypes.items() if t.kind in "bi"})
    return frame.mask(hole)


def assert_like(table, frame, n_rows=N):
    """Of the same library, columns and dtypes, without any missing cell."""
    assert type(table) is type(frame)
    assert table.shape == (n_rows, frame.shape[1])
    assert list(table.columns) == list(frame.columns)
    assert list(table.dtypes) == list(frame.dtypes)
    missing = table.null_count().sum_horizontal().item() if isinstance(table, pl.DataFrame) else table.isna().sum().sum()
    assert missing == 0


def refused(call, *words):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    lacking = [word for word in words if word not in str(caught.value)]
    assert not lacking, f"{lacking} not in: {caught.value}"


# Refused at fit

BAD = {
    "duplicate names": (pd.concat([PANDAS[["number"]]] * 2, axis=1), ["several columns", "'number'", "rename"]),
    "mixed types": (PANDAS.assign(colour=["red", 1] * 60), ["'colour'", "mixed", "'red'", "map(str"]),
    "lists": (PANDAS.assign(colour=[[1, 2]] * N), ["'colour'", "object", "drop it"]),
    "dictionaries": (PANDAS.assign(colour=[{"a": 1}] * N), ["'colour'", "object", "drop it"]),
    "dates as objects": (PANDAS.assign(day=[date(2024, 1, 1)] * N), ["'day'", "pd.to_datetime"]),
    "complex": (PANDAS.assign(number=1j), ["'number'", "complex", "split it"]),
    "periods": (PANDAS.assign(day=DAYS.to_period("D")), ["'day'", "period", "to_timestamp"]),
    "sparse": (PANDAS.assign(number=pd.arrays.SparseArray(FACTOR)), ["'number'", "Sparse", "sparse.to_dense"]),
    "levels of columns": (
        PANDAS.set_axis(pd.MultiIndex.from_product([["a"], PANDAS.columns]), axis=1),
        ["MultiIndex", "flatten"],
    ),
    "no columns": (PANDAS[[]], ["no columns"]),
    "lists of polars": (FRAMES["polars"].with_columns(colour=pl.Series([[1, 2]] * N)), ["'colour'", "List", "split it"]),
    "structs": (FRAMES["polars"].with_columns(colour=pl.Series([{"a": 1}] * N)), ["'colour'", "Struct", "split it"]),
    "objects of polars": (
        FRAMES["polars"].with_columns(colour=pl.Series([object()] * N, dtype=pl.Object)),
        ["'colour'", "drop it"],
    ),
    "lazy": (FRAMES["polars"].lazy(), ["lazy", "collect"]),
}


@pytest.mark.parametrize(("table", "words"), BAD.values(), ids=BAD)
def test_refused_at_fit(table, words):
    refused(lambda: AutoencoderTransformer(**QUICK).fit(table), *words)


@pytest.mark.parametrize("kind", [VAETransformer, AutoencoderImputer, AEAnomalyDetector])
def test_refused_at_fit_by_all(kind):
    table, words = BAD["mixed types"]
    refused(lambda: kind().fit(table), *words)


@each_library
@pytest.mark.parametrize(
    ("features", "words"),
    [
        (["colour"], ["'size'", "not among categorical_features"]),
        (None, ["'colour'", "not among categorical_features", "from_dtype"]),
    ],
)
def test_names_of_categories(library, features, words):
    refused(lambda: AutoencoderTransformer(categorical_features=features, **QUICK).fit(LIBRARIES[library]), *words)


# Refused at transform

APPLIED = ["transform", "reconstruct", "score_samples", "reconstruction_error", "impute", "score_cells"]


@each_library
def test_other_columns(fits, library):
    frame, call = LIBRARIES[library], fits[library].transform
    names = list(frame.columns)
    renamed = frame.rename(columns={"count": "total"}) if library == "pandas" else frame.rename({"count": "total"})
    refused(lambda: call(renamed), "feature names", "- total", "- count")
    refused(lambda: call(frame[names[1:]]), "feature names", "missing", "- number")
    refused(lambda: call(with_column(frame, "new", FACTOR)), "feature names", "unseen", "- new")
    refused(lambda: call(frame[names[::-1]]), "feature names", "same order")


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.parametrize("method", APPLIED)
@each_library
def test_array_after_a_mixed_frame(fits, library, method):
    refused(lambda: getattr(fits[library], method)(np.zeros((3, 7))), "not a data frame", "same columns")


MISMATCHES = {
    "strings for numbers": ("number", ["a"] * N, ["'number'", "at fit it was a number", "convert"]),
    "numbers for strings": ("colour", [1.0] * N, ["'colour'", "at fit it was a category", "convert"]),
    "dates for numbers": ("number", list(DAYS), ["'number'", "at fit it was a number", "convert"]),
    "numbers for dates": ("day", [1.0] * N, ["'day'", "at fit it was a datetime", "convert"]),
    "numbers for booleans": ("flag", [2.5] * N, ["'flag'", "at fit it was a boolean", "convert"]),
    "strings for booleans": ("flag", ["a"] * N, ["'flag'", "at fit it was a boolean", "convert"]),
    "infinity": ("number", [1.0, np.inf] * 60, ["infinity", "row 1", "'number'", "replace infinities"]),
}


@pytest.mark.parametrize(("column", "values", "words"), MISMATCHES.values(), ids=MISMATCHES)
@each_library
def test_other_kinds(fits, library, column, values, words):
    frame = with_column(LIBRARIES[library], column, values)
    for method in ["transform", "score_samples", "impute"]:
        refused(lambda method=method: getattr(fits[library], method)(frame), *words)
    judged = clone(fits[library]).set_params(early_stopping=True)
    refused(lambda: judged.fit(LIBRARIES[library], X_val=frame), "X_val", *words)


@each_library
@each_kind
def test_levels_never_seen(library, kind):
    frame = LIBRARIES[library]
    new = with_column(frame, "colour", ["violet", *COLOURS[1:]])
    known = with_column(frame, "colour", [None, *COLOURS[1:]])
    ignoring = kind(2, **QUICK).fit(frame)
    for method in ["transform", "score_samples"]:
        np.testing.assert_array_equal(getattr(ignoring, method)(new), getattr(ignoring, method)(known))
    refusing = kind(2, handle_unknown="error", **QUICK).fit(frame)
    for method in ["transform", "reconstruct", "score_samples", "impute"]:
        refused(lambda method=method: getattr(refusing, method)(new), "'colour'", "violet", "handle_unknown='ignore'")
    np.testing.assert_array_equal(refusing.transform(known), ignoring.transform(known))


@each_library
def test_lazy_frame_at_transform(fits, library):
    refused(lambda: fits[library].transform(FRAMES["polars"].lazy()), "lazy", "collect")


@each_library
def test_earlier_fit_is_kept(fits, library):
    estimator, frame = fits[library], LIBRARIES[library]
    before = dict(vars(estimator))
    refused(lambda: estimator.fit(with_column(frame, "number", [np.inf] * N)), "infinity", "'number'")
    assert vars(estimator).keys() == before.keys()
    assert all(vars(estimator)[name] is before[name] for name in before)


# What comes back


@each_frame
@each_kind
def test_frames_come_back(kind, frame):
    estimator = kind(2, **QUICK).fit(frame)
    tables = [estimator.inverse_transform(estimator.transform(frame)), estimator.reconstruct(frame), estimator.impute(frame)]
    for table in tables:
        assert_like(table, frame)
        assert set(table["colour"].to_list()) | set(table["size"].to_list()) <= set(COLOURS)
    assert tables[2].equals(frame)
    made = [estimator.interpolate(frame[:2], frame[2:4], 3)]
    if kind is VAETransformer:
        made += [estimator.sample(6, random_state=0), estimator.sample(6, random_state=0, noise=False)]
    for table in made:
        assert_like(table, frame, 6)
        assert set(table["colour"].to_list()) | set(table["size"].to_list()) <= set(COLOURS)


@each_frame
@each_kind
def test_frames_with_holes_come_back(kind, frame):
    holes = holes_in(frame)
    estimator = kind(2, **QUICK | {"max_iter": 40}).fit(holes)
    for table in [estimator.reconstruct(holes), estimator.impute(holes)]:
        assert_like(table, holes)
        days = pd.to_datetime(pd.Series(table["day"].to_list()))
        assert days.min() >= DAYS.min() - pd.Timedelta(days=60)
        assert days.max() <= DAYS.max() + pd.Timedelta(days=60)
    flags = np.array(estimator.impute(holes)["flag"].to_list(), dtype=bool)
    assert np.mean(flags == (FACTOR > 0)) > 0.9


def test_bits_do_not_depend_on_the_library():
    without_days = PANDAS.drop(columns="day")  # whose unit is the library's own
    expected = AutoencoderTransformer(2, **QUICK).fit(without_days).transform(without_days)
    for name in ["nullable", "pyarrow", "polars"]:
        frame = FRAMES[name][list(without_days.columns)]
        codes = AutoencoderTransformer(2, **QUICK).fit(frame).transform(frame)
        np.testing.assert_array_equal(codes, expected)


@each_kind
def test_index_is_kept(kind):
    estimator = kind(2, **QUICK).fit(PANDAS)
    rows = PANDAS.iloc[::-3]
    tables = [estimator.reconstruct(rows), estimator.impute(rows), estimator.score_cells(rows)]
    estimator.set_output(transform="pandas")
    codes = estimator.transform(rows)
    for table in [*tables, codes, estimator.inverse_transform(codes)]:
        pd.testing.assert_index_equal(table.index, rows.index)
    assert list(codes.columns) == list(estimator.get_feature_names_out())


def test_duplicate_labels_of_rows():
    rows = PANDAS.set_axis(["same"] * N)
    estimator = AutoencoderTransformer(2, **QUICK).fit(rows)
    for table in [estimator.reconstruct(rows), estimator.impute(holes_in(rows)), estimator.score_cells(rows)]:
        pd.testing.assert_index_equal(table.index, rows.index)


@pytest.mark.parametrize("other", ["pandas", "polars"])
@each_library
def test_frames_of_the_other_library(fits, library, other):
    """Decoded rows are of the library of the fit, completed ones of that of the rows."""
    frame, estimator = LIBRARIES[other], fits[library]
    assert type(estimator.inverse_transform(estimator.transform(frame))) is type(LIBRARIES[library])
    assert type(estimator.reconstruct(frame)) is type(LIBRARIES[library])
    assert type(estimator.impute(frame)) is type(frame)
    assert type(estimator.score_cells(frame)) is type(frame)
    np.testing.assert_allclose(estimator.transform(frame), estimator.transform(LIBRARIES[library]), rtol=1e-4, atol=1e-5)


@each_library
def test_samples_of_a_mixed_frame(library):
    frame = LIBRARIES[library]
    rows = VAETransformer(2, **QUICK).fit(frame).sample(500, random_state=0)
    assert_like(rows, frame, 500)
    assert set(rows["colour"].to_list()) == set(COLOURS)
    assert "never" not in rows["size"].to_list()
    assert set(rows["flag"].to_list()) == {False, True}
    assert abs(np.mean(rows["flag"].to_list()) - np.mean(FACTOR > 0)) < 0.15


# Fits of their own kind


@each_library
@each_kind
def test_warm_start(kind, library):
    frame = LIBRARIES[library]
    estimator = kind(2, **QUICK, warm_start=True).fit(frame)
    codes, schema, epochs = estimator.transform(frame), estimator.schema_, len(estimator.loss_curve_)
    estimator.fit(frame)
    assert estimator.schema_ is schema
    assert len(estimator.loss_curve_) == 2 * epochs
    assert not np.allclose(estimator.transform(frame), codes)
    assert_like(estimator.reconstruct(holes_in(frame)), frame)
    refused(lambda: estimator.fit(frame[list(frame.columns)[1:]]), "feature names")


@each_library
@each_kind
def test_validation_rows_with_holes(kind, library):
    frame = LIBRARIES[library]
    estimator = kind(2, **QUICK | {"early_stopping": True}).fit(frame, X_val=holes_in(frame)[:40])
    assert np.isfinite(estimator.validation_scores_).all()


@each_library
@each_kind
def test_share_of_variance(kind, library):
    estimator = kind(0.9, **QUICK).fit(holes_in(LIBRARIES[library]))
    assert 1 <= estimator.n_components_ <= 7
    assert estimator.transform(LIBRARIES[library]).shape == (N, estimator.n_components_)


@pytest.mark.parametrize("dtype", ["float32", "Float32", "float[pyarrow]"])
def test_float32(dtype):
    frame = PANDAS[["number", "small"]].astype(dtype)
    for table in [frame, frame.mask(np.eye(N, 2, dtype=bool))]:
        estimator = AutoencoderTransformer(1, **QUICK).fit(table)
        assert estimator.transform(table).dtype == np.float32
        assert_like(estimator.reconstruct(table), frame)
        assert_like(estimator.impute(table), frame)


@pytest.mark.parametrize("name", PANDAS.columns)
@pytest.mark.parametrize(("library", "holes"), [("pandas", True), ("polars", False)])
@each_kind
def test_one_column(kind, library, holes, name):
    frame = LIBRARIES[library][[name]]
    frame = holes_in(frame) if holes else frame
    for hidden_layer_sizes in [(), (8,)]:
        estimator = kind(1, **QUICK | {"hidden_layer_sizes": hidden_layer_sizes, "max_iter": 2}).fit(frame)
        assert_like(estimator.reconstruct(frame), frame)
        assert_like(estimator.impute(frame), frame)
        assert np.isfinite(estimator.score_samples(frame)).all()
        assert np.isfinite(estimator.transform(frame)).all()


CONSTANT = {
    "number": 3.5,
    "count": 7,
    "colour": "red",
    "flag": True,
    "day": pd.Timestamp("2024-02-29"),
}


@pytest.mark.parametrize(("library", "holes"), [("pandas", True), ("polars", True), ("pandas", False)])
@each_kind
def test_constant_columns(kind, library, holes):
    frame = LIBRARIES[library]
    for name, value in CONSTANT.items():
        frame = with_column(frame, name, [value] * N)
    table = holes_in(frame) if holes else frame
    estimator = kind(2, **QUICK).fit(table)
    completed, reconstructed = estimator.impute(table), estimator.reconstruct(table)
    for name in CONSTANT:
        assert completed[name].to_list() == reconstructed[name].to_list() == frame[name].to_list()
    assert np.isfinite(estimator.score_samples(table)).all()
    if kind is VAETransformer:
        rows = estimator.sample(5, random_state=0)
        assert all(set(rows[name].to_list()) == {value} for name, value in CONSTANT.items())


@each_library
@each_kind
def test_column_without_any_cell(kind, library):
    frame = LIBRARIES[library]
    frame = frame.assign(number=np.nan, colour=None) if library == "pandas" else frame.with_columns(number=None, colour=None)
    estimator = kind(2, **QUICK).fit(frame)
    for table in [estimator.reconstruct(frame), estimator.impute(frame)]:
        assert list(table.columns) == list(frame.columns)
        for name in frame.columns:
            column = pd.Series(table[name].to_list())
            assert column.isna().all() if name in {"number", "colour"} else column.notna().all()
    assert np.isfinite(estimator.score_samples(frame)).all()


@each_library
def test_declared_categories(library):
    frame = LIBRARIES[library]
    frame = with_column(frame, "count", np.arange(N) % 3)
    estimator = AutoencoderTransformer(2, categorical_features=["count", "colour", "size"], **QUICK).fit(frame)
    assert set(estimator.reconstruct(frame)["count"].to_list()) <= {0, 1, 2}
    assert "category" in repr(estimator.schema_).split("count")[1].split("\n")[0]


@pytest.mark.parametrize("features", [[1], [False, True]])
def test_declared_categories_of_an_array(features):
    table = np.column_stack([FACTOR, np.digitize(FACTOR, [-0.5, 0.5]) * 10.0])
    table[5, 1] = table[9, 0] = np.nan
    estimator = AutoencoderTransformer(2, categorical_features=features, **QUICK).fit(table)
    for rows in [estimator.reconstruct(table), estimator.impute(table)]:
        assert isinstance(rows, np.ndarray)
        assert set(rows[:, 1]) <= {0.0, 10.0, 20.0}


@each_library
def test_rare_levels_are_told(library):
    names = [*(f"level {i % 20}" for i in range(N - 3)), "once", "one time", "single"]
    frame = with_column(LIBRARIES[library], "colour", names)
    with pytest.warns(UserWarning, match="'colour' has 23 categories. 3 of them are rare"):
        estimator = AutoencoderTransformer(2, **QUICK).fit(frame)
    assert set(estimator.reconstruct(frame)["colour"].to_list()) <= set(names)
    assert estimator.impute(frame)["colour"].to_list() == names


@each_library
def test_column_of_names_is_ignored(library):
    frame = with_column(LIBRARIES[library], "colour", INDEX)
    with pytest.warns(UserWarning, match="'colour' has 120 categories in 120 rows, 120 of which occur once"):
        estimator = AutoencoderTransformer(2, **QUICK).fit(frame)
    assert pd.isna(pd.Series(estimator.reconstruct(frame)["colour"].to_list())).all()
    assert estimator.impute(frame)["colour"].to_list() == INDEX


@each_library
def test_days_of_as_many_rows_each_are_all_as_odd(library):
    rng = np.random.default_rng(0)
    order = rng.permutation(3600)
    values = rng.normal(size=(3600, 2)) @ rng.normal(size=(2, 3)) + 0.3 * rng.normal(size=(3600, 3))
    frame = pd.DataFrame(values, columns=list("xyz")).assign(day=[f"day {i % 300:03}" for i in order])
    frame = frame if library == "pandas" else pl.DataFrame(frame.to_dict("list"))
    with pytest.warns(UserWarning, match="'day' has 300 categories in 3600 rows, too many to learn from. It is ignored"):
        odd = AEAnomalyDetector(contamination=0.1, cv=2, **QUICK).fit_predict(frame) == -1
    for days in (order % 300 < 100, order % 300 >= 100):
        assert odd[days].mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("method", ["encoder_jacobian", "tangent_space"])
def test_derivatives_are_of_numbers_alone(method):
    frame = pd.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0) ** 2, "colour": list("ab") * 10})
    estimator = AutoencoderTransformer(1, max_iter=2, random_state=0).fit(frame)
    with pytest.raises(ValueError, match=rf"{method}.*'colour'"):
        getattr(estimator, method)(frame)


def test_indicators_leave_out_names():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "name": [f"person {i}" for i in range(60)]})
    frame.loc[::5, "x"] = np.nan
    imputer = AutoencoderImputer(add_indicator=True, max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match="'name'"):
        imputer.fit(frame)
    with pytest.warns(UserWarning, match="'name'") as caught:
        AutoencoderTransformer(1, max_iter=2, random_state=0).fit(frame)
    assert caught[0].filename == __file__
    assert list(imputer.transform(frame).columns) == ["x", "name", "missingindicator_x"]
    assert np.isnan(imputer.autoencoder_.noise_variance_[1])


def test_a_component_explains_probabilities_of_levels_and_not_their_numbers():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"level": rng.choice([f"level {i:02d}" for i in range(20)], 200), "flag": rng.random(200) < 0.5})
    estimator = VAETransformer(2, max_iter=5, random_state=0).fit(frame)
    assert (estimator.explained_variance_ <= 3).all()  # 2 for levels that change from one to another, 1 for a flag
