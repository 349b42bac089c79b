import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from sparsetheory.gpu.attention import focal_loss, foreground_targets

SHAPES, STRIDES = [(4, 5), (2, 3)], (4, 8)
# Multiples of 2 put sides on centres of cells, which are then not strictly inside, and distances on ends of ranges.
SIDES = st.integers(-2, 12).map(lambda side: 2.0 * side)


def _by_words(boxes, ranges):
    targets = []
    for (rows, columns), stride, (low, high) in zip(SHAPES, STRIDES, ranges, strict=True):
        for row in range(rows):
            for column in range(columns):
                x, y = column * stride + stride / 2, row * stride + stride / 2
                hit = False
                for left, top, right, bottom in boxes:
                    distances = (x - left, y - top, right - x, bottom - y)
                    hit |= min(distances) > 0 and low < max(distances) <= high
                targets.append(hit)
    return targets


@given(
    st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES), max_size=4),
    st.sampled_from([((-1, 8), (6, math.inf)), ((-1, 4), (4, 8))]),
)
def test_targets_are_those_of_the_words(boxes, ranges):
    found = foreground_targets(torch.tensor(boxes).reshape(-1, 4), SHAPES, STRIDES, ranges)
    assert found.tolist() == _by_words(boxes, ranges)


def test_images_without_boxes_and_levels_without_tokens():
    none, one = torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    found = foreground_targets([none, one], SHAPES, STRIDES, ((-1, 8), (100, math.inf)))
    assert not bool(found[0].any())
    assert found[1].nonzero().flatten().tolist() == [0, 1, 5, 6]


def test_whole_numbers_may_be_boxes():
    assert foreground_targets(torch.tensor([[0, 0, 64, 64]]), [(8, 8)], (8,), ((-1, 64),)).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0), st.floats(0.0, 5.0))
def test_the_loss_is_that_of_the_formula(seed, alpha, gamma):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 7, generator=generator, dtype=torch.float64)
    targets = torch.rand(2, 7, generator=generator) < 0.3
    p = torch.where(targets, logits.sigmoid(), 1 - logits.sigmoid())
    weight = torch.where(targets, alpha, 1 - alpha)
    wanted = -(weight * (1 - p) ** gamma * p.log()).sum(1) / targets.sum(1).clamp(min=1)
    torch.testing.assert_close(focal_loss(logits, targets, alpha, gamma), wanted)


def test_without_a_power_it_is_half_the_cross_entropy():
    logits = torch.linspace(-9, 9, 12, dtype=torch.float64).reshape(2, 6)
    targets = torch.arange(12).reshape(2, 6) % 3 == 0
    entropy = binary_cross_entropy_with_logits(logits, targets.double(), reduction="none").sum(1) / 2
    torch.testing.assert_close(focal_loss(logits, targets, 0.5, 0.0), entropy / targets.sum(1))


def test_an_image_without_positives_is_divided_by_one():
    logits = torch.tensor([[0.0, 0.0]])
    assert float(focal_loss(logits, torch.tensor([[False, False]]))) == pytest.approx(2 * 0.75 * 0.25 * math.log(2))


def test_extreme_logits_have_losses_and_gradients():
    logits = torch.tensor([-1000.0, 1000.0, 0.0], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([True, True, False]), gamma=0.5)
    loss.backward()
    assert loss.item() == pytest.approx((250 + 0.75 * 0.5**0.5 * math.log(2)) / 2)
    assert bool(logits.grad.isfinite().all())


def test_padding_does_not_count_whatever_it_holds():
    logits = torch.tensor([[1.0, -2.0, torch.nan, torch.inf]], requires_grad=True)
    valid = torch.tensor([[True, True, False, False]])
    loss = focal_loss(logits, torch.tensor([[True, False, True, True]]), valid=valid)
    assert loss.item() == focal_loss(logits[:, :2].detach(), torch.tensor([[True, False]])).item()
    loss.sum().backward()
    assert logits.grad[0, 2:].tolist() == [0.0, 0.0]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"boxes must have shape \(n_boxes, 4\); got \(4,\)"):
        foreground_targets(torch.zeros(4), SHAPES, STRIDES, ((-1, 4), (4, 8)))
    with pytest.raises(ValueError, match="must name equally many levels; got 2, 4 and 4"):
        foreground_targets(torch.zeros(0, 4), SHAPES)
    with pytest.raises(ValueError, match="ranges must have a lower end below the upper one"):
        foreground_targets(torch.zeros(0, 4), SHAPES, STRIDES, ((-1, 4), (8, 8)))
    with pytest.raises(ValueError, match="strides must be an integer from 1"):
        foreground_targets(torch.zeros(0, 4), SHAPES, (4, 0), ((-1, 4), (4, 8)))
    logits = torch.zeros(1, 2)
    with pytest.raises(TypeError, match="targets must be a tensor of bool"):
        focal_loss(logits, logits)
    with pytest.raises(ValueError, match="targets must have the shape of logits"):
        focal_loss(logits, torch.zeros(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"alpha must be a number in \[0, 1\]"):
        focal_loss(logits, logits > 0, alpha=2.0)
    with pytest.raises(ValueError, match="gamma must be a finite non-negative number"):
        focal_loss(logits, logits > 0, gamma=-1.0)
