"""K-subspaces: points go to the subspace that holds most of them, and subspaces to the points that they hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Choice
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.molrg.certificate import KSubspacesCertificate, certify_subspaces, rounding_of
from sparsetheory.gpu.representation.molrg.mixture import component_counts, random_bases
from sparsetheory.gpu.representation.molrg.starts import ssc_omp, svd_start
from sparsetheory.gpu.representation.molrg.subspaces import orthonormal_columns
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype

__all__ = ["KSubspaces", "k_subspaces"]


@dataclass(frozen=True, eq=False)
class KSubspaces:
    """Subspaces, and the points that go to each.

    Parameters
    ----------
    bases : tuple of Tensor of shape (n_features, n_components of the subspace)
        Orthonormal columns.
    labels : Tensor of int64 of shape (n_samples,)
        Subspace that holds most of each point.
    objective : float
        Squared norm of the points within their subspaces.
    objectives : Tensor of float64 of shape (2 n_iter + 1,)
        The objective at the start, and after each step: new bases, new labels, and so on. It never falls.
    n_iter : int
        Alternations, each of new bases and new labels.
    converged : bool
        Whether the last alternation changed no label, or gained no more than rounding.
    n_reseeds : int
        How often a subspace without points was given one.
    certificate : KSubspacesCertificate
        ``certificate.check(X)`` verifies the fit.
    """

    bases: tuple[Tensor, ...]
    labels: Tensor
    objective: float
    objectives: Tensor
    n_iter: int
    converged: bool
    n_reseeds: int
    certificate: KSubspacesCertificate


def k_subspaces(
    X: Tensor,
    n_subspaces: int,
    n_components: int | Sequence[int],
    *,
    init: str | Tensor | Sequence[Tensor] = "random",
    n_init: int = 1,
    max_iter: int = 100,
    empty: str = "reseed",
    generator: torch.Generator | int | None = 0,
) -> KSubspaces:
    r"""Fit several subspaces through the origin to points, so that each point is close to one of them.

    :math:`\max \sum_i \max_k \|U_k^T x_i\|^2` over orthonormal :math:`U_k`, by alternation. This is what a denoiser of
    a mixture of low-rank Gaussians learns if each point belongs to one subspace.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Points; they are not centred.
    n_subspaces : int
        Number of subspaces, at most `n_samples`.
    n_components : int or sequence of int
        Dimension of all subspaces, or of each.
    init : {"random", "ssc_omp", "svd"}, Tensor of int64 or sequence of Tensor
        The start: random subspaces; labels by :func:`ssc_omp`, or by :func:`svd_start`; labels that are given, one for
        each point; or orthonormal bases.
    n_init : int
        Number of starts, of which the best is kept. Those after the first are random.
    max_iter : int
        Most alternations from each start.
    empty : {"reseed", "keep"}
        A subspace without points is given the point that is furthest from its own subspace, or stays as it is. Neither
        lowers the objective.
    generator : torch.Generator, int or None
        Source of random subspaces, and of the seed of spectral clustering, drawn on the CPU.

    Returns
    -------
    KSubspaces
        Bases in the dtype and on the device of `X`.

    Raises
    ------
    TypeError
        If `X` is no tensor of floating-point numbers.
    ValueError
        If points are not finite, shapes do not fit, or an argument is out of range.

    Notes
    -----
    The objective never falls: labels are best for the bases, and bases are leading singular vectors, best for the
    labels. A point that moves to a subspace of its own is held there as a whole. Still the objective has many local
    maxima, and as many points per subspace as it has dimensions, dealt in any way, reach the global one: the start
    decides. Bases of clusters with fewer points than dimensions keep directions of the bases before.

    Each alternation takes O(n_samples n_features d) operations for labels, d the sum of dimensions, and the singular
    value decompositions of the clusters, O(n_samples n_features min(n_samples, n_features)) in all.

    References
    ----------
    P. Bradley, O. Mangasarian, "k-plane clustering", Journal of Global Optimization 16 (2000); P. Tseng, "Nearest
    q-flat to m points", Journal of Optimization Theory and Applications 105 (2000). P. Wang, H. Zhang, Z. Zhang,
    S. Chen, Y. Ma, Q. Qu, "Diffusion models learn low-dimensional distributions via subspace clustering",
    arXiv:2409.02426.

    Examples
    --------
    >>> from sparsetheory.gpu.representation import matched_errors, sample_molrg
    >>> sample = sample_molrg(48, 4, 3, 36, generator=0)
    >>> fit = k_subspaces(sample.X, 3, 4, init="ssc_omp")
    >>> bool(matched_errors(fit.bases, sample.bases).max() < 1e-4)
    True
    >>> fit.certificate.check(sample.X).valid
    True
    """
    given = finite_tensor("X", X)
    if given.ndim != 2 or not given.numel():
        raise ValueError(f"X must be a matrix with one point per row; got shape {tuple(given.shape)}")
    if COUNT.check("n_subspaces", n_subspaces) > len(given):
        raise ValueError(f"n_subspaces must be at most the number of points, {len(given)}; got {n_subspaces!r}")
    COUNT.require(n_init=n_init, max_iter=max_iter)
    Choice("reseed", "keep").check("empty", empty)
    widths = component_counts(n_components, n_subspaces, given.shape[1])
    source, points = cpu_generator(generator), given.to(working_dtype(given))
    problem = _Problem(points, widths, reseed=empty == "reseed")
    best: _Run | None = None
    for number in range(n_init):
        start = _start(problem, init if number == 0 else "random", source)
        run = problem.run(start, max_iter)
        if best is None or run.objective > best.objective:
            best = run
    assert best is not None
    return _result(problem, best, given.dtype)


@dataclass
class _Run:
    """Where alternation stands."""

    bases: tuple[Tensor, ...]
    labels: Tensor
    halves: list[float]
    n_iter: int = 0
    converged: bool = False
    n_reseeds: int = 0

    @property
    def objective(self) -> float:
        return self.halves[-1]


@dataclass
class _Problem:
    """Points in working precision, and the dimensions of the subspaces."""

    points: Tensor
    widths: tuple[int, ...]
    reseed: bool = True

    def __post_init__(self) -> None:
        self.squares = self.points.square().sum(1)
        self.energy = float(self.squares.double().sum())
        self.rounding = rounding_of(self.points.shape[1], self.points.dtype)

    def run(self, bases: tuple[Tensor, ...], max_iter: int) -> _Run:
        """Alternate from some bases until nothing is gained."""
        held = self.held(bases)
        run = _Run(bases, held.argmax(1), [self._total(held)])
        while run.n_iter < max_iter and not run.converged:
            used = self._seeded(held, run) if self.reseed else run.labels
            run.bases, best = self.refit(used, run.bases)
            held = self.held(run.bases)
            run.labels = held.argmax(1)
            run.halves += [best, self._total(held)]
            run.n_iter += 1
            gain = run.halves[-1] - run.halves[-3]
            run.converged = torch.equal(run.labels, used) or gain <= self.rounding * self.energy
        return run

    def held(self, bases: Sequence[Tensor]) -> Tensor:
        """Return the squared norm of each point in each subspace."""
        inside = self.points @ torch.cat(tuple(bases), dim=1)
        return torch.stack([part.square().sum(1) for part in inside.split(list(self.widths), dim=1)], dim=1)

    def refit(self, labels: Tensor, before: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], float]:
        """Return the best bases for some labels, and what they hold."""
        found, total = [], 0.0
        for k, (width, old) in enumerate(zip(self.widths, before, strict=True)):
            own = self.points[labels == k]
            if not len(own):
                found.append(old)
                continue
            _, values, right = torch.linalg.svd(own, full_matrices=False)
            found.append(_completed(right[:width].mT, old))
            total += float(values[:width].double().square().sum())
        return tuple(found), total

    def _seeded(self, held: Tensor, run: _Run) -> Tensor:
        """Return the labels, with one of the worst points for each subspace that has none."""
        most, labels = held.max(1)
        counts = torch.bincount(labels, minlength=len(self.widths))
        missed = self.squares - most
        for k in (counts == 0).nonzero().flatten().tolist():
            worst = int(missed.argmax())
            if float(missed[worst]) <= self.rounding * float(self.squares[worst]):
                break
            labels[worst], missed[worst] = k, 0.0
            run.n_reseeds += 1
        return labels

    @staticmethod
    def _total(held: Tensor) -> float:
        return float(held.amax(1).double().sum())


def _completed(basis: Tensor, old: Tensor) -> Tensor:
    """Fill up a basis of fewer points than dimensions with directions of the subspace before, which it says nothing of.

    The old subspace holds at least as many directions orthogonal to the new basis as are missing: after projection
    their singular values are exactly 1.
    """
    missing = old.shape[1] - basis.shape[1]
    if not missing:
        return basis
    rest = old - basis @ (basis.mT @ old)
    return torch.cat([basis, torch.linalg.svd(rest, full_matrices=False).U[:, :missing]], dim=1)


def _result(problem: _Problem, run: _Run, dtype: torch.dtype) -> KSubspaces:
    """Return a run in the precision of the data, with its certificate."""
    bases = tuple(basis.to(dtype).contiguous() for basis in run.bases)
    held = problem.held([basis.to(problem.points.dtype) for basis in bases])
    objective = float(held.gather(1, run.labels.unsqueeze(1)).double().sum())
    _, best = problem.refit(run.labels, run.bases)
    gain = max(float(held.amax(1).double().sum()), best) - objective
    squares = torch.linalg.svdvals(problem.points).double().square()
    certificate = certify_subspaces(
        bases,
        run.labels,
        objective=objective,
        upper=float(squares[: sum(problem.widths)].sum()),
        measured=max(gain, 0.0) / problem.energy if problem.energy else 0.0,
        bound=rounding_of(problem.points.shape[1], dtype),
    )
    return KSubspaces(
        bases,
        run.labels,
        objective,
        torch.tensor(run.halves, dtype=torch.float64),
        run.n_iter,
        run.converged,
        run.n_reseeds,
        certificate,
    )


def _start(problem: _Problem, init: str | Tensor | Sequence[Tensor], source: torch.Generator) -> tuple[Tensor, ...]:
    """Return the bases that an argument stands for."""
    points, widths = problem.points, problem.widths
    n_samples, n_features = points.shape
    if not isinstance(init, str | Tensor):
        return _given_bases(init, problem)
    drawn = random_bases(n_features, widths, False, source)
    random = tuple(basis.to(points) for basis in drawn)
    if isinstance(init, Tensor):
        labels = _given_labels(init, n_samples, len(widths)).to(points.device)
    elif Choice("random", "ssc_omp", "svd").check("init", init) == "random":
        return random
    elif init == "svd":
        labels = svd_start(points, len(widths), max(widths)).labels
    else:
        labels = ssc_omp(points, len(widths), min(max(widths), n_samples), generator=source)
    return problem.refit(labels, random)[0]


def _given_labels(labels: Tensor, n_samples: int, n_subspaces: int) -> Tensor:
    if labels.dtype != torch.int64 or labels.shape != (n_samples,):
        raise ValueError(
            f"init must hold one label of int64 for each of {n_samples} points, where it is a tensor; "
            f"got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    if bool(((labels < 0) | (labels >= n_subspaces)).any()):
        raise ValueError(f"init must hold labels from 0 to {n_subspaces - 1}")
    return labels


def _given_bases(bases: Sequence[Tensor], problem: _Problem) -> tuple[Tensor, ...]:
    found = tuple(orthonormal_columns("init", basis) for basis in bases)
    shapes, wanted = [tuple(b.shape) for b in found], [(problem.points.shape[1], width) for width in problem.widths]
    if shapes != wanted:
        raise ValueError(f"init must hold bases of the shapes {wanted}; got {shapes}")
    together(X=problem.points, init=found[0])
    return tuple(basis.to(problem.points) for basis in found)
