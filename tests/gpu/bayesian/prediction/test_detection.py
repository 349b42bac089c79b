"""Detection of other inputs, against the count of pairs."""

import pytest
import torch

from sparsetheory.gpu.bayesian import detection_auroc


def test_it_is_the_share_of_pairs_in_order():
    source = torch.Generator().manual_seed(0)
    inside, outside = torch.randint(5, (30,), generator=source), torch.randint(1, 7, (20,), generator=source)
    pairs = outside[:, None] - inside[None]
    share = ((pairs > 0).double() + 0.5 * (pairs == 0)).mean()
    assert abs(detection_auroc(inside, outside) - float(share)) < 1e-12
    assert abs(detection_auroc(outside, inside) - 1 + float(share)) < 1e-12


def test_bad_arguments():
    good = torch.ones(3)
    for bad in (torch.ones(2, 2), torch.ones(0), torch.tensor([float("nan")])):
        with pytest.raises(ValueError, match="inside must have finite scores"):
            detection_auroc(bad, good)
        with pytest.raises(ValueError, match="outside must have finite scores"):
            detection_auroc(good, bad)
    with pytest.raises(ValueError, match="inside must be a tensor"):
        detection_auroc([0.1], good)
    with pytest.raises(ValueError, match="outside must be a tensor"):
        detection_auroc(good, good.numpy())
