"""Claim and study about scores of weights in a network for digits: the best for one weight is the worst for many."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.proofs_checks.verdicts import WithProbability

_TRAIN, _BATCH, _CURVED, _SINGLE = 1200, 60, 200, 150
_HIDDEN = ("0.weight", "2.weight")
_SCORES = ("magnitude", "sparcl", "taylor", "price", "curvature")


@dataclass(frozen=True, eq=False)
class Network:
    """A perceptron after some epochs on digits, and the scores of the weights of its hidden layers."""

    seed: int
    epochs: int

    @cached_property
    def data(self) -> tuple[Any, Any]:
        """The digits that it has learned."""
        x, y = shuffled_digits(self.seed)
        return x[:_TRAIN], y[:_TRAIN]

    @cached_property
    def model(self) -> Any:
        """The trained network, with the gradients of the loss on all its data."""
        import torch

        model, (x, y) = core.models.MLP([64, 128, 128, 10], generator=self.seed), self.data
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        steps = self.epochs * (_TRAIN // _BATCH)
        with one_thread():
            core.train(model, x, y, optimizer=optimizer, n_steps=steps, batch_size=_BATCH, generator=self.seed)
            optimizer.zero_grad()
            core.class_loss(model(x), y).backward()
        return model

    @cached_property
    def scores(self) -> dict[str, dict[str, Any]]:
        """The scores of each kind, by name of the weight."""
        curved = dynamic.gauss_newton_diagonal(self.model, self.data[0][:_CURVED], _HIDDEN)
        h = [curved[name] for name in _HIDDEN]
        kinds = {
            "magnitude": dynamic.ContinualImportance(0.0),
            "sparcl": dynamic.ContinualImportance(0.5),
            "taylor": dynamic.ContinualImportance(importance="taylor"),
            "price": dynamic.ContinualImportance(importance="price", curvatures=h),
        }
        weights = [self.model.get_parameter(name) for name in _HIDDEN]
        pairs = [(weight.detach(), weight.grad) for weight in weights]
        found = {kind: {name: one.score(*pairs[i], i) for i, name in enumerate(_HIDDEN)} for kind, one in kinds.items()}
        found["curvature"] = {name: pairs[i][0].square() * h[i] / 2 for i, name in enumerate(_HIDDEN)}
        return found

    def loss(self, kind: str, share: float) -> float:
        """Return the loss on all data when a share of the weights of each hidden layer is dropped by a score."""
        masks = {name: core.PerTensor(density=1.0 - share).mask(score) for name, score in self.scores[kind].items()}
        x, y = self.data
        with one_thread():
            return float(core.class_loss(next(iter(core.run_masked(self.model, masks, [x]))), y))

    def correlation(self, kind: str) -> float:
        """Return the rank correlation of a score with what the removal of one weight costs, over random weights."""
        from scipy import stats

        return float(stats.spearmanr(self.scores[kind][_HIDDEN[1]].flatten()[self._single[0]], self._single[1])[0])

    @cached_property
    def _single(self) -> tuple[Any, Any]:
        import torch

        # In double precision after the first layer: a single weight changes the loss by about 1e-6.
        layers, (x, y) = list(self.model), self.data
        rest: Any = copy.deepcopy(torch.nn.Sequential(*layers[2:])).double()
        costs = []
        with torch.no_grad(), one_thread():
            inner, flat = layers[1](layers[0](x)).double(), rest[0].weight.view(-1)
            ids = torch.randperm(len(flat), generator=torch.Generator().manual_seed(self.seed))[:_SINGLE]
            for i in ids:
                kept = flat[i].clone()
                flat[i] = 0.0
                costs.append(float(core.class_loss(rest(inner), y)))
                flat[i] = kept
        return ids, np.array(costs)


@cache
def network(seed: int, epochs: int) -> Network:
    """Return a network, trained once."""
    return Network(seed, epochs)


@dataclass(frozen=True, eq=False)
class Dropped:
    """A network of three epochs, and the share of its hidden weights that is dropped at once."""

    network: Network
    share: float


def _draw(rng: np.random.Generator, share: float) -> Dropped:
    return Dropped(Network(int(rng.integers(2**31)), 3), share)


def _many(case: Dropped) -> Measurement:
    """Compare the loss after dropping by curvatures alone with that by SparCL's sum, and that with the signed price."""
    curvature, both, price = (case.network.loss(kind, case.share) for kind in ("curvature", "sparcl", "price"))
    return Measurement.chain(curvature, both, {"by signed price": price}, 1.0)


