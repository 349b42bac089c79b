"""Blending of bones, turns that parents carry, and scores, each against sums by hand."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from sparsetheory.gpu.core.datasets import Body, Motion
from sparsetheory.gpu.representation import (
    SkinningScore,
    blend_error,
    bone_transforms,
    draw_rig,
    linear_blend_skinning,
    make_tube_rig,
    make_tube_rigs,
    motion_rotations,
    moved_by_bones,
    random_bone_motions,
    random_rotations,
    rigid_weights,
    skinning_score,
)


def _drawn(rng, n_dims=3):
    vertices, weights = rng.standard_normal((7, n_dims)), rng.dirichlet(np.ones(4), size=7)
    return vertices, weights, rng.standard_normal((2, 4, n_dims, n_dims + 1))


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_blending_is_a_sum_over_bones(rng, device, n_dims):
    vertices, weights, maps = _drawn(rng, n_dims)
    expected = np.zeros((2, 7, n_dims))
    for f, i, b in np.ndindex(2, 7, 4):
        expected[f, i] += weights[i, b] * (maps[f, b, :, :-1] @ vertices[i] + maps[f, b, :, -1])
    tensors = [torch.from_numpy(part).to(device) for part in (vertices, weights, maps)]
    np.testing.assert_allclose(linear_blend_skinning(*tensors).cpu(), expected, atol=1e-13)
    square = torch.zeros(2, 4, n_dims + 1, n_dims + 1, dtype=torch.float64, device=device)
    square[..., :-1, :], square[..., -1, -1] = tensors[2], 1
    torch.testing.assert_close(linear_blend_skinning(*tensors[:2], square), linear_blend_skinning(*tensors))
    alone = moved_by_bones(tensors[0], tensors[2])
    blended = (tensors[1].unsqueeze(-1) * alone).sum(2)
    np.testing.assert_allclose(blended.cpu(), expected, atol=1e-13)


def test_bones_at_rest_move_nothing():
    rig = make_tube_rig(n_vertices=50)
    rest = linear_blend_skinning(rig.vertices, rig.weights, torch.eye(3, 4).expand(8, 3, 4))
    torch.testing.assert_close(rest, rig.vertices, rtol=1e-6, atol=1e-6)


def test_bad_shapes_are_named(rng):
    vertices, weights, maps = map(torch.from_numpy, _drawn(rng))
    with pytest.raises(ValueError, match=r"weights must have shape \(7, 4\)"):
        linear_blend_skinning(vertices, weights.T, maps)
    with pytest.raises(ValueError, match="transforms must have shape"):
        linear_blend_skinning(vertices, weights, maps[..., :2, :])
    with pytest.raises(ValueError, match="vertices and transforms must have one dtype"):
        linear_blend_skinning(vertices, weights, maps.float())
    with pytest.raises(ValueError, match="vertices must be a matrix"):
        linear_blend_skinning(vertices[0], weights, maps)
    projective = torch.ones(4, 4, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="transforms must be affine"):
        linear_blend_skinning(vertices, weights, projective)


def test_rotations_are_those_of_scipy():
    found = random_rotations(3, 5, angle_std=0.8, generator=4)
    drawn = torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    expected = Rotation.from_rotvec(0.8 * drawn.view(-1, 3).numpy()).as_matrix()
    np.testing.assert_allclose(found.view(-1, 3, 3), expected, atol=1e-12)


def test_parents_carry_their_children(rng):
    heads, rotations = torch.from_numpy(rng.standard_normal((4, 3))), random_rotations(2, 4, generator=0)
    parents, point = [-1, 0, 1, 0], torch.from_numpy(rng.standard_normal(3))
    maps = bone_transforms(heads, parents, rotations)
    for pose, bone in np.ndindex(2, 4):
        x, at = point, bone
        while at >= 0:  # from the bone up to the root, each turn about where its head rests
            x, at = rotations[pose, at] @ (x - heads[at]) + heads[at], parents[at]
        torch.testing.assert_close(maps[pose, bone] @ torch.cat([point, torch.ones(1)]), x)
    with pytest.raises(ValueError, match="parents must be -1 or stand before"):
        bone_transforms(heads, [1, -1, 0, 0], rotations)
    with pytest.raises(ValueError, match="heads and rotations must have shapes"):
        bone_transforms(heads[:3], parents, rotations)


def test_heads_move_by_the_shift_alone():
    rig = make_tube_rig()
    still = random_bone_motions(rig.heads, 2, shift_std=0.0, generator=1)
    moved = (still[..., :3] @ rig.heads.unsqueeze(-1)).squeeze(-1) + still[..., 3]
    torch.testing.assert_close(moved, rig.heads.expand(2, 8, 3), atol=1e-5, rtol=0)
    shifted = random_bone_motions(rig.heads, 400, shift_std=0.3, generator=1) - random_bone_motions(
        rig.heads, 400, shift_std=0.0, generator=1
    )
    assert shifted[..., :3].abs().max() == 0
    assert 0.28 < shifted[..., 3].std() < 0.32


def test_motions_turn_the_bones_of_their_joints():
    body = Body(*[np.zeros(0)] * 3, bones=("a", "finger", "b"), parents=np.array([-1, 0, 0]), heads=None, tails=None)
    turns = random_rotations(3, 2, generator=0).numpy()
    motion = Motion(("b", "a"), np.array([-1, 0]), np.zeros((3, 2, 3)), turns, 120.0)
    found = motion_rotations(body, motion, [2, 0])
    np.testing.assert_array_equal(found[:, [2, 0]], turns[[2, 0]])
    assert torch.equal(found[0, 1], torch.eye(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="frames must be from 0 to 2"):
        motion_rotations(body, motion, [3])
    other = Motion(("c", "d"), motion.parents, motion.translations, turns, 120.0)
    with pytest.raises(ValueError, match="motion must have joints"):
        motion_rotations(body, other, [0])


def test_scores_by_hand():
    true = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    rigid = rigid_weights(true)
    score = skinning_score(rigid, true)
    assert score == SkinningScore(0.5, pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert skinning_score(true, true) == SkinningScore(0.0, 0.0, 1.0)
    # What is not above the threshold is no support, of either table.
    assert skinning_score(rigid, true, threshold=0.5).iou == pytest.approx(1 / 2)
    assert skinning_score(true, rigid, threshold=0.5).iou == pytest.approx(1 / 2)
    with pytest.raises(ValueError, match="weights and true_weights must have one shape"):
        skinning_score(true[:1], true)
    with pytest.raises(ValueError, match="true_weights must have an entry above zero"):
        skinning_score(true, torch.zeros_like(true))
    maps = torch.eye(3, 4).repeat(3, 1, 1)
    maps[1, 0, 3] = 4.0
    # Half of a shift by four is missed by the first of two vertices.
    assert blend_error(torch.zeros(2, 3), rigid, true, maps) == pytest.approx(1.0)


def test_tubes_have_the_weights_of_the_formula():
    lengths, falloff = [1.0, 0.5, 2.0], 0.9
    rig = make_tube_rig(lengths, n_vertices=40, falloff=falloff, generator=3)
    along = rig.vertices[:, 0].numpy()
    expected, start = [], 0.0
    for length in lengths:
        distance = np.maximum(np.abs(along - (start + length / 2)) - length / 2, 0)
        expected.append(np.maximum(1 - distance / falloff, 0) ** 2)
        start += length
    expected = np.array(expected).T
    np.testing.assert_allclose(rig.weights, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(rig.vertices[:, 1:].norm(dim=1), 0.5, atol=1e-6)
    np.testing.assert_allclose(rig.tails[:, 0], np.cumsum(lengths), atol=1e-6)


def test_a_map_of_all_that_is_made_keeps_the_weights():
    plain, mapped = (make_tube_rig(shape=shape, generator=2) for shape in (None, np.diag([2.0, 1.0, 3.0])))
    torch.testing.assert_close(mapped.weights, plain.weights)
    torch.testing.assert_close(mapped.vertices, plain.vertices * torch.tensor([2.0, 1.0, 3.0]))
    torch.testing.assert_close(mapped.tails, plain.tails * torch.tensor([2.0, 1.0, 3.0]))
    for wrong in (np.eye(2), np.full((3, 3), np.inf)):
        with pytest.raises(ValueError, match="shape must be a finite 3 x 3 matrix"):
            make_tube_rig(shape=wrong)


def test_random_tubes_are_centred_and_of_one_size():
    one, again = make_tube_rigs(2, n_bones=5, generator=7), make_tube_rigs(2, n_bones=5, generator=7)
    assert torch.equal(one[1].vertices, again[1].vertices)
    for rig in one:
        assert rig.weights.shape == (128, 5)
        assert rig.vertices.mean(0).abs().max() < 1e-5
        # A bone starts where the one before ends, and vertices near its start are still those of the one before.
        torch.testing.assert_close(rig.heads[1:], rig.tails[:-1])
        first, last = ((rig.vertices - end).norm(dim=1).argmin() for end in (rig.heads[0], rig.tails[-1]))
        assert rig.weights[first].argmax() == 0
        assert rig.weights[last].argmax() == 4
        assert rig.vertices.square().sum(1).mean() == pytest.approx(1, abs=1e-4)


def test_the_colour_of_a_vertex_is_the_mean_of_its_bones():
    import matplotlib

    matplotlib.use("Agg")
    vertices = torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 0.0], [2.0, 0.0, 1.0]])
    ax = draw_rig(vertices, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]), heads=vertices[:2], tails=vertices[1:])
    # What is in front, with the largest third coordinate, comes last.
    np.testing.assert_array_equal(ax.collections[0].get_offsets()[:, 0], [1, 2, 0])
    colours = ax.collections[0].get_facecolors()[:, :3]
    np.testing.assert_allclose(colours[1], (colours[0] + colours[2]) / 2)
    assert len(ax.lines) == 3
