"""The training loop. It advances a run, which consists of models, rows and a step, and knows nothing about the models."""

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

MANY_EPOCHS = 5  # minimum to estimate fluctuations of the loss
DIVERGED = 1e3  # ratio to the first loss from which on a training has failed
MOST_JUDGED = 150  # evaluations per training; more do not improve the choice
JUDGED_ROWS = 2048  # evaluated at once on the CPU, with all intermediate results in memory
PLAIN = Objective()


@dataclass(frozen=True)
class TrainingPlan:
    """Constant settings of the training loop."""

    max_iter: int
    batch_size: int
    learning_rate: str
    learning_rate_init: float
    weight_decay: float
    shuffle: bool
    tol: float
    n_iter_no_change: int
    gradient_scale: float = 1.0  # scales gradients to a range that suits Adam's eps and float32, for any unit of the loss
    warmup: float = 0.05  # share of the steps; without it, Adam's first steps have full size for any gradient
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    beta: float = 1.0  # weight of the divergence of the posterior from the prior, if there is a posterior
    beta_warmup: int = 0  # epochs until the divergence has this weight

    def rate(self, progress: float) -> float:
        """Learning rate after this share of all steps."""
        ramp = progress / self.warmup if progress < self.warmup else 1.0
        decay = 0.5 * (1 + math.cos(math.pi * progress)) if self.learning_rate == "cosine" else 1.0
        return self.learning_rate_init * ramp * decay

    def beta_in(self, epoch: int) -> float:
        """Weight of the divergence in an epoch, counting from 1."""
        return self.beta * min(1.0, epoch / (self.beta_warmup + 1))


@dataclass(frozen=True)
class Judged:
    """Losses of all held-out rows, at the start and at the best epoch, in nats."""

    start: Tensor
    best: Tensor
    weights: Tensor


