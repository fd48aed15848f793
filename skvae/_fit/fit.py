"""From a table to a trained model that is not worse than its start.

Keeping the best epoch is not enough. On small tables the best of many epochs is chosen by noise, and a start computed from all
rows has seen the rows that should judge it. The number of epochs is therefore chosen on rows that neither the start nor the
training saw. Small tables are cross-validated; the final model is trained on all rows at the same time and gets the weights of
the chosen epoch. It replaces the start only if the guard accepts the gain on the held-out rows.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from skvae._fit import likelihood
from skvae._fit.linear_gaussian import LinearGaussian
from skvae._fit.noise import Residuals, set_noise
from skvae._fit.pca import principal_components
from skvae._fit.pieces import build_model, build_objective, tensors_of
from skvae._fit.plan import n_mixed, plan_for, stopping_of
from skvae._fit.rules import N_FOLDS, Guard, guard_of
from skvae._fit.settings import Settings
from skvae._fit.splits import Split, folds, single_split
from skvae._fit.starts import completed, started
from skvae._fit.task import Task
from skvae._tables.encoding import Encoding
from skvae._tables.lazy import Lazy, Reader
from skvae._tables.rows import Rows, Table
from skvae._tables.scaling import Scaling, least_variances, resolutions
from skvae.core.batches import Batches, StreamedBatches, dealt
from skvae.core.model import Autoencoder
from skvae.core.penalties import Penalty
from skvae.core.ranks import Ranks
from skvae.core.training import DIVERGED, Judged, Run, TrainingPlan, TrainingResult, train

MANY_COMPONENTS = 1 << 30  # as many as there are


@dataclass(frozen=True, eq=False)
class Fit:
    """The outcome of a fit.

    Attributes
    ----------
    model : Autoencoder
    scaling : Scaling
        From the units of the input to the scale of the networks.
    rows : Rows
        On the scale of the networks.
    penalties : tuple of Penalty
        As they were applied.
    result : TrainingResult or None
        The training that led to the model; None if a closed-form solution was the answer without training.
    """

    model: Autoencoder
    scaling: Scaling
    rows: Rows
    penalties: tuple[Penalty, ...]
    result: TrainingResult | None

    @property
    def still_falling(self) -> bool:
        """Whether training ran out of epochs while the loss was falling."""
        return self.result is not None and self.result.still_falling

    @property
    def interrupted(self) -> bool:
        """Whether the user ended training."""
        return self.result is not None and self.result.interrupted


Report = Callable[[int, TrainingResult, Callable[[], list[Fit]]], bool | None]
Watch = Callable[[int, TrainingResult, Callable[[], list[Autoencoder]]], bool | None]  # a report of models instead of fits


def fit_rows(
    settings: Sequence[Settings],
    rows: Rows,
    held_out: Table | None = None,
    earlier: tuple[Autoencoder, Scaling] | None = None,
    report: Report | None = None,
) -> list[Fit]:
    """Fit models to the rows of a table, usually one.

    1. Scale the columns, and find the number of components.
    2. Hold rows out to judge by: the caller's, the folds of a small table, or a random share.
    3. Decide what is open about the likelihood.
    4. Stay at the closed-form solution if it is the answer or no rows can judge; otherwise train.

    Parameters
    ----------
    settings : sequence of Settings
        Settings of each model. Several models differ only in their seed, and are trained together.
    rows : Rows
        In the units of the input. For a table in memory, its distinct rows.
    held_out : Table or None
        The caller's own validation rows. None lets this function choose rows.
    earlier : tuple of Autoencoder and Scaling, or None
        A model to continue from, instead of a new one. Any gain on held-out rows is kept then, because its start is not that of
        PCA.
    report : callable or None
        Called before the first epoch and after each epoch, with the number of epochs, the result of the training so far, and a
        function that returns the fits with the models of this epoch. It ends training by returning True.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts the fit before there is a usable model.
    """
    first = settings[0]
    model, scaling = earlier or (None, scaling_of(first, rows))
    rows, held_out = rows.changed(scaling), held_out and held_out.changed(scaling)  # 1)
    task = task_of(first, rows, scaling, model)
    seeds = [each.seed for each in settings]
    splits = _splits(task, seeds, rows, held_out, whole=model is not None) if first.early_stopping else []  # 2)
    if model is not None:
        task = likelihood.as_before(task, model)
    task, splits = likelihood.decided(task, rows, splits, given=held_out is not None)  # 3)
    model = model and resumed(task, model)
    tasks = [task.with_seed(seed) for seed in seeds]
    stays_at_start = model is None and first.from_pca and first.early_stopping and not splits

    def fits(models: list[Autoencoder], result: TrainingResult | None) -> list[Fit]:
        return [Fit(model, scaling, rows, task.penalties, result) for model in models]

    def watch(n_iter: int, so_far: TrainingResult, models: Callable[[], list[Autoencoder]]) -> bool | None:
        return report and report(n_iter, so_far, lambda: fits(models(), so_far))

    watched = None if report is None else watch
    if task.settings.is_solved_by_pca or stays_at_start:  # 4)
        models, result = [_stay_at_start(each, rows, held_out) for each in tasks], None
    elif not splits:
        models, result = _fit_without_validation(tasks, rows, model, watched)
    else:
        models, result = _Judgement(tasks, rows, held_out, splits, model, watched).fit()
    return fits(models, result)


def scaling_of(settings: Settings, rows: Rows) -> Scaling:
    """The scaling from the units of the input to those of the networks."""
    if settings.likelihood == "bernoulli":
        return Scaling.none(rows)
    numbers = settings.n_levels == 0
    return Scaling.standard(rows, numbers) if settings.standardize else Scaling.common(rows, numbers)


def task_of(settings: Settings, rows: Rows, scaling: Scaling, earlier: Autoencoder | None) -> Task:
    """The task of fitting a model to a scaled table."""
    encoding = Encoding.of(rows, settings.n_levels)
    n_components = _n_components(settings, encoding, rows, earlier)
    settings.check(n_components)
    floors = least_variances(rows)
    return Task(
        settings=settings,
        encoding=encoding,
        n_components=n_components,
        penalties=settings.penalties_for(n_components),
        unit_variance=1.0 / max(scaling.error_unit, np.finfo(np.float64).tiny),
        floors=np.maximum(floors, resolutions(rows)) if settings.marked else floors,
    )


def _n_components(settings: Settings, encoding: Encoding, rows: Rows, earlier: Autoencoder | None) -> int:
    """Number of components: the given one, as many as explain a share of the variance, or as many as PCA has."""
    if settings.n_components is None:
        return min(rows.n_rows, len(encoding.mean))
    if settings.n_components >= 1:
        return int(settings.n_components)
    if earlier is not None:
        return earlier.n_components
    if settings.marked:
        components = completed(settings, encoding, rows, MANY_COMPONENTS).components
    else:
        components = principal_components(rows)
    return components.n_for_share(settings.n_components)


def _splits(task: Task, seeds: list[int], rows: Rows, held_out: Table | None, whole: bool) -> list[Split]:
    """Training and held-out parts: the caller's, the folds of a small table, those of a stream, or one random split per seed.

    Empty if there are too few rows to split.

    ``whole`` says that training continues with a model that has seen all rows, so that folds would tell nothing.
    """
    if held_out is not None:
        return [Split(rows, held_out)]
    if isinstance(rows, Lazy) and rows.is_streamed:
        training, of_stream = rows.split()
        return [Split(training, of_stream)] if min(training.n_rows, of_stream.n_rows) >= N_FOLDS else []
    if rows.n_rows < 2 * N_FOLDS:
        return []
    if len(seeds) == 1 and rows.n_rows < guard_of(task.settings).folds_below and not whole:
        return folds(task, rows)
    return [split for seed in seeds for split in single_split(task.with_seed(seed), rows)]


def start(task: Task, rows: Rows, linear: LinearGaussian | None = None) -> Autoencoder:
    """A new model on the task's device, at the closed-form solution for these rows if that is asked for."""
    model = started(task, rows, linear)
    if task.settings.from_pca and not task.settings.variational:
        set_noise(task, model, _residuals_of_start(task, model, rows))
    return model.to(task.settings.device)


