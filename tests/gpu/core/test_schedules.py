import math
from itertools import pairwise

import numpy as np
import pytest

from sparsetheory.gpu.core.schedules import (
    Constant,
    Cosine,
    Cubic,
    Exponential,
    Linear,
    MaskDecay,
    SineStages,
)

ENDS = [(0.3, 0.0), (0.5, 0.005), (0.1, 0.7), (1e-3, 0.1)]


@pytest.mark.parametrize("kind", [Cosine, Linear, Exponential, Cubic])
@pytest.mark.parametrize(("start", "end"), ENDS)
@pytest.mark.parametrize("total", [1, 7, 300])
def test_paths_have_exact_ends_and_are_monotone(kind, start, end, total):
    end = end or (1e-6 if kind is Exponential else 0.0)
    path = kind(start, total, end)
    values = [path(step) for step in range(total + 5)]
    assert path(-1) == values[0] == start
    assert values[total:] == [end] * 5
    assert all((b - a) * (end - start) >= -1e-16 for a, b in pairwise(values))


@pytest.mark.parametrize("step", [1, 13, 40, 99])
def test_paths_are_their_formulas(step):
    part = step / 100
    assert Cosine(0.3, 100)(step) == pytest.approx(0.15 * (1 + math.cos(math.pi * part)), rel=1e-15)
    assert Cosine(0.5, 100, 0.005)(step) == pytest.approx(0.005 + 0.2475 * (1 + math.cos(math.pi * part)), rel=1e-14)
    assert Linear(2.0, 100, 1.0)(step) == pytest.approx(2 - part, rel=1e-15)
    # The penalties of an iteration that goes from 0.03 to 1 in 100 values.
    assert Exponential(0.03, 100, 1.0)(step) == pytest.approx(0.03 * (1 / 0.03) ** part, rel=1e-14)
    assert Constant(0.2)(step) == 0.2


def test_cubic_is_flat_at_its_two_ends():
    sparsity = Cubic(0.1, 500, 0.9, warmup=0.1, cooldown=0.4)
    assert [sparsity(step) for step in (0, 49, 50)] == [0.1] * 3
    assert [sparsity(step) for step in (300, 301, 999)] == [0.9] * 3
    for step in range(51, 300):
        assert sparsity(step) == pytest.approx(0.9 - 0.8 * (1 - (step - 50) / 250) ** 3, rel=1e-14)
    assert sparsity(51) > 0.1
    assert sparsity(299) < 0.9


def test_sine_stages_reach_their_peaks_with_zero_slope():
    peaks, ends = (5e-3, 5e-2, 5e-2, 2e-1, 2e-1), (6000, 10_000, 12_000, 16_000, 16_500)
    strength = SineStages(peaks, ends)
    assert [strength(end) for end in ends] == list(peaks)
    assert {strength(step) for step in range(0, 6001, 500)} == {5e-3}
    assert {strength(step) for step in range(10_000, 12_001, 100)} == {5e-2}
    assert strength(10**6) == 2e-1
    values = np.array([strength(step) for step in range(17_000)])
    assert np.all(np.diff(values) >= 0)
    # Continuous, and flat on both sides of each end: the first step moves by pi^2 / 4 (step / length)^2 of the rise.
    assert np.diff(values).max() < math.pi / 2 * 0.15 / 4000 * 1.001
    for end in ends[:-1]:
        assert abs(values[end + 1] - values[end]) < 3 * 0.15 / 2000**2
        assert abs(values[end] - values[end - 1]) < 3 * 0.15 / 2000**2
    # The published form of the same curve.
    for step in range(6001, 10_000, 371):
        eta = 0.5 * (math.sin(-math.pi / 2 + math.pi * (step - 6000) / 4000) + 1)
        assert strength(step) == pytest.approx(5e-3 + eta * 4.5e-2, rel=1e-12)


def test_mask_decay_starts_at_one_and_ends_at_zero():
    linear, exponential = MaskDecay("linear", 1e-2, start=20), MaskDecay("exp", 1e-2, start=20, end=300)
    for decay in (linear, exponential):
        values = [decay(step) for step in range(400)]
        assert values[:21] == [1.0] * 21
        assert all(0 <= b <= a for a, b in pairwise(values))
        assert values[300:] == [0.0] * 100
    assert linear(70) == 0.5
    assert linear(120) == 0.0
    assert exponential(299) == math.exp(-2.79)
    assert MaskDecay("exp", 1e-2)(10_000) > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cosine(0.3, 0), "total must be an integer from 1"),
        (lambda: Cosine(float("nan"), 5), "start must be a finite number"),
        (lambda: Exponential(1.0, 5, 0.0), "end must be a finite positive number"),
        (lambda: Cubic(0.0, 5, 1.0, warmup=0.5, cooldown=0.5), r"warmup \+ cooldown must be below 1; got 0.5 \+ 0.5"),
        (lambda: SineStages((0.1,), (1, 2)), "one entry a stage; got 1 and 2"),
        (lambda: SineStages((), ()), "got 0 and 0"),
        (lambda: SineStages((0.2, 0.1), (1, 2)), "peaks must not decrease"),
        (lambda: SineStages((0.1, 0.2), (2, 2)), r"ends must increase; got \(2, 2\)"),
        (lambda: SineStages((0.0, 0.2), (1, 2)), r"peaks\[0\] must be a finite positive number"),
        (lambda: MaskDecay("linear", 0.0), "rate must be a finite positive number"),
        (lambda: MaskDecay("cosine", 0.1), "kind must be one of 'linear', 'exp'"),
        (lambda: MaskDecay("exp", 0.1, start=5, end=3), "end must be None or an integer from 5"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
