"""A new likelihood is one more row of LIKELIHOODS."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, distributions, nn
from torch.distributions import Normal

from skvae.core.likelihoods import Bernoulli, Gaussian, UnitGaussian


@dataclass(frozen=True)
class Contract:
    build: Callable[[int], nn.Module]
    distribution: Callable[[Tensor], distributions.Distribution]  # of cells, from the decoder's output
    support: Tensor  # every value of a cell, or a grid over all that matter
    step: float = 1.0  # of the grid


LINE = torch.linspace(-40, 40, 8001, dtype=torch.float64)
VARIANCES = torch.tensor([0.1, 0.3, 1.0, 2.5], dtype=torch.float64)


def one_variance_per_column(n_columns):
    likelihood = Gaussian(n_columns, dtype=torch.float64, floor=torch.full((n_columns,), 1e-6))
    likelihood.fit_(VARIANCES[:n_columns])
    return likelihood


LIKELIHOODS = {
    "gaussian": Contract(lambda d: Gaussian(d, 0.3, torch.float64), lambda p: Normal(p, 0.3**0.5), LINE, 0.01),
    "gaussian_diag": Contract(one_variance_per_column, lambda p: Normal(p, VARIANCES[: p.shape[1]].sqrt()), LINE, 0.01),
    "unit_gaussian": Contract(lambda d: UnitGaussian(d, 1.0, torch.float64), lambda p: Normal(p, 1.0), LINE, 0.01),
    "bernoulli": Contract(Bernoulli, lambda p: distributions.Bernoulli(logits=p), torch.tensor([0.0, 1.0]).double()),
}
each_likelihood = pytest.mark.parametrize("contract", LIKELIHOODS.values(), ids=LIKELIHOODS)
FLOORS = {"one": 1e-6, "per column": torch.tensor([1e-6, 1e-3, 1e-12])}
each_floor = pytest.mark.parametrize("floor", FLOORS.values(), ids=FLOORS)


def params_and_cells(contract, generator, n_rows=6, n_columns=4):
    params = 2 * torch.randn(n_rows, n_columns, generator=generator, dtype=torch.float64)
    index = torch.randint(len(contract.support), params.shape, generator=generator)
    return params, contract.support[index]


@each_likelihood
def test_log_prob_is_that_of_torch_distributions(contract, generator):
    params, cells = params_and_cells(contract, generator)
    expected = contract.distribution(params).log_prob(cells)
    torch.testing.assert_close(contract.build(4).log_prob(params, cells), expected, rtol=1e-6, atol=0)


@each_likelihood
def test_probabilities_sum_to_one(contract, generator):
    params, _ = params_and_cells(contract, generator, n_rows=1)
    cells = contract.support[:, None].expand(-1, 4)
    mass = contract.build(4).log_prob(params.expand(len(cells), -1), cells).exp().sum(0) * contract.step
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-9, atol=0)


@each_likelihood
def test_mean_is_the_expected_cell(contract, generator):
    likelihood = contract.build(4)
    params, _ = params_and_cells(contract, generator, n_rows=1)
    cells = contract.support[:, None].expand(-1, 4)
    probabilities = likelihood.log_prob(params.expand(len(cells), -1), cells).exp() * contract.step
    torch.testing.assert_close(likelihood.mean(params)[0], (probabilities * cells).sum(0), rtol=1e-9, atol=1e-9)


@each_likelihood
def test_gradient_is_that_of_finite_differences(contract, generator):
    params, cells = params_and_cells(contract, generator)
    assert torch.autograd.gradcheck(contract.build(4).log_prob, (params.requires_grad_(), cells))


@each_likelihood
@pytest.mark.parametrize("n_rows", [1, 2, 7])
def test_log_prob_is_per_cell(contract, n_rows, generator):
    likelihood = contract.build(4)
    params, cells = params_and_cells(contract, generator, n_rows)
    before = likelihood.log_prob(params, cells)
    params[0, 1] += 0.5
    after = likelihood.log_prob(params, cells)
    assert before.shape == (n_rows, likelihood.n_columns) == (n_rows, 4)
    assert (before != after).nonzero().tolist() == [[0, 1]]


@each_likelihood
def test_every_output_of_the_decoder_moves_the_loss(contract, generator):
    likelihood = contract.build(4)
    params, cells = params_and_cells(contract, generator)
    assert params.shape[1] == likelihood.n_params
    (gradient,) = torch.autograd.grad(likelihood.log_prob(params.requires_grad_(), cells).sum(), params)
    assert (gradient != 0).all()


@each_likelihood
@pytest.mark.parametrize("extreme", [-1e4, 0.0, 1e4])
def test_extreme_outputs_have_finite_scores_and_gradients(contract, extreme):
    likelihood = contract.build(2).float()
    likelihood.fit_(0.0)
    params = torch.full((2, 2), extreme, requires_grad=True)
    log_prob = likelihood.log_prob(params, contract.support[[0, -1]].float()[:, None].expand(2, 2))
    (gradient,) = torch.autograd.grad(log_prob.sum(), params)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()
    assert likelihood.mean(params).isfinite().all()


@each_likelihood
def test_draws_are_from_the_distribution(contract, generator):
    n = 100_000
    likelihood = contract.build(4)
    params, _ = params_and_cells(contract, generator, n_rows=1)
    cells = likelihood.sample(params.expand(n, -1), generator)
    distribution = contract.distribution(params)
    assert cells.shape == (n, likelihood.n_columns)
    assert cells.dtype == params.dtype
    squares = (cells - distribution.mean).square()
    assert ((cells.mean(0) - distribution.mean).abs() < 4 * distribution.stddev / n**0.5).all()
    assert ((squares.mean(0) - distribution.variance).abs() < 4 * squares.std(0) / n**0.5).all()
    assert ((cells.T.corrcoef() - torch.eye(4)).abs() < 4 / n**0.5).all()
    assert likelihood.log_prob(params.expand(n, -1), cells).isfinite().all()


@each_likelihood
def test_the_generator_determines_the_draw(contract, generator):
    params, _ = params_and_cells(contract, generator, n_rows=50)
    first, same, other = (contract.build(4).sample(params, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@each_likelihood
def test_nothing_is_trained_by_gradients(contract):
    assert not any(p.requires_grad for p in contract.build(3).parameters())


def test_bernoulli_cells_between_0_and_1_cost_their_cross_entropy(generator):
    logits = 3 * torch.randn(50, 1, generator=generator, dtype=torch.float64)
    cells = torch.rand(50, 1, generator=generator, dtype=torch.float64)
    p = 1 / (1 + torch.exp(-logits))
    expected = cells * torch.log(p) + (1 - cells) * torch.log(1 - p)
    torch.testing.assert_close(Bernoulli(1).log_prob(logits, cells), expected)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 30.0])
@pytest.mark.parametrize("per_column", [False, True])
def test_fit_sets_the_variance_of_the_highest_likelihood(scale, per_column, generator):
    params, noise = torch.randn(2, 30, 4, generator=generator, dtype=torch.float64)
    cells = params + scale * noise * VARIANCES.sqrt()
    squared_error = (cells - params).square().mean(0)
    if not per_column:
        squared_error = squared_error.mean()
    likelihood = Gaussian(4, dtype=torch.float64, floor=torch.full_like(squared_error, 1e-6))
    likelihood.fit_(squared_error)

    def log_likelihood(variance):
        return Normal(params, variance.sqrt()).log_prob(cells).sum(0)

    fitted = likelihood.log_prob(params, cells).sum(0)
    torch.testing.assert_close(fitted, log_likelihood(squared_error), rtol=1e-9, atol=0)
    for factor in torch.logspace(-1, 1, 40):
        worse = log_likelihood(squared_error * factor) - fitted
        assert ((worse if per_column else worse.sum()) < 0).all()


@pytest.mark.parametrize("floor", [1e-6, torch.full((4,), 1e-6)], ids=["one", "per column"])
def test_the_likelihood_falls_on_both_sides_of_the_fitted_variance(floor, generator):
    cells = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    likelihood = Gaussian(4, dtype=torch.float64, floor=floor, learned=True)
    likelihood.fit_(cells.square().mean(0) if likelihood.floor.ndim else cells.square().mean())
    (slope,) = torch.autograd.grad(likelihood.log_prob(torch.zeros_like(cells), cells).sum(), likelihood.log_excess)
    assert slope.shape == likelihood.floor.shape
    assert (slope.abs() < 1e-9 * cells.numel()).all()


@each_floor
@pytest.mark.parametrize("learned", [False, True])
def test_only_a_learned_variance_is_trained(learned, floor):
    assert [p.requires_grad for p in Gaussian(3, floor=floor, learned=learned).parameters()] == [learned]


@each_floor
def test_gradient_of_a_learned_variance_is_its_formula(floor, generator):
    likelihood = Gaussian(3, 0.3, torch.float64, floor, learned=True)
    params, cells = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(likelihood.log_prob(params, cells).sum(), likelihood.log_excess)
    expected = 0.5 * ((cells - params).square() / 0.3 - 1) / 0.3 * (0.3 - likelihood.floor)
    torch.testing.assert_close(gradient, expected.sum_to_size(gradient.shape))


@pytest.mark.parametrize("build", [UnitGaussian, lambda d, variance: Bernoulli(d)])
def test_likelihoods_without_a_learned_variance_are_left_alone_by_fit(build, generator):
    likelihood = build(3, 0.7)
    params, cells = torch.rand(2, 5, 3, generator=generator)
    before = likelihood.log_prob(params, cells)
    likelihood.fit_(123.0)
    assert torch.equal(likelihood.log_prob(params, cells), before)


@each_floor
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exact_reconstruction_has_the_score_of_the_floor(dtype, floor):
    likelihood = Gaussian(3, dtype=dtype, floor=floor)
    likelihood.fit_(0.0)
    cells = torch.ones(2, 3, dtype=dtype)
    highest = Normal(1.0, likelihood.floor.sqrt()).log_prob(cells)
    torch.testing.assert_close(likelihood.log_prob(cells, cells), highest, rtol=1e-3, atol=0)


@each_floor
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_excess", [-1e4, -100.0, -20.0])
def test_no_training_leads_below_the_floor(log_excess, dtype, floor):
    likelihood = Gaussian(3, dtype=dtype, floor=floor, learned=True)
    likelihood.log_excess.detach().fill_(log_excess)
    cells = torch.ones(2, 3, dtype=dtype)
    highest = Normal(1.0, likelihood.floor.sqrt()).log_prob(cells)
    log_prob = likelihood.log_prob(cells, cells)
    (gradient,) = torch.autograd.grad(log_prob.sum(), likelihood.log_excess)
    assert (likelihood.variance >= likelihood.floor).all()
    assert (log_prob <= highest + 1e-5).all()
    assert gradient.isfinite().all()


@each_floor
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_fit_leaves_a_variance_that_can_still_be_learned(share, floor):
    likelihood = Gaussian(3, dtype=torch.float64, floor=floor)
    likelihood.fit_(share * likelihood.floor)
    torch.testing.assert_close(likelihood.variance, 1.001 * likelihood.floor)
    assert likelihood.log_excess.isfinite().all()


@pytest.mark.parametrize("variance", [1e-5, 1e-2, 1.0, 1e3, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_variance_above_the_floor_is_met(variance, dtype):
    assert Gaussian(3, variance, dtype).variance.item() == pytest.approx(variance, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_column_has_a_variance_of_its_own(dtype):
    variances = torch.tensor([1e-11, 1e-2, 1e4], dtype=torch.float64)
    likelihood = Gaussian(3, dtype=dtype, floor=torch.tensor([1e-12, 1e-6, 1e-6]))
    likelihood.fit_(variances)
    torch.testing.assert_close(likelihood.variance, variances.to(dtype), rtol=1e-5, atol=0)


@pytest.mark.parametrize("variance", [1e-12, 1e-7])
def test_a_given_variance_is_met_however_small(variance):
    assert UnitGaussian(3, variance, torch.float64).variance.item() == pytest.approx(variance, rel=1e-5)


def test_the_variance_follows_the_model_to_another_precision():
    assert Gaussian(3, 0.3).to(torch.float64).variance.dtype == torch.float64
