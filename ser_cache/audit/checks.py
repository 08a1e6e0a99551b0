"""The checks of an audit, by name, in the order they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ser_cache.audit.classes import check_classes
from ser_cache.audit.facts import Facts
from ser_cache.audit.findings import Finding
from ser_cache.audit.people import check_emotions_of_speakers, check_sentences, check_speakers
from ser_cache.audit.prediction import PredictionOptions
from ser_cache.audit.recordings import check_copies_across, check_copies_of_emotions, check_copies_of_speakers
from ser_cache.audit.shortcuts import CUES, check_cue
from ser_cache.audit.sound import check_clipping, check_formats, check_lengths, check_silent_clips


@dataclass(frozen=True)
class Check:
    """One question to a corpus under a split.

    Attributes:
        run: from facts and options to findings, one at least.
        needs_audio: whether it says nothing without measurements.
    """

    run: Callable[[Facts, PredictionOptions], list[Finding]]
    needs_audio: bool = False


def _plain(check: Callable[[Facts], list[Finding]]) -> Callable[[Facts, PredictionOptions], list[Finding]]:
    return lambda facts, _: check(facts)


CHECKS: dict[str, Check] = {
    "speakers": Check(_plain(check_speakers)),
    "sentences": Check(_plain(check_sentences)),
    "copies across sides": Check(_plain(check_copies_across)),
    "copies of speakers": Check(_plain(check_copies_of_speakers)),
    "copies of emotions": Check(_plain(check_copies_of_emotions)),
    "emotions of speakers": Check(_plain(check_emotions_of_speakers)),
    "classes": Check(_plain(check_classes)),
    "lengths": Check(_plain(check_lengths)),
    "silent clips": Check(_plain(check_silent_clips), needs_audio=True),
    "clipped clips": Check(_plain(check_clipping), needs_audio=True),
    "mixed formats": Check(_plain(check_formats), needs_audio=True),
    **{f"{name} alone": Check(partial(check_cue, name), cue.needs_audio) for name, cue in CUES.items()},
}
"""Without audio, the three checks of copies compare hashes of files only."""
