"""How often a sample was forgotten in training: known at one presentation and wrong at the next."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Integer

__all__ = ["ForgettingCounter"]


class ForgettingCounter:
    """Count how often each sample of a data set is forgotten.

    A forgetting event is a presentation at which the model is wrong on a sample that it had right at the presentation
    before: right, wrong, right, wrong, wrong, right has two. A sample that was never right has none, but it is not
    easy: its score is the number of its presentations. That rule matters. Wrongly labelled samples are mostly never
    learned, and by events alone they cannot be told from easy ones.

    Parameters
    ----------
    n_samples : int
        Samples of the data set; their ids are 0, 1, ..., n_samples - 1.

    Attributes
    ----------
    events : Tensor of int64 of shape (n_samples,)
        Forgetting events.
    n_wrong : Tensor of int64 of shape (n_samples,)
        Presentations at which the model was wrong.
    n_seen : Tensor of int64 of shape (n_samples,)
        Presentations.
    first_learned : Tensor of int64 of shape (n_samples,)
        Number, from 0, of the presentation at which the model was right first; -1 for samples never learned.

    References
    ----------
    Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019.

    Examples
    --------
    >>> import torch
    >>> counter = ForgettingCounter(2)
    >>> for first, second in [(1, 0), (0, 0), (1, 0), (0, 0), (0, 0), (1, 0)]:
    ...     counter.update(torch.tensor([0, 1]), torch.tensor([first, second]) > 0)
    >>> counter.events, counter.scores, counter.first_learned
    (tensor([2, 0]), tensor([2, 6]), tensor([ 0, -1]))
    """

    def __init__(self, n_samples: int) -> None:
        self.n_samples = COUNT.check("n_samples", n_samples)
        self.reset()

    def reset(self) -> None:
        """Forget all presentations."""
        self.events, self.n_wrong, self.n_seen = (torch.zeros(self.n_samples, dtype=torch.int64) for _ in range(3))
        self.first_learned = torch.full((self.n_samples,), -1)
        self._margins = torch.zeros(self.n_samples, dtype=torch.float64)
        self._was_right = torch.zeros(self.n_samples, dtype=torch.bool)

    def update(self, ids: Tensor, correct: Tensor, margin: Tensor | None = None) -> None:
        """Add one presentation of each of some samples.

        Parameters
        ----------
        ids : Tensor of integers of shape (n,)
            Each at most once.
        correct : Tensor of bool of shape (n,)
            Whether the model was right.
        margin : Tensor of shape (n,), optional
            By how much: the logit of the class less the largest other logit. It decides among samples of equal counts.

        Raises
        ------
        ValueError
            If an id is out of range or occurs twice, shapes differ, or a margin is not a number.
        """
        ids = self._checked(ids)
        right = torch.as_tensor(correct).detach().cpu()
        if right.dtype != torch.bool or right.shape != ids.shape:
            raise ValueError(
                f"correct must be bool of shape {tuple(ids.shape)}; got {right.dtype} {tuple(right.shape)}"
            )
        if margin is not None:
            margin = torch.as_tensor(margin)
            if margin.shape != ids.shape or bool(margin.isnan().any()):
                raise ValueError(
                    f"margin must be numbers of shape {tuple(ids.shape)}; got {tuple(margin.shape)} or NaN"
                )
            self._margins[ids] += margin.detach().cpu().double()
        new = ids[right & (self.first_learned[ids] < 0)]
        self.first_learned[new] = self.n_seen[new]
        self.events[ids] += self._was_right[ids] & ~right
        self.n_wrong[ids] += ~right
        self.n_seen[ids] += 1
        self._was_right[ids] = right

    def observe(self, ids: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add one presentation of each of some samples, from logits of shape (n, n_classes) and labels."""
        rows = logits.detach()
        own = rows.gather(1, labels[:, None]).squeeze(1)
        others = rows.scatter(1, labels[:, None], -torch.inf).amax(1)
        # The argmax takes the first of equal logits; a tie with another class is a margin of 0 either way.
        self.update(ids, rows.argmax(1) == labels, torch.nan_to_num((own - others).double()))

    @property
    def never_learned(self) -> Tensor:
        """Which samples were presented and never right."""
        return (self.n_seen > 0) & (self.first_learned < 0)

    @property
    def scores(self) -> Tensor:
        """Forgetting events; of samples never learned, presentations."""
        return torch.where(self.never_learned, self.n_seen, self.events)

    def easiest(self, n: int, among: Tensor | None = None) -> Tensor:
        """Return the ids of the samples that are forgotten least, the easiest first.

        The order is by :attr:`scores`, then by presentations at which the model was wrong, then by falling mean margin,
        then by id. Most scores are 0 after a few presentations, so the rest of the order decides, and it must not
        depend on how a sort treats ties. Samples that were not presented are not chosen, as nothing is known of them.

        Parameters
        ----------
        n : int
            How many.
        among : Tensor of integers, optional
            Ids to choose from; by default all.

        Returns
        -------
        Tensor of int64 of shape (n,)

        Raises
        ------
        ValueError
            If there are not as many samples that were presented.
        """
        pool = torch.arange(self.n_samples) if among is None else self._checked(among).sort().values
        pool = pool[self.n_seen[pool] > 0]
        Integer(0, len(pool)).check("n", n)
        # Stable sorts from the last criterion to the first.
        for key in (-self._margins / self.n_seen.clamp(min=1), self.n_wrong, self.scores):
            pool = pool[torch.argsort(key[pool], stable=True)]
        return pool[:n]

    def state_dict(self) -> dict[str, Tensor]:
        """Return all counts."""
        return {name: getattr(self, name).clone() for name in _KEPT}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of as many samples."""
        for name in _KEPT:
            if state[name].shape != (self.n_samples,):
                raise ValueError(f"state must be of {self.n_samples} samples; got {len(state[name])} for {name}")
        for name in _KEPT:
            setattr(self, name, state[name].to("cpu", copy=True))

    def _checked(self, ids: Tensor) -> Tensor:
        found = torch.as_tensor(ids).detach().cpu()
        if found.ndim != 1 or found.is_floating_point() or found.dtype == torch.bool:
            raise ValueError(f"ids must be integers of shape (n,); got {found.dtype} of {tuple(found.shape)}")
        found = found.long()
        if len(found) and (int(found.min()) < 0 or int(found.max()) >= self.n_samples):
            got = f"{int(found.min())} to {int(found.max())}"
            raise ValueError(f"ids must be from 0 to {self.n_samples - 1}; got {got}")
        if len(found.unique()) < len(found):
            raise ValueError(f"ids must occur once in a batch; got {len(found) - len(found.unique())} of them again")
        return found


_KEPT = ("events", "n_wrong", "n_seen", "first_learned", "_margins", "_was_right")
