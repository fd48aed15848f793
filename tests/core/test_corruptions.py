"""A new corruption is one more row of CORRUPTIONS."""

import itertools
import math
import re
from dataclasses import FrozenInstanceError

import pytest
import torch
from scipy import stats

from skvae.core.corruptions import Columns, DiffusionNoise, GaussianNoise, Masking, SaltAndPepper, SwapNoise
from skvae.core.graphs import Recording

UNTOLD = {"gaussian": GaussianNoise, "masking": Masking, "salt_and_pepper": SaltAndPepper, "swap": SwapNoise}
CORRUPTIONS = {**UNTOLD, "diffusion": DiffusionNoise}
OF_SHARES = {name: kind for name, kind in UNTOLD.items() if kind is not GaussianNoise}
each_corruption = pytest.mark.parametrize("kind", CORRUPTIONS.values(), ids=CORRUPTIONS)
each_untold = pytest.mark.parametrize("kind", UNTOLD.values(), ids=UNTOLD)
each_of_shares = pytest.mark.parametrize("kind", OF_SHARES.values(), ids=OF_SHARES)
each_level = pytest.mark.parametrize("level", [0.02, 0.5, 0.9])
N_ROWS, N_COLUMNS = 100_000, 5
NUMBERS = {"numbers": None, "mixed": [1.0, 0.0, 0.0, 1.0, 0.0]}
each_table = pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)


@pytest.fixture(scope="module")
def table():
    """Half a million cells, all different, each column with values of its own."""
    generator = torch.Generator().manual_seed(3)
    return torch.rand(N_ROWS, N_COLUMNS, generator=generator, dtype=torch.float64) + 10 * torch.arange(N_COLUMNS)


def columns_of(x, numbers=None):
    numbers = None if numbers is None else torch.tensor(numbers, dtype=x.dtype)
    return Columns(x.mean(0), x.min(0).values, x.max(0).values, numbers)


def of_level(kind, level):
    """Of this level for all rows; a diffusion has none but the one between two that are alike."""
    return kind((max(level, 1e-9),) * 2) if kind is DiffusionNoise else kind(level)


def drawn(corruption, x, generator, numbers=None):
    """What comes out, without the level where there is none."""
    return [part for part in corruption(x, generator, columns_of(x, numbers)) if part is not None]


def damaged(corruption, x, seed=0, numbers=None):
    return corruption(x, torch.Generator().manual_seed(seed), columns_of(x, numbers))[0]


def assert_share(values, share):
    """Within 4 standard errors of what so many independent events come to."""
    assert abs(values.double().mean() - share) < 4 * (share * (1 - share) / values.numel()) ** 0.5


# What holds for all


@each_corruption
@each_table
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_stay(numbers, kind, dtype, table):
    for n_rows in (1, 7):
        x = table[:n_rows].to(dtype)
        out = damaged(of_level(kind, 0.5), x, numbers=numbers)
        assert (out.shape, out.dtype) == (x.shape, dtype)
        assert out.isfinite().all()


@each_corruption
@each_table
def test_the_input_is_not_touched(numbers, kind, table):
    for level in (0.0, 0.5, 1.0):
        x = table[:100].clone()
        out = damaged(of_level(kind, level), x, numbers=numbers)
        assert torch.equal(x, table[:100])
        assert out.data_ptr() != x.data_ptr()


