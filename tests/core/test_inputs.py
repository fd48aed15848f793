import math

import pytest
import torch

from skvae.core.graphs import Recording
from skvae.core.inputs import Inputs

F64 = torch.float64
COLUMN = torch.tensor([0, 1, 1, 1, 2, 3])  # a number, three levels, a boolean, a number
LEVEL = torch.tensor([-1, 0, 1, 2, -1, -1])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.fixture
def cells():
    numbers, levels = normal(30, 2), (3 * uniform(30)).floor()
    cells = torch.stack([numbers[:, 0], levels, (uniform(30, seed=1) < 0.5).to(F64), numbers[:, 1]], 1)
    return cells.masked_fill(uniform(30, 4, seed=2) < 0.4, torch.nan)


def mixed(n_factors=2, marked=True, dtype=F64):
    """Started at a model of its six features; with the model's centre, loadings and noise."""
    inputs = Inputs(COLUMN, LEVEL, uniform(6, seed=3), 0.5 + uniform(6, seed=4), n_factors, marked, dtype)
    model = normal(6, seed=5), normal(6, n_factors, seed=6), 0.1 + uniform(6, seed=7)
    inputs.start_(*model)
    return inputs.eval(), model


def plain(n_columns=5, n_factors=2, marked=False, dtype=F64):
    inputs = Inputs.of_numbers(n_columns, n_factors, marked, dtype)
    model = normal(n_columns, seed=5), normal(n_columns, n_factors, seed=6), 0.1 + uniform(n_columns, seed=7)
    inputs.start_(*model)
    return inputs.eval(), model


def conditional_expectation(features, observed, centre, loadings, noise):
    """Of the normal vector N(centre, LL' + diag(noise)), given its observed part; by the full covariance, row by row."""
    covariance = loadings @ loadings.T + noise.diag()
    filled = features.clone()
    for row, o in zip(filled, observed, strict=True):
        gain = covariance[~o][:, o] @ torch.linalg.inv(covariance[o][:, o])
        row[~o] = centre[~o] + gain @ (row[o] - centre[o])
    return filled


def test_features_are_numbers_and_levels_one_by_one(cells):
    inputs, _ = mixed()
    for row, features in zip(cells.tolist(), inputs.features(cells).tolist(), strict=True):
        values = [row[0], *(float(row[1] == level) for level in range(3)), row[2], row[3]]
        expected = [(v - m) / u for v, m, u in zip(values, inputs.mean.tolist(), inputs.unit.tolist(), strict=True)]
        known = [row[c] == row[c] for c in COLUMN.tolist()]
        assert [f for f, k in zip(features, known, strict=True) if k] == [e for e, k in zip(expected, known, strict=True) if k]


