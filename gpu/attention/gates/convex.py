"""The best gate there is: without a map of queries the fit is convex, and a classical solver ends at the optimum."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, POSITIVE, Choice, Real
from sparsetheory.gpu.attention.gates.attn_gate import AttnGate
from sparsetheory.gpu.attention.gates.convex_problem import GatePenalty, GateProblem, GateState
from sparsetheory.gpu.attention.gates.examples import GateExample
from sparsetheory.gpu.attention.gates.gate_certificate import GateCertificate, certify_gate
from sparsetheory.gpu.solvers import prox
from sparsetheory.penalties import L1

__all__ = ["ConvexGate", "fit_gate_convex", "gate_gap"]

# Steps between two looks at the gap.
_PATIENCE = 10
# The estimate of the curvature falls by this factor a step, as it is smaller near the optimum than at a far start.
_FORGET = 0.95


@dataclass(frozen=True, eq=False)
class ConvexGate:
    """A gate at the optimum of its convex problem.

    Parameters
    ----------
    gate : AttnGate
        In the dtype of the gate that was given.
    loss : float
        Mean divergence of the rows of the examples, in nats.
    objective : float
        The loss and the penalty.
    gap : float
        No gate of this kind has an objective below ``objective - gap``.
    n_iter : int
        Iterations of the solver.
    certificate : GateCertificate
        Evidence about the gap.
    """

    gate: AttnGate
    loss: float
    objective: float
    gap: float
    n_iter: int
    certificate: GateCertificate


def fit_gate_convex(
    gate: AttnGate,
    examples: Sequence[GateExample],
    alpha: float = 1e-3,
    penalty: GatePenalty = "ridge",
    *,
    skip_rows: float = 0.0,
    tol: float = 1e-8,
    max_iter: int = 2000,
) -> ConvexGate:
    """Fit the map of keys of a gate to the block maxima of examples, to the optimum.

    The objective is the mean divergence of the rows plus ``alpha / 2 |k_map|^2`` or ``alpha |k_map|_1``. With the ridge
    the optimum is unique, and quasi-Newton steps (L-BFGS) reach it from any start. The lasso keeps few features of the
    pooled keys; accelerated proximal gradient steps reach it.

    Parameters
    ----------
    gate : AttnGate
        Without a map of queries. Its map of keys is the start; the gate does not change.
    examples : sequence of GateExample
        As :func:`gate_examples` records them, of one layer.
    alpha : float
        Strength of the penalty.
    penalty : {"ridge", "lasso"}
    skip_rows : float
        Share of the block rows, the first ones, that the loss leaves out.
    tol : float
        Duality gap at which to stop, in nats.
    max_iter : int
        Most iterations.

    Returns
    -------
    ConvexGate
        Its certificate is invalid where the iterations ended before the gap was reached.

    Raises
    ------
    ValueError
        If the gate has a map of queries, as the problem is not convex then, or an argument is out of range.

    Notes
    -----
    Double precision. An iteration costs a pass over all pooled blocks, O(blocks (k pools) head_dim gate_dim) a head.

    Examples
    --------
    >>> from sparsetheory.gpu.attention import gate_examples
    >>> from sparsetheory.gpu.core.models import load_minilm
    >>> encoder = load_minilm()
    >>> batches = encoder.batches(["Sparse codes are short, and this sentence is not.", "So is this one, is it not?"])
    >>> examples = gate_examples(encoder.model, batches, layers=[2], block=4)[2]
    >>> gate = AttnGate(32, 12, 12, block=4, causal=False)
    >>> found = fit_gate_convex(gate, examples, alpha=0.1)
    >>> found.certificate.valid, found.certificate.check(examples).valid
    (True, True)
    """
    Choice("ridge", "lasso").check("penalty", penalty)
    POSITIVE.require(alpha=alpha, tol=tol)
    COUNT.check("max_iter", max_iter)
    problem = _problem(gate, examples, alpha, penalty, skip_rows)
    solve = _quasi_newton if penalty == "ridge" else _proximal
    weight, n_iter = solve(problem, gate.k_map.detach().double(), tol, max_iter)
    state = problem.state(weight)
    fitted = deepcopy(gate)
    with torch.no_grad():
        fitted.k_map.copy_(weight)
    certificate = certify_gate(problem, weight, state, tol, skip_rows)
    return ConvexGate(fitted, state.loss, state.objective, state.gap, n_iter, certificate)


def gate_gap(
    gate: AttnGate, examples: Sequence[GateExample], alpha: float = 1e-3, penalty: GatePenalty = "ridge"
) -> GateState:
    """Return objective and duality gap of any gate without a map of queries: how far from the optimum it may be.

    Parameters
    ----------
    gate : AttnGate
        However it was trained.
    examples, alpha, penalty
        As in :func:`fit_gate_convex`.

    Returns
    -------
    GateState
    """
    Choice("ridge", "lasso").check("penalty", penalty)
    POSITIVE.require(alpha=alpha)
    return _problem(gate, examples, alpha, penalty, 0.0).state(gate.k_map.detach().double())


def _problem(
    gate: AttnGate, examples: Sequence[GateExample], alpha: float, penalty: GatePenalty, skip_rows: float
) -> GateProblem:
    if gate.q_map is not None:
        raise ValueError("gate must have no map of queries: with one, its scores are not linear in the weights")
    Real(0, 1, "left").check("skip_rows", skip_rows)
    return GateProblem(gate, examples, penalty, alpha, skip_rows)


def _quasi_newton(problem: GateProblem, start: Tensor, tol: float, max_iter: int) -> tuple[Tensor, int]:
    weight = start.clone().requires_grad_()
    # Its own tolerances are switched off: the gap decides.
    optimizer = torch.optim.LBFGS(
        [weight],
        max_iter=_PATIENCE,
        history_size=30,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            objective = problem.loss(weight) + problem.alpha / 2 * weight.square().sum()
            objective.backward()
        return objective

    n_iter = 0
    while n_iter < max_iter:
        optimizer.step(closure)
        n_iter = int(optimizer.state[weight]["n_iter"])
        # The gradient is that of the last point where the line search stood, so the point itself is looked at.
        if problem.state(weight).gap <= tol:
            break
    return weight.detach(), n_iter


def _proximal(problem: GateProblem, start: Tensor, tol: float, max_iter: int) -> tuple[Tensor, int]:
    """FISTA (Beck and Teboulle, 2009) with backtracking; momentum is forgotten where it points uphill."""
    penalty = L1(problem.alpha)
    weight = point = start
    momentum, curvature = 1.0, 1e-3
    for n_iter in range(max_iter):
        if n_iter % _PATIENCE == 0 and problem.state(weight).gap <= tol:
            return weight, n_iter
        here, curvature = problem.state(point), curvature * _FORGET
        while True:
            moved = prox(point - here.gradient / curvature, penalty, 1.0 / curvature)
            step = moved - point
            bound = here.loss + float((here.gradient * step).sum()) + curvature / 2 * float(step.square().sum())
            with torch.no_grad():
                # Beyond its own rounding a value cannot be told from its bound.
                if float(problem.loss(moved)) <= bound + 1e-14 * abs(here.loss):
                    break
            curvature *= 2.0
        move = moved - weight
        if float(((point - moved) * move).sum()) > 0:
            momentum, point = 1.0, moved
        else:
            following = (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5) / 2.0
            point, momentum = moved + (momentum - 1.0) / following * move, following
        weight = moved
    return weight, max_iter
