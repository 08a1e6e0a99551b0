"""Compact the parts of one corpus under one backbone: fewer files, and nothing in them that nobody reads.

Extraction only ever adds parts, so after audio has changed or was added there are rows that no reader uses
and parts of a few rows. A merge copies the rows that count, in the manifest's order, and is safe against
SIGKILL at any moment:

1. The new parts are created and filled under names that no reader and no extraction looks at, and that every
   writer deletes as a leftover (``.part-NNNN.h5.merge.tmp``). Killed here, nothing has happened. Filling them
   under their own names would not do: a pending row in a later part hides the done one in an earlier part.
2. They are read back and compared with their checksums.
3. They are renamed to ``part-NNNN.h5``, with the next free numbers, and the folder is flushed. Killed between
   two renames, or after them, some utterances have a row in an old part and an equal one in a later part;
   readers take the later one, and so does planning, which retires the other.
4. The old parts are deleted. Killed here, the same holds.
5. ``failures.csv`` loses what it says about utterances that are no longer there.

After a kill in 3 or 4, both ``ser extract`` and ``ser cache merge`` go on from there: the merge counts the
rows hidden by a later part as superseded.
"""

import mmap
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import CacheError
from ser_cache.files import sync_folder
from ser_cache.store.contents import remove_leftovers
from ser_cache.store.failures import read_failures, update_failures
from ser_cache.store.lock import folder_lock, require_unlocked
from ser_cache.store.merge_planning import MergePlan, Place, file_bytes, plan_merge
from ser_cache.store.part import (
    Part,
    create_part,
    next_number,
    open_part,
    part_paths,
    write_error,
)
from ser_cache.store.schema import (
    CHECKSUM_DTYPE,
    FAILED,
    LARGEST_PART,
    OVERHEAD,
    Row,
    frame_bytes,
    row_bytes,
)
from ser_cache.store.verify import inspect_part
from ser_cache.store.writer import PartWriter

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

_ORIGINS = 8  # distinct provenances that a merged part lists; HDF5 limits an attribute to 64 KiB


@dataclass(frozen=True)
class MergeReport:
    """What a merge did in one folder, or would not do.

    Attributes:
        folder: ``<cache>/<backbone>/<corpus>``.
        kept: rows in the new parts, failed ones included.
        failed: those of them that have no features because they failed.
        superseded: rows left out because a later one replaces them, or their audio changed.
        absent: rows left out because their utterance is not in the manifest.
        parts: parts before and after.
        bytes: bytes of all parts before and after.
    """

    folder: Path
    kept: int
    failed: int
    superseded: int
    absent: int
    parts: tuple[int, int]
    bytes: tuple[int, int]

    @property
    def changed(self) -> bool:
        """Whether there was anything to gain."""
        return self.superseded + self.absent > 0 or self.parts[0] != self.parts[1]


def merge_folder(
    folder: Path,
    utterances: Sequence["Utterance"] | None,
    *,
    lock: bool = True,
    part_bytes: int = LARGEST_PART,
    on_progress: Callable[[int, int], None] | None = None,
) -> MergeReport:
    """Copy the rows that count into as few parts as possible, then delete the old parts.

    The features stay as they are, byte for byte. A folder where nothing can be gained is left alone. Whoever
    reads the folder meanwhile may be told that a part has vanished.

    Args:
        folder: ``<cache>/<backbone>[+variant]/<corpus>``.
        utterances: the manifest's utterances: their order becomes that of the rows, and rows of others are
            left out. None keeps every row that counts, in the order of its id.
        lock: hold the folder's lock; False only where the file system cannot lock.
        part_bytes: the most bytes of frames in a part.
        on_progress: called with the rows copied so far and those to copy.

    Raises:
        LockedError: a writer holds the folder.
        StaleCacheError: parts were made differently.
        CacheError: rows are pending, damaged, or of other audio than the manifest's; a part is damaged; the
            disk cannot hold both old and new parts, or cannot be written. No feature is lost.
    """
    if lock:
        # What an extraction has still to do would be blamed first, and to extract it is no advice meanwhile.
        require_unlocked(folder)
    plan = plan_merge(folder, utterances, part_bytes)
    if not plan.gain:
        return _report(plan, plan.parts)
    with folder_lock(folder, enabled=lock):
        try:
            remove_leftovers(folder)
            # Again, now that nobody else can write: another process may have been here since.
            plan = plan_merge(folder, utterances, part_bytes)
            return _report(plan, _carry_out(plan, on_progress)) if plan.gain else _report(plan, plan.parts)
        except OSError as error:
            raise write_error(folder, error) from error


def _report(plan: MergePlan, after: Sequence[Part]) -> MergeReport:
    return MergeReport(
        folder=plan.folder,
        kept=len(plan.places),
        failed=sum(plan.state(place) == FAILED for place in plan.places),
        superseded=plan.superseded,
        absent=plan.absent,
        parts=(len(plan.parts), len(after)),
        bytes=(plan.size, file_bytes(after)),
    )


