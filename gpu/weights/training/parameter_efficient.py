"""Sparse fine-tuning of few parameters: a frozen weight, a low-rank update, and low-rank scores of importance (PST)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, FINITE, Real
from sparsetheory.gpu.core.gram import Gram, as_gram
from sparsetheory.gpu.core.layer_masks import layer_mask
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.patterns import PerTensor
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.core.schedules import Constant
from sparsetheory.gpu.weights.training.exporting import export
from sparsetheory.gpu.weights.training.masked_weight import MaskedWeight, parametrised_weights, weight_shape

__all__ = ["PST", "merge", "set_sparsity"]

_PART = Real(0.0, 1.0)
Schedule = Callable[[int], float]


class PST(MaskedWeight):
    """A frozen weight, fine-tuned by low-rank updates of its values and of the scores that choose its mask.

    The layer computes with ``M * w`` where ``w = W + beta U V``. The mask M keeps the largest scores
    ``S = |w| + a1 A B + a2 (R 1' + 1 C')``. U and A are drawn from the standard normal distribution; V, B, R and C
    start at 0, so training starts at the weight without its smallest entries. The gradient with respect to M is passed
    to S (straight-through estimator). With D the gradient of the masked weight, w gets ``M * D + (D * w) * sign(w)``:
    the second part comes through its magnitude in the score.

    :func:`sparsify` freezes W and the bias, :func:`finalize` or :func:`merge` puts ``M * w`` in their place.

    Parameters
    ----------
    shape : sequence of int
        Of the weight, as the layer stores it. Its first axis is taken as rows, all others as columns.
    weight_rank, score_rank : int
        Ranks of ``U V`` and ``A B``. At 8 and 8, ``17 (rows + columns)`` numbers are trained.
    beta : float
        Scale of the update of the weight.
    a1, a2 : float
        Scales of the low-rank part of the score and of its parts of rows and columns. Normal factors make scores that
        dwarf weights near 0.05 after few steps: smaller scales keep the magnitudes in play.
    gram : Tensor of shape (in, in) or Gram, optional
        Mean outer product of the inputs of a linear layer. Then the score is not learnt, but what dropping an entry
        costs if the others of its row adapt: ``w_j^2 / (G^-1)_jj``. It must be positive definite: add a share of its
        diagonal if it is not.
    generator : torch.Generator, int or None
        Source of U and A, drawn on the CPU.

    Raises
    ------
    ValueError
        If an argument is not as described; while a weight is attached, if it has another shape.

    Notes
    -----
    At a sparsity s, set by :func:`set_sparsity`, exactly ``int(s * size)`` entries are pruned, as published: rounded
    down, in floating point. Under autocast, weight and score are still computed in the dtype of the weight, so that a
    mask is the same wherever it is asked for.

    Source: Y. Li, F. Luo, C. Tan, M. Wang, S. Huang, S. Li, J. Bai, "Parameter-Efficient Sparsity for Large Language
    Models Fine-Tuning", IJCAI 2022, with its code. The exact price as a score is ours.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.core import Cubic
    >>> from sparsetheory.gpu.weights import StepCounter, merge, set_sparsity, sparsify
    >>> model = nn.Linear(8, 4)
    >>> _ = sparsify(model, lambda weight: PST(weight.shape, weight_rank=2, score_rank=2, generator=0))
    >>> set_sparsity(model, Cubic(0.0, 10, 0.5, warmup=0.1, cooldown=0.4))
    >>> trained = [p for p in model.parameters() if p.requires_grad]
    >>> optimizer = torch.optim.Adam(trained, lr=0.01)
    >>> counter = StepCounter(optimizer, model)
    >>> for _ in range(10):
    ...     optimizer.zero_grad()
    ...     model(torch.eye(8)).square().sum().backward()
    ...     optimizer.step()
    >>> merge(model), [name for name, _ in model.named_parameters()]
    (MaskSet(1 masks, 16 of 32 entries kept), ['weight', 'bias'])
    """

    trains_weight = False
    prices: Tensor | None

    def __init__(
        self,
        shape: Sequence[int],
        *,
        weight_rank: int = 8,
        score_rank: int = 8,
        beta: float = 1.0,
        a1: float = 1.0,
        a2: float = 1.0,
        gram: Tensor | Gram | None = None,
        generator: torch.Generator | int | None = None,
    ) -> None:
        super().__init__()
        COUNT.require(weight_rank=weight_rank, score_rank=score_rank)
        FINITE.require(beta=beta, a1=a1, a2=a2)
        self.shape = weight_shape(shape)
        self.beta, self.a1, self.a2 = beta, a1, a2
        self.schedule: Schedule = Constant(0.0)
        rows, columns = self.shape[0], self.shape[1:].numel()
        source = cpu_generator(generator)
        self.weight_left, self.weight_right = _factors(rows, weight_rank, columns, source)
        self.register_buffer("prices", None if gram is None else _prices(gram))
        if gram is None:
            self.score_left, self.score_right = _factors(rows, score_rank, columns, source)
            self.row_scores = nn.Parameter(torch.zeros(rows, 1))
            self.column_scores = nn.Parameter(torch.zeros(1, columns))

    @property
    def sparsity(self) -> float:
        """The share that is pruned at this step."""
        return _PART.check("sparsity", float(self.schedule(self.step)))

    @property
    def scheduled(self) -> bool:
        """Whether the sparsity changes from step to step."""
        return not isinstance(self.schedule, Constant)

    def check_shape(self, shape: torch.Size) -> None:
        """Raise ValueError unless a weight has the shape that this was made for."""
        if shape != self.shape:
            raise ValueError(f"{self.weight_name} must have shape {tuple(self.shape)}; got {tuple(shape)}")
        inputs = shape[0 if self.transposed else 1]
        if self.prices is not None and (len(shape) > 2 or len(self.prices) != inputs):
            size = len(self.prices)
            raise ValueError(f"{self.weight_name} must have {size} inputs, as the gram; got shape {tuple(shape)}")

    def current(self, weight: Tensor) -> Tensor:
        """Return ``w``: the stored weight with its update."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.beta * (self.weight_left @ self.weight_right).reshape(self.shape)

    def score(self, current: Tensor) -> Tensor:
        """Return the scores of the entries of ``w``."""
        if self.prices is not None:
            return current.square() * (self.prices.unsqueeze(1) if self.transposed else self.prices)
        with torch.autocast(current.device.type, enabled=False):
            learnt = self.a1 * (self.score_left @ self.score_right)
            learnt = learnt + self.a2 * (self.row_scores + self.column_scores)
            return current.abs() + learnt.reshape(self.shape)

    @torch.no_grad()
    def mask(self, weight: Tensor) -> Tensor:
        """Return the entries with the largest scores."""
        return self._kept(self.score(self.current(weight)))

    def soft(self, weight: Tensor) -> Tensor:
        """Return ``M * w``, differentiable in w and, through the straight-through estimator, in the scores."""
        current = self.current(weight)
        score = self.score(current)
        return current * _StraightThrough.apply(score, self._kept(score.detach()))

    def deployed(self, weight: Tensor) -> Tensor:
        """Return ``M * w``, exactly zero off the mask."""
        current = self.current(weight)
        return torch.where(self.mask(weight), current, torch.zeros_like(current))

    def get_extra_state(self) -> Tensor:
        """Return the step and the sparsity."""
        return torch.tensor([self.step, self.sparsity], dtype=torch.float64)

    def set_extra_state(self, state: Any) -> None:
        """Continue from a step, at the sparsity it had; a schedule that has been set goes on by itself."""
        step, sparsity = state.tolist()
        self.step = int(step)
        if isinstance(self.schedule, Constant):
            self.schedule = Constant(sparsity)

    def extra_repr(self) -> str:
        """Return ranks and sparsity."""
        return f"{tuple(self.shape)}, weight_rank={self.weight_left.shape[1]}, sparsity={self.sparsity:g}"

    def _kept(self, score: Tensor) -> Tensor:
        size = score.numel()
        pattern = PerTensor(n_nonzero=size - int(size * self.sparsity))
        return layer_mask(pattern, score, transposed=self.transposed, name=self.weight_name)


