"""The variational autoencoder as a scikit-learn transformer."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skvae._arrays import in_kind
from skvae._base import BaseAutoencoder
from skvae._fit.fit import Fit
from skvae._fit.settings import Corruption, Penalty
from skvae._fitted import Fitted, sum_of_cells
from skvae._streams import by_block
from skvae._tables.rows import Table
from skvae._validation import Interval, StrOptions, check_count, check_is_fitted, random_seed
from skvae.core.device import widest

ACTIVE = 0.01  # variance over rows of a posterior mean above which Burda et al. call a unit active
ORDERING_ROWS = 2000  # at most this many rows decide the order of the components; each is decoded once per component
ORDERING_CODES = 200_000  # at most this many decoded codes, so that ordering takes no longer than an epoch


class Elbo(NamedTuple):
    """Evidence lower bound of each row, split into two parts, in nats.

    Attributes
    ----------
    reconstruction : ndarray of shape (n_rows,)
        Expected log-likelihood of the row given its code.
    kl : ndarray of shape (n_rows,)
        Divergence of the posterior from the prior.
    """

    reconstruction: np.ndarray
    kl: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """The bound itself, ``reconstruction - kl``."""
        return self.reconstruction - self.kl


class VAETransformer(BaseAutoencoder):
    """Reduce the number of columns with a variational autoencoder and estimate the density of rows.

    An encoder maps each row to a normal distribution over codes, and a decoder maps each code to a distribution over rows
    (Kingma and Welling, 2014; Rezende et al., 2014). Both start at the maximum likelihood solution of the linear model, which
    is probabilistic PCA or factor analysis, and have exactly its likelihood there. Training replaces this start only if that
    clearly raises the likelihood of held-out rows.

    ``score_samples`` is a log density. It may be compared with ``PCA.score_samples``, ``FactorAnalysis.score_samples`` or any
    other density in the units of the input.

    Parameters
    ----------
    n_components : int, float or None, default=2
        Number of components of the code. Two can be plotted; more describe rows better. A float between 0 and 1 takes as many
        as PCA needs to explain more than that share of the variance. None takes as many as there are columns, or as many as
        there are rows if these are fewer. Components that do not help are switched off during training: see ``active_units_``.
    beta : float, default=1.0
        Weight of the Kullback-Leibler divergence of the posterior from the prior. 1 is the evidence lower bound. Higher values
        make the components simpler and more independent, and reconstructions coarser (Higgins et al., 2017). 0 makes an
        autoencoder with noisy codes; do not draw samples from it.
    beta_warmup : int, default=0
        Number of epochs over which the weight rises linearly to ``beta``. Raise it if components switch off early in training
        (Bowman et al., 2016); from the default start they do not.
    n_importance_samples : int, default=128
        Number of codes per row over which ``score_samples`` and ``elbo`` average. More codes make ``score_samples`` tighter and
        slower. Powers of two are spread most evenly.
    hidden_layer_sizes : tuple of int, default=(128,)
        Widths of the encoder's hidden layers, from the input to the code; ``AutoencoderTransformer`` gives reasons. ``()``
        makes a linear model. With ``init="pca"`` this is probabilistic PCA, or factor analysis with
        ``likelihood="gaussian_diag"``.
    activation : {"identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="gelu"
        Activation of the hidden layers; ``AutoencoderTransformer`` compares them.
    decoder_layer_sizes : tuple of int or None, default=None
        Widths of the decoder's hidden layers, from the code to the output. None mirrors the encoder.
    init : {"pca", "random"}, default="pca"
        ``"pca"`` adds a linear path beside the hidden layers of both networks. It starts them, and the noise, at the maximum
        likelihood solution of the linear model: probabilistic PCA with one noise variance, which is optimal for any ``beta``,
        or factor analysis with one noise variance per column. ``"random"`` makes an ordinary multi-layer perceptron with random
        weights.
    standardize : bool or {"auto", "robust", "quantile"}, default="auto"
        How numeric columns are scaled before the networks see them. Results are returned in the units of the input.

        * True: zero mean and unit variance for each column.
        * False: centred columns, divided by one common factor, so that columns with a larger variance keep their larger weight.
          Choose it for columns in one unit, such as pixels.
        * ``"robust"``: as True, after outlying values are compressed. Beyond 20 robust standard deviations from the median,
          values grow logarithmically, so that no single cell sets the scale. Choose it for columns with a few impossible
          values.
        * ``"quantile"``: each column is mapped to a normal distribution by a smooth function, as by ``QuantileTransformer``.
          The derivative of the function is part of the likelihood, so that scores remain densities in the units of the input. A
          column is mapped only if that clearly raises the likelihood of held-out cells. Choose it for skewed columns.
        * ``"auto"``: ``"quantile"`` for a mixed frame, that is one with columns other than numbers; True for a table of
          numbers, so that the model starts at PCA.

        With ``"robust"`` and ``"quantile"``, a column with many distinct values is modelled in two parts if a tenth or more of
        its cells hold its lowest or its highest value, such as days without rain: whether the cell holds this value and, if
        not, which number it is (a hurdle model). Methods that take derivatives with respect to cells, such as
        ``tangent_space``, need True or False.
    likelihood : {"auto", "gaussian", "gaussian_diag", "mse", "bernoulli"}, default="auto"
        Distribution of a numeric cell given the code.

        * ``"gaussian"``: normal, with one learned variance for all columns.
        * ``"gaussian_diag"``: normal, with one learned variance per column.
        * ``"mse"``: normal with variance 1, in standardised units with ``standardize=True``. The loss is half the squared error
          plus a constant.
        * ``"bernoulli"``: cross-entropy, for cells in [0, 1]. They are not standardised. The start is an approximation on the
          scale of the logits.
        * ``"auto"``: ``"gaussian_diag"`` if factor analysis, with or without a weak prior on the noise, clearly gives held-out
          rows a higher likelihood than probabilistic PCA, and else ``"gaussian"``. Without held-out rows it is ``"gaussian"``;
          with missing values or columns other than numbers it is ``"gaussian_diag"``.
    categorical_features : "from_dtype", None, or array-like of names, indices or booleans, default="from_dtype"
        Which columns are categories, as in ``HistGradientBoostingClassifier``. ``"from_dtype"`` selects the columns of a frame
        that hold categories, strings or enumerations. An array-like selects columns by name, index or mask; they may hold
        numbers, and X may be an array. None declares that there are no categories; a column of strings then raises an error.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories that were not seen during ``fit``. ``"ignore"`` takes them as missing values; ``"error"`` raises
        an error.
    corruption : {"auto", "gaussian", "masking", "salt_and_pepper", "swap"}, corruption object or None, default="auto"
        How to damage the input in each training step, while the output is compared with the undamaged row. This makes a
        denoising variational autoencoder (Im et al., 2017). A name stands for the object with its default level: ``"swap"`` is
        ``SwapNoise()``. An object, such as ``SwapNoise(0.2)``, sets the level, which a search reaches as ``corruption__level``.
        The number of epochs is chosen on corrupted held-out rows. The fitted model never corrupts its input.

        ``"auto"`` is None for a table of numbers and ``Masking((0, 0.5))`` for a mixed frame: up to half of the observed cells
        of each row are hidden from the encoder, so that rows with missing values get reliable codes.
    penalty : {"l1", "l2", "contractive"}, penalty object, tuple of them or None, default=None
        Penalty on the posterior mean that is added to the loss. A name stands for the object with its default weight: ``"l1"``
        is ``L1()``. An object, such as ``Contractive(0.3)``, sets the weight, which a search reaches as ``penalty__weight``.
        Penalties do not depend on the scale of the code. They are added to the negative evidence lower bound of a row, in nats.
    support_fraction : float, default=1.0
        Share of each batch that is trained on, in (0, 1]: the rows that are reconstructed best. Lower it to keep outlying rows
        from being learned, as in ``EllipticEnvelope``. The starting point is still computed from all rows, and all held-out
        rows choose the epoch. The effect is therefore largest with ``init="random"`` and ``early_stopping=False``; a
        closed-form solution does not depend on it.
    weight_decay : float, default=0.0
        Decoupled weight decay (Loshchilov and Hutter, 2019). Each step shrinks all weights by this share times the learning
        rate.
    learning_rate : {"cosine", "constant"}, default="cosine"
        Schedule of the learning rate after a warm-up over the first 5 % of the steps. ``"cosine"`` falls to zero at
        ``max_iter``; ``"constant"`` stays at ``learning_rate_init``.
    learning_rate_init : float or "auto", default="auto"
        Highest learning rate of Adam (Kingma and Ba, 2015). ``"auto"`` is 1e-2, and ``1e-2 * 16 / n_columns`` for more than 16
        columns, because the steps of the many weights of a wide layer add up. Lower it if training diverges.
    batch_size : int or "auto", default="auto"
        Maximum number of rows per step; all batches have nearly the same size. ``"auto"`` is 128, and 2048 for a linear model,
        whose steps are cheap and do not need the noise of small batches.
    max_iter : int or "auto", default="auto"
        Maximum number of epochs. An epoch uses every row once, or 2**20 rows of a larger table. ``"auto"`` allows
        ``60 * sqrt(n_rows)`` steps, so that time grows with the square root of the number of rows, and at least 1500 steps
        (10,000 for a linear model). Raise it after a ``ConvergenceWarning``.
    tol : float, default=1e-4
        An epoch counts as progress if the loss per cell falls by more than this, in nats.
    early_stopping : bool or "auto", default="auto"
        Whether to choose the number of epochs on held-out rows. The start counts as epoch 0. Small tables are cross-validated
        in five folds, and the final model is trained on all rows along with them; large tables have a single split. A start at
        a closed-form solution is replaced only if the gain is certain and worthwhile; the page "Design" of the documentation
        gives all thresholds.

        ``"auto"`` is True if the networks have hidden layers, the table has missing values or columns other than numbers, or
        ``X_val`` is given. With fewer than 10 distinct rows none are held out: the result is the start, or the last epoch with
        ``init="random"``. A linear model with a closed-form solution is not trained at all.
    validation_fraction : float, default=0.1
        Share of the rows held out if there is a single split or with ``warm_start``. Of a table that is read block by block, at
        most 100,000 rows are held out.
    n_iter_no_change : int or "auto", default="auto"
        Number of epochs without progress after which training stops. ``"auto"`` is a tenth of ``max_iter``, or a fifth if a
        corruption hides cells from the model, and at least 10; without held-out rows, ``"auto"`` trains to ``max_iter``. With
        held-out rows, training also stops if its gain over a closed-form start is unlikely to become certain.
    shuffle : bool, default=True
        Whether to shuffle the rows in each epoch.
    warm_start : bool, default=False
        Whether ``fit`` continues from the previous fit. It keeps the columns, their scaling and the weights, and starts a new
        optimiser and schedule. The layer sizes and the size of the code must not change.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the splits, the order of the rows, the codes drawn in training, and the noise of
        ``score_samples``. None uses a new seed in each fit. The global random generators are neither read nor changed.
    verbose : bool or int, default=False
        Whether to show a progress bar with the epoch, the loss and the validation loss.
    device : str, default="auto"
        Device of the networks: "cpu", "cuda", "cuda:1" or "mps". ``"auto"`` is CUDA if it is available and a training step is
        large enough to profit from it, and else the CPU.

    Attributes
    ----------
    module_ : torch.nn.Module
        Encoder, bottleneck, decoder and likelihood, on the scale of the networks.
    n_components_ : int
        Number of components of the code. Components are sorted by decreasing ``explained_variance_``; a closed-form solution
        keeps its own order.
    explained_variance_ : ndarray of shape (n_components_,)
        How far reconstructions move if a component is set to zero: the mean over rows of the squared change, summed over
        columns. It refers to columns as they are scaled, and to squared units of the input with ``standardize=False``;
        categories count by their probabilities. At most 2000 random rows are used. For a linear model it is the squared length
        of the component's loadings times the variance of its codes.
    kl_per_component_ : ndarray of shape (n_components_,)
        How much each component tells about a row: the mean over training rows of its divergence from the prior, in nats.
    active_units_ : ndarray of bool of shape (n_components_,)
        Which components are in use: those whose posterior mean has a variance above 0.01 over the training rows (Burda et al.,
        2016).
    noise_variance_ : float, ndarray of shape (n_columns,), or None
        Variance of a cell around the decoder's mean, one for all columns or one for each. It is 1 for ``likelihood="mse"`` and
        None for ``"bernoulli"``. It refers to columns as they are scaled, and to squared units of the input with
        ``standardize=False``. It is at least 1e-6 of the variance of the column. With missing values or in a mixed frame it is
        also at least the variance of rounding errors, and in a mixed frame at least that of hidden cells.
    loss_curve_ : list of float
        Training loss after each epoch, the mean over folds, in nats per row on the scale of the networks. With ``warm_start``
        the losses of earlier fits come first. Empty if nothing was trained.
    validation_scores_ : list of float or None
        Mean evidence lower bound of the held-out rows of all folds in nats, with the divergence weighted by ``beta``; higher is
        better. Entry 0 is the start. If there are more than 150 epochs, only some are scored, and the others repeat the score
        before. None if no rows were held out.
    penalties_ : tuple of penalties
        The penalties as they were applied, with the value that ``n_probes="auto"`` of a ``Contractive`` stood for.
    n_iter_ : int
        Number of epochs of the last training, at least 1. The model has the weights of epoch ``best_iter_``.
    best_iter_ : int
        The epoch that was best on the held-out rows, 0 for the start. Without held-out rows it is the last epoch.
    schema_ : Schema
        The type and the categories of each column of the training table; prints as a table.
    device_ : torch.device
        Device of the networks.
    n_features_in_ : int
        Number of columns of the training table.
    feature_names_in_ : ndarray of str
        Names of the columns, if the training table had names.

    See Also
    --------
    AutoencoderTransformer : Without a distribution over codes, for reconstruction.
    sklearn.decomposition.PCA : The linear special case with one noise variance.
    sklearn.decomposition.FactorAnalysis : The linear special case with one noise variance per column.

    Notes
    -----
    The loss of a row is ``E_q[-log p(x | z)] + beta KL(q(z | x) || N(0, I))``, summed over columns and over components. Each
    step draws one z per row; the divergence is in closed form.

    Means, variances and the start are computed in float64. Networks are trained in float32, linear ones in float64. The outputs
    of the networks are scaled by the standard deviations of the posterior and of the noise at the start. One learning rate then
    suits columns that are almost determined by others as well as columns that are mostly noise.

    Frames may hold numbers, booleans, categories, strings and dates, and any table may have missing values. Reconstructed and
    imputed tables keep the dtypes of the input. Each kind of column has its own likelihood: normal for numbers and dates,
    Bernoulli for booleans, cross-entropy for categories. Missing values add nothing to the loss. The encoder is told which
    values are missing, and sees in their place what a linear model expects given the other cells of the row. A row without any
    observed value has the code of the mean row.

    In a column of more than 20 categories, those with fewer than 10 rows (or 1 % of the rows, if that is less) are rare, and
    are merged into one. Columns with nothing but rare categories, such as names, are ignored and come back missing; a warning
    names these columns.

    With missing values or columns other than numbers, the start is factor analysis by expectation-maximisation.

    References
    ----------
    D. P. Kingma, M. Welling (2014). Auto-encoding variational Bayes. ICLR.

    D. J. Rezende, S. Mohamed, D. Wierstra (2014). Stochastic backpropagation and approximate inference in deep generative
    models. ICML.

    M. E. Tipping, C. M. Bishop (1999). Probabilistic principal component analysis. Journal of the Royal Statistical Society B
    61.

    Y. Burda, R. Grosse, R. Salakhutdinov (2016). Importance weighted autoencoders. ICLR.

    I. Higgins et al. (2017). beta-VAE: learning basic visual concepts with a constrained variational framework. ICLR.

    D. J. Im, S. Ahn, R. Memisevic, Y. Bengio (2017). Denoising criterion for variational auto-encoding framework. AAAI.

    S. R. Bowman et al. (2016). Generating sentences from a continuous space. CoNLL.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skvae import VAETransformer
    >>> X = load_iris().data
    >>> vae = VAETransformer(n_components=2, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (150, 2)
    >>> bool(vae.score(X) > PCA(2).fit(X).score(X))
    True
    >>> vae.sample(3, random_state=0).shape
    (3, 4)
    """

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
        n_components: int | float | None = 2,
        *,
        beta: float = 1.0,
        beta_warmup: int = 0,
        n_importance_samples: int = 128,
        hidden_layer_sizes: tuple[int, ...] = (128,),
        activation: str = "gelu",
        decoder_layer_sizes: tuple[int, ...] | None = None,
        init: str = "pca",
        standardize: bool | str = "auto",
        likelihood: str = "auto",
        categorical_features: Any = "from_dtype",
        handle_unknown: str = "ignore",
        corruption: str | Corruption | None = "auto",
        penalty: str | Penalty | tuple[Penalty, ...] | None = None,
        support_fraction: float = 1.0,
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
        self.n_components = n_components
        self.beta = beta
        self.beta_warmup = beta_warmup
        self.n_importance_samples = n_importance_samples
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.decoder_layer_sizes = decoder_layer_sizes
        self.init = init
        self.standardize = standardize
        self.likelihood = likelihood
        self.categorical_features = categorical_features
        self.handle_unknown = handle_unknown
        self.corruption = corruption
        self.penalty = penalty
        self.support_fraction = support_fraction
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

    def _take(self, fit: Fit, fitted: Fitted, judged_on: Table, goes_on: bool) -> None:
        super()._take(fit, fitted, judged_on, goes_on)
        table = fit.rows.sample()
        n_rows = min(ORDERING_ROWS, ORDERING_CODES // self.n_components_ + 1)
        explained = self._explained_variance(table.take(slice(n_rows)))
        if self.best_iter_ > 0 or self.init == "random":  # a closed solution is in order
            order = np.argsort(-explained, kind="stable")
            self.module_.reorder_components_(torch.from_numpy(order).to(self.device_))
            explained = explained[order]
        self.explained_variance_ = explained * fit.scaling.error_unit
        divergences = self._fitted.map_scaled(self.module_.divergence, table.rows, dtype=np.float64)
        self.kl_per_component_ = np.average(divergences, axis=0, weights=table.counts)
        codes = self._fitted.map_scaled(self.module_.encode, table.rows, dtype=np.float64)
        self.active_units_ = Table(codes, table.weights).moments()[1] ** 2 > ACTIVE

    def _explained_variance(self, table: Table) -> np.ndarray:
        """Squared change of the reconstruction when a component is set to zero, summed over columns, as a mean over rows."""
        codes = self._fitted.map_scaled(self.module_.encode, table.rows, dtype=np.float64)
        decoded = self._fitted.map_scaled(self.module_.expect, codes)
        explained = np.empty(self.n_components_)
        for component in range(self.n_components_):
            without = codes.copy()
            without[:, component] = 0
            moves = self._fitted.map_scaled(self.module_.expect, without) - decoded
            explained[component] = np.average((moves**2).sum(axis=1), weights=table.counts)
        return explained

    @in_kind
    def posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and standard deviation of the code of each row.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        mean, deviation : ndarrays of shape (n_rows, n_components_)
            Parameters of the normal distribution with independent components by which the encoder approximates p(z | x).
            ``mean`` is what ``transform`` returns.
        """
        rows = self._admit(X)
        both = self._fitted.map_rows(lambda x: torch.cat(self.module_.posterior(x), 1), rows, dtype=np.float64)
        mean, log_variance = np.split(both, 2, axis=1)
        return mean.astype(rows.dtype, copy=False), np.exp(0.5 * log_variance).astype(rows.dtype, copy=False)

    @by_block
    def score_samples(self, X: Any, *, out: Any = None) -> np.ndarray:
        """Return the log-likelihood of each row, log p(x), estimated by importance sampling.

        The estimate is ``log(1/S sum_s p(x | z_s) p(z_s) / q(z_s | x))`` with S = ``n_importance_samples`` codes drawn from the
        row's posterior (Burda et al., 2016). Its expectation is a lower bound on log p(x), which is tighter for larger S and
        exact if the posterior is exact. The noise is the same for all rows and all calls.

        Whatever ``beta`` the model was trained with, the codes are drawn from its posterior for ``beta=1``. A model trained
        with ``beta=0`` has no such posterior, and its bound is far too low.

        The result is a density and may be compared with ``PCA.score_samples`` and ``FactorAnalysis.score_samples``. With
        ``likelihood="bernoulli"`` it is the log-probability of a row of zeros and ones, and a cross-entropy for values between
        them.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Array to write the result to, such as a ``numpy.memmap``. None makes a new array.

        Returns
        -------
        scores : ndarray of shape (n_rows,)
            In nats, in the units of the input; higher is more normal.
        """
        rows = self._admit(X)
        scores = self._weigh(lambda weights: weights.logsumexp(1), rows, self._fitted.beta)
        return scores - np.log(self.n_importance_samples) + self._fitted.log_jacobians(rows)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean of ``score_samples`` over rows.

        It may be compared between models of any size and kind.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows in the mean.

        Returns
        -------
        score : float
            In nats per row; higher is better.
        """
        return super().score(X, sample_weight=sample_weight)

    @in_kind
    def elbo(self, X: Any) -> Elbo:
        """Return the evidence lower bound of each row, split into reconstruction and divergence.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        parts : Elbo
            A named tuple of two arrays of shape (n_rows,), in nats. ``reconstruction`` is E_q[log p(x | z)] in the units of the
            input, a mean over the noise of ``score_samples``. ``kl`` is the divergence of the posterior from the prior, which
            is exact. ``parts.total``, their difference, is the bound for any ``beta``.
        """
        rows = self._admit(X)
        total = self._weigh(lambda weights: weights.mean(1), rows) + self._fitted.log_jacobians(rows)
        kl = self._fitted.map_rows(sum_of_cells(self.module_.divergence), rows, dtype=np.float64)
        return Elbo(total + kl, kl)

    def sample(self, n_samples: int = 1, random_state: Any = None, *, noise: bool = True) -> Any:
        """Draw new rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows to draw.
        random_state : int, RandomState instance or None, default=None
            Seed of the draw. None uses a new seed in each call. The global random generators are neither read nor changed.
        noise : bool, default=True
            Whether to draw cells around the decoder's mean from the likelihood. False returns the mean, which looks smoother
            and varies less than the data.

        Returns
        -------
        rows : ndarray or frame of shape (n_samples, n_features_in_)
            In the units of the input; a frame if the estimator was fitted on a frame.
        """
        check_is_fitted(self)
        check_count(1, n_samples=n_samples)
        generator = torch.Generator().manual_seed(random_seed(random_state))
        codes = torch.randn(n_samples, self.n_components_, generator=generator, dtype=torch.float64).numpy()
        return self.schema_.restore(self._fitted.in_units(self._sampled(codes, generator, noise)))

    @in_kind
    def impute(self, X: Any, *, n_imputations: int | None = None, random_state: Any = None) -> Any:
        """Fill in the missing values of a table, once or several times; observed values stay.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        n_imputations : int or None, default=None
            Number of completed tables to draw (multiple imputation). Each draws a code per row from the posterior given the
            observed cells, by importance resampling among ``n_importance_samples`` codes, and then draws the missing cells
            given this code. The tables therefore differ as much as the cells are uncertain. None fills in the expected values,
            once.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws. None uses a new seed in each call. The global random generators are neither read nor changed.

        Returns
        -------
        table : ndarray or frame of shape (n_rows, n_features_in_), or list of them
            A list if ``n_imputations`` is given. Observed cells, dtypes and index are those of X.

        References
        ----------
        D. B. Rubin (1987). Multiple imputation for nonresponse in surveys. Wiley.

        P.-A. Mattei, J. Frellsen (2019). MIWAE: deep generative modelling and imputation of incomplete data sets. ICML.
        """
        if n_imputations is None:
            return super().impute(X)
        rows = self._admit(X)
        check_count(1, n_imputations=n_imputations)
        return [self.schema_.complete(X, cells) for cells in self._plausible(rows, n_imputations, random_state)]

    def _plausible(self, rows: np.ndarray, n_draws: int, random_state: Any) -> Iterator[np.ndarray]:
        """All cells of each row, drawn given the observed ones, ``n_draws`` times."""
        generator = torch.Generator().manual_seed(random_seed(random_state))
        codes = self._posterior_codes(rows, n_draws, generator)
        return (self._fitted.in_units(self._sampled(some, generator)) for some in codes.swapaxes(0, 1))

    def _posterior_codes(self, rows: np.ndarray, n_draws: int, generator: torch.Generator) -> np.ndarray:
        """Codes drawn for each row, ``(n_rows, n_draws, n_components_)``."""
        noise, beta = self._fitted.noise(self._n_draws), self._fitted.beta
        uniform = torch.rand(len(rows), n_draws, generator=generator, dtype=torch.float64).numpy()
        scaled = self._fitted.scaled(rows)
        n_columns = scaled.shape[1]

        def of_rows(both: Tensor) -> Tensor:
            x, draws = both[:, :n_columns].contiguous(), both[:, n_columns:].contiguous()
            shares = self.module_.log_weights(x, noise, beta).softmax(1).cumsum(1)
            chosen = torch.searchsorted(shares, draws * shares[:, -1:]).clamp(max=len(noise) - 1)
            return self.module_.codes_at(x, noise[chosen], beta)

        both = np.concatenate([scaled, uniform], axis=1)
        return self._fitted.map_scaled(of_rows, both, dtype=np.float64, n_passes=self._n_draws)

    def _sampled(self, codes: np.ndarray, generator: torch.Generator, noise: bool = True) -> np.ndarray:
        """Cells drawn for each code, or expected cells without noise, on the scale of the networks."""
        params = torch.from_numpy(self._fitted.map_scaled(self.module_.decoder, codes))
        likelihood = deepcopy(self.module_.likelihood).cpu().double()
        cells = likelihood.sample(params, generator) if noise else likelihood.mean(params)
        return cells.detach().numpy()

    def _weigh(self, summary: Callable[[Tensor], Tensor], rows: np.ndarray, beta: float = 1.0) -> np.ndarray:
        """A summary of the importance weights of each row over the draws."""
        noise = self._fitted.noise(self._n_draws)

        def of_rows(x: Tensor) -> Tensor:
            return summary(self.module_.log_weights(x, noise, beta).to(widest(x.device)))

        return self._fitted.map_rows(of_rows, rows, dtype=np.float64, n_passes=self._n_draws)

    @property
    def _n_draws(self) -> int:
        return int(self.n_importance_samples)
