import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skvae._fit import pca as pca_module
from skvae._fit.pca import components_of_covariance, principal_components
from skvae._tables.rows import Table, merge_equal_rows
from skvae._tables.scaling import Scaling, least_variances, resolutions

DATA = {
    "iris": load_iris().data,
    "wine": load_wine().data,
    "breast cancer": load_breast_cancer().data,
    "diabetes": load_diabetes().data,
    "digits": load_digits().data,  # with constant columns
    "wide": load_digits().data[:20],  # fewer rows than columns
    "two rows": load_iris().data[[0, 60]],
}
each_data = pytest.mark.parametrize("X", DATA.values(), ids=DATA)
SCALES = [1e-300, 1e-30, 1.0, 1e30, 1e300]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def few(rng):
    """A hundred rows of which many are equal."""
    return rng.integers(0, 3, size=(100, 3)).astype(float)


@pytest.fixture
def holed(few, rng):
    """The same with missing cells, and a row without any."""
    few[rng.random(few.shape) < 0.3] = np.nan
    few[7] = np.nan
    return few


def assert_same_table(first, second):
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.counts, second.counts)


# Equal rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distinct_rows_and_how_often_each_stands_in_the_data(few, dtype):
    table = merge_equal_rows(few.astype(dtype), None)
    rows, counts = np.unique(few, axis=0, return_counts=True)
    order = np.lexsort(table.rows.T[::-1])
    np.testing.assert_array_equal(table.rows[order], rows)
    np.testing.assert_array_equal(table.counts[order], counts)
    assert table.rows.dtype == dtype


def test_weights_are_repetitions_to_the_bit(few, rng):
    weights = rng.integers(0, 4, size=len(few))
    assert_same_table(merge_equal_rows(few, weights.astype(float)), merge_equal_rows(np.repeat(few, weights, axis=0), None))


def test_rows_of_weight_zero_are_absent(rng):
    X, weights = rng.normal(size=(10, 2)), np.arange(10.0) % 2
    assert_same_table(merge_equal_rows(X, weights), merge_equal_rows(X[1::2], None))


def test_the_order_of_rows_is_forgotten(few, rng):
    order = rng.permutation(len(few))
    assert_same_table(merge_equal_rows(few[order], None), merge_equal_rows(few, None))


@pytest.mark.parametrize("weighted", [False, True])
def test_distinct_rows_without_weights_have_none(weighted, rng):
    assert merge_equal_rows(rng.normal(size=(10, 2)), np.ones(10) if weighted else None).weights is None


def test_equal_rows_keep_weights_where_all_are_doubled(rng):
    assert merge_equal_rows(np.repeat(rng.normal(size=(10, 2)), 2, axis=0), None).weights.tolist() == [2] * 10


@pytest.mark.parametrize("zeros", [(0.0, -0.0), (-0.0, 0.0), (-0.0, -0.0)])
def test_minus_zero_is_zero(zeros):
    table = merge_equal_rows(np.array([[zero, 1.0] for zero in zeros]), None)
    assert table.rows.tolist() == [[0, 1]]
    assert not np.signbit(table.rows).any()
    assert table.weights.tolist() == [2]


def test_the_input_is_left_alone(few):
    before, weights = few.copy(), np.ones(len(few))
    merge_equal_rows(few, weights)
    np.testing.assert_array_equal(few, before)
    np.testing.assert_array_equal(weights, 1)


@pytest.mark.parametrize("n_hashes", [1, 3])
def test_rows_whose_hashes_collide_are_not_merged(n_hashes, few, monkeypatch):
    real = pd.util.hash_pandas_object
    monkeypatch.setattr(pd.util, "hash_pandas_object", lambda frame, index: real(frame, index=index) % n_hashes)
    table = merge_equal_rows(few, None)
    merged = pd.DataFrame(table.rows).assign(count=table.counts).groupby([0, 1, 2])["count"].sum()
    pd.testing.assert_series_equal(
        merged, pd.DataFrame(few).groupby([0, 1, 2])[0].count(), check_names=False, check_dtype=False
    )


