"""Claims about one budget over two blocks of columns, the layers of a linear model, whose scales differ; synthetic."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import BoolArray, Float64Array

_BLOCK, _ROWS, _BUDGET = 60, 60, 12
# True weights of the first and of the second layer.
_TRUE = (8, 2)
_PRIOR = 2.0
_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class TwoBlocks:
    """A linear model with two layers side by side: the columns of the second one are `ratio` times as long."""

    design: Float64Array
    y: Float64Array
    kappa: float
    truth: BoolArray
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, ratio: float) -> "TwoBlocks":
        """Draw weights whose effects on the data are of one size in both layers, and noise of a tenth of them."""
        scales = np.repeat([1.0, ratio], _BLOCK)
        design = rng.normal(size=(_ROWS, 2 * _BLOCK)) / np.sqrt(_ROWS) * scales
        truth = np.zeros(2 * _BLOCK, dtype=bool)
        for block, count in enumerate(_TRUE):
            truth[block * _BLOCK + rng.permutation(_BLOCK)[:count]] = True
        weights = np.where(truth, rng.choice([-1, 1], truth.size) * rng.uniform(0.5, 1.5, truth.size) / scales, 0.0)
        clean = design @ weights
        std = 0.1 * float(np.linalg.norm(clean)) / np.sqrt(_ROWS)
        y = clean + std * rng.normal(size=_ROWS)
        return cls(design, y, std**-2, truth, int(rng.integers(2**31)))

    def at_one_scale(self) -> "TwoBlocks":
        """Return the model with the columns of the second layer divided by the ratio of the lengths."""
        lengths = np.linalg.norm(self.design, axis=0)
        means = [float(np.mean(part)) for part in np.split(lengths, 2)]
        scales = np.repeat([1.0, means[1] / means[0]], _BLOCK)
        return TwoBlocks(self.design / scales, self.y, self.kappa, self.truth, self.seed)

    def recall(self, rule: str) -> float:
        """Return which share of the true weights a search finds, from a random mask with equal parts of both layers."""
        from sparsetheory.bayesian import subspace_posterior

        rng = np.random.default_rng(self.seed)
        mask = np.concatenate([rng.permutation(_BLOCK) < _BUDGET // 2 for _ in _TRUE])
        for _ in range(_ROUNDS):
            active = np.flatnonzero(mask)
            found = subspace_posterior(self.design, self.y, self.kappa, _PRIOR, active)
            if rule == "magnitudes":
                move = self._by_magnitude(mask, found.mean)
            else:
                move = self._by_nats(active, found.mean, found.variance, one_layer=rule == "per layer")
            if move is None:
                break
            mask[list(move)] = False, True
        return float((mask & self.truth).sum() / self.truth.sum())

    def _by_magnitude(self, mask: BoolArray, mean: Float64Array) -> tuple[int, int] | None:
        """Exchange the smallest mean for the largest gradient, also if they are the same weight."""
        leaving = int(np.flatnonzero(mask)[np.argmin(np.abs(mean))])
        slopes = np.abs(self.design.T @ (self.y - self.design[:, mask] @ mean))
        slopes[mask] = -1
        return leaving, int(np.argmax(slopes))

    def _by_nats(
        self, active: np.ndarray, mean: Float64Array, variance: Float64Array, one_layer: bool
    ) -> tuple[int, int] | None:
        """Exchange the pair that gains most, of all pairs or of those within a layer; none if none gains."""
        from sparsetheory.bayesian import swap_gains

        gains = swap_gains(self.design, self.y, self.kappa, _PRIOR, active, mean, variance)
        values = gains.gain.copy()
        if one_layer:
            values[(active < _BLOCK)[:, None] != (gains.candidates < _BLOCK)[None, :]] = -np.inf
        row, column = np.unravel_index(int(np.argmax(values)), values.shape)
        if values[row, column] <= 1e-9:
            return None
        return int(active[row]), int(gains.candidates[column])


def _per_layer(model: TwoBlocks) -> Measurement:
    return Measurement(model.recall("per layer") + 0.1, model.recall("nats"))


global_budget = Claim(
    name="bayesian_networks.global_budget",
    summary="One budget in nats finds layers with more true weights; equal budgets have no room for them. Synthetic.",
    statement=r"\Pr[\mathrm{recall}(\text{one budget, nats}) \ge \mathrm{recall}(\text{equal budgets, nats}) + 0.1] "
    r"\ge 0.9",
    source=Source.measured("exchanges of the largest exact gain across layers and within layers"),
    verdict=WithProbability(0.9),
    sweep=Sweep(
        axis="length of the columns of layer 2, in those of layer 1",
        values=(1.0, 3.0, 10.0, 30.0),
        draw=TwoBlocks.draw,
        trials=120,
        quick_trials=60,
        quick_values=(1.0, 10.0),
        log="x",
        measured_label="equal budgets, and 0.1",
        bound_label="one budget in nats",
        y_label="share of the true weights found",
    ),
    evaluate=_per_layer,
    near_miss=Reversed(),
)


def _magnitudes(model: TwoBlocks) -> Measurement:
    return Measurement(model.recall("magnitudes") + 0.3, model.recall("nats"))


global_magnitudes = Claim(
    name="bayesian_networks.global_magnitudes",
    summary="One budget spent by magnitudes goes to the wrong layer where scales of layers differ. Synthetic.",
    statement=r"\Pr[\mathrm{recall}(\text{one budget, nats}) \ge \mathrm{recall}(\text{one budget, magnitudes}) + 0.3] "
    r"\ge 0.9",
    source=Source.measured("exchanges by gains, and by magnitudes, across layers"),
    verdict=WithProbability(0.9),
    sweep=Sweep(
        axis="length of the columns of layer 2, in those of layer 1",
        values=(3.0, 10.0, 30.0),
        draw=TwoBlocks.draw,
        trials=120,
        quick_trials=60,
        quick_values=(3.0, 30.0),
        log="x",
        measured_label="one budget by magnitudes, and 0.3",
        bound_label="one budget in nats",
        y_label="share of the true weights found",
    ),
    evaluate=_magnitudes,
    # Where all columns have one scale, magnitudes do as well.
    near_miss=lambda model: _magnitudes(model.at_one_scale()),
)
