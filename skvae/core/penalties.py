"""Penalties that are added to the reconstruction loss.

A penalty is a frozen dataclass with a ``weight``. Called with a ``Pass`` of rows through the networks, it returns the penalty
of each row, ``(n_rows,)``, before the weight.

A penalty on the size of the code alone could be evaded by a smaller code and a decoder that magnifies it. Therefore no penalty
here depends on the units of the code. Penalties on sizes measure how far a component moves the reconstruction. Penalties on
slopes measure them in standard deviations of the component.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

EXACT = 16  # number of components up to which the whole Jacobian is computed
SILENT = 1e-6  # lower rates of activation count as this one
STILL = 1e-6  # standard deviation, relative to its size, below which a component counts as constant


@dataclass(frozen=True)
class Pass:
    """One forward pass of a batch, as far as penalties can see it."""

    input: Tensor  # (n_rows, n_columns), as the encoder saw it
    hidden: list[Tensor]  # activations of the encoder's hidden layers, input side first
    code: Tensor  # (n_rows, n_components)
    weight: Tensor | None  # of each row
    encode: Callable[[Tensor], Tensor]  # from input to code
    decode: Callable[[Tensor], Tensor]  # from code to the parameters of the likelihood
    generator: torch.Generator | None

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean over rows."""
        if self.weight is None:
            return values.mean(0)
        return (values * self.weight[:, None]).sum(0) / self.weight.sum()

    def probe_decoder(self) -> Tensor:
        """``u' J`` of each row, with J the Jacobian of the decoder and u standard normal, ``(n_rows, n_components)``.

        Each entry is normal with mean 0. Its standard deviation is the norm of that column of J: how far the reconstruction
        moves per unit of the component.
        """
        params, pull_back = torch.func.vjp(self.decode, self.code)[:2]
        noise = torch.randn(params.shape, generator=self.generator, dtype=params.dtype, device=params.device)
        return pull_back(noise)[0]


@dataclass(frozen=True)
class Penalty:
    """Base class of penalties."""

    weight: float = 0.1

    def __post_init__(self) -> None:
        if not _is_number(self.weight):
            raise TypeError(f"{type(self).__name__}: weight={self.weight!r} must be a number.")
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"{type(self).__name__}: weight={self.weight!r} must be a finite number, 0 or more.")

    @property
    def bounded(self) -> tuple[str, ...]:
        """Parameters of the estimator that must be set to an activation between 0 and 1."""
        return ()

    def bound(self, n_components: int, n_hidden: int) -> "Penalty":
        """The penalty for a code of this size and this number of hidden layers in the encoder."""
        return self

    def __call__(self, of: Pass) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class L1(Penalty):
    """Penalise how far each component moves the reconstruction, so that each row uses few components.

    The penalty is ``sum_j |z_j| ||D_j||``, where D_j is the derivative of the decoder by component j at the code of the row.
    For a linear decoder this is sparse coding with atoms of unit length. Entries of the code become small; with
    ``code_activation="relu"`` most become exactly zero.

    Parameters
    ----------
    weight : float, default=0.1
        Weight of the penalty relative to the reconstruction loss. The default was set on images of digits, where it makes both
        terms about equally large. On other tables, search orders of magnitude around it.

    References
    ----------
    B. A. Olshausen, D. J. Field (1996). Emergence of simple-cell receptive field properties by learning a sparse code for
    natural images. Nature 381.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, L1
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(10, penalty=L1(0.1), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 10)
    """

    def __call__(self, of: Pass) -> Tensor:
        return math.sqrt(math.pi / 2) * (of.code * of.probe_decoder()).abs().sum(1)


