"""Claims about the torch floor are listed where torch is missing, and then count as not run."""

import json
import subprocess
import sys

_HIDDEN = """
import json, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
"""


def _run(code):
    done = subprocess.run([sys.executable, "-c", _HIDDEN + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_claims_and_studies_are_listed_without_torch():
    names = [
        line.split("\t")[0]
        for line in _run(
            "from sparsetheory.cli import app\napp(['list', 'layerwise_pruning.*', '--plain'], standalone_mode=False)"
        ).splitlines()
    ]
    assert {"layerwise_pruning.swap_price", "layerwise_pruning.held_out_error", "layerwise_pruning.encoder_layers"} <= {
        *names
    }


def test_without_torch_claims_are_not_run_and_name_the_extra():
    code = """
from sparsetheory.experiments.sweep import run_claim
from sparsetheory.experiments.trial import MissingExtraError
from sparsetheory.experiments.workers import check_instances
from sparsetheory.proofs_checks import Always, find_claims

found = {}
# One for each room of the floor, one that trains, and one on a pretrained model.
pruning = [f"layerwise_pruning.{name}" for name in ("nm_ties", "drop_price", "twin_prox", "held_out_error")]
rewiring = [f"dynamic_sparsity.{name}" for name in ("diagonal_scores", "update_gate")]
for claim in find_claims(pruning + rewiring):
    if isinstance(claim.verdict, Always):
        judgement, _ = check_instances(claim, 1)
        found[claim.name] = [judgement.state, judgement.evidence]
    else:
        try:
            found[claim.name] = ["run", str(run_claim(claim, profile="quick").verdict)]
        except MissingExtraError as error:
            found[claim.name] = ["not run", str(error)]
print(json.dumps(found))
"""
    found = json.loads(_run(code))
    assert len(found) == 6
    for name, (state, evidence) in found.items():
        assert state == "not run", (name, evidence)
        assert "sparsetheory[gpu]" in evidence, (name, evidence)


def test_listing_claims_does_not_load_torch():
    code = "import sys; from sparsetheory.proofs_checks import all_claims; all_claims(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
