"""The k largest activations: counts, ties, gradients, and training with them."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.activations import TopK, topk_relu
from sparsetheory.gpu.core.models import initialise


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_no_more_than_k_are_kept_even_where_they_tie(device, dtype):
    x = torch.ones(3, 300, dtype=dtype, device=device)
    y = topk_relu(x, 5)
    assert y.dtype == dtype
    assert (y != 0).nonzero()[:, 1].tolist() == [0, 1, 2, 3, 4] * 3
    few = torch.tensor([[-1.0, 2.0, -3.0, 0.0]], dtype=dtype, device=device)
    assert topk_relu(few, 3).tolist() == [[0.0, 2.0, 0.0, 0.0]]


def test_tokens_are_chosen_from_one_by_one():
    x = torch.tensor([[1.0, 2.0], [30.0, 40.0]])
    assert topk_relu(x, 1).tolist() == [[0.0, 2.0], [0.0, 40.0]]


def test_all_of_them_are_relu():
    x = torch.randn(4, 7)
    assert torch.equal(TopK(7)(x), torch.relu(x))
    assert repr(TopK(7)) == "TopK(n_nonzero=7)"


def test_gradients_pass_through_kept_positive_entries():
    x = torch.tensor([[3.0, -1.0, 2.0, 1.0], [-1.0, -2.0, 5.0, -3.0]], requires_grad=True)
    (topk_relu(x, 2) * torch.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0, 100.0, 0.0], [0.0, 0.0, 100.0, 0.0]]


def test_a_network_learns_with_it():
    x = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] * x[:, 1] > 0).long()
    model = nn.Sequential(nn.Linear(6, 64), TopK(8), nn.Linear(64, 2))
    initialise(model, "lecun_normal", torch.Generator().manual_seed(0))
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        adam.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    assert int((model[:2](x) != 0).sum(1).max()) <= 8


@pytest.mark.parametrize("k", [0, -1, 1.5, True, None])
def test_wrong_counts_are_named(k):
    with pytest.raises(ValueError, match="n_nonzero must be an integer from 1"):
        TopK(k)


def test_more_than_there_are():
    with pytest.raises(ValueError, match="n_nonzero must be at most the number of features; got 5"):
        TopK(5)(torch.ones(2, 4))
