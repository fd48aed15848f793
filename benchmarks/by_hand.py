"""Training loops as one would write them by hand for one network, the yardstick of what a step needs to cost.

Loss, gradients and one call of Adam for all weights at once, on one thread of the CPU. Every result is written into memory that
is there before, nothing is drawn or copied that the step does not need, and nothing is general: one hidden layer of ReLU on
either side of the code, with or without a linear path, wider than the table, which is wider than the code. The weights start as
those of a model of the package. Matrices lie with their longer side last, in which their gradients are the fastest products.
"""

import math
from itertools import accumulate

import torch
from torch import Tensor

from skvae.core.model import Autoencoder

RATE, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8
ALIGNMENT = 16  # elements: every weight starts on a cache line
relu_backward = torch.ops.aten.threshold_backward.grad_input


class Plain:
    """``x -> h1 -> z -> h2 -> y``, and half the squared error of y over a variance that is given.

    ``weights`` and ``gradients`` have W1, b1 to W4, b4, and L1 and L2 where there is a path, as views of one vector each.
    """

    def __init__(self, model: Autoencoder, rows: Tensor, batch_size: int, seed: int = 0) -> None:
        self.rows = rows
        self.x = rows[:batch_size].clone()
        self.generator = torch.Generator().manual_seed(seed)
        self._take_weights(self.weights_of(model))
        self._make_room(model)

    def weights_of(self, model: Autoencoder) -> dict[str, Tensor]:
        """Those of a model by their names here, the way they lie here."""
        encoder, decoder = model.encoder, model.decoder
        found = {"W1": encoder.hidden[0].weight.t(), "b1": encoder.hidden[0].bias}
        found |= {"W2": encoder.out.weight, "b2": encoder.out.bias}
        found |= {"W3": decoder.hidden[0].weight.t(), "b3": decoder.hidden[0].bias}
        found |= {"W4": decoder.out.weight, "b4": decoder.out.bias}
        return found | ({} if encoder.path is None else {"L1": encoder.path, "L2": decoder.path.t()})

    def _take_weights(self, found: dict[str, Tensor]) -> None:
        sizes = [math.ceil(tensor.numel() / ALIGNMENT) * ALIGNMENT for tensor in found.values()]
        starts = [0, *accumulate(sizes)]
        self.vector, self.gradient, self.mean, self.mean_square = torch.zeros(4, starts[-1]).unbind()
        self.n_steps = torch.zeros(())
        self.weights, self.gradients = (
            {
                name: vector[start : start + tensor.numel()].view(tensor.shape)
                for start, (name, tensor) in zip(starts, found.items(), strict=False)
            }
            for vector in (self.vector, self.gradient)
        )
        for name, tensor in found.items():
            self.weights[name].copy_(tensor.detach())
            setattr(self, name, self.weights[name])
            setattr(self, "d" + name, self.gradients[name])

    def _make_room(self, model: Autoencoder) -> None:
        n, d = self.x.shape
        self.has_path = model.encoder.path is not None
        self.unit, self.unit_of_x = model.encoder.unit, model.decoder.unit
        self.variance, self.floor = (float(v.detach()) for v in (model.likelihood.variance, model.likelihood.floor))
        self.limit = model.encoder.limit
        self.lowest = None if self.limit is None else -self.limit
        self.limited, self.y, self.gy = torch.empty(3, n, d).unbind()
        self.h1, self.h2, self.g1, self.g2 = torch.empty(4, n, self.W1.shape[1]).unbind()
        self.h, self.gh = torch.empty(2, n, self.W2.shape[0]).unbind()
        self.z, self.gz = torch.empty(2, n, model.n_components).unbind()
        self.ones = torch.ones(n)

    @torch.no_grad()
    def epoch(self) -> float:
        """Go once through the rows; the mean loss of the steps."""
        total = 0.0
        batches = torch.randperm(len(self.rows), generator=self.generator).view(-1, len(self.x)).unbind()
        for batch in batches:
            torch.index_select(self.rows, 0, batch, out=self.x)
            total += self.step()
            self.update()
        return total / len(batches)

    def step(self) -> float:
        """The loss of the batch, and its gradients."""
        self.encode(self.x)
        squared_error = self.decode(self.h, self.variance)
        self.back_to_code(self.h, self.gh)
        self.back_to_row(self.x)
        return self.likelihood_loss(squared_error, self.variance)

    def likelihood_loss(self, squared_error: float, variance: float) -> float:
        n, d = self.x.shape
        return 0.5 * (squared_error / (variance * n) + d * math.log(2 * math.pi * variance))

    def encode(self, x: Tensor) -> None:
        """What the encoder says of rows, in ``h``."""
        self.seen = x if self.limit is None else torch.clamp(x, self.lowest, self.limit, out=self.limited)
        torch.addmm(self.b1, self.seen, self.W1, out=self.h1).relu_()
        torch.addmm(self.b2, self.h1, self.W2.t(), out=self.h)
        if self.has_path:
            self.h.addmm_(x, self.L1.t())
        if self.unit is not None:
            self.h.mul_(self.unit)

    def decode(self, z: Tensor, variance: float) -> float:
        """The squared error of the batch given codes, and the gradient of the loss by the output, in ``gy``."""
        torch.addmm(self.b3, z, self.W3, out=self.h2).relu_()
        torch.addmm(self.b4, self.h2, self.W4.t(), out=self.y)
        if self.has_path:
            self.y.addmm_(z, self.L2)
        if self.unit_of_x is not None:
            self.y.mul_(self.unit_of_x)
        flat = torch.sub(self.y, self.x, out=self.gy).view(-1)
        squared_error = torch.dot(flat, flat).item()
        self.gy.div_(variance * len(z))
        if self.unit_of_x is not None:
            self.gy.mul_(self.unit_of_x)
        return squared_error

    def back_to_code(self, z: Tensor, gz: Tensor) -> None:
        """Gradients of the decoder's weights, and by the code."""
        torch.mm(self.gy.t(), self.h2, out=self.dW4)
        torch.mv(self.gy.t(), self.ones, out=self.db4)
        torch.mm(self.gy, self.W4, out=self.g2)
        relu_backward(self.g2, self.h2, 0, grad_input=self.g2)
        torch.mm(z.t(), self.g2, out=self.dW3)
        torch.mv(self.g2.t(), self.ones, out=self.db3)
        torch.mm(self.g2, self.W3.t(), out=gz)
        if self.has_path:
            gz.addmm_(self.gy, self.L2.t())
            torch.mm(z.t(), self.gy, out=self.dL2)

    def back_to_row(self, x: Tensor) -> None:
        """Gradients of the encoder's weights."""
        if self.unit is not None:
            self.gh.mul_(self.unit)
        torch.mm(self.gh.t(), self.h1, out=self.dW2)
        torch.mv(self.gh.t(), self.ones, out=self.db2)
        torch.mm(self.gh, self.W2, out=self.g1)
        relu_backward(self.g1, self.h1, 0, grad_input=self.g1)
        torch.mm(self.seen.t(), self.g1, out=self.dW1)
        torch.mv(self.g1.t(), self.ones, out=self.db1)
        if self.has_path:
            torch.mm(self.gh.t(), x, out=self.dL1)

    def update(self) -> None:
        self.n_steps += 1
        torch._fused_adamw_(
            [self.vector],
            [self.gradient],
            [self.mean],
            [self.mean_square],
            [],
            [self.n_steps],
            lr=RATE,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )


class Denoising(Plain):
    """The encoder sees normal noise of standard deviation ``LEVEL`` on every cell."""

    LEVEL = 0.1

    def step(self) -> float:
        self.noise.normal_(generator=self.generator)
        torch.add(self.x, self.noise, alpha=self.LEVEL, out=self.noisy)
        self.encode(self.noisy)
        squared_error = self.decode(self.h, self.variance)
        self.back_to_code(self.h, self.gh)
        self.back_to_row(self.noisy)
        return self.likelihood_loss(squared_error, self.variance)

    def _make_room(self, model: Autoencoder) -> None:
        super()._make_room(model)
        self.noise, self.noisy = torch.empty(2, *self.x.shape).unbind()


class Variational(Plain):
    """The code is drawn from a normal posterior, and the variance of the cells is learned, as ``floor + exp(log_excess)``.

    Where the second half ``a`` of h is negative it is the posterior's log-variance, else that is ``log(1 + a)``.
    """

    def weights_of(self, model: Autoencoder) -> dict[str, Tensor]:
        return super().weights_of(model) | {"log_excess": model.likelihood.log_excess}

    def _make_room(self, model: Autoencoder) -> None:
        super()._make_room(model)
        (self.mu, self.a), (self.gmu, self.ga) = self.h.chunk(2, dim=1), self.gh.chunk(2, dim=1)
        self.noise, self.positive, self.log_v, self.v, self.deviation = torch.empty(5, *self.z.shape).unbind()

    def step(self) -> float:
        self.encode(self.x)
        divergence = self.draw()
        excess = math.exp(self.log_excess.item())
        variance = self.floor + excess
        squared_error = self.decode(self.z, variance)
        n, d = self.x.shape
        self.dlog_excess.fill_(0.5 * (d - squared_error / (variance * n)) * excess / variance)
        self.back_to_code(self.z, self.gz)
        self.back_to_posterior()
        self.back_to_row(self.x)
        return self.likelihood_loss(squared_error, variance) + divergence

    def draw(self) -> float:
        """Codes of the batch, in ``z``, and the mean divergence of their posteriors from the prior."""
        torch.clamp_min(self.a, 0.0, out=self.positive)
        torch.clamp_max(self.a, 0.0, out=self.log_v).add_(torch.log1p(self.positive, out=self.v))
        torch.exp(self.log_v, out=self.v)
        torch.sqrt(self.v, out=self.deviation)
        self.deviation.mul_(self.noise.normal_(generator=self.generator))
        torch.add(self.mu, self.deviation, out=self.z)
        charged = torch.sub(self.v, self.log_v, out=self.log_v).addcmul_(self.mu, self.mu)
        return 0.5 * (charged.sum().item() - charged.numel()) / len(charged)

    def back_to_posterior(self) -> None:
        """Gradients by the mean and by a, of the code and of the divergence."""
        n = len(self.z)
        torch.add(self.gz, self.mu, alpha=1 / n, out=self.gmu)
        self.gz.mul_(self.deviation).add_(self.v.sub_(1.0), alpha=1 / n)
        torch.div(self.gz, self.positive.add_(1.0), out=self.ga).mul_(0.5)
