"""The facts an audit shows beside its findings: clips by emotion, and what stands on two sides of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ser_cache.audit.acoustics import Measurement
from ser_cache.audit.facts import Facts
from ser_cache.audit.sound import CLIPPED

_SAMPLES_A_SECOND = 16_000  # of the manifest's lengths


@dataclass(frozen=True)
class EmotionRow:
    """The clips of one emotion; what is measured is a median over them, None without audio.

    Attributes:
        emotion: its name.
        clips: how many.
        speakers: how many show it.
        seconds: length.
        leading: seconds of silence before the speech.
        trailing: seconds of silence after it.
        level: loudness of the speech in decibels of full scale.
        padded: share of clips with digital padding at their ends.
        clipped: share of clips with flat tops in 0.1% of their samples or more.
        silent: clips that can hardly hold speech.
        rates: sampling rates of the files in hertz, ascending.
    """

    emotion: str
    clips: int
    speakers: int
    seconds: float
    leading: float | None = None
    trailing: float | None = None
    level: float | None = None
    padded: float | None = None
    clipped: float | None = None
    silent: int | None = None
    rates: tuple[int, ...] = ()


def emotion_rows(facts: Facts) -> tuple[EmotionRow, ...]:
    """A row for each emotion, sorted; without measurements only what the manifest says."""
    rows = []
    for number, emotion in enumerate(facts.manifest.emotions):
        clips = [facts.utterances[place] for place in np.flatnonzero(facts.labels == number)]
        heard = [facts.measured[clip.id] for clip in clips if clip.id in facts.measured]
        rows.append(
            EmotionRow(
                emotion,
                clips=len(clips),
                speakers=len({clip.speaker for clip in clips}),
                seconds=float(np.median([clip.samples for clip in clips])) / _SAMPLES_A_SECOND,
                leading=_median(heard, lambda clip: clip.leading),
                trailing=_median(heard, lambda clip: clip.trailing),
                level=_median(heard, lambda clip: clip.level),
                padded=_share(heard, lambda clip: clip.padding > 0),
                clipped=_share(heard, lambda clip: clip.clipped >= CLIPPED),
                silent=sum(bool(clip.doubt) for clip in heard) if heard else None,
                rates=tuple(sorted({clip.rate for clip in heard})),
            )
        )
    return tuple(rows)


def shared_counts(facts: Facts) -> dict[str, dict[str, int]]:
    """How many distinct speakers, sentences and recordings stand on both of two sides in some fold.

    Without sentences where the manifest names none: none shared would be a claim that nobody can make.
    """
    names = {
        "speakers": {utterance.id: utterance.speaker for utterance in facts.utterances},
        "sentences": {
            utterance.id: utterance.sentence for utterance in facts.utterances if utterance.sentence
        },
        "recordings": {identifier: group.ids[0] for group in facts.copies for identifier in group.ids},
    }
    return {
        what: {"-".join(sides): len(counts) for sides, counts in facts.shared(name_of).items()}
        for what, name_of in names.items()
        if name_of or what != "sentences"
    }


def _median(clips: Sequence[Measurement], value: Callable[[Measurement], float]) -> float | None:
    return float(np.median([value(clip) for clip in clips])) if clips else None


def _share(clips: Sequence[Measurement], holds: Callable[[Measurement], bool]) -> float | None:
    return sum(map(holds, clips)) / len(clips) if clips else None
