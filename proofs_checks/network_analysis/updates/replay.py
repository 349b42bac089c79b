"""Claim about training of a subnetwork: when it repeats the full run to the bit."""

import copy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from sparsetheory.gpu import analysis, core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.verdicts import Always

_STEPS, _BATCH = 8, 16
_OPTIMISERS = ("Adam", "SGD", "RMSprop")


@dataclass(frozen=True, eq=False)
class Replay:
    """A network, data in which some inputs are always zero, an optimiser, and a part that a gate freezes.

    The data are synthetic.
    """

    seed: int
    optimiser: str
    frozen: float

    def start(self) -> Any:
        """Return the network, rounded to bfloat16."""
        model = core.models.MLP([8, 16, 4], generator=self.seed)
        for parameter in model.parameters():
            parameter.data.copy_(parameter.data.bfloat16())
        return model

    def train(self, model: Any, masks: Any = None) -> Any:
        """Train with the frozen part, and return which entries moved at any step."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        x, y = torch.randn(64, 8, generator=generator), torch.randint(4, (64,), generator=generator)
        x[:, ::3] = 0.0
        optimizer = getattr(torch.optim, self.optimiser)(model.parameters(), lr=1e-4)
        drawn = {p: torch.rand(p.shape, generator=generator) < self.frozen for p in model.parameters()}
        core.UpdateGate(optimizer, drawn)
        if masks is not None:
            analysis.train_subnetwork(optimizer, model, masks)
        moved = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in model.named_parameters()}
        last = copy.deepcopy(model)
        with one_thread():
            for rows in torch.randperm(64, generator=generator).repeat(2).split(_BATCH)[:_STEPS]:
                optimizer.zero_grad()
                core.class_loss(model(x[rows]), y[rows]).backward()
                optimizer.step()
                for name, mask in analysis.update_mask(last, model, tol=0.0).items():
                    moved[name] |= mask
                last.load_state_dict(model.state_dict())
        return moved


def _replays(case: Replay, dtype: Any = None) -> Measurement:
    """Count entries in which a run of the subnetwork that ever moved ends elsewhere than the full run.

    Inputs that are always zero give gradients of exactly zero, which no optimiser without weight decay turns into a
    movement. Holding these weights, and those that a gate holds anyway, changes nothing at any step.
    """
    start = case.start()
    full, alone = copy.deepcopy(start), copy.deepcopy(start)
    moved = case.train(full)
    case.train(alone, moved if dtype is None else analysis.update_mask(start, full, dtype=dtype))
    differing = 1.0 - analysis.update_sparsity(full, alone, tol=0.0).total
    return Measurement(differing, 0.0, scale=1.0)


def _of_the_rounded_update(case: Replay) -> Measurement:
    """Train the subnetwork that the rounded states show, as if the rest had not moved."""
    import torch

    return _replays(case, torch.bfloat16)


subnetwork_replay = Claim(
    name="network_analysis.subnetwork_replay",
    summary="Training a subnetwork repeats the full run to the bit if the rest never moved; seeming so is not enough.",
    statement=r"\theta^t_i = \theta^0_i \;\forall\, t,\ i \notin m \implies \theta^T(m \odot \text{step}) = \theta^T",
    source=Source.ours("when subnetwork fine-tuning in the sense of 2505.11711 is an exact replay"),
    verdict=Always(rtol=0.0),
    instances=lambda: st.builds(Replay, seeds, st.sampled_from(_OPTIMISERS), st.sampled_from((0.0, 0.3))),
    evaluate=_replays,
    near_miss=_of_the_rounded_update,
)
