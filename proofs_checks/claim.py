r"""A theorem as one object.

A claim says where a theorem comes from, how to draw instances of it, what is measured on an instance and what
bounds it. Nothing restates it: the property tests, the command line and the notebooks read the object.

Examples
--------
The triangle inequality, with the plausible mistake "the longer side already bounds the sum":

>>> import numpy as np
>>> from hypothesis import strategies as st
>>> from sparsetheory.proofs_checks import Always, Claim, Measurement, Source
>>> pairs = st.tuples(st.integers(-9, 9), st.integers(-9, 9))
>>> triangle = Claim(
...     name="triangle",
...     statement=r"|a + b| \le |a| + |b|",
...     source=Source.classic("folklore", "triangle inequality"),
...     verdict=Always(rtol=0.0),
...     instances=lambda: pairs,
...     evaluate=lambda ab: Measurement(abs(sum(ab)), abs(ab[0]) + abs(ab[1])),
...     near_miss=lambda ab: Measurement(abs(sum(ab)), max(abs(ab[0]), abs(ab[1]))),
... )
>>> triangle.check(max_examples=100).tightest  # measured / bound of the tightest instance seen
1.0
>>> a, b = triangle.refute_near_miss()
>>> abs(a + b) > max(abs(a), abs(b))
True
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from hypothesis import Phase, find, given
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sparsetheory.proofs_checks.examples import example_settings, nothing_stored
from sparsetheory.proofs_checks.measurement import Measurement
from sparsetheory.proofs_checks.verdicts import Always, Judgement, State, Verdict

if TYPE_CHECKING:
    from sparsetheory.proofs_checks.result import ClaimResult

__all__ = ["Claim", "Measurement", "Reversed", "Source", "Sweep"]


@dataclass(frozen=True)
class Source:
    """Where a theorem comes from.

    Parameters
    ----------
    paper : str
        Author, title, year.
    item : str
        "Theorem 2", "abstract", "lemma behind ...".
    arxiv : str, optional
        Identifier.
    provenance : {"paper", "authors' code", "classic", "ours", "measured"}
        Who stands behind the statement as written here. What we derived is "ours", whatever it was inspired by. What
        nobody has proved, and we observed in the experiment of the sweep, is "measured".
    """

    paper: str
    item: str
    arxiv: str | None = None
    provenance: Literal["paper", "authors' code", "classic", "ours", "measured"] = "paper"

    @classmethod
    def classic(cls, who: str, item: str) -> "Source":
        """Cite known theory: who proved it, and what it is called."""
        return cls(who, item, provenance="classic")

    @classmethod
    def ours(cls, item: str) -> "Source":
        """Cite a derivation of this package, which the docstring of the claim's measurement gives."""
        return cls("sparsetheory", item, provenance="ours")

    @classmethod
    def measured(cls, item: str) -> "Source":
        """Cite an observation of this package: what the sweep of the claim shows, and nobody has proved."""
        return cls("sparsetheory", item, provenance="measured")

    @property
    def citation(self) -> str:
        """Paper, item and identifier in one line."""
        return ", ".join(filter(None, [self.paper, self.item, self.arxiv and f"arXiv:{self.arxiv}"]))

    def __str__(self) -> str:
        """Return the citation and who stands behind it in one line."""
        return f"{self.citation} [{self.provenance}]"


@dataclass(frozen=True)
class Sweep:
    """The experiment behind the bound plot of a claim.

    Parameters
    ----------
    axis : str
        Name of the swept quantity.
    values : tuple of float
        Its values in the full profile; the quick profile takes the same values unless `quick_values` says otherwise.
    draw : callable
        ``draw(rng, value)`` returns one instance for `evaluate`.
    trials, quick_trials : int
        Repetitions per value in the full and quick profiles.
    quick_values : tuple of float, optional
        Values of the quick profile, where all of them would take too long; a part of `values`.
    log : str
        Which axes are logarithmic: "", "x", "y" or "xy".
    measured_label, bound_label : str
        Names of the two curves.
    y_label : str, optional
        What the y axis shows, where it is more than the name of the measured curve.
    """

    axis: str
    values: tuple[float, ...]
    draw: Callable[[np.random.Generator, float], Any]
    trials: int = 50
    quick_trials: int = 10
    quick_values: tuple[float, ...] | None = None
    log: str = ""
    measured_label: str = "measured"
    bound_label: str = "bound"
    y_label: str = ""

    def instances(self) -> SearchStrategy[Any]:
        """Return a strategy that draws what the sweep draws: any of its values, with any seed."""
        return st.builds(
            lambda value, seed: self.draw(np.random.default_rng(seed), value),
            st.sampled_from(self.values),
            st.integers(0, 2**32 - 1),
        )


