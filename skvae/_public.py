"""The public names of the package."""

from skvae._anomaly import AEAnomalyDetector
from skvae._autoencoder import AutoencoderTransformer
from skvae._display.anomaly import AnomalyDisplay
from skvae._display.interpolation import InterpolationDisplay
from skvae._display.latent_space import LatentSpaceDisplay
from skvae._display.loss_curve import LossCurveDisplay
from skvae._display.reconstruction import ReconstructionDisplay
from skvae._display.samples import SamplesDisplay
from skvae._export.onnx_models import to_onnx
from skvae._export.pipelines import register_onnx_converters
from skvae._html.anomalies import AnomalyReport
from skvae._imputer import AutoencoderImputer
from skvae._vae import Elbo, VAETransformer
from skvae.core.corruptions import DiffusionNoise, GaussianNoise, Masking, SaltAndPepper, SwapNoise
from skvae.core.penalties import L1, L2, Contractive, KLSparsity

__all__ = [
    "L1",
    "L2",
    "TRUSTED_TYPES",
    "AEAnomalyDetector",
    "AnomalyDisplay",
    "AnomalyReport",
    "AutoencoderImputer",
    "AutoencoderTransformer",
    "Contractive",
    "DiffusionNoise",
    "Elbo",
    "GaussianNoise",
    "InterpolationDisplay",
    "KLSparsity",
    "LatentSpaceDisplay",
    "LossCurveDisplay",
    "Masking",
    "ReconstructionDisplay",
    "SaltAndPepper",
    "SamplesDisplay",
    "SwapNoise",
    "VAETransformer",
    "register_onnx_converters",
    "to_onnx",
]
TRUSTED_TYPES = tuple(
    f"{kind.__module__}.{kind.__name__}"
    for kind in (
        *(AutoencoderTransformer, VAETransformer, AEAnomalyDetector, AutoencoderImputer),
        *(GaussianNoise, Masking, SaltAndPepper, SwapNoise, DiffusionNoise),  # parameters, also in the grid of a search
        *(L1, L2, KLSparsity, Contractive),
    )
)
"""Names of the classes to trust in a skops file: ``skops.io.load(file, trusted=skvae.TRUSTED_TYPES)``."""
