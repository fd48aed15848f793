"""What a fresh process pays for its first fit: every worker of a parallel search pays it."""

import subprocess
import sys

import pytest

FITS = """
import sys
import numpy as np
import skvae

X = np.random.default_rng(0).normal(size=(40, 3))
skvae.{estimator}.fit(X)
print(*sorted(sys.modules.keys() & {{"torch._dynamo", "torch._inductor", "sympy", "mpmath"}}))
"""


@pytest.mark.parametrize(
    "estimator",
    [
        "AutoencoderTransformer(2, max_iter=2)",
        "VAETransformer(2, max_iter=2)",
        "AEAnomalyDetector(cv=2, max_iter=2)",
        "AutoencoderImputer(max_iter=2)",
    ],
)
def test_a_fit_does_not_import_the_compiler(estimator):
    command = [sys.executable, "-W", "ignore", "-c", FITS.format(estimator=estimator)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert finished.stdout.split() == []
