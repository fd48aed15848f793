import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from skvae.core import model as model_module
from skvae.core.bottlenecks import Dense, GaussianPosterior
from skvae.core.inputs import Inputs
from skvae.core.likelihoods import Bernoulli, Gaussian, UnitGaussian

LIKELIHOODS = {"gaussian": Gaussian, "unit_gaussian": UnitGaussian, "bernoulli": Bernoulli}
BOTTLENECKS = {"dense": Dense(), "gaussian": GaussianPosterior()}
NETS = {"linear": (), "deep": (8, 3)}
each_net = pytest.mark.parametrize("hidden", NETS.values(), ids=NETS)


@pytest.fixture
def x(rows):
    return rows.double()


@pytest.fixture
def noise(generator):
    return torch.randn(7, 2, generator=generator, dtype=torch.float64)


@pytest.fixture
def variational(autoencoder):
    def build(**options):
        return autoencoder(bottleneck=GaussianPosterior(), dtype=torch.float64, **options)

    return build


def posterior_of(model, x):
    mean, a = model.encoder(x).chunk(2, 1)
    return Normal(mean, torch.where(a < 0, a.exp(), 1 + a.relu()).sqrt())


def test_codes_and_cells_without_a_posterior(autoencoder, x):
    model = autoencoder(dtype=torch.float64)
    codes = model.encoder(x)
    assert torch.equal(model.encode(x), codes)
    assert torch.equal(model.decode(codes), model.decoder(codes))
    assert torch.equal(model.reconstruct(x), model.decoder(codes))


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_codes_and_cells_with_a_posterior_are_those_of_its_mean(likelihood, variational, x):
    model = variational(likelihood=likelihood)
    mean = model.encoder(x)[:, :2]
    params = model.decoder(mean)
    assert torch.equal(model.encode(x), mean)
    torch.testing.assert_close(model.reconstruct(x), torch.sigmoid(params) if likelihood is Bernoulli else params)
    torch.testing.assert_close(model.log_prob(x), model.likelihood.log_prob(params, x))


def test_posterior_and_divergence_are_those_of_the_encoders_output(variational, x):
    model = variational()
    posterior = posterior_of(model, x)
    mean, log_variance = model.posterior(x)
    torch.testing.assert_close(mean, posterior.mean)
    torch.testing.assert_close(log_variance, posterior.variance.log())
    torch.testing.assert_close(model.divergence(x), kl_divergence(posterior, Normal(0.0, 1.0)))


# Missing cells


def test_missing_cells_score_zero_and_the_others_given_the_code_of_what_is_seen(mixed_autoencoder, mixed_rows):
    model, x = mixed_autoencoder(torch.float64).eval(), mixed_rows.double()
    other = x.roll(1, 0)
    code = model.encoder(model.inputs(x))
    params = model.decoder(code)
    assert torch.equal(model.encode_inputs(model.inputs(x)), code)
    assert torch.equal(model.encode(x), code)
    for method, given in (("log_prob", "log_prob_given"), ("squared_error", "squared_error_given")):
        score = getattr(model.likelihood, method)
        assert torch.equal(getattr(model, method)(x), score(params, x))
        assert torch.equal(getattr(model, given)(x, other), score(params, other))
        assert (getattr(model, given)(x, other)[other.isnan()] == 0).all()


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_so_they_do_in_a_plain_table(likelihood, autoencoder, x):
    model = autoencoder(dtype=torch.float64, likelihood=likelihood).eval()
    holed = x.masked_fill(x > 0.5, torch.nan)
    for scores, given in (
        (model.log_prob_given(x, holed), model.log_prob(x)),
        (model.squared_error_given(x, holed), (model.reconstruct(x) - x).square()),
    ):
        assert torch.equal(scores, given.masked_fill(holed.isnan(), 0.0))


def of_observed(model, density, x):
    """The model set to fill in by itself, and the density of each row's observed cells."""
    model.inputs = Inputs.of_numbers(5, 2, dtype=torch.float64)
    loadings = model.decoder.path if model.decoder.path is not None else model.decoder.out.weight
    model.inputs.start_(density.mean, loadings.detach(), model.likelihood.variance.detach())
    parts = []
    for row in x:
        o = ~row.isnan()
        parts.append(MultivariateNormal(density.mean[o], density.covariance_matrix[o][:, o]).log_prob(row[o]))
    return model.eval(), torch.stack(parts)


def test_the_mean_weight_of_a_row_with_missing_cells_is_the_density_of_its_observed_ones(linear_gaussian, x, generator):
    holed = x[:12].clone()
    holed[torch.arange(12), torch.arange(12) % 5] = torch.nan
    model, expected = of_observed(*linear_gaussian(too_wide=4.0, hidden=()), holed)
    noise = torch.randn(20_000, 2, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        found = model.log_weights(holed, noise).logsumexp(1) - math.log(20_000)
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.05)


