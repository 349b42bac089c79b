"""How much privacy is gained when an anonymiser shuffles the messages of many users."""

import math
from typing import Literal

import numpy as np
from scipy.special import betainc
from scipy.stats import binom

from sparsetheory.constraints import COUNT, FRACTION, Choice
from sparsetheory.privacy.accounting.composition import EPS
from sparsetheory.typing import Float64Array

__all__ = ["shuffle_eps"]

_BOUND = Choice("closed_form", "clones")
# What is charged to delta for unlikely small numbers of clones, and for rounding of the binomial tails.
_TAIL = 1e-6
_SPARE = 1e-9
_BLOCKS = 512
_BISECTIONS = 60


def shuffle_eps(
    eps: float, n_samples: int, delta: float, *, bound: Literal["closed_form", "clones"] = "closed_form"
) -> float:
    r"""Return the eps of the shuffled messages of many users, each of whom spends eps alone.

    It holds where an anonymiser permutes the messages, all users run the same randomiser, and nothing that is sent
    tells who sent it. Without the anonymiser only the eps of each user is promised.

    Parameters
    ----------
    eps : float
        Pure privacy of each message, in (0, 20].
    n_samples : int
        Number of users, each with one message.
    delta : float
        Privacy parameter of the shuffled messages, in (0, 1).
    bound : {"closed_form", "clones"}
        The formula of the notes, in O(1); or the numerical bound behind it, which is smaller by a factor of two to
        five and takes a tenth of a second for a billion users.

    Returns
    -------
    float
        At most `eps`, since shuffling is post-processing.

    Raises
    ------
    ValueError
        If a parameter is out of range, or if the closed form is asked for more eps than its proof covers.

    Notes
    -----
    Feldman, McMillan and Talwar (2021), "Hiding among the clones". With :math:`t = \tanh(\varepsilon/2)` the closed
    form is

    .. math:: \log\Bigl(1 + t\,\bigl(8\sqrt{e^{\varepsilon}\log(4/\delta)/n} + 8 e^{\varepsilon}/n\bigr)\Bigr)
       \quad\text{for } \varepsilon \le \log\frac{n}{16 \log(2/\delta)}.

    Behind it, each other user clones one of the two possible messages of the first user with probability
    :math:`e^{-\varepsilon}`, by a fair coin. Given the number c of clones this is a pair of two-point mixtures of
    binomials, whose hockey-stick divergence is a binomial tail. It falls with c: whoever sees c clones can add another
    one. So numbers of clones are taken in blocks, at the smallest number of each; the smallest numbers of all, with a
    probability of at most a millionth of delta, are charged to delta in full; and the upper end of a bisection is
    returned.

    Examples
    --------
    >>> print(f"{shuffle_eps(1.0, 10**6, 1e-6):.4f}")
    0.0235
    >>> print(f"{shuffle_eps(1.0, 10**6, 1e-6, bound='clones'):.4f}")
    0.0043
    """
    eps, delta = EPS.check("eps", eps), FRACTION.check("delta", delta)
    n_samples, bound = COUNT.check("n_samples", n_samples), _BOUND.check("bound", bound)
    largest = math.log(n_samples / (16 * math.log(2 / delta)))
    if bound == "clones":
        found = _clones(eps, n_samples, delta)
        return min(found, _closed_form(eps, n_samples, delta)) if eps <= largest else found
    if eps > largest:
        raise ValueError(
            f"eps must be at most log(n_samples / (16 log(2 / delta))) = {largest:.4g} for the closed form, "
            f"or bound must be 'clones'; got {eps!r}"
        )
    return _closed_form(eps, n_samples, delta)


def _closed_form(eps: float, n_samples: int, delta: float) -> float:
    grown = math.exp(eps)
    deviation = 8 * math.sqrt(grown * math.log(4 / delta) / n_samples) + 8 * grown / n_samples
    return min(math.log1p(math.tanh(eps / 2) * deviation), eps)


def _clones(eps: float, n_samples: int, delta: float) -> float:
    """Return the upper end of a bisection for the smallest eps whose bounded delta is allowed."""
    clones, weights, charged = _numbers_of_clones(eps, n_samples, _TAIL * delta)

    def excess(central: float) -> float:
        return charged + float(weights @ _hockey_stick(central, eps, clones)) - delta

    low, high = 0.0, eps
    if excess(low) <= 0:
        return low
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if excess(middle) <= 0:
            high = middle
        else:
            low = middle
    return high


def _numbers_of_clones(eps: float, n_samples: int, tail: float) -> tuple[Float64Array, Float64Array, float]:
    """Return the smallest number of clones of each block, the chance of each block, and the chance of fewer clones."""
    law = binom(n_samples - 1, math.exp(-eps))
    first, last = max(law.ppf(tail) - 1, 0.0), law.isf(tail)
    starts = np.unique(np.floor(np.linspace(first, max(last, first), _BLOCKS)))
    below = law.cdf(starts - 1)  # exactly 0 before the first possible number
    # The last block holds all larger numbers.
    return starts, np.diff(below, append=1.0), float(below[0])


def _hockey_stick(central: float, eps: float, clones: Float64Array) -> Float64Array:
    r"""Return sum max(P - exp(central) Q, 0) given each number c of clones, rounded up.

    Let A be binomial with c fair trials and D a coin that shows 1 with probability e^eps / (1 + e^eps). P is the law of
    A + D, and Q that of A + 1 - D. Their ratio rises in the value a, and exceeds X = exp(central) from the first a
    above (c + 1)(X e^eps - 1) / ((e^eps - 1)(1 + X)). With k this value and S its binomial tail, the sum is

        (1 - X) S(k) + P(A = k - 1) (e^eps - X) / (1 + e^eps).
    """
    factor = math.exp(central)
    share = math.expm1(central + eps) / (math.expm1(eps) * (1 + factor))
    k = np.floor((clones + 1) * share) + 1
    inside = k <= clones
    tail = np.where(inside, betainc(np.where(inside, k, 1.0), np.where(inside, clones - k + 1, 1.0), 0.5), 0.0)
    point = binom.pmf(k - 1, clones, 0.5) * factor * math.expm1(eps - central) / (1 + math.exp(eps))
    return np.maximum((1 + _SPARE) * point - (1 - _SPARE) * math.expm1(central) * tail, 0.0)
