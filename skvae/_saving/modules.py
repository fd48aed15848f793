"""Saved forms of networks: architecture and arrays."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skvae._saving.form import Form
from skvae.core import inputs, likelihoods, model, networks

FILES = (inputs, likelihoods, model, networks)  # modules with classes that are saved
OF_ALL = frozenset(vars(nn.Module()))  # attributes that every module has


def _state(module: nn.Module) -> dict[str, Any]:
    of_module = vars(module)
    passing = of_module["_non_persistent_buffers_set"]
    return {
        "attributes": {name: value for name, value in of_module.items() if name not in OF_ALL},
        "parameters": {name: p is not None and [_array(p), p.requires_grad] for name, p in of_module["_parameters"].items()},
        "buffers": {name: b is not None and [_array(b), name not in passing] for name, b in of_module["_buffers"].items()},
        "children": of_module["_modules"],
    }


def _made(kind: type[nn.Module], state: dict[str, Any]) -> nn.Module:
    made = kind.__new__(kind)
    nn.Module.__init__(made)
    for name, value in state["attributes"].items():
        setattr(made, name, value)
    for name, parameter in state["parameters"].items():
        made.register_parameter(name, nn.Parameter(_tensor(parameter[0]), parameter[1]) if parameter else None)
    for name, buffer in state["buffers"].items():
        made.register_buffer(name, _tensor(buffer[0]) if buffer else None, buffer and buffer[1])
    for name, child in state["children"].items():
        made.add_module(name, child)
    return made.eval()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _tensor(array: np.ndarray) -> Tensor:
    """A tensor in memory that torch allocates, because alignment affects the last bits of products."""
    return torch.from_numpy(np.asarray(array).copy(order="K")).clone()


KINDS = (nn.ModuleList, *(kind for file in FILES for kind in vars(file).values() if isinstance(kind, type)))
MODULES: dict[type, Form] = {
    kind: Form(kind.__name__, _state, partial(_made, kind)) for kind in KINDS if issubclass(kind, nn.Module)
}
OF_TORCH: dict[type, Form] = {
    Tensor: Form("Tensor", _array, _tensor),
    torch.device: Form("device", str, torch.device),
}
