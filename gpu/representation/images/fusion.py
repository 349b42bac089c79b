"""Robust fusion of views that show one signal, each in its own scale and shift, with outliers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, MISSING, POSITIVE, Choice
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype

__all__ = ["Fusion", "robust_fuse"]

# From the median of absolute values to the standard deviation of a Gaussian.
_NORMAL = 1.4826
# Where Huber's loss turns linear, in standard deviations: 95 % efficient for Gaussian noise.
_HUBER = 1.345


def _geman_mcclure(x: Tensor) -> Tensor:
    """Return weights of residuals in standard deviations."""
    return (1 + (x / 2).square()).pow(-2)


def _huber(x: Tensor) -> Tensor:
    return _HUBER / x.abs().clamp(min=_HUBER)


# For each loss its weights, and half of itself: the loss at 0 is 0, and for small x it is x^2 / 2.
_LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "geman_mcclure": (_geman_mcclure, lambda x: x.square() / 2 / (1 + (x / 2).square())),
    "huber": (_huber, lambda x: torch.where(x.abs() <= _HUBER, x.square() / 2, _HUBER * (x.abs() - _HUBER / 2))),
}


@dataclass(frozen=True, eq=False)
class Fusion:
    """One signal from several views: view v is ``scale[v] * z + shift[v]`` but for noise and outliers.

    Attributes
    ----------
    z : Tensor of shape (...)
        Of mean 0 and variance 1 over the pixels that any view has; not a number elsewhere.
    scale, shift : Tensor of shape (n_views,)
        Scales have a sum of at least 0.
    weights : Tensor of shape (n_views, ...)
        How far each entry of a view is believed, from 0 to 1; 0 where it is masked.
    noise_std : float
        Standard deviation of the noise at the last sweep.
    objectives : Tensor of float64 of shape (n_iter + 1,)
        Robust loss before the first sweep and after each, in the noise of that sweep. It never rises where the noise is
        given; where it is estimated, its unit changes.
    """

    z: Tensor
    scale: Tensor
    shift: Tensor
    weights: Tensor
    noise_std: float
    objectives: Tensor


def robust_fuse(
    views: Tensor,
    max_iter: int = 20,
    *,
    mask: Tensor | None = None,
    noise_std: float | None = None,
    loss: str = "geman_mcclure",
    tol: float = 1e-8,
) -> Fusion:
    r"""Fuse views of one signal, such as depth maps, that differ by scale, shift, noise and gross outliers.

    Minimises :math:`\sum_{v,j} \rho((y_{vj} - A_v z_j - B_v) / \sigma)` by iteratively reweighted least squares: with
    weights from the residuals, first A and B of each view, then z, each in closed form.

    Parameters
    ----------
    views : Tensor of shape (n_views, ...)
        At least two views.
    max_iter : int
        Most sweeps.
    mask : Tensor of bool of the shape of `views`, optional
        Entries that count; the others may be anything.
    noise_std : float, optional
        Standard deviation of the noise, in the unit of the views. By default it is 1.4826 times the median size of the
        residuals of all views together, anew before each sweep.
    loss : {"geman_mcclure", "huber"}
        Geman-McClure's loss is bounded: gross outliers lose all their weight. Huber's is convex for given z, and the
        same as a lasso on a vector of outliers.
    tol : float
        Tolerance, relative to the objective: a sweep that lowers it by less is the last.

    Returns
    -------
    Fusion

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two views, or a view has fewer than two entries that count, or all views are constant,
        or an entry that counts is not finite.

    Notes
    -----
    The start is the median of the views, each less its median and over its median deviation. The minimiser over z is
    ``sum_v w A (y - B) / sum_v w A^2``; the mean of ``(y - B) / A`` under the same weights is none, and raises the
    objective. O(n_views n) a sweep for n pixels. Geman and McClure (1985); Holland and Welsch (1977); She and Owen,
    "Outlier Detection Using Nonconvex Penalized Regression", JASA 2011, for outliers as a sparse vector. Fusion of
    views that were generated one by one is what "2L3", arXiv 2401.15841, needs.

    Examples
    --------
    >>> import torch
    >>> z = torch.linspace(-1, 1, 101)
    >>> views = torch.stack([2 * z + 1, 0.5 * z, z - 3])
    >>> views[2, :30] = 50.0
    >>> found = robust_fuse(views)
    >>> bool((found.z - z / z.std(correction=0)).abs().max() < 1e-3)
    True
    """
    y, counted = _checked(views, mask)
    COUNT.check("max_iter", max_iter)
    (MISSING | POSITIVE).check("noise_std", noise_std)
    Choice(*_LOSSES).check("loss", loss)
    POSITIVE.check("tol", tol)
    weigh, rho = _LOSSES[loss]
    state = _State.start(y, counted)
    objectives: list[float] = []
    for sweep in range(max_iter):
        sigma = state.noise(noise_std)
        before = state.objective(rho, sigma)
        if not sweep:
            objectives.append(before)
        state = state.swept(weigh, sigma)
        objectives.append(state.objective(rho, sigma))
        if before - objectives[-1] <= tol * before:
            break
    weights = torch.where(counted, weigh(state.residuals() / sigma), 0.0)
    z = torch.where(counted.any(0), state.z, torch.nan)
    shape = views.shape
    return Fusion(
        z.view(shape[1:]).to(views.dtype),
        state.scale.to(views.dtype),
        state.shift.to(views.dtype),
        weights.view(shape).to(views.dtype),
        sigma,
        torch.tensor(objectives, dtype=torch.float64),
    )


def _checked(views: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return views as rows, zero where they do not count, and where they do."""
    if not isinstance(views, Tensor) or views.ndim < 2 or len(views) < 2:
        got = tuple(views.shape) if isinstance(views, Tensor) else type(views).__name__
        raise ValueError(f"views must be a tensor of shape (n_views, ...) with two views or more; got {got}")
    counted = torch.ones(views.shape, dtype=torch.bool, device=views.device) if mask is None else mask
    together(views=views, mask=counted)
    if counted.dtype != torch.bool or counted.shape != views.shape:
        raise ValueError(f"mask must be a tensor of bool of the shape of views; got shape {tuple(counted.shape)}")
    counted = counted.flatten(1)
    if int(counted.sum(1).min()) < 2:
        raise ValueError("views must have at least two entries each that count; got one with fewer")
    # A filled view of integers would be one of floating-point numbers.
    filled = torch.where(counted, views.flatten(1), 0.0) if views.is_floating_point() else views
    y = finite_tensor("views", filled)
    return y.to(working_dtype(views)), counted


