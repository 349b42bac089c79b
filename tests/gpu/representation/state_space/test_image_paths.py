"""Four paths through images, by hand, and the layer that is made of them."""

import pytest
import torch

from sparsetheory.gpu.representation import LowRankSS2D, ss2d_merge, ss2d_scan


def _images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 3), (3, 5), (4, 4)])
def test_paths_are_permutations_with_inverses(shape, device):
    numbers = torch.arange(shape[0] * shape[1], dtype=torch.float64, device=device).view(1, *shape)
    paths = ss2d_scan(numbers).squeeze(-1)
    for path in paths:
        assert torch.equal(path.sort().values, numbers.flatten())
    # One path alone, merged, puts each of its pixels where it came from.
    for index in range(4):
        alone = torch.zeros(4, paths.shape[1], 1, dtype=torch.float64, device=device)
        alone[index, :, 0] = paths[index]
        assert torch.equal(ss2d_merge(alone, shape), numbers)


def test_batches_and_channels_stay_apart():
    images = _images(2, 3, 4, 5, 6)
    paths = ss2d_scan(images)
    assert paths.shape == (2, 3, 4, 30, 4)
    assert torch.equal(paths[1, 2], ss2d_scan(images[1, 2]))
    assert torch.equal(paths[..., 1], ss2d_scan(images[..., 1:2, :, :]).squeeze(-1))
    assert torch.allclose(ss2d_merge(paths, (5, 6)), 4 * images, rtol=1e-14, atol=0)


@pytest.mark.parametrize("form", ["shifted", "paper"])
def test_the_layer_adds_up_four_models(form):
    layer = LowRankSS2D(2, 6, 2, parametrization=form, generator=0).double()
    images = _images(3, 2, 5, 4)
    wanted = torch.zeros_like(images)
    rows = [(i, j) for i in range(5) for j in range(4)]
    columns = [(i, j) for j in range(4) for i in range(5)]
    for model, places in zip(layer.paths, (rows, columns, rows[::-1], columns[::-1]), strict=True):
        outputs = model(torch.stack([images[:, :, i, j] for i, j in places], 1))
        for t, (i, j) in enumerate(places):
            wanted[:, :, i, j] += outputs[:, t]
    assert torch.allclose(layer(images), wanted, rtol=0, atol=1e-12)


def test_a_pixel_sees_every_other_one():
    """Of one path it would see only those before."""
    layer = LowRankSS2D(1, 6, 2, generator=0).double()
    image = _images(1, 3, 4).requires_grad_()
    grad = torch.autograd.grad(layer(image)[0, 1, 1], image)[0]
    assert bool((grad != 0).all())


def test_bad_shapes_are_named():
    paths = ss2d_scan(_images(2, 3, 4))
    with pytest.raises(ValueError, match="x must have at least 3 axes"):
        ss2d_scan(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"sequences must have shape \(\.\.\., 4, 20, n_channels\)"):
        ss2d_merge(paths, (4, 5))
    with pytest.raises(ValueError, match="sequences must have shape"):
        ss2d_merge(paths[:2], (3, 4))
    for shape in (12, (3.0, 4.0), (-3, -4), (3, 4, 1)):
        with pytest.raises(ValueError, match="shape must hold two integers from 0, height and width"):
            ss2d_merge(paths, shape)
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 2, height, width\); got \(3, 4, 5\)"):
        LowRankSS2D(2, 4, 1)(torch.zeros(3, 4, 5))
    with pytest.raises(TypeError, match="n_inputs"):
        LowRankSS2D(2, 4, 1, n_inputs=3)
