"""The settings of a fit: names become objects, and contradictory settings are refused."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from skvae.core.bottlenecks import Bottleneck, Dense, GaussianPosterior, TopK
from skvae.core.corruptions import Corruption, GaussianNoise, Masking, SaltAndPepper, SwapNoise
from skvae.core.networks import ACTIVATIONS
from skvae.core.penalties import L1, L2, Contractive, KLSparsity, Penalty

__all__ = ["ACTIVATIONS", "CORRUPTIONS", "PENALTIES", "Corruption", "Masking", "Penalty", "Settings", "is_auto", "layer_sizes"]

CORRUPTIONS: dict[str, type[Corruption]] = {
    "gaussian": GaussianNoise,
    "masking": Masking,
    "salt_and_pepper": SaltAndPepper,
    "swap": SwapNoise,
}
PENALTIES: dict[str, type[Penalty]] = {"l1": L1, "l2": L2, "kl_sparsity": KLSparsity, "contractive": Contractive}
BOUNDED = {"logistic"}  # activations between 0 and 1, for which an activation rate is defined
OF_MIXED = Masking((0.0, 0.5))  # hides cells in training, so that rows with missing values get reliable codes


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train, as set by the user; None if the numbers of rows and columns decide."""

    batch_size: int | None
    max_iter: int | None
    learning_rate: str
    learning_rate_init: float | None
    weight_decay: float
    tol: float
    n_iter_no_change: int | None
    shuffle: bool

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "Schedule":
        """Read the schedule from the parameters of an estimator."""
        names = [field.name for field in fields(cls)]
        asked: dict[str, Any] = {name: None if is_auto(params[name]) else params[name] for name in names}
        return cls(**asked)


@dataclass(frozen=True, eq=False)
class Settings:
    """The parameters of an estimator, read once per fit, together with what its table holds.

    If a value may be None, the rows decide.

    Attributes
    ----------
    n_components : int, float or None
        Number of components, the share of the variance that PCA should explain, or None for as many as PCA has.
    hidden_layer_sizes, decoder_layer_sizes : tuple of int
    activation, code_activation : str
    from_pca : bool
        Whether networks have a linear path and start at the closed-form solution.
    standardize : bool
    likelihood : {"gaussian", "gaussian_diag", "mse", "bernoulli"} or None
        Likelihood of numeric columns.
    bottleneck : Bottleneck
    corruption : Corruption or None
        None is no corruption.
    penalties : tuple of Penalty
    support_fraction : float
        Share of each batch to learn from.
    beta, beta_warmup : float, int
    schedule : Schedule
    early_stopping : bool
    validation_fraction : float
    seed : int
    device : torch.device
    n_levels : ndarray of shape (n_columns,)
        0 for numbers, 1 for booleans, and the number of categories for other columns.
    column_of : ndarray of shape (n_columns,)
        First of the columns that are known or hidden together with each column.
    marked : bool
        Whether the encoder is told which cells are missing, and the likelihood skips them.
    """

    n_components: int | float | None
    hidden_layer_sizes: tuple[int, ...]
    decoder_layer_sizes: tuple[int, ...]
    activation: str
    code_activation: str
    from_pca: bool
    standardize: bool
    likelihood: str | None
    bottleneck: Bottleneck
    corruption: Corruption | None
    penalties: tuple[Penalty, ...]
    support_fraction: float
    beta: float
    beta_warmup: int
    schedule: Schedule
    early_stopping: bool
    validation_fraction: float
    seed: int
    device: torch.device
    n_levels: np.ndarray
    column_of: np.ndarray
    marked: bool

    @classmethod
    def of(
        cls,
        params: Mapping[str, Any],
        n_levels: np.ndarray,
        column_of: np.ndarray | None = None,
        *,
        variational: bool,
        is_complete: bool,
        has_held_out: bool,
        was_marked: bool | None,
        seed: int,
        device: torch.device,
    ) -> "Settings":
        """Read the parameters of an estimator.

        Parameters
        ----------
        params : mapping
            By the names of the estimator's parameters.
        n_levels : ndarray of shape (n_columns,)
            Of the table's columns.
        column_of : ndarray of shape (n_columns,), default=None
            First of the columns that are known or hidden together with each column; None is each by itself.
        variational : bool
            Whether the code has a posterior.
        is_complete : bool
            Whether no value is missing.
        has_held_out : bool
            Whether the caller passes rows to choose the number of epochs on.
        was_marked : bool or None
            ``marked`` of the fit that this one continues from; None for a new model.
        seed : int
        device : torch.device
        """
        hidden, decoder = layer_sizes(params)
        is_mixed = bool(n_levels.any())
        corruption = _as_corruption(params["corruption"], is_mixed)
        only_fills_in = corruption is not None and corruption.hidden_only
        marked = _as_before(is_mixed or not is_complete or only_fills_in, was_marked)
        settings = cls(
            n_components=params["n_components"],
            hidden_layer_sizes=hidden,
            decoder_layer_sizes=decoder,
            activation=params["activation"],
            code_activation=params.get("code_activation", "identity"),
            from_pca=params["init"] == "pca",
            standardize=bool(params["standardize"]),
            likelihood=_as_likelihood(params["likelihood"], variational, is_mixed, marked),
            bottleneck=_as_bottleneck(params.get("n_nonzero_coefs"), variational),
            corruption=corruption,
            penalties=_as_penalties(params["penalty"]),
            support_fraction=params["support_fraction"],
            beta=params.get("beta", 1.0),
            beta_warmup=params.get("beta_warmup", 0),
            early_stopping=_as_early_stopping(params["early_stopping"], has_held_out or marked or bool(hidden or decoder)),
            validation_fraction=params["validation_fraction"],
            schedule=Schedule.of(params),
            seed=seed,
            device=device,
            n_levels=n_levels,
            column_of=np.arange(len(n_levels)) if column_of is None else column_of,
            marked=marked,
        )
        settings._check_rates(params["penalty"])
        return settings

    @property
    def variational(self) -> bool:
        """Whether the code has a posterior."""
        return self.bottleneck.has_posterior

    @property
    def is_mixed(self) -> bool:
        """Whether there are columns other than numbers."""
        return bool(self.n_levels.any())

    @property
    def is_linear(self) -> bool:
        """Whether both networks are single layers."""
        return not self.hidden_layer_sizes and not self.decoder_layer_sizes

    @property
    def is_plain(self) -> bool:
        """Whether the input is not corrupted, the code not constrained and the loss not penalised."""
        untouched = self.corruption is None and not self.penalties
        return untouched and not self.bottleneck.keeps_largest and self.code_activation == "identity"

    @property
    def hides_cells(self) -> bool:
        """Whether a corruption hides observed cells from a model that is told so."""
        return self.marked and self.corruption is not None and self.corruption.hides

    @property
    def only_fills_in(self) -> bool:
        """Whether only hidden cells are scored."""
        return self.corruption is not None and self.corruption.hidden_only

    @property
    def is_solved_by_pca(self) -> bool:
        """Whether PCA, probabilistic PCA or factor analysis is the answer, so that nothing is trained.

        A linear network cannot express how uncertain the posterior of a row with missing values is.
        """
        if not (self.is_linear and self.is_plain and self.from_pca) or self.likelihood == "bernoulli":
            return False
        if self.marked:
            return not self.variational and not self.is_mixed
        return not (self.variational and self.likelihood == "gaussian_diag") or self.beta == 1

    @property
    def is_approximated_by_pca(self) -> bool:
        """Whether the closed-form solution is no more than a place to start from."""
        return self.is_mixed or (self.marked and self.corruption is not None)

    def penalties_for(self, n_components: int) -> tuple[Penalty, ...]:
        """The penalties as they are applied to a code of this size."""
        return tuple(penalty.bound(n_components, len(self.hidden_layer_sizes)) for penalty in self.penalties)

    def check(self, n_components: int) -> None:
        """Refuse settings that do not fit a code of this size."""
        if isinstance(self.bottleneck, TopK) and self.bottleneck.n_nonzero > n_components:
            raise ValueError(
                f"n_nonzero_coefs={self.bottleneck.n_nonzero!r} is more than the {n_components} components of the code; "
                "lower it, or raise n_components."
            )

    def _check_rates(self, penalty: Any) -> None:
        """Refuse penalties on activation rates if activations are not bounded; ``penalty`` is the user's value."""
        for name in dict.fromkeys(name for each in self.penalties for name in each.bounded):
            rate = f"penalty={penalty!r} needs activations between 0 and 1"
            if self.variational:
                raise ValueError(
                    f"{rate}, but a code with a normal posterior takes all values. Use AutoencoderTransformer, or another "
                    "penalty."
                )
            activation = getattr(self, name)
            if activation not in BOUNDED:
                raise ValueError(f'{rate}, but {name}={activation!r} has no such bounds. Set {name}="logistic".')


