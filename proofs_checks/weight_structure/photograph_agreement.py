"""A network for photographs, pruned at once without training, beside the dense network; made once per process."""

from functools import cache
from typing import Any

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.typing import AnyArray

__all__ = ["pruned_agreement"]

_BATCH = 19


@cache
def _network() -> Any:
    return core.models.load_mobilenet_v2()


def _crops(image: AnyArray) -> list[AnyArray]:
    """Return a picture, and three quarters of both its sides: at each corner and in the middle."""
    rest = [side // 4 for side in image.shape[:2]]
    height, width = (side - off for side, off in zip(image.shape[:2], rest, strict=True))
    places = [(top, left) for top in (0, rest[0]) for left in (0, rest[1])] + [(rest[0] // 2, rest[1] // 2)]
    return [image, *(image[top : top + height, left : left + width] for top, left in places)]


@cache
def _inputs() -> Any:
    photographs = core.datasets.load_photographs().images
    return core.models.imagenet_inputs([crop for image in photographs for crop in _crops(image)])


def _classes(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in _inputs().split(_BATCH)])


@cache
def _dense_classes() -> Any:
    return _classes(_network())


def _pointwise() -> list[str]:
    """Return the names of the 34 convolutions of size 1 x 1."""
    layers = core.find_layers(_network()).items()
    return [name for name, layer in layers if getattr(layer, "kernel_size", None) == (1, 1)]


@cache
def pruned_agreement(method: str, sparsity: float) -> float:
    """Prune the 1 x 1 convolutions of MobileNetV2 at once; return the share of crops of photographs of the same class.

    Parameters
    ----------
    method : str
        Of :func:`sparsetheory.gpu.weights.evaluate_pruned`, without calibration.
    sparsity : float

    Returns
    -------
    float
        Share of crops, six of each photograph, whose first class is that of the dense network.

    Raises
    ------
    ImportError
        Without torch, scikit-image or the package that carries the weights.
    """

    def agreement(model: Any) -> float:
        return float((_classes(model) == _dense_classes()).double().mean())

    with one_thread():
        return weights.evaluate_pruned(agreement, _network(), method, layers=_pointwise())(sparsity)
