"""Whitening of photographs: a ramp that flattens their 1/f amplitudes, and a low-pass filter against noise."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.coding.natural_images.photographs import check_image
from sparsetheory.constraints import COUNT, FLAG, POSITIVE, Choice
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["standardise_image", "whiten_image", "whiten_images", "whitening_filter"]

Boundary = Literal["wrap", "reflect"]


def whitening_filter(
    shape: tuple[int, int],
    *,
    cutoff: float = 0.4,
    steepness: float = 4.0,
    isotropic: bool = True,
    boundary: Boundary = "wrap",
) -> Float64Array:
    """Return the gain ``f exp(-(f / f0)^steepness)`` of the whitening filter at the frequencies f of a transform.

    Amplitudes of natural images fall about like 1/f, so the ramp f flattens them (Olshausen and Field, 1996).

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    cutoff : float
        Cut-off f0 in cycles per pixel, above 0.
    steepness : float
        Steepness of the cut-off, above 0.
    isotropic : bool
        Measure frequency in cycles per pixel. If False, measure it in cycles per image along each axis, with `cutoff`
        times the height as cut-off, like Rentzeperis and others (2023): on images that are not square, the cut-off
        then depends on the orientation, and the gain grows with the image. On square images the two are proportional.
    boundary : {"wrap", "reflect"}
        The frequencies of ``scipy.fft.rfft2`` (the image goes on periodically, as in the reference) or of
        ``scipy.fft.dctn`` (it goes on as its mirror image).

    Returns
    -------
    ndarray of shape (height, width // 2 + 1), or (height, width) for "reflect"

    Examples
    --------
    >>> whitening_filter((4, 4), cutoff=1.0, steepness=2.0).round(3)[0]
    array([0.   , 0.235, 0.389])
    """
    POSITIVE.require(cutoff=cutoff, steepness=steepness)
    FLAG.check("isotropic", isotropic)
    Choice("wrap", "reflect").check("boundary", boundary)
    if np.shape(shape) != (2,):
        raise ValueError(f"shape must be (height, width); got {shape!r}")
    height, width = (COUNT.check("shape", side) for side in shape)
    if boundary == "wrap":
        rows, columns = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    else:
        rows, columns = np.arange(height) / (2 * height), np.arange(width) / (2 * width)
    if not isotropic:
        rows, columns, cutoff = rows * height, columns * width, cutoff * height
    frequency = np.hypot(rows[:, None], columns)
    # A steep filter may have powers beyond the range of floating point; its gain there is zero.
    with np.errstate(over="ignore"):
        return frequency * np.exp(-((frequency / cutoff) ** steepness))


def standardise_image(image: ArrayLike) -> AnyArray:
    """Shift and scale an image to mean 0 and standard deviation 1.

    Parameters
    ----------
    image : array_like of shape (height, width)
        Grey, finite, not constant.

    Returns
    -------
    ndarray of shape (height, width)
        float32 stays, everything else becomes float64.

    Raises
    ------
    ValueError
        If the image is constant, in colour or not finite.

    Examples
    --------
    >>> standardise_image([[0, 2], [2, 0]])
    array([[-1.,  1.],
           [ 1., -1.]])
    """
    pixels = check_image("image", image)
    low, high = pixels.min(), pixels.max()
    if low == high:
        raise ValueError(f"image must not be constant; got {low} everywhere")
    # Squares of huge or tiny pixels would leave the range of floating point.
    pixels = pixels / max(-low, high)
    pixels -= pixels.mean()
    return pixels / pixels.std()


def whiten_image(
    image: ArrayLike,
    *,
    cutoff: float = 0.4,
    steepness: float = 4.0,
    isotropic: bool = True,
    boundary: Boundary = "wrap",
) -> AnyArray:
    """Standardise an image and filter it by :func:`whitening_filter`.

    Parameters
    ----------
    image : array_like of shape (height, width)
        Grey, finite, not constant.
    cutoff, steepness, isotropic, boundary
        As in :func:`whitening_filter`.

    Returns
    -------
    ndarray of shape (height, width)
        Mean 0; float32 stays, everything else becomes float64.

    Raises
    ------
    ValueError
        If the image is constant, in colour or not finite.

    Notes
    -----
    O(p log p) for p pixels. With "wrap", opposite borders meet at an edge that the filter enhances: on the bundled
    photographs, the two pixels next to the border get 2 to 7 times the variance of the image. With "reflect" they do
    not stand out.

    Examples
    --------
    A grating below the cut-off keeps its shape.

    >>> grating = np.cos(2 * np.pi * 0.25 * np.arange(8)) * np.ones((8, 1))
    >>> white = whiten_image(grating, cutoff=0.5, steepness=2.0)
    >>> (white[0, :4] / white[0, 0]).round(12) + 0.0
    array([ 1.,  0., -1.,  0.])
    """
    from scipy import fft

    image = standardise_image(image)
    gain = whitening_filter(image.shape, cutoff=cutoff, steepness=steepness, isotropic=isotropic, boundary=boundary)
    gain = gain.astype(image.dtype)
    if boundary == "wrap":
        return fft.irfft2(fft.rfft2(image) * gain, s=image.shape)
    return fft.idctn(fft.dctn(image) * gain)


def whiten_images(
    images: Sequence[ArrayLike],
    *,
    cutoff: float = 0.4,
    steepness: float = 4.0,
    isotropic: bool = True,
    boundary: Boundary = "wrap",
    variance: float = 0.1,
) -> list[AnyArray]:
    """Whiten images and scale them together so that their pixels have a given variance on average over images.

    Parameters
    ----------
    images : sequence of array_like of shape (height, width)
        Grey, finite, not constant; at least one.
    cutoff, steepness, isotropic, boundary
        As in :func:`whitening_filter`.
    variance : float
        Mean over the images of the variance of their pixels, above 0.

    Returns
    -------
    list of ndarray

    Raises
    ------
    ValueError
        If there is no image, one is constant, in colour or not finite, or the filter leaves nothing of them.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> white = whiten_images([rng.normal(size=(16, 16)), rng.normal(size=(20, 9))])
    >>> round(float(np.mean([image.var() for image in white])), 12)
    0.1
    """
    POSITIVE.check("variance", variance)
    white = [
        whiten_image(image, cutoff=cutoff, steepness=steepness, isotropic=isotropic, boundary=boundary)
        for image in images
    ]
    if not white:
        raise ValueError("images must hold at least one image; got none")
    power = np.mean([image.var() for image in white])
    if power < np.finfo(white[0].dtype).tiny:
        raise ValueError(
            f"cutoff must let frequencies of the images pass; got cutoff={cutoff:g} with steepness={steepness:g}"
        )
    scale = np.sqrt(variance / power)
    return [image * image.dtype.type(scale) for image in white]
