"""The training loop. It never knows what it trains: a run is a model, rows and a step, and the loop advances runs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean, pvariance

import torch
from torch import Tensor

from skvae.core.batches import Batches, StreamedBatches
from skvae.core.device import threads_for
from skvae.core.graphs import compiled
from skvae.core.inference import DEVICE_CHUNK_ROWS
from skvae.core.members import Members
from skvae.core.model import Autoencoder
from skvae.core.objective import Objective
from skvae.core.optimizer import AdamW
from skvae.core.ranks import Ranks
from skvae.core.stopping import NoImprovement

MANY_EPOCHS = 5  # to tell how much a loss goes up and down
DIVERGED = 1e3  # times the first loss: nothing that anyone wants to keep
MOST_JUDGED = 150  # epochs of a training; more choose no better
JUDGED_ROWS = 2048  # at once, on the CPU; all that is computed of them is held
PLAIN = Objective()


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
    """Losses of all rows held out, at the start and at the best epoch, in nats."""

    start: Tensor
    best: Tensor
    weights: Tensor


@dataclass(frozen=True)
class TrainingResult:
    """What happened.

    Attributes
    ----------
    losses : list of float
        Of each epoch, the mean over all members.
    validation_losses : list of float
        After each epoch, that of the last one that was judged; entry 0 is the start, before any step. Empty where nothing was
        held out.
    best_iter : int
        The best epoch, 0 for the start.
    stopped : bool
        Whether it ended before the last epoch that it could have had.
    judged_every : int
        How many epochs lie between two that were judged.
    judged : Judged or None
        None where nothing was held out.
    interrupted : bool
        Whether the user ended it.
    """

    losses: list[float]
    validation_losses: list[float]
    best_iter: int
    stopped: bool
    judged_every: int = 1
    judged: Judged | None = field(default=None, compare=False)
    interrupted: bool = False

    @property
    def still_falling(self) -> bool:
        """Whether it ran out of epochs with the loss falling: the last tenth of them brought over 1 % of the whole fall.

        Where rows are corrupted or codes drawn the loss goes up and down, and must have fallen by more than that from the last
        tenth but one. The loss is that of the validation rows where there are any.
        """
        curve = self.validation_losses[:: -self.judged_every][::-1] or self.losses
        if self.stopped or len(curve) < 2:
            return False
        n_late = math.ceil((len(curve) - 1) / 10)
        substantial = curve[-1 - n_late] - curve[-1] > 0.01 * (curve[0] - curve[-1]) > 0
        if n_late < MANY_EPOCHS:
            return substantial
        late, before = curve[-n_late:], curve[-2 * n_late : -n_late]
        noise = math.sqrt((pvariance(late) + pvariance(before)) / n_late)
        return substantial and fmean(before) - fmean(late) > 3 * noise


class Run:
    """Models on their way: their rows, their optimiser, their step and, where there are any, the rows that they are judged on.

    All see the same batches, each with its own weights of the rows, so that a row that is held out from a model has a weight of
    0 there. A single model is the usual case of one member.

    Parameters
    ----------
    models : sequence of Autoencoder
        The members.
    batches : Batches or StreamedBatches
        Of the rows to train on, with weights for each member. All noise comes from another generator than theirs.
    plan : TrainingPlan
    held_out : sequence of (Tensor, Tensor or None)
        Rows that each of the first members is judged on, and their weights.
    objective : Objective
    ranks : Ranks or None
        Processes that train the same models on other rows: each step is of the mean gradient, and rank 0 judges.
    share : float
        Weight of this process in means over ranks.
    """

    def __init__(
        self,
        models: Sequence[Autoencoder],
        batches: Batches | StreamedBatches,
        plan: TrainingPlan,
        held_out: Sequence[tuple[Tensor, Tensor | None]] = (),
        objective: Objective = PLAIN,
        ranks: Ranks | None = None,
        share: float = 1.0,
    ) -> None:
        self.objective = objective
        self.plan = plan
        self.batches = batches
        self.ranks = ranks
        self.share = share
        self.members = Members(models)
        vector, gradient = self.members.vector, self.members.gradient
        self.optimizer = AdamW(vector, gradient, plan.betas, plan.eps, plan.weight_decay)
        self.work = 6.0 * vector.numel() * self.batches.batch_size  # of a step: twice forward, four times back
        self.n_steps = 0
        self.n_epochs = 0
        self.noise = torch.Generator(batches.x.device).manual_seed(batches.generator.initial_seed() + 1)
        self.losses = batches.x.new_zeros(len(models))
        self.beta = torch.full_like(self.losses[0], plan.beta)
        self.totals = torch.zeros_like(self.losses)
        outputs = [self.losses, *self.members.gradients.values()]
        self.compute = compiled(self._losses_and_gradients, outputs, self._constants(), self.noise)
        self.held_out = held_out
        self.judge = self._judge() if ranks is None else self._judge_of_first(ranks)
        self.best = vector.clone()

    def _constants(self) -> list[Tensor]:
        """What no step changes."""
        constants = self.members.fixed()
        if not self.plan.beta_warmup:
            constants.append(self.beta)
        if self.batches.is_whole:
            constants.append(self.batches.x)
            if self.batches.weight is not None:
                constants.append(self.batches.weight)
        return constants

    @torch.enable_grad()
    def _losses_and_gradients(self) -> list[Tensor]:
        parameters = self.members.trainable()

        def loss(model: Autoencoder, x: Tensor, weight: Tensor | None) -> Tensor:
            return self.objective.loss(model, x, weight, self.beta, self.noise)

        losses = self.members.call(loss, parameters, self.batches.x, self.batches.weight, shared=1)
        total = losses.sum() * self.plan.gradient_scale
        return [losses, *torch.autograd.grad(total, list(parameters.values()))]

    def epoch(self) -> float:
        """Go once through the rows; the mean loss of the steps, over all members."""
        with threads_for(self.work):
            return self._epoch()

    def _epoch(self) -> float:
        self.batches.new_epoch()
        self.n_epochs += 1
        self.beta.fill_(self.plan.beta_in(self.n_epochs))
        self.totals.zero_()
        if self.ranks is not None:
            self.ranks.copy_from_first(self.members.vector)  # processors differ in how they round
        all_steps = self.plan.max_iter * self.batches.n_batches
        for i in range(self.batches.n_batches):
            self.batches.load(i)
            self.n_steps += 1
            self.compute()
            if self.ranks is not None:
                self.ranks.average(self.members.gradient, self.share)
            self.optimizer.step(self.plan.rate(self.n_steps / (all_steps + 1)))
            self.totals += self.losses
        if self.ranks is not None:
            self.ranks.average(self.totals, self.share)
        return self.totals.mean().item() / self.batches.n_batches  # the epoch's only wait for the device

    def _judge(self) -> Callable[[], Tensor] | None:
        """One call that gives the loss of each row held out, those of the first member first.

        The noise is the same in every call, so that two epochs differ by their weights alone. Members have as many rows each as
        the one with the most: the others' start again from their first.
        """
        if not self.held_out:
            return None
        most = max(len(rows) for rows, _ in self.held_out)
        n_chunks = math.ceil(most / (JUDGED_ROWS if self.losses.device.type == "cpu" else DEVICE_CHUNK_ROWS))
        size = math.ceil(most / n_chunks)
        places = [torch.arange(n_chunks * size) % len(rows) for rows, _ in self.held_out]
        stacked = torch.stack([rows[place.to(rows.device)] for (rows, _), place in zip(self.held_out, places, strict=True)])
        is_own = torch.cat([torch.arange(n_chunks * size) < len(rows) for rows, _ in self.held_out])
        losses = stacked.new_empty(stacked.shape[:2])
        chunk, of_chunk = (stacked, losses) if n_chunks == 1 else (stacked[:, :size].clone(), losses[:, :size].clone())
        noise = torch.Generator(stacked.device)
        of_rows = partial(self.objective.row_losses, beta=self.plan.beta, generator=noise)
        members, seed = self.members, self.noise.initial_seed() + 1  # not self, which holds what is made here: rows would stay
        parameters = {name: block[: len(stacked)] for name, block in members.parameters.items()}
        constants = [*members.fixed(), *([stacked] if n_chunks == 1 else [])]

        @torch.no_grad()
        def forward() -> list[Tensor]:
            return [members.call(of_rows, parameters, chunk)]

        compute = compiled(forward, [of_chunk], constants, noise)  # one chunk, so that memory does not grow with the rows
        work = self.work * size / self.batches.batch_size / 3

        def judge() -> Tensor:
            noise.manual_seed(seed)
            with threads_for(work):
                for i in range(0, n_chunks * size, size):
                    if n_chunks > 1:
                        chunk.copy_(stacked[:, i : i + size])
                    compute()
                    if n_chunks > 1:
                        losses[:, i : i + size] = of_chunk
            return losses.flatten().cpu()[is_own].double()

        return judge

    def _judge_of_first(self, ranks: Ranks) -> Callable[[], Tensor] | None:
        """The same, worked out by rank 0 alone."""
        if not self.held_out:
            return None
        n_rows = sum(len(rows) for rows, _ in self.held_out)
        judge = self._judge() if ranks.rank == 0 else partial(torch.empty, n_rows, dtype=torch.float64)

        def judge_of_first() -> Tensor:
            losses: Tensor = judge()  # type: ignore[misc]
            ranks.copy_from_first(losses)
            return losses

        return judge_of_first

    @property
    def held_out_weights(self) -> Tensor:
        """Of the rows that ``judge`` gives the losses of."""
        weights = [rows.new_ones(len(rows)) if weight is None else weight for rows, weight in self.held_out]
        return torch.cat(weights).cpu().double()

    def keep(self) -> None:
        """Remember the weights as the best so far."""
        self.best.copy_(self.members.vector)

    def finish(self, weights: Tensor | None) -> None:
        """Leave the models with these weights, None for the current ones, in memory of their own."""
        if weights is not None:
            self.members.vector.copy_(weights)
        self.members.release()


def train(
    run: Run,
    stopping: NoImprovement,
    n_iter: int,
    report: Callable[[int, TrainingResult], bool | None] | None = None,
    is_futile: Callable[[float, Judged], bool] | None = None,
) -> TrainingResult:
    """Train epoch by epoch, and leave all members with the weights of the epoch that was best for them jointly.

    1. Judge the start: it is epoch 0 and may stay the best.
    2. Train for an epoch.
    3. Judge by the weighted mean over all rows held out, at most ``MOST_JUDGED`` times; remember the weights where it is the
       best yet.
    4. Stop when it has not improved for long enough, or has no prospects; without rows held out the training loss decides.
    5. Go back to the best epoch, which may be the start.

    An interruption by the user ends the training of one process. The models are then left with the weights of the best epoch
    so far or, without rows held out, of the last one that is complete; these too may be those of the start.

    Parameters
    ----------
    run : Run
    stopping : NoImprovement
    n_iter : int
        Epochs to go, at most the plan's ``max_iter``, to which the learning rate's schedule refers.
    report : callable, optional
        Called before the first epoch and after each with ``n_iter`` and the result so far, whose lists grow; True ends the
        training.
    is_futile : callable, optional
        Called with the share of the epochs that is done and what the best one has brought; True ends the training.
    """
    warmup = run.plan.beta_warmup  # epochs in which the loss rises with its weights, and says nothing of progress
    ledger = _Ledger(run, n_iter)  # 1)
    stopped = interrupted = False
    try:
        if report is not None:
            report(n_iter, ledger.result())
        for epoch in range(1, n_iter + 1):
            loss = run.epoch()  # 2)
            if not math.isfinite(loss):
                raise FloatingPointError(f"The loss became {loss} in epoch {epoch}. Lower learning_rate_init.")
            is_judged = ledger.enter(loss, candidate=epoch > warmup)  # 3)
            if epoch > warmup:
                stopping.update(ledger.latest)  # 4)
                is_at_end = is_judged and is_futile is not None and is_futile(epoch / n_iter, ledger.judged)
                stopped = stopping.should_stop or is_at_end
            if report is not None and report(n_iter, ledger.result(stopped)):
                ledger.enter_last()
                stopped = True
            if stopped:
                break
    except KeyboardInterrupt:
        if run.ranks is not None:  # which would wait for this one
            raise
        ledger.drop_unfinished()
        stopped = interrupted = True
    ledger.check_converged()
    run.finish(run.best if interrupted or ledger.is_judging else None)  # 5)
    return ledger.result(stopped, interrupted)


class _Ledger:
    """Losses of the epochs, and of the rows held out: their mean after each epoch, and all at the start and at the best epoch.

    One of ``every`` epochs is judged, the last among them; the others have the loss of the one before. Without rows held out
    the last epoch is the best.
    """

    judged: Judged

    def __init__(self, run: Run, n_iter: int) -> None:
        self.run = run
        self.n_iter = n_iter
        self.every = math.ceil(n_iter / MOST_JUDGED)
        self.losses: list[float] = []
        self.validation_losses: list[float] = []
        self.best_iter = 0
        if run.judge is not None:
            start, weights = run.judge(), run.held_out_weights
            self.judged = Judged(start, start, weights)
            self.validation_losses.append(weighted_mean(start, weights))

    @property
    def is_judging(self) -> bool:
        """Whether there are rows held out."""
        return self.run.judge is not None

    @property
    def latest(self) -> float:
        """The loss that tells of progress."""
        return self.validation_losses[-1] if self.is_judging else self.losses[-1]

    def enter(self, loss: float, candidate: bool) -> bool:
        """Take the epoch that is done; whether it was judged."""
        self.losses.append(loss)
        if not self.is_judging:
            self._keep()
            return False
        if (self.n_iter - len(self.losses)) % self.every:
            self.validation_losses.append(self.validation_losses[-1])
            return False
        self._judge(candidate)
        return True

    def enter_last(self) -> None:
        """Judge the epoch that turns out to be the last, which may be the best, whichever it is."""
        if self.is_judging:
            self.validation_losses.pop()
            self._judge(candidate=True)

    def drop_unfinished(self) -> None:
        """Forget an epoch that was yet to be judged."""
        if self.is_judging:
            del self.losses[len(self.validation_losses) - 1 :]

    def _judge(self, candidate: bool) -> None:
        rows: Tensor = self.run.judge()  # type: ignore[misc]
        self.validation_losses.append(weighted_mean(rows, self.judged.weights))
        if candidate and self.validation_losses[-1] < self.validation_losses[self.best_iter]:
            self._keep()
            self.judged = replace(self.judged, best=rows)

    def _keep(self) -> None:
        self.run.keep()
        self.best_iter = len(self.losses)

    def check_converged(self) -> None:
        """Refuse a loss that rose far; where rows are held out, the best epoch is no such one."""
        if self.is_judging or not self.losses or self.losses[-1] <= DIVERGED * (1 + abs(self.losses[0])):
            return
        raise FloatingPointError(f"The loss rose from {self.losses[0]:.3g} to {self.losses[-1]:.3g}. Lower learning_rate_init.")

    def result(self, stopped: bool = False, interrupted: bool = False) -> TrainingResult:
        """What happened so far."""
        judged = self.judged if self.is_judging else None
        return TrainingResult(self.losses, self.validation_losses, self.best_iter, stopped, self.every, judged, interrupted)


def weighted_mean(values: Tensor, weights: Tensor) -> float:
    """Mean of values that stand for as many as their weights say."""
    return ((values * weights).sum() / weights.sum()).item()
