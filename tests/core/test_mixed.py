"""Likelihoods of levels, and of columns of several kinds."""

import pytest
import torch
from torch import distributions
from torch.distributions import Normal

from skvae.core.graphs import Recording
from skvae.core.likelihoods import Bernoulli, Categorical, Gaussian, Mixed, Part, UnitGaussian

F64 = torch.float64
LEVELS = {"several": [3, 1, 2, 5], "alike": [4, 4], "one column": [6], "one level": [1], "one level each": [1, 1], "two": [2]}
each_levels = pytest.mark.parametrize("n_levels", LEVELS.values(), ids=LEVELS)


def params_and_levels(n_levels, generator, n_rows=20, scale=2.0):
    params = scale * torch.randn(n_rows, sum(n_levels), generator=generator, dtype=F64)
    cells = [torch.randint(n, (n_rows,), generator=generator) for n in n_levels]
    return params, torch.stack(cells, 1).to(F64)


def of_each(params, n_levels):
    """The distribution of each column."""
    return [distributions.Categorical(logits=logits) for logits in params.split(n_levels, 1)]


@each_levels
def test_levels_are_scored_as_by_torch_distributions(n_levels, generator):
    params, cells = params_and_levels(n_levels, generator)
    expected = [d.log_prob(c) for d, c in zip(of_each(params, n_levels), cells.T, strict=True)]
    likelihood = Categorical(n_levels)
    assert (likelihood.n_columns, likelihood.n_params) == (len(n_levels), sum(n_levels))
    torch.testing.assert_close(likelihood.log_prob(params, cells), torch.stack(expected, 1))


@each_levels
def test_the_mean_is_the_most_likely_level(n_levels, generator):
    params, _ = params_and_levels(n_levels, generator)
    expected = torch.stack([d.probs.argmax(1) for d in of_each(params, n_levels)], 1)
    torch.testing.assert_close(Categorical(n_levels).mean(params), expected.to(F64), rtol=0, atol=0)


@each_levels
def test_probabilities_are_the_softmax_of_each_column(n_levels, generator):
    params, _ = params_and_levels(n_levels, generator)
    expected = torch.cat([d.probs for d in of_each(params, n_levels)], 1)
    torch.testing.assert_close(Categorical(n_levels).expectation(params), expected)


@each_levels
def test_the_squared_error_is_briers(n_levels, generator):
    params, cells = params_and_levels(n_levels, generator)
    expected = torch.zeros_like(cells)
    for i, row in enumerate(cells.long().tolist()):
        for j, (distribution, level) in enumerate(zip(of_each(params, n_levels), row, strict=True)):
            expected[i, j] = sum((p - (k == level)) ** 2 for k, p in enumerate(distribution.probs[i].tolist()))
    torch.testing.assert_close(Categorical(n_levels).squared_error(params, cells), expected, rtol=1e-9, atol=1e-12)


@each_levels
@pytest.mark.parametrize("method", ["log_prob", "squared_error", "expectation"])
def test_gradients_of_levels_are_those_of_finite_differences(method, n_levels, generator):
    params, cells = params_and_levels(n_levels, generator, n_rows=4)
    function = getattr(Categorical(n_levels), method)
    given = () if method == "expectation" else (cells,)
    assert torch.autograd.gradcheck(lambda p: function(p, *given), (params.requires_grad_(),))


@each_levels
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_levels_are_drawn_as_often_as_they_are_probable(n_levels, dtype, generator):
    n = 100_000
    params, _ = params_and_levels(n_levels, generator, n_rows=1, scale=1.0)
    likelihood = Categorical(n_levels)
    draws = likelihood.sample(params.to(dtype).expand(n, -1), generator)
    assert draws.dtype == dtype
    for cells, distribution, n_of_column in zip(draws.T, of_each(params, n_levels), n_levels, strict=True):
        assert set(cells.unique().tolist()) <= set(range(n_of_column))
        p = distribution.probs[0]
        shares = torch.bincount(cells.long(), minlength=n_of_column) / n
        assert ((shares - p).abs() <= 4 * (p * (1 - p) / n).sqrt() + 1e-12).all()
    vary = draws[:, [k > 1 for k in n_levels]]
    if vary.shape[1] > 1:
        assert (vary.T.corrcoef() - torch.eye(vary.shape[1])).abs().max() < 4.5 / n**0.5


