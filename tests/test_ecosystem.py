"""The estimators in what scikit-learn offers, as the page of the documentation says."""

from pathlib import Path

import pytest
from sklearn.base import clone

from tests.ecosystem import CHECKS, ESTIMATORS, PEERS, REFUSED, page

PAGE = Path(__file__).parent.parent / "docs" / "guide" / "ecosystem.md"
CASES = [(title, name) for title in CHECKS for name in ESTIMATORS]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(("title", "name"), [case for case in CASES if case[1] not in REFUSED[case[0]]])
def test_it_fits_in(title, name):
    CHECKS[title](clone(ESTIMATORS[name]))


@pytest.mark.parametrize(("title", "name"), [case for case in CASES if case[1] in REFUSED[case[0]]])
def test_scikit_learn_refuses_its_own_alike(title, name):
    places = []
    for model in (PEERS[name], ESTIMATORS[name]):
        with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
            CHECKS[title](clone(model))
        last = caught.traceback[-1]
        places.append((caught.type, last.path, last.name))
    assert places[0] == places[1]


@pytest.mark.skipif(not PAGE.exists(), reason="the source distribution comes without the documentation")
def test_the_page_says_the_same():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tests/ecosystem.py docs/guide/ecosystem.md"
