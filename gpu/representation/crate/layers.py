"""A layer of CRATE that is fitted to tokens without training: subspaces by clustering, a dictionary by coding."""

import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, MISSING, NONNEGATIVE, POSITIVE, Choice
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.crate.ista import ista_block
from sparsetheory.gpu.representation.crate.mssa import MSSA_MODES, mssa_step
from sparsetheory.gpu.representation.crate.rates import coding_rate, compressed_rate
from sparsetheory.gpu.representation.crate.tokens import checked_tokens
from sparsetheory.gpu.representation.molrg.alternation import k_subspaces
from sparsetheory.gpu.solvers.arguments import finite_tensor

__all__ = ["CrateLayer", "fit_crate_layer"]


@dataclass(frozen=True, eq=False)
class CrateLayer:
    """A layer as two steps: one on the compressed rate, one towards sparse codes.

    Parameters
    ----------
    U : Tensor of shape (n_subspaces, dim, n_components)
        Bases of the subspaces.
    D : Tensor of shape (dim, dim)
        Dictionary, one atom per row.
    eps : float
        Distortion that the rates allow, above 0.
    alpha : float
        Strength of the penalty of the codes, at least 0.
    mode : str
        How tokens are compressed, as :func:`mssa_step` takes it.
    step_size : float, optional
        Of the compression; by default that of the mode.
    n_iter : int
        Steps of the sparse coding, each of one over the squared spectral norm of the dictionary.

    Examples
    --------
    >>> import torch
    >>> layer = CrateLayer(torch.eye(4).reshape(2, 2, 4).mT, torch.eye(4), eps=0.5, alpha=0.1)
    >>> Z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    >>> bool(layer.rate(layer.compress(Z)) < layer.rate(Z))
    True
    """

    U: Tensor
    D: Tensor
    eps: float
    alpha: float
    mode: str = "exact"
    step_size: float | None = None
    n_iter: int = 1

    def __post_init__(self) -> None:
        finite_tensor("D", self.D)
        POSITIVE.require(eps=self.eps)
        NONNEGATIVE.require(alpha=self.alpha)
        Choice(*MSSA_MODES).require(mode=self.mode)
        (MISSING | NONNEGATIVE).require(step_size=self.step_size)
        COUNT.require(n_iter=self.n_iter)

    def rate(self, Z: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the compressed rate of tokens, which :meth:`compress` is about, of shape (...)."""
        return compressed_rate(Z, self.U, self.eps, mask=mask)

    def energy(self, Z: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the rate reduction to be lowered, ``R^c(Z) - R(Z) + alpha * (number of nonzeros)``, of shape (...)."""
        counted = Z != 0 if mask is None else (Z != 0) & mask.unsqueeze(-1)
        return self.rate(Z, mask) - coding_rate(Z, self.eps, mask=mask) + self.alpha * counted.sum((-2, -1))

    def compress(self, Z: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return tokens after the step on the compressed rate."""
        return mssa_step(Z, self.U, self.eps, self.step_size, self.mode, mask=mask)

    def sparsify(self, Z: Tensor) -> Tensor:
        """Return non-negative codes of tokens, after the steps towards the Lasso."""
        curvature = float(torch.linalg.matrix_norm(self.D.double(), ord=2)) ** 2
        return ista_block(Z, self.D, 1.0 / curvature if curvature else 0.0, self.alpha, self.n_iter)

    def step(self, Z: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what the layer makes of tokens, of shape (..., n_tokens, dim)."""
        return self.sparsify(self.compress(Z, mask))


def fit_crate_layer(
    Z: Tensor,
    n_subspaces: int,
    n_components: int,
    eps: float,
    alpha: float,
    *,
    mode: str = "exact",
    n_iter: int = 1,
    init: str = "random",
    n_init: int = 10,
    n_batches: int = 100,
    mask: Tensor | None = None,
    generator: torch.Generator | int | None = 0,
) -> CrateLayer:
    """Fit a layer to tokens without gradients of a task: K-subspaces, then dictionary learning.

    Parameters
    ----------
    Z : Tensor of shape (..., n_tokens, dim)
        Tokens, one per row. Axes before the last two are samples.
    n_subspaces : int
        Subspaces to cluster all tokens into.
    n_components : int
        Dimension of a subspace, at most `dim`.
    eps : float
        Distortion of the rates, above 0.
    alpha : float
        Strength of the penalty of the codes, above 0.
    mode : str
        How tokens are compressed, as :func:`mssa_step` takes it.
    n_iter : int
        Steps of the sparse coding.
    init : str
        First start of the clustering, as :func:`k_subspaces` takes it: "random", or "svd" by shared bases of
        neighbourhoods, or "ssc_omp" by sparse codes of tokens over each other.
    n_init : int
        Starts of the clustering, those after the first random, of which the best is kept.
    n_batches : int
        Batches of the dictionary learning, on the compressed tokens.
    mask : Tensor of bool of shape (..., n_tokens), optional
        Which tokens count.
    generator : torch.Generator, int or None
        Source of starts and batches, drawn on the CPU.

    Returns
    -------
    CrateLayer
        In the dtype and on the device of `Z`.

    Raises
    ------
    TypeError, ValueError
        If shapes or entries do not fit, or a number is out of range.

    See Also
    --------
    k_subspaces, sparsetheory.coding.LqDictionaryLearning : What the layer is made of.

    Notes
    -----
    The dictionary has as many atoms as there are features, as codes take the place of tokens. It is learned for
    non-negative codes on the tokens as the fitted subspaces compress them.

    Examples
    --------
    >>> import torch
    >>> Z = torch.randn(5, 20, 6, generator=torch.Generator().manual_seed(0)).double()
    >>> layer = fit_crate_layer(Z, 2, 3, eps=0.5, alpha=0.1, n_batches=5)
    >>> layer.U.shape, layer.D.shape
    (torch.Size([2, 6, 3]), torch.Size([6, 6]))
    """
    from sparsetheory.coding import LqDictionaryLearning, UncentredSignalsWarning

    tokens = checked_tokens("Z", Z, mask).detach()
    # Clustering takes a while: what it does not need is checked before it.
    POSITIVE.require(eps=eps, alpha=alpha)
    COUNT.require(n_iter=n_iter, n_batches=n_batches)
    Choice(*MSSA_MODES).require(mode=mode)
    source = cpu_generator(generator)
    rows = _counted(tokens, mask)
    clusters = k_subspaces(rows, n_subspaces, n_components, init=init, n_init=n_init, generator=source)
    U, identity = torch.stack(clusters.bases), torch.eye(rows.shape[1]).to(rows)
    draft = CrateLayer(U, identity, eps, alpha, mode, n_iter=n_iter)
    compressed = _counted(draft.compress(tokens, mask), mask)
    learner = LqDictionaryLearning(
        compressed.shape[1],
        penalty="l1",
        alpha=alpha,
        positive=True,
        batch_size=min(256, len(compressed)),
        n_batches=n_batches,
        random_state=int(torch.randint(2**31, (), generator=source)),
    )
    with warnings.catch_warnings():
        # Non-negative codes of tokens are to hold their mean as well.
        warnings.simplefilter("ignore", UncentredSignalsWarning)
        learner.fit(compressed.double().cpu().numpy())
    return replace(draft, D=torch.from_numpy(learner.components_).to(Z))


def _counted(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return the tokens that count as rows of one matrix."""
    return tokens.flatten(0, -2) if mask is None else tokens[mask]
