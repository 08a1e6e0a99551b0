"""One division of a corpus into train, validation and test, and the checks that keep it honest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ser_cache.errors import SplitError

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

SIDES = ("train", "validation", "test")
FEW = 5
"""With fewer utterances of an emotion on a side, each moves its recall by more than 20 points."""

_FEW_SPEAKERS = 24  # of RAVDESS: up to here, a training for every speaker takes no longer than is usual


@dataclass(frozen=True)
class Split:
    """One division of a corpus.

    Attributes:
        fold: its name: the tested speaker for leave-one-speaker-out, otherwise a number or the value of the
            fold column.
        train: utterance ids, sorted (the order of a manifest).
        validation: utterance ids, sorted.
        test: utterance ids, sorted.
        speaker_disjoint: whether it claims that no speaker is on two sides.
        left_out: utterance ids, sorted, that are on no side, because a list that was given has them nowhere.
    """

    fold: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    speaker_disjoint: bool
    left_out: tuple[str, ...] = ()

    def side(self, name: str) -> tuple[str, ...]:
        """The ids of ``train``, ``validation`` or ``test``."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


@dataclass(frozen=True)
class SplitOptions:
    """How to divide a corpus.

    Attributes:
        kind: a name in :data:`ser_cache.splits.SPLITS`.
        seed: the split's own seed, apart from the models' seeds.
        ratios: shares of train, validation and test, for the kinds that draw one split.
        folds: how many, for the speaker k-fold.
        fold_files: EmoBox's folder of a corpus, or one above it; its content, not its name, makes a split.
    """

    kind: str = "speaker"
    seed: int = 0
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    folds: int = 5
    fold_files: Path | None = None


@dataclass(frozen=True)
class SplitKind:
    """A way of dividing a corpus, as the registry holds it.

    Attributes:
        make: turns utterances (sorted by id) and options into splits.
        summary: one line for listings.
        options: the attributes of :class:`SplitOptions` that it uses.
        caution: what its user must know every time; empty for none.
        notes: what its user must know of this division of these utterances, one line each.
    """

    make: Callable[[Sequence[Utterance], SplitOptions], list[Split]]
    summary: str
    options: tuple[str, ...] = ()
    caution: str = ""
    notes: Callable[[Sequence[Utterance], SplitOptions], list[str]] = lambda _, __: []


@dataclass(frozen=True)
class Labels:
    """What checks and warnings look up, made once for all folds: of a million utterances it takes a second.

    Attributes:
        emotion_of: emotion by utterance id.
        speaker_of: speaker by utterance id, in the same order.
    """

    emotion_of: dict[str, str]
    speaker_of: dict[str, str]

    @classmethod
    def of(cls, utterances: Labelled) -> Labels:
        """Of these utterances, or these labels themselves."""
        if isinstance(utterances, Labels):
            return utterances
        ids = list(map(attrgetter("id"), utterances))
        emotions = dict(zip(ids, map(attrgetter("emotion"), utterances), strict=True))
        return cls(emotions, dict(zip(ids, map(attrgetter("speaker"), utterances), strict=True)))

    def speakers(self, ids: Iterable[str]) -> set[str]:
        """Who speaks these utterances."""
        return set(map(self.speaker_of.__getitem__, ids))


Labelled: TypeAlias = "Sequence[Utterance] | Labels"


def divide(
    utterances: Sequence[Utterance], fold: str, sides: Iterable[str], *, speaker_disjoint: bool
) -> Split:
    """Build a split from the side of each utterance, in the order of ``utterances``."""
    ids, whose = list(map(attrgetter("id"), utterances)), list(sides)
    if len(ids) != len(whose):
        raise ValueError(f"{len(ids)} utterances, {len(whose)} sides")
    train, validation, test = (tuple(compress(ids, map(side.__eq__, whose))) for side in SIDES)
    return Split(fold, train, validation, test, speaker_disjoint)


def check_split(split: Split, utterances: Labelled) -> None:
    """Hold a split to what it claims.

    Raises:
        SplitError: an utterance is on two sides, unknown, or on none and not left out either; a side is
            empty; a speaker is on two sides of a split that claims to be speaker-disjoint; an emotion is
            missing from training.
    """
    fold = f"fold {split.fold!r}"
    for side in SIDES:
        if not split.side(side):
            raise SplitError(
                f"{fold}: no utterance is left for the {side} side; there are too few utterances for this "
                "division."
            )
    labels = Labels.of(utterances)
    emotion_of = labels.emotion_of
    _check_membership(split, emotion_of.keys())
    if split.speaker_disjoint and (shared := shared_speakers(split, labels)):
        raise SplitError(f"{fold} claims to be speaker-disjoint, but speaker {shared[0]!r} is on two sides.")
    if missing := set(emotion_of.values()).difference(map(emotion_of.__getitem__, split.train)):
        raise SplitError(
            f"{fold} has no training utterance of {', '.join(sorted(missing))}: too few speakers express it; "
            f"choose the others with --emotions, or use another --split."
        )


