"""Claims about random networks: how the residual stream grows with depth, and what masks and their rescaling do."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.verdicts import ScalesAs, WithProbability

_WIDTH, _DEPTH, _SEEDS = 128, 48, 4
_WITH, _WITHOUT = 0.15, 0.10
# Two means over four seeds differ by more than one does from what is expected.
_BETWEEN = 0.2
_PUBLISHED = "Muhtar et al., When does sparsity mitigate the curse of depth in LLMs (2026)"


@dataclass(frozen=True, eq=False)
class Growth:
    """Random networks of a density, and their seeds.

    Parameters
    ----------
    seed : int
    depth : int
    density : float
    """

    seed: int
    depth: int
    density: float

    def mean_growth(self, density: float | None = None, **options: Any) -> float:
        """Return the mean growth of the mean square per layer, over four seeds."""
        with one_thread():
            grown = [self._run(seed, density, **options).measured for seed in range(_SEEDS)]
        return float(np.mean([float(one[-1] - one[0]) for one in grown])) / self.depth

    @cached_property
    def mean_log_growth(self) -> float:
        """Mean growth of the logarithm of the mean square per layer without normalisation, over four seeds."""
        with one_thread():
            grown = [self._run(seed, None, norm=False).measured for seed in range(_SEEDS)]
        return float(np.mean([float((one[-1] / one[0]).log()) for one in grown])) / self.depth

    def _run(self, seed: int, density: float | None, **options: Any) -> Any:
        density = self.density if density is None else density
        return analysis.variance_growth(self.depth, _WIDTH, density, generator=self.seed + seed, **options)


def _at_depth(rng: np.random.Generator, depth: float) -> Growth:
    return Growth(int(rng.integers(2**31)), int(depth), 1.0)


def _at_density(rng: np.random.Generator, density: float) -> Growth:
    return Growth(int(rng.integers(2**31)), _DEPTH, density)


def _total(growth: Growth, **options: Any) -> Measurement:
    """Return the growth of the mean square over all layers, beside what is expected."""
    rate = growth.density**2 / 2
    return Measurement(growth.depth * growth.mean_growth(**options), growth.depth * rate)


variance_growth = Claim(
    name="network_analysis.variance_growth",
    summary="In a random network that normalises first, the residual stream grows linearly with depth.",
    statement=r"E \|h_L\|^2 / d - E \|h_0\|^2 / d = L\, \tau^2 r_1 r_2 / 2",
    source=Source(_PUBLISHED, "growth of the variance; the constant is derived here", "2603.15389", "ours"),
    verdict=ScalesAs(1.0, tol=0.1),
    evaluate=_total,
    near_miss=lambda growth: _total(growth, norm=False),
    sweep=Sweep(
        axis="layers",
        values=(3.0, 6.0, 12.0, 24.0, 48.0),
        draw=_at_depth,
        trials=20,
        quick_trials=3,
        log="xy",
        measured_label="measured growth",
        bound_label="expected growth",
        y_label="growth of the mean square",
    ),
)

variance_in_density = Claim(
    name="network_analysis.variance_in_density",
    summary="Masks on both matrices of a branch slow the growth of the stream by the square of their density.",
    statement=r"E \|h_L\|^2 / d - E \|h_0\|^2 / d \propto r^2, \quad r_1 = r_2 = r",
    source=Source(_PUBLISHED, "growth of the variance; the constant is derived here", "2603.15389", "ours"),
    verdict=ScalesAs(2.0, tol=0.15),
    evaluate=_total,
    near_miss=lambda growth: _total(growth, rescale=True),
    sweep=Sweep(
        axis="density of the masks",
        values=(0.125, 0.25, 0.5, 1.0),
        draw=_at_density,
        trials=20,
        quick_trials=2,
        log="xy",
        measured_label="measured growth",
        bound_label="expected growth",
        y_label="growth of the mean square",
    ),
)


def _close(growth: Growth, power: int) -> Measurement:
    """Compare four seeds in the mean with the expected growth, with normalisation and, by logarithms, without."""
    rate = growth.density**power / 2
    found = Measurement(abs(growth.mean_growth() / rate - 1), _WITH, 1.0)
    without = abs(growth.mean_log_growth / np.log1p(rate) - 1)
    return found.and_chain({"without normalisation": without, "0.1": _WITHOUT})


variance_constants = Claim(
    name="network_analysis.variance_constants",
    summary="The growth per layer is half the product of both densities; without normalisation growth is exponential.",
    statement=r"|\overline{E_L - E_0} / (L r^2 / 2) - 1| \le 0.15; \quad \text{without normalisation }"
    r" |\overline{\log (E_L / E_0)} / (L \log(1 + r^2 / 2)) - 1| \le 0.1",
    source=Source.ours("48 layers of width 128, means over 4 seeds"),
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=lambda growth: _close(growth, 2),
    near_miss=lambda growth: _close(growth, 1),
    sweep=Sweep(
        axis="density of the masks",
        values=(0.25, 0.5, 1.0),
        draw=_at_density,
        trials=20,
        quick_trials=7,
        quick_values=(0.25,),
        measured_label="relative error with normalisation",
        bound_label="0.15",
        y_label="relative error of the growth",
    ),
)


def _controls(growth: Growth, *, rescale: bool) -> Measurement:
    """Compare rescaled masks with no masks, and plain masks with smaller branches."""
    dense = growth.mean_growth(1.0)
    found = Measurement(abs(growth.mean_growth(rescale=rescale) / dense - 1), _BETWEEN, 1.0)
    small = abs(growth.mean_growth() / growth.mean_growth(1.0, branch_scale=growth.density) - 1)
    return found.and_chain({"masks against small branches": small, "0.2": _BETWEEN})


rescaled_masks = Claim(
    name="network_analysis.rescaled_masks",
    summary="Rescaled masks leave the growth of the stream as it is; plain ones act as smaller branches do.",
    statement=r"W \to r^{-1/2} M \odot W: \text{growth as dense, within } 20\%; \quad"
    r" W \to M \odot W: \text{growth as dense with } \tau = r",
    source=Source.ours("48 layers of width 128, means over 4 seeds"),
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=lambda growth: _controls(growth, rescale=True),
    near_miss=lambda growth: _controls(growth, rescale=False),
    sweep=Sweep(
        axis="density of the masks",
        values=(0.25, 0.5),
        draw=_at_density,
        trials=20,
        quick_trials=7,
        quick_values=(0.25,),
        measured_label="rescaled masks against none",
        bound_label="0.2",
        y_label="relative difference of the growth",
    ),
)
