"""Penalties against explicit Jacobians, torch.distributions and finite differences; a new one is one more row of PENALTIES."""

import math
from dataclasses import FrozenInstanceError, dataclass, field, replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, kl_divergence
from torch.func import functional_call

from skvae.core import penalties
from skvae.core.bottlenecks import GaussianPosterior, TopK
from skvae.core.corruptions import Columns, Masking
from skvae.core.inference import jacobian
from skvae.core.objective import Objective
from skvae.core.penalties import L1, L2, Contractive, KLSparsity, Pass, Penalty, kl_of_rates

N_PROBES = 2000
PENALTIES = {
    "l1": L1(0.3),
    "l2": L2(0.3),
    "contractive": Contractive(0.3, n_probes="exact"),
    "contractive, probed": Contractive(0.3, n_probes=2),
    "kl_sparsity": KLSparsity(0.3, target=0.2, decay=0.5).bound(2, 1),
    "kl_sparsity of all layers": KLSparsity(0.3, target=(0.3, 0.2), layer_weights=(0.5, 2.0), decay=0.5).bound(2, 1),
}
each_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
each_kind = pytest.mark.parametrize("kind", [L1, L2, KLSparsity, Contractive])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model(autoencoder_with_paths):
    return autoencoder_with_paths


@pytest.fixture
def rates(model):
    """The same with activations between 0 and 1."""
    return partial(model, activation="logistic", out_activation="logistic")


@pytest.fixture
def x(rows):
    return rows.double()


@pytest.fixture
def weight(x, generator):
    return torch.rand(len(x), generator=generator, dtype=x.dtype)


def passing(model, x, weight=None, generator=None):
    *hidden, h = model.encoder.layers(x)
    return Pass(x, hidden, model.bottleneck(h, None), weight, model.encode, model.decoder, generator or seeded())


def repeated(model, x):
    """Every row with as many draws of its own."""
    return passing(model, x.repeat_interleave(N_PROBES, 0))


def slopes(function, x):
    return jacobian(function)(x).detach()


def is_fit_for(penalty, model, rates):
    return rates if isinstance(penalty, KLSparsity) else model


# L1 and L2


def effects(model, x):
    """``z_j`` times the norm of the decoder's derivative by it, of each row and component."""
    code = model.encode(x)
    return (code.abs() * slopes(model.decoder, code).norm(dim=1)).detach()


@pytest.mark.parametrize(("hidden", "activation"), [((), "tanh"), ((8,), "relu"), ((8, 3), "tanh")])
def test_l1_is_how_far_components_move_the_reconstruction(activation, hidden, model, x):
    model = model(activation=activation, hidden=hidden)
    charges = L1()(repeated(model, x[:3])).detach().view(3, N_PROBES)
    moved = effects(model, x[:3]).sum(1)
    error = math.sqrt((math.pi / 2 - 1) / N_PROBES) * moved  # no more, however the components' errors go together
    assert (moved > 0.1).all()
    assert ((charges.mean(1) - moved).abs() < 4 * error).all()


@pytest.mark.parametrize(("hidden", "activation"), [((), "tanh"), ((8,), "relu"), ((8, 3), "tanh")])
def test_l2_is_the_square_of_it(activation, hidden, model, x):
    model = model(activation=activation, hidden=hidden)
    charges = L2()(repeated(model, x[:3])).detach().view(3, N_PROBES)
    moved = effects(model, x[:3]).square().sum(1)
    error = math.sqrt(2 / N_PROBES) * moved
    assert ((charges.mean(1) - moved).abs() < 4 * error).all()


def test_l1_of_a_linear_decoder_is_sparse_coding_with_unit_atoms(model, x):
    model = model(hidden=())
    atoms = model.decoder.out.weight.detach()
    with torch.no_grad():
        model.decoder.out.weight.copy_(atoms / atoms.norm(dim=0))
    charges = L1()(repeated(model, x[:3])).detach().view(3, N_PROBES)
    expected = model.encode(x[:3]).detach().abs().sum(1)
    assert (charges.mean(1) / expected - 1).abs().max() < 4 * math.sqrt((math.pi / 2 - 1) / N_PROBES)


