import math

import pytest

from skvae.core.stopping import NoImprovement


def n_until_stop(stopping, losses):
    """How many losses were taken before the end, None where it never came."""
    for n, loss in enumerate(losses, 1):
        stopping.update(loss)
        if stopping.should_stop:
            return n
    return None


@pytest.mark.parametrize("patience", [1, 3])
def test_it_waits_for_so_many_losses_without_improvement(patience):
    assert n_until_stop(NoImprovement(0.0, patience), [5.0, 4.0] + [4.0] * 10) == 2 + patience


def test_an_improvement_starts_the_wait_again():
    assert n_until_stop(NoImprovement(0.0, 3), [5.0, 5.0, 5.0, 4.0, 4.0, 4.0, 4.0]) == 7


def test_falling_losses_never_stop():
    assert n_until_stop(NoImprovement(0.0, 1), range(100, -100, -1)) is None


@pytest.mark.parametrize(("fall", "stops"), [(0.09, True), (0.11, False)])
@pytest.mark.parametrize("level", [-1e3, 0.0, 1e3])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_an_improvement_is_more_than_tol_of_the_scale(fall, stops, level, scale):
    losses = [level - k * fall * scale for k in range(2)]
    assert (n_until_stop(NoImprovement(0.1, 1, scale), losses) is not None) == stops


def test_small_improvements_add_up():
    assert n_until_stop(NoImprovement(1.0, 3), [-0.4 * k for k in range(50)]) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_no_improvement(bad):
    assert n_until_stop(NoImprovement(0.0, 2), [1.0, bad, bad]) == 3
    assert n_until_stop(NoImprovement(0.0, 2), [bad, 1.0, 0.0]) is None


def test_reset_forgets():
    stopping = NoImprovement(0.0, 2)
    assert n_until_stop(stopping, [1.0, 2.0, 2.0]) == 3
    stopping.reset()
    assert not stopping.should_stop
    assert n_until_stop(stopping, [9.0, 8.0, 8.0, 8.0]) == 4
