"""Claims about what the mechanisms cost: users against users, in closed form, and errors against errors."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from hypothesis import strategies as st
from scipy.special import gammaln

from sparsetheory.privacy.collection.noise import ReleaseNoise, release_noise
from sparsetheory.privacy.device.schema import LDPSchema
from sparsetheory.privacy.solvers.weights import balanced_weight
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.local_privacy.simulated_collections import ZERO, Problem, fitted
from sparsetheory.proofs_checks.verdicts import Always, Attains, WithProbability

# Products and ratios of a few factors, one of them the exponential of a difference of logarithms of Gamma functions.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Sizes:
    """Features, privacy and clips of a collection."""

    d: int
    eps: float
    delta: float
    clip_x: float
    clip_entries: float
    clip_y: float

    def noise(self, mechanism: str, weight: float | None = None) -> ReleaseNoise:
        """Return the noise of one user, as the package states it; the best weight by default."""
        gaussian = mechanism in ("gauss_tight", "paper")
        schema = LDPSchema(
            mechanism=mechanism,
            eps=self.eps,
            delta=self.delta if gaussian else 0.0,
            n_features=self.d,
            clip_x=self.clip_x,
            clip_entries=self.clip_entries if mechanism == "paper" else None,
            clip_y=self.clip_y,
        )
        return release_noise(replace(schema, response_weight=weight or balanced_weight(schema, 1.0)))


def _sizes() -> st.SearchStrategy[_Sizes]:
    """Draw sizes at which neither bound follows from the other, and all mechanisms are allowed."""
    return st.builds(
        lambda d, eps, log_delta, wide, power, clip_y: _Sizes(
            d, eps, 10.0**log_delta, wide * math.sqrt(d), wide * d**power, clip_y
        ),
        st.integers(1, 60),
        st.floats(0.2, 1.9),
        st.floats(-9.0, -4.0),
        st.floats(1.0, 4.0),
        st.floats(0.0, 0.5),
        st.floats(0.1, 10.0),
    )


def users_saved(noise: ReleaseNoise, against: ReleaseNoise) -> tuple[float, float]:
    """Return how many times as many users `against` takes, for the same noise of x x^T and of x y."""
    second = (against.off_diagonal_std / noise.off_diagonal_std) ** 2
    return second, (against.cross_std / noise.cross_std) ** 2


def _recipe(sizes: _Sizes) -> tuple[float, float]:
    """Return the variances of the published recipe: two messages, and 8 s^2 log(2.5 / delta) / eps^2 for each."""
    factor = 32 * math.log(2.5 / sizes.delta) / sizes.eps**2
    return factor * sizes.clip_x**4, factor * sizes.d * (sizes.clip_entries * sizes.clip_y) ** 2


def _sphere(sizes: _Sizes, diagonal: float = math.sqrt(2)) -> tuple[float, float]:
    """Return the variances of the sphere mechanism with equal bounds of the second moments and the weighted response.

    All p products form one vector of norm at most the root of two times r^2, and its direction is sent with the
    length B. Off-diagonal products count `diagonal` times, so that the whole has the Frobenius norm.
    """
    p = sizes.d * (sizes.d + 3) / 2
    length = math.sqrt(2 * math.pi) * sizes.clip_x**2 / math.tanh(sizes.eps / 2)
    length *= math.exp(gammaln((p + 1) / 2) - gammaln(p / 2))
    return length**2 / p / diagonal**2, length**2 / p * (sizes.clip_y / sizes.clip_x) ** 2


def _sketch(sizes: _Sizes) -> tuple[float, float]:
    """Return the variances of the sketch of (x, c y), of norm at most r sqrt(1 + tau / r)."""
    ratio = sizes.clip_y / sizes.clip_x
    unit = math.pi / 2 * sizes.clip_x**2 * (1 + ratio) / math.tanh(sizes.eps / 2)
    return unit**2 / 2, unit**2 / 2 * ratio


def _saved(sizes: _Sizes, sphere: tuple[float, float]) -> Measurement:
    recipe, sketch = _recipe(sizes), _sketch(sizes)
    package = sizes.noise("paper")
    weights = {"sphere_joint": 1.0, "sketch": math.sqrt(sizes.clip_y / sizes.clip_x)}
    stated = [users_saved(sizes.noise(mechanism, weight), package) for mechanism, weight in weights.items()]
    derived = [[old / new for old, new in zip(recipe, variances, strict=True)] for variances in (sphere, sketch)]
    return Measurement.worst(np.abs(np.array(stated) / np.array(derived) - 1), 0.0, 1.0)


def _users_saved(sizes: _Sizes) -> Measurement:
    """Compare the users saved, as the package states its noises, with the variances that are derived by hand."""
    return _saved(sizes, _sphere(sizes))


mechanism_users_saved = Claim(
    name="local_privacy.users_saved",
    summary="How many users a bit saves against the published Gaussian recipe, in closed form.",
    statement=r"\frac{n_{\mathrm{recipe}}}{n_{\mathrm{sphere}}} = \frac{32\, r^4 \log(2.5/\delta) / \varepsilon^2}"
    r"{B^2 / (2p)}, \quad B = \sqrt{2\pi}\, r^2 \coth(\tfrac\varepsilon2)"
    r" \tfrac{\Gamma((p+1)/2)}{\Gamma(p/2)}, \quad p = \tfrac{d(d+3)}2",
    source=Source.ours("noises of one user in closed form; Duchi, Jordan and Wainwright for the sphere"),
    verdict=Always(_ROUNDING),
    instances=_sizes,
    evaluate=_users_saved,
    # Without the weights of the Frobenius norm off-diagonal products have twice the variance.
    near_miss=lambda sizes: _saved(sizes, _sphere(sizes, diagonal=1.0)),
)


def _order(sizes: _Sizes) -> Measurement:
    """Compare noises of b - A theta, for coefficients of norm one: one bit against numbers with Gaussian noise.

    With its best weight each mechanism has the least noise that it can have.
    """
    spread = {name: sizes.noise(name).residual_std(1.0) for name in ("sphere_joint", "sketch", "gauss_tight", "paper")}
    return Measurement.chain(
        spread["sphere_joint"],
        spread["sketch"],
        {"calibrated Gaussian": spread["gauss_tight"], "published recipe": spread["paper"]},
    )


def _order_at_large_eps(sizes: _Sizes) -> Measurement:
    """Claim the same for ten times the eps, at which bits saturate and Gaussian noise does not."""
    loose = replace(sizes, eps=10 * sizes.eps)
    sphere, tight = (loose.noise(name).residual_std(1.0) for name in ("sphere_joint", "gauss_tight"))
    return Measurement(sphere, tight)


bits_beat_gaussians = Claim(
    name="local_privacy.bits_beat_gaussians",
    summary="For eps below 2 one bit with delta = 0 has less noise than Gaussian messages with delta above 0.",
    statement=r"\sigma_{\mathrm{sphere}} \le \sigma_{\mathrm{sketch}} \le \sigma_{\mathrm{Gauss}} \le"
    r" \sigma_{\mathrm{recipe}} \text{ for } \varepsilon \le 1.9,\ \delta \le 10^{-4}",
    source=Source.measured("noises of one user in closed form, compared over a grid of sizes"),
    verdict=Always(_ROUNDING),
    instances=_sizes,
    evaluate=_order,
    near_miss=_order_at_large_eps,
)


@dataclass(frozen=True, eq=False)
class _Contest:
    """The published recipe and one bit of every user, for the same coefficients and as many users."""

    problem: Problem
    seed: int

    def _error(self, **changes: object) -> float:
        return fitted(replace(self.problem, **changes), np.random.default_rng(self.seed)).error  # type: ignore[arg-type]

    @cached_property
    def bit(self) -> float:
        """Error of one bit and iterative hard thresholding on the moments."""
        return self._error(mechanism="sphere_joint", solver="moment_iht")

    @cached_property
    def recipe(self) -> float:
        """Error of the recipe: least squares with eigenvalues of at least a tenth, and a threshold for the noise."""
        return self._error(mechanism="paper", solver="ols_soft")

    @cached_property
    def recipe_without_threshold(self) -> float:
        """Error of least squares alone."""
        return self._error(mechanism="paper", solver="ols_soft", alpha=0.0)


def _contests(d: int, k: int) -> Callable[[np.random.Generator, float], _Contest]:
    return lambda rng, n: _Contest(Problem(int(n), d, k, 1.0, "paper"), int(rng.integers(2**32)))


def _bit_wins(contest: _Contest) -> Measurement:
    """Compare the error from one bit of every user with the lesser of two: that of the recipe, and that of zero."""
    without = contest.recipe_without_threshold
    return Measurement(contest.bit, min(contest.recipe, 1.0), extras={"recipe without a threshold": without, ZERO: 1.0})


def _contest_claim(name: str, d: int, k: int, users: tuple[float, ...], near_miss: float) -> Claim:
    return Claim(
        name=f"local_privacy.{name}",
        summary=f"One bit of each of 1e{math.log10(users[0]):.0f} users beats recipe and zero: {d} features, eps = 1.",
        statement=r"\|\hat\theta_{\mathrm{bit}} - \theta^*\| < \min(\|\hat\theta_{\mathrm{recipe}} - \theta^*\|,"
        rf" \|\theta^*\|) \text{{ for }} d = {d},\ k = {k},\ \varepsilon = 1",
        source=Source.measured("the sphere mechanism with iterative hard thresholding against the published recipe"),
        verdict=WithProbability(0.95),
        evaluate=_bit_wins,
        near_miss=near_miss,
        sweep=Sweep(
            axis="users n",
            values=users,
            draw=_contests(d, k),
            trials=200,
            quick_trials=40,
            log="xy",
            measured_label="error from one bit of each",
            bound_label="the lesser of recipe and zero",
            y_label="error",
        ),
    )


bit_against_recipe = _contest_claim("bit_against_recipe", 20, 3, (1e6, 1e7, 1e8), 0.1)
bit_against_recipe_wide = _contest_claim("bit_against_recipe_wide", 100, 5, (1e8, 1e9), 0.05)


def _recipe_is_useless(contest: _Contest) -> Measurement:
    """Compare the error of the recipe with 0.99 of that of zero, with its threshold or without, whichever is better.

    The threshold knows the noise, exceeds all coefficients, and so answers zero. Without it least squares returns the
    noise.
    """
    without = contest.recipe_without_threshold
    return Measurement(min(contest.recipe, without), 0.99, extras={"without a threshold": without, ZERO: 1.0})


recipe_is_useless = Claim(
    name="local_privacy.recipe_is_useless",
    summary="With 20 features and eps = 1 the published recipe is no better than answering zero up to 2e7 users.",
    statement=r"\|\hat\theta_{\mathrm{recipe}} - \theta^*\| \ge 0.99\, \|\theta^*\| \text{ for } n \le 2 \cdot 10^7,"
    r"\ d = 20,\ k = 3,\ \varepsilon = 1",
    source=Source.measured("the published recipe at practical numbers of users"),
    verdict=Attains(0.9),
    evaluate=_recipe_is_useless,
    near_miss=lambda contest: Measurement(contest.bit, 0.99),
    sweep=Sweep(
        axis="users n",
        values=(1e6, 3e6, 1e7, 2e7),
        draw=_contests(20, 3),
        trials=200,
        quick_trials=40,
        log="xy",
        measured_label="error of the recipe",
        bound_label="0.99",
        y_label="error",
    ),
)
