"""Scales of messages and gains of PrivUnit against published digits and exact binomial coefficients."""

import math
from fractions import Fraction

import pytest

from sparsetheory.privacy import cube_scale, privunit_params, sketch_scale, sphere_scale
from sparsetheory.privacy.randomizers.scales import keep_factor

BAD_EPS = [0.0, -1.0, 20.1, 1e-10, math.nan, math.inf, "1", None, True]
BAD_RADII = [0.0, -1.0, math.nan, math.inf, "1", None, True]


@pytest.mark.parametrize(
    ("p", "scale"),
    [
        (1, "2.163953414"),
        (2, "3.399130074"),
        (3, "4.327906827"),
        (10, "8.365046666"),
        (50, "19.08189580"),
        (1000, "85.74311790"),
    ],
)
def test_sphere_scales(p, scale):
    assert f"{sphere_scale(p, 1.0):#.10g}" == scale
    assert sphere_scale(p, 1.0, 3.5) == pytest.approx(3.5 * sphere_scale(p, 1.0), rel=1e-15)


@pytest.mark.parametrize(("d", "scale"), [(2, "3.328"), (4, "4.771"), (10, "7.793"), (100, "26.189")])
def test_cube_scales(d, scale):
    assert f"{cube_scale(d, 1.0):.3f}" == scale


@pytest.mark.parametrize("d", [1, 2, 3, 8, 9, 101, 1000, 1001, 5000])
@pytest.mark.parametrize("eps", [0.01, 1.0, 8.0])
def test_cube_scales_against_binomial_coefficients(d, eps):
    coth = Fraction(1 / math.tanh(eps / 2))
    if d % 2:
        exact = coth * Fraction(2 ** (d - 1), math.comb(d - 1, (d - 1) // 2))
    else:
        exact = coth * Fraction(2**d, math.comb(d, d // 2)) - 1
    # Differences of logarithms of factorials, which are about d log d.
    assert cube_scale(d, eps, 2.0) == pytest.approx(2 * float(exact), rel=1e-15 * (10 + 4 * d * math.log(d + 1)))


@pytest.mark.parametrize("p", [1, 2, 5, 50, 10_000, 10**7])
def test_sphere_scales_lie_between_bounds_of_gamma_functions(p):
    """Watson (1959): sqrt(x + 1/4) < Gamma(x + 1) / Gamma(x + 1/2) <= sqrt(x + 1/pi) for x = (p - 1) / 2."""
    scale = sphere_scale(p, 1.0) * math.tanh(0.5) / math.sqrt(math.pi)
    x = (p - 1) / 2
    rounding = 1e-15 * (10 + p * math.log(p + 1))
    assert math.sqrt(x + 0.25) * (1 - rounding) <= scale <= math.sqrt(x + 1 / math.pi) * (1 + rounding)


def test_sketch_scale():
    assert sketch_scale(1.0, 2.0) == pytest.approx(2 * math.pi / math.tanh(0.5), rel=1e-15)


@pytest.mark.parametrize(("eps", "gain"), [(0.5, "1.04"), (1.0, "1.16"), (2.0, "1.67"), (4.0, "3.88"), (8.0, "11.8")])
def test_gains_of_privunit(eps, gain):
    sphere = 1 / sphere_scale(1000, eps)
    found = (privunit_params(1000, eps).shrinkage / sphere) ** 2
    assert f"{found:.3g}" == gain


@pytest.mark.parametrize("p", [2, 3, 20, 1000, 10**5])
@pytest.mark.parametrize("eps", [0.5, 2.0, 8.0, 20.0])
def test_privunit_is_private_and_no_worse_than_half_of_the_sphere(p, eps):
    cap = privunit_params(p, eps)
    inside, outside = cap.cap_probability / (1 - cap.outside), (1 - cap.cap_probability) / cap.outside
    assert inside / outside == pytest.approx(math.exp(eps), rel=1e-6)
    assert cap.shrinkage * sphere_scale(p, eps) >= 1 - 1e-9
    assert 0 <= cap.cap_cosine < 1


@pytest.mark.parametrize("eps", BAD_EPS)
def test_bad_eps(eps):
    for call in (
        keep_factor,
        sketch_scale,
        *(lambda e, f=f: f(3, e) for f in (sphere_scale, cube_scale, privunit_params)),
    ):
        with pytest.raises(ValueError, match=r"eps must be a number in \[1e-09, 20\]"):
            call(eps)


@pytest.mark.parametrize("radius", BAD_RADII)
def test_bad_radii(radius):
    for call in (lambda r: sphere_scale(3, 1.0, r), lambda r: cube_scale(3, 1.0, r), lambda r: sketch_scale(1.0, r)):
        with pytest.raises(ValueError, match="radius must be a finite positive number"):
            call(radius)


@pytest.mark.parametrize("size", [0, -1, 2.0, "3", None, True])
def test_bad_sizes(size):
    for scale in (sphere_scale, cube_scale, privunit_params):
        with pytest.raises(ValueError, match="n_features must be an integer"):
            scale(size, 1.0)
    with pytest.raises(ValueError, match="n_features must be an integer from 2"):
        privunit_params(1, 1.0)
