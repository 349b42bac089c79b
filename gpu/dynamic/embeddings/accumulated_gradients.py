"""A grow score for tables of which a batch touches few rows: gradients accumulate, and decay lazily."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import Real
from sparsetheory.gpu.core.hooks.snapshots import Snapshot

__all__ = ["GradientAccumulator"]

_DECAY = Real(0.0, 1.0, closed="left")


class GradientAccumulator:
    """Magnitudes of a decaying sum of gradients, ``s <- decay s + gradient``, for tables.

    A batch touches few rows of an embedding table, and the gradient of all other rows is zero. Growth by the gradient
    of the last batch can therefore only choose among the rows of that batch. The sum remembers the batches before.

    Rows decay lazily. Each remembers when it was last touched, and what it has missed is one power of the decay. So a
    step reads the gradient once and writes the touched rows only, where a mean over the whole table, as
    :class:`MomentumScore` keeps, reads and writes all of them. The score is that of the mean, divided by ``1 - decay``.

    One instance serves one controller.

    Parameters
    ----------
    decay : float
        Weight of the past, in [0, 1).

    Examples
    --------
    >>> import torch
    >>> score = GradientAccumulator(0.5)
    >>> score.observe(0, torch.tensor([[4.0, -2.0], [0.0, 0.0]]))
    >>> score.observe(0, torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    >>> score.total(0)
    tensor([[ 2., -1.],
            [ 1.,  0.]])
    """

    def __init__(self, decay: float = 0.9) -> None:
        self._decay = _DECAY.check("decay", decay)
        self._sums: dict[int, Tensor] = {}
        self._last: dict[int, Tensor] = {}
        self._steps: dict[int, int] = {}

    def observe(self, index: int, gradient: Tensor) -> None:
        """Add the dense gradient of a step under the mask of this index; its first axis is that of the rows."""
        if index not in self._sums:
            self._sums[index] = torch.zeros_like(gradient)
            self._last[index] = torch.zeros(len(gradient), dtype=torch.int64, device=gradient.device)
        now = self._steps[index] = self._steps.get(index, 0) + 1
        rows = gradient.reshape(len(gradient), -1).any(1).nonzero().squeeze(1)
        sums, last = self._sums[index], self._last[index]
        sums[rows] = self._decayed(sums[rows], now - last[rows]) + gradient[rows]
        last[rows] = now

    def total(self, index: int) -> Tensor:
        """Return the decayed sum of the gradients under the mask of this index.

        Raises
        ------
        RuntimeError
            If there was no gradient yet.
        """
        if index not in self._sums:
            raise RuntimeError(f"a score needs gradients under mask {index}; there was none so far")
        return self._decayed(self._sums[index], self._steps[index] - self._last[index])

    def __call__(self, snapshot: Snapshot) -> Tensor:
        """Return the score of a snapshot.

        Raises
        ------
        RuntimeError
            If there was no gradient yet.
        """
        return self.total(snapshot.index).abs()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums, the step at which each row was last touched, and the steps so far."""
        copies = {name: {i: kept.clone() for i, kept in found.items()} for name, found in self._tensors().items()}
        return {**copies, "steps": dict(self._steps)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over such a state."""
        for name, found in self._tensors().items():
            found.clear()
            found.update({i: kept.clone() for i, kept in state[name].items()})
        self._steps = dict(state["steps"])

    def _tensors(self) -> dict[str, dict[int, Tensor]]:
        return {"sums": self._sums, "last": self._last}

    def _decayed(self, sums: Tensor, missed: Tensor) -> Tensor:
        """Return rows after as many steps without a gradient."""
        powers = torch.pow(self._decay, missed.to(torch.float64)).to(sums.dtype)
        return sums * powers.reshape(-1, *[1] * (sums.ndim - 1))
