"""The scripts of the gallery run, draw, and their numbers stand in the order that the page claims."""

import runpy
from pathlib import Path

import matplotlib as mpl
import pytest

GALLERY = Path(__file__).parent.parent / "docs" / "gallery"
NAMES = ["anomalies", "compression", "contractive", "denoising", "features", "generation", "search", "strokes"]

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path, capsys):
    """Run a script of the gallery small; what it measured."""

    def of_name(name):
        figure = tmp_path / f"{name}.png"
        with mpl.rc_context({"backend": "Agg"}):
            numbers = runpy.run_path(str(GALLERY / f"{name}.py"))["main"](figure=figure, small=True)
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert capsys.readouterr().out
        return numbers

    return of_name


def test_every_script_is_tested():
    assert sorted(path.stem for path in GALLERY.glob("*.py")) == NAMES


def test_anomalies(run):
    numbers = run("anomalies")
    assert numbers["flagged"] == 18
    assert numbers["rightly blamed"] >= numbers["found"] - 1 >= 9


def test_compression(run):
    needed = run("compression")
    assert needed["autoencoder"][16] < needed["PCA"][16] < needed["JPEG"][16]


def test_contractive(run):
    plain, penalised = run("contractive").values()
    assert 0.9 < plain["along"] / plain["across"] < 1.2
    assert penalised["across"] < 0.3 * penalised["along"]
    assert penalised["along"] > 0.9  # of 0.94, the least possible
    assert penalised["across_off"] < 0.7 * penalised["along_off"]
    assert penalised["after"] < 0.6 * plain["after"]


def test_denoising(run):
    decibels = run("denoising")
    assert decibels["autoencoder"] > decibels["PCA"] + 1 > decibels["noisy"] + 2
    assert decibels["PCA"] > decibels["median filter"]


def test_features(run):
    accuracies = run("features")
    assert all(accuracies["autoencoder", k] > accuracies["PCA", k] + 0.05 for k in (2, 4))


def test_generation(run):
    numbers = run("generation")
    assert all(score["VAE"] > score["PCA"] + 5 for score in numbers["scores"].values())
    linear, _, bernoulli, held_out = numbers["distances"].values()
    assert held_out < bernoulli < linear


def test_search(run):
    precisions = run("search")
    assert all(precisions["autoencoder", k] > precisions["PCA", k] + 0.05 for k in (2, 4))
    assert precisions["pixels"] > precisions["autoencoder", 4]


def test_strokes(run):
    numbers = run("strokes")
    assert numbers["5 largest"]["on"] <= 5
    for name in ("5 largest", "L1"):
        assert numbers[name]["on"] < 7
        assert numbers[name]["explained"] > numbers[name]["pca"] + 0.1
