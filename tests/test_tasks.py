"""What is said of a corpus before a score on it is believed, whoever trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_up_features import Features, utterances

from ser_cache.baselines import BaselineOptions, baseline
from ser_cache.cross_corpus import cross
from ser_cache.emotions import EmotionChoice, choose_emotions
from ser_cache.joined_features import JoinedFeatures
from ser_cache.manifest import Manifest
from ser_cache.splits import SplitOptions
from ser_cache.tasks import prepare, prepare_across

CUT = "15 of 45 clips are exactly 2.000 s, all of them in fear"


def corpus(name: str, cut: str = "") -> tuple[Manifest, Features]:
    """A corpus in which all clips of one emotion were cut to 2 s."""
    clips = tuple(
        replace(clip, samples=32_000 if clip.emotion == cut else 33_000 + 7 * number)
        for number, clip in enumerate(utterances())
    )
    features = Features(clips)
    features.corpus = name
    return Manifest(name, clips), features


def leaks(warnings: tuple[str, ...]) -> list[str]:
    return [line for line in warnings if "length alone" in line]


def test_lengths_that_give_emotions_away_are_told_with_every_score() -> None:
    manifest, features = corpus("cut", "fear")
    (line,) = leaks(prepare(features, manifest, SplitOptions("loso")).warnings)
    assert line.startswith(CUT)
    assert line.endswith("see: ser audit --corpus cut")
    whole, features = corpus("whole")
    assert leaks(prepare(features, whole, SplitOptions("loso")).warnings) == []


def test_a_choice_of_emotions_without_those_that_were_cut_needs_no_warning() -> None:
    manifest, _ = corpus("cut", "fear")
    for emotions, warned in (("anger,neutral", 0), ("anger,fear", 1)):
        chosen = choose_emotions(manifest, EmotionChoice.parse(emotions))
        task = prepare(Features(chosen.utterances), chosen, SplitOptions("loso"))
        assert len(leaks(task.warnings)) == warned


@pytest.mark.parametrize(("seconds", "warned"), [(None, 1), (6, 1), (2.0, 0)])
def test_features_of_the_first_two_seconds_alone_need_none(seconds: float | None, warned: int) -> None:
    manifest, features = corpus("cut", "fear")
    features.origin = {"features": {"family": "toy", "max_seconds": seconds}, "storage": {}}
    assert len(leaks(prepare(features, manifest, SplitOptions("loso")).warnings)) == warned


@pytest.mark.parametrize(("trained_on", "warned"), [("cut", 1), ("whole", 0)])
def test_across_corpora_what_is_trained_on_counts(trained_on: str, warned: int) -> None:
    known = {"cut": corpus("cut", "fear"), "whole": corpus("whole")}
    (tested_on,) = known.keys() - {trained_on}
    crossing = cross([known[trained_on][0]], [known[tested_on][0]])
    joined = JoinedFeatures([known[trained_on][1], known[tested_on][1]])
    found = leaks(prepare_across(joined, crossing, SplitOptions()).warnings)
    assert len(found) == warned
    assert all(line.startswith(f"cut, which is trained on: {CUT}") for line in found)


def test_baselines_say_it_too_and_of_runs_that_are_reused(tmp_path: Path) -> None:
    manifest, features = corpus("cut", "fear")
    options = BaselineOptions(classifiers=("logreg",), split=SplitOptions("loso"))
    for _ in range(2):
        (summary,) = baseline(features, manifest, options, tmp_path)
        assert len(leaks(summary.warnings)) == 1
    assert summary.reused
