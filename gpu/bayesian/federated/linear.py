"""Decentralised Turbo-VBI of a linear model: clients send quadratic bounds of their likelihoods, which add up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sparsetheory.constraints import COUNT, FRACTION, POSITIVE
from sparsetheory.gpu.bayesian.federated.exact_sum import exact_terms, rounded_sum
from sparsetheory.gpu.bayesian.turbo.prior import WeightPrior
from sparsetheory.typing import Float64Array

__all__ = ["FederatedLinearTurboVBI", "LinearClient", "LinearSite"]


@dataclass(frozen=True, eq=False)
class LinearSite:
    r"""What clients say about coefficients: Gaussian factors that bound their likelihoods from below.

    For a client with rows F, y and the broadcast mean m, the log-likelihood at any x is at least

    .. math:: -\tfrac{\kappa}{2} \|y - F m\|^2 + \kappa (x - m)^T F^T (y - F m) - \tfrac12 \sum_i c_i (x_i - m_i)^2

    up to a constant, with equality at m, and everywhere if the columns of F are orthogonal.

    Parameters
    ----------
    terms : Tensor of int64 of shape (3, 3 n_features + 1)
        Sums, as :func:`exact_terms` writes them, of curvatures c, of :math:`\kappa F^T (y - F m) + c m`, of the
        precisions :math:`\kappa \|f_i\|^2`, and of the misfit :math:`\kappa / 2 \|y - F m\|^2`.
    n_clients : int
        Clients in the sum.
    """

    terms: Tensor
    n_clients: int

    @classmethod
    def of(cls, curvature: ArrayLike, linear: ArrayLike, precision: ArrayLike, misfit: float) -> Self:
        """Return the factor of one client."""
        parts = np.concatenate([np.ravel(curvature), np.ravel(linear), np.ravel(precision), [misfit]])
        name = "curvature, linear, precision and misfit"
        return cls(exact_terms(torch.from_numpy(parts.astype(np.float64)), name), 1)

    def merge(self, other: "LinearSite") -> "LinearSite":
        """Return the product of the factors of both, whose parameters add up; equal bits in any order.

        Raises
        ------
        ValueError
            If they have different numbers of coefficients.
        """
        if self.n_features != other.n_features:
            raise ValueError(f"sites must be of {self.n_features} features; got {other.n_features}")
        return type(self)(self.terms + other.terms, self.n_clients + other.n_clients)

    @property
    def n_features(self) -> int:
        """Number of coefficients."""
        return (self.terms.shape[1] - 1) // 3

    @property
    def curvature(self) -> Float64Array:
        """Precisions of the bounds, shape (n_features,)."""
        return self._part(0)

    @property
    def linear(self) -> Float64Array:
        """Precisions times means of the bounds, shape (n_features,)."""
        return self._part(1)

    @property
    def precision(self) -> Float64Array:
        """What the data add to the precisions of independent coefficients, shape (n_features,)."""
        return self._part(2)

    @property
    def misfit(self) -> float:
        """Half the squared residual at the broadcast mean, times the noise precision."""
        return float(rounded_sum(self.terms[:, -1:]))

    def state_dict(self) -> dict[str, Any]:
        """Return numbers and tensors, to be stored, or added up between processes."""
        return {"terms": self.terms, "n_clients": self.n_clients}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what was stored by :meth:`state_dict`."""
        return cls(state["terms"], int(state["n_clients"]))

    def _part(self, index: int) -> Float64Array:
        n = self.n_features
        found: Float64Array = rounded_sum(self.terms[:, index * n : (index + 1) * n]).numpy()
        return found


