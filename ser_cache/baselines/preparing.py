"""What a baseline is trained on: utterances with features, class numbers, folds; refused where too little."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ser_cache.errors import SplitError, TrainingError
from ser_cache.functionals import summarise_frames
from ser_cache.splits import SIDES, Split, SplitOptions, check_split, make_splits, warnings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ser_cache.functionals import Summarisable
    from ser_cache.manifest import Manifest, Utterance

_NAMED = 3


@dataclass(frozen=True)
class BaselineTask:
    """A corpus, divided.

    Attributes:
        utterances: those with features, sorted by id, so that the order of rows changes no result.
        classes: emotion names in the order of class numbers.
        labels: class numbers, (n,).
        splits: every fold.
        notes: what must be known before believing the numbers, one line each.
    """

    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[Split, ...]
    notes: tuple[str, ...]

    def rows(self, split: Split, *sides: str) -> NDArray[np.int64]:
        """Places of the utterances on some sides of a split, ascending."""
        place = {utterance.id: number for number, utterance in enumerate(self.utterances)}
        return np.array(sorted(place[id_] for side in sides for id_ in split.side(side)), dtype=np.int64)


def prepare(
    ids: Sequence[str], failed: Mapping[str, str], whose: str, manifest: Manifest, split: SplitOptions
) -> BaselineTask:
    """Divide a corpus for baselines.

    Args:
        ids: the utterances with features.
        failed: why others have none.
        whose: backbone and corpus, for messages.
        manifest: the labels; the split is made from all of it, so that a clip without features changes
            nobody's side.
        split: how to divide.

    Raises:
        SplitError: the corpus does not allow the split.
        TrainingError: fewer than two emotions have features, or a side is left without any.
    """
    held = set(ids)
    utterances = tuple(sorted((u for u in manifest.utterances if u.id in held), key=lambda one: one.id))
    classes = tuple(sorted({utterance.emotion for utterance in utterances}))
    if len(classes) < 2:
        raise TrainingError(
            f"{whose} has features of {' and '.join(classes) or 'no emotion'} alone, and a classifier needs "
            "two emotions or more; mend what failed, or add to the manifest."
        )
    splits = tuple(_held(one, held) for one in make_splits(manifest.utterances, split))
    for one in splits:
        try:
            check_split(one, utterances)
        except SplitError as error:
            raise TrainingError(f"{whose}, {error} {len(failed)} utterances have no features.") from error
    number = {emotion: place for place, emotion in enumerate(classes)}
    labels = np.array([number[utterance.emotion] for utterance in utterances], dtype=np.int64)
    notes = (*_left_out(manifest, utterances, failed, classes), *warnings(splits, utterances, split))
    return BaselineTask(utterances, classes, labels, splits, notes)


def points_of(
    features: Summarisable, task: BaselineTask, layer: int, functionals: Sequence[str]
) -> NDArray[np.float64]:
    """One vector for each of a task's utterances, (n, functionals * width).

    Raises:
        TrainingError: a value is not finite, or all utterances have the same ones.
        SettingsError: a functional needs frames that are not cached.
    """
    found = summarise_frames(features, layer, functionals)
    place = {id_: row for row, id_ in enumerate(features.ids)}
    points = found[[place[utterance.id] for utterance in task.utterances]]
    whose = f"layer {layer} of {features.backbone}/{features.corpus}"
    wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(wrong):
        names = ", ".join(task.utterances[row].id for row in wrong[:_NAMED])
        further = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise TrainingError(
            f"{whose}: {names}{further} have values that are not finite; look for damage with "
            "`ser cache verify`, and extract them again."
        )
    if not np.ptp(points, axis=0).any():
        raise TrainingError(
            f"{whose}: all {len(points)} utterances have the same features, which tell no emotions apart; "
            "is the audio silent?"
        )
    return points


def _held(split: Split, ids: Set[str]) -> Split:
    """A split without the utterances that have no features."""
    train, validation, test = (tuple(id_ for id_ in split.side(side) if id_ in ids) for side in SIDES)
    return replace(split, train=train, validation=validation, test=test)


def _left_out(
    manifest: Manifest, utterances: Sequence[Utterance], failed: Mapping[str, str], classes: Sequence[str]
) -> list[str]:
    """What failed extractions cost: utterances, and emotions that none is left of."""
    missing = len(manifest.utterances) - len(utterances)
    if not missing:
        return []
    example = next((f", for instance {name}: {reason}" for name, reason in failed.items()), "")
    lost = [emotion for emotion in manifest.emotions if emotion not in classes]
    gone = f"; no utterance of {', '.join(lost)} is left" if lost else ""
    return [
        f"{missing} of {len(manifest.utterances)} utterances have no features and are left out{example}{gone}"
    ]
