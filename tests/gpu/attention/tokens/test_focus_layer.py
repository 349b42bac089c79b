import pytest
import torch

from sparsetheory.gpu.attention import (
    BlockMask,
    FocusEncoderLayer,
    attention_error_certificate,
    cascade_budgets,
    masked_attention,
    pooled_map,
    top_tokens,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
N, DIM = 12, 8


def _problem(seed=0, batch=3, dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    tokens, pos = torch.randn(2, batch, N, DIM, generator=generator, dtype=dtype)
    scores = torch.randn(batch, N, generator=generator, dtype=dtype)
    classes = torch.randn(batch, N, 4, generator=generator, dtype=dtype)
    return tuple(x.to(device) for x in (tokens, scores, classes, pos))


def _layer(**options):
    return FocusEncoderLayer(DIM, 2, **({"topk": 3, "generator": 0} | options)).double()


def _by_rows(layer, tokens, scores, classes, budgets, pos, valid):
    """The layer one image at a time: whole maps under masks of rows, nothing gathered."""
    outputs = []
    for x, s, c, at, count, inside in zip(tokens, scores, classes, pos, budgets.tolist(), valid, strict=True):
        order = [i for i in torch.sort(s, descending=True, stable=True).indices.tolist() if bool(inside[i])][:count]
        product = (s * c.amax(-1))[order]
        fine = [order[i] for i in torch.sort(product, descending=True, stable=True).indices[: layer.topk]]
        y = _updated_rows(x, fine, layer.fine_norm(x + _dense(layer.fine_attention, x + at, x + at, x, fine)))
        inside_keys = torch.nonzero(inside).flatten().tolist()
        # Keys and values of the map are the tokens before the layer.
        z = layer.map_norm(y + _dense(layer.map_attention, y + at, x + at, x, inside_keys))
        z = layer.norm(z + layer.feed_forward(z))
        outputs.append(_updated_rows(x, order, z))
    return torch.stack(outputs)


def _dense(attention, queries, keys, values, kept):
    """Attention of all tokens to the kept ones, as a block mask whose first block of keys they are."""
    rest = [i for i in range(len(keys)) if i not in kept]
    blocks = torch.zeros(1, -(-len(keys) // len(kept)), dtype=torch.bool)
    blocks[:, 0] = True
    mask = BlockMask(blocks, N, len(keys), block=(N, len(kept)), perm_k=torch.tensor([*kept, *rest]))
    layers = (attention.query, attention.key, attention.value)
    q, k, v = (attention.split(x[None], layer) for x, layer in zip((queries, keys, values), layers, strict=True))
    return attention.out(masked_attention(q, k, v, mask.to(q.device)).transpose(1, 2).flatten(2))[0]


def _updated_rows(x, rows, update):
    chosen = torch.zeros(len(x), 1, dtype=torch.bool)
    chosen[rows] = True
    return torch.where(chosen, update, x)


@pytest.mark.parametrize("topk", [1, 3, 300])
def test_gathered_tokens_get_what_a_dense_layer_under_a_mask_of_rows_gives_them(topk):
    tokens, scores, classes, pos = _problem()
    valid = torch.ones(3, N, dtype=torch.bool)
    valid[1, 7:] = False
    budgets = torch.tensor([5, 7, 1])
    layer = _layer(topk=topk)
    found = layer(tokens, scores, classes, budgets, pos=pos, valid=valid)
    torch.testing.assert_close(found, _by_rows(layer, tokens, scores, classes, budgets, pos, valid))


@pytest.mark.parametrize("device", DEVICES)
def test_other_tokens_are_the_same_bits(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    tokens, scores, classes, pos = _problem(dtype=torch.float32, device=device)
    layer = FocusEncoderLayer(DIM, 2, topk=3).to(device)
    valid = torch.arange(N, device=device) < torch.tensor([[12], [5], [9]], device=device)
    budgets = cascade_budgets([12, 5, 9])
    for budget in budgets:
        output = layer(tokens, scores, classes, budget.to(device), pos=pos, valid=valid)
        same = (output == tokens).all(-1)
        assert same.sum(1).tolist() == [N - int(count) for count in budget]
        assert bool(same[~valid].all())
        tokens = output


def test_images_of_a_batch_do_not_meet():
    tokens, scores, classes, pos = _problem()
    valid = torch.ones(3, N, dtype=torch.bool)
    valid[2, 4:] = False
    budgets, layer = torch.tensor([6, 2, 3]), _layer()
    together = layer(tokens, scores, classes, budgets, pos=pos, valid=valid)
    for image in range(3):
        one = slice(image, image + 1)
        alone = layer(tokens[one], scores[one], classes[one], budgets[one], pos=pos[one], valid=valid[one])
        torch.testing.assert_close(together[one], alone)


def test_padding_may_hold_anything():
    tokens, scores, classes, pos = _problem()
    valid = torch.arange(N) < torch.tensor([[12], [6], [9]])
    layer = _layer()
    clean = layer(tokens, scores, classes, 4, pos=pos, valid=valid)
    louder = [torch.where(valid if x.dim() == 2 else valid[..., None], x, 1e6) for x in (tokens, scores, classes, pos)]
    noisy = layer(*louder[:3], 4, pos=louder[3], valid=valid)
    torch.testing.assert_close(noisy[valid], clean[valid])


def test_more_fine_tokens_than_there_are_is_all_of_them():
    tokens, scores, classes, _ = _problem()
    assert torch.equal(_layer(topk=300)(tokens, scores, classes, 5), _layer(topk=5)(tokens, scores, classes, 5))


def test_two_negative_logits_make_a_large_product_and_two_small_probabilities_do_not():
    scores, classes = torch.tensor([[2.0, -3.0, 1.0]]), torch.tensor([[[1.0], [-4.0], [3.0]]])
    chosen = top_tokens(scores, 3)
    order = [chosen.index[0, i] for i in _layer(topk=1).fine_tokens(chosen, scores, classes).index[0]]
    assert order == [1]
    order = [chosen.index[0, i] for i in _layer(topk=1, sigmoid=True).fine_tokens(chosen, scores, classes).index[0]]
    assert order == [2]


def test_the_largest_class_counts():
    scores, classes = torch.tensor([[1.0, 1.0]]), torch.tensor([[[0.0, 5.0], [4.0, 4.0]]])
    assert _layer(topk=1).fine_tokens(top_tokens(scores, 2), scores, classes).index.tolist() == [[0]]


@pytest.mark.parametrize("seed", range(3))
def test_the_attention_among_fine_tokens_is_certified(seed):
    tokens, scores, classes, pos = _problem(seed)
    valid = torch.arange(N) < torch.tensor([[12], [6], [9]])
    budgets, layer = torch.tensor([9, 4, 2]), _layer().requires_grad_(requires_grad=False)
    problem = layer.attention_problem(tokens, scores, classes, budgets, pos=pos, valid=valid)
    certificate = attention_error_certificate(problem.q, problem.k, problem.v, problem.kept, visible=problem.visible)
    assert certificate.check(problem.q, problem.k, problem.v).valid
    # Two tokens are fewer than three fine ones, so that nothing is dropped there.
    assert certificate.dropped[2].max() == 0.0
    assert certificate.dropped[0].min() > 0.0


def test_the_certified_attention_is_that_of_the_layer():
    tokens, scores, classes, pos = _problem(batch=1)
    layer = _layer()
    problem = layer.attention_problem(tokens, scores, classes, 6, pos=pos)
    weights = (problem.q @ problem.k.mT / 2.0).masked_fill(~problem.kept, -torch.inf).softmax(-1)
    mixed = layer.fine_attention.out((weights @ problem.v).transpose(1, 2).flatten(2))
    chosen = top_tokens(scores, 6)
    x, at = chosen.gather(tokens), chosen.gather(pos)
    fine = layer.fine_tokens(chosen, scores, classes)
    placed = fine.gather(x + at)
    torch.testing.assert_close(layer.fine_attention(placed, placed, fine.gather(x), fine.exists), mixed)


def test_a_pooled_map_is_a_mean_over_valid_tokens():
    tokens, scores, classes, _ = _problem(batch=2)
    valid = torch.ones(2, N, dtype=torch.bool)
    valid[1, [3, 7, 10, 11]] = False
    garbage = torch.where(valid[..., None], tokens, torch.nan)
    memory, exists = pooled_map(garbage, [(2, 4), (2, 2)], 2, valid=valid)
    assert memory.shape == (2, 3, DIM)
    assert bool(exists.all())
    windows = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 10, 11]]
    for image, window in ((0, 0), (0, 2), (1, 1), (1, 2)):
        held = [i for i in windows[window] if bool(valid[image, i])]
        torch.testing.assert_close(memory[image, window], tokens[image, held].mean(0))
    layer = _layer()
    output = layer(tokens, scores, classes, 4, valid=valid, memory=memory, memory_valid=exists)
    assert (output == tokens).all(-1).sum(1).tolist() == [8, 8]
    # Windows of one token are the tokens themselves.
    single, _ = pooled_map(tokens, [(2, 4), (2, 2)], 1)
    torch.testing.assert_close(single, tokens)


def test_windows_at_the_end_may_be_smaller_and_padding_is_no_window():
    tokens = torch.arange(15.0).view(1, 15, 1)
    valid = torch.ones(1, 15, dtype=torch.bool)
    valid[0, 12:] = False
    valid[0, [4, 9]] = False
    memory, exists = pooled_map(tokens, [(3, 5)], 2, valid=valid)
    assert exists.tolist() == [[True, True, False, True, False, False]]
    assert memory.flatten().tolist() == [3.0, 5.0, 0.0, 10.5, 0.0, 0.0]


def test_gradients_reach_gathered_tokens_only_and_all_tokens_through_the_map():
    tokens, scores, classes, _ = _problem(batch=1)
    tokens.requires_grad_()
    layer = _layer()
    # Not the sum of what is normalised, which is the same whatever the tokens are.
    layer(tokens, scores, classes, 4)[0, scores[0].argmax(), 0].backward()
    assert bool((tokens.grad.abs().sum(-1) > 0).all())
    assert all(p.grad is not None for p in layer.parameters())


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="dim must be a multiple of heads=3; got 8"):
        FocusEncoderLayer(8, 3)
    with pytest.raises(ValueError, match="topk must be an integer from 1"):
        FocusEncoderLayer(8, 2, topk=0)
    with pytest.raises(ValueError, match="sigmoid must be True or False"):
        FocusEncoderLayer(8, 2, sigmoid="yes")
    tokens, scores, classes, _ = _problem()
    with pytest.raises(ValueError, match="budget must be from 1 to the valid tokens of each image"):
        _layer()(tokens, scores, classes, N + 1)
    with pytest.raises(ValueError, match="shapes must have 12 tokens together; got 4"):
        pooled_map(tokens, [(2, 2)], 2)
