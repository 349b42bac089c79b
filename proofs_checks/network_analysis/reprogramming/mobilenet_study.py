"""A network for photographs that shall read handwritten digits: heads, few features, normalisations, a prompt."""

import copy
from functools import cache
from itertools import pairwise
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis, core, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

_SPARSITIES = (0.0, 0.3)
_SHOTS, _HELD_OUT, _JUDGED = 10, 10, 30
_IMAGE, _CANVAS, _N_CLASSES = 48, 96, 10
_EPOCHS, _BATCH = 20, 50
_COLUMNS = (
    "sparsity of 1 x 1 convolutions",
    "head",
    "head, ECE",
    "sparse head",
    "features of the sparse head",
    "normalisations and head",
    "prompt",
    "prompt, ECE",
)


@cache
def _digits() -> tuple[tuple[Any, Any], ...]:
    """Return images of three equal channels in [0, 1] and classes: to learn from, to choose by, to judge by."""
    import torch

    stored = core.datasets.load_mnist_5k()
    images, labels = torch.from_numpy(stored.images)[:, None], torch.from_numpy(stored.labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    of_class = [order[labels[order] == label] for label in range(_N_CLASSES)]
    ends = (0, _SHOTS, _SHOTS + _HELD_OUT, _SHOTS + _HELD_OUT + _JUDGED)
    parts = [torch.cat([rows[first:last] for rows in of_class]) for first, last in pairwise(ends)]
    return tuple((images[part].repeat(1, 3, 1, 1), labels[part]) for part in parts)


def _resized(images: Any, size: int) -> Any:
    from torch.nn import functional

    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


@cache
def _network(sparsity: float) -> Any:
    """Return MobileNetV2 behind a normalisation of colours, its 1 x 1 convolutions pruned at once by magnitude."""
    import torch

    model = copy.deepcopy(core.models.load_mobilenet_v2())
    layers = core.find_layers(model).items()
    pointwise = [f"{name}.weight" for name, layer in layers if getattr(layer, "kernel_size", None) == (1, 1)]
    params = {name: model.get_parameter(name) for name in pointwise}
    weights.one_shot_masks(params, sparsity).apply(model)
    colours = torch.nn.BatchNorm2d(3, affine=False, eps=0.0)
    # The means and standard deviations of ImageNet that the network is fitted to.
    colours.running_mean = torch.tensor((0.485, 0.456, 0.406))
    colours.running_var = torch.tensor((0.229, 0.224, 0.225)).square()
    return torch.nn.Sequential(colours, model).eval()


def _pooled(network: Any, images: Any) -> Any:
    """Return the features before the head, of images that fill the canvas."""
    import torch

    def features(part: Any) -> Any:
        return network[1].features(network[0](part)).mean(dim=(2, 3))

    with torch.no_grad():
        return torch.cat([features(part) for part in _resized(images, _CANVAS).split(_BATCH)])


def _heads(network: Any) -> tuple[float, float, float, int]:
    """Return accuracy and calibration error of a new head, then accuracy and features of a sparse one."""
    (x, y), (held, chosen), (rest, labels) = _digits()
    few, validation, judged = (_pooled(network, images) for images in (x, held, rest))
    logits = analysis.linear_probe(few, y).logits(judged)
    path = analysis.sparse_probes(few, y)
    best = max(path.probes, key=lambda probe: core.accuracy(probe.logits(validation), chosen))
    sparse = core.accuracy(best.logits(judged), labels)
    return core.accuracy(logits, labels), analysis.ece(logits.softmax(1), labels), sparse, best.n_features


def _normalisations(network: Any) -> float:
    """Train scales and shifts of normalisations, with a new head; statistics stay as they are."""
    import torch

    (x, y), _, (rest, labels) = _digits()
    tuned = copy.deepcopy(network).requires_grad_(False)
    tuned[1].classifier[1] = torch.nn.Linear(tuned[1].classifier[1].in_features, _N_CLASSES)
    torch.nn.init.zeros_(tuned[1].classifier[1].weight)
    for module in tuned.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
            module.requires_grad_(True)
    adam = torch.optim.Adam([parameter for parameter in tuned.parameters() if parameter.requires_grad], lr=2e-3)
    images, generator = _resized(x, _CANVAS), torch.Generator().manual_seed(0)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(y), generator=generator).split(_BATCH):
            adam.zero_grad()
            core.class_loss(tuned(images[rows]), y[rows]).backward()
            adam.step()
    with torch.no_grad():
        logits = torch.cat([tuned(part) for part in _resized(rest, _CANVAS).split(_BATCH)])
    return core.accuracy(logits, labels)


def _prompt(network: Any) -> tuple[float, float]:
    """Return accuracy and calibration error of a prompt, the best of its epochs on held-out samples."""
    train, validation, (rest, labels) = _digits()
    border = analysis.ExpansivePrompt(_IMAGE, _CANVAS, channels=3)
    found = analysis.reprogram(
        network,
        (_resized(train[0], _IMAGE), train[1]),
        border,
        validation=(_resized(validation[0], _IMAGE), validation[1]),
        n_epochs=_EPOCHS,
        batch_size=_BATCH,
        map_every=2,
        lr=0.05,
    )
    logits = found.logits(network, _resized(rest, _IMAGE))
    return core.accuracy(logits, labels), analysis.ece(logits.softmax(1), labels)


def _row(sparsity: float) -> tuple[Any, ...]:
    network = _network(sparsity)
    with one_thread():
        head, error, sparse, n_features = _heads(network)
        prompt, prompt_error = _prompt(network)
        found = (head, error, sparse, n_features, _normalisations(network), prompt, prompt_error)
    return (sparsity, *(value if isinstance(value, int) else round(value, 4) for value in found))


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        names = ("head", "sparse head", "normalisations and head", "prompt")
        for index, row in enumerate(rows):
            places = [place + 0.4 * index for place in range(len(names))]
            values = [row[_COLUMNS.index(name)] for name in names]
            ax.bar(places, values, width=0.38, label=f"sparsity {row[0]:g}")
        ax.set_xticks([place + 0.2 for place in range(len(names))], [name.replace(" and ", "\nand ") for name in names])
        ax.axhline(1 / _N_CLASSES, color="0.4", linewidth=0.8)
        ax.set_ylabel("accuracy on MNIST")
        ax.set_title(f"MobileNetV2 for digits, {_SHOTS} samples of a class")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncol=len(rows))

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows = [_row(sparsity) for sparsity in _SPARSITIES]
    notes = (
        f"{_SHOTS} samples of a class to learn from, as many to choose the penalty and the epoch by, {_JUDGED} to "
        f"judge by; images of {_CANVAS} pixels, for the prompt of {_IMAGE} in a border. One split: differences of "
        "a few hundredths say nothing. Sparse weights are pruned at once, without training."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


reprogrammed_mobilenet = Study(
    name="network_analysis.reprogrammed_mobilenet",
    title="MobileNetV2 reads handwritten digits",
    description="A network for photographs, dense and pruned, stays frozen: a new linear head on all features or on "
    "few, scales and shifts of its normalisations, or a border and a label map, for digits of MNIST.",
    run=_run,
)
