"""Blocks against loops over tokens and heads, written from what the authors' code computes, weight by weight."""

import math

import pytest
import torch

from sparsetheory.gpu.representation import CrateBlock, CrateDecoderBlock, compressed_rate, ista_block, mssa_step

EPS, STEP, ALPHA = 1e-5, 0.1, 0.1


def _tokens(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _mixed(block, seed=1):
    """Give all parameters other values, so that scales and biases of normalisations count."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=source).to(parameter.dtype))
    return block


def _norm(token, layer):
    mean = sum(token) / len(token)
    variance = sum((v - mean) ** 2 for v in token) / len(token)
    scaled = [(v - mean) / math.sqrt(variance + EPS) for v in token]
    return [s * w + b for s, w, b in zip(scaled, layer.weight.tolist(), layer.bias.tolist(), strict=True)]


def _linear(matrix, token, bias=None):
    out = [sum(m * v for m, v in zip(row, token, strict=True)) for row in matrix.tolist()]
    return out if bias is None else [o + b for o, b in zip(out, bias.tolist(), strict=True)]


def _attention(tokens, attention, n_heads, n_components, softmax=True):
    """Return the output of attention for each token, from lists of numbers."""
    projected = [_linear(attention.qkv.weight, token) for token in tokens]
    outputs = []
    for query in range(len(tokens)):
        joined = []
        for head in range(n_heads):
            part = slice(head * n_components, (head + 1) * n_components)
            scores = [
                sum(a * b for a, b in zip(projected[query][part], other[part], strict=True)) / math.sqrt(n_components)
                for other in projected
            ]
            weights = [math.exp(score) for score in scores] if softmax else scores
            total = sum(weights) if softmax else 1.0
            joined += [
                sum(w / total * other[entry] for w, other in zip(weights, projected, strict=True))
                for entry in range(part.start, part.stop)
            ]
        has_layer = isinstance(attention.to_out, torch.nn.Linear)
        outputs.append(_linear(attention.to_out.weight, joined, attention.to_out.bias) if has_layer else joined)
    return outputs


def _added(a, b, sign=1.0):
    return [x + sign * y for x, y in zip(a, b, strict=True)]


def _encoder_by_loop(tokens, block, n_heads, n_components):
    attended = _attention([_norm(t, block.attention_norm) for t in tokens], block.attention, n_heads, n_components)
    outputs = []
    for token, added in zip(tokens, attended, strict=True):
        h = _norm(_added(token, added), block.coding_norm)
        reconstruction = _linear(block.weight, h)
        gradient = _added(_linear(block.weight.T, h), _linear(block.weight.T, reconstruction), -1.0)
        outputs.append([max(0.0, v + STEP * g - STEP * ALPHA) for v, g in zip(h, gradient, strict=True)])
    return torch.tensor(outputs, dtype=torch.float64)


def _decoder_by_loop(tokens, block, n_heads, n_components, softmax):
    y = [_linear(block.weight, _norm(token, block.linear_norm)) for token in tokens]
    normalised = [_norm(token, block.attention_norm) for token in y]
    attended = _attention(normalised, block.attention, n_heads, n_components, softmax)
    return torch.tensor([_added(a, b, -1.0) for a, b in zip(y, attended, strict=True)], dtype=torch.float64)


@pytest.mark.parametrize(("n_heads", "head_dim"), [(2, None), (3, 4), (1, None), (1, 3)])
def test_encoder_block_is_a_loop_over_tokens_and_heads(n_heads, head_dim):
    dim = 6
    block = _mixed(CrateBlock(dim, n_heads, head_dim=head_dim).double())
    n_components = head_dim or dim // n_heads
    x = _tokens(2, 5, dim)
    found = block(x).detach()
    for tokens, output in zip(x.tolist(), found, strict=True):
        assert torch.allclose(output, _encoder_by_loop(tokens, block, n_heads, n_components), atol=1e-12)
    assert 0 < int(found.count_nonzero()) < found.numel()


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize(("n_heads", "head_dim"), [(2, None), (1, None)])
def test_decoder_block_is_a_loop_over_tokens_and_heads(n_heads, head_dim, softmax):
    block = _mixed(CrateDecoderBlock(6, n_heads, head_dim=head_dim, softmax=softmax).double())
    x = _tokens(2, 5, 6)
    for tokens, output in zip(x.tolist(), block(x).detach(), strict=True):
        expected = _decoder_by_loop(tokens, block, n_heads, head_dim or 6 // n_heads, softmax)
        assert torch.allclose(output, expected, atol=1e-12)


def test_the_output_layer_is_free_and_left_out_only_for_one_head_of_all_features():
    kinds = {
        (2, None): torch.nn.Linear,
        (1, 3): torch.nn.Linear,
        (1, None): torch.nn.Identity,
    }
    for (n_heads, head_dim), kind in kinds.items():
        for block in (CrateBlock(6, n_heads, head_dim=head_dim), CrateDecoderBlock(6, n_heads, head_dim=head_dim)):
            assert isinstance(block.attention.to_out, kind)
            assert block.attention.qkv.bias is None
    block = CrateBlock(6, 2)
    assert block.attention.to_out.bias is not None
    # It is not the transpose of the projection.
    assert not torch.allclose(block.attention.to_out.weight, block.attention.qkv.weight.T, atol=0.05)


def test_the_dictionary_starts_with_a_squared_norm_of_8():
    block = CrateBlock(384, 6)
    squared = float(torch.linalg.matrix_norm(block.weight.detach(), ord=2)) ** 2
    assert squared == pytest.approx(7.9, abs=0.3)
    assert block.step_size < 1 / squared
    largest = float(block.weight.detach().abs().max())
    assert 0.99 * math.sqrt(6 / 384) < largest <= math.sqrt(6 / 384)
    assert block.attention_norm.eps == block.coding_norm.eps == EPS


def test_the_second_half_is_the_sparse_coding_of_normalised_tokens():
    block = _mixed(CrateBlock(8, 2, step_size=0.05, alpha=0.4))
    y = _tokens(3, 4, 8, dtype=torch.float32)
    expected = ista_block(block.coding_norm(y), block.weight.T, 0.05, 0.4)
    assert torch.allclose(block.sparsify(y), expected, atol=1e-6)


def test_heads_are_consecutive_rows_of_the_projection():
    block = CrateBlock(6, 3)
    bases = block.attention.bases
    for head in range(3):
        assert torch.equal(bases[head], block.attention.qkv.weight[2 * head : 2 * head + 2].T)
    x = _tokens(2, 4, 6, dtype=torch.float32)
    assert torch.allclose(block.attention.project(x), x.unsqueeze(1) @ bases, atol=1e-6)


@pytest.mark.parametrize("mode", ["exact", "paper_step", "paper_unscaled", "negative"])
def test_other_modes_take_the_step_of_the_same_name(mode):
    block = CrateBlock(6, 2, mode, eps=0.7).double()
    x = _tokens(2, 5, 6)
    U = block.attention.bases
    assert torch.allclose(block.compress(x), mssa_step(x, U, 0.7, mode=mode), rtol=1e-12)
    assert isinstance(block.attention.to_out, torch.nn.Identity)
    before, after = compressed_rate(x, U, 0.7), compressed_rate(block.compress(x), U, 0.7)
    if mode == "exact":
        assert bool((after < before).all())
    block(x).sum().backward()
    assert block.attention.qkv.weight.grad.abs().sum() > 0
    # Nothing is left in the block that this mode does not use.
    assert all(parameter.grad is not None for parameter in block.parameters())


@pytest.mark.parametrize("kind", [CrateBlock, CrateDecoderBlock])
@pytest.mark.parametrize("softmax", [True, False])
def test_tokens_off_the_mask_are_not_seen(kind, softmax, device):
    if kind is CrateBlock and not softmax:
        pytest.skip("the encoder has no other weights")
    options = {} if kind is CrateBlock else {"softmax": softmax}
    block = _mixed(kind(6, 2, **options).double()).to(device)
    x = _tokens(2, 5, 6).to(device)
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5], device=device)
    found = block(x, mask)
    assert torch.allclose(found[0, :3], block(x[:1, :3])[0], atol=1e-12)
    assert torch.allclose(found[1], block(x[1:])[0], atol=1e-12)
    assert not torch.allclose(found[0, :3], block(x)[0, :3], atol=1e-3)
    # Not even where padding is not a number.
    padded = block(torch.where(mask.unsqueeze(-1), x, torch.nan), mask)
    assert torch.allclose(padded[0, :3], found[0, :3], atol=1e-12)


def test_equal_seeds_are_equal_weights_and_the_global_generator_is_not_used():
    before = torch.random.get_rng_state()
    first, second, third = CrateBlock(8, 2), CrateBlock(8, 2), CrateBlock(8, 2, generator=1)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.attention.to_out.bias, second.attention.to_out.bias)
    assert not torch.equal(first.weight, third.weight)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_blocks_keep_dtype_and_device(dtype, device):
    x = _tokens(2, 5, 8, dtype=dtype).to(device)
    for block in (CrateBlock(8, 2), CrateBlock(8, 2, "exact"), CrateDecoderBlock(8, 2)):
        found = block.to(device, dtype)(x)
        assert (found.dtype, found.device, found.shape) == (dtype, x.device, x.shape)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="dim must be a multiple of n_heads=3 unless head_dim is given; got 8"):
        CrateBlock(8, 3)
    with pytest.raises(ValueError, match="n_heads must be"):
        CrateDecoderBlock(8, 0)
    with pytest.raises(ValueError, match="mode must be one of"):
        CrateBlock(8, 2, "ssa")
    with pytest.raises(ValueError, match="eps must be"):
        CrateBlock(8, 2, "exact", eps=0.0)
    for block in (CrateBlock(8, 2), CrateBlock(8, 2, "exact"), CrateDecoderBlock(8, 2)):
        x = torch.ones(2, 3, 8)
        with pytest.raises(TypeError, match="mask must be a tensor of bool"):
            block(x, torch.ones(2, 3))
        with pytest.raises(ValueError, match=r"mask must have shape \(2, 3\)"):
            block(x, torch.ones(3, 2, dtype=torch.bool))
        with pytest.raises(ValueError, match="mask must keep at least one token"):
            block(x, torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="softmax must be True or False"):
        CrateDecoderBlock(8, 2, softmax=1)
