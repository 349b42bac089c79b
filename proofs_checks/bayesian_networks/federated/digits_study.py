"""Decentralised Turbo-VBI on pictures that clients hold: accuracy, density and bytes, round by round."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.bayesian_networks.federated.digits import FederatedArm, FederatedRun, run_federated
from sparsetheory.proofs_checks.bayesian_networks.turbo.digits import Arm, run_arm

_COLUMNS = (
    "pictures",
    "method",
    "rows of clients",
    "accuracy",
    "standard deviation",
    "density",
    "MB per client",
    "bytes of the last round / dense averaging",
)
_TITLES = {"digits": "digits", "MNIST": "MNIST, 5,000"}
_START = {
    "digits": FederatedArm(0),
    "MNIST": FederatedArm(0, "MNIST", n_rounds=40, warmup_rounds=5, anneal_rounds=20, n_steps=32),
}
_SEEDS = {"digits": (0, 1, 2), "MNIST": (0, 1)}
_ARMS: dict[str, dict[str, Any]] = {
    "dense averaging": {"average": "dense"},
    "natural averages": {},
    "parameter averages": {"average": "parameters"},
    "natural averages, T = 0.3": {"temperature": 0.3},
}
_DIGITS_ARMS: dict[str, dict[str, Any]] = {
    "natural averages, half of the clients a round": {"participation": 0.5},
    "natural averages, annealing of 8 rounds": {"anneal_rounds": 8},
    "natural averages, 3 steps a round": {"n_steps": 3},
}


def _runs(pictures: str, changes: dict[str, Any], skewed: bool) -> list[FederatedRun]:
    return [run_federated(replace(_START[pictures], seed=seed, skewed=skewed, **changes)) for seed in _SEEDS[pictures]]


def _row(pictures: str, method: str, skewed: bool, runs: Sequence[FederatedRun], dense: float) -> tuple[Any, ...]:
    accuracies = [run.accuracy for run in runs]
    last = np.mean([run.path[-1, 2:].sum() for run in runs])
    return (
        _TITLES[pictures],
        method,
        "other shares of labels" if skewed else "random",
        round(float(np.mean(accuracies)), 4),
        round(float(np.std(accuracies, ddof=1)), 4),
        round(float(np.mean([run.density for run in runs])), 3),
        round(float(np.mean([run.n_bytes for run in runs])) / 1e6, 2),
        round(float(last / dense), 3),
    )


def _central_row(pictures: str, temperature: float) -> tuple[Any, ...]:
    """Train on all rows in one place, for as many epochs as other studies of the network prior do."""
    epochs, warmup = (60, 10) if pictures == "digits" else (30, 5)
    arms = [
        Arm(seed, "chain_rows", epochs=epochs, warmup_epochs=warmup, temperature=temperature, pictures=pictures)
        for seed in _SEEDS[pictures]
    ]
    runs = [run_arm(arm) for arm in arms]
    accuracies = [run.pruned for run in runs]
    return (
        _TITLES[pictures],
        f"central, T = {temperature:g}",
        "all",
        round(float(np.mean(accuracies)), 4),
        round(float(np.std(accuracies, ddof=1)), 4),
        round(float(np.mean([run.report.density for run in runs])), 3),
        "",
        "",
    )


def _plot(paths: dict[tuple[str, bool], Any], dense: float) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        figure.set_size_inches(10.5, 3.6)
        left, middle, right = figure.subplots(1, 3)
        for index, method in enumerate(_ARMS):
            for skewed, style in ((False, "-"), (True, "--")):
                path = paths[method, skewed]
                rounds = np.arange(1, len(path) + 1)
                label = method if not skewed else None
                left.plot(rounds, path[:, 0], style, color=f"C{index}", label=label)
                middle.plot(rounds, path[:, 1], style, color=f"C{index}")
                right.plot(rounds, np.cumsum(path[:, 2:].sum(1)) / 1e6, style, color=f"C{index}")
        right.axhline(dense * len(path) / 1e6, color="grey", lw=0.7)
        left.set_ylabel("accuracy of the means")
        middle.set_ylabel("share of weights that is sent")
        right.set_ylabel("MB per client so far")
        middle.set_yscale("log")
        for ax in (left, middle, right):
            ax.set_xlabel("rounds")
        left.legend(fontsize=7, title="dashed: other shares of labels", title_fontsize=7)
        figure.tight_layout()

    return draw


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows, paths, baseline = [], {}, 0.0
    for pictures in _START:
        rows += [_central_row(pictures, temperature) for temperature in (1.0, 0.3)]
        arms = {**_ARMS, **(_DIGITS_ARMS if pictures == "digits" else {})}
        dense = float(_runs(pictures, _ARMS["dense averaging"], False)[0].path[-1, 2:].sum())
        for method, changes in arms.items():
            for skewed in (False, True) if method in _ARMS else (False,):
                runs = _runs(pictures, changes, skewed)
                rows.append(_row(pictures, method, skewed, runs, dense))
                if pictures == "digits" and method in _ARMS:
                    paths[method, skewed] = np.mean([run.path for run in runs], axis=0)
        baseline = dense if pictures == "digits" else baseline
    notes = (
        "Five clients; with other shares of labels each label is dealt by Dirichlet laws of concentration 0.3, so that "
        "numbers of rows differ too. The prior is one chain per unit. A Bayesian message holds two numbers per weight "
        "that is on, that of dense averaging one per weight. Bytes are those that a client receives and sends. All "
        "networks are tested as they are averaged, without fine-tuning. How long runs are is up to the prior."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(paths, baseline))


federated_pictures = Study(
    name="bayesian_networks.federated_pictures",
    title="Pictures that clients keep",
    description="Five clients train one network on digits of scikit-learn and of MNIST that they do not share, by "
    "decentralised Turbo-VBI with two ways to average and by dense averaging, beside central training.",
    run=_run,
)
