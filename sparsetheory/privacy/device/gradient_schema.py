"""What all messages of one interactive collection have in common, public and fixed before any data are seen."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real

import numpy as np

from .published import Published
from .schema import LDPSchema

__all__ = ["GradientSchema"]

_CLIPS = ("residual", "paper")
_MOST_ROUNDS = 2**20
_NEEDED = "must be given: clipping bounds must be public, they cannot be estimated from the data; got None"
# As for moments: squares stay within double precision, and no clipped number loses digits.
_LEAST, _LARGEST = 1e-100, 1e100


@dataclass(frozen=True, kw_only=True)
class GradientSchema(Published):
    r"""The public description of a collection of private gradients: every user speaks in one of several rounds.

    A round publishes coefficients. A user of that round sends one bit about the gradient of the own squared error,
    :math:`x (\langle x, \theta \rangle - y)`, with the features in units of `scale_x`.

    Parameters
    ----------
    eps : float
        Privacy parameter, in (0, 20].
    n_features : int
        Number of features.
    gradient_clip : {"residual", "paper"}
        What bounds the norm of a gradient. "residual": the features are shortened to the norm `clip_x`, and the
        residual is cut at `clip_residual`. "paper": features and response are cut entry by entry, and the bound follows
        from those of the norm and of the number of non-zeros of the published coefficients.
    clip_x : float or None
        Bound of the Euclidean norm of the features, in units of `scale_x`.
    clip_entries : float or None
        Bound of the absolute value of every feature, in units of `scale_x`. This or `clip_x` is needed, and for "paper"
        this one.
    clip_y : float or None
        Bound of the absolute value of the response; needed for "paper".
    clip_residual : float or None
        Bound of the absolute value of the residual, for "residual"; `clip_y` by default.
    scale_x : float or sequence of float
        Unit of the features, or of each of them.
    norm_bound : float
        Bound of the Euclidean norm of the published coefficients, in the unit of the response over `scale_x`.
    n_kept : int
        Largest number of non-zeros of the published coefficients.
    n_rounds : int
        Number of rounds, without the one that screens.
    screen : int or None
        Number of features that are kept after a first round for half of all users; None for no such round.
    public_seed : int
        Seed of rounds and directions, in [0, 2^128). A user whose seed or rounds change between two collections may
        speak in both, and spends two budgets.

    Raises
    ------
    ValueError
        If a field is not what is said here.

    Examples
    --------
    >>> schema = GradientSchema(eps=1.0, n_features=50, clip_x=10.0, clip_residual=3.0, n_kept=8, n_rounds=2)
    >>> schema.radius(50), GradientSchema.from_json(schema.to_json()) == schema
    (30.0, True)
    """

    eps: float
    n_features: int
    gradient_clip: str = "residual"
    clip_x: float | None = None
    clip_entries: float | None = None
    clip_y: float | None = None
    clip_residual: float | None = None
    scale_x: float | tuple[float, ...] = 1.0
    norm_bound: float = 1.0
    n_kept: int
    n_rounds: int = 1
    screen: int | None = None
    public_seed: int = 0

    def __post_init__(self) -> None:
        self._require("gradient_clip", self.gradient_clip in _CLIPS, f"one of {', '.join(map(repr, _CLIPS))}")
        needed = ("clip_entries", "clip_y") if self.gradient_clip == "paper" else ()
        for field in needed:
            if getattr(self, field) is None:
                raise ValueError(f"{field} {_NEEDED}")
        if self.clip_y is None and self.clip_residual is None:
            raise ValueError(f"clip_residual or clip_y {_NEEDED}")
        for field in ("clip_x", "clip_entries", "clip_y", "clip_residual", "norm_bound"):
            value = getattr(self, field)
            if value is not None or field == "norm_bound":
                number = isinstance(value, Real) and not isinstance(value, bool)
                holds = number and _LEAST <= value <= _LARGEST
                self._require(field, holds, f"a number in [{_LEAST:g}, {_LARGEST:g}]")
                object.__setattr__(self, field, float(value))
        scales = np.asarray(self.scale_x)
        if scales.dtype.kind in "iuf":
            in_range = bool(np.all((scales >= _LEAST) & (scales <= _LARGEST)))
            self._require("scale_x", in_range, f"units of X, numbers in [{_LEAST:g}, {_LARGEST:g}]")
        # The other fields of records mean what they mean for moments, and are checked there.
        for field in ("eps", "n_features", "scale_x", "public_seed"):
            object.__setattr__(self, field, getattr(self.records, field))
        self._require_count("n_kept", 1, self.n_features)
        self._require_count("n_rounds", 1, _MOST_ROUNDS)
        if self.screen is not None:
            self._require_count("screen", self.n_kept, self.n_features)

    def _require_count(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        holds = isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most
        self._require(name, holds, f"an integer from {least} to {most}")
        object.__setattr__(self, name, int(value))

    def _require(self, name: str, holds: bool, need: str) -> None:
        if not holds:
            raise ValueError(f"{name} must be {need}; got {getattr(self, name)!r}")

    @cached_property
    def records(self) -> LDPSchema:
        """How records are clipped: as for moments."""
        return LDPSchema(
            mechanism="sphere_joint",
            moments="cross",
            eps=self.eps,
            n_features=self.n_features,
            clip_x=self.clip_x,
            clip_entries=self.clip_entries,
            clip_y=self.response_bound,
            scale_x=self.scale_x,
            public_seed=self.public_seed,
        )

    def restricted_records(self, features: tuple[int, ...]) -> LDPSchema:
        """Return how records are clipped of which some features are left.

        The norm of s of d standardised features is about the root of s, and no more spread than that of all. So
        `clip_x` shrinks by as much as it would for them; where it is below the root of d, by the root of s / d.
        """
        s, d = math.sqrt(len(features)), math.sqrt(self.n_features)
        clip_x = self.clip_x
        if clip_x is not None:
            clip_x = s * min(1.0, clip_x / d) + max(0.0, clip_x - d)
        scales = self.scale_x
        if isinstance(scales, tuple):
            scales = tuple(scales[j] for j in features)
        return replace(self.records, n_features=len(features), clip_x=clip_x, scale_x=scales)

    @property
    def response_bound(self) -> float:
        """Bound of what multiplies the features at coefficients zero: of the residual, or of the response."""
        residual = self.gradient_clip == "residual"
        clips = (self.clip_residual, self.clip_y) if residual else (self.clip_y,)
        return next(clip for clip in clips if clip is not None)

    @property
    def n_stages(self) -> int:
        """Number of rounds with the one that screens."""
        return self.n_rounds + (self.screen is not None)

    def feature_bound(self, n_features: int) -> float:
        """Return the bound of the norms of the features of a round, or of its entries for "paper"."""
        screened = n_features < self.n_features
        records = self.restricted_records(tuple(range(n_features))) if screened else self.records
        return records.largest_entry if self.gradient_clip == "paper" else records.radius

    def relative_radius(self, n_features: int) -> float:
        r"""Return the bound of the norms of gradients, over those of features and of the response.

        Parameters
        ----------
        n_features : int
            Number of features of the round, after screening.

        Returns
        -------
        float
            1 for "residual". For "paper", with entries and response below :math:`\tau_1` and :math:`\tau_2`, it is
            :math:`\sqrt d\, (\sqrt{k'}\, \tau_1 C / \tau_2 + 1)`, as :math:`\|\theta\|_1 \le \sqrt{k'}\, C`.
        """
        if self.gradient_clip == "residual":
            return 1.0
        entry = self.feature_bound(n_features)
        return math.sqrt(n_features) * (math.sqrt(self.n_kept) * entry * self.norm_bound / self.response_bound + 1)

    def radius(self, n_features: int) -> float:
        """Return the bound of the norms of gradients in the unit of the response, for so many features of a round."""
        return self.feature_bound(n_features) * self.response_bound * self.relative_radius(n_features)
