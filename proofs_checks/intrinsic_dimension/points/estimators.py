"""Claims about estimators of intrinsic dimension: what does not change them, and how far they are off on cubes."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dimension
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.intrinsic_dimension.points.clouds import cubes
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

# Points lie within 100 of the origin and their neighbours some 0.01 apart: a difference errs by 1e-12 of itself, and a
# mean of logarithms divided by their mean by a hundred times that.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Moved:
    """Points, and a similarity that takes them into more coordinates."""

    seed: int
    n_samples: int
    n_features: int
    scale: float

    @property
    def points(self) -> Float64Array:
        """Points of a cube, bent a little."""
        X = np.random.default_rng(self.seed).random((self.n_samples, self.n_features))
        return X + 0.3 * X[:, :1] ** 2

    def similar(self, stretch: float = 1.0) -> Float64Array:
        """Return the points padded by zeros, rotated, scaled and shifted; a stretch of one coordinate is none of it."""
        rng = np.random.default_rng(self.seed + 1)
        X = np.pad(self.points, ((0, 0), (0, 2)))
        X[:, 0] *= stretch
        rotation = np.linalg.qr(rng.standard_normal((X.shape[1], X.shape[1])))[0]
        return np.asarray(self.scale * (X @ rotation + 10 * rng.standard_normal(X.shape[1])))


def _change(case: Moved, moved: Float64Array) -> Measurement:
    before, after = ([dimension.mle_dimension(X, 5), dimension.twonn_dimension(X)] for X in (case.points, moved))
    return Measurement(float(np.max(np.abs(np.array(after) / before - 1))), 0.0, scale=1.0)


def _similar(case: Moved) -> Measurement:
    """Compare both estimates before and after."""
    return _change(case, case.similar())


def _stretched(case: Moved) -> Measurement:
    """Expect the same although one coordinate is stretched by 1.1."""
    return _change(case, case.similar(1.1))


estimator_invariance = Claim(
    name="intrinsic_dimension.estimator_invariance",
    summary="Rotation, shift, scaling and further zero coordinates leave both estimates of dimension as they are.",
    statement=r"\hat d(c\,[X \; 0]\,Q + \mathbf 1 t^T) = \hat d(X), \quad Q^T Q = I, \; c \ne 0",
    source=Source.ours("both estimators see ratios of distances only"),
    verdict=Always(rtol=_ROUNDING),
    instances=lambda: st.builds(
        Moved,
        st.integers(0, 2**32 - 2),
        st.integers(8, 60),
        st.integers(2, 5),
        st.sampled_from((1e-6, -1.0, 3.0, 1e6)),
    ),
    evaluate=_similar,
    near_miss=_stretched,
)


@dataclass(frozen=True)
class Cubes:
    """A seed, and a dimension with the next smaller one."""

    seed: int
    dimension: int

    def estimates(self, d: int) -> tuple[float, float]:
        """Return both estimates for a cube of a dimension; larger ones have more points."""
        X = cubes(self.seed + d, d, 1000 if d < 10 else 2000)
        return dimension.mle_dimension(X), dimension.twonn_dimension(X)


_DIMENSIONS = (1, 2, 5, 10)


def _off(case: Cubes) -> Measurement:
    """Compare the larger relative error of both estimates with 0.2, or 0.25 in dimension 10, and both in order."""
    before = case.estimates(_DIMENSIONS[_DIMENSIONS.index(case.dimension) - 1])
    here = case.estimates(case.dimension)
    errors = [abs(estimate / case.dimension - 1) for estimate in here]
    found = Measurement(max(errors), 0.2 if case.dimension < 10 else 0.25, scale=1.0)
    found = found.and_chain({"maximum likelihood, one smaller": before[0], "maximum likelihood": here[0]})
    return found.and_chain({"two neighbours, one smaller": before[1], "two neighbours": here[1]})


cube_dimension = Claim(
    name="intrinsic_dimension.cube_dimension",
    summary="On cubes of up to 5 dimensions both estimates are within a fifth, and within a quarter in 10.",
    statement=r"|\hat d / d - 1| \le 0.2 \; (d \le 5), \; 0.25 \; (d = 10), \quad \hat d \text{ grows with } d",
    source=Source.measured("uniform cubes in random subspaces, 1000 points, or 2000 in dimension 10"),
    verdict=WithProbability(0.9, margin=0.5),
    evaluate=_off,
    near_miss=0.5,
    sweep=Sweep(
        axis="dimension of the cube",
        values=_DIMENSIONS[1:],
        draw=lambda rng, d: Cubes(int(rng.integers(2**31)), int(d)),
        trials=20,
        quick_trials=6,
        log="xy",
        measured_label="larger relative error",
        bound_label="accepted",
        y_label="relative error; estimates",
    ),
)
