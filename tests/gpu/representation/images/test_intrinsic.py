"""Albedo and shading: exponents, several pictures, masks, and pictures that have no logarithm."""

import math

import pytest
import torch

from sparsetheory.gpu.representation import image_gradient, retinex
from sparsetheory.gpu.solvers import prox
from sparsetheory.penalties import Lq


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _half_threshold(v, alpha):
    """The closed form of Xu and others for exponent 1/2, with half of the squared distance."""
    if abs(v) <= 1.5 * alpha ** (2 / 3):
        return 0.0
    angle = math.acos(alpha / 4 * (abs(v) / 3) ** -1.5)
    return 2 / 3 * v * (1 + math.cos(2 * math.pi / 3 - 2 / 3 * angle))


def test_the_engine_has_the_closed_form():
    values = torch.linspace(-3, 3, 61, dtype=torch.float64)
    expected = [_half_threshold(float(v), 0.4) for v in values]
    assert torch.allclose(prox(values, Lq(0.4, q=0.5)), torch.tensor(expected, dtype=torch.float64), atol=1e-10)


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0])
def test_edges_of_a_row_by_hand(q, device):
    logs = torch.tensor([[0.0, 0.1, 2.0, 1.9, 1.95]], dtype=torch.float64)
    edges = {0.0: [0, 1.9, 0, 0], 0.5: [0, _half_threshold(1.9, 0.3), 0, 0], 1.0: [0, 1.6, 0, 0]}[q]
    expected = torch.tensor([0.0, *edges], dtype=torch.float64).cumsum(0)
    found = retinex(logs.exp().to(device), 0.3, q)
    assert torch.allclose(found.albedo[0].cpu(), expected - expected.mean(), atol=1e-10)
    assert torch.allclose((found.albedo + found.shading).cpu(), logs, atol=1e-12)


def test_several_pictures_share_an_albedo():
    albedo = torch.zeros(8, 8, dtype=torch.float64)
    albedo[2:6, 3:] = 1.0
    light = torch.linspace(0, 0.3, 8, dtype=torch.float64)
    views = torch.stack([albedo + light, albedo - light, albedo + light[:, None], albedo - light[:, None]])
    found = retinex(views.exp(), 0.05, 0.0)
    # The mean of the light is flat, so that only the edges are left.
    assert torch.allclose(found.albedo, albedo - albedo.mean(), atol=1e-10)
    assert torch.allclose(found.shading, views - found.albedo, atol=1e-12)
    # The strength is per picture: four equal ones are as one with a fourth of it.
    same = retinex(views[:1].exp().expand(4, 8, 8), 0.4)
    assert torch.allclose(same.albedo, retinex(views[0].exp(), 0.1).albedo, atol=1e-12)


def test_the_median_ignores_a_shadow():
    albedo = torch.zeros(6, 6, dtype=torch.float64)
    albedo[:, 3:] = 1.0
    views = albedo.repeat(4, 1, 1)
    views[0, :3] -= 2.0
    by_median = retinex(views.exp(), 0.0, view="median").albedo
    assert torch.allclose(by_median, albedo - albedo.mean(), atol=1e-12)
    # Of an even number the median is between the middle two.
    steps = torch.tensor([0.0, 1.0, 2.0, 7.0], dtype=torch.float64)
    rows = torch.stack([torch.zeros(4, dtype=torch.float64), steps], 1).unsqueeze(1)
    assert float(retinex(rows.exp(), 0.0, view="median").albedo.diff()) == pytest.approx(1.5)
    by_mean = retinex(views.exp(), 0.0).albedo
    assert (by_mean - (albedo - albedo.mean())).abs().max() > 0.1


def test_components_of_a_mask_have_means_of_their_own():
    logs = _normal(6, 7)
    mask = torch.ones(6, 7, dtype=torch.bool)
    mask[:, 3] = False
    image = logs.exp()
    image[:, 3] = -1.0
    found = retinex(image, 0.0, mask=mask)
    for part in (slice(0, 3), slice(4, 7)):
        own = logs[:, part]
        assert torch.allclose(found.albedo[:, part], own - own.mean(), atol=1e-9)
    assert found.albedo[:, 3].isnan().all()
    assert found.shading[:, 3].isnan().all()
    single = torch.zeros(6, 7, dtype=torch.bool)
    single[0, 0] = single[5, 5] = True
    assert torch.equal(retinex(image, 0.1, mask=single).albedo[single], torch.zeros(2, dtype=torch.float64))


