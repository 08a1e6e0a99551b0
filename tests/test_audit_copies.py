"""Copies are found whatever was done to them, and nothing else is: fingerprints, their search, groups."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_speech import speech

from ser_cache.audio import Original, Recording
from ser_cache.audit.acoustics import Measurement, measure
from ser_cache.audit.copies import find_copies
from ser_cache.audit.fingerprints import fingerprint
from ser_cache.audit.matching import MatchOptions, compare, matches, proposals
from ser_cache.manifest import Utterance


def coded(clip: np.ndarray, rate: int = 16_000, **format_: str) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(clip, 16_000, rate) if rate != 16_000 else clip, rate, **format_)
    file.seek(0)
    read, _ = soundfile.read(file, dtype="float32")
    return soxr.resample(read, rate, 16_000) if rate != 16_000 else read


def noisy(clip: np.ndarray, decibels: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=len(clip)) * clip.std() * 10 ** (-decibels / 20)
    return (clip + noise).astype("f4")


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "16 bits": lambda clip: coded(clip, format="FLAC", subtype="PCM_16"),
    "20 dB quieter": lambda clip: coded(clip * 0.1, format="WAV", subtype="PCM_16"),
    "12 dB louder and clipped": lambda clip: np.clip(clip * 4, -1, 1),
    "MP3": lambda clip: coded(clip, format="MP3"),
    "Vorbis": lambda clip: coded(clip, format="OGG", subtype="VORBIS"),
    "mu-law": lambda clip: coded(clip, format="WAV", subtype="ULAW"),
    "a telephone line": lambda clip: coded(clip, 8000, format="WAV", subtype="ULAW"),
    "44.1 kHz and back": lambda clip: coded(clip, 44_100, format="WAV", subtype="PCM_16"),
    "its first 50 ms cut": lambda clip: clip[800:],
    "both ends cut between two words": lambda clip: clip[725:-333],
    "a second of silence before it": lambda clip: np.concatenate([np.zeros(16_013, "f4"), clip]),
    "its first two thirds": lambda clip: clip[: len(clip) * 2 // 3],
    "turned upside down": lambda clip: -clip,
    "noise 30 dB below": lambda clip: noisy(clip, 30),
    "cut, quieter and as MP3": lambda clip: coded(clip[725:] * 0.3, format="MP3"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_is_found_among_others(change: Callable[[np.ndarray], np.ndarray]) -> None:
    clips = [speech(seed, 1.5) for seed in range(12)]
    clips.append(np.ascontiguousarray(change(clips[3]), dtype="f4"))
    (match,) = matches([fingerprint(clip) for clip in clips])
    assert (match.first, match.second) == (3, 12)


def test_the_shift_says_how_much_was_cut() -> None:
    clip = speech(0, 1.5)
    (match,) = matches([fingerprint(clip), fingerprint(clip[1600:])])
    assert match.shift == pytest.approx(0.1)
    assert match.errors == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_different_clips_are_no_copies(seed: int) -> None:
    assert matches([fingerprint(speech(seed + number, 1.0)) for number in range(6)]) == []


def test_unrelated_clips_agree_as_coins_do() -> None:
    prints = [fingerprint(speech(seed, 2.0)) for seed in range(30)]
    anything = MatchOptions(most_errors=1, least_words=100)
    found = [compare(one, other, 0, anything) for one, other in pairwise(prints)]
    errors = [result[0] for result in found if result]
    assert len(errors) > 20
    assert min(errors) > 0.4
    assert np.mean(errors) == pytest.approx(0.48, abs=0.04)


@pytest.mark.parametrize("samples", [0, 1, 2047, 2048, 2048 + 160 * 4])
def test_a_clip_too_short_for_a_word_has_none(samples: int) -> None:
    assert len(fingerprint(np.ones(samples, "f4"))) == 0


def test_silence_has_no_words() -> None:
    assert not fingerprint(np.zeros(16_000, "f4")).any()
    padded = np.concatenate([speech(0, 1.0), np.zeros(16_000, "f4")])
    assert not fingerprint(padded)[-80:].any()


def test_a_long_clip_is_printed_in_blocks_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = speech(5, 3.0)
    whole = fingerprint(clip)
    monkeypatch.setattr("ser_cache.audit.fingerprints._BLOCK", 7)
    assert np.array_equal(fingerprint(clip), whole)


def naive_votes(clips: list[np.ndarray]) -> dict[tuple[int, int], dict[int, int]]:
    """How many equal words each pair of clips has at each shift."""
    votes: dict[tuple[int, int], dict[int, int]] = {}
    for first, ours in enumerate(clips):
        for second in range(first + 1, len(clips)):
            for at, word in enumerate(ours):
                for there, other in enumerate(clips[second]):
                    if word and word == other:
                        shifts = votes.setdefault((first, second), {})
                        shifts[at - there] = shifts.get(at - there, 0) + 1
    return votes


@given(
    st.lists(
        st.lists(st.integers(0, 6), min_size=0, max_size=12).map(lambda words: np.array(words, np.uint32)),
        min_size=1,
        max_size=5,
    )
)
def test_proposals_are_the_pairs_with_equal_words_at_their_best_shift(clips: list[np.ndarray]) -> None:
    everything = MatchOptions(most_equals=1000, most_proposals=1000)
    votes = naive_votes(clips)
    found = proposals(clips, everything)
    assert {(first, second) for first, second, _ in found.tolist()} == votes.keys()
    assert len(found) == len(votes)
    for first, second, shift in found.tolist():
        shifts = votes[first, second]
        best = max(shifts[s] + shifts.get(s + 1, 0) for s in shifts)
        assert shifts[shift] + shifts.get(shift + 1, 0) == best


def test_many_clips_of_one_sound_stay_cheap_and_together() -> None:
    words = fingerprint(speech(0, 1.0))
    found = proposals([words] * 300, MatchOptions())
    assert len(found) <= 20 * 300
    joined = {0}
    for first, second, _ in found.tolist():
        if first in joined or second in joined:
            joined |= {first, second}
    assert len(joined) == 300


def measured(clip: np.ndarray, sha256: str) -> Measurement:
    return measure(Original(clip[:, None], 16_000, "WAV", "PCM_16", sha256), Recording(clip, sha256))


def utterance(name: str, sha256: str) -> Utterance:
    return Utterance(name, f"{name}.wav", "s1", "anger", "anger", "", 16_000, sha256)


def test_groups_are_told_by_their_weakest_link() -> None:
    clips = {f"c{number}": speech(number, 1.2) for number in range(6)}
    clips |= {"d0": clips["c0"], "d1": clips["c1"], "d2": clips["c2"][400:], "e0": clips["c0"] * 0.5}
    hashes = {name: f"{number:064x}" for number, name in enumerate(clips)} | {"d1": f"{1:064x}"}
    known = {name: measured(clip, hashes[name]) for name, clip in clips.items()}
    groups = find_copies([utterance(name, hashes[name]) for name in clips], known)
    assert [(group.ids, group.kind) for group in groups] == [
        (("c0", "d0", "e0"), "nearly equal sound"),
        (("c1", "d1"), "equal bytes"),
        (("c2", "d2"), "nearly equal sound"),
    ]
    assert groups[1].errors == 0 < groups[2].errors < 0.2


def test_equal_samples_of_clips_too_short_for_fingerprints_are_found() -> None:
    clip = speech(0, 0.15)
    known = {"a": measured(clip, "0" * 64), "b": measured(clip, "1" * 64)}
    (group,) = find_copies([utterance("a", "0" * 64), utterance("b", "1" * 64)], known)
    assert group.kind == "equal samples"


def test_silent_clips_are_no_copies_of_each_other() -> None:
    silence = np.zeros(16_000, "f4")
    known = {name: measured(silence, "0" * 64) for name in "ab"}
    assert find_copies([utterance(name, "0" * 64) for name in "ab"], known) == ()
    assert len(find_copies([utterance(name, "0" * 64) for name in "ab"], {})) == 1
