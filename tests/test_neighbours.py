"""Nearest rows and distances to them, by brute force; and which rows a table is learned from."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from skvae._detector.neighbours import Metric, Neighbours
from skvae._detector.support import are_wild, supported
from tests.definitions import gaps_of_two, gaps_to_neighbours, mean_gaps

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
K = 3
MEMORY = RNG.normal(size=(30, 4))  # few enough that all rows are candidates
LATER = RNG.normal(size=(20, 4)) * 1.5
NUMBERS = Metric(np.zeros(4, dtype=int))
N_LEVELS = np.array([0, 0, 1, 3, 5])  # two numbers, a boolean, and two categories
MIXED = Metric(N_LEVELS)


def mixed_rows(n_rows, share_missing=0.2, seed=0):
    rng = np.random.default_rng(seed)
    cells = [rng.normal(size=(n_rows, 2)), *(rng.integers(0, max(2, n), (n_rows, 1)) for n in N_LEVELS[2:])]
    rows = np.concatenate(cells, axis=1).astype(float)
    return np.where(rng.random(rows.shape) < share_missing, np.nan, rows)


def neighbours_of(rows, metric, n_neighbors=K):
    return Neighbours.of(rows, metric, n_neighbors, CPU)[0]


# Numbers


def test_the_nearest_rows_are_those_of_a_search_by_absolute_differences():
    search = NearestNeighbors(n_neighbors=K, metric="manhattan").fit(MEMORY)
    found = neighbours_of(MEMORY, NUMBERS).nearest(LATER.astype(np.float32), among_them=False)
    np.testing.assert_array_equal(found, search.kneighbors(LATER, return_distance=False))


def test_of_equally_near_rows_the_first_are_taken():
    rows = np.random.default_rng(0).integers(0, 2, (300, 3)).astype(np.float32)  # 8 different ones
    found = neighbours_of(rows, NUMBERS).nearest(rows[:40], among_them=False)
    distances = cdist(rows[:40], rows, "cityblock")
    np.testing.assert_array_equal(found, distances.argsort(axis=1, kind="stable")[:, :K])


def test_rows_of_the_memory_are_no_neighbours_of_themselves():
    search = NearestNeighbors(n_neighbors=K, metric="manhattan").fit(MEMORY)
    found = neighbours_of(MEMORY, NUMBERS).nearest(MEMORY.astype(np.float32), among_them=True)
    np.testing.assert_array_equal(found, search.kneighbors(return_distance=False))


def test_the_scale_of_a_row_is_its_mean_distance_to_its_own_neighbours():
    search = NearestNeighbors(n_neighbors=K, metric="manhattan").fit(MEMORY)
    np.testing.assert_allclose(neighbours_of(MEMORY, NUMBERS).scales, search.kneighbors()[0].mean(axis=1), rtol=1e-5)


def test_gaps_are_over_the_root_of_the_mean_scale_of_the_neighbours():
    search = NearestNeighbors(n_neighbors=K, metric="manhattan").fit(MEMORY)
    nearest, scales = search.kneighbors(LATER, return_distance=False), search.kneighbors()[0].mean(axis=1)
    gaps = np.abs(LATER[:, None] - MEMORY[nearest]).mean(axis=1)
    expected = gaps / np.sqrt(scales[nearest].mean(axis=1) + 1e-3)[:, None]
    np.testing.assert_allclose(neighbours_of(MEMORY, NUMBERS).gaps(LATER, among_them=False), expected, rtol=1e-5)


def test_gaps_of_a_row_of_the_memory_are_those_of_the_row_without_itself():
    neighbours = neighbours_of(MEMORY, NUMBERS)
    nearest = NearestNeighbors(n_neighbors=K, metric="manhattan").fit(MEMORY).kneighbors(return_distance=False)
    usual = np.sqrt(neighbours.scales[nearest].mean(axis=1) + 1e-3)
    found = neighbours.gaps(MEMORY, among_them=True) * usual[:, None]
    for i, row in enumerate(MEMORY):
        others = np.delete(MEMORY, i, axis=0)
        closest = NearestNeighbors(n_neighbors=K, metric="manhattan").fit(others).kneighbors(row[None], return_distance=False)
        np.testing.assert_allclose(found[i], np.abs(row - others[closest[0]]).mean(axis=0), rtol=1e-4, atol=1e-6)


def test_among_many_rows_the_nearest_are_nearly_always_found():
    memory, rows = RNG.normal(size=(2000, 6)), RNG.normal(size=(200, 6))
    exact = NearestNeighbors(n_neighbors=5, metric="manhattan").fit(memory).kneighbors(rows, return_distance=False)
    found = neighbours_of(memory, Metric(np.zeros(6, dtype=int)), 5).nearest(rows.astype(np.float32), among_them=False)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]) > 4.95


def test_twins_are_at_no_distance_and_their_scale_is_not_zero():
    memory = np.repeat(MEMORY[:5], 8, axis=0)
    neighbours = neighbours_of(memory, NUMBERS)
    np.testing.assert_array_equal(neighbours.scales, 0)
    np.testing.assert_array_equal(neighbours.gaps(memory, among_them=True), 0)
    np.testing.assert_allclose(
        neighbours.gaps(MEMORY[:1] + 0.1, among_them=False), np.full((1, 4), 0.1 / math.sqrt(1e-3)), rtol=1e-4
    )


def test_of_more_neighbours_than_there_are_others_all_are_taken():
    nearest = neighbours_of(MEMORY[:4], NUMBERS, 10).nearest(MEMORY[:4].astype(np.float32), among_them=True)
    np.testing.assert_array_equal(np.sort(nearest), [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])


# Mixed tables with holes


def test_later_mixed_rows_are_as_a_loop_over_cells_says():
    memory, later = mixed_rows(25), mixed_rows(12, seed=1)
    found = neighbours_of(memory, MIXED).gaps(later, among_them=False)
    np.testing.assert_allclose(found, [gaps_to_neighbours(row, memory, N_LEVELS, K) for row in later], rtol=1e-4, atol=1e-5)


def test_mixed_rows_of_the_memory_are_compared_with_the_others():
    memory = mixed_rows(25)
    found = neighbours_of(memory, MIXED).gaps(memory, among_them=True)
    for i, row in enumerate(memory):
        expected = mean_gaps(row, np.delete(memory, i, axis=0), N_LEVELS, K)
        np.testing.assert_array_equal(np.isnan(found[i]), np.isnan(expected))
        np.testing.assert_allclose(found[i] * np.nansum(expected), expected * np.nansum(found[i]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("place", [0, 1])
def test_a_row_with_a_twin_that_has_a_hole_is_no_neighbour_of_itself(place):
    others = np.array([[5.0, 7.0], [6.0, 9.0], [7.0, 8.0]])
    whole, with_hole = np.array([1.0, 2.0]), np.array([1.0, np.nan])
    memory = np.concatenate([[whole, with_hole] if place == 0 else [with_hole, whole], others])
    gaps = neighbours_of(memory, Metric(np.zeros(2, dtype=int)), 1).gaps(whole[None], among_them=True)
    np.testing.assert_array_equal(gaps, [[0, np.nan]])  # its only neighbour is the twin, which says nothing of the hole


def test_rows_with_no_column_in_common_are_never_near():
    memory = np.array([[0.0, np.nan], [np.nan, 0.0], [50.0, np.nan], [60.0, np.nan]])
    found = neighbours_of(memory, Metric(np.zeros(2, dtype=int)), 2).nearest(np.array([[1.0, np.nan]], dtype=np.float32), False)
    np.testing.assert_array_equal(found, [[0, 2]])


def test_an_empty_row_has_no_gaps():
    gaps = neighbours_of(MEMORY, NUMBERS).gaps(np.full((1, 4), np.nan), among_them=False)
    assert np.isnan(gaps).all()


@pytest.mark.parametrize("power", [1, 2])
def test_differences_of_features_to_a_power_sum_to_the_distance_to_that_power(power):
    rows = mixed_rows(15, share_missing=0)
    features = MIXED.features(torch.from_numpy(rows), power).numpy()
    found = cdist(features, features, "cityblock" if power == 1 else "sqeuclidean")
    expected = [[np.sum(gaps_of_two(a, b, N_LEVELS) ** power) for b in rows] for a in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_features_of_missing_cells_are_zero():
    features = NUMBERS.features(torch.tensor([[1.0, np.nan, 2.0, np.nan]]), power=1)
    np.testing.assert_array_equal(features, [[1, 0, 2, 0]])
    of_levels = Metric(np.array([3])).features(torch.tensor([[np.nan]]), power=2)
    np.testing.assert_array_equal(of_levels, [[0, 0, 0]])


def test_two_categories_differ_by_the_mean_distance_of_two_normal_cells():
    a, b = np.random.default_rng(0).normal(size=(2, 200_000))
    found = Metric(np.array([4])).distances(torch.tensor([[0.0]]), torch.tensor([[3.0]]))
    assert found.item() == pytest.approx(np.abs(a - b).mean(), rel=0.01)


def test_what_was_fitted_on_another_device_finds_the_same():
    here = neighbours_of(MEMORY, NUMBERS)
    elsewhere = replace(here, device=torch.device("cuda", 99))
    np.testing.assert_array_equal(elsewhere.gaps(LATER, among_them=False), here.gaps(LATER, among_them=False))


# Rows that are learned from


def kept_of(rows, fraction=0.8, seed=0):
    return supported(rows, Metric(np.zeros(rows.shape[1], dtype=int)), fraction, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(3))
def test_a_single_far_row_is_left_out(seed):
    rows = np.random.default_rng(seed).normal(size=(100, 3))
    rows[37] = 9
    kept = kept_of(rows, seed=seed)
    assert 37 not in kept
    assert len(kept) == len(set(kept)) == 80
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_small_dense_group_is_left_out(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(300, 3))
    rows[:9] = 6 + 0.01 * rng.normal(size=(9, 3))
    assert kept_of(rows, seed=seed).min() >= 9


@pytest.mark.parametrize("seed", range(3))
def test_a_large_dense_group_is_not_left_out_as_a_whole(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(300, 3))
    rows[:45] = 6 + 0.3 * rng.normal(size=(45, 3))
    assert (kept_of(rows, seed=seed) < 45).sum() >= 9


def test_all_rows_are_kept_on_request():
    np.testing.assert_array_equal(kept_of(LATER, 1.0), np.arange(20))


def test_two_rows_are_kept_at_least():
    assert len(kept_of(LATER, 0.01)) == 2
    np.testing.assert_array_equal(kept_of(LATER[:2], 0.5), [0, 1])


@pytest.mark.parametrize("place", range(3))
def test_of_three_rows_the_far_one_is_left_out_wherever_it_stands(place):
    rows = np.insert([[0.0], [0.1]], place, 100.0, axis=0)
    assert place not in kept_of(rows)


def test_rows_are_far_by_the_distance_of_mixed_rows():
    rows = np.random.default_rng(0).normal(size=(60, 2))
    levels = np.zeros((60, 1))
    levels[11] = 2
    kept = supported(
        np.concatenate([0.1 * rows, levels], axis=1), Metric(np.array([0, 0, 3])), 59 / 60, np.random.default_rng(0)
    )
    assert 11 not in kept


def test_a_level_of_many_rows_loses_at_most_twice_as_large_a_share_as_the_table():
    rows = np.random.default_rng(0).normal(size=(1000, 4))
    rows[:, 3] = np.where(np.arange(1000) < 60, 1, np.where(np.arange(1000) < 70, 2, 0))
    kept = supported(rows, Metric(np.array([0, 0, 0, 3])), 0.8, np.random.default_rng(0))
    lost = [1 - np.isin(np.flatnonzero(rows[:, 3] == level), kept).mean() for level in range(3)]
    assert lost[1] == pytest.approx(0.4)
    assert lost[2] > 0.9  # of few rows, all of which may be odd


# Wild cells


def test_a_row_is_wild_that_has_a_far_cell_of_which_there_are_few():
    rows = np.random.default_rng(0).normal(size=(500, 2))
    rows[[3, 4, 5], [0, 1, 1]] = [400, -400, 300]
    np.testing.assert_array_equal(np.flatnonzero(are_wild(rows, np.array([True, True]))), [3, 4, 5])
    np.testing.assert_array_equal(np.flatnonzero(are_wild(rows, np.array([True, False]))), [3])


def test_far_cells_are_not_wild_where_many_are_as_far():
    rows = np.random.default_rng(0).normal(size=(500, 2))
    rows[:6, 0] = 400
    rows[6:12, 1] = [np.nan, 15, 15, -15, 15, 17]
    assert not are_wild(rows, np.array([True, True])).any()