def layer_sizes(params: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths of the hidden layers of encoder and decoder; the decoder mirrors the encoder by default."""
    hidden, decoder = tuple(params["hidden_layer_sizes"]), params["decoder_layer_sizes"]
    return hidden, hidden[::-1] if decoder is None else tuple(decoder)


def is_auto(value: Any) -> bool:
    """Whether a parameter leaves its value to the estimator."""
    return isinstance(value, str) and value == "auto"


def _as_corruption(corruption: str | Corruption | None, is_mixed: bool) -> Corruption | None:
    """The corruption with this name and its default level, or the given object."""
    if not isinstance(corruption, str):
        return corruption
    if corruption == "auto":
        return OF_MIXED if is_mixed else None
    return CORRUPTIONS[corruption]()


def _as_penalties(penalty: str | Penalty | tuple[Penalty, ...] | None) -> tuple[Penalty, ...]:
    """The penalty with this name and its default weight, or the given objects."""
    if penalty is None:
        return ()
    if isinstance(penalty, str):
        return (PENALTIES[penalty](),)
    penalties = penalty if isinstance(penalty, tuple) else (penalty,)
    for each in penalties:
        if not isinstance(each, Penalty):
            raise TypeError(f"penalty={penalty!r} holds {each!r}; a tuple must hold objects such as skvae.L1(0.1).")
    return penalties


def _as_bottleneck(n_nonzero: int | None, variational: bool) -> Bottleneck:
    if variational:
        return GaussianPosterior()
    return Dense() if n_nonzero is None else TopK(int(n_nonzero))


def _as_likelihood(likelihood: str, variational: bool, is_mixed: bool, marked: bool) -> str | None:
    """The likelihood of numbers; None if held-out rows decide between one variance and one per column."""
    if likelihood != "auto":
        return likelihood
    if marked:
        return "gaussian_diag" if is_mixed or variational else "gaussian"
    return None if variational else "gaussian"


def _as_early_stopping(early_stopping: bool | str, automatic: bool) -> bool:
    return automatic if early_stopping == "auto" else bool(early_stopping)


def _as_before(marked: bool, was_marked: bool | None) -> bool:
    """Whether the encoder is told which values are missing, which an earlier fit decides for those that continue from it."""
    if was_marked is None:
        return marked
    if marked and not was_marked:
        raise ValueError(
            "Training cannot continue: the earlier fit's table was complete, so its model takes neither missing values in X or "
            "X_val nor cells that the corruption hides. Fill in the missing values, e.g. with the method impute, and restore "
            "the corruption; or refit with warm_start=False."
        )
    return was_marked
