import math

import pytest
import torch

from sparsetheory.gpu.activations import LargestOfLayer, SizeThreshold, cett_threshold, fat_threshold


def test_zero_threshold_keeps_what_is_not_zero():
    assert SizeThreshold(0.0)(torch.tensor([-0.0, 1e-30, -2.0])).tolist() == [False, True, True]


def test_infinite_threshold_keeps_nothing():
    assert not SizeThreshold(math.inf)(torch.tensor([1e30, -1.0])).any()


def test_norms_at_the_threshold_are_kept():
    # All neurons have one norm, which is the threshold, so that CETT leaves out none of them.
    for number in range(50):
        h, w_out = torch.full((3, 7), 0.1 + 0.013 * number), torch.full((5, 7), 0.7 - 0.009 * number)
        assert SizeThreshold.of_norms(cett_threshold(h, w_out, 0.1), w_out)(h).all()


def test_share_of_a_layer_is_exact_with_ties():
    x = torch.ones(3, 100)
    mask = LargestOfLayer(0.25)(x)
    assert mask.sum() == 75
    assert mask.flatten()[:75].all()
    assert LargestOfLayer(0.0)(x).sum() == 0
    assert LargestOfLayer(1.0)(x).all()


def test_one_cut_for_all_layers(device):
    generator = torch.Generator().manual_seed(0)
    hidden = [torch.randn(size, generator=generator).to(device) for size in ((10, 30), (10, 50))]
    rule = SizeThreshold(fat_threshold(hidden, 0.2))
    assert sum(int(rule(x).sum()) for x in hidden) == 160
    assert fat_threshold(hidden, 0.0) == math.inf


def test_arguments_that_are_refused():
    with pytest.raises(ValueError, match="threshold must be a number of at least 0; got -1"):
        SizeThreshold(-1)
    with pytest.raises(ValueError, match="scale must be a vector without negative entries"):
        SizeThreshold(0.0, torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"density must be a number in \[0, 1\]; got 2"):
        LargestOfLayer(2)
