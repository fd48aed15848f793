"""The autoencoder as a scikit-learn transformer."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

from skvae._assemble import ACTIVATIONS
from skvae._base import BaseAutoencoder, earlier_fit_kept
from skvae._validation import Interval, StrOptions, fit_context


class AutoencoderTransformer(BaseAutoencoder):
    """Autoencoder."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), Interval(Real, 0, 1, closed="neither")],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "decoder_layer_sizes": ["array-like", None],
        "init": [StrOptions({"pca", "random"})],
        "standardize": ["boolean"],
        "likelihood": [StrOptions({"auto", "gaussian", "mse", "bernoulli"})],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [StrOptions({"cosine", "constant"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "early_stopping": [StrOptions({"auto"}), "boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "device": [str],
    }

    def __init__(
        self,
        n_components: int | float = 2,
        *,
        hidden_layer_sizes: tuple[int, ...] = (128,),
        activation: str = "silu",
        decoder_layer_sizes: tuple[int, ...] | None = None,
        init: str = "pca",
        standardize: bool = True,
        likelihood: str = "auto",
        weight_decay: float = 0.0,
        learning_rate: str = "cosine",
        learning_rate_init: float = 3e-3,
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        tol: float = 1e-4,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int | str = "auto",
        shuffle: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool | int = False,
        device: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.decoder_layer_sizes = decoder_layer_sizes
        self.init = init
        self.standardize = standardize
        self.likelihood = likelihood
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    @fit_context
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, X_val: Any = None, sample_weight_val: Any = None
    ) -> Self:
        """Fit."""
        with earlier_fit_kept(self):
            self._fit(X, sample_weight, X_val, sample_weight_val)
        return self
