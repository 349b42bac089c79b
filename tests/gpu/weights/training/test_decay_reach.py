import pytest
import torch

from sparsetheory.gpu.weights import AdamS, decay_budget


@pytest.mark.parametrize(("noise", "reach"), [(0.0, 3.3), (1.0, 2.5), (10.0, 0.6)])
def test_weights_of_no_use_come_as_far_as_the_budget_says(noise, reach):
    lr, n_steps, alpha = 2e-3, 600, 1e-3
    # Far from zero, so that none arrives; the first two of each row are kept.
    start = torch.tensor([50.0, 50.0, 10.0, 10.0]).repeat(200, 1)
    weight = torch.nn.Parameter(start.clone())
    optimizer = AdamS([{"params": [weight], "sparse": True}], lr, total_steps=n_steps, alpha=alpha, pattern="2:4")
    generator = torch.Generator().manual_seed(0)
    for _ in range(n_steps):
        weight.grad = noise * alpha * torch.randn(start.shape, generator=generator)
        optimizer.step()
    moved = float((start - weight.detach())[:, 2:].mean())
    assert moved / decay_budget([lr] * n_steps, n_steps) == pytest.approx(reach, rel=0.15)
