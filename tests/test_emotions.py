"""Choices of emotions: how they are typed, what they make of a manifest, and what a run is called after."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_features import utterances

from ser_cache.emotions import (
    EmotionChoice,
    check_known,
    choose_emotions,
    common_emotions,
    emotions_text,
    likely_slips,
)
from ser_cache.errors import ManifestError, SettingsError, UnknownNameError
from ser_cache.manifest import Manifest, validate

WORDS = st.sampled_from(["anger", "calm", "fear", "happiness", "mild fear", "neutral", "sadness", "surprise"])


def manifest(*emotions: str, corpus: str = "toy") -> Manifest:
    return Manifest(corpus, utterances(2, 2, emotions))


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("anger,fear", {"anger": ("anger",), "fear": ("fear",)}),
        (" fear , anger ", {"anger": ("anger",), "fear": ("fear",)}),
        ("neutral=neutral+calm,anger", {"anger": ("anger",), "neutral": ("calm", "neutral")}),
        ("positive = happiness , mild fear", {"mild fear": ("mild fear",), "positive": ("happiness",)}),
        ("a=anger+anger,fear", {"a": ("anger",), "fear": ("fear",)}),
    ],
)
def test_a_choice_is_read_whatever_its_order_and_spaces(text, classes):
    assert EmotionChoice.parse(text).classes == classes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no class"),
        ("anger,", "no class"),
        ("anger,,fear", "no class"),
        ("=anger,fear", "no class"),
        ("anger=,fear", "no class"),
        ("anger+fear,neutral", "no class"),
        ("neutral=neutral++calm,anger", "no class"),
        ("anger", "a classifier needs two or more"),
        ("anger,anger", "the class anger stands there twice"),
        ("anger,b=anger+fear", "anger is in anger and in b; choose one"),
        ("Anger,fear", "'Anger' is not in lower-case words"),
        ("anger,fear=f3ar", "'f3ar' is not in lower-case words"),
        ("anger,a=b=c", "'b=c' is not in lower-case words"),
    ],
)
def test_what_is_no_choice_is_refused_in_a_line(text, says):
    with pytest.raises(SettingsError) as caught:
        EmotionChoice.parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.dictionaries(WORDS, WORDS, min_size=2).filter(lambda found: len(set(found.values())) > 1))
def test_a_choice_is_typed_as_it_reads_and_a_map_says_the_same(class_of):
    choice = EmotionChoice.from_map(class_of)
    assert EmotionChoice.parse(str(choice)) == choice
    assert choice.emotions == tuple(sorted(class_of))
    assert {e: name for name, members in choice.classes.items() for e in members} == class_of


@settings(deadline=None)
@given(st.dictionaries(WORDS, WORDS, min_size=2).filter(lambda found: len(set(found.values())) > 1))
def test_nothing_is_lost_but_what_is_counted_as_left_out(class_of):
    whole = manifest("anger", "calm", "fear", "happiness", "mild fear", "neutral", "sadness", "surprise")
    chosen = choose_emotions(whole, EmotionChoice.from_map(class_of))
    kept = {u.id: u.emotion for u in chosen.utterances}
    for utterance in whole.utterances:
        assert kept.get(utterance.id) == class_of.get(utterance.emotion)
    gone = Counter(u.emotion for u in whole.utterances if u.id not in kept)
    assert dict(chosen.left_out) == gone
    assert [u.id for u in chosen.utterances] == [u.id for u in whole.utterances if u.id in kept]
    for utterance in chosen.utterances:
        original = next(u for u in whole.utterances if u.id == utterance.id)
        assert replace(utterance, emotion=original.emotion) == original


def test_a_restricted_manifest_is_a_manifest():
    rows = tuple(replace(u, path=f"{u.id}.wav", sha256="0" * 64) for u in utterances(2, 2))
    chosen = choose_emotions(
        Manifest("toy", tuple(sorted(rows, key=lambda u: u.id))), EmotionChoice.parse("x=anger,fear")
    )
    validate(chosen)
    assert chosen.emotions == ("fear", "x")
    assert chosen.summary == "12 utterances: 8 of the 2 emotions, 4 left out (neutral 4)"


def test_a_corpus_without_a_class_says_what_it_has():
    with pytest.raises(ManifestError) as caught:
        choose_emotions(manifest("anger", "fear"), EmotionChoice.parse("anger,boredom,guilt"))
    assert str(caught.value) == (
        "toy has no boredom and no guilt; it has anger 4, fear 4: choose among these with --emotions."
    )


def test_a_class_needs_one_of_its_emotions_and_no_more():
    chosen = choose_emotions(manifest("anger", "neutral"), EmotionChoice.parse("anger,neutral=neutral+calm"))
    assert chosen.emotions == ("anger", "neutral")
    assert chosen.summary == "8 utterances: 8 of the 2 emotions, none left out"


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        ("anger,fear,neutral", ""),
        ("neutral=neutral+calm,fear,anger", ""),
        ("anger,fear", "anger,fear"),
        ("anger,fear=calm+fear", "anger,fear"),
        ("rest=fear+neutral,anger", "anger,rest=fear+neutral"),
        ("a=anger,fear,neutral", "a=anger,fear,neutral"),
    ],
)
def test_a_run_is_called_after_what_the_choice_comes_to(typed, recorded):
    chosen = choose_emotions(manifest("anger", "fear", "neutral"), EmotionChoice.parse(typed))
    assert emotions_text(chosen.made_of) == recorded


def test_common_emotions_are_those_of_all_corpora():
    three = [
        manifest("anger", "fear", "calm", corpus="a"),
        manifest("anger", "fear", "sadness", corpus="b"),
        manifest("anger", "fear", "neutral", corpus="c"),
    ]
    assert str(common_emotions(three)) == "anger,fear"
    with pytest.raises(SettingsError, match=r"no emotion in common \(a: anger, calm, fear; d: guilt, love\)"):
        common_emotions([three[0], manifest("guilt", "love", corpus="d")])
    with pytest.raises(SettingsError, match="only the emotion anger in common"):
        common_emotions([three[0], manifest("anger", "guilt", corpus="d")])


def test_a_slip_is_not_taken_for_an_emotion_that_a_corpus_lacks():
    choice = EmotionChoice.parse("anger,neutral=neutral+clam")
    with pytest.raises(UnknownNameError, match=r"unknown emotion 'clam'\. Did you mean 'calm'"):
        check_known(choice, [manifest("anger", "calm")])
    check_known(EmotionChoice.parse("anger,neutral=neutral+calm"), [manifest("anger", "neutral")])
    check_known(EmotionChoice.parse("anger,bliss"), [manifest("anger", "bliss")])


@pytest.mark.parametrize(
    ("emotions", "slips"),
    [
        (("anger", "fear"), {}),
        (("anger", "fear", "excitement"), {}),
        (("hapiness", "happiness"), {"hapiness": (4, "happiness")}),
        (("anger", "digust"), {"digust": (4, "disgust")}),
        (("angry", "neutral"), {"angry": (4, "anger")}),
    ],
)
def test_an_emotion_written_nearly_like_a_usual_one_is_a_likely_slip(emotions, slips):
    assert likely_slips(manifest(*emotions)) == slips


def test_of_two_unusual_emotions_written_alike_the_rarer_is_the_likely_slip():
    common, rare = manifest("excitement", "anger"), manifest("excitment")
    rows = (*common.utterances, *(replace(u, id=f"z{u.id}") for u in rare.utterances[:2]))
    assert likely_slips(Manifest("toy", rows)) == {"excitment": (2, "excitement")}
