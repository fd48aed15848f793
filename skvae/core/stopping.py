"""When to stop training."""

import math


class NoImprovement:
    """Stop after ``n_iter_no_change`` consecutive losses without an improvement.

    A loss is an improvement if it is below ``best - tol * scale``. ``scale`` makes ``tol`` independent of the size and sign of
    losses in nats.
    """

    def __init__(self, tol: float, n_iter_no_change: int, scale: float = 1.0) -> None:
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.scale = scale
        self.reset()

    def reset(self) -> None:
        self.best = math.inf
        self.waited = 0

    def update(self, loss: float) -> None:
        if loss < self.best - self.tol * self.scale:
            self.best = loss
            self.waited = 0
        else:
            self.waited += 1

    @property
    def should_stop(self) -> bool:
        return self.waited >= self.n_iter_no_change
