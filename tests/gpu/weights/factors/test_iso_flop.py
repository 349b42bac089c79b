import math

import pytest
import torch

from sparsetheory.gpu.core import random_masks
from sparsetheory.gpu.weights import iso_flop_width


@pytest.mark.parametrize("sparsity", [0.5, 0.75, 0.9, 0.95])
@pytest.mark.parametrize(("n_in", "n_out", "kernel"), [(64, 64, 1), (48, 96, 1), (64, 128, 3), (7, 5, 3)])
def test_sizes_are_those_of_the_authors_code(n_in, n_out, kernel, sparsity):
    taps, q = n_in * kernel**2, round(1 - sparsity, 10)
    cost = taps * n_out
    factorized = iso_flop_width(n_in, n_out, sparsity, "factorized", kernel_size=kernel)
    assert factorized.width == math.ceil(round(cost / (q * (taps + n_out)), 9))
    variant = iso_flop_width(n_in, n_out, sparsity, "factorized", kernel_size=kernel, dense_outer=True)
    assert variant.width == math.ceil(round(cost / (q * taps + n_out), 9))
    doped = iso_flop_width(n_in, n_out, sparsity, "doped", kernel_size=kernel)
    assert doped.width == math.floor(round(cost * sparsity / (taps + n_out), 9))
    parallel = iso_flop_width(n_in, n_out, sparsity, "parallel", kernel_size=kernel)
    assert parallel.width == len(parallel.shapes) == round(1 / q)
    wide = iso_flop_width(n_in, n_out, sparsity, "wide", kernel_size=kernel)
    assert wide.width == round(n_out * q**-0.5)
    assert wide.ratio == parallel.ratio == 1.0
    for found in (factorized, variant, doped):
        assert abs(found.multiplies - cost) <= taps + n_out + 1
    for found in (factorized, variant, doped, parallel, wide):
        masks = random_masks(found.shapes, found.densities, 0)
        assert {name: int(mask.sum()) for name, mask in masks.items()} == found.n_nonzero


def test_a_tenth_is_a_tenth():
    # In floating point 1 - 0.9 is less, which would make the tenth an eleventh branch, or a wider layer.
    assert iso_flop_width(100, 100, 0.9, "parallel").width == 10
    assert iso_flop_width(100, 100, 0.9, "factorized").width == 500
    assert iso_flop_width(10, 100, 0.9, "doped").n_nonzero["sparse"] == 100


def test_widths_follow_the_density_itself_and_counts_the_widths():
    # Published code rounds 1 / q first: a width of 110, and at a density of 0.3 too low a cost.
    found = iso_flop_width(64, 64, 0.7, "wide")
    assert (found.width, found.ratio) == (117, 1.0)
    assert found.densities["weight"] == 64 * 64 / 117**2
    assert abs(0.3 * 110**2 / 64**2 - 1) > 0.1


def test_search_spaces_are_larger_by_the_density():
    for family in ("wide", "parallel", "factorized"):
        assert iso_flop_width(64, 64, 0.75, family).n_maskable == 4 * 64 * 64
    assert iso_flop_width(64, 64, 0.75, "doped").n_maskable == 64 * 64


def test_without_sparsity_layers_stay_as_they_are():
    for family in ("wide", "parallel"):
        found = iso_flop_width(12, 8, 0.0, family)
        assert list(found.shapes.values()) == [(8, 12)]
        assert found.n_maskable == 0
    doped = iso_flop_width(12, 8, 0.0, "doped")
    assert (doped.width, doped.shapes, doped.ratio) == (0, {"sparse": (8, 12)}, 1.0)


def test_branches_that_do_not_come_out_even_warn():
    with pytest.warns(UserWarning, match=r"1 / \(1 - sparsity\) is 3.33333; taken are 3 branches"):
        found = iso_flop_width(16, 16, 0.7, "parallel")
    assert (found.width, found.multiplies) == (3, 256)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 4, 1.0, "wide"), r"sparsity must be a number in \[0, 1\); got 1.0"),
        ((4, 4, -0.1, "wide"), r"sparsity must be a number in \[0, 1\); got -0.1"),
        ((4, 4, 1 - 1e-12, "wide"), "sparsity must leave at least 1e-9 of all entries"),
        ((0, 4, 0.5, "wide"), "in_features must be an integer"),
        ((4, 4, 0.5, "deep"), "family must be one of 'doped', 'factorized', 'parallel', 'wide'; got 'deep'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        iso_flop_width(*arguments)
    with pytest.raises(ValueError, match="dense_outer must be False for family 'doped'"):
        iso_flop_width(4, 4, 0.5, "doped", dense_outer=True)


def test_convolutions_cost_what_torch_counts():
    found = iso_flop_width(8, 12, 0.75, "factorized", kernel_size=3)
    inner, outer = (torch.zeros(found.shapes[name]) for name in ("inner", "outer"))
    x = torch.zeros(1, 8, 5, 5)
    assert torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, inner), outer).shape == (1, 12, 3, 3)
    assert found.dense_multiplies == 8 * 12 * 9
