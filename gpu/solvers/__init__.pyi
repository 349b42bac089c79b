from .codes import Encoding as Encoding
from .codes import encode as encode
from .matching_pursuit import omp_gram as omp_gram
from .proximal import prox as prox
