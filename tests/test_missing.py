"""Tables with holes: what is fitted to them, what is read from them, and what fills them."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal as assert_polars_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, DiffusionNoise, Masking, VAETransformer
from skvae._fit.linear_gaussian import expectation_maximisation
from skvae._tables.rows import merge_equal_rows

QUICK = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}
FREE = QUICK | {"early_stopping": False}  # without folds, where they make no difference to what is tested
LINEAR = {"hidden_layer_sizes": ()}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 2)) @ RNG.normal(size=(2, 5)) * [1, 10, 0.1, 3, 1] + 0.1 * RNG.normal(size=(120, 5)) + 5
IS_HOLE = RNG.random(X.shape) < 0.2
IS_HOLE[IS_HOLE.all(axis=1)] = False
HOLES = np.where(IS_HOLE, np.nan, X)
NAMES = list("abcde")
PANDAS = pd.DataFrame(HOLES, columns=NAMES)
TABLES = {
    "array": HOLES,
    "float32": HOLES.astype(np.float32),
    "pandas": PANDAS,
    "pandas, nullable": PANDAS.astype("Float64"),
    "pandas, pyarrow": PANDAS.astype("double[pyarrow]"),
    "polars": pl.from_pandas(PANDAS),
    "polars, NaN": pl.DataFrame(HOLES, schema=NAMES),
}
BUILD = {
    "array": lambda values: values,
    "pandas": lambda values: pd.DataFrame(values, columns=NAMES),
    "polars": lambda values: pl.DataFrame(values, schema=NAMES),
}
SETTINGS = {
    "default": (AutoencoderTransformer, QUICK),
    "linear": (AutoencoderTransformer, QUICK | LINEAR),
    "unstandardized, random": (AutoencoderTransformer, FREE | {"standardize": False, "init": "random"}),
    "hidden only": (AutoencoderTransformer, FREE | {"corruption": Masking((0.0, 0.5), hidden_only=True)}),
    "swap": (AutoencoderTransformer, FREE | {"corruption": "swap", "penalty": "contractive"}),
    "diffusion": (AutoencoderTransformer, FREE | {"corruption": DiffusionNoise((0.1, 1.0))}),
    "vae": (VAETransformer, FREE),
    "vae, linear": (VAETransformer, FREE | LINEAR),
}
FEW = {name: SETTINGS[name] for name in ["default", "linear", "hidden only", "vae"]}
each_setting = pytest.mark.parametrize(("kind", "params"), SETTINGS.values(), ids=SETTINGS)
each_of_few = pytest.mark.parametrize(("kind", "params"), FEW.values(), ids=FEW)
each_kind = pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])

# A few epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def values_of(table):
    if isinstance(table, pl.DataFrame):
        return np.column_stack([column.cast(pl.Float64).fill_null(np.nan).to_numpy() for column in table])
    return table.to_numpy(dtype=float, na_value=np.nan) if isinstance(table, pd.DataFrame) else np.asarray(table)


def applied(estimator, table):
    """All that is asked of rows, by method."""
    results = {
        name: np.asarray(getattr(estimator, name)(table), dtype=float)
        for name in ("transform", "score_samples", "reconstruction_error")
    }
    results |= {name: values_of(getattr(estimator, name)(table)) for name in ("reconstruct", "impute", "score_cells")}
    if isinstance(estimator, VAETransformer):
        results |= dict(zip(["mean", "deviation"], estimator.posterior(table), strict=True))
        results |= estimator.elbo(table)._asdict()
        results["draw"] = values_of(estimator.impute(table, n_imputations=1, random_state=0)[0])
    return results


def assert_same(results, expected):
    assert results.keys() == expected.keys()
    for name, values in results.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


# Fitting and applying


@pytest.fixture(scope="module")
def vae_of_array():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return VAETransformer(2, **FREE).fit(HOLES)


@pytest.mark.parametrize(
    ("name", "setting"),
    [*(("array", setting) for setting in SETTINGS), *((name, "vae") for name in TABLES if name != "array")],
)
def test_every_method(name, setting):
    (kind, params), table = SETTINGS[setting], TABLES[name]
    estimator = kind(2, **params).fit(table)
    results = applied(estimator, table)
    shapes = {"transform": (120, 2), "mean": (120, 2), "deviation": (120, 2)}
    cells = {"reconstruct", "impute", "score_cells", "draw"}
    for name, values in results.items():
        assert values.shape == shapes.get(name, (120, 5) if name in cells else (120,)), name
        np.testing.assert_array_equal(np.isnan(values), IS_HOLE if name == "score_cells" else False, err_msg=name)
        assert not np.isinf(values).any(), name
    made = [estimator.interpolate(table[:2], table[2:4], 3), estimator.inverse_transform(estimator.transform(table)[:6])]
    made += [estimator.sample(6, random_state=0)] if kind is VAETransformer else []
    for rows in made:
        assert type(rows) is type(table)
        assert rows.shape == (6, 5)
        assert np.isfinite(values_of(rows)).all()


@pytest.mark.parametrize("name", [name for name in TABLES if name not in {"array", "float32"}])
def test_bits_do_not_depend_on_the_container(vae_of_array, name):
    table = TABLES[name]
    assert_same(applied(VAETransformer(2, **FREE).fit(table), table), applied(vae_of_array, HOLES))


@each_setting
def test_a_row_alone_and_among_others(kind, params):
    estimator = kind(2, **params).fit(HOLES)
    expected, rows = applied(estimator, HOLES), np.flatnonzero(IS_HOLE.any(axis=1))[:3]
    expected.pop("draw", None)
    for row in rows:
        alone = applied(estimator, HOLES[[row]])
        alone.pop("draw", None)
        assert_same(alone, {name: values[[row]] for name, values in expected.items()})


def test_a_row_alone_and_among_others_for_a_fit_on_a_complete_table():
    estimator = AutoencoderTransformer(2, **FREE).fit(X)
    expected = applied(estimator, HOLES)
    assert_same(applied(estimator, HOLES[:1]), {name: values[:1] for name, values in expected.items()})


@each_of_few
def test_order_of_rows_and_weights(kind, params):
    expected = applied(kind(2, **params).fit(HOLES), HOLES)
    order = np.random.default_rng(1).permutation(120)
    assert_same(applied(kind(2, **params).fit(HOLES[order]), HOLES), expected)
    weights = np.random.default_rng(2).integers(0, 3, 120)
    weighted = kind(2, **params).fit(HOLES, sample_weight=weights)
    assert_same(applied(weighted, HOLES), applied(kind(2, **params).fit(np.repeat(HOLES, weights, axis=0)), HOLES))


@each_kind
def test_holes_in_validation_rows_only(kind):
    estimator = kind(2, **QUICK).fit(X, X_val=HOLES)
    assert np.isfinite(estimator.validation_scores_).all()
    assert np.isfinite(estimator.score_samples(HOLES)).all()


@each_kind
def test_unit_of_a_score_with_holes(kind):
    factor = 1e3
    unit = np.array([1, factor, 1, 1, 1])
    small, large = (kind(2, **QUICK | LINEAR).fit(table) for table in [HOLES, HOLES * unit])
    expected = small.score_samples(HOLES) - np.log(factor) * ~IS_HOLE[:, 1]
    np.testing.assert_allclose(large.score_samples(HOLES * unit), expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("fitted_on", "setting"), [*(("holes", setting) for setting in SETTINGS), ("complete", "swap"), ("complete", "vae")]
)
def test_slopes(fitted_on, setting):
    """Codes do not depend on what is missing, and depend on the rest as finite differences say."""
    kind, params = SETTINGS[setting]
    estimator = kind(2, **params).fit(X if fitted_on == "complete" else HOLES)
    rows, step = HOLES[IS_HOLE.any(axis=1)][:6], 1e-2 * X.std(axis=0)
    slopes = estimator.encoder_jacobian(rows)
    assert np.isfinite(slopes).all()
    assert (slopes.swapaxes(1, 2)[np.isnan(rows)] == 0).all()
    for column in range(5):
        change = np.where(np.arange(5) == column, step, 0)
        finite = (estimator.transform(rows + change) - estimator.transform(rows - change)) / (2 * step[column])
        np.testing.assert_allclose(slopes[:, :, column] * step[column], finite * step[column], rtol=0.05, atol=1e-4)
    assert np.isfinite(estimator.tangent_space(rows, 2)).all()


# Against linear models


@pytest.mark.parametrize("standardize", [False, True])
def test_linear_is_probabilistic_pca(standardize):
    estimator = AutoencoderTransformer(2, hidden_layer_sizes=(), standardize=standardize).fit(HOLES)
    scaling = estimator._fitted.scaling
    table = merge_equal_rows(scaling.apply(HOLES), None)
    pca = expectation_maximisation(table.rows, table.counts, 2, shared=True).components
    complete = X[~IS_HOLE.any(axis=1)]
    deviations = scaling.apply(complete) - pca.mean
    expected = scaling.invert(deviations @ pca.axes[:2].T @ pca.axes[:2] + pca.mean)
    np.testing.assert_allclose(estimator.reconstruct(complete), expected, rtol=1e-5)


@pytest.mark.parametrize("standardize", [False, True])
def test_few_holes_are_close_to_pca(standardize):
    few = X.copy()
    few[[3, 50], [1, 4]] = np.nan
    estimator = AutoencoderTransformer(2, hidden_layer_sizes=(), standardize=standardize).fit(few)
    plain = AutoencoderTransformer(2, hidden_layer_sizes=(), standardize=standardize).fit(X)
    difference = (estimator.reconstruct(X) - plain.reconstruct(X)) / X.std(axis=0)
    assert np.abs(difference).max() < 0.02
    if not standardize:
        pca = PCA(2).fit(X)
        expected = pca.inverse_transform(pca.transform(X))
        np.testing.assert_allclose(plain.reconstruct(X), expected, rtol=1e-6)


def test_holes_beat_mean_filling():
    """What is fitted to 30 % holes explains complete rows that it has not seen better than what is fitted to means."""
    table = load_breast_cancer().data
    train, test = table[::2], table[1::2]
    holes = np.where(np.random.default_rng(0).random(train.shape) < 0.3, np.nan, train)
    filled = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    errors = [
        np.square((AutoencoderTransformer(7, **LINEAR).fit(rows).reconstruct(test) - test) / train.std(axis=0)).sum()
        for rows in [holes, filled]
    ]
    assert errors[0] < 0.9 * errors[1]


# Filling in


def mixed(library="pandas"):
    rng = np.random.default_rng(3)
    n = 120
    factor = rng.normal(size=n)
    colours = np.where(factor > 0.5, "red", np.where(factor < -0.5, "blue", "green"))
    hole = rng.random((n, 7)) < 0.15
    hole[[0, 1]] = False
    frame = pd.DataFrame(
        {
            "number": factor + 0.1 * rng.normal(size=n),
            "small": (2 * factor + 0.1 * rng.normal(size=n)).astype(np.float32),
            "count": pd.array(np.rint(10 * factor).astype(int), dtype="Int16"),
            "text": colours.astype(object),
            "category": pd.Categorical(colours, categories=["blue", "never", "green", "red"], ordered=True),
            "flag": pd.array(factor > 0, dtype="boolean"),
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.rint(30 * factor), unit="D"),
        },
        index=[f"row {i}" for i in range(n)],
    )
    frame.iloc[0, 0] = -0.0
    for i, name in enumerate(frame):
        frame.loc[hole[:, i], name] = None
    if library == "pandas":
        return frame
    columns = [pl.Series(name, frame[name].astype(object).where(frame[name].notna(), None).to_list()) for name in frame]
    dtypes = {"small": pl.Float32, "count": pl.Int16, "category": pl.Enum(["blue", "never", "green", "red"])}
    return pl.DataFrame(columns).cast(dtypes)


def missing_in(frame):
    if isinstance(frame, pl.DataFrame):
        return np.column_stack([column.is_null().to_numpy() for column in frame])
    return pd.isna(frame).to_numpy()


def assert_filled(table, frame):
    """Every cell has a value, and those that had one have the same."""
    assert type(table) is type(frame)
    assert list(table.columns) == list(frame.columns)
    assert list(table.dtypes) == list(frame.dtypes)
    hole = missing_in(frame)
    assert not missing_in(table).any()
    for i, name in enumerate(frame.columns):
        if isinstance(frame, pl.DataFrame):
            seen = pl.Series(~hole[:, i])
            assert table[name].filter(seen).equals(frame[name].filter(seen), check_dtypes=True)
        else:
            pd.testing.assert_series_equal(table[name][~hole[:, i]], frame[name][~hole[:, i]], check_exact=True)
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_index_equal(table.index, frame.index)


@pytest.fixture(scope="module", params=[AutoencoderTransformer, VAETransformer], ids=["ae", "vae"])
def mixed_fits(request):
    params = FREE | {"max_iter": 60}
    return {library: request.param(2, **params).fit(mixed(library)) for library in ["pandas", "polars"]}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_impute_of_a_mixed_frame(mixed_fits, library):
    frame, untouched = mixed(library), mixed(library)
    estimator = mixed_fits[library]
    tables = [estimator.impute(frame)]
    if isinstance(estimator, VAETransformer):
        tables += estimator.impute(frame, n_imputations=2, random_state=0)
    for table in tables:
        assert_filled(table, frame)
        assert np.signbit(table["number"].to_list()[0])
        assert set(table["text"].to_list()) <= {"red", "green", "blue"}
    same = pd.testing.assert_frame_equal if library == "pandas" else assert_polars_equal
    same(frame, untouched)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_impute_of_a_mixed_frame_is_right(mixed_fits, library):
    """One factor decides about all columns, so that it can be told from any."""
    frame = mixed(library)
    hole = missing_in(frame)
    table = mixed_fits[library].impute(frame)
    date = np.array(table["date"].to_list(), dtype="M8[s]").astype(float)
    number = np.array(table["number"].to_list())
    expected = 30 * 86400 * number + np.datetime64("2024-01-01", "s").astype(float)
    assert np.corrcoef(date[hole[:, 6]], expected[hole[:, 6]])[0, 1] > 0.8
    flag = np.array(table["flag"].to_list())
    assert np.mean(flag[hole[:, 5]] == (number > 0)[hole[:, 5]]) > 0.7


@pytest.mark.parametrize(
    ("kind", "fitted_on", "dtype"),
    [
        (AutoencoderTransformer, "holes", np.float32),
        (AutoencoderTransformer, "complete", np.float64),
        (VAETransformer, "holes", np.float64),
    ],
)
def test_impute_of_arrays(fitted_on, kind, dtype):
    table = HOLES.astype(dtype)
    table[~IS_HOLE[:, 0], 0] *= 0.0
    table[2] = [-0.0, *X[2, 1:].astype(dtype)]
    before = table.copy()
    estimator = kind(2, **FREE).fit((X if fitted_on == "complete" else HOLES).astype(dtype))
    filled = estimator.impute(table)
    assert filled.dtype == dtype
    assert np.isfinite(filled).all()
    hole = np.isnan(before)
    np.testing.assert_array_equal(filled[~hole].view(f"i{filled.itemsize}"), before[~hole].view(f"i{filled.itemsize}"))
    np.testing.assert_array_equal(table, before)


@pytest.mark.parametrize("table", [TABLES[name] for name in ["pandas", "pandas, nullable", "pandas, pyarrow", "polars"]])
def test_impute_of_frames_of_numbers(table):
    assert_filled(AutoencoderTransformer(2, **FREE).fit(table).impute(table), table)


def test_impute_of_integers():
    frame = pd.DataFrame(np.rint(10 * HOLES)).astype("Int64")
    assert_filled(AutoencoderTransformer(2, **FREE).fit(frame).impute(frame), frame)


@each_of_few
def test_row_without_any_cell(kind, params):
    table = np.vstack([HOLES, np.full((2, 5), np.nan)])
    estimator = kind(2, **params).fit(table)
    results = applied(estimator, table)
    assert_same(
        {name: values[:120] for name, values in results.items() if name != "draw"},
        {name: values for name, values in applied(estimator, HOLES).items() if name != "draw"},
    )
    for name in ["transform", "reconstruct", "impute", "score_samples", "reconstruction_error"]:
        assert np.isfinite(results[name][120:]).all(), name
    np.testing.assert_array_equal(results["impute"][120], results["impute"][121])
    if kind is AutoencoderTransformer:
        np.testing.assert_allclose(results["score_samples"][120:], 0, atol=1e-3)
    if kind is VAETransformer:
        assert np.isfinite(results["draw"]).all()


@pytest.mark.parametrize(
    ("library", "setting"), [*(("array", setting) for setting in FEW), ("pandas", "default"), ("polars", "default")]
)
def test_column_without_any_cell(library, setting):
    kind, params = SETTINGS[setting]
    values = HOLES.copy()
    values[:, 2] = np.nan
    table = BUILD[library](values)
    estimator = kind(2, **params).fit(table)
    results = applied(estimator, table)
    others = np.arange(5) != 2
    for name in ["reconstruct", "impute"]:
        assert np.isnan(results[name][:, 2]).all(), name
        assert np.isfinite(results[name][:, others]).all(), name
    for name in ["transform", "score_samples", "reconstruction_error"]:
        assert np.isfinite(results[name]).all(), name
    filled = dict.fromkeys({"impute", "draw"} & results.keys(), 0)
    assert_same(applied(estimator, TABLES[library]) | filled, results | filled)  # whatever stands there now


@each_kind
def test_impute_is_better_than_means(kind):
    table = load_iris().data
    hole = np.random.default_rng(0).random(table.shape) < 0.2
    hole[hole.all(axis=1)] = False
    holes = np.where(hole, np.nan, table)
    filled = kind(2, hidden_layer_sizes=(16,), max_iter=60, random_state=0).fit(holes).impute(holes)
    unit = table.std(axis=0)
    error = np.square((filled - table) / unit)[hole].mean()
    assert error < 0.5 * np.square((np.nanmean(holes, axis=0) - table) / unit)[hole].mean()


# Draws


@pytest.fixture(scope="module")
def vae():
    return VAETransformer(2, **QUICK | LINEAR).fit(HOLES)


@pytest.mark.parametrize("kind", ["array", "pandas", "polars"])
def test_draws(vae, kind):
    estimator, table = vae if kind == "array" else VAETransformer(2, **FREE).fit(TABLES[kind]), TABLES[kind]
    draws = estimator.impute(table, n_imputations=3, random_state=0)
    assert isinstance(draws, list)
    assert [type(draw) for draw in draws] == [type(table)] * 3
    values = np.array([values_of(draw) for draw in draws])
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(values[:, ~IS_HOLE], np.broadcast_to(HOLES[~IS_HOLE], (3, (~IS_HOLE).sum())))
    assert (values.std(axis=0)[IS_HOLE] > 0).all()
    again, other, fresh = (
        np.array([values_of(draw) for draw in estimator.impute(table, n_imputations=3, random_state=seed)])
        for seed in [0, 1, None]
    )
    np.testing.assert_array_equal(again, values)
    assert (other != values)[:, IS_HOLE].all()
    assert (fresh != values)[:, IS_HOLE].all()


@pytest.mark.parametrize("n_imputations", [0, 2.5, "a"])
def test_numbers_of_draws(vae, n_imputations):
    with pytest.raises(ValueError, match=r"n_imputations.*at least 1"):
        vae.impute(HOLES, n_imputations=n_imputations)


@pytest.mark.parametrize("fitted_on", ["complete", "holes"])
def test_draws_spread_as_they_should(fitted_on):
    rng = np.random.default_rng(0)
    loadings, noise = rng.normal(size=(6, 2)), 0.3
    covariance = loadings @ loadings.T + noise**2 * np.eye(6)
    table = rng.multivariate_normal(np.zeros(6), covariance, size=300)
    holes = table if fitted_on == "complete" else np.where(rng.random(table.shape) < 0.15, np.nan, table)
    estimator = VAETransformer(2, hidden_layer_sizes=(), likelihood="gaussian_diag", random_state=0).fit(holes)
    rows = table[:40].copy()
    missing, seen = [1, 4], [0, 2, 3, 5]
    rows[:, missing] = np.nan
    draws = np.array(estimator.impute(rows, n_imputations=100, random_state=0))[:, :, missing]
    weight = covariance[np.ix_(missing, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    deviations = np.sqrt(np.diag(covariance[np.ix_(missing, missing)] - weight @ covariance[np.ix_(seen, missing)]))
    ratio = np.sqrt(draws.var(axis=0).mean(axis=0)) / deviations
    assert (ratio > 0.7).all()
    assert (ratio < 1.3).all()
    error = (draws.mean(axis=0) - rows[:, seen] @ weight.T) / deviations
    assert np.sqrt(np.square(error).mean()) < 0.5


# Scores of cells


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((AutoencoderTransformer, name) for name in TABLES), (VAETransformer, "array"), (VAETransformer, "polars")],
)
def test_scores_of_cells(kind, name):
    table = TABLES[name]
    estimator = kind(2, **FREE).fit(table)
    scores = estimator.score_cells(table)
    assert type(scores) is type(table)
    if not isinstance(table, np.ndarray):
        assert list(scores.columns) == NAMES
    np.testing.assert_array_equal(np.isnan(values_of(scores)), IS_HOLE)
    if kind is AutoencoderTransformer:
        np.testing.assert_allclose(np.nansum(values_of(scores), axis=1), estimator.score_samples(table), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("params", [QUICK, QUICK | LINEAR, QUICK | {"standardize": False}], ids=str)
@pytest.mark.parametrize("table", [X, HOLES], ids=["complete", "holes"])
def test_scores_of_cells_sum_to_those_of_rows(table, params):
    estimator = AutoencoderTransformer(2, **params).fit(table)
    np.testing.assert_allclose(np.nansum(estimator.score_cells(table), axis=1), estimator.score_samples(table), rtol=1e-4)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_scores_of_cells_of_a_mixed_frame(mixed_fits, library):
    frame = mixed(library)
    scores = mixed_fits[library].score_cells(frame)
    assert type(scores) is type(frame)
    assert list(scores.columns) == list(frame.columns)
    np.testing.assert_array_equal(np.isnan(values_of(scores)), missing_in(frame))
    assert np.nanmax(values_of(scores)[:, 3:6]) <= 0
    if library == "pandas":
        pd.testing.assert_index_equal(scores.index, frame.index)


@pytest.mark.parametrize(
    ("column", "levels"), [("text", ["red", "green", "blue"]), ("category", ["red", "green", "blue"]), ("flag", [False, True])]
)
@pytest.mark.parametrize("given", ["left out", "as it is"])
def test_probabilities_of_levels_sum_to_one(mixed_fits, given, column, levels):
    frame = mixed()
    estimator = mixed_fits["pandas"]
    known = frame.copy()
    if given == "left out":
        known[column] = known[column].where(np.zeros(len(frame), dtype=bool))
    total = 0
    for level in levels:
        cells = frame.copy()
        cells.loc[:, column] = level
        total = total + np.exp(estimator.score_cells(cells, given=known)[column])
    np.testing.assert_allclose(total, 1, rtol=1e-5)


@each_kind
def test_versions_of_other_rows(kind):
    estimator = kind(2, **FREE).fit(HOLES)
    with pytest.raises(ValueError, match="120 rows and given 119"):
        estimator.score_cells(HOLES, given=HOLES[1:])


def test_cells_left_out_are_less_likely(vae):
    left_out = X.copy()
    left_out[:, 1] = np.nan
    assert vae.score_cells(X)[:, 1].mean() > vae.score_cells(X, given=left_out)[:, 1].mean()


# Warm starts


def test_warm_start_from_a_complete_table_is_refused():
    estimator = AutoencoderTransformer(2, **QUICK, warm_start=True).fit(X)
    codes = estimator.transform(X)
    with pytest.raises(ValueError, match=r"earlier fit's table was complete.*impute.*warm_start=False"):
        estimator.fit(HOLES)
    np.testing.assert_array_equal(estimator.transform(X), codes)


@each_kind
@pytest.mark.parametrize("table", [X, HOLES], ids=["complete", "holes"])
def test_warm_start_goes_on(kind, table):
    estimator = kind(2, **FREE, warm_start=True).fit(HOLES)
    epochs = len(estimator.loss_curve_)
    estimator.fit(table)
    assert len(estimator.loss_curve_) == 2 * epochs
    assert np.isfinite(estimator.impute(HOLES)).all()


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_share_of_variance(share):
    estimators = [AutoencoderTransformer(share, **QUICK | LINEAR).fit(table) for table in [X, HOLES]]
    assert abs(estimators[0].n_components_ - estimators[1].n_components_) <= 1


# The imputer


def imputer(**params):
    return AutoencoderImputer(**FREE | params)


@pytest.mark.parametrize(
    ("name", "sample_posterior"), [*((name, False) for name in TABLES), ("array", True), ("pandas", True), ("polars", True)]
)
def test_imputer(name, sample_posterior):
    table = TABLES[name]
    estimator = imputer(sample_posterior=sample_posterior)
    filled = estimator.fit_transform(table)
    assert type(filled) is type(table)
    assert np.isfinite(values_of(filled)).all()
    np.testing.assert_array_equal(values_of(filled)[~IS_HOLE], values_of(table)[~IS_HOLE])
    np.testing.assert_array_equal(values_of(filled), values_of(estimator.transform(table)))
    np.testing.assert_array_equal(values_of(filled), values_of(clone(estimator).fit(table).transform(table)))
    np.testing.assert_array_equal(values_of(filled), values_of(pickle.loads(pickle.dumps(estimator)).transform(table)))
    assert estimator.indicator_features_.tolist() == [0, 1, 2, 3, 4]


def test_imputer_is_better_than_means():
    filled = imputer(max_iter=100).fit_transform(HOLES)
    error = np.square((filled - X) / X.std(axis=0))[IS_HOLE].mean()
    assert error < 0.5 * np.square((np.nanmean(HOLES, axis=0) - X) / X.std(axis=0))[IS_HOLE].mean()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_imputer_of_a_mixed_frame(library):
    frame = mixed(library)
    assert_filled(imputer().fit_transform(frame), frame)


@pytest.mark.parametrize("table", [HOLES, PANDAS], ids=["array", "pandas"])
def test_imputer_in_a_pipeline(table):
    y = X[:, 0] > np.median(X[:, 0])
    pipeline = make_pipeline(imputer(), StandardScaler(), LogisticRegression()).fit(table, y)
    assert pipeline.score(table, y) > 0.8


def test_grid_of_imputers():
    y = X[:, 0] > np.median(X[:, 0])
    pipeline = make_pipeline(imputer(), StandardScaler(), LogisticRegression())
    grid = {"autoencoderimputer__hidden_layer_sizes": [(), (4,)]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(HOLES, y)
    assert search.best_score_ > 0.7


@pytest.mark.parametrize("kind", ["array", "pandas", "polars"])
def test_indicators(kind):
    values = HOLES.copy()
    values[:, [0, 3]] = X[:, [0, 3]]
    table = BUILD[kind](values)
    estimator = imputer(add_indicator=True)
    filled = estimator.fit_transform(table)
    assert estimator.indicator_features_.tolist() == [1, 2, 4]
    names = ["x0", "x1", "x2", "x3", "x4"] if kind == "array" else NAMES
    names = [*names, *(f"missingindicator_{names[i]}" for i in [1, 2, 4])]
    assert estimator.get_feature_names_out().tolist() == names
    if kind == "array":
        assert isinstance(filled, np.ndarray)
        marks = filled[:, 5:]
    else:
        assert list(filled.columns) == names
        marks = np.column_stack([filled[name].to_numpy() for name in names[5:]])
        assert marks.dtype == bool
    np.testing.assert_array_equal(marks, IS_HOLE[:, [1, 2, 4]])


@pytest.mark.parametrize("add_indicator", [False, True])
def test_names_and_frames_put_out(add_indicator):
    estimator = imputer(add_indicator=add_indicator).set_output(transform="pandas")
    table = estimator.fit_transform(HOLES)
    names = [f"x{i}" for i in range(5)] + [f"missingindicator_x{i}" for i in range(5) if add_indicator]
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == estimator.get_feature_names_out().tolist() == names
    assert estimator.set_output(transform="polars").transform(HOLES).columns == names


def test_imputer_that_draws():
    expected = imputer().fit_transform(HOLES)
    one, again, other = (imputer(sample_posterior=True, random_state=seed).fit_transform(HOLES)[IS_HOLE] for seed in [0, 0, 1])
    np.testing.assert_array_equal(one, again)
    for equal in (one == other, one == expected[IS_HOLE]):
        assert equal.mean() < 0.1  # at the ends of the observed range alone


@pytest.mark.parametrize("sample_posterior", [False, True])
def test_imputer_of_a_complete_table(sample_posterior):
    estimator = imputer(sample_posterior=sample_posterior, add_indicator=True).fit(X)
    assert estimator.indicator_features_.size == 0
    np.testing.assert_array_equal(estimator.transform(X), X)
    np.testing.assert_array_equal(estimator.inverse_transform(pd.DataFrame(X)), X)  # without a mark
    filled = estimator.transform(HOLES)
    assert filled.shape == X.shape
    assert np.isfinite(filled).all()


@pytest.mark.parametrize(
    ("n_rows", "early_stopping"), [*((n_rows, "auto") for n_rows in [2, 9, 10, 50]), (9, True), (10, True), (10, False)]
)
def test_imputer_of_few_rows(n_rows, early_stopping):
    estimator = imputer(early_stopping=early_stopping).fit(HOLES[:n_rows])
    filled = estimator.transform(HOLES)
    hollow = np.isnan(HOLES[:n_rows]).all(axis=0)
    assert np.isfinite(filled[:, ~hollow]).all()
    judged = early_stopping is not False and n_rows >= 10
    assert (estimator.autoencoder_.validation_scores_ is not None) == judged


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("sample_posterior", [False, True])
def test_levels_that_the_imputer_does_not_know(library, sample_posterior):
    frame = pd.DataFrame({"number": X[:, 0], "colour": np.where(X[:, 0] > 5, "red", "blue")})
    new = frame.assign(colour=["violet", *frame["colour"][1:]])
    new.loc[1, "colour"] = None
    frame, new = (table if library == "pandas" else pl.from_pandas(table) for table in (frame, new))
    filled = imputer(sample_posterior=sample_posterior).fit(frame).transform(new)
    colours = filled["colour"].to_list()
    assert colours[0] == "violet"
    assert colours[1] in {"red", "blue"}
    assert colours[2:] == new["colour"].to_list()[2:]
    with pytest.raises(ValueError, match=r"'colour'.*violet.*handle_unknown='ignore'"):
        imputer(handle_unknown="error").fit(frame).transform(new)


def test_earlier_fit_of_an_imputer_is_kept():
    estimator = imputer().fit(HOLES)
    expected = estimator.transform(HOLES)
    with pytest.raises(ValueError, match="infinity"):
        estimator.fit(np.where(IS_HOLE[:, :3], np.inf, X[:, :3]))
    assert estimator.n_features_in_ == 5
    np.testing.assert_array_equal(estimator.transform(HOLES), expected)


@pytest.mark.parametrize("kind", BUILD)
def test_a_number_that_stands_for_missing_cells(kind):
    expected = values_of(imputer().fit_transform(BUILD[kind](HOLES)))
    marked = BUILD[kind](np.where(IS_HOLE, -999.0, X))
    np.testing.assert_array_equal(values_of(imputer(missing_values=-999).fit_transform(marked)), expected)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_string_that_stands_for_missing_cells(library):
    words = np.where(np.arange(120) % 7 == 0, "?", np.where(X[:, 0] > 5, "red", "blue"))
    frame = pd.DataFrame({"number": X[:, 0], "word": words}).astype({"word": object})
    table = frame if library == "pandas" else pl.from_pandas(frame)
    estimator = imputer(missing_values="?", add_indicator=True)
    filled = estimator.fit_transform(table)
    assert set(filled["word"]) == {"red", "blue"}
    assert list(estimator.inverse_transform(filled)["word"]) == list(words)


def test_a_string_cannot_stand_for_missing_numbers():
    with pytest.raises(ValueError, match=r"missing_values='\?' is a string.*np\.nan"):
        imputer(missing_values="?").fit(X)


def test_a_string_stands_for_missing_cells_beside_those_of_pandas():
    table = [["a", pd.NA], ["?", "c"], ["b", "d"], ["a", "c"]] * 5
    filled = imputer(missing_values="?").fit_transform(table)
    assert set(filled[:, 0]) == {"a", "b"}
    assert set(filled[:, 1]) == {"c", "d"}


@pytest.mark.parametrize("missing", [np.nan, None, "?"])
@pytest.mark.parametrize("of_lists", [False, True])
def test_arrays_of_strings_and_numbers(missing, of_lists):
    table = np.array([["a", 1.0], ["b", missing], [missing, 3.0], ["a", 2.0]] * 5, dtype=object)
    estimator = imputer(missing_values=missing)
    filled = estimator.fit_transform(table.tolist() if of_lists else table)
    assert filled.dtype == object
    observed = ~(pd.isna(table) | (table == "?"))
    np.testing.assert_array_equal(filled[observed], table[observed])
    assert set(filled[:, 0]) == {"a", "b"}
    assert all(1 <= number <= 3 for number in filled[:, 1])


@pytest.mark.parametrize("kind", BUILD)
def test_indicators_take_filled_cells_out_again(kind):
    values = np.where(np.arange(5) == 2, np.nan, HOLES)
    table = BUILD[kind](values)
    estimator = imputer(add_indicator=True)
    with pytest.warns(UserWarning, match="left out"):
        filled = estimator.fit_transform(table)
    back = estimator.inverse_transform(filled)
    assert type(back) is type(table)
    np.testing.assert_array_equal(values_of(back), values)
    with pytest.raises(ValueError, match="transform returns 8 columns"):
        estimator.inverse_transform(table)


def test_as_the_transformer_of_targets():
    target, rows = X[:, :2], X[:, 2:]
    model = TransformedTargetRegressor(regressor=Ridge(), transformer=imputer()).fit(rows, target)
    np.testing.assert_allclose(model.predict(rows), Ridge().fit(rows, target).predict(rows))


def test_weights_of_the_imputer_are_repetitions_and_0_is_absence():
    weights, order = np.random.default_rng(3).integers(0, 4, 120), np.random.default_rng(4).permutation(120)
    table = HOLES.copy()
    table[weights == 0, 1] = 1e6
    table[weights > 0, 4] = X[weights > 0, 4]
    repeated = imputer(add_indicator=True).fit(np.repeat(table, weights, axis=0))
    weighted = imputer(add_indicator=True).fit(table[order], sample_weight=weights[order])
    assert weighted.indicator_features_.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(weighted.transform(HOLES), repeated.transform(HOLES))


@pytest.mark.parametrize("last", [imputer(), AEAnomalyDetector(max_iter=1, cv=2, random_state=0)], ids=["imputer", "detector"])
def test_weights_are_routed(last):
    weights = np.arange(120) % 3
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, last.set_fit_request(sample_weight=True)).fit(X, sample_weight=weights)
    direct = clone(last).fit(StandardScaler().fit_transform(X), sample_weight=weights)
    name = "transform" if isinstance(last, AutoencoderImputer) else "score_samples"
    scaled = pipeline[0].transform(HOLES)
    np.testing.assert_array_equal(getattr(pipeline[-1], name)(scaled), getattr(direct, name)(scaled))


def test_marks_that_columns_cannot_hold():
    frame = pl.DataFrame({"a": [1, 2, None, 4] * 5, "b": range(20)})
    filled = AutoencoderImputer(missing_values=2**63, max_iter=1, n_estimators=1, random_state=0).fit_transform(frame)
    assert filled["a"].null_count() == 0
    rows = np.array([[np.nan], [np.nan]], dtype=object)
    with pytest.warns(UserWarning, match="No value in column"):
        imputer = AutoencoderImputer(missing_values="?", max_iter=1, n_estimators=1).fit(np.hstack([rows, [["a"], ["b"]]]))
    back = imputer.inverse_transform(imputer.transform(np.hstack([rows, [["a"], ["b"]]])))
    assert back.shape == (2, 2)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_rows_without_weight_are_absent_from_frames(library):
    cells = {"a": [1.0, 2.0, None, 4.0, 5.0, 6.0] * 5, "b": ["x", "y", None] * 10, "c": [7.0, 8.0, 9.0] * 10}
    weights = np.arange(30) % 3
    imputer = AutoencoderImputer(max_iter=2, n_estimators=1, hidden_layer_sizes=(4,), random_state=0)
    counted = {name: np.array(some, dtype=object)[weights > 0].tolist() for name, some in cells.items()}
    expected = imputer.fit(library(counted), sample_weight=weights[weights > 0]).transform(library(cells))
    found = imputer.fit(library(cells), sample_weight=weights).transform(library(cells))
    assert found.equals(expected)
