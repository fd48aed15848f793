"""What training minimises: the mean over rows of the negative log-likelihood, summed over the cells of a row.

Summed and not averaged over columns: an average would rescale everything that is ever added to it by the number of columns.
With a posterior at the bottleneck its divergence from the prior is added, times beta: for beta = 1 the negative evidence lower
bound (Kingma and Welling, 2014), else that of the beta-VAE (Higgins et al., 2017). A corruption stands between the row and the
encoder, never between the row and the likelihood; penalties are added, each times its weight. Where the table may hold rows
that are not to be learned, those of a batch that are reconstructed worst are left out of its mean (least trimmed squares,
Rousseeuw, 1984).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.core.corruptions import BoundCorruption
from skvae.core.model import Autoencoder
from skvae.core.penalties import Pass, Penalty


@dataclass(frozen=True)
class Objective:
    """The loss of a model, with what is done to its input and what is charged beside its likelihood."""

    corruption: BoundCorruption | None = None
    penalties: tuple[Penalty, ...] = ()
    hidden_only: bool = False  # whether cells that the encoder sees are not scored; of models that mark what is missing
    support_fraction: float = 1.0  # share of the rows that are learned from, those that are reconstructed best

    def loss(
        self,
        model: Autoencoder,
        x: Tensor,
        weight: Tensor | None,
        beta: Tensor | float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Weighted mean of the rows' losses; ``weight`` has mean 1 over the table, None stands for all ones."""
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
        """Loss of each row in nats, ``(n_rows,)``, to judge a model by.

        The divergence is estimated by ``log q(z | x) - log p(z)`` at the drawn code, not by its closed form: the error cancels
        that of the likelihood at the same code, completely where the posterior is exact, as it is at the start.
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
        """What the encoder sees, and what the decoder is held against."""
        damaged, level = (x, None) if self.corruption is None else self.corruption(x, generator)
        if not model.inputs.marked:
            return model.inputs(damaged, level), x
        damaged = torch.where(x.isnan(), x, damaged)
        return model.inputs(damaged, level), torch.where(damaged.isnan(), x, torch.nan) if self.hidden_only else x

    @torch.no_grad()
    def _of_support(self, model: Autoencoder, x: Tensor, weight: Tensor | None) -> Tensor:
        """Weights with those of the rows that are reconstructed worst set to zero, of the same mean.

        Judged by the clean row and batch by batch, so that a row may come back that the model has learned to reconstruct.
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
        """What each penalty charges each row, times its weight."""
        if not self.penalties:
            return []
        code = model.bottleneck(h, None)
        rows = Pass(seen, hidden, code, weight, model.encode_inputs, model.decoder, generator)
        return [penalty.weight * penalty(rows) for penalty in self.penalties]


def _total(values: Tensor, weight: Tensor | None) -> Tensor:
    return values.sum() if weight is None else (values.sum(1) * weight).sum()
