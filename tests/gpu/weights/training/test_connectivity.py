"""Connections with trained scores: formulas, once a step, export, and what is warned of."""

import copy
import warnings

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import NM
from sparsetheory.gpu.weights import (
    SCLMask,
    StepCounter,
    export_scl,
    finalize,
    hard_masked,
    live_masks,
    sparsify,
)


def _normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _layer(weight, device="cpu", **options):
    """Return a layer without bias whose weight has scores, and its mask."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype, device=device)
    with torch.no_grad():
        layer.weight.copy_(weight)
    options = {"alpha": 0.3, **options}
    sparsify(layer, lambda weight: SCLMask(weight.shape, **options))
    return layer, layer.parametrizations.weight[0]


def _half_off(mask, seed=5):
    with torch.no_grad():
        mask.scores.copy_(_normal(*mask.scores.shape, seed=seed))


@pytest.mark.parametrize("norm", ["l2", "linf", "none"])
def test_gradients_follow_the_formulas(norm, device):
    weight, upstream = _normal(3, 5).to(device), _normal(3, 5, seed=1).to(device)
    layer, mask = _layer(weight, device, norm=norm)
    _half_off(mask)
    on = mask.scores.detach() > 0
    assert torch.equal(layer.weight, weight * on)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    StepCounter(optimizer, layer)
    (layer.weight * upstream).sum().backward()
    optimizer.step()
    raw = upstream * weight
    size = {"l2": raw.norm(dim=1, keepdim=True), "linf": raw.abs().amax(1, keepdim=True), "none": 1.0}[norm]
    torch.testing.assert_close(mask.scores.grad, raw / size + 0.3)
    assert torch.equal(layer.parametrizations.weight.original.grad, upstream * on)


def test_a_score_of_zero_is_no_connection():
    layer, mask = _layer(_normal(1, 2), ema=0.0)
    with torch.no_grad():
        mask.scores.copy_(torch.tensor([[0.0, 1.0]]))
    layer.weight.sum().backward()
    mask.advance()
    off = torch.tensor([[True, False]])
    for values in (layer.weight, layer.parametrizations.weight.original.grad, mask.mask_ema):
        assert torch.equal(values == 0, off)


def test_a_normalised_gradient_has_unit_norm_however_small_it_is():
    layer, mask = _layer(_normal(4, 6, dtype=torch.float32), alpha=0.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    StepCounter(optimizer, layer)
    # Squares of 1e-30 are zero in single precision; one output has no gradient at all.
    (
        layer.weight * _normal(4, 6, seed=1, dtype=torch.float32) * torch.tensor([[1e-30], [1.0], [1e15], [0.0]])
    ).sum().backward()
    optimizer.step()
    torch.testing.assert_close(mask.scores.grad.norm(dim=1), torch.tensor([1.0, 1.0, 1.0, 0.0]))


def test_outputs_of_a_convolution_are_normalised_one_by_one():
    layer = nn.Conv2d(2, 3, 2, bias=False)
    sparsify(layer, lambda weight: SCLMask(weight.shape, alpha=0.0))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    StepCounter(optimizer, layer)
    layer(torch.ones(1, 2, 4, 4)).square().sum().backward()
    optimizer.step()
    scores = layer.parametrizations.weight[0].scores
    torch.testing.assert_close(scores.grad.flatten(1).norm(dim=1), torch.ones(3))


def _orthonormal_run(alpha, b, weight, steps, lr=0.1, **options):
    """Train on ``|w H(m) - b|^2 / 2`` with plain gradient steps on the scores; return layer and mask."""
    layer, mask = _layer(weight, alpha=alpha, norm="none", **options)
    optimizer = torch.optim.SGD([mask.scores], lr=lr)
    StepCounter(optimizer, layer)
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * (layer.weight - b).square().sum()).backward()
        optimizer.step()
    return layer, mask


def test_without_cost_a_weight_at_its_optimum_stays_and_another_one_may_go():
    b = torch.tensor([[1.0, -2.0, 0.01]], dtype=torch.float64)
    assert bool((_orthonormal_run(0.0, b, b, 50)[1].scores > 0).all())
    # A weight three times its optimum: (w - b) w > 0 turns it off, as zero fits better.
    assert not bool((_orthonormal_run(0.0, b, 3 * b, 50)[1].scores[0, :2] > 0).any())


def test_scores_chatter_and_their_mean_decides_as_least_squares_with_a_cost():
    b = torch.tensor([[2.0, 1.2, 0.8, 0.4]], dtype=torch.float64)
    # Shares of time by 1 - 0.5 / b^2: 0.875, 0.65, 0.22, 0. Kept are b^2 > 1.
    layer, mask = _orthonormal_run(0.5, b, b, 800)
    torch.testing.assert_close(
        mask.mask_ema[0], torch.tensor([0.875, 1 - 0.5 / 1.44, 1 - 0.5 / 0.64, 0.0]).double(), atol=0.02, rtol=0.0
    )
    assert export_scl(layer)["weight"].tolist() == [[True, True, False, False]]
    assert layer.weight.tolist() == [[2.0, 1.2, 0.0, 0.0]]


def test_the_loss_scale_of_one_output_does_not_matter_while_weights_are_held():
    def scores(scale):
        layer, mask = _layer(_normal(2, 4))
        optimizer = torch.optim.SGD([mask.scores], lr=0.05)
        StepCounter(optimizer, layer)
        target = _normal(2, 4, seed=3)
        for _ in range(30):
            optimizer.zero_grad()
            (torch.tensor([[scale], [1.0]]) * (layer.weight - target).square()).sum().backward()
            optimizer.step()
        return mask.scores.detach()

    torch.testing.assert_close(scores(2.0**-20), scores(1.0), rtol=1e-12, atol=1e-12)


def test_what_is_shipped_is_the_mean_and_hard_masked_shows_it():
    layer, mask = _layer(_normal(2, 3))
    mask.mask_ema.copy_(torch.tensor([[0.5, 0.49, 1.0], [0.0, 0.7, 0.2]]))
    kept = torch.tensor([[True, False, True], [False, True, False]])
    assert torch.equal(live_masks(layer)["weight"], kept)
    assert bool((layer.weight != 0).all())
    with hard_masked(layer):
        shown = layer.weight.detach().clone()
    assert torch.equal(shown != 0, kept)
    assert torch.equal(finalize(layer)["weight"], kept)
    assert torch.equal(layer.weight, shown)
    assert type(layer) is nn.Linear


def test_the_mean_moves_once_a_counted_step():
    _, mask = _layer(_normal(1, 2), ema=0.75)
    with torch.no_grad():
        mask.scores.copy_(torch.tensor([[-1.0, 1.0]]))
    mask.advance()
    mask.advance()
    assert mask.mask_ema.tolist() == [[0.5625, 1.0]]
    assert mask.step == 2


def test_export_leaves_other_sparse_weights():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    sparsify(model, lambda weight: SCLMask(weight.shape, alpha=0.1), include="0")
    sparsify(model, NM(2, 4), include="1")
    assert list(export_scl(model)) == ["0.weight"]
    assert list(live_masks(model)) == ["1.weight"]
    with pytest.raises(ValueError, match="model must have weights with an SCLMask"):
        export_scl(model)


def test_a_run_goes_on_from_its_state_dict():
    def start():
        layer, mask = _layer(_normal(2, 4), ema=0.8)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
        StepCounter(optimizer, layer)
        return layer, mask, optimizer

    def steps(layer, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            (layer.weight - _normal(2, 4, seed=2)).square().sum().backward()
            optimizer.step()

    layer, mask, optimizer = start()
    steps(layer, optimizer, 5)
    other, again, second = start()
    other.load_state_dict(copy.deepcopy(layer.state_dict()))
    steps(layer, optimizer, 5)
    steps(other, second, 5)
    assert again.step == mask.step == 10
    assert torch.equal(again.scores, mask.scores)
    assert torch.equal(again.mask_ema, mask.mask_ema)
    assert len(mask.mask_ema.unique()) > 1


def test_scores_of_half_precision_weights_are_single():
    layer = nn.Linear(3, 2, dtype=torch.bfloat16)
    sparsify(layer, lambda weight: SCLMask(weight.shape, alpha=0.1))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    StepCounter(optimizer, layer)
    layer(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    scores = layer.parametrizations.weight[0].scores
    assert scores.dtype == scores.grad.dtype == torch.float32
    assert layer.weight.dtype == torch.bfloat16


def test_scores_that_move_uncounted_are_warned_of():
    layer, _ = _layer(_normal(2, 3))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        layer(_normal(1, 3)).sum().backward()
        layer(_normal(1, 3)).sum().backward()
        optimizer.step()
    with pytest.warns(RuntimeWarning, match="make StepCounter"):
        layer(_normal(1, 3))


def test_counted_steps_and_loaded_states_are_not_warned_of():
    layer, mask = _layer(_normal(2, 3))
    state = copy.deepcopy(layer.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            layer(_normal(1, 3)).sum().backward()
            layer.load_state_dict(state)
        _half_off(mask)
        layer(_normal(1, 3)).sum().backward()
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        StepCounter(optimizer, layer)
        optimizer.step()
        layer(_normal(1, 3))
    assert mask.step == 1


@pytest.mark.parametrize("which", ["weight", "scores"])
def test_weight_decay_is_warned_of(which):
    layer, mask = _layer(_normal(2, 3))
    tensors = {"weight": layer.parametrizations.weight.original, "scores": mask.scores}
    groups = [{"params": [tensor], "weight_decay": 0.1 * (name == which)} for name, tensor in tensors.items()]
    with pytest.warns(RuntimeWarning, match="must not decay") as found:
        StepCounter(torch.optim.AdamW(groups), layer)
    assert len(found) == 1


def test_weight_decay_is_what_makes_a_connection_stay_off():
    """The trap: a weight that is off decays to zero, and the loss cannot ask for it any more."""
    target = torch.tensor([[1.0]], dtype=torch.float64)

    def recovers(decay):
        layer, mask = _layer(target, alpha=0.0, norm="none")
        with torch.no_grad():
            mask.scores.fill_(-1.0)
        original = layer.parametrizations.weight.original
        groups = [{"params": [mask.scores]}, {"params": [original], "weight_decay": decay}]
        optimizer = torch.optim.SGD(groups, lr=0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            StepCounter(optimizer, layer)
        for _ in range(200):
            optimizer.zero_grad()
            (0.5 * (layer.weight - target).square().sum()).backward()
            optimizer.step()
        return bool(mask.scores > 0)

    assert recovers(0.0)
    assert not recovers(5.0)


def test_outputs_that_cannot_come_back_are_warned_of():
    layer, mask = _layer(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    with torch.no_grad():
        mask.scores.fill_(-1.0)
    with pytest.warns(RuntimeWarning, match="weight has 1 outputs without connections"):
        finalize(layer)


def test_an_optimiser_without_the_scores_is_refused():
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    sparsify(layer, lambda weight: SCLMask(weight.shape, alpha=0.1))
    with pytest.raises(ValueError, match="optimizer must train the scores of weight; make it after sparsify"):
        StepCounter(optimizer, layer)
    optimizer.step()
    assert layer.parametrizations.weight[0].step == 0


def test_arguments_are_checked():
    for options in ({"alpha": -1.0}, {"init": 0.0}, {"norm": "l1"}, {"ema": 1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            SCLMask((2, 3), **{"alpha": 0.1, **options})
    with pytest.raises(ValueError, match="shape must have at least two axes"):
        SCLMask((3,), alpha=0.1)
    with pytest.raises(ValueError, match=r"shape must be that of weight, \(2, 3\); got \(1, 3\)"):
        sparsify(nn.Linear(3, 2), lambda weight: SCLMask((1, 3), alpha=0.1))


def test_a_frozen_mask_is_left_alone():
    layer, mask = _layer(_normal(2, 3))
    mask.scores.requires_grad_(False)
    before = mask.scores.clone()
    optimizer = torch.optim.SGD([layer.parametrizations.weight.original], lr=0.1)
    StepCounter(optimizer, layer)
    layer(_normal(1, 3)).sum().backward()
    optimizer.step()
    assert mask.scores.grad is None
    assert torch.equal(mask.scores, before)


def test_outputs_of_a_transposed_weight_are_its_columns():
    mask = SCLMask((5, 3), alpha=0.0)
    mask.transposed = True
    mask.scores.grad = _normal(5, 3, dtype=torch.float32)
    mask.before_step(None)
    torch.testing.assert_close(mask.scores.grad.norm(dim=0), torch.ones(3))


def test_gradients_of_single_samples_add_up_to_that_of_the_batch():
    layer, _ = _layer(_normal(2, 3))
    x = _normal(4, 3, seed=1)
    parameters = dict(layer.named_parameters())

    def loss(parameters, row):
        return torch.func.functional_call(layer, parameters, (row,)).square().sum()

    singles = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    layer(x).square().sum().backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(singles[name].sum(0), parameter.grad)


def test_a_compiled_model_has_the_same_gradients():
    layer, mask = _layer(_normal(2, 3))
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    compiled(_normal(4, 3)).square().sum().backward()
    found, mask.scores.grad = mask.scores.grad, None
    layer(_normal(4, 3)).square().sum().backward()
    torch.testing.assert_close(found, mask.scores.grad)
