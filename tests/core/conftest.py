"""Pieces that the tests of the engine share."""

from collections.abc import Callable

import pytest
import torch

from skvae.core.bottlenecks import Dense
from skvae.core.likelihoods import Gaussian
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
        n_columns=5, n_components=2, hidden=(8,), activation="tanh", linear_path=True, dtype=torch.float32, likelihood=Gaussian
    ):
        generator = torch.Generator().manual_seed(0)
        encoder = Network((n_columns, *hidden, n_components), activation, linear_path, generator, dtype)
        decoder = Network((n_components, *hidden[::-1], n_columns), activation, linear_path, generator, dtype)
        return Autoencoder(encoder, decoder, likelihood(n_columns).to(dtype), Dense())

    return build
