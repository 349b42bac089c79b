"""Claims about what of an update can be seen in bfloat16."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_TOL = 1e-5
# Bit patterns of finite bfloat16 numbers without their sign, and of the smallest power of two of the lemma, 2^-9.
_FINITE, _FROM = 0x7F80, 118 << 7
# Half a spacing in the unit of steps.
_HALF = 64


def _number(pattern: int, negative: bool = False) -> float:
    """Return the bfloat16 number of a bit pattern, exactly: it is the upper half of a float32."""
    return float(np.array([(pattern | negative << 15) << 16], dtype=np.uint32).view(np.float32)[0])


@dataclass(frozen=True)
class Pair:
    """Two finite bfloat16 numbers by their bit patterns without signs, and whether they are negative."""

    first: int
    second: int
    negative: tuple[bool, bool]

    @property
    def values(self) -> tuple[float, float]:
        """The numbers."""
        return _number(self.first, self.negative[0]), _number(self.second, self.negative[1])


def _pairs() -> st.SearchStrategy[Pair]:
    anywhere = st.integers(0, _FINITE - 1)
    # Neighbours around the limit of the lemma are where it could fail.
    first = anywhere | st.integers(_FROM - 300, _FROM + 300)
    near = first.flatmap(lambda p: st.tuples(st.just(p), st.integers(max(p - 3, 0), min(p + 3, _FINITE - 1))))
    signs = st.tuples(st.booleans(), st.booleans())
    numbers = near | st.tuples(anywhere, anywhere)
    return st.builds(lambda pair, negative: Pair(pair[0], pair[1], negative), numbers, signs)


def _seen(pair: Pair, limit: float) -> Measurement:
    """Count whether a change between two numbers of at least the limit is lost to the tolerance 1e-5."""
    import torch

    first, second = pair.values
    if min(abs(first), abs(second)) < limit:
        return Measurement(0.0, 0.0, scale=1.0)
    before, after = ({"weight": torch.tensor([value], dtype=torch.bfloat16)} for value in (first, second))
    changed = 1.0 - analysis.update_sparsity(before, after, tol=_TOL).total
    found = Measurement(abs(changed - float(first != second)), 0.0, scale=1.0)
    # Neighbours at 2^-9 are 2^-16 apart.
    return found.and_chain({"least distance": 2.0**-16 if first != second else 0.0, "distance": abs(first - second)})


def _from_2_to_minus_9(pair: Pair) -> Measurement:
    """Look at numbers of at least 2^-9."""
    return _seen(pair, 2.0**-9)


def _from_2_to_minus_10(pair: Pair) -> Measurement:
    """Look at numbers of at least 2^-10, whose neighbours are 7.6e-6 apart."""
    return _seen(pair, 2.0**-10)


bf16_visible_update = Claim(
    name="network_analysis.bf16_visible_update",
    summary="For bfloat16 weights of at least 0.002 the tolerance 1e-5 is idle: unchanged means equal.",
    statement=r"u \ne v \in \text{bfloat16}, \; |u|, |v| \ge 2^{-9} \implies |u - v| \ge 2^{-16} > 10^{-5}",
    source=Source.ours("what the tolerance of published update sparsities (2505.11711) measures"),
    verdict=Always(rtol=0.0),
    instances=_pairs,
    evaluate=_from_2_to_minus_9,
    near_miss=_from_2_to_minus_10,
)


@dataclass(frozen=True)
class Step:
    """All bfloat16 numbers of one exponent, and a step in units of 1/64 of half their spacing."""

    exponent: int
    units: int

    @property
    def significands(self) -> Any:
        """Last seven bits of the numbers."""
        return np.arange(128)

    @property
    def weights(self) -> Float64Array:
        """The positive numbers; zero among them for the lowest exponent."""
        return np.array([_number(self.exponent << 7 | int(bits)) for bits in self.significands])

    @property
    def length(self) -> float:
        """Length of the step, a float32 number."""
        # The lowest exponent holds the numbers below the normal ones, at the spacing of the next exponent.
        return float(self.units * 2.0 ** (max(self.exponent, 1) - 127 - 8) / _HALF)


def _moved(case: Step, sign: float) -> BoolArray:
    """Return which weights torch moves by one step in bfloat16; sums of these numbers are exact in float32."""
    import torch

    weight = torch.tensor(case.weights, dtype=torch.float64).bfloat16()
    return array((weight + torch.tensor(sign * case.length, dtype=torch.float32)).bfloat16() != weight)


def _away(case: Step) -> BoolArray:
    """Half a spacing suffices where the last bit is 1; otherwise more is needed."""
    return (case.units > _HALF) | ((case.units == _HALF) & (case.significands % 2 == 1))


def _towards_zero(case: Step) -> BoolArray:
    """As away from zero, but a power of two has its lower neighbour at half the distance."""
    moved = _away(case)
    if case.exponent > 1:
        moved[0] = 2 * case.units > _HALF
    return moved


def _differing(case: Step, away: BoolArray, towards: BoolArray) -> Measurement:
    import torch

    threshold = analysis.visible_threshold(torch.tensor(case.weights, dtype=torch.float32), torch.bfloat16)
    differing = 0
    for sign, expected in ((1.0, away), (-1.0, towards)):
        differing += int((_moved(case, sign) != expected).sum())
        differing += int((array(threshold.visible(sign * case.length)) != expected).sum())
    return Measurement(float(differing), 0.0, scale=1.0)


def _stepped(case: Step) -> Measurement:
    """Count the weights that torch, or the threshold of the package, moves against the rule."""
    return _differing(case, _away(case), _towards_zero(case))


def _without_ties(case: Step) -> Measurement:
    """Expect every weight to move if the step exceeds half a spacing, and no other."""
    moved = np.full(128, case.units > _HALF)
    return _differing(case, moved, moved)


bf16_movement_threshold = Claim(
    name="network_analysis.bf16_movement_threshold",
    summary="A bfloat16 weight moves only in steps of more than half a spacing; ties move odd last bits.",
    statement=r"2^e \le |w| < 2^{e+1}: \quad w \oplus \eta \ne w \iff \eta > 2^{e-8}"
    r" \text{ or } \eta = 2^{e-8} \text{ and the last bit of } w \text{ is } 1",
    source=Source.ours("rounding to nearest, ties to even; half of it at a power of two towards zero"),
    verdict=Always(rtol=0.0),
    instances=lambda: st.builds(Step, st.integers(0, 254), st.integers(1, 200) | st.sampled_from((32, 33, 64, 65))),
    evaluate=_stepped,
    near_miss=_without_ties,
)


@dataclass(frozen=True, eq=False)
class Movement:
    """Float32 master weights before and after, and the precision of their copies."""

    seed: int
    dtype: str
    size: float

    @property
    def states(self) -> tuple[Float64Array, Float64Array]:
        """Weights of many magnitudes; part of them start, and part end, exactly between two bfloat16 numbers."""
        rng = np.random.default_rng(self.seed)
        before = (rng.standard_normal(64) * 2.0 ** rng.integers(-30, 20, 64)).astype(np.float32)
        after = (before * (1 + self.size * rng.standard_normal(64))).astype(np.float32)
        for values in (before, after):
            bits = values.view(np.uint32)
            halfway = rng.random(64) < 0.3
            bits[halfway] = bits[halfway] & 0xFFFF0000 | 0x8000
        return before.astype(float), after.astype(float)


def _visible(case: Movement) -> Measurement:
    """Compare the sparsity of rounded states with the share of movements that stay within their boundaries."""
    return _share(case, analysis_threshold=True)


def _share(case: Movement, analysis_threshold: bool) -> Measurement:
    import torch

    dtype = getattr(torch, case.dtype)
    before, after = (tensor(values).float() for values in case.states)
    sparsity = analysis.update_sparsity({"w": before}, {"w": after}, tol=0.0, dtype=dtype).total
    movement = after.double() - before.double()
    threshold = analysis.visible_threshold(before, dtype)
    visible = threshold.visible(movement) if analysis_threshold else movement.abs() > threshold.smallest
    return Measurement(abs(sparsity - (1.0 - float(visible.double().mean()))), 0.0, scale=1.0)


def _nearest_boundary(case: Movement) -> Measurement:
    """Take the nearer boundary for both directions."""
    return _share(case, analysis_threshold=False)


visible_movement = Claim(
    name="network_analysis.visible_movement",
    summary="Update sparsity in a precision is the share of weights that do not reach their rounding boundary.",
    statement=r"s_0(\mathrm{rd}\,\theta_0, \mathrm{rd}\,\theta_1) ="
    r" P(\theta_1 - \theta_0 \text{ does not reach the rounding boundary of } \theta_0)",
    source=Source.ours("update sparsity compares the total movement of a master weight with its size"),
    verdict=Always(rtol=1e-12),
    instances=lambda: st.builds(
        Movement, seeds, st.sampled_from(("bfloat16", "float16", "float32")), st.sampled_from((1e-4, 1e-2, 1.0))
    ),
    evaluate=_visible,
    near_miss=_nearest_boundary,
)
