"""Arrays of other libraries than numpy, under scikit-learn's ``array_api_dispatch``: results come back in the same library."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvae._tables.libraries import as_table
from skvae._validation import array_library_of, moved

Method = Callable[..., Any]


@dataclass(frozen=True)
class Origin:
    """Library and device of an array.

    Attributes
    ----------
    library : module
        Array namespace.
    device : object
        Device in the terms of the library.
    """

    library: Any
    device: Any

    @classmethod
    def of(cls, X: Any) -> "Origin | None":
        """The origin of an array of another library than numpy, if scikit-learn is set to dispatch; None otherwise."""
        found = array_library_of(X)
        return None if found is None else cls(*found)

    def back(self, result: Any) -> Any:
        """A numpy array, or a tuple of them, as arrays of this library; other results unchanged."""
        if isinstance(result, np.ndarray) and result.dtype != object:
            return moved(result, self.library, self.device)
        if isinstance(result, tuple):
            parts = map(self.back, result)
            return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
        return result


def on_host(X: Any) -> Any:
    """X as a numpy array, if it is an array of another library and scikit-learn is set to dispatch; X unchanged otherwise."""
    if array_library_of(X) is None:
        return X
    return as_table(X) if isinstance(X, Tensor) else moved(X, np, "cpu")


def is_dispatched_tensor(X: Any) -> bool:
    """Whether X is a tensor that scikit-learn is set to leave on its device."""
    return isinstance(X, Tensor) and array_library_of(X) is not None


def in_kind(method: Method) -> Method:
    """Let a method take arrays of other libraries and return its result in the library of its input."""

    @wraps(method)
    def of_any_array(self: Any, X: Any, *args: Any, **options: Any) -> Any:
        origin = Origin.of(X)
        result = _called_on_host(method, self, X, *args, **options)
        return result if origin is None else origin.back(result)

    return of_any_array


def as_it_came(method: Method) -> Method:
    """As ``in_kind``, but tensors stay on their device if the estimator's model applies to them directly."""

    @wraps(method)
    def of_any_array(self: Any, X: Any) -> Any:
        origin = Origin.of(X)
        if origin is None:
            return method(self, X)
        keeps = isinstance(X, Tensor) and getattr(self, "_takes_tensors", False)
        return origin.back(method(self, X.detach() if keeps else on_host(X)))

    return of_any_array


def fits_in_kind(fit: Method) -> Method:
    """Let a fit take arrays of other libraries: they are read on the host, and fitted attributes come back in their library."""

    @wraps(fit)
    def of_any_array(self: Any, X: Any, *args: Any, **options: Any) -> Any:
        origin = Origin.of(X)
        _called_on_host(fit, self, X, *args, **options)
        if origin is not None:
            vars(self).update({name: origin.back(value) for name, value in vars(self).items() if _is_result(name, value)})
            if hasattr(self, "_fitted") and isinstance(origin.device, torch.device):
                self._fitted = self._fitted.on(origin.device)
        return self

    return of_any_array


def _called_on_host(method: Method, estimator: Any, *args: Any, **options: Any) -> Any:
    return method(estimator, *map(on_host, args), **{name: on_host(option) for name, option in options.items()})


def _is_result(name: str, value: Any) -> bool:
    return name.endswith("_") and isinstance(value, np.ndarray)
