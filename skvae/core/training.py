"""The training loop. It never knows what it trains: a run is a model, rows and a step, and the loop advances runs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean, pvariance

import torch
from torch import Tensor, nn

from skvae.core.batches import Batches
from skvae.core.device import threads_for
from skvae.core.graphs import compiled
from skvae.core.inference import DEVICE_CHUNK_ROWS, in_chunks
from skvae.core.model import Autoencoder
from skvae.core.objective import Objective
from skvae.core.optimizer import AdamW
from skvae.core.stopping import NoImprovement

MANY_EPOCHS = 5  # to tell how much a loss goes up and down
DIVERGED = 1e3  # times the first loss: nothing that anyone wants to keep
PLAIN = Objective()
ALIGNMENT = 16  # elements: every parameter starts on a cache line, whose products are faster and the same on every run


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that the loop reads and never changes."""

    max_iter: int
    batch_size: int
    learning_rate: str
    learning_rate_init: float
    weight_decay: float
    shuffle: bool
    tol: float
    n_iter_no_change: int
    gradient_scale: float = 1.0  # brings the gradients of a loss in any unit to a size that Adam's eps and float32 can hold
    warmup: float = 0.05  # share of the steps; Adam's first steps are of full size whatever the gradient's
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    beta: float = 1.0  # weight of the posterior's divergence from the prior, where there is a posterior
    beta_warmup: int = 0  # epochs until it has this weight

    def rate(self, progress: float) -> float:
        """Learning rate when this share of all steps is done."""
        ramp = progress / self.warmup if progress < self.warmup else 1.0
        decay = 0.5 * (1 + math.cos(math.pi * progress)) if self.learning_rate == "cosine" else 1.0
        return self.learning_rate_init * ramp * decay

    def beta_in(self, epoch: int) -> float:
        """Weight of the divergence in an epoch; the first is 1."""
        return self.beta * min(1.0, epoch / (self.beta_warmup + 1))


@dataclass(frozen=True)
class Judged:
    """Losses of the validation rows of all runs, at the start and at the best epoch, in nats."""

    start: Tensor
    best: Tensor
    weights: Tensor


@dataclass(frozen=True)
class TrainingResult:
    """What happened. Entry 0 of the validation losses is the start, before any step."""

    losses: list[float]
    validation_losses: list[float]
    best_iter: int
    stopped: bool
    judged: Judged | None = field(default=None, compare=False)  # None without validation rows

    @property
    def still_falling(self) -> bool:
        """Whether it ran out of epochs with the loss falling: the last tenth of them brought over 1 % of the whole fall.

        Where rows are corrupted or codes drawn the loss goes up and down, and must have fallen by more than that from the last
        tenth but one. The loss is that of the validation rows where there are any.
        """
        curve = self.validation_losses or self.losses
        if self.stopped or len(curve) < 2:
            return False
        n_late = math.ceil((len(curve) - 1) / 10)
        substantial = curve[-1 - n_late] - curve[-1] > 0.01 * (curve[0] - curve[-1]) > 0
        if n_late < MANY_EPOCHS:
            return substantial
        late, before = curve[-n_late:], curve[-2 * n_late : -n_late]
        noise = math.sqrt((pvariance(late) + pvariance(before)) / n_late)
        return substantial and fmean(before) - fmean(late) > 3 * noise


