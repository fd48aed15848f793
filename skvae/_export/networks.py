"""Graphs of networks: affine layers, activations, and the linear path beside them."""

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from skvae._export.graph import Value
from skvae.core.networks import Network


def array(tensor: Tensor) -> np.ndarray:
    """A tensor of a module as an array."""
    return tensor.detach().cpu().numpy()


def _gelu(x: Value) -> Value:
    erf = (x * math.sqrt(0.5)).astype(np.float32).apply("Erf")  # runtimes have no other precision
    return x * 0.5 * (erf.astype(x.dtype) + 1.0)


EMITTERS: dict[str, Callable[[Value], Value]] = {
    "identity": lambda x: x,
    "logistic": lambda x: x.apply("Sigmoid"),
    "tanh": lambda x: x.apply("Tanh"),
    "relu": lambda x: x.apply("Relu"),
    "silu": lambda x: x / (1.0 + (-x).exp()),  # x * sigmoid(x), which old runtimes fuse even where they have no kernel
    "gelu": _gelu,
}


def activated(name: str, x: Value) -> Value:
    """Apply an activation by its name in ``ACTIVATIONS``."""
    if name not in EMITTERS:
        raise NotImplementedError(f"activation={name!r} has no ONNX operators; use one of {', '.join(EMITTERS)}.")
    return EMITTERS[name](x)


def output_of(network: Network, x: Value) -> Value:
    """Output of a network for rows; there may be any number of axes before the last."""
    h = x
    if network.limit is not None and bool(network.limit.isfinite().any()):
        h = x.clip(-array(network.limit), array(network.limit))
    for layer in network.hidden:
        weight, bias = layer.parameters()
        h = activated(network.activation, h @ array(weight).T + array(bias))
    y = h @ array(network.out.weight).T + array(network.out.bias)
    if network.path is not None:
        y = y + x @ array(network.path).T
    if network.unit is not None:
        y = y * array(network.unit)
    return activated(network.out_activation, y)
