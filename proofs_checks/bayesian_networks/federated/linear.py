"""Claims about decentralised Turbo-VBI of a linear model: rounds of bounds that add up."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian.turbo.estimator import TurboVBI
from sparsetheory.bayesian.turbo.gaussian_diagonal import diagonal_posterior
from sparsetheory.bayesian.turbo.sparse_prior import SparsePrior
from sparsetheory.gpu import bayesian
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

__all__ = ["SplitRegression", "ours", "split_regressions"]

_KAPPA = 4.0
# Extra rounds of both solvers after the annealing.
_ROUNDS = 6


def ours(item: str) -> Source:
    """Cite a derivation of this package for the setting of Xia, Tsang and Lau (2024)."""
    return Source.ours(f"{item} (clients and prior of Xia, Tsang and Lau, arXiv:2404.07532)")


@dataclass(frozen=True)
class SplitRegression:
    """Rows of a linear model with sparse coefficients that several clients hold.

    Parameters
    ----------
    sizes : tuple of int
        Rows of each client.
    n_columns : int
        Number of coefficients.
    orthogonal : bool
        Whether the columns are orthogonal at each client; each then has at least as many rows as there are columns.
    structure : str
        "iid" or "chain_rows".
    ratio : float
        Rate of the off state over that of the on state at the end.
    anneal_rounds : int
        Rounds of the annealing.
    seed : int
        Of the data.
    """

    sizes: tuple[int, ...]
    n_columns: int
    orthogonal: bool
    structure: str
    ratio: float
    anneal_rounds: int
    seed: int

    @cached_property
    def data(self) -> list[tuple[Float64Array, Float64Array]]:
        """Columns and response of each client; no two have the same law of columns."""
        rng = np.random.default_rng(self.seed)
        coef = np.zeros(self.n_columns)
        begin = rng.integers(self.n_columns)
        coef[begin : begin + 3] = 2.0 * rng.standard_normal(coef[begin : begin + 3].size)
        found = []
        for size in self.sizes:
            F = rng.standard_normal((size + (self.n_columns if self.orthogonal else 0), self.n_columns))
            if self.orthogonal:
                F = np.linalg.qr(F)[0] * np.sqrt(len(F)) * np.exp(0.5 * rng.standard_normal(self.n_columns))
            else:
                F = F * np.exp(rng.standard_normal(self.n_columns)) + rng.standard_normal()
            found.append((F, F @ coef + rng.standard_normal(len(F)) / np.sqrt(_KAPPA)))
        return found

    @property
    def pooled(self) -> tuple[Float64Array, Float64Array]:
        """Rows of all clients."""
        return np.concatenate([F for F, _ in self.data]), np.concatenate([y for _, y in self.data])

    @cached_property
    def clients(self) -> list[Any]:
        """The clients."""
        return [bayesian.LinearClient(F, y, noise_precision=_KAPPA) for F, y in self.data]

    @cached_property
    def precisions(self) -> Float64Array:
        """Known precisions of the coefficients, over four decades."""
        return 10 ** np.random.default_rng([self.seed, 1]).uniform(-2, 2, self.n_columns)

    def server(self) -> Any:
        """Return a server at its start."""
        prior = bayesian.WeightPrior((1, self.n_columns), self.structure)
        return bayesian.FederatedLinearTurboVBI(prior, anneal_rounds=self.anneal_rounds, off_rate_ratio=self.ratio)


def split_regressions(orthogonal: bool, least_clients: int = 2) -> st.SearchStrategy[SplitRegression]:
    """Search small regressions of up to five clients with unequal numbers of rows."""
    return st.builds(
        SplitRegression,
        st.lists(st.integers(1, 12), min_size=least_clients, max_size=5).map(tuple),
        st.integers(2, 8),
        st.just(orthogonal),
        st.sampled_from(["iid", "chain_rows"]),
        st.sampled_from([1e-1, 1e-3, 1e-5]),
        st.integers(1, 8),
        st.integers(0, 2**31),
    )


def _central(split: SplitRegression) -> Float64Array:
    """Return the mean of the posterior on all rows for known precisions, by elimination."""
    F, y = split.pooled
    return np.asarray(np.linalg.solve(np.diag(split.precisions) + _KAPPA * F.T @ F, _KAPPA * F.T @ y))


def _moved(split: SplitRegression, mean: Float64Array) -> tuple[Any, Float64Array]:
    """Return the sum of the sites at a mean, and the mean after the round."""
    site = reduce(bayesian.LinearSite.merge, [client.message(mean) for client in split.clients])
    return site, site.linear / (split.precisions + site.curvature)


def _rest(split: SplitRegression) -> Measurement:
    """Let a round begin at the solution for all rows, and compare variances with those of the central solver.

    That a round descends elsewhere is another claim; with it, rounds converge to this point and to no other.
    """
    F, y = split.pooled
    central = _central(split)
    site, after = _moved(split, central)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        variance = diagonal_posterior(F, y, split.precisions, noise_precision=_KAPPA, max_iter=1).variance
    size = np.abs(site.linear).max() / (split.precisions + site.curvature).min()
    errors = [
        np.abs(after - central).max() / size,
        np.abs(variance * (split.precisions + site.precision) - 1).max(),
    ]
    return Measurement(float(max(errors)), 0.0, 1.0)


def _average_of_posteriors(split: SplitRegression) -> Measurement:
    """Average the posterior means that clients have by themselves, with their rows as weights."""
    central, total, mean = _central(split), sum(split.sizes), np.zeros(split.n_columns)
    for F, y in split.data:
        own = np.linalg.solve(np.diag(split.precisions) + _KAPPA * F.T @ F, _KAPPA * F.T @ y)
        mean += len(y) / total * own
    return Measurement(float(np.abs(mean - central).max() / np.abs(central).max()), 0.0, 1.0)


split_rows_rest = Claim(
    name="bayesian_networks.split_rows_rest",
    summary="Rounds rest at the posterior mean on all rows, whatever the split; averages of posteriors do not.",
    statement=r"\left(D + \sum_k C_k\right) \mu = \sum_k \left(\kappa F_k^T (y_k - F_k \mu) + C_k \mu\right) "
    r"\iff (D + \kappa F^T F) \mu = \kappa F^T y",
    source=ours("rest of rounds with quadratic bounds"),
    # Errors of both sides, relative to the largest term over the smallest divisor.
    verdict=Always(1e-9),
    instances=lambda: split_regressions(orthogonal=False),
    evaluate=_rest,
    near_miss=_average_of_posteriors,
)


def _bounds(split: SplitRegression, own: Callable[[Any, Float64Array], Any]) -> list[float]:
    """Return the evidence lower bound round by round, at the final rates, with sites that clients make themselves."""
    server, clients = split.server(), split.clients
    rng = np.random.default_rng([split.seed, 2])
    server.mean = rng.standard_normal(split.n_columns)
    for _ in range(split.anneal_rounds + 12):
        server.receive([own(client, server.mean) for client in clients])
    found: list[float] = server.bounds[split.anneal_rounds :]
    return found


def _ascent(bounds: Sequence[float]) -> Measurement:
    size = max(abs(bound) for bound in bounds) + 100.0
    return Measurement.worst(bounds[:-1], bounds[1:], size)


def _with_lengths(client: Any, mean: Float64Array) -> Any:
    """Leave the cross products of columns out of the curvature: each coefficient is updated as if it were alone."""
    site = client.message(mean)
    linear = site.linear + (site.precision - site.curvature) * mean
    return bayesian.LinearSite.of(site.precision, linear, site.precision, site.misfit)


federated_ascent = Claim(
    name="bayesian_networks.federated_ascent",
    summary="No round of decentralised Turbo-VBI lowers the evidence bound of all rows, for any split of them.",
    statement=r"\mathrm{ELBO}(\mu_{t+1}, v_{t+1}, q_{t+1}(\rho, s)) \ge \mathrm{ELBO}(\mu_t, v_t, q_t(\rho, s))",
    source=ours("ascent by quadratic bounds"),
    verdict=Always(1e-9),
    instances=lambda: split_regressions(orthogonal=False, least_clients=1),
    evaluate=lambda split: _ascent(_bounds(split, lambda client, mean: client.message(mean))),
    near_miss=lambda split: _ascent(_bounds(split, _with_lengths)),
)


def _solved(split: SplitRegression) -> Any:
    """Return the central solver after the annealing and a fixed number of rounds."""
    structure = "chain" if split.structure == "chain_rows" else split.structure
    prior = SparsePrior(structure, activation=0.05, deactivation=0.2, on_rate=1.0, off_rate_ratio=split.ratio)
    model = TurboVBI(
        prior=prior, noise_variance=1 / _KAPPA, n_anneal_steps=split.anneal_rounds, max_iter=_ROUNDS, tol=0.0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*split.pooled)


def _against_solver(split: SplitRegression, clients: Sequence[Any]) -> Measurement:
    """Compare coefficients, variances, probabilities and bounds with those of the central solver."""
    server = split.server()
    for _ in range(split.anneal_rounds + 1 + _ROUNDS):
        server.receive([client.message(server.mean) for client in clients])
    solved = _solved(split)
    likelihood = 0.5 * len(split.pooled[1]) * np.log(_KAPPA / (2 * np.pi))
    elbo = solved.history_["elbo"][: _ROUNDS - 1]
    bounds = np.array(server.bounds[split.anneal_rounds + 1 :])[: elbo.size] + likelihood
    errors = [
        np.abs(server.mean - solved.coef_).max() / np.abs(solved.coef_).max(),
        np.abs(server.var / solved.coef_variance_ - 1).max(),
        np.abs(server.prior.probability[0] - solved.support_proba_).max(),
        np.abs(bounds - elbo[: bounds.size]).max() / (100 + np.abs(elbo).max()),
    ]
    return Measurement(float(max(errors)), 0.0, 1.0)


def _forgetful(split: SplitRegression) -> Measurement:
    """Let each round hear all clients but the last one, and take its rows for lost."""
    return _against_solver(split, split.clients[:-1])


one_round_each = Claim(
    name="bayesian_networks.one_round_each",
    summary="With orthogonal columns at each client a round is a round of the central solver on all rows.",
    statement=r"F_k^T F_k \text{ diagonal for all } k: \quad (\mu_t, v_t, q_t(s), \mathrm{ELBO}_t) "
    r"\text{ are those of Turbo-VBI on } (F, y)",
    source=ours("rounds with orthogonal columns"),
    verdict=Always(1e-8),
    instances=lambda: split_regressions(orthogonal=True),
    evaluate=lambda split: _against_solver(split, split.clients),
    near_miss=_forgetful,
)


def _pooled_optima(split: SplitRegression, scale: Callable[[int, int], float], average: str) -> Measurement:
    """Let each client reach its own optimum, merge the posteriors as messages of networks, and compare with all rows.

    Parameters
    ----------
    split : SplitRegression
        With orthogonal columns at each client.
    scale : callable
        From rows of a client and of all clients to the factor of its log-likelihood against the prior.
    average : str
        As in merge_messages.
    """
    import torch

    total = sum(len(y) for _, y in split.data)
    messages = []
    for F, y in split.data:
        factor = _KAPPA * scale(len(y), total)
        var = 1.0 / (split.precisions + factor * (F**2).sum(axis=0))
        std = np.sqrt(var)
        values = {"weight": var * factor * (F.T @ y), "rho": std + np.log(-np.expm1(-std))}
        messages.append(
            bayesian.ClientMessage(0, len(y), {name: torch.from_numpy(value) for name, value in values.items()})
        )
    found = bayesian.merge_messages(messages, average=average).mean()
    F, y = split.pooled
    std = torch.nn.functional.softplus(found["rho"]).numpy()
    variance = 1.0 / (split.precisions + _KAPPA * (F**2).sum(axis=0))
    errors = [
        np.abs(found["weight"].numpy() - _central(split)).max() / np.abs(_central(split)).max(),
        np.abs(std**2 / variance - 1).max(),
    ]
    return Measurement(float(max(errors)), 0.0, 1.0)


averaged_optima = Claim(
    name="bayesian_networks.averaged_optima",
    summary="Natural parameters of clients at their optima average to the optimum on all rows; plain means do not.",
    statement=r"q_k \propto p(w) L_k(w)^{n / n_k}: \quad \prod_k q_k^{n_k / n} \propto p(w) \prod_k L_k(w) "
    r"\text{ for diagonal } F_k^T F_k",
    source=ours("averages of natural parameters"),
    verdict=Always(1e-9),
    instances=lambda: split_regressions(orthogonal=True),
    evaluate=lambda split: _pooled_optima(split, lambda own, total: total / own, "natural"),
    near_miss=lambda split: _pooled_optima(split, lambda own, total: total / own, "parameters"),
)
