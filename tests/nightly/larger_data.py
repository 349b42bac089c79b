"""What holds with a wide margin on MNIST, on photographs and in a language model: minutes, after ``make data``.

The studies of the same names report all figures; here are those that must not change their sign.
"""

from sparsetheory.proofs_checks.sparse_training.straight_through.training_runs import with_penalty
from sparsetheory.proofs_checks.weight_structure.decoder_perplexity import pruned_perplexity
from sparsetheory.proofs_checks.weight_structure.photograph_agreement import pruned_agreement
from sparsetheory.proofs_checks.weight_structure.sparse_digits import MNIST, accuracies

MNIST_LOADER = "load_mnist_5k"


def test_random_masks_on_mnist_come_closer_to_dense_networks_with_width():
    found = {width: {rule: one.mean() for rule, one in accuracies(width, MNIST).items()} for width in (16, 64, 256)}
    gaps = [one["dense"] - one["er"] for one in found.values()]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.1
    assert all(found[width]["er"] > found[width]["uniform"] for width in (64, 256))


def test_the_penalty_calms_masks_on_mnist_in_every_network():
    stirred, plain, calmed = (with_penalty(alpha, 40, MNIST_LOADER).changes.sum(0) for alpha in (-2e-3, 0.0, 2e-3))
    assert (stirred > 2 * plain).all()
    assert (calmed < plain).all()


def test_a_network_for_photographs_has_little_that_is_free():
    five, half = pruned_agreement("global", 0.05), pruned_agreement("global", 0.5)
    assert five > 0.9
    assert half < 0.5
    assert pruned_agreement("random", 0.05) < five


def test_a_decoder_reads_on_without_its_smallest_weights_but_not_without_random_ones():
    dense = pruned_perplexity("global", 0.0)
    assert dense < 30
    assert pruned_perplexity("global", 0.1) < 1.1 * dense
    assert pruned_perplexity("random", 0.1) > 1.5 * dense
    assert pruned_perplexity("wanda", 0.5) < 0.5 * pruned_perplexity("layer", 0.5)
