import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import NM, BlockNM, PerRow, PerTensor, RowBlock, layer_mask
from sparsetheory.gpu.core.layer_masks import check_layer_shape


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).abs()


def _by_loops(score, n, m):
    """Groups along the second axis, one place of a filter after the other."""
    mask = torch.zeros_like(score, dtype=torch.bool)
    out, inputs, height, width = score.shape
    for o in range(out):
        for y in range(height):
            for x in range(width):
                for start in range(0, inputs, m):
                    group = [(-float(score[o, i, y, x]), i) for i in range(start, start + m)]
                    for _, i in sorted(group)[:n]:
                        mask[o, i, y, x] = True
    return mask


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (3, 8)])
def test_groups_of_a_convolution_run_along_its_inputs(device, n, m):
    score = _draw(3, 8, 2, 5)
    assert torch.equal(layer_mask(NM(n, m), score.to(device)).cpu(), _by_loops(score, n, m))


def test_memory_format_of_a_convolution_does_not_matter():
    score = _draw(3, 8, 2, 5)
    assert torch.equal(
        layer_mask(NM(2, 4), score.contiguous(memory_format=torch.channels_last)), layer_mask(NM(2, 4), score)
    )


@pytest.mark.parametrize("axis", [0, -2])
def test_columns_of_a_convolution_are_its_outputs(axis):
    score = _draw(8, 3, 2, 5)
    mask = layer_mask(NM(2, 4, axis=axis), score)
    assert torch.equal(mask, _by_loops(score.transpose(0, 1), 2, 4).transpose(0, 1))
    assert (mask.reshape(2, 4, -1).sum(1) == 2).all()


def test_axes_of_a_convolution_count_in_outputs_and_inputs():
    score = _draw(4, 8, 3, 3)
    assert torch.equal(layer_mask(NM(2, 4, axis=1), score), layer_mask(NM(2, 4), score))
    assert torch.equal(layer_mask(BlockNM(2, 2, 4, axis=1), score), layer_mask(BlockNM(2, 2, 4), score))
    with pytest.raises(ValueError, match=r"fc has axes 0 and 1, out and in, for 2:4; got axis 2"):
        layer_mask(NM(2, 4, axis=2), score, name="fc")


def test_columns_of_a_linear_layer_that_is_not_square():
    score = _draw(8, 5)
    mask = layer_mask(NM(3, 4, axis=0), score)
    assert (mask.reshape(2, 4, 5).sum(1) == 3).all()
    dropped = torch.where(mask, torch.inf, score).reshape(2, 4, 5).min(1).values
    assert (dropped == score.reshape(2, 4, 5).min(1).values).all()


def test_a_transposed_layer_has_the_mask_of_its_transpose():
    score = _draw(8, 6)
    assert torch.equal(layer_mask(NM(1, 2), score, transposed=True), layer_mask(NM(1, 2), score.T).T)
    # 6 inputs by 8 outputs: a reshape of what is stored would find groups of 4.
    with pytest.raises(ValueError, match="got 6 of shape"):
        layer_mask(NM(2, 4), _draw(6, 8), transposed=True)


@pytest.mark.parametrize(
    ("shape", "pattern"),
    [
        ((4, 6), NM(2, 4)),  # 24 entries, so groups of 4 would fit if they reached over rows
        ((8, 3, 4, 4), NM(2, 4)),  # 48 entries an output
        ((6, 4, 2, 2), NM(2, 4, axis=0)),
        ((6, 4), NM(2, 4, axis=0)),
        ((3, 4, 2, 2), BlockNM(2, 2, 4)),
        ((3, 4), RowBlock(2, 0.5)),
        ((3, 4, 2, 2), PerRow(17)),
    ],
)
def test_what_does_not_fit_is_refused_by_name(shape, pattern):
    for call in (
        lambda: layer_mask(pattern, torch.ones(shape), name="stem"),
        lambda: check_layer_shape(pattern, shape, name="stem"),
    ):
        with pytest.raises(ValueError, match=r"stem must have"):
            call()


@pytest.mark.parametrize(
    ("pattern", "count"),
    [(NM(2, 4), 48), (PerRow(5), 20), (PerTensor(0.25), 24), (RowBlock(2, 0.5), 48), (BlockNM(2, 1, 4), 24)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_counts_are_exact_where_everything_ties(device, pattern, count, dtype):
    for value in (0.0, 1.0):
        mask = layer_mask(pattern, torch.full((4, 4, 3, 2), value, dtype=dtype, device=device))
        assert int(mask.sum()) == count
        assert mask.device.type == device


def test_the_first_of_a_group_are_kept_in_ties():
    assert layer_mask(NM(2, 4), torch.zeros(2, 8, 1, 1))[:, :, 0, 0].tolist() == [[True, True, False, False] * 2] * 2


def test_a_row_of_a_convolution_is_all_of_one_output():
    score = _draw(3, 4, 2, 2)
    mask = layer_mask(PerRow(5), score)
    kept = [set(score[o].flatten().topk(5).indices.tolist()) for o in range(3)]
    assert [set(mask[o].flatten().nonzero().squeeze(1).tolist()) for o in range(3)] == kept


def test_an_empty_convolution_has_an_empty_mask():
    assert layer_mask(NM(2, 4), nn.Conv2d(4, 1, 2).weight[:0].detach().abs()).shape == (0, 4, 2, 2)
