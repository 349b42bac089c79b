"""Photographs from wheels: read without importing, clear about what is missing."""

import builtins
import importlib.machinery
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from sparsetheory.coding.natural_images.photographs import bundled_images, check_image, luminance

OPTIONAL = ("scikit-image", "pywavelets")


def test_default_photographs():
    images = bundled_images()
    assert list(images) == ["china", "flower", "grace_hopper"]
    for image in images.values():
        assert image.dtype == np.float64
        assert 0 <= image.min() < 0.1
        assert 0.8 < image.max() <= 1


def test_pixels_are_block_means_of_the_luma():
    from sklearn.datasets import load_sample_image

    picture = load_sample_image("china.jpg") / 255
    luma = 0.299 * picture[..., 0] + 0.587 * picture[..., 1] + 0.114 * picture[..., 2]
    image = bundled_images("scikit-learn")["china"]
    # 427 rows: the last has no partner.
    for row, column in [(0, 0), (100, 200), (212, 319)]:
        block = luma[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert image[row, column] == pytest.approx(block.mean())


@pytest.mark.parametrize("name", OPTIONAL)
def test_optional_photographs(name):
    try:
        images = bundled_images(name)
    except ImportError:
        pytest.skip("the extra is not installed")
    assert len(images) >= 2
    for image in images.values():
        assert min(image.shape) >= 300
        assert 0 <= image.min() < image.max() <= 1


@pytest.mark.parametrize(("name", "suffix", "channels"), [("scikit-image", "png", 3), ("pywavelets", "npz", 1)])
def test_files_are_read_from_the_folder_of_the_package(name, suffix, channels, tmp_path, monkeypatch, rng):
    from PIL import Image

    def fake(package):
        (tmp_path / "data").mkdir(exist_ok=True)
        return importlib.machinery.ModuleSpec(package, None, origin=str(tmp_path / "__init__.py"))

    monkeypatch.setattr(importlib.util, "find_spec", fake)
    with pytest.raises(FileNotFoundError):
        bundled_images(name)
    stored = rng.integers(0, 256, (6, 5, channels), dtype=np.uint8).squeeze()
    for stem in ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "aero", "ascent"):
        path = tmp_path / "data" / f"{stem}.{suffix}"
        np.savez(path, data=stored) if suffix == "npz" else Image.fromarray(stored).save(path)
    expected = luminance(stored / 255) if channels == 3 else stored / 255
    for image in bundled_images(name).values():
        assert image == pytest.approx(expected, abs=1e-15)


def test_reading_imports_no_package():
    code = (
        "import sys; from sparsetheory.coding.natural_images.photographs import bundled_images; bundled_images();"
        "print([m for m in ('sklearn', 'matplotlib', 'skimage', 'pywt', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("name", "extra"), [("matplotlib", "plots"), ("scikit-image", "examples")])
def test_missing_packages_name_the_extra(name, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ImportError, match=rf"the images of {name} need the extra.*sparsetheory\[{extra}\]"):
        bundled_images(name)


def test_missing_reader_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without_pillow(name, *args, **kwargs):
        if name == "PIL":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(ImportError, match=r"reading china.jpg needs Pillow.*sparsetheory\[plots\]"):
        bundled_images()


def test_unknown_source():
    with pytest.raises(ValueError, match=r"source must be one of 'scikit-learn', 'matplotlib', .*; got 'scipy'"):
        bundled_images("scikit-learn", "scipy")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_luminance_is_the_weighted_sum_and_drops_opacity(dtype, rng):
    picture = rng.integers(0, 256, (4, 5, 4)).astype(dtype)
    grey = luminance(picture)
    assert grey.dtype == (np.float32 if dtype == np.float32 else np.float64)
    # Three products and two sums of at most 255.
    atol = 5 * 255 * float(np.finfo(grey.dtype).eps)
    for row, column in np.ndindex(4, 5):
        red, green, blue, _ = map(float, picture[row, column])
        assert grey[row, column] == pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue, abs=atol)
    assert np.array_equal(luminance(picture[..., :3]), grey)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2), (3, 4, 5, 3)])
def test_luminance_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"image must have shape \(height, width, 3\)"):
        luminance(np.ones(shape))


@pytest.mark.parametrize("entry", [1j, "a", True, None])
def test_luminance_of_other_entries(entry):
    with pytest.raises(TypeError, match="image must hold integers or floats of 32 or 64 bits"):
        luminance(np.full((2, 2, 3), entry))


def test_checked_images_are_contiguous_floats():
    image = np.asfortranarray(np.arange(6).reshape(2, 3))
    checked = check_image("picture", image)
    assert checked.flags.c_contiguous
    assert checked.dtype == np.float64
    assert checked.tolist() == image.tolist()
    single = np.ones((2, 2), np.float32)
    assert check_image("picture", single) is single
    with pytest.raises(TypeError, match="picture must hold integers or floats of 32 or 64 bits; got dtype bool"):
        check_image("picture", np.ones((2, 2), bool))
