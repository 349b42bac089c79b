"""Methods that keep few activations."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["ACTIVATIONS"]

ACTIVATIONS: tuple[Method, ...] = (
    Method(
        name="activations.prosparse",
        title="ReLU, a penalty that grows in stages, a threshold",
        source="Song et al., 2402.13516",
        provenance="paper",
        needs=frozenset({"optimiser", "hooks"}),
        patterns=(),
        classical="nonnegative l0 prox; lasso path of growing strength",
        claims=(
            "activation_sparsity.sine_stages",
            "activation_sparsity.growing_lasso",
            "activation_sparsity.fatrelu",
            "activation_sparsity.penalty_gradient",
            "activation_sparsity.skipped_rows",
            "activation_sparsity.penalised_characters",
        ),
    ),
    Method(
        name="activations.lazy_neuron",
        title="the k largest activations of each token",
        source="Li et al., 2210.06313",
        provenance="reconstructed",
        needs=frozenset(),
        patterns=(),
        classical="one step of iterative hard thresholding",
        claims=(
            "activation_sparsity.top_k",
            "activation_sparsity.hard_thresholding_step",
            "activation_sparsity.coherent_supports",
            "activation_sparsity.expected_gradients",
            "activation_sparsity.random_labels",
            "activation_sparsity.few_activations",
        ),
    ),
)
