"""A linear head on frozen features."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, FLAG, MISSING, NONNEGATIVE, POSITIVE, Choice, Instance
from sparsetheory.gpu.analysis.reprogramming.label_maps import check_targets
from sparsetheory.gpu.core.fit import class_loss, train

__all__ = ["LinearProbe", "check_features", "linear_probe"]

_ADAM_LR = 0.01


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A linear classifier of features.

    Parameters
    ----------
    coef : Tensor of shape (n_classes, n_features)
    intercept : Tensor of shape (n_classes,)
    losses : Tensor of float64 of shape (n_steps,)
        Loss before each step, with the penalty; empty where nothing was trained step by step.
    """

    coef: Tensor
    intercept: Tensor
    losses: Tensor

    @property
    def n_features(self) -> int:
        """Features that some class reads."""
        return int((self.coef != 0).any(dim=0).sum())

    def logits(self, features: Tensor) -> Tensor:
        """Return logits of shape (n, n_classes), in the precision of the probe.

        Parameters
        ----------
        features : Tensor of shape (n, n_features)
        """
        return nn.functional.linear(features.to(self.coef.dtype), self.coef, self.intercept)


def linear_probe(
    features: Tensor,
    y: Tensor,
    *,
    n_classes: int | None = None,
    method: str = "adam",
    n_steps: int = 150,
    lr: float | None = None,
    alpha: float = 0.0,
    standardise: bool = False,
) -> LinearProbe:
    """Fit a linear head by multinomial logistic regression, on all samples at once, from zero.

    The loss is the mean cross-entropy plus ``alpha / 2`` times the sum of the squared coefficients. It is convex, so
    training is a matter of how far: few steps leave small coefficients, as a penalty would. A new head on a frozen
    network is the peer of a prompt at its input, see :func:`reprogram`.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
        What the frozen network computes before its own head, for example recorded by
        :func:`sparsetheory.gpu.core.capture`.
    y : Tensor of int64 of shape (n,)
        Classes, each of which must occur.
    n_classes : int, optional
        By default one more than the largest class.
    method : {"adam", "gradient_descent"}
    n_steps : int
    lr : float, optional
        By default 0.01 for Adam, and for gradient descent the step 1 / L with which the loss never rises.
    alpha : float
        Strength of the penalty; the intercept has none.
    standardise : bool
        Whether to train on features of mean 0 and standard deviation 1. The probe is one of the features as they are.
        After a number of steps a head on small features is less confident than one on large features; this takes the
        difference away.

    Returns
    -------
    LinearProbe
        On the device of the features and in their precision, half precision as float32.

    Raises
    ------
    ValueError
        If shapes do not fit, features are not finite, or a class does not occur.

    See Also
    --------
    sparse_probes : Heads that read few features.

    Notes
    -----
    The Hessian of the cross-entropy in the logits is ``diag(p) - p p'``, whose eigenvalues are at most 1/2. So the
    gradient has the Lipschitz constant ``L = |[X 1]|^2 / (2 n) + alpha`` with the spectral norm of the features and a
    column of ones. Time O(n n_features n_classes) for each step; gradient descent needs one singular value more.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
    >>> probe = linear_probe(x, torch.tensor([0, 0, 1, 1]), method="gradient_descent", n_steps=20)
    >>> probe.logits(x).argmax(dim=1)
    tensor([0, 0, 1, 1])
    >>> bool((probe.losses.diff() < 0).all())
    True
    """
    n_classes = check_features(features, y, n_classes)
    Choice("adam", "gradient_descent").require(method=method)
    COUNT.require(n_steps=n_steps)
    (MISSING | POSITIVE).require(lr=lr)
    FLAG.require(standardise=standardise)
    alpha = NONNEGATIVE.check("alpha", alpha)
    rows = features.detach().to(torch.promote_types(features.dtype, torch.float32))
    mean, deviation = _moments(rows) if standardise else (torch.zeros_like(rows[0]), torch.ones_like(rows[0]))
    rows = (rows - mean) / deviation
    # Without an initialisation that would draw random numbers of the user.
    head = cast(
        nn.Linear,
        nn.utils.skip_init(nn.Linear, rows.shape[1], n_classes, device=rows.device, dtype=rows.dtype),
    )
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer: torch.optim.Optimizer
    if method == "adam":
        optimizer = torch.optim.Adam(head.parameters(), lr=_ADAM_LR if lr is None else lr)
    else:
        optimizer = torch.optim.SGD(head.parameters(), lr=1.0 / _curvature(rows, alpha) if lr is None else lr)

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        return class_loss(output, targets) + alpha / 2 * head.weight.square().sum()

    run = train(head, rows, y.to(rows.device), optimizer=optimizer, n_steps=n_steps, loss=loss)
    coef = head.weight.detach() / deviation
    return LinearProbe(coef, head.bias.detach() - coef @ mean, run.losses)


def check_features(features: Tensor, y: Tensor, n_classes: int | None) -> int:
    """Raise ValueError unless features and classes can be fitted; return the number of classes."""
    Instance(Tensor, "a tensor").require(features=features, y=y)
    if features.ndim != 2 or y.shape != features.shape[:1] or not features.numel():
        raise ValueError(
            "features must have shape (n, n_features) and y shape (n,), neither empty; "
            f"got {tuple(features.shape)} and {tuple(y.shape)}"
        )
    if not features.is_floating_point() or not bool(features.isfinite().all()):
        held = "infinite entries or NaN" if features.is_floating_point() else features.dtype
        raise ValueError(f"features must be finite floating-point numbers; got {held}")
    # At least one, so that what is wrong with negative classes is said of them.
    count = COUNT.check("n_classes", max(int(y.max()), 0) + 1 if n_classes is None else n_classes)
    check_targets(y, count)
    return int(count)


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations of features, 1 for features that do not vary but by rounding."""
    exact = rows.double()
    mean, deviation = exact.mean(dim=0), exact.std(dim=0, correction=0)
    varies = deviation > 1e-7 * exact.abs().amax(dim=0)
    return mean.to(rows.dtype), torch.where(varies, deviation, 1.0).to(rows.dtype)


def _curvature(rows: Tensor, alpha: float) -> float:
    """Return a Lipschitz constant of the gradient of the loss."""
    ones = torch.ones(len(rows), 1, dtype=torch.float64, device=rows.device)
    norm = float(torch.linalg.matrix_norm(torch.cat([rows.double(), ones], dim=1), ord=2))
    return norm**2 / (2 * len(rows)) + alpha
