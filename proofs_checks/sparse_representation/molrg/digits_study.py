"""Digits are not a union of low-dimensional subspaces: subspace clustering beside k-means on real images."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import representation
from sparsetheory.gpu.core import datasets
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor

_COLUMNS = ("images", "classes", "method", "accuracy", "held of own / another class")
_WIDTH, _NEIGHBOURS = 12, 8
_CLASSES = ((0, 1), (2, 4, 7), (0, 3, 6, 8, 9))
_NOTES = (
    "Accuracy: share of images in the group of their class, in the best pairing. The last column says how much of the "
    "squared norm of a class the best 12 directions for it hold, and how much they hold of the other classes: a good "
    "part, as images share strokes. So classes are no separate subspaces, and subspace clustering does "
    "not replace k-means here."
)


def _accuracy(labels: Any, truth: Any) -> float:
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import confusion_matrix

    table = confusion_matrix(np.unique(truth, return_inverse=True)[1], labels)
    return float(table[linear_sum_assignment(-table)].sum() / len(truth))


def _methods(X: Any, count: int) -> dict[str, Any]:
    from sklearn.cluster import KMeans

    codes = representation.ssc_omp(X, count, _NEIGHBOURS)
    fit = representation.k_subspaces(X, count, _WIDTH, init=codes)
    random = representation.k_subspaces(X, count, _WIDTH, n_init=10)
    return {
        "k-means": KMeans(count, n_init=10, random_state=0).fit_predict(array(X)),
        "codes of 8 others": array(codes),
        "then K-subspaces of 12": array(fit.labels),
        "K-subspaces of 12, best of 10": array(random.labels),
    }


def _held(pixels: Any, member: Any) -> tuple[float, float]:
    """Return what the best subspace of a class holds of it, and of the other classes, in squared norm."""
    basis = np.linalg.svd(pixels[member], full_matrices=False)[2][:_WIDTH].T
    parts = (pixels[member], pixels[~member])
    own, other = (float(np.square(part @ basis).sum() / np.square(part).sum()) for part in parts)
    return own, other


def _rows(title: str, images: Any, classes: tuple[int, ...], per_class: int) -> list[tuple[Any, ...]]:
    chosen = np.concatenate([np.flatnonzero(images.labels == c)[:per_class] for c in classes])
    pixels, truth = images.images[chosen].reshape(len(chosen), -1).astype(np.float64), images.labels[chosen]
    own, other = np.mean([_held(pixels, truth == c) for c in classes], axis=0)
    with one_thread():
        found = _methods(tensor(pixels), len(classes))
    return [
        (title, "".join(map(str, classes)), name, round(_accuracy(labels, truth), 2), f"{own:.3f} / {other:.3f}")
        for name, labels in found.items()
    ]


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        groups = list(dict.fromkeys((row[0], row[1]) for row in rows))
        names = list(dict.fromkeys(row[2] for row in rows))
        for place, name in enumerate(names):
            own = {(row[0], row[1]): row[3] for row in rows if row[2] == name}
            ax.bar([g + (place - 1.5) / 5 for g in range(len(groups))], [own[g] for g in groups], 1 / 5, label=name)
        ax.set_xticks(range(len(groups)), [f"{title}\n{classes}" for title, classes in groups], fontsize=8)
        ax.set_ylabel("accuracy")
        ax.set_title("Groups of digits")
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncol=2)

    return draw


def _run(profile: str) -> StudyResult:
    digits = datasets.load_digits()
    per_class = 60 if profile == "quick" else 170
    rows = [row for classes in _CLASSES for row in _rows("digits 8x8", digits, classes, per_class)]
    if profile != "quick":
        mnist = datasets.load_mnist_5k()
        rows += [row for classes in _CLASSES for row in _rows("MNIST 28x28", mnist, classes, 100)]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


subspaces_of_digits = Study(
    name="sparse_representation.subspaces_of_digits",
    title="Are digits a union of subspaces?",
    description="Images of some classes, grouped by codes over other images, by K-subspaces and by k-means.",
    run=_run,
)
