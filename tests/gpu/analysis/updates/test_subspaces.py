"""Subspaces that several runs share: against singular values of all changes side by side."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu import analysis


def runs(n_out=12, n_in=8, n_runs=3, rank=2, noise=0.0, seed=0):
    """Runs that change disjoint columns by vectors of one subspace."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((n_out, rank))
    start = {"w": torch.from_numpy(rng.standard_normal((n_out, n_in))), "b": torch.zeros(n_out, dtype=torch.float64)}
    ends = []
    for run in range(n_runs):
        change = np.zeros((n_out, n_in))
        change[:, run::n_runs] = base @ rng.standard_normal((rank, len(range(run, n_in, n_runs))))
        change += noise * rng.standard_normal(change.shape)
        ends.append({"w": start["w"] + torch.from_numpy(change), "b": start["b"]})
    return start, ends


def test_disjoint_supports_in_one_subspace():
    start, ends = runs()
    masks = [analysis.update_mask(start, end, tol=1e-12) for end in ends]
    assert analysis.overlap(masks[0], masks[1]).o1 == 0.0
    found = analysis.shared_subspace(start, ends, rank=2)
    assert list(found) == ["w"]
    assert found["w"].captured == pytest.approx((1.0, 1.0, 1.0))
    assert found["w"].interval.decide(1e-6) is True


def test_interval_holds_the_exact_error_and_shares_are_projections():
    start, ends = runs(noise=0.3)
    found = analysis.shared_subspace(start, ends, rank=2)["w"]
    changes = [(end["w"] - start["w"]).numpy() for end in ends]
    spectrum = np.linalg.svd(np.hstack(changes), compute_uv=False)
    exact = float(np.sum(spectrum[2:] ** 2))
    assert found.interval.lower <= exact * (1 + 1e-12)
    assert exact <= found.interval.upper * (1 + 1e-12)
    assert np.allclose(found.basis.T @ found.basis, np.eye(2))
    for change, captured, own in zip(changes, found.captured, found.own_captured, strict=True):
        inside = found.basis @ (found.basis.T @ change)
        assert captured == pytest.approx(np.sum(inside**2) / np.sum(change**2))
        assert own == pytest.approx(np.sum(np.linalg.svd(change, compute_uv=False)[:2] ** 2) / np.sum(change**2))
        assert captured <= own + 1e-12


def test_ranks_of_small_matrices_are_cut():
    start, ends = runs(n_out=3)
    found = analysis.shared_subspace(start, ends, rank=10)["w"]
    assert found.basis.shape[1] <= 3
    assert found.captured == pytest.approx((1.0, 1.0, 1.0))


def test_runs_without_a_change():
    start, _ = runs()
    found = analysis.shared_subspace(start, [start, start], rank=2)["w"]
    assert found.captured == (1.0, 1.0)


def test_runs_of_two_subspaces_are_told_apart():
    start, first = runs(seed=1, n_runs=3)
    rng = np.random.default_rng(9)
    other = rng.standard_normal((12, 2))
    second = [
        {"w": start["w"] + torch.from_numpy(other @ rng.standard_normal((2, 8))), "b": start["b"]} for _ in range(2)
    ]
    ends = [first[0], second[0], first[1], second[1]]
    found = analysis.cluster_updates(start, ends, "w", rank=2, eps=0.05)
    assert found.labels.tolist() == [0, 1, 0, 1]
    assert found.certificate.check(found.changes).valid


def test_a_run_that_moves_further_does_not_decide_alone():
    """A run a hundred times as far in another subspace would hide what the others do not share."""
    start, first = runs(seed=1, n_runs=2, noise=0.0)
    rng = np.random.default_rng(3)
    far = {"w": start["w"] + 1e2 * torch.from_numpy(rng.standard_normal((12, 1)) @ rng.standard_normal((1, 8)))}
    ends = [*first, far | {"b": start["b"]}]
    assert analysis.cluster_updates(start, ends, "w", rank=2, eps=0.1).labels.tolist() == [0, 0, 1]


def test_bad_arguments():
    start, ends = runs()
    with pytest.raises(ValueError, match="runs must hold"):
        analysis.shared_subspace(start, [], rank=2)
    with pytest.raises(ValueError, match="rank must be"):
        analysis.shared_subspace(start, ends, rank=0)
    with pytest.raises(ValueError, match=r"name must be one of the matrices \['w'\]"):
        analysis.cluster_updates(start, ends, "b", rank=2, eps=0.1)
    with pytest.raises(ValueError, match=r"numbers \[1\] do not"):
        analysis.cluster_updates(start, [ends[0], start], "w", rank=2, eps=0.1)
    with pytest.raises(ValueError, match="eps must be"):
        analysis.cluster_updates(start, ends, "w", rank=2, eps=-0.1)
    tied, one, other = torch.zeros(3, 3), torch.eye(3), torch.ones(3, 3)
    with pytest.raises(ValueError, match=r"runs must tie the same matrices; some but not all tie \['v'\]"):
        analysis.shared_subspace({"u": tied, "v": tied}, [{"u": one, "v": one}, {"u": one, "v": other}], rank=1)
