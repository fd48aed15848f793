"""An autoencoder: an encoder, a decoder and the likelihood that scores what the decoder says."""

from torch import Tensor, nn

from skvae.core.likelihoods import Likelihood
from skvae.core.networks import Network


class Autoencoder(nn.Module):
    """``x -> encoder -> code -> decoder -> parameters of the likelihood of x``.

    Rows are ``(n_rows, n_columns)`` on the scale that the networks see; codes are ``(n_rows, n_components)``.
    """

    def __init__(self, encoder: Network, decoder: Network, likelihood: Likelihood) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        """The expected cells of each code."""
        return self.likelihood.mean(self.decoder(code))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The expected cells of each row's own code."""
        return self.decode(self.encode(x))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of every cell given the row's own code, ``(n_rows, n_columns)``."""
        return self.likelihood.log_prob(self.decoder(self.encoder(x)), x)
