"""Whatever an estimator is given, it is fitted and finite, or it says what is wrong; and threads do not disturb each other."""

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.base import clone

from tests.generated_inputs import ESTIMATORS, OPTIONS, Case, Table, cases, failure, outcome, results, smallest

N_THREADS = 32
HOLED = np.where(np.random.default_rng(0).random((30, 4)) < 0.1, np.nan, np.random.default_rng(1).normal(size=(30, 4)))


@settings(max_examples=150, derandomize=True, **OPTIONS)
@given(cases())
def test_each_case_is_fitted_and_finite_or_refused(case):
    assert outcome(case)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("container", ["float64", "csr", "pandas", "polars"])
def test_tables_of_every_container_are_fitted(name, container):
    assert outcome(Case(name, Table(container, ("normal", "holes", "constant", "counts"), 30))) == "fitted"


def test_a_failing_case_is_made_smaller(monkeypatch):
    def fails_with_two_holes(case):
        return "holes" if case.table.columns.count("holes") > 1 else None

    monkeypatch.setattr("tests.generated_inputs.failure", fails_with_two_holes)
    table = Table("pandas", ("normal", "holes", "dates", "holes"), 40)
    case = Case("VAETransformer", table, {"beta": 0.1}, weights="tiny", earlier=True)
    assert smallest(case) == Case("VAETransformer", Table("pandas", ("holes", "holes"), 0))


def test_a_failure_says_where_it_is(monkeypatch):
    case = Case("AutoencoderTransformer", Table("float64", ("normal",), 10))
    assert failure(case) is None
    monkeypatch.setattr("skvae._base.merge_equal_rows", lambda *args: 1 / 0)
    assert failure(case).startswith("AutoencoderTransformer: ZeroDivisionError at")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_threads_give_the_bits_of_one_after_another(name):
    kind, params = ESTIMATORS[name]
    model = kind(**params | {"max_iter": 1})

    def result(seed):
        fitted = clone(model).set_params(random_state=seed).fit(HOLED)
        return [np.asarray(cells) for _, cells, _ in islice(results(fitted, HOLED), 3)]

    expected = [result(seed) for seed in range(N_THREADS)]
    with ThreadPoolExecutor(N_THREADS) as pool:
        found = list(pool.map(result, range(N_THREADS)))
    for own, others in zip(found, expected, strict=True):
        for cells, alike in zip(own, others, strict=True):
            np.testing.assert_array_equal(cells, alike)
