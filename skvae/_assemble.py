"""From the estimators' parameters to the engine's pieces: what a name stands for is decided here."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from skvae._statistics import PrincipalComponents
from skvae.core.likelihoods import Bernoulli, Gaussian, Likelihood, UnitGaussian
from skvae.core.model import Autoencoder
from skvae.core.networks import ACTIVATIONS, Network
from skvae.core.training import TrainingPlan

__all__ = ["ACTIVATIONS", "build_model", "build_plan", "is_linear", "is_solved_by_pca", "start_at_pca"]

AUTO_RATE = 1e-2
WIDE = 256  # columns; beyond, a step of Adam moves a code by so much that the rate has to fall
AUTO_BATCH = 128
AUTO_BATCH_LINEAR = 2048  # steps of a linear model are cheap, and what keeps it from PCA is the noise of small batches
OUTLYING = 5  # standard deviations that the encoder's hidden layers see of a cell; its linear path sees all of it
AUTO_STEPS = 1500
AUTO_STEPS_LINEAR = 3000
AUTO_STEPS_PER_ROOT_ROW = 60


def build_model(
    params: Mapping[str, Any],
    n_columns: int,
    n_components: int,
    unit_variance: float,
    generator: torch.Generator,
    widest: torch.dtype = torch.float64,
) -> Autoencoder:
    """The untrained model that the parameters describe.

    A linear model is kept in the widest dtype: it is cheap, and its equality with PCA must survive columns that are nearly
    collinear.

    Parameters
    ----------
    params : mapping
        Parameters of the estimator.
    n_columns, n_components : int
    unit_variance : float
        What a variance of 1 in the units of ``likelihood="mse"`` is on the scale of the networks.
    generator : torch.Generator
        Source of the initial weights.
    widest : torch.dtype
        That the device has.
    """
    hidden = tuple(params["hidden_layer_sizes"])
    decoder_hidden = params["decoder_layer_sizes"]
    decoder_hidden = hidden[::-1] if decoder_hidden is None else tuple(decoder_hidden)
    dtype = torch.float32 if hidden or decoder_hidden else widest
    likelihood = build_likelihood(params["likelihood"], n_columns, unit_variance, dtype)

    from_pca = params["init"] == "pca"
    shape = (params["activation"], from_pca, generator, dtype)
    encoder = Network([n_columns, *hidden, n_components], *shape, limited=from_pca and bool(hidden))
    decoder = Network([n_components, *decoder_hidden, n_columns * likelihood.n_params], *shape)
    return Autoencoder(encoder, decoder, likelihood)


def build_likelihood(name: str, n_columns: int, unit_variance: float, dtype: torch.dtype) -> Likelihood:
    """The likelihood of a name; "auto" is Gaussian."""
    if name == "bernoulli":
        return Bernoulli(n_columns)
    if name == "mse":
        return UnitGaussian(n_columns, unit_variance, dtype)
    return Gaussian(n_columns, dtype=dtype)


def is_linear(params: Mapping[str, Any]) -> bool:
    """Whether both networks are single layers."""
    return all(sizes is None or len(sizes) == 0 for sizes in (params["hidden_layer_sizes"], params["decoder_layer_sizes"]))


def is_solved_by_pca(params: Mapping[str, Any]) -> bool:
    """Whether PCA is the answer, so that there is nothing to train."""
    return is_linear(params) and params["init"] == "pca" and params["likelihood"] != "bernoulli"


def start_at_pca(model: Autoencoder, pca: PrincipalComponents) -> None:
    """Set a model to the PCA of the rows that it will see: whitened codes in, reconstruction out.

    Directions without variance, and components beyond the number of axes, get a zero code. For Bernoulli cells the
    reconstruction is carried to the logits at first order around the column means.
    """
    n_components, n_columns = model.encoder.out.out_features, len(pca.mean)
    dtype = model.encoder.out.weight.dtype
    k = min(n_components, len(pca.axes))
    deviations = np.sqrt(pca.variances[:k])
    smallest = pca.variances[0] ** 0.5 * n_columns * torch.finfo(dtype).eps
    alive = deviations > smallest
    encoder = np.zeros((n_components, n_columns))
    encoder[:k][alive] = pca.axes[:k][alive] / deviations[alive, None]
    decoder = np.zeros((n_columns, n_components))
    decoder[:, :k] = pca.axes[:k].T * np.where(alive, deviations, 0.0)
    offset = pca.mean
    if isinstance(model.likelihood, Bernoulli):
        mean = np.clip(pca.mean, 0.01, 0.99)
        offset = np.log(mean / (1 - mean))
        decoder /= (mean * (1 - mean))[:, None]
    model.encoder.start_linear_(torch.from_numpy(encoder), torch.from_numpy(-encoder @ pca.mean))
    if model.encoder.limit is not None:
        model.encoder.limit.copy_(torch.from_numpy(np.abs(pca.mean) + OUTLYING * pca.deviations))
    model.decoder.start_linear_(torch.from_numpy(decoder), torch.from_numpy(offset))


def build_plan(params: Mapping[str, Any], n_rows: int, n_columns: int, unit_variance: float = 1.0) -> TrainingPlan:
    """How to train on a table of so many distinct rows and columns."""
    linear = is_linear(params)
    batch_size, max_iter = params["batch_size"], params["max_iter"]
    if batch_size == "auto":
        batch_size = AUTO_BATCH_LINEAR if linear else AUTO_BATCH
    if max_iter == "auto":
        steps = max(AUTO_STEPS_LINEAR if linear else AUTO_STEPS, AUTO_STEPS_PER_ROOT_ROW * math.sqrt(n_rows))
        max_iter = math.ceil(steps / math.ceil(n_rows / batch_size))
    rate = params["learning_rate_init"]
    if rate == "auto":
        rate = AUTO_RATE * min(1.0, WIDE / n_columns) ** 2
    patience = params["n_iter_no_change"]
    return TrainingPlan(
        max_iter=max_iter,
        batch_size=batch_size,
        learning_rate=params["learning_rate"],
        learning_rate_init=rate,
        weight_decay=params["weight_decay"],
        shuffle=params["shuffle"],
        tol=params["tol"],
        gradient_scale=unit_variance if params["likelihood"] == "mse" else 1.0,
        n_iter_no_change=max(10, max_iter // 5) if patience == "auto" else patience,
    )
