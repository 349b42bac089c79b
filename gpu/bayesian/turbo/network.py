"""Turbo-VBI for networks: supports of weights that cluster, learned beside any training loop."""

import copy
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.certificates import Status
from sparsetheory.constraints import COUNT, FRACTION, NONNEGATIVE, POSITIVE, SIZE, Choice, Instance, Real
from sparsetheory.gpu.bayesian.turbo.certificate import CertifiedLayer, NetworkTurboVBICertificate
from sparsetheory.gpu.bayesian.turbo.checks import check_names, layers_of, structures_of, warn_of_density
from sparsetheory.gpu.bayesian.turbo.dead_inputs import SeenInputs
from sparsetheory.gpu.bayesian.turbo.export import plain_copy
from sparsetheory.gpu.bayesian.turbo.layer_prior import LayerPrior
from sparsetheory.gpu.bayesian.turbo.layout import STRUCTURES, WeightGrid, grid_of
from sparsetheory.gpu.bayesian.turbo.learning_rates import RhoRates
from sparsetheory.gpu.bayesian.turbo.prior import FACTORISATION, WeightPrior
from sparsetheory.gpu.bayesian.turbo.report import LayerSupport, NetworkTurboVBIReport
from sparsetheory.gpu.core.hooks.steps import StepHooks, step_is_skipped
from sparsetheory.gpu.core.layers import weight_name
from sparsetheory.gpu.core.masks import MaskSet

__all__ = ["NetworkTurboVBI"]

_PROBABILITY = Real(0.0, 1.0)


