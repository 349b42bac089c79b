from .docstrings import Docstrings as Docstrings
from .docstrings import load_docstrings as load_docstrings
