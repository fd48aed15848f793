"""Graphs of models: inputs, encoder, bottleneck, decoder and likelihood in sequence."""

import numpy as np

from skvae._export import likelihoods
from skvae._export.bottlenecks import code_of, codes_at
from skvae._export.graph import Value, where
from skvae._export.inputs import seen
from skvae._export.networks import output_of
from skvae.core.model import Autoencoder


def encoded(module: Autoencoder, x: Value) -> Value:
    """The code of each scaled row."""
    return code_of(module.bottleneck, output_of(module.encoder, seen(module.inputs, x)), module.n_components)


def reconstructed(module: Autoencoder, x: Value) -> Value:
    """The expected cells of each row's own code."""
    return likelihoods.mean(module.likelihood, output_of(module.decoder, encoded(module, x)))


def expected_of(module: Autoencoder, x: Value) -> Value:
    """The expectation given each row's own code, one number per parameter of the likelihood."""
    return likelihoods.expectation(module.likelihood, output_of(module.decoder, encoded(module, x)))


def log_prob(module: Autoencoder, x: Value) -> Value:
    """Log-probability of every cell given the row's own code; zero if it is missing."""
    return _scored(module, output_of(module.decoder, encoded(module, x)), x)


def log_weights(module: Autoencoder, x: Value, noise: np.ndarray, beta: float) -> Value:
    """Log importance weights of the codes for given noise, ``(n_rows, n_draws)``."""
    n_draws, n_components = noise.shape
    h = output_of(module.encoder, seen(module.inputs, x))
    code, log_ratio = codes_at(h, n_components, noise, beta)
    params = output_of(module.decoder, code.reshape(-1, n_components))
    n_columns = module.likelihood.n_columns
    repeated = x.expand_dims(1).repeat(1, n_draws, 1).reshape(-1, n_columns)
    return _scored(module, params, repeated).reshape(-1, n_draws, n_columns).sum(2) + log_ratio


def _scored(module: Autoencoder, params: Value, cells: Value) -> Value:
    return where(cells.isnan(), 0.0, likelihoods.log_prob(module.likelihood, params, cells))
