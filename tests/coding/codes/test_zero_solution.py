"""The least strength that keeps the zero code, against closed forms and against the coders."""

import numpy as np
import pytest
from coding.coding_references import BAD_ARRAYS, draw_problem, good_arguments, refuses, seeds
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.codes.certificates import criticality
from sparsetheory.coding.codes.zero_solution import alpha_max
from sparsetheory.coding.encoders.encode import encode
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, LogSum, Lq

FAMILIES = [
    (L1, {}),
    (L0, {}),
    (Lq, {"q": 0.5}),
    (Lq, {"q": 0.9}),
    (CEL0, {}),
    (MCP, {"gamma": 0.05}),
    (MCP, {}),
    (SCAD, {}),
    (LogSum, {"eps": 0.3}),
    (LogSum, {"eps": 3.0}),
    (CappedL1, {"theta": 0.5}),
]


@given(seeds, st.floats(0.01, 0.99))
def test_closed_forms(seed, step):
    X, A, _ = draw_problem(seed, plain=True)
    c0 = np.abs(X @ A).max()
    known = {
        c0: alpha_max(X, A.T, L1, step),
        step * c0**2 / 2: alpha_max(X, A.T, L0, step),
        np.sqrt(step) * (c0 / 1.5) ** 1.5: alpha_max(X, A.T, Lq, step, q=0.5),
        1.5 * (c0 / 2) ** (4 / 3) * step ** (1 / 3): alpha_max(X, A.T, Lq, step, q=2 / 3),
        c0**2 / 2: alpha_max(X, A.T, CEL0, step),
        c0 * max(1, np.sqrt(step / 0.3)): alpha_max(X, A.T, MCP, step, gamma=0.3),
        c0 * (1 + 1e-16): alpha_max(X, A.T, SCAD, step),
        max(c0, step * c0**2 / 0.8): alpha_max(X, A.T, CappedL1, step, theta=0.4),
    }
    # Thresholds are computed with a few roundings each.
    assert list(known.values()) == pytest.approx(list(known), rel=1e-14)
    # The threshold of log-sum is alpha / eps as long as the operator is continuous there.
    if step * c0 <= 3.0:
        assert alpha_max(X, A.T, LogSum, step, eps=3.0) == pytest.approx(3.0 * c0, rel=1e-14)


@pytest.mark.parametrize(("family", "shape"), FAMILIES)
@pytest.mark.parametrize("step", [None, 0.05, 0.7])
def test_zero_leaves_just_below(family, shape, step):
    for seed in range(10):
        X, A, _ = draw_problem(seed)
        if family is CEL0:
            shape = {"norms": np.linalg.norm(A, axis=0)}
        alpha, zero = alpha_max(X, A.T, family, step, **shape), np.zeros((4, A.shape[1]))
        assert not criticality(X, A.T, zero, family(alpha * (1 + 1e-12), **shape), step=step).any()
        assert criticality(X, A.T, zero, family(alpha * (1 - 1e-9), **shape), step=step).max() > 0


def test_the_operator_keeps_zero_exactly():
    X, A, _ = draw_problem(3)
    for family, shape in FAMILIES:
        alpha = alpha_max(X, A.T, family, 0.3, **shape)
        assert not family(alpha, **shape).prox(0.3 * (X @ A), 0.3).any()
        assert family(np.nextafter(alpha, 0), **shape).prox(0.3 * (X @ A), 0.3).any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_solvers_keep_zero_exactly(dtype):
    for seed in range(20):
        X, A, _ = draw_problem(seed)
        X, A = X.astype(dtype), A.astype(dtype)
        step = 0.9 / np.linalg.norm(A.astype(float), 2) ** 2
        for family, shape in FAMILIES:
            C = forward_backward(X, A.T, family(alpha_max(X, A.T, family, step, **shape), **shape), step=step).codes
            assert not C.any()
            assert not encode(X, A.T, family(alpha_max(X, A.T, family, **shape), **shape)).codes.any()


def test_hard_thresholds_depend_on_the_step_and_others_do_not():
    X, A, _ = draw_problem(4, plain=True)
    for family, shape in FAMILIES[:4]:
        small, large = (alpha_max(X, A.T, family, step, **shape) for step in (0.1, 0.4))
        assert small == large if family is L1 else small < large
    assert alpha_max(X, A.T, L0) == pytest.approx(alpha_max(X, A.T, L0, 1.0), rel=1e-12)


def test_a_name_stands_for_its_class():
    X, D = np.array([[3.0, -1.0]]), np.eye(2)
    assert alpha_max(X, D, "l1") == alpha_max(X, D, L1)
    assert alpha_max(X, D, "mcp", 1.0, gamma=0.3) == alpha_max(X, D, MCP, 1.0, gamma=0.3)
    assert alpha_max(-X, D, "l0", positive=True) == alpha_max(-X, D, L0, positive=True)


def test_scales_far_from_one():
    X, A = np.array([[3.0, 4.0]]), np.eye(2)
    for scale in (1e-150, 1e150):
        assert alpha_max(scale * X, A.T, L1) == pytest.approx(4 * scale, rel=1e-15)
    assert alpha_max(1e-150 * X, A.T, L0) == pytest.approx(8e-300, rel=1e-12, abs=0)
    # The answer would be below the smallest normal number.
    with pytest.raises(ValueError, match="X must not be so small that squares vanish in float64"):
        alpha_max(1e-160 * X, A.T, L0)


def test_nothing_to_keep():
    assert alpha_max(np.zeros((2, 3)), np.eye(3), L0) == 0.0
    assert alpha_max(np.zeros((0, 3)), np.eye(3), L1) == 0.0
    assert alpha_max([[0, 1]], [[1, 0]], L1) == 0.0
    assert alpha_max(np.float32([[3, 4]]), np.float32(np.eye(2)), L1) == 4.0


@refuses(
    [
        *BAD_ARRAYS,
        ({"penalty": "l3"}, ValueError, "penalty must be one of .*; got 'l3'"),
        ({"penalty": L1(1.0)}, TypeError, "penalty must be a class of penalties or the name of one"),
        ({"penalty": Lq}, TypeError, "q"),
        ({"penalty": Lq, "q": 2.0}, ValueError, r"q must be a number in \(0, 1\); got 2"),
        ({"penalty": CEL0, "norms": [1.0]}, ValueError, "penalty must have one number per atom, 5; it has 1"),
        ({"step": 0.0}, ValueError, "step must be a finite positive number; got 0.0"),
    ]
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        alpha_max(**(good_arguments(penalty=L1) | arguments))
