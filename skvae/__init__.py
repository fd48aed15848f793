"""Autoencoders for people who use scikit-learn."""

from skvae._autoencoder import AutoencoderTransformer

__all__ = ["AutoencoderTransformer"]
__version__ = "0.1.0"
