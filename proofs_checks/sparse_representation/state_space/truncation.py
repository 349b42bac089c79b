"""Which matrix to truncate: the transition from sample to sample, or the shifted one in continuous time."""

from dataclasses import dataclass
from statistics import median

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import KINDS, random_matrix
from sparsetheory.proofs_checks.verdicts import WithProbability

__all__ = ["Truncations"]

_STATES, _CHANNELS, _STEP, _LENGTH, _SEQUENCES, _SEEDS = 16, 4, 0.1, 64, 8, 9


@dataclass(frozen=True)
class Truncations:
    """Nine random systems of 16 states of each kind, and a rank.

    Parameters
    ----------
    seed : int
    rank : int
    """

    seed: int
    rank: int

    def error(self, kind: str, form: str, shift: float | None = None, n_columns: int = 0) -> float:
        """Return the median over systems of the error of outputs, relative to the outputs.

        Whole columns, where there are any, take the place of as many directions.
        """
        with one_thread():
            return median(self._one(self.seed + index, kind, form, shift, n_columns) for index in range(_SEEDS))

    def unshifted(self, kind: str) -> float:
        """Return the same for the truncated matrix in continuous time, without a shift."""
        return self.error(kind, "shifted", shift=0.0)

    def _one(self, seed: int, kind: str, form: str, shift: float | None, n_columns: int) -> float:
        import torch

        source = torch.Generator().manual_seed(seed)
        A = random_matrix(kind, _STATES, source)
        B, C, x = (
            torch.randn(shape, generator=source, dtype=A.dtype)
            for shape in ((_STATES, _CHANNELS), (_CHANNELS, _STATES), (_SEQUENCES, _LENGTH, _CHANNELS))
        )
        student = representation.LowRankSSM.from_dense(
            A, B, C, self.rank - n_columns, form, step=_STEP, on_unstable="keep", shift=shift, n_columns=n_columns
        )
        with torch.no_grad():
            outputs = representation.DenseSSM(A, B, C, _STEP)(x)
            return float((student(x) - outputs).norm() / outputs.norm())


def _compared(truncations: Truncations, *, shifted: bool) -> Measurement:
    """Divide the error of the shifted form by that of the paper's form; the worst of three kinds of matrices."""
    other = truncations.unshifted if not shifted else lambda kind: truncations.error(kind, "shifted")
    return Measurement(max(other(kind) / truncations.error(kind, "paper") for kind in KINDS), 1.0)


shifted_truncation = Claim(
    name="sparse_representation.shifted_truncation",
    summary="Truncating the shifted matrix in continuous time errs less than truncating the transition.",
    statement=r"\|y^{\text{shifted}} - y\| < \|y^{\text{paper}} - y\| \text{, medians of 9 systems}",
    source=Source.measured("16 states, steps of 0.1: diagonal, random stable, and decay plus rank 2"),
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=lambda truncations: _compared(truncations, shifted=True),
    near_miss=lambda truncations: _compared(truncations, shifted=False),
    sweep=Sweep(
        axis="rank",
        values=(4.0, 8.0, 12.0),
        draw=lambda rng, rank: Truncations(int(rng.integers(2**31 - 9)), int(rank)),
        trials=20,
        quick_trials=11,
        quick_values=(4.0,),
        log="y",
        measured_label="error of the shifted form over that of the other",
        bound_label="as large",
        y_label="ratio of errors, worst of three kinds of matrices",
    ),
)
