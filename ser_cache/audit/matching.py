"""Pairs of clips that are one recording, found among all without comparing each with each.

Haitsma and Kalker's search (ISMIR 2002, section 5): copies share some words of their fingerprints unchanged,
so equal words propose pairs, and how many bits differ decides. Words are sorted once, and each is paired with
its next equals; that is O(W log W) for W words in all, where comparing all pairs of clips at all shifts would
be O(clips^2 x words^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_cache.audio import SAMPLE_RATE
from ser_cache.audit.fingerprints import HOP

Words = NDArray[np.uint32]
_PAIRS = 20_000  # at a time: some 200 MB for clips of 2 s
_NEARLY = 0.1  # what the shift next to the right one adds to the share of bits that differ, and a margin
_ONES = np.array([number.bit_count() for number in range(1 << 16)], dtype=np.uint8)


@dataclass(frozen=True)
class MatchOptions:
    """When two clips count as one recording.

    Attributes:
        most_errors: share of bits that may differ, over the words that both have. See docs/audit.md for what
            copies and what different takes give.
        least_words: at least so many words must be compared: 30 are 0.3 s of speech.
        least_share: and at least this share of the words of the clip that has fewer.
        most_proposals: pairs that are compared bit by bit, per clip; those with the most equal words at one
            shift. It bounds the time in a large corpus, where unrelated words are equal by chance.
        most_equals: a word is paired with so many of its equals at most. It bounds the time where many clips
            hold one sound; with more copies than this of one clip, each is still found with some of them.
    """

    most_errors: float = 0.2
    least_words: int = 30
    least_share: float = 0.5
    most_proposals: int = 20
    most_equals: int = 40


@dataclass(frozen=True, order=True)
class Match:
    """Two clips that hold one recording.

    Attributes:
        first: number of a clip.
        second: number of another, larger.
        errors: share of bits that differ; 0 for exact copies, about 0.5 for unrelated clips.
        shift: seconds that the second begins later in the recording than the first.
        share: of the words of the clip that has fewer, those that were compared.
    """

    first: int
    second: int
    errors: float
    shift: float
    share: float


def matches(clips: Sequence[Words], options: MatchOptions | None = None) -> list[Match]:
    """Every pair of clips that hold one recording, sorted.

    Args:
        clips: the fingerprint of each, (words,) uint32; 0 is no word.
        options: when a pair counts.
    """
    options = options or MatchOptions()
    found = []
    for first, second, shift in _plausible(clips, proposals(clips, options), options):
        match = compare(clips[first], clips[second], shift, options)
        if match is not None:
            errors, at, share = match
            found.append(Match(first, second, errors, at * HOP / SAMPLE_RATE, share))
    return sorted(found)


def proposals(clips: Sequence[Words], options: MatchOptions) -> NDArray[np.int64]:
    """Pairs of clips that share words, each once: (pairs, 3), first, second, and the best shift in words.

    Votes of neighbouring shifts count together: a copy that begins between two words shares some with either.
    """
    sizes = np.array([len(words) for words in clips], dtype=np.int64)
    if not sizes.sum():
        return np.zeros((0, 3), dtype=np.int64)
    words = np.concatenate(clips)
    clip = np.repeat(np.arange(len(clips), dtype=np.int64), sizes)
    place = np.arange(len(words)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = words != 0
    words, clip, place = words[kept], clip[kept], place[kept]
    order = np.argsort(words, kind="stable")  # stable: within a word, clips stay in order
    words, clip, place = words[order], clip[order], place[order]
    span = 2 * int(sizes.max()) + 4
    votes = []
    for step in range(1, options.most_equals + 1):
        equal = np.flatnonzero((words[step:] == words[:-step]) & (clip[step:] != clip[:-step]))
        if step > 1 and not (words[step:] == words[:-step]).any():
            break
        first, second = clip[equal], clip[equal + step]
        shift = place[equal] - place[equal + step] + span // 2
        votes.append((first * len(clips) + second) * span + shift)
    return _elected(np.concatenate(votes), len(clips), span, options)


def _elected(votes: NDArray[np.int64], clips: int, span: int, options: MatchOptions) -> NDArray[np.int64]:
    """Each pair at the shift with the most votes, the next shift's counted with them; the best pairs only.

    The limit holds for each first clip, so that many copies of one recording do not crowd out other pairs.
    """
    keys, counts = np.unique(votes, return_counts=True)
    follows = np.flatnonzero(keys[1:] == keys[:-1] + 1)
    together = counts.copy()
    together[follows] += counts[follows + 1]
    pairs = keys // span
    chosen = np.lexsort((-together, pairs))
    chosen = chosen[np.diff(pairs[chosen], prepend=-1) != 0]
    first = pairs[chosen] // clips
    chosen = chosen[np.lexsort((-together[chosen], first))]
    first = pairs[chosen] // clips
    rank = np.arange(len(first)) - np.searchsorted(first, first)
    chosen = np.sort(chosen[rank < options.most_proposals])
    pair = pairs[chosen]
    return np.stack([pair // clips, pair % clips, keys[chosen] % span - span // 2], axis=1)


def _plausible(
    clips: Sequence[Words], pairs: NDArray[np.int64], options: MatchOptions
) -> list[tuple[int, int, int]]:
    """The proposed pairs that differ little enough, or nearly, at the very shift proposed.

    Nearly all proposals are chance, and many thousands are looked at together in the time of a few alone.
    """
    sizes = np.array([len(words) for words in clips], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    words = np.concatenate(clips) if len(pairs) else np.zeros(0, dtype=np.uint32)
    kept: list[tuple[int, int, int]] = []
    for begin in range(0, len(pairs), _PAIRS):
        some = pairs[begin : begin + _PAIRS]
        first, second, shift = some.T
        start = np.maximum(0, shift)
        length = np.maximum(0, np.minimum(sizes[first], sizes[second] + shift) - start)
        pair = np.repeat(np.arange(len(some)), length)
        along = np.arange(len(pair)) - np.repeat(np.cumsum(length) - length, length)
        ours = words[(starts[first] + start)[pair] + along]
        theirs = words[(starts[second] + start - shift)[pair] + along]
        both = (ours != 0) & (theirs != 0)
        bits = 32 * np.bincount(pair, both, len(some))
        differing = np.bincount(pair, np.where(both, _ones(ours ^ theirs), 0), len(some))
        close = differing <= (options.most_errors + _NEARLY) * bits
        kept += [(one, other, at) for one, other, at in some[close & (bits > 0)].tolist()]
    return kept


def _ones(words: Words) -> NDArray[np.uint8]:
    """How many bits of each word are set."""
    ones: NDArray[np.uint8] = _ONES[words & 0xFFFF] + _ONES[words >> 16]
    return ones


def compare(
    first: Words, second: Words, shift: int, options: MatchOptions
) -> tuple[float, int, float] | None:
    """Line two fingerprints up around a shift: (share of bits that differ, shift, share compared).

    None where too little can be compared or too much differs.
    """
    results = [_errors(first, second, at, options) for at in range(shift - 1, shift + 2)]
    known = [result for result in results if result is not None]
    best = min(known, default=None)
    return None if best is None or best[0] > options.most_errors else best


def _errors(
    first: Words, second: Words, shift: int, options: MatchOptions
) -> tuple[float, int, float] | None:
    start, end = max(0, shift), min(len(first), len(second) + shift)
    if end <= start:
        return None
    ours, theirs = first[start:end], second[start - shift : end - shift]
    both = (ours != 0) & (theirs != 0)
    fewer = min(np.count_nonzero(first), np.count_nonzero(second))
    compared = int(np.count_nonzero(both))
    if compared < max(options.least_words, options.least_share * fewer):
        return None
    differing = np.unpackbits((ours[both] ^ theirs[both]).view(np.uint8))
    return float(differing.mean()), shift, compared / fewer
