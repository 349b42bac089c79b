"""Random masks found by several searches that may spend equally many steps of training."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import search
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_search.random_masks.digits_pairs import DIGITS, MNIST, Pictures, parent, split

_DENSITY, _CANDIDATES, _PARENTS = 0.1, 16, 6
_SETS = {"digits": (DIGITS, 1920), "MNIST": (MNIST, 6400)}
_METHODS = (
    "one random mask",
    "best initial loss of 16",
    "best of 4, trained alike",
    "best of 16, trained alike",
    "halving of 16",
)
_COLUMNS = ("pictures", "steps in all", "method", "steps of the winner", "mean accuracy", "standard deviation")
_NOTES = (
    "Each way spends the same steps of training, over networks with a tenth of the nodes; candidates are chosen by one "
    "half of the pictures that are held out, and accuracies are those of the other half, over six parents. "
    "Halving gives the winner a quarter of the steps. Its accuracy "
)


class _Arm:
    """A network under a mask of nodes, trained as the smaller network that it is."""

    def __init__(self, pictures: Pictures, model: Any, masks: Any) -> None:
        data, (chooses, self._judges) = split(pictures), _halves(pictures)
        smaller = search.remove_nodes(model, masks)
        self.run = search.MaskedRun(smaller, {}, data.train, chooses, lr=2e-3, batch_size=100)

    def __call__(self, n_steps: int) -> float:
        with one_thread():
            return self.run(n_steps)

    def accuracy(self) -> float:
        """Return the accuracy on pictures that chose nothing."""
        import torch

        x, labels = self._judges
        with torch.no_grad():
            return float((self.run.model(x).argmax(1) == labels).double().mean())


@cache
def _halves(pictures: Pictures) -> tuple[Any, Any]:
    x, labels = split(pictures).held_out
    middle = len(x) // 2
    return (x[:middle], labels[:middle]), (x[middle:], labels[middle:])


def _found(pictures: Pictures, budget: int, seed: int) -> list[tuple[int, float]]:
    """Return for each method the steps of its winner and the winner's accuracy."""
    import torch

    model, sampler = parent(pictures, seed), search.NodeSampler(_DENSITY)

    def start(given: Any, masks: Any) -> _Arm:
        return _Arm(pictures, given, masks)

    def alike(n: int) -> _Arm:
        source = torch.Generator().manual_seed(seed)
        arms = [start(model, sampler(model, source)) for _ in range(n)]
        return arms[int(np.argmax([arm(budget // n) for arm in arms]))]

    with one_thread():
        best = search.random_mask_search(model, sampler, split(pictures).initial_loss, _CANDIDATES, seed).mask
    by_initial_loss = start(model, best)
    by_initial_loss(budget)
    halved = search.halving_mask_search(model, sampler, start, _CANDIDATES, budget, generator=seed).run
    assert isinstance(halved, _Arm)
    winners = (alike(1), by_initial_loss, alike(4), alike(_CANDIDATES), halved)
    return [(arm.run.n_steps, arm.accuracy()) for arm in winners]


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(_SETS), sharey=True)
        for ax, title in zip(axes, _SETS, strict=True):
            chosen = [row for row in rows if row[0] == title]
            ax.errorbar([row[4] for row in chosen], range(len(chosen)), xerr=[row[5] for row in chosen], fmt="o")
            ax.set_yticks(range(len(chosen)), [row[2] for row in chosen])
            ax.set_title(f"{title}: {_SETS[title][1]} steps in all", fontsize=9)
            ax.set_xlabel("accuracy")
        axes[0].invert_yaxis()

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = []
    for title, (pictures, budget) in _SETS.items():
        found = [_found(pictures, budget, seed) for seed in range(_PARENTS)]
        for number, method in enumerate(_METHODS):
            accuracies = [one[number][1] for one in found]
            spread = float(np.std(accuracies, ddof=1))
            mean = float(np.mean(accuracies))
            rows.append((title, budget, method, found[0][number][0], round(mean, 4), round(spread, 4)))
    return StudyResult(_COLUMNS, rows, _NOTES + _differences(rows), _plot(rows))


def _differences(rows: list[tuple[Any, ...]]) -> str:
    """Say how far halving is from one random mask and from candidates that are all trained alike."""
    found = {(row[0], row[2]): row[4] for row in rows}
    first, *_, alike, halving = _METHODS
    said = [
        f"minus that of {words} is "
        + " and ".join(f"{found[title, halving] - found[title, other]:+.3f} ({title})" for title in _SETS)
        for words, other in (("one random mask", first), ("16 candidates trained alike", alike))
    ]
    return ", ".join(said) + "."


halving_at_equal_steps = Study(
    name="sparse_search.halving_at_equal_steps",
    title="Searches over random masks at equal steps of training",
    description="One random mask, the best of several by the loss before training, the best of several that are "
    "trained alike, and successive halving find a network for handwritten digits with the same steps in all.",
    run=_run,
)