@each_corruption
@each_table
def test_the_generator_determines_the_damage(numbers, kind, table, generator):
    x, before = table[:100], torch.get_rng_state()
    first, same, other = (damaged(of_level(kind, 0.5), x, seed, numbers) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    first, second = (drawn(of_level(kind, 0.5), x, generator, numbers)[0] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@each_untold
def test_no_level_is_told(kind, table):
    """Of one for all rows or of one of each; beside it there is the damage alone."""
    for level in (0.5, (0.1, 0.9)):
        out, told = kind(level)(table[:100], torch.Generator().manual_seed(0), columns_of(table))
        assert told is None
        assert torch.equal(kind(level).damage(table[:100], torch.Generator().manual_seed(0), columns_of(table)), out)


@each_untold
def test_level_0_is_the_identity(kind, table):
    assert torch.equal(damaged(kind(0.0), table), table)
    assert torch.equal(damaged(kind(0), table.float()), table.float())


@each_corruption
def test_level_1_leaves_no_cell(kind, table):
    kept = (damaged(of_level(kind, 1.0), table) == table).sum().item()
    # A donor may be the row itself, and the extreme the cell's own value.
    assert kept <= {SwapNoise: 30, SaltAndPepper: 2 * N_COLUMNS}.get(kind, 0)


@each_corruption
@each_table
def test_a_replay_draws_anew_and_in_step_with_the_computation(numbers, kind, table):
    x = table[:50].float().clone()
    corruption, columns = of_level(kind, 0.5), columns_of(x, numbers)
    recorded, eager = (torch.Generator().manual_seed(0) for _ in range(2))
    output = torch.zeros_like(x)
    corruption(x, eager, columns)  # the recording runs it once
    recording = Recording(lambda: [corruption(x, recorded, columns)[0]], [output])
    seen = []
    for rows in table[50:250].float().split(50):
        x.copy_(rows)
        recording.replay()
        assert torch.equal(output, corruption(x, eager, columns)[0])
        assert torch.equal(x, rows)
        seen.append(output == x)
    only_noise = kind is GaussianNoise or (kind is DiffusionNoise and numbers is None)
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(seen)) or only_noise


@pytest.mark.parametrize("corruption", [GaussianNoise(0.1), DiffusionNoise((0.1, 0.2))])
def test_replays_of_noise_are_fresh(corruption):
    x, output = torch.zeros(50, 5), torch.zeros(50, 5)
    generator = torch.Generator().manual_seed(0)
    recording = Recording(lambda: [corruption(x, generator, columns_of(x))[0]], [output])
    seen = []
    for _ in range(4):
        recording.replay()
        seen.append(output.clone())
    assert not any((a == b).any() for a, b in itertools.pairwise(seen))


@each_corruption
@pytest.mark.parametrize("level", [-0.1, -1, math.nan])
def test_a_level_that_cannot_be_is_refused(kind, level):
    with pytest.raises(ValueError, match=f"{kind.__name__}: level={level!r} must lie between 0 and"):
        kind(level)


@each_of_shares
@pytest.mark.parametrize("level", [1.0001, 2, math.inf])
def test_a_share_of_more_than_all_is_refused(kind, level):
    with pytest.raises(ValueError, match=f"{kind.__name__}: level={level!r} must lie between 0 and 1"):
        kind(level)


def test_noise_may_be_of_any_size():
    assert GaussianNoise(25.0).level == 25.0
    assert DiffusionNoise((5.0, 25.0)).level == (5.0, 25.0)


@pytest.mark.parametrize(("kind", "level"), [(GaussianNoise, math.inf), (DiffusionNoise, (0.1, math.inf))])
def test_noise_of_infinite_size_is_refused(kind, level):
    with pytest.raises(ValueError, match=re.escape(f"{kind.__name__}: level={level!r} must lie between 0 and")):
        kind(level)


@pytest.mark.parametrize("level", [0, 0.0, 0.5, 1, 3.0, (0, 1), (0.0, 0.5), (0.0, 0.0)])
def test_a_diffusion_needs_two_levels_above_0(level):
    with pytest.raises(ValueError, match=re.escape(f"DiffusionNoise: level={level!r} must be a tuple of two positive numbers")):
        DiffusionNoise(level)


def test_a_diffusion_is_a_value():
    assert DiffusionNoise() == DiffusionNoise((0.05, 2.0)) == DiffusionNoise(level=(0.05, 2.0)) != DiffusionNoise((0.05, 1.0))
    assert hash(DiffusionNoise()) == hash(DiffusionNoise((0.05, 2.0)))
    assert repr(DiffusionNoise((0.1, 3.0))) == "DiffusionNoise(level=(0.1, 3.0))"
    for name in ("level", "typical_level"):
        with pytest.raises(FrozenInstanceError):
            setattr(DiffusionNoise(), name, (0.1, 0.3))


@each_untold
def test_it_is_a_value(kind):
    assert kind() == kind(0.1) == kind(level=0.1) != kind(0.2)
    assert hash(kind()) == hash(kind(0.1))
    assert repr(kind(0.25)).startswith(f"{kind.__name__}(level=0.25")
    with pytest.raises(FrozenInstanceError):
        kind().level = 0.3


@each_corruption
def test_a_level_is_a_number_or_two_in_a_tuple(kind):
    for level in [(0.1,), (), (0.1, 0.2, 0.3), ("0.1", "0.2"), (0.1, None), "0.1", None, [0.1, 0.2]]:
        with pytest.raises(TypeError, match=re.escape(f"{kind.__name__}: level={level!r} must be a number or a tuple")):
            kind(level)


@each_corruption
def test_levels_out_of_order_or_range_are_refused(kind):
    for level in [(0.5, 0.1), (-0.1, 0.5), (math.nan, 0.5), (0.1, math.nan), (0.5, math.inf)]:
        with pytest.raises(ValueError, match=re.escape(f"{kind.__name__}: level={level!r} must lie between 0 and")):
            kind(level)


@each_of_shares
def test_no_row_may_lose_more_than_all(kind):
    with pytest.raises(ValueError, match=re.escape("must lie between 0 and 1, with the lowest first")):
        kind((0.5, 1.01))


# A level of its own for each row


@each_untold
@pytest.mark.parametrize(
    ("level", "dtype"), [((0.0, 1.0), torch.float32), ((0.2, 0.5), torch.float64), ((0.3, 0.3), torch.float32)]
)
def test_levels_are_uniform_between_the_two(kind, level, dtype, table):
    x = table.to(dtype)
    lowest, highest = level
    levels = kind(level).drawn(x, torch.Generator().manual_seed(0))
    assert (levels.shape, levels.dtype) == ((N_ROWS, 1), dtype)
    assert (lowest <= levels + 1e-7).all()
    assert (levels <= highest + 1e-7).all()
    if lowest < highest:
        assert stats.kstest(levels.flatten().numpy(), "uniform", (lowest, highest - lowest)).pvalue > 0.01


@each_of_shares
@pytest.mark.parametrize("level", [(0.0, 1.0), (0.2, 0.5), (0.3, 0.3)])
def test_cells_of_a_row_share_its_level(kind, level, table):
    lowest, highest = level
    changed = (damaged(kind(level), table) != table).double()
    mean, spread = (lowest + highest) / 2, (highest - lowest) ** 2 / 12
    covariances = changed.T.cov()
    assert ((changed.mean(0) - mean).abs() < 4.5 * (mean * (1 - mean) / N_ROWS) ** 0.5).all()
    apart = ~torch.eye(N_COLUMNS, dtype=torch.bool)
    assert ((covariances[apart] - spread).abs() < 5 * 0.25 / N_ROWS**0.5).all()
    neighbours = torch.stack([changed[:-1, 0], changed[1:, 1]]).corrcoef()[0, 1]
    assert neighbours.abs() < 4.5 / N_ROWS**0.5


@pytest.mark.parametrize("level", [(0.0, 2.0), (0.5, 1.0)])
def test_noise_of_a_row_has_its_level(level):
    x = torch.zeros(2000, 2000, dtype=torch.float64)
    deviations = damaged(GaussianNoise(level), x).std(1)
    lowest, highest = level
    assert stats.kstest(deviations.numpy(), "uniform", (lowest, highest - lowest)).pvalue > 0.01


@each_corruption
@each_table
def test_a_replay_draws_levels_anew(numbers, kind, table):
    x = table[:50].float().clone()
    recorded, eager = (torch.Generator().manual_seed(0) for _ in range(2))
    corruption = kind((0.1, 0.9))
    outputs = [torch.zeros_like(part) for part in drawn(corruption, x, eager, numbers)]
    recording = Recording(lambda: drawn(corruption, x, recorded, numbers), outputs)
    told = []
    for rows in table[50:250].float().split(50):
        x.copy_(rows)
        recording.replay()
        for output, expected in zip(outputs, drawn(corruption, x, eager, numbers), strict=True):
            assert torch.equal(output, expected)
        told += [level.clone() for level in outputs[1:]]
    assert len(told) == 4 * (kind is DiffusionNoise)
    assert not any((a == b).any() for a, b in itertools.pairwise(told))


@pytest.mark.parametrize("level", [0.5, (0.2, 0.8)])
def test_levels_see_no_noise(level, table):
    columns = Columns(*[torch.zeros(N_COLUMNS)] * 3, numbers=torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]))
    changed = GaussianNoise(level)(table[:100], torch.Generator().manual_seed(0), columns)[0] != table[:100]
    assert changed.all(0).tolist() == changed.any(0).tolist() == [True, False, True, False, False]


