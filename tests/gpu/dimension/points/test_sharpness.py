"""Label sharpness against all pairs by differences, the numbers that products lose, and its certificate."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from sparsetheory.certificates import Status
from sparsetheory.gpu.dimension import label_sharpness
from sparsetheory.gpu.dimension.points import cross_class
from sparsetheory.gpu.dimension.points.rows import CentredRows


def by_hand(X, y):
    apart = cdist(X.astype(float), X.astype(float))
    apart[y[:, None] == y] = np.inf
    i, j = np.unravel_index(apart.argmin(), apart.shape)
    return 1 / apart.min(), (min(i, j), max(i, j))


def labelled(seed=0, n=300, p=7, classes=4, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, p)).astype(dtype), rng.integers(0, classes, n)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 4, 200])
def test_all_pairs_count(classes, dtype, device, monkeypatch):
    monkeypatch.setattr(cross_class, "_ROWS", 37)
    monkeypatch.setattr(cross_class, "_COLUMNS", 53)
    X, y = labelled(classes=classes)
    given = torch.tensor(X, dtype=dtype, device=device)
    found = label_sharpness(given, torch.tensor(y, device=device))
    value, _ = by_hand(given.double().cpu().numpy(), y)
    assert found.value == pytest.approx(value, rel=1e-13)
    i, j = found.pair
    assert i < j
    assert y[i] != y[j]
    assert found.check(given, torch.tensor(y, device=device)).valid


def test_names_of_classes_do_not_matter():
    X, y = labelled()
    names = np.array([7, -3, 100, 2])
    assert label_sharpness(X, names[y]).value == label_sharpness(X, y).value
    assert label_sharpness(X, y % 2 == 0).value == label_sharpness(X, y % 2).value
    assert label_sharpness(X, y.astype(">i4")).value == label_sharpness(X, y.tolist()).value


def test_a_pair_hidden_between_two_distant_clusters_is_found():
    """Squares are 1e16 and their rounding is above one: products cannot see a pair that is 1e-6 apart."""
    X, y = labelled(1, 400, 3, 2)
    X[:200] += 1e8
    X[200:] -= 1e8
    X[7] = X[3] + np.array([1e-6, 0, 0])
    y[3], y[7] = 0, 1
    squares = (X**2).sum(1)
    product = squares[:, None] + squares - 2 * X @ X.T
    product[y[:, None] == y] = np.inf
    assert set(np.unravel_index(product.argmin(), product.shape)) != {3, 7}
    found = label_sharpness(X, y)
    assert found.pair == (3, 7)
    assert found.value == pytest.approx(by_hand(X, y)[0], rel=1e-12)


def test_single_precision_far_from_the_origin_is_exact():
    """The best pair of the product is none of the best thousand: recomputing the 32 smallest would not do."""
    X, y = labelled(2, 600, 40, 3, np.float32)
    X = (X + 1e4).astype(np.float32)
    value, pair = by_hand(X, y)
    squares = (X**2).sum(1)
    product = squares[:, None] + squares - 2 * X @ X.T
    product[y[:, None] == y] = np.inf
    assert (product < product[pair]).sum() > 1000
    found = label_sharpness(X, y)
    assert found.pair == pair
    assert found.value == pytest.approx(value, rel=1e-13)


def test_points_far_from_the_origin_leave_few_candidates(monkeypatch):
    """Without centring, the error bound of products would rule no pair out."""
    monkeypatch.setattr(cross_class._Search, "_all_directly", None)
    X, y = labelled(2, 600, 40, 3, np.float32)
    X = (X + 1e4).astype(np.float32)
    assert label_sharpness(X, y).pair == by_hand(X, y)[1]


def test_single_precision_below_its_normal_numbers():
    X = (labelled(5, 50, 3, 2)[0] * 1e-40).astype(np.float32)
    y = labelled(5, 50, 3, 2)[1]
    assert label_sharpness(X, y).value == pytest.approx(by_hand(X.astype(float) * 2.0**130, y)[0] * 2.0**130, rel=1e-12)


def test_nearly_equal_distances_below_the_rounding_of_products_are_told_apart():
    """Products order such pairs at random: without a bound of their error most of these data get another pair."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        corners = 30 * rng.standard_normal((40, 3))
        steps = rng.standard_normal((40, 3))
        steps *= 2e-3 / np.linalg.norm(steps, axis=1, keepdims=True)
        steps[17] *= 0.5
        X = np.concatenate([corners, corners + steps]).astype(np.float32)
        assert label_sharpness(X, np.repeat([0, 1], 40)).pair == (17, 57)


