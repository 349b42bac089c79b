"""Differences, Poisson equations on rectangles against cosine transforms of scipy, and within masks."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from sparsetheory.gpu.representation import image_divergence, image_gradient, poisson_neumann
from sparsetheory.gpu.representation.images.poisson import masked_poisson, screened_poisson


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _by_cosines(values, smoothing=1.0, anchor=0.0):
    down, right = (2 - 2 * np.cos(np.pi * np.arange(length) / length) for length in values.shape)
    scale = anchor + smoothing * (down[:, None] + right)
    spectrum = dctn(values, norm="ortho")
    if not anchor:
        scale[0, 0], spectrum[0, 0] = 1.0, 0.0
    return idctn(spectrum / scale, norm="ortho")


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (7, 1), (5, 6), (16, 16)])
def test_it_is_the_cosine_transform(shape, device):
    div = _normal(*shape)
    found = poisson_neumann(div.to(device)).cpu().numpy()
    assert np.abs(found + _by_cosines(div.numpy())).max() < 1e-12
    screened = screened_poisson(div.to(device), 0.7, 0.2).cpu().numpy()
    assert np.abs(screened - _by_cosines(div.numpy(), 0.7, 0.2)).max() < 1e-12


def test_several_images_at_once_and_single_precision():
    images = _normal(3, 6, 5)
    div = image_divergence(*image_gradient(images))
    found = poisson_neumann(div)
    assert torch.allclose(found, images - images.mean((1, 2), keepdim=True), atol=1e-12)
    assert torch.allclose(found[1], poisson_neumann(div[1]), atol=1e-14)
    single = poisson_neumann(div.float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), found, atol=1e-5)
    assert poisson_neumann(div.bfloat16()).dtype == torch.bfloat16


def test_a_large_image_keeps_its_digits():
    image = _normal(200, 300)
    found = poisson_neumann(image_divergence(*image_gradient(image)))
    assert torch.allclose(found, image - image.mean(), atol=1e-10)


def test_a_mask_is_least_squares_on_its_edges():
    mask = torch.rand(7, 8, generator=torch.Generator().manual_seed(1)) < 0.7
    down, right = _normal(6, 8), _normal(7, 7, seed=2)
    found = masked_poisson(down, right, mask)
    rows, values = [], []
    for i, j in np.ndindex(7, 8):
        for k, m, field in ((i + 1, j, down), (i, j + 1, right)):
            if k < 7 and m < 8 and mask[i, j] and mask[k, m]:
                row = np.zeros((7, 8))
                row[k, m], row[i, j] = 1, -1
                rows.append(row.ravel())
                values.append(float(field[i, j]))
    matrix = np.array(rows)
    solution = np.linalg.lstsq(matrix, np.array(values), rcond=None)[0]
    # The least-norm solution is free of means on each component already.
    assert np.abs(found.numpy().ravel() - solution).max() < 1e-9
    assert not found[~mask].any()


def test_a_full_mask_is_no_mask():
    image = _normal(9, 4)
    field = [part + 0.1 * _normal(*part.shape, seed=3) for part in image_gradient(image)]
    whole = masked_poisson(*field, torch.ones(9, 4, dtype=torch.bool))
    assert torch.allclose(whole, poisson_neumann(image_divergence(*field)), atol=1e-9)


def test_bad_input():
    with pytest.raises(ValueError, match="div must be finite"):
        poisson_neumann(torch.full((2, 2), torch.nan))
    with pytest.raises(ValueError, match=r"div must have at least one pixel; got shape \(0, 3\)"):
        poisson_neumann(torch.ones(0, 3))
    with pytest.raises(ValueError, match="div must have at least 2 axes"):
        poisson_neumann(torch.ones(3))
    with pytest.raises(ValueError, match="down and right must have shapes"):
        image_divergence(torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="image must have at least two axes"):
        image_gradient(torch.ones(3))
