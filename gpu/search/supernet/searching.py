"""Differentiable search over the operations of a chain, and what it found."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, MISSING, NONNEGATIVE, POSITIVE, SIZE, Instance
from sparsetheory.gpu.core.fit import class_loss, row_batches
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.search.random_masks.masked_run import Data, check_data
from sparsetheory.gpu.search.supernet.chain import SuperChain
from sparsetheory.gpu.search.supernet.sparse_linear import SparseLinear

__all__ = ["Architecture", "SkipDominanceWarning", "derive", "search"]


class SkipDominanceWarning(UserWarning):
    """Every edge of a searched chain chose the identity: the known collapse of differentiable search."""


@dataclass(frozen=True, eq=False)
class Architecture:
    """One operation for each edge, and how clear the choice was.

    Parameters
    ----------
    ops : tuple of str
        Names of the chosen operations: of the largest probability, "zero" left out.
    probabilities : Tensor of float64 of shape (n_edges, n_ops)
        Softmax of the architecture parameters at the end; on the CPU.
    entropy : tuple of float
        Of each row of it, in nats. The logarithm of n_ops says that nothing was chosen.
    cost : float
        Of the chosen operations, in dense edges.
    expected_cost : float
        Mean cost under the probabilities, in dense edges.
    losses : Tensor of float64 of shape (n_steps, 2)
        Loss of the training and of the validation batch of each alternating step, without the cost; on the CPU.
    """

    ops: tuple[str, ...]
    probabilities: Tensor
    entropy: tuple[float, ...]
    cost: float
    expected_cost: float
    losses: Tensor


def search(
    model: SuperChain,
    train: Data,
    val: Data,
    steps: int,
    *,
    cost: float = 0.0,
    warmup: int = 0,
    lr: float = 2e-3,
    alpha_lr: float = 2e-2,
    batch_size: int | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = class_loss,
    generator: torch.Generator | int | None = 0,
) -> Architecture:
    """Search for one operation per edge by gradient steps on weights, scores of weights and architecture parameters.

    Each step first moves the architecture parameters alpha by the gradient of ``validation loss + cost * expected
    cost`` at the present weights and masks (first order), then weights and scores by that of the training loss. Masks
    of sparse operations act throughout, so alpha is trained for the loss of the sparse network [1]_.

    Parameters
    ----------
    model : SuperChain
        Trained in place and in training mode; the modes of all its modules are restored. Parameters without a gradient
        stay as they are.
    train, val : tuple of (Tensor, Tensor)
        Inputs and labels: two parts of the training set. Alpha is fitted to the second one, so it is no data to judge
        by.
    steps : int
        Alternating steps; each takes a step of Adam for both sets of parameters.
    cost : float
        Price of one dense edge, in units of the loss.
    warmup : int
        Steps of dense weights before the alternating ones, all operations alike. Scores start from the magnitudes of
        the weights after it.
    lr, alpha_lr : float
        Rates of Adam for weights and scores, and for alpha.
    batch_size : int, optional
        By default all rows at once.
    loss : callable
        From outputs and labels to a scalar.
    generator : torch.Generator, int or None
        Source of the orders of the rows.

    Returns
    -------
    Architecture

    Raises
    ------
    ValueError
        If a part of the data is empty or has differently many inputs and labels, a number is out of range, or no weight
        or no alpha of the model requires a gradient.
    FloatingPointError
        If a loss is not finite.

    Warns
    -----
    SkipDominanceWarning
        If every edge chose the identity: then there is nothing left of the chain.

    References
    ----------
    .. [1] H. Mousavi, M. Loni, M. Alibeigi, M. Daneshtalab. DASS: differentiable architecture search for sparse neural
       networks. ACM TECS 22, 2023, arXiv 2207.06968. We had no access to its section on the method: the alternation is
       that of DARTS, first order.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu import search
    >>> x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] * x[:, 1] > 0).long()
    >>> model = search.SuperChain(8, [16, 16], 2, ["dense", "sparse:0.25"])
    >>> found = search.search(model, (x[:100], y[:100]), (x[100:], y[100:]), 50, cost=10.0)
    >>> found.ops, found.cost, len(search.derive(model))  # where operations are dear, the cheaper one is taken
    (('sparse:0.25',), 0.25, 5)
    """
    Instance(SuperChain).check("model", model)
    check_data("train", train)
    check_data("val", val)
    COUNT.require(steps=steps)
    SIZE.require(warmup=warmup)
    NONNEGATIVE.require(cost=cost)
    POSITIVE.require(lr=lr, alpha_lr=alpha_lr)
    (MISSING | COUNT).require(batch_size=batch_size)
    alphas, weights = _trained(model)
    by_weights, by_alphas = torch.optim.Adam(weights, lr=lr), torch.optim.Adam(alphas, lr=alpha_lr)
    source = cpu_generator(generator)
    train_batches, val_batches = _batches(train, batch_size, source), _batches(val, batch_size, source)
    losses = torch.empty(steps, 2, dtype=torch.float64)
    with in_mode(model, training=True):
        if warmup:
            with _dense(model):
                for _ in range(warmup):
                    _descend(by_weights, weights, loss, model, next(train_batches))
            _restart_scores(model)
        for step in range(steps):
            losses[step, 1] = _descend(by_alphas, alphas, loss, model, next(val_batches), cost)
            losses[step, 0] = _descend(by_weights, weights, loss, model, next(train_batches))
    found = _architecture(model, losses)
    if all(name == "identity" for name in found.ops):
        warnings.warn(
            "every edge chose the identity, and nothing is left of the chain: see the entropy, and lower cost or "
            "alpha_lr, or warm up longer",
            SkipDominanceWarning,
            stacklevel=2,
        )
    return found


def derive(model: SuperChain) -> nn.Sequential:
    """Return the network of the chosen operations: on every edge that of the largest alpha, "zero" left out.

    Parameters
    ----------
    model : SuperChain

    Returns
    -------
    torch.nn.Sequential
        A plain sequence with copies of the weights, to be trained on. Identities are gone. Sparse layers keep their
        masks from here on: their scores take no gradients.

    Notes
    -----
    In a cell of several nodes one would take the two strongest edges into each node; a chain has one.

    Examples
    --------
    >>> from sparsetheory.gpu.search import SuperChain, derive
    >>> model = SuperChain(8, [16, 16], 3, ["zero", "sparse:0.25"])
    >>> [type(module).__name__ for module in derive(model)][:2]
    ['Linear', 'ReLU']
    >>> int(derive(model)[2].weight.count_nonzero())
    64
    """
    Instance(SuperChain).check("model", model)
    parts = [model.stem, *(edge.ops[edge.chosen] for edge in model.mixed()), model.head]
    modules: list[nn.Module] = []
    for part in parts:
        modules += part if isinstance(part, nn.Sequential) else [part]
    derived = nn.Sequential(*(copy.deepcopy(module) for module in modules if not isinstance(module, nn.Identity)))
    for module in derived:
        if isinstance(module, SparseLinear):
            module.score.requires_grad_(False)
    return derived


def _trained(model: SuperChain) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the architecture parameters and the others, as far as they require gradients."""
    alphas = model.alphas
    weights = [parameter for parameter in model.parameters() if all(parameter is not alpha for alpha in alphas)]
    free = tuple([parameter for parameter in part if parameter.requires_grad] for part in (alphas, weights))
    if not all(free):
        raise ValueError("model must have weights and alphas that require gradients; got none of one of them")
    return free[0], free[1]


