"""Which files below a cache are the cache's own, and which rows of its parts still count."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_cache.store.failures import FAILURES_FILE
from ser_cache.store.lock import LOCK_FILE
from ser_cache.store.part import Part, part_paths
from ser_cache.store.schema import SUPERSEDED

if TYPE_CHECKING:
    from ser_cache.manifest import Utterance

DAMAGED_SUFFIX = ".damaged"
"""What is added to the name of a part that was set aside; readers look for names that end in ``.h5``."""
_LEFTOVERS = (".*part-*.tmp", f".{FAILURES_FILE}.*.tmp")


def cached_folders(cache_root: Path) -> list[Path]:
    """Every ``<cache>/<backbone>/<corpus>`` that holds a file of the cache, whole or not, sorted."""
    return sorted(path for path in cache_root.glob("*/*") if path.is_dir() and own_files(path))


def own_files(folder: Path) -> list[Path]:
    """The files in a folder that the cache made: parts, parts set aside, failures, lock, leftovers."""
    named = (folder / name for name in (FAILURES_FILE, LOCK_FILE))
    found = chain(part_paths(folder), set_aside(folder), leftovers(folder), named)
    return [path for path in found if path.is_file() or path.is_symlink()]


def set_aside(folder: Path) -> list[Path]:
    """Damaged parts that `repair_folder` has renamed, and that nothing reads."""
    return sorted(folder.glob(f"part-*.h5{DAMAGED_SUFFIX}*"))


def leftovers(folder: Path) -> list[Path]:
    """Half-made files of killed processes, and of living ones: delete them only with the folder locked."""
    return sorted(chain.from_iterable(folder.glob(pattern) for pattern in _LEFTOVERS))


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a killed process; call it only with the folder locked."""
    for leftover in leftovers(folder):
        leftover.unlink(missing_ok=True)


def current_rows(parts: Sequence[Part], states: Sequence[NDArray[Any]]) -> list[NDArray[np.bool_]]:
    """Which rows count: those neither superseded nor, in a later part, there again.

    Only a merge that was killed leaves an utterance in two parts. Readers and planning take the later one.

    Args:
        parts: the parts of one folder, in their order.
        states: the state of each row of each part.

    Returns:
        For each part a mask, (rows,).
    """
    seen: set[str] = set()
    masks: list[NDArray[np.bool_]] = []
    for part, state in zip(reversed(parts), reversed(states), strict=True):
        mask = state != SUPERSEDED
        if seen:
            mask &= np.array([id_ not in seen for id_ in part.ids], dtype=np.bool_)
        if len(masks) + 1 < len(parts):
            seen.update(part.ids[row] for row in np.flatnonzero(mask))
        masks.append(mask)
    return masks[::-1]


def in_manifest(part: Part, utterances: Sequence["Utterance"]) -> NDArray[np.bool_]:
    """Which rows of a part are of utterances that the manifest has, whatever their audio: a mask, (rows,)."""
    ids = {utterance.id for utterance in utterances}
    return np.array([id_ in ids for id_ in part.ids], dtype=np.bool_)


def statuses(paths: Iterable[Path]) -> list[os.stat_result]:
    """What the system knows of files, without those that a writer has deleted meanwhile."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):
            found.append(path.stat())
    return found
