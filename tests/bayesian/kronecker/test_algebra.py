"""Products with Kronecker matrices."""

import numpy as np
import pytest
from bayesian.kron_references import kron, random_problem

from sparsetheory.bayesian import kron_matvec, mode_product
from sparsetheory.bayesian.kronecker.algebra import contract, mode_products, outer_product, squared_modulus


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_matvec_equals_the_kronecker_matrix(rng, d, is_complex):
    As, y, _, _ = random_problem(rng, d, is_complex)
    A = kron(As)
    x = rng.standard_normal(A.shape[1])
    np.testing.assert_allclose(kron_matvec(As, x), A @ x, atol=1e-12)
    np.testing.assert_allclose(kron_matvec(As, y, adjoint=True), A.conj().T @ y, atol=1e-12)


def test_layouts_are_kept(rng):
    As = [rng.standard_normal((2, 3)), rng.standard_normal((4, 5))]
    x = rng.standard_normal((15, 6))
    flat = kron_matvec(As, x)
    assert flat.shape == (8, 6)
    np.testing.assert_allclose(flat, kron(As) @ x, atol=1e-12)
    assert kron_matvec(As, x[:, 0].reshape(3, 5)).shape == (2, 4)
    np.testing.assert_allclose(kron_matvec(As, x.reshape(3, 5, 6)), flat)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_precision_is_kept(rng, dtype):
    As = [rng.standard_normal((2, 3)).astype(dtype), rng.standard_normal((4, 5)).astype(dtype)]
    assert kron_matvec(As, np.ones(15, dtype)).dtype == dtype
    assert kron_matvec([A.real.astype(int) for A in As], np.ones(15, int)).dtype == np.float64


def test_mode_product_is_tensordot(rng):
    T = rng.standard_normal((3, 4, 5))
    for mode in (-1, 0, 1, 2):
        A = rng.standard_normal((6, T.shape[mode]))
        expected = np.moveaxis(np.tensordot(A, T, axes=(1, mode)), 0, mode)
        np.testing.assert_allclose(mode_product(T, A, mode), expected, atol=1e-12)
        np.testing.assert_allclose(mode_product(np.asfortranarray(T), A, mode), expected, atol=1e-12)


def test_contractions(rng):
    T, weights = rng.standard_normal((3, 4, 5)), [rng.standard_normal(n) for n in (3, 4, 5)]
    np.testing.assert_allclose(contract(T, weights, 1), np.einsum("ijk,i,k->j", T, weights[0], weights[2]))
    np.testing.assert_allclose(outer_product(weights), np.einsum("i,j,k->ijk", *weights))
    np.testing.assert_allclose(squared_modulus(np.array([3 + 4j])), [25.0])
    snapshots = mode_products(rng.standard_normal((3, 4, 7)), [np.ones((2, 3)), np.ones((5, 4))])
    assert snapshots.shape == (2, 5, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), np.ones((2, 3)), 0), r"A must have shape \(M, 2\) for mode 0"),
        ((np.ones((2, 3)), np.ones(3), 1), "A must have shape"),
        ((np.ones((2, 3)), np.ones((2, 3)), 2), "mode must be an integer from -2 to 1; got 2"),
    ],
)
def test_bad_mode_products(arguments, message):
    with pytest.raises(ValueError, match=message):
        mode_product(*arguments)


@pytest.mark.parametrize(
    ("As", "x", "message"),
    [
        ([], np.ones(1), "at least one mode dictionary"),
        (np.ones((2, 3)), np.ones(3), r"put a single matrix into a list"),
        (3, np.ones(3), "a sequence of mode dictionaries; got int"),
        ([np.ones((2, 3)), np.ones(3)], np.ones(9), "mode 1 must be a matrix"),
        ([np.ones((0, 3))], np.ones(3), "mode 0 must have rows and columns"),
        ([np.array([[np.nan]])], np.ones(1), "mode 0 must be finite"),
        ([np.array([["a"]])], np.ones(1), "mode 0 must be an array of numbers"),
        ([np.ones((2, 3)), np.ones((2, 2))], np.ones(5), r"3 \* 2 = 6 entries.*columns.*C order.*\(5,\)"),
        ([np.ones((2, 3))], np.array([1.0, np.inf, 1.0]), "x must be finite"),
    ],
)
def test_bad_vectors(As, x, message):
    with pytest.raises(ValueError, match=message):
        kron_matvec(As, x)
