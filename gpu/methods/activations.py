"""Methods that keep few activations."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["ACTIVATIONS"]

ACTIVATIONS: tuple[Method, ...] = (
    Method(
        name="activations.rsparse",
        title="large inputs through the weight, small ones through a low rank",
        source="Zhang et al., 2504.19449",
        provenance="authors' code",
        needs=frozenset({"calibration"}),
        patterns=(),
        classical="concatenated singular value decomposition, multiple-choice knapsack, successive elimination",
        claims=("activation_sparsity.rsparse_*",),
    ),
)
