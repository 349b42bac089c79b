"""The autoencoder of skinning weights: tokens, losses by hand, points where weights are, and a short training."""

import pytest
import torch

from sparsetheory.gpu.representation import (
    SkinningVAE,
    balanced_points,
    blend_error,
    make_tube_rigs,
    random_bone_motions,
    rigid_weights,
    skinning_loss,
    soft_dice_loss,
    train_skinning_vae,
)


@pytest.fixture(scope="module")
def rigs():
    return make_tube_rigs(70, n_vertices=96, generator=0)


def test_tokens_hold_all_that_the_decoder_sees(rigs, device):
    rig, model = rigs[0], SkinningVAE(width=16, n_tokens=3).to(device)
    points, weights = rig.vertices.to(device), rig.weights.to(device)
    tokens = model.tokens(points, weights)
    assert tokens.shape == (8, 3)
    assert tokens.dtype == torch.int64
    columns = points.expand(8, -1, -1)
    expected = model(columns, weights.mT).sigmoid().mT
    expected = expected / expected.sum(1, keepdim=True)
    torch.testing.assert_close(model.decode(tokens, points), expected, rtol=1e-4, atol=1e-5)
    queried = model.decode(tokens, points, points[:5])
    torch.testing.assert_close(queried, expected[:5], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="indices must be from 0 to 999"):
        model.decode(tokens + 1000, points)
    with pytest.raises(ValueError, match="points and weights must have shapes"):
        model.tokens(points[:5], weights)


def test_the_order_of_points_does_not_matter(rigs):
    rig, model = rigs[1], SkinningVAE(width=16).double()
    points, weights = rig.vertices.double(), rig.weights.double()
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.tokens(points, weights), model.tokens(points[order], weights[order]))


def test_columns_are_read_where_asked_and_on_the_shape_given(rigs):
    rig, model = rigs[0], SkinningVAE(width=16)
    points, weights = rig.vertices.expand(8, -1, -1), rig.weights.mT
    logits = model(points, weights)
    torch.testing.assert_close(model(points, weights, points[:, :7]), logits[:, :7])
    torch.testing.assert_close(model(points, weights, shape=points.flip(1)), logits)
    assert (model(points, weights, shape=2 * points) - logits).abs().max() > 1e-4


def test_layers_start_as_those_of_torch():
    for layer in SkinningVAE(width=40).modules():
        if isinstance(layer, torch.nn.Linear):
            for values in (layer.weight, layer.bias):
                bound = layer.in_features**-0.5
                assert values.abs().max() <= bound
                assert values.abs().max() > (0.95 if values.numel() > 100 else 0.0) * bound


def test_gradients_reach_the_encoder(rigs):
    rig, model = rigs[0], SkinningVAE(width=16)
    skinning_loss(model(rig.vertices.expand(8, -1, -1), rig.weights.mT), rig.weights.mT).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.bone_encoder.parameters())


def test_equal_seeds_give_equal_models():
    one, same, other = (SkinningVAE(width=8, generator=seed).from_point.weight for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_column_of_zeros_is_no_harm(rigs):
    model, points = SkinningVAE(width=8), rigs[0].vertices
    assert model(points.unsqueeze(0), torch.zeros(1, len(points))).isfinite().all()


def test_losses_by_hand():
    logits, weights = torch.tensor([[2.0, -1.0], [0.0, 3.0]]), torch.tensor([[0.7, 0.0], [0.0, 0.0]])
    p = logits.sigmoid()
    dice = [1 - (2 * float(p[i] @ weights[i]) + 1) / (float(p[i].sum() + weights[i].sum()) + 1) for i in range(2)]
    assert soft_dice_loss(p, weights).item() == pytest.approx(sum(dice) / 2)
    entropy = -(weights * p.log() + (1 - weights) * (1 - p).log()).mean()
    assert skinning_loss(logits, weights).item() == pytest.approx(float(entropy) + sum(dice) / 2, rel=1e-5)
    # Of zeros and ones the loss vanishes at the weights; of shares it prefers sharper ones.
    assert soft_dice_loss(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])) == 0
    shares, ones = torch.full((50,), 0.6), torch.ones(50)
    assert soft_dice_loss(ones, shares) < soft_dice_loss(shares, shares)


