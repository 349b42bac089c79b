"""Mosaics hold every atom once, scaled by itself; the plot shows the mosaic."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.dictionary.plot import dictionary_mosaic, plot_dictionary


@given(st.integers(2, 6), st.integers(1, 12), st.none() | st.integers(1, 15))
def test_tiles_are_the_atoms_scaled_by_themselves(size, n, columns):
    D = np.random.default_rng(n).standard_normal((n, size * size)) * np.geomspace(1e-3, 1e3, n)[:, None]
    mosaic = dictionary_mosaic(D, size, n_columns=columns)
    across = columns or int(np.ceil(np.sqrt(n)))
    down = -(-n // across)
    assert mosaic.shape == (down * (size + 1) + 1, across * (size + 1) + 1)
    # Grey pixels are those of n tiles; everything between is missing.
    assert np.isfinite(mosaic).sum() == n * size * size
    for k in range(n):
        row, column = (1 + place * (size + 1) for place in divmod(k, across))
        tile = mosaic[row : row + size, column : column + size]
        assert np.array_equal(tile.ravel(), D[k] / np.abs(D[k]).max())


def test_default_is_about_square():
    assert dictionary_mosaic(np.eye(4)[[0, 1, 2] * 4], 2).shape == (10, 13)


def test_dtype_and_layout(rng):
    D = rng.standard_normal((5, 9)).astype(np.float32)
    mosaic = dictionary_mosaic(D, 3)
    assert mosaic.dtype == np.float32
    D.flags.writeable = False
    assert np.array_equal(dictionary_mosaic(np.asfortranarray(D), 3), mosaic, equal_nan=True)


def test_plot_shows_the_mosaic_in_the_middle_of_the_greys(rng):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    D = rng.standard_normal((7, 16))
    figure, given = pyplot.subplots()
    ax = plot_dictionary(D, 4, ax=given, n_columns=3)
    assert ax is given
    (image,) = ax.images
    shown = np.ma.filled(image.get_array(), np.nan)
    assert np.array_equal(shown, dictionary_mosaic(D, 4, n_columns=3), equal_nan=True)
    assert image.get_clim() == (-1, 1)
    assert not ax.axison
    figure.canvas.draw()
    own = plot_dictionary(D, 4)
    assert own is not given
    pyplot.close(figure)
    pyplot.close(own.figure)


def test_mosaics_need_no_matplotlib():
    code = (
        "import sys, numpy; from sparsetheory.coding.dictionary.plot import dictionary_mosaic;"
        "dictionary_mosaic(numpy.eye(4), 2); print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("D", "size", "columns", "message"),
    [
        (np.eye(9), 2, None, r"D must have shape \(n_atoms, size \* size\); got \(9, 9\)"),
        (np.ones((9, 2)), 3, None, r"got \(9, 2\) and size=3; its atoms seem to be columns, pass D.T"),
        (np.empty((0, 9)), 3, None, "D must have at least one row, an atom; got none"),
        (np.zeros((1, 9)), 3, None, "D must have no constant atom; row 0 is one"),
        (np.eye(9), 3, 0, "n_columns must be an integer from 1 to .*; got 0"),
    ],
)
def test_bad_input(D, size, columns, message):
    with pytest.raises(ValueError, match=message):
        dictionary_mosaic(D, size, n_columns=columns)