def _residuals_of_start(task: Task, model: Autoencoder, rows: Rows) -> Residuals:
    """Residuals of the rows from which the closed-form solution is computed."""
    if not (isinstance(rows, Lazy) and task.settings.is_solved_by_pca) or task.settings.marked:
        return Residuals.of_training(model, rows, task, torch.device("cpu"))
    pca = principal_components(rows)
    total = torch.full((task.n_columns,), rows.total, dtype=torch.float64)
    return Residuals(torch.from_numpy(pca.left_by(task.n_components, rows.total)), total)


def resumed(task: Task, earlier: Autoencoder) -> Autoencoder:
    """A new model with the weights of an earlier one."""
    model = build_model(task, task.generator())
    for name, now, before in (
        ("activation", model.encoder.activation, earlier.encoder.activation),
        ("code_activation", model.encoder.out_activation, earlier.encoder.out_activation),
    ):
        if now != before:
            raise ValueError(
                f"Training cannot continue: {name}={now!r}, but the earlier fit had {before!r}. Restore it, or refit "
                "with warm_start=False."
            )
    try:
        model.load_state_dict(earlier.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"Training cannot continue: the parameters describe a different model than in the earlier fit. {error}\n"
            "Restore the parameters, or refit with warm_start=False."
        ) from error
    return model.to(task.settings.device)


