"""Claims about sparse differences of a whole image: the fused lasso, and when edges must fit together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.regression import lasso_path
from sparsetheory.typing import Float64Array

_TOL, _STEPS = 1e-8, 20_000


@dataclass(frozen=True, eq=False)
class Image:
    """An image and a strength."""

    values: Float64Array
    alpha: float


def _draw(seed: int, shape: tuple[int, int], alpha: float) -> Image:
    rng = np.random.default_rng(seed)
    blocks = np.repeat(np.repeat(rng.standard_normal((shape[0], (shape[1] + 3) // 4)), 4, axis=1), 1, axis=0)
    return Image(2 * blocks[:, : shape[1]] + 0.3 * rng.standard_normal(shape), alpha)


def _images(shapes: tuple[tuple[int, int], ...]) -> st.SearchStrategy[Image]:
    return st.builds(_draw, seeds, st.sampled_from(shapes), st.sampled_from((0.05, 0.3, 1.0)))


def _denoised(case: Image) -> Float64Array:
    return np.asarray(array(representation.tv_denoise(tensor(case.values), case.alpha, tol=_TOL, max_iter=_STEPS)))


def _lasso(case: Image, *, centred: bool) -> Measurement:
    """Compare with the lasso whose columns are steps and whose constant is free."""
    y = case.values[0]
    steps = np.tril(np.ones((y.size, y.size)))[:, 1:]
    path = lasso_path(steps, y, alphas=[case.alpha / y.size], tol=1e-12, fit_intercept=centred)
    expected = path.predict(steps)[:, 0]
    return Measurement(float(np.abs(_denoised(case)[0] - expected).max()), 0.0, scale=float(np.abs(y).max()))


fused_lasso = Claim(
    name="sparse_representation.fused_lasso",
    summary="Denoising a row by total variation is a lasso whose columns are steps, with a free constant.",
    statement=r"\min_u \tfrac{1}{2} \|u - y\|^2 + \alpha \sum_j |u_{j+1} - u_j| = \min_{b, c}"
    r" \tfrac{1}{2} \|c + L b - y\|^2 + \alpha \|b\|_1, \quad u = c + L b",
    source=Source.classic("Tibshirani, Saunders, Rosset, Zhu, Knight (2005)", "fused lasso, as a lasso on steps"),
    verdict=Always(1e-5),
    instances=lambda: _images(((1, 8), (1, 40))),
    evaluate=lambda case: _lasso(case, centred=True),
    near_miss=lambda case: _lasso(case, centred=False),
)


def _albedo(case: Image, *, coupled: bool) -> Float64Array:
    options: dict[str, Any] = {"coupled": True, "tol": _TOL, "max_iter": _STEPS} if coupled else {}
    return np.asarray(array(representation.retinex(tensor(np.exp(case.values)), case.alpha, **options).albedo))


def _objective(case: Image, albedo: Float64Array) -> float:
    total = 0.0
    for axis in (0, 1):
        edges = np.diff(albedo, axis=axis)
        total += float(np.square(edges - np.diff(case.values, axis=axis)).sum() / 2 + case.alpha * np.abs(edges).sum())
    return total


def _coupled(case: Image, *, swapped: bool) -> Measurement:
    """Compare objectives of both albedos, and of ones near the coupled one; on a row both are one albedo."""
    rng = np.random.default_rng(0)
    coupled, separate = _albedo(case, coupled=not swapped), _albedo(case, coupled=swapped)
    reached = _objective(case, coupled)
    moves = [1e-3 * rng.standard_normal(case.values.shape) for _ in range(5)]
    others = [_objective(case, other) for other in [separate, *(coupled + move for move in moves), 0 * coupled]]
    found = Measurement(reached, min(others), scale=_objective(case, case.values) + 1e-3)
    gap = float(np.abs(coupled - separate).max()) if len(case.values) == 1 else 0.0
    return found.and_chain({"gap on a row": gap, "zero": 0.0})


coupled_retinex = Claim(
    name="sparse_representation.coupled_retinex",
    summary="Where edges must fit together, the coupled albedo has the least objective; on one row they always do.",
    statement=r"r = \arg\min_r \tfrac{1}{2} \|\nabla (r - i)\|^2 + \alpha \|\nabla r\|_1; \quad"
    r" \text{one row: } r \text{ is that of separate edges}",
    source=Source.ours("every field on a row is a gradient"),
    verdict=Always(1e-6),
    instances=lambda: _images(((1, 9), (4, 6), (6, 5))),
    evaluate=lambda case: _coupled(case, swapped=False),
    near_miss=lambda case: _coupled(case, swapped=True),
)
