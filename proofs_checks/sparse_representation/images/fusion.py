"""Claims about the fusion of views: what never rises, what the gauge fixes, and what outliers do to it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

__all__ = ["Views", "draw_views", "unexplained"]

_NOISE = 0.05


@dataclass(frozen=True, eq=False)
class Views:
    """Views of a signal, and the signal."""

    views: Float64Array
    truth: Float64Array

    def fuse(self, **options: Any) -> Any:
        """Return the fusion."""
        return representation.robust_fuse(tensor(self.views), **options)

    @cached_property
    def standardised(self) -> Float64Array:
        """Views, each less its median and over its median deviation."""
        centred = self.views - np.median(self.views, axis=1, keepdims=True)
        return np.asarray(centred / np.median(np.abs(centred), axis=1, keepdims=True))


def draw_views(rng: np.random.Generator, n_bad: int, n: int = 400, n_views: int = 8) -> Views:
    """Draw views with scales from 1/2 to 2 and noise of 0.05; some have 40 % of outliers of variance 9."""
    truth = rng.standard_normal(n)
    scale, shift = rng.uniform(0.5, 2.0, n_views), rng.standard_normal(n_views)
    views = scale[:, None] * truth + shift[:, None] + _NOISE * rng.standard_normal((n_views, n))
    bad = (np.arange(n_views) < n_bad)[:, None] & (rng.random(views.shape) < 0.4)
    return Views(views + bad * rng.normal(0, 3, views.shape), truth)


def unexplained(found: Float64Array, truth: Float64Array) -> float:
    """Return the share of the variance of the truth that an affine function of an estimate leaves."""
    return 1.0 - float(np.corrcoef(found, truth)[0, 1]) ** 2


def _instances(sizes: tuple[int, ...], n_views: tuple[int, ...]) -> st.SearchStrategy[Views]:
    """Draw views of which less than half are bad."""
    return st.builds(
        lambda seed, n_bad, n, count: draw_views(np.random.default_rng(seed), min(n_bad, (count - 1) // 2), n, count),
        seeds,
        st.integers(0, 3),
        st.sampled_from(sizes),
        st.sampled_from(n_views),
    )


def _descends(case: Views) -> Measurement:
    """Compare the objective after each sweep with that before, for a given noise."""
    worst = Measurement(0.0, 0.0, scale=1.0)
    for loss in ("geman_mcclure", "huber"):
        values = np.asarray(array(case.fuse(noise_std=0.1, loss=loss, max_iter=30).objectives))
        worst = max(worst, Measurement.worst(values[1:], values[:-1], scale=float(values[0])), key=Measurement.excess)
    return worst


def _mean_of_quotients(case: Views) -> Measurement:
    """Take the mean of ``(y - B) / A`` under the weights in place of the minimiser, by numpy."""
    y, sigma = case.views, 0.1
    found = case.fuse(noise_std=sigma, max_iter=1)
    z, A, B = (np.asarray(array(part)) for part in (found.z, found.scale, found.shift))
    values = []
    for _ in range(8):
        x = (y - A[:, None] * z - B[:, None]) / sigma
        values.append(float((x**2 / 2 / (1 + x**2 / 4)).sum()))
        w = (1 + x**2 / 4) ** -2
        total = w.sum(1)
        dz, dy = z - ((w * z).sum(1) / total)[:, None], y - ((w * y).sum(1) / total)[:, None]
        A = (w * dz * dy).sum(1) / (w * dz * dz).sum(1)
        B = ((w * y).sum(1) - A * (w * z).sum(1)) / total
        z = (w * (y - B[:, None]) / A[:, None]).sum(0) / w.sum(0)
    return Measurement.worst(values[1:], values[:-1], scale=values[0])


fusion_descends = Claim(
    name="sparse_representation.fusion_descends",
    summary="For given noise no sweep raises the robust loss; the weighted mean of rescaled views would.",
    statement=r"\sum_{v,j} \rho\left(\frac{y_{vj} - A_v z_j - B_v}{\sigma}\right) \text{ never rises}, \quad"
    r" z = \frac{\sum_v w A (y - B)}{\sum_v w A^2}",
    source=Source.classic("Holland and Welsch (1977)", "reweighted least squares majorises losses concave in squares"),
    verdict=Always(1e-10),
    instances=lambda: _instances((10, 60), (2, 4, 8)),
    evaluate=_descends,
    near_miss=_mean_of_quotients,
)


def _gauge(case: Views, *, standardised: bool) -> Measurement:
    """Look at mean, variance and sign, and at what other units of all views do to the result."""
    found = case.fuse(max_iter=5)
    moved = Views(4.0 * case.views - 16.0, case.truth).fuse(max_iter=5)
    z, other = (np.asarray(array(one.z)) for one in (found, moved))
    if not standardised:
        # The signal in the units of the first view.
        z, other = (part * float(one.scale[0]) for part, one in ((z, found), (other, moved)))
    errors = [
        abs(float(z.mean())),
        abs(float(z.std()) - 1.0),
        max(-float(found.scale.sum()), 0.0),
        float(np.abs(z - other).max()),
        float(np.abs(array(moved.scale) - 4.0 * array(found.scale)).max()),
        float(np.abs(array(moved.shift) - 4.0 * array(found.shift) + 16.0).max()),
    ]
    return Measurement(max(errors), 0.0, scale=10.0)


fusion_gauge = Claim(
    name="sparse_representation.fusion_gauge",
    summary="The fused signal has mean 0 and variance 1, and other units of the views change scales and shifts alone.",
    statement=r"\bar z = 0,\ \overline{z^2} = 1,\ \sum_v A_v \ge 0; \quad y \to c y + d \Rightarrow z \to z,"
    r"\ A \to c A,\ B \to c B + d",
    source=Source.ours("z, A and B are determined up to an affine map"),
    verdict=Always(1e-8),
    # Two views of few pixels can be explained without noise, and then rounding decides.
    instances=lambda: _instances((60,), (4, 8)),
    evaluate=lambda case: _gauge(case, standardised=True),
    near_miss=lambda case: _gauge(case, standardised=False),
)


def _bad_views(rng: np.random.Generator, n_bad: float) -> Views:
    return draw_views(rng, int(n_bad))


def _better(case: Views) -> Measurement:
    """Compare with the median of the views, and with a tenth of the error of their mean."""
    robust = unexplained(np.asarray(array(case.fuse().z)), case.truth)
    median = unexplained(np.median(case.standardised, axis=0), case.truth)
    mean = unexplained(case.standardised.mean(0), case.truth)
    return Measurement(robust, median, scale=1.0).and_chain({"10 x robust fusion": 10 * robust, "mean": mean})


def _mean_is_better(case: Views) -> Measurement:
    """Expect the mean of the views to beat the median."""
    mean, median = (
        unexplained(one, case.truth) for one in (case.standardised.mean(0), np.median(case.standardised, 0))
    )
    return Measurement(mean, median, scale=1.0)


fusion_beats_median = Claim(
    name="sparse_representation.fusion_beats_median",
    summary="With 2 or 3 bad views of 8, robust fusion beats the median, and has at most a tenth of the mean's error.",
    statement=r"1 - R^2_{\mathrm{robust}} < 1 - R^2_{\mathrm{median}}, \quad"
    r" 1 - R^2_{\mathrm{robust}} \le 0.1\, (1 - R^2_{\mathrm{mean}})",
    source=Source.measured("synthetic: 8 views of 400 pixels, noise 0.05, outliers of variance 9 at 40 % of bad views"),
    verdict=WithProbability(0.9),
    evaluate=_better,
    near_miss=_mean_is_better,
    sweep=Sweep(
        axis="number of bad views",
        values=(2.0, 3.0),
        draw=_bad_views,
        trials=60,
        quick_trials=22,
        log="y",
        measured_label="robust fusion",
        bound_label="median",
        y_label="unexplained share of the variance",
    ),
)