def _stay_at_start(task: Task, rows: Rows, held_out: Table | None) -> Autoencoder:
    model = start(task, rows)
    if held_out is not None:
        set_noise(task, model, Residuals.of([(model, held_out)], task))
    return model


def _fit_without_validation(
    tasks: list[Task], rows: Rows, earlier: Autoencoder | None, watch: Watch | None
) -> tuple[list[Autoencoder], TrainingResult | None]:
    task = tasks[0]
    models = [earlier or start(each, rows) for each in tasks]
    if _is_exact(task, rows, models[0]):
        return models, None

    def with_noise(models: list[Autoencoder]) -> list[Autoencoder]:
        for each, model in zip(tasks, models, strict=True):
            set_noise(each, model, Residuals.of_training(model, rows, each))
        return models

    plan = plan_for(task, rows.n_rows)
    report = watch and _watching(watch, lambda: with_noise(deepcopy(models)))
    result = train(run_of(task, plan, models, rows), stopping_of(task, plan, judged=False), plan.max_iter, report)
    _check_has_model(task, earlier, result)
    return with_noise(models), result


def _watching(watch: Watch, models: Callable[[], list[Autoencoder]]) -> Callable[[int, TrainingResult], bool | None]:
    """A report of a training, together with its models so far for those who ask for them."""
    return lambda n_iter, so_far: watch(n_iter, so_far, models)


def _check_has_model(task: Task, earlier: Autoencoder | None, result: TrainingResult) -> None:
    """Raise ``KeyboardInterrupt`` if an interrupted training leaves nothing but random weights."""
    if result.interrupted and result.best_iter == 0 and earlier is None and not task.settings.from_pca:
        raise KeyboardInterrupt


def _is_exact(task: Task, rows: Rows, model: Autoencoder) -> bool:
    """Whether a model reconstructs all rows exactly already, so that each training step would make it worse."""
    settings = task.settings
    if settings.variational or settings.marked or not (settings.is_plain and settings.likelihood == "gaussian"):
        return False
    return Residuals.of_training(model, rows, task).mean <= float(task.floors.max())


