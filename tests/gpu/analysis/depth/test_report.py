import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsetheory.gpu.analysis import (
    depth_report,
    layer_grams,
    linear_map,
    linearised,
    next_token_loss,
    residual_statistics,
)
from sparsetheory.gpu.core import class_loss
from sparsetheory.gpu.core.datasets import load_characters
from sparsetheory.gpu.core.models import CharacterDecoder


def tokens(n, seed=0):
    return torch.randint(11, (n, 6), generator=torch.Generator().manual_seed(seed))


def decoder(n_layers=3):
    model = CharacterDecoder(11, width=8, n_layers=n_layers, n_heads=2, hidden=12, context=6).double()
    with torch.no_grad():
        model.characters.weight *= 50
    return model


def stream(model, x, skip=None):
    """Run the blocks one by one."""
    h = [model.characters(x) + model.positions.weight[: x.shape[1]]]
    for place, block in enumerate(model.blocks):
        h.append(h[-1] if place == skip else block(h[-1]))
    return h


def loss_of(model, h, x):
    logits = model.head(model.norm(h[-1]))[:, :-1]
    return float(functional.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten()))


@torch.no_grad()
def test_every_score_is_that_of_the_blocks_run_by_hand(device):
    model, x = decoder().to(device), tokens(4).to(device)
    report = depth_report(model, None, x, tokens(40, 1).to(device), useful_above=0.001)
    h = stream(model, x)
    added = [after - before for before, after in itertools.pairwise(h)]
    loss = loss_of(model, h, x)
    assert report.loss == pytest.approx(loss, rel=1e-10)
    for place, one in enumerate(h):
        assert float(report.variance[place]) == pytest.approx(float(one.var(-1, correction=0).mean()), rel=1e-10)
    for place in range(3):
        assert float(report.cosine[place]) == pytest.approx(
            float(functional.cosine_similarity(h[place], h[place + 1], dim=-1).mean()), rel=1e-10
        )
        relative = (added[place].norm(dim=-1) / h[place].norm(dim=-1)).mean()
        assert float(report.relative_contribution[place]) == pytest.approx(float(relative), rel=1e-10)
        skipped = stream(model, x, skip=place)
        rise = loss_of(model, skipped, x) / loss - 1
        assert float(report.skip_increase[place]) == pytest.approx(rise, abs=1e-10)
        for later in range(3):
            moved = ((skipped[later + 1] - skipped[later]) - added[later]).norm(dim=-1).mean()
            expected = float(moved / added[later].norm(dim=-1).mean()) if later > place else 0.0
            assert float(report.causal[place, later]) == pytest.approx(expected, abs=1e-10)
        found = linear_map(layer_grams(model, [tokens(40, 1).to(device)])[f"blocks.{place}"])
        mapped = h[place] @ found.W.T + found.b
        for block in model.blocks[place + 1 :]:
            mapped = block(mapped)
        rise = loss_of(model, [mapped], x) / loss - 1
        assert float(report.linear_increase[place]) == pytest.approx(rise, abs=1e-9)
        assert bool(report.useful[place]) == (rise > 0.001)
    # The variance of a sum, feature by feature, in an order of its own.
    for place, one in enumerate(added):
        before, branch = (part - part.mean(-1, keepdim=True) for part in (h[place], one))
        assert float(report.covariance[place]) == pytest.approx(float((before * branch).mean()), rel=1e-8)
        assert float(report.branch_variance[place]) == pytest.approx(float(branch.square().mean()), rel=1e-10)
    assert report.usefulness == pytest.approx(float(report.useful.double().mean()))
    assert report.causal_effect.tolist() == pytest.approx(
        [float(report.causal[0, 1:].mean()), float(report.causal[1, 2])], rel=1e-12
    )


def test_the_ratio_of_means_is_not_the_mean_of_ratios():
    model, x = decoder(2), tokens(4)
    with torch.no_grad():
        h, skipped = stream(model, x), stream(model, x, skip=0)
        added, moved = h[2] - h[1], (skipped[2] - skipped[1]) - (h[2] - h[1])
        of_ratios = float((moved.norm(dim=-1) / added.norm(dim=-1)).mean())
    assert abs(float(depth_report(model, None, x, jacobian=False).causal[0, 1]) / of_ratios - 1) > 1e-3


def test_a_frame_has_a_row_for_each_layer_and_what_was_asked_for():
    model, x = decoder(), tokens(4)
    report = depth_report(model, None, x, tokens(40, 1))
    frame = report.to_frame()
    assert frame.layer.tolist() == ["blocks.0", "blocks.1", "blocks.2"]
    np.testing.assert_array_equal(frame.variance, report.variance[1:])
    np.testing.assert_array_equal(frame.permutation[:2], report.permutation.diagonal(1))
    assert frame.causal.isna().tolist() == frame.permutation.isna().tolist() == [False, False, True]
    assert frame.useful.dtype == bool
    less = depth_report(model, None, x, loss=None, jacobian=False).to_frame()
    assert not {"permutation", "linear_increase", "useful", "jacobian", "skip_increase"} & set(less.columns)


