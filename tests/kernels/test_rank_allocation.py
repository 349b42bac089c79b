"""Compiled clusterings against literal scans."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.lowrank.clustering.greedy import max_norm_labels
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


def test_equal_energies_keep_their_order():
    found = max_norm_labels([1.0, 1.0, 1.0, 1.0], 2, 0.1, n_rows=5, patience=10)
    assert found.tolist() == [0, 0, 1, 1]


def test_patience_counts_failures_in_a_row():
    # Three equal blocks never fit together; the tiny ones fit behind the first seed and reset the count.
    energies = [9.0, 8.0, 7.0, 6.0, 1e-3]
    assert max_norm_labels(energies, 1, 0.1, n_rows=5, patience=1).tolist() == [0, 1, 2, 3, 0]
    assert max_norm_labels(energies[:4], 2, 0.1, n_rows=5, patience=1).tolist() == [0, 1, 2, 3]
    assert max_norm_labels(energies[:4], 2, 0.1, n_rows=5, patience=2).tolist() == [0, 0, 1, 2]


def test_no_block_is_lost_when_a_seed_of_several_stays_alone(rng):
    energies = rng.uniform(1.0, 1.5, 40)
    labels = max_norm_labels(energies, 8, 0.2, n_rows=30, patience=100)
    assert np.bincount(labels).tolist() == [8] * 5


def test_wide_seed_counts_only_what_the_rank_captures():
    arguments = {"energies": [10.0, 0.01], "rank": 2, "eps": 0.3, "n_rows": 9, "widths": [5, 1]}
    assert max_norm_labels(**arguments, caps=[9.5, 0.01]).tolist() == [0, 0]
    assert max_norm_labels(**arguments, caps=[8.0, 0.01]).tolist() == [0, 1]


def _walk(spectra, energies, candidates, kept, energy, threshold, skip):
    accepted = []
    for k in candidates:
        trial = np.sort(np.concatenate([kept, spectra[k]]))[::-1][: kept.size]
        total = energy + energies[k]
        accepted.append(total - trial.sum() <= threshold * total)
        if accepted[-1]:
            kept, energy = trial, total
        elif not skip:
            break
    return accepted + [False] * (len(candidates) - len(accepted)), kept


@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.05, 0.2, 0.5]), st.booleans())
def test_union_walk_against_sorting(seed, rank, eps, skip):
    rng = np.random.default_rng(seed)
    spectra = np.sort(rng.exponential(size=(30, rank)) ** 3, axis=1)[:, ::-1].copy()
    spectra[rng.random(30) < 0.5, rank // 2 :] = 0.0
    energies = spectra.sum(axis=1) * (1 + rng.choice([0.0, 0.1], 30)) + 1e-6
    candidates = rng.permutation(np.arange(1, 30))
    expected, expected_kept = _walk(spectra, energies, candidates, spectra[0], energies[0], eps**2, skip)
    kept = spectra[0].copy()
    found = union_walk(spectra, energies, candidates, kept, energies[0], eps**2, 0.0, skip)
    assert found.tolist() == expected
    assert kept == pytest.approx(expected_kept)


def test_union_walk_does_both():
    # One that fits, one that does not, one that fits again.
    spectra = np.array([[9.0], [0.01], [5.0], [0.02]])
    for skip, expected in ((True, [True, False, True]), (False, [True, False, False])):
        found = union_walk(spectra, spectra[:, 0].copy(), np.arange(1, 4), spectra[0].copy(), 9.0, 0.01, 0.0, skip)
        assert found.tolist() == expected


def test_slack_counts_against_a_candidate():
    one = np.ones((2, 1))
    for slack, expected in ((0.0, [True]), (1e-9, [False])):
        assert (
            union_walk(one, one[:, 0].copy(), np.array([1]), one[0].copy(), 1.0, 0.5, slack, False).tolist() == expected
        )
