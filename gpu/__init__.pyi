from . import core as core
from . import dynamic as dynamic
from . import solvers as solvers
from . import weights as weights
