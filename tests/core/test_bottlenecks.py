"""A new bottleneck is one more row of BOTTLENECKS."""

import math

import pytest
import torch
from scipy import stats
from torch.distributions import Normal, kl_divergence

from skvae.core.bottlenecks import Dense, GaussianPosterior, TopK

BOTTLENECKS = {"dense": Dense(), "top-1": TopK(1), "gaussian": GaussianPosterior()}
each_bottleneck = pytest.mark.parametrize("bottleneck", BOTTLENECKS.values(), ids=BOTTLENECKS)
GAUSSIAN = GaussianPosterior()
EXTREMES = [-1e4, -30.0, -1.0, 1e-3, 2.0, 1e4]  # of the parameter of the log-variance


def output(bottleneck, generator, n_rows=6, n_components=3, dtype=torch.float64):
    """What the encoder may put out: for every posterior some narrower and some wider than the prior."""
    size = (n_rows, n_components * bottleneck.expansion)
    return 2 * torch.randn(size, generator=generator, dtype=torch.float64).to(dtype)


def seeded(bottleneck, seed=0):
    return lambda h: bottleneck(h, torch.Generator().manual_seed(seed))


@each_bottleneck
@pytest.mark.parametrize(("n_rows", "n_components", "dtype"), [(1, 3, torch.float32), (6, 1, torch.float64)])
def test_the_code_has_one_number_per_row_and_component(bottleneck, n_rows, n_components, dtype, generator):
    h = output(bottleneck, generator, n_rows, n_components, dtype)
    for code in (bottleneck(h, None), bottleneck(h, generator)):
        assert code.shape == (n_rows, n_components)
        assert code.dtype == dtype


@each_bottleneck
def test_inference_is_deterministic(bottleneck, generator):
    h = output(bottleneck, generator)
    assert torch.equal(bottleneck(h, None), bottleneck(h, None))


@each_bottleneck
def test_the_generator_determines_the_draw(bottleneck, generator):
    h = output(bottleneck, generator)
    first, same, other = (seeded(bottleneck, seed)(h) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert torch.equal(first, other) != bottleneck.has_posterior


@each_bottleneck
def test_the_global_generator_is_left_alone(bottleneck, generator):
    before = torch.get_rng_state()
    bottleneck(output(bottleneck, generator), generator)
    assert torch.equal(torch.get_rng_state(), before)


@each_bottleneck
def test_rows_do_not_influence_each_other(bottleneck, generator):
    h = output(bottleneck, generator)
    changed = h.clone()
    changed[2] += 1
    assert (seeded(bottleneck)(changed) != seeded(bottleneck)(h)).any(1).nonzero().tolist() == [[2]]


@each_bottleneck
@pytest.mark.parametrize("drawn", [False, True])
def test_gradients_pass_through_the_code(bottleneck, drawn, generator):
    code = seeded(bottleneck) if drawn else lambda h: bottleneck(h, None)
    assert torch.autograd.gradcheck(code, output(bottleneck, generator).requires_grad_())


# The largest entries alone

TIES = {
    "none": [[0.1, -3.0, 2.0, 0.5, -0.4]],
    "of two": [[1.0, 2.0, -2.0, 2.0, 0.5]],
    "of all": [[1.5] * 5],
    "of all in magnitude": [[1.5, -1.5, 1.5, -1.5, -1.5]],
}
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@pytest.mark.parametrize("k", [1, 2, 4, 5])
@pytest.mark.parametrize("ties", TIES)
@each_dtype
def test_exactly_so_many_entries_are_kept(dtype, ties, k, generator):
    h = torch.tensor(TIES[ties], dtype=dtype).repeat(7, 1)
    code = TopK(k)(h, None)
    assert torch.equal(TopK(k)(h, generator), code)
    kept = code != 0
    assert kept.sum(1).tolist() == [k] * 7
    assert torch.equal(code[kept], h[kept])
    magnitudes = h.abs().sort(dim=1, descending=True).values[:, :k]
    assert torch.equal(code.abs().sort(dim=1, descending=True).values[:, :k], magnitudes)


@pytest.mark.parametrize("k", [1, 3])
@each_dtype
def test_the_kept_are_the_largest_in_magnitude(dtype, k, generator):
    h = torch.randn(1000, 6, generator=generator, dtype=dtype)
    code = TopK(k)(h, None)
    dropped = torch.where(code == 0, h.abs(), 0).amax(1)
    assert (torch.where(code != 0, h.abs(), math.inf).amin(1) >= dropped).all()
    assert ((code == 0).sum(1) == 6 - k).all()


@each_dtype
def test_of_zeros_nothing_is_left_but_as_many_have_gradients(dtype):
    h = torch.zeros(4, 5, dtype=dtype, requires_grad=True)
    code = TopK(2)(h, None)
    assert torch.equal(code, torch.zeros(4, 5, dtype=dtype))
    (gradient,) = torch.autograd.grad(code.sum(), h)
    assert sorted(gradient.unique().tolist()) == [0, 1]
    assert gradient.sum(1).tolist() == [2] * 4


@pytest.mark.parametrize("drawn", [False, True])
def test_all_components_are_the_encoders_output(drawn, generator):
    h = torch.randn(10, 4, generator=generator)
    assert torch.equal(TopK(4)(h, generator if drawn else None), h)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_gradients_pass_through_the_kept_alone(k, generator):
    h = torch.randn(6, 5, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda h: TopK(k)(h, None).exp(), h)
    code = TopK(k)(h, None)
    (gradient,) = torch.autograd.grad(code.sum(), h)
    assert torch.equal(gradient, (code != 0).double())


def test_so_do_second_ones(generator):
    h = torch.randn(6, 5, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda h: TopK(2)(h, None).exp(), h, torch.ones_like(h).requires_grad_())


@each_dtype
def test_ties_are_broken_in_a_row_as_among_others(dtype, generator):
    h = torch.randint(-2, 3, (500, 7), generator=generator).to(dtype)
    together = TopK(3)(h, None)
    assert torch.equal(torch.cat([TopK(3)(row, None) for row in h[:, None]]), together)
    assert torch.equal(TopK(3)(h.flip(0), None), together.flip(0))


def test_it_draws_nothing(generator):
    state = generator.get_state()
    TopK(1)(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)), generator)
    assert torch.equal(generator.get_state(), state)


