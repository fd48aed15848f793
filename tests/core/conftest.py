"""Pieces that the tests of the engine share."""

from collections.abc import Callable

import pytest
import torch
from torch.distributions import MultivariateNormal

from skvae.core.bottlenecks import Dense, GaussianPosterior
from skvae.core.inputs import Inputs
from skvae.core.likelihoods import Bernoulli, Categorical, Gaussian, Mixed, Part
from skvae.core.model import Autoencoder
from skvae.core.networks import Network


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def rows(generator) -> torch.Tensor:
    """Forty rows of five correlated columns."""
    factors, loadings = torch.randn(40, 3, generator=generator), torch.randn(3, 5, generator=generator)
    return factors @ loadings + 0.1 * torch.randn(40, 5, generator=generator)


@pytest.fixture
def autoencoder() -> Callable[..., Autoencoder]:
    """A function that builds the same small untrained model each time."""

    def build(
        n_columns=5,
        n_components=2,
        hidden=(8,),
        activation="tanh",
        linear_path=True,
        dtype=torch.float32,
        likelihood=Gaussian,
        bottleneck=None,
        in_units=False,
        out_activation="identity",
        inputs=None,
        told_level=None,
    ):
        bottleneck = bottleneck or Dense()
        generator = torch.Generator().manual_seed(0)
        shape = (activation, linear_path, generator, dtype)
        inputs = inputs or Inputs.of_numbers(n_columns, dtype=dtype, told_level=told_level)
        scores = likelihood(n_columns).to(dtype)
        sizes = (inputs.n_inputs, *hidden, n_components * bottleneck.expansion)
        encoder = Network(sizes, *shape, in_units=in_units, out_activation=out_activation)
        decoder = Network((n_components, *hidden[::-1], scores.n_params), *shape, in_units=in_units)
        return Autoencoder(inputs, encoder, decoder, scores, bottleneck)

    return build


@pytest.fixture
def mixed_rows(generator) -> torch.Tensor:
    """Forty rows of a number, a column of three levels, a boolean and a number, of which a quarter of the cells are missing."""
    x = torch.randn(40, 4, generator=generator)
    x[:, 1] = x[:, 1].clamp(-1, 1).round() + 1
    x[:, 2] = (x[:, 2] + x[:, 0] > 0).float()
    return x.masked_fill(torch.rand(40, 4, generator=generator) < 0.25, torch.nan)


@pytest.fixture
def mixed_autoencoder(autoencoder) -> Callable[..., Autoencoder]:
    """A function that builds the same small untrained model of ``mixed_rows``, which is told what is missing."""

    def build(dtype=torch.float32, n_factors=2, learned=False, told_level=None, **options):
        generator = torch.Generator().manual_seed(3)
        column, level = torch.tensor([0, 1, 1, 1, 2, 3]), torch.tensor([-1, 0, 1, 2, -1, -1])
        mean, unit = torch.rand(6, generator=generator), torch.ones(6)
        inputs = Inputs(column, level, mean, unit, n_factors, marked=True, dtype=dtype, told_level=told_level)
        loadings = torch.randn(6, n_factors, generator=generator)
        inputs.start_(torch.randn(6, generator=generator), loadings, 0.1 + torch.rand(6, generator=generator))

        def likelihood(_):
            numbers = Gaussian(2, 0.4, dtype, torch.full((2,), 1e-6), learned)
            return Mixed([Part(numbers, [0, 3], [0, 5]), Part(Bernoulli(1), [2], [4]), Part(Categorical([3]), [1], [1, 2, 3])])

        return autoencoder(n_columns=4, inputs=inputs, likelihood=likelihood, dtype=dtype, **options)

    return build


@pytest.fixture
def autoencoder_with_paths(autoencoder) -> Callable[..., Autoencoder]:
    """The same in float64, with linear paths that are not zero."""

    def build(dtype=torch.float64, **options):
        model = autoencoder(dtype=dtype, **options)
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for network in (model.encoder, model.decoder):
                if network.path is not None:
                    network.path.normal_(generator=generator)
        return model

    return build


@pytest.fixture
def linear_gaussian(autoencoder) -> Callable[..., tuple[Autoencoder, MultivariateNormal]]:
    """A function that builds a model ``x = W z + m + e`` with its exact posterior, and the density of its rows.

    With ``beta`` it is the posterior under a noise that is beta times as large. ``too_wide`` multiplies its variances.
    """
    generator = torch.Generator().manual_seed(1)
    noise = 0.1 + torch.rand(5, generator=generator, dtype=torch.float64)
    directions = torch.linalg.qr(torch.randn(5, 2, generator=generator, dtype=torch.float64)).Q
    loadings = noise.sqrt()[:, None] * directions * torch.tensor([3.0, 0.7])
    mean = torch.randn(5, generator=generator, dtype=torch.float64)
    density = MultivariateNormal(mean, loadings @ loadings.T + noise.diag())

    def build(beta=1.0, too_wide=1.0, dtype=torch.float64, **options):
        model = autoencoder(
            dtype=dtype, likelihood=lambda d: Gaussian(d, floor=torch.zeros(d)), bottleneck=GaussianPosterior(), **options
        )
        covariance = torch.linalg.inv(torch.eye(2) + loadings.T @ (loadings / (beta * noise)[:, None]))
        weight = covariance @ (loadings / (beta * noise)[:, None]).T
        variances = covariance.diag() * too_wide
        units = torch.cat([variances.sqrt(), torch.ones(2)]), noise.sqrt()
        constant = torch.cat([-weight @ mean, variances.log()])
        model.encoder.start_linear_(torch.cat([weight, 0 * weight]), constant, units[0])
        model.decoder.start_linear_(loadings, mean, units[1])
        model.likelihood.fit_(noise)
        return model, density

    return build
