"""Ten ways to make a small network on pictures of digits sparse, all fine-tuned alike and put on sparse rows."""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sparsetheory.gpu import bayesian, core, kernels, weights
from sparsetheory.proofs_checks.bayesian_networks.compression.setting import Setting
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

__all__ = ["ARMS", "Arm", "Compressed", "chosen", "compress", "dense"]

# Of the supports, in an epoch. With one, chains along the inputs of MNIST fill the whole first layer.
_UPDATES = 4
_PRIOR_STD = 0.3


@dataclass(frozen=True, eq=False)
class Compressed:
    """A sparse network, as it is used.

    Parameters
    ----------
    before, accuracy : float
        On test or validation pictures, before and after fine-tuning of what is left.
    density : float
        Share of all weights.
    structure : MaskStructure
        Of the first layer.
    n_units : int
        Hidden units that are left when dead ones are gone.
    n_bytes, dense_bytes : int
        On sparse rows without dead units, in the smaller of both forms of each layer; and of the dense network.
    masks : MaskSet
    deployed : torch.nn.Module
        The fine-tuned network on sparse rows.
    """

    before: float
    accuracy: float
    density: float
    structure: Any
    n_units: int
    n_bytes: int
    dense_bytes: int
    masks: Any
    deployed: Any


_Way = Callable[[Setting, float], tuple[Any, Mapping[str, Any]]]


@dataclass(frozen=True)
class Arm:
    """A way to make a network sparse.

    Parameters
    ----------
    way : callable
        Takes a setting and a value, and returns a network and its masks.
    values : tuple of float
        Of the number that is chosen, the usual one first; a single one if there is no choice.
    """

    way: _Way
    values: tuple[float, ...] = (0.0,)


def _start(
    setting: Setting, sigma: float, prior_std: float = _PRIOR_STD, densities: Mapping[str, float] | None = None
) -> tuple[Any, Any]:
    """Return a Bayesian network and Adam, whose deviations have a learning rate of their own.

    All weights are on the masks, or the shares of `densities`, by names of weights.
    """
    import torch

    first, masks, *_ = setting.streams()
    model = core.models.MLP(setting.widths, generator=first)
    made: dict[str, Any] = {
        "mu_std": "fan_in",
        "sigma_init": (sigma, 0.0),
        "prior_std": prior_std,
        "dense_first": False,
    }
    source = torch.Generator().manual_seed(masks)
    for name in core.find_layers(model):
        share = 1.0 if densities is None else densities[f"{name}.weight"]
        bayesian.bayesianise(model, share, layers=name, generator=source, **made)
    named = dict(model.named_parameters())
    deviations = [value for name, value in named.items() if name.endswith("rho")]
    others = [value for name, value in named.items() if not name.endswith("rho")]
    return model, torch.optim.Adam([{"params": others, "lr": 0.01}, {"params": deviations, "lr": 0.05}])


