"""Fine-tuning of small networks: coordinates, layer scales, low-rank adapters, and a task of other classes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import dimension
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces import networks
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces.pretraining import N_STEPS, N_TUNE, pretrained
from sparsetheory.typing import Float64Array

_SEEDS = range(5)
_N_TENSORS, _N_OLD, _HEAD_LR = 4, 5, 1e-2
# The smallest adapters of both layers have 64 + 64 + 64 + 10 numbers, a head has 650.
_DIMS, _N_ADAPTER, _N_HEAD = (10, 20, 40, 80, 202), 202, 650
_ADAPTER_RATES = (3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
_COLUMNS = ("task", "trained", "numbers", "accuracy", "standard deviation")
_SHIFTED, _OTHER = "digits moved by a pixel", "other classes, 5 to 9"


def _tuned(model: Any, task: networks.Task, lr: float = networks.LR["subspace"]) -> float:
    few = task.few(N_TUNE)
    return networks.accuracy(networks.fitted(model, few, lr, N_STEPS, head_lr=_HEAD_LR), task)


def _moved(seed: int) -> networks.Task:
    return networks.shifted(networks.digits(seed))


def _stacked(seed: int, d: int) -> float:
    """Train the published stack, at a rate that makes up for its longer columns."""
    model = dimension.SAID(pretrained(seed), d, per_tensor=True, generator=networks.map_seed(seed))
    return _tuned(model, _moved(seed), networks.LR["subspace"] / _N_TENSORS**0.5)


def _adapted(seed: int, lr: float) -> float:
    """Train adapters of rank 1 on both layers."""
    import torch
    from torch import nn
    from torch.nn.utils import parametrize

    class Adapter(nn.Module):
        def __init__(self, n_out: int, n_in: int) -> None:
            super().__init__()
            self.down = nn.Parameter(torch.randn(1, n_in, generator=source) / n_in**0.5)
            self.up = nn.Parameter(torch.zeros(n_out, 1))

        def forward(self, weight: Any) -> Any:
            return weight + self.up @ self.down

    # One source for both layers, which would start in the same direction otherwise.
    source = torch.Generator().manual_seed(networks.map_seed(seed))
    model = pretrained(seed).requires_grad_(False)
    for layer in (model[0], model[2]):
        parametrize.register_parametrization(layer, "weight", Adapter(*layer.weight.shape))
    return _tuned(model, _moved(seed), lr)


def _on_moved_digits() -> list[tuple[str, int, list[float]]]:
    """Return methods, numbers that are trained, and accuracies of the seeds."""

    def plain(start: Callable[[int], Any]) -> Callable[[int, int], float]:
        return lambda seed, d: _tuned(networks.in_subspace(start(seed), d, networks.KINDS[2], seed), _moved(seed))

    methods: dict[str, Callable[[int, int], float]] = {
        "coordinates, fresh network": plain(networks.network),
        "coordinates": plain(pretrained),
        "coordinates and layer scales": lambda seed, d: _tuned(
            dimension.SAID(pretrained(seed), d, generator=networks.map_seed(seed)), _moved(seed)
        ),
        "the same, published stack": _stacked,
    }
    found = [(name, d, [method(seed, d) for seed in _SEEDS]) for name, method in methods.items() for d in _DIMS]
    adapted = [[_adapted(seed, lr) for seed in _SEEDS] for lr in _ADAPTER_RATES]
    found.append(("adapters of rank 1, best of 5 rates", _N_ADAPTER, max(adapted, key=np.mean)))
    full = [_tuned(pretrained(seed), _moved(seed), networks.LR["direct"]) for seed in _SEEDS]
    return [*found, ("all weights", 4810, full)]


def _on_other_classes() -> list[tuple[str, int, list[float]]]:
    """Return the same for the classes 5 to 9, from networks for the classes 0 to 4."""

    def old(seed: int) -> Any:
        task = networks.digits(seed).of_classes(0, _N_OLD)
        return networks.fitted(networks.network(seed), task, networks.LR["direct"], 200)

    def new_head(seed: int) -> Any:
        module = old(seed)
        module[2] = networks.network(seed + len(_SEEDS))[2]
        return module

    def head_alone(seed: int) -> Any:
        module = new_head(seed)
        module[0].requires_grad_(False)
        return module

    def scores(make: Callable[[int], Any], lr: float = networks.LR["subspace"]) -> list[float]:
        return [_tuned(make(seed), networks.digits(seed).of_classes(_N_OLD, 2 * _N_OLD), lr) for seed in _SEEDS]

    def placed(seed: int, start: Callable[[int], Any], d: int, direct: str | tuple[()] = ()) -> Any:
        return networks.in_subspace(start(seed), d, seed=seed, direct=direct)

    found = []
    for d in (10, 40):
        starts = {"coordinates, fresh network": networks.network, "coordinates, with the old head": old}
        for name, start in starts.items():
            found.append((name, d, scores(partial(placed, start=start, d=d))))
        with_head = scores(partial(placed, start=new_head, d=d, direct="2"))
        found.append(("coordinates and a fresh head", d + _N_HEAD, with_head))
    return [*found, ("a fresh head alone", _N_HEAD, scores(head_alone, _HEAD_LR))]


def _plot(found: list[tuple[str, int, list[float]]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.subplots()
        for name in dict.fromkeys(name for name, _, _ in found):
            numbers, values = zip(*((d, np.mean(one)) for label, d, one in found if label == name), strict=True)
            ax.plot(numbers, values, "o-" if len(numbers) > 1 else "s", label=name)
        ax.set_xscale("log")
        ax.set_xlabel("numbers that are trained")
        ax.set_ylabel("accuracy on digits moved by a pixel")
        ax.legend()

    return draw


def _rows(task: str, found: list[tuple[str, int, list[float]]]) -> list[tuple[str | float, ...]]:
    table: list[tuple[str, int, Float64Array]] = [(name, d, np.array(values)) for name, d, values in found]
    return [(task, name, d, round(float(v.mean()), 3), round(float(v.std(ddof=1)), 3)) for name, d, v in table]


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    moved, other = _on_moved_digits(), _on_other_classes()
    mean = {(name, d): float(np.mean(values)) for name, d, values in [*moved, *other]}
    scales = [mean["coordinates and layer scales", d] - mean["coordinates", d] for d in _DIMS]
    adapters = mean["adapters of rank 1, best of 5 rates", _N_ADAPTER] - mean["coordinates", _N_ADAPTER]
    flip = mean["coordinates, with the old head", 10] - mean["coordinates, fresh network", 10]
    notes = (
        f"Means of {len(_SEEDS)} seeds, {N_TUNE} samples to learn from at most. Layer scales change the accuracy by "
        f"{min(scales):+.3f} to {max(scales):+.3f} at equal numbers, which is within chance here, where "
        f"there are four tensors. Adapters of rank 1 differ by {adapters:+.3f} from as many coordinates. On other "
        f"classes the sign of pre-training flips: with the old head it costs {-flip:.2f} in 10 dimensions, as the "
        "head has to be unlearned within the subspace. A fresh head that is trained directly repairs that, and counts."
    )
    return StudyResult(_COLUMNS, [*_rows(_SHIFTED, moved), *_rows(_OTHER, other)], notes, _plot(moved))


fine_tuning = Study(
    name="intrinsic_dimension.fine_tuning",
    title="Fine-tuning with few numbers",
    description="Networks for digits are fine-tuned on the same digits moved by a pixel, and on other classes: random "
    "coordinates, layer scales, the published stack of maps, adapters of rank 1 and heads.",
    run=_run,
)
