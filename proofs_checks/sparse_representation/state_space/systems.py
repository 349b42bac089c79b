"""Small linear systems on which the claims about state space models of low rank are checked."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hypothesis import strategies as st

from sparsetheory.gpu import representation

__all__ = ["FORMS", "KINDS", "System", "random_matrix", "systems"]

FORMS = ("shifted", "paper")
KINDS = ("diagonal", "random stable", "decay plus rank 2")


def random_matrix(kind: str, n_states: int, generator: Any) -> Any:
    """Return a matrix in continuous time, of double precision, all of whose modes decay.

    "diagonal" is the one that models of this kind start from, ``diag(-1, ..., -n)``. "random stable" is a Gaussian
    matrix, shifted so that its slowest mode decays at the rate 0.5. "decay plus rank 2" is ``-2 I`` and a product.
    """
    import torch

    eye = torch.eye(n_states, dtype=torch.float64)
    if kind == "diagonal":
        return -torch.diag(torch.arange(1, n_states + 1, dtype=torch.float64))
    if kind == "decay plus rank 2":
        left, right = torch.randn(2, n_states, 2, generator=generator, dtype=torch.float64)
        return left @ right.mT / n_states - 2 * eye
    drawn = torch.randn(n_states, n_states, generator=generator, dtype=torch.float64) / n_states**0.5
    return drawn - (float(torch.linalg.eigvals(drawn).real.max()) + 0.5) * eye


@dataclass(frozen=True, eq=False)
class System:
    """A random system with two inputs and three outputs, sequences for it, and a rank.

    Parameters
    ----------
    seed : int
    n_states : int
    rank : int
    length : int
    step : float
        Time between two samples.
    form : str
        Parametrisation of the student.
    kind : str
        Of the matrix.
    """

    seed: int
    n_states: int
    rank: int
    length: int
    step: float
    form: str
    kind: str

    @cached_property
    def matrices(self) -> tuple[Any, Any, Any]:
        """The matrices A, B and C in continuous time."""
        import torch

        source = torch.Generator().manual_seed(self.seed)
        A = random_matrix(self.kind, self.n_states, source)
        B, C = (torch.randn(shape, generator=source, dtype=A.dtype) for shape in ((self.n_states, 2), (3, len(A))))
        return A, B, C

    @cached_property
    def factors(self) -> tuple[Any, Any]:
        """Random factors U and V."""
        return self.drawn(1, 2, self.n_states, self.rank).unbind()

    @cached_property
    def x(self) -> Any:
        """Two sequences."""
        return self.drawn(2, 2, self.length, 2)

    def drawn(self, number: int, *shape: int) -> Any:
        """Return a Gaussian tensor in double precision."""
        import torch

        source = torch.Generator().manual_seed(self.seed + number)
        return torch.randn(shape, generator=source, dtype=torch.float64)

    def teacher(self) -> Any:
        """Return the dense model."""
        return representation.DenseSSM(*self.matrices, self.step)

    def student(self, rank: int | None = None) -> Any:
        """Return the model of low rank that starts from it."""
        rank = self.rank if rank is None else rank
        return representation.LowRankSSM.from_dense(*self.matrices, rank, self.form, step=self.step, on_unstable="keep")


def systems(forms: tuple[str, ...] = FORMS) -> st.SearchStrategy[System]:
    """Return a strategy that draws systems, whose students have one of the forms."""
    sizes = st.integers(2, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))
    return st.builds(
        lambda seed, size, *rest: System(seed, *size, *rest),
        st.integers(0, 2**31 - 4),
        sizes,
        st.integers(1, 9),
        st.sampled_from((0.01, 0.1, 1.0)),
        st.sampled_from(forms),
        st.sampled_from(KINDS),
    )