def test_probes_are_normal_with_the_norms_of_the_columns(model, x):
    model = model()
    probes = repeated(model, x[:1]).probe_decoder().detach()
    (jacobian,) = slopes(model.decoder, model.encode(x[:1]))
    expected = jacobian.T @ jacobian
    assert (probes.mean(0).abs() < 4 * expected.diag().sqrt() / N_PROBES**0.5).all()
    error = (expected.square() + expected.diag().outer(expected.diag())).sqrt() / N_PROBES**0.5
    assert ((probes.T.cov() - expected).abs() < 4 * error).all()


@each_penalty
def test_rows_are_charged_apart(penalty, model, rates, x):
    rows = passing(is_fit_for(penalty, model, rates)(), x)
    charges = penalty(rows)
    assert charges.shape == (len(x),)
    assert charges.dtype == x.dtype
    assert (charges >= 0).all()


@each_penalty
def test_the_generator_determines_the_probes(penalty, model, rates, x):
    model = is_fit_for(penalty, model, rates)()
    first, same, other = (penalty(passing(model, x, generator=seeded(seed))) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert torch.equal(first, other) == (penalty == PENALTIES["contractive"])


@each_penalty
def test_the_global_generator_is_left_alone(penalty, model, rates, x):
    before = torch.get_rng_state()
    penalty(passing(is_fit_for(penalty, model, rates)(), x))
    assert torch.equal(torch.get_rng_state(), before)


# Contractive


def weighted_variance(code, weight):
    weight = torch.ones(len(code), dtype=code.dtype) if weight is None else weight
    share = (weight / weight.sum())[:, None]
    return (share * (code - (share * code).sum(0)).square()).sum(0)


def contraction(model, x, weight=None):
    """Squared slopes of each row's components, in their standard deviations."""
    variance = weighted_variance(model.encode(x).detach(), weight)
    return slopes(model.encode, x).square().sum(2) / variance


@pytest.mark.parametrize("hidden", [(), (8, 3)])
@pytest.mark.parametrize(("weighted", "activation"), [(False, "tanh"), (True, "relu"), (True, "gelu")])
def test_contractive_is_the_jacobian_in_standard_deviations(activation, weighted, hidden, model, x, weight):
    model, weight = model(activation=activation, hidden=hidden), weight if weighted else None
    charges = Contractive(n_probes="exact")(passing(model, x, weight))
    expected = contraction(model, x, weight).sum(1)
    assert (expected > 0.1).all()
    torch.testing.assert_close(charges, expected, rtol=1e-4, atol=0)


def test_what_is_added_to_the_variance_is_all_that_differs(model, x, monkeypatch):
    monkeypatch.setattr(penalties, "STILL", 0.0)
    model = model()
    charges = Contractive(n_probes="exact")(passing(model, x))
    torch.testing.assert_close(charges, contraction(model, x).sum(1), rtol=1e-9, atol=0)


def test_contractive_of_a_whitened_linear_code_is_known(model, x):
    """Its slopes are the axes over their deviations."""
    _, singular, axes = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    variances = singular.square() / len(x)
    model = model(hidden=())
    with torch.no_grad():
        model.encoder.out.weight.copy_(axes[:2] / variances[:2, None].sqrt())
    charges = Contractive(n_probes="exact")(passing(model, x))
    torch.testing.assert_close(charges, (1 / variances[:2]).sum().expand(len(x)), rtol=1e-5, atol=0)


@pytest.mark.parametrize("weighted", [False, True])
def test_probes_of_the_encoder_are_unbiased(weighted, model, x, weight):
    model, weight = model(n_components=4), weight if weighted else None
    charges = Contractive(n_probes=N_PROBES)(passing(model, x, weight))
    units = weighted_variance(model.encode(x).detach(), weight).sqrt()
    jacobians = slopes(model.encode, x) / units[:, None]
    expected = jacobians.square().sum((1, 2))
    error = (2 * (jacobians @ jacobians.mT).square().sum((1, 2)) / N_PROBES).sqrt()
    assert ((charges - expected).abs() < 4 * error).all()


def test_a_single_probe_is_unbiased_too(model, x):
    model = model(n_components=4)
    of = passing(model, x[:8])
    charges = torch.stack([Contractive(n_probes=1)(of).detach() for _ in range(N_PROBES)])
    exact = Contractive(n_probes="exact")(of).detach()
    assert ((charges.mean(0) - exact).abs() < 4 * charges.std(0) / N_PROBES**0.5).all()


@pytest.mark.parametrize(("n_components", "expected"), [(1, "exact"), (16, "exact"), (17, 1), (500, 1)])
def test_auto_is_exact_for_few_components(n_components, expected):
    assert Contractive(0.2).bound(n_components, 1) == Contractive(0.2, n_probes=expected)


@pytest.mark.parametrize("n_probes", ["exact", 1, 5])
def test_what_is_asked_for_is_done(n_probes):
    assert Contractive(n_probes=n_probes).bound(500, 1) == Contractive(n_probes=n_probes).bound(2, 3)
    assert Contractive(n_probes=n_probes).bound(500, 1).n_probes == n_probes


def test_auto_is_exact_in_fact(model, x):
    rows = passing(model(), x)
    assert torch.equal(Contractive().bound(2, 1)(rows), Contractive(n_probes="exact")(rows))


@pytest.mark.parametrize("n_probes", [0, -1, 2.5, "all", None])
def test_n_probes_that_cannot_be_are_refused(n_probes):
    with pytest.raises(ValueError, match=f"Contractive: n_probes={n_probes!r} must be"):
        Contractive(n_probes=n_probes)


# Kullback-Leibler sparsity


@pytest.mark.parametrize("target", [0.01, 0.05, 0.5, 0.99])
def test_divergence_of_rates_is_that_of_bernoullis(target):
    rates = torch.tensor([1e-5, 0.01, 0.3, 0.5, 0.99999], dtype=torch.float64)
    expected = kl_divergence(Bernoulli(torch.full_like(rates, target)), Bernoulli(rates))
    torch.testing.assert_close(kl_of_rates(target, rates), expected, rtol=1e-6, atol=1e-12)


def rates_of(layers, weight):
    weight = torch.ones(len(layers[0]), dtype=layers[0].dtype) if weight is None else weight
    return [(layer * weight[:, None]).sum(0) / weight.sum() for layer in layers]


def divergences(layers, targets, weight):
    """Of each layer, summed over its units, by torch.distributions."""
    return [
        kl_divergence(Bernoulli(torch.full_like(rate, target)), Bernoulli(rate)).sum()
        for rate, target in zip(rates_of(layers, weight), targets, strict=True)
    ]


@pytest.mark.parametrize(("hidden", "weighted", "target"), [((), True, 0.05), ((8,), False, 0.4), ((8, 3), True, 0.4)])
def test_kl_sparsity_is_the_divergence_of_mean_rates(target, weighted, hidden, rates, x, weight):
    model, weight = rates(hidden=hidden), weight if weighted else None
    charges = KLSparsity(target=target, decay=0.0).bound(2, len(hidden))(passing(model, x, weight))
    (expected,) = divergences([model.encode(x)], [target], weight)
    torch.testing.assert_close(charges, expected.expand(len(x)), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("layer_weights", "targets", "weighted"),
    [((1.0, 1.0, 1.0), 0.1, False), ((0.3, 0.0, 2.0), (0.1, 0.2, 0.3), True), ((1.0, 0.5, 0.0), (0.1, 0.2, 0.3), False)],
)
def test_hidden_layers_are_charged_by_their_weights(layer_weights, targets, weighted, rates, x, weight):
    model, weight = rates(hidden=(8, 3)), weight if weighted else None
    penalty = KLSparsity(target=targets, layer_weights=layer_weights, decay=0.0).bound(2, 2)
    parts = divergences(model.encoder.layers(x), targets if isinstance(targets, tuple) else (targets,) * 3, weight)
    expected = sum(share * part for share, part in zip(layer_weights, parts, strict=True))
    torch.testing.assert_close(penalty(passing(model, x, weight)), expected.expand(len(x)), rtol=1e-9, atol=0)


@pytest.mark.parametrize("hidden", [(), (8,)])
@pytest.mark.parametrize(("target", "decay"), [(0.05, 1.0), (0.3, 0.01)])
def test_decay_is_the_variance_of_a_code_that_is_on_or_off(target, decay, hidden, rates, x):
    model = rates(hidden=hidden)
    penalty = KLSparsity(target=target, decay=decay).bound(2, len(hidden))
    rows = repeated(model, x[:3])
    charges = (penalty(rows) - replace(penalty, decay=0.0)(rows)).detach().view(3, N_PROBES)
    gain = slopes(model.decoder, model.encode(x[:3])).square().sum((1, 2))
    expected = decay * target * (1 - target) * gain
    assert ((charges.mean(1) / expected - 1).abs() < 4 * math.sqrt(2 / N_PROBES)).all()


def test_the_rate_of_the_code_is_that_of_the_decay(rates, x):
    model = rates()
    several = KLSparsity(target=(0.9, 0.2), layer_weights=(0.0, 1.0), decay=1.0).bound(2, 1)
    assert torch.equal(several(passing(model, x)), KLSparsity(target=0.2, decay=1.0).bound(2, 1)(passing(model, x)))


@pytest.mark.parametrize("n_hidden", [0, 1, 3])
def test_the_code_alone_is_charged_by_default(n_hidden):
    bound = KLSparsity(0.5, target=0.1, decay=0.2).bound(4, n_hidden)
    assert bound == KLSparsity(0.5, (0.1,) * (n_hidden + 1), (0.0,) * n_hidden + (1.0,), 0.2)


@pytest.mark.parametrize(("layer_weights", "n_hidden"), [((1.0,), 1), ((1.0, 1.0), 0), ((1.0, 1.0), 2), ((), 0)])
def test_as_many_weights_as_layers(layer_weights, n_hidden):
    words = (
        rf"layer_weights=\({', '.join(map(str, layer_weights))}.* {n_hidden} hidden layers? and the code; pass {n_hidden + 1}"
    )
    with pytest.raises(ValueError, match=words):
        KLSparsity(layer_weights=layer_weights).bound(2, n_hidden)


@pytest.mark.parametrize(
    ("layer_weights", "expected"),
    [
        (None, ("code_activation",)),
        ((1.0,), ("code_activation",)),
        ((0.0, 1.0), ("code_activation",)),
        ((1.0, 1.0), ("activation", "code_activation")),
        ((0.0, 0.5, 0.0), ("activation",)),
        ((0.0, 0.0), ()),
    ],
)
def test_layers_that_are_charged_must_be_bounded(layer_weights, expected):
    assert KLSparsity(layer_weights=layer_weights).bounded == expected


@pytest.mark.parametrize("target", [0, 1, 0.0, 1.0, -0.1, 2.0, math.nan, (0.1, 1.0)])
def test_a_target_that_is_no_rate_is_refused(target):
    with pytest.raises(ValueError, match=r"KLSparsity: target=.* must lie strictly between 0 and 1"):
        KLSparsity(target=target, layer_weights=(1.0, 1.0))


@pytest.mark.parametrize(
    ("target", "layer_weights"), [((0.1, 0.2), None), ((0.1, 0.2), (1.0,)), ((0.1, 0.2), (1.0, 1.0, 1.0)), ((), None)]
)
def test_as_many_targets_as_layers(target, layer_weights):
    with pytest.raises(ValueError, match=rf"{len(target)} rates for {len(layer_weights or [1])} layers"):
        KLSparsity(target=target, layer_weights=layer_weights)


@pytest.mark.parametrize(
    "decay",
    [
        -0.1,
        math.nan,
        math.inf,
    ],
)
def test_a_decay_that_cannot_be_is_refused(decay):
    with pytest.raises(ValueError, match=f"KLSparsity: decay={decay!r} must be"):
        KLSparsity(decay=decay)


# All of them


@each_kind
@pytest.mark.parametrize("weight", [-1e-3, math.nan, math.inf])
def test_a_weight_that_cannot_be_is_refused(kind, weight):
    with pytest.raises(ValueError, match=rf"{kind.__name__}: weight={weight!r} must be a finite number, 0 or more"):
        kind(weight)


@each_kind
def test_it_is_a_value(kind):
    assert kind(0.3) == kind(weight=0.3) != kind(0.2)
    assert hash(kind(0.3)) == hash(kind(0.3))
    with pytest.raises(FrozenInstanceError):
        kind().weight = 0.3


class Charge(nn.Module):
    def __init__(self, model, penalty, weight):
        super().__init__()
        self.model, self.penalty, self.weight = model, penalty, weight

    def forward(self, x):
        return self.penalty(passing(self.model, x, self.weight)).square()  # by row, and not in the sum alone


@each_penalty
@pytest.mark.parametrize(("hidden", "weighted"), [((), False), ((4,), True)])
def test_gradient_is_that_of_finite_differences(penalty, weighted, hidden, model, rates, x, weight):
    if isinstance(penalty, KLSparsity) and not hidden:
        penalty = KLSparsity(0.3, target=0.2, decay=0.5).bound(2, 0)
    model = is_fit_for(penalty, model, rates)(n_columns=3, hidden=hidden)
    called = Charge(model, penalty, weight[:4] if weighted else None)
    names, parameters = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)

    def charges(*values):
        return functional_call(called, {f"model.{n}": v for n, v in zip(names, values, strict=True)}, (x[:4, :3],))

    assert torch.autograd.gradcheck(charges, [p.detach().clone().requires_grad_() for p in parameters])


