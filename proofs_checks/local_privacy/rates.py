"""Claims about the rates of one-round protocols: exponents of users, features, non-zeros and eps."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.local_privacy.simulated_collections import Problem, root_mean_square
from sparsetheory.proofs_checks.verdicts import ScalesAs

_PAPER = "Zhu, Ding, Aggarwal, Xu and Wang, Improved Analysis of Sparse Linear Regression in Local Differential Privacy"

_REPETITIONS = 25


@dataclass(frozen=True, eq=False)
class _Batch:
    """A collection that is drawn several times: root mean squares have a rate, single errors scatter."""

    problem: Problem
    seed: int

    @cached_property
    def private_covariance(self) -> float:
        """The root mean square error where second moments are released with noise."""
        return self._error(public=False)

    @cached_property
    def public_covariance(self) -> float:
        """The root mean square error where second moments are known."""
        return self._error(public=True)

    @property
    def error(self) -> float:
        """The one of the two that belongs to the problem."""
        return self.public_covariance if self.problem.public else self.private_covariance

    @property
    def other_error(self) -> float:
        """The one that does not."""
        return self.private_covariance if self.problem.public else self.public_covariance

    def _error(self, public: bool) -> float:
        problem = replace(self.problem, public=public)
        return root_mean_square(problem, np.random.default_rng(self.seed), _REPETITIONS)


def _closed_form(n: float, d: float, k: float, eps: float, public: bool = False) -> Problem:
    """Return the published recipe: its noise, and least squares with a soft threshold of the size of the noise."""
    clips = {"clip_x": 3 * math.sqrt(d), "clip_entries": 3.0, "clip_y": 3.0}
    return Problem(int(n), int(d), int(k), float(eps), "paper", "ols_soft", public=public, clips=clips)


def _drawing(problem: Callable[[float], Problem]) -> Callable[..., _Batch]:
    return lambda rng, value: _Batch(problem(value), int(rng.integers(2**32)))


def _plain(batch: _Batch) -> Measurement:
    return Measurement(batch.error, 1.0)


def _without_logarithm(batch: _Batch) -> Measurement:
    """Divide the error by the root of 2 log d, of which the largest of d normal noises is, and so is the threshold.

    Over these d the quantile that the threshold really takes grows like d^0.09, and the root like d^0.14.
    """
    logarithm = math.sqrt(2 * math.log(batch.problem.d))
    return Measurement(batch.error / logarithm, 1.0 / logarithm)


def _squared(batch: _Batch) -> Measurement:
    """Claim the exponent for the square of the error: the rate without its root."""
    return Measurement(_plain(batch).measured ** 2, 1.0)


def _eps_under_the_root(batch: _Batch) -> Measurement:
    """Claim 1 / sqrt(n eps): multiply by the root of eps what should not depend on it any more."""
    return Measurement(_plain(batch).measured * math.sqrt(batch.problem.eps), 1.0)


def _other_covariates(batch: _Batch) -> Measurement:
    """Confuse the two models, whose rates differ by the root of d."""
    logarithm = math.sqrt(2 * math.log(batch.problem.d))
    return Measurement(batch.other_error / logarithm, 1.0 / logarithm)


def _sweep(
    axis: str, values: tuple[float, ...], draw: Callable[..., _Batch], label: str = "root mean square error"
) -> Sweep:
    return Sweep(
        axis=axis,
        values=values,
        draw=draw,
        trials=20,
        quick_trials=6,
        log="xy",
        measured_label=label,
        bound_label="answering zero",
    )


_FEATURES = (10.0, 20.0, 40.0, 80.0, 160.0)
_NONZEROS = (2.0, 4.0, 8.0, 16.0)
_OVER_LOGARITHM = "error over the root of 2 log d"
_ORDER = r"\|\hat\theta - \theta^*\| = \tilde O\bigl(d \sqrt k / (\sqrt n\, \varepsilon)\bigr)"
_PUBLIC_ORDER = r"\|\hat\theta - \theta^*\| = \tilde O\bigl(\sqrt{d k} / (\sqrt n\, \varepsilon)\bigr)"
_CLOSED_FORM = Source(_PAPER, "upper bound of the non-interactive protocol; the constants are measured", "2310.07367")
_PUBLIC = Source(_PAPER, "upper bound with public covariates; the constants are measured", "2310.07367")

closed_form_users = Claim(
    name="local_privacy.closed_form_users",
    summary="The error of the closed form falls like one over the root of the number of users.",
    statement=_ORDER + r": \quad n^{-0.5 \pm 0.1}",
    source=_CLOSED_FORM,
    verdict=ScalesAs(-0.5, 0.1),
    evaluate=_plain,
    near_miss=_squared,
    sweep=_sweep("users n", (1e10, 1e11, 1e12, 1e13), _drawing(lambda n: _closed_form(n, 20, 3, 1.0))),
)

closed_form_features = Claim(
    name="local_privacy.closed_form_features",
    summary="The error of the closed form grows nearly like the number of features.",
    statement=_ORDER + r": \quad d^{0.95 \pm 0.2} \sqrt{2 \log d}",
    source=_CLOSED_FORM,
    verdict=ScalesAs(0.95, 0.2),
    evaluate=_without_logarithm,
    near_miss=_other_covariates,
    sweep=_sweep("features d", _FEATURES, _drawing(lambda d: _closed_form(1e13, d, 3, 0.5)), _OVER_LOGARITHM),
)

closed_form_nonzeros = Claim(
    name="local_privacy.closed_form_nonzeros",
    summary="The error of the closed form grows like the root of the number of non-zero coefficients.",
    statement=_ORDER + r": \quad k^{0.5 \pm 0.15}",
    source=_CLOSED_FORM,
    verdict=ScalesAs(0.5, 0.15),
    evaluate=_plain,
    near_miss=_squared,
    sweep=_sweep("non-zero coefficients k", _NONZEROS, _drawing(lambda k: _closed_form(1e13, 80, k, 1.0))),
)

closed_form_eps = Claim(
    name="local_privacy.closed_form_eps",
    summary="The error of the closed form falls like one over eps, not over its root.",
    statement=_ORDER + r": \quad \varepsilon^{-1.05 \pm 0.2}",
    source=_CLOSED_FORM,
    verdict=ScalesAs(-1.05, 0.2),
    evaluate=_plain,
    near_miss=_eps_under_the_root,
    # The classical calibration of two messages is private below eps = 2 only.
    sweep=_sweep("eps", (0.25, 0.5, 1.0, 1.9), _drawing(lambda eps: _closed_form(1e13, 20, 3, eps))),
)

public_covariance_users = Claim(
    name="local_privacy.public_covariance_users",
    summary="With a public covariance, too, the error falls like one over the root of the number of users.",
    statement=_PUBLIC_ORDER + r": \quad n^{-0.5 \pm 0.1}",
    source=_PUBLIC,
    verdict=ScalesAs(-0.5, 0.1),
    evaluate=_plain,
    near_miss=_squared,
    sweep=_sweep("users n", (1e8, 1e9, 1e10, 1e11), _drawing(lambda n: _closed_form(n, 20, 3, 0.5, public=True))),
)

public_covariance_features = Claim(
    name="local_privacy.public_covariance_features",
    summary="With a public covariance the error grows like the root of the number of features.",
    statement=_PUBLIC_ORDER + r": \quad d^{0.525 \pm 0.125} \sqrt{2 \log d}",
    source=_PUBLIC,
    verdict=ScalesAs(0.525, 0.125),
    evaluate=_without_logarithm,
    near_miss=_other_covariates,
    sweep=_sweep(
        "features d", _FEATURES, _drawing(lambda d: _closed_form(1e13, d, 3, 0.5, public=True)), _OVER_LOGARITHM
    ),
)

public_covariance_nonzeros = Claim(
    name="local_privacy.public_covariance_nonzeros",
    summary="With a public covariance the error grows like the root of the number of non-zero coefficients.",
    statement=_PUBLIC_ORDER + r": \quad k^{0.5 \pm 0.15}",
    source=_PUBLIC,
    verdict=ScalesAs(0.5, 0.15),
    evaluate=_plain,
    near_miss=_squared,
    sweep=_sweep("non-zero coefficients k", _NONZEROS, _drawing(lambda k: _closed_form(1e11, 80, k, 0.5, public=True))),
)

public_covariance_eps = Claim(
    name="local_privacy.public_covariance_eps",
    summary="With a public covariance the error falls like one over eps.",
    statement=_PUBLIC_ORDER + r": \quad \varepsilon^{-1.05 \pm 0.2}",
    source=_PUBLIC,
    verdict=ScalesAs(-1.05, 0.2),
    evaluate=_plain,
    near_miss=_eps_under_the_root,
    # The classical calibration of one message is private below eps = 1 only.
    sweep=_sweep("eps", (0.125, 0.25, 0.5, 0.9), _drawing(lambda eps: _closed_form(1e11, 20, 3, eps, public=True))),
)


def _price(batch: _Batch) -> Measurement:
    """Divide the error without public covariates by the error with them, for the same users; logarithms cancel.

    The noise of an entry of A is of the order r^2, with r of the order of the root of d, and that of an entry of b of
    the order of the root of d: their ratio is the root of d.
    """
    return Measurement(batch.private_covariance / batch.public_covariance, 1.0)


def _price_of_itself(batch: _Batch) -> Measurement:
    """Claim that the noise in the second moments costs a constant factor."""
    measurement = _price(batch)
    return Measurement(measurement.measured / math.sqrt(batch.problem.d), 1.0)


price_of_covariates = Claim(
    name="local_privacy.price_of_covariates",
    summary="Private second moments cost a factor that grows nearly like the root of the number of features.",
    statement=r"\|\hat\theta - \theta^*\| / \|\hat\theta_{\mathrm{public}} - \theta^*\| \propto d^{0.5 \pm 0.3}",
    source=Source(_PAPER, "difference of the two upper bounds, the root of d", "2310.07367"),
    verdict=ScalesAs(0.5, 0.3),
    evaluate=_price,
    near_miss=_price_of_itself,
    sweep=replace(
        _sweep("features d", _FEATURES, _drawing(lambda d: _closed_form(1e13, d, 3, 0.5)), "ratio of errors"),
        quick_trials=4,
        bound_label="public covariance",
    ),
)
