"""The displays: what they draw is what the estimators say, and it can be read."""

import sys
from inspect import signature
from itertools import pairwise
from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import (
    AutoencoderTransformer,
    InterpolationDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    VAETransformer,
)

FRAME, TARGET = load_wine(return_X_y=True, as_frame=True)
WINE = FRAME.to_numpy()
DIGITS = load_digits().data[:200]
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 12, "random_state": 0}
LINEAR = {"hidden_layer_sizes": (), "random_state": 0}
DISPLAYS = [InterpolationDisplay, LatentSpaceDisplay, LossCurveDisplay, ReconstructionDisplay, SamplesDisplay]

# Twelve epochs are too few to converge, which the estimators rightly say.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def no_figure_left():
    """Nothing stays open, and the user's settings stay as they were. No window opens."""
    backend = mpl.get_backend()
    plt.close("all")
    plt.switch_backend("Agg")
    before = dict(mpl.rcParams)
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()  # whatever warns when drawn is an error
    plt.close("all")
    assert dict(mpl.rcParams) == before
    plt.switch_backend(backend)


@pytest.fixture(scope="module")
def vae():
    return VAETransformer(2, **LINEAR).fit(FRAME)


@pytest.fixture(scope="module")
def image_vae():
    return VAETransformer(5, **LINEAR).fit(DIGITS)


@pytest.fixture(scope="module")
def trained():
    return AutoencoderTransformer(2, **QUICK).fit(WINE)


def curve(*values, **params):
    return LossCurveDisplay(*values, **params).plot()


def text(labels):
    return [label.get_text() for label in labels]


def legend(display):
    return text(display.ax_.get_legend().get_texts())


def cells(display):
    """What is on the map, blocks and gaps, with NaN in the gaps."""
    return display.image_.get_array().filled(np.nan)


def draw(display, vae, ax=None):
    arguments = {
        InterpolationDisplay: [FRAME[:2], FRAME[2:4]],
        LatentSpaceDisplay: [FRAME, TARGET],
        LossCurveDisplay: [],
        ReconstructionDisplay: [FRAME],
        SamplesDisplay: [5],
    }
    return display.from_estimator(vae, *arguments[display], ax=ax)


# All displays


@pytest.mark.parametrize("display", DISPLAYS)
def test_a_display_keeps_its_figure_and_plots_again(vae, display):
    drawn = draw(display, vae)
    assert drawn.ax_ in drawn.figure_.axes
    first = drawn.figure_
    assert drawn.plot() is drawn
    assert drawn.figure_ is not first


@pytest.mark.parametrize("display", DISPLAYS)
def test_a_given_axes_is_drawn_into(vae, display):
    figure, (left, right) = plt.subplots(1, 2)
    drawn = draw(display, vae, ax=right)
    assert drawn.ax_ is right
    assert drawn.figure_ is figure
    assert not left.has_data()
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("display", DISPLAYS)
def test_both_axes_say_what_they_are(vae, display):
    ax = draw(display, vae).ax_
    for axis in (ax.xaxis, ax.yaxis):
        assert axis.get_label_text() or any(text(axis.get_ticklabels()))


@pytest.mark.parametrize("display", DISPLAYS)
def test_the_constructor_stores(display):
    values = {name: object() for name in signature(display).parameters}
    assert vars(display(**values)) == values


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_matplotlib(vae, display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        draw(display, vae)


@pytest.mark.parametrize("display", DISPLAYS)
def test_an_unfitted_estimator(display):
    with pytest.raises(NotFittedError):
        draw(display, VAETransformer())


@pytest.mark.parametrize("display", [InterpolationDisplay, LossCurveDisplay, ReconstructionDisplay, SamplesDisplay])
def test_a_pipeline_is_told_to_pass_its_last_step(vae, display):
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), vae).fit(FRAME)
    with pytest.raises(TypeError, match=r"estimator is a Pipeline, which has no .* pass a fitted .*its last step"):
        draw(display, pipeline)


# Loss curves