class LinearClient:
    r"""One holder of rows of a linear model with known noise.

    Parameters
    ----------
    F : array-like of shape (n_rows, n_features)
        Sensing matrix of its rows.
    y : array-like of shape (n_rows,)
    noise_precision : float
        Positive; clients may differ.

    Raises
    ------
    ValueError
        If shapes do not fit, or a number is not finite.

    Notes
    -----
    The curvatures are the sums :math:`\kappa \sum_j |F^T F|_{ij}` of magnitudes in rows: the diagonal matrix of them
    minus :math:`\kappa F^T F` is diagonally dominant, and so has no negative eigenvalue. That takes O(n_rows
    n_features^2) time once; a message takes O(n_rows n_features).
    """

    def __init__(self, F: ArrayLike, y: ArrayLike, *, noise_precision: float) -> None:
        self.F, self.y = np.asarray(F, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if self.F.ndim != 2 or self.y.shape != self.F.shape[:1]:
            raise ValueError(f"F and y must have shapes (M, N) and (M,); got {self.F.shape} and {self.y.shape}")
        if not np.isfinite(self.F).all() or not np.isfinite(self.y).all():
            raise ValueError("F and y must be finite; got infinite entries or NaN")
        self.noise_precision = POSITIVE.check("noise_precision", noise_precision)
        gram = self.F.T @ self.F
        self._curvature = self.noise_precision * np.abs(gram).sum(axis=1)
        self._precision = self.noise_precision * np.diagonal(gram)

    def message(self, mean: ArrayLike) -> LinearSite:
        """Return the bound of the likelihood that touches it at a mean.

        Parameters
        ----------
        mean : array-like of shape (n_features,)
            As the server has sent it.

        Raises
        ------
        ValueError
            If its shape is another, if it is not finite, or if a number of the bound reaches 2^40.
        """
        at = np.asarray(mean, dtype=np.float64)
        if at.shape != self.F.shape[1:]:
            raise ValueError(f"mean must have shape {self.F.shape[1:]}; got {at.shape}")
        if not np.isfinite(at).all():
            raise ValueError("mean must be finite; got infinite entries or NaN")
        residual = self.y - self.F @ at
        linear = self.noise_precision * (self.F.T @ residual) + self._curvature * at
        return LinearSite.of(
            self._curvature, linear, self._precision, 0.5 * self.noise_precision * float(residual @ residual)
        )


class FederatedLinearTurboVBI:
    r"""The server of decentralised Turbo-VBI of a linear model, with independent coefficients in the posterior.

    Clients send Gaussian factors, see :class:`LinearSite`; the posterior of the coefficients is the prior times their
    product. Precisions and states then get the best factors, as :class:`TurboVBI` has them. With the rates of the prior
    at rest no round lowers the evidence lower bound of all data, and its stationary points are those of the central
    problem, for any split of the rows. If the columns are orthogonal at each client, a round is a round of the central
    solver.

    Parameters
    ----------
    prior : WeightPrior
        Of a grid of one row, with as many columns as there are coefficients.
    anneal_rounds : int
        Rounds until the law of coefficients that are off is at its end, from where both states are alike.
    off_rate_ratio : float
        Rate of precisions that are off over those which are on, at the end.

    Attributes
    ----------
    mean, var : ndarray of shape (n_features,)
        Of the coefficients. At first the mean is zero.
    n_rounds : int
        Rounds done.
    bounds : list of float
        Evidence lower bound at the broadcast state of each round but the first, up to the constants of the likelihood.

    Raises
    ------
    ValueError
        If the prior is that of several rows or groups, or a number is out of range.

    See Also
    --------
    sparsetheory.bayesian.diagonal_posterior : The same coefficients on all rows together, for known precisions.

    Notes
    -----
    The bounds are sites of partitioned variational inference, T. D. Bui, C. V. Nguyen, S. Swaroop and R. E. Turner,
    arXiv:1811.11206; that they bound the likelihood makes damping unnecessary. The more columns correlate, the smaller
    steps are.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.gpu.bayesian import WeightPrior
    >>> rng = np.random.default_rng(0)
    >>> F, x = rng.standard_normal((60, 20)), np.zeros(20)
    >>> x[5:9] = [1.0, -1.0, 2.0, 1.0]
    >>> y = F @ x + 0.1 * rng.standard_normal(60)
    >>> clients = [LinearClient(F[:40], y[:40], noise_precision=100), LinearClient(F[40:], y[40:], noise_precision=100)]
    >>> server = FederatedLinearTurboVBI(WeightPrior((1, 20)), anneal_rounds=100, off_rate_ratio=1e-5)
    >>> for _ in range(200):
    ...     server.receive([client.message(server.mean) for client in clients])
    >>> np.flatnonzero(server.prior.probability[0] > 0.5).tolist()
    [5, 6, 7, 8]
    """

    def __init__(self, prior: WeightPrior, *, anneal_rounds: int, off_rate_ratio: float) -> None:
        if prior.shape[0] != 1 or prior.group_size != 1:
            raise ValueError(f"prior must have a grid of one row; got shape {prior.shape}, groups {prior.group_size}")
        self.prior = prior
        self._anneal = COUNT.check("anneal_rounds", anneal_rounds)
        self._ratio = FRACTION.check("off_rate_ratio", off_rate_ratio)
        self.mean = np.zeros(prior.shape[1])
        self.var = 1.0 / prior.expected_precisions[0]
        self.n_rounds = 0
        self.bounds: list[float] = []

    @property
    def off_rate(self) -> float:
        """Rate of precisions that are off in the present round."""
        largest = self.prior.largest_off_rate
        return float(largest * (self._ratio * self.prior.on_rate / largest) ** min(1.0, self.n_rounds / self._anneal))

    def receive(self, sites: LinearSite | Iterable[LinearSite]) -> None:
        """End a round: set the coefficients by the bounds of all clients, then precisions and states.

        Parameters
        ----------
        sites : LinearSite or iterable of LinearSite
            Of every client, once, at the present mean. Without a client its rows are not there.

        Raises
        ------
        ValueError
            If there is none, or it is of another number of coefficients.
        """
        total: LinearSite | None = None
        for site in [sites] if isinstance(sites, LinearSite) else sites:
            total = site if total is None else total.merge(site)
        if total is None or total.n_features != self.mean.size:
            got = "none" if total is None else f"{total.n_features} features"
            raise ValueError(f"sites must be at least 1 of {self.mean.size} features; got {got}")
        if self.n_rounds:
            spread = 0.5 * float(total.precision @ self.var)
            self.bounds.append(-total.misfit - spread - self._kl())
        precisions = self.prior.expected_precisions[0]
        self.mean = total.linear / (precisions + total.curvature)
        self.var = 1.0 / (precisions + total.precision)
        self.prior.update(self._second(), self.off_rate)
        self.n_rounds += 1

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to continue, with an equal prior."""
        return {
            "mean": torch.from_numpy(self.mean.copy()),
            "var": torch.from_numpy(self.var.copy()),
            "prior": self.prior.state_dict(),
            "n_rounds": self.n_rounds,
            "bounds": list(self.bounds),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Raises
        ------
        ValueError
            If it is that of another number of coefficients, or of another prior. Nothing is changed then.
        """
        mean, var = (state[name].detach().cpu().double().numpy().copy() for name in ("mean", "var"))
        if mean.shape != self.mean.shape or var.shape != self.mean.shape:
            raise ValueError(f"state must be that of {self.mean.size} coefficients; got {mean.shape} and {var.shape}")
        self.prior.load_state_dict(state["prior"])
        self.mean, self.var = mean, var
        self.n_rounds, self.bounds = int(state["n_rounds"]), [float(bound) for bound in state["bounds"]]

    def _second(self) -> Float64Array:
        return (self.mean**2 + self.var)[None]

    def _kl(self) -> float:
        return self.prior.kl(self._second(), 0.5 * np.log(self.var)[None])
