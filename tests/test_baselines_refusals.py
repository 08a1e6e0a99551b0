"""Corpora too poor for a baseline: one line each."""

import numpy as np
import pytest
from small_baselines import chosen, corpus

from ser_cache.baselines import baseline
from ser_cache.errors import SerCacheError
from ser_cache.manifest import Manifest


def one_speaker(features, manifest):
    return features, Manifest("toy", tuple(u for u in manifest.utterances if u.speaker == "s0"))


def not_finite(features, manifest):
    features.states[5][2, 0, 3] = np.nan
    return features, manifest


def constant(features, manifest):
    for states in features.states:
        states[:] = 1
    return features, manifest


def one_emotion(features, manifest):
    return features, Manifest("toy", tuple(u for u in manifest.utterances if u.emotion == "fear"))


def one_each(features, manifest):
    seen = {u.emotion: u for u in manifest.utterances}
    return features, Manifest("toy", tuple(seen.values()))


def few_of_one(features, manifest):
    fear = [u for u in manifest.utterances if u.emotion == "fear"]
    return features, Manifest("toy", tuple(u for u in manifest.utterances if u not in fear[2:]))


def three_speakers(features, manifest):
    kept = {"s0", "s1", "s2"}
    fear = {"s0"}
    return features, Manifest(
        "toy",
        tuple(
            u
            for u in manifest.utterances
            if u.speaker in kept and (u.emotion == "anger" or u.speaker in fear)
        ),
    )


@pytest.mark.parametrize(
    ("spoil", "protocol", "told"),
    [
        (one_speaker, "classical", "needs at least 3 speakers, and there are 1 (s0)"),
        (not_finite, "classical", "s0-fear-1: values that are not finite"),
        (constant, "wang2023", "all 72 utterances have the same features, which tell no emotions apart"),
        (one_emotion, "wang2023", "toy has the one emotion fear"),
        (one_each, "wang2023", "no utterance is left for the validation side"),
        (few_of_one, "wang2023", "2 inner folds instead of 5: fear has no more utterances to train on"),
        (three_speakers, "classical", "has no training utterance of fear, neutral"),
    ],
)
@pytest.mark.usefixtures("small_grids")
def test_a_corpus_too_poor_is_one_line(spoil, protocol, told, tmp_path):
    features, manifest = spoil(*corpus())
    known = {u.id for u in manifest.utterances}
    kept = [place for place, id_ in enumerate(features.ids) if id_ in known]
    features.ids = tuple(features.ids[place] for place in kept)
    features.states = [features.states[place] for place in kept]
    try:
        (summary,) = baseline(features, manifest, chosen("knn", protocol=protocol), tmp_path)
    except SerCacheError as error:
        lines = [str(error)]
        assert not list(tmp_path.iterdir())
    else:
        lines = list(summary.warnings)
    assert any(told in line for line in lines), lines
    assert all("\n" not in line for line in lines)
