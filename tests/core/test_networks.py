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


def network(generator, hidden=(7,), activation="tanh", linear_path=True, dtype=torch.float64):
    return Network((4, *hidden, 3), activation, linear_path, generator, dtype)


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


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
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
