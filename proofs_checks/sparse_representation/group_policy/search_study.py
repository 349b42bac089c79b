"""Policies that learn to name items beside bandit algorithms on the same rewards, at the same number of answers."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory import bandits
from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.sparse_representation.group_policy.policies import ARMS, N_ANSWERS, hit_curve
from sparsetheory.typing import Float64Array

_HORIZON = 1200
_QUESTIONS = {"quick": 4, "full": 8}
# Trying each item once is cheap, and needs many questions for a smooth curve.
_MANY = 200
_COLUMNS = ("who asks", "answers until half are right", "right among the first 400", "right at the end")
_NOTES = (
    "Synthetic questions with 256 items and rewards of prefixes without noise; {n} answers to each question. Policies "
    "start from nothing, see no item features, and never forget to explore. Trying each item once finds it in 128 "
    "answers on average, and then names it: on a catalogue this small no policy gradient is worth its answers. Rewards "
    "are linear but for {eps:.2f} at most, which LinUCB does not know."
)
_FULL_NOTES = " Inflated, it allows for it. The support search knows it, and stops once no other item can be better."


def _policy(arm: str) -> Float64Array:
    """Return the probability of a right answer, for each answer."""
    curve = hit_curve(ARMS[arm], 0, _HORIZON // N_ANSWERS).mean(1)
    return np.repeat(curve, N_ANSWERS)


def _each_once(instance: Any, rng: np.random.Generator) -> list[int]:
    tried = rng.permutation(instance.n_actions).tolist()
    return tried[: tried.index(int(instance.rewards.argmax())) + 1]


def _by(algorithm: Any, instance: Any) -> list[int]:
    """Return the actions that an algorithm of the package queries, in order, and then the one it recommends."""
    asked: list[int] = []

    def oracle(actions: Any) -> Float64Array:
        asked.extend(actions.tolist())
        return np.asarray(instance.rewards[actions])

    problem = bandits.LinearBanditProblem(instance.features(), oracle=oracle, eps=instance.eps)
    with warnings.catch_warnings():
        # A gap that is guaranteed says nothing here, and none is shown.
        warnings.simplefilter("ignore", bandits.VacuousBoundWarning)
        fitted = algorithm.fit(problem)
    return [*asked, int(fitted.action_)]


def _searches(profile: str) -> dict[str, Callable[[Any, np.random.Generator], list[int]]]:
    found: dict[str, Callable[[Any, np.random.Generator], list[int]]] = {
        "LinUCB": lambda instance, rng: _by(bandits.LinUCB(_HORIZON, noise_std=0.01, inflate=False), instance),
    }
    if profile == "full":
        found["LinUCB, inflated"] = lambda instance, rng: _by(bandits.LinUCB(_HORIZON, noise_std=0.01), instance)
        found["support search"] = lambda instance, rng: _by(
            bandits.AdaptiveSupportSearch(instance.n_nonzero, eps=instance.eps, target=0.01), instance
        )
    return found


def _hits(search: Callable[[Any, np.random.Generator], list[int]], n_questions: int) -> Float64Array:
    """Return the share of questions whose answer is right, for each answer; the last one is repeated."""
    total = np.zeros(_HORIZON)
    for question in range(n_questions):
        rng = np.random.default_rng(question)
        instance = representation.make_code_bandit(rng.integers(0, 4, 4).tolist(), 4)
        actions = np.array(search(instance, rng))[:_HORIZON]
        actions = np.pad(actions, (0, _HORIZON - len(actions)), mode="edge")
        total += actions == instance.rewards.argmax()
    return total / n_questions


def _half(curve: Float64Array) -> Any:
    """Return from which answer on at least half of the ten around it are right."""
    smooth = curve.reshape(-1, N_ANSWERS).mean(1) >= 0.5
    return int(smooth.argmax()) * N_ANSWERS if smooth.any() else "never"


def _plot(curves: dict[str, Float64Array]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places = np.arange(0, _HORIZON, N_ANSWERS)
        for name, curve in curves.items():
            ax.plot(places, curve.reshape(-1, N_ANSWERS).mean(1), "-" if name in ARMS else "--", label=name)
        ax.set(xlabel="answers to a question", ylabel="share that is right, synthetic questions")
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=3)

    return draw


def _run(profile: str) -> StudyResult:
    curves = {arm: _policy(arm) for arm in ARMS}
    curves["each item once"] = _hits(_each_once, _MANY)
    curves |= {name: _hits(search, _QUESTIONS[profile]) for name, search in _searches(profile).items()}
    rows = [
        (name, _half(curve), round(float(curve[:400].mean()), 3), round(float(curve[-100:].mean()), 3))
        for name, curve in curves.items()
    ]
    eps = representation.make_code_bandit([0] * 4, 4).eps
    notes = _NOTES.format(n=_HORIZON, eps=eps) + (_FULL_NOTES if profile == "full" else "")
    return StudyResult(_COLUMNS, rows, notes, _plot(curves))


item_search = Study(
    name="sparse_representation.item_search",
    title="Policies and bandit algorithms that look for an item",
    description="How many answers policies need until they name the right one of 256 items, by rewards and advantages; "
    "beside bandit algorithms on the same rewards, and trying each item once.",
    run=_run,
)
