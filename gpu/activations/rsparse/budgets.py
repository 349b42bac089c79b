"""How many entries of a weight a token may use, and how they are split between input channels and a low rank."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

from sparsetheory.constraints import COUNT, FLAG, Real

__all__ = ["RHO", "SPARSITY", "Budget", "exact", "input_sparsity", "split_budget"]

SPARSITY = Real(0.0, 1.0, closed="left")
RHO = Real(0.0, 1.0)


@dataclass(frozen=True)
class Budget:
    """Input channels that a token keeps, and the rank that serves the others.

    Parameters
    ----------
    channels : int
        Input channels that go through the weight.
    rank : int
        Singular directions that the other channels go through.
    n_in, n_out : int
        Inputs and outputs of the layer.
    sparsity : float
        Share of the weight that was to be saved.
    """

    channels: int
    rank: int
    n_in: int
    n_out: int
    sparsity: float

    @property
    def allowed(self) -> float:
        """Entries that may be read for one token."""
        return float((1 - exact(self.sparsity)) * self.n_in * self.n_out)

    @property
    def used(self) -> int:
        """Entries that are read for one token: columns of the weight, and two factors."""
        return self.channels * self.n_out + self.rank * (self.n_in + self.n_out)

    @property
    def excess(self) -> float:
        """Entries above what is allowed; 0 within the budget."""
        return float(max(self.used - (1 - exact(self.sparsity)) * self.n_in * self.n_out, Fraction(0)))

    @property
    def traffic(self) -> float:
        """Entries that are read, as a share of the weight."""
        return self.used / (self.n_in * self.n_out)


def split_budget(n_in: int, n_out: int, sparsity: float, rho: float, *, forced: bool = False) -> Budget:
    r"""Split the budget of a layer between input channels and a low rank, as R-Sparse does.

    A share `rho` of the budget :math:`(1 - s) \, n_{in} n_{out}` goes to
    :math:`c = \lfloor n_{in} (1 - s) \rho \rfloor` channels. What is left buys the rank
    :math:`\lfloor ((1 - s) \, n_{in} n_{out} - c \, n_{out}) / (n_{in} + n_{out}) \rfloor`. So it is never exceeded.

    Parameters
    ----------
    n_in, n_out : int
        Inputs and outputs of the layer.
    sparsity : float
        Share s of the weight that is not read, in [0, 1).
    rho : float
        Share of the budget that goes to channels, in [0, 1].
    forced : bool
        Whether at least one channel and rank 1 are kept, as the authors' code does while it searches. Then the budget
        is exceeded where there was no room for both; ``excess`` says by how much.

    Returns
    -------
    Budget

    Notes
    -----
    Zhang et al., "R-Sparse: Rank-Aware Activation Sparsity for Efficient LLM Inference", ICLR 2025, arXiv:2504.19449;
    as in the authors' code. Decimal numbers are taken as written, not as the nearest binary ones: otherwise
    ``100 * (1 - 0.9) * 0.5`` lies below 5, and a channel is lost.

    Examples
    --------
    >>> budget = split_budget(384, 1536, 0.5, 0.8)
    >>> budget.channels, budget.rank, budget.used, budget.allowed
    (153, 31, 294528, 294912.0)
    >>> split_budget(100, 50, 0.9, 0.5).channels, int(100 * (1 - 0.9) * 0.5)
    (5, 4)
    >>> split_budget(64, 64, 0.99, 0.5, forced=True).excess
    151.04
    """
    COUNT.require(n_in=n_in, n_out=n_out)
    sparsity, rho = SPARSITY.check("sparsity", sparsity), RHO.check("rho", rho)
    least = int(FLAG.check("forced", forced))
    left = (1 - exact(sparsity)) * n_in
    channels = max(floor(left * exact(rho)), least)
    rank = max(floor((left - channels) * n_out / (n_in + n_out)), least)
    return Budget(channels, rank, int(n_in), int(n_out), sparsity)


def input_sparsity(sparsity: float, rho: float) -> Fraction:
    """Return the share of inputs that stay below the threshold of a layer, exactly."""
    return 1 - (1 - exact(sparsity)) * exact(rho)


def exact(number: float) -> Fraction:
    """Return a number as it is written in decimals, not as the nearest binary one."""
    return Fraction(str(float(number)))
