"""What a search over operations chooses for digits, beside random choices and the exact allocation of densities."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, search
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_search.supernet.digits_chain import DIGITS, MNIST, ChainRun

_SEEDS = {"digits": (DIGITS, 6), "MNIST": (MNIST, 3)}
_PRICES = (0.01, 0.1)
_DENSITIES = (0.05, 0.25, 1.0)
_COLUMNS = (
    "pictures",
    "price",
    "seed",
    "edges",
    "entropy, mean",
    "cost in dense edges",
    "sparse search",
    "dense search, pruned",
    "random operations",
    "densities of the oracle",
    "oracle",
)
_NOTES = (
    "Accuracies on pictures that no search has seen. The dense search is pruned to the weights that the sparse one "
    "uses. The oracle trains three dense edges for half of the steps, allocates densities to them by their error "
    "curves, within the operations that the sparse search chose (at least three edges of density 0.05), prunes by "
    "magnitude and trains on. An entropy of 1.39 nats is no choice at all. Choices differ from seed to seed and "
    "accuracies hardly, and random operations do as well: here there is nothing to find but cost. Where little may be "
    "spent, a layer less is better than three thin ones, which an allocation of densities alone cannot say."
)


def _oracle(run: ChainRun) -> tuple[tuple[float, ...], float]:
    """Return densities of the edges by the exact allocation within the searched cost, and the accuracy they reach."""
    found, _ = run.with_sparse_ops
    x, _ = run.parts[2]
    half = run.pictures.n_steps // 2
    network = search.derive(run.chain(("dense",)))
    model, _ = run.train(network, {}, half)
    names = list(core.find_layers(model))[1:-1]
    budget = max(found.cost / len(names), 1.01 * min(_DENSITIES))
    with one_thread():
        chosen = search.allocate_densities(model, [x[:500]], _DENSITIES, min(budget, 1.0), layers=names)
    masks = {
        name: core.PerTensor(density).mask(model.get_parameter(name).detach().abs())
        for name, density in chosen.densities.items()
    }
    _, accuracy = run.train(model, masks, run.pictures.n_steps - half)
    return tuple(chosen.densities.values()), accuracy


def _row(title: str, run: ChainRun) -> tuple[Any, ...]:
    found, _ = run.with_sparse_ops
    densities, oracle = _oracle(run)
    at_random = float(np.mean([one.accuracy for one in run.at_random]))
    accuracies = (run.sparse.accuracy, run.dense_then_pruned.accuracy, at_random)
    entropy = float(np.mean(found.entropy))
    words = ", ".join(name.removeprefix("sparse:") for name in found.ops)
    return (
        title,
        run.price,
        run.seed,
        words,
        round(entropy, 2),
        round(found.cost, 2),
        *(round(accuracy, 4) for accuracy in accuracies),
        ", ".join(f"{density:g}" for density in densities),
        round(oracle, 4),
    )


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(_SEEDS))
        for ax, title in zip(axes, _SEEDS, strict=True):
            chosen = [row for row in rows if row[0] == title]
            for column, marker in ((6, "o"), (7, "s"), (8, "x"), (10, "^")):
                ax.plot([row[5] for row in chosen], [row[column] for row in chosen], marker, label=_COLUMNS[column])
            ax.set_xlabel("cost of the search, dense edges")
            ax.set_title(title)
        axes[0].set_ylabel("accuracy")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2, fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = [
        _row(title, ChainRun(seed, 200, price, pictures))
        for title, (pictures, n_seeds) in _SEEDS.items()
        for price in _PRICES
        for seed in range(n_seeds)
    ]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


chains = Study(
    name="sparse_search.chains",
    title="Operations chosen by differentiable search",
    description="Chains of three edges choose among identity, dense, and sparse layers of two densities, by gradients; "
    "beside them a dense search that is pruned, random choices, and the exact allocation of densities.",
    run=_run,
)
