"""K-subspaces: points go to the subspace that holds most of them, and subspaces to the points that they hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Choice
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.molrg.certificate import KSubspacesCertificate, certify_subspaces, rounding_of
from sparsetheory.gpu.representation.molrg.mixture import component_counts, random_bases
from sparsetheory.gpu.representation.molrg.orthonormal import orthonormalised
from sparsetheory.gpu.representation.molrg.starts import ssc_omp, svd_start
from sparsetheory.gpu.representation.molrg.subspace_problem import Alternation, SubspaceProblem
from sparsetheory.gpu.representation.molrg.subspaces import orthonormal_columns, point_rows
from sparsetheory.gpu.solvers.arguments import together, working_dtype

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
        each point; or orthonormal bases, of which a tensor of three axes is a sequence, too.
    n_init : int
        Number of starts, of which the best is kept. Those after the first are random.
    max_iter : int
        Most alternations from each start.
    empty : {"reseed", "keep"}
        A subspace without points is given the point that is furthest from its own subspace, or stays as it is. Neither
        lowers the objective.
    generator : torch.Generator, int or None
        Source of random subspaces, and of the seed of spectral clustering, drawn on the CPU. Each start has a stream
        of its own: with the seed of :func:`sample_molrg` it does not repeat the subspaces of the sample.

    Returns
    -------
    KSubspaces
        Bases in the dtype and on the device of `X`.

    Raises
    ------
    TypeError
        If `X` is no tensor of floating-point numbers.
    ValueError
        If points are not finite, shapes do not fit, or an argument is out of range; with "ssc_omp" if there is one
        point, with "svd" if one is zero.

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
    given = point_rows(X, n_subspaces)
    COUNT.require(n_init=n_init, max_iter=max_iter)
    Choice("reseed", "keep").check("empty", empty)
    widths = component_counts(n_components, n_subspaces, given.shape[1])
    source = cpu_generator(generator)
    problem = SubspaceProblem.of(given.to(working_dtype(given)), widths, reseed=empty == "reseed")
    best: Alternation | None = None
    for number in range(n_init):
        start = _start(problem, init if number == 0 else "random", _child(source))
        run = problem.run(start, max_iter)
        if best is None or run.objective > best.objective:
            best = run
    assert best is not None
    return _result(problem, best, given.dtype)


def _result(problem: SubspaceProblem, run: Alternation, dtype: torch.dtype) -> KSubspaces:
    """Return a run in the precision of the data, with its certificate."""
    bases = tuple(basis.to(dtype).contiguous() for basis in run.bases)
    held = problem.held([basis.to(problem.points.dtype) for basis in bases])
    objective = float(held.gather(1, run.labels.unsqueeze(1)).double().sum())
    _, best = problem.refit(run.labels, run.bases)
    gain = max(float(held.amax(1).double().sum()), best) - objective
    squares, energy = torch.linalg.svdvals(problem.points).double().square(), problem.unit**2
    certificate = certify_subspaces(
        bases,
        run.labels,
        objective=objective * energy,
        upper=float(squares[: sum(problem.widths)].sum()) * energy,
        measured=max(gain, 0.0) / problem.energy if problem.energy else 0.0,
        bound=rounding_of(problem.points.shape[1], dtype),
    )
    return KSubspaces(
        bases,
        run.labels,
        objective * energy,
        torch.tensor(run.halves, dtype=torch.float64) * energy,
        run.n_iter,
        run.converged,
        run.n_reseeds,
        certificate,
    )


def _child(source: torch.Generator) -> torch.Generator:
    """Return a generator of its own for each start, whose draws are those of no other function.

    With the same seed a start would be made of the numbers that the subspaces of a sample are made of, and where there
    are fewer points than dimensions what it says of the missing ones would be true.
    """
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=source)))


def _start(
    problem: SubspaceProblem, init: str | Tensor | Sequence[Tensor], source: torch.Generator
) -> tuple[Tensor, ...]:
    """Return the bases that an argument stands for."""
    points, widths = problem.points, problem.widths
    n_samples, n_features = points.shape
    if not isinstance(init, str | Tensor | Sequence):
        raise ValueError(f"init must be the name of a start, labels, or a sequence of bases; got {init!r}")
    if not isinstance(init, str | Tensor):
        return _given_bases(init, problem)
    if isinstance(init, Tensor) and init.ndim == 3:
        return _given_bases(tuple(init), problem)
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


def _given_bases(bases: Sequence[Tensor], problem: SubspaceProblem) -> tuple[Tensor, ...]:
    found = tuple(orthonormal_columns("init", basis) for basis in bases)
    shapes, wanted = [tuple(b.shape) for b in found], [(problem.points.shape[1], width) for width in problem.widths]
    if shapes != wanted:
        raise ValueError(f"init must hold bases of the shapes {wanted}; got {shapes}")
    together(X=problem.points, init=found[0])
    if len({basis.dtype for basis in found}) > 1:
        raise ValueError(f"init must hold bases of one dtype; got {[basis.dtype for basis in found]}")
    # In a lower precision they are less orthonormal, and would hold more than there is.
    same = found[0].dtype == problem.points.dtype
    return tuple(basis if same else orthonormalised(basis.to(problem.points)) for basis in found)