def counts_by_key(X, counts):
    """How often each row stands in the data, where missing cells equal missing ones only."""
    found = {}
    for row, count in zip(X.tolist(), counts, strict=True):
        key = tuple("missing" if cell != cell else cell for cell in row)
        found[key] = found.get(key, 0) + count
    return found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_miss_the_same_cells_may_be_equal(dtype, weighted, holed, rng):
    weights = rng.integers(0, 4, size=len(holed)).astype(float) if weighted else None
    table = merge_equal_rows(holed.astype(dtype), weights)
    expected = counts_by_key(holed, np.ones(len(holed)) if weights is None else weights)
    found = counts_by_key(table.rows, table.counts)
    assert len(found) == len(table.rows)
    assert found == {key: count for key, count in expected.items() if count}
    assert table.rows.dtype == dtype
    assert not table.is_complete


def test_rows_with_missing_cells_forget_their_order_and_are_repetitions_to_the_bit(holed, rng):
    order, weights = rng.permutation(len(holed)), rng.integers(0, 4, size=len(holed))
    assert_same_table(merge_equal_rows(holed[order], None), merge_equal_rows(holed, None))
    repeated = merge_equal_rows(np.repeat(holed, weights, axis=0), None)
    assert_same_table(merge_equal_rows(holed, weights.astype(float)), repeated)


