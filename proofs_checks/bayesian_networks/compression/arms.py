"""Small networks on pictures of digits, made sparse in ten ways, all fine-tuned alike and put on sparse rows."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sparsetheory.gpu import bayesian, core, kernels, weights
from sparsetheory.proofs_checks.bayesian_networks.turbo.digits import Pixels, pixels
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

__all__ = ["ARMS", "Compressed", "Dense", "Setting", "compress"]

_BATCH, _TUNED_EPOCHS = 128, 5
# Widths are multiples of four, so that blocks of four outputs fill all layers but the last.
_HIDDEN = {"digits": (100, 52), "MNIST": (52,)}
# Of the supports, in an epoch. With one, chains along the inputs of MNIST fill the whole first layer.
_UPDATES = 4
# Of the methods with a normal prior; the best of 0.1, 0.3 and 1 on digits, for removal after training.
_PRIOR_STD = 0.3


@dataclass(frozen=True)
class Setting:
    """Pictures, a seed and a length of training.

    Parameters
    ----------
    pictures : {"digits", "MNIST"}
    seed : int
        Of the split, of initial values, of noise and of batches, each with a stream of its own.
    epochs, warmup_epochs : int
        Half of what is left after the warm-up is annealing.
    """

    pictures: str
    seed: int
    epochs: int
    warmup_epochs: int

    @property
    def data(self) -> Pixels:
        """Training and test data."""
        return pixels(self.pictures, self.seed, False)

    @property
    def widths(self) -> list[int]:
        """Units of all layers."""
        return [self.data.x.shape[1], *_HIDDEN[self.pictures], 10]

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.data.x) // _BATCH)

    def dense(self) -> "Dense":
        """Return the dense network that is pruned."""
        model = _dense(self)
        return Dense(self.accuracy(model), model)

    def streams(self) -> list[int]:
        """Return seeds for initial values, masks, noise, batches and fine-tuning."""
        return [int(number) for number in np.random.default_rng([self.seed, 3]).integers(2**31, size=5)]

    def train(self, model: Any, optimizer: Any, epochs: int, penalty: Callable[[], Any] | None = None) -> None:
        """Train with the mean cross-entropy and a penalty."""
        _, _, noise, order, _ = self.streams()

        def loss(output: Any, labels: Any) -> Any:
            plain = core.class_loss(output, labels)
            return plain if penalty is None else plain + penalty()

        data, steps = self.data, epochs * self.epoch
        with bayesian.sampling(model, "local", noise):
            options: dict[str, Any] = {"n_steps": steps, "batch_size": _BATCH, "generator": order}
            core.train(model, data.x, data.y, optimizer=optimizer, loss=loss, **options)

    def tune(self, model: Any, optimizer: Any) -> None:
        """Train on for a few epochs, without any penalty."""
        x, y, steps, order = self.data.x, self.data.y, _TUNED_EPOCHS * self.epoch, self.streams()[-1]
        core.train(model, x, y, optimizer=optimizer, n_steps=steps, batch_size=_BATCH, generator=order)

    def accuracy(self, model: Any) -> float:
        """Return the accuracy on test pictures."""
        import torch

        with torch.inference_mode():
            return core.accuracy(model.eval()(self.data.x_test), self.data.y_test)


@dataclass(frozen=True, eq=False)
class Dense:
    """A dense network and its accuracy on test pictures."""

    accuracy: float
    model: Any

    def microseconds(self, x: Any) -> float:
        """Return the median time of a run for some inputs."""
        return _microseconds(self.model, x)


@dataclass(frozen=True, eq=False)
class Compressed:
    """A sparse network, as it is used.

    Parameters
    ----------
    before, accuracy : float
        On test pictures, before and after fine-tuning of what is left.
    density : float
        Share of all weights.
    structure : MaskStructure
        Of the first layer.
    n_units : int
        Hidden units that are left when dead ones are gone.
    n_bytes, dense_bytes : int
        On sparse rows without dead units, in the smaller of both forms of each layer; and of the dense network.
    masks : MaskSet
    model : torch.nn.Module
        The fine-tuned network.
    deployed : torch.nn.Module
        The same on sparse rows.
    """

    before: float
    accuracy: float
    density: float
    structure: Any
    n_units: int
    n_bytes: int
    dense_bytes: int
    masks: Any
    model: Any
    deployed: Any

    def microseconds(self, x: Any) -> float:
        """Return the median time of a run on sparse rows for some inputs."""
        return _microseconds(self.deployed, x)


_Way = Callable[[Setting], tuple[Any, Mapping[str, Any]]]


def _start(setting: Setting, sigma: float, densities: Mapping[str, float] | None = None) -> tuple[Any, Any]:
    """Return a Bayesian network and Adam, whose deviations have a learning rate of their own.

    All weights are on the masks, or the shares of `densities`, by names of weights.
    """
    import torch

    first, masks, *_ = setting.streams()
    model = core.models.MLP(setting.widths, generator=first)
    made: dict[str, Any] = {
        "mu_std": "fan_in",
        "sigma_init": (sigma, 0.0),
        "prior_std": _PRIOR_STD,
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


def _turbo(prior: str = "iid", factorisation: str = "collapsed", groups: bool = False) -> _Way:
    """Return training under a Turbo-VBI prior; groups of four outputs have one state, and a smaller density."""

    def way(setting: Setting) -> tuple[Any, Mapping[str, Any]]:
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

    return way


def _swapped(setting: Setting) -> tuple[Any, Mapping[str, Any]]:
    """Train on masks of the reference size, layer by layer, whose weights are swapped."""
    n_steps = setting.epochs * setting.epoch
    model, optimizer = _start(setting, 0.01, _reference(setting).masks.densities)
    scheduler = bayesian.SSVIScheduler(model, optimizer, period=2 * setting.epoch, t_end=3 * n_steps // 4)
    weight = bayesian.KLWeight(len(setting.data.x), 0.1, n_steps)
    setting.train(model, optimizer, setting.epochs, lambda: weight(scheduler.step) * scheduler.kl())
    scheduler.remove()
    masks = {f"{name}.weight": layer.mask for name, layer in bayesian.variational_layers(model).items()}
    return bayesian.export_plain(model), masks


def _removed(criterion: str) -> _Way:
    """Return training with normal weights and a normal prior, after which the lowest scores go."""

    def way(setting: Setting) -> tuple[Any, Mapping[str, Any]]:
        model = _dense_posterior(setting)
        masks = bayesian.posterior_masks(model, _reference(setting).density, criterion)
        return bayesian.export_plain(model, masks), masks

    return way


@lru_cache(maxsize=4)
def _dense_posterior(setting: Setting) -> Any:
    model, optimizer = _start(setting, 0.05)
    weight = bayesian.KLWeight(len(setting.data.x))
    setting.train(model, optimizer, setting.epochs, lambda: weight(0) * bayesian.kl_divergence(model))
    return model


@lru_cache(maxsize=4)
def _dense(setting: Setting) -> Any:
    import torch

    model = core.models.MLP(setting.widths, generator=setting.streams()[0])
    setting.train(model, torch.optim.Adam(model.parameters(), lr=0.001), setting.epochs)
    return model


def _copied(setting: Setting) -> Any:
    import copy

    return copy.deepcopy(_dense(setting))


def _largest(setting: Setting) -> tuple[Any, Mapping[str, Any]]:
    """Keep the largest weights of a dense network."""
    model = _copied(setting)
    named = {name: value for name, value in model.named_parameters() if value.ndim == 2}
    masks = weights.one_shot_masks(named, 1 - _reference(setting).density)
    masks.apply(model)
    return model, masks


def _layerwise(setting: Setting) -> tuple[Any, Mapping[str, Any]]:
    """Prune a dense network layer by layer, each to the size that it has in the reference, by swaps with refits."""
    model, masks = _copied(setting), {}
    for name, density in _reference(setting).masks.densities.items():
        layer = name.removesuffix(".weight")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", weights.FewRowsWarning)
            pattern = core.PerTensor(density=density)
            found = weights.prune_model_layerwise(model, [setting.data.x], pattern, "swap", layers=layer)
        masks[name] = found[layer].mask
    return model, masks


# The first one sets the size of those that are told how many weights to keep.
ARMS: dict[str, _Way] = {
    "Turbo-VBI, independent": _turbo(),
    "Turbo-VBI, chains along inputs": _turbo("chain_rows"),
    "Turbo-VBI, chains along outputs": _turbo("chain_columns"),
    "Turbo-VBI, published coupling": _turbo("chain_rows", "meanfield"),
    "Turbo-VBI, groups of four outputs": _turbo(groups=True),
    "swaps during training (SSVI)": _swapped,
    "normal prior, then |mean| / deviation": _removed("snr"),
    "normal prior, then evidence": _removed("savage_dickey"),
    "dense, then magnitude": _largest,
    "dense, then layer-wise swaps": _layerwise,
}


def _reference(setting: Setting) -> Compressed:
    return compress(next(iter(ARMS)), setting)


@lru_cache(maxsize=256)
def compress(name: str, setting: Setting) -> Compressed:
    """Make a network sparse in the way of an arm, fine-tune what is left, and put it on sparse rows."""
    import torch

    with one_thread(), warnings.catch_warnings():
        # Few weights, few rows: arms that are made to fail say so.
        warnings.simplefilter("ignore", RuntimeWarning)
        model, found = ARMS[name](setting)
        masks, before = core.MaskSet(found), setting.accuracy(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
        with bayesian.freeze_pruned(optimizer, model, masks):
            setting.tune(model, optimizer)
        smaller = bayesian.remove_dead_neurons(model.eval())
        deployed, n_bytes = _deployed(smaller)
        accuracy = setting.accuracy(model)
    units = [len(core.weight_rows(layer)) for layer in core.find_layers(smaller).values()][:-1]
    structure = bayesian.mask_structure(masks)
    dense = sum(layer.dense_bytes for layer in structure) + 4 * sum(setting.widths[1:])
    return Compressed(before, accuracy, masks.density, structure[0], sum(units), n_bytes, dense, masks, model, deployed)


def _deployed(model: Any) -> tuple[Any, int]:
    """Put every layer on sparse rows, in the form that takes fewer bytes; return the network and its bytes."""
    n_bytes = 0
    for name in core.find_layers(model):
        forms = [kernels.deploy(model, name, block=block, break_even=1.0) for block in (1, 4)]
        best = min(forms, key=lambda form: form.layers[0].n_bytes)
        model, n_bytes = best.model, n_bytes + best.layers[0].n_bytes
    return model, n_bytes


def _microseconds(model: Any, x: Any) -> float:
    import torch

    times = []
    with one_thread(), torch.inference_mode():
        for _ in range(60):
            start = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times[10:]))
