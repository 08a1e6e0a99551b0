"""Splits that look at utterances: stratified and blind to speakers, or as the manifest's fold column says."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ser_cache.errors import SplitError
from ser_cache.splits.counting import MILLION
from ser_cache.splits.division import SIDES, Split, SplitOptions, divide
from ser_cache.splits.speakers import checked_ratios

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

_SIDE_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def by_utterance(utterances: Sequence[Utterance], options: SplitOptions) -> list[Split]:
    """Divide each emotion by the ratios on its own, blind to speakers: scores are speaker-dependent."""
    _, validating, testing = checked_ratios(options)
    side_of: dict[str, str] = {}
    for ids in shuffled_by_emotion(utterances, str(options.seed)):
        test_end = validation_end = 0
        if len(ids) >= len(SIDES):  # an emotion of fewer is trained on alone
            test_end = _share_of(len(ids), testing, len(ids) - 2)
            validation_end = test_end + _share_of(len(ids), validating, len(ids) - test_end - 1)
        side_of |= dict.fromkeys(ids[:test_end], "test")
        side_of |= dict.fromkeys(ids[test_end:validation_end], "validation")
        side_of |= dict.fromkeys(ids[validation_end:], "train")
    return [divide(utterances, "0", [side_of[u.id] for u in utterances], speaker_disjoint=False)]


def shuffled_by_emotion(utterances: Iterable[Utterance], key: str) -> list[list[str]]:
    """The ids of each emotion, in an order that the key and the ids fix for good."""
    by_emotion: dict[str, list[str]] = defaultdict(list)
    for utterance in utterances:
        by_emotion[utterance.emotion].append(utterance.id)
    for ids in by_emotion.values():
        ids.sort(key=lambda identifier: hashlib.sha256(f"{key}:{identifier}".encode()).digest())
    return list(by_emotion.values())


def _share_of(count: int, share: int, most: int) -> int:
    """A share, in millionths, of ``count``, to the nearest; at least one, and no more than ``most``."""
    return min(max(1, (2 * count * share + MILLION) // (2 * MILLION)), most)


def by_column(utterances: Sequence[Utterance], _: SplitOptions) -> list[Split]:
    """The manifest's ``fold`` column.

    Named sides (train, validation or dev, test) make one split. Any other values are folds: each in turn is
    tested, the next in sorted order validates, the rest train. A split claims to be speaker-disjoint exactly
    when it is.
    """
    blank = [utterance.id for utterance in utterances if not utterance.fold]
    if blank:
        raise SplitError(
            f"{blank[0]!r} has no fold ({len(blank)} such utterances); fill the manifest's fold column, or "
            f"use another --split."
        )
    voices: dict[str, set[str]] = defaultdict(set)
    for utterance in utterances:
        voices[utterance.fold].add(utterance.speaker)
    values = sorted(voices)
    if all(value.lower() in _SIDE_NAMES for value in values):
        sides = {value: _SIDE_NAMES[value.lower()] for value in values}
        return [_by_value(utterances, "0", sides, voices)]
    if len(values) < 3:
        raise SplitError(
            f"the fold column holds only {', '.join(values)}; name the sides train, validation and test, or "
            f"give three or more folds."
        )
    return [
        _by_value(
            utterances,
            tested,
            dict.fromkeys(values, "train") | {tested: "test", validating: "validation"},
            voices,
        )
        for tested, validating in zip(values, values[1:] + values[:1], strict=True)
    ]


def _by_value(
    utterances: Sequence[Utterance], fold: str, sides: dict[str, str], voices: dict[str, set[str]]
) -> Split:
    """One split: the side of each value of the fold column, of which ``voices`` holds the speakers."""
    heard: dict[str, set[str]] = defaultdict(set)
    for value, side in sides.items():
        heard[side] |= voices[value]
    disjoint = sum(map(len, heard.values())) == len(set().union(*heard.values()))
    return divide(utterances, fold, [sides[u.fold] for u in utterances], speaker_disjoint=disjoint)
