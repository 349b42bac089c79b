"""Claims about designs with Gaussian rows, whose risk is known exactly."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.regression import theory
from sparsetheory.typing import Float64Array


@dataclass(frozen=True)
class _Refits:
    """Out-of-sample errors of least squares on anchors after a fixed error elsewhere, over repeated designs."""

    m: int
    errors: Float64Array
    s2: float
    noise_std: float
    n: int


def _draw_refits(rng: np.random.Generator, m: float) -> _Refits:
    n, p, sigma, repetitions = 60, int(m) + 5, 0.5, 200
    mixing = rng.standard_normal((p, p)) * 10 ** rng.uniform(-1.5, 0, p)[:, None]
    T, rest = np.arange(int(m)), np.arange(int(m), p)
    cov = mixing.T @ mixing
    schur = cov[np.ix_(rest, rest)] - cov[np.ix_(rest, T)] @ np.linalg.solve(cov[np.ix_(T, T)], cov[np.ix_(T, rest)])
    delta = rng.standard_normal(rest.size)
    delta *= np.sqrt(1.0 / (delta @ schur @ delta))
    delta_everywhere = np.append(np.zeros(int(m)), delta)
    X = rng.standard_normal((repetitions, n, p)) @ mixing
    off = X[:, :, rest] @ delta
    Q, R = np.linalg.qr(X[:, :, T])
    left = (sigma * rng.standard_normal((repetitions, n)) - off)[:, :, None]
    change = np.tile(delta_everywhere, (repetitions, 1))
    change[:, T] = np.linalg.solve(R, Q.transpose(0, 2, 1) @ left)[:, :, 0]
    errors = np.einsum("ri,ij,rj->r", change, cov, change, optimize=True)
    return _Refits(int(m), errors, 1.0, sigma, n)


def _excess(instance: _Refits, expected: float | None = None) -> Measurement:
    """Compare the mean excess risk with its exact expectation, in standard errors.

    What the anchors leave of Gaussian rows is an independent regression with the Schur complement as covariance, and
    the refit on the anchors sees it as noise of variance ``sigma^2 + s^2``; the inverse Wishart mean gives the factor.
    """
    if expected is None:
        expected = theory.gaussian_excess(instance.s2, instance.noise_std, instance.m, instance.n)
    deviation = abs(float(instance.errors.mean()) - expected)
    return Measurement(deviation, 4.0 * float(instance.errors.std(ddof=1)) / np.sqrt(instance.errors.size))


gaussian_excess = Claim(
    name="random_supports.gaussian_excess",
    summary="On Gaussian rows the mean excess risk after refitting the anchors is known exactly.",
    statement=r"E\,(\hat w - w^*)^\top \Sigma (\hat w - w^*) = s^2 + (\sigma^2 + s^2) \tfrac{m}{N - m - 1}",
    source=Source.ours("excess risk on Gaussian rows"),
    verdict=WithProbability(0.99),
    evaluate=_excess,
    near_miss=lambda r: _excess(r, r.s2 + r.noise_std**2 * r.m / (r.n - r.m - 1)),
    sweep=Sweep(
        axis="m",
        values=(5.0, 10.0, 20.0, 30.0),
        draw=_draw_refits,
        trials=100,
        quick_trials=80,
        quick_values=(5.0, 20.0),
        log="y",
        measured_label="deviation of the mean",
        bound_label="four standard errors",
    ),
)
