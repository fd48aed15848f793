"""What is charged beside the reconstruction.

A penalty is a frozen dataclass with a ``weight``; called with a ``Pass`` of rows through the networks it gives what each row is
charged, ``(n_rows,)``, before the weight.

A charge on the size of the code alone would be evaded by a smaller code and a decoder that magnifies it. So no penalty here
depends on the units of the code. Penalties on sizes measure what a component does to the reconstruction; penalties on slopes
measure them in the component's own standard deviation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

EXACT = 16  # components up to which a Jacobian is computed row by row of it
SILENT = 1e-6  # rate of activation below which a unit counts as one of this rate
STILL = 1e-6  # standard deviation, as a share of its size, below which a component does not move


@dataclass(frozen=True)
class Pass:
    """What a penalty may look at, of the rows of a batch."""

    input: Tensor  # (n_rows, n_columns), as the encoder saw it
    hidden: list[Tensor]  # activations of the encoder's hidden layers, input side first
    code: Tensor  # (n_rows, n_components)
    weight: Tensor | None  # of each row
    encode: Callable[[Tensor], Tensor]  # from input to code
    decode: Callable[[Tensor], Tensor]  # from code to the parameters of the likelihood
    generator: torch.Generator | None

    def mean(self, values: Tensor) -> Tensor:
        """Over rows, by their weights."""
        if self.weight is None:
            return values.mean(0)
        return (values * self.weight[:, None]).sum(0) / self.weight.sum()

    def probe_decoder(self) -> Tensor:
        """``u' J`` of each row, with J the Jacobian of the decoder and u standard normal, ``(n_rows, n_components)``.

        Normal with mean 0, and with the norm of each column of J as its standard deviation: how far the reconstruction moves
        per unit of that component.
        """
        params, pull_back = torch.func.vjp(self.decode, self.code)[:2]
        noise = torch.randn(params.shape, generator=self.generator, dtype=params.dtype, device=params.device)
        return pull_back(noise)[0]


@dataclass(frozen=True)
class Penalty:
    """What every penalty offers."""

    weight: float = 0.1

    def __post_init__(self) -> None:
        if not _is_number(self.weight):
            raise TypeError(f"{type(self).__name__}: weight={self.weight!r} must be a number.")
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"{type(self).__name__}: weight={self.weight!r} must be a finite number, 0 or more.")

    @property
    def bounded(self) -> tuple[str, ...]:
        """Parameters that must name an activation between 0 and 1."""
        return ()

    def bound(self, n_components: int, n_hidden: int) -> "Penalty":
        """What the penalty is for a code of this size and an encoder of so many hidden layers."""
        return self

    def __call__(self, of: Pass) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class L1(Penalty):
    """Sum over components of how far each moves the reconstruction, which leaves few of them in use per row.

    ``sum_j |z_j| ||D_j||``, with D_j the derivative of the decoder by component j at the row's code. For a linear decoder that
    is sparse coding with atoms of unit length. Entries become small; with ``code_activation="relu"`` most become exactly zero.

    Parameters
    ----------
    weight : float, default=0.1

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
    """Sum over components of the square by which each moves the reconstruction, which shrinks what is uncertain.

    ``sum_j z_j^2 ||D_j||^2``, with D_j the derivative of the decoder by component j at the row's code.

    Parameters
    ----------
    weight : float, default=0.1

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
    """Divergence of each component's mean activation from a target rate, so that each is on in few rows.

    ``sum_j t log(t / m_j) + (1 - t) log((1 - t) / (1 - m_j))``, with m_j the mean over the rows of the batch (Ng, 2011). The
    code must be bounded, ``code_activation="logistic"``.

    Codes that hardly move around the target would meet it as well, if the decoder magnified them. ``decay`` charges for that:
    ``t (1 - t) sum_j ||D_j||^2`` is the variance that the reconstruction would have if every component were fully on or off,
    on at the target rate, and stands for the weight decay that the method is used with.

    Parameters
    ----------
    weight : float, default=10.0
    target : float or tuple of float, default=0.05
        Rate, between 0 and 1. A tuple has one for each of ``layer_weights``.
    layer_weights : tuple of float or None, default=None
        Relative weights of the encoder's layers, hidden ones first, the code last. None charges the code alone. Hidden layers
        must be bounded too then, ``activation="logistic"``.
    decay : float, default=0.003
        Weight of the charge for magnifying, relative to that of the divergence.

    References
    ----------
    A. Ng (2011). Sparse autoencoder. CS294A lecture notes, Stanford University.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, KLSparsity
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(10, penalty=KLSparsity(10, target=0.1), code_activation="logistic", **options)
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
            raise ValueError(
                f"KLSparsity: target={self.target!r} must lie strictly between 0 and 1; it is a rate of activation."
            )
        if len(self.targets) not in (1, len(self.layer_weights or [1])):
            raise ValueError(
                f"KLSparsity: target={self.target!r} has {len(self.targets)} rates for {len(self.layer_weights or [1])} "
                f"layers, layer_weights={self.layer_weights!r}; give one for each, or one number for all."
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
                f"{n_hidden} hidden layer{'s' * (n_hidden != 1)} and the code; give {n_hidden + 1}."
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
    """Divergence of a Bernoulli variable of rate ``rate`` from one of rate ``target``, in nats."""
    rate = rate + (rate.clamp(SILENT, 1 - SILENT) - rate).detach()  # the gradient goes on, so that a silent unit can come back
    return target * (math.log(target) - rate.log()) + (1 - target) * (math.log1p(-target) - torch.log1p(-rate))


@dataclass(frozen=True)
class Contractive(Penalty):
    """Squared slopes of the code, so that it moves little where the input moves off the data (Rifai et al., 2011).

    ``sum_j ||dz_j / dx||^2 / var(z_j)``, with x on the scale of the networks (standardised columns) and the variance over the
    rows of the batch: the squared Frobenius norm of the encoder's Jacobian, with every component in its own standard deviation.
    That wants batches of more than a few rows; a single one is charged nothing. A step takes two to four times as long.

    Parameters
    ----------
    weight : float, default=0.1
    n_probes : {"auto", "exact"} or int, default="auto"
        ``"exact"`` computes the whole Jacobian, one pass backward per component. A number estimates the norm without bias from
        that many random directions (Hutchinson, 1990). ``"auto"`` is exact up to 16 components, and one direction per row
        beyond; the estimator's ``penalties_`` says which it was.

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
            raise ValueError(f'Contractive: n_probes={self.n_probes!r} must be "auto", "exact" or an integer of at least 1.')

    def bound(self, n_components: int, n_hidden: int) -> "Contractive":
        if self.n_probes != "auto":
            return self
        return replace(self, n_probes="exact" if n_components <= EXACT else 1)

    def __call__(self, of: Pass) -> Tensor:
        if len(of.input) == 1:
            return 0 * of.code.sum(1)  # a single row has no deviation to measure slopes in
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
