"""Bounds that can be attained are: on instances whose error is known by construction."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowrank.references import tail_energy

from sparsetheory.lowrank import centroid_bound, pair_bounds, residual_bound, scalar_bounds, union_bound, weyl_bound
from sparsetheory.numba_kernels.pair_bounds import pair_lower_bounds


def _squares(seed, kind, count):
    rng = np.random.default_rng(seed)
    if kind == "nearly equal":
        return 1 + 10.0 ** -rng.uniform(6, 16) * rng.standard_normal(count)
    if kind == "decades":
        return 10.0 ** -rng.uniform(0, 12, count)
    return rng.exponential(size=count) ** 3


@pytest.mark.parametrize("scale", [2.0**-460, 1.0, 2.0**460])
@given(st.integers(0, 10**6), st.sampled_from(["nearly equal", "decades", "plain"]), st.integers(1, 5))
def test_scalar_bounds_include_the_rounding_of_the_traces(scale, seed, kind, rank):
    squares = _squares(seed, kind, rank + seed % 5)
    lo, hi = scalar_bounds(scale * squares.sum(), scale**2 * np.sum(squares**2), squares.size, rank)
    captured = math.fsum(np.sort(squares)[::-1][:rank])
    assert lo / scale <= captured <= hi / scale


def test_scalar_bounds_of_nearly_equal_squares():
    squares = (1 + 1e-8) ** 2, (1 - 1e-8) ** 2
    lo, hi = scalar_bounds(2.0, sum(squares), 2, 1)
    assert lo <= 1.00000001 <= hi <= 1 + 2e-7


@pytest.mark.parametrize(("squares", "rank"), [((4.0, 1.0), 1), ((3.0, 3.0, 1.0, 1.0, 1.0), 2), ((2.0, 0.0, 0.0), 1)])
def test_the_upper_scalar_bound_is_attained_by_two_levels(squares, rank):
    hi = scalar_bounds(sum(squares), sum(v**2 for v in squares), len(squares), rank)[1]
    assert hi == pytest.approx(sum(squares[:rank]), rel=1e-12)


@pytest.mark.parametrize(
    ("squares", "rank", "expected"),
    # One direction attains q / t; for more, the positive root of (1 - 1/r) c^2 + c t / r = q.
    [((5.0, 0.0), 1, 5.0), ((2.0, 2.0, 2.0, 0.0), 3, 3.0), ((1.0, 1.0), 2, np.sqrt(5) - 1)],
)
def test_the_lower_scalar_bound(squares, rank, expected):
    lo = scalar_bounds(sum(squares), sum(v**2 for v in squares), len(squares), rank)[0]
    assert lo == pytest.approx(expected, rel=1e-12)


def _diagonal(*places):
    """Block of columns `size * axis`."""
    return np.column_stack([size * np.eye(6)[:, axis] for axis, size in places])


# Blocks, rank, exact squared error, and the upper end where it is attained.
PAIRS = {
    "both tails": (_diagonal((0, 2), (1, 1)), _diagonal((0, 3), (1, 1)), 1, 2.0, 2.0),
    "union and overlap": (_diagonal((0, 2), (1, 1)), _diagonal((2, 1.5)), 1, 3.25, 3.25),
    "own directions serve the other": (_diagonal((0, 3)), _diagonal((0, 1)), 1, 0.0, 0.0),
    "duplicates": (_diagonal((0, 2), (1, 1)), _diagonal((0, 2), (1, 1)), 1, 2.0, 2.0),
    "complex duplicates": (_diagonal((0, 2), (1, 1j)), _diagonal((0, 2j), (1, 1)), 1, 2.0, 2.0),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pair_bounds_are_attained(name):
    first, second, rank, error, hi = PAIRS[name]
    assert tail_energy([first, second], rank) == pytest.approx(error, abs=1e-12)
    for pair in ((first, second), (second, first)):
        bound = pair_bounds(*pair, rank)
        assert bound.lower == pytest.approx(error, abs=1e-11)
        assert bound.upper == pytest.approx(hi, abs=1e-11)


def test_pair_bounds_use_the_better_of_both_directions():
    # 9 + 1 through the axis of the first, 2 + 9 / 2 through the second.
    first, second = _diagonal((0, 3)), (np.eye(6)[:, :1] + np.eye(6)[:, 1:2])
    for pair in ((first, second), (second, first)):
        assert pair_bounds(*pair, 1).upper == pytest.approx(1.0, abs=1e-11)


def test_pair_bounds_need_the_overlap():
    # 5 + 5 - union 4 - overlap 4 = 2 where the tails alone give 0: columns of one direction each, turned a little.
    angle = 0.1
    turned = np.cos(angle) * np.eye(6)[:, :1] + np.sin(angle) * np.eye(6)[:, 1:2]
    bound = pair_bounds(np.eye(6)[:, :1], turned, 1)
    # Squared singular values of two unit columns at an angle are 1 + cos and 1 - cos.
    assert bound.lower == pytest.approx(1 - np.cos(angle), rel=1e-9)
    assert bound.contains(tail_energy([np.eye(6)[:, :1], turned], 1))


def test_centroid_bound_is_attained_by_copies_and_by_spread_alone():
    copies = [_diagonal((0, 2), (1, 1))] * 5
    assert tail_energy(copies, 1) == pytest.approx(5.0)
    assert centroid_bound(copies, 1).upper == pytest.approx(5.0, rel=1e-9)
    # Mean zero: all energy but that of r directions is spread, which the bound counts as a whole.
    opposite = [_diagonal((0, 1), (1, 2)), _diagonal((0, -1), (1, -2))]
    assert centroid_bound(opposite, 1).upper == pytest.approx(10.0)


def test_bounds_of_blocks_in_orthogonal_directions_are_exact():
    blocks = [_diagonal((0, 3), (1, 1)), _diagonal((2, 2)), _diagonal((3, 0.5), (4, 0.25))]
    error = 1 + 0.25 + 0.0625
    for bound in (union_bound(blocks, 2), residual_bound(blocks, 2), residual_bound(blocks, 2, count_in_span=True)):
        assert bound.upper == pytest.approx(error)
    grouped = union_bound(blocks, 2, [[0, 1], [2]])
    # The first two lose 1 at rank 2, the last two columns nothing.
    assert (grouped.lower, grouped.upper) == (pytest.approx(1.0), pytest.approx(error))
    chosen = weyl_bound(blocks, 2, [0, 1])
    assert (chosen.lower, chosen.upper) == (pytest.approx(1.0), pytest.approx(error))


def _kernel(energies, overlaps, cross, errors, spectra, widths, losses=(0.0, 0.0), n_rows=10):
    pair = np.array([[0.0, cross], [cross, 0.0]])
    numbers = (np.array(x, float) for x in (energies, overlaps))
    rest = (np.array(x, float) for x in (errors, spectra, losses))
    found = pair_lower_bounds(*numbers, pair, *rest, np.array(widths, np.int64), n_rows, 0, np.array([1]))
    return float(found[0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Only errors of the parts: both energies at one direction each, the same one.
        ({"energies": (4, 4), "overlaps": (16, 16), "cross": 16, "errors": (0, 0), "spectra": [[4], [4]]}, 0.0),
        # Tails add up: squares (4, 1) twice on the same axes give 8 and 2.
        ({"energies": (5, 5), "overlaps": (99, 99), "cross": 17, "errors": (1, 1), "spectra": [[4], [4]]}, 0.2),
        # Orthogonal parts: the smaller of squares 4 and 2 is lost.
        ({"energies": (4, 2), "overlaps": (16, 4), "cross": 0, "errors": (0, 0), "spectra": [[4], [2]]}, 1 / 3),
        # Orthogonal parts of equal squares: two traces alone tell.
        ({"energies": (1, 1), "overlaps": (1, 1), "cross": 0, "errors": (0, 0), "spectra": [[9], [9]]}, 0.5),
        # What a summary may have lost is given back.
        (
            {"energies": (4, 2), "overlaps": (36, 0), "cross": 0, "errors": (0, 0), "spectra": [[4], [2]],
             "losses": (0.5, 0.25)},
            1.25 / 6,
        ),
        # The overlap of unit columns at an angle is the square of its cosine.
        (
            {"energies": (1, 1), "overlaps": (4, 0), "cross": 0.64, "errors": (0, 0), "spectra": [[1], [1]]},
            0.1,
        ),
    ],
    ids=["same", "tails", "union", "traces", "losses", "overlap"],
)  # fmt: skip
def test_the_kernel_of_pair_bounds_attains_each_of_its_ends(options, expected):
    assert _kernel(**options, widths=(1, 1)) == pytest.approx(expected, abs=1e-12)


def test_the_overlap_of_wide_pairs_counts_once_per_shared_direction():
    # At most min(rank, widths) products of singular values add up; Cauchy-Schwarz gives the root of their number.
    options = {"energies": (2, 2), "overlaps": (16, 0), "cross": 0.02, "errors": (0, 0), "spectra": [[1, 1], [1, 1]]}
    assert _kernel(**options, widths=(2, 2)) == pytest.approx((2 - np.sqrt(2 * 0.02)) / 4)
    assert _kernel(**options, widths=(2, 1)) == pytest.approx((2 - np.sqrt(0.02)) / 4)
