"""Categories of planted receptive fields, and their limits."""

from dataclasses import replace

import numpy as np
import pytest

from sparsetheory.coding.receptive_fields.categories import RF_CATEGORIES, rf_categories
from sparsetheory.coding.receptive_fields.gabor import fit_gabor
from sparsetheory.coding.receptive_fields.gabor_model import gabor_function

SIZE = 12


def _gabor(x=0.0, y=0.0, sigma_x=2.0, sigma_y=2.0, theta=0.5, frequency=0.2, phase=0.3):
    return gabor_function(np.array([1.0, x, y, sigma_x, sigma_y, theta, frequency, phase]), SIZE)


def _edge(theta, width, length):
    x = np.arange(SIZE) - 5.5
    u, v = np.cos(theta) * x + np.sin(theta) * x[:, None], np.cos(theta) * x[:, None] - np.sin(theta) * x
    return (u * np.exp(-(u**2) / (2 * width**2) - v**2 / (2 * length**2))).ravel()


def test_planted_fields(rng):
    oriented = [_gabor(theta=t, frequency=f) for t in (0.0, 1.0, 2.5) for f in (0.15, 0.25)]
    # Edges are derivatives of Gaussians, with hardly a cycle in the best envelope; bars are long bumps.
    edges = [_edge(*p) for p in [(0.0, 1.5, 3.0), (0.8, 1.5, 1.5), (2.0, 1.2, 2.5)]]
    bars = [_gabor(sigma_x=1.0, sigma_y=w, frequency=0.0, phase=0.0) for w in (2.5, 4.0)]
    blobs = [_gabor(sigma_x=s, sigma_y=w, frequency=0.0, phase=0.0) for s, w in [(1.0, 1.0), (2.0, 2.0), (1.5, 2.2)]]
    noise = [rng.standard_normal(SIZE**2) for _ in range(3)]
    wave = {"sigma_x": 1.5, "sigma_y": 1.5, "frequency": 0.25, "phase": np.pi / 2}
    # Two edges of unlike energy at opposite corners: one function fits the larger, 1 / (1 + 0.75^2) = 0.64.
    pair = [_gabor(-3, -3, theta=0.2, **wave) + 0.75 * _gabor(3, 3, theta=1.8, **wave)]
    D = np.stack(oriented + edges + bars + blobs + noise + pair)
    expected = ["oriented"] * 11 + ["blob"] * 3 + ["unstructured"] * 3 + ["composite"]
    assert rf_categories(D, SIZE).tolist() == expected
    noisy = D + 0.2 * D.std(axis=1, keepdims=True) * rng.standard_normal(D.shape)
    assert rf_categories(noisy, SIZE).tolist() == expected


def test_limits():
    one = fit_gabor(_gabor()[None], SIZE)
    below = np.nextafter
    # In equal shares of even and odd energy, tan(phase)^2 = (1 + o) / (1 - o) with o = exp(-(2 pi nx)^2).
    overlap = np.exp(-((2 * np.pi * 0.1) ** 2))
    balance = np.arctan(np.sqrt((1 + overlap) / (1 - overlap)))
    for r2, cycles, phase, sigma_y, expected in [
        (0.8, 0.15, 0.0, 1.0, "oriented"),
        (0.8, below(0.15, 0), 0.0, 1.0, "blob"),
        (1.0, 0.0, 1.5, 1.0, "blob"),
        (1.0, 0.1, balance - 1e-9, 1.0, "blob"),
        (1.0, 0.1, balance + 1e-9, 1.0, "oriented"),
        (1.0, 0.1, np.pi - balance + 1e-9, 1.0, "blob"),
        (1.0, 0.1, -balance - 1e-9, 1.0, "oriented"),
        (1.0, 0.0, 0.0, below(2.0, 0), "blob"),
        (1.0, 0.0, 0.0, 2.0, "oriented"),
        (1.0, 0.0, 0.0, 0.5, "oriented"),
        (below(0.8, 0), 0.3, 0.0, 1.0, "composite"),
        (0.5, 0.0, 0.0, 1.0, "composite"),
        (below(0.5, 0), 0.3, 0.0, 1.0, "unstructured"),
    ]:
        numbers = {"r2": r2, "width_along": 1.0, "width_across": sigma_y, "frequency": cycles, "phase": phase}
        fits = replace(one, **{name: np.array([number]) for name, number in numbers.items()})
        assert rf_categories(_gabor()[None], SIZE, fits=fits).tolist() == [expected]
        assert expected in RF_CATEGORIES


def test_given_fits_are_used(rng):
    D = rng.standard_normal((3, SIZE**2))
    assert np.array_equal(rf_categories(D, SIZE), rf_categories(D, SIZE, fits=fit_gabor(D, SIZE)))
    assert rf_categories(D[:0], SIZE).shape == (0,)


def test_fits_of_other_atoms(rng):
    D = rng.standard_normal((3, SIZE**2))
    with pytest.raises(
        ValueError, match=r"fits must be of these atoms; got 2 fits of side 12 for D of shape \(3, 144\)"
    ):
        rf_categories(D, SIZE, fits=fit_gabor(D[:2], SIZE))
    with pytest.raises(ValueError, match="D must have no constant atom"):
        rf_categories(np.ones((1, 4)), 2)
