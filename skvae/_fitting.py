"""From a scaled table to a trained model that is not worse than where it started.

Keeping the best epoch is not enough: on small tables the best of many epochs is chosen by noise, and a start computed from all
rows has already seen the ones that are to judge it. So the number of epochs is chosen on rows that neither the start nor the
training saw; small tables are cross-validated, and the final model is trained on all rows for that many epochs. It replaces
the start only where the gain on the held-out rows exceeds its standard error clearly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvae import _assemble
from skvae._encoding import Encoding
from skvae._linear_gaussian import LinearGaussian, probabilistic_pca
from skvae._statistics import PrincipalComponents, Table, principal_components
from skvae.core.device import widest
from skvae.core.inference import mean_squared_error
from skvae.core.model import Autoencoder
from skvae.core.objective import Objective
from skvae.core.stopping import NoImprovement
from skvae.core.training import DIVERGED, MANY_ROWS, Run, TrainingPlan, TrainingResult, gain_in_standard_errors, train

N_FOLDS = 5
N_HIDINGS = 4  # draws of hidden cells that the noise is measured by
FOLDS_BELOW = 2000  # distinct rows; above, a single split judges on enough of them
DECIDED_BY_FOLDS_BELOW = 20_000  # distinct rows; what is closed is cheap to cross-validate
CANDIDATES = (("gaussian", 0.0), ("gaussian_diag", 4.0), ("gaussian_diag", 0.0))  # likelihood and prior rows, safest first
REFIT_BELOW = 5000  # distinct rows; above, the rows held out hardly matter to the model
STANDARD_ERRORS = 2.0  # by how many a gain must exceed zero to be believed, ...
STANDARD_ERRORS_OF_FEW = 3.0  # ... and on fewer rows than MANY_ROWS, where the best of many epochs is soon that good by chance
WORTHWHILE = 0.01  # share of PCA's held-out squared error that it must take off; less does not survive training on other rows
WORTHWHILE_NATS = 0.005  # per cell, the same for log-likelihoods

Report = Callable[[int, int, float, float | None], None]


@dataclass(frozen=True)
class Split:
    """Rows to train on, rows to judge by, and the closed solution on the former where it has been computed."""

    table: Table
    held_out: Table
    start: LinearGaussian | None = None


@dataclass(frozen=True)
class Task:
    """What is to be fitted, the same for every part of the table."""

    params: Mapping[str, Any]
    n_components: int
    n_columns: int
    unit_variance: float
    floors: np.ndarray
    device: torch.device
    seed: int
    encoding: Encoding | None = None  # of a table with missing cells or other columns than numbers
    prior_rows: float = 0.0

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    @property
    def is_mixed(self) -> bool:
        """Whether there are columns of other things than numbers."""
        return self.encoding is not None and self.encoding.is_mixed

    @property
    def hides_cells(self) -> bool:
        """Whether observed cells are hidden from a model that is told so."""
        return self.encoding is not None and isinstance(self.params["corruption"], _assemble.Masking)

    @property
    def only_fills_in(self) -> bool:
        """Whether nothing but hidden cells is scored; there are many of these in few rows."""
        return getattr(self.params["corruption"], "hidden_only", False)

    def with_likelihood(self, name: str, prior_rows: float = 0.0) -> "Task":
        return replace(self, params={**self.params, "likelihood": name}, prior_rows=prior_rows)

    def linear_gaussian(self, table: Table) -> LinearGaussian:
        """The linear model that a model with a posterior starts at."""
        if self.encoding is not None:
            return _assemble.linear_gaussian_of_features(table, self.n_components, self.encoding)
        sizes = (self.n_components, self.unit_variance, self.floors, self.prior_rows)
        return _assemble.linear_gaussian(self.params, table, *sizes)


@dataclass(frozen=True)
class Fit:
    """A model and the training that led to it; None where PCA was the answer without any."""

    model: Autoencoder
    result: TrainingResult | None = None


@dataclass(frozen=True)
class Residuals:
    """Mean squared error of each column, and the weight of the cells that it is a mean of."""

    errors: Tensor
    weights: Tensor

    @property
    def mean(self) -> float:
        """Over all cells."""
        return ((self.errors * self.weights).sum() / self.weights.sum()).item()

    def at_least(self, errors: Tensor) -> "Residuals":
        """With the larger error of each column: a few rows held out may be without the outliers that a column has."""
        return replace(self, errors=torch.maximum(self.errors, errors))


def fit_model(task: Task, table: Table, held_out: Table | None, earlier: Autoencoder | None, report: Report | None) -> Fit:
    """Fit a model to a table.

    Parameters
    ----------
    task : Task
    table : Table
        Distinct rows on the scale of the networks.
    held_out : Table or None
        The user's own validation rows; None leaves the choice of rows to us.
    earlier : Autoencoder or None
        A model to go on from, instead of a new one. Its start is not PCA's, so any gain on held-out rows is kept.
    report : callable or None
        Called after each epoch with its number, the number of epochs to go, the loss and the validation loss.
    """
    early_stopping = _stops_early(task, held_out)
    too_few = held_out is None and len(table.rows) < 2 * N_FOLDS
    judged = early_stopping and not too_few
    splits = _splits(task, table, held_out, whole=earlier is not None or task.only_fills_in) if judged else []
    task, splits = _decide_likelihood(task, table, splits, held_out, earlier)
    earlier = earlier and _resume(task, earlier)
    starts_at_pca = task.params["init"] == "pca"
    stays_at_start = earlier is None and starts_at_pca and early_stopping and too_few
    if _assemble.is_solved_by_pca(task.params, task.encoding) or stays_at_start:
        return _fit_pca(task, table, held_out)
    if not judged:
        return _fit_without_validation(task, table, earlier or _start(task, table), report)
    return _fit_with_validation(task, table, held_out, splits, earlier, report)


def _decide_likelihood(
    task: Task, table: Table, splits: list[Split], held_out: Table | None, earlier: Autoencoder | None
) -> tuple[Task, list[Split]]:
    """Decide what "auto" is for a model with a posterior: one variance of the noise, or one per column where that is likelier.

    Likelier to rows that nothing was fitted to: the closed solutions are compared on held-out rows, of all folds where there
    are few. They are probabilistic PCA and factor analysis with and without a prior, in this order: noise that vanishes on
    all rows seen may cost any number of nats on the next one, so that each is left for the next for a clear gain only.
    """
    if task.params["likelihood"] != "auto" or not task.params["variational"]:
        return task, splits
    if earlier is not None:
        return task.with_likelihood(_assemble.name_of(earlier.likelihood)), splits
    if not splits:
        return task.with_likelihood("gaussian"), splits
    trained_on_these = held_out is not None or len(splits) > 1 or len(table.rows) >= DECIDED_BY_FOLDS_BELOW
    judges = splits if trained_on_these else _folds(task, table)
    weights = torch.from_numpy(np.concatenate([split.held_out.counts for split in judges]))
    decided, *others = (_Candidate(task.with_likelihood(name, prior_rows), judges) for name, prior_rows in CANDIDATES)
    for other in others:
        gain = torch.from_numpy(other.log_likelihood - decided.log_likelihood)
        worthwhile = gain @ weights >= WORTHWHILE_NATS * task.n_columns * weights.sum()
        if worthwhile and gain_in_standard_errors(gain, weights) > STANDARD_ERRORS:
            decided = other
    if not trained_on_these or task.params["beta"] != 1:
        return decided.task, splits
    return decided.task, [replace(split, start=start) for split, start in zip(splits, decided.solutions, strict=True)]


class _Candidate:
    """A likelihood, its closed solutions on the training parts, and their log-likelihood of each held-out row."""

    def __init__(self, task: Task, splits: list[Split]) -> None:
        self.task = task
        likelihood = replace(task, params={**task.params, "beta": 1.0})  # another beta's solution is no density's maximum
        self.solutions = [likelihood.linear_gaussian(split.table) for split in splits]
        pairs = zip(self.solutions, splits, strict=True)
        self.log_likelihood = np.concatenate([solution.log_likelihood(split.held_out.rows) for solution, split in pairs])


def _fit_pca(task: Task, table: Table, held_out: Table | None) -> Fit:
    model = _start(task, table)
    if held_out is not None:
        _set_noise(task, model, _residuals([(model, held_out)], task))
    return Fit(model)


def _fit_without_validation(task: Task, table: Table, model: Autoencoder, report: Report | None) -> Fit:
    plan = _plan(task, table)
    run = _run(task, plan, model, table, None)
    result = train([run], _stopping(task, plan, judged=False), plan.max_iter, report=report)
    _set_noise(task, model, _residuals([(model, table)], task))
    return Fit(model, result)


def _fit_with_validation(
    task: Task, table: Table, held_out: Table | None, splits: list[Split], earlier: Autoencoder | None, report: Report | None
) -> Fit:
    """Choose the number of epochs on held-out rows; then start again with all rows where those held out are missed."""
    plan = _plan(task, table)
    runs = [_run(task, plan, earlier or _start(task, part.table, part.start), part.table, part.held_out) for part in splits]
    judged = [(run.model, part.held_out) for run, part in zip(runs, splits, strict=True)]
    start_residuals = _residuals(judged, task)
    beats_start = task.params["init"] == "pca" and earlier is None
    few = sum(len(part.held_out.rows) for part in splits) < MANY_ROWS
    is_only_a_start = task.is_mixed or (task.encoding is not None and task.params["corruption"] is not None)
    standard_errors = STANDARD_ERRORS_OF_FEW if few else STANDARD_ERRORS
    if is_only_a_start or not beats_start:
        standard_errors = 0.0
    result = train(runs, _stopping(task, plan, judged=True), plan.max_iter, standard_errors, report)
    if not beats_start and result.best_iter == 0 and result.losses[-1] > DIVERGED * (1 + abs(result.validation_losses[0])):
        raise FloatingPointError(
            f"The loss was {result.losses[-1]:.3g} after {len(result.losses)} epochs, no better than "
            f"{result.validation_losses[0]:.3g} on held-out rows before. Lower learning_rate_init."
        )
    residuals = _residuals(judged, task)
    if beats_start and not _is_worthwhile(task, result, start_residuals.mean, residuals.mean):
        result, residuals = replace(result, best_iter=0), start_residuals
    model = runs[0].model
    if earlier is None and result.best_iter == 0:
        model = _start(task, table)
    elif earlier is None and held_out is None and len(table.rows) < (FOLDS_BELOW if task.only_fills_in else REFIT_BELOW):
        model = _start(task, table)
        endless = NoImprovement(plan.tol, result.best_iter + 1)
        final = train([_run(task, plan, model, table, None)], endless, result.best_iter, report=report)
        result = replace(result, losses=final.losses)
    if task.encoding is not None:
        residuals = residuals.at_least(_residuals([(model, table)], task).errors)
    _set_noise(task, model, residuals)
    return Fit(model, result)


def _is_worthwhile(task: Task, result: TrainingResult, start_error: float, squared_error: float) -> bool:
    """Whether the gain over the start is large enough to survive training on other rows."""
    if task.params["variational"]:
        gain = result.validation_losses[0] - result.validation_losses[result.best_iter]
        return gain >= WORTHWHILE_NATS * task.n_columns
    if not _assemble.is_plain(task.params):
        return True  # judged by its own objective, of which the squared error of clean rows says nothing
    return squared_error <= (1 - WORTHWHILE) * start_error


def _set_noise(task: Task, model: Autoencoder, residuals: Residuals) -> None:
    """Set the noise in closed form where the code is exact; with a posterior, the two are trained together.

    In a mixed table the noise is that of cells which the model does not see. What is trained is then a lower bound: a network
    may encode the outliers of a column that it sees, and would be certain that other rows have none.
    """
    if task.params["variational"]:
        if not task.is_mixed:
            return
        trained: Tensor = model.likelihood.variance  # type: ignore[assignment]
        residuals = residuals.at_least(trained.detach().cpu().nan_to_num())
    model.likelihood.fit_(residuals.errors, residuals.weights)


def _stops_early(task: Task, held_out: Table | None) -> bool:
    if task.params["early_stopping"] == "auto":
        return held_out is not None or task.encoding is not None or not _assemble.is_linear(task.params)
    return bool(task.params["early_stopping"])


def _splits(task: Task, table: Table, held_out: Table | None, whole: bool) -> list[Split]:
    """Training and held-out part: the user's, the folds of a small table, or one random split."""
    if held_out is not None:
        return [Split(table, held_out)]
    if len(table.rows) < (REFIT_BELOW if task.params["variational"] else FOLDS_BELOW) and not whole:
        return _folds(task, table)
    order = _order(task, table)
    n_held_out = round(task.params["validation_fraction"] * len(order))
    return [_hold_out(table, order[: min(max(n_held_out, N_FOLDS), len(order) - N_FOLDS)])]


