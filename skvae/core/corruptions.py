"""Corruptions: a denoising autoencoder sees a corrupted row and learns to output the clean one (Vincent et al., 2008).

A corruption is a frozen dataclass, ``corruption(x, generator, columns)``. Bound to the columns of the training rows it is
``(x, generator) -> (corrupted x, level of each row)``. The level is None if the encoder is not told the level. Each cell is
corrupted independently of the others.
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
    """Facts about each column of the training rows, on the scale of the networks; ``(n_columns,)`` each."""

    blank: Tensor  # value of a hidden cell: NaN if the model marks missing values, else the mean
    lowest: Tensor
    highest: Tensor
    numbers: Tensor | None = None  # 1 for numbers, 0 for codes of categories; None if all columns are numbers
    together: Tensor | None = None  # first column of the group that is corrupted jointly; None if all are independent

    def joined(self, draws: Tensor) -> Tensor:
        """Draws for each cell, with one shared draw per group of columns that are corrupted jointly."""
        return draws if self.together is None else draws.index_select(1, self.together)


Damaged = tuple[Tensor, Tensor | None]
BoundCorruption = Callable[[Tensor, torch.Generator | None], Damaged]


@dataclass(frozen=True)
class Corruption:
    """Base class of corruptions; ``level`` is the share of corrupted cells unless a subclass says otherwise."""

    level: float | tuple[float, float] = 0.1
    highest_level: ClassVar[float] = 1.0
    hides: ClassVar[bool] = False  # whether corrupted cells are blank, so that a model can be told which they are

    @property
    def hidden_only(self) -> bool:
        """Whether only hidden cells are scored."""
        return False

    @property
    def typical_level(self) -> float | None:
        """Level that the encoder is told for clean rows; None if it is told no level."""
        return None

    def __post_init__(self) -> None:
        bounds = self.bounds
        name = type(self).__name__
        if not all(_is_number(bound) for bound in bounds):
            raise TypeError(f"{name}: level={self.level!r} must be a number or a tuple (lowest, highest).")
        if not (0 <= bounds[0] <= bounds[1] <= self.highest_level and bounds[1] < math.inf):
            raise ValueError(
                f"{name}: level={self.level!r} must lie between 0 and {self.highest_level:g}, with the lowest first."
            )

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The lowest and the highest level."""
        return self.level if isinstance(self.level, tuple) and len(self.level) == 2 else (self.level, self.level)

    def drawn(self, x: Tensor, generator: torch.Generator | None) -> Tensor | float:
        """The level of each row, ``(n_rows, 1)``, drawn between the bounds; or the single level of all rows."""
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
    """Add Gaussian noise to the numbers of each row.

    Categories and booleans are not changed.

    Parameters
    ----------
    level : float or tuple of two, default=0.1
        Standard deviation of the noise, in standard deviations of the column. With ``standardize=False`` the unit is the root
        mean square deviation over all columns; with ``likelihood="bernoulli"`` it is the unit of the input. With a tuple
        ``(lowest, highest)``, each row draws its own level uniformly between the two. Set it to the noise that you expect in
        later rows, or search for it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, GaussianNoise
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> noise = GaussianNoise(0.5)
    >>> model = AutoencoderTransformer(2, corruption=noise, **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    highest_level: ClassVar[float] = math.inf

    def damage(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return x + self.drawn(x, generator) * (noise if columns.numbers is None else noise * columns.numbers)


@dataclass(frozen=True)
class Masking(Corruption):
    """Hide random cells of each row.

    Hidden cells are marked as missing if the table has missing values or categories, or with ``hidden_only``. Otherwise they
    are replaced by the mean of their column.

    Parameters
    ----------
    level : float or tuple of two, default=0.1
        Share of the cells to corrupt. Set it to the share that you expect in later rows, or search for it. With a tuple
        ``(lowest, highest)``, each row draws its own share uniformly between the two.
    hidden_only : bool, default=False
        Whether only hidden cells are scored. The model then learns to predict missing values rather than to compress rows.

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
    """Replace random cells by the minimum or the maximum of their column.

    Both are those of the training rows, and each is chosen with probability 1/2.

    Parameters
    ----------
    level : float or tuple of two, default=0.1
        Share of the cells to corrupt. Set it to the share that you expect in later rows, or search for it. With a tuple
        ``(lowest, highest)``, each row draws its own share uniformly between the two.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, SaltAndPepper
    >>> options = {"early_stopping": False, "random_state": 0}
    >>> noise = SaltAndPepper(0.2)
    >>> model = AutoencoderTransformer(2, corruption=noise, **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 2)
    """

    def damage(self, x: Tensor, generator: torch.Generator | None, columns: Columns) -> Tensor:
        draw, level = columns.joined(_uniform(x, generator)), self.drawn(x, generator)
        extreme = torch.where(draw < level / 2, columns.lowest, columns.highest)
        return torch.where(draw < level, extreme, x)


@dataclass(frozen=True)
class SwapNoise(Corruption):
    """Replace random cells by the value of another row in that column.

    Values remain plausible for their column, whatever its distribution, but no longer fit their row. Each cell draws its own
    donor from the rows of the batch, so swapped cells of one row are unrelated. A cell may draw its own row: in a batch of n
    rows, a share of 1 / n of the swaps changes nothing.

    Parameters
    ----------
    level : float or tuple of two, default=0.1
        Share of the cells to corrupt. Set it to the share that you expect in later rows, or search for it. With a tuple
        ``(lowest, highest)``, each row draws its own share uniformly between the two.

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
    """Add noise of a random level, as in a diffusion model, and tell the encoder the level.

    Numbers get Gaussian noise of the level of their row. Categories and booleans are replaced by those of other rows with
    probability ``level**2 / (1 + level**2)``, the share that the noise has in the variance of a number. For clean rows, the
    encoder is told the geometric mean of the two bounds.

    The best reconstruction under Gaussian noise of level s is ``x + s**2`` times the gradient of the log-density of noisy rows
    (Vincent, 2011). The correction that a model makes to a clean row therefore shows how far the row is from regions where
    rows are common.

    Parameters
    ----------
    level : tuple of two floats, default=(0.05, 2.0)
        Lowest and highest standard deviation of the noise, in standard deviations of the column. Each row draws its own level
        between the two, with a uniform logarithm.

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
    >>> noise = DiffusionNoise((0.1, 1.0))
    >>> model = AutoencoderTransformer(16, corruption=noise, **options)
    >>> model.fit_transform(load_iris().data).shape
    (150, 16)
    """

    level: float | tuple[float, float] = (0.05, 2.0)
    highest_level: ClassVar[float] = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.level, tuple) or self.level[0] <= 0:
            raise ValueError(f"DiffusionNoise: level={self.level!r} must be a tuple of two positive numbers, the lowest first.")

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
    """Rows with a share of their cells replaced by those of other rows."""
    donors = columns.joined(torch.randint(len(x), x.shape, generator=generator, device=x.device))
    return torch.where(columns.joined(_uniform(x, generator)) < share, x.gather(0, donors), x)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _uniform(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
