"""Claims about albedo and shading that hold for every picture: sums, limits, units, and the best edges."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_ROUNDING = 1e-11
_SOURCE = Source.ours("the edges of the albedo are one proximal operator each")


@dataclass(frozen=True, eq=False)
class Picture:
    """Logarithms of brightness of one or several pictures, strength and exponent."""

    logs: Float64Array
    alpha: float
    q: float

    def split(self) -> tuple[Float64Array, Float64Array]:
        """Return logarithms of albedo and shading."""
        found: Any = representation.retinex(tensor(np.exp(self.logs)), self.alpha, self.q)
        return np.asarray(array(found.albedo)), np.asarray(array(found.shading))

    @property
    def edges(self) -> Float64Array:
        """All differences of neighbouring pixels of the mean picture."""
        mean = self.logs.reshape(-1, *self.logs.shape[-2:]).mean(0)
        return np.concatenate([np.diff(mean, axis=0).ravel(), np.diff(mean, axis=1).ravel()])

    @property
    def scale(self) -> float:
        """Largest size of a logarithm, or one."""
        return max(float(np.abs(self.logs).max()), 1.0)


def _draw(seed: int, shape: tuple[int, ...], alpha: float, q: float, spread: float) -> Picture:
    rng = np.random.default_rng(seed)
    return Picture(spread * rng.standard_normal(shape), alpha, q)


def _pictures(shapes: tuple[tuple[int, ...], ...]) -> st.SearchStrategy[Picture]:
    return st.builds(
        _draw,
        seeds,
        st.sampled_from(shapes),
        st.sampled_from((0.02, 0.3, 1.0)),
        st.sampled_from((0.0, 0.3, 0.5, 0.9, 1.0)),
        st.sampled_from((0.3, 2.0)),
    )


def _all_shapes() -> st.SearchStrategy[Picture]:
    return _pictures(((2, 2), (5, 4), (1, 7), (3, 4, 5)))


def _limits(case: Picture, *, centred: bool) -> Measurement:
    """Compare the sum with the picture, and the albedo with what it is for no strength and for a large one."""
    mean = case.logs.reshape(-1, *case.logs.shape[-2:]).mean(0)
    albedo, shading = case.split()
    free = replace(case, alpha=0.0).split()[0]
    # No edge can pay for a jump of any exponent, or for a slope.
    strong = 2 * float(np.abs(case.edges).max() + np.square(case.edges).max()) * max(len(case.logs), 1) + 1.0
    flat = replace(case, alpha=strong).split()[0]
    wanted = mean - mean.mean() if centred else mean
    errors = [np.abs(albedo + shading - case.logs).max(), np.abs(free - wanted).max(), np.abs(flat).max()]
    return Measurement(float(max(errors)), 0.0, scale=case.scale)


retinex_limits = Claim(
    name="sparse_representation.retinex_limits",
    summary="Albedo and shading make up the picture; without penalty all of it is albedo, with a strong one nothing.",
    statement=r"i = r + s, \quad \alpha = 0 \Rightarrow r = i - \bar i, \quad \alpha \to \infty \Rightarrow r = 0",
    source=_SOURCE,
    verdict=Always(_ROUNDING),
    instances=_all_shapes,
    evaluate=lambda case: _limits(case, centred=True),
    near_miss=lambda case: _limits(case, centred=False),
)


def _brighter(case: Picture, *, raw: bool) -> Measurement:
    """Compare albedos before and after all brightness is multiplied by ten; the near miss splits brightness itself."""
    if raw:
        # The picture itself in place of its logarithm.
        before, after = (replace(case, logs=factor * np.exp(case.logs)).split()[0] for factor in (1.0, 10.0))
    else:
        before, after = (replace(case, logs=case.logs + shift).split()[0] for shift in (0.0, np.log(10.0)))
    return Measurement(float(np.abs(before - after).max()), 0.0, scale=case.scale)


def _no_ties(case: Picture) -> bool:
    """Leave out pictures with an edge where rounding decides whether it stays: there albedos jump."""
    strength = case.alpha / (len(case.logs) if case.logs.ndim == 3 else 1)
    if case.q == 1.0:
        return True
    q = case.q
    jump = (2 * strength * (1 - q)) ** (1 / (2 - q))
    limit = jump * (2 - q) / (2 - 2 * q)
    return bool((np.abs(np.abs(case.edges) - limit) > 1e-9).all())


retinex_brightness = Claim(
    name="sparse_representation.retinex_brightness",
    summary="A brighter picture has the same albedo: the light takes the factor.",
    statement=r"i \to i + c \;\Rightarrow\; r \to r,\ s \to s + c",
    source=_SOURCE,
    verdict=Always(_ROUNDING),
    instances=lambda: _all_shapes().filter(_no_ties),
    evaluate=lambda case: _brighter(case, raw=False),
    near_miss=lambda case: _brighter(case, raw=True),
)


def _best_edges(case: Picture, *, soft: bool) -> Measurement:
    """Compare the objective of each edge with the least on a grid, for pictures of one row, whose edges all fit."""
    found = np.diff(case.split()[0]).ravel()
    edges, alpha, q = case.edges, case.alpha, case.q
    if soft:
        found = np.sign(edges) * np.maximum(np.abs(edges) - alpha, 0)

    def objective(g: Float64Array) -> Float64Array:
        # What is zero but for the rounding of sums costs nothing.
        size = np.where(np.abs(g) < 1e-10, 0.0, np.abs(g))
        powers = (size > 0).astype(float) if q == 0 else size**q
        return np.asarray((g - edges[:, None]) ** 2 / 2 + alpha * powers)

    grid = np.linspace(0, 1.2, 2401) * edges[:, None]
    reached, least = objective(found[:, None])[:, 0], objective(grid).min(axis=1)
    return Measurement.worst(reached, least, scale=float(np.square(edges).sum()) + alpha)


retinex_edges = Claim(
    name="sparse_representation.retinex_edges",
    summary="No edge of the albedo can be changed to lower its objective, for all exponents from 0 to 1.",
    statement=r"g_e = \arg\min_g \tfrac{1}{2} (g - (\nabla i)_e)^2 + \alpha |g|^q",
    source=Source.classic("Xu, Chang, Xu, Zhang (2012)", "thresholding operators, against a grid of 2401 points"),
    verdict=Always(1e-9),
    instances=lambda: _pictures(((1, 12), (1, 2))),
    evaluate=lambda case: _best_edges(case, soft=False),
    near_miss=lambda case: _best_edges(case, soft=True),
)
