"""Claims about what a fit does when data are scaled, or columns change their phase."""

from dataclasses import replace

import numpy as np

from sparsetheory.bayesian.turbo.elbo import TurboState
from sparsetheory.bayesian.turbo.model import NoiseFactor
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.turbo_vbi.instances import Case, cases, ours
from sparsetheory.proofs_checks.verdicts import Always

# Some sweeps of maps whose condition is that of the data.
_ROUNDING = 1e-8
_SWEEPS = 6


def _run(case: Case) -> TurboState:
    state = case.sweep()
    for _ in range(_SWEEPS - 1):
        state = case.sweep(state)
    return state


def _difference(state: TurboState, other: TurboState, factor: complex | np.ndarray) -> Measurement:
    """Measure the distance of means, one of them multiplied, and of support probabilities."""
    expected = factor * state.x.mean
    size = max(float(np.linalg.norm(expected)), 1e-12)
    errors = [
        np.linalg.norm(other.x.mean - expected) / size,
        np.abs(other.support.probability - state.support.probability).max(),
    ]
    return Measurement(float(max(errors)), 0.0, scale=1.0)


def _scaled(case: Case, with_rates: bool = True) -> Measurement:
    """Compare a fit with that of data, noise level and roots of the rates multiplied by one factor.

    Precisions then are divided by the square of the factor, and so is everything that they are compared with.
    """
    factor = float(10 ** case.rng().uniform(-2, 2))
    rate = factor**2 if with_rates else 1.0
    model, precision = case.model, case.model.noise_precision
    assert precision is not None
    scaled = replace(
        model, on_rate=rate * model.on_rate, off_rate=rate * model.off_rate, noise_precision=precision / factor**2
    )
    start = replace(
        case.start,
        expected_precisions=case.start.expected_precisions / factor**2,
        noise=NoiseFactor.known(precision / factor**2),
    )
    problem = replace(case.problem, Y=np.asfortranarray(factor * case.problem.Y))
    return _difference(_run(case), _run(replace(case, problem=problem, model=scaled, start=start)), factor)


scale = Claim(
    name="turbo_vbi.scale",
    summary="A change of units changes the answer's units only.",
    statement=r"(y, \sigma, b, \bar b) \to (ty, t\sigma, t^2 b, t^2 \bar b) \text{ maps } \mu \to t\mu, "
    r"\ \tilde\pi \to \tilde\pi",
    source=ours("scale equivariance"),
    verdict=Always(_ROUNDING),
    instances=lambda: cases(learn_noise=(False,)),
    evaluate=_scaled,
    near_miss=lambda case: _scaled(case, with_rates=False),
)


def _rotated(case: Case, rotate_mean: bool = True) -> Measurement:
    """Compare a fit with that of columns whose phases are turned: second moments do not see phases."""
    phases = np.exp(2j * np.pi * case.rng().random(case.problem.n_total))
    problem = replace(case.problem, F=np.asfortranarray(case.problem.F * phases))
    turned = _run(replace(case, problem=problem))
    return _difference(_run(case), turned, phases.conj()[:, None] if rotate_mean else 1.0)


phases = Claim(
    name="turbo_vbi.phases",
    summary="Phases of columns change phases of coefficients only.",
    statement=r"F \to F\,\mathrm{diag}(e^{j\varphi}) \text{ maps } \mu \to e^{-j\varphi} \mu, "
    r"\ \tilde\pi \to \tilde\pi",
    source=ours("phase equivariance"),
    verdict=Always(_ROUNDING),
    instances=lambda: cases(complex_data=(True,)),
    evaluate=_rotated,
    near_miss=lambda case: _rotated(case, rotate_mean=False),
)


def _turned_around(case: Case, turn_mean: bool = True) -> Measurement:
    """Compare a fit with that of coefficients in reverse order, under a prior that is the same in both directions."""
    problem = replace(case.problem, F=np.asfortranarray(case.problem.F[:, ::-1]))
    start = replace(case.start, expected_precisions=case.start.expected_precisions[::-1])
    there, back = _run(case), _run(replace(case, problem=problem, start=start))
    back = replace(back, support=replace(back.support, probability=back.support.probability[::-1]))
    if turn_mean:
        back = replace(back, x=replace(back.x, mean=back.x.mean[::-1]))
    return _difference(there, back, 1.0)


order = Claim(
    name="turbo_vbi.order",
    summary="Coefficients in reverse order give the answer in reverse order.",
    statement=r"\text{coefficients in reverse order give the answer in reverse order, for stationary chains}",
    source=ours("reversal of a fit"),
    verdict=Always(_ROUNDING),
    instances=lambda: cases(priors=("iid", "lines")),
    evaluate=_turned_around,
    near_miss=lambda case: _turned_around(case, turn_mean=False),
)
