from .certificate import LayerwiseCertificate as LayerwiseCertificate
from .layerwise import LayerwiseResult as LayerwiseResult
from .layerwise import layerwise_prune as layerwise_prune
from .layerwise import relative_error as relative_error
from .model_pruning import FewRowsWarning as FewRowsWarning
from .model_pruning import prune_model_layerwise as prune_model_layerwise
