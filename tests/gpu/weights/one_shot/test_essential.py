import math

import matplotlib as mpl
import numpy as np
import pytest

from sparsetheory.gpu.weights import essential_sparsity

GRID = [k / 10 for k in range(10)]
# What a sentence encoder showed: flat, then steep.
CURVE = [0.773, 0.768, 0.783, 0.795, 0.782, 0.740, 0.703, 0.581, 0.486, 0.396]


def _table(values):
    return dict(zip(GRID, values, strict=True)).__getitem__


@pytest.mark.parametrize("step", [0.0, 0.05, 0.3, 0.44, 0.9])
def test_a_step_is_found_on_the_grid_and_between(step):
    def evaluate(s):
        return 1.0 if s <= step else 0.0

    assert essential_sparsity(evaluate, GRID).s_star == max(s for s in GRID if s <= step)
    refined = essential_sparsity(evaluate, GRID, resolution=1e-4)
    assert step - 1e-4 <= refined.s_star <= step
    assert list(refined.curve) == sorted(refined.curve)


def test_the_first_failure_ends_the_search():
    bumpy = _table([1.0, 1.0, 0.9, 1.0, 1.0, 0.9, 0.9, 1.0, 0.5, 0.2])
    assert [essential_sparsity(bumpy, GRID, patience=p).s_star for p in range(4)] == [0.1, 0.4, 0.7, 0.7]


def test_relative_and_absolute_tolerance():
    def evaluate(s):
        return 50.0 - 10.0 * s

    assert essential_sparsity(evaluate, GRID, tol=0.05).s_star == 0.2
    assert essential_sparsity(evaluate, GRID, tol=4.5, relative=False).s_star == 0.4
    # Of a negative quality, such as a negative perplexity, the share is one of its size.
    assert essential_sparsity(lambda s: -10.0 - s, GRID, tol=0.05).s_star == 0.5
    assert essential_sparsity(evaluate, GRID, tol=0.0).s_star == 0.0


@pytest.mark.parametrize("transform", [math.exp, math.log, lambda x: x**3, lambda x: -1 / x])
def test_monotone_transforms_have_the_same_s_star(transform):
    tol = 0.01
    wanted = essential_sparsity(_table(CURVE), GRID, tol=tol, relative=False)
    mapped = transform(CURVE[0]) - transform(CURVE[0] - tol)
    found = essential_sparsity(_table([transform(v) for v in CURVE]), GRID, tol=mapped, relative=False)
    assert found.s_star == wanted.s_star == 0.4


def test_kink_and_slopes_of_a_published_kind_of_curve():
    found = essential_sparsity(_table(CURVE), GRID)
    assert 0.4 < found.kink < 0.6
    assert found.slope_ratio > 3
    with pytest.raises(AttributeError):
        found.s_star = 1.0


def test_the_dense_model_is_evaluated_once_and_the_order_does_not_matter():
    calls = []

    def evaluate(s):
        calls.append(s)
        return 1.0 - s**4

    found = essential_sparsity(evaluate, [0.7, 0.2, 0.7, 0.4], tol=0.05)
    assert calls == [0.0, 0.2, 0.4, 0.7]
    assert found.s_star == 0.4
    assert found.curve == {s: 1.0 - s**4 for s in calls}


def test_refinement_adds_points_but_does_not_move_the_kink():
    def evaluate(s):
        return 1.0 - max(s - 0.42, 0.0)

    coarse, fine = (essential_sparsity(evaluate, GRID, tol=0.05, resolution=r) for r in (None, 1e-3))
    assert coarse.kink == fine.kink == pytest.approx(0.42)
    assert fine.s_star == pytest.approx(0.47, abs=1e-3)
    assert len(fine.curve) > len(coarse.curve)
    assert all(np.isnan([essential_sparsity(evaluate, [0.5]).kink, essential_sparsity(evaluate, [0.5]).slope_ratio]))


def test_everything_passes():
    found = essential_sparsity(lambda _: 1.0, GRID, resolution=0.01)
    assert found.s_star == 0.9
    assert math.isnan(found.kink)


def test_plot():
    mpl.use("agg")
    found = essential_sparsity(_table(CURVE), GRID)
    ax = found.plot()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["quality", "essential sparsity 0.4", f"kink {found.kink:.3g}"]
    assert essential_sparsity(lambda _: 1.0, GRID).plot(ax) is ax


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tol": -0.1}, "tol must be"),
        ({"patience": -1}, "patience must be"),
        ({"relative": "yes"}, "relative must be"),
        ({"resolution": 0.0}, "resolution must be"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        essential_sparsity(lambda s: 1.0 - s, GRID, **options)


def test_bad_qualities_and_sparsities():
    with pytest.raises(ValueError, match=r"finite numbers; got nan at sparsity 0\.1"):
        essential_sparsity(lambda s: math.nan if s else 1.0, GRID)
    with pytest.raises(ValueError, match="sparsities must be"):
        essential_sparsity(lambda s: 1.0, [0.5, 1.5])
