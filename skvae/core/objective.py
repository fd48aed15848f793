"""Training objective: the mean over rows of the negative log-likelihood, summed over the cells of a row.

It is summed rather than averaged over columns, because an average would rescale all other terms by the number of columns. The
other terms are:

* the divergence of the posterior from the prior, times beta, if the bottleneck has a posterior. For beta = 1 the objective is
  the negative evidence lower bound (Kingma and Welling, 2014), otherwise that of the beta-VAE (Higgins et al., 2017);
* penalties, each times its weight.

A corruption is applied to the input of the encoder, never to the target of the likelihood. If the table may contain anomalies,
the rows of a batch that are reconstructed worst are left out of the mean (least trimmed squares, Rousseeuw, 1984).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.core.corruptions import BoundCorruption
from skvae.core.model import Autoencoder
from skvae.core.penalties import Pass, Penalty


@dataclass(frozen=True)
class Objective:
    """The loss of a model, with a corruption of its input and penalties."""

    corruption: BoundCorruption | None = None
    penalties: tuple[Penalty, ...] = ()
    hidden_only: bool = False  # whether only hidden cells are scored; for models that mark missing cells
    support_fraction: float = 1.0  # share of the rows of a batch that are used: those reconstructed best

    def loss(
        self,
        model: Autoencoder,
        x: Tensor,
        weight: Tensor | None,
        beta: Tensor | float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Weighted mean of the losses of the rows; ``weight`` has mean 1 over the table, and None means ones."""
        if self.support_fraction < 1:
            weight = self._of_support(model, x, weight)
        seen, target = self._corrupted(model, x, generator)
        *hidden, h = model.encoder.layers(seen)
        code, divergence = model.bottleneck.drawn(h, generator)
        losses = -_total(model.likelihood.log_prob(model.decoder(code), target), weight)
        if divergence is not None:
            losses = losses + beta * _total(divergence, weight)
        for charge in self._charges(model, seen, hidden, h, weight, generator):
            losses = losses + _total(charge[:, None], weight)
        return losses / len(x)

    def row_losses(
        self, model: Autoencoder, x: Tensor, beta: Tensor | float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Loss of each row in nats, ``(n_rows,)``, to evaluate a model.

        The divergence is estimated by ``log q(z | x) - log p(z)`` at the drawn code rather than in closed form, because its
        error cancels that of the likelihood at this code. It cancels completely if the posterior is exact, as initially.
        """
        seen, target = self._corrupted(model, x, generator)
        *hidden, h = model.encoder.layers(seen)
        if model.bottleneck.has_posterior:
            shape = (len(x), h.shape[1] // model.bottleneck.expansion)
            noise = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
            code, log_ratio = model.bottleneck.at(h, noise)
            losses = -model.likelihood.log_prob(model.decoder(code), target).sum(1) - beta * log_ratio
        else:
            losses = -model.likelihood.log_prob(model.decoder(model.bottleneck(h, generator)), target).sum(1)
        for charge in self._charges(model, seen, hidden, h, None, generator):
            losses = losses + charge
        return losses

    def _corrupted(self, model: Autoencoder, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Input of the encoder, and target of the decoder."""
        damaged, level = (x, None) if self.corruption is None else self.corruption(x, generator)
        if not model.inputs.marked:
            return model.inputs(damaged, level), x
        damaged = torch.where(x.isnan(), x, damaged)
        return model.inputs(damaged, level), torch.where(damaged.isnan(), x, torch.nan) if self.hidden_only else x

    @torch.no_grad()
    def _of_support(self, model: Autoencoder, x: Tensor, weight: Tensor | None) -> Tensor:
        """Weights, with those of the worst reconstructed rows set to zero and the others scaled to keep the mean.

        Clean rows are compared, batch by batch, so a row returns when the model has learned to reconstruct it.
        """
        weight = x.new_ones(len(x)) if weight is None else weight
        order = model.log_prob(x).sum(1).argsort(descending=True)
        ordered = weight.index_select(0, order)
        before = ordered.cumsum(0) - ordered
        kept = (self.support_fraction * ordered.sum() - before).clamp(min=0.0).minimum(ordered)
        return torch.zeros_like(weight).index_copy(0, order, kept / self.support_fraction)

    def _charges(
        self,
        model: Autoencoder,
        seen: Tensor,
        hidden: list[Tensor],
        h: Tensor,
        weight: Tensor | None,
        generator: torch.Generator | None,
    ) -> list[Tensor]:
        """Each penalty per row, times its weight."""
        if not self.penalties:
            return []
        code = model.bottleneck(h, None)
        rows = Pass(seen, hidden, code, weight, model.encode_inputs, model.decoder, generator)
        return [penalty.weight * penalty(rows) for penalty in self.penalties]


def _total(values: Tensor, weight: Tensor | None) -> Tensor:
    return values.sum() if weight is None else (values.sum(1) * weight).sum()
