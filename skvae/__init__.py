"""Autoencoders for people who use scikit-learn."""

from skvae._autoencoder import AutoencoderTransformer
from skvae._vae import Elbo, VAETransformer

__all__ = ["AutoencoderTransformer", "Elbo", "VAETransformer"]
__version__ = "0.1.0"
