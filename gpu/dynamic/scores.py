"""Scores of dynamic sparsity: what is dropped first and what grows first.

A score looks at a :class:`Snapshot` of one mask and returns a tensor of the shape of the mask. Of a drop score the
smallest entries leave, of a grow score the largest enter.

=============  ==================  =======================
method         drop                grow
=============  ==================  =======================
SET            magnitude_by_sign   random_order
RigL           magnitude           gradient_magnitude
ITOP           magnitude           unfired_first
momentum       magnitude           MomentumScore
exact prices   curvature_price     curvature_gain
=============  ==================  =======================
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import FLAG, MISSING, Choice, Real
from sparsetheory.gpu.core.hooks.snapshots import Score, Snapshot

__all__ = [
    "MomentumScore",
    "curvature_gain",
    "curvature_price",
    "find_score",
    "gradient_magnitude",
    "magnitude",
    "magnitude_by_sign",
    "random_order",
    "unfired_first",
]

_DECAY = Real(0.0, 1.0, closed="left")
_TINY = 1e-8


def magnitude(snapshot: Snapshot) -> Tensor:
    """Return the magnitudes of the weights."""
    return snapshot.weight.abs()


def magnitude_by_sign(snapshot: Snapshot) -> Tensor:
    """Return the rank of each active weight among those of its sign, by magnitude, as a share of their number.

    Of positive and of negative weights the same share is dropped, the nearest to zero, up to one entry. Zeros count as
    positive; of equal weights the first one has the lower rank.

    References
    ----------
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
    network science", Nature Communications 2018.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import Snapshot
    >>> weight, mask = torch.tensor([4.0, 3.0, -0.1, -0.2, 9.0]), torch.tensor([True, True, True, True, False])
    >>> snapshot = Snapshot(0, 1, mask, mask, (weight,), (None,), {}, torch.Generator())
    >>> magnitude_by_sign(snapshot)[mask]
    tensor([0.7500, 0.2500, 0.2500, 0.7500], dtype=torch.float64)
    """
    weight = snapshot.weight
    score = torch.zeros(weight.shape, dtype=torch.float64, device=weight.device)
    for part in (snapshot.mask & (weight < 0), snapshot.mask & ~(weight < 0)):
        order = weight[part].abs().argsort(stable=True)
        ranks = torch.empty(len(order), dtype=torch.float64, device=weight.device)
        ranks[order] = torch.arange(len(order), dtype=torch.float64, device=weight.device) + 0.5
        score[part] = ranks / max(len(order), 1)
    return score


def gradient_magnitude(snapshot: Snapshot) -> Tensor:
    """Return the magnitudes of the dense gradient of this step.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML 2020.
    """
    return snapshot.gradient.abs()


def random_order(snapshot: Snapshot) -> Tensor:
    """Return a random permutation as integers: there are no ties, and masks are equal on all devices.

    References
    ----------
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
    network science", Nature Communications 2018.
    """
    order = torch.randperm(snapshot.mask.numel(), generator=snapshot.generator)
    return order.reshape(snapshot.mask.shape).to(snapshot.mask.device)


def unfired_first(snapshot: Snapshot) -> Tensor:
    """Return a random order in which all entries that were never active come before the others.

    References
    ----------
    Liu, Yin, Mocanu, Pechenizkiy, "Do We Actually Need Dense Over-Parameterization? In-Time Over-Parameterization in
    Sparse Training", ICML 2021.
    """
    return random_order(snapshot) + snapshot.mask.numel() * (~snapshot.fired).long()


class MomentumScore:
    """Magnitudes of a running mean of gradients.

    The moments that a masked optimiser keeps are zero off the mask: growth by them is a choice among ties, no better
    than a random one. By default this score therefore keeps its own mean of the dense gradients, which costs a dense
    gradient at every step.

    One instance serves one controller.

    Parameters
    ----------
    decay : float
        Weight of the past in the mean, in [0, 1).
    second_decay : float, optional
        The same for a mean of squares, by whose root the mean is divided then, as Adam does. There is no division by
        default.
    dense : bool
        Whether the score keeps its own means. Otherwise it reads those of the optimiser: the momentum of SGD, or the
        first moment of Adam over the root of the second.

    References
    ----------
    Dettmers, Zettlemoyer, "Sparse Networks from Scratch: Faster Training without Losing Performance", 2019.
    """

    def __init__(self, decay: float = 0.9, second_decay: float | None = None, *, dense: bool = True) -> None:
        self._decay = _DECAY.check("decay", decay)
        self._second_decay = (MISSING | _DECAY).check("second_decay", second_decay)
        self._dense = FLAG.check("dense", dense)
        self._first: dict[int, Tensor] = {}
        self._second: dict[int, Tensor] = {}

    def observe(self, index: int, gradient: Tensor) -> None:
        """Add the dense gradient of a step under the mask of this index."""
        if self._dense:
            self._first[index] = _mean(self._first.get(index), gradient, self._decay)
            if self._second_decay is not None:
                self._second[index] = _mean(self._second.get(index), gradient.square(), self._second_decay)

    def __call__(self, snapshot: Snapshot) -> Tensor:
        """Return the score of a snapshot.

        Raises
        ------
        RuntimeError
            If there are no moments yet.
        """
        if not self._dense:
            return _stored_moment(snapshot)
        if snapshot.index not in self._first:
            raise RuntimeError(f"a score needs gradients under mask {snapshot.index}; there was none so far")
        first = self._first[snapshot.index].abs()
        return first if self._second_decay is None else first / (self._second[snapshot.index].sqrt() + _TINY)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the moments, which change in place."""
        return {"first": _copied(self._first), "second": _copied(self._second)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over moments."""
        self._first, self._second = _copied(state["first"]), _copied(state["second"])


def curvature_price(curvatures: Sequence[Tensor]) -> Score:
    """Return the drop score ``weight**2 h / 2``: what a weight costs if all others stay as they are.

    At a minimum of a quadratic with the second derivatives h on its diagonal, the exact price of a weight, with the
    others solved for again, is never larger; see :class:`SupportedQuadratic`.

    Parameters
    ----------
    curvatures : sequence of Tensor
        For each mask of the controller second derivatives of the loss, of a shape that broadcasts to that of the
        weight: for a linear layer the diagonal of the Gram matrix of its inputs.

    Returns
    -------
    callable
    """

    def score(snapshot: Snapshot) -> Tensor:
        return snapshot.weight.square() * curvatures[snapshot.index] / 2

    return score


def curvature_gain(curvatures: Sequence[Tensor]) -> Score:
    """Return the grow score ``gradient**2 / (2 h)``: what a new weight gains if all others stay as they are.

    The exact gain, with the others solved for again, is never smaller. Where h is zero there is nothing to gain.

    Parameters
    ----------
    curvatures : sequence of Tensor
        As for :func:`curvature_price`.

    Returns
    -------
    callable
    """

    def score(snapshot: Snapshot) -> Tensor:
        h = curvatures[snapshot.index]
        gain = snapshot.gradient.square() / (2 * h)
        return torch.where(h > 0, gain, 0.0)

    return score


_BY_NAME: dict[str, Score] = {
    "magnitude": magnitude,
    "magnitude_by_sign": magnitude_by_sign,
    "gradient": gradient_magnitude,
    "random": random_order,
    "unfired": unfired_first,
}


def find_score(name: str) -> Score:
    """Return a score by its name: magnitude, magnitude_by_sign, gradient, random, unfired, or a new momentum.

    Examples
    --------
    >>> find_score("gradient").__name__
    'gradient_magnitude'
    """
    Choice(*_BY_NAME, "momentum").check("name", name)
    return MomentumScore() if name == "momentum" else _BY_NAME[name]


def _mean(past: Tensor | None, value: Tensor, decay: float) -> Tensor:
    # A state may have been loaded on another device.
    return (1 - decay) * value if past is None else past.to(value.device).mul_(decay).add_(value, alpha=1 - decay)


def _copied(moments: Mapping[int, Tensor]) -> dict[int, Tensor]:
    return {index: moment.clone() for index, moment in moments.items()}


def _stored_moment(snapshot: Snapshot) -> Tensor:
    state = snapshot.state
    if state.get("exp_avg") is not None:
        return state["exp_avg"].abs() / (state["exp_avg_sq"].sqrt() + _TINY)
    if state.get("momentum_buffer") is not None:
        return state["momentum_buffer"].abs()
    raise RuntimeError(f"the optimiser must keep moments under mask {snapshot.index}; it has {sorted(state) or 'none'}")
