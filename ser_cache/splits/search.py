"""The best division of speakers into parts: exactly where they are few, by exchanges where they are many.

Up to a dozen speakers every division is compared, through a table over all sets of speakers: a mismatch is a
sum over the parts, so the best way to make k parts of a set needs only the best ways to make k - 1 parts of
its subsets (3 to the power of speakers steps a part, instead of parts to that power). With more speakers,
random divisions are improved by moving one speaker or exchanging two for as long as that helps; the best of
them is disturbed and improved again, and so on. A division that was drawn stays where none better is found,
so that seeds differ where they can. The work is counted in steps, not in seconds: a slow machine finds the
same.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from ser_cache.splits.counting import IMPOSSIBLE, SpeakerCounts, Whole, Yardstick, held_by

MOST_COMPARED = 12
"""Speakers of whom all divisions are compared: half a million into three sides, in a fraction of a second."""
_CELLS = 12_000_000  # counts looked at while exchanging: about a second
_CELLS_AT_ONCE = 1_000_000  # of these at the same time: some 50 MB
_STARTS = 8
_DISTURBED = 12  # speakers whose parts are passed round before the next descent
_MOST_IDLE = 100
_MOST_TRIALS = 1000


def best_division(table: SpeakerCounts, measure: Yardstick, seed: int, drawn: Whole) -> Whole:
    """The best division that is found; the one that was drawn where none is better.

    Args:
        table: the counts.
        measure: says how good a division is, and has the number of parts.
        seed: decides where the search goes on.
        drawn: (speakers,), the part of each in the best of many random divisions; no part is empty.

    Returns:
        (speakers,), the part of each.
    """
    if len(table.speakers) > MOST_COMPARED:
        return _exchanged(table, measure, seed, drawn)
    found = compare_all(table.counts, measure)
    better = measure.of_division(table.counts, found) < measure.of_division(table.counts, drawn)
    return found if better else drawn


def _exchanged(table: SpeakerCounts, measure: Yardstick, seed: int, drawn: Whole) -> Whole:
    """The best of several improved random divisions, disturbed and improved again while that helps."""
    best, least = drawn, measure.of_division(table.counts, drawn)
    left, idle = _CELLS, 0
    for trial in range(_MOST_TRIALS):
        found = drawn.copy() if trial == 0 else best.copy()
        order = table.order(seed, trial)
        if 0 < trial < _STARTS:
            found[order] = deal(table.counts[order], measure.shares)
        elif trial:
            found[order[:_DISTURBED]] = np.roll(found[order[:_DISTURBED]], 1)
        left -= exchange(table.counts, measure, found, left)
        mismatch = measure.of_division(table.counts, found)
        idle = 0 if mismatch < least else idle + 1
        if mismatch < least:
            best, least = found, mismatch
        if left <= 0 or idle > _MOST_IDLE or not least:
            break
    return best


def compare_all(counts: Whole, measure: Yardstick) -> Whole:
    """The best of all divisions, the part of each speaker; of several the first one, in the order of rows."""
    sums = np.zeros((1, counts.shape[1]), dtype=np.int64)
    for row in counts:
        sums = np.concatenate([sums, sums + row])  # of set s, whose bit r says whether row r is in it
    alone = [measure(part, sums) for part in range(len(measure.shares))]
    everyone = len(sums) - 1
    within = [_subsets(whole) for whole in range(len(sums))]
    # made[s]: the least mismatch of the parts so far, made of exactly the speakers in s
    made, chosen = alone[0], []
    for own in alone[1:-1]:
        added = [own[some] + made[whole ^ some] for whole, some in enumerate(within)]
        places = [int(np.argmin(sums_)) for sums_ in added]
        made = np.minimum([sums_[place] for sums_, place in zip(added, places, strict=True)], IMPOSSIBLE)
        chosen.append([int(some[place]) for some, place in zip(within, places, strict=True)])
    last = within[everyone]
    chosen.append([int(last[np.argmin(alone[-1][last] + made[everyone ^ last])])] * len(sums))
    part_of = np.zeros(len(counts), dtype=np.int64)
    for part in range(len(alone) - 1, 0, -1):
        mine = chosen[part - 1][everyone]
        part_of[[row for row in range(len(counts)) if mine >> row & 1]] = part
        everyone ^= mine
    return part_of


def _subsets(whole: int) -> Whole:
    """All sets of which no bit is outside ``whole``, ascending."""
    found = np.zeros(1, dtype=np.int64)
    for bit in range(whole.bit_length()):
        if whole >> bit & 1:
            found = np.concatenate([found, found | 1 << bit])
    return found


def deal(counts: Whole, shares: Whole) -> Whole:
    """A first division: one speaker a part, and each further one to the part that lacks most of its share."""
    sizes = counts.sum(axis=1)
    lacking = shares * int(sizes.sum())
    part_of = np.zeros(len(counts), dtype=np.int64)
    for row, size in enumerate(sizes * 1_000_000):
        part_of[row] = row if row < len(shares) else int(np.argmax(lacking))
        lacking[part_of[row]] -= size
    return part_of


def exchange(counts: Whole, measure: Yardstick, part_of: Whole, most: int) -> int:
    """Move one speaker or exchange two, whichever helps most, until nothing helps; changes ``part_of``.

    Where there are too many pairs to look at once, they are looked at in groups of speakers in turn.

    Args:
        counts: (speakers, emotions).
        measure: says how good a division is.
        part_of: (speakers,), the part of each.
        most: counts to look at, about.

    Returns:
        How many were looked at.
    """
    parts, emotions = len(measure.shares), counts.shape[1]
    here = held_by(counts, part_of, parts)
    now = measure(np.arange(parts), here)
    groups = max(1, -(-len(counts) // max(2 * parts, isqrt(_CELLS_AT_ONCE // emotions))))
    looked = idle = turn = 0
    while idle < groups and looked < most:
        pool = np.arange(turn % groups, len(counts), groups)
        row, other, source, target, change = _changes(counts, part_of, pool, parts)
        looked += len(row) * emotions
        gain = measure(source, here[source] - change) + measure(target, here[target] + change)
        gain -= now[source] + now[target]
        at = int(np.argmin(gain)) if len(gain) else -1
        turn, idle = turn + 1, idle + 1
        if at < 0 or gain[at] >= 0:
            continue
        idle = 0
        part_of[row[at]] = target[at]
        if other[at] >= 0:
            part_of[other[at]] = source[at]
        here[source[at]] -= change[at]
        here[target[at]] += change[at]
        now = measure(np.arange(parts), here)
    return looked


def _changes(
    counts: Whole, part_of: Whole, pool: Whole, parts: int
) -> tuple[Whole, Whole, Whole, Whole, Whole]:
    """Every move of a speaker of the pool to another part, then every exchange of two of different parts.

    Returns:
        The speaker that leaves ``source`` for ``target``; the one that goes the other way, or -1; source;
        target, each (n,); and what source loses and target gains, (n, emotions).
    """
    row = np.repeat(pool, parts)
    target = np.tile(np.arange(parts), len(pool))
    away = part_of[row] != target
    row, target = row[away], target[away]
    one, two = (pool[places] for places in np.triu_indices(len(pool), 1))
    apart = part_of[one] != part_of[two]
    one, two = one[apart], two[apart]
    source = np.concatenate([part_of[row], part_of[one]])
    change = np.concatenate([counts[row], counts[one] - counts[two]])
    other = np.concatenate([np.full(len(row), -1), two])
    return np.concatenate([row, one]), other, source, np.concatenate([target, part_of[two]]), change
