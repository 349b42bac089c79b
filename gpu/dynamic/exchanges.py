"""TopologyRules as a search for the best support of a quadratic: rounds of dropping, solving, growing, solving."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, SIZE, Choice
from sparsetheory.gpu.core.rewiring import rewire
from sparsetheory.gpu.dynamic.supported_quadratic import SupportedQuadratic

__all__ = ["ExchangeResult", "exchange_search"]

_DROP: dict[str, Callable[[SupportedQuadratic], Tensor]] = {
    "magnitude": lambda quadratic: quadratic.weight.abs(),
    "price": lambda quadratic: quadratic.prices,
}
_GROW: dict[str, Callable[[SupportedQuadratic], Tensor]] = {
    "gradient": lambda quadratic: quadratic.gradient.abs(),
    "gain": lambda quadratic: quadratic.gains,
}
# Relative to the objective at the start: what falls by less has not fallen.
_PROGRESS = 1e-12


@dataclass(frozen=True, eq=False)
class ExchangeResult:
    """Where a search over supports ended.

    Parameters
    ----------
    support : Tensor of bool of shape (p,)
    weight : Tensor of shape (p,)
        Minimiser on the support.
    history : tuple of float
        Minimum on the support at the start and after every round.
    swap_optimal : bool
        Whether no exchange of one entry lowers the minimum, by exact prices. Only a guarded search proves it.
    """

    support: Tensor
    weight: Tensor
    history: tuple[float, ...]
    swap_optimal: bool

    @property
    def objective(self) -> float:
        """The minimum on the support."""
        return self.history[-1]


def exchange_search(
    gram: Tensor,
    target: Tensor,
    support: Tensor,
    *,
    drop: str = "price",
    grow: str = "gain",
    moves: Callable[[int], int] = lambda step: 1,
    max_iter: int = 100,
    guarded: bool = True,
) -> ExchangeResult:
    """Look for a support of the same size on which ``w'Gw / 2 - b'w`` has a lower minimum.

    A round drops entries at the minimiser of the support, solves again, grows as many, and solves again. With
    ``drop="magnitude", grow="gradient"`` that is the rule of RigL with an exact solve instead of training.

    The prices of several entries do not add up, so a round may raise the minimum. A guarded search takes only rounds
    that lower it. It halves the number of moves of any other round; where one move does not help either, it makes the
    best exchange of one entry by exact prices, and it stops when there is none. The minimum then falls strictly, so
    the search ends, at a support that no exchange of one entry improves.

    Parameters
    ----------
    gram : Tensor of shape (p, p)
        Symmetric positive semidefinite.
    target : Tensor of shape (p,)
        The vector b, in the range of `gram`.
    support : Tensor of bool of shape (p,)
        Where to start.
    drop : {"price", "magnitude"}
        Exact price of removing an entry, or its magnitude.
    grow : {"gain", "gradient"}
        Exact gain of adding an entry, or the magnitude of the gradient there.
    moves : callable
        From the number of rounds done to the number of entries to move.
    max_iter : int
        Rounds at most.
    guarded : bool
        Whether the minimum may never rise.

    Returns
    -------
    ExchangeResult

    Raises
    ------
    ValueError
        If an argument is out of range or has the wrong shape.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML 2020; Needell, Tropp,
    "CoSaMP", 2009, for rounds with an exact solve. Exact prices are ours.

    Examples
    --------
    Only a large scale makes the gradient at the last column the largest; the first one explains most.

    >>> import torch
    >>> gram, target = torch.diag(torch.tensor([1.0, 4.0, 9.0, 16.0])), torch.tensor([2.0, 3.0, 4.0, 5.0])
    >>> start = torch.tensor([False, False, False, True])
    >>> exchange_search(gram, target, start, drop="magnitude", grow="gradient", guarded=False).support
    tensor([False, False, False,  True])
    >>> exchange_search(gram, target, start).support
    tensor([ True, False, False, False])
    """
    Choice(*_DROP).check("drop", drop)
    Choice(*_GROW).check("grow", grow)
    COUNT.check("max_iter", max_iter)
    FLAG.check("guarded", guarded)
    quadratic = SupportedQuadratic(gram, target, support)
    history = [float(quadratic.objective)]
    done = False
    while not done and len(history) <= max_iter:
        n_moved = SIZE.check("moves", moves(len(history) - 1))
        found = _round(quadratic, n_moved, drop, grow)
        if guarded:
            better = _guarded(quadratic, found, n_moved, (drop, grow), _PROGRESS * abs(history[0]))
            done, found = better is None, better or quadratic
        if not done:
            quadratic = found
            history.append(float(quadratic.objective))
    return ExchangeResult(quadratic.support, quadratic.weight, tuple(history), done)


def _round(at: SupportedQuadratic, n_moved: int, drop: str, grow: str) -> SupportedQuadratic:
    price = _DROP[drop](at)
    less = rewire(at.support, price, torch.zeros_like(price), n_moved, 0)
    between = at.on(less.mask)
    more = rewire(less.mask, torch.zeros_like(price), _GROW[grow](between), 0, less.n_drop)
    return at.on(more.mask)


def _guarded(
    at: SupportedQuadratic, found: SupportedQuadratic, n_moved: int, rules: tuple[str, str], progress: float
) -> SupportedQuadratic | None:
    """Return a support with a lower minimum, or None where no exchange of one entry has one."""
    limit = float(at.objective) - progress
    while float(found.objective) >= limit and n_moved > 1:
        n_moved //= 2
        found = _round(at, n_moved, *rules)
    if float(found.objective) < limit:
        return found
    gains = at.exchange_gains
    if gains.numel() == 0 or float(gains.max()) <= progress:
        return None
    leaving, coming = (gains == gains.max()).nonzero()[0].tolist()
    support = at.support.clone()
    support[leaving], support[coming] = False, True
    better = at.on(support)
    # The price promises what rounding may take back: then there is no exchange that helps.
    return better if float(better.objective) < float(at.objective) else None
