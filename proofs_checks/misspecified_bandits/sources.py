"""The papers that claims cite; each name takes the item, such as "abstract", and returns the source."""

from functools import partial

from sparsetheory.proofs_checks.claim import Source

__all__ = ["dong_yang", "du_kakade", "hao", "lattimore"]

dong_yang = partial(
    Source, "Dong, Yang, Does Sparsity Help in Learning Misspecified Linear Bandits? (ICML 2023)", arxiv="2303.16998"
)
du_kakade = partial(
    Source,
    "Du, Kakade, Wang, Yang, Is a Good Representation Sufficient for Sample Efficient Reinforcement Learning?"
    " (ICLR 2020)",
    arxiv="1910.03016",
)
lattimore = partial(
    Source,
    "Lattimore, Szepesvari, Weisz, Learning with Good Feature Representations in Bandits and in RL with a Generative"
    " Model (ICML 2020)",
    arxiv="1911.07676",
)
hao = partial(Source, "Hao, Lattimore, Wang, High-Dimensional Sparse Linear Bandits (NeurIPS 2020)", arxiv="2011.04020")