def _carry_out(plan: MergePlan, on_progress: Callable[[int, int], None] | None) -> list[Part]:
    """Make the new parts, put them in place and delete the old ones; returns the parts there are now."""
    if plan.stays:
        old, new = [part for number, part in enumerate(plan.parts) if number not in plan.used], []
    else:
        old, new = list(plan.parts), _new_parts(plan, on_progress)
    for part in old:
        part.path.unlink()
    sync_folder(plan.folder)
    ids = {plan.parts[number].ids[row] for number, row in plan.places}
    update_failures(plan.folder, added={}, removed=read_failures(plan.folder).keys() - ids)
    return new or [plan.parts[number] for number in sorted(plan.used)]


def _new_parts(plan: MergePlan, on_progress: Callable[[int, int], None] | None) -> list[Part]:
    """Steps 1 to 3 of the module's docstring."""
    _require_space(plan)
    sources = [_Source(part) for part in plan.parts]
    number = next_number(part_paths(plan.folder))
    names = [plan.folder / f"part-{number + place:04d}.h5" for place in range(len(plan.groups))]
    hidden = [name.with_name(f".{name.name}.merge.tmp") for name in names]
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, len(plan.places))

    try:
        for path, group in zip(hidden, plan.groups, strict=True):
            _fill(path, group, plan, sources, count)
            _read_back(path)
        for path, name in zip(hidden, names, strict=True):
            path.rename(name)
        sync_folder(plan.folder)
    finally:
        for path in hidden:
            path.unlink(missing_ok=True)
    return [open_part(name) for name in names]


def _require_space(plan: MergePlan) -> None:
    first = plan.parts[0]
    columns = row_bytes(first.fingerprint.storage, first.width)
    longest = max(len(id_.encode()) for part in plan.parts for id_ in part.ids)
    frames = sum(plan.parts[number].frames(row) for number, row in plan.places)
    needed = len(plan.groups) * OVERHEAD + len(plan.places) * (columns + longest)
    needed += frames * frame_bytes(first.fingerprint.storage, first.width)
    free = shutil.disk_usage(plan.folder).free
    if needed > free:
        raise CacheError(
            f"{plan.folder} needs {needed / 1e9:.2f} GB beside its old parts while it is merged, and "
            f"{free / 1e9:.2f} GB are free: free some first; nothing was changed."
        )


def _fill(
    path: Path,
    group: Sequence[Place],
    plan: MergePlan,
    sources: Sequence["_Source"],
    count: Callable[[], None],
) -> None:
    """Create one new part and copy its rows."""
    first = plan.parts[0]
    rows = [sources[number].row(row) for number, row in group]
    part = create_part(path, first.fingerprint, rows, first.width, _provenance(plan.parts))
    reasons = read_failures(plan.folder)
    with PartWriter(part) as writer:
        for place, (number, row) in enumerate(group):
            if plan.state((number, row)) == FAILED:
                writer.fail(place, reasons.get(part.ids[place], "no reason is recorded"))
            else:
                writer.write(place, sources[number].features(row))
            count()


def _read_back(path: Path) -> None:
    """Check a new part before anything is deleted for it."""
    found = inspect_part(path).lines
    if found:
        raise CacheError(f"{found[0]}, though it was just written: check the disk; nothing was deleted.")


def _provenance(parts: Sequence[Part]) -> dict[str, Any]:
    """The last part's, and what else was recorded, each once and without its date."""
    origins: list[Mapping[str, Any]] = []
    for part in parts:
        for origin in (*part.provenance.get("merged", ()), part.provenance):
            known = {key: value for key, value in origin.items() if key not in ("created", "merged")}
            if known not in origins:
                origins.append(known)
    last = dict(parts[-1].provenance)
    return last | ({"merged": origins[-_ORIGINS:]} if len(origins) > 1 else {})


class _Source:
    """The rows of an old part, mapped into memory."""

    def __init__(self, part: Part) -> None:
        self._part = part
        with part.path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._arrays = {
            field.name: self._array(part.shape(field), field.dtype, field.name) for field in part.fields
        }
        self._checksums = self._array((len(part.ids),), CHECKSUM_DTYPE, "checksum")

    def row(self, row: int) -> Row:
        """The constant columns of a row."""
        part = self._part
        # The model's frames: how many are kept of them is for `create_part` to say.
        frames = int(part.model_frames[row])
        return Row(part.ids[row], int(part.samples[row]), part.audio_sha256[row], frames)

    def features(self, row: int) -> dict[str, NDArray[Any]]:
        """The features of a row that is done, as views of the map.

        Raises:
            CacheError: they do not match their checksum.
        """
        part, view = self._part, memoryview(self._map)
        pieces = (view[start : start + count] for start, count in part.spans(row))
        if part.checksum(row, pieces) != self._checksums[row]:
            raise CacheError(
                f"{part.path}: utterance {part.ids[row]!r} does not match its checksum: run "
                "`ser cache repair` and `ser extract` first; nothing was changed."
            )
        start, stop = (int(value) for value in part.offsets[row : row + 2])
        return {
            field.name: self._arrays[field.name][:, start:stop]
            if field.per_frame
            else self._arrays[field.name][row]
            for field in part.fields
        }

    def _array(self, shape: tuple[int, ...], dtype: Any, name: str) -> NDArray[Any]:  # noqa: ANN401 - as NumPy's
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.ndarray(shape, dtype, buffer=self._map, offset=self._part.positions[name])