class NetworkTurboVBI(StepHooks):
    r"""Learn which weights of a network are on, with a prior under which they cluster, beside any training loop.

    Each weight has a state, on or off, and a precision with one Gamma law if it is on and another, of much larger mean,
    if it is off. The states of a layer have a Markov law on a grid. Weights are trained by the optimiser with the loss

    .. math:: \text{mean negative log-likelihood} + \texttt{penalty()},

    which is minus the evidence lower bound in units of one sample. Every `update_every` steps the factors of precisions
    and states are set to the best ones for the present weights, exactly, in float64. During the first `warmup_steps`
    all precisions are the number of inputs of a unit. Then the law of weights that are off moves away from that of
    weights that are on, in equal ratios, for `anneal_steps`. Without this annealing a weight that no data speak for
    stays on.

    Parameters
    ----------
    model : torch.nn.Module
        With normal weights from :func:`bayesianise`, at density 1. Other parameters have no prior.
    optimizer : torch.optim.Optimizer
        Of means and deviations of all these layers, without weight decay. The deviations must be able to follow the law
        of weights that are off: give `rho` a group of its own with a learning rate of about 0.05, for Adam.
    n_samples : int
        Rows of the training data, by which the divergence is divided.
    warmup_steps, anneal_steps : int
        Optimiser steps of the two phases.
    update_every : int
        Optimiser steps between updates of the supports, the first one so many steps after the warm-up. With one update
        an epoch weights without data lag behind the annealing, and neighbours fill gaps with them; several updates an
        epoch give sparser layers. Groups need one every few steps: a group of L weights without data moves by
        ``2 / (L + 2)`` of its way in an update, and stays on where the annealing is faster.
    prior : str or mapping of str to str
        Law of the states, for all layers or by the name of each: "chain_rows" (a chain along the inputs of each unit;
        of a convolution along output channels and widths, for each input channel and height), "chain_columns" (along
        the other axis), "iid", "grid_belief_propagation" and "grid_mean_field" (along both axes), or independent states
        of whole groups of weights, "group_outputs" (units or filters), "group_inputs" and "group_kernels".
    activation, deactivation : float
        Probabilities of switching on and off along a line. The density is ``activation / (activation + deactivation)``.
    on_shape, off_shape : float
        Shapes of the Gamma laws.
    on_rate : "auto" or float
        Rate of precisions that are on. "auto" gives a layer the prior variance of outputs that it has in the warm-up.
    off_rate_ratio : float
        Rate of precisions that are off at the end, over that of those which are on; below ``off_shape / on_shape``.
    factorisation : {"collapsed", "meanfield"}
        Whether the factor of a precision depends on its state. "meanfield" is published; its Markov prior is inert.
    temperature : float
        Weight of the divergence; with 1 the loss is the bound.
    grids : mapping of str to WeightGrid, optional
        Other grids than those of `prior`, by names of layers.
    dead_inputs : {"keep", "off"}
        "off" turns off all weights of inputs that have been zero in every batch, which changes no output on the data.

    Attributes
    ----------
    priors : dict of str to WeightPrior
        Prior and factors of each layer.
    grids : dict of str to WeightGrid
        How the states of each layer lie on a grid.
    n_steps : int
        Optimiser steps done.

    Raises
    ------
    ValueError
        If the model has no normal weights, some are masked, the optimiser does not have them all, a name is not that of
        a layer, or a number is out of its range.

    Warns
    -----
    RuntimeWarning
        If the density is above 0.4, neighbours repel each other, the learning rates of the deviations are too small for
        the annealing, or at its end everything in a layer is on or messages on a grid still move.

    See Also
    --------
    sparsetheory.bayesian.TurboVBI : The linear model, whose updates these are.

    Notes
    -----
    An update costs O(1) per weight, on the CPU; on grids that many times the iterations. A step costs one pass over
    weights and deviations. With fixed factors the loss is an upper bound of the collapsed one and touches it after an
    update, so that no update raises it at a fixed rate of the off state, except by "grid_belief_propagation", which has
    no bound. The prior on networks is that of Xia, Tsang and Lau, "Structured Bayesian compression for deep neural
    networks based on the Turbo-VBI approach", IEEE Trans. Signal Processing 71, 2023, arXiv:2302.10483; the collapsed
    form, the annealing, the automatic rate and groups are ours. Runs of weights are made by the prior first of all, the
    longer the faster the annealing is for the updates: compare with shuffled inputs before reading structure into them.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.bayesian import bayesianise
    >>> from sparsetheory.gpu.core import class_loss, train
    >>> from sparsetheory.gpu.core.models import MLP
    >>> x = torch.randn(400, 20, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 4:8].sum(1) > 0).long()
    >>> model = bayesianise(MLP([20, 8, 2]), 1.0, mu_std=0.2, sigma_init=(0.05, 0.0), generator=1)
    >>> rho = [p for name, p in model.named_parameters() if name.endswith("rho")]
    >>> rest = [p for name, p in model.named_parameters() if not name.endswith("rho")]
    >>> adam = torch.optim.Adam([{"params": rest}, {"params": rho, "lr": 0.05}], lr=0.01)
    >>> turbo = NetworkTurboVBI(model, adam, n_samples=400, warmup_steps=50, anneal_steps=150, update_every=5)
    >>> loss = lambda output, labels: class_loss(output, labels) + turbo.penalty()
    >>> run = train(model, x, y, optimizer=adam, n_steps=300, batch_size=100, loss=loss)
    >>> found = turbo.export()
    >>> bool((found[0].weight != 0).float().mean() < 0.5)
    True
    """

    priors: dict[str, WeightPrior]
    grids: dict[str, WeightGrid]

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        n_samples: int,
        warmup_steps: int,
        anneal_steps: int,
        update_every: int,
        prior: str | Mapping[str, str] = "chain_rows",
        activation: float = 0.05,
        deactivation: float = 0.2,
        on_shape: float = 1.0,
        on_rate: float | str = "auto",
        off_shape: float = 1.0,
        off_rate_ratio: float = 1e-3,
        factorisation: str = "collapsed",
        temperature: float = 1.0,
        grids: Mapping[str, WeightGrid] | None = None,
        dead_inputs: str = "keep",
    ) -> None:
        self._n = COUNT.check("n_samples", n_samples)
        self._warmup = SIZE.check("warmup_steps", warmup_steps)
        self._anneal = COUNT.check("anneal_steps", anneal_steps)
        self._every = COUNT.check("update_every", update_every)
        FRACTION.require(activation=activation, deactivation=deactivation)
        POSITIVE.require(on_shape=on_shape, off_shape=off_shape, off_rate_ratio=off_rate_ratio)
        (Choice("auto") | POSITIVE).check("on_rate", on_rate)
        FACTORISATION.check("factorisation", factorisation)
        self.temperature = POSITIVE.check("temperature", temperature)
        Choice("keep", "off").check("dead_inputs", dead_inputs)
        if off_rate_ratio * on_shape >= off_shape:
            raise ValueError(
                "off_rate_ratio must be below off_shape / on_shape, so that the off state has the larger precision; "
                f"got {off_rate_ratio!r}"
            )
        layers = layers_of(model, optimizer)
        structures = structures_of(prior, layers)
        check_names("grids", grids or {}, layers)
        for name, grid in (grids or {}).items():
            Instance(WeightGrid, "a WeightGrid").check(f"grids[{name!r}]", grid)
        warn_of_density(activation, deactivation, {STRUCTURES[name] for name in structures.values()})
        self._model = model
        self._ratio = float(off_rate_ratio)
        density = activation / (activation + deactivation)
        self._layers: dict[str, LayerPrior] = {}
        for name, layer in layers.items():
            fan_in = layer.weight[0].numel()
            self._layers[name] = LayerPrior.make(
                layer,
                (grids or {}).get(name) or grid_of(structures[name], layer.weight.ndim),
                STRUCTURES[structures[name]],
                activation=activation,
                deactivation=deactivation,
                on_shape=on_shape,
                on_rate=on_shape / (density * fan_in) if isinstance(on_rate, str) else on_rate,
                off_shape=off_shape,
                factorisation=factorisation,
                initial_precision=fan_in,
            )
        if dead_inputs == "off":
            for one in self._layers.values():
                one.seen = SeenInputs(one.layer)
        self.priors = {name: one.prior for name, one in self._layers.items()}
        self.grids = {name: one.grid for name, one in self._layers.items()}
        self.n_steps = 0
        self._rates = RhoRates(optimizer, [layer.rho for layer in layers.values()], self._ratio, self._anneal)
        super().__init__(optimizer)

    @property
    def progress(self) -> float:
        """Part of the annealing that is done, from 0 to 1."""
        return min(1.0, max(0.0, (self.n_steps - self._warmup) / self._anneal))

    @property
    def off_rate_share(self) -> float:
        """Rate of precisions that are off at the present step, over its value where both states are alike."""
        prior = next(iter(self.priors.values()))
        return float((self._ratio * prior.on_rate / prior.largest_off_rate) ** self.progress)

    def off_rate(self, name: str) -> float:
        """Return the rate of precisions that are off, in the layer of a name, at the present step."""
        return self.priors[name].largest_off_rate * self.off_rate_share

    def before_step(self) -> None:
        """Remember whether the step will be left out."""
        self._skipped = step_is_skipped(self.optimizer)

    def after_step(self) -> None:
        """Count the step, and update the supports where it is time."""
        if self._skipped:
            return
        self.n_steps += 1
        since = self.n_steps - self._warmup
        if since > 0:
            self._rates.count(self.n_steps - self._warmup)
        if since > 0 and self.n_steps % self._every == 0:
            self.update()
        if since == self._anneal:
            self._warn_at_end()

    @torch.no_grad()
    def update(self) -> None:
        """Set the factors of precisions and states to the best ones for the present weights.

        The hook does so by itself; call it to update at other moments. In the warm-up it ends the known precisions.

        Raises
        ------
        ValueError
            If a mean or a deviation is not finite. All factors stay as they are.
        """
        found = {}
        for name, one in self._layers.items():
            second, _ = one.moments()
            if not bool(second.isfinite().all()):
                raise ValueError(f"model must have finite means and deviations; got others in layer {name!r}")
            found[name] = one.fitted(second, self.off_rate(name))
        for name, one in self._layers.items():
            one.prior.factors = found[name]
            one.show()

    def penalty(self) -> Tensor:
        """Return the divergence of the weights from the prior with the present factors, in units of one sample.

        Returns
        -------
        Tensor of shape ()
            To be added to the mean negative log-likelihood of a batch: temperature times the divergence in nats, over
            `n_samples`. Differentiable in means and deviations, in float32 or wider.
        """
        return self.temperature / self._n * torch.stack([one.penalty() for one in self._layers.values()]).sum()

    def kl(self) -> Tensor:
        """Return the divergence of the weights from the prior with the best factors for the present weights, in nats.

        Returns
        -------
        Tensor of float64 of shape ()
            From the prior of the last update, which stays as it is. At most `penalty()` in nats, and equal to it right
            after an update. Differentiable: the gradient of a minimum over factors is that with the best ones fixed.
            With "meanfield" the factors are those after one more sweep, and the gradient is that with them fixed.
        """
        total: Any = 0.0
        for one in self._layers.values():
            second, log_sigma = one.moments()
            factors = one.prior.factors
            if factors.precisions is not None:
                factors = one.fitted(second, factors.off_rate)
            precisions = torch.from_numpy(factors.expected_precisions).to(second.device).reshape(second.shape)
            total = total + (0.5 * (precisions * second).sum() - log_sigma.sum() + factors.constant)
        found: Tensor = total
        return found

    def masks(self, threshold: float = 0.5) -> MaskSet:
        """Return which weights are on with a probability above a threshold, by the names of the weights.

        Before the first update that is all of them.
        """
        _PROBABILITY.check("threshold", threshold)
        return MaskSet({weight_name(name): one.mask(threshold) for name, one in self._layers.items()})

    def export(self) -> nn.Module:
        """Return a copy of the model with plain layers: means where weights are on, zeros elsewhere.

        Returns
        -------
        torch.nn.Module
            Its outputs are those of the Bayesian model without noise under these masks, bit by bit where both take
            dense products.
        """
        masks = self.masks()
        return plain_copy(self._model, {one.layer: masks[weight_name(name)] for name, one in self._layers.items()})

    def report(self) -> NetworkTurboVBIReport:
        """Return densities, lengths of runs and parts of the divergence, layer by layer."""
        masks = self.masks()
        layers = []
        for name, one in self._layers.items():
            prior = one.prior
            second, log_sigma = (part.detach().cpu().numpy() for part in one.moments())
            layers.append(
                LayerSupport.of(
                    name,
                    prior.structure,
                    one.on(),
                    masks[weight_name(name)],
                    kl=prior.kl(second, log_sigma),
                    support_kl=-prior.factors.belief.log_prior,
                    settled=prior.factors.belief.settled,
                )
            )
        return NetworkTurboVBIReport(tuple(layers), self.n_steps, self.off_rate_share)

    def certificate(self, tol: float = 1e-6) -> NetworkTurboVBICertificate:
        """Return evidence that supports and divergence follow from the present means and deviations.

        Parameters
        ----------
        tol : float
            Largest movement of probabilities, and of precisions relatively, that one more update may make.

        Returns
        -------
        NetworkTurboVBICertificate
            Not valid where the weights have moved since the last update, or are not finite; call :meth:`update` first.
            With "meanfield" updates have to be repeated until they come to rest.
        """
        layers = {}
        for name, one in self._layers.items():
            second, log_sigma = (part.detach().cpu().numpy() for part in one.moments())
            kl = one.prior.kl(second, log_sigma) if np.isfinite(second).all() else math.nan
            layers[name] = CertifiedLayer(one.grid, copy.copy(one.prior), kl, one.off())
        bound = NONNEGATIVE.check("tol", tol)
        made = NetworkTurboVBICertificate("", bound, None, Status.INVALID, layers=layers, tol=bound)
        return made.stated().check(self._model)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue, beside model and optimiser.

        :func:`sparsetheory.gpu.core.attach_state` puts it into the state of the optimiser.
        """
        return {
            "n_steps": self.n_steps,
            "rates": self._rates.total,
            "layers": {name: one.prior.state_dict() for name, one in self._layers.items()},
            "seen": {name: one.seen.alive.clone() for name, one in self._layers.items() if one.seen is not None},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Raises
        ------
        ValueError
            If it is that of other layers, or no such state.
        """
        missing = {"n_steps", "rates", "layers", "seen"} - set(state)
        if missing:
            raise ValueError(f"state must be one of network Turbo-VBI; it lacks {sorted(missing)}")
        if set(state["layers"]) != set(self._layers):
            raise ValueError(f"state must be that of {sorted(self._layers)}; got {sorted(state['layers'])}")
        loaded = {name: one.prior.factors_of(state["layers"][name]) for name, one in self._layers.items()}
        for name, one in self._layers.items():
            one.prior.factors = loaded[name]
            one.show()
            if one.seen is not None and name in state["seen"]:
                one.seen.alive.copy_(state["seen"][name])
        self.n_steps = int(state["n_steps"])
        self._rates.total = float(state["rates"])

    def remove(self) -> None:
        """Take the hooks off optimiser and layers."""
        super().remove()
        for one in self._layers.values():
            if one.seen is not None:
                one.seen.remove()

    def _warn_at_end(self) -> None:
        for name, one in self._layers.items():
            if not one.prior.factors.belief.settled:
                warnings.warn(
                    f"messages on the grid of layer {name!r} did not come to rest; those of 'grid_mean_field' do",
                    RuntimeWarning,
                    stacklevel=2,
                )
            if bool(one.on().all()):
                warnings.warn(
                    f"every weight of layer {name!r} is on at the end of the annealing: check on_rate, which is "
                    f"{one.prior.on_rate:.3g} there, and the learning rate of rho",
                    RuntimeWarning,
                    stacklevel=2,
                )
