"""Claim about small exponents: edges of the albedo keep their height, which soft thresholding takes from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array

__all__ = ["ALPHAS", "albedo_error", "best_albedo", "mondrian", "smooth_shading"]

_SIZE, _IMAGES = 64, 8
ALPHAS = tuple(float(alpha) for alpha in np.geomspace(3e-4, 1.0, 12))


def mondrian(rng: np.random.Generator, size: int = _SIZE) -> Float64Array:
    """Return logarithms of an albedo: rectangles in front of each other."""
    values = np.zeros((size, size))
    for _ in range(25):
        top, left = rng.integers(size, size=2)
        height, width = rng.integers(size // 8, size // 2, size=2)
        values[top : top + height, left : left + width] = rng.uniform(-1.5, 0.0)
    return values


def smooth_shading(rng: np.random.Generator, shape: tuple[int, int], waves: int = 3) -> Float64Array:
    """Return logarithms of a shading: a few long waves, of standard deviation 0.6."""
    down, right = (np.linspace(0, 1, length) for length in shape)
    total = np.zeros(shape)
    for k in range(waves):
        for m in range(waves):
            phase = rng.uniform(0, 2 * np.pi, size=2)
            wave = np.cos(np.pi * k * down + phase[0])[:, None] * np.cos(np.pi * m * right + phase[1])
            total += rng.standard_normal() / (1 + k + m) * wave
    return np.asarray(0.6 * (total - total.mean()) / total.std())


def albedo_error(found: Float64Array, truth: Float64Array) -> float:
    """Return the root mean square error of logarithms, up to a factor, relative to the spread of the truth."""
    return float((found - truth - (found - truth).mean()).std() / truth.std())


def best_albedo(logs: Float64Array, truth: Float64Array, q: float, coupled: bool = False) -> float:
    """Return the least error over strengths, as an oracle would choose them."""
    image = tensor(np.exp(logs))
    return min(
        albedo_error(np.asarray(array(representation.retinex(image, alpha, q, coupled).albedo)), truth)
        for alpha in ALPHAS
    )


@dataclass(frozen=True, eq=False)
class Pictures:
    """Albedos and shadings of several pictures, as logarithms, and an exponent."""

    albedos: tuple[Float64Array, ...]
    shadings: tuple[Float64Array, ...]
    q: float

    def mean_error(self, q: float) -> float:
        """Return the mean over pictures of the least error."""
        pairs = zip(self.albedos, self.shadings, strict=True)
        return float(np.mean([best_albedo(albedo + shading, albedo, q) for albedo, shading in pairs]))

    @cached_property
    def raw_error(self) -> float:
        """Return the error of taking pictures as albedos."""
        pairs = zip(self.albedos, self.shadings, strict=True)
        return float(np.mean([albedo_error(albedo + shading, albedo) for albedo, shading in pairs]))


def _draw(rng: np.random.Generator, q: float) -> Pictures:
    albedos = tuple(mondrian(rng) for _ in range(_IMAGES))
    return Pictures(albedos, tuple(smooth_shading(rng, (_SIZE, _SIZE)) for _ in albedos), q)


def _errors(case: Pictures) -> Measurement:
    """Compare the mean error for a small exponent with 0.9 of that for soft thresholding."""
    soft = case.mean_error(1.0)
    return Measurement(case.mean_error(case.q), 0.9 * soft, scale=1.0, extras={"picture as albedo": case.raw_error})


def _other_way(case: Pictures) -> Measurement:
    """Expect soft thresholding to be better."""
    return Measurement(case.mean_error(1.0), 0.9 * case.mean_error(case.q), scale=1.0)


retinex_exponents = Claim(
    name="sparse_representation.retinex_exponents",
    summary="Exponents 0 and 1/2 find albedos better than 1, which lowers every edge by the same amount.",
    statement=r"q \in \{0, \tfrac{1}{2}\}: \quad \min_\alpha \mathrm{err}_q \le 0.9 \min_\alpha \mathrm{err}_1"
    r" \text{ in the mean of 8 pictures}",
    source=Source.measured("synthetic: 64 x 64 pixels, 25 rectangles, shading of long waves, strengths by an oracle"),
    verdict=WithProbability(0.9, margin=0.55),
    evaluate=_errors,
    near_miss=_other_way,
    sweep=Sweep(
        axis="exponent q",
        values=(0.0, 0.5),
        draw=_draw,
        trials=12,
        quick_trials=5,
        measured_label="error of the albedo",
        bound_label="0.9 of that for q = 1",
        y_label="relative error",
    ),
)