def test_both_losses_are_drawn_on_one_scale(trained):
    display = LossCurveDisplay.from_estimator(trained)
    np.testing.assert_array_equal(display.line_.get_ydata(), trained.loss_curve_)
    scaler = StandardScaler().fit(WINE)
    expected = -np.array(trained.validation_scores_) - np.log(scaler.scale_).sum()
    np.testing.assert_allclose(display.validation_line_.get_ydata(), expected, rtol=1e-6)
    np.testing.assert_array_equal(display.validation_line_.get_xdata(), np.arange(len(expected)))
    assert display.line_.get_xdata()[0] == 1
    assert abs(np.mean(expected) - np.mean(trained.loss_curve_)) < 2  # nats, where the Jacobian alone is 19


def test_start_and_best_epoch_are_marked():
    display = curve([3.0, 2.0, 1.5], [-3.5, -2.5, -2.0, -2.2], 2, start_name="PCA")
    assert display.start_.get_xydata().tolist() == [[0, 3.5]]
    assert display.best_.get_xydata().tolist() == [[2, 2.0]]
    assert legend(display) == ["training", "held out", "start, PCA: 3.500", "kept, epoch 2: 2.000"]


def test_a_start_that_was_kept_is_the_only_mark():
    display = curve([3.0, 2.0], [-3.5, -3.4, -3.6], 0, start_name="PCA")
    assert display.best_ is None
    assert legend(display) == ["training", "held out", "start, PCA, kept: 3.500"]


def test_a_warm_start_is_judged_from_where_it_began():
    estimator = AutoencoderTransformer(2, warm_start=True, **QUICK).fit(WINE)
    before = len(estimator.loss_curve_)
    display = LossCurveDisplay.from_estimator(estimator.fit(WINE))
    assert len(display.line_.get_xdata()) == before + estimator.n_iter_
    assert display.validation_line_.get_xdata()[0] == before
    assert display.validation_line_.get_xdata()[-1] == display.line_.get_xdata()[-1]
    assert any("start, the earlier fit" in label for label in legend(display))
    if display.best_ is not None:
        assert display.best_.get_xdata() == before + estimator.best_iter_


def test_without_held_out_rows_there_is_one_line():
    display = curve([3.0, 2.0], None, 2)
    assert display.validation_line_ is display.start_ is display.best_ is None
    assert legend(display) == ["training"]


@pytest.mark.parametrize(
    ("estimator", "start"),
    [
        (AutoencoderTransformer(**LINEAR), "PCA"),
        (VAETransformer(**LINEAR, likelihood="gaussian"), "probabilistic PCA"),
        (VAETransformer(**LINEAR, likelihood="gaussian_diag"), "factor analysis"),
    ],
)
def test_where_nothing_was_trained_the_legend_says_so(estimator, start):
    display = LossCurveDisplay.from_estimator(estimator.fit(WINE))
    assert len(display.line_.get_ydata()) == 0
    assert legend(display) == [f"nothing trained, the model is {start}"]


@pytest.mark.parametrize(("init", "start"), [("pca", "a linear model"), ("random", "random weights")])
def test_other_starts_are_named(init, start):
    X = (DIGITS[:50] > 8).astype(float)
    estimator = AutoencoderTransformer(2, init=init, likelihood="bernoulli", **QUICK).fit(X)
    assert any(f"start, {start}" in label for label in legend(LossCurveDisplay.from_estimator(estimator)))


@pytest.mark.parametrize("offset", [0, -50])
def test_a_heavy_fall_does_not_flatten_the_rest(offset):
    losses = np.r_[1000, 300, 100, np.linspace(11, 10, 97)] + offset
    low, high = curve(losses).ax_.get_ylim()
    assert low < 10 + offset < 11 + offset < high < 20 + offset


def test_a_loss_that_rises_to_the_end_is_shown_whole():
    losses = np.linspace(10, 40, 50)
    assert curve(losses).ax_.get_ylim()[1] > 40


