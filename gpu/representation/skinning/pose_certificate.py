"""What is certain about skinning weights that were fitted to poses, recomputed from the poses."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import Float64Array

__all__ = ["PoseFitCertificate", "certify_fit"]

# What rounding may make: of all that is computed, in double precision, and in roundings of weights as they are stored.
_COMPUTED, _STORED = 1000 * float(np.finfo(np.float64).eps), 8.0


@dataclass(frozen=True, eq=False)
class PoseFitCertificate(Certificate):
    """The error of fitted skinning weights, how good they are on their bones, and what no weights can fall below.

    With c_b for how far bone b alone misses a vertex in all poses, weights s miss it by ``r = sum_b s_b c_b``. Slopes
    ``g_b = c_b . r`` say how far s is from the best: on its own bones no weights have a squared error that is smaller
    by more than twice ``s . g - min_b g_b``. And for any unit vector u no weights miss by less than ``min_b c_b . u``;
    u is the direction in which the best weights without a limit on the number of bones miss.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`. `bound` and `measured` are of the excess above, of the
        worst vertex, relative to the largest ``|c_b|**2`` of its bones, beyond what the rounding of positions makes.
    weights : Tensor of shape (n_vertices, n_bones)
        The fitted weights.
    relaxed : Tensor of shape (n_vertices, n_bones)
        The best weights without the limit.
    n_nonzero : int
        Largest number of bones per vertex.
    residual : float
        Root mean square over vertices of the residuals.
    lower_bound : float
        The same of the lower bounds.
    """

    weights: Tensor = field(kw_only=True)
    relaxed: Tensor = field(kw_only=True)
    n_nonzero: int = field(kw_only=True)
    residual: float = field(kw_only=True)
    lower_bound: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("n_nonzero", "residual", "lower_bound")

    def promise(self) -> str:
        """Return the guarantee in words."""
        return (
            "rows are on the simplex with at most n_nonzero bones, and each is the best on its bones within "
            f"{self.bound:.3g}; the root mean square residual, and that of what no weights fall below, are as stated"
        )

    def check(self, poses: Any, transforms: Any, rest: Any, **options: Any) -> "PoseFitCertificate":
        """Recompute everything from the poses, in double precision and without Gram matrices.

        Parameters
        ----------
        poses, transforms, rest : Tensor
            As in :func:`sparsetheory.gpu.representation.skinning_from_poses`.
        **options
            None are known.

        Returns
        -------
        PoseFitCertificate
            With a fresh `measured`, `status` and `reason`.
        """
        if options:
            raise TypeError(f"options must be empty; got {', '.join(options)}")
        seen, maps, points = _array(poses), _array(transforms), _array(rest)
        weights, relaxed = _array(self.weights), _array(self.relaxed)
        if (
            points.ndim != 2
            or maps.ndim != 4
            or weights.shape != (len(points), maps.shape[1])
            or seen.shape != (len(maps), *points.shape)
        ):
            raise ValueError(f"poses, transforms and rest must fit weights of shape {weights.shape}")
        if relaxed.shape != weights.shape:
            fault = "the best weights without the limit are not of the shape of the weights"
            return replace(self, measured=None, status=Status.INVALID, reason=fault)
        maps = maps[..., : points.shape[1], :]
        found = [
            _of_one(*_misses(seen[:, vertex], maps, points[vertex]), weights[vertex], relaxed[vertex])
            for vertex in range(len(points))
        ]
        excess, residuals, bounds, sizes, reaches = np.array(found).T
        tol = _rounding(self.weights) * _rms(sizes) + _COMPUTED * _rms(reaches)
        fault = self._fault(weights, float(excess.max()), _rms(residuals), _rms(bounds), tol)
        return replace(self, measured=float(excess.max()), status=Status.of(not fault), reason=fault).unless_misstated()

    # What is not a number fulfils no comparison, so each one says what must hold.
    def _fault(self, weights: Float64Array, excess: float, residual: float, lower_bound: float, tol: float) -> str:
        """Return which promise does not hold, or nothing."""
        if not (weights >= 0).all() or not np.abs(weights.sum(axis=1) - 1).max() <= _rounding(self.weights):
            return "a row is not on the simplex"
        if not (weights > 0).sum(axis=1).max() <= self.n_nonzero:
            return f"a row has more than {self.n_nonzero} nonzeros"
        if not excess <= self.bound:
            return f"a row is not the best on its bones: its excess is {excess:.3g}"
        if not abs(residual - self.residual) <= tol:
            return f"the root mean square residual is {residual:.9g}, not {self.residual:.9g}"
        if not lower_bound >= self.lower_bound - tol:
            return f"the root mean square lower bound is {lower_bound:.9g}, below the stated {self.lower_bound:.9g}"
        return ""


def certify_fit(
    weights: Tensor, relaxed: Tensor, n_nonzero: int, residuals: Tensor, lower_bounds: Tensor
) -> PoseFitCertificate:
    """Return the certificate of fitted weights, from their residuals and lower bounds; see the class."""
    return PoseFitCertificate(
        statement="",
        bound=_rounding(weights),
        measured=None,
        status=Status.VALID,
        weights=weights,
        relaxed=relaxed,
        n_nonzero=n_nonzero,
        residual=_rms(_array(residuals)),
        lower_bound=_rms(_array(lower_bounds)),
    ).stated()


def _rounding(weights: Tensor) -> float:
    return _COMPUTED + _STORED * torch.finfo(weights.dtype).eps


def _misses(seen: Float64Array, maps: Float64Array, point: Float64Array) -> tuple[Float64Array, float]:
    """Return by how much each bone alone misses a vertex, one column per bone, and the largest term of an entry."""
    moved = maps[..., :-1] @ point + maps[..., -1]
    terms = np.abs(maps[..., :-1]) @ np.abs(point) + np.abs(maps[..., -1]) + np.abs(seen[:, None])
    return (moved - seen[:, None]).transpose(0, 2, 1).reshape(-1, maps.shape[1]), float(terms.max())


def _of_one(
    misses: Float64Array, reach: float, weights: Float64Array, relaxed: Float64Array
) -> tuple[float, float, float, float, float]:
    """Return the excess of the weights of a vertex on their bones, their residual, the lower bound, and two sizes.

    These are how far its bones miss it at most, and the terms that cancel in that.
    """
    missed, inside = misses @ weights, weights > 0
    slopes = missed @ misses[:, inside]
    size = float(np.sqrt(np.square(misses[:, inside]).sum(axis=0).max(initial=0.0)))
    excess = float(weights[inside] @ slopes - slopes.min(initial=np.inf)) - _COMPUTED * size * reach
    direction = misses @ relaxed
    length = float(np.linalg.norm(direction))
    bound = float((direction @ misses).min()) / length if length > 0 else 0.0
    return (
        # What is not a number stays so.
        float(np.maximum(excess, 0.0)) / size**2 if size > 0 else 0.0,
        float(np.linalg.norm(missed)),
        max(bound, 0.0),
        size,
        reach,
    )


def _rms(values: Float64Array) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _array(values: Any) -> Float64Array:
    array: Float64Array = torch.as_tensor(values).detach().to("cpu", torch.float64).numpy()
    return array
