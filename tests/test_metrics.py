"""Scores against scikit-learn, and against figures worked out by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from ser_cache import metrics

labels = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.just(k),
        st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60),
    )
)


@settings(max_examples=150, deadline=None)
@given(labels)
def test_every_score_agrees_with_scikit_learn(drawn):
    k, pairs = drawn
    truth, predicted = np.array(pairs).T
    ours = metrics.score(truth, predicted, [str(i) for i in range(k)])
    everything = {"labels": list(range(k)), "zero_division": 0}
    precision, recall, f1, support = reference.precision_recall_fscore_support(truth, predicted, **everything)
    np.testing.assert_allclose(ours.precision, precision, atol=1e-12)
    np.testing.assert_allclose(ours.recall, recall, atol=1e-12)
    np.testing.assert_allclose(ours.f1, f1, atol=1e-12)
    assert ours.support.tolist() == support.tolist()
    assert ours.macro_f1 == pytest.approx(reference.f1_score(truth, predicted, average="macro", **everything))
    weighted = reference.f1_score(truth, predicted, average="weighted", **everything)
    assert ours.weighted_f1 == pytest.approx(weighted)
    assert ours.wa == pytest.approx(reference.accuracy_score(truth, predicted))
    with warnings.catch_warnings():  # it warns of predictions that the truth lacks, which is meant here
        warnings.simplefilter("ignore")
        assert ours.ua == pytest.approx(reference.balanced_accuracy_score(truth, predicted))
    np.testing.assert_array_equal(
        ours.confusion, reference.confusion_matrix(truth, predicted, labels=list(range(k)))
    )
    present = np.unique(truth)
    fold = metrics.score(truth, predicted, [str(i) for i in range(k)], present_only=True)
    assert fold.macro_f1 == pytest.approx(
        reference.f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    )


def test_golden_numbers():
    truth = [0, 0, 0, 0, 1, 1, 1, 2]
    predicted = [0, 0, 0, 1, 1, 1, 0, 2]
    ours = metrics.score(truth, predicted, ["anger", "fear", "neutral", "sadness"])
    assert ours.wa == 6 / 8
    assert ours.ua == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)  # sadness is absent from the truth
    np.testing.assert_allclose(ours.f1, [3 / 4, 2 / 3, 1, 0])
    assert ours.macro_f1 == pytest.approx((3 / 4 + 2 / 3 + 1 + 0) / 4)
    assert ours.weighted_f1 == pytest.approx((4 * 3 / 4 + 3 * 2 / 3 + 1) / 8)
    fold = metrics.score(truth, predicted, ["anger", "fear", "neutral", "sadness"], present_only=True)
    assert fold.macro_f1 == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)


def test_leading_axes_score_each_matrix_alone():
    counts = np.random.default_rng(0).integers(0, 5, size=(3, 4, 5, 5))
    counts[0, 0, 2] = 0
    for function in (
        metrics.accuracy,
        metrics.unweighted_average_recall,
        metrics.macro_f1,
        metrics.weighted_f1,
        metrics.f1_per_class,
    ):
        together = function(counts)
        for index in np.ndindex(3, 4):
            np.testing.assert_array_equal(together[index], function(counts[index]))


@pytest.mark.parametrize(("truth", "predicted"), [([0, 3], [0, 0]), ([0, -1], [0, 0]), ([0], [0, 1])])
def test_numbers_outside_the_classes_are_refused(truth, predicted):
    with pytest.raises(ValueError, match=r"outside|must both"):
        metrics.confusion_matrix(truth, predicted, 3)


def test_no_utterances_score_zero():
    empty = metrics.score([], [], ["anger", "fear"])
    assert (empty.wa, empty.ua, empty.macro_f1, empty.weighted_f1) == (0, 0, 0, 0)
