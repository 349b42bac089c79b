"""Bounds hold, are attained, and are those of the norms that a cache keeps."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from sparsetheory.gpu.attention import SparseKVCache, key_pruning_bound, sigma_k, stechkin_bound, value_pruning_bound
from sparsetheory.gpu.attention.cache.cache_bounds import DroppedNorms


@given(
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    window=st.integers(0, 3),
    heads=st.sampled_from([(1, 1), (2, 4)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_a_cache_never_errs_by_more_than_it_says(scale, window, heads, dtype, seed):
    draws = torch.Generator().manual_seed(seed)
    k, v = torch.randn(2, 1, heads[0], 70, 8, generator=draws, dtype=torch.float64).to(dtype)
    q = scale * torch.randn(1, heads[1], 2, 8, generator=draws).to(dtype)
    cache = SparseKVCache(window, 0.5, 0.3)
    cache.append(k, v)
    exact = functional.scaled_dot_product_attention(q.double(), k.double(), v.double(), enable_gqa=True)
    bound = cache.error_bound(q)
    error = (cache.attend(q).double() - exact).norm(dim=-1)
    rounding = (1e-12 if dtype == torch.float64 else 1e-4) * (1 + scale)
    assert bound.output_change.shape == error.shape
    assert bool((error <= bound.output_change + rounding).all())


def test_two_groups_of_keys_attain_the_bound():
    # Two keys: scores change by eta and -eta, and the raised one begins with the mass 1 / (1 + e^eta).
    eta = 1.5
    q = torch.tensor([[1.0]], dtype=torch.float64)
    k = torch.tensor([[-eta / 2], [eta / 2]], dtype=torch.float64)
    change = torch.tensor([[eta], [-eta]], dtype=torch.float64)
    old, new = (torch.softmax(q @ keys.mT, -1) for keys in (k, k + change))
    moved = (old - new).abs().sum() / 2
    assert float(moved) == pytest.approx(math.tanh(eta / 2), abs=1e-12)
    assert float(key_pruning_bound(q, change)) == pytest.approx(float(moved), abs=1e-12)


def test_a_common_change_of_keys_moves_nothing(device):
    q, change = torch.randn(3, 4, device=device), torch.ones(5, 4, device=device)
    assert float(key_pruning_bound(q, change).abs().max()) < 1e-6
    assert float(key_pruning_bound(q, change, a_priori=True).min()) > 0.0


def test_values_that_change_alike_attain_the_bound(device):
    attention = torch.softmax(torch.randn(3, 5, device=device, dtype=torch.float64), -1)
    change = torch.tensor([3.0, 4.0], device=device, dtype=torch.float64).expand(5, 2)
    found = value_pruning_bound(attention, change)
    assert torch.allclose(found, (attention @ change).norm(dim=-1))


def test_flat_vectors_attain_stechkins_bound(device):
    for q in (0.5, 1.0, 1.5):
        x = torch.ones(12, device=device, dtype=torch.float64)
        kept = round(12 * (1 - q / 2))
        assert float(stechkin_bound(x, kept, q)) == pytest.approx(float(sigma_k(x, kept)), rel=1e-12)


def test_arguments_of_norms_are_checked():
    x = torch.ones(2, 4)
    assert sigma_k(x, 4).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="n_nonzero must be an integer from 0 to 4"):
        sigma_k(x, 5)
    with pytest.raises(ValueError, match="n_nonzero must be an integer from 1 to 4"):
        stechkin_bound(x, 0)
    for q in (0.0, 2.0):
        with pytest.raises(ValueError, match="q must be"):
            stechkin_bound(x, 1, q)


def test_stored_norms_of_what_was_dropped_are_rounded_upwards():
    v = torch.randn(1, 2, 500, 8, generator=torch.Generator().manual_seed(0))
    norms = DroppedNorms.empty(v).extended(v, v, v, torch.zeros_like(v)).v_norms
    assert (norms.double() >= v.double()[0].norm(dim=-1)).all()
