"""What a corpus is made of, as tables for a terminal and for Markdown, and as data for other programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ser_cache.crowd import VOTES_SUFFIX
from ser_cache.distributions import (
    ALL,
    Crowd,
    Distribution,
    Lengths,
    crowd,
    distributions,
    lengths,
)
from ser_cache.length_leaks import LengthLeak, leak_warnings, length_leaks
from ser_cache.manifest import SAMPLE_RATE, Manifest
from ser_cache.published import CROWDS, PublishedCrowd
from ser_cache.sections import Section

_WIDTH = 80
_GAP = 2
_MOST_GROUPS = 24  # of a table on the screen, such as that of sentences


@dataclass(frozen=True)
class Description:
    """Everything that is said of one manifest; worked out when it is asked for.

    Attributes:
        manifest: the corpus.
        years: width of the bands of ages.
    """

    manifest: Manifest
    years: int = 10

    @cached_property
    def lengths(self) -> tuple[Lengths, ...]:
        """Counts and lengths by emotion."""
        return lengths(self.manifest)

    @cached_property
    def leaks(self) -> tuple[LengthLeak, ...]:
        """Lengths to the sample that give emotions away."""
        return length_leaks(self.manifest)

    @cached_property
    def distributions(self) -> tuple[Distribution, ...]:
        """Emotions by the columns that are known."""
        return distributions(self.manifest, self.years)

    @cached_property
    def crowd(self) -> tuple[Crowd, ...]:
        """What raters made of it; empty without votes."""
        return crowd(self.manifest)

    @property
    def published_crowd(self) -> PublishedCrowd | None:
        """What others report of the raters, where there are votes to put beside it."""
        return CROWDS[self.manifest.corpus]() if self.crowd and self.manifest.corpus in CROWDS else None

    @property
    def headline(self) -> str:
        """The corpus in a line."""
        made = self.manifest
        speakers = f"{len(made.speakers):,} speaker{'' if len(made.speakers) == 1 else 's'}"
        return (
            f"{made.corpus}: {len(made):,} utterances, {speakers}, "
            f"{len(made.emotions)} emotions, {made.hours:.2f} h"
        )


def sections(description: Description) -> list[Section]:
    """The tables of a corpus; each fits 80 columns unless it has more than ten emotions or long names."""
    headings = _headings(description)
    shortened = ", ".join(f"{short} {emotion}" for emotion, short in headings.items() if short != emotion)
    made = [_length_table(description)]
    for number, distribution in enumerate(description.distributions):
        made.append(_group_table(distribution, headings, "" if number else shortened))
    if description.crowd:
        made += _crowd_tables(description)
    return made


def _length_table(description: Description) -> Section:
    rows = description.lengths
    total = rows[-1].utterances
    columns = {"emotion": "left", **dict.fromkeys(("clips", "share", "speakers", "hours"), "right")}
    columns |= dict.fromkeys(("mean s", "sd", "min", "median", "max"), "right")
    cells = [
        (
            row.emotion,
            f"{row.utterances:,}",
            f"{100 * row.utterances / total:.1f}%",
            f"{row.speakers:,}",
            f"{row.hours:.2f}",
            *(f"{one:.2f}" for one in (row.mean, row.deviation, row.shortest, row.median, row.longest)),
        )
        for row in rows
    ]
    notes = tuple(f"warning: {line}" for line in leak_warnings(description.manifest))
    return Section("Emotions, and how long their clips are", columns, cells, notes)


def _headings(description: Description) -> dict[str, str]:
    """A heading for every emotion: its name, or where that makes a table too wide, its first letters."""
    emotions = description.manifest.emotions
    names = [len(group.name) for one in description.distributions for group in one.groups]
    beside = max([len("ethnicity"), *names]) + len("speakers") + len("clips") + 2 * _GAP
    if beside + sum(max(len(emotion), 5) + _GAP for emotion in emotions) <= _WIDTH:
        return {emotion: emotion for emotion in emotions}
    longest = max(map(len, emotions))
    letters = 3
    while letters < longest and len({emotion[:letters] for emotion in emotions}) < len(emotions):
        letters += 1
    return {emotion: emotion[:letters] for emotion in emotions}


def _group_table(distribution: Distribution, headings: Mapping[str, str], legend: str) -> Section:
    columns = {distribution.column: "fold", "speakers": "right", "clips": "right"}
    columns |= dict.fromkeys(headings.values(), "right")
    shown = distribution.groups
    notes = [legend] if legend else []
    if len(shown) > _MOST_GROUPS:
        notes.append(f"and {len(shown) - _MOST_GROUPS:,} more; --format csv has them all.")
        shown = shown[:_MOST_GROUPS]
    rows = [
        (
            group.name,
            f"{group.speakers:,}",
            f"{group.utterances:,}",
            *(f"{group.counts[emotion]:,}" for emotion in headings),
        )
        for group in shown
    ]
    return Section(f"Emotions by {distribution.column}", columns, rows, tuple(notes))


def _crowd_tables(description: Description) -> list[Section]:
    published = description.published_crowd
    agreement = _crowd_table(
        description, "agreement", "Crowd agreement: the winning emotion's share of votes"
    )
    recognised = _crowd_table(description, "intended", "Recognition: the intended emotion's share of votes")
    won = _crowd_table(description, "won", "Clips whose single winning emotion is the intended one")
    tied = _crowd_table(description, "tied", "Clips in which several emotions share the first place")
    if published:
        agreement = _beside_published(agreement, description, published)
        recognised = _recognised_beside(recognised, description, published)
    return [agreement, recognised, won, tied]


def _crowd_table(description: Description, measure: str, title: str) -> Section:
    """A measure by emotion, a column a modality; mean over the clips that were rated."""
    found = {(row.modality, row.emotion): row for row in description.crowd}
    given = list(dict.fromkeys(row.modality for row in description.crowd))
    rows = [
        (
            emotion,
            *(
                f"{getattr(found[modality, emotion], measure):.4f}" if (modality, emotion) in found else ""
                for modality in given
            ),
        )
        for emotion in dict.fromkeys(row.emotion for row in description.crowd)
    ]
    rows.sort(key=lambda row: (row[0] == ALL, row[0]))
    return Section(title, {"emotion": "left", **dict.fromkeys(given, "right")}, rows)


def _beside_published(section: Section, description: Description, published: PublishedCrowd) -> Section:
    """Agreement over all modalities beside the published figures, and how the two are related."""
    ours = {row.emotion: row.agreement for row in description.crowd if row.modality == ALL}
    rows = [
        (*row, f"{published.agreement[row[0]]:.3f}" if row[0] in published.agreement else "")
        for row in section.rows
    ]
    notes = (f"published: {published.agreement_source}.", f"{_relation(ours, published.agreement)}.")
    return Section(section.title, {**section.columns, "published": "right"}, rows, notes)


def _relation(ours: Mapping[str, float], published: Mapping[str, float]) -> str:
    """In what way published figures of three decimals are ours."""
    both = [(ours[emotion], figure) for emotion, figure in published.items() if emotion in ours]
    if both and all(round(own, 3) == figure for own, figure in both):
        return f"Column {ALL!r} rounds to it"
    if both and all(math.floor(1000 * own) == round(1000 * figure) for own, figure in both):
        return f"It is column {ALL!r} cut off after three digits, not rounded"
    worst = max((abs(own - figure) for own, figure in both), default=math.nan)
    return f"Column {ALL!r} is up to {worst:.4f} away: these are other clips or votes"


def _recognised_beside(section: Section, description: Description, published: PublishedCrowd) -> Section:
    every = {row.modality: row for row in description.crowd if row.emotion == ALL}
    pooled = ", ".join(f"{name} {row.chosen / row.ratings:.4f}" for name, row in every.items())
    figures = ", ".join(f"{name} {figure:.3f}" for name, figure in published.recognised.items())
    notes = (
        "Mean over clips. Where every vote counts alike:",
        f"{pooled}.",
        f"published: {figures} ({published.recognised_source}).",
    )
    return Section(section.title, section.columns, section.rows, notes)


def as_data(description: Description) -> dict[str, Any]:
    """Everything as JSON can hold it."""
    made, published = description.manifest, description.published_crowd
    return {
        "corpus": made.corpus,
        "utterances": len(made),
        "speakers": len(made.speakers),
        "hours": made.hours,
        "lengths": [asdict(row) for row in description.lengths],
        "length_leaks": [
            {
                "seconds": leak.samples / SAMPLE_RATE,
                "utterances": leak.clips,
                "emotions": {emotion: having for emotion, having, _ in leak.emotions},
                "association": leak.association,
            }
            for leak in description.leaks
        ],
        "distributions": {
            one.column: [{**asdict(group), "utterances": group.utterances} for group in one.groups]
            for one in description.distributions
        },
        "crowd": [asdict(row) for row in description.crowd],
        "published": asdict(published) if published else None,
    }


def as_rows(description: Description) -> list[tuple[str, str, str, str, str, float]]:
    """Everything as one number a row: corpus, table, group, emotion, measure, value.

    The group is a value of the column that the table is called after, or the modality of a table of votes.
    """
    corpus = description.manifest.corpus
    rows: list[tuple[str, str, str, str, str, float]] = []
    for length in description.lengths:
        numbers = {key: value for key, value in asdict(length).items() if key != "emotion"}
        rows += [(corpus, "lengths", "", length.emotion, key, value) for key, value in numbers.items()]
    for leak in description.leaks:
        seconds = f"{leak.samples / SAMPLE_RATE:g} s"
        rows += [
            (corpus, "length leaks", seconds, emotion, "utterances", having)
            for emotion, having, _ in (*leak.emotions, (ALL, leak.clips, 0))
        ]
    for one in description.distributions:
        for group in one.groups:
            rows += [(corpus, one.column, group.name, ALL, "speakers", group.speakers)]
            rows += [(corpus, one.column, group.name, ALL, "hours", group.hours)]
            rows += [
                (corpus, one.column, group.name, emotion, "utterances", count)
                for emotion, count in (*group.counts.items(), (ALL, group.utterances))
            ]
    for row in description.crowd:
        numbers = {key: value for key, value in asdict(row).items() if key not in ("modality", "emotion")}
        rows += [
            (corpus, f"crowd{VOTES_SUFFIX}", row.modality, row.emotion, key, value)
            for key, value in numbers.items()
        ]
    return rows
