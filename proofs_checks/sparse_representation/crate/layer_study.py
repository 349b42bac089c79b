"""A layer fitted without training, beside an untrained block and a trained one, on patches of digits."""

from collections.abc import Callable
from dataclasses import replace
from textwrap import fill
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis, core, representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.crate.networks import BATCH, EPS, LR, N_TRAIN, digits

# Overlapping patches of 4 x 4 pixels, 9 of a picture; subspaces that have as many dimensions together as a patch.
_PATCH, _STRIDE, _SUBSPACES = 4, 2, 4
_DIM = _PATCH**2
_ALPHA = 0.1
_COLUMNS = ("layer", "rate before", "rate after", "share of nonzeros", "accuracy of a linear head")


def _tokens(images: Any) -> Any:
    """Return patches as tokens of mean 0 and standard deviation 1 each; blank ones stay zero."""
    from torch.nn import functional

    cells = functional.unfold(images.unsqueeze(1), _PATCH, stride=_STRIDE).transpose(1, 2)
    return functional.layer_norm(cells, (_DIM,))


def _block(seed: int) -> Any:
    return representation.CrateBlock(_DIM, _SUBSPACES, generator=seed)


def _trained_block(seed: int, tokens: Any, labels: Any, n_steps: int) -> Any:
    """Train a block with a linear head on all of its tokens; return the block."""
    import torch

    head = core.models.MLP([tokens[0].numel(), 10], generator=seed)
    model = torch.nn.Sequential(_block(seed), torch.nn.Flatten(), head)
    adam = torch.optim.AdamW(model.parameters(), lr=LR)
    core.train(model, tokens, labels, optimizer=adam, n_steps=n_steps, batch_size=BATCH, generator=seed)
    return model[0]


def _accuracy(codes: Any, labels: Any) -> float:
    """Return the accuracy of a linear head that is trained on some codes, on the others."""
    features = codes.flatten(1)
    head = analysis.linear_probe(features[:N_TRAIN], labels[:N_TRAIN], standardise=True)
    return core.accuracy(head.logits(features[N_TRAIN:]), labels[N_TRAIN:])


def _of_block(block: Any, tokens: Any) -> tuple[Any, ...]:
    import torch

    with torch.no_grad():
        U = block.attention.bases
        rates = [representation.compressed_rate(Z, U, EPS).mean() for Z in (tokens, block.compress(tokens))]
        return (*rates, block(tokens))


def _of_layer(layer: Any, tokens: Any) -> tuple[Any, ...]:
    return (layer.rate(tokens).mean(), layer.rate(layer.compress(tokens)).mean(), layer.step(tokens))


def _layers(seed: int, profile: str) -> dict[str, list[float]]:
    """Return rates before and after, sparsity and accuracy of each layer."""
    images, labels = digits(seed)
    tokens = _tokens(images)
    train, n_steps = tokens[:N_TRAIN], 100 if profile == "quick" else 1000
    found: dict[str, tuple[Any, ...]] = {"none: the tokens": (float("nan"), float("nan"), tokens)}
    found["untrained block"] = _of_block(_block(seed), tokens)
    options: dict[str, Any] = {"n_init": 2, "n_batches": 30} if profile == "quick" else {}
    for mode, title in (("exact", "fitted, exact step"), ("code", "fitted, published attention")):
        layer = representation.fit_crate_layer(
            train, _SUBSPACES, _DIM // _SUBSPACES, EPS, _ALPHA, mode=mode, generator=seed, **options
        )
        found[f"{title}, 1 coding step"] = _of_layer(layer, tokens)
        found[f"{title}, 20 coding steps"] = _of_layer(replace(layer, n_iter=20), tokens)
    found["trained block"] = _of_block(_trained_block(seed, train, labels[:N_TRAIN], n_steps), tokens)
    return {
        title: [float(before), float(after), float((codes != 0).double().mean()), _accuracy(codes, labels)]
        for title, (before, after, codes) in found.items()
    }


def _run(profile: str) -> StudyResult:
    seeds = range(1) if profile == "quick" else range(5)
    with one_thread():
        runs = [_layers(seed, profile) for seed in seeds]
    rows = [
        (title, *(round(float(value), 3) for value in np.mean([run[title] for run in runs], axis=0)))
        for title in runs[0]
    ]
    notes = (
        f"Digits, 9 patches of 4 x 4 pixels, means over {len(runs)} split{'s' * (len(runs) > 1)}. Rates are those of "
        "each layer's own subspaces. The linear head sees all tokens of a picture, trained on 1200 pictures. Fitted "
        "layers have seen no label; the trained block has learned with them."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, 3, sharey=True)
        titles = [row[0] for row in rows]
        changes = [0.0 if np.isnan(row[1]) else row[2] - row[1] for row in rows]
        columns = {"change of the rate": changes, _COLUMNS[3]: [row[3] for row in rows]}
        columns[_COLUMNS[4]] = [row[4] for row in rows]
        for ax, (title, values) in zip(axes, columns.items(), strict=True):
            ax.barh(range(len(rows)), values)
            ax.set_title(fill(title, 12), fontsize=9)
        axes[0].set_yticks(range(len(rows)), titles, fontsize=7)
        axes[0].invert_yaxis()
        axes[2].set_xlim(min(columns[_COLUMNS[4]]) - 0.05, 1.0)

    return draw


fitted_layer = Study(
    name="sparse_representation.fitted_layer",
    title="A layer without training",
    description="Patches of digits through a layer whose subspaces come from clustering and whose dictionary comes "
    "from sparse coding, beside an untrained block of CRATE and one trained on the labels.",
    run=_run,
)
