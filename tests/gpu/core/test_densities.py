import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.gpu.core.densities import (
    er_densities,
    erk_densities,
    integer_budget,
    random_masks,
    uniform_densities,
    uniform_plus_densities,
)
from sparsetheory.gpu.core.masks import MaskSet


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


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 1000)), min_size=1, max_size=15))
def test_integer_budget_sums_to_the_total(layers):
    sizes = {str(i): size for i, (size, _) in enumerate(layers)}
    densities = {str(i): part / 1000 for i, (_, part) in enumerate(layers)}
    total = round(sum(size * part for size, part in layers) / 1000)
    counts = integer_budget(sizes, densities, total)
    assert sum(counts.values()) == total
    for i, (size, part) in enumerate(layers):
        assert size * part // 1000 <= counts[str(i)] <= min(size, size * part // 1000 + 1)


def test_integer_budget_serves_the_largest_parts_and_then_the_first_layers():
    sizes = {"a": 10, "b": 10, "c": 10}
    assert integer_budget(sizes, {"a": 0.12, "b": 0.18, "c": 0.12}, 4) == {"a": 1, "b": 2, "c": 1}
    assert integer_budget(sizes, {"a": 0.15, "b": 0.15, "c": 0.15}, 4) == {"a": 2, "b": 1, "c": 1}
    assert integer_budget({"a": 1, "b": 10}, {"a": 1.0, "b": 0.15}, 2) == {"a": 1, "b": 1}


def test_fifteen_odd_layers_sum_to_the_rounded_budget():
    shapes = {str(i): (2 * i + 3, 7 * i + 5) for i in range(15)}
    total = sum(_sizes(shapes).values())
    for density in np.linspace(0.011, 0.99, 80).tolist():
        for rule in (uniform_densities, er_densities):
            masks = random_masks(shapes, rule(shapes, density), 0)
            assert abs(masks.n_nonzero - density * total) <= 0.5 + 1e-9


def test_half_an_entry_is_rounded_to_even_whatever_the_rounding_of_the_densities():
    # 4.5 entries of 9, 10.5 of 21, 31.5 of 63; the shares of er_densities sum to that up to rounding.
    for shapes in ({"a": (3, 1), "b": (2, 3)}, {"a": (3, 3), "b": (4, 3)}, {"a": (3, 7), "b": (6, 7)}):
        total = sum(_sizes(shapes).values())
        assert random_masks(shapes, er_densities(shapes, 0.5), 0).n_nonzero == round(total / 2)


def test_masks_are_those_of_the_seed_and_spread_over_all_positions():
    shapes, densities = {"a": (4, 5), "b": (6,)}, {"a": 0.25, "b": 0.5}
    assert random_masks(shapes, densities, 3) == random_masks(shapes, densities, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(0)
    mean = sum(random_masks(shapes, densities, generator)["a"].double() for _ in range(2000)) / 2000
    assert float((mean - 0.25).abs().max()) < 6 * math.sqrt(0.25 * 0.75 / 2000)


def test_bernoulli_masks_have_random_counts_of_the_right_mean():
    generator = torch.Generator().manual_seed(0)
    counts = [random_masks({"a": (50, 40)}, {"a": 0.1}, generator, exact=False).n_nonzero for _ in range(400)]
    deviation = math.sqrt(2000 * 0.1 * 0.9)
    assert abs(np.mean(counts) - 200) < 5 * deviation / 20
    assert np.std(counts) == pytest.approx(deviation, rel=0.2)


@pytest.mark.parametrize("exact", [True, False])
def test_min_fan_in_leaves_no_row_without_inputs(exact):
    for seed in range(20):
        shapes = {"a": (32, 4, 3, 3), "b": (7, 9)}
        masks = random_masks(shapes, {"a": 0.06, "b": 0.3}, seed, exact=exact, min_fan_in=2)
        assert all(int(mask.flatten(1).sum(1).min()) >= 2 for mask in masks.values())
        if exact:
            assert masks.n_nonzero == round(0.06 * 1152 + 0.3 * 63)


def test_random_masks_of_no_layers_and_of_scalars():
    assert random_masks({}, {}, 0) == MaskSet({})
    assert random_masks({"a": ()}, {"a": 1.0}, 0)["a"].tolist() is True


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
        (lambda: integer_budget({"a": 4}, {"a": 0.5}, 4), "total must be from 2 to 3"),
        (lambda: integer_budget({"a": 4}, {"b": 0.5}, 2), "densities must be given for a; got b"),
        (lambda: integer_budget({"a": 4}, {"a": 1.5}, 2), r"densities\['a'\] must be a number in \[0, 1\]"),
        (lambda: random_masks(SHAPES, {"a": 0.1, "b": 0.1}, 0, min_fan_in=2), "at least 0.2 for a to keep 2"),
        (lambda: random_masks(SHAPES, {"a": 1.0, "b": 0.1}, 0, min_fan_in=11), "at most 10, the inputs of a; got 11"),
        (lambda: random_masks(SHAPES, {"a": 0.1}, 0), "densities must be given for a, b; got a"),
        (lambda: random_masks(SHAPES, {"a": 0.1, "b": 0.1}, -1), "generator must be None, an int of at least 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
