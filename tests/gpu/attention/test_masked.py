"""One attention over kept blocks, by every backend."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.gpu.attention import BlockMask, masked_attention, masked_attention_and_mass

# In float64, relative to scores and values of a few units.
_EXACT = 1e-12


def _problem(device, *, n=21, m=30, causal=True, permuted=True, dtype=torch.float64, seed=0):
    """Two texts, four heads that share two heads of keys; short last blocks; one mask for each head."""
    rng = torch.Generator().manual_seed(seed)
    q = torch.randn(2, 4, n, 8, generator=rng, dtype=torch.float64)
    k, v = torch.randn(2, 2, 2, m, 8, generator=rng, dtype=torch.float64)
    blocks = torch.rand(4, -(-n // 4), -(-m // 7), generator=rng) < 0.4
    orders = [torch.stack([torch.randperm(length, generator=rng) for _ in range(4)]) for length in (n, m)]
    mask = BlockMask(blocks, n, m, (4, 7), causal, *(orders if permuted else (None, None)), keep_diagonal=True)
    return *(part.to(device, dtype) for part in (q, k, v)), mask.to(device)


@pytest.mark.parametrize("backend", ["gather", "online", "flex"])
@pytest.mark.parametrize(("causal", "permuted"), [(True, True), (False, False), (True, False)])
def test_backends_agree_with_the_dense_reference(device, backend, causal, permuted):
    if backend == "flex" and device == "cuda":
        pytest.skip("a compiled kernel takes no float64 and no blocks of 4 by 7")
    q, k, v, mask = _problem(device, causal=causal, permuted=permuted)
    key_mask = torch.ones(2, 30, dtype=torch.bool, device=device)
    key_mask[1, 20:27] = False
    dense = masked_attention(q, k, v, mask, scale=0.7)
    assert (masked_attention(q, k, v, mask, backend=backend, scale=0.7) - dense).abs().max() < _EXACT
    if not permuted:
        wide = BlockMask(torch.ones_like(mask.blocks), 21, 30, (4, 7), causal)
        dense = masked_attention(q, k, v, wide, key_mask=key_mask)
        assert (masked_attention(q, k, v, wide, backend=backend, key_mask=key_mask) - dense).abs().max() < _EXACT


@pytest.mark.gpu
def test_the_compiled_flexible_attention_agrees(device):
    if device == "cpu":
        pytest.skip("compiled on CUDA only")
    rng = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 512, 64, generator=rng).to(device)
    mask = BlockMask(torch.rand(2, 4, 4, generator=rng) < 0.5, 512, 512, (128, 128), True, keep_diagonal=True)
    mask = mask.to(device)
    assert torch.allclose(masked_attention(q, k, v, mask, backend="flex"), masked_attention(q, k, v, mask), atol=2e-3)


def test_the_reference_is_softmax_over_the_pairs_of_the_mask(device):
    q, k, v, mask = _problem(device)
    k, v = (part.repeat_interleave(2, dim=1) for part in (k, v))
    scores = (q @ k.mT / 8**0.5).masked_fill(~mask.element_mask(), -torch.inf)
    assert torch.allclose(masked_attention(q, k, v, mask), scores.softmax(-1) @ v, atol=_EXACT)


@pytest.mark.parametrize("backend", ["gather", "online"])
def test_gradients_are_those_of_the_reference(device, backend):
    *parts, mask = _problem(device)
    weight = torch.randn(parts[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(device)
    for wanted in ((True, True, True), (False, False, True), (True, False, False)):
        found = []
        for way in ("dense", backend):
            given = [part.clone().requires_grad_(wants) for part, wants in zip(parts, wanted, strict=True)]
            (masked_attention(*given, mask, backend=way) * weight).sum().backward()
            found.append([part.grad for part in given if part.requires_grad])
        assert all(torch.allclose(a, b, atol=_EXACT) for a, b in zip(*found, strict=True))


def test_the_future_changes_nothing(device):
    q, k, v, mask = _problem(device, n=30)
    later = torch.arange(30, device=device) >= 17
    for backend in ("dense", "gather", "online"):
        before = masked_attention(q, k, v, mask, backend=backend)
        changed = (torch.where(later[:, None], 9.0, part) for part in (k, v))
        after = masked_attention(q, *changed, mask, backend=backend)
        assert torch.equal(before[..., :17, :], after[..., :17, :])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("backend", ["dense", "gather", "online"])
def test_the_answer_has_the_dtype_that_came_in(device, backend, dtype):
    q, k, v, mask = _problem(device, dtype=dtype)
    out = masked_attention(q, k, v, mask, backend=backend)
    exact = masked_attention(*(part.double() for part in (q, k, v)), mask)
    assert out.dtype == dtype
    # One rounding of outputs of a few units, or of weights before the second product.
    assert (out.double() - exact).abs().max() < 20 * torch.finfo(dtype).eps


def test_half_precision_is_accumulated_in_single(device):
    # 4096 equal keys: the mass overflows the digits of float16, that of bfloat16 stops growing at 256.
    q = torch.zeros(1, 1, 16, device=device)
    k = torch.zeros(1, 4096, 16, device=device)
    v = torch.linspace(0, 1, 4096, device=device)[None, :, None].expand(1, 4096, 16)
    mask = BlockMask(torch.ones(1, 64, dtype=torch.bool, device=device), 1, 4096, (1, 64))
    out = masked_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask, backend="online")
    assert (out.float() - 0.5).abs().max() < 0.005


def test_the_mass_is_that_of_the_kept_scores(device):
    q, k, v, mask = _problem(device)
    both = masked_attention_and_mass(q, k, v, mask, scale=0.3)
    scores = 0.3 * q @ k.repeat_interleave(2, dim=1).mT
    expected = scores.masked_fill(~mask.element_mask(), -torch.inf).logsumexp(-1)
    assert torch.allclose(both.log_mass, expected, atol=_EXACT)
    assert torch.equal(both.out, masked_attention(q, k, v, mask, backend="online", scale=0.3))


def test_two_halves_of_the_keys_join_by_their_masses(device):
    q, k, v, _ = _problem(device, causal=False, permuted=False)
    halves = [torch.arange(5, device=device) < 2, torch.arange(5, device=device) >= 2]
    parts = [
        masked_attention_and_mass(q, k, v, BlockMask(half.expand(6, 5).clone(), 21, 30, (4, 7))) for half in halves
    ]
    share = torch.stack([part.log_mass for part in parts]).softmax(0)[..., None]
    joined = sum(weight * part.out for weight, part in zip(share, parts, strict=True))
    assert torch.allclose(joined, scaled_dot_product_attention(q, k, v, enable_gqa=True), atol=_EXACT)


def test_gathered_blocks_are_copied_for_rows_that_need_them_only(monkeypatch):
    from sparsetheory.gpu.attention.backends import gather

    lengths, true = [], gather.scaled_dot_product_attention

    def noted(q, k, v, **options):
        lengths.append((q.shape[-2], k.shape[-2], options["attn_mask"]))
        return true(q, k, v, **options)

    monkeypatch.setattr(gather, "scaled_dot_product_attention", noted)
    monkeypatch.setattr(gather, "_SHORT", 0)
    x = torch.randn(1, 64, 8)
    full = BlockMask(torch.ones(4, 4, dtype=torch.bool), 64, 64, (16, 16))
    masked_attention(x, x, x, full, backend="gather")
    assert lengths == [(64, 64, None)]
    lengths.clear()
    stripes = BlockMask(torch.tensor([[True, False, True, False]]).expand(4, 4).clone(), 64, 64, (16, 16))
    masked_attention(x, x, x, stripes, backend="gather")
    assert lengths == [(64, 32, None)]


def test_a_plan_is_made_once_for_a_mask_and_is_not_kept_longer(monkeypatch):
    from sparsetheory.gpu.attention.backends import gather

    made = []
    true = gather.plan_calls
    monkeypatch.setattr(gather, "plan_calls", lambda *given: made.append(1) or true(*given))
    x = torch.randn(1, 64, 8)
    mask = BlockMask(torch.eye(4, dtype=torch.bool), 64, 64, (16, 16))
    known = len(gather._PLANS)
    for _ in range(3):
        masked_attention(x, x, x, mask, backend="gather")
    masked_attention(x.expand(2, -1, -1), x, x, mask, backend="gather")
    assert (len(made), len(gather._PLANS)) == (2, known + 1)
    del mask
    assert len(gather._PLANS) == known


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"q": torch.zeros(4, 6, 3)}, ValueError, "equal last dimensions; got 3, 8 and 8"),
        ({"q": torch.zeros(3, 6, 8)}, ValueError, "multiple of that of k; got 3 and 2"),
        ({"k": torch.full((2, 6, 8), torch.nan)}, ValueError, "k must hold finite numbers"),
        ({"v": torch.full((2, 6, 8), torch.inf)}, ValueError, "v must hold finite numbers"),
        ({"v": torch.zeros(2, 5, 8)}, ValueError, "v must have the shape of k"),
        ({"k": torch.zeros(2, 6, 8, dtype=torch.float64)}, ValueError, "k must be torch.float32 on cpu like q"),
        ({"q": torch.zeros(4, 6, 8, dtype=torch.int64)}, TypeError, "q must be a tensor of real floating-point"),
        ({"q": torch.zeros(4, 5, 8)}, ValueError, "mask must be for 5 queries and 6 keys; got 6 and 6"),
        ({"mask": torch.ones(6, 6)}, TypeError, "mask must be a BlockMask; got Tensor"),
        ({"scale": 0.0}, ValueError, "scale must be"),
        ({"backend": "fast"}, ValueError, "backend must be one of 'dense', 'gather', 'online', 'flex', 'triton'"),
        ({"key_mask": torch.ones(6)}, TypeError, "key_mask must be a tensor of bool"),
        ({"key_mask": torch.ones(5, dtype=torch.bool)}, ValueError, r"key_mask must have shape \(..., 6\)"),
        ({"q": torch.full((4, 6, 8), 3e38), "k": torch.full((2, 6, 8), 3e38)}, ValueError, "scores that overflow"),
    ],
)
def test_errors_name_the_argument_and_what_it_was(change, error, message):
    given = {"q": torch.zeros(4, 6, 8), "k": torch.zeros(2, 6, 8), "v": torch.zeros(2, 6, 8)}
    given["mask"] = BlockMask(torch.ones(3, 3, dtype=torch.bool), 6, 6, (2, 2))
    with pytest.raises(error, match=message):
        masked_attention(**(given | change))


def test_a_mask_for_other_heads_is_refused():
    x = torch.zeros(4, 6, 8)
    mask = BlockMask(torch.ones(3, 3, 3, dtype=torch.bool), 6, 6, (2, 2))
    with pytest.raises(ValueError, match=r"mask must have leading axes that broadcast to \(4,\); got \(3,\)"):
        masked_attention(x, x, x, mask)


def test_backends_without_a_gradient_say_so():
    x = torch.zeros(1, 6, 8, requires_grad=True)
    mask = BlockMask(torch.ones(3, 3, dtype=torch.bool), 6, 6, (2, 2))
    with pytest.raises(RuntimeError, match='"flex" has no gradient on a processor'):
        masked_attention(x, x, x, mask, backend="flex")


def test_triton_names_the_other_backend_where_it_cannot_run(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    x = torch.zeros(1, 6, 8)
    mask = BlockMask(torch.ones(3, 3, dtype=torch.bool), 6, 6, (2, 2))
    with pytest.raises(RuntimeError, match='Use backend="online"'):
        masked_attention(x, x, x, mask, backend="triton")


def test_the_triton_kernel_agrees_in_its_interpreter():
    pytest.importorskip("triton")
    script = """
        import torch
        from sparsetheory.gpu.attention import BlockMask, masked_attention
        torch.manual_seed(0)
        q, k, v = torch.randn(1, 2, 37, 24), *torch.randn(2, 1, 1, 50, 24)
        orders = torch.randperm(37), torch.randperm(50)
        mask = BlockMask(torch.rand(2, 4, 5) < 0.5, 37, 50, (10, 12), True, *orders, keep_diagonal=True)
        for dtype, tol in ((torch.float32, 1e-5), (torch.float16, 5e-3)):
            given = [part.to(dtype) for part in (q, k, v)]
            error = masked_attention(*given, mask, backend="triton") - masked_attention(*given, mask)
            assert error.abs().max() < tol, float(error.abs().max())
    """
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, check=True, timeout=120)


@pytest.mark.gpu
def test_the_triton_kernel_agrees_on_a_device(device):
    pytest.importorskip("triton")
    if device == "cpu":
        pytest.skip("needs CUDA")
    q, k, v, mask = _problem(device, n=64, m=90, dtype=torch.float32)
    out = masked_attention(q, k, v, mask, backend="triton")
    assert torch.allclose(out, masked_attention(q, k, v, mask), atol=1e-4)


@pytest.mark.parametrize("backend", ["dense", "gather", "online"])
def test_a_mask_that_served_inference_serves_a_gradient(backend):
    q, k, v, mask = _problem("cpu")
    with torch.inference_mode():
        masked_attention(q, k, v, mask, backend=backend)
    q.requires_grad_()
    masked_attention(q, k, v, mask, backend=backend).sum().backward()
    assert q.grad.abs().sum() > 0


@pytest.mark.parametrize("backend", ["dense", "gather", "online"])
def test_a_change_of_what_a_mask_was_made_of_changes_no_mask(backend):
    blocks, order = torch.ones(3, 3, dtype=torch.bool), torch.arange(12)
    q, k, v = torch.randn(3, 1, 2, 12, 4, generator=torch.Generator().manual_seed(0))
    mask = BlockMask(blocks, 12, 12, (4, 4), perm_k=order)
    blocks[1, 1:] = False
    order.copy_(order.flip(0))
    full = scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(masked_attention(q, k, v, mask, backend=backend), full)


@pytest.mark.parametrize("backend", ["gather", "online"])
def test_a_block_that_hides_a_single_pair_hides_it(backend):
    q, k, v = torch.randn(3, 1, 6, 4, generator=torch.Generator().manual_seed(0))
    mask = BlockMask(torch.eye(3, dtype=torch.bool), 6, 6, (2, 2), causal=True)
    torch.testing.assert_close(masked_attention(q, k, v, mask, backend=backend), masked_attention(q, k, v, mask))
