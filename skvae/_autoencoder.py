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
    """Compress a table to a few columns and back, by defaults no worse than PCA.

    An encoder network maps each row to a code of ``n_components`` numbers and a decoder network maps the code to the row that
    it expects. Both start as PCA's linear maps and are trained to depart from them where that raises the likelihood of rows
    that were held out; where it does not clearly, the result is PCA itself. Rows that come later from elsewhere, a random start
    and ``early_stopping=False`` are without that assurance. Denoising, sparse, contractive and k-sparse autoencoders are
    settings of it, which have aims of their own and are judged by these.

    Parameters
    ----------
    n_components : int, float or None, default=2
        Size of the code. A float between 0 and 1 takes as many as PCA needs to explain more than that share of the variance.
        None takes as many as there are columns, or rows where these are fewer. More components than columns are allowed (an
        overcomplete code).
    hidden_layer_sizes : tuple of int, default=(128,)
        Widths of the encoder's hidden layers, input side first. ``()`` makes a linear autoencoder, which with ``init="pca"``
        is PCA. One layer of 128 was the smallest that took most of the gain over PCA on the tables that we tried; images gain
        from more, e.g. ``(512, 256)``.
    activation : {"identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="gelu"
        Of the hidden layers. On 32 tables that the default was not chosen on, ``"relu"`` takes a fifth less time
        and errs as much at the median, but up to 3.6 times as much on single tables; ``"silu"`` and ``"tanh"``
        err more on average.
    decoder_layer_sizes : tuple of int or None, default=None
        Widths of the decoder's hidden layers, code side first. None mirrors the encoder.
    init : {"pca", "random"}, default="pca"
        ``"pca"`` gives both networks a linear path beside the hidden layers and starts them at the PCA of the training rows.
        ``"random"`` is the plain multi-layer perceptron of the textbooks.
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
    likelihood : {"auto", "gaussian", "mse", "bernoulli"}, default="auto"
        How a cell is scored. ``"gaussian"``: normal with one learned variance. ``"mse"``: normal with unit variance, in
        standardised units where ``standardize=True``. ``"bernoulli"``: cross-entropy, for cells in [0, 1], which are then not
        standardised. Applies to numeric columns only. ``"auto"`` is ``"gaussian"``, and in a mixed frame normal with one
        variance per column.
    categorical_features : "from_dtype", None, or array-like of names, indices or booleans, default="from_dtype"
        Which columns are categories, as in ``HistGradientBoostingClassifier``. ``"from_dtype"``: those of a frame that are
        categories, strings or enumerations. None: no column may be; or a list of them, numbers included, also of an array.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories unseen during ``fit``. ``"ignore"`` takes them as missing; ``"error"`` raises.
    corruption : {"auto", "gaussian", "masking", "salt_and_pepper", "swap"}, corruption object or None, default="auto"
        What is done to the input, anew in every step, while the output is compared with the clean row: a denoising autoencoder
        (Vincent et al., 2008). A name is the object with its default level, ``"swap"`` is ``SwapNoise()``; an object, such as
        ``SwapNoise(0.2)``, has a level that can be searched as ``corruption__level``. Epochs are then chosen on corrupted
        held-out rows. Applying the model corrupts nothing.
        ``"auto"`` is none for a table of numbers and ``Masking((0, 0.5))`` for a mixed frame: up to half of the observed cells
        of each row are hidden from the encoder, so that the codes of rows with missing cells can be trusted.
    penalty : {"l1", "l2", "kl_sparsity", "contractive"}, penalty object, tuple of them or None, default=None
        What is charged beside the likelihood. ``"kl_sparsity"`` needs ``code_activation="logistic"``. A name is the object with
        its default weight, ``"l1"`` is ``L1()``; an object, such as ``Contractive(0.3)``, has a weight that can be searched as
        ``penalty__weight``. Charges do not depend on the scale of the code. They are compared with half the squared error on
        the scale of the networks.
    whiten : bool, default=True
        Whether the components of a linear autoencoder that is PCA have unit variance. False puts its codes on the scale of the
        rows, as ``PCA(whiten=False)`` does. All other models learn the scale of their codes, and need True.
    code_activation : {"identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="identity"
        Of the code. With ``init="pca"`` it starts where it is almost linear.
    n_nonzero_coefs : int or None, default=None
        How many entries of each row's code are kept, the largest in magnitude, while the others are exactly zero: a k-sparse
        autoencoder (Makhzani and Frey, 2014). None keeps all. Dictionaries of more components than columns are best learned
        with ``init="random"`` and ``code_activation="relu"``.
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
        Highest learning rate, of Adam (Kingma and Ba, 2015). ``"auto"`` is 1e-2, times (256 / n_columns) squared where there
        are more columns than 256: every weight of a wide layer takes a step, and together they move a code too far.
    batch_size : int or "auto", default="auto"
        Most rows per step; the rows are dealt as evenly as can be. ``"auto"`` is 128, and 2048 for a linear model, whose
        steps are cheap and need little noise.
    max_iter : int or "auto", default="auto"
        Most epochs. ``"auto"`` is as many as make 60 sqrt(n_rows) steps, and at least 1500 (3000 for a linear model), so that
        time grows with the square root of the table. An epoch deals every row once, and of more than 2**20 rows so many.
    tol : float, default=1e-4
        An epoch counts as progress when the loss per cell falls by more than this, in nats.
    early_stopping : bool or "auto", default="auto"
        Whether the number of epochs is chosen on held-out rows. The start counts as epoch 0. Small tables are cross-validated,
        and a model of all rows is trained along with those of the folds; large tables have one split. A start
        at PCA is kept unless the gain over it is certain and worthwhile; the page "Design" of the documentation states both in
        numbers. ``"auto"`` is True where something nonlinear is trained or ``X_val`` is given. Fewer than 10 distinct rows are
        too few to hold any out: the answer is PCA, or with ``init="random"`` the last epoch. A linear model from its start is
        PCA, and is not trained at all.
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
        Seed of the private generators: initial weights, splits, permutations. None takes fresh entropy; the global generators
        are never touched.
    verbose : bool or int, default=False
        Whether to show a progress bar with epoch, loss and validation loss.
    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps". ``"auto"`` is CUDA where there is one, else the CPU.

    Attributes
    ----------
    module_ : torch.nn.Module
        Encoder, decoder and likelihood, on the scale that the networks see.
    n_components_ : int
        Size of the code.
    components_ : ndarray of shape (n_components_, n_features_in_)
        Where the model is PCA, which it is after a fit with ``hidden_layer_sizes=()`` and ``init="pca"`` to columns of numbers:
        the principal axes, as rows, of standardised columns with ``standardize=True``.
    mean_ : ndarray of shape (n_features_in_,)
        Where the model is PCA: the mean of each column, in the units of the input.
    explained_variance_ : ndarray of shape (n_components_,)
        Where the model is PCA: the variance along each axis, of standardised columns with ``standardize=True``, else in squared
        input units.
    explained_variance_ratio_ : ndarray of shape (n_components_,) or (1,)
        Share of the variance that each component explains where the model is PCA. Else one number, the share that
        reconstructions explain: of held-out rows where there were any.
    singular_values_ : ndarray of shape (n_components_,)
        Where the model is PCA: the singular values of the centred rows.
    noise_variance_ : float, ndarray of shape (n_columns,), or None
        Variance of a cell around its reconstruction: the mean squared residual, of held-out rows where there were any; 1 for
        ``likelihood="mse"``, None for ``"bernoulli"``. Of standardised columns with ``standardize=True``, else in squared
        input units. Of a table with missing cells or a mixed frame one per column, NaN where it holds no numbers; where cells
        are hidden while training, that of cells which the model does not see.
    loss_curve_ : list of float
        Training loss per epoch of the last training, the mean over folds where there are any, in nats per row at the start's
        variance, after those of earlier fits with ``warm_start``. With a corruption, a penalty, a sparse or an activated code
        at a variance of 1 on the scale of the networks, penalties included. Empty where nothing was trained.
    validation_scores_ : list of float or None
        Mean log-likelihood of the held-out rows, those of all folds, at the variance of ``loss_curve_``, less the penalties, in
        nats; higher is better. Entry 0 is the start. Of more than 150 epochs some are judged, the others have the score of the
        one before. None where no rows were held out.
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
    sklearn.decomposition.PCA : The linear special case.

    Notes
    -----
    Means, variances and the PCA are computed in float64. Networks are trained in float32, linear ones in float64. Equal rows
    are merged and ordered by a hash before anything else: an integer weight means repetition to the last bit, and the order of
    rows makes no difference.

    Categories, strings, booleans and dates of a frame, and missing cells of any table, are taken in as they are, and come back
    in their dtypes. Each kind of column has a likelihood of its own: numbers and dates a normal one, booleans Bernoulli's,
    categories the cross-entropy. A missing cell adds nothing to the loss; the encoder sees what a linear model expects of it
    given the row's other cells, and that it is missing. Without hidden layers and other columns than numbers, the result is
    probabilistic PCA of the incomplete table by expectation-maximisation (Ilin and Raiko, 2010). Rare levels of a column share
    one, and columns of nothing but rare ones, such as names, are left out and come back missing; a warning says which. A row
    without any cell has the code of the mean row.

    The whitened codes of the start are ``PCA(n_components, whiten=True).transform``'s.

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
    >>> codes = AutoencoderTransformer(n_components=2, random_state=0).fit_transform(X)
    >>> codes.shape
    (150, 2)

    A frame with categories and holes, and the same with the holes filled:

    >>> import pandas as pd
    >>> frame = pd.DataFrame(X[:, :2], columns=["length", "width"])
    >>> frame["species"] = pd.Categorical(load_iris().target_names[load_iris().target])
    >>> frame.loc[::5, "species"] = None
    >>> model = AutoencoderTransformer(2, max_iter=50, random_state=0).fit(frame)
    >>> int(model.impute(frame)["species"].isna().sum())
    0

    A denoising autoencoder, with more components than columns:

    >>> denoiser = AutoencoderTransformer(16, corruption="swap", early_stopping=False, random_state=0).fit(X)
    >>> denoiser.reconstruct(X[:1]).shape
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
                "whiten=False puts the codes of PCA on the scale of the rows, but this model is not PCA: it is trained, or its "
                "columns are not numbers on plain scales. Use whiten=True, or hidden_layer_sizes=() and init='pca'."
            )
        fitted.module.rescale_components_(torch.from_numpy(np.sqrt(self.explained_variance_)))

    def _principal(self, name: str) -> PrincipalAxes:
        """The axes of PCA, which an attribute or a method of a name is about."""
        axes = getattr(self, "_axes", None)
        if axes is None:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}. It has after a fit with hidden_layer_sizes=() and "
                "init='pca' to columns of numbers, which is PCA."
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
        """Share of the variance that each component explains; that of all together where the model is not PCA."""
        self._of_fit("explained_variance_ratio_")
        if self._axes is not None:
            return self._axes.deviations**2 / (self._axes.total or 1.0)
        if self._explained is None:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute 'explained_variance_ratio_'. It has after a fit to columns "
                "of numbers with likelihood='gaussian' and standardize=True or False."
            )
        return np.array([self._explained])

    def get_covariance(self) -> np.ndarray:
        """Covariance of the columns by the model of probabilistic PCA, as ``PCA.get_covariance``.

        Returns
        -------
        covariance : ndarray of shape (n_features_in_, n_features_in_)
            In the units of the input.

        Raises
        ------
        AttributeError
            Where the model is not PCA.
        """
        return self._principal("get_covariance").covariance()

    def get_precision(self) -> np.ndarray:
        """Inverse of the covariance, as ``PCA.get_precision``.

        Returns
        -------
        precision : ndarray of shape (n_features_in_, n_features_in_)

        Raises
        ------
        AttributeError
            Where the model is not PCA.
        """
        return linalg.pinvh(self._principal("get_precision").covariance())
