"""How few numbers describe what a network learns, or what it learns from."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["DIMENSION"]

DIMENSION: tuple[Method, ...] = (
    Method(
        name="dimension.subspace",
        title="training in a random subspace, and the smallest one that is enough",
        source="Li et al., 1804.08838",
        provenance="authors' code",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="sketched least squares, compressed sensing",
        claims=(
            "intrinsic_dimension.subspace_*",
            "intrinsic_dimension.needed_dimension",
            "intrinsic_dimension.sketched_least_squares",
            "intrinsic_dimension.sparse_change_measured",
        ),
    ),
    Method(
        name="dimension.said",
        title="fine-tuning in a random subspace with scales of layers, and a bound that counts bits",
        source="Aghajanyan et al., 2012.13255",
        provenance="authors' code",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="Occam bound",
        claims=(
            "intrinsic_dimension.layer_scales",
            "intrinsic_dimension.stacked_columns",
            "intrinsic_dimension.pretraining",
            "intrinsic_dimension.occam_*",
        ),
    ),
    Method(
        name="dimension.label_sharpness",
        title="dimension and label sharpness of a point cloud, with a certified radius",
        source="Konz and Mazurowski, 2401.08865",
        provenance="paper",
        needs=frozenset(),
        patterns=(),
        classical="nearest neighbours",
        claims=(
            "intrinsic_dimension.sharpness_*",
            "intrinsic_dimension.certified_radius",
            "intrinsic_dimension.sharp_labels_are_fragile",
            "intrinsic_dimension.cube_dimension",
        ),
    ),
)