def _folds(task: Task, table: Table) -> list[Split]:
    return [_hold_out(table, part) for part in np.array_split(_order(task, table), N_FOLDS)]


def _order(task: Task, table: Table) -> np.ndarray:
    return np.random.default_rng(task.seed).permutation(len(table.rows))


def _hold_out(table: Table, part: np.ndarray) -> Split:
    return Split(table.take(np.setdiff1d(np.arange(len(table.rows)), part)), table.take(np.sort(part)))


def _start(task: Task, table: Table, linear: LinearGaussian | None = None) -> Autoencoder:
    """A new model, at the closed solution for these rows where that is asked for; ``linear`` is this solution if known."""
    model = _new(task)
    if task.params["init"] == "random":
        return model.to(task.device)
    pca = _start_inputs(model, task, table)
    if task.params["variational"]:
        _assemble.start_at_linear_gaussian(model, linear or task.linear_gaussian(table), task.params["beta"])
    else:
        _assemble.start_at_pca(model, pca)
        on_cpu = replace(task, device=torch.device("cpu"))
        _set_noise(task, model, _residuals([(model, table)], on_cpu))
    return model.to(task.device)


def _start_inputs(model: Autoencoder, task: Task, table: Table) -> PrincipalComponents:
    """Let missing cells be filled in from what the others say; the principal components of the rows so completed."""
    n_factors = model.inputs.loadings.shape[1]
    if task.encoding is None:
        pca = principal_components(table)
        linear = probabilistic_pca(pca, n_factors, floor=task.floors.min())
    else:
        completed = _assemble.complete(task.params, table, task.n_components, task.encoding)
        pca, linear = completed.components, completed.linear
    model.inputs.start_(*(torch.from_numpy(values) for values in (linear.mean, linear.loadings, linear.noise)))
    return pca


