"""From the estimators' parameters to the engine's pieces: what a name stands for is decided here."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from skvae._encoding import BOOLEAN, Encoding
from skvae._linear_gaussian import Completed, LinearGaussian, expectation_maximisation, factor_analysis, probabilistic_pca
from skvae._statistics import PrincipalComponents, Table, extremes, moments, principal_components
from skvae.core.bottlenecks import Bottleneck, Dense, GaussianPosterior, TopK
from skvae.core.corruptions import Columns, Corruption, DiffusionNoise, GaussianNoise, Masking, SaltAndPepper, SwapNoise
from skvae.core.inputs import Inputs
from skvae.core.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, Mixed, Part, UnitGaussian
from skvae.core.model import Autoencoder
from skvae.core.networks import ACTIVATIONS, Network
from skvae.core.objective import Objective
from skvae.core.penalties import L1, L2, Contractive, KLSparsity, Penalty
from skvae.core.training import TrainingPlan

__all__ = [
    "ACTIVATIONS",
    "CORRUPTIONS",
    "PENALTIES",
    "Corruption",
    "Masking",
    "Penalty",
    "build_model",
    "build_objective",
    "build_plan",
    "check_variant",
    "is_linear",
    "is_plain",
    "is_solved_by_pca",
    "linear_gaussian",
    "name_of",
    "start_at_linear_gaussian",
    "start_at_pca",
]

CORRUPTIONS: dict[str, type[Corruption]] = {
    "gaussian": GaussianNoise,
    "masking": Masking,
    "salt_and_pepper": SaltAndPepper,
    "swap": SwapNoise,
}
PENALTIES = {"l1": L1, "l2": L2, "kl_sparsity": KLSparsity, "contractive": Contractive}
BOUNDED = {"logistic"}  # activations between 0 and 1, of which a rate can be asked
ALMOST_LINEAR = {  # offset and gain with which an activation does little more to a whitened code than to scale it
    "identity": (0.0, 1.0),
    "logistic": (0.0, 0.5),
    "tanh": (0.0, 0.25),
    "relu": (3.0, 1.0),
    "silu": (4.0, 1.0),
    "gelu": (3.0, 1.0),
}
AUTO_RATE = 1e-2
NARROW = 16  # columns; beyond, with a posterior, the rate falls already
WIDE = 256  # columns; beyond, a step of Adam moves a code by so much that the rate has to fall
AUTO_BATCH = 128
AUTO_BATCH_LINEAR = 2048  # steps of a linear model are cheap, and what keeps it from PCA is the noise of small batches
LARGEST_VARIANCE = 0.25  # of a cell that is 0 or 1
LARGEST_CURVATURE = 0.5  # of a categorical cell's log-likelihood in its logits (Bohning, 1992), where 0.25 is a boolean's
RAREST = 0.01  # probability that a start gives to a level
AUTO_HIDDEN = Masking((0.0, 0.5))  # observed cells that are hidden while training, where cells may be missing
MOST_FACTORS = 10  # of the linear model that missing cells are filled in by, ...
MOST_FACTORS_LINEAR = 32  # ... and where it is the whole model
NARROWEST = 1e-12  # variance of a posterior to start from, where it should be zero
OUTLYING = 5  # standard deviations that the encoder's hidden layers see of a cell; a linear path sees all of it
AUTO_STEPS = 1500
AUTO_STEPS_LINEAR = 3000
AUTO_STEPS_LINEAR_VARIATIONAL = 10_000  # draws are noisy, and the noise's variance has far to fall
AUTO_STEPS_PER_ROOT_ROW = 60


def build_model(
    params: Mapping[str, Any],
    n_columns: int,
    n_components: int,
    unit_variance: float,
    floors: np.ndarray,
    generator: torch.Generator,
    widest: torch.dtype = torch.float64,
    encoding: Encoding | None = None,
) -> Autoencoder:
    """The untrained model that the parameters describe.

    A linear model is kept in the widest dtype: it is cheap, and its equality with PCA must survive columns that are nearly
    collinear.

    Parameters
    ----------
    params : mapping
        Parameters of the estimator.
    n_columns, n_components : int
    unit_variance : float
        What a variance of 1 in the units of ``likelihood="mse"`` is on the scale of the networks.
    floors : ndarray of shape (n_columns,)
        Least variance of the noise of each column.
    generator : torch.Generator
        Source of the initial weights.
    widest : torch.dtype
        That the device has.
    encoding : Encoding or None
        Of a table with missing cells or other columns than numbers; None for a complete table of numbers.
    """
    hidden = tuple(params["hidden_layer_sizes"])
    decoder_hidden = params["decoder_layer_sizes"]
    decoder_hidden = hidden[::-1] if decoder_hidden is None else tuple(decoder_hidden)
    dtype = torch.float32 if hidden or decoder_hidden else widest
    likelihood = build_likelihood(params, n_columns, unit_variance, floors, dtype, encoding)
    bottleneck = build_bottleneck(params)
    inputs = build_inputs(params, n_columns, n_components, dtype, encoding)

    from_pca = params["init"] == "pca"
    shape = (params["activation"], from_pca, generator, dtype)
    n_codes = n_components * bottleneck.expansion
    in_units = from_pca and params["variational"]
    encoder = Network(
        [inputs.n_inputs, *hidden, n_codes],
        *shape,
        limited=bool(hidden) and (from_pca or inputs.told_level is not None),
        in_units=in_units,
        out_activation=params["code_activation"],
    )
    if encoder.limit is not None and not from_pca:
        encoder.limit.fill_(OUTLYING)  # of columns that have unit variance
    decoder = Network([n_components, *decoder_hidden, likelihood.n_params], *shape, in_units=in_units)
    return Autoencoder(inputs, encoder, decoder, likelihood, bottleneck)


def build_inputs(
    params: Mapping[str, Any], n_columns: int, n_components: int, dtype: torch.dtype, encoding: Encoding | None
) -> Inputs:
    """What the encoder sees of each cell."""
    corruption = build_corruption(params)
    told_level = corruption.typical_level if isinstance(corruption, DiffusionNoise) else None
    if encoding is None:
        return Inputs.of_numbers(n_columns, n_factors(params, n_columns, n_components), dtype=dtype, told_level=told_level)
    column, level, mean, unit = map(torch.from_numpy, (encoding.column, encoding.level, encoding.mean, encoding.unit))
    factors = n_factors(params, len(column), n_components)
    return Inputs(column, level, mean, unit, factors, marked=True, dtype=dtype, told_level=told_level)


def n_factors(params: Mapping[str, Any], n_features: int, n_components: int) -> int:
    """Of the linear model that fills in missing cells: the code's own where all is linear, else as many as may help."""
    if is_linear(params):
        return min(n_components, n_features, MOST_FACTORS_LINEAR)
    return min(max(1, n_features // 2), MOST_FACTORS)


def build_likelihood(
    params: Mapping[str, Any],
    n_columns: int,
    unit_variance: float,
    floors: np.ndarray,
    dtype: torch.dtype,
    encoding: Encoding | None,
) -> Likelihood:
    """The likelihood of a name for columns of numbers; with an encoding, beside that of each other kind of column."""
    if encoding is None:
        return _of_numbers(params, n_columns, unit_variance, floors, dtype)
    n_levels = encoding.n_levels
    kinds = (n_levels == 0, n_levels == BOOLEAN, n_levels > BOOLEAN)
    likelihoods = (
        lambda columns: _of_numbers(params, len(columns), unit_variance, floors[columns], dtype),
        lambda columns: Bernoulli(len(columns)),
        lambda columns: Categorical(n_levels[columns].tolist()),
    )
    parts = []
    for kind, build in zip(kinds, likelihoods, strict=True):
        if kind.any():
            columns = np.flatnonzero(kind)
            parts.append(Part(build(columns), columns.tolist(), np.flatnonzero(kind[encoding.column]).tolist()))
    return Mixed(parts)


def _of_numbers(
    params: Mapping[str, Any], n_columns: int, unit_variance: float, floors: np.ndarray, dtype: torch.dtype
) -> Likelihood:
    name = params["likelihood"]
    if name == "bernoulli":
        return Bernoulli(n_columns)
    if name == "mse":
        return UnitGaussian(n_columns, unit_variance, dtype)
    floor = torch.from_numpy(floors) if name == "gaussian_diag" else float(floors.min())
    return Gaussian(n_columns, dtype=dtype, floor=floor, learned=params["variational"])


def build_bottleneck(params: Mapping[str, Any]) -> Bottleneck:
    """What is done at the code."""
    if params["variational"]:
        return GaussianPosterior()
    return Dense() if params["n_nonzero_coefs"] is None else TopK(int(params["n_nonzero_coefs"]))


def build_objective(
    params: Mapping[str, Any],
    table: Table,
    n_components: int,
    unit_variance: float,
    like: torch.Tensor,
    encoding: Encoding | None,
) -> Objective:
    """The loss that the parameters describe, for a model of these rows.

    With ``likelihood="mse"`` squared errors count in the units of the input; penalties are brought to the same, so that their
    weights mean the same in any unit.
    """
    corruption = build_corruption(params)
    bound = None if corruption is None else partial(corruption, columns=_columns(table, like, encoding))
    unit = unit_variance if params["likelihood"] == "mse" else 1.0
    penalties = (replace(penalty, weight=penalty.weight / unit) for penalty in build_penalties(params, n_components))
    hidden_only = encoding is not None and isinstance(corruption, Masking) and corruption.hidden_only
    return Objective(bound, tuple(penalties), hidden_only, params["support_fraction"])


def is_told(params: Mapping[str, Any], n_levels: np.ndarray, is_complete: bool) -> bool:
    """Whether the encoder is told what is missing, and cells of all kinds: not of a complete table of numbers."""
    hides = isinstance(params["corruption"], Masking) and params["corruption"].hidden_only
    return bool(n_levels.any()) or not is_complete or hides


def resolved(params: Mapping[str, Any], encoding: Encoding | None) -> dict[str, Any]:
    """The parameters with what is "auto" about the table decided."""
    corruption, likelihood = params["corruption"], params["likelihood"]
    is_mixed = encoding is not None and encoding.is_mixed
    if corruption == "auto":
        corruption = AUTO_HIDDEN if is_mixed else None
    if likelihood == "auto" and encoding is not None:
        likelihood = "gaussian_diag" if is_mixed or params["variational"] else "gaussian"
    return {**params, "corruption": corruption, "likelihood": likelihood}


def build_corruption(params: Mapping[str, Any]) -> Corruption | None:
    """The corruption of a name, of the level that is asked for, or the one that is given."""
    corruption = params["corruption"]
    return CORRUPTIONS[corruption](params["corruption_level"]) if isinstance(corruption, str) else corruption


def _columns(table: Table, like: torch.Tensor, encoding: Encoding | None) -> Columns:
    blank = moments(table)[0] if encoding is None else np.full(table.rows.shape[1], np.nan)
    statistics = [blank, *extremes(table)]
    if encoding is not None and encoding.is_mixed:
        statistics.append(encoding.n_levels == 0)
    return Columns(*(torch.from_numpy(values).to(like.dtype).to(like.device) for values in statistics))


def build_penalties(params: Mapping[str, Any], n_components: int) -> tuple[Penalty, ...]:
    """The penalties of a name, of the weight that is asked for, or those that are given; for a code of this size."""
    penalty = params["penalty"]
    if penalty is None:
        return ()
    if isinstance(penalty, str):
        weight = params["penalty_weight"]
        penalty = PENALTIES[penalty]() if weight == "auto" else PENALTIES[penalty](weight)
    penalties = penalty if isinstance(penalty, tuple) else (penalty,)
    for each in penalties:
        if not isinstance(each, Penalty):
            raise TypeError(f"penalty={penalty!r} holds {each!r}; a tuple holds objects such as skvae.L1(0.1).")
    return tuple(each.bound(n_components, len(params["hidden_layer_sizes"])) for each in penalties)


def check_variant(params: Mapping[str, Any], n_components: int) -> None:
    """Refuse settings that contradict each other, and say why."""
    kept = params["n_nonzero_coefs"]
    if params["variational"] and kept is not None:
        raise ValueError(
            f"n_nonzero_coefs={kept!r} cannot be had with a posterior over codes: it is normal, and a normal code is never "
            "exactly zero. Leave it None, or use AutoencoderTransformer."
        )
    if params["variational"] and params["code_activation"] != "identity":
        raise ValueError(
            f"code_activation={params['code_activation']!r} cannot be had with a posterior over codes: its prior is normal, "
            'and takes all values. Leave it "identity", or use AutoencoderTransformer.'
        )
    if kept is not None and kept > n_components:
        raise ValueError(
            f"n_nonzero_coefs={kept!r} is more than the {n_components} components of the code; lower it, or raise n_components."
        )
    if params["penalty_weight"] != "auto" and not isinstance(params["penalty"], str | None):
        raise ValueError(
            f"penalty_weight={params['penalty_weight']!r} weighs a penalty that is given by name, but {params['penalty']!r} "
            "has a weight of its own. Set it there, or search penalty__weight."
        )
    build_corruption(params)
    for penalty in build_penalties(params, n_components):
        for name in penalty.bounded:
            rate = f"penalty={params['penalty']!r} asks for a rate of activation, between 0 and 1"
            if params["variational"]:
                raise ValueError(
                    f"{rate}, but a code that has a normal posterior takes all values. "
                    "Use AutoencoderTransformer, or another penalty."
                )
            if params[name] not in BOUNDED:
                raise ValueError(f'{rate}, which {name}={params[name]!r} does not bound. Set {name}="logistic".')


def name_of(likelihood: Likelihood) -> str:
    """Which of the two Gaussian likelihoods it is."""
    return "gaussian_diag" if isinstance(likelihood, Gaussian) and likelihood.floor.ndim else "gaussian"


def is_linear(params: Mapping[str, Any]) -> bool:
    """Whether both networks are single layers."""
    return all(sizes is None or len(sizes) == 0 for sizes in (params["hidden_layer_sizes"], params["decoder_layer_sizes"]))


def is_plain(params: Mapping[str, Any]) -> bool:
    """Whether nothing is done to the input and the code and nothing charged beside the likelihood."""
    untouched = params["corruption"] is None and params["penalty"] in (None, ())
    return untouched and params["n_nonzero_coefs"] is None and params["code_activation"] == "identity"


def is_solved_by_pca(params: Mapping[str, Any], encoding: Encoding | None) -> bool:
    """Whether PCA, probabilistic PCA or factor analysis is the answer, so that there is nothing to train."""
    closed = params["likelihood"] != "bernoulli"
    if encoding is not None:  # a linear network cannot tell how uncertain a posterior is of a row with missing cells
        closed = closed and not params["variational"] and not encoding.is_mixed
    elif params["variational"] and params["likelihood"] == "gaussian_diag":
        closed = params["beta"] == 1
    return closed and is_linear(params) and is_plain(params) and params["init"] == "pca"


def start_at_pca(model: Autoencoder, pca: PrincipalComponents) -> None:
    """Set a model to the PCA of the rows that it will see: whitened codes in, reconstruction out.

    Directions without variance, and components beyond the number of axes, get a zero code. Where the largest entries of a code
    are to be kept, all are in one unit instead. An activation of the code is started where it is close to linear.
    """
    n_components, n_columns = model.encoder.out.out_features, len(pca.mean)  # columns of features
    dtype = model.encoder.out.weight.dtype
    k = min(n_components, len(pca.axes))
    deviations = np.sqrt(pca.variances[:k])
    smallest = pca.variances[0] ** 0.5 * n_columns * torch.finfo(dtype).eps
    alive = deviations > smallest
    encoder = np.zeros((n_components, n_columns))
    encoder[:k][alive] = pca.axes[:k][alive] / deviations[alive, None]
    decoder = np.zeros((n_columns, n_components))
    decoder[:, :k] = pca.axes[:k].T * np.where(alive, deviations, 0.0)
    if isinstance(model.bottleneck, TopK):
        unit = np.ones(n_components)
        unit[:k][alive] = deviations[alive] / np.sqrt(np.mean(deviations**2))
        encoder, decoder = encoder * unit[:, None], decoder / unit
    offset, gain = ALMOST_LINEAR[model.encoder.out_activation]
    activation = ACTIVATIONS[model.encoder.out_activation]
    below, centre, above = activation(offset + gain * torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64)).tolist()
    decoder, constant = decoder / (above - below), np.full(n_components, offset)
    _start_linear(model, gain * encoder, constant, decoder, pca.mean, pca.deviations, centre=centre)


def start_at_linear_gaussian(model: Autoencoder, linear: LinearGaussian, beta: float) -> None:
    """Set a model with a posterior to a linear one: its posterior, its loadings, its noise.

    What the networks put out is then measured in what it may err by: codes in the posterior's standard deviations, cells in
    the noise's.
    """
    weight, variances = linear.posterior(beta)
    variances = np.maximum(variances, NARROWEST)
    weight = np.concatenate([weight, np.zeros_like(weight)])
    constant = np.concatenate([np.zeros(len(variances)), np.log(variances)])
    units = np.concatenate([np.sqrt(variances), np.ones(len(variances))]), np.sqrt(linear.noise)
    deviations = np.sqrt((linear.loadings**2).sum(axis=1) + linear.noise)
    _start_linear(model, weight, constant, linear.loadings, linear.mean, deviations, units)
    noise = torch.from_numpy(linear.noise)
    if isinstance(model.likelihood, Mixed):
        first = np.unique(model.inputs.column.numpy(), return_index=True)[1]
        noise = noise[first]
    model.likelihood.fit_(noise)


def _start_linear(
    model: Autoencoder,
    weight: np.ndarray,
    constant: np.ndarray,
    loadings: np.ndarray,
    mean: np.ndarray,
    deviations: np.ndarray,
    units: tuple[np.ndarray, np.ndarray] | None = None,
    centre: float = 0.0,
) -> None:
    """Encode to ``weight @ (x - mean) + constant`` and decode to ``loadings @ (z - centre) + mean``.

    For Bernoulli cells the reconstruction is carried to the logits around the column means: at first order where the code is
    exact; where it is drawn, by the largest variance of a cell, with which normal cells bound the likelihood of Bernoulli ones
    from below (Bohning, 1992), so that the start is better than no code at all.
    """
    offset = mean
    code_unit, cell_unit = (None, None) if units is None else (torch.from_numpy(unit) for unit in units)
    constant = constant - weight @ mean
    if isinstance(model.likelihood, Bernoulli):
        offset, slope = _logits(mean, model.bottleneck.has_posterior)
        loadings, cell_unit = loadings * slope[:, None], None
    elif isinstance(model.likelihood, Mixed):
        offset, slope = _params_of_features(model.inputs, model.likelihood, mean)
        loadings = loadings * slope[:, None]
        cell_unit = None if cell_unit is None else torch.where(model.inputs.is_cell, cell_unit, 1.0)
    beside = np.zeros((len(weight), model.inputs.n_inputs - weight.shape[1]))  # what is missing, and how noisy the row is
    weight = np.concatenate([weight, beside], axis=1)
    model.encoder.start_linear_(torch.from_numpy(weight), torch.from_numpy(constant), code_unit)
    if model.encoder.limit is not None:
        model.encoder.limit[: len(mean)] = torch.from_numpy(np.abs(mean) + OUTLYING * deviations)
    offset = offset - centre * loadings.sum(axis=1)
    model.decoder.start_linear_(torch.from_numpy(loadings), torch.from_numpy(offset), cell_unit)


def _logits(mean: np.ndarray, is_drawn: bool) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the mean of cells between 0 and 1, and how many logits a change of the cell is."""
    clipped = np.clip(mean, RAREST, 1 - RAREST)
    variance = np.full(len(mean), LARGEST_VARIANCE) if is_drawn else clipped * (1 - clipped)
    return np.log(clipped / (1 - clipped)), 1 / variance


def _params_of_features(inputs: Inputs, likelihood: Mixed, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parameters of the likelihood at the mean of the features, and how far a change of each feature moves its parameter.

    Levels and booleans are carried to their logits by the largest curvature, which never overshoots.
    """
    offset, slope = mean.copy(), np.ones(len(mean))
    unit = inputs.unit.double().numpy()
    share = inputs.mean.double().numpy() + unit * mean
    for part in likelihood.parts:
        params = part.params.numpy()
        if isinstance(part.likelihood, Bernoulli):
            offset[params] = _logits(share[params], True)[0]
            slope[params] = unit[params] / LARGEST_VARIANCE
        elif isinstance(part.likelihood, Categorical):
            offset[params] = np.log(np.maximum(share[params], RAREST))
            slope[params] = unit[params] / LARGEST_CURVATURE
    return offset, slope


def complete(params: Mapping[str, Any], table: Table, n_components: int, encoding: Encoding) -> Completed:
    """The linear model that missing cells of these rows are filled in by, and the moments of the rows so completed."""
    features = encoding.features(table.rows)
    factors = n_factors(params, features.shape[1], n_components)
    return expectation_maximisation(features, table.counts, factors, shared=is_solved_by_pca(params, encoding))


def linear_gaussian_of_features(table: Table, n_components: int, encoding: Encoding) -> LinearGaussian:
    """The factor analysis that a model with a posterior of such a table starts at.

    Levels and booleans are taken as normal with so much noise that their likelihood is bounded from below.
    """
    noise = np.full(len(encoding.column), np.nan)
    n_levels = encoding.n_levels[encoding.column]
    noise[n_levels == BOOLEAN] = LARGEST_VARIANCE
    noise[n_levels > BOOLEAN] = LARGEST_CURVATURE
    factors = min(n_components, len(noise), MOST_FACTORS_LINEAR)
    features = encoding.features(table.rows)
    linear = expectation_maximisation(features, table.counts, factors, shared=False, noise=noise / encoding.unit**2).linear
    loadings = np.zeros((len(noise), n_components))
    loadings[:, :factors] = linear.loadings
    return replace(linear, loadings=loadings)


def linear_gaussian(
    params: Mapping[str, Any],
    table: Table,
    n_components: int,
    unit_variance: float,
    floors: np.ndarray,
    prior_rows: float,
) -> LinearGaussian:
    """The linear model that a model with a posterior starts at: factor analysis or probabilistic PCA of these rows."""
    if params["likelihood"] == "gaussian_diag":
        return factor_analysis(table, n_components, floors, prior_rows)
    given = {"mse": unit_variance, "bernoulli": LARGEST_VARIANCE}
    noise = given.get(params["likelihood"])
    return probabilistic_pca(principal_components(table), n_components, params["beta"], noise, floors.min())


def build_plan(
    params: Mapping[str, Any], n_rows: int, n_columns: int, unit_variance: float = 1.0, encoding: Encoding | None = None
) -> TrainingPlan:
    """How to train on a table of so many distinct rows and columns."""
    linear = is_linear(params) and encoding is None  # with an encoding there is no PCA that steps must be exact for
    batch_size, max_iter = params["batch_size"], params["max_iter"]
    if batch_size == "auto":
        batch_size = AUTO_BATCH_LINEAR if linear else AUTO_BATCH
    if max_iter == "auto":
        least = AUTO_STEPS
        if linear:
            least = AUTO_STEPS_LINEAR_VARIATIONAL if params["variational"] else AUTO_STEPS_LINEAR
        steps = params["n_steps"] or max(least, AUTO_STEPS_PER_ROOT_ROW * math.sqrt(n_rows))
        max_iter = math.ceil(steps / math.ceil(n_rows / batch_size))
    rate = params["learning_rate_init"]
    if rate == "auto":
        share = min(1.0, NARROW / n_columns) if params["variational"] else min(1.0, WIDE / n_columns) ** 2
        rate = AUTO_RATE * share
    patience = params["n_iter_no_change"]
    return TrainingPlan(
        max_iter=max_iter,
        batch_size=batch_size,
        learning_rate=params["learning_rate"],
        learning_rate_init=rate,
        weight_decay=params["weight_decay"],
        shuffle=params["shuffle"],
        tol=params["tol"],
        gradient_scale=unit_variance if params["likelihood"] == "mse" else 1.0,
        n_iter_no_change=max(10, max_iter // 5) if patience == "auto" else patience,
        beta=params.get("beta", 1.0),
        beta_warmup=params.get("beta_warmup", 0),
    )
