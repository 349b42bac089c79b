"""The prior of Turbo-VBI: which coefficients are on, how large they are, and how precise the data."""

import warnings
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior, SupportPrior
from sparsetheory.bayesian.markov.support_priors_grid import GridPrior, RowsPrior
from sparsetheory.bayesian.noise import known_noise
from sparsetheory.bayesian.turbo.model import TurboModel
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.constraints import COUNT, FRACTION, MISSING, POSITIVE, Array, Choice, Constraint, Instance, Several
from sparsetheory.typing import Float64Array

__all__ = ["FACTORISATION", "GRIDS", "SPARSE_PRIOR", "UPDATE_EXPONENT", "SparsePrior"]

GRIDS = ("grid_belief_propagation", "grid_mean_field")
_STRUCTURES = ("chain", "iid", "chain_rows", *GRIDS)
# A prior of the noise with a smaller shape is meant to be vague, and is not if its rate exceeds this fraction of what
# the data contribute.
_SMALL = 1e-3


@dataclass(frozen=True)
class SparsePrior:
    r"""Prior of sparse coefficients for :class:`TurboVBI` and :class:`OffGridTurboVBI`.

    A binary state says of each coefficient whether it is on. Its precision has one Gamma distribution if it is, and
    another, of much larger mean, if it is not.

    Parameters
    ----------
    structure : {"chain", "iid", "chain_rows", "grid_belief_propagation", "grid_mean_field"}
        One Markov chain of states along the coefficients; independent states; on a grid: independent rows, or the
        geometric mean of chains along rows and chains along columns (ours), by loopy sum-product or by exact rows that
        see each other in the mean.
    activation, deactivation : float
        Probabilities of switching on and off along a line. Runs have mean length ``1 / deactivation``, gaps
        ``1 / activation``. The density is ``activation / (activation + deactivation)``, which is all that "iid" uses.
    grid_shape : tuple of int, optional
        Rows and columns of the grid, in C order of the coefficients; a grid of a single line is a chain.
    on_shape, off_shape : float or array-like of shape (n_features,)
        Shapes of the Gamma distributions of precisions.
    on_rate : "auto", float or array-like of shape (n_features,)
        Rate of those that are on; ``on_rate / on_shape`` is the expected square of a coefficient. "auto" gives the data
        the energy that they have, so that the fit does not depend on units.
    off_rate_ratio : float
        Rate of those that are off, over `on_rate`; below ``off_shape / on_shape``.
    noise_shape, noise_rate : float
        Shape and rate of the Gamma prior of the noise precision, for learned noise; the rate in units of the mean
        square of y.

    Raises
    ------
    ValueError
        When an estimator is fitted, if a value is out of its range.

    Examples
    --------
    >>> from sparsetheory.bayesian import SparsePrior, TurboVBI, make_clustered
    >>> prior = SparsePrior("chain", activation=0.01, deactivation=0.2)
    >>> problem = make_clustered(60, 150, activation=0.01, deactivation=0.2, random_state=0)
    >>> model = TurboVBI(prior=prior).fit(problem.F, problem.y)
    >>> bool(problem.support[model.support_].all())
    True
    """

    structure: str = "chain"
    _: KW_ONLY
    activation: float = 0.02
    deactivation: float = 0.1
    grid_shape: tuple[int, int] | None = None
    on_shape: ArrayLike = 1.0
    on_rate: ArrayLike | Literal["auto"] = "auto"
    off_shape: ArrayLike = 1.0
    off_rate_ratio: float = 1e-5
    noise_shape: float = 1e-6
    noise_rate: float = 1e-6

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "structure": Choice(*_STRUCTURES),
        "activation": FRACTION,
        "deactivation": FRACTION,
        "grid_shape": MISSING | Several(COUNT, "(rows, columns)"),
        "on_shape": POSITIVE | Array("positive numbers, one per coefficient"),
        "on_rate": Choice("auto") | POSITIVE | Array("positive numbers, one per coefficient"),
        "off_shape": POSITIVE | Array("positive numbers, one per coefficient"),
        "off_rate_ratio": POSITIVE,
        "noise_shape": POSITIVE,
        "noise_rate": POSITIVE,
    }

    @classmethod
    def checked(cls, prior: "SparsePrior | str") -> "SparsePrior":
        """Return the prior that an estimator was given, by itself or by the name of its structure.

        Parameters
        ----------
        prior : SparsePrior or str
            What the user gave.

        Returns
        -------
        SparsePrior

        Raises
        ------
        ValueError
            If a hyper-parameter is out of its range.
        """
        found = cls(prior) if isinstance(prior, str) else prior
        for name, constraint in cls._constraints.items():
            constraint.check(name, getattr(found, name))
        return found

    def of_support(self, n_features: int) -> SupportPrior:
        """Return the prior of the states of all coefficients.

        Parameters
        ----------
        n_features : int
            Number of coefficients.

        Returns
        -------
        SupportPrior

        Raises
        ------
        ValueError
            If a grid has another number of nodes.

        Warns
        -----
        RuntimeWarning
            If ``activation + deactivation > 1``: neighbours then avoid being alike.
        """
        p_on, p_off = float(self.activation), float(self.deactivation)
        shape = None if self.grid_shape is None else self._grid(n_features)
        if self.structure == "iid":
            return IndependentPrior(p_on / (p_on + p_off))
        if p_on + p_off > 1:
            warnings.warn(
                f"activation + deactivation = {p_on + p_off:g} > 1: neighbours avoid the state of each other, and "
                "supports do not cluster",
                RuntimeWarning,
                stacklevel=3,
            )
        if self.structure == "chain":
            shape = 1, n_features
        elif shape is None:
            raise ValueError(f"grid_shape must be (rows, columns) with structure={self.structure!r}; got None")
        if 1 in shape:
            return ChainPrior(p_on, p_off, (1, n_features))
        if self.structure == "chain_rows":
            return ChainPrior(p_on, p_off, shape)
        return (GridPrior if self.structure == "grid_belief_propagation" else RowsPrior)(p_on, p_off, shape)

    def _grid(self, n_features: int) -> tuple[int, int]:
        sizes = tuple(int(size) for size in self.grid_shape or ())
        if len(sizes) != 2 or sizes[0] * sizes[1] != n_features:
            raise ValueError(f"grid_shape must have {n_features} nodes, one per column of F; got {self.grid_shape!r}")
        return sizes[0], sizes[1]

    def model(
        self,
        problem: TurboProblem,
        density: float,
        *,
        noise_variance: float | str,
        factorisation: str,
        update_exponent: str | float = "auto",
    ) -> TurboModel:
        """Return the priors of the precisions of all coefficients and of the noise.

        Parameters
        ----------
        problem : TurboProblem
            The data, whose energy an automatic rate matches.
        density : float
            Probability of being on.
        noise_variance, factorisation, update_exponent
            As in :class:`TurboVBI`.

        Returns
        -------
        TurboModel

        Raises
        ------
        ValueError
            If numbers do not fit the coefficients, or those that are off would be expected to be the larger ones.

        Warns
        -----
        RuntimeWarning
            If the prior of the noise is not as vague as its shape says, or an exponent is not that of the data.
        """
        on_shape, off_shape = (self._each(name, problem.n_total) for name in ("on_shape", "off_shape"))
        variance, ratio = known_noise(noise_variance), float(self.off_rate_ratio)
        if np.any(ratio * on_shape >= off_shape):
            raise ValueError(
                "off_rate_ratio must be below off_shape / on_shape, so that the off state has the larger precision; "
                f"got {self.off_rate_ratio!r}"
            )
        on_rate = self._on_rate(problem, on_shape, density, variance)
        exponent = 1.0 if np.iscomplexobj(problem.F) else 0.5
        vague = variance is None and self.noise_shape < _SMALL
        if vague and self.noise_rate > _SMALL * exponent * problem.n_rows:
            warnings.warn(
                f"noise_rate={self.noise_rate!r} expects noise not far below the mean square of the data; lower it",
                RuntimeWarning,
                stacklevel=3,
            )
        return TurboModel(
            on_shape=on_shape,
            on_rate=on_rate,
            off_shape=off_shape,
            off_rate=ratio * on_rate,
            noise_shape=float(self.noise_shape),
            noise_rate=float(self.noise_rate) * problem.scale,
            exponent=exponent,
            update_exponent=_update_exponent(update_exponent, exponent),
            factorisation="collapsed" if factorisation == "collapsed" else "meanfield",
            n_rows=problem.n_rows,
            n_snapshots=problem.n_snapshots,
            noise_precision=None if variance is None else 1.0 / variance,
            largest_precision=1e12 / problem.scale,
        )

    def _each(self, name: str, n_features: int) -> Float64Array:
        """Return one positive number per coefficient."""
        value: Any = getattr(self, name)
        given = np.asarray(value)
        if given.shape not in ((), (1,), (n_features,)) or given.dtype.kind not in "iuf":
            raise ValueError(f"{name} must be a positive number or {n_features} of them; got shape {given.shape}")
        if not np.all(np.isfinite(given) & (given > 0)):
            raise ValueError(f"{name} must be positive and finite; got {value!r}")
        return np.broadcast_to(given.astype(np.float64), n_features)

    def _on_rate(
        self, problem: TurboProblem, on_shape: Float64Array, density: float, variance: float | None
    ) -> Float64Array:
        """Return the rate of precisions that are on; "auto" gives the data the energy that they have."""
        if not isinstance(self.on_rate, str):
            return self._each("on_rate", problem.n_total)
        energy = problem.energy if problem.energy > 0 else problem.n_rows * problem.scale
        noise = 0.0 if variance is None else problem.n_rows * variance
        signal = max(energy - noise, 0.01 * energy)
        return on_shape * signal / (density * float(problem.column_squares.sum()))


SPARSE_PRIOR = Instance(SparsePrior) | Choice(*_STRUCTURES)
FACTORISATION = Choice("collapsed", "meanfield")
UPDATE_EXPONENT = Choice("auto", "published", 0.5, 1.0)


def _update_exponent(given: str | float, exponent: float) -> float:
    """Return the exponent that the updates use."""
    forced = {"auto": exponent, "published": 1.0}[given] if isinstance(given, str) else float(given)
    if forced < exponent:
        warnings.warn("update_exponent=0.5 is for real data; the data are complex", RuntimeWarning, stacklevel=4)
    return forced
