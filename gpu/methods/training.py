"""Methods that make weights sparse while they are trained."""

from sparsetheory.gpu.core.patterns import NM, BlockNM, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.methods.row import Method
from sparsetheory.gpu.methods.short_training import cast, progressive, pst, srste

__all__ = ["TRAINING"]

_ANY = (NM, PerRow, PerTensor, RowBlock, BlockNM)

TRAINING: tuple[Method, ...] = (
    Method(
        name="weights.cast",
        title="trained dense, decay off the masks by AdamS",
        source="Huang et al., 2509.25996",
        provenance="reconstructed",
        needs=frozenset({"calibration", "optimiser"}),
        patterns=_ANY,
        classical="lasso of growing strength off the mask",
        claims=("sparse_training.adam_s_*",),
        apply=cast,
        half_precision=False,
    ),
    Method(
        name="weights.pst",
        title="frozen weights, low-rank updates of values and scores",
        source="Li et al., 2205.11005",
        provenance="authors' code",
        needs=frozenset({"calibration", "optimiser", "hooks"}),
        patterns=(PerTensor,),
        classical="exact prices of best subset as scores",
        claims=("sparse_training.pst_*",),
        apply=pst,
    ),
    Method(
        name="weights.srste",
        title="straight-through masks, penalty on what they drop",
        source="Zhou et al., 2102.04010",
        provenance="authors' code",
        needs=frozenset({"calibration", "optimiser", "hooks"}),
        patterns=_ANY,
        classical="iterative hard thresholding, same fixed points",
        claims=(
            "sparse_training.srste_*",
            "sparse_training.ste_never_rests",
            "sparse_training.mask_changes",
            "sparse_training.sad_metric",
        ),
        apply=srste,
    ),
    Method(
        name="weights.progressive",
        title="masks that fade in during training",
        source="Bambhaniya et al., 2402.04744",
        provenance="authors' code",
        needs=frozenset({"calibration", "optimiser", "hooks"}),
        patterns=_ANY,
        classical="path to a start of iterative hard thresholding",
        claims=("sparse_training.fading_*", "sparse_training.pattern_frames"),
        apply=progressive,
    ),
    Method(
        name="weights.scl",
        title="connections with trained scores, kept where on half of the time",
        source="Tang et al., 2201.05020",
        provenance="reconstructed",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="least squares with a cost per coefficient",
        claims=("sparse_training.scl_*",),
    ),
    Method(
        name="weights.masksparsity",
        title="penalty on the scales of the channels to prune, and on no others",
        source="Jiang et al., 2201.06776",
        provenance="authors' code",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="weighted lasso",
        claims=("sparse_training.masksparsity_*",),
    ),
)
