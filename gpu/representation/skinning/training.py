"""What an autoencoder of skinning weights is trained with: columns, points where weights are, and the loss."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import COUNT, POSITIVE
from sparsetheory.gpu.core.fit import Training, row_batches
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.skinning.autoencoder import SkinningVAE, check_rig

__all__ = ["balanced_points", "skinning_loss", "soft_dice_loss", "train_skinning_vae"]


def soft_dice_loss(predicted: Tensor, weights: Tensor) -> Tensor:
    r"""Return :math:`1 - (2 \sum s p + 1) / (\sum s + \sum p + 1)`, the mean over columns.

    Parameters
    ----------
    predicted, weights : Tensor of shape (..., n_points)
        From 0 to 1.

    Returns
    -------
    Tensor of shape ()

    Notes
    -----
    Zero where both are the same table of zeros and ones. The ones keep a column of zeros from dividing by zero. With
    weights between zero and one it is not smallest at ``p = s``: it then prefers sharper ones, which the cross-entropy
    next to it corrects.

    Examples
    --------
    >>> import torch
    >>> soft_dice_loss(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(0.2500)
    """
    both, either = (predicted * weights).sum(-1), (predicted + weights).sum(-1)
    return (1 - (2 * both + 1) / (either + 1)).mean()


def skinning_loss(logits: Tensor, weights: Tensor) -> Tensor:
    """Return the cross-entropy of weights plus the soft Dice loss, the mean over columns.

    Parameters
    ----------
    logits : Tensor of shape (..., n_points)
    weights : Tensor of shape (..., n_points)
        From 0 to 1.

    Returns
    -------
    Tensor of shape ()

    Examples
    --------
    >>> import torch
    >>> skinning_loss(torch.zeros(4), torch.zeros(4))  # log 2 + 1 - 1 / 3
    tensor(1.3598)
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, weights)
    return cross_entropy + soft_dice_loss(logits.sigmoid(), weights)


def balanced_points(weights: Tensor, n_points: int, generator: torch.Generator | int | None = 0) -> Tensor:
    """Draw points for each column of weights, half of them where the weight is not zero.

    Parameters
    ----------
    weights : Tensor of shape (n_columns, n_vertices)
        Not negative.
    n_points : int
        Points per column, drawn with replacement: the larger half from all vertices, the other one from those of
        weight above zero. A column of zeros has all of its points from all vertices.
    generator : torch.Generator, int or None

    Returns
    -------
    Tensor of int64 of shape (n_columns, n_points)
    """
    COUNT.check("n_points", n_points)
    if weights.ndim != 2 or not weights.shape[1]:
        raise ValueError(f"weights must be a matrix with at least one column; got shape {tuple(weights.shape)}")
    source, n_dense = cpu_generator(generator), n_points // 2
    anywhere = torch.randint(weights.shape[1], (len(weights), n_points - n_dense), generator=source)
    if not n_dense:
        return anywhere.to(weights.device)
    active = (weights > 0).to("cpu", torch.float32)
    active[active.sum(1) == 0] = 1
    there = torch.multinomial(active, n_dense, replacement=True, generator=source)
    return torch.cat([anywhere, there], 1).to(weights.device)


def train_skinning_vae(
    model: SkinningVAE,
    rigs: Sequence[tuple[Tensor, Tensor]],
    *,
    n_steps: int = 300,
    batch_size: int = 32,
    n_points: int = 128,
    learning_rate: float = 4e-3,
    generator: torch.Generator | int | None = 0,
) -> Training:
    """Train an autoencoder of skinning weights on the columns of rigs, by AdamW in one cycle of step sizes.

    Parameters
    ----------
    model : SkinningVAE
        Trained in place.
    rigs : sequence of (vertices, weights)
        Of shapes (n_vertices, 3) and (n_vertices, n_bones). Columns of zeros are left out.
    n_steps, batch_size : int
        Steps, and columns of each step.
    n_points : int
        Points at which a column is encoded, and as many at which it is read, half of them where its weight is not
        zero; and as many from all vertices, which tell the shape.
    learning_rate : float
        Largest one of the cycle.
    generator : torch.Generator, int or None
        Source of batches and points.

    Returns
    -------
    Training

    Raises
    ------
    ValueError
        If vertices and weights of a rig do not fit each other, or no rig has a weight above zero.
    """
    COUNT.require(n_steps=n_steps, batch_size=batch_size, n_points=n_points)
    POSITIVE.check("learning_rate", learning_rate)
    source = cpu_generator(generator)
    for vertices, weights in rigs:
        check_rig(vertices, weights)
    columns = [
        (vertices, weights[:, bone]) for vertices, weights in rigs for bone in (weights > 0).any(0).nonzero().flatten()
    ]
    if not columns:
        raise ValueError("rigs must have a bone with a weight above zero; got none")
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=n_steps)
    batches, losses = row_batches(len(columns), batch_size, source), torch.empty(n_steps, dtype=torch.float64)
    for step in range(n_steps):
        rows = next(batches)
        batch = columns if rows is None else [columns[row] for row in rows]
        drawn = [_drawn(vertices, column, n_points, source) for vertices, column in batch]
        shape, points, weights, queries, targets = (torch.stack(part) for part in zip(*drawn, strict=True))
        optimizer.zero_grad()
        value = skinning_loss(model(points, weights, queries, shape=shape), targets)
        value.backward()
        optimizer.step()
        cycle.step()
        losses[step] = value.detach()
    return Training(losses)


def _drawn(vertices: Tensor, column: Tensor, n_points: int, source: torch.Generator) -> tuple[Tensor, ...]:
    """Return points of the shape, points to encode a column at, and others to read it at, with their weights."""
    anywhere = torch.randint(len(vertices), (n_points,), generator=source).to(vertices.device)
    seen, read = balanced_points(column.expand(2, -1), n_points, source)
    return vertices[anywhere], vertices[seen], column[seen], vertices[read], column[read]