def test_constant_pictures_have_a_flat_albedo():
    for options in ({}, {"q": 0.0}, {"coupled": True}):
        found = retinex(torch.full((3, 4), 5.0), 0.1, **options)
        assert torch.allclose(found.albedo, torch.zeros(3, 4), atol=1e-6)
        assert torch.allclose(found.shading, torch.full((3, 4), math.log(5.0)), atol=1e-6)


def test_coupled_edges_are_lower_only_where_they_must_fit():
    logs = _normal(8, 9)
    separate, coupled = retinex(logs.exp(), 0.5), retinex(logs.exp(), 0.5, coupled=True, tol=1e-8, max_iter=20_000)

    def objective(albedo):
        pairs = zip(image_gradient(albedo), image_gradient(logs), strict=True)
        return sum(float((a - b).square().sum() / 2 + 0.5 * a.abs().sum()) for a, b in pairs)

    assert objective(coupled.albedo) < objective(separate.albedo) - 1e-3
    # Edges that do not fit together are projected, and none of them is zero any more; coupled ones may be.
    zeros = [sum(int((part.abs() < 1e-6).sum()) for part in image_gradient(one.albedo)) for one in (separate, coupled)]
    assert zeros[1] > zeros[0]


def test_black_pixels():
    image = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match="image must have no black pixels, or floor must be above 0"):
        retinex(image, 0.1)
    assert retinex(image, 0.1, floor=1e-3).albedo.isfinite().all()
    with pytest.raises(ValueError, match="image must hold brightness of at least 0; got -1"):
        retinex(image - 1, 0.1, floor=2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    found = retinex(_normal(4, 4).exp().to(dtype), 0.1)
    assert found.albedo.dtype == found.shading.dtype == dtype


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"alpha": -0.1}, "alpha must be"),
        ({"q": 1.5}, "q must be a number in"),
        ({"q": 0.5, "coupled": True}, "q must be 1 where coupled is True"),
        ({"coupled": True, "mask": torch.ones(3, 3, dtype=torch.bool)}, "mask must be None where coupled"),
        ({"mask": torch.ones(3, 3)}, "mask must be a tensor of bool"),
        ({"mask": torch.eye(3, dtype=torch.bool) & (torch.arange(3) == 0)}, "image must have at least two pixels"),
        ({"view": "max"}, "view must be one of"),
        ({"floor": -1.0}, "floor must be"),
        ({"image": torch.ones(3)}, "image must have shape"),
        ({"image": torch.full((3, 3), torch.inf)}, "image must be finite"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        retinex(**{"image": torch.ones(3, 3), "alpha": 0.1, **arguments})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_pictures_of_integers_are_refused(dtype):
    # Their logarithms would be rounded to integers again.
    with pytest.raises(TypeError, match="image must be a tensor of real floating-point numbers"):
        retinex(torch.ones(3, 3, dtype=dtype), 0.1)
    with pytest.raises(TypeError, match="image must be a tensor of real floating-point numbers"):
        image_gradient(torch.ones(3, 3, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wide_mask_in_either_precision(dtype):
    # A snake one pixel wide, along which the equation has its slowest solution, and a part beside it.
    mask = torch.zeros(23, 40, dtype=torch.bool)
    mask[0:20:2, :-2] = True
    mask[1:18:4, -3] = mask[3:18:4, 0] = True
    mask[21:] = True
    logs = _normal(23, 40).cumsum(1) / 5
    found = retinex(logs.exp().to(dtype), 0.0, mask=mask).albedo
    for part in (mask & (torch.arange(23) < 20)[:, None], mask & (torch.arange(23) > 20)[:, None]):
        error = found[part].double() - (logs[part] - logs[part].mean())
        assert float(error.abs().max()) < (1e-5 if dtype == torch.float32 else 1e-10)
    assert torch.equal(found.isnan(), ~mask)
