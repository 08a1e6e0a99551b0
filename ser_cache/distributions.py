"""How a corpus is made up: emotions by who speaks, what is said and how strongly, lengths, and crowd votes.

Pure functions of a manifest; no audio is needed. What a classifier could learn from such imbalances under a
split is ``ser audit``'s to say.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean, median, pstdev

from ser_cache.crowd import VOTES_SUFFIX, agreement, read_votes, share, winners
from ser_cache.errors import ManifestError
from ser_cache.manifest import SAMPLE_RATE, Manifest, Utterance

GROUPED = ("gender", "age", "race", "ethnicity", "intensity", "language", "fold", "sentence")
"""Columns that emotions are counted by, in the order of the tables; sentences last, as they may be many."""
UNSTATED = "not stated"
"""The group of utterances whose cell is empty, where other cells of the column are not."""
ALL = "all"
"""Of all emotions, and of all modalities, together."""

_YEARS = re.compile(r"[0-9]{1,3}")
_INTENSITIES = ("unspecified", "low", "mild", "normal", "medium", "strong", "high")


@dataclass(frozen=True)
class Lengths:
    """How long the utterances of an emotion are, in seconds but for the number of hours.

    Attributes:
        emotion: its name, or ``ALL``.
        utterances: how many.
        speakers: how many people portray it.
        hours: of audio.
        mean: their mean length.
        deviation: standard deviation of the lengths (of the population: these are all there are).
        shortest: the least length.
        median: the middle one.
        longest: the greatest.
    """

    emotion: str
    utterances: int
    speakers: int
    hours: float
    mean: float
    deviation: float
    shortest: float
    median: float
    longest: float


@dataclass(frozen=True)
class Group:
    """The utterances with one value in a column.

    Attributes:
        name: the value, a band of ages such as ``20-29``, or ``UNSTATED``.
        speakers: how many people are in the group.
        hours: of audio.
        counts: emotion to utterances, for every emotion of the corpus.
    """

    name: str
    speakers: int
    hours: float
    counts: Mapping[str, int]

    @property
    def utterances(self) -> int:
        """How many are in the group."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Distribution:
    """Emotions by the values of one column.

    Attributes:
        column: of the manifest.
        groups: its values, sorted: ages and intensities by size, others by name, ``UNSTATED`` last.
    """

    column: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Crowd:
    """What raters in one modality made of the utterances of one intended emotion.

    Attributes:
        modality: what they were given, such as "voice"; ``ALL`` where those of all modalities count alike.
        emotion: that was meant, or ``ALL``.
        rated: pairs of an utterance and a modality with votes.
        ratings: votes.
        chosen: votes for the intended emotion.
        agreement: mean over ``rated`` of the winning emotion's share of votes, whichever won.
        intended: mean over ``rated`` of the intended emotion's share.
        won: part of ``rated`` whose single winner is the intended emotion.
        tied: part of ``rated`` without a single winner.
    """

    modality: str
    emotion: str
    rated: int
    ratings: int
    chosen: int
    agreement: float
    intended: float
    won: float
    tied: float


def lengths(manifest: Manifest) -> tuple[Lengths, ...]:
    """Counts and lengths of every emotion, and of ``ALL`` as the last."""
    by_emotion: dict[str, list[Utterance]] = {emotion: [] for emotion in manifest.emotions}
    for utterance in manifest.utterances:
        by_emotion[utterance.emotion].append(utterance)
    rows = [_lengths(emotion, of) for emotion, of in by_emotion.items()]
    return (*rows, _lengths(ALL, manifest.utterances))


def _lengths(emotion: str, utterances: Sequence[Utterance]) -> Lengths:
    seconds = [utterance.samples / SAMPLE_RATE for utterance in utterances]
    return Lengths(
        emotion,
        len(seconds),
        len({utterance.speaker for utterance in utterances}),
        sum(seconds) / 3600,
        fmean(seconds),
        pstdev(seconds),
        min(seconds),
        median(seconds),
        max(seconds),
    )


def distributions(manifest: Manifest, years: int = 10) -> tuple[Distribution, ...]:
    """Emotions by each of ``GROUPED`` that is known and, but for gender, has more than one value.

    Args:
        manifest: the corpus.
        years: width of a band of ages, whose first year is a multiple of it; 1 counts every age apart.
    """
    found = []
    for column in GROUPED:
        distribution = by_column(manifest, column, years)
        if {group.name for group in distribution.groups} != {UNSTATED} and (
            len(distribution.groups) > 1 or column == "gender"
        ):
            found.append(distribution)
    return tuple(found)


