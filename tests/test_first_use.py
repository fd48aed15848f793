"""What a fresh process pays for the import and its first fit: every worker of a parallel search pays it."""

import subprocess
import sys

import pytest

FITS = """
import sys
import numpy as np
import skvae
print("torch" in sys.modules)
skvae.__all__
print(*{"dask", "distributed", "matplotlib", "onnx", "polars", "skl2onnx"} & sys.modules.keys())
from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer

X = np.random.default_rng(0).normal(size=(40, 3))
for estimator in (
    AutoencoderTransformer(2, max_iter=2),
    VAETransformer(2, max_iter=2),
    AEAnomalyDetector(cv=2, max_iter=2),
    AutoencoderImputer(max_iter=2),
):
    estimator.fit(X)
    print(type(estimator).__name__, *sorted(sys.modules.keys() & {"torch._dynamo", "torch._inductor", "sympy", "mpmath"}))
"""


@pytest.fixture(scope="module")
def printed():
    command = [sys.executable, "-W", "ignore", "-c", FITS]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_names_are_imported_when_they_are_asked_for(printed):
    assert printed[0] == "False"


def test_import_is_free_of_optional_packages(printed):
    assert printed[1] == ""


def test_no_fit_imports_the_compiler(printed):
    assert printed[2:] == ["AutoencoderTransformer", "VAETransformer", "AEAnomalyDetector", "AutoencoderImputer"]
