"""Check that the arrays of a saved model fit together."""

from collections.abc import Iterator

import numpy as np

from skvae._fitted import Fitted
from skvae.core.inputs import Inputs
from skvae.core.likelihoods import Likelihood
from skvae.core.model import Autoencoder
from skvae.core.networks import Network

Shape = tuple[int, ...]
Shapes = Iterator[tuple[str, Shape, Shape]]  # name of an array, its shape, and the required shape


def check_shapes(fitted: Fitted) -> None:
    """Refuse a model whose arrays do not fit together.

    Raises
    ------
    ValueError
        If an array does not fit; the message names the first.
    """
    for name, shape, needed in _shapes(fitted):
        if tuple(shape) != needed:
            raise ValueError(
                f"The saved model is inconsistent: {name} has shape {tuple(shape)}, but {needed} is required. The file was "
                "changed after it was written; save the model again."
            )


def _shapes(fitted: Fitted) -> Shapes:
    model = fitted.module
    n_columns, n_normal = len(fitted.marginals.columns), model.likelihood.n_columns
    yield "is_number", np.shape(fitted.is_number), (n_columns,)
    yield "columns", (len(fitted.schema.columns),), (n_columns if fitted.schema.columns else 0,)
    for name in ("mean", "scale", "varies"):
        yield f"scaling.{name}", np.shape(getattr(fitted.scaling, name)), (n_normal,)
    yield "normal columns", fitted.marginals.column_of.shape, (n_normal,)
    yield from _of_model(model)


def _of_model(model: Autoencoder) -> Shapes:
    yield from _of_inputs(model.inputs)
    n_codes = model.n_components * model.bottleneck.expansion
    yield from _of_network("encoder", model.encoder, model.inputs.n_inputs, n_codes)
    yield from _of_network("decoder", model.decoder, model.n_components, model.likelihood.n_params)
    yield from _of_likelihood(model.likelihood)


def _of_inputs(inputs: Inputs) -> Shapes:
    n_features = len(inputs.column)
    for name in ("level", "is_cell", "mean", "unit", "centre", "noise"):
        yield f"inputs.{name}", getattr(inputs, name).shape, (n_features,)
    yield "inputs.loadings", inputs.loadings.shape, (n_features, inputs.loadings.shape[-1])


def _of_network(name: str, network: Network, n_in: int, n_out: int) -> Shapes:
    width = n_in
    for i, layer in enumerate([*network.hidden, network.out]):
        where = f"{name}.out" if layer is network.out else f"{name}.hidden.{i}"
        n_units = n_out if layer is network.out else len(layer.bias)
        yield f"{where}.weight", layer.weight.shape, (n_units, width)
        yield f"{where}.bias", layer.bias.shape, (n_units,)
        width = n_units
    for part, needed in (("path", (n_out, n_in)), ("limit", (n_in,)), ("unit", (n_out,))):
        tensor = getattr(network, part)
        if tensor is not None:
            yield f"{name}.{part}", tensor.shape, needed


def _of_likelihood(likelihood: Likelihood) -> Shapes:
    variance = likelihood.variance
    if variance is not None and variance.ndim:
        yield "likelihood.variance", variance.shape, (likelihood.n_columns,)
