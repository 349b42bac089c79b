from .layers.conv import BayesConv2d as BayesConv2d
from .layers.conversion import bayesianise as bayesianise
from .layers.linear import BayesLinear as BayesLinear
from .layers.variational import VariationalLayer as VariationalLayer
