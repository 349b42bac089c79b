"""How much masks change while a network is trained: the sparse architecture divergence."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from sparsetheory.gpu.core.masks import MaskSet, check_alike
from sparsetheory.gpu.weights.training.exporting import live_masks

__all__ = ["SADTracker", "sad"]


def sad(masks_a: Mapping[str, Tensor], masks_b: Mapping[str, Tensor], normalized: bool = False) -> float:
    """Return how many entries two sets of masks differ in: the sparse architecture divergence.

    An entry that leaves and another one that enters count 2. For N:M masks of D weights it is at most
    ``2 min(n, m - n) / m D``.

    Parameters
    ----------
    masks_a, masks_b : mapping of str to Tensor of bool
        As :func:`live_masks` returns them, with the same names and shapes.
    normalized : bool
        Whether to divide by the number of entries.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If names or shapes differ.

    Notes
    -----
    A metric: zero only for equal masks, symmetric, with the triangle inequality. Source: A. Zhou et al., "Learning N:M
    Fine-grained Structured Sparse Neural Networks From Scratch", ICLR 2021.

    Examples
    --------
    >>> import torch
    >>> one = {"fc": torch.tensor([True, False, True, False])}
    >>> other = {"fc": torch.tensor([True, True, False, False])}
    >>> sad(one, other), sad(one, other, normalized=True)
    (2.0, 0.5)
    """
    check_alike("masks_b", masks_b, masks_a, "masks_a")
    return MaskSet(masks_a).distance(masks_b, normalised=normalized)


@dataclass
class SADTracker:
    """The masks of a model from one look to the next.

    Parameters
    ----------
    model : torch.nn.Module
        After :func:`sparsify`.

    Attributes
    ----------
    changes : list of dict of str to float
        For each look after the first, the share of the entries of each weight that have changed since the one before.

    Raises
    ------
    ValueError
        If the model has no sparse weights.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.weights import sparsify
    >>> model = torch.nn.Linear(4, 1, bias=False)
    >>> _ = sparsify(model, "1:4")
    >>> tracker = SADTracker(model)
    >>> tracker.look()
    0.0
    >>> with torch.no_grad():
    ...     _ = model.parametrizations.weight.original.copy_(torch.eye(4)[:1])
    >>> before = tracker.last
    >>> tracker.look() == sad(before, tracker.last, normalized=True)
    True
    """

    model: nn.Module
    changes: list[dict[str, float]] = field(default_factory=list, init=False)
    last: MaskSet | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not live_masks(self.model):
            raise ValueError("model must have sparse weights; got none, call sparsify first")

    def look(self) -> float:
        """Compare the masks with those of the last look, and keep them; return the share of entries that changed."""
        masks, before = live_masks(self.model), self.last
        self.last = masks
        if before is None:
            return 0.0
        self.changes.append({name: sad({name: before[name]}, {name: mask}, True) for name, mask in masks.items()})
        return sad(before, masks, normalized=True)

    @property
    def total(self) -> float:
        """Sum over all looks of the share of entries that changed."""
        if self.last is None:
            return 0.0
        sizes = {name: mask.numel() for name, mask in self.last.items()}
        whole = sum(sizes.values())
        return sum(share * sizes[name] for change in self.changes for name, share in change.items()) / whole