# A normal posterior


def normal(h):
    """The posterior that h stands for."""
    mean, a = h[..., : h.shape[-1] // 2], h[..., h.shape[-1] // 2 :]
    return Normal(mean, torch.where(a < 0, a.exp(), 1 + a.relu()).sqrt())


def test_inference_takes_the_mean(generator):
    h = output(GAUSSIAN, generator)
    assert torch.equal(GAUSSIAN(h, None), h[:, :3])


def test_moments_are_those_of_the_posterior(generator):
    h = output(GAUSSIAN, generator)
    mean, log_variance = GAUSSIAN.moments(h)
    torch.testing.assert_close(mean, normal(h).mean)
    torch.testing.assert_close(log_variance, normal(h).variance.log())


def test_draws_are_from_the_posterior(generator):
    n = 100_000
    h = output(GAUSSIAN, generator, n_rows=1)
    posterior = normal(h[0])
    codes = GAUSSIAN(h.expand(n, -1), generator)
    assert ((codes.mean(0) - posterior.mean).abs() < 4 * posterior.stddev / n**0.5).all()
    assert ((codes.var(0) / posterior.variance - 1).abs() < 4 * (2 / n) ** 0.5).all()
    assert ((codes.T.corrcoef() - torch.eye(3)).abs() < 4 / n**0.5).all()
    standard = (codes - posterior.mean) / posterior.stddev
    assert all(stats.kstest(column.numpy(), "norm").pvalue > 0.01 for column in standard.T)


def test_divergence_is_that_of_torch_distributions(generator):
    h = output(GAUSSIAN, generator, n_rows=50)
    expected = kl_divergence(normal(h), Normal(0.0, 1.0))
    torch.testing.assert_close(GAUSSIAN.divergence(h), expected, rtol=1e-6, atol=1e-12)
    assert (h[:, 3:] < 0).any()
    assert (h[:, 3:] > 0).any()


@pytest.mark.parametrize("a", EXTREMES)
def test_divergence_at_extremes(a):
    variance = math.exp(a) if a < 0 else 1 + a
    log_variance = a if a < 0 else math.log(1 + a)
    divergence = GAUSSIAN.divergence(torch.tensor([[3.0, a]], dtype=torch.float64)).item()
    assert divergence == pytest.approx(0.5 * (9 + variance - 1 - log_variance), rel=1e-6)


def test_the_prior_diverges_from_itself_by_nothing():
    assert not GAUSSIAN.divergence(torch.zeros(1, 4)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("score", [GAUSSIAN.divergence, lambda h: GAUSSIAN.at(h, torch.ones(1, 1))[1]])
def test_extreme_posteriors_have_finite_scores_and_gradients_that_lead_back(score, dtype):
    h = torch.cartesian_prod(torch.tensor([-1e4, 1e-3, 1e4]), torch.tensor(EXTREMES)).to(dtype).requires_grad_()
    values = score(h)
    (gradient,) = torch.autograd.grad(values.sum(), h)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient != 0).all()
    assert GAUSSIAN(h, torch.Generator().manual_seed(0)).isfinite().all()


@pytest.mark.parametrize("function", [GAUSSIAN.divergence, GAUSSIAN.moments])
def test_gradient_is_that_of_finite_differences(function, generator):
    assert torch.autograd.gradcheck(function, output(GAUSSIAN, generator).requires_grad_())


def test_log_variance_has_no_kink_where_its_formula_changes():
    a = torch.tensor([-1e-6, 0.0, 1e-6], dtype=torch.float64, requires_grad=True)
    log_variance = GAUSSIAN.moments(torch.stack([a, a], 1))[1][:, 0]
    torch.testing.assert_close(log_variance, a, rtol=1e-6, atol=0)
    (slope,) = torch.autograd.grad(log_variance.sum(), a)
    torch.testing.assert_close(slope, torch.ones_like(a), rtol=2e-6, atol=0)


def test_log_variance_rises_everywhere():
    a = torch.linspace(-50, 50, 1001, dtype=torch.float64)
    assert (GAUSSIAN.moments(torch.stack([a, a], 1))[1].diff(dim=0) > 0).all()


def test_log_ratio_is_prior_over_posterior(generator):
    h = output(GAUSSIAN, generator)[:, None]
    noise = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    code, log_ratio = GAUSSIAN.at(h, noise)
    posterior = normal(h)
    expected = Normal(0.0, 1.0).log_prob(code) - posterior.log_prob(code)
    torch.testing.assert_close(code, posterior.mean + noise * posterior.stddev)
    torch.testing.assert_close(log_ratio, expected.sum(-1), rtol=1e-6, atol=1e-9)
    assert log_ratio.shape == (6, 7)


def test_log_ratio_is_minus_the_divergence_in_the_mean(generator):
    h = output(GAUSSIAN, generator)
    log_ratio = GAUSSIAN.at(h[:, None], torch.randn(50_000, 3, generator=generator, dtype=torch.float64))[1]
    error = log_ratio.std(1) / 50_000**0.5
    assert ((log_ratio.mean(1) + GAUSSIAN.divergence(h).sum(1)).abs() < 4 * error).all()


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_no_other_beta_is_led_back_from_0_or_1(beta, generator):
    h, noise = output(GAUSSIAN, generator), torch.randn(6, 3, generator=generator, dtype=torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(GAUSSIAN.at(h, noise, beta), GAUSSIAN.at(h, noise), strict=True))


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0, 30.0])
def test_codes_led_back_are_from_a_posterior_that_saw_the_row_once(beta, generator):
    """What q says beyond the prior, a normal factor, to the power of beta."""
    mean = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    variance = 0.98 * torch.rand(6, 3, generator=generator, dtype=torch.float64)
    precision = 1 + beta * (1 / variance - 1)
    once = Normal(beta * mean / variance / precision, precision**-0.5)
    noise = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    code, log_ratio = GAUSSIAN.at(torch.cat([mean, variance.log()], 1), noise, beta)
    torch.testing.assert_close(code, once.mean + once.stddev * noise)
    expected = Normal(0.0, 1.0).log_prob(code) - once.log_prob(code)
    torch.testing.assert_close(log_ratio, expected.sum(1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("beta", [0.1, 30.0])
def test_log_ratio_is_that_of_the_codes_where_a_wide_posterior_is_led_back(beta, generator):
    h = output(GAUSSIAN, generator).abs()
    center, beside = (GAUSSIAN.at(h, torch.full((6, 3), noise), beta)[0] for noise in (0.0, 1.0))
    drawn = Normal(center, beside - center)
    code, log_ratio = GAUSSIAN.at(h, torch.randn(6, 3, generator=generator, dtype=torch.float64), beta)
    expected = Normal(0.0, 1.0).log_prob(code) - drawn.log_prob(code)
    torch.testing.assert_close(log_ratio, expected.sum(1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("beta", [0.1, 30.0])
def test_a_posterior_that_says_nothing_is_left_as_it_is(beta):
    h, noise = torch.tensor([[0.02, -0.005]]), torch.ones(1, 1)
    torch.testing.assert_close(GAUSSIAN.at(h, noise, beta), GAUSSIAN.at(h, noise))


@pytest.mark.parametrize("a", EXTREMES)
@pytest.mark.parametrize("beta", [0.1, 30.0])
def test_extreme_posteriors_can_be_led_back(beta, a):
    code, log_ratio = GAUSSIAN.at(torch.tensor([[3.0, a]]), torch.ones(1, 1), beta)
    assert code.isfinite().all()
    assert log_ratio.isfinite().all()


def test_draws_are_codes_at_the_generators_noise(generator):
    h = output(GAUSSIAN, generator)
    noise = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(GAUSSIAN.at(h, noise)[0], seeded(GAUSSIAN)(h))
