"""What a merge has to do: which rows count, in which order, and what stands against it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import CacheError
from ser_cache.store.contents import current_rows
from ser_cache.store.opening import check_agreement
from ser_cache.store.part import Part, open_part, part_paths, read_states
from ser_cache.store.schema import DONE, FAILED, PENDING, frame_bytes, runs_within

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

Place = tuple[int, int]
"""A row as ``(number of its part in the plan, row in it)``."""


@dataclass(frozen=True)
class MergePlan:
    """Which row goes where.

    Attributes:
        folder: ``<cache>/<backbone>/<corpus>``.
        parts: the parts there are.
        states: the state of each row of each part.
        groups: the rows of each new part.
        superseded: rows left out because a later one replaces them, or their audio changed.
        absent: rows left out because their utterance is not in the manifest.
        size: bytes of all parts.
    """

    folder: Path
    parts: tuple[Part, ...]
    states: tuple[NDArray[Any], ...]
    groups: tuple[tuple[Place, ...], ...]
    superseded: int
    absent: int
    size: int

    @property
    def places(self) -> list[Place]:
        """Every row to keep, in its new order."""
        return [place for group in self.groups for place in group]

    @property
    def used(self) -> set[int]:
        """The old parts that hold a row to keep."""
        return {number for number, _ in self.places}

    @property
    def stays(self) -> bool:
        """Whether the old parts that are still used are good as they are."""
        rows = sum(len(self.parts[number].ids) for number in self.used)
        return len(self.used) <= len(self.groups) and rows == len(self.places)

    @property
    def gain(self) -> bool:
        """Whether there is anything to do."""
        return not (self.stays and len(self.used) == len(self.parts))

    def state(self, place: Place) -> bytes:
        """The state of a row."""
        return bytes(self.states[place[0]][place[1]])


def file_bytes(parts: Sequence[Part]) -> int:
    """Bytes of the files of some parts."""
    return sum(part.path.stat().st_size for part in parts)


def plan_merge(folder: Path, utterances: Sequence["Utterance"] | None, part_bytes: int) -> MergePlan:
    """Find out what a merge would do, and change nothing; see `merge_folder` for arguments and errors."""
    parts = tuple(open_part(path) for path in part_paths(folder))
    if not parts:
        raise CacheError(f"{folder} holds no features: there is nothing to merge.")
    check_agreement(parts)
    states = tuple(read_states(part) for part in parts)
    counted = [
        (number, int(row))
        for number, mask in enumerate(current_rows(parts, states))
        for row in np.flatnonzero(mask)
    ]
    if utterances is None:
        kept = sorted(counted, key=lambda place: parts[place[0]].ids[place[1]])
    else:
        found = {parts[number].ids[row]: (number, row) for number, row in counted}
        kept = [found[utterance.id] for utterance in utterances if utterance.id in found]
    _require_finished(folder, parts, states, kept)
    if utterances is not None:
        _require_current(folder, parts, kept, utterances)
    if not kept:
        why = "nothing in it is in the manifest" if counted else "all is superseded"
        raise CacheError(
            f"{folder} would lose everything, as {why}: nothing was changed. To delete it: "
            f"`ser cache rm {shlex.quote(folder.parent.name)} --corpus {shlex.quote(folder.name)}`."
        )
    rows = sum(len(part.ids) for part in parts)
    return MergePlan(
        folder=folder,
        parts=parts,
        states=states,
        groups=tuple(_split(parts, kept, part_bytes)),
        superseded=rows - len(counted),
        absent=len(counted) - len(kept),
        size=file_bytes(parts),
    )


def _require_finished(
    folder: Path, parts: Sequence[Part], states: Sequence[NDArray[Any]], kept: Sequence[Place]
) -> None:
    """Refuse rows that are pending or whose state is none."""
    found = [bytes(states[number][row]) for number, row in kept]
    unknown = sum(state not in (DONE, FAILED, PENDING) for state in found)
    if unknown:
        raise CacheError(
            f"{folder} has {_count(unknown, 'row')} of a damaged state: run `ser cache repair` first; "
            "nothing was changed."
        )
    if PENDING in found:
        number, row = kept[found.index(PENDING)]
        raise CacheError(
            f"{folder} has {_count(found.count(PENDING), 'utterance')} not extracted yet, such as "
            f"{parts[number].ids[row]!r}: run `ser extract` for it first; nothing was changed."
        )


def _require_current(
    folder: Path, parts: Sequence[Part], kept: Sequence[Place], utterances: Sequence["Utterance"]
) -> None:
    """Refuse features of other audio than the manifest's: whether to redo them is not a merge's to say."""
    audio = {utterance.id: (utterance.sha256, utterance.samples) for utterance in utterances}
    changed = [
        parts[number].ids[row]
        for number, row in kept
        if audio[parts[number].ids[row]] != (parts[number].audio_sha256[row], int(parts[number].samples[row]))
    ]
    if changed:
        raise CacheError(
            f"{folder} has {_count(len(changed), 'utterance')} of changed audio, such as {changed[0]!r}: "
            "run `ser extract` for it first; nothing was changed."
        )


def _split(parts: Sequence[Part], kept: Sequence[Place], part_bytes: int) -> list[tuple[Place, ...]]:
    """Rows in order, as many in each new part as its limit allows."""
    per_frame = frame_bytes(parts[0].fingerprint.storage, parts[0].width)
    runs = runs_within([parts[number].frames(row) * per_frame for number, row in kept], part_bytes)
    return [tuple(kept[run.start : run.stop]) for run in runs]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