class FlatParameters:
    """The trainable parameters of a module as views of one vector, and their gradients as views of another.

    The optimiser then makes one call however many layers there are. ``release`` gives every parameter memory of its own again,
    without which a pickle would hold the whole vector once per parameter.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        ends = [0]
        for p in self.parameters:
            ends.append(ends[-1] + math.ceil(p.numel() / ALIGNMENT) * ALIGNMENT)
        first = self.parameters[0]
        self.vector = torch.zeros(ends[-1], dtype=first.dtype, device=first.device)
        self.gradient = torch.zeros_like(self.vector)
        self.gradients = [
            self.gradient[start : start + p.numel()].view_as(p) for start, p in zip(ends, self.parameters, strict=False)
        ]
        for start, p in zip(ends, self.parameters, strict=False):
            view = self.vector[start : start + p.numel()].view_as(p)
            view.copy_(p.detach())
            p.data = view

    def release(self) -> None:
        for p in self.parameters:
            p.data = p.data.clone()
            p.grad = None


class Run:
    """One model on its way: its rows, its optimiser, its step and, where there are any, the rows that it is judged on."""

    def __init__(
        self,
        model: Autoencoder,
        rows: Tensor,
        weights: Tensor | None,
        plan: TrainingPlan,
        generator: torch.Generator,
        validation: tuple[Tensor, Tensor | None] | None = None,
        objective: Objective = PLAIN,
    ) -> None:
        self.model = model
        self.objective = objective
        self.plan = plan
        self.validation = validation
        self.batches = Batches(rows, weights, plan.batch_size, plan.shuffle, generator)
        self.flat = FlatParameters(model)
        self.optimizer = AdamW(self.flat.vector, self.flat.gradient, plan.betas, plan.eps, plan.weight_decay)
        self.work = 6.0 * self.flat.vector.numel() * self.batches.batch_size  # of a step: twice forward, four times back
        self.n_steps = 0
        self.n_epochs = 0
        self.noise = torch.Generator(rows.device).manual_seed(generator.initial_seed() + 1)
        self.loss = torch.zeros((), dtype=rows.dtype, device=rows.device)
        self.beta = torch.full_like(self.loss, plan.beta)
        self.total = torch.zeros_like(self.loss)
        self.compute = compiled(self._loss_and_gradients, [self.loss, *self.flat.gradients])
        self.judge = self._judge()
        self.best = self.flat.vector.clone()

    @torch.enable_grad()
    def _loss_and_gradients(self) -> list[Tensor]:
        loss = self.objective.loss(self.model, self.batches.x, self.batches.weight, self.beta, self.noise)
        scaled = loss if self.plan.gradient_scale == 1 else loss * self.plan.gradient_scale
        return [loss, *torch.autograd.grad(scaled, self.flat.parameters)]

    def epoch(self) -> float:
        """Go once through the rows; the mean loss of the steps."""
        with threads_for(self.work):
            return self._epoch()

    def _epoch(self) -> float:
        self.batches.new_epoch()
        self.n_epochs += 1
        self.beta.fill_(self.plan.beta_in(self.n_epochs))
        self.total.zero_()
        all_steps = self.plan.max_iter * self.batches.n_batches
        for i in range(self.batches.n_batches):
            self.batches.load(i)
            self.n_steps += 1
            self.compute()
            self.optimizer.step(self.plan.rate(self.n_steps / (all_steps + 1)))
            self.total += self.loss
        return self.total.item() / self.batches.n_batches  # the epoch's only wait for the device

    def _judge(self) -> Callable[[], Tensor] | None:
        """One call that gives the loss of each validation row, in memory that the next call overwrites.

        The noise is the same in every call, so that two epochs differ by their weights alone.
        """
        if self.validation is None:
            return None
        rows = self.validation[0]
        losses = rows.new_empty(len(rows))
        noise = torch.Generator(rows.device)
        of_rows = partial(self.objective.row_losses, self.model, beta=self.plan.beta, generator=noise)

        @torch.no_grad()
        def forward() -> list[Tensor]:
            return [in_chunks(of_rows, rows, DEVICE_CHUNK_ROWS)]

        compute = compiled(forward, [losses])

        def judge() -> Tensor:
            noise.manual_seed(self.noise.initial_seed() + 1)
            with threads_for(self.work * min(len(rows), DEVICE_CHUNK_ROWS) / self.batches.batch_size / 3):
                compute()
            return losses

        return judge

    def keep(self) -> None:
        """Remember the weights as the best so far."""
        self.best.copy_(self.flat.vector)

    def finish(self, weights: Tensor | None) -> None:
        """Leave the model with these weights, None for the current ones, in memory of its own."""
        if weights is not None:
            self.flat.vector.copy_(weights)
        self.flat.release()


def train(
    runs: Sequence[Run],
    stopping: NoImprovement,
    n_iter: int,
    report: Callable[[int, int, float, float | None], None] | None = None,
) -> TrainingResult:
    """Advance all runs together, epoch by epoch, and leave each with the weights of the epoch that was best for them jointly.

    1. Judge the start: it is epoch 0 and may stay the best.
    2. Advance every run by an epoch.
    3. Judge all runs by the weighted mean over their validation rows; remember the weights where it is the best yet.
    4. Stop when it has not improved for long enough; without validation rows the training loss decides.
    5. Go back to the best epoch, which may be the start.

    Parameters
    ----------
    runs : sequence of Run
        One, or the folds of a cross-validation.
    stopping : NoImprovement
    n_iter : int
        Epochs to go, at most the plan's ``max_iter``, to which the learning rate's schedule refers.
    report : callable, optional
        Called with epoch, ``n_iter``, loss and validation loss.
    """
    losses: list[float] = []
    warmup = runs[0].plan.beta_warmup  # epochs in which the loss rises with its weights, and says nothing of progress
    ledger = _Ledger(runs) if runs[0].validation is not None else None  # 1)
    for epoch in range(1, n_iter + 1):
        losses.append(sum(run.epoch() for run in runs) / len(runs))  # 2)
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"The loss became {losses[-1]} in epoch {epoch}. Lower learning_rate_init.")
        validation_loss = ledger.judge(epoch, candidate=epoch > warmup) if ledger else None  # 3)
        if report is not None:
            report(epoch, n_iter, losses[-1], validation_loss)
        if epoch > warmup:
            stopping.update(losses[-1] if validation_loss is None else validation_loss)  # 4)
        if stopping.should_stop:
            break
    if ledger is None:
        if losses[-1] > DIVERGED * (1 + abs(losses[0])):
            raise FloatingPointError(f"The loss rose from {losses[0]:.3g} to {losses[-1]:.3g}. Lower learning_rate_init.")
        for run in runs:
            run.finish(None)
        return TrainingResult(losses, [], len(losses), stopping.should_stop)
    for run in runs:
        run.finish(run.best)  # 5)
    judged = Judged(ledger.start_rows, ledger.best_rows, ledger.weights)
    return TrainingResult(losses, ledger.losses, ledger.best_iter, stopping.should_stop, judged)


class _Ledger:
    """Validation losses of all runs: their mean per epoch, and those of the rows at the start and at the best epoch."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self.judges = [run.judge for run in runs if run.judge is not None]
        held_out = [run.validation for run in runs if run.validation is not None]
        self.weights = torch.cat([rows.new_ones(len(rows)) if w is None else w for rows, w in held_out]).cpu().double()
        self.start_rows = self.best_rows = self._rows()
        self.losses = [weighted_mean(self.start_rows, self.weights)]
        self.best_iter = 0

    def judge(self, epoch: int, candidate: bool) -> float:
        rows = self._rows()
        self.losses.append(weighted_mean(rows, self.weights))
        if candidate and self.losses[epoch] < self.losses[self.best_iter]:
            self.best_iter, self.best_rows = epoch, rows
            for run in self.runs:
                run.keep()
        return self.losses[epoch]

    def _rows(self) -> Tensor:
        return torch.cat([judge() for judge in self.judges]).cpu().double()


def weighted_mean(values: Tensor, weights: Tensor) -> float:
    """Mean of values that stand for as many as their weights say."""
    return ((values * weights).sum() / weights.sum()).item()
