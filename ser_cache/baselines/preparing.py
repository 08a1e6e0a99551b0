"""What a baseline is trained on: a corpus in an order of its own, and one vector for each utterance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ser_cache.errors import TrainingError
from ser_cache.functionals import summarise_frames
from ser_cache.tasks import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ser_cache.feature_sources import Features
    from ser_cache.manifest import Manifest
    from ser_cache.splits import Split, SplitOptions
    from ser_cache.tasks import Task

_NAMED = 3


def sorted_task(features: Features, manifest: Manifest, options: SplitOptions) -> Task:
    """Divide a corpus, its utterances sorted by id: solvers and bootstraps depend on the order of rows.

    Raises:
        SplitError: the corpus does not allow the split.
        TrainingError: too little is left to train on.
    """
    task = prepare(features, manifest, options)
    order = sorted(range(len(task.utterances)), key=lambda place: task.utterances[place].id)
    return replace(
        task, utterances=tuple(task.utterances[place] for place in order), labels=task.labels[order]
    )


def rows_of(task: Task, split: Split, *sides: str) -> NDArray[np.int64]:
    """Places of the utterances on some sides of a fold, ascending."""
    place = {utterance.id: number for number, utterance in enumerate(task.utterances)}
    return np.array(sorted(place[id_] for side in sides for id_ in split.side(side)), dtype=np.int64)


def points_of(
    features: Features,
    task: Task,
    layer: int,
    functionals: Sequence[str],
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> NDArray[np.float64]:
    """One vector for each of a task's utterances, (n, functionals * width).

    Args:
        features: the cached features.
        task: the corpus, in the order of the rows.
        layer: which.
        functionals: of the frames.
        on_progress: told how many utterances' frames are read, of how many; not called where time means and
            deviations do.

    Raises:
        TrainingError: a value is not finite, or all utterances have the same ones.
        SettingsError: a functional needs frames that are not cached.
    """
    found = summarise_frames(features, layer, functionals, on_progress)
    place = {id_: row for row, id_ in enumerate(features.ids)}
    points = found[[place[utterance.id] for utterance in task.utterances]]
    whose = f"layer {layer} of {features.backbone}/{features.corpus}"
    wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(wrong):
        names = ", ".join(task.utterances[row].id for row in wrong[:_NAMED])
        further = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise TrainingError(
            f"{whose}: {names}{further}: values that are not finite; look for damage with "
            "`ser cache verify`, and extract them again."
        )
    if not np.ptp(points, axis=0).any():
        raise TrainingError(
            f"{whose}: all {len(points)} utterances have the same features, which tell no emotions apart; "
            "is the audio silent?"
        )
    return points
