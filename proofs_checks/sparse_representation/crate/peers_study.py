"""White-box transformers beside the usual one with the same tokens: accuracy, parameters, rates and sparsity."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.crate.networks import BATCH, EPS, LR
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

_DIM, _HEADS, _LAYERS, _MEASURED = 32, 4, 4, 200
# Loader, side of a picture, side of a patch, pictures to train on, steps, seeds.
_QUICK = {"digits": ("load_digits", 8, 2, 1200, 30, 1)}
_FULL = {"digits": ("load_digits", 8, 2, 1200, 600, 3), "MNIST-5k": ("load_mnist_5k", 28, 4, 4000, 300, 2)}
_COLUMNS = ("data", "network", "parameters", "accuracy", "rise of the rate", "least share", "greatest share")


def _white_box(mode: str, seed: int, image: int, patch: int) -> Any:
    return representation.Crate(
        image, patch, dim=_DIM, n_heads=_HEADS, n_layers=_LAYERS, mode=mode, eps=EPS, generator=seed
    )


def _usual(hidden: int, seed: int, image: int, patch: int) -> Any:
    """Return the same network with layers of torch's transformer in place of those of CRATE."""
    import torch
    from torch import nn

    model = _white_box("code", seed, image, patch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [
            nn.TransformerEncoderLayer(_DIM, _HEADS, hidden, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(_LAYERS)
        ]
    model.blocks = nn.ModuleList(layers)
    return model


_NETWORKS: dict[str, Callable[[int, int, int], Any]] = {
    "CRATE": lambda *sizes: _white_box("code", *sizes),
    "CRATE, exact step": lambda *sizes: _white_box("exact", *sizes),
    # One layer of CRATE has 3 dim^2 weights, one of torch's 4 dim^2 + 2 dim hidden.
    "transformer, 4 times as wide inside": lambda *sizes: _usual(4 * _DIM, *sizes),
    "transformer, narrow inside": lambda *sizes: _usual(_DIM // 8, *sizes),
}


def _trained(network: str, seed: int, data: tuple[Any, ...]) -> tuple[float, ...]:
    """Return parameters, accuracy and, where the network has them, rise of the rate and shares of nonzeros."""
    import torch

    loader, image, patch, n_train, n_steps, _ = data
    x, y = shuffled_digits(seed, loader)
    x = x.reshape(-1, image, image)
    model = _NETWORKS[network](seed, image, patch)
    adam = torch.optim.AdamW(model.parameters(), lr=LR)
    core.train(model, x[:n_train], y[:n_train], optimizer=adam, n_steps=n_steps, batch_size=BATCH, generator=seed)
    with torch.no_grad():
        accuracy = core.accuracy(model.eval()(x[n_train:]), y[n_train:])
    count = sum(parameter.numel() for parameter in model.parameters())
    if not network.startswith("CRATE"):
        return count, accuracy, np.nan, np.nan, np.nan
    report = representation.crate_report(model, [x[n_train : n_train + _MEASURED]], EPS)
    shares = report.nonzero_fraction
    return count, accuracy, report.rise, float(shares.min()), float(shares.max())


def _run(profile: str) -> StudyResult:
    rows: list[tuple[Any, ...]] = []
    with one_thread():
        for name, data in (_QUICK if profile == "quick" else _FULL).items():
            for network in _NETWORKS:
                means = np.mean([_trained(network, seed, data) for seed in range(data[-1])], axis=0)
                rows.append((name, network, int(means[0]), *(round(float(value), 3) for value in means[1:])))
    notes = (
        "Four layers of 32 features; all networks have the same tokens, steps and rates of learning. The rate is "
        f"measured before and after the attention of each layer at a distortion of {EPS:g}, and summed over layers. "
        "Circles are digits, squares MNIST. The quick profile trains too short to compare accuracies."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for i, name in enumerate(dict.fromkeys(row[0] for row in rows)):
            own = [row for row in rows if row[0] == name]
            for j, row in enumerate(own):
                label = row[1] if i == 0 else None
                left.plot(row[2], row[3], "os^"[i], color=f"C{j}", label=label)
                if not np.isnan(row[4]):
                    right.bar(f"{name}\n{row[1].removeprefix('CRATE, ')}", row[4], color=f"C{j}")
        left.set_xlabel("parameters")
        left.set_ylabel("accuracy")
        right.set_ylabel("rise of the compressed rate in nats")
        right.tick_params(axis="x", labelsize=7)
        right.axhline(0.0, color="grey", lw=0.8)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncol=2, fontsize=7)

    return draw


white_box_peers = Study(
    name="sparse_representation.white_box_peers",
    title="CRATE beside the usual transformer",
    description="Small networks on digits, and in the full profile on MNIST: accuracy and parameters of CRATE, of its "
    "form with the exact step, and of torch's transformer layers on the same tokens.",
    run=_run,
)
