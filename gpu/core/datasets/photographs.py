"""Photographs without labels, a pair of them for depth, and a satellite picture."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsetheory.gpu.core.datasets.files import debian_file, packaged_file

__all__ = [
    "Photographs",
    "SatelliteImage",
    "Stereo",
    "load_aloe",
    "load_motorcycle",
    "load_photographs",
    "load_sentinel2",
]

_COLOURED = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "ihc", "motorcycle_left", "retina", "rocket")
_GREY = ("brick", "camera", "cell", "coins", "grass", "gravel", "moon", "page", "text")
_SKLEARN = ("china", "flower")
_ALOE = "/usr/share/doc/opencv-doc/examples/data"


@dataclass(frozen=True, eq=False)
class Photographs:
    """Pictures of different sizes.

    Parameters
    ----------
    images : tuple of ndarray of uint8 of shape (height, width, 3)
        Red, green and blue; grey pictures have three equal colours.
    names : tuple of str
    """

    images: tuple[NDArray[np.uint8], ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Stereo:
    """Two pictures of one scene from neighbouring places, and how far each pixel moves between them.

    Parameters
    ----------
    left, right : ndarray of uint8 of shape (height, width, 3)
    disparity : ndarray of float32 of shape (height, width)
        Pixels to the left by which the right picture shows a point of the left one; not a number where unknown.
    """

    left: NDArray[np.uint8]
    right: NDArray[np.uint8]
    disparity: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SatelliteImage:
    """A picture in several bands of light.

    Parameters
    ----------
    pixels : ndarray of float32 of shape (n_bands, height, width)
        Share of the light that the ground reflects; 1 for all of it.
    bands : tuple of str
    """

    pixels: NDArray[np.float32]
    bands: tuple[str, ...]


def load_photographs() -> Photographs:
    """Load the photographs that scikit-image and scikit-learn ship, sorted by package and name.

    Returns
    -------
    Photographs

    Raises
    ------
    ImportError
        Without the extra ``sparsetheory[examples]``, which brings scikit-image.

    Notes
    -----
    Licences: public domain or CC0 for most, CC BY for some; the file ``README.txt`` beside the pictures lists them.
    """
    files = [packaged_file("scikit-image", f"skimage/data/{name}.*") for name in sorted(_COLOURED + _GREY)]
    files += [packaged_file("scikit-learn", f"sklearn/datasets/images/{name}.jpg") for name in _SKLEARN]
    return Photographs(tuple(_pixels(file) for file in files), tuple(file.stem for file in files))


def load_motorcycle() -> Stereo:
    """Load the stereo pair of a motorcycle that scikit-image ships.

    Returns
    -------
    Stereo
        Of 500 x 741 pixels.

    Raises
    ------
    ImportError
        Without the extra ``sparsetheory[examples]``, which brings scikit-image.

    Notes
    -----
    Licence: CC0. Source: D. Scharstein et al., "High-resolution stereo datasets with subpixel-accurate ground truth",
    GCPR 2014.
    """
    left, right, depth = (
        packaged_file("scikit-image", f"skimage/data/motorcycle_{name}")
        for name in ("left.png", "right.png", "disp.npz")
    )
    with np.load(depth) as stored:
        disparity = stored["arr_0"].astype(np.float32)
    return Stereo(_pixels(left), _pixels(right), np.where(np.isfinite(disparity), disparity, np.float32(np.nan)))


def load_aloe(path: str | Path = _ALOE) -> Stereo:
    """Load the stereo pair of an aloe that OpenCV ships.

    Parameters
    ----------
    path : str or Path
        Folder of ``aloeL.jpg``, ``aloeR.jpg`` and ``aloeGT.png``, where Debian's package ``opencv-doc`` puts them.

    Returns
    -------
    Stereo

    Raises
    ------
    FileNotFoundError
        If a file is missing.

    Notes
    -----
    Licence: Apache-2.0 (OpenCV). Source: H. Hirschmüller and D. Scharstein, "Evaluation of Cost Functions for Stereo
    Matching", CVPR 2007, whose pictures these are. Disparity 0 stands for unknown there.
    """
    names = ("aloeL.jpg", "aloeR.jpg", "aloeGT.png")
    left, right, depth = (_pixels(debian_file(Path(path) / name, "opencv-doc", f"{_ALOE}/{name}")) for name in names)
    known = depth[:, :, 0].astype(np.float32)
    return Stereo(left, right, np.where(known > 0, known, np.float32(np.nan)))


def load_sentinel2() -> SatelliteImage:
    """Load a chip of a Sentinel-2 picture: 300 x 300 pixels of 10 m, blue, green, red and near infrared.

    Returns
    -------
    SatelliteImage
        Stored in ten-thousandths of reflectance.

    Raises
    ------
    ImportError
        Without the package ``spyndex``; the message is the command that installs it.

    Notes
    -----
    Licence: the package MIT, the picture that of Copernicus Sentinel data.
    """
    stored = json.loads(packaged_file("spyndex", "data/S2_10m.json").read_bytes())
    return SatelliteImage(np.array(stored, dtype=np.float32) / np.float32(10_000), ("B02", "B03", "B04", "B08"))


def _pixels(file: Path) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(file) as picture:
        return np.array(picture.convert("RGB"))
