import math
from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from skvae.core import training
from skvae.core.batches import StreamedBatches
from skvae.core.bottlenecks import Dense, GaussianPosterior, TopK
from skvae.core.corruptions import Columns, DiffusionNoise, GaussianNoise, Masking, SaltAndPepper, SwapNoise
from skvae.core.likelihoods import Bernoulli, Gaussian, UnitGaussian
from skvae.core.objective import Objective
from skvae.core.penalties import L1, L2, Contractive, KLSparsity
from skvae.core.stopping import NoImprovement
from skvae.core.training import Run, TrainingResult, train
from tests.core.runs import PLAN, assert_equal, batches_of, members_of, values

HARMFUL = replace(PLAN, learning_rate_init=3.0)


def run_of(model, rows, weights=None, validation=None, plan=PLAN, objective=training.PLAIN):
    held_out = [] if validation is None else [validation]
    weights = None if weights is None else weights[None]
    return Run([model], batches_of(rows, weights, plan), plan, held_out, objective)


def trained(run, **options):
    plan = run.plan
    return train(run, NoImprovement(plan.tol, plan.n_iter_no_change), plan.max_iter, **options)


# The learning rate


def test_constant_rate_is_constant_after_the_warm_up():
    plan = replace(PLAN, learning_rate="constant", warmup=0.1)
    assert [plan.rate(p) for p in (0.1, 0.5, 1.0)] == [0.01] * 3


@pytest.mark.parametrize("learning_rate", ["constant", "cosine"])
def test_rate_rises_linearly_in_the_warm_up(learning_rate):
    plan, full = (replace(PLAN, learning_rate=learning_rate, warmup=warmup) for warmup in (0.2, 1e-9))
    for progress in (0.01, 0.05, 0.1, 0.2):
        assert plan.rate(progress) == pytest.approx(full.rate(progress) * progress / 0.2)


def test_cosine_rate_is_that_of_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=PLAN.learning_rate_init)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for step in range(100):
        if step / 100 >= PLAN.warmup:
            assert PLAN.rate(step / 100) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("learning_rate", ["constant", "cosine"])
def test_no_step_is_without_a_rate(learning_rate, autoencoder, rows):
    run = run_of(autoencoder(), rows, plan=replace(PLAN, learning_rate=learning_rate, max_iter=3))
    rates, step = [], run.optimizer.step
    run.optimizer.step = lambda rate: (rates.append(rate), step(rate))
    trained(run)
    assert len(rates) == 3 * run.batches.n_batches
    assert all(0 < rate <= PLAN.learning_rate_init for rate in rates)


def test_no_warm_up_is_possible():
    assert replace(PLAN, learning_rate="constant", warmup=0.0).rate(0.01) == PLAN.learning_rate_init


# Steps


@pytest.mark.parametrize(
    ("hidden", "weight_decay", "likelihood"),
    [((), 0.0, Gaussian), ((8,), 0.1, Gaussian), ((8, 3), 0.1, UnitGaussian), ((8, 3), 0.0, Bernoulli)],
)
def test_steps_are_those_of_adamw_on_separate_parameters(hidden, weight_decay, likelihood, autoencoder, rows):
    plan = replace(PLAN, batch_size=len(rows), weight_decay=weight_decay)
    ours, usual = (autoencoder(hidden=hidden, likelihood=likelihood) for _ in range(2))
    parameters = [p for p in usual.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, betas=plan.betas, eps=plan.eps, weight_decay=weight_decay)
    run = run_of(ours, rows, plan=plan)
    for step in range(1, 6):
        optimizer.param_groups[0]["lr"] = plan.rate(step / (plan.max_iter + 1))
        optimizer.zero_grad()
        loss = Objective().loss(usual, rows, None)
        loss.backward()
        optimizer.step()
        assert run.epoch() == pytest.approx(loss.item(), rel=1e-6)
        torch.testing.assert_close(values(ours), values(usual), rtol=1e-6, atol=1e-7)


def test_an_epoch_returns_the_mean_of_its_steps(autoencoder, rows):
    model = autoencoder()
    run = run_of(model, rows, plan=replace(PLAN, learning_rate_init=1e-12, shuffle=False))
    with torch.no_grad():
        expected = [
            Objective().loss(model, batch, None) for batch in (rows[:14], rows[14:28], torch.cat([rows[28:], rows[:2]]))
        ]
    assert run.epoch() == pytest.approx(sum(expected).item() / 3, rel=1e-6)


