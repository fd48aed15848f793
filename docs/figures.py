"""Draw the figures of the README and the guide that come from the gallery: ``python docs/figures.py``.

The other figures in ``docs/figures`` are drawn by the scripts in ``benchmarks``.
"""

import runpy
from pathlib import Path

import matplotlib.pyplot as plt

DOCS = Path(__file__).parent

plt.switch_backend("Agg")
for name in ("anomalies", "denoising"):
    runpy.run_path(str(DOCS / "gallery" / f"{name}.py"))
    plt.savefig(DOCS / "figures" / f"gallery_{name}.png", dpi=130)
    plt.close("all")
