"""Models that are trained as one network, beside each of them by itself."""

import itertools
import pickle
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from skvae.core.bottlenecks import Dense, GaussianPosterior
from skvae.core.likelihoods import Gaussian
from skvae.core.members import Members
from skvae.core.networks import affine
from skvae.core.objective import Objective
from skvae.core.penalties import Contractive
from skvae.core.stopping import NoImprovement
from skvae.core.training import Run, train
from tests.core.runs import PLAN, assert_equal, batches_of, members_of, values


def trained_parameters(model):
    return [p for p in model.parameters() if p.requires_grad]


@pytest.fixture
def different(autoencoder):
    """A function that builds the same models of one form each time, each with other weights and another noise."""

    def build(n, **options):
        generator = torch.Generator().manual_seed(7)
        models = [autoencoder(**options) for _ in range(n)]
        with torch.no_grad():
            for k, model in enumerate(models):
                model.likelihood.fit_(0.5 + k)
                for p in trained_parameters(model):
                    p.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        return models

    return build


# Parameters in one vector

each_number = pytest.mark.parametrize("n_members", [1, 3])


@each_number
def test_moving_in_changes_no_value(n_members, different, rows):
    models = different(n_members)
    before, outputs = [values(m) for m in models], [m.log_prob(rows) for m in models]
    Members(models)
    assert_equal([values(m) for m in models], before)
    torch.testing.assert_close([m.log_prob(rows) for m in models], outputs)


@each_number
def test_parameters_are_views_of_one_vector_each_block_on_a_cache_line(n_members, different):
    models = different(n_members)
    members = Members(models)
    members.vector.fill_(3.0)
    members.gradient.fill_(5.0)
    assert all((p == 3).all() for model in models for p in trained_parameters(model))
    for name, block in members.parameters.items():
        assert block.data_ptr() % 64 == 0
        assert block.shape == members.gradients[name].shape == (n_members, *models[0].get_parameter(name).shape)
        assert (members.gradients[name] == 5).all()
    places = sorted((block.data_ptr(), block.numel() * block.element_size()) for block in members.parameters.values())
    assert all(start + size <= following for (start, size), (following, _) in itertools.pairwise(places))


def test_a_matrix_lies_in_memory_with_its_longer_side_last(autoencoder):
    members = Members([autoencoder(n_columns=5, hidden=(8,), n_components=2)])
    strides = {name: block.stride()[1:] for name, block in members.parameters.items()}
    assert strides["encoder.hidden.0.weight"] == (1, 8)  # 8 outputs of 5 inputs, by columns
    assert strides["encoder.out.weight"] == (8, 1)


def test_what_is_not_trained_is_left_alone(autoencoder):
    model = autoencoder()
    place = model.likelihood.log_excess.data_ptr()
    Members([model]).vector.fill_(3.0)
    assert model.likelihood.log_excess.data_ptr() == place
    assert model.likelihood.variance == pytest.approx(1.0)


@each_number
def test_release_gives_every_parameter_memory_of_its_own(n_members, different):
    models = different(n_members, hidden=(100, 100))
    before = [values(m) for m in models]
    members = Members(models)
    inflated = len(pickle.dumps(models[0]))
    members.release()
    members.vector.zero_()
    assert_equal([values(m) for m in models], before)
    for model in models:
        assert_owns_its_memory(model)
        assert len(pickle.dumps(model)) < 4 * sum(p.numel() for p in model.parameters()) + 20_000 < inflated


def assert_owns_its_memory(model):
    for p in model.parameters():
        assert p.grad is None
        assert p.is_contiguous()
        assert p.untyped_storage().nbytes() == p.numel() * p.element_size()
    assert len({p.untyped_storage().data_ptr() for p in model.parameters()}) == len(list(model.parameters()))


@pytest.mark.parametrize("judged", [False, True])
def test_trained_models_own_their_memory(judged, different, rows):
    models = different(2)
    run = members_of(models, rows, [torch.arange(len(rows)) < 5] if judged else [])
    train(run, NoImprovement(0.0, 1000), PLAN.max_iter)
    for model in models:
        assert_owns_its_memory(model)


