"""The model against a computation by hand, what may not leak into it, and when it refuses."""

import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.representation import CollapseError, SparseJEPA

GROUPS = [[0, 3], [1, 2]]


def _model(encoder=None, **options):
    encoder = encoder or nn.Linear(3, 4)
    return SparseJEPA(encoder, GROUPS, 0.5, 0.9, **{"n_patches": 3, "n_latents": 5, "width": 2, **options})


def _batch(n=16):
    source = torch.Generator().manual_seed(0)
    patches = torch.randn(n, 3, 3, generator=source)
    target = torch.randint(3, (n,), generator=source)
    return patches, ~nn.functional.one_hot(target, 3).bool(), target


def test_a_forward_pass_by_hand():
    model, (patches, context, target) = _model(standardise=False), _batch()
    with torch.no_grad():
        model.target_encoder.weight.mul_(torch.randn(4, 3, generator=torch.Generator().manual_seed(3)))
    out = model(patches, context, target)
    features = model.encoder(patches)
    for i in range(len(patches)):
        visible = [features[i, p] if context[i, p] else torch.zeros(4) for p in range(3)]
        places = [context[i].float(), torch.eye(3)[target[i]]]
        z = model.head_weight @ torch.cat([*visible, *places]) + model.head_bias
        assert torch.allclose(z, out.latents[i], atol=1e-5)
        for g, group in enumerate(GROUPS):
            hidden = nn.functional.gelu(model.group_weights[g] @ z + model.group_bias[g])
            for feature in group:
                row = model.output_weight[feature]
                value = row @ hidden / row.norm() + model.output_bias[feature]
                assert value.item() == pytest.approx(out.prediction[i, feature].item(), abs=1e-5)
    own = model.target_encoder(patches)[range(len(patches)), target]
    assert torch.allclose(out.target, (own - own.mean(0)) / own.std(0, correction=0), atol=1e-4)
    assert out.loss.item() == pytest.approx((out.prediction - out.target).square().mean().item())


def test_targets_carry_no_gradient():
    model = _model()
    out = model(*_batch())
    assert not out.target.requires_grad
    out.loss.backward()
    assert all(parameter.grad is None for parameter in model.target_encoder.parameters())
    # With all patches but the target hidden, nothing but the place of the target reaches the encoder.
    patches, context, target = _batch()
    other = _model()
    other(patches, torch.zeros_like(context), target).loss.backward()
    assert not other.encoder.weight.grad.any()


