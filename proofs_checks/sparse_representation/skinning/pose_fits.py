"""Skinning weights from poses of synthetic rigs: how many poses tell, and what noise costs."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import Always, Attains, ScalesAs, WithProbability

_VERTICES, _POSES, _SUPPORT = 150, (1, 2, 3, 5), 0.01
_NOISES = (1e-3, 3e-3, 1e-2, 3e-2)


@dataclass(frozen=True)
class Tube:
    """A tube of eight bones, seen in some poses with noise."""

    n_poses: int
    noise_std: float
    seed: int

    def tables(self, n_poses: int | None = None, method: str = "swap") -> tuple[Any, Any]:
        """Return fitted and true weights."""
        import torch

        with one_thread():
            rig = representation.make_tube_rig(n_vertices=_VERTICES, generator=self.seed)
            rest, weights = rig.vertices.double(), rig.weights.double()
            weights = weights / weights.sum(1, keepdim=True)
            maps = representation.random_bone_motions(
                rig.heads.double(), n_poses or self.n_poses, generator=self.seed + 1
            )
            poses = representation.linear_blend_skinning(rest, weights, maps)
            source = torch.Generator().manual_seed(self.seed + 2)
            poses += self.noise_std * torch.randn(poses.shape, generator=source, dtype=torch.float64)
            return representation.skinning_from_poses(poses, maps, rest, method=method).weights, weights

    def score(self, n_poses: int | None = None) -> "representation.SkinningScore":
        """Return how far fitted weights are from the true ones."""
        return representation.skinning_score(*self.tables(n_poses), threshold=_SUPPORT)


def _tube(rng: np.random.Generator, n_poses: float, noise_std: float) -> Tube:
    return Tube(int(n_poses), noise_std, int(rng.integers(2**31)))


def _missed(tables: tuple[Any, Any]) -> float:
    """Return the share of vertices whose weights are wrong by more than rounding."""
    found, true = tables
    return float(((found - true).abs().sum(1) > 1e-6).double().mean())


def _exact(tube: Tube, fewer: int) -> Measurement:
    """Compare the share of vertices whose weights are not found with a hundredth."""
    n_poses = tube.n_poses - fewer
    dropped = {"missed without exchanges": _missed(tube.tables(n_poses, "drop"))}
    return Measurement(_missed(tube.tables(n_poses)), 0.01, 1.0, dropped)


skinning_from_two_poses = Claim(
    name="sparse_representation.skinning_from_two_poses",
    summary="Two poses without noise tell the weights of four bones per vertex; exchanges of bones find them.",
    statement=r"V_f = \textstyle\sum_b s_b T_{bf} x,\ f \le F,\ F \ge 2,\ \|s\|_0 \le 4"
    r" \;\Rightarrow\; \hat s = s \text{ at } 99\,\% \text{ of the vertices}",
    source=Source.measured(
        "synthetic tubes of eight bones; dropping small weights misses ten times as many; near miss: a pose less"
    ),
    verdict=WithProbability(0.9, margin=0.5),
    evaluate=lambda tube: _exact(tube, 0),
    near_miss=lambda tube: _exact(tube, 1),
    sweep=Sweep(
        axis="poses",
        values=_POSES[1:],
        draw=lambda rng, n_poses: _tube(rng, n_poses, 0.0),
        trials=30,
        quick_trials=10,
        measured_label="share of vertices missed",
        bound_label="0.01",
    ),
)


def _open(tube: Tube, n_poses: int | None) -> Measurement:
    """Compare the l1 error of the weights of a vertex, which explain the poses without an error, with 0.3."""
    score = tube.score(n_poses=n_poses)
    return Measurement(score.l1_per_vertex, 0.3, 1.0, {"IoU of supports": score.iou})


skinning_from_one_pose = Claim(
    name="sparse_representation.skinning_from_one_pose",
    summary="One pose leaves weights open: those that explain it without an error are far from the true ones.",
    statement=r"F = 1 \;\Rightarrow\; \tfrac1n \textstyle\sum_i \|\hat s_i - s_i\|_1 > 0.3"
    r" \text{ where } \sum_b \hat s_b T_b x = V",
    source=Source.measured("synthetic tubes: four bones and three coordinates; two poses are the near miss"),
    verdict=Attains(0.9, margin=0.4),
    evaluate=lambda tube: _open(tube, None),
    near_miss=lambda tube: _open(tube, 2),
    sweep=Sweep(
        axis="poses",
        values=_POSES[:1],
        draw=lambda rng, n_poses: _tube(rng, n_poses, 0.0),
        trials=30,
        quick_trials=10,
        measured_label="l1 error per vertex",
        bound_label="0.3",
    ),
)


def _noisy(tube: Tube, n_poses: int | None) -> Measurement:
    """Measure the l1 error of the weights of a vertex."""
    score = tube.score(n_poses=n_poses)
    return Measurement(score.l1_per_vertex, tube.noise_std, 1.0, {"1 - IoU of supports": 1 - score.iou})


skinning_noise = Claim(
    name="sparse_representation.skinning_noise",
    summary="From three poses on, the error of fitted weights is proportional to the noise of the poses.",
    statement=r"\tfrac1n \textstyle\sum_i \|\hat s_i - s_i\|_1 \propto \sigma \quad (F = 3)",
    source=Source.measured("synthetic tubes; with one pose, the near miss, the error hardly depends on the noise"),
    verdict=ScalesAs(1.0, tol=0.2),
    evaluate=lambda tube: _noisy(tube, None),
    near_miss=lambda tube: _noisy(tube, 1),
    sweep=Sweep(
        axis="standard deviation of the noise",
        values=_NOISES,
        draw=lambda rng, noise_std: _tube(rng, 3, noise_std),
        trials=20,
        quick_trials=6,
        log="xy",
        measured_label="l1 error per vertex",
        bound_label="noise",
    ),
)


@dataclass(frozen=True)
class Problem:
    """One vertex that no weights explain exactly, seen in two poses."""

    n_bones: int
    n_nonzero: int
    seed: int

    def draw(self) -> tuple[Any, Any, Any]:
        """Return poses, maps and the vertex at rest."""
        rng = np.random.default_rng(self.seed)
        return (
            tensor(rng.standard_normal((2, 1, 3))),
            tensor(rng.standard_normal((2, self.n_bones, 3, 4))),
            tensor(rng.standard_normal((1, 3))),
        )

    def best(self) -> float:
        """Return the least residual on at most `n_nonzero` bones, by a solver that takes the sum as a heavy row."""
        from scipy.optimize import nnls

        poses, maps, rest = map(array, self.draw())
        carried = (np.einsum("fbij,j->fbi", maps[..., :3], rest[0]) + maps[..., 3]).transpose(0, 2, 1)
        columns, best = carried.reshape(6, self.n_bones), np.inf
        for support in combinations(range(self.n_bones), self.n_nonzero):
            heavy = np.full((1, len(support)), 1e4)
            weights, _ = nnls(np.vstack([columns[:, support], heavy]), np.append(poses.ravel(), 1e4))
            # The heavy row is met nearly; the last digits are those of the sum.
            weights /= weights.sum()
            best = min(best, float(np.linalg.norm(columns[:, support] @ weights - poses.ravel())))
        return best


def _problems() -> st.SearchStrategy[Problem]:
    sizes = st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, min(n, 3))))
    return st.builds(lambda size, seed: Problem(size[0], size[1], seed), sizes, seeds)


def _bounded(problem: Problem, *, best: bool) -> Measurement:
    """Order the lower bound, the least residual of all supports, and the residual of the fit; look at the check."""
    poses, maps, rest = problem.draw()
    fit = representation.skinning_from_poses(poses, maps, rest, problem.n_nonzero, method="drop" if best else "swap")
    least, residual = problem.best(), float(fit.residuals[0])
    if best:
        return Measurement(residual, least, 1.0)
    fault = 0.0 if fit.certificate.check(poses, maps, rest).valid else np.inf
    return Measurement.chain(float(fit.lower_bounds[0]) + fault, least, {"residual": residual}, scale=1.0)


skinning_certificate = Claim(
    name="sparse_representation.skinning_certificate",
    summary="No weights beat the lower bound of a fit, and its check is passed; dropping small weights is not best.",
    statement=r"\min_b \langle c_b, u \rangle \le \min_{\|s\|_0 \le k,\, s \in \Delta} \|\textstyle\sum_b s_b c_b\|"
    r" \le \|\textstyle\sum_b \hat s_b c_b\|, \quad c_b = T_b x - v",
    source=Source.ours("the minimum over a convex hull lies beyond any plane that separates it from zero"),
    verdict=Always(1e-6),
    instances=_problems,
    evaluate=lambda problem: _bounded(problem, best=False),
    near_miss=lambda problem: _bounded(problem, best=True),
)
