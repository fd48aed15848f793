"""A first pass over a stream: which rows are held out, which stand for all, and the sums over them."""

import numpy as np
import pytest
from scipy import stats

from skvae._tables import rows as rows_module
from skvae._tables import survey as survey_module
from skvae._tables.sources import Source
from skvae._tables.survey import Shares, Streamed, Survey, places_of

SHARE = 0.3


class Blocks(Source):
    """Blocks that are given one by one, and how often each is read."""

    def __init__(self, blocks, is_decoded=False):
        self.blocks = blocks
        self.sizes = [len(block) for block in blocks]
        self.n_columns = blocks[0].shape[1]
        self.is_decoded = is_decoded
        self.n_read = np.zeros(len(blocks), dtype=int)

    def read(self, i):
        self.n_read[i] += 1
        return self.blocks[i]

    def head(self, n_rows):
        return np.concatenate(self.blocks)[:n_rows]

    def take(self, places):
        return np.concatenate(self.blocks)[places]


def survey(X, *ends, weights=None, share=SHARE, **options):
    """Of a table in blocks that end at some rows."""
    source = Blocks(np.split(X, ends), **options)
    return Survey.of(source, source.read, weights, Shares.of(*X.shape, share), lambda blocks: blocks)


def as_set(rows):
    """Distinct rows, whatever their order; NaN is one value."""
    return {tuple("missing" if cell != cell else cell for cell in row) for row in rows.tolist()}


def training_rows(found):
    return np.concatenate([Streamed(found, of_training=True).read(i).rows for i in range(len(found.held))])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(name="X")
def rows(rng):
    return rng.normal(size=(500, 3))


# The split


@pytest.mark.parametrize("ends", [(1, 2, 3), (250,), (0, 7, 7, 499), range(1, 500)], ids=["few", "halves", "empty", "single"])
def test_blocks_do_not_decide_which_rows_are_held_out(ends, X):
    assert as_set(survey(X, *ends).findings.held_out.rows) == as_set(survey(X).findings.held_out.rows)


def test_the_order_of_rows_does_not_decide_which_are_held_out(X, rng):
    found, other = survey(X, 100), survey(X[rng.permutation(500)], 300)
    np.testing.assert_array_equal(found.findings.held_out.rows, other.findings.held_out.rows)
    np.testing.assert_array_equal(found.findings.drawn.rows, other.findings.drawn.rows)


def test_other_rows_do_not_decide_which_are_held_out(X):
    few, many = as_set(survey(X[:200]).findings.held_out.rows), as_set(survey(X).findings.held_out.rows)
    assert few == many & as_set(X[:200])


def test_each_row_is_on_one_side(X):
    found = survey(X, 123, 300)
    training, held_out = as_set(training_rows(found)), as_set(found.findings.held_out.rows)
    assert training | held_out == as_set(X)
    assert not training & held_out
    assert found.findings.of_training.n_rows == len(training)
    assert found.findings.of_all.n_rows == 500


def test_copies_of_a_row_are_on_one_side(rng):
    X = rng.integers(0, 3, size=(500, 4)).astype(float)
    found = survey(X, 50, 200)
    assert not as_set(training_rows(found)) & as_set(found.findings.held_out.rows)
    assert len(found.findings.held_out.rows) == len(as_set(found.findings.held_out.rows))
    assert found.findings.held_out.total + found.findings.of_training.total == 500


def test_zeros_and_missing_cells_of_any_kind_are_copies():
    X = np.array([[0.0, np.nan], [-0.0, np.nan], [0.0, -np.nan]])
    X[1, 1] = np.array([0xFFF8000000000001], dtype=np.uint64).view(np.float64)[0]
    assert len(set(places_of(X))) == 1
    assert len(set(places_of(X.astype(np.float32)))) == 1


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.9])
def test_as_many_rows_are_held_out_as_asked(share, rng):
    found = survey(rng.normal(size=(20_000, 2)), 7000, share=share)
    assert abs(found.findings.held_out.n_rows - 20_000 * share) < 5 * np.sqrt(20_000 * share * (1 - share))