def test_half_of_the_points_are_where_weights_are():
    weights = torch.zeros(3, 1000)
    weights[0, 7], weights[1, :500] = 0.2, 1e-6
    rows = balanced_points(weights, 201, generator=0)
    assert rows.shape == (3, 201)
    assert (rows[0] == 7).sum() in range(100, 106)
    assert 100 + 30 < (rows[1] < 500).sum() < 100 + 71
    assert rows[2].unique().numel() > 150  # a column of zeros has its points anywhere
    assert balanced_points(weights, 1).shape == (3, 1)


def test_a_short_training_beats_rigid_parts(rigs):
    model = SkinningVAE(width=64)
    tables = [(rig.vertices, rig.weights) for rig in rigs[:60]]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = train_skinning_vae(model, tables, n_steps=150, batch_size=16, n_points=64, learning_rate=6e-3)
    finally:
        torch.set_num_threads(threads)
    assert run.losses[-20:].mean() < run.losses[:5].mean() - 0.2
    ours = rigid = 0.0
    for rig in rigs[60:]:
        maps = random_bone_motions(rig.heads, 2, shift_std=0.1)
        weights = model.decode(model.tokens(rig.vertices, rig.weights), rig.vertices)
        ours += blend_error(rig.vertices, weights, rig.weights, maps)
        rigid += blend_error(rig.vertices, rigid_weights(rig.weights), rig.weights, maps)
    assert ours < 0.9 * rigid


def test_training_is_adamw_in_one_cycle_on_points_that_are_read_elsewhere(rigs):
    """Replayed by hand from what the model is shown, on one column, whose weights follow from the points."""
    vertices, column = rigs[0].vertices, rigs[0].weights[:, 2]
    model, other = SkinningVAE(width=8), SkinningVAE(width=8)
    shown = []
    hook = model.register_forward_pre_hook(
        lambda module, given, named: shown.append((*given, named["shape"])), with_kwargs=True
    )
    run = train_skinning_vae(model, [(vertices, column.unsqueeze(1))], n_steps=6, n_points=20, learning_rate=0.02)
    hook.remove()

    def weights_at(points):
        return column[(points.unsqueeze(-2) == vertices).all(-1).int().argmax(-1)]

    optimizer = torch.optim.AdamW(other.parameters(), lr=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=6)
    for points, weights, queries, shape in shown:
        assert torch.equal(weights, weights_at(points))
        assert not torch.equal(points, queries)
        # Half of the points are where the weight is not zero, and so are some of the others.
        assert (weights > 0).sum() >= 10
        assert (weights_at(queries) > 0).sum() >= 10
        optimizer.zero_grad()
        loss = skinning_loss(other(points, weights, queries, shape=shape), weights_at(queries))
        loss.backward()
        optimizer.step()
        cycle.step()
    assert run.losses[-1] == loss.item()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_weights_are_shares_wherever_they_are_read(rigs):
    rig, model = rigs[0], SkinningVAE(width=16)
    tokens = model.tokens(rig.vertices, rig.weights)
    # Far out all sigmoids may round to zero.
    far = model.decode(tokens, rig.vertices, 1e6 * rig.vertices)
    torch.testing.assert_close(far.sum(1), torch.ones(len(far)))


def test_bad_tables_are_named(rigs):
    rig, model = rigs[0], SkinningVAE(width=8)
    tokens = model.tokens(rig.vertices, rig.weights)
    with pytest.raises(ValueError, match=r"tokens must have shape \(n_bones, 4\); got \(8, 3\)"):
        model.decode(tokens[:, :3], rig.vertices)
    with pytest.raises(ValueError, match="points, queries and shape must be floating-point numbers, three"):
        model.decode(tokens, rig.vertices, rig.vertices[:, :2])
    with pytest.raises(ValueError, match="weights must have one entry for each point"):
        model(rig.vertices.unsqueeze(0), rig.weights[:5, :1].mT)
    for points, weights in ((rig.vertices[:9], rig.weights), (rig.vertices[:0], rig.weights[:0])):
        with pytest.raises(ValueError, match="points and weights must have shapes"):
            train_skinning_vae(model, [(points, weights)], n_steps=1)
    with pytest.raises(ValueError, match="weights must be a matrix with at least one column"):
        balanced_points(torch.ones(2, 0), 4)


def test_training_needs_a_bone():
    with pytest.raises(ValueError, match="rigs must have a bone"):
        train_skinning_vae(SkinningVAE(width=8), [(torch.zeros(4, 3), torch.zeros(4, 2))])
