"""Anomalies in a table, with p-values and reasons."""

import math
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy.stats import mode
from sklearn.base import OutlierMixin

from skvae._autoencoder import AutoencoderTransformer
from skvae._base import BaseAutoencoder, earlier_fit_kept, warn_of_early_end
from skvae._calibration import Calibration, Unseen
from skvae._fit.plan import epochs_of
from skvae._fit.settings import Corruption, Penalty, is_auto
from skvae._fitted import Fitted
from skvae._parameters import NestedParameters
from skvae._tables.libraries import index_of, library_of, table_like
from skvae._tables.rows import merge_equal_rows
from skvae._tables.schema import Schema
from skvae._vae import VAETransformer
from skvae._validation import (
    Interval,
    StrOptions,
    check_is_fitted,
    check_rows,
    feature_names,
    fit_context,
    random_seed,
)
from skvae.core.corruptions import DiffusionNoise

PARTS_BELOW = 1000  # rows; of more, a single held-out part is large enough to compare with, and the model hardly misses it
N_PARTS = 10
LEAST_ROWS = 10  # to train on
N_STEPS = 300  # of the training of the denoiser; noise is the only regularisation that it needs
DENOISER: dict[str, Any] = {
    "n_components": 128,
    "hidden_layer_sizes": (128, 128, 128, 128),
    "activation": "silu",
    "decoder_layer_sizes": (),
    "init": "random",
    "corruption": DiffusionNoise((0.05, 2.0)),
    "code_activation": "silu",
    "batch_size": 128,
    "early_stopping": False,
}
VARIATIONAL: dict[str, Any] = {
    "n_components": 0.9,
    "hidden_layer_sizes": (128,),
    "activation": "gelu",
    "decoder_layer_sizes": None,
    "init": "pca",
}
CONSTRAINTS = AutoencoderTransformer._parameter_constraints
PASSED_ON = [name for name in BaseAutoencoder._parameter_constraints if name not in {"random_state", "warm_start"}]
OF_EXACT_CODES = ("code_activation", "n_nonzero_coefs")
AUTOMATIC = StrOptions({"auto"})
HAVE_AUTO = {"corruption", "batch_size", "early_stopping"}  # of the parameters below, those of the transformers