def _batches(data: Data, batch_size: int | None, generator: torch.Generator) -> Iterator[Data]:
    inputs, labels = data
    for rows in row_batches(len(inputs), batch_size, generator):
        yield data if rows is None else (inputs[rows.to(inputs.device)], labels[rows.to(labels.device)])


def _descend(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    model: SuperChain,
    batch: Data,
    cost: float = 0.0,
) -> float:
    """Take a step of one set of parameters and return the loss before it, without the cost.

    Gradients of other parameters are not touched.
    """
    value = loss(model(batch[0]), batch[1])
    if not value.isfinite():
        raise FloatingPointError(f"the loss is {value.item()} during the search")
    aim = value + cost * model.expected_cost() if cost else value
    # An operation may do without some of them, as masked scores do in a dense warm-up.
    gradients = torch.autograd.grad(aim, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad()
    return float(value.detach())


@contextmanager
def _dense(model: SuperChain) -> Iterator[None]:
    """Let no mask act for a while."""
    layers = _sparse_layers(model)
    before = [layer.masked for layer in layers]
    try:
        for layer in layers:
            layer.masked = False
        yield
    finally:
        for layer, masked in zip(layers, before, strict=True):
            layer.masked = masked


def _restart_scores(model: SuperChain) -> None:
    for layer in _sparse_layers(model):
        if layer.score.requires_grad:
            layer.score_by_magnitude()


def _sparse_layers(model: nn.Module) -> list[SparseLinear]:
    return [module for module in model.modules() if isinstance(module, SparseLinear)]


def _architecture(model: SuperChain, losses: Tensor) -> Architecture:
    edges = list(model.mixed())
    with torch.no_grad():
        probabilities = torch.stack([edge.probabilities().double().cpu() for edge in edges])
        entropy = tuple(float(edge.entropy()) for edge in edges)
        expected = float(model.expected_cost())
    return Architecture(
        ops=tuple(edge.names[edge.chosen] for edge in edges),
        probabilities=probabilities,
        entropy=entropy,
        cost=float(sum(costs[edge.chosen] for edge, costs in zip(edges, model.costs, strict=True))),
        expected_cost=expected,
        losses=losses,
    )
