"""Claims that network Turbo-VBI on a linear model with orthogonal columns is Turbo-VBI."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian.turbo.estimator import TurboVBI
from sparsetheory.bayesian.turbo.sparse_prior import SparsePrior
from sparsetheory.gpu import bayesian, core
from sparsetheory.proofs_checks.bayesian_networks.turbo.instances import ours
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

__all__ = ["OrthogonalRegression"]


@dataclass(frozen=True)
class OrthogonalRegression:
    """Noisy data of sparse coefficients under orthogonal columns of different lengths.

    Parameters
    ----------
    structure, factorisation : str
        As in TurboVBI, "chain" or "iid".
    n_rows, n_columns : int
        Of the data.
    noise_std : float
        Known.
    ratio : float
        Rate of the off state over that of the on state.
    n_anneal_steps : int
        Steps of the annealing.
    seed : int
        Of the data.
    n_rounds : int
        Rounds after the annealing.
    """

    structure: str
    factorisation: str
    n_rows: int
    n_columns: int
    noise_std: float
    ratio: float
    n_anneal_steps: int
    seed: int
    n_rounds: int = 12

    @cached_property
    def data(self) -> tuple[Float64Array, Float64Array]:
        """Columns and response."""
        rng = np.random.default_rng(self.seed)
        basis, _ = np.linalg.qr(rng.standard_normal((self.n_rows, self.n_columns)))
        columns = basis * np.exp(0.3 * rng.standard_normal(self.n_columns)) * np.sqrt(self.n_rows)
        coef = np.zeros(self.n_columns)
        begin = rng.integers(self.n_columns)
        coef[begin : begin + 4] = rng.standard_normal(coef[begin : begin + 4].size)
        return columns, columns @ coef + self.noise_std * rng.standard_normal(self.n_rows)

    @cached_property
    def solved(self) -> Any:
        """Turbo-VBI, for a fixed number of rounds."""
        import warnings

        prior = SparsePrior(self.structure, activation=0.05, deactivation=0.2, on_rate=1.0, off_rate_ratio=self.ratio)
        model = TurboVBI(
            prior=prior,
            factorisation=self.factorisation,
            noise_variance=self.noise_std**2,
            n_anneal_steps=self.n_anneal_steps,
            max_iter=self.n_rounds,
            tol=0.0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(*self.data)

    def iterate(self, fed: Callable[[Float64Array, Float64Array], Float64Array]) -> tuple[Any, Any, Any, Any]:
        """Alternate exact weights, node by node, with updates of the prior of a network layer.

        Parameters
        ----------
        fed : callable
            From expected precisions and squared lengths of the columns to the precisions that the weights get.

        Returns
        -------
        tuple
            Means, variances, probabilities of being on, and the bound after each round.
        """
        F, y = self.data
        kappa, lengths = self.noise_std**-2, (F**2).sum(axis=0)
        structure = "chain_rows" if self.structure == "chain" else self.structure
        prior = bayesian.WeightPrior((1, self.n_columns), structure, on_rate=1.0, factorisation=self.factorisation)
        rates = self.ratio ** np.minimum(np.arange(self.n_anneal_steps + 1 + self.n_rounds) / self.n_anneal_steps, 1.0)
        bounds = []
        for rate in rates:
            precisions = fed(prior.expected_precisions[0], lengths)
            variance = 1.0 / (precisions + kappa * lengths)
            mean = kappa * variance * (F.T @ y)
            second = (mean**2 + variance)[None]
            prior.update(second, rate)
            misfit = ((y - F @ mean) ** 2).sum() + variance @ lengths
            likelihood = 0.5 * y.size * np.log(kappa / (2 * np.pi)) - 0.5 * kappa * misfit
            bounds.append(likelihood - prior.kl(second, 0.5 * np.log(variance)[None]))
        return mean, variance, prior.probability[0], np.array(bounds[self.n_anneal_steps + 1 :])


def _regressions() -> st.SearchStrategy[OrthogonalRegression]:
    return st.builds(
        OrthogonalRegression,
        st.sampled_from(["chain", "iid"]),
        st.sampled_from(["collapsed", "meanfield"]),
        st.integers(20, 40),
        st.integers(2, 20),
        st.floats(0.03, 2.0),
        st.sampled_from([1e-2, 1e-3, 1e-5]),
        st.integers(2, 12),
        st.integers(0, 2**31),
    )


def _distance(problem: OrthogonalRegression, found: tuple[Any, Any, Any, Any]) -> Measurement:
    mean, variance, probability, bounds = found
    model = problem.solved
    elbo = model.history_["elbo"]
    errors = [
        np.abs(mean - model.coef_).max() / np.abs(model.coef_).max(),
        np.abs(variance / model.coef_variance_ - 1).max(),
        np.abs(probability - model.support_proba_).max(),
        np.abs(bounds[: elbo.size] / elbo - 1).max(),
    ]
    return Measurement(float(max(errors)), 0.0, 1.0)


def _same(problem: OrthogonalRegression) -> Measurement:
    """Compare coefficients, variances, probabilities, and the bound of each round."""
    return _distance(problem, problem.iterate(lambda precisions, lengths: precisions))


def _mean_loss(problem: OrthogonalRegression) -> Measurement:
    """Divide the misfit by the number of rows, and not the divergence: a mean loss with a summed penalty."""
    return _distance(problem, problem.iterate(lambda precisions, lengths: problem.n_rows * precisions))


linear_twin = Claim(
    name="bayesian_networks.linear_twin",
    summary="On a linear model with orthogonal columns the updates of a network layer are those of Turbo-VBI.",
    statement=r"v_i = 1 / (\langle\rho_i\rangle + \kappa \|f_i\|^2), \mu_i = \kappa v_i f_i^T y: \quad "
    r"\mu, v, q(s), \mathrm{ELBO}_t \text{ are those of Turbo-VBI}",
    source=ours("a linear layer"),
    verdict=Always(1e-8),
    instances=_regressions,
    evaluate=_same,
    near_miss=_mean_loss,
)


@dataclass(frozen=True)
class _Trained:
    """A linear layer with normal weights, trained by Adam beside Turbo-VBI on the same data."""

    structure: str
    seed: int

    @cached_property
    def problem(self) -> OrthogonalRegression:
        """The data, and the solver."""
        return OrthogonalRegression(self.structure, "collapsed", 60, 20, 0.3, 1e-3, 60, self.seed, 300)

    def train(self, n_samples: int) -> tuple[Any, Any]:
        """Return means and probabilities after training with the divergence over a number of samples."""
        import torch

        F, y = (torch.tensor(part) for part in self.problem.data)
        start, noise = (int(number) for number in np.random.default_rng([self.seed, 1]).integers(2**31, size=2))
        model = bayesian.bayesianise(
            torch.nn.Linear(F.shape[1], 1, bias=False).double(),
            1.0,
            mu_std=0.1,
            sigma_init=(0.1, 0.0),
            generator=start,
        )
        assert isinstance(model, bayesian.BayesLinear)
        groups: list[dict[str, Any]] = [{"params": [model.weight]}, {"params": [model.rho], "lr": 0.05}]
        optimizer = torch.optim.Adam(groups, lr=0.02)
        turbo = bayesian.NetworkTurboVBI(
            model,
            optimizer,
            n_samples=n_samples,
            prior="chain_rows" if self.structure == "chain" else self.structure,
            on_rate=1.0,
            off_rate_ratio=self.problem.ratio,
            warmup_steps=0,
            anneal_steps=_STEPS // 2,
            update_every=10,
        )
        kappa = self.problem.noise_std**-2
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _late_cosine)
        with one_thread(), bayesian.sampling(model, "local", noise):
            core.train(
                model,
                F,
                y[:, None],
                optimizer=optimizer,
                n_steps=_STEPS,
                loss=lambda output, targets: 0.5 * kappa * (output - targets).square().mean() + turbo.penalty(),
                scheduler=scheduler,
            )
        return model.weight.detach().numpy()[0], turbo.priors[""].probability[0]


_STEPS = 900


def _late_cosine(step: int) -> float:
    """Keep the learning rate for half of the steps, and let it fall along a cosine then."""
    return float(0.5 + 0.5 * np.cos(np.pi * max(0.0, 2 * step / _STEPS - 1)))


def _trained_distance(run: _Trained, n_samples: int) -> Measurement:
    """Compare means, and probabilities of being on; those of coefficients in between are sensitive to the noise."""
    mean, probability = run.train(n_samples)
    solved = run.problem.solved
    errors = {
        "error of probabilities": float(np.abs(probability - solved.support_proba_).max()),
        "allowed error of probabilities": 0.1,
    }
    return Measurement(float(np.abs(mean - solved.coef_).max()), 0.02, 1.0).and_chain(errors)


adam_reaches_turbo = Claim(
    name="bayesian_networks.adam_reaches_turbo",
    summary="A linear layer trained by Adam with noisy gradients ends at the means and the states of Turbo-VBI.",
    statement=r"|\mu_{\text{Adam}} - \mu| \le 0.02, \quad |q_{\text{Adam}}(s_i) - q(s_i)| \le 0.1",
    source=Source.measured("60 rows, 20 orthogonal columns, noise 0.3, full batches, cosine at the end"),
    verdict=WithProbability(0.97, margin=0.76),
    evaluate=lambda run: _trained_distance(run, 60),
    near_miss=lambda run: _trained_distance(run, 1),
    sweep=Sweep(
        axis="law of the states, 0 independent and 1 a chain",
        values=(0.0, 1.0),
        draw=lambda rng, value: _Trained("chain" if value else "iid", int(rng.integers(2**31))),
        trials=8,
        quick_trials=3,
        quick_values=(1.0,),
        measured_label="largest error of a mean",
        bound_label="allowed",
    ),
)
