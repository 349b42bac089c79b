"""Which N:M pattern a layer has at each step of training."""

from dataclasses import dataclass

from sparsetheory.constraints import COUNT, SIZE, Choice, Instance
from sparsetheory.gpu.core.patterns import NM

__all__ = ["StructureDecay"]


@dataclass(frozen=True)
class StructureDecay:
    """A sequence of N:M patterns that ends at the target, in frames of nearly equal length.

    The pattern is computed from the step, so training may be resumed at any of them.

    Parameters
    ----------
    kind : {"stepwise", "geometric", "densify"}
        Stepwise keeps m - 1 of m, then m // 2, m // 4 and so on while that is above n, and at last n: the density
        falls. Geometric keeps 8n of 8m, 4n of 4m, 2n of 2m, n of m: the density stays and the freedom falls. Densify
        keeps n of 8m, 4m, 2m, m: the density rises.
    target : NM
        The last pattern, n of m.
    total : int
        Steps (or epochs, if called with epochs) of training.
    dense : int
        The first steps, in which nothing is pruned.
    finetune : int
        The last steps, which keep the target.

    Raises
    ------
    ValueError
        If a number is out of range or two frames would share one step.

    References
    ----------
    Bambhaniya et al., "Progressive Gradient Flow for Robust N:M Sparsity Training in Transformers", 2024. There,
    stepwise frames reach the target only where m / n is a power of two.

    Examples
    --------
    >>> [str(frame) for frame in StructureDecay("stepwise", NM(3, 8), total=90).frames]
    ['7:8', '4:8', '3:8']
    >>> str(StructureDecay("stepwise", NM(3, 8), total=90).pattern_at(30))
    '4:8'
    """

    kind: str
    target: NM
    total: int
    dense: int = 0
    finetune: int = 0

    def __post_init__(self) -> None:
        Choice("stepwise", "geometric", "densify").check("kind", self.kind)
        Instance(NM, "a pattern NM").check("target", self.target)
        COUNT.check("total", self.total)
        SIZE.require(dense=self.dense, finetune=self.finetune)
        if self._span < len(self.frames):
            raise ValueError(
                f"total must leave {len(self.frames)} steps or more for the frames, one each; "
                f"got {self.total} - {self.dense} dense - {self.finetune} to finetune"
            )

    @property
    def frames(self) -> tuple[NM, ...]:
        """The patterns, in order."""
        n, m, axis = self.target.n, self.target.m, self.target.axis
        if self.kind == "stepwise":
            counts = [m - 1, *(m >> i for i in range(1, m.bit_length()))]
            return tuple(NM(count, m, axis) for count in [*(c for c in counts if c > n), n])
        return tuple(NM(n * k if self.kind == "geometric" else n, m * k, axis) for k in (8, 4, 2, 1))

    @property
    def starts(self) -> tuple[int, ...]:
        """The step at which each pattern begins."""
        count = len(self.frames)
        return tuple(self.dense + i * self._span // count for i in range(count))

    def pattern_at(self, step: int) -> NM:
        """Return the pattern at a step; while nothing is pruned, the one that keeps m of m."""
        begun = sum(step >= start for start in self.starts)
        return self.frames[begun - 1] if begun else NM(self.target.m, self.target.m, self.target.axis)

    @property
    def _span(self) -> int:
        return self.total - self.dense - self.finetune
