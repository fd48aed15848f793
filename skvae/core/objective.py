"""What training minimises: the mean over rows of the negative log-likelihood, summed over the cells of a row.

Summed and not averaged over columns: an average would rescale everything that is ever added to it by the number of columns.
"""

from torch import Tensor

from skvae.core.model import Autoencoder


def row_losses(model: Autoencoder, x: Tensor) -> Tensor:
    """Negative log-likelihood of each row in nats, ``(n_rows,)``."""
    return -model.log_prob(x).sum(1)


def objective(model: Autoencoder, x: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean of the rows' losses; ``weight`` has mean 1 over the table, None stands for all ones."""
    if weight is None:
        return -model.log_prob(x).sum() / len(x)
    return (row_losses(model, x) * weight).mean()
