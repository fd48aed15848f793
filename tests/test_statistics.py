import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skvae import _statistics
from skvae._statistics import Scaling, Table, least_variances, merge_equal_rows, moments, principal_components

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


def test_taking_rows_takes_their_weights(few):
    table = merge_equal_rows(few, None)
    part = table.take(np.array([3, 1]))
    np.testing.assert_array_equal(part.rows, table.rows[[3, 1]])
    np.testing.assert_array_equal(part.weights, table.weights[[3, 1]])
    assert Table(few, None).take(np.array([3, 1])).weights is None


# Moments and scaling


@each_data
def test_moments_are_numpys_and_scikit_learns(X):
    mean, std = moments(Table(X, None))
    scaler = StandardScaler().fit(X)
    np.testing.assert_allclose(mean, X.mean(0), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(std, X.std(0), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(std, np.sqrt(scaler.var_), rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(std == 0, scaler.scale_ == 1)


@each_data
def test_weighted_moments_are_those_of_repeated_rows(X, rng):
    counts = rng.integers(1, 5, size=len(X))
    weighted = moments(Table(X, counts.astype(float)))
    for ours, repeated in zip(weighted, moments(Table(np.repeat(X, counts, axis=0), None)), strict=True):
        np.testing.assert_allclose(ours, repeated, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(weighted[0], np.average(X, axis=0, weights=counts), rtol=1e-12, atol=1e-14)


def test_columns_of_any_magnitude_stand_side_by_side(rng):
    Z = rng.normal(size=(50, 1))
    X = Z * SCALES
    mean, std = moments(Table(X, None))
    np.testing.assert_allclose(mean / SCALES, Z.mean(), rtol=1e-12)
    np.testing.assert_allclose(std / SCALES, Z.std(), rtol=1e-12)
    scaled = Scaling.standard(Table(X, None)).apply(X)
    np.testing.assert_allclose(scaled, np.repeat((Z - Z.mean()) / Z.std(), 5, axis=1), rtol=1e-10)


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e300, -1e-300, 5e-324, 1e16 + 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_column_is_exact(value, weighted, rng):
    table = Table(np.full((7, 1), value), rng.random(7) if weighted else None)
    mean, std = moments(table)
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
    assert scaling.log_jacobian == pytest.approx(np.linalg.slogdet(jacobian)[1])


def test_no_scaling_is_none():
    X, scaling = load_iris().data, Scaling.none(4)
    np.testing.assert_array_equal(scaling.apply(X), X)
    np.testing.assert_array_equal(scaling.invert(X), X)
    assert scaling.log_jacobian == 0


@pytest.mark.parametrize("scale", [1e-200, 1e-150, 1e30, 1e150])
def test_common_scaling_holds_at_any_magnitude(scale, rng):
    X = rng.normal(size=(30, 4))
    scaled = Scaling.common(Table(X * scale, None))
    np.testing.assert_allclose(scaled.apply(X * scale), Scaling.common(Table(X, None)).apply(X), rtol=1e-10)


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
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99])
def test_number_of_components_for_a_share_is_scikit_learns(X, share):
    assert principal_components(Table(X, None)).n_for_share(share) == PCA(share, svd_solver="full").fit(X).n_components_


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
    monkeypatch.setattr(_statistics, "SVD_COST", 0)
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
