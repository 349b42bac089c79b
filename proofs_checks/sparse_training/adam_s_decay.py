"""Claims about the steps of AdamS: how far a decay moves what has no gradient, and what its state does not know."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_CAST = Source.ours("decay of AdamS (the method of Huang et al., 2509.25996) without gradient")
_LR, _EPS = 0.01, 1e-8
# The first steps are larger, as the running mean is divided by what it still lacks, which the decay never lacked.
_FIRST = 20


@dataclass(frozen=True)
class Decay:
    """Weights without gradient, far from zero, under decays of several strengths.

    Parameters
    ----------
    alphas : tuple of float
        Strengths.
    total : int
        Steps of the run.
    step : int
        The step that is looked at, counted from 0.
    """

    alphas: tuple[float, ...]
    total: int
    step: int

    def strong(self) -> "tuple[bool, ...]":
        """Return for each strength whether the decay is well above what AdamS adds to the root."""
        part = min(1.0, self.step / self.total)
        return tuple(part * alpha >= 100 * _EPS for alpha in self.alphas)

    def moved(self) -> Float64Array:
        """Return how much nearer to zero the weights off the mask come in the step, in learning rates.

        A row for each strength, with one weight above zero and one below.
        """
        import torch

        from sparsetheory.gpu import weights

        start = torch.tensor([[1.0, 3.0], [-1.0, -3.0]], dtype=torch.float64) * 1e3
        parameters = [torch.nn.Parameter(start.clone()) for _ in self.alphas]
        groups = [
            {"params": [parameter], "sparse": True, "alpha": alpha}
            for parameter, alpha in zip(parameters, self.alphas, strict=True)
        ]
        optimizer = weights.AdamS(groups, _LR, total_steps=self.total, alpha=0.0, pattern="1:2", eps=_EPS)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        for _ in range(self.step):
            optimizer.step()
        before = [array(parameter).copy() for parameter in parameters]
        optimizer.step()
        pairs = zip(before, parameters, strict=True)
        return np.array([(np.abs(old) - np.abs(array(new)))[:, 0] / _LR for old, new in pairs])


def _decays() -> st.SearchStrategy[Decay]:
    alphas = st.tuples(*2 * [st.floats(-9.0, 1.0).map(lambda power: 10.0**power)])
    return st.builds(Decay, alphas, st.integers(20, 200), st.integers(_FIRST, 80))


def _drawn(rng: np.random.Generator, step: float) -> Decay:
    # Strong enough at this step, up to ten.
    total = int(step) * 2
    least = np.log10(200 * _EPS) + 0.01
    return Decay(tuple(10.0 ** rng.uniform(least, 1.0, size=2)), total, int(step))


def _between(moved: Float64Array) -> Measurement:
    """Require one to 1.95 learning rates, and 2 % of difference at most."""
    if not len(moved):
        return Measurement(0.0, 1.95)
    least, most = float(moved.min()), float(moved.max())
    found = Measurement(most, 1.95).and_chain({"one learning rate": 1.0, "weakest decay": least})
    return found.and_chain({"strongest decay": most, "1.02 times the weakest": 1.02 * least})


def _displacement(decay: Decay) -> Measurement:
    """Look at the decays that are strong enough.

    Without gradient the direction of step t is ``d_t = alpha t / T`` (for t up to T). The step is its own size over the
    root of a running mean of squares of what came before, ``d_t / (1 - b1^(t+1)) / sqrt(v_t)``. Alpha and T cancel.
    Directions grow, so the root is below d_t: more than one learning rate. While the mean of squares weighs all steps
    alike, t below 1 / (1 - b2), it is ``d_t^2 / 3``: about 1.73 learning rates, 1.94 at step 20 where the first factor
    is 1.12. Later the mean forgets and follows d_t: towards one.
    """
    return _between(decay.moved()[list(decay.strong())])


def _any_strength(decay: Decay) -> Measurement:
    """Forget what is added to the root: a decay as small as that hardly moves anything."""
    return _between(decay.moved())


adam_s_displacement = Claim(
    name="sparse_training.adam_s_displacement",
    summary="AdamS moves weights without gradient off the mask to zero by 1 to 1.95 learning rates, whatever alpha is.",
    statement=r"1 \le \frac{|w_t| - |w_{t+1}|}{\mathrm{lr}} \le 1.95 \text{ for } t \ge 20,\ \tfrac{t}{T} \alpha"
    r" \ge 100 \varepsilon, \text{ the same for all } \alpha \text{ within 2 \%}",
    source=_CAST,
    verdict=Always(1e-9),
    instances=_decays,
    evaluate=_displacement,
    near_miss=_any_strength,
    sweep=Sweep(
        axis="step t",
        values=(20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0),
        quick_values=(20.0, 50.0, 100.0, 200.0, 500.0),
        draw=_drawn,
        trials=5,
        quick_trials=2,
        log="x",
        measured_label="displacement",
        bound_label="1.95 learning rates",
        y_label="displacement in learning rates",
    ),
)


@dataclass(frozen=True, eq=False)
class Pair:
    """One weight with the same gradients under two strengths of decay.

    Parameters
    ----------
    weight : ndarray of shape (rows, 4)
    gradients : ndarray of shape (steps, rows, 4)
    alphas : tuple of float
    n : int
        Entries kept of every four.
    """

    weight: Float64Array
    gradients: Float64Array
    alphas: tuple[float, float]
    n: int

    def run(self, alpha: float) -> tuple[Float64Array, list[Float64Array], dict[str, Any]]:
        """Return the weight after the first step, the running means after each step, and the last state."""
        import torch

        from sparsetheory.gpu import core, weights

        parameter = torch.nn.Parameter(tensor(self.weight))
        group = {"params": [parameter], "sparse": True}
        total = len(self.gradients)
        optimizer = weights.AdamS(
            [group], _LR, total_steps=total, alpha=alpha, pattern=core.NM(self.n, 4), mask_every=2
        )
        first, means = self.weight, []
        for step, gradient in enumerate(self.gradients):
            parameter.grad = tensor(gradient)
            optimizer.step()
            first = array(parameter).copy() if step == 0 else first
            means.append(array(optimizer.state[parameter]["exp_avg"]).copy())
        return first, means, {"weight": array(parameter), **optimizer.state[parameter]}


@st.composite
def _pairs(draw: Any) -> Pair:
    rows, steps, n = draw(st.integers(1, 3)), draw(st.integers(2, 6)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    zeros = draw(st.floats(0.0, 1.0))
    gradients = np.where(rng.random((steps, rows, 4)) < zeros, 0.0, rng.normal(size=(steps, rows, 4)))
    strengths = st.sampled_from((0.0, 1e-6, 1e-3, 1.0, 1e3))
    return Pair(rng.normal(size=(rows, 4)), gradients, (draw(strengths), draw(strengths)), n)


def _apart(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


def _mean_knows_gradients_only(pair: Pair) -> Measurement:
    """Compare running means after all steps, and weights after the first one, whose decay is ``0 / T``, bit by bit."""
    (first, means, _), (again, others, _) = map(pair.run, pair.alphas)
    return Measurement(max(_apart(first, again), *map(_apart, means, others)), 0.0, scale=1.0)


def _squares_do_not_either(pair: Pair) -> Measurement:
    """Expect the running means of squares to be those of gradients, too."""
    squares = [array(pair.run(alpha)[2]["exp_avg_sq"]) for alpha in pair.alphas]
    return Measurement(_apart(*squares), 0.0, scale=1.0)


adam_s_mean = Claim(
    name="sparse_training.adam_s_mean",
    summary="The running mean of AdamS holds gradients only, and its first step has no decay.",
    statement=r"\mu_t(\alpha) = \mu_t(\alpha') \text{ for equal gradients}, \qquad w_1(\alpha) = w_1(\alpha')",
    source=Source("Huang, Hu, Zhu, Chen, CAST (2025)", "AdamS: the decay is not written into the mean", "2509.25996"),
    verdict=Always(0.0),
    instances=_pairs,
    evaluate=_mean_knows_gradients_only,
    near_miss=_squares_do_not_either,
)


def _adam(pair: Pair, *, of_means: bool) -> Float64Array:
    """Return where Adam ends, with squares of its means, or of gradients as usual; written out."""
    mean, square, weight = 0.0 * pair.weight, 0.0 * pair.weight, pair.weight
    for step, gradient in enumerate(pair.gradients, start=1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * (mean if of_means else gradient) ** 2
        root = np.sqrt(square / (1 - 0.999**step))
        weight = weight - _LR * mean / (1 - 0.9**step) / (root + _EPS)
    return weight


def _against_adam(pair: Pair, *, of_means: bool) -> Measurement:
    whole = Pair(pair.weight, pair.gradients, pair.alphas, 4)
    return Measurement(_apart(whole.run(pair.alphas[0])[2]["weight"], _adam(whole, of_means=of_means)), 0.0, scale=1.0)


def _is_adam_of_means(pair: Pair) -> Measurement:
    """Keep everything, and compare with Adam whose squares are those of the running mean."""
    return _against_adam(pair, of_means=True)


def _is_adam(pair: Pair) -> Measurement:
    """Compare with Adam itself, whose squares are those of the gradients."""
    return _against_adam(pair, of_means=False)


adam_s_dense = Claim(
    name="sparse_training.adam_s_dense",
    summary="With nothing off the mask AdamS is Adam that averages the squares of its running mean.",
    statement=r"m = 1 \;\Rightarrow\; w_{t+1} = w_t - \mathrm{lr}\, \hat\mu_t / (\sqrt{\hat v_t} + \varepsilon),"
    r" \quad v_t = \beta_2 v_{t-1} + (1 - \beta_2) \mu_t^2",
    source=Source("Huang, Hu, Zhu, Chen, CAST (2025)", "AdamS outside its scope", "2509.25996"),
    verdict=Always(1e-12),
    instances=_pairs,
    evaluate=_is_adam_of_means,
    near_miss=_is_adam,
)
