"""Graphs of the encoder's input: features of cells, with missing ones filled in and marked."""

import numpy as np

from skvae._export.graph import Value, concatenate, where
from skvae._export.networks import array
from skvae.core.inputs import Inputs


def seen(inputs: Inputs, x: Value) -> Value:
    """The encoder's input for scaled rows."""
    is_observed = ~x.isnan()
    parts = [filled(inputs, features(inputs, x), is_observed.columns(array(inputs.column)))]
    if inputs.marked:
        parts.append(is_observed.astype(x.dtype))
    if inputs.told_level is not None:
        parts.append(is_observed.columns([0]).astype(x.dtype) * 0.0 + array(inputs.told_level.log()))
    return concatenate(parts)


def features(inputs: Inputs, x: Value) -> Value:
    """Features of every cell."""
    cell, is_cell = x.columns(array(inputs.column)), array(inputs.is_cell)
    if not is_cell.all():
        cell = where(x.graph.constant(is_cell), cell, cell.equals(array(inputs.level)).astype(x.dtype))
    return (cell - array(inputs.mean)) / array(inputs.unit)


def filled(inputs: Inputs, features: Value, is_observed: Value) -> Value:
    """Features with those that were not observed replaced by their conditional expectation.

    Sums have the precision of the model. The systems are solved in double precision, so that no other error is added.
    """
    loadings, centre = array(inputs.loadings), array(inputs.centre)
    n_features, n_factors = loadings.shape
    if n_factors == 0:
        return where(is_observed, features, centre)
    precision = is_observed.astype(features.dtype) / array(inputs.noise)
    deviations = where(is_observed, features - centre, 0.0)
    products = (loadings[:, :, None] * loadings[:, None]).reshape(n_features, -1)
    information = (precision @ products).reshape(-1, n_factors, n_factors) + np.eye(n_factors)
    right = ((precision * deviations) @ loadings).expand_dims(2)
    code = solved(information.astype(np.float64), right.astype(np.float64), n_factors).astype(features.dtype)
    return where(is_observed, features, code @ loadings.T + centre)


def solved(matrix: Value, right: Value, n: int) -> Value:
    """The solutions, ``(n_rows, n)``, of one linear system per row; ``matrix`` is symmetric and positive definite.

    Gauss-Jordan elimination needs no pivoting for such a matrix. Eliminated columns are dropped.
    """
    left = concatenate([matrix, right], axis=2)
    for i in range(n):
        pivot_row = left.columns([i])
        pivot_row = pivot_row.columns(np.arange(1, n + 1 - i), axis=2) / pivot_row.columns([0], axis=2)
        others = left.columns(np.arange(1, n + 1 - i), axis=2) - left.columns([0], axis=2) * pivot_row
        left = where(left.graph.constant(np.arange(n)[:, None] == i), pivot_row, others)
    return left.reshape(-1, n)
