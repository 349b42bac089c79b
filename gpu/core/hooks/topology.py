"""Masks that change during training: gradients, weights and moments are masked at every step, some steps rewire."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparsetheory.constraints import COUNT, FLAG, MISSING, SIZE, Choice, Real
from sparsetheory.gpu.core.hooks.mask_groups import make_groups, set_masks, set_units
from sparsetheory.gpu.core.hooks.optimiser_state import state_tensors
from sparsetheory.gpu.core.hooks.snapshots import Score, Snapshot, Start, TopologyEvent
from sparsetheory.gpu.core.hooks.steps import StepHooks, grad_scale, parameters_of, step_is_skipped
from sparsetheory.gpu.core.hooks.topology_rules import TopologyRules
from sparsetheory.gpu.core.hooks.update_gate import Held, hold, put_back
from sparsetheory.gpu.core.masks import MaskSet, check_alike
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.core.schedules import Constant

__all__ = ["TopologyController"]

_FRACTION = Real(0.0, 1.0)


class TopologyController(StepHooks):
    """Train under masks that are rewired every so many steps: drop the least useful entries, grow others.

    At every step gradients are masked before the update, and afterwards weights and all moments of the optimiser are
    zero off the masks. At an event, the entries of the smallest drop score leave each mask and those of the largest
    grow score enter. The parameters themselves hold the zeros, so that gradients are dense when scores see them; under
    a mask parametrisation they would be zero off the mask, and growth by gradient would be blind.

    Events take place after every `every` steps, and in the step after :meth:`request`. There is none in a step with a
    gradient that is not finite. A number of entries that a method asks for and masks cannot give is clipped with a
    warning.

    Clipping of gradients in the training loop sees dense gradients, whose norm is larger. Call :meth:`mask_gradients`
    before it. Where the loop is not yours, clip in a step pre-hook of the optimiser that is registered after the
    controller: hooks run in the order of their registration.

    Make the controller when the model is on its device. A copied or pickled optimiser has lost its hooks; see
    :class:`StepHooks`. Where several workers hold equal models and average their gradients, masks stay equal too if the
    generators have the same seed.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    masks : mapping of Tensor, or tuple of Tensor, to Tensor of bool
        Masks by parameter, see :meth:`MaskSet.by_parameter`; a tuple holds several tensors that share one mask, the
        first of which scores look at. The masks given are changed in place. Attributes name them as the optimiser names
        its parameters: give it ``model.named_parameters()``.
    drop, grow : callable
        From a :class:`Snapshot` to a score of the shape of the mask. :mod:`sparsetheory.gpu.dynamic` has the common
        ones, such as ``magnitude`` and ``gradient_magnitude``.
    fraction : callable or float
        From steps done to the share of the active entries that are not frozen to drop; 0 means no change.
    every : int, optional
        Steps between events. By default there are only requested ones.
    rounding : callable
        From share times entries to a whole number: ``math.floor`` (as RigL), ``math.ceil``, ``round``.
    density : callable, optional
        From steps done to the density of a mask after the event, if it is to change, or to a pair: the density after
        dropping, and that after growing. What `fraction` drops too little for it is dropped in addition.
    state : {"zero", "mean"}
        Where moments of new entries start. All are zero; with "mean" running means of squares start at the mean of the
        survivors. Under Adam a zero start makes the first step of a new entry 3.2 times the learning rate, and later
        ones up to 6.6 times, as its moments are young and the step count is not.
    regrown : {"keep", "new"}
        Whether an entry that is dropped and chosen again in one event keeps its weight and moments, or starts anew.
    start : callable, or sequence of callables, optional
        Values of new entries: from a tensor, the mask of its new entries, that of the survivors, and a generator to
        numbers; one for all tensors, or one for each tensor of a group. Zero by default.
    frozen : mapping, optional
        Entries that neither move nor are dropped, by the keys of `masks`.
    forbid : mapping, optional
        Entries that do not grow, by the keys of `masks`.
    allow_regrow : bool
        Whether an entry that has just been dropped competes for growing.
    skip_update : bool or {"state"}
        Whether an event replaces the update of its step. With True all parameters are as before, and the moments have
        moved. With "state" the optimiser sees no gradients in that step, so that neither parameters nor moments move.
    budget : {"tensor", "global"}
        Whether each mask keeps its number of entries, or all together. A global budget compares scores across masks.
    units : str, tuple or pattern, optional
        What moves together: ``"rows"``, ``"columns"``, ``"kernels"``, boxes of a tuple of edges, or the exchange within
        groups of ``"2:4"``, see :func:`mask_units`; one for all masks, or a mapping by the keys of `masks`. Masks must
        consist of whole units. The score of a unit is the sum of the scores of its entries, unless scores have one
        number for each unit already. Shares, densities and budgets then count units, whatever their sizes.
    min_active : int
        Entries, or units, that each mask keeps at an event at least: those of the largest drop scores.
    generator : torch.Generator or int, optional
        On the CPU, or a seed.

    Attributes
    ----------
    step : int
        Optimiser steps done.
    history : list of TopologyEvent
        The events so far. Reports take :attr:`trajectory`, which also has the masks at the start.

    Raises
    ------
    TypeError
        If a mask does not hold booleans.
    ValueError
        If an argument is out of range, or a mask does not fit a parameter of the optimiser.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML 2020; Liu et al., "Do We
    Actually Need Dense Over-Parameterization?", ICML 2021, for the entries ever active.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 0.1, 0.0, 0.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.01)
    >>> controller = TopologyController(
    ...     optimizer,
    ...     {weight: torch.tensor([True, True, False, False])},
    ...     drop=lambda snapshot: snapshot.weight.abs(),
    ...     grow=lambda snapshot: snapshot.gradient.abs(),
    ...     fraction=0.5,
    ...     every=1,
    ... )
    >>> (weight * torch.tensor([0.0, 0.0, 1.0, 3.0])).sum().backward()
    >>> optimizer.step()
    >>> controller.masks["mask 0"]
    tensor([ True, False, False,  True])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        masks: Mapping[Any, Tensor],
        *,
        drop: Score,
        grow: Score,
        fraction: Callable[[int], float] | float,
        every: int | None = None,
        rounding: Callable[[float], int] = math.floor,
        density: Callable[[int], float | tuple[float, float]] | None = None,
        state: str = "zero",
        regrown: str = "keep",
        start: Start | Sequence[Start] | None = None,
        frozen: Mapping[Any, Tensor] | None = None,
        forbid: Mapping[Any, Tensor] | None = None,
        allow_regrow: bool = True,
        skip_update: bool | str = False,
        budget: str = "tensor",
        units: Any = None,
        min_active: int = 0,
        generator: torch.Generator | int | None = None,
    ) -> None:
        self._every = (MISSING | COUNT).check("every", every)
        Choice("zero", "mean").check("state", state)
        Choice("keep", "new").check("regrown", regrown)
        Choice("tensor", "global").check("budget", budget)
        FLAG.require(allow_regrow=allow_regrow)
        share = fraction if callable(fraction) else Constant(_FRACTION.check("fraction", fraction))
        self._rules = TopologyRules(
            drop,
            grow,
            share,
            rounding,
            density,
            state,
            regrown,
            start,
            bool(allow_regrow),
            budget,
            SIZE.check("min_active", min_active),
        )
        self._scores = [drop] if grow is drop else [drop, grow]
        self._observers: list[Any] = [score for score in self._scores if hasattr(score, "observe")]
        self._skip_update = (FLAG | Choice("state")).check("skip_update", skip_update)
        self._generator = cpu_generator(generator)
        self._groups = make_groups(optimizer, masks)
        set_units(self._groups, units, counts_vary=budget == "global" or density is not None)
        self.set_frozen(frozen or {})
        self.set_forbidden(forbid or {})
        self.step = 0
        self.history: list[TopologyEvent] = []
        self._began = (0, self.masks.digest(), self.masks.density)
        self._requested = self._event = self._in_step = False
        self._dense: list[tuple[Tensor | None, ...]] | None = None
        self._held: Held = []
        self._undo: Held = []
        self._hidden: list[tuple[Tensor, Tensor]] = []
        super().__init__(optimizer)
        self._clear_off_masks()

    @property
    def masks(self) -> MaskSet:
        """The masks now, by the names of parameters in the optimiser; where it has none, "mask 0", "mask 1", ..."""
        return MaskSet({group.name: group.mask for group in self._groups})

    @property
    def fired(self) -> MaskSet:
        """Which entries have been active at any time; its density is how much of the dense model was explored."""
        return MaskSet({group.name: group.fired for group in self._groups})

    @property
    def trajectory(self) -> list[tuple[Any, ...]]:
        """The masks at the start, after each event and now, as the `history` of :func:`sparsity_report`.

        Entries are (step, digest, density); the last one also has the share of all entries ever active.
        """
        events = [(event.step, event.digest, event.density) for event in self.history]
        now = self.masks
        return [self._began, *events, (self.step, now.digest(), now.density, self.fired.density)]

    def set_frozen(self, frozen: Mapping[Any, Tensor]) -> None:
        """Replace the entries that neither move nor are dropped, given by the keys of the masks."""
        set_masks(self._groups, "frozen", frozen)

    def set_forbidden(self, forbid: Mapping[Any, Tensor]) -> None:
        """Replace the entries that do not grow, given by the keys of the masks."""
        set_masks(self._groups, "forbid", forbid)

    def request(self) -> None:
        """Make the next step with finite gradients an event."""
        self._requested = True

    def mask_gradients(self) -> None:
        """Mask the gradients now: once a step, after its last backward pass and before gradients are clipped.

        The dense ones are kept for the scores. Without this call it happens at the beginning of the optimiser step.
        """
        needed = self._is_due() or bool(self._observers)
        self._in_step = False
        with torch.no_grad():
            self._dense = [self._copies(group.parameters) if needed else () for group in self._groups]
            for group in self._groups:
                gradients = [parameter.grad for parameter in group.parameters if parameter.grad is not None]
                group.clear(_require_dense(gradient, group.name) for gradient in gradients)

    def state_dict(self) -> dict[str, Any]:
        """Return steps, masks, entries ever active, history, the generator, and what stateful scores keep."""
        return {
            "step": self.step,
            "began": self._began,
            "requested": self._requested,
            "masks": {name: mask.clone() for name, mask in self.masks.items()},
            "fired": {name: mask.clone() for name, mask in self.fired.items()},
            "history": [asdict(event) for event in self.history],
            "generator": self._generator.get_state(),
            "scores": [score.state_dict() if hasattr(score, "state_dict") else None for score in self._scores],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; masks keep their memory, and where they change, weights off them become zero.

        A state with the masks of now changes no weight. Some loops load the present state again, to move it to another
        device, after the weights of a checkpoint and before its masks.

        Raises
        ------
        ValueError
            If names or shapes of masks differ.
        """
        check_alike("state", state["masks"], self.masks, "the masks of the controller")
        for group in self._groups:
            if group.units is not None:
                group.units.check_mask(state["masks"][group.name], f"state of {group.name}")
        changed = any(not torch.equal(mask.cpu(), state["masks"][name].cpu()) for name, mask in self.masks.items())
        self.masks.load_state_dict(state["masks"])
        self.fired.load_state_dict(state["fired"])
        self.step, self._requested = int(state["step"]), bool(state["requested"])
        self._began = tuple(state["began"])
        self.history = [TopologyEvent(**event) for event in state["history"]]
        self._generator.set_state(state["generator"].cpu())
        for score, kept in zip(self._scores, state["scores"], strict=True):
            if kept is not None:
                score.load_state_dict(kept)  # type: ignore[attr-defined]
        if changed:
            self._clear_off_masks()

    def before_step(self) -> None:
        """Mask the gradients; remember frozen entries, and all parameters where an event replaces the update."""
        # Still in a step: the last one was broken off by an exception, and what it kept is of no use.
        if self._dense is None or self._in_step:
            self.mask_gradients()
        self._in_step = True
        seen = (self._is_due() or bool(self._observers)) and self._all_finite()
        if seen:
            self._show_dense()
        self._event = seen and self._is_due()
        frozen = {p: group.frozen for group in self._groups if group.frozen is not None for p in group.parameters}
        self._held = hold(frozen)
        everything = parameters_of(self.optimizer) if self._event and self._skip_update else []
        if self._skip_update == "state":
            # What another controller of the optimiser has hidden is its own to give back.
            self._hidden = [(one, one.grad) for one in everything if one.grad is not None]
            for parameter, _ in self._hidden:
                parameter.grad = None
        else:
            self._undo = hold({parameter: torch.ones_like(parameter, dtype=torch.bool) for parameter in everything})

    def after_step(self) -> None:
        """Write frozen entries back, rewire at an event, and set weights and moments off the masks to zero."""
        for parameter, gradient in self._hidden:
            parameter.grad = gradient
        put_back(self._held)
        try:
            if not step_is_skipped(self.optimizer):
                self.step += 1
                if self._event:
                    put_back(self._undo)
                    self._requested = False
                    self._rewire()
        finally:
            # Scores are code of others and may raise.
            self._clear_off_masks()
            self._dense, self._held, self._undo, self._hidden = None, [], [], []
            self._event = self._in_step = False

    def _rewire(self) -> None:
        pairs = [(group, self._snapshot(index)) for index, group in enumerate(self._groups)]
        moved = self._rules.apply(self.optimizer, pairs)
        if moved is not None:
            masks = self.masks
            self.history.append(TopologyEvent(self.step, masks.density, masks.digest(), *moved))
        elif not self.history and self._rules.fraction(self.step) > 0:
            share = self._rules.fraction(self.step)
            warnings.warn(
                f"no mask has enough active entries for a fraction of {share:g}; nothing is rewired",
                RuntimeWarning,
                stacklevel=2,
            )

    def _snapshot(self, index: int) -> Snapshot:
        group = self._groups[index]
        assert self._dense is not None
        kept = self.optimizer.state.get(group.parameters[0], {})
        return Snapshot(
            index, self.step, group.mask, group.fired, group.parameters, self._dense[index], kept, self._generator
        )

    def _is_due(self) -> bool:
        return self._requested or (self._every is not None and (self.step + 1) % self._every == 0)

    def _all_finite(self) -> bool:
        gradients = [parameter.grad for parameter in parameters_of(self.optimizer)]
        gradients += [gradient for copies in self._dense or () for gradient in copies]
        finite = all(bool(torch.isfinite(gradient).all()) for gradient in gradients if gradient is not None)
        return finite and not step_is_skipped(self.optimizer)

    def _show_dense(self) -> None:
        """Divide the dense gradients by the scale that a fused optimiser still has to take off; show them to scores."""
        scale = grad_scale(self.optimizer)
        if scale is not None:
            self._dense = [tuple(g if g is None else g / scale for g in copies) for copies in self._dense or ()]
        for index, copies in enumerate(self._dense or ()):
            for score in self._observers:
                if copies[0] is not None:
                    score.observe(index, copies[0])

    def _copies(self, parameters: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        return tuple(None if parameter.grad is None else parameter.grad.clone() for parameter in parameters)

    def _clear_off_masks(self) -> None:
        # Gradients of zero do not suffice: the update of Muon is dense, and Adamax keeps a small number everywhere.
        with torch.no_grad():
            for group in self._groups:
                for parameter in group.parameters:
                    group.clear([parameter, *state_tensors(self.optimizer, parameter).values()])


def _require_dense(gradient: Tensor, name: str) -> Tensor:
    if gradient.layout != torch.strided:
        raise ValueError(f"gradients must be dense under masks; that of {name} is {gradient.layout}")
    return gradient