MOVED = {
    "l1": {"encoder", "decoder"},
    "l2": {"encoder", "decoder"},
    "contractive": {"encoder"},
    "contractive, probed": {"encoder"},
    "kl_sparsity": {"encoder", "decoder"},
    "kl_sparsity of all layers": {"encoder", "decoder"},
}


@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_reach_what_is_charged(name, model, rates, x):
    model = is_fit_for(PENALTIES[name], model, rates)()
    total = PENALTIES[name](passing(model, x)).sum()
    for network in ("encoder", "decoder"):
        weights = [p for n, p in getattr(model, network).named_parameters() if n.endswith(("weight", "path"))]
        gradients = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True)
        assert all((g is not None and g.any()) == (network in MOVED[name]) for g in gradients)


# Nothing is gained by a smaller code and a decoder that magnifies it


def rescaled(model, factors):
    """The same reconstructions from codes in other units."""
    factors = torch.as_tensor(factors, dtype=torch.float64).expand(model.encoder.out.out_features)
    first = next(iter([*model.decoder.hidden, model.decoder.out]))
    with torch.no_grad():
        for tensor in (model.encoder.out.weight, model.encoder.path):
            if tensor is not None:
                tensor *= factors[:, None]
        model.encoder.out.bias *= factors
        for tensor in (first.weight, model.decoder.path):
            if tensor is not None:
                tensor /= factors
    return model