@pytest.mark.parametrize("losses", [[2.0], [2.0, 2.0, 2.0]])
def test_short_and_flat_curves(losses):
    display = curve(losses, [-2.0] * (len(losses) + 1), 1)
    assert display.ax_.get_ylim()[0] < 2 < display.ax_.get_ylim()[1]
    assert (display.line_.get_marker() == ".") == (len(losses) == 1)  # a line through one point cannot be seen


def test_two_models_share_an_axes():
    first = LossCurveDisplay([3.0, 2.0]).plot(name="small")
    LossCurveDisplay([30.0, 20.0]).plot(first.ax_, name="large", color="black")
    assert legend(first) == ["small: training", "large: training"]
    assert first.ax_.get_ylim()[1] > 30


@pytest.mark.parametrize("estimator", [PCA(2), MLPRegressor(hidden_layer_sizes=(2,), max_iter=2, random_state=0)])
def test_other_estimators_have_no_loss_curve_of_ours(estimator):
    with pytest.raises(TypeError, match="pass a fitted AutoencoderTransformer or VAETransformer"):
        LossCurveDisplay.from_estimator(estimator.fit(WINE, WINE[:, 0]))


# Rows as images


def test_images_stand_below_their_originals(image_vae):
    display = ReconstructionDisplay.from_estimator(image_vae, DIGITS, image_shape=(8, 8), n_rows=3)
    mosaic = cells(display)
    assert mosaic.shape == (17, 26)  # with gaps of one pixel
    np.testing.assert_array_equal(mosaic[:8, 9:17], DIGITS[1].reshape(8, 8))
    np.testing.assert_allclose(mosaic[9:, 18:], image_vae.reconstruct(DIGITS[2:3]).reshape(8, 8))
    assert np.isnan(mosaic[8]).all()
    assert text(display.ax_.get_yticklabels()) == ["original", "reconstruction"]
    assert text(display.ax_.get_xticklabels()) == ["0", "1", "2"]
    assert display.image_.get_clim() == (0, 16)
    assert display.colorbar_ is None


def test_inputs_are_reconstructed_and_stand_between(image_vae):
    noisy = DIGITS + 1
    display = ReconstructionDisplay.from_estimator(image_vae, DIGITS, inputs=noisy, image_shape=(8, 8), n_rows=1)
    expected = [DIGITS[0], noisy[0], image_vae.reconstruct(noisy[:1])[0]]
    np.testing.assert_allclose([cells(display)[i : i + 8].ravel() for i in (0, 9, 18)], expected)
    assert text(display.ax_.get_yticklabels()) == ["original", "input", "reconstruction"]


def test_images_that_are_no_squares():
    rows = np.arange(12.0).reshape(2, 6)
    mosaic = cells(ReconstructionDisplay(rows, rows, image_shape=(2, 3)).plot())
    np.testing.assert_array_equal(mosaic[:2, 4:], rows[1].reshape(2, 3))


@pytest.mark.parametrize("image_shape", [(8, 7), (64,), (4, 4, 4), 64, (-8, -8)])
def test_an_image_shape_that_does_not_fit(image_vae, image_shape):
    with pytest.raises(ValueError, match=r"image_shape=.*64 columns"):
        SamplesDisplay.from_estimator(image_vae, image_shape=image_shape)


def test_samples_are_those_of_the_estimator(image_vae):
    display = SamplesDisplay.from_estimator(image_vae, 5, image_shape=(8, 8), random_state=3)
    rows = image_vae.sample(5, random_state=3, noise=False)
    np.testing.assert_array_equal(display.rows, rows)
    mosaic = cells(display)
    assert mosaic.shape == (17, 26)
    np.testing.assert_allclose(mosaic[9:, 9:17], rows[4].reshape(8, 8))
    assert np.isnan(mosaic[9:, 18:]).all()  # the place of a sixth
    noisy = SamplesDisplay.from_estimator(image_vae, 5, image_shape=(8, 8), random_state=3, noise=True)
    np.testing.assert_array_equal(noisy.rows, image_vae.sample(5, random_state=3))


