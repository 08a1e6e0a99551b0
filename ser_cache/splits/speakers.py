"""Splits that hold speakers out: by ratios, leave-one-speaker-out, and k folds.

By ratios and by folds, the division nearest to what was asked is searched: first every emotion in training,
then every emotion on every side, then sizes and distributions of emotions. Where one division is the best,
every seed finds it; for other test speakers there are folds.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import SplitError
from ser_cache.splits.counting import MILLION, SpeakerCounts, Whole, Yardstick, held_by
from ser_cache.splits.division import SIDES, Split, SplitOptions, divide
from ser_cache.splits.search import MOST_COMPARED, best_division

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

_HASHES = 100_000  # draws times speakers: a fraction of a second at any corpus size
_MOST_DRAWN = 1000
_MOST_CIRCLES = 1000


def by_speaker(utterances: Sequence[Utterance], options: SplitOptions) -> list[Split]:
    """One speaker-disjoint split with at least one speaker a side, as near to the ratios as is found."""
    wanted = checked_ratios(options)
    _require_speakers(utterances, len(SIDES), "a speaker-disjoint split")
    table = SpeakerCounts.of(utterances)
    measure = Yardstick(table.counts, wanted, SIDES.index("train"))
    drawn = _best_drawn(table, measure, options.seed, lambda order: _cut_by_ratios(table, order, wanted))
    part_of = best_division(table, measure, options.seed, drawn)
    side_of = {speaker: SIDES[part] for speaker, part in zip(table.speakers, part_of, strict=True)}
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
    table = SpeakerCounts.of(utterances)
    measure = Yardstick(table.counts, [MILLION // folds] * folds, None)
    drawn = _best_drawn(table, measure, options.seed, lambda order: _deal(table, order, folds))
    part_of = best_division(table, measure, options.seed, drawn)
    held = held_by(table.counts, part_of, folds) > 0
    place = {part: place for place, part in enumerate(_round_the_circle(held, options.seed))}
    digits = len(str(folds - 1))
    named = [f"{place[int(part)]:0{digits}d}" for part in part_of]
    return rotate(utterances, dict(zip(table.speakers, named, strict=True)))


def _round_the_circle(held: NDArray[np.bool_], seed: int) -> list[int]:
    """The order in which folds are tested, given the emotions that each holds, (folds, emotions).

    Neighbours leave the training together, one tested and one validating: an emotion that two folds hold must
    not have them side by side, or nobody trains on it.
    """
    folds = len(held)
    both = held[:, held.sum(axis=0) == 2].T
    apart = {frozenset(np.flatnonzero(two).tolist()) for two in both}

    def touching(order: Sequence[int]) -> int:
        return sum(frozenset((order[at - 1], order[at])) in apart for at in range(folds))

    def shuffled(trial: int) -> list[int]:
        keys = [hashlib.sha256(f"{seed}:{trial}:fold {fold}".encode()).digest() for fold in range(folds)]
        return sorted(range(folds), key=keys.__getitem__)

    best = list(range(folds))
    for trial in range(_MOST_CIRCLES):
        if not touching(best):
            break
        best = min(best, shuffled(trial), key=touching)
    return best


def same_for_every_seed(utterances: Sequence[Utterance], options: SplitOptions) -> list[str]:
    """One line where a seed other than the usual one was given in vain, because one division is the best."""
    if options.seed == SplitOptions().seed or len({u.speaker for u in utterances}) > MOST_COMPARED:
        return []
    make = speaker_folds if options.kind == "folds" else by_speaker
    with suppress(SplitError):  # of the utterances that are left, which may be fewer than were divided
        usual, this = (make(utterances, replace(options, seed=seed)) for seed in (0, options.seed))
        if {split.test for split in usual} == {split.test for split in this}:
            tested = f"split seed {options.seed} tests the same speakers as seed 0, which no division betters"
            return [f"{tested}; to test all speakers in turn: --split loso"]
    return []


def rotate(utterances: Sequence[Utterance], group_of_speaker: dict[str, str]) -> list[Split]:
    """One split a group, in sorted order: it is tested, the next one validates, the rest train."""
    groups = sorted(set(group_of_speaker.values()))
    splits = []
    for tested, validating in zip(groups, groups[1:] + groups[:1], strict=True):
        side_of = dict.fromkeys(groups, "train") | {tested: "test", validating: "validation"}
        of_speaker = {speaker: side_of[group] for speaker, group in group_of_speaker.items()}
        sides = [of_speaker[utterance.speaker] for utterance in utterances]
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
        fewer = f"--folds {len(speakers)} or " if len(speakers) >= len(SIDES) else ""
        raise SplitError(
            f"{what} needs at least {least} speakers, and there are {len(speakers)} ({', '.join(speakers)}); "
            f"use {fewer}--split random, whose scores are speaker-dependent."
        )


def _best_drawn(
    table: SpeakerCounts, measure: Yardstick, seed: int, cut: Callable[[list[int]], Whole]
) -> Whole:
    """The best of many divisions of speakers in random order: (speakers,), the part of each."""
    draws = max(20, min(_MOST_DRAWN, _HASHES // len(table.speakers)))
    divisions = np.stack([cut(table.order(seed, trial)) for trial in range(draws)])
    best: Whole = divisions[measure.of_divisions(table.counts, divisions).argmin()]  # of several the first
    return best


def _cut_by_ratios(table: SpeakerCounts, order: list[int], wanted: Sequence[int]) -> Whole:
    """Sides of the speakers: test takes the first of the order, validation the next, training the rest."""
    sizes = np.cumsum(table.counts[order].sum(axis=1))
    train, validation, test = (SIDES.index(side) for side in ("train", "validation", "test"))
    test_end = _cut(sizes, 0, wanted[test], len(order) - 2)
    validation_end = _cut(sizes, test_end, wanted[validation], len(order) - 1)
    part_of = np.full(len(order), train, dtype=np.int64)
    part_of[order[:test_end]] = test
    part_of[order[test_end:validation_end]] = validation
    return part_of


def _cut(sizes: Whole, start: int, share: int, last: int) -> int:
    """Where a side that begins at ``start`` ends: at the size nearest to its share, with a speaker at least.

    ``sizes`` are running totals of utterances; ``last`` is the largest end that leaves the others a speaker.
    """
    before = int(sizes[start - 1]) if start else 0
    excess = (sizes[start:last] - before) * MILLION - int(sizes[-1]) * share
    return start + 1 + int(np.argmin(np.abs(excess)))


def _deal(table: SpeakerCounts, order: list[int], folds: int) -> Whole:
    """Deal speakers one by one to the fold with the fewest utterances so far; every fold gets one."""
    sizes = table.counts.sum(axis=1).tolist()
    part_of = np.zeros(len(order), dtype=np.int64)
    fullness = [(0, fold) for fold in range(folds)]  # a heap: empty folds come first, in their order
    for row in order:
        filled, fold = fullness[0]
        part_of[row] = fold
        heapq.heapreplace(fullness, (filled + sizes[row], fold))
    return part_of
