import math

import pytest
import torch

from skvae.core.batches import Batches

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
