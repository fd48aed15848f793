"""Graphs of likelihoods: expected cells and scores, found by type."""

from functools import singledispatch

import numpy as np
import torch

from skvae._export.graph import Value, concatenate, where
from skvae._export.networks import array
from skvae.core.likelihoods import FLAGGED, Bernoulli, Categorical, Likelihood, Mixed, NormalCells


def _refusal(likelihood: Likelihood) -> NotImplementedError:
    return NotImplementedError(f"The likelihood {type(likelihood).__name__} has no ONNX operators.")


@singledispatch
def mean(likelihood: Likelihood, params: Value) -> Value:
    """The expected cell of each column."""
    raise _refusal(likelihood)


@singledispatch
def log_prob(likelihood: Likelihood, params: Value, target: Value) -> Value:
    """Log-probability of every cell; arbitrary for missing cells."""
    raise _refusal(likelihood)


@singledispatch
def expectation(likelihood: Likelihood, params: Value) -> Value:
    """The expectation, one number per parameter; by default the mean."""
    return mean(likelihood, params)


@singledispatch
def cells(likelihood: Likelihood, expectation: Value) -> Value:
    """The cells that an expectation stands for; by default the expectation itself."""
    return expectation


# Normal cells


@mean.register
def _(likelihood: NormalCells, params: Value) -> Value:
    return params


@log_prob.register
def _(likelihood: NormalCells, params: Value, target: Value) -> Value:
    with torch.no_grad():
        factor = -0.5 / likelihood.variance
        constant = 0.5 * torch.log(factor / -torch.pi)
    error = params - target
    return error * error * array(factor) + array(constant)


# Cells between 0 and 1


@mean.register
def _(likelihood: Bernoulli, params: Value) -> Value:
    return params.apply("Sigmoid")


@log_prob.register
def _(likelihood: Bernoulli, params: Value, target: Value) -> Value:
    return params * target - params.apply("Relu") - ((-abs(params)).exp() + 1.0).log()


# Levels


@mean.register
def _(likelihood: Categorical, params: Value) -> Value:
    return cells(likelihood, params)


@log_prob.register
def _(likelihood: Categorical, params: Value, target: Value) -> Value:
    picked = params.picked(target.astype(np.int64) + array(likelihood.first))
    return picked - _block(likelihood, params).logsumexp(2)


@expectation.register
def _(likelihood: Categorical, params: Value) -> Value:
    total = _block(likelihood, params).logsumexp(2)
    return (params - total.columns(array(likelihood.column))).exp()


@cells.register
def _(likelihood: Categorical, expectation: Value) -> Value:
    return _block(likelihood, expectation).argmax(2).astype(expectation.dtype)


def _block(likelihood: Categorical, params: Value) -> Value:
    """Parameters as a block, ``(n_rows, n_columns, largest number of categories)``, padded with minus infinity."""
    block = params.columns(array(likelihood.place)).reshape(-1, *likelihood.filled_up.shape)
    return where(params.graph.constant(array(likelihood.filled_up)), -np.inf, block)


# Columns of several kinds


@mean.register
def _(likelihood: Mixed, params: Value) -> Value:
    parts = [mean(part.likelihood, params.columns(array(part.params))) for part in likelihood.parts]
    return concatenate(parts).columns(array(likelihood.back))


@expectation.register
def _(likelihood: Mixed, params: Value) -> Value:
    parts = [expectation(part.likelihood, params.columns(array(part.params))) for part in likelihood.parts]
    return concatenate(parts).columns(array(likelihood.back_params))


@cells.register
def _(likelihood: Mixed, expectation: Value) -> Value:
    parts = [cells(part.likelihood, expectation.columns(array(part.params))) for part in likelihood.parts]
    return concatenate(parts).columns(array(likelihood.back))


@log_prob.register
def _(likelihood: Mixed, params: Value, target: Value) -> Value:
    known = where(target.isnan(), 0.0, target)
    parts = [
        log_prob(part.likelihood, params.columns(array(part.params)), known.columns(array(part.columns)))
        for part in likelihood.parts
    ]
    scores = concatenate(parts).columns(array(likelihood.back))
    if not len(likelihood.flags):
        return scores
    flagged, flag = array(likelihood.flags).T
    is_flagged = target.columns(flag) >= FLAGGED
    hidden = np.isin(np.arange(likelihood.n_columns), flagged)
    flag_of = np.zeros(likelihood.n_columns, dtype=np.int64)
    flag_of[flagged] = np.arange(len(flagged))
    return where(is_flagged.columns(flag_of) & hidden, 0.0, scores)
