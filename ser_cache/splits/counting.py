"""How many utterances of each emotion every speaker has, and how far a division of speakers is from the wish.

Whole numbers throughout, so that no machine and no library rounds a tie the other way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

Whole = NDArray[np.int64]

MILLION = 1_000_000  # shares are compared in millionths, as whole numbers
IMPOSSIBLE = 1 << 60
"""The mismatch of a part without a speaker; four of them still fit into 64 bits."""
# A mismatch is one number, of which distance has the low bits: what stands higher is mended first.
_PER_MISSING = 1 << 32
_PER_MISSING_IN_TRAINING = 1 << 48
_MOST_MISSING = 1 << 10


@dataclass(frozen=True)
class SpeakerCounts:
    """Utterances counted by speaker and emotion.

    Attributes:
        speakers: sorted.
        counts: (speakers, emotions); the emotions are sorted too.
    """

    speakers: tuple[str, ...]
    counts: Whole

    @classmethod
    def of(cls, utterances: Sequence[Utterance]) -> SpeakerCounts:
        """Count."""
        speakers = sorted({utterance.speaker for utterance in utterances})
        emotions = sorted({utterance.emotion for utterance in utterances})
        row = {speaker: number for number, speaker in enumerate(speakers)}
        column = {emotion: number for number, emotion in enumerate(emotions)}
        counts = np.zeros((len(speakers), len(emotions)), dtype=np.int64)
        for utterance in utterances:
            counts[row[utterance.speaker], column[utterance.emotion]] += 1
        return cls(tuple(speakers), counts)

    def order(self, seed: int, trial: int) -> list[int]:
        """Rows in a random order that the seed, the trial's number and the speakers' names fix for good."""
        keys = [_key(f"{seed}:{trial}:{speaker}") for speaker in self.speakers]
        return sorted(range(len(keys)), key=keys.__getitem__)


class Yardstick:
    """How far each part of a division is from what was asked; a division's mismatch is the sum of its parts'.

    In this order: emotions missing from the part that trains; emotions missing from any part; and, in
    millionths, how far the part's size is from its share plus how far its distribution of emotions is from
    the corpus's (total variation).
    """

    def __init__(self, counts: Whole, shares: Sequence[int], training: int | None) -> None:
        """Measure divisions of one corpus.

        Args:
            counts: (speakers, emotions).
            shares: what each part should hold of all utterances, in millionths.
            training: the part in which no emotion may be missing; None where all parts are alike.
        """
        self.shares = np.array(shares, dtype=np.int64)
        self.training = -1 if training is None else training
        self._whole = counts.sum(axis=0)
        self._total = int(self._whole.sum())

    def __call__(self, part: Whole | int, here: Whole) -> Whole:
        """The mismatch of parts that hold so many utterances.

        Args:
            part: (n,) or one number: which part each is.
            here: (n, emotions).

        Returns:
            (n,); ``IMPOSSIBLE`` or more where a part is empty.
        """
        sizes = here.sum(axis=1)
        held = np.maximum(sizes, 1)
        apart = np.abs(here * self._total - self._whole * sizes[:, None]).sum(axis=1)
        variation = _millionths(apart, 2 * held * self._total)
        distance = np.abs(MILLION * sizes // self._total - self.shares[part]) + variation
        missing = np.minimum((here == 0).sum(axis=1), _MOST_MISSING)
        weight = _PER_MISSING + _PER_MISSING_IN_TRAINING * np.equal(part, self.training)
        mismatch: Whole = distance + missing * weight
        return np.where(sizes > 0, mismatch, IMPOSSIBLE)

    def of_division(self, counts: Whole, part_of: Whole) -> int:
        """The mismatch of a whole division, given the part of each speaker."""
        return int(self.of_divisions(counts, part_of[None])[0])

    def of_divisions(self, counts: Whole, divisions: Whole) -> Whole:
        """The mismatch of each of n divisions, (n,), given the part of each speaker, (n, speakers)."""
        parts, many = len(self.shares), len(divisions)
        rows = divisions + parts * np.arange(many)[:, None]
        here = held_by(np.tile(counts, (many, 1)), rows.ravel(), parts * many)
        each: Whole = self(np.tile(np.arange(parts), many), here).reshape(many, parts).sum(axis=1)
        return each


# The folds of leave-one-speaker-out each divide nearly the same speakers once more, in nearly the same order.
@lru_cache(maxsize=1 << 15)
def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _millionths(above: Whole, below: Whole) -> Whole:
    """A fraction in millionths, rounded down; in two steps, which 64 bits allow for 60 million utterances."""
    thousandths, rest = np.divmod(1000 * above, below)
    millionths: Whole = 1000 * thousandths + 1000 * rest // below
    return millionths


def held_by(counts: Whole, part_of: Whole, parts: int) -> Whole:
    """What each part holds, (parts, emotions), given the part of each speaker."""
    here = np.zeros((parts, counts.shape[1]), dtype=np.int64)
    np.add.at(here, part_of, counts)
    return here
