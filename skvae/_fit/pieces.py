"""The untrained model and the loss of a task."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from skvae._fit.task import Task
from skvae._tables.encoding import BOOLEAN
from skvae._tables.rows import Rows, Table
from skvae.core.corruptions import Columns
from skvae.core.device import widest
from skvae.core.inputs import Inputs
from skvae.core.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, Mixed, Part, UnitGaussian
from skvae.core.model import Autoencoder
from skvae.core.networks import Network
from skvae.core.objective import Objective

OUTLYING = 5  # standard deviations to which cells are clipped for the encoder's hidden layers; the linear path sees all of them


def build_model(task: Task, generator: torch.Generator) -> Autoencoder:
    """The untrained model, with weights drawn from the generator.

    A linear model is kept in the widest dtype of the device. It is cheap, and must equal PCA even if columns are nearly
    collinear.
    """
    settings = task.settings
    dtype = widest(settings.device) if settings.is_linear else torch.float32
    likelihood = build_likelihood(task, dtype)
    inputs = build_inputs(task, dtype)
    shape = (settings.activation, settings.from_pca, generator, dtype)
    in_units = settings.from_pca and settings.variational
    encoder = Network(
        [inputs.n_inputs, *settings.hidden_layer_sizes, task.n_components * settings.bottleneck.expansion],
        *shape,
        limited=bool(settings.hidden_layer_sizes) and (settings.from_pca or inputs.told_level is not None),
        in_units=in_units,
        out_activation=settings.code_activation,
    )
    if encoder.limit is not None and not settings.from_pca:
        encoder.limit.fill_(OUTLYING)  # columns have unit variance
    decoder_sizes = [task.n_components, *settings.decoder_layer_sizes, likelihood.n_params]
    return Autoencoder(inputs, encoder, Network(decoder_sizes, *shape, in_units=in_units), likelihood, settings.bottleneck)


def build_inputs(task: Task, dtype: torch.dtype) -> Inputs:
    """What the encoder sees of each cell."""
    encoding, corruption = task.encoding, task.settings.corruption
    column, level, mean, unit = map(torch.from_numpy, (encoding.column, encoding.level, encoding.mean, encoding.unit))
    told_level = None if corruption is None else corruption.typical_level
    return Inputs(column, level, mean, unit, task.n_factors, marked=task.settings.marked, dtype=dtype, told_level=told_level)


def build_likelihood(task: Task, dtype: torch.dtype) -> Likelihood:
    """The likelihood of the table's columns; if the model marks missing values, its likelihood skips them."""
    if not task.settings.marked:
        return _of_numbers(task, task.floors, dtype)
    n_levels = task.encoding.n_levels
    kinds = (n_levels == 0, n_levels == BOOLEAN, n_levels > BOOLEAN)
    likelihoods = (
        lambda columns: _of_numbers(task, task.floors[columns], dtype),
        lambda columns: Bernoulli(len(columns)),
        lambda columns: Categorical(n_levels[columns].tolist()),
    )
    parts = []
    for kind, build in zip(kinds, likelihoods, strict=True):
        if kind.any():
            columns = np.flatnonzero(kind)
            parts.append(Part(build(columns), columns.tolist(), np.flatnonzero(kind[task.encoding.column]).tolist()))
    flags = [(column, i) for i, column in enumerate(task.settings.column_of.tolist()) if column != i]
    return Mixed(parts, flags)


def _of_numbers(task: Task, floors: np.ndarray, dtype: torch.dtype) -> Likelihood:
    """The likelihood of numeric columns, one per floor."""
    name = task.settings.likelihood
    if name == "bernoulli":
        return Bernoulli(len(floors))
    if name == "mse":
        return UnitGaussian(len(floors), task.unit_variance, dtype)
    floor = torch.from_numpy(floors) if name == "gaussian_diag" else float(floors.min())
    return Gaussian(len(floors), dtype=dtype, floor=floor, learned=task.settings.variational)


def build_objective(task: Task, table: Rows, like: Tensor) -> Objective:
    """The loss of a model of these rows, on the device and in the dtype of a tensor.

    With ``likelihood="mse"`` squared errors count in the units of the input. Penalties are scaled to these units, so that their
    weights mean the same in any unit.
    """
    settings = task.settings
    bound = None if settings.corruption is None else partial(settings.corruption, columns=_columns(task, table, like))
    unit = task.unit_variance if settings.likelihood == "mse" else 1.0
    penalties = tuple(replace(penalty, weight=penalty.weight / unit) for penalty in task.penalties)
    return Objective(bound, penalties, settings.only_fills_in, settings.support_fraction)


def _columns(task: Task, table: Rows, like: Tensor) -> Columns:
    """What a corruption may know about the columns of these rows."""
    blank = np.full(task.n_columns, np.nan) if task.settings.marked else table.moments()[0]
    numbers, column_of = task.encoding.n_levels == 0, task.settings.column_of

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(like.dtype).to(like.device)

    lowest, highest = table.extremes()
    return Columns(
        tensor(blank),
        tensor(lowest),
        tensor(highest),
        numbers=tensor(numbers) if task.settings.is_mixed else None,
        together=None if (np.diff(column_of) > 0).all() else torch.from_numpy(column_of).to(like.device),
    )


def tensors_of(rows: Rows, model: Autoencoder, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Rows and weights in the model's precision and on its device."""
    dtype = next(model.parameters()).dtype
    if isinstance(rows, Table):
        weights = None if rows.weights is None else torch.from_numpy(rows.weights).to(dtype).to(device)
        return torch.from_numpy(rows.rows).to(dtype).to(device), weights
    cells, counts, start = torch.empty(rows.n_rows, rows.n_columns, dtype=dtype), torch.ones(rows.n_rows, dtype=dtype), 0
    for block in rows.blocks():
        some = slice(start, start + block.n_rows)
        cells[some] = torch.from_numpy(block.rows)
        counts[some] = torch.from_numpy(block.counts)
        start = some.stop
    return cells.to(device), None if bool((counts == 1).all()) else counts.to(device)