@pytest.mark.parametrize("n_factors", [0, 1, 2, 6])
@pytest.mark.parametrize("marked", [False, True])
def test_missing_cells_are_their_conditional_expectation(marked, n_factors, cells):
    inputs, model = mixed(n_factors, marked)
    observed = ~cells.isnan()
    features = inputs.features(cells)
    expected = conditional_expectation(features, observed[:, COLUMN], *model)
    out = inputs(cells)
    torch.testing.assert_close(out[:, :6], expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(out[:, :6][observed[:, COLUMN]], features[observed[:, COLUMN]])
    assert torch.equal(out[:, 6:], observed.to(F64) if marked else out[:, :0])


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("n_factors", [1, 3])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_so_they_are_in_a_plain_table(share, n_factors, dtype):
    inputs, model = plain(7, n_factors, dtype=dtype)
    x = normal(50, 7).masked_fill(uniform(50, 7) < share, torch.nan)
    out = inputs(x.to(dtype))
    assert out.dtype == dtype
    assert torch.equal(out[~x.isnan()], x[~x.isnan()].to(dtype))
    tolerance = 1e-9 if dtype == F64 else 1e-4
    expected = conditional_expectation(x, ~x.isnan(), *model)
    torch.testing.assert_close(out.to(F64), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("build", [mixed, plain])
def test_a_row_without_any_cell_is_the_centre(build):
    inputs, (centre, *_) = build()
    empty = torch.full((2, int(inputs.column.max()) + 1), torch.nan, dtype=F64)
    assert torch.equal(inputs(empty)[:, : len(centre)], centre.expand(2, -1))


def test_before_the_start_it_is_the_mean(cells):
    inputs = Inputs(COLUMN, LEVEL, uniform(6), torch.ones(6), 2, marked=True, dtype=F64)
    missing = cells.isnan()[:, COLUMN]
    assert (inputs(cells)[:, :6][missing] == 0).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_the_code_of_a_filled_row_is_that_of_its_observed_cells(share):
    inputs, (centre, loadings, noise) = plain(6, 2)
    x = normal(40, 6).masked_fill(uniform(40, 6) < share, torch.nan)
    weight = torch.linalg.solve(loadings.T @ (loadings / noise[:, None]) + torch.eye(2), (loadings / noise[:, None]).T)
    covariance = loadings @ loadings.T + noise.diag()
    for row, filled in zip(x, inputs(x), strict=True):
        o = ~row.isnan()
        expected = loadings[o].T @ torch.linalg.inv(covariance[o][:, o]) @ (row[o] - centre[o])
        torch.testing.assert_close(weight @ (filled - centre), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("training", [False, True])
def test_complete_rows_of_a_plain_table_are_themselves(training):
    inputs, _ = plain()
    x = normal(10, 5)
    assert inputs.train(training)(x) is x


def test_while_it_trains_a_plain_table_is_taken_as_it_is():
    inputs, _ = plain()
    x = normal(10, 5).masked_fill(uniform(10, 5) < 0.3, torch.nan)
    assert inputs.train()(x) is x


def test_a_complete_row_among_others_keeps_its_bits():
    inputs, _ = plain(dtype=torch.float32)
    x = normal(10, 5).float()
    x[3, 1] = torch.nan
    others = torch.arange(10) != 3
    assert torch.equal(inputs(x)[others], x[others])


@pytest.mark.parametrize("training", [False, True])
def test_marked_rows_have_their_mask_behind_them_also_where_they_are_complete(training):
    inputs, _ = plain(marked=True)
    x = normal(10, 5)
    assert torch.equal(inputs.train(training)(x), torch.cat([x, torch.ones(10, 5)], 1))


@pytest.mark.parametrize("build", [mixed, plain])
def test_nothing_is_trained(build):
    inputs, _ = build()
    assert not list(inputs.parameters())
    assert not inputs(torch.full((1, int(inputs.column.max()) + 1), torch.nan, dtype=F64)).requires_grad


@pytest.mark.parametrize("n_factors", [0, 2])
def test_a_replay_fills_in_as_the_computation_does(n_factors, cells):
    inputs, _ = mixed(n_factors)
    x = torch.zeros_like(cells[:10])
    output = torch.zeros(10, 10, dtype=F64)
    recording = Recording(lambda: [inputs(x)], [output])
    for rows in cells.split(10):
        x.copy_(rows)
        recording.replay()
        assert torch.equal(output, inputs(rows))


# How noisy a row is

TOLD = {
    "numbers": lambda told: Inputs.of_numbers(4, 2, dtype=F64, told_level=told),
    "marked": lambda told: Inputs.of_numbers(4, 2, marked=True, dtype=F64, told_level=told),
    "mixed": lambda told: Inputs(COLUMN, LEVEL, uniform(6), 0.5 + uniform(6, seed=1), 2, True, F64, told),
}
N_INPUTS = {"numbers": 4, "marked": 4 + 4, "mixed": 6 + 4}
each_told = pytest.mark.parametrize("name", TOLD)


@each_told
@pytest.mark.parametrize("training", [False, True])
def test_the_last_input_is_the_logarithm_of_the_level(training, name, cells):
    x = normal(30, 4) if name == "numbers" and training else cells
    untold, told = (TOLD[name](level).train(training) for level in (None, 0.3))
    levels = 0.01 + 3 * uniform(30, 1, seed=9)
    expected = untold(x)
    for given, of_each in ((levels, levels), (None, torch.full((30, 1), 0.3, dtype=F64))):
        out = told(x, given)
        assert (out.shape, out.dtype) == ((30, N_INPUTS[name] + 1), F64)
        assert torch.equal(out[:, :-1], expected)
        assert out[:, -1].tolist() == pytest.approx([math.log(level) for level in of_each.flatten().tolist()], rel=1e-12)


@each_told
@pytest.mark.parametrize("training", [False, True])
def test_who_is_told_no_level_sees_the_same_with_one(training, name, cells):
    inputs = TOLD[name](None).train(training)
    out = inputs(cells)
    torch.testing.assert_close(inputs(cells, 1 + uniform(30, 1)), out, rtol=0, atol=0, equal_nan=True)
    assert out.shape == (30, N_INPUTS[name])
    assert "told_level" not in inputs.state_dict()


@each_told
@pytest.mark.parametrize("told_level", [None, 0.3])
def test_the_encoder_is_to_expect_so_many_inputs(told_level, name):
    inputs = TOLD[name](told_level)
    assert inputs.n_inputs == inputs(torch.zeros(2, 4, dtype=F64)).shape[1] == N_INPUTS[name] + (told_level is not None)


def test_the_level_that_rows_are_taken_for_is_not_learned():
    inputs = TOLD["mixed"](0.3)
    assert not list(inputs.parameters())
    inputs.load_state_dict(TOLD["mixed"](0.7).state_dict())
    assert inputs(torch.zeros(1, 4, dtype=F64))[0, -1].exp().item() == pytest.approx(0.3)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_level_comes_in_the_dtype_of_the_rows(dtype):
    inputs = Inputs.of_numbers(4, dtype=dtype, told_level=0.3)
    assert inputs(torch.zeros(2, 4, dtype=dtype)).dtype == dtype
    assert inputs.to(F64)(torch.zeros(2, 4, dtype=F64)).dtype == F64


@each_told
def test_a_replay_tells_the_level_at_hand(name, cells):
    inputs = TOLD[name](0.3).eval()
    x, level = torch.zeros(10, 4, dtype=F64), torch.ones(10, 1, dtype=F64)
    outputs = [torch.zeros(10, inputs.n_inputs, dtype=F64) for _ in range(2)]
    recording = Recording(lambda: [inputs.train(name == "numbers")(x, level), inputs(x)], outputs)
    for i, rows in enumerate(cells.nan_to_num(1.0).split(10)):
        x.copy_(rows)
        level.copy_(0.1 + uniform(10, 1, seed=i))
        recording.replay()
        assert torch.equal(outputs[0], inputs(rows, level))
        assert torch.equal(outputs[1], inputs(rows))
