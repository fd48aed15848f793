"""The scripts of the gallery run and draw, and their numbers stand in the order that the text claims."""

from pathlib import Path

import pytest

plt = pytest.importorskip("matplotlib.pyplot")

SCRIPTS = sorted((Path(__file__).parent.parent / "docs" / "gallery").glob("*.py"))
SMALL = {  # what makes a run take seconds: pieces of a script, and what to run in their place
    "anomalies": {"n_rows=18": "n_rows=6"},
    "compression": {
        "(4, 8, 16, 24, 32)": "(4, 8)",
        "hidden_layer_sizes=(256,)": "hidden_layer_sizes=(64,), max_iter=80, early_stopping=False",
    },
    "contractive": {"(0, 0.01, 0.1, 0.3, 1)": "(0, 0.3)", "early_stopping=False": "early_stopping=False, max_iter=60"},
    "denoising": {"n_components=512": "n_components=128", "(512,)": "(128,)", "max_iter=300": "max_iter=40"},
    "features": {
        "(2, 4, 16)": "(2, 4)",
        "StratifiedKFold(5": "StratifiedKFold(2",
        "early_stopping=False": "early_stopping=False, max_iter=60",
    },
    "generation": {"(4, 8, 16)": "(4, 8)", "settings = {": "settings = {'max_iter': 100, 'early_stopping': False, "},
    "pca": {"(2, 4, 8, 16)": "(4, 8)", "random_state=0\n        )": "random_state=0, max_iter=100, early_stopping=False)"},
    "search": {"(2, 4, 8, 16, 32)": "(2, 4)", "early_stopping=False": "early_stopping=False, max_iter=40"},
    "strokes": {"max_iter=1500": "max_iter=150, learning_rate_init=3e-2"},
}

pytestmark = pytest.mark.slow


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a script of the gallery small; its names."""
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.switch_backend("Agg")

    def script(path):
        code, names = path.read_text(encoding="utf-8"), {}
        for piece, small in SMALL[path.stem].items():
            assert piece in code
            code = code.replace(piece, small)
        exec(compile(code, str(path), "exec"), names)
        assert plt.get_fignums()
        assert capsys.readouterr().out
        return names

    yield script
    plt.close("all")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_gallery(path, run):
    globals()[f"check_{path.stem}"](**run(path))


def check_anomalies(flagged, found, right, **_):
    assert len(flagged) == 18
    assert len(right) >= len(found) - 1 >= 9


def check_compression(bytes_for, **_):
    assert bytes_for("autoencoder", 16) < bytes_for("PCA", 16) < bytes_for("JPEG", 16)


def check_contractive(table, **_):
    along, across, *_ = table[0]
    assert 0.9 < along / across < 1.2
    along, across, along_off, across_off, after = table[0.3]
    assert across < 0.3 * along
    assert along > 0.9  # of 0.94, the least possible
    assert across_off < 0.7 * along_off
    assert after < 0.6 * table[0][-1]


def check_denoising(decibels, **_):
    assert decibels["autoencoder"] > decibels["PCA"] + 1 > decibels["noisy"] + 2
    assert decibels["PCA"] > decibels["median filter"]


def check_features(means, **_):
    assert all(means["autoencoder", k] > means["PCA", k] + 0.05 for k in (2, 4))


def check_generation(scores, distances, **_):
    assert all(score["VAE"] > score["PCA"] + 5 for score in scores.values())
    linear, _, bernoulli, held_out = distances.values()
    assert held_out < bernoulli < linear


def check_pca(errors, **_):
    assert all(ours < 0.75 * linear for linear, ours in zip(*errors.values(), strict=True))


def check_search(found, precision, **_):
    assert all(precision(found["autoencoder", k]) > precision(found["PCA", k]) + 0.05 for k in (2, 4))
    assert precision(found["pixels"]) > precision(found["autoencoder", 4])


def check_strokes(numbers, **_):
    assert numbers["5 largest"][0] <= 5
    for name in ("5 largest", "L1"):
        on, explained, by_pca = numbers[name]
        assert on < 7
        assert explained > by_pca + 0.1
