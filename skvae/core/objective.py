"""What training minimises: the mean over rows of the negative log-likelihood, summed over the cells of a row.

Summed and not averaged over columns: an average would rescale everything that is ever added to it by the number of columns.
With a posterior at the bottleneck its divergence from the prior is added, times beta: for beta = 1 the negative evidence lower
bound (Kingma and Welling, 2014), else that of the beta-VAE (Higgins et al., 2017).
"""

import torch
from torch import Tensor

from skvae.core.model import Autoencoder


def objective(
    model: Autoencoder, x: Tensor, weight: Tensor | None, beta: Tensor | float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Weighted mean of the rows' losses; ``weight`` has mean 1 over the table, None stands for all ones."""
    h = model.encoder(x)
    losses = -_total(model.likelihood.log_prob(model.decoder(model.bottleneck(h, generator)), x), weight)
    if model.bottleneck.has_posterior:
        losses = losses + beta * _total(model.bottleneck.divergence(h), weight)
    return losses / len(x)


def row_losses(model: Autoencoder, x: Tensor, beta: Tensor | float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Loss of each row in nats, ``(n_rows,)``, to judge a model by.

    The divergence is estimated by ``log q(z | x) - log p(z)`` at the drawn code, not by its closed form: the error cancels
    that of the likelihood at the same code, completely where the posterior is exact, as it is at the start.
    """
    h = model.encoder(x)
    if not model.bottleneck.has_posterior:
        return -model.likelihood.log_prob(model.decoder(model.bottleneck(h, generator)), x).sum(1)
    noise = torch.randn(len(x), h.shape[1] // model.bottleneck.expansion, generator=generator, dtype=x.dtype, device=x.device)
    code, log_ratio = model.bottleneck.at(h, noise)
    return -model.likelihood.log_prob(model.decoder(code), x).sum(1) - beta * log_ratio


def _total(values: Tensor, weight: Tensor | None) -> Tensor:
    return values.sum() if weight is None else (values.sum(1) * weight).sum()