def test_no_share_holds_nothing_out(X):
    found = survey(X, 100, share=0.0)
    assert found.findings.held_out.n_rows == 0
    assert found.findings.of_training.n_rows == 500


def test_of_many_rows_so_many_are_held_out_as_can_stand_for_all(rng, monkeypatch):
    monkeypatch.setattr(rows_module, "SAMPLE_ROWS", 1000)
    found = survey(rng.normal(size=(20_000, 2)), *range(500, 20_000, 500), share=0.5)
    for table in (found.findings.held_out, found.findings.drawn):
        assert 850 < table.n_rows <= 1100
    assert not as_set(found.findings.held_out.rows) & as_set(found.findings.drawn.rows)


TABLES = {
    "normal": lambda rng: rng.normal(size=(5000, 3)),
    "numbers in a row": lambda rng: np.arange(5000.0)[:, None],
    "grid": lambda rng: np.stack(np.meshgrid(np.arange(50.0), np.arange(100.0)), -1).reshape(-1, 2),
    "tiny": lambda rng: 5e-324 * np.arange(5000.0)[:, None],
    "a column of codes in many constants": lambda rng: np.column_stack([np.ones((5000, 9)), np.arange(5000.0)]),
    "bits": lambda rng: ((np.arange(4096)[:, None] >> np.arange(12)) & 1).astype(float),
    "missing": lambda rng: np.where((np.arange(4096)[:, None] >> np.arange(12)) & 1, np.nan, 1.0),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_places_are_as_good_as_random(table, dtype, rng):
    X = np.unique(table(rng).astype(dtype), axis=0)
    places = places_of(X)
    assert ((places >= 0) & (places < 1)).all()
    if len(X) > 1:
        assert stats.kstest(places, "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(places[1:], places[:-1])[0, 1]) < 5 / np.sqrt(len(X))


def test_places_of_rows_do_not_depend_on_their_layout(X):
    places = places_of(X)
    np.testing.assert_array_equal(places_of(np.asfortranarray(X)), places)
    np.testing.assert_array_equal(places_of(X[::-2]), places[::-2])


# Weights


def test_a_weight_of_two_is_the_row_twice(rng):
    X, weights = rng.normal(size=(200, 3)), rng.integers(0, 3, size=200)
    weighted = survey(X, 50, 120, weights=weights.astype(float))
    repeated = survey(np.repeat(X, weights, axis=0), 33)
    for name in ("held_out", "drawn"):
        one, other = getattr(weighted.findings, name), getattr(repeated.findings, name)
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.counts, other.counts)
    for name in ("of_training", "of_all"):
        one, other = getattr(weighted.findings, name), getattr(repeated.findings, name)
        assert one.total == other.total
        np.testing.assert_allclose(one.moments(), other.moments(), rtol=1e-12)
        np.testing.assert_allclose(one.covariance(1.0), other.covariance(1.0), rtol=1e-12)


def test_rows_of_weight_zero_are_absent(X):
    weights = np.arange(500) % 2
    X[weights == 0] = 1e30
    found = survey(X, 200, weights=weights.astype(float))
    assert as_set(training_rows(found)) | as_set(found.findings.held_out.rows) == as_set(X[1::2])
    assert found.findings.of_all.highest.max() < 1e30
    assert (found.findings.of_all.n_rows, found.findings.of_all.total) == (250, 250)


def test_a_block_whose_rows_weigh_nothing(X):
    weights = np.repeat([1.0, 0.0, 2.0], [100, 200, 200])
    found = survey(X, 100, 300, weights=weights)
    assert Streamed(found).read(1).n_rows == 0
    assert found.findings.of_all.total == 500


# Statistics


@pytest.mark.parametrize("summed", [0, 1 << 22], ids=["block by block", "at once"])
def test_statistics_are_those_of_the_rows(summed, X, monkeypatch):
    monkeypatch.setattr(survey_module, "SUMMARISED", summed)
    found = survey(X, 100, 150, 470)
    for summary, expected in ((found.findings.of_all, X), (found.findings.of_training, training_rows(found))):
        mean, std = summary.moments()
        np.testing.assert_allclose(mean, expected.mean(0), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(std, expected.std(0), rtol=1e-12)
        np.testing.assert_allclose(summary.covariance(len(expected) - 1), np.cov(expected.T), rtol=1e-11, atol=1e-12)


# Reading again


def test_blocks_are_read_again_as_they_were(X):
    found = survey(X, 100, 350)
    streamed = Streamed(found)
    assert (streamed.n_blocks, streamed.n_rows, streamed.largest_block, streamed.total) == (3, 500, 250, 500)
    np.testing.assert_array_equal(np.concatenate([streamed.read(i).rows for i in range(3)]), X)


def test_training_rows_and_rows_held_out_are_of_one_stream(X):
    training, held_out = Streamed(survey(X, 100)).split()
    assert training.n_rows + held_out.n_rows == 500
    assert training.summary.n_rows == training.n_rows


CHANGES = {
    "another cell": lambda block: block.__setitem__((3, 1), 7.0),
    "a missing cell": lambda block: block.__setitem__((3, 1), np.nan),
    "two rows swapped": lambda block: block.__setitem__([3, 4], block[[4, 3]]),
    "all a little larger": lambda block: np.nextafter(block, np.inf, out=block),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_block_that_is_not_what_it_was_is_refused(change, X):
    found = survey(X, 100)
    change(found.source.blocks[1])
    Streamed(found).read(0)
    with pytest.raises(ValueError, match="X has changed during the fit: block 1 of X, rows 100 to 499"):
        Streamed(found).read(1)


def test_a_block_that_has_become_shorter_is_refused(X):
    found = survey(X, 100)
    found.source.blocks[1] = X[100:300]
    with pytest.raises(ValueError, match="X has changed"):
        Streamed(found).read(1)


@pytest.mark.parametrize(("n_bytes", "n_kept"), [(0, 0), (1 << 10, 0), (1 << 27, 3)])
def test_blocks_that_take_long_to_read_are_kept_where_all_fit(n_bytes, n_kept, X, monkeypatch):
    monkeypatch.setattr(survey_module, "KEPT_BYTES", n_bytes)
    found = survey(X, 100, 300, is_decoded=True)
    for i in range(3):
        Streamed(found).read(i)
    assert found.source.n_read.tolist() == [1] * n_kept + [2] * (3 - n_kept)


def test_blocks_that_are_read_fast_are_not_kept(X):
    found = survey(X, 100, 300)
    assert not found.kept


# The sample


def test_few_rows_are_their_own_sample(X):
    found = survey(X, 100)
    assert as_set(Streamed(found).sample.rows) == as_set(X)
    assert as_set(Streamed(found, of_training=True).sample.rows) == as_set(training_rows(found))


def test_a_sample_of_a_sorted_table_is_one_of_all_of_it(rng, monkeypatch):
    monkeypatch.setattr(rows_module, "SAMPLE_ROWS", 1000)
    X = np.sort(rng.normal(size=(20_000, 1)), axis=0)
    drawn = survey(X, *range(200, 20_000, 200), share=0.1).findings.drawn
    assert stats.kstest(drawn.rows[:, 0], "norm").pvalue > 1e-3
    assert abs(drawn.rows[:100].mean()) < 0.5  # nor is the sample sorted


def test_the_sample_outlives_a_source_that_reuses_its_memory(X):
    """A block may be memory into which the next is read."""
    buffer, start = np.empty((100, 3)), iter(range(0, 500, 100))
    source = Blocks([buffer] * 5)

    def cells(_):
        at = next(start)
        buffer[:] = X[at : at + 100]
        return buffer

    found = Survey.of(source, cells, None, Shares.of(*X.shape, SHARE), lambda blocks: blocks)
    assert as_set(found.findings.held_out.rows) | as_set(found.findings.drawn.rows) == as_set(X)
