"""A claim about the budget of R-Sparse: how much of a weight one token may read."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from sparsetheory.gpu import activations
from sparsetheory.proofs_checks.activation_sparsity.rsparse.layers import ARXIV, PAPER, shares
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always


@dataclass(frozen=True)
class Split:
    """A layer and how its budget is to be split, in decimal numbers."""

    n_in: int
    n_out: int
    sparsity: float
    rho: float

    @property
    def allowed(self) -> Fraction:
        """Entries that may be read."""
        return (1 - Fraction(str(self.sparsity))) * self.n_in * self.n_out

    def budget(self, *, forced: bool) -> Any:
        """Return the split of the package."""
        return activations.split_budget(self.n_in, self.n_out, self.sparsity, self.rho, forced=forced)


def _splits() -> st.SearchStrategy[Split]:
    widths = st.one_of(st.integers(1, 64), st.sampled_from([100, 384, 576, 1000, 1536, 4096, 14336]))
    return st.builds(Split, widths, widths, st.integers(0, 99).map(lambda level: level / 100), shares)


def _budget(split: Split) -> Measurement:
    """Count what is read: never more than allowed, and so much that no further direction fits.

    With ``c <= n_in (1 - s) rho`` what is left for the rank is at least 0, and the floor of the rank takes no more than
    that. A forced split adds at most one channel and one direction, and states by how much it exceeds the budget.
    """
    found, forced = split.budget(forced=False), split.budget(forced=True)
    read = found.channels * split.n_out + found.rank * (split.n_in + split.n_out)
    one_more = read + split.n_in + split.n_out
    missing = max(forced.used - split.allowed, Fraction(0))
    stated = abs(float(missing) - forced.excess)
    added = forced.used - max(split.allowed, 0) - split.n_out - (split.n_in + split.n_out)
    lost = [
        float(read - split.allowed),
        float(split.allowed - one_more),
        found.excess,
        stated,
        float(added),
        float(forced.channels < 1 or forced.rank < 1),
    ]
    return Measurement.worst(lost, 0.0, scale=1.0)


def _forced_fits(split: Split) -> Measurement:
    """Expect one channel and rank 1 to fit in."""
    return Measurement(split.budget(forced=True).excess, 0.0, scale=1.0)


budget = Claim(
    name="activation_sparsity.rsparse_budget",
    summary="A token reads no more than the budget allows; keeping one channel and one direction may exceed it.",
    statement=r"c\, n_{out} + r\, (n_{in} + n_{out}) \le (1 - s)\, n_{in} n_{out} "
    r"< c\, n_{out} + (r + 1)(n_{in} + n_{out})",
    source=Source(PAPER, "split of the budget", ARXIV, provenance="authors' code"),
    verdict=Always(1e-9),
    instances=_splits,
    evaluate=_budget,
    near_miss=_forced_fits,
)