def test_a_sample_takes_a_model_that_draws(trained):
    with pytest.raises(TypeError, match=r"AutoencoderTransformer, which has no 'sample'; pass a fitted VAETransformer"):
        SamplesDisplay.from_estimator(trained)


@pytest.mark.parametrize("n_steps", [2, 5])
def test_lines_between_images(image_vae, n_steps):
    display = InterpolationDisplay.from_estimator(image_vae, DIGITS[:2], DIGITS[2:4], n_steps=n_steps, image_shape=(8, 8))
    mosaic = cells(display)
    np.testing.assert_allclose(mosaic[9:, -8:], image_vae.reconstruct(DIGITS[3:4]).reshape(8, 8))
    assert text(display.ax_.get_xticklabels()) == ["start", "end"]
    assert display.ax_.get_xticks().tolist() == [3.5, 9 * (n_steps - 1) + 3.5]
    assert text(display.ax_.get_yticklabels()) == ["0", "1"]


def test_lines_are_whole():
    with pytest.raises(ValueError, match=r"rows has 10 rows, which is not a multiple of n_steps=3"):
        InterpolationDisplay(WINE[:10], 3).plot()
    with pytest.raises(ValueError, match="n_steps=1"):
        InterpolationDisplay(WINE[:10], 1).plot()


def test_imshow_takes_the_rest(image_vae):
    display = SamplesDisplay.from_estimator(image_vae, 4, image_shape=(8, 8), cmap="viridis", vmin=-1)
    assert display.image_.get_cmap().name == "viridis"
    assert display.image_.get_clim()[0] == -1


def test_images_of_one_grey_level():
    SamplesDisplay(np.zeros((4, 4)), image_shape=(2, 2)).plot()


# Rows as cells


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame, np.asarray])
def test_cells_are_in_standard_deviations_of_all_originals(vae, container):
    X = container(FRAME) if container is not pl.DataFrame else pl.from_pandas(FRAME)
    model = VAETransformer(2, **LINEAR).fit(X)
    display = ReconstructionDisplay.from_estimator(model, X, n_rows=4)
    scaler = StandardScaler().fit(WINE)
    blocks = [cells(display)[i : i + 4] for i in (0, 5, 10)]
    np.testing.assert_allclose(blocks[0], scaler.transform(WINE)[:4])
    np.testing.assert_allclose(blocks[1], scaler.transform(np.asarray(model.reconstruct(X)))[:4])
    np.testing.assert_allclose(blocks[2], blocks[1] - blocks[0], atol=1e-12)
    assert display.colorbar_.ax.get_ylabel() == "standard deviations"
    low, high = display.image_.get_clim()
    assert -low == high <= 3  # zero is the middle of the colours
    names = text(display.ax_.get_xticklabels())
    assert "alcohol" in names if container is not np.asarray else "alcohol" not in names


def test_a_single_row_is_compared_with_itself(vae):
    display = ReconstructionDisplay.from_estimator(vae, FRAME[5:6])
    original, row = WINE[5], vae.reconstruct(FRAME[5:6]).to_numpy()[0]
    np.testing.assert_array_equal(cells(display)[0], np.zeros(13))
    np.testing.assert_allclose(cells(display)[2], (row - original) / original)
    assert display.colorbar_.ax.get_ylabel() == "share of the original"


def test_a_column_that_never_varies_is_not_blown_up():
    rows = np.column_stack([np.full(50, 0.1), np.arange(50)])
    display = ReconstructionDisplay(rows, rows + np.array([1e-9, 1])).plot()
    assert abs(cells(display)[-8:, 0]).max() < 1e-8


def test_cells_beyond_the_colours_are_announced():
    rows = np.r_[np.zeros((99, 1)), [[1.0]]]
    display = ReconstructionDisplay(rows, rows).plot(n_rows=100)
    assert display.image_.get_clim() == (-3, 3)
    assert display.colorbar_.extend == "both"


