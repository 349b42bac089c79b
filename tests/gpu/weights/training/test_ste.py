"""The parametrisation of SR-STE and of progressive gradient flow, beside slow references of what was published."""

import itertools
import math

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import NM, MaskDecay, PerRow, PerTensor, StructureDecay
from sparsetheory.gpu.weights import SparseSTE, sparsify


def _draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _published_mask(weight, n, m):
    """Drop the m - n smallest of each group of a matrix whose entries do not tie, row by row."""
    mask = torch.ones_like(weight, dtype=torch.bool)
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], m):
            group = sorted(range(start, start + m), key=lambda column: abs(float(weight[row, column])))
            for column in group[: m - n]:
                mask[row, column] = False
    return mask


def _published_gradient(weight, incoming, n, m, decay):
    """Give what arrives at the sparse weight to the dense one, plus a decay of all that is dropped."""
    dropped = (~_published_mask(weight, n, m)).to(weight.dtype)
    return incoming + decay * dropped * weight


def _published_factor(kind, rate, step):
    return max(0.0, 1.0 - rate * step) if kind == "linear" else math.exp(-rate * step)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (3, 8), (4, 4), (1, 32)])
@pytest.mark.parametrize("alpha", [0.0, 2e-4, 0.3])
def test_it_computes_and_learns_as_published(device, n, m, alpha):
    weight, incoming = _draw(6, 64), _draw(6, 64, seed=1)
    stored = nn.Parameter(weight.to(device))
    used = SparseSTE(NM(n, m), alpha=alpha)(stored)
    used.backward(incoming.to(device))
    assert torch.equal(used.detach().cpu(), weight * _published_mask(weight, n, m))
    torch.testing.assert_close(
        stored.grad.cpu(), _published_gradient(weight, incoming, n, m, alpha), rtol=1e-13, atol=1e-14
    )


def test_without_penalty_the_gradient_passes_unchanged():
    stored, incoming = nn.Parameter(_draw(6, 8)), _draw(6, 8, seed=1)
    SparseSTE(NM(1, 4))(stored).backward(incoming)
    assert torch.equal(stored.grad, incoming)


def test_all_of_each_group_kept_is_no_change_and_no_penalty():
    stored, incoming = nn.Parameter(_draw(6, 8)), _draw(6, 8, seed=1)
    used = SparseSTE(NM(4, 4), alpha=0.5)(stored)
    used.backward(incoming)
    assert torch.equal(used, stored)
    assert torch.equal(stored.grad, incoming)


def test_the_penalty_is_the_gradient_of_a_quadratic_for_a_mask_that_stays():
    stored, incoming = nn.Parameter(_draw(6, 8)), _draw(6, 8, seed=1)
    SparseSTE(NM(2, 4), alpha=0.3)(stored).backward(incoming)
    free = nn.Parameter(_draw(6, 8))
    dropped = ~_published_mask(free.detach(), 2, 4)
    # Identity through the mask: the linear part of the loss is that of the dense weight.
    ((incoming * free).sum() + 0.3 / 2 * (free * dropped).square().sum()).backward()
    torch.testing.assert_close(stored.grad, free.grad, rtol=1e-14, atol=1e-15)


def test_what_is_used_is_the_nearest_point_of_the_pattern():
    weight = _draw(5, 4)
    used = SparseSTE(NM(2, 4))(weight)
    for row, near in zip(weight, used, strict=True):
        distances = []
        for kept in itertools.combinations(range(4), 2):
            point = torch.zeros_like(row)
            point[list(kept)] = row[list(kept)]
            distances.append(float((row - point).square().sum()))
        assert float((row - near).square().sum()) == pytest.approx(min(distances), rel=1e-12)


