import numpy as np

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.arms import references
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.feedback import film_feedback
from sparsetheory.proofs_checks.dynamic_sparsity.embeddings.recommenders import Recipe, Recommender, greedy_start


def test_films(needs):
    needs("recbole")
    feedback = film_feedback()
    assert feedback.train.shape == (943, 1682)
    assert (feedback.test.sum(1) <= 1).all()
    assert feedback.train.sum() + feedback.test.sum() == 55_375
    found = references(feedback)
    # Without training: 0.13, and 0.20.
    assert 0.11 < found["popularity"][0] < 0.15 < 0.17 < found["PureSVD of rank 8"][0] < 0.23
    recipe = Recipe(n_steps=300, batch_size=1024)
    moving, fixed = (Recommender(feedback, 0, recipe, 0.25, growth) for growth in ("accumulated", None))
    assert moving.recall > fixed.recall
    assert moving.popularity_correlation > 0.4 > fixed.popularity_correlation
    # Least squares alone, with a quarter of the entries: 0.16 at 0.2.
    users, items = greedy_start(feedback, 0.25)
    assert dynamic.recall_ndcg(users @ items.T, *feedback.tensors)[0] > 0.13
    rows = np.argsort(feedback.degrees)
    assert int((items[rows[-100:]] != 0).sum()) > 20 * int((items[rows[:100]] != 0).sum())