def test_rows_that_are_all_the_same():
    assert ReconstructionDisplay(np.ones((3, 2)), np.ones((3, 2))).plot().image_.get_clim() == (-1, 1)


def test_samples_and_lines_as_cells(vae):
    display = SamplesDisplay.from_estimator(vae, 6, random_state=0)
    assert cells(display).shape == (6, 13)
    assert display.ax_.get_ylabel() == "sample"
    display = InterpolationDisplay.from_estimator(vae, FRAME[:2], FRAME[2:4], n_steps=3)
    assert cells(display).shape == (7, 13)
    assert text(display.ax_.get_yticklabels()) == ["pair 0, start", "pair 0, end", "pair 1, start", "pair 1, end"]
    assert display.ax_.get_yticks().tolist() == [0, 2, 4, 6]


def test_one_sample_is_no_map(vae):
    with pytest.raises(ValueError, match=r"rows is a single row.*image_shape"):
        SamplesDisplay.from_estimator(vae, 1)


@pytest.mark.parametrize("n_columns", [3, 40, 200])
def test_labels_of_many_and_long_names_do_not_overlap(n_columns):
    rows = np.random.default_rng(0).normal(size=(5, n_columns))
    names = [f"the one and only measurement, number {i}" for i in range(n_columns)]
    display = ReconstructionDisplay(rows, rows, feature_names=names).plot()
    display.figure_.canvas.draw()
    for axis in (display.ax_.xaxis, display.ax_.yaxis):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        assert len(boxes) > 2
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert len(set(text(display.ax_.get_xticklabels()))) == len(display.ax_.get_xticks())


@pytest.mark.parametrize("n_rows", [0, 2.5])
def test_n_rows_is_a_count(n_rows):
    with pytest.raises(ValueError, match=f"n_rows={n_rows}"):
        ReconstructionDisplay(WINE, WINE).plot(n_rows=n_rows)


def test_tables_that_do_not_match():
    with pytest.raises(ValueError, match=r"reconstructions has shape \(5, 13\), but originals has \(178, 13\)"):
        ReconstructionDisplay(WINE, WINE[:5]).plot()
    with pytest.raises(ValueError, match=r"inputs has shape \(178, 12\)"):
        ReconstructionDisplay(WINE, WINE, inputs=WINE[:, 1:]).plot()
    with pytest.raises(ValueError, match="feature_names has 2 names, but rows have 13 columns"):
        ReconstructionDisplay(WINE, WINE, feature_names=["a", "b"]).plot()


# Codes


def test_codes_are_drawn_by_class(vae):
    display = LatentSpaceDisplay.from_estimator(vae, FRAME, TARGET)
    codes = vae.transform(FRAME)
    for label, points in enumerate(display.scatter_):
        np.testing.assert_array_equal(points.get_offsets(), codes[TARGET == label])
    assert display.ax_.get_xlabel() == "vaetransformer0"
    assert display.ax_.get_ylabel() == "vaetransformer1"
    assert text(display.legend_.get_texts()) == ["0", "1", "2"]
    assert display.legend_.get_title().get_text() == "target"


@pytest.mark.parametrize("y", [["b", "a"] * 5, np.array([True, False] * 5), pd.Series(["b", "a"] * 5, dtype="category")])
def test_text_and_booleans_are_classes(y):
    display = LatentSpaceDisplay(WINE[:10, :2], y).plot()
    np.testing.assert_array_equal(display.scatter_[0].get_offsets(), WINE[1:10:2, :2])  # "a" and False come first
    assert len(display.scatter_) == 2


@pytest.mark.parametrize("n_classes", [1, 3, 10, 20, 42])
def test_classes_differ_by_colour_or_marker(n_classes):
    y = [f"class {i % n_classes}" for i in range(84)]
    display = LatentSpaceDisplay(WINE[:84, :2], y).plot()
    looks = {(points.get_facecolor().tobytes(), points.get_paths()[0].vertices.tobytes()) for points in display.scatter_}
    assert len(looks) == n_classes


