"""Policies that learn to name items by their codes: tables of logits, many questions and seeds at a time. Synthetic."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sparsetheory.gpu import representation
from sparsetheory.typing import Float64Array

__all__ = ["ARMS", "N_ANSWERS", "Arm", "hit_curve", "updates_to_half"]

N_ANSWERS, _N_CODES, _DEPTH, _N_QUESTIONS = 10, 4, 4, 8


@dataclass(frozen=True)
class Arm:
    """How answers are rewarded, and the length of a step.

    Parameters
    ----------
    reward : {"binary", "prefix"}
    bonus : {"none", "added", "rescaled"}
        Rescaled to the norm that the advantages of the group have without it.
    step : float
    """

    reward: Literal["binary", "prefix"]
    bonus: Literal["none", "added", "rescaled"] = "none"
    step: float = 0.5


ARMS = {
    "right or wrong": Arm("binary"),
    "prefix": Arm("prefix"),
    "prefix and bonus": Arm("prefix", "added"),
    "bonus, rescaled": Arm("prefix", "rescaled"),
    "prefix, step 0.65": Arm("prefix", step=0.65),
}


@lru_cache(maxsize=64)
def hit_curve(
    arm: Arm, seed: int, n_steps: int, n_answers: int = N_ANSWERS, n_seeds: int = 8, *, to_half: bool = False
) -> Float64Array:
    """Return the mean probability of the right code before each update, of shape (n_steps, n_seeds).

    Each of 8 questions has one right code out of 256, and a table of logits for each prefix of a code. An update draws
    a group of answers to every question and adds the step over the size of the group, times the advantages, times the
    gradients of the log probabilities. The curve may end where all seeds name the right item half of the time.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    n = n_seeds * _N_QUESTIONS
    target = torch.randint(_N_CODES, (n, _DEPTH), generator=generator)
    logits = [torch.zeros(n, _N_CODES**level, _N_CODES, dtype=torch.float64) for level in range(_DEPTH)]
    rows = torch.arange(n)[:, None].expand(n, n_answers)
    curve = []
    for _ in range(n_steps):
        curve.append(_right(logits, target).view(n_seeds, _N_QUESTIONS).mean(1))
        if to_half and bool((curve[-1] >= 0.5).all()):
            break
        drawn = _draw(logits, rows, generator)
        codes = torch.stack([code for _, _, code in drawn], dim=-1)
        advantages = _advantages(arm, codes, target, rows)
        for table, (prefix, shares, code) in zip(logits, drawn, strict=True):
            gradient = (-shares).scatter_add_(-1, code[..., None], torch.ones_like(shares[..., :1]))
            change = arm.step / n_answers * advantages[..., None] * gradient
            table.index_put_((rows, prefix), change, accumulate=True)
    return torch.stack(curve).numpy()


def updates_to_half(curve: Float64Array) -> list[float]:
    """Return after how many updates each seed names the right item half of the time; infinite where it never does."""
    reached = curve >= 0.5
    return [float(column.argmax()) if column.any() else float("inf") for column in reached.T]


def _right(logits: list[Any], target: Any) -> Any:
    """Return the probability of the right code of each question."""
    import torch

    every = torch.arange(len(target))
    share, prefix = torch.ones(len(target), dtype=torch.float64), torch.zeros(len(target), dtype=torch.long)
    for table, code in zip(logits, target.T, strict=True):
        share = share * table[every, prefix].softmax(-1)[every, code]
        prefix = prefix * _N_CODES + code
    return share


def _draw(logits: list[Any], rows: Any, generator: Any) -> list[tuple[Any, Any, Any]]:
    """Draw answers; return for each level the number of the prefix, the probabilities, and the codes drawn."""
    import torch

    prefix, drawn = torch.zeros_like(rows), []
    for table in logits:
        shares = table[rows, prefix].softmax(-1)
        place = torch.rand(*rows.shape, 1, generator=generator, dtype=torch.float64)
        code = (shares.cumsum(-1) < place).sum(-1).clamp_max(_N_CODES - 1)
        drawn.append((prefix, shares, code))
        prefix = prefix * _N_CODES + code
    return drawn


def _advantages(arm: Arm, codes: Any, target: Any, rows: Any) -> Any:
    hits = (codes == target[:, None]).all(-1)
    rewards = representation.prefix_reward(codes, target[:, None]) if arm.reward == "prefix" else hits
    flat = rewards.double().reshape(-1), rows.reshape(-1), hits.reshape(-1)
    plain = representation.group_advantage(*flat, bonus=False).view(rows.shape)
    if arm.bonus == "none":
        return plain
    both = representation.group_advantage(*flat).view(rows.shape)
    if arm.bonus == "added":
        return both
    return both * (plain.norm(dim=1) / both.norm(dim=1).clamp_min(1e-12))[:, None]
