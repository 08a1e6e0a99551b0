"""The study's tables that need no audio: who the speakers of CREMA-D are, and how far its raters agreed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ser_cache.distributions import ALL, by_column, crowd
from ser_cache.manifest import Manifest
from ser_cache.sections import Section

_COLUMNS = {"gender": "sex", "race": "race", "ethnicity": "ethnicity", "age": "age", "intensity": "level"}
"""Columns of the manifest -> the study's words for them, in its order."""
_SHORT = 3


@dataclass(frozen=True)
class Agreement:
    """The winning emotion's share of the raters' votes, mean over the clips of one intended emotion.

    Attributes:
        emotion: that was meant.
        ours: from the votes that come with ser_cache.
        published: as printed.
    """

    emotion: str
    ours: float
    published: float

    @property
    def difference(self) -> float:
        """Ours less the published figure."""
        return self.ours - self.published


@dataclass(frozen=True)
class Share:
    """The clips of one group of speakers or of one way of speaking.

    Attributes:
        column: what groups differ in, in the study's words; ``ALL`` for the whole corpus.
        group: which.
        speakers: how many people.
        clips: of each emotion.
    """

    column: str
    group: str
    speakers: int
    clips: Mapping[str, int]

    @property
    def name(self) -> str:
        """Column and group, as a table has them."""
        return f"{self.column}: {self.group}" if self.group else self.column


def shares(corpus: Manifest) -> list[Share]:
    """Clips of each emotion by sex, race, ethnicity, age and level, and of all as the last."""
    found = [
        Share(word, group.name, group.speakers, group.counts)
        for column, word in _COLUMNS.items()
        for group in by_column(corpus, column).groups
    ]
    counts = dict.fromkeys(corpus.emotions, 0)
    for utterance in corpus.utterances:
        counts[utterance.emotion] += 1
    return [*found, Share(ALL, "", len(corpus.speakers), counts)]


def share_table(corpus: Manifest) -> Section:
    """Who speaks, and how strongly: clips of each emotion."""
    short = {emotion: emotion[:_SHORT] for emotion in corpus.emotions}
    columns = {"clips by": "left", "actors": "right"} | dict.fromkeys(short.values(), "right")
    rows = [
        (share.name, f"{share.speakers:,}", *(f"{share.clips[emotion]:,}" for emotion in short))
        for share in shares(corpus)
    ]
    notes = (
        f"{len(corpus):,} clips, from the list that comes with ser_cache; more: ser describe {corpus.corpus}",
    )
    return Section("CREMA-D: clips by emotion, and by who speaks and how", columns, rows, notes)


def agreements(corpus: Manifest, published: Mapping[str, float]) -> list[Agreement]:
    """Crowd agreement of every emotion for which a figure is published, over voice, face and both alike."""
    ours = {row.emotion: row.agreement for row in crowd(corpus) if row.modality == ALL}
    return [Agreement(emotion, ours[emotion], figure) for emotion, figure in published.items()]


def agreement_table(found: Sequence[Agreement]) -> Section:
    """Crowd agreement beside the published figures."""
    rows = [
        (row.emotion, f"{row.ours:.4f}", f"{row.published:.3f}", f"{row.difference:+.4f}") for row in found
    ]
    columns = {"emotion": "left", "ours": "right", "published": "right", "diff": "right"}
    notes = ["the winning emotion's share of votes, mean over clips and voice, face, both"]
    if all(0 <= row.difference < 0.001 for row in found):
        notes.append("the published figures are ours cut off after three digits, not rounded")
    return Section("CREMA-D: crowd agreement", columns, rows, tuple(notes))
