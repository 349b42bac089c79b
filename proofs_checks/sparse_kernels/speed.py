"""Claims about the model of time: where sparse and dense products take equally long, and which side gains."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import kernels
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always


class Rates(NamedTuple):
    """Operations per second, and a share of zeros."""

    sparse: float
    dense: float
    sparsity: float

    def seconds(self, sparsity: float) -> float:
        """Return the time of a sparse product over that of a dense one, from the counts of operations."""
        weights = 1.0e6
        return (2 * (1 - sparsity) * weights / self.sparse) / (2 * weights / self.dense)


def _rates() -> st.SearchStrategy[Rates]:
    ratio = st.floats(0.01, 0.99)
    return st.builds(lambda r, dense, s: Rates(r * dense, dense, s), ratio, st.floats(1e6, 1e12), st.floats(0, 0.999))


def _draw(rng: np.random.Generator, sparsity: float) -> Rates:
    dense = 10.0 ** rng.uniform(9, 11)
    return Rates(float(rng.uniform(0.1, 0.9)) * dense, dense, sparsity)


def _equal_times(r: Rates) -> Measurement:
    """At the break-even sparsity the ratio of both times is 1."""
    found = kernels.speed_model(r.sparse, r.dense, r.sparsity)
    return Measurement(abs(r.seconds(found.break_even_sparsity) - 1.0), 0.0, scale=1.0)


def _density_for_sparsity(r: Rates) -> Measurement:
    """Take the ratio of the rates, which is the density, for the sparsity."""
    return Measurement(abs(r.seconds(r.sparse / r.dense) - 1.0), 0.0, scale=1.0)


break_even = Claim(
    name="sparse_kernels.break_even",
    summary="Sparse and dense products take equally long where the share of zeros is one minus the ratio of the rates.",
    statement=r"\frac{2 (1 - s) m k P}{R_s} = \frac{2 m k P}{R_d} \iff s = 1 - \frac{R_s}{R_d}",
    source=Source.ours("time of a product as operations over a rate"),
    # 1 - (1 - r) loses the digits of a small ratio r, which is at least 0.01.
    verdict=Always(rtol=1e-13),
    instances=_rates,
    evaluate=_equal_times,
    near_miss=_density_for_sparsity,
)


def _sign(r: Rates) -> Measurement:
    """Compare the gain with its distance from the break-even.

    ``speedup = (1 - s*) / (1 - s)``, so that ``speedup - 1 = (s - s*) / (1 - s)``, which has the sign of ``s - s*``.
    """
    found = kernels.speed_model(r.sparse, r.dense, r.sparsity)
    gain, beyond = found.speedup - 1, (r.sparsity - found.break_even_sparsity) / (1 - r.sparsity)
    return Measurement(abs(gain - beyond), 0.0, scale=1 + found.speedup)


def _gain_without_rates(r: Rates) -> Measurement:
    """Expect as many times as there are fewer operations, as if both ways were equally fast."""
    found = kernels.speed_model(r.sparse, r.dense, r.sparsity)
    return Measurement(abs(found.speedup - 1 / (1 - r.sparsity)), 0.0, scale=1 + found.speedup)


sign_of_gain = Claim(
    name="sparse_kernels.sign_of_gain",
    summary="Sparsity gains beyond the break-even and loses before it.",
    statement=r"\frac{R_s}{R_d (1 - s)} - 1 = \frac{s - s^*}{1 - s}, \quad s^* = 1 - \frac{R_s}{R_d}",
    source=Source.ours("time of a product as operations over a rate"),
    verdict=Always(rtol=1e-12),  # 1 - s is at least 0.001, and loses three digits
    instances=_rates,
    evaluate=_sign,
    near_miss=_gain_without_rates,
    sweep=Sweep(
        axis="share of zeros",
        values=(0.0, 0.3, 0.5, 0.7, 0.9, 0.95),
        draw=_draw,
        trials=20,
        quick_trials=3,
        measured_label="difference of both sides",
        bound_label="none",
    ),
)
