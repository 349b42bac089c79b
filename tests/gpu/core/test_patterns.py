"""Patterns: exact counts and ties for every precision, optimal by brute force, named errors, and shared laws."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sparsetheory.gpu.core import NM, BlockNM, GlobalPattern, PerRow, PerTensor, RowBlock, parse_pattern

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
# Every pattern, with shapes that it fits.
PATTERNS = [
    (NM(2, 4), (6, 8)),
    (NM(1, 1), (3, 5)),
    (NM(3, 24), (2, 48)),
    (NM(1, 3, axis=0), (6, 5)),
    (NM(2, 4, axis=1), (3, 8, 2, 2)),
    (PerRow(3), (4, 7)),
    (PerRow((0, 1, 5, 2)), (4, 5)),
    (PerRow(density=0.3), (2, 3, 9)),
    (PerTensor(0.37), (5, 7)),
    (PerTensor(n_nonzero=4), (9,)),
    (RowBlock(2, 0.5), (6, 5)),
    (RowBlock(3, 0.2), (6, 4, 2, 2)),
    (BlockNM(2, 2, 4), (4, 8)),
    (BlockNM(3, 1, 2, axis=1), (6, 4, 3, 3)),
]


def _normal(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _scores(shape, dtype, device):
    yield _normal(shape, 1, dtype).to(device)
    yield _normal(shape, 2).mul(2).round().to(device, dtype)
    for value in (0.0, 3.5, np.inf):
        yield torch.full(shape, value, dtype=dtype, device=device)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("pattern", "shape"), PATTERNS, ids=str)
def test_laws_of_all_patterns(device, pattern, shape, dtype):
    for score in _scores(shape, dtype, device):
        mask = pattern.mask(score)
        assert (mask.dtype, mask.shape, mask.device) == (torch.bool, score.shape, score.device)
        assert int(mask.sum()) == pattern.count(shape)
        once = pattern.project(score)
        assert (once.dtype, once.device) == (score.dtype, score.device)
        assert torch.equal(once, torch.where(pattern.mask(score.abs()), score, 0))
        assert torch.equal(pattern.project(once), once)
        assert torch.equal(pattern.mask(mask.to(dtype)), mask)


@pytest.mark.parametrize(("pattern", "shape"), PATTERNS, ids=str)
def test_powers_of_two_and_memory_formats_change_nothing(pattern, shape):
    score = _normal(shape)
    mask = pattern.mask(score)
    for power in (-20, -1, 5):
        assert torch.equal(pattern.mask(score * 2.0**power), mask)
    order = list(range(len(shape)))[::-1]
    assert torch.equal(pattern.mask(score.permute(order).contiguous().permute(order)), mask)


@pytest.mark.parametrize(("pattern", "shape"), PATTERNS, ids=str)
def test_gradients_pass_through_what_is_kept(pattern, shape):
    weight = _normal(shape).requires_grad_()
    pattern.project(weight).mul(3.0).sum().backward()
    assert torch.equal(weight.grad, 3.0 * pattern.mask(weight.abs()))


@pytest.mark.parametrize(("pattern", "shape"), PATTERNS, ids=str)
def test_scores_that_cannot_be_ordered_are_refused(pattern, shape):
    score = _normal(shape)
    score.view(-1)[3] = np.nan
    with pytest.raises(ValueError, match=r"layer\.3 must not hold NaN; got 1 of"):
        pattern.mask(score, name="layer.3")
    with pytest.raises(ValueError, match=r"weight must not hold NaN"):
        pattern.project(score)
    with pytest.raises(TypeError, match=r"score must be a tensor of real floating-point numbers; got torch.int64"):
        pattern.mask(torch.ones(shape, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"got list"):
        pattern.mask([1.0, 2.0])


RELATIVE = [(pattern, shape) for pattern, shape in PATTERNS if getattr(pattern, "n_nonzero", None) is None]


@pytest.mark.parametrize(("pattern", "shape"), RELATIVE, ids=str)
def test_of_nothing_nothing_is_kept(pattern, shape):
    for axis in range(len(shape)):
        empty = torch.zeros([0 if i == axis else length for i, length in enumerate(shape)])
        assert pattern.mask(empty).shape == empty.shape
        assert pattern.project(empty).shape == empty.shape
        assert pattern.count(empty.shape) == 0


def test_given_counts_need_entries():
    assert PerRow(3).mask(torch.zeros(0, 7)).shape == (0, 7)
    assert PerRow(0).mask(torch.zeros(3, 0)).shape == (3, 0)
    assert PerRow(()).mask(torch.zeros(0, 7)).shape == (0, 7)
    for pattern, shape in ((PerRow(1), (3, 0)), (PerTensor(n_nonzero=1), (0,))):
        with pytest.raises(ValueError, match="score must have at least 1 entries"):
            pattern.mask(torch.zeros(shape))


def _best(score, allowed):
    """Return the largest total score of the allowed masks."""
    return max(float(score[mask].sum()) for mask in allowed)


def _subsets(size, count):
    for chosen in itertools.combinations(range(size), count):
        mask = torch.zeros(size, dtype=torch.bool)
        mask[list(chosen)] = True
        yield mask


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (1, 4), (3, 5), (4, 8)])
def test_n_of_m_is_the_euclidean_projection(n, m, seed):
    weight = _normal((2, 2 * m), seed, torch.float64)
    kept = NM(n, m).project(weight)
    for group, projected in zip(weight.reshape(-1, m), kept.reshape(-1, m), strict=True):
        best = min(float((group[~mask] ** 2).sum()) for mask in _subsets(m, n))
        assert float(((group - projected) ** 2).sum()) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_blocks_of_rows_are_optimal(seed):
    score = _normal((4, 5), seed, torch.float64).abs()
    found = RowBlock(2, 0.3).mask(score)
    allowed = (mask.reshape(2, 5).repeat_interleave(2, 0) for mask in _subsets(10, 3))
    assert float(score[found].sum()) == pytest.approx(_best(score, allowed), rel=1e-12)
    squares = RowBlock(2, 0.3).mask(score**2)
    allowed = (mask.reshape(2, 5).repeat_interleave(2, 0) for mask in _subsets(10, 3))
    assert float((score[~squares] ** 2).sum()) == pytest.approx(
        min(float((score[~mask] ** 2).sum()) for mask in allowed), rel=1e-12
    )


@pytest.mark.parametrize("seed", range(4))
def test_groups_in_blocks_are_optimal(seed):
    score = _normal((4, 4), seed, torch.float64).abs()
    found = BlockNM(2, 1, 4).mask(score)
    allowed = (
        torch.stack([first, first, second, second]) for first in _subsets(4, 1) for second in list(_subsets(4, 1))
    )
    assert float(score[found].sum()) == pytest.approx(_best(score, allowed), rel=1e-12)


def test_a_padded_last_block_has_fewer_rows():
    score = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.5]])
    with pytest.raises(ValueError, match=r"fc must have a multiple of 2 entries along axis 0"):
        RowBlock(2, 0.5).mask(score, name="fc")
    mask = RowBlock(2, 0.5, pad=True).mask(score)
    assert mask.int().tolist() == [[1, 0], [1, 0], [0, 1]]
    assert int(mask.sum()) < RowBlock(2, 0.5, pad=True).count(score.shape) == 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_of_blocks_do_not_overflow_or_tie_in_half_precision(dtype):
    score = torch.full((4, 2), 20_000.0, dtype=dtype)
    score[:, 1] = 30_000.0
    assert RowBlock(4, 0.5).mask(score)[:, 1].all()
    near = torch.ones(512, 2, dtype=dtype)
    near[0, 1] = 1.5
    assert RowBlock(512, 0.5).mask(near)[:, 1].all()
    assert BlockNM(512, 1, 2).mask(near)[:, 1].all()


def test_both_infinities_in_a_block_are_refused():
    score = torch.tensor([[np.inf, 1.0], [-np.inf, 1.0]])
    for pattern in (RowBlock(2, 0.5), BlockNM(2, 1, 2)):
        with pytest.raises(ValueError, match="both infinities"):
            pattern.mask(score)


def test_convolutions_are_grouped_along_their_inputs():
    weight = _normal((6, 8, 3, 2))
    linear = weight.permute(0, 2, 3, 1).reshape(6, -1)
    for pattern, along in ((NM(2, 4, axis=1), NM(2, 4)), (BlockNM(3, 1, 4, axis=1), BlockNM(3, 1, 4))):
        mask = pattern.mask(weight).permute(0, 2, 3, 1).reshape(6, -1)
        assert torch.equal(mask, along.mask(linear))
    assert torch.equal(NM(2, 4, axis=-3).mask(weight), NM(2, 4, axis=1).mask(weight))
    columns = _normal((8, 6))
    assert torch.equal(NM(1, 4, axis=0).mask(columns), NM(1, 4).mask(columns.T).T)


@pytest.mark.parametrize("pattern", [NM(2, 4), BlockNM(1, 2, 4), NM(2, 4, axis=1)])
def test_groups_that_straddle_rows_are_refused(pattern):
    # 4 x 6 entries are six groups of four only if groups run across rows.
    with pytest.raises(ValueError, match=r"encoder\.fc must have a multiple of 4 entries along axis (-1|1) for .*2:4"):
        pattern.mask(torch.ones(4, 6), name="encoder.fc")
    with pytest.raises(ValueError, match=r"weight must have a multiple of 4 entries along axis"):
        pattern.project(torch.ones(4, 6))


@pytest.mark.parametrize(
    ("pattern", "shape", "message"),
    [
        (NM(1, 2, axis=2), (4, 4), "at least 3 axes for 1:2"),
        (NM(1, 2, axis=-3), (4, 4), "at least 3 axes for 1:2"),
        (PerRow(5), (2, 4), "at least 5 entries per row"),
        (PerRow((1, 2)), (3, 4), "2 rows, one per entry of n_nonzero"),
        (PerRow((1, 5)), (2, 4), "at least 5 entries per row"),
        (PerRow(1), (), "at least 1 axes"),
        (PerTensor(n_nonzero=9), (2, 4), "at least 9 entries"),
        (RowBlock(2, 0.5), (4,), "at least 2 axes"),
        (BlockNM(3, 1, 2), (4, 4), "multiple of 3 entries along axis 0"),
    ],
)
def test_shapes_that_do_not_fit(pattern, shape, message):
    with pytest.raises(ValueError, match=rf"q\.weight must have .*{message}"):
        pattern.mask(torch.ones(shape), name="q.weight")
    with pytest.raises(ValueError, match=message):
        pattern.check_shape(shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NM(0, 4), "n must be an integer from 1 to 4; got 0"),
        (lambda: NM(5, 4), "n must be an integer from 1 to 4; got 5"),
        (lambda: NM(True, 4), "n must be"),
        (lambda: NM(1, 4, axis=0.5), "axis must be an integer"),
        (lambda: PerRow(), "give either n_nonzero or density"),
        (lambda: PerRow(2, density=0.5), "give either n_nonzero or density"),
        (lambda: PerRow(-1), "n_nonzero must be an integer from 0"),
        (lambda: PerRow(1.5), "n_nonzero must be an integer from 0"),
        (lambda: PerRow((1, 1.5)), "n_nonzero must be an integer from 0"),
        (lambda: PerRow(density=1.5), "density must be .* got 1.5"),
        (lambda: PerTensor(), "give either n_nonzero or density"),
        (lambda: PerTensor(-0.1), "density must be"),
        (lambda: PerTensor(np.nan), "density must be"),
        (lambda: RowBlock(0, 0.5), "size must be an integer from 1"),
        (lambda: RowBlock(2, 0.5, pad=1), "pad must be True or False"),
        (lambda: BlockNM(2, 3, 2), "n must be an integer from 1 to 2"),
        (lambda: GlobalPattern(2.0), r"density must be a number in \[0, 1\]"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_counts_of_rows_come_in_any_container():
    wanted = PerRow((1, 2))
    for given in ([1, 2], np.array([1, 2]), torch.tensor([1, 2]), range(1, 3)):
        assert PerRow(given) == wanted
        assert hash(PerRow(given)) == hash(wanted)
    assert PerRow(np.int64(3)) == PerRow(3)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 0.77, 1.0])
def test_global_masks_are_those_of_torch_prune(density):
    layers = [nn.Linear(30, 20, bias=False), nn.Linear(20, 11, bias=False), nn.Linear(11, 3, bias=False)]
    with torch.no_grad():
        # Distinct magnitudes: torch promises no order of ties.
        order = torch.randperm(600 + 220 + 33, generator=torch.Generator().manual_seed(0)) + 1.0
        for layer, part in zip(layers, order.split([600, 220, 33]), strict=True):
            layer.weight.copy_(
                part.reshape(layer.weight.shape) * torch.where(part % 2 == 0, 1, -1).reshape(-1, layer.in_features)
            )
    found = GlobalPattern(density).mask([layer.weight.abs() for layer in layers])
    projected = GlobalPattern(density).project([layer.weight for layer in layers])
    prune.global_unstructured([(one, "weight") for one in layers], prune.L1Unstructured, amount=1.0 - density)
    for layer, mask, weight in zip(layers, found, projected, strict=True):
        assert torch.equal(mask, layer.weight_mask > 0)
        assert torch.equal(weight, layer.weight)


def test_global_masks_are_nested_with_exact_counts_and_earlier_tensors_win_ties():
    scores = {"b": torch.ones(3, 4), "a": torch.ones(5), "c": _normal((4, 4)).round()}
    before = {name: torch.zeros_like(one, dtype=torch.bool) for name, one in scores.items()}
    for step in range(21):
        masks = GlobalPattern(step / 20).mask(scores)
        assert list(masks) == list(scores)
        assert sum(int(mask.sum()) for mask in masks.values()) == 33 - round((1 - step / 20) * 33)
        assert all(bool((masks[name] | ~before[name]).all()) for name in scores)
        before = masks
    first, second = GlobalPattern(0.5).mask([torch.ones(4), torch.ones(4)])
    assert first.all()
    assert not second.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_global_projections_stay_as_they_are(device, dtype):
    weights = {"a": _normal((4, 5), 1, dtype).to(device), "b": torch.zeros(3, 3, dtype=dtype, device=device)}
    for density in (0.0, 0.3, 0.9, 1.0):
        once = GlobalPattern(density).project(weights)
        twice = GlobalPattern(density).project(once)
        assert all(torch.equal(once[name], twice[name]) and once[name].dtype == dtype for name in weights)


def test_global_masks_of_mixed_precisions_and_of_nothing():
    scores = [torch.tensor([1.0, 3.0], dtype=torch.bfloat16), torch.tensor([2.0], dtype=torch.float64)]
    assert [mask.tolist() for mask in GlobalPattern(2 / 3).mask(scores)] == [[False, True], [True]]
    assert [weight.dtype for weight in GlobalPattern(0.5).project(scores)] == [torch.bfloat16, torch.float64]
    assert GlobalPattern(0.5).mask([]) == []
    assert GlobalPattern(0.5).mask({}) == {}
    assert GlobalPattern(0.5).mask([torch.zeros(0)])[0].shape == (0,)
    with pytest.raises(ValueError, match=r"score\[1\] must not hold NaN"):
        GlobalPattern(0.5).mask([torch.ones(2), torch.tensor([np.nan])])
    with pytest.raises(ValueError, match=r"weight\[0\] must not hold NaN"):
        GlobalPattern(0.5).project([torch.tensor([np.nan])])


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("2:4", NM(2, 4)),
        (" 4:8 ", NM(4, 8)),
        ("50%", PerRow(density=0.5)),
        ("12.5%", PerRow(density=0.125)),
        ("100%", PerRow(density=1.0)),
        ("0%", PerRow(density=0.0)),
        ("30%/tensor", PerTensor(0.3)),
        ("4x2:4", BlockNM(4, 2, 4)),
        ("8x25%", RowBlock(8, 0.25)),
    ],
)
def test_patterns_of_the_command_line(text, pattern):
    assert parse_pattern(text) == pattern


@pytest.mark.parametrize("pattern", [NM(2, 4), NM(1, 16), NM(7, 7)])
def test_n_of_m_reads_what_it_writes(pattern):
    assert parse_pattern(str(pattern)) == pattern


@pytest.mark.parametrize(
    "text",
    ["", "2", "2:", ":4", "2:4:8", "-1:4", "2:4%", "1e1%", "50", "50 %", "50%/row", "4x50%/tensor", "x2:4", "2.5:4"],
)
def test_other_texts_are_refused_in_words(text):
    with pytest.raises(ValueError, match=r"pattern must be like 2:4, 50%, 50%/tensor, 4x2:4 or 4x50%; got"):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("4:2", "n must be"), ("0:4", "n must be"), ("101%", "density must be"), ("0x2:4", "size must be")],
)
def test_numbers_out_of_range_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_pattern(text)
