"""The whitening filter against its formula, and what it does to photographs."""

import warnings

import numpy as np
import pytest
from coding.spectra import spectral_slope
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.natural_images.photographs import bundled_images
from sparsetheory.coding.natural_images.whitening import (
    standardise_image,
    whiten_image,
    whiten_images,
    whitening_filter,
)

EPS = np.finfo(float).eps
both = pytest.mark.parametrize("boundary", ["reflect", "wrap"])
shapes = st.tuples(st.integers(2, 12), st.integers(2, 12))


@given(shapes, st.floats(0.05, 2), st.floats(0.5, 8))
def test_filter_is_its_formula_at_every_frequency(shape, f0, steepness):
    height, width = shape
    wrapped, reflected = (
        whitening_filter(shape, cutoff=f0, steepness=steepness, boundary=name) for name in ("wrap", "reflect")
    )
    assert wrapped.shape == (height, width // 2 + 1)
    assert reflected.shape == shape
    for row in range(height):
        for column in range(width):
            half_cycles = np.hypot(row / (2 * height), column / (2 * width))
            assert reflected[row, column] == pytest.approx(half_cycles * np.exp(-((half_cycles / f0) ** steepness)))
        for column in range(width // 2 + 1):
            cycles = np.hypot(min(row, height - row) / height, column / width)
            assert wrapped[row, column] == pytest.approx(cycles * np.exp(-((cycles / f0) ** steepness)))


def _published(image):
    # Integer bins from the middle of the shifted transform, and 0.4 of the height as cut-off.
    height, width = image.shape
    down, right = np.meshgrid(np.arange(height) - height // 2, np.arange(width) - width // 2, indexing="ij")
    radius = np.hypot(down, right)
    gain = radius * np.exp(-((radius / (0.4 * height)) ** 4))
    scaled = (image - image.min()) / (image.max() - image.min())
    scaled = (scaled - scaled.mean()) / scaled.std()
    return np.fft.ifft2(np.fft.fft2(scaled) * np.fft.ifftshift(gain)).real


@pytest.mark.parametrize("shape", [(32, 32), (31, 31), (24, 36), (25, 36), (24, 35)])
def test_the_published_recipe(shape, rng):
    image = rng.standard_normal(shape)
    white = whiten_image(image, isotropic=False, boundary="wrap")
    expected = _published(image)
    # A transform adds a relative error of order eps log2(pixels) to the norm, the gain is at most 0.3 * height.
    assert white == pytest.approx(expected, abs=10 * EPS * np.log2(image.size) * np.linalg.norm(image) * shape[0])


@both
@given(st.integers(2, 40), st.integers(0, 9))
def test_square_images_see_no_difference_but_a_factor(boundary, side, seed):
    image = np.random.default_rng(seed).standard_normal((side, side))
    ours = whiten_image(image, boundary=boundary)
    published = whiten_image(image, isotropic=False, boundary=boundary)
    assert published == pytest.approx(side * ours, abs=1e-12 * side)
    (one,), (other,) = (whiten_images([image], isotropic=flag, boundary=boundary) for flag in (True, False))
    assert one == pytest.approx(other, abs=1e-12)


def test_bins_of_images_that_are_not_square_depend_on_the_orientation():
    rows, columns = np.mgrid[:64, :128]
    waves = [np.cos(2 * np.pi * rows / 4), np.cos(2 * np.pi * columns / 4)]
    ours = [whiten_image(wave, boundary="wrap").std() for wave in waves]
    published = [whiten_image(wave, isotropic=False, boundary="wrap").std() for wave in waves]
    assert ours[0] == pytest.approx(ours[1])
    # A quarter of a cycle per pixel is 16 and 32 bins, and the cut-off is 0.4 * 64 bins for both.
    gains = [16 * np.exp(-((16 / 25.6) ** 4)), 32 * np.exp(-((32 / 25.6) ** 4))]
    assert published == pytest.approx(gains)


@given(shapes, st.integers(0, 9))
def test_reflection_is_the_periodic_filter_of_the_mirrored_image(shape, seed):
    image = np.random.default_rng(seed).standard_normal(shape)
    mirrored = np.block([[image, image[:, ::-1]], [image[::-1], image[::-1, ::-1]]])
    expected = whiten_image(mirrored, boundary="wrap")[: shape[0], : shape[1]]
    assert whiten_image(image, boundary="reflect") == pytest.approx(expected, abs=1e-12)


@both
def test_opposite_borders_meet_in_an_edge_only_when_wrapped(boundary):
    ramp = np.outer(np.linspace(0, 1, 64), np.ones(64)) + 0.1 * np.random.default_rng(0).standard_normal((64, 64))
    energy = whiten_image(ramp, boundary=boundary) ** 2
    border = np.r_[energy[0], energy[-1]].mean() / energy[8:-8].mean()
    assert border > 5 if boundary == "wrap" else border < 1.5


@pytest.mark.parametrize("name", ["china", "flower", "grace_hopper"])
def test_photographs_get_a_flat_spectrum(name):
    image = bundled_images()[name]
    before, after = spectral_slope(image), spectral_slope(whiten_image(image))
    assert -3 < before < -2
    assert -1 < after < 0.1
    # The ramp adds 2 to the slope of the power, the low-pass filter takes some of it back at the high end.
    assert 1.8 < after - before <= 2


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_dtype_and_mean(boundary, dtype, rng):
    images = [rng.standard_normal(shape).astype(dtype) for shape in ((20, 31), (16, 16))]
    white = whiten_images(images, boundary=boundary, variance=0.3)
    assert [w.dtype for w in white] == [dtype, dtype]
    assert [w.shape for w in white] == [(20, 31), (16, 16)]
    eps = float(np.finfo(dtype).eps)
    assert np.mean([w.var() for w in white]) == pytest.approx(0.3, rel=100 * eps)
    assert [w.mean() for w in white] == pytest.approx([0, 0], abs=10 * eps)
    # One factor for all: the ratio of the variances is that of the images whitened alone.
    alone = [whiten_image(image, boundary=boundary).var() for image in images]
    assert white[0].var() / white[1].var() == pytest.approx(alone[0] / alone[1], rel=100 * eps)


def test_contrast_and_brightness_do_not_matter(rng):
    image = rng.integers(0, 256, (17, 22))
    expected = whiten_image(image)
    assert whiten_image(4 * image + 64) == pytest.approx(expected, abs=1e-13)
    assert whiten_image(-image) == pytest.approx(-expected, abs=1e-13)
    for scale in (1e-200, 1e200):
        assert whiten_image(scale * image) == pytest.approx(expected, abs=1e-12)


def test_standardised_images(rng):
    standard = standardise_image(rng.exponential(size=(9, 7)))
    assert (standard.mean(), standard.std()) == pytest.approx((0, 1), abs=1e-14)


def test_a_filter_of_any_steepness_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gain = whitening_filter((8, 8), cutoff=0.2, steepness=1e300)
    frequencies = np.hypot(np.fft.fftfreq(8)[:, None], np.fft.rfftfreq(8))
    np.testing.assert_array_equal(gain, np.where(frequencies < 0.2, frequencies, 0.0))


def test_input_is_read_in_any_layout_and_kept(rng):
    image = rng.standard_normal((15, 10))
    copy = image.copy()
    image.flags.writeable = False
    white = whiten_image(image)
    assert np.array_equal(whiten_image(np.asfortranarray(image)), white)
    assert np.array_equal(whiten_image(image[::-1])[::-1], whiten_image(image.copy()[::-1])[::-1])
    assert np.array_equal(image, copy)
    assert whiten_image((image > 0).astype(np.uint8)).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: whiten_image(np.full((5, 5), 3.0)), ValueError, "image must not be constant; got 3.0 everywhere"),
        (lambda: whiten_image(np.ones((5, 5, 3))), ValueError, r"image must be grey.*sparsetheory.coding.luminance"),
        (lambda: whiten_image(np.ones(5)), ValueError, r"image must have shape \(height, width\); got \(5,\)"),
        (lambda: whiten_image(np.ones((0, 5))), ValueError, r"image must have shape \(height, width\); got \(0, 5\)"),
        (lambda: whiten_image([[1, np.nan]]), ValueError, "image must be finite"),
        (lambda: whiten_image([[1, 2j]]), TypeError, "image must hold integers or floats of 32 or 64 bits"),
        (lambda: whiten_image(np.eye(4), cutoff=0), ValueError, "cutoff must be a finite positive number; got 0"),
        (lambda: whiten_image(np.eye(4), steepness=-1), ValueError, "steepness must be a finite positive number"),
        (lambda: whiten_image(np.eye(4), boundary="zero"), ValueError, "boundary must be one of 'wrap', 'reflect'"),
        (lambda: whiten_images([np.eye(4)], variance=0), ValueError, "variance must be a finite positive number"),
        (
            lambda: whiten_images([np.eye(4)], cutoff=1e-4),
            ValueError,
            "cutoff must let frequencies .* got cutoff=0.0001 with steepness=4",
        ),
        (lambda: whitening_filter((0, 4)), ValueError, "shape must be an integer from 1 to .*; got 0"),
        (lambda: whitening_filter((4.5, 4)), ValueError, "shape must be an integer from 1 to .*; got 4.5"),
        (lambda: whitening_filter(4), ValueError, r"shape must be \(height, width\); got 4"),
        (lambda: whiten_images([]), ValueError, "images must hold at least one image"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
