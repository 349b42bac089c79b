"""Claims about the grid that moves: the bound ascends, and channels between grid points are found."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.datasets.antenna_array import half_wavelength_array
from sparsetheory.bayesian.datasets.off_grid import OffGridChannel, make_off_grid_channel
from sparsetheory.bayesian.off_grid.estimator import OffGridTurboVBI
from sparsetheory.bayesian.off_grid.parametric_matrix import ParametricMatrix
from sparsetheory.bayesian.turbo.estimator import TurboVBI
from sparsetheory.bayesian.turbo.sparse_prior import SparsePrior
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.turbo_vbi.instances import ours
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import AnyArray, Float64Array

# The bound is a sum of terms that are some hundred times larger than itself at worst, each rounded once.
_ROUNDING = 1e-9
# Two paths on 96 directions, in lone cells.
_PATHS = SparsePrior(activation=0.0167, deactivation=0.2333)
# Gain that is claimed, in decibels per decibel. In the mean it is 0.8 to 1 at 10 to 20 dB, and means of three channels
# scatter by 1.5 to 3 dB.
_SLOPE = 0.4


@dataclass(frozen=True, eq=False)
class _Uncertain:
    """Data of a small array between grid points, and how to fit them."""

    F: ParametricMatrix
    Y: AnyArray
    options: dict[str, Any]

    def bounds(self, **changed: Any) -> Float64Array:
        """Return the bound after every outer iteration."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return OffGridTurboVBI(**(self.options | changed)).fit(self.F, self.Y).history_["elbo"]


def _draw_uncertain(
    seed: int, complex_data: bool, factorisation: str, prior: str, step: str, learn_noise: bool
) -> _Uncertain:
    rng = np.random.default_rng(seed)
    n, m = 12, int(rng.integers(4, 16))
    array = half_wavelength_array(10, pilots=rng.standard_normal((m, 10)), n_directions=n)
    F = array if complex_data else _real_part(array)
    theta = F.grid + F.spacing * rng.uniform(-0.5, 0.5, n)
    X = rng.standard_normal((n, int(rng.integers(1, 3)))) * (rng.random((n, 1)) < 0.25)
    Y = F.matrix(theta) @ X + 10 ** rng.uniform(-2, 0) * rng.standard_normal((m, X.shape[1]))
    activation, deactivation = (float(rng.uniform(0.02, 0.5)) for _ in range(2))
    noise_variance: float | str = "learn" if learn_noise else float(10 ** rng.uniform(-3, 0))
    options = {
        "prior": SparsePrior(
            prior,
            activation=activation,
            deactivation=deactivation,
            on_rate=float(10 ** rng.uniform(-1, 1)),
            noise_shape=1.0,
            noise_rate=0.1,
        ),
        "factorisation": factorisation,
        "noise_variance": noise_variance,
        "init": str(rng.choice(["anneal", "sbl", "group"])),
        "n_anneal_steps": 5,
        "anneal_grid": bool(rng.random() < 0.5),
        "step": step,
        "max_inner_rounds": 2,
        "max_iter": 12,
        "tol": 0.0,
    }
    return _Uncertain(F, Y, options)


def _real_part(F: ParametricMatrix) -> ParametricMatrix:
    return ParametricMatrix(lambda t, q: F.block(t, q).real, lambda t, q: F.slope_block(t, q).real, F.grid, F.spacing)


def _uncertain() -> st.SearchStrategy[_Uncertain]:
    return st.builds(
        _draw_uncertain,
        st.integers(0, 2**32 - 1),
        st.booleans(),
        st.sampled_from(["collapsed", "meanfield"]),
        st.sampled_from(["chain", "iid"]),
        st.sampled_from(["ascent", "surrogate"]),
        st.booleans(),
    )


def _ascent(case: _Uncertain, **changed: Any) -> Measurement:
    """Measure bounds along outer iterations.

    Given all other factors, a step of the grid raises the maximum of the bound over the factor of the coefficients, or
    the bound at that maximum, or stays; the round that follows starts by setting that factor to its optimum, and every
    further update is coordinate ascent.
    """
    bounds = case.bounds(**changed)
    return Measurement.worst(bounds[:-1], bounds[1:], float(np.abs(bounds).max()))


moving_grid_ascent = Claim(
    name="turbo_vbi.moving_grid_ascent",
    summary="Steps of the grid never lower the evidence bound.",
    statement=r"L_{t+1} \ge L_t \text{ over outer iterations, each a step of the grid and rounds of updates}",
    source=ours("gradient steps of the grid inside coordinate ascent"),
    verdict=Always(_ROUNDING),
    instances=_uncertain,
    evaluate=_ascent,
    near_miss=lambda case: _ascent(case, step=0.04),
)


