"""Claims about the sharpness of labels and the radius that it certifies, which hold exactly."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dimension
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source
from sparsetheory.proofs_checks.intrinsic_dimension.points.clouds import (
    Cloud,
    labelled_clouds,
    pair_distances,
    smallest_between,
)
from sparsetheory.proofs_checks.verdicts import Always

# Differences of given numbers, some six squares and a root.
_ROUNDING = 1e-13


def _inverse_distance(case: Cloud) -> Measurement:
    """Compare with the smallest distance by differences of all pairs."""
    found = dimension.label_sharpness(case.points, case.labels)
    return Measurement(abs(found.value * smallest_between(case.points, case.labels) - 1), 0.0, scale=1.0)


def _same_label(case: Cloud) -> Measurement:
    """Compare pairs of the same label, in two orders of the rows, as the published function does."""
    rng = np.random.default_rng(case.seed)
    first, second = rng.permutation(case.n_samples), rng.permutation(case.n_samples)
    distances = np.linalg.norm(case.points[first] - case.points[second], axis=1)
    kept = (case.labels[first] == case.labels[second]) & (distances > 0)
    published = float((1 / distances[kept]).max()) if kept.any() else 0.0
    return Measurement(abs(published * smallest_between(case.points, case.labels) - 1), 0.0, scale=1.0)


sharpness_is_inverse_distance = Claim(
    name="intrinsic_dimension.sharpness_is_inverse_distance",
    summary="Label sharpness is one over the smallest distance between classes, also where products err.",
    statement=r"\max_{j, k} \frac{1(y_j \ne y_k)}{\|x_j - x_k\|} = \Bigl(\min_{y_j \ne y_k} \|x_j - x_k\|\Bigr)^{-1}",
    source=Source(
        "Konz and Mazurowski, The Effect of Intrinsic Dataset Properties, 2024", "label sharpness", "2401.08865"
    ),
    verdict=Always(rtol=_ROUNDING),
    instances=labelled_clouds,
    evaluate=_inverse_distance,
    near_miss=_same_label,
)


@dataclass(frozen=True)
class Scaled:
    """Labelled points, and a factor."""

    cloud: Cloud
    factor: float


def _scaling(case: Scaled) -> Measurement:
    """Compare the sharpness of scaled points with that of the points over the size of the factor."""
    return _scaled(case, abs(case.factor))


def _scaled(case: Scaled, expected: float) -> Measurement:
    X, y = case.cloud.points, case.cloud.labels
    before, after = (dimension.label_sharpness(points, y).value for points in (X, case.factor * X))
    # Scaling rounds every coordinate, and a difference by its size over that of the pair.
    lost = float(np.abs(X).max()) * before
    return Measurement(abs(after * expected / before - 1), 0.0, scale=1.0 + lost)


def _signed_scaling(case: Scaled) -> Measurement:
    """Forget that a factor may be negative."""
    return _scaled(case, case.factor)


sharpness_scaling = Claim(
    name="intrinsic_dimension.sharpness_scaling",
    summary="Points that are scaled by c have labels 1/|c| times as sharp.",
    statement=r"K(cX, y) = K(X, y) / |c|, \quad c \ne 0",
    source=Source.ours("distances scale with the points"),
    verdict=Always(rtol=_ROUNDING),
    instances=lambda: st.builds(Scaled, labelled_clouds(), st.sampled_from((-3.0, 0.1, 1e-9, -1e12, 2.0**-100))),
    evaluate=_scaling,
    near_miss=_signed_scaling,
)


def _grows(case: Cloud) -> Measurement:
    """Compare the first half of the points, and all points but the last one, with all of them."""
    X, y = case.points, case.labels
    half = max(2, case.n_samples // 2)
    parts = [dimension.label_sharpness(X[:n], y[:n]).value for n in (half, case.n_samples - 1)]
    whole = dimension.label_sharpness(X, y).value
    return (
        Measurement.chain(parts[0], parts[1], {"all": whole})
        if half < case.n_samples - 1
        else Measurement(parts[0], whole)
    )


sharpness_grows = Claim(
    name="intrinsic_dimension.sharpness_grows",
    summary="Further points never make labels less sharp.",
    statement=r"S \subseteq T \implies K(S) \le K(T)",
    source=Source.ours("a maximum over more pairs"),
    verdict=Always(rtol=0.0),
    instances=labelled_clouds,
    evaluate=_grows,
    near_miss=Reversed(),
)


def _moved(case: Cloud, radius: float) -> Measurement:
    """Count points whose nearest neighbour is of another class after a move by the radius, less one part in 1000."""
    X, y = case.points, case.labels
    apart = pair_distances(X)
    apart[y[:, None] == y] = np.inf
    rng = np.random.default_rng(case.seed)
    changed = 0
    for towards in (X[apart.argmin(1)] - X, rng.standard_normal(X.shape)):
        moved = X + 0.999 * radius * towards / np.linalg.norm(towards, axis=1, keepdims=True)
        nearest = np.linalg.norm(moved[:, None] - X[None], axis=2).argmin(1)
        changed += int((y[nearest] != y).sum())
    return Measurement(float(changed), 0.0, scale=1.0)


def _certified(case: Cloud) -> Measurement:
    """Move every point towards the nearest one of another class, and at random."""
    return _moved(case, dimension.label_sharpness(case.points, case.labels).certified_radius)


def _whole_distance(case: Cloud) -> Measurement:
    """Forget the factor of two."""
    return _moved(case, 2 * dimension.label_sharpness(case.points, case.labels).certified_radius)


certified_radius = Claim(
    name="intrinsic_dimension.certified_radius",
    summary="Moves shorter than half of one over the sharpness never change the class of the nearest neighbour.",
    statement=r"\|u\| < \frac{1}{2K} \implies y_{\mathrm{nn}(x_i + u)} = y_i, \quad i = 1, \dots, n",
    source=Source.ours("the triangle inequality, as another class is at least 1/K away"),
    verdict=Always(rtol=0.0),
    # Moves of points at 1e8 by 1e-3 of a distance would be lost to rounding.
    instances=lambda: labelled_clouds().filter(lambda cloud: cloud.kind not in ("two clusters", "far from the origin")),
    evaluate=_certified,
    near_miss=_whole_distance,
)
