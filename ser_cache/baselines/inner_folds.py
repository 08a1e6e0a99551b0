"""The folds inside the training side, on which candidates of a grid are compared."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import TrainingError
from ser_cache.splits import SPLITS, SplitOptions

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

_LEAST = 2  # one trains, one is held out


def inner_folds(utterances: Sequence[Utterance], kind: str, folds: int, seed: int) -> NDArray[np.int64]:
    """Which inner fold each utterance of a training side is held out in.

    All chance comes from SHA-256 of ids and speakers, so that the order of utterances changes nothing.

    Args:
        utterances: the training side.
        kind: a key of ``protocols.INNER``.
        folds: how many are wanted; fewer are made where speakers, or utterances of an emotion, are too few.
        seed: the split's.

    Returns:
        The fold of each utterance, (n,), from 0.

    Raises:
        TrainingError: not even two folds can be made, or an emotion would be trained on in none of them.
    """
    makers = {"speakers": _by_speaker, "stratified": _stratified}
    fold_of = makers[kind](utterances, folds, seed)
    emotions = np.array([utterance.emotion for utterance in utterances])
    for fold in range(int(fold_of.max()) + 1):
        if len(set(emotions[fold_of != fold])) < _LEAST:
            raise TrainingError(
                f"without its inner fold {fold} the training side has one emotion, "
                f"{emotions[fold_of != fold][0]}: too few speakers express the others; use --protocol "
                "wang2023, whose folds are by utterance, or choose others with --emotions."
            )
    return fold_of


def shortage(utterances: Sequence[Utterance], kind: str, folds: int) -> str:
    """Why :func:`inner_folds` makes fewer than are wanted, as a line; "" where it does not."""
    if kind == "speakers":
        made, more = len({utterance.speaker for utterance in utterances}), "there are no more speakers"
    else:
        fewest, made = _fewest(utterances)
        more = f"{fewest} has no more utterances"
    return f"{made} inner folds instead of {folds}: {more} to train on" if made < folds else ""


def _by_speaker(utterances: Sequence[Utterance], folds: int, seed: int) -> NDArray[np.int64]:
    """Whole speakers, dealt out as ``--split folds`` does; with few speakers, each is a fold."""
    speakers = sorted({utterance.speaker for utterance in utterances})
    if len(speakers) < _LEAST:
        raise TrainingError(
            f"{speakers[0]} is the only speaker to train on, so none can be held out in inner folds; use "
            "another --split, or --protocol wang2023, whose folds are by utterance."
        )
    number = {speaker: place for place, speaker in enumerate(speakers)}
    if len(speakers) > folds and folds > _LEAST:
        ordered = sorted(utterances, key=lambda utterance: utterance.id)
        made = SPLITS["folds"].make(ordered, SplitOptions("folds", seed, folds=folds))
        held_out = {id_: place for place, split in enumerate(made) for id_ in split.test}
        return np.array([held_out[utterance.id] for utterance in utterances])
    return np.array([number[utterance.speaker] % folds for utterance in utterances])


def _stratified(utterances: Sequence[Utterance], folds: int, seed: int) -> NDArray[np.int64]:
    """Utterances of each emotion dealt out in turn, going on at the fold where the last emotion ended."""
    by_emotion: dict[str, list[int]] = {}
    for place, utterance in enumerate(utterances):
        by_emotion.setdefault(utterance.emotion, []).append(place)
    fewest, least = _fewest(utterances)
    if least < _LEAST:
        raise TrainingError(
            f"{fewest} has {least} utterance to train on, and inner folds need two of each emotion; choose "
            "others with --emotions."
        )
    folds = min(folds, least)
    fold_of, dealt = np.empty(len(utterances), dtype=np.int64), 0
    for emotion in sorted(by_emotion):
        for place in sorted(by_emotion[emotion], key=lambda place: _key(seed, utterances[place].id)):
            fold_of[place] = dealt % folds
            dealt += 1
    return fold_of


def _fewest(utterances: Sequence[Utterance]) -> tuple[str, int]:
    """The emotion with the fewest utterances, and how many it has."""
    counts = Counter(utterance.emotion for utterance in utterances)
    fewest = min(counts, key=lambda emotion: (counts[emotion], emotion))
    return fewest, counts[fewest]


def _key(seed: int, identifier: str) -> bytes:
    # Not the key of the outer split's draw: its order would be the same again.
    return hashlib.sha256(f"inner:{seed}:{identifier}".encode()).digest()