@dataclass(frozen=True, eq=False)
class _Channels:
    """Independent channels of one signal-to-noise ratio, of known noise."""

    problems: tuple[OffGridChannel, ...]
    snr_db: float

    def moved(self, **options: Any) -> float:
        """Return the mean error in decibels of grids that move."""
        errors = []
        for problem in self.problems:
            model = OffGridTurboVBI(prior=_PATHS, noise_variance=problem.noise_variance, **options)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(problem.F, problem.y)
            errors.append(problem.nmse(model.coef_, model.parameters_))
        return float(np.mean(10 * np.log10(errors)))

    def fixed(self) -> float:
        """Return that of the grid as it is."""
        errors = []
        for problem in self.problems:
            model = TurboVBI(
                prior=_PATHS,
                noise_variance=problem.noise_variance,
                max_iter=2000,
            )
            model.fit(problem.F.matrix(), problem.y)
            errors.append(problem.nmse(model.coef_, problem.F.grid))
        return float(np.mean(10 * np.log10(errors)))


def _draw_channels(rng: np.random.Generator, snr_db: float, n_draws: int = 3) -> _Channels:
    problems = tuple(
        make_off_grid_channel(n_antennas=96, n_pilots=48, cells=(22, 60), snr_db=snr_db, random_state=rng)
        for _ in range(n_draws)
    )
    return _Channels(problems, snr_db)


def _small_channels() -> st.SearchStrategy[_Channels]:
    return st.builds(
        lambda seed, snr: _draw_channels(np.random.default_rng(seed), snr, 2),
        st.integers(0, 2**32 - 1),
        st.sampled_from([0.0, 10.0, 20.0]),
    )


def _gain(channels: _Channels) -> Measurement:
    """Measure what the grid that moves gains over the one that does not."""
    moved, fixed = channels.moved(), channels.fixed()
    extras = {"moving grid, NMSE in dB": moved, "fixed grid, NMSE in dB": fixed}
    return Measurement(_SLOPE * channels.snr_db, fixed - moved, extras=extras)


moving_grid_gain = Claim(
    name="turbo_vbi.moving_grid_gain",
    summary="A grid that moves gains at least 0.4 dB for every dB of signal over noise.",
    statement=r"\mathrm{NMSE}(\text{moving grid}) \le \mathrm{NMSE}(\text{fixed grid}) - 0.4 \, \mathrm{SNR} "
    r"\text{ in dB}, \quad \text{mean of 3 channels}",
    source=Source.measured("gain of the moving grid, 2.3, 5.1, 9.1, 13.4, 16.4 dB at 0, 5, 10, 15, 20 dB"),
    verdict=WithProbability(0.9),
    instances=_small_channels,
    evaluate=_gain,
    near_miss=_SLOPE / 0.9,
    sweep=Sweep(
        axis="SNR in dB",
        values=(0.0, 5.0, 10.0, 15.0, 20.0),
        draw=_draw_channels,
        trials=60,
        quick_trials=31,
        quick_values=(15.0,),
        measured_label="claimed: 0.4 SNR",
        y_label="gain in dB",
        bound_label="gain in dB",
    ),
)


def _early(channels: _Channels) -> Measurement:
    """Measure what grids that move from the annealing on gain over grids that move only after it."""
    early, late = channels.moved(), channels.moved(anneal_grid=False)
    extras = {"moved while annealing, NMSE in dB": early, "moved afterwards, NMSE in dB": late}
    return Measurement(0.2, late - early, extras=extras)


annealed_grid = Claim(
    name="turbo_vbi.annealed_grid",
    summary="It pays to move the grid while annealing, not after it.",
    statement=r"\mathrm{NMSE}(\text{moved while annealing}) \le \mathrm{NMSE}(\text{moved afterwards}) - 0.2 \text{ dB}"
    r", \quad \text{mean of 3 channels at 10 to 15 dB}",
    source=Source.measured("gain of moving the grid during the annealing, 3.2 dB at 10 dB, 3.9 dB at 15 dB"),
    verdict=WithProbability(0.8),
    instances=_small_channels,
    evaluate=_early,
    # What is gained in the mean is not gained by most.
    near_miss=0.2 / 4,
    sweep=Sweep(
        axis="SNR in dB",
        values=(10.0, 12.5, 15.0),
        draw=_draw_channels,
        trials=60,
        quick_trials=31,
        quick_values=(10.0,),
        measured_label="claimed: 0.2 dB",
        y_label="gain in dB",
        bound_label="gain in dB",
    ),
)
