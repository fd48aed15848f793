"""Graphs of bottlenecks, from encoder outputs to codes, found by type."""

from functools import singledispatch

import numpy as np

from skvae._export.graph import Value, where
from skvae.core.bottlenecks import OFF, Bottleneck, Dense, GaussianPosterior, TopK


@singledispatch
def code_of(bottleneck: Bottleneck, h: Value, n_components: int) -> Value:
    """The code of each row in inference."""
    raise NotImplementedError(f"The bottleneck {type(bottleneck).__name__} has no ONNX operators.")


@code_of.register
def _(bottleneck: Dense, h: Value, n_components: int) -> Value:
    return h


@code_of.register
def _(bottleneck: TopK, h: Value, n_components: int) -> Value:
    kept = abs(h).largest(bottleneck.n_nonzero)
    is_kept = kept.expand_dims(2).equals(np.arange(n_components)).astype(np.int64).sum(1) > 0
    return where(is_kept, h, 0.0)


@code_of.register
def _(bottleneck: GaussianPosterior, h: Value, n_components: int) -> Value:
    return h.columns(np.arange(n_components))


def codes_at(h: Value, n_components: int, noise: np.ndarray, beta: float) -> tuple[Value, Value]:
    """``GaussianPosterior.at``: codes for given noise, ``(n_rows, n_draws, n_components)``, and the log ratio of each."""
    mean, a = (h.columns(places).expand_dims(1) for places in np.arange(2 * n_components).reshape(2, -1))
    positive = a.apply("Relu")
    log_variance = a - positive + (positive + 1.0).log()
    if beta not in (0, 1):
        variance = log_variance.exp()
        says_something = variance < OFF
        total = where(says_something, variance + beta * (1.0 - variance), 1.0)
        mean = where(says_something, mean * beta / total, mean)
        log_variance = log_variance - total.log()
    code = mean + (0.5 * log_variance).exp() * noise
    return code, 0.5 * (noise**2 - code * code + log_variance).sum(2)
