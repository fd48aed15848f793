import math

import pytest
import torch

from skvae.core import batches as module
from skvae.core.batches import Batches, StreamedBatches, dealt

SIZES = [(1, 1), (1, 5), (5, 5), (5, 100), (7, 1), (7, 3), (10, 3), (10, 9), (64, 10), (65, 64), (100, 33)]
each_size = pytest.mark.parametrize(("n_rows", "batch_size"), SIZES)


def batches(n_rows, batch_size, generator, shuffle=True, weighted=True):
    """Row i holds (i, -i) and has the weight 2 i."""
    number = torch.arange(float(n_rows))
    return Batches(torch.stack([number, -number], 1), 2 * number[None] if weighted else None, batch_size, shuffle, generator)


def epoch(batches):
    """The row numbers of every batch of a new epoch."""
    batches.new_epoch()
    dealt = []
    for i in range(batches.n_batches):
        batches.load(i)
        dealt.append(batches.x[:, 0].clone())
    return dealt


def epochs(batches, n):
    """The row numbers that so many epochs deal."""
    return torch.cat([batch for _ in range(n) for batch in epoch(batches)])


@each_size
@pytest.mark.parametrize("shuffle", [False, True])
def test_each_epoch_covers_every_row(n_rows, batch_size, shuffle, generator):
    table = batches(n_rows, batch_size, generator, shuffle)
    for _ in range(3):
        dealt = torch.cat(epoch(table)).tolist()
        assert set(dealt) == set(range(n_rows))
        assert max(map(dealt.count, dealt)) <= 2
        assert len(dealt) - n_rows <= table.n_batches - 1


@each_size
def test_batches_are_few_and_of_one_size(n_rows, batch_size, generator):
    table = batches(n_rows, batch_size, generator)
    dealt = epoch(table)
    assert len(dealt) == table.n_batches == math.ceil(n_rows / batch_size)
    assert {len(batch) for batch in dealt} == {table.batch_size}
    assert table.batch_size <= batch_size


@each_size
def test_no_batch_holds_a_row_twice(n_rows, batch_size, generator):
    assert all(len(batch.unique()) == len(batch) for batch in epoch(batches(n_rows, batch_size, generator)))


@each_size
def test_weights_travel_with_their_rows(n_rows, batch_size, generator):
    table = batches(n_rows, batch_size, generator)
    for i in range(table.n_batches):
        table.load(i)
        assert torch.equal(table.x[:, 1], -table.x[:, 0])
        assert torch.equal(table.weight, 2 * table.x[None, :, 0])


@each_size
def test_memory_never_moves(n_rows, batch_size, generator):
    table = batches(n_rows, batch_size, generator)
    places = table.x.data_ptr(), table.weight.data_ptr()
    for _ in range(3):
        epoch(table)
        assert (table.x.data_ptr(), table.weight.data_ptr()) == places


@pytest.mark.parametrize("batch_size", [6, 7])
def test_a_table_that_fits_in_one_batch_is_that_batch(batch_size, generator):
    table = batches(6, batch_size, generator)
    epoch(table)
    assert table.x is table.rows
    assert table.weight is table.weights


def test_a_table_of_several_batches_is_left_alone(generator):
    table = batches(10, 3, generator)
    epoch(table)
    assert torch.equal(table.rows[:, 0], torch.arange(10.0))


def test_without_shuffling_every_epoch_keeps_the_order(generator):
    table = batches(10, 4, generator, shuffle=False)
    for _ in range(2):
        assert torch.cat(epoch(table)).tolist() == [*range(10), 0, 1]


def test_with_shuffling_every_epoch_has_an_order_of_its_own(generator):
    table = batches(100, 10, generator)
    first, second = (torch.cat(epoch(table)) for _ in range(2))
    assert not torch.equal(first, second)


