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
    """``get_params`` and ``set_params`` that know ``penalty__weight``, for pieces that are frozen."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; ``deep`` adds those of the corruption and the penalty, as ``penalty__weight``.

        Parameters
        ----------
        deep : bool, default=True

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
        """Set parameters, those of the corruption and the penalty as ``penalty__weight``.

        Parameters
        ----------
        **params : dict
            A nested parameter replaces the object by a changed one, so that other estimators that hold it do not change.

        Returns
        -------
        self : object
        """
        nested = {key: params.pop(key) for key in list(params) if key.partition("__")[0] in PIECES and "__" in key}
        super().set_params(**params)
        changes: dict[str, dict[str, Any]] = {name: {} for name in PIECES}
        for key, value in nested.items():
            name, _, field = key.partition("__")
            piece = getattr(self, name)
            if not isinstance(piece, Corruption | Penalty) or field not in {f.name for f in fields(piece)}:
                raise ValueError(
                    f"Invalid parameter {key!r}: {name}={piece!r} has no {field!r}. Only a single object has nested "
                    "parameters, such as skvae.Masking(0.1) or skvae.L1(0.1); names and tuples are searched as a whole."
                )
            changes[name][field] = value
        for name, fields_of_it in changes.items():
            if fields_of_it:
                setattr(self, name, replace(getattr(self, name), **fields_of_it))
        return self