def test_neighbours_alone_are_exchanged_where_asked():
    model, x = decoder(4), tokens(4)
    every, near = (depth_report(model, None, x, jacobian=False, pairs=pairs) for pairs in ("all", "adjacent"))
    assert torch.equal(every.permutation.diagonal(1), near.permutation.diagonal(1))
    assert torch.isnan(near.permutation).sum() == 6
    assert not torch.isnan(every.permutation).any()
    with pytest.raises(ValueError, match="pairs must be"):
        depth_report(model, None, x, pairs="some")


def test_the_model_is_left_as_it_was():
    model, x = decoder().train(), tokens(4)
    model.blocks[1].eval()
    before = copy.deepcopy(model.state_dict())
    depth_report(model, None, x, tokens(40, 1))
    assert [block.training for block in model.blocks] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_loss_of_ones_own_and_any_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).double()
    x, y = torch.randn(30, 4).double(), torch.randn(30, 4).double()
    report = depth_report(model, None, x, torch.randn(60, 4).double(), loss=lambda out, _: (out - y).square().mean())
    assert report.linear_increase.abs().max() < 1e-9
    eye = torch.eye(4).double()
    expected = [float((layer.weight.detach() - eye).norm()) / 4 for layer in model]
    assert report.jacobian.tolist() == pytest.approx(expected, rel=1e-10)
    with pytest.raises(TypeError, match="loss must be given, as the batch holds no tokens"):
        depth_report(model, None, x)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_loss_that_is_not_positive_is_refused(value):
    with pytest.raises(ValueError, match="loss must be above 0"):
        depth_report(decoder(), None, tokens(4), loss=lambda *_: torch.tensor(value))


def test_the_fit_needs_other_data_and_enough():
    model, x = decoder(), tokens(20)
    with pytest.raises(ValueError, match="fit_batch must be other data"):
        depth_report(model, None, x, x)
    with pytest.raises(ValueError, match=r"= 90 tokens; got 84"):
        depth_report(model, None, x, tokens(14))
    several = depth_report(model, None, x, [tokens(15, 1), tokens(15, 2)], jacobian=False)
    joined = depth_report(model, None, x, torch.cat([tokens(15, 1), tokens(15, 2)]), jacobian=False)
    torch.testing.assert_close(several.linear_increase, joined.linear_increase, rtol=1e-7, atol=1e-9)
    with pytest.raises(ValueError, match="at least one token"):
        depth_report(model, None, x, mask=torch.zeros_like)


def test_layers_with_a_state_are_refused():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * (1 + self.calls)

    model = nn.Sequential(Counter(), Counter())
    with pytest.raises(ValueError, match="same for the same inputs; 0 keeps a state"):
        depth_report(model, None, torch.ones(3, 2), loss=None, jacobian=False)


def test_layers_that_are_called_twice_or_never_are_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

        def forward(self, x):
            return self.layers[0](self.layers[0](x))

    with pytest.raises(ValueError, match=r"once in a forward pass; layers\.0 was called 2 times"):
        residual_statistics(Twice(), torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"must keep the shape; 0 makes \(3, 4\) of \(3, 2\)"):
        residual_statistics(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)), torch.ones(3, 2))


def test_layers_that_share_parameters_are_warned_of():
    model = decoder()
    model.blocks[2].attention.out.weight = model.blocks[0].attention.out.weight
    with pytest.warns(UserWarning, match=r"layers blocks\.0 and blocks\.2 share parameters"):
        depth_report(model, None, tokens(4), jacobian=False)


@pytest.mark.parametrize("norm_first", [False, True])
def test_torchs_own_layers_are_known_by_where_they_normalise(norm_first, recwarn):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    found = residual_statistics(model, x)
    warned = any("Post-LN" in str(one.message) for one in recwarn)
    assert warned is not norm_first
    if not norm_first:
        torch.testing.assert_close(found.variance[1:], torch.ones(3).double(), rtol=1e-3, atol=0)


def test_few_huge_tokens_move_means_and_not_medians_and_can_be_left_out():
    model, x = nn.Sequential(nn.Identity(), nn.Identity()), torch.tensor([[-1.0, 1.0]]).repeat(9, 1)[None]
    x[0, 0] *= 1000.0
    found = residual_statistics(model, x)
    assert float(found.variance[0]) == pytest.approx((1e6 + 8) / 9)
    assert float(found.median_variance[0]) == 1.0
    rest = residual_statistics(model, x, mask=lambda batch: torch.arange(9)[None] > 0)
    assert float(rest.variance[0]) == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_gives_nearly_the_same(dtype):
    exact = depth_report(decoder(), None, tokens(4), jacobian=False)
    found = depth_report(decoder().to(dtype), None, tokens(4), jacobian=False)
    tol = 1e-4 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(found.variance, exact.variance, rtol=tol, atol=0)
    assert found.variance.dtype == torch.float64


