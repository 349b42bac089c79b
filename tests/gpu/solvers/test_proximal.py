"""Proximal operators on tensors are those of the compiled penalties."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.gpu.solvers import prox
from sparsetheory.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, ElasticNet, LogSum, Lq, Penalty, separable

FAMILIES = {
    "l1": lambda alpha, _, sign: L1(alpha, positive=sign),
    "elastic_net": lambda alpha, t, sign: ElasticNet(alpha, min(t, 1.0), positive=sign),
    "l0": lambda alpha, _, sign: L0(alpha, positive=sign),
    "cel0": lambda alpha, t, sign: CEL0(alpha, t, positive=sign),
    "mcp": lambda alpha, t, sign: MCP(alpha, t, positive=sign),
    "scad": lambda alpha, t, sign: SCAD(alpha, 2.0 + t, positive=sign),
    "capped_l1": lambda alpha, t, sign: CappedL1(alpha, t, positive=sign),
    "log_sum": lambda alpha, t, sign: LogSum(alpha, t, positive=sign),
    "lq": lambda alpha, t, sign: Lq(alpha, 0.01 + 0.98 * t / (t + 1.0), positive=sign),
}
each_family = pytest.mark.parametrize("family", FAMILIES)
# Libraries round powers and logarithms differently: entries this close to such a threshold may go either way.
LAST_BITS = {"lq": 64, "log_sum": 64}


def test_every_penalty_of_the_package_has_an_operator():
    classes = [value for value in vars(separable).values() if isinstance(value, type) and issubclass(value, Penalty)]
    assert {type(make(0.5, 1.3, False)) for make in FAMILIES.values()} == set(classes) - {Penalty}


def _points(penalty, step, drawn, dtype):
    """Return drawn numbers, and zero, the kinks and both neighbours of the threshold."""
    threshold = np.asarray(penalty.zero_threshold(step), dtype=dtype)
    above, below = np.nextafter(threshold, dtype(np.inf)), np.nextafter(threshold, dtype(0.0))
    pieces = penalty.pieces(np.float64(penalty.alpha), np.asarray(penalty.shape)) if penalty.quadratic else []
    special = [dtype(0.0), threshold, above, below, *(dtype(kink) for kink, *_ in pieces if np.isfinite(kink))]
    points = np.concatenate([np.asarray(drawn, dtype), np.asarray(special, dtype)])
    return np.concatenate([points, -points])


def _decided(family, penalty, step, points):
    """Say where rounding of the threshold decides nothing."""
    if family not in LAST_BITS:
        return np.ones(points.shape, bool)
    threshold = penalty.zero_threshold(step)
    return np.abs(np.abs(points) - threshold) > LAST_BITS[family] * np.finfo(points.dtype).eps * threshold


@each_family
@given(
    alpha=st.floats(0.01, 10.0),
    number=st.floats(0.1, 10.0),
    step=st.floats(0.01, 10.0),
    sign=st.booleans(),
    single=st.booleans(),
    drawn=st.lists(st.floats(-30.0, 30.0, width=32), max_size=8),
)
def test_operators_are_those_of_the_compiled_penalties(family, alpha, number, step, sign, single, drawn):
    dtype = np.float32 if single else np.float64
    penalty = FAMILIES[family](alpha, number, sign)
    # The threshold in the precision of the points, as the operator there has it.
    points = _points(penalty, step, drawn, dtype)
    found, expected = prox(torch.from_numpy(points), penalty, step).numpy(), penalty.prox(points, step)
    decided = _decided(family, penalty, step, points)
    if family not in LAST_BITS:
        np.testing.assert_array_equal(found == 0, expected == 0)
    scale = 64 * np.finfo(dtype).eps * (np.abs(points) + 1.0) / _curvature(penalty, step)
    assert found.dtype == dtype
    assert (np.abs(found - expected) <= scale)[decided].all()


def _curvature(penalty, step):
    """Return how steep the equation for a nonzero value is: rounding errors are divided by it."""
    keep = abs(1.0 - step * penalty.weak_convexity()) if np.isfinite(penalty.weak_convexity()) else 1.0
    return min(1.0, max(keep, 1e-3)) ** 2


@each_family
def test_the_operator_on_a_device_is_that_on_the_cpu(family, device):
    penalty, x = FAMILIES[family](0.7, 1.3, False), torch.linspace(-5, 5, 4001, dtype=torch.float64)
    np.testing.assert_allclose(prox(x.to(device), penalty, 0.8).cpu(), penalty.prox(x.numpy(), 0.8), rtol=0, atol=1e-12)


@each_family
def test_gradients_are_those_of_differences(family):
    penalty = FAMILIES[family](0.7, 1.3, False)
    threshold = penalty.zero_threshold(0.8)
    x = torch.tensor([0.3, 0.7, 1.2, 1.9, 3.1, 5.3], dtype=torch.float64) * threshold
    x = torch.cat([x, -x]).requires_grad_()
    step = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, s: prox(a, penalty, s), (x, step))


@each_family
def test_gradients_are_finite_at_zero_and_below_every_threshold(family):
    x = torch.tensor([0.0, 1e-300, -1e-3, 1e-9], dtype=torch.float64, requires_grad=True)
    prox(x, FAMILIES[family](0.7, 1.3, False)).sum().backward()
    assert (x.grad == 0).all()


@each_family
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_are_computed_in_single_precision(family, dtype):
    penalty, x = FAMILIES[family](0.7, 1.3, True), torch.linspace(-5, 5, 301).to(dtype)
    assert torch.equal(prox(x, penalty, 0.5), prox(x.float(), penalty, 0.5).to(dtype))


@each_family
def test_what_is_no_number_stays_so_and_infinity_too(family):
    x = torch.tensor([float("nan"), float("inf"), 2.0], dtype=torch.float64)
    found = prox(x, FAMILIES[family](0.5, 1.3, False))
    assert torch.isnan(found[0])
    assert torch.isinf(found[1])
    assert found[1] > 0


def test_numbers_and_steps_per_feature():
    norms, x = np.array([0.5, 1.0, 2.0]), torch.linspace(-2, 2, 12, dtype=torch.float64).view(4, 3)
    penalty = CEL0(0.5, norms=norms)
    assert torch.equal(prox(x, penalty, 0.3), torch.from_numpy(penalty.prox(x.numpy(), 0.3)))
    steps = torch.tensor([0.1, 1.0, 2.0], dtype=torch.float64)
    columns = [torch.from_numpy(L1(0.5).prox(x[:, i].numpy(), float(s))) for i, s in enumerate(steps)]
    assert torch.equal(prox(x, L1(0.5), steps), torch.stack(columns, 1))


def test_no_strength_is_the_identity():
    x = torch.tensor([-1.0, 0.0, 2.0])
    assert torch.equal(prox(x, MCP(0.0)), x)
    assert torch.equal(prox(x, L1(0.0, positive=True)), x.clamp(min=0.0))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.ones(3), L1(1.0)), TypeError, "x must be a tensor"),
        ((torch.ones(3, dtype=torch.int64), L1(1.0)), TypeError, "x must be a tensor"),
        ((torch.ones(3), "l1"), TypeError, "penalty must be"),
        ((torch.ones(3), L1(1.0), 0.0), ValueError, "step must be"),
        ((torch.ones(3), L1(1.0), torch.tensor([1.0, 0.0, 1.0])), ValueError, "step must be"),
        ((torch.ones(3), CEL0(1.0, norms=[1.0, 2.0])), ValueError, "one per entry of norms"),
    ],
)
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        prox(*arguments)