def test_the_generator_determines_the_levels(generator):
    params, _ = params_and_levels([3, 4], generator, n_rows=50)
    first, same, other = (Categorical([3, 4]).sample(params, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("extreme", [-1e4, 0.0, 1e4])
def test_extreme_logits_have_finite_scores_and_gradients(extreme, generator):
    likelihood = Categorical([3, 1, 2])
    params, cells = torch.zeros(4, 6), torch.zeros(4, 3)
    params[:, ::2] = extreme
    params.requires_grad_()
    for values in (likelihood.log_prob(params, cells), likelihood.squared_error(params, cells), likelihood.expectation(params)):
        (gradient,) = torch.autograd.grad(values.sum(), params)
        assert values.isfinite().all()
        assert gradient.isfinite().all()


# Columns of several kinds

NUMBERS, BOOLEANS, CATEGORIES, N_LEVELS = [5, 0, 3], [2], [4, 1], [3, 4]  # columns of each kind, in any order
PARAMS = [[8, 3, 1], [0], [9, 2, 5, 4, 7, 10, 6]]  # where their params stand, in any order
VARIANCES = torch.tensor([0.1, 0.7, 2.0], dtype=F64)


def mixed(shared=False, dtype=F64, learned=False):
    """A likelihood of six columns, and its parts."""
    floor = 1e-6 if shared else torch.full((3,), 1e-6)
    parts = (Gaussian(3, 0.3, dtype, floor, learned), Bernoulli(1), Categorical(N_LEVELS))
    likelihood = Mixed([Part(*part) for part in zip(parts, (NUMBERS, BOOLEANS, CATEGORIES), PARAMS, strict=True)])
    if not shared:
        parts[0].fit_(VARIANCES)
    return likelihood, parts


@pytest.fixture
def mixed_cells(generator):
    cells = torch.randn(20, 6, generator=generator, dtype=F64)
    cells[:, BOOLEANS] = (cells[:, BOOLEANS] > 0).to(F64)
    for column, n_levels in zip(CATEGORIES, N_LEVELS, strict=True):
        cells[:, column] = torch.randint(n_levels, (20,), generator=generator).to(F64)
    return cells


@pytest.fixture
def params(generator):
    return torch.randn(20, 11, generator=generator, dtype=F64)


def missing_in(cells, share=0.4):
    return torch.rand(cells.shape, generator=torch.Generator().manual_seed(5)) < share


def by_hand(params, cells):
    """Log-probability and squared error of every cell, by torch.distributions."""
    log_prob, squares = torch.zeros_like(cells), torch.zeros_like(cells)
    for column, place, variance in zip(NUMBERS, PARAMS[0], VARIANCES, strict=True):
        log_prob[:, column] = Normal(params[:, place], variance.sqrt()).log_prob(cells[:, column])
        squares[:, column] = (params[:, place] - cells[:, column]) ** 2
    boolean = distributions.Bernoulli(logits=params[:, PARAMS[1][0]])
    log_prob[:, BOOLEANS[0]] = boolean.log_prob(cells[:, BOOLEANS[0]])
    squares[:, BOOLEANS[0]] = (boolean.probs - cells[:, BOOLEANS[0]]) ** 2
    for column, d in zip(CATEGORIES, of_each(params[:, PARAMS[2]], N_LEVELS), strict=True):
        log_prob[:, column] = d.log_prob(cells[:, column])
        one_hot = torch.nn.functional.one_hot(cells[:, column].long(), d.probs.shape[1])
        squares[:, column] = (d.probs - one_hot).square().sum(1)
    return log_prob, squares


def test_every_kind_is_scored_by_its_own_likelihood(params, mixed_cells):
    likelihood, _ = mixed()
    assert (likelihood.n_columns, likelihood.n_params) == (6, 11)
    log_prob, squares = by_hand(params, mixed_cells)
    torch.testing.assert_close(likelihood.log_prob(params, mixed_cells), log_prob)
    torch.testing.assert_close(likelihood.squared_error(params, mixed_cells), squares)


def test_missing_cells_score_exactly_zero_and_the_others_as_they_do(params, mixed_cells):
    likelihood, _ = mixed()
    missing = missing_in(mixed_cells)
    cells = mixed_cells.masked_fill(missing, torch.nan)
    for method in (likelihood.log_prob, likelihood.squared_error):
        assert (method(params, cells)[missing] == 0).all()
        assert torch.equal(method(params, cells)[~missing], method(params, mixed_cells)[~missing])


@pytest.mark.parametrize("method", ["log_prob", "squared_error"])
def test_missing_cells_have_no_gradient(method, params, mixed_cells):
    likelihood, (numbers, *_) = mixed(learned=True)
    cells = torch.full_like(mixed_cells, torch.nan)
    cells[3], cells[4, CATEGORIES[0]] = mixed_cells[3], mixed_cells[4, CATEGORIES[0]]
    score = getattr(likelihood, method)(params.requires_grad_(), cells).sum()
    gradient, of_variance = torch.autograd.grad(score, [params, numbers.log_excess], materialize_grads=True)
    reached = {4: {9, 2, 5}, 3: set(range(11))}
    for row in range(20):
        assert set(gradient[row].nonzero().flatten().tolist()) == reached.get(row, set())
    assert gradient.isfinite().all()
    assert of_variance.isfinite().all()
    assert torch.autograd.gradcheck(lambda p: getattr(likelihood, method)(p, cells), (params.detach().requires_grad_(),))


def test_cells_and_expectations_of_every_kind(params):
    likelihood, parts = mixed()
    means, expectations = likelihood.mean(params), likelihood.expectation(params)
    for part, columns, places in zip(parts, (NUMBERS, BOOLEANS, CATEGORIES), PARAMS, strict=True):
        assert torch.equal(means[:, columns], part.mean(params[:, places]))
        assert torch.equal(expectations[:, places], part.expectation(params[:, places]))


def test_draws_of_every_kind_are_from_its_distribution(params, generator):
    n = 50_000
    likelihood, _ = mixed()
    draws = likelihood.sample(params[:1].expand(n, -1), generator)
    for column, place, variance in zip(NUMBERS, PARAMS[0], VARIANCES, strict=True):
        assert abs(draws[:, column].mean() - params[0, place]) < 4 * (variance / n) ** 0.5
        assert draws[:, column].var() == pytest.approx(variance.item(), rel=4 * (2 / n) ** 0.5)
    levels = [distributions.Bernoulli(logits=params[0, 0]).probs.item()]
    shares = [draws[:, 2].mean().item()]
    for column, d in zip(CATEGORIES, of_each(params[:1, PARAMS[2]], N_LEVELS), strict=True):
        levels += d.probs[0].tolist()
        shares += [(draws[:, column] == k).double().mean().item() for k in range(d.probs.shape[1])]
    assert shares == pytest.approx(levels, abs=4 * 0.5 / n**0.5)


def test_the_variance_is_that_of_numbers_and_of_no_others():
    likelihood, _ = mixed()
    variance = likelihood.variance
    torch.testing.assert_close(variance[NUMBERS], VARIANCES)
    assert variance[BOOLEANS + CATEGORIES].isnan().all()
    shared, _ = mixed(shared=True)
    torch.testing.assert_close(shared.variance[NUMBERS], torch.full((3,), 0.3, dtype=F64))


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 5.0, 3.0, 7.0, 0.5]])
@pytest.mark.parametrize("shared", [False, True])
def test_fit_sets_the_variances_of_numbers(shared, weights):
    likelihood, _ = mixed(shared)
    errors = torch.tensor([0.5, 9.0, 8.0, 2.0, 7.0, 0.1], dtype=F64)
    weights = None if weights is None else torch.tensor(weights, dtype=F64)
    likelihood.fit_(errors, 1.0 if weights is None else weights)
    counted = torch.ones(3, dtype=F64) if weights is None else weights[NUMBERS]
    pooled = (errors[NUMBERS] * counted).sum() / counted.sum()
    torch.testing.assert_close(likelihood.variance[NUMBERS], pooled.expand(3) if shared else errors[NUMBERS])