def test_masks_do_not_change_with_powers_of_two_and_signs():
    weight = _draw(6, 16)
    signs = _draw(6, 16, seed=2).sign()
    ste = SparseSTE(NM(2, 4))
    for other in (8.0 * weight, 2.0**-20 * weight, signs * weight):
        assert torch.equal(ste.mask(other), ste.mask(weight))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_ties_keep_the_first_and_the_count(device, dtype):
    for weight in (torch.zeros(4, 8), torch.full((4, 8), -2.0)):
        stored = nn.Parameter(weight.to(device, dtype))
        ste = SparseSTE(NM(1, 4), mask_decay=MaskDecay("linear", 0.5), alpha=0.1)
        ste.advance()
        used = ste(stored)
        used.sum().backward()
        assert ste.mask(stored).tolist() == [[True, False, False, False] * 2] * 4
        assert used.dtype == stored.grad.dtype == dtype
        assert torch.equal(used, weight.to(device, dtype) * torch.tensor([1.0, 0.5, 0.5, 0.5] * 2).to(device, dtype))
    # Eight bits of a mantissa tie often.
    rounded = _draw(64, 64, dtype=torch.float32).to(dtype)
    assert (SparseSTE(NM(2, 4)).mask(rounded).reshape(-1, 4).sum(1) == 2).all()


@pytest.mark.parametrize("backward", ["ste", "scaled"])
@pytest.mark.parametrize("kind", ["linear", "exp"])
def test_weights_fade_as_published(device, kind, backward):
    ste = SparseSTE(NM(1, 4), mask_decay=MaskDecay(kind, 0.3), backward=backward)
    weight, incoming = _draw(6, 8), _draw(6, 8, seed=1)
    kept = _published_mask(weight, 1, 4)
    for step in range(6):
        factor = _published_factor(kind, 0.3, step)
        scale = torch.ones_like(weight).masked_fill(~kept, factor)
        stored = nn.Parameter(weight.to(device))
        used = ste(stored)
        used.backward(incoming.to(device))
        torch.testing.assert_close(used.detach().cpu(), weight * scale, rtol=1e-14, atol=0)
        wanted = incoming if backward == "ste" else incoming * scale
        torch.testing.assert_close(stored.grad.cpu(), wanted, rtol=1e-14, atol=0)
        ste.advance()


def test_the_scaled_gradient_is_the_derivative_for_a_mask_that_stays():
    ste = SparseSTE(NM(2, 4), mask_decay=MaskDecay("linear", 0.25), backward="scaled")
    ste.step = 2
    # Entries far apart: differences of 1e-6 do not change the mask.
    weight = torch.arange(1.0, 9.0, dtype=torch.float64).reshape(1, 8).requires_grad_()
    assert torch.autograd.gradcheck(ste, (weight,))
    assert not torch.autograd.gradcheck(SparseSTE(NM(2, 4)), (weight,), raise_exception=False)


def test_the_dense_phase_is_dense_and_the_end_is_sparse():
    ste = SparseSTE(NM(1, 4), mask_decay=MaskDecay("exp", 0.1, start=2, end=5))
    weight = nn.Parameter(_draw(4, 8))
    counts = []
    for _ in range(7):
        counts.append(int(ste(weight).count_nonzero()))
        ste.advance()
    assert counts == [32, 32, 32, 32, 32, 8, 8]
    ste.step = 0
    assert torch.equal(ste(weight), weight)


