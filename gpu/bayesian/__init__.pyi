from .layers.conv import BayesConv2d as BayesConv2d
from .layers.conversion import bayesianise as bayesianise
from .layers.linear import BayesLinear as BayesLinear
from .layers.variational import VariationalLayer as VariationalLayer
from .subspace.addition_scores import addition_score as addition_score
from .subspace.folded_normal import FoldedMoments as FoldedMoments
from .subspace.folded_normal import folded_normal_moments as folded_normal_moments
from .subspace.removal_scores import removal_score as removal_score
