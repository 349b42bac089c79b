"""Motions of bones: turns about their heads, each by itself or carried by its parent, random or recorded."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, NONNEGATIVE
from sparsetheory.gpu.core.datasets.body import Body
from sparsetheory.gpu.core.datasets.motion import Motion
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["bone_transforms", "motion_rotations", "random_bone_motions", "random_rotations"]


def random_rotations(
    n_poses: int, n_bones: int, *, angle_std: float = 0.5, generator: torch.Generator | int | None = 0
) -> Tensor:
    """Draw rotations whose vectors (axis times angle) are Gaussian.

    Parameters
    ----------
    n_poses, n_bones : int
    angle_std : float
        Standard deviation of each entry of a rotation vector, in radians.
    generator : torch.Generator, int or None

    Returns
    -------
    Tensor of float64 of shape (n_poses, n_bones, 3, 3)
    """
    COUNT.require(n_poses=n_poses, n_bones=n_bones)
    NONNEGATIVE.check("angle_std", angle_std)
    drawn = torch.randn(n_poses, n_bones, 3, generator=cpu_generator(generator), dtype=torch.float64)
    x, y, z = (angle_std * drawn).unbind(-1)
    zero = torch.zeros_like(x)
    # Rotations are the exponentials of antisymmetric matrices.
    rows = (torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero)))
    return torch.linalg.matrix_exp(torch.stack(list(rows), -2))


def bone_transforms(heads: Tensor, parents: Sequence[int] | Tensor, rotations: Tensor) -> Tensor:
    """Return the map of each bone from rest to pose, where bones turn about their heads and carry their children.

    Parameters
    ----------
    heads : Tensor of shape (n_bones, 3)
        Where bones start, at rest.
    parents : sequence of int
        Parent of each bone, which stands before it; -1 for one without.
    rotations : Tensor of shape (..., n_bones, 3, 3)
        Of each bone against its parent.

    Returns
    -------
    Tensor of shape (..., n_bones, 3, 4)
        In the dtype and device of `rotations`.

    Raises
    ------
    ValueError
        If shapes do not fit, or a parent does not stand before its child.

    Examples
    --------
    A quarter turn of the first of two bones carries the second, whose head is one away, upwards:

    >>> import torch
    >>> heads = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    >>> quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> maps = bone_transforms(heads, [-1, 0], torch.stack([quarter, torch.eye(3)]))
    >>> maps[1, :, :3] @ heads[1] + maps[1, :, 3]
    tensor([0., 1., 0.])
    """
    order = [int(parent) for parent in parents]
    n_bones = len(order)
    if heads.shape != (n_bones, 3) or rotations.shape[-3:] != (n_bones, 3, 3):
        raise ValueError(
            f"heads and rotations must have shapes ({n_bones}, 3) and (..., {n_bones}, 3, 3) for {n_bones} parents; "
            f"got {tuple(heads.shape)} and {tuple(rotations.shape)}"
        )
    if any(not -1 <= parent < place for place, parent in enumerate(order)):
        raise ValueError(f"parents must be -1 or stand before their children; got {order}")
    places = heads.to(rotations).unsqueeze(-1)
    # x -> R (x - h) + h
    local = torch.cat([rotations, places - rotations @ places], -1)
    maps: list[Tensor] = []
    for bone, parent in enumerate(order):
        own = local[..., bone, :, :]
        maps.append(own if parent < 0 else _after(maps[parent], own))
    return torch.stack(maps, -3)


def _after(second: Tensor, first: Tensor) -> Tensor:
    """Return the affine map that is one after another."""
    turned = second[..., :3] @ first
    return torch.cat([turned[..., :3], turned[..., 3:] + second[..., 3:]], -1)


def random_bone_motions(
    heads: Tensor,
    n_poses: int,
    *,
    angle_std: float = 0.5,
    shift_std: float = 0.5,
    generator: torch.Generator | int | None = 0,
) -> Tensor:
    """Draw a turn about its head and a shift for each bone and pose, all independent of each other.

    Parameters
    ----------
    heads : Tensor of shape (n_bones, 3)
    n_poses : int
    angle_std, shift_std : float
        Standard deviations of each entry of the rotation vectors, in radians, and of the shifts.
    generator : torch.Generator, int or None

    Returns
    -------
    Tensor of shape (n_poses, n_bones, 3, 4)
        Affine maps, in the dtype and device of `heads`.
    """
    NONNEGATIVE.check("shift_std", shift_std)
    source = cpu_generator(generator)
    rotations = random_rotations(n_poses, len(heads), angle_std=angle_std, generator=source)
    shifts = torch.randn(n_poses, len(heads), 3, generator=source, dtype=torch.float64)
    maps = bone_transforms(heads.to("cpu"), [-1] * len(heads), rotations)
    maps[..., 3] += shift_std * shifts
    return maps.to(heads)


def motion_rotations(body: Body, motion: Motion, frames: Sequence[int]) -> Tensor:
    """Return the rotations of the bones of a body in frames of a recorded motion.

    Parameters
    ----------
    body : Body
    motion : Motion
        Of joints with the names of the bones; bones without a joint do not turn against their parents.
    frames : sequence of int

    Returns
    -------
    Tensor of float64 of shape (n_frames, n_bones, 3, 3)

    Raises
    ------
    ValueError
        If no joint has the name of a bone, or a frame is not in the motion.
    """
    columns = {joint: place for place, joint in enumerate(motion.joints)}
    shared = [(bone, columns[name]) for bone, name in enumerate(body.bones) if name in columns]
    if not shared:
        raise ValueError(f"motion must have joints with names of bones, such as {body.bones[0]!r}; got none")
    chosen = list(frames)
    n_frames = len(motion.rotations)
    if not chosen or min(chosen) < 0 or max(chosen) >= n_frames:
        raise ValueError(f"frames must be from 0 to {n_frames - 1}, at least one; got {chosen[:8]}")
    rotations = torch.eye(3, dtype=torch.float64).repeat(len(chosen), len(body.bones), 1, 1)
    bones, joints = zip(*shared, strict=True)
    rotations[:, list(bones)] = torch.from_numpy(motion.rotations[chosen][:, list(joints)])
    return rotations