def test_the_generator_determines_the_orders():
    first, same, other = (torch.cat(epoch(batches(100, 10, torch.Generator().manual_seed(seed)))) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_every_row_is_as_likely_to_be_dealt_twice(generator):
    table = batches(5, 3, generator)
    counts = torch.zeros(5)
    for _ in range(2000):
        counts += torch.bincount(torch.cat(epoch(table)).long(), minlength=5)
    twice = counts - 2000
    assert twice.sum() == 2000
    assert ((twice - 400).abs() < 5 * (2000 * 0.2 * 0.8) ** 0.5).all()


def test_no_weights_stay_no_weights(generator):
    table = batches(10, 3, generator, weighted=False)
    epoch(table)
    assert table.weight is None


# Epochs of a part of a large table


@pytest.fixture
def short_epochs(monkeypatch):
    """Epochs of forty rows."""
    monkeypatch.setattr(module, "EPOCH_ROWS", 40)


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_of_a_large_table_deals_a_part_and_the_next_goes_on(shuffle, short_epochs, generator):
    table = batches(120, 10, generator, shuffle)
    parts = [torch.cat(epoch(table)).tolist() for _ in range(6)]
    assert [len(part) for part in parts] == [40] * 6
    for some in (parts[:3], parts[3:]):
        assert sorted(row for part in some for row in part) == list(range(120))
    assert (parts[0] == list(range(40))) is not shuffle


def test_a_permutation_that_ends_within_an_epoch_is_followed_by_another(short_epochs, generator):
    table = batches(50, 10, generator)
    rows = epochs(table, 4).tolist()
    for i in range(3):
        assert sorted(rows[50 * i : 50 * (i + 1)]) == list(range(50))


def test_large_tables_have_as_many_batches_as_an_epoch_deals(short_epochs):
    assert [dealt(n_rows, 7) for n_rows in (39, 40, 41, 10**9)] == [(6, 7)] * 4


# Rows that are read block by block


def in_blocks(n_rows, sizes):
    """The numbers of the rows of each block; sizes are taken in turn until there are enough."""
    blocks, start = [], 0
    while start < n_rows:
        size = min(sizes[len(blocks) % len(sizes)], n_rows - start)
        blocks.append(torch.arange(start, start + size))
        start += size
    return blocks


def streamed(n_rows, batch_size, generator, sizes=(7, 1, 30), pool_rows=20, shuffle=True, weighted=True):
    """Row i holds (i, -i) and has the weight 2 i."""
    blocks = in_blocks(n_rows, sizes)

    def read(i):
        number = blocks[i].float()
        return torch.stack([number, -number, 2 * number][: 2 + weighted], 1)

    device = torch.device("cpu")
    pool_rows = min(pool_rows, n_rows)
    return StreamedBatches(read, weighted, len(blocks), pool_rows, *dealt(n_rows, batch_size), shuffle, generator, device)


STREAMS = [(1, 1), (1, 5), (5, 5), (7, 3), (40, 1), (100, 8), (100, 33), (200, 100)]
each_stream = pytest.mark.parametrize(("n_rows", "batch_size"), STREAMS)


@each_stream
def test_passes_over_a_stream_deal_each_row_about_once(n_rows, batch_size, generator):
    table = streamed(n_rows, batch_size, generator)
    counts = torch.bincount(epochs(table, 60).long(), minlength=n_rows)
    assert counts.sum() == 60 * table.n_batches * table.batch_size
    mean = counts.sum() / n_rows
    assert counts.max() - mean <= 6 * mean**0.5
    assert mean - counts.min() <= 6 * mean**0.5


@pytest.mark.parametrize("pool_rows", [1, 20, 99, 1000])
def test_a_stream_deals_as_many_rows_as_it_reads(pool_rows, generator):
    table = streamed(100, 10, generator, pool_rows=pool_rows)
    counts = torch.bincount(epochs(table, 100).long(), minlength=100)
    assert (counts >= 100 - 12).all()  # so that none is left in the pool for many passes
    assert (counts <= 100 + 12).all()


@each_stream
def test_batches_of_a_stream_are_those_of_a_table_in_number_and_size(n_rows, batch_size, generator):
    table, of_table = streamed(n_rows, batch_size, generator), batches(n_rows, batch_size, generator)
    assert (table.n_batches, table.batch_size) == (of_table.n_batches, of_table.batch_size)
    assert {len(batch) for batch in epoch(table)} == {table.batch_size}
    assert not table.is_whole


def test_blocks_that_are_smaller_than_a_batch(generator):
    table = streamed(30, 10, generator, sizes=(1,), shuffle=False)
    assert torch.cat(epoch(table)).tolist() == [*range(10, 30), *range(10)]  # the first batch was dealt before any step


def test_blocks_without_rows_are_passed_over(generator):
    blocks = [torch.empty(0, 1), torch.arange(10.0)[:, None], torch.empty(0, 1), torch.arange(10.0, 20)[:, None]]
    table = StreamedBatches(lambda i: blocks[i], False, 4, 10, 4, 5, True, generator, torch.device("cpu"))
    for _ in range(10):
        assert {len(batch) for batch in epoch(table)} == {5}


@each_stream
def test_weights_travel_with_the_rows_of_a_stream(n_rows, batch_size, generator):
    table = streamed(n_rows, batch_size, generator)
    for i in range(3 * table.n_batches):
        table.load(i)
        assert torch.equal(table.x[:, 1], -table.x[:, 0])
        assert torch.equal(table.weight, 2 * table.x[None, :, 0])


def test_a_stream_without_weights_has_none(generator):
    table = streamed(50, 10, generator, weighted=False)
    epoch(table)
    assert table.weight is None
    assert table.x.shape == (10, 2)


def test_memory_of_a_streams_batch_never_moves(generator):
    table = streamed(50, 10, generator)
    places = table.x.data_ptr(), table.weight.data_ptr()
    for _ in range(3):
        epoch(table)
        assert (table.x.data_ptr(), table.weight.data_ptr()) == places


def test_no_batch_is_overwritten_by_rows_that_are_read_later(generator):
    blocks = torch.arange(100.0).view(10, 10, 1)
    table = StreamedBatches(lambda i: blocks[i], False, 10, 20, 10, 10, True, generator, torch.device("cpu"))
    for _ in range(3):
        epoch(table)
    assert torch.equal(blocks.flatten(), torch.arange(100.0))


def test_the_generator_determines_the_order_of_a_stream():
    first, same, other = (torch.cat(epoch(streamed(100, 10, torch.Generator().manual_seed(seed)))) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_without_shuffling_a_stream_keeps_its_order_and_starts_again(generator):
    table = streamed(50, 10, generator, shuffle=False)
    assert epochs(table, 3).tolist() == [(10 + i) % 50 for i in range(150)]


def test_sorted_blocks_come_out_mixed(generator):
    table = streamed(4000, 50, generator, sizes=(40,), pool_rows=2000)
    table.new_epoch()
    for batch in epoch(table):
        blocks = (batch // 40).unique()
        assert len(blocks) > 20
        assert batch.std() > 0.6 * 4000 / 12**0.5


def test_a_stream_that_fits_in_one_batch(generator):
    table = streamed(30, 100, generator, pool_rows=1000)
    for _ in range(3):
        (batch,) = epoch(table)
        assert len(batch) == 30


def test_an_epoch_of_a_large_stream_deals_a_part_and_the_next_goes_on(short_epochs, generator):
    table = streamed(120, 10, generator, shuffle=False)
    assert (table.n_batches, table.batch_size) == (4, 10)
    assert epochs(table, 3).tolist() == [(10 + i) % 120 for i in range(120)]