def _new(task: Task) -> Autoencoder:
    sizes = (task.n_columns, task.n_components, task.unit_variance, task.floors)
    return _assemble.build_model(task.params, *sizes, task.generator(), widest(task.device), task.encoding)


def _resume(task: Task, earlier: Autoencoder) -> Autoencoder:
    """A new model with the weights of an earlier one."""
    model = _new(task)
    for name, now, before in (
        ("activation", model.encoder.activation, earlier.encoder.activation),
        ("code_activation", model.encoder.out_activation, earlier.encoder.out_activation),
    ):
        if now != before:
            raise ValueError(
                f"warm_start=True, but {name}={now!r} and the earlier fit's was {before!r}. Set warm_start=False, or it back."
            )
    try:
        model.load_state_dict(earlier.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"warm_start=True, but the parameters describe another model than the earlier fit's. {error}\n"
            "Set warm_start=False, or the parameters back."
        ) from error
    return model.to(task.device)


def _plan(task: Task, table: Table) -> TrainingPlan:
    return _assemble.build_plan(task.params, len(table.rows), task.n_columns, task.unit_variance, task.encoding)


def _run(task: Task, plan: TrainingPlan, model: Autoencoder, table: Table, held_out: Table | None) -> Run:
    if not (task.params["variational"] or task.encoding is not None or _assemble.is_plain(task.params)):
        model.likelihood.fit_(1.0)  # while it trains, so that what is charged beside it has one meaning
    rows, weights = _tensors(table, model, task)
    if weights is not None:
        weights = weights / weights.mean()
    validation = None if held_out is None else _tensors(held_out, model, task)
    return Run(model, rows, weights, plan, task.generator(), validation, _objective(task, table, rows))


