"""Networks for the digits 0 to 5, dense and as lottery tickets, that shall serve for the digits 6 to 9."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from sparsetheory.gpu import analysis, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits

__all__ = [
    "BATCH",
    "DENSITIES",
    "LR",
    "N_CLASSES",
    "N_STEPS",
    "ROUNDS",
    "SHOTS",
    "Found",
    "Source",
    "Target",
    "on_canvas",
    "share_of",
    "widths",
]

# Densities of the rounds of pruning; samples of each target class to learn from.
DENSITIES = (1.0, 0.3, 0.1, 0.03, 0.01)
SHOTS = (5, 100)
# Classes of the source task, the rest is the target; steps of each round of training.
N_CLASSES, N_STEPS = 6, 80
BATCH, LR, _WIDTH = 64, 2e-3, 256
_SIZE, _CANVAS, _TRAIN = 8, 12, 0.7
# Of the prompt: all samples at once, as there are few; rounds, each of which may change the label map.
ROUNDS = {"n_epochs": 120, "map_every": 9, "batch_size": None, "lr": 0.05, "milestones": ()}


def widths(share: float = 1.0) -> list[int]:
    """Return the widths of a source network whose hidden layers are a share as wide."""
    hidden = max(1, round(share * _WIDTH))
    return [_CANVAS**2, hidden, hidden, N_CLASSES]


def share_of(density: float) -> float:
    """Return the share of the width at which a network has that share of the weights: the root of a quadratic."""
    ends = _CANVAS**2 + N_CLASSES
    wanted = density * _WIDTH * (ends + _WIDTH)
    return float((ends**2 / 4 + wanted) ** 0.5 - ends / 2) / _WIDTH


def on_canvas(images: Any) -> Any:
    """Return images with a black border, as the source network sees them."""
    from torch.nn import functional

    border = (_CANVAS - _SIZE) // 2
    return functional.pad(images, (border,) * 4)


@cache
def _digits(seed: int) -> tuple[Any, Any]:
    x, y = shuffled_digits(seed)
    return x.reshape(-1, 1, _SIZE, _SIZE), y


@dataclass(frozen=True)
class Found:
    """What a classifier of the target is worth on all samples that no training may use.

    Parameters
    ----------
    logits, labels : Tensor
    """

    logits: Any
    labels: Any

    @property
    def accuracy(self) -> float:
        """Share of samples that are right."""
        return core.accuracy(self.logits, self.labels)

    @property
    def ece(self) -> float:
        """Expected calibration error, 15 bins of equal width."""
        return analysis.ece(self.logits.softmax(1), self.labels)

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood; in double precision, where no probability becomes 0."""
        return analysis.negative_log_likelihood(self.logits.double().softmax(1), self.labels)


@dataclass(frozen=True)
class Source:
    """A seed: of the split of the digits, of the initial weights and of the orders of batches."""

    seed: int

    def training(self) -> tuple[Any, Any, Any, Any]:
        """Return images on their canvas and classes to train on, then those to judge by."""
        x, y = _digits(self.seed)
        x, y = on_canvas(x[y < N_CLASSES]), y[y < N_CLASSES]
        count = round(_TRAIN * len(y))
        return x[:count], y[:count], x[count:], y[count:]

    def tickets(self, densities: tuple[float, ...] = DENSITIES) -> tuple[Any, ...]:
        """Return the tickets of falling densities, after training on the source task."""
        return _tickets(self.seed, densities)

    def accuracy(self, model: Any) -> float:
        """Return the accuracy of a network on the source task."""
        import torch

        x, y = self.training()[2:]
        with torch.no_grad():
            return core.accuracy(model(x), y)


@cache
def _tickets(seed: int, densities: tuple[float, ...]) -> tuple[Any, ...]:
    import torch

    x, y = Source(seed).training()[:2]

    def fit(model: Any) -> None:
        adam = torch.optim.Adam(model.parameters(), lr=LR)
        core.train(model, x, y, optimizer=adam, n_steps=N_STEPS, batch_size=BATCH, generator=seed)

    start = core.models.MLP(widths(), generator=seed)
    with one_thread():
        return tuple(analysis.lottery_tickets(start, fit, densities))


@dataclass(frozen=True, eq=False)
class Target:
    """The other digits as a task: a network for the source, and how many samples of each class there are."""

    seed: int
    model: Any
    shots: int

    @cached_property
    def data(self) -> tuple[Any, Any, Any, Any]:
        """Images and classes to learn from, then those to judge by: the same for all numbers of shots."""
        import torch

        x, y = _digits(self.seed)
        x, y = x[y >= N_CLASSES], y[y >= N_CLASSES] - N_CLASSES
        of_class = [(y == label).nonzero().flatten() for label in range(int(y.max()) + 1)]
        few, rest = (
            torch.cat([rows[part] for rows in of_class]) for part in (slice(self.shots), slice(SHOTS[-1], None))
        )
        return x[few], y[few], x[rest], y[rest]

    def features(self, images: Any) -> Any:
        """Return what the frozen network computes before its own head."""
        with core.capture(self.model, [str(len(self.model) - 1)]) as seen:
            next(iter(core.run_masked(self.model, {}, [on_canvas(images)])))
        return next(iter(seen.values()))[0]

    @cached_property
    def probe(self) -> Found:
        """A new linear head."""
        return self._head(standardise=False)

    @cached_property
    def scaled_probe(self) -> Found:
        """A new linear head that is trained on features of unit standard deviation, for as many steps."""
        return self._head(standardise=True)

    def _head(self, *, standardise: bool) -> Found:
        x, y, rest, labels = self.data
        with one_thread():
            head = analysis.linear_probe(self.features(x), y, standardise=standardise)
            return Found(head.logits(self.features(rest)), labels)

    @property
    def prompt(self) -> Found:
        """A trained border and an iterated label map."""
        return self._prompted[0]

    @property
    def prompt_loss(self) -> float:
        """Loss of the last step of the border as a share of that of the first."""
        losses = self._prompted[1].losses
        return float(losses[-1] / losses[0])

    @cached_property
    def _prompted(self) -> tuple[Found, Any]:
        return self.prompted()

    def prompted(self, **options: Any) -> tuple[Found, Any]:
        """Train a prompt with other options; return what it is worth, and what :func:`reprogram` returned."""
        x, y, rest, labels = self.data
        with one_thread():
            border = analysis.ExpansivePrompt(_SIZE, _CANVAS)
            found = analysis.reprogram(self.model, (x, y), border, **{**ROUNDS, **options})
            return Found(found.logits(self.model, rest), labels), found
