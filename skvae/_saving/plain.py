"""Objects of the package as JSON text with a list of arrays, and back.

Objects are written as the name of their class and their attributes. Only the classes of the package are known, and those of
Python, pandas and polars that occur in tables, so a file cannot decide what is imported or called. Arrays and all other objects
are unchanged: skops and pickle write them in their own way.
"""

import json
from collections.abc import Iterable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from skvae import _fitted, _principal
from skvae._detector import clocks, known, levels, neighbours, oddness, pairs, ranks
from skvae._fit import further
from skvae._fitted import Fitted
from skvae._saving.form import Form
from skvae._saving.frames import DTYPE, OF_TABLES, POLARS_FRAME, form_of_table
from skvae._saving.modules import MODULES, OF_TORCH
from skvae._saving.shapes import check_shapes
from skvae._tables import columns, marginals, reservoir, rows, scaling, schema, spline, squashing, summary, texts
from skvae.core import bottlenecks, corruptions, penalties

FILES = (
    *(columns, marginals, reservoir, rows, scaling, schema, spline, squashing, summary, texts),
    *(clocks, known, levels, neighbours, oddness, pairs, ranks),
    *(bottlenecks, corruptions, penalties, further, _fitted, _principal),
)  # modules with classes that are saved
JSON = (type(None), bool, int, float, str)
KIND, PARTS, PLACE = "is", "of", "at"


def packed(value: Any) -> dict[str, Any]:
    """A value as text, and the arrays and foreign objects to which the text refers by position."""
    others: list[Any] = []

    def place_of(other: Any) -> dict[str, int]:
        others.append(other)
        return {PLACE: len(others) - 1}

    return {"text": json.dumps(_tree(value), default=place_of), "others": others}


def unpacked(state: dict[str, Any]) -> Any:
    """The value that was packed."""

    def whole(entry: dict[str, Any]) -> Any:
        return state["others"][entry[PLACE]] if PLACE in entry else FORMS[entry[KIND]].whole(entry[PARTS])

    return json.loads(state["text"], object_hook=whole)


def _tree(value: Any) -> Any:
    """The value as JSON types; objects without a known form are left as they are."""
    if type(value) in JSON:
        return value
    if type(value) is list:
        return [_tree(item) for item in value]
    form = BY_TYPE.get(type(value)) or form_of_table(value)
    if form is None or (form is OBJECTS and value.dtype != object):
        return value
    return {KIND: form.name, PARTS: _tree(form.parts(value))}


# Python's own containers


def _pairs(items: dict[Any, Any]) -> list[list[Any]]:
    return [[key, value] for key, value in items.items()]


def _in_order(items: Iterable[Any]) -> list[Any]:
    return sorted(items, key=repr)  # deterministic


def _objects(parts: list[Any]) -> np.ndarray:
    shape, items = parts
    result = np.empty(len(items), dtype=object)
    result[:] = items
    return result.reshape(shape)


OBJECTS = Form("ndarray", lambda array: [list(array.shape), array.ravel().tolist()], _objects)
CONTAINERS: dict[type, Form] = {
    tuple: Form("tuple", list, tuple),
    dict: Form("dict", _pairs, dict),
    set: Form("set", _in_order, set),
    frozenset: Form("frozenset", _in_order, frozenset),
    np.ndarray: OBJECTS,
}


# The package's own classes


def _classes_of(file: ModuleType) -> Iterable[type]:
    return (kind for kind in vars(file).values() if isinstance(kind, type) and kind.__module__ == file.__name__)


def _made(kind: type, state: dict[str, Any]) -> Any:
    """An object of a class with this state, without a call of its constructor."""
    made: Any = object.__new__(kind)
    if hasattr(kind, "__setstate__"):
        made.__setstate__(state)
    else:
        vars(made).update(state)
    if isinstance(made, Fitted):
        check_shapes(made)
    return made


OWN: dict[type, Form] = {kind: Form(kind.__name__, vars, partial(_made, kind)) for file in FILES for kind in _classes_of(file)}
BY_TYPE = CONTAINERS | OWN | MODULES | OF_TORCH | OF_TABLES
FORMS = {form.name: form for form in (*BY_TYPE.values(), DTYPE, POLARS_FRAME)}
