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
ORDERING_ROWS = 2000  # at most, that decide the order of the components; each is decoded once per component, ...
ORDERING_CODES = 200_000  # ... so that many components see fewer rows, and ordering takes no longer than an epoch


class Elbo(NamedTuple):
    """The two parts of the evidence lower bound, in nats per row: it is their difference."""

    reconstruction: np.ndarray
    kl: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """The bound itself, ``reconstruction - kl``."""
        return self.reconstruction - self.kl


class VAETransformer(BaseAutoencoder):
    """Compress a table to a few normal variables, with a likelihood that can be trusted.

    An encoder maps each row to a normal distribution over codes and a decoder maps each code to the row that it expects, with
    noise around it: a variational autoencoder (Kingma and Welling, 2014; Rezende et al., 2014). Both start at the closed
    solution of the linear model, probabilistic PCA or factor analysis, whose likelihood theirs then equals exactly, and are
    trained to depart from it where that clearly raises the likelihood of rows that were held out. ``score_samples`` is a log
    density, to be set beside ``PCA.score_samples``, ``FactorAnalysis.score_samples`` or any other.

    Parameters
    ----------
    n_components : int, float or None, default=2
        Size of the code. A float between 0 and 1 takes as many as PCA needs to explain more than that share of the variance.
        None takes as many as there are columns, or rows where these are fewer.
        What the table has no use for is switched off: see ``active_units_``.
    beta : float, default=1.0
        Weight of the divergence of the posterior from the prior. 1 is the evidence lower bound. More makes codes that are
        simpler and independent of each other and reconstructions that are coarser (Higgins et al., 2017); 0 leaves an
        autoencoder whose codes are noisy as far as that helps, and from which it makes no sense to sample.
    beta_warmup : int, default=0
        Epochs over which the weight grows linearly to ``beta``. A remedy where units switch off early (Bowman et al., 2016),
        which from the default start they do not.
    n_importance_samples : int, default=128
        Codes per row that ``score_samples`` and ``elbo`` average over. More make ``score_samples`` tighter and slower;
        powers of two are spread best.
    hidden_layer_sizes : tuple of int, default=(128,)
        Widths of the encoder's hidden layers, input side first. ``()`` makes a linear model, which with ``init="pca"`` is
        probabilistic PCA, or with ``likelihood="gaussian_diag"`` factor analysis.
    activation : {"identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="gelu"
        Of the hidden layers.
    decoder_layer_sizes : tuple of int or None, default=None
        Widths of the decoder's hidden layers, code side first. None mirrors the encoder.
    init : {"pca", "random"}, default="pca"
        ``"pca"`` gives both networks a linear path beside the hidden layers and starts them, and the noise, at the maximum
        likelihood solution of the linear model: probabilistic PCA with one variance of the noise (the optimum for any
        ``beta``), factor analysis with one per column. ``"random"`` is the plain multi-layer perceptron of the textbooks.
    standardize : bool or {"auto", "robust", "quantile"}, default="auto"
        Whether columns of numbers are brought to zero mean and unit variance, and back on the way out. Without it columns keep
        their proportions: they are centred and divided by one common factor, which changes nothing but the numbers' size.

        ``"robust"`` does so after wild cells are compressed: beyond 20 spreads from the median a column grows as a logarithm
        only, so that no cell decides the scale, as in ``RobustScaler``. ``"quantile"`` brings each column to a normal
        distribution, as ``QuantileTransformer`` does, by a smooth function whose derivative is part of the likelihood, so that
        scores stay densities in the units of the input. A column stays as it is where held-out cells are not clearly likelier
        so. With both, a column of many values of which a tenth and more are the lowest, or the highest (no rain, no gain), is a
        yes or no and a number: a hurdle model. Methods with derivatives by cells, such as ``tangent_space``, need True or
        False.

        ``"auto"`` is ``"quantile"`` in a mixed frame, and True in a table of numbers, where models start as PCA.
    likelihood : {"auto", "gaussian", "gaussian_diag", "mse", "bernoulli"}, default="auto"
        How a cell is scored. ``"gaussian"``: normal, with one learned variance for all columns. ``"gaussian_diag"``: with one
        per column. ``"mse"``: normal with variance 1, half the squared error and a constant, in standardised units where
        ``standardize=True``. ``"bernoulli"``: cross-entropy, for cells in [0, 1], which are then not standardised; its start
        is on the scale of the logits and claims nothing exact. ``"auto"`` is ``"gaussian_diag"`` where factor analysis, with or
        without a mild prior on the noise, makes held-out rows clearly likelier than probabilistic PCA, else ``"gaussian"``, as
        also where no rows are held out. Applies to numeric columns only; ``"auto"`` is ``"gaussian_diag"`` where other columns
        stand beside them or cells are missing.
    categorical_features : "from_dtype", None, or array-like of names, indices or booleans, default="from_dtype"
        Which columns are categories, as in ``HistGradientBoostingClassifier``. ``"from_dtype"``: those of a frame that are
        categories, strings or enumerations. None: no column may be; or a list of them, numbers included, also of an array.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories unseen during ``fit``. ``"ignore"`` takes them as missing; ``"error"`` raises.
    corruption : {"auto", "gaussian", "masking", "salt_and_pepper", "swap"}, corruption object or None, default="auto"
        What is done to the input, anew in every step, while the output is compared with the clean row: a denoising variational
        autoencoder (Im et al., 2017). A name is the object with its default level, ``"swap"`` is ``SwapNoise()``; an object,
        such as ``SwapNoise(0.2)``, has a level that can be searched as ``corruption__level``. Epochs are then chosen on
        corrupted held-out rows. Applying the model corrupts nothing.
        ``"auto"`` is none for a table of numbers and ``Masking((0, 0.5))`` for a mixed frame: up to half of the observed cells
        of each row are hidden from the encoder, so that the codes of rows with missing cells can be trusted.
    penalty : {"l1", "l2", "contractive"}, penalty object, tuple of them or None, default=None
        What is charged beside the likelihood. The code that penalties see is the posterior mean. A name is the object with its
        default weight, ``"l1"`` is ``L1()``; an object, such as ``Contractive(0.3)``, has a weight that can be searched as
        ``penalty__weight``. Charges do not depend on the scale of the code. They are compared with the evidence lower bound,
        in nats.
    support_fraction : float, default=1.0
        Share of each batch that is trained on, in (0, 1]: the rows that are reconstructed best, as in ``EllipticEnvelope``.
        Less than 1 keeps outlying rows from being learned. The start is computed from all rows, and all held-out rows judge,
        so that it shows most with ``init="random"`` and ``early_stopping=False``; a closed solution does not depend on it.
    weight_decay : float, default=0.0
        Decoupled weight decay (Loshchilov and Hutter, 2019): the share of each weight taken off per step, times the learning
        rate.
    learning_rate : {"cosine", "constant"}, default="cosine"
        Schedule, after a warm-up over the first 5 % of the steps. ``"cosine"`` falls to zero at ``max_iter``.
    learning_rate_init : float or "auto", default="auto"
        Highest learning rate, of Adam (Kingma and Ba, 2015). ``"auto"`` is 1e-2, times 16 / n_columns where there are more
        columns than 16: every weight takes a step, and together they move a code too far.
    batch_size : int or "auto", default="auto"
        Most rows per step; the rows are dealt as evenly as can be. ``"auto"`` is 128, and 2048 for a linear model, whose
        steps are cheap and need little noise.
    max_iter : int or "auto", default="auto"
        Most epochs. ``"auto"`` is as many as make 60 sqrt(n_rows) steps, and at least 1500 (10,000 for a linear model), so that
        time grows with the square root of the table. An epoch deals every row once, and of more than 2**20 rows so many.
    tol : float, default=1e-4
        An epoch counts as progress when the loss per cell falls by more than this, in nats.
    early_stopping : bool or "auto", default="auto"
        Whether the number of epochs is chosen on held-out rows. The start counts as epoch 0. Small tables are cross-validated,
        and a model of all rows is trained along with those of the folds; large tables have one split. A start
        at a closed solution is kept unless the gain over it is certain and worthwhile; the page "Design" of the documentation
        states both in numbers. ``"auto"`` is True where something nonlinear is trained or ``X_val`` is given. Fewer than 10
        distinct rows are too few to hold any out: the answer is the start, or with ``init="random"`` the last epoch. What is
        solved in closed form, a linear model from its start, is not trained at all.
    validation_fraction : float, default=0.1
        Share of the rows held out where there is one split, and with ``warm_start``; of a table that is read block by block
        100,000 rows at most.
    n_iter_no_change : int or "auto", default="auto"
        Epochs without progress after which training stops. ``"auto"`` is a tenth of ``max_iter`` where held-out rows judge, a
        fifth where they are judged by cells that are hidden from the model, and at least 10; else training goes to its end.
        Where what was gained over a closed solution is far from certain, training ends before.
    shuffle : bool, default=True
        Whether each epoch deals the rows anew.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the previous fit: its columns, its standardisation and its weights, with a fresh optimiser
        and schedule. Layers and code size must be the same.
    random_state : int, RandomState instance or None, default=None
        Seed of the private generators: initial weights, splits, permutations, draws of codes, and the noise of
        ``score_samples``. None takes fresh entropy; the global generators are never touched.
    verbose : bool or int, default=False
        Whether to show a progress bar with epoch, loss and validation loss.
    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps". ``"auto"`` is CUDA where there is one, else the CPU.

    Attributes
    ----------
    module_ : torch.nn.Module
        Encoder, bottleneck, decoder and likelihood, on the scale that the networks see.
    n_components_ : int
        Size of the code. Components stand in falling order of ``explained_variance_``, at a closed solution in its own order.
    explained_variance_ : ndarray of shape (n_components_,)
        By how much the reconstruction of a row moves when a component is set to zero: the mean square, summed over columns, of
        standardised columns with ``standardize=True``, else in squared input units, and of probabilities of levels; over at
        most 2000 rows taken at random. For a linear model the squared length of the component's loadings times the variance of
        its codes.
    kl_per_component_ : ndarray of shape (n_components_,)
        Mean over training rows of each component's divergence from the prior, in nats: how much it tells of a row.
    active_units_ : ndarray of bool of shape (n_components_,)
        Which components are in use: those whose posterior mean has a variance over training rows above 0.01 (Burda et al.,
        2016).
    noise_variance_ : float, ndarray of shape (n_columns,), or None
        Variance of a cell around the decoder's mean, one for all columns or one for each; 1 for ``likelihood="mse"``, None for
        ``"bernoulli"``. Of standardised columns with ``standardize=True``, else in squared input units. Never below 1e-6 of
        a column's variance; with missing cells or in a mixed frame never below what rounding to neighbouring values makes, and
        in the latter not below that of cells which the model does not see.
    loss_curve_ : list of float
        Training loss per epoch of the last training, the mean over folds where there are any, in nats per row on the scale of
        the networks, after those of earlier fits with ``warm_start``. Empty where nothing was trained.
    validation_scores_ : list of float or None
        Mean evidence lower bound of the held-out rows, those of all folds, in nats, with the divergence weighed by ``beta``;
        higher is better. Entry 0 is the start. Of more than 150 epochs some are judged, the others have the score of the one
        before. None where no rows were held out.
    penalties_ : tuple of penalties
        As they were charged: for ``Contractive`` with ``n_probes`` decided.
    n_iter_ : int
        Epochs of the last training, at least 1. The model has the weights of ``best_iter_``.
    best_iter_ : int
        Epoch that was best on the held-out rows, 0 for the start; without such rows the last one.
    schema_ : Schema
        What each column of the training table is; prints as a table.
    device_ : torch.device
        Where the model is.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the training table had column names.

    See Also
    --------
    AutoencoderTransformer : Without a distribution over codes, for reconstruction.
    sklearn.decomposition.PCA : With ``score_samples``, the linear special case.
    sklearn.decomposition.FactorAnalysis : The linear special case with one variance of the noise per column.

    Notes
    -----
    The loss is ``E_q[-log p(x | z)] + beta KL(q(z | x) || N(0, I))`` per row, summed over columns and over components, with one
    draw of z per row and step and the divergence in closed form. Means, variances and the start are computed in float64.
    Networks are trained in float32, linear ones in float64. Their outputs are measured in what they may err by at the start,
    the standard deviations of the posterior and of the noise, so that one learning rate suits columns that are almost
    determined and columns that are mostly noise.

    Categories, strings, booleans and dates of a frame, and missing cells of any table, are taken in as they are, and come back
    in their dtypes. Each kind of column has a likelihood of its own: numbers and dates a normal one, booleans Bernoulli's,
    categories the cross-entropy. A missing cell adds nothing to the loss; the encoder sees what a linear model expects of it
    given the row's other cells, and that it is missing. The start is factor analysis by expectation-maximisation. Rare levels
    of a column share one, and columns of nothing but rare ones, such as names, are left out and come back missing; a warning
    says which. A row without any cell has the code of the mean row.

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
        """Mean square, summed over columns, by which each row's reconstruction moves when a component is set to zero."""
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
        both = self._fitted.map_rows(lambda x: torch.cat(self.module_.posterior(x), 1), rows, dtype=np.float64)
        mean, log_variance = np.split(both, 2, axis=1)
        return mean.astype(rows.dtype, copy=False), np.exp(0.5 * log_variance).astype(rows.dtype, copy=False)

    @by_block
    def score_samples(self, X: Any, *, out: Any = None) -> np.ndarray:
        """Log-likelihood of each row, log p(x), by importance weighting.

        ``log(1/S sum_s p(x | z_s) p(z_s) / q(z_s | x))`` with S = ``n_importance_samples`` codes from the row's posterior. It
        is a lower bound on log p(x) in expectation, tighter the larger S is, and exact where the posterior is (Burda et al.,
        2016). The noise is the same for all rows and all calls. The codes are drawn from the posterior of ``beta=1``, which a
        model trained with another ``beta`` still tells; only ``beta=0`` leaves none, and a bound that is far too low.

        It is a density, which stands beside ``PCA.score_samples`` and ``FactorAnalysis.score_samples``; with
        ``likelihood="bernoulli"`` the probability of a row of zeros and ones, and between them a cross-entropy.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Where to write the result, such as a ``numpy.memmap``; None makes a new array.

        Returns
        -------
        scores : ndarray of shape (n_rows,)
            In nats, in the units of the input; higher is more normal.
        """
        rows = self._admit(X)
        scores = self._weigh(lambda weights: weights.logsumexp(1), rows, self._fitted.beta)
        return scores - np.log(self.n_importance_samples) + self._fitted.log_jacobians(rows)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean of ``score_samples`` over rows, which may be compared between models of any size and kind.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows in the mean.

        Returns
        -------
        score : float
        """
        return super().score(X, sample_weight=sample_weight)

    @in_kind
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
        total = self._weigh(lambda weights: weights.mean(1), rows) + self._fitted.log_jacobians(rows)
        kl = self._fitted.map_rows(sum_of_cells(self.module_.divergence), rows, dtype=np.float64)
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
        check_count(1, n_samples=n_samples)
        generator = torch.Generator().manual_seed(random_seed(random_state))
        codes = torch.randn(n_samples, self.n_components_, generator=generator, dtype=torch.float64).numpy()
        return self.schema_.restore(self._fitted.in_units(self._sampled(codes, generator, noise)))

    @in_kind
    def impute(self, X: Any, *, n_imputations: int | None = None, random_state: Any = None) -> Any:
        """Fill in the missing cells of a table, and these alone, once or several times.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        n_imputations : int or None, default=None
            How many completed tables to draw. Each takes a code per row from the posterior given the row's observed cells, by
            importance resampling among ``n_importance_samples``, and cells around what the decoder makes of it, so that the
            tables differ as much as the cells are uncertain. None fills in the expected cells, once.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws. None takes fresh entropy; the global generators are never touched.

        Returns
        -------
        table : ndarray or frame of shape (n_rows, n_features_in_), or list of them
            A list where ``n_imputations`` is given. Observed cells, dtypes and index are X's.

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
        """All cells of rows, drawn given the observed ones, so many times."""
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
        """Cells drawn for each code, or with no noise expected, on the scale of the networks."""
        params = torch.from_numpy(self._fitted.map_scaled(self.module_.decoder, codes))
        likelihood = deepcopy(self.module_.likelihood).cpu().double()
        cells = likelihood.sample(params, generator) if noise else likelihood.mean(params)
        return cells.detach().numpy()

    def _weigh(self, summary: Callable[[Tensor], Tensor], rows: np.ndarray, beta: float = 1.0) -> np.ndarray:
        """A summary over draws of the importance weights of each row."""
        noise = self._fitted.noise(self._n_draws)

        def of_rows(x: Tensor) -> Tensor:
            return summary(self.module_.log_weights(x, noise, beta).to(widest(x.device)))

        return self._fitted.map_rows(of_rows, rows, dtype=np.float64, n_passes=self._n_draws)

    @property
    def _n_draws(self) -> int:
        return int(self.n_importance_samples)
