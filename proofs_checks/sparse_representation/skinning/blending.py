"""Weights on the simplex, and what errors of weights do to a surface."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation, solvers
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_ROUNDING = 1e-11


@dataclass(frozen=True)
class Row:
    """A vector, and how many nonzeros its projection may have."""

    values: tuple[float, ...]
    n_nonzero: int

    def nearest(self) -> float:
        """Return the squared distance of the nearest point of the simplex, from all supports one by one.

        On a support all entries are lowered by one number, so that they sum to one; where one turns negative, another
        support has a nearer point.
        """
        values, best = np.array(self.values), np.inf
        for size in range(1, self.n_nonzero + 1):
            for support in combinations(range(len(values)), size):
                x = np.zeros(len(values))
                x[list(support)] = values[list(support)] + (1 - values[list(support)].sum()) / size
                if (x >= 0).all():
                    best = min(best, float(np.square(x - values).sum()))
        return best


def _rows() -> st.SearchStrategy[Row]:
    values = st.lists(st.integers(-8, 8).map(lambda n: n / 4), min_size=1, max_size=6).map(tuple)
    return values.flatmap(lambda row: st.builds(Row, st.just(row), st.integers(1, len(row))))


def _distance(row: Row, *, first: bool) -> Measurement:
    """Compare the distance of the projection with the least one, and with constraints that are broken."""
    W = tensor(np.array([row.values]))
    if first:
        found = array(solvers.simplex_project(W, row.n_nonzero))[0]
    else:
        # The slip: project on the whole simplex, and cut the largest ones out of that.
        whole = array(solvers.simplex_project(W))[0]
        found = np.where(whole >= np.sort(whole)[-row.n_nonzero], whole, 0.0)
        found /= found.sum()
    broken = max(abs(found.sum() - 1), -found.min(), float((found > 0).sum() > row.n_nonzero))
    distance = float(np.square(found - np.array(row.values)).sum())
    scale = 1.0 + float(np.square(row.values).sum())
    return Measurement(max(distance - row.nearest(), broken), 0.0, scale)


simplex_projection = Claim(
    name="sparse_representation.simplex_projection",
    summary="Projecting the k largest entries on their own simplex is the nearest point with k nonzeros, exactly.",
    statement=r"\|w - P_\Delta(\operatorname{top}_k w)\|"
    r" = \min \{\|w - x\| : x \ge 0, \textstyle\sum_i x_i = 1, \|x\|_0 \le k\}",
    source=Source(
        "Kyrillidis, Becker, Cevher, Koch: Sparse projections onto the simplex, 2013", "theorem 1", "1206.1529"
    ),
    verdict=Always(_ROUNDING),
    instances=_rows,
    evaluate=lambda row: _distance(row, first=True),
    near_miss=lambda row: _distance(row, first=False),
)


@dataclass(frozen=True)
class Blend:
    """Points, bones that move, and two tables of weights; a quarter of the rows is on one bone."""

    n_vertices: int
    n_bones: int
    seed: int

    def draw(self) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        """Return points, maps, and both tables, whose rows sum to one."""
        rng = np.random.default_rng(self.seed)
        points = rng.standard_normal((self.n_vertices, 3))
        maps = rng.standard_normal((self.n_bones, 3, 4))
        tables = rng.dirichlet(np.full(self.n_bones, 0.5), size=(2, self.n_vertices))
        alone = rng.random((2, self.n_vertices)) < 0.25
        tables[alone] = np.eye(self.n_bones)[rng.integers(self.n_bones, size=int(alone.sum()))]
        return points, maps, tables[0], tables[1]


def _blends() -> st.SearchStrategy[Blend]:
    return st.builds(Blend, st.integers(1, 12), st.integers(1, 6), seeds)


def _moved(points: Float64Array, weights: Float64Array, maps: Float64Array) -> Float64Array:
    moved = representation.linear_blend_skinning(*map(tensor, (points, weights, maps)))
    return np.asarray(array(moved), dtype=np.float64)


def _together(blend: Blend, total: float) -> Measurement:
    """Compare points under bones that all move alike with their images under that one map."""
    points, maps, weights, _ = blend.draw()
    same = np.broadcast_to(maps[:1], maps.shape)
    expected = points @ maps[0, :, :3].T + maps[0, :, 3]
    error = np.abs(_moved(points, total * weights, same) - expected).max()
    return Measurement(float(error), 0.0, float(np.abs(expected).max() + 1))


blend_of_equals = Claim(
    name="sparse_representation.blend_of_equals",
    summary="Bones that all move alike carry every point along, whatever its weights; at rest nothing moves.",
    statement=r"T_1 = \cdots = T_B = T \;\Rightarrow\; \textstyle\sum_b s_b T_b x = T x",
    source=Source.classic("folklore", "weights that sum to one"),
    verdict=Always(_ROUNDING),
    instances=_blends,
    evaluate=lambda blend: _together(blend, 1.0),
    near_miss=lambda blend: _together(blend, 1.01),
)


def _error(blend: Blend) -> Measurement:
    """Compare how far two tables carry points apart with the diameter of what the bones alone do, and with its radius.

    The difference of two rows has parts of equal sums, half the l1 distance each, so it moves mass over pairs of bones.
    """
    points, maps, one, other = blend.draw()
    apart = np.linalg.norm(_moved(points, one, maps) - _moved(points, other, maps), axis=1)
    alone = np.einsum("bij,nj->nbi", maps[:, :, :3], points) + maps[:, :, 3]
    distances = np.linalg.norm(alone[:, :, None] - alone[:, None], axis=-1)
    l1 = np.abs(one - other).sum(axis=1)
    halves = l1 / 2 * distances.max(axis=(1, 2))
    radii = l1 * np.linalg.norm(alone - alone.mean(axis=1, keepdims=True), axis=-1).max(axis=1)
    # The vertex that comes closest to its bound decides.
    at = int(np.argmax(apart - halves))
    return Measurement.chain(float(apart[at]), float(halves[at]), {"radius": float(radii[at])}, scale=1.0 + halves[at])


blend_error = Claim(
    name="sparse_representation.blend_error",
    summary="An error of weights moves a point by at most half its l1 norm times the diameter of the bones' images.",
    statement=r"\|\textstyle\sum_b (s_b - s'_b) T_b x\|"
    r" \le \tfrac12 \|s - s'\|_1 \max_{b, b'} \|T_b x - T_{b'} x\| \le \|s - s'\|_1 \max_b \|T_b x - c\|",
    source=Source.ours("parts of a difference of rows with equal sums; two rows on one bone each attain the first"),
    verdict=Always(_ROUNDING),
    instances=_blends,
    evaluate=_error,
    near_miss=0.9,
)
