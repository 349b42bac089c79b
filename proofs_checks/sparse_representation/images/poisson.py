"""Claims about differences of pixels, their adjoint, and the Poisson equation that inverts them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Transforms of a few dozen pixels; the smallest eigenvalue is above 0.05.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Field:
    """An image, and a number for each edge between two pixels."""

    image: Float64Array
    down: Float64Array
    right: Float64Array

    @property
    def gradient(self) -> tuple[Any, Any]:
        """Differences of the image, as tensors."""
        down, right = representation.image_gradient(tensor(self.image))
        return down, right

    @property
    def divergence(self) -> Float64Array:
        """Divergence of the field."""
        return np.asarray(array(representation.image_divergence(tensor(self.down), tensor(self.right))))


def _draw(seed: int, height: int, width: int, scale: float) -> Field:
    rng = np.random.default_rng(seed)
    shapes = ((height, width), (height - 1, width), (height, width - 1))
    return Field(*(scale * rng.standard_normal(shape) for shape in shapes))


def _fields() -> st.SearchStrategy[Field]:
    return st.builds(_draw, seeds, st.integers(1, 9), st.integers(1, 9), st.sampled_from((1e-6, 1.0, 1e6)))


def _adjoint(case: Field, *, periodic: bool) -> Measurement:
    """Compare both inner products; with a periodic divergence for the near miss."""
    divergence = case.divergence
    if periodic:
        down, right = np.zeros_like(case.image), np.zeros_like(case.image)
        down[:-1], right[:, :-1] = case.down, case.right
        down[-1:], right[:, -1:] = case.image[-1:], case.image[:, -1:]
        divergence = down - np.roll(down, 1, 0) + right - np.roll(right, 1, 1)
    left = sum(
        float((array(part) * field).sum()) for part, field in zip(case.gradient, (case.down, case.right), strict=True)
    )
    right_side = -float((case.image * divergence).sum())
    size = float(np.square(case.image).sum() + np.square(case.down).sum() + np.square(case.right).sum()) or 1.0
    return Measurement(abs(left - right_side), 0.0, scale=size)


gradient_adjoint = Claim(
    name="sparse_representation.gradient_adjoint",
    summary="The divergence is minus the adjoint of the differences: nothing flows across the border of an image.",
    statement=r"\langle \nabla u, p \rangle = -\langle u, \operatorname{div} p \rangle",
    source=Source.classic("folklore", "summation by parts"),
    verdict=Always(_ROUNDING),
    instances=_fields,
    evaluate=lambda case: _adjoint(case, periodic=False),
    near_miss=lambda case: _adjoint(case, periodic=True),
)


def _solution(case: Field) -> Float64Array:
    return np.asarray(array(representation.poisson_neumann(tensor(case.divergence))))


def _least_squares(case: Field, *, periodic: bool) -> Measurement:
    """Compare with least squares on the matrix of differences, by numpy, of mean zero."""
    height, width = case.image.shape
    if periodic:
        angles = [2 * np.pi * np.fft.fftfreq(length) for length in (height, width)]
        scale = (2 * np.cos(angles[0]) - 2)[:, None] + 2 * np.cos(angles[1]) - 2
        spectrum = np.fft.fft2(case.divergence)
        found = np.real(np.fft.ifft2(np.divide(spectrum, scale, out=np.zeros_like(spectrum), where=scale != 0)))
    else:
        found = _solution(case)
    steps = [np.diff(np.eye(length), axis=0) for length in (height, width)]
    matrix = np.vstack([np.kron(steps[0], np.eye(width)), np.kron(np.eye(height), steps[1])])
    field = np.concatenate([case.down.ravel(), case.right.ravel()])
    expected = np.linalg.lstsq(matrix, field, rcond=None)[0] if field.size else np.zeros(case.image.size)
    error = max(float(np.abs(found.ravel() - (expected - expected.mean())).max()), abs(float(found.mean())))
    return Measurement(error, 0.0, scale=float(np.abs(field).sum()) or 1.0)


poisson_least_squares = Claim(
    name="sparse_representation.poisson_least_squares",
    summary="The Poisson equation gives the image of mean zero whose differences are nearest to a field.",
    statement=r"\operatorname{div} \nabla u = \operatorname{div} g,\ \bar u = 0 \;\Rightarrow\;"
    r" u = \arg\min \|\nabla u - g\|^2",
    source=Source.classic("Gauss (1809)", "normal equations, by the cosine transform (Strang 1999)"),
    verdict=Always(_ROUNDING),
    instances=_fields,
    evaluate=lambda case: _least_squares(case, periodic=False),
    near_miss=lambda case: _least_squares(case, periodic=True),
)