def test_a_sequence_of_patterns_moves_with_the_steps():
    ste = SparseSTE(StructureDecay("stepwise", NM(3, 8), total=12, dense=3, finetune=3))
    weight = nn.Parameter(_draw(2, 16))
    counts = []
    for _ in range(14):
        counts.append(int(ste(weight).count_nonzero()) // 4)
        ste.advance()
    assert counts == [8] * 3 + [7] * 2 + [4] * 2 + [3] * 7


def test_what_is_used_is_linear_in_the_factor():
    weight = _draw(4, 8)
    used = []
    for step in (0, 1, 2):
        ste = SparseSTE(NM(1, 4), mask_decay=MaskDecay("linear", 0.5))
        ste.step = step
        used.append(ste(weight))
    torch.testing.assert_close(used[1], (used[0] + used[2]) / 2, rtol=1e-15, atol=0)


def test_columns_of_a_weight_that_is_not_square():
    mask = SparseSTE(NM(1, 4, axis=0)).mask(_draw(8, 6))
    assert (mask.reshape(2, 4, 6).sum(1) == 1).all()


def test_unstructured_counts_are_ours_or_as_published():
    weight = _draw(10, 100)
    assert int(SparseSTE(PerTensor(0.1)).mask(weight).sum()) == 100
    # As published, the share kept is computed in floating point and cut: one entry less.
    published = int((1 - 0.9) * weight.numel())
    assert published == 99
    assert int(SparseSTE(PerTensor(n_nonzero=published)).mask(weight).sum()) == 99


def test_a_second_derivative_passes():
    weight = _draw(2, 4).requires_grad_()
    for backward, alpha in itertools.product(("ste", "scaled"), (0.0, 0.5)):
        ste = SparseSTE(NM(2, 4), mask_decay=MaskDecay("linear", 0.5), backward=backward, alpha=alpha)
        ste.step = 1
        mask = ste.mask(weight)
        scale = torch.where(mask, 1.0, 0.5).double()
        (gradient,) = torch.autograd.grad(ste(weight).pow(3).sum(), weight, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), weight)
        outer = scale if backward == "scaled" else torch.ones_like(scale)
        # The first is 3 outer (scale w)^2 + alpha (1 - E) w. The way back through the sparse weight has outer again,
        # and the penalty counts once in each backward pass.
        wanted = 6 * outer**2 * scale * weight + alpha * ~mask * (1 + weight)
        torch.testing.assert_close(second, wanted.detach(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("pattern", [NM(1, 4), PerRow(3), PerTensor(0.3)], ids=str)
def test_gradients_of_single_samples(pattern):
    model = nn.Linear(8, 4).double()
    sparsify(model, lambda weight: SparseSTE(pattern, mask_decay=MaskDecay("linear", 0.5), alpha=0.1))
    model.parametrizations.weight[0].step = 1
    x = _draw(5, 8)
    parameters = dict(model.named_parameters())

    def loss(values, row):
        return torch.func.functional_call(model, values, (row,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for i, row in enumerate(x):
        model.zero_grad()
        model(row).square().sum().backward()
        for name, parameter in parameters.items():
            torch.testing.assert_close(each[name][i], parameter.grad, rtol=1e-12, atol=1e-14)


def test_autocast_chooses_in_full_precision():
    model = nn.Linear(8, 4)
    with torch.no_grad():
        # In bfloat16 all of these are 1, and the first one would be kept.
        model.weight.copy_(1 + torch.arange(8) / 4096)
    sparsify(model, "1:4")
    with torch.autocast("cpu", torch.bfloat16):
        out = model(torch.ones(1, 8))
    out.sum().backward()
    stored = model.parametrizations.weight.original
    assert out.dtype == torch.bfloat16
    assert stored.grad.dtype == stored.dtype == torch.float32
    assert model.parametrizations.weight[0].mask(stored).tolist() == [[False, False, False, True] * 2] * 4


def test_a_weight_that_diverged_is_refused_by_name():
    model = nn.Linear(8, 4)
    sparsify(model, "2:4")
    with torch.no_grad():
        model.parametrizations.weight.original[0, 0] = float("nan")
    with pytest.raises(ValueError, match="weight must not hold NaN"):
        model(torch.ones(1, 8))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pattern": "2:4"}, TypeError, "pattern must be a pattern, a StructureDecay or a mask; got str"),
        ({"pattern": torch.ones(2, 4)}, TypeError, "pattern must hold bool where it is a mask"),
        ({"mask_decay": 0.5}, ValueError, "mask_decay must be"),
        ({"backward": "soft"}, ValueError, "backward must be"),
        ({"alpha": -1.0}, ValueError, "alpha must be"),
        ({"alpha": float("nan")}, ValueError, "alpha must be"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        SparseSTE(**{"pattern": NM(2, 4), **arguments})


def test_its_text_says_what_it_does():
    assert repr(SparseSTE(NM(2, 4), backward="scaled")) == "SparseSTE(2:4, backward='scaled')"
    assert repr(SparseSTE(torch.ones(2, 4) > 0)) == "SparseSTE(fixed mask, backward='ste')"
