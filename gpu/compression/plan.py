"""A plan: which layers of a model get which pattern, by which method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import nn

from sparsetheory.constraints import Choice
from sparsetheory.gpu.core.layer_masks import check_layer
from sparsetheory.gpu.core.layers import block_layers, check_prunable, find_layers
from sparsetheory.gpu.core.patterns import Pattern, as_pattern
from sparsetheory.gpu.weights.layerwise.dispatch import METHODS

__all__ = ["PlanStep", "as_plan", "resolve"]


@dataclass(frozen=True)
class PlanStep:
    """One step of a plan.

    Parameters
    ----------
    layers : str, sequence of str, or None
        Names of layers or shell patterns. None stands for the layers of the repeated blocks of the model, without
        embeddings, poolers and heads.
    pattern : Pattern, str, or None
        What may be kept; text as :func:`sparsetheory.gpu.core.parse_pattern` reads it. None leaves layers dense.
    method : str
        See :func:`sparsetheory.gpu.weights.layerwise_prune`.
    options : mapping
        Further arguments of that function, such as `damping`.

    Examples
    --------
    >>> PlanStep("*.query", "2:4").pattern
    NM(n=2, m=4, axis=-1)
    """

    layers: str | Sequence[str] | None
    pattern: Pattern | str | None
    method: str = "swap"
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        Choice(*METHODS).check("method", self.method)
        if self.pattern is not None:
            object.__setattr__(self, "pattern", as_pattern(self.pattern))


def as_plan(plan: Any) -> tuple[PlanStep, ...]:
    """Return the steps of a plan.

    Parameters
    ----------
    plan : str, Pattern, PlanStep, or sequence of PlanStep or tuple
        A pattern alone is meant for the layers of the repeated blocks. Tuples hold the arguments of :class:`PlanStep`.

    Returns
    -------
    tuple of PlanStep

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or has no step.

    Examples
    --------
    >>> [step.method for step in as_plan([("*.query", "2:4"), ("*.key", "50%", "wanda")])]
    ['swap', 'wanda']
    """
    if isinstance(plan, str | Pattern):
        return (PlanStep(None, plan),)
    if isinstance(plan, PlanStep):
        return (plan,)
    if not isinstance(plan, Sequence) or not all(isinstance(step, PlanStep | tuple) for step in plan):
        raise TypeError(
            f"plan must be a pattern, or a list of steps or tuples such as [(layers, pattern)]; got {plan!r:.80}"
        )
    if not plan:
        raise ValueError("plan must hold at least 1 step; got none")
    return tuple(step if isinstance(step, PlanStep) else PlanStep(*step) for step in plan)


def resolve(plan: Sequence[PlanStep], model: nn.Module) -> dict[str, PlanStep]:
    """Return the step of every layer that is to be compressed, in the order of the model.

    The first step that names a layer decides. All patterns are checked against the shapes of their layers.

    Raises
    ------
    ValueError
        If a name matches no layer, a pattern does not fit (the message names layer and axis), or a weight is shared
        with another module or computed from other tensors.
    """
    decided: dict[str, PlanStep] = {}
    for step in plan:
        names = block_layers(model) if step.layers is None else list(find_layers(model, step.layers))
        for name in names:
            decided.setdefault(name, step)
    layers = find_layers(model)
    chosen = {name: decided[name] for name in layers if name in decided and decided[name].pattern is not None}
    if not chosen:
        raise ValueError("plan must name at least 1 layer with a pattern; got none")
    check_prunable(model, {name: layers[name] for name in chosen})
    for name, step in chosen.items():
        assert isinstance(step.pattern, Pattern)
        check_layer(step.pattern, layers[name], name)
    return chosen
