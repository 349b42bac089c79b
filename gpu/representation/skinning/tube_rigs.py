"""Synthetic rigs: a chain of bones along a tube, whose skinning weights fall off with the distance along it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, POSITIVE, Several
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["TubeRig", "make_tube_rig", "make_tube_rigs"]

_RADIUS = 0.5


@dataclass(frozen=True, eq=False)
class TubeRig:
    """A tube with a chain of bones in it.

    Parameters
    ----------
    vertices : Tensor of shape (n_vertices, 3)
        Points of the surface.
    weights : Tensor of shape (n_vertices, n_bones)
        Skinning weights; rows sum to one.
    heads, tails : Tensor of shape (n_bones, 3)
        Where each bone starts and ends.
    """

    vertices: Tensor
    weights: Tensor
    heads: Tensor
    tails: Tensor


def make_tube_rig(
    lengths: Sequence[float] = (1.0,) * 8,
    *,
    n_vertices: int = 300,
    falloff: float = 1.2,
    shape: Tensor | None = None,
    generator: torch.Generator | int | None = 0,
) -> TubeRig:
    r"""Make a chain of bones along a tube of radius 1/2, with points at random places of its surface.

    The weight of a bone is :math:`\max(0, 1 - d / \mathrm{falloff})^2`, with d the distance of the point from the bone
    along the axis; then rows are divided by their sum. Synthetic: weights are smooth functions of one coordinate.

    Parameters
    ----------
    lengths : sequence of float
        Length of each bone.
    n_vertices : int
        Number of points.
    falloff : float
        Distance at which weights become zero.
    shape : Tensor of shape (3, 3), optional
        Linear map of all that is made; weights stay.
    generator : torch.Generator, int or None
        Source of the points.

    Returns
    -------
    TubeRig
        In single precision.

    Examples
    --------
    >>> rig = make_tube_rig(n_vertices=1000)
    >>> int((rig.weights > 0).sum(1).max()), round(float((rig.weights > 0).float().mean()), 2)
    (4, 0.38)
    """
    Several(POSITIVE, "a sequence of positive numbers").check("lengths", lengths)
    if not len(lengths):
        raise ValueError("lengths must have at least one entry; got none")
    COUNT.check("n_vertices", n_vertices)
    POSITIVE.check("falloff", falloff)
    source = cpu_generator(generator)
    ends = torch.tensor([0.0, *lengths], dtype=torch.float64).cumsum(0)
    along = torch.rand(n_vertices, 1, generator=source, dtype=torch.float64) * ends[-1]
    angle = torch.rand(n_vertices, 1, generator=source, dtype=torch.float64) * (2 * math.pi)
    distance = torch.maximum(ends[:-1] - along, along - ends[1:]).clamp(min=0)
    closeness = (1 - distance / falloff).clamp(min=0).square()
    joints = torch.stack([ends, torch.zeros_like(ends), torch.zeros_like(ends)], 1)
    vertices = torch.cat([along, _RADIUS * angle.cos(), _RADIUS * angle.sin()], 1)
    if shape is not None:
        matrix = torch.as_tensor(shape).to("cpu", torch.float64)
        if matrix.shape != (3, 3) or not bool(matrix.isfinite().all()):
            raise ValueError(f"shape must be a finite 3 x 3 matrix; got shape {tuple(matrix.shape)}")
        vertices, joints = vertices @ matrix.mT, joints @ matrix.mT
    parts = (vertices, closeness / closeness.sum(1, keepdim=True), joints[:-1], joints[1:])
    return TubeRig(*(part.to(torch.float32) for part in parts))


def make_tube_rigs(
    n_rigs: int, *, n_bones: int = 8, n_vertices: int = 128, generator: torch.Generator | int | None = 0
) -> list[TubeRig]:
    """Make tubes of random bones and shapes, centred and of one size.

    Lengths of bones are uniform from 0.6 to 1.4, falloffs from 0.8 to 1.6; shapes are the identity plus Gaussian
    entries of standard deviation 0.25. Then the mean of the points is zero, and their root mean square one.

    Parameters
    ----------
    n_rigs, n_bones, n_vertices : int
    generator : torch.Generator, int or None

    Returns
    -------
    list of TubeRig
    """
    COUNT.require(n_rigs=n_rigs, n_bones=n_bones, n_vertices=n_vertices)
    source = cpu_generator(generator)
    rigs = []
    for _ in range(n_rigs):
        lengths = (0.6 + 0.8 * torch.rand(n_bones, generator=source)).tolist()
        falloff = 0.8 + 0.8 * float(torch.rand((), generator=source))
        shape = torch.eye(3) + 0.25 * torch.randn(3, 3, generator=source)
        rig = make_tube_rig(lengths, n_vertices=n_vertices, falloff=falloff, shape=shape, generator=source)
        centre = rig.vertices.mean(0)
        size = (rig.vertices - centre).square().sum(1).mean().sqrt()
        placed = ((part - centre) / size for part in (rig.vertices, rig.heads, rig.tails))
        vertices, heads, tails = placed
        rigs.append(TubeRig(vertices, rig.weights, heads, tails))
    return rigs