@dataclass(frozen=True)
class _State:
    """Views and what they are explained by; z has mean 0 and variance 1 over pixels that are seen."""

    y: Tensor
    counted: Tensor
    z: Tensor
    scale: Tensor
    shift: Tensor

    @classmethod
    def start(cls, y: Tensor, counted: Tensor) -> "_State":
        """Take medians."""
        missing = torch.where(counted, y, torch.nan)
        shift = missing.nanmedian(1).values
        distances = (missing - shift.unsqueeze(1)).abs()
        scale = distances.nanmedian(1).values
        # More than half of a view may be flat.
        scale = torch.where(scale > 0, scale, distances.nanmean(1))
        if not bool((scale > 0).any()):
            raise ValueError("views must vary; got views that are all constant")
        z = ((missing - shift.unsqueeze(1)) / torch.where(scale > 0, scale, torch.nan).unsqueeze(1)).nanmedian(0).values
        return cls(y, counted, z.nan_to_num(nan=0.0), scale, shift).in_gauge()

    def residuals(self) -> Tensor:
        """Return what is not explained, zero where views do not count."""
        return torch.where(self.counted, self.y - self.scale[:, None] * self.z - self.shift[:, None], 0.0)

    def noise(self, given: float | None) -> float:
        """Return the standard deviation of the noise; residuals that are rounding are not told apart."""
        if given is not None:
            return given
        median = float(self.residuals().abs()[self.counted].median())
        least = torch.finfo(self.y.dtype).eps * float(self.y.abs().max())
        return max(_NORMAL * median, least)

    def objective(self, rho: Callable[[Tensor], Tensor], sigma: float) -> float:
        """Return the robust loss, summed in double precision."""
        return float(rho(self.residuals() / sigma).double().sum())

    def swept(self, weigh: Callable[[Tensor], Tensor], sigma: float) -> "_State":
        """Return the state after one fit of all views and one of z, under weights of the residuals now."""
        w = torch.where(self.counted, weigh(self.residuals() / sigma), 0.0)
        total = w.sum(1, keepdim=True)
        if not bool((total > 0).all()):
            raise ValueError(
                f"noise_std must be nearer to the residuals, which lose all weight in a view; got {sigma:g}"
            )
        middle_z, middle_y = (w * self.z).sum(1, keepdim=True) / total, (w * self.y).sum(1, keepdim=True) / total
        dz, dy = self.z - middle_z, self.y - middle_y
        spread = (w * dz.square()).sum(1)
        scale = torch.where(spread > 0, (w * dz * dy).sum(1) / torch.where(spread > 0, spread, 1.0), 0.0)
        shift = middle_y[:, 0] - scale * middle_z[:, 0]
        pull, hold = self.minimiser(w, scale, shift)
        # A pixel that only flat views have stays where it is.
        z = torch.where(hold > 0, pull / torch.where(hold > 0, hold, 1.0), self.z)
        return _State(self.y, self.counted, z, scale, shift).in_gauge()

    def minimiser(self, w: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator of the weighted least-squares solution for z."""
        A = scale.unsqueeze(1)
        return (w * A * (self.y - shift.unsqueeze(1))).sum(0), (w * A.square()).sum(0)

    def in_gauge(self) -> "_State":
        """Return the same fit with z of mean 0 and variance 1 and a sum of scales of at least 0."""
        seen = self.counted.any(0)
        spread, mean = torch.var_mean(self.z[seen], correction=0)
        if not float(spread) > 0:
            raise ValueError("views must vary where they agree; got a fused signal that is constant")
        unit = spread.sqrt() * (1.0 if float(self.scale.sum()) >= 0 else -1.0)
        z = torch.where(seen, (self.z - mean) / unit, 0.0)
        return _State(self.y, self.counted, z, self.scale * unit, self.shift + self.scale * mean)
