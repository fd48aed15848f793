"""Anomalies in a table, with p-values and reasons."""

from collections.abc import Iterable
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import OutlierMixin

from skvae._arrays import fits_in_kind
from skvae._autoencoder import AutoencoderTransformer
from skvae._base import earlier_fit_kept
from skvae._callbacks import CallbackSupportMixin, fit_task
from skvae._detector.clocks import Clocks
from skvae._detector.known import Known, TrainingRows, order_of
from skvae._detector.levels import Levels
from skvae._detector.neighbours import Metric
from skvae._detector.oddness import FAR, NEAR, Memory, Networks, Oddness, Parts, numbers_between
from skvae._detector.pairs import Pairs
from skvae._detector.repetitions import parts_of, repetitions_of
from skvae._detector.support import FEW_ODD, are_wild, supported
from skvae._detector.tail import threshold_of
from skvae._fit.plan import epochs_of
from skvae._fit.settings import Corruption, Penalty, is_auto
from skvae._html.anomalies import AnomalyReport, report_on
from skvae._html.columns import accounts_of
from skvae._parameters import NestedParameters
from skvae._reports import warn_of_early_end, warn_of_end
from skvae._saving.estimators import Saved
from skvae._streams import by_block
from skvae._tables.libraries import as_table, in_rows, index_of, library_of, rows_at, table_like
from skvae._tables.reservoir import Reservoir
from skvae._tables.rows import Table, sample_rows
from skvae._tables.schema import Schema
from skvae._tables.sources import Source
from skvae._tables.squashing import Squashing
from skvae._validation import (
    HasMethods,
    Interval,
    StrOptions,
    check_columns,
    check_count,
    check_is_fitted,
    check_rows,
    check_share,
    check_weights,
    feature_names,
    fit_context,
    random_seed,
    streamed,
)
from skvae.core.corruptions import DiffusionNoise
from skvae.core.device import resolve_device

N_NETWORKS = 2  # the fewest with which every row has a network that was trained without it
LEAST_ROWS = 50  # distinct rows below which no network is trained
N_PASSES = 10  # epochs; noise is the only regularisation that is needed
FEWEST_STEPS, MOST_STEPS = 100, 300  # training steps
DENOISER: dict[str, Any] = {
    "n_components": 128,
    "hidden_layer_sizes": (128, 128),
    "activation": "silu",
    "decoder_layer_sizes": (),
    "init": "random",
    "corruption": DiffusionNoise((0.05, 2.0)),
    "code_activation": "silu",
    "batch_size": 128,
    "early_stopping": False,
}
CONSTRAINTS = AutoencoderTransformer._parameter_constraints
NOT_PASSED_ON = {"random_state", "warm_start", "support_fraction", "whiten"}
PASSED_ON = [name for name in CONSTRAINTS if name not in NOT_PASSED_ON]
AUTOMATIC = StrOptions({"auto"})
OF_TRAINING_ROWS = ("decision_scores_", "labels_")  # attributes with one number per training row
HAVE_AUTO = {"corruption", "batch_size", "early_stopping"}  # parameters of DENOISER that may be "auto" in the transformer