@pytest.fixture(scope="module")
def trained():
    """A decoder of six layers after 250 steps on docstrings, texts to judge by, and texts to fit on."""
    text = load_characters()
    calibration, held_out = torch.from_numpy(text.calibration), torch.from_numpy(text.held_out)
    model = CharacterDecoder(len(text.alphabet), width=24, n_layers=6, n_heads=4, hidden=48, context=32)
    adam = torch.optim.Adam(model.parameters(), lr=5e-3)
    windows = calibration.unfold(0, 33, 1)
    order = torch.randint(len(windows), (250, 16), generator=torch.Generator().manual_seed(0))
    for rows in order:
        batch = windows[rows]
        adam.zero_grad()
        class_loss(model(batch[:, :-1]), batch[:, 1:]).backward()
        adam.step()
    return model.eval(), held_out[: 32 * 40].view(40, 32), calibration[: 32 * 80].view(80, 32)


def transposed_rise(model, name, W, b, x, loss):
    """What the published code computes: fitted as ``x @ W + b``, its matrix becomes the weight of a linear layer."""
    weight = W.T  # the matrix for which outputs are x @ weight
    with torch.no_grad(), linearised(model, name, weight, b):
        return float(next_token_loss(model(x), x)) / loss - 1


def test_transposed_maps_overstate_how_useful_a_layer_is(trained):
    model, x, fit = trained
    report = depth_report(model, None, x, fit, jacobian=False, pairs="adjacent")
    grams = layer_grams(model, [fit])
    maps = {name: linear_map(gram) for name, gram in grams.items()}
    transposed = [transposed_rise(model, name, one.W, one.b, x, report.loss) for name, one in maps.items()]
    assert transposed[0] > float(report.linear_increase[0]) + 0.05
    assert sum(transposed) > float(report.linear_increase.sum()) + 0.05


def test_a_map_looks_better_on_the_tokens_it_was_fitted_on(trained):
    model, x, _ = trained
    small = x[:8]
    inside = linear_map(layer_grams(model, [small])["blocks.0"])
    h = model.characters(small) + model.positions.weight[:32]
    other = model.characters(x[8:]) + model.positions.weight[:32]

    def error(rows):
        after = model.blocks[0](rows).double()
        rows = rows.double()
        return float((rows @ inside.W.T + inside.b - after).square().sum() / (after - rows).square().sum())

    with torch.no_grad():
        assert error(h) == pytest.approx(inside.relative_error, rel=1e-4)
        assert error(other) > 1.05 * inside.relative_error


class _Residual(nn.Module):
    """Adds a multiple of its input."""

    def __init__(self, factor, in_place=False):
        super().__init__()
        self.factor, self.in_place = factor, in_place

    def forward(self, x):
        return x.add_(self.factor * x) if self.in_place else x + self.factor * x


def test_a_layer_that_adds_nothing_turns_nothing():
    found = residual_statistics(nn.Sequential(_Residual(0.0), _Residual(1.0)), torch.ones(3, 4))
    assert found.cosine.tolist() == pytest.approx([1.0, 1.0])
    # Also where the stream is zero.
    found = residual_statistics(nn.Sequential(_Residual(0.0), _Residual(1.0)), torch.zeros(3, 4))
    assert found.cosine.tolist() == [1.0, 1.0]
    assert found.relative_contribution.tolist() == [0.0, 0.0]


def test_layers_that_write_into_their_input_are_refused():
    """What they add could not be told."""
    model = nn.Sequential(_Residual(0.5), _Residual(0.5, in_place=True))
    with pytest.raises(ValueError, match="layers must leave their input as it is; 1 writes into it"):
        residual_statistics(model, torch.ones(3, 4))
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model)


def test_changes_are_relative_to_the_loss_of_the_whole_model():
    """And a layer counts as useful above the threshold alone."""
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), torch.eye(3)

    def loss(output, batch):
        return output.square().mean() + 1

    with torch.no_grad():
        report = depth_report(model, None, x, torch.randn(60, 3), loss=loss, useful_above=1e6)
        exchanged = float(loss(model[0](model[1](x)), x))
    assert float(report.permutation[0, 1]) == pytest.approx(abs(exchanged - report.loss) / report.loss, rel=1e-5)
    assert report.useful.tolist() == [False, False]


def test_no_token_is_predicted_from_a_padding():
    """On the left as on the right."""
    logits = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 0, 1, 2, 3]])
    short = next_token_loss(logits[:, 2:], ids[:, 2:])
    padded = next_token_loss(logits, {"input_ids": ids, "attention_mask": torch.tensor([[0, 0, 1, 1, 1]])})
    torch.testing.assert_close(padded, short)
    padded = next_token_loss(logits, {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 0, 0]])})
    torch.testing.assert_close(padded, next_token_loss(logits[:, :3], ids[:, :3]))


def test_warnings_point_at_the_call():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(nn.Sequential(shared), nn.Sequential(shared))
    with pytest.warns(UserWarning, match="share parameters") as caught:
        depth_report(model, ["0", "1"], torch.eye(3), loss=None)
    assert caught[0].filename == __file__
