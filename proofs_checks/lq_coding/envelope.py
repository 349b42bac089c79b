"""Claims about CEL0 beside l0: the convex envelope where atoms are orthogonal, and no new local minimisers anywhere."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from hypothesis import strategies as st

from sparsetheory.penalties import CEL0, L0
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.lq_coding.instances import (
    EPS,
    Coding,
    classic,
    decades,
    draw_coding,
    objective,
    seeds,
)
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_SOUBIES = "Soubies, Blanc-Féraud, Aubert, SIAM J. Imaging Sci. 8 (2015)"


@dataclass(frozen=True)
class _Segment:
    """Two codes in units of the sizes from which on the penalty is constant, and a point between them."""

    coding: Coding
    alpha: float
    ends: Float64Array
    middle: float

    @property
    def knees(self) -> Float64Array:
        return np.sqrt(2 * self.alpha) / self.coding.norms


def _draw_segment(n: int, spread: float, alpha: float, middle: float, seed: int) -> _Segment:
    coding = draw_coding("orthogonal", "noise", 6, n, spread, seed)
    ends = coding.rng().uniform(-1.5, 1.5, (2, n)) * (coding.rng().random((2, n)) < 0.8)
    return _Segment(coding, alpha, ends, middle)


def _mean_over_corners(segment: _Segment, code: Float64Array) -> float:
    """Return the mean of the l0 objective over random codes whose mean is `code`.

    An entry below its knee becomes zero or the knee, independently of the others; larger entries stay.
    """
    l0, knees = L0(segment.alpha), segment.knees
    fraction = np.minimum(np.abs(code) / knees, 1.0)
    up = np.where(fraction < 1, np.sign(code) * knees, code)
    mean = 0.0
    for chosen in product((0, 1), repeat=code.size):
        weight = float(np.prod(np.where(chosen, fraction, 1 - fraction)))
        if weight > 0:
            mean += weight * objective(segment.coding, l0, up * chosen)
    return mean


def _envelope(segment: _Segment) -> Measurement:
    r"""Check that CEL0 gives a convex function below the l0 objective, and the largest one.

    Any convex function below the l0 objective is, at a code c, at most the mean of that objective over random codes of
    mean c. Take entries in {0, knee}: for orthogonal atoms the loss is a sum over entries, and the mean of each of
    them, with :math:`\tfrac12 a^2 |c| k + \lambda |c| / k` in place of :math:`\tfrac12 a^2 c^2`, is what CEL0 gives.
    """
    coding, cel0, l0 = segment.coding, CEL0(segment.alpha, segment.coding.norms), L0(segment.alpha)
    left, right = segment.ends * segment.knees
    code = segment.middle * left + (1 - segment.middle) * right
    here, *ends = (objective(coding, cel0, c) for c in (code, left, right))
    chord = segment.middle * ends[0] + (1 - segment.middle) * ends[1]
    mean = _mean_over_corners(segment, code)
    sharp = objective(coding, l0, code)
    return Measurement.worst([here, here, mean], [chord, sharp, here], max(chord, mean, sharp))


def _not_orthogonal(segment: _Segment) -> Measurement:
    """Claim the same of atoms that are not orthogonal."""
    coding = segment.coding
    A = coding.A + 0.9 * coding.A[:, [0]] * (np.arange(coding.A.shape[1]) > 0)
    return _envelope(_Segment(Coding(A, coding.x, coding.seed), segment.alpha, segment.ends, segment.middle))


convex_envelope = Claim(
    name="lq_coding.convex_envelope",
    summary="For orthogonal atoms CEL0 is the largest convex function below the l0 objective.",
    statement=r"\tfrac12 \|x - Ac\|^2 + \phi_{\mathrm{CEL0}}(c) = \mathrm{conv}"
    r" \left( \tfrac12 \|x - A\,\cdot\|^2 + \lambda \|\cdot\|_0 \right)(c)"
    r" \text{ if } A^\top A \text{ is diagonal}",
    source=classic(_SOUBIES, "CEL0 from the convex envelope of the one-dimensional problem"),
    # Sums of at most 2^5 terms, each a sum of squares of at most 6 entries, all below the scale.
    verdict=Always(100 * EPS),
    instances=lambda: st.builds(
        _draw_segment, st.integers(1, 5), st.sampled_from([0.0, 1.0]), decades(-2, 0), st.floats(0, 1), seeds
    ),
    evaluate=_envelope,
    near_miss=_not_orthogonal,
)


@dataclass(frozen=True)
class _Ties:
    """How to plant a minimiser of CEL0 with entries below their knees."""

    active: int
    tied: tuple[float, ...]
    zero: int
    alpha: float
    spread: float
    seed: int


def _plant(recipe: _Ties, overlap: float = 0.0) -> tuple[Coding, Float64Array]:
    """Return a coding and a critical code with `active` large entries and entries ``tied * knee``.

    Tied atoms are orthogonal to the other atoms of the code unless they overlap with the first of them.
    """
    rng = np.random.default_rng(recipe.seed)
    k, t, z = recipe.active, len(recipe.tied), recipe.zero
    room = k + 2
    Q = np.linalg.qr(rng.standard_normal((room + t, room + t)))[0]
    inside, ties = Q[:, :room], Q[:, room:]
    large = np.linalg.qr(inside @ rng.standard_normal((room, k)))[0] @ np.triu(np.ones((k, k)))
    large /= np.linalg.norm(large, axis=0)
    small = np.sqrt(1 - overlap**2) * ties + overlap * large[:, [0]]
    lean = rng.uniform(-0.3, 0.3, z)
    others = inside @ rng.standard_normal((room, z))
    others = np.sqrt(1 - lean**2) * others / np.linalg.norm(others, axis=0) + lean * ties[:, [0]]
    norms = 10 ** rng.uniform(-recipe.spread, 0, k + t + z)
    A = np.hstack([large, small, others]) * norms
    size, fraction = np.sqrt(2 * recipe.alpha), np.array(recipe.tied)
    code = np.concatenate([rng.uniform(1.1, 3, k), fraction, np.zeros(z)]) * size / norms
    rest = inside @ rng.standard_normal(room)
    rest -= large @ np.linalg.lstsq(large, rest, rcond=None)[0]
    residual = 0.5 * size * rest / np.linalg.norm(rest) + ties @ (size * (1 - fraction)) / np.sqrt(1 - overlap**2)
    return Coding(A, A @ code + residual, recipe.seed), code


def _lowest_nearby(coding: Coding, penalty: CEL0 | L0, code: Float64Array, radii: Float64Array) -> float:
    """Return the least objective over random codes within the given distances, half of them moving few entries."""
    rng = coding.rng()
    moves = rng.uniform(-1, 1, (60, code.size)) * radii
    moves[::2] *= rng.random((30, code.size)) < 0.3
    moves[1::2] *= code != 0
    return min(objective(coding, penalty, code + move) for move in moves)


def _set_to_zero(recipe: _Ties, overlap: float = 0.0) -> Measurement:
    r"""Set the entries of a local minimiser below their knees to zero: values stay, and l0 has a local minimiser there.

    On ``0 < |c_i| < k_i`` the objective is affine in :math:`c_i`. At a minimiser it is flat there, and the matrix of
    second derivatives, whose i-th diagonal entry vanishes, can only be nonnegative if atom i is orthogonal to all other
    atoms in use. So setting :math:`c_i` to zero changes neither the objective nor the other optimality conditions.
    """
    coding, code = _plant(recipe, overlap)
    cel0, l0 = CEL0(recipe.alpha, coding.norms), L0(recipe.alpha)
    knees = np.sqrt(2 * recipe.alpha) / coding.norms
    kept = np.where(np.abs(code) < knees * (1 - 64 * EPS), 0.0, code)
    here, sharp = objective(coding, cel0, code), objective(coding, l0, kept)
    nearby = [
        _lowest_nearby(coding, cel0, code, 1e-3 * knees),
        _lowest_nearby(coding, l0, kept, 1e-3 * knees),
    ]
    return Measurement.worst([abs(here - sharp), here, sharp], [0.0, *nearby], sharp + float(coding.x @ coding.x) / 2)


no_new_minimisers = Claim(
    name="lq_coding.no_new_minimisers",
    summary="Small entries of a minimiser of CEL0 can be dropped: what is left is one of l0.",
    statement=r"c \text{ local minimiser with CEL0} \Rightarrow \bar c = c\, 1\{|c_i| \ge \sqrt{2\lambda} / a_i\}"
    r" \text{ one with } \ell_0, \ F_0(\bar c) = F_{\mathrm{CEL0}}(c)",
    source=classic(_SOUBIES, "local minimisers, on planted ones; the proof in the docstring is ours"),
    # Squared residuals of at most 10 entries and sums over at most 10 atoms, below the scale.
    verdict=Always(200 * EPS),
    instances=lambda: st.builds(
        _Ties,
        st.integers(1, 3),
        st.lists(st.floats(0, 1), min_size=1, max_size=3).map(tuple),
        st.integers(0, 4),
        decades(-2, 0),
        st.sampled_from([0.0, 1.0]),
        seeds,
    ),
    evaluate=_set_to_zero,
    near_miss=lambda recipe: _set_to_zero(recipe, overlap=0.5),
)
