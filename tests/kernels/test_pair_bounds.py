"""Lower bounds on joint errors never exceed them, and are not idle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.pair_bounds import pair_lower_bounds


def _arguments(blocks, rank):
    squares = [np.linalg.svd(b, compute_uv=False) ** 2 for b in blocks]
    spectra = np.zeros((len(blocks), rank))
    for row, values in zip(spectra, squares, strict=True):
        row[: min(rank, values.size)] = values[:rank]
    cross = np.array([[np.linalg.norm(a.conj().T @ b) ** 2 for b in blocks] for a in blocks])
    energies, errors = (np.array([f(s) for s in squares]) for f in (np.sum, lambda s: s[rank:].sum()))
    widths = np.array([b.shape[1] for b in blocks])
    return energies, np.diag(cross).copy(), cross, errors, spectra, np.zeros(len(blocks)), widths, len(blocks[0])


def _exact(first, second, rank):
    squares = np.linalg.svd(np.hstack([first, second]), compute_uv=False) ** 2
    return squares[rank:].sum() / squares.sum()


def _reference(arguments, a, b):
    """The three bounds, written down one by one."""
    energies, overlaps, cross, errors, spectra, losses, widths, m = arguments
    rank, e = spectra.shape[1], energies[a] + energies[b]
    bounds = [errors[a] + errors[b]]
    n = min(m, widths[a] + widths[b])
    if n >= rank:
        q = overlaps[a] + overlaps[b] + 2 * cross[a, b]
        bounds.append(e - rank * e / n - np.sqrt(max(q - e**2 / n, 0) * rank * (n - rank) / n))
    union = np.sort(np.concatenate([spectra[a], spectra[b]]))[::-1][:rank].sum()
    shared = min(rank, widths[a], widths[b])
    bounds.append(e - union - losses[a] - losses[b] - np.sqrt(shared * cross[a, b]))
    return max(bounds) / e


@given(st.integers(0, 10**6), st.integers(1, 5), st.booleans())
def test_bounds_are_below_exact_errors(seed, rank, complex_valued):
    rng = np.random.default_rng(seed)
    blocks = [rng.standard_normal((9, n)) * 10.0 ** rng.uniform(-2, 2) for n in rng.integers(1, 7, 6)]
    if complex_valued:
        blocks = [b + 1j * rng.standard_normal(b.shape) for b in blocks]
    blocks[5] = 2 * blocks[0]
    arguments, others = _arguments(blocks, rank), np.array([3, 1, 5])
    # What summaries lost is added back: half of the spectrum's first value, and a loss of as much.
    arguments[4][1] *= 0.5
    arguments[5][1] = arguments[4][1].sum()
    bounds = pair_lower_bounds(*arguments, 0, others)
    assert bounds == pytest.approx([_reference(arguments, 0, b) for b in others], abs=1e-12)
    assert (bounds <= [_exact(blocks[0], blocks[b], rank) + 1e-9 for b in others]).all()


def test_bounds_are_tight_for_unrelated_blocks(rng):
    blocks = [rng.standard_normal((2000, 3)) for _ in range(4)]
    bounds = pair_lower_bounds(*_arguments(blocks, 2), 0, np.arange(1, 4))
    exact = [_exact(blocks[0], b, 2) for b in blocks[1:]]
    assert (bounds > 0.85 * np.array(exact)).all()


@pytest.mark.parametrize("scale", [1e-60, 1e-82, 1e-100, 1e-140])
def test_overlaps_that_underflow_bound_nothing(rng, scale):
    # Duplicates have joint error 0 at rank 3; an overlap of 0 instead of e^2 would promise an error of a half.
    block = scale * rng.standard_normal((12, 3))
    assert pair_lower_bounds(*_arguments([block, 2 * block], 3), 0, np.array([1]))[0] <= 1e-12