def _signed(case: Dropped) -> Measurement:
    """Expect the price that is exact for one weight to be best for many."""
    return Measurement(case.network.loss("price", case.share), case.network.loss("sparcl", case.share), 1.0)


importance_many_weights = Claim(
    name="dynamic_sparsity.importance_many_weights",
    summary="Dropped at once, the weights of the least w^2 h cost least, those of the least signed price by far most: "
    "the best score of one weight is the worst of many.",
    statement=r"L(\text{least } w^2 h) \le L(\text{least } |w| + |g|/2) \le L(\text{least } -w g + w^2 h/2)",
    source=Source.measured("digits, perceptron of 64, 128, 128 and 10 units after 3 epochs, hidden layers pruned"),
    verdict=WithProbability(0.9, margin=0.25),
    evaluate=_many,
    near_miss=_signed,
    sweep=Sweep(
        axis="share of weights dropped",
        values=(0.5, 0.75, 0.9),
        draw=_draw,
        trials=25,
        quick_trials=13,
        quick_values=(0.75,),
        log="y",
        measured_label="by curvature alone",
        bound_label="by magnitude and gradient",
        y_label="loss after dropping",
    ),
)

_SHARES = (0.001, 0.01, 0.1, 0.5, 0.75, 0.9)
_COLUMNS = ("epochs", "score", "correlation, one weight", *(f"loss, {100 * share:g} % dropped" for share in _SHARES))
_NOTES = (
    "The correlation is that of ranks, between the score and what the removal of one weight costs, for 150 weights of "
    "the second layer. There the signed price is nearly perfect and the others know little. But the weights of the "
    "smallest prices all push the same way: dropped together, already 1 % of them wreck the network. Without the term "
    "of first order (curvature) little is lost up to half of the weights. The gradient in SparCL's sum hardly changes "
    "what the magnitude says."
)


def _rows(seed: int, epochs: int) -> list[tuple[Any, ...]]:
    one = network(seed, epochs)
    return [
        (
            epochs,
            kind,
            round(one.correlation(kind), 2),
            *(round(one.loss(kind, share), 3) for share in _SHARES),
        )
        for kind in _SCORES
    ]


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        every = list(dict.fromkeys(row[0] for row in rows))
        for place, (ax, epochs) in enumerate(zip(figure.subplots(1, len(every), squeeze=False)[0], every, strict=True)):
            for row in rows:
                if row[0] == epochs:
                    ax.plot(_SHARES, row[3:], marker="o", label=row[1])
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlabel("share of the hidden weights dropped")
            ax.set_title(f"after {epochs} epoch{'s' if epochs > 1 else ''}")
            if place == 0:
                ax.set_ylabel("loss on the training data")
                ax.legend(fontsize=8)

    return draw


def _study(profile: str) -> StudyResult:
    rows = [row for epochs in ((3,) if profile == "quick" else (1, 3, 10)) for row in _rows(0, epochs)]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


importance_on_digits = Study(
    name="dynamic_sparsity.importance_on_digits",
    title="What a weight is worth: one at a time, and many at once",
    description="The hidden weights of a perceptron for digits are dropped by magnitude, by SparCL's sum of it "
    "and the gradient, by the first-order change, by the signed price of second order, and by its curvature alone.",
    run=_study,
)
