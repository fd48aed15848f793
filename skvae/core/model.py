"""An autoencoder: an encoder, a bottleneck, a decoder and the likelihood that scores what the decoder says."""

import torch
from torch import Tensor, nn

from skvae.core.bottlenecks import Bottleneck
from skvae.core.likelihoods import Likelihood
from skvae.core.networks import Network

DECODED_CELLS = 1 << 20  # decoded in one go when many codes are weighed per row


class Autoencoder(nn.Module):
    """``x -> encoder -> bottleneck -> code -> decoder -> parameters of the likelihood of x``.

    Rows are ``(n_rows, n_columns)`` on the scale that the networks see; codes are ``(n_rows, n_components)``.
    """

    def __init__(self, encoder: Network, decoder: Network, likelihood: Likelihood, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        self.likelihood = likelihood

    def encode(self, x: Tensor) -> Tensor:
        return self.bottleneck(self.encoder(x), None)

    def decode(self, code: Tensor) -> Tensor:
        """The expected cells of each code."""
        return self.likelihood.mean(self.decoder(code))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The expected cells of each row's own code."""
        return self.decode(self.encode(x))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of every cell given the row's own code, ``(n_rows, n_columns)``."""
        return self.likelihood.log_prob(self.decoder(self.encode(x)), x)

    def reorder_components_(self, order: Tensor) -> None:
        """Renumber the components of the code: the new i-th is the old ``order[i]``-th."""
        parts = [order + i * len(order) for i in range(self.bottleneck.expansion)]
        self.encoder.reorder_(outputs=torch.cat(parts))
        self.decoder.reorder_(inputs=order)

    # With a posterior at the bottleneck

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code given each row."""
        return self.bottleneck.moments(self.encoder(x))

    def divergence(self, x: Tensor) -> Tensor:
        """Divergence of each row's posterior from the prior, per component."""
        return self.bottleneck.divergence(self.encoder(x))

    def log_weights(self, x: Tensor, noise: Tensor, beta: float = 1.0) -> Tensor:
        """``log p(x | z) + log p(z) - log q(z | x)`` per row and noise vector, ``(n_rows, n_samples)``.

        Their mean estimates the evidence lower bound without bias, and without variance where the posterior is exact; the
        logarithm of the mean of their exponentials estimates log p(x).

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_columns)
        noise : Tensor of shape (n_samples, n_components)
            Standard normal, the same for all rows, so that a row's weights do not depend on the others.
        beta : float
            That the model was trained with, to draw from the posterior of a beta of 1; see ``Bottleneck.at``.
        """
        h = self.encoder(x)[:, None]
        n_at_once = max(1, DECODED_CELLS // max(1, x.numel()))
        weights = []
        for some in noise.split(n_at_once):
            code, log_ratio = self.bottleneck.at(h, some, beta)
            params = self.decoder(code.flatten(0, 1)).unflatten(0, code.shape[:2])
            weights.append(self.likelihood.log_prob(params, x[:, None].expand(-1, len(some), -1)).sum(-1) + log_ratio)
        return torch.cat(weights, dim=1)