def test_weights_are_repetitions(autoencoder, rows):
    counts = torch.arange(len(rows)) % 3 + 1
    repeated, weighted = autoencoder(dtype=torch.float64), autoencoder(dtype=torch.float64)
    rows, plan = rows.double(), replace(PLAN, batch_size=1000)
    result = trained(run_of(repeated, rows.repeat_interleave(counts, 0), plan=plan))
    same = trained(run_of(weighted, rows, counts / counts.double().mean(), plan=plan))
    assert same.losses == pytest.approx(result.losses, rel=1e-9)
    torch.testing.assert_close(values(weighted), values(repeated), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("likelihood", [Gaussian, UnitGaussian, Bernoulli])
def test_objective_is_the_mean_of_row_losses_summed_over_cells(likelihood, autoencoder, rows, generator):
    model, weights = autoencoder(likelihood=likelihood), torch.rand(len(rows), generator=generator)
    cells = torch.stack([model.likelihood.log_prob(model.decoder(model.encoder(x)), x) for x in rows[:, None]])[:, 0]
    torch.testing.assert_close(Objective().row_losses(model, rows), -cells.sum(1))
    torch.testing.assert_close(Objective().loss(model, rows, None), -cells.sum(1).mean())
    torch.testing.assert_close(Objective().loss(model, rows, weights), -(cells.sum(1) * weights).mean())


# The best epoch


def split(rows):
    return rows[:30], (rows[30:], None)


def history(run, **options):
    """The result of training, and the parameters before it and after every epoch."""
    seen = []
    return trained(run, report=lambda *_: seen.append(values(run.members.models[0])), **options), seen


@pytest.mark.parametrize("rate", [0.003, 0.3])
def test_the_best_epoch_is_restored(rate, autoencoder, rows):
    training, validation = split(rows)
    model = autoencoder()
    plan = replace(PLAN, learning_rate_init=rate, learning_rate="constant", batch_size=3)
    result, seen = history(run_of(model, training, validation=validation, plan=plan))
    expected = [Objective().loss(with_parameters(model, parameters), validation[0], None).item() for parameters in seen]
    assert result.validation_losses == pytest.approx(expected, rel=1e-5)
    assert result.best_iter == expected.index(min(expected)) > 0
    assert_equal(values(model), seen[result.best_iter])


def with_parameters(model, parameters):
    copy = deepcopy(model)
    with torch.no_grad():
        for p, value in zip(copy.parameters(), parameters, strict=True):
            p.copy_(value)
    return copy


def test_the_start_is_restored_where_training_makes_things_worse(autoencoder, rows):
    training, validation = split(rows)
    model = autoencoder()
    result, seen = history(run_of(model, training, validation=validation, plan=HARMFUL))
    assert min(result.validation_losses[1:]) > result.validation_losses[0]
    assert result.best_iter == 0
    assert_equal(values(model), seen[0])


def test_without_validation_the_last_epoch_stays(autoencoder, rows):
    model = autoencoder()
    result, seen = history(run_of(model, rows, plan=HARMFUL))
    assert (result.best_iter, result.validation_losses) == (20, [])
    assert_equal(values(model), seen[-1])


@pytest.mark.parametrize("weights", [None, 2.5], ids=["plain", "weighted"])
def test_losses_of_the_rows_are_those_of_the_start_and_of_the_best_epoch(weights, autoencoder, rows):
    training, held = split(rows)
    validation = held[0], None if weights is None else torch.full((len(held[0]),), weights)
    start, model = autoencoder(), autoencoder()
    judged = trained(run_of(model, training, validation=validation)).judged
    for losses, expected in ((judged.start, start), (judged.best, model)):
        torch.testing.assert_close(losses, Objective().row_losses(expected, held[0]).detach().double())
    assert torch.equal(judged.weights, torch.full((len(held[0]),), weights or 1.0, dtype=torch.float64))


def test_one_validation_row_is_enough(autoencoder, rows):
    result = trained(run_of(autoencoder(), rows[1:], validation=(rows[:1], None)))
    assert min(result.validation_losses) < result.validation_losses[0]
    assert result.best_iter > 0


def test_validation_rows_are_weighted(autoencoder, rows):
    training, (held, _) = split(rows)
    weights = torch.arange(1.0, len(held) + 1)
    model = autoencoder()
    losses = Objective().row_losses(model, held).detach()
    result = trained(run_of(model, training, validation=(held, weights)))
    assert result.validation_losses[0] == pytest.approx(((losses * weights).sum() / weights.sum()).item(), rel=1e-5)


def test_members_share_the_epoch_that_is_best_for_all_rows_held_out(autoencoder, rows):
    plan = replace(PLAN, learning_rate_init=0.1, batch_size=4)
    parts = [torch.arange(len(rows)) % 3 == k for k in range(3)]
    models = [autoencoder() for _ in parts]
    run = members_of(models, rows, parts, plan)
    seen = []
    result = trained(run, report=lambda *_: seen.append([values(m) for m in models]))
    pooled = [
        torch.cat(
            [
                Objective().row_losses(with_parameters(*pair), rows[part])
                for *pair, part in zip(models, state, parts, strict=True)
            ]
        )
        for state in seen
    ]
    expected = [losses.mean().item() for losses in pooled]
    assert result.validation_losses == pytest.approx(expected, rel=1e-5)
    assert result.best_iter == expected.index(min(expected))
    assert_equal([values(m) for m in models], seen[result.best_iter])


# Many rows held out


@pytest.fixture
def small_chunks(monkeypatch):
    """Seven rows are judged at once."""
    monkeypatch.setattr(training, "JUDGED_ROWS", 7)


@pytest.mark.parametrize("n_held_out", [1, 6, 7, 8, 14, 30])
def test_rows_are_judged_in_chunks_as_at_once(n_held_out, small_chunks, autoencoder, rows):
    model = autoencoder()
    run = run_of(model, rows, validation=(rows[-n_held_out:], None))
    for _ in range(2):
        expected = Objective().row_losses(model, rows[-n_held_out:]).detach().double()
        torch.testing.assert_close(run.judge(), expected, rtol=1e-6, atol=1e-6)
        run.epoch()


def test_members_are_judged_in_chunks_on_their_own_rows(small_chunks, autoencoder, rows):
    parts = [torch.arange(len(rows)) < 3, torch.arange(len(rows)) >= 20]
    models = [autoencoder(), autoencoder()]
    run = members_of(models, rows, parts)
    run.epoch()
    expected = [Objective().row_losses(model, rows[part]).detach() for model, part in zip(models, parts, strict=True)]
    torch.testing.assert_close(run.judge(), torch.cat(expected).double(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_rows", [5, 40])
def test_draws_of_codes_are_the_same_in_every_call(n_rows, small_chunks, autoencoder, rows):
    run = run_of(autoencoder(bottleneck=GaussianPosterior()), rows, validation=(rows[:n_rows], None))
    losses = run.judge()
    assert torch.equal(run.judge(), losses)
    run.epoch()
    assert not torch.equal(run.judge(), losses)


def test_chunks_have_draws_of_their_own(small_chunks, autoencoder, rows):
    same = rows[:1].repeat(21, 1)
    losses = run_of(autoencoder(bottleneck=GaussianPosterior()), rows, validation=(same, None)).judge()
    assert len(losses.unique()) == 21


def test_the_best_epoch_is_that_of_all_chunks(small_chunks, autoencoder, rows):
    held_out = rows[20:], torch.arange(1.0, 21.0)
    model = autoencoder()
    result, seen = history(run_of(model, rows[:20], validation=held_out))
    losses = [Objective().row_losses(with_parameters(model, parameters), held_out[0]).detach() for parameters in seen]
    expected = [((each * held_out[1]).sum() / held_out[1].sum()).item() for each in losses]
    assert result.validation_losses == pytest.approx(expected, rel=1e-5)
    assert result.best_iter == expected.index(min(expected))


# Rows that are read block by block


def test_a_stream_without_shuffling_is_trained_on_like_its_rows(autoencoder, rows):
    plan = replace(PLAN, batch_size=10, shuffle=False, max_iter=5)
    ours, usual = autoencoder(), autoencoder()
    blocks = [rows[-10:], *rows[:-10].split(7)]  # the first batch is taken for its shape alone
    generator = torch.Generator().manual_seed(0)
    stream = StreamedBatches(lambda i: blocks[i], False, len(blocks), 40, 4, 10, False, generator, rows.device)
    losses = trained(Run([ours], stream, plan)).losses
    assert losses == pytest.approx(trained(run_of(usual, rows, plan=plan)).losses, rel=1e-6)
    torch.testing.assert_close(values(ours), values(usual))


# The loop


def test_training_lowers_the_loss(autoencoder, rows):
    losses = trained(run_of(autoencoder(), rows)).losses
    assert len(losses) == PLAN.max_iter
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("judged", [False, True])
def test_it_stops_when_nothing_improves(judged, autoencoder, rows):
    plan = replace(PLAN, tol=1e9, n_iter_no_change=4)
    result = trained(run_of(autoencoder(), rows, validation=(rows, None) if judged else None, plan=plan))
    assert result.stopped
    assert len(result.losses) == 1 + 4
    assert len(result.validation_losses) == (1 + 1 + 4) * judged


def test_fewer_epochs_follow_the_same_schedule(autoencoder, rows):
    _, seen = history(run_of(autoencoder(), rows))
    model = autoencoder()
    train(run_of(model, rows), NoImprovement(0.0, 1000), 7)
    assert_equal(values(model), seen[7])


@pytest.mark.parametrize("judged", [False, True])
def test_report_is_called_at_the_start_and_after_every_epoch(judged, autoencoder, rows):
    calls = []
    run = run_of(autoencoder(), rows, validation=(rows, None) if judged else None)
    result = trained(run, report=lambda n_iter, so_far: calls.append((n_iter, [*so_far.losses], [*so_far.validation_losses])))
    assert calls == [(PLAN.max_iter, result.losses[:k], result.validation_losses[: k + 1]) for k in range(PLAN.max_iter + 1)]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error(bad, autoencoder, rows):
    rows[3, 2] = bad
    with pytest.raises(FloatingPointError, match="in epoch 1"):
        trained(run_of(autoencoder(), rows))


def test_so_is_one_that_training_drove_there(autoencoder, rows):
    with pytest.raises(FloatingPointError, match=r"The loss became (nan|inf) in epoch"):
        trained(run_of(autoencoder(), rows, plan=replace(PLAN, learning_rate_init=1e30)))


def test_training_twice_gives_the_same_bits(autoencoder, rows):
    first, second = autoencoder(), autoencoder()
    assert trained(run_of(first, rows)) == trained(run_of(second, rows))
    assert_equal(values(first), values(second))


# With a posterior

NETS = {"linear": (), "deep": (8, 3)}
each_net = pytest.mark.parametrize("hidden", NETS.values(), ids=NETS)
STILL = replace(PLAN, learning_rate_init=1e-12, batch_size=1000)


@pytest.fixture
def variational(autoencoder):
    """A function that builds the same small model with a posterior and a learned noise each time."""

    def build(**options):
        return autoencoder(bottleneck=GaussianPosterior(), likelihood=lambda d: Gaussian(d, learned=True), **options)

    return build


def divergence(model, rows):
    return model.divergence(rows).sum(1).mean().item()


@pytest.mark.parametrize(
    ("beta_warmup", "expected"), [(0, [4.0] * 6), (1, [2.0] + [4.0] * 5), (3, [1.0, 2.0, 3.0, 4.0, 4.0, 4.0])]
)
def test_beta_rises_linearly_and_then_stays(beta_warmup, expected):
    plan = replace(PLAN, beta=4.0, beta_warmup=beta_warmup)
    assert [plan.beta_in(epoch) for epoch in range(1, 7)] == pytest.approx(expected)


def test_every_epoch_is_trained_at_its_own_beta_and_judged_at_the_full_one(variational, rows):
    rows, plan = rows.double(), replace(STILL, beta=4.0)
    rising = replace(plan, beta_warmup=3)
    first, second = (run_of(variational(dtype=torch.float64), rows, None, (rows, None), p) for p in (plan, rising))
    for epoch in range(1, 7):
        expected = (4 - rising.beta_in(epoch)) * divergence(first.members.models[0], rows)
        assert first.epoch() - second.epoch() == pytest.approx(expected, abs=1e-6)
        torch.testing.assert_close(first.judge(), second.judge())


@each_net
def test_beta_decides_how_far_posteriors_are_from_the_prior(hidden, variational, rows):
    models = {beta: variational(hidden=hidden) for beta in (0.0, 1.0, 100.0)}
    for beta, model in models.items():
        trained(run_of(model, rows, plan=replace(PLAN, beta=beta)))
    free, usual, strict = (divergence(model, rows) for model in models.values())
    assert free > 1.2 * usual > 1.5 * strict


@each_net
def test_every_parameter_is_trained_the_noise_included(hidden, variational, rows):
    model = variational(hidden=hidden)
    before = values(model)
    trained(run_of(model, rows))
    assert all((a != b).all() for a, b in zip(values(model), before, strict=True))


@each_net
@pytest.mark.parametrize("judged", [False, True])
def test_training_with_a_posterior_twice_gives_the_same_bits(hidden, judged, variational, rows):
    first, second = (variational(hidden=hidden) for _ in range(2))
    plan = replace(PLAN, beta_warmup=3)
    results = [trained(run_of(m, rows[:30], None, (rows[30:], None) if judged else None, plan)) for m in (first, second)]
    assert results[0] == results[1]
    assert_equal(values(first), values(second))


def test_the_runs_generator_determines_the_draws(variational, rows):
    first, same, other = (Run([variational()], batches_of(rows, plan=STILL, seed=seed), STILL).epoch() for seed in (1, 1, 2))
    assert first == same != other


@pytest.mark.parametrize("posterior", [False, True])
def test_every_step_draws_anew(posterior, autoencoder, variational, rows):
    run = run_of(variational() if posterior else autoencoder(), rows, plan=STILL)
    assert (run.epoch() != run.epoch()) == posterior


def eager(function, outputs, constants, generator):
    """In place of a recording: the function itself, called once before like one that is recorded."""
    function()

    def call():
        for output, result in zip(outputs, function(), strict=True):
            output.copy_(result.detach())

    return call


@each_net
@pytest.mark.parametrize(("weighted", "in_units"), [(False, True), (True, False)])
def test_recorded_training_is_eager_training(hidden, weighted, in_units, variational, rows, generator, monkeypatch):
    weights = torch.rand(30, generator=generator) if weighted else None
    recorded, called = (variational(hidden=hidden, in_units=in_units) for _ in range(2))
    plan = replace(PLAN, beta_warmup=3, max_iter=8)
    expected = trained(run_of(recorded, rows[:30], weights, (rows[30:], None), plan))
    monkeypatch.setattr(training, "compiled", eager)
    assert trained(run_of(called, rows[:30], weights, (rows[30:], None), plan)) == expected
    assert_equal(values(called), values(recorded))


def test_the_same_weights_are_judged_alike_in_every_epoch(variational, rows):
    run = run_of(variational(), rows[:30], validation=(rows[30:], None))
    before = run.judge().clone()
    assert torch.equal(run.judge(), before)
    run.epoch()
    assert not torch.equal(run.judge(), before)
    run.members.vector.copy_(run.best)
    assert torch.equal(run.judge(), before)


@pytest.mark.parametrize("chunk_rows", [3, 8192])
@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_an_exact_posterior_is_judged_without_noise(chunk_rows, beta, linear_gaussian, rows, monkeypatch):
    monkeypatch.setattr(training, "DEVICE_CHUNK_ROWS", chunk_rows)
    model, density = linear_gaussian(beta)
    rows, held = rows[:30].double(), rows[30:].double()
    expected = Objective().row_losses(model, held, beta, torch.Generator().manual_seed(7)).mean().item()
    result = trained(run_of(model, rows, validation=(held, None), plan=replace(PLAN, beta=beta, beta_warmup=5)))
    assert result.validation_losses[0] == pytest.approx(expected, rel=1e-9)
    if beta == 1:
        assert expected == pytest.approx(-density.log_prob(held).mean().item(), rel=1e-9)


def test_the_best_epoch_of_a_noisy_training_is_restored(variational, rows):
    training_rows, validation = split(rows)
    plan = replace(PLAN, learning_rate_init=0.1, learning_rate="constant", batch_size=3)
    model = variational()
    run = run_of(model, training_rows, validation=validation, plan=plan)
    result, seen = history(run)
    assert result.best_iter == min(range(len(seen)), key=result.validation_losses.__getitem__) > 0
    assert_equal(values(model), seen[result.best_iter])
    again = run_of(model, training_rows, validation=validation, plan=plan).judge().mean().item()
    assert again == pytest.approx(result.validation_losses[result.best_iter], rel=1e-6)


# Variants of the objective and of the code

VARIANTS = {
    "gaussian": {"corruption": GaussianNoise(0.3)},
    "masking": {"corruption": Masking(0.3)},
    "salt and pepper": {"corruption": SaltAndPepper(0.3)},
    "swap": {"corruption": SwapNoise(0.3)},
    "diffusion": {"corruption": DiffusionNoise((0.1, 1.0))},
    "support": {"support_fraction": 0.7},
    "l1": {"penalties": [L1(0.3)]},
    "l2": {"penalties": [L2(0.3)]},
    "contractive": {"penalties": [Contractive(0.3)]},
    "contractive, probed": {"penalties": [Contractive(0.3, n_probes=2)]},
    "kl_sparsity": {"penalties": [KLSparsity(0.3, target=0.2)], "out_activation": "logistic"},
    "top-k": {"bottleneck": TopK(1)},
    "relu code": {"penalties": [L1(0.3)], "out_activation": "relu"},
    "all at once": {
        "corruption": SwapNoise(0.3),
        "penalties": [KLSparsity(0.3, target=0.2), Contractive(0.3)],
        "bottleneck": TopK(2),
        "out_activation": "logistic",
    },
    "variational": {"corruption": Masking(0.3), "penalties": [Contractive(0.3), L1(0.3)], "bottleneck": GaussianPosterior()},
    "diffusion of support": {
        "corruption": DiffusionNoise((0.1, 1.0)),
        "penalties": [KLSparsity(0.3, target=0.2), Contractive(0.3)],
        "out_activation": "logistic",
        "support_fraction": 0.7,
    },
    "variational, diffusion of support": {
        "corruption": DiffusionNoise((0.1, 1.0)),
        "bottleneck": GaussianPosterior(),
        "support_fraction": 0.7,
    },
}
each_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture
def variant_of(autoencoder, rows):
    """A function that builds the model of a variant, and its objective."""

    def build(hidden, corruption=None, penalties=(), bottleneck=None, out_activation="identity", support_fraction=1.0):
        bottleneck = bottleneck or Dense()
        model = autoencoder(
            n_components=3,
            hidden=hidden,
            bottleneck=bottleneck,
            out_activation=out_activation,
            likelihood=lambda d: Gaussian(d, learned=bottleneck.has_posterior),
            told_level=corruption.typical_level if isinstance(corruption, DiffusionNoise) else None,
        )
        columns = Columns(rows.mean(0), rows.min(0).values, rows.max(0).values)
        bound = tuple(penalty.bound(3, len(hidden)) for penalty in penalties)
        return model, Objective(corruption and partial(corruption, columns=columns), bound, support_fraction=support_fraction)

    return build


@each_variant
def test_every_variant_lowers_its_own_loss(variant, variant_of, rows):
    model, objective = variant_of((8, 3), **variant)
    many = rows.repeat(50, 1)  # so that the draws hardly matter
    loss = partial(objective.loss, model, many, None)
    before = loss(generator=torch.Generator().manual_seed(0)).item()
    trained(run_of(model, rows, objective=objective))
    assert loss(generator=torch.Generator().manual_seed(0)).item() < before - 0.5


@each_variant
@pytest.mark.parametrize(("n_members", "hidden"), [(3, (8, 3)), (1, ())], ids=["three, deep", "one, linear"])
def test_recorded_training_of_every_variant_is_eager_training(n_members, hidden, variant, variant_of, rows, monkeypatch):
    plan = replace(PLAN, max_iter=5)
    parts = [torch.arange(len(rows)) < 10, torch.arange(len(rows)) > 25]

    def outcome():
        models, (objective, *_) = zip(*(variant_of(hidden, **variant) for _ in range(n_members)), strict=True)
        return trained(members_of(models, rows, parts[:n_members], plan, objective)), [values(model) for model in models]

    expected = outcome()
    monkeypatch.setattr(training, "compiled", eager)
    result, weights_after = outcome()
    assert result == expected[0]
    assert_equal(weights_after, expected[1])


@each_variant
def test_every_variant_is_judged_alike_in_every_epoch(variant, variant_of, rows):
    model, objective = variant_of((8,), **variant)
    run = run_of(model, rows[:30], None, (rows[30:], None), objective=objective)
    before = run.judge().clone()
    assert before.isfinite().all()
    assert torch.equal(run.judge(), before)
    run.epoch()
    assert not torch.equal(run.judge(), before)
    run.members.vector.copy_(run.best)
    assert torch.equal(run.judge(), before)


@each_variant
def test_every_step_of_a_random_variant_draws_anew(variant, variant_of, rows):
    model, objective = variant_of((8,), **variant)
    run = run_of(model, rows, plan=STILL, objective=objective)
    probed = any(not isinstance(p, Contractive) or p.n_probes == 2 for p in variant.get("penalties", []))
    assert (run.epoch() != run.epoch()) == ("corruption" in variant or probed)


@pytest.mark.parametrize(
    ("bottleneck", "hidden_only", "support_fraction", "weighted"),
    [(Dense(), True, 1.0, True), (Dense(), False, 0.7, False), (GaussianPosterior(), False, 1.0, True)],
    ids=["hidden only", "support", "posterior"],
)
@pytest.mark.parametrize(
    "corruption",
    [Masking((0.0, 0.5)), SwapNoise(0.3), DiffusionNoise((0.1, 1.0)), None],
    ids=["masking", "swap", "diffusion", "none"],
)
def test_recorded_training_on_missing_cells_and_levels_is_eager_training(
    corruption, support_fraction, bottleneck, hidden_only, weighted, mixed_autoencoder, mixed_rows, generator, monkeypatch
):
    weights = torch.rand(30, generator=generator) if weighted else None
    columns = Columns(*[torch.full((4,), torch.nan)] * 3, numbers=torch.tensor([1.0, 0.0, 0.0, 1.0]))
    bound = corruption and partial(corruption, columns=columns)
    objective = Objective(bound, hidden_only=hidden_only, support_fraction=support_fraction)
    told_level = 0.3 if isinstance(corruption, DiffusionNoise) else None

    def outcome():
        model = mixed_autoencoder(bottleneck=bottleneck, learned=bottleneck.has_posterior, told_level=told_level)
        run = run_of(model, mixed_rows[:30], weights, (mixed_rows[30:], None), replace(PLAN, max_iter=8), objective)
        return trained(run), values(model)

    result, weights_after = outcome()
    monkeypatch.setattr(training, "compiled", eager)
    expected = outcome()
    assert result == expected[0]
    assert_equal(weights_after, expected[1])
    assert all(math.isfinite(loss) for loss in result.losses + result.validation_losses)


def test_training_on_missing_cells_and_levels_lowers_the_loss(mixed_autoencoder, mixed_rows):
    model = mixed_autoencoder()
    before = Objective().loss(model, mixed_rows, None).item()
    trained(run_of(model, mixed_rows))
    assert Objective().loss(model, mixed_rows, None).item() < before - 0.5


def test_outlying_rows_are_not_learned_where_the_rest_is_the_support(autoencoder, rows, generator):
    """A tenth of the rows lies along another direction, which one component learns if it is let."""
    factors = torch.randn(200, 1, generator=generator)
    usual, odd = factors[:180] @ rows[:1], 3 * factors[180:] @ rows[1:2]
    errors = []
    for fraction in (1.0, 0.8):
        model = autoencoder(n_components=1, hidden=(), linear_path=False)
        plan = replace(PLAN, max_iter=200, batch_size=50, learning_rate_init=0.03)
        trained(run_of(model, torch.cat([usual, odd]), plan=plan, objective=Objective(support_fraction=fraction)))
        errors.append([model.squared_error(part).mean().item() for part in (usual, odd)])
    assert errors[1][0] < 0.1 * errors[0][0]
    assert errors[1][1] > errors[0][1]


FALLING = [100.0 - k for k in range(20)]


@pytest.mark.parametrize(
    ("losses", "stopped", "expected"),
    [
        (FALLING, False, True),
        (FALLING, True, False),
        ([1.0], False, False),
        ([], False, False),
        ([2.0, 1.0], False, True),
        ([1.0, 2.0], False, False),
        ([1.0] * 20, False, False),
        ([100.0, *[1.0] * 19], False, False),
        ([100.0, *[1.0] * 18, 0.02], False, False),  # 0.98 of 99.98
        ([100.0, *[1.0] * 18, 0.0], False, False),  # 1 of 100
        ([100.0, *[1.0] * 18, -0.1], False, True),  # 1.1 of 100.1
        ([-100.0 - k for k in range(20)], False, True),
    ],
)
def test_still_falling_is_a_last_tenth_with_over_a_hundredth_of_the_fall(losses, stopped, expected):
    assert TrainingResult(losses, [], 0, stopped).still_falling == expected
