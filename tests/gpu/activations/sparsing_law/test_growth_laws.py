import warnings

import numpy as np
import pytest

from sparsetheory.gpu.activations import fit_activation_law

TOKENS = np.linspace(2.0, 330.0, 60)


# Published coefficients of models with ReLU and with SiLU, in billions of tokens.
@pytest.mark.parametrize(("alpha", "b", "c", "a0"), [(0.101, -0.0151, 3.20, 0.0614), (1.01, -3.49, 7.97e-3, 0.0721)])
def test_published_laws_of_relu_are_recovered(alpha, b, c, a0):
    ratio = np.exp(b - c * TOKENS**alpha) + a0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_activation_law(TOKENS, ratio)
    assert fit.a0 == pytest.approx(a0, rel=1e-4)
    assert (fit.alpha, fit.b, fit.c) == pytest.approx((alpha, b, c), rel=0.02, abs=1e-3)
    np.testing.assert_allclose(fit.predict(TOKENS), ratio, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "c", "a0"), [(0.479, 0.102, 0.409), (0.967, 0.538, 0.382)])
def test_published_laws_of_silu_are_recovered(alpha, c, a0):
    ratio = a0 - c * TOKENS**-alpha
    fit = fit_activation_law(TOKENS, ratio, kind="silu")
    assert (fit.alpha, fit.b, fit.c, fit.a0) == pytest.approx((alpha, 0.0, c, a0), rel=1e-6)
    assert fit.predict(1e9) == pytest.approx(a0, rel=1e-3)


def test_a_curve_that_has_not_bent_warns():
    tokens = np.linspace(2.0, 100.0, 40)
    with pytest.warns(UserWarning, match="is below 1: do not trust the limit a0"):
        fit_activation_law(tokens, np.exp(-3.46 - 1.56e-4 * tokens**1.53) + 0.0648)


@pytest.mark.parametrize(
    ("tokens", "ratio", "message"),
    [
        ([1.0, 2.0, 3.0], [0.3, 0.2, 0.1], "tokens must hold at least 4 different amounts"),
        ([1.0, 2.0, 2.0, 3.0], [0.4, 0.3, 0.2, 0.1], "tokens must hold at least 4 different amounts"),
        ([0.0, 1.0, 2.0, 3.0], [0.4, 0.3, 0.2, 0.1], "tokens must be a sequence of finite positive numbers"),
        ([1.0, 2.0, 3.0, 4.0], [0.4, 0.3, np.nan, 0.1], "ratio must be a sequence of finite positive numbers"),
        ([1.0, 2.0, 3.0, 4.0], [0.4, 0.3, 0.1], "tokens and ratio must have equal lengths; got 4 and 3"),
        ([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4], "ratio must follow the law of 'relu' roughly"),
    ],
)
def test_data_that_are_refused(tokens, ratio, message):
    with pytest.raises(ValueError, match=message):
        fit_activation_law(tokens, ratio)
