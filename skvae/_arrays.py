"""Arrays of other libraries than numpy, under scikit-learn's ``array_api_dispatch``: results come back as the input came."""

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
    """Where an array comes from.

    Attributes
    ----------
    library : module
    device : object
        As the library names it.
    """

    library: Any
    device: Any

    @classmethod
    def of(cls, X: Any) -> "Origin | None":
        """Of an array of another library than numpy, where scikit-learn is told to dispatch."""
        found = array_library_of(X)
        return None if found is None else cls(*found)

    def back(self, result: Any) -> Any:
        """A result of numpy, or a tuple of such, as an array of this library; all else as it is."""
        if isinstance(result, np.ndarray) and result.dtype != object:
            return moved(result, self.library, self.device)
        if isinstance(result, tuple):
            parts = map(self.back, result)
            return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
        return result


def on_host(X: Any) -> Any:
    """An array of numpy, where scikit-learn is told to dispatch and X is one of another library."""
    if array_library_of(X) is None:
        return X
    return as_table(X) if isinstance(X, Tensor) else moved(X, np, "cpu")


def is_dispatched_tensor(X: Any) -> bool:
    """Whether X is a tensor that scikit-learn is told to leave where it is."""
    return isinstance(X, Tensor) and array_library_of(X) is not None


def in_kind(method: Method) -> Method:
    """Let a method of a table take arrays of other libraries, and give its result as one of them."""

    @wraps(method)
    def of_any_array(self: Any, X: Any, *args: Any, **options: Any) -> Any:
        origin = Origin.of(X)
        result = _called_on_host(method, self, X, *args, **options)
        return result if origin is None else origin.back(result)

    return of_any_array


def as_it_came(method: Method) -> Method:
    """The same, where the estimator applies its model to tensors without a way over the host."""

    @wraps(method)
    def of_any_array(self: Any, X: Any) -> Any:
        origin = Origin.of(X)
        if origin is None:
            return method(self, X)
        keeps = isinstance(X, Tensor) and getattr(self, "_takes_tensors", False)
        return origin.back(method(self, X.detach() if keeps else on_host(X)))

    return of_any_array


def fits_in_kind(fit: Method) -> Method:
    """Let a fit take arrays of other libraries: it reads them on the host, and its results follow them."""

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