def _turbo(prior: str = "iid", factorisation: str = "collapsed", groups: bool = False) -> Arm:
    """Return training under a Turbo-VBI prior; groups of four outputs have one state, and a smaller density."""

    def way(setting: Setting, _: float) -> tuple[Any, Mapping[str, Any]]:
        model, optimizer = _start(setting, 0.05)
        grids = {
            str(2 * i): bayesian.WeightGrid(rows=(0,), columns=(2,), group=(1,), view=(out // 4, 4, n))
            for i, (n, out) in enumerate(zip(setting.widths[:-2], setting.widths[1:-1], strict=True))
        }
        free = setting.epochs - setting.warmup_epochs
        turbo = bayesian.NetworkTurboVBI(
            model,
            optimizer,
            n_samples=len(setting.data.x),
            warmup_steps=setting.warmup_epochs * setting.epoch,
            anneal_steps=free * setting.epoch // 2,
            update_every=max(1, setting.epoch // _UPDATES),
            prior=prior,
            factorisation=factorisation,
            activation=0.01 if groups else 0.05,
            grids=grids if groups else None,
        )
        setting.train(model, optimizer, setting.epochs, turbo.penalty)
        turbo.remove()
        masks = turbo.masks()
        return bayesian.export_plain(model, masks), masks

    return Arm(way)


def _swapped(setting: Setting, temperature: float) -> tuple[Any, Mapping[str, Any]]:
    """Train on masks of the reference size, layer by layer, whose weights are swapped."""
    n_steps = setting.epochs * setting.epoch
    model, optimizer = _start(setting, 0.01, densities=_reference(setting).masks.densities)
    scheduler = bayesian.SSVIScheduler(model, optimizer, period=2 * setting.epoch, t_end=3 * n_steps // 4)
    weight = bayesian.KLWeight(len(setting.data.x), temperature, n_steps)
    setting.train(model, optimizer, setting.epochs, lambda: weight(scheduler.step) * scheduler.kl())
    scheduler.remove()
    masks = {f"{name}.weight": layer.mask for name, layer in bayesian.variational_layers(model).items()}
    return bayesian.export_plain(model), masks


def _removed(criterion: str) -> Arm:
    """Return training with normal weights and a normal prior, after which the lowest scores go."""

    def way(setting: Setting, prior_std: float) -> tuple[Any, Mapping[str, Any]]:
        model = _dense_posterior(setting, prior_std)
        masks = bayesian.posterior_masks(model, _reference(setting).density, criterion)
        return bayesian.export_plain(model, masks), masks

    return Arm(way, (_PRIOR_STD, 0.1, 1.0))


@lru_cache(maxsize=256)
def _dense_posterior(setting: Setting, prior_std: float) -> Any:
    model, optimizer = _start(setting, 0.05, prior_std)
    weight = bayesian.KLWeight(len(setting.data.x))
    setting.train(model, optimizer, setting.epochs, lambda: weight(0) * bayesian.kl_divergence(model))
    return model


@lru_cache(maxsize=256)
def dense(setting: Setting) -> Any:
    """Return the dense network that is pruned; copy it before a change."""
    import torch

    with one_thread():
        model = core.models.MLP(setting.widths, generator=setting.streams()[0])
        setting.train(model, torch.optim.Adam(model.parameters(), lr=0.001), setting.epochs)
    return model


def _largest(setting: Setting, _: float) -> tuple[Any, Mapping[str, Any]]:
    """Keep the largest weights of a dense network."""
    model = copy.deepcopy(dense(setting))
    named = {name: value for name, value in model.named_parameters() if value.ndim == 2}
    masks = weights.one_shot_masks(named, 1 - _reference(setting).density)
    masks.apply(model)
    return model, masks


def _layerwise(setting: Setting, _: float) -> tuple[Any, Mapping[str, Any]]:
    """Prune a dense network layer by layer, each to the size that it has in the reference, by swaps with refits."""
    model, masks = copy.deepcopy(dense(setting)), {}
    for name, density in _reference(setting).masks.densities.items():
        layer = name.removesuffix(".weight")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", weights.FewRowsWarning)
            pattern = core.PerTensor(density=density)
            found = weights.prune_model_layerwise(model, [setting.data.x], pattern, "swap", layers=layer)
        masks[name] = found[layer].mask
    return model, masks


# The first one sets the size of those that are told how many weights to keep.
ARMS: dict[str, Arm] = {
    "Turbo-VBI, independent": _turbo(),
    "Turbo-VBI, chains along inputs": _turbo("chain_rows"),
    "Turbo-VBI, chains along outputs": _turbo("chain_columns"),
    "Turbo-VBI, published coupling": _turbo("chain_rows", "meanfield"),
    "Turbo-VBI, groups of four outputs": _turbo(groups=True),
    "swaps during training (SSVI)": Arm(_swapped, (0.1, 0.01, 1.0)),
    "normal prior, then |mean| / deviation": _removed("snr"),
    "normal prior, then evidence": _removed("savage_dickey"),
    "dense, then magnitude": Arm(_largest),
    "dense, then layer-wise swaps": Arm(_layerwise),
}


def _reference(setting: Setting) -> Compressed:
    return compress(next(iter(ARMS)), setting)


@lru_cache(maxsize=256)
def chosen(name: str, setting: Setting) -> float:
    """Return the value of an arm with the highest accuracy on validation pictures, after training on the others."""
    values = ARMS[name].values
    if len(values) == 1:
        return values[0]
    return max(values, key=lambda value: compress(name, setting.validation, value).accuracy)


@lru_cache(maxsize=256)
def compress(name: str, setting: Setting, value: float | None = None) -> Compressed:
    """Make a network sparse in the way of an arm, by default with its usual value, fine-tune and put it on sparse rows.

    Networks of one setting start from the same weights.
    """
    import torch

    with one_thread(), warnings.catch_warnings():
        # Few weights, few rows: arms that are made to fail say so.
        warnings.simplefilter("ignore", RuntimeWarning)
        arm = ARMS[name]
        model, found = arm.way(setting, arm.values[0] if value is None else value)
        masks, before = core.MaskSet(found), setting.accuracy(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
        with bayesian.freeze_pruned(optimizer, model, masks):
            setting.tune(model, optimizer)
        smaller = bayesian.remove_dead_neurons(model.eval())
        deployed, n_bytes = _deployed(smaller)
        accuracy = setting.accuracy(model)
    units = [len(core.weight_rows(layer)) for layer in core.find_layers(smaller).values()][:-1]
    structure = bayesian.mask_structure(masks)
    dense_bytes = sum(layer.dense_bytes for layer in structure) + 4 * sum(setting.widths[1:])
    return Compressed(before, accuracy, masks.density, structure[0], sum(units), n_bytes, dense_bytes, masks, deployed)


def _deployed(model: Any) -> tuple[Any, int]:
    """Put every layer on sparse rows, in the form that takes fewer bytes; return the network and its bytes."""
    n_bytes = 0
    for name in core.find_layers(model):
        forms = [kernels.deploy(model, name, block=block, break_even=1.0) for block in (1, 4)]
        best = min(forms, key=lambda form: form.layers[0].n_bytes)
        model, n_bytes = best.model, n_bytes + best.layers[0].n_bytes
    return model, n_bytes
