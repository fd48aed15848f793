import pytest
import torch
from torch import nn

from skvae.core.optimizer import AdamW

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_are_those_of_the_public_optimizer_to_the_bit(weight_decay, dtype, device):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(257, generator=generator, dtype=dtype).to(device)
    parameter, vector, gradient = nn.Parameter(start.clone()), start.clone(), torch.empty_like(start)
    public = torch.optim.AdamW([parameter], betas=(0.8, 0.99), eps=1e-6, weight_decay=weight_decay, fused=True)
    ours = AdamW(vector, gradient, betas=(0.8, 0.99), eps=1e-6, weight_decay=weight_decay)
    for step in range(1, 8):
        gradient.copy_(torch.randn(257, generator=generator, dtype=dtype))
        parameter.grad = gradient.clone()
        public.param_groups[0]["lr"] = 0.1 / step
        public.step()
        ours.step(0.1 / step)
        assert torch.equal(vector, parameter)