@each_level
def test_masked_cells_are_missing_where_the_model_can_tell(level, table):
    columns = Columns(*[torch.full((N_COLUMNS,), math.nan, dtype=torch.float64)] * 3)
    out, _ = Masking(level)(table, torch.Generator().manual_seed(0), columns)
    assert torch.equal(out[~out.isnan()], table[~out.isnan()])
    assert_share(out.isnan(), level)


# How many cells, and which


@each_of_shares
@each_level
def test_the_share_of_cells_is_the_level(kind, level, table):
    changed = damaged(kind(level), table) != table
    assert_share(changed, level)  # of swapped cells one in 100,000 meets itself
    for column in changed.T:
        assert_share(column, level)


@each_of_shares
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cells_are_chosen_independently(kind, dtype, table):
    changed = (damaged(kind(0.3), table.to(dtype)) != table.to(dtype)).double()
    together = changed.T.corrcoef() - torch.eye(N_COLUMNS)
    assert together.abs().max() < 4.5 / N_ROWS**0.5
    neighbours = torch.stack([changed[:-1, 0], changed[1:, 0]]).corrcoef()[0, 1]
    assert neighbours.abs() < 4 / N_ROWS**0.5


@each_of_shares
def test_whether_a_cell_is_chosen_does_not_depend_on_its_value(kind, table):
    changed = (damaged(kind(0.3), table) != table).double()
    for cells, chosen in zip(table.T, changed.T, strict=True):
        assert torch.stack([cells, chosen]).corrcoef()[0, 1].abs() < 4 / N_ROWS**0.5