class _StraightThrough(torch.autograd.Function):
    """The mask of a score; its gradient is taken for that of the score."""

    @staticmethod
    def forward(score: Tensor, mask: Tensor) -> Tensor:
        return mask.to(score.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None


def set_sparsity(model: nn.Module, sparsity: float | Schedule) -> None:
    """Set what share of each weight with :class:`PST` is pruned.

    Parameters
    ----------
    model : torch.nn.Module
        Or a layer, to set that of one weight.
    sparsity : float or callable
        A number from 0 to 1, or a schedule from the step to one, such as :class:`sparsetheory.gpu.core.Cubic`, which
        moves with a :class:`StepCounter`.

    Raises
    ------
    ValueError
        If the model has no such weight, or a number is outside [0, 1].

    Examples
    --------
    >>> from torch import nn
    >>> from sparsetheory.gpu.weights import live_masks, sparsify
    >>> model = nn.Linear(8, 4)
    >>> _ = sparsify(model, lambda weight: PST(weight.shape))
    >>> set_sparsity(model, 0.9)
    >>> live_masks(model)
    MaskSet(1 masks, 4 of 32 entries kept)
    """
    schedule = sparsity if callable(sparsity) else Constant(_PART.check("sparsity", sparsity))
    found = [module for module in model.modules() if isinstance(module, PST)]
    if not found:
        raise ValueError("model must have weights with PST; got none, call sparsify first")
    for module in found:
        module.schedule = schedule


def merge(model: nn.Module) -> MaskSet:
    """Turn the weights of a model that have :class:`PST` into plain ones, in place: ``M * w``, without the factors.

    Other parametrisations stay, in contrast to :func:`finalize`.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    MaskSet
        Their masks.

    Raises
    ------
    ValueError
        If the model has no such weight.

    Examples
    --------
    >>> from torch import nn
    >>> from sparsetheory.gpu.weights import sparsify
    >>> model = nn.Linear(8, 4)
    >>> _ = sparsify(model, lambda weight: PST(weight.shape))
    >>> merge(model)
    MaskSet(1 masks, 32 of 32 entries kept)
    """
    if not any(isinstance(one.masked, PST) for one in parametrised_weights(model)):
        raise ValueError("model must have weights with PST to merge; got none")
    return MaskSet(export(model, (PST,)))


def _factors(rows: int, rank: int, columns: int, source: torch.Generator) -> tuple[nn.Parameter, nn.Parameter]:
    """Return factors whose product is zero: the first one normal, the second one zero."""
    left = torch.randn(rows, rank, generator=source, dtype=torch.float32)
    return nn.Parameter(left), nn.Parameter(torch.zeros(rank, columns))


def _prices(gram: Tensor | Gram) -> Tensor:
    """Return ``1 / (G^-1)_jj``."""
    size = len(gram) if isinstance(gram, Tensor) else gram.n_features
    factor, failed = torch.linalg.cholesky_ex(as_gram(gram, size).matrix)
    if bool(failed):
        raise ValueError("gram must be positive definite; got one that is not, add a share of its diagonal")
    return 1 / torch.cholesky_inverse(factor).diagonal()
