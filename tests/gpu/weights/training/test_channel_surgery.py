"""Channels taken out of sequential models: same outputs where that is possible, errors elsewhere."""

import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.weights import remove_channels, threshold_masks


def _prepared(*modules, dead=(0, 2), beta=None, device="cpu"):
    """Return a model in double precision whose normalisations have dead channels with constants to fold."""
    torch.manual_seed(0)
    model = nn.Sequential(*modules).double()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
            with torch.no_grad():
                norm.weight[list(dead)] = 0.0
                if beta is not None:
                    norm.bias[list(dead)] = beta
    return model.eval().to(device)


def _removed(model, **options):
    return remove_channels(model, threshold_masks(model, 0.0), **options)


DENSE = (nn.Linear(5, 4), nn.BatchNorm1d(4), nn.GELU(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
UNPADDED = (
    nn.Conv2d(2, 4, 3, padding=1),
    nn.BatchNorm2d(4),
    nn.SiLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(4, 5, 2, bias=False),
)
PICTURES = (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3))
POOLED = (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
NESTED = (nn.Sequential(nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.Dropout()), nn.Linear(4, 2, bias=False))
REFLECTED = (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"))
CASES = {
    "dense": (DENSE, (7, 5)),
    "unpadded": (UNPADDED, (2, 2, 8, 8)),
    "pictures": (PICTURES, (2, 2, 8, 8)),
    "pooled": (POOLED, (2, 2, 8, 8)),
    "nested": (NESTED, (7, 5)),
    "reflected": (REFLECTED, (2, 2, 8, 8)),
}


@pytest.mark.parametrize(("modules", "shape"), CASES.values(), ids=CASES)
def test_outputs_stay(modules, shape, device):
    model = _prepared(*copy.deepcopy(modules), device=device)
    before = copy.deepcopy(model.state_dict())
    smaller = _removed(model)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device)
    torch.testing.assert_close(smaller(x), model(x), rtol=1e-12, atol=1e-12)
    for name, mask in threshold_masks(model, 0.0).items():
        assert int(mask.sum()) == 2
        assert len(smaller.get_parameter(name)) == len(mask) - 2
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize(("modules", "shape"), CASES.values(), ids=CASES)
def test_what_is_left_trains_as_before(modules, shape):
    """In training mode, too: removed channels with scale zero send constants there as well."""
    model = _prepared(*copy.deepcopy([one for one in modules if not isinstance(one, nn.Sequential)]))
    if not any(isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d) for one in model):
        pytest.skip("its dropout would differ")
    smaller = _removed(model).train()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(smaller(x), model.train()(x), rtol=1e-10, atol=1e-10)
    smaller(x).sum().backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())


def test_attributes_and_class_follow():
    model = MLP([5, 4, 3])
    model.insert(1, nn.BatchNorm1d(4))
    smaller = remove_channels(model, {"1.weight": torch.tensor([True, False, False, True])})
    assert type(smaller) is MLP
    assert (smaller[0].out_features, smaller[1].num_features, smaller[3].in_features) == (2, 2, 2)
    assert len(smaller[1].running_mean) == len(smaller[1].running_var) == 2
    assert model[0].out_features == 4


def test_small_scales_are_an_approximation_that_gets_better():
    model = _prepared(*copy.deepcopy(DENSE))
    x = torch.randn(50, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    errors = []
    for size in (1e-2, 1e-4):
        with torch.no_grad():
            model[1].weight[0] = size
        errors.append(float((remove_channels(model, threshold_masks(model, size))(x) - model(x)).detach().norm()))
    assert 50 < errors[0] / errors[1] < 200


PADDED = (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))


def test_constants_that_meet_zero_padding_are_refused():
    model = _prepared(*copy.deepcopy(PADDED), beta=0.5)
    with pytest.raises(ValueError, match="3 must not pad with zeros, as removed channels of 1 send constants"):
        _removed(model)


def test_folding_at_padding_is_right_in_the_interior_only():
    model = _prepared(*copy.deepcopy(PADDED), beta=0.5)
    x = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    off = (_removed(model, border="fold")(x) - model(x)).detach().abs()
    assert off[..., 1:-1, 1:-1].max() < 1e-12
    assert off[..., 0, :].min() > 1e-6


def test_padding_does_no_harm_where_removed_channels_send_zeros():
    model = _prepared(*copy.deepcopy(PADDED), beta=-0.5)
    x = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(_removed(model)(x), model(x), rtol=1e-12, atol=1e-12)


class _Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return x + self.norm(x)


REFUSED = {
    "coupling": (
        (nn.Linear(3, 4), nn.BatchNorm1d(4), _Residual(), nn.Linear(4, 2)),
        "1",
        r"2 \(_Residual\) must not lie",
    ),
    "inside": ((nn.Linear(3, 4), _Residual(), nn.Linear(4, 2)), "1.norm", "masks must name scales of batch norm"),
    "softmax": ((nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Softmax(1), nn.Linear(4, 2)), "1", r"2 \(Softmax\)"),
    "second norm": (
        (nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.Linear(4, 2)),
        "1",
        r"2 \(BatchNorm1d\)",
    ),
    "output": ((nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()), "1", "1 must feed a linear layer"),
    "input": ((nn.BatchNorm1d(4), nn.Linear(4, 2)), "0", "0 must directly follow .* got the input"),
    "not a norm": ((nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), "1", "masks must name scales"),
    "width": ((nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(5, 2)), "1", "2 must read the 4 channels of 1; got 5"),
    "no flatten": ((nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2)), "1", "2 must read channels side by side"),
    "groups": ((nn.Conv2d(4, 4, 1, groups=2), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)), "1", "1 must directly follow"),
    "depthwise": ((nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, groups=4)), "1", r"2 \(Conv2d\)"),
    "average": (
        (nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.AvgPool2d(2, padding=1), nn.Conv2d(4, 2, 1)),
        "1",
        r"2 \(AvgPool2d\)",
    ),
}


@pytest.mark.parametrize(("modules", "name", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused_by_name(modules, name, words):
    model = nn.Sequential(*modules)
    with pytest.raises(ValueError, match=words):
        remove_channels(model, {f"{name}.weight": torch.tensor([True, False, False, False])})


def test_masks_are_checked():
    model = _prepared(*copy.deepcopy(DENSE))
    for mask, words in (
        (torch.ones(4, dtype=torch.bool), "must leave a channel"),
        (torch.zeros(3, dtype=torch.bool), r"must be bool of shape \(4,\)"),
        (torch.zeros(4), r"must be bool of shape \(4,\); got torch.float32"),
    ):
        with pytest.raises(ValueError, match=words):
            remove_channels(model, {"1.weight": mask})
    with pytest.raises(ValueError, match=r"seq must be a torch\.nn\.Sequential"):
        remove_channels(nn.Linear(2, 2), {})
    shared = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="a sequence must hold every layer once"):
        remove_channels(nn.Sequential(shared, nn.ReLU(), shared), {})
