from .layers.conv import BayesConv2d as BayesConv2d
from .layers.conversion import bayesianise as bayesianise
from .layers.linear import BayesLinear as BayesLinear
from .layers.variational import VariationalLayer as VariationalLayer
from .turbo.layout import WeightGrid as WeightGrid
from .turbo.network import NetworkTurboVBI as NetworkTurboVBI
from .turbo.prior import WeightPrior as WeightPrior
