"""The variational autoencoder as a scikit-learn transformer."""

from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skvae._base import BaseAutoencoder
from skvae._fitting import Fit
from skvae._statistics import Table, moments
from skvae._validation import Interval, StrOptions, check_is_fitted, random_seed
from skvae.core.device import widest

ACTIVE = 0.01  # variance over rows of a posterior mean above which Burda et al. call a unit active
ORDERING_ROWS = 2000  # that decide the order of the components; each is decoded once per component


class Elbo(NamedTuple):
    """The two parts of the evidence lower bound, in nats per row: it is their difference."""

    reconstruction: np.ndarray
    kl: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """The bound itself, ``reconstruction - kl``."""
        return self.reconstruction - self.kl


class VAETransformer(BaseAutoencoder):
    """DOC"""

    _variational: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseAutoencoder._parameter_constraints,
        "likelihood": [StrOptions({"auto", "gaussian", "gaussian_diag", "mse", "bernoulli"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "beta_warmup": [Interval(Integral, 0, None, closed="left")],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | float = 2,
        *,
        beta: float = 1.0,
        beta_warmup: int = 0,
        n_importance_samples: int = 100,
        hidden_layer_sizes: tuple[int, ...] = (128,),
        activation: str = "gelu",
        decoder_layer_sizes: tuple[int, ...] | None = None,
        init: str = "pca",
        standardize: bool = True,
        likelihood: str = "auto",
        weight_decay: float = 0.0,
        learning_rate: str = "cosine",
        learning_rate_init: float | str = "auto",
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
        super().__init__(
            n_components,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            decoder_layer_sizes=decoder_layer_sizes,
            init=init,
            standardize=standardize,
            likelihood=likelihood,
            weight_decay=weight_decay,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            shuffle=shuffle,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
            device=device,
        )
        self.beta = beta
        self.beta_warmup = beta_warmup
        self.n_importance_samples = n_importance_samples

    def _publish(self, fit: Fit, table: Table, goes_on: bool) -> None:
        super()._publish(fit, table, goes_on)
        explained = self._explained_variance(table.take(np.arange(min(len(table.rows), ORDERING_ROWS))))
        if self.best_iter_ > 0:  # the start is in order
            order = np.argsort(-explained, kind="stable")
            self.module_.reorder_components_(torch.from_numpy(order).to(self.device_))
            explained = explained[order]
        self.explained_variance_ = explained * self._scaling.error_unit
        divergences = self._map(self.module_.divergence, table.rows, scaled=True, dtype=np.float64)
        self.kl_per_component_ = np.average(divergences, axis=0, weights=table.counts)
        codes = self._map(self.module_.encode, table.rows, scaled=True, dtype=np.float64)
        self.active_units_ = moments(Table(codes, table.weights))[1] ** 2 > ACTIVE

    def _explained_variance(self, table: Table) -> np.ndarray:
        """Mean square, summed over columns, by which each row's reconstruction moves when a component is set to zero."""
        codes = self._map(self.module_.encode, table.rows, scaled=True, dtype=np.float64)
        decoded = self._map(self.module_.decode, codes, scaled=True)
        explained = np.empty(self.n_components_)
        for component in range(self.n_components_):
            without = codes.copy()
            without[:, component] = 0
            moves = self._map(self.module_.decode, without, scaled=True) - decoded
            explained[component] = np.average((moves**2).sum(axis=1), weights=table.counts)
        return explained

    def posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the code of each row.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        mean, deviation : ndarrays of shape (n_rows, n_components_)
            Of the normal distribution, independent between components, that the encoder puts in place of p(z | x). ``mean`` is
            what ``transform`` returns.
        """
        rows = self._admit(X)
        both = self._map(lambda x: torch.cat(self.module_.posterior(x), 1), rows, dtype=np.float64)
        mean, log_variance = np.split(both, 2, axis=1)
        return mean.astype(rows.dtype, copy=False), np.exp(0.5 * log_variance).astype(rows.dtype, copy=False)

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-likelihood of each row, log p(x), by importance weighting.

        ``log(1/S sum_s p(x | z_s) p(z_s) / q(z_s | x))`` with S = ``n_importance_samples`` codes from the row's posterior. It is
        a lower bound on log p(x) in expectation, tighter the larger S is, and exact where the posterior is (Burda et al.,
        2016). The noise is the same for all rows and all calls. With ``likelihood="mse"`` or ``"bernoulli"`` and any ``beta``
        too it is the density of the model, which stands beside ``PCA.score_samples`` and ``FactorAnalysis.score_samples``.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        scores : ndarray of shape (n_rows,)
            In nats, in the units of the input; higher is more normal.
        """
        scores = self._weigh(lambda weights: weights.logsumexp(1), self._admit(X))
        return scores - np.log(self.n_importance_samples) + self._scaling.log_jacobian

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of ``score_samples`` over rows, which may be compared between models of any size and kind.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        y : ignored

        Returns
        -------
        score : float
        """
        return super().score(X)

    def elbo(self, X: Any) -> Elbo:
        """The evidence lower bound of each row, in its parts.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        parts : Elbo
            A named tuple of two arrays of shape (n_rows,), in nats: ``reconstruction``, E_q[log p(x | z)] in the units of the
            input, and ``kl``, the divergence of the posterior from the prior. ``parts.total``, their difference, is the
            bound, whatever ``beta`` is. The expectation is a mean over the noise of ``score_samples``, the divergence is
            exact.
        """
        rows = self._admit(X)
        total = self._weigh(lambda weights: weights.mean(1), rows) + self._scaling.log_jacobian
        kl = self._map(lambda x: self.module_.divergence(x).sum(1, dtype=widest(x.device)), rows, dtype=np.float64)
        return Elbo(total + kl, kl)

    def sample(self, n_samples: int = 1, random_state: Any = None, *, noise: bool = True) -> Any:
        """Draw new rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            Seed of the draw. None takes fresh entropy; the global generators are never touched.
        noise : bool, default=True
            Whether cells scatter around the decoder's mean as the likelihood says. Without, they are that mean, which looks
            smoother and varies less than the data.

        Returns
        -------
        rows : ndarray or frame of shape (n_samples, n_features_in_)
            In the units of the input; a frame where the estimator was fitted on one.
        """
        check_is_fitted(self)
        generator = torch.Generator().manual_seed(random_seed(random_state))
        codes = torch.randn(n_samples, self.n_components_, generator=generator, dtype=torch.float64).numpy()
        params = torch.from_numpy(self._map(self.module_.decoder, codes, scaled=True))
        likelihood = deepcopy(self.module_.likelihood).cpu().double()
        cells = likelihood.sample(params, generator) if noise else likelihood.mean(params)
        return self.schema_.restore(self._scaling.invert(cells.detach().numpy()))

    def interpolate(self, X_start: Any, X_end: Any, n_steps: int = 10) -> Any:
        """Rows along the straight line between the codes of two rows, decoded.

        Parameters
        ----------
        X_start, X_end : array-like or frame of shape (n_rows, n_features_in_)
            Where each line starts and ends.
        n_steps : int, default=10
            Rows per line, both ends included.

        Returns
        -------
        rows : ndarray or frame of shape (n_rows * n_steps, n_features_in_)
            Line after line.
        """
        start, end = self.transform(X_start), self.transform(X_end)
        if start.shape != end.shape:
            raise ValueError(f"X_start has {len(start)} rows and X_end {len(end)}; each line needs one of both.")
        steps = np.linspace(0, 1, n_steps)[:, None]
        lines = start[:, None] + steps * (end - start)[:, None]
        return self.inverse_transform(lines.reshape(-1, self.n_components_))

    def _weigh(self, summary: Any, rows: np.ndarray) -> np.ndarray:
        """A summary over draws of the importance weights of each row."""
        generator = torch.Generator().manual_seed(self._seed)
        noise = torch.randn(self.n_importance_samples, self.n_components_, generator=generator, dtype=torch.float64)
        like = next(self.module_.parameters())
        noise = noise.to(like.dtype).to(self.device_)

        def of_rows(x: Tensor) -> Tensor:
            return summary(self.module_.log_weights(x, noise).to(widest(x.device)))

        return self._map(of_rows, rows, dtype=np.float64, n_passes=self.n_importance_samples)
