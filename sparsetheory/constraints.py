"""Constraints on arguments, as data: what is allowed, one check, one message.

A constraint says in words what it allows, tells whether a value is allowed, and raises one kind of error: the name of
the argument, what was given, and what is needed. Functions call :meth:`Constraint.check`; estimators declare a
constraint for each of their parameters in ``_constraints`` and call :func:`check_parameters` when they are fitted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from numbers import Real as AnyReal
from typing import Any, ClassVar

import numpy as np

__all__ = [
    "COUNT",
    "FINITE",
    "FLAG",
    "FRACTION",
    "JOBS",
    "MISSING",
    "NONNEGATIVE",
    "POSITIVE",
    "SEED",
    "SIZE",
    "Anything",
    "Array",
    "Choice",
    "Constraint",
    "Instance",
    "Integer",
    "Real",
    "Several",
    "check_parameters",
    "generator",
]

# Beyond this, double precision does not hold every integer; nobody waits for that many either.
LARGEST = 2**53


class Constraint:
    """What an argument may be; ``str(constraint)`` completes the sentence "must be ...".

    Constraints are joined by ``|``: ``MISSING | COUNT`` allows None and positive integers.

    Examples
    --------
    >>> from sparsetheory.constraints import COUNT, MISSING
    >>> str(MISSING | COUNT)
    'None or an integer from 1 to 2**53'
    >>> COUNT.check("max_iter", 0)
    Traceback (most recent call last):
    ValueError: max_iter must be an integer from 1 to 2**53; got 0
    """

    def accepts(self, value: Any) -> bool:
        """Return whether a value is allowed."""
        raise NotImplementedError

    def convert(self, value: Any) -> Any:
        """Return an allowed value as a plain Python object."""
        return value

    def check(self, name: str, value: Any) -> Any:
        """Return an allowed value, converted.

        Parameters
        ----------
        name : str
            What the error calls the argument.
        value : object
            The argument.

        Raises
        ------
        ValueError
            If the value is not allowed.
        """
        if not self.accepts(value):
            raise ValueError(f"{name} must be {self}; got {value!r}")
        return self.convert(value)

    def require(self, **values: Any) -> None:
        """Raise ValueError for the first of several arguments that is not allowed."""
        for name, value in values.items():
            self.check(name, value)

    def __or__(self, other: "Constraint") -> "Constraint":
        return _Either((*_parts(self), *_parts(other)))


def _parts(constraint: Constraint) -> tuple[Constraint, ...]:
    return constraint.parts if isinstance(constraint, _Either) else (constraint,)


@dataclass(frozen=True)
class _Either(Constraint):
    parts: tuple[Constraint, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.parts))

    def accepts(self, value: Any) -> bool:
        return any(part.accepts(value) for part in self.parts)

    def convert(self, value: Any) -> Any:
        return next(part for part in self.parts if part.accepts(value)).convert(value)


@dataclass(frozen=True)
class Real(Constraint):
    """A finite real number in an interval; booleans are not numbers.

    Parameters
    ----------
    low, high : float
        Ends of the interval; infinite where there is none.
    closed : {"both", "left", "right", "neither"}
        Which finite ends belong to the interval.
    """

    low: float = -np.inf
    high: float = np.inf
    closed: str = "both"

    def __str__(self) -> str:
        with_low, with_high = self.closed in ("both", "left"), self.closed in ("both", "right")
        if self.high < np.inf:
            return f"a number in {'[' if with_low else '('}{self.low:g}, {self.high:g}{']' if with_high else ')'}"
        if self.low == 0:
            return f"a finite {'non-negative' if with_low else 'positive'} number"
        if self.low > -np.inf:
            return f"a finite number {'of at least' if with_low else 'above'} {self.low:g}"
        return "a finite number"

    def accepts(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, AnyReal):
            return False
        try:
            number = float(value)
        except OverflowError:  # an integer beyond the range of double precision
            return False
        if not math.isfinite(number):
            return False
        above = number >= self.low if self.closed in ("both", "left") else number > self.low
        below = number <= self.high if self.closed in ("both", "right") else number < self.high
        return above and below

    def convert(self, value: Any) -> float:
        return float(value)


@dataclass(frozen=True)
class Integer(Constraint):
    """An integer in an interval; booleans are not integers.

    Parameters
    ----------
    low, high : int
        Ends of the interval, both allowed.
    """

    low: int
    high: int = LARGEST

    def __str__(self) -> str:
        return f"an integer from {self.low} to {'2**53' if self.high == LARGEST else self.high}"

    def accepts(self, value: Any) -> bool:
        return not isinstance(value, bool) and isinstance(value, Integral) and self.low <= int(value) <= self.high

    def convert(self, value: Any) -> int:
        return int(value)


class Choice(Constraint):
    """One of a few values, mostly names.

    Parameters
    ----------
    *values : str or float
        What is allowed.
    """

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __str__(self) -> str:
        names = ", ".join(map(repr, self.values))
        return f"one of {names}" if len(self.values) > 1 else names

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str | int | float) and not isinstance(value, bool) and value in self.values


@dataclass(frozen=True)
class Instance(Constraint):
    """An instance of a class.

    Parameters
    ----------
    kind : type
        The class.
    words : str
        What errors call its instances; the name of the class by default.
    """

    kind: type | tuple[type, ...]
    words: str = ""

    def __str__(self) -> str:
        if self.words:
            return self.words
        kinds = self.kind if isinstance(self.kind, tuple) else (self.kind,)
        return " or ".join(f"a {kind.__name__}" for kind in kinds)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, self.kind)


@dataclass(frozen=True)
class Array(Constraint):
    """An array of numbers, or what NumPy makes one of; shapes and values are checked beside the data.

    Parameters
    ----------
    words : str
        What errors call it.
    """

    words: str = "an array of numbers"

    def __str__(self) -> str:
        return self.words

    def accepts(self, value: Any) -> bool:
        if value is None or isinstance(value, str | bytes | Mapping):
            return False
        try:
            dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
            return np.dtype(dtype).kind in "biufc"
        except (TypeError, ValueError):
            return False


@dataclass(frozen=True)
class Several(Constraint):
    """A list, tuple or array each of whose entries is allowed.

    Parameters
    ----------
    entry : Constraint
        What each entry may be.
    words : str
        What errors call the entries together; made from `entry` by default.
    """

    entry: Constraint
    words: str = ""

    def __str__(self) -> str:
        return self.words or f"a sequence, each entry {self.entry}"

    def accepts(self, value: Any) -> bool:
        listed = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)
        return listed and all(self.entry.accepts(entry) for entry in value)


@dataclass(frozen=True)
class Anything(Constraint):
    """What another library reads and checks.

    Parameters
    ----------
    words : str
        What it should be.
    """

    words: str

    def __str__(self) -> str:
        return self.words

    def accepts(self, value: Any) -> bool:
        return True


class _Missing(Constraint):
    def __str__(self) -> str:
        return "None"

    def accepts(self, value: Any) -> bool:
        return value is None


class _Flag(Constraint):
    def __str__(self) -> str:
        return "True or False"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool | np.bool_)

    def convert(self, value: Any) -> bool:
        return bool(value)


class _Jobs(Constraint):
    _MOST: ClassVar[int] = 10**6

    def __str__(self) -> str:
        return "None or an integer other than 0, up to a million"

    def accepts(self, value: Any) -> bool:
        if value is None:
            return True
        counts = isinstance(value, Integral) and not isinstance(value, bool)
        return counts and 0 < abs(int(value)) <= self._MOST

    def convert(self, value: Any) -> int | None:
        return None if value is None else int(value)


class _Seed(Constraint):
    def __str__(self) -> str:
        return "None, an int of at least 0, a Generator or a RandomState"

    def accepts(self, value: Any) -> bool:
        if value is None or isinstance(value, np.random.Generator | np.random.RandomState):
            return True
        # Whatever else NumPy makes a generator of: a SeedSequence, a BitGenerator, a sequence of integers.
        if isinstance(value, bool | np.bool_ | str | float):
            return False
        try:
            np.random.default_rng(value)
        except (TypeError, ValueError):
            return False
        return True


MISSING = _Missing()
FLAG = _Flag()
JOBS = _Jobs()
SEED = _Seed()
FINITE = Real()
POSITIVE = Real(0.0, closed="neither")
NONNEGATIVE = Real(0.0)
FRACTION = Real(0.0, 1.0, closed="neither")
COUNT = Integer(1)
SIZE = Integer(0)


def check_parameters(estimator: Any) -> None:
    """Raise ValueError for the first parameter of an estimator that its class does not allow.

    The class declares one constraint for every parameter in ``_constraints``. What depends on the data, or on two
    parameters at once, is checked where the data are.
    """
    constraints: Mapping[str, Constraint] = estimator._constraints
    for name, value in estimator.get_params(deep=False).items():
        constraints[name].check(name, value)


def generator(random_state: Any, name: str = "random_state") -> np.random.Generator:
    """Return the generator that None, an int, a Generator or a RandomState stands for; errors call it `name`."""
    seed = SEED.check(name, random_state)
    if isinstance(seed, np.random.RandomState):
        # numpy before 2.2 makes no Generator of a RandomState; a draw from it works everywhere and advances it.
        seed = seed.randint(2**32, dtype=np.uint64)
    return np.random.default_rng(seed)