class AEAnomalyDetector(OutlierMixin, NestedParameters):
    """Find the rows of a table that are not like the others, with p-values and reasons; in place of ``IsolationForest``.

    A wide denoising autoencoder is trained to take noise of all sizes off standardised rows, and is told how much there is. Of
    a clean row it then takes off what it believes to be noise: little where rows are common, much where they are rare. The
    squares of that, in units of what is usual, are the score, cell by cell. Noise is the only regularisation: there is no
    bottleneck, and training takes a fixed number of steps.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        Size of the code, ``"auto"`` is 128: more than most tables have columns. With ``variational=True`` as many as PCA needs
        for 90 % of the variance.
    contamination : float, default=0.1
        Share of the training rows that ``predict`` flags, in (0, 0.5]. It moves ``offset_`` and nothing else.
    support_fraction : float, default=0.8
        Share of each batch that is learned from, in (0, 1]: the rows that are reconstructed best. The default is for tables
        that hold anomalies, as in ``EllipticEnvelope``; these are then left out, though some rare rows are too. Set 1.0 where
        all rows are known to be normal (novelty detection).
    variational : bool, default=False
        Whether the model is a ``VAETransformer``; a cell's score is then its likelihood under the posterior of the code (the
        reconstruction probability of An and Cho, 2015). Its start is computed from all rows, whatever ``support_fraction``
        says, and often stays the answer.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        ``"auto"`` is ``(128, 128, 128, 128)``; with ``variational=True``, here and below, what ``VAETransformer`` does.
    activation : str, default="auto"
        Of the hidden layers, ``"auto"`` is ``"silu"``.
    decoder_layer_sizes : tuple of int, None or "auto", default="auto"
        ``"auto"`` is ``()``: a single layer decodes. None mirrors the encoder.
    init : {"auto", "pca", "random"}, default="auto"
        ``"auto"`` is ``"random"``, and with ``variational=True`` ``"pca"``.
    standardize : bool, default=True
        Whether columns are brought to zero mean and unit variance. Without it the level of the noise, and what is odd, are in
        proportion to the columns' own spread.
    likelihood : {"auto", "gaussian", "mse", "bernoulli"}, default="auto"
        How a cell is scored; as in ``AutoencoderTransformer``.
    categorical_features : "from_dtype", None, or array-like, default="from_dtype"
        As in ``AutoencoderTransformer``.
    handle_unknown : {"ignore", "error"}, default="ignore"
        How to treat categories unseen during ``fit``. ``"ignore"`` takes them as missing for the network; each costs as much as
        the oddest of the rows held out, or ``log(n_rows + 1)`` nats if that is more. By the rule of succession a new category
        comes once in n + 1 rows, and so should a row of that score. ``"error"`` raises.
    corruption : str, corruption object, "auto" or None, default="auto"
        ``"auto"`` is ``DiffusionNoise((0.05, 2.0))``.
    penalty : str, penalty object, tuple of them or None, default=None
        As in ``AutoencoderTransformer``.
    code_activation : str, default="auto"
        ``"auto"`` is ``"silu"``. With ``variational=True`` codes are normal, so that only ``"auto"`` and ``"identity"`` are
        taken.
    n_nonzero_coefs : int or None, default=None
        As in ``AutoencoderTransformer``; None with ``variational=True``.
    weight_decay, learning_rate, learning_rate_init, tol, n_iter_no_change, shuffle
        As in ``AutoencoderTransformer``.
    batch_size : int or "auto", default="auto"
        ``"auto"`` is 128.
    max_iter : int or "auto", default="auto"
        Epochs. ``"auto"`` is as many as make 300 steps, at least one.
    early_stopping : bool or "auto", default="auto"
        ``"auto"`` is False: the number of steps is fixed.
    validation_fraction : float, default=0.2
        Share of the rows that the model does not see, so that ``p_values`` can compare with them, where ``cv`` is ``"auto"``
        and there are 1000 rows or more. Of the others, with ``early_stopping=True``, the share that chooses the epochs.
    cv : int or "auto", default="auto"
        Number of models, each of which does not see one part of the rows; the score is their mean. p-values are then as fine
        as ``1 / (n_rows + 1)``. ``"auto"`` is 10 below 1000 rows and a single model above.
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
    estimators_ : list of AutoencoderTransformer or VAETransformer
        The models.
    n_iter_ : int
        Epochs that the first was trained for.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the training table had column names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Trees that split at random; without p-values and reasons.
    sklearn.neighbors.LocalOutlierFactor : Distances to neighbours, which keeps the training rows.
    AutoencoderTransformer.score_cells : The likelihood of cells under a model that compresses.

    Notes
    -----
    The residual of the best denoiser at a row x is ``s**2`` times the gradient of the log-density of the rows with noise of
    level s (Vincent, 2011): a distance, in the direction of the data. Columns that hold anything but numbers are swapped for
    other rows' with the same share of noise, and count with their cross-entropy.

    A row of the training table, told by a hash of its cells, is scored by the one model of several that did not see it, as a
    training row is no neighbour of itself in ``LocalOutlierFactor``; any other row by the mean of all. Otherwise the few rows
    of a small table, which networks remember, would set a threshold that later rows cannot meet.

    A missing cell adds nothing to a score. What a cell adds is its negative log-likelihood in nats, less that of the median
    cell of its column among rows that were not trained on; so a typical cell, like a missing one, counts zero.

    References
    ----------
    P. J. Rousseeuw (1984). Least median of squares regression. JASA 79.

    P. Vincent (2011). A connection between score matching and denoising autoencoders. Neural Computation 23.

    J. An, S. Cho (2015). Variational autoencoder based anomaly detection using reconstruction probability. Seoul National
    University.

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
    >>> p = AEAnomalyDetector(cv=3, random_state=0).fit(X[1:]).p_values(X[:1])
    >>> bool(false_discovery_control(p)[0] < 0.1)
    True
    """

    estimators_: list[AutoencoderTransformer | VAETransformer]
    _calibrations: list[Calibration]
    offset_: float

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{name: CONSTRAINTS[name] for name in (*PASSED_ON, *OF_EXACT_CODES)},
        **{name: [AUTOMATIC, *CONSTRAINTS[name]] for name in DENOISER if name not in HAVE_AUTO},
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "variational": ["boolean"],
        "cv": [AUTOMATIC, Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | float | str = "auto",
        *,
        contamination: float = 0.1,
        support_fraction: float = 0.8,
        variational: bool = False,
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
        cv: int | str = "auto",
        shuffle: bool = True,
        random_state: Any = None,
        verbose: bool | int = False,
        device: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.contamination = contamination
        self.support_fraction = support_fraction
        self.variational = variational
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
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn what rows of a table are like.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_columns)
            At least two rows. Arrays hold finite numbers and NaN for missing cells, frames also booleans, categories,
            strings, dates and durations.
        y : ignored

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            On input or parameters that cannot be used; an earlier fit stays as it was.
        FloatingPointError
            Where the training diverged.
        """
        with earlier_fit_kept(self):
            self._fit(X)
        return self

    def _fit(self, X: Any) -> None:
        schema = Schema.of(X, self.categorical_features)
        rows = check_rows(self, X, schema, reset=True, in_unit_interval=self.likelihood == "bernoulli")
        rng = np.random.default_rng(random_seed(self.random_state))
        order = rng.permutation(len(rows))
        parts = self._held_out(order)
        self.estimators_, self._calibrations, ended_early = [], [], False
        for unseen in parts:
            table = merge_equal_rows(np.delete(rows, unseen, axis=0), None)
            model = self._model(len(table.rows), seed=int(rng.integers(2**31)))
            ended_early |= model._fit_rows(schema, table, owner=self).still_falling
            self.estimators_.append(model)
            self._calibrations.append(Calibration.of(model._fitted, rows[unseen]))
        if ended_early and not is_auto(self.max_iter):  # else the number of steps is fixed, whatever the loss does
            warn_of_early_end(self.max_iter)
        self._unseen = Unseen.of(self._first.read(rows), parts)
        oddest = max(calibration.highest_cost for calibration in self._calibrations)
        self._cost_of_new_level = max(oddest, math.log(len(order) + 1))
        self.n_iter_ = self.estimators_[0].n_iter_
        self.offset_ = float(np.percentile(-self._costs(rows), 100 * self.contamination))

    def _held_out(self, order: np.ndarray) -> list[np.ndarray]:
        """The rows that each model does not see, to compare later rows with."""
        n_rows = len(order)
        if self.cv == "auto" and n_rows >= PARTS_BELOW:
            n_unseen = max(round(self.validation_fraction * n_rows), 1)
            n_left = n_rows - n_unseen
            if n_left < LEAST_ROWS:
                raise ValueError(
                    f"validation_fraction={self.validation_fraction!r} leaves {n_left} of {n_rows} rows to train on. "
                    f"Lower it, so that {LEAST_ROWS} are left, or use cv=5."
                )
            return [order[:n_unseen]]
        return np.array_split(order, min(N_PARTS if self.cv == "auto" else int(self.cv), n_rows))

    def _model(self, n_rows: int, seed: int) -> AutoencoderTransformer | VAETransformer:
        """An unfitted model for ``n_rows`` distinct rows."""
        params = {name: getattr(self, name) for name in PASSED_ON} | {"random_state": seed}
        if self.variational:
            self._check_variational()
            params |= {name: default for name, default in VARIATIONAL.items() if is_auto(params[name])}
            return VAETransformer(**params)
        params |= {name: getattr(self, name) for name in OF_EXACT_CODES}
        params |= {name: default for name, default in DENOISER.items() if is_auto(params[name])}
        model = AutoencoderTransformer(**params)
        if is_auto(self.max_iter):
            model.max_iter = epochs_of(N_STEPS, n_rows, int(model.batch_size))
        return model

    def _check_variational(self) -> None:
        """Refuse what a normal code cannot be."""
        if self.code_activation not in {"auto", "identity"}:
            raise ValueError(
                f"code_activation={self.code_activation!r} cannot be had with variational=True: codes are normal, and take all "
                'values. Leave it "auto", or set variational=False.'
            )
        if self.n_nonzero_coefs is not None:
            raise ValueError(
                f"n_nonzero_coefs={self.n_nonzero_coefs!r} cannot be had with variational=True: a normal code is never exactly "
                "zero. Leave it None, or set variational=False."
            )

    @property
    def _first(self) -> Fitted:
        return self._calibrations[0].fitted

    def score_samples(self, X: Any) -> np.ndarray:
        """How normal each row is: minus the sum of what ``explain`` says of its cells.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        scores : ndarray of shape (n_rows,)
            In nats; higher is more normal, and a row of typical cells has about zero.
        """
        rows = self._read(X)
        return -self._costs(rows) - self._cost_of_new_level * self._new_levels(X, rows).sum(axis=1)

    def decision_function(self, X: Any) -> np.ndarray:
        """``score_samples`` less ``offset_``: negative where ``predict`` says -1.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        scores : ndarray of shape (n_rows,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 for anomalies, 1 for all else.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)

        Returns
        -------
        labels : ndarray of shape (n_rows,)
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> np.ndarray:
        """How probable it is that a row like those of the training table scores as low as this one, or lower.

        Each row is compared with training rows that the model did not see (conformal p-values). Where a row and the training
        rows are exchangeable, such as draws from one distribution, ``p <= a`` has a probability of at most a, up to ``1 / m``
        and, with several models, up to what rounding the parts off is worth: a factor of two at worst (Barber et al., 2021),
        nothing that we could measure in practice. Where the training table holds anomalies, p-values are larger than they would
        be without. ``scipy.stats.false_discovery_control(detector.p_values(X)) <= 0.1`` picks rows of which a tenth is normal
        in expectation, at most (Bates et al., 2023).

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
            Rows that were not trained on.

        Returns
        -------
        p : ndarray of shape (n_rows,)
            Between ``1 / (m + 1)`` and 1, for m rows that were held out in ``fit``. Few rows can be told apart from chance by
            a p-value that cannot be small; ``cv=5`` makes m the number of training rows.
        """
        rows = self._read(X)
        new = self._cost_of_new_level * self._new_levels(X, rows).sum(axis=1)
        as_odd = np.sum([calibration.n_as_odd(calibration.costs(rows) + new) for calibration in self._calibrations], axis=0)
        return np.asarray((1 + as_odd) / (1 + sum(calibration.n_rows for calibration in self._calibrations)))

    def explain(self, X: Any, return_expected: bool = False) -> Any:
        """What each cell adds to the oddness of its row.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features_in_)
        return_expected : bool, default=False
            Whether to return also what the model expects in each cell.

        Returns
        -------
        contributions : frame of shape (n_rows, n_features_in_)
            In nats, how much less likely the cell is than a typical one of its column; below zero where it is likelier, zero
            where it is missing. The sum of a row is minus its ``score_samples``. A polars frame where X is one, else a pandas
            frame, with X's index.
        expected : frame of shape (n_rows, n_features_in_)
            In the units and dtypes of the training table, if ``return_expected``.
        """
        rows = self._read(X)
        contributions = self._agreed(rows, [calibration.costs_of_cells(rows) for calibration in self._calibrations])
        contributions += self._cost_of_new_level * self._new_levels(X, rows)
        frame = self._frame_like(X, contributions)
        return (frame, self._expected(X, rows)) if return_expected else frame

    def _expected(self, X: Any, rows: np.ndarray) -> Any:
        tables = [calibration.expected(rows) for calibration in self._calibrations]
        joint = np.where(self._first.is_number, _mean(tables), mode(tables, axis=0).mode)
        expected = self._agreed(rows, tables, joint)
        schema = self._first.schema
        if schema.library == "numpy":
            return self._frame_like(X, schema.restore(expected))
        if library_of(X) == "numpy":
            return self._frame_like(X, expected)
        return schema.restore(expected, index_of(X))

    def _frame_like(self, X: Any, values: np.ndarray) -> Any:
        if library_of(X) == "numpy":
            return pd.DataFrame(values, columns=feature_names(self, None))
        return table_like(X, values)

    def _read(self, X: Any) -> np.ndarray:
        """The cells of a table as numbers, the same for all models."""
        check_is_fitted(self)
        return check_rows(self, X, self._first.schema, reset=False, in_unit_interval=self._first.in_unit_interval)

    def _costs(self, rows: np.ndarray) -> np.ndarray:
        """What the models say that each row costs."""
        return self._agreed(rows, [calibration.costs(rows) for calibration in self._calibrations])

    def _new_levels(self, X: Any, rows: np.ndarray) -> np.ndarray:
        """Which cells hold a level unseen during ``fit``."""
        return self._first.schema.unknown(X, rows)

    def _agreed(self, rows: np.ndarray, tables: list[np.ndarray], joint: np.ndarray | None = None) -> np.ndarray:
        """Combine the models' results, by their mean or jointly; a training row takes that of the model that did not see it."""
        result = _mean(tables) if joint is None else joint
        if len(tables) > 1:
            unseen_by = self._unseen.by(self._first.read(rows))
            for i, table in enumerate(tables):
                result[unseen_by == i] = table[unseen_by == i]
        return result

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _mean(tables: list[np.ndarray]) -> np.ndarray:
    """Summed one after the other: numpy's order depends on the number of rows, and so would the last bits of each."""
    return np.asarray(sum(tables) / len(tables))
