import pytest
import torch

from sparsetheory.gpu.core import GlobalPattern, class_loss, random_masks
from sparsetheory.gpu.core.datasets import load_digits
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.weights import grasp_densities, grasp_scores, snip_densities, snip_scores

SHAPES = {"0.weight": (32, 64), "2.weight": (20, 32), "4.weight": (10, 20)}


def _digits(device="cpu"):
    digits = load_digits()
    return torch.from_numpy(digits.images).to(device), torch.from_numpy(digits.labels).to(device)


def _model(device="cpu"):
    return MLP([64, 32, 20, 10]).to(device)


@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
@pytest.mark.parametrize(("rule", "scores"), [(snip_densities, snip_scores), (grasp_densities, grasp_scores)])
def test_shares_are_those_of_the_largest_scores(device, rule, scores, density):
    model, batch = _model(device), _digits(device)
    found = rule(model, batch, class_loss, density, random_state=5)
    kept = GlobalPattern(density).mask(scores(model, batch, class_loss, initialisation="glorot_normal", random_state=5))
    assert found == {name: mask.double().mean().item() for name, mask in kept.items()}
    masks = random_masks(SHAPES, found, 0)
    assert masks.n_nonzero == round(density * masks.size)
    assert masks.densities == found


def test_ratios_do_not_depend_on_the_scale_of_the_loss_or_on_the_weights_of_the_model():
    batch = _digits()
    first = snip_densities(_model(), batch, class_loss, 0.1)
    other = MLP([64, 32, 20, 10], initialisation="lecun_uniform", generator=9)
    assert snip_densities(other, batch, class_loss, 0.1) == first
    assert snip_densities(_model(), batch, lambda output, y: 4 * class_loss(output, y), 0.1) == first
    assert first["4.weight"] > first["2.weight"] > first["0.weight"]


def test_grasp_keeps_the_largest_products_of_weight_and_curvature():
    """Published code removes the largest of -w (Hg); a sign error would keep those."""
    model, batch = _model(), _digits()
    scores = grasp_scores(model, batch, class_loss, initialisation="glorot_normal")
    found = grasp_densities(model, batch, class_loss, 0.2)
    removed = sorted((-torch.cat([s.flatten() for s in scores.values()])).tolist(), reverse=True)
    cut = removed[round(0.8 * len(removed)) - 1]
    for name, score in scores.items():
        assert found[name] == (-score < cut).double().mean().item()


@pytest.mark.parametrize("rule", [snip_densities, grasp_densities])
@pytest.mark.parametrize("density", [0.0, 1.1])
def test_bad_density(rule, density):
    with pytest.raises(ValueError, match=r"density must be a number in \(0, 1\]"):
        rule(_model(), _digits(), class_loss, density)
