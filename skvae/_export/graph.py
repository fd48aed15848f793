"""ONNX graphs under construction: values with the operators of numpy arrays, each of which adds a node.

This module does not need onnx. A graph is a list of nodes and a dictionary of constants. They become a model or are passed to
skl2onnx.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

ELEMENTS = {"float32": 1, "int64": 7, "object": 8, "bool": 9, "float64": 11}  # ONNX's numbers of dtypes; object is text
ML = "ai.onnx.ml"


@dataclass(frozen=True)
class Node:
    """An operator with the names of its inputs and outputs."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str
    attributes: dict[str, Any]


class Graph:
    """Nodes in the order of computation, and constants by name.

    Parameters
    ----------
    prefix : str
        Prefix of all generated names.
    """

    def __init__(self, prefix: str = "skvae/") -> None:
        self.prefix = prefix
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._numbers = count()

    def input(self, name: str, dtype: Any) -> "Value":
        """An input of the graph."""
        return Value(self, name, np.dtype(dtype))

    def constant(self, array: Any, dtype: Any = None) -> "Value":
        """A constant; equal constants are stored once."""
        array = np.ascontiguousarray(array, dtype=dtype).reshape(np.shape(array))  # scalars stay scalars
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            value = Value(self, self._new_name(), array.dtype)
            self.constants[value.name], self._known[key] = array, value
        return self._known[key]

    def apply(self, op: str, *inputs: "Value", dtypes: Sequence[Any], domain: str = "", **attributes: Any) -> list["Value"]:
        """Add an operator; its outputs, one per dtype."""
        outputs = [Value(self, self._new_name(), np.dtype(dtype)) for dtype in dtypes]
        self._add(op, inputs, tuple(value.name for value in outputs), domain, attributes)
        return outputs

    def output(self, value: "Value", name: str) -> None:
        """Name a value as an output of the graph."""
        self._add("Identity", (value,), (name,))

    def _add(
        self, op: str, inputs: Sequence["Value"], outputs: tuple[str, ...], domain: str = "", attributes: Any = None
    ) -> None:
        self.nodes.append(Node(op, tuple(value.name for value in inputs), outputs, domain, attributes or {}))

    def _new_name(self) -> str:
        return f"{self.prefix}{next(self._numbers)}"


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor in a graph. Numbers and arrays that it is combined with become constants of its dtype."""

    graph: Graph
    name: str
    dtype: np.dtype

    __array_ufunc__ = None  # so that an array on the left defers to the operator of the value

    def apply(self, op: str, *others: Any, dtype: Any = None, domain: str = "", **attributes: Any) -> "Value":
        """Apply an operator with one output, by default of the dtype of the value."""
        inputs = [self, *map(self.like, others)]
        return self.graph.apply(op, *inputs, dtypes=[dtype or self.dtype], domain=domain, **attributes)[0]

    def like(self, other: Any) -> "Value":
        """Another value, or a constant in the dtype of this one."""
        return other if isinstance(other, Value) else self.graph.constant(other, self.dtype)

    def __add__(self, other: Any) -> "Value":
        return self.apply("Add", other)

    def __radd__(self, other: Any) -> "Value":
        return self.like(other).apply("Add", self)

    def __sub__(self, other: Any) -> "Value":
        return self.apply("Sub", other)

    def __rsub__(self, other: Any) -> "Value":
        return self.like(other).apply("Sub", self)

    def __mul__(self, other: Any) -> "Value":
        return self.apply("Mul", other)

    def __rmul__(self, other: Any) -> "Value":
        return self.like(other).apply("Mul", self)

    def __truediv__(self, other: Any) -> "Value":
        return self.apply("Div", other)

    def __rtruediv__(self, other: Any) -> "Value":
        return self.like(other).apply("Div", self)

    def __matmul__(self, other: Any) -> "Value":
        return self.apply("MatMul", other)

    def __neg__(self) -> "Value":
        return self.apply("Neg")

    def __lt__(self, other: Any) -> "Value":
        return self.apply("Less", other, dtype=bool)

    def __le__(self, other: Any) -> "Value":
        return self.apply("LessOrEqual", other, dtype=bool)

    def __gt__(self, other: Any) -> "Value":
        return self.apply("Greater", other, dtype=bool)

    def __ge__(self, other: Any) -> "Value":
        return self.apply("GreaterOrEqual", other, dtype=bool)

    def __and__(self, other: Any) -> "Value":
        return self.apply("And", other)

    def __or__(self, other: Any) -> "Value":
        return self.apply("Or", other)

    def __invert__(self) -> "Value":
        return self.apply("Not")

    def __abs__(self) -> "Value":
        return self.apply("Abs")

    def equals(self, other: Any) -> "Value":
        return self.apply("Equal", other, dtype=bool)

    def isnan(self) -> "Value":
        return self.apply("IsNaN", dtype=bool)

    def exp(self) -> "Value":
        return self.apply("Exp")

    def log(self) -> "Value":
        return self.apply("Log")

    def sqrt(self) -> "Value":
        return self.apply("Sqrt")

    def clip(self, lowest: Any, highest: Any) -> "Value":
        return self.apply("Max", lowest).apply("Min", highest)

    def astype(self, dtype: Any) -> "Value":
        dtype = np.dtype(dtype)
        return self if dtype == self.dtype else self.apply("Cast", dtype=dtype, to=ELEMENTS[dtype.name])

    def columns(self, index: Any, axis: int = 1) -> "Value":
        """The columns, or entries along another axis, at these places."""
        return self.apply("Gather", self.graph.constant(index, np.int64), axis=axis)

    def at(self, index: "Value") -> "Value":
        """Rows at places that are given by a value, in its shape."""
        return self.apply("Gather", index, axis=0)

    def picked(self, index: "Value", axis: int = 1) -> "Value":
        """One entry per place along an axis, as in ``numpy.take_along_axis``."""
        return self.apply("GatherElements", index, axis=axis)

    def reshape(self, *shape: int) -> "Value":
        return self.apply("Reshape", self.graph.constant(shape, np.int64))

    def expand_dims(self, axis: int) -> "Value":
        return self.apply("Unsqueeze", self.graph.constant([axis], np.int64))

    def repeat(self, *shape: int) -> "Value":
        """Broadcast axes of length one to a shape."""
        return self.apply("Expand", self.graph.constant(shape, np.int64))

    def sum(self, axis: int, keepdims: bool = False) -> "Value":
        return self._reduced("ReduceSum", axis, keepdims)

    def mean(self, axis: int, keepdims: bool = False) -> "Value":
        return self._reduced("ReduceMean", axis, keepdims)

    def logsumexp(self, axis: int, keepdims: bool = False) -> "Value":
        return self._reduced("ReduceLogSumExp", axis, keepdims)

    def _reduced(self, op: str, axis: int, keepdims: bool) -> "Value":
        return self.apply(op, self.graph.constant([axis], np.int64), keepdims=int(keepdims))

    def argmax(self, axis: int) -> "Value":
        return self.apply("ArgMax", dtype=np.int64, axis=axis, keepdims=0)

    def largest(self, n: int, axis: int = -1, largest: bool = True) -> "Value":
        """Places of the ``n`` largest or smallest entries, in order; among equal entries the first."""
        inputs = (self, self.graph.constant([n], np.int64))
        return self.graph.apply("TopK", *inputs, dtypes=[self.dtype, np.int64], axis=axis, largest=int(largest))[1]


def where(condition: Value, value: Any, other: Any) -> Value:
    """One of two values, cell by cell; at least one of them must be a ``Value``."""
    some = value if isinstance(value, Value) else other
    return condition.apply("Where", some.like(value), some.like(other), dtype=some.dtype)


def concatenate(values: Sequence[Value], axis: int = 1) -> Value:
    """Values side by side."""
    first, *others = values
    return first.apply("Concat", *others, axis=axis) if others else first


def with_columns(value: Value, index: np.ndarray, columns: Value, n_columns: int) -> Value:
    """The value, with some columns replaced."""
    order = np.arange(n_columns)
    order[index] = n_columns + np.arange(len(index))
    return concatenate([value, columns]).columns(order)


def take(tables: np.ndarray, index: Value) -> Value:
    """Entries ``tables[j, index[:, j]]``, for an index of shape ``(n_rows, n_columns)``."""
    n_columns, size = tables.shape
    flat = index.graph.constant(tables.ravel())
    return flat.at(index + np.arange(n_columns) * size)


def count_below(columns: Sequence[np.ndarray], values: Value, inclusive: bool) -> Value:
    """How many entries of each sorted column are below the values, or with ``inclusive`` at most equal; 0 for NaN.

    This is ``numpy.searchsorted`` for all columns at once: a binary search whose steps are unrolled.
    """
    n_steps = max(1, *(len(column).bit_length() for column in columns))
    padded = np.full((len(columns), 1 << n_steps), np.nan, dtype=values.dtype)
    for row, column in zip(padded, columns, strict=True):
        row[: len(column)] = column
    table, first = values.graph.constant(padded.ravel()), np.arange(len(columns)) << n_steps
    place = values.graph.constant(first)
    for step in (1 << np.arange(n_steps))[::-1].tolist():
        probe = table.at(place + (step - 1))
        is_below = probe <= values if inclusive else probe < values
        place = place + is_below.astype(np.int64) * step
    return place - first
