"""Make a damaged cache usable again without deleting anything that could still be read.

A row that does not match its checksum, or whose state is none, becomes pending again: the next
``ser extract`` makes its features anew, and only those (had it failed, it is tried again; had it been
superseded, it is retired again). A part whose seal is broken has lost the meaning of its bytes. It is
renamed, so that readers pass it over and ``ser extract`` makes its utterances in a new part.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ser_cache.errors import CacheError
from ser_cache.files import sync_folder
from ser_cache.store.commands import Remake, remake_of
from ser_cache.store.contents import DAMAGED_SUFFIX, leftovers
from ser_cache.store.lock import folder_lock
from ser_cache.store.part import open_part, part_paths, write_error
from ser_cache.store.verify import PartReport, inspect_part
from ser_cache.store.writer import PartWriter


@dataclass(frozen=True)
class RepairReport:
    """What a repair did in one folder.

    Attributes:
        folder: ``<cache>/<backbone>/<corpus>``.
        marked: id -> what was wrong with it; these are pending now.
        set_aside: part -> the name it has now.
        leftovers: half-made files of killed processes that were deleted.
        remake: the extraction that makes lost features again; None where none are lost.
    """

    folder: Path
    marked: dict[str, str] = field(default_factory=dict)
    set_aside: dict[Path, Path] = field(default_factory=dict)
    leftovers: list[Path] = field(default_factory=list)
    remake: Remake | None = None

    @property
    def changed(self) -> bool:
        """Whether there was anything to repair."""
        return bool(self.marked or self.set_aside or self.leftovers)


def repair_folder(
    folder: Path, *, lock: bool = True, on_read: Callable[[int], None] | None = None
) -> RepairReport:
    """Mark damaged rows of a corpus under a backbone pending, and set broken parts aside.

    A sound folder is only read, so it need not be writable. Killed at any moment, it can be run again.

    Args:
        folder: ``<cache>/<backbone>/<corpus>``.
        lock: hold the folder's lock; False only where the file system cannot lock.
        on_read: called with the number of further bytes dealt with.

    Raises:
        LockedError: a writer holds the folder.
        CacheError: the folder cannot be written, or a part cannot be read for another reason than damage.
    """
    suspects = [path for path in part_paths(folder) if not _inspect(path, on_read).sound]
    report = RepairReport(folder)
    if not suspects and not leftovers(folder):
        return report
    with folder_lock(folder, enabled=lock):
        try:
            for leftover in leftovers(folder):
                leftover.unlink(missing_ok=True)
                report.leftovers.append(leftover)
            for path in suspects:
                if path.exists():
                    # Again: before the lock was ours, a writer may have been here.
                    _mend(_inspect(path, None), report)
        except OSError as error:
            raise write_error(folder, error) from error
    if not report.marked and not report.set_aside:
        return report
    return replace(report, remake=remake_of(folder, [open_part(path) for path in part_paths(folder)]))


def _inspect(path: Path, on_read: Callable[[int], None] | None) -> PartReport:
    report = inspect_part(path, on_read)
    if report.problem and not report.broken and path.exists():
        raise CacheError(report.problem)
    return report


def _mend(found: PartReport, report: RepairReport) -> None:
    if found.broken:
        aside = _free_name(found.path)
        found.path.rename(aside)
        sync_folder(aside.parent)
        report.set_aside[found.path] = aside
    elif found.rows:
        with PartWriter(open_part(found.path)) as writer:
            writer.redo(found.rows)
        report.marked.update({found.ids[row]: problem for row, problem in found.rows.items()})


def _free_name(path: Path) -> Path:
    """The name of a part set aside; a number follows where a part of that name was set aside before."""
    aside, number = path.with_name(path.name + DAMAGED_SUFFIX), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{DAMAGED_SUFFIX}{number}")
    return aside
