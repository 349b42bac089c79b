from .projections.dense import DenseProjection as DenseProjection
from .projections.fastfood import FastfoodProjection as FastfoodProjection
from .projections.hadamard import fwht as fwht
from .projections.projection import Projection as Projection
from .projections.sparse import SparseProjection as SparseProjection
