"""Photographs that ship inside the wheels of other packages: nothing is downloaded."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import real_array, require_finite_entries
from sparsetheory.constraints import Choice
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["bundled_images", "check_image", "luminance"]


@dataclass(frozen=True)
class _Source:
    package: str
    folder: str
    files: tuple[str, ...]
    extra: str
    blocks: bool = False


# Photographs only, and each once: scikit-image and PyWavelets both carry the cameraman.
_SOURCES: Mapping[str, _Source] = MappingProxyType(
    {
        "scikit-learn": _Source("sklearn", "datasets/images", ("china.jpg", "flower.jpg"), "plots", blocks=True),
        "matplotlib": _Source("matplotlib", "mpl-data/sample_data", ("grace_hopper.jpg",), "plots", blocks=True),
        "scikit-image": _Source(
            "skimage",
            "data",
            ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "grass.png", "gravel.png"),
            "examples",
        ),
        "pywavelets": _Source("pywt", "data", ("aero.npz", "ascent.npz"), "examples"),
    }
)


def bundled_images(*sources: str) -> dict[str, Float64Array]:
    """Read the photographs that other packages carry.

    JPEG files show the borders of their 8 x 8 blocks once they are whitened, so their pixels are averaged 2 x 2.

    Parameters
    ----------
    *sources : {"scikit-learn", "matplotlib", "scikit-image", "pywavelets"}
        Packages to take; the first two by default.

    Returns
    -------
    dict of str to ndarray of shape (height, width)
        Luminance between 0 and 1, by name, in the order asked for.

    Raises
    ------
    ValueError
        If a source is unknown.
    ImportError
        Without the extra that carries a source: ``sparsetheory[plots]`` for the first two (scikit-learn is always
        there, Pillow, which reads its JPEG files, is not), ``sparsetheory[examples]`` for the others.

    Examples
    --------
    >>> {name: image.shape for name, image in bundled_images().items()}
    {'china': (213, 320), 'flower': (213, 320), 'grace_hopper': (300, 256)}
    """
    images = {}
    for name in sources or ("scikit-learn", "matplotlib"):
        source = _SOURCES[Choice(*_SOURCES).check("source", name)]
        folder = _data_folder(name, source)
        for file in source.files:
            image = _read(folder / file, source.extra)
            images[Path(file).stem] = _halve(image) if source.blocks else image
    return images


def luminance(image: ArrayLike) -> AnyArray:
    """Return the luma of a colour image: 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601).

    The weights apply to the values as stored, that is after gamma correction.

    Parameters
    ----------
    image : array_like of shape (height, width, 3) or (height, width, 4)
        Red, green, blue and possibly opacity, which is dropped.

    Returns
    -------
    ndarray of shape (height, width)
        In the units of `image`; float32 stays, other numbers become float64.

    Raises
    ------
    ValueError
        For another shape.
    TypeError
        If its entries are neither integers nor floats of 32 or 64 bits.

    Examples
    --------
    >>> luminance(np.ones((2, 2, 3)))
    array([[1., 1.],
           [1., 1.]])
    """
    pixels = real_array("image", image)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError(f"image must have shape (height, width, 3) or (height, width, 4); got {pixels.shape}")
    return pixels[:, :, :3] @ np.array([0.299, 0.587, 0.114], pixels.dtype)


def check_image(name: str, image: ArrayLike) -> AnyArray:
    """Return a grey image as a contiguous array; float32 stays, other numbers become float64.

    Parameters
    ----------
    name : str
        For the messages.
    image : array_like of shape (height, width)
        Finite integers or floats.

    Raises
    ------
    ValueError
        If it is not such an image.
    TypeError
        If its entries are neither integers nor floats of 32 or 64 bits.
    """
    pixels = real_array(name, image)
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        raise ValueError(f"{name} must be grey; got shape {pixels.shape}: convert it by sparsetheory.coding.luminance")
    if pixels.ndim != 2 or pixels.size == 0:
        raise ValueError(f"{name} must have shape (height, width); got {pixels.shape}")
    pixels = np.ascontiguousarray(pixels)
    require_finite_entries(name, pixels)
    return pixels


def _data_folder(name: str, source: _Source) -> Path:
    # Importing the packages would cost seconds; only their data files are needed.
    package = importlib.util.find_spec(source.package)
    if package is None or package.origin is None:
        raise ImportError(f"the images of {name} need the extra: pip install 'sparsetheory[{source.extra}]'")
    return Path(package.origin).parent / source.folder


def _read(path: Path, extra: str) -> Float64Array:
    if path.suffix == ".npz":
        with np.load(path) as stored:
            return stored["data"] / 255.0
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"reading {path.name} needs Pillow: pip install 'sparsetheory[{extra}]'") from error
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    return (luminance(pixels) if pixels.ndim == 3 else pixels) / 255.0


def _halve(image: Float64Array) -> Float64Array:
    height, width = (length // 2 for length in image.shape)
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