# What the cells become


@pytest.mark.parametrize("level", [0.1, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_normal_with_the_levels_deviation(level, dtype):
    x = torch.linspace(-1, 1, 10, dtype=dtype).expand(100_000, 10)
    noise = (damaged(GaussianNoise(level), x) - x).double()
    n = noise.numel()
    assert abs(noise.mean()) < 4 * level / n**0.5
    assert abs(noise.std() / level - 1) < 4 / (2 * n) ** 0.5
    assert stats.kstest(noise.flatten()[:200_000].numpy() / level, "norm").pvalue > 0.01
    assert (noise.T.corrcoef() - torch.eye(10)).abs().max() < 5 / len(x) ** 0.5


@each_level
def test_masked_cells_are_the_mean_of_their_column(level, table):
    out = damaged(Masking(level), table)
    changed = out != table
    assert torch.equal(out[changed], table.mean(0).expand_as(table)[changed])


@each_level
def test_salt_and_pepper_are_the_extremes_with_equal_odds(level, table):
    out, columns = damaged(SaltAndPepper(level), table), columns_of(table)
    changed = out != table
    lowest, highest = out == columns.lowest, out == columns.highest
    assert (lowest | highest)[changed].all()
    assert_share(lowest[changed], 0.5)
    for column in range(N_COLUMNS):
        assert_share(lowest[:, column][changed[:, column]], 0.5)


def test_the_statistics_are_those_of_the_training_rows_not_of_the_batch(table):
    columns = Columns(*(torch.full((N_COLUMNS,), value, dtype=torch.float64) for value in (7.0, -8.0, 9.0)))
    for corruption, expected in [(Masking(1.0), {7.0}), (SaltAndPepper(1.0), {-8.0, 9.0})]:
        out, _ = corruption(table[:100], torch.Generator().manual_seed(0), columns)
        assert set(out.unique().tolist()) == expected


def donors_of(x, out):
    """Which row each cell comes from, where all cells of a column differ."""
    order = x.argsort(0)
    place = torch.stack([torch.searchsorted(x[order[:, j], j].contiguous(), out[:, j].contiguous()) for j in range(x.shape[1])])
    donors = torch.stack([order[place[j], j] for j in range(x.shape[1])], 1)
    assert torch.equal(x.gather(0, donors), out)  # every cell is one of its own column
    return donors


@each_level
def test_swapped_cells_are_of_the_same_column_of_other_rows(level, table):
    donors = donors_of(table, damaged(SwapNoise(level), table))
    swapped = donors != torch.arange(N_ROWS)[:, None]
    assert_share(swapped, level)
    donor = donors[swapped].double()
    n = len(donor)
    assert abs(donor.mean() / N_ROWS - 0.5) < 4 / (12 * n) ** 0.5  # uniform over the rows
    assert stats.kstest(donor[:200_000].numpy() / N_ROWS, "uniform").pvalue > 0.01


@pytest.mark.parametrize("n", [10, 50])
def test_two_cells_of_a_row_have_donors_of_their_own(n, table):
    pairs = []
    for seed, x in enumerate(table[: 2000 * n].split(n)):
        donors = donors_of(x, damaged(SwapNoise(1.0), x, seed))
        pairs += [donors[:, a] == donors[:, b] for a, b in itertools.combinations(range(N_COLUMNS), 2)]
    assert_share(torch.cat(pairs), 1 / n)  # the 10 pairs of a row are pairwise independent


def test_swapped_cells_are_as_plausible_as_the_column(table):
    skewed = torch.stack([table[:, 0].exp(), (table[:, 1] - 10).round(), (table[:, 2] - 20) ** 8], 1)
    out = damaged(SwapNoise(1.0), skewed)
    for before, after in zip(skewed.T, out.T, strict=True):
        assert set(after.unique().tolist()) <= set(before.unique().tolist())
        assert abs(after.mean() - before.mean()) < 4 * before.std() / N_ROWS**0.5
        assert stats.ks_2samp(before[: N_ROWS // 2].numpy(), after[N_ROWS // 2 :].numpy()).pvalue > 0.01


def test_a_single_row_has_nothing_to_swap_with(table):
    assert torch.equal(damaged(SwapNoise(1.0), table[:1]), table[:1])
    of_levels = damaged(DiffusionNoise((50.0, 50.0)), table[:1], numbers=NUMBERS["mixed"]) == table[:1]
    assert of_levels.tolist() == [[False, True, True, False, True]]


# Noise of all sizes, of which the encoder is told

DIFFUSIONS = [(0.05, 2.0), (0.1, 1.0), (1.0, 30.0)]
each_diffusion = pytest.mark.parametrize("level", DIFFUSIONS)
SWAPPED = [1, 2, 4]  # columns of NUMBERS["mixed"] that hold no numbers


def diffused(level, x, numbers=None):
    return DiffusionNoise(level)(x, torch.Generator().manual_seed(0), columns_of(x, numbers))


@pytest.mark.parametrize(
    ("level", "numbers", "dtype"),
    [
        ((0.05, 2.0), NUMBERS["mixed"], torch.float32),
        ((0.1, 1.0), None, torch.float64),
        ((1.0, 30.0), NUMBERS["mixed"], torch.float64),
        ((0.3, 0.3), None, torch.float32),
    ],
)
def test_the_logarithm_of_the_told_level_is_uniform(dtype, level, numbers, table):
    _, told = diffused(level, table.to(dtype), numbers)
    lowest, highest = map(math.log, level)
    logarithms = told.double().log().flatten().numpy()
    assert (told.shape, told.dtype) == ((N_ROWS, 1), dtype)
    assert (lowest - 1e-6 <= logarithms).all()
    assert (logarithms <= highest + 1e-6).all()
    if lowest < highest:
        assert stats.kstest(logarithms, "uniform", (lowest, highest - lowest)).pvalue > 0.01


@each_diffusion
def test_the_told_level_does_not_depend_on_the_row(level, table):
    _, told = diffused(level, table)
    together = torch.cat([table, told.log()], 1).T.corrcoef()[-1, :-1]
    neighbours = torch.cat([told[:-1], told[1:]], 1).log().T.corrcoef()[0, 1]
    assert together.abs().max() < 4 / N_ROWS**0.5
    assert neighbours.abs() < 4 / N_ROWS**0.5


@pytest.mark.parametrize("level", [*DIFFUSIONS, (0.3, 0.3), (1, 4)])
def test_the_typical_level_is_the_geometric_mean(level):
    assert DiffusionNoise(level).typical_level == pytest.approx(stats.gmean(level), rel=1e-12)


def binned(told, n_bins=20):
    """The rows in bins of like level, of a number each."""
    return told.flatten().argsort().view(n_bins, -1)


@pytest.mark.parametrize(
    ("level", "numbers", "dtype"),
    [
        ((0.05, 2.0), None, torch.float32),
        ((0.1, 1.0), NUMBERS["mixed"], torch.float64),
        ((1.0, 30.0), NUMBERS["mixed"], torch.float32),
    ],
)
def test_numbers_get_normal_noise_of_the_told_level(dtype, level, numbers, table):
    x = table.to(dtype) - 10 * torch.arange(N_COLUMNS, dtype=dtype)  # between 0 and 1, of which float32 keeps the noise
    out, told = diffused(level, x, numbers)
    units = (out.double() - x.double()) / told.double()
    units = units if numbers is None else units[:, [0, 3]]
    n = units.shape[1]
    for column in units.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 0.01
    for rows in binned(told):
        size = n * len(rows)
        assert units[rows].mean().abs() < 4.5 / size**0.5
        assert abs(units[rows].std() - 1) < 4.5 / (2 * size) ** 0.5
    for same_row in (units, units.square(), torch.cat([units, x.double(), told.double()], 1)):
        assert (same_row.T.corrcoef()[:n] - torch.eye(same_row.shape[1])[:n]).abs().max() < 4.5 / N_ROWS**0.5


@each_diffusion
def test_levels_are_swapped_as_often_as_noise_makes_up_the_variance(level, table):
    out, told = diffused(level, table, NUMBERS["mixed"])
    swapped = (out != table)[:, SWAPPED].double()
    variance = told.square()  # of the noise, beside one of 1
    share = (variance / (variance + 1)).expand_as(swapped)
    for rows in binned(told):
        for column in range(len(SWAPPED)):
            p = share[rows, column]
            assert abs((swapped[rows, column] - p).sum()) < 4.5 * (p * (1 - p)).sum() ** 0.5
    rest = (swapped - share) / (share * (1 - share)).sqrt()
    both = torch.cat([rest, table[:, SWAPPED], (out - table)[:, [0, 3]] / told], 1)  # nor on the cells, nor on the noise
    assert (both.T.corrcoef()[:3] - torch.eye(both.shape[1])[:3]).abs().max() < 4.5 / N_ROWS**0.5


@each_diffusion
def test_what_is_swapped_in_is_of_the_same_column_of_other_rows(level, table):
    out, told = diffused(level, table, NUMBERS["mixed"])
    x, out = table[:, SWAPPED], out[:, SWAPPED]
    donors = donors_of(x, out)
    swapped = donors != torch.arange(N_ROWS)[:, None]
    for column in range(len(SWAPPED)):
        donor = donors[swapped[:, column], column]
        assert stats.kstest(donor.double().numpy() / N_ROWS, "uniform").pvalue > 0.01
    for a, b in itertools.combinations(range(len(SWAPPED)), 2):
        assert (donors[:, a] == donors[:, b])[swapped[:, a] & swapped[:, b]].sum() < 10  # one in 100,000 by chance
    levels = told.log().expand_as(donors)[swapped]
    together = torch.stack([levels, told.log().flatten()[donors[swapped]]]).corrcoef()[0, 1]
    assert together.abs() < 4.5 / len(levels) ** 0.5  # a donor may have any level


@each_diffusion
def test_noise_keeps_how_common_each_level_is(level, table):
    odds = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    levels = torch.searchsorted(odds.cumsum(0), table[:, :1] % 1).double()
    x = torch.cat([table[:, :1], levels, levels, table[:, 3:4], (levels > 1).double()], 1)
    out, _ = diffused(level, x, NUMBERS["mixed"])
    for column in SWAPPED:
        before, after = (values[:, column].unique(return_counts=True) for values in (x, out))
        assert torch.equal(before[0], after[0])
        assert stats.chisquare(after[1].numpy(), before[1].numpy()).pvalue > 0.01


@each_diffusion
def test_a_diffusion_of_numbers_alone_knows_no_swaps(level, table):
    for plain, marked in zip(diffused(level, table), diffused(level, table, [1.0] * N_COLUMNS), strict=True):
        assert torch.equal(plain, marked)


def test_a_diffusion_without_numbers_keeps_to_the_cells_of_the_column(table):
    out, _ = diffused((0.5, 2.0), table, [0.0] * N_COLUMNS)
    donors_of(table, out)


@each_table
def test_unknown_cells_stay_so_where_they_are_not_swapped(numbers, table):
    x = table[:1000].clone()
    x[::3, 0] = x[1::3, 3] = math.nan
    out, told = diffused((0.5, 2.0), x, numbers)
    assert told.isfinite().all()
    assert torch.equal(out.isnan(), x.isnan())
