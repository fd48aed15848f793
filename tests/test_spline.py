"""Smooth rising functions, against their definition and finite differences."""

import numpy as np
import pytest

from skvae._tables.spline import Spline

BENT = Spline.through(np.array([-1.0, 0.0, 0.5, 4.0]), np.array([-2.0, -0.5, 0.3, 2.0]), tail=0.3)
FAR = np.array([-1e11, -50.0, -1.0 - 1e-9, 4.0 + 1e-9, 30.0, 1e11])
X = np.sort(np.concatenate([np.linspace(-3, 6, 2001), FAR]))


def test_it_goes_through_its_knots():
    np.testing.assert_allclose(BENT(BENT.knots), BENT.heights, rtol=0, atol=1e-15)


def test_it_rises_everywhere():
    assert (np.diff(BENT(X)) > 0).all()


def test_the_slope_is_that_of_finite_differences():
    inside, step = np.linspace(-3, 6, 777), 1e-6
    differences = (BENT(inside + step) - BENT(inside - step)) / (2 * step)
    np.testing.assert_allclose(np.exp(BENT.log_slope(inside)), differences, rtol=1e-6)


def test_the_slope_does_not_jump_at_a_knot():
    knots = BENT.knots
    np.testing.assert_allclose(BENT.log_slope(knots - 1e-9), BENT.log_slope(knots + 1e-9), atol=1e-6)


def test_the_inverse_undoes_it():
    np.testing.assert_allclose(BENT.inverse(BENT(X)), X, rtol=1e-10, atol=1e-12)


def test_points_on_a_line_make_a_line():
    line = Spline.through(np.array([0.0, 1.0, 5.0]), np.array([1.0, 3.0, 11.0]), tail=1.0)
    inside = np.linspace(0, 5, 100)
    np.testing.assert_allclose(line(inside), 1 + 2 * inside, rtol=1e-14)


@pytest.mark.parametrize("side", [-1, 1])
def test_beyond_the_knots_it_grows_as_a_logarithm(side):
    end = 0 if side < 0 else -1
    distance = np.array([0.1, 3.0, 1e6])
    expected = BENT.heights[end] + side * 0.3 * np.log1p(BENT.slopes[end] * distance / 0.3)
    np.testing.assert_allclose(BENT(BENT.knots[end] + side * distance), expected, rtol=1e-12)


def test_missing_cells_stay_missing():
    assert np.isnan(BENT(np.array([np.nan]))).all()
    assert np.isnan(BENT.inverse(np.array([np.nan]))).all()