@pytest.mark.parametrize("shared", [False, True])
def test_fit_to_no_number_leaves_a_variance(shared):
    likelihood, _ = mixed(shared)
    weights = torch.ones(6, dtype=F64).index_fill(0, torch.tensor(NUMBERS), 0.0)
    likelihood.fit_(torch.zeros(6), weights)
    assert (likelihood.variance[NUMBERS] > 0).all()


def test_fit_takes_one_error_for_all():
    likelihood, _ = mixed()
    likelihood.fit_(0.25)
    torch.testing.assert_close(likelihood.variance[NUMBERS], torch.full((3,), 0.25, dtype=F64))


def test_fit_leaves_a_given_variance_alone():
    likelihood = Mixed([Part(UnitGaussian(1, 0.7), [1], [1]), Part(Bernoulli(1), [0], [0])])
    likelihood.fit_(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0]))
    assert likelihood.variance[1].item() == pytest.approx(0.7)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_replays_score_as_the_computation_does(dtype, shared, params, mixed_cells):
    likelihood, (numbers, *_) = mixed(shared, dtype, learned=True)
    x, target = params.to(dtype).requires_grad_(), mixed_cells.to(dtype)

    def step():
        log_prob = likelihood.log_prob(x, target)
        return [log_prob, likelihood.squared_error(x, target), *torch.autograd.grad(log_prob.sum(), [x, numbers.log_excess])]

    outputs = [torch.zeros_like(result) for result in step()]
    recording = Recording(step, outputs)
    for seed in range(3):
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            x.normal_(generator=draw)
            target.copy_(mixed_cells[torch.randperm(20, generator=draw)])
            target.masked_fill_(torch.rand(target.shape, generator=draw) < 0.3, torch.nan)
        recording.replay()
        for output, expected in zip(outputs, step(), strict=True):
            assert torch.equal(output, expected)
