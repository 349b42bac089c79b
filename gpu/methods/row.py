"""What is said of every method of this floor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from sparsetheory.gpu.core.patterns import Pattern

__all__ = ["Apply", "Method"]

Apply = Callable[[nn.Module, Sequence[Any], Pattern, int], Mapping[str, Tensor]]
Need = Literal["calibration", "optimiser", "hooks"]


@dataclass(frozen=True)
class Method:
    """One method.

    Parameters
    ----------
    name : str
        As users pass it, after the name of its family and a dot.
    title : str
        What it is, in a few words.
    source : str
        Paper, with its number on arXiv, or "ours".
    provenance : str
        "authors' code", "paper", "reconstructed" or "ours": what this implementation follows.
    needs : frozenset of str
        Some of "calibration", "optimiser" and "hooks".
    patterns : tuple of type
        Patterns that it can produce; none where it chooses how much to keep.
    classical : str
        The problem of the classical side that it solves, or "none".
    claims : tuple of str
        Names of claims about it, or shell patterns of names.
    apply : callable, optional
        From model, batches, pattern and random state to the masks of the parameters; the model is changed in place.
        A method that makes layers of another kind, rather than masks for given ones, has none, and no patterns.
    half_precision : bool
        Whether weights may be float16 or bfloat16. Otherwise they are refused, as small steps would be lost.
    """

    name: str
    title: str
    source: str
    provenance: str
    needs: frozenset[Need]
    patterns: tuple[type[Pattern], ...]
    classical: str
    claims: tuple[str, ...]
    apply: Apply | None = None
    half_precision: bool = True

    @property
    def family(self) -> str:
        """The room that the method lives in."""
        return self.name.partition(".")[0]
