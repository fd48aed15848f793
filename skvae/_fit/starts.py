"""Where training begins: the closed-form solution of the linear model, set into the networks."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from skvae._fit.linear_gaussian import Completed, LinearGaussian, expectation_maximisation, factor_analysis, probabilistic_pca
from skvae._fit.pca import PrincipalComponents, principal_components
from skvae._fit.pieces import OUTLYING, build_model
from skvae._fit.settings import ACTIVATIONS, Settings
from skvae._fit.task import MOST_FACTORS_OF_LINEAR, Task, n_factors
from skvae._tables.encoding import BOOLEAN, Encoding
from skvae._tables.rows import Rows
from skvae.core.likelihoods import LARGEST_CURVATURE, LARGEST_VARIANCE
from skvae.core.model import Autoencoder

ALMOST_LINEAR = {  # offset and gain with which an activation does little more than scale a whitened code
    "identity": (0.0, 1.0),
    "logistic": (0.0, 0.5),
    "tanh": (0.0, 0.25),
    "relu": (3.0, 1.0),
    "silu": (4.0, 1.0),
    "gelu": (3.0, 1.0),
}
NARROWEST = 1e-12  # starting variance of a posterior that should be zero


def started(task: Task, table: Rows, linear: LinearGaussian | None = None) -> Autoencoder:
    """A new model on the CPU, at the closed-form solution for these rows if that is asked for.

    ``linear`` is this solution if it is known already. The noise of a model with an exact code is left to the caller.
    """
    model = build_model(task, task.generator())
    if not task.settings.from_pca:
        return model
    pca = _start_inputs(model, task, table)
    if task.settings.variational:
        _start_at_linear_gaussian(model, linear or linear_gaussian(task, table), task.settings.beta)
    else:
        _start_at_pca(model, pca)
    return model


def linear_gaussian(task: Task, table: Rows) -> LinearGaussian:
    """The linear model at which a model with a posterior starts."""
    settings = task.settings
    if settings.marked:
        return _of_features(task, table)
    if settings.likelihood == "gaussian_diag":
        return factor_analysis(table, task.n_components, task.floors, task.prior_rows)
    given = {"mse": task.unit_variance, "bernoulli": LARGEST_VARIANCE}
    noise = None if settings.likelihood is None else given.get(settings.likelihood)
    return probabilistic_pca(principal_components(table), task.n_components, settings.beta, noise, task.floors.min())


def completed(settings: Settings, encoding: Encoding, table: Rows, n_components: int) -> Completed:
    """The linear model that fills in the missing cells of these rows, and the moments of the completed rows."""
    factors = n_factors(settings, encoding, n_components)
    sample = table.sample()
    features = encoding.features(sample.rows)
    return expectation_maximisation(features, sample.counts, factors, shared=settings.is_solved_by_pca)


def _of_features(task: Task, table: Rows) -> LinearGaussian:
    """Factor analysis of features.

    Categories and booleans are taken as normal, with so much noise that their likelihood is bounded from below.
    """
    encoding = task.encoding
    noise = np.full(len(encoding.column), np.nan)
    n_levels = encoding.n_levels[encoding.column]
    noise[n_levels == BOOLEAN] = LARGEST_VARIANCE
    noise[n_levels > BOOLEAN] = LARGEST_CURVATURE
    factors = min(task.n_components, len(noise), MOST_FACTORS_OF_LINEAR)
    sample = table.sample()
    features = encoding.features(sample.rows)
    linear = expectation_maximisation(features, sample.counts, factors, shared=False, noise=noise / encoding.unit**2).linear
    loadings = np.zeros((len(noise), task.n_components))
    loadings[:, :factors] = linear.loadings
    return replace(linear, loadings=loadings)


def _start_inputs(model: Autoencoder, task: Task, table: Rows) -> PrincipalComponents:
    """Let the model fill in missing cells given the others, and return the principal components of the completed rows."""
    if task.settings.marked:
        filled = completed(task.settings, task.encoding, table, task.n_components)
        pca, linear = filled.components, filled.linear
    else:
        pca = principal_components(table)
        linear = probabilistic_pca(pca, task.n_factors, floor=task.floors.min())
    model.inputs.start_(*(torch.from_numpy(values) for values in (linear.mean, linear.loadings, linear.noise)))
    return pca


def _start_at_pca(model: Autoencoder, pca: PrincipalComponents) -> None:
    """Set a model to the PCA of the rows that it will see: whitened codes in, reconstruction out.

    Directions without variance, and components beyond the number of axes, get a zero code. If only the largest entries of a
    code are kept, all components are put in one unit instead. An activation of the code starts where it is close to linear.
    """
    n_components, n_columns = model.n_components, len(pca.mean)  # columns of features
    dtype = model.encoder.out.weight.dtype
    k = min(n_components, len(pca.axes))
    deviations = np.sqrt(pca.variances[:k])
    smallest = pca.variances[0] ** 0.5 * n_columns * torch.finfo(dtype).eps
    alive = deviations > smallest
    encoder = np.zeros((n_components, n_columns))
    encoder[:k][alive] = pca.axes[:k][alive] / deviations[alive, None]
    decoder = np.zeros((n_columns, n_components))
    decoder[:, :k] = pca.axes[:k].T * np.where(alive, deviations, 0.0)
    if model.bottleneck.keeps_largest:
        unit = np.ones(n_components)
        unit[:k][alive] = deviations[alive] / np.sqrt(np.mean(deviations**2))
        encoder, decoder = encoder * unit[:, None], decoder / unit
    offset, gain = ALMOST_LINEAR[model.encoder.out_activation]
    activation = ACTIVATIONS[model.encoder.out_activation]
    below, centre, above = activation(offset + gain * torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64)).tolist()
    decoder, constant = decoder / (above - below), np.full(n_components, offset)
    _start_linear(model, gain * encoder, constant, decoder, pca.mean, pca.deviations, centre=centre)


def _start_at_linear_gaussian(model: Autoencoder, linear: LinearGaussian, beta: float) -> None:
    """Set a model with a posterior to a linear one: its posterior, its loadings, its noise.

    The outputs of the networks are then scaled by their expected errors: codes by the posterior's standard deviations, cells by
    those of the noise.
    """
    weight, variances = linear.posterior(beta)
    variances = np.maximum(variances, NARROWEST)
    weight = np.concatenate([weight, np.zeros_like(weight)])
    constant = np.concatenate([np.zeros(len(variances)), np.log(variances)])
    units = np.concatenate([np.sqrt(variances), np.ones(len(variances))]), np.sqrt(linear.noise)
    deviations = np.sqrt((linear.loadings**2).sum(axis=1) + linear.noise)
    _start_linear(model, weight, constant, linear.loadings, linear.mean, deviations, units)
    first = np.unique(model.inputs.column.numpy(), return_index=True)[1]
    model.likelihood.fit_(torch.from_numpy(linear.noise[first]))


def _start_linear(
    model: Autoencoder,
    weight: np.ndarray,
    constant: np.ndarray,
    loadings: np.ndarray,
    mean: np.ndarray,
    deviations: np.ndarray,
    units: tuple[np.ndarray, np.ndarray] | None = None,
    centre: float = 0.0,
) -> None:
    """Encode to ``weight @ (x - mean) + constant`` and decode to ``loadings @ (z - centre) + mean``.

    The likelihood converts the reconstruction of features to its parameters.
    """
    code_unit, cell_unit = (None, None) if units is None else map(torch.from_numpy, units)
    constant = constant - weight @ mean
    beside = np.zeros((len(weight), model.inputs.n_inputs - weight.shape[1]))  # for the marks of missing cells and the noise
    weight = np.concatenate([weight, beside], axis=1)
    model.encoder.start_linear_(torch.from_numpy(weight), torch.from_numpy(constant), code_unit)
    if model.encoder.limit is not None:
        model.encoder.limit[: len(mean)] = torch.from_numpy(np.abs(mean) + OUTLYING * deviations)
    offset, slope = _params_of_features(model, torch.from_numpy(mean))
    loadings = loadings * slope.numpy()[:, None]
    offset = offset - torch.from_numpy(centre * loadings.sum(axis=1))
    model.decoder.start_linear_(torch.from_numpy(loadings), offset, _unit_of_params(model, cell_unit))


def _params_of_features(model: Autoencoder, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters of the likelihood at the mean of the features, and their derivatives with respect to the features."""
    unit = model.inputs.unit.double()
    offset, slope = model.likelihood.linear_start(model.inputs.mean.double() + unit * mean, model.bottleneck.has_posterior)
    return offset, slope * unit


def _unit_of_params(model: Autoencoder, cell_unit: Tensor | None) -> Tensor | None:
    """Scale of the errors of the likelihood's parameters, from that of the features; 1 for the logits of categories."""
    if cell_unit is None or not model.likelihood.in_cell_units:
        return None
    return torch.where(model.inputs.is_cell, cell_unit, 1.0)
