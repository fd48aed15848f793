"""The objective against torch.distributions, closed forms and finite differences."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli as BernoulliCells
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence
from torch.func import functional_call

from skvae.core.bottlenecks import Dense, GaussianPosterior, TopK
from skvae.core.corruptions import Columns, DiffusionNoise, GaussianNoise, Masking, SaltAndPepper, SwapNoise
from skvae.core.graphs import Recording
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
@pytest.mark.parametrize(("beta", "weighted", "hidden"), [(0.0, True, (8,)), (1.0, False, ()), (100.0, True, (8,))])
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
@pytest.mark.parametrize("beta", [0.0, 100.0])
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

UNTOLD = (GaussianNoise, Masking, SaltAndPepper, SwapNoise)
CORRUPTIONS = {**{kind.__name__: kind(0.4) for kind in UNTOLD}, "DiffusionNoise": DiffusionNoise((0.2, 2.0))}
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
@pytest.mark.parametrize(
    ("likelihood", "weighted"), [(NORMAL_CELLS["gaussian_diag"], True), (Bernoulli, False)], ids=["normal", "bernoulli"]
)
def test_the_encoder_sees_the_damaged_row(weighted, likelihood, corruption, autoencoder, x, generator):
    told_level = 0.5 if isinstance(corruption, DiffusionNoise) else None
    model = autoencoder(likelihood=likelihood, dtype=torch.float64, told_level=told_level)
    weight = torch.rand(len(x), generator=generator, dtype=torch.float64) if weighted else None
    corrupt = bound(corruption, x)
    seen, level = corrupt(x, seeded())
    seen = seen if level is None else torch.cat([seen, level.log()], 1)
    losses = -model.likelihood.log_prob(model.decoder(model.encoder(seen)), x).sum(1)
    torch.testing.assert_close(Objective(corrupt).row_losses(model, x, generator=seeded()), losses)
    expected = losses.mean() if weight is None else (losses * weight).mean()
    torch.testing.assert_close(Objective(corrupt).loss(model, x, weight, generator=seeded()), expected)
    assert (losses - Objective().row_losses(model, x)).abs().max() > 0.01


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_a_posterior_is_that_of_the_damaged_row(beta, variational, x):
    corrupt = bound(Masking(0.4), x)
    model, generator = variational(), seeded()
    seen, _ = corrupt(x, generator)
    code = model.bottleneck(model.encoder(seen), generator)
    expected = beta * model.divergence(seen).sum(1) - model.likelihood.log_prob(model.decoder(code), x).sum(1)
    torch.testing.assert_close(Objective(corrupt).loss(model, x, None, beta, seeded()), expected.mean())


def test_rows_without_damage_are_told_what_the_model_takes_them_for(autoencoder, x):
    model = autoencoder(dtype=torch.float64, told_level=0.3)
    seen = torch.cat([x, torch.full((len(x), 1), math.log(0.3), dtype=torch.float64)], 1)
    losses = -model.likelihood.log_prob(model.decoder(model.encoder(seen)), x).sum(1)
    torch.testing.assert_close(Objective().row_losses(model, x), losses)
    torch.testing.assert_close(Objective().loss(model, x, None), losses.mean())


def test_a_model_that_is_told_no_level_learns_from_the_noisy_row_alone(autoencoder, x):
    model, corrupt = autoencoder(dtype=torch.float64), bound(DiffusionNoise((0.2, 2.0)), x)
    losses = -model.likelihood.log_prob(model.decoder(model.encoder(corrupt(x, seeded())[0])), x).sum(1)
    torch.testing.assert_close(Objective(corrupt).row_losses(model, x, generator=seeded()), losses)


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
    seen, _ = corrupt(cells, seeded())
    hidden = seen.isnan() & ~cells.isnan()
    assert 0 < hidden.sum() < (~cells.isnan()).sum()
    for hidden_only, target in ((True, torch.where(hidden, cells, torch.nan)), (False, cells)):
        losses = score_by_hand(model, model.encoder(model.inputs(seen)), target)
        objective = Objective(corrupt, hidden_only=hidden_only)
        expected = losses.mean() if weight is None else (losses * weight).mean()
        torch.testing.assert_close(objective.loss(model, cells, weight, generator=seeded()), expected, rtol=1e-9, atol=0)
        torch.testing.assert_close(objective.row_losses(model, cells, generator=seeded()), losses, rtol=1e-9, atol=0)


EACH_OF_A_LEVEL = {f"{kind.__name__}-{level}": kind(level) for level in (1.0, (0.2, 0.9)) for kind in UNTOLD}
DIFFUSIONS = {f"DiffusionNoise-{level}": DiffusionNoise(level) for level in ((30.0, 30.0), (0.2, 0.9))}


@pytest.mark.parametrize("corruption", (EACH_OF_A_LEVEL | DIFFUSIONS).values(), ids=EACH_OF_A_LEVEL | DIFFUSIONS)
def test_no_corruption_tells_what_is_missing(corruption, mixed_autoencoder, cells):
    told_level = 0.4 if isinstance(corruption, DiffusionNoise) else None
    model, fed = mixed_autoencoder(torch.float64, told_level=told_level), []
    model.inputs.register_forward_hook(lambda inputs, args, out: fed.append((args[0], out[:, 6:10])))
    objective = Objective(of_unknown(corruption, cells))
    for loss in (partial(objective.loss, model, cells, None), partial(objective.row_losses, model, cells)):
        assert loss(generator=seeded()).isfinite().all()
    for seen, mask in fed:
        assert seen[cells.isnan()].isnan().all()
        assert torch.equal(mask, (~seen.isnan()).double())
        if isinstance(corruption, GaussianNoise | SaltAndPepper):
            assert torch.equal(seen.isnan(), cells.isnan())
        if isinstance(corruption, DiffusionNoise):
            assert torch.equal(seen[:, [0, 3]].isnan(), cells[:, [0, 3]].isnan())
            donors = cells[:, [1, 2]].nan_to_num(-1)  # a level that is not known may be swapped in
            assert all(
                set(a) <= set(b) for a, b in zip(seen[:, [1, 2]].nan_to_num(-1).T.tolist(), donors.T.tolist(), strict=True)
            )


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


@pytest.mark.parametrize(("bottleneck", "corruption", "penalties"), VARIANTS.values(), ids=VARIANTS)
def test_the_loss_is_the_mean_of_the_rows(bottleneck, corruption, penalties, autoencoder, x):
    model = bounded(autoencoder, bottleneck=bottleneck, likelihood=NORMAL_CELLS["gaussian_diag"])
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


# Of the rows that are reconstructed best


def support_by_hand(log_prob, weight, fraction):
    """Weights by a walk through the rows, the best first, until those so far are as much as is to be kept."""
    kept, so_far = np.zeros(len(weight)), 0.0
    for row in np.argsort(-log_prob):
        if so_far >= fraction * weight.sum():
            break
        kept[row] = min(weight[row], fraction * weight.sum() - so_far)
        so_far += weight[row]
    return kept * weight.sum() / kept.sum()


SUPPORT_VARIANTS = {
    **VARIANTS,
    "posterior": (GaussianPosterior(), None, ()),
    "diffusion": (Dense(), DiffusionNoise((0.1, 1.0)), ()),
}
SUPPORT_VARIANTS = {
    name: (bottleneck, corruption, tuple(p for p in penalties if not isinstance(p, KLSparsity)))  # which is of all rows at once
    for name, (bottleneck, corruption, penalties) in SUPPORT_VARIANTS.items()
}
each_support_variant = pytest.mark.parametrize(
    ("bottleneck", "corruption", "penalties"), SUPPORT_VARIANTS.values(), ids=SUPPORT_VARIANTS
)
each_fraction = pytest.mark.parametrize("fraction", [0.01, 0.5, 0.77, 0.999])


def support_model(autoencoder, x, bottleneck=None, corruption=None, penalties=(), likelihood=NORMAL_CELLS["gaussian"]):
    """A model, its log-probability of each clean row, and its objective of a fraction."""
    told_level = 0.3 if isinstance(corruption, DiffusionNoise) else None
    options = {"bottleneck": bottleneck or Dense(), "likelihood": likelihood, "told_level": told_level, "dtype": torch.float64}
    model = autoencoder(**options)
    log_prob = model.likelihood.log_prob(model.decoder(model.encode(x)), x).sum(1).detach().numpy()
    return model, log_prob, partial(Objective, corruption and bound(corruption, x), penalties)


@pytest.mark.parametrize(
    ("variant", "fraction", "weighted"),
    [
        *(("plain", fraction, weighted) for fraction in (0.01, 0.25, 0.5, 0.77, 0.999) for weighted in (False, True)),
        *((variant, 0.5, variant != "diffusion") for variant in SUPPORT_VARIANTS if variant != "plain"),
    ],
)
def test_the_rows_that_are_reconstructed_worst_are_left_out(variant, fraction, weighted, autoencoder, x, generator):
    bottleneck, corruption, penalties = SUPPORT_VARIANTS[variant]
    weight = 0.1 + torch.rand(len(x), generator=generator, dtype=torch.float64)
    weight = weight / weight.mean() if weighted else torch.ones_like(weight)
    model, log_prob, objective = support_model(autoencoder, x, bottleneck, corruption, penalties)
    kept = torch.from_numpy(support_by_hand(log_prob, weight.numpy(), fraction))
    n_kept = (kept > 0).sum()
    assert weighted or n_kept == math.ceil(fraction * len(x))
    assert kept.sum().item() == pytest.approx(weight.sum().item())
    loss = objective(support_fraction=fraction).loss(model, x, weight if weighted else None, 0.7, seeded())
    expected = objective().loss(model, x, kept, 0.7, seeded())
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    if n_kept < len(x):
        plain = objective().loss(model, x, weight, 0.7, seeded())
        assert abs(loss.item() - plain.item()) > 1e-3 * abs(plain.item())


@each_likelihood
def test_what_is_best_is_said_by_the_likelihood_of_the_clean_row(likelihood, autoencoder, x):
    model, log_prob, objective = support_model(autoencoder, x, corruption=GaussianNoise(5.0), likelihood=likelihood)
    kept = torch.from_numpy(support_by_hand(log_prob, np.ones(len(x)), 0.5))
    loss = objective(support_fraction=0.5).loss(model, x, None, generator=seeded())
    torch.testing.assert_close(loss, objective().loss(model, x, kept, generator=seeded()), rtol=1e-9, atol=0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bottleneck", [Dense(), GaussianPosterior()], ids=["dense", "posterior"])
def test_of_rows_with_missing_cells_those_that_are_there_say_what_is_best(
    bottleneck, weighted, mixed_autoencoder, cells, generator
):
    model = mixed_autoencoder(torch.float64, bottleneck=bottleneck)
    weight = torch.rand(len(cells), generator=generator, dtype=torch.float64) if weighted else None
    log_prob = -score_by_hand(model, model.encode(cells), cells).detach().numpy()
    ones = torch.ones(len(cells), dtype=torch.float64)
    kept = torch.from_numpy(support_by_hand(log_prob, (ones if weight is None else weight).numpy(), 0.6))
    loss = Objective(support_fraction=0.6).loss(model, cells, weight, 1.0, seeded())
    torch.testing.assert_close(loss, Objective().loss(model, cells, kept, 1.0, seeded()), rtol=1e-9, atol=0)


@pytest.mark.parametrize(("n_kept", "n_copies"), [(1, 2), (7, 3), (20, 1), (33, 2), (40, 3)])
def test_of_support_too_weights_are_repetitions(n_copies, n_kept, autoencoder, x):
    """The last copy of a row is the last that is to be kept."""
    model, log_prob, _ = support_model(autoencoder, x)
    counts = n_copies * (1 + torch.arange(len(x)) % 3)
    n_copies_kept = counts[np.argsort(-log_prob)[:n_kept].copy()].sum()
    objective = Objective(support_fraction=((n_copies_kept - 0.5) / counts.sum()).item())
    weighted = objective.loss(model, x, counts / counts.double().mean())
    repeated = objective.loss(model, x.repeat_interleave(counts, 0), None)
    torch.testing.assert_close(weighted, repeated, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("fraction", "n_copies"), [(0.25, 3), (0.5, 1), (0.7, 2), (0.95, 3)])
def test_so_they_are_where_a_row_is_only_partly_needed(n_copies, fraction, autoencoder, x):
    model, *_ = support_model(autoencoder, x)
    counts = n_copies * (1 + torch.arange(len(x)) % 3)
    objective = Objective(support_fraction=fraction)
    weighted = objective.loss(model, x, counts / counts.double().mean())
    repeated = objective.loss(model, x.repeat_interleave(counts, 0), None)
    torch.testing.assert_close(weighted, repeated, rtol=1e-9, atol=0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalties", [(), tuple(PENALTIES.values())], ids=["plain", "penalties"])
@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_rows_that_are_left_out_have_no_gradient(fraction, penalties, weighted, autoencoder, x, generator):
    weight = 0.1 + torch.rand(len(x), generator=generator, dtype=torch.float64) if weighted else None
    model = bounded(autoencoder)
    log_prob = model.log_prob(x).sum(1).detach().numpy()
    kept = support_by_hand(log_prob, (torch.ones(len(x)) if weight is None else weight).double().numpy(), fraction) > 0
    rows = x.clone().requires_grad_()
    loss = Objective(penalties=penalties, support_fraction=fraction).loss(model, rows, weight, generator=seeded())
    (gradient,) = torch.autograd.grad(loss, rows)
    np.testing.assert_array_equal((gradient != 0).all(1).numpy(), kept)
    np.testing.assert_array_equal((gradient != 0).any(1).numpy(), kept)


@each_support_variant
def test_a_support_of_all_rows_is_the_plain_loss(bottleneck, corruption, penalties, autoencoder, x, generator):
    weight = torch.rand(len(x), generator=generator, dtype=torch.float64)
    model, _, objective = support_model(autoencoder, x, bottleneck, corruption, penalties)
    parameters = [p for p in model.parameters() if p.requires_grad]
    plain, full = (o.loss(model, x, weight, 0.7, seeded()) for o in (objective(), objective(support_fraction=1.0)))
    assert torch.equal(full, plain)
    gradients = (torch.autograd.grad(loss, parameters, materialize_grads=True) for loss in (plain, full))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("fraction", [0.01, 0.5, 1.0])
def test_rows_are_judged_alike_whatever_the_support(fraction, autoencoder, x):
    model, _, objective = support_model(autoencoder, x, corruption=GaussianNoise(0.3))
    losses, expected = (o.row_losses(model, x, 1.0, seeded()) for o in (objective(support_fraction=fraction), objective()))
    assert torch.equal(losses, expected)


@pytest.mark.parametrize(("n_rows", "weighted"), [(1, False), (2, True), (7, False), (40, True)])
@each_fraction
def test_of_equal_rows_any_may_stay(fraction, n_rows, weighted, autoencoder, x, generator):
    weight = 0.1 + torch.rand(n_rows, generator=generator, dtype=torch.float64) if weighted else None
    model, *_ = support_model(autoencoder, x)
    rows = x[:1].repeat(n_rows, 1)
    loss, expected = (o.loss(model, rows, weight) for o in (Objective(support_fraction=fraction), Objective()))
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    gradients = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], materialize_grads=True)
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("fraction", [0.01, 0.5])
def test_rows_without_any_cell_end_in_finite_numbers(fraction, mixed_autoencoder, cells):
    model = mixed_autoencoder(torch.float64, learned=True)
    some = torch.where(torch.arange(len(cells))[:, None] % 2 == 0, torch.nan, cells)
    for rows in (some, torch.full_like(cells, torch.nan)):
        loss = Objective(support_fraction=fraction).loss(model, rows, None)
        gradients = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], materialize_grads=True)
        assert all(values.isfinite().all() for values in (loss, *gradients))


@each_support_variant
@pytest.mark.parametrize(("dtype", "weighted"), [(torch.float32, True), (torch.float64, False)], ids=["float32", "float64"])
def test_a_replay_chooses_anew(dtype, weighted, bottleneck, corruption, penalties, autoencoder, x, generator):
    """In another batch other places hold the rows that are left out."""
    told_level = 0.3 if isinstance(corruption, DiffusionNoise) else None
    model = autoencoder(bottleneck=bottleneck, dtype=dtype, told_level=told_level)
    parameters = [p for p in model.parameters() if p.requires_grad]
    objective = Objective(corruption and bound(corruption, x.to(dtype)), penalties, support_fraction=0.6)
    batch, weight = x[:10].to(dtype), torch.ones(10, dtype=dtype) if weighted else None

    def step(noise):
        loss = objective.loss(model, batch, weight, 1.0, noise)
        return [loss.detach(), *torch.autograd.grad(loss, parameters, materialize_grads=True)]

    recorded, eager = seeded(), seeded()
    outputs = [torch.zeros_like(result) for result in step(eager)]
    recording, chosen = Recording(lambda: step(recorded), outputs), []
    for _ in range(5):
        batch.copy_(x[torch.randperm(len(x), generator=generator)[:10]])
        if weighted:
            weight.uniform_(0.5, 1.5, generator=generator)
        recording.replay()
        for output, expected in zip(outputs, step(eager), strict=True):
            assert torch.equal(output, expected)
        chosen.append(frozenset(model.log_prob(batch).sum(1).topk(6).indices.tolist()))
    assert len(set(chosen)) > 1
