"""Compiled clusterings against literal scans."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.lowrank.greedy import max_norm_labels
from sparsetheory.numba_kernels.pair_bounds import pair_lower_bounds
from sparsetheory.numba_kernels.rank_allocation import union_walk


def _scan(energies, widths, caps, rank, eps, patience):
    """Follow the algorithm literally: one candidate after another, on shrinking lists."""
    remaining = sorted(range(len(energies)), key=lambda k: (-energies[k], k))
    labels, label, failures = [-1] * len(energies), 0, 0
    while remaining:
        seed = [remaining[0]]
        for k in remaining[1:]:
            if sum(widths[i] for i in seed) + widths[k] > rank:
                break
            seed.append(k)
        cap = caps[seed[0]] if len(seed) == 1 else sum(energies[k] for k in seed)
        cluster, energy = list(seed), sum(energies[k] for k in seed)
        for k in reversed(remaining[len(seed) :]):
            if energy + energies[k] - cap > eps**2 * (energy + energies[k]):
                break
            cluster.append(k)
            energy += energies[k]
        failures = failures + 1 if len(cluster) == len(seed) else 0
        if failures >= patience:
            for k in remaining:
                labels[k] = label
                label += 1
            break
        for k in cluster:
            labels[k] = label
        remaining = [k for k in remaining if k not in cluster]
        label += 1
    return labels


@given(
    st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 6), st.sampled_from([0.05, 0.3, 0.7]), st.integers(1, 4)
)
def test_partial_sums_replace_the_scan(seed, count, rank, eps, patience):
    rng = np.random.default_rng(seed)
    energies = 10.0 ** rng.uniform(-4, 1, count)
    widths = rng.integers(1, 5, count)
    caps = np.where(widths > rank, energies * rng.uniform(0.5, 1, count), energies)
    found = max_norm_labels(energies, rank, eps, n_rows=10, widths=widths, caps=caps, patience=patience)
    assert found.tolist() == _scan(energies, widths, caps, rank, eps, patience)


def test_large_tolerance_joins_everything():
    assert max_norm_labels([3.0, 2.0, 1.0], 1, 1.0, n_rows=5).tolist() == [0, 0, 0]


@pytest.mark.parametrize("skip", [False, True])
def test_union_walk_against_sorting(rng, skip):
    rank, eps = 3, 0.5
    spectra = np.sort(rng.exponential(size=(30, rank)) ** 3, axis=1)[:, ::-1].copy()
    energies = spectra.sum(axis=1) * 1.01
    kept, energy, expected = spectra[0].copy(), energies[0], []
    for k in range(1, 30):
        trial = np.sort(np.concatenate([kept, spectra[k]]))[::-1][:rank]
        passes = energy + energies[k] - trial.sum() <= eps**2 * (energy + energies[k])
        expected.append(passes)
        if passes:
            kept, energy = trial, energy + energies[k]
        elif not skip:
            expected += [False] * (29 - len(expected))
            break
    out = spectra[0].copy()
    found = union_walk(spectra, energies, np.arange(1, 30), out, energies[0], eps**2, 0.0, skip)
    assert found.tolist() == expected
    assert any(expected)
    assert out == pytest.approx(kept)


def test_pair_bounds_are_below_exact_errors(rng):
    rank, blocks = 2, [rng.standard_normal((30, 3)) * 10.0 ** rng.uniform(-1, 1) for _ in range(8)]
    squares = np.array([np.linalg.svd(b, compute_uv=False) ** 2 for b in blocks])
    cross = np.array([[np.linalg.norm(a.T @ b) ** 2 for b in blocks] for a in blocks])
    bounds = pair_lower_bounds(
        squares.sum(axis=1), np.diag(cross).copy(), cross, squares[:, rank:].sum(axis=1),
        np.ascontiguousarray(squares[:, :rank]), np.zeros(8), np.full(8, 3), 30, 0, np.arange(1, 8),
    )  # fmt: skip
    exact = []
    for b in blocks[1:]:
        both = np.linalg.svd(np.hstack([blocks[0], b]), compute_uv=False) ** 2
        exact.append(both[rank:].sum() / both.sum())
    assert (bounds <= np.array(exact) + 1e-12).all()
    assert (bounds > 0.3 * np.array(exact)).all()
