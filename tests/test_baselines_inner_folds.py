"""Inner folds: whole speakers or even shares of each emotion, and what cannot be divided."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_features import utterances

from ser_cache.baselines import CLASSIFIERS
from ser_cache.baselines.classifiers import Effort
from ser_cache.baselines.grid_search import search_grid
from ser_cache.baselines.inner_folds import inner_folds, shortage
from ser_cache.errors import TrainingError


@given(
    counts=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    folds=st.integers(2, 6),
    seed=st.integers(0, 3),
)
@settings(max_examples=15, deadline=None)
def test_inner_folds_hold_whole_speakers_out(counts, folds, seed):
    made = [u for n, many in enumerate(counts) for u in utterances(n + 1, many) if u.speaker == f"s{n}"]
    fold_of, note = inner_folds(made, "speakers", folds, seed), shortage(made, "speakers", folds)
    speakers = [u.speaker for u in made]
    assert len(set(zip(speakers, fold_of.tolist(), strict=True))) == len(counts)
    assert set(fold_of.tolist()) == set(range(min(folds, len(counts))))
    assert bool(note) is (len(counts) < folds)
    turned = inner_folds(made[::-1], "speakers", folds, seed)
    np.testing.assert_array_equal(turned[::-1], fold_of)


@given(
    counts=st.lists(st.integers(2, 23), min_size=2, max_size=5),
    folds=st.integers(2, 6),
    seed=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_stratified_inner_folds_share_each_emotion_evenly(counts, folds, seed):
    one = utterances(1, 1)[0]
    made = [
        replace(one, id=f"{e}-{n}", emotion=f"e{e}") for e, many in enumerate(counts) for n in range(many)
    ]
    fold_of, note = inner_folds(made, "stratified", folds, seed), shortage(made, "stratified", folds)
    made_folds = min(folds, *counts)
    assert bool(note) is (made_folds < folds)
    table = np.zeros((len(counts), made_folds), dtype=int)
    np.add.at(table, ([int(u.emotion[1:]) for u in made], fold_of), 1)
    assert np.ptp(table, axis=1).max() <= 1
    assert np.ptp(table.sum(axis=0)) <= 1
    turned = inner_folds(made[::-1], "stratified", folds, seed)
    np.testing.assert_array_equal(turned[::-1], fold_of)


@pytest.mark.usefixtures("small_grids")
def test_an_emotion_that_an_inner_fold_has_not_is_never_predicted_there():
    labels = np.repeat([0, 1, 2], [20, 20, 4])
    points = np.random.default_rng(0).normal(size=(44, 3)) + labels[:, None]
    fold_of = np.tile([0, 1], 22)
    fold_of[40:] = 0  # fold 0 holds out all that there is of class 2
    for name in CLASSIFIERS:
        found = search_grid(CLASSIFIERS[name], points, labels, fold_of, 3, "accuracy", Effort(), 1)
        assert np.isfinite(found.scores).all()
        assert found.scores[:, 0].max() <= 20 / 24


def test_inner_folds_that_cannot_be_are_one_line():
    one = utterances(1, 3)
    with pytest.raises(TrainingError, match="s0 is the only speaker to train on"):
        inner_folds(one, "speakers", 5, 0)
    with pytest.raises(TrainingError, match="fear has 1 utterance to train on"):
        inner_folds([u for u in one if u.id not in ("s0-fear-0", "s0-fear-1")], "stratified", 5, 0)
    apart = [u for u in utterances(2, 3) if (u.emotion == "anger") is (u.speaker == "s0")]
    with pytest.raises(TrainingError, match="its inner fold 0 the training side has one emotion, neutral"):
        inner_folds([u for u in apart if u.emotion != "fear"], "speakers", 5, 0)
