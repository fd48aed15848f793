"""Fits that go on with every call."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skvae import AEAnomalyDetector, AutoencoderTransformer, VAETransformer
from skvae._fit.further import ENOUGH_ROWS
from skvae._tables import reservoir
from skvae._tables.reservoir import Reservoir

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 2)) @ RNG.normal(size=(2, 6)) + 0.3 * RNG.normal(size=(600, 6)) + 5.0
LINEAR = {"n_components": 2, "hidden_layer_sizes": (), "likelihood": "gaussian"}
SMALL = {"n_components": 2, "hidden_layer_sizes": (8,), "random_state": 0}
FRAME = pd.DataFrame(X, columns=list("abcdef")).assign(level=RNG.choice(["x", "y", "z"], 600))


def by_parts(estimator, table, sizes):
    start = 0
    for size in sizes:
        estimator.partial_fit(table[start : start + size])
        start += size
    return estimator


@pytest.mark.parametrize("estimator", [AutoencoderTransformer(**LINEAR), VAETransformer(**LINEAR)])
@pytest.mark.parametrize("sizes", [[600], [300, 300], [3, 7, 90, 200, 299, 1]])
def test_a_linear_model_is_that_of_one_call(sizes, estimator):
    whole, parts = clone(estimator).fit(X), by_parts(clone(estimator), X, sizes)
    np.testing.assert_allclose(parts.transform(X), whole.transform(X), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(parts.score_samples(X), whole.score_samples(X), rtol=1e-9)
    assert parts.noise_variance_ == pytest.approx(whole.noise_variance_, rel=1e-9)


def test_a_linear_model_is_pca_of_all_rows_so_far():
    model = by_parts(AutoencoderTransformer(2, hidden_layer_sizes=(), standardize=False), X, [50, 150, 200])
    np.testing.assert_allclose(model.transform(X), PCA(2, whiten=True).fit(X[:400]).transform(X), atol=1e-9)


def test_weights_are_repetitions_of_rows():
    weights = RNG.integers(0, 3, size=600)
    weighted = AutoencoderTransformer(**LINEAR)
    for part in (slice(300), slice(300, 600)):
        weighted.partial_fit(X[part], sample_weight=weights[part])
    repeated = AutoencoderTransformer(**LINEAR).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-9, atol=1e-10)


def test_few_rows_are_pca():
    model = AutoencoderTransformer(**SMALL).partial_fit(X[:20]).partial_fit(X[20:40])
    codes = PCA(2, whiten=True).fit_transform(StandardScaler().fit_transform(X[:40]))
    np.testing.assert_allclose(model.transform(X[:40]), codes, atol=1e-5)
    assert model.loss_curve_ == []


@pytest.mark.parametrize("cls", [AutoencoderTransformer, VAETransformer])
def test_training_begins_with_enough_rows_and_goes_on(cls):
    model = by_parts(cls(**SMALL), X, [60, 60, 60, 60])
    assert len(model.loss_curve_) == 3  # one for each call from the second on, ...
    assert 60 < ENOUGH_ROWS <= 120  # ... with which there are enough rows
    assert model.validation_scores_ is None
    assert model.n_iter_ == 1


def test_a_stream_of_rows_is_learned():
    t = RNG.normal(size=20_000)
    rows = np.stack([t, t**2], axis=1)  # a curve, of which an axis explains half of the variance
    estimator = AutoencoderTransformer(1, hidden_layer_sizes=(32,), batch_size=16, random_state=0)
    model = by_parts(estimator, rows, [2000] * 10)
    start = by_parts(clone(estimator), rows, [50])
    errors = [each.reconstruction_error(rows).mean() for each in (model, start)]
    assert errors[0] < 0.5 * errors[1]


def test_the_optimiser_goes_on_where_it_was():
    model = by_parts(AutoencoderTransformer(**SMALL), X, [200, 200])
    again = pickle.loads(pickle.dumps(model))  # with all that it remembers
    np.testing.assert_array_equal(model.partial_fit(X[400:]).transform(X), again.partial_fit(X[400:]).transform(X))
    assert again._increments.n_steps == 2 * 2 + 2  # two batches a call
    assert (again._increments.moments[1] > 0).any()


def test_calls_are_repeatable():
    first, second = (by_parts(AutoencoderTransformer(**SMALL), X, [300, 300]).transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_input_may_be_taken_unchecked():
    checked, unchecked = AutoencoderTransformer(**SMALL), AutoencoderTransformer(**SMALL)
    for part in (X[:300], X[300:]):
        checked.partial_fit(part)
        unchecked.partial_fit(part, check_input=False)
    np.testing.assert_array_equal(unchecked.transform(X), checked.transform(X))


def test_it_goes_on_from_a_fit():
    model = AutoencoderTransformer(**SMALL, max_iter=30, early_stopping=False).fit(X[:300])
    before, losses = model.reconstruct(X), list(model.loss_curve_)
    model.partial_fit(X[300:])
    assert model.loss_curve_[:-1] == losses
    assert 0 < np.abs(model.reconstruct(X) - before).max() < 1


def test_a_fit_begins_anew():
    model = AutoencoderTransformer(**LINEAR).partial_fit(X[:300]).fit(X[300:]).partial_fit(X[:100])
    np.testing.assert_allclose(model.transform(X), AutoencoderTransformer(**LINEAR).fit(X[:100]).transform(X), atol=1e-9)


@pytest.mark.parametrize("table", [FRAME, pl.from_pandas(FRAME)], ids=["pandas", "polars"])
def test_frames_with_holes_and_categories(table):
    holed = FRAME.mask(np.random.default_rng(1).random(FRAME.shape) < 0.1)
    holed = holed if isinstance(table, pd.DataFrame) else pl.from_pandas(holed)
    model = by_parts(AutoencoderTransformer(**SMALL), holed, [200, 200, 200])
    assert len(model.loss_curve_) == 3
    assert type(model.reconstruct(table[:5])) is type(table)
    assert model.schema_.columns[-1].levels == ("x", "y", "z")


def test_batches_of_arrow():
    table = pa.Table.from_pandas(FRAME)
    model = AutoencoderTransformer(**SMALL)
    for batch in table.to_batches(max_chunksize=200):
        model.partial_fit(batch)
    assert len(model.loss_curve_) == 3
    assert list(model.feature_names_in_) == list(FRAME)


def test_cells_that_are_missing_later_are_refused():
    model = AutoencoderTransformer(**SMALL).partial_fit(X[:300])
    before = model.transform(X)
    holed = X[300:].copy()
    holed[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"table was complete.*missing values"):
        model.partial_fit(holed)
    np.testing.assert_array_equal(model.transform(X), before)
    model.partial_fit(X[300:])


@pytest.mark.parametrize("estimator", [AutoencoderTransformer(**SMALL), AEAnomalyDetector(random_state=0)])
def test_other_columns_are_refused(estimator):
    estimator = clone(estimator).partial_fit(X)
    with pytest.raises(ValueError, match=r"5 features, but .* is expecting 6"):
        estimator.partial_fit(X[:, :5])


# The detector


def test_the_detector_knows_a_sample_of_the_stream():
    detector = by_parts(AEAnomalyDetector(random_state=0), X, [100] * 6)
    assert detector._reservoir.n_seen == 600
    far = X[:1] + 100 * X.std(axis=0)
    assert detector.predict(far) == [-1]
    assert (detector.predict(X) == 1).mean() > 0.8


def test_the_detector_of_one_call_is_that_of_fit():
    first, second = AEAnomalyDetector(random_state=0).partial_fit(X), AEAnomalyDetector(random_state=0).fit(X)
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))


def test_the_detector_is_fitted_anew_when_a_quarter_is_new(monkeypatch):
    fits, fit = [], AEAnomalyDetector._fit
    monkeypatch.setattr(AEAnomalyDetector, "_fit", lambda self, X, weights: (fits.append(len(X)), fit(self, X, weights)))
    by_parts(AEAnomalyDetector(random_state=0), X, [100] * 6)
    assert fits == [100, 200, 300, 400, 600]  # 500 are less than a quarter more than 400


def test_the_detector_takes_frames():
    detector = by_parts(AEAnomalyDetector(random_state=0), FRAME, [200, 200, 200])
    assert detector.explain(FRAME[:2]).shape == (2, 7)


def test_the_sample_of_a_stream_is_random_and_in_order(monkeypatch):
    monkeypatch.setattr(reservoir, "MOST_ROWS", 100)
    counts = np.zeros(1000)
    for seed in range(200):
        sample = Reservoir()
        for start in range(0, 1000, 50):
            sample = sample.with_rows(np.arange(start, start + 50.0)[:, None], 50, seed)
        kept = sample.table[:, 0].astype(int)
        assert len(kept) == 100
        assert (np.diff(kept) > 0).all()
        counts[kept] += 1
    assert counts.mean() == 20
    of_tenths = counts.reshape(10, 100).sum(axis=1)
    assert np.abs(of_tenths - 2000).max() < 5 * np.sqrt(2000)
