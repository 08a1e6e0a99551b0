"""What a cache costs in disk space, and how to delete a part of it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import CacheError
from ser_cache.store.contents import current_rows, in_manifest, leftovers, own_files, set_aside, statuses
from ser_cache.store.lock import LOCK_FILE, folder_lock
from ser_cache.store.part import Part, open_part, part_paths, read_states, write_error
from ser_cache.store.schema import PENDING, SAMPLES_PER_HOUR

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

_BLOCK = 512  # the unit of st_blocks, whatever the file system's own is
_POOLED = {"mean", "std"}


@dataclass(frozen=True)
class Usage:
    """Disk space of one corpus under one backbone, in bytes.

    Attributes:
        backbone: the folder of the backbone, variant included.
        corpus: the corpus.
        hidden: hidden states, with the scales of a codec that has them.
        pooled: means and standard deviations.
        other: everything else: columns, checksums, seals, padding, failures; all of a part that is damaged.
        allocated: blocks that the file system has set aside for all of it.
        reclaimable: features that ``ser cache merge`` drops: those of superseded rows and, where the manifest
            is known, of utterances that it does not have.
        unwanted: whether that would be all of them, which a merge refuses; `reclaimable` is then 0.
        unused: damaged parts set aside and leftovers of killed processes; also in `other`.
        hours: hours of audio of the rows that count.
        reserved: set aside for rows of which nothing is written yet; also in `hidden` and `pooled`.
    """

    backbone: str
    corpus: str
    hidden: int
    pooled: int
    other: int
    allocated: int
    reclaimable: int
    unwanted: bool
    unused: int
    hours: float
    reserved: int = 0

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return self.hidden + self.pooled + self.other


def measure(folder: Path, utterances: Sequence["Utterance"] | None = None) -> Usage:
    """Add up what ``<cache>/<backbone>/<corpus>`` takes; a damaged part counts, but is not looked into.

    Args:
        folder: ``<cache>/<backbone>[+variant]/<corpus>``.
        utterances: the manifest's utterances; None where it is not known.
    """
    files = statuses(own_files(folder))
    parts: list[Part] = []
    states: list[NDArray[np.bytes_]] = []
    for path in part_paths(folder):
        with suppress(CacheError):
            part = open_part(path)
            states.append(read_states(part))
            parts.append(part)
    current = current_rows(parts, states)
    hidden, pooled = (sum(_bytes(part, wanted) for part in parts) for wanted in (False, True))
    kept = current
    if utterances is not None:
        kept = [mask & in_manifest(part, utterances) for part, mask in zip(parts, current, strict=True)]
    unwanted = bool(parts) and not any(mask.any() for mask in kept)
    samples = sum(int(part.samples[mask].sum()) for part, mask in zip(parts, current, strict=True))
    return Usage(
        backbone=folder.parent.name,
        corpus=folder.name,
        hidden=hidden,
        pooled=pooled,
        other=sum(status.st_size for status in files) - hidden - pooled,
        allocated=sum(status.st_blocks for status in files) * _BLOCK,
        reclaimable=0
        if unwanted
        else sum(part.size_of(~mask) for part, mask in zip(parts, kept, strict=True)),
        unwanted=unwanted,
        unused=sum(status.st_size for status in statuses([*set_aside(folder), *leftovers(folder)])),
        hours=samples / SAMPLES_PER_HOUR,
        reserved=sum(part.size_of(own == PENDING) for part, own in zip(parts, states, strict=True)),
    )


def remove_folder(folder: Path, *, lock: bool = True) -> list[Path]:
    """Delete one corpus under one backbone: the cache's own files, and folders that are then empty.

    Args:
        folder: ``<cache>/<backbone>/<corpus>``.
        lock: hold the folder's lock; False only where the file system cannot lock.

    Returns:
        What is left in the folder because the cache did not make it.

    Raises:
        LockedError: a writer holds the folder; nothing was deleted.
        CacheError: the folder cannot be written.
    """
    with folder_lock(folder, enabled=lock):
        try:
            for path in own_files(folder):
                if path.name != LOCK_FILE:
                    path.unlink()
        except OSError as error:
            raise write_error(folder, error) from error
    if not lock:
        (folder / LOCK_FILE).unlink(missing_ok=True)
    left = sorted(folder.iterdir())
    with suppress(OSError):  # not empty: another corpus, or a file of the user's own
        folder.rmdir()
        folder.parent.rmdir()
    return left


def _bytes(part: Part, pooled: bool) -> int:
    return sum(
        int(np.prod(part.shape(field))) * np.dtype(field.dtype).itemsize
        for field in part.fields
        if (field.name in _POOLED) == pooled
    )
