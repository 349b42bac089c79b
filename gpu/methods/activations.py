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
    Method(
        name="activations.sparsing_law",
        title="neurons within one output error (CETT), and within a rise of perplexity",
        source="Luo et al., 2411.02335",
        provenance="authors' code",
        needs=frozenset({"calibration", "hooks"}),
        patterns=(),
        classical="sparse approximation of the output: matching pursuit, refit, lasso",
        claims=(
            "activation_sparsity.cett_*",
            "activation_sparsity.refit_never_worse",
            "activation_sparsity.magnitude_slack",
            "activation_sparsity.ppl_sparsity_grows",
            "activation_sparsity.law_limit",
        ),
    ),
    Method(
        name="activations.delta",
        title="activations on a grid in time, computed from their changes",
        source="Yousefzadeh and Sifalakis, 2107.07305",
        provenance="authors' code",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="total variation: lasso on differences in time",
        claims=("activation_sparsity.delta_*", "activation_sparsity.quantised_*"),
    ),
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