@dataclass(frozen=True)
class Reversed:
    """The near miss that turns the inequality round: the bound is at most what was measured."""

    def of(self, measurement: Measurement) -> Measurement:
        """Return the measurement of the reversed inequality, on the same scale."""
        return Measurement(measurement.bound, measurement.measured, measurement.scale)


@dataclass(frozen=True)
class Claim:
    """A theorem, executable.

    Parameters
    ----------
    name : str
        ``family.theorem``, unique in the package.
    statement : str
        One line of mathematics in TeX, without dollar signs.
    source : Source
        Citation and provenance.
    verdict : Verdict
        How measurements decide.
    evaluate : callable
        Measures one instance.
    near_miss : float, Reversed or callable
        A wrong claim close to this one, which the verdict must refute: the bound times a factor (below one,
        or above one for a lower bound), the reversed inequality, or another `evaluate` that makes a plausible mistake.
        It proves that the check can fail.
    instances : callable, optional
        Returns a hypothesis strategy of small, adversarial, shrinkable instances; by default the instances of the
        sweep.
    sweep : Sweep, optional
        The bound plot. Claims without one are checked on instances only.
    summary : str, optional
        The statement in one plain sentence, for those who do not read TeX; shown under the name in figures and reports.
    """

    name: str
    statement: str
    source: Source
    verdict: Verdict
    evaluate: Callable[[Any], Measurement]
    near_miss: float | Reversed | Callable[[Any], Measurement]
    instances: Callable[[], SearchStrategy[Any]] = None  # type: ignore[assignment]
    sweep: Sweep | None = None
    summary: str = ""

    def __post_init__(self) -> None:
        if self.instances is None:
            if self.sweep is None:
                raise ValueError(f"claim {self.name!r} must have instances or a sweep to draw them from")
            object.__setattr__(self, "instances", self.sweep.instances)

    def evaluate_near_miss(self, instance: Any) -> Measurement:
        """Measure an instance against the wrong claim."""
        if isinstance(self.near_miss, Reversed):
            return self.near_miss.of(self.evaluate(instance))
        if callable(self.near_miss):
            return self.near_miss(instance)
        return self.evaluate(instance).with_bound(self.near_miss)

    def check(self, max_examples: int = 100, seed: int | None = None) -> Judgement:
        """Search for a counterexample of an ``Always`` claim.

        Parameters
        ----------
        max_examples : int
            How many instances hypothesis draws.
        seed : int, optional
            Draws other instances for every seed; by default the same ones each time.

        Returns
        -------
        Judgement
            That the claim holds on what was drawn, with the tightest ``measured / bound``.

        Raises
        ------
        AssertionError
            With the smallest counterexample found.
        TypeError
            If the claim is judged over a sweep.
        """
        verdict = self._always()
        ratios: list[float] = []

        @example_settings(max_examples, derandomize=seed is None)
        @given(self.instances())
        def holds(instance: Any) -> None:
            measurement = self.evaluate(instance)
            assert verdict.accepts(measurement), f"{self.name} is violated: {measurement} on {instance!r}"
            ratios.append(measurement.tightness(verdict.rtol))

        with nothing_stored():
            (holds if seed is None else seeded(seed)(holds))()
        return Judgement(
            State.HOLDS, f"no counterexample in {len(ratios)} adversarial instances", max(ratios, default=None)
        )

    def refute_near_miss(self, max_examples: int = 5000) -> Any:
        """Find an instance on which the near miss fails.

        Parameters
        ----------
        max_examples : int
            How many instances to try.

        Returns
        -------
        instance
            The smallest counterexample found.

        Raises
        ------
        hypothesis.errors.NoSuchExample
            When the near miss survives: the check has no teeth.
        """
        verdict = self._always()
        with nothing_stored():
            return find(
                self.instances(),
                lambda instance: not verdict.accepts(self.evaluate_near_miss(instance)),
                settings=example_settings(max_examples, derandomize=True, phases=[Phase.generate]),
            )

    def run(self, **options: Any) -> "ClaimResult":
        """Run the sweep.

        Parameters
        ----------
        **options
            As in :func:`sparsetheory.experiments.sweep.run_claim`: profile, trials, seed, n_jobs, out,
            resume, progress.

        Returns
        -------
        ClaimResult
        """
        from sparsetheory.experiments.sweep import run_claim

        return run_claim(self, **options)

    def _always(self) -> Always:
        if not isinstance(self.verdict, Always):
            raise TypeError(f"{self.name} is judged over a sweep ({self.verdict}); use run")
        return self.verdict
