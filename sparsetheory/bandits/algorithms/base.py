"""What all algorithms share: one loop for programs, and its parts for live experiments."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from sparsetheory.bandits.algorithms.log import MeanRewards, QueryLog
from sparsetheory.bandits.algorithms.saved import SavedExperiment, read_experiment, write_experiment
from sparsetheory.bandits.algorithms.session import Batches, Session
from sparsetheory.bandits.environments.problem import LinearBanditProblem, as_features
from sparsetheory.bandits.errors import VacuousBoundWarning
from sparsetheory.certificates import Certificate
from sparsetheory.constraints import COUNT, MISSING, SIZE, Constraint, Instance, check_parameters, generator
from sparsetheory.typing import AnyArray, BoolArray, IndexArray

__all__ = ["BanditAlgorithm", "Outcome"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an algorithm returns.

    Parameters
    ----------
    action : int
        The action that it recommends.
    bound : float
        Bound of its gap that the theory of the algorithm proves before any query; infinite where there is none.
    attributes : dict
        Further results by the names of fitted attributes.
    """

    action: int
    bound: float = np.inf
    attributes: dict[str, Any] = field(default_factory=dict)


class BanditAlgorithm(BaseEstimator):
    """Base of all algorithms.

    A subclass implements ``_batches``, a generator that yields :class:`~.session.Batch` objects, is sent their rewards,
    and returns an :class:`Outcome`; and ``_certificate``, which says what the answers so far prove. Both look at the
    features, at ``self._seed``, and at parameters alone.

    Attributes
    ----------
    action_ : int
        The recommended action.
    n_queries_ : int
        Queries that were answered.
    queried_ : ndarray of int
        Actions that were queried, each once, in the order of their first answer.
    observed_ : ndarray of float
        Their mean rewards.
    bound_ : float
        What the theory of the algorithm guarantees of the gap before any query; infinite if the budget ended the
        search.
    vacuous_ : bool
        Whether that says nothing, because no gap can be larger.
    certificate_ : Certificate
        What the answers prove of the gap.
    log_ : QueryLog
        All answers, with the probabilities with which the actions were chosen.
    finished_ : bool
        Whether the algorithm came to its end before the budget did.
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {}

    def fit(self, problem: LinearBanditProblem, *, budget: int | None = None) -> Self:
        """Query a problem until the end.

        Parameters
        ----------
        problem : LinearBanditProblem
        budget : int, optional
            Largest number of queries.

        Returns
        -------
        self
            Interrupted with Ctrl-C, it keeps all answers; ``run(problem)`` goes on where it stood.

        Raises
        ------
        ValueError
            If a parameter is not allowed, or the problem has more noise than the algorithm was told.
        InconsistentOracleError
            If the rewards prove that the misspecification is larger than `eps`.

        Warns
        -----
        VacuousBoundWarning
            If the theory guarantees nothing.
        """
        Instance(LinearBanditProblem).check("problem", problem)
        check_parameters(self)
        noise_std = getattr(self, "noise_std", np.inf)
        if problem.noise_std > noise_std:
            raise ValueError(
                f"noise_std must be at least that of the problem, {problem.noise_std:g}; got {noise_std:g}"
            )
        return self._start(problem.features, budget, eps=problem.eps).run(problem)

    def start(self, features: ArrayLike, *, budget: int | None = None) -> Self:
        """Begin a live experiment; :meth:`ask` and :meth:`tell` go on.

        Parameters
        ----------
        features : array-like of shape (n_actions, n_features)
        budget : int, optional
            Largest number of queries.

        Returns
        -------
        self

        Examples
        --------
        >>> import numpy as np
        >>> from sparsetheory.bandits import CoreSetBandit
        >>> search = CoreSetBandit(eps=0.1).start(np.eye(3))
        >>> search.ask(2).tolist(), search.ask().tolist()
        ([0, 1], [2])
        >>> search.tell([2, 0], [0.9, 0.1]).finished_
        False
        >>> search.tell([1], [0.5]).action_
        2
        """
        return self._start(as_features(features), budget)

    def run(self, problem: LinearBanditProblem) -> Self:
        """Let a problem answer all queries that are open or still to come.

        Parameters
        ----------
        problem : LinearBanditProblem

        Returns
        -------
        self
        """
        while self.ask().size or self.open_.size:
            actions = self.open_
            self.tell(actions, problem.query(actions))
        self._settle()
        return self

    def ask(self, n: int | None = None) -> IndexArray:
        """Return the next actions to query.

        Parameters
        ----------
        n : int, optional
            How many at most; all that do not depend on open answers by default.

        Returns
        -------
        ndarray of int
            An action may stand there several times. Empty while the algorithm waits for answers, and at its end.
        """
        (MISSING | COUNT).check("n", n)
        return self._going.ask(n)

    def tell(self, actions: ArrayLike, rewards: ArrayLike) -> Self:
        """Take answers to queries, late and in any order.

        Parameters
        ----------
        actions : array-like of int
            Actions that :meth:`ask` returned.
        rewards : array-like of float
            Their rewards.

        Returns
        -------
        self
            With the fitted attributes, if this was all that the algorithm or the budget asked for.

        Raises
        ------
        ValueError
            If an action has no open query, or a reward is not finite. Nothing is taken then.
        """
        self._going.tell(actions, rewards)
        self._settle()
        return self

    @property
    def finished_(self) -> bool:
        """Whether the algorithm came to its end."""
        return self._going.finished

    @property
    def open_(self) -> IndexArray:
        """Actions of the queries that were handed out and not answered."""
        return self._going.open

    @property
    def log_(self) -> QueryLog:
        """All answers so far."""
        return self._going.log

    def certify(self) -> Certificate:
        """Return what the answers so far prove of the best of the queried actions, at any time.

        Returns
        -------
        Certificate
            Of an infinite bound as long as they prove nothing.
        """
        session = self._going
        means = session.log.means()
        return self._certificate(self._recommended(means), means, session.result if session.finished else None)

    def save(self, path: str | Path) -> None:
        """Write the experiment to a file: parameters, answers, and the number of open queries.

        Parameters
        ----------
        path : str or path
            The file, in the format of :func:`numpy.savez`.
        """
        saved = self._saved(self._going)
        write_experiment(Path(path), type(self).__name__, self.get_params(), self._features, saved)

    @classmethod
    def load(cls, path: str | Path, features: ArrayLike) -> Self:
        """Read an experiment that was saved, and go on where it stood.

        Parameters
        ----------
        path : str or path
        features : array-like of shape (n_actions, n_features)
            Those that the experiment was started with.

        Returns
        -------
        algorithm
            Its open queries stay open: :meth:`tell` takes their answers.

        Raises
        ------
        ValueError
            If the file is of another algorithm, or the features are others.
        """
        checked = as_features(features)
        parameters, saved = read_experiment(Path(path), cls.__name__, checked)
        search = cls(**parameters)
        check_parameters(search)
        search._features = checked
        return search._resume(saved)

    @abstractmethod
    def _batches(self) -> Batches:
        """Yield batches, and return an :class:`Outcome`."""

    @abstractmethod
    def _certificate(self, action: int, means: MeanRewards, outcome: Outcome | None) -> Certificate:
        """Return what answers prove of the gap of an action; there is no outcome before the end."""

    def _begin(self) -> None:
        """Set what the answers will change, as it is before the first one."""

    def _settled(self, means: MeanRewards) -> BoolArray:
        """Return which actions have been queried as often as noise demands."""
        return np.ones(len(means.actions), dtype=bool)

    def _recommended(self, means: MeanRewards) -> int:
        """Return the action to recommend where a budget ended the search: the best one observed.

        Of an action that lacks repetitions little is known. It counts only as long as all of them do.
        """
        complete = self._settled(means)
        values = np.where(complete, means.rewards, -np.inf) if complete.any() else means.rewards
        return int(means.actions[np.argmax(values)]) if len(means.actions) else 0

    def _start(self, features: AnyArray, budget: int | None, *, eps: float | None = None) -> Self:
        check_parameters(self)
        (MISSING | SIZE).check("budget", budget)
        seed = int(generator(getattr(self, "random_state", 0)).integers(2**63))
        self.__dict__.pop("_session", None)
        self._features = features
        nothing = SavedExperiment(np.empty(0, dtype=np.intp), np.empty(0), 0, budget, eps, seed)
        return self._resume(nothing)

    def _saved(self, session: Session) -> SavedExperiment:
        log = session.log
        return SavedExperiment(log.actions, log.rewards, session.n_asked, session.budget, self._eps, self._seed)

    def _resume(self, saved: SavedExperiment) -> Self:
        """Make the session anew from its answers; until that is done, an interruption leaves the old one."""
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)
        self._eps = self.eps if getattr(self, "eps", None) is not None else saved.eps
        self._seed = saved.seed
        self._begin()
        session = Session(self._batches() if len(self._features) > 1 else _only_action(), saved.budget)
        session.replay(saved.actions, saved.rewards, saved.n_asked)
        self._session = session
        self._settle()
        return self

    @property
    def _going(self) -> Session:
        if not hasattr(self, "_session"):
            raise NotFittedError(f"call fit or start of this {type(self).__name__} first")
        if self._session.interrupted:
            self._resume(self._saved(self._session))
        return self._session

    def _settle(self) -> None:
        """Set the fitted attributes at the end, unless that is done."""
        session = self._going
        if (session.finished or session.exhausted) and not hasattr(self, "certificate_"):
            self._finish()

    def _finish(self) -> None:
        """Set the fitted attributes."""
        session = self._session
        means = session.log.means()
        outcome = session.result if session.finished else Outcome(self._recommended(means))
        for name, value in outcome.attributes.items():
            setattr(self, name, value)
        self.action_, self.bound_ = outcome.action, float(outcome.bound)
        self.n_queries_ = len(session.log)
        self.queried_, self.observed_ = means.actions, means.rewards
        span = getattr(self, "reward_range", None)
        if span is None:
            span = np.ptp(means.rewards) if len(means.rewards) > 1 else np.inf
        self.vacuous_ = bool(self.bound_ >= span > 0)
        if self.vacuous_ and session.finished:
            warnings.warn(
                f"the gap is guaranteed to be at most {self.bound_:g}, and rewards differ by {span:g} at most: this "
                "says nothing; see certificate_ for what the answers prove",
                VacuousBoundWarning,
                stacklevel=2,
            )
        self.certificate_ = self._certificate(self.action_, means, outcome if session.finished else None)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_session" in state and not self._session.finished:
            # A generator cannot be pickled; it is made anew from the answers.
            del state["_session"]
            state["_replayed"] = self._saved(self._session)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved = state.pop("_replayed", None)
        super().__setstate__(state)
        if saved is not None:
            self._resume(saved)


def _only_action() -> Batches:
    """Recommend the only action there is."""
    return Outcome(0, 0.0)
    yield
