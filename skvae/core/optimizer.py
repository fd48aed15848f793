"""Adam on one vector."""

import torch
from torch import Tensor


class AdamW:
    """Adam with decoupled weight decay (Kingma & Ba, 2015; Loshchilov & Hutter, 2019), all parameters in one vector.

    It calls the kernel of ``torch.optim.AdamW(fused=True)``, with bitwise equal results. On small networks, the class around
    that call takes many times longer than the kernel, and its first use in a process imports torch's compiler.

    Parameters
    ----------
    vector, gradient : Tensor
        Both are read in each step, and ``vector`` is updated in place.
    betas : tuple of two floats
    eps, weight_decay : float
    """

    def __init__(self, vector: Tensor, gradient: Tensor, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        self.vector = vector
        self.gradient = gradient
        self.mean, self.mean_square = torch.zeros_like(vector), torch.zeros_like(vector)
        self.n_steps = torch.zeros((), dtype=torch.float32, device=vector.device)
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay

    def resume(self, mean: Tensor, mean_square: Tensor, n_steps: int) -> None:
        """Continue from the state of another optimiser after ``n_steps`` steps."""
        self.mean.copy_(mean)
        self.mean_square.copy_(mean_square)
        self.n_steps.fill_(n_steps)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        self.n_steps += 1
        torch._fused_adamw_(  # private, and called by the public optimiser; a test compares the two
            [self.vector],
            [self.gradient],
            [self.mean],
            [self.mean_square],
            [],
            [self.n_steps],
            lr=learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )
