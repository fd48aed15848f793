"""Parameters that may be objects with parameters of their own, and how a search reaches these."""

from dataclasses import fields, replace
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator

from skvae._fit.settings import Corruption, Penalty

PIECES = ("corruption", "penalty")


class Documented(BaseEstimator):
    """An estimator whose diagram in a notebook links to its reference."""

    _doc_link_module: ClassVar[str] = "skvae"
    _doc_link_template: ClassVar[str] = "https://skvae.github.io/skvae/api/skvae.{estimator_name}.html"


class NestedParameters(Documented):
    """``get_params`` and ``set_params`` with nested parameters, such as ``penalty__weight``, of immutable objects."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of the corruption and the penalty, such as ``penalty__weight``.

        Returns
        -------
        params : dict
        """
        params = super().get_params(deep)
        if not deep:
            return params
        pieces = {name: params[name] for name in PIECES if isinstance(params.get(name), Corruption | Penalty)}
        return params | {f"{name}__{f.name}": getattr(piece, f.name) for name, piece in pieces.items() for f in fields(piece)}

    def set_params(self, **params: Any) -> Self:
        """Set parameters, including those of the corruption and the penalty.

        Parameters
        ----------
        **params : dict
            Parameters by name. A nested parameter such as ``penalty__weight`` replaces the penalty by a changed copy, so that
            other estimators with the same penalty do not change.

        Returns
        -------
        self : object
            The estimator.
        """
        nested = {key: params.pop(key) for key in list(params) if key.partition("__")[0] in PIECES and "__" in key}
        super().set_params(**params)
        changes: dict[str, dict[str, Any]] = {name: {} for name in PIECES}
        for key, value in nested.items():
            name, _, field = key.partition("__")
            piece = getattr(self, name)
            if not isinstance(piece, Corruption | Penalty) or field not in {f.name for f in fields(piece)}:
                raise ValueError(
                    f"Invalid parameter {key!r}: {name}={piece!r} has no {field!r}. Set {name} to an object with this "
                    "parameter, such as skvae.Masking(0.1) or skvae.L1(0.1); names and tuples have no nested parameters."
                )
            changes[name][field] = value
        for name, fields_of_it in changes.items():
            if fields_of_it:
                setattr(self, name, replace(getattr(self, name), **fields_of_it))
        return self
