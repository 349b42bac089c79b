"""Claims about one subspace without noise: the error is zero if and only if the points span it."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.molrg.instances import PAPER
from sparsetheory.proofs_checks.verdicts import Always

# Bases of nearly dependent points lose digits.
_ROUNDING = 1e-7


@dataclass(frozen=True)
class Points:
    """Points on one subspace: dimensions, how many, of which rank, and the seed."""

    n: int
    width: int
    count: int
    rank: int
    seed: int


def _points() -> SearchStrategy[Points]:
    return st.builds(
        lambda n, width, count, rank, seed: Points(n, min(width, n), count, min(rank, count, width, n), seed),
        st.integers(2, 12),
        st.integers(1, 6),
        st.integers(1, 9),
        st.integers(1, 6),
        st.integers(0, 2**20),
    )


def _draw(rng: np.random.Generator, count: float) -> Points:
    return Points(48, 8, int(count), min(int(count), 8), int(rng.integers(2**20)))


def _errors(points: Points) -> tuple[float, float, float]:
    """Return the error of the fit, that of the worst maximiser, and what the worst one leaves of the points."""
    import torch

    source = torch.Generator().manual_seed(points.seed)
    with one_thread():
        frame = torch.linalg.qr(torch.randn(points.n, points.n, dtype=torch.float64, generator=source)).Q
        truth, outside = frame[:, : points.width], frame[:, points.width :]
        # Points that span a part of the subspace: well-conditioned directions, mixed.
        spread = torch.randn(points.count, points.rank, dtype=torch.float64, generator=source)
        spread[: points.rank] += 3 * torch.eye(points.rank)
        turn = torch.linalg.qr(torch.randn(points.width, points.rank, dtype=torch.float64, generator=source)).Q
        X = spread @ (truth @ turn).mT
        fit = representation.k_subspaces(X, 1, points.width, generator=points.seed + 1)
        spanned = torch.linalg.svd(X, full_matrices=False).Vh[: points.rank].mT
        # The worst completion goes out of the subspace as long as there is room, and then back into it.
        inside = truth - spanned @ (spanned.mT @ truth)
        rest = torch.linalg.svd(inside, full_matrices=False).U[:, : points.width - points.rank]
        worst = torch.linalg.qr(torch.cat([spanned, outside, rest], dim=1)[:, : points.width]).Q
        left = float((X - X @ worst @ worst.mT).norm() / X.norm())
        errors = [float(representation.subspace_error(basis, truth)) for basis in (fit.bases[0], worst)]
    return errors[0], errors[1], left


def _bound(points: Points, rank: int) -> float:
    return float((2 * max(min(points.width - rank, points.n - points.width), 0)) ** 0.5)


def _sharp(points: Points) -> Measurement:
    """Bound the error of the fit by what is missing, which the worst of all maximisers attains."""
    error, worst, left = _errors(points)
    attained = worst if left <= _ROUNDING else np.nan
    both_ways = (("worst maximiser", "bound"), ("bound", "worst maximiser"))
    return Measurement(error, _bound(points, points.rank), 1.0, {"worst maximiser": attained}, both_ways)


def _early(points: Points) -> Measurement:
    """Expect the subspace of one dimension more than the points span."""
    error, _, _ = _errors(points)
    return Measurement(error, _bound(points, points.rank + 1), 1.0)


sharp_transition = Claim(
    name="sparse_representation.sharp_transition",
    summary="Without noise a subspace is found if and only if the points span it: from N = d points on, at once.",
    statement=r"r = \operatorname{rank} X: \quad \max_{\hat U \text{ optimal}}"
    r" \|\hat U \hat U^T - U U^T\|_F = \sqrt{2 \min(d - r, n - d)}, \quad = 0 \iff r = d \text{ for } d < n",
    source=Source(PAPER, "sample complexity without noise; all maximisers, ours", "2409.02426", "ours"),
    verdict=Always(_ROUNDING),
    instances=_points,
    evaluate=_sharp,
    near_miss=_early,
    sweep=Sweep(
        axis="points N, on a subspace of dimension 8 in 48",
        values=(2, 3, 4, 5, 6, 7, 8, 9),
        draw=_draw,
        trials=20,
        quick_trials=5,
        measured_label="K-subspaces, K = 1",
        bound_label="root of 2 (d - N)",
        y_label="distance of subspaces",
    ),
)


def _identity(points: Points, factor: float) -> Measurement:
    """Compare the distance of two projections with the trace of their product, both from dense matrices."""
    import torch

    source = torch.Generator().manual_seed(points.seed)
    with one_thread():
        first, second = (
            torch.linalg.qr(torch.randn(points.n, points.width, dtype=torch.float64, generator=source)).Q
            for _ in range(2)
        )
        found = float(representation.subspace_error(first, second)) ** 2
        trace = float(torch.trace(first @ first.mT @ second @ second.mT))
        dense = float((first @ first.mT - second @ second.mT).square().sum())
    expected = 2 * (points.width - factor * trace)
    return Measurement(abs(found - expected) + abs(dense - expected), 0.0, 2.0 * points.width)


projection_distance = Claim(
    name="sparse_representation.projection_distance",
    summary="The squared distance of two subspaces is twice the dimension less twice the trace of their projections.",
    statement=r"\|U U^T - V V^T\|_F^2 = 2 \left( d - \operatorname{tr}(U U^T V V^T) \right)",
    source=Source.classic("folklore", "chordal distance"),
    verdict=Always(1e-12),
    instances=_points,
    evaluate=lambda points: _identity(points, 1.0),
    near_miss=lambda points: _identity(points, 0.5),
)
