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
from skvae._parameters import NestedParameters
from skvae._report.anomalies import AnomalyReport
from skvae._report.columns import accounts_of
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

N_NETWORKS = 2  # the fewest of which one has not seen each row
LEAST_ROWS = 50  # distinct ones, for networks to be trained
N_PASSES = 10  # of the training of a network over its rows; noise is the only regularisation that it needs
FEWEST_STEPS, MOST_STEPS = 100, 300  # of the same
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
OF_TRAINING_ROWS = ("decision_scores_", "labels_")  # attributes with a number for each
HAVE_AUTO = {"corruption", "batch_size", "early_stopping"}  # of the parameters below, those of the transformer


class AEAnomalyDetector(Saved, CallbackSupportMixin, OutlierMixin, NestedParameters):
    """Find the rows of a table that are not like the others, with p-values and reasons; in place of ``IsolationForest``.

    Each cell of a row is measured three times: how far it is from those of the nearest rows, how rare it is in its column, and
    how far it is from what a denoising autoencoder expects in a row like this. How odd a row is, is the sum over its cells. The
    first two measures find rows that are unlike all others. The third finds single wrong cells, and says what should stand
    there.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        Size of the code of the networks, ``"auto"`` is 128: more than most tables have columns.
    contamination : float or "auto", default=0.1
        Share of the training rows that ``predict`` flags, in (0, 0.5]. It moves ``offset_``, and ``support_fraction`` where
        that is ``"auto"``. ``"auto"`` flags rows whose scores are too odd for the tail of all scores, at a false discovery rate
        of 0.1; see the notes. Often there are none. It flags fewer rows than most tables have anomalies.
    support_fraction : float or "auto", default="auto"
        Share of the rows that is learned from, in (0, 1], as in ``EllipticEnvelope``. ``"auto"`` is
        ``min(0.8, 1 - contamination)``, and 0.8 with ``contamination="auto"``, for tables that may hold anomalies. Rows that
        are left out are those that are far from most of 32 random samples of 16 rows: single rows, and groups that make up a
        few per cent of the table, however dense. Equal rows that make up 2 % stay, and most of the rows with a category that
        2 % have. Set 1.0 where all rows are known to be normal (novelty detection). Rows with a wild cell, which would decide
        about all others, are left out even then.
    n_neighbors : int, default=5
        Nearest rows that a row is compared with, as in ``LocalOutlierFactor``.
    max_samples : int, default=4096
        Rows that are kept to compare with (the memory), drawn at random where there are more. More of them cost time and
        space in proportion. The fitted detector holds these rows as they are.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        ``"auto"`` is ``(128, 128)``.
    activation : str, default="auto"
        Of the hidden layers, ``"auto"`` is ``"silu"``.
    decoder_layer_sizes : tuple of int, None or "auto", default="auto"
        ``"auto"`` is ``()``: a single layer decodes. None mirrors the encoder.
    init : {"auto", "pca", "random"}, default="auto"
        ``"auto"`` is ``"random"``.
    standardize : bool, default=True
        Whether each column of numbers is brought to a scale of its own, by its median and its spread. Without it what is odd is
        in proportion to the columns' own units.
    likelihood : {"auto", "gaussian", "mse", "bernoulli"}, default="auto"
        How the networks score a cell; as in ``AutoencoderTransformer``.
    categorical_features : "from_dtype", None, or array-like, default="from_dtype"
        As in ``AutoencoderTransformer``.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories unseen during ``fit``. With ``"ignore"`` each costs as much as the row that is as rare: by Good
        and Turing's rule, as many rows come with a new category as had one of their own during ``fit``; where none had, the
        oddest row counts. ``"error"`` raises.
    corruption : str, corruption object, "auto" or None, default="auto"
        ``"auto"`` is ``DiffusionNoise((0.05, 2.0))``.
    penalty : str, penalty object, tuple of them or None, default=None
        As in ``AutoencoderTransformer``.
    code_activation : str, default="auto"
        ``"auto"`` is ``"silu"``.
    n_nonzero_coefs : int or None, default=None
        As in ``AutoencoderTransformer``.
    weight_decay : float, default=0.0
        As in ``AutoencoderTransformer``, as are the next two.
    learning_rate : {"cosine", "constant"}, default="cosine"
    learning_rate_init : float or "auto", default="auto"
    batch_size : int or "auto", default="auto"
        ``"auto"`` is 128.
    max_iter : int or "auto", default="auto"
        Epochs. ``"auto"`` is 10, but as many as make 100 steps on small tables and 300 on large ones.
    tol : float, default=1e-4
        As in ``AutoencoderTransformer``.
    early_stopping : bool or "auto", default="auto"
        ``"auto"`` is False: the number of steps is fixed.
    validation_fraction : float, default=0.2
        With ``early_stopping=True``, the share of a network's rows that chooses the epochs.
    n_iter_no_change : int or "auto", default="auto"
        As in ``AutoencoderTransformer``.
    cv : int, "auto", splitter or list of pairs of arrays, default="auto"
        Number of networks, each of which does not see one part of the rows. ``"auto"`` is 2, and none for fewer than 50
        distinct rows, which are too few to learn from. A splitter such as ``KFold``, or the pairs of training and test rows
        that one gives, says which rows these parts are, such as all rows of a customer. A row is of the first part whose test
        rows it, or a row that equals it, is among.
    shuffle : bool, default=True
        As in ``AutoencoderTransformer``.
    random_state : int, RandomState instance or None, default=None
        None draws anew in each fit. numpy's and torch's global generators are neither read nor changed.
    verbose : bool or int, default=False
        Whether to show progress.
    device : str, default="auto"
        As in ``AutoencoderTransformer``.

    Attributes
    ----------
    offset_ : float
        What ``score_samples`` is at the threshold: the percentile of the training scores that ``contamination`` says.
    decision_scores_ : ndarray of shape (n_rows,)
        How odd each training row is, by what did not see it: minus its ``score_samples``. Name and sign are PyOD's. As
        ``labels_``, only after a ``fit`` to a table in memory, not after ``partial_fit``.
    labels_ : ndarray of shape (n_rows,)
        What ``predict`` says of the training rows, -1 for anomalies and 1 for all else.
    n_iter_ : int
        Epochs that the networks were trained for; 1 where there is none.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the training table had column names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Trees that split at random; without p-values and reasons.
    sklearn.neighbors.LocalOutlierFactor : Distances to neighbours, among all training rows.
    AutoencoderTransformer.score_cells : The likelihood of cells under a model that compresses.

    Notes
    -----
    Columns of numbers are squashed before anything else: ``arcsinh((x - median) / spread)``, where the spread is the mean
    absolute deviation from the median of cells between the 5 and 95 % quantiles, in units of a standard deviation. So usual
    cells keep their distances, and wild ones neither set the scale nor decide what is near. Networks see 20 times
    ``arcsinh`` of a 20th instead, which is linear up to 20 spreads: an impossible value then costs in full.

    The three measures of a cell are

    * its mean absolute difference from the ``n_neighbors`` nearest rows of the memory, divided by the square root of how far
      these rows are from their own neighbours. Dividing by all of that distance would make it a local outlier factor, not
      dividing a plain distance. Rows are near by the sum of absolute differences over columns;
    * minus the logarithm of a p-value: of the two-sided rank of a number in its column, or of the share of rows whose category
      is as rare, over 5 %, as a category that many rows have is no surprise;
    * its negative log-likelihood given the code of its row, under denoising autoencoders that take noise of all sizes off a row
      and are told how much there is. A network's residual at a row x is ``s**2`` times the gradient of the log-density of the
      rows with noise of level s (Vincent, 2011). To this is added what pairs of cells cost of which one at least is a category:
      5 for each of the two cells and each nat that the pair is rarer than a tenth of what it would be by chance.

    Each is counted from the median cell of its column, so that a typical cell, like a missing one, counts zero. Each is then
    divided by a constant, so that the rows of the memory have 1, 1/2 and 1/4 beyond typical cells on average. The likelihood
    has long tails, and decides about impossible cells in spite of its small weight.

    With ``contamination="auto"`` a generalised Pareto distribution is fitted to the upper half of the training scores, by
    maximum likelihood. Of the uppermost tenth only counts that it lies beyond. The tail is exponential or heavier, up to one
    without a mean. The p-value of a training row is the share of this distribution beyond it. Those rows are flagged that
    survive a false discovery rate of 0.1 (Benjamini & Hochberg, 1995), and the threshold lies half way between them and the
    next one. Where none survives, the threshold is the score that a single row would have needed, and later rows are flagged
    beyond it. Ranks of the training rows among themselves would tell nothing, as they are uniform whatever the rows are.

    A row of the training table is recognised by a hash of its cells, to the last digit. It is no neighbour of itself, it is not
    counted in its columns, and it is scored by the network that did not see it. Any other row is compared with all and scored
    by the mean of the networks. Otherwise the rows of a small table would set a threshold that later rows cannot meet.

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
    >>> X.loc[0, "alcohol"] = 142.3  # a comma in the wrong place
    >>> detector = AEAnomalyDetector(contamination=0.02, random_state=0).fit(X)
    >>> int(detector.predict(X)[0])
    -1
    >>> detector.explain(X.iloc[:1]).idxmax(axis=1)[0]
    'alcohol'

    Rows that come later, and those among them of which at most a tenth is expected to be normal:

    >>> from scipy.stats import false_discovery_control
    >>> p = AEAnomalyDetector(random_state=0).fit(X[1:]).p_values(X[:1])
    >>> bool(false_discovery_control(p)[0] < 0.1)
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
        """Learn what rows of a table are like.

        Parameters
        ----------
        X : array-like, frame or dataset of shape (n_rows, n_columns)
            At least two rows. Arrays hold finite numbers and NaN for missing cells, frames also booleans, categories,
            strings, dates and durations. Of arrays and sparse matrices that take more than scikit-learn's ``working_memory``,
            once dense, and of datasets of pyarrow, 100,000 random rows are learned from.
        y : ignored
        sample_weight : array-like of shape (n_rows,), default=None
            Non-negative; a weight of 2 is the row twice, a weight of 0 its absence. Other weights than whole numbers are
            rounded up or down at random, a weight of 1.3 to 2 in three of ten cases, after weights with a mean below 1 have
            been raised to that mean. Weights that sum to more than 100,000, and than the number of rows, are lowered to that.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            On input or parameters that cannot be used; an earlier fit stays as it was.
        FloatingPointError
            Where the training diverged.

        Warns
        -----
        ConvergenceWarning
            Where ``max_iter`` ended the training while the loss was still falling.
        UserWarning
            Where Ctrl-C ended the training of the last network. Before, there is no detector yet: ``KeyboardInterrupt`` is
            raised, and an earlier fit stays.
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
        """Fit, and say which rows are anomalies; those in memory are not scored a second time.

        Parameters
        ----------
        X : array-like, frame or dataset of shape (n_rows, n_columns)
        y : ignored
        **params : dict
            What ``fit`` takes beside, such as ``sample_weight``.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
            -1 for anomalies, 1 for all else.
        """
        self.fit(X, **params)
        return deepcopy(self.labels_) if hasattr(self, "labels_") else self.predict(X)

    @fit_context
    @fits_in_kind
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Go on with further rows of a stream.

        The detector keeps a random sample of at most 20,000 of all rows so far. It is fitted to the sample anew, as by ``fit``,
        when a quarter of the sample has changed: often at first, and ever more rarely. After ``fit`` the sample is empty.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_columns)
            The first call takes at least two rows, and all calls tables of one library with the same columns.
        y : ignored

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, FloatingPointError
            As ``fit``; the detector stays as it was before the call.
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
        """Random rows of a table that is read block by block, and their weights: a table of this size is known by a sample."""
        if self._has_splits:
            raise ValueError("cv holds splits, but of a table of this size a random sample is learned from; give a number.")
        rng, n_rows = np.random.default_rng(random_seed(self.random_state)), sample_rows(source.n_columns)
        if sample_weight is None:
            return source.sample(n_rows, rng), None
        weights = np.asarray(check_weights(sample_weight, np.empty((source.n_rows, 0))))
        places = np.flatnonzero(weights)
        places = np.sort(rng.choice(places, min(n_rows, len(places)), replace=False, shuffle=False))
        return source.take(places), weights[places]

    def _fit(self, X: Any, sample_weight: Any) -> np.ndarray:
        """Fit to a table in memory, with rows repeated as their weights say, and tell how odd each row is.

        Where rows are repeated, all are taken in an order of their own. So integer weights are repetitions to the last bit.
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
        """Fit to rows that have been read from a table, and tell how odd each of them is; ``part`` is that of given splits."""
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
        """Whether the caller says which rows each network is not to see."""
        return not isinstance(self.cv, str | Integral)

    @property
    def _n_trainings(self) -> int:
        """How many networks are trained, where the table has rows enough."""
        if self._has_splits:
            return int(self.cv.get_n_splits()) if hasattr(self.cv, "get_n_splits") else len(self.cv)
        return N_NETWORKS if is_auto(self.cv) else int(self.cv)

    def _support(self) -> float:
        """Share of the rows that is learned from."""
        if not is_auto(self.support_fraction):
            return float(self.support_fraction)
        return FEW_ODD if isinstance(self.contamination, str) else min(FEW_ODD, 1 - self.contamination)

    def _n_networks(self, n_distinct: int) -> int:
        """How many networks so many distinct rows are enough for: none, or at least two."""
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
        """Train a network on each of some tables, of the cells that ``squashing`` is of."""
        is_scaled = squashing.is_number & (self.likelihood != "bernoulli")  # whose cells are probabilities
        squashing = squashing.only(is_scaled, FAR)
        models, ended_early, interrupted = [], False, None
        for table in tables:
            if interrupted:
                raise KeyboardInterrupt  # networks are missing
            model = self._model(table, seed=int(rng.integers(2**31)))
            squashed = Table(squashing.apply(table.rows), table.weights)
            fit = model._fit_rows(schema, squashed, owner=self)
            ended_early |= fit.still_falling
            interrupted = fit if fit.interrupted else None
            models.append(model)
        if ended_early and not is_auto(self.max_iter):  # else the number of steps is fixed, whatever the loss does
            warn_of_early_end(self.max_iter)
        if interrupted:
            warn_of_end(interrupted, self.max_iter)
        self.n_iter_ = models[0].n_iter_ if models else 1
        return Networks(squashing, [model._fitted for model in models], between)

    def _model(self, table: Table, seed: int) -> AutoencoderTransformer:
        """An unfitted model for the rows of a table that count."""
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
        """Find, and return, what later rows are compared with: how odd training rows are, each by what did not see it."""
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
        """How normal each row is: minus the sum of what ``explain`` says of its cells.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Where to write the result, such as a ``numpy.memmap``; None makes a new array.

        Returns
        -------
        scores : ndarray of shape (n_rows,)
            Higher is more normal. A row of typical cells has about zero. The unit is the mean of what the rows that were
            learned from have beyond typical cells, by their distances to neighbours.
        """
        rows, new = self._read(X)
        return -self._oddness.totals(rows) - self._levels.cost_of(new | self._single(X, rows))

    @by_block
    def decision_function(self, X: Any, *, out: Any = None) -> np.ndarray:
        """``score_samples`` less ``offset_``: negative where ``predict`` says -1.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Where to write the result, such as a ``numpy.memmap``; None makes a new array.

        Returns
        -------
        scores : ndarray of shape (n_rows,)
        """
        return self.score_samples(X) - self.offset_

    @by_block
    def predict(self, X: Any, *, out: Any = None) -> np.ndarray:
        """-1 for anomalies, 1 for all else.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        out : array-like of shape (n_rows,), default=None
            Where to write the result, such as a ``numpy.memmap``; None makes a new array.

        Returns
        -------
        labels : ndarray of shape (n_rows,)
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    @by_block
    def p_values(self, X: Any, *, out: Any = None) -> np.ndarray:
        """How probable it is that a row like those of the training table scores as low as this one, or lower.

        Each row is compared with the training rows, and none of these is judged by what it took part in: it is not its own
        neighbour, and it is scored by the network that was not trained on it (conformal p-values). Where a row and the training
        rows are exchangeable, such as draws from one distribution, ``p <= a`` has a probability of at most a, up to a factor of
        two at worst (Barber et al., 2021), and on tables of all sizes we measured less than a. Where rows are left out by
        ``support_fraction``, the others were chosen for being near to each other, and p-values come out a little too small on
        small tables, most of all of categories.

        Where the training table holds anomalies, p-values are larger than they would be without. Of the rows that
        ``scipy.stats.false_discovery_control(detector.p_values(X)) <= 0.1`` picks, a tenth at most is normal in expectation
        (Bates et al., 2023).

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
            Rows that were not trained on.
        out : array-like of shape (n_rows,), default=None
            Where to write the result, such as a ``numpy.memmap``; None makes a new array.

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
        """Places that a row can take among the training rows."""
        return 1 + sum(map(len, self._ranked))

    def explain(self, X: Any, return_expected: bool = False, parts: bool = False) -> Any:
        """What each cell adds to the oddness of its row.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        return_expected : bool, default=False
            Whether to return also what is expected in each cell.
        parts : bool, default=False
            Whether to return what each of the three measures adds, instead of their sum.

        Returns
        -------
        contributions : frame of shape (n_rows, n_features_in_), or Parts
            How much odder the cell is than a typical one of its column; below zero where it is less odd, zero where it is
            missing. The sum of a row is minus its ``score_samples``. A polars frame where X is one, else a pandas frame, with
            X's index. With ``parts`` a named tuple of three such frames: ``neighbours``, ``column`` and ``row``.
        expected : frame of shape (n_rows, n_features_in_)
            In the units and dtypes of the training table, if ``return_expected``: the mean, or the most frequent, of what the
            networks expect, or where there are none the median, or the most frequent, of the nearest rows.
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
        """Write a page of HTML on the anomalies of a table: which rows are odd, and why.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
            In memory.
        n_rows : int, default=20
            How many of the most anomalous rows to show.
        false_discovery_rate : float or None, default=None
            Expected share of normal rows among those that are flagged, in (0, 1). Rows are then flagged by their
            ``p_values``, which are valid for rows that were not trained on. None flags the rows that ``predict`` flags.
        title : str, default="Anomaly report"

        Returns
        -------
        report : AnomalyReport
            A notebook shows it. ``report.save("report.html")`` writes a file that needs no other file and no network.

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
        rows, _ = self._read(X)
        cells = check_rows(self, X, self._schema, reset=False, in_unit_interval=self._in_unit_interval)
        return AnomalyReport.of(
            self,
            X,
            columns=accounts_of(self._schema, feature_names(self, None), cells, self._schema.unknown(X, cells)),
            codes=self._oddness.networks.codes(rows),
            n_known=int((self._oddness.training.find(rows).part >= 0).sum()),
            least_p_value=1 / self._n_ranks,
            n_rows=n_rows,
            false_discovery_rate=false_discovery_rate,
            title=title,
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
        """The cells of a table as numbers, circles in place of clocks, and which hold levels that were not there at fit.

        Cells of columns that were empty at fit are missing.
        """
        check_is_fitted(self)
        rows = check_rows(self, X, self._schema, reset=False, in_unit_interval=self._in_unit_interval)
        return self._oddness.memory.squashing.read(self._clocks.widen(rows)), self._schema.unknown(X, rows)

    def _single(self, X: Any, rows: np.ndarray) -> np.ndarray:
        """Which cells of training rows hold a level that no other training row has."""
        single = self._schema.holding(self._levels.single, X, rows)
        return single & (self._oddness.training.find(rows).part >= 0)[:, None] if single.any() else single

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


def _seen(rows: np.ndarray, known: Known, support: np.ndarray, part: int) -> Table:
    """What a network is shown that is not to see a part: of the support, or all where none of it is left.

    Distinct rows in the order of the table. Those that are not of the support keep their place, without weight and with the
    cells of a row that is. So a row that enters or leaves does not move the others to other batches.
    """
    places, first = np.unique(known.place, return_index=True)
    counts = np.bincount(known.place[support], minlength=len(places)).astype(np.float64)
    shown = np.flatnonzero(known.part[first] != part)
    shown = shown[np.argsort(first[shown])]
    first, counts = first[shown], counts[shown] if counts[shown].any() else np.ones(len(shown))
    first = np.where(counts > 0, first, first[counts.argmax()])
    return Table(rows[first], None if (counts == 1).all() else counts)
