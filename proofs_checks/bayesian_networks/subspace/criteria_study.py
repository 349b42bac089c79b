"""Studies: which weights to remove and which to add, in networks for handwritten digits."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.bayesian_networks.subspace.pictures import Arm, Found, run_arm

_COLUMNS = ("way", "accuracy", "standard deviation", "share ever active", "swaps alike")
_CRITERIA = (
    "static",
    "random",
    "mean",
    "mean_abs",
    "snr",
    "snr_abs",
    "savage_dickey",
    "exp_abs",
    "snr_exp_abs",
)
_RULES: dict[str, dict[str, Any]] = {
    "gradient": {},
    "gradient without noise": {"options": (("noise_free_grad", True),)},
    "gradient over 5 steps": {"options": (("grad_accumulation", 5),)},
    "gain": {"rule": "gain"},
    "gain without noise": {"rule": "gain", "options": (("noise_free_grad", True),)},
    "gain, price": {"rule": "gain", "criterion": "savage_dickey"},
    "gradient, temperature 1": {"temperature": 1.0},
    "gain, temperature 1": {"rule": "gain", "temperature": 1.0},
}


def _rows(runs: dict[str, list[Found]], reference: str) -> list[tuple[Any, ...]]:
    return [
        (
            way,
            round(float(np.mean([run.accuracy for run in found])), 4),
            round(float(np.std([run.accuracy for run in found], ddof=1)), 4) if len(found) > 1 else "",
            round(float(np.mean([run.explored for run in found])), 4),
            sum(run.history == other.history for run, other in zip(found, runs[reference], strict=True)),
        )
        for way, found in runs.items()
    ]


def _plot(runs: dict[str, list[Found]], title: str) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for place, found in enumerate(runs.values()):
            values = [run.accuracy for run in found]
            ax.plot(values, [place] * len(values), "o", color="C0", alpha=0.4)
            ax.plot(np.mean(values), place, "|", color="C1", markersize=18)
        ax.set_yticks(range(len(runs)), list(runs))
        ax.set_xlabel("accuracy on other digits; bars are means")
        ax.set_title(title)

    return draw


def _criteria(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    runs = {name: [run_arm(Arm(seed, criterion=name)) for seed in range(8)] for name in _CRITERIA}
    means = {name: float(np.mean([run.accuracy for run in found])) for name, found in runs.items()}
    notes = (
        f"Means of 8 seeds, 40 epochs, one weight in twenty. snr minus |mu| "
        f"{means['snr'] - means['mean']:+.3f}, minus random removal {means['snr'] - means['random']:+.3f}, minus "
        f"static masks {means['snr'] - means['static']:+.3f}. The last column counts runs whose masks were those of "
        "snr at every swap: snr_abs is the same order, and the Savage-Dickey price is for nearly equal deviations."
    )
    return StudyResult(_COLUMNS, _rows(runs, "snr"), notes, _plot(runs, "Which weights leave, at 5 % density"))


def _additions(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    runs = {name: [run_arm(Arm(seed, **settings)) for seed in range(4)] for name, settings in _RULES.items()}
    means = {name: float(np.mean([run.accuracy for run in found])) for name, found in runs.items()}
    notes = (
        f"Means of 4 seeds. gain minus gradient {means['gain'] - means['gradient']:+.3f}, without noise "
        f"{means['gain without noise'] - means['gradient without noise']:+.3f}, at temperature 1 "
        f"{means['gain, temperature 1'] - means['gradient, temperature 1']:+.3f}. In linear models the gain is exact "
        "and finds the right columns; in a network its curvatures, squared gradients of single samples, change with "
        "the weights. What has just been removed gains its exact price in all rows of gains."
    )
    return StudyResult(_COLUMNS, _rows(runs, "gradient"), notes, _plot(runs, "Which weights enter, at 5 % density"))


removal_criteria = Study(
    name="bayesian_networks.removal_criteria",
    title="Which weights to remove at a swap",
    description="A Bayesian network 64-256-128-10 without biases for the digits of scikit-learn, with one in twenty "
    "weights, under all criteria of removal, static masks and removal at random.",
    run=_criteria,
)

addition_rules = Study(
    name="bayesian_networks.addition_rules",
    title="Which weights to add at a swap",
    description="The same network, where weights are added by the derivative at the minibatch of the swap, with and "
    "without noise, averaged over steps, or by the gain of the evidence bound with squared gradients as curvatures.",
    run=_additions,
)
