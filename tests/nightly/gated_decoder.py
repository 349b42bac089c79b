"""What holds with a wide margin when a decoder attends to few blocks of an article: minutes, after ``make data``."""

from sparsetheory.proofs_checks.sparse_attention.gates.study import decoder_reading


def test_a_decoder_reads_on_with_the_best_blocks_and_not_with_random_ones():
    dense, _, _ = decoder_reading("dense", 0)
    found = {rule: decoder_reading(rule, 4) for rule in ("oracle", "sink and nearest", "mean-pooled", "random")}
    perplexities = {rule: one[0] for rule, one in found.items()}
    dropped = {rule: one[2] for rule, one in found.items()}
    assert dense < perplexities["oracle"] < perplexities["sink and nearest"] < perplexities["mean-pooled"]
    assert perplexities["mean-pooled"] < perplexities["random"]
    assert dropped["oracle"] < dropped["sink and nearest"] < dropped["mean-pooled"] < dropped["random"]


def test_learned_gates_are_better_than_mean_pooled_scores_in_a_decoder():
    gate, pooled = decoder_reading("gate", 4), decoder_reading("mean-pooled", 4)
    assert gate[0] < pooled[0]
    assert gate[2] < pooled[2]
