"""Statistics of blocks of keys against plain loops; what is no visible key plays no part."""

import pytest
import torch

from sparsetheory.gpu.attention import KeyBlocks, cluster_keys


def _keys(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _labels(*shape, n_blocks, seed=0):
    return torch.randint(-1, n_blocks, shape, generator=torch.Generator().manual_seed(seed))


def test_statistics_are_those_of_a_loop_over_the_keys(device):
    k, labels = _keys(2, 3, 40, 5).to(device), _labels(2, 3, 40, n_blocks=4).to(device)
    blocks = KeyBlocks.from_keys(k, labels)
    for i in range(2):
        for j in range(3):
            for b in range(4):
                own = k[i, j][labels[i, j] == b].double()
                at = (i, j, b)
                assert blocks.sizes[at] == len(own)
                assert torch.equal(blocks.members[at][: len(own)], torch.nonzero(labels[i, j] == b)[:, 0])
                assert (blocks.members[at][len(own) :] == -1).all()
                assert torch.equal(blocks.low[at].double(), own.amin(0))
                assert torch.equal(blocks.high[at].double(), own.amax(0))
                torch.testing.assert_close(blocks.mean[at].double(), own.mean(0), rtol=1e-6, atol=1e-6)
                away = (own - blocks.mean[at].double()).norm(dim=-1).amax()
                assert away <= blocks.radius[at].double() <= away * (1 + 1e-5)
                cov = torch.cov(own.mT, correction=0)
                largest = torch.linalg.eigvalsh(cov)[-1].clamp_min(0.0)
                assert largest.sqrt() <= blocks.deviation[at].double() <= largest.sqrt() * (1 + 1e-5) + 1e-12
                F = blocks.factor[at].double()
                torch.testing.assert_close(F.mT @ F, cov, rtol=1e-5, atol=1e-5)
            inside = k[i, j][labels[i, j] >= 0].double().norm(dim=-1).amax()
            assert inside <= blocks.largest_norm[i, j].double() <= inside * (1 + 1e-5)


def test_the_factor_is_at_least_the_covariance_where_keys_are_nearly_equal():
    k = _keys(200, 6, dtype=torch.float64) * torch.logspace(0, -9, 6, dtype=torch.float64) + 100.0
    blocks = KeyBlocks.from_keys(k, 50)
    centred = k.unflatten(0, (4, 50)) - k.unflatten(0, (4, 50)).mean(1, keepdim=True)
    q = _keys(500, 6, seed=1, dtype=torch.float64)
    true = (centred @ q.mT).square().mean(1).sqrt()
    bound = (blocks.factor @ q.mT).norm(dim=1)
    # In the units of 4c: a standard deviation errs by d u |q| |k|.
    assert (bound >= true - 6 * 2.0**-53 * q.norm(dim=-1) * k.norm(dim=-1).amax()).all()


def test_padding_plays_no_part_whatever_it_contains():
    k, labels = _keys(30, 4), _labels(30, n_blocks=3)
    exists = torch.arange(30) < 22
    clean = KeyBlocks.from_keys(k[:22], labels[:22])
    for garbage in (1e30, torch.inf, torch.nan):
        padded = torch.where(exists[:, None], k, garbage)
        blocks = KeyBlocks.from_keys(padded, labels, key_mask=exists)
        for name in ("sizes", "low", "high", "mean", "radius", "largest_norm", "factor", "deviation"):
            assert torch.equal(getattr(blocks, name), getattr(clean, name)), name


def test_an_integer_cuts_consecutive_keys_and_the_last_block_may_be_short():
    blocks = KeyBlocks.from_keys(_keys(2, 10, 3), 4, covariance=False)
    assert blocks.sizes.tolist() == [[4, 4, 2]] * 2
    assert blocks.members[0, 2].tolist() == [8, 9, -1, -1]
    assert blocks.factor is None
    assert blocks.deviation is None


def test_an_empty_block_has_statistics_of_zero():
    blocks = KeyBlocks.from_keys(_keys(3, 2), torch.tensor([0, 2, 2]))
    assert blocks.sizes.tolist() == [1, 0, 2]
    for part in (blocks.low, blocks.high, blocks.mean, blocks.radius, blocks.factor, blocks.deviation):
        assert (part[1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_statistics_have_at_least_single_precision(dtype):
    blocks = KeyBlocks.from_keys(_keys(6, 2).to(dtype), 3)
    assert blocks.mean.dtype == torch.promote_types(dtype, torch.float32)


@pytest.mark.parametrize(
    ("k", "labels", "word"),
    [
        (torch.full((4, 2), torch.nan), 2, "k must be finite"),
        (torch.ones(4, 2), torch.full((4,), -1), "labels must put a key"),
        (torch.ones(4, 2), torch.zeros(3, dtype=torch.int64), "labels must be"),
        (torch.ones(4, 2), torch.zeros(4), "labels must be"),
        (torch.ones(4, 2), 0, "labels must be"),
        (torch.ones(4, dtype=torch.int64), 2, "k must be"),
    ],
)
def test_what_makes_no_blocks_is_refused(k, labels, word):
    with pytest.raises(ValueError, match=word):
        KeyBlocks.from_keys(k, labels)


def test_clusters_of_each_head_are_its_own():
    base = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    order = torch.stack([torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 2, 0, 1, 2])])
    labels = cluster_keys(base[order] + 0.01 * _keys(2, 6, 2), 3)
    for head in range(2):
        assert torch.equal(labels[head][:, None] == labels[head], order[head][:, None] == order[head])


def test_keys_that_do_not_exist_have_no_cluster_and_equal_keys_share_one():
    k = torch.ones(5, 2)
    k[4] = torch.nan
    labels = cluster_keys(k, 3, key_mask=torch.arange(5) < 4)
    assert labels.tolist() == [0, 0, 0, 0, -1]