def test_a_prediction_of_cells_is_their_density_given_the_observed_ones(linear_gaussian, x, generator):
    holed, place = x[:12].clone(), torch.arange(12) % 5
    holed[torch.arange(12), place] = torch.nan
    model, of_rest = of_observed(*linear_gaussian(too_wide=4.0, hidden=()), holed)
    expected = linear_gaussian()[1].log_prob(x[:12]) - of_rest
    noise = torch.randn(20_000, 2, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        found = model.log_predictive(holed, x[:12], noise)
        assert found.shape == (12, 5)
        torch.testing.assert_close(found[torch.arange(12), place], expected, rtol=0.01, atol=0.05)
        nothing = model.log_predictive(holed, torch.full_like(holed, torch.nan), noise[:50])
    torch.testing.assert_close(nothing, torch.zeros_like(nothing), rtol=0, atol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_predictions_are_means_over_codes_by_weight(beta, variational, x, noise):
    model = variational()
    codes, weights = model.codes_at(x, noise, beta), model.log_weights(x, noise, beta).exp()
    cells = torch.stack(
        [Normal(model.decoder(code), model.likelihood.variance.sqrt()).log_prob(x).exp() for code in codes.unbind(1)], 1
    )
    expected = (weights[:, :, None] * cells).sum(1) / weights.sum(1, keepdim=True)
    torch.testing.assert_close(model.log_predictive(x, x, noise, beta), expected.log(), rtol=1e-9, atol=1e-9)


def test_codes_are_the_posteriors_at_the_noise_of_all_rows_or_of_each(variational, x, noise, generator):
    model, posterior = variational(), posterior_of(variational(), x)
    expected = posterior.mean[:, None] + posterior.stddev[:, None] * noise
    torch.testing.assert_close(model.codes_at(x, noise), expected)
    own = torch.randn(len(x), 7, 2, generator=generator, dtype=torch.float64)
    expected = posterior.mean[:, None] + posterior.stddev[:, None] * own
    torch.testing.assert_close(model.codes_at(x, own), expected)


# Importance weights


def log_weight(model, x, noise):
    """Of every row at one noise vector, by torch.distributions."""
    posterior, prior = posterior_of(model, x), Normal(0.0, 1.0)
    code = posterior.mean + posterior.stddev * noise
    params = model.decoder(code)
    if isinstance(model.likelihood, Bernoulli):
        fit = torch.distributions.Bernoulli(logits=params, validate_args=False).log_prob(x)
    else:
        fit = Normal(params, model.likelihood.variance.sqrt()).log_prob(x)
    return fit.sum(1) + prior.log_prob(code).sum(1) - posterior.log_prob(code).sum(1)


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
@each_net
@pytest.mark.parametrize("training", [True, False])
def test_log_weights_are_those_of_torch_distributions(likelihood, hidden, training, variational, x, noise):
    model = variational(likelihood=likelihood, hidden=hidden).train(training)
    weights = model.log_weights(x, noise)
    assert weights.shape == (len(x), len(noise))
    expected = torch.stack([log_weight(model, x, vector) for vector in noise], 1)
    torch.testing.assert_close(weights, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_rows", [1, 3])
@pytest.mark.parametrize("n_samples", [1, 4])
def test_any_number_of_rows_and_samples_will_do(n_rows, n_samples, variational, x, noise):
    assert variational().log_weights(x[:n_rows], noise[:n_samples]).shape == (n_rows, n_samples)


@pytest.mark.parametrize("decoded_cells", [1, 200, 450, 1400])
def test_log_weights_do_not_depend_on_how_many_are_computed_at_once(decoded_cells, variational, x, noise, monkeypatch):
    model = variational()
    at_once = model.log_weights(x, noise)
    monkeypatch.setattr(model_module, "DECODED_CELLS", decoded_cells)
    torch.testing.assert_close(model.log_weights(x, noise), at_once, rtol=1e-12, atol=1e-12)


def test_no_more_cells_are_decoded_at_once_than_allowed(variational, x, noise, monkeypatch):
    model, seen = variational(), []
    model.decoder.register_forward_hook(lambda network, codes, cells: seen.append(cells.numel()))
    monkeypatch.setattr(model_module, "DECODED_CELLS", 3 * x.numel())
    model.log_weights(x, noise)
    assert seen == [3 * x.numel(), 3 * x.numel(), x.numel()]


def test_a_rows_weights_do_not_depend_on_the_others(variational, x, noise):
    model = variational()
    alone = torch.cat([model.log_weights(row[None], noise) for row in x])
    torch.testing.assert_close(model.log_weights(x, noise), alone, rtol=1e-12, atol=1e-12)


def test_so_they_follow_a_permutation_of_rows_and_samples(variational, x, noise, generator):
    model = variational()
    rows, samples = torch.randperm(len(x), generator=generator), torch.randperm(len(noise), generator=generator)
    permuted = model.log_weights(x[rows], noise[samples])
    torch.testing.assert_close(permuted, model.log_weights(x, noise)[rows][:, samples], rtol=1e-12, atol=1e-12)


@each_net
@pytest.mark.parametrize("in_units", [False, True])
def test_where_the_posterior_is_exact_every_weight_is_the_density(hidden, in_units, linear_gaussian, x, noise):
    model, density = linear_gaussian(hidden=hidden, in_units=in_units)
    expected = density.log_prob(x)
    torch.testing.assert_close(model.log_weights(x, noise), expected[:, None].expand(-1, 7), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("in_units", [False, True])
def test_so_it_is_in_float32_to_a_thousandth_of_a_nat(in_units, linear_gaussian, rows, noise):
    model, density = linear_gaussian(hidden=(8,), in_units=in_units, dtype=torch.float32)
    scores = model.log_weights(rows, noise.float())
    assert (scores.std(1) < 1e-3).all()
    torch.testing.assert_close(scores[:, 0].double(), density.log_prob(rows.double()), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0, 20.0])
@each_net
def test_a_posterior_of_another_beta_is_led_back_to_the_exact_one(beta, hidden, linear_gaussian, x, noise):
    model, density = linear_gaussian(beta, hidden=hidden)
    expected = density.log_prob(x)[:, None].expand(-1, 7)
    torch.testing.assert_close(model.log_weights(x, noise, beta), expected, rtol=1e-9, atol=1e-8)
    assert ((model.log_weights(x, noise) - expected).abs() > 1e-6).all()


@pytest.mark.parametrize("too_wide", [0.6, 1.7])
def test_more_samples_make_the_bound_tighter(too_wide, linear_gaussian, x, generator):
    model, density = linear_gaussian(too_wide=too_wide)
    weights = model.log_weights(x[:8], torch.randn(1024, 2, generator=generator, dtype=torch.float64))
    evidence = density.log_prob(x[:8])
    bounds = [(weights.unflatten(1, (-1, k)).logsumexp(2) - math.log(k)).mean(1) for k in (1, 8, 64, 1024)]
    assert all((looser < tighter).all() for looser, tighter in zip(bounds, [*bounds[1:], evidence + 0.03], strict=True))
    assert (bounds[0] < evidence - 0.05).all()
    torch.testing.assert_close(bounds[-1], evidence, rtol=0, atol=0.03)


@pytest.mark.parametrize("too_wide", [0.3, 1.0, 1.7])
def test_the_mean_weight_is_the_closed_bound(too_wide, linear_gaussian, x, generator):
    n = 20_000
    model, density = linear_gaussian(too_wide=too_wide)
    mean, log_variance = model.posterior(x[:5])
    exact = linear_gaussian()[0].posterior(x[:5])[1]
    gap = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(mean, (0.5 * exact).exp())).sum(1)
    weights = model.log_weights(x[:5], torch.randn(n, 2, generator=generator, dtype=torch.float64))
    error = weights.std(1) / n**0.5
    assert ((weights.mean(1) - density.log_prob(x[:5]) + gap).abs() <= 4 * error + 1e-9).all()


# The order of components


def with_units(model, generator):
    for network in (model.encoder, model.decoder):
        if network.unit is not None:
            network.unit.copy_(0.5 + torch.rand(network.unit.shape, generator=generator, dtype=network.unit.dtype))
    return model


@each_net
@pytest.mark.parametrize("in_units", [False, True])
@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("bottleneck", BOTTLENECKS.values(), ids=BOTTLENECKS)
def test_renumbering_components_permutes_codes_and_nothing_else(
    bottleneck, hidden, in_units, linear_path, autoencoder, x, generator
):
    model = autoencoder(
        n_components=4, hidden=hidden, bottleneck=bottleneck, in_units=in_units, linear_path=linear_path, dtype=torch.float64
    )
    with_units(model, generator)
    order, noise = torch.tensor([2, 0, 3, 1]), torch.randn(7, 4, generator=generator, dtype=torch.float64)

    def seen(order, noise):
        same = [model.reconstruct(x), model.log_prob(x)]
        permuted = [model.encode(x)]
        if bottleneck.has_posterior:
            same.append(model.log_weights(x, noise))
            permuted += [*model.posterior(x), model.divergence(x)]
        return same + [values[:, order] for values in permuted]

    before = seen(order, noise)
    model.reorder_components_(order)
    torch.testing.assert_close(seen(torch.arange(4), noise[:, order]), before, rtol=1e-10, atol=1e-10)


def test_renumbering_there_and_back_is_nothing(variational):
    model = variational(n_components=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    order = torch.tensor([2, 0, 3, 1])
    model.reorder_components_(order)
    assert not torch.equal(model.encoder.out.bias, before["encoder.out.bias"])
    model.reorder_components_(order.argsort())
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
