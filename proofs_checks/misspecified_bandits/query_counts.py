"""Claims about how numbers of queries grow: with one over eps, with the number of actions, and with the non-zeros."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bandits import LinearBanditProblem, SupportDesignNet, SupportNetSearch, bounds
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.misspecified_bandits.instances import draw_bandit, fitted
from sparsetheory.proofs_checks.misspecified_bandits.sources import dong_yang
from sparsetheory.proofs_checks.verdicts import Always, ScalesAs

_RATE = "upper bound of order eps^-s d^s; its nets and constants are ours, the exponents are measured"


@dataclass(frozen=True, eq=False)
class _Sphere:
    """Uniform unit rows, sparse rewards, and a misspecification that shrinks while rewards stay the same."""

    K: int
    d: int
    s: int
    eps: float
    seed: int

    @cached_property
    def problem(self) -> LinearBanditProblem:
        """The problem; its error is a thousandth of the linear function, less than any eps here."""
        bandit = draw_bandit("gauss", "uniform", self.K, self.d, self.s, 1e-3, 1.0, self.seed)
        return bandit.problem()

    def design_net(self, eps: float) -> int:
        """Return the number of queries of a net in the metric of designs, without what answers can spare."""
        search = SupportDesignNet(self.s, eps=eps, screen=False, prune=False)
        return fitted(search, self.problem).n_queries_

    @cached_property
    def net(self) -> SupportNetSearch:
        """A net in the metric of the features, without what one support can take over from another."""
        return fitted(SupportNetSearch(self.s, eps=self.eps, reuse=False), self.problem)


def _drawing(K: int, d: int, s: int) -> Callable[[np.random.Generator, float], _Sphere]:
    return lambda rng, inverse: _Sphere(K, d, s, 1 / inverse, int(rng.integers(2**32)))


def _cells(sphere: _Sphere) -> Measurement:
    """Take the largest number of cells that one support needs; the bound of the theorem is that of all of them."""
    bound = bounds.support_net(sphere.eps, sphere.eps, 1.0, 1.0, sphere.d, sphere.s, net="grid").n_queries
    return Measurement(float(sphere.net.max_cells_), bound / math.comb(sphere.d, sphere.s))


def _without_power(sphere: _Sphere) -> Measurement:
    """Multiply by eps: one dimension less."""
    measurement = _cells(sphere)
    return Measurement(sphere.eps * measurement.measured, sphere.eps * measurement.bound)


def _net_claim(s: int, values: tuple[float, ...]) -> Claim:
    return Claim(
        name=f"misspecified_bandits.net_cells_{s}",
        summary=f"With s = {s} a net needs about eps^-{s} actions on each support, a little less at its edge.",
        statement=rf"\max_M |Q_M| \sim \varepsilon^{{-s}}, \quad s = {s}: \quad {-s} + 0.15 \pm 0.25",
        source=dong_yang(_RATE),
        verdict=ScalesAs(s - 0.15, 0.25),
        evaluate=_cells,
        near_miss=_without_power,
        sweep=Sweep(
            axis="1 / eps",
            values=values,
            draw=_drawing(200_000, 6, s),
            trials=6,
            quick_trials=2,
            log="xy",
            measured_label="largest net of a support",
            bound_label="bound of the theorem",
            y_label="actions",
        ),
    )


net_cells_1 = _net_claim(1, (2.5, 5.0, 10.0, 20.0))
net_cells_2 = _net_claim(2, (2.5, 5.0, 10.0, 20.0))
net_cells_3 = _net_claim(3, (2.5, 4.0, 6.3, 10.0))


def _flat(sphere: _Sphere) -> Measurement:
    bound = bounds.design_net(sphere.eps, 1.0, sphere.d, sphere.s).n_queries
    return Measurement(float(sphere.design_net(sphere.eps)), bound)


def _logarithmic(sphere: _Sphere) -> Measurement:
    """Multiply by the logarithm of one over eps, as if every digit had to be paid for."""
    measurement = _flat(sphere)
    return Measurement(measurement.measured * math.log(1 / sphere.eps), measurement.bound)


design_net_flat = Claim(
    name="misspecified_bandits.design_net_flat",
    summary="In the metric of designs a net takes the same number of queries for every eps.",
    statement=r"|Q| \sim \varepsilon^{0 \pm 0.1} \text{ for a gap of } 3\, \varepsilon",
    source=Source.ours("nets in the metric of a design on every support"),
    verdict=ScalesAs(0.0, 0.1),
    evaluate=_flat,
    near_miss=_logarithmic,
    sweep=Sweep(
        axis="1 / eps",
        values=(10.0, 31.6, 100.0, 316.0, 1000.0),
        draw=_drawing(5000, 10, 2),
        trials=10,
        quick_trials=6,
        log="xy",
        measured_label="queries without screening and pruning",
        bound_label="bound of the theorem",
        y_label="queries",
    ),
)


def _draw_size(rng: np.random.Generator, K: float) -> _Sphere:
    """Take as many features as grow with the actions: 30 for 20 000."""
    d = max(4, round(30 * math.log10(K / 200) / 2))
    return _Sphere(int(K), d, 2, 0.1, int(rng.integers(2**32)))


def _slopes(sphere: _Sphere, *, swapped: bool = False) -> Measurement:
    r"""Compare slopes of numbers of queries in log-log scale with those of the theorems: none, and s.

    The design net is asked for an eps of 0.2 and of 0.003. It may take fewer queries for the smaller one, as fewer
    supports agree with the answers. To the net in the metric of the features, which takes all actions in the end, a
    line is fitted while it takes less than half, if that is so for four eps. Between two neighbouring eps alone its
    slope can be above s: grids of two and of four cells on an axis do not divide each other.
    """
    few, many = sphere.design_net(0.2), sphere.design_net(0.003)
    flat = math.log(many / few) / math.log(0.2 / 0.003)
    inverse, counts = [], []
    for eps in 0.8 * 2 ** -(np.arange(16) / 2):
        count = fitted(SupportNetSearch(2, eps=eps), sphere.problem).n_queries_
        if count > sphere.K / 2:
            break
        inverse.append(1 / eps)
        counts.append(count)
    steep = float(np.polyfit(np.log(inverse), np.log(counts), 1)[0]) if len(counts) > 3 else 0.0
    if swapped:
        flat, steep = steep, flat
    return Measurement(steep, 2.2).and_chain({"by designs": flat, "limit by designs": 0.1})


query_exponents = Claim(
    name="misspecified_bandits.query_exponents",
    summary="Up to 20 000 actions and 30 features: no power of 1 / eps by designs, and at most s + 0.2 by nets.",
    statement=r"|Q_{\mathrm{design}}| \sim \varepsilon^{-a},\ a \le 0.1, \quad"
    r" |Q_{\mathrm{net}}| \sim \varepsilon^{-b},\ b \le s + 0.2 \text{ while } |Q| < K / 2",
    source=Source.measured("numbers of queries of both searches"),
    verdict=Always(0.0),
    instances=lambda: st.builds(
        _Sphere, st.integers(600, 2500), st.integers(4, 8), st.just(2), st.just(0.1), st.integers(0, 2**32 - 1)
    ),
    evaluate=_slopes,
    near_miss=lambda sphere: _slopes(sphere, swapped=True),
    sweep=Sweep(
        axis="actions K",
        values=(1000.0, 2000.0, 4000.0, 20_000.0),
        quick_values=(1000.0, 4000.0),
        draw=_draw_size,
        trials=5,
        quick_trials=5,
        log="x",
        measured_label="by nets",
        bound_label="limit by nets",
        y_label="power of 1 / eps",
    ),
)

# Fourth powers, so that s^{1 - delta} is a whole number; and the smallest primes from there on.
_SIZES = {16: 17, 81: 83, 256: 257, 625: 631, 1296: 1297, 2401: 2411}


def _draw_size_of_code(rng: np.random.Generator, s: float) -> int:
    return int(s)


def _threshold(delta: float) -> Claim:
    """State how the queries for a gap of s to the power delta, times eps, grow on codes."""

    def measure(s: int, delta: float = delta) -> Measurement:
        r"""Take the logarithm of the number of actions among which the needle hides.

        With :math:`k - 1 = s^{1-\delta}` a gap below :math:`s^\delta\,eps = 1` is that of the needle, which takes a
        number of queries proportional to :math:`K = q^k`, for any prime q from s on. The logarithm is :math:`(1 +
        s^{1-\delta}) \log q`: a power of s, to which the logarithm adds about 0.17 at these s. For delta = 1 it is
        2 log q only.
        """
        return Measurement((1 + round(s ** (1 - delta))) * math.log(_SIZES[s]), 2 * math.log(_SIZES[s]))

    return Claim(
        name=f"misspecified_bandits.threshold_{round(100 * delta)}",
        summary=f"An error of s to the power {delta:g} times eps takes more queries than any polynomial of s.",
        statement=rf"\log K = (1 + s^{{1 - \delta}}) \log q, \quad \delta = {delta:g}: \quad \log K \sim"
        rf" s^{{{1.17 - delta:.2f} \pm 0.12}}",
        source=Source.ours("needles among codes; the threshold at delta = 1 is claimed by Dong and Yang (2023)"),
        verdict=ScalesAs(1 - delta + 0.17, 0.12),
        evaluate=measure,
        # As many as for an error of eps itself.
        near_miss=lambda s: measure(s, delta=0.0),
        sweep=Sweep(
            axis="non-zeros s",
            values=tuple(map(float, _SIZES)),
            draw=_draw_size_of_code,
            trials=1,
            quick_trials=1,
            log="xy",
            measured_label="log of the number of actions",
            bound_label="for an error of s eps",
        ),
    )


threshold_25, threshold_50, threshold_75 = (_threshold(delta) for delta in (0.25, 0.5, 0.75))
