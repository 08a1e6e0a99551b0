"""What checks look at: a corpus, its splits, and what was measured of its audio; computed once, shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ser_cache.audit.acoustics import Measurement
from ser_cache.audit.copies import CopyGroup, find_copies
from ser_cache.audit.prediction import Fold, Integers, cells_of_names
from ser_cache.manifest import Manifest, Utterance
from ser_cache.splits import SIDES, Split


@dataclass(frozen=True)
class Facts:
    """A corpus under a split.

    Attributes:
        manifest: the corpus.
        splits: its folds; none for the checks that need none.
        measured: what was measured of each clip, by id; empty without audio.
    """

    manifest: Manifest
    splits: tuple[Split, ...] = ()
    measured: Mapping[str, Measurement] = field(default_factory=dict)

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """The clips, in the order of every array here."""
        return self.manifest.utterances

    @cached_property
    def by_id(self) -> dict[str, Utterance]:
        """Each clip by its id."""
        return {utterance.id: utterance for utterance in self.utterances}

    @cached_property
    def labels(self) -> Integers:
        """The emotion of each clip, a number into ``manifest.emotions``, (clips,)."""
        return cells_of_names([utterance.emotion for utterance in self.utterances])

    @cached_property
    def speakers(self) -> Integers:
        """The speaker of each clip, a number into ``manifest.speakers``, (clips,)."""
        return cells_of_names([utterance.speaker for utterance in self.utterances])

    @cached_property
    def number(self) -> dict[str, int]:
        """The place of each clip in the arrays, by id."""
        return {utterance.id: place for place, utterance in enumerate(self.utterances)}

    @cached_property
    def heard(self) -> Integers:
        """The numbers of the clips that were measured, ascending."""
        return np.array([n for n, u in enumerate(self.utterances) if u.id in self.measured], dtype=np.int64)

    @cached_property
    def copies(self) -> tuple[CopyGroup, ...]:
        """Groups of clips that hold one recording."""
        return find_copies(self.utterances, self.measured)

    def folds(self, kept: Integers) -> list[Fold]:
        """The folds as places in ``kept``, which are ascending clip numbers.

        Validation belongs to what is learned from: nothing is chosen by it here, and heads see it when their
        epoch is chosen.
        """
        place = np.full(len(self.utterances), -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))

        def places(ids: Sequence[str]) -> Integers:
            at = place[[self.number[identifier] for identifier in ids]]
            return at[at >= 0]

        folds = [Fold(places(split.train + split.validation), places(split.test)) for split in self.splits]
        return [fold for fold in folds if len(fold.train) and len(fold.test)]

    def shared(self, name_of: Mapping[str, str]) -> dict[tuple[str, str], dict[str, int]]:
        """Which names stand on two sides of a fold.

        Args:
            name_of: what a clip is called (its speaker, its sentence), by id; clips without one are left out.

        Returns:
            By pair of sides: each such name, sorted, and in how many folds it does.
        """
        found: dict[tuple[str, str], dict[str, int]] = {
            pair: {} for pair in (("train", "validation"), ("train", "test"), ("validation", "test"))
        }
        for split in self.splits:
            names = {side: {name_of[i] for i in split.side(side) if i in name_of} for side in SIDES}
            for (one, other), counts in found.items():
                for name in names[one] & names[other]:
                    counts[name] = counts.get(name, 0) + 1
        return {pair: dict(sorted(counts.items())) for pair, counts in found.items()}
