import numpy as np
import pytest
import torch

from skvae._tables.encoding import BOOLEAN, Encoding
from skvae._tables.rows import Table
from skvae.core.inputs import Inputs

N_LEVELS = np.array([0, 3, BOOLEAN, 0, 5, 2])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def rows(rng):
    levels = [rng.integers(max(n, 2), size=60).astype(float) for n in N_LEVELS]
    return np.column_stack([rng.normal(size=60) if n == 0 else cells for n, cells in zip(N_LEVELS, levels, strict=True)])


def with_holes(rows, rng, share=0.3):
    return np.where(rng.random(rows.shape) < share, np.nan, rows)


def by_hand(rows, counts):
    """Features column by column, levels centred at their shares and divided by the root of their total variance."""
    features = []
    for cells, n_levels in zip(rows.T, N_LEVELS, strict=True):
        if n_levels == 0:
            features.append(cells)
            continue
        seen = ~np.isnan(cells)
        levels = [1] if n_levels == BOOLEAN else range(n_levels)
        dummies = [np.where(seen, cells == level, np.nan) for level in levels]
        shares = [np.average(d[seen], weights=counts[seen]) for d in dummies]
        unit = sum(np.average((d[seen] - p) ** 2, weights=counts[seen]) for d, p in zip(dummies, shares, strict=True)) ** 0.5
        features += [(d - p) / unit for d, p in zip(dummies, shares, strict=True)]
    return np.column_stack(features)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_features_are_numbers_and_levels_in_units_of_their_column(missing, weighted, rows, rng):
    rows, counts = with_holes(rows, rng, missing), rng.random(60) if weighted else np.ones(60)
    encoding = Encoding.of(Table(rows, counts if weighted else None), N_LEVELS)
    np.testing.assert_allclose(encoding.features(rows), by_hand(rows, counts), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(encoding.column, [0, 1, 1, 1, 2, 3, 4, 4, 4, 4, 4, 5, 5])
    np.testing.assert_array_equal(encoding.level, [-1, 0, 1, 2, -1, -1, 0, 1, 2, 3, 4, 0, 1])
    np.testing.assert_array_equal(encoding.is_number, np.isin(np.arange(13), [0, 5]))


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_column_that_is_no_number_has_a_total_variance_of_1(missing, rows, rng):
    rows = with_holes(rows, rng, missing)
    counts = rng.integers(1, 4, size=60)
    encoding = Encoding.of(Table(rows, counts.astype(float)), N_LEVELS)
    repeated = np.repeat(encoding.features(rows), counts, axis=0)
    levels = ~encoding.is_number
    np.testing.assert_allclose(np.nanmean(repeated[:, levels], axis=0), 0, atol=1e-12)
    totals = np.bincount(encoding.column[levels], np.nanvar(repeated[:, levels], axis=0))
    np.testing.assert_allclose(totals[N_LEVELS > 0], 1)


def test_all_features_of_a_missing_cell_are_missing_and_no_others(rows, rng):
    holes = with_holes(rows, rng)
    encoding = Encoding.of(Table(holes, None), N_LEVELS)
    np.testing.assert_array_equal(np.isnan(encoding.features(holes)), np.isnan(holes)[:, encoding.column])
    np.testing.assert_array_equal(np.isnan(encoding.features(rows)), False)


@pytest.mark.parametrize("column", [1, 2, 4])
@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_a_column_that_never_varies_stays_within_1(value, column, rows):
    constant = rows.copy()
    constant[:, column] = value
    for seed in range(20):
        weights = np.random.default_rng(seed).random(60)
        encoding = Encoding.of(Table(constant, weights), N_LEVELS)
        features = encoding.features(rows)[:, encoding.column == column]
        np.testing.assert_array_equal(encoding.unit[encoding.column == column], 1)
        assert (np.abs(features) < 1 + 1e-9).all()


def test_a_level_that_is_not_in_the_table_is_finite(rows):
    rows[rows[:, 4] == 2, 4] = 3
    encoding = Encoding.of(Table(rows, None), N_LEVELS)
    rows[0, 4] = 2
    assert encoding.mean[encoding.column == 4][2] == 0
    assert np.isfinite(encoding.features(rows)).all()


def test_the_encoder_sees_the_same_features(rows):
    encoding = Encoding.of(Table(rows, None), N_LEVELS)
    column, level, mean, unit = map(torch.from_numpy, (encoding.column, encoding.level, encoding.mean, encoding.unit))
    inputs = Inputs(column, level, mean, unit, 2, marked=True, dtype=torch.float64)
    np.testing.assert_allclose(inputs(torch.from_numpy(rows))[:, :13], encoding.features(rows), rtol=1e-12, atol=1e-12)
