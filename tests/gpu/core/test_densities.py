import math

import numpy as np
import pytest

from sparsetheory.gpu.core.densities import (
    er_densities,
    erk_densities,
    uniform_densities,
    uniform_plus_densities,
)


def water_filling(shapes, density, kernels):
    """The published loop: solve for the common factor, make the layers of the largest share dense, again until none."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {}
    for name, shape in shapes.items():
        dims = shape if kernels else shape[:2]
        raw[name] = sum(dims) / math.prod(dims)
    dense = set()
    while True:
        sparse = [name for name in shapes if name not in dense]
        budget = density * sum(sizes.values()) - sum(sizes[name] for name in dense)
        factor = budget / sum(raw[name] * sizes[name] for name in sparse)
        largest = max(raw[name] for name in sparse)
        if factor * largest <= 1:
            return {name: 1.0 if name in dense else factor * raw[name] for name in shapes}
        dense |= {name for name in sparse if raw[name] == largest}


def _shapes(rng):
    shapes = {}
    for i in range(int(rng.integers(1, 16))):
        shape = [int(x) for x in np.exp(rng.uniform(0, 7, size=2)).astype(int) + 1]
        if rng.random() < 0.5:
            shape += [int(x) for x in rng.integers(1, 8, size=2)]
        shapes[f"layer{i}"] = tuple(shape)
    return shapes


def _sizes(shapes):
    return {name: math.prod(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(("rule", "kernels"), [(er_densities, False), (erk_densities, True)])
def test_closed_form_is_the_published_loop(rule, kernels):
    rng = np.random.default_rng(0)
    saturated = set()
    for _ in range(700):
        shapes = _shapes(rng)
        density = float(rng.choice([rng.random(), 10 ** rng.uniform(-6, 0), 1 - 10 ** rng.uniform(-9, 0)]))
        density = min(max(density, 1e-6), 1 - 1e-9)
        found, wanted = rule(shapes, density), water_filling(shapes, density, kernels)
        sizes = _sizes(shapes)
        total = sum(sizes.values())
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
        assert math.fsum(sizes[k] * d for k, d in found.items()) == pytest.approx(density * total, rel=1e-12)
        assert all(0 < d <= 1 for d in found.values())
        saturated.add(sum(d == 1 for d in found.values()))
    assert len(saturated) > 8


def test_dense_layers_are_those_whose_share_reaches_one():
    rng = np.random.default_rng(1)
    for _ in range(200):
        shapes = _shapes(rng)
        found = erk_densities(shapes, float(rng.uniform(0.05, 0.9)))
        raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
        sparse = [name for name in shapes if found[name] < 1]
        if sparse:
            factor = found[sparse[0]] / raw[sparse[0]]
            assert all((factor * raw[k] >= 1 - 1e-12) == (found[k] >= 1 - 1e-12) for k in shapes)


def test_densities_neither_depend_on_the_order_nor_fall_with_the_budget():
    rng = np.random.default_rng(2)
    for _ in range(100):
        shapes = _shapes(rng)
        turned = {name: shapes[name] for name in rng.permutation(list(shapes))}
        low, high = sorted(rng.uniform(0.01, 1, size=2).tolist())
        assert er_densities(turned, low) == pytest.approx(er_densities(shapes, low), rel=1e-12)
        less, more = erk_densities(shapes, low), erk_densities(shapes, high)
        assert all(less[name] <= more[name] * (1 + 1e-12) for name in shapes)


def test_kernels_do_not_matter_to_linear_layers():
    shapes = {"a": (256, 64), "b": (256, 256), "c": (10, 256)}
    for density, wanted in ((0.05, (0.075, 0.030, 0.400)), (0.2, (0.337, 0.135, 1)), (0.5, (0.931, 0.373, 1))):
        found = er_densities(shapes, density)
        assert list(found.values()) == pytest.approx(wanted, abs=5e-4)
        assert found == erk_densities(shapes, density)


@pytest.mark.parametrize("rule", [uniform_densities, er_densities, erk_densities])
def test_density_one_is_dense(rule):
    assert rule({"a": (3, 7, 3, 3), "b": (2, 3)}, 1.0) == {"a": 1.0, "b": 1.0}


def test_fixed_layers_keep_their_density_and_the_whole_its_budget():
    rng = np.random.default_rng(3)
    shapes = {"a": (30, 40, 3, 3), "b": (64, 32), "head": (10, 64)}
    sizes = _sizes(shapes)
    for density in rng.uniform(0.1, 0.9, size=50):
        found = erk_densities(shapes, float(density), fixed={"head": 1.0})
        assert found["head"] == 1
        assert math.fsum(sizes[k] * d for k, d in found.items()) == pytest.approx(density * sum(sizes.values()))
        rest = {k: s for k, s in shapes.items() if k != "head"}
        left = (density * sum(sizes.values()) - sizes["head"]) / sum(_sizes(rest).values())
        assert {k: found[k] for k in rest} == pytest.approx(erk_densities(rest, left))


def test_power_zero_limit_is_uniform_and_powers_sharpen():
    shapes = {"a": (100, 100), "b": (50, 20)}
    nearly = er_densities(shapes, 0.1, power=1e-12)
    assert nearly == pytest.approx({"a": 0.1, "b": 0.1})
    assert er_densities(shapes, 0.1, power=2.0)["b"] > er_densities(shapes, 0.1)["b"] > 0.1


@pytest.mark.parametrize(("density", "head"), [(0.15, 0.2), (0.5, None)])
def test_uniform_plus_meets_the_budget(density, head):
    shapes = {"first": (16, 3, 3, 3), "mid": (64, 64), "head": (10, 64)}
    sizes = _sizes(shapes)
    found = uniform_plus_densities(shapes, density, first="first", head="head")
    assert found["first"] == 1
    assert math.fsum(sizes[k] * d for k, d in found.items()) == pytest.approx(density * sum(sizes.values()), rel=1e-12)
    if head is None:
        assert found["head"] == found["mid"] >= 0.2
    else:
        assert found["head"] == head > found["mid"]


SHAPES = {"a": (20, 10), "b": (5, 20)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: er_densities(SHAPES, 0.0), r"density must be a number in \(0, 1\]; got 0.0"),
        (lambda: erk_densities(SHAPES, 1.1), r"density must be a number in \(0, 1\]"),
        (lambda: erk_densities({}, 0.5), "got no layer"),
        (lambda: erk_densities({"a": (0, 3)}, 0.5), "layers with entries; got a"),
        (lambda: er_densities({"a": (7,)}, 0.5), r"shapes must have outputs and inputs; a has \(7,\)"),
        (lambda: er_densities(SHAPES, 0.2, fixed={"b": 1.0}), "density must be above 0.333333 .* as b have densities"),
        (lambda: er_densities(SHAPES, 0.9, fixed={"b": 0.1}), "at most 0.7"),
        (lambda: er_densities(SHAPES, 0.5, fixed={"c": 0.1}), "fixed must name layers of shapes; got 'c'"),
        (lambda: er_densities(SHAPES, 0.5, power=0.0), "power must be a finite positive number"),
        (lambda: uniform_plus_densities(SHAPES, 0.5, first="a", head="c"), "head must be a layer of shapes; got 'c'"),
        (lambda: uniform_plus_densities(SHAPES, 0.5, first="a", head="a"), "two layers"),
        (lambda: uniform_plus_densities(SHAPES, 0.5, first="a", head="b"), "density must be above 0.666667"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
