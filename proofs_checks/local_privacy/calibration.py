"""Claims about coins and noise: what is promised is what the integers and the formulas of the code give."""

import itertools
import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from scipy.special import ndtr

from sparsetheory.privacy import gaussian_delta, gaussian_mu
from sparsetheory.privacy.device.coin import keep_threshold
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_WORDS = 2**64


@dataclass(frozen=True)
class _Budget:
    """What is promised to a user."""

    eps: float
    delta: float = 0.0


def _budgets(largest_eps: float = 20.0) -> st.SearchStrategy[_Budget]:
    return st.builds(lambda eps, power: _Budget(eps, 10.0**power), st.floats(1e-2, largest_eps), st.floats(-12, -0.5))


def _exact_excess(kept: int, words: int, eps: float) -> float:
    """Return by how much a coin exceeds e^eps, relatively, in rational numbers."""
    with localcontext() as context:
        context.prec = 80
        power = Fraction(Decimal(eps).exp())
    return float(Fraction(kept, words - kept) / power - 1)


def _coin(budget: _Budget) -> Measurement:
    """Compare the odds of the coin with e^eps in rational numbers: never above, and below by a step of the words.

    A word of 64 bits is below K with probability K / 2^64. K is rounded down, so K / (2^64 - K) is at most e^eps, for
    the number eps that the double stands for. One step of K changes the odds by the share 1 / (p (1 - p)) of 2^-64.
    """
    excess = _exact_excess(keep_threshold(budget.eps), _WORDS, budget.eps)
    step = 2.0**-64 * (1 + math.exp(budget.eps)) ** 2 / math.exp(budget.eps)
    return Measurement(excess, 0.0, scale=1.0).and_chain({"one step below": -1.001 * step, "coin": excess})


def _coin_of_doubles(budget: _Budget) -> Measurement:
    """Compute the probability in double precision, and round 2^53 times it down: often it is too large already."""
    kept = math.floor(2**53 / (1 + math.exp(-budget.eps)))
    return Measurement(_exact_excess(kept, 2**53, budget.eps), 0.0, scale=1.0)


exact_coin = Claim(
    name="local_privacy.exact_coin",
    summary="The secret coin keeps its promise exactly: its odds are at most e^eps in rational numbers.",
    statement=r"\frac{K}{2^{64} - K} \le e^\varepsilon, \quad K = \lfloor 2^{64} / (1 + e^{-\varepsilon}) \rfloor",
    source=Source.ours("coin of integers"),
    verdict=Always(0.0),
    instances=lambda: st.builds(_Budget, st.floats(1e-3, 20.0)),
    evaluate=_coin,
    near_miss=_coin_of_doubles,
    sweep=Sweep(
        axis="eps",
        values=(0.001, 0.1, 1.0, 5.0, 20.0),
        draw=lambda rng, eps: _Budget(eps * float(rng.uniform(0.9, 1.0))),
        trials=5,
        quick_trials=2,
        log="x",
        measured_label="relative excess of the odds",
        bound_label="zero",
    ),
)


def _delta_by_quadrature(eps: float, mu: float) -> float:
    r"""Return the integral of the positive part of the difference of two normal densities, one of them times e^eps.

    The likelihood ratio exp(mu x - mu^2 / 2) exceeds e^eps for x above x0 = eps / mu + mu / 2, and there the difference
    is phi(x - mu) (1 - exp(-mu (x - x0))). Forty standard deviations beyond x0 nothing is left.
    """
    start = eps / mu + mu / 2
    nodes, weights = _PANELS
    x = start + nodes
    return float(weights @ (np.exp(-0.5 * (x - mu) ** 2) * -np.expm1(-mu * nodes))) / math.sqrt(2 * math.pi)