def test_small_distances_do_not_end_the_search(monkeypatch):
    monkeypatch.setattr(cross_class, "_ROWS", 5)
    monkeypatch.setattr(cross_class, "_COLUMNS", 7)
    rng = np.random.default_rng(0)
    corners, steps = 30 * rng.standard_normal((40, 3)), rng.standard_normal((40, 3))
    # From a tenth of a unit downwards, the least one among the last rows.
    steps *= 0.1 * 0.5 ** np.arange(40)[:, None] / np.linalg.norm(steps, axis=1, keepdims=True)
    X = np.concatenate([corners, corners + steps])
    assert label_sharpness(X, np.repeat([0, 1], 40)).pair == (39, 79)


def test_too_many_candidates_are_looked_at_one_by_one(monkeypatch):
    X, y = labelled(3)
    monkeypatch.setattr(cross_class, "_CANDIDATES", 0)
    assert label_sharpness(X, y).value == pytest.approx(by_hand(X, y)[0], rel=1e-13)


def test_products_in_short_precision_are_not_trusted():
    X, y = labelled(4, dtype=np.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        # What the processor does with short products is its own affair; they are not taken.
        assert CentredRows.of(torch.tensor(X)).rows.dtype == torch.float64
        assert label_sharpness(X, y).value == pytest.approx(by_hand(X, y)[0], rel=1e-13)
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e200), (np.float64, 1e-200), (np.float32, 1e30)])
def test_squares_neither_overflow_nor_underflow(dtype, size):
    X, y = labelled(5, 50, 3, 2)
    scaled = (X * size).astype(dtype)
    found = label_sharpness(scaled, y)
    assert found.value * size == pytest.approx(label_sharpness(X, y).value, rel=1e-5)
    assert found.check(scaled, y).valid
    assert (
        not replace(found, bound=1.01 * found.bound, certified_radius=1.01 * found.bound)
        .stated()
        .check(scaled, y)
        .valid
    )


