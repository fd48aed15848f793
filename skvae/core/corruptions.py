"""What is done to the input: a denoising autoencoder sees a damaged row and is to put out the clean one (Vincent et al., 2008).

A corruption is a frozen dataclass, ``corruption(x, generator, columns)``; bound to the columns of the training rows it is
``(x, generator) -> (damaged x, level of each row)``. The level is None where the encoder is not told of it. Every cell is
damaged, or not, by itself.
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

    blank: Tensor  # what stands for a cell that is not known: NaN where the model can tell, else the mean
    lowest: Tensor
    highest: Tensor
    numbers: Tensor | None = None  # 1 where the cells are numbers, 0 where they stand for levels; None where all are numbers
    together: Tensor | None = None  # first of the columns that a column is damaged together with; None where each is by itself

    def joined(self, draws: Tensor) -> Tensor:
        """Draws for each cell, the same for columns that belong together."""
        return draws if self.together is None else draws.index_select(1, self.together)


Damaged = tuple[Tensor, Tensor | None]
BoundCorruption = Callable[[Tensor, torch.Generator | None], Damaged]


@dataclass(frozen=True)
class Corruption:
    """Damage to the input of which ``level`` says how much, a share of the cells where not said otherwise."""

    level: float | tuple[float, float] = 0.1
    highest_level: ClassVar[float] = 1.0
    hides: ClassVar[bool] = False  # whether damaged cells are blank, so that a model can be told which they are

    @property
    def hidden_only(self) -> bool:
        """Whether cells that stay visible are not scored."""
        return False

    @property
    def typical_level(self) -> float | None:
        """Level that an encoder is told of clean rows; None where it is told of none."""
        return None

    def __post_init__(self) -> None:
        bounds = self.bounds
        name = type(self).__name__
        if not all(_is_number(bound) for bound in bounds):
            raise TypeError(f"{name}: level={self.level!r} must be a number, or two in a tuple, the lowest and the highest.")
        if not (0 <= bounds[0] <= bounds[1] <= self.highest_level and bounds[1] < math.inf):
            raise ValueError(f"{name}: level={self.level!r} must lie between 0 and {self.highest_level:g}, the lowest first.")

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The lowest and the highest level."""
        return self.level if isinstance(self.level, tuple) and len(self.level) == 2 else (self.level, self.level)

    def drawn(self, x: Tensor, generator: torch.Generator | None) -> Tensor | float:
        """The level of each row, ``(n_rows, 1)``, between the lowest and the highest; or the one that all have."""
        if not isinstance(self.level, tuple):
            return self.level
        lowest, highest = self.level
        return lowest + (highest - lowest) * _uniform(x[:, :1], generator)

    def __call__(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Damaged:
        return self.damage(x, generator, columns), None

    def damage(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Add normal noise to every cell.

    Parameters
    ----------
    level : float or tuple of two, default=0.1
        Standard deviation of the noise, of standardised columns. With ``standardize=False`` in root mean square deviations of
        all columns, with ``likelihood="bernoulli"`` in units of the input. Of a tuple, each row has a level of its own, uniform
        between the two. Categories and booleans see no noise.

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

    def damage(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return x + self.drawn(x, generator) * (noise if columns.numbers is None else noise * columns.numbers)


@dataclass(frozen=True)
class Masking(Corruption):
    """Replace cells by the mean of their column, as if they were not known.

    In a model of a table with missing cells or categories they are marked as missing instead.

    Parameters
    ----------
    level : float or tuple of two, default=0.1
        Share of the cells. Of a tuple, each row has a level of its own, uniform between the two.
    hidden_only : bool, default=False
        Whether cells that stay visible are not scored, so that nothing is learned but to tell the hidden ones: for filling in,
        not for compression. Only where the model marks what is missing.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, Masking
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(2, corruption=Masking(0.3), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    hides: ClassVar[bool] = True
    hidden_only: bool = False

    def damage(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        return torch.where(columns.joined(_uniform(x, generator)) < self.drawn(x, generator), columns.blank, x)


@dataclass(frozen=True)
class SaltAndPepper(Corruption):
    """Replace cells by the lowest or the highest value of their column among the training rows, with equal odds.

    Parameters
    ----------
    level : float or tuple of two, default=0.1
        Share of the cells. Of a tuple, each row has a level of its own, uniform between the two.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, SaltAndPepper
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(2, corruption=SaltAndPepper(0.2), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    def damage(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        draw, level = columns.joined(_uniform(x, generator)), self.drawn(x, generator)
        extreme = torch.where(draw < level / 2, columns.lowest, columns.highest)
        return torch.where(draw < level, extreme, x)


@dataclass(frozen=True)
class SwapNoise(Corruption):
    """Replace cells by those of other rows, in the same column.

    What comes in is plausible for the column, whatever its distribution; only its row is wrong. Each cell has a donor of its
    own, drawn from the rows of the batch, so that no two swapped cells of a row tell of each other. It may draw itself: in a
    batch of n rows a share of 1 / n of the swaps changes nothing.

    Parameters
    ----------
    level : float or tuple of two, default=0.1
        Share of the cells. Of a tuple, each row has a level of its own, uniform between the two.

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

    def damage(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        return _swapped(x, generator, self.drawn(x, generator), columns)


@dataclass(frozen=True)
class DiffusionNoise(Corruption):
    """Noise of all sizes at once, of which the encoder is told how much there is: that of a diffusion model at a random time.

    Numbers get normal noise of the row's level. Categories and booleans are swapped for those of other rows, as often as noise
    makes up the variance of a number: with a probability of ``level**2 / (1 + level**2)``. Applied to clean rows the model is
    told the geometric mean of the lowest and the highest level.

    The best answer to normal noise of level s is ``x + s**2`` times the gradient of the log-density of noisy rows (Vincent,
    2011), so that what a model takes off a clean row says how far, in its own units, the row is from where rows are common.

    Parameters
    ----------
    level : tuple of two floats, default=(0.05, 2.0)
        The lowest and the highest standard deviation of the noise, of standardised columns. Each row has a level of its own,
        its logarithm uniform between the two.

    References
    ----------
    P. Vincent (2011). A connection between score matching and denoising autoencoders. Neural Computation 23.

    Y. Song, S. Ermon (2019). Generative modeling by estimating gradients of the data distribution. NeurIPS.

    A. Kotelnikov, D. Baranchuk, I. Rubachev, A. Babenko (2023). TabDDPM: modelling tabular data with diffusion models. ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, DiffusionNoise
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> model = AutoencoderTransformer(16, corruption=DiffusionNoise((0.1, 1.0)), **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 16)
    """

    level: float | tuple[float, float] = (0.05, 2.0)
    highest_level: ClassVar[float] = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.level, tuple) or self.level[0] <= 0:
            raise ValueError(f"DiffusionNoise: level={self.level!r} must be two positive numbers in a tuple, the lowest first.")

    @property
    def typical_level(self) -> float:
        """The geometric mean of the bounds."""
        return math.sqrt(math.prod(self.bounds))

    def drawn(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """The level of each row, ``(n_rows, 1)``."""
        lowest, highest = map(math.log, self.bounds)
        return (lowest + (highest - lowest) * _uniform(x[:, :1], generator)).exp()

    def __call__(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Damaged:
        level = self.drawn(x, generator)
        noisy = x + level * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        if columns.numbers is None:
            return noisy, level
        share = level.square() / (1 + level.square())
        return torch.where(columns.numbers > 0, noisy, _swapped(x, generator, share, columns)), level


def _swapped(x: Tensor, generator: torch.Generator | None, share: Tensor | float, columns: Columns) -> Tensor:
    """The rows with a share of their cells replaced by those of other rows."""
    donors = columns.joined(torch.randint(len(x), x.shape, generator=generator, device=x.device))
    return torch.where(columns.joined(_uniform(x, generator)) < share, x.gather(0, donors), x)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _uniform(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
