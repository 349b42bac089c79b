"""Penalties as objects: shapes, dtypes, numbers per feature, names and errors."""

import copy
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from penalties.penalty_table import EXAMPLES, TABLE, each_example

from sparsetheory.numba_kernels.penalties import proximal
from sparsetheory.penalties import (
    CEL0,
    L0,
    L1,
    MCP,
    SCAD,
    CappedL1,
    ElasticNet,
    LogSum,
    Lq,
    Penalty,
    as_penalty,
    make_penalty,
    prox,
)
from sparsetheory.penalties.separable import _BY_NAME

ONE = np.ones(1, np.float32)
NORMS = [0.5, 1.0, 2.0]

grids = arrays(np.float64, array_shapes(min_dims=0, max_dims=3, min_side=0), elements=st.floats(-9, 9))


@each_example
def test_methods_are_the_scalar_functions_entry_by_entry(penalty, rng):
    numbers = (penalty.alpha, penalty.shape)
    u, g = rng.standard_normal((2, 40))
    x = penalty.prox(u, step=0.7)
    assert x.tolist() == [proximal.prox(penalty.kind, v, 0.7, *numbers) for v in u]
    assert penalty.value(u) == pytest.approx(sum(proximal.value(penalty.kind, v, *numbers) for v in u), rel=1e-14)
    expected = [proximal.subgradient_distance(penalty.kind, *pair, *numbers) for pair in zip(x, g, strict=True)]
    assert penalty.subgrad_dist(x, g).tolist() == expected
    assert penalty.zero_threshold(0.7) == proximal.zero_threshold(penalty.kind, 0.7, *numbers)
    assert penalty.jump(0.7) == proximal.jump(penalty.kind, 0.7, *numbers)
    assert penalty.weak_convexity() == proximal.weak_convexity(penalty.kind, *numbers)
    assert prox(u, penalty, 0.7).tolist() == x.tolist()


def test_every_family_has_a_row_and_a_kind_of_its_own():
    assert {row.name: row.family for row in TABLE} == dict(_BY_NAME)
    assert len({penalty.kind for penalty in EXAMPLES}) == len(EXAMPLES) == 2 * len(TABLE)


@given(st.sampled_from(EXAMPLES), grids)
def test_shapes_are_kept(penalty, u):
    x = penalty.prox(u)
    assert np.shape(x) == u.shape
    assert np.ravel(x).tolist() == penalty.prox(u.ravel()).tolist()
    assert penalty.value(u) == pytest.approx(penalty.value(u.ravel()), rel=1e-14)
    assert np.shape(penalty.subgrad_dist(u, 0.5)) == u.shape


@each_example
def test_memory_layouts_and_dtypes(penalty, rng):
    u = 2 * rng.standard_normal((6, 4))
    expected = penalty.prox(u).tolist()
    frozen = u.copy()
    frozen.flags.writeable = False
    for same in (np.asfortranarray(u), np.repeat(u, 2, axis=1)[:, ::2], frozen, u.tolist()):
        assert penalty.prox(same).tolist() == expected
    assert frozen.tolist() == u.tolist()
    single = penalty.prox(u.astype(np.float32))
    assert single.dtype == penalty.subgrad_dist(single, np.float32(1.0)).dtype == np.float32
    # No entry of this draw is next to a threshold.
    assert single == pytest.approx(np.array(expected), rel=1e-4, abs=1e-6)
    assert penalty.prox(np.arange(-3, 4)).tolist() == penalty.prox(np.arange(-3.0, 4.0)).tolist()
    assert penalty.prox(3.0) == penalty.prox([3.0])[0]


def test_gradients_broadcast():
    found = L1(1.0).subgrad_dist([[0.0], [2.0]], [0.5, -1.0, 3.0])
    assert found.tolist() == [[0.0, 0.0, 2.0], [1.5, 0.0, 4.0]]
    assert L1(1.0).subgrad_dist(np.float32(0.0), 3.0).dtype == np.float64


