import pytest
import torch
from torch.nn import functional

from sparsetheory.gpu.attention import ForegroundSelector

SHAPES = [(6, 8), (3, 4)]


def _levels(seed=0, batch=2, dim=8, shapes=SHAPES):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, dim, *shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _selector(**options):
    return ForegroundSelector(8, 2, generator=1, **options).double()


def _network(selector, x):
    """Scores of tokens of shape (batch, n, dim), written out."""
    norm, linear, _ = selector.network.features
    hidden = functional.gelu(linear(norm(x)))
    half = hidden.shape[-1] // 2
    context = hidden[..., half:].mean(1, keepdim=True).expand(-1, x.shape[1], -1)
    first, _, second, _, last = selector.network.score
    joined = torch.cat([hidden[..., :half], context], -1)
    return last(functional.gelu(second(functional.gelu(first(joined)))))[..., 0]


def test_scores_go_from_the_coarsest_level_to_the_finest():
    selector, (fine, coarse) = _selector(), _levels()
    memory = [selector.norm(selector.project(level.flatten(2).mT)) for level in (fine, coarse)]
    above = _network(selector, memory[1])
    finer = functional.interpolate(above.view(2, 1, 3, 4), (6, 8), mode="bilinear", align_corners=True)
    below = _network(selector, memory[0] * (1 + selector.alpha[0] * finer.flatten(1))[..., None])
    torch.testing.assert_close(selector([fine, coarse]), torch.cat([below, above], 1))


def test_without_modulation_levels_are_scored_by_themselves():
    selector, (fine, coarse) = _selector(), _levels()
    with torch.no_grad():
        selector.alpha.zero_()
    changed = selector([fine, coarse + 1])
    assert torch.equal(changed[:, :48], selector([fine, coarse])[:, :48])
    with torch.no_grad():
        selector.alpha.fill_(0.2)
    assert not torch.equal(selector([fine, coarse + 1])[:, :48], selector([fine, coarse])[:, :48])


def test_what_padding_holds_does_not_matter():
    selector, levels = _selector(), _levels()
    masks = [torch.ones(2, *shape, dtype=torch.bool) for shape in SHAPES]
    masks[0][1, :, 6:], masks[1][1, :, 3:] = False, False
    masks[0][1, 4:], masks[1][1, 2:] = False, False
    garbage = [torch.where(mask[:, None], level, torch.nan) for level, mask in zip(levels, masks, strict=True)]
    assert torch.equal(selector(garbage, masks), selector(levels, masks))
    assert bool(selector(garbage, masks).isfinite().all())


def test_cells_at_the_very_border_are_set_to_zero():
    # The centre of the first of 51 cells is at 0.0098 of the width; of 50 it would be at 0.01 exactly, and out too.
    selector = ForegroundSelector(8, 1).double()
    for width, zeroed in ((49, False), (50, True), (51, True)):
        level = _levels(shapes=[(3, width)])[0]
        changed = level.clone()
        changed[:, :, :, 0] += 1
        changed[:, :, :, -1] += 1
        assert torch.equal(selector([level]), selector([changed])) == zeroed


def test_the_border_is_that_of_the_image_without_its_padding():
    selector = ForegroundSelector(8, 1).double()
    level = _levels(shapes=[(3, 60)], batch=1)[0]
    mask = torch.ones(1, 3, 60, dtype=torch.bool)
    mask[:, :, 52:] = False
    changed = level.clone()
    changed[..., 51] += 1
    assert torch.equal(selector([level], [mask]), selector([changed], [mask]))
    changed[..., 50] += 1
    assert not torch.equal(selector([level], [mask]), selector([changed], [mask]))


def test_initial_weights_come_from_the_generator():
    first, second, other = (ForegroundSelector(16, 4, generator=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.alpha, other.alpha)
    assert first.alpha.shape == (3,)
    assert float(first.alpha.detach().abs().max()) <= 0.3


def test_one_network_serves_all_levels_and_a_single_level_needs_no_modulation():
    assert ForegroundSelector(8, 1).alpha.shape == (0,)
    counts = [sum(p.numel() for p in ForegroundSelector(8, n).parameters()) for n in (1, 4)]
    assert counts[1] - counts[0] == 3


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="dim must be a multiple of 4; got 6"):
        ForegroundSelector(6, 2)
    with pytest.raises(ValueError, match="n_levels must be an integer from 1"):
        ForegroundSelector(8, 0)
    selector, levels = _selector(), _levels()
    with pytest.raises(ValueError, match="levels must be 2 tensors; got 1"):
        selector(levels[:1])
    with pytest.raises(ValueError, match=r"levels must have shape \(batch, 8, rows, columns\)"):
        selector([level[:, :4] for level in levels])
    with pytest.raises(ValueError, match="masks must have shapes"):
        selector(levels, [torch.ones(2, 3, 4, dtype=torch.bool)] * 2)
