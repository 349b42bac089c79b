"""Claims about errors: the oracle's, the channel's, and the order of methods on the channel experiment."""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian import (
    SBL,
    KroneckerSBL,
    irs_nmse,
    irs_ser,
    make_irs_mimo,
    make_kron_sparse,
    oracle_ls,
    oracle_nmse,
)
from sparsetheory.bayesian.irs_mimo import perfect_ser
from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.kronecker_sbl.instances import ours, paper
from sparsetheory.proofs_checks.verdicts import WithProbability

_seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class _Trial:
    """A signal-to-noise ratio in decibels, and a seed."""

    snr: float
    seed: int


def _draw(rng: np.random.Generator, snr: float) -> _Trial:
    return _Trial(snr, int(rng.integers(2**32)))


def _trials(*ratios: float) -> st.SearchStrategy[_Trial]:
    return st.builds(_Trial, st.sampled_from(ratios), _seeds)


def _quietly(model: Any, As: Any, y: Any) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(As, y).coef_


def _oracle(trial: _Trial, power: float = 1.0) -> Measurement:
    """Compare the mean error of 200 draws of the noise with the product of traces, in standard errors."""
    rng = np.random.default_rng(trial.seed)
    p = make_kron_sparse((4, 5, 6), (6, 7, 8), (2, 3, 2), trial.snr, rng=rng)
    errors = np.empty(200)
    for i in range(200):
        y = p.signal + np.sqrt(p.noise_variance) * rng.standard_normal(p.y.size)
        errors[i] = np.sum((oracle_ls(p.As, y, p.supports) - p.x) ** 2) / np.sum(p.x**2)
    expected = oracle_nmse(p.As, p.supports, p.noise_variance, p.x) ** power
    return Measurement(abs(float(errors.mean()) - expected), 4.0 * float(errors.std(ddof=1)) / np.sqrt(200))


oracle_error = Claim(
    name="kronecker_sbl.oracle_error",
    statement=r"E \|\hat x_{LS} - x\|^2 = \sigma^2 \prod_i \mathrm{tr}\,(A_{i,S_i}^H A_{i,S_i})^{-1}",
    source=ours("least squares on the true supports"),
    verdict=WithProbability(0.99),
    instances=lambda: _trials(0.0, 20.0),
    evaluate=_oracle,
    near_miss=lambda trial: _oracle(trial, power=1.1),
    sweep=Sweep(
        axis="SNR in dB",
        values=(0.0, 10.0, 20.0),
        draw=_draw,
        trials=30,
        quick_trials=6,
        log="y",
        measured_label="deviation of the mean",
        bound_label="four standard errors",
    ),
)


def _symbols(trial: _Trial, shift: float = 0.0) -> Measurement:
    """Compare symbol errors over the true channel with the formula, in standard errors of 6 x 20 000 symbols."""
    p = make_irs_mimo(T=4, R=6, L=32, res=8, n_patterns=6, snr_db=trial.snr, rng=trial.seed)
    rate = perfect_ser(trial.snr + shift)
    measured = irs_ser(p, p.x, 20_000, rng=trial.seed)
    return Measurement(abs(measured - rate), 4.0 * np.sqrt(rate * (1.0 - rate) / 120_000))


symbol_errors = Claim(
    name="kronecker_sbl.symbol_errors",
    statement=r"\mathrm{SER} = 2Q(\sqrt\rho) - Q(\sqrt\rho)^2 \text{ over a known channel}",
    source=ours("four-phase transmission along the leading singular vectors"),
    verdict=WithProbability(0.99),
    instances=lambda: _trials(4.0, 8.0),
    evaluate=_symbols,
    near_miss=lambda trial: _symbols(trial, shift=-1.0),
    sweep=Sweep(
        axis="SNR in dB",
        values=(2.0, 4.0, 6.0, 8.0),
        draw=_draw,
        trials=20,
        quick_trials=6,
        log="y",
        measured_label="deviation of the rate",
        bound_label="four standard errors",
    ),
)


def _noise_ratio(trial: _Trial, update: str = "mm", iterations: int = 500) -> Measurement:
    p = make_kron_sparse((8, 10, 12), (12, 12, 12), (3, 3, 3), trial.snr, rng=trial.seed)
    model = KroneckerSBL(update, max_iter=iterations)
    _quietly(model, p.As, p.y)
    return Measurement(abs(model.noise_variance_ / p.noise_variance - 1.0), 0.1)


learned_noise = Claim(
    name="kronecker_sbl.learned_noise",
    statement=r"|\hat\sigma^2 / \sigma^2 - 1| \le 0.1 \text{ for majorise-minimise at 10 to 30 dB, M = 960}",
    source=ours("measured: learned noise variance"),
    verdict=WithProbability(0.9),
    instances=lambda: _trials(10.0, 30.0),
    evaluate=_noise_ratio,
    near_miss=lambda trial: _noise_ratio(trial, iterations=10),
    sweep=Sweep(
        axis="SNR in dB",
        values=(10.0, 20.0, 30.0),
        draw=_draw,
        trials=40,
        quick_trials=10,
        measured_label="relative error of the learned variance",
        bound_label="0.1",
    ),
)


@cache
def _shared() -> Any:
    """Pilots and patterns, drawn once for all channels."""
    return make_irs_mimo(rng=0)


