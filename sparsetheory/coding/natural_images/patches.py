"""Random patches of whitened photographs, the data of sparse coding models of vision."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.coding.natural_images.photographs import bundled_images, check_image
from sparsetheory.coding.natural_images.whitening import whiten_images
from sparsetheory.constraints import COUNT, FLAG, SIZE, generator
from sparsetheory.typing import AnyArray

__all__ = ["natural_patches"]


def natural_patches(
    n_patches: int,
    size: int,
    images: "Literal['bundled'] | Sequence[ArrayLike] | Mapping[str, ArrayLike]" = "bundled",
    *,
    whiten: bool = True,
    random_state: Any = None,
) -> AnyArray:
    """Draw square patches of images, each minus its mean.

    Image and place are uniform, as in Rentzeperis and others (2023); the images are whitened and scaled to a mean pixel
    variance of 0.1 first.

    Parameters
    ----------
    n_patches : int
        Patches, at least 0.
    size : int
        Side of a patch in pixels.
    images : "bundled", sequence of array_like of shape (height, width), or mapping to such arrays
        Grey images of at least size x size pixels. "bundled" stands for :func:`bundled_images`, three photographs that
        need the extra ``sparsetheory[plots]``.
    whiten : bool
        Call :func:`whiten_images` first. Pass False for images that are already whitened.
    random_state : None, int, Generator or RandomState
        Source of the draws.

    Returns
    -------
    ndarray of shape (n_patches, size * size)
        One patch a row, its pixels row by row. float32 if every image is, otherwise float64.

    Raises
    ------
    ValueError
        If a patch is larger than an image, or an image is constant, in colour or not finite.
    ImportError
        If bundled images are asked for without the extra.

    Notes
    -----
    O(n_patches size^2), after one Fourier transform per image. Every row sums to zero, so that patches span at most
    ``size^2 - 1`` dimensions.

    Examples
    --------
    >>> X = natural_patches(1000, 12, random_state=0)
    >>> X.shape, bool(abs(X.mean(axis=1)).max() < 1e-15)
    ((1000, 144), True)
    """
    SIZE.check("n_patches", n_patches)
    FLAG.check("whiten", whiten)
    size = COUNT.check("size", size)
    rng = generator(random_state)
    pictures = _pictures(images, size)
    if whiten:
        pictures = whiten_images(pictures)
    which = rng.integers(len(pictures), size=n_patches)
    places = np.array([np.subtract(picture.shape, size - 1) for picture in pictures])[which]
    rows, columns = rng.integers(places[:, 0]), rng.integers(places[:, 1])
    patches = np.empty((n_patches, size, size), np.result_type(*pictures))
    for index, picture in enumerate(pictures):
        mine = which == index
        patches[mine] = np.lib.stride_tricks.sliding_window_view(picture, (size, size))[rows[mine], columns[mine]]
    flat = patches.reshape(n_patches, size * size)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat


def _pictures(images: Any, size: int) -> list[AnyArray]:
    if isinstance(images, str):
        if images != "bundled":
            raise ValueError(f"images must be 'bundled' or a sequence of arrays; got {images!r}")
        images = bundled_images()
    if isinstance(images, Mapping):
        images = list(images.values())
    if not isinstance(images, Iterable):
        raise TypeError(f"images must be 'bundled' or a sequence of arrays; got {images!r}")
    pictures = [check_image(f"images[{index}]", image) for index, image in enumerate(images)]
    if not pictures:
        raise ValueError("images must hold at least one image; got none")
    for index, picture in enumerate(pictures):
        if min(picture.shape) < size:
            raise ValueError(f"size must be at most the sides of images[{index}], {picture.shape}; got {size}")
    return pictures
