"""Autoencoders for people who use scikit-learn."""

from skvae._autoencoder import AutoencoderTransformer
from skvae._vae import VAETransformer

__all__ = ["AutoencoderTransformer", "VAETransformer"]
__version__ = "0.1.0"
