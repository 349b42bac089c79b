"""Claims about greedy selection from unit columns."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.regression import theory
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.greedy.stepwise import forward_path
from sparsetheory.typing import Float64Array

_RATES = "DeVore, Temlyakov (1996); Barron, Cohen, Dahmen, DeVore (2008)"
# Residuals of up to 40 orthogonalised steps on 60 rows.
_ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class _Selection:
    """Unit columns, a combination of them, and a response near it."""

    V: Float64Array
    z: Float64Array
    noise: Float64Array
    frozen: bool


def _draw(kind: str, n: int, d: int, seed: int, noise: float, frozen: bool) -> _Selection:
    rng = np.random.default_rng(seed)
    if kind == "orthonormal":
        V = np.linalg.qr(rng.standard_normal((n, n)))[0]
        z = np.ones(n)
    else:
        V = rng.standard_normal((n, d)) + (3.0 if kind == "correlated" else 0.0) * rng.standard_normal((n, 1))
        V /= np.linalg.norm(V, axis=0)
        z = rng.standard_normal(d) * (rng.random(d) < 0.2)
    return _Selection(np.asfortranarray(V), z, noise * rng.standard_normal(n), frozen)


def _selections() -> st.SearchStrategy[_Selection]:
    return st.builds(
        _draw,
        st.sampled_from(["gaussian", "correlated", "orthonormal"]),
        st.integers(20, 60),
        st.integers(20, 80),
        st.integers(0, 2**32 - 1),
        st.sampled_from([0.0, 0.1, 1.0]),
        st.booleans(),
    )


def _residuals(V: Float64Array, y: Float64Array, frozen: bool) -> Float64Array:
    """Return residual norms after 0, 1, ... steps, for orthogonal matching pursuit or forward selection."""
    steps = V.shape[0] * 2 // 3
    path = forward_path(Columns(V), y, np.einsum("ij,ij->j", V, V), max_steps=steps, fixed_norms=frozen)
    return np.sqrt(np.maximum(path.rss, 0.0))


def _noiseless(selection: _Selection, power: float = 0.5) -> Measurement:
    """Compare residuals of an exact combination with its l1 norm over the root of steps plus one."""
    f = selection.V @ selection.z
    residuals = _residuals(selection.V, f, selection.frozen)
    norm = float(np.abs(selection.z).sum())
    bounds = np.array([theory.greedy_bound(norm, t) for t in range(residuals.size)])
    faster = norm * (bounds / max(norm, 1e-300)) ** (power / 0.5)
    return Measurement.worst(residuals, faster, max(norm, 1e-12))


greedy_noiseless = Claim(
    name="random_supports.greedy_noiseless",
    summary="Without noise the residual of greedy selection falls like one over the root of the steps.",
    statement=r"\|r_t\| \le \|z\|_1 / \sqrt{t + 1} \text{ for } y = Vz",
    source=Source.classic(_RATES, "rate of orthogonal greedy algorithms"),
    verdict=Always(_ROUNDING),
    instances=_selections,
    evaluate=_noiseless,
    near_miss=lambda selection: _noiseless(selection, power=0.75),
)


def _noisy(selection: _Selection, power: float = 1.0) -> Measurement:
    """Compare squared residuals of any response with those of any combination plus its squared l1 norm over steps."""
    f = selection.V @ selection.z
    residuals = _residuals(selection.V, f + selection.noise, selection.frozen)[1:]
    norm, t = float(np.abs(selection.z).sum()), np.arange(1, residuals.size + 1)
    bounds = selection.noise @ selection.noise + 4 * norm**2 / t**power
    return Measurement.worst(residuals**2, bounds, max(float(selection.noise @ selection.noise), norm**2, 1e-12))


greedy_noisy = Claim(
    name="random_supports.greedy_noisy",
    summary="Greedy selection fits as well as any combination, up to its squared l1 norm over the steps.",
    statement=r"\|r_t\|^2 \le \|y - Vz\|^2 + 4 \|z\|_1^2 / t \text{ for every } z",
    source=Source.classic(_RATES, "oracle inequality of orthogonal greedy algorithms"),
    verdict=Always(_ROUNDING),
    instances=_selections,
    evaluate=_noisy,
    # The rate 2 |z| / t of the norm, not of its square.
    near_miss=lambda selection: _noisy(selection, power=2.0),
)
