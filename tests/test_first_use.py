"""What a fresh process pays for its first fit: every worker of a parallel search pays it."""

import subprocess
import sys

FITS = """
import sys
import numpy as np
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


def test_no_fit_imports_the_compiler():
    command = [sys.executable, "-W", "ignore", "-c", FITS]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    kinds = ["AutoencoderTransformer", "VAETransformer", "AEAnomalyDetector", "AutoencoderImputer"]
    assert finished.stdout.splitlines() == kinds
