"""Certificates of attentions: they hold, they see what was changed, and they agree with what a backend computes."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from sparsetheory.certificates import Status
from sparsetheory.gpu.attention import BlockMask, attention_error_certificate, cluster_keys, masked_attention

KINDS = ("exact", "variance", "deviation", "chord", "plain")


def _problem(heads=4, key_heads=4, n=24, dtype=torch.float64, device="cpu"):
    source = torch.Generator().manual_seed(0)
    q = torch.randn(2, heads, n, 8, dtype=dtype, generator=source)
    k, v = torch.randn(2, 2, key_heads, n, 8, dtype=dtype, generator=source)
    return tuple(part.to(device) for part in (q, k, v))


def _mask(n=24, block=4, *, causal=False, perm=None, device="cpu"):
    blocks = torch.rand(n // block, n // block, generator=torch.Generator().manual_seed(3)) < 0.4
    blocks |= torch.eye(n // block, dtype=torch.bool)
    mask = BlockMask(blocks, n_queries=n, n_keys=n, block=(block, block), causal=causal, perm_k=perm, perm_q=perm)
    return mask.to(device)


@pytest.mark.parametrize("masses", KINDS)
@pytest.mark.parametrize("causal", [False, True])
def test_certificates_hold(masses, causal, device):
    q, k, v = _problem(device=device)
    certificate = attention_error_certificate(q, k, v, _mask(causal=causal, device=device), masses=masses)
    checked = certificate.check(q, k, v)
    assert checked.status is Status.VALID, checked.reason
    assert checked.measured <= certificate.bound
    assert (certificate.dropped < 1).all()


def test_the_exact_certificate_is_the_error_of_the_backend():
    q, k, v = _problem()
    mask = _mask(causal=True)
    certificate = attention_error_certificate(q, k, v, mask)
    full = BlockMask(torch.ones(6, 6, dtype=torch.bool), n_queries=24, n_keys=24, block=(4, 4), causal=True)
    error = (masked_attention(q, k, v, full) - masked_attention(q, k, v, mask)).norm(dim=-1)
    torch.testing.assert_close(certificate.error, error, rtol=1e-9, atol=1e-11)
    assert certificate.bound == pytest.approx(float(error.max()), rel=1e-9)


def test_sharper_statistics_give_sharper_certificates():
    q, k, v = _problem()
    dropped = [attention_error_certificate(q, k, v, _mask(), masses=kind).dropped for kind in KINDS]
    for sharp, wide in pairwise(dropped):
        assert (sharp <= wide * (1 + 1e-12)).all()


def test_blocks_of_a_permuted_mask_are_those_of_the_permutation():
    perm = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    q, k, v = _problem()
    mask = _mask(perm=perm)
    labels = torch.argsort(perm) // 4
    found = attention_error_certificate(q, k, v, mask, masses="variance")
    other = attention_error_certificate(q, k, v, mask.element_mask(), masses="variance", labels=labels)
    assert torch.equal(found.dropped, other.dropped)
    assert found.check(q, k, v).valid


@pytest.mark.parametrize("masses", ["exact", "variance"])
def test_heads_that_share_keys_and_their_clusters(masses):
    q, k, v = _problem(heads=6, key_heads=2)
    labels = cluster_keys(k, 5)
    kept = torch.rand(6, 24, 24, generator=torch.Generator().manual_seed(2)) < 0.5
    kept[..., 0] = True
    certificate = attention_error_certificate(q, k, v, kept, masses=masses, labels=labels)
    assert certificate.check(q, k, v).valid
    each = [part.repeat_interleave(3, dim=1) for part in (k, v)]
    other = attention_error_certificate(q, *each, kept, masses=masses, labels=labels.repeat_interleave(3, dim=1))
    assert torch.equal(certificate.dropped, other.dropped)


@pytest.mark.parametrize("masses", ["exact", "variance"])
def test_padding_changes_nothing(masses):
    q, k, v = _problem()
    exists = torch.arange(24) < 17
    visible = exists.expand(24, 24)
    found = []
    for garbage in (0.0, 1e4):
        spoiled = [torch.where(exists[:, None], part, garbage) for part in (k, v)]
        mask = _mask().element_mask() | (torch.arange(24) == 0)
        certificate = attention_error_certificate(q, *spoiled, mask, masses=masses, labels=4, visible=visible)
        assert certificate.check(q, *spoiled).valid
        found.append(certificate)
    assert torch.equal(found[0].dropped, found[1].dropped)
    assert torch.equal(found[0].error, found[1].error)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_inputs_of_any_precision_are_taken_as_given(dtype):
    q, k, v = _problem(dtype=dtype)
    for masses in KINDS:
        assert attention_error_certificate(q, k, v, _mask(), masses=masses).check(q, k, v).valid


def test_a_check_sees_what_was_changed():
    q, k, v = _problem()
    certificate = attention_error_certificate(q, k, v, _mask())
    assert certificate.check(q, k, v).valid
    for changed in (
        replace(certificate, bound=certificate.bound / 2),
        replace(certificate, dropped_max=certificate.dropped_max / 2),
        replace(certificate, dropped=certificate.dropped * 0.999),
        replace(certificate, error=certificate.error * 0.999),
        replace(certificate, scale=2 * certificate.scale),
        replace(certificate, statement="all is well"),
    ):
        assert changed.check(q, k, v).status is Status.INVALID
    assert certificate.check(2 * q, k, v).status is Status.INVALID
    assert certificate.check(q, k, 2 * v).status is Status.INVALID


def test_errors_name_the_argument():
    q, k, v = _problem()
    kept = _mask().element_mask()
    certificate = attention_error_certificate(q, k, v, kept)
    with pytest.raises(ValueError, match="labels must say the block"):
        attention_error_certificate(q, k, v, kept, masses="plain")
    with pytest.raises(ValueError, match="masses must be one of 'exact'"):
        attention_error_certificate(q, k, v, kept, masses="sharp")
    with pytest.raises(ValueError, match="mask must be for 24 queries"):
        attention_error_certificate(q, k, v, _mask(n=20))
    with pytest.raises(TypeError, match="kept must be a tensor of bool"):
        attention_error_certificate(q, k, v, kept.double())
    with pytest.raises(ValueError, match="keeps none"):
        attention_error_certificate(q, k, v, kept & (torch.arange(24) != 5)[:, None])
    with pytest.raises(ValueError, match="must make scores of shape"):
        certificate.check(q[:, :, :20], k, v)
    with pytest.raises(TypeError, match="options must be none"):
        certificate.check(q, k, v, random_state=0)


@pytest.mark.parametrize("masses", ["exact", "plain", "variance"])
@pytest.mark.parametrize("score", [30.0, 45.0, 900.0])
def test_masses_next_to_zero_and_one_are_not_rounded_inwards(masses, score):
    """The first query drops nearly everything and the second nearly nothing: a share of 1 - 1e-13, of 1e-13, and less.

    Values differ, so that an error is as large as the share.
    """
    q = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float64) * score
    k = torch.tensor([[[0.0, 1.0], [0.1, 0.0], [1.0, 0.5], [1.0, -0.5]]], dtype=torch.float64)
    v = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [2.0, 3.0], [2.0, 1.0]]], dtype=torch.float64)
    kept = torch.tensor([True, True, False, False])
    certificate = attention_error_certificate(q, k, v, kept, masses=masses, labels=2, scale=1.0)
    assert certificate.check(q, k, v).valid
    ratio = (q @ k.mT).masked_fill(kept, -torch.inf).logsumexp(-1) - (q @ k.mT)[..., kept].logsumexp(-1)
    # One minus the share is a share, too: compared so, no digit of a share near one is lost.
    assert (certificate.dropped >= torch.sigmoid(ratio)).all()
    assert (1 - certificate.dropped <= torch.sigmoid(-ratio)).all()
    assert (certificate.dropped > 0).all()


def test_a_check_sees_other_pairs():
    q, k, v = _problem()
    certificate = attention_error_certificate(q, k, v, torch.ones(24, 24, dtype=torch.bool).tril())
    everything = torch.ones_like(certificate.kept)
    assert replace(certificate, kept=everything).check(q, k, v).status is Status.INVALID
    assert replace(certificate, visible=certificate.kept).check(q, k, v).status is Status.INVALID
