"""Graphs of a ``Fitted``: from cells in the units of the input to codes, cells and scores."""

import numpy as np

from skvae._export import likelihoods, marginals, models
from skvae._export.graph import Value, where
from skvae._export.networks import array
from skvae._fitted import Fitted


def read(fitted: Fitted, rows: Value) -> Value:
    """Rows, with NaN in columns that were empty at fit."""
    is_empty = np.isnan(fitted.scaling.mean)[: len(fitted.is_number)]
    return without(rows, is_empty)


def without(rows: Value, columns: np.ndarray) -> Value:
    """Rows, with NaN in some columns."""
    return where(rows.graph.constant(columns), np.nan, rows) if columns.any() else rows


def scaled(fitted: Fitted, rows: Value) -> Value:
    """Rows as the networks see them, in their dtype."""
    normal = (marginals.normal(fitted.marginals, rows) - fitted.scaling.mean) / fitted.scaling.scale
    return normal.astype(_dtype(fitted))


def codes(fitted: Fitted, rows: Value) -> Value:
    """The code of each row."""
    return models.encoded(fitted.module, scaled(fitted, rows))


def reconstructed(fitted: Fitted, rows: Value) -> Value:
    """Each row decoded from its own code, in the units of the input."""
    normal = _unscaled(fitted, models.reconstructed(fitted.module, scaled(fitted, rows)))
    return marginals.medians(fitted.marginals, normal)


def scores(fitted: Fitted, rows: Value, n_draws: int) -> Value:
    """Log-likelihood of each row, ``(n_rows, 1)``; by importance weighting if the model has a posterior."""
    x = scaled(fitted, rows)
    if fitted.module.bottleneck.has_posterior:
        weights = models.log_weights(fitted.module, x, array(fitted.noise(n_draws)), fitted.beta)
        of_row = weights.astype(np.float64).logsumexp(1, keepdims=True) - np.log(n_draws)
    else:
        of_row = models.log_prob(fitted.module, x).astype(np.float64).sum(1, keepdims=True)
    of_scaling, of_marginals = _log_scales(fitted, rows), marginals.log_jacobians(fitted.marginals, rows)
    of_row = of_row - of_scaling.sum(1, keepdims=True)
    return of_row if of_marginals is None else of_row + of_marginals.sum(1, keepdims=True)


def score_cells(fitted: Fitted, rows: Value) -> Value:
    """Log-likelihood of each cell given the code of its row; NaN if it is missing."""
    of_normal = models.log_prob(fitted.module, scaled(fitted, rows)).astype(np.float64) - _log_scales(fitted, rows)
    result, of_marginals = marginals.folded(fitted.marginals, of_normal), marginals.log_jacobians(fitted.marginals, rows)
    return where(rows.isnan(), np.nan, result if of_marginals is None else result + of_marginals)


def expected_jointly(models_: list[Fitted], rows: Value) -> Value:
    """The cells expected given each row, averaged over several models of one table."""
    first, *others = models_
    joint = models.expected_of(first.module, scaled(first, rows)).astype(np.float64)
    for each in others:
        joint = joint + models.expected_of(each.module, scaled(each, rows)).astype(np.float64)
    cells = likelihoods.cells(first.module.likelihood, (joint / float(len(models_))).astype(_dtype(first)))
    deviations = np.mean([each.deviations for each in models_], axis=0)
    return marginals.means(first.marginals, _unscaled(first, cells), deviations)


def _log_scales(fitted: Fitted, rows: Value) -> Value:
    """Logarithm of the scale of every scored cell; zero if the cell is missing."""
    is_missing = marginals.scored(fitted.marginals, rows).isnan()
    return where(is_missing, rows.graph.constant(0.0), np.log(fitted.scaling.scale))


def _unscaled(fitted: Fitted, cells: Value) -> Value:
    scaling = fitted.scaling
    inside = cells.astype(np.float64) * scaling.scale + scaling.mean
    return inside if scaling.varies.all() else where(cells.graph.constant(scaling.varies), inside, scaling.mean)


def _dtype(fitted: Fitted) -> np.dtype:
    return array(next(fitted.module.parameters())).dtype
