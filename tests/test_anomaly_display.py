"""The display of anomalies draws what the detector says, and it can be read."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_wine

from skvae import AEAnomalyDetector, AnomalyDisplay, AutoencoderTransformer

WINE = load_wine(as_frame=True).data
WINE.loc[7, "ash"] = 24.5
SHORT = {"hidden_layer_sizes": (16,), "n_components": 8, "cv": 2, "random_state": 0}


@pytest.fixture(autouse=True)
def no_figure_left():
    backend = mpl.get_backend()
    plt.close("all")
    plt.switch_backend("Agg")
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()  # whatever warns when drawn is an error
    plt.close("all")
    plt.switch_backend(backend)


@pytest.fixture(scope="module")
def detector():
    return AEAnomalyDetector(contamination=0.05, **SHORT).fit(WINE)


def drawn_texts(ax):
    return [text.get_text() for text in ax.texts]


def test_the_histogram_holds_every_row_on_its_side_of_the_threshold(detector):
    display = AnomalyDisplay.from_estimator(detector, WINE)
    ax = display.axes_[0]
    normal, flagged = (sum(patch.get_height() for patch in container) for container in ax.containers)
    assert (normal, flagged) == (178 - 9, 9)
    assert display.threshold_.get_xdata() == [0, 0]
    assert "flagged: 9 of 178 rows" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_cells_are_shaded_by_their_share_of_the_row(detector):
    display = AnomalyDisplay.from_estimator(detector, WINE, n_rows=4, n_columns=13)
    oddest = WINE.iloc[np.argsort(detector.decision_function(WINE))[:4]]
    added = detector.explain(oddest).clip(lower=0)
    np.testing.assert_allclose(display.image_.get_array(), added.div(added.sum(axis=1), axis=0).to_numpy(), rtol=1e-6)
    assert [label.get_text() for label in display.axes_[1].get_yticklabels()] == [str(row) for row in oddest.index]
    assert drawn_texts(display.axes_[1]) == [f"{value:.6g}" for value in oddest.to_numpy().ravel()]


def test_bars_are_the_shares_of_the_three_measures(detector):
    display = AnomalyDisplay.from_estimator(detector, WINE, n_rows=4)
    oddest = WINE.iloc[np.argsort(detector.decision_function(WINE))[:4]]
    added = np.maximum([part.sum(axis=1) for part in detector.explain(oddest, parts=True)], 0)
    bars = [[bar.get_width() for bar in container] for container in display.axes_[2].containers]
    np.testing.assert_allclose(bars, added / added.sum(axis=0), rtol=1e-6)
    legend = display.axes_[2].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["neighbours", "column", "row"]


def test_the_most_telling_columns_are_drawn_in_the_order_of_the_table(detector):
    display = AnomalyDisplay.from_estimator(detector, WINE, n_rows=3, n_columns=4)
    names = [label.get_text() for label in display.axes_[1].get_xticklabels()]
    assert len(names) == 4
    assert "ash" in names
    assert names == [name for name in WINE.columns if name in names]


def test_axes_may_be_given(detector):
    figure, axes = plt.subplots(3, 1)
    display = AnomalyDisplay.from_estimator(detector, WINE, axes=axes, cmap="Greys")
    assert display.figure_ is figure
    assert display.image_.get_cmap().name == "Greys"


@pytest.mark.parametrize("library", ["numpy", "polars"])
def test_arrays_and_polars_frames_are_drawn_like_pandas(library, detector):
    table = WINE.to_numpy() if library == "numpy" else pl.from_pandas(WINE)
    fitted = detector if library == "polars" else AEAnomalyDetector(contamination=0.05, **SHORT).fit(table)
    expected = AnomalyDisplay.from_estimator(detector, WINE, n_rows=3)
    display = AnomalyDisplay.from_estimator(fitted, table, n_rows=3)
    np.testing.assert_allclose(display.image_.get_array(), expected.image_.get_array(), rtol=1e-5)
    assert drawn_texts(display.axes_[1]) == drawn_texts(expected.axes_[1])


def test_words_are_cut_and_holes_left_blank():
    table = WINE[["ash", "hue"]].assign(place=["a rather long name", "elsewhere"] * 89)
    table.loc[7, "hue"] = np.nan
    display = AnomalyDisplay.from_estimator(AEAnomalyDetector(**SHORT).fit(table), table, n_rows=1)
    assert drawn_texts(display.axes_[1]) == ["24.5", "", "elsewhere"]
    table.loc[6, "ash"] = 300.0
    display = AnomalyDisplay.from_estimator(AEAnomalyDetector(**SHORT).fit(table), table, n_rows=1)
    assert drawn_texts(display.axes_[1])[2] == "a rather …"


def test_nullable_frames_with_holes_are_drawn():
    table = WINE[["ash", "hue"]].convert_dtypes()
    table.loc[7, "hue"] = pd.NA
    display = AnomalyDisplay.from_estimator(AEAnomalyDetector(**SHORT).fit(table), table, n_rows=1)
    assert "" in drawn_texts(display.axes_[1])


def test_lists_of_rows_are_drawn():
    table = WINE.iloc[:60, :3].to_numpy().tolist()
    assert len(AnomalyDisplay.from_estimator(AEAnomalyDetector(**SHORT).fit(table), table, n_rows=2).axes_) == 3


def test_too_few_axes_are_refused(detector):
    with pytest.raises(ValueError, match=r"axes must be three Axes, but has 2; pass plt.subplots\(3, 1\)\[1\]"):
        AnomalyDisplay.from_estimator(detector, WINE, axes=plt.subplots(2, 1)[1])


def test_a_table_of_equal_rows_can_be_drawn():
    table = pd.DataFrame(np.ones((20, 2)), columns=["a", "b"])
    display = AnomalyDisplay.from_estimator(AEAnomalyDetector(**SHORT).fit(table), table)
    assert np.isfinite(display.image_.get_array()).all()


def test_what_cannot_be_drawn_is_refused(detector):
    with pytest.raises(TypeError, match="pass a fitted AEAnomalyDetector"):
        AnomalyDisplay.from_estimator(AutoencoderTransformer(), WINE)
    with pytest.raises(ValueError, match="n_rows=0"):
        AnomalyDisplay.from_estimator(detector, WINE, n_rows=0)
    with pytest.raises(ValueError, match="n_columns=0"):
        AnomalyDisplay.from_estimator(detector, WINE, n_columns=0)
