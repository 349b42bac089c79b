"""Fastfood projections against their factors, written as matrices."""

import pytest
import torch
from scipy.linalg import hadamard

from sparsetheory.gpu.dimension import FastfoodProjection


def factors(d, D, seed):
    """The matrices of the definition, drawn in the order of the definition."""
    L = 1
    while L < D:
        L *= 2
    generator = torch.Generator().manual_seed(seed)
    B = 2.0 * torch.randint(2, (L,), generator=generator, dtype=torch.int8).double() - 1.0
    permutation = torch.randperm(L, generator=generator)
    G = torch.randn(L, generator=generator, dtype=torch.float64)
    return torch.as_tensor(hadamard(L)).double(), B, permutation, G


@pytest.mark.parametrize(("d", "D"), [(1, 2), (3, 50), (17, 50), (60, 60), (64, 64), (5, 2000)])
def test_it_is_the_product_of_its_factors(d, D):
    H, B, permutation, G = factors(d, D, 1)
    L = len(H)
    if D >= 50:
        # An involution would hide that the adjoint needs the inverse permutation.
        assert not torch.equal(permutation[permutation], torch.arange(L))
    full = H @ (G[:, None] * (H @ torch.diag(B))[permutation]) / (D**0.5 * G.norm())
    P = FastfoodProjection(d, D, generator=1, dtype=torch.float64)
    torch.testing.assert_close(P.to_dense(), full[:D, :d])
    torch.testing.assert_close(P.adjoint(torch.eye(D, dtype=torch.float64)), full[:D, :d])


def test_plain_derivatives_agree_with_the_adjoint():
    d, D = 13, 90
    H, B, permutation, G = factors(d, D, 2)
    P = FastfoodProjection(d, D, generator=2, dtype=torch.float64)
    weights = torch.linspace(-1, 2, D, dtype=torch.float64)

    def plain(t):
        padded = torch.cat((t, torch.zeros(len(H) - d, dtype=torch.float64)))
        return (H @ (G * (H @ (B * padded))[permutation]) / (D**0.5 * G.norm()))[:D]

    gradients = []
    for multiply in (plain, P.apply):
        t = torch.linspace(0, 1, d, dtype=torch.float64, requires_grad=True)
        (weights * multiply(t).sin()).sum().backward()
        gradients.append(t.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("d", [7, 40_000])
def test_the_form_for_devices_is_the_kernel(d, monkeypatch):
    # From 2**15 components on, the permutation takes 32 bits.
    P = FastfoodProjection(d, 50_000, dtype=torch.float64)
    assert P.index.dtype == (torch.int16 if d == 7 else torch.int32)
    generator = torch.Generator().manual_seed(0)
    t = torch.randn(2, d, dtype=torch.float64, generator=generator)
    g = torch.randn(2, 50_000, dtype=torch.float64, generator=generator)
    compiled = P.apply(t), P.adjoint(g)
    for module in ("fastfood", "hadamard"):
        monkeypatch.setattr(f"sparsetheory.gpu.dimension.projections.{module}.in_kernel_type", lambda _: False)
    torch.testing.assert_close((P.apply(t), P.adjoint(g)), compiled)


@pytest.mark.parametrize("seed", range(3))
def test_columns_have_length_one_where_nothing_is_cut(seed):
    norms = FastfoodProjection(100, 1024, generator=seed, dtype=torch.float64).column_norms()
    torch.testing.assert_close(norms, torch.ones(100, dtype=torch.float64), rtol=1e-12, atol=0)
    assert float((FastfoodProjection(100, 1024, generator=seed).column_norms() - 1).abs().max()) < 1e-5


def test_half_a_thousand_thousand_parameters_are_padded_once():
    assert len(FastfoodProjection(2, 2**19).index) == 2**19
    assert len(FastfoodProjection(2, 2**19 + 1).index) == 2**20


def test_a_state_of_another_period_is_an_error():
    P = FastfoodProjection(6, 90)
    with pytest.raises(ValueError, match="signs of state must have shape"):
        P.load_state_dict(FastfoodProjection(9, 90).state_dict())


@pytest.mark.parametrize("wrong", [8, -1])
def test_a_state_with_places_outside_is_an_error(wrong):
    P = FastfoodProjection(6, 90)
    index = P.index.clone()
    index[3] = wrong
    with pytest.raises(ValueError, match="index of state must be from 0 to 7"):
        P.load_state_dict({**P.state_dict(), "index": index})