def by_column(manifest: Manifest, column: str, years: int = 10) -> Distribution:
    """Emotions by the values of a column; see ``distributions``."""
    value: Callable[[Utterance], str] = attrgetter(column)
    members: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in manifest.utterances:
        cell = value(utterance)
        members[(age_band(cell, years) if column == "age" else cell) or UNSTATED].append(utterance)
    groups = [_group(name, members[name], manifest.emotions) for name in sorted(members, key=_order)]
    return Distribution(column, tuple(groups))


def _group(name: str, utterances: Sequence[Utterance], emotions: Sequence[str]) -> Group:
    counts = Counter(utterance.emotion for utterance in utterances)
    hours = sum(utterance.samples for utterance in utterances) / SAMPLE_RATE / 3600
    speakers = len({utterance.speaker for utterance in utterances})
    return Group(name, speakers, hours, {emotion: counts[emotion] for emotion in emotions})


def age_band(age: str, years: int = 10) -> str:
    """The band of an age, such as ``20-29``; what is no whole number stays as it is.

    Args:
        age: as the manifest has it.
        years: width of a band; 1 leaves ages alone.
    """
    if years <= 1 or not _YEARS.fullmatch(age):
        return age
    first = int(age) // years * years
    return f"{first}-{first + years - 1}"


def _order(name: str) -> tuple[bool, int, bool, int, str]:
    first = re.match(r"[0-9]{1,9}(?=$|-)", name)
    level = _INTENSITIES.index(name) if name in _INTENSITIES else len(_INTENSITIES)
    return name == UNSTATED, level, first is None, int(first[0]) if first else 0, name


def modalities(manifest: Manifest) -> tuple[str, ...]:
    """What the raters were given: columns that end in ``_votes``, without that; voice, face first."""
    columns = {column for utterance in manifest.utterances for column, _ in utterance.extra}
    names = [column.removesuffix(VOTES_SUFFIX) for column in columns if column.endswith(VOTES_SUFFIX)]
    return tuple(sorted(names, key=lambda name: (name != "voice", name != "face", name)))


def crowd(manifest: Manifest) -> tuple[Crowd, ...]:
    """What the crowd made of every emotion in every modality; empty for a corpus without votes.

    With several modalities, ``ALL`` of them follow as one more, in which every pair of an utterance and a
    modality counts alike.

    Raises:
        ManifestError: a cell of votes cannot be read; with the utterance's id.
    """
    names = modalities(manifest)
    opinions: dict[tuple[str, str], list[_Opinion]] = defaultdict(list)
    for utterance in manifest.utterances:
        cells = dict(utterance.extra)
        for modality in names:
            opinion = _opinion(utterance, cells.get(modality + VOTES_SUFFIX, ""))
            if opinion is not None:
                for emotion in (utterance.emotion, ALL):
                    opinions[modality, emotion].append(opinion)
    rows = [
        _crowd(modality, emotion, opinions[modality, emotion])
        for modality in names
        for emotion in (*manifest.emotions, ALL)
        if opinions[modality, emotion]
    ]
    if len(names) > 1:
        joined = {
            emotion: [one for modality in names for one in opinions[modality, emotion]]
            for emotion in (*manifest.emotions, ALL)
        }
        rows += [_crowd(ALL, emotion, given) for emotion, given in joined.items() if given]
    return tuple(rows)


@dataclass(frozen=True)
class _Opinion:
    ratings: int
    chosen: int
    agreement: float
    intended: float
    winners: tuple[str, ...]
    meant: str


def _opinion(utterance: Utterance, cell: str) -> _Opinion | None:
    try:
        votes = read_votes(cell)
    except ManifestError as error:
        raise ManifestError(f"utterance {utterance.id!r}: {error}") from error
    if not any(votes.values()):
        return None
    meant = utterance.emotion
    return _Opinion(
        sum(votes.values()),
        votes.get(meant, 0),
        agreement(votes),
        share(votes, meant),
        winners(votes),
        meant,
    )


def _crowd(modality: str, emotion: str, given: Sequence[_Opinion]) -> Crowd:
    return Crowd(
        modality,
        emotion,
        len(given),
        sum(opinion.ratings for opinion in given),
        sum(opinion.chosen for opinion in given),
        fmean(opinion.agreement for opinion in given),
        fmean(opinion.intended for opinion in given),
        fmean(opinion.winners == (opinion.meant,) for opinion in given),
        fmean(len(opinion.winners) > 1 for opinion in given),
    )