def test_squares_too_small_for_normal_numbers_rule_nothing_out():
    """Two far points set the unit; what the squares of all others lose there is more than they differ by."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        small = rng.standard_normal((20, 3)) * 10.0 ** rng.uniform(-24, -20)
        X = np.concatenate([small, np.ones((1, 3)), -np.ones((1, 3))]).astype(np.float32)
        y = rng.integers(0, 2, 22)
        assert label_sharpness(X, y).value == pytest.approx(
            by_hand(X.astype(float) * 2.0**60, y)[0] * 2.0**60, rel=1e-9
        )


def test_moves_that_rounding_makes_too_long_break_no_certificate():
    last = np.spacing(1e8)
    # Half-way between the two, which is where the move ends after rounding, the first one is taken.
    X, y = np.array([[1e8], [1e8 + 2 * last]]), np.array([0, 1])
    assert label_sharpness(X, y).check(X, y).valid
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, y = 1e8 + 1e-7 * rng.standard_normal((30, 3)), rng.integers(0, 3, 30)
        assert label_sharpness(X, y).check(X, y).valid


def test_coincident_points_of_different_classes_certify_nothing():
    X, y = labelled(6, 60)
    X[9] = X[20]
    y[9], y[20] = 0, 1
    found = label_sharpness(X, y)
    assert (found.value, found.pair, found.certified_radius) == (math.inf, (9, 20), 0.0)
    assert found.check(X, y).valid


def test_the_published_function_computes_something_else():
    """It compares points of the same label, side by side in two orders, and drops infinite ratios."""
    X, y = np.array([[0.0], [1.0], [5.0], [5.5]]), np.array([0, 0, 1, 1])
    assert label_sharpness(X, y).value == 0.25
    first, second = np.array([0, 2, 1, 3]), np.array([1, 3, 0, 2])
    same = y[first] == y[second]
    assert (1 / np.abs(X[first] - X[second]).ravel()[same]).max() == 2.0


def test_one_class_has_no_sharpness_and_says_so():
    X, _ = labelled(7, 20)
    found = label_sharpness(X, np.full(20, 3))
    assert (found.value, found.pair, found.certified_radius, found.one_class) == (0.0, None, math.inf, True)
    assert found.check(X, np.full(20, 3)).valid
    assert not label_sharpness(X, np.arange(20)).one_class


def test_a_sample_is_never_sharper_and_certifies_itself():
    X, y = labelled(8)
    whole = label_sharpness(X, y)
    some = [label_sharpness(X, y, 60, generator=seed) for seed in range(5)]
    assert len({found.pair for found in some}) > 1
    for found in some:
        assert found.value <= whole.value
        assert set(found.pair) <= set(found.points.tolist())
        assert found.check(X, y).valid
    assert label_sharpness(X, y, 300).points is label_sharpness(X, y, 1000).points is None
    assert label_sharpness(X, y, 299).points.size == 299
    assert label_sharpness(X, y, 60, generator=1).pair == some[1].pair


def test_certificate_is_refuted_when_anything_is_changed():
    X, y = labelled(9, 80)
    found = label_sharpness(X, y)
    assert found.valid
    checked = found.check(X, y)
    assert checked.valid
    assert checked.measured == pytest.approx(found.bound, rel=1e-12)
    larger = replace(found, bound=2 * found.bound, certified_radius=2 * found.bound).stated()
    for wrong in (
        larger,
        replace(found, value=2 * found.value),
        replace(found, value=0.5 * found.value),
        replace(found, certified_radius=2 * found.bound),
        replace(found, pair=None),
        replace(found, pair=(found.pair[1], found.pair[0])),
        replace(found, pair=next((0, j) for j in range(1, 80) if y[j] != y[0] and (0, j) != found.pair)),
        replace(found, n_classes=3),
        replace(found, statement="all is well"),
    ):
        assert wrong.check(X, y).status is Status.INVALID
    assert found.check(X[::-1].copy() * 0.9, y).status is Status.INVALID
    assert "less than twice the bound" in larger.check(X, y).reason
    with pytest.raises(ValueError, match="X must hold the 80 points"):
        found.check(X[:70], y[:70])


def test_an_attack_just_beyond_twice_the_radius_succeeds():
    """The factor of two matters: one over the sharpness is no certificate."""
    X, y = np.array([[0.0], [1.0]]), np.array([0, 1])
    radius = label_sharpness(X, y).certified_radius
    assert 0.4999 < radius < 0.5
    for move, changed in ((0.999 * radius, False), (1.5 * radius, True)):
        assert (np.abs(X - (X[0] + move)).argmin() == 1) is np.bool_(changed)


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        (np.eye(3), [0, 1], {}, "y must have one label for each of 3 points"),
        (np.eye(3), [0.0, 1.0, 0.5], {}, "y must hold integer labels"),
        (np.eye(3), ["a", "b", "b"], {}, "y must hold integer labels; got <U1"),
        (np.eye(3), np.array([0, None, 1]), {}, "y must hold integer labels; got object"),
        (np.eye(3), [0, 1, 1], {"max_points": 0}, "max_points must be None or"),
        (np.eye(3, dtype=int), [0, 1, 1], {}, "X must hold floating-point numbers"),
        (np.zeros((0, 3)), [], {}, "y must"),
        (np.full((2, 2), np.inf), [0, 1], {}, "X must be finite"),
    ],
)
def test_bad_input_is_refused(X, y, options, message):
    with pytest.raises(ValueError, match=message):
        label_sharpness(X, np.array(y), **options)
