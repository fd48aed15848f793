"""The objective against torch.distributions, closed forms and finite differences."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli as BernoulliCells
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence
from torch.func import functional_call

from skvae.core.bottlenecks import Dense, GaussianPosterior, TopK
from skvae.core.corruptions import Columns, GaussianNoise, Masking, SaltAndPepper, SwapNoise
from skvae.core.likelihoods import Bernoulli, Gaussian, UnitGaussian
from skvae.core.objective import Objective
from skvae.core.penalties import L1, L2, Contractive, KLSparsity, Pass

NORMAL_CELLS = {
    "gaussian": lambda d: Gaussian(d, 0.3, learned=True),
    "gaussian_diag": lambda d: Gaussian(d, 0.3, floor=torch.full((d,), 1e-6), learned=True),
    "unit_gaussian": lambda d: UnitGaussian(d, 0.7),
}
LIKELIHOODS = {**NORMAL_CELLS, "bernoulli": Bernoulli}
each_likelihood = pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)


@pytest.fixture
def variational(autoencoder_with_paths):
    """A function that builds the same small model in float64, with a variance of the posterior and a linear path that vary."""

    def build(likelihood=NORMAL_CELLS["gaussian"], **options):
        return autoencoder_with_paths(likelihood=likelihood, bottleneck=GaussianPosterior(), **options)

    return build


@pytest.fixture
def x(rows):
    return rows.double()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def parts(model, x):
    """Negative log-likelihood and divergence of each row, by torch.distributions, for the draw of ``seeded()``."""
    mean, a = model.encoder(x).chunk(2, 1)
    posterior = Normal(mean, torch.where(a < 0, a.exp(), 1 + a.relu()).sqrt())
    noise = torch.randn(mean.shape, generator=seeded(), dtype=x.dtype)
    params = model.decoder(posterior.mean + posterior.stddev * noise)
    if isinstance(model.likelihood, Bernoulli):
        cells = BernoulliCells(logits=params, validate_args=False)
    else:
        cells = Normal(params, model.likelihood.variance.sqrt())
    return -cells.log_prob(x).sum(1), kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)


@each_likelihood
@pytest.mark.parametrize("beta", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_objective_is_the_loss_of_a_beta_vae(likelihood, beta, weighted, hidden, variational, x, generator):
    model = variational(likelihood, hidden=hidden)
    weight = torch.rand(len(x), generator=generator, dtype=torch.float64) if weighted else None
    reconstruction, divergence = parts(model, x)
    losses = reconstruction + beta * divergence
    expected = losses.mean() if weight is None else (losses * weight).sum() / len(x)
    torch.testing.assert_close(Objective().loss(model, x, weight, beta, seeded()), expected, rtol=1e-6, atol=0)


def test_beta_is_1_where_nothing_is_said(variational, x):
    model = variational()
    assert torch.equal(Objective().loss(model, x, None, generator=seeded()), Objective().loss(model, x, None, 1.0, seeded()))
    assert torch.equal(Objective().row_losses(model, x, generator=seeded()), Objective().row_losses(model, x, 1.0, seeded()))


def without_scatter(model):
    """The model with posteriors so narrow that every draw is their mean."""
    with torch.no_grad():
        model.encoder.out.bias[2:] = -2000
    return model


@each_likelihood
@pytest.mark.parametrize("beta", [0.0, 1.0, 100.0])
def test_integer_weights_are_repeated_rows(likelihood, beta, variational, x):
    model, counts = without_scatter(variational(likelihood)), torch.arange(len(x)) % 3
    weighted = Objective().loss(model, x, counts / counts.double().mean(), beta, seeded())
    repeated = Objective().loss(model, x.repeat_interleave(counts, 0), None, beta, seeded(1))
    torch.testing.assert_close(weighted, repeated, rtol=1e-9, atol=0)


PARTS_OF_THE_MODEL = {
    "mean of the posterior": lambda model: model.encoder.out.bias[:2],
    "log-variance of the posterior": lambda model: model.encoder.out.bias[2:],
    "linear path of the encoder": lambda model: model.encoder.path,
    "decoder": lambda model: model.decoder.out.bias,
    "variance of the noise": lambda model: model.likelihood.log_excess,
}


@pytest.mark.parametrize("part", PARTS_OF_THE_MODEL.values(), ids=PARTS_OF_THE_MODEL)
@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_every_part_of_the_model_moves_the_loss(part, beta, variational, x):
    model = variational()
    before = Objective().loss(model, x, None, beta, seeded()).item()
    part(model).detach().add_(0.1)
    assert Objective().loss(model, x, None, beta, seeded()).item() != pytest.approx(before, rel=1e-6)


def test_beta_weighs_the_divergence_alone(variational, x):
    model = variational()
    at_0, at_1, at_3 = (Objective().loss(model, x, None, beta, seeded()) for beta in (0.0, 1.0, 3.0))
    divergence = parts(model, x)[1].mean()
    assert divergence > 0.1
    torch.testing.assert_close(at_1 - at_0, divergence)
    torch.testing.assert_close(at_3 - at_1, 2 * divergence)


@each_likelihood
@pytest.mark.parametrize("in_units", [False, True])
def test_gradient_is_that_of_finite_differences(likelihood, in_units, variational, x):
    model = variational(likelihood, n_columns=3, hidden=(4,), in_units=in_units)
    if in_units:
        model.encoder.unit.copy_(torch.tensor([0.5, 0.2, 1.0, 1.0]))
        model.decoder.unit.copy_(torch.tensor([0.1, 1.0, 2.0]))
    names, parameters = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    weight = torch.arange(4.0, dtype=torch.float64) / 1.5

    def loss(*values):
        called = Loss(model, weight)
        return functional_call(called, {f"model.{n}": v for n, v in zip(names, values, strict=True)}, (x[:4, :3],))

    assert torch.autograd.gradcheck(loss, [p.detach().clone().requires_grad_() for p in parameters])


class Loss(nn.Module):
    def __init__(self, model, weight):
        super().__init__()
        self.model, self.weight = model, weight

    def forward(self, x):
        return Objective().loss(self.model, x, self.weight, 0.7, seeded())


# The loss of each row


def elbo(model, x, loadings, beta):
    """Expected log-likelihood minus beta times the divergence, in closed form, of a model with a linear decoder."""
    mean, log_variance = model.posterior(x)
    variance = model.likelihood.variance
    scatter = (loadings.square() / variance[:, None] * log_variance.exp()[:, None]).sum((1, 2))
    fit = Normal(model.decoder(mean), variance.sqrt()).log_prob(x).sum(1)
    divergence = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    return fit - 0.5 * scatter - beta * divergence


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_row_losses_are_the_bound_in_the_mean(beta, linear_gaussian, x, generator):
    n = 20_000
    model, _ = linear_gaussian(too_wide=1.7, hidden=())
    with torch.no_grad():
        losses = Objective().row_losses(model, x[:3].repeat_interleave(n, 0), beta, generator).view(3, n)
        repeated = Objective().loss(model, x[:3].repeat_interleave(n, 0), None, beta, generator)
        expected = -elbo(model, x[:3], model.decoder.out.weight, beta)
    error = losses.std(1) / n**0.5
    assert ((losses.mean(1) - expected).abs() < 4 * error).all()
    assert repeated.item() == pytest.approx(expected.mean().item(), abs=4 * error.mean().item())


@pytest.mark.parametrize("beta", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_where_the_posterior_is_exact_no_draw_changes_the_loss(beta, hidden, linear_gaussian, x):
    model, density = linear_gaussian(beta, hidden=hidden)
    first, second = (Objective().row_losses(model, x, beta, seeded(seed)) for seed in (1, 2))
    tempered = MultivariateNormal(density.mean, density.covariance_matrix + (beta - 1) * model.likelihood.variance.diag())
    volumes = 0.5 * torch.log(2 * math.pi * torch.stack([beta * model.likelihood.variance, model.likelihood.variance])).sum(1)
    expected = -beta * (tempered.log_prob(x) + volumes[0]) + volumes[1]
    torch.testing.assert_close(first, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(second, expected, rtol=1e-9, atol=1e-9)


def test_where_it_is_not_they_do(linear_gaussian, x):
    model, _ = linear_gaussian(too_wide=1.7)
    first, second = (Objective().row_losses(model, x, 1.0, seeded(seed)) for seed in (1, 2))
    assert ((first - second).abs() > 1e-6).all()


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_a_row_losses_estimate_takes_the_divergence_at_the_draw(beta, variational, x):
    model = variational()
    mean, log_variance = model.posterior(x)
    noise = torch.randn(mean.shape, generator=seeded(), dtype=torch.float64)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    code = posterior.mean + posterior.stddev * noise
    ratio = (posterior.log_prob(code) - Normal(0.0, 1.0).log_prob(code)).sum(1)
    torch.testing.assert_close(
        Objective().row_losses(model, x, beta, seeded()), parts(model, x)[0] + beta * ratio, rtol=1e-9, atol=1e-9
    )


# Without a posterior


@each_likelihood
def test_a_dense_bottleneck_knows_neither_beta_nor_the_generator(likelihood, autoencoder, x, generator):
    model = autoencoder(likelihood=likelihood, bottleneck=Dense(), dtype=torch.float64)
    state = generator.get_state()
    for loss in (lambda *a: Objective().loss(model, x, None, *a), lambda *a: Objective().row_losses(model, x, *a)):
        assert torch.equal(loss(100.0, generator), loss(0.0, None))
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("weighted", [False, True])
def test_without_a_posterior_the_loss_is_the_squared_error_over_twice_the_variance(weighted, autoencoder, x, generator):
    model = autoencoder(likelihood=NORMAL_CELLS["gaussian"], dtype=torch.float64)
    weight = torch.rand(len(x), generator=generator, dtype=torch.float64) if weighted else None
    squares = (model.decoder(model.encoder(x)) - x).square().sum(1)
    losses = squares / 0.6 + 2.5 * math.log(2 * math.pi * 0.3)
    expected = losses.mean() if weight is None else (losses * weight).mean()
    torch.testing.assert_close(Objective().loss(model, x, weight), expected)
    torch.testing.assert_close(Objective().row_losses(model, x), losses)


# With a corruption

CORRUPTIONS = {kind.__name__: kind(0.4) for kind in (GaussianNoise, Masking, SaltAndPepper, SwapNoise)}
each_corruption = pytest.mark.parametrize("corruption", CORRUPTIONS.values(), ids=CORRUPTIONS)


def bound(corruption, x):
    return partial(corruption, columns=Columns(x.mean(0), x.min(0).values, x.max(0).values))


def test_the_target_is_the_clean_row(autoencoder):
    """By hand: the code is the sum of the cells, half of which is expected in each, and all that is seen is 3 and 5."""
    model = autoencoder(2, 1, hidden=(), linear_path=False, dtype=torch.float64, likelihood=lambda d: UnitGaussian(d, 1.0))
    model.encoder.start_linear_(torch.ones(1, 2), torch.zeros(1))
    model.decoder.start_linear_(torch.full((2, 1), 0.5), torch.zeros(2))
    x = torch.tensor([[1.0, 2.0], [0.0, -4.0]], dtype=torch.float64)
    columns = Columns(*[torch.tensor([3.0, 5.0], dtype=torch.float64)] * 3)
    objective = Objective(partial(Masking(1.0), columns=columns))
    squares = torch.tensor([(4 - 1) ** 2 + (4 - 2) ** 2, (4 - 0) ** 2 + (4 + 4) ** 2], dtype=torch.float64)
    expected = 0.5 * squares + math.log(2 * math.pi)
    weight = torch.tensor([0.5, 1.5], dtype=torch.float64)
    torch.testing.assert_close(objective.row_losses(model, x, generator=seeded()), expected)
    torch.testing.assert_close(objective.loss(model, x, None, generator=seeded()), expected.mean())
    torch.testing.assert_close(objective.loss(model, x, weight, generator=seeded()), (weight * expected).mean())


@each_corruption
@each_likelihood
@pytest.mark.parametrize("weighted", [False, True])
def test_the_encoder_sees_the_damaged_row(weighted, likelihood, corruption, autoencoder, x, generator):
    model = autoencoder(likelihood=likelihood, dtype=torch.float64)
    weight = torch.rand(len(x), generator=generator, dtype=torch.float64) if weighted else None
    corrupt = bound(corruption, x)
    seen = corrupt(x, seeded())
    losses = -model.likelihood.log_prob(model.decoder(model.encoder(seen)), x).sum(1)
    torch.testing.assert_close(Objective(corrupt).row_losses(model, x, generator=seeded()), losses)
    expected = losses.mean() if weight is None else (losses * weight).mean()
    torch.testing.assert_close(Objective(corrupt).loss(model, x, weight, generator=seeded()), expected)
    assert (losses - Objective().row_losses(model, x)).abs().max() > 0.01


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_a_posterior_is_that_of_the_damaged_row(beta, variational, x):
    corrupt = bound(Masking(0.4), x)
    model, generator = variational(), seeded()
    seen = corrupt(x, generator)
    code = model.bottleneck(model.encoder(seen), generator)
    expected = beta * model.divergence(seen).sum(1) - model.likelihood.log_prob(model.decoder(code), x).sum(1)
    torch.testing.assert_close(Objective(corrupt).loss(model, x, None, beta, seeded()), expected.mean())


@each_corruption
def test_every_call_damages_anew(corruption, autoencoder, x, generator):
    objective, model = Objective(bound(corruption, x)), autoencoder(dtype=torch.float64)
    first, second = (objective.loss(model, x, None, generator=generator) for _ in range(2))
    assert first != second


# With missing cells


@pytest.fixture
def cells(mixed_rows):
    return mixed_rows.double()


def score_by_hand(model, code, cells):
    """Negative log-likelihood of each row's cells that are there, column by column by torch.distributions."""
    params, variance = model.decoder(code), model.likelihood.variance
    columns = [
        Normal(params[:, 0], variance[0].sqrt()),
        Categorical(logits=params[:, 1:4]),
        BernoulliCells(logits=params[:, 4]),
        Normal(params[:, 5], variance[3].sqrt()),
    ]
    scores = [column.log_prob(target.nan_to_num()) for column, target in zip(columns, cells.T, strict=True)]
    return -torch.where(cells.isnan(), 0.0, torch.stack(scores, 1)).sum(1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bottleneck", [Dense(), GaussianPosterior()], ids=["dense", "posterior"])
def test_missing_cells_cost_nothing(bottleneck, weighted, mixed_autoencoder, cells, generator):
    model = mixed_autoencoder(torch.float64, bottleneck=bottleneck)
    weight = torch.rand(len(cells), generator=generator, dtype=torch.float64) if weighted else None
    losses = score_by_hand(model, model.bottleneck(model.encoder(model.inputs(cells)), seeded()), cells)
    if bottleneck.has_posterior:
        losses = losses + 0.7 * model.divergence(cells).sum(1)
    expected = losses.mean() if weight is None else (losses * weight).mean()
    torch.testing.assert_close(Objective().loss(model, cells, weight, 0.7, seeded()), expected, rtol=1e-9, atol=0)
    if not bottleneck.has_posterior:
        torch.testing.assert_close(Objective().row_losses(model, cells), losses, rtol=1e-9, atol=0)


def test_what_is_missing_has_no_gradient(mixed_autoencoder, cells):
    model = mixed_autoencoder(torch.float64, learned=True, linear_path=False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    empty = torch.full_like(cells, torch.nan)
    gradients = torch.autograd.grad(Objective().loss(model, empty, None), parameters, materialize_grads=True)
    assert Objective().loss(model, empty, None) == 0
    assert all((g == 0).all() for g in gradients)
    assert all(g.isfinite().all() for g in torch.autograd.grad(Objective().loss(model, cells, None), parameters))


def of_unknown(corruption, cells):
    """Bound to columns whose cells are missing where they are not known, and of which two hold levels."""
    extremes = cells.nan_to_num(torch.inf).min(0).values, cells.nan_to_num(-torch.inf).max(0).values
    numbers = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=cells.dtype)
    return partial(corruption, columns=Columns(torch.full((4,), torch.nan, dtype=cells.dtype), *extremes, numbers))


@pytest.mark.parametrize("level", [0.5, (0.1, 0.9)])
@pytest.mark.parametrize("weighted", [False, True])
def test_only_hidden_cells_are_scored_where_that_is_asked_for(weighted, level, mixed_autoencoder, cells, generator):
    model, corrupt = mixed_autoencoder(torch.float64), of_unknown(Masking(level), cells)
    weight = torch.rand(len(cells), generator=generator, dtype=torch.float64) if weighted else None
    seen = corrupt(cells, seeded())
    hidden = seen.isnan() & ~cells.isnan()
    assert 0 < hidden.sum() < (~cells.isnan()).sum()
    for hidden_only, target in ((True, torch.where(hidden, cells, torch.nan)), (False, cells)):
        losses = score_by_hand(model, model.encoder(model.inputs(seen)), target)
        objective = Objective(corrupt, hidden_only=hidden_only)
        expected = losses.mean() if weight is None else (losses * weight).mean()
        torch.testing.assert_close(objective.loss(model, cells, weight, generator=seeded()), expected, rtol=1e-9, atol=0)
        torch.testing.assert_close(objective.row_losses(model, cells, generator=seeded()), losses, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", [GaussianNoise, Masking, SaltAndPepper, SwapNoise])
@pytest.mark.parametrize("level", [0.5, 1.0, (0.2, 0.9)])
def test_no_corruption_tells_what_is_missing(kind, level, mixed_autoencoder, cells):
    model, fed = mixed_autoencoder(torch.float64), []
    model.inputs.register_forward_hook(lambda inputs, args, out: fed.append((args[0], out[:, -4:])))
    objective = Objective(of_unknown(kind(level), cells))
    for loss in (partial(objective.loss, model, cells, None), partial(objective.row_losses, model, cells)):
        assert loss(generator=seeded()).isfinite().all()
    for seen, mask in fed:
        assert seen[cells.isnan()].isnan().all()
        assert torch.equal(mask, (~seen.isnan()).double())
        if kind in (GaussianNoise, SaltAndPepper):
            assert torch.equal(seen.isnan(), cells.isnan())


def test_a_model_that_is_not_told_what_is_missing_scores_all(autoencoder, x):
    model, corrupt = autoencoder(dtype=torch.float64), bound(Masking(0.4), x)
    hidden, all_cells = (Objective(corrupt, hidden_only=h).loss(model, x, None, generator=seeded()) for h in (True, False))
    assert torch.equal(hidden, all_cells)


def test_penalties_of_a_row_with_missing_cells_are_of_what_the_encoder_sees(mixed_autoencoder, cells):
    model = mixed_autoencoder(torch.float64, activation="logistic", out_activation="logistic")
    seen = model.inputs(cells)
    for penalty in PENALTIES.values():
        *hidden, h = model.encoder.layers(seen)
        charges = penalty(Pass(seen, hidden, h, None, model.encode_inputs, model.decoder, seeded()))
        expected = Objective().row_losses(model, cells) + 0.3 * charges
        losses = Objective(penalties=(penalty,)).row_losses(model, cells, generator=seeded())
        torch.testing.assert_close(losses, expected, rtol=1e-9, atol=0)


# With penalties

PENALTIES = {
    "l1": L1(0.3),
    "l2": L2(0.3),
    "contractive": Contractive(0.3, n_probes="exact"),
    "kl_sparsity": KLSparsity(0.3, target=0.2).bound(2, 1),
}


def bounded(autoencoder, **options):
    return autoencoder(dtype=torch.float64, activation="logistic", out_activation="logistic", **options)


def charges_of(penalty, model, x, weight=None):
    *hidden, h = model.encoder.layers(x)
    return penalty(Pass(x, hidden, model.bottleneck(h, None), weight, model.encode, model.decoder, seeded()))


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_penalty_is_added_times_its_weight(weighted, penalty, autoencoder, x, generator):
    model = bounded(autoencoder)
    weight = torch.rand(len(x), generator=generator, dtype=torch.float64) if weighted else None
    objective = Objective(penalties=(penalty,))
    charges = charges_of(penalty, model, x, weight)
    added = charges.mean() if weight is None else (charges * weight).mean()
    expected = Objective().loss(model, x, weight) + 0.3 * added
    torch.testing.assert_close(objective.loss(model, x, weight, generator=seeded()), expected, rtol=1e-9, atol=0)
    if weight is None:
        expected = Objective().row_losses(model, x) + 0.3 * charges
        torch.testing.assert_close(objective.row_losses(model, x, generator=seeded()), expected, rtol=1e-9, atol=0)


def test_several_penalties_are_added_up(autoencoder, x):
    model = bounded(autoencoder)
    several = (PENALTIES["contractive"], KLSparsity(2.0, target=0.1, decay=0.0).bound(2, 1))
    plain = Objective().loss(model, x, None)
    apart = sum(Objective(penalties=(penalty,)).loss(model, x, None, generator=seeded()) - plain for penalty in several)
    torch.testing.assert_close(Objective(penalties=several).loss(model, x, None, generator=seeded()), plain + apart)


VARIANTS = {
    "plain": (Dense(), None, ()),
    "denoising": (Dense(), SwapNoise(0.3), ()),
    "top-k": (TopK(1), None, ()),
    **{name: (Dense(), None, (penalty,)) for name, penalty in PENALTIES.items()},
    "all at once": (TopK(1), Masking(0.3), (PENALTIES["l1"], PENALTIES["contractive"])),
}


@each_likelihood
@pytest.mark.parametrize(("bottleneck", "corruption", "penalties"), VARIANTS.values(), ids=VARIANTS)
def test_the_loss_is_the_mean_of_the_rows(bottleneck, corruption, penalties, likelihood, autoencoder, x):
    model = bounded(autoencoder, bottleneck=bottleneck, likelihood=likelihood)
    objective = Objective(corruption and bound(corruption, x), penalties)
    losses = objective.row_losses(model, x, generator=seeded())
    assert losses.shape == (len(x),)
    torch.testing.assert_close(losses.mean(), objective.loss(model, x, None, generator=seeded()), rtol=1e-9, atol=0)


def test_without_any_of_it_nothing_is_drawn(autoencoder, x, generator):
    state = generator.get_state()
    Objective().loss(autoencoder(dtype=torch.float64), x, None, generator=generator)
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("in_units", [False, True])
def test_a_model_with_a_posterior_is_charged_at_its_mean(in_units, variational, x):
    model = variational(in_units=in_units)
    objective = Objective(penalties=(Contractive(0.3, n_probes="exact"),))
    charges = charges_of(Contractive(n_probes="exact"), model, x)
    expected = Objective().loss(model, x, None, 0.7, seeded()) + 0.3 * charges.mean()
    torch.testing.assert_close(objective.loss(model, x, None, 0.7, seeded()), expected, rtol=1e-9, atol=0)
