"""Splits that hold speakers out: by ratios, leave-one-speaker-out, and k folds.

By ratios and by folds, many candidates are drawn and the one nearest to what was asked is kept: first every
emotion in training, then every emotion on every side, then sizes and distributions of emotions. With few
speakers there are few divisions, and where one of them is best, every seed finds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import SplitError
from ser_cache.splits.division import SIDES, Split, SplitOptions, divide

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

MILLION = 1_000_000  # shares are compared in millionths, as whole numbers
_HASHES = 100_000  # candidates times speakers: a fraction of a second at any corpus size
_MOST_CANDIDATES = 1000


def by_speaker(utterances: Sequence[Utterance], options: SplitOptions) -> list[Split]:
    """One speaker-disjoint split with at least one speaker a side, as near to the ratios as can be."""
    wanted = checked_ratios(options)
    _require_speakers(utterances, 3, "a speaker-disjoint split")
    table = _Table.of(utterances)
    candidates = (_cut_by_ratios(table, order, wanted) for order in table.orders(options.seed))
    rows = min(candidates, key=lambda sides: _mismatch(table, sides, wanted))
    side_of = {table.speakers[row]: side for side, part in zip(SIDES, rows, strict=True) for row in part}
    return [divide(utterances, "0", [side_of[u.speaker] for u in utterances], speaker_disjoint=True)]


def leave_one_speaker_out(utterances: Sequence[Utterance], _: SplitOptions) -> list[Split]:
    """Fold i tests speaker i, validates on the next in sorted order, cyclic, and trains on the rest."""
    _require_speakers(utterances, 3, "leave-one-speaker-out with a validation speaker")
    return rotate(utterances, {utterance.speaker: utterance.speaker for utterance in utterances})


def speaker_folds(utterances: Sequence[Utterance], options: SplitOptions) -> list[Split]:
    """Speaker k-fold: fold i tests group i, validates on the next group, cyclic, and trains on the rest."""
    folds = options.folds
    if folds < 3:
        raise SplitError(f"{folds} folds are too few: one tests, one validates, one trains; use 3 or more.")
    _require_speakers(utterances, folds, f"a split into {folds} speaker folds")
    table = _Table.of(utterances)
    candidates = (_deal(table, order, folds) for order in table.orders(options.seed))
    groups = min(candidates, key=lambda groups: _mismatch(table, groups, [MILLION // folds] * folds)[1:])
    digits = len(str(folds - 1))
    fold_of = {table.speakers[row]: f"{n:0{digits}d}" for n, rows in enumerate(groups) for row in rows}
    return rotate(utterances, fold_of)


def rotate(utterances: Sequence[Utterance], group_of_speaker: dict[str, str]) -> list[Split]:
    """One split a group, in sorted order: it is tested, the next one validates, the rest train."""
    groups = sorted(set(group_of_speaker.values()))
    splits = []
    for tested, validating in zip(groups, groups[1:] + groups[:1], strict=True):
        side_of = dict.fromkeys(groups, "train") | {tested: "test", validating: "validation"}
        sides = [side_of[group_of_speaker[utterance.speaker]] for utterance in utterances]
        splits.append(divide(utterances, tested, sides, speaker_disjoint=True))
    return splits


def checked_ratios(options: SplitOptions) -> list[int]:
    """The shares of train, validation and test in millionths of the whole.

    Raises:
        SplitError: they are not three positive numbers.
    """
    if len(options.ratios) != 3 or not all(0 < ratio < float("inf") for ratio in options.ratios):
        raise SplitError(
            f"the ratios {options.ratios} must be three positive numbers: train, validation, test."
        )
    return [round(MILLION * ratio / sum(options.ratios)) for ratio in options.ratios]


def _require_speakers(utterances: Sequence[Utterance], least: int, what: str) -> None:
    speakers = sorted({utterance.speaker for utterance in utterances})
    if len(speakers) < least:
        raise SplitError(
            f"{what} needs at least {least} speakers, and there are {len(speakers)} ({', '.join(speakers)}); "
            f"use fewer folds or --split random, whose scores are speaker-dependent."
        )


@dataclass(frozen=True)
class _Table:
    """Utterances counted by speaker and emotion: ``counts`` is (speakers, emotions)."""

    speakers: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, utterances: Sequence[Utterance]) -> _Table:
        speakers = sorted({utterance.speaker for utterance in utterances})
        emotions = sorted({utterance.emotion for utterance in utterances})
        row = {speaker: number for number, speaker in enumerate(speakers)}
        column = {emotion: number for number, emotion in enumerate(emotions)}
        counts = np.zeros((len(speakers), len(emotions)), dtype=np.int64)
        for utterance in utterances:
            counts[row[utterance.speaker], column[utterance.emotion]] += 1
        return cls(tuple(speakers), counts)

    def orders(self, seed: int) -> Iterator[list[int]]:
        """Rows in one random order after another, which the seed and the speakers' names fix for good."""
        trials = max(20, min(_MOST_CANDIDATES, _HASHES // len(self.speakers)))
        for trial in range(trials):
            keys = [
                hashlib.sha256(f"{seed}:{trial}:{speaker}".encode()).digest() for speaker in self.speakers
            ]
            yield sorted(range(len(keys)), key=keys.__getitem__)


def _cut_by_ratios(table: _Table, order: list[int], wanted: Sequence[int]) -> list[list[int]]:
    """Rows of train, validation and test: test takes the first of the order, validation the next."""
    sizes = np.cumsum(table.counts[order].sum(axis=1))
    test_end = _cut(sizes, 0, wanted[2], len(order) - 2)
    validation_end = _cut(sizes, test_end, wanted[1], len(order) - 1)
    return [order[validation_end:], order[test_end:validation_end], order[:test_end]]


def _cut(sizes: NDArray[np.int64], start: int, share: int, last: int) -> int:
    """Where a side that begins at ``start`` ends: at the size nearest to its share, with a speaker at least.

    ``sizes`` are running totals of utterances; ``last`` is the largest end that leaves the others a speaker.
    """
    before = int(sizes[start - 1]) if start else 0
    excess = (sizes[start:last] - before) * MILLION - int(sizes[-1]) * share
    return start + 1 + int(np.argmin(np.abs(excess)))


def _deal(table: _Table, order: list[int], groups: int) -> list[list[int]]:
    """Deal speakers one by one to the group with the fewest utterances so far; every group gets one."""
    sizes = table.counts.sum(axis=1).tolist()
    dealt: list[list[int]] = [[] for _ in range(groups)]
    filled = [0] * groups
    for row in order:
        smallest = min(range(groups), key=lambda number: (bool(dealt[number]), filled[number]))
        dealt[smallest].append(row)
        filled[smallest] += sizes[row]
    return dealt


def _mismatch(table: _Table, parts: Sequence[list[int]], wanted: Sequence[int]) -> tuple[int, int, int]:
    """How far a division is from what was asked; smaller is better.

    In this order: emotions missing from the first part (training); from any part; and, in millionths, how far
    the parts' sizes are from ``wanted`` plus how far each one's distribution of emotions is from the corpus's
    (total variation). Whole numbers throughout, so that no machine rounds a tie the other way.
    """
    corpus = table.counts.sum(axis=0).tolist()
    total = sum(corpus)
    missing, distance = [], 0
    for rows, share in zip(parts, wanted, strict=True):
        here = table.counts[rows].sum(axis=0).tolist()
        size = sum(here)
        missing.append(here.count(0))
        distance += abs(MILLION * size // total - share)
        apart = sum(abs(count * total - whole * size) for count, whole in zip(here, corpus, strict=True))
        distance += MILLION * apart // (2 * size * total)
    return missing[0], sum(missing), distance