@dataclass(frozen=True)
class L2(Penalty):
    """Penalise the squared distance by which each component moves the reconstruction, which shrinks uncertain components.

    The penalty is ``sum_j z_j^2 ||D_j||^2``, where D_j is the derivative of the decoder by component j at the code of the row.

    Parameters
    ----------
    weight : float, default=0.1
        Weight of the penalty relative to the reconstruction loss. The default was set on images of digits, where it makes both
        terms about equally large. On other tables, search orders of magnitude around it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, L2
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(2, penalty=L2(0.1), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    def __call__(self, of: Pass) -> Tensor:
        return (of.code * of.probe_decoder()).square().sum(1)


@dataclass(frozen=True)
class KLSparsity(Penalty):
    """Penalise mean activations that differ from a target rate, so that each component is active in few rows.

    The penalty is ``sum_j t log(t / m_j) + (1 - t) log((1 - t) / (1 - m_j))``, where t is the target and m_j the mean
    activation over the rows of the batch (Ng, 2011). The code must be bounded: use ``code_activation="logistic"``.

    A code that hardly varies around the target would also meet it if the decoder magnified the code. ``decay`` penalises this
    with ``t (1 - t) sum_j ||D_j||^2``: the variance of the reconstruction if every component were fully on or off, and on at
    the target rate. It replaces the weight decay that usually accompanies this method.

    Parameters
    ----------
    weight : float, default=10.0
        Weight of the penalty relative to the reconstruction loss. The default was set on images of digits, where it makes both
        terms about equally large. On other tables, search orders of magnitude around it.
    target : float or tuple of float, default=0.05
        Target rate of activation, between 0 and 1. A tuple has one rate per entry of ``layer_weights``.
    layer_weights : tuple of float or None, default=None
        Relative weights of the encoder's layers: hidden layers first, the code last. None penalises the code only. Penalised
        hidden layers must also be bounded: use ``activation="logistic"``.
    decay : float, default=0.003
        Weight of the penalty for magnification, relative to the divergence.

    References
    ----------
    A. Ng (2011). Sparse autoencoder. CS294A lecture notes, Stanford University.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, KLSparsity
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> penalty = KLSparsity(10, target=0.1)
    >>> model = AutoencoderTransformer(
    ...     10, penalty=penalty, code_activation="logistic", **options
    ... )
    >>> model.fit_transform(load_iris().data).shape
    (150, 10)
    """

    weight: float = 10.0
    target: float | tuple[float, ...] = 0.05
    layer_weights: tuple[float, ...] | None = None
    decay: float = 0.003

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.target, tuple) or _is_number(self.target)):
            raise TypeError(f"KLSparsity: target={self.target!r} must be a number or a tuple of numbers.")
        if not (self.layer_weights is None or _is_tuple(self.layer_weights)):
            raise TypeError(f"KLSparsity: layer_weights={self.layer_weights!r} must be a tuple of numbers or None.")
        if not all(0 < target < 1 for target in self.targets):
            raise ValueError(f"KLSparsity: target={self.target!r} must lie strictly between 0 and 1, as a rate of activation.")
        if len(self.targets) not in (1, len(self.layer_weights or [1])):
            raise ValueError(
                f"KLSparsity: target={self.target!r} has {len(self.targets)} rates for {len(self.layer_weights or [1])} "
                f"layers (layer_weights={self.layer_weights!r}). Pass one rate per layer, or one number for all."
            )
        if not all(0 <= weight < math.inf for weight in self.layer_weights or ()):
            raise ValueError(f"KLSparsity: layer_weights={self.layer_weights!r} must be finite numbers, 0 or more.")
        if not 0 <= self.decay < math.inf:
            raise ValueError(f"KLSparsity: decay={self.decay!r} must be a finite number, 0 or more.")

    @property
    def targets(self) -> tuple[float, ...]:
        return self.target if isinstance(self.target, tuple) else (self.target,)

    @property
    def bounded(self) -> tuple[str, ...]:
        *hidden, code = self.layer_weights or (1.0,)
        return ("activation",) * any(hidden) + ("code_activation",) * bool(code)

    def bound(self, n_components: int, n_hidden: int) -> "KLSparsity":
        weights = (0.0,) * n_hidden + (1.0,) if self.layer_weights is None else self.layer_weights
        if len(weights) != n_hidden + 1:
            raise ValueError(
                f"KLSparsity: layer_weights={self.layer_weights!r} has {len(weights)} weights, but the encoder has "
                f"{n_hidden} hidden layer{'s' * (n_hidden != 1)} and the code; pass {n_hidden + 1} weights."
            )
        targets = self.targets * len(weights) if len(self.targets) == 1 else self.targets
        return replace(self, target=targets, layer_weights=weights)

    def __call__(self, of: Pass) -> Tensor:
        weights, t = self.layer_weights or (), self.targets[-1]
        charge = weights[-1] * self.decay * t * (1 - t) * of.probe_decoder().square().sum(1)
        for layer, weight, target in zip([*of.hidden, of.code], weights, self.targets, strict=True):
            if weight:
                charge = charge + weight * kl_of_rates(target, of.mean(layer)).sum()
        return charge


def kl_of_rates(target: float, rate: Tensor) -> Tensor:
    """Kullback-Leibler divergence of a Bernoulli variable of rate ``rate`` from one of rate ``target``, in nats."""
    rate = rate + (rate.clamp(SILENT, 1 - SILENT) - rate).detach()  # the gradient passes, so that a silent unit can recover
    return target * (math.log(target) - rate.log()) + (1 - target) * (math.log1p(-target) - torch.log1p(-rate))


@dataclass(frozen=True)
class Contractive(Penalty):
    """Penalise squared slopes of the encoder, so that the code changes little when the input leaves the data.

    The penalty is ``sum_j ||dz_j / dx||^2 / var(z_j)``, with x on the scale of the networks (standardised columns) and the
    variance over the rows of the batch. It is the squared Frobenius norm of the encoder's Jacobian (Rifai et al., 2011), with
    each component in units of its standard deviation. Use batches of more than a few rows; the penalty of a single row is
    zero. A training step takes two to four times as long.

    Parameters
    ----------
    weight : float, default=0.1
        Weight of the penalty relative to the reconstruction loss. The default was set on images of digits, where it makes both
        terms about equally large. On other tables, search orders of magnitude around it.
    n_probes : {"auto", "exact"} or int, default="auto"
        ``"exact"`` computes the whole Jacobian, with one backward pass per component. An integer estimates the norm without
        bias from that many random directions per row (Hutchinson, 1990). ``"auto"`` is exact up to 16 components and uses one
        direction beyond. The attribute ``penalties_`` of the estimator shows the choice.

    References
    ----------
    S. Rifai, P. Vincent, X. Muller, X. Glorot, Y. Bengio (2011). Contractive auto-encoders: explicit invariance during feature
    extraction. ICML.

    M. F. Hutchinson (1990). A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines.
    Communications in Statistics 19.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, Contractive
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(2, penalty=Contractive(0.3), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    n_probes: str | int = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_probes not in ("auto", "exact") and not _is_count(self.n_probes):
            raise ValueError(f'Contractive: n_probes={self.n_probes!r} must be "auto", "exact" or a positive integer.')

    def bound(self, n_components: int, n_hidden: int) -> "Contractive":
        if self.n_probes != "auto":
            return self
        return replace(self, n_probes="exact" if n_components <= EXACT else 1)

    def __call__(self, of: Pass) -> Tensor:
        if len(of.input) == 1:
            return 0 * of.code.sum(1)  # a single row has no standard deviation
        code, pull_back = torch.func.vjp(of.encode, of.input)[:2]
        variance = of.mean((code - of.mean(code)).square())
        unit = (variance + STILL**2 * of.mean(code.square()) + STILL**4).rsqrt()
        if isinstance(self.n_probes, str):
            directions = torch.diag(unit)[:, None].expand(-1, len(code), -1)
            return torch.func.vmap(pull_back)(directions)[0].square().sum((0, 2))
        noise = torch.randn(self.n_probes, *code.shape, generator=of.generator, dtype=code.dtype, device=code.device)
        return torch.func.vmap(pull_back)(noise * unit)[0].square().sum((0, 2)) / self.n_probes


def _is_count(value: Any) -> bool:
    return value is not True and isinstance(value, Integral) and int(value) >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _is_tuple(value: Any) -> bool:
    return isinstance(value, tuple)
