"""The claim that no protocol beats the explicit lower bound, and how little a protocol has to gain by cheating."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.privacy.device.coin import keep_threshold
from sparsetheory.privacy.planning.bounds import information_contraction, nldp_lower_bound
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.local_privacy.simulated_collections import ZERO
from sparsetheory.proofs_checks.verdicts import Attains
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["HardProblem", "coin_contrast", "least_users", "lower_bound"]

# Features and non-zero coefficients; the theorem needs eight features or more for every non-zero.
_SIZES = ((16, 2), (64, 2), (64, 8), (256, 4))


def least_users(d: int, k: int, eps: float) -> int:
    """Return the number of users from which on the bound falls with their number."""
    return math.ceil(d * k**2 * math.log(2 * d / k) / (4 * information_contraction(eps)))


def coin_contrast(eps: float) -> float:
    """Return by how much the package's coin prefers the true sign, tanh(eps / 2) but for the rounding of its words."""
    return 2 * keep_threshold(eps) / 2**64 - 1


@dataclass(frozen=True, eq=False)
class HardProblem:
    """Uniform signs as features, one coefficient of known size in each of k known blocks, and responses in {-1, 1}.

    Parameters
    ----------
    n, d, k : int
        Users, features and blocks.
    eps : float
        What the protocol promises.
    seed : int
    repetitions : int
        Draws of the coefficients.
    """

    n: int
    d: int
    k: int
    eps: float
    seed: int
    repetitions: int = 400

    @cached_property
    def bound(self) -> float:
        """The lower bound of the mean squared error."""
        return nldp_lower_bound(self.n, self.d, self.k, self.eps)

    @property
    def size(self) -> float:
        """The size of a coefficient: the bound belongs to vectors of twice its root as norm."""
        return math.sqrt(4 * self.bound / self.k)

    def coefficients(self, rng: np.random.Generator) -> Float64Array:
        """Draw coefficients, of shape (repetitions, k, d / k)."""
        coef = np.zeros((self.repetitions, self.k, self.d // self.k))
        place = rng.integers(self.d // self.k, size=(self.repetitions, self.k, 1))
        np.put_along_axis(coef, place, self.size * rng.choice([-1.0, 1.0], place.shape), axis=2)
        return coef

    def users_of(self, shape: tuple[int, ...]) -> Int64Array:
        """Return how many users are asked about each feature: as equal numbers as possible."""
        users = np.full(self.d, self.n // self.d)
        users[: self.n % self.d] += 1
        return np.broadcast_to(users.reshape(shape[1:]), shape)

    def squared_errors(self, contrast: float) -> Float64Array:
        """Return squared errors of one-bit messages whose coin has a contrast, decoded as well as can be.

        A user who is asked about feature j sends x_j y, of mean theta_j, through the coin. So the number of pluses is
        binomial, and nothing of the protocol but the users is left out by drawing it.
        """
        rng = np.random.default_rng(self.seed)
        coef = self.coefficients(rng)
        users = self.users_of(coef.shape)
        pluses = rng.binomial(users, 0.5 + contrast * coef / 2)
        return np.sum((self.posterior_mean(pluses, users, contrast) - coef) ** 2, axis=(1, 2))

    def posterior_mean(self, pluses: Int64Array, users: Int64Array, contrast: float) -> Float64Array:
        """Return the posterior mean: the estimate with the least mean squared error, given blocks and size."""
        up, down = math.log1p(contrast * self.size), math.log1p(-contrast * self.size)
        positive = pluses * up + (users - pluses) * down
        negative = pluses * down + (users - pluses) * up
        top = np.maximum(positive, negative).max(axis=2, keepdims=True)
        positive, negative = np.exp(positive - top), np.exp(negative - top)
        total = (positive + negative).sum(axis=2, keepdims=True)
        return np.asarray(self.size * (positive - negative) / total)


def _draw(rng: np.random.Generator, eps: float) -> HardProblem:
    d, k = _SIZES[rng.integers(len(_SIZES))]
    n = least_users(d, k, eps) * int(rng.choice([1, 4]))
    return HardProblem(n, d, k, eps, int(rng.integers(2**32)))


def _risk(problem: HardProblem, spent: float = 1.0) -> Measurement:
    """Compare the mean squared error of 400 draws, in units of the bound, with one.

    The proof is that of :func:`sparsetheory.privacy.nldp_lower_bound`. The decoder knows blocks and sizes, which the
    theorem does not grant, and takes the best estimate given the bits. Answering zero has four times the bound, so a
    ratio near four says that nothing was found out.

    For the same reason the bound is a weak alarm. With d = 64 and k = 2 a coin that spends a multiple of what it
    promises has the ratios

    ========  =====  =====  =====  =====  =====  =======
    promised  once   twice  3 x    4 x    6 x    no coin
    ========  =====  =====  =====  =====  =====  =======
    0.25      3.9    3.1    1.6    0.6    0.03   0.0
    0.5       3.9    3.2    2.1    1.2    0.6    0.3
    1         3.9    3.6    3.3    3.2    3.1    3.1
    2         3.9    3.9    3.9    3.9    3.9    3.9
    ========  =====  =====  =====  =====  =====  =======

    Only ratios below one are an alarm: four times the promise for eps of at most a quarter. One bit about one feature
    holds too little for more. The audit of randomizers finds what is missed here.
    """
    errors = problem.squared_errors(coin_contrast(spent * problem.eps))
    zero = float(problem.k * problem.size**2 / problem.bound)
    return Measurement(float(errors.mean()) / problem.bound, 1.0, extras={ZERO: zero})


lower_bound = Claim(
    name="local_privacy.lower_bound",
    summary="Bits of eps-private users, decoded with all there is to know, never beat the explicit lower bound.",
    statement=r"\sup_\theta E \|\hat\theta - \theta\|^2 \ge \min\Bigl(\tfrac{1}{4k},"
    r" \tfrac{d k \log(2d/k)}{16\, n \sinh^2(\varepsilon/2)}\Bigr)"
    r" \text{ for } k \mid d \ge 8k, \text{ all users at once}",
    source=Source.ours("an explicit constant for the lower bound of one-round protocols, by Fano's inequality"),
    verdict=Attains(0.95),
    evaluate=_risk,
    near_miss=lambda problem: _risk(problem, spent=4.0),
    sweep=Sweep(
        axis="eps",
        values=(0.125, 0.25, 0.5, 1.0, 2.0),
        draw=_draw,
        trials=100,
        quick_trials=32,
        log="xy",
        measured_label="mean squared error over the lower bound",
        bound_label="lower bound",
    ),
)
