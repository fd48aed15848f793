"""What is done to the input: a denoising autoencoder sees a damaged row and is to put out the clean one (Vincent et al., 2008).

A corruption is a frozen dataclass, ``corruption(x, generator, columns)``; bound to the columns of the training rows it is
``(x, generator) -> x``. Every cell is damaged, or not, by itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Columns:
    """What a corruption may know of each column of the training rows, on the scale of the networks; ``(n_columns,)`` each."""

    mean: Tensor
    lowest: Tensor
    highest: Tensor


BoundCorruption = Callable[[Tensor, torch.Generator | None], Tensor]


@dataclass(frozen=True)
class Corruption:
    """Damage to the input of which ``level`` says how much, a share of the cells where not said otherwise."""

    level: float = 0.1
    highest_level: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not _is_number(self.level):
            raise TypeError(f"{type(self).__name__}: level={self.level!r} must be a number.")
        if not (0 <= self.level <= self.highest_level and self.level < math.inf):
            raise ValueError(f"{type(self).__name__}: level={self.level!r} must lie between 0 and {self.highest_level:g}.")

    def __call__(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Add normal noise to every cell.

    Parameters
    ----------
    level : float, default=0.1
        Standard deviation of the noise, of standardised columns. With ``standardize=False`` in root mean square deviations of
        all columns, with ``likelihood="bernoulli"`` in units of the input.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, GaussianNoise
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(2, corruption=GaussianNoise(0.5), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    highest_level: ClassVar[float] = math.inf

    def __call__(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        return x + self.level * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


@dataclass(frozen=True)
class Masking(Corruption):
    """Replace cells by the mean of their column, as if they were not known.

    Parameters
    ----------
    level : float, default=0.1
        Share of the cells.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, Masking
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(2, corruption=Masking(0.3), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    def __call__(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        return torch.where(_uniform(x, generator) < self.level, columns.mean, x)


@dataclass(frozen=True)
class SaltAndPepper(Corruption):
    """Replace cells by the lowest or the highest value of their column among the training rows, with equal odds.

    Parameters
    ----------
    level : float, default=0.1
        Share of the cells.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, SaltAndPepper
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(2, corruption=SaltAndPepper(0.2), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    def __call__(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        draw = _uniform(x, generator)
        extreme = torch.where(draw < self.level / 2, columns.lowest, columns.highest)
        return torch.where(draw < self.level, extreme, x)


@dataclass(frozen=True)
class SwapNoise(Corruption):
    """Replace cells by those of other rows, in the same column.

    What comes in is plausible for the column, whatever its distribution; only its row is wrong. Each cell has a donor of its
    own, drawn from the rows of the batch, so that no two swapped cells of a row tell of each other. It may draw itself: in a
    batch of n rows a share of 1 / n of the swaps changes nothing.

    Parameters
    ----------
    level : float, default=0.1
        Share of the cells.

    References
    ----------
    P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol (2008). Extracting and composing robust features with denoising
    autoencoders. ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, SwapNoise
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(2, corruption=SwapNoise(0.15), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    def __call__(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        donors = torch.randint(len(x), x.shape, generator=generator, device=x.device)
        return torch.where(_uniform(x, generator) < self.level, x.gather(0, donors), x)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _uniform(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