class _Mixing(nn.Module):
    """An encoder whose features of a patch depend on all patches."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, patches):
        return self.linear(patches) + self.linear(patches).sum(1, keepdim=True)


def test_hidden_patches_do_not_leak():
    model, (patches, context, target) = _model(_Mixing()), _batch()
    changed = torch.where(context.unsqueeze(2), patches, 9.0)
    assert torch.equal(model.latents(patches, context, target), model.latents(changed, context, target))
    # But the targets see whole samples.
    model.eval()
    assert not torch.allclose(model(patches, context, target).target, model(changed, context, target).target)


def test_a_visible_target_is_refused():
    patches, context, target = _batch()
    with pytest.raises(ValueError, match="target must be hidden"):
        _model()(patches, torch.ones_like(context), target)


def test_collapse_is_an_error():
    encoder = nn.Linear(3, 4)
    nn.init.constant_(encoder.weight, 1e-4)
    with pytest.raises(CollapseError, match="the targets have collapsed"):
        _model(encoder)(*_batch())
    nn.init.constant_(encoder.weight, 1e-2)
    _model(encoder)(*_batch())


def test_a_dead_feature_is_not_blown_up():
    encoder = nn.Linear(3, 4)
    with torch.no_grad():
        encoder.weight[1] = 1e-9
    out = _model(encoder)(*_batch())
    assert out.target.isfinite().all()
    assert out.target[:, 1].abs().max() < 1e-3


def test_latents_in_both_modes():
    model, batch = _model(), _batch()
    found = model(*batch).latents
    assert torch.allclose(found.mean(0), torch.zeros(5), atol=1e-5)
    before = copy.deepcopy(model.state_dict())
    model.latents(*batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    assert torch.allclose(model(*batch).latents, model.latents(*batch))


def test_random_latents_have_a_divergence():
    model, batch = _model(beta=0.1), _batch()
    assert model.latent_norm is None
    out = model.eval()(*batch)
    mean, log_variance = model._means(*batch).chunk(2, 1)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    divergence = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    error = (out.prediction - out.target).square().mean()
    assert (out.loss - error).item() == pytest.approx(0.1 * divergence.item(), rel=1e-3)
    # In evaluation mode latents are the means.
    assert torch.equal(out.latents, mean)
    assert torch.equal(model.latents(*batch), mean)
    model.train()
    twin = copy.deepcopy(model)
    first, second = model(*batch).latents, model(*batch).latents
    assert not torch.equal(first, second)
    assert torch.equal(first, twin(*batch).latents)
    # A model that is loaded after one draw goes on with the second.
    other = _model(beta=0.1, generator=7)
    twin_state = twin.state_dict()
    other.load_state_dict(twin_state)
    assert torch.equal(second, other(*batch).latents)


def test_random_latents_have_the_spread_that_the_head_says():
    model, batch = _model(beta=0.1).double(), _batch(4000)
    with torch.no_grad():
        model.head_weight.zero_()
        model.head_bias.copy_(torch.tensor([3.0] * 5 + [4.0] * 5).log())
    latents = model(batch[0].double(), *batch[1:]).latents.detach()
    # Means of log 3 and variances of 4.
    assert float(latents.mean()) == pytest.approx(1.0986, abs=0.06)
    assert float(latents.std()) == pytest.approx(2.0, abs=0.06)


def test_the_target_encoder_is_not_trained():
    model = _model()
    own = {id(parameter) for parameter in model.target_encoder.parameters()}
    assert not own & {id(parameter) for parameter in model.trained_parameters()}
    assert len(own) + len(model.trained_parameters()) == len(list(model.parameters()))


def test_incidence_and_penalty():
    model = _model()
    with torch.no_grad():
        model.group_weights[0, :, 2] = 0
        model.group_weights[1, 0, 4] = 0
    expected = torch.ones(2, 5, dtype=torch.bool)
    expected[0, 2] = False
    assert torch.equal(model.incidence(), expected)
    norms = sum(float(model.group_weights[g, :, j].detach().norm()) for g in range(2) for j in range(5))
    assert float(model.penalty()) == pytest.approx(0.5 * norms)


def test_the_scale_of_outputs_cannot_make_up_for_small_columns():
    model, batch = _model().eval(), _batch()
    before = model(*batch).prediction
    with torch.no_grad():
        model.output_weight.mul_(100)
    assert torch.allclose(model(*batch).prediction, before, atol=1e-6)


def test_the_target_encoder_stays_in_evaluation_mode():
    model = _model(nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)))
    assert model.train().encoder.training
    assert not model.target_encoder.training
    assert not any(module.training for module in model.target_encoder.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_device_are_those_of_the_encoder(dtype, device):
    model = _model(nn.Linear(3, 4, dtype=dtype, device=device))
    patches, context, target = (part.to(device) for part in _batch())
    out = model(patches.to(dtype), context, target)
    assert out.loss.dtype == dtype
    assert out.loss.device.type == device


def test_bad_arguments():
    with pytest.raises(ValueError, match="predictor_groups must be a partition of the features"):
        SparseJEPA(nn.Linear(3, 4), [[0, 1], [1, 2]], 0.1, n_patches=2, n_latents=2)
    with pytest.raises(ValueError, match="alpha must be a finite non-negative number; got -1"):
        SparseJEPA(nn.Linear(3, 4), GROUPS, -1.0, n_patches=2, n_latents=2)
    with pytest.raises(ValueError, match="decay must be a number in"):
        SparseJEPA(nn.Linear(3, 4), GROUPS, 0.1, 1.1, n_patches=2, n_latents=2)
    with pytest.raises(ValueError, match="encoder must have parameters in single or double precision"):
        _model(nn.Linear(3, 4, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="encoder must have all parameters in one precision, on one device"):
        _model(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4, dtype=torch.float64)))
    patches, context, target = _batch()
    with pytest.raises(ValueError, match="encoder must return finite features"):
        _model()(torch.full_like(patches, torch.nan), context, target)
    with pytest.raises(ValueError, match=r"encoder must return features of shape \(16, 3, 4\)"):
        _model(nn.Linear(3, 5))(patches, context, target)
    with pytest.raises(ValueError, match="context must be a tensor of bool"):
        _model()(patches, context.float(), target)
    with pytest.raises(ValueError, match="patches must have shape"):
        _model()(patches[:, :2], context, target)
    with pytest.raises(ValueError, match="target must hold numbers of patches"):
        _model()(patches, context, target + 3)
    with pytest.raises(ValueError, match="patches must hold at least two samples"):
        _model()(patches[:1], context[:1], target[:1])