def _channels(trial: _Trial, count: int) -> list[Any]:
    rng, shared = np.random.default_rng(trial.seed), _shared()
    return [
        make_irs_mimo(snr_db=trial.snr, rng=rng, pilots=shared.pilots, patterns=shared.patterns) for _ in range(count)
    ]


def _published(noise: float) -> dict[str, Any]:
    common: dict[str, Any] = {"noise": noise, "max_iter": 150, "prune_abs": 1e-4}
    coupled: dict[str, Any] = {"coupling": (0.8, None, 0.8), "pc_step": "nnls", "inner_max": 9}
    return {
        "AM": KroneckerSBL("am", prune_rel=(1e-2, 1e-1, 1e-3), **common),
        "SVD": KroneckerSBL("svd", prune_rel=0.0, **common),
        "PC 0.8": KroneckerSBL("am", prune_rel=(1e-2, 1e-1, 1e-2), **common, **coupled),
        "MM": KroneckerSBL(noise=noise),
        "PC-MM 0.8": KroneckerSBL(noise=noise, coupling=(0.8, None, 0.8)),
        "SBL": SBL(noise=noise, prune_rel=1e-4),
    }


def _mean_errors(channels: list[Any], names: tuple[str, ...]) -> dict[str, float]:
    return {
        name: float(np.mean([irs_nmse(p, _quietly(_published(p.noise_variance)[name], p.As, p.y)) for p in channels]))
        for name in names
    }


# Means over fewer channels are those of rare failures.
_MANY = 12


def _coupling_first(trial: _Trial) -> Measurement:
    """Compare mean errors over channels of the published size, N = 5832 and M = 288, each with pilots of its own."""
    rng = np.random.default_rng(trial.seed)
    channels = [make_irs_mimo(snr_db=trial.snr, rng=rng) for _ in range(_MANY)]
    errors = _mean_errors(channels, ("PC 0.8", "AM", "SVD"))
    return Measurement(errors["PC 0.8"], min(errors["AM"], errors["SVD"]), extras=errors)


coupling_order = Claim(
    name="kronecker_sbl.coupling_order",
    statement=r"\mathrm{NMSE}(\text{PC, } \beta = 0.8) < \mathrm{NMSE}(\text{AM}),\ \mathrm{NMSE}(\text{SVD})"
    r" \text{ for SNR} \le 8 \text{ dB, in the mean}",
    # Their means keep this order up to 16 dB. Ours do not: there few channels decide the mean, and SVD is the better
    # one in the median.
    source=paper("channel experiment, result files: means of 50 channels"),
    verdict=WithProbability(0.85),
    instances=lambda: _trials(4.0, 8.0),
    evaluate=_coupling_first,
    near_miss=0.05,
    sweep=Sweep(
        axis="SNR in dB",
        values=(4.0, 6.0, 8.0),
        draw=_draw,
        trials=12,
        quick_trials=3,
        log="y",
        measured_label="PC 0.8",
        bound_label="the better of AM and SVD",
    ),
)

_GROUP = 4


def _over_noise(measured_label: str, bound_label: str) -> Sweep:
    values = (4.0, 8.0, 12.0, 16.0)
    return Sweep("SNR in dB", values, _draw, 12, 4, log="y", measured_label=measured_label, bound_label=bound_label)


def _ours_first(trial: _Trial) -> Measurement:
    """Compare the default with the best published method, on the same channels."""
    errors = _mean_errors(_channels(trial, _GROUP), ("MM", "PC 0.8"))
    return Measurement(errors["MM"], errors["PC 0.8"])


def _ours_last(trial: _Trial) -> Measurement:
    measured = _ours_first(trial)
    return Measurement(measured.bound, measured.measured)


default_order = Claim(
    name="kronecker_sbl.default_order",
    statement=r"\mathrm{NMSE}(\text{MM}) < \mathrm{NMSE}(\text{PC, } \beta = 0.8) \text{ for SNR} \le 16"
    r" \text{ dB, in the mean}",
    source=ours("measured: the published errors are mostly unconverged iterations and pruning, not the model"),
    verdict=WithProbability(0.7),
    instances=lambda: _trials(4.0, 12.0),
    evaluate=_ours_first,
    near_miss=_ours_last,
    sweep=_over_noise("MM", "PC 0.8"),
)


def _structure_first(trial: _Trial) -> Measurement:
    """Compare mean errors over four channels of a smaller link, N = 729 and M = 108."""
    rng = np.random.default_rng(trial.seed)
    channels = [make_irs_mimo(R=6, L=36, res=9, snr_db=trial.snr, rng=rng) for _ in range(_GROUP)]
    errors = _mean_errors(channels, ("AM", "SVD", "SBL"))
    return Measurement(max(errors["AM"], errors["SVD"]), errors["SBL"], extras=errors)


def _structure_last(trial: _Trial) -> Measurement:
    measured = _structure_first(trial)
    return Measurement(measured.bound, measured.measured)


structure_order = Claim(
    name="kronecker_sbl.structure_order",
    statement=r"\mathrm{NMSE}(\text{AM}),\ \mathrm{NMSE}(\text{SVD}) < \mathrm{NMSE}(\text{SBL})"
    r" \text{ for SNR} \le 16 \text{ dB, in the mean}",
    source=paper("channel experiment, result files: means of 50 channels; here on a smaller link"),
    verdict=WithProbability(0.7),
    instances=lambda: _trials(4.0, 12.0),
    evaluate=_structure_first,
    near_miss=_structure_last,
    sweep=_over_noise("the worse of AM and SVD", "SBL"),
)