def _objective(task: Task, table: Table, rows: Tensor) -> Objective:
    return _assemble.build_objective(task.params, table, task.n_components, task.unit_variance, rows, task.encoding)


def _stopping(task: Task, plan: TrainingPlan, judged: bool) -> NoImprovement:
    """Stop after epochs without progress; the training loss alone stops it on request only."""
    to_the_end = not judged and task.params["n_iter_no_change"] == "auto"
    patience = plan.max_iter + 1 if to_the_end else plan.n_iter_no_change
    return NoImprovement(plan.tol, patience, scale=task.n_columns / plan.gradient_scale)


def _residuals(parts: list[tuple[Autoencoder, Table]], task: Task) -> Residuals:
    """Of several tables, each reconstructed by its own model; where cells are hidden in training, from what that leaves."""
    errors, weights = zip(*(_mean_squared_error(model, table, task) for model, table in parts), strict=True)
    total = sum(weights)
    pooled = sum(error * weight for error, weight in zip(errors, weights, strict=True))
    return Residuals(pooled / total.clamp(min=torch.finfo(total.dtype).tiny), total)


def _mean_squared_error(model: Autoencoder, table: Table, task: Task) -> tuple[Tensor, Tensor]:
    """Of the cells; of those that the model does not see, several times, where it was trained to tell such cells."""
    rows, weights = _tensors(table, model, task)
    damage = _objective(task, table, rows).corruption if task.hides_cells else None
    if damage is None:
        return mean_squared_error(model, rows, rows, weights)
    generator = torch.Generator(rows.device).manual_seed(task.seed)
    copies = rows.repeat(N_HIDINGS, 1)
    seen = torch.where(copies.isnan(), copies, damage(copies, generator)[0])
    hidden = torch.where(seen.isnan(), copies, torch.nan)
    return mean_squared_error(model, seen, hidden, None if weights is None else weights.repeat(N_HIDINGS))


def _tensors(table: Table, model: Autoencoder, task: Task) -> tuple[Tensor, Tensor | None]:
    """Rows and weights in the model's precision and on its device."""
    like = next(model.parameters())
    rows = torch.from_numpy(table.rows).to(like.dtype).to(task.device)
    if table.weights is None:
        return rows, None
    return rows, torch.from_numpy(table.weights).to(like.dtype).to(task.device)