# Losses and gradients


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("hidden", "penalties"), [((), ()), ((8, 3), ()), ((8,), (Contractive(0.3),))], ids=["linear", "deep", "penalised"]
)
def test_losses_and_gradients_are_those_of_each_model_by_itself(hidden, penalties, weighted, different, rows, generator):
    rows = rows.double()
    models = different(3, hidden=hidden, dtype=torch.float64)
    weights = torch.rand(3, len(rows), generator=generator, dtype=torch.float64) if weighted else None
    objective = Objective(penalties=tuple(p.bound(2, len(hidden)) for p in penalties))
    expected = []
    for k, model in enumerate(models):
        loss = objective.loss(model, rows, None if weights is None else weights[k])
        expected.append([loss.detach(), *torch.autograd.grad(loss, trained_parameters(model))])
    plan = replace(PLAN, batch_size=100)
    run = Run(models, batches_of(rows, weights, plan), plan, objective=objective)
    run.compute()
    for k, (loss, *gradients) in enumerate(expected):
        torch.testing.assert_close(run.losses[k], loss)
        torch.testing.assert_close([g[k] for g in run.members.gradients.values()], gradients)


def test_a_member_is_trained_as_if_it_were_alone(different, rows):
    among, alone = different(3), different(3)
    run = members_of(among, rows)
    train(run, NoImprovement(0.0, 1000), PLAN.max_iter)
    for together, model in zip(among, alone, strict=True):
        train(members_of([model], rows), NoImprovement(0.0, 1000), PLAN.max_iter)
        torch.testing.assert_close(values(together), values(model), rtol=1e-4, atol=1e-5)


def test_a_member_does_not_see_the_rows_that_are_held_out_from_it(different, rows):
    part = torch.arange(len(rows)) < 10
    changed = torch.where(part[:, None], 7.0, rows)
    results = []
    for table in (rows, changed):
        models = different(2)
        run = members_of(models, table, [part])
        for _ in range(5):
            run.epoch()
        results.append([values(m) for m in models])
    (first, of_all), (second, other) = results
    assert_equal(first, second)
    assert not torch.equal(of_all[0], other[0])


@pytest.mark.parametrize("bottleneck", [Dense(), GaussianPosterior()])
def test_each_member_is_judged_on_its_own_rows(bottleneck, different, rows):
    models = different(3, bottleneck=bottleneck, likelihood=lambda d: Gaussian(d, learned=bottleneck.has_posterior))
    parts = [torch.arange(len(rows)) < 7, torch.arange(len(rows)) >= 28]
    run = members_of(models, rows, parts)
    losses = run.judge()
    assert len(losses) == len(run.held_out_weights) == 7 + 12
    if bottleneck.has_posterior:
        return
    expected = [Objective().row_losses(model, rows[part]) for model, part in zip(models, parts, strict=False)]
    torch.testing.assert_close(losses, torch.cat(expected).detach().double(), rtol=1e-5, atol=1e-5)


# The product


def inputs_of(generator, n_members, shape, is_bias):
    """Rows, a weight, and a bias or a table to add to; of members, where there are any."""
    n_rows, n_in, n_out = shape
    of_each = (n_members,) * (n_members > 0)
    shapes = ((n_rows, n_in), (n_out, n_in), (n_out,) if is_bias else (n_rows, n_out))
    return [torch.randn(*of_each, *s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


def defined(x, weight, start):
    return functional.linear(x, weight) + start


@pytest.mark.parametrize("is_bias", [True, False])
@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 3, 5)])
@pytest.mark.parametrize("n_members", [0, 2])
def test_the_product_and_its_derivatives_are_those_of_torch(n_members, shape, is_bias, generator):
    inputs = inputs_of(generator, n_members, shape, is_bias)
    product, usual = (torch.func.vmap(f) if n_members else f for f in (affine, defined))
    torch.testing.assert_close(product(*inputs), usual(*inputs))
    torch.testing.assert_close(derivatives(product, inputs), derivatives(usual, inputs))


def derivatives(function, inputs):
    """First and second ones of a scalar made of the result."""
    first = torch.autograd.grad(function(*inputs).exp().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [*first, *second]


def test_members_may_share_rows_and_bias(generator):
    x, weight, _ = inputs_of(generator, 2, (6, 5, 3), True)
    bias = torch.randn(3, generator=generator, dtype=torch.float64)
    shared = torch.func.vmap(affine, in_dims=(None, 0, None))(x[0], weight, bias)
    torch.testing.assert_close(shared, torch.stack([defined(x[0], w, bias) for w in weight]))