def test_one_missing_cell_is_as_good_as_another():
    X = np.array([[1.0, np.nan], [1.0, -np.nan], [1.0, np.copysign(np.nan, -1)]])
    X[0, 1], X[1, 1] = np.array([0x7FF8000000000001, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    assert merge_equal_rows(X, None).counts.tolist() == [3]


@pytest.mark.parametrize("n_hashes", [1, 3])
def test_so_they_are_not_merged_with_others_whose_hashes_collide(n_hashes, holed, monkeypatch):
    real = pd.util.hash_pandas_object
    monkeypatch.setattr(pd.util, "hash_pandas_object", lambda frame, index: real(frame, index=index) % n_hashes)
    table = merge_equal_rows(holed, None)
    assert counts_by_key(table.rows, table.counts) == counts_by_key(holed, np.ones(len(holed)))


def test_taking_rows_takes_their_weights(few):
    table = merge_equal_rows(few, None)
    part = table.take(np.array([3, 1]))
    np.testing.assert_array_equal(part.rows, table.rows[[3, 1]])
    np.testing.assert_array_equal(part.weights, table.weights[[3, 1]])
    assert Table(few, None).take(np.array([3, 1])).weights is None


# Moments and scaling


@each_data
def test_moments_are_numpys_and_scikit_learns(X):
    mean, std = Table(X, None).moments()
    scaler = StandardScaler().fit(X)
    np.testing.assert_allclose(mean, X.mean(0), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(std, X.std(0), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(std, np.sqrt(scaler.var_), rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(std == 0, scaler.scale_ == 1)


@each_data
def test_weighted_moments_are_those_of_repeated_rows(X, rng):
    counts = rng.integers(1, 5, size=len(X))
    weighted = Table(X, counts.astype(float)).moments()
    for ours, repeated in zip(weighted, Table(np.repeat(X, counts, axis=0), None).moments(), strict=True):
        np.testing.assert_allclose(ours, repeated, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(weighted[0], np.average(X, axis=0, weights=counts), rtol=1e-12, atol=1e-14)


def test_columns_of_any_magnitude_stand_side_by_side(rng):
    Z = rng.normal(size=(50, 1))
    X = Z * SCALES
    mean, std = Table(X, None).moments()
    np.testing.assert_allclose(mean / SCALES, Z.mean(), rtol=1e-12)
    np.testing.assert_allclose(std / SCALES, Z.std(), rtol=1e-12)
    scaled = Scaling.standard(Table(X, None)).apply(X)
    np.testing.assert_allclose(scaled, np.repeat((Z - Z.mean()) / Z.std(), 5, axis=1), rtol=1e-10)


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e300, -1e-300, 5e-324, 1e16 + 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_column_is_exact(value, weighted, rng):
    table = Table(np.full((7, 1), value), rng.random(7) if weighted else None)
    mean, std = table.moments()
    assert (mean[0], std[0]) == (value, 0.0)
    scaling = Scaling.standard(table)
    assert scaling.apply(table.rows).tolist() == [[0.0]] * 7
    assert scaling.invert(np.array([[0.0], [5.0]])).tolist() == [[value]] * 2


@pytest.mark.parametrize("scaling", [Scaling.standard, Scaling.common], ids=["standard", "common"])
@each_data
def test_inverting_undoes_scaling(scaling, X):
    scaling = scaling(Table(X, None))
    np.testing.assert_allclose(scaling.invert(scaling.apply(X)), X, rtol=1e-12, atol=1e-12)


@each_data
def test_standard_scaling_is_that_of_scikit_learn(X):
    np.testing.assert_allclose(
        Scaling.standard(Table(X, None)).apply(X), StandardScaler().fit_transform(X), rtol=1e-9, atol=1e-9
    )


@each_data
def test_common_scaling_keeps_proportions_and_has_unit_variance_in_the_mean(X):
    scaling = Scaling.common(Table(X, None))
    Z = scaling.apply(X)
    np.testing.assert_allclose(Z.var(0).mean(), 1.0)
    np.testing.assert_allclose(Z * np.sqrt(scaling.error_unit), X - X.mean(0), atol=1e-10)


@pytest.mark.parametrize("scaling", [Scaling.standard, Scaling.common], ids=["standard", "common"])
def test_log_jacobian_is_that_of_the_scaling(scaling, rng):
    X = rng.normal(size=(30, 4)) * [1e-3, 1.0, 50.0, 7.0]
    scaling = scaling(Table(X, None))
    jacobian = scaling.apply(np.eye(4)) - scaling.apply(np.zeros((1, 4)))
    assert scaling.log_jacobians(X[:1])[0] == pytest.approx(np.linalg.slogdet(jacobian)[1])


def test_no_scaling_is_none():
    X = load_iris().data
    scaling = Scaling.none(Table(X, None))
    np.testing.assert_array_equal(scaling.apply(X), X)
    np.testing.assert_array_equal(scaling.invert(X), X)
    assert (scaling.log_jacobians(X) == 0).all()


def test_no_scaling_leaves_columns_that_never_vary_too():
    X = np.array([[1.0, 3.0], [1.0, 4.0]])
    scaling = Scaling.none(Table(X, None))
    np.testing.assert_array_equal(scaling.apply(X + 7), X + 7)


# With missing cells


@pytest.fixture
def gaps(rng):
    """Columns of any magnitude; one is constant, one of a single cell and one without any."""
    X = rng.normal(size=(50, 7)) * [1e-200, 1.0, 50.0, 1e200, 1.0, 1.0, 1.0] + [0, 3, -9, 0, 0, 0, 0]
    X[:, 4] = -2.5
    X[rng.random(X.shape) < 0.4] = np.nan
    X[1:, 5], X[:, 6] = np.nan, np.nan
    X[0, 5] = 0.1
    return X


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_are_those_of_the_cells_that_are_there(weighted, gaps, rng):
    counts = rng.integers(1, 5, size=50) if weighted else np.ones(50, dtype=int)
    table = Table(gaps, counts.astype(float) if weighted else None)
    mean, std = table.moments()
    unit = np.array([1e-200, 1, 1, 1e200, 1, 1, 1])
    repeated = np.repeat(gaps, counts, axis=0) / unit
    np.testing.assert_allclose(mean[:6] / unit[:6], np.nanmean(repeated[:, :6], axis=0), rtol=1e-12)
    np.testing.assert_allclose(std[:4] / unit[:4], np.nanstd(repeated[:, :4], axis=0), rtol=1e-12)
    assert mean[4:6].tolist() == [-2.5, 0.1]
    assert std[4:].tolist() == [0, 0, 0]
    assert np.isnan(mean[6])


def test_extremes_are_those_of_the_cells_that_are_there(gaps):
    lowest, highest = Table(gaps, None).extremes()
    np.testing.assert_array_equal(lowest[:6], np.nanmin(gaps[:, :6], axis=0))
    np.testing.assert_array_equal(highest[:6], np.nanmax(gaps[:, :6], axis=0))
    assert np.isnan([lowest[6], highest[6]]).all()


SCALINGS = {"standard": Scaling.standard, "common": Scaling.common, "none": lambda table, numbers=True: Scaling.none(table)}
each_scaling = pytest.mark.parametrize("scale", SCALINGS.values(), ids=SCALINGS)


@each_scaling
@pytest.mark.parametrize("numbers", [True, np.array([True, True, False, False, True, True, False])], ids=["all", "some"])
def test_scaling_keeps_missing_cells_and_comes_back(scale, numbers, gaps):
    columns = [1, 2, 4, 5, 6]  # of like magnitude, so that one factor for all will do
    X, numbers = gaps[:, columns], numbers if numbers is True else numbers[columns]
    scaling = scale(Table(X, None), numbers)
    Z = scaling.apply(X)
    np.testing.assert_array_equal(np.isnan(Z), np.isnan(X))
    np.testing.assert_allclose(scaling.invert(Z)[~np.isnan(X)], X[~np.isnan(X)], rtol=1e-12, atol=1e-14)
    back = scaling.invert(np.full((3, 5), 0.7))
    assert np.isnan(back[:, 4]).all()
    assert np.isfinite(back[:, :4]).all()
    assert np.isfinite(scaling.log_jacobians(X)).all()


def test_standard_scaling_is_of_the_cells_that_are_there(gaps):
    Z = Scaling.standard(Table(gaps, None)).apply(gaps)
    np.testing.assert_allclose(np.nanmean(Z[:, :6], axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(Z[:, :4], axis=0), 1, rtol=1e-12)


def test_common_scaling_has_unit_variance_in_the_mean_over_numbers(gaps):
    X, numbers = gaps[:, [1, 2, 4, 5, 6]], np.array([False, True, True, True, False])
    scaling = Scaling.common(Table(X, None), numbers)
    Z = scaling.apply(X)[:, numbers]
    np.testing.assert_allclose(np.nanvar(Z, axis=0).mean(), 1)
    deviations = X[:, numbers] - np.nanmean(X[:, numbers], axis=0)
    np.testing.assert_allclose(Z * np.sqrt(scaling.error_unit), deviations, atol=1e-12)


@each_scaling
def test_what_is_no_number_stays_as_it_is(scale, few):
    table = Table(np.column_stack([few, np.ones(100)]), None)
    scaling = scale(table, np.array([True, False, True, False]))
    np.testing.assert_array_equal(scaling.apply(table.rows)[:, [1, 3]], table.rows[:, [1, 3]])
    np.testing.assert_array_equal(scaling.invert(table.rows + 1)[:, [1, 3]], table.rows[:, [1, 3]] + 1)


@pytest.mark.parametrize(
    ("cells", "gap"),
    [
        (np.arange(10.0), 1.0),
        (5 * np.array([3.0, 1.0, 2.0, 0.0, 2.0]), 5.0),
        (np.array([0.0, 1.0, 2.0, 3.0, 50.0]), 1.0),
        (np.array([0.1, np.nan, 0.3, 0.2, np.nan]), 0.1),
        (np.full(4, 7.0), 0.0),
        (np.full(4, np.nan), 0.0),
        (np.array([]), 0.0),
    ],
)
def test_a_resolution_is_the_variance_of_rounding_to_the_usual_gap(cells, gap):
    expected = stats.uniform(-gap / 2, gap).var() if gap else 0.0
    np.testing.assert_allclose(resolutions(Table(cells[:, None], None)), [expected], rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e-150, 1e30, 1e150])
def test_common_scaling_holds_at_any_magnitude(scale, rng):
    X = rng.normal(size=(30, 4))
    scaled = Scaling.common(Table(X * scale, None))
    np.testing.assert_allclose(scaled.apply(X * scale), Scaling.common(Table(X, None)).apply(X), rtol=1e-10)
    levels = np.arange(30.0)[:, None] % 3
    beside = Scaling.common(Table(np.hstack([X * scale, levels]), None), np.arange(5) < 4)
    np.testing.assert_array_equal(beside.apply(np.hstack([X * scale, levels]))[:, :4], scaled.apply(X * scale))


# Principal components


def spread(pca):
    """Which components have a variance that is more than rounding."""
    return pca.explained_variance_ > 1e-12 * pca.explained_variance_[0]


@each_data
def test_principal_components_are_scikit_learns_signs_included(X):
    ours, pca = principal_components(Table(X, None)), PCA(svd_solver="full").fit(X)
    alive = spread(pca)
    np.testing.assert_allclose(ours.mean, pca.mean_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.variances[alive], pca.explained_variance_[alive], rtol=1e-9)
    np.testing.assert_allclose(ours.axes[alive], pca.components_[alive], atol=1e-9)
    np.testing.assert_allclose(ours.variances[~alive], 0, atol=1e-12 * ours.variances[0])
    assert len(ours.axes) == len(ours.variances) == min(X.shape)


@each_data
def test_number_of_components_for_a_share_is_scikit_learns(X):
    components = principal_components(Table(X, None))
    for share in [0.01, 0.5, 0.9, 0.99]:
        assert components.n_for_share(share) == PCA(share, svd_solver="full").fit(X).n_components_


@each_data
def test_components_of_a_covariance_are_those_of_the_rows(X):
    ours, pca = components_of_covariance(X.mean(0), np.cov(X.T)), PCA(svd_solver="full").fit(X)
    alive = pca.explained_variance_ > 1e-6 * pca.explained_variance_[0]
    k = alive.sum()
    np.testing.assert_allclose(ours.variances[:k], pca.explained_variance_[:k], rtol=1e-8)
    np.testing.assert_allclose(ours.axes[:k], pca.components_[:k], atol=1e-6)
    assert len(ours.variances) == X.shape[1]
    assert (ours.variances >= 0).all()


def test_a_share_of_no_variance_is_one_component():
    assert principal_components(Table(np.ones((5, 3)), None)).n_for_share(0.9) == 1


@each_data
def test_weighted_components_are_those_of_repeated_rows(X, rng):
    counts = rng.integers(1, 4, size=len(X))
    ours = principal_components(Table(X, counts.astype(float)))
    pca = PCA(svd_solver="full").fit(np.repeat(X, counts, axis=0))
    alive = spread(pca)
    k = alive.sum()
    assert (ours.variances[k:] <= 1e-12 * ours.variances[0]).all()
    np.testing.assert_allclose(ours.variances[:k], pca.explained_variance_[:k], rtol=1e-9)
    np.testing.assert_allclose(ours.axes[:k], pca.components_[:k], atol=1e-9)


@pytest.mark.parametrize("name", ["iris", "wine", "diabetes", "digits"])
def test_both_algorithms_agree(name, monkeypatch):
    table = Table(DATA[name], None)
    exact = principal_components(table)
    monkeypatch.setattr(pca_module, "SVD_COST", 0)
    fast = principal_components(table)
    alive = exact.variances > 1e-6 * exact.variances[0]
    np.testing.assert_allclose(fast.variances, exact.variances, rtol=1e-8, atol=1e-12 * exact.variances[0])
    np.testing.assert_allclose(fast.axes[alive], exact.axes[alive], atol=1e-6)
    assert (fast.variances >= 0).all()


@each_data
def test_axes_are_orthonormal_and_variances_fall(X):
    ours = principal_components(Table(X, None))
    np.testing.assert_allclose(ours.axes @ ours.axes.T, np.eye(len(ours.axes)), atol=1e-10)
    assert (np.diff(ours.variances) <= 0).all()


@pytest.mark.parametrize("weights", [None, np.ones(1)])
def test_one_row_has_no_variance(weights):
    ours = principal_components(Table(np.array([[1.0, 2.0, 3.0]]), weights))
    assert ours.mean.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(ours.variances, 0)


# The floor of the noise


@pytest.mark.parametrize(
    ("deviation", "expected"), [(0.0, 1e-6), (1e-6, 1e-12), (1e-3, 1e-12), (0.1, 1e-8), (1.0, 1e-6), (10.0, 1e-4)]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_least_variance_is_a_millionth_of_the_columns_but_no_less_than_rounding(deviation, expected, weighted):
    X = np.repeat([[1.0], [-1.0]], 3, axis=0)
    table = Table(np.hstack([deviation * X, X]), np.full(6, 2.0) if weighted else None)
    np.testing.assert_allclose(least_variances(table), [expected, 1e-6])
