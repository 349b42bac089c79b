"""Which user likes which item: synthetic feedback and films, split into items to train with and items to find."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["Feedback", "draw_feedback", "film_feedback"]

_USERS, _ITEMS, _LATENT, _HIDDEN = 400, 300, 8, 4
# How much the tastes weigh against chance; the exponent of popularity; items of a user, whose numbers are Pareto.
_TASTE, _POPULARITY, _LEAST, _MOST, _TAIL = 3.0, 0.6, 12, 120, 1.5
_STARS = 4.0


@dataclass(frozen=True, eq=False)
class Feedback:
    """Items of each user that are trained with, and others that are to be found."""

    train: BoolArray
    test: BoolArray

    @property
    def degrees(self) -> Float64Array:
        """How many users each item is trained with."""
        return self.train.sum(0).astype(float)

    @property
    def tensors(self) -> tuple[Any, Any]:
        """Both in torch."""
        return tensor(self.train), tensor(self.test)


def draw_feedback(rng: np.random.Generator) -> Feedback:
    """Draw synthetic feedback: tastes of rank 8, popularities that follow a power law, and few very active users.

    Each user takes items one by one, without replacement, with probabilities proportional to popularity times the
    exponential of taste. Four of them are hidden.
    """
    users, items = rng.standard_normal((_USERS, _LATENT)), rng.standard_normal((_ITEMS, _LATENT))
    popularity = rng.permutation(np.arange(1, _ITEMS + 1) ** -_POPULARITY)
    counts = np.clip((rng.pareto(_TAIL, _USERS) + 1) * _LEAST, _LEAST, _MOST).astype(int) + _HIDDEN
    logits = _TASTE / np.sqrt(_LATENT) * users @ items.T + np.log(popularity)
    # The largest of logits with Gumbel noise are such a sample.
    order = np.argsort(-logits - rng.gumbel(size=logits.shape), axis=1)
    train, test = np.zeros((2, _USERS, _ITEMS), dtype=bool)
    for user, (taken, count) in enumerate(zip(order, counts, strict=True)):
        mixed = rng.permutation(taken[:count])
        test[user, mixed[:_HIDDEN]] = True
        train[user, mixed[_HIDDEN:]] = True
    return Feedback(train, test)


@cache
def film_feedback() -> Feedback:
    """Return the films that people gave four stars or five in MovieLens-100K; the last one of each person is hidden.

    Many ratings of a person carry the same time, so which of them is the last one is drawn. The number of the film is
    no way to decide it: high numbers are films that few have seen, and finding them is harder.
    """
    ratings = core.datasets.load_movielens_100k()
    liked = ratings.ratings >= _STARS
    users, items, times = ratings.users[liked], ratings.items[liked], ratings.times[liked]
    order = np.lexsort((np.random.default_rng(0).random(len(times)), times, users))
    users, items = users[order], items[order]
    last = np.append(users[1:] != users[:-1], True)
    train, test = np.zeros((2, len(np.unique(ratings.users)), len(ratings.titles)), dtype=bool)
    train[users[~last], items[~last]] = True
    test[users[last], items[last]] = True
    return Feedback(train, test)
