"""The parts of the outer loop: pruning, change, noise, compatibility, starts, records of rises, certificates."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from bayesian.kron_references import kron, random_problem
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian import SBL, KroneckerSBL
from sparsetheory.bayesian.kronecker.checks import as_tensor
from sparsetheory.bayesian.kronecker.factor_checks import per_mode
from sparsetheory.bayesian.kronecker.support import significant
from sparsetheory.bayesian.sbl.base import cost_rises
from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.bayesian.sbl.pruning import pruned_mask
from sparsetheory.bayesian.sbl.stopping import relative_change
from sparsetheory.bayesian.sbl.updates.coupled_update import coupled_update
from sparsetheory.bayesian.sbl.updates.coupling import usable_factors
from sparsetheory.bayesian.sbl.updates.factor_update import PLAIN_UPDATES, plain_update
from sparsetheory.bayesian.sbl.updates.scaling import balanced, floored


@pytest.mark.parametrize(
    ("relative", "absolute", "kept"),
    [
        (0.0, 0.0, [True, True, True, True]),
        (0.1, 0.0, [True, True, True, False]),
        (0.5, 0.0, [True, True, False, False]),
        (0.0, 1.0, [True, True, True, False]),
        (0.5, 3.0, [True, False, False, False]),
    ],
)
def test_pruning_is_strict(relative, absolute, kept):
    assert pruned_mask(np.array([4.0, 2.0, 1.0, 0.25]), relative, absolute, 0).tolist() == kept


def test_dropped_slices_count_as_zeros(rng):
    old, new = rng.uniform(1, 2, (3, 4)), rng.uniform(1, 2, (2, 3))
    masks = [np.array([True, False, True]), np.array([True, True, False, True])]
    full = np.zeros((3, 4))
    full[np.ix_(*masks)] = new
    expected = np.linalg.norm(full - old) / np.linalg.norm(old)
    assert relative_change(old, new, masks) == pytest.approx(expected)
    assert relative_change(old, old, [np.ones(3, bool), np.ones(4, bool)]) == 0.0


@pytest.mark.parametrize("is_complex", [False, True])
def test_noise_starts_at_a_tenth_of_the_variance(rng, is_complex):
    Y = rng.standard_normal((4, 5)) + (1j * rng.standard_normal((4, 5)) if is_complex else 0) + 3.0
    spread = np.sum(np.abs(Y - Y.mean()) ** 2) / 19
    assert NoiseVariance.of(None, Y).value == pytest.approx(0.1 * spread)
    known = NoiseVariance.of(0.7, Y)
    known.update(5.0)
    assert known.value == 0.7
    # Where there is no variance, a tenth of the mean square.
    assert NoiseVariance.of(None, np.full((2, 2), 2.0)).value == pytest.approx(0.4)
    assert NoiseVariance.of(None, np.array([3.0])).value == pytest.approx(0.9)


def test_noise_warns_once_at_its_floor():
    noise = NoiseVariance.of(None, np.array([1.0, -1.0]))
    with pytest.warns(ConvergenceWarning, match="1e-12 of the mean square"):
        noise.update(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noise.update(0.0)
    assert noise.value == noise.floor == 1e-12
    assert noise.at_floor


def test_compatibility(rng):
    factors = [rng.uniform(0.1, 2, n) * 10.0**k for n, k in ((3, 5), (4, -7), (2, 0))]
    after = balanced(factors)
    np.testing.assert_allclose(kron(after), kron(factors))
    assert [np.linalg.norm(f) for f in after[:-1]] == pytest.approx([1.0, 1.0])
    assert floored(np.array([1.0, 0.0]), 2).tolist() == [1.0, 1e-60]
    # However many modes, a product of one smallest entry per mode stays a normal number.
    assert floored(np.array([1.0, 0.0]), 10)[1] ** 10 > np.finfo(float).tiny


def test_rises_beyond_rounding():
    assert cost_rises([3.0, 2.0, 2.0 + 1e-12, 2.5, 1.0, 1.1]).tolist() == [2, 4]
    assert cost_rises([1.0]).size == 0


def test_significant_coefficients():
    assert significant(np.array([0.0, 1.0, -1e-4, 1j])).tolist() == [1, 3]
    assert significant(np.array([[0.0, 1.0], [0.0, 1e-6]])).tolist() == [0]
    assert significant(np.zeros(3)).size == 0


def test_noise_rules_of_the_updates():
    for name in PLAIN_UPDATES:
        assert plain_update(name).noise_rule == ("mm" if name == "mm" else "em")
        assert plain_update(name).descends is (name != "svd")


def test_starts():
    # The second column of the first mode is zero.
    matrices, sweeps = [np.array([[1.0, 0.0, 1.0]]), np.ones((1, 2))], {"tol": 1e-4, "relative": True, "max_sweeps": 5}
    masks, factors = usable_factors(matrices, [np.array([1.0, 2.0, 0.0]), np.ones(2)], [None, None])
    assert [mask.tolist() for mask in masks] == [[True, False, False], [True, True]]
    assert factors[0].tolist() == [1.0, 2.0, 0.0]
    assert not usable_factors([np.zeros((1, 3)), matrices[1]], [np.ones(3), np.ones(2)], [None, None])[0][0].any()
    couplings = [np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0.0, 0.5, 1.0]]), None]
    latents = [np.array([1.0, 0.0, 0.0]), np.ones(2)]
    masks, _ = usable_factors(matrices, latents, couplings)
    # The third row touches no live latent, the second belongs to a column of zeros.
    assert [mask.tolist() for mask in masks] == [[True, False, False], [True, True]]
    update = coupled_update("mm", couplings, latents, masks, **sweeps)
    assert [z.tolist() for z in update.latents] == [[1.0], [1.0, 1.0]]


def test_one_number_per_mode():
    assert per_mode("x", 0.5, 3) == [0.5, 0.5, 0.5]
    assert per_mode("x", (0.1, 0.2), 2) == [0.1, 0.2]
    with pytest.raises(ValueError, match=r"x must be one number or one per mode \(2\); got 3"):
        per_mode("x", (0.1, 0.2, 0.3), 2)


@pytest.mark.parametrize(("shape", "columns"), [((6,), None), ((6, 4), 4), ((2, 3), None), ((2, 3, 4), 4), ((6, 1), 1)])
def test_layouts(shape, columns):
    tensor = as_tensor(np.ones(shape), (2, 3), "y")
    assert tensor.n_columns == columns
    assert tensor.values.shape == ((2, 3) if columns is None else (2, 3, columns))
    restored = tensor.restore(np.ones((4, 5) if columns is None else (4, 5, columns)), (4, 5))
    assert restored.shape == ((20, columns) if columns else (4, 5) if len(shape) == 2 else (20,))


@pytest.mark.parametrize("shape", [(5,), (3, 2), (6, 0), (1, 6), (2, 3, 4, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"2 \* 3 = 6 entries"):
        as_tensor(np.ones(shape), (2, 3), "y")


@pytest.mark.parametrize("snapshots", [None, 2])
def test_certificates_notice_what_was_changed(rng, snapshots):
    As, y, _, _ = random_problem(rng, 2, True, snapshots, low=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        structured = KroneckerSBL(max_iter=20_000, tol=1e-7).fit(As, y).certificate_
        flat = SBL("mm", max_iter=20_000, tol=1e-7).fit(As, y).certificate_
    assert structured.check(As, y).valid
    assert flat.check(As, y).valid
    doubled = replace(structured, variances=[2 * structured.variances[0], structured.variances[1]])
    assert not doubled.check(As, y).valid
    assert not replace(structured, noise_variance=2 * structured.noise_variance).check(As, y).valid
    assert not replace(flat, variances=2 * flat.variances).check(As, y).valid
    assert not replace(flat, noise_variance=2 * flat.noise_variance).check(As, y).valid