FACTORS = {"0.01": 0.01, "100": 100.0, "each its own": [0.3, 2.0], "mirrored": [-0.5, 1.5]}
WITHOUT_UNITS = {"l1": L1(), "l2": L2(), "contractive": Contractive(n_probes="exact"), "probed": Contractive(n_probes=3)}


@pytest.mark.parametrize("factors", FACTORS.values(), ids=FACTORS)
@pytest.mark.parametrize(("hidden", "activation", "weighted"), [((), "tanh", True), ((8,), "relu", False)])
@pytest.mark.parametrize("penalty", WITHOUT_UNITS.values(), ids=WITHOUT_UNITS)
def test_the_units_of_the_code_change_no_charge(penalty, activation, hidden, weighted, factors, model, x, weight):
    weight = weight if weighted else None
    before, after = (model(hidden=hidden, activation=activation) for _ in range(2))
    rescaled(after, factors)
    torch.testing.assert_close(after.reconstruct(x), before.reconstruct(x))
    assert not torch.allclose(after.encode(x), before.encode(x))
    if penalty == WITHOUT_UNITS["probed"] and factors == FACTORS["mirrored"]:
        return  # another probe: its sign is another for one component alone
    charges, expected = (penalty(passing(m, x, weight)) for m in (after, before))
    torch.testing.assert_close(charges, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("factors", [[0.01, 100.0], [1e-4, 1.0]])
@pytest.mark.parametrize("n_probes", ["exact", 3])
def test_of_contractive_not_even_when_components_are_far_apart(factors, n_probes, model, x, monkeypatch):
    """But for what is added to a variance, which a component a thousand times narrower than the others falls short of."""
    monkeypatch.setattr(penalties, "STILL", 0.0)
    charges, expected = (Contractive(n_probes=n_probes)(passing(m, x)) for m in (rescaled(model(), factors), model()))
    torch.testing.assert_close(charges, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("factor", [0.01, 100.0])
@pytest.mark.parametrize("penalty", WITHOUT_UNITS.values(), ids=WITHOUT_UNITS)
def test_nor_does_it_help_to_magnify_behind_a_relu(penalty, factor, model, x):
    """A relu hands a factor on, so that the decoder's first layer looks the same and its last one magnifies."""
    before, after = (model(activation="relu") for _ in range(2))
    rescaled(after, factor)
    with torch.no_grad():
        after.decoder.hidden[0].weight *= factor
        after.decoder.hidden[0].bias *= factor
        after.decoder.out.weight /= factor
    torch.testing.assert_close(after.decoder.hidden[0].weight, before.decoder.hidden[0].weight)
    torch.testing.assert_close(after.reconstruct(x), before.reconstruct(x))
    charges, expected = (penalty(passing(m, x)) for m in (after, before))
    torch.testing.assert_close(charges, expected, rtol=1e-4 if isinstance(penalty, Contractive) else 1e-9, atol=0)


def test_a_code_that_hardly_leaves_the_target_rate_is_charged_for_its_decoder(generator):
    """The same reconstruction at first order, from swings that are smaller and smaller."""
    t = 0.2
    x = torch.randn(2000, 1, generator=generator, dtype=torch.float64)

    def total(swing):
        def encode(x):
            return torch.sigmoid(math.log(t / (1 - t)) + swing * x)

        def decode(code):
            return (code - t) / (t * (1 - t) * swing) @ torch.ones(1, 5, dtype=torch.float64)

        rows = Pass(x, [], encode(x), None, encode, decode, seeded())
        penalty = KLSparsity(target=t).bound(1, 0)
        return penalty(rows).mean().item(), replace(penalty, decay=0.0)(rows).mean().item()

    charges, divergence = zip(*(total(swing) for swing in (2.0, 1.0, 0.1, 0.01)), strict=True)
    assert sorted(divergence, reverse=True) == list(divergence)  # which alone would be evaded
    assert sorted(charges) == list(charges)
    assert charges[-1] > 100 * charges[0]


# Where there is nothing to measure

LOST = {
    "one component dead": lambda model: _silence(model, slice(0, 1)),
    "all dead": lambda model: _silence(model, slice(None)),
    "decoder dead": lambda model: [p.zero_() for p in model.decoder.parameters()],
}


def _silence(model, components):
    for tensor in (model.encoder.out.weight, model.encoder.path):
        if tensor is not None:
            tensor[components] = 0


@each_penalty
@pytest.mark.parametrize("lost", ["nothing", *LOST])
def test_charges_and_gradients_are_finite(lost, penalty, model, rates, x):
    for dtype in (torch.float32, torch.float64):
        built = is_fit_for(penalty, model, rates)(dtype=dtype)
        with torch.no_grad():
            LOST.get(lost, lambda _: None)(built)
        parameters = [p for p in built.parameters() if p.requires_grad]
        for n_rows in (1, 2, 40):
            charges = penalty(passing(built, x[:n_rows].to(dtype)))
            assert charges.isfinite().all()
            gradients = torch.autograd.grad(charges.sum(), parameters, allow_unused=True)
            assert all(g.isfinite().all() for g in gradients if g is not None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [-100.0, 100.0])
def test_rates_of_0_and_1_have_finite_charges(level, dtype, rates, x):
    model = rates(dtype=dtype)
    with torch.no_grad():
        model.encoder.out.bias.fill_(level)
        model.encoder.out.weight.zero_()
        model.encoder.path.zero_()
    charges = PENALTIES["kl_sparsity"](passing(model, x.to(dtype)))
    assert charges.isfinite().all()
    assert (charges > 0.1).all()
    gradients = torch.autograd.grad(charges.sum(), list(model.encoder.parameters()))
    assert all(g.isfinite().all() for g in gradients)


def test_a_dead_component_is_not_charged_for_its_slopes(model, x):
    model = model()
    with torch.no_grad():
        _silence(model, slice(0, 1))
    charges = Contractive(n_probes="exact")(passing(model, x))
    torch.testing.assert_close(charges, contraction(model, x)[:, 1], rtol=1e-5, atol=0)


def test_a_relu_that_is_off_in_the_whole_batch_is_not_charged(model, x):
    model = model(out_activation="relu")
    with torch.no_grad():
        model.encoder.out.bias[0] = -1e3
    for penalty in WITHOUT_UNITS.values():
        charges = penalty(passing(model, x))
        gradients = torch.autograd.grad(charges.sum(), [model.encoder.out.weight, model.encoder.path])
        assert not any(g[0].any() for g in gradients)
        assert all(g.isfinite().all() for g in gradients)


# In an objective


@dataclass(frozen=True)
class Spy(Penalty):
    seen: list = field(default_factory=list)

    def __call__(self, of):
        self.seen.append(of)
        return of.input.sum(1)


@each_penalty
def test_a_weight_of_0_adds_nothing(penalty, model, rates, x):
    model = is_fit_for(penalty, model, rates)()
    plain, charged = Objective(), Objective(penalties=(replace(penalty, weight=0.0),))
    torch.testing.assert_close(charged.loss(model, x, None, generator=seeded()), plain.loss(model, x, None), rtol=0, atol=0)
    torch.testing.assert_close(charged.row_losses(model, x, generator=seeded()), plain.row_losses(model, x), rtol=0, atol=0)


@pytest.mark.parametrize("judged", [False, True])
def test_a_penalty_sees_what_the_encoder_saw(judged, model, x):
    columns = Columns(torch.full((5,), 7.0, dtype=torch.float64), x.min(0).values, x.max(0).values)
    spy, model = Spy(2.0), model(hidden=(8, 3))
    objective = Objective(partial(Masking(0.4), columns=columns), (spy,))
    if judged:
        objective.row_losses(model, x, generator=seeded())
    else:
        objective.loss(model, x, None, generator=seeded())
    seen, _ = Masking(0.4)(x, seeded(), columns)
    (of,) = spy.seen
    assert torch.equal(of.input, seen)
    for layer, expected in zip([*of.hidden, of.code], model.encoder.layers(seen), strict=True):
        assert torch.equal(layer, expected)
    assert torch.equal(of.encode(seen), model.encode(seen))
    assert torch.equal(of.decode(of.code), model.decoder(of.code))


@pytest.mark.parametrize("bottleneck", [GaussianPosterior(), TopK(1)], ids=["posterior", "top-k"])
def test_a_penalty_sees_the_code_of_inference(bottleneck, model, x, weight):
    spy, model = Spy(), model(bottleneck=bottleneck)
    Objective(penalties=(spy,)).loss(model, x, weight, generator=seeded())
    (of,) = spy.seen
    assert torch.equal(of.code, model.encode(x))
    assert of.code.shape == (len(x), 2)
    assert of.weight is weight
