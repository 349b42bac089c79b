"""Exact claim about layers whose random mask is known: the classical problem behind static sparse layers."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array


@dataclass(frozen=True)
class Teacher:
    """A linear layer with a random mask and the outputs that it gives for some inputs."""

    inputs: Float64Array
    weight: Float64Array
    mask: BoolArray

    def misfit(self, mask: BoolArray) -> Measurement:
        """Fit on a mask by least squares, and compare with the true weights.

        Nothing but inputs and outputs enters: the dense weights that are refitted are the smallest ones that explain
        the outputs, which differ from the true ones as there are fewer rows than inputs.
        """
        dense = np.linalg.lstsq(self.inputs, self.inputs @ self.weight.T, rcond=None)[0].T
        fitted = weights.refit(tensor(dense), tensor(self.inputs.T @ self.inputs), tensor(mask))
        return Measurement(
            float(np.abs(array(fitted) - self.weight).max()), 0.0, scale=float(np.abs(self.weight).max())
        )


@st.composite
def _teachers(draw: st.DrawFn) -> Teacher:
    rng = np.random.default_rng(draw(seeds))
    outputs, features = draw(st.integers(1, 6)), draw(st.integers(6, 12))
    density = draw(st.sampled_from([0.1, 0.3, 0.5]))
    masks = core.random_masks(
        {"layer": (outputs, features)}, {"layer": density}, int(rng.integers(2**31)), min_fan_in=0
    )
    mask = array(masks["layer"])
    # Twice as many rows as the fullest row of the mask has entries: Gaussian columns are then far from dependent.
    rows = 2 * max(int(mask.sum(axis=1).max()), 1) + 4
    weight = np.where(mask, rng.choice([-1.0, 1.0], mask.shape) * rng.uniform(1.0, 2.0, mask.shape), 0.0)
    return Teacher(rng.standard_normal((rows, features)), weight, mask)


def _known(teacher: Teacher) -> Measurement:
    """Compare least squares on the known support with the true weights.

    The outputs of a row lie in the span of its kept inputs. These are linearly independent almost surely once there
    are at least as many rows, and then only one combination of them gives the outputs.
    """
    return teacher.misfit(teacher.mask)


def _largest_dense_weights(teacher: Teacher) -> Measurement:
    """Take as the support the largest weights of the dense fit."""
    dense = np.linalg.lstsq(teacher.inputs, teacher.inputs @ teacher.weight.T, rcond=None)[0].T
    counts = teacher.mask.sum(axis=1, keepdims=True)
    ranks = np.argsort(np.argsort(-np.abs(dense), axis=1), axis=1)
    return teacher.misfit(ranks < counts)


known_support = Claim(
    name="weight_structure.known_support",
    summary="Least squares on a known random mask gives back a sparse linear layer from few inputs and outputs.",
    statement=r"\operatorname{argmin}_{\operatorname{supp} S \subseteq M} \|X W^\top - X S^\top\| = W,"
    r" \quad \operatorname{supp} W \subseteq M, \; \operatorname{rank} X_{M_i} = |M_i|",
    source=Source.classic("Gauss and Legendre", "least squares on a support of full column rank"),
    verdict=Always(1e-6),  # Gram matrices square the condition of Gaussian columns
    instances=_teachers,
    evaluate=_known,
    near_miss=_largest_dense_weights,
)
