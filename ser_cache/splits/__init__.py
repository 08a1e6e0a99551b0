"""Who trains and who is tested: every way of dividing a corpus, and the checks that keep it honest.

A split is a function of the utterances' ids, speakers and emotions and of its options: neither the order of
rows, nor the machine, nor a library's version changes it, because all chance comes from SHA-256 and every
comparison is between whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ser_cache.errors import SplitError, UnknownNameError
from ser_cache.splits.division import (
    SIDES,
    Labels,
    Split,
    SplitKind,
    SplitOptions,
    absence_warnings,
    check_split,
    of_folds,
    rarity_warnings,
    ratio_warnings,
    shared_speakers,
    tested_and_trained,
)
from ser_cache.splits.emobox import by_fold_files, fold_file_notes
from ser_cache.splits.speakers import by_speaker, leave_one_speaker_out, same_for_every_seed, speaker_folds
from ser_cache.splits.utterances import by_column, by_utterance

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

__all__ = [
    "SIDES",
    "SPLITS",
    "Split",
    "SplitKind",
    "SplitOptions",
    "check_split",
    "make_splits",
    "remarks",
    "shared_speakers",
    "split_config",
    "warnings",
]

_SPEAKER_DEPENDENT = (
    "speaker-dependent: the tested speakers are also trained on, so scores are too high for new speakers"
)

SPLITS: dict[str, SplitKind] = {
    "speaker": SplitKind(
        by_speaker, "speaker-disjoint, by ratios (80/10/10)", ("seed", "ratios"), notes=same_for_every_seed
    ),
    "loso": SplitKind(leave_one_speaker_out, "leave one speaker out; the next one validates"),
    "folds": SplitKind(
        speaker_folds,
        "speaker-disjoint k-fold; the next fold validates",
        ("seed", "folds"),
        notes=same_for_every_seed,
    ),
    "random": SplitKind(
        by_utterance,
        "by utterance, stratified by emotion; speaker-dependent",
        ("seed", "ratios"),
        _SPEAKER_DEPENDENT,
    ),
    "column": SplitKind(by_column, "as the manifest's fold column says"),
    "emobox": SplitKind(
        by_fold_files,
        "EmoBox's fold files, to compare with its published numbers",
        ("seed", "fold_files"),
        notes=fold_file_notes,
    ),
}


def make_splits(utterances: Iterable[Utterance], options: SplitOptions) -> tuple[Split, ...]:
    """Divide a corpus, check every fold, and return the folds in a fixed order.

    Args:
        utterances: those to divide; their order does not matter.
        options: the kind of split and its settings.

    Raises:
        UnknownNameError: no such kind of split.
        SplitError: the corpus does not allow it (too few speakers, an emotion that only held-out speakers
            express, no fold column), in one line that says what to do.
    """
    kind = _kind(options)
    ordered = sorted(utterances, key=attrgetter("id"))
    if not ordered:
        raise SplitError(
            "there are no utterances to split; prepare a manifest and extract its features first."
        )
    splits = tuple(kind.make(ordered, options))
    labels = Labels.of(ordered)
    for split in splits:
        check_split(split, labels)
    return splits


def split_config(options: SplitOptions) -> dict[str, Any]:
    """The options that this kind of split uses, as JSON; the others must not make a run look different.

    Raises:
        UnknownNameError: no such kind of split.
    """
    values = asdict(options) | {"ratios": list(options.ratios)}
    # Where the fold files are is of one machine; what they say is in the splits, whose digest a run holds.
    named = [name for name in _kind(options).options if name != "fold_files"]
    return {"kind": options.kind} | {name: values[name] for name in named}


def warnings(
    splits: Sequence[Split], utterances: Sequence[Utterance], options: SplitOptions
) -> tuple[str, ...]:
    """What a user must know before believing a number from these splits, one line each.

    Speakers on both sides, shares other than those asked for, emotions of which a validation or test side has
    none or next to none, and what the kind of split has to say.

    Args:
        splits: as they were made, or what is left of them.
        utterances: those that the splits are of.
        options: what they were made with.
    """
    kind = _kind(options)
    labels = Labels.of(utterances)
    found = [kind.caution] if kind.caution else _shared_sides(splits, labels)
    found += _shares(splits, utterances, options)
    found += absence_warnings(splits, labels) + rarity_warnings(splits, labels)
    return (*found, *_notes(utterances, options))


def remarks(
    splits: Sequence[Split], utterances: Sequence[Utterance], options: SplitOptions
) -> tuple[str, ...]:
    """What is to be told of a division itself: the shares that were got, and what it left out, one line each.

    Args:
        splits: as they were made.
        utterances: those that the splits are of.
        options: what they were made with.
    """
    return (*_shares(splits, utterances, options), *_notes(utterances, options))


def _shares(splits: Sequence[Split], utterances: Sequence[Utterance], options: SplitOptions) -> list[str]:
    return ratio_warnings(splits[0], utterances, options) if "ratios" in _kind(options).options else []


def _notes(utterances: Sequence[Utterance], options: SplitOptions) -> list[str]:
    return _kind(options).notes(sorted(utterances, key=attrgetter("id")), options)


def _shared_sides(splits: Sequence[Split], labels: Labels) -> list[str]:
    """One line where tested speakers are also trained on, or else where validation speakers are."""
    several = [split for split in splits if not split.speaker_disjoint]
    tested = [split.fold for split in several if tested_and_trained(split, labels)]
    if tested:
        where = "" if len(tested) == len(splits) else f" in {of_folds(tested, splits)}"
        return [f"{_SPEAKER_DEPENDENT}{where}"]
    return ["the validation speakers are also trained on; those who are tested are not"] if several else []


def _kind(options: SplitOptions) -> SplitKind:
    if options.kind not in SPLITS:
        raise UnknownNameError("split", options.kind, SPLITS)
    return SPLITS[options.kind]
