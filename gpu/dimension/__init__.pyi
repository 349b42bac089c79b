from .points.estimators import mle_dimension as mle_dimension
from .points.estimators import twonn_dimension as twonn_dimension
from .points.representations import representation_dimension as representation_dimension
from .points.scaling import ScalingLaw as ScalingLaw
from .points.scaling import fit_scaling_law as fit_scaling_law
from .points.sharpness import LabelSharpness as LabelSharpness
from .points.sharpness import label_sharpness as label_sharpness
