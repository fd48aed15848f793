"""Autoencoder: inputs, an encoder, a bottleneck, a decoder and a likelihood."""

import torch
from torch import Tensor, nn

from skvae.core.bottlenecks import Bottleneck
from skvae.core.inputs import Inputs
from skvae.core.likelihoods import Likelihood
from skvae.core.networks import Network

DECODED_CELLS = 1 << 20  # decoded at once if each row has many codes


class Autoencoder(nn.Module):
    """``x -> inputs -> encoder -> bottleneck -> code -> decoder -> parameters of the likelihood of x``.

    Rows are ``(n_rows, n_columns)`` on the scale of the networks, with NaN for missing cells. Codes are
    ``(n_rows, n_components)``.
    """

    def __init__(
        self, inputs: Inputs, encoder: Network, decoder: Network, likelihood: Likelihood, bottleneck: Bottleneck
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.decoder = decoder
        self.likelihood = likelihood

    @property
    def n_components(self) -> int:
        """Size of the code."""
        return self.encoder.out.out_features // self.bottleneck.expansion

    def encode(self, x: Tensor) -> Tensor:
        return self.encode_inputs(self.inputs(x))

    def encode_inputs(self, inputs: Tensor) -> Tensor:
        """The code of each row of encoder inputs."""
        return self.bottleneck(self.encoder(inputs), None)

    def decode(self, code: Tensor) -> Tensor:
        """The expected cells of each code."""
        return self.likelihood.mean(self.decoder(code))

    def expect(self, code: Tensor) -> Tensor:
        """The expectation given each code, one number per parameter of the likelihood; for categories, probabilities."""
        return self.likelihood.expectation(self.decoder(code))

    def expect_of(self, x: Tensor) -> Tensor:
        """The expectation given each row's own code."""
        return self.expect(self.encode(x))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The expected cells given each row's own code."""
        return self.decode(self.encode(x))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of every cell given the row's own code, ``(n_rows, n_columns)``; zero if it is missing."""
        return self.log_prob_given(x, x)

    def log_prob_given(self, x: Tensor, cells: Tensor) -> Tensor:
        """Log-probability of cells given the code of the row x."""
        return self.likelihood.log_prob(self.decoder(self.encode(x)), cells).masked_fill(cells.isnan(), 0.0)

    def squared_error(self, x: Tensor) -> Tensor:
        """Squared difference of every cell from its expectation, ``(n_rows, n_columns)``; zero if it is missing."""
        return self.squared_error_given(x, x)

    def squared_error_given(self, x: Tensor, cells: Tensor) -> Tensor:
        """Squared difference of cells from their expectation given the code of the row x."""
        return self.likelihood.squared_error(self.decoder(self.encode(x)), cells).masked_fill(cells.isnan(), 0.0)

    def reorder_components_(self, order: Tensor) -> None:
        """Renumber the components of the code: the new i-th is the old ``order[i]``-th."""
        parts = [order + i * len(order) for i in range(self.bottleneck.expansion)]
        self.encoder.reorder_(outputs=torch.cat(parts))
        self.decoder.reorder_(inputs=order)

    def rescale_components_(self, scale: Tensor) -> None:
        """Multiply each component of a linear model's code by a scale, which may be zero; the decoder compensates."""
        scale = scale.to(self.encoder.out.weight)
        with torch.no_grad():
            for tensor in (self.encoder.out.weight, self.encoder.out.bias):
                tensor.mul_(scale.view(-1, *[1] * (tensor.ndim - 1)))
            self.decoder.out.weight.div_(torch.where(scale == 0, 1.0, scale))

    # With a posterior at the bottleneck

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code given each row."""
        return self.bottleneck.moments(self.encoder(self.inputs(x)))

    def divergence(self, x: Tensor) -> Tensor:
        """Divergence of each row's posterior from the prior, per component."""
        return self.bottleneck.divergence(self.encoder(self.inputs(x)))

    def log_weights(self, x: Tensor, noise: Tensor, beta: float = 1.0) -> Tensor:
        """``log p(x | z) + log p(z) - log q(z | x)`` per row and noise vector, ``(n_rows, n_samples)``.

        Their mean estimates the evidence lower bound without bias, and without variance if the posterior is exact. The
        logarithm of the mean of their exponentials estimates log p(x).

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_columns)
        noise : Tensor of shape (n_samples, n_components)
            Standard normal; shared by all rows, so that the weights of a row do not depend on other rows.
        beta : float
            The beta of training, for conversion to the posterior of beta = 1; see ``Bottleneck.at``.
        """
        h = self.encoder(self.inputs(x))[:, None]
        n_at_once = max(1, DECODED_CELLS // max(1, x.numel()))
        weights = []
        for some in noise.split(n_at_once):
            code, log_ratio = self.bottleneck.at(h, some, beta)
            (log_prob,) = self._log_prob_of_codes(code, x)
            weights.append(log_prob.sum(-1) + log_ratio)
        return torch.cat(weights, dim=1)

    def _log_prob_of_codes(self, code: Tensor, *versions: Tensor) -> list[Tensor]:
        """Log-probability of the cells of each version of the rows given each of their codes, which are decoded once.

        Each result is ``(n_rows, n_codes, n_columns)``.
        """
        params = self.decoder(code.flatten(0, 1))
        results = []
        for cells in versions:
            repeated = cells[:, None].expand(-1, code.shape[1], -1).flatten(0, 1)
            log_prob = self.likelihood.log_prob(params, repeated).masked_fill(repeated.isnan(), 0.0)
            results.append(log_prob.unflatten(0, code.shape[:2]))
        return results

    def codes_at(self, x: Tensor, noise: Tensor, beta: float = 1.0) -> Tensor:
        """Codes for given noise, ``(n_rows, n_codes, n_components)``; the noise may differ between rows."""
        return self.bottleneck.at(self.encoder(self.inputs(x))[:, None], noise, beta)[0]

    def log_predictive(self, x: Tensor, cells: Tensor, noise: Tensor, beta: float = 1.0) -> Tensor:
        """Predictive log-probability of each cell given the observed cells of x, ``(n_rows, n_columns)``.

        It averages over codes with the importance weights of ``log_weights``.
        """
        code, log_ratio = self.bottleneck.at(self.encoder(self.inputs(x))[:, None], noise, beta)
        given, scores = self._log_prob_of_codes(code, x, cells)
        shares = (given.sum(-1) + log_ratio).log_softmax(1)
        return (shares[:, :, None] + scores).logsumexp(1)
