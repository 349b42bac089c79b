"""Training of a variational posterior on a sparse subspace that changes: swaps of weights in the user's own loop."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.constraints import FLAG, SIZE, Instance, Real
from sparsetheory.gpu.bayesian.groups.global_scores import check_global_scores
from sparsetheory.gpu.bayesian.layers.modes import kl_divergence
from sparsetheory.gpu.bayesian.subspace.dense_gradients import DenseGradients
from sparsetheory.gpu.bayesian.subspace.new_weights import NewDeviations
from sparsetheory.gpu.bayesian.subspace.swap_report import SwapReport
from sparsetheory.gpu.bayesian.subspace.swap_scores import GainScore, addition, removal
from sparsetheory.gpu.bayesian.subspace.trained_layers import (
    check_density,
    check_steps,
    trained_layers,
    units_by_weight,
)
from sparsetheory.gpu.bayesian.subspace.workers import mean_of_workers, shared_score, true_for_all
from sparsetheory.gpu.core.hooks.snapshots import TopologyEvent
from sparsetheory.gpu.core.hooks.steps import grad_scale, step_is_skipped
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.core.schedules import Cosine

__all__ = ["SSVIScheduler"]


class SSVIScheduler(TopologyController):
    r"""Train normal weights on masks whose weights are swapped every so many steps, at an exact number of weights.

    Every `period` steps, before `t_end`, a swap takes the place of the update. In each layer the weights of the
    smallest removal scores leave the mask, and as many enter: those of the largest magnitude of the dense gradient by
    the means, at this minibatch, among all weights that were not kept. A weight that has just left may be chosen again;
    then it keeps its mean and deviation. New weights have the mean 0 and, by default, the `rho` that survivors have on
    average, so that they start below the average deviation (softplus is convex). Means, `rho` and all moments of the
    optimiser are zero off the masks. With s weights, step t moves
    ``floor(s * drop_fraction / 2 * (1 + cos(pi t / t_end)))`` of them.

    Nothing is wrapped: the swap takes place in hooks of the optimiser, which sees no gradients in that step, so that
    neither parameters nor moments move otherwise. Dense gradients are computed in steps that need them only, and are
    set aside within the backward pass: what clipping sees is masked. Masks are the buffers of the layers. A step in
    which no layer has a weight to swap is an ordinary one.

    Parameters
    ----------
    model : torch.nn.Module
        With layers that have normal weights on masks, as :func:`bayesianise` makes them. Layers whose parameters are
        frozen stay as they are.
    optimizer : torch.optim.Optimizer
        Of the parameters of the model; made after :func:`bayesianise`.
    density : float, optional
        What each mask that is not full must have, as a check; by default masks are taken as they are.
    drop_fraction : float
        Share of the weights to swap in the beginning, in [0, 1]; 0 means static masks.
    period : int
        Steps from swap to swap.
    t_end : int
        Step from which on there are no swaps, usually three quarters of all steps.
    criterion : {"snr_abs", "snr", "mean", "mean_abs", "exp_abs", "snr_exp_abs", "savage_dickey", "random"}
        Which weights are kept, see :func:`removal_score`; of "random" none is better than another.
    rule : {"grad", "gain"}
        Which weights enter, see :func:`addition_score`. For "gain" a :class:`FisherDiagonal` estimates second
        derivatives, which costs a product of matrices in each step, and takes gradients that are not scaled.
    noise_free_grad : bool
        Whether the swap's minibatch is computed at the means, without noise.
    grad_accumulation : int
        Steps, the swap included, over which dense gradients are averaged. Several backward passes before one step of
        the optimiser count as one step in any case.
    grow_std : {"mean", "eps"}
        Standard deviation of new weights: softplus of the mean `rho` of the survivors, or 1e-6.
    min_swaps : int
        Weights that each layer swaps at least, or all layers together under one budget. Without it a layer of fewer
        than ``1 / drop_fraction`` weights never swaps; there is a warning.
    allow_regrow : bool
        Whether a weight that has just left may be chosen again. Otherwise a layer swaps no more weights than it has
        places, with a warning.
    units : str, tuple, pattern or mapping, optional
        What moves together, such as ``"rows"`` or ``"2:4"``, see :func:`sparsetheory.gpu.core.mask_units`; a mapping
        has one for some layers, by their names. Masks must consist of whole units, and counts are then of units.
    budget : {"tensor", "global"}
        Whether each layer keeps its number of weights, or all together. One budget compares scores of all layers, which
        are in nats for the criterion "savage_dickey" and the rule "gain"; for others there is a warning.
    min_active : int, optional
        Weights, or units, that each layer keeps at least; by default 1 under a global budget, else 0.
    n_samples : int, optional
        Training samples; needed for the rule "gain", to count in nats.
    temperature : float
        Weight of the prior in the loss, for the rule "gain".
    generator : torch.Generator or int, optional
        Of the criterion "random", on the CPU.

    Attributes
    ----------
    step : int
        Optimiser steps done, swaps among them.
    history : list of TopologyEvent
        The swaps so far.

    Raises
    ------
    ValueError
        If an argument is out of range; `period` is not above `grad_accumulation`, or `t_end` not above `period`; the
        model has no such layer; or the optimiser has the means of a layer and not its `rho`.

    Warns
    -----
    RuntimeWarning
        If layers never swap; at a swap that is left out as a gradient is not finite.

    Notes
    -----
    The objective per sample is the mean loss plus ``KLWeight * kl()``. Under Adam a new weight has zero moments and the
    step count of its tensor, so that its first move is up to ``(1 - beta_1) / sqrt(1 - beta_2)``, or 3.2, learning
    rates.

    :func:`attach_state` stores masks, steps and gradients set aside with the state of the optimiser, and a run goes on
    from there to the bit. Where ``torch.distributed`` is initialised when a swap takes place, all workers must hold the
    model and come to it together: dense gradients are averaged over them, and removal scores added, by one worker, so
    that masks stay equal whether gradients are averaged at each step or not.

    References
    ----------
    .. [1] J. Li, Z. Miao, Q. Qiu, R. Zhang. Training Bayesian neural networks with sparse subspace variational
       inference. ICLR 2024, arXiv 2402.11025.
    .. [2] U. Evci, T. Gale, J. Menick, P. S. Castro, E. Elsen. Rigging the lottery: making all tickets winners.
       ICML 2020.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.bayesian import KLWeight, bayesianise
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <...>
    >>> model = nn.Sequential(nn.Linear(8, 32, bias=False), nn.Tanh(), nn.Linear(32, 2, bias=False))
    >>> _ = bayesianise(model, 0.25, mu_std="fan_in", dense_first=False, generator=0)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> scheduler = SSVIScheduler(model, optimizer, period=5, t_end=30)
    >>> weight = KLWeight(64, temperature=0.01, n_steps=40)
    >>> x = torch.randn(64, 8)
    >>> for _ in range(40):
    ...     optimizer.zero_grad()
    ...     loss = nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())
    ...     (loss + weight(scheduler.step) * scheduler.kl()).backward()
    ...     optimizer.step()
    >>> report = scheduler.report()
    >>> report.n_swaps, report.n_active, report.explored > report.density
    (5, {'0': 64, '2': 16}, True)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        density: float | None = None,
        drop_fraction: float = 0.3,
        period: int = 100,
        t_end: int,
        criterion: str = "snr_abs",
        rule: str = "grad",
        noise_free_grad: bool = False,
        grad_accumulation: int = 1,
        grow_std: str = "mean",
        min_swaps: int = 0,
        allow_regrow: bool = True,
        units: Any = None,
        budget: str = "tensor",
        min_active: int | None = None,
        n_samples: int | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | int | None = None,
    ) -> None:
        self.model = Instance(nn.Module, "a torch.nn.Module").check("model", model)
        self._period, self._n_averaged, t_end = check_steps(period, grad_accumulation, t_end)
        self._noise_free = FLAG.check("noise_free_grad", noise_free_grad)
        self._min_swaps = SIZE.check("min_swaps", min_swaps)
        check_global_scores(criterion, rule, budget)
        self._layers = trained_layers(model, optimizer)
        check_density(self._layers, density)
        layers = list(self._layers.values())
        share = Cosine(Real(0.0, 1.0).check("drop_fraction", drop_fraction), t_end)
        self._dense_gradients = DenseGradients(layers, self._in_window, self._is_noise_free)
        self._n_left_out = 0
        self._asked = False
        self._counted: tuple[list[int], list[int]] | None = None
        self._new_deviations = NewDeviations(grow_std)
        self._gain = addition(model, self._layers, rule, n_samples, temperature)
        super().__init__(
            optimizer,
            {(layer.weight, layer.rho): layer.mask for layer in layers},
            drop=shared_score(removal(layers, criterion)),
            grow=self._gain,
            fraction=share,
            every=period,
            rounding=self._round,
            start=(_zero, self._new_deviations),
            allow_regrow=allow_regrow,
            skip_update="state",
            units=units_by_weight(self._layers, units),
            budget=budget,
            min_active=int(budget == "global") if min_active is None else min_active,
            generator=generator,
        )
        for group, name in zip(self._groups, self._layers, strict=True):
            group.name = f"{name}.weight" if name else "weight"
        self._began = (0, self.masks.digest(), self.masks.density)
        self._check_sizes()
        self._dense_gradients.attach()

    def attach(self) -> None:
        """Put the hooks back on after :meth:`detach`; the scheduler is attached when it is made."""
        if not self._handles:
            self._register()
            self._dense_gradients.attach()
            if isinstance(self._gain, GainScore):
                self._gain.attach()

    def detach(self) -> None:
        """Take all hooks off optimiser, layers and parameters; the masks stay as they are."""
        super().remove()
        self._handles = []
        self._dense_gradients.remove()
        if isinstance(self._gain, GainScore):
            self._gain.detach()

    def remove(self) -> None:
        """Do what :meth:`detach` does."""
        self.detach()

    def request(self) -> None:
        """Make the next step a swap, or the one after it where a forward pass of the next one has taken place already.

        Dense gradients are of a forward pass that was asked for them.
        """
        if self._dense_gradients.has_begun:
            self._asked = True
        else:
            super().request()

    def set_frozen(self, frozen: Mapping[Any, Tensor]) -> None:
        """Do what :meth:`TopologyController.set_frozen` does."""
        super().set_frozen(frozen)
        self._counted = None

    def kl(self) -> Tensor:
        """Return the divergence of all normal weights of the model from their priors, in nats; differentiable."""
        return kl_divergence(self.model)

    def report(self) -> SwapReport:
        """Return what the swaps so far did."""
        masks = {name: layer.mask for name, layer in self._layers.items()}
        return SwapReport(
            self.step,
            len(self.history),
            self._n_left_out,
            sum(event.n_grown for event in self.history),
            sum(event.n_regrown for event in self.history),
            self.masks.density,
            self.fired.density,
            {name: int(mask.sum()) for name, mask in masks.items()},
            tuple(name for index, name in enumerate(masks) if self._largest_swap(index) == 0),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue: steps, masks, history, generator, and gradients set aside."""
        own = {
            "gradients": self._dense_gradients.state_dict(),
            "n_left_out": self._n_left_out,
            "asked": self._asked,
        }
        return {**super().state_dict(), "subspace": own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, see :meth:`TopologyController.load_state_dict`.

        Raises
        ------
        ValueError
            If names or shapes of masks differ, or the state is of another controller or another rule.
        """
        own = state.get("subspace")
        if own is None:
            raise ValueError("state must be that of an SSVIScheduler; got one without 'subspace'")
        kept = [score is not None for score in state["scores"]]
        if kept != [hasattr(score, "state_dict") for score in self._scores]:
            raise ValueError(
                f"state must be that of a scheduler with the same rule; got one {'with' if any(kept) else 'without'} "
                "second derivatives"
            )
        super().load_state_dict(state)
        self._dense_gradients.load_state_dict(own["gradients"])
        self._n_left_out, self._asked = int(own["n_left_out"]), bool(own["asked"])

    def before_step(self) -> None:
        """Take over what was set aside, mask gradients, and hide them from the optimiser at a swap.

        Raises
        ------
        RuntimeError
            If a swap is due and no layer has a dense gradient, or the mask of a layer is another tensor than before.
        """
        self._require_masks()
        due = self._is_due()
        if self._dense is None or self._in_step:
            self.mask_gradients()
        if self._in_window() and not step_is_skipped(self.optimizer):
            self._dense_gradients.end_step(grad_scale(self.optimizer))
            if due:
                self._take_means()
        super().before_step()
        if due and not self._event and not step_is_skipped(self.optimizer):
            self._n_left_out += 1
            warnings.warn(
                f"a gradient is not finite at step {self.step + 1}; its swap is left out", RuntimeWarning, stacklevel=2
            )

    def after_step(self) -> None:
        """Swap, where it is due, and set means, `rho` and moments off the masks to zero."""
        ended = self._is_due() and not step_is_skipped(self.optimizer)
        try:
            super().after_step()
        finally:
            if ended:
                self._dense_gradients.clear()
            self._dense_gradients.begin_step()
            self._requested, self._asked = self._requested or self._asked, False

    def _is_due(self) -> bool:
        return super()._is_due() and self._moves(self.step + 1)

    def _in_window(self) -> bool:
        """Return whether the dense gradients of the step to come are asked for."""
        step = self.step + 1
        swap = math.ceil(step / self._period) * self._period
        return (self._requested and self._moves(step)) or (swap - step < self._n_averaged and self._moves(swap))

    def _is_noise_free(self) -> bool:
        return self._noise_free and self._is_due()

    def _moves(self, step: int) -> bool:
        return any(self._swaps_at(step, count) > 0 for count in self._movable)

    def _swaps_at(self, step: int, count: int) -> int:
        share = self._rules.fraction(step)
        return self._round(share * count) if share > 0 and count > 0 else 0

    def _largest_swap(self, index: int) -> int:
        return self._swaps_at(self._period, self._movable[index])

    def _round(self, count: float) -> int:
        return max(self._min_swaps, math.floor(count))

    @property
    def _movable(self) -> list[int]:
        """Weights, or units, of each layer that may leave: none where there is no place for others."""
        versions = [group.mask._version for group in self._groups]
        if self._counted is None or self._counted[0] != versions:
            self._counted = (versions, self._count())
        return self._counted[1]

    def _count(self) -> list[int]:
        free = [not bool(group.mask.all()) for group in self._groups]
        if self._rules.budget == "global":
            return [sum(group.n_movable for group in self._groups) if any(free) else 0] * len(free)
        return [group.n_movable if some else 0 for group, some in zip(self._groups, free, strict=True)]

    def _take_means(self) -> None:
        """Let scores see the means of the gradients that were set aside."""
        like = [layer.weight for layer in self._layers.values()]
        means = mean_of_workers(self._dense_gradients.means(), like)
        if all(mean is None for mean in means):
            self._dense = None
            self._dense_gradients.clear()
            raise RuntimeError(
                f"a swap needs dense gradients, which backward passes of the model set aside; there was none before "
                f"step {self.step + 1}"
            )
        self._dense = [(mean,) for mean in means]

    def _show_dense(self) -> None:
        """Gradients that were set aside are in the unit of the loss already."""

    def _all_finite(self) -> bool:
        return true_for_all(super()._all_finite(), self._groups[0].mask.device)

    def _rewire(self) -> None:
        assert self._dense is not None
        pairs = [
            (group, self._snapshot(index))
            for index, group in enumerate(self._groups)
            # A layer without a part in the loss stays as it is.
            if self._movable[index] and self._dense[index][0] is not None
        ]
        self._new_deviations.remember(self._layers.values())
        moved = self._rules.apply(self.optimizer, pairs)
        if moved is not None:
            masks = self.masks
            self.history.append(TopologyEvent(self.step, masks.density, masks.digest(), *moved))

    def _require_masks(self) -> None:
        for (name, layer), group in zip(self._layers.items(), self._groups, strict=True):
            if layer.mask is not group.mask:
                raise RuntimeError(
                    f"the mask of {name or 'the model'} must be the tensor that the scheduler was given; it was "
                    "replaced: make the scheduler when the model is on its device"
                )

    def _check_sizes(self) -> None:
        """Warn of layers that have too few weights to swap any, and raise if one has less than the least number."""
        names = [name or "the model" for name in self._layers]
        able = [(name, self._movable[index], self._largest_swap(index)) for index, name in enumerate(names)]
        few = [f"{name} has {count}" for name, count, _ in able if 0 < count < self._min_swaps]
        if few:
            raise ValueError(
                f"min_swaps must be at most the weights, or units, of each layer; got {self._min_swaps}: {few[0]}"
            )
        small = [name for name, count, swaps in able if count and swaps == 0]
        if small and self._rules.fraction(0) > 0:
            warnings.warn(
                f"{', '.join(small)} never swaps: too few weights for the share to drop; raise drop_fraction or "
                "min_swaps",
                RuntimeWarning,
                stacklevel=3,
            )


def _zero(parameter: Tensor, new: Tensor, survivors: Tensor, generator: torch.Generator) -> float:
    return 0.0