def _check_membership(split: Split, known: Set[str]) -> None:
    """Every utterance is on exactly one side, or left out by name."""
    named = [*split.train, *split.validation, *split.test, *split.left_out]
    if len(named) == len(known) == len(set(named)) and all(map(known.__contains__, named)):
        return  # at the speed of sets; a million utterances one by one take seconds for each fold
    placed: set[str] = set()
    for side in SIDES:
        for identifier in split.side(side):
            if identifier in placed:
                raise SplitError(f"fold {split.fold!r}: {identifier!r} is in it twice.")
            if identifier not in known:
                raise SplitError(f"fold {split.fold!r}: {identifier!r} is not among the utterances.")
            placed.add(identifier)
    if both := placed.intersection(split.left_out):
        raise SplitError(f"fold {split.fold!r}: {min(both)!r} is on a side, and left out.")
    if lost := known - placed - set(split.left_out):
        raise SplitError(f"fold {split.fold!r}: {min(lost)!r} is on no side ({len(lost)} such utterances).")


def shared_speakers(split: Split, utterances: Labelled) -> list[str]:
    """Speakers on more than one side of a split, sorted."""
    labels = Labels.of(utterances)
    train, validation, test = (labels.speakers(split.side(side)) for side in SIDES)
    return sorted((train & validation) | (train & test) | (validation & test))


def tested_and_trained(split: Split, utterances: Labelled) -> list[str]:
    """Speakers who are tested, and trained or validated on, sorted."""
    labels = Labels.of(utterances)
    known = labels.speakers(split.train) | labels.speakers(split.validation)
    return sorted(known & labels.speakers(split.test))


def percents(shares: Sequence[float]) -> str:
    """Shares as a reader writes them: ``80/10/10``."""
    return "/".join(f"{100 * share:.0f}" for share in shares)


def ratio_warnings(split: Split, utterances: Sequence[Utterance], options: SplitOptions) -> list[str]:
    """One line where a side's share differs from the one asked for by more than three hundredths."""
    total = len(utterances)
    asked = [ratio / sum(options.ratios) for ratio in options.ratios]
    got = [len(split.side(side)) / total for side in SIDES]
    if max(abs(a - g) for a, g in zip(asked, got, strict=True)) <= 0.03:
        return []
    speaker_of = {utterance.id: utterance.speaker for utterance in utterances}
    sides = "/".join(str(len({speaker_of[id_] for id_ in split.side(side)})) for side in SIDES)
    shares = f"asked for {percents(asked)}, got {percents(got)} (train/validation/test)"
    speakers = len(set(speaker_of.values()))
    found = f"{shares}, the nearest found for {total:,} utterances of {speakers} speakers ({sides})"
    if options.kind == "random":
        return [found]
    return [f"{found}; to test every speaker: --split {'loso' if speakers <= _FEW_SPEAKERS else 'folds'}"]


def absence_warnings(splits: Sequence[Split], utterances: Labelled) -> list[str]:
    """One line per side and emotion that no utterance there shows, with the folds where that is so."""
    labels = Labels.of(utterances)
    emotion_of = labels.emotion_of
    found = []
    for side in ("validation", "test"):
        present = {split.fold: set(map(emotion_of.__getitem__, split.side(side))) for split in splits}
        for emotion in sorted(set(emotion_of.values())):
            folds = [fold for fold, here in present.items() if emotion not in here]
            if folds:
                where = "" if len(splits) == 1 else f" of {of_folds(folds, splits)}"
                found.append(f"no {emotion} on the {side} side{where}; {_how_many(emotion, labels)}")
    return found


def of_folds(folds: Sequence[str], splits: Sequence[Split]) -> str:
    """How many folds, and which: ``3 of 6 folds (f1, f2, f3)``."""
    listed = ", ".join(folds[:4]) + (", ..." if len(folds) > 4 else "")
    return f"{len(folds)} of {len(splits)} folds ({listed})"


def rarity_warnings(splits: Sequence[Split], utterances: Labelled) -> list[str]:
    """One line per side with emotions of which it has so few utterances that no score of theirs says much.

    Of a single split only: where every speaker is tested in some fold, predictions are pooled.
    """
    if len(splits) > 1:
        return []
    emotion_of = Labels.of(utterances).emotion_of
    whole, found = Counter(emotion_of.values()), []
    for side in ("validation", "test"):
        here = Counter(emotion_of[identifier] for identifier in splits[0].side(side))
        few = [
            f"{count} {emotion} (of {whole[emotion]:,})"
            for emotion, count in sorted(here.items())
            if count < FEW
        ]
        if few and max(here.values()) >= FEW:  # of a corpus that small, everything is rare
            found.append(f"only {', '.join(few)} on the {side} side: a score of so few says little")
    return found


def _how_many(emotion: str, labels: Labels) -> str:
    """How rare an emotion is."""
    speakers = [labels.speaker_of[id_] for id_, shown in labels.emotion_of.items() if shown == emotion]
    clips = "1 utterance" if len(speakers) == 1 else f"{len(speakers):,} utterances"
    people = "1 speaker" if len(set(speakers)) == 1 else f"{len(set(speakers)):,} speakers"
    return f"there are {clips} of it, by {people}"
