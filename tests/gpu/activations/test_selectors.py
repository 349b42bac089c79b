"""Selectors against a stable sort, their ties, and the proximal operators behind thresholds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.gpu.activations import (
    ColumnScaled,
    Largest,
    Nonzero,
    ProxSupport,
    ReluThreshold,
    SizeThreshold,
    SparseLinear,
    from_prox,
)
from sparsetheory.penalties import L0


def _integers(*shape, seed=0):
    """Small integers: many ties."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).double()


def _stable(scores, k):
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
    mask = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(mask, order, True, axis=-1)
    return mask


@given(st.integers(0, 2**31), st.integers(1, 9), st.booleans())
@settings(max_examples=50, deadline=None)
def test_largest_is_a_stable_sort(seed, k, magnitude):
    x = _integers(4, 2, 9, seed=seed)
    scores = x.abs() if magnitude else x
    assert np.array_equal(Largest(k, magnitude)(x).numpy(), _stable(scores.numpy(), k))


def test_the_lowest_index_wins_ties(device):
    kept = Largest(5)(torch.ones(300, device=device))
    assert kept.device.type == device
    assert kept.nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
    half = torch.full((2, 50), 0.1, dtype=torch.float16, device=device)
    assert Largest(7)(half).sum(-1).tolist() == [7, 7]


def test_each_token_has_its_own_largest():
    x = torch.tensor([[9.0, 8.0, 7.0], [1.0, 2.0, 3.0]])
    assert Largest(1)(x).tolist() == [[True, False, False], [False, False, True]]


def test_thresholds_and_zeros(device):
    x = torch.tensor([-1.0, -0.0, 0.0, 0.25, 0.5], device=device)
    assert ReluThreshold()(x).tolist() == [False, False, False, True, True]
    assert ReluThreshold(0.25)(x).tolist() == [False, False, False, True, True]
    assert Nonzero()(x).tolist() == [True, False, False, True, True]


@pytest.mark.parametrize(
    "selector",
    [
        ReluThreshold(),
        ReluThreshold(0.5),
        Nonzero(),
        ColumnScaled(torch.ones(2), 0.5),
        ColumnScaled(None, 0.5),
        SizeThreshold(0.5),
        from_prox(1.0, 0.5),
    ],
)
def test_what_is_no_number_is_kept_so_that_it_shows(selector):
    assert selector(torch.tensor([torch.nan, 0.0])).tolist() == [True, False]


def test_column_scaled_is_saved_with_its_layer():
    first, second = (SparseLinear(torch.eye(2), ColumnScaled(torch.ones(2), t)) for t in (0.5, 2.0))
    second.load_state_dict(first.state_dict())
    assert second(torch.tensor([1.0, 0.1])).tolist() == [1.0, 0.0]


def test_column_scaled_compares_what_entries_add(device):
    generator = torch.Generator().manual_seed(1)
    weight, x = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((6, 9), (4, 9)))
    parts = (x[:, None, :] * weight).norm(dim=1)
    kept = ColumnScaled(weight.norm(dim=0), 1.5)(x.to(device)).cpu()
    assert torch.equal(kept, parts > 1.5)
    assert 0 < kept.sum() < kept.numel()


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0])
def test_the_support_of_a_proximal_operator(q):
    x = torch.linspace(-3, 3, 241, dtype=torch.float64)
    grid = torch.linspace(0, 4, 40001, dtype=torch.float64)
    selector = from_prox(q, 0.7)
    size = grid**q if q else (grid > 0).double()
    best = torch.stack([grid[((grid - v.abs()) ** 2 / 2 + 0.7 * size).argmin()] * v.sign() for v in x])
    assert torch.allclose(selector.value(x), best, rtol=0.0, atol=1e-4)
    assert torch.equal(selector(x), best != 0)
    assert torch.equal(from_prox(q, 0.7, positive=True)(x), (best != 0) & (x > 0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ReluThreshold(-0.1), r"threshold must be a finite non-negative number; got -0\.1"),
        (lambda: ReluThreshold(float("nan")), "threshold must be"),
        (lambda: Largest(0), "n_nonzero must be an integer from 1"),
        (lambda: Largest(2.5), "n_nonzero must be an integer"),
        (lambda: Largest(4)(torch.ones(3)), "n_nonzero must be at most the number of features; got 4"),
        (lambda: Largest(1)(torch.tensor([1.0, torch.nan])), "x must not hold NaN"),
        (lambda: ColumnScaled(torch.tensor([-1.0]), 0.0), "scale must be a vector without negative entries"),
        (lambda: ColumnScaled(torch.ones(2), float("inf")), "threshold must be"),
        (lambda: from_prox(1.5, 1.0), r"q must be a number in \[0, 1\]"),
        (lambda: ProxSupport("l1"), "penalty must be a Penalty"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_penalty_is_a_selector():
    assert ProxSupport(L0(0.5))(torch.tensor([-2.0, 0.9])).tolist() == [True, False]