@dataclass(frozen=True)
class TrainingResult:
    """Course of a training.

    Attributes
    ----------
    losses : list of float
        Training loss of each epoch, averaged over members.
    validation_losses : list of float
        Held-out loss after each epoch, as of the last evaluation. Entry 0 is the start, before any step. Empty if no rows were
        held out.
    best_iter : int
        The best epoch, 0 for the start.
    stopped : bool
        Whether training ended before the maximum number of epochs.
    judged_every : int
        Number of epochs between evaluations.
    judged : Judged or None
        None if no rows were held out.
    interrupted : bool
        Whether the user interrupted the training.
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
        """Whether epochs ran out while the loss was falling: the last tenth brought over 1 % of the total decrease.

        With corruptions or drawn codes the loss fluctuates. The decrease from the second-to-last tenth must then exceed the
        fluctuations. The held-out loss is used if there is one.
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
    """Models in training: their rows, optimiser and step, and held-out rows if there are any.

    All members see the same batches, each with its own row weights: a row held out from a member has weight 0 there. A single
    model is one member.

    Parameters
    ----------
    models : sequence of Autoencoder
        The members.
    batches : Batches or StreamedBatches
        Batches of training rows, with weights for each member. Noise is drawn from a separate generator.
    plan : TrainingPlan
    held_out : sequence of (Tensor, Tensor or None)
        Held-out rows of each of the first members, and their weights.
    objective : Objective
    ranks : Ranks or None
        Processes that train the same models on other rows. Each step uses the mean gradient, and rank 0 evaluates.
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
        self.work = 6.0 * vector.numel() * self.batches.batch_size  # operations per step: two forward, four backward
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
        """Tensors that no step changes."""
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
        """Train for one epoch, and return the mean loss over steps and members."""
        with threads_for(self.work):
            return self._epoch()

    def _epoch(self) -> float:
        self.batches.new_epoch()
        self.n_epochs += 1
        self.beta.fill_(self.plan.beta_in(self.n_epochs))
        self.totals.zero_()
        if self.ranks is not None:
            self.ranks.copy_from_first(self.members.vector)  # processors may round differently
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
        return self.totals.mean().item() / self.batches.n_batches  # the only synchronisation with the device per epoch

    def _judge(self) -> Callable[[], Tensor] | None:
        """A function that returns the loss of each held-out row, ordered by member.

        The noise is equal in every call, so that two epochs only differ in their weights. Members with fewer rows than the
        largest are padded by repeating their rows.
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
        members, seed = self.members, self.noise.initial_seed() + 1  # not self: a reference cycle would keep the rows in memory
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
        """The function of ``_judge``, evaluated by rank 0 only."""
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
        """Weights of the held-out rows, in the order of ``judge``."""
        weights = [rows.new_ones(len(rows)) if weight is None else weight for rows, weight in self.held_out]
        return torch.cat(weights).cpu().double()

    def keep(self) -> None:
        """Remember the weights as the best so far."""
        self.best.copy_(self.members.vector)

    def finish(self, weights: Tensor | None) -> None:
        """Set the weights of the models, by default the current ones, and give them their own memory."""
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
    """Train epoch by epoch, and keep the weights of the epoch that is best for all members jointly.

    1. Evaluate the start, which is epoch 0.
    2. Train for one epoch.
    3. Evaluate the weighted mean over all held-out rows, at most ``MOST_JUDGED`` times. Keep the weights if it is the best.
    4. Stop without improvement for long enough, or without prospects. Without held-out rows, the training loss decides.
    5. Restore the best epoch, which may be the start.

    An interruption by the user ends a training in one process. The models then have the weights of the best epoch so far or,
    without held-out rows, of the last complete epoch. Either may be the start.

    Parameters
    ----------
    run : Run
    stopping : NoImprovement
    n_iter : int
        Number of epochs, at most ``max_iter`` of the plan, on which the learning-rate schedule is based.
    report : callable, optional
        Called before the first epoch and after each epoch, with ``n_iter`` and the result so far, whose lists grow. If it
        returns True, training ends.
    is_futile : callable, optional
        Called with the share of epochs done and the losses of the best one. If it returns True, training ends.
    """
    warmup = run.plan.beta_warmup  # epochs in which the loss rises with beta and does not measure progress
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
        if run.ranks is not None:  # the other ranks would wait for this one
            raise
        ledger.drop_unfinished()
        stopped = interrupted = True
    ledger.check_converged()
    run.finish(run.best if interrupted or ledger.is_judging else None)  # 5)
    return ledger.result(stopped, interrupted)


class _Ledger:
    """Losses of all epochs, and of the held-out rows: their mean per epoch, and all of them at the start and the best epoch.

    Every ``every``-th epoch is evaluated, including the last; the others repeat the previous loss. Without held-out rows, the
    last epoch is the best.
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
        """Whether there are held-out rows."""
        return self.run.judge is not None

    @property
    def latest(self) -> float:
        """The loss that measures progress."""
        return self.validation_losses[-1] if self.is_judging else self.losses[-1]

    def enter(self, loss: float, candidate: bool) -> bool:
        """Record an epoch, and return whether it was evaluated."""
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
        """Evaluate an epoch that turns out to be the last."""
        if self.is_judging:
            self.validation_losses.pop()
            self._judge(candidate=True)

    def drop_unfinished(self) -> None:
        """Drop an epoch that was not evaluated."""
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
        """Raise an error if the loss rose far; with held-out rows, the best epoch cannot have done so."""
        if self.is_judging or not self.losses or self.losses[-1] <= DIVERGED * (1 + abs(self.losses[0])):
            return
        raise FloatingPointError(f"The loss rose from {self.losses[0]:.3g} to {self.losses[-1]:.3g}. Lower learning_rate_init.")

    def result(self, stopped: bool = False, interrupted: bool = False) -> TrainingResult:
        """The result so far."""
        judged = self.judged if self.is_judging else None
        return TrainingResult(self.losses, self.validation_losses, self.best_iter, stopped, self.every, judged, interrupted)


def weighted_mean(values: Tensor, weights: Tensor) -> float:
    """Weighted mean."""
    return ((values * weights).sum() / weights.sum()).item()
