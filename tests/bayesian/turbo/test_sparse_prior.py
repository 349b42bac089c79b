"""The prior that both estimators of Turbo-VBI take."""

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sparsetheory.bayesian import OffGridTurboVBI, SparsePrior, TurboVBI, make_clustered
from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior


@pytest.mark.parametrize("prior", ["chain_rows", "grid_belief_propagation", "grid_mean_field"])
@pytest.mark.parametrize("shape", [(1, 7), (7, 1)])
def test_a_grid_of_one_line_is_the_chain(prior, shape):
    sparse = SparsePrior(prior, activation=0.1, deactivation=0.3, grid_shape=shape)
    assert sparse.of_support(7) == ChainPrior(0.1, 0.3, (1, 7))


def test_repelling_neighbours_are_allowed_with_a_warning():
    with pytest.warns(RuntimeWarning, match=r"activation \+ deactivation = 1.4 > 1"):
        SparsePrior(activation=0.5, deactivation=0.9).of_support(7)
    assert SparsePrior("iid", activation=0.5, deactivation=0.9).of_support(7) == IndependentPrior(0.5 / 1.4)


def test_a_name_stands_for_a_support_and_all_else_by_default():
    problem = make_clustered(40, 60, random_state=0)
    for name in ("chain", "iid"):
        named, given = (TurboVBI(prior=prior).fit(problem.F, problem.y) for prior in (name, SparsePrior(name)))
        np.testing.assert_array_equal(named.coef_, given.coef_)
    assert SparsePrior.checked("iid") == SparsePrior("iid")


@pytest.mark.parametrize("estimator", [TurboVBI, OffGridTurboVBI])
def test_estimators_are_cloned_with_their_prior(estimator):
    model = estimator(prior=SparsePrior("iid", on_rate=np.ones(3)))
    assert clone(model).prior.structure == "iid"
    np.testing.assert_array_equal(clone(model).prior.on_rate, np.ones(3))
    assert "SparsePrior" in repr(model)


# A fold has fewer observations than coefficients.
@pytest.mark.filterwarnings("ignore:every coefficient is on:RuntimeWarning")
def test_priors_can_be_searched():
    problem = make_clustered(40, 60, random_state=0)
    search = GridSearchCV(TurboVBI(tol=1e-2), {"prior": ["iid", SparsePrior("iid", activation=0.3)]}, cv=2)
    assert search.fit(problem.F, problem.y).best_params_["prior"] in ("iid", SparsePrior("iid", activation=0.3))


def test_every_hyper_parameter_is_checked_by_name():
    assert {field.name for field in fields(SparsePrior)} == set(SparsePrior._constraints)
    for name in SparsePrior._constraints:
        for value in (object(), "nonsense", -3.5):
            problem = make_clustered(20, 30, random_state=0)
            with pytest.raises(ValueError, match=name):
                TurboVBI(prior=replace(SparsePrior(), **{name: value})).fit(problem.F, problem.y)


def test_priors_do_not_change():
    with pytest.raises(FrozenInstanceError):
        SparsePrior().activation = 0.5