class AEAnomalyDetector(Saved, CallbackSupportMixin, OutlierMixin, NestedParameters):
    """Detect anomalous rows, as ``IsolationForest`` does, with p-values and the cells to blame.

    The anomaly score of a row is the sum of three measures over its cells:

    * ``neighbours``: how far the cell is from those of the nearest training rows;
    * ``column``: how rare its value is in its column;
    * ``row``: how unlikely it is under a denoising autoencoder, given the whole row.

    The first two measures find rows that are unlike all others. The third finds single wrong cells and tells which value was
    expected instead. ``score_samples`` is minus the anomaly score, so that higher is more normal as in scikit-learn.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        Number of components of the networks' code. ``"auto"`` is 128, which is more than most tables have columns. Other values
        are as in ``AutoencoderTransformer``.
    contamination : float or "auto", default=0.1
        Share of the training rows that ``predict`` flags, in (0, 0.5]. It sets ``offset_``, and ``support_fraction`` if that is
        ``"auto"``. Set it to the share of anomalies if you know it. ``"auto"`` flags the rows whose anomaly score is too high
        for the tail of their distribution, at a false discovery rate of 0.1 (see Notes). It is cautious: it often flags no row,
        and fewer rows than there are anomalies in most tables.
    support_fraction : float or "auto", default="auto"
        Share of the rows to learn from, in (0, 1], as in ``EllipticEnvelope``. Set it to 1.0 if all training rows are normal
        (novelty detection). ``"auto"`` suits tables that may hold anomalies: it is ``min(0.8, 1 - contamination)``, and 0.8
        with ``contamination="auto"``.

        The rows that are left out are those far from most of 32 random samples of 16 rows: single rows, and dense groups that
        make up a few per cent of the table. Equal rows that make up 2 % of the table are always kept, and so are most rows of a
        category that 2 % of the rows have. Rows with an extreme value that would dominate the training are left out even with
        1.0.
    n_neighbors : int, default=5
        Number of nearest rows that a row is compared with, as in ``LocalOutlierFactor``.
    max_samples : int, default=4096
        Number of training rows that are stored for comparison with other rows, drawn at random from a larger table. Time and
        memory grow in proportion. The fitted detector holds these rows unchanged, so do not share it if they are confidential.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers. ``"auto"`` is ``(128, 128)``.
    activation : {"auto", "identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="auto"
        Activation of the hidden layers, as in ``AutoencoderTransformer``. ``"auto"`` is ``"silu"``.
    decoder_layer_sizes : tuple of int, None or "auto", default="auto"
        Widths of the decoder's hidden layers. ``"auto"`` is ``()``, a decoder of a single layer. None mirrors the encoder.
    init : {"auto", "pca", "random"}, default="auto"
        Start of the networks, as in ``AutoencoderTransformer``. ``"auto"`` is ``"random"``.
    standardize : bool, default=True
        Whether to scale each numeric column by its median and its spread. With False, deviations count in the units of the
        columns; choose it if all columns have one unit.
    likelihood : {"auto", "gaussian", "mse", "bernoulli"}, default="auto"
        Distribution by which the networks score a numeric cell, as in ``AutoencoderTransformer``.
    categorical_features : "from_dtype", None, or array-like, default="from_dtype"
        Which columns are categories, as in ``AutoencoderTransformer``.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories that were not seen during ``fit``. ``"ignore"`` adds the anomaly score of an equally rare
        training row. By the rule of Good and Turing, new categories are as frequent in later rows as categories that occur once
        are in the training table. If no category occurs once, the highest score of all training rows is added. ``"error"``
        raises an error.
    corruption : {"auto", "gaussian", "masking", "salt_and_pepper", "swap"}, corruption object or None, default="auto"
        Noise that the networks learn to remove, as in ``AutoencoderTransformer``. ``"auto"`` is ``DiffusionNoise()``.
    penalty : {"l1", "l2", "kl_sparsity", "contractive"}, penalty object, tuple of them or None, default=None
        Penalty that is added to the loss, as in ``AutoencoderTransformer``.
    code_activation : {"auto", "identity", "logistic", "tanh", "relu", "silu", "gelu"}, default="auto"
        Activation of the code. ``"auto"`` is ``"silu"``.
    n_nonzero_coefs : int or None, default=None
        Number of entries kept in each code, as in ``AutoencoderTransformer``.
    weight_decay : float, default=0.0
        Decoupled weight decay, as in ``AutoencoderTransformer``.
    learning_rate : {"cosine", "constant"}, default="cosine"
        Schedule of the learning rate, as in ``AutoencoderTransformer``.
    learning_rate_init : float or "auto", default="auto"
        Highest learning rate, as in ``AutoencoderTransformer``.
    batch_size : int or "auto", default="auto"
        Maximum number of rows per step. ``"auto"`` is 128.
    max_iter : int or "auto", default="auto"
        Number of epochs. ``"auto"`` makes 10 epochs, but at least 100 and at most 300 steps.
    tol : float, default=1e-4
        An epoch counts as progress if the loss per cell falls by more than this, in nats.
    early_stopping : bool or "auto", default="auto"
        Whether to choose the number of epochs on held-out rows. ``"auto"`` is False: the number of steps is fixed.
    validation_fraction : float, default=0.2
        Share of each network's rows that is held out with ``early_stopping=True``.
    n_iter_no_change : int or "auto", default="auto"
        Number of epochs without progress after which training stops, as in ``AutoencoderTransformer``.
    cv : int, "auto", splitter or list of pairs of arrays, default="auto"
        Number of networks. Each is trained without one part of the rows, which it scores. ``"auto"`` is 2, or none for fewer
        than 50 distinct rows, which are too few to learn from. A splitter such as ``KFold``, or its pairs of training and test
        rows, sets the parts; use it to keep together rows that depend on each other, such as all rows of a customer. Equal rows
        belong to the first part that holds one of them among its test rows.
    shuffle : bool, default=True
        Whether to shuffle the rows in each epoch.
    random_state : int, RandomState instance or None, default=None
        Seed of the samples, the parts and the networks. None uses a new seed in each fit. The global random generators are
        neither read nor changed.
    verbose : bool or int, default=False
        Whether to show progress bars.
    device : str, default="auto"
        Device of the networks and of the search for neighbours: "cpu", "cuda", "cuda:1", "mps" or ``"auto"``, as in
        ``AutoencoderTransformer``.

    Attributes
    ----------
    offset_ : float
        Threshold of ``predict``: the percentile of the training rows' ``score_samples`` that ``contamination`` sets.
    decision_scores_ : ndarray of shape (n_rows,)
        Anomaly score of each training row, computed without that row: minus its ``score_samples``. Name and sign are those of
        PyOD. Exists only after ``fit`` to a table in memory.
    labels_ : ndarray of shape (n_rows,)
        Result of ``predict`` for the training rows: -1 for anomalies, 1 for all others. Exists only after ``fit`` to a table in
        memory, not after ``partial_fit``.
    n_iter_ : int
        Number of epochs of each network; 1 if there are no networks.
    n_features_in_ : int
        Number of columns of the training table.
    feature_names_in_ : ndarray of str
        Names of the columns, if the training table had names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Random trees; without p-values and reasons.
    sklearn.neighbors.LocalOutlierFactor : Distances to neighbours among all training rows.
    AutoencoderTransformer.score_cells : Likelihood of each cell under a model that compresses.

    Notes
    -----
    Numeric columns are transformed first to ``arcsinh((x - median) / spread)``. The spread is the mean absolute deviation from
    the median of cells that are clipped to their 5 and 95 % quantiles, in units of a standard deviation. Usual values keep
    their distances, and outlying values neither set the scale nor decide which rows are near. The networks see
    ``20 * arcsinh((x - median) / (20 * spread))`` instead, which is almost linear up to 20 spreads, so that an impossible value
    counts in full.

    The three measures of a cell are:

    * ``neighbours``: its mean absolute difference from the ``n_neighbors`` nearest stored rows, divided by the square root of
      the distance of these rows from their own neighbours. This lies half-way between a plain distance and a local outlier
      factor, which divides by the whole distance. The distance of two rows is the sum of absolute differences over columns.
    * ``column``: minus the logarithm of a p-value. For a number it is that of its two-sided rank in the column. For a category
      it is the share of rows whose category is at most as frequent, divided by 5 % and at most 1, because a common category is
      no surprise.
    * ``row``: its negative log-likelihood given the code of its row, under autoencoders that remove noise of all levels and are
      told the level. The residual of such a network at a row is ``s**2`` times the gradient of the log-density of rows with
      noise of level s (Vincent, 2011). A pair of cells adds a cost if at least one is a category and the pair is rare: 5 for
      each of the two cells and each nat by which the pair is rarer than a tenth of its frequency under independence.

    Each measure is counted from the median cell of its column. A typical cell therefore counts zero, as does a missing one.
    Each measure is then divided by a constant, so that the cells above the median of a stored row sum to 1, 1/2 and 1/4 on
    average. The likelihood has long tails and decides about impossible values in spite of its small weight.

    With ``contamination="auto"`` a generalised Pareto distribution is fitted by maximum likelihood to the upper half of the
    training rows' anomaly scores. The highest tenth is censored: it counts only as lying beyond the other scores. The tail is
    exponential or heavier, up to one without a mean. The p-value of a training row is the share of this distribution above its
    score. Rows are flagged if they pass the Benjamini-Hochberg procedure at a false discovery rate of 0.1 (1995). The threshold
    lies half-way between them and the next row. If no row passes, it is the score with which a single row would have passed,
    and later rows are flagged above it.

    A training row is recognised by a hash of its cells, exact to the last digit. It is not its own neighbour, is not counted in
    its columns, and is scored by the network that was trained without it. Any other row is compared with all stored rows and
    scored by the mean of the networks. Otherwise training rows would get scores that later rows of the same distribution cannot
    reach, most of all in small tables.

    References
    ----------
    Y. Benjamini, Y. Hochberg (1995). Controlling the false discovery rate. JRSS B 57.

    P. J. Rousseeuw (1984). Least median of squares regression. JASA 79.

    M. M. Breunig, H.-P. Kriegel, R. T. Ng, J. Sander (2000). LOF: identifying density-based local outliers. SIGMOD.

    P. Vincent (2011). A connection between score matching and denoising autoencoders. Neural Computation 23.

    R. Foygel Barber, E. J. Candes, A. Ramdas, R. J. Tibshirani (2021). Predictive inference with the jackknife+. Annals of
    Statistics 49.

    S. Bates, E. Candes, L. Lei, Y. Romano, M. Sesia (2023). Testing for outliers with conformal p-values. Annals of Statistics
    51.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skvae import AEAnomalyDetector
    >>> X = load_wine(as_frame=True).data
    >>> X.loc[0, "alcohol"] = 142.3  # a misplaced decimal point
    >>> detector = AEAnomalyDetector(contamination=0.02, random_state=0).fit(X)
    >>> int(detector.predict(X)[0])
    -1
    >>> detector.explain(X.iloc[:1]).idxmax(axis=1)[0]
    'alcohol'

    Anomalies among later rows, at a false discovery rate of 0.1:

    >>> from scipy.stats import false_discovery_control
    >>> detector = AEAnomalyDetector(random_state=0).fit(X[1:])
    >>> bool(false_discovery_control(detector.p_values(X[:1]))[0] < 0.1)
    True
    """

    offset_: float
    decision_scores_: np.ndarray
    labels_: np.ndarray
    n_iter_: int
    _oddness: Oddness
    _reservoir: Reservoir

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{name: CONSTRAINTS[name] for name in PASSED_ON},
        **{name: [AUTOMATIC, *CONSTRAINTS[name]] for name in DENOISER if name not in HAVE_AUTO},
        "n_components": [AUTOMATIC, *filter(None, CONSTRAINTS["n_components"])],
        "standardize": ["boolean"],
        "contamination": [AUTOMATIC, Interval(Real, 0, 0.5, closed="right")],
        "support_fraction": [AUTOMATIC, *CONSTRAINTS["support_fraction"]],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "cv": [AUTOMATIC, Interval(Integral, 2, None, closed="left"), HasMethods(["split", "get_n_splits"]), list, tuple],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | float | str = "auto",
        *,
        contamination: float | str = 0.1,
        support_fraction: float | str = "auto",
        n_neighbors: int = 5,
        max_samples: int = 4096,
        hidden_layer_sizes: tuple[int, ...] | str = "auto",
        activation: str = "auto",
        decoder_layer_sizes: tuple[int, ...] | str | None = "auto",
        init: str = "auto",
        standardize: bool = True,
        likelihood: str = "auto",
        categorical_features: Any = "from_dtype",
        handle_unknown: str = "ignore",
        corruption: str | Corruption | None = "auto",
        penalty: str | Penalty | tuple[Penalty, ...] | None = None,
        code_activation: str = "auto",
        n_nonzero_coefs: int | None = None,
        weight_decay: float = 0.0,
        learning_rate: str = "cosine",
        learning_rate_init: float | str = "auto",
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        tol: float = 1e-4,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.2,
        n_iter_no_change: int | str = "auto",
        cv: Any = "auto",
        shuffle: bool = True,
        random_state: Any = None,
        verbose: bool | int = False,
        device: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.contamination = contamination
        self.support_fraction = support_fraction
        self.n_neighbors = n_neighbors
        self.max_samples = max_samples
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
        self.code_activation = code_activation
        self.n_nonzero_coefs = n_nonzero_coefs
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.cv = cv
        self.shuffle = shuffle
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    @fit_context
    @fits_in_kind
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the detector to a table.

        Parameters
        ----------
        X : array-like, frame or dataset of shape (n_rows, n_columns)
            At least two rows. Arrays hold finite numbers, and NaN for missing values. Frames may also hold booleans,
            categories, strings, dates and durations. From arrays and sparse matrices whose dense size exceeds scikit-learn's
            ``working_memory``, 1 GiB by default, and from pyarrow datasets, 100,000 random rows are drawn.
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Non-negative weights, by which rows are repeated. A row with a weight of 2 counts as two rows, one with a weight of
            0 as none. Fractions are rounded up or down at random: a weight of 1.3 becomes 2 with a probability of 0.3. Weights
            with a mean below 1 are scaled to a mean of 1 first. Weights that sum to more than 100,000, and more than the number
            of rows, are scaled down to the larger of these.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError
            If the input or the parameters cannot be used. An earlier fit is kept.
        FloatingPointError
            If training diverges. An earlier fit is kept.

        Warns
        -----
        ConvergenceWarning
            If training reached a given ``max_iter`` while the loss was still falling.
        UserWarning
            If Ctrl-C ended the training of the last network. Before that there is no detector: ``KeyboardInterrupt`` is raised
            and an earlier fit is kept.
        """
        with earlier_fit_kept(self), fit_task(self, X, y, sample_weight, self._n_trainings):
            source = streamed(X)
            if source is None:
                self.decision_scores_ = self._fit(X, sample_weight)
                self.labels_ = np.where(-self.decision_scores_ < self.offset_, -1, 1)
            else:
                self._fit(*self._sampled(source, sample_weight))
        return self

    def fit_predict(self, X: Any, y: Any = None, **params: Any) -> np.ndarray:
        """Fit the detector and predict which rows are anomalies; rows in memory are scored only once.

        Parameters
        ----------
        X : array-like, frame or dataset of shape (n_rows, n_columns)
        y : ignored
        **params : dict
            Further arguments of ``fit``, such as ``sample_weight``.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            -1 for anomalies, 1 for all others.
        """
        self.fit(X, **params)
        return deepcopy(self.labels_) if hasattr(self, "labels_") else self.predict(X)

    @fit_context
    @fits_in_kind
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Update the detector with further rows of a stream.

        The detector keeps a random sample of all rows so far, of at most 20,000 rows. It is fitted to the sample again, as by
        ``fit``, whenever a quarter of the sample has changed: often at first, then less and less often. A call of ``fit``
        empties the sample.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_columns)
            The first call needs at least two rows. All calls must pass tables of the same library with the same columns.
        y : ignored

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError, FloatingPointError
            As in ``fit``. The detector stays as it was before the call.
        """
        with earlier_fit_kept(self):
            first = not hasattr(self, "_reservoir")
            if not first:
                check_columns(self, X, reset=False)
            X = as_table(X)
            sample = Reservoir() if first else self._reservoir
            sample = sample.with_rows(X, len(X), random_seed(self.random_state))
            if sample.is_stale:
                self._fit(sample.table, None)
                sample = sample.used()
            self._reservoir = sample
        return self

    def _sampled(self, source: Source, sample_weight: Any) -> tuple[Any, np.ndarray | None]:
        """Random rows of a table that is read block by block, and their weights."""
        if self._has_splits:
            raise ValueError("cv holds splits, but only a random sample of a table this large is used; set cv to a number.")
        rng, n_rows = np.random.default_rng(random_seed(self.random_state)), sample_rows(source.n_columns)
        if sample_weight is None:
            return source.sample(n_rows, rng), None
        weights = np.asarray(check_weights(sample_weight, np.empty((source.n_rows, 0))))
        places = np.flatnonzero(weights)
        places = np.sort(rng.choice(places, min(n_rows, len(places)), replace=False, shuffle=False))
        return source.take(places), weights[places]

    def _fit(self, X: Any, sample_weight: Any) -> np.ndarray:
        """Fit to a table in memory, with rows repeated by their weights, and return the anomaly scores of its rows.

        Repeated rows are sorted, so that integer weights equal repetition to the last bit.
        """
        for name in ("_reservoir", *OF_TRAINING_ROWS):
            self.__dict__.pop(name, None)
        seed = random_seed(self.random_state)
        X = in_rows(X)
        weights = check_weights(sample_weight, X)
        taken: np.ndarray | slice = slice(None)
        if weights is not None:
            taken = np.repeat(np.arange(len(weights)), repetitions_of(weights, np.random.default_rng([seed, 1])))
        schema = Schema.of(X if weights is None else rows_at(X, taken), self.categorical_features)
        rows = check_rows(self, X, schema, reset=True, in_unit_interval=self.likelihood == "bernoulli")
        splits = parts_of(self.cv, rows) if self._has_splits else None
        order = order_of(rows[taken])
        if order is not None:
            taken = np.arange(len(rows))[taken][order]
        self._schema, self._in_unit_interval = schema, self.likelihood == "bernoulli"
        totals = self._learn(rows_at(X, taken), rows[taken], splits and (splits[0][taken], splits[1]), seed)
        result, is_left = np.empty(len(rows)), np.ones(len(rows), dtype=bool)
        result[taken], is_left[taken] = totals, False
        if is_left.any():
            result[is_left] = -self.score_samples(rows_at(X, np.flatnonzero(is_left)))
        return result

    def _learn(self, X: Any, rows: np.ndarray, part: tuple[np.ndarray, int] | None, seed: int) -> np.ndarray:
        """Fit to rows that have been read, and return their anomaly scores; ``part`` is given if ``cv`` holds splits."""
        self._clocks = Clocks.of(rows, *self._schema.clocks_of(rows.shape[1]))
        rows = self._clocks.widen(rows)
        schema = self._schema.widened(rows.shape[1])
        rng = np.random.default_rng(seed)
        metric = Metric(schema.n_levels_of(rows.shape[1]))
        squashing = Squashing.of(rows, metric.is_number & bool(self.standardize), NEAR)
        support = supported(squashing.apply(rows), metric, self._support(), rng)
        far = squashing.only(squashing.is_number, FAR).apply(rows[support])
        support = support[~are_wild(far, squashing.is_number)]
        order = rng.permutation(len(rows))
        in_memory = order[np.isin(order, support)][: self.max_samples]
        kept = rows[in_memory]
        memory, measured = Memory.of(kept, squashing, metric, self.n_neighbors, resolve_device(self.device))
        training = TrainingRows.of(rows, kept, rows[support], self._n_networks if part is None else part, rng)
        known = training.find(rows)
        tables = (_seen(rows, known, support, i) for i in range(training.n_parts))
        networks = self._networks(schema, tables, squashing, numbers_between(rows[support], metric.is_number), rng)
        pairs = Pairs.of(rows[support], metric.is_number)
        self._oddness, of_memory = Oddness.of(kept, known.take(in_memory), measured, memory, networks, pairs, training)
        return self._set_threshold(X, rows, known, in_memory, of_memory)

    @property
    def _has_splits(self) -> bool:
        """Whether ``cv`` says which rows each network is trained without."""
        return not isinstance(self.cv, str | Integral)

    @property
    def _n_trainings(self) -> int:
        """Number of networks that are trained if the table has enough rows."""
        if self._has_splits:
            return int(self.cv.get_n_splits()) if hasattr(self.cv, "get_n_splits") else len(self.cv)
        return N_NETWORKS if is_auto(self.cv) else int(self.cv)

    def _support(self) -> float:
        """Share of the rows to learn from."""
        if not is_auto(self.support_fraction):
            return float(self.support_fraction)
        return FEW_ODD if isinstance(self.contamination, str) else min(FEW_ODD, 1 - self.contamination)

    def _n_networks(self, n_distinct: int) -> int:
        """Number of networks for this many distinct rows: none, or at least two."""
        if self.cv == "auto":
            return N_NETWORKS if n_distinct >= LEAST_ROWS else 0
        return min(int(self.cv), n_distinct) if n_distinct > 1 else 0

    def _networks(
        self,
        schema: Schema,
        tables: Iterable[Table],
        squashing: Squashing,
        between: tuple[np.ndarray, np.ndarray],
        rng: np.random.Generator,
    ) -> Networks:
        """Train a network on each of the tables, whose cells ``squashing`` describes."""
        is_scaled = squashing.is_number & (self.likelihood != "bernoulli")  # cells of "bernoulli" are probabilities
        squashing = squashing.only(is_scaled, FAR)
        models, ended_early, interrupted = [], False, None
        for table in tables:
            if interrupted:
                raise KeyboardInterrupt  # further networks are needed
            model = self._model(table, seed=int(rng.integers(2**31)))
            squashed = Table(squashing.apply(table.rows), table.weights)
            fit = model._fit_rows(schema, squashed, owner=self)
            ended_early |= fit.still_falling
            interrupted = fit if fit.interrupted else None
            models.append(model)
        if ended_early and not is_auto(self.max_iter):  # with "auto" the number of steps is fixed, whatever the loss does
            warn_of_early_end(int(self.max_iter))
        if interrupted:
            warn_of_end(interrupted)
        self.n_iter_ = models[0].n_iter_ if models else 1
        return Networks(squashing, [model._fitted for model in models], between)

    def _model(self, table: Table, seed: int) -> AutoencoderTransformer:
        """An unfitted model, with the number of epochs for this table."""
        params = {name: getattr(self, name) for name in PASSED_ON} | {"random_state": seed}
        params |= {name: default for name, default in DENOISER.items() if is_auto(params[name])}
        if is_auto(self.max_iter):
            batch_size = int(params["batch_size"])
            n_steps = np.clip(N_PASSES * np.count_nonzero(table.counts) / batch_size, FEWEST_STEPS, MOST_STEPS)
            params["max_iter"] = epochs_of(n_steps, len(table.rows), batch_size)
        return AutoencoderTransformer(**params)

    def _set_threshold(
        self, X: Any, rows: np.ndarray, known: Known, in_memory: np.ndarray, of_memory: np.ndarray
    ) -> np.ndarray:
        """Set the threshold, and return the anomaly scores of the training rows, each computed without that row."""
        training = self._oddness.training
        by_place = np.empty(len(training.hashes))
        by_place[known.place[in_memory]] = of_memory
        totals = by_place[known.place]
        if not known.in_memory.all():
            totals[~known.in_memory] = self._oddness.totals(rows[~known.in_memory])
        self._levels = Levels.of(self._schema.single_levels(X), totals, self.n_features_in_)
        totals += self._levels.cost_of(self._schema.holding(self._levels.single, X, rows))
        self._ranked = [np.sort(totals[known.part == i]) for i in range(max(1, training.n_parts))]
        if isinstance(self.contamination, str):
            self.offset_ = -threshold_of(totals)
        else:
            self.offset_ = float(np.percentile(-totals, 100 * self.contamination))
        return totals

    @by_block
    def score_samples(self, X: Any, *, out: Any = None) -> np.ndarray:
        """Return minus the anomaly score of each row, so that higher is more normal.

        The anomaly score is the sum of the contributions that ``explain`` returns.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Array to write the result to, such as a ``numpy.memmap``. None makes a new array.

        Returns
        -------
        scores : ndarray of shape (n_rows,)
            A row of typical cells scores about zero. The unit is that of the ``neighbours`` measure: in a stored training row,
            the cells above typical ones sum to 1 on average.
        """
        rows, new = self._read(X)
        return -self._oddness.totals(rows) - self._levels.cost_of(new | self._single(X, rows))

    @by_block
    def decision_function(self, X: Any, *, out: Any = None) -> np.ndarray:
        """Return ``score_samples`` minus ``offset_``, which is negative for rows that ``predict`` flags.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Array to write the result to, such as a ``numpy.memmap``. None makes a new array.

        Returns
        -------
        scores : ndarray of shape (n_rows,)
        """
        return self.score_samples(X) - self.offset_

    @by_block
    def predict(self, X: Any, *, out: Any = None) -> np.ndarray:
        """Predict which rows are anomalies: -1 for anomalies, 1 for all others.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Array to write the result to, such as a ``numpy.memmap``. None makes a new array.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    @by_block
    def p_values(self, X: Any, *, out: Any = None) -> np.ndarray:
        """Return the p-value of each row under the hypothesis that it is like the training rows.

        It is the probability that such a row scores as low as this one, or lower. The p-values are conformal: each row is
        compared with the training rows, whose scores are computed without the row itself. If a row and the training rows are
        exchangeable, such as independent draws from one distribution, the probability of ``p <= a`` is at most 2a (Barber et
        al., 2021). On average over labelled tables, we measured less than a with ``support_fraction=1.0`` and about a with the
        default. It can exceed a on small tables with many categories.

        If the training table holds anomalies, p-values are larger than without them. Of the rows with
        ``scipy.stats.false_discovery_control(detector.p_values(X)) <= 0.1``, at most a tenth is expected to be normal. This is
        proven for p-values from separate calibration rows (Bates et al., 2023), and measured for those of this method.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
            Rows that were not trained on.
        out : array-like of shape (n_rows,), default=None
            Array to write the result to, such as a ``numpy.memmap``. None makes a new array.

        Returns
        -------
        p : ndarray of shape (n_rows,)
            Between ``1 / (n + 1)`` and 1, for n training rows.
        """
        rows, new = self._read(X)
        as_odd, of_new = np.zeros(len(rows), dtype=int), self._levels.cost_of(new)
        for ranked, totals in zip(self._ranked, self._oddness.totals_by_network(rows), strict=True):
            as_odd += len(ranked) - np.searchsorted(ranked, totals + of_new, side="left")
        return np.asarray((1 + as_odd) / self._n_ranks)

    @property
    def _n_ranks(self) -> int:
        """Number of ranks that a new row can have among the training rows."""
        return 1 + sum(map(len, self._ranked))

    def explain(self, X: Any, return_expected: bool = False, parts: bool = False) -> Any:
        """Return the contribution of each cell to the anomaly score of its row.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        return_expected : bool, default=False
            Whether to return the expected value of each cell as well.
        parts : bool, default=False
            Whether to return the three measures separately instead of their sum.

        Returns
        -------
        contributions : frame of shape (n_rows, n_features_in_), or Parts
            How much more anomalous each cell is than a typical cell of its column: negative if it is less anomalous, zero if it
            is missing. A row sums to minus its ``score_samples``. A polars frame if X is one, and else a pandas frame, with the
            index of X. With ``parts=True`` a named tuple of three such frames: ``neighbours``, ``column`` and ``row``.
        expected : frame of shape (n_rows, n_features_in_)
            Expected cells, in the units and dtypes of the training table; only if ``return_expected`` is True. The networks'
            expectations are averaged for numbers; for categories the most frequent one is taken. Without networks, these are
            the median and the most frequent category of the nearest rows.
        """
        rows, new = self._read(X)
        neighbours, column, row = map(self._clocks.fold, self._oddness.parts(rows))
        column = column + self._levels.costs * (new | self._single(X, rows))
        if parts:
            result: Any = Parts(*(self._frame_like(X, cells) for cells in (neighbours, column, row)))
        else:
            result = self._frame_like(X, neighbours + column + row)
        return (result, self._expected(X, rows)) if return_expected else result

    def report(
        self, X: Any, *, n_rows: int = 20, false_discovery_rate: float | None = None, title: str = "Anomaly report"
    ) -> AnomalyReport:
        """Report the most anomalous rows of a table, and the cells to blame, as an HTML page.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
            A table in memory.
        n_rows : int, default=20
            Number of rows to show, the most anomalous first.
        false_discovery_rate : float or None, default=None
            Expected share of normal rows among the flagged rows, in (0, 1). Rows are then flagged by their ``p_values``, so
            ``X`` must hold rows that were not trained on. None flags the rows that ``predict`` flags.
        title : str, default="Anomaly report"
            Heading of the page.

        Returns
        -------
        report : AnomalyReport
            A notebook displays it. ``report.save("report.html")`` writes a self-contained file that needs no network.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from skvae import AEAnomalyDetector
        >>> X = load_wine(as_frame=True).data
        >>> detector = AEAnomalyDetector(random_state=0).fit(X)
        >>> detector.report(X)
        <AnomalyReport of 178 rows, 18 flagged>
        """
        check_count(1, n_rows=n_rows)
        if false_discovery_rate is not None:
            check_share(false_discovery_rate=false_discovery_rate)
        p_values = None if false_discovery_rate is None else self.p_values(X)
        return self._report(
            X, self.score_samples(X), p_values, n_rows=n_rows, false_discovery_rate=false_discovery_rate, title=title
        )

    def _report(self, X: Any, scores: np.ndarray, p_values: np.ndarray | None, **how: Any) -> AnomalyReport:
        """The report on rows whose ``score_samples``, and ``p_values`` if there is a rate, are known."""
        cells = self._cells(X)
        rows = self._with_cycles(cells)
        return report_on(
            self,
            X,
            scores=-scores,
            p_values=p_values,
            columns=accounts_of(self._schema, feature_names(self, None), cells, self._schema.unknown(X, cells)),
            codes=self._oddness.networks.codes(rows),
            n_known=int((self._oddness.training.find(rows).part >= 0).sum()),
            least_p_value=1 / self._n_ranks,
            **how,
        )

    def _expected(self, X: Any, rows: np.ndarray) -> Any:
        expected = self._clocks.expected(self._oddness.expected(rows))
        if self._schema.library == "numpy":
            return self._frame_like(X, self._schema.restore(expected))
        if library_of(X) == "numpy":
            return self._frame_like(X, expected)
        return self._schema.restore(expected, index_of(X))

    def _frame_like(self, X: Any, values: np.ndarray) -> Any:
        if library_of(X) == "numpy":
            return pd.DataFrame(values, columns=feature_names(self, None))
        return table_like(X, values)

    def _read(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The cells of a table as numbers, with cyclic features in place of clocks, and which of them hold new categories.

        Cells of columns that were empty at fit are missing.
        """
        cells = self._cells(X)
        return self._with_cycles(cells), self._schema.unknown(X, cells)

    def _cells(self, X: Any) -> np.ndarray:
        """The cells of a table as numbers."""
        check_is_fitted(self)
        return check_rows(self, X, self._schema, reset=False, in_unit_interval=self._in_unit_interval)

    def _with_cycles(self, cells: np.ndarray) -> np.ndarray:
        """Cells with cyclic features in place of clocks, and none in columns that were empty at fit."""
        return self._oddness.memory.squashing.read(self._clocks.widen(cells))

    def _single(self, X: Any, rows: np.ndarray) -> np.ndarray:
        """Which cells of training rows hold a category that no other training row has."""
        single = self._schema.holding(self._levels.single, X, rows)
        return single & (self._oddness.training.find(rows).part >= 0)[:, None] if single.any() else single

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


def _seen(rows: np.ndarray, known: Known, support: np.ndarray, part: int) -> Table:
    """The rows that a network is trained on, which leave one part out: those of the support, or all if none of these is left.

    Distinct rows come in the order of the table. Rows outside the support keep their place with zero weight and the cells of a
    row inside it. A row that enters or leaves the support therefore does not move other rows to other batches.
    """
    places, first = np.unique(known.place, return_index=True)
    counts = np.bincount(known.place[support], minlength=len(places)).astype(np.float64)
    shown = np.flatnonzero(known.part[first] != part)
    shown = shown[np.argsort(first[shown])]
    first, counts = first[shown], counts[shown] if counts[shown].any() else np.ones(len(shown))
    first = np.where(counts > 0, first, first[counts.argmax()])
    return Table(rows[first], None if (counts == 1).all() else counts)
