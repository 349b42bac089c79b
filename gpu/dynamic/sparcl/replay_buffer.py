"""A uniform sample of all that a learner has seen, of fixed size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["ReplayBuffer", "Replayed"]


@dataclass(frozen=True, eq=False)
class Replayed:
    """Samples from a buffer.

    Parameters
    ----------
    inputs : Tensor of shape (n, ...)
    labels : Tensor of int64 of shape (n,)
    logits : Tensor of shape (n, n_classes), or None
        What the model said when the samples were stored, if that was stored too.
    """

    inputs: Tensor
    labels: Tensor
    logits: Tensor | None


class ReplayBuffer:
    """Keep a sample of a stream, in which each sample that went by is with the same probability.

    This is reservoir sampling: while there is room everything is stored; later the t-th sample of the stream, from 1,
    takes a random one of t places, if the buffer has that place. What is stored depends on the stream and the seed, not
    on how the stream is cut into batches.

    Parameters
    ----------
    capacity : int
        Samples that the buffer holds.
    generator : torch.Generator or int, optional
        On the CPU, or a seed: of what is stored, and of what is drawn.

    Attributes
    ----------
    n_seen : int
        Samples that were shown.

    References
    ----------
    Vitter, "Random sampling with a reservoir", ACM TOMS 11 (1985); Buzzega et al., "Dark Experience for General
    Continual Learning: a Strong, Simple Baseline", NeurIPS 2020, for the logits.

    Examples
    --------
    >>> import torch
    >>> buffer = ReplayBuffer(3, generator=0)
    >>> buffer.add(torch.arange(10.0)[:, None], torch.zeros(10, dtype=torch.int64))
    >>> len(buffer), buffer.n_seen, buffer.draw(2).inputs.shape
    (3, 10, torch.Size([2, 1]))
    """

    def __init__(self, capacity: int, generator: torch.Generator | int | None = None) -> None:
        self.capacity = COUNT.check("capacity", capacity)
        self.n_seen = 0
        self._generator = cpu_generator(generator)
        self._stored: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return min(self.n_seen, self.capacity)

    @property
    def stored(self) -> Replayed | None:
        """All that is stored, in the order of its places; None for an empty buffer."""
        return self._at(torch.arange(len(self))) if len(self) else None

    def add(self, inputs: Tensor, labels: Tensor, logits: Tensor | None = None) -> None:
        """Show a batch of the stream to the buffer.

        Parameters
        ----------
        inputs : Tensor of shape (n, ...)
        labels : Tensor of int64 of shape (n,)
        logits : Tensor of shape (n, n_classes), optional
            With all batches of a stream, or with none.

        Raises
        ------
        ValueError
            If lengths differ, or shapes or the presence of logits differ from batches before.
        """
        batch = {"inputs": inputs.detach(), "labels": labels.detach()}
        if logits is not None:
            batch["logits"] = logits.detach()
        if any(len(part) != len(inputs) for part in batch.values()):
            raise ValueError(f"inputs and labels must have equally many rows; got {[len(p) for p in batch.values()]}")
        if not self._stored:
            self._stored = {name: part.new_empty((self.capacity, *part.shape[1:])) for name, part in batch.items()}
        before = {name: part.shape[1:] for name, part in self._stored.items()}
        now = {name: part.shape[1:] for name, part in batch.items()}
        if before != now:
            raise ValueError(f"inputs, labels and logits must be shaped as before, {before}; got {now}")
        rows, places = self._places(len(inputs))
        for name, part in batch.items():
            place = self._stored[name]
            place[places.to(place.device)] = part[rows.to(part.device)].to(place.device)

    def draw(self, n: int) -> Replayed:
        """Return n random ones of what is stored, or all if they are fewer, each at most once.

        Raises
        ------
        ValueError
            If the buffer is empty.
        """
        COUNT.check("n", n)
        if not len(self):
            raise ValueError("the buffer must hold samples to draw from; it is empty")
        return self._at(torch.randperm(len(self), generator=self._generator)[:n])

    def state_dict(self) -> dict[str, Any]:
        """Return what is stored, how many samples went by, and the generator."""
        kept = {name: part[: len(self)].clone() for name, part in self._stored.items()}
        return {"n_seen": self.n_seen, "stored": kept, "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of a buffer of this capacity.

        Raises
        ------
        ValueError
            If the state holds another number of samples than this buffer would.
        """
        n_seen, kept = int(state["n_seen"]), state["stored"]
        expected = min(n_seen, self.capacity)
        if any(len(part) != expected for part in kept.values()):
            raise ValueError(f"state must hold {expected} samples; got {[len(part) for part in kept.values()]}")
        self.n_seen = n_seen
        self._generator.set_state(state["generator"].cpu())
        self._stored = {}
        for name, part in kept.items():
            self._stored[name] = part.new_empty((self.capacity, *part.shape[1:]))
            self._stored[name][:expected] = part

    def _places(self, n: int) -> tuple[Tensor, Tensor]:
        """Return which rows of a batch are stored, and where; of several at one place the last."""
        places = torch.arange(self.n_seen, self.n_seen + n)
        late = places >= self.capacity
        # One number for each sample behind the first ones, so that the cut into batches does not matter.
        drawn = torch.rand(int(late.sum()), dtype=torch.float64, generator=self._generator)
        places[late] = (drawn * (places[late] + 1)).long()
        self.n_seen += n
        chosen = {place: row for row, place in enumerate(places.tolist()) if place < self.capacity}
        return torch.tensor(list(chosen.values()), dtype=torch.int64), torch.tensor(list(chosen), dtype=torch.int64)

    def _at(self, rows: Tensor) -> Replayed:
        found = {name: part[rows.to(part.device)] for name, part in self._stored.items()}
        return Replayed(found["inputs"], found["labels"], found.get("logits"))
