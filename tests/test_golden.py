"""What every kind of fit gives stays what it was, up to the rounding of another processor."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.golden import FITS, N_SHOWN, numbers_of

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-4  # of a result's scale; kernels of four older processors move none by more than a quarter of it


def test_every_fit_has_its_numbers():
    assert GOLDEN.keys() == FITS.keys()


@pytest.mark.parametrize("name", FITS)
def test_fit(name):
    found, golden = numbers_of(name), GOLDEN[name]
    assert found.keys() == golden.keys()
    for key, entry in golden.items():
        first = np.asarray(found[key][:N_SHOWN], dtype=float).ravel()
        expected = np.array(entry["first"], dtype=float)
        np.testing.assert_allclose(first, expected, rtol=0, atol=TOLERANCE * entry["scale"], err_msg=key)