@dataclass(frozen=True)
class _Judgement:
    """A fit whose number of epochs is chosen on held-out rows.

    1. Train a model on each split and, if the held-out rows would be missed, one on all rows with them. Remember the epoch that
       was best for the splits.
    2. Compare its gain with the start. This alone decides whether training is kept.
    3. Measure the noise on the held-out rows.

    There are as many splits as tasks, or one task and any number of splits.
    """

    tasks: list[Task]
    rows: Rows
    held_out: Table | None
    splits: list[Split]
    earlier: Autoencoder | None
    watch: Watch | None

    def fit(self) -> tuple[list[Autoencoder], TrainingResult]:
        task = self.tasks[0]
        plan = plan_for(task, self.rows.n_rows)
        judged = [self.earlier or start(each, split.rows, split.start) for each, split in self._by_split]
        of_all = [start(each, self.rows) for each in self.tasks] if self._needs_all_rows else []
        run = run_of(task, plan, judged + of_all, self.rows, self.splits)
        of_start = self._residuals(judged)
        stopping = stopping_of(task, plan, judged=True)
        report = self.watch and _watching(self.watch, lambda: self._copies(judged, of_all))
        result = train(run, stopping, plan.max_iter, report, self._is_futile)  # 1)
        _check_has_model(task, self.earlier, result)
        self._check_converged(result)
        residuals = self._residuals(judged)
        if not self._is_kept(result, of_start.mean, residuals.mean):  # 2)
            result, residuals = replace(result, best_iter=0), of_start
        models = of_all or judged
        if self.earlier is None and result.best_iter == 0:
            models = [start(each, self.rows) for each in self.tasks]
        return self._with_noise(models, residuals), result  # 3)

    def _copies(self, judged: list[Autoencoder], of_all: list[Autoencoder]) -> list[Autoencoder]:
        """The models that the fit would return if it ended now."""
        return self._with_noise(deepcopy(of_all or judged), self._residuals(judged))

    def _with_noise(self, models: list[Autoencoder], residuals: Residuals) -> list[Autoencoder]:
        for each, model in zip(self.tasks, models, strict=True):
            set_noise(each, model, self._with_those_of_training(residuals, each, model))
        return models

    @property
    def _by_split(self) -> list[tuple[Task, Split]]:
        tasks = self.tasks * (len(self.splits) // len(self.tasks))
        return list(zip(tasks, self.splits, strict=True))

    @property
    def _guard(self) -> Guard:
        return guard_of(self.tasks[0].settings)

    @property
    def _beats_closed_solution(self) -> bool:
        """Whether training starts at a closed-form solution, which it must clearly beat."""
        return self.tasks[0].settings.from_pca and self.earlier is None

    @property
    def _needs_all_rows(self) -> bool:
        """Whether to train a model on all rows as well. Several models need none: each holds out other rows."""
        if self.earlier is not None or self.held_out is not None or len(self.tasks) > 1:
            return False
        return not self.rows.is_streamed and self.rows.n_rows < self._guard.refit_below

    def _residuals(self, models: list[Autoencoder]) -> Residuals:
        """Residuals of the held-out rows."""
        held_out = [split.held_out for split in self.splits]
        return Residuals.of(list(zip(models, held_out, strict=True)), self.tasks[0])

    def _with_those_of_training(self, residuals: Residuals, task: Task, model: Autoencoder) -> Residuals:
        """Residuals that are no smaller than those of the training rows, if cells may be missing."""
        if not task.settings.marked:
            return residuals
        return residuals.at_least(Residuals.of_training(model, self.rows, task).errors)

    def _check_converged(self, result: TrainingResult) -> None:
        start = result.validation_losses[0]
        if self._beats_closed_solution or result.best_iter > 0 or not result.losses:
            return
        if result.losses[-1] <= DIVERGED * (1 + abs(start)):
            return
        raise FloatingPointError(
            f"Training diverged: the loss was {result.losses[-1]:.3g} after {len(result.losses)} epochs, and that of held-out "
            f"rows was {start:.3g} at the start. Lower learning_rate_init."
        )

    def _is_futile(self, progress: float, judged: Judged) -> bool:
        """Whether the gain so far makes it unlikely that training will be kept."""
        return self._beats_closed_solution and self._guard.is_futile(progress, judged)

    def _is_kept(self, result: TrainingResult, start_error: float, error: float) -> bool:
        """Whether the best epoch replaces the start."""
        if result.best_iter == 0 or not self._beats_closed_solution:
            return result.best_iter > 0
        if self.tasks[0].settings.variational:
            gain = result.validation_losses[0] - result.validation_losses[result.best_iter]
            unit = float(self.tasks[0].n_columns)
        else:
            gain, unit = start_error - error, start_error
        return result.judged is not None and self._guard.is_certain(result.judged) and self._guard.is_worthwhile(gain, unit)


def run_of(task: Task, plan: TrainingPlan, models: list[Autoencoder], rows: Rows, splits: Sequence[Split] = ()) -> Run:
    """A training on all rows of a table; each of the first models leaves out the rows that its split holds out."""
    settings = task.settings
    if not (settings.variational or settings.marked or settings.is_plain):
        for model in models:
            model.likelihood.fit_(1.0)  # during training, so that the weights of penalties have one meaning
    parts = [split.part for split in splits if split.part is not None]
    if len(models) == len(splits) == 1:
        rows, parts = splits[0].rows, []
    held_out = [tensors_of(split.held_out, models[0], settings.device) for split in splits]
    batches = _batches(task, plan, models, rows, parts)
    objective = build_objective(task, rows, batches.x)
    if not isinstance(rows, Lazy):
        return Run(models, batches, plan, held_out, objective)
    processes, share = rows.reader.processes, rows.reader.n_own_rows / rows.n_rows
    ranks = processes if isinstance(processes, Ranks) and processes.size > 1 else None
    return Run(models, batches, plan, held_out, objective, ranks, share)


def _batches(
    task: Task, plan: TrainingPlan, models: list[Autoencoder], rows: Rows, parts: list[np.ndarray]
) -> Batches | StreamedBatches:
    """The batches to train on, from rows on the device or from blocks that are read again in each pass."""
    if isinstance(rows, Lazy) and rows.is_streamed:
        return _streamed_batches(task, plan, rows, next(models[0].parameters()).dtype)
    cells, counts = tensors_of(rows, models[0], task.settings.device)
    weights = _weights(counts, cells, len(models), parts)
    return Batches(cells, weights, plan.batch_size, plan.shuffle, task.generator())


def _streamed_batches(task: Task, plan: TrainingPlan, rows: Lazy, dtype: torch.dtype) -> StreamedBatches:
    """Batches of the rows of this process. If other processes have further rows, all batches together have the planned size."""
    reader, unit = rows.reader, rows.total / rows.n_rows
    reader.processes.together(partial(_check_has_rows, reader))
    weighted, share = reader.is_weighted, reader.n_own_rows / reader.n_rows

    def read(i: int) -> Tensor:
        block = rows.block(i)
        cells = torch.from_numpy(block.rows).to(dtype)
        return torch.cat([cells, torch.from_numpy(block.counts / unit).to(dtype)[:, None]], 1) if weighted else cells

    n_batches, batch_size = dealt(rows.n_rows, plan.batch_size)
    return StreamedBatches(
        read,
        weighted,
        reader.n_blocks,
        min(n_mixed(rows.n_columns * dtype.itemsize, reader.largest_block), reader.n_own_rows),
        n_batches,
        max(1, round(share * batch_size)),
        plan.shuffle,
        task.generator(reader.processes.rank),
        task.settings.device,
    )


def _check_has_rows(reader: Reader) -> None:
    if reader.n_own_rows == 0:
        raise ValueError(
            "All rows of one of the processes are held out to choose the number of epochs. Lower validation_fraction, or "
            "spread the rows over fewer processes."
        )


def _weights(counts: Tensor | None, rows: Tensor, n_models: int, parts: list[np.ndarray]) -> Tensor | None:
    """Weights of all rows for each model, with mean 1; the rows that are held out from a model have weight 0."""
    if counts is None and not parts:
        return None
    weights = (rows.new_ones(len(rows)) if counts is None else counts).repeat(n_models, 1)
    for of_model, part in zip(weights, parts, strict=False):
        of_model[torch.from_numpy(part).to(rows.device)] = 0
    return weights / weights.mean(1, keepdim=True)
