"""Exact spectra by every method."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowrank.references import energy, random_blocks, tail_energy

from sparsetheory.lowrank import block_svd_error
from sparsetheory.lowrank.spectra import thin_svd


@pytest.mark.parametrize("method", ["auto", "svd", "gram_rows", "gram_cols"])
def test_exact_error_by_every_method(family, method):
    for rank in (1, 3, 7):
        error = block_svd_error(family, rank, method=method)
        truth = tail_energy(family, rank)
        assert error.interval.contains(truth)
        assert error.absolute**2 == pytest.approx(truth, rel=1e-9, abs=1e-12 * error.energy)


@pytest.mark.parametrize("digits", [4, 6, 7, 8])
def test_tiny_errors_keep_their_digits(rng, digits):
    # A Gram matrix cannot resolve relative errors below 1e-7; "auto" must not use one there.
    u, v = (np.linalg.qr(rng.standard_normal((50, 4)))[0] for _ in range(2))
    block = u @ np.diag([1.0, 0.5, 0.25, 10.0**-digits]) @ v.T
    expected = 10.0**-digits / np.sqrt(1 + 0.25 + 0.0625)
    assert block_svd_error([block], 3).relative == pytest.approx(expected, rel=1e-5)


@given(
    st.integers(0, 10**6), st.integers(1, 8), st.booleans(), st.sampled_from(["auto", "svd", "gram_rows", "gram_cols"])
)
def test_interval_contains_truth(seed, rank, complex_valued, method):
    blocks = random_blocks(seed, complex_valued)
    error = block_svd_error(blocks, rank, method=method)
    assert error.interval.contains(tail_energy(blocks, rank))
    assert error.energy == pytest.approx(energy(blocks))
    assert error.singular_values.size == min(len(blocks[0]), sum(b.shape[1] for b in blocks))
    assert (np.diff(error.singular_values) <= 0).all()


@pytest.mark.parametrize("scale", [1e-200, 1e-150, 1e150, 1e200])
def test_scale(rng, scale):
    blocks = [rng.standard_normal((7, 3)) for _ in range(3)]
    plain, scaled = block_svd_error(blocks, 2), block_svd_error([scale * b for b in blocks], 2)
    assert scaled.relative == pytest.approx(plain.relative, rel=1e-12)
    assert scaled.absolute / scale == pytest.approx(plain.absolute, rel=1e-12)
    assert scaled.singular_values / scale == pytest.approx(plain.singular_values, rel=1e-12)
    assert np.sqrt(scaled.interval.upper) * scaled.interval.unit / scale == pytest.approx(plain.absolute, rel=1e-9)


def test_zero_blocks_and_full_rank_have_error_zero():
    assert block_svd_error([np.zeros((3, 2))] * 2, 1).relative == 0.0
    assert block_svd_error([np.eye(3)], 7).absolute == 0.0


def test_the_robust_driver_takes_over(monkeypatch, rng):
    def fail(*_, **__):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fail)
    block = rng.standard_normal((5, 3))
    u, s, vh = thin_svd(block)
    assert u * s @ vh == pytest.approx(block)