@pytest.mark.parametrize("y", [WINE[:, 0], np.arange(178)])
def test_a_quantity_has_a_colour_bar(y):
    display = LatentSpaceDisplay(WINE[:, :2], y).plot()
    (points,) = display.scatter_
    np.testing.assert_array_equal(points.get_array(), y)
    assert display.colorbar_.ax.get_ylabel() == "y"
    assert display.legend_ is None
    assert display.ax_.get_ylabel() == "component 1"


def test_other_components_are_chosen(image_vae):
    display = LatentSpaceDisplay.from_estimator(image_vae, DIGITS, components=(3, 1))
    np.testing.assert_array_equal(display.scatter_[0].get_offsets(), image_vae.transform(DIGITS)[:, [3, 1]])
    assert display.ax_.get_xlabel() == "vaetransformer3"


@pytest.mark.parametrize("components", [(0, 5), (-1, 0), (0, 1, 2), (), 9, (0.5, 1)])
def test_components_that_are_not_there(image_vae, components):
    with pytest.raises(ValueError, match=r"components=.*of the 5 components"):
        LatentSpaceDisplay.from_estimator(image_vae, DIGITS, components=components)


def test_one_component_without_y_is_a_histogram():
    estimator = AutoencoderTransformer(1, **LINEAR).fit(WINE)
    display = LatentSpaceDisplay.from_estimator(estimator, WINE)
    assert sum(bar.get_height() for bar in display.bars_) == len(WINE)
    assert display.ax_.get_xlabel() == "autoencodertransformer0"
    assert display.ax_.get_ylabel() == "rows"


def test_one_component_has_a_line_per_class():
    display = LatentSpaceDisplay(WINE[:, :1], TARGET).plot()
    for label, points in enumerate(display.scatter_):
        x, y = np.asarray(points.get_offsets()).T
        np.testing.assert_array_equal(x, WINE[TARGET == label, 0])
        assert abs(y - label).max() <= 0.3
    assert text(display.ax_.get_yticklabels()) == ["0", "1", "2"]


def test_one_component_against_a_quantity():
    display = LatentSpaceDisplay(WINE[:, :1], FRAME["alcohol"]).plot()
    np.testing.assert_array_equal(display.scatter_[0].get_offsets(), WINE[:, [0, 0]])
    assert display.ax_.get_ylabel() == "alcohol"


def test_any_transformer_has_codes():
    display = LatentSpaceDisplay.from_estimator(
        make_pipeline(StandardScaler(), PCA(2)).fit(WINE), WINE, pl.Series("kind", TARGET)
    )
    assert display.ax_.get_xlabel() == "pca0"
    assert display.legend_.get_title().get_text() == "kind"


def test_frames_of_codes():
    estimator = AutoencoderTransformer(2, **LINEAR).set_output(transform="pandas").fit(WINE)
    assert len(LatentSpaceDisplay.from_estimator(estimator, WINE).scatter_[0].get_offsets()) == len(WINE)


def test_codes_and_y_that_do_not_match():
    with pytest.raises(ValueError, match="y has 5 entries, but codes has 178 rows"):
        LatentSpaceDisplay(WINE[:, :2], TARGET[:5]).plot()
    with pytest.raises(ValueError, match="codes has 13 columns"):
        LatentSpaceDisplay(WINE).plot()
    with pytest.raises(ValueError, match="y contains numbers that are not finite"):
        LatentSpaceDisplay(WINE[:2, :2], [0, np.nan]).plot()
    with pytest.raises(TypeError, match="has no 'transform'"):
        LatentSpaceDisplay.from_estimator(SimpleNamespace(), WINE)


def test_many_rows_make_small_points():
    few, many = (LatentSpaceDisplay(np.zeros((n, 2))).plot().scatter_[0].get_sizes()[0] for n in (100, 5000))
    assert few > many


def test_a_table_of_text_cannot_be_drawn():
    rows = pd.DataFrame({"a": ["x", "y"], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="rows has columns that are not numeric, which cannot be drawn"):
        SamplesDisplay(rows).plot()