@each_example
def test_another_strength_is_a_copy(penalty):
    other = penalty.with_alpha(0.9)
    assert (type(other), other.alpha, other.shape, penalty.alpha) == (type(penalty), 0.9, penalty.shape, 0.3)
    assert other != penalty
    assert other.with_alpha(0.3) == penalty
    assert hash(other.with_alpha(0.3)) == hash(penalty)
    assert pickle.loads(pickle.dumps(penalty)) == copy.deepcopy(penalty) == penalty
    with pytest.raises(FrozenInstanceError):
        penalty.alpha = 1.0


def test_norms_of_columns(rng):
    u = rng.standard_normal((50, 3))
    for step in (0.1, 1.0, 10.0):
        penalty = CEL0(0.3, norms=NORMS)
        single = [CEL0(0.3, a) for a in NORMS]
        columns = [p.prox(u[:, j], step).tolist() for j, p in enumerate(single)]
        assert penalty.prox(u, step).T.tolist() == columns
        assert penalty.zero_threshold(step).tolist() == [p.zero_threshold(step) for p in single]
        assert penalty.jump(step).tolist() == [p.jump(step) for p in single]
        assert penalty.value(u) == pytest.approx(sum(p.value(u[:, j]) for j, p in enumerate(single)), rel=1e-13)
        distances = [p.subgrad_dist(u[:, j], 1.0).tolist() for j, p in enumerate(single)]
        assert penalty.subgrad_dist(u, 1.0).T.tolist() == distances
    assert penalty.weak_convexity() == 4.0
    assert penalty.shape.tolist() == NORMS


def test_norms_take_part_in_equality():
    assert CEL0(0.3, NORMS) == CEL0(0.3, np.array(NORMS))
    assert hash(CEL0(0.3, NORMS)) == hash(CEL0(0.3, tuple(NORMS)))
    assert CEL0(0.3, NORMS) != CEL0(0.3, NORMS[::-1])
    assert CEL0(0.3, NORMS) != CEL0(0.4, NORMS)
    assert CEL0(0.3) != CEL0(0.3, [1.0])
    assert CEL0(0.3) != L0(0.3)
    assert CEL0(0.3, NORMS).with_alpha(1.0) == CEL0(1.0, NORMS)


def test_norms_are_not_shared_with_the_caller():
    norms = np.array(NORMS)
    penalty = CEL0(0.3, norms)
    norms[0] = 7.0
    assert penalty.norms.tolist() == NORMS
    with pytest.raises(ValueError, match="read-only"):
        penalty.norms[0] = 7.0


def test_cel0_is_mcp_and_hard_thresholding_at_unit_step(rng):
    u = 3 * rng.standard_normal(200)
    for step in (0.3, 2.0):
        assert CEL0(0.7, 0.8).prox(u, step) == pytest.approx(MCP(0.8 * 1.4**0.5, 0.8**-2).prox(u, step), rel=1e-12)
    assert CEL0(0.7).prox(u).tolist() == L0(0.7).prox(u).tolist()


@each_example
def test_names(penalty):
    name = next(row.name for row in TABLE if row.family is type(penalty))
    shape = {penalty._name: penalty.shape} if penalty._name else {}
    assert make_penalty(name, 0.3, positive=penalty.positive, **shape) == penalty
    assert eval(repr(penalty), {type(penalty).__name__: type(penalty)}) == penalty
    assert isinstance(penalty, Penalty)


def test_defaults():
    assert [make_penalty(name, 0.3) for name in ("l1", "elastic_net", "mcp", "scad", "cel0")] == [
        L1(0.3),
        ElasticNet(0.3, l1_ratio=0.5),
        MCP(0.3, gamma=3.0),
        SCAD(0.3, a=3.7),
        CEL0(0.3, norms=1.0),
    ]


def test_the_sign_takes_part_in_equality():
    assert L1(0.3, positive=True) != L1(0.3)
    assert CEL0(0.3, NORMS, positive=True) != CEL0(0.3, NORMS)
    assert hash(CEL0(0.3, NORMS, positive=True)) != hash(CEL0(0.3, NORMS))
    assert repr(L1(0.3, positive=True)) == "L1(alpha=0.3, positive=True)"
    assert L1(0.3, positive=True).with_alpha(0.4) == L1(0.4, positive=True)


