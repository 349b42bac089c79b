"""One small problem for every estimator of the package, in any unit of the response and of the features.

A new estimator is one function here; every law below `tests/laws` then holds it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory import bayesian, coding, lowrank, privacy, regression


@dataclass(frozen=True)
class Case:
    """An estimator and the data it is fitted on.

    `build(c, D)` returns the estimator and what `fit` takes, for a response in units of c and features in units of D
    (None: one). `solution(model, c, D)` is the fitted result in the original units. `features` says whether features
    have units of their own, `design` and `response` which argument of `fit` they are.
    """

    name: str
    build: Callable[[float, Any], tuple[Any, tuple[Any, ...]]]
    solution: Callable[[Any, float, Any], Any]
    features: bool = True
    rtol: float = 1e-4
    design: int = 0
    response: int | None = 1
    names: tuple[str, str] = ("X", "y")

    def fit(self, c: float = 1.0, D: Any = None) -> tuple[Any, tuple[Any, ...]]:
        """Return the fitted model and what it was fitted on."""
        model, data = self.build(c, D)
        return model.fit(*data), data


def _scales(D):
    return 1.0 if D is None else D


# --- regression ---

_RNG = np.random.default_rng(5)
DESIGN = _RNG.standard_normal((60, 20)) + 0.5
COEF = np.zeros(20)
COEF[[0, 4, 7]] = 1.0, -2.0, 1.5
RESPONSE = DESIGN @ COEF + 3.0 + 0.1 * _RNG.standard_normal(60)


def _linear(model, c, D):
    scale = _scales(D)
    return np.concatenate([np.ravel(model.coef_ * scale) / c, np.ravel(getattr(model, "intercept_", 0.0)) / c])


def _flat(name, make, *, features=True, rtol=1e-4, names=("X", "y")):
    def build(c, D):
        return make(c, D), (DESIGN * _scales(D), c * RESPONSE)

    return Case(name, build, _linear, features, rtol, names=names)


def _weights(D):
    return None if D is None else D


def _random_support(solver):
    return lambda c, D: regression.RandomSupportRegressor(
        3, solver=solver, noise_std=0.1 * c if solver == "lasso" else None, random_state=0
    )


REGRESSION = [
    _flat("OMP", lambda c, D: regression.OMP(3)),
    _flat("ForwardBackward", lambda c, D: regression.ForwardBackward(n_nonzero=3)),
    _flat("NIHT", lambda c, D: regression.NIHT(3), features=False),
    _flat("HTP", lambda c, D: regression.HTP(3), features=False),
    _flat("CoSaMP", lambda c, D: regression.CoSaMP(3), features=False),
    _flat("SplicingRegressor", lambda c, D: regression.SplicingRegressor(3)),
    _flat("SplicingRegressor-chosen", lambda c, D: regression.SplicingRegressor()),
    _flat("L0SwapRegressor", lambda c, D: regression.L0SwapRegressor(0.01 * c * c)),
    _flat("PufferLasso", lambda c, D: regression.PufferLasso(0.05 * c), features=False),
    _flat("OutlierPeelingLasso", lambda c, D: regression.OutlierPeelingLasso(0.05 * c, n_nonzero=3), features=False),
    _flat("WorkingSetLasso", lambda c, D: regression.WorkingSetLasso(0.1 * c, weights=_weights(D)), rtol=1e-3),
    _flat(
        "WorkingSetLasso-unpenalised",
        lambda c, D: regression.WorkingSetLasso(0.1 * c, weights=_weights(D), unpenalised=[2]),
        rtol=1e-3,
    ),
    _flat(
        "WorkingSetLasso-mcp", lambda c, D: regression.WorkingSetLasso(0.1 * c, penalty="mcp", weights=_weights(D)),
        features=False,
    ),
    _flat("WorkingSetLassoCV", lambda c, D: regression.WorkingSetLassoCV(n_alphas=10, weights=_weights(D)), rtol=1e-3),
    _flat("RandomSupportRegressor-foba", _random_support("foba")),
    _flat("RandomSupportRegressor-lasso", _random_support("lasso"), rtol=1e-3),
]  # fmt: skip

# --- Bayesian ---

_FLAT_RNG = np.random.default_rng(7)
DICTIONARY = _FLAT_RNG.standard_normal((40, 60))
SPARSE = np.zeros(60)
SPARSE[[3, 20, 41]] = 1.0, -2.0, 1.5
SIGNAL = DICTIONARY @ SPARSE + 0.02 * _FLAT_RNG.standard_normal(40)
KRON = bayesian.make_kron_sparse((8, 9), (12, 12), (2, 3), snr_db=30, random_state=0)
CHANNEL = bayesian.make_off_grid_channel(snr_db=15, random_state=1)


def _bayesian(name, make, *, features=True, rtol=1e-3, names=("X", "y")):
    def build(c, D):
        return make(c), (DICTIONARY * _scales(D), c * SIGNAL)

    return Case(name, build, _linear, features, rtol, names=names)


def _kron(name, make, *, rtol=1e-3):
    def build(c, D):
        return make(c), (
            KRON.dictionaries if D is None else [A * D[: A.shape[1]] for A in KRON.dictionaries],
            c * KRON.y,
        )

    def solution(model, c, D):
        shape = [A.shape[1] for A in KRON.dictionaries]
        scale = 1.0 if D is None else np.multiply.outer(D[: shape[0]], D[: shape[1]]).ravel()
        return np.ravel(model.coef_) * scale / c

    return Case(name, build, solution, True, rtol, names=("dictionaries", "y"))


BAYESIAN = [
    _bayesian("SBL", lambda c: bayesian.SBL("mm", max_iter=3000)),
    _bayesian("SBL-em", lambda c: bayesian.SBL("em", max_iter=3000)),
    _bayesian("SBL-known-noise", lambda c: bayesian.SBL("mm", noise_variance=0.0004 * c * c, max_iter=3000)),
    _bayesian("PatternCoupledSBL", lambda c: bayesian.PatternCoupledSBL(max_iter=2000), features=False),
    _bayesian("TurboVBI", lambda c: bayesian.TurboVBI(prior="iid"), features=False, names=("F", "y")),
    _bayesian("TurboCS", lambda c: bayesian.TurboCS(), features=False, names=("F", "y")),
    _bayesian("SparseSubspaceVI", lambda c: bayesian.SparseSubspaceVI(3), features=False),
    _bayesian("SparseSubspaceVI-intercept", lambda c: bayesian.SparseSubspaceVI(4, fit_intercept=True), features=False),
    _bayesian(
        "SparseSubspaceVI-known",
        lambda c: bayesian.SparseSubspaceVI(
            3, prior_std=2.0 * c, noise_variance=0.0004 * c * c, method="removal_addition", n_init=2, random_state=0
        ),
        features=False,
    ),
    _kron("KroneckerSBL", lambda c: bayesian.KroneckerSBL(max_iter=3000)),
    _kron(
        "KroneckerSBL-known-noise",
        lambda c: bayesian.KroneckerSBL(noise_variance=c * c * KRON.noise_variance, max_iter=999),
    ),
    _kron("KroneckerOMP", lambda c: bayesian.KroneckerOMP(n_nonzero=(2, 3))),
    Case(
        "OffGridTurboVBI",
        lambda c, D: (
            bayesian.OffGridTurboVBI(noise_variance=CHANNEL.noise_variance * c * c),
            (CHANNEL.F, c * CHANNEL.y),
        ),
        lambda model, c, D: model.coef_ / c,
        features=False,
        rtol=1e-2,
        names=("F", "y"),
    ),
]  # fmt: skip

# --- coding ---

_PATCHES = np.random.default_rng(3).standard_normal((60, 8)) @ np.diag(np.linspace(1, 2, 8))


def _coding(name, penalty, power):
    def build(c, D):
        model = coding.LqDictionaryLearning(
            10, penalty=penalty, alpha=0.3 * float(np.float64(c) ** power), batch_size=20, n_batches=3, random_state=0
        )
        return model, (c * _PATCHES,)

    return Case(
        name, build, lambda model, c, D: model.components_, features=False, response=None, names=("X", "")
    )  # fmt: skip


CODING = [_coding("LqDictionaryLearning-l1", "l1", 1), _coding("LqDictionaryLearning-l0", "l0", 2)]

# --- low rank ---

_LOW_RNG = np.random.default_rng(1)
_BASES = [np.linalg.qr(_LOW_RNG.standard_normal((30, 3)))[0] for _ in range(3)]
BLOCKS = [_BASES[k % 3] @ _LOW_RNG.standard_normal((3, 5)) + 1e-3 * _LOW_RNG.standard_normal((30, 5)) for k in range(9)]


def _clustering(name, **options):
    return Case(
        name,
        lambda c, D: (lowrank.ConcatSVDClustering(rank=3, eps=0.05, **options), ([c * B for B in BLOCKS],)),
        lambda model, c, D: np.concatenate([model.labels_, model.errors_]),
        features=False,
        response=None,
        names=("block", ""),
    )


LOWRANK = [_clustering("ConcatSVDClustering"), _clustering("ConcatSVDClustering-block", criterion="block")]

# --- privacy ---

_PRIVATE_RNG = np.random.default_rng(11)
RECORDS = _PRIVATE_RNG.standard_normal((400, 6)) + 0.3
ANSWERS = RECORDS @ [1.0, 0.0, -0.5, 0.0, 0.0, 0.0] + 0.5 + 0.3 * _PRIVATE_RNG.standard_normal(400)


def _private(name, **options):
    def build(c, D):
        if "alpha" in options:
            options["alpha"] = 0.2 * c
        model = privacy.NLDPSparseRegression(
            8.0,
            clip_x=5.0,
            clip_y=4.0 * c,
            norm_bound=1.2 * c,
            scale_x=1.0 if D is None else D,
            simulation=True,
            random_state=0,
            **options,
        )
        return model, (RECORDS * _scales(D), c * ANSWERS)

    return Case(name, build, _linear)  # fmt: skip


def _rounds(name, norm_bound=2.0, **options):
    def build(c, D):
        units = {"scale_x": _scales(D), "clip_y": 2.0 * c, "norm_bound": norm_bound * c}
        model = privacy.LDPIHT(8.0, n_nonzero=2, simulation=True, random_state=0, **units, **options)
        return model, (RECORDS * _scales(D), c * ANSWERS)

    return Case(name, build, _linear)


PRIVACY = [
    _private("NLDPSparseRegression", n_nonzero=2),
    _private("NLDPSparseRegression-intercept", n_nonzero=2, mechanism="sketch", fit_intercept=True),
    _private("NLDPSparseRegression-ols", mechanism="gauss_tight", delta=1e-5, solver="ols_soft", alpha=0.2),
    _private("NLDPSparseRegression-lasso", mechanism="onebit", clip_entries=3.0, solver="psd_lasso", alpha=0.2),
    _rounds("LDPIHT", clip_x=3.5),
    _rounds("LDPIHT-screened", clip_x=3.5, n_rounds=2, screen=4),
    _rounds("LDPIHT-paper", 1.0, gradient_clip="paper", clip_entries=1.0, n_kept=2),
    _flat("ThresholdedLeastSquares", lambda c, D: privacy.ThresholdedLeastSquares()),
    _flat("ThresholdedLeastSquares-fixed", lambda c, D: privacy.ThresholdedLeastSquares(0.3 * c, fit_intercept=False)),
]  # fmt: skip

CASES = {case.name: case for case in [*REGRESSION, *BAYESIAN, *CODING, *LOWRANK, *PRIVACY]}
FLAT = {case.name: case for case in [*REGRESSION, *BAYESIAN[:9], *PRIVACY]}
