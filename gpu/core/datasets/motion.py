"""Motion capture in the BVH format."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsetheory.gpu.core.datasets.files import debian_file
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["Motion", "load_motion"]


@dataclass(frozen=True, eq=False)
class Motion:
    """Poses of a skeleton over time; lengths in the units of the file.

    Parameters
    ----------
    joints : tuple of str
        Names; a parent stands before its children.
    parents : ndarray of int64 of shape (n_joints,)
        Parent of each joint, -1 for the root.
    translations : ndarray of float64 of shape (n_frames, n_joints, 3)
        Of each joint in the frame of its parent: its offset, plus what its position channels say.
    rotations : ndarray of float64 of shape (n_frames, n_joints, 3, 3)
        Of each joint against its parent.
    rate : float
        Frames per second.
    """

    joints: tuple[str, ...]
    parents: Int64Array
    translations: Float64Array
    rotations: Float64Array
    rate: float

    def poses(self) -> tuple[Float64Array, Float64Array]:
        """Return where the joints are in space, and how they are turned.

        Returns
        -------
        positions : ndarray of shape (n_frames, n_joints, 3)
        rotations : ndarray of shape (n_frames, n_joints, 3, 3)
        """
        positions, rotations = self.translations.copy(), self.rotations.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                moved = np.einsum("tij,tj->ti", rotations[:, parent], self.translations[:, joint])
                positions[:, joint] = positions[:, parent] + moved
                rotations[:, joint] = rotations[:, parent] @ self.rotations[:, joint]
        return positions, rotations


def load_motion(path: str | Path) -> Motion:
    """Load a motion from a BVH file.

    Parameters
    ----------
    path : str or Path
        Such as ``01_01.bvh`` of Debian's package ``assimp-testmodels``: 31 joints, 2752 frames, 120 a second, from the
        CMU motion capture database.

    Returns
    -------
    Motion
        Without the ends of the last bones, which do not turn.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not in the BVH format, or has fewer numbers than its head says.

    Notes
    -----
    Licence of the CMU files: free for all uses (mocap.cs.cmu.edu).
    """
    file = debian_file(path, "assimp-testmodels", "/usr/share/assimp/models/BVH/01_01.bvh")
    head, found, tail = file.read_text(encoding="utf-8").partition("MOTION")
    if not found or not head.lstrip().startswith("HIERARCHY"):
        raise ValueError(f"path must be a file in the BVH format, with HIERARCHY and MOTION; got {str(path)!r}")
    skeleton = _Skeleton(head)
    words = tail.split()
    # "Frames: n", "Frame Time: seconds", then the numbers.
    n_frames, seconds, numbers = int(words[1]), float(words[4]), np.array(words[5:], dtype=np.float64)
    n_channels = sum(map(len, skeleton.channels))
    # Some files hold a frame more than their head says; what is above is left out.
    if numbers.size < n_frames * n_channels or numbers.size % n_channels:
        raise ValueError(
            f"path must hold {n_channels} numbers in each of {n_frames} frames; got {numbers.size} in {str(path)!r}"
        )
    numbers = numbers[: n_frames * n_channels]
    translations, rotations = _local(skeleton, numbers.reshape(n_frames, n_channels))
    parents = np.array(skeleton.parents, dtype=np.int64)
    return Motion(tuple(skeleton.joints), parents, translations, rotations, 1 / seconds)


class _Skeleton:
    """The hierarchy of a file: joints with parents, offsets and names of channels."""

    def __init__(self, text: str) -> None:
        self.joints: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[list[float]] = []
        self.channels: list[list[str]] = []
        words = iter(text.split())
        for word in words:
            if word in ("ROOT", "JOINT"):
                self._read(words, -1)

    def _read(self, words: Iterator[str], parent: int) -> None:
        here = len(self.joints)
        self.joints.append(next(words))
        self.parents.append(parent)
        self.offsets.append([])
        self.channels.append([])
        for word in words:
            if word == "OFFSET":
                self.offsets[here] = [float(next(words)) for _ in range(3)]
            elif word == "CHANNELS":
                self.channels[here] = [next(words) for _ in range(int(next(words)))]
            elif word == "JOINT":
                self._read(words, here)
            elif word == "End":
                while next(words) != "}":
                    pass
            elif word == "}":
                return


def _local(skeleton: _Skeleton, numbers: Float64Array) -> tuple[Float64Array, Float64Array]:
    shape = (len(numbers), len(skeleton.joints))
    translations = np.broadcast_to(np.array(skeleton.offsets), (*shape, 3)).copy()
    rotations = np.broadcast_to(np.eye(3), (*shape, 3, 3)).copy()
    columns = iter(numbers.T)
    for joint, channels in enumerate(skeleton.channels):
        for channel in channels:
            axis = "XYZ".index(channel[0])
            if channel.endswith("position"):
                translations[:, joint, axis] += next(columns)
            else:
                # The first channel of a joint turns last.
                rotations[:, joint] = rotations[:, joint] @ _turns(axis, np.deg2rad(next(columns)))
    return translations, rotations


def _turns(axis: int, angles: Float64Array) -> Float64Array:
    """Return the rotations about one axis, of shape (n, 3, 3)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turns = np.zeros((len(angles), 3, 3))
    turns[:, axis, axis] = 1
    turns[:, first, first] = turns[:, second, second] = np.cos(angles)
    turns[:, second, first] = np.sin(angles)
    turns[:, first, second] = -turns[:, second, first]
    return turns
