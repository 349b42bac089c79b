"""Every theorem of the package as one executable object.

To add a theorem, write one :class:`~sparsetheory.proofs_checks.claim.Claim` at module level anywhere below this
package; the registry finds it, and the tests, the command line and the notebooks read it.
"""

from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.registry import all_claims, all_studies, find_claims, find_experiments
from sparsetheory.proofs_checks.result import ClaimResult
from sparsetheory.proofs_checks.verdicts import Always, Attains, Judgement, ScalesAs, State, WithProbability

__all__ = [
    "Always",
    "Attains",
    "Claim",
    "ClaimResult",
    "Judgement",
    "Measurement",
    "Reversed",
    "ScalesAs",
    "Source",
    "State",
    "Sweep",
    "WithProbability",
    "all_claims",
    "all_studies",
    "find_claims",
    "find_experiments",
]