def _panels() -> tuple[Float64Array, Float64Array]:
    """Return nodes and weights of Gauss and Legendre on [0, 40], in panels of width one."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    starts = np.arange(40.0)[:, None]
    return (starts + (nodes + 1) / 2).ravel(), np.tile(weights / 2, 40)


_PANELS = _panels()


def _gaussian(budget: _Budget) -> Measurement:
    """Integrate the two densities for the calibrated mu, and compare with delta from both sides.

    For noise of standard deviation s and two vectors at distance mu s, the direction between them is the only one that
    counts, so delta is that of two normal laws at distance mu. The code has the closed form in error functions.
    """
    spent = _delta_by_quadrature(budget.eps, gaussian_mu(budget.eps, budget.delta))
    return Measurement(spent, budget.delta).and_chain({"delta": budget.delta * (1 - 1e-9), "spent": spent})


def _classical(budget: _Budget) -> Measurement:
    """Calibrate with sqrt(2 ln(1.25 / delta)) / eps, whose proof needs eps below one, for every eps."""
    mu = budget.eps / math.sqrt(2 * math.log(1.25 / budget.delta))
    return Measurement(_delta_by_quadrature(budget.eps, mu), budget.delta)


gaussian_calibration = Claim(
    name="local_privacy.gaussian_calibration",
    summary="The calibrated Gaussian noise spends delta to the last digits, and no more.",
    statement=r"\int (\varphi(x - \mu) - e^\varepsilon \varphi(x))_+\, dx = \delta,\ \mu = \mu(\varepsilon, \delta)",
    source=Source.classic("Balle & Wang (2018)", "analytic Gaussian mechanism"),
    # The closed form is a difference of two terms that agree in up to five digits.
    verdict=Always(1e-9),
    instances=_budgets,
    evaluate=_gaussian,
    near_miss=_classical,
    sweep=Sweep(
        axis="eps",
        values=(0.1, 0.5, 1.0, 4.0, 10.0, 20.0),
        draw=lambda rng, eps: _Budget(eps, 10.0 ** float(rng.uniform(-10, -3))),
        trials=4,
        quick_trials=2,
        log="xy",
        measured_label="delta by quadrature",
        bound_label="promised delta",
        y_label="delta",
    ),
)


def _noise_of_both(budget: _Budget) -> Measurement:
    """Compare the noise of the analytic calibration with that of the classical one, for eps below one."""
    classical = math.sqrt(2 * math.log(1.25 / budget.delta)) / budget.eps
    return Measurement(1 / gaussian_mu(budget.eps, budget.delta), classical)


def _noise_far_beyond_one(budget: _Budget) -> Measurement:
    """State the same for eps up to 20, where the classical noise is too small to be private."""
    return _noise_of_both(_Budget(20 * budget.eps, budget.delta))


classical_noise = Claim(
    name="local_privacy.classical_noise",
    summary="Below eps = 1 the classical Gaussian noise is private, and larger than it has to be.",
    statement=r"1 / \mu(\varepsilon, \delta) \le \sqrt{2 \ln(1.25 / \delta)} / \varepsilon, \quad \varepsilon < 1",
    source=Source.classic("Dwork & Roth (2014)", "Theorem A.1"),
    verdict=Always(1e-12),
    instances=lambda: _budgets(0.999),
    evaluate=_noise_of_both,
    near_miss=_noise_far_beyond_one,
    sweep=Sweep(
        axis="eps",
        values=(0.01, 0.1, 0.5, 0.9),
        draw=lambda rng, eps: _Budget(eps, 10.0 ** float(rng.uniform(-10, -2))),
        trials=4,
        quick_trials=2,
        log="xy",
        measured_label="analytic calibration",
        bound_label="classical calibration",
        y_label="standard deviation over sensitivity",
    ),
)


@dataclass(frozen=True)
class _Lattice:
    """Rounded Gaussian noise of unit variance on rounded vectors at a distance of at most mu."""

    size: int
    step: float
    mu: float
    eps: float

    def law(self) -> Float64Array:
        """Return the probabilities of the cells of a normal number, up to nine standard deviations."""
        count = round(9 / self.step)
        edges = np.arange(-count, count + 1) * self.step
        # By symmetry, so that cells on the right are no differences of numbers near one.
        left = np.diff(ndtr(edges[: count + 1]))
        return np.concatenate([left, left[::-1]])

    def shifts(self) -> list[tuple[int, ...]]:
        """Return all differences of rounded vectors: each coordinate is less than a step off the true difference."""
        most = math.ceil(self.mu / self.step)
        found = itertools.product(range(most + 1), repeat=self.size)
        return [shift for shift in found if self.step * math.hypot(*(max(k - 1, 0) for k in shift)) < self.mu]

    def delta(self) -> float:
        """Return the worst delta of the discrete mechanism, summed over all messages."""
        law = self.law()
        worst = 0.0
        for shift in self.shifts():
            first, second = np.ones(1), np.ones(1)
            for k in shift:
                first = np.outer(first, np.pad(law, (0, k))).ravel()
                second = np.outer(second, np.pad(law, (k, 0))).ravel()
            worst = max(worst, float(np.maximum(first - math.exp(self.eps) * second, 0).sum()))
        return worst


def _lattices() -> st.SearchStrategy[_Lattice]:
    size_and_step = st.sampled_from([(1, 0.5), (1, 0.25), (1, 0.125), (1, 0.03125), (2, 0.5), (2, 0.25)])
    return st.builds(
        lambda both, mu, eps: _Lattice(both[0], both[1], mu, eps),
        size_and_step,
        st.floats(0.1, 1.2),
        st.floats(0.0, 3.0),
    )


def _charged(lattice: _Lattice) -> Measurement:
    r"""Sum the delta of the discrete mechanism over all messages, and compare with the formula for a larger mu.

    A vector v is rounded to multiples of h, and the noise is a cell of a normal number g. As floor((j h + g) / h) is
    j + floor(g / h), the message is a function of the rounded vector plus g. Rounding adds at most sqrt(p) h to the
    distance of two vectors of length p, so mu + sqrt(p) h serves. The enumeration takes every difference that rounding
    can give.
    """
    charged = lattice.mu + math.sqrt(lattice.size) * lattice.step
    return Measurement(lattice.delta(), gaussian_delta(lattice.eps, charged), scale=1.0)


def _free(lattice: _Lattice) -> Measurement:
    """Charge nothing for the rounding."""
    return Measurement(lattice.delta(), gaussian_delta(lattice.eps, lattice.mu), scale=1.0)


lattice_charge = Claim(
    name="local_privacy.lattice_charge",
    summary="Gaussian noise on a lattice is as private as exact noise with the rounding charged to the sensitivity.",
    statement=r"\delta_{\mathrm{lattice}}(\varepsilon) \le \delta(\varepsilon;\, \mu + \sqrt p\, h)",
    source=Source.ours("privacy of rounded vectors with rounded noise"),
    # Sums of at most a few ten thousand probabilities.
    verdict=Always(1e-12),
    instances=_lattices,
    evaluate=_charged,
    near_miss=_free,
    sweep=Sweep(
        axis="step h",
        values=(0.0625, 0.125, 0.25, 0.5),
        draw=lambda rng, step: _Lattice(1, step, float(rng.uniform(0.3, 1.2)), float(rng.uniform(0, 2))),
        trials=5,
        quick_trials=3,
        log="xy",
        measured_label="enumerated",
        bound_label="formula with the charge",
        y_label="delta",
    ),
)
