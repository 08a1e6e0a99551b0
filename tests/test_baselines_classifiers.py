"""Classical classifiers that share work among candidates: against scikit-learn one by one."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import ParameterGrid
from small_baselines import THEIRS, sides

from ser_cache.baselines import CLASSIFIERS, protocol_named
from ser_cache.baselines import classifiers as classifiers_module
from ser_cache.baselines.classifiers import Classifier, Effort, Outcome, kernel_matrix
from ser_cache.baselines.grid_search import search_grid


def test_the_grids_are_those_of_the_study():
    assert CLASSIFIERS["rf"].grid == {
        "n_estimators": (100, 200, 300),
        "max_depth": (10, 20),
        "min_samples_split": (2, 5, 10),
        "min_samples_leaf": (1, 2, 4),
    }
    assert CLASSIFIERS["svm"].grid == {
        "C": (0.1, 1, 10, 100),
        "gamma": (1, 0.1, 0.01, 0.001),
        "kernel": ("rbf", "poly", "sigmoid"),
    }
    followed = protocol_named("wang2023")
    assert (followed.folds, followed.inner, followed.select) == (5, "stratified", "accuracy")
    assert followed.ratios[0] + followed.ratios[1] == pytest.approx(0.7)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_candidates_come_in_the_order_of_scikit_learn(name):
    grid = CLASSIFIERS[name].grid
    theirs = list(ParameterGrid({key: list(values) for key, values in grid.items()}))
    assert CLASSIFIERS[name].candidates == theirs


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.usefixtures("small_grids")
def test_candidates_that_share_work_score_as_they_do_alone(name, classes):
    kind, data = CLASSIFIERS[name], sides(classes)
    for candidate in kind.candidates:
        fixed = {key: value for key, value in candidate.items() if key != kind.shared}
        values = kind.grid[kind.shared]
        outcomes = kind.evaluate(data, fixed, values, Effort(0, 100_000, threads=2))
        alone = type(THEIRS[name])(**{**THEIRS[name].get_params(), **candidate})
        alone.fit(data.train, data.labels)
        ours = outcomes[values.index(candidate[kind.shared])]
        if name == "svm":
            theirs = alone.decision_function(data.test)
            theirs = np.stack([-theirs, theirs], axis=1) if classes == 2 else theirs
            # The kernel is summed in another order, and the solver stops within its tolerance of 1e-3.
            np.testing.assert_allclose(ours.scores, theirs, atol=2e-3)
        else:
            np.testing.assert_array_equal(ours.scores, alone.predict_proba(data.test))
        np.testing.assert_array_equal(ours.scores.argmax(axis=1), alone.predict(data.test))
        assert not ours.stopped


@pytest.mark.parametrize("kernel", CLASSIFIERS["svm"].grid["kernel"])
def test_kernels_are_those_of_scikit_learn(kernel):
    from sklearn.metrics.pairwise import pairwise_kernels

    data, settings_ = sides(), {"gamma": 0.3}
    if kernel != "rbf":
        settings_["coef0"] = 0
    theirs = pairwise_kernels(data.test, data.train, metric=kernel, **settings_)
    np.testing.assert_allclose(kernel_matrix(data.test, data.train, kernel, 0.3), theirs, atol=1e-12)


@pytest.mark.usefixtures("small_grids")
def test_a_kernel_too_large_to_hold_changes_no_prediction(monkeypatch):
    kind, data = CLASSIFIERS["svm"], sides()
    fixed = {"kernel": "rbf", "gamma": 0.1}
    whole = kind.evaluate(data, fixed, (0.1, 10), Effort())
    monkeypatch.setattr(classifiers_module, "LARGEST_KERNEL", 10)
    rows = kind.evaluate(data, fixed, (0.1, 10), Effort())
    for one, other in zip(whole, rows, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=2e-3)
        np.testing.assert_array_equal(one.scores.argmax(axis=1), other.scores.argmax(axis=1))


def test_forests_that_are_grown_once_are_equal():
    data, settled = sides(), CLASSIFIERS["rf"].settled
    params = [{"min_samples_leaf": 4, "min_samples_split": split, "max_depth": 10} for split in (2, 5, 10)]
    assert settled(params[0]) == settled(params[1]) != settled(params[2])
    forests = [
        RandomForestClassifier(20, random_state=0, **one).fit(data.train, data.labels) for one in params[:2]
    ]
    np.testing.assert_array_equal(*(forest.predict_proba(data.test) for forest in forests))


def test_each_inner_fold_is_scaled_by_what_is_trained_on_there_alone():
    seen = []

    def look(sides_, _fixed, values, _effort):
        seen.append(sides_)
        return [Outcome(np.zeros((len(sides_.test), sides_.classes))) for _ in values]

    kind = Classifier("looker", "", {"nothing": (1,)}, "nothing", look, "")
    points = np.random.default_rng(0).normal(size=(30, 4)) * [1, 10, 100, 0.1] + 7
    fold_of = np.arange(30) % 3
    points[fold_of == 2] *= 5
    search_grid(kind, points, fold_of % 2, fold_of, 2, "accuracy", Effort(), 1)
    assert len(seen) == 3
    for fold, one in enumerate(seen):
        own, held_out = points[fold_of != fold], points[fold_of == fold]
        np.testing.assert_allclose(one.train, (own - own.mean(axis=0)) / own.std(axis=0))
        np.testing.assert_allclose(one.test, (held_out - own.mean(axis=0)) / own.std(axis=0))
