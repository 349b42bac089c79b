from .minilm import load_minilm as load_minilm
from .text import TextModel as TextModel
from .text import sentence_embeddings as sentence_embeddings
