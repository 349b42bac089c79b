from .matching_pursuit import omp_gram as omp_gram
from .proximal import prox as prox
