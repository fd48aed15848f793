"""When what training adds is kept, and the page that says so."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from skvae import AutoencoderTransformer, Masking, VAETransformer
from skvae._fit.rules import (
    DENSITY,
    HIDDEN_CELLS_REFIT_BELOW,
    N_FOLDS,
    RECONSTRUCTION,
    Guard,
    gain_in_standard_errors,
    guard_of,
)
from skvae._fit.settings import Settings
from skvae.core.training import Judged

PAGE = Path(__file__).parent.parent / "docs" / "design.md"


def settings_of(estimator=AutoencoderTransformer, n_levels=(0, 0, 0), is_complete=True, **params):
    estimator = estimator(2, **params)
    return Settings.of(
        estimator.get_params(),
        np.array(n_levels),
        variational=isinstance(estimator, VAETransformer),
        is_complete=is_complete,
        has_held_out=False,
        was_marked=None,
        seed=0,
        device=torch.device("cpu"),
    )


def judged(falls):
    falls = torch.tensor(falls, dtype=torch.float64)
    return Judged(start=falls, best=torch.zeros_like(falls), weights=torch.ones_like(falls))


@pytest.mark.skipif(not PAGE.exists(), reason="the source distribution comes without the pages")
def test_the_page_has_the_numbers_of_the_guard():
    page = PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (.*?) \| (.*) \|$", page, re.MULTILINE))
    numbers = {name: [float(re.match(r"[\d.]+", cell.strip()).group()) for cell in rows[name].split("|")] for name in (
        "distinct rows below which five folds are used",
        "distinct rows below which a model of all rows is trained alongside",
        "standard errors that a gain must exceed",
        "standard errors if few rows are held out",
        "held-out rows that count as few",
        "smallest worthwhile gain",
    )}  # fmt: skip
    fields = ("folds_below", "refit_below", "standard_errors", "of_few", "few_rows", "worthwhile")
    assert list(numbers.values()) == [[getattr(guard, field) for guard in (RECONSTRUCTION, DENSITY)] for field in fields]
    assert f"below {HIDDEN_CELLS_REFIT_BELOW} distinct rows" in " ".join(page.split())
    assert N_FOLDS == 5  # the page says it in words


@pytest.mark.parametrize("n_rows", [499, 500])
def test_few_rows_ask_for_more_certainty(n_rows):
    rng = np.random.default_rng(0)
    falls = stats.zscore(rng.normal(size=n_rows), ddof=1)
    guard = replace(RECONSTRUCTION, standard_errors=2.0, of_few=3.0)
    gain = judged(falls + 2.5 / np.sqrt(n_rows))
    assert stats.ttest_1samp(gain.start, 0).statistic == pytest.approx(2.5)
    assert guard.is_certain(gain) == (n_rows >= 500)


@pytest.mark.parametrize(
    ("progress", "certainty", "futile"),
    [(0.09, -9.0, False), (0.1, 0.95, True), (0.1, 1.05, False), (0.2, 1.35, True), (0.2, 1.45, False), (0.9, 1.9, True)],
)
def test_a_gain_that_is_far_from_certain_is_given_up(progress, certainty, futile):
    """With two standard errors asked for: half of them at a tenth, 0.7 at a fifth and all from 35 % on."""
    n_rows = 400
    falls = stats.zscore(np.random.default_rng(0).normal(size=n_rows), ddof=1)
    guard = replace(RECONSTRUCTION, standard_errors=2.0, few_rows=0)
    assert guard.is_futile(progress, judged(falls + certainty / np.sqrt(n_rows))) == futile


def test_nothing_is_given_up_where_certainty_is_not_asked_for():
    assert not replace(RECONSTRUCTION, standard_errors=0.0, of_few=0.0).is_futile(0.9, judged([-1.0] * 20))


def test_training_that_cannot_win_ends_early():
    noise = np.random.default_rng(0).normal(size=(120, 6))
    model = AutoencoderTransformer(2, random_state=0).fit(noise)
    assert model.best_iter_ == 0
    assert model.n_iter_ < 0.2 * 1500  # of as many epochs, as there is one batch


def test_a_gain_is_worthwhile_as_a_share_of_its_unit():
    guard = Guard(folds_below=0, refit_below=0, worthwhile=0.01)
    assert guard.is_worthwhile(0.02, 2.0)
    assert not guard.is_worthwhile(0.019, 2.0)
    assert replace(guard, worthwhile=None).is_worthwhile(-1.0, 2.0)


def test_plain_fits_have_the_guards_of_the_page():
    assert guard_of(settings_of()) == RECONSTRUCTION
    assert guard_of(settings_of(VAETransformer)) == DENSITY
    assert guard_of(settings_of(is_complete=False)) == RECONSTRUCTION


@pytest.mark.parametrize("params", [{"corruption": "gaussian"}, {"penalty": "l1"}, {"n_nonzero_coefs": 1}])
def test_variants_are_judged_by_certainty_alone(params):
    assert guard_of(settings_of(**params)) == replace(RECONSTRUCTION, worthwhile=None)


@pytest.mark.parametrize(
    "settings",
    [
        settings_of(n_levels=(0, 3, 1), corruption=None),
        settings_of(VAETransformer, n_levels=(0, 3, 1)),
        settings_of(is_complete=False, corruption=Masking(0.3)),
    ],
    ids=["mixed", "mixed, density", "holes, masking"],
)
def test_a_gain_over_an_approximation_need_not_be_certain(settings):
    guard = guard_of(settings)
    assert guard.standard_errors == guard.of_few == 0
    assert guard.is_certain(judged([0.1] * 9 + [-0.8]))
    assert not guard.is_certain(judged([0.1] * 9 + [-1.0]))


def test_hidden_cells_are_judged_on_one_split():
    guard = guard_of(settings_of(corruption=Masking(0.3, hidden_only=True)))
    assert (guard.folds_below, guard.refit_below) == (0, HIDDEN_CELLS_REFIT_BELOW)


def test_gain_in_standard_errors_is_the_statistic_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    start, best = rng.normal(1.1, 1, 80), rng.normal(1, 1, 80)
    found = gain_in_standard_errors(torch.from_numpy(start - best), torch.ones(80, dtype=torch.float64))
    assert found == pytest.approx(stats.ttest_rel(start, best).statistic)


def test_weights_count_rows():
    rng = np.random.default_rng(1)
    fall, weights = rng.normal(0.2, 1, 40), rng.integers(1, 4, 40)
    mean = np.average(fall, weights=weights)
    error = np.sqrt(np.average((fall - mean) ** 2, weights=weights) / 39)
    assert gain_in_standard_errors(torch.from_numpy(fall), torch.from_numpy(weights)) == pytest.approx(mean / error)


def test_a_few_enormous_gains_do_not_speak_against_themselves():
    rng = np.random.default_rng(2)
    fall = rng.normal(0.5, 1, 600)
    weights = torch.ones(600, dtype=torch.float64)
    clear = gain_in_standard_errors(torch.from_numpy(fall), weights)
    fall[:3] = 1e4
    found = torch.from_numpy(fall)
    assert stats.ttest_1samp(fall, 0).statistic < 2 < 8 < gain_in_standard_errors(found, weights) <= clear + 1
    assert gain_in_standard_errors(found[:100], weights[:100]) < 2  # too few rows to know how large a rise can be


def test_equal_losses_are_no_gain_and_a_sure_gain_is_certain():
    weights = torch.ones(3, dtype=torch.float64)
    assert gain_in_standard_errors(torch.zeros(3, dtype=torch.float64), weights) == 0
    assert gain_in_standard_errors(torch.ones(3, dtype=torch.float64), weights) == np.inf
