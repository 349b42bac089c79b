"""Claims about scale and shift of a prior, and about the rotation between two sets of normals."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_RANFTL = "Ranftl, Lasinger, Hafner, Schindler, Koltun (2022)"


@dataclass(frozen=True, eq=False)
class Depths:
    """A prior, a depth map, weights, and an affine map of the prior."""

    prior: Float64Array
    depth: Float64Array
    weights: Float64Array
    factor: float
    offset: float

    def fit(self, prior: Float64Array, *, robust: bool = False) -> tuple[float, Float64Array]:
        """Return the loss, and the aligned prior."""
        found = representation.align_scale_shift(tensor(prior), tensor(self.depth), tensor(self.weights), robust)
        return found.loss, found.scale * prior + found.shift

    @property
    def mapped(self) -> Float64Array:
        """The prior after the map."""
        return self.factor * self.prior + self.offset

    @property
    def scale(self) -> float:
        """Mean square of the depth, the unit of the loss."""
        return float(np.square(self.depth).mean())


def _draw(seed: int, n: int, factor: float, offset: float, noise: float) -> Depths:
    rng = np.random.default_rng(seed)
    prior, weights = rng.standard_normal(n), rng.random(n) * (rng.random(n) < 0.8)
    weights[:2] = 1.0
    depth = rng.normal() * prior + rng.normal() + noise * rng.standard_normal(n) + 0.1
    return Depths(prior, depth, weights, factor, offset)


def _depths(factors: tuple[float, ...], offsets: tuple[float, ...]) -> st.SearchStrategy[Depths]:
    numbers = st.sampled_from((3, 10, 50))
    noises = st.sampled_from((0.0, 0.1, 1.0))
    return st.builds(_draw, seeds, numbers, st.sampled_from(factors), st.sampled_from(offsets), noises)


def _invariant(case: Depths, *, robust: bool) -> Measurement:
    """Compare losses and aligned priors before and after the map."""
    (before, aligned), (after, mapped) = (case.fit(prior, robust=robust) for prior in (case.prior, case.mapped))
    error = max(abs(before - after) / case.scale, float(np.square(aligned - mapped).max()) / case.scale)
    return Measurement(error, 0.0, scale=1.0)


alignment_invariance = Claim(
    name="sparse_representation.alignment_invariance",
    summary="Scale, shift and sign of a prior do not matter to its least-squares fit; medians need the right sign.",
    statement=r"p \to c p + e,\ c \ne 0 \;\Rightarrow\; \min_{a, b} \sum_j w_j (a p_j + b - z_j)^2 \text{ stays}",
    source=Source.classic(_RANFTL, "scale- and shift-invariant loss; the robust form is the near miss"),
    verdict=Always(1e-9),
    instances=lambda: _depths((2.0, -0.5, -1e3, 1e-3), (0.0, 5.0, -20.0)),
    evaluate=lambda case: _invariant(case, robust=False),
    near_miss=lambda case: _invariant(case, robust=True),
)

robust_alignment_invariance = Claim(
    name="sparse_representation.robust_alignment_invariance",
    summary="The fit by medians does not change under positive scales and shifts of the prior.",
    statement=r"p \to c p + e,\ c > 0 \;\Rightarrow\; \text{medians and mean distances give the same fit}",
    source=Source.classic(_RANFTL, "robust scale and shift; another sign is the near miss"),
    verdict=Always(1e-9),
    instances=lambda: _depths((2.0, 1e3, 1e-3), (0.0, 5.0, -20.0)),
    evaluate=lambda case: _invariant(case, robust=True),
    near_miss=lambda case: _invariant(replace(case, factor=-case.factor), robust=True),
)


def _normal_equations(case: Depths, prior: Float64Array) -> float:
    """Return the loss of the solution of normal equations with raw sums."""
    w, z = case.weights / case.weights.sum(), case.depth
    matrix = np.array([[(w * prior * prior).sum(), (w * prior).sum()], [(w * prior).sum(), 1.0]])
    scale, shift = np.linalg.lstsq(matrix, np.array([(w * prior * z).sum(), (w * z).sum()]), rcond=None)[0]
    middle = (w * prior).sum()
    return float((w * (scale * (prior - middle) + (shift + scale * middle) - z) ** 2).sum())


def _far_away(case: Depths, *, raw: bool) -> Measurement:
    """Compare the loss of a prior with a large offset with that of numpy's least squares without the offset.

    An offset of 1e8 leaves 8 digits of the prior.
    """
    prior = case.prior + case.offset
    root = np.sqrt(case.weights / case.weights.sum())
    design = np.column_stack([prior - case.offset, np.ones(prior.size)]) * root[:, None]
    solution = np.linalg.lstsq(design, root * case.depth, rcond=None)[0]
    expected = float(np.square(design @ solution - root * case.depth).sum())
    found = _normal_equations(case, prior) if raw else case.fit(prior)[0]
    return Measurement(abs(found - expected), 0.0, scale=case.scale)


alignment_offset = Claim(
    name="sparse_representation.alignment_offset",
    summary="A prior with a large offset is aligned as well as without it; raw normal equations lose all digits.",
    statement=r"p \to p + 10^8: \quad |\text{loss} - \text{loss}_0| \le 10^{-6}\, \overline{z^2}",
    source=Source.ours("means are taken away first"),
    verdict=Always(1e-6),
    instances=lambda: _depths((1.0,), (1e4, 1e8)),
    evaluate=lambda case: _far_away(case, raw=False),
    near_miss=lambda case: _far_away(case, raw=True),
)


def _affine(case: Depths, *, ignore_weights: bool) -> Measurement:
    """Compare the loss with zero where the depth is affine in the prior, and with the noise where it is not."""
    depth = case.factor * case.prior + case.offset
    # Entries without weight may be anything.
    exact = replace(case, depth=np.where(case.weights > 0, depth, 1e3))
    if ignore_weights:
        exact = replace(exact, weights=np.ones_like(exact.weights))
    loss = exact.fit(exact.prior)[0]
    bent = replace(exact, depth=exact.depth + (np.arange(depth.size) == 0) * 1.0)
    left = bent.fit(bent.prior)[0]
    found = Measurement(loss / float(np.square(depth).max() + 1), 0.0, scale=1.0)
    return found.and_chain({"least loss of a bent depth": 1e-9, "its loss": left})


def _determined(case: Depths) -> bool:
    """Leave out maps with so few weights that they fit anything."""
    return int((case.weights > 0).sum()) > 3


alignment_zero = Claim(
    name="sparse_representation.alignment_zero",
    summary="The loss is zero where the depth is an affine function of the prior, and above zero where it is not.",
    statement=r"\text{loss} = 0 \iff z_j = a p_j + b \text{ for all } j \text{ with } w_j > 0",
    source=Source.classic("Legendre (1805)", "least squares"),
    verdict=Always(1e-12),
    instances=lambda: _depths((2.0, -0.5), (0.0, 5.0)).filter(_determined),
    evaluate=lambda case: _affine(case, ignore_weights=False),
    near_miss=lambda case: _affine(case, ignore_weights=True),
)


@dataclass(frozen=True, eq=False)
class Normals:
    """Unit normals before and after a rotation or reflection, with noise."""

    n: Float64Array
    m: Float64Array
    seed: int


def _draw_normals(seed: int, count: int, noise: float, mirrored: bool) -> Normals:
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    turn *= np.linalg.det(turn) * (-1.0 if mirrored else 1.0)
    n = rng.standard_normal((count, 3))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    m = n @ turn.T + noise * rng.standard_normal((count, 3))
    return Normals(n, m / np.linalg.norm(m, axis=1, keepdims=True), seed)


def _normals() -> st.SearchStrategy[Normals]:
    return st.builds(
        _draw_normals, seeds, st.sampled_from((1, 2, 5, 40)), st.sampled_from((0.0, 0.2, 2.0)), st.booleans()
    )


def _rotation(case: Normals, *, any_sign: bool) -> Measurement:
    """Compare squared distances with those of random rotations and small turns; and R with a rotation."""
    if any_sign:
        left, _, right = np.linalg.svd(case.m.T @ case.n)
        R = left @ right
    else:
        R = np.asarray(array(representation.kabsch(tensor(case.n), tensor(case.m))))
    rng = np.random.default_rng(case.seed)
    turns = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(20)]
    turns = [turn * np.linalg.det(turn) for turn in turns]
    turns += [R @ (np.eye(3) + step - step.T) for step in 1e-3 * rng.standard_normal((5, 3, 3))]
    # The last ones are rotations up to the square of the step.
    turns[-5:] = [np.linalg.svd(turn)[0] @ np.linalg.svd(turn)[2] for turn in turns[-5:]]
    reached, *others = (float(np.square(case.n @ turn.T - case.m).sum()) for turn in (R, *turns))
    off = float(np.abs(R.T @ R - np.eye(3)).max()) + abs(float(np.linalg.det(R)) - 1)
    return Measurement(reached, min(others), scale=float(len(case.n))).and_chain({"off": off, "zero": 0.0})


rotation_of_normals = Claim(
    name="sparse_representation.rotation_of_normals",
    summary="The rotation from a singular value decomposition is the best one, and never a reflection.",
    statement=r"R = \arg\min_{R^\top R = I,\ \det R = 1} \sum_i \|R n_i - m_i\|^2",
    source=Source.classic("Kabsch (1976)", "best rotation; the best orthogonal matrix is the near miss"),
    verdict=Always(1e-11),
    instances=_normals,
    evaluate=lambda case: _rotation(case, any_sign=False),
    near_miss=lambda case: _rotation(case, any_sign=True),
)
