"""Draw the figures of the README and the guide that no benchmark draws: ``python docs/figures.py``.

Two come from the gallery. ``report.png`` is a screenshot, for which Chromium has to be installed.
"""

import runpy
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image
from sklearn.datasets import load_wine

from skvae import AEAnomalyDetector

DOCS = Path(__file__).parent
SIZE = 900, 845  # pixels of the screenshot


def draw_gallery(name: str) -> None:
    """Draw the last figure of a script of the gallery."""
    runpy.run_path(str(DOCS / "gallery" / f"{name}.py"))
    plt.savefig(DOCS / "figures" / f"gallery_{name}.png", dpi=130)
    plt.close("all")


def photograph_report() -> None:
    """Take a picture of the report on wines, four of which have a wrong cell."""
    wine = load_wine(as_frame=True).data
    wine.loc[7, "ash"] *= 10
    wine.loc[70, "alcohol"] /= 10
    wine.loc[120, "proline"] = wine.loc[120, "magnesium"]
    wine.loc[33, "hue"] *= -1
    detector = AEAnomalyDetector(contamination=0.03, random_state=0).fit(wine)
    target = DOCS / "figures" / "report.png"
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        detector.report(wine, n_rows=5, title="Anomaly report: wine.csv").save(page)
        window = f"--window-size={SIZE[0]},{SIZE[1]}"
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", window, f"--screenshot={target}"]
        subprocess.run(["chromium", *options, page.as_uri()], check=True, stderr=subprocess.DEVNULL)
    Image.open(target).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(target, optimize=True)


plt.switch_backend("Agg")
for name in ("anomalies", "denoising"):
    draw_gallery(name)
photograph_report()
