"""The autoencoder as a scikit-learn transformer."""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import linalg

from skvae._base import BaseAutoencoder
from skvae._fit.fit import Fit
from skvae._fit.settings import ACTIVATIONS, Corruption, Penalty
from skvae._fitted import Fitted
from skvae._principal import PrincipalAxes, explained_share, total_variance
from skvae._tables.rows import Table
from skvae._validation import Interval, StrOptions


class AutoencoderTransformer(BaseAutoencoder):
    """Reduce the number of columns with an autoencoder, as PCA does.

    An encoder network maps each row to a code of ``n_components`` numbers, and a decoder network maps the code back to a row.
    Both start at PCA. Training replaces this start only if that clearly raises the likelihood of held-out rows; otherwise the
    result is PCA. This guarantee does not cover rows from another distribution, ``init="random"``, or ``early_stopping=False``.

    Denoising, sparse, contractive and k-sparse autoencoders are settings of this class. There, training replaces
    the start if it clearly improves their own objective.

    Parameters
    ----------
    n_components : int, float or None, default=2
        Number of components of the code. Two can be plotted; more reconstruct rows better. A float between 0 and 1 takes as
        many as PCA needs to explain more than that share of the variance. None takes as many as there are columns, or as many
        as there are rows if these are fewer. A code may have more components than the table has columns (overcomplete).
    hidden_layer_sizes : tuple of int, default=(128,)
        Widths of the encoder's hidden layers, from the input to the code. One layer of 128 was the smallest network with most
        of the gain over PCA on the tables that we tried. Images gain from more, e.g. ``(512, 256)``. ``()`` makes a linear
        autoencoder, which is PCA with ``init="pca"``.
    activation : {"identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="gelu"
        Activation of the hidden layers. On 32 tables that were not used to choose the default, ``"relu"`` takes a fifth less
        time; its error is the same at the median, but up to 3.6 times as large on single tables. ``"silu"`` and ``"tanh"`` have
        larger errors on average.
    decoder_layer_sizes : tuple of int or None, default=None
        Widths of the decoder's hidden layers, from the code to the output. None mirrors the encoder.
    init : {"pca", "random"}, default="pca"
        ``"pca"`` adds a linear path beside the hidden layers of both networks and starts them at the PCA of the training rows.
        ``"random"`` makes an ordinary multi-layer perceptron with random weights.
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
    likelihood : {"auto", "gaussian", "mse", "bernoulli"}, default="auto"
        Distribution of a numeric cell around its reconstruction.

        * ``"gaussian"``: normal, with one learned variance for all columns.
        * ``"mse"``: normal with variance 1, in standardised units with ``standardize=True``. The loss is half the squared error
          plus a constant.
        * ``"bernoulli"``: cross-entropy, for cells in [0, 1]. They are not standardised.
        * ``"auto"``: ``"gaussian"``, with one variance per column in a mixed frame.
    categorical_features : "from_dtype", None, or array-like of names, indices or booleans, default="from_dtype"
        Which columns are categories, as in ``HistGradientBoostingClassifier``. ``"from_dtype"`` selects the columns of a frame
        that hold categories, strings or enumerations. An array-like selects columns by name, index or mask; they may hold
        numbers, and X may be an array. None declares that there are no categories; a column of strings then raises an error.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories that were not seen during ``fit``. ``"ignore"`` takes them as missing values; ``"error"`` raises
        an error.
    corruption : {"auto", "gaussian", "masking", "salt_and_pepper", "swap"}, corruption object or None, default="auto"
        How to damage the input in each training step, while the output is compared with the undamaged row. This makes a
        denoising autoencoder (Vincent et al., 2008). A name stands for the object with its default level: ``"swap"`` is
        ``SwapNoise()``. An object, such as ``SwapNoise(0.2)``, sets the level, which a search reaches as ``corruption__level``.
        The number of epochs is chosen on corrupted held-out rows. The fitted model never corrupts its input.

        ``"auto"`` is None for a table of numbers and ``Masking((0, 0.5))`` for a mixed frame: up to half of the observed cells
        of each row are hidden from the encoder, so that rows with missing values get reliable codes.
    penalty : {"l1", "l2", "kl_sparsity", "contractive"}, penalty object, tuple of them or None, default=None
        Penalty that is added to the loss. A name stands for the object with its default weight: ``"l1"`` is ``L1()``. An
        object, such as ``Contractive(0.3)``, sets the weight, which a search reaches as ``penalty__weight``. Penalties do not
        depend on the scale of the code. They are added to half the squared error of a row on the scale of the networks.
        ``"kl_sparsity"`` needs ``code_activation="logistic"``.
    whiten : bool, default=True
        Whether the components of a model that is PCA have unit variance. False puts its codes on the scale of the rows, as
        ``PCA(whiten=False)`` does. All other models learn the scale of their codes and need True.
    code_activation : {"identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="identity"
        Activation of the code. With ``init="pca"`` the code starts where its activation is almost linear.
    n_nonzero_coefs : int or None, default=None
        Number of entries kept in each code, those with the largest magnitude. The others are set to zero, which makes a
        k-sparse autoencoder (Makhzani and Frey, 2014). None keeps all entries. A dictionary with more components than columns
        is learned best with ``init="random"`` and ``code_activation="relu"``.
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
        Highest learning rate of Adam (Kingma and Ba, 2015). ``"auto"`` is 1e-2, and ``1e-2 * (256 / n_columns) ** 2`` for more
        than 256 columns, because the steps of the many weights of a wide layer add up. Lower it if training diverges.
    batch_size : int or "auto", default="auto"
        Maximum number of rows per step; all batches have nearly the same size. ``"auto"`` is 128, and 2048 for a linear model,
        whose steps are cheap and do not need the noise of small batches.
    max_iter : int or "auto", default="auto"
        Maximum number of epochs. An epoch uses every row once, or 2**20 rows of a larger table. ``"auto"`` allows
        ``60 * sqrt(n_rows)`` steps, so that time grows with the square root of the number of rows, and at least 1500 steps
        (3000 for a linear model). Raise it after a ``ConvergenceWarning``.
    tol : float, default=1e-4
        An epoch counts as progress if the loss per cell falls by more than this, in nats.
    early_stopping : bool or "auto", default="auto"
        Whether to choose the number of epochs on held-out rows. The start counts as epoch 0. Small tables are cross-validated
        in five folds, and the final model is trained on all rows along with them; large tables have a single split. A start at
        PCA is replaced only if the gain is certain and worthwhile; the page "Design" of the documentation gives all thresholds.

        ``"auto"`` is True if the networks have hidden layers, the table has missing values or columns other than numbers, or
        ``X_val`` is given. With fewer than 10 distinct rows none are held out: the result is PCA, or the last epoch with
        ``init="random"``. A linear model that starts at PCA is not trained at all.
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
        Seed of the initial weights, the splits and the order of the rows. None uses a new seed in each fit. The global random
        generators are neither read nor changed.
    verbose : bool or int, default=False
        Whether to show a progress bar with the epoch, the loss and the validation loss.
    device : str, default="auto"
        Device of the networks: "cpu", "cuda", "cuda:1" or "mps". ``"auto"`` is CUDA if it is available and a training step is
        large enough to profit from it, and else the CPU.

    Attributes
    ----------
    module_ : torch.nn.Module
        Encoder, decoder and likelihood, on the scale of the networks.
    n_components_ : int
        Number of components of the code.
    components_ : ndarray of shape (n_components_, n_features_in_)
        Principal axes, as rows; with ``standardize=True`` those of the standardised columns. Only if the model is PCA, which it
        is after a fit to numeric columns with ``hidden_layer_sizes=()`` and ``init="pca"``.
    mean_ : ndarray of shape (n_features_in_,)
        Mean of each column, in the units of the input. Only if the model is PCA.
    explained_variance_ : ndarray of shape (n_components_,)
        Variance along each axis, of standardised columns with ``standardize=True``, and else in squared units of the input.
        Only if the model is PCA.
    explained_variance_ratio_ : ndarray of shape (n_components_,) or (1,)
        Share of the variance that each component explains, if the model is PCA. For other models a single number: the share
        that reconstructions explain, of held-out rows if there were any.
    singular_values_ : ndarray of shape (n_components_,)
        Singular values of the centred rows. Only if the model is PCA.
    noise_variance_ : float, ndarray of shape (n_columns,), or None
        Variance of a cell around its reconstruction: the mean squared residual, of held-out rows if there were any. It is 1 for
        ``likelihood="mse"`` and None for ``"bernoulli"``. It refers to columns as they are scaled, and to squared units of the
        input with ``standardize=False``. With missing values or in a mixed frame it is an array, with NaN for columns without
        numbers; its entries are equal unless the frame is mixed. If a corruption hides cells, it is the variance of hidden
        cells.
    loss_curve_ : list of float
        Training loss after each epoch, the mean over folds, in nats per row. With ``warm_start`` the losses of earlier fits
        come first. Empty if nothing was trained. The loss uses the noise variance of the start. With a corruption, a penalty, a
        sparse code or an activated code it uses a variance of 1 on the scale of the networks, and includes the penalties.
    validation_scores_ : list of float or None
        Mean log-likelihood of the held-out rows of all folds, in nats; higher is better. It uses the noise variance of
        ``loss_curve_``, and penalties are subtracted. Entry 0 is the start. If there are more than 150 epochs, only some are
        scored, and the others repeat the score before. None if no rows were held out.
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
    VAETransformer : With a distribution over codes, for likelihoods and new rows.
    sklearn.decomposition.PCA : The linear special case.

    Notes
    -----
    Means, variances and the PCA are computed in float64. Networks are trained in float32, linear ones in float64. Equal rows
    are merged and sorted by a hash first. An integer weight therefore equals repetition to the last bit, and the order of the
    rows makes no difference.

    Frames may hold numbers, booleans, categories, strings and dates, and any table may have missing values. Reconstructed and
    imputed tables keep the dtypes of the input. Each kind of column has its own likelihood: normal for numbers and dates,
    Bernoulli for booleans, cross-entropy for categories. Missing values add nothing to the loss. The encoder is told which
    values are missing, and sees in their place what a linear model expects given the other cells of the row. A row without any
    observed value has the code of the mean row.

    In a column of more than 20 categories, those with fewer than 10 rows (or 1 % of the rows, if that is less) are rare, and
    are merged into one. Columns with nothing but rare categories, such as names, are ignored and come back missing; a warning
    names these columns.

    A linear model of an incomplete table of numbers is probabilistic PCA by expectation-maximisation (Ilin and Raiko, 2010).

    The whitened codes of the start equal ``PCA(n_components, whiten=True).transform``.

    References
    ----------
    P. Baldi, K. Hornik (1989). Neural networks and principal component analysis: learning from examples without local minima.
    Neural Networks 2.

    G. E. Hinton, R. R. Salakhutdinov (2006). Reducing the dimensionality of data with neural networks. Science 313.

    P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol (2008). Extracting and composing robust features with denoising
    autoencoders. ICML.

    A. Ilin, T. Raiko (2010). Practical approaches to principal component analysis in the presence of missing values. JMLR 11.

    S. Rifai, P. Vincent, X. Muller, X. Glorot, Y. Bengio (2011). Contractive auto-encoders: explicit invariance during feature
    extraction. ICML.

    A. Makhzani, B. Frey (2014). k-sparse autoencoders. ICLR.

    D. P. Kingma, J. Ba (2015). Adam: a method for stochastic optimization. ICLR.

    I. Loshchilov, F. Hutter (2019). Decoupled weight decay regularization. ICLR.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer
    >>> X = load_iris().data
    >>> model = AutoencoderTransformer(n_components=2, random_state=0)
    >>> model.fit_transform(X).shape
    (150, 2)

    A frame with categories and missing values, which ``impute`` fills in:

    >>> import pandas as pd
    >>> frame = pd.DataFrame(X[:, :2], columns=["length", "width"])
    >>> species = load_iris().target_names[load_iris().target]
    >>> frame["species"] = pd.Categorical(species)
    >>> frame.loc[::5, "species"] = None
    >>> model = AutoencoderTransformer(2, max_iter=50, random_state=0)
    >>> int(model.fit(frame).impute(frame)["species"].isna().sum())
    0

    A denoising autoencoder with more components than columns:

    >>> options = {"early_stopping": False, "random_state": 0}
    >>> denoiser = AutoencoderTransformer(16, corruption="swap", **options)
    >>> denoiser.fit(X).reconstruct(X[:1]).shape
    (1, 4)
    """

    _variational: ClassVar[bool] = False
    _axes: PrincipalAxes | None
    _explained: float | None
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseAutoencoder._parameter_constraints,
        "whiten": ["boolean"],
        "code_activation": [StrOptions(set(ACTIVATIONS))],
        "n_nonzero_coefs": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        n_components: int | float | None = 2,
        *,
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
        whiten: bool = True,
        code_activation: str = "identity",
        n_nonzero_coefs: int | None = None,
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
        self.whiten = whiten
        self.code_activation = code_activation
        self.n_nonzero_coefs = n_nonzero_coefs
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
        self._axes, self._explained = None, None
        if fitted.is_number.all() and fitted.marginals.are_plain:
            is_pca = fit.result is None and not (fitted.module.encoder.hidden or fitted.module.decoder.hidden)
            variance = total_variance(fitted, standardized=self.standardize is not False)
            self._axes = PrincipalAxes.of(fitted, fit.rows, variance) if is_pca else None
            self._explained = explained_share(fitted, variance) if self.likelihood in {"auto", "gaussian"} else None
        if self.whiten:
            return
        if self._axes is None:
            raise ValueError(
                "whiten=False puts the codes of PCA on the scale of the rows, but this model is not PCA: it was trained, or "
                "its columns are not all numbers with standardize=True or False. Use whiten=True, or hidden_layer_sizes=() "
                "and init='pca'."
            )
        fitted.module.rescale_components_(torch.from_numpy(np.sqrt(self.explained_variance_)))

    def _principal(self, name: str) -> PrincipalAxes:
        """The principal axes, for the attribute or method ``name`` that needs them."""
        axes = getattr(self, "_axes", None)
        if axes is None:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}. Only a model that is PCA has it: fit numeric "
                "columns with hidden_layer_sizes=() and init='pca'."
            )
        return axes

    @property
    def components_(self) -> np.ndarray:
        """Principal axes, unit vectors as rows."""
        return self._principal("components_").axes

    @property
    def mean_(self) -> np.ndarray:
        """Mean of each column, in the units of the input."""
        return self._principal("mean_").mean

    @property
    def explained_variance_(self) -> np.ndarray:
        """Variance of the rows along each principal axis."""
        return self._principal("explained_variance_").deviations ** 2 * self._fitted.scaling.error_unit

    @property
    def singular_values_(self) -> np.ndarray:
        """Singular values of the centred rows."""
        axes = self._principal("singular_values_")
        return np.sqrt(self.explained_variance_ * axes.divisor)

    @property
    def explained_variance_ratio_(self) -> np.ndarray:
        """Share of the variance that each component explains, or that all explain together if the model is not PCA."""
        self._of_fit("explained_variance_ratio_")
        if self._axes is not None:
            return self._axes.deviations**2 / (self._axes.total or 1.0)
        if self._explained is None:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute 'explained_variance_ratio_'. Fit numeric columns with "
                "likelihood='gaussian' and standardize=True or False to have it."
            )
        return np.array([self._explained])

    def get_covariance(self) -> np.ndarray:
        """Return the covariance of the columns under probabilistic PCA, as ``PCA.get_covariance``.

        Returns
        -------
        covariance : ndarray of shape (n_features_in_, n_features_in_)
            In the units of the input.

        Raises
        ------
        AttributeError
            If the model is not PCA.
        """
        return self._principal("get_covariance").covariance()

    def get_precision(self) -> np.ndarray:
        """Return the inverse of the covariance, as ``PCA.get_precision``.

        Returns
        -------
        precision : ndarray of shape (n_features_in_, n_features_in_)

        Raises
        ------
        AttributeError
            If the model is not PCA.
        """
        return linalg.pinvh(self._principal("get_precision").covariance())
