import numpy as np
import pytest
import torch
from scipy import special, stats
from sklearn.neural_network import MLPRegressor
from torch import nn

from skvae.core.networks import ACTIVATIONS, Network

FORMULAS = {
    "identity": lambda x: x,
    "logistic": special.expit,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * special.expit(x),
    "gelu": lambda x: x * stats.norm.cdf(x),
}
HIDDEN = [(), (7,), (7, 3), (2, 9, 4)]


def network(generator, hidden=(7,), activation="tanh", linear_path=True, dtype=torch.float64, **options):
    return Network((4, *hidden, 3), activation, linear_path, generator, dtype, **options)


def linear_map(generator):
    return torch.randn(3, 4, generator=generator, dtype=torch.float64), torch.randn(3, generator=generator, dtype=torch.float64)


def inputs(generator, dtype=torch.float64):
    return torch.randn(10, 4, generator=generator, dtype=torch.float64).to(dtype)


def test_every_activation_has_a_formula_here():
    assert FORMULAS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_formula(name):
    x = np.linspace(-20, 20, 401)
    np.testing.assert_allclose(ACTIVATIONS[name](torch.from_numpy(x)).numpy(), FORMULAS[name](x), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("hidden", [(7,), (5, 6)])
def test_forward_is_that_of_scikit_learn_with_the_same_weights(activation, hidden, generator):
    X = inputs(generator).numpy()
    regressor = MLPRegressor(hidden_layer_sizes=hidden, activation=activation, random_state=0).partial_fit(X, X[:, :3])
    net = network(generator, hidden, activation, linear_path=False)
    with torch.no_grad():
        for layer, weight, bias in zip([*net.hidden, net.out], regressor.coefs_, regressor.intercepts_, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
        np.testing.assert_allclose(net(torch.from_numpy(X)).numpy(), regressor.predict(X), rtol=1e-10)


@pytest.mark.parametrize(
    ("hidden", "activation", "dtype"),
    [
        *(((7, 3), activation, torch.float32) for activation in ACTIVATIONS),
        *((hidden, "gelu", torch.float64) for hidden in HIDDEN),
    ],
)
def test_linear_start_is_the_linear_map(hidden, activation, dtype, generator):
    net, x = network(generator, hidden, activation, dtype=dtype), inputs(generator, dtype)
    weight, bias = linear_map(generator)
    net.start_linear_(weight, bias)
    expected = nn.functional.linear(x.double(), weight.to(dtype).double(), bias.to(dtype).double())
    torch.testing.assert_close(net(x).double(), expected, rtol=10 * torch.finfo(dtype).eps, atol=10 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("linear_path", [True, False])
def test_only_a_network_with_hidden_layers_has_a_linear_path(hidden, linear_path, generator):
    net = network(generator, hidden, linear_path=linear_path)
    assert (net.path is not None) == (linear_path and bool(hidden))
    assert len(list(net.parameters())) == 2 * (len(hidden) + 1) + (net.path is not None)


def test_the_linear_path_adds_a_linear_map(generator):
    net, (weight, _), x = network(generator), linear_map(generator), inputs(generator)
    before = net(x)
    with torch.no_grad():
        net.path.copy_(weight)
    torch.testing.assert_close(net(x), before + x @ weight.T)


def test_the_generator_determines_the_weights():
    first, same, other = (network(torch.Generator().manual_seed(seed)).state_dict() for seed in (1, 1, 2))
    for name, value in first.items():
        assert torch.equal(value, same[name])
        assert name == "path" or not torch.equal(value, other[name])


def test_the_global_generator_is_left_alone(generator):
    before = torch.get_rng_state()
    network(generator)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("parameter", ["weight", "bias"])
def test_initial_distribution_is_that_of_torch(parameter, generator):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        usual = getattr(nn.Linear(30, 2000), parameter).detach()
    net = Network((30, 2000, 1), "relu", False, generator, torch.float32)
    ours = getattr(net.hidden[0], parameter).detach()
    assert ours.abs().max() <= 30**-0.5
    assert stats.ks_2samp(ours.flatten().numpy(), usual.flatten().numpy()).pvalue > 0.01


@pytest.mark.parametrize("hidden", [(7,), (7, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_reach_every_parameter_one_step_after_a_linear_start(hidden, activation, generator):
    net, x = network(generator, hidden, activation), inputs(generator)
    net.start_linear_(*linear_map(generator))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (net(x) - x[:, :3]).square().sum().backward()
        optimizer.step()
    assert all((p.grad != 0).any() for p in net.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_parameters_have_the_precision_asked_for(dtype, generator):
    assert {p.dtype for p in network(generator, dtype=dtype).parameters()} == {dtype}


# Limited inputs


def test_a_network_is_unlimited_at_first(generator):
    net, x = network(generator, limited=True), 1e6 * inputs(generator)
    unlimited = network(torch.Generator().manual_seed(0))
    assert torch.equal(net(x), unlimited(x))


@pytest.mark.parametrize("linear_path", [False, True])
def test_hidden_layers_see_limited_inputs_and_the_linear_path_all(linear_path, generator):
    net, x = network(generator, linear_path=linear_path, limited=True), 3 * inputs(generator)
    within = x.clip(-net.limit.fill_(1.5), net.limit)
    assert not torch.equal(within, x)
    beyond = 0
    if linear_path:
        net.path.detach().normal_(generator=generator)
        beyond = (x - within) @ net.path.T
    torch.testing.assert_close(net(x), net(within) + beyond)


# Outputs in units

UNIT = torch.tensor([1e-3, 1.0, 50.0], dtype=torch.float64)


@pytest.mark.parametrize("hidden", [(), (7, 3)])
@pytest.mark.parametrize(("linear_path", "training"), [(False, True), (True, False)])
def test_outputs_in_units_are_the_unit_times_what_layers_give(hidden, linear_path, training, generator):
    plain, scaled = (network(torch.Generator().manual_seed(0), hidden, linear_path=linear_path, in_units=u) for u in (0, 1))
    x = inputs(generator)
    assert torch.equal(scaled(x), plain(x))
    scaled.unit.copy_(UNIT)
    torch.testing.assert_close(scaled.train(training)(x), plain(x) * UNIT, rtol=1e-12, atol=1e-15)


def test_units_are_not_trained(generator):
    net = network(generator, in_units=True)
    assert "unit" not in dict(net.named_parameters())
    assert "unit" in net.state_dict()


@pytest.mark.parametrize("hidden", [(), (7, 3)])
@pytest.mark.parametrize(("dtype", "unit"), [(torch.float64, None), (torch.float64, UNIT), (torch.float32, UNIT)])
def test_a_linear_start_is_the_same_map_in_any_units(hidden, dtype, unit, generator):
    net, x = network(generator, hidden, dtype=dtype, in_units=True), inputs(generator, dtype)
    weight, bias = linear_map(generator)
    net.start_linear_(weight, bias, unit)
    expected = nn.functional.linear(x.double(), weight, bias)
    torch.testing.assert_close(net(x).double(), expected, rtol=0, atol=30 * torch.finfo(dtype).eps)
    assert torch.equal(net.unit, torch.ones_like(net.unit) if unit is None else unit.to(dtype))


def test_a_step_of_the_bias_moves_each_output_by_its_unit(generator):
    net, x = network(generator, in_units=True), inputs(generator)
    net.start_linear_(*linear_map(generator), UNIT)
    before = net(x)
    net.out.bias.detach().add_(1.0)
    torch.testing.assert_close(net(x) - before, UNIT.expand(10, -1))


def test_a_network_without_units_starts_where_it_is_told_too(generator):
    net, x = network(generator), inputs(generator)
    weight, bias = linear_map(generator)
    net.start_linear_(weight, bias, UNIT)
    torch.testing.assert_close(net(x), nn.functional.linear(x, weight, bias))


# Renumbering


@pytest.mark.parametrize("hidden", [(), (7,), (7, 3)])
@pytest.mark.parametrize(("linear_path", "in_units"), [(False, True), (True, False)])
@pytest.mark.parametrize(
    ("into", "out_of"), [([2, 0, 3, 1], None), (None, [2, 0, 1]), ([3, 2, 0, 1], [1, 2, 0])], ids=["inputs", "outputs", "both"]
)
def test_renumbering_permutes_inputs_and_outputs(hidden, linear_path, in_units, into, out_of, generator):
    net, x = network(generator, hidden, linear_path=linear_path, in_units=in_units), inputs(generator)
    if net.path is not None:
        net.path.detach().normal_(generator=generator)
    if in_units:
        net.unit.copy_(UNIT)
    before = net(x)
    net.reorder_(*(None if index is None else torch.tensor(index) for index in (into, out_of)))
    after = net(x if into is None else x[:, into])
    torch.testing.assert_close(after, before if out_of is None else before[:, out_of], rtol=1e-12, atol=1e-12)


def test_renumbering_inputs_renumbers_their_limits(generator):
    net, x, order = network(generator, limited=True), inputs(generator), torch.tensor([2, 0, 3, 1])
    net.limit.copy_(torch.tensor([0.1, 0.5, 1.0, 2.0]))
    before = net(x)
    net.reorder_(inputs=order)
    torch.testing.assert_close(net(x[:, order]), before, rtol=1e-12, atol=1e-12)