def test_an_elastic_net_of_ratio_one_is_l1(rng):
    u = 3 * rng.standard_normal(200)
    net, lasso = ElasticNet(0.7, l1_ratio=1.0), L1(0.7)
    assert net.prox(u, 0.4).tolist() == lasso.prox(u, 0.4).tolist()
    assert net.value(u) == lasso.value(u)
    assert (net.l1_part, lasso.l1_part, ElasticNet(0.7, 0.2).l1_part) == (1.0, 1.0, 0.2)
    with pytest.raises(TypeError, match="only convex penalties are a mixture of l1 and a square; got L0"):
        _ = L0(1.0).l1_part


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: L1(-1.0), ValueError, "alpha must be a finite non-negative number; got -1.0"),
        (lambda: L0(np.nan), ValueError, "alpha must be a finite non-negative number; got nan"),
        (lambda: MCP(np.inf), ValueError, "alpha must be a finite non-negative number; got inf"),
        (lambda: L1([1.0, 2.0]), ValueError, r"alpha must be a number; got shape \(2,\)"),
        (lambda: L1("1"), TypeError, "alpha must be a real number; got '1'"),
        (lambda: L1(1j), TypeError, "alpha must be a real number"),
        (lambda: L1(None), TypeError, "alpha must be a real number; got None"),
        (lambda: L1(True), TypeError, "alpha must be a real number; got True"),
        (lambda: Lq(1.0, 0.0), ValueError, r"q must be a number in \(0, 1\); got 0"),
        (lambda: Lq(1.0, 1.0), ValueError, r"q must be a number in \(0, 1\); got 1"),
        (lambda: Lq(1.0, np.nan), ValueError, r"q must be a number in \(0, 1\); got nan"),
        (lambda: ElasticNet(1.0, 0.0), ValueError, r"l1_ratio must be a number in \(0, 1\]; got 0"),
        (lambda: ElasticNet(1.0, 1.1), ValueError, r"l1_ratio must be a number in \(0, 1\]; got 1.1"),
        (lambda: ElasticNet(1.0, [0.5, 0.5]), ValueError, "l1_ratio must be a number; got shape"),
        (lambda: L1(1.0, positive=1), ValueError, "positive must be True or False; got 1"),
        (lambda: make_penalty("l0", 1.0, positive="yes"), ValueError, "positive must be True or False; got 'yes'"),
        (lambda: MCP(1.0, 0.0), ValueError, "gamma must be a finite positive number; got 0"),
        (lambda: SCAD(1.0, 2.0), ValueError, "a must be a finite number above 2; got 2"),
        (lambda: LogSum(1.0, -0.1), ValueError, "eps must be a finite positive number; got -0.1"),
        (lambda: CappedL1(1.0, np.inf), ValueError, "theta must be a finite positive number; got inf"),
        (lambda: CEL0(1.0, 0.0), ValueError, "norms must be a finite positive number; got 0"),
        (lambda: CEL0(1.0, [1.0, -2.0]), ValueError, "norms must be a finite positive number; got -2"),
        (lambda: CEL0(1.0, []), ValueError, "norms must be a number or a vector"),
        (lambda: CEL0(1.0, [[1.0]]), ValueError, r"norms must be a number or a vector; got shape \(1, 1\)"),
        (lambda: CEL0(1.0, NORMS).prox(np.ones((3, 2))), ValueError, "x must have 3 entries in its last axis"),
        (lambda: CEL0(1.0, NORMS).prox(1.0), ValueError, r"one per entry of norms; got shape \(\)"),
        (lambda: CEL0(1.0, NORMS).value(np.ones(2)), ValueError, "x must have 3 entries in its last axis"),
        (lambda: L1(1.0).prox(1.0, step=0.0), ValueError, "step must be a finite positive number; got 0"),
        (lambda: L1(1.0).zero_threshold(-1.0), ValueError, "step must be a finite positive number"),
        (lambda: L1(1.0).jump(np.inf), ValueError, "step must be a finite positive number"),
        (
            lambda: L1(1.0).prox([1j]),
            TypeError,
            "x must hold integers or floats .* dtype complex128",
        ),
        (lambda: L1(1.0).prox(["1"]), TypeError, "x must hold integers or floats"),
        (lambda: L1(1.0).value(np.ones(2, np.float16)), TypeError, "x must hold integers or floats .* dtype float16"),
        (lambda: L1(1.0).subgrad_dist(1.0, [True]), TypeError, "g must hold integers or floats .* dtype bool"),
        # Numbers that single precision rounds out of their interval.
        (
            lambda: Lq(0.3, 1 - 1e-9).prox(ONE),
            ValueError,
            r"q must be a number in \(0, 1\) in float32; got 0.999999999",
        ),
        (lambda: Lq(0.3, 1e-50).value(ONE), ValueError, r"q must be a number in \(0, 1\) in float32"),
        (
            lambda: ElasticNet(0.3, 1e-50).prox(ONE),
            ValueError,
            r"l1_ratio must be a number in \(0, 1\] in float32; got 1e-50",
        ),
        (lambda: SCAD(0.3, 2 + 1e-9).prox(ONE), ValueError, "a must be a finite number above 2 in float32"),
        (
            lambda: MCP(0.3, 1e-50).subgrad_dist(ONE, ONE),
            ValueError,
            "gamma must be a finite positive number in float32; got 1e-50",
        ),
        (lambda: CappedL1(0.3, 1e39).prox(ONE), ValueError, "theta must be a finite positive number in float32"),
        (
            lambda: CEL0(0.3, [1.0, 1e-50]).prox(np.ones(2, np.float32)),
            ValueError,
            "norms must be a finite positive number in float32",
        ),
        (lambda: L1(1e39).prox(ONE), ValueError, r"alpha must be finite in float32; got 1e\+39"),
        (
            lambda: make_penalty("l2", 1.0),
            ValueError,
            "one of 'l1', 'elastic_net', 'l0', 'lq', .* got 'l2'",
        ),
        (lambda: make_penalty(["l1"], 1.0), ValueError, "penalty must be one of"),
        (lambda: make_penalty("lq", 1.0), TypeError, "penalty 'lq' needs q"),
        (lambda: make_penalty("mcp", 1.0, eps=1.0), TypeError, "penalty 'mcp' takes gamma beside alpha; got eps"),
        (lambda: make_penalty("l1", 1.0, q=0.5), TypeError, "penalty 'l1' takes nothing beside alpha; got q"),
        (lambda: make_penalty("scad", 1.0, a=1.0), ValueError, "a must be a finite number above 2; got 1"),
    ],
)
def test_bad_arguments(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_nothing_is_compiled_before_it_is_needed():
    code = (
        "import sys; from sparsetheory.penalties import make_penalty; p = make_penalty('cel0', 1.0).with_alpha(2.0); "
        "before = 'numba' in sys.modules; p.prox(1.0); print(before, p.kind, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "3", "True"]


def test_names_and_objects_are_penalties():
    assert as_penalty("mcp", 0.4, gamma=2.0) == MCP(0.4, gamma=2.0)
    assert as_penalty("l1", 0.4, q=None) == L1(0.4)
    penalty = SCAD(0.4)
    assert as_penalty(penalty) is penalty
    assert as_penalty(penalty, 0.2) == SCAD(0.2)


@pytest.mark.parametrize(
    ("arguments", "shape", "error", "message"),
    [
        (("l1",), {}, TypeError, "penalty 'l1' needs alpha, its strength"),
        (("l2", 0.1), {}, ValueError, "penalty must be one of 'l1', .*'l2'"),
        (("lq", 0.1), {}, TypeError, "penalty 'lq' needs q"),
        (("mcp", 0.1), {"q": 0.5}, TypeError, "penalty 'mcp' takes gamma beside alpha"),
        ((1, 0.1), {}, TypeError, "penalty must be a Penalty or the name of one; got 1"),
        ((L1, 0.1), {}, TypeError, "penalty must be a Penalty or the name of one"),
        ((L1(0.1),), {"q": 0.5}, TypeError, r"q must go with the name of a penalty; penalty is L1\(alpha=0.1\)"),
    ],
)
def test_what_is_no_penalty(arguments, shape, error, message):
    with pytest.raises(error, match=message):
        as_penalty(*arguments, **shape)
