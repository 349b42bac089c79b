"""Claims about networks for other digits: heads beat prompts, and small features make heads unsure."""

import math
from dataclasses import dataclass

import numpy as np

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.network_analysis.reprogramming import digits
from sparsetheory.proofs_checks.verdicts import WithProbability

_GAP, _FALL, _LESS, _MANY = 0.10, 0.999, 0.75, digits.SHOTS[-1]


@dataclass(frozen=True)
class Transfer:
    """A seed, and the density of a ticket."""

    seed: int
    density: float

    def target(self, density: float, shots: int) -> digits.Target:
        """Return the task for the ticket of a density; rounds of pruning end at that of this transfer."""
        path = tuple(value for value in digits.DENSITIES if value >= self.density)
        ticket = digits.Source(self.seed).tickets(path)[path.index(density)]
        return digits.Target(self.seed, ticket.model, shots)


def _draw(rng: np.random.Generator, density: float) -> Transfer:
    return Transfer(int(rng.integers(2**31)), density)


def _gap(case: Transfer) -> Measurement:
    """Compare the least accuracy gained by a new head, over few and many shots, with 0.1.

    To beat a border that is not trained would be easy. Where its loss does not fall, the gap is no number.
    """
    curves, losses = {}, []
    for shots in digits.SHOTS:
        task = case.target(case.density, shots)
        losses.append(task.prompt_loss)
        curves[f"head, {shots} shots"], curves[f"prompt, {shots} shots"] = task.probe.accuracy, task.prompt.accuracy
    gaps = [curves[f"head, {shots} shots"] - curves[f"prompt, {shots} shots"] for shots in digits.SHOTS]
    return Measurement(_GAP, min(gaps) if max(losses) < _FALL else math.nan, scale=1.0, extras=curves)


probe_beats_prompt = Claim(
    name="network_analysis.probe_beats_prompt",
    summary="A new linear head on a frozen network beats a trained border by far, whatever the density of the network.",
    statement=r"\mathrm{acc}_{\mathrm{head}} - \mathrm{acc}_{\mathrm{prompt}} \ge 0.1"
    r" \text{ with } 5 \text{ and with } 100 \text{ samples of a class}, \quad"
    r" L_{\mathrm{prompt}} < 0.999\, L_{\mathrm{prompt}, 0}",
    source=Source.measured(
        "digits 0 to 5 as source, 6 to 9 as target, networks of two layers of 256; published for larger ones in "
        "arXiv 2308.14969"
    ),
    verdict=WithProbability(0.9, margin=0.5),
    evaluate=_gap,
    near_miss=Reversed(),
    sweep=Sweep(
        axis="density of the source network",
        values=digits.DENSITIES,
        draw=_draw,
        trials=12,
        quick_trials=6,
        # Where the gap is smallest, and no pruning has to be paid for.
        quick_values=(1.0,),
        log="x",
        measured_label="0.1",
        bound_label="least accuracy of head minus prompt",
        y_label="accuracy on the target",
    ),
)


def _calibration(case: Transfer) -> Measurement:
    """Compare calibration errors of heads on the dense network and on its ticket, and on its features scaled.

    Sparse tickets have small features. In as many steps a head on them becomes less confident, though not less right:
    once features have unit standard deviation, or after more steps, the error is that of the dense network.
    """
    dense, task = case.target(1.0, _MANY).probe, case.target(case.density, _MANY)
    ticket, scaled = task.probe, task.scaled_probe
    found = Measurement(dense.ece, ticket.ece, scale=1.0)
    found = found.and_chain({"ticket, features scaled": scaled.ece, "0.75 of the ticket": _LESS * ticket.ece})
    # Under-confident: a temperature below 1 repairs it.
    return found.and_chain({"temperature": analysis.fit_temperature(ticket.logits, ticket.labels), "one": 1.0})


def _not_the_scale(case: Transfer) -> Measurement:
    """Expect a head on scaled features of the ticket to be worse calibrated than that of the dense network, too."""
    bad = case.target(case.density, _MANY).scaled_probe.ece
    return Measurement(case.target(1.0, _MANY).probe.ece + 0.02, bad, scale=1.0)


ticket_calibration = Claim(
    name="network_analysis.ticket_calibration",
    summary="A head on a very sparse ticket is worse calibrated than one on the dense network: its features are small.",
    statement=r"\mathrm{ECE}_{\mathrm{dense}} < \mathrm{ECE}_{\mathrm{ticket}}, \quad"
    r" \mathrm{ECE}_{\mathrm{ticket}, \mathrm{scaled}} \le 0.75\, \mathrm{ECE}_{\mathrm{ticket}}, \quad"
    r" T^\ast_{\mathrm{ticket}} < 1",
    source=Source.measured(
        "heads of 150 steps on networks for digits 0 to 5, for digits 6 to 9 with 100 samples of a class; the first "
        "part is published for larger networks in arXiv 2308.14969"
    ),
    verdict=WithProbability(0.9, margin=0.5),
    evaluate=_calibration,
    near_miss=_not_the_scale,
    sweep=Sweep(
        axis="density of the ticket",
        values=(0.03, 0.01),
        draw=_draw,
        trials=12,
        quick_trials=6,
        quick_values=(0.01,),
        log="xy",
        measured_label="calibration error, dense",
        bound_label="calibration error, ticket",
        y_label="calibration error; temperature",
    ),
)
