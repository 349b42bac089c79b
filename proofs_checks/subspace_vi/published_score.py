"""Claims about the exponential score in single precision, as published, beside the form that does not cancel."""

import numpy as np
from scipy.special import erf

from sparsetheory.bayesian import removal_score
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.subspace_vi.normals import published_start
from sparsetheory.proofs_checks.verdicts import Always, Attains
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["published_exponential_ratio"]

_N_WEIGHTS = 20_000
_SCALES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1000.0, 10_000.0)
_PAPER = "Li, Miao, Qiu, Zhang, Training Bayesian neural networks with sparse subspace variational inference (2024)"


def published_exponential_ratio(mu: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return mean over deviation of exp|theta| as the published program has it: a difference of squares under a root.

    In the precision of the arguments. Where the difference rounds to zero it is infinite, and below zero it is NaN.
    """

    def below(x: FloatArray) -> FloatArray:
        return np.asarray((1 + erf(x / np.sqrt(x.dtype.type(2)))) / 2)

    def moment(rate: int) -> FloatArray:
        half = rate**2 * sigma**2 / 2
        folded = np.exp(half - rate * mu) * below(-mu / sigma + rate * sigma)
        return np.asarray(np.exp(half + rate * mu) * below(mu / sigma + rate * sigma) + folded)

    with np.errstate(all="ignore"):
        first = moment(1)
        return np.asarray(first / np.sqrt(moment(2) - first**2))


def _draw(rng: np.random.Generator, scale: float) -> tuple[Float64Array, Float64Array]:
    return published_start(rng, _N_WEIGHTS, scale)


def _shares(laws: tuple[Float64Array, Float64Array]) -> tuple[float, float, float, float]:
    """Return the shares of NaN and of infinite scores as published, and of those of the stable form."""
    mu, sigma = laws[0].astype(np.float32), laws[1].astype(np.float32)
    published, stable = published_exponential_ratio(mu, sigma), removal_score(mu, sigma, "snr_exp_abs")
    return (
        float(np.isnan(published).mean()),
        float(np.isinf(published).mean()),
        float(np.isnan(stable).mean()),
        float(np.isinf(stable).mean()),
    )


def _published_fails(laws: tuple[Float64Array, Float64Array]) -> Measurement:
    undefined, infinite, *stable = _shares(laws)
    return Measurement(
        undefined, 0.005, extras={"infinite, as published": infinite, "undefined or infinite, stable form": sum(stable)}
    )


published_score = Claim(
    name="subspace_vi.published_score",
    summary="In single precision the published exponential score is undefined for a percent of weights and more.",
    statement=r"\text{share of NaN} > 0.005 \text{ at the published start, scaled by } c \in [0.01, 3]",
    source=Source(_PAPER, "score of the published program", "2402.11025", provenance="measured"),
    verdict=Attains(0.9),
    evaluate=_published_fails,
    near_miss=lambda laws: Measurement(_shares(laws)[2], 0.005),
    sweep=Sweep(
        axis="c",
        values=_SCALES[:6],
        draw=_draw,
        trials=40,
        quick_trials=24,
        log="x",
        measured_label="undefined, as published",
        bound_label="half a percent",
        y_label="share of weights",
    ),
)


def _stable_score(laws: tuple[Float64Array, Float64Array], published: bool = False) -> Measurement:
    shares = _shares(laws)
    bad = [shares[0] + shares[1], shares[2] + shares[3]]
    return Measurement(bad[0 if published else 1], 0.0, extras={"published form": bad[0]})


stable_score = Claim(
    name="subspace_vi.stable_score",
    summary="The stable exponential score is finite for every weight at every scale, where the published one is not.",
    statement=r"\text{every stable score is finite, } \mu \sim c N(0, 0.01^2),\ \sigma = c |N(6, 5^2)| 10^{-4}",
    source=Source.ours("the logarithm of the ratio with its cancelling terms left out"),
    verdict=Always(0.0),
    evaluate=_stable_score,
    near_miss=lambda laws: _stable_score(laws, published=True),
    sweep=Sweep(
        axis="c",
        values=_SCALES,
        draw=_draw,
        trials=6,
        quick_trials=2,
        log="x",
        measured_label="stable form",
        bound_label="none",
        y_label="share of scores that are not finite",
    ),
)
